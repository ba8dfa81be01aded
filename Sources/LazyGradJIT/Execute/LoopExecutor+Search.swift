// Finds the positions of extremes along columns: of all rows of a block of columns at a time, so that
// nothing is turned or copied before. Uses Plan.

extension LoopKernel {
  /// Works off one result row's columns of one block.
  func searchColumns(chunk: Int, _ context: RunContext) {
    let terminal = terminals[0]
    guard let extreme = terminal.search else {
      preconditionFailure("search: expected an extreme, got \(terminal.reducer)")
    }
    let blocks = (columns &+ Summation.blockLength &- 1) / Summation.blockLength
    let (result, block) = (chunk / blocks, chunk % blocks)
    let first = block &* Summation.blockLength
    let source =
      context.address(registers[terminal.register].place)
      + (result &* terminal.period &* columns &+ first) &* terminal.type.size
    let found = (context.address(terminal.place) + (result &* columns &+ first) &* 8)
      .assumingMemoryBound(to: Int64.self)
    let count = min(Summation.blockLength, columns &- first)
    let best = context.scratch + layout.accumulators + ScratchLayout.accumulatorHead
    func find<T: Comparable>(_: T.Type, _ isUnordered: (T) -> Bool) {
      search(
        extreme, terminal, source.assumingMemoryBound(to: T.self),
        best.assumingMemoryBound(to: T.self),
        found, count, isUnordered)
    }
    switch terminal.type {
    case .float64: find(Double.self) { $0.isNaN }
    case .float32: find(Float.self) { $0.isNaN }
    case .int64: find(Int64.self) { _ in false }
    case .int32: find(Int32.self) { _ in false }
    case .uint8, .bool: find(UInt8.self) { _ in false }
    case .float16, .bfloat16: terminal.type.isNotComputed("search")
    }
  }

  /// The first one of equal elements, or the first NaN, as in NumPy.
  @inline(__always)
  private func search<T: Comparable>(
    _ extreme: Extreme, _ terminal: Terminal, _ source: UnsafePointer<T>,
    _ best: UnsafeMutablePointer<T>, _ found: UnsafeMutablePointer<Int64>, _ count: Int,
    _ isUnordered: (T) -> Bool
  ) {
    found.update(repeating: 0, count: count)
    best.update(from: source, count: count)
    for row in 1..<max(terminal.period, 1) {
      let elements = source + row &* columns
      for column in 0..<count {
        let (x, known) = (elements[column], best[column])
        if extreme.beats(x, known) || (isUnordered(x) && !isUnordered(known)) {
          best[column] = x
          found[column] = Int64(row)
        }
      }
    }
  }
}
