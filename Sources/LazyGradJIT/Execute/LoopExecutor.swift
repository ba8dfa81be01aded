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

  @inline(__always)
  func address(_ place: Place) -> UnsafeMutableRawPointer {
    bases[Int(place.base)] + place.byteOffset
  }
}

/// The running result of a reduction over a whole loop. It stands in scratch memory, before the
/// running sums of a reduction to columns.
private struct Accumulator {
  var double = 0.0
  var int: Int64 = 0
  /// Rows until the next result row begins.
  var rest = 0
  var isStarted = false
}

extension LoopKernel {
  /// Works off one chunk of rows.
  @inline(__always)
  func run(chunk: Int, _ context: RunContext) {
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
    if hasSplats { splat(min(blockRows, endRow &- firstRow), pointers, context) }
    for t in 0..<terminals.count { accumulator(t, context).initialize(to: Accumulator()) }
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
    for t in 0..<terminals.count { finishChunk(t, chunk, context) }
  }

  private func splat(
    _ block: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    for l in 0..<loads.count where loads[l].kind == .splat {
      Tile.fill(
        registers[loads[l].register].type, bits: context.scalars[loads[l].number],
        dst: pointers[loads[l].register], count: max(block * columns, block))
    }
  }

  @inline(__always)
  private func execute(
    _ instruction: UnsafePointer<Instruction>, _ row: Int, _ n: Int,
    _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>, _ context: RunContext
  ) {
    let i = instruction.pointee
    let count = i.isPerRow ? n : n &* columns
    let dst = pointers[Int(i.dst)]
    switch i.kind {
    case .tile:
      let b = i.b == Instruction.noRegister ? nil : pointers[Int(i.b)]
      let c = i.c == Instruction.noRegister ? nil : pointers[Int(i.c)]
      Tile.run(
        i.opcode, type: i.type, to: i.resultType, dst: dst, a: pointers[Int(i.a)], b: b, c: c,
        count: count)
    case .load:
      fill(loads.base + Int(i.a), start: i.isPerRow ? row : row &* columns, count, dst, context)
    case .reduceRows:
      Reduce.rows(
        i.opcode, type: i.type, src: pointers[Int(i.a)], rows: n, columns: columns, dst: dst)
    case .expandRows:
      Tile.expandRows(
        elementSize: i.type.size, src: pointers[Int(i.a)], rows: n, columns: columns, dst: dst)
    }
  }

  private func fill(
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

  // MARK: Products

  private func multiply(
    from start: Int, to end: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let size = product.type.size
    let c = pointers[product.register]
    let segments = (context.scratch + layout.segments).assumingMemoryBound(to: MatmulSegment.self)
    var row = start
    while row < end {
      let batch = product.m == rows ? 0 : row / product.m
      let inner = row &- batch &* product.m
      let n = min(end &- row, product.m &- inner)
      for t in 0..<terms.count {
        let term = (terms.base + t).pointee
        let aBatch = term.aBatch < 0 ? 0 : batchOffsets[term.aBatch &+ batch]
        let bBatch = term.bBatch < 0 ? 0 : batchOffsets[term.bBatch &+ batch]
        segments[t] = MatmulSegment(
          a: context.address(term.a) + (aBatch &+ inner &* term.aRow) &* size,
          b: context.address(term.b) + bBatch &* size, k: term.k, aRow: term.aRow,
          aColumn: term.aColumn, bRow: term.bRow)
      }
      Matmul.run(
        type: product.type, m: n, n: product.n, segments: segments, segmentCount: terms.count,
        c: c + (row &- start) &* product.n &* size, cRow: product.n, accumulate: false)
      row += n
    }
  }

  // MARK: Reductions over the loop

  /// Whether chunks leave partial results that `finish` combines.
  @inline(__always)
  func hasPartials(_ terminal: Terminal) -> Bool {
    chunkCount > 1 && (terminal.kind == .everything || terminal.period == rows)
  }

  /// Whether `finish` has anything to do.
  var needsFinish: Bool {
    if chunkCount == 1 { return false }
    for t in 0..<terminals.count where hasPartials(terminals[t]) { return true }
    return false
  }

  @inline(__always)
  private func accumulator(_ t: Int, _ context: RunContext) -> UnsafeMutablePointer<Accumulator> {
    (context.scratch + (layout.accumulators &+ t &* layout.accumulatorStride))
      .assumingMemoryBound(to: Accumulator.self)
  }

  private func accumulate(
    _ t: Int, _ row: Int, _ n: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let terminal = (terminals.base + t).pointee
    let source = pointers[terminal.register]
    let total = accumulator(t, context)
    if terminal.kind == .everything {
      add(terminal, source, terminal.isPerRow ? n : n * columns, &total.pointee)
      return
    }
    let sums = UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
    let bytes = columns &* terminal.type.size
    let combine = terminal.combiner
    for k in 0..<n {
      let line = source + k &* bytes
      if total.pointee.rest == 0 {
        // A chunk begins with a result row or, where there are partial results, inside the only one.
        memcpy(sums, line, bytes)
        total.pointee.rest = terminal.period
      } else {
        Tile.run(
          combine, type: terminal.type, to: terminal.type, dst: sums, a: sums, b: line, c: nil,
          count: columns)
      }
      total.pointee.rest &-= 1
      if total.pointee.rest == 0, !hasPartials(terminal) {
        let result = (row + k) / terminal.period
        memcpy(context.address(terminal.place) + result * bytes, sums, bytes)
      }
    }
  }

  private func add(
    _ terminal: Terminal, _ source: UnsafeMutableRawPointer, _ count: Int,
    _ total: inout Accumulator
  ) {
    if count == 0 { return }
    if terminal.type.isFloating {
      switch terminal.opcode {
      case .sum: total.double += Reduce.sum(type: terminal.type, source, count: count)
      case .max:
        total.merge(Reduce.max(type: terminal.type, source, count: count), isMax: true)
      default:
        total.merge(Reduce.min(type: terminal.type, source, count: count), isMax: false)
      }
    } else {
      switch terminal.opcode {
      case .sum: total.int &+= Reduce.integerSum(type: terminal.type, source, count: count)
      case .max:
        total.merge(Reduce.integerMax(type: terminal.type, source, count: count), isMax: true)
      default:
        total.merge(Reduce.integerMin(type: terminal.type, source, count: count), isMax: false)
      }
    }
    total.isStarted = true
  }

  private func finishChunk(_ t: Int, _ chunk: Int, _ context: RunContext) {
    let terminal = (terminals.base + t).pointee
    if rows == 0 {
      // The sum of nothing; the recorder lets no other reduction of nothing through.
      memset(context.address(terminal.place), 0, terminal.resultCount * terminal.type.size)
      return
    }
    let total = accumulator(t, context)
    if hasPartials(terminal) {
      let bytes = partialBytes(terminal)
      let slot = context.address(terminal.partials) + chunk * ArenaAllocator.rounded(bytes)
      if terminal.kind == .columns {
        memcpy(slot, UnsafeRawPointer(total) + ScratchLayout.accumulatorHead, bytes)
      } else if terminal.type.isFloating {
        slot.storeBytes(of: total.pointee.double, as: Double.self)
      } else {
        slot.storeBytes(of: total.pointee.int, as: Int64.self)
      }
    } else if terminal.kind == .everything {
      total.pointee.store(terminal.type, context.address(terminal.place))
    }
  }

  private func partialBytes(_ terminal: Terminal) -> Int {
    terminal.kind == .everything ? 8 : columns * terminal.type.size
  }

  /// Combines the chunks' partial results in ascending order.
  func finish(_ context: RunContext) {
    for t in 0..<terminals.count where hasPartials(terminals[t]) {
      let terminal = terminals[t]
      let bytes = partialBytes(terminal)
      let step = ArenaAllocator.rounded(bytes)
      let first = context.address(terminal.partials)
      if terminal.kind == .everything {
        var total = Accumulator()
        for chunk in 0..<chunkCount {
          let slot = first + chunk * step
          if terminal.type.isFloating {
            let x = slot.load(as: Double.self)
            if terminal.opcode == .sum {
              total.double += x
            } else {
              total.merge(x, isMax: terminal.opcode == .max)
            }
          } else {
            let x = slot.load(as: Int64.self)
            if terminal.opcode == .sum {
              total.int &+= x
            } else {
              total.merge(x, isMax: terminal.opcode == .max)
            }
          }
          total.isStarted = true
        }
        total.store(terminal.type, context.address(terminal.place))
      } else {
        for chunk in 1..<chunkCount {
          Tile.run(
            terminal.combiner, type: terminal.type, to: terminal.type, dst: first, a: first,
            b: first + chunk * step, c: nil, count: columns)
        }
        memcpy(context.address(terminal.place), first, bytes)
      }
    }
  }
}

extension Accumulator {
  /// The greater or the smaller; not-a-number wins.
  fileprivate mutating func merge(_ x: Double, isMax: Bool) {
    if !isStarted || x.isNaN || (!double.isNaN && (isMax ? x > double : x < double)) { double = x }
  }

  fileprivate mutating func merge(_ x: Int64, isMax: Bool) {
    if !isStarted || (isMax ? x > int : x < int) { int = x }
  }

  fileprivate func store(_ type: ScalarType, _ address: UnsafeMutableRawPointer) {
    switch type {
    case .float64: address.storeBytes(of: double, as: Double.self)
    case .float32: address.storeBytes(of: Float(double), as: Float.self)
    case .int64: address.storeBytes(of: int, as: Int64.self)
    case .int32: address.storeBytes(of: Int32(truncatingIfNeeded: int), as: Int32.self)
    case .uint8: address.storeBytes(of: UInt8(truncatingIfNeeded: int), as: UInt8.self)
    case .bool: address.storeBytes(of: int != 0 ? 1 : 0, as: UInt8.self)
    }
  }
}
