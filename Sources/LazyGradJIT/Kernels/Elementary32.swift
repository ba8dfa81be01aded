// Elementary functions on eight floats: exponentials, logarithms and what is built on them. Used by
// the tile kernels; uses the lane helpers of LaneSupport.swift only. Multiplications and additions
// stay separate, so the same bits come out on machines with and without fused instructions.

/// Elementary functions in single precision, eight lanes at a time.
///
/// Every lane is computed alone: results don't depend on the neighbours. The polynomials are
/// minimax fits: Remez exchange at 45 digits, coefficients rounded to single precision one after
/// the other with the rest refitted. Error bounds are the ones that ElementaryTests asserts.
enum Elementary32 {
  /// 355/512: nine bits, so its products with exponents are exact.
  private static let ln2High: Float = 0.693359375
  private static let ln2Low: Float = -2.1219444e-4

  /// `x` as `k ln 2 + hi - lo` with a whole `k` and `|hi - lo| <= ln 2 / 2`, and `e^(hi - lo) - 1` as
  /// a sum `high + low`: `high` is exact, `low` below 1/12.
  ///
  /// Cody and Waite's reduction: `k ln2High` and its difference from `x` are exact. Keeping `lo`
  /// out of `hi` until the end leaves one rounding of a number below 1/2 before the final one.
  /// Then `e^r = 1 + r + r^2 q(r)`, fit error 2^-28.2.
  @inline(__always)
  static func reducedExp(_ x: F8) -> (k: I8, high: F8, low: F8) {
    let shifted = x * F8(repeating: 1.442695) + F8(repeating: roundShift)
    let kf = shifted - F8(repeating: roundShift)
    let k = bits(shifted) &- I8(repeating: 0x4B40_0000)
    let hi = x - kf * F8(repeating: ln2High)
    let lo = kf * F8(repeating: ln2Low)
    let r = hi - lo
    var q = r * F8(repeating: 0.001384039) + F8(repeating: 0.008369349)
    q = q * r + F8(repeating: 0.041668084)
    q = q * r + F8(repeating: 0.16666515)
    q = q * r + F8(repeating: 0.49999994)
    return (k, hi, r * r * q - lo)
  }

  /// `2^k` for `k` in -126...127.
  @inline(__always)
  static func power2(_ k: I8) -> F8 {
    F8(bits: (k &+ I8(repeating: 127)) &<< I8(repeating: 23))
  }

  /// `e^x`, at most 1 ULP, denormal results included.
  ///
  /// The power of two is applied in two halves: the first product is exact, the second rounds
  /// once, to a denormal number, zero or infinity where that is the result.
  @inline(__always)
  static func exp(_ x: F8) -> F8 {
    let (k, high, low) = reducedExp(clamp(x, -104, 89))
    let half = k &>> I8(repeating: 1)
    return (F8(repeating: 1) + (high + low)) * power2(half) * power2(k &- half)
  }

  /// `e^x - 1`, at most 1.2 ULP, sign of zero kept.
  ///
  /// `2 (2^(k-1) m + (2^(k-1) - 1/2))` for `m = e^r - 1`: no step overflows before the last. The low
  /// part of `m` is added last: rounded into the high one it would count twice next to zero.
  @inline(__always)
  static func expm1(_ x: F8) -> F8 {
    let (k, high, low) = reducedExp(clamp(x, -20, 89))
    let scale = power2(k &- I8(repeating: 1))
    let half = (scale * high + (scale - F8(repeating: 0.5))) + scale * low
    let result = (half + half).replacing(with: high + low, where: k .== I8(repeating: 0))
    return withSign(result, of: x)
  }

  /// `u` as `2^k (1 + f)` with `1 + f` between the roots of 1/2 and 2; `u` positive and normal.
  ///
  /// The exponent field becomes a float as the low bits of 2^23: lane-wise conversions of whole
  /// numbers break vector code apart.
  @inline(__always)
  private static func split(_ u: F8) -> (k: F8, f: F8) {
    let root = I8(repeating: 0x3F35_04F3)
    let shifted = bits(u) &+ (I8(repeating: 0x3F80_0000) &- root)
    let exponent = (shifted &>> I8(repeating: 23)) | I8(repeating: 0x4B00_0000)
    let k = F8(bits: exponent) - F8(repeating: 0x1p23 + 127)
    let m = F8(bits: (shifted & I8(repeating: 0x007F_FFFF)) &+ root)
    return (k, m - F8(repeating: 1))
  }

  /// `k ln2High + log(1 + f) + low` for a small `low`: `k ln2Low` and what else there is.
  ///
  /// `log(1 + f) = f - f^2/2 + f^3 P(f)` as in Cephes, P fitted anew (relative error 2^-29.7).
  /// The exact error of `k hi + f` goes into the small terms, so that one rounding remains.
  @inline(__always)
  private static func logSum(_ k: F8, _ f: F8, _ low: F8) -> F8 {
    var p = f * F8(repeating: 0.06623586) + F8(repeating: -0.11583784)
    p = p * f + F8(repeating: 0.118988946)
    p = p * f + F8(repeating: -0.12424182)
    p = p * f + F8(repeating: 0.14220239)
    p = p * f + F8(repeating: -0.16666761)
    p = p * f + F8(repeating: 0.20002052)
    p = p * f + F8(repeating: -0.25000036)
    p = p * f + F8(repeating: 0.33333313)
    let small = f * f * (p * f - F8(repeating: 0.5))
    let high = k * F8(repeating: ln2High)
    let sum = high + f
    let rest = (high - sum) + f
    return sum + (small + (rest + low))
  }

  /// The natural logarithm, at most 1 ULP; -inf at zero, NaN below.
  @inline(__always)
  static func log(_ x: F8) -> F8 {
    let (k, f) = split(x)
    let result = logSum(k, f, k * F8(repeating: ln2Low))
    let smallest = F8(repeating: .leastNormalMagnitude)
    if allLanes((x .>= smallest) .& (x .< F8(repeating: .infinity))) { return result }
    return logOfSpecials(x)
  }

  /// `log` with denormal numbers scaled up and the special values set; the same steps, and so the
  /// same bits, for the other lanes.
  @inline(never)
  private static func logOfSpecials(_ x: F8) -> F8 {
    let isTiny = x .< F8(repeating: .leastNormalMagnitude)
    let (scaled, f) = split(x.replacing(with: x * F8(repeating: 0x1p23), where: isTiny))
    let k = scaled - F8(repeating: 0).replacing(with: F8(repeating: 23), where: isTiny)
    let result = logSum(k, f, k * F8(repeating: ln2Low))
    return withLogSpecials(result, x, zero: x .== F8(repeating: 0), negative: x .< F8(repeating: 0))
  }

  @inline(__always)
  private static func withLogSpecials(
    _ result: F8, _ x: F8, zero: SIMDMask<I8>, negative: SIMDMask<I8>
  ) -> F8 {
    result.replacing(with: F8(repeating: -.infinity), where: zero)
      .replacing(with: F8(repeating: .nan), where: negative)
      .replacing(with: x, where: (x .== F8(repeating: .infinity)) .| (x .!= x))
  }

  /// `log(1 + x)`, at most 1 ULP, sign of zero kept; -inf at -1, NaN below.
  ///
  /// With `u = 1 + x` rounded and `c` its exact error, `log(1 + x)` is `log u + c / u` to first
  /// order (fdlibm's method); near zero `f = x` is exact and needs no correction.
  @inline(__always)
  static func log1p(_ x: F8) -> F8 {
    let one = F8(repeating: 1)
    let u = one + x
    let error = (x - (u - one)).replacing(with: one - (u - x), where: x .>= one)
    let (k, fu) = split(u)
    let isNear = k .== F8(repeating: 0)
    let f = fu.replacing(with: x, where: isNear)
    let correction = (error / u).replacing(with: F8(repeating: 0), where: isNear)
    let result = withSign(logSum(k, f, k * F8(repeating: ln2Low) + correction), of: x)
    if allLanes((x .> -one) .& (x .< F8(repeating: .infinity))) { return result }
    return withLogSpecials(result, x, zero: x .== -one, negative: x .< -one)
  }

  /// The hyperbolic tangent, at most 1.2 ULP, sign of zero kept.
  ///
  /// Below 0.625 `x + x^3 T(x^2)` (fit error 2^-28), above `1 - 2 / (e^2x + 1)`: Cephes' split. The
  /// denominator is `2^k m + (2^k + 1)`, rounded once. From 10 on the result is 1.
  @inline(__always)
  static func tanh(_ x: F8) -> F8 {
    let one = F8(repeating: 1)
    let a = atMost(magnitude(x), 10)
    let z = a * a
    var p = z * F8(repeating: -0.0056806705) + F8(repeating: 0.020619594)
    p = p * z + F8(repeating: -0.05373456)
    p = p * z + F8(repeating: 0.13331392)
    p = p * z + F8(repeating: -0.3333328)
    let near = a + a * (z * p)
    let (k, high, low) = reducedExp(a + a)
    let scale = power2(k)
    let far = one - F8(repeating: 2) / (scale * (high + low) + (scale + one))
    return withSign(far.replacing(with: near, where: a .< F8(repeating: 0.625)), of: x)
  }

  /// `1 / (1 + e^-x)`, at most 1.4 ULP, down to denormal results.
  ///
  /// Only `e = e^-|x|` is ever used, so nothing overflows: `e / (1 + e)` below zero, `1 / (1 + e)`
  /// above. What rounding takes from `e = 2^k + 2^k m` and from `1 + e` is put back to first order, with
  /// `1 - e/2` for `1 / (1 + e)`.
  @inline(__always)
  static func sigmoid(_ x: F8) -> F8 {
    let one = F8(repeating: 1)
    let zero = F8(repeating: 0)
    let a = -magnitude(x)
    let least = F8(repeating: -104)
    let (k, high, low) = reducedExp(a.replacing(with: least, where: a .< least))
    let half = k &>> I8(repeating: 1)
    let scale = power2(half) * power2(k &- half)
    let m = high + low
    let e = scale * (one + m)
    let rest = (scale - e) + scale * m
    let sum = one + e
    let error = ((one - sum) + e) + rest
    let isPositive = x .>= zero
    let quotient = e.replacing(with: one, where: isPositive) / sum
    let missing = rest.replacing(with: zero, where: isPositive) - quotient * error
    return quotient + missing * (one - F8(repeating: 0.5) * e)
  }
}
