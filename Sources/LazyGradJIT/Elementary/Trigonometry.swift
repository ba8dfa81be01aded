// Sine and cosine. Uses ElementaryLanes, and LargeAngle for lanes that vectors don't get right.

import Foundation

extension ElementaryLanes {
  /// A reduced angle: `quadrant pi/2 + high + low`, the sum at most pi/4 or a little more; and where that
  /// has enough correct bits.
  fileprivate typealias Angle = (quadrant: Value, high: Value, low: Value, isGood: Mask)

  /// `|x|` reduced by Cody and Waite's method. The quadrant's number stands in the low bits of a sum with
  /// the rounding constant.
  @inline(__always)
  fileprivate func reducedAngle(_ a: Value) -> Angle {
    let shift = number(roundShift)
    if isSingle {
      // In double precision: the angle may be next to a multiple of pi/2. The first constant holds the 33
      // leading bits of pi/2 (fdlibm's choice), so its product with k is exact.
      let shifted = fma(a, number(0.63661975), shift)
      let k = widened(sub(shifted, shift))
      let first = wide.fnma(k, wide.number(1.57079632673412561417), widened(a))
      let r = wide.fnma(k, wide.number(6.07710050650619224932e-11), first)
      let high = narrowed(r)
      let low = narrowed(wide.sub(r, widened(high)))
      // Up to here two constants are enough.
      return (shifted, high, low, lessEqual(a, number(1e5)))
    }
    let shifted = fma(a, number(0.6366197723675814), shift)
    let k = sub(shifted, shift)
    let high: Value
    let low: Value
    if isFused {
      // With one rounding for product and difference, pi/2 in two pieces of 53 bits leaves an exact first
      // difference and a second one whose error is known.
      let first = fnma(k, number(1.5707963267948966), a)
      let small = number(6.123233995736766e-17)
      high = fnma(k, small, first)
      low = fnma(k, small, sub(first, high))
    } else {
      // pi/2 in pieces of 33, 33 and 53 bits (fdlibm's constants). The first two products and the first
      // difference are exact; what the second one loses to rounding is in `low`.
      let first = sub(a, mul(k, number(1.57079632673412561417)))
      let product = mul(k, number(6.07710050630396597660e-11))
      let second = sub(first, product)
      let rest = sub(
        sub(sub(first, second), product), mul(k, number(2.02226624879595063154e-21)))
      high = add(second, rest)
      low = add(sub(second, high), rest)
    }
    // Up to here the quadrant's number has 20 bits; and 106 bits of pi/2 are enough unless all but 2^-30
    // of |x| cancels.
    let isNear = lessEqual(a, number(1e6))
    let isLong = lessEqual(mul(a, number(0x1p-30)), magnitude(high))
    return (shifted, high, low, and(isNear, isLong))
  }

  /// The sine of `high + low + k pi/2`, the sum at most pi/4. Minimax fits: in single precision of error
  /// 2^-27.9 for the sine's and 2^-33 for the cosine's polynomial, in double of 2^-58 and 2^-64, arranged
  /// as in fdlibm: `low` counts to first order, and `1 - z/2` keeps what its rounding loses.
  @inline(__always)
  func quadrantSine(_ k: Value, _ high: Value, _ low: Value) -> Value {
    let one = number(1)
    let half = number(0.5)
    let z = mul(high, high)
    let most = fnma(z, half, one)
    let sine: Value
    let cosine: Value
    if isSingle {
      let s = polynomial(z, -1.9506604e-4, 0.008332101, -0.16666654)
      sine = add(high, fma(mul(high, z), s, low))
      let c = polynomial(z, 2.443067e-5, -0.0013887301, 0.041666646)
      cosine = add(most, fma(mul(z, z), c, fnma(z, half, sub(one, most))))
    } else {
      let cube = mul(z, high)
      let s = polynomial(
        z, 1.589688647504889e-10, -2.5050759890218664e-08, 2.755731370507332e-06,
        -0.0001984126982985339, 0.008333333333322486)
      let tail = fms(z, fnma(cube, s, mul(half, low)), low)
      sine = sub(high, fnma(cube, number(-0.16666666666666632), tail))
      let c = polynomial(
        z, -1.135991735862497e-11, 2.087572899354335e-09, -2.755731439925887e-07,
        2.4801587289666895e-05, -0.001388888888887447, 0.0416666666666666)
      let rest = fnma(high, low, fnma(z, half, sub(one, most)))
      cosine = add(most, fma(mul(z, z), c, rest))
    }
    let flip = shiftLeft(and(k, bits(2)), isSingle ? 30 : 62)
    return xor(select(isOdd(k), cosine, sine), flip)
  }
}

/// The sine of every finite argument, sign of zero kept.
enum Sin: ElementaryFunction {
  static let bounds = (single: 1.2, double: 1.0)
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.sin(x) }
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, _ in
    let result = LargeAngle.sine(x.magnitude, quadrants: 0)
    return x.sign == .minus ? -result : result
  }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let (k, high, low, isGood) = l.reducedAngle(l.magnitude(x))
    let result = l.xor(l.quadrantSine(k, high, low), l.and(x, l.signBit))
    return l.finished(result, where: isGood, Self.self, x, x)
  }
}

/// The cosine of every finite argument.
enum Cos: ElementaryFunction {
  static let bounds = (single: 1.2, double: 1.0)
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.cos(x) }
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, _ in
    LargeAngle.sine(x.magnitude, quadrants: 1)
  }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let (k, high, low, isGood) = l.reducedAngle(l.magnitude(x))
    let result = l.quadrantSine(l.addBits(k, l.bits(1)), high, low)
    return l.finished(result, where: isGood, Self.self, x, x)
  }
}
