// Pass 4: lowers one group to a loop kernel: registers, loads, instructions.

/// Builds the kernels of loops, one after the other.
struct LoopBuilder {
  var planner: Planner
  /// Where kernels may leave the partial results of their chunks: they don't live longer than one.
  let partialOffset: Int

  private(set) var partialBytes = 0
  /// Of the last kernel that was built.
  private(set) var cost = Plan.Cost()

  // What is known of the kernel that is being built; arrays keep their memory from one to the next.
  private(set) var g = 0
  private(set) var rows = 0
  private(set) var columns = 1
  var registers: [LoopKernel.Register] = []
  private(set) var loads: [LoopKernel.Load] = []
  private(set) var code: [LoopKernel.Instruction] = []
  private(set) var stores: [LoopKernel.Store] = []
  private(set) var terminals: [LoopKernel.Terminal] = []
  var product: LoopKernel.Product?
  private(set) var terms: [LoopKernel.Product.Term] = []
  private var batchOffsets: [Int] = []
  private var loaded: [Loaded] = []
  private var expanded: [(from: UInt16, to: UInt16)] = []
  private var flops = 0.0
  var scratch = ScratchScan()

  /// A value from memory that is in a register.
  private struct Loaded: Equatable {
    let position: Int32
    let layout: LayoutID
    let offset: Int
    let isPerRow: Bool
    var register: UInt16
  }

  private static let none = LoopKernel.Instruction.noRegister

  init(_ planner: Planner, partialOffset: Int) {
    self.planner = planner
    self.partialOffset = partialOffset
  }

  mutating func build(_ g: Int) -> LoopKernel {
    reset(g)
    let members = planner.groups[g].members
    for member in members { emit(Int(member)) }
    let cut = assignScratch()
    var partials = 0
    for i in terminals.indices {
      let (count, bytes) = partialResults(terminals[i], chunks: cut.chunks)
      terminals[i].partialCount = count
      terminals[i].partials = Place(base: Place.arena, byteOffset: partialOffset + partials)
      partials += ArenaAllocator.rounded(count * bytes)
    }
    partialBytes = max(partialBytes, partials)
    let elements = Double(rows * columns)
    cost.nanoseconds += flops / 20
    for instruction in code {
      let n = instruction.isPerRow ? Double(rows) : elements
      cost.nanoseconds += n * (instruction.opcode.info.isExpensive ? 2.0 : 0.3)
    }
    return LoopKernel(
      rows: rows, columns: columns, blockRows: cut.blockRows, chunkRows: cut.chunkRows,
      chunkColumns: chunkColumns, panelColumns: panelColumns, chunkPanels: chunkPanels,
      registers: registers, loads: loads, code: code, stores: stores,
      terminals: terminals,
      product: product, terms: terms, batchOffsets: batchOffsets, scratchBytes: cut.bytes,
      nodes: members)
  }

  private mutating func reset(_ g: Int) {
    self.g = g
    cost = Plan.Cost()
    registers.removeAll(keepingCapacity: true)
    loads.removeAll(keepingCapacity: true)
    code.removeAll(keepingCapacity: true)
    stores.removeAll(keepingCapacity: true)
    terminals.removeAll(keepingCapacity: true)
    terms.removeAll(keepingCapacity: true)
    batchOffsets.removeAll(keepingCapacity: true)
    loaded.removeAll(keepingCapacity: true)
    expanded.removeAll(keepingCapacity: true)
    product = nil
    flops = 0
    let count = planner.groups[g].count
    columns = max(planner.groups[g].columns, 1)
    rows = count / columns
    if count == 0 {
      // An empty loop, or a reduction of nothing: its results are still written.
      let first = planner.entries + Int(planner.groups[g].members[0])
      let isRowReduction =
        first.pointee.node.opcode.info.opClass == .reduction && first.pointee.kind != .late
      rows = isRowReduction ? first.pointee.count : 0
      if isRowReduction { columns = 0 }
    }
  }

  // MARK: Values

  private mutating func scratchRegister(_ type: ScalarType, perRow: Bool) -> UInt16 {
    registers.append(
      LoopKernel.Register(
        isDirect: false, place: Place(base: -1, byteOffset: 0), type: type, isPerRow: perRow,
        rowBytes: 0))
    return UInt16(registers.count - 1)
  }

  private mutating func directRegister(_ type: ScalarType, _ place: Place, perRow: Bool) -> UInt16 {
    registers.append(
      LoopKernel.Register(
        isDirect: true, place: place, type: type, isPerRow: perRow,
        rowBytes: type.size * (perRow ? 1 : columns)))
    return UInt16(registers.count - 1)
  }

  /// The register of a value that this group computes.
  private mutating func resultRegister(_ i: Int) -> UInt16 {
    let entry = planner.entries + i
    let type = entry.pointee.node.type
    let isPerRow = entry.pointee.kind == .perRow
    let register: UInt16
    if entry.pointee.isStored, entry.pointee.kind != .late {
      cost.bytesWritten += (isPerRow ? rows : rows * columns) * type.size
      if isPerRow || panelColumns > 0 {
        // A vector's worth is written past the last row of a block, or past the end of a row that is
        // worked off in panels, so it is copied out exactly.
        register = scratchRegister(type, perRow: isPerRow)
        stores.append(
          LoopKernel.Store(
            register: Int(register), place: entry.pointee.place, elementSize: type.size))
      } else {
        register = directRegister(type, entry.pointee.place, perRow: false)
      }
    } else {
      register = scratchRegister(type, perRow: isPerRow)
    }
    entry.pointee.register = Int32(register)
    return register
  }

  /// The register of operand `k` of a node, read as a full or per-row value.
  private mutating func operand(_ i: Int, _ k: Int, perRow: Bool) -> UInt16 {
    let input = planner.input(i, k)
    let source = planner.entries + input.position
    guard Int(source.pointee.group) == g else { return load(i, input, perRow: perRow) }
    let register = UInt16(source.pointee.register)
    if source.pointee.kind != .perRow || perRow { return register }
    for known in expanded where known.from == register { return known.to }
    let type = source.pointee.node.type
    let result = scratchRegister(type, perRow: false)
    append(.expandRows, .copy, type, type, perRow: false, dst: result, a: register)
    expanded.append((register, result))
    return result
  }

  private mutating func load(_ i: Int, _ input: Planner.Input, perRow: Bool) -> UInt16 {
    let node = planner.entries[input.position].node
    if node.opcode == .scalar {
      return splat(input.source.position, Int(node.slot), node.type)
    }
    // A reduction reads its operand as it is; everything else broadcasts it to its own shape.
    let own = planner.entries[i].node
    let target = own.opcode.info.opClass == .reduction ? input.shape : own.shape
    let id = planner.broadcast(planner.readLayout(input), to: target)
    var value = Loaded(
      position: input.source.position, layout: id, offset: input.source.offset, isPerRow: perRow,
      register: 0)
    for known in loaded {
      value.register = known.register
      if known == value { return known.register }
    }
    let layout = planner.layout(id)
    let count = perRow ? rows : rows * columns
    if node.opcode == .iota {
      value.register = emitLoad(
        .position, .int64, Place(base: 0, byteOffset: 0), layout,
        number: planner.layout(node.shape).dims.last ?? 1, perRow: perRow)
    } else {
      let place = planner.place(of: input.source)
      if layout.isContiguous {
        value.register = directRegister(node.type, place, perRow: perRow)
        cost.bytesRead += count * node.type.size
      } else {
        value.register = emitLoad(.gather, node.type, place, layout, number: 0, perRow: perRow)
        cost.bytesRead += min(count, input.count) * node.type.size
      }
    }
    loaded.append(value)
    return value.register
  }

  /// A load happens where its value is first used, so that its register is free before.
  private mutating func emitLoad(
    _ kind: LoopKernel.Load.Kind, _ type: ScalarType, _ place: Place, _ layout: Layout,
    number: Int, perRow: Bool
  ) -> UInt16 {
    let register = scratchRegister(type, perRow: perRow)
    append(.load, .copy, type, type, perRow: perRow, dst: register, a: UInt16(loads.count))
    loads.append(
      LoopKernel.Load(
        kind: kind, register: Int(register), place: place,
        layout: Unmanaged.passUnretained(layout), number: number, elementSize: type.size))
    return register
  }

  private mutating func splat(_ position: Int32, _ slot: Int, _ type: ScalarType) -> UInt16 {
    for known in loaded where known.position == position { return known.register }
    let register = scratchRegister(type, perRow: false)
    loads.append(
      LoopKernel.Load(
        kind: .splat, register: Int(register), place: Place(base: 0, byteOffset: 0), layout: nil,
        number: slot, elementSize: type.size))
    loaded.append(
      Loaded(position: position, layout: 0, offset: 0, isPerRow: false, register: register))
    return register
  }

  // MARK: Instructions

  private mutating func append(
    _ kind: LoopKernel.Instruction.Kind, _ opcode: Opcode, _ type: ScalarType,
    _ resultType: ScalarType, perRow: Bool, dst: UInt16, a: UInt16, b: UInt16 = Self.none,
    c: UInt16 = Self.none
  ) {
    code.append(
      LoopKernel.Instruction(
        kind: kind, opcode: opcode, type: type, resultType: resultType, isPerRow: perRow, dst: dst,
        a: a, b: b, c: c))
  }

  private mutating func emit(_ i: Int) {
    let entry = planner.entries + i
    if entry.pointee.isAbsorbed { return }
    if planner.groups[g].product?.sum == Int32(i) {
      emitProduct(i)
      return
    }
    switch entry.pointee.node.opcode.info.opClass {
    case .matmul: break
    case .reduction: emitReduction(i)
    case .source: emitSource(i)
    default: emitTile(i)
    }
  }

  private mutating func emitTile(_ i: Int) {
    let node = planner.entries[i].node
    let isPerRow = planner.entries[i].kind == .perRow
    let count = planner.inputCount(i)
    let a = operand(i, 0, perRow: isPerRow)
    let b = count > 1 ? operand(i, 1, perRow: isPerRow) : Self.none
    let c = count > 2 ? operand(i, 2, perRow: isPerRow) : Self.none
    // `select` is typed by what it selects; its condition is always bool.
    let type = registers[Int(node.opcode == .select ? b : a)].type
    let result = resultRegister(i)
    append(.tile, node.opcode, type, node.type, perRow: isPerRow, dst: result, a: a, b: b, c: c)
  }

  /// A scalar or a row of positions that is itself asked for.
  private mutating func emitSource(_ i: Int) {
    let node = planner.entries[i].node
    let layout = planner.layout(node.shape)
    let input =
      node.opcode == .scalar
      ? splat(Int32(i), Int(node.slot), node.type)
      : emitLoad(
        .position, .int64, Place(base: 0, byteOffset: 0), layout, number: layout.dims.last ?? 1,
        perRow: false)
    let result = resultRegister(i)
    append(.tile, .copy, node.type, node.type, perRow: false, dst: result, a: input)
  }

  private mutating func emitReduction(_ i: Int) {
    let entry = planner.entries[i]
    let source = planner.entries[planner.input(i, 0).position]
    let readsRows = Int(source.group) == g && source.kind == .perRow
    let input = operand(i, 0, perRow: readsRows)
    let type = registers[Int(input)].type
    if entry.kind != .late {
      let result = resultRegister(i)
      append(
        .reduceRows, entry.node.opcode, type, entry.node.type, perRow: true, dst: result, a: input)
      return
    }
    let dims = planner.layout(entry.node.attribute).dims
    let kind: LoopKernel.Terminal.Kind =
      panelColumns > 0
      ? (dims[2] == 1 ? .rows : .columns) : dims[0] == 1 && dims[2] == 1 ? .everything : .columns
    guard let reducer = entry.node.opcode.info.reducer else {
      preconditionFailure("loop builder: expected a reduction, got \(entry.node.opcode.info.name)")
    }
    cost.bytesWritten += planner.byteCount(i)
    terminals.append(
      LoopKernel.Terminal(
        kind: kind, opcode: entry.node.opcode, reducer: reducer,
        search: entry.node.opcode.info.search, type: type,
        register: Int(input), isPerRow: readsRows, period: dims[1],
        resultCount: dims[0] * dims[2], place: entry.place, part: partRows,
        run: reducer.isPairwise && type.isFloating
          ? Summation.runRows(columns: columns) : .max >> 1,
        partials: entry.place))
  }

  private mutating func emitProduct(_ i: Int) {
    let node = planner.entries[i].node
    let dims = planner.layout(node.shape).dims
    let isTurned = planner.groups[g].product!.isTurned
    let (m, n) = isTurned ? (dims[1], 1) : (dims[dims.count - 2], dims[dims.count - 1])
    let batch = Array(dims.dropLast(2))
    let register = resultRegister(i)
    for position in planner.groups[g].product!.terms {
      let (a, b) = (planner.input(Int(position), 0), planner.input(Int(position), 1))
      let aLayout = planner.layout(planner.readLayout(a))
      let bLayout = planner.layout(planner.readLayout(b))
      let k = aLayout.dims[aLayout.rank - 1]
      cost.bytesRead += (aLayout.count + bLayout.count) * node.type.size
      flops += 2 * Double(rows * n) * Double(k)
      if isTurned {
        // C transposed is B transposed times A transposed.
        terms.append(
          LoopKernel.Product.Term(
            a: planner.place(of: b.source), b: planner.place(of: a.source), k: k,
            aRow: bLayout.strides[1], aColumn: bLayout.strides[0], bRow: aLayout.strides[1],
            aBatch: -1, bBatch: -1))
        continue
      }
      terms.append(
        LoopKernel.Product.Term(
          a: planner.place(of: a.source), b: planner.place(of: b.source), k: k,
          aRow: aLayout.strides[aLayout.rank - 2], aColumn: aLayout.strides[aLayout.rank - 1],
          bRow: bLayout.strides[bLayout.rank - 2], aBatch: addBatchOffsets(aLayout, batch),
          bBatch: addBatchOffsets(bLayout, batch)))
    }
    let start = planner.groups[g].product!.start
    if start >= 0 { cost.bytesRead += rows * n * node.type.size }
    product = LoopKernel.Product(
      type: node.type, m: m, n: n, register: Int(register), wholeChunk: false,
      start: start < 0 ? nil : planner.place(of: planner.entries[Int(start)].source),
      isOnlyResult: planner.entries[i].readers == 0)
  }

  /// Element offsets of an operand for every product of a batch; where they begin, or -1.
  private mutating func addBatchOffsets(_ layout: Layout, _ batch: [Int]) -> Int {
    if batch.isEmpty { return -1 }
    let lead = LayoutTable.shared[
      LayoutTable.shared.intern(
        dims: Array(layout.dims.dropLast(2)), strides: Array(layout.strides.dropLast(2)))]
    let strides = lead.broadcastStrides(to: batch)!
    var offsets = [0]
    for axis in batch.indices {
      offsets = offsets.flatMap { base in (0..<batch[axis]).map { base + $0 * strides[axis] } }
    }
    batchOffsets += offsets
    return batchOffsets.count - offsets.count
  }
}
