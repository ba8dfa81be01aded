// Pass 2: which nodes become one loop.
//
// Groups have an order, and a group reads only groups of a smaller one; so there is never a cycle,
// whatever is fused. A node may therefore only join the latest of the groups that it reads, and an
// earlier group may be merged into a later one only if nobody between them reads it.

extension Planner {
  mutating func group() {
    for i in graph.nodes.indices where sources[i].position == Int32(i) {
      let node = graph.nodes[i]
      switch node.opcode.info.opClass {
      case .source:
        if isStored[i], node.opcode != .leaf { _ = newGroup(i) }
      case .elementwise: groupElementwise(i)
      case .reduction:
        settleOperands(i)
        groupReduction(i)
      case .matmul:
        settleOperands(i)
        groupProduct(i)
      case .move:
        settleOperands(i)
        groupMove(i)
      case .view:
        settleOperands(i)
        groupView(i)
      case .alias: break
      }
    }
  }

  /// The operands of a node as sources.
  func operands(_ i: Int) -> [Source] {
    if i >= graph.nodes.count { return [extraOperands[i - graph.nodes.count]] }
    if let replaced = replacedOperand[i] { return [replaced] }
    let node = graph.nodes[i]
    return [node.a, node.b, node.c].filter { $0 >= 0 }.map { sources[Int($0)] }
  }

  /// The dimensions under which operand `index` of a node is read.
  func operandShape(_ i: Int, _ index: Int) -> LayoutID {
    if i >= graph.nodes.count { return node(i).shape }
    let node = graph.nodes[i]
    let operand = index == 0 ? node.a : index == 1 ? node.b : node.c
    return graph.nodes[Int(operand)].shape
  }

  private mutating func newGroup(_ i: Int, columns: Int = 0, count: Int? = nil) -> Int {
    let g = groups.count
    groups.append(
      Group(order: g, count: count ?? self.count(i), columns: columns, members: [Int32(i)]))
    groupOf[i] = Int32(g)
    return g
  }

  /// A copy of a source in C order, made once however often it is asked for.
  mutating func contiguousCopy(_ source: Source, shape: LayoutID) -> Int {
    let key = CopyKey(position: source.position, layout: source.layout, offset: source.offset)
    if let known = copies[key] { return known }
    if putOff[Int(source.position)] > 0 { place(Int(source.position)) }
    let position = graph.nodes.count + extra.count
    extra.append(GraphNode(.copy, node(Int(source.position)).type, shape: shape))
    extraOperands.append(source)
    groupOf.append(-1)
    isStored.append(true)
    readers.append(0)
    kinds.append(.full)
    isAbsorbed.append(false)
    putOff.append(0)
    copies[key] = position
    let g = newGroup(position)
    noteReads(position, g)
    return position
  }

  // MARK: Joining

  /// The latest group that a node reads, -1 for none.
  private func latestGroup(_ sources: [Source]) -> Int {
    var latest = -1
    for source in sources {
      let g = Int(groupOf[Int(source.position)])
      if g >= 0, latest < 0 || groups[g].order > groups[latest].order { latest = g }
    }
    return latest
  }

  private mutating func groupElementwise(_ i: Int) {
    if mergeProducts(i) { return }
    // A cheap value with one reader is best computed where it is read: put off where it goes.
    if readers[i] == 1, !isStored[i], !node(i).opcode.info.isExpensive {
      var depth = 1
      for source in operands(i) { depth = max(depth, Int(putOff[Int(source.position)]) + 1) }
      if depth <= Self.putOffLimit {
        putOff[i] = UInt8(depth)
        return
      }
    }
    place(i)
  }

  /// Puts a node, and the put-off nodes that only it reads, into a group.
  private mutating func place(_ i: Int) {
    var chain: [Int] = []
    collect(i, &chain)
    chain.append(i)
    for member in chain { putOff[member] = 0 }
    let latest = latestGroup(chain.flatMap { operands($0) })
    var kind: ValueKind?
    if latest >= 0 { kind = kindIfJoined(chain, latest) }
    if let kind {
      for member in chain {
        groups[latest].members.append(Int32(member))
        groupOf[member] = Int32(latest)
        kinds[member] = kind
      }
    } else {
      let g = newGroup(chain[0])
      for member in chain.dropFirst() {
        groups[g].members.append(Int32(member))
        groupOf[member] = Int32(g)
      }
    }
    if kind ?? .full == .full {
      for member in chain { mergeOperandGroups(member) }
    }
    for member in chain { noteReads(member, Int(groupOf[member])) }
  }

  /// The put-off nodes that can be computed in one loop with node `i`, operands first; those that
  /// can't get a place of their own.
  private mutating func collect(_ i: Int, _ chain: inout [Int]) {
    for (index, source) in operands(i).enumerated() {
      let p = Int(source.position)
      guard putOff[p] > 0 else { continue }
      if source.isLinear, layout(operandShape(i, index)).count == count(i), count(p) == count(i) {
        collect(p, &chain)
        chain.append(p)
      } else {
        place(p)
      }
    }
  }

  /// Places the operands of a node that is no elementwise one.
  mutating func settleOperands(_ i: Int) {
    for source in operands(i) where putOff[Int(source.position)] > 0 { place(Int(source.position)) }
  }

  /// How the values of a chain would exist in a group, or nil where it can't be computed there.
  private func kindIfJoined(_ chain: [Int], _ g: Int) -> ValueKind? {
    let group = groups[g]
    guard group.kind == .loop, group.members.count + chain.count <= Self.memberLimit,
      group.count > 0
    else { return nil }
    let own = count(chain[0])
    let rows = group.columns > 0 ? group.count / group.columns : group.count
    if own == group.count, chain.allSatisfy({ canRead($0, g, operands($0), as: .full) }) {
      return .full
    }
    if own == rows, group.columns > 1,
      chain.allSatisfy({ canRead($0, g, operands($0), as: .perRow) })
    {
      return .perRow
    }
    return nil
  }

  /// Whether every operand that the group computes can be read inside its loop.
  private func canRead(_ i: Int, _ g: Int, _ inputs: [Source], as kind: ValueKind) -> Bool {
    for (index, source) in inputs.enumerated() where Int(groupOf[Int(source.position)]) == g {
      guard source.isLinear else { return false }
      switch (kinds[Int(source.position)], kind) {
      case (.full, .full), (.perRow, .perRow):
        // Element by element: the operand must not be broadcast along the way.
        if layout(operandShape(i, index)).count != count(i) { return false }
      case (.perRow, .full):
        if !isRowBroadcast(operandShape(i, index), to: node(i).shape, columns: groups[g].columns) {
          return false
        }
      default: return false
      }
    }
    return true
  }

  /// Whether broadcasting repeats each element of `shape` along one row of `columns`.
  func isRowBroadcast(_ shape: LayoutID, to target: LayoutID, columns: Int) -> Bool {
    let dims = layout(target).dims
    guard let strides = layout(shape).broadcastStrides(to: dims) else { return false }
    var inner = 1
    var step = 1
    for axis in dims.indices.reversed() where dims[axis] != 1 {
      if inner < columns {
        if strides[axis] != 0 { return false }
        inner *= dims[axis]
      } else {
        if strides[axis] != step { return false }
        step *= dims[axis]
      }
    }
    return inner == columns
  }

  /// Pulls the other groups that a full value reads into its own, where nothing stands between.
  private mutating func mergeOperandGroups(_ i: Int) {
    for (index, source) in operands(i).enumerated() {
      let g = Int(groupOf[i])
      let h = Int(groupOf[Int(source.position)])
      guard h >= 0, h != g, source.isLinear, kinds[Int(source.position)] == .full,
        layout(operandShape(i, index)).count == count(i)
      else { continue }
      if canMerge(h, into: g) { merge(h, into: g) }
    }
  }

  private func canMerge(_ h: Int, into g: Int) -> Bool {
    let low = groups[h]
    let high = groups[g]
    guard low.kind == .loop, high.kind == .loop, low.count == high.count, low.count > 0,
      low.members.count + high.members.count <= Self.memberLimit,
      low.columns == 0 || high.columns == 0 || low.columns == high.columns,
      low.product == nil || high.product == nil
    else { return false }
    return low.order < high.order && low.firstReader >= high.order
      && low.firstOtherReader > high.order
  }

  private mutating func merge(_ h: Int, into g: Int) {
    for member in groups[h].members { groupOf[Int(member)] = Int32(g) }
    groups[g].members = (groups[h].members + groups[g].members).sorted { rank($0) < rank($1) }
    groups[g].columns = max(groups[g].columns, groups[h].columns)
    groups[g].product = groups[g].product ?? groups[h].product
    groups[g].firstReader = min(
      groups[g].firstReader,
      groups[h].firstReader == groups[g].order ? Int.max : groups[h].firstReader)
    groups[g].firstOtherReader = min(groups[g].firstOtherReader, groups[h].firstOtherReader)
    groups[h].kind = .dead
    groups[h].members = []
    groups[h].product = nil
  }

  /// Positions that the planner added are copies of inputs, so they come first in a loop.
  private func rank(_ position: Int32) -> Int32 {
    Int(position) >= graph.nodes.count ? position - Int32.max / 2 : position
  }

  /// Writes down which groups a node reads, and that what crosses groups must be in memory.
  private mutating func noteReads(_ i: Int, _ g: Int, elementwise: Bool = true) {
    for (index, source) in operands(i).enumerated() {
      let h = Int(groupOf[Int(source.position)])
      guard h >= 0, h != g else { continue }
      isStored[Int(source.position)] = true
      let order = groups[g].order
      groups[h].firstReader = min(groups[h].firstReader, order)
      let isPlain =
        elementwise && source.isLinear && kinds[Int(source.position)] == .full
        && kinds[i] == .full && layout(operandShape(i, index)).count == count(i)
      if !isPlain { groups[h].firstOtherReader = min(groups[h].firstOtherReader, order) }
    }
  }

  // MARK: Reductions

  private mutating func groupReduction(_ i: Int) {
    let node = graph.nodes[i]
    let dims = layout(node.attribute).dims
    let (outer, length, inner) = (dims[0], dims[1], dims[2])
    let isArg = node.opcode == .argmax || node.opcode == .argmin
    if isArg, inner > 1 {
      reduceTransposed(i, outer, length, inner)
      return
    }
    let source = sources[Int(node.a)]
    let g = Int(groupOf[Int(source.position)])
    let total = outer * length * inner
    let canJoin =
      g >= 0 && source.isLinear && total > 0 && groups[g].kind == .loop
      && groups[g].members.count < Self.memberLimit
    let kind = kinds[Int(source.position)]
    if inner == 1, length >= 1, length <= Self.rowLimit, !(outer == 1 && length > 1024 && !isArg) {
      if canJoin, kind == .full, groups[g].count == total,
        groups[g].columns == 0 || groups[g].columns == length, length > 1
      {
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
      let rows =
        canJoin && groups[g].columns > 0 ? groups[g].count / groups[g].columns : 0
      if canJoin, kind == .full ? groups[g].count == total : kind == .perRow && rows == total {
        join(i, g, as: .late)
      } else {
        standAlone(i, columns: 0, count: total, as: .late)
      }
      return
    }
    if canJoin, kind == .full, groups[g].count == total,
      groups[g].columns == 0 || groups[g].columns == inner
    {
      groups[g].columns = inner
      join(i, g, as: .late)
    } else {
      standAlone(i, columns: inner, count: total, as: .late)
    }
  }

  private mutating func join(_ i: Int, _ g: Int, as kind: ValueKind) {
    groups[g].members.append(Int32(i))
    groupOf[i] = Int32(g)
    kinds[i] = kind
  }

  private mutating func standAlone(_ i: Int, columns: Int, count: Int, as kind: ValueKind) {
    kinds[i] = kind
    let g = newGroup(i, columns: columns, count: count)
    noteReads(i, g)
    if kind == .perRow, columns == 1 { kinds[i] = .full }
  }

  /// The position of an extreme along a middle axis: over a copy with that axis last.
  private mutating func reduceTransposed(_ i: Int, _ outer: Int, _ length: Int, _ inner: Int) {
    var source = sources[Int(graph.nodes[i].a)]
    if !source.isLinear {
      let copy = contiguousCopy(source, shape: operandShape(i, 0))
      source = Source(position: Int32(copy), layout: node(copy).shape, offset: 0, isLinear: true)
    }
    let table = LayoutTable.shared
    let moved = table.intern(
      dims: [outer, inner, length], strides: [length * inner, 1, inner])
    let view = Source(position: source.position, layout: moved, offset: 0, isLinear: false)
    let copy = contiguousCopy(view, shape: table.intern(dims: [outer, inner, length]))
    replacedOperand[i] = Source(
      position: Int32(copy), layout: node(copy).shape, offset: 0, isLinear: true)
    kinds[i] = .perRow
    let g = newGroup(i, columns: length, count: outer * inner * length)
    groups[Int(groupOf[copy])].firstReader = min(
      groups[Int(groupOf[copy])].firstReader, groups[g].order)
    groups[Int(groupOf[copy])].firstOtherReader = min(
      groups[Int(groupOf[copy])].firstOtherReader, groups[g].order)
  }

  // MARK: Products and moves

  /// A view over what is itself a view of a computed value: the inner one gets memory.
  private mutating func groupView(_ i: Int) {
    let view = graph.nodes[i]
    let copy = contiguousCopy(sources[Int(view.a)], shape: graph.nodes[Int(view.a)].shape)
    let g = newGroup(i)
    groups[g].kind = .move
    kinds[i] = .late
    isStored[i] = true
    replacedOperand[i] = Source(
      position: Int32(copy), layout: view.attribute, offset: view.offset, isLinear: false)
    noteOtherRead(Int32(copy), g)
  }

  private mutating func groupProduct(_ i: Int) {
    let node = graph.nodes[i]
    let dims = layout(node.shape).dims
    let k = layout(graph.nodes[Int(node.a)].shape).dims.last!
    readable(node.a, needsRows: false)
    readable(node.b, needsRows: true)
    let n = dims.last!
    let g = newGroup(i, columns: max(n, 1))
    groups[g].product = ProductGroup(terms: [Int32(i)], sum: Int32(i), totalK: k)
    for operand in [node.a, node.b] { noteOtherRead(sources[Int(operand)].position, g) }
  }

  /// Makes sure that a matrix operand is in memory and, for the right one, that its rows are runs.
  private mutating func readable(_ operand: Int32, needsRows: Bool) {
    let source = sources[Int(operand)]
    let shape = graph.nodes[Int(operand)].shape
    let opcode = node(Int(source.position)).opcode
    let layout = self.layout(source.isLinear ? shape : source.layout)
    let rowsAreRuns = layout.dims.last! <= 1 || layout.strides.last! == 1
    if opcode == .scalar || opcode == .iota || (needsRows && !rowsAreRuns) {
      let copy = contiguousCopy(source, shape: shape)
      sources[Int(operand)] = Source(
        position: Int32(copy), layout: shape, offset: 0, isLinear: true)
    }
  }

  private mutating func noteOtherRead(_ position: Int32, _ g: Int) {
    let h = Int(groupOf[Int(position)])
    guard h >= 0, h != g else { return }
    isStored[Int(position)] = true
    groups[h].firstReader = min(groups[h].firstReader, groups[g].order)
    groups[h].firstOtherReader = min(groups[h].firstOtherReader, groups[g].order)
  }

  /// Turns `product + product` into one longer sum that never leaves the registers.
  private mutating func mergeProducts(_ i: Int) -> Bool {
    let node = graph.nodes[i]
    guard node.opcode == .add else { return false }
    let x = sources[Int(node.a)]
    let y = sources[Int(node.b)]
    guard isBareProduct(x, for: node), isBareProduct(y, for: node), x.position != y.position else {
      return false
    }
    let gx = Int(groupOf[Int(x.position)])
    let gy = Int(groupOf[Int(y.position)])
    guard let px = groups[gx].product, let py = groups[gy].product, gx != gy,
      px.totalK + py.totalK <= Self.productLimit
    else { return false }
    let (low, high) = groups[gx].order < groups[gy].order ? (gx, gy) : (gy, gx)
    groups[high].product = ProductGroup(
      terms: px.terms + py.terms, sum: Int32(i), totalK: px.totalK + py.totalK)
    groups[high].members = groups[low].members + groups[high].members + [Int32(i)]
    for member in groups[low].members { groupOf[Int(member)] = Int32(high) }
    groups[low].kind = .dead
    groups[low].members = []
    groups[low].product = nil
    groupOf[i] = Int32(high)
    isAbsorbed[Int(x.position)] = true
    isAbsorbed[Int(y.position)] = true
    return true
  }

  /// A sum of plain matrix products that nothing but one addition reads.
  private func isBareProduct(_ source: Source, for node: GraphNode) -> Bool {
    let p = Int(source.position)
    let g = Int(groupOf[p])
    guard p < graph.nodes.count, g >= 0, source.isLinear, !isStored[p], readers[p] == 1,
      self.node(p).shape == node.shape, layout(node.shape).rank == 2, node.type.isFloating,
      let product = groups[g].product, product.sum == Int32(p)
    else { return false }
    return groups[g].members.allSatisfy { isAbsorbed[Int($0)] || product.terms.contains($0) || $0 == Int32(p) }
  }

  private mutating func groupMove(_ i: Int) {
    let node = graph.nodes[i]
    for operand in [node.a, node.b, node.c] where operand >= 0 {
      let opcode = self.node(Int(sources[Int(operand)].position)).opcode
      if opcode == .scalar || opcode == .iota {
        let shape = graph.nodes[Int(operand)].shape
        let copy = contiguousCopy(sources[Int(operand)], shape: shape)
        sources[Int(operand)] = Source(
          position: Int32(copy), layout: shape, offset: 0, isLinear: true)
      }
    }
    let g = newGroup(i)
    groups[g].kind = .move
    kinds[i] = .late
    isStored[i] = true
    for operand in [node.a, node.b, node.c] where operand >= 0 {
      noteOtherRead(sources[Int(operand)].position, g)
    }
  }
}
