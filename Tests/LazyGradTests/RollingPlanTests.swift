// How many plans recurrent programs take: loops of any length run the plans of a few turns. Plans are the process's,
// which other tests make and forget: what counts is the best of several rounds, each with shapes of its own.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite(.serialized) struct RollingPlanTests {
  /// A recurrent network, and what has been counted meanwhile.
  private struct Network {
    let w: Tensor
    let u: Tensor
    let width: Int
    let inputs: Inputs
    let all: Tensor
    let own: [Tensor]

    init(width: Int, _ inputs: Inputs) {
      w = Tensor(SequenceModel.numbers([width, width], 1))
      u = Tensor(SequenceModel.numbers([width, width], 2))
      all = Tensor(SequenceModel.numbers([100, 2, width], 3))
      own = (0..<100).map { Tensor(SequenceModel.numbers([2, width], $0)) }
      (self.width, self.inputs) = (width, inputs)
    }

    /// A pass through so many steps and back.
    func pass(_ turns: Int) {
      var h = Tensor.zeros([2, width], dtype: .float32)
      for t in 0..<turns {
        h = tanh(matmul(inputs == .tensors ? own[t] : all[t], w) + matmul(h, u))
      }
      let loss = square(h).sum()
      loss.backward()
      eval([loss, w.grad!, u.grad!] + (inputs == .tensors ? [] : [all.grad!]))
    }
  }

  /// What a sequence is: a tensor for each step, or the first rows of one tensor. (The gradient of all rows of a
  /// tensor is as long as the loop, so that each new length takes a plan.)
  enum Inputs: CaseIterable { case tensors, firstRows }

  /// The misses of each of several passes.
  private func misses(
    _ lengths: [Int], width: Int, _ inputs: Inputs = .tensors, _ rolling: RollLimits = .usual
  ) -> [Int] {
    ConcurrencyTests.onNewThread {
      var limits = TapeLimits.usual
      limits.rolling = rolling
      return Tape.withLimits(limits) {
        let network = Network(width: width, inputs)
        return lengths.map { turns in PlanCounts { network.pass(turns) }.misses }
      }
    }
  }

  /// Sequences of any length take no more plans than the first ones.
  @Test(arguments: Inputs.allCases)
  func loopsOfOtherLengths(_ inputs: Inputs) {
    let rounds = (0..<3).map { round -> [Int] in
      var random = SeededRandom(seed: UInt64(round + 1))
      let lengths = (0..<60).map { _ in random.int(50...100) }
      return misses(lengths, width: 7 + round, inputs)
    }
    #expect(rounds.contains { $0.reduce(0, +) <= 2 }, "\(rounds)")
    // Each length is a plan of its own otherwise.
    let lengths = Array(50..<60)
    #expect(misses(lengths, width: 11, inputs, .off) == lengths.map { _ in 1 })
  }

  /// What keeps coming is planned as a whole.
  @Test func loopsThatAreOutgrown() {
    let runs = RollLimits.usual.runs
    let rounds = (0..<3).map { round in
      misses([Int](repeating: 60, count: runs + 5), width: 13 + round)
    }
    let wanted = (0..<(runs + 5)).map { $0 == 0 || $0 == runs ? 1 : 0 }
    #expect(rounds.contains(wanted), "\(rounds)")
  }

  /// Not where it comes in between others, and not where it is long.
  @Test func loopsThatAreNot() {
    let runs = RollLimits.usual.runs
    let turns = (0..<(3 * runs)).map { $0 % 2 == 0 ? 60 : 61 + $0 % 3 }
    let rounds = (0..<3).map { misses(turns, width: 17 + $0) }
    #expect(rounds.contains { $0.dropFirst(6).allSatisfy { $0 == 0 } }, "\(rounds)")
    let long = (0..<3).map { round in
      ConcurrencyTests.onNewThread {
        Tape.withLimits(.usual) {
          let w = Tensor(SequenceModel.numbers([21 + round, 21 + round], 1), constant: true)
          return (0..<(runs + 5)).map { _ in
            PlanCounts {
              var h = Tensor.full([1, 21 + round], 0.5, dtype: .float32)
              for _ in 0..<2500 { h = tanh(matmul(h, w)) }
              h.eval()
            }.misses
          }
        }
      }
    }
    #expect(long.contains { $0.dropFirst().allSatisfy { $0 == 0 } }, "\(long)")
  }

  /// A compiled function runs as few kernels as if there were no loops.
  @Test func compiledFunctionsArePlannedAsAWhole() {
    func kernels(_ rolling: RollLimits, isCompiled: Bool) -> Int {
      ConcurrencyTests.onNewThread {
        var limits = TapeLimits.usual
        limits.rolling = rolling
        return Tape.withLimits(limits) {
          let body: @Sendable ([Tensor]) -> [Tensor] = { t in
            var h = t[0]
            for k in 0..<100 { h = tanh(matmul(h, t[1]) + t[2][k]) }
            return [h, gradients(of: square(h).sum(), withRespectTo: [t[1]])[0]]
          }
          let function = compiled(body)
          let arguments = [
            Tensor(SequenceModel.numbers([2, 9], 1)), Tensor(SequenceModel.numbers([9, 9], 2)),
            Tensor(SequenceModel.numbers([100, 2, 9], 3)),
          ]
          for _ in 0..<4 { eval(isCompiled ? function(arguments) : body(arguments)) }
          let before = Tape.current.locked { Tape.current.state.pointee.counters.kernelsRun }
          eval(isCompiled ? function(arguments) : body(arguments))
          return Tape.current.locked { Tape.current.state.pointee.counters.kernelsRun } - before
        }
      }
    }
    let rolled = kernels(.usual, isCompiled: false)
    #expect(kernels(.usual, isCompiled: true) == kernels(.off, isCompiled: true))
    #expect(kernels(.usual, isCompiled: true) < rolled)
  }

  /// One that is too long for that has its loops, whatever it is called with.
  @Test func longCompiledFunctions() {
    let body: @Sendable ([Tensor]) -> [Tensor] = { t in
      var h = t[0]
      for k in 0..<600 { h = tanh(matmul(h, t[1]) + t[2][k]) }
      return [h, gradients(of: square(h).sum(), withRespectTo: [t[1]])[0]]
    }
    let function = compiled(body)
    for call in 0..<4 {
      let arguments = [
        Tensor(SequenceModel.numbers([2, 4], call)),
        Tensor(SequenceModel.numbers([4, 4], call + 1)),
        Tensor(SequenceModel.numbers([600, 2, 4], call + 2)),
      ]
      #expect(
        function(arguments).map(SequenceModel.bits) == body(arguments).map(SequenceModel.bits))
    }
    #expect(function.calls.replayed > 0)
  }
}
