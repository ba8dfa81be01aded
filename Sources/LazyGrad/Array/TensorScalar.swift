// The Swift types that elements are read and written as. Uses DType.

/// A Swift type that is the element type of arrays.
///
/// The conforming types are `Double`, `Float`, `BFloat16`, `Int`, `Int64`, `Int32`, `UInt8` and `Bool`, and
/// `Float16` where the platform has it, which macOS on x86-64 has not. The library relies on their memory layout, so a type of your own must not conform.
public protocol TensorScalar: NestedArray, HostOperand, Sendable where _Form == _Number {
  /// The element type that this Swift type stands for.
  static var dtype: DType { get }
  /// The nearest `Double`; what a floating-point tensor combines with when this value is used as a
  /// weakly typed scalar.
  var _double: Double { get }
  /// The value truncated towards zero; NaN and what does not fit give `Int64.min`, as the
  /// conversion instruction of x86-64 and therefore NumPy does.
  var _int64: Int64 { get }
}

extension TensorScalar {
  /// Scalars are nested zero deep.
  public static var _depth: Int { 0 }
  /// Adds nothing: a scalar has no axes.
  public func _appendShape(to shape: inout [Int]) {}
  /// Nothing to check: a scalar has no axes.
  public func _check(shape: [Int], axis: Int) throws(TensorError) {}
  /// Copies a row as it lies in memory.
  public static func _store(_ row: [Self], to cursor: inout UnsafeMutableRawPointer) {
    row.withUnsafeBytes { bytes in
      guard let source = bytes.baseAddress else { return }
      cursor.copyMemory(from: source, byteCount: bytes.count)
      cursor += bytes.count
    }
  }
}

extension Double: TensorScalar {
  /// `float64`.
  public static var dtype: DType { .float64 }
  /// The value itself.
  public var _double: Double { self }
  /// The value truncated towards zero.
  public var _int64: Int64 {
    // 2^63 is the first value that does not fit; -2^63 still does, and is its own result.
    self >= -0x1p63 && self < 0x1p63 ? Int64(self) : .min
  }
}

extension Float: TensorScalar {
  /// `float32`.
  public static var dtype: DType { .float32 }
  /// The same value.
  public var _double: Double { Double(self) }
  /// The value truncated towards zero.
  public var _int64: Int64 { Double(self)._int64 }
}

extension Int: TensorScalar {
  /// `int64`.
  public static var dtype: DType { .int64 }
  /// The nearest `Double`.
  public var _double: Double { Double(self) }
  /// The same value.
  public var _int64: Int64 { Int64(self) }
}

extension Int64: TensorScalar {
  /// `int64`.
  public static var dtype: DType { .int64 }
  /// The nearest `Double`.
  public var _double: Double { Double(self) }
  /// The value itself.
  public var _int64: Int64 { self }
}

extension Int32: TensorScalar {
  /// `int32`.
  public static var dtype: DType { .int32 }
  /// The same value.
  public var _double: Double { Double(self) }
  /// The same value.
  public var _int64: Int64 { Int64(self) }
}

extension UInt8: TensorScalar {
  /// `uint8`.
  public static var dtype: DType { .uint8 }
  /// The same value.
  public var _double: Double { Double(self) }
  /// The same value.
  public var _int64: Int64 { Int64(self) }
}

extension Bool: TensorScalar {
  /// `bool`.
  public static var dtype: DType { .bool }
  /// 1 for true, 0 for false.
  public var _double: Double { self ? 1 : 0 }
  /// 1 for true, 0 for false.
  public var _int64: Int64 { self ? 1 : 0 }
}
