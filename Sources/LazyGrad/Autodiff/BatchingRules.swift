// The table of batching rules: what an operation on a sample becomes for a batch, whose axis is in front.

internal import LazyGradJIT

package enum BatchingRules {
  /// How an operation is recorded for a batch.
  enum Rule {
    /// It has no operand, so that it never depends on a sample.
    case source
    case view, elementwise, reduction, matmul
    case gatherRows, scatterAddRows, setRows, region, concat
    case alias, scan, sort, matrix
  }

  /// The rule of an operation: that of its class, but for those that move elements. A test finds one of
  /// these that has none.
  static func rule(_ opcode: Opcode) -> Rule? {
    switch opcode.info.opClass {
    case .source: .source
    case .view: .view
    case .elementwise: .elementwise
    case .reduction: .reduction
    case .matmul: .matmul
    case .alias: .alias
    case .move:
      switch opcode {
      case .gatherRows: .gatherRows
      case .scatterAddRows: .scatterAddRows
      case .setRows: .setRows
      case .setRegion, .addRegion: .region
      case .concat: .concat
      case .cumsum, .cumprod: .scan
      case .sort, .argsort: .sort
      case .matrix: .matrix
      default: nil
      }
    }
  }

  /// By raw values: to find a rule is a good part of a walk.
  private static let rules: [Rule?] = {
    var rules: [Rule?] = []
    for opcode in Opcode.allCases {
      let place = Int(opcode.rawValue)
      while rules.count <= place { rules.append(nil) }
      rules[place] = rule(opcode)
    }
    return rules
  }()

  /// Whether an operation has operands that a rule carries over to a batch; for tests, which know it by
  /// its raw value.
  package static func hasRule(_ opcode: UInt8) -> Bool {
    Opcode(rawValue: opcode).flatMap { rule($0) }.map { $0 != .source } ?? false
  }

  /// Records an operation for the batch.
  static func apply(
    _ opcode: Opcode, _ w: BatchWalk, _ n: UInt32
  ) throws(Batching.Refusal) -> UInt32 {
    switch rules[Int(opcode.rawValue)] {
    case .source, nil:
      throw Batching.Refusal(message: "'\(opcode.info.name)' has no operand that is of a sample")
    case .view: view(w, n)
    case .elementwise: elementwise(w, n)
    case .reduction: reduction(w, n)
    case .matmul: matmul(w, n)
    case .gatherRows: gatherRows(w, n)
    case .scatterAddRows: scatterAddRows(w, n)
    case .setRows: setRows(w, n)
    case .region: region(w, n)
    case .concat: concat(w, n)
    case .alias: alias(w, n)
    case .scan: scan(w, n)
    case .sort: sort(w, n)
    case .matrix: matrix(w, n)
    }
  }

  // MARK: Element by element, and views

  private static func elementwise(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let rank = w.tape.rank(node.shape)
    func operand(_ distance: UInt32) -> UInt32 {
      distance == 0 ? Tape.none : w.aligned(n &- distance, rank: rank)
    }
    let (a, b, c) = (operand(node.a), operand(node.b), operand(node.c))
    return w.emit(
      node.opcode, type: node.type, shape: w.batchShape(n), a, b, c, attribute: node.attributeBits,
      payload: node.payloadBits)
  }

  /// The same part of every sample.
  private static func view(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let (source, region, offset) = w.viewed(n)
    return w.view(
      w.value(source), w.batchLayout(region, of: source), offset: offset, as: w.traits)
  }

  // MARK: Along axes

  private static func reduction(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let lengths = w.tape.layout(ViewKey(.batchedReduction, w.size), of: node.reduction) { own in
      LayoutTable.shared.intern(dims: [w.size * own.dims[0]] + own.dims.dropFirst())
    }
    return w.emit(
      node.opcode, type: node.type, shape: w.batchShape(n), w.value(w.tape.a(n)),
      attribute: lengths)
  }

  private static func scan(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    return w.emit(
      node.opcode, type: node.type, shape: w.batchShape(n), w.value(w.tape.a(n)),
      attribute: UInt32(node.axis + 1))
  }

  private static func sort(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let dims = w.dims(n)
    var order = SortOrder(attribute: node.order)
    // A number has no axis: that of the batch is not it.
    let isNumber = dims.isEmpty
    if !isNumber { order.axis += 1 }
    var x = w.value(w.tape.a(n))
    let shape = isNumber ? LayoutTable.shared.intern(dims: [w.size, 1]) : w.batchShape(n)
    if isNumber {
      order.axis = 1
      x = w.reshaped(x, [w.size, 1])
    }
    var result = w.emit(node.opcode, type: node.type, shape: shape, x, attribute: order.attribute)
    if order.isFlat {
      // Places in the sample, not in the batch.
      let count = dims.reduce(1, *)
      result = w.emit(
        .sub, type: .int64, shape: shape, result,
        w.sampleStarts(step: count, rank: max(dims.count, 1)))
    }
    return isNumber ? w.batch(result, as: n) : result
  }

  private static func concat(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    return w.emit(
      .concat, type: node.type, shape: w.batchShape(n), w.expanded(w.tape.a(n)),
      w.expanded(w.tape.b(n)), attribute: UInt32(node.axis + 1))
  }

  // MARK: Products

  /// Where one operand belongs to every sample, the rows of all samples are one matrix.
  private static func matmul(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let (a, b) = (w.tape.a(n), w.tape.b(n))
    let rank = w.tape.rank(node.shape)
    let (leftRank, rightRank) = (w.tape.rank(w.tape[a].shape), w.tape.rank(w.tape[b].shape))
    switch (w.dependsOnSample(a), w.dependsOnSample(b)) {
    case (true, false) where rightRank == 2:
      let product = w.emit(
        .matmul, type: node.type, shape: w.rowsShape(n), w.view(w.value(a), w.rowsShape(a)),
        w.value(b))
      return w.batch(product, as: n)
    case (false, true) where leftRank == 2 && w.lastLength(b) == 1:
      // A matrix times a column: with the columns of all samples as rows.
      let turned = w.view(w.value(b), w.rowsShape(b, columns: true))
      let product = w.emit(
        .matmul, type: node.type, shape: w.rowsShape(n, columns: true), turned, w.transposed(a))
      return w.batch(product, as: n)
    case (true, true) where w.lastLength(a) == 1 && node.type.isFloating:
      // Columns times rows are products of numbers, which fuse with what reads them. A matrix product begins
      // with 0, so that none of its elements is -0.
      let shape = w.batchShape(n)
      let product = w.emit(
        .mul, type: node.type, shape: shape, w.aligned(a, rank: rank), w.aligned(b, rank: rank))
      return w.emit(.add, type: node.type, shape: shape, product, w.number(0, node.type))
    default:
      return w.emit(
        .matmul, type: node.type, shape: w.batchShape(n), w.aligned(a, rank: rank),
        w.aligned(b, rank: rank))
    }
  }

  /// A routine leaves results one behind the other, each of all matrices: here of all samples.
  private static func matrix(_ w: BatchWalk, _ n: UInt32) -> UInt32 {
    let node = w.tape[n]
    let table = LayoutTable.shared
    let a = w.tape.a(n)
    let b = node.b == 0 ? nil : w.tape.b(n)
    let call = MatrixCall(attribute: node.matrixAttribute, w.dims(a), b.map { w.dims($0) })
    let counts = call.resultCounts.map { $0 * call.batch }
    var shape = [w.size] + w.dims(n)
    if counts.count > 1 { shape = [w.size * counts.reduce(0, +)] }
    var right = b.map { w.expanded($0) } ?? Tape.none
    if let b, w.dims(b).count < w.dims(a).count {
      // A vector for every sample is a column.
      right = w.reshaped(right, [w.size] + w.dims(b) + [1])
      shape.append(1)
    }
    let whole = w.emit(
      .matrix, type: node.type, shape: table.intern(dims: shape), w.expanded(a), right,
      node.c == 0 ? Tape.none : w.expanded(w.tape.c(n)), attribute: node.matrixAttribute)
    if counts.count == 1 { return w.batch(whole, as: n) }
    var (start, width) = (0, 0)
    var joined = Tape.none
    for count in counts {
      let part = w.view(
        whole, table.intern(dims: [w.size, count]), offset: w.size * start)
      start += count
      width += count
      joined =
        joined == Tape.none
        ? part
        : w.emit(
          .concat, type: node.type, shape: table.intern(dims: [w.size, width]), joined, part,
          attribute: 1)
    }
    return w.batch(joined, as: n)
  }
}
