// The reductions over whole loops of tier 0: running results per chunk, and how they are combined.
// Uses Plan and Kernels.
//
// Every reduction is cut into parts that depend on its own shape only, not on the blocks and chunks of
// the loop that it was fused into: `Summation.blockLength` elements where everything is reduced; `part`
// rows, and in these `run` rows, for a sum of columns. Parts are reduced by themselves and combined in
// an order that depends on their number only, so what a value was computed together with never
// changes a bit of it. Sums of floats are added in pairs (`Summation`).

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
  /// Rows until the next result row or part begins, and the next run.
  var rest = 0
  var runRest = 0
  /// Runs of the result row or part that are complete.
  var runs = 0
  /// Elements that wait for their part to be complete.
  var waiting = 0
  /// The part of the whole reduction that comes next.
  var part = 0
  /// The columns that are summed: all, or those of a panel.
  var firstColumn = 0
  var width = 0
  /// Nothing has gone into the running sums of a panel yet.
  var isFresh = false
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
      let firstElement = terminals[t].isPerRow ? firstRow : firstRow &* columns
      total.pointee.part = firstElement / Summation.blockLength
      total.pointee.width = columns
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
      if terminal.isPerRow, terminal.partialCount == rows {
        let size = terminal.type.size
        memcpy(context.address(terminal.partials) + row &* size, source, n &* size)
      } else {
        addParts(terminal, source, terminal.isPerRow ? n : n * columns, total, context)
      }
      return
    }
    let sums = UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
    let bytes = columns &* terminal.type.size
    for k in 0..<n {
      let line = source + k &* bytes
      if total.pointee.runRest == 0 {
        beginRun(terminal, row &+ k, total)
        memcpy(sums, line, bytes)
      } else {
        combine(terminal, sums, with: line)
      }
      endRows(terminal, 1, lastRow: row &+ k, total, context)
    }
  }

  // MARK: Columns

  /// Begins a run of rows that are summed one after the other. A chunk begins with a result row or a
  /// part.
  func beginRun(
    _ terminal: Terminal, _ row: Int, _ total: UnsafeMutablePointer<Accumulator>
  ) {
    if total.pointee.rest == 0 {
      total.pointee.rest =
        terminal.partialCount > 0 ? min(terminal.part, rows &- row) : terminal.period
      total.pointee.runs = 0
    }
    total.pointee.runRest = min(terminal.run, total.pointee.rest)
  }

  /// Takes note of rows that have gone into the running sums. The sums of a complete run are added to
  /// those of runs before it as a binary counter counts; those of a result row or part go where they
  /// belong.
  @inline(__always)
  func endRows(
    _ terminal: Terminal, _ n: Int, lastRow: Int, _ total: UnsafeMutablePointer<Accumulator>,
    _ context: RunContext
  ) {
    total.pointee.rest &-= n
    total.pointee.runRest &-= n
    if total.pointee.runRest == 0 { endRun(terminal, lastRow, total, context) }
  }

  private func endRun(
    _ terminal: Terminal, _ lastRow: Int, _ total: UnsafeMutablePointer<Accumulator>,
    _ context: RunContext
  ) {
    let sums = UnsafeMutableRawPointer(total) + ScratchLayout.accumulatorHead
    let stride = ScratchLayout.rowBytes(columns: panelColumns > 0 ? panelColumns : columns)
    var waiting = sums + stride
    let width = total.pointee.width
    var runs = total.pointee.runs
    let isLast = total.pointee.rest == 0
    while runs & 1 == 1 || (isLast && runs > 0) {
      if runs & 1 == 1 { combine(terminal, waiting, with: sums, into: sums, count: width) }
      waiting += stride
      runs >>= 1
    }
    if isLast {
      keepSums(terminal, sums, lastRow: lastRow, total.pointee, context)
    } else {
      memcpy(waiting, sums, width &* terminal.type.size)
      total.pointee.runs &+= 1
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
    let result = Accumulator(terminal.reducer, terminal.type, part: source, count: count)
    if terminal.partialCount == 0 {
      // The only part.
      total.pointee = result
      return
    }
    let slot = context.address(terminal.partials) + total.pointee.part &* 8
    slot.storeBytes(of: result.bits(terminal.type), as: UInt64.self)
    total.pointee.part &+= 1
  }

  func finishChunk(_ t: Int, _ context: RunContext) {
    let terminal = (terminals.base + t).pointee
    if rows == 0 {
      // A row without elements for every result.
      let place = context.address(terminal.place)
      Reduce.rows(
        terminal.opcode, type: terminal.type, src: place, rows: terminal.resultCount, columns: 0,
        dst: place)
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
  private func keepSums(
    _ terminal: Terminal, _ sums: UnsafeMutableRawPointer, lastRow row: Int, _ total: Accumulator,
    _ context: RunContext
  ) {
    let size = terminal.type.size
    if terminal.partialCount == 0 {
      let first = row / terminal.period &* columns &+ total.firstColumn
      memcpy(context.address(terminal.place) + first &* size, sums, total.width &* size)
      return
    }
    let stride = ArenaAllocator.rounded(columns &* size)
    let partials = context.address(terminal.partials)
    let part = row / terminal.part
    let isFirst = part % Self.partsTogether == 0
    if context.isAlone, !isFirst {
      combine(terminal, partials + part / Self.partsTogether &* stride, with: sums)
    } else {
      let slot = context.isAlone ? part / Self.partsTogether : part
      memcpy(partials + slot &* stride, sums, columns &* size)
    }
  }

  /// Parts whose sums are added one after the other, before those of such groups are: there are 64
  /// parts at most, and to add in pairs would move more memory than to add.
  private static let partsTogether = 8

  @inline(__always)
  private func combine(
    _ terminal: Terminal, _ total: UnsafeMutableRawPointer, with part: UnsafeMutableRawPointer
  ) {
    combine(terminal, total, with: part, into: total, count: columns)
  }

  private func combine(
    _ terminal: Terminal, _ total: UnsafeMutableRawPointer, with part: UnsafeMutableRawPointer,
    into result: UnsafeMutableRawPointer, count: Int
  ) {
    Tile.run(
      terminal.reducer.combiner, type: terminal.type, to: terminal.type, dst: result, a: total,
      b: part, c: nil, count: count)
  }

  /// Combines the partial results.
  func finish(_ context: RunContext) {
    for t in 0..<terminals.count where terminals[t].partialCount > 0 {
      let terminal = terminals[t]
      let partials = context.address(terminal.partials)
      if terminal.kind != .everything {
        if terminal.kind == .columns {
          finishColumns(terminal, partials, context)
        } else {
          finishRows(terminal, partials, context)
        }
        continue
      }
      let (reducer, type) = (terminal.reducer, terminal.type)
      let total =
        terminal.isPerRow && terminal.partialCount == rows
        ? Accumulator(reducer, type, values: partials, count: rows)
        : Accumulator(reducer, type, partials: partials, count: terminal.partialCount)
      total.store(terminal.type, context.address(terminal.place))
    }
  }

  /// Adds the sums of parts. Who runs alone has left those of groups of them.
  private func finishColumns(
    _ terminal: Terminal, _ partials: UnsafeMutableRawPointer, _ context: RunContext
  ) {
    let bytes = columns &* terminal.type.size
    let stride = ArenaAllocator.rounded(bytes)
    let together = Self.partsTogether
    let groups = (terminal.partialCount &+ together &- 1) / together
    for group in 0..<groups {
      let first = context.isAlone ? group : group &* together
      let count = context.isAlone ? 1 : min(terminal.partialCount &- first, together)
      for part in 1..<max(count, 1) {
        combine(
          terminal, partials + first &* stride, with: partials + (first &+ part) &* stride)
      }
      if group > 0 { combine(terminal, partials, with: partials + first &* stride) }
    }
    memcpy(context.address(terminal.place), partials, bytes)
  }
}

extension Accumulator {
  /// One element.
  init(element: UnsafeMutableRawPointer, _ type: ScalarType) {
    switch type {
    case .float64: double = element.load(as: Double.self)
    case .float32: double = Double(element.load(as: Float.self))
    case .int64: int = element.load(as: Int64.self)
    case .int32: int = Int64(element.load(as: Int32.self))
    case .uint8, .bool: int = Int64(element.load(as: UInt8.self))
    case .float16, .bfloat16: type.isNotComputed("reduction")
    }
  }

  /// The result as it is kept among partial ones.
  func bits(_ type: ScalarType) -> UInt64 {
    type.isFloating ? double.bitPattern : UInt64(bitPattern: int)
  }

  /// The result of the elements of one part.
  init(
    _ reducer: Reducer, _ type: ScalarType, part: UnsafeMutableRawPointer, count: Int
  ) {
    if type.isFloating {
      double = Reduce.float(reducer, type: type, part, count: count)
    } else {
      int = Reduce.integer(reducer, type: type, part, count: count)
    }
  }

  /// The result of all elements, part by part.
  fileprivate init(
    _ reducer: Reducer, _ type: ScalarType, values: UnsafeMutableRawPointer, count: Int
  ) {
    if !type.isFloating {
      int = Reduce.integer(reducer, type: type, values, count: count)
      return
    }
    let length = Summation.blockLength
    let parts = (count + length - 1) / length
    func result(_ part: Int) -> Double {
      Reduce.float(
        reducer, type: type, values + part * length * type.size,
        count: min(length, count - part * length))
    }
    double =
      reducer.isPairwise
      ? Summation.sum(0, parts, result)
      : (1..<parts).reduce(result(0)) { reducer.combined($0, result($1)) }
  }

  /// The result of partial ones: doubles of floats, 64-bit integers of the others.
  init(
    _ reducer: Reducer, _ type: ScalarType, partials: UnsafeMutableRawPointer, count: Int
  ) {
    if !type.isFloating {
      int = Reduce.integer(reducer, type: .int64, partials, count: count)
      return
    }
    let doubles = partials.assumingMemoryBound(to: Double.self)
    if reducer.isPairwise {
      double = Summation.sum(doubles, count)
      return
    }
    // In a register: the compiler doesn't know that the result is elsewhere.
    var total = doubles[0]
    for i in 1..<count { total = reducer.combined(total, doubles[i]) }
    double = total
  }

  /// The result of the only part, from machine code.
  mutating func take(_ type: ScalarType, _ result: UnsafeMutableRawPointer) {
    if type.isFloating {
      double = result.load(as: Double.self)
    } else {
      int = result.load(as: Int64.self)
    }
  }

  func store(_ type: ScalarType, _ address: UnsafeMutableRawPointer) {
    switch type {
    case .float64: address.storeBytes(of: double, as: Double.self)
    case .float32: address.storeBytes(of: Float(double), as: Float.self)
    case .int64: address.storeBytes(of: int, as: Int64.self)
    case .int32: address.storeBytes(of: Int32(truncatingIfNeeded: int), as: Int32.self)
    case .uint8: address.storeBytes(of: UInt8(truncatingIfNeeded: int), as: UInt8.self)
    case .bool: address.storeBytes(of: int != 0 ? 1 : 0, as: UInt8.self)
    case .float16, .bfloat16: type.isNotComputed("reduction")
    }
  }
}
