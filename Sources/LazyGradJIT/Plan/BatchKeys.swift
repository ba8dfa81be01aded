// Which operations may be computed together, and which are alike. Uses the planner's tables after they have
// been simplified.

/// What operations of one batch have in common: what they do to operands of which kind.
struct BatchKey: Equatable {
  /// Operation, types and shape.
  var head: UInt64
  var attribute: UInt64
  var a = Operand()
  var b = Operand()
  var c = Operand()

  struct Operand: Equatable {
    /// The kind, the type and the shape under which it is read.
    var head: UInt64 = 0
    /// Where it is, for one that all members share; the layout over what varies.
    var place: UInt64 = 0
    var offset = 0

    /// The kinds of operands.
    static let shared: UInt64 = 1
    static let row: UInt64 = 2
    static let view: UInt64 = 3
    static let number: UInt64 = 4
  }

  var hash: UInt64 {
    func mixed(_ operand: Operand) -> UInt64 {
      let h =
        operand.head &* 0xD6E8_FEB8_6659_FD93 ^ operand.place &* 0xA076_1D64_78BD_642F
        ^ UInt64(bitPattern: Int64(operand.offset)) &* 0xE703_7ED1_A0B4_28DB
      return (h ^ h >> 32) &* 0x2127_599B_F432_5C37
    }
    var h = head &* 0xD6E8_FEB8_6659_FD93 ^ attribute &* 0xA076_1D64_78BD_642F ^ mixed(a)
    h = (h ^ h >> 29) &* 0x2127_599B_F432_5C37 ^ mixed(b)
    h = (h ^ h >> 31) &* 0xE703_7ED1_A0B4_28DB ^ mixed(c)
    return (h ^ h >> 32) &* 0xA076_1D64_78BD_642F
  }
}

extension Planner {
  /// What is read by so many is taken for one value that all of a batch share.
  private static let sharedLeafReaders = 8
  private static let sharedReaders = 64
  /// Most elements that are reduced in the same order whether they are one row of many or everything that there
  /// is: longer rows count as everything (`groupReduction`).
  private static let reducedElements = 1024

  /// What a position's batch has in common; nil where it is computed by itself.
  func batchKey(_ i: Int, _ limits: BatchLimits) -> BatchKey? {
    let entry = entries + i
    let node = entry.pointee.node
    if entry.pointee.count < 1 || entry.pointee.count > limits.elements { return nil }
    var operands: (BatchKey.Operand, BatchKey.Operand, BatchKey.Operand) = (
      .init(), .init(), .init()
    )
    func note(_ operand: BatchKey.Operand, _ k: Int) {
      switch k {
      case 0: operands.0 = operand
      case 1: operands.1 = operand
      default: operands.2 = operand
      }
    }
    switch node.opcode.info.opClass {
    case .elementwise:
      for k in 0..<inputCount(i) { note(batchOperand(input(i, k), limits), k) }
    case .reduction:
      guard node.opcode.info.search == nil,
        input(i, 0).count <= min(limits.elements, Self.reducedElements),
        layout(node.attribute).count == input(i, 0).count, isRow(input(i, 0))
      else { return nil }
      note(rowOperand(input(i, 0)), 0)
    case .matmul:
      guard let shared = sharedFactor(i, limits) else { return nil }
      note(sharedOperand(input(i, shared)), shared)
      note(rowOperand(input(i, 1 - shared)), 1 - shared)
    default: return nil
    }
    return BatchKey(
      head: UInt64(node.opcode.rawValue) | UInt64(node.type.rawValue) << 8
        | UInt64(entry.pointee.inputCount) << 16 | UInt64(node.shape) << 32,
      attribute: UInt64(node.attribute) | UInt64(truncatingIfNeeded: node.offset) << 32,
      a: operands.0, b: operands.1, c: operands.2)
  }

  /// The operand of a product that the members of a batch share: the right one of a product of few rows, or
  /// the left one of a product with a column; nil where there is no such batch.
  func sharedFactor(_ i: Int, _ limits: BatchLimits) -> Int? {
    let dims = layout(entries[i].node.shape).dims
    let (a, b) = (input(i, 0), input(i, 1))
    guard dims.count == 2, layout(a.shape).rank == 2, layout(b.shape).rank == 2, a.count > 0,
      b.count > 0
    else { return nil }
    let isRight = dims[0] <= limits.rows && a.count <= limits.elements && isRow(a) && isInMemory(b)
    let isLeft = dims[1] == 1 && b.count <= limits.elements && isRow(b) && isInMemory(a)
    if isRight, isLeft {
      return entries[a.position].readers > entries[b.position].readers ? 0 : 1
    }
    return isRight ? 1 : isLeft ? 0 : nil
  }

  private func isInMemory(_ operand: Input) -> Bool {
    let opcode = entries[operand.position].node.opcode
    return opcode != .scalar && opcode != .iota
  }

  /// Whether an operand is memory whose elements follow each other.
  func isRow(_ operand: Input) -> Bool {
    if !isInMemory(operand) { return false }
    return operand.source.isLinear || layout(operand.source.layout).isContiguous
  }

  private func head(_ kind: UInt64, _ operand: Input) -> UInt64 {
    kind | UInt64(entries[operand.position].node.type.rawValue) << 8 | UInt64(operand.shape) << 32
  }

  private func sharedOperand(_ operand: Input) -> BatchKey.Operand {
    let source = operand.source
    return BatchKey.Operand(
      head: head(BatchKey.Operand.shared, operand),
      place: UInt64(UInt32(bitPattern: source.position))
        | UInt64(source.isLinear ? operand.shape : source.layout) << 32, offset: source.offset)
  }

  private func rowOperand(_ operand: Input) -> BatchKey.Operand {
    BatchKey.Operand(head: head(BatchKey.Operand.row, operand))
  }

  private func batchOperand(_ operand: Input, _ limits: BatchLimits) -> BatchKey.Operand {
    let entry = entries + operand.position
    if entry.pointee.node.opcode == .scalar {
      // Every mention of a number is one of its own.
      return BatchKey.Operand(
        head: BatchKey.Operand.number | UInt64(entry.pointee.node.type.rawValue) << 8)
    }
    if entry.pointee.node.opcode == .iota { return sharedOperand(operand) }
    let isLeaf = entry.pointee.node.opcode == .leaf
    let most = isLeaf ? Self.sharedLeafReaders : Self.sharedReaders
    if entry.pointee.readers >= most { return sharedOperand(operand) }
    if isRow(operand) { return rowOperand(operand) }
    // A view over a whole small value, which is brought in order before.
    if isLeaf || entry.pointee.count > limits.elements { return sharedOperand(operand) }
    return BatchKey.Operand(
      head: head(BatchKey.Operand.view, operand), place: UInt64(operand.source.layout),
      offset: operand.source.offset)
  }
}

/// Numbers keys in the order in which they come: a hash table with open addressing.
struct BatchKeyTable {
  private var slots: [Int32]
  private var keys: [BatchKey] = []
  private var mask: Int

  init() {
    slots = [Int32](repeating: -1, count: 64)
    mask = 63
  }

  var count: Int { keys.count }

  mutating func number(_ key: BatchKey) -> Int32 {
    var slot = Int(truncatingIfNeeded: key.hash >> 20) & mask
    while slots[slot] >= 0 {
      if keys[Int(slots[slot])] == key { return slots[slot] }
      slot = (slot + 1) & mask
    }
    slots[slot] = Int32(keys.count)
    keys.append(key)
    if 2 * keys.count > mask { grow() }
    return Int32(keys.count - 1)
  }

  private mutating func grow() {
    mask = 2 * mask + 1
    slots = [Int32](repeating: -1, count: mask + 1)
    for (i, key) in keys.enumerated() {
      var slot = Int(truncatingIfNeeded: key.hash >> 20) & mask
      while slots[slot] >= 0 { slot = (slot + 1) & mask }
      slots[slot] = Int32(i)
    }
  }
}
