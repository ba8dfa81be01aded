// The same formulas for one element at a time, in Swift's own arithmetic. LazyGrad is not imported.

import Foundation

/// The numbers that formulas are made of.
enum Values {
  static let k = 1.5, m = 0.8, g = 9.81, s = 0.7, r = 1.25, c = 0.35
  static let lr = 0.05, eps = 0.01, beta = 0.9, dt = 0.02
  static let n = 3, step = 7
  static let x = [0.4, 1.1, 0.75], y = [0.9, 0.3, 1.3], z = [0.2, 0.6, 1.7], v = [0.15, 0.5, 0.05]
  static let w = [0.5, -0.3, 0.8], b = [0.1, 0.2, -0.3], q = [0.3, 0.9, 0.55]
  static let mu = [0.2, 0.6, -0.1], sigma = [0.5, 1.2, 0.9], p = [0.2, 0.65, 0.4]
  static let data = [1.2, -0.4, 0.6], mask = [1.0, 0, 1], gradient = [0.3, -0.2, 0.9]
  static let matrix = [[0.2, 0.4, -0.1], [0.5, -0.3, 0.7], [0.1, 0.9, 0.3]]
}

struct PlainFormulas {
  let i: Int
  var x: Double { Values.x[i] }
  var y: Double { Values.y[i] }
  var z: Double { Values.z[i] }
  var v: Double { Values.v[i] }
  var w: Double { Values.w[i] }
  var b: Double { Values.b[i] }
  var q: Double { Values.q[i] }
  var mu: Double { Values.mu[i] }
  var sigma: Double { Values.sigma[i] }
  var p: Double { Values.p[i] }
  var data: Double { Values.data[i] }
  var mask: Double { Values.mask[i] }
  var slope: Double { Values.gradient[i] }
  let k = Values.k, m = Values.m, g = Values.g, s = Values.s, r = Values.r, c = Values.c
  let lr = Values.lr, eps = Values.eps, beta = Values.beta, dt = Values.dt
  let f = 0.25
  let n = Values.n, step = Values.step
  let pi = Double.pi

  /// The sum over all elements.
  func total(_ of: (PlainFormulas) -> Double) -> Double {
    Values.x.indices.map { of(PlainFormulas(i: $0)) }.reduce(0) { $0 + $1 }
  }
  func average(_ of: (PlainFormulas) -> Double) -> Double { total(of) / Double(Values.x.count) }
  func power(_ x: Double, _ y: Double) -> Double { pow(x, y) }
  func squared(_ x: Double) -> Double { x * x }
  func logisticFunction(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
  /// The element of the product of the matrix and `w`.
  var product: Double { zip(Values.matrix[i], Values.w).reduce(0) { $0 + $1.0 * $1.1 } }
  var largest: Double { Values.x.max()! }
  var variance: Double {
    let middle = average { $0.x }
    return average { squared($0.x - middle) }
  }
}

// MARK: - Physics

extension PlainFormulas {
  func springs() -> Double { 0.5 * k * x * x + 0.5 * m * v * v - 0.25 * k * m }
  func springsOfTensors() -> Double { 0.5 * q * x * x + 0.5 * p * v * v - 0.25 * q * p }
  func pendulumEnergy() -> Double { m * g * r * (1 - cos(x)) + 0.5 * m * r * r * v * v }
  func pendulumForce() -> Double { -g / r * sin(x) - c * v }
  func freeFall() -> Double { x + dt * v + 0.5 * dt * dt * (-k / m * x) }
  func dampedStep() -> Double { v + dt * (-k * x - c * v) / m }
  func lennardJones() -> Double { 4 * eps * (power(s / x, 12) - power(s / x, 6)) }
  func threeEnergies() -> Double { m * g * x + 0.5 * m * v * v + 0.5 * k * squared(x - r) }
  func dampedWave() -> Double { exp(-0.5 * dt * x) * cos(2 * pi * g * x + 0.1) }
  func gravity() -> Double { k * x * y / power(x * x + y * y + eps, 1.5) }
  func distance() -> Double { sqrt(x * x + y * y + z * z) }
  func pendulumPeriod() -> Double {
    2 * pi * sqrt(r / g) * (1 + x * x / 16 + 11 * power(x, 4) / 3072)
  }
  func planck() -> Double { m / (exp(m * x / (k * r)) - 1) }
  func lorentz() -> Double { 1 / sqrt(1 - v * v / (c * c * 100)) }
  func rotation() -> Double { x * cos(r) - y * sin(r) + 0.5 * s }
  func rungeKutta() -> Double { (x + 2 * y + 2 * z + w) * dt / 6 }
  func totalEnergy() -> Double {
    let kinetic = total { $0.v * $0.v }
    let potential = total { 1 / sqrt($0.x * $0.x + $0.eps) }
    return 0.5 * kinetic * m - g * m * m * potential
  }
  func morse() -> Double { k * squared(1 - exp(-s * (x - r))) }
  func entropy() -> Double {
    Double(n) * 1.5 * k * x / (y + Double(step)) - 0.5 * Double(n) * log(x)
  }
  func rocket() -> Double { c * log((m + x) / m) - g * Double(step) * dt }
  func vanDerWaals() -> Double {
    (p + k * squared(Double(n) / x)) * (x - Double(n) * dt) / (r * q)
  }
  func frequency() -> Double { 1 / (2 * pi) * sqrt(k / (m + x)) }
  func boltzmann() -> Double { exp(-x / (k * r)) / total { exp(-$0.x / ($0.k * $0.r)) } }
}

// MARK: - Statistics

extension PlainFormulas {
  func logDeterminant() -> Double { 0.5 * q + 0.5 * x + 0.5 * Double(n) * log(2 * pi) }
  func gaussianLoss() -> Double {
    total { $0.x } / (2 * s * s) + Double(n) / 2 * log(2 * pi * s * s)
  }
  func normalLogDensity() -> Double {
    -0.5 * squared((x - mu) / sigma) - log(sigma) - 0.5 * log(2 * pi)
  }
  func normalDensity() -> Double {
    exp(-squared(x - mu) / (2 * sigma * sigma)) / (sigma * sqrt(2 * pi))
  }
  func crossEntropy() -> Double { -average { $0.p * log($0.q) + (1 - $0.p) * log(1 - $0.p) } }
  func standardized() -> Double { (x - average { $0.x }) / sqrt(variance + eps) }
  func logistic() -> Double { 1 / (1 + exp(-(w * x + b))) }
  func ridge() -> Double {
    total { $0.y - ($0.w * $0.x + $0.b) } / Double(n) + 0.01 * total { $0.w * $0.w }
  }
  func divergence() -> Double {
    log(sigma / s) + (s * s + squared(mu - r)) / (2 * sigma * sigma) - 0.5
  }
  func latentDivergence() -> Double {
    -0.5 * total { 1 + log($0.sigma * $0.sigma) - $0.mu * $0.mu - $0.sigma * $0.sigma }
  }
  func betaLogDensity() -> Double { k * log(p) + (m - 1) * log(1 - p) - (r + 2) * log(p + 1) }
  func poisson() -> Double { Double(step) * log(x) - x - Double(n) * log(Double(n)) + Double(n) }
  func kernel() -> Double { s * s * exp(-0.5 * squared(x - y) / (r * r)) + eps * eps }
  func arrays() -> Double { x * data + 0.5 * (data * y) - data / z + 2 }
  func arrayLikelihood() -> Double {
    0.5 * squared(data - mu) / (s * s) + log(s) + 0.5 * log(2 * pi)
  }
  func studentT() -> Double { log(1 + x * x / Double(n)) * (-0.5 * (Double(n) + 1)) }
  func covariance() -> Double { average { $0.x * $0.y } - average { $0.x } * average { $0.y } }
  func deviation() -> Double { sqrt(average { $0.x * $0.x } - squared(average { $0.x }) + 1e-12) }
  func weibull() -> Double { -k * log(r) - power(x / r, k) + (k - 1) * log(x) + log(k) }
  func laplace() -> Double { abs(x - mu) / s + log(2 * s) }
  func innovation() -> Double { mu + p / (p + r * r) * (x - mu) }
  func weights() -> Double { (x - 1) * (x - 2) * (x - 3) * (x - 4) / 24 }
  func huber() -> Double { abs(x - y) < 0.5 ? 0.5 * squared(x - y) : 0.5 * (abs(x - y) - 0.25) }
}

// MARK: - Networks

extension PlainFormulas {
  func cosineDecay() -> Double { w - lr * (0.5 + 0.5 * cos(pi * Double(step) / 100)) * slope }
  func adaptive() -> Double { w - lr * mu / (sqrt(v) + eps) }
  func momentum() -> Double { beta * mu + (1 - beta) * slope }
  func secondMoment() -> Double { beta * v + (1 - beta) * slope * slope }
  func adam() -> Double {
    let rate = lr * sqrt(1 - power(0.999, Double(step))) / (1 - power(0.9, Double(step)))
    return w - rate * mu / (sqrt(v) + 1e-8)
  }
  func gelu() -> Double { 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))) }
  func gate() -> Double { logisticFunction(product + b) * tanh(x) + (1 - logisticFunction(x)) * y }
  func attention() -> Double { product / sqrt(Double(n)) }
  func gatedUnit() -> Double { (1 - z) * x + z * tanh(w * x + p * (y * v) + b) }
  func leakyRelu() -> Double { max(0, x - 1) + 0.01 * min(x - 1, 0) }
  func elu() -> Double { x > 1 ? x - 1 : 0.1 * (exp(x - 1) - 1) }
  func normalized() -> Double { (x - average { $0.x }) / sqrt(variance + 1e-5) * w + b }
  func regularized() -> Double {
    -total { $0.p * log($0.q + 1e-9) } + 0.5 * lr * total { $0.w * $0.w }
  }
  func decoupled() -> Double { w * (1 - lr * 0.01) - lr * slope / (1e-8 + sqrt(v / (1 - 0.99))) }
  func agreement() -> Double { (x > 0.5 && y > 0.5) || !(z < 0.5) ? 1 : 0 }
  func floats() -> Double { 2 * x * f + f * y - f }
  func squaredError() -> Double { squared(product - y) + 0.1 * total { abs($0.w) } }
  func masked() -> Double { x * mask + mask * y * (1 - x) }
  func warmUp() -> Double { lr * Double(step) / Double(n) * slope + 0.9 * v - 0.1 * lr * w }
  func logSum() -> Double {
    let top = largest
    return log(total { exp($0.x - top) }) + top - Values.x[0]
  }
  func signs() -> Double { -x * 2 - 0.5 * y + z }
  func powers() -> Double { x * x + power(2, x) + power(x, y) - power(2, y) + sqrt(x) }
  func smoothed() -> Double { (1 - eps) * p + eps / Double(n) }
  func polynomial() -> Double {
    0.5 * squared(y - x) * Double(n) + s * (x - 1) * (x - 1) / 2 + 3 * (x * y - 1) / 4
  }
  func corrected() -> Double {
    w - lr * (beta * mu + (1 - beta) * slope) / (1 - power(beta, Double(step + 1)))
  }
  func weightedSquares() -> Double {
    1.0 / Double(n) * (x - y) * (x - y) + lr / 2.0 * w * w + eps / 2.0 * b * b
  }
  func products() -> Double { k / (2 * m) * (x + y) * (x - y) + (k * s / m) * m * s / lr + w }
  func products2() -> Double { Double(n) - s / (cos(k * m * 1e-3 / k)) * b * x + y * k - w }
}
