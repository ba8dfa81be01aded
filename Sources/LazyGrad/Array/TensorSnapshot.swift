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
///
/// Copies of a snapshot share its memory, and so do tensors that are made with `Tensor(sharing:)`: one set
/// of weights serves any number of tasks.
public struct TensorSnapshot: Sendable, Codable, Equatable {
  /// The length of every axis.
  public let shape: [Int]
  /// The type of the elements.
  public let dtype: DType
  fileprivate let memory: SnapshotMemory

  /// The elements in C order, little-endian; truth values are 0 or 1.
  ///
  /// - Complexity: copies every element once.
  public var bytes: [UInt8] { [UInt8](memory.bytes) }

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
    memory = SnapshotMemory(byteCount: array.count * array.dtype.size) {
      array.copyElements(to: $0, as: array.dtype)
    }
  }

  /// Puts a snapshot together from its parts.
  ///
  /// - Throws: `SnapshotError` if they don't fit together.
  public init(shape: [Int], dtype: DType, bytes: [UInt8]) throws(SnapshotError) {
    let expected = try Self.byteCount(shape, dtype)
    if expected != bytes.count { throw .byteCount(expected: expected, got: bytes.count) }
    // Any other byte would be undefined behaviour once it is read as a `Bool`.
    if dtype == .bool, bytes.contains(where: { $0 > 1 }) { throw .invalidBool }
    self.shape = shape
    self.dtype = dtype
    memory = SnapshotMemory(byteCount: bytes.count) { target in
      bytes.withUnsafeBytes { source in
        UnsafeMutableRawBufferPointer(start: target, count: source.count).copyMemory(from: source)
      }
    }
  }

  /// A snapshot over memory that somebody else owns: a mapped file, a buffer of another library. Nothing is
  /// copied, and `Tensor(sharing:)` shows that very memory.
  ///
  /// Nobody may write to the memory as long as `owner` lives; the snapshot and the tensors over it keep that.
  ///
  /// - Parameters:
  ///   - shape: The length of every axis.
  ///   - dtype: The type of the elements, which lie there in C order, little-endian.
  ///   - memory: What may be read. Begins at a multiple of 64, and goes on for at least 64 bytes behind the
  ///     elements, because they are read in whole vectors.
  ///   - byteOffset: Where in it the elements begin: at a multiple of their size.
  ///   - owner: Keeps the memory.
  /// - Throws: `SnapshotError` if the parts don't fit together.
  /// - Complexity: O(1); truth values are looked at once.
  public init(
    shape: [Int], dtype: DType, memory: UnsafeRawBufferPointer, byteOffset: Int = 0,
    owner: some AnyObject & Sendable
  ) throws(SnapshotError) {
    let count = try Self.byteCount(shape, dtype)
    guard let base = memory.baseAddress, UInt(bitPattern: base) % 64 == 0, byteOffset >= 0,
      byteOffset % dtype.size == 0
    else { throw .misaligned(byteOffset: byteOffset) }
    let rest = memory.count - StoragePool.slack
    guard byteOffset <= rest, count <= rest - byteOffset else {
      throw .byteCount(expected: count, got: max(rest - byteOffset, 0))
    }
    let bytes = UnsafeRawBufferPointer(start: base + byteOffset, count: count)
    if dtype == .bool, bytes.contains(where: { $0 > 1 }) { throw .invalidBool }
    self.shape = shape
    self.dtype = dtype
    self.memory = SnapshotMemory(bytes, owner: owner)
  }

  /// How many bytes an array has.
  private static func byteCount(_ shape: [Int], _ dtype: DType) throws(SnapshotError) -> Int {
    if shape.count > LayoutTable.maxRank { throw .tooManyAxes(shape.count) }
    if shape.contains(where: { $0 < 0 }) { throw .negativeLength(shape: shape) }
    guard let count = LayoutTable.elementCount(shape),
      case let (bytes, overflow) = count.multipliedReportingOverflow(by: dtype.size), !overflow
    else { throw .tooLarge(shape: shape) }
    return bytes
  }

  /// Gives read access to `bytes` without a copy. The pointer must not be used after `body` has returned.
  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    defer { withExtendedLifetime(memory) {} }
    return try body(memory.bytes)
  }

  /// Whether shape, element type and all bytes are equal.
  public static func == (a: TensorSnapshot, b: TensorSnapshot) -> Bool {
    a.shape == b.shape && a.dtype == b.dtype
      && (a.memory === b.memory || a.memory.bytes.elementsEqual(b.memory.bytes))
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
    try container.encode(Data(memory.bytes), forKey: .bytes)
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
  /// Memory of somebody else that doesn't begin at a multiple of 64, or elements in it that don't begin at a
  /// multiple of their size.
  case misaligned(byteOffset: Int)

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
    case .misaligned(let offset):
      "snapshot: expected memory at a multiple of 64 and elements at one of their size, got byte \(offset)"
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
      throw .outOfMemory(byteCount: snapshot.memory.bytes.count)
    }
    UnsafeMutableRawBufferPointer(start: pointer, count: snapshot.memory.bytes.count)
      .copyMemory(from: snapshot.memory.bytes)
    withExtendedLifetime(snapshot) {}
  }
}

/// Memory that is written when it is made and never again, so any number of threads may read it.
///
/// Not of the pool: its limit is one of the arrays that programs compute with.
private final class SnapshotMemory: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer
  private let pointer: UnsafeMutableRawPointer
  /// Who keeps the memory; nil: it is this object's own.
  private let owner: AnyObject?

  /// - Parameter fill: Writes all bytes.
  init(byteCount: Int, fill: (UnsafeMutableRawPointer) -> Void) {
    // Kernels read up to the end of a vector.
    pointer = .allocate(byteCount: byteCount + StoragePool.slack, alignment: 64)
    fill(pointer)
    bytes = UnsafeRawBufferPointer(start: pointer, count: byteCount)
    owner = nil
  }

  /// Elements in memory that begins at a multiple of 64 somewhere before them.
  init(_ bytes: UnsafeRawBufferPointer, owner: AnyObject) {
    self.bytes = bytes
    // Never written to: storages of lent memory are read-only.
    pointer = UnsafeMutableRawPointer(mutating: bytes.baseAddress!)
    self.owner = owner
  }

  deinit { if owner == nil { pointer.deallocate() } }

  /// A storage for a reader of its own, and where the elements begin in it: storages are aligned to 64 bytes.
  func lend() -> (storage: Storage, byteOffset: Int) {
    let offset = Int(UInt(bitPattern: pointer) % 64)
    return (
      Storage(lent: pointer - offset, byteCount: offset + bytes.count, owner: self), offset
    )
  }
}

extension Tensor {
  /// A tensor over a snapshot's own memory: read-only, and nothing is copied.
  ///
  /// A snapshot is `Sendable`, a tensor belongs to one task; so every task makes tensors of its own over
  /// one set of weights.
  ///
  ///     let weights: [TensorSnapshot] = ...                  // a global, an actor's state, an argument
  ///     let w = Tensor(sharing: weights[0], constant: true)  // in each task
  ///
  /// An update in place is an error, and so is a write to its `array`; `Tensor(snapshot)` and `copy()`
  /// have memory of their own. Gradients are the task's. The memory lives as long as a snapshot or a
  /// tensor that shares it.
  ///
  /// - Parameters:
  ///   - snapshot: The value.
  ///   - constant: Whether gradients stay away; nil: floats are variables, all else constants.
  /// - Complexity: O(1).
  public convenience init(sharing snapshot: TensorSnapshot, constant: Bool? = nil) {
    self.init(NDArray(sharing: snapshot), constant: constant, copy: false)
  }
}

extension NDArray {
  /// A read-only array over a snapshot's memory.
  fileprivate convenience init(sharing snapshot: TensorSnapshot) {
    let (storage, byteOffset) = snapshot.memory.lend()
    self.init(
      storage: storage, layout: LayoutTable.shared.intern(dims: snapshot.shape),
      offset: byteOffset / snapshot.dtype.size, dtype: snapshot.dtype, isNativelyWriteable: false)
  }
}
