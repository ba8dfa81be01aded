// Interned shapes and strides. A shape or a view is one `UInt32` everywhere else, so the
// equal-shape test of an operation is one integer comparison. Uses nothing else of the engine.

import Synchronization

/// The identity of an interned layout: dimensions and strides, without an offset.
public typealias LayoutID = UInt32

/// Dimensions and strides of a strided array, in elements. Immutable and never freed.
package final class Layout: Sendable {
  package let id: LayoutID
  package let dims: [Int]
  package let strides: [Int]
  /// The number of elements.
  package let count: Int
  /// The layout with the same dimensions in C order: the identity of the shape.
  package let shapeID: LayoutID
  /// Whether elements follow each other in C order without gaps.
  package let isContiguous: Bool

  package var rank: Int { dims.count }

  init(id: LayoutID, dims: [Int], strides: [Int], count: Int, shapeID: LayoutID, contiguous: Bool) {
    self.id = id
    self.dims = dims
    self.strides = strides
    self.count = count
    self.shapeID = shapeID
    self.isContiguous = contiguous
  }

  /// The smallest and the largest element offset that the layout touches, relative to its start;
  /// nil for an empty array.
  package var extent: ClosedRange<Int>? {
    if count == 0 { return nil }
    var low = 0
    var high = 0
    for (d, s) in zip(dims, strides) {
      if s < 0 { low += (d - 1) * s } else { high += (d - 1) * s }
    }
    return low...high
  }
}

/// The process-wide table of layouts.
///
/// Readers index stable memory without a lock; only interning a layout takes one. Entries are
/// never removed: programs use few distinct shapes, and offsets are not part of a layout.
public final class LayoutTable: Sendable {
  package static let shared = LayoutTable()

  /// The largest rank; NumPy's limit as well.
  package static let maxRank = 64
  /// The limit of elements of a computed value: more than any machine has memory for, but sizes in
  /// bytes, and sums of thousands of them, stay far from overflow.
  package static let maxCount = 1 << 48
  private static let chunkBits = 12
  private static let chunkCount = 4096

  private struct Key: Hashable {
    let dims: [Int]
    let strides: [Int]
  }
  private struct State {
    var ids: [Key: LayoutID] = [:]
    var count: UInt32 = 0
  }

  private let state = Lock(State())
  /// Chunks of unowned references; each chunk is published before an id in it is handed out.
  private nonisolated(unsafe) let chunks:
    UnsafeMutablePointer<UnsafeMutablePointer<Unmanaged<Layout>>?>
  /// The few facts that the record path needs, for readers that must not pay for a reference to the
  /// object.
  @usableFromInline
  struct Facts: ~Copyable {
    @usableFromInline let count: Int
    @usableFromInline let rank: Int
    @usableFromInline let shape: LayoutID
    /// The layout with the last two axes swapped, id + 1; 0 while nobody has asked.
    let swapped = Atomic<UInt32>(0)

    init(count: Int, rank: Int, shape: LayoutID) {
      self.count = count
      self.rank = rank
      self.shape = shape
    }
  }
  private nonisolated(unsafe) static let facts: UnsafeMutablePointer<UnsafeMutablePointer<Facts>?> =
    {
      let chunks = UnsafeMutablePointer<UnsafeMutablePointer<Facts>?>.allocate(capacity: chunkCount)
      chunks.initialize(repeating: nil, count: chunkCount)
      return chunks
    }()

  private init() {
    chunks = .allocate(capacity: Self.chunkCount)
    chunks.initialize(repeating: nil, count: Self.chunkCount)
    _ = intern(dims: [])
  }

  /// The scalar shape has the identity 0.
  @inlinable public static var scalar: LayoutID { 0 }

  /// The layout of an identity that this table gave out.
  @inline(__always)
  package subscript(id: LayoutID) -> Layout {
    chunks[Int(id >> 12)].unsafelyUnwrapped[Int(id & 4095)]._withUnsafeGuaranteedRef { $0 }
  }

  /// The facts by chunk, for whoever keeps the address: a global is asked for through a call.
  static var factChunks: UnsafeMutablePointer<UnsafeMutablePointer<Facts>?> { facts }

  /// A layout with its last two axes swapped; remembered in its facts, because every matrix product
  /// asks for it in its backward pass.
  static func matrixTransposed(_ id: LayoutID) -> LayoutID {
    let layout = shared[id]
    var dims = layout.dims
    var strides = layout.strides
    dims.swapAt(dims.count - 2, dims.count - 1)
    strides.swapAt(dims.count - 2, dims.count - 1)
    let swapped = shared.intern(dims: dims, strides: strides)
    (facts[Int(id >> 12)].unsafelyUnwrapped + Int(id & 4095)).pointee.swapped.store(
      swapped + 1, ordering: .relaxed)
    return swapped
  }

  /// A layout with another length of its first axis, or, where that is nil, without the axis; remembered,
  /// because programs take row after row and batch after batch.
  package func cut(_ id: LayoutID, to length: Int?) -> LayoutID {
    let key = CutKey(id: id, length: length ?? -1)
    if let known = cuts.withLock({ $0[key] }) { return known }
    let layout = self[id]
    let cut = intern(
      dims: (length.map { [$0] } ?? []) + layout.dims.dropFirst(),
      strides: length == nil ? Array(layout.strides.dropFirst()) : layout.strides)
    cuts.withLock { cuts in
      if cuts.count >= Self.cutLimit { cuts = [:] }
      cuts[key] = cut
    }
    return cut
  }

  private struct CutKey: Hashable {
    let id: LayoutID
    let length: Int
  }
  private let cuts = Lock<[CutKey: LayoutID]>([:])
  private static let cutLimit = 4096

  /// Whether a value of a shape can be computed at all.
  ///
  /// Of a shape without elements the other axes count as well: a sum over the axis of length 0 has their
  /// shape.
  package static func isComputable(_ dims: [Int]) -> Bool {
    contiguousStrides(dims.map { max($0, 1) }).map { $0.count <= maxCount } ?? false
  }

  /// C-order strides of `dims`; nil where the element count overflows.
  package static func contiguousStrides(_ dims: [Int]) -> (strides: [Int], count: Int)? {
    var strides = [Int](repeating: 0, count: dims.count)
    var step = 1
    var isEmpty = false
    for axis in dims.indices.reversed() {
      strides[axis] = step
      if dims[axis] == 0 { isEmpty = true }
      let (next, overflow) = step.multipliedReportingOverflow(by: max(dims[axis], 1))
      if overflow { return nil }
      step = next
    }
    return (strides, isEmpty ? 0 : step)
  }

  /// The identity of a shape. The element count must not overflow.
  package func intern(dims: [Int]) -> LayoutID {
    let (strides, _) = Self.contiguousStrides(dims).unsafelyUnwrapped
    return intern(dims: dims, strides: strides)
  }

  /// The identity of a strided layout.
  ///
  /// Strides of axes of length 1 say nothing about memory, so they are put into C order first:
  /// equal index maps get equal identities where that costs nothing.
  package func intern(dims: [Int], strides given: [Int]) -> LayoutID {
    let (natural, count) = Self.contiguousStrides(dims).unsafelyUnwrapped
    var strides = given
    for axis in dims.indices where dims[axis] == 1 || count == 0 { strides[axis] = natural[axis] }
    return state.withLock { state in
      let key = Key(dims: dims, strides: strides)
      if let id = state.ids[key] { return id }
      let contiguous = strides == natural
      var shapeID = state.count
      if !contiguous {
        let shapeKey = Key(dims: dims, strides: natural)
        if let known = state.ids[shapeKey] {
          shapeID = known
        } else {
          shapeID = append(
            &state, key: shapeKey, count: count, shapeID: state.count, contiguous: true)
        }
      }
      return append(&state, key: key, count: count, shapeID: shapeID, contiguous: contiguous)
    }
  }

  private func append(
    _ state: inout State, key: Key, count: Int, shapeID: LayoutID, contiguous: Bool
  ) -> LayoutID {
    let id = state.count
    if Int(id) >= Self.chunkCount << Self.chunkBits {
      fatalError("LazyGrad: more than 16 million distinct shapes and strides in one process")
    }
    let layout = Layout(
      id: id, dims: key.dims, strides: key.strides, count: count, shapeID: shapeID,
      contiguous: contiguous)
    let chunk = Int(id >> 12)
    if chunks[chunk] == nil {
      chunks[chunk] = .allocate(capacity: 1 << Self.chunkBits)
      Self.facts[chunk] = .allocate(capacity: 1 << Self.chunkBits)
    }
    (Self.facts[chunk]! + Int(id & 4095)).initialize(
      to: Facts(count: count, rank: key.dims.count, shape: shapeID))
    (chunks[chunk]! + Int(id & 4095)).initialize(to: Unmanaged.passRetained(layout))
    state.ids[key] = id
    state.count += 1
    return id
  }
}

extension Layout {
  /// The dimensions of two shapes broadcast together, or nil where they don't fit.
  package static func broadcast(_ a: [Int], _ b: [Int]) -> [Int]? {
    let rank = max(a.count, b.count)
    var dims = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let i = axis - (rank - a.count)
      let j = axis - (rank - b.count)
      let x = i >= 0 ? a[i] : 1
      let y = j >= 0 ? b[j] : 1
      if x == y || y == 1 {
        dims[axis] = x
      } else if x == 1 {
        dims[axis] = y
      } else {
        return nil
      }
    }
    return dims
  }

  /// Strides that show this layout under the larger dimensions `dims`; nil where it does not fit.
  package func broadcastStrides(to dims: [Int]) -> [Int]? {
    let lead = dims.count - rank
    if lead < 0 { return nil }
    var result = [Int](repeating: 0, count: dims.count)
    for axis in 0..<rank {
      if self.dims[axis] == dims[lead + axis] {
        result[lead + axis] = strides[axis]
      } else if self.dims[axis] != 1 {
        return nil
      }
    }
    return result
  }

  /// Strides that show this layout under other dimensions of the same count without moving data,
  /// or nil where only a copy can do that.
  ///
  /// Axes are matched in groups of equal product; within a group the old axes must follow each
  /// other without gaps.
  package func reshapedStrides(to newDims: [Int]) -> [Int]? {
    if count == 0 { return LayoutTable.contiguousStrides(newDims)?.strides }
    let old = (0..<rank).filter { dims[$0] != 1 }
    var result = [Int](repeating: 0, count: newDims.count)
    var i = 0
    var j = 0
    while i < old.count || j < newDims.count {
      if j < newDims.count, newDims[j] == 1 {
        result[j] = 1
        j += 1
        continue
      }
      guard i < old.count, j < newDims.count else { return nil }
      let groupStart = i
      let newStart = j
      var oldProduct = dims[old[i]]
      var newProduct = newDims[j]
      i += 1
      j += 1
      while oldProduct != newProduct {
        if oldProduct < newProduct {
          guard i < old.count else { return nil }
          oldProduct *= dims[old[i]]
          i += 1
        } else {
          guard j < newDims.count else { return nil }
          newProduct *= newDims[j]
          j += 1
        }
      }
      for k in groupStart..<(i - 1)
      where strides[old[k]] != strides[old[k + 1]] * dims[old[k + 1]] {
        return nil
      }
      var step = strides[old[i - 1]]
      for k in (newStart..<j).reversed() {
        result[k] = step
        step *= newDims[k]
      }
    }
    return result
  }
}
