// Pass 2, continued: reductions, products and moves, which decide how a loop is shaped.

extension Planner {
  // MARK: Reductions

  mutating func groupReduction(_ i: Int) {
    let node = entries[i].node
    let dims = layout(node.attribute).dims
    let (outer, length, inner) = (dims[0], dims[1], dims[2])
    let isArg = node.opcode == .argmax || node.opcode == .argmin
    if isArg, inner > 1 {
      reduceTransposed(i, outer, length, inner)
      return
    }
    let source = input(i, 0).source
    let g = Int(entries[Int(source.position)].group)
    let total = outer * length * inner
    let canJoin =
      g >= 0 && source.isLinear && total > 0 && groups[g].kind == .loop
      && groups[g].members.count < Self.memberLimit
    let kind = entries[Int(source.position)].kind
    func fits(_ columns: Int) -> Bool {
      canJoin && kind == .full && groups[g].count == total && columns <= Self.rowLimit
        && (groups[g].columns == 0 || groups[g].columns == columns)
    }
    if inner == 1, length >= 1, length <= Self.rowLimit, !(outer == 1 && length > 1024 && !isArg) {
      if length > 1, fits(length) {
        groups[g].columns = length
        join(i, g, as: .perRow)
        return
      }
      if !(canJoin && outer == 1 && !isArg) {
        standAlone(i, columns: length, count: total, as: length > 1 ? .perRow : .full)
        return
      }
    }
    if isArg || (inner == 1 && outer > 1) {
      standAlone(i, columns: length, count: total, as: .perRow)
      return
    }
    // One result, or one per column, once the loop is through.
    if outer == 1, inner == 1 {
      let rows = canJoin && groups[g].columns > 0 ? groups[g].count / groups[g].columns : 0
      if canJoin, kind == .full ? groups[g].count == total : kind == .perRow && rows == total {
        join(i, g, as: .late)
      } else {
        standAlone(i, columns: 0, count: total, as: .late)
      }
      return
    }
    if fits(inner) {
      groups[g].columns = inner
      join(i, g, as: .late)
    } else {
      standAlone(i, columns: inner, count: total, as: .late)
    }
  }

  private mutating func standAlone(_ i: Int, columns: Int, count: Int, as kind: ValueKind) {
    // With one column, one value per row is one per element.
    entries[i].kind = kind == .perRow && columns == 1 ? .full : kind
    let g = newGroup(i, columns: columns, count: count)
    noteReads(i, g)
  }

  /// The position of an extreme along a middle axis: over a copy with that axis last.
  private mutating func reduceTransposed(_ i: Int, _ outer: Int, _ length: Int, _ inner: Int) {
    var source = input(i, 0).source
    if !source.isLinear { source = copiedInput(source, shape: input(i, 0).shape).source }
    let table = LayoutTable.shared
    let moved = table.intern(dims: [outer, inner, length], strides: [length * inner, 1, inner])
    let view = Source(position: source.position, layout: moved, offset: 0, isLinear: false)
    inputs[3 * i] = copiedInput(view, shape: table.intern(dims: [outer, inner, length]))
    entries[i].kind = .perRow
    let g = newGroup(i, columns: length, count: outer * inner * length)
    noteReads(i, g, elementwise: false)
  }

  // MARK: Products

  mutating func groupProduct(_ i: Int) {
    let dims = layout(entries[i].node.shape).dims
    let k = layout(input(i, 0).shape).dims.last!
    readable(i, 0, needsRows: false)
    readable(i, 1, needsRows: true)
    let g = newGroup(i, columns: max(dims.last!, 1))
    groups[g].product = ProductGroup(terms: [Int32(i)], sum: Int32(i), totalK: k, memberCount: 1)
    noteReads(i, g, elementwise: false)
  }

  /// Makes sure that a matrix operand is in memory and, for the right one, that its rows are runs.
  private mutating func readable(_ i: Int, _ k: Int, needsRows: Bool) {
    let operand = input(i, k)
    let opcode = entries[operand.position].node.opcode
    let layout = self.layout(operand.source.isLinear ? operand.shape : operand.source.layout)
    let rowsAreRuns = layout.dims.last! <= 1 || layout.strides.last! == 1
    if opcode == .scalar || opcode == .iota || (needsRows && !rowsAreRuns) {
      inputs[3 * i + k] = copiedInput(operand.source, shape: operand.shape)
    }
  }

  /// Turns `product + product` into one longer sum that never leaves the registers.
  ///
  /// `(product + q) + product` becomes `(product + product) + q`, so that long sums still become
  /// few kernels when something else was added in between, as a bias or an earlier part of the sum.
  ///
  /// - Returns: whether the node is computed with that; if not, it may have got other operands.
  mutating func mergeProducts(_ i: Int) -> Bool {
    guard entries[i].node.opcode == .add, entries[i].node.type.isFloating else { return false }
    let (x, y) = (input(i, 0), input(i, 1))
    let shape = entries[i].node.shape
    if isBareProduct(x, shape), isBareProduct(y, shape) {
      return joinProducts(x.position, y.position, as: i)
    }
    for (sum, product) in [(x, y), (y, x)] where isBareProduct(product, shape) {
      let s = sum.position
      guard entries[s].putOff > 0, entries[s].node.opcode == .add, sum.source.isLinear,
        sum.shape == shape, entries[s].node.shape == shape
      else { continue }
      for k in 0..<2 where isBareProduct(input(s, k), shape) {
        let rest = input(s, 1 - k)
        if joinProducts(input(s, k).position, product.position, as: s) {
          entries[s].putOff = 0
          inputs[3 * i] = sum
          inputs[3 * i + 1] = rest
          return false
        }
      }
    }
    return false
  }

  /// Makes position `i` the sum of two sums of products, if the result isn't too long.
  private mutating func joinProducts(_ x: Int, _ y: Int, as i: Int) -> Bool {
    let gx = Int(entries[x].group)
    let gy = Int(entries[y].group)
    guard gx != gy, let px = groups[gx].product, let py = groups[gy].product,
      px.totalK + py.totalK <= Self.productLimit
    else { return false }
    let (low, high) = gx < gy ? (gx, gy) : (gy, gx)
    merge(low, into: high)
    groups[high].product = ProductGroup(
      terms: px.terms + py.terms, sum: Int32(i), totalK: px.totalK + py.totalK,
      memberCount: px.memberCount + py.memberCount + 1)
    join(i, high, as: .full)
    entries[i].inputCount = 0
    entries[x].isAbsorbed = true
    entries[y].isAbsorbed = true
    return true
  }

  /// A sum of plain matrix products that nothing but one addition reads.
  private func isBareProduct(_ operand: Input, _ shape: LayoutID) -> Bool {
    let p = operand.position
    let g = Int(entries[p].group)
    guard g >= 0, operand.source.isLinear, !entries[p].node.isRoot, entries[p].readers == 1,
      operand.shape == shape, entries[p].node.shape == shape, layout(shape).rank == 2,
      let product = groups[g].product
    else { return false }
    return product.sum == Int32(p) && product.memberCount == groups[g].members.count
  }

  // MARK: Moves

  /// A view over what is itself a view of a computed value: the inner one gets memory.
  mutating func groupView(_ i: Int) {
    let view = entries[i].node
    let under = input(i, 0)
    let copy = copiedInput(under.source, shape: under.shape)
    let g = newGroup(i)
    groups[g].kind = .move
    entries[i].kind = .late
    inputs[3 * i] = Input(
      source: Source(
        position: copy.source.position, layout: view.attribute, offset: view.offset,
        isLinear: false),
      shape: view.shape, count: entries[i].count)
    noteReads(i, g, elementwise: false)
  }

  mutating func groupMove(_ i: Int) {
    for k in 0..<inputCount(i) {
      let operand = input(i, k)
      let opcode = entries[operand.position].node.opcode
      if opcode == .scalar || opcode == .iota {
        inputs[3 * i + k] = copiedInput(operand.source, shape: operand.shape)
      }
    }
    let g = newGroup(i)
    groups[g].kind = .move
    entries[i].kind = .late
    noteReads(i, g, elementwise: false)
  }
}
