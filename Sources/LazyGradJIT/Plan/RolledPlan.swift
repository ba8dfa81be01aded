// A plan of sections: the turns of a loop are planned once, and every turn runs the same plan on other memory.

extension Plan {
  /// A stretch of a rolled plan: another plan, and what it is bound to.
  struct Section {
    /// One of `bodies`, which keep it.
    let body: Unmanaged<Plan>
    /// Its leaves and then its outputs, in `sectionPlaces`.
    let firstPlace: Int
    /// Its run-time numbers, in `sectionNumbers`.
    let firstNumber: Int
    let numberCount: Int
    /// The first of its steps among those of all sections.
    let firstStep: Int
  }

  /// What sections are, beside what every plan has.
  struct Sections {
    var bodies: [Plan] = []
    var sections: [Section] = []
    var places: [Place] = []
    var numbers: [GraphSection.Number] = []
    var stepCount = 0
    var operations = 0
    /// Bytes of the arena that values take which go from section to section; the bodies' arenas are behind.
    var carriedBytes = 0
  }

  /// Whether the plan consists of sections.
  var isRolled: Bool { sections.count > 0 }

  /// Plans a graph by its loops.
  ///
  /// - Parameter plan: The plan of a section.
  /// - Returns: nil where it has none, or where sections are not equal enough for that to be less work.
  static func rolled(_ graph: Graph, _ limits: PlanLimits, plan: (Graph) -> Plan) -> Plan? {
    // First of all: most graphs are short, and those of sections are never looked at.
    if graph.nodes.count < limits.rolling.operations { return nil }
    if !limits.rolling.comesFirst, graph.mayBeBatched(limits.batching) { return nil }
    let loops = LoopFinder.loops(in: graph, limits.rolling)
    if loops.isEmpty { return nil }
    var ends: [Int] = []
    for loop in loops { ends += [loop.start] + loop.sectionEnds(limits.rolling) }
    ends.append(graph.nodes.count)
    var linker = SectionLinker(graph)
    var cutter = GraphSections(graph, ends: ends)
    cutter.forEach { linker.append($0) }
    if !limits.rolling.comesFirst, 2 * linker.plannedOperations > graph.nodes.count { return nil }
    return linker.link(plan)
  }
}

extension Graph {
  /// Whether batching could leave so few steps as it asks for: there are no fewer than the longest chain of
  /// operations has.
  fileprivate func mayBeBatched(_ limits: BatchLimits) -> Bool {
    if limits.members < 1 || nodes.count < limits.operations { return false }
    var depths = [Int32](repeating: 0, count: nodes.count)
    var deepest: Int32 = 0
    for (i, node) in nodes.enumerated() {
      var depth: Int32 = 0
      if node.a >= 0 { depth = depths[Int(node.a)] }
      if node.b >= 0 { depth = max(depth, depths[Int(node.b)]) }
      if node.c >= 0 { depth = max(depth, depths[Int(node.c)]) }
      switch node.opcode.info.opClass {
      case .source, .view, .alias: break
      default: depth += 1
      }
      depths[i] = depth
      deepest = max(deepest, depth)
    }
    return nodes.count >= limits.operationsPerStep * Int(deepest)
  }
}

/// Puts sections together: finds the different ones, and memory for what goes from one to another.
private struct SectionLinker {
  /// A section without its graph, which is that of a body.
  private struct Linked {
    let body: Int
    let leaves: [GraphSection.Leaf]
    let numbers: [GraphSection.Number]
    let outputs: [Int32]
  }

  private let graph: Graph
  private var bodies: [Graph] = []
  private var known: [UInt64: [Int]] = [:]
  private var sections: [Linked] = []

  init(_ graph: Graph) { self.graph = graph }

  /// Operations of the different sections together.
  var plannedOperations: Int { bodies.reduce(0) { $0 + $1.nodes.count } }

  mutating func append(_ section: GraphSection) {
    // Nothing but views and numbers.
    if section.outputs.isEmpty { return }
    sections.append(
      Linked(
        body: body(of: section.graph), leaves: section.leaves, numbers: section.numbers,
        outputs: section.outputs))
  }

  private mutating func body(of graph: Graph) -> Int {
    if let last = sections.last, bodies[last.body].nodes == graph.nodes { return last.body }
    let hash = PlanCache.hash(graph)
    if let same = known[hash]?.first(where: { bodies[$0].nodes == graph.nodes }) { return same }
    bodies.append(graph)
    known[hash, default: []].append(bodies.count - 1)
    return bodies.count - 1
  }

  // MARK: Memory

  /// Where values are that go from section to section.
  private struct Memory {
    /// By position, the last section that reads a value.
    var lastReaders: [Int32]
    /// By position, the value that is computed in the memory of one, -1 for none.
    var heirs: [Int32]
    /// The other way round.
    var donors: [Int32]
    /// The last of the values that are computed in the memory of one.
    var finals: [Int32]
    var places: [Place]
  }

  func link(_ plan: (Graph) -> Plan) -> Plan {
    let plans = bodies.map(plan)
    for section in sections {
      precondition(
        plans[section.body].outputs.count == section.outputs.count
          && plans[section.body].leafCount == section.leaves.count,
        "LazyGrad: a section has other operands or results than its plan")
    }
    var parts = Plan.Sections()
    parts.bodies = plans
    parts.operations = graph.nodes.count
    var outputs: [Plan.Output] = []
    var outputIndex = [Int32](repeating: -1, count: graph.nodes.count)
    for (i, node) in graph.nodes.enumerated() where node.isRoot {
      outputIndex[i] = Int32(outputs.count)
      outputs.append(Plan.Output(node: i, byteCount: byteCount(i)))
    }
    var memory = inheritance(plans)
    parts.carriedBytes = place(&memory, outputIndex)

    var cost = Plan.Cost()
    var updates: [Plan.Update] = []
    var lastReads = [Int32](repeating: -1, count: graph.leafCount)
    for (s, section) in sections.enumerated() {
      let body = plans[section.body]
      parts.sections.append(
        Plan.Section(
          body: Unmanaged.passUnretained(body), firstPlace: parts.places.count,
          firstNumber: parts.numbers.count, numberCount: section.numbers.count,
          firstStep: parts.stepCount))
      for leaf in section.leaves { parts.places.append(self.place(of: leaf, memory)) }
      for output in section.outputs { parts.places.append(memory.places[Int(output)]) }
      parts.numbers += section.numbers
      for (k, leaf) in section.leaves.enumerated() {
        let node = graph.nodes[Int(leaf.position)]
        if node.opcode == .leaf, body.lastReads[k] >= 0 {
          // It may be read as a whole and in parts.
          lastReads[Int(node.slot)] = max(
            lastReads[Int(node.slot)], Int32(parts.stepCount) + body.lastReads[k])
        }
      }
      for update in body.updates.array where mayReplace(update, section, body) {
        let leaf = graph.nodes[Int(section.leaves[update.leaf].position)]
        let output = Int(section.outputs[update.output])
        // What has the memory of another value already has it for longer than the leaf is read; and no later section
        // may read the leaf.
        guard leaf.opcode == .leaf, memory.donors[output] < 0,
          memory.lastReaders[Int(section.leaves[update.leaf].position)] == Int32(s)
        else { continue }
        let root = outputIndex[Int(memory.finals[output])]
        if root < 0 { continue }
        updates.append(
          Plan.Update(
            output: Int(root), leaf: Int(leaf.slot), step: parts.stepCount + update.step,
            byteCount: update.byteCount, isLoop: update.isLoop))
      }
      cost.add(body.cost)
      parts.stepCount += body.kernelCount
    }
    noteTurns(plans)
    return Plan(
      parts, outputs: outputs, leafCount: graph.leafCount, updates: updates, lastReads: lastReads,
      cost: cost)
  }

  private func byteCount(_ position: Int) -> Int {
    let node = graph.nodes[position]
    return LayoutTable.shared[node.shape].count * node.type.size
  }

  /// Tells bodies how often they come, so that a loop that is now longer and now shorter is known as one.
  private func noteTurns(_ plans: [Plan]) {
    var turns = [Int](repeating: 0, count: plans.count)
    for section in sections { turns[section.body] += 1 }
    for (plan, count) in zip(plans, turns) where count > 1 { plan.noteTurns(count) }
  }

  /// Whether an output of a section may have the memory of a leaf: of a whole value, no other part of which is read
  /// then or later.
  private func mayReplace(_ update: Plan.Update, _ section: Linked, _ body: Plan) -> Bool {
    let leaf = section.leaves[update.leaf]
    if !leaf.isWhole { return false }
    for (k, other) in section.leaves.enumerated()
    where other.position == leaf.position && k != update.leaf {
      if body.lastReads[k] >= Int32(update.step) { return false }
    }
    return true
  }

  /// Finds which values are computed in the memory of others.
  private func inheritance(_ plans: [Plan]) -> Memory {
    let none = [Int32](repeating: -1, count: graph.nodes.count)
    var memory = Memory(
      lastReaders: none, heirs: none, donors: none, finals: none, places: [])
    for (s, section) in sections.enumerated() {
      for leaf in section.leaves { memory.lastReaders[Int(leaf.position)] = Int32(s) }
    }
    for (s, section) in sections.enumerated() {
      let body = plans[section.body]
      for update in body.updates.array where mayReplace(update, section, body) {
        let old = Int(section.leaves[update.leaf].position)
        let new = Int(section.outputs[update.output])
        let node = graph.nodes[old]
        if node.opcode != .leaf, !node.isRoot, memory.lastReaders[old] == Int32(s),
          memory.heirs[old] < 0, memory.donors[new] < 0, byteCount(old) == byteCount(new)
        {
          memory.heirs[old] = Int32(new)
          memory.donors[new] = Int32(old)
        }
      }
    }
    for i in memory.heirs.indices.reversed() {
      let heir = Int(memory.heirs[i])
      memory.finals[i] = heir < 0 ? Int32(i) : memory.finals[heir]
    }
    return memory
  }

  /// Gives the sections' outputs memory.
  ///
  /// - Returns: The bytes of those that are no results.
  private func place(_ memory: inout Memory, _ outputIndex: [Int32]) -> Int {
    memory.places = [Place](
      repeating: Place(base: -1, byteOffset: 0), count: graph.nodes.count)
    var dying = [[Int32]](repeating: [], count: sections.count)
    var arena = ArenaAllocator()
    let outputBase = Int32(1 + graph.leafCount)
    for (s, section) in sections.enumerated() {
      for output in section.outputs {
        let i = Int(output)
        if memory.donors[i] >= 0 {
          memory.places[i] = memory.places[Int(memory.donors[i])]
        } else {
          let root = outputIndex[Int(memory.finals[i])]
          memory.places[i] =
            root >= 0
            ? Place(base: outputBase + root, byteOffset: 0)
            : Place(base: Place.arena, byteOffset: arena.allocate(byteCount(i)))
        }
        // Memory that is taken over is released with its last value.
        if memory.places[i].base == Place.arena, memory.heirs[i] < 0 {
          dying[max(Int(memory.lastReaders[i]), s)].append(output)
        }
      }
      for position in dying[s] {
        arena.release(memory.places[Int(position)].byteOffset, byteCount(Int(position)))
      }
    }
    return arena.top
  }

  private func place(of leaf: GraphSection.Leaf, _ memory: Memory) -> Place {
    let node = graph.nodes[Int(leaf.position)]
    var place =
      node.opcode == .leaf
      ? Place(base: 1 + node.slot, byteOffset: 0) : memory.places[Int(leaf.position)]
    place.byteOffset += leaf.offset * node.type.size
    return place
  }
}
