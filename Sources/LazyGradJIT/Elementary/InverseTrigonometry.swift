// Arc functions. Uses ElementaryLanes.

import Foundation

extension ElementaryLanes {
  /// A quarter and a half of pi, as the nearest number and what it lacks.
  fileprivate var quarterPi: Value { number(isSingle ? 0.7853982 : 0.7853981633974483) }
  fileprivate var halfPi: Value { number(isSingle ? 1.5707964 : 1.5707963267948966) }
  fileprivate var halfPiRest: Value { number(isSingle ? -4.371139e-08 : 6.123233995736766e-17) }

  /// `(arcsin(t) - t) / t` for `z = t^2` up to 1/4. Fit error of the arc 2^-31.7 and 2^-59.9.
  @inline(__always)
  fileprivate func arcsineQuotient(_ z: Value) -> Value {
    let p =
      isSingle
      ? polynomial(z, 0.037691925, 0.014316899, 0.031838845, 0.044513382, 0.07500522, 0.1666666)
      : polynomial(
        z, 0.03262643492135468, -0.020995400724407042, 0.021704727228339698,
        0.003707590324253607, 0.010779919937063674, 0.011398975921108508, 0.013980812112743225,
        0.017351612786328022, 0.022372214939517677, 0.030381942709745983, 0.04464285717456304,
        0.07499999999970865, 0.1666666666666676)
    return mul(z, p)
  }

  /// The root `s` of `z`, its leading half `w`, and what is left: `s - w = rest` to twice the precision.
  @inline(__always)
  fileprivate func splitRoot(_ z: Value) -> (root: Value, leading: Value, rest: Value) {
    let s = sqrt(z)
    let w = and(s, bits(isSingle ? -0x1000 : -0x1_0000_0000))
    let rest = div(fnma(w, w, z), atLeast(add(s, w), isSingle ? 0x1p-100 : 0x1p-900))
    return (s, w, rest)
  }

  /// The angle of the point with the positive coordinates `p <= q`, `q` upwards where `isSteep` and the other
  /// one to the left where `isLeft`, in single precision; only `q` may be infinite.
  ///
  /// Where `p / q` is above 1/2 it is turned by `arctan(3/4)`:
  /// `t = (p - 3/4 q) / (q + 3/4 p)`, where halves and quarters leave the difference exact. Then
  /// `arctan(t) = t + t^3 A(t^2)` from -2/11 to 1/2, fit error 2^-31.5. The whole is turned by quarters of the
  /// circle, forwards or, as `quarters - arc`, backwards.
  ///
  /// One place to turn at instead of the three of `arctangent`, which is more exact where `p / q` is: a longer
  /// `A` costs less than selections.
  @inline(__always)
  fileprivate func turnedArc(_ p: Value, _ q: Value, isSteep: Mask, isLeft: Mask) -> Value {
    let zero = number(0)
    let isMiddle = less(q, add(p, p))
    let difference = fnma(q, number(0.25), fnma(q, number(0.5), p))
    // Two zeros are as 0 and 1.
    let t = div(
      select(isMiddle, difference, p),
      select(isMiddle, fma(p, number(0.75), q), atLeast(q, 0x1p-149)))
    // Negative where the arc counts backwards: the sign of the sum doesn't matter.
    let quarters = select(
      isSteep, select(isLeft, number(1), number(-1)), select(isLeft, number(-2), zero))
    let z = mul(t, t)
    let series = polynomial(
      z, 0.037760712, -0.07917131, 0.10923836, -0.14270107, 0.19999392, -0.33333325)
    let low = fma(
      quarters, number(-4.371139e-08), select(isMiddle, number(5.8689373e-09), zero))
    let rest = add(t, fma(t, mul(z, series), low))
    let arc = add(select(isMiddle, number(0.6435011), zero), rest)
    return magnitude(fma(quarters, number(1.5707964), arc))
  }

  /// The arc whose tangent is `a / b`, for positive numbers, both not zero and not both infinite; as a sum
  /// of two.
  ///
  /// fdlibm's split: with a number `c` next to `a / b`, one of 0, 1/2, 1, 3/2 and infinity,
  /// `arctan(a / b) = arctan(c) + arctan(t)` for `t = (a - c b) / (b + c a)`, which is at most 7/16. Then
  /// `arctan(t) = t - t^3 A(t^2)`, fit error 2^-29.6 and 2^-62.3.
  @inline(__always)
  fileprivate func arctangent(_ a: Value, _ b: Value) -> Value {
    func stage(_ bound: Double) -> Mask { lessEqual(a, mul(b, number(bound))) }
    let (below0, below1) = (stage(0.4375), stage(0.6875))
    let (below2, below3) = (stage(1.1875), stage(2.4375))
    func chosen(_ n0: Double, _ n1: Double, _ n2: Double, _ n3: Double, _ n4: Double) -> Value {
      let upper = select(below3, number(n3), number(n4))
      let middle = select(below1, number(n1), select(below2, number(n2), upper))
      return select(below0, number(n0), middle)
    }
    let c = chosen(0, 0.5, 1, 1.5, 1.5)
    let above = select(below3, fnma(c, b, a), negated(b))
    let below = select(below3, fma(c, a, b), a)
    let t = div(above, below)
    let z = mul(t, t)
    let p =
      isSingle
      ? polynomial(z, 0.058237806, -0.104934126, 0.1423009, -0.19997779, 0.33333305)
      : polynomial(
        z, -0.013681293019986818, 0.03190431089369422, -0.04432443405066451, 0.05199952758003274,
        -0.05873995212745019, 0.06665900250733106, -0.07692259397347245, 0.0909090705329894,
        -0.11111111056273965, 0.1428571428484965, -0.19999999999993187, 0.33333333333333315)
    let high =
      isSingle
      ? chosen(0, 0.4636476, 0.7853982, 0.98279375, 1.5707964)
      : chosen(0, 0.4636476090008061, 0.7853981633974483, 0.982793723247329, 1.5707963267948966)
    let low =
      isSingle
      ? chosen(0, 5.0121587e-09, -2.1855694e-08, -2.5131424e-08, -4.371139e-08)
      : chosen(
        0, 2.2698777452961687e-17, 3.061616997868383e-17, 1.3903311031230998e-17,
        6.123233995736766e-17)
    return sub(high, sub(fms(t, mul(z, p), low), t))
  }
}

/// The arc sine, sign of zero kept; NaN above 1.
///
/// Up to 1/2 `x + x^3 R(x^2)`; above `pi/2 - 2 arcsin(s)` with `s = sqrt((1 - x) / 2)`, arranged as in fdlibm:
/// from `pi/4` the leading half of `2 s` is taken off without rounding.
enum Arcsin: ElementaryFunction {
  static let bounds = (single: 1.5, double: 1.5)
  static let domain = -0.9...0.9
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.asin(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let a = l.magnitude(x)
    let isNear = l.less(a, l.number(0.5))
    let z = l.select(
      isNear, l.mul(a, a), l.mul(l.sub(l.number(1), a), l.number(0.5)))
    let quotient = l.arcsineQuotient(z)
    let near = l.fma(a, quotient, a)
    let (s, w, rest) = l.splitRoot(z)
    let small = l.sub(
      l.mul(l.add(s, s), quotient), l.sub(l.halfPiRest, l.add(rest, rest)))
    let far = l.sub(l.quarterPi, l.sub(small, l.sub(l.quarterPi, l.add(w, w))))
    return l.withSign(l.select(isNear, near, far), of: x)
  }
}

/// The arc cosine; NaN above 1.
///
/// Up to 1/2 `pi/2 - arcsin(x)`; above `2 arcsin(s)` with `s = sqrt((1 - |x|) / 2)`, and for negative numbers
/// `pi` less that.
enum Arccos: ElementaryFunction {
  static let bounds = (single: 1.5, double: 1.5)
  static let domain = -0.9...0.9
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.acos(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let a = l.magnitude(x)
    let isNear = l.less(a, l.number(0.5))
    let z = l.select(
      isNear, l.mul(a, a), l.mul(l.sub(l.number(1), a), l.number(0.5)))
    let quotient = l.arcsineQuotient(z)
    let near = l.sub(l.halfPi, l.sub(x, l.fnma(x, quotient, l.halfPiRest)))
    let (s, w, rest) = l.splitRoot(z)
    let positive = l.add(w, l.fma(s, quotient, rest))
    let negative = l.sub(l.halfPi, l.add(s, l.fms(s, quotient, l.halfPiRest)))
    let far = l.select(l.isNegative(x), negative, positive)
    return l.select(isNear, near, l.add(far, far))
  }
}

/// The arc tangent, sign of zero kept.
enum Arctan: ElementaryFunction {
  static let bounds = (single: 1.5, double: 1.5)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.atan(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    l.withSign(l.arctangent(l.magnitude(x), l.number(1)), of: x)
  }
}

/// The angle of the point with the coordinates `y` (the first operand) and `x`, by IEEE 754 also where they
/// are zeros or infinite.
///
/// Both are scaled by a power of 2 where a sum of them could overflow or a difference lose digits.
enum Arctan2: ElementaryFunction {
  static let bounds = (single: 1.5, double: 1.5)
  static let reference: @Sendable (Double, Double) -> Double = { y, x in Foundation.atan2(y, x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ y: L.Value, _ x: L.Value) -> L.Value {
    let (one, zero, infinity) = (l.number(1), l.number(0), l.number(.infinity))
    let (a, b) = (l.magnitude(y), l.magnitude(x))
    let isSteep = l.less(b, a)
    let large = l.select(isSteep, a, b)
    let isTiny = l.less(large, l.number(l.isSingle ? 0x1p-60 : 0x1p-500))
    let isHuge = l.less(l.number(l.isSingle ? 0x1p100 : 0x1p1000), large)
    let scale = l.select(
      isTiny, l.number(l.isSingle ? 0x1p60 : 0x1p500),
      l.select(isHuge, l.number(0x1p-10), one))
    if l.isSingle {
      // Two infinities are as two ones.
      let small = l.select(isSteep, b, a)
      let areInfinite = l.equal(small, infinity)
      let p = l.select(areInfinite, one, l.mul(small, scale))
      let scaled = l.mul(large, scale)
      let q = l.select(areInfinite, l.atMost(scaled, 1), scaled)
      let arc = l.turnedArc(p, q, isSteep: isSteep, isLeft: l.isNegative(x))
      return l.withSign(arc, of: y)
    }
    // Two infinities are as two ones, two zeros as 0 and 1.
    // One that is infinite alone makes the quotient 0 or infinite, without products of both.
    let isInfinite = l.equal(b, infinity)
    let areInfinite = l.and(l.equal(a, infinity), isInfinite)
    let above = l.select(areInfinite, one, l.mul(a, l.select(isInfinite, zero, scale)))
    let isZero = l.and(l.equal(a, zero), l.equal(b, zero))
    let below = l.select(l.or(isInfinite, isZero), one, l.mul(b, scale))
    let arc = l.arctangent(above, below)
    let (pi, piRest) = (l.number(3.141592653589793), l.number(1.2246467991473532e-16))
    let behind = l.sub(pi, l.sub(arc, piRest))
    return l.withSign(l.select(l.isNegative(x), behind, arc), of: y)
  }
}
