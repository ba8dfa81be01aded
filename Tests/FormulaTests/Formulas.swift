// Formulas as people write them: tensors mixed with Double, Float and Int, with literals, arrays, and
// functions that Foundation has as well. `perf/type-check.sh` says how long the compiler takes for each;
// the tests run them. One formula a function, one expression a formula; but for the two that Swift 6.2 gives up
// on.

import Foundation
import LazyGrad

struct Formulas {
  let x, y, z, v, w, b, q, mu, sigma, p: Tensor
  let matrix: Tensor
  let data, mask: NDArray
  let k = Values.k, m = Values.m, g = Values.g, s = Values.s, r = Values.r, c = Values.c
  let lr = Values.lr, eps = Values.eps, beta = Values.beta, dt = Values.dt
  let f: Float = 0.25
  let n = Values.n, step = Values.step
}

// MARK: - Physics

extension Formulas {
  func springs() -> Tensor { 0.5 * k * x ** 2 + 0.5 * m * v ** 2 - 0.25 * k * m }
  func springsOfTensors() -> Tensor { 0.5 * q * x ** 2 + 0.5 * p * v ** 2 - 0.25 * q * p }
  func pendulumEnergy() -> Tensor { m * g * r * (1 - cos(x)) + 0.5 * m * r * r * v * v }
  func pendulumForce() -> Tensor { -g / r * sin(x) - c * v }
  func freeFall() -> Tensor { x + dt * v + 0.5 * dt * dt * (-k / m * x) }
  func dampedStep() -> Tensor { v + dt * (-k * x - c * v) / m }
  func lennardJones() -> Tensor { 4 * eps * ((s / x) ** 12 - (s / x) ** 6) }
  func threeEnergies() -> Tensor { m * g * x + 0.5 * m * v ** 2 + 0.5 * k * (x - r) ** 2 }
  func dampedWave() -> Tensor { exp(-0.5 * dt * x) * cos(2 * Double.pi * g * x + 0.1) }
  func gravity() -> Tensor { k * x * y / (x ** 2 + y ** 2 + eps) ** 1.5 }
  func distance() -> Tensor { sqrt(x ** 2 + y ** 2 + z ** 2) }
  func pendulumPeriod() -> Tensor {
    #if compiler(>=6.3)
      2 * Double.pi * sqrt(r / g) * (1 + x ** 2 / 16 + 11 * x ** 4 / 3072)
    #else
      let series = 1 + x ** 2 / 16 + 11 * x ** 4 / 3072
      return 2 * Double.pi * sqrt(r / g) * series
    #endif
  }
  func planck() -> Tensor { m / (exp(m * x / (k * r)) - 1) }
  func lorentz() -> Tensor { 1 / sqrt(1 - v ** 2 / (c * c * 100)) }
  func rotation() -> Tensor { x * cos(r) - y * sin(r) + 0.5 * s }
  func rungeKutta() -> Tensor { (x + 2 * y + 2 * z + w) * dt / 6 }
  func totalEnergy() -> Tensor {
    0.5 * (v * v).sum() * m - g * m * m * (1 / sqrt(x ** 2 + eps)).sum()
  }
  func morse() -> Tensor { k * (1 - exp(-s * (x - r))) ** 2 }
  func entropy() -> Tensor {
    Double(n) * 1.5 * k * x / (y + Double(step)) - 0.5 * Double(n) * log(x)
  }
  func rocket() -> Tensor { c * log((m + x) / m) - g * Double(step) * dt }
  func vanDerWaals() -> Tensor { (p + k * (Double(n) / x) ** 2) * (x - Double(n) * dt) / (r * q) }
  func frequency() -> Tensor { 1 / (2 * Double.pi) * sqrt(k / (m + x)) }
  func boltzmann() -> Tensor { exp(-x / (k * r)) / exp(-x / (k * r)).sum() }
}

// MARK: - Statistics

extension Formulas {
  func logDeterminant() -> Tensor { 0.5 * q + 0.5 * x + 0.5 * Double(n) * log(2 * Double.pi) }
  func gaussianLoss() -> Tensor {
    x.sum() / (2 * s * s) + Double(n) / 2 * log(2 * Double.pi * s * s)
  }
  func normalLogDensity() -> Tensor {
    -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * Double.pi)
  }
  func normalDensity() -> Tensor {
    exp(-((x - mu) ** 2) / (2 * sigma ** 2)) / (sigma * sqrt(2 * Double.pi))
  }
  func crossEntropy() -> Tensor { -(p * log(q) + (1 - p) * log(1 - p)).mean() }
  func standardized() -> Tensor { (x - x.mean()) / sqrt(x.var() + eps) }
  func logistic() -> Tensor { 1 / (1 + exp(-(w * x + b))) }
  func ridge() -> Tensor { (y - (w * x + b)).sum() / Double(n) + 0.01 * (w ** 2).sum() }
  func divergence() -> Tensor {
    log(sigma / s) + (s * s + (mu - r) ** 2) / (2 * sigma ** 2) - 0.5
  }
  func latentDivergence() -> Tensor { -0.5 * (1 + log(sigma ** 2) - mu ** 2 - sigma ** 2).sum() }
  func betaLogDensity() -> Tensor { k * log(p) + (m - 1) * log(1 - p) - (r + 2) * log(p + 1) }
  func poisson() -> Tensor {
    Double(step) * log(x) - x - Double(n) * log(Double(n)) + Double(n)
  }
  func kernel() -> Tensor { s * s * exp(-0.5 * (x - y) ** 2 / (r * r)) + eps * eps }
  func arrays() -> Tensor { x * data + 0.5 * (data * y) - data / z + 2 }
  func arrayLikelihood() -> Tensor {
    0.5 * (data - mu) ** 2 / (s * s) + log(s) + 0.5 * log(2 * Double.pi)
  }
  func studentT() -> Tensor { log(1 + x ** 2 / Double(n)) * (-0.5 * (Double(n) + 1)) }
  func covariance() -> Tensor { (x * y).mean() - x.mean() * y.mean() }
  func deviation() -> Tensor { sqrt((x ** 2).mean() - x.mean() ** 2 + 1e-12) }
  func weibull() -> Tensor { -k * log(r) - (x / r) ** k + (k - 1) * log(x) + log(k) }
  func laplace() -> Tensor { abs(x - mu) / s + log(2 * s) }
  func innovation() -> Tensor { mu + p / (p + r * r) * (x - mu) }
  func weights() -> Tensor { (x - 1) * (x - 2) * (x - 3) * (x - 4) / (4 * 3 * 2 * 1) }
  func huber() -> Tensor {
    `where`(abs(x - y) .< 0.5, 0.5 * (x - y) ** 2, 0.5 * (abs(x - y) - 0.25))
  }
}

// MARK: - Networks

extension Formulas {
  func cosineDecay() -> Tensor {
    w - lr * (0.5 + 0.5 * cos(Double.pi * Double(step) / 100)) * w.grad!
  }
  func adaptive() -> Tensor { w - lr * mu / (sqrt(v) + eps) }
  func momentum() -> Tensor { beta * mu + (1 - beta) * w.grad! }
  func secondMoment() -> Tensor { beta * v + (1 - beta) * w.grad! ** 2 }
  func adam() -> Tensor {
    w - lr * sqrt(1 - pow(0.999, Double(step))) / (1 - pow(0.9, Double(step))) * mu
      / (sqrt(v) + 1e-8)
  }
  func gelu() -> Tensor { 0.5 * x * (1 + tanh(sqrt(2 / Double.pi) * (x + 0.044715 * x ** 3))) }
  func gate() -> Tensor { sigmoid(matmul(matrix, w) + b) * tanh(x) + (1 - sigmoid(x)) * y }
  func attention() -> Tensor { matmul(matrix, w) / sqrt(Double(n)) }
  func gatedUnit() -> Tensor { (1 - z) * x + z * tanh(w * x + p * (y * v) + b) }
  func leakyRelu() -> Tensor { maximum(0, x - 1) + 0.01 * minimum(x - 1, 0.0) }
  func elu() -> Tensor { `where`(x .> 1, x - 1, 0.1 * (exp(x - 1) - 1)) }
  func normalized() -> Tensor {
    (x - x.mean(axis: 0, keepDims: true)) / (x.var(axis: 0, keepDims: true) + 1e-5) ** 0.5 * w + b
  }
  func regularized() -> Tensor {
    -(p * log(q + 1e-9)).sum(axis: 0).mean() + 0.5 * lr * (w ** 2).sum()
  }
  func decoupled() -> Tensor { w * (1 - lr * 0.01) - lr * w.grad! / (1e-8 + sqrt(v / (1 - 0.99))) }
  func agreement() -> Tensor { ((x .> 0.5) .& (y .> 0.5)) .| .!(z .< 0.5) }
  func floats() -> Tensor { 2 * x * f + f * y - f }
  func squaredError() -> Tensor { (matmul(matrix, w) - y) ** 2 + 0.1 * abs(w).sum() }
  func masked() -> Tensor { x * mask + mask * y * (1 - x) }
  func warmUp() -> Tensor { lr * Double(step) / Double(n) * w.grad! + 0.9 * v - 0.1 * lr * w }
  func logSum() -> Tensor { log(exp(x - x.max()).sum()) + x.max() - x[0] }
  func signs() -> Tensor { -x * 2 + -0.5 * y - (-z) }
  func powers() -> Tensor { x ** 2 + 2 ** x + x ** y - pow(2, y) + pow(x, 0.5) }
  func smoothed() -> Tensor { (1 - eps) * p + eps / Double(n) }
  func polynomial() -> Tensor {
    #if compiler(>=6.3)
      0.5 * (y - x) ** 2 * Double(n) + s * (x - 1) * (x - 1) / 2 + 3 * (x * y - 1) / 4
    #else
      let first = 0.5 * (y - x) ** 2 * Double(n)
      let second = s * (x - 1) * (x - 1) / 2
      return first + second + 3 * (x * y - 1) / 4
    #endif
  }
  func corrected() -> Tensor {
    w - lr * (beta * mu + (1 - beta) * w.grad!) / (1 - pow(beta, Double(step + 1)))
  }
  func weightedSquares() -> Tensor {
    1.0 / Double(n) * (x - y) * (x - y) + lr / 2.0 * w * w + eps / 2.0 * b * b
  }
  func products() -> Tensor { k / (2 * m) * (x + y) * (x - y) + (k * s / m) * m * s / lr + w }
  func products2() -> Tensor { Double(n) - s / (cos(k * m * 1e-3 / k)) * b * x + y * k - w }
}

// MARK: - Numbers stay numbers

extension Formulas {
  func logOfNumbers() -> Double {
    0.5 * Double(n) * log(2 * Double.pi * s * s) + sqrt(k / m) * cos(r) - exp(-s)
  }

  /// Nothing here says which type is wanted.
  func inferred() -> (Tensor, Double) {
    let logarithm = log(2 * Double.pi)
    let twice = 2 * logarithm
    let rate = lr * (0.5 + 0.5 * cos(Double.pi * Double(step) / 100))
    let loss = x.sum() / (2 * s * s) + Double(n) / 2 * log(2 * Double.pi * s * s)
    let update = w - rate * loss * (1 - 1 / (1 + exp(-x)))
    return (update, twice)
  }
}
