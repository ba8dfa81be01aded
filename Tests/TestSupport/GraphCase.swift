// A graph together with everything that running it takes: the unit that the random generator makes,
// the comparison judges and the shrinker cuts down.

import LazyGradJIT

/// How closely the engine can be expected to follow the oracle.
package enum Agreement: Int, Comparable, Sendable {
  /// Bit for bit: made of correctly rounded operations, whose result no schedule changes.
  case exact
  /// A free order of summation or an elementary function, in float64 only.
  case double
  /// The same in float32.
  case single

  package static func < (a: Agreement, b: Agreement) -> Bool { a.rawValue < b.rawValue }

  /// What this node adds of its own, apart from what its operands bring along.
  package static func own(_ node: GraphNode) -> Agreement {
    guard node.type.isFloating, node.opcode.info.rounding != .exact else { return .exact }
    return node.type == .float32 ? .single : .double
  }
}

/// A graph, the memory of its leaves and the numbers of its scalars.
package struct GraphCase: Sendable {
  /// Where a leaf's first element is.
  package struct Leaf: Sendable {
    package let storage: Storage
    package let byteOffset: Int
    package init(storage: Storage, byteOffset: Int) {
      self.storage = storage
      self.byteOffset = byteOffset
    }
  }

  /// The seed that reproduces it.
  package let seed: UInt64
  package private(set) var graph: Graph
  package private(set) var leaves: [Leaf]
  package private(set) var scalars: [Double]

  package init(seed: UInt64, graph: Graph, leaves: [Leaf], scalars: [Double]) {
    self.seed = seed
    self.graph = graph
    self.leaves = leaves
    self.scalars = scalars
  }

  /// The addresses to run the graph with; valid while the case is alive.
  package var pointers: [UnsafeRawPointer] {
    leaves.map { UnsafeRawPointer($0.storage.pointer) + $0.byteOffset }
  }

  /// The positions of the roots.
  package var roots: [Int] { graph.nodes.indices.filter { graph.nodes[$0].isRoot } }

  /// The oracle's values of all nodes.
  package func evaluate() -> [ReferenceArray] {
    withExtendedLifetime(leaves) {
      Reference.evaluate(graph, leaves: pointers, scalars: scalars)
    }
  }

  /// How closely each node must agree with the oracle.
  package func agreements() -> [Agreement] {
    var result: [Agreement] = []
    for node in graph.nodes {
      var agreement = Agreement.own(node)
      for operand in node.operands { agreement = max(agreement, result[operand]) }
      result.append(agreement)
    }
    return result
  }

  /// The same work without the nodes that no root needs; slots are numbered anew by first use.
  package func compacted() -> GraphCase {
    var isNeeded = graph.nodes.map(\.isRoot)
    for i in graph.nodes.indices.reversed() where isNeeded[i] {
      for operand in graph.nodes[i].operands { isNeeded[operand] = true }
    }
    var position = [Int32](repeating: -1, count: graph.nodes.count)
    var nodes: [GraphNode] = []
    var newLeaves: [Leaf] = []
    var newScalars: [Double] = []
    var leafSlots: [Int32: Int32] = [:]
    var scalarSlots: [Int32: Int32] = [:]
    for (i, old) in graph.nodes.enumerated() where isNeeded[i] {
      var node = old
      if node.a >= 0 { node.a = position[Int(node.a)] }
      if node.b >= 0 { node.b = position[Int(node.b)] }
      if node.c >= 0 { node.c = position[Int(node.c)] }
      if node.opcode == .leaf {
        if leafSlots[old.slot] == nil {
          leafSlots[old.slot] = Int32(newLeaves.count)
          newLeaves.append(leaves[Int(old.slot)])
        }
        node.slot = leafSlots[old.slot]!
      } else if node.opcode == .scalar {
        if scalarSlots[old.slot] == nil {
          scalarSlots[old.slot] = Int32(newScalars.count)
          newScalars.append(scalars[Int(old.slot)])
        }
        node.slot = scalarSlots[old.slot]!
      }
      position[i] = Int32(nodes.count)
      nodes.append(node)
    }
    let graph = Graph(
      nodes: nodes, leafCount: newLeaves.count, scalarCount: newScalars.count)
    return GraphCase(seed: seed, graph: graph, leaves: newLeaves, scalars: newScalars)
  }

  /// The same work several times over, one after the other, with numbers of their own in some of the leaves;
  /// what the copies of a root are together is a root as well, where they can be added.
  ///
  /// - Parameter isChained: Some copies of leaves are what the copy before has computed of the same shape.
  package func repeated(_ count: Int, isChained: Bool = false) throws -> GraphCase {
    var random = SeededRandom(seed: seed &+ 77)
    let isShared = leaves.map { _ in random.chance(0.4) }
    let sources = isChained ? graph.nodes.map { chainSource($0, &random) } : []
    var before: [Int32] = []
    var nodes: [GraphNode] = []
    var allLeaves = leaves
    var allScalars = scalars
    var first: [Int32: Int] = [:]
    var totals: [Int: Int] = [:]
    for copy in 0..<count {
      var leafSlots: [Int32: Int32] = [:]
      var scalarSlots: [Int32: Int32] = [:]
      var position: [Int32] = []
      for (i, old) in graph.nodes.enumerated() {
        var node = old
        if node.a >= 0 { node.a = position[Int(node.a)] }
        if node.b >= 0 { node.b = position[Int(node.b)] }
        if node.c >= 0 { node.c = position[Int(node.c)] }
        if node.opcode == .leaf, copy > 0, isChained, let source = sources[i] {
          position.append(before[source])
          continue
        }
        if node.opcode == .leaf, copy > 0 {
          if isShared[Int(node.slot)], let known = first[Int32(i)] {
            position.append(Int32(known))
            continue
          }
          if leafSlots[node.slot] == nil {
            leafSlots[node.slot] = Int32(allLeaves.count)
            allLeaves.append(try leaves[Int(node.slot)].scaled(node.type, 1 + 0.125 * Double(copy)))
          }
          node.slot = leafSlots[node.slot]!
        } else if node.opcode == .scalar, copy > 0 {
          if scalarSlots[node.slot] == nil {
            scalarSlots[node.slot] = Int32(allScalars.count)
            let number = scalars[Int(node.slot)]
            allScalars.append(node.type.isFloating ? number * (1 + 0.25 * Double(copy)) : number)
          }
          node.slot = scalarSlots[node.slot]!
        }
        if copy == 0 { first[Int32(i)] = nodes.count }
        position.append(Int32(nodes.count))
        nodes.append(node)
      }
      before = position
      for i in roots where graph.nodes[i].type.isFloating && !graph.nodes[i].type.isHalf {
        let own = Int(position[i])
        if i % 2 == 0 { nodes[own].isRoot = false }
        guard let total = totals[i] else {
          totals[i] = own
          continue
        }
        totals[i] = nodes.count
        nodes.append(
          GraphNode(
            .add, graph.nodes[i].type, shape: graph.nodes[i].shape, a: total, b: own))
      }
    }
    for total in totals.values { nodes[total].isRoot = true }
    return GraphCase(
      seed: seed,
      graph: Graph(nodes: nodes, leafCount: allLeaves.count, scalarCount: allScalars.count),
      leaves: allLeaves, scalars: allScalars)
  }

  /// What could take the place of a leaf in the next copy of the graph. Integers, which may be positions, have
  /// none.
  private func chainSource(_ leaf: GraphNode, _ random: inout SeededRandom) -> Int? {
    guard leaf.opcode == .leaf, leaf.type.isFloating, random.chance(0.6) else { return nil }
    let all = roots.filter {
      graph.nodes[$0].type == leaf.type && graph.nodes[$0].shape == leaf.shape
    }
    return all.isEmpty ? nil : random.pick(all)
  }

  /// The same work with other roots, cut down to what they need.
  package func rooted(at roots: Set<Int>) -> GraphCase {
    var result = self
    for i in graph.nodes.indices { result.graph.nodes[i].isRoot = roots.contains(i) }
    return result.compacted()
  }

  /// The same work with one node's value given instead of computed.
  package func replacing(_ position: Int, with value: ReferenceArray) throws -> GraphCase {
    var result = self
    let old = graph.nodes[position]
    let storage = try Storage(byteCount: value.count * value.type.size)
    value.store(to: storage.pointer)
    result.graph.nodes[position] = GraphNode(
      .leaf, old.type, shape: old.shape, attribute: old.shape, slot: leaves.count)
    result.leaves.append(Leaf(storage: storage, byteOffset: 0))
    result.graph.leafCount += 1
    return result.compacted()
  }
}

extension GraphCase.Leaf {
  /// A leaf of its own with numbers that are so many times as large; integers, which may be positions, stay.
  fileprivate func scaled(_ type: ScalarType, _ factor: Double) throws -> Self {
    let copy = try Storage(byteCount: storage.byteCount)
    copy.pointer.copyMemory(from: storage.pointer, byteCount: storage.byteCount)
    if type == .float32 {
      let p = copy.pointer.assumingMemoryBound(to: Float.self)
      for i in 0..<(storage.byteCount / 4) { p[i] *= Float(factor) }
    } else if type == .float64 {
      let p = copy.pointer.assumingMemoryBound(to: Double.self)
      for i in 0..<(storage.byteCount / 8) { p[i] *= factor }
    }
    return Self(storage: copy, byteOffset: byteOffset)
  }
}

extension GraphNode {
  /// The positions of the operands.
  package var operands: [Int] { [a, b, c].filter { $0 >= 0 }.map(Int.init) }

  /// Whether the engine can be asked to leave this node's value in memory: what has memory of its
  /// own to be left in.
  package var canBeRoot: Bool {
    opcode != .leaf && opcode != .scalar && opcode != .view && opcode != .attach
  }
}

/// A graph as text, one node per line, for reports of failures.
package func describe(_ graph: Graph) -> String {
  var lines: [String] = []
  for (i, node) in graph.nodes.enumerated() {
    let shape = LayoutTable.shared[node.shape]
    var line = "%\(i) = \(node.opcode.info.name)"
    if !node.operands.isEmpty {
      line += "(" + node.operands.map { "%\($0)" }.joined(separator: ", ") + ")"
    }
    line += " \(node.type.name)\(shape.dims)"
    switch node.opcode {
    case .leaf, .view, .setRegion, .addRegion:
      let layout = LayoutTable.shared[node.attribute]
      line += " layout \(layout.dims) strides \(layout.strides)"
      if node.opcode == .leaf { line += " slot \(node.slot)" } else { line += " at \(node.offset)" }
    case .scalar: line += " slot \(node.slot)"
    case _ where node.opcode.info.opClass == .reduction:
      line += " [outer, length, inner] = \(LayoutTable.shared[node.attribute].dims)"
    case .concat, .cumsum, .cumprod: line += " axis \(node.attribute)"
    case .sort, .argsort: line += " order \(SortOrder(attribute: node.attribute))"
    case .attach: line += " rule \(node.attribute)"
    case .matrix: line += " routine \(node.attribute)"
    default: break
    }
    lines.append(node.isRoot ? line + "  <- root" : line)
  }
  return lines.joined(separator: "\n")
}

/// A case as text: the graph, its scalars and the first elements of its leaves.
package func describe(_ graphCase: GraphCase) -> String {
  var lines = ["seed \(graphCase.seed)", describe(graphCase.graph)]
  if !graphCase.scalars.isEmpty { lines.append("scalars \(graphCase.scalars)") }
  let values = graphCase.evaluate()
  for (i, node) in graphCase.graph.nodes.enumerated() where node.opcode == .leaf {
    let numbers =
      node.type.isFloating
      ? values[i].floats.prefix(16).map { "\($0)" }
      : values[i].integers.prefix(16).map { "\($0)" }
    let rest = values[i].count > 16 ? ", ..." : ""
    lines.append("%\(i): [" + numbers.joined(separator: ", ") + rest + "]")
    let special = values[i].floats.enumerated().filter { $0.offset > 15 && !$0.element.isFinite }
    if !special.isEmpty {
      let places = special.prefix(8).map { "\($0.element) at \($0.offset)" }
      lines.append("    " + places.joined(separator: ", "))
    }
  }
  return lines.joined(separator: "\n")
}
