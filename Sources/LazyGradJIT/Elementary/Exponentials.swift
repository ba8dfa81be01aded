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
    let q =
      isSingle
      ? polynomial(r, 0.001384039, 0.008369349, 0.041668084, 0.16666515, 0.49999994)
      : polynomial(
        r, 2.082698350306029e-09, 2.511204161770591e-08, 2.755758052976643e-07,
        2.7557234846699143e-06, 2.480158692848493e-05, 0.0001984126989640121,
        0.0013888888889114408, 0.008333333333317025, 0.041666666666666095, 0.16666666666666682, 0.5)
    return (k, high, fms(mul(r, r), q, lo))
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
/// Below 0.625 `x + x^3 T(x^2)` (fit error 2^-28 and 2^-56), above `1 - 2 / (e^2x + 1)`: Cephes' split.
/// The denominator is `2^k m + (2^k + 1)`, rounded once. From 10 (20) on the result is 1.
enum Tanh: ElementaryFunction {
  static let bounds = (single: 1.3, double: 1.3)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.tanh(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let a = l.atMost(l.magnitude(x), l.isSingle ? 10 : 20)
    let z = l.mul(a, a)
    let p =
      l.isSingle
      ? l.polynomial(z, -0.0056806705, 0.020619594, -0.05373456, 0.13331392, -0.3333328)
      : l.polynomial(
        z, -1.6065183407439666e-05, 7.713296532959381e-05, -0.00022855777709767576,
        0.0005863153353336482, -0.0014549591884027704, 0.0035919893843827104,
        -0.008863221050141114, 0.021869487581628873, -0.05396825393160848, 0.13333333333263087,
        -0.33333333333332865)
    let near = l.fma(a, l.mul(z, p), a)
    let (k, high, low) = l.reducedExp(l.add(a, a))
    let one = l.number(1)
    let scale = l.power2(k)
    let far = l.sub(
      one, l.div(l.number(2), l.fma(scale, l.add(high, low), l.add(scale, one))))
    return l.withSign(l.select(l.less(a, l.number(0.625)), near, far), of: x)
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
