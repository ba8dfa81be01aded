// Small kernels that plans keep as calls of machine code: which ones are, and that they give what the
// reference does, beside kernels that are split over threads as well.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct KernelCallTests {
  private static let native = NativeCode.available.filter { $0 != .portable }

  /// The number of calls that each step is for a chunk; nil for a step that is something else.
  private static func calls(_ graph: Graph, _ instructionSet: InstructionSet) -> [Int?] {
    let plan = PlanRunner.plan(graph, for: instructionSet)
    return withExtendedLifetime(plan) {
      plan.steps.array.map {
        if case .calls(let kernel, _, let count) = $0 {
          count / kernel.takeUnretainedValue().chunkCount
        } else {
          nil
        }
      }
    }
  }

  /// A step of a recurrence: two products, what they are added to, and a loop over the sum.
  private static func cell(
    _ s: PlanSketch, rows: Int, inputs: Int, units: Int
  ) -> (sum: Int, state: Int) {
    let sum = s.op(
      .add, s.matmul(s.leaf(rows, inputs), s.leaf(inputs, units)),
      s.matmul(s.leaf(rows, units), s.leaf(units, units)))
    return (sum, s.op(.tanh, s.op(.mul, s.op(.add, sum, s.leaf(rows, units)), s.scalar(0.5))))
  }

  @Test(arguments: [ScalarType.float32, .float64], native)
  func stepsOfARecurrence(_ type: ScalarType, _ instructionSet: InstructionSet) throws {
    // The last ones in several chunks.
    for (rows, inputs, units) in [
      (1, 8, 16), (3, 5, 7), (16, 32, 64), (1, 1, 1), (2, 200, 3), (19, 32, 64), (33, 64, 32),
    ] {
      let s = PlanSketch(type)
      let (sum, state) = Self.cell(s, rows: rows, inputs: inputs, units: units)
      // In a register, and in memory for others.
      for graph in [s.graph(state), s.graph(state, sum)] {
        #expect(Self.calls(graph, instructionSet) == [3], "\(rows) x \(inputs) x \(units)")
        #expect(try s.disagreement(graph) == nil, "\(rows) x \(inputs) x \(units)")
      }
    }
  }

  /// Rows of a bias that is repeated by the code, split between chunks.
  @Test(arguments: native)
  func rowsOfARepeatedOperand(_ instructionSet: InstructionSet) throws {
    for rows in [16, 21, 40] {
      let s = PlanSketch()
      let sum = s.op(.add, s.matmul(s.leaf(rows, 64), s.leaf(64, 64)), s.leaf(64))
      let graph = s.graph(s.op(.tanh, sum))
      #expect(Self.calls(graph, instructionSet) == [2], "\(rows)")
      #expect(try s.disagreement(graph) == nil, "\(rows)")
    }
  }

  @Test(arguments: native)
  func smallLoops(_ instructionSet: InstructionSet) throws {
    let s = PlanSketch()
    let (a, b) = (s.leaf(3, 5), s.leaf(3, 5))
    // Far arguments, for which the code asks for help.
    let far = s.op(.sin, s.op(.mul, s.op(.add, a, b), s.scalar(1e8)))
    let graph = s.graph(far, s.op(.mul, s.op(.add, a, b), s.scalar(1e8)))
    #expect(Self.calls(graph, instructionSet) == [1])
    #expect(try s.disagreement(graph) == nil)
  }

  /// A sum of many elements, a kernel of many pieces, one without elements and one with an operand that is
  /// repeated beforehand take more than calls.
  @Test(arguments: native)
  func whatTakesMore(_ instructionSet: InstructionSet) throws {
    let s = PlanSketch()
    let graph = s.graph(
      s.reduce(.sum, s.leaf(300, 50)), s.op(.exp, s.leaf(1000, 1000)), s.op(.exp, s.leaf(0, 5)),
      s.op(.add, s.matmul(s.leaf(3, 4), s.leaf(4, 5)), s.leaf(5)))
    #expect(Self.calls(graph, instructionSet).allSatisfy { $0 == nil })
    #expect(try s.disagreement(graph) == nil)
  }

  /// Threads take the calls in turn with their shares of the rest, each in scratch memory of its own.
  @Test(arguments: native)
  func besideKernelsThatAreSplit(_ instructionSet: InstructionSet) throws {
    let s = PlanSketch()
    let large = s.op(.tanh, s.leaf(300, 2000))
    var state = Self.cell(s, rows: 4, inputs: 8, units: 16).state
    for _ in 0..<20 {
      state = s.op(.tanh, s.op(.add, s.matmul(state, s.leaf(16, 16)), s.leaf(4, 16)))
    }
    let graph = s.graph(large, state)
    let calls = Self.calls(graph, instructionSet)
    #expect(calls.contains { $0 != nil } && calls.contains { $0 == nil }, "\(calls)")
    for _ in 0..<20 { #expect(try s.disagreement(graph) == nil) }
  }

  /// Chunks of one kernel's calls on two threads at a time: what one product leaves for the loop behind it
  /// is in scratch memory, which is a thread's own.
  @Test(arguments: native)
  func chunksOnThreads(_ instructionSet: InstructionSet) throws {
    let s = PlanSketch()
    var state = s.leaf(150, 64)
    for _ in 0..<60 {
      state = s.op(.tanh, s.op(.add, s.matmul(state, s.leaf(64, 64)), s.leaf(150, 64)))
    }
    let graph = s.graph(state)
    #expect(Self.calls(graph, instructionSet).allSatisfy { $0 == 2 })
    let chunks = PlanRunner.plan(graph, for: instructionSet).kernels.map(\.chunkCount)
    #expect(chunks.allSatisfy { $0 > 1 }, "\(chunks)")
    let graphCase = try s.graphCase(graph)
    func run(threads: Int) throws -> [Float] {
      let results = try PlanRunner.run(
        graph, leaves: graphCase.pointers, scalars: s.scalars, threads: threads,
        instructionSet: instructionSet, parallelThreshold: 0)
      let result = try #require(results[state])
      return Array(
        UnsafeBufferPointer(
          start: result.pointer.assumingMemoryBound(to: Float.self), count: 150 * 64))
    }
    // Whether threads run at the same time is up to the machine.
    let plan = PlanRunner.plan(graph, for: instructionSet)
    let memory = try PlanRunner.scratchMemory(plan, threads: 3)
    #expect(memory.count == 3 && memory.allSatisfy { !$0.isEmpty }, "\(memory)")
    #expect(zip(memory, memory.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound })
    try withExtendedLifetime(graphCase) {
      let expected = try run(threads: 1)
      for _ in 0..<20 { #expect(try run(threads: 2) == expected) }
    }
  }
}
