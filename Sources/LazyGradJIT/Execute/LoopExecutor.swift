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

/// The running result of a reduction over a whole loop.
private struct Accumulator {
  var double = 0.0
  var int: Int64 = 0
  var isStarted = false
}

extension LoopKernel {
  /// Scratch bytes that one thread needs: pointers, products' segments, accumulators, registers.
  var workBytes: Int {
    pointerBytes + segmentBytes + accumulatorBytes + scratchBytes + 64
  }
  private var pointerBytes: Int { (registers.count * 8 + 127) & ~63 }
  private var segmentBytes: Int {
    (terms.count * MemoryLayout<MatmulSegment>.stride + 63) & ~63
  }
  private var accumulatorBytes: Int { terminals.count * (columns * 8 + 192) }

  /// Works off one chunk of rows.
  func run(chunk: Int, _ context: RunContext) {
    let firstRow = chunk * chunkRows
    let endRow = min(rows, firstRow + chunkRows)
    let pointers = context.scratch.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    let segments = (context.scratch + pointerBytes).assumingMemoryBound(to: MatmulSegment.self)
    let sums = context.scratch + pointerBytes + segmentBytes
    let base = context.scratch + pointerBytes + segmentBytes + accumulatorBytes
    for r in 0..<registers.count {
      if registers[r].isDirect {
        let stride = registers[r].type.size * (registers[r].isPerRow ? 1 : columns)
        pointers[r] = context.address(registers[r].place) + firstRow * stride
      } else {
        pointers[r] = base + registers[r].place.byteOffset
      }
    }
    let block = min(blockRows, endRow - firstRow)
    for l in 0..<loads.count where loads[l].kind == .splat {
      Tile.fill(
        registers[loads[l].register].type, bits: context.scalars[loads[l].number],
        dst: pointers[loads[l].register], count: max(block * columns, block))
    }
    if let product, product.wholeChunk {
      multiply(product, from: firstRow, to: endRow, pointers[product.register], segments, context)
    }
    if terminals.count == 0 {
      runBlocks(firstRow, endRow, pointers, segments, context) { _, _ in }
    } else {
      withUnsafeTemporaryAllocation(of: Accumulator.self, capacity: terminals.count) { totals in
        totals.initialize(repeating: Accumulator())
        runBlocks(firstRow, endRow, pointers, segments, context) { row, n in
          for t in 0..<terminals.count {
            accumulate(t, row, n, pointers, sums + t * (columns * 8 + 192), &totals[t], context)
          }
        }
        for t in 0..<terminals.count {
          finishChunk(t, chunk, sums + t * (columns * 8 + 192), totals[t], context)
        }
      }
    }
  }

  @inline(__always)
  private func runBlocks(
    _ firstRow: Int, _ endRow: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ segments: UnsafeMutablePointer<MatmulSegment>, _ context: RunContext,
    _ afterBlock: (Int, Int) -> Void
  ) {
    var row = firstRow
    while row < endRow {
      let n = min(blockRows, endRow - row)
      if let product, !product.wholeChunk {
        multiply(product, from: row, to: row + n, pointers[product.register], segments, context)
      }
      for i in 0..<code.count { execute(i, row, n, pointers, context) }
      for s in 0..<stores.count {
        let store = stores[s]
        memcpy(
          context.address(store.place) + row * store.elementSize, pointers[store.register],
          n * store.elementSize)
      }
      afterBlock(row, n)
      row += n
      if row < endRow {
        for r in 0..<registers.count where registers[r].isDirect {
          pointers[r] += n * registers[r].type.size * (registers[r].isPerRow ? 1 : columns)
        }
      }
    }
  }

  @inline(__always)
  private func execute(
    _ i: Int, _ row: Int, _ n: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let instruction = code[i]
    let count = instruction.isPerRow ? n : n * columns
    let dst = pointers[Int(instruction.dst)]
    switch instruction.kind {
    case .tile:
      let b = instruction.b == Instruction.noRegister ? nil : pointers[Int(instruction.b)]
      let c = instruction.c == Instruction.noRegister ? nil : pointers[Int(instruction.c)]
      Tile.run(
        instruction.opcode, type: instruction.type, to: instruction.resultType, dst: dst,
        a: pointers[Int(instruction.a)], b: b, c: c, count: count)
    case .load:
      let load = loads[Int(instruction.a)]
      let start = instruction.isPerRow ? row : row * columns
      if load.kind == .gather {
        load.layout.unsafelyUnwrapped._withUnsafeGuaranteedRef {
          Strided.gather(
            elementSize: load.elementSize, from: context.address(load.place), layout: $0,
            start: start, count: count, to: dst)
        }
      } else {
        load.layout.unsafelyUnwrapped._withUnsafeGuaranteedRef {
          Tile.positions(
            last: load.number, layout: $0, start: start, count: count,
            dst: dst.assumingMemoryBound(to: Int64.self))
        }
      }
    case .reduceRows:
      Reduce.rows(
        instruction.opcode, type: instruction.type, src: pointers[Int(instruction.a)], rows: n,
        columns: columns, dst: dst)
    case .expandRows:
      Tile.expandRows(
        elementSize: instruction.type.size, src: pointers[Int(instruction.a)], rows: n,
        columns: columns, dst: dst)
    }
  }

  // MARK: Products

  private func multiply(
    _ product: Product, from start: Int, to end: Int, _ c: UnsafeMutableRawPointer,
    _ segments: UnsafeMutablePointer<MatmulSegment>, _ context: RunContext
  ) {
    let size = product.type.size
    var row = start
    while row < end {
      let batch = row / product.m
      let inner = row - batch * product.m
      let n = min(end - row, product.m - inner)
      for t in 0..<terms.count {
        let term = terms.base + t
        let aBatch = term.pointee.aBatch < 0 ? 0 : batchOffsets[term.pointee.aBatch + batch]
        let aStart = aBatch + inner * term.pointee.aRow
        let bStart = term.pointee.bBatch < 0 ? 0 : batchOffsets[term.pointee.bBatch + batch]
        segments[t] = MatmulSegment(
          a: context.address(term.pointee.a) + aStart * size,
          b: context.address(term.pointee.b) + bStart * size, k: term.pointee.k,
          aRow: term.pointee.aRow, aColumn: term.pointee.aColumn, bRow: term.pointee.bRow)
      }
      Matmul.run(
        type: product.type, m: n, n: product.n, segments: segments, segmentCount: terms.count,
        c: c + (row - start) * product.n * size, cRow: product.n, accumulate: false)
      row += n
    }
  }

  // MARK: Reductions over the loop

  /// Whether chunks leave partial results that `finish` combines.
  func hasPartials(_ terminal: Terminal) -> Bool {
    chunkCount > 1 && (terminal.kind == .everything || terminal.period == rows)
  }

  /// Whether `finish` has anything to do.
  var needsFinish: Bool {
    for t in 0..<terminals.count where hasPartials(terminals[t]) { return true }
    return false
  }

  private func accumulate(
    _ t: Int, _ row: Int, _ n: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ sums: UnsafeMutableRawPointer, _ total: inout Accumulator, _ context: RunContext
  ) {
    let terminal = terminals[t]
    let source = pointers[terminal.register]
    if terminal.kind == .everything {
      let count = terminal.isPerRow ? n : n * columns
      add(terminal, source, count, &total)
      return
    }
    let size = terminal.type.size
    let combine: Opcode =
      terminal.opcode == .sum ? .add : terminal.opcode == .max ? .maximum : .minimum
    for k in 0..<n {
      let line = source + k * columns * size
      let inPeriod = (row + k) % terminal.period
      if inPeriod == 0 || !total.isStarted {
        memcpy(sums, line, columns * size)
        total.isStarted = true
      } else {
        Tile.run(
          combine, type: terminal.type, to: terminal.type, dst: sums, a: sums, b: line, c: nil,
          count: columns)
      }
      if inPeriod == terminal.period - 1, !hasPartials(terminal) {
        let result = (row + k) / terminal.period
        memcpy(context.address(terminal.place) + result * columns * size, sums, columns * size)
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

  private func finishChunk(
    _ t: Int, _ chunk: Int, _ sums: UnsafeMutableRawPointer, _ total: Accumulator,
    _ context: RunContext
  ) {
    let terminal = terminals[t]
    if rows == 0 {
      // The sum of nothing; the recorder lets no other reduction of nothing through.
      memset(context.address(terminal.place), 0, terminal.resultCount * terminal.type.size)
      return
    }
    let bytes = terminal.kind == .everything ? 8 : columns * terminal.type.size
    if hasPartials(terminal) {
      let slot = context.address(terminal.partials) + chunk * ArenaAllocator.rounded(bytes)
      if terminal.kind == .everything {
        if terminal.type.isFloating {
          slot.storeBytes(of: total.double, as: Double.self)
        } else {
          slot.storeBytes(of: total.int, as: Int64.self)
        }
      } else {
        memcpy(slot, sums, bytes)
      }
    } else if terminal.kind == .everything {
      total.store(terminal.type, context.address(terminal.place))
    }
  }

  /// Combines the chunks' partial results in ascending order.
  func finish(_ context: RunContext) {
    for t in 0..<terminals.count where hasPartials(terminals[t]) {
      let terminal = terminals[t]
      let bytes = terminal.kind == .everything ? 8 : columns * terminal.type.size
      let step = ArenaAllocator.rounded(bytes)
      let first = context.address(terminal.partials)
      if terminal.kind == .everything {
        var total = Accumulator()
        for chunk in 0..<chunkCount {
          let slot = first + chunk * step
          if terminal.type.isFloating {
            let x = slot.load(as: Double.self)
            if terminal.opcode == .sum { total.double += x } else {
              total.merge(x, isMax: terminal.opcode == .max)
            }
          } else {
            let x = slot.load(as: Int64.self)
            if terminal.opcode == .sum { total.int &+= x } else {
              total.merge(x, isMax: terminal.opcode == .max)
            }
          }
          total.isStarted = true
        }
        total.store(terminal.type, context.address(terminal.place))
      } else {
        let combine: Opcode =
          terminal.opcode == .sum ? .add : terminal.opcode == .max ? .maximum : .minimum
        for chunk in 1..<chunkCount {
          Tile.run(
            combine, type: terminal.type, to: terminal.type, dst: first, a: first,
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
