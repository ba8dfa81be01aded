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
  var isStarted = false
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
    var result = Accumulator()
    result.reduce(terminal.opcode, terminal.type, source, count: count)
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
      terminal.combiner, type: terminal.type, to: terminal.type, dst: result, a: total, b: part,
      c: nil, count: count)
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
      var total = Accumulator()
      if terminal.isPerRow, terminal.partialCount == rows {
        total.combine(terminal.opcode, terminal.type, values: partials, count: rows)
      } else {
        total.combine(terminal.opcode, terminal.type, partials, count: terminal.partialCount)
      }
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
    }
  }

  /// The result as it is kept among partial ones.
  func bits(_ type: ScalarType) -> UInt64 {
    type.isFloating ? double.bitPattern : UInt64(bitPattern: int)
  }

  /// Takes in the elements of one part.
  mutating func reduce(
    _ opcode: Opcode, _ type: ScalarType, _ part: UnsafeMutableRawPointer, count: Int
  ) {
    switch (opcode, type.isFloating) {
    case (.sum, true): double = Reduce.sum(type: type, part, count: count)
    case (.sum, false): int &+= Reduce.integerSum(type: type, part, count: count)
    case (.max, true): merge(Reduce.max(type: type, part, count: count), isMax: true)
    case (.max, false): merge(Reduce.integerMax(type: type, part, count: count), isMax: true)
    case (_, true): merge(Reduce.min(type: type, part, count: count), isMax: false)
    case (_, false): merge(Reduce.integerMin(type: type, part, count: count), isMax: false)
    }
    isStarted = true
  }

  /// Takes in all elements, part by part.
  fileprivate mutating func combine(
    _ opcode: Opcode, _ type: ScalarType, values: UnsafeMutableRawPointer, count: Int
  ) {
    let length = Summation.blockLength
    let parts = (count + length - 1) / length
    func elements(_ part: Int) -> (UnsafeMutableRawPointer, Int) {
      (values + part * length * type.size, min(length, count - part * length))
    }
    if opcode == .sum, type.isFloating {
      double = Summation.sum(0, parts) {
        let (part, count) = elements($0)
        return Reduce.sum(type: type, part, count: count)
      }
      return
    }
    for part in 0..<parts {
      let (part, count) = elements(part)
      reduce(opcode, type, part, count: count)
    }
  }

  /// Takes in partial results: doubles of floats, 64-bit integers of the others.
  mutating func combine(
    _ opcode: Opcode, _ type: ScalarType, _ partials: UnsafeMutableRawPointer, count: Int
  ) {
    let doubles = partials.assumingMemoryBound(to: Double.self)
    let integers = partials.assumingMemoryBound(to: Int64.self)
    if opcode == .sum, type.isFloating {
      double = Summation.sum(doubles, count)
      return
    }
    // In registers: the compiler doesn't know that the results are elsewhere.
    var total = self
    for i in 0..<count {
      switch (opcode, type.isFloating) {
      case (.sum, _): total.int &+= integers[i]
      case (_, true): total.merge(doubles[i], isMax: opcode == .max)
      case (_, false): total.merge(integers[i], isMax: opcode == .max)
      }
      total.isStarted = true
    }
    self = total
  }

  /// The result of the only part, from machine code.
  mutating func take(_ type: ScalarType, _ result: UnsafeMutableRawPointer) {
    if type.isFloating {
      double = result.load(as: Double.self)
    } else {
      int = result.load(as: Int64.self)
    }
  }

  /// The greater or the smaller; not-a-number wins.
  fileprivate mutating func merge(_ x: Double, isMax: Bool) {
    if !isStarted || x.isNaN || (!double.isNaN && (isMax ? x > double : x < double)) { double = x }
  }

  fileprivate mutating func merge(_ x: Int64, isMax: Bool) {
    if !isStarted || (isMax ? x > int : x < int) { int = x }
  }

  func store(_ type: ScalarType, _ address: UnsafeMutableRawPointer) {
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
