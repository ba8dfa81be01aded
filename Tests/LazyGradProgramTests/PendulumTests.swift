// A pendulum with friction: gravity and friction are found by differentiating through the steps of
// time.

import LazyGrad
import Testing

/// The angles of a swing; the parameters are gravity per length, and friction.
private func swing(_ parameters: Tensor, steps: Int, dt: Double) -> Tensor {
  let (gravity, friction) = (parameters[0], parameters[1])
  func rate(_ angle: Tensor, _ speed: Tensor) -> (Tensor, Tensor) {
    (speed, -gravity * sin(angle) - friction * speed)
  }

  var (angle, speed) = (Tensor(1.2), Tensor(0.0))
  var angles: [Tensor] = []
  for _ in 0..<steps {
    // The midpoint rule.
    let (a, b) = rate(angle, speed)
    let (c, d) = rate(angle + dt / 2 * a, speed + dt / 2 * b)
    angle = angle + dt * c
    speed = speed + dt * d
    angles.append(angle)
  }
  return stack(angles)
}

@Suite struct PendulumTests {
  @Test func findsGravityAndFriction() throws {
    var noise = Noise(4)
    let truth = Tensor([9.81, 0.3], constant: true)
    let seen = swing(truth, steps: 100, dt: 0.05).detached() + noise.array(100, scale: 0.02)
    let rates = Tensor([1.0, 0.05], constant: true)

    let parameters = Tensor([9.0, 0.1])
    func loss() -> Tensor { square(swing(parameters, steps: 100, dt: 0.05) - seen).mean() }
    let gradient = gradients(of: loss(), withRespectTo: [parameters])[0]

    var losses: [Double] = []
    for _ in 0..<150 {
      let loss = loss()
      loss.backward()
      noAutodiff { parameters -= rates * parameters.gradient }
      eval(parameters)
      losses.append(loss.item())
    }

    #expect(parameters.allClose(to: truth, relative: 0.01))
    let fixture = try Fixture("pendulum")
    try fixture.expect(seen, "seen")
    try fixture.expect(gradient, "gradient")
    try fixture.expect(losses, "losses")
    try fixture.expect(parameters, "fitted")
  }
}
