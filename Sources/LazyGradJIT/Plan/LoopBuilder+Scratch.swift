// Pass 4, continued: how the rows of a loop are cut, and scratch memory for its registers.

/// Working memory of the scan over registers, kept from one kernel to the next.
struct ScratchScan {
  var firstUse: [Int32] = []
  var lastUse: [Int32] = []
  var slotOf: [Int32] = []
  var order: [Int32] = []
  var free: [Int32] = []
  var active: [(end: Int32, slot: Int32)] = []
}

extension LoopBuilder {
  /// Rows of a part of a sum over all rows: a function of the loop's shape, not of what else it does.
  var partRows: Int { (max(plainChunk, (rows + 63) / 64) + 7) / 8 * 8 }

  /// Rows per chunk of a loop of cheap operations.
  private var plainChunk: Int { max(32_768 / max(columns, 1), 1) }

  /// The number of a reduction's partial results, and bytes of each.
  func partialResults(
    _ terminal: LoopKernel.Terminal, chunks: Int
  ) -> (count: Int, bytes: Int) {
    switch terminal.kind {
    case .rows:
      let slices = (columns + Summation.blockLength - 1) / Summation.blockLength
      return (rows * slices, terminal.partialBytes)
    case .columns:
      if panelColumns > 0 || terminal.search != nil || terminal.period != rows
        || rows <= terminal.part
      {
        return (0, 0)
      }
      let bytes = ArenaAllocator.rounded(columns * terminal.type.size)
      return ((rows + terminal.part - 1) / terminal.part, bytes)
    case .everything:
      let count = terminal.isPerRow ? rows : rows * columns
      if chunks == 1, count <= Summation.blockLength { return (0, 0) }
      if terminal.isPerRow, keepsRows { return (rows, terminal.type.size) }
      return ((count + Summation.blockLength - 1) / Summation.blockLength, 8)
    }
  }

  /// Whether a reduction of one value per row keeps them all: chunks of whole parts of them would be
  /// too long to be shared evenly.
  private var keepsRows: Bool { plainChunk < Summation.blockLength || product != nil }

  /// Rows that a chunk must be a multiple of for a reduction's sake.
  private func chunkUnit(_ terminal: LoopKernel.Terminal) -> Int {
    switch terminal.kind {
    case .rows: 1
    case .columns: terminal.period == rows ? terminal.part : max(terminal.period, 1)
    case .everything:
      terminal.isPerRow
        ? (keepsRows ? 1 : Summation.blockLength)
        : Summation.blockLength
          >> min(columns.trailingZeroBitCount, Summation.blockLength.trailingZeroBitCount)
    }
  }

  /// Linear scan: a register's scratch memory is free again after its last use.
  mutating func assignScratch() -> (blockRows: Int, chunkRows: Int, chunks: Int, bytes: Int) {
    findUses()
    // How many are alive at once decides how long a block may be.
    scratch.order.removeAll(keepingCapacity: true)
    for r in registers.indices where !registers[r].isDirect && scratch.lastUse[r] >= 0 {
      // Nearly in order as it is.
      var at = scratch.order.count
      while at > 0, scratch.firstUse[Int(scratch.order[at - 1])] > scratch.firstUse[r] { at -= 1 }
      scratch.order.insert(Int32(r), at: at)
    }
    scratch.free.removeAll(keepingCapacity: true)
    scratch.active.removeAll(keepingCapacity: true)
    var slots: Int32 = 0
    for r in scratch.order {
      let first = scratch.firstUse[Int(r)]
      var kept = 0
      for k in scratch.active.indices {
        if scratch.active[k].end < first {
          scratch.free.append(scratch.active[k].slot)
        } else {
          scratch.active[kept] = scratch.active[k]
          kept += 1
        }
      }
      scratch.active.removeSubrange(kept...)
      let slot = scratch.free.popLast() ?? slots
      if slot == slots { slots += 1 }
      scratch.slotOf[Int(r)] = slot
      scratch.active.append((scratch.lastUse[Int(r)], slot))
    }
    let (blockRows, chunkRows) = cutRows(liveRegisters: Int(slots))
    let block = panelColumns > 0 ? Summation.blockLength : blockRows * max(columns, 1)
    let slotBytes = ArenaAllocator.rounded(block * 8) + 64
    for r in scratch.order {
      registers[Int(r)].place.byteOffset = Int(scratch.slotOf[Int(r)]) * slotBytes
    }
    let chunks = rows == 0 ? 1 : (rows + chunkRows - 1) / chunkRows
    return (blockRows, chunkRows, chunks, Int(slots) * slotBytes)
  }

  private mutating func findUses() {
    scratch.firstUse.removeAll(keepingCapacity: true)
    scratch.lastUse.removeAll(keepingCapacity: true)
    scratch.slotOf.removeAll(keepingCapacity: true)
    for _ in registers {
      scratch.firstUse.append(.max)
      scratch.lastUse.append(-1)
      scratch.slotOf.append(-1)
    }
    func use(_ r: UInt16, _ index: Int32, _ scratch: inout ScratchScan) {
      if r == LoopKernel.Instruction.noRegister { return }
      scratch.lastUse[Int(r)] = index
      scratch.firstUse[Int(r)] = min(scratch.firstUse[Int(r)], index)
    }
    for (index, instruction) in code.enumerated() {
      use(instruction.dst, Int32(index), &scratch)
      if instruction.kind == .load { continue }
      use(instruction.a, Int32(index), &scratch)
      use(instruction.b, Int32(index), &scratch)
      use(instruction.c, Int32(index), &scratch)
    }
    let end = Int32(code.count)
    for load in loads where load.kind == .splat {
      // Filled once per chunk.
      scratch.firstUse[load.register] = -1
      scratch.lastUse[load.register] = end
    }
    for store in stores { scratch.lastUse[store.register] = end }
    for terminal in terminals { scratch.lastUse[terminal.register] = end }
    if let product {
      scratch.firstUse[product.register] = -1
      scratch.lastUse[product.register] = max(scratch.lastUse[product.register], 0)
    }
  }

  /// Rows per block, for the first-level cache, and per chunk, for the threads.
  ///
  /// A block or chunk that is not the last ends on a multiple of 8 elements: kernels write whole
  /// vectors.
  private mutating func cutRows(liveRegisters: Int) -> (block: Int, chunk: Int) {
    if panelColumns > 0 { return (1, rows) }
    let width = max(columns, 1)
    let unit = width % 8 == 0 ? 1 : width % 4 == 0 ? 2 : width % 2 == 0 ? 4 : 8
    func rounded(_ n: Int, to unit: Int) -> Int { (n + unit - 1) / unit * unit }
    let target = liveRegisters <= 8 ? 512 : liveRegisters <= 16 ? 256 : 128
    var block = rounded(max(target / width, 1), to: unit)
    var chunk = rounded(plainChunk, to: unit)
    if let product {
      let perRow = 2 * product.n * terms.reduce(0) { $0 + $1.k }
      // Few rows read all of the right operand for little work: tall products get tall chunks.
      let least = rows >= 512 ? 64 : rows >= 64 ? 32 : 4
      chunk = rounded(max(80_000 / max(perRow, 1), least), to: max(unit, 4))
      if code.isEmpty, stores.isEmpty, terminals.isEmpty {
        block = chunk
      } else {
        block = min(rounded(max(4096 / width, 16), to: unit), chunk)
        if width * block > 16_384 {
          self.product!.wholeChunk = registers[product.register].isDirect
        }
      }
    }
    // At most 64 chunks: more would not be balanced any better.
    chunk = max(chunk, rounded((rows + 63) / 64, to: max(unit, 4)))
    chunk = rounded(chunk, to: min(block, max(rows, 1)))
    chunk = rounded(chunk, to: unit)
    // Every chunk holds whole result rows and whole parts of sums.
    var period = 1
    for terminal in terminals { period = lcm(period, chunkUnit(terminal), limit: rows) }
    if period > 1 { chunk = rounded(chunk, to: lcm(period, unit, limit: rows)) }
    if block >= rows { block = max(rows, 1) }
    if chunk >= rows { chunk = max(rows, 1) }
    return (min(block, chunk), chunk)
  }

  /// Columns of a panel where rows are too long to be worked on at once, else 0.
  ///
  /// Enough panels for the threads to share, long enough that to begin one doesn't count, and whole
  /// parts of sums.
  var panelColumns: Int {
    if !isPanelled { return 0 }
    let part = Summation.blockLength
    return min(max((columns / 16 + part - 1) / part * part, part), 8 * part)
  }

  /// Panels per chunk; 0 where sums of columns want all rows of a panel.
  var chunkPanels: Int {
    if !isPanelled || terminals.contains(where: { $0.kind == .columns }) { return 0 }
    let panels = rows * ((columns + panelColumns - 1) / panelColumns)
    return max(32_768 / panelColumns, (panels + 63) / 64)
  }

  private var isPanelled: Bool { rows > 0 && planner.groups[g].isPanelled }

  /// Columns per chunk where a product is split by columns, else 0.
  ///
  /// Rows of B that lie pages apart are packed before they are used, each chunk its own columns: so
  /// nothing is packed twice. What is fused with a product goes by rows, and so does a batch.
  var chunkColumns: Int {
    guard let product, code.isEmpty, stores.isEmpty, terminals.isEmpty, product.m == rows,
      rows >= 64, product.n * product.type.size >= 2048, terms.allSatisfy({ $0.k >= 64 })
    else { return 0 }
    // Narrow enough to be shared evenly by the threads that there are at first, and for their packed part of
    // B to stay in a second-level cache; wide enough to be worth another look at all of A. How columns are
    // shared does not show in their bits.
    let shares = 2 * min(Settings.threads, 8)
    return min(max((product.n / shares + 63) / 64 * 64, 128), 256)
  }

  /// The least common multiple, or `limit` if it is larger.
  private func lcm(_ a: Int, _ b: Int, limit: Int) -> Int {
    var (x, y) = (a, b)
    while y != 0 { (x, y) = (y, x % y) }
    let (product, overflow) = (a / x).multipliedReportingOverflow(by: b)
    return overflow ? max(limit, 1) : min(product, max(limit, 1))
  }
}
