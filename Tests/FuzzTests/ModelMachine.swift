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
  }
  var lines: [Instruction] = []
  var expected: [Expectation] = []
  /// The error that a reading may have.
  var tolerance = 0.0
  let isSingle: Bool
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
    /// The memory is that of an array which was made read-only.
    var isReadOnly = false
    var gradient: [Double]?

    var dims: [Int] { node.dims }
  }

  struct Host {
    /// The value whose memory it is, and which elements it shows.
    let node: EagerNode
    let map: [Int]
    let dims: [Int]
    let isWriteable: Bool
  }

  let model: EagerModel
  private(set) var handles: [Int: Handle] = [:]
  private(set) var hosts: [Int: Host] = [:]
  private(set) var program: JudgedProgram

  init(isSingle: Bool) {
    model = EagerModel(isSingle: isSingle)
    program = JudgedProgram(isSingle: isSingle)
  }

  /// Runs those of the lines that can be judged.
  static func run(_ lines: [Instruction], isSingle: Bool) -> JudgedProgram {
    var machine = ModelMachine(isSingle: isSingle)
    for line in lines { machine.step(line) }
    return machine.finished()
  }

  func finished() -> JudgedProgram {
    var result = program
    result.tolerance = model.scale * (program.isSingle ? 5e-4 : 1e-10)
    return result
  }

  /// Whether the numbers are such that rounding errors stay small.
  var isSane: Bool { model.scale < 1e4 && !model.isBroken }

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

  private func held(_ i: Int) -> Handle? { handles[i].flatMap { $0.isHeld ? $0 : nil } }

  private mutating func push(_ id: Int, _ node: EagerNode, exact: Bool) {
    handles[id] = Handle(node: node, isElementwise: exact, isVariable: node.isVariable)
  }

  private mutating func pushView(_ id: Int, _ of: Int, _ map: [Int], _ dims: [Int]) {
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
  private mutating func use(_ i: Int) -> EagerNode {
    if mustJoin(i), let base = handles[i]!.base {
      handles[i]!.node = model.view(handles[base]!.node, handles[i]!.map, handles[i]!.dims)
    }
    if model.isTracking { handles[i]!.gradient = nil }
    handles[i]!.node.takeUp()
    return handles[i]!.node
  }

  /// The value behind a handle that is spread or picked from, and which elements a shape of it takes.
  /// For a view that is its base, as for any view of a view, and the view is its parent.
  private mutating func spread(
    _ i: Int, to dims: [Int]
  ) -> (node: EagerNode, map: [Int], parent: EagerNode?) {
    let node = use(i)
    let map = EagerModel.broadcastMap(node.dims, to: dims)
    guard let base = handles[i]!.base else { return (node, map, nil) }
    handles[base]!.node.takeUp()
    return (handles[base]!.node, map.map { handles[i]!.map[$0] }, model.isTracking ? node : nil)
  }

  private func mustJoin(_ i: Int) -> Bool {
    let handle = handles[i]!
    return model.isTracking && handle.base != nil && handle.isVariable && model.isCut(handle.node)
  }

  private func isExact(_ operands: Int...) -> Bool {
    operands.allSatisfy { handles[$0]!.isElementwise }
  }

  /// Whether rounding may decide which operand a choice takes.
  private func isDelicate(_ f: Binary, _ x: Int, _ y: Int) -> Bool {
    (f == .maximum || f == .minimum) && !isExact(x, y)
  }

  private func isDelicate(_ f: Binary, _ x: Int, _ c: Double) -> Bool {
    (f == .maximum || f == .minimum) && !isExact(x) && c == c.rounded()
  }

  private func constant(_ c: Double) -> EagerNode { model.leaf([], [c], isVariable: false) }

  private func markHidden(_ node: EagerNode) { node.memoryOwner.hasHiddenReader = true }

  // MARK: Lines

  private mutating func carryOut(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .leaf(let dims, let values, let isVariable):
      push(id, model.leaf(dims, values, isVariable: isVariable), exact: true)
    case .hostLeaf(let dims, let values, let isVariable, let isWriteable):
      push(id, model.leaf(dims, values, isVariable: isVariable), exact: true)
      handles[id]!.isReadOnly = !isWriteable
      hosts[id] = Host(
        node: handles[id]!.node, map: Array(values.indices), dims: dims, isWriteable: isWriteable)
    case .full(let dims, let value):
      let values = [Double](repeating: value, count: EagerModel.count(dims))
      push(id, model.leaf(dims, values, isVariable: true), exact: true)
    case .unary, .binary, .scalar, .select, .integers: return elementwise(kind, id)
    case .sum, .mean, .max, .matmul, .softmax, .concatenate, .takeRows: return other(kind, id)
    case .reshaped, .transposed, .sliced, .reversed, .broadcast: return view(kind, id)
    case .update, .updateScalar, .setRows, .setIndexed, .addIndexed: return update(kind)
    case .handOut, .hostWrite, .ask: return host(kind, id)
    case .backward, .gradients, .gradient, .clearGraph: return differentiate(kind, id)
    case .detached(let x):
      guard let handle = held(x) else { return false }
      push(
        id, model.leaf(handle.dims, handle.node.values, isVariable: handle.node.isVariable),
        exact: handle.isElementwise)
    case .drop(let x):
      if held(x) == nil { return false }
      handles[x]!.isHeld = false
    case .eval(let some):
      if some.contains(where: { held($0) == nil }) { return false }
    case .read(let x):
      guard let handle = held(x) else { return false }
      expect(id, handle.node.values, exact: handle.isElementwise)
    case .failing(let failure, let x):
      // A backward pass does nothing without autodiff, so it refuses nothing.
      if held(x) == nil || (failure == .seed && !model.isTracking) { return false }
      expect(id, true)
    }
    return true
  }

  private mutating func expect(_ line: Int, _ values: [Double], exact: Bool) {
    program.expected.append(
      .init(reading: Reading(line: line, values: values), isElementwise: exact, isAnswer: false))
  }

  private mutating func expect(_ line: Int, _ answer: Bool) {
    program.expected.append(
      .init(
        reading: Reading(line: line, values: [answer ? 1 : 0]), isElementwise: true,
        isAnswer: true))
  }

  private mutating func elementwise(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .unary(let f, let x):
      // The sign of what should be 0, such as a mean of deviations, is left to rounding.
      guard held(x) != nil, isExact(x) || ![.relu, .absolute, .logarithm].contains(f) else {
        return false
      }
      let exact = isExact(x)
      let node = use(x)
      if f.savesHidden { markHidden(node) }
      push(id, model.map([node], f.function)!, exact: exact)
    case .binary(let f, let x, let y):
      guard let a = held(x), let b = held(y), !isDelicate(f, x, y),
        EagerModel.broadcast(a.dims, b.dims) != nil
      else { return false }
      let exact = isExact(x, y)
      let operands = [use(x), use(y)]
      if f == .divide { markHidden(operands[1]) }
      push(id, model.map(operands, f.function)!, exact: exact)
    case .scalar(let f, let x, let c, let first):
      guard held(x) != nil, !isDelicate(f, x, c) else { return false }
      let exact = isExact(x)
      let node = use(x)
      if f == .divide, first { markHidden(node) }
      push(
        id, model.map(first ? [constant(c), node] : [node, constant(c)], f.function)!, exact: exact)
    case .select(let x, let c, let y, let z):
      guard let a = held(x), let b = held(y), let d = held(z), isExact(x),
        let inner = EagerModel.broadcast(b.dims, d.dims),
        EagerModel.broadcast(inner, a.dims) != nil
      else { return false }
      let f = ScalarFunction(
        value: { $0[0] == 1 ? $0[1] : $0[2] },
        partial: { p, x, _ in (x[0] == 1) == (p == 1) ? 1 : 0 })
      let exact = isExact(y, z)
      let node = use(x)
      markHidden(node)
      let operands = [model.constant(node) { x, _ in x > c ? 1 : 0 }, use(y), use(z)]
      push(id, model.map(operands, f)!, exact: exact)
    case .integers(let x, let type):
      // Which integer a number becomes must not hang on rounding.
      guard let handle = held(x), isExact(x) else { return false }
      let row = EagerModel.count(Array(handle.dims.dropFirst()))
      let node = model.constant(use(x)) { x, k in
        // Integers wrap around, and floats that become integers do.
        let integer = Int(x) * 3 + (k < row ? 257 : 250)
        return Double(type == .uint8 ? integer & 255 : integer)
      }
      push(id, node, exact: true)
    default: return false
    }
    return true
  }

  private mutating func other(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .sum(let x, let axis, let keep):
      guard let handle = held(x), fits(axis, handle) else { return false }
      push(id, model.sum(use(x), axis: axis, keepDims: keep), exact: false)
    case .mean(let x, let axis, let keep):
      guard let handle = held(x), fits(axis, handle), !handle.node.values.isEmpty else {
        return false
      }
      let groups = EagerModel.groups(handle.dims, axis: axis)
      let length = Double(groups.map.count / EagerModel.count(groups.kept))
      let sum = model.sum(use(x), axis: axis, keepDims: keep)
      let scaled = ScalarFunction(
        value: { $0[0] / length }, partial: { _, _, _ in 1 / length })
      push(id, model.map([sum], scaled)!, exact: false)
    case .max(let x, let axis, let keep):
      // Which element is the largest must not hang on rounding.
      guard let handle = held(x), fits(axis, handle), !handle.node.values.isEmpty, isExact(x)
      else { return false }
      push(id, model.max(use(x), axis: axis, keepDims: keep), exact: true)
    case .matmul(let x, let y):
      guard let a = held(x), let b = held(y), a.dims.count == 2, b.dims.count == 2,
        a.dims[1] == b.dims[0]
      else { return false }
      let left = use(x)
      push(id, model.matmul(left, use(y)), exact: false)
    case .softmax(let x, let logarithm):
      guard let handle = held(x), !handle.dims.isEmpty, !handle.node.values.isEmpty else {
        return false
      }
      push(id, model.softmax(use(x), logarithm: logarithm), exact: false)
    case .concatenate(let x, let y):
      guard let a = held(x), let b = held(y), !a.dims.isEmpty, !b.dims.isEmpty,
        a.dims.dropFirst() == b.dims.dropFirst()
      else { return false }
      let exact = isExact(x, y)
      let (first, second) = (use(x), use(y))
      let n = first.values.count
      let dims = [a.dims[0] + b.dims[0]] + a.dims.dropFirst()
      let blank = model.leaf(
        dims, (first.values + second.values).map { _ in 0 }, isVariable: false)
      let half = model.replaced(blank, Array(0..<n), by: first)
      push(
        id, model.replaced(half, Array(n..<(n + second.values.count)), by: second), exact: exact)
    case .takeRows(let x, let rows):
      guard let handle = held(x), let map = rowMap(handle, rows) else { return false }
      push(
        id, model.gather(use(x), map, [rows.count] + handle.dims.dropFirst()),
        exact: handle.isElementwise)
    default: return false
    }
    return true
  }

  private func fits(_ axis: Int?, _ handle: Handle) -> Bool {
    axis.map { $0 < handle.dims.count } ?? true
  }

  /// The elements of rows; nil where there are no such rows.
  private func rowMap(_ handle: Handle, _ rows: [Int]) -> [Int]? {
    guard let count = handle.dims.first, rows.allSatisfy({ $0 < count }) else { return nil }
    let length = EagerModel.count(Array(handle.dims.dropFirst()))
    return rows.flatMap { row in (row * length)..<((row + 1) * length) }
  }

  // MARK: Views

  private mutating func view(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .reshaped(let x, let target):
      guard let handle = held(x), EagerModel.count(target) == handle.node.values.count else {
        return false
      }
      let all = Array(handle.node.values.indices)
      if isSimple(handle) {
        pushView(id, x, all, target)
      } else {
        // Perhaps a copy, which is a use, perhaps a view of repeated elements: not worth knowing.
        return false
      }
    case .transposed(let x):
      guard let handle = held(x) else { return false }
      let steps = EagerModel.strides(handle.dims)
      let map = EagerModel.indices(handle.dims.reversed()).map { index in
        zip(index, steps.reversed()).reduce(0) { $0 + $1.0 * $1.1 }
      }
      pushView(id, x, map, handle.dims.reversed())
    case .sliced(let x, let low, let high):
      guard let handle = held(x), low <= high, let count = handle.dims.first, high <= count,
        let map = rowMap(handle, Array(low..<high))
      else { return false }
      pushView(id, x, map, [high - low] + handle.dims.dropFirst())
    case .reversed(let x):
      guard let handle = held(x), let count = handle.dims.first,
        let map = rowMap(handle, (0..<count).reversed())
      else { return false }
      pushView(id, x, map, handle.dims)
    case .broadcast(let x, let target):
      guard let handle = held(x), EagerModel.broadcast(handle.dims, target) == target else {
        return false
      }
      pushView(id, x, EagerModel.broadcastMap(handle.dims, to: target), target)
    default: return false
    }
    return true
  }

  /// Whether a handle shows a run of elements in order, so that any reshaping is a view.
  private func isSimple(_ x: Handle) -> Bool {
    x.base == nil || zip(x.map, x.map.dropFirst()).allSatisfy { $1 == $0 + 1 }
  }

  // MARK: In-place updates

  /// The handle, unless it repeats elements (an empty view may, without a map that shows it).
  private func canBeUpdated(_ x: Int) -> Handle? {
    guard let handle = held(x), Set(handle.map).count == handle.map.count,
      handle.base == nil || !handle.map.isEmpty,
      !handles[handle.base ?? x]!.isReadOnly
    else { return nil }
    return handle
  }

  private mutating func update(_ kind: Instruction.Kind) -> Bool {
    switch kind {
    case .update(let f, let x, let y):
      guard let handle = canBeUpdated(x), let other = held(y), !isDelicate(f, x, y),
        EagerModel.broadcast(other.dims, handle.dims) == handle.dims
      else { return false }
      let exact = isExact(x, y)
      let operands = [use(x), use(y)]
      if f == .divide { markHidden(operands[1]) }
      store(model.map(operands, f.function)!, x, exact: exact)
    case .updateScalar(let f, let x, let c):
      guard canBeUpdated(x) != nil, !isDelicate(f, x, c) else { return false }
      store(model.map([use(x), constant(c)], f.function)!, x, exact: isExact(x))
    case .setRows(let x, let low, let high, let y):
      guard let handle = canBeUpdated(x), let other = held(y), low <= high,
        let count = handle.dims.first, high <= count,
        let map = rowMap(handle, Array(low..<high))
      else { return false }
      let dims = [high - low] + handle.dims.dropFirst()
      guard EagerModel.broadcast(other.dims, dims) == dims else { return false }
      // What is assigned to itself stays as it is, without a new version.
      let target = handle.base == nil ? map : map.map { handle.map[$0] }
      if other.base == handle.base ?? x, other.map == target { return false }
      if other.dims == dims {
        replace(x, map, by: use(y), exact: isExact(x, y))
      } else {
        let (node, places, parent) = spread(y, to: dims)
        let part = model.gather(node, places, dims)
        part.viewParent = parent
        replace(x, map, by: part, exact: isExact(x, y))
      }
    case .setIndexed(let x, let rows, let y):
      guard let handle = canBeUpdated(x), let other = held(y), let map = rowMap(handle, rows)
      else { return false }
      let dims = [rows.count] + handle.dims.dropFirst()
      guard EagerModel.broadcast(other.dims, dims) == dims else { return false }
      let exact = isExact(x, y)
      let (node, picked, parent) =
        other.dims == dims ? (use(y), Array(map.indices), nil) : spread(y, to: dims)
      // Of several writes to one element the last counts.
      var writer: [Int: Int] = [:]
      for (k, place) in map.enumerated() { writer[place] = picked[k] }
      let places = writer.keys.sorted()
      let part = model.gather(node, places.map { writer[$0]! }, [places.count])
      part.viewParent = parent
      replace(x, places, by: part, exact: exact)
    case .addIndexed(let x, let rows, let c):
      guard let handle = canBeUpdated(x), let map = rowMap(handle, rows) else { return false }
      let places = Set(map).sorted()
      let (node, own, parent) = spread(x, to: handle.dims)
      let old = model.gather(node, places.map { own[$0] }, [places.count])
      old.viewParent = parent
      let sum = model.map([old, constant(c)], Binary.add.function)!
      replace(x, places, by: sum, exact: isExact(x))
    default: return false
    }
    return true
  }

  private mutating func store(_ value: EagerNode, _ x: Int, exact: Bool) {
    replace(x, nil, by: value, exact: exact)
  }

  /// Gives the base of `x` a new version, in which elements of `x` are others; nil: all of them.
  private mutating func replace(_ x: Int, _ places: [Int]?, by value: EagerNode, exact: Bool) {
    let root = handles[x]!.base ?? x
    let isView = handles[x]!.base != nil
    let all = Array(value.values.indices)
    let fresh: EagerNode
    if !isView, places == nil {
      fresh = model.gather(value, all, value.dims)
    } else {
      let within = places ?? all
      fresh = model.replaced(
        handles[root]!.node, isView ? within.map { handles[x]!.map[$0] } : within, by: value)
    }
    // A constant stays one: nothing flows to what was written into it. A variable stays one, too.
    fresh.isVariable = handles[root]!.isVariable
    if !fresh.isVariable {
      fresh.parents = []
    }
    handles[root]!.node = fresh
    handles[root]!.isElementwise = handles[root]!.isElementwise && exact
    handles[root]!.gradient = nil
    for (i, handle) in handles where handle.base == root {
      handles[i]!.node = model.view(fresh, handle.map, handle.dims)
      handles[i]!.isElementwise = handles[root]!.isElementwise
      handles[i]!.isUntracked = !model.isTracking
    }
  }

  // MARK: Host arrays and the guard

  private mutating func host(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .handOut(let x):
      guard let handle = held(x), !handle.node.values.isEmpty,
        Set(handle.map).count == handle.map.count
      else { return false }
      let root = handles[handle.base ?? x]!
      hosts[id] = Host(
        node: root.node.memoryOwner,
        map: handle.base == nil ? Array(handle.node.values.indices) : handle.map,
        dims: handle.dims, isWriteable: !root.isReadOnly)
    case .ask(let k):
      guard let host = hosts[k] else { return false }
      expect(id, host.isWriteable && !isLocked(host))
    case .hostWrite(let k, let writer, let low, let high, let given):
      guard let host = hosts[k], low <= high,
        high <= host.dims.first ?? 1, !host.dims.isEmpty || (low == 0 && high == 1)
      else { return false }
      let row = EagerModel.count(Array(host.dims.dropFirst()))
      let count = (high - low) * row
      if given.count != count { return false }
      let isRefused = isLocked(host) || !host.isWriteable
      if isRefused ? writer == .subscripted : host.node.hasHiddenReader { return false }
      expect(id, !isRefused)
      if isRefused { return true }
      let values = writer == .fill ? given.map { _ in given[0] } : given
      host.node.write(Array(host.map[(low * row)..<(high * row)]), values)
    default: return false
    }
    return true
  }

  /// Whether the guard has locked a host array.
  private func isLocked(_ host: Host) -> Bool {
    let held = handles.values.filter { handle in handle.isHeld }
    let bases = held.compactMap { $0.base.map { handles[$0]!.node } }
    return model.isLocked(host.node.memory, by: held.map(\.node) + bases)
  }

  // MARK: Gradients

  private mutating func differentiate(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .backward(let x, let retains, let accumulates):
      guard let handle = held(x) else { return false }
      if model.isTracking, !handle.isUntracked, handle.node.isVariable,
        model.isBlocked(handle.node)
      {
        return false
      }
      expect(id, true)
      if !model.isTracking { return true }
      if handle.isUntracked { return true }
      if !handle.node.isVariable {
        if !retains { model.clear(below: handle.node) }
        return true
      }
      let found = model.backward(handle.node, retainsGraph: retains)
      for (i, other) in handles where other.base == nil && other.isVariable {
        guard let part = found[ObjectIdentifier(other.node)] else { continue }
        if accumulates, let old = other.gradient {
          handles[i]!.gradient = zip(old, part).map(+)
        } else {
          handles[i]!.gradient = part
        }
      }
    case .gradients(let x, let by):
      guard let handle = held(x), let variable = held(by), !handle.isUntracked,
        variable.base == nil, variable.node.isVariable, handle.node.isVariable,
        !model.isBlocked(handle.node)
      else { return false }
      let found = model.backward(handle.node, retainsGraph: true)[ObjectIdentifier(variable.node)]
      let values = found ?? variable.node.values.map { _ in 0 }
      push(id, model.leaf(variable.dims, values, isVariable: false), exact: false)
    case .gradient(let x):
      guard let handle = held(x) else { return false }
      let whole = handles[handle.base ?? x]!.gradient
      expect(id, whole != nil)
      // Of a view that repeats elements it repeats them as well, and can't be updated.
      if let whole, Set(handle.map).count == handle.map.count {
        let values = handle.base == nil ? whole : handle.map.map { whole[$0] }
        push(id, model.leaf(handle.dims, values, isVariable: false), exact: false)
        // It shares memory with the gradient, and a view with its base's.
        markHidden(handles[id]!.node)
      }
    case .clearGraph(let x):
      guard let handle = held(x) else { return false }
      model.clear(below: handle.node)
    default: return false
    }
    return true
  }
}
