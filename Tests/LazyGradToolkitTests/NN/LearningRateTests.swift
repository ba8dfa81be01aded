// Schedules: those of PyTorch, and what they are at their ends.

import LazyGrad
import Testing

@Suite("Learning rates")
struct LearningRateTests {
  @Test("60 steps are those of PyTorch")
  func torch() throws {
    let rates = try TorchFixture.read().rates
    let schedules: [(String, Schedule)] = [
      ("steps", LearningRate.steps(1, every: 7, factor: 0.3)),
      ("exponential", LearningRate.exponential(1, factor: 0.9)),
      ("cosine", LearningRate.cosine(1, steps: 59, end: 0.1)),
      ("oneCycle", LearningRate.oneCycle(2, steps: 60)),
      // LinearLR from a tenth in nine steps is the line that has 1/10 in its first step.
      ("warmUp", LearningRate.warmUp(10, then: LearningRate.constant(1))),
    ]
    for (name, schedule) in schedules {
      expectClose((0..<60).map(schedule), try #require(rates[name]), within: 1e-12, name)
    }
  }

  @Test("Before the beginning and behind the end rates stay")
  func ends() {
    let cosine = LearningRate.cosine(1, steps: 10, end: 0.25)
    #expect([-5, 0, 10, 11, 1000].map(cosine) == [1, 1, 0.25, 0.25, 0.25])
    let cycle = LearningRate.oneCycle(1, steps: 10)
    expectClose([-1, 9, 10, 500].map(cycle), [0.04, 4e-6, 4e-6, 4e-6], within: 1e-15)
    let warm = LearningRate.warmUp(4, then: LearningRate.steps(8, every: 2, factor: 0.5))
    #expect((-1..<9).map(warm) == [2, 2, 4, 6, 8, 8, 8, 4, 4, 2])
    #expect(LearningRate.warmUp(0, then: LearningRate.constant(3))(0) == 3)
    #expect(LearningRate.steps(8, every: 2, factor: 0.5)(-3) == 8)
    #expect(LearningRate.exponential(2, factor: 0.5)(-1) == 2)
    for steps in [0, 1] {
      #expect(LearningRate.cosine(1, steps: steps)(0).isFinite)
      #expect(LearningRate.oneCycle(1, steps: steps)(0).isFinite)
    }
  }
}
