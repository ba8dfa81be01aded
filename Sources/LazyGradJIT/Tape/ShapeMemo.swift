// What a shape becomes when it is reduced over axes or joined with another one, remembered so that
// recording builds no arrays for it. Uses Core.

/// A shape and a word.
struct ShapeKey: MemoKey {
  let layout: LayoutID
  let word: UInt64

  @inline(__always)
  init(_ shape: LayoutID, _ word: UInt64) {
    layout = shape
    self.word = word
  }

  @inline(__always)
  var hash: UInt64 { (UInt64(layout) &* 31 &+ word) &* 0x9E37_79B9_7F4A_7C15 >> 56 }
}

/// Two shapes.
struct ShapePair: MemoKey {
  let layout: LayoutID
  let other: LayoutID

  @inline(__always)
  init(_ a: LayoutID, _ b: LayoutID) {
    layout = a
    other = b
  }

  // Programs use a few shapes that follow each other: these are in different sets.
  @inline(__always)
  var hash: UInt64 { UInt64(layout &* 31 &+ other) << 2 }
}

/// The first node of a reduction: that of the last run of neighbouring axes.
package struct Reduction: BitwiseCopyable {
  /// The shape `[outer, reduced, inner]`.
  package let attribute: LayoutID
  /// The shape of its value.
  package let shape: LayoutID
  /// The axes that are left to reduce.
  let rest: AxisSet
  /// The number of elements that one element of the result of all nodes comes from.
  let count: Int

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
}

/// What a tape remembers of shapes.
struct ShapeMemos {
  /// The most places that one may use (`TapeLimits.memoPlaces`).
  static var size: Int { 64 }

  private let kept = Memo<ShapeKey, Reduction>(size: size)
  private let dropped = Memo<ShapeKey, Reduction>(size: size)
  private let joined = Memo<ShapeKey, LayoutID>(size: size)
  private let expanded = Memo<ShapeKey, LayoutID>(size: size)
  /// What pairs broadcast to, the sums that take one back to the other, and matrix products.
  let broadcasts = Memo<ShapePair, LayoutID>(size: size)
  let unbroadcasts = Memo<ShapePair, LayoutID>(size: size)
  let products = Memo<ShapePair, ProductShapes>(size: size)

  func removeAll() {
    kept.removeAll()
    dropped.removeAll()
    joined.removeAll()
    expanded.removeAll()
    broadcasts.removeAll()
    unbroadcasts.removeAll()
    products.removeAll()
  }

  /// The first node of a reduction over axes of which there is one.
  @inline(__always)
  func reduction(
    of shape: LayoutID, over axes: AxisSet, keepDims: Bool, places: Int
  ) -> Reduction {
    (keepDims ? kept : dropped)(ShapeKey(shape, axes.bits), places: places) {
      Reduction(of: shape, over: axes, keepDims: keepDims)
    }.unsafelyUnwrapped
  }

  /// The shape of two values one behind the other along an axis; nil where they don't fit or the result
  /// can't be computed.
  @inline(__always)
  func joined(_ a: LayoutID, _ b: LayoutID, axis: Int, places: Int) -> LayoutID? {
    joined(ShapeKey(a, UInt64(b) | UInt64(axis) << 32), places: places) { Self.join(a, b, axis) }
  }

  /// A shape with a new axis of some length, for which there is room.
  @inline(__always)
  func expanded(_ shape: LayoutID, by length: Int, at axis: Int, places: Int) -> LayoutID {
    expanded(ShapeKey(shape, UInt64(axis) | UInt64(length) << 6), places: places) {
      Self.expand(shape, length, axis)
    }.unsafelyUnwrapped
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
