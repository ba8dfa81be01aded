// What derivative rules work with: the values of the forward graph, and recording more nodes. The
// backward pass is recorded, not executed, so it fuses with the forward one.

internal import LazyGradJIT

/// One backward pass over one tape, which is locked meanwhile.
struct BackwardPass {
  let tape: Tape
  /// Whether the pass is itself recorded for differentiation.
  let createsGraph: Bool
  let state: Node.State
  let adjoints: PassState
  /// No gradient is wanted of records before this one: all that are asked for come later.
  var floor: UInt32 = 0

  // MARK: The forward graph

  func a(_ n: UInt32) -> UInt32 { tape.a(n) }
  func b(_ n: UInt32) -> UInt32 { tape.b(n) }
  func c(_ n: UInt32) -> UInt32 { tape.c(n) }
  /// The type of a node's gradient while the pass gathers it: float32 for float16 and bfloat16. So it is
  /// rounded once, where it becomes a tensor.
  func type(_ n: UInt32) -> ScalarType { tape[n].type.computing }
  func shape(_ n: UInt32) -> LayoutID { tape[n].shape }
  func layout(_ n: UInt32) -> Layout { LayoutTable.shared[tape[n].shape] }

  /// Whether an operand's gradient is wanted.
  @inline(__always)
  func wants(_ n: UInt32) -> Bool { n >= floor && tape[n].traits.contains(.variable) }

  /// The value of a forward node as an operand of a recorded one.
  @inline(__always)
  func value(_ n: UInt32) -> UInt32 { tape.inWindow(n) }

  // MARK: Recording

  /// Traits of a recorded node: gradients are constants unless they are to be differentiated.
  @inline(__always)
  private func traits(_ x: UInt32, _ y: UInt32, _ z: UInt32, _ type: ScalarType) -> Node.Traits {
    if !type.isFloating { return .none }
    if !createsGraph { return .gradient }
    var traits = tape[x].traits
    if y != Tape.none { traits.formUnion(tape[y].traits) }
    if z != Tape.none { traits.formUnion(tape[z].traits) }
    return traits.intersection(.inherited)
  }

  /// Records an elementwise operation on values of one type; `type` is the result's where it is
  /// another.
  @inline(__always)
  func emit(
    _ opcode: Opcode, _ x: UInt32, _ y: UInt32 = Tape.none, type: ScalarType? = nil
  ) -> UInt32 {
    let result = type ?? tape[x].type
    let shape = y == Tape.none ? tape[x].shape : tape.broadcastShape(x, y)
    return tape.append(
      opcode, result, shape: shape, a: x, b: y, traits: traits(x, y, Tape.none, result),
      state: state)
  }

  func select(_ condition: UInt32, _ x: UInt32, _ y: UInt32) -> UInt32 {
    let type = tape[x].type
    let inner = tape.broadcastShape(x, y)
    return tape.append(
      .select, type, shape: tape.broadcastShape(shape: inner, condition), a: condition, b: x, c: y,
      traits: traits(x, y, Tape.none, type), state: state)
  }

  func cast(_ x: UInt32, _ type: ScalarType) -> UInt32 {
    if tape[x].type == type { return x }
    return tape.append(
      .cast, type, shape: tape[x].shape, a: x, traits: traits(x, Tape.none, Tape.none, type),
      state: state)
  }

  /// A number of the type of node `n`'s gradient.
  @inline(__always)
  func number(_ value: Double, _ n: UInt32) -> UInt32 {
    tape.append(.scalar, type(n), shape: LayoutTable.scalar, payload: value.bitPattern)
  }

  /// Records any other operation.
  func emit(
    _ opcode: Opcode, type: ScalarType, shape: LayoutID, _ x: UInt32, _ y: UInt32 = Tape.none,
    _ z: UInt32 = Tape.none, attribute: UInt32 = 0, payload: UInt64 = 0
  ) -> UInt32 {
    tape.append(
      opcode, type, shape: shape, a: x, b: y, c: z, attribute: attribute, payload: payload,
      traits: traits(x, y, z, type), state: state)
  }

  /// A view of a recorded value; strides and offset count in its elements in C order.
  func view(_ x: UInt32, dims: [Int], strides: [Int], offset: Int = 0) -> UInt32 {
    view(x, LayoutTable.shared.intern(dims: dims, strides: strides), offset: offset)
  }

  /// The same under a layout that is known.
  func view(_ x: UInt32, _ layout: LayoutID, offset: Int = 0) -> UInt32 {
    var source = x
    let opcode = tape[x].opcode
    if opcode == .view || opcode == .attach
      || (opcode == .leaf && tape[x].layout != tape[x].shape)
    {
      source = emit(.copy, x)
    }
    let id = tape.view(source, layout: layout, offset: offset, state: state)
    if !createsGraph {
      tape[id].traits.remove(.variable)
      tape[id].traits.formUnion(.gradient)
    }
    return id
  }

  /// The same elements under another shape.
  func reshaped(_ x: UInt32, _ shape: LayoutID) -> UInt32 {
    tape[x].shape == shape ? x : view(x, shape)
  }

  // MARK: Accumulating

  /// Adds a contribution to the gradient of an operand, summed down to the operand's shape.
  @inline(__always)
  func add(_ operand: UInt32, _ contribution: UInt32) {
    if wants(operand) { accumulate(operand, contribution) }
  }

  /// The same for an operand that is known to want a gradient.
  @inline(__always)
  func accumulate(_ operand: UInt32, _ contribution: UInt32) {
    let gatherer = source(operand)
    if !wants(gatherer) { return }
    var g = contribution
    if tape[g].shape != tape[operand].shape { g = summed(g, to: tape[operand].shape) }
    let known = adjoints[gatherer]
    if known != 0 { g = sum(tape.inWindow(known &- 1), g) }
    tape.setAdjoint(adjoints, gatherer, g &+ 1)
  }

  /// Two contributions to one gradient; not inlined, because most nodes have one reader.
  @inline(never)
  private func sum(_ x: UInt32, _ y: UInt32) -> UInt32 { emit(.add, x, y) }

  /// The node that gathers an operand's gradient.
  ///
  /// For a leaf record that stands for a node of an earlier window it is that node: gathered in the
  /// record first, contributions would be added in an order, and with last bits, that depend on where
  /// windows end.
  @inline(__always)
  private func source(_ operand: UInt32) -> UInt32 {
    tape[operand].isImport ? imported(operand) : operand
  }

  @inline(never)
  private func imported(_ operand: UInt32) -> UInt32 {
    var operand = operand
    while let source = tape.importedNode(operand) {
      passOver(operand)
      operand = source
    }
    return operand
  }

  /// Counts a node as reached that needs no gradient of its own.
  func passOver(_ n: UInt32) {
    if adjoints[n] == 0 { tape.setAdjoint(adjoints, n, PassState.passedOn) }
  }

  /// The gradient that a node has so far; zeros before it is reached.
  func gradientOrZeros(_ n: UInt32) -> UInt32 {
    let known = adjoints[source(n)]
    if known != 0 { return tape.inWindow(known &- 1) }
    return emit(.copy, type: type(n), shape: shape(n), number(0, n))
  }

  @inline(__always)
  func setGradient(_ operand: UInt32, _ g: UInt32) {
    tape.setAdjoint(adjoints, source(operand), g &+ 1)
  }

  /// Sums a value over the axes along which `shape` was broadcast to it; a value that is itself
  /// smaller is repeated.
  @inline(never)
  func summed(_ x: UInt32, to shape: LayoutID) -> UInt32 {
    if let attribute = tape.unbroadcast(from: tape[x].shape, to: shape) {
      return emit(.sum, type: tape[x].type, shape: shape, x, attribute: attribute)
    }
    let target = LayoutTable.shared[shape]
    // Not a matter of counts: the sum over an axis without elements has more of them.
    if layout(x).broadcastStrides(to: target.dims) != nil { return expanded(x, to: shape) }
    var dims = layout(x).dims
    var result = x
    let runs = Layout.summedRuns(from: dims, to: target.dims)
    // The last run first, so that the axes before it keep their place.
    for (k, run) in runs.enumerated().reversed() {
      let attribute = Layout.reduction(of: dims, over: run)
      for axis in run { dims[axis] = 1 }
      result = emit(
        .sum, type: tape[x].type,
        shape: k == 0 ? shape : LayoutTable.shared.intern(dims: dims), result, attribute: attribute)
    }
    return reshaped(result, shape)
  }

  /// Repeats a value along the axes in which `shape` is larger.
  func expanded(_ x: UInt32, to shape: LayoutID) -> UInt32 {
    if tape[x].shape == shape { return x }
    var key = ViewKey(.repeated)
    key.append(shape)
    return view(
      x,
      tape.layout(key, of: tape[x].shape) { own in
        let dims = LayoutTable.shared[shape].dims
        return LayoutTable.shared.intern(dims: dims, strides: own.broadcastStrides(to: dims)!)
      })
  }
}
