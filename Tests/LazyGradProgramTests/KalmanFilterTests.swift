// A Kalman filter follows a moving point by noisy measurements, and finds out by gradients how noisy
// they are.

import Foundation
import LazyGrad
import Testing

/// Position and speed in the plane, of which the position is measured.
private struct Tracker {
  /// Logarithms of the process's and the measurements' variance.
  let logs = Tensor([0.0, 0.0])
  let motion: Tensor
  let shape: Tensor
  let see = Tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]], constant: true)

  init(dt: Double) {
    motion = Tensor(
      [[1, 0, dt, 0], [0, 1, 0, dt], [0, 0, 1, 0], [0, 0, 0, 1]], constant: true)
    let (a, b) = (dt * dt * dt / 3, dt * dt / 2)
    shape = Tensor([[a, 0, b, 0], [0, a, 0, b], [b, 0, dt, 0], [0, b, 0, dt]], constant: true)
  }

  /// The states after each measurement, the last one's covariance, and the likelihood's logarithm.
  func run(_ measured: NDArray) -> (states: Tensor, covariance: Tensor, likelihood: Tensor) {
    let variances = exp(logs)
    let process = variances[0] * shape
    let sensor = variances[1] * Tensor.eye(2)
    let one = Tensor.eye(4)
    var state = Tensor.zeros([4])
    var covariance = 10 * one
    var likelihood = Tensor(0.0)
    var states: [Tensor] = []
    for i in 0..<measured.shape[0] {
      state = matmul(motion, state)
      covariance = multiMatmul([motion, covariance, motion.T]) + process

      let surprise = Tensor(measured[i]) - matmul(see, state)
      let spread = multiMatmul([see, covariance, see.T]) + sensor
      let gain = multiMatmul([covariance, see.T, inverse(spread)])
      state = state + matmul(gain, surprise)
      covariance = matmul(one - matmul(gain, see), covariance)
      states.append(state)

      let distance = dot(surprise, solve(spread, surprise))
      likelihood -= 0.5 * (distance + logDeterminant(spread).logarithm + 2 * log(2 * Double.pi))
    }
    return (stack(states), covariance, likelihood)
  }
}

@Suite struct KalmanFilterTests {
  @Test func followsAPoint() throws {
    var noise = Noise(3)
    let times = Tensor.arange(60.0) * 0.1
    let track = stack([cos(times), 0.5 * times], axis: 1)
    let measured = (track + noise.array(60, 2, scale: 0.3)).array

    let tracker = Tracker(dt: 0.1)
    var likelihoods: [Double] = []
    for _ in 0..<40 {
      let likelihood = tracker.run(measured).likelihood
      likelihood.backward()
      noAutodiff { tracker.logs += 0.02 * tracker.logs.gradient }
      eval(tracker.logs, likelihood)
      likelihoods.append(likelihood.item())
    }
    let (states, covariance, _) = noAutodiff { tracker.run(measured) }

    let filtered = (states[20..., ..<2] - track[20...]).norm().item()
    let raw = (Tensor(measured[20...]) - track[20...]).norm().item()
    #expect(filtered < 0.6 * raw)
    let fixture = try Fixture("kalman_filter")
    try fixture.expect(likelihoods, "likelihoods")
    try fixture.expect(states, "states")
    try fixture.expect(covariance, "covariance")
    try fixture.expect(tracker.logs, "logs")
  }
}
