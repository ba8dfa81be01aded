// Runs loop kernels that have machine code: binds the arguments, and does around the code what stays
// portable. Uses Plan, Kernels and Codegen.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension LoopKernel {
  /// Works off one chunk of rows.
  func run(_ native: NativeLoop, chunk: Int, _ context: RunContext) {
    let firstRow = chunk &* chunkRows
    let endRow = min(rows, firstRow &+ chunkRows)
    let pointers = context.scratch.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    let memory = context.scratch + layout.byteCount
    let frame = memory + native.registerBytes
    for i in 0..<native.registers.count {
      let placed = native.registers[i]
      pointers[placed.register] = memory + placed.offset
    }
    if terminals.count > 0 { startTerminals(firstRow: firstRow, context) }
    if product.wholeChunk {
      bindDirect(native, firstRow, pointers, context)
      multiply(from: firstRow, to: endRow, pointers, context)
    }
    var row = firstRow
    while row < endRow {
      var n = native.isPerBlock ? min(blockRows, endRow &- row) : endRow &- row
      if native.groupLength > 0 {
        n = min(n, (native.groupLength &- row &* columns % native.groupLength) / columns)
      }
      for t in 0..<native.terminals.count where native.terminals[t] == .columns {
        n = min(n, beginRows(t, row, context))
      }
      if native.isPerBlock || terminals.count > 0 {
        bindDirect(native, row, pointers, context)
        if hasProduct, !product.wholeChunk { multiply(from: row, to: row &+ n, pointers, context) }
        for i in 0..<native.loads.count {
          let isPerRow = registers[loads[native.loads[i]].register].isPerRow
          preload(
            native.loads[i], start: isPerRow ? row : row &* columns,
            count: isPerRow ? n : n &* columns, pointers, context)
        }
      }
      bind(native, row, frame, pointers, context)
      LoopCall.run(
        native.routine.entry, count: n &* columns,
        startColumn: native.startsInRows ? row &* columns % native.rowLength : 0, frame)
      for t in 0..<native.terminals.count {
        switch native.terminals[t] {
        case .portable: accumulate(t, row, n, pointers, context)
        case .columns:
          endRows(
            (terminals.base + t).pointee, n, lastRow: row &+ n &- 1, accumulator(t, context),
            context)
        case .parts: takePart(t, context)
        }
      }
      row &+= n
    }
    for t in 0..<terminals.count { finishChunk(t, context) }
  }

  /// Fills a register that the portable kernels load.
  @inline(__always)
  func preload(
    _ l: Int, start: Int, count: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let load = loads.base + l
    let target = pointers[load.pointee.register]
    if load.pointee.kind == .splat {
      Tile.fill(
        registers[load.pointee.register].type, bits: context.scalars[load.pointee.number],
        dst: target, count: count)
    } else {
      fill(load, start: start, count, target, context)
    }
  }

  // MARK: Arguments

  /// The addresses of arrays that the portable part of the work reads or writes.
  private func bindDirect(
    _ native: NativeLoop, _ row: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    if hasProduct, registers[product.register].isDirect {
      bindDirect(product.register, row, pointers, context)
    }
    for t in 0..<terminals.count where native.terminals[t] == .portable {
      let register = terminals[t].register
      if registers[register].isDirect { bindDirect(register, row, pointers, context) }
    }
  }

  @inline(__always)
  private func bindDirect(
    _ r: Int, _ row: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let register = registers.base + r
    pointers[r] =
      context.address(register.pointee.place) + row &* register.pointee.rowBytes
  }

  private func bind(
    _ native: NativeLoop, _ row: Int, _ frame: UnsafeMutableRawPointer,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let table = (frame + LoopFrame.pointers).assumingMemoryBound(
      to: UnsafeMutableRawPointer.self)
    for i in 0..<native.arguments.count {
      bind(native, i, row: row, first: row &* columns, table, pointers, context)
    }
  }

  /// - Parameter first: the number of the first element.
  @inline(__always)
  func bind(
    _ native: NativeLoop, _ i: Int, row: Int, first: Int,
    _ table: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let argument = native.arguments.base + i
    let place = argument.pointee.place
    switch argument.pointee.kind {
    case .elements: table[i] = context.address(place) + first &* argument.pointee.step
    case .rows: table[i] = context.address(place) + row &* argument.pointee.step
    case .codeRows:
      table[i] = context.address(place) + argument.pointee.offset(ofRow: first / native.rowLength)
    case .fixed: table[i] = context.address(place)
    case .register: table[i] = pointers[argument.pointee.number]
    case .scalar:
      table[i] = UnsafeMutableRawPointer(mutating: context.scalars + argument.pointee.number)
    case .sums, .parts: table[i] = sums(argument, first, context)
    }
  }

  /// Where the code leaves the results of a terminal.
  private func sums(
    _ argument: UnsafePointer<NativeLoop.Argument>, _ first: Int, _ context: RunContext
  ) -> UnsafeMutableRawPointer {
    let t = argument.pointee.number
    if argument.pointee.kind == .parts, terminals[t].partialCount > 0 {
      return context.address(terminals[t].partials) + first / Summation.blockLength &* 8
    }
    return UnsafeMutableRawPointer(accumulator(t, context)) + ScratchLayout.accumulatorHead
  }

  // MARK: Terminals

  /// Prepares the running sums of columns; how many rows may go into them.
  private func beginRows(_ t: Int, _ row: Int, _ context: RunContext) -> Int {
    let terminal = terminals.base + t
    let total = accumulator(t, context)
    if total.pointee.runRest == 0 {
      beginRun(terminal.pointee, row, total)
      fillNeutral(
        terminal, UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead, count: columns)
    }
    return total.pointee.runRest
  }

  /// What changes no bit of a number that it is combined with: sums begin with -0.
  func fillNeutral(
    _ terminal: UnsafePointer<Terminal>, _ sums: UnsafeMutableRawPointer, count: Int
  ) {
    let reducer = terminal.pointee.reducer
    func fill<T>(_ value: T) {
      sums.assumingMemoryBound(to: T.self).update(repeating: value, count: count)
    }
    switch terminal.pointee.type {
    case .float32: fill(reducer.neutral(Float.self))
    case .float64: fill(reducer.neutral(Double.self))
    case .int32: fill(reducer.ofNothing(Int32.self))
    default: fill(reducer.ofNothing(Int64.self))
    }
  }

  /// Takes in the result of the only part, which has no place of its own.
  private func takePart(_ t: Int, _ context: RunContext) {
    let terminal = terminals.base + t
    if terminal.pointee.partialCount > 0 { return }
    let total = accumulator(t, context)
    total.pointee.take(
      terminal.pointee.type, UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead)
  }
}
