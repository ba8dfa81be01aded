// Meta-learning (MAML): weights from which one step of gradient descent on five points learns a new
// sine. The outer gradient is that of a computation with a gradient in it.

import LazyGrad
import Testing

private func predict(_ weights: [Tensor], _ x: Tensor) -> Tensor {
  matmul(tanh(matmul(x, weights[0]) + weights[1]), weights[2]) + weights[3]
}

/// One sine, as points to learn from and points to be judged by.
private struct Sine {
  let amplitude, phase: Double

  static var shots: Tensor { Tensor.linspace(-2, 2, count: 5).reshaped(5, 1) }
  static var queries: Tensor { Tensor.linspace(-2.5, 2.5, count: 11).reshaped(11, 1) }

  func error(_ weights: [Tensor], _ x: Tensor) -> Tensor {
    square(predict(weights, x) - amplitude * sin(x + phase)).mean()
  }

  /// The weights after one step, as a function of those before.
  func adapted(_ weights: [Tensor]) -> [Tensor] {
    let error = error(weights, Sine.shots)
    let gradient = gradients(of: error, withRespectTo: weights, createGraph: true)
    return zip(weights, gradient).map { $0 - 0.1 * $1 }
  }
}

@Suite struct MetaLearningTests {
  @Test func learnsToLearn() throws {
    var noise = Noise(6)
    let weights = [
      Tensor(noise.array(1, 16)), Tensor(noise.array(16)),
      Tensor(noise.array(16, 1, scale: 0.5)), Tensor.zeros([1]),
    ]
    let amplitudes = (0..<4).map { _ in 1 + 0.5 * noise.number() }
    let sines = amplitudes.map { Sine(amplitude: $0, phase: noise.number()) }
    func loss() -> Tensor {
      addSequence(sines.map { $0.error($0.adapted(weights), Sine.queries) }) / 4
    }

    let gradient = gradients(of: loss(), withRespectTo: weights)[1]
    var losses: [Double] = []
    for _ in 0..<100 {
      let loss = loss()
      let step = gradients(of: loss, withRespectTo: weights)
      noAutodiff { for (weight, gradient) in zip(weights, step) { weight -= 0.05 * gradient } }
      eval(weights)
      losses.append(loss.item())
    }
    let new = Sine(amplitude: 1.2, phase: 0.4)
    let before = new.error(weights, Sine.queries)
    let after = new.error(new.adapted(weights), Sine.queries)

    #expect(after.item() < 0.3 * before.item())
    let fixture = try Fixture("meta_learning")
    try fixture.expect(gradient, "gradient")
    try fixture.expect(losses, "losses")
    try fixture.expect(before, "before")
    try fixture.expect(after, "after")
  }
}
