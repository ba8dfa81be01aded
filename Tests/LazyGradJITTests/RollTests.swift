// Loops that the planner finds in a graph: turns that are planned once give the bits of a graph that is planned as
// a whole, whatever goes from turn to turn and wherever sections are cut.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

/// Runs graphs with their loops rolled and without.
enum RollCheck {
  /// Sections of one turn, of several, and loops that are found by less or more of what turns have in common.
  static let variants: [RollLimits] = [
    .all, limits(merged: 1, common: 1), limits(merged: 3, common: 3),
    limits(merged: 1, common: 2, comesFirst: false),
  ]

  static func limits(merged: Int, common: Int = 2, comesFirst: Bool = true) -> RollLimits {
    var limits = RollLimits.all
    limits.merged = merged
    limits.common = common
    limits.comesFirst = comesFirst
    return limits
  }

  /// The plan with a section for every turn, as text, after results with loops have been compared with the
  /// oracle's, and bit by bit with those of a plan without, on every instruction set, with one thread and with
  /// two, and in the memory of leaves.
  static func plan(
    _ s: PlanSketch, _ graph: Graph, isRolled: Bool? = true,
    location: SourceLocation = #_sourceLocation
  ) throws -> String {
    let graphCase = try s.graphCase(graph)
    return try withExtendedLifetime(graphCase) {
      let expected = graphCase.evaluate()
      let agreements = graphCase.agreements()
      for set in NativeCode.available {
        func run(
          _ rolling: RollLimits, threads: Int = 1, inPlace: Bool = false,
          batching: BatchLimits = .off
        ) throws -> [Int: Storage] {
          try PlanRunner.run(
            graph, leaves: graphCase.pointers, scalars: graphCase.scalars, threads: threads,
            instructionSet: set, parallelThreshold: 0, poisons: true, updatesInPlace: inPlace,
            batching: batching, rolling: rolling)
        }
        let whole = try run(.off)
        for root in graphCase.roots {
          let text = Comparison.compare(whole[root]!.pointer, expected[root], agreements[root])
          #expect(text == nil, "whole, %\(root) \(set)", sourceLocation: location)
        }
        for (k, rolling) in variants.enumerated() {
          let runs = [
            try run(rolling), try run(rolling, threads: 2, inPlace: true),
            try run(rolling, inPlace: true, batching: .all),
          ]
          for (j, rolled) in runs.enumerated() {
            for root in graphCase.roots {
              let (a, b) = (whole[root]!, rolled[root]!)
              #expect(
                memcmp(a.pointer, b.pointer, a.byteCount) == 0, "%\(root) \(set), \(k).\(j)",
                sourceLocation: location)
            }
          }
        }
      }
      let text = text(graph, limits(merged: 1))
      if let isRolled {
        #expect(text.contains("loop of") == isRolled, "\(text)", sourceLocation: location)
      }
      return text
    }
  }

  static func text(_ graph: Graph, _ limits: RollLimits) -> String {
    PlanRunner.explain(
      graph, details: false, PlanLimits(batching: .off, rolling: limits))
  }

  /// The turns of the loops of a plan.
  static func turns(_ text: String) -> [Int] {
    text.split(separator: "\n").compactMap { line in
      line.hasPrefix("  loop of ") ? Int(line.split(separator: " ")[2]) : nil
    }
  }

  /// The kernels that a plan lists: those of a loop once.
  static func kernelLines(_ text: String) -> Int {
    text.split(separator: "\n").count { $0.hasPrefix("  k") }
  }
}

extension PlanSketch {
  /// A view of a value from an element on.
  func view(_ a: Int, _ dims: [Int], strides: [Int]? = nil, at offset: Int = 0) -> Int {
    add(
      GraphNode(
        .view, nodes[a].type, shape: LayoutTable.shared.intern(dims: dims), a: a,
        attribute: strides.map { LayoutTable.shared.intern(dims: dims, strides: $0) }
          ?? LayoutTable.shared.intern(dims: dims), offset: offset))
  }

  func region(
    _ opcode: Opcode, _ a: Int, _ value: Int, _ dims: [Int], strides: [Int]? = nil, at offset: Int
  ) -> Int {
    add(
      GraphNode(
        opcode, nodes[a].type, shape: nodes[a].shape, a: a, b: value,
        attribute: strides.map { LayoutTable.shared.intern(dims: dims, strides: $0) }
          ?? LayoutTable.shared.intern(dims: dims), offset: offset))
  }

  func iota(_ dims: [Int]) -> Int {
    add(GraphNode(.iota, .int64, shape: LayoutTable.shared.intern(dims: dims)))
  }

  /// An alias of a value, by the rule of another.
  func attach(_ a: Int, _ b: Int) -> Int {
    add(GraphNode(.attach, nodes[b].type, shape: nodes[b].shape, a: a, b: b))
  }

  /// Numbers of rows, two of them, from one on.
  func rows(from first: Int) -> Int { op(.add, iota([2]), scalar(Double(first), .int64)) }

  /// A step of a recurrence that reads an input of its own.
  func step(_ h: Int, _ w: Int, _ b: Int) -> Int {
    let dims = dims(h)
    return op(.tanh, op(.add, op(.add, matmul(h, w), leaf(dims[0], dims[1])), b))
  }
}

@Suite struct RollTests {
  // MARK: What goes from turn to turn

  @Test(arguments: [ScalarType.float32, .float64], [2, 5, 9, 17])
  func aRecurrence(_ type: ScalarType, turns: Int) throws {
    let s = PlanSketch(type)
    let (w, b) = (s.leaf(6, 6), s.leaf(6))
    let h = (0..<turns).reduce(s.leaf(2, 6)) { h, _ in s.step(h, w, b) }
    let text = try RollCheck.plan(s, s.graph(h), isRolled: turns > 5)
    // The first turns are nearer to what all of them read.
    if turns > 5 { #expect(RollCheck.turns(text) == [turns - 3], "\(text)") }
  }

  /// Larger than a chunk, so that threads share it, with partial results of sums.
  @Test func aRecurrenceOfLargeArrays() throws {
    let s = PlanSketch()
    var (h, sums) = (s.leaf(300, 257), [Int]())
    for _ in 0..<6 {
      h = s.op(.tanh, s.op(.add, s.op(.mul, h, s.leaf(257)), s.leaf(300, 1)))
      sums.append(s.reduce(.sum, h))
      h = s.op(.sub, h, s.reduce(.sum, h, axis: 0))
    }
    _ = try RollCheck.plan(s, s.graph(sums + [h]))
  }

  /// Every turn back reads what one turn forth has left, from the last to the first.
  @Test(arguments: [ScalarType.float32, .float64], [4, 9, 16])
  func valuesThatAreReadBackwards(_ type: ScalarType, turns: Int) throws {
    let s = PlanSketch(type)
    let (w, b) = (s.leaf(6, 6), s.leaf(6))
    var hs = [s.leaf(2, 6)]
    for _ in 0..<turns { hs.append(s.step(hs.last!, w, b)) }
    var (g, total) = (s.leaf(2, 6), -1)
    for t in (1...turns).reversed() {
      g = s.op(.mul, g, s.op(.sub, s.scalar(1), s.op(.square, hs[t])))
      let term = s.matmul(s.transposed(hs[t - 1]), g)
      total = total < 0 ? term : s.op(.add, total, term)
      g = s.matmul(g, s.transposed(w))
    }
    let text = try RollCheck.plan(s, s.graph(total, g))
    if turns > 4 { #expect(RollCheck.turns(text).count { $0 >= turns - 4 } == 2, "\(text)") }
  }

  /// Other values than the last turn's: those of the turn before, and one of all turns.
  @Test func valuesOfEarlierTurns() throws {
    let s = PlanSketch()
    let shared = s.op(.exp, s.leaf(2, 6))
    var hs = [s.op(.sin, s.leaf(2, 6)), s.op(.sin, s.leaf(2, 6))]
    for _ in 0..<9 {
      let (x, y) = (hs[hs.count - 1], hs[hs.count - 2])
      hs.append(s.op(.tanh, s.op(.add, s.op(.mul, x, shared), s.op(.sub, y, s.leaf(2, 6)))))
    }
    _ = try RollCheck.plan(s, s.graph(hs.last!))
    // All of them are read at the end.
    let total = hs.dropFirst().reduce(hs[0]) { s.op(.add, $0, $1) }
    _ = try RollCheck.plan(s, s.graph(total))
    _ = try RollCheck.plan(s, s.graph(total, hs[5], shared))
  }

  @Test(arguments: [0, 3])
  func emptyArrays(rows: Int) throws {
    let s = PlanSketch()
    let (w, b) = (s.leaf(0, 0), s.leaf(0))
    let h = (0..<6).reduce(s.leaf(rows, 0)) { h, _ in s.step(h, w, b) }
    _ = try RollCheck.plan(s, s.graph(h))
    // Sums of no products are zeros.
    let t = PlanSketch()
    let v = t.leaf(2, 6)
    let sum = (0..<6).reduce(v) { sum, _ in
      t.op(.add, t.op(.neg, sum), t.matmul(t.leaf(2, 0), t.leaf(0, 6)))
    }
    _ = try RollCheck.plan(t, t.graph(sum))
  }

  // MARK: Numbers and positions

  /// A number of its own in each turn and one of all.
  @Test func numbers() throws {
    let s = PlanSketch()
    let shared = s.scalar(0.75)
    var h = s.leaf(3, 5)
    for t in 0..<9 {
      let own = s.scalar(1 + 0.25 * Double(t))
      h = s.op(.sin, s.op(.add, s.op(.mul, h, own), s.op(.mul, shared, s.leaf(3, 5))))
    }
    _ = try RollCheck.plan(s, s.graph(h))
  }

  @Test func positions() throws {
    let s = PlanSketch()
    let shared = s.iota([5])
    var h = s.leaf(3, 5)
    for t in 0..<9 {
      let all = s.op(.add, s.iota([3, 5]), shared)
      let isLow = s.op(.less, all, s.scalar(Double(t), .int64))
      h = s.op(.tanh, s.op(.select, isLow, s.op(.neg, h), s.op(.mul, h, s.leaf(5))))
    }
    _ = try RollCheck.plan(s, s.graph(h))
  }

  // MARK: Where turns are not all alike

  @Test func rootsInTheMiddleOfTurns() throws {
    for held in [[0, 1, 2, 3, 4, 5, 6, 7, 8], [4], [0], [3, 4, 8], [7]] {
      let s = PlanSketch()
      let w = s.leaf(6, 6)
      var (h, roots) = (s.leaf(2, 6), [Int]())
      for t in 0..<9 {
        let z = s.op(.add, s.matmul(h, w), s.leaf(2, 6))
        if held.contains(t) { roots.append(z) }
        h = s.op(.tanh, s.op(.mul, z, s.leaf(6)))
      }
      _ = try RollCheck.plan(s, s.graph(roots + [h]))
    }
  }

  @Test func aLastTurnThatDiffers() throws {
    for extra in 0..<4 {
      let s = PlanSketch()
      let (w, b) = (s.leaf(6, 6), s.leaf(6))
      var h = (0..<8).reduce(s.leaf(2, 6)) { h, _ in s.step(h, w, b) }
      if extra > 0 { h = s.op(.add, s.matmul(h, w), s.leaf(2, 6)) }
      if extra > 1 { h = s.op(.exp, h) }
      if extra > 2 { h = s.reduce(.sum, h, axis: 1) }
      _ = try RollCheck.plan(s, s.graph(h))
    }
  }

  /// One turn has an operation more than the others, or another one.
  @Test func oneTurnThatDiffers() throws {
    for place in [0, 3, 6, 8] {
      for kind in 0..<3 {
        let s = PlanSketch()
        let (w, b) = (s.leaf(6, 6), s.leaf(6))
        var h = s.leaf(2, 6)
        for t in 0..<9 {
          let z = s.op(.add, s.op(.add, s.matmul(h, w), s.leaf(2, 6)), b)
          h = s.op(t == place && kind == 0 ? .sin : .tanh, z)
          if t == place, kind == 1 { h = s.op(.neg, h) }
          if t == place, kind == 2 { h = s.op(.add, h, s.reduce(.max, h, axis: 1, keeps: true)) }
        }
        _ = try RollCheck.plan(s, s.graph(h))
      }
    }
  }

  @Test func twoLoops() throws {
    let s = PlanSketch()
    let (w, b) = (s.leaf(6, 6), s.leaf(6))
    var h = (0..<8).reduce(s.leaf(2, 6)) { h, _ in s.step(h, w, b) }
    let first = h
    for _ in 0..<7 {
      let x = s.op(.exp, s.op(.mul, h, s.leaf(6)))
      h = s.op(.div, x, s.reduce(.sum, s.op(.add, x, s.op(.square, first)), axis: 1, keeps: true))
    }
    let text = try RollCheck.plan(s, s.graph(h, first))
    #expect(RollCheck.turns(text).count >= 2, "\(text)")
  }

  @Test func aLoopInALoop() throws {
    let s = PlanSketch()
    let (w, b) = (s.leaf(6, 6), s.leaf(6))
    var (h, sums) = (s.leaf(2, 6), [Int]())
    for _ in 0..<5 {
      for _ in 0..<4 { h = s.step(h, w, b) }
      h = s.op(.mul, s.op(.exp, h), s.reduce(.sum, h, axis: 0))
      sums.append(s.reduce(.sum, h))
    }
    _ = try RollCheck.plan(s, s.graph(sums + [h]))
  }

  /// Nothing that anybody needs comes out of some turns, or out of a section.
  @Test func whatNobodyNeeds() throws {
    let s = PlanSketch()
    let w = s.leaf(6, 6)
    var h = s.leaf(2, 6)
    var unread = h
    for _ in 0..<8 {
      unread = s.op(.exp, s.op(.add, unread, s.op(.sin, h)))
      h = s.op(.tanh, s.matmul(h, w))
    }
    _ = try RollCheck.plan(s, s.graph(h))
  }

  // MARK: Sums of products

  /// What an earlier turn has summed up is the beginning of a longer sum; whichever operand it is.
  @Test(arguments: [ScalarType.float32, .float64], [1, 16, 200])
  func sumsOfProducts(_ type: ScalarType, depth: Int) throws {
    for sumIsFirst in [true, false] {
      for start in 0..<3 {
        let s = PlanSketch(type)
        var total = s.leaf(5, 6)
        if start == 1 { total = s.op(.exp, total) }
        if start == 2 { total = s.matmul(s.transposed(s.leaf(depth, 5)), s.leaf(depth, 6)) }
        var h = s.leaf(depth, 6)
        for _ in 0..<9 {
          h = s.op(.tanh, s.op(.mul, h, s.leaf(depth, 6)))
          let product = s.matmul(s.transposed(s.leaf(depth, 5)), h)
          total = sumIsFirst ? s.op(.add, total, product) : s.op(.add, product, total)
        }
        _ = try RollCheck.plan(s, s.graph(total, h))
      }
    }
  }

  /// The sum so far is looked at by somebody else as well, or by the turn itself.
  @Test func sumsOfProductsThatAreReadOnTheWay() throws {
    for kind in 0..<4 {
      let s = PlanSketch()
      var (total, roots) = (s.leaf(5, 6), [Int]())
      for t in 0..<9 {
        let product = s.matmul(s.transposed(s.leaf(4, 5)), s.leaf(4, 6))
        let sum = s.op(.add, total, product)
        switch kind {
        case 0: if t % 3 == 0 { roots.append(sum) }
        case 1: if t == 4 { roots.append(product) }
        case 2: roots.append(s.reduce(.sum, sum))
        default: roots.append(s.reduce(.sum, s.op(.mul, total, product)))
        }
        total = sum
      }
      _ = try RollCheck.plan(s, s.graph(roots + [total]))
    }
  }

  /// In one kernel for the turns that are planned together, as where no loop is found.
  @Test func aCarriedSumOfProductsIsOneKernel() throws {
    for type in [ScalarType.float32, .float64] {
      let s = PlanSketch(type)
      let start = s.leaf(5, 6)
      let total = (0..<4).reduce(start) { total, _ in
        s.op(.add, total, s.matmul(s.transposed(s.leaf(16, 5)), s.leaf(16, 6)))
      }
      #expect(
        PlanSketch.kernels(s.graph(total)) == ["loop [5 x 6] matmul 5x6 k 16+16+16+16 onto a sum"])
      #expect(try s.disagreement(s.graph(total)) == nil)
    }
  }
}
