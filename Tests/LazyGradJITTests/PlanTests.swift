// The planner and the executor on small graphs written by hand: what fuzzing would find late or
// could not name. The sketch below is what golden plans are made of, too.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

/// A graph in the making, with small numbers in its leaves.
final class PlanSketch {
  private(set) var nodes: [GraphNode] = []
  private(set) var leafDims: [[Int]] = []
  private(set) var scalars: [Double] = []
  let type: ScalarType

  init(_ type: ScalarType = .float32) { self.type = type }

  private static func id(_ dims: [Int]) -> LayoutID { LayoutTable.shared.intern(dims: dims) }

  func dims(_ i: Int) -> [Int] { LayoutTable.shared[nodes[i].shape].dims }

  func add(_ node: GraphNode) -> Int {
    nodes.append(node)
    return nodes.count - 1
  }

  func leaf(_ dims: Int...) -> Int {
    leafDims.append(dims)
    let shape = Self.id(dims)
    return add(GraphNode(.leaf, type, shape: shape, attribute: shape, slot: leafDims.count - 1))
  }

  /// A leaf whose elements lie in as much memory in another order.
  func leaf(_ dims: [Int], strides: [Int]) -> Int {
    leafDims.append(dims)
    return add(
      GraphNode(
        .leaf, type, shape: Self.id(dims),
        attribute: LayoutTable.shared.intern(dims: dims, strides: strides),
        slot: leafDims.count - 1))
  }

  func scalar(_ value: Double, _ other: ScalarType? = nil) -> Int {
    scalars.append(value)
    return add(
      GraphNode(.scalar, other ?? type, shape: LayoutTable.scalar, slot: scalars.count - 1))
  }

  func op(_ opcode: Opcode, _ a: Int, _ b: Int = -1, _ c: Int = -1) -> Int {
    var dims = dims(a)
    for other in [b, c] where other >= 0 { dims = Layout.broadcast(dims, self.dims(other))! }
    var type = nodes[opcode == .select ? b : a].type
    if opcode.info.typeRule == .bool { type = .bool }
    return add(GraphNode(opcode, type, shape: Self.id(dims), a: a, b: b, c: c))
  }

  func matmul(_ a: Int, _ b: Int) -> Int {
    add(GraphNode(.matmul, type, shape: Self.id([dims(a)[0], dims(b)[1]]), a: a, b: b))
  }

  func transposed(_ a: Int) -> Int {
    let dims = dims(a)
    return add(
      GraphNode(
        .view, nodes[a].type, shape: Self.id([dims[1], dims[0]]), a: a,
        attribute: LayoutTable.shared.intern(dims: [dims[1], dims[0]], strides: [1, dims[1]])))
  }

  /// A reduction over one axis, which stays with length 1 if asked for, or over all.
  func reduce(
    _ opcode: Opcode, _ a: Int, axis: Int? = nil, keeps: Bool = false
  ) -> Int {
    let dims = dims(a)
    let type: ScalarType = opcode.info.search != nil ? .int64 : nodes[a].type
    guard let axis else {
      return add(
        GraphNode(
          opcode, type, shape: LayoutTable.scalar, a: a,
          attribute: Self.id([1, dims.reduce(1, *), 1])))
    }
    let attribute = [
      dims[..<axis].reduce(1, *), dims[axis], dims[(axis + 1)...].reduce(1, *),
    ]
    var result = dims
    if keeps { result[axis] = 1 } else { result.remove(at: axis) }
    return add(
      GraphNode(opcode, type, shape: Self.id(result), a: a, attribute: Self.id(attribute)))
  }

  /// The graph with these results.
  func graph(_ roots: Int...) -> Graph { graph(roots) }

  func graph(_ roots: [Int]) -> Graph {
    var nodes = nodes
    for root in roots { nodes[root].isRoot = true }
    return Graph(nodes: nodes, leafCount: leafDims.count, scalarCount: scalars.count)
  }

  /// The kernels of the plan, one line each, without their numbers.
  static func kernels(_ graph: Graph, batching: BatchLimits = .usual) -> [String] {
    PlanRunner.explain(graph, details: false, batching: batching).split(separator: "\n").dropFirst()
      .map {
        String($0.drop { $0 == " " }.drop { $0 != " " }.dropFirst())
      }
  }

  /// The case that runs a graph of this sketch, with numbers from -1 to 1.
  func graphCase(_ graph: Graph) throws -> GraphCase {
    var seed: UInt64 = 1
    let leaves = try leafDims.map { dims in
      let count = dims.reduce(1, *)
      let storage = try Storage(byteCount: count * type.size)
      let values = (0..<count).map { _ -> Double in
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(Int(seed >> 40) % 2001 - 1000) / 1000
      }
      if type == .float32 {
        let p = storage.pointer.assumingMemoryBound(to: Float.self)
        for i in 0..<count { p[i] = Float(values[i]) }
      } else {
        let p = storage.pointer.assumingMemoryBound(to: Double.self)
        for i in 0..<count { p[i] = values[i] }
      }
      return GraphCase.Leaf(storage: storage, byteOffset: 0)
    }
    return GraphCase(seed: 0, graph: graph, leaves: leaves, scalars: scalars)
  }

  /// What is wrong with the engine's results, or nil. Runs on poisoned memory, with one thread and
  /// with two, which must give the same bits.
  ///
  /// - Parameter updatesInPlace: Computes every result that may replace a leaf in the memory of that.
  func disagreement(
    _ graph: Graph, updatesInPlace: Bool = false, batching: BatchLimits = .usual
  ) throws -> String? {
    let graphCase = try graphCase(graph)
    return try withExtendedLifetime(graphCase) {
      let runs = try (1...2).map { threads in
        try PlanRunner.run(
          graph, leaves: graphCase.pointers, scalars: scalars, threads: threads,
          parallelThreshold: 0, poisons: true, updatesInPlace: updatesInPlace,
          batching: batching)
      }
      let expected = graphCase.evaluate()
      let agreements = graphCase.agreements()
      for root in graphCase.roots {
        guard let one = runs[0][root], let two = runs[1][root] else { return "no %\(root)" }
        if let text = Comparison.compare(one.pointer, expected[root], agreements[root]) {
          return "%\(root): \(text)"
        }
        if memcmp(one.pointer, two.pointer, one.byteCount) != 0 { return "%\(root): threads" }
      }
      return nil
    }
  }
}

@Suite struct PlanTests {
  /// A value and a reduction of it, read by one node: the node can't be in the loop of the two.
  @Test func aReductionIsNotReadInItsOwnLoop() throws {
    let s = PlanSketch()
    let x = s.op(.tanh, s.leaf(70, 50))
    let y = s.op(.sub, x, s.reduce(.max, x))
    let graph = s.graph(y)
    #expect(try s.disagreement(graph) == nil)
    #expect(PlanSketch.kernels(graph).count == 2)
  }

  /// Sums over different axes of one value: chunks must hold whole result rows of both.
  @Test func columnReductionsWithDifferentPeriodsShareALoop() throws {
    let s = PlanSketch()
    let x = s.leaf(60, 77, 30)
    let flat = s.op(.square, x)
    let a = s.reduce(.sum, flat, axis: 1)
    let view = s.add(
      GraphNode(
        .view, .float32, shape: LayoutTable.shared.intern(dims: [60 * 7, 11, 30]), a: flat,
        attribute: LayoutTable.shared.intern(dims: [60 * 7, 11, 30])))
    let b = s.reduce(.max, view, axis: 1)
    #expect(try s.disagreement(s.graph(a, b)) == nil)
  }

  @Test(arguments: [
    [0, 4], [4, 0], [1, 1], [1, 9], [9, 1], [3, 1030], [1, 1030], [2, 9000],
  ])
  func reductionsOfEveryShape(dims: [Int]) throws {
    for axis in [0, 1, nil] {
      let s = PlanSketch()
      let x = s.leaf(dims[0], dims[1])
      let own = s.reduce(.sum, s.op(.square, x), axis: axis)
      let bare = s.reduce(.sum, x, axis: axis, keeps: axis != nil)
      let after = s.op(.neg, bare)
      #expect(try s.disagreement(s.graph(own, after)) == nil, "\(dims) \(String(describing: axis))")
    }
  }

  /// Longer than one chunk and not a multiple of a vector, so partial results are combined and the
  /// last block is short.
  @Test func longLoopsAreCutIntoChunks() throws {
    let s = PlanSketch()
    let x = s.leaf(100_003)
    let y = s.op(.mul, x, x)
    #expect(try s.disagreement(s.graph(y, s.reduce(.sum, y), s.reduce(.max, y))) == nil)
    let t = PlanSketch(.float64)
    let z = t.op(.abs, t.leaf(9001, 13))
    #expect(
      try t.disagreement(
        t.graph(t.reduce(.sum, z, axis: 0), t.reduce(.min, z), t.reduce(.max, z, axis: 1))) == nil)
  }

  /// Bools are one byte, and kernels write eight at a time.
  @Test(arguments: [1, 7, 9, 511, 513])
  func boolResultsEndWhereTheyEnd(n: Int) throws {
    let s = PlanSketch()
    let (a, b) = (s.leaf(n), s.leaf(n))
    let less = s.op(.less, a, b)
    let more = s.op(.greater, a, b)
    let picked = s.op(.select, s.op(.logicalOr, less, more), a, b)
    #expect(try s.disagreement(s.graph(less, more, picked)) == nil)
  }

  /// Accumulation with something in between, and past the longest sum of one kernel.
  @Test(arguments: [1, 2, 31, 32, 33, 70])
  func sumsOfProductsOfAnyLength(terms: Int) throws {
    let s = PlanSketch(.float64)
    var total = s.leaf(5, 6)
    for _ in 0..<terms {
      let product = s.matmul(s.transposed(s.leaf(16, 5)), s.leaf(16, 6))
      total = s.op(.add, total, product)
    }
    #expect(try s.disagreement(s.graph(total)) == nil)
  }

  /// A product that is read twice, or is itself a result, is no part of a longer sum.
  @Test func sharedProductsStayWhole() throws {
    let s = PlanSketch(.float64)
    let p = s.matmul(s.leaf(4, 3), s.leaf(3, 5))
    let q = s.matmul(s.leaf(4, 2), s.leaf(2, 5))
    let sum = s.op(.add, p, q)
    #expect(try s.disagreement(s.graph(sum, s.op(.mul, p, sum))) == nil)
    #expect(try s.disagreement(s.graph(sum, q)) == nil)
  }

  /// What nobody needs is not computed.
  @Test func deadNodesAreLeftOut() throws {
    let s = PlanSketch()
    let x = s.leaf(4, 4)
    _ = s.reduce(.sum, s.matmul(x, x))
    let y = s.op(.neg, x)
    #expect(PlanSketch.kernels(s.graph(y)) == ["loop [16] negative"])
  }

  @Test func equalNodesAreComputedOnce() throws {
    let s = PlanSketch()
    let x = s.leaf(9)
    let graph = s.graph(s.op(.mul, s.op(.exp, x), s.op(.exp, x)))
    #expect(PlanSketch.kernels(graph) == ["loop [9] exp multiply"])
    #expect(try s.disagreement(graph) == nil)
  }

  /// A long chain needs no more memory than its few living values.
  @Test func memoryIsUsedAgain() throws {
    let s = PlanSketch()
    var x = s.leaf(64, 64)
    let w = s.leaf(64, 64)
    for _ in 0..<40 { x = s.op(.tanh, s.matmul(x, w)) }
    let text = PlanRunner.explain(s.graph(x), details: false)
    #expect(text.contains("arena 32768 B"), "\(text)")
  }
}
