// What two shapes give together (broadcast, summed back, multiplied), remembered so that recording an
// operation on differently shaped operands costs one probe. Uses Core.

extension ShapeMemos {
  /// The shape that both broadcast to; nil where they don't fit or the count would overflow.
  @inline(__always)
  func broadcast(_ a: LayoutID, _ b: LayoutID, places: Int) -> LayoutID? {
    a == b ? a : broadcasts(ShapePair(a, b), places: places) { Self.broadcastShape(a, b) }
  }

  /// The attribute of the one sum that takes a value of shape `from` down to the shape that was
  /// broadcast to its own; nil where it takes none or several.
  @inline(__always)
  func unbroadcast(from: LayoutID, to: LayoutID, places: Int) -> UInt32? {
    unbroadcasts(ShapePair(from, to), places: places) { Self.oneSum(from, to) }
  }

  /// The shapes of a matrix product; nil where the operands don't fit.
  @inline(__always)
  func product(_ a: LayoutID, _ b: LayoutID, places: Int) -> ProductShapes? {
    products(ShapePair(a, b), places: places) { ProductShapes(a, b) }
  }

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

  /// The identity of a shape whose values can be computed.
  fileprivate static func checked(_ dims: [Int]) -> LayoutID? {
    if !LayoutTable.isComputable(dims) { return nil }
    return LayoutTable.shared.intern(dims: dims)
  }
}

/// The shapes of a matrix product as NumPy has it: a vector on the left is a row, on the right a column,
/// and that axis is dropped again; the axes before the last two broadcast.
struct ProductShapes: BitwiseCopyable {
  /// The operands' as matrices, the product's, and that without the axes that are dropped.
  let left: LayoutID
  let right: LayoutID
  let product: LayoutID
  let result: LayoutID
  /// The number of products of two matrices.
  let batch: Int

  /// Nil where an operand has no axis, they don't fit, or the result can't be computed.
  @inline(never)
  init?(_ a: LayoutID, _ b: LayoutID) {
    let table = LayoutTable.shared
    let (x, y) = (table[a].dims, table[b].dims)
    if x.isEmpty || y.isEmpty { return nil }
    let rows = x.count == 1 ? [1] + x : x
    let columns = y.count == 1 ? y + [1] : y
    let (m, n) = (rows[rows.count - 2], columns[columns.count - 1])
    guard rows[rows.count - 1] == columns[columns.count - 2],
      let batch = Layout.broadcast(Array(rows.dropLast(2)), Array(columns.dropLast(2))),
      let product = ShapeMemos.checked(batch + [m, n])
    else { return nil }
    left = x.count == 1 ? table.intern(dims: rows) : a
    right = y.count == 1 ? table.intern(dims: columns) : b
    self.product = product
    self.batch = batch.reduce(1, *)
    result =
      x.count > 1 && y.count > 1
      ? product : table.intern(dims: batch + (x.count > 1 ? [m] : []) + (y.count > 1 ? [n] : []))
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
  /// The shape that two shapes broadcast to; nil where they don't fit.
  @inline(__always)
  func broadcast(_ a: LayoutID, _ b: LayoutID) -> LayoutID? {
    state.pointee.memos.broadcast(a, b, places: state.pointee.limits.memoPlaces)
  }

  /// The shapes of a matrix product; nil where the operands don't fit.
  @inline(__always)
  func productShapes(_ a: LayoutID, _ b: LayoutID) -> ProductShapes? {
    state.pointee.memos.product(a, b, places: state.pointee.limits.memoPlaces)
  }

  /// The shape that two recorded values broadcast to; they are known to fit.
  @inlinable @inline(__always)
  public func broadcastShape(_ x: UInt32, _ y: UInt32) -> LayoutID {
    let shape = nodes[Int(x)].shape
    if nodes[Int(y)].shape == shape || nodes[Int(y)].shape == LayoutTable.scalar { return shape }
    return shape == LayoutTable.scalar ? nodes[Int(y)].shape : broadcastShape(shape: shape, y)
  }

  /// The shape that a shape and a recorded value broadcast to; they are known to fit.
  public func broadcastShape(shape: LayoutID, _ y: UInt32) -> LayoutID {
    broadcast(shape, nodes[Int(y)].shape).unsafelyUnwrapped
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
    state.pointee.memos.unbroadcast(
      from: from, to: to, places: state.pointee.limits.memoPlaces)
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
