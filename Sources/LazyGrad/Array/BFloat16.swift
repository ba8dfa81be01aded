// The Swift type of bfloat16 elements, for programs that have their bits. Uses the engine's conversions.

internal import LazyGradJIT

/// A number in the format of the type `bfloat16`: the upper 16 bits of a `Float`.
///
///     let bits: [UInt16] = ...                                        // from a file or another library
///     let x = NDArray(bits.map { BFloat16(bitPattern: $0) })          // dtype=bfloat16
///     let same = x.elements(as: BFloat16.self).map(\.bitPattern)
///
/// It holds a number and has no arithmetic: `Float(x)` is exact, and `BFloat16(y)` rounds.
public struct BFloat16: Sendable, Hashable, Codable, CustomStringConvertible {
  /// Sign, 8 bits of exponent, 7 of fraction.
  public var bitPattern: UInt16

  /// The number with these bits.
  public init(bitPattern: UInt16) { self.bitPattern = bitPattern }

  /// The number that is nearest to a `Float`, of two that are as near the one with an even fraction.
  public init(_ value: Float) { bitPattern = BFloat16Format.bits(value) }

  /// The number that is nearest to a `Double`, with one rounding.
  public init(_ value: Double) { bitPattern = BFloat16Format.bits(value) }

  /// Whether two numbers are equal, as floats are: 0 is -0, and not-a-number is nothing.
  public static func == (a: BFloat16, b: BFloat16) -> Bool { Float(a) == Float(b) }

  /// Feeds the number to a hasher.
  public func hash(into hasher: inout Hasher) { hasher.combine(Float(self)) }

  /// The number as `Float` writes it.
  public var description: String { Float(self).description }
}

// Disfavoured: they would be tried in every conversion of a program that has no such numbers.

extension Float {
  /// The same number.
  @_disfavoredOverload
  public init(_ value: BFloat16) { self = BFloat16Format.float(value.bitPattern) }
}

extension Double {
  /// The same number.
  @_disfavoredOverload
  public init(_ value: BFloat16) { self = Double(Float(value)) }
}

extension BFloat16: TensorScalar {
  /// `bfloat16`.
  public static var dtype: DType { .bfloat16 }
  /// The same number.
  public var _form: _Number { _Number(_double) }
  /// The same value.
  public var _double: Double { Double(self) }
  /// The value truncated towards zero.
  public var _int64: Int64 { Double(self)._int64 }
}

#if !(os(macOS) && arch(x86_64))
  extension Float16: TensorScalar {
    /// `float16`.
    public static var dtype: DType { .float16 }
    /// The same number.
    public var _form: _Number { _Number(_double) }
    /// The same value.
    public var _double: Double { Double(Float16Format.float(bitPattern)) }
    /// The value truncated towards zero.
    public var _int64: Int64 { _double._int64 }
  }
#endif
