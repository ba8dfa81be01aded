// Exponentials and what is built on them. Uses ElementaryLanes.

import Foundation

extension ElementaryLanes {
  /// 9 bits of ln 2 in single precision and 33 in double (fdlibm's choice): products with exponents are
  /// exact.
  @inline(__always)
  var ln2High: Value { number(isSingle ? 0.693359375 : 6.93147180369123816490e-01) }
  /// The rest of ln 2.
  @inline(__always)
  var ln2Low: Value { number(isSingle ? -2.1219444e-4 : 1.90821492927058770002e-10) }

  /// `x` as `k ln 2 + high - lo` with a whole `k` and `|high - lo| <= ln 2 / 2`, and `e^(high - lo) - 1`
  /// as a sum `high + low`: `high` is exact, `low` below 1/12.
  ///
  /// Cody and Waite's reduction: `k ln2High` and its difference from `x` are exact. Keeping `lo` out of
  /// `high` until the end leaves one rounding of a number below 1/2 before the final one. Then
  /// `e^r = 1 + r + r^2 q(r)`, fit error 2^-28.2 and 2^-60.
  @inline(__always)
  func reducedExp(_ x: Value) -> (k: Value, high: Value, low: Value) {
    let k = round(mul(x, number(isSingle ? 1.442695 : 1.4426950408889634)))
    let high = fnma(k, ln2High, x)
    let lo = mul(k, ln2Low)
    let r = sub(high, lo)
    return (k, high, fms(mul(r, r), expQuotient(r), lo))
  }

  /// `q(r)` of `e^r = 1 + r + r^2 q(r)` for `|r| <= ln 2 / 2`.
  @inline(__always)
  func expQuotient(_ r: Value) -> Value {
    isSingle
      ? polynomial(r, 0.001384039, 0.008369349, 0.041668084, 0.16666515, 0.49999994)
      : polynomial(
        r, 2.082698350306029e-09, 2.511204161770591e-08, 2.755758052976643e-07,
        2.7557234846699143e-06, 2.480158692848493e-05, 0.0001984126989640121,
        0.0013888888889114408, 0.008333333333317025, 0.041666666666666095, 0.16666666666666682, 0.5)
  }

  /// A quarter of half of `e^a + sign / e^a`, for `a` below 90 (711): nothing overflows.
  ///
  /// With `e^a = 2^k (1 + high + low)` and `p = 2^(k - 3)` it is `p + (p high + (p low + rest))`, where
  /// `rest = sign / (64 p (1 + high + low))`.
  @inline(__always)
  fileprivate func hyperbolic(_ a: Value, sign: Double) -> Value {
    let (k, high, low) = reducedExp(a)
    let p = power2(sub(k, number(3)))
    let rest = div(number(sign / 64), mul(p, add(add(high, low), number(1))))
    return add(p, fma(p, high, fma(p, low, rest)))
  }
}

/// `e^x`, denormal results included.
enum Exp: ElementaryFunction {
  static let bounds = (single: 1.0, double: 1.0)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.exp(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let x = l.isSingle ? l.clamp(x, -104, 89) : l.clamp(x, -746, 710)
    let (k, high, low) = l.reducedExp(x)
    return l.scaled(l.add(l.add(high, low), l.number(1)), k)
  }
}

/// `2^x`, denormal results included; whole exponents are exact.
///
/// With `x = k + r` the exponent of e is `r ln 2`. Of `r` the leading 15 (20) bits times the leading bits of
/// ln 2 are an exact high part, as `reducedExp` has one; what is left of both is in the low part.
enum Exp2: ElementaryFunction {
  static let bounds = (single: 1.0, double: 1.0)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.exp2(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let x = l.isSingle ? l.clamp(x, -151, 129) : l.clamp(x, -1076, 1025)
    let k = l.round(x)
    let r = l.sub(x, k)
    let grid = l.isSingle ? 0x1p14 : 0x1p18
    let leading = l.mul(l.round(l.mul(r, l.number(grid))), l.number(1 / grid))
    let high = l.mul(leading, l.ln2High)
    let ln2 = l.number(l.isSingle ? 0.6931472 : 0.6931471805599453)
    let rest = l.fma(leading, l.ln2Low, l.mul(l.sub(r, leading), ln2))
    let t = l.add(high, rest)
    let low = l.fma(l.mul(t, t), l.expQuotient(t), rest)
    return l.scaled(l.add(l.add(high, low), l.number(1)), k)
  }
}

/// The hyperbolic sine, sign of zero kept.
///
/// Below 1.04, where `e^x` has grown by less than two binary digits, `x + x^3 S(x^2)` (fit error 2^-31.3 and
/// 2^-61.8); above `(e^x - e^-x) / 2`.
enum Sinh: ElementaryFunction {
  static let bounds = (single: 1.5, double: 1.5)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.sinh(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let a = l.atMost(l.magnitude(x), l.isSingle ? 90 : 711)
    let z = l.mul(a, a)
    let p =
      l.isSingle
      ? l.polynomial(z, 2.7932745e-06, 0.00019841392, 0.008333315, 0.16666667)
      : l.polynomial(
        z, 7.774775217961607e-13, 1.6056709471478694e-10, 2.505213048359063e-08,
        2.755731910915964e-06, 0.00019841269841588448, 0.008333333333332915, 0.16666666666666669)
    let near = l.fma(a, l.mul(z, p), a)
    let far = l.mul(l.hyperbolic(a, sign: -1), l.number(4))
    return l.withSign(l.select(l.less(a, l.number(1.04)), near, far), of: x)
  }
}

/// The hyperbolic cosine.
///
/// Below 0.35 `1 + (x^2 / 2 + x^4 C(x^2))` (fit error 2^-33.1 and 2^-69.5); above `(e^x + e^-x) / 2`.
enum Cosh: ElementaryFunction {
  static let bounds = (single: 1.5, double: 1.5)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.cosh(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let a = l.atMost(l.magnitude(x), l.isSingle ? 90 : 711)
    let z = l.mul(a, a)
    let p =
      l.isSingle
      ? l.fma(z, l.number(0.001393711), l.number(0.041666444))
      : l.polynomial(
        z, 2.0922674967971913e-09, 2.7557249450543866e-07, 2.480158735119445e-05,
        0.001388888888887275, 0.041666666666666685)
    let near = l.add(l.fma(l.mul(z, z), p, l.mul(z, l.number(0.5))), l.number(1))
    let far = l.mul(l.hyperbolic(a, sign: 1), l.number(4))
    return l.select(l.less(a, l.number(0.35)), near, far)
  }
}

/// `e^x - 1`, sign of zero kept.
///
/// `2 (2^(k-1) m + (2^(k-1) - 1/2))` for `m = e^r - 1`: no step overflows before the last. The low part
/// of `m` is added last: rounded into the high one it would count twice next to zero.
enum Expm1: ElementaryFunction {
  static let bounds = (single: 1.3, double: 1.3)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.expm1(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let (k, high, low) = l.reducedExp(l.isSingle ? l.clamp(x, -20, 89) : l.clamp(x, -40, 710))
    let scale = l.power2(l.sub(k, l.number(1)))
    let half = l.fma(scale, low, l.fma(scale, high, l.sub(scale, l.number(0.5))))
    let isNear = l.equal(k, l.number(0))
    return l.withSign(l.select(isNear, l.add(high, low), l.add(half, half)), of: x)
  }
}

/// The hyperbolic tangent, sign of zero kept.
///
/// With `a = k ln 2 + r`, `0 <= r < ln 2`, and `t = tanh r` it is `(4^k - 1 + (4^k + 1) t) / (4^k + 1 +
/// (4^k - 1) t)`. For `k = 0` that is `t`; from 1 on it is computed as `1 + (t - 1) / d` with a quotient
/// of at most 0.4, halved above and below. `t` is `r + r^3 T(r^2)` (fit error 2^-26.1 and 2^-57.1). From 10
/// (20) on the result is 1.
///
/// `k` is rounded down by clearing the binary digits behind the point, of which the sum has 14. It goes up
/// a little late, as 1.4426 is less than 1 / ln 2: so `t` is never negative, and `1 - t` at most 1.
enum Tanh: ElementaryFunction {
  static let bounds = (single: 1.3, double: 1.4)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.tanh(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let a = l.atMost(l.magnitude(x), l.isSingle ? 10 : 20)
    // Half of the exponents' bias goes along with k: shifted to their place it is that of 4^k / 2.
    let shift = l.number(l.roundShift * 0x1p-14 + (l.bias - 1) / 2)
    let sum = l.and(l.fma(a, l.number(1.4426), shift), l.bits(-1 << 14))
    let scale = l.shiftLeft(sum, l.exponentPlace + 1 - 14)
    let k = l.sub(sum, shift)
    let near = l.fnma(k, l.number(l.isSingle ? 0.6931472 : 0.6931471805599453), a)
    // Single precision's ln 2 happens to have 28 correct binary digits.
    let r = l.isSingle ? near : l.fnma(k, l.number(2.319046813846e-17), near)
    let z = l.mul(r, r)
    let p =
      l.isSingle
      ? l.polynomial(z, -0.0051907278, 0.020148093, -0.053579554, 0.13329409, -0.33333203)
      : l.polynomial(
        z, 4.907716671959943e-06, -2.7365331843042587e-05, 8.848460172355071e-05,
        -0.00023508674660677474, 0.000588687104783456, -0.0014555254243490405,
        0.0035920789899024246, -0.008863230305423648, 0.021869488180284585,
        -0.05396825395400287, 0.13333333333304645, -0.3333333333333313)
    let t = l.fma(l.mul(r, z), p, r)
    let half = l.number(0.5)
    let denominator = l.fma(l.sub(scale, half), t, l.add(scale, half))
    let start = l.atMost(k, 1)
    let result = l.add(start, l.div(l.sub(t, start), denominator))
    return l.withSign(result, of: x)
  }
}

/// `1 / (1 + e^-x)`, down to denormal results.
///
/// Only `e = e^-|x|` is ever used, so nothing overflows: `e / (1 + e)` below zero, `1 / (1 + e)` above.
/// What rounding takes from `e = 2^k + 2^k m` and from `1 + e` is put back to first order, with
/// `1 - e/2` for `1 / (1 + e)`.
enum Sigmoid: ElementaryFunction {
  static let bounds = (single: 1.4, double: 1.4)
  /// Without overflow, and without cancellation on either side.
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in
    if x >= 0 { return 1 / (1 + Foundation.exp(-x)) }
    let e = Foundation.exp(x)
    return e / (1 + e)
  }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let one = l.number(1)
    let zero = l.number(0)
    let below = l.or(x, l.signBit)
    let (k, high, low) = l.reducedExp(l.atLeast(below, l.isSingle ? -104 : -746))
    let m = l.add(high, low)
    let scale = l.scaled(one, k)
    let e = l.mul(scale, l.add(m, one))
    let rest = l.fma(scale, m, l.sub(scale, e))
    let sum = l.add(e, one)
    let error = l.add(l.add(l.sub(one, sum), e), rest)
    let isPositive = l.lessEqual(zero, x)
    let quotient = l.div(l.select(isPositive, one, e), sum)
    let missing = l.fnma(quotient, error, l.select(isPositive, zero, rest))
    return l.fma(missing, l.fnma(e, l.number(0.5), one), quotient)
  }
}
