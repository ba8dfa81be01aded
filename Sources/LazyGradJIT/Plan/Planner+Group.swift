// Pass 2: which nodes become one loop.
//
// Groups are numbered, and a group reads only groups with smaller numbers; so there is never a
// cycle, whatever is fused. A node may therefore only join the latest of the groups that it reads
// (or a later one), and an earlier group may be merged into a later one only if nobody between them
// reads it.

extension Planner {
  mutating func group() {
    if schedule.isEmpty {
      for i in 0..<graph.nodes.count
      where entries[i].isLive && Int(entries[i].source.position) == i {
        group(i)
      }
    } else {
      for i in schedule { groupScheduled(Int(i)) }
    }
    markStored()
  }

  mutating func group(_ i: Int) {
    switch entries[i].node.opcode.info.opClass {
    case .source:
      if entries[i].node.isRoot, entries[i].node.opcode != .leaf { _ = newGroup(i) }
    case .elementwise: groupElementwise(i)
    case .reduction:
      settleInputs(i)
      groupReduction(i)
    case .matmul:
      settleInputs(i)
      groupProduct(i)
    case .move:
      settleInputs(i)
      groupMove(i)
    case .view:
      settleInputs(i)
      groupView(i)
    case .alias: break
    }
  }

  mutating func newGroup(_ i: Int, columns: Int = 0, count: Int? = nil) -> Int {
    groups.append(
      Group(count: count ?? entries[i].count, columns: columns, members: [Int32(i)]))
    entries[i].group = Int32(groups.count - 1)
    return groups.count - 1
  }

  mutating func join(_ i: Int, _ g: Int, as kind: ValueKind) {
    groups[g].members.append(Int32(i))
    entries[i].group = Int32(g)
    entries[i].kind = kind
  }

  /// What crosses groups must be in memory, and so must the results.
  private mutating func markStored() {
    for i in 0..<total where entries[i].group >= 0 {
      if entries[i].node.isRoot { entries[i].isStored = true }
      for k in 0..<inputCount(i) {
        let source = input(i, k).position
        if entries[source].group >= 0, entries[source].group != entries[i].group {
          entries[source].isStored = true
        }
      }
    }
  }

  /// A copy of a source in C order, made once however often it is asked for.
  mutating func contiguousCopy(_ source: Source, shape: LayoutID) -> Int {
    let key = CopyKey(position: source.position, layout: source.layout, offset: source.offset)
    if let known = copies[key] { return known }
    if entries[Int(source.position)].putOff > 0 { place(Int(source.position)) }
    let position = appendCopy(of: source, shape: shape)
    copies[key] = position
    let g = newGroup(position)
    noteReads(position, g)
    return position
  }

  /// The input that reads such a copy.
  mutating func copiedInput(_ source: Source, shape: LayoutID) -> Input {
    let copy = contiguousCopy(source, shape: shape)
    return Input(source: entries[copy].source, shape: shape, count: entries[copy].count)
  }

  // MARK: Elementwise

  private mutating func groupElementwise(_ i: Int) {
    if mergeProducts(i) { return }
    // A cheap value with one reader is best computed where it is read: put off where it goes.
    if entries[i].readers == 1, !entries[i].node.isRoot, !entries[i].node.opcode.info.isExpensive {
      var depth = 1
      for k in 0..<inputCount(i) {
        depth = max(depth, Int(entries[input(i, k).position].putOff) + 1)
      }
      if depth <= Self.putOffLimit {
        entries[i].putOff = UInt8(depth)
        return
      }
    }
    place(i)
  }

  /// Places the operands of a node that is no elementwise one.
  mutating func settleInputs(_ i: Int) {
    for k in 0..<inputCount(i) {
      let position = input(i, k).position
      if entries[position].putOff > 0 { place(position) }
    }
  }

  /// Puts a node, and the put-off nodes that only it reads, into a group.
  private mutating func place(_ i: Int) {
    let first = chains.count
    collect(i)
    chains.append(Int32(i))
    let chain = first..<chains.count
    defer { chains.removeSubrange(first...) }
    for c in chain { entries[Int(chains[c])].putOff = 0 }
    let latest = latestGroup(chain)
    var kind: ValueKind?
    var g = latest
    if g >= 0 { kind = kindIfJoined(chain, g) }
    if kind == nil, entries[i].node.isRoot {
      g = neighbour(chain, after: latest)
      if g >= 0 { kind = .full }
    }
    if let kind {
      for c in chain { join(Int(chains[c]), g, as: kind) }
    } else {
      g = newGroup(Int(chains[first]))
      for c in chain.dropFirst() { join(Int(chains[c]), g, as: .full) }
    }
    for c in chain { noteReads(Int(chains[c]), g) }
    for c in chain { mergeInputGroups(Int(chains[c])) }
  }

  /// Puts the put-off nodes that can be computed in one loop with node `i` on the chain, operands
  /// first; those that can't get a place of their own.
  private mutating func collect(_ i: Int) {
    for k in 0..<inputCount(i) {
      let operand = input(i, k)
      let p = operand.position
      guard entries[p].putOff > 0 else { continue }
      let count = entries[i].count
      if operand.source.isLinear, operand.count == count, entries[p].count == count {
        collect(p)
        chains.append(Int32(p))
      } else {
        place(p)
      }
    }
  }

  /// The latest group that a chain reads, -1 for none.
  private func latestGroup(_ chain: Range<Int>) -> Int {
    var latest: Int32 = -1
    for c in chain {
      let i = Int(chains[c])
      for k in 0..<inputCount(i) { latest = max(latest, entries[input(i, k).position].group) }
    }
    return Int(latest)
  }

  /// A loop over the same leaves that comes after everything that the chain reads: memory that is
  /// read once serves both. -1 for none.
  private mutating func neighbour(_ chain: Range<Int>, after latest: Int) -> Int {
    let own = entries[Int(chains[chain.lowerBound])].count
    var found = -1
    for c in chain {
      let i = Int(chains[c])
      for k in 0..<inputCount(i) {
        let operand = input(i, k)
        guard entries[operand.position].node.opcode == .leaf, operand.count == own,
          entries[operand.position].lastLoop >= 0
        else { continue }
        let g = live(Int(entries[operand.position].lastLoop))
        if g > latest, g > found, groups[g].kind == .loop, groups[g].count == own,
          groups[g].members.count + chain.count <= Self.memberLimit,
          groups[g].columns <= Self.rowLimit, !isAlone(g)
        {
          found = g
        }
      }
    }
    return found
  }

  /// How the values of a chain would exist in a group, or nil where it can't be computed there.
  private func kindIfJoined(_ chain: Range<Int>, _ g: Int) -> ValueKind? {
    guard groups[g].kind == .loop, groups[g].members.count + chain.count <= Self.memberLimit,
      groups[g].count > 0, groups[g].columns <= Self.rowLimit, !isAlone(g)
    else { return nil }
    let own = entries[Int(chains[chain.lowerBound])].count
    let columns = groups[g].columns
    let rows = columns > 0 ? groups[g].count / columns : groups[g].count
    if own == groups[g].count, chain.allSatisfy({ canRead(Int(chains[$0]), g, as: .full) }) {
      return .full
    }
    if own == rows, columns > 1, chain.allSatisfy({ canRead(Int(chains[$0]), g, as: .perRow) }) {
      return .perRow
    }
    return nil
  }

  /// Whether every operand that the group computes can be read inside its loop.
  private func canRead(_ i: Int, _ g: Int, as kind: ValueKind) -> Bool {
    for k in 0..<inputCount(i) {
      let operand = input(i, k)
      guard Int(entries[operand.position].group) == g else { continue }
      if !isReadable(operand, by: i, as: kind, columns: groups[g].columns) { return false }
    }
    return true
  }

  /// Whether an operand could be read in the loop that computes it, of so many columns, by a value
  /// of this kind.
  private func isReadable(
    _ operand: Input, by i: Int, as kind: ValueKind, columns: Int
  ) -> Bool {
    if !operand.source.isLinear { return false }
    switch (entries[operand.position].kind, kind) {
    case (.full, .full), (.perRow, .perRow):
      // Element by element: the operand must not be broadcast along the way.
      return operand.count == entries[i].count
    case (.perRow, .full):
      return isRowBroadcast(operand.shape, to: entries[i].node.shape, columns: columns)
    default: return false
    }
  }

  /// Whether broadcasting repeats each element of `shape` along one row of `columns`.
  private func isRowBroadcast(_ shape: LayoutID, to target: LayoutID, columns: Int) -> Bool {
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

  // MARK: Merging

  /// The group that a group has become part of.
  func live(_ g: Int) -> Int {
    var g = g
    while groups[g].into >= 0 { g = Int(groups[g].into) }
    return g
  }

  /// Writes down which groups a node reads.
  mutating func noteReads(_ i: Int, _ g: Int, elementwise: Bool = true) {
    let count = entries[i].count
    for k in 0..<inputCount(i) {
      let operand = input(i, k)
      let p = operand.position
      let h = Int(entries[p].group)
      if h < 0 {
        if elementwise, entries[p].node.opcode == .leaf, operand.count == count {
          entries[p].lastLoop = Int32(g)
        }
        continue
      }
      if h == g { continue }
      let isPlain =
        elementwise
        && isReadable(operand, by: i, as: entries[i].kind, columns: groups[h].columns)
      let edge = Int32(edges.count)
      edges.append(Edge(reader: Int32(g), next: -1, isPlain: isPlain))
      append(edge, edge, to: h)
    }
  }

  private mutating func append(_ first: Int32, _ last: Int32, to h: Int) {
    if first < 0 { return }
    if groups[h].lastEdge >= 0 {
      edges[Int(groups[h].lastEdge)].next = first
    } else {
      groups[h].firstEdge = first
    }
    groups[h].lastEdge = last
  }

  /// Pulls the other groups that a value reads into its own, where nothing stands between.
  private mutating func mergeInputGroups(_ i: Int) {
    for k in 0..<inputCount(i) {
      let operand = input(i, k)
      let g = Int(entries[i].group)
      let h = Int(entries[operand.position].group)
      if h >= 0, h != g, canMerge(h, into: g) { merge(h, into: g) }
    }
  }

  private func canMerge(_ h: Int, into g: Int) -> Bool {
    guard h < g, groups[h].kind == .loop, groups[g].kind == .loop,
      groups[h].count == groups[g].count, groups[h].count > 0,
      groups[h].members.count + groups[g].members.count <= Self.memberLimit,
      groups[h].columns == 0 || groups[g].columns == 0 || groups[h].columns == groups[g].columns,
      max(groups[h].columns, groups[g].columns) <= Self.rowLimit,
      groups[h].product == nil || groups[g].product == nil, !isAlone(h), !isAlone(g)
    else { return false }
    var edge = groups[h].firstEdge
    while edge >= 0 {
      let reader = live(Int(edges[Int(edge)].reader))
      if reader == g ? !edges[Int(edge)].isPlain : reader < g && reader != h { return false }
      edge = edges[Int(edge)].next
    }
    return true
  }

  mutating func merge(_ h: Int, into g: Int) {
    for member in groups[h].members { entries[Int(member)].group = Int32(g) }
    groups[g].members += groups[h].members
    groups[g].isSorted = false
    if groups[h].hasWholeReduction { groups[g].hasWholeReduction = true }
    groups[g].columns = max(groups[g].columns, groups[h].columns)
    if groups[g].product == nil { groups[g].product = groups[h].product }
    append(groups[h].firstEdge, groups[h].lastEdge, to: g)
    groups[h].kind = .dead
    groups[h].into = Int32(g)
    groups[h].members = []
    groups[h].product = nil
    groups[h].firstEdge = -1
    groups[h].lastEdge = -1
  }
}
