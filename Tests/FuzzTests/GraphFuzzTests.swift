// The engine against the oracle on random graphs, by every instruction set that runs here, with one
// thread and with two (however small the work; with two, updates also happen in place where they may),
// on memory that is full of NaNs before each run. A failure prints the seed and a graph that has been
// shrunk to what is needed to fail.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

@Suite struct GraphFuzzTests {
  private static let seeds = FuzzSeeds.range(usual: 2000, debug: 300)

  /// What is wrong with the engine's values of a case, or nil.
  private static func disagreement(_ graphCase: GraphCase) -> String? {
    withExtendedLifetime(graphCase) {
      let expected = graphCase.evaluate()
      let agreements = graphCase.agreements()
      let isFixed = positionsWithFixedBits(graphCase.graph)
      var portable: [Int: Storage] = [:]
      for set in NativeCode.available {
        let one: [Int: Storage]
        let two: [Int: Storage]
        do {
          let batching: BatchLimits = graphCase.seed % 2 == 0 ? .all : .usual
          one = try run(graphCase, graphCase.graph, set, threads: 1, batching: batching)
          two = try run(
            graphCase, graphCase.graph, set, threads: 2, updatesInPlace: true, batching: batching)
        } catch {
          return "the engine failed: \(error)"
        }
        if set == .portable { portable = one }
        for root in graphCase.roots {
          guard let value = one[root], let other = two[root] else { return "%\(root) has no value" }
          let reference = expected[root]
          if let difference = Comparison.compare(value.pointer, reference, agreements[root]) {
            return "%\(root), \(set): \(difference)"
          }
          let bytes = reference.count * reference.type.size
          if bytes > 0, memcmp(value.pointer, other.pointer, bytes) != 0 {
            return "%\(root), \(set): one thread and two give different bits"
          }
          if isFixed[root], let base = portable[root] {
            // Of two NaNs the portable kernels pass on the one that the Swift compiler put first.
            let shape = LayoutTable.shared[graphCase.graph.nodes[root].shape]
            let same = Comparison.compare(
              value.pointer, ReferenceArray(reference.type, shape, at: base.pointer), .exact,
              signsOfZeros: true)
            if let same { return "%\(root), \(set) and the portable kernels: \(same)" }
          }
        }
      }
      return nil
    }
  }

  private static func run(
    _ graphCase: GraphCase, _ graph: Graph, _ set: InstructionSet, threads: Int,
    updatesInPlace: Bool = false, batching: BatchLimits = .usual, rolling: RollLimits = .usual
  ) throws -> [Int: Storage] {
    try PlanRunner.run(
      graph, leaves: graphCase.pointers, scalars: graphCase.scalars, threads: threads,
      instructionSet: set, parallelThreshold: 0, poisons: true, updatesInPlace: updatesInPlace,
      batching: batching, rolling: rolling)
  }

  /// Whether batching changes a bit, of a graph and of several alike that share some of their leaves.
  private static func dependenceOnBatching(_ graphCase: GraphCase) -> String? {
    var limits = BatchLimits.all
    limits.members = 2 + Int(graphCase.seed % 3)
    limits.terms = 3 + Int(graphCase.seed / 3 % 6)
    limits.rows = [1, 2, 8, 1 << 20][Int(graphCase.seed / 18 % 4)]
    limits.elements = [8, 1024, 1 << 20][Int(graphCase.seed / 72 % 3)]
    return dependence(graphCase, "batched", limits, .off)
  }

  /// Whether planning by turns changes a bit, of a graph and of several alike that go on with each other's results.
  private static func dependenceOnLoops(_ graphCase: GraphCase) -> String? {
    var limits = RollLimits.all
    limits.merged = 1 + Int(graphCase.seed % 3)
    limits.common = 1 + Int(graphCase.seed / 3 % 6)
    return dependence(graphCase, "by turns", graphCase.seed % 2 == 0 ? .off : .all, limits)
  }

  private static func dependence(
    _ graphCase: GraphCase, _ name: String, _ batching: BatchLimits, _ rolling: RollLimits
  ) -> String? {
    withExtendedLifetime(graphCase) {
      for set in NativeCode.available {
        let alone: [Int: Storage]
        let other: [Int: Storage]
        do {
          alone = try run(
            graphCase, graphCase.graph, set, threads: 1, batching: .off, rolling: .off)
          other = try run(
            graphCase, graphCase.graph, set, threads: 1 + Int(graphCase.seed % 2),
            updatesInPlace: graphCase.seed % 5 < 2, batching: batching, rolling: rolling)
        } catch {
          return "the engine failed: \(error)"
        }
        for root in graphCase.roots {
          guard let a = alone[root], let b = other[root] else { return "%\(root) has no value" }
          let node = graphCase.graph.nodes[root]
          let shape = LayoutTable.shared[node.shape]
          // Which of two NaNs is passed on is open, as where values are kept.
          let difference = Comparison.compare(
            b.pointer, ReferenceArray(node.type, shape, at: a.pointer), .exact,
            signsOfZeros: true)
          if let difference { return "%\(root), \(set): other bits \(name): \(difference)" }
        }
      }
      return nil
    }
  }

  /// The positions whose bits are the same on every instruction set: those that no operation with
  /// fused steps inside goes into. Sums have one order everywhere.
  private static func positionsWithFixedBits(_ graph: Graph) -> [Bool] {
    var isFixed: [Bool] = []
    for node in graph.nodes {
      let own = node.opcode.info.rounding != .fused
      let operands = [node.a, node.b, node.c].filter { $0 >= 0 }
      isFixed.append(own && operands.allSatisfy { isFixed[Int($0)] })
    }
    return isFixed
  }

  /// Whether keeping every value in memory, as forcing after every operation would, changes a bit.
  private static func dependenceOnSchedule(_ graphCase: GraphCase) -> String? {
    withExtendedLifetime(graphCase) {
      var all = graphCase.graph
      for i in all.nodes.indices where all.nodes[i].canBeRoot { all.nodes[i].isRoot = true }
      let hasOneNaN = positionsWithOneNaN(graphCase.graph)
      for set in NativeCode.available {
        let lazy: [Int: Storage]
        let eager: [Int: Storage]
        do {
          lazy = try run(graphCase, graphCase.graph, set, threads: 1)
          eager = try run(graphCase, all, set, threads: 1)
        } catch {
          return "the engine failed: \(error)"
        }
        for root in graphCase.roots {
          guard let a = lazy[root], let b = eager[root] else { return "%\(root) has no value" }
          let node = graphCase.graph.nodes[root]
          let shape = LayoutTable.shared[node.shape]
          // The portable kernels are Swift, whose compiler exchanges the operands of sums and products
          // as it likes, and otherwise in a build for a sanitizer: which of two NaNs they pass on is open.
          let difference =
            hasOneNaN[root] && set != .portable
            ? Comparison.compareBits(b.pointer, a.pointer, node.type, count: shape.count)
            : Comparison.compare(
              b.pointer, ReferenceArray(node.type, shape, at: a.pointer), .exact,
              signsOfZeros: true)
          if let difference {
            return "%\(root), \(set): other bits where every value is kept: \(difference)"
          }
        }
      }
      return nil
    }
  }

  /// The positions at which the schedule can't choose between two NaNs.
  ///
  /// It can where a longer sum of matrix products is the second operand of a sum whose first is a
  /// single short product. Kept, each has its value in memory, and the sum passes on the NaN of its first
  /// operand. In one kernel the short product is added to the longer sum, which is there before, and
  /// passes on the NaN of that; the other way round other numbers would be rounded. All numbers are the
  /// same bits either way, only the payload (and the sign) of a NaN is open, there and in what is
  /// computed from it.
  private static func positionsWithOneNaN(_ graph: Graph) -> [Bool] {
    /// Products in the sum that a position is, counted in blocks of the summed axis; 0 for others.
    var blocks: [Int] = []
    var result: [Bool] = []
    for node in graph.nodes {
      let operands = [node.a, node.b, node.c].filter { $0 >= 0 }.map { Int($0) }
      var isOpen = false
      switch node.opcode {
      case .matmul:
        let depth = LayoutTable.shared[graph.nodes[operands[0]].shape].dims.last ?? 1
        blocks.append(max(1, (depth + Summation.blockDepth - 1) / Summation.blockDepth))
      case .add:
        let (a, b) = (blocks[operands[0]], blocks[operands[1]])
        isOpen = a == 1 && b > 1
        blocks.append(a > 0 && b > 0 ? a + b : 0)
      case .view: blocks.append(blocks[operands[0]])
      case .attach: blocks.append(blocks[Int(node.b)])
      default: blocks.append(0)
      }
      result.append(!isOpen && operands.allSatisfy { result[$0] })
    }
    return result
  }

  /// A report of a failure: the seed, what differs, and the smallest graph that was found to fail.
  private static func report(_ graphCase: GraphCase, _ difference: String) -> String {
    let small = GraphShrinker.shrink(graphCase) { disagreement($0) != nil }
    return """
      LAZYGRAD_FUZZ_SEED=\(graphCase.seed): \(difference)
      shrunk from \(graphCase.graph.nodes.count) nodes: \(disagreement(small) ?? "passes now")
      \(describe(small))
      """
  }

  @Test func randomGraphsAgreeWithTheOracle() {
    var failures = 0
    for seed in Self.seeds {
      let graphCase = RandomGraph.make(seed: seed)
      guard let difference = Self.disagreement(graphCase) else { continue }
      Issue.record("\(Self.report(graphCase, difference))")
      failures += 1
      if failures == 5 { break }
    }
  }

  @Test func bitsDoNotDependOnWhatIsKept() {
    var failures = 0
    for seed in Self.seeds {
      let graphCase = RandomGraph.make(seed: seed)
      guard let difference = Self.dependenceOnSchedule(graphCase) else { continue }
      let small = GraphShrinker.shrink(graphCase) { Self.dependenceOnSchedule($0) != nil }
      Issue.record(
        """
        LAZYGRAD_FUZZ_SEED=\(graphCase.seed): \(difference)
        \(describe(small))
        """)
      failures += 1
      if failures == 5 { break }
    }
  }

  @Test func bitsDoNotDependOnBatching() throws {
    try check(Self.dependenceOnBatching) { try $0.repeated(2 + Int($0.seed % 7)) }
  }

  @Test func bitsDoNotDependOnLoops() throws {
    try check(Self.dependenceOnLoops) {
      try $0.repeated(2 + Int($0.seed % 9), isChained: $0.seed % 3 != 0)
    }
  }

  /// Looks at random graphs, most of which are repeated.
  private func check(
    _ dependence: (GraphCase) -> String?, repeated: (GraphCase) throws -> GraphCase
  ) throws {
    var failures = 0
    var options = RandomGraph.Options()
    options.nodeCount = 10...120
    options.elementLimits = [64, 300, 1200]
    for seed in Self.seeds {
      var graphCase = RandomGraph.make(seed: seed, options: options)
      if seed % 4 != 0 { graphCase = try repeated(graphCase) }
      guard let difference = dependence(graphCase) else { continue }
      let small = GraphShrinker.shrink(graphCase) { dependence($0) != nil }
      Issue.record(
        """
        LAZYGRAD_FUZZ_SEED=\(graphCase.seed): \(difference)
        shrunk: \(dependence(small) ?? "passes now")
        \(describe(small))
        """)
      failures += 1
      if failures == 5 { break }
    }
  }

  /// The generator is only worth what it generates.
  @Test func theGeneratorUsesEveryOpcode() {
    var seen: Set<Opcode> = []
    for seed in 0..<UInt64(400) {
      seen.formUnion(RandomGraph.make(seed: seed).graph.nodes.map(\.opcode))
    }
    #expect(Opcode.allCases.filter { !seen.contains($0) } == [])
  }

  @Test func equalSeedsGiveEqualGraphs() {
    let (a, b) = (RandomGraph.make(seed: 7), RandomGraph.make(seed: 7))
    #expect(describe(a) == describe(b))
  }

  /// The shrinker keeps the fault and little else.
  @Test func theShrinkerFindsTheCulprit() {
    var tried = 0
    for seed in 0..<UInt64(60) {
      let graphCase = RandomGraph.make(seed: seed)
      guard graphCase.graph.nodes.contains(where: { $0.opcode == .tanh }) else { continue }
      tried += 1
      let small = GraphShrinker.shrink(graphCase) { $0.graph.nodes.contains { $0.opcode == .tanh } }
      #expect(small.graph.nodes.count <= 2, "\(describe(small))")
    }
    #expect(tried > 5)
  }
}
