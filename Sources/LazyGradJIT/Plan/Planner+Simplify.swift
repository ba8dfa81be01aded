// Pass 1: where every value comes from, which values are the same, and which are needed.

extension Planner {
  /// Finds for every position where its value comes from.
  ///
  /// Nodes with equal operation and equal operands are computed once, which is exact: the same
  /// operation on the same bits gives the same bits. Roots keep their own memory.
  mutating func simplify() {
    let n = graph.nodes.count
    let known = Repetitions(n)
    defer { known.destroy() }
    for i in 0..<n {
      let node = entries[i].node
      switch node.opcode {
      case .leaf:
        entries[i].source = Source(
          position: Int32(i), layout: node.attribute, offset: 0, isLinear: false)
        continue
      case .scalar: continue
      case .attach:
        entries[i].source = entries[Int(node.b)].source
        continue
      case .view:
        entries[i].source = viewSource(node, as: node.attribute, i)
        if Int(entries[i].source.position) == i { setInputs(i) }
        continue
      default: break
      }
      if node.opcode == .copy, !node.isRoot, entries[Int(node.a)].node.opcode == .scalar {
        // A filled array is its number wherever it is read.
        entries[i].source = scalarSource(entries[Int(node.a)].source.position, shape: node.shape)
        continue
      }
      if isWhatItReads(node) {
        let source = viewSource(node, as: node.shape, i)
        if Int(source.position) != i {
          entries[i].source = source
          continue
        }
      }
      setInputs(i)
      let same = known.first(
        i, node, (operandKey(node.a), operandKey(node.b), operandKey(node.c)), isRoot: node.isRoot)
      if same != i { entries[i].source = entries[same].source }
    }
    for i in (0..<n).reversed() where Int(entries[i].source.position) == i {
      if entries[i].node.isRoot { entries[i].isLive = true }
      guard entries[i].isLive else { continue }
      for k in 0..<inputCount(i) {
        let position = input(i, k).position
        entries[position].isLive = true
        entries[position].readers += 1
      }
    }
  }

  private func setInputs(_ i: Int) {
    let node = entries[i].node
    var n = 0
    func add(_ operand: Int32) {
      if operand < 0 { return }
      let entry = entries + Int(operand)
      (inputs + (3 * i + n)).initialize(
        to: Input(
          source: entry.pointee.source, shape: entry.pointee.node.shape,
          count: entry.pointee.count))
      n += 1
    }
    add(node.a)
    add(node.b)
    add(node.c)
    entries[i].inputCount = Int32(n)
  }

  /// Two operands with one source and one layout are the same value.
  private func operandKey(_ operand: Int32) -> Int32 {
    if operand < 0 { return -1 }
    let source = entries[Int(operand)].source
    return source.isLinear && source.layout == entries[Int(source.position)].node.shape
      ? source.position : operand
  }

  private func scalarSource(_ scalar: Int32, shape: LayoutID) -> Source {
    let dims = layout(shape).dims
    let zeros = LayoutTable.shared.intern(
      dims: dims, strides: [Int](repeating: 0, count: dims.count))
    return Source(position: scalar, layout: zeros, offset: 0, isLinear: false)
  }

  /// Whether the value of a node is that of its first operand in other dimensions, to the bit: what a copy
  /// reads, and the sum of rows of which there is one, as that of a bias's gradient in a batch of one. Sums
  /// of columns begin with -0, so kept they have the same bits; those of a row begin with 0. Roots have memory
  /// of their own.
  private func isWhatItReads(_ node: GraphNode) -> Bool {
    if node.isRoot { return false }
    switch node.opcode {
    case .copy: break
    case .sum: if !node.type.isFloating || layout(node.attribute).dims[2] < 2 { return false }
    default: return false
    }
    let operand = entries[Int(node.a)]
    return operand.node.type == node.type && operand.count == layout(node.shape).count
      && operand.count > 0
  }

  /// Where a node has its value that is that of its first operand under a layout; its own position where it has to
  /// be brought together first.
  private func viewSource(_ view: GraphNode, as attribute: LayoutID, _ i: Int) -> Source {
    let under = entries[Int(view.a)].source
    let origin = entries[Int(under.position)]
    if origin.node.opcode == .scalar { return scalarSource(under.position, shape: view.shape) }
    let wanted = layout(attribute)
    // A view lies over the contiguous memory of its operand; an operand that has none is copied
    // when groups are made (`groupView`).
    let isLeafInOrder =
      origin.node.opcode == .leaf && layout(under.layout).isContiguous && under.offset == 0
      && under.layout == entries[Int(view.a)].node.shape
    // Positions are counted, not read, and always from the start.
    let isShiftedCount = origin.node.opcode == .iota && view.offset != 0
    if (!under.isLinear && !isLeafInOrder) || isShiftedCount {
      return turnedSource(view, wanted, under)
        ?? Source(position: Int32(i), layout: view.shape, offset: 0, isLinear: true)
    }
    let isLinear =
      under.isLinear && wanted.isContiguous && view.offset == 0 && wanted.count == origin.count
    return Source(
      position: under.position, layout: attribute, offset: view.offset, isLinear: isLinear)
  }

  /// Where a view has its value whose operand is one itself, and that only lets axes change places: in the memory
  /// of that operand, so that a matrix that is transposed twice is the matrix. nil where the view does more.
  private func turnedSource(_ view: GraphNode, _ wanted: Layout, _ under: Source) -> Source? {
    let origin = entries[Int(under.position)]
    let (operand, source) = (layout(entries[Int(view.a)].node.shape), layout(under.layout))
    guard view.offset == 0, origin.node.opcode != .iota, wanted.count == operand.count,
      wanted.count > 0, wanted.rank == operand.rank, source.dims == operand.dims
    else { return nil }
    var rest = Array(0..<operand.rank)
    var strides: [Int] = []
    for axis in 0..<wanted.rank {
      // An axis of the operand's own order is known by its distance, and one of length 1 by that too.
      let place = rest.firstIndex {
        operand.dims[$0] == wanted.dims[axis] && operand.strides[$0] == wanted.strides[axis]
      }
      guard let place else { return nil }
      strides.append(source.strides[rest.remove(at: place)])
    }
    let turned = LayoutTable.shared.intern(dims: wanted.dims, strides: strides)
    let isLinear =
      origin.source.isLinear && layout(turned).isContiguous && under.offset == 0
      && wanted.count == origin.count
    return Source(
      position: under.position, layout: turned, offset: under.offset, isLinear: isLinear)
  }
}

/// Finds nodes that repeat an earlier one: a hash table with open addressing.
private struct Repetitions {
  private struct Key: Equatable {
    var head: UInt64
    var ab: UInt64
    var cAttribute: UInt64
    var offset: Int
  }
  private let slots: UnsafeMutablePointer<Int32>
  private let keys: UnsafeMutablePointer<Key>
  private let mask: Int

  init(_ n: Int) {
    var size = 16
    while size < 2 * n { size *= 2 }
    mask = size - 1
    slots = .allocate(capacity: size)
    slots.initialize(repeating: -1, count: size)
    keys = .allocate(capacity: max(n, 1))
  }

  func destroy() {
    slots.deallocate()
    keys.deallocate()
  }

  /// The first position with this operation and these operands: `i` itself if there is none before,
  /// or if it is a root, which needs memory of its own.
  func first(_ i: Int, _ node: GraphNode, _ operands: (Int32, Int32, Int32), isRoot: Bool) -> Int {
    let key = Key(
      head: UInt64(node.opcode.rawValue) | UInt64(node.type.rawValue) << 8
        | UInt64(node.shape) << 32,
      ab: UInt64(UInt32(bitPattern: operands.0)) | UInt64(UInt32(bitPattern: operands.1)) << 32,
      cAttribute: UInt64(UInt32(bitPattern: operands.2)) | UInt64(node.attribute) << 32,
      offset: node.offset)
    var h = key.head &* 0xD6E8_FEB8_6659_FD93 ^ key.ab &* 0xA076_1D64_78BD_642F
    h ^= key.cAttribute &* 0xE703_7ED1_A0B4_28DB ^ UInt64(bitPattern: Int64(key.offset))
    h = (h ^ h >> 32) &* 0x2127_599B_F432_5C37
    var slot = Int(truncatingIfNeeded: h >> 20) & mask
    while slots[slot] >= 0 {
      let position = Int(slots[slot])
      if keys[position] == key { return isRoot ? i : position }
      slot = (slot + 1) & mask
    }
    slots[slot] = Int32(i)
    keys[i] = key
    return i
  }
}
