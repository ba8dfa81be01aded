// The lines of random tensor programs that change or ask something: updates in place, host arrays,
// gradients.

extension ModelMachine {
  // MARK: In-place updates

  /// The handle, unless it repeats elements (an empty view may, without a map that shows it).
  func canBeUpdated(_ x: Int) -> Handle? {
    guard let handle = held(x), Set(handle.map).count == handle.map.count,
      handle.base == nil || !handle.map.isEmpty,
      !handles[handle.base ?? x]!.isReadOnly
    else { return nil }
    return handle
  }

  mutating func update(_ kind: Instruction.Kind) -> Bool {
    switch kind {
    case .update(let f, let x, let y):
      guard let handle = canBeUpdated(x), let other = held(y), !isDelicate(f, x, y),
        EagerModel.broadcast(other.dims, handle.dims) == handle.dims
      else { return false }
      let exact = isExact(x, y) && !isMixed(x, y)
      let operands = [use(x), use(y)]
      if f == .divide { markHidden(operands[1]) }
      markConverted(operands)
      let result = model.cast(model.map(operands, f.function)!, to: handle.node.precision)
      store(result, x, exact: exact)
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
      if x == y, handle.isGradientOfView, target == Array(handle.node.values.indices) {
        return false
      }
      let exact = isExact(x, y)
      let (node, places, parent) = written(y, as: handle.node, to: dims)
      if other.dims == dims {
        replace(x, map, by: node, exact: exact)
      } else {
        let part = model.gather(node, places, dims)
        part.viewParent = parent
        replace(x, map, by: part, exact: exact)
      }
    case .setIndexed(let x, let rows, let y):
      guard let handle = canBeUpdated(x), let other = held(y), let map = rowMap(handle, rows)
      else { return false }
      let dims = [rows.count] + handle.dims.dropFirst()
      guard EagerModel.broadcast(other.dims, dims) == dims else { return false }
      let exact = isExact(x, y)
      let (node, picked, parent) = written(y, as: handle.node, to: dims)
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

  mutating func store(_ value: EagerNode, _ x: Int, exact: Bool) {
    replace(x, nil, by: value, exact: exact)
  }

  /// Gives the base of `x` a new version, in which elements of `x` are others; nil: all of them.
  mutating func replace(_ x: Int, _ places: [Int]?, by value: EagerNode, exact: Bool) {
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
    handles[root]!.addsUp = false
    for (i, handle) in handles where handle.base == root {
      handles[i]!.node = model.view(fresh, handle.map, handle.dims)
      handles[i]!.isElementwise = handles[root]!.isElementwise
      handles[i]!.isUntracked = !model.isTracking
    }
  }

  // MARK: Host arrays and the guard

  mutating func host(_ kind: Instruction.Kind, _ id: Int) -> Bool {
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
      guard let host = hosts[k], isLocked(host) || !host.node.hasHiddenReader else { return false }
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

  mutating func differentiate(_ kind: Instruction.Kind, _ id: Int) -> Bool {
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
        handles[i]!.addsUp = accumulates
      }
    case .gradients(let x, let by):
      guard let handle = held(x), let variable = held(by), !handle.isUntracked,
        variable.base == nil, variable.node.isVariable, handle.node.isVariable,
        !model.isBlocked(handle.node),
        // Of a target whose graph is gone there is an error.
        handle.node.clearedAt == nil || handle.node.inputs.isEmpty
      else { return false }
      let found = model.backward(handle.node, retainsGraph: true)[ObjectIdentifier(variable.node)]
      let values = found ?? variable.node.values.map { _ in 0 }
      pushGradient(id, variable.dims, values, precision: variable.node.precision)
    case .gradient(let x):
      guard let handle = held(x) else { return false }
      let whole = handles[handle.base ?? x]!.gradient
      expect(id, whole != nil)
      // Of a view that repeats elements it repeats them as well, and can't be updated.
      if let whole, Set(handle.map).count == handle.map.count {
        let values = handle.base == nil ? whole : handle.map.map { whole[$0] }
        pushGradient(id, handle.dims, values, precision: handle.node.precision)
        // It shares memory with the gradient, and a view with its base's.
        markHidden(handles[id]!.node)
        handles[id]!.isGradientOfView = handle.base != nil
        handles[id]!.isStrided = handle.base != nil && !isSimple(handle)
      }
    case .clearGraph(let x):
      guard let handle = held(x) else { return false }
      model.clear(below: handle.node)
    default: return false
    }
    return true
  }

  /// What a backward pass has left may have been rounded to fewer digits anywhere on its way.
  mutating func pushGradient(
    _ id: Int, _ dims: [Int], _ values: [Double], precision: Precision
  ) {
    push(id, model.leaf(dims, values, precision: precision, isVariable: false), exact: false)
    handles[id]!.node.isRough =
      program.precision != .double
      || program.lines.contains {
        switch $0.kind {
        case .otherLeaf, .otherType: true
        default: false
        }
      }
  }
}
