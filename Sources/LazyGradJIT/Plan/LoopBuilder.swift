// Lowers one group to a loop kernel: registers, loads, instructions, and how the rows are cut.

/// Builds the kernel of one group.
struct LoopBuilder {
  let planner: Planner
  let group: Planner.Group
  let g: Int
  let places: [Place?]
  /// By position: the register that holds it, -1 outside this group.
  var registerOf: [Int32]
  let partialOffset: Int

  private(set) var partialBytes = 0
  private(set) var bytesRead = 0
  private(set) var bytesWritten = 0
  private(set) var nanoseconds = 0.0

  private var rows = 0
  private var columns = 1
  private var registers: [LoopKernel.Register] = []
  private var loads: [LoopKernel.Load] = []
  private var code: [LoopKernel.Instruction] = []
  private var stores: [LoopKernel.Store] = []
  private var terminals: [LoopKernel.Terminal] = []
  private var product: LoopKernel.Product?
  private var terms: [LoopKernel.Product.Term] = []
  private var loaded: [LoadKey: UInt16] = [:]
  private var expanded: [UInt16: UInt16] = [:]
  private var flops = 0.0

  private struct LoadKey: Hashable {
    let position: Int32
    let layout: LayoutID
    let offset: Int
    let isPerRow: Bool
  }

  init(
    planner: Planner, group: Planner.Group, g: Int, places: [Place?],
    registerOf: consuming [Int32], partialOffset: Int
  ) {
    self.planner = planner
    self.group = group
    self.g = g
    self.places = places
    self.registerOf = registerOf
    self.partialOffset = partialOffset
  }

  /// Gives the scratch table back, clean.
  consuming func takeRegisters() -> [Int32] {
    for member in group.members { registerOf[Int(member)] = -1 }
    return registerOf
  }

  mutating func build() -> LoopKernel {
    shapeSpace()
    for member in group.members { emit(Int(member)) }
    let scratch = assignScratch()
    for i in terminals.indices where scratch.chunks > 1 {
      guard needsPartials(terminals[i]) else { continue }
      terminals[i].partials = Place(base: Place.arena, byteOffset: partialOffset + partialBytes)
      partialBytes += scratch.chunks * ArenaAllocator.rounded(resultBytes(terminals[i]))
    }
    let elements = Double(rows * columns)
    nanoseconds += flops / 20
    for instruction in code {
      let n = instruction.isPerRow ? Double(rows) : elements
      nanoseconds += n * (instruction.opcode.info.isExpensive ? 2.0 : 0.3)
    }
    return LoopKernel(
      rows: rows, columns: columns, blockRows: scratch.blockRows, chunkRows: scratch.chunkRows,
      registers: registers, loads: loads, code: code, stores: stores, terminals: terminals,
      product: product, terms: terms, scratchBytes: scratch.bytes, nodes: group.members.map { Int($0) })
  }

  private mutating func shapeSpace() {
    columns = Swift.max(group.columns, 1)
    rows = group.count / columns
    if group.count == 0 {
      // An empty loop, or a reduction of nothing: its results are still written.
      let first = planner.node(Int(group.members[0]))
      if first.opcode.info.opClass == .reduction,
        planner.kinds[Int(group.members[0])] == .perRow
      {
        rows = planner.layout(first.attribute).dims[0]
        columns = 0
      } else {
        rows = 0
      }
    }
  }

  // MARK: Values

  private mutating func scratchRegister(_ type: ScalarType, perRow: Bool) -> UInt16 {
    registers.append(
      LoopKernel.Register(
        isDirect: false, place: Place(base: -1, byteOffset: 0), type: type, isPerRow: perRow))
    return UInt16(registers.count - 1)
  }

  private mutating func directRegister(_ type: ScalarType, _ place: Place, perRow: Bool) -> UInt16 {
    registers.append(
      LoopKernel.Register(isDirect: true, place: place, type: type, isPerRow: perRow))
    return UInt16(registers.count - 1)
  }

  /// The register of a value that this group computes.
  private mutating func resultRegister(_ i: Int) -> UInt16 {
    let type = planner.node(i).type
    let isPerRow = planner.kinds[i] == .perRow
    let register: UInt16
    if planner.isStored[i], planner.kinds[i] != .late {
      bytesWritten += (isPerRow ? rows : rows * columns) * type.size
      if isPerRow {
        // A vector's worth is written past the last row of a block, so it is copied out exactly.
        register = scratchRegister(type, perRow: true)
        stores.append(
          LoopKernel.Store(
            register: Int(register), place: places[i]!, elementSize: type.size, isPerRow: true))
      } else {
        register = directRegister(type, places[i]!, perRow: false)
      }
    } else {
      register = scratchRegister(type, perRow: isPerRow)
    }
    registerOf[i] = Int32(register)
    return register
  }

  /// The register of operand `index` of a node, read as a full or per-row value.
  private mutating func operand(_ i: Int, _ index: Int, perRow: Bool) -> UInt16 {
    let source = planner.operands(i)[index]
    let position = Int(source.position)
    if Int(planner.groupOf[position]) == g {
      let register = UInt16(registerOf[position])
      if planner.kinds[position] == .perRow, !perRow {
        if let known = expanded[register] { return known }
        let type = planner.node(position).type
        let result = scratchRegister(type, perRow: false)
        code.append(
          LoopKernel.Instruction(
            kind: .expandRows, opcode: .copy, type: type, resultType: type, isPerRow: false,
            dst: result, a: register, b: LoopKernel.Instruction.noRegister,
            c: LoopKernel.Instruction.noRegister))
        expanded[register] = result
        return result
      }
      return register
    }
    return load(i, index, source, perRow: perRow)
  }

  private mutating func load(
    _ i: Int, _ index: Int, _ source: Planner.Source, perRow: Bool
  ) -> UInt16 {
    let node = planner.node(Int(source.position))
    let type = node.type
    if node.opcode == .scalar {
      return splat(source.position, Int(node.slot), type)
    }
    // A reduction reads its operand as it is; everything else broadcasts it to its own shape.
    let own = planner.node(i)
    let target =
      own.opcode.info.opClass == .reduction
      ? planner.layout(planner.replacedOperand[i] == nil ? planner.operandShape(i, 0) : source.layout)
      : planner.layout(own.shape)
    let under = planner.replacedOperand[i] == nil ? planner.readLayout(i, index, source) : target
    let strides = under.broadcastStrides(to: target.dims)!
    let table = LayoutTable.shared
    let id = table.intern(dims: target.dims, strides: strides)
    let layout = table[id]
    let key = LoadKey(
      position: source.position, layout: id, offset: source.offset, isPerRow: perRow)
    if let known = loaded[key] { return known }
    let count = perRow ? rows : rows * columns
    let result: UInt16
    if node.opcode == .iota {
      result = scratchRegister(.int64, perRow: perRow)
      emitLoad(
        LoopKernel.Load(
          kind: .position, register: Int(result), place: Place(base: 0, byteOffset: 0),
          layout: Unmanaged.passUnretained(layout),
          number: planner.layout(node.shape).dims.last ?? 1, elementSize: 8, isPerRow: perRow))
      loaded[key] = result
      return result
    }
    let place = planner.place(of: source, places)
    if layout.isContiguous {
      result = directRegister(type, place, perRow: perRow)
      bytesRead += count * type.size
    } else {
      result = scratchRegister(type, perRow: perRow)
      emitLoad(
        LoopKernel.Load(
          kind: .gather, register: Int(result), place: place,
          layout: Unmanaged.passUnretained(layout), number: 0, elementSize: type.size,
          isPerRow: perRow))
      bytesRead += under.count * type.size
    }
    loaded[key] = result
    return result
  }

  /// A load happens where its value is first used, so that its register is free before.
  private mutating func emitLoad(_ load: LoopKernel.Load) {
    code.append(
      LoopKernel.Instruction(
        kind: .load, opcode: .copy, type: registers[load.register].type,
        resultType: registers[load.register].type, isPerRow: load.isPerRow,
        dst: UInt16(load.register), a: UInt16(loads.count), b: LoopKernel.Instruction.noRegister,
        c: LoopKernel.Instruction.noRegister))
    loads.append(load)
  }

  private mutating func splat(_ position: Int32, _ slot: Int, _ type: ScalarType) -> UInt16 {
    let key = LoadKey(position: position, layout: 0, offset: 0, isPerRow: false)
    if let known = loaded[key] { return known }
    let result = scratchRegister(type, perRow: false)
    loads.append(
      LoopKernel.Load(
        kind: .splat, register: Int(result), place: Place(base: 0, byteOffset: 0), layout: nil,
        number: slot, elementSize: type.size, isPerRow: false))
    loaded[key] = result
    return result
  }

  // MARK: Instructions

  private mutating func emit(_ i: Int) {
    if planner.isAbsorbed[i] { return }
    let node = planner.node(i)
    switch node.opcode.info.opClass {
    case .matmul:
      if group.product?.sum == Int32(i) { emitProduct(i) }
    case .reduction: emitReduction(i)
    case .source: emitSource(i)
    default:
      if group.product?.sum == Int32(i) {
        emitProduct(i)
        return
      }
      emitTile(i)
    }
  }

  private mutating func emitTile(_ i: Int) {
    let node = planner.node(i)
    let isPerRow = planner.kinds[i] == .perRow
    let arity = i < planner.graph.nodes.count ? node.opcode.info.arity : 1
    var inputs = [UInt16](repeating: LoopKernel.Instruction.noRegister, count: 3)
    for k in 0..<arity { inputs[k] = operand(i, k, perRow: isPerRow) }
    // `select` is typed by what it selects; its condition is always bool.
    let typed = Int(inputs[node.opcode == .select ? 1 : 0])
    code.append(
      LoopKernel.Instruction(
        kind: .tile, opcode: node.opcode, type: registers[typed].type, resultType: node.type,
        isPerRow: isPerRow, dst: resultRegister(i), a: inputs[0], b: inputs[1], c: inputs[2]))
  }

  /// A scalar or a row of positions that is itself asked for.
  private mutating func emitSource(_ i: Int) {
    let node = planner.node(i)
    let input: UInt16
    if node.opcode == .scalar {
      input = splat(Int32(i), Int(node.slot), node.type)
    } else {
      input = scratchRegister(.int64, perRow: false)
      emitLoad(
        LoopKernel.Load(
          kind: .position, register: Int(input), place: Place(base: 0, byteOffset: 0),
          layout: Unmanaged.passUnretained(planner.layout(node.shape)),
          number: planner.layout(node.shape).dims.last ?? 1, elementSize: 8, isPerRow: false))
    }
    code.append(
      LoopKernel.Instruction(
        kind: .tile, opcode: .copy, type: node.type, resultType: node.type, isPerRow: false,
        dst: resultRegister(i), a: input, b: LoopKernel.Instruction.noRegister,
        c: LoopKernel.Instruction.noRegister))
  }

  private mutating func emitReduction(_ i: Int) {
    let node = planner.node(i)
    let source = planner.operands(i)[0]
    let position = Int(source.position)
    let readsRows =
      Int(planner.groupOf[position]) == g && planner.kinds[position] == .perRow
    let input = operand(i, 0, perRow: readsRows)
    let type = registers[Int(input)].type
    if planner.kinds[i] != .late {
      code.append(
        LoopKernel.Instruction(
          kind: .reduceRows, opcode: node.opcode, type: type, resultType: node.type, isPerRow: true,
          dst: resultRegister(i), a: input, b: LoopKernel.Instruction.noRegister,
          c: LoopKernel.Instruction.noRegister))
      return
    }
    let dims = planner.layout(node.attribute).dims
    let isEverything = dims[0] == 1 && dims[2] == 1
    bytesWritten += planner.byteCount(i)
    terminals.append(
      LoopKernel.Terminal(
        kind: isEverything ? .everything : .columns, opcode: node.opcode, type: type,
        register: Int(input), isPerRow: readsRows, period: dims[1], resultCount: dims[0] * dims[2],
        // A result that nobody reads is still computed: roots and readers are why it is here.
        place: places[i]!, partials: places[i]!))
  }

  private mutating func emitProduct(_ i: Int) {
    let node = planner.node(i)
    let info = group.product!
    let dims = planner.layout(node.shape).dims
    let rank = dims.count
    let (m, n) = (dims[rank - 2], dims[rank - 1])
    let batch = dims.dropLast(2).reduce(1, *)
    let register = resultRegister(i)
    for position in info.terms {
      let term = Int(position)
      let inputs = planner.operands(term)
      let aLayout = planner.readLayout(term, 0, inputs[0])
      let bLayout = planner.readLayout(term, 1, inputs[1])
      let k = aLayout.dims.last!
      bytesRead += (aLayout.count + bLayout.count) * node.type.size
      flops += 2 * Double(batch * m * n) * Double(k)
      terms.append(
        LoopKernel.Product.Term(
          a: planner.place(of: inputs[0], places), b: planner.place(of: inputs[1], places), k: k,
          aRow: aLayout.strides[aLayout.rank - 2], aColumn: aLayout.strides[aLayout.rank - 1],
          bRow: bLayout.strides[bLayout.rank - 2],
          aBatch: batchOffsets(aLayout, Array(dims.dropLast(2))),
          bBatch: batchOffsets(bLayout, Array(dims.dropLast(2)))))
    }
    product = LoopKernel.Product(
      type: node.type, m: m, n: n, register: Int(register), wholeChunk: false)
  }

  /// Element offsets of an operand for every product of a batch.
  private func batchOffsets(_ layout: Layout, _ batch: [Int]) -> [Int] {
    if batch.isEmpty { return [] }
    let lead = Layout.leading(layout, dropping: 2)
    let strides = lead.broadcastStrides(to: batch)!
    var offsets = [0]
    for axis in batch.indices {
      offsets = offsets.flatMap { base in (0..<batch[axis]).map { base + $0 * strides[axis] } }
    }
    return offsets
  }

  // MARK: Scratch memory and blocks

  private func needsPartials(_ terminal: LoopKernel.Terminal) -> Bool {
    terminal.kind == .everything || terminal.period == rows
  }

  private func resultBytes(_ terminal: LoopKernel.Terminal) -> Int {
    terminal.kind == .everything ? 8 : columns * terminal.type.size
  }

  /// Linear scan: a register's scratch memory is free again after its last use.
  private mutating func assignScratch() -> (
    blockRows: Int, chunkRows: Int, chunks: Int, bytes: Int
  ) {
    var lastUse = [Int](repeating: -1, count: registers.count)
    var firstUse = [Int](repeating: Int.max, count: registers.count)
    let end = code.count
    for (index, instruction) in code.enumerated() {
      let sources = instruction.kind == .load ? [] : [instruction.a, instruction.b, instruction.c]
      for r in [instruction.dst] + sources where r != LoopKernel.Instruction.noRegister {
        lastUse[Int(r)] = index
        firstUse[Int(r)] = Swift.min(firstUse[Int(r)], index)
      }
    }
    for load in loads where load.kind == .splat {
      firstUse[load.register] = -1
      lastUse[load.register] = end
    }
    for store in stores { lastUse[store.register] = end }
    for terminal in terminals { lastUse[terminal.register] = end }
    if let product { firstUse[product.register] = -1 }

    // How many are alive at once decides how long a block may be.
    var slotOf = [Int](repeating: -1, count: registers.count)
    var freeSlots: [Int] = []
    var slots = 0
    let byStart = registers.indices.filter { !registers[$0].isDirect && lastUse[$0] >= 0 }
      .sorted { firstUse[$0] < firstUse[$1] }
    var active: [(end: Int, slot: Int)] = []
    for r in byStart {
      active.removeAll { entry in
        if entry.end < firstUse[r] {
          freeSlots.append(entry.slot)
          return true
        }
        return false
      }
      let slot = freeSlots.popLast() ?? slots
      if slot == slots { slots += 1 }
      slotOf[r] = slot
      active.append((lastUse[r], slot))
    }
    let (blockRows, chunkRows) = cutRows(liveRegisters: slots)
    let slotBytes = ArenaAllocator.rounded(blockRows * Swift.max(columns, 1) * 8) + 64
    for r in byStart { registers[r].place.byteOffset = slotOf[r] * slotBytes }
    let chunks = rows == 0 ? 1 : (rows + chunkRows - 1) / chunkRows
    return (blockRows, chunkRows, chunks, slots * slotBytes)
  }

  /// Rows per block, for the first-level cache, and per chunk, for the threads.
  ///
  /// A block or chunk that is not the last ends on a multiple of 8 elements: kernels write whole
  /// vectors.
  private mutating func cutRows(liveRegisters: Int) -> (block: Int, chunk: Int) {
    let width = Swift.max(columns, 1)
    let unit = width % 8 == 0 ? 1 : width % 4 == 0 ? 2 : width % 2 == 0 ? 4 : 8
    func rounded(_ n: Int, to unit: Int) -> Int { (n + unit - 1) / unit * unit }
    let target = liveRegisters <= 8 ? 512 : liveRegisters <= 16 ? 256 : 128
    var block = rounded(Swift.max(target / width, 1), to: unit)
    var chunk = rounded(Swift.max(32_768 / width, 1), to: unit)
    if let product {
      let perRow = 2 * product.n * terms.reduce(0) { $0 + $1.k }
      chunk = rounded(Swift.max(80_000 / Swift.max(perRow, 1), 4), to: Swift.max(unit, 4))
      if code.isEmpty, stores.isEmpty, terminals.isEmpty {
        block = chunk
      } else {
        block = rounded(Swift.max(4096 / width, 16), to: unit)
        if width * Swift.max(block, 1) > 16_384 { self.product!.wholeChunk = registers[product.register].isDirect }
      }
    }
    // At most 64 chunks: more would not be balanced any better.
    chunk = Swift.max(chunk, rounded((rows + 63) / 64, to: Swift.max(unit, 4)))
    chunk = rounded(chunk, to: Swift.min(block, Swift.max(rows, 1)))
    chunk = rounded(chunk, to: unit)
    for terminal in terminals where terminal.kind == .columns && terminal.period != rows {
      // Every chunk holds whole result rows.
      chunk = rounded(chunk, to: Swift.max(terminal.period, 1) * unit)
    }
    if block >= rows { block = Swift.max(rows, 1) }
    if chunk >= rows { chunk = Swift.max(rows, 1) }
    return (Swift.min(block, chunk), chunk)
  }
}

extension Layout {
  /// The layout of the leading axes alone.
  static func leading(_ layout: Layout, dropping n: Int) -> Layout {
    let table = LayoutTable.shared
    return table[
      table.intern(
        dims: Array(layout.dims.dropLast(n)), strides: Array(layout.strides.dropLast(n)))]
  }
}
