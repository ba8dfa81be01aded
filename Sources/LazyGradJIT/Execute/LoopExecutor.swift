// Runs loop kernels on tier 0: block by block, one vector loop per instruction. Uses Plan and
// Kernels.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What a run binds: addresses, scalars and a thread's scratch memory.
struct RunContext {
  /// Base addresses by `Place.base`.
  let bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
  /// The bits of the run-time scalars.
  let scalars: UnsafePointer<UInt64>
  /// This thread's scratch memory.
  var scratch: UnsafeMutableRawPointer
  /// Whether this thread runs all chunks, in order.
  let isAlone: Bool

  @inline(__always)
  func address(_ place: Place) -> UnsafeMutableRawPointer {
    bases[Int(place.base)] + place.byteOffset
  }
}

extension LoopKernel {
  /// Works off one chunk of rows.
  @inline(__always)
  func run(chunk: Int, _ context: RunContext) {
    if chunkColumns > 0 {
      multiplyColumns(chunk, context)
      return
    }
    if isColumnSearch {
      searchColumns(chunk: chunk, context)
      return
    }
    if panelColumns > 0 {
      runPanels(chunk: chunk, context)
      return
    }
    if let uncountedLoop {
      uncountedLoop._withUnsafeGuaranteedRef { run($0, chunk: chunk, context) }
      return
    }
    let firstRow = chunk &* chunkRows
    let endRow = min(rows, firstRow &+ chunkRows)
    let pointers = context.scratch.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    let base = context.scratch + layout.registers
    for r in 0..<registers.count {
      let register = registers.base + r
      let place = register.pointee.place
      pointers[r] =
        register.pointee.isDirect
        ? context.address(place) + firstRow &* register.pointee.rowBytes
        : base + place.byteOffset
    }
    if hasSplats {
      let block = min(blockRows, endRow &- firstRow)
      splat(max(block &* columns, block), pointers, context)
    }
    startTerminals(firstRow: firstRow, context)
    if product.wholeChunk { multiply(from: firstRow, to: endRow, pointers, context) }
    var row = firstRow
    while row < endRow {
      let n = min(blockRows, endRow &- row)
      if hasProduct, !product.wholeChunk { multiply(from: row, to: row &+ n, pointers, context) }
      for i in 0..<code.count { execute(code.base + i, row, n, pointers, context) }
      for s in 0..<stores.count {
        let store = stores.base + s
        let size = store.pointee.elementSize
        memcpy(
          context.address(store.pointee.place) + row &* size, pointers[store.pointee.register],
          n &* size)
      }
      for t in 0..<terminals.count { accumulate(t, row, n, pointers, context) }
      row += n
      if row < endRow {
        for r in 0..<registers.count { pointers[r] += n &* registers.base[r].rowBytes }
      }
    }
    for t in 0..<terminals.count { finishChunk(t, context) }
  }

  func splat(
    _ count: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    for l in 0..<loads.count where loads[l].kind == .splat {
      Tile.fill(
        registers[loads[l].register].type, bits: context.scalars[loads[l].number],
        dst: pointers[loads[l].register], count: count)
    }
  }

  @inline(__always)
  private func execute(
    _ instruction: UnsafePointer<Instruction>, _ row: Int, _ n: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let i = instruction.pointee
    let dst = pointers[Int(i.dst)]
    switch i.kind {
    case .tile, .load:
      execute(
        instruction, start: i.isPerRow ? row : row &* columns,
        count: i.isPerRow ? n : n &* columns, pointers, context)
    case .reduceRows:
      Reduce.rows(
        i.opcode, type: i.type, src: pointers[Int(i.a)], rows: n, columns: columns, dst: dst)
    case .expandRows:
      Tile.expandRows(
        elementSize: i.type.size, src: pointers[Int(i.a)], rows: n, columns: columns, dst: dst)
    }
  }

  /// An instruction that goes element by element.
  @inline(__always)
  func execute(
    _ instruction: UnsafePointer<Instruction>, start: Int, count: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let i = instruction.pointee
    let dst = pointers[Int(i.dst)]
    if i.kind == .load {
      fill(loads.base + Int(i.a), start: start, count, dst, context)
      return
    }
    let b = i.b == Instruction.noRegister ? nil : pointers[Int(i.b)]
    let c = i.c == Instruction.noRegister ? nil : pointers[Int(i.c)]
    if fusesMultiplyAdds, let steps = LoopInterpreter.steps(of: i.opcode, i.type) {
      steps.run(dst: dst, a: pointers[Int(i.a)], b: b, count: count)
      return
    }
    Tile.run(
      i.opcode, type: i.type, to: i.resultType, dst: dst, a: pointers[Int(i.a)], b: b, c: c,
      count: count)
  }

  func fill(
    _ load: UnsafePointer<Load>, start: Int, _ count: Int, _ dst: UnsafeMutableRawPointer,
    _ context: RunContext
  ) {
    load.pointee.layout.unsafelyUnwrapped._withUnsafeGuaranteedRef { layout in
      if load.pointee.kind == .gather {
        Strided.gather(
          elementSize: load.pointee.elementSize, from: context.address(load.pointee.place),
          layout: layout, start: start, count: count, to: dst)
      } else {
        Tile.positions(
          last: load.pointee.number, layout: layout, start: start, count: count,
          dst: dst.assumingMemoryBound(to: Int64.self))
      }
    }
  }
}
