// The lines of random tensor programs that make values: operations and views.

extension ModelMachine {
  mutating func elementwise(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .unary(let f, let x):
      // The sign of what should be 0, such as a mean of deviations, is left to rounding.
      guard held(x) != nil, isSure(x) || ![.relu, .absolute, .logarithm].contains(f) else {
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
      let exact = isExact(x, y) && !isMixed(x, y)
      let operands = [use(x), use(y)]
      if f == .divide { markHidden(operands[1]) }
      markConverted(operands)
      push(id, model.map(operands, f.function)!, exact: exact)
    case .scalar(let f, let x, let c, let first):
      guard held(x) != nil, !isDelicate(f, x, c) else { return false }
      let exact = isExact(x)
      let node = use(x)
      if f == .divide, first { markHidden(node) }
      push(
        id, model.map(first ? [constant(c), node] : [node, constant(c)], f.function)!, exact: exact)
    case .composite(let x, let y):
      guard let a = held(x), let b = held(y), EagerModel.broadcast(a.dims, b.dims) != nil
      else { return false }
      let exact = isExact(x, y) && !isMixed(x, y)
      let operands = [use(x), use(y)]
      markConverted(operands)
      let node = model.map(operands, CompositeOperation.function)!
      // A part of it is rounded to the second operand's type, in whatever type the result is.
      if operands[1].precision != .double { node.isRough = true }
      push(id, node, exact: exact)
    case .select(let x, let c, let y, let z):
      guard let a = held(x), let b = held(y), let d = held(z), isSure(x),
        let inner = EagerModel.broadcast(b.dims, d.dims),
        EagerModel.broadcast(inner, a.dims) != nil
      else { return false }
      let f = ScalarFunction(
        value: { $0[0] == 1 ? $0[1] : $0[2] },
        partial: { p, x, _ in (x[0] == 1) == (p == 1) ? 1 : 0 })
      let exact = isExact(y, z) && !isMixed(y, z)
      let node = use(x)
      markHidden(node)
      let condition = model.leaf(
        node.dims, node.values.map { $0 > c ? 1 : 0 }, precision: .weak, isVariable: false)
      model.note([node], of: condition)
      let operands = [use(y), use(z)]
      markConverted(operands)
      push(id, model.map([condition] + operands, f)!, exact: exact)
    case .integers(let x, let type):
      // Which integer a number becomes must not hang on rounding.
      guard let handle = held(x), isSure(x), !handle.node.values.contains(where: isBarelyNoInteger)
      else { return false }
      let row = EagerModel.count(Array(handle.dims.dropFirst()))
      let source = use(x)
      let values = source.values.enumerated().map { k, x in
        // Integers wrap around, and floats that become integers do.
        let integer = Int(x) * 3 + (k < row ? 257 : 250)
        return Double(type == .uint8 ? integer & 255 : integer)
      }
      let node = leaf(source.dims, values, isVariable: false)
      model.note([source], of: node)
      push(id, node, exact: true)
    default: return false
    }
    return true
  }

  /// Whether a number could be an integer if it had been rounded after each step of an operation, which
  /// the model rounds once.
  private func isBarelyNoInteger(_ x: Double) -> Bool {
    let distance = abs(x - x.rounded())
    return distance != 0 && distance < 1e-6 * abs(x)
  }

  mutating func other(_ kind: Instruction.Kind, _ id: Int) -> Bool {
    switch kind {
    case .sum(let x, let axis, let keep):
      guard let handle = held(x), fits(axis, handle) else { return false }
      push(id, model.sum(use(x), axis: axis, keepDims: keep), exact: false)
    case .prod(let x, let axis, let keep):
      // Errors are judged against the largest value.
      guard let handle = held(x), fits(axis, handle),
        handle.node.values.reduce(1.0, { $0 * Swift.max(1, abs($1)) }) < 1000
      else { return false }
      push(id, model.prod(use(x), axis: axis, keepDims: keep), exact: false)
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
      guard let handle = held(x), fits(axis, handle), !handle.node.values.isEmpty, isSure(x)
      else { return false }
      push(id, model.max(use(x), axis: axis, keepDims: keep), exact: true)
    case .matmul(let x, let y):
      guard let a = held(x), let b = held(y), a.dims.count == 2, b.dims.count == 2,
        a.dims[1] == b.dims[0]
      else { return false }
      let operands = [use(x), use(y)]
      markConverted(operands)
      push(id, model.matmul(operands[0], operands[1]), exact: false)
    case .softmax(let x, let logarithm):
      guard let handle = held(x), !handle.dims.isEmpty, !handle.node.values.isEmpty else {
        return false
      }
      push(id, model.softmax(use(x), logarithm: logarithm), exact: false)
    case .concatenate(let x, let y):
      guard let a = held(x), let b = held(y), !a.dims.isEmpty, !b.dims.isEmpty,
        a.dims.dropFirst() == b.dims.dropFirst()
      else { return false }
      let exact = isExact(x, y) && !isMixed(x, y)
      let precision = Precision.common([a.node.precision, b.node.precision])
      let first = model.cast(use(x), to: precision)
      let second = model.cast(use(y), to: precision)
      let n = first.values.count
      let dims = [a.dims[0] + b.dims[0]] + a.dims.dropFirst()
      let blank = model.leaf(
        dims, (first.values + second.values).map { _ in 0 }, precision: precision, isVariable: false
      )
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

  func fits(_ axis: Int?, _ handle: Handle) -> Bool {
    axis.map { $0 < handle.dims.count } ?? true
  }

  /// The elements of rows; nil where there are no such rows.
  func rowMap(_ handle: Handle, _ rows: [Int]) -> [Int]? {
    guard let count = handle.dims.first, rows.allSatisfy({ $0 < count }) else { return nil }
    let length = EagerModel.count(Array(handle.dims.dropFirst()))
    return rows.flatMap { row in (row * length)..<((row + 1) * length) }
  }

  // MARK: Views

  mutating func view(_ kind: Instruction.Kind, _ id: Int) -> Bool {
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
  func isSimple(_ x: Handle) -> Bool {
    guard let base = x.base else { return !x.isStrided }
    return !handles[base]!.isStrided && zip(x.map, x.map.dropFirst()).allSatisfy { $1 == $0 + 1 }
  }
}
