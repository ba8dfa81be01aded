// Elementary functions on four doubles: exponentials, logarithms and what is built on them. Used by
// the tile kernels; uses the lane helpers of LaneSupport.swift only. The methods are those of
// Elementary32.swift with longer polynomials; comments there tell why they work.

/// Elementary functions in double precision, four lanes at a time.
///
/// The polynomials are minimax fits: Remez exchange at 45 digits, coefficients rounded to double.
/// Error bounds are the ones that ElementaryTests asserts.
enum Elementary64 {
  /// The 33 leading bits of ln 2: exact when multiplied by an exponent. fdlibm's choice.
  private static let ln2High = 6.93147180369123816490e-01
  private static let ln2Low = 1.90821492927058770002e-10

  /// `x` as `k ln 2 + hi - lo` with a whole `k`, and `e^(hi - lo) - 1` as a sum `high + low` with an
  /// exact `high`; fit error 2^-60.
  @inline(__always)
  static func reducedExp(_ x: D4) -> (k: D4, high: D4, low: D4) {
    let shift = D4(repeating: roundShift64)
    let k = (x * D4(repeating: 1.4426950408889634) + shift) - shift
    let hi = x - k * D4(repeating: ln2High)
    let lo = k * D4(repeating: ln2Low)
    let r = hi - lo
    var q = r * D4(repeating: 2.082698350306029e-09) + D4(repeating: 2.511204161770591e-08)
    q = q * r + D4(repeating: 2.755758052976643e-07)
    q = q * r + D4(repeating: 2.7557234846699143e-06)
    q = q * r + D4(repeating: 2.480158692848493e-05)
    q = q * r + D4(repeating: 0.0001984126989640121)
    q = q * r + D4(repeating: 0.0013888888889114408)
    q = q * r + D4(repeating: 0.008333333333317025)
    q = q * r + D4(repeating: 0.041666666666666095)
    q = q * r + D4(repeating: 0.16666666666666682)
    q = q * r + D4(repeating: 0.5)
    return (k, hi, r * r * q - lo)
  }

  /// `2^k` for whole `k` in -1022...1023: the shifting constant carries the bias along, so the
  /// low bits of the sum are the exponent field.
  @inline(__always)
  static func power2(_ k: D4) -> D4 {
    D4(bits: bits(k + D4(repeating: roundShift64 + 1023)) &<< L4(repeating: 52))
  }

  /// `e^x`, at most 1 ULP, denormal results included.
  @inline(__always)
  static func exp(_ x: D4) -> D4 {
    let (k, high, low) = reducedExp(clamp(x, -746, 710))
    let shift = D4(repeating: roundShift64)
    let half = (k * D4(repeating: 0.5) + shift) - shift
    return (D4(repeating: 1) + (high + low)) * power2(half) * power2(k - half)
  }

  /// `e^x - 1`, at most 1.2 ULP, sign of zero kept.
  @inline(__always)
  static func expm1(_ x: D4) -> D4 {
    let (k, high, low) = reducedExp(clamp(x, -40, 710))
    let scale = power2(k - D4(repeating: 1))
    let half = (scale * high + (scale - D4(repeating: 0.5))) + scale * low
    let result = (half + half).replacing(with: high + low, where: k .== D4(repeating: 0))
    return withSign(result, of: x)
  }

  /// `u` as `2^k (1 + f)` with `1 + f` between the roots of 1/2 and 2; `u` positive and normal.
  @inline(__always)
  private static func split(_ u: D4) -> (k: D4, f: D4) {
    let root = L4(repeating: 0x3FE6_A09E_667F_3BCD)
    let shifted = bits(u) &+ (L4(repeating: 0x3FF0_0000_0000_0000) &- root)
    let exponent = unsafeBitCast(
      unsafeBitCast(shifted, to: SIMD4<UInt64>.self) &>> SIMD4<UInt64>(repeating: 52), to: L4.self)
    let k = D4(bits: exponent | L4(repeating: 0x4330_0000_0000_0000)) - D4(repeating: 0x1p52 + 1023)
    let m = D4(bits: (shifted & L4(repeating: 0x000F_FFFF_FFFF_FFFF)) &+ root)
    return (k, m - D4(repeating: 1))
  }

  /// `k ln2High + log(1 + f) + low` for a small `low`: `k ln2Low` and what else there is.
  ///
  /// With `s = f / (2 + f)` the series of `2 atanh(s)` gives
  /// `log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2)))`, fdlibm's arrangement; `R` fitted anew,
  /// relative error 2^-59.
  @inline(__always)
  private static func logSum(_ k: D4, _ f: D4, _ low: D4) -> D4 {
    let s = f / (D4(repeating: 2) + f)
    let z = s * s
    var p = z * D4(repeating: 0.14798254355874008) + D4(repeating: 0.15313832761378274)
    p = p * z + D4(repeating: 0.18183572327162073)
    p = p * z + D4(repeating: 0.22222198429548629)
    p = p * z + D4(repeating: 0.28571428743681315)
    p = p * z + D4(repeating: 0.3999999999940937)
    p = p * z + D4(repeating: 0.6666666666666735)
    let square = D4(repeating: 0.5) * f * f
    let tail = square - (s * (square + z * p) + low)
    return k * D4(repeating: ln2High) - (tail - f)
  }

  /// The natural logarithm, at most 1 ULP; -inf at zero, NaN below.
  @inline(__always)
  static func log(_ x: D4) -> D4 {
    let (k, f) = split(x)
    let result = logSum(k, f, k * D4(repeating: ln2Low))
    let smallest = D4(repeating: .leastNormalMagnitude)
    if allLanes((x .>= smallest) .& (x .< D4(repeating: .infinity))) { return result }
    return logOfSpecials(x)
  }

  /// `log` with denormal numbers scaled up and the special values set.
  @inline(never)
  private static func logOfSpecials(_ x: D4) -> D4 {
    let zero = D4(repeating: 0)
    let isTiny = x .< D4(repeating: .leastNormalMagnitude)
    let (scaled, f) = split(x.replacing(with: x * D4(repeating: 0x1p54), where: isTiny))
    let k = scaled - zero.replacing(with: D4(repeating: 54), where: isTiny)
    let result = logSum(k, f, k * D4(repeating: ln2Low))
    return withLogSpecials(result, x, zero: x .== zero, negative: x .< zero)
  }

  @inline(__always)
  private static func withLogSpecials(
    _ result: D4, _ x: D4, zero: SIMDMask<L4>, negative: SIMDMask<L4>
  ) -> D4 {
    result.replacing(with: D4(repeating: -.infinity), where: zero)
      .replacing(with: D4(repeating: .nan), where: negative)
      .replacing(with: x, where: (x .== D4(repeating: .infinity)) .| (x .!= x))
  }

  /// `log(1 + x)`, at most 1 ULP, sign of zero kept; -inf at -1, NaN below.
  @inline(__always)
  static func log1p(_ x: D4) -> D4 {
    let one = D4(repeating: 1)
    let zero = D4(repeating: 0)
    let u = one + x
    let error = (x - (u - one)).replacing(with: one - (u - x), where: x .>= one)
    let (k, fu) = split(u)
    let isNear = k .== zero
    let f = fu.replacing(with: x, where: isNear)
    let correction = (error / u).replacing(with: zero, where: isNear)
    let result = withSign(logSum(k, f, k * D4(repeating: ln2Low) + correction), of: x)
    if allLanes((x .> -one) .& (x .< D4(repeating: .infinity))) { return result }
    return withLogSpecials(result, x, zero: x .== -one, negative: x .< -one)
  }

  /// The hyperbolic tangent, at most 1.2 ULP, sign of zero kept.
  ///
  /// Below 0.625 `x + x^3 T(x^2)` (fit error 2^-56), above `1 - 2 / (2^k m + (2^k + 1))`.
  @inline(__always)
  static func tanh(_ x: D4) -> D4 {
    let one = D4(repeating: 1)
    let a = atMost(magnitude(x), 20)
    let z = a * a
    var p = z * D4(repeating: -1.6065183407439666e-05) + D4(repeating: 7.713296532959381e-05)
    p = p * z + D4(repeating: -0.00022855777709767576)
    p = p * z + D4(repeating: 0.0005863153353336482)
    p = p * z + D4(repeating: -0.0014549591884027704)
    p = p * z + D4(repeating: 0.0035919893843827104)
    p = p * z + D4(repeating: -0.008863221050141114)
    p = p * z + D4(repeating: 0.021869487581628873)
    p = p * z + D4(repeating: -0.05396825393160848)
    p = p * z + D4(repeating: 0.13333333333263087)
    p = p * z + D4(repeating: -0.33333333333332865)
    let near = a + a * (z * p)
    let (k, high, low) = reducedExp(a + a)
    let scale = power2(k)
    let far = one - D4(repeating: 2) / (scale * (high + low) + (scale + one))
    return withSign(far.replacing(with: near, where: a .< D4(repeating: 0.625)), of: x)
  }

  /// `1 / (1 + e^-x)`, at most 1.4 ULP, down to denormal results.
  @inline(__always)
  static func sigmoid(_ x: D4) -> D4 {
    let one = D4(repeating: 1)
    let zero = D4(repeating: 0)
    let a = -magnitude(x)
    let least = D4(repeating: -746)
    let (k, high, low) = reducedExp(a.replacing(with: least, where: a .< least))
    let shift = D4(repeating: roundShift64)
    let half = (k * D4(repeating: 0.5) + shift) - shift
    let scale = power2(half) * power2(k - half)
    let m = high + low
    let e = scale * (one + m)
    let rest = (scale - e) + scale * m
    let sum = one + e
    let error = ((one - sum) + e) + rest
    let isPositive = x .>= zero
    let quotient = e.replacing(with: one, where: isPositive) / sum
    let missing = rest.replacing(with: zero, where: isPositive) - quotient * error
    return quotient + missing * (one - D4(repeating: 0.5) * e)
  }
}
