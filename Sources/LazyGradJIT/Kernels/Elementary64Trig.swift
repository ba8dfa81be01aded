// Elementary functions on four doubles that are no exponentials: sine, cosine, error function,
// power. Used by the tile kernels; uses LaneSupport.swift and, outside the fast ranges, the C
// library's functions lane by lane.

import Foundation

extension Elementary64 {
  /// Up to here the quadrant's number has 20 bits, so that its products with 33-bit constants are
  /// exact.
  private static let trigLimit: Double = 1e6

  /// `|x|` as `k pi/2 + r` with `|r|` about pi/4 at most.
  ///
  /// Cody and Waite's reduction with pi/2 in pieces of 33, 33 and 53 bits (fdlibm's constants).
  @inline(__always)
  private static func reducedAngle(_ a: D4) -> (k: L4, r: D4) {
    let shifted = a * D4(repeating: 0.6366197723675814) + D4(repeating: roundShift64)
    let k = shifted - D4(repeating: roundShift64)
    let high = a - k * D4(repeating: 1.57079632673412561417)
    let middle = high - k * D4(repeating: 6.07710050630396597660e-11)
    return (bits(shifted), middle - k * D4(repeating: 2.02226624879595063154e-21))
  }

  /// The sine of `r + k pi/2`, `|r|` at most pi/4: minimax fits of error 2^-58 for the sine's and
  /// 2^-64 for the cosine's polynomial.
  @inline(__always)
  private static func quadrantSine(_ k: L4, _ r: D4) -> D4 {
    let z = r * r
    var s = z * D4(repeating: 1.589688647504889e-10) + D4(repeating: -2.5050759890218664e-08)
    s = s * z + D4(repeating: 2.755731370507332e-06)
    s = s * z + D4(repeating: -0.0001984126982985339)
    s = s * z + D4(repeating: 0.008333333333322486)
    s = s * z + D4(repeating: -0.16666666666666632)
    let sine = r + r * z * s
    var c = z * D4(repeating: -1.135991735862497e-11) + D4(repeating: 2.087572899354335e-09)
    c = c * z + D4(repeating: -2.755731439925887e-07)
    c = c * z + D4(repeating: 2.4801587289666895e-05)
    c = c * z + D4(repeating: -0.001388888888887447)
    c = c * z + D4(repeating: 0.0416666666666666)
    let cosine = (D4(repeating: 1) - D4(repeating: 0.5) * z) + z * z * c
    let oddBits = L4(repeating: 0) &- (k & L4(repeating: 1))
    let chosen = (bits(cosine) & oddBits) | (bits(sine) & ~oddBits)
    return D4(bits: chosen ^ ((k & L4(repeating: 2)) &<< L4(repeating: 62)))
  }

  /// The sine, at most 3 ULP for every finite argument, sign of zero kept.
  @inline(__always)
  static func sin(_ x: D4) -> D4 {
    let a = magnitude(x)
    let (k, r) = reducedAngle(a)
    let result = D4(bits: bits(quadrantSine(k, r)) ^ (bits(x) & L4(repeating: .min)))
    if allLanes(a .<= D4(repeating: trigLimit)) { return result }
    return largeAngles(x, result) { Foundation.sin($0) }
  }

  /// The cosine, at most 3 ULP for every finite argument.
  @inline(__always)
  static func cos(_ x: D4) -> D4 {
    let a = magnitude(x)
    let (k, r) = reducedAngle(a)
    let result = quadrantSine(k &+ L4(repeating: 1), r)
    if allLanes(a .<= D4(repeating: trigLimit)) { return result }
    return largeAngles(x, result) { Foundation.cos($0) }
  }

  @inline(never)
  private static func largeAngles(
    _ x: D4, _ result: D4, _ function: (Double) -> Double
  ) -> D4 {
    var result = result
    for lane in 0..<4 where !(x[lane].magnitude <= trigLimit) {
      result[lane] = function(x[lane])
    }
    return result
  }

  /// The error function, at most 3 ULP, sign of zero kept.
  ///
  /// Below 1 `x + x E(x^2)` (fit error 2^-61). Above `1 - e^(-x^2) H(1 / (x + 2))` up to 6, where
  /// the result is 1: `H` fits the scaled complement `e^(x^2) erfc x` with the error weighted by
  /// `e^(-x^2)`, so that 2^-55 is what reaches the result.
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
    let t = one / (a + D4(repeating: 2))
    var h = t * D4(repeating: 50.005253686544286) + D4(repeating: -103.1696854258458)
    h = h * t + D4(repeating: 40.396288764370595)
    h = h * t + D4(repeating: 73.17415496745707)
    h = h * t + D4(repeating: -92.16669421600865)
    h = h * t + D4(repeating: 38.8173675103503)
    h = h * t + D4(repeating: -8.58342901541741)
    h = h * t + D4(repeating: 5.000366030670162)
    h = h * t + D4(repeating: 1.68898216020769)
    h = h * t + D4(repeating: 1.1528743206647127)
    h = h * t + D4(repeating: 0.5629441041634071)
    h = h * t + D4(repeating: 2.856577304203225e-05)
    let (k, m) = reducedExp(-z)
    let far = one - (one + m) * power2(k) * h
    return withSign(far.replacing(with: near, where: a .< one), of: x)
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
