// The first look at an index list: enough for a view that the tape remembers. Uses the engine's keys.

internal import LazyGradJIT

/// An entry of an index list where it lies. To copy a value of any type, and to destroy the copy, would
/// be two calls.
struct ListedIndex: ~Copyable {
  private let index: any TensorIndex

  /// A function because Swift 6.2 would copy the entry for a property.
  @inline(never)
  borrowing func component() -> IndexComponent { index.indexComponent }
}

/// An index list as the caller of a subscript wrote it.
typealias IndexList = UnsafeBufferPointer<ListedIndex>

extension UnsafeBufferPointer<any TensorIndex> {
  var listed: IndexList {
    IndexList(
      start: UnsafeRawPointer(baseAddress)?.assumingMemoryBound(to: ListedIndex.self), count: count)
  }
}

/// The elements of an axis that a range takes.
struct AxisRange {
  /// 0 where it takes none.
  let first: Int
  let count: Int
  /// 1 where it is never taken: it may be any number.
  let step: Int

  /// Python's rule: bounds are counted from the end if negative, then clamped to the axis; going
  /// backwards, "before the first element" is a bound as well.
  @inline(__always)
  init(_ slice: IndexSlice, length: Int) {
    let step = slice.step
    let low = step > 0 ? 0 : -1
    let high = step > 0 ? length : length - 1
    func clamped(_ bound: Int) -> Int {
      min(max(bound < 0 ? bound + length : bound, low), high)
    }
    let first = slice.start.map(clamped) ?? (step > 0 ? low : high)
    let end = slice.stop.map(clamped) ?? (step > 0 ? high : low)
    let distance = step > 0 ? end - first : first - end
    // A division takes as long as all else.
    count =
      distance <= 0
      ? 0 : step == 1 ? distance : 1 + (distance - 1) / Int(clamping: step.magnitude)
    self.first = count > 0 ? first : 0
    self.step = count > 1 ? step : 1
  }
}

/// A first look at an index list, which takes no memory: where the view begins that it selects, and a key
/// that says all else of it.
///
/// For integers, ranges and new axes that are in range. With anything else the resolver has to do.
struct BasicIndices {
  /// Where the view begins, counted from the layout's first element.
  private(set) var offset = 0
  /// The first index array. It may have been made for this list, at some cost.
  private var array: (position: Int, component: IndexComponent)?

  /// The index arrays, and the axis that the first of them takes, where they stand side by side and all else
  /// in the list is whole axes. A mask only where it is all there is.
  @inline(__always)
  func arrays(_ indices: IndexList, rank: Int) -> (first: NDArray, others: [NDArray], axis: Int)? {
    guard let array, case .array(let first) = array.component.kind else { return nil }
    if indices.count == 1 { return (first, [], 0) }
    return arrays(indices, first, at: array.position, rank: rank)
  }

  @inline(never)
  private func arrays(
    _ indices: IndexList, _ first: NDArray, at position: Int, rank: Int
  ) -> (first: NDArray, others: [NDArray], axis: Int)? {
    if first.dtype == .bool { return nil }
    var others: [NDArray] = []
    var axis = position
    var ellipses = 0
    for i in 0..<indices.count where i != position {
      switch indices[i].component().kind {
      case .slice(let slice) where slice.isWhole: continue
      case .ellipsis:
        ellipses += 1
        if i < position { axis += rank - indices.count }
      case .array(let array) where i == position + others.count + 1: others.append(array)
      default: return nil
      }
    }
    let named = indices.count - ellipses
    return ellipses > 1 || named > rank ? nil : (first, others, axis)
  }

  /// Goes over the list, once.
  ///
  /// - Returns: What says, with `offset`, what it selects; `none` where that takes the resolver.
  @inline(__always)
  mutating func take(_ indices: IndexList, of layout: Layout) -> ViewKey {
    // Not members: those would be written word by word and copied whole, which processors wait for.
    var key = ViewKey(.indexed)
    var offset = 0
    // Entries and axes that are left, and which of them is next. Entries behind an ellipsis are gone over
    // from the last one, so that none is asked twice.
    var (entry, entries) = (0, indices.count)
    var (axis, axes) = (0, layout.dims.count)
    var step = 1
    while entries > 0 {
      let position = entry
      entry &+= step
      entries &-= 1
      let component = indices[position].component()
      switch component.kind {
      case .integer, .slice:
        if axes == 0 { return .none }
        guard
          let start = Self.take(component, layout.dims[axis], layout.strides[axis], &key)
        else { return .none }
        offset &+= start
        axis &+= step
        axes &-= 1
      case .newAxis: key.append(1 as UInt32)
      case .ellipsis:
        if step < 0 { return .none }
        step = -1
        entry = indices.count &- 1
        axis = layout.dims.count &- 1
        key.append(5 as UInt32)
      case .array:
        array = (position, component)
        return .none
      }
    }
    self.offset = offset
    return key
  }

  /// Puts what an integer or a range takes of an axis into the key.
  ///
  /// - Returns: How far that begins from the first element; nil where it is out of range.
  @inline(__always)
  private static func take(
    _ component: IndexComponent, _ length: Int, _ stride: Int, _ key: inout ViewKey
  ) -> Int? {
    switch component.kind {
    case .integer(let value):
      let index = value < 0 ? value &+ length : value
      if index < 0 || index >= length { return nil }
      key.append(0 as UInt32)
      return index &* stride
    case .slice(let slice):
      if slice.step == 0 { return nil }
      let range = AxisRange(slice, length: length)
      key.append(range.count << 2 | (range.step == 1 ? 2 : 3))
      if range.step != 1 { key.append(range.step) }
      return range.first &* stride
    default: return nil
    }
  }

  /// The entries of the list, for the resolver.
  func components(_ indices: IndexList) -> [IndexComponent] {
    (0..<indices.count).map {
      $0 == array?.position ? array!.component : indices[$0].component()
    }
  }
}
