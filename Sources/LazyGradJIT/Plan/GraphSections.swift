// Cuts a graph into sections that are graphs of their own, so that sections which do the same are equal.

/// A stretch of a graph as a graph, and how it hangs together with the rest.
struct GraphSection {
  /// What a leaf of the section is: a leaf of the whole graph, or a value of an earlier section, from an element
  /// on. A part that is only read through views begins with the first element that one of them shows, so that
  /// turns which read one row after the other of the same array are equal.
  struct Leaf: Equatable {
    let position: Int32
    let offset: Int
    /// Not a part.
    let isWhole: Bool
  }

  /// What a run-time number of the section is: one of the whole graph, or where a region begins.
  struct Number {
    /// -1 for a place.
    let slot: Int32
    let value: Int
  }

  var graph: Graph
  var leaves: [Leaf] = []
  var numbers: [Number] = []
  /// The positions in the whole graph whose values are in memory when the section has run, by position.
  var outputs: [Int32] = []
}

extension GraphNode {
  /// Whether a section that reads it has one of its own.
  fileprivate var isRepeated: Bool { opcode == .leaf || opcode == .scalar || opcode == .iota }
}

/// Cuts a graph at some places. Whatever the places are, to run the sections one after the other is to run the
/// graph: a value that a later section reads is a root of its own section and a leaf of the later one, and views
/// and numbers are repeated where they are read.
struct GraphSections {
  private let graph: Graph
  /// By position, what a view or an alias shows in the end; itself for others.
  private let origins: [Int32]
  /// Whether a later section reads a value.
  private let crosses: [Bool]
  private let bounds: [Int]

  // Of the section that is being cut: where it begins, and what stands for positions in it.
  private var start = 0
  private var stamp: Int32 = 0
  private var local: [Int32]
  private var localStamps: [Int32]
  private var parts: [Part]
  private var section = GraphSection(graph: Graph(cut: [], leafCount: 0, scalarCount: 0))

  /// What stands for a part of a value.
  private struct Part {
    var stamp: Int32 = 0
    /// -1: it has not been read yet.
    var local: Int32 = -1
    var offset = 0
  }

  /// - Parameter ends: Where sections end, ascending; the last one is the number of positions.
  init(_ graph: Graph, ends: [Int]) {
    self.graph = graph
    bounds = ends
    let n = graph.nodes.count
    var origins = [Int32](repeating: 0, count: n)
    var crosses = [Bool](repeating: false, count: n)
    var (section, start) = (0, 0)
    for i in 0..<n {
      while i >= ends[section] {
        start = ends[section]
        section += 1
      }
      let node = graph.nodes[i]
      switch node.opcode {
      case .view: origins[i] = origins[Int(node.a)]
      case .attach: origins[i] = origins[Int(node.b)]
      default: origins[i] = Int32(i)
      }
      for operand in [node.a, node.b, node.c] where operand >= 0 {
        let origin = Int(origins[Int(operand)])
        if origin < start, !graph.nodes[origin].isRepeated { crosses[origin] = true }
      }
    }
    self.origins = origins
    self.crosses = crosses
    local = [Int32](repeating: 0, count: n)
    localStamps = [Int32](repeating: 0, count: n)
    parts = [Part](repeating: Part(), count: n)
  }

  /// Calls `body` with one section after the other.
  mutating func forEach(_ body: (GraphSection) -> Void) {
    var begin = 0
    for end in bounds {
      if end > begin { body(cut(begin..<end)) }
      begin = end
    }
  }

  private mutating func cut(_ range: Range<Int>) -> GraphSection {
    start = range.lowerBound
    stamp += 1
    section = GraphSection(graph: Graph(cut: [], leafCount: 0, scalarCount: 0))
    section.graph.nodes.reserveCapacity(range.count + 16)
    for i in range { noteParts(i) }
    for i in range where graph.nodes[i].opcode != .leaf { emit(i) }
    section.graph.leafCount = section.leaves.count
    section.graph.scalarCount = section.numbers.count
    return section
  }

  private func isOutside(_ i: Int) -> Bool { i < start || graph.nodes[i].opcode == .leaf }

  /// Notes from where on a node reads parts of values from outside.
  private mutating func noteParts(_ i: Int) {
    let node = graph.nodes[i]
    if node.opcode == .view { note(view: i) }
    for operand in [node.a, node.b, node.c] where operand >= 0 && Int(operand) < start {
      note(view: Int(operand))
    }
  }

  /// Notes what the innermost of a chain of views reads.
  private mutating func note(view last: Int) {
    var i = last
    while true {
      let node = graph.nodes[i]
      if node.opcode == .attach {
        i = Int(node.b)
        continue
      }
      if node.opcode != .view { return }
      if let value = partedValue(node) {
        if parts[value].stamp != stamp {
          parts[value] = Part(stamp: stamp, local: -1, offset: node.offset)
        } else {
          parts[value].offset = min(parts[value].offset, node.offset)
        }
        return
      }
      i = Int(node.a)
      // What is behind it is a view of this section, which has been noted.
      if !isOutside(i) { return }
    }
  }

  /// The value from outside that a view looks at directly, if its elements lie in order.
  private func partedValue(_ view: GraphNode) -> Int? {
    var i = Int(view.a)
    while graph.nodes[i].opcode == .attach { i = Int(graph.nodes[i].b) }
    let node = graph.nodes[i]
    switch node.opcode {
    case .view, .scalar, .iota: return nil
    case .leaf: return node.attribute == node.shape ? i : nil
    default: return isOutside(i) ? i : nil
    }
  }

  private mutating func emit(_ i: Int) {
    var node = graph.nodes[i]
    if node.opcode == .view {
      emitView(i)
      return
    }
    if node.opcode == .scalar {
      let place = Int(number(i))
      if node.isRoot {
        section.graph.nodes[place].isRoot = true
        section.outputs.append(Int32(i))
      }
      return
    }
    if node.a >= 0 { node.a = operand(Int(node.a)) }
    if node.b >= 0 { node.b = operand(Int(node.b)) }
    if node.c >= 0 { node.c = operand(Int(node.c)) }
    if node.opcode == .addRegion || node.opcode == .setRegion {
      // Where the region begins is bound as a number is.
      node.slot = Int32(section.numbers.count)
      section.numbers.append(GraphSection.Number(slot: -1, value: node.offset))
      node.offset = Int(node.slot)
    }
    node.isRoot = node.isRoot || crosses[i]
    if node.isRoot { section.outputs.append(Int32(i)) }
    keep(i, append(node))
  }

  private mutating func append(_ node: GraphNode) -> Int32 {
    section.graph.nodes.append(node)
    return Int32(section.graph.nodes.count - 1)
  }

  private mutating func keep(_ i: Int, _ place: Int32) {
    local[i] = place
    localStamps[i] = stamp
  }

  /// What stands for an operand.
  private mutating func operand(_ first: Int) -> Int32 {
    var i = first
    while graph.nodes[i].opcode == .attach, isOutside(i) { i = Int(graph.nodes[i].b) }
    if localStamps[i] == stamp { return local[i] }
    var node = graph.nodes[i]
    switch node.opcode {
    case .scalar: return number(i)
    case .view:
      emitView(i)
      return local[i]
    case .iota:
      node.isRoot = false
      keep(i, append(node))
      return local[i]
    default:
      keep(i, leaf(GraphSection.Leaf(position: Int32(i), offset: 0, isWhole: true), like: node))
      return local[i]
    }
  }

  private mutating func number(_ i: Int) -> Int32 {
    if localStamps[i] == stamp { return local[i] }
    var node = graph.nodes[i]
    section.numbers.append(GraphSection.Number(slot: node.slot, value: 0))
    node.slot = Int32(section.numbers.count - 1)
    node.isRoot = false
    keep(i, append(node))
    return local[i]
  }

  private mutating func leaf(_ leaf: GraphSection.Leaf, like node: GraphNode) -> Int32 {
    section.leaves.append(leaf)
    return append(
      GraphNode(
        .leaf, node.type, shape: node.shape,
        attribute: node.opcode == .leaf ? node.attribute : node.shape,
        slot: section.leaves.count - 1))
  }

  /// A view, and those from outside that it is a view of: a chain may be long.
  private mutating func emitView(_ last: Int) {
    var chain: [Int] = []
    var i = last
    while true {
      while graph.nodes[i].opcode == .attach, isOutside(i) { i = Int(graph.nodes[i].b) }
      if localStamps[i] == stamp || graph.nodes[i].opcode != .view { break }
      chain.append(i)
      i = Int(graph.nodes[i].a)
    }
    for i in chain.reversed() {
      var view = graph.nodes[i]
      if let value = partedValue(view) {
        if parts[value].local < 0 {
          // As if it were no longer than the first view of it: how long the whole is doesn't matter here.
          var node = graph.nodes[value]
          (node.shape, node.attribute) = (view.shape, view.shape)
          parts[value].local = leaf(
            GraphSection.Leaf(
              position: Int32(value), offset: parts[value].offset, isWhole: false), like: node)
        }
        view.a = parts[value].local
        view.offset -= parts[value].offset
      } else {
        view.a = operand(Int(view.a))
      }
      keep(i, append(view))
    }
  }
}
