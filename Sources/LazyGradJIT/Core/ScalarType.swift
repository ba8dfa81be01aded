// The element types of arrays and how two of them combine. First file of the pipeline: it uses
// nothing else.
//
// What the record path of the library reads per node is `public @inlinable`, here and in Node and
// Tape: the compiler inlines no `package` declaration into another module. The module has no
// product, so nothing of it is visible outside the package either way.

/// The type of one array element.
///
/// The raw values are part of plan keys and snapshots: append only.
public enum ScalarType: UInt8, Sendable, CaseIterable {
  case bool = 0
  case uint8 = 1
  case int32 = 2
  case int64 = 3
  case float32 = 4
  case float64 = 5

  /// Bytes of one element.
  @inlinable
  package var size: Int {
    switch self {
    case .bool, .uint8: 1
    case .int32, .float32: 4
    case .int64, .float64: 8
    }
  }

  /// Whether gradients can exist for this type.
  @inlinable
  public var isFloating: Bool { rawValue >= ScalarType.float32.rawValue }

  /// NumPy's name of the type.
  package var name: String {
    switch self {
    case .bool: "bool"
    case .uint8: "uint8"
    case .int32: "int32"
    case .int64: "int64"
    case .float32: "float32"
    case .float64: "float64"
    }
  }

  /// The type that holds the values of both, by NumPy's promotion rules for arrays.
  ///
  /// `int32` and `int64` with `float32` give `float64`, as in NumPy: no 32-bit float holds every
  /// 32-bit integer. `uint8` fits into `float32`.
  @inlinable
  package static func promoted(_ a: ScalarType, _ b: ScalarType) -> ScalarType {
    if a == b { return a }
    let low = a.rawValue < b.rawValue ? a : b
    let high = a.rawValue < b.rawValue ? b : a
    if high == .float32, low == .int32 || low == .int64 { return .float64 }
    return high
  }
}
