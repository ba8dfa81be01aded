// Elementary functions on eight floats that need double precision inside or are no exponentials:
// sine, cosine, error function, power. Used by the tile kernels; uses LaneSupport.swift and, lane by
// lane, SlowLanes.swift for arguments outside the fast range.

extension Elementary32 {
  /// Up to here two constants reduce an argument well enough.
  private static let trigLimit: Float = 1e5

  /// `|x|` as `k pi/2 + high + low`, the sum about pi/4 at most.
  ///
  /// Cody and Waite's reduction in double precision: the first constant holds the 33 leading bits
  /// of pi/2 (fdlibm's choice), so its product with `k` is exact.
  @inline(__always)
  private static func reducedAngle(_ a: F8) -> (k: I8, high: F8, low: F8) {
    let shifted = a * F8(repeating: 0.63661975) + F8(repeating: roundShift)
    let kf = shifted - F8(repeating: roundShift)
    @inline(__always)
    func reduce(_ a: SIMD4<Float>, _ k: SIMD4<Float>) -> (SIMD4<Float>, SIMD4<Float>) {
      let k = D4(k)
      let first = D4(a) - k * D4(repeating: 1.57079632673412561417)
      let r = first - k * D4(repeating: 6.07710050650619224932e-11)
      let high = SIMD4<Float>(r)
      return (high, SIMD4<Float>(r - D4(high)))
    }
    let first = reduce(a.lowHalf, kf.lowHalf)
    let second = reduce(a.highHalf, kf.highHalf)
    return (
      bits(shifted), F8(lowHalf: first.0, highHalf: second.0),
      F8(lowHalf: first.1, highHalf: second.1)
    )
  }

  /// The sine of `high + low + k pi/2`, the sum at most pi/4: minimax fits of error 2^-27.9 for the sine's
  /// and 2^-33 for the cosine's polynomial. `1 - z/2` keeps what its rounding loses.
  @inline(__always)
  private static func quadrantSine(_ k: I8, _ high: F8, _ low: F8) -> F8 {
    let z = high * high
    var s = z * F8(repeating: -1.9506604e-4) + F8(repeating: 0.008332101)
    s = s * z + F8(repeating: -0.16666654)
    let sine = high + (high * z * s + low)
    var c = z * F8(repeating: 2.443067e-5) + F8(repeating: -0.0013887301)
    c = c * z + F8(repeating: 0.041666646)
    let one = F8(repeating: 1)
    let half = F8(repeating: 0.5) * z
    let most = one - half
    let cosine = most + (((one - most) - half) + z * z * c)
    let isOdd = (k & I8(repeating: 1)) .!= I8(repeating: 0)
    let flip = (k & I8(repeating: 2)) &<< I8(repeating: 30)
    return F8(bits: bits(sine.replacing(with: cosine, where: isOdd)) ^ flip)
  }

  /// The sine, at most 1.2 ULP for every finite argument, sign of zero kept.
  @inline(__always)
  static func sin(_ x: F8) -> F8 {
    let a = magnitude(x)
    let (k, high, low) = reducedAngle(a)
    let result = F8(bits: bits(quadrantSine(k, high, low)) ^ (bits(x) & I8(repeating: .min)))
    if allLanes(a .<= F8(repeating: trigLimit)) { return result }
    return largeAngles(x, result) { SlowLanes.sin($0) }
  }

  /// The cosine, at most 1.2 ULP for every finite argument.
  @inline(__always)
  static func cos(_ x: F8) -> F8 {
    let a = magnitude(x)
    let (k, high, low) = reducedAngle(a)
    let result = quadrantSine(k &+ I8(repeating: 1), high, low)
    if allLanes(a .<= F8(repeating: trigLimit)) { return result }
    return largeAngles(x, result) { SlowLanes.cos($0) }
  }

  @inline(never)
  private static func largeAngles(
    _ x: F8, _ result: F8, _ function: (Double) -> Double
  ) -> F8 {
    var result = result
    for lane in 0..<8 where !(x[lane].magnitude <= trigLimit) {
      result[lane] = Float(function(Double(x[lane])))
    }
    return result
  }

  /// The error function, at most 1.2 ULP, sign of zero kept.
  ///
  /// Below 1 `x + x E(x^2)` (fit error 2^-29.5); above `1 - e^G(x)` with `G` a fit of
  /// `log(erfc x)` up to 3.95, absolute error 2^-29.7 after the exponential. From there on the
  /// result is 1.
  @inline(__always)
  static func erf(_ x: F8) -> F8 {
    let a = atMost(magnitude(x), 3.95)
    let z = a * a
    var p = z * F8(repeating: 7.920304e-5) + F8(repeating: -8.0307503e-4)
    p = p * z + F8(repeating: 0.0051907334)
    p = p * z + F8(repeating: -0.026855126)
    p = p * z + F8(repeating: 0.11283618)
    p = p * z + F8(repeating: -0.3761263)
    p = p * z + F8(repeating: 0.12837917)
    let near = a + a * p
    var g = a * F8(repeating: 1.8796789e-4) + F8(repeating: -0.0029639741)
    g = g * a + F8(repeating: 0.021906368)
    g = g * a + F8(repeating: -0.10325601)
    g = g * a + F8(repeating: -0.6379652)
    g = g * a + F8(repeating: -1.1272022)
    g = g * a + F8(repeating: -3.1250349e-4)
    let (k, high, low) = reducedExp(g)
    let far = F8(repeating: 1) - (F8(repeating: 1) + (high + low)) * power2(k)
    return withSign(far.replacing(with: near, where: a .< F8(repeating: 1)), of: x)
  }

  /// The base-2 logarithm of positive numbers in double precision, relative error below 2^-44;
  /// infinite at zero and infinity.
  ///
  /// `log(1 + f) = 2 atanh(s)` with `s = f / (2 + f)`, the series' tail as a minimax fit.
  @inline(__always)
  private static func log2(_ x: D4) -> D4 {
    let root = L4(repeating: 0x3FE6_A09E_667F_3BCD)
    let shifted = bits(x) &+ (L4(repeating: 0x3FF0_0000_0000_0000) &- root)
    let exponent = unsafeBitCast(
      unsafeBitCast(shifted, to: SIMD4<UInt64>.self) &>> SIMD4<UInt64>(repeating: 52), to: L4.self)
    let k = D4(bits: exponent | L4(repeating: 0x4330_0000_0000_0000)) - D4(repeating: 0x1p52 + 1023)
    let m = D4(bits: (shifted & L4(repeating: 0x000F_FFFF_FFFF_FFFF)) &+ root)
    let f = m - D4(repeating: 1)
    let s = f / (D4(repeating: 2) + f)
    let z = s * s
    var p = z * D4(repeating: 0.19585536786641003) + D4(repeating: 0.221760984907639)
    p = p * z + D4(repeating: 0.28572111163060526)
    p = p * z + D4(repeating: 0.3999999560449164)
    p = p * z + D4(repeating: 0.6666666667584686)
    let result = k + (s * (D4(repeating: 2) + z * p)) * D4(repeating: 1.4426950408889634)
    let infinity = D4(repeating: .infinity)
    return result.replacing(with: -infinity, where: x .== D4(repeating: 0))
      .replacing(with: infinity, where: x .== infinity)
  }

  /// `x^y` for `x >= 0` and finite `y`; the result rounds to single precision, denormal numbers,
  /// zero or infinity in one conversion at the end.
  @inline(__always)
  private static func positivePower(_ x: SIMD4<Float>, _ y: SIMD4<Float>) -> SIMD4<Float> {
    let y = D4(y)
    let product = (y * log2(D4(x))).replacing(
      with: D4(repeating: 0), where: y .== D4(repeating: 0))
    let t = clamp(product, -300, 300)
    let shift = D4(repeating: roundShift64 + 1023)
    let shifted = t + shift
    let r = t - (shifted - shift)
    var p = r * D4(repeating: 1.335995676745536e-05) + D4(repeating: 0.00015461391244587285)
    p = p * r + D4(repeating: 0.0013341953880636923)
    p = p * r + D4(repeating: 0.009618056861158852)
    p = p * r + D4(repeating: 0.05550400367534373)
    p = p * r + D4(repeating: 0.24022650921039576)
    p = p * r + D4(repeating: 0.6931471838204887)
    let scale = D4(bits: bits(shifted) &<< L4(repeating: 52))
    return SIMD4<Float>((D4(repeating: 1) + r * p) * scale)
  }

  /// `x^y` with the special cases of IEEE 754, at most 1 ULP (in fact a correctly rounded result
  /// nearly always: the inside is double precision).
  ///
  /// Negative bases take their sign from the parity of `y`. NaN, infinite `y` and negative bases
  /// with huge `y` go to the C library.
  @inline(__always)
  static func pow(_ x: F8, _ y: F8) -> F8 {
    let a = magnitude(x)
    let b = magnitude(y)
    let power = F8(
      lowHalf: positivePower(a.lowHalf, y.lowHalf), highHalf: positivePower(a.highHalf, y.highHalf))
    let isNegative = bits(x) .< I8(repeating: 0)
    let isPlain = (x .== x) .& (b .< F8(repeating: .infinity))
    if allLanes(isPlain .& .!isNegative) { return power }
    let shifted = b + F8(repeating: roundShift)
    let isWhole = (shifted - F8(repeating: roundShift)) .== b
    let parity = bits(shifted) &<< I8(repeating: 31)
    let signed = F8(bits: bits(power) | (parity & bits(isNegative .& isWhole)))
    let isUndefined =
      (x .< F8(repeating: 0)) .& (a .< F8(repeating: .infinity)) .& .!isWhole
    let result = signed.replacing(with: F8(repeating: .nan), where: isUndefined)
    let isFast = isPlain .& (.!isNegative .| (b .<= F8(repeating: 0x1p22)))
    if allLanes(isFast) { return result }
    return slowPower(x, y, result, isFast)
  }

  @inline(never)
  private static func slowPower(_ x: F8, _ y: F8, _ result: F8, _ isFast: SIMDMask<I8>) -> F8 {
    var result = result
    for lane in 0..<8 where !isFast[lane] {
      result[lane] = Float(SlowLanes.pow(Double(x[lane]), Double(y[lane])))
    }
    return result
  }
}
