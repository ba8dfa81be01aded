// Elementary functions on four doubles that are no exponentials: sine, cosine, error function,
// power. Used by the tile kernels; uses LaneSupport.swift and, lane by lane, SlowLanes.swift where
// that is not enough.

import Foundation

extension Elementary64 {
  /// Up to here the quadrant's number has 20 bits, so that its products with 33-bit constants are
  /// exact.
  private static let trigLimit: Double = 1e6

  /// `|x|` as `k pi/2 + high + low` with a sum of about pi/4 at most, and where that has
  /// enough correct bits.
  ///
  /// Cody and Waite's reduction with pi/2 in pieces of 33, 33 and 53 bits (fdlibm's constants). The
  /// first two products and the first difference are exact; what the second one loses to rounding is
  /// in `low`. 119 bits of pi/2 are enough unless all but 2^-30 of `|x|` cancels.
  @inline(__always)
  private static func reducedAngle(_ a: D4) -> (k: L4, high: D4, low: D4, isGood: SIMDMask<L4>) {
    let shifted = a * D4(repeating: 0.6366197723675814) + D4(repeating: roundShift64)
    let k = shifted - D4(repeating: roundShift64)
    let first = a - k * D4(repeating: 1.57079632673412561417)
    let product = k * D4(repeating: 6.07710050630396597660e-11)
    let second = first - product
    let rest = ((first - second) - product) - k * D4(repeating: 2.02226624879595063154e-21)
    let high = second + rest
    let isGood =
      (a .<= D4(repeating: trigLimit)) .& (a * D4(repeating: 0x1p-30) .<= magnitude(high))
    return (bits(shifted), high, (second - high) + rest, isGood)
  }

  /// The sine of `high + low + k pi/2`, the sum at most pi/4: minimax fits of error 2^-58 for the
  /// sine's and 2^-64 for the cosine's polynomial, arranged as in fdlibm: `low` counts to first order,
  /// and `1 - z/2` keeps what its rounding loses.
  @inline(__always)
  static func quadrantSine(_ k: L4, _ high: D4, _ low: D4) -> D4 {
    let half = D4(repeating: 0.5)
    let one = D4(repeating: 1)
    let z = high * high
    let cube = z * high
    var s = z * D4(repeating: 1.589688647504889e-10) + D4(repeating: -2.5050759890218664e-08)
    s = s * z + D4(repeating: 2.755731370507332e-06)
    s = s * z + D4(repeating: -0.0001984126982985339)
    s = s * z + D4(repeating: 0.008333333333322486)
    let tail = z * (half * low - cube * s) - low
    let sine = high - (tail - cube * D4(repeating: -0.16666666666666632))
    var c = z * D4(repeating: -1.135991735862497e-11) + D4(repeating: 2.087572899354335e-09)
    c = c * z + D4(repeating: -2.755731439925887e-07)
    c = c * z + D4(repeating: 2.4801587289666895e-05)
    c = c * z + D4(repeating: -0.001388888888887447)
    c = c * z + D4(repeating: 0.0416666666666666)
    let most = one - half * z
    let cosine = most + ((((one - most) - half * z) - high * low) + z * z * c)
    let oddBits = L4(repeating: 0) &- (k & L4(repeating: 1))
    let chosen = (bits(cosine) & oddBits) | (bits(sine) & ~oddBits)
    return D4(bits: chosen ^ ((k & L4(repeating: 2)) &<< L4(repeating: 62)))
  }

  /// The sine, at most 1 ULP for every finite argument, sign of zero kept.
  @inline(__always)
  static func sin(_ x: D4) -> D4 {
    let (k, high, low, isGood) = reducedAngle(magnitude(x))
    let result = D4(bits: bits(quadrantSine(k, high, low)) ^ (bits(x) & L4(repeating: .min)))
    if allLanes(isGood) { return result }
    return completed(result, isGood) { SlowLanes.sin(x[$0]) }
  }

  /// The cosine, at most 1 ULP for every finite argument.
  @inline(__always)
  static func cos(_ x: D4) -> D4 {
    let (k, high, low, isGood) = reducedAngle(magnitude(x))
    let result = quadrantSine(k &+ L4(repeating: 1), high, low)
    if allLanes(isGood) { return result }
    return completed(result, isGood) { SlowLanes.cos(x[$0]) }
  }

  @inline(never)
  private static func completed(
    _ result: D4, _ isGood: SIMDMask<L4>, _ function: (Int) -> Double
  ) -> D4 {
    var result = result
    for lane in 0..<4 where !isGood[lane] { result[lane] = function(lane) }
    return result
  }

  /// The error function, at most 1.3 ULP, sign of zero kept.
  ///
  /// Below 0.93 `x + x E(x^2)` (fit error 2^-61). Above `1 - e^(-x^2) H((x - 2) / (x + 2))` up to 6,
  /// where the result is 1: `H` fits the scaled complement `e^(x^2) erfc x` with the error weighted by
  /// `e^(-x^2)`, so that 2^-57 is what reaches the result.
  @inline(__always)
  static func erf(_ x: D4) -> D4 {
    let one = D4(repeating: 1)
    let a = atMost(magnitude(x), 6)
    let z = a * a
    var p = z * D4(repeating: 1.634200659368824e-10) + D4(repeating: -1.7609269169293968e-09)
    p = p * z + D4(repeating: 1.62983459619935e-08)
    p = p * z + D4(repeating: -1.6597636923930035e-07)
    p = p * z + D4(repeating: 1.6484674770357287e-06)
    p = p * z + D4(repeating: -1.4927092076190329e-05)
    p = p * z + D4(repeating: 0.00012055394242585424)
    p = p * z + D4(repeating: -0.0008548328733610603)
    p = p * z + D4(repeating: 0.0052239776556675084)
    p = p * z + D4(repeating: -0.026866170648280275)
    p = p * z + D4(repeating: 0.11283791670972064)
    p = p * z + D4(repeating: -0.3761263890318411)
    p = p * z + D4(repeating: 0.1283791670955126)
    let near = a + a * p
    let two = D4(repeating: 2)
    let s = (a - two) / (a + two)
    var h = s * D4(repeating: -1.1959799050474521e-05) + D4(repeating: -2.5814180247141926e-05)
    h = h * s + D4(repeating: 2.78992141839782e-05)
    h = h * s + D4(repeating: 0.00017427435840475084)
    h = h * s + D4(repeating: 4.350854242462059e-05)
    h = h * s + D4(repeating: -0.0009819806965891936)
    h = h * s + D4(repeating: -0.0008471421193755734)
    h = h * s + D4(repeating: 0.00699746194093891)
    h = h * s + D4(repeating: 0.0037328924032330253)
    h = h * s + D4(repeating: -0.07897858101766606)
    h = h * s + D4(repeating: 0.24165819424239252)
    h = h * s + D4(repeating: -0.4271858474139556)
    h = h * s + D4(repeating: 0.25539567631050586)
    let (k, high, low) = reducedExp(-z)
    let whole = h * power2(k)
    let far = one - (whole + whole * (high + low))
    return withSign(far.replacing(with: near, where: a .< D4(repeating: 0.93)), of: x)
  }

  /// `x^y` with the special cases of IEEE 754, by the C library lane by lane: its error is below
  /// 1 ULP, which takes a logarithm in twice the working precision.
  @inline(__always)
  static func pow(_ x: D4, _ y: D4) -> D4 {
    D4(
      Foundation.pow(x[0], y[0]), Foundation.pow(x[1], y[1]), Foundation.pow(x[2], y[2]),
      Foundation.pow(x[3], y[3]))
  }
}
