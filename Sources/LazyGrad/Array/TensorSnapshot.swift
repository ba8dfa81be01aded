// Values that cross tasks, processes and files: shape, element type and bytes. Uses NDArray's
// reading.

import Foundation
internal import LazyGradJIT

/// The value of an array at one moment.
///
/// Arrays and tensors belong to one task; a snapshot can be sent, stored and compared. Two
/// snapshots are equal if shape, element type and all bytes are, so a NaN equals itself and 0 does
/// not equal -0.
///
/// Its coded form has the keys `shape`, `dtype` (the raw value of `DType`) and `bytes` (coded as
/// `Data` is: base64 in JSON). Decoding checks sizes and throws `SnapshotError`.
public struct TensorSnapshot: Sendable, Codable, Equatable {
  /// The length of every axis.
  public let shape: [Int]
  /// The type of the elements.
  public let dtype: DType
  /// The elements in C order, little-endian; truth values are 0 or 1.
  public let bytes: [UInt8]

  /// Copies the elements of an array.
  ///
  /// Where there is no memory for them the program stops, or the snapshot is that of a not-a-number or 0
  /// in a `catchingTensorErrors` scope, which throws the error.
  public init(_ given: NDArray) {
    let array = NDArray.made(given.dtype) { () throws(TensorError) in
      try given.requireMemory(for: given.dtype, "snapshot")
      return given
    }
    shape = array.shape
    dtype = array.dtype
    let byteCount = array.count * array.dtype.size
    bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, initialized in
      if let target = buffer.baseAddress { array.copyElements(to: target, as: array.dtype) }
      initialized = byteCount
    }
  }

  /// Puts a snapshot together from its parts.
  ///
  /// - Throws: `SnapshotError` if they don't fit together.
  public init(shape: [Int], dtype: DType, bytes: [UInt8]) throws(SnapshotError) {
    if shape.count > LayoutTable.maxRank { throw .tooManyAxes(shape.count) }
    if shape.contains(where: { $0 < 0 }) { throw .negativeLength(shape: shape) }
    guard let count = LayoutTable.contiguousStrides(shape)?.count,
      case let (expected, overflow) = count.multipliedReportingOverflow(by: dtype.size), !overflow
    else { throw .tooLarge(shape: shape) }
    if expected != bytes.count { throw .byteCount(expected: expected, got: bytes.count) }
    // Any other byte would be undefined behaviour once it is read as a `Bool`.
    if dtype == .bool, bytes.contains(where: { $0 > 1 }) { throw .invalidBool }
    self.shape = shape
    self.dtype = dtype
    self.bytes = bytes
  }

  private enum CodingKeys: String, CodingKey {
    case shape
    case dtype
    case bytes
  }

  /// Decodes and checks a snapshot.
  ///
  /// - Throws: `SnapshotError` if the parts don't fit together, `DecodingError` if one is missing.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      shape: container.decode([Int].self, forKey: .shape),
      dtype: container.decode(DType.self, forKey: .dtype),
      bytes: [UInt8](container.decode(Data.self, forKey: .bytes)))
  }

  /// Encodes the parts.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(shape, forKey: .shape)
    try container.encode(dtype, forKey: .dtype)
    try container.encode(Data(bytes), forKey: .bytes)
  }
}

/// Why parts don't make a snapshot, or a snapshot no array.
public enum SnapshotError: Error, Equatable, CustomStringConvertible {
  /// More axes than an array can have.
  case tooManyAxes(Int)
  /// An axis of negative length.
  case negativeLength(shape: [Int])
  /// A shape whose size in bytes is not even a number.
  case tooLarge(shape: [Int])
  /// Shape and element type ask for another number of bytes.
  case byteCount(expected: Int, got: Int)
  /// A truth value other than 0 and 1.
  case invalidBool
  /// No memory for the array.
  case outOfMemory(byteCount: Int)

  /// What was expected and what came.
  public var description: String {
    switch self {
    case .tooManyAxes(let count):
      "snapshot: expected at most \(LayoutTable.maxRank) axes, got \(count)"
    case .negativeLength(let shape):
      "snapshot: expected lengths of at least 0, got shape \(shape)"
    case .tooLarge(let shape):
      "snapshot: shape \(shape) has more elements than memory can hold"
    case .byteCount(let expected, let got):
      "snapshot: expected \(expected) bytes, got \(got)"
    case .invalidBool:
      "snapshot: expected truth values of 0 or 1, got another byte"
    case .outOfMemory(let byteCount):
      "snapshot: no memory for \(byteCount) bytes"
    }
  }
}

extension NDArray {
  /// Makes an array from a snapshot.
  ///
  /// - Throws: `SnapshotError.outOfMemory`: snapshots often come from outside, so their size is
  ///   not the program's error.
  public convenience init(_ snapshot: TensorSnapshot) throws(SnapshotError) {
    do throws(TensorError) {
      try self.init(uninitialized: snapshot.shape, dtype: snapshot.dtype, operation: "snapshot")
    } catch {
      throw .outOfMemory(byteCount: snapshot.bytes.count)
    }
    snapshot.bytes.withUnsafeBytes { bytes in
      if let source = bytes.baseAddress {
        pointer.copyMemory(from: source, byteCount: bytes.count)
      }
    }
  }
}
