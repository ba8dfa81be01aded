// Cuts the part of a tape that is asked for out into a `Graph` with local positions, and notes how
// to bind it. This is the canonical form: the same program gives the same graph wherever its nodes
// stand, in whatever else they stand.

/// A graph together with the nodes that it was cut from.
struct Extraction {
  var graph: Graph
  /// Node ids by leaf slot, by scalar slot, and by root in ascending order of position.
  var leaves: [UInt32] = []
  var scalars: [UInt32] = []
  var roots: [UInt32] = []
  /// Pending nodes that the plan evaluates, ascending.
  var cone: [UInt32] = []
  /// Leaf records, newest first, that stand for nodes of the cone.
  var imports: [UInt32] = []
  /// Those of the cone that somebody holds.
  var held: [UInt32] = []
}

extension Tape {
  private static let requested: UInt32 = 1 << 31
  private static let saved: UInt32 = 1 << 30
  private static let countMask: UInt32 = (1 << 30) - 1

  /// Cuts out everything that is needed for `ids` and has not been evaluated.
  ///
  /// Roots are what must be in memory afterwards: what was asked for, what the user holds, what an
  /// operation outside reads, and what derivative rules declare that they read.
  ///
  /// - Parameter rootsAreAsked: Only what was asked for is a root: for a run that leaves the tape as it is.
  func extract(_ ids: [UInt32], rootsAreAsked: Bool = false) -> Extraction {
    let top = Int(ids.max()!)
    // Per node: how many times the cut reads it, and the two flags above.
    state.pointee.marks.reserve(top + 1)
    let marks = state.pointee.marks.base
    var outstanding = 0
    for id in ids {
      if marks[Int(id)] == 0 { outstanding += 1 }
      marks[Int(id)] |= Tape.requested
    }
    var result = Extraction(graph: Graph(cut: [], leafCount: 0, scalarCount: 0))
    let bottom = markCone(top, marks, &outstanding, &result)
    result.cone.reverse()
    emit(bottom, top, marks, rootsAreAsked: rootsAreAsked, &result)
    (marks + bottom).update(repeating: 0, count: top - bottom + 1)
    return result
  }

  /// Walks down from the newest node, which visits every reader before what it reads.
  private func markCone(
    _ top: Int, _ marks: UnsafeMutablePointer<UInt32>, _ outstanding: inout Int,
    _ result: inout Extraction
  ) -> Int {
    var id = top
    while true {
      if marks[id] != 0 {
        outstanding -= 1
        let node = nodes + id
        if node.pointee.opcode == .leaf {
          if node.pointee.storage == nil, let source = node.pointee.imported {
            if isGiven(source) {
              bindImport(UInt32(id))
            } else {
              result.imports.append(UInt32(id))
              markImported(Int(source), by: id, marks, &outstanding)
            }
          }
        } else if !isGiven(UInt32(id)) {
          result.cone.append(UInt32(id))
          markOperands(id, marks, &outstanding)
        }
      }
      if outstanding == 0 || id == 0 { return id }
      id -= 1
    }
  }

  /// A pending node of an earlier window is cut out with the rest, as if no window had ended in
  /// between: where windows end must not change a bit of any result.
  private func markImported(
    _ source: Int, by leaf: Int, _ marks: UnsafeMutablePointer<UInt32>, _ outstanding: inout Int
  ) {
    if marks[source] == 0 { outstanding += 1 }
    marks[source] += 1
    let isReadElsewhere = nodes[leaf].uses > marks[leaf] & Tape.countMask
    if isReadElsewhere || marks[leaf] & (Tape.saved | Tape.requested) != 0 {
      marks[source] |= Tape.saved
    }
  }

  /// The node that a leaf record without memory stands for.
  @inline(__always)
  private func resolved(_ id: Int) -> Int {
    var id = id
    while nodes[id].opcode == .leaf, nodes[id].storage == nil, let source = nodes[id].imported {
      id = Int(source)
    }
    return id
  }

  @inline(__always)
  private func markOperands(
    _ id: Int, _ marks: UnsafeMutablePointer<UInt32>, _ outstanding: inout Int
  ) {
    let node = nodes[id]
    if node.a == 0 { return }
    @inline(__always)
    func mark(_ operand: Int) {
      if marks[operand] == 0 { outstanding += 1 }
      marks[operand] += 1
    }
    let a = id - Int(node.a)
    let b = id - Int(node.b)
    let c = id - Int(node.c)
    // Of an alias and of a view only the value is read; other operands are the derivative rule's.
    let isAlias = node.opcode == .attach
    if !isAlias { mark(a) }
    if node.b != 0, node.opcode != .view { mark(b) }
    if node.c != 0, !isAlias { mark(c) }
    let needs = needsLater(UInt32(id))
    if needs.isEmpty { return }
    // An alias uses its operand, which no kernel reads for it: that keeps the value.
    if needs.contains(.a), nodes[a].opcode != .scalar, !isAlias { marks[a] |= Tape.saved }
    if needs.contains(.b), nodes[b].opcode != .scalar { marks[b] |= Tape.saved }
    if needs.contains(.c), nodes[c].opcode != .scalar { marks[c] |= Tape.saved }
    if needs.contains(.output) { marks[id] |= Tape.saved }
  }

  /// The values that the derivative rule of a node will read.
  @inline(__always)
  package func needsLater(_ id: UInt32) -> Needs {
    let node = nodes[Int(id)]
    guard node.state.contains(.tracked), node.traits.contains(.variable), node.a != 0 else {
      return []
    }
    let info = node.opcode.info
    var needs: Needs = []
    if nodes[Int(a(id))].traits.contains(.variable) {
      let isOfOperand =
        node.opcode == .attach && node.composite & Node.ruleReadsOperand != 0
      needs.formUnion(isOfOperand ? .a : info.needs.a)
    }
    if node.b != 0, nodes[Int(b(id))].traits.contains(.variable) { needs.formUnion(info.needs.b) }
    if node.c != 0, nodes[Int(c(id))].traits.contains(.variable) { needs.formUnion(info.needs.c) }
    return needs
  }

  /// Writes the graph's nodes, oldest first.
  private func emit(
    _ bottom: Int, _ top: Int, _ marks: UnsafeMutablePointer<UInt32>, rootsAreAsked: Bool,
    _ result: inout Extraction
  ) {
    let span = top - bottom + 1
    let local = UnsafeMutablePointer<Int32>.allocate(capacity: span)
    local.initialize(repeating: -1, count: span)
    defer { local.deallocate() }
    var out: [GraphNode] = []
    out.reserveCapacity(result.cone.count + 16)

    /// The position of an operand; a given value becomes a leaf when it is first read.
    func position(_ operand: Int) -> Int {
      let id = resolved(operand)
      let known = local[id - bottom]
      if known >= 0 { return Int(known) }
      let node = nodes[id]
      local[id - bottom] = Int32(out.count)
      out.append(
        GraphNode(
          .leaf, node.type, shape: node.shape, attribute: node.layout, slot: result.leaves.count))
      result.leaves.append(UInt32(id))
      return out.count - 1
    }

    for coneID in result.cone {
      let id = Int(coneID)
      let node = nodes[id]
      if node.state.contains(.dead) {
        Tape.confinementIsBroken("what it was computed from was dropped")
      }
      if node.slot != nil { result.held.append(coneID) }
      if node.opcode == .view, isGiven(coneID - node.a) { continue }
      var entry = GraphNode(
        node.opcode, node.type, shape: node.shape, attribute: node.attributeBits)
      if node.opcode == .scalar {
        entry.slot = Int32(result.scalars.count)
        result.scalars.append(coneID)
      } else if node.a == 0 {
        if node.opcode.info.arity != 0 {
          Tape.confinementIsBroken("the operands of \(node.opcode.info.name) were let go")
        }
      } else {
        entry.a =
          node.opcode == .attach
          ? Int32(position(id - Int(node.b))) : Int32(position(id - Int(node.a)))
        if node.b != 0, node.opcode != .view { entry.b = Int32(position(id - Int(node.b))) }
        if node.c != 0, node.opcode != .attach { entry.c = Int32(position(id - Int(node.c))) }
        if node.opcode == .view || Node.isPayloadStatic(node.opcode, node.traits) {
          entry.offset = node.opcode == .setRows ? node.rowLength : node.regionStart
        }
        var source = resolved(id - Int(node.a))
        while node.opcode == .view, nodes[source].opcode == .view {
          // A window has ended between two views: the layout counts from where the first begins.
          entry.offset += nodes[source].regionStart
          source = resolved(source - Int(nodes[source].a))
          entry.a = Int32(position(source))
        }
      }
      let reads = marks[id] & Tape.countMask
      // A number is in its record: whoever reads it later finds it there.
      let isWanted =
        node.opcode != .scalar
        && (marks[id] & Tape.requested != 0
          || !rootsAreAsked
            && (marks[id] & Tape.saved != 0 || node.slot != nil || node.uses > reads))
      if isWanted {
        if node.opcode == .view {
          markRoot(Int(entry.a), &out)
        } else if node.opcode == .attach {
          markRoot(Int(entry.b), &out)
        } else {
          entry.isRoot = true
        }
      }
      local[id - bottom] = Int32(out.count)
      out.append(entry)
    }
    // Roots by position, with the node that each came from.
    for coneID in result.cone {
      let p = local[Int(coneID) - bottom]
      if p >= 0, out[Int(p)].isRoot { result.roots.append(coneID) }
    }
    result.graph = Graph(
      cut: out, leafCount: result.leaves.count, scalarCount: result.scalars.count)
  }

  /// The value behind aliases and views becomes a root.
  private func markRoot(_ start: Int, _ out: inout [GraphNode]) {
    var p = start
    while true {
      switch out[p].opcode {
      case .leaf: return
      case .attach: p = Int(out[p].b)
      case .view: p = Int(out[p].a)
      default:
        out[p].isRoot = true
        return
      }
    }
  }
}

extension Extraction {
  /// A plan with the nodes that it reads and computes; one from before the window has an id that wraps
  /// around.
  func nodes(of plan: Plan, since start: UInt32) -> PlanNodes {
    func relative(_ ids: [UInt32]) -> [UInt32] { ids.map { $0 &- start } }
    return PlanNodes(
      plan, leaves: relative(leaves), scalars: relative(scalars), roots: relative(roots),
      cone: relative(cone), held: relative(held))
  }
}
