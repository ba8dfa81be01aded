// The reductions over whole loops of tier 0: running results per chunk, and how they are combined.
// Uses Plan and Kernels.
//
// Every reduction is cut into parts that depend on its own shape only, not on the blocks and chunks of
// the loop that it was fused into: `Summation.blockLength` elements where everything is reduced, `part`
// rows for a sum of columns. Parts are reduced by themselves and combined in ascending order, so what
// a value was computed together with never changes a bit of it.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The running result of a reduction over a whole loop. It stands in scratch memory, before the
/// running sums of a reduction to columns or the elements of a part that is not complete yet.
struct Accumulator {
  var double = 0.0
  var int: Int64 = 0
  /// Rows until the next result row or part begins.
  var rest = 0
  /// Elements that wait for their part to be complete.
  var waiting = 0
  /// The part of the whole reduction that comes next.
  var part = 0
  var isStarted = false
}

extension LoopKernel {
  /// Whether `finish` has anything to do.
  var needsFinish: Bool {
    for t in 0..<terminals.count where terminals[t].partialCount > 0 { return true }
    return false
  }

  @inline(__always)
  func accumulator(_ t: Int, _ context: RunContext) -> UnsafeMutablePointer<Accumulator> {
    (context.scratch + (layout.accumulators &+ t &* layout.accumulatorStride))
      .assumingMemoryBound(to: Accumulator.self)
  }

  /// Begins the terminals of a chunk.
  @inline(__always)
  func startTerminals(firstRow: Int, _ context: RunContext) {
    for t in 0..<terminals.count {
      let total = accumulator(t, context)
      total.initialize(to: Accumulator())
      total.pointee.part = firstRow &* columns / Summation.blockLength
    }
  }

  func accumulate(
    _ t: Int, _ row: Int, _ n: Int, _ pointers: UnsafeMutablePointer<UnsafeMutableRawPointer>,
    _ context: RunContext
  ) {
    let terminal = (terminals.base + t).pointee
    let source = pointers[terminal.register]
    let total = accumulator(t, context)
    if terminal.kind == .everything {
      if terminal.isPerRow, terminal.partialCount > 0 {
        let size = terminal.type.size
        memcpy(context.address(terminal.partials) + row &* size, source, n &* size)
      } else {
        addParts(terminal, source, terminal.isPerRow ? n : n * columns, total, context)
      }
      return
    }
    let sums = UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
    let bytes = columns &* terminal.type.size
    let isParted = terminal.partialCount > 0
    for k in 0..<n {
      let line = source + k &* bytes
      if total.pointee.rest == 0 {
        // A chunk begins with a result row or a part.
        memcpy(sums, line, bytes)
        total.pointee.rest =
          isParted ? min(terminal.part, rows &- row &- k) : terminal.period
      } else {
        combine(terminal, sums, with: line)
      }
      total.pointee.rest &-= 1
      if total.pointee.rest == 0 { keepSums(terminal, sums, lastRow: row &+ k, context) }
    }
  }

  /// Reduces complete parts where they are; the elements of one that isn't wait for the next block.
  private func addParts(
    _ terminal: Terminal, _ source: UnsafeMutableRawPointer, _ count: Int,
    _ total: UnsafeMutablePointer<Accumulator>, _ context: RunContext
  ) {
    let size = terminal.type.size
    let waiting = UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
    var done = 0
    while done < count {
      let left = count &- done
      if total.pointee.waiting == 0, left >= Summation.blockLength {
        addPart(terminal, source + done &* size, Summation.blockLength, total, context)
        done &+= Summation.blockLength
        continue
      }
      let n = min(Summation.blockLength &- total.pointee.waiting, left)
      memcpy(waiting + total.pointee.waiting &* size, source + done &* size, n &* size)
      total.pointee.waiting &+= n
      done &+= n
      if total.pointee.waiting == Summation.blockLength {
        addPart(terminal, waiting, Summation.blockLength, total, context)
        total.pointee.waiting = 0
      }
    }
  }

  @inline(__always)
  private func addPart(
    _ terminal: Terminal, _ source: UnsafeMutableRawPointer, _ count: Int,
    _ total: UnsafeMutablePointer<Accumulator>, _ context: RunContext
  ) {
    if terminal.partialCount == 0 {
      total.pointee.combine(terminal.opcode, terminal.type, values: source, count: count)
      return
    }
    var result = Accumulator()
    result.combine(terminal.opcode, terminal.type, values: source, count: count)
    let slot = context.address(terminal.partials) + total.pointee.part &* 8
    if terminal.type.isFloating {
      slot.storeBytes(of: result.double, as: Double.self)
    } else {
      slot.storeBytes(of: result.int, as: Int64.self)
    }
    total.pointee.part &+= 1
  }

  func finishChunk(_ t: Int, _ context: RunContext) {
    let terminal = (terminals.base + t).pointee
    if rows == 0 {
      // The sum of nothing; the recorder lets no other reduction of nothing through.
      memset(context.address(terminal.place), 0, terminal.resultCount * terminal.type.size)
      return
    }
    if terminal.kind == .columns { return }
    let total = accumulator(t, context)
    if total.pointee.waiting > 0 {
      let waiting = UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
      addPart(terminal, waiting, total.pointee.waiting, total, context)
    }
    if terminal.partialCount == 0 {
      total.pointee.store(terminal.type, context.address(terminal.place))
    }
  }

  /// Puts a complete row of sums of columns, whose last row is `row`, where it belongs. Who runs alone
  /// adds parts at once: all of them together are as large as 64 rows.
  func keepSums(
    _ terminal: Terminal, _ sums: UnsafeMutableRawPointer, lastRow row: Int, _ context: RunContext
  ) {
    let bytes = columns &* terminal.type.size
    if terminal.partialCount == 0 {
      memcpy(context.address(terminal.place) + row / terminal.period &* bytes, sums, bytes)
      return
    }
    let part = row / terminal.part
    let partials = context.address(terminal.partials)
    if context.isAlone, part > 0 {
      combine(terminal, partials, with: sums)
    } else {
      memcpy(partials + part &* ArenaAllocator.rounded(bytes), sums, bytes)
    }
  }

  private func combine(
    _ terminal: Terminal, _ total: UnsafeMutableRawPointer, with part: UnsafeMutableRawPointer
  ) {
    Tile.run(
      terminal.combiner, type: terminal.type, to: terminal.type, dst: total, a: total, b: part,
      c: nil, count: columns)
  }

  /// Combines the partial results in ascending order.
  func finish(_ context: RunContext) {
    for t in 0..<terminals.count where terminals[t].partialCount > 0 {
      let terminal = terminals[t]
      let partials = context.address(terminal.partials)
      if terminal.kind == .columns {
        let bytes = columns &* terminal.type.size
        for part in 1..<terminal.partialCount where !context.isAlone {
          combine(terminal, partials, with: partials + part &* ArenaAllocator.rounded(bytes))
        }
        memcpy(context.address(terminal.place), partials, bytes)
        continue
      }
      var total = Accumulator()
      if terminal.isPerRow {
        total.combine(
          terminal.opcode, terminal.type, values: partials, count: terminal.partialCount)
      } else {
        total.combine(terminal.opcode, terminal.type, partials, count: terminal.partialCount)
      }
      total.store(terminal.type, context.address(terminal.place))
    }
  }
}

extension Accumulator {
  /// Takes in elements, part by part.
  fileprivate mutating func combine(
    _ opcode: Opcode, _ type: ScalarType, values: UnsafeMutableRawPointer, count: Int
  ) {
    var first = 0
    while first < count {
      let n = min(Summation.blockLength, count - first)
      let part = values + first * type.size
      switch (opcode, type.isFloating) {
      case (.sum, true): double += Reduce.sum(type: type, part, count: n)
      case (.sum, false): int &+= Reduce.integerSum(type: type, part, count: n)
      case (.max, true): merge(Reduce.max(type: type, part, count: n), isMax: true)
      case (.max, false): merge(Reduce.integerMax(type: type, part, count: n), isMax: true)
      case (_, true): merge(Reduce.min(type: type, part, count: n), isMax: false)
      case (_, false): merge(Reduce.integerMin(type: type, part, count: n), isMax: false)
      }
      isStarted = true
      first += n
    }
  }

  /// Takes in partial results: doubles of floats, 64-bit integers of the others.
  mutating func combine(
    _ opcode: Opcode, _ type: ScalarType, _ partials: UnsafeMutableRawPointer, count: Int
  ) {
    let doubles = partials.assumingMemoryBound(to: Double.self)
    let integers = partials.assumingMemoryBound(to: Int64.self)
    // In registers: the compiler doesn't know that the results are elsewhere.
    var total = self
    for i in 0..<count {
      switch (opcode, type.isFloating) {
      case (.sum, true): total.double += doubles[i]
      case (.sum, false): total.int &+= integers[i]
      case (_, true): total.merge(doubles[i], isMax: opcode == .max)
      case (_, false): total.merge(integers[i], isMax: opcode == .max)
      }
      total.isStarted = true
    }
    self = total
  }

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
