// Sine, cosine and tangent. Uses ElementaryLanes, and LargeAngle for lanes that vectors don't get right.

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
    if isSingle, isFused {
      // Pi/2 in three pieces of 24 bits. The first difference is exact: below 1, and a multiple of 2^-24. So it
      // is a multiple of the second product's last place as well, whence the second difference's error is
      // known, and that of the product is by a fused multiply-add.
      let shifted = fma(a, number(0.63661975), shift)
      let k = sub(shifted, shift)
      let first = fnma(k, number(1.5707964), a)
      let small = number(-4.371139e-08)
      let product = mul(k, small)
      let high = sub(first, product)
      let lost = sub(sub(sub(first, high), product), fms(k, small, product))
      let low = fnma(k, number(-1.7151245e-15), lost)
      return (shifted, high, low, lessEqual(a, number(1e5)))
    }
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
      sine = sub(high, sineRest(z, high, low))
      cosine = add(most, cosineRest(z, most, high, low))
    }
    let flip = shiftLeft(and(k, bits(2)), isSingle ? 30 : 62)
    return xor(select(isOdd(k), cosine, sine), flip)
  }

  /// What the sine of `high + low` lacks to `high`, with `z = high^2`, in double precision.
  @inline(__always)
  fileprivate func sineRest(_ z: Value, _ high: Value, _ low: Value) -> Value {
    let cube = mul(z, high)
    let s = polynomial(
      z, 1.589688647504889e-10, -2.5050759890218664e-08, 2.755731370507332e-06,
      -0.0001984126982985339, 0.008333333333322486)
    let tail = fms(z, fnma(cube, s, mul(number(0.5), low)), low)
    return fnma(cube, number(-0.16666666666666632), tail)
  }

  /// What is to be added to `most`, which is `1 - z / 2` rounded, for the cosine, in double precision.
  @inline(__always)
  fileprivate func cosineRest(
    _ z: Value, _ most: Value, _ high: Value, _ low: Value
  ) -> Value {
    let c = polynomial(
      z, -1.135991735862497e-11, 2.087572899354335e-09, -2.755731439925887e-07,
      2.4801587289666895e-05, -0.001388888888887447, 0.0416666666666666)
    let rest = fnma(high, low, fnma(z, number(0.5), sub(number(1), most)))
    return fma(mul(z, z), c, rest)
  }

  /// The tangent of `high + low`, at odd quadrants its negative reciprocal, in double precision.
  ///
  /// Sine and cosine are sums of two parts each, rounded to one number; what the rounding of both has
  /// taken goes into the quotient to first order, so that two roundings of it remain.
  @inline(__always)
  func quadrantTangent(isOdd: Mask, _ high: Value, _ low: Value) -> Value {
    let z = mul(high, high)
    let most = fnma(z, number(0.5), number(1))
    let less = sineRest(z, high, low)
    let more = cosineRest(z, most, high, low)
    let sine = sub(high, less)
    let sineError = sub(sub(high, sine), less)
    let cosine = add(most, more)
    let cosineError = add(sub(most, cosine), more)
    let above = select(isOdd, negated(cosine), sine)
    let below = select(isOdd, sine, cosine)
    let aboveError = select(isOdd, negated(cosineError), sineError)
    let belowError = select(isOdd, sineError, cosineError)
    let quotient = div(above, below)
    return add(quotient, div(fnma(quotient, belowError, aboveError), below))
  }
}

/// The sine of every finite argument, sign of zero kept.
enum Sin: ElementaryFunction {
  static let bounds = (single: 1.2, double: 1.0)
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

/// The tangent of every finite argument, sign of zero kept. Single precision is rounded once from double
/// precision.
enum Tan: ElementaryFunction {
  static let bounds = (single: 0.6, double: 1.5)
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.tan(x) }
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, _ in
    let result = LargeAngle.tangent(x.magnitude)
    return x.sign == .minus ? -result : result
  }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let (k, high, low, isGood) = l.reducedAngle(l.magnitude(x))
    let tangent: L.Value
    if l.isSingle {
      let parity = l.widened(l.select(l.isOdd(k), l.number(1), l.number(0)))
      let angle = l.wide.add(l.widened(high), l.widened(low))
      tangent = l.narrowed(
        l.wide.quadrantTangent(
          isOdd: l.wide.equal(parity, l.wide.number(1)), angle, l.wide.number(0)))
    } else {
      tangent = l.quadrantTangent(isOdd: l.isOdd(k), high, low)
    }
    return l.finished(l.xor(tangent, l.and(x, l.signBit)), where: isGood, Self.self, x, x)
  }
}
