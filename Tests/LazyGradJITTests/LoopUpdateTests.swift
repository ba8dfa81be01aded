// Which results a loop may compute in the memory of a leaf, and that they are the same there.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct LoopUpdateTests {
  /// Output and leaf of every update of the plan, by their numbers.
  private static func updates(_ graph: Graph) -> [[Int]] {
    let plan = PlanRunner.plan(graph, for: NativeCode.instructionSet)
    return withExtendedLifetime(plan) { plan.updates.array.map { [$0.output, $0.leaf] } }
  }

  private static func expect(
    _ s: PlanSketch, _ graph: Graph, updates expected: [[Int]],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(updates(graph) == expected, sourceLocation: sourceLocation)
    #expect(
      try s.disagreement(graph, updatesInPlace: true) == nil, sourceLocation: sourceLocation)
  }

  @Test func whatIsReadElementByElement() throws {
    let s = PlanSketch()
    let (x, g) = (s.leaf(40, 40), s.leaf(40, 40))
    let step = s.op(.sub, x, s.op(.mul, g, s.scalar(0.1)))
    try Self.expect(s, s.graph(step), updates: [[0, 0], [0, 1]])
  }

  /// A product of the first result reads the leaf once more, in a step of its own.
  @Test func whatALaterStepReads() throws {
    let s = PlanSketch()
    let (x, b) = (s.leaf(40, 40), s.leaf(40, 40))
    let first = s.op(.add, x, s.scalar(1))
    let second = s.op(.mul, s.matmul(first, b), x)
    // The last reader may replace it.
    try Self.expect(s, s.graph(first, second), updates: [[1, 0]])
  }

  @Test func whatIsReadInAnotherOrderAsWell() throws {
    for type in [ScalarType.float32, .float64] {
      let s = PlanSketch(type)
      let x = s.leaf(40, 40)
      try Self.expect(s, s.graph(s.op(.add, x, s.transposed(x))), updates: [])
    }
  }

  @Test func aFactorOfItsOwnProduct() throws {
    for isLeft in [true, false] {
      let s = PlanSketch()
      let (x, b) = (s.leaf(40, 40), s.leaf(40, 40))
      let product = isLeft ? s.matmul(x, b) : s.matmul(b, x)
      try Self.expect(s, s.graph(s.op(.mul, product, x)), updates: [])
    }
  }
}
