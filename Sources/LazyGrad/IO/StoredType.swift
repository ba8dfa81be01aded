// The element types of .safetensors files, and how those that LazyGrad has not become ones that it has. Uses
// DType only.

/// An element type as a file names it.
struct StoredType {
  /// How its elements become an array's.
  enum Kind {
    /// As they are.
    case own(DType)
    /// Exactly, in a wider type.
    case widened(DType, Widening)
    /// LazyGrad has none that holds them.
    case foreign
  }

  /// Writes elements that a file has anywhere as elements of a wider type.
  typealias Widening =
    @Sendable (
      _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawPointer
    ) -> Void

  let name: String
  /// Bits of an element; nil for a name that nobody knows.
  private let bits: Int?
  /// Whether the format has such a type.
  var isKnown: Bool { bits != nil }
  let kind: Kind

  init(name: String) {
    self.name = FileProblem.printable(name.utf8)
    (bits, kind) =
      switch name {
      case "F64": (64, .own(.float64))
      case "F32": (32, .own(.float32))
      case "I64": (64, .own(.int64))
      case "I32": (32, .own(.int32))
      case "U8": (8, .own(.uint8))
      case "BOOL": (8, .own(.bool))
      case "F16": (16, .own(.float16))
      case "BF16": (16, .own(.bfloat16))
      case "I16": (16, .widened(.int32) { StoredType.widen($0, $1) { (x: Int16) in Int32(x) } })
      case "I8": (8, .widened(.int32) { StoredType.widen($0, $1) { (x: Int8) in Int32(x) } })
      case "U16": (16, .widened(.int32) { StoredType.widen($0, $1) { (x: UInt16) in Int32(x) } })
      case "U32": (32, .widened(.int64) { StoredType.widen($0, $1) { (x: UInt32) in Int64(x) } })
      case "U64", "C64": (64, .foreign)
      case "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ": (8, .foreign)
      case "F6_E2M3", "F6_E3M2": (6, .foreign)
      case "F4": (4, .foreign)
      default: (nil, .foreign)
      }
  }

  /// The name of one of LazyGrad's types, and its place in the order of the format: the elements of the
  /// widest types come first, so that all are aligned.
  static func own(_ dtype: DType) -> (name: String, order: Int) {
    switch dtype {
    case .int64: ("I64", 0)
    case .float64: ("F64", 1)
    case .float32: ("F32", 2)
    case .int32: ("I32", 3)
    case .bfloat16: ("BF16", 4)
    case .float16: ("F16", 5)
    case .uint8: ("U8", 6)
    case .bool: ("BOOL", 7)
    }
  }

  /// The type of the array that is read; nil where LazyGrad has none.
  var dtype: DType? {
    switch kind {
    case .own(let dtype), .widened(let dtype, _): dtype
    case .foreign: nil
    }
  }

  /// The bytes of an array in the file; nil where that is no number.
  func byteCount(_ shape: [Int]) -> Int? {
    guard let bits else { return nil }
    if shape.contains(0) { return 0 }
    var count = bits
    for length in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: length)
      if overflow { return nil }
      count = product
    }
    return count % 8 == 0 ? count / 8 : nil
  }

  private static func widen<Source: BitwiseCopyable, Target: BitwiseCopyable>(
    _ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawPointer,
    _ convert: (Source) -> Target
  ) {
    let (width, wide) = (MemoryLayout<Source>.size, MemoryLayout<Target>.size)
    for i in 0..<source.count / width {
      // Files may have them anywhere.
      let value = source.loadUnaligned(fromByteOffset: i * width, as: Source.self)
      target.storeBytes(of: convert(value), toByteOffset: i * wide, as: Target.self)
    }
  }
}
