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

  /// Bytes of one element.
  public var size: Int { scalarType.size }

  /// Whether tensors of this type can have gradients.
  public var isFloating: Bool { rawValue >= DType.float32.rawValue }

  /// NumPy's name of the type.
  public var description: String { scalarType.name }

  /// The type that an operation on arrays of both types works in, by NumPy's rules.
  ///
  /// `int32` or `int64` with `float32` gives `float64`. Swift scalars don't take part: they adapt
  /// to the array that they are combined with.
  public static func promoted(_ a: DType, _ b: DType) -> DType {
    DType(ScalarType.promoted(a.scalarType, b.scalarType))
  }

  /// NumPy's "same kind" rule: whether results of another type can be put into elements of this one. That
  /// goes within floats and within signed integers, and from a lower kind to a higher one.
  func canHold(_ result: DType) -> Bool {
    switch self {
    case .float32, .float64: true
    case .int32, .int64: !result.isFloating
    case .uint8: result == .uint8 || result == .bool
    case .bool: result == .bool
    }
  }

  var scalarType: ScalarType { ScalarType(rawValue: rawValue).unsafelyUnwrapped }

  init(_ type: ScalarType) { self = DType(rawValue: type.rawValue).unsafelyUnwrapped }
}
