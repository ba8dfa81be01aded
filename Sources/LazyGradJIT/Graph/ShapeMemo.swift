// Remembers what a shape becomes when it is reduced over axes or joined with another one, so that
// recording builds no arrays for it. Uses Core.

/// A direct-mapped memo of a function of a shape and a word.
struct ShapeMemo<Value> {
  private struct Entry {
    var shape: LayoutID
    var word: UInt64
    var value: Value
  }
  private static var size: Int { 64 }
  private let entries: UnsafeMutablePointer<Entry>
  private let unused: Entry

  /// - Parameter unused: Any value, for the places that are not in use.
  init(unused value: Value) {
    unused = Entry(shape: .max, word: 0, value: value)
    entries = .allocate(capacity: Self.size)
    entries.initialize(repeating: unused, count: Self.size)
  }

  func removeAll() { entries.update(repeating: unused, count: Self.size) }

  /// What was remembered, or what `compute` says; nil, which is not remembered, where that is nil.
  ///
  /// - Parameter places: How many are in use, a power of two.
  @inline(__always)
  func callAsFunction(
    _ shape: LayoutID, _ word: UInt64, places: Int, _ compute: () -> Value?
  ) -> Value? {
    let hash = (UInt64(shape) &* 31 &+ word) &* 0x9E37_79B9_7F4A_7C15
    let entry = entries + (Int(hash >> 58) & (places &- 1))
    if entry.pointee.shape == shape, entry.pointee.word == word { return entry.pointee.value }
    guard let value = compute() else { return nil }
    entry.pointee = Entry(shape: shape, word: word, value: value)
    return value
  }
}

/// The first node of a reduction: that of the last run of neighbouring axes.
package struct Reduction {
  /// The shape `[outer, reduced, inner]`.
  package let attribute: LayoutID
  /// The shape of its value.
  package let shape: LayoutID
  /// The axes that are left to reduce.
  let rest: AxisSet
  /// The number of elements that one element of the result of all nodes comes from.
  let count: Int

  static var unused: Reduction {
    Reduction(attribute: 0, shape: 0, rest: AxisSet(), count: 0)
  }

  @inline(never)
  fileprivate init(of shape: LayoutID, over axes: AxisSet, keepDims: Bool) {
    let dims = LayoutTable.shared[shape].dims
    var rest = axes
    let run = rest.removeLastRun()
    var reduced = dims
    reduced.replaceSubrange(run, with: keepDims ? run.map { _ in 1 } : [])
    attribute = Layout.reduction(of: dims, over: run)
    self.shape = LayoutTable.shared.intern(dims: reduced)
    self.rest = rest
    count = dims.indices.reduce(1) { axes.contains($1) ? $0 * dims[$1] : $0 }
  }

  private init(attribute: LayoutID, shape: LayoutID, rest: AxisSet, count: Int) {
    self.attribute = attribute
    self.shape = shape
    self.rest = rest
    self.count = count
  }
}

/// What a tape remembers of shapes by axes.
struct ShapeMemos {
  private let kept = ShapeMemo(unused: Reduction.unused)
  private let dropped = ShapeMemo(unused: Reduction.unused)
  private let joined = ShapeMemo(unused: LayoutTable.scalar)
  private let expanded = ShapeMemo(unused: LayoutTable.scalar)

  func removeAll() {
    kept.removeAll()
    dropped.removeAll()
    joined.removeAll()
    expanded.removeAll()
  }

  /// The first node of a reduction over axes of which there is one.
  @inline(__always)
  func reduction(
    of shape: LayoutID, over axes: AxisSet, keepDims: Bool, places: Int
  ) -> Reduction {
    (keepDims ? kept : dropped)(shape, axes.bits, places: places) {
      Reduction(of: shape, over: axes, keepDims: keepDims)
    }.unsafelyUnwrapped
  }

  /// The shape of two values one behind the other along an axis; nil where they don't fit or the result
  /// can't be computed.
  @inline(__always)
  func joined(_ a: LayoutID, _ b: LayoutID, axis: Int, places: Int) -> LayoutID? {
    joined(a, UInt64(b) | UInt64(axis) << 32, places: places) { Self.join(a, b, axis) }
  }

  /// A shape with a new axis of some length, for which there is room.
  @inline(__always)
  func expanded(_ shape: LayoutID, by length: Int, at axis: Int, places: Int) -> LayoutID {
    let word = UInt64(axis) | UInt64(length) << 6
    return expanded(shape, word, places: places) { Self.expand(shape, length, axis) }
      .unsafelyUnwrapped
  }

  @inline(never)
  private static func join(_ a: LayoutID, _ b: LayoutID, _ axis: Int) -> LayoutID? {
    var dims = LayoutTable.shared[a].dims
    var others = LayoutTable.shared[b].dims
    if dims.count != others.count { return nil }
    let length = dims[axis] + others[axis]
    dims[axis] = length
    others[axis] = length
    return dims == others && LayoutTable.isComputable(dims)
      ? LayoutTable.shared.intern(dims: dims) : nil
  }

  @inline(never)
  private static func expand(_ shape: LayoutID, _ length: Int, _ axis: Int) -> LayoutID {
    var dims = LayoutTable.shared[shape].dims
    dims.insert(length, at: axis)
    return LayoutTable.shared.intern(dims: dims)
  }
}

extension Tape {
  /// The first node of a reduction over axes of which there is one.
  @inline(__always)
  package func reduction(of shape: LayoutID, over axes: AxisSet, keepDims: Bool) -> Reduction {
    state.pointee.memos.reduction(
      of: shape, over: axes, keepDims: keepDims, places: state.pointee.limits.memoPlaces)
  }

  @inline(__always)
  func joinedShape(_ a: LayoutID, _ b: LayoutID, axis: Int) -> LayoutID? {
    state.pointee.memos.joined(a, b, axis: axis, places: state.pointee.limits.memoPlaces)
  }

  @inline(__always)
  func expandedShape(_ shape: LayoutID, by length: Int = 1, at axis: Int) -> LayoutID {
    state.pointee.memos.expanded(
      shape, by: length, at: axis, places: state.pointee.limits.memoPlaces)
  }
}
