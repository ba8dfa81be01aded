// Reads a corpus of cases: a manifest of JSON lines and one file with the arrays.

import Foundation
import LazyGrad

/// A value of the manifest.
enum JSON: Decodable {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case list([JSON])
  case object([String: JSON])

  init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let x = try? value.decode(Bool.self) {
      self = .bool(x)
    } else if let x = try? value.decode(Int.self) {
      self = .int(x)
    } else if let x = try? value.decode(Double.self) {
      self = .double(x)
    } else if let x = try? value.decode(String.self) {
      self = .string(x)
    } else if let x = try? value.decode([JSON].self) {
      self = .list(x)
    } else {
      self = .object(try value.decode([String: JSON].self))
    }
  }

  subscript(_ key: String) -> JSON {
    if case .object(let members) = self { return members[key] ?? .null }
    return .null
  }

  var isNull: Bool { if case .null = self { true } else { false } }

  var string: String? { if case .string(let x) = self { x } else { nil } }

  var bool: Bool? { if case .bool(let x) = self { x } else { nil } }

  var int: Int? { if case .int(let x) = self { x } else { nil } }

  /// A number; infinities and the like are written as `{"float": "inf"}`.
  var double: Double? {
    switch self {
    case .int(let x): Double(x)
    case .double(let x): x
    case .object: self["float"].string.flatMap { Double($0) }
    default: nil
    }
  }

  /// A list; Python's tuples are written as `{"tuple": [...]}`.
  var list: [JSON]? {
    switch self {
    case .list(let x): x
    case .object: self["tuple"].list
    default: nil
    }
  }

  var keys: Set<String> { if case .object(let members) = self { Set(members.keys) } else { [] } }
}

/// A corpus, from this folder or from where `LAZYGRAD_CONFORMANCE` says.
struct Corpus: Sendable {
  let folder: String
  /// Whether it is the one that belongs to these tests.
  let isOwn: Bool
  private let cases: [String: [String]]
  private let data: Data

  /// The file could not be read, or a line of the manifest is no case.
  struct Unreadable: Error, CustomStringConvertible {
    let description: String
  }

  static let shared = Result { try Corpus() }

  private init() throws {
    let own = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures").path
    let other = ProcessInfo.processInfo.environment["LAZYGRAD_CONFORMANCE"]
    isOwn = other == nil
    folder = other ?? own
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: folder + "/data.bin"))
      let text = try String(contentsOfFile: folder + "/manifest.jsonl", encoding: .utf8)
      var cases: [String: [String]] = [:]
      for line in text.split(separator: "\n") {
        let kind = ["op", "prog", "guard"].first { line.hasPrefix("{\"kind\": \"\($0)\"") }
        guard let kind else {
          throw Unreadable(description: "\(folder): no case: \(line.prefix(80))")
        }
        cases[kind, default: []].append(String(line))
      }
      self.cases = cases
    } catch let error as Unreadable {
      throw error
    } catch {
      throw Unreadable(description: "\(folder): expected manifest.jsonl and data.bin: \(error)")
    }
  }

  func all(_ kind: String) throws -> [JSON] {
    let decoder = JSONDecoder()
    return try (cases[kind] ?? []).map { try decoder.decode(JSON.self, from: Data($0.utf8)) }
  }

  /// The array that a case names; nil for a type that LazyGrad does not have.
  func array(_ reference: JSON) -> NDArray? {
    guard let type = reference["dt"].string, let dtype = DType(numpyName: type),
      let shape = reference["shape"].list?.compactMap(\.int), let offset = reference["off"].int
    else { return nil }
    let count = shape.reduce(1, *)
    func make<T: TensorScalar>(_: T.Type) -> NDArray {
      data.withUnsafeBytes { bytes in
        let size = MemoryLayout<T>.size
        let values = (0..<count).map {
          bytes.loadUnaligned(fromByteOffset: offset + $0 * size, as: T.self)
        }
        return NDArray(values, dtype: dtype).reshaped(shape)
      }
    }
    switch dtype {
    case .float64: return make(Double.self)
    case .float32: return make(Float.self)
    case .int64: return make(Int64.self)
    case .int32: return make(Int32.self)
    case .uint8: return make(UInt8.self)
    case .bool: return make(UInt8.self)
    case .float16, .bfloat16:
      return data.withUnsafeBytes { bytes in
        try? NDArray(shape: shape, dtype: dtype) {
          $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + 2 * count]))
        }
      }
    }
  }
}

extension DType {
  init?(numpyName: String) {
    guard let type = DType.allCases.first(where: { "\($0)" == numpyName }) else { return nil }
    self = type
  }
}

/// What differs between two arrays by the corpus's tolerances, or nil.
///
/// Special values compare by class: NaN with NaN, infinities and zeros with their sign.
func difference(
  _ actual: NDArray, _ expected: NDArray, relative: Double, absolute: Double,
  signsOfZeros: Bool = true
) -> String? {
  if actual.shape != expected.shape || actual.dtype != expected.dtype {
    return "expected \(expected.dtype)\(expected.shape), got \(actual.dtype)\(actual.shape)"
  }
  let pairs = zip(actual.elements(as: Double.self), expected.elements(as: Double.self))
  for (i, (x, y)) in pairs.enumerated() {
    let agrees =
      if x.isNaN || y.isNaN {
        x.isNaN && y.isNaN
      } else if x.isInfinite || y.isInfinite {
        x == y
      } else if y == 0 {
        abs(x) <= absolute && (x != 0 || x.sign == y.sign || !signsOfZeros)
      } else {
        abs(x - y) <= absolute + relative * abs(y)
      }
    if !agrees { return "element \(i): expected \(y), got \(x)" }
  }
  return nil
}

/// The tolerances of the corpus for a type.
func tolerance(_ dtype: DType) -> (relative: Double, absolute: Double) {
  switch dtype {
  case .float16, .bfloat16: (1e-2, 1e-3)
  case .float32: (1e-5, 1e-6)
  default: (1e-9, 1e-12)
  }
}

/// Prints a line of the report at once: test runners hold output back.
func report(_ line: String) {
  FileHandle.standardError.write(Data((line + "\n").utf8))
}
