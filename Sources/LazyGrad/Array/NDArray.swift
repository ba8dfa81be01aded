// Host arrays: strided windows onto storages that tensors share. This file holds the stored state,
// the designated initialiser and the questions about layout; behaviour is in the extensions.

internal import LazyGradJIT

/// A mutable n-dimensional array in host memory, with views, as NumPy's `ndarray`.
///
/// An array is a window onto a block of memory: a start, and for every axis a length and a stride
/// in elements.
///
///     let x = NDArray([[0.0, 1, 2], [3, 4, 5]])   // shape [2, 3], strides [3, 1], start 0
///     x[.all, 1]                                  // shape [2],    strides [3],    start 1
///
/// Basic indexing, `reshaped`, `transposed` and `broadcast(to:)` give other windows onto the same
/// memory, so a write through one is seen through all. Tensors can share the memory as well: then
/// the memory guard locks it for as long as a graph needs the values, and `isWriteable` is false
/// for every window onto it.
///
/// A call that should give an array and can't, because its arguments don't fit or there is no memory,
/// stops the program. Inside `catchingTensorErrors` it gives a scalar instead, not-a-number or 0, and
/// the scope throws the error. What is made of such a scalar is no better: a tensor of it is poisoned,
/// and it can't be stored in another array.
///
/// Arrays have reference identity and belong to one task at a time; send a `TensorSnapshot`.
public final class NDArray {
  let storage: Storage
  /// Lengths and strides.
  let layout: Layout
  /// Where the element with all indices 0 is, counted in elements from the start of the storage.
  let offset: Int
  /// The type of the elements.
  public let dtype: DType
  /// The array that this one is a view of; nil if it was not made as a view.
  ///
  /// As in NumPy the relation is collapsed: a view of a view names the array at the bottom.
  public let base: NDArray?
  /// Whether the array may be written when no graph locks it. Belongs to the window, not to the
  /// memory; views start with the flag of what they were made from.
  var isNativelyWriteable: Bool
  /// Why this array stands in the place of one that could not be made.
  let poison: Poison?

  init(
    storage: Storage, layout: LayoutID, offset: Int, dtype: DType, base: NDArray? = nil,
    isNativelyWriteable: Bool = true, poison: Poison? = nil
  ) {
    self.storage = storage
    self.layout = LayoutTable.shared[layout]
    self.offset = offset
    self.dtype = dtype
    self.base = base
    self.isNativelyWriteable = isNativelyWriteable
    self.poison = poison
  }

  /// Uninitialised memory in C order for a shape that came from outside.
  convenience init(
    uninitialized dims: [Int], dtype: DType, operation: String
  ) throws(TensorError) {
    let layout = try Self.checkedLayout(dims, operation: operation)
    let (bytes, overflow) = LayoutTable.shared[layout].count.multipliedReportingOverflow(
      by: dtype.size)
    if overflow { throw Self.tooLarge(dims, operation) }
    let storage: Storage
    do throws(StorageError) { storage = try Storage(byteCount: bytes) } catch {
      throw tensorError(error, in: operation)
    }
    self.init(storage: storage, layout: layout, offset: 0, dtype: dtype)
  }

  /// Another object for the window that an array is.
  convenience init(sharing other: NDArray) {
    self.init(
      storage: other.storage, layout: other.layoutID, offset: other.offset, dtype: other.dtype,
      poison: other.poison)
  }

  /// The layout in C order of a shape that came from outside.
  static func checkedLayout(_ dims: [Int], operation: String) throws(TensorError) -> LayoutID {
    if dims.count > LayoutTable.maxRank {
      throw TensorError(
        operation: operation,
        message: "expected at most \(LayoutTable.maxRank) axes, got \(dims.count)")
    }
    if dims.contains(where: { $0 < 0 }) {
      throw TensorError(
        operation: operation, message: "expected lengths of at least 0, got shape \(dims)")
    }
    if LayoutTable.elementCount(dims) == nil { throw tooLarge(dims, operation) }
    return LayoutTable.shared.intern(dims: dims)
  }

  static func tooLarge(_ dims: [Int], _ operation: String) -> TensorError {
    TensorError(
      operation: operation, message: "shape \(dims) has more elements than memory can hold")
  }

  var layoutID: LayoutID { layout.id }

  /// The address of the element with all indices 0.
  var pointer: UnsafeMutableRawPointer { storage.pointer + offset * dtype.size }
}

// MARK: - Properties

extension NDArray {
  /// The length of every axis.
  public var shape: [Int] { layout.dims }

  /// For every axis the distance between neighbours, counted in elements (NumPy counts bytes).
  ///
  /// Axes of length 1 and all axes of empty arrays report the stride of C order.
  public var strides: [Int] { layout.strides }

  /// The number of axes.
  public var rank: Int { layout.rank }

  /// The number of elements.
  public var count: Int { layout.count }

  /// Whether the elements follow each other in C order without gaps.
  public var isContiguous: Bool { layout.isContiguous }

  /// Whether the array can be written now: NumPy's `flags.writeable`.
  ///
  /// False for an array that is read-only by nature, and for every array whose memory a live graph
  /// reads under the memory guard.
  ///
  /// - Complexity: two loads; a search of the graphs that read the memory if there are any.
  public var isWriteable: Bool {
    isNativelyWriteable && lockHolders.isEmpty
  }

  /// The names of the live operations that keep the memory guard's lock on this array's memory, in the
  /// order of recording; empty if none does. For people who ask why an array can't be written.
  ///
  ///     let y = Tensor(x, copy: false) * 2
  ///     x.lockHolders                    // ["multiply"]
  ///     y.clearGraph()
  ///     x.lockHolders                    // []
  ///
  /// - Complexity: as `isWriteable`.
  public var lockHolders: [String] {
    storage.hasReaders ? GuardHooks.lockHolders(storage) : []
  }

  /// Makes the array read-only by nature, or writeable again.
  ///
  /// Affects this object and views made from it later, not other windows onto the memory, and has
  /// nothing to do with the locks of the memory guard.
  ///
  /// - Throws: `MemoryGuardError.readOnly` if the array shall become writeable but is a view of a
  ///   read-only array, shows one element in many places, or shows the memory of a snapshot.
  public func setWriteable(_ writeable: Bool) throws {
    if writeable, !isNativelyWriteable {
      let repeats = zip(shape, strides).contains { $0 > 1 && $1 == 0 }
      if repeats || base?.isNativelyWriteable == false || storage.isLent {
        throw MemoryGuardError.readOnly
      }
    }
    isNativelyWriteable = writeable
  }

  /// Whether some element of this array and some element of `other` are the same memory.
  ///
  /// Exact, unlike a comparison of address ranges: the even and the odd elements of an array share
  /// nothing.
  ///
  /// - Complexity: O(1) for different memory, disjoint ranges and two contiguous arrays, otherwise
  ///   O(the smaller number of elements); takes no memory.
  public func sharesMemory(with other: NDArray) -> Bool {
    guard let common = commonExtent(with: other) else { return false }
    if isContiguous, other.isContiguous { return true }
    let (mine, others) = (Places(self), Places(other))
    let (walked, asked) = mine.count <= others.count ? (mine, others) : (others, mine)
    return walked.contains { common.contains($0) && asked.contains($0) }
  }

  /// The places of the storage between the first and the last element of both arrays.
  func commonExtent(with other: NDArray) -> Range<Int>? {
    guard storage === other.storage, let a = layout.extent, let b = other.layout.extent else {
      return nil
    }
    let low = max(offset + a.lowerBound, other.offset + b.lowerBound)
    let high = min(offset + a.upperBound, other.offset + b.upperBound)
    return low <= high ? low..<(high + 1) : nil
  }
}

// Not `CustomDebugStringConvertible`, as `Tensor` isn't: a list of arrays is printed by their elements.
extension NDArray: CustomStringConvertible {
  /// The elements as NumPy prints them: `array([1. , 2.5])`.
  ///
  /// Eight digits at most; above a thousand elements only the corners.
  public var description: String { ArrayPrinter.description(of: self, prefix: "array") }

  /// Shape and element type, not the elements.
  public var debugDescription: String { "NDArray(shape: \(shape), dtype: \(dtype))" }
}
