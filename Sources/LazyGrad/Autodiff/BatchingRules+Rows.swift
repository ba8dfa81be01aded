// Batching rules of operations on rows and regions, and of aliases, which carry derivative rules.

internal import LazyGradJIT

extension BatchingRules {
  // MARK: Rows by number

  /// Rows of one table by the numbers of all samples; or of all samples' tables one below the other.
  static func gatherRows(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let (table, numbers) = (w.tape.a(n), w.tape.b(n))
    if !w.dependsOnSample(table) {
      return w.emit(
        .gatherRows, type: node.type, shape: w.batchShape(n), w.value(table), w.value(numbers))
    }
    let dims = w.dims(table)
    return w.emit(
      .gatherRows, type: node.type, shape: w.batchShape(n), stacked(w, table),
      moved(w, numbers, rows: dims[0]))
  }

  static func scatterAddRows(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let dims = w.dims(n)
    let shape = LayoutTable.shared.intern(dims: [w.size * dims[0]] + dims.dropFirst())
    let sum = w.emit(
      .scatterAddRows, type: node.type, shape: shape, stacked(w, w.tape.a(n)),
      w.expanded(w.tape.b(n)), moved(w, w.tape.c(n), rows: dims[0]))
    return w.batch(sum, as: n)
  }

  /// Rows of so many elements each, whatever the shape.
  static func setRows(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let rows = w.dims(n).reduce(1, *) / max(node.rowLength, 1)
    return w.emit(
      .setRows, type: node.type, shape: w.batchShape(n), w.expanded(w.tape.a(n)),
      w.expanded(w.tape.b(n)), moved(w, w.tape.c(n), rows: rows), payload: node.payloadBits)
  }

  /// The samples' values one below the other.
  private static func stacked(_ w: BatchWalk, _ operand: UInt32) -> UInt32 {
    let dims = w.dims(operand)
    return w.reshaped(w.expanded(operand), [w.size * dims[0]] + dims.dropFirst())
  }

  /// The numbers of rows where the samples' rows lie one below the other. Those that count from the end do so
  /// from the end of their sample's.
  private static func moved(_ w: BatchWalk, _ numbers: UInt32, rows: Int) -> UInt32 {
    let x = w.value(numbers)
    let shape = w.tape[x].shape
    let isNegative = w.emit(.less, type: .bool, shape: shape, x, w.number(0, .int64))
    let shift = w.emit(
      .select, type: .int64, shape: shape, isNegative, w.number(rows, .int64), w.number(0, .int64))
    let counted = w.emit(.add, type: .int64, shape: shape, x, shift)
    return w.emit(
      .add, type: .int64, shape: w.batchShape(numbers), counted,
      w.sampleStarts(step: rows, rank: w.dims(numbers).count))
  }

  // MARK: Regions

  static func region(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    return w.emit(
      node.opcode, type: node.type, shape: w.batchShape(n), w.expanded(w.tape.a(n)),
      w.aligned(w.tape.b(n), rank: w.tape.rank(node.region)),
      attribute: w.batchLayout(node.region, of: n), payload: node.payloadBits)
  }

  // MARK: Aliases

  static func alias(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let shape = w.batchShape(n)
    if node.state.contains(.cleared) {
      return w.emit(.copy, type: node.type, shape: shape, w.expanded(w.tape.b(n)))
    }
    if Composite.of(node) === Composite.custom { return custom(w, n) }
    let (a, b) = (w.tape.a(n), w.tape.b(n))
    let dims = w.dims(n)
    // The axis that a rule sums along; a number counts as a row of one, and the batch is not that row.
    let axis = dims.isEmpty ? 1 : Composite.extra(node) + 1
    let attribute = node.composite & 0xFF | axis << 8
    if !dims.isEmpty {
      return w.emit(
        .attach, type: node.type, shape: shape, w.expanded(a), w.inOrder(b), attribute: attribute)
    }
    let column = [w.size, 1]
    let alias = w.emit(
      .attach, type: node.type, shape: LayoutTable.shared.intern(dims: column),
      w.reshaped(w.expanded(a), column), w.copied(w.reshaped(w.expanded(b), column)),
      attribute: attribute)
    return w.batch(alias, as: n)
  }

  /// A custom operation with the rule of a sample's for the batch.
  private static func custom(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let (operands, value) = CustomRule.chain(w.tape, n)
    let carrier = CustomRule.batchedCarrier(
      w.tape, n, areBatched: operands.map { w.dependsOnSample($0) })
    var result = w.inOrder(value)
    for (k, operand) in operands.enumerated() {
      result = w.emit(
        .attach, type: node.type, shape: w.batchShape(n), w.value(operand), result, carrier,
        attribute: Composite.custom.attribute(UInt32(k)))
    }
    return result
  }
}
