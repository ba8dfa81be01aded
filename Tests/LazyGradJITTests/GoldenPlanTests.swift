// What must become one kernel, as the text of the plans. A change here is a change of speed: a line
// more is memory traffic, a line less needs a proof that it is right (the fuzz tests).

import LazyGradJIT
import Testing

@Suite struct GoldenPlanTests {
  private func expect(
    _ sketch: PlanSketch, _ graph: Graph, _ kernels: [String],
    location: SourceLocation = #_sourceLocation
  ) throws {
    #expect(PlanSketch.kernels(graph) == kernels, sourceLocation: location)
    #expect(try sketch.disagreement(graph) == nil, sourceLocation: location)
  }

  @Test func elementwiseChain() throws {
    let s = PlanSketch()
    let (a, b) = (s.leaf(8, 100), s.leaf(8, 100))
    let y = s.op(.tanh, s.op(.add, s.op(.mul, a, b), s.op(.exp, s.op(.neg, a))))
    try expect(s, s.graph(y), ["loop [800] negative exp multiply add tanh"])
  }

  /// `sum(tanh(a * b + c) * exp(-a * a))` with all its gradients: every array is read once and
  /// every gradient written once.
  @Test func elementwiseWithGradients() throws {
    let s = PlanSketch()
    let (a, b, c) = (s.leaf(50, 100), s.leaf(50, 100), s.leaf(50, 100))
    let t = s.op(.tanh, s.op(.add, s.op(.mul, a, b), c))
    let e = s.op(.exp, s.op(.mul, s.op(.neg, a), a))
    let loss = s.reduce(.sum, s.op(.mul, t, e))
    let one = s.scalar(1)
    let dz = s.op(.mul, e, s.op(.sub, one, s.op(.mul, t, t)))
    let du = s.op(.mul, t, e)
    let da = s.op(
      .add, s.op(.mul, dz, b),
      s.op(.sub, s.op(.neg, s.op(.mul, du, a)), s.op(.mul, du, a)))
    let graph = s.graph(loss, da, s.op(.mul, dz, a), dz)
    #expect(PlanSketch.kernels(graph).count == 1)
    let text = PlanRunner.explain(graph, details: false)
    #expect(text.contains("reads 60000 B, writes 60004 B"), "\(text)")
    #expect(try s.disagreement(graph) == nil)
  }

  private func softmaxParts(_ s: PlanSketch, _ x: Int) -> (shifted: Int, e: Int, sum: Int) {
    let shifted = s.op(.sub, x, s.reduce(.max, x, axis: 1, keeps: true))
    let e = s.op(.exp, shifted)
    return (shifted, e, s.reduce(.sum, e, axis: 1, keeps: true))
  }

  @Test func softmax() throws {
    let s = PlanSketch()
    let parts = softmaxParts(s, s.leaf(30, 40))
    try expect(
      s, s.graph(s.op(.div, parts.e, parts.sum)),
      ["loop [30 x 40] row-max subtract exp row-sum divide"])
  }

  /// Cross-entropy of labels.
  @Test func logSoftmaxWithPicking() throws {
    let s = PlanSketch()
    let parts = softmaxParts(s, s.leaf(30, 40))
    let logp = s.op(.sub, parts.shifted, s.op(.log, parts.sum))
    let shape = LayoutTable.shared.intern(dims: [30, 40])
    let positions = s.add(GraphNode(.iota, .int64, shape: shape))
    let labels = s.add(
      GraphNode(
        .argmax, .int64, shape: LayoutTable.shared.intern(dims: [30, 1]), a: s.leaf(30, 40),
        attribute: LayoutTable.shared.intern(dims: [30, 40, 1])))
    let hit = s.op(.equal, positions, labels)
    let picked = s.op(.select, hit, logp, s.scalar(0))
    let loss = s.op(.mul, s.reduce(.sum, picked), s.scalar(-1 / 30))
    try expect(
      s, s.graph(loss),
      [
        "loop [30 x 40] row-argmax",
        "loop [30 x 40] row-max subtract exp row-sum log subtract equal where all-sum",
        "loop [1] multiply",
      ])
  }

  @Test func variance() throws {
    let s = PlanSketch()
    let x = s.leaf(30, 40)
    let scale = s.scalar(1 / 40)
    let mean = s.op(.mul, s.reduce(.sum, x, axis: 1, keeps: true), scale)
    let square = s.op(.square, s.op(.sub, x, mean))
    try expect(
      s, s.graph(s.op(.mul, s.reduce(.sum, square, axis: 1), scale)),
      ["loop [30 x 40] row-sum multiply subtract square row-sum multiply"])
  }

  @Test func recurrentStep() throws {
    let s = PlanSketch()
    let p = s.matmul(s.leaf(16, 32), s.leaf(32, 64))
    let q = s.matmul(s.leaf(16, 64), s.leaf(64, 64))
    let bias = s.leaf(64)
    try expect(
      s, s.graph(s.op(.tanh, s.op(.add, s.op(.add, p, q), bias))),
      ["loop [16 x 64] matmul 16x64 k 32+64; add tanh"])
    // Added in the order that was written, which takes two kernels: another order, other bits.
    try expect(
      s, s.graph(s.op(.tanh, s.op(.add, s.op(.add, p, bias), q))),
      ["loop [16 x 64] matmul 16x64 k 32", "loop [16 x 64] matmul 16x64 k 64; add add tanh"])
  }

  @Test func sumOfManyProducts() throws {
    let s = PlanSketch()
    var total = s.matmul(s.transposed(s.leaf(16, 8)), s.leaf(16, 24))
    for _ in 1..<20 {
      total = s.op(.add, total, s.matmul(s.transposed(s.leaf(16, 8)), s.leaf(16, 24)))
    }
    try expect(s, s.graph(total), ["loop [8 x 24] matmul 8x24 k 16 x 20"])
    // A sum of more than 512 products of numbers goes on in another kernel.
    for _ in 20..<40 {
      total = s.op(.add, total, s.matmul(s.transposed(s.leaf(16, 8)), s.leaf(16, 24)))
    }
    try expect(
      s, s.graph(total),
      ["loop [8 x 24] matmul 8x24 k 16 x 32", "loop [8 x 24] matmul 8x24 k 16 x 8 onto a sum"])
  }

  @Test func columnSumOfAComputedValue() throws {
    let s = PlanSketch()
    let (a, b) = (s.leaf(32, 64), s.leaf(32, 64))
    try expect(
      s, s.graph(s.reduce(.sum, s.op(.mul, a, b), axis: 0)),
      ["loop [32 x 64] multiply column-sum"])
  }

  /// The copy of a transposed right operand is made once for all its readers.
  @Test func transposedWeightsAreCopiedOnce() throws {
    let s = PlanSketch()
    let w = s.leaf(64, 64)
    var x = s.leaf(16, 64)
    for _ in 0..<3 { x = s.op(.tanh, s.matmul(x, s.transposed(w))) }
    let step = "loop [16 x 64] matmul 16x64 k 64; tanh"
    try expect(s, s.graph(x), ["move copy [4096]", step, step, step])
  }

  /// Products whose rows of B are pages apart are split by columns, and nothing is fused with them;
  /// a transposed left operand that every column reads is turned once.
  @Test func largeProductsStandAlone() throws {
    let s = PlanSketch()
    let (x, w) = (s.leaf(300, 130), s.leaf(300, 1030))
    let y = s.op(.tanh, s.matmul(s.transposed(x), w))
    try expect(
      s, s.graph(y, s.reduce(.sum, y, axis: 1)),
      [
        "move copy [39000]", "loop [130 x 1030] matmul 130x1030 k 300",
        "loop [130 x 1030] tanh row-sum",
      ])
  }

  @Test func productsWithOneColumn() throws {
    let s = PlanSketch()
    let (x, w, v) = (s.leaf(130, 300), s.leaf(130, 1), s.leaf(300, 1))
    try expect(
      s, s.graph(s.op(.tanh, s.matmul(x, v)), s.matmul(s.transposed(x), w)),
      ["loop [130] matmul 130x1 k 300; tanh", "loop [300] matmul 300x1 k 130"])
  }

  /// One row times a large transposed matrix needs no copy of it; sums of such products and of
  /// others stay apart.
  @Test func rowTimesTransposedMatrix() throws {
    let s = PlanSketch()
    let (x, w) = (s.leaf(1, 128), s.leaf(160, 128))
    let (y, v) = (s.leaf(1, 40), s.leaf(40, 160))
    let p = s.matmul(x, s.transposed(w))
    try expect(
      s, s.graph(s.op(.tanh, p)), ["loop [160] matmul 160x1 k 128; tanh"])
    try expect(
      s, s.graph(s.op(.add, s.op(.add, p, s.matmul(x, s.transposed(s.leaf(160, 128)))), p)),
      ["loop [160] matmul 160x1 k 128", "loop [160] matmul 160x1 k 128; add add"])
    let q = s.op(.add, s.matmul(x, s.transposed(w)), s.matmul(y, v))
    #expect(try s.disagreement(s.graph(q)) == nil)
  }

  @Test func twoResultsOfTheSameInputs() throws {
    let s = PlanSketch()
    let (a, b) = (s.leaf(500), s.leaf(500))
    try expect(s, s.graph(s.op(.add, a, b), s.op(.mul, a, b)), ["loop [500] add multiply"])
  }
}
