// Element types as users see them. The engine's `ScalarType` has the same raw values.

internal import LazyGradJIT

/// The type of the elements of an array or tensor.
///
/// The raw values are part of the snapshot format.
public enum DType: UInt8, Sendable, Codable, CaseIterable, CustomStringConvertible {
  /// Truth values, one byte each.
  case bool = 0
  /// Unsigned 8-bit integers. Arithmetic wraps.
  case uint8 = 1
  /// Signed 32-bit integers. Arithmetic wraps.
  case int32 = 2
  /// Signed 64-bit integers, Swift's `Int`. Arithmetic wraps.
  case int64 = 3
  /// IEEE 754 single precision, Swift's `Float`.
  case float32 = 4
  /// IEEE 754 double precision, Swift's `Double`.
  case float64 = 5
  /// IEEE 754 half precision, Swift's `Float16` where the platform has that: 11 digits, up to 65504. Stored in
  /// 16 bits and computed in `float32`, with every result rounded once.
  case float16 = 6
  /// The upper half of a `float32`, `BFloat16`: its range, and 8 digits. Stored and computed as `float16` is.
  case bfloat16 = 7

  /// Bytes of one element.
  public var size: Int { scalarType.size }

  /// Whether tensors of this type can have gradients.
  public var isFloating: Bool { rawValue >= DType.float32.rawValue }

  /// NumPy's name of the type.
  public var description: String { scalarType.name }

  /// The type that an operation on arrays of both types gives, by NumPy's rules.
  ///
  /// `int32` or `int64` with a float gives `float64`, and `float16` with `bfloat16` gives `float32`. Swift scalars don't take part: they adapt
  /// to the array that they are combined with.
  public static func promoted(_ a: DType, _ b: DType) -> DType {
    DType(ScalarType.promoted(a.scalarType, b.scalarType))
  }

  /// NumPy's "same kind" rule: whether results of another type can be put into elements of this one. That
  /// goes within floats and within signed integers, and from a lower kind to a higher one.
  func canHold(_ result: DType) -> Bool {
    switch self {
    case .float32, .float64, .float16, .bfloat16: true
    case .int32, .int64: !result.isFloating
    case .uint8: result == .uint8 || result == .bool
    case .bool: result == .bool
    }
  }

  /// The type that elements are computed in.
  var computing: DType { DType(scalarType.computing) }

  var scalarType: ScalarType { ScalarType(rawValue: rawValue).unsafelyUnwrapped }

  init(_ type: ScalarType) { self = DType(rawValue: type.rawValue).unsafelyUnwrapped }
}
