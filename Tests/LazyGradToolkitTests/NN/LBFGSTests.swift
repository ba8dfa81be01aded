// L-BFGS: the same places as PyTorch, plans, state, and losses that can't be computed.

import Foundation
import LazyGrad
import TestSupport
import Testing

@Suite("L-BFGS")
struct LBFGSTests {
  private func rosenbrock(_ x: Tensor) -> Tensor {
    let (a, b) = (x[..<-1], x[1...])
    return (100 * square(b - square(a)) + square(1 - a)).sum()
  }

  @Test("30 steps in a curved valley are those of PyTorch")
  func valley() throws {
    let fixture = try TorchFixture.read()
    let cases: [(String, (Tensor) -> LBFGS)] = [
      ("fixed", { LBFGS([$0], rate: 0.001, iterations: 7, history: 4) }),
      ("wolfe", { LBFGS([$0], iterations: 4, history: 5, lineSearch: .strongWolfe) }),
      ("wolfe long", { LBFGS([$0], iterations: 2, lineSearch: .strongWolfe) }),
    ]
    for (name, make) in cases {
      var noise = Noise(3)
      let x = noise.tensor(6, scale: 2)
      let optimizer = make(x)
      let losses = (0..<30).map { _ in optimizer.step { rosenbrock(x) }.item() }
      let wanted = try #require(fixture.lbfgs[name])
      expectClose(losses, wanted.losses, within: 1e-5, name)
      expectClose(x.elements, wanted.parameters[0], within: 1e-5, name)
      #expect(optimizer.evaluationCount == wanted.evaluations)
      #expect(optimizer.stepCount == 30)
    }
  }

  @Test("50 steps of a network are those of PyTorch")
  func network() throws {
    let wanted = try #require(try TorchFixture.read().lbfgs["network"])
    let problem = TorchProblem()
    let optimizer = LBFGS(problem, rate: 0.5, iterations: 3)
    let losses = (0..<50).map { _ in optimizer.step { problem.loss() }.item() }
    expectClose(losses, wanted.losses, within: 1e-5)
    #expect(losses[49] < 1e-6)
  }

  @Test("Once the history is full all plans are known")
  func plans() {
    var noise = Noise(5)
    let x = noise.tensor(40)
    let optimizer = LBFGS([x], rate: 1e-4, iterations: 5, history: 4)
    for _ in 0..<3 { optimizer.step { rosenbrock(x) } }
    let evaluations = optimizer.evaluationCount
    let counts = PlanCounts { for _ in 0..<3 { optimizer.step { rosenbrock(x) } } }
    #expect(optimizer.evaluationCount == evaluations + 15)
    #expect(counts.misses == 0)
  }

  @Test("A quadratic is at its minimum after one step of some iterations")
  func quadratic() {
    let x = Tensor([3.0, -2, 1, 5])
    let scales = Tensor([1.0, 10, 0.1, 4], constant: true)
    let optimizer = LBFGS([x], iterations: 30, lineSearch: .strongWolfe)
    optimizer.step { (scales * square(x - 1)).sum() }
    expectClose(x.elements, [1, 1, 1, 1], within: 1e-6)
    // There is nothing left to do: no iteration is made.
    let before = optimizer.iterationCount
    optimizer.step { (scales * square(x - 1)).sum() }
    #expect(optimizer.iterationCount <= before + 1)
  }

  @Test("Losses that are no number are stepped back from")
  func steepWall() {
    // Beyond 2 the logarithm is not-a-number, and the first step leads there.
    let x = Tensor([1.9])
    let optimizer = LBFGS([x], rate: 50, iterations: 30, lineSearch: .strongWolfe)
    optimizer.step { (-log(2 - x) - 3 * x).sum() }
    expectClose(x.elements, [2 - 1.0 / 3], within: 1e-4)
  }

  @Test("A loss that fails leaves the parameters where they were")
  func failure() {
    let x = Tensor([3.0, 4])
    let optimizer = LBFGS([x], lineSearch: .strongWolfe)
    var calls = 0
    let error = tensorError {
      optimizer.step {
        calls += 1
        return calls < 3 ? square(x).sum() + (x ** 4).sum() : matmul(x, Tensor([1.0]))
      }
    }
    #expect(error?.operation == "matmul")
    #expect(calls == 3)
    let missing = tensorError { optimizer.step { Tensor(1.0) } }
    #expect(missing?.message.contains("got none for '0'") == true)
    let shape = tensorError { optimizer.step { x * 2 } }
    #expect(shape?.description == "LBFGS: expected a loss of one element, got shape [2]")
    #expect(x.elements.allSatisfy { $0.isFinite && abs($0) < 5 })
  }

  @Test("A training that is resumed goes on to the same bits")
  func resuming() throws {
    for (search, steps) in [(LBFGS.LineSearch?.none, 4), (.strongWolfe, 4), (.none, 0)] {
      func make(_ x: Tensor) -> LBFGS {
        LBFGS([x], rate: search == nil ? 1e-4 : 1, iterations: 3, history: 5, lineSearch: search)
      }
      var noise = Noise(9)
      let x = noise.tensor(5)
      let first = make(x)
      for _ in 0..<steps { first.step { rosenbrock(x) } }
      let state = first.state
      let data = try JSONEncoder().encode(state)
      let y = Tensor(x.array)
      let second = make(y)
      try second.load(JSONDecoder().decode(OptimizerState.self, from: data))
      #expect(second.state == state)
      for _ in 0..<3 {
        first.step { rosenbrock(x) }
        second.step { rosenbrock(y) }
      }
      #expect(x.elements == y.elements)
      #expect(first.state == second.state)
    }
  }

  @Test("A state of something else is refused")
  func wrongState() {
    let optimizer = LBFGS([Tensor([1.0, 2])])
    let other = LBFGS([Tensor([1.0, 2, 3])])
    let x = other.namedParameters[0].tensor
    for _ in 0..<2 { other.step { square(square(x)).sum() } }
    #expect(throws: ParameterError.self) { try optimizer.load(other.state) }
    #expect(throws: ParameterError.self) {
      try optimizer.load(OptimizerState(stepCount: 0, arrays: [:]))
    }
    var state = other.state
    let fitting = LBFGS([Tensor([1.0, 2, 3])])
    for numbers in [[0.5, 1], [Double.nan, 1], [-1, 1], [1e300, 1], [1, 2, 3]] {
      state.arrays["numbers"] = Tensor(numbers).snapshot
      #expect(throws: ParameterError.self) { try fitting.load(state) }
    }
    // As many pairs as nobody has memory for are announced.
    state.arrays["numbers"] = Tensor.ones([1_000_000]).snapshot
    #expect(throws: ParameterError.self) { try fitting.load(state) }
    #expect(optimizer.stepCount == 0 && fitting.stepCount == 0)
  }
}
