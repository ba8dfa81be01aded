// Numbers of 16 bits: how float16 and bfloat16 become float32 and back. Kernels, the interpreter of graphs
// and host arrays convert by these definitions, and machine code gives the same bits. Uses ScalarType.
//
// Swift's `Float16` would do for one of the two, but is not there on every platform, and on baseline x86-64
// takes a call for every number. The lanes are spelled out: comparisons of vectors of integers, and loops
// over lanes with conditions, don't become vector code.

/// A floating type of 16 bits: sign, exponent and fraction as IEEE 754 lays them out.
package protocol HalfFormat {
  /// The numbers as float32, which all of them are. NaN stays NaN, with its payload.
  static func floats(_ bits: SIMD8<UInt16>) -> SIMD8<Float>
  /// The nearest numbers, of two that are as near the even one. What is too large becomes infinite, what is
  /// too small zero. NaN becomes a quiet one, with as much of its payload as there is room for.
  static func bits(_ x: SIMD8<Float>) -> SIMD8<UInt16>
}

extension HalfFormat {
  /// One number as a float32.
  @inline(__always)
  package static func float(_ bits: UInt16) -> Float { floats(SIMD8(repeating: bits))[0] }

  /// The nearest number to one float32.
  @inline(__always)
  package static func bits(_ x: Float) -> UInt16 { bits(SIMD8(repeating: x))[0] }

  /// The nearest number to a double, with one rounding.
  @inline(__always)
  package static func bits(_ x: Double) -> UInt16 { bits(HalfFloat.cutToOdd(x)) }
}

/// IEEE 754's binary16: 5 bits of exponent, 10 of fraction. A signaling NaN becomes a quiet one, as the
/// processor's conversion makes it.
package enum Float16Format: HalfFormat {
  @inline(__always)
  package static func floats(_ bits: SIMD8<UInt16>) -> SIMD8<Float> {
    let half = SIMD8<UInt32>(truncatingIfNeeded: bits)
    let sign = (half & 0x8000) &<< 16
    // With a bias of 15 the digits are a number that is 2^112 times as large as what a float32 takes them
    // for, below the normal numbers too; the product is exact.
    let digits = (half & 0x7FFF) &<< 13
    let finite = (unsafeBitCast(digits, to: SIMD8<Float>.self) * 0x1p112).asBits
    let quiet = ~digits.isBelow(0x0F80_0001) & 0x0040_0000
    let magnitude = digits.isBelow(0x0F80_0000).chosen(finite, digits | 0x7F80_0000 | quiet)
    return unsafeBitCast(magnitude | sign, to: SIMD8<Float>.self)
  }

  @inline(__always)
  package static func bits(_ x: SIMD8<Float>) -> SIMD8<UInt16> {
    let sign = (x.asBits &>> 16) & 0x8000
    let magnitude = x.asBits & 0x7FFF_FFFF
    // Normal numbers get another bias and lose 13 digits; a carry out of the fraction raises the exponent, at
    // last to that of infinity.
    let carry = ((magnitude &>> 13) & 1) &+ 0xFFF
    let normal = (magnitude &+ carry &- 0x3800_0000) &>> 13
    // Smaller ones have 24 digits behind the point: as many as floats from a half on have.
    let isSmall = magnitude.isBelow(0x3880_0000)
    let raised = unsafeBitCast(magnitude & isSmall, to: SIMD8<Float>.self) + 0.5
    let finite = isSmall.chosen(raised.asBits &- 0x3F00_0000, normal)
    let nan = ((magnitude &>> 13) & 0x3FF) | 0x7E00
    let other = magnitude.isBelow(0x7F80_0001).chosen(SIMD8(repeating: 0x7C00), nan)
    return SIMD8<UInt16>(
      truncatingIfNeeded: magnitude.isBelow(0x4780_0000).chosen(finite, other) | sign)
  }
}

/// The upper half of a float32: 8 bits of exponent, 7 of fraction.
package enum BFloat16Format: HalfFormat {
  @inline(__always)
  package static func floats(_ bits: SIMD8<UInt16>) -> SIMD8<Float> {
    unsafeBitCast(SIMD8<UInt32>(truncatingIfNeeded: bits) &<< 16, to: SIMD8<Float>.self)
  }

  @inline(__always)
  package static func bits(_ x: SIMD8<Float>) -> SIMD8<UInt16> {
    let bits = x.asBits
    let nearest = bits &+ (((bits &>> 16) & 1) &+ 0x7FFF)
    let isNumber = (bits & 0x7FFF_FFFF).isBelow(0x7F80_0001)
    return SIMD8<UInt16>(
      truncatingIfNeeded: isNumber.chosen(nearest, bits | 0x0040_0000) &>> 16)
  }
}

extension SIMD8<Float> {
  @inline(__always)
  fileprivate var asBits: SIMD8<UInt32> { unsafeBitCast(self, to: SIMD8<UInt32>.self) }
}

extension SIMD8<UInt32> {
  /// Ones in the lanes of less than `limit`; both are less than 2^31.
  @inline(__always)
  fileprivate func isBelow(_ limit: UInt32) -> SIMD8<UInt32> {
    let difference = unsafeBitCast(self &- SIMD8(repeating: limit), to: SIMD8<Int32>.self)
    return unsafeBitCast(difference &>> 31, to: SIMD8<UInt32>.self)
  }

  /// In lanes of ones the first, elsewhere the second.
  @inline(__always)
  fileprivate func chosen(_ x: SIMD8<UInt32>, _ y: SIMD8<UInt32>) -> SIMD8<UInt32> {
    (x & self) | (y & ~self)
  }
}

package enum HalfFloat {
  /// A double as a float32 that is rounded to fewer digits as the double would be: cut off towards zero, with
  /// a last digit of 1 where anything was cut off (S. Boldo and G. Melquiond, Emulation of FMA and Correctly
  /// Rounded Sums: Proved Algorithms Using Rounding to Odd, 2008).
  @inline(__always)
  package static func cutToOdd(_ x: Double) -> Float {
    let nearest = Float(x)
    let back = Double(nearest)
    let excess: UInt32 = back.magnitude > x.magnitude ? 1 : 0
    let rest: UInt32 = back < x || back > x ? 1 : 0
    return Float(bitPattern: (nearest.bitPattern &- excess) | rest)
  }

  /// A number of a type of 16 bits.
  package static func float(_ bits: UInt16, _ type: ScalarType) -> Float {
    type == .float16 ? Float16Format.float(bits) : BFloat16Format.float(bits)
  }

  /// The bits of the number of a type of 16 bits that is nearest to a double.
  package static func bits(_ x: Double, _ type: ScalarType) -> UInt16 {
    type == .float16 ? Float16Format.bits(x) : BFloat16Format.bits(x)
  }
}

extension HalfFloat {
  /// The largest number of a type of 16 bits that is not greater than a double.
  package static func floor(_ x: Double, _ type: ScalarType) -> UInt16 {
    let nearest = bits(x, type)
    guard Double(float(nearest, type)) > x else { return nearest }
    return nearest & 0x7FFF == 0 ? 0x8001 : nearest < 0x8000 ? nearest - 1 : nearest + 1
  }
}

extension ScalarType {
  /// A double as the nearest number of this type, where that is float16 or bfloat16; else as it is.
  package func roundedHalf(_ x: Double) -> Double {
    isHalf ? Double(HalfFloat.float(HalfFloat.bits(x, self), self)) : x
  }

  /// What a kernel that computes says to a type in which nothing is computed.
  func isNotComputed(_ kernel: String) -> Never {
    preconditionFailure("\(kernel): expected a type that is computed in, got \(name)")
  }
}
