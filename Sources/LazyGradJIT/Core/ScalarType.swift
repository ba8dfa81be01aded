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
  /// IEEE 754's half precision, and the upper half of a float32: types that are stored. What is computed
  /// with them is computed in float32 and rounded.
  case float16 = 6
  case bfloat16 = 7

  /// Bytes of one element.
  @inlinable
  package var size: Int {
    switch self {
    case .bool, .uint8: 1
    case .float16, .bfloat16: 2
    case .int32, .float32: 4
    case .int64, .float64: 8
    }
  }

  /// Whether gradients can exist for this type.
  @inlinable
  public var isFloating: Bool { rawValue >= ScalarType.float32.rawValue }

  /// Whether this is float16 or bfloat16, in which nothing is computed.
  @inlinable
  public var isHalf: Bool { rawValue >= ScalarType.float16.rawValue }

  /// Whether this is a floating type that operations are recorded in as they are: one comparison, as
  /// `isFloating` is.
  @inlinable
  package var isComputedFloat: Bool { rawValue &- ScalarType.float32.rawValue < 2 }

  /// The type that values of this one are computed in.
  @inlinable
  public var computing: ScalarType { isHalf ? .float32 : self }

  /// NumPy's name of the type.
  package var name: String {
    switch self {
    case .bool: "bool"
    case .uint8: "uint8"
    case .int32: "int32"
    case .int64: "int64"
    case .float32: "float32"
    case .float64: "float64"
    case .float16: "float16"
    case .bfloat16: "bfloat16"
    }
  }

  /// The type that holds the values of both, by NumPy's promotion rules for arrays.
  ///
  /// `int32` and `int64` with `float32` give `float64`, as in NumPy: no 32-bit float holds every
  /// 32-bit integer. `uint8` fits into all floats. `float16` and `bfloat16` are below `float32`, and neither
  /// holds the other's numbers.
  @inlinable
  package static func promoted(_ a: ScalarType, _ b: ScalarType) -> ScalarType {
    if a == b { return a }
    let low = a.rawValue < b.rawValue ? a : b
    let high = a.rawValue < b.rawValue ? b : a
    if high.isHalf { return promoted(half: high, low) }
    if high == .float32, low == .int32 || low == .int64 { return .float64 }
    return high
  }

  @usableFromInline @inline(never)
  static func promoted(half: ScalarType, _ other: ScalarType) -> ScalarType {
    switch other {
    case .bool, .uint8: half
    case .int32, .int64, .float64: .float64
    case .float32, .float16, .bfloat16: .float32
    }
  }
}
