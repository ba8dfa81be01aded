// Runs loops whose rows are too long for the caches: reductions of them and over them, with what was
// fused before. Uses Plan, Kernels and Codegen.
//
//              panel 0      panel 1     panel 2        A row is worked off panel by panel, a panel in
//     row 0  |----------->|----------->|------>|       slices that are parts of sums: whatever is
//     row 1  |----------->|----------->|------>|       computed on the way stays in the first-level
//              slices of 512                           cache, and nothing is as large as the operand.
//
// Reductions over the rows keep one panel's running results; those of the rows leave one result per
// slice, which `finish` combines.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Some neighbouring elements of a row.
private struct RowRun {
  let row: Int
  /// The first column, and how many.
  let column: Int
  let count: Int
}

extension LoopKernel {
  /// Elements that are computed together: a part of a sum.
  static let sliceLength = Summation.blockLength

  /// Slices of a row.
  var slicesPerRow: Int { (columns + Self.sliceLength - 1) / Self.sliceLength }

  /// Works off one chunk: a panel of all rows where sums of columns are wanted, else some panels one
  /// after the other.
  func runPanels(chunk: Int, _ context: RunContext) {
    let pointers = context.scratch.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    for r in 0..<registers.count where !registers[r].isDirect {
      pointers[r] = context.scratch + layout.registers + registers[r].place.byteOffset
    }
    if let nativeLoop {
      let memory = context.scratch + layout.byteCount
      for i in 0..<nativeLoop.registers.count {
        let placed = nativeLoop.registers[i]
        pointers[placed.register] = memory + placed.offset
      }
    } else if hasSplats {
      splat(Self.sliceLength, pointers, context)
    }
    startTerminals(firstRow: 0, context)
    let perRow = (columns &+ panelColumns &- 1) / panelColumns
    func run(_ row: Int, _ panel: Int) {
      let column = panel &* panelColumns
      let count = min(panelColumns, columns &- column)
      self.run(RowRun(row: row, column: column, count: count), pointers, context)
    }
    if chunkPanels > 0 {
      let first = chunk &* chunkPanels
      for k in first..<min(first &+ chunkPanels, rows &* perRow) { run(k / perRow, k % perRow) }
    } else {
      for t in 0..<terminals.count {
        let total = accumulator(t, context)
        total.pointee.firstColumn = chunk &* panelColumns
        total.pointee.width = min(panelColumns, columns &- chunk &* panelColumns)
      }
      for row in 0..<rows { run(row, chunk) }
    }
  }

  private func run(
    _ panel: RowRun, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    for t in 0..<terminals.count where terminals[t].kind == .columns {
      let total = accumulator(t, context)
      if total.pointee.runRest > 0 { continue }
      beginRun(terminals[t], panel.row, total)
      total.pointee.isFresh = true
      if let nativeLoop, nativeLoop.terminals[t] == .columns {
        fillNeutral(
          terminals.base + t, UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead,
          count: panel.count)
      }
    }
    // Without help from portable kernels machine code does a panel in one call.
    let isWhole = nativeLoop.map { !$0.isPerBlock } ?? false
    let step = isWhole ? panel.count : Self.sliceLength
    for done in stride(from: 0, to: panel.count, by: step) {
      let slice = RowRun(
        row: panel.row, column: panel.column &+ done, count: min(step, panel.count &- done))
      if let nativeLoop {
        run(nativeLoop, slice, from: panel.column, pointers, context)
      } else {
        run(slice, from: panel.column, pointers, context)
      }
    }
    for t in 0..<terminals.count where terminals[t].kind == .columns {
      let total = accumulator(t, context)
      total.pointee.isFresh = false
      endRows(terminals[t], 1, lastRow: panel.row, total, context)
    }
  }

  // MARK: A slice

  /// - Parameter first: the panel's first column.
  private func run(
    _ slice: RowRun, from first: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let start = slice.row &* columns &+ slice.column
    for r in 0..<registers.count where registers[r].isDirect {
      pointers[r] = context.address(registers[r].place) + start &* registers[r].type.size
    }
    for i in 0..<code.count {
      execute(code.base + i, start: start, count: slice.count, pointers, context)
    }
    for s in 0..<stores.count {
      let store = stores[s]
      memcpy(
        context.address(store.place) + start &* store.elementSize, pointers[store.register],
        slice.count &* store.elementSize)
    }
    for t in 0..<terminals.count { accumulate(t, slice, from: first, pointers, context) }
  }

  private func run(
    _ native: NativeLoop, _ slice: RowRun, from first: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let start = slice.row &* columns &+ slice.column
    for t in 0..<terminals.count where native.terminals[t] == .portable {
      let r = terminals[t].register
      if registers[r].isDirect {
        pointers[r] = context.address(registers[r].place) + start &* registers[r].type.size
      }
    }
    // What is stored the code writes where it belongs.
    for s in 0..<stores.count {
      let store = stores[s]
      pointers[store.register] = context.address(store.place) + start &* store.elementSize
    }
    for i in 0..<native.loads.count {
      preload(native.loads[i], start: start, count: slice.count, pointers, context)
    }
    let frame = context.scratch + layout.byteCount + native.registerBytes
    let table = (frame + LoopFrame.pointers).assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    for i in 0..<native.arguments.count {
      let argument = native.arguments.base + i
      let t = argument.pointee.number
      switch argument.pointee.kind {
      case .sums:
        table[i] =
          UnsafeMutableRawPointer(accumulator(t, context)) + ScratchLayout.accumulatorHead
          + (slice.column &- first) &* terminals[t].type.size
      case .parts: table[i] = partial(t, slice, context)
      default: bind(native, i, row: slice.row, first: start, table, pointers, context)
      }
    }
    LoopCall.run(native.routine.entry, count: slice.count, startColumn: 0, frame)
    for t in 0..<terminals.count where native.terminals[t] == .portable {
      accumulate(t, slice, from: first, pointers, context)
    }
  }

  // MARK: Terminals

  private func accumulate(
    _ t: Int, _ slice: RowRun, from first: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let terminal = terminals.base + t
    let type = terminal.pointee.type
    let source = pointers[terminal.pointee.register]
    if terminal.pointee.kind == .columns {
      let total = accumulator(t, context)
      let sums =
        UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
        + (slice.column &- first) &* type.size
      if total.pointee.isFresh {
        memcpy(sums, source, slice.count &* type.size)
      } else {
        Tile.run(
          terminal.pointee.reducer.combiner, type: type, to: type, dst: sums, a: sums, b: source,
          c: nil,
          count: slice.count)
      }
      return
    }
    let slot = partial(t, slice, context)
    if terminal.pointee.search != nil {
      var position = 0
      Reduce.rows(
        terminal.pointee.opcode, type: type, src: source, rows: 1, columns: slice.count,
        dst: &position)
      slot.storeBytes(
        of: Accumulator(element: source + position &* type.size, type).bits(type), as: UInt64.self)
      slot.storeBytes(of: slice.column &+ position, toByteOffset: 8, as: Int.self)
      return
    }
    let result = Accumulator(terminal.pointee.reducer, type, part: source, count: slice.count)
    slot.storeBytes(of: result.bits(type), as: UInt64.self)
  }

  /// Where the result of a slice is kept.
  private func partial(
    _ t: Int, _ slice: RowRun, _ context: RunContext
  ) -> UnsafeMutableRawPointer {
    let number = slice.row &* slicesPerRow &+ slice.column / Self.sliceLength
    return context.address(terminals[t].partials) + number &* terminals[t].partialBytes
  }

  /// Combines the results of the slices of every row.
  func finishRows(
    _ terminal: Terminal, _ partials: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let place = context.address(terminal.place)
    let rowBytes = slicesPerRow &* terminal.partialBytes
    for row in 0..<rows {
      let results = partials + row &* rowBytes
      if let search = terminal.search {
        let position = foundPosition(search, terminal.type, results)
        place.storeBytes(of: position, toByteOffset: 8 &* row, as: Int.self)
      } else {
        let total = Accumulator(
          terminal.reducer, terminal.type, partials: results, count: slicesPerRow)
        total.store(terminal.type, place + row &* terminal.type.size)
      }
    }
  }

  /// The first position of the extreme among those of slices; the first NaN if there is one.
  private func foundPosition(
    _ search: Extreme, _ type: ScalarType, _ found: UnsafeMutableRawPointer
  ) -> Int {
    var best = 0
    for k in 1..<slicesPerRow {
      if type.isFloating {
        let value = (found + 16 &* k).load(as: Double.self)
        let known = (found + 16 &* best).load(as: Double.self)
        if known.isNaN { break }
        if value.isNaN || search.beats(value, known) { best = k }
      } else if search.beats(
        (found + 16 &* k).load(as: Int64.self), (found + 16 &* best).load(as: Int64.self))
      {
        best = k
      }
    }
    return (found + 16 &* best).load(fromByteOffset: 8, as: Int.self)
  }
}
