// Writes random programs line by line, carrying each line out on the model at once, so that every
// line is legal where it stands and the expected values are known when the program is complete.

import TestSupport

/// A program with what it must read.
struct GeneratedProgram {
  var lines: [Instruction] = []
  var expected: [Reading] = []
  /// By reading: whether no reduction is involved, so that its bits don't depend on the schedule.
  var isElementwise: [Bool] = []
  /// The error that a reading may have.
  var tolerance = 0.0
  let isSingle: Bool
}

/// Holds the model's side of a program that is being written.
struct TensorProgramGenerator {
  private struct Handle {
    var node: EagerNode
    /// For a view: the handle at the bottom and which of its elements it shows.
    var base: Int?
    var map: [Int] = []
    var isAlive = true
    var isElementwise: Bool
    /// A host array shares the memory: the number of the array.
    var host: Int?
    var isVariable: Bool
    /// A view made without autodiff: differentiating it does not reach its base.
    var isUntracked = false
  }

  private var random: SeededRandom
  private let model: EagerModel
  private var handles: [Handle] = []
  private var hostNodes: [EagerNode] = []
  private var program: GeneratedProgram

  static func make(seed: UInt64) -> GeneratedProgram {
    var random = SeededRandom(seed: seed)
    let isSingle = random.chance(0.5)
    let length = random.int(8...60)
    var generator = TensorProgramGenerator(random, isSingle: isSingle)
    for _ in 0..<3 { generator.addLeaf() }
    while generator.program.lines.count < length, generator.isSane { generator.addLine() }
    for h in generator.handles.indices where generator.handles[h].isAlive { generator.read(h) }
    generator.program.tolerance = generator.model.scale * (isSingle ? 5e-4 : 1e-10)
    return generator.program
  }

  private init(_ random: SeededRandom, isSingle: Bool) {
    self.random = random
    model = EagerModel(isSingle: isSingle)
    program = GeneratedProgram(isSingle: isSingle)
  }

  private var isSane: Bool { model.scale < 1e4 && !model.isBroken }

  // MARK: Choosing

  private func alive(_ condition: (Handle) -> Bool = { _ in true }) -> [Int] {
    handles.indices.filter { handles[$0].isAlive && condition(handles[$0]) }
  }

  private mutating func pick(_ condition: (Handle) -> Bool = { _ in true }) -> Int? {
    let all = alive(condition)
    if all.isEmpty { return nil }
    // Recent values more often: programs are chains more than fans.
    return random.chance(0.6) ? all[max(0, all.count - random.int(1...4))] : random.pick(all)
  }

  private mutating func dims() -> [Int] {
    random.pick([
      [], [1], [5], [3], [3, 5], [1, 5], [3, 1], [5, 3], [4, 4], [2, 3, 5], [17], [0, 3],
    ])
  }

  /// Multiples of 1/64: exact in both precisions, with ties now and then.
  private mutating func number() -> Double { Double(random.int(-128...128)) / 64 }

  private mutating func numbers(_ dims: [Int]) -> [Double] {
    (0..<EagerModel.count(dims)).map { _ in number() }
  }

  // MARK: Writing

  private mutating func write(_ kind: Instruction.Kind) {
    program.lines.append(Instruction(kind: kind, isTracking: model.isTracking))
  }

  private mutating func push(_ node: EagerNode, exact: Bool) {
    handles.append(Handle(node: node, isElementwise: exact, isVariable: node.isVariable))
  }

  private mutating func pushView(_ of: Int, _ map: [Int], _ dims: [Int]) {
    let source = handles[of]
    let base = source.base ?? of
    let whole = source.base == nil ? map : map.map { source.map[$0] }
    handles.append(
      Handle(
        node: model.gather(handles[base].node, whole, dims), base: base, map: whole,
        isElementwise: handles[base].isElementwise, isVariable: handles[base].isVariable,
        isUntracked: !model.isTracking))
  }

  /// The value that an operation reads. While tracking, one on a view leads to the base again
  /// where a backward pass or a scope without autodiff has cut the way.
  private mutating func use(_ h: Int) -> EagerNode {
    if mustJoin(h), let base = handles[h].base {
      handles[h].node = model.gather(handles[base].node, handles[h].map, handles[h].node.dims)
    }
    return handles[h].node
  }

  private func mustJoin(_ h: Int) -> Bool {
    model.isTracking && handles[h].base != nil && handles[h].isVariable
      && model.isCut(handles[h].node)
  }

  /// Whether rounding may decide which operand a choice takes.
  private func isDelicate(_ f: Binary, _ x: Handle, _ y: Handle) -> Bool {
    (f == .maximum || f == .minimum) && !(x.isElementwise && y.isElementwise)
  }

  private func isDelicate(_ f: Binary, _ x: Handle, _ c: Double) -> Bool {
    (f == .maximum || f == .minimum) && !x.isElementwise && c == c.rounded()
  }

  private mutating func addLeaf() {
    let dims = dims()
    let values = numbers(dims)
    let isVariable = random.chance(0.75)
    switch random.int(0...5) {
    case 0:
      write(.full(dims: dims, value: values.first ?? 1))
      push(
        model.leaf(dims, values.map { _ in values[0] }, isVariable: true), exact: true)
    case 1, 2:
      write(.hostLeaf(dims: dims, values: values, isVariable: isVariable))
      push(model.leaf(dims, values, isVariable: isVariable), exact: true)
      handles[handles.count - 1].host = hostNodes.count
      hostNodes.append(handles.last!.node)
    default:
      write(.leaf(dims: dims, values: values, isVariable: isVariable))
      push(model.leaf(dims, values, isVariable: isVariable), exact: true)
    }
  }

  private mutating func read(_ h: Int) {
    write(.read(h))
    program.expected.append(
      Reading(line: program.lines.count - 1, values: handles[h].node.values))
    program.isElementwise.append(handles[h].isElementwise)
  }

  private mutating func addLine() {
    if random.chance(0.08) { model.isTracking.toggle() }
    switch random.weighted([3, 10, 10, 7, 3, 7, 3, 3, 14, 2, 7, 3, 6, 6, 4, 6]) {
    case 0: addLeaf()
    case 1: addUnary()
    case 2: addBinary()
    case 3: addScalar()
    case 4: addSelect()
    case 5: addReduction()
    case 6: addMatmul()
    case 7: addSoftmax()
    case 8: addView()
    case 9: addConcatenation()
    case 10: addUpdate()
    case 11: addHostWrite()
    case 12: addDrop()
    case 13:
      let some = alive().filter { _ in random.chance(0.3) }
      if !some.isEmpty { write(.eval(some)) }
    case 14: if let h = pick() { read(h) }
    default: addBackward()
    }
  }

  // MARK: Operations

  private mutating func addUnary() {
    guard let x = pick() else { return }
    let isHost = handles[x].host != nil
    // These save a value between the buffer and the result, which the model does not have.
    let f = random.pick(Unary.allCases.filter { !isHost || $0 != .logarithm })
    // The sign of what should be 0, such as a mean of deviations, is left to rounding.
    if [.relu, .absolute, .logarithm].contains(f), !handles[x].isElementwise { return }
    guard let node = model.map([use(x)], f.function) else { return }
    write(.unary(f, x))
    push(node, exact: handles[x].isElementwise)
  }

  private mutating func addBinary() {
    guard let x = pick(), let y = pick() else { return }
    let f = random.pick(Binary.allCases)
    if f == .divide, handles[y].host != nil { return }
    if isDelicate(f, handles[x], handles[y]) { return }
    if EagerModel.broadcast(handles[x].node.dims, handles[y].node.dims) == nil { return }
    guard let node = model.map([use(x), use(y)], f.function) else { return }
    write(.binary(f, x, y))
    push(node, exact: handles[x].isElementwise && handles[y].isElementwise)
  }

  private func constant(_ c: Double) -> EagerNode { model.leaf([], [c], isVariable: false) }

  private mutating func addScalar() {
    guard let x = pick() else { return }
    let f = random.pick(Binary.allCases)
    let c = number()
    let first = random.chance(0.3) && f != .maximum && f != .minimum
    if f == .divide, first, handles[x].host != nil { return }
    if isDelicate(f, handles[x], c) { return }
    let operands = first ? [constant(c), use(x)] : [use(x), constant(c)]
    guard let node = model.map(operands, f.function) else { return }
    write(.scalar(f, x, c, scalarFirst: first))
    push(node, exact: handles[x].isElementwise)
  }

  private mutating func addSelect() {
    guard let x = pick({ $0.host == nil && $0.isElementwise }), let y = pick(), let z = pick()
    else { return }
    let c = number()
    let isTrue = model.leaf(
      handles[x].node.dims, handles[x].node.values.map { $0 > c ? 1 : 0 }, isVariable: false)
    let f = ScalarFunction(
      value: { $0[0] == 1 ? $0[1] : $0[2] },
      partial: { p, x, _ in (x[0] == 1) == (p == 1) ? 1 : 0 })
    let fits = EagerModel.broadcast(handles[y].node.dims, handles[z].node.dims).flatMap {
      EagerModel.broadcast($0, handles[x].node.dims)
    }
    if fits == nil { return }
    _ = use(x)
    guard let node = model.map([isTrue, use(y), use(z)], f) else { return }
    write(.select(x, c, y, z))
    push(node, exact: handles[y].isElementwise && handles[z].isElementwise)
  }

  private mutating func addReduction() {
    guard let x = pick() else { return }
    let node = handles[x].node
    let axis =
      node.dims.isEmpty || random.chance(0.4) ? nil : random.int(0...(node.dims.count - 1))
    let keep = random.chance(0.4)
    let n = EagerModel.groups(node.dims, axis: axis)
    let length = n.map.count / Swift.max(1, EagerModel.count(n.kept))
    switch random.int(0...2) {
    case 0:
      write(.sum(x, axis: axis, keepDims: keep))
      push(model.sum(use(x), axis: axis, keepDims: keep), exact: false)
    case 1 where length > 0 && !node.values.isEmpty:
      write(.mean(x, axis: axis, keepDims: keep))
      let sum = model.sum(use(x), axis: axis, keepDims: keep)
      let scaled = ScalarFunction(
        value: { $0[0] / Double(length) }, partial: { _, _, _ in 1 / Double(length) })
      push(model.map([sum], scaled)!, exact: false)
    case 2 where length > 0 && !node.values.isEmpty:
      // Which element is the largest must not hang on rounding.
      if !handles[x].isElementwise { return }
      write(.max(x, axis: axis, keepDims: keep))
      push(model.max(use(x), axis: axis, keepDims: keep), exact: true)
    default: break
    }
  }

  private mutating func addMatmul() {
    guard let x = pick({ $0.node.dims.count == 2 }) else { return }
    let inner = handles[x].node.dims[1]
    guard let y = pick({ $0.node.dims.count == 2 && $0.node.dims[0] == inner }) else { return }
    write(.matmul(x, y))
    push(model.matmul(use(x), use(y)), exact: false)
  }

  private mutating func addSoftmax() {
    guard let x = pick({ !$0.node.dims.isEmpty && !$0.node.values.isEmpty }) else { return }
    let logarithm = random.chance(0.5)
    write(.softmax(x, logarithm: logarithm))
    push(model.softmax(use(x), logarithm: logarithm), exact: false)
  }

  private mutating func addConcatenation() {
    guard let x = pick({ !$0.node.dims.isEmpty }) else { return }
    let tail = handles[x].node.dims.dropFirst()
    guard let y = pick({ !$0.node.dims.isEmpty && $0.node.dims.dropFirst() == tail }) else {
      return
    }
    write(.concatenate(x, y))
    let (a, b) = (use(x), use(y))
    let dims = [a.dims[0] + b.dims[0]] + tail
    let n = a.values.count
    let blank = model.leaf(dims, (a.values + b.values).map { _ in 0 }, isVariable: false)
    let first = model.replaced(blank, Array(0..<n), by: a)
    let both = model.replaced(first, Array(n..<(n + b.values.count)), by: b)
    push(both, exact: handles[x].isElementwise && handles[y].isElementwise)
  }

  // MARK: Views

  private mutating func addView() {
    // A window onto a host array's memory would change with it.
    guard let x = pick({ $0.host == nil }) else { return }
    let dims = handles[x].node.dims
    let n = EagerModel.count(dims)
    let all = Array(0..<n)
    let row = dims.isEmpty ? 1 : EagerModel.count(Array(dims.dropFirst()))
    switch random.int(0...5) {
    case 0:
      let target = random.pick([[n], [1, n], [n, 1], dims.reversed(), dims + [1]])
      // A copy would use the tensor.
      if !isSimple(handles[x]), mustJoin(x) { return }
      write(.reshaped(x, target))
      // Where only a copy can have the shape it is one, not a view.
      if isSimple(handles[x]) {
        pushView(x, all, target)
      } else {
        // Perhaps a copy, perhaps a view of repeated elements: it goes at once, so that only its
        // value counts.
        write(.drop(handles.count))
        push(model.gather(handles[x].node, all, target), exact: handles[x].isElementwise)
        handles[handles.count - 1].isAlive = false
      }
    case 1:
      write(.transposed(x))
      let steps = EagerModel.strides(dims)
      let map = EagerModel.indices(dims.reversed()).map { index in
        zip(index, steps.reversed()).reduce(0) { $0 + $1.0 * $1.1 }
      }
      pushView(x, map, dims.reversed())
    case 2 where !dims.isEmpty:
      let low = random.int(0...dims[0])
      let high = random.int(low...dims[0])
      write(.sliced(x, low..<high))
      pushView(x, Array((low * row)..<(high * row)), [high - low] + dims.dropFirst())
    case 3 where !dims.isEmpty:
      write(.reversed(x))
      let map = (0..<dims[0]).reversed().flatMap { r in (r * row)..<((r + 1) * row) }
      pushView(x, map, dims)
    case 4:
      let target = random.pick([[2] + dims, dims.map { $0 == 1 ? 3 : $0 }])
      write(.broadcast(x, target))
      pushView(x, EagerModel.broadcastMap(dims, to: target), target)
    case 5 where !dims.isEmpty && dims[0] > 0:
      let rows = (0..<random.int(0...6)).map { _ in random.int(0...(dims[0] - 1)) }
      write(.takeRows(x, rows))
      let map = rows.flatMap { r in (r * row)..<((r + 1) * row) }
      push(
        model.gather(use(x), map, [rows.count] + dims.dropFirst()),
        exact: handles[x].isElementwise)
    default: break
    }
  }

  /// Whether a handle shows a run of elements in order, so that any reshaping is a view.
  private func isSimple(_ x: Handle) -> Bool {
    x.base == nil || zip(x.map, x.map.dropFirst()).allSatisfy { $1 == $0 + 1 }
  }

  // MARK: In-place updates and host writes

  private mutating func addUpdate() {
    guard let x = pick({ $0.host == nil && Set($0.map).count == $0.map.count }) else { return }
    let root = handles[x].base ?? x
    let hasViews = handles.contains { $0.base == root }
    // What a view's graph is after an update without autodiff is not defined.
    if !model.isTracking, hasViews { return }
    let old = handles[x].node
    let f = random.pick(Binary.allCases)
    let c = number()
    switch random.int(0...2) {
    case 0:
      let y = pick { EagerModel.broadcast($0.node.dims, old.dims) == old.dims }
      guard let y, handles[x].isVariable || !handles[y].node.isVariable,
        f != .divide || handles[y].host == nil, !isDelicate(f, handles[x], handles[y]),
        let value = model.map([use(x), use(y)], f.function)
      else { return }
      write(.update(f, x, y))
      store(value, x, exact: handles[x].isElementwise && handles[y].isElementwise)
    case 1:
      if isDelicate(f, handles[x], c) { return }
      guard let value = model.map([use(x), constant(c)], f.function) else { return }
      write(.updateScalar(f, x, c))
      store(value, x, exact: handles[x].isElementwise)
    default:
      if old.dims.isEmpty { return }
      let row = EagerModel.count(Array(old.dims.dropFirst()))
      let low = random.int(0...old.dims[0])
      let high = random.int(low...old.dims[0])
      write(.assignRows(x, low..<high, c))
      let places = Array((low * row)..<(high * row))
      let map = handles[x].base == nil ? places : places.map { handles[x].map[$0] }
      let part = model.leaf([places.count], places.map { _ in c }, isVariable: false)
      setBase(root, model.replaced(handles[root].node, map, by: part))
    }
  }

  private mutating func store(_ value: EagerNode, _ x: Int, exact: Bool) {
    let root = handles[x].base ?? x
    handles[root].isElementwise = handles[root].isElementwise && exact
    if handles[x].base != nil {
      setBase(root, model.replaced(handles[root].node, handles[x].map, by: value))
    } else {
      setBase(root, model.gather(value, Array(0..<value.values.count), value.dims))
    }
  }

  /// Gives a base its new version; its views follow at once.
  private mutating func setBase(_ root: Int, _ node: EagerNode) {
    handles[root].node = node
    for h in handles.indices where handles[h].base == root {
      handles[h].node = model.gather(node, handles[h].map, handles[h].node.dims)
      handles[h].isElementwise = handles[root].isElementwise
      handles[h].isUntracked = !model.isTracking
    }
  }

  private mutating func addHostWrite() {
    if hostNodes.isEmpty { return }
    let k = random.int(0...(hostNodes.count - 1))
    let values = numbers(hostNodes[k].dims)
    write(.hostWrite(k, values))
    hostNodes[k].values = values
  }

  private mutating func addDrop() {
    if alive().count < 4 { return }
    guard let x = pick() else { return }
    write(.drop(x))
    handles[x].isAlive = false
  }

  // MARK: Gradients

  private mutating func addBackward() {
    if !model.isTracking { return }
    guard let x = pick({ $0.isVariable && $0.node.isVariable }) else { return }
    let head = handles[x].node
    if model.isBlocked(head) { return }
    let retains = random.chance(0.3)
    if handles[x].isUntracked {
      write(.backward(x, retainsGraph: retains, grabs: []))
      return
    }
    let gradients = model.backward(head, retainsGraph: retains)
    var grabs: [Int] = []
    for h in alive({ $0.base == nil && $0.isVariable })
    where gradients[ObjectIdentifier(handles[h].node)] != nil && random.chance(0.6) {
      grabs.append(h)
    }
    write(.backward(x, retainsGraph: retains, grabs: grabs))
    for h in grabs {
      let node = handles[h].node
      push(
        model.leaf(node.dims, gradients[ObjectIdentifier(node)]!, isVariable: false), exact: false)
    }
  }
}
