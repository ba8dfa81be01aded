// Regression by a Gaussian process whose length, height and noise are learned.

import Foundation
import LazyGrad
import Testing

private struct GaussianProcess {
  let x: Tensor
  let y: Tensor
  /// Logarithms of the kernel's length and height, and of the noise's variance.
  let logs = Tensor([0.0, 0.0, 0.0])

  func kernel(_ a: Tensor, _ b: Tensor) -> Tensor {
    let distance = (a[.all, .newAxis] - b[.newAxis, .all]) / exp(logs[0])
    return exp(logs[1]) * exp(-0.5 * square(distance))
  }

  var covariance: Tensor {
    kernel(x, x) + exp(logs[2]) * Tensor.eye(x.count)
  }

  /// Minus the logarithm of the marginal likelihood.
  var loss: Tensor {
    let covariance = covariance
    let residual = triangularSolve(cholesky(covariance), y)
    let volume = logDeterminant(covariance).logarithm + Double(x.count) * log(2 * Double.pi)
    return 0.5 * (dot(residual, residual) + volume)
  }

  func predict(_ points: Tensor) -> (mean: Tensor, deviation: Tensor) {
    let factor = cholesky(covariance)
    let across = triangularSolve(factor, kernel(x, points))
    let mean = matmul(across.T, triangularSolve(factor, y))
    return (mean, sqrt(exp(logs[1]) - square(across).sum(axis: 0)))
  }
}

@Suite struct GaussianProcessTests {
  @Test func learnsASine() throws {
    var noise = Noise(5)
    let x = Tensor.linspace(-3, 3, count: 25, constant: true)
    let process = GaussianProcess(x: x, y: sin(2 * x) + noise.array(25, scale: 0.2))
    let logs = process.logs

    var losses: [Double] = []
    for _ in 0..<100 {
      let loss = process.loss
      loss.backward()
      noAutodiff { logs -= 0.02 * logs.gradient }
      eval(logs)
      losses.append(loss.item())
    }
    let points = Tensor.linspace(-4, 4, count: 9)
    let (mean, deviation) = noAutodiff { process.predict(points) }

    #expect(deviation[0].item() > 5 * deviation[4].item())
    let fixture = try Fixture("gaussian_process")
    try fixture.expect(losses, "losses")
    try fixture.expect(logs, "logs")
    try fixture.expect(mean, "mean")
    try fixture.expect(deviation, "deviation")
  }
}
