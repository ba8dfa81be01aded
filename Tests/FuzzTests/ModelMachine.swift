// Runs random tensor programs on the naive model. Says of every line whether it is one that can be
// judged, so that a generator can propose lines at random and a shrinker can leave some out.

/// A program that the model has run, with what it must read.
struct JudgedProgram {
  struct Expectation {
    let reading: Reading
    /// Whether no reduction is involved, so that the bits don't depend on the schedule.
    let isElementwise: Bool
    /// Whether it is an answer, not a number: then it is right or wrong.
    let isAnswer: Bool
    /// Whether rounding to fewer digits than doubles have has left its mark.
    let isRough: Bool
  }
  var lines: [Instruction] = []
  var expected: [Expectation] = []
  /// The error that a reading may have where it has been rounded to fewer digits than doubles have, and where
  /// not.
  var tolerance = 0.0
  var fineTolerance = 0.0
  /// The type that it is about.
  let precision: Precision
}

struct ModelMachine {
  struct Handle {
    var node: EagerNode
    /// For a view: the handle at the bottom and which of its elements it shows.
    var base: Int?
    var map: [Int] = []
    var isHeld = true
    var isElementwise: Bool
    var isVariable: Bool
    /// A view made without autodiff: differentiating it does not reach its base.
    var isUntracked = false
    /// Its elements don't lie in order, though it is a view of nothing here: the gradient of a view.
    var isStrided = false
    /// It is a view of a gradient, though of nothing here: the gradient of a view.
    var isGradientOfView = false
    /// The memory is that of an array which was made read-only.
    var isReadOnly = false
    var gradient: [Double]?
    /// A pass that adds up has left the gradient.
    var addsUp = false

    var dims: [Int] { node.dims }
  }

  struct Host {
    /// The value whose memory it is, and which elements it shows.
    let node: EagerNode
    let map: [Int]
    let dims: [Int]
    let isWriteable: Bool
  }

  let model = EagerModel()
  var handles: [Int: Handle] = [:]
  var hosts: [Int: Host] = [:]
  var program: JudgedProgram

  init(_ precision: Precision) { program = JudgedProgram(precision: precision) }

  /// Runs those of the lines that can be judged.
  static func run(_ lines: [Instruction], _ precision: Precision) -> JudgedProgram {
    var machine = ModelMachine(precision)
    for line in lines { machine.step(line) }
    return machine.finished()
  }

  func finished() -> JudgedProgram {
    var result = program
    // Of numbers of 16 bits only a few units in the last place: what hangs on rounding isn't judged.
    result.tolerance =
      switch program.precision {
      case .float16: model.scale * 0.03
      case .bfloat16: model.scale * 0.2
      default: model.scale * 5e-4
      }
    result.fineTolerance = model.scale * 1e-10
    return result
  }

  /// Whether the numbers are such that rounding errors stay small.
  var isSane: Bool {
    // Where LazyGrad takes several steps and the model one, none of them must be infinite: squares of float16.
    let hasFloat16 = program.precision == .float16 || program.precision.other == .float16
    return model.scale < (hasFloat16 ? 100 : 1e4) && !model.isBroken
  }

  /// Carries a line out, unless it can't be judged.
  @discardableResult
  mutating func step(_ line: Instruction) -> Bool {
    model.isTracking = line.isTracking
    model.isGuarding = line.isGuarding
    guard carryOut(line.kind, line.id) else { return false }
    program.lines.append(line)
    return true
  }

  // MARK: Handles

  func held(_ i: Int) -> Handle? { handles[i].flatMap { $0.isHeld ? $0 : nil } }

  mutating func push(_ id: Int, _ node: EagerNode, exact: Bool) {
    handles[id] = Handle(node: node, isElementwise: exact, isVariable: node.isVariable)
  }

  mutating func pushView(_ id: Int, _ of: Int, _ map: [Int], _ dims: [Int]) {
    let source = handles[of]!
    let base = source.base ?? of
    handles[base]!.node.takeUp()
    let whole = source.base == nil ? map : map.map { source.map[$0] }
    handles[id] = Handle(
      node: model.view(handles[base]!.node, whole, dims), base: base, map: whole,
      isElementwise: handles[base]!.isElementwise, isVariable: handles[base]!.isVariable,
      isUntracked: !model.isTracking)
    if model.isTracking, source.base != nil { handles[id]!.node.viewParent = source.node }
  }

  /// The value that an operation reads. While tracking, one on a view leads to the base again
  /// where a backward pass or a scope without autodiff has cut the way, and the old gradient goes.
  mutating func use(_ i: Int) -> EagerNode {
    if mustJoin(i), let base = handles[i]!.base {
      let old = handles[i]!.node
      // To join a view is a new use of its base.
      handles[base]!.node.takeUp()
      handles[i]!.node = model.view(handles[base]!.node, handles[i]!.map, handles[i]!.dims)
      if old.isComputed, old.isGuarded { handles[i]!.node.isGuarded = true }
    }
    if model.isTracking, !handles[i]!.addsUp { handles[i]!.gradient = nil }
    handles[i]!.node.takeUp()
    // What is computed of numbers of 16 bits is computed of copies, which gradients read.
    if handles[i]!.node.precision.isHalf { markHidden(handles[i]!.node) }
    return handles[i]!.node
  }

  /// The value behind a handle that is spread or picked from, and which elements a shape of it takes.
  /// For a view that is its base, as for any view of a view, and the view is its parent.
  mutating func spread(
    _ i: Int, to dims: [Int]
  ) -> (node: EagerNode, map: [Int], parent: EagerNode?) {
    let node = use(i)
    let map = EagerModel.broadcastMap(node.dims, to: dims)
    guard let base = handles[i]!.base else { return (node, map, nil) }
    handles[base]!.node.takeUp()
    return (handles[base]!.node, map.map { handles[i]!.map[$0] }, model.isTracking ? node : nil)
  }

  /// The same for a value that is written into one of another type, perhaps, and shape.
  mutating func written(
    _ i: Int, as target: EagerNode, to dims: [Int]
  ) -> (node: EagerNode, map: [Int], parent: EagerNode?) {
    let isCast = handles[i]!.node.precision != target.precision
    if !isCast, handles[i]!.dims != dims { return spread(i, to: dims) }
    let node = model.cast(use(i), to: target.precision)
    return (node, EagerModel.broadcastMap(node.dims, to: dims), nil)
  }

  func mustJoin(_ i: Int) -> Bool {
    let handle = handles[i]!
    return model.isTracking && handle.base != nil && handle.isVariable && model.isCut(handle.node)
  }

  func isExact(_ operands: Int...) -> Bool {
    operands.allSatisfy { handles[$0]!.isElementwise }
  }

  /// Whether a choice by these values is the model's: of few digits none that has been rounded.
  func isSure(_ operands: Int...) -> Bool {
    operands.allSatisfy {
      handles[$0]!.isElementwise && !(program.precision.isHalf && handles[$0]!.node.isRough)
    }
  }

  /// Whether rounding may decide which operand a choice takes.
  func isDelicate(_ f: Binary, _ x: Int, _ y: Int) -> Bool {
    (f == .maximum || f == .minimum) && (!isSure(x, y) || isMixed(x, y))
  }

  /// Whether rounding on one side shows when operands are compared or subtracted.
  func isMixed(_ x: Int, _ y: Int) -> Bool {
    let (a, b) = (handles[x]!.node, handles[y]!.node)
    return a.precision != b.precision && (a.isRough || b.isRough)
  }

  /// Notes that an operation converts operands which are not of its type: their gradients read what
  /// they have been converted to.
  func markConverted(_ operands: [EagerNode]) {
    let common = Precision.common(operands.map(\.precision))
    for node in operands where node.precision != common { markHidden(node) }
  }

  func isDelicate(_ f: Binary, _ x: Int, _ c: Double) -> Bool {
    (f == .maximum || f == .minimum)
      && (!isExact(x) && c == c.rounded() || program.precision.isHalf && !isSure(x))
  }

  /// A number, which adapts to the other operand's type.
  func constant(_ c: Double) -> EagerNode {
    model.leaf([], [c], precision: .weak, isVariable: false)
  }

  func markHidden(_ node: EagerNode) { node.memoryOwner.hasHiddenReader = true }

  // MARK: Lines

  mutating func carryOut(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .leaf(let dims, let values, let isVariable):
      push(id, leaf(dims, values, isVariable: isVariable), exact: true)
    case .otherLeaf(let dims, let values, let isVariable):
      push(
        id, model.leaf(dims, values, precision: program.precision.other, isVariable: isVariable),
        exact: true)
    case .hostLeaf(let dims, let values, let isVariable, let isWriteable):
      push(id, leaf(dims, values, isVariable: isVariable), exact: true)
      handles[id]!.isReadOnly = !isWriteable
      hosts[id] = Host(
        node: handles[id]!.node, map: Array(values.indices), dims: dims, isWriteable: isWriteable)
    case .stridedLeaf(let dims, let given, let strides, let isVariable):
      // Of the rows of nothing there is none to repeat.
      guard !dims.isEmpty, strides != .repeated || dims[0] > 0 else { return false }
      let row = EagerModel.count(Array(dims.dropFirst()))
      let values = strides == .repeated ? given.indices.map { given[$0 % row] } : given
      push(id, leaf(dims, values, isVariable: isVariable), exact: true)
      handles[id]!.isReadOnly = strides == .repeated
      handles[id]!.isStrided = true
      hosts[id] = Host(
        node: handles[id]!.node, map: Array(values.indices), dims: dims,
        isWriteable: strides != .repeated)
    case .full(let dims, let value):
      let values = [Double](repeating: value, count: EagerModel.count(dims))
      push(id, leaf(dims, values, isVariable: true), exact: true)
    case .otherType(let x):
      guard held(x) != nil else { return false }
      let exact = isExact(x)
      let node = use(x)
      push(
        id,
        model.cast(
          node,
          to: node.precision == program.precision ? program.precision.other : program.precision),
        exact: exact)
    case .unary, .binary, .scalar, .composite, .select, .integers: return elementwise(kind, id)
    case .sum, .prod, .mean, .max, .matmul, .softmax, .concatenate, .takeRows:
      return other(kind, id)
    case .reshaped, .transposed, .sliced, .reversed, .broadcast: return view(kind, id)
    case .update, .updateScalar, .setRows, .setIndexed, .addIndexed: return update(kind)
    case .handOut, .hostWrite, .ask: return host(kind, id)
    case .backward, .gradients, .gradient, .clearGraph: return differentiate(kind, id)
    case .detached(let x):
      guard let handle = held(x) else { return false }
      push(
        id, copy(of: handle.node, isVariable: handle.node.isVariable), exact: handle.isElementwise)
    case .drop(let x):
      if held(x) == nil { return false }
      handles[x]!.isHeld = false
    case .eval(let some):
      if some.contains(where: { held($0) == nil }) { return false }
    case .read(let x):
      guard let handle = held(x) else { return false }
      expect(id, handle.node, exact: handle.isElementwise)
    case .failing(let failure, let x):
      // A backward pass does nothing without autodiff, so it refuses nothing.
      if held(x) == nil || (failure == .seed && !model.isTracking) { return false }
      expect(id, true)
    }
    return true
  }

  func leaf(_ dims: [Int], _ values: [Double], isVariable: Bool) -> EagerNode {
    model.leaf(dims, values, precision: program.precision, isVariable: isVariable)
  }

  /// A leaf with a value's elements.
  func copy(of node: EagerNode, isVariable: Bool) -> EagerNode {
    let copy = model.leaf(
      node.dims, node.values, precision: node.precision, isVariable: isVariable)
    copy.isRough = node.isRough
    return copy
  }

  mutating func expect(_ line: Int, _ node: EagerNode, exact: Bool) {
    program.expected.append(
      .init(
        reading: Reading(line: line, values: node.values, precision: node.precision),
        isElementwise: exact, isAnswer: false, isRough: node.isRough))
  }

  mutating func expect(_ line: Int, _ answer: Bool) {
    program.expected.append(
      .init(
        reading: Reading(line: line, values: [answer ? 1 : 0]), isElementwise: true,
        isAnswer: true, isRough: false))
  }
}
