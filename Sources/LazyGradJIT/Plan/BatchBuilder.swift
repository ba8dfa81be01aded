// Pass 1b, continued: puts batches into the planner's tables, in the order of the schedule.

struct BatchBuilder {
  private(set) var planner: Planner
  /// By position of the graph.
  private var places: [RowPlace]
  /// Stacks by what is in them: the same rows are brought together once.
  private var stacks: [UInt64: [Int32]] = [:]
  /// Shapes of two axes.
  private var tables: [UInt64: LayoutID] = [:]
  private var operands: [Planner.Input] = []
  private var rank = 2
  private let limits: BatchLimits

  init(_ planner: Planner, _ limits: BatchLimits) {
    self.planner = planner
    self.limits = limits
    places = [RowPlace](repeating: RowPlace(), count: planner.graph.nodes.count)
  }

  private struct RowPlace {
    /// The batch that the position is a row of, -1 for none.
    var slab: Int32 = -1
    /// Where its elements begin there.
    var start = 0
  }

  mutating func build(_ schedule: BatchSchedule) {
    let before = planner.total
    // Copies of what was there before are computed before everything else.
    for i in 0..<before { planner.entries[i].rank = 0 }
    for s in 0..<schedule.stepCount {
      let members = schedule.members[Int(schedule.starts[s])..<Int(schedule.starts[s + 1])]
      if members.count > 1 {
        addBatch(members)
      } else {
        addAlone(Int(members.first!), schedule.chains)
      }
    }
    let terms = planner.productSums.values.reduce(0) { $0 + $1.count }
    planner.reserveCopies(of: planner.schedule.count + terms)
    countReaders()
  }

  private mutating func emit(_ i: Int) {
    planner.entries[i].rank = rank
    rank += 2
    planner.schedule.append(Int32(i))
  }

  private func countReaders() {
    for i in 0..<planner.total { planner.entries[i].readers = 0 }
    func count(_ i: Int) {
      for k in 0..<planner.inputCount(i) {
        planner.entries[planner.input(i, k).position].readers += 1
      }
    }
    for i in planner.schedule {
      count(Int(i))
      for term in planner.productSums[i] ?? [] {
        count(Int(term))
        planner.entries[Int(term)].readers = 1
      }
    }
  }

  // MARK: What is computed by itself

  private mutating func addAlone(_ i: Int, _ chains: BatchChains) {
    if chains.chainAt[i] < 0 {
      resolveInputs(i)
      emit(i)
      return
    }
    let chain = chains.chains[Int(chains.chainAt[i])]
    if chain.isProduct {
      let terms = chain.terms.map { planner.inputs[Int($0)].position }
      for term in terms {
        resolveInputs(term)
        planner.entries[term].isAbsorbed = true
        planner.entries[term].rank = rank
        rank += 2
      }
      planner.productSums[Int32(i)] = terms.map { Int32($0) }
      planner.entries[i].inputCount = 0
    } else {
      let terms = chain.terms.map { resolved(planner.inputs[Int($0)]) }
      planner.makeInputs(i, terms.count)
      for (k, term) in terms.enumerated() { planner.setInput(i, k, term) }
      planner.entries[i].list = .sum
    }
    emit(i)
  }

  private func resolveInputs(_ i: Int) {
    for k in 0..<planner.inputCount(i) { planner.setInput(i, k, resolved(planner.input(i, k))) }
  }

  /// An operand where it is now: what has become a row of a batch is a view of that.
  private func resolved(_ operand: Planner.Input) -> Planner.Input {
    let p = operand.position
    if p >= places.count || places[p].slab < 0 { return operand }
    var result = operand
    result.source = Planner.Source(
      position: places[p].slab, layout: planner.readLayout(operand),
      offset: operand.source.offset + places[p].start, isLinear: false)
    return result
  }

  // MARK: Batches

  /// One operand of all members of a batch.
  private struct Rows {
    /// That of the first member, where it is now.
    var first: Planner.Input
    /// Elements from one row to the next.
    var step: Int
    /// All members read the same.
    var isShared: Bool
    /// The layout of one row.
    var layout: LayoutID
  }

  private mutating func addBatch(_ members: ArraySlice<Int32>) {
    let first = Int(members.first!)
    let node = planner.entries[first].node
    let (n, count) = (members.count, planner.entries[first].count)
    let batch: Int
    switch node.opcode.info.opClass {
    case .matmul: batch = product(members, node)
    case .reduction: batch = reduction(members, node)
    default: batch = elementwise(members, node)
    }
    emit(batch)
    for (r, i) in members.enumerated() {
      places[Int(i)] = RowPlace(slab: Int32(batch), start: r * count)
    }
    for i in members where planner.entries[Int(i)].node.isRoot { addCopy(Int(i), of: batch) }
    precondition(planner.entries[batch].count == n * count)
  }

  /// Makes a member what it must be in memory of its own.
  private mutating func addCopy(_ i: Int, of batch: Int) {
    let entry = planner.entries + i
    entry.pointee.node.opcode = .copy
    entry.pointee.list = .unstack
    entry.pointee.inputCount = 1
    let shape = entry.pointee.node.shape
    planner.setInput(
      i, 0,
      Planner.Input(
        source: Planner.Source(
          position: Int32(batch), layout: shape, offset: places[i].start, isLinear: false),
        shape: shape, count: entry.pointee.count))
    emit(i)
  }

  private mutating func elementwise(_ members: ArraySlice<Int32>, _ node: GraphNode) -> Int {
    let first = Int(members.first!)
    let (n, count) = (members.count, planner.entries[first].count)
    let all = (0..<planner.inputCount(first)).map { rows(members, $0, mayShare: true) }
    let isFlat = all.allSatisfy {
      let isInOrder = planner.layout($0.layout).isContiguous
      if $0.first.count == 1, isInOrder || $0.isShared { return true }
      return $0.first.count == count && isInOrder
        && planner.entries[$0.first.position].node.opcode != .iota
    }
    let dims = isFlat ? [count] : planner.layout(node.shape).dims
    var wide = node
    wide.isRoot = false
    wide.shape = isFlat ? table(n, count) : LayoutTable.shared.intern(dims: [n] + dims)
    let batch = planner.append(wide, inputs: all.count, rank: 0)
    for (k, rows) in all.enumerated() {
      planner.setInput(
        batch, k,
        isFlat ? flat(rows, n, rows.first.count) : spread(rows, n, rank: dims.count))
    }
    return batch
  }

  private mutating func reduction(_ members: ArraySlice<Int32>, _ node: GraphNode) -> Int {
    let n = members.count
    let dims = planner.layout(node.attribute).dims
    let rows = rows(members, 0, mayShare: false)
    var wide = node
    wide.isRoot = false
    wide.shape = table(n, dims[0] * dims[2])
    wide.attribute = LayoutTable.shared.intern(dims: [n * dims[0], dims[1], dims[2]])
    let batch = planner.append(wide, inputs: 1, rank: 0)
    planner.setInput(batch, 0, flat(rows, n, rows.first.count))
    return batch
  }

  private mutating func product(_ members: ArraySlice<Int32>, _ node: GraphNode) -> Int {
    let first = Int(members.first!)
    let dims = planner.layout(node.shape).dims
    let n = members.count
    let isRight = planner.sharedFactor(first, limits) == 1
    let rows = rows(
      members, isRight ? 0 : 1, mayShare: false, isTall: isRight && dims[0] > 1)
    let shared = resolved(planner.input(first, isRight ? 1 : 0))
    var wide = node
    wide.isRoot = false
    let height = isRight ? dims[0] : 1
    let width = isRight ? dims[1] : dims[0]
    wide.shape = table(n * height, width)
    let batch = planner.append(wide, inputs: 2, rank: 0)
    planner.setInput(batch, 0, flat(rows, n * height, rows.first.count / height))
    planner.setInput(batch, 1, isRight ? shared : transposed(shared))
    return batch
  }

  /// A matrix with its axes swapped, as it lies in memory.
  private func transposed(_ operand: Planner.Input) -> Planner.Input {
    let layout = planner.layout(planner.readLayout(operand))
    let dims = [layout.dims[1], layout.dims[0]]
    var result = operand
    result.source.layout = LayoutTable.shared.intern(
      dims: dims, strides: [layout.strides[1], layout.strides[0]])
    result.source.isLinear = false
    result.shape = LayoutTable.shared.intern(dims: dims)
    return result
  }

  // MARK: Operands

  /// An operand of all members; brought together where the rows don't have equal distances.
  ///
  /// - Parameters:
  ///   - mayShare: What all members read may stay one value.
  ///   - isTall: A member has several rows itself, which must follow each other.
  private mutating func rows(
    _ members: ArraySlice<Int32>, _ k: Int, mayShare: Bool, isTall: Bool = false
  ) -> Rows {
    let own = planner.input(Int(members.first!), k)
    if mayShare, planner.isSame(members, k) {
      let operand = resolved(own)
      return Rows(first: operand, step: 0, isShared: true, layout: planner.readLayout(operand))
    }
    let isRow = planner.isRow(own)
    operands.removeAll(keepingCapacity: true)
    for i in members {
      var operand = planner.inputs[3 * Int(i) + k]
      if !isRow {
        // The whole value that the view is over.
        let entry = planner.entries + operand.position
        operand = Planner.Input(
          source: entry.pointee.source, shape: entry.pointee.node.shape, count: entry.pointee.count)
      }
      operands.append(resolved(operand))
    }
    let count = operands[0].count
    var step = operands[1].source.offset - operands[0].source.offset
    var isEven = step >= count && (!isTall || step == count)
    for k in operands.indices.dropFirst() where isEven {
      let (a, b) = (operands[k - 1].source, operands[k].source)
      isEven = a.position == b.position && b.offset - a.offset == step
    }
    var first = operands[0]
    if !isEven {
      let stack = self.stack(count)
      step = count
      first.source = Planner.Source(
        position: Int32(stack), layout: planner.readLayout(first), offset: 0, isLinear: false)
    }
    var layout = planner.readLayout(first)
    if planner.entries[own.position].node.opcode == .scalar {
      // Whatever is filled with a number, a row is read with that.
      layout = LayoutTable.scalar
    } else if !isRow {
      first.source.offset += own.source.offset
      first.shape = own.shape
      first.count = own.count
      layout = own.source.layout
    }
    return Rows(first: first, step: step, isShared: false, layout: layout)
  }

  /// The position that has the operands one after the other.
  private mutating func stack(_ count: Int) -> Int {
    var hash = UInt64(count)
    for operand in operands {
      hash ^=
        UInt64(UInt32(bitPattern: operand.source.position)) << 32
        ^ UInt64(truncatingIfNeeded: operand.source.offset)
      hash = (hash ^ hash >> 29) &* 0xD6E8_FEB8_6659_FD93
    }
    let known = stacks[hash]?.first { stack in
      let i = Int(stack)
      return planner.inputCount(i) == operands.count && planner.input(i, 0).count == count
        && operands.indices.allSatisfy {
          let (a, b) = (planner.input(i, $0).source, operands[$0].source)
          return a.position == b.position && a.offset == b.offset
        }
    }
    if let known { return Int(known) }
    let type = planner.entries[operands[0].position].node.type
    let stack = planner.append(
      GraphNode(.concat, type, shape: table(operands.count, count)), inputs: operands.count, rank: 0
    )
    planner.entries[stack].list = .stack
    for (k, operand) in operands.enumerated() { planner.setInput(stack, k, operand) }
    stacks[hash, default: []].append(Int32(stack))
    emit(stack)
    return stack
  }

  /// Rows of so many elements in order, or a value that each of them is read with.
  private mutating func flat(_ rows: Rows, _ n: Int, _ count: Int) -> Planner.Input {
    var result = rows.first
    if rows.isShared {
      result.shape = count == 1 ? LayoutTable.scalar : LayoutTable.shared.intern(dims: [count])
      result.source.layout = result.shape
      return result
    }
    let step = rows.step == rows.first.count ? count : rows.step
    result.shape = table(n, count)
    result.count = n * count
    let whole = planner.entries[result.position]
    let isWhole =
      step == count && result.source.offset == 0 && whole.count == n * count
      && whole.node.opcode != .leaf
    result.source.isLinear = isWhole
    result.source.layout =
      step == count
      ? result.shape : LayoutTable.shared.intern(dims: [n, count], strides: [step, 1])
    return result
  }

  /// The same where rows keep their axes; those of values with fewer axes are the last ones.
  private mutating func spread(_ rows: Rows, _ n: Int, rank: Int) -> Planner.Input {
    if rows.isShared { return rows.first }
    var result = rows.first
    let row = planner.layout(rows.layout)
    let padding = [Int](repeating: 1, count: rank - row.rank)
    result.shape = LayoutTable.shared.intern(dims: [n] + padding + row.dims)
    result.count = n * row.count
    let whole = planner.entries[result.position]
    result.source.isLinear =
      row.isContiguous && rows.step == row.count && result.source.offset == 0
      && whole.count == result.count && whole.node.opcode != .leaf
    result.source.layout = LayoutTable.shared.intern(
      dims: [n] + padding + row.dims, strides: [rows.step] + padding + row.strides)
    return result
  }

  private mutating func table(_ n: Int, _ count: Int) -> LayoutID {
    let key = UInt64(n) << 32 | UInt64(count)
    if let known = tables[key] { return known }
    let shape = LayoutTable.shared.intern(dims: [n, count])
    tables[key] = shape
    return shape
  }
}

extension Planner {
  /// Whether all of some positions of the graph have the same operand.
  func isSame(_ members: ArraySlice<Int32>, _ k: Int) -> Bool {
    let first = input(Int(members.first!), k)
    return members.allSatisfy {
      let other = inputs[3 * Int($0) + k]
      return other.source.position == first.source.position
        && other.source.offset == first.source.offset
        && other.source.isLinear == first.source.isLinear
        && other.shape == first.shape
        && (first.source.isLinear || other.source.layout == first.source.layout)
    }
  }
}
