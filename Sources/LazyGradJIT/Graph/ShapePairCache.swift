// Remembers what two shapes give together (broadcast, summed back, multiplied), so that recording an
// operation on differently shaped operands costs one probe. Uses Core.

/// A direct-mapped memo of a function of two shapes.
struct ShapePairCache {
  private struct Entry {
    var a: LayoutID = .max
    var b: LayoutID = .max
    var result: UInt32 = 0
  }
  private static var size: Int { 64 }
  private let entries: UnsafeMutablePointer<Entry>

  init() {
    entries = .allocate(capacity: Self.size)
    entries.initialize(repeating: Entry(), count: Self.size)
  }

  func removeAll() { entries.update(repeating: Entry(), count: Self.size) }

  /// What was remembered, or what `compute` says; nil, which is not remembered, where that is nil.
  @inline(__always)
  func callAsFunction(
    _ a: LayoutID, _ b: LayoutID, _ compute: (LayoutID, LayoutID) -> UInt32?
  ) -> UInt32? {
    let entry = entries + Int((a &* 31 &+ b) & 63)
    if entry.pointee.a == a, entry.pointee.b == b { return entry.pointee.result }
    guard let result = compute(a, b) else { return nil }
    entry.pointee = Entry(a: a, b: b, result: result)
    return result
  }
}

extension ShapePairCache {
  /// The shape that both broadcast to; nil where they don't fit or the count would overflow.
  @inline(__always)
  func broadcast(_ a: LayoutID, _ b: LayoutID) -> LayoutID? {
    a == b ? a : self(a, b, Self.broadcastShape)
  }

  /// The attribute of the one sum that takes a value of shape `from` down to the shape that was
  /// broadcast to its own; nil where it takes none or several.
  func unbroadcast(from: LayoutID, to: LayoutID) -> UInt32? { self(from, to, Self.oneSum) }

  /// The shape of a matrix product; nil where the operands are no matrices or don't fit.
  @inline(__always)
  func product(_ a: LayoutID, _ b: LayoutID) -> LayoutID? { self(a, b, Self.productShape) }

  @inline(never)
  private static func broadcastShape(_ a: LayoutID, _ b: LayoutID) -> LayoutID? {
    let table = LayoutTable.shared
    guard let dims = Layout.broadcast(table[a].dims, table[b].dims) else { return nil }
    return checked(dims)
  }

  @inline(never)
  private static func oneSum(_ from: LayoutID, _ to: LayoutID) -> UInt32? {
    let large = LayoutTable.shared[from]
    let small = LayoutTable.shared[to]
    guard large.rank >= small.rank, large.count >= small.count else { return nil }
    let runs = Layout.summedRuns(from: large.dims, to: small.dims)
    return runs.count == 1 ? Layout.reduction(of: large.dims, over: runs[0]) : nil
  }

  @inline(never)
  private static func productShape(_ a: LayoutID, _ b: LayoutID) -> LayoutID? {
    let left = LayoutTable.shared[a].dims
    let right = LayoutTable.shared[b].dims
    guard left.count == 2, right.count == 2, left[1] == right[0] else { return nil }
    return checked([left[0], right[1]])
  }

  /// The identity of a shape whose values can be computed.
  private static func checked(_ dims: [Int]) -> LayoutID? {
    if !LayoutTable.isComputable(dims) { return nil }
    return LayoutTable.shared.intern(dims: dims)
  }
}

extension Layout {
  /// Runs of neighbouring axes of `from` that were broadcast from `to`, ascending.
  package static func summedRuns(from: [Int], to: [Int]) -> [ClosedRange<Int>] {
    let lead = from.count - to.count
    var runs: [ClosedRange<Int>] = []
    for axis in from.indices
    where axis < lead || (to[axis - lead] == 1 && from[axis] != 1) {
      if let last = runs.last, last.upperBound == axis - 1 {
        runs[runs.count - 1] = last.lowerBound...axis
      } else {
        runs.append(axis...axis)
      }
    }
    return runs
  }

  /// The shape `[outer, reduced, inner]` of a reduction over a run of axes.
  package static func reduction(of dims: [Int], over run: ClosedRange<Int>) -> LayoutID {
    LayoutTable.shared.intern(dims: [
      dims[..<run.lowerBound].reduce(1, *), dims[run].reduce(1, *),
      dims[(run.upperBound + 1)...].reduce(1, *),
    ])
  }
}

extension Tape {
  /// The shape that two recorded values broadcast to; they are known to fit.
  @inlinable @inline(__always)
  public func broadcastShape(_ x: UInt32, _ y: UInt32) -> LayoutID {
    let shape = nodes[Int(x)].shape
    if nodes[Int(y)].shape == shape || nodes[Int(y)].shape == LayoutTable.scalar { return shape }
    return shape == LayoutTable.scalar ? nodes[Int(y)].shape : broadcastShape(shape: shape, y)
  }

  /// The shape that a shape and a recorded value broadcast to; they are known to fit.
  public func broadcastShape(shape: LayoutID, _ y: UInt32) -> LayoutID {
    state.pointee.broadcasts.broadcast(shape, nodes[Int(y)].shape).unsafelyUnwrapped
  }

  /// What is known of a layout.
  @inlinable @inline(__always)
  func facts(_ id: LayoutID) -> UnsafeMutablePointer<LayoutTable.Facts> {
    state.pointee.layoutFacts[Int(id >> 12)].unsafelyUnwrapped + Int(id & 4095)
  }

  /// The number of axes of a layout.
  @inlinable @inline(__always)
  public func rank(_ id: LayoutID) -> Int { facts(id).pointee.rank }

  /// The attribute of the sum that takes a value of one shape down to another.
  package func unbroadcast(from: LayoutID, to: LayoutID) -> UInt32? {
    state.pointee.unbroadcasts.unbroadcast(from: from, to: to)
  }

  /// A view of a contiguous value with its last two axes swapped. The products of a recurrence ask
  /// for that of their weights again and again, so a node of the window remembers it.
  package func matrixTransposed(_ id: UInt32, keepsTraits: Bool, state nodeState: Node.State)
    -> UInt32
  {
    let shape = nodes[Int(id)].shape
    let swapped = facts(shape).pointee.swapped.load(ordering: .relaxed)
    let layout = swapped != 0 ? swapped &- 1 : LayoutTable.matrixTransposed(shape)
    var traits: Node.Traits =
      keepsTraits ? nodes[Int(id)].traits.intersection(.inherited) : .none
    if nodes[Int(id)].opcode == .leaf { traits.insert(.leafView) }
    if let view = nodes[Int(id)].remembered, view >= id, view < state.pointee.count {
      let known = nodes + Int(view)
      if known.pointee.opcode == .view, known.pointee.a == view &- id,
        known.pointee.layout == layout, known.pointee.traits.rawValue == traits.rawValue,
        known.pointee.state.isDisjoint(with: .dead, .cleared)
      {
        return view
      }
    }
    let view = append(
      .view, nodes[Int(id)].type, shape: facts(layout).pointee.shape, a: id, attribute: layout,
      traits: traits, state: nodeState)
    nodes[Int(id)].remembered = view
    return view
  }
}
