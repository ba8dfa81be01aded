// Small operations of independent parts of a graph that become one: which, and that no bit shows it.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

@Suite struct BatchTests {
  /// The kernels with everything batched, after the results have been compared with the oracle's, and bit by
  /// bit with those of a plan without batches, on every instruction set, with one thread and with two.
  private func kernels(
    _ s: PlanSketch, _ graph: Graph, _ limits: BatchLimits = .all,
    location: SourceLocation = #_sourceLocation
  ) throws -> [String] {
    #expect(try s.disagreement(graph, batching: limits) == nil, sourceLocation: location)
    let graphCase = try s.graphCase(graph)
    try withExtendedLifetime(graphCase) {
      for set in NativeCode.available {
        func run(_ limits: BatchLimits, threads: Int, inPlace: Bool = false) throws -> [Int:
          Storage]
        {
          try PlanRunner.run(
            graph, leaves: graphCase.pointers, scalars: graphCase.scalars, threads: threads,
            instructionSet: set, parallelThreshold: 0, poisons: true, updatesInPlace: inPlace,
            batching: limits)
        }
        let alone = try run(.off, threads: 1)
        for (threads, inPlace) in [(1, false), (2, false), (2, true)] {
          let batched = try run(limits, threads: threads, inPlace: inPlace)
          for root in graphCase.roots {
            let (a, b) = (alone[root]!, batched[root]!)
            #expect(
              memcmp(a.pointer, b.pointer, a.byteCount) == 0, "%\(root) \(set) \(threads)",
              sourceLocation: location)
          }
        }
      }
    }
    return PlanSketch.kernels(graph, batching: limits)
  }

  private func total(_ s: PlanSketch, _ values: [Int]) -> Int {
    values.dropFirst().reduce(values[0]) { s.op(.add, $0, $1) }
  }

  /// The state of a recurrence after so many steps.
  private func recurrence(_ s: PlanSketch, _ w: Int, _ b: Int, steps: Int) -> Int {
    (0..<steps).reduce(s.leaf(1, 8)) { h, _ in
      s.op(.tanh, s.op(.add, s.op(.add, s.matmul(h, w), s.leaf(1, 8)), b))
    }
  }

  @Test func rowsThatShareAMatrixAreOneProduct() throws {
    let s = PlanSketch()
    let (w, b) = (s.leaf(8, 6), s.leaf(6))
    let ys = (0..<5).map { _ in s.op(.tanh, s.op(.add, s.matmul(s.leaf(1, 8), w), b)) }
    #expect(
      try kernels(s, s.graph(total(s, ys))) == [
        "move stack [5 x 8]", "loop [5 x 6] matmul 5x6 k 8; add tanh", "move sumRows [5 x 6]",
      ])
  }

  /// What the program keeps is copied out.
  @Test func valuesThatAreHeldHaveMemoryOfTheirOwn() throws {
    let s = PlanSketch()
    let w = s.leaf(8, 6)
    let ys = (0..<3).map { _ in s.op(.tanh, s.matmul(s.leaf(1, 8), w)) }
    #expect(
      try kernels(s, s.graph(ys[0], ys[2], s.op(.exp, ys[1]))) == [
        "move stack [3 x 8]", "loop [3 x 6] matmul 3x6 k 8; tanh", "move unstack [2 x 6]",
        "loop [6] exp",
      ])
  }

  @Test func aMatrixTimesColumnsIsOneProduct() throws {
    let s = PlanSketch()
    let w = s.leaf(6, 8)
    let ys = (0..<5).map { _ in s.op(.tanh, s.matmul(w, s.leaf(8, 1))) }
    #expect(
      try kernels(s, s.graph(total(s, ys))).contains("loop [5 x 6] matmul 5x6 k 8; tanh"))
  }

  @Test func aTransposedMatrixIsTurnedOnce() throws {
    let s = PlanSketch()
    let w = s.transposed(s.leaf(6, 8))
    let ys = (0..<5).map { _ in s.matmul(s.leaf(2, 8), w) }
    #expect(
      try kernels(s, s.graph(total(s, ys))) == [
        "move stack [5 x 16]", "move copy [48]", "loop [10 x 6] matmul 10x6 k 8",
        "move sumRows [5 x 12]",
      ])
  }

  /// Step by step side by side, however long each is.
  @Test(arguments: [ScalarType.float32, .float64])
  func sequencesOfOtherLengths(_ type: ScalarType) throws {
    let s = PlanSketch(type)
    let (w, b) = (s.leaf(8, 8), s.leaf(8))
    let ends = [3, 6, 2, 6, 4].map { recurrence(s, w, b, steps: $0) }
    let found = try kernels(s, s.graph(total(s, ends)))
    #expect(found.count { $0.contains("matmul") } == 6, "\(found)")
    #expect(found.contains("loop [5 x 8] matmul 5x8 k 8; add add tanh"), "\(found)")
    #expect(found.contains("loop [2 x 8] matmul 2x8 k 8; add add tanh"), "\(found)")
  }

  /// A chain has nothing beside it.
  @Test func whatDependsOnEachOtherStaysAsItIs() throws {
    let s = PlanSketch()
    let graph = s.graph(recurrence(s, s.leaf(8, 8), s.leaf(8), steps: 30))
    #expect(
      PlanSketch.kernels(graph, batching: .usual) == PlanSketch.kernels(graph, batching: .off))
    #expect(try s.disagreement(graph) == nil)
  }

  /// By its own limits: what leaves a step for a dozen operations is batched, small graphs are not.
  @Test func usualLimits() throws {
    for (count, kernelCount) in [(3, 9), (40, 6)] {
      let s = PlanSketch()
      let (w, b) = (s.leaf(8, 8), s.leaf(8))
      let ends = (0..<count).map { _ in recurrence(s, w, b, steps: 3) }
      let found = try kernels(s, s.graph(total(s, ends)), .usual)
      #expect(found.count { $0.contains("matmul") } == (count == 3 ? kernelCount : 3), "\(found)")
    }
  }

  @Test func aSumOfOuterProductsIsOneKernel() throws {
    let s = PlanSketch()
    let w = s.leaf(24, 16)
    let terms = (0..<12).map { _ in
      let (x, g) = (s.leaf(1, 24), s.leaf(1, 16))
      return s.matmul(s.transposed(s.op(.tanh, x)), s.op(.mul, s.op(.exp, g), s.matmul(x, w)))
    }
    let found = try kernels(s, s.graph(total(s, terms)))
    #expect(found.contains("loop [24 x 16] matmul 24x16 k 1 x 12"), "\(found)")
    #expect(found.count == 5, "\(found)")
  }

  /// Also where a matrix has no more rows than a batched product.
  @Test func aSumOfSmallOuterProductsIsOneKernel() throws {
    let s = PlanSketch()
    let terms = (0..<9).map { _ in s.matmul(s.transposed(s.leaf(1, 4)), s.leaf(1, 5)) }
    #expect(try kernels(s, s.graph(total(s, terms))) == ["loop [4 x 5] matmul 4x5 k 1 x 9"])
  }

  /// A sum begins with its first product, whatever that is: -0 where a product is too small for a number. The
  /// products are computed one by one as well, and added up here.
  @Test func aSumOfProductsThatAreTooSmall() throws {
    func products(_ s: PlanSketch) -> [Int] {
      (0..<9).map { _ in
        s.matmul(
          s.transposed(s.op(.mul, s.op(.abs, s.leaf(1, 20)), s.scalar(-1e-38))),
          s.op(.mul, s.op(.abs, s.leaf(1, 16)), s.scalar(1e-38)))
      }
    }
    let (s, parts) = (PlanSketch(), PlanSketch())
    let sum = s.graph(total(s, products(s)))
    let found = try kernels(s, sum)
    #expect(found.contains("loop [20 x 16] matmul 20x16 k 1 x 9"), "\(found)")
    let terms = products(parts)
    for set in NativeCode.available {
      func values(_ s: PlanSketch, _ graph: Graph, _ roots: [Int]) throws -> [[Float]] {
        let graphCase = try s.graphCase(graph)
        return try withExtendedLifetime(graphCase) {
          let results = try PlanRunner.run(
            graph, leaves: graphCase.pointers, scalars: graphCase.scalars, threads: 1,
            instructionSet: set, parallelThreshold: 0, batching: .all)
          return roots.map { root in
            let first = results[root]!.pointer.assumingMemoryBound(to: Float.self)
            return Array(UnsafeBufferPointer(start: first, count: 20 * 16))
          }
        }
      }
      let whole = try values(s, sum, [s.nodes.count - 1])[0]
      let alone = try values(parts, parts.graph(terms), terms)
      for i in whole.indices {
        let expected = alone.dropFirst().reduce(alone[0][i]) { $0 + $1[i] }
        #expect(whole[i].bitPattern == expected.bitPattern, "\(set), element \(i)")
      }
      // Machine code rounds a product once, when it is added to nothing.
      if set != .portable { #expect(alone[0][0].sign == .minus) }
    }
  }

  /// Every mention of a number is a scalar of its own, with another value.
  @Test func numbersOfTheirOwn() throws {
    let s = PlanSketch()
    let ys = (0..<9).map { k in s.op(.sub, s.scalar(1 + Double(k)), s.op(.tanh, s.leaf(1, 5))) }
    let found = try kernels(s, s.graph(total(s, ys)))
    #expect(
      found == [
        "move stack [9 x 5]", "move numbers [9]", "loop [45] tanh subtract",
        "move sumRows [9 x 5]",
      ])
  }

  /// Axes of length 1 along the way: rows keep their axes then.
  @Test func broadcastingInsideOfMembers() throws {
    let s = PlanSketch()
    let w = s.leaf(3, 4)
    let ys = (0..<4).map { _ in
      let e = s.op(.exp, s.op(.mul, s.leaf(3, 1), s.op(.add, s.leaf(1, 4), w)))
      return s.op(.div, e, s.reduce(.sum, e, axis: 1, keeps: true))
    }
    let found = try kernels(s, s.graph(total(s, ys)))
    #expect(found.count { $0.hasPrefix("loop") } <= 3, "\(found)")
  }

  @Test func reductionsOfEveryAxis() throws {
    for axis in [0, 1, nil] {
      let s = PlanSketch()
      let ys = (0..<4).map { _ in s.reduce(.sum, s.op(.tanh, s.leaf(7, 5)), axis: axis) }
      let found = try kernels(s, s.graph(total(s, ys)))
      #expect(found.count { $0.contains("sum") && $0.hasPrefix("loop") } == 1, "\(found)")
    }
  }

  /// Longer sums have another order where there is one of them than where there are several.
  @Test(arguments: [1024, 1025, 1100])
  func reductionsOfLongRows(length: Int) throws {
    for type in [ScalarType.float32, .float64] {
      let s = PlanSketch(type)
      let ys = (0..<4).map { _ in s.reduce(.sum, s.op(.tanh, s.leaf(length)), axis: 0, keeps: true)
      }
      var limits = BatchLimits.all
      limits.elements = 1 << 20
      _ = try kernels(s, s.graph(ys[0], ys[1], ys[2], ys[3]), limits)
    }
  }

  @Test func integersAndEmptyProducts() throws {
    let s = PlanSketch(.int64)
    let w = s.leaf(8, 6)
    let ys = (0..<5).map { _ in s.op(.mul, s.matmul(s.leaf(1, 8), w), s.leaf(1, 6)) }
    _ = try kernels(s, s.graph(total(s, ys)))
    let e = PlanSketch()
    let v = e.leaf(0, 6)
    let zs = (0..<5).map { _ in e.op(.exp, e.matmul(e.leaf(1, 0), v)) }
    _ = try kernels(e, e.graph(total(e, zs)))
  }

  /// Parts of batches, in order, by steps and out of order, and of rows.
  @Test func partsOfBatchesAreReadInPlace() throws {
    let s = PlanSketch()
    let w = s.leaf(6, 6)
    let hs = (0..<8).map { _ in s.op(.tanh, s.matmul(s.leaf(1, 6), w)) }
    let pairs = (0..<4).map { s.op(.mul, hs[2 * $0], hs[2 * $0 + 1]) }
    let halves = [5, 0, 3].map { s.op(.exp, hs[$0]) }
    let parts = hs[2..<6].map { h in
      s.op(
        .sin,
        s.add(
          GraphNode(
            .view, .float32, shape: LayoutTable.shared.intern(dims: [3]), a: h,
            attribute: LayoutTable.shared.intern(dims: [3], strides: [2]), offset: 1)))
    }
    let found = try kernels(
      s, s.graph(total(s, pairs), total(s, halves), total(s, parts)))
    #expect(found.contains("loop [24] multiply"), "\(found)")
    #expect(found.count { $0.contains("stack") && !$0.contains("unstack") } <= 2, "\(found)")
  }

  /// An update in the memory of a leaf waits for the batches that read it.
  @Test func updatesInPlaceOfWhatBatchesRead() throws {
    let s = PlanSketch()
    let (table, w) = (s.leaf(6, 4), s.leaf(4, 4))
    let rows = (0..<6).map { r in
      s.add(
        GraphNode(
          .view, .float32, shape: LayoutTable.shared.intern(dims: [1, 4]), a: table,
          attribute: LayoutTable.shared.intern(dims: [1, 4]), offset: 4 * r))
    }
    let sum = total(s, rows.map { s.op(.exp, s.matmul($0, w)) })
    let region = LayoutTable.shared.intern(dims: [2, 4])
    let changed = s.add(
      GraphNode(
        .setRegion, .float32, shape: LayoutTable.shared.intern(dims: [6, 4]), a: table,
        b: s.leaf(2, 4), attribute: region, offset: 8))
    _ = try kernels(s, s.graph(sum, changed))
  }
}
