// Vector types and bit helpers that the elementary functions and the tile kernels share. Uses the
// standard library only. Everything works on whole vectors: the scalar overloads of comparisons
// don't compile to vector instructions.

typealias F8 = SIMD8<Float>
typealias I8 = SIMD8<Int32>
typealias D4 = SIMD4<Double>
typealias L4 = SIMD4<Int64>

/// Adding and subtracting `1.5 * 2^23` rounds a small float to a whole number, which then stands in
/// the low bits of the sum.
let roundShift: Float = 12_582_912
/// `1.5 * 2^52`, the same for doubles.
let roundShift64: Double = 6_755_399_441_055_744

extension SIMD8 where Scalar == Float {
  /// The floats with these bits.
  @inline(__always)
  init(bits: I8) { self = unsafeBitCast(bits, to: F8.self) }
}

extension SIMD4 where Scalar == Double {
  /// The doubles with these bits.
  @inline(__always)
  init(bits: L4) { self = unsafeBitCast(bits, to: D4.self) }
}

@inline(__always)
func bits(_ x: F8) -> I8 { unsafeBitCast(x, to: I8.self) }
@inline(__always)
func bits(_ x: D4) -> L4 { unsafeBitCast(x, to: L4.self) }
/// All ones where the mask is true.
@inline(__always)
func bits(_ mask: SIMDMask<I8>) -> I8 { unsafeBitCast(mask, to: I8.self) }
/// All ones where the mask is true.
@inline(__always)
func bits(_ mask: SIMDMask<L4>) -> L4 { unsafeBitCast(mask, to: L4.self) }

@inline(__always)
func allLanes(_ mask: SIMDMask<I8>) -> Bool {
  let lanes = unsafeBitCast(mask, to: SIMD4<UInt64>.self)
  let pair = lanes.lowHalf & lanes.highHalf
  return pair[0] & pair[1] == .max
}

@inline(__always)
func allLanes(_ mask: SIMDMask<L4>) -> Bool {
  let lanes = unsafeBitCast(mask, to: SIMD4<UInt64>.self)
  let pair = lanes.lowHalf & lanes.highHalf
  return pair[0] & pair[1] == .max
}

@inline(__always)
func magnitude(_ x: F8) -> F8 { F8(bits: bits(x) & I8(repeating: .max)) }
@inline(__always)
func magnitude(_ x: D4) -> D4 { D4(bits: bits(x) & L4(repeating: .max)) }

/// `x` with the sign bit of `y` switched on; `x` is positive, or negative only where `y` is.
@inline(__always)
func withSign(_ x: F8, of y: F8) -> F8 { F8(bits: bits(x) | (bits(y) & I8(repeating: .min))) }
/// As for floats.
@inline(__always)
func withSign(_ x: D4, of y: D4) -> D4 { D4(bits: bits(x) | (bits(y) & L4(repeating: .min))) }

/// The smaller one of both; NaN stays.
@inline(__always)
func atMost(_ x: F8, _ limit: Float) -> F8 {
  let limit = F8(repeating: limit)
  return x.replacing(with: limit, where: x .> limit)
}
/// The smaller one of both; NaN stays.
@inline(__always)
func atMost(_ x: D4, _ limit: Double) -> D4 {
  let limit = D4(repeating: limit)
  return x.replacing(with: limit, where: x .> limit)
}

/// `x` between two limits; NaN stays.
@inline(__always)
func clamp(_ x: F8, _ low: Float, _ high: Float) -> F8 {
  let low = F8(repeating: low)
  return atMost(x.replacing(with: low, where: x .< low), high)
}
/// `x` between two limits; NaN stays.
@inline(__always)
func clamp(_ x: D4, _ low: Double, _ high: Double) -> D4 {
  let low = D4(repeating: low)
  return atMost(x.replacing(with: low, where: x .< low), high)
}
