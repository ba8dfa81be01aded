// Pass 2, continued: reductions, products and moves, which decide how a loop is shaped.

extension Planner {
  // MARK: Reductions

  mutating func groupReduction(_ i: Int) {
    let node = entries[i].node
    let dims = layout(node.attribute).dims
    let (outer, length, inner) = (dims[0], dims[1], dims[2])
    if node.opcode.info.search != nil {
      if inner > 1 {
        let operand = input(i, 0)
        if !isInOrder(operand) {
          setInput(i, 0, copiedInput(operand.source, shape: operand.shape))
        }
        standAlone(i, columns: inner, count: outer * length * inner, as: .late)
      } else if inner == 1, length > Self.rowLimit, outer > 0 {
        standAlone(i, columns: length, count: outer * length, as: .late)
        groups[Int(entries[i].group)].isPanelled = true
      } else {
        standAlone(i, columns: length, count: outer * length * inner, as: .perRow)
      }
      groups[Int(entries[i].group)].kind = .search
      return
    }
    let source = input(i, 0).source
    let g = Int(entries[Int(source.position)].group)
    let total = outer * length * inner
    let canJoin =
      g >= 0 && source.isLinear && total > 0 && groups[g].kind == .loop
      && groups[g].members.count < Self.memberLimit && !isAlone(g)
    let kind = entries[Int(source.position)].kind
    func fits(_ columns: Int) -> Bool {
      canJoin && kind == .full && groups[g].count == total && columns <= Self.rowLimit
        && (groups[g].columns == 0 || groups[g].columns == columns)
    }
    if inner == 1, length >= 1, length <= Self.rowLimit, !(outer == 1 && length > 1024) {
      if length > 1, fits(length) {
        groups[g].columns = length
        join(i, g, as: .perRow)
        return
      }
      if !(canJoin && outer == 1) {
        standAlone(i, columns: length, count: total, as: length > 1 ? .perRow : .full)
        return
      }
    }
    if total > 0, outer > 1 || inner > 1, max(inner, inner == 1 ? length : 0) > Self.rowLimit {
      let columns = inner == 1 ? length : inner
      if canJoin, kind == .full, groups[g].count == total, groups[g].product == nil,
        !groups[g].hasWholeReduction, groups[g].columns == 0 || groups[g].columns == columns
      {
        groups[g].columns = columns
        join(i, g, as: .late)
      } else {
        standAlone(i, columns: columns, count: total, as: .late)
      }
      groups[Int(entries[i].group)].isPanelled = true
      return
    }
    if inner == 1, outer > 1 {
      standAlone(i, columns: length, count: total, as: .perRow)
      return
    }
    // One result, or one per column, once the loop is through.
    if outer == 1, inner == 1 {
      let rows = canJoin && groups[g].columns > 0 ? groups[g].count / groups[g].columns : 0
      defer { groups[Int(entries[i].group)].hasWholeReduction = true }
      if canJoin, !groups[g].isPanelled,
        kind == .full ? groups[g].count == total : kind == .perRow && rows == total
      {
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

  /// Whether an operand is memory whose elements follow each other.
  private func isInOrder(_ operand: Input) -> Bool {
    let opcode = entries[operand.position].node.opcode
    return opcode != .scalar && opcode != .iota && layout(readLayout(operand)).isContiguous
  }

  // MARK: Products

  /// Whether a group is a product with which nothing is fused.
  func isAlone(_ g: Int) -> Bool { groups[g].product?.isAlone ?? false }

  mutating func groupProduct(_ i: Int) {
    let dims = layout(entries[i].node.shape).dims
    let k = layout(input(i, 0).shape).dims.last!
    // Every column of C reads all of A: with many, a transposed one is turned once before, so that
    // every read does not go to another page. Few columns are not worth another pass over A.
    let isTall = dims.count == 2 && min(dims[0], k) >= 64 && dims[1] >= 1024
    let isTurned = isRowOfTransposed(i, dims, k)
    readable(i, 0, needsRows: isTall)
    readable(i, 1, needsRows: !isTurned)
    let g = newGroup(i, columns: isTurned ? 1 : max(dims.last!, 1))
    // What is fused with a product makes it go by rows of C, each chunk over all of B: its rows are
    // too far apart for that when they have a page, and a pass over C costs little beside the
    // product.
    let isAlone =
      isTall && k >= Summation.blockDepth && dims[1] * entries[i].node.type.size >= 4096
      && entries[i].node.type.isFloating
    groups[g].product = ProductGroup(
      terms: [Int32(i)], start: -1, sum: Int32(i), totalK: k, memberCount: 1, isAlone: isAlone,
      isTurned: isTurned)
    noteReads(i, g, elementwise: false)
  }

  /// Whether C is one row and B a large transposed matrix: instead of a copy of B, a product of B as
  /// it lies in memory with a column. A small B is read again from a copy more quickly than turned
  /// again.
  private func isRowOfTransposed(_ i: Int, _ dims: [Int], _ k: Int) -> Bool {
    let right = input(i, 1)
    guard dims.count == 2, dims[0] == 1, dims[1] > 1, dims[1] * k >= 16_384,
      entries[i].node.type.isFloating, entries[right.position].node.opcode != .scalar,
      entries[right.position].node.opcode != .iota
    else { return false }
    let strides = layout(readLayout(right)).strides
    return strides[0] == 1 && strides[1] != 1
  }

  /// Makes sure that a matrix operand is in memory and, where asked for, that its rows are runs.
  mutating func readable(_ i: Int, _ k: Int, needsRows: Bool) {
    let operand = input(i, k)
    let opcode = entries[operand.position].node.opcode
    let layout = self.layout(operand.source.isLinear ? operand.shape : operand.source.layout)
    let rowsAreRuns = layout.dims.last! <= 1 || layout.strides.last! == 1
    if opcode == .scalar || opcode == .iota || (needsRows && !rowsAreRuns) {
      setInput(i, k, copiedInput(operand.source, shape: operand.shape))
    }
  }

  /// Turns `product + product` into one sum of products, a kernel of its own.
  ///
  /// The kernel adds whole products in the order of the terms, so this changes no bit: when and with
  /// what a value is computed must not show. A term that would be summed in several blocks is left
  /// alone for that reason, and so is everything that would have to be added in another order.
  ///
  /// - Returns: whether the node is computed with that.
  mutating func mergeProducts(_ i: Int) -> Bool {
    guard entries[i].node.opcode == .add, entries[i].node.type.isFloating else { return false }
    let shape = entries[i].node.shape
    for (sum, term) in [(input(i, 0), input(i, 1)), (input(i, 1), input(i, 0))] {
      guard isBareProduct(term, shape),
        isBareProduct(sum, shape) || beginsWithLeaf(sum, shape),
        entries[sum.position].group != entries[term.position].group,
        let one = groups[Int(entries[term.position].group)].product,
        one.terms.count == 1, one.start < 0, one.totalK <= Summation.blockDepth,
        groups[Int(entries[sum.position].group)].product?.isTurned == one.isTurned
      else { continue }
      return addTerm(term, to: sum, as: i)
    }
    return false
  }

  /// Makes `leaf + product`, the sum of an earlier window or turn and one more, the beginning of a sum of products.
  ///
  /// - Returns: whether the operand is one.
  private mutating func beginsWithLeaf(_ operand: Input, _ shape: LayoutID) -> Bool {
    let s = operand.position
    // It has been put off for this reader, with nothing before it.
    guard entries[s].putOff == 1, entries[s].node.opcode == .add, operand.source.isLinear,
      operand.shape == shape, entries[s].node.shape == shape
    else { return false }
    for (start, term) in [(input(s, 0), input(s, 1)), (input(s, 1), input(s, 0))] {
      guard entries[start.position].node.opcode == .leaf, start.source.offset == 0,
        start.source.layout == shape, start.shape == shape, isBareProduct(term, shape)
      else { continue }
      let g = Int(entries[term.position].group)
      guard var product = groups[g].product, product.terms.count == 1, product.start < 0,
        product.totalK <= Summation.blockDepth
      else { continue }
      product.start = Int32(start.position)
      product.sum = Int32(s)
      product.memberCount += 1
      groups[g].product = product
      entries[s].putOff = 0
      join(s, g, as: .full)
      setInput(s, 0, start)
      entries[s].inputCount = 1
      noteReads(s, g, elementwise: false)
      entries[term.position].isAbsorbed = true
      return true
    }
    return false
  }

  /// Makes position `i` the sum of a sum of products and one more.
  private mutating func addTerm(_ term: Input, to sum: Input, as i: Int) -> Bool {
    let (s, t) = (sum.position, term.position)
    let (gs, gt) = (Int(entries[s].group), Int(entries[t].group))
    guard var product = groups[gs].product, let added = groups[gt].product else { return false }
    if product.totalK + added.totalK <= Self.productLimit {
      product.terms += added.terms
      product.totalK += added.totalK
      product.memberCount += added.memberCount + 1
      let (low, high) = gs < gt ? (gs, gt) : (gt, gs)
      merge(low, into: high)
      groups[high].product = product
      join(i, high, as: .full)
      entries[i].inputCount = 0
      entries[s].isAbsorbed = true
    } else {
      // Long enough: the sum so far goes to memory, and another kernel begins with it.
      if gs > gt { return false }
      product = added
      product.start = Int32(s)
      product.memberCount += 1
      groups[gt].product = product
      join(i, gt, as: .full)
      setInput(i, 0, sum)
      entries[i].inputCount = 1
      noteReads(i, gt, elementwise: false)
    }
    groups[Int(entries[i].group)].product?.sum = Int32(i)
    entries[t].isAbsorbed = true
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

  /// A view over what is itself a view of a computed value: the inner one gets memory. Where the outer one is all of
  /// it in its order, as a matrix is in other dimensions, that is the outer one's.
  mutating func groupView(_ i: Int) {
    let view = entries[i].node
    let under = input(i, 0)
    let opcode = entries[under.position].node.opcode
    let isAll =
      layout(view.attribute).isContiguous && view.offset == 0 && under.count == entries[i].count
      && opcode != .scalar && opcode != .iota
    if !isAll {
      let copy = copiedInput(under.source, shape: under.shape)
      setInput(
        i, 0,
        Input(
          source: Source(
            position: copy.source.position, layout: view.attribute, offset: view.offset,
            isLinear: false),
          shape: view.shape, count: entries[i].count))
    }
    let g = newGroup(i)
    groups[g].kind = .move
    entries[i].kind = .late
    noteReads(i, g, elementwise: false)
  }

  mutating func groupMove(_ i: Int) {
    for k in 0..<inputCount(i) {
      let operand = input(i, k)
      let opcode = entries[operand.position].node.opcode
      if opcode == .scalar || opcode == .iota {
        setInput(i, k, copiedInput(operand.source, shape: operand.shape))
      }
    }
    let g = newGroup(i)
    groups[g].kind = .move
    entries[i].kind = .late
    noteReads(i, g, elementwise: false)
  }
}
