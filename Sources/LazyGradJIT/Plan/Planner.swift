// From a graph to a plan. Passes, each a loop over positions in topological order:
//   1. simplify: equal nodes become one, views and aliases become (source, layout) pairs;
//   2. group: nodes are put into loops, greedily and without ever making a cycle;
//   3. place: values that cross loops get memory, by liveness, with in-place reuse;
//   4. lower: each group becomes a kernel.
// A plan is a function of the graph alone.

/// Plans one graph.
struct Planner {
  let graph: Graph
  var sources: [Source]
  var groups: [Group] = []
  /// The group that computes a position, -1 where nothing does.
  var groupOf: [Int32]
  /// Whether a position's value must be in memory.
  var isStored: [Bool]
  /// How many positions read a position, for products that may be merged.
  var readers: [Int32]
  /// How a computed position's value exists inside its group.
  var kinds: [ValueKind]
  /// Cheap values whose place is put off until their reader's is known, with the length of the chain
  /// of such values.
  var putOff: [UInt8]
  /// Products that have become terms of a longer sum.
  var isAbsorbed: [Bool]
  /// Copies made because a kernel can't read a layout: by source position and layout.
  var copies: [CopyKey: Int] = [:]
  /// Positions past the graph's own: values that the planner adds.
  var extra: [GraphNode] = []
  var extraOperands: [Source] = []
  /// Reductions that read a rearranged copy instead of their operand.
  var replacedOperand: [Int: Source] = [:]

  /// Where the value of a position comes from: a position that is computed or given, and, for a
  /// view, how it is laid out over that.
  struct Source {
    var position: Int32
    /// The layout over the source's memory; for non-views the source's own contiguous shape.
    var layout: LayoutID
    var offset: Int
    /// The elements are those of the source in the same order.
    var isLinear: Bool
  }

  enum ValueKind: UInt8 {
    /// One element per element of the loop's space, in the same order.
    case full
    /// One element per row.
    case perRow
    /// Known only after the group has run.
    case late
  }

  struct CopyKey: Hashable {
    let position: Int32
    let layout: LayoutID
    let offset: Int
  }

  /// What becomes one kernel.
  struct Group {
    enum Kind { case loop, move, dead }
    var kind: Kind = .loop
    /// Kernels run in ascending order; a group reads only groups of a smaller one.
    var order: Int
    /// Elements of the loop's space.
    var count: Int
    /// Columns, or 0 while any will do.
    var columns: Int
    var members: [Int32]
    /// The smallest order of another group that reads this one; and that does so in another way
    /// than element by element, so that the two can't become one loop.
    var firstReader = Int.max
    var firstOtherReader = Int.max
    var product: ProductGroup?
  }

  /// The sum of matrix products at the head of a group.
  struct ProductGroup {
    var terms: [Int32]
    /// The position whose value is the bare sum.
    var sum: Int32
    var totalK: Int
  }

  /// Longest row that is worked on at once; what is longer is reduced in one pass of its own.
  static let rowLimit = 8192
  /// Most operations in one kernel.
  static let memberLimit = 256
  /// Longest chain of values whose place is put off; bounds the recursion along it.
  static let putOffLimit = 8
  /// Longest sum of products in one kernel.
  static let productLimit = 512

  init(_ graph: Graph) {
    self.graph = graph
    let n = graph.nodes.count
    sources = []
    sources.reserveCapacity(n)
    groupOf = [Int32](repeating: -1, count: n)
    isStored = [Bool](repeating: false, count: n)
    readers = [Int32](repeating: 0, count: n)
    kinds = [ValueKind](repeating: .full, count: n)
    isAbsorbed = [Bool](repeating: false, count: n)
    putOff = [UInt8](repeating: 0, count: n)
  }

  package static func plan(_ graph: Graph) -> Plan {
    var planner = Planner(graph)
    planner.simplify()
    planner.group()
    return planner.lower()
  }

  /// A node of the graph or one that the planner added.
  func node(_ position: Int) -> GraphNode {
    position < graph.nodes.count ? graph.nodes[position] : extra[position - graph.nodes.count]
  }

  func layout(_ id: LayoutID) -> Layout { LayoutTable.shared[id] }

  func count(_ position: Int) -> Int { layout(node(position).shape).count }

  // MARK: 1. Simplify

  private struct NodeKey: Hashable {
    let head: UInt64
    let attribute: UInt32
    let a: Int32
    let b: Int32
    let c: Int32
    let offset: Int
  }

  /// Finds for every position where its value comes from.
  ///
  /// Nodes with equal operation and equal operands are computed once, which is exact: the same
  /// operation on the same bits gives the same bits. Roots keep their own memory.
  mutating func simplify() {
    var known: [NodeKey: Int32] = [:]
    known.reserveCapacity(graph.nodes.count)
    for (i, node) in graph.nodes.enumerated() {
      let position = Int32(i)
      switch node.opcode {
      case .leaf:
        sources.append(
          Source(position: position, layout: node.attribute, offset: 0, isLinear: false))
        continue
      case .attach:
        sources.append(sources[Int(node.b)])
        continue
      case .view:
        sources.append(viewSource(node, i))
        continue
      default: break
      }
      let own = Source(position: position, layout: node.shape, offset: 0, isLinear: true)
      if node.opcode == .copy, !node.isRoot, graph.nodes[Int(node.a)].opcode == .scalar {
        // A filled array is its number wherever it is read.
        sources.append(scalarSource(sources[Int(node.a)].position, shape: node.shape))
        continue
      }
      if node.opcode != .scalar {
        let key = NodeKey(
          head: UInt64(node.opcode.rawValue) | UInt64(node.type.rawValue) << 8
            | UInt64(node.shape) << 32,
          attribute: node.attribute, a: operandKey(node.a), b: operandKey(node.b),
          c: operandKey(node.c), offset: node.offset)
        if let same = known[key], !node.isRoot {
          sources.append(sources[Int(same)])
          continue
        }
        known[key] = known[key] ?? position
      }
      sources.append(own)
      if node.isRoot { isStored[i] = true }
    }
    for (i, node) in graph.nodes.enumerated() where sources[i].position == Int32(i) {
      for operand in [node.a, node.b, node.c] where operand >= 0 {
        readers[Int(sources[Int(operand)].position)] += 1
      }
    }
  }

  /// Two operands with one source and one layout are the same value.
  private func operandKey(_ operand: Int32) -> Int32 {
    if operand < 0 { return -1 }
    let source = sources[Int(operand)]
    return source.isLinear && source.layout == node(Int(source.position)).shape
      ? source.position : operand
  }

  private func scalarSource(_ scalar: Int32, shape: LayoutID) -> Source {
    let dims = layout(shape).dims
    let zeros = LayoutTable.shared.intern(
      dims: dims, strides: [Int](repeating: 0, count: dims.count))
    return Source(position: scalar, layout: zeros, offset: 0, isLinear: false)
  }

  private func viewSource(_ view: GraphNode, _ i: Int) -> Source {
    let under = sources[Int(view.a)]
    let origin = node(Int(under.position))
    if origin.opcode == .scalar { return scalarSource(under.position, shape: view.shape) }
    let wanted = layout(view.attribute)
    // A view lies over the contiguous memory of its operand; an operand that has none is copied
    // when groups are made (`groupView`).
    let isLeafInOrder =
      origin.opcode == .leaf && layout(under.layout).isContiguous && under.offset == 0
      && under.layout == graph.nodes[Int(view.a)].shape
    if !under.isLinear, !isLeafInOrder {
      return Source(position: Int32(i), layout: view.shape, offset: 0, isLinear: true)
    }
    let isLinear =
      under.isLinear && wanted.isContiguous && view.offset == 0
      && wanted.count == layout(origin.shape).count
    return Source(
      position: under.position, layout: view.attribute, offset: view.offset, isLinear: isLinear)
  }
}
