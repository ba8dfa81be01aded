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
      for t in 0..<native.terminals.count where native.terminals[t] == .columns {
        n = min(n, beginRows(t, row, context))
      }
      if native.isPerBlock || terminals.count > 0 {
        bindDirect(native, row, pointers, context)
        if hasProduct, !product.wholeChunk { multiply(from: row, to: row &+ n, pointers, context) }
        for i in 0..<native.loads.count {
          let load = loads.base + native.loads[i]
          let register = registers.base + load.pointee.register
          let isPerRow = register.pointee.isPerRow
          let (start, count) = isPerRow ? (row, n) : (row &* columns, n &* columns)
          let target = pointers[load.pointee.register]
          if load.pointee.kind == .splat {
            Tile.fill(
              register.pointee.type, bits: context.scalars[load.pointee.number], dst: target,
              count: count)
          } else {
            fill(load, start: start, count, target, context)
          }
        }
      }
      bind(native, row, frame, pointers, context)
      let count = n &* columns
      frame.storeBytes(of: 0, toByteOffset: LoopFrame.resume, as: Int.self)
      frame.storeBytes(of: count, toByteOffset: LoopFrame.elementCount, as: Int.self)
      frame.storeBytes(
        of: native.startsInRows ? row &* columns % native.rowLength : 0,
        toByteOffset: LoopFrame.startColumn, as: Int.self)
      call(native.routine, frame)
      for t in 0..<native.terminals.count {
        switch native.terminals[t] {
        case .portable: accumulate(t, row, n, pointers, context)
        case .columns: endRows(t, row, n, context)
        case .parts: combineParts(t, count, context)
        }
      }
      row &+= n
    }
    for t in 0..<terminals.count { finishChunk(t, context) }
  }

  /// Calls the code until it needs no more help.
  @inline(__always)
  private func call(_ routine: NativeRoutine, _ frame: UnsafeMutableRawPointer) {
    typealias Code = @convention(c) (UnsafeMutableRawPointer) -> Int
    let code = unsafeBitCast(routine.entry, to: Code.self)
    var request = code(frame)
    while request != 0 {
      NativeHelp.answer(LoopRequest(bits: request), frame)
      request = code(frame)
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
    let first = row &* columns
    for i in 0..<native.arguments.count {
      let argument = native.arguments.base + i
      let place = argument.pointee.place
      switch argument.pointee.kind {
      case .elements: table[i] = context.address(place) + first &* argument.pointee.step
      case .rows: table[i] = context.address(place) + row &* argument.pointee.step
      case .codeRows:
        table[i] = context.address(place) + first / native.rowLength &* argument.pointee.step
      case .fixed: table[i] = context.address(place)
      case .register: table[i] = pointers[argument.pointee.number]
      case .scalar:
        table[i] = UnsafeMutableRawPointer(
          mutating: context.scalars + argument.pointee.number)
      case .sums, .parts: table[i] = sums(argument, first, context)
      }
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
    if total.pointee.rest == 0 {
      let isParted = terminal.pointee.partialCount > 0
      total.pointee.rest =
        isParted ? min(terminal.pointee.part, rows &- row) : terminal.pointee.period
      fillNeutral(terminal, UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead)
    }
    return total.pointee.rest
  }

  /// What changes no bit of a number that it is combined with: sums begin with -0.
  private func fillNeutral(
    _ terminal: UnsafePointer<Terminal>, _ sums: UnsafeMutableRawPointer
  ) {
    let opcode = terminal.pointee.opcode
    func fill<T>(_ value: T) {
      sums.assumingMemoryBound(to: T.self).update(repeating: value, count: columns)
    }
    switch terminal.pointee.type {
    case .float32:
      fill(opcode == .sum ? -0.0 as Float : opcode == .max ? -.infinity : .infinity)
    case .float64:
      fill(opcode == .sum ? -0.0 : opcode == .max ? -Double.infinity : Double.infinity)
    case .int32: fill(opcode == .sum ? 0 : opcode == .max ? Int32.min : Int32.max)
    default: fill(opcode == .sum ? 0 : opcode == .max ? Int64.min : Int64.max)
    }
  }

  /// Moves a complete row of sums where it belongs.
  private func endRows(_ t: Int, _ row: Int, _ n: Int, _ context: RunContext) {
    let terminal = terminals.base + t
    let total = accumulator(t, context)
    total.pointee.rest &-= n
    if total.pointee.rest > 0 { return }
    keepSums(
      terminal.pointee, UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead,
      lastRow: row &+ n &- 1, context)
  }

  /// Takes in the results of parts that have no place of their own, in ascending order.
  private func combineParts(_ t: Int, _ count: Int, _ context: RunContext) {
    let terminal = terminals.base + t
    if terminal.pointee.partialCount > 0 { return }
    let total = accumulator(t, context)
    total.pointee.combine(
      terminal.pointee.opcode, terminal.pointee.type,
      UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead,
      count: (count &+ Summation.blockLength &- 1) / Summation.blockLength)
  }
}
