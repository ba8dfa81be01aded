// Optimisers that make a step out of one gradient. The formulas and what stands where nothing is given are those of
// PyTorch's documentation; the papers are named.
//
// In the formulas p is a parameter, g its gradient, t the number of the step.

/// Stochastic gradient descent, with momentum (Polyak, Some Methods of Speeding up the Convergence of
/// Iteration Methods, 1964; Sutskever and others, On the Importance of Initialization and Momentum in Deep
/// Learning, 2013).
///
///     g = g + weightDecay p
///     m = momentum m + (1 - dampening) g        the first time m = g
///     g = m, or g + momentum m if Nesterov's
///     p = p - rate g
public final class SGD: GradientOptimizer {
  /// How much of the steps before goes on.
  public let momentum: Double
  /// How much less a gradient counts for the momentum.
  public let dampening: Double
  /// Whether the gradient is that of where momentum leads.
  public let nesterov: Bool
  /// How much of a parameter is added to its gradient.
  public let weightDecay: Double

  /// An optimiser for the variables of a model. Nesterov's form wants momentum and no dampening.
  public init(
    _ model: some Parameterized, rate: Double, momentum: Double = 0, dampening: Double = 0,
    nesterov: Bool = false, weightDecay: Double = 0
  ) {
    (self.momentum, self.dampening) = (momentum, dampening)
    (self.nesterov, self.weightDecay) = (nesterov, weightDecay)
    super.init(model, rate, keeps: momentum == 0 ? [] : ["momentum"])
    if nesterov, !(momentum > 0 && dampening == 0) {
      _ = Tensor.failure(
        "SGD",
        "expected momentum and no dampening for Nesterov's form, got \(momentum), \(dampening)")
    }
  }

  override func update(_ p: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    var g = weightDecay == 0 ? gradient : gradient + weightDecay * p
    if momentum != 0 {
      let m = kept(0)
      m.assign(momentum * m + (stepCount == 1 ? 1 : 1 - dampening) * g)
      g = nesterov ? g + momentum * m : m
    }
    return p - rate * g
  }
}

/// Adam (Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015).
///
///     g = g + weightDecay p
///     m = β1 m + (1 - β1) g
///     v = β2 v + (1 - β2) g²
///     p = p - rate m / (1 - β1^t) / (√(v / (1 - β2^t)) + eps)
public class Adam: GradientOptimizer {
  /// β1 and β2: how much of the mean of gradients, and of their squares, stays.
  public let betas: (Double, Double)
  /// What is added where it is divided.
  public let eps: Double
  /// How much of a parameter is added to its gradient; in `AdamW` taken from the parameter itself.
  public let weightDecay: Double

  /// An optimiser for the variables of a model.
  public init(
    _ model: some Parameterized, rate: Double = 0.001, betas: (Double, Double) = (0.9, 0.999),
    eps: Double = 1e-8, weightDecay: Double = 0
  ) {
    (self.betas, self.eps, self.weightDecay) = (betas, eps, weightDecay)
    super.init(model, rate, keeps: ["mean", "square"])
  }

  override func update(_ p: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    moved(p, weightDecay == 0 ? gradient : gradient + weightDecay * p, kept)
  }

  fileprivate final func moved(_ p: Tensor, _ g: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    let (m, v) = (kept(0), kept(1))
    m.assign(betas.0 * m + (1 - betas.0) * g)
    v.assign(betas.1 * v + (1 - betas.1) * square(g))
    let step = rate / (1 - power(betas.0, stepCount))
    let root = (1 - power(betas.1, stepCount)).squareRoot()
    return p - step * m / (sqrt(v) / root + eps)
  }
}

/// Adam with a decay of weights that does not go through the gradient (Loshchilov and Hutter, Decoupled Weight
/// Decay Regularization, 2019): `p` is `(1 - rate weightDecay) p` before `Adam`'s step.
public final class AdamW: Adam {
  /// An optimiser for the variables of a model.
  public override init(
    _ model: some Parameterized, rate: Double = 0.001, betas: (Double, Double) = (0.9, 0.999),
    eps: Double = 1e-8, weightDecay: Double = 0.01
  ) {
    super.init(model, rate: rate, betas: betas, eps: eps, weightDecay: weightDecay)
  }

  override func update(_ p: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    moved(weightDecay == 0 ? p : (1 - rate * weightDecay) * p, gradient, kept)
  }
}

/// RMSProp (Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6.5, 2012; the centred form is
/// that of Graves, Generating Sequences with Recurrent Neural Networks, 2013).
///
///     g = g + weightDecay p
///     v = α v + (1 - α) g²
///     a = α a + (1 - α) g, w = v - a²           if centred, else w = v
///     m = momentum m + g / (√w + eps)
///     p = p - rate m
public final class RMSProp: GradientOptimizer {
  /// How much of the mean of squares stays.
  public let alpha: Double
  /// What is added where it is divided.
  public let eps: Double
  /// How much of the steps before goes on.
  public let momentum: Double
  /// Whether squares are those of the distance from the mean.
  public let centered: Bool
  /// How much of a parameter is added to its gradient.
  public let weightDecay: Double

  /// An optimiser for the variables of a model.
  public init(
    _ model: some Parameterized, rate: Double = 0.01, alpha: Double = 0.99, eps: Double = 1e-8,
    momentum: Double = 0, centered: Bool = false, weightDecay: Double = 0
  ) {
    (self.alpha, self.eps, self.momentum) = (alpha, eps, momentum)
    (self.centered, self.weightDecay) = (centered, weightDecay)
    super.init(
      model, rate,
      keeps: ["square"] + (centered ? ["mean"] : []) + (momentum == 0 ? [] : ["momentum"]))
  }

  override func update(_ p: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    let g = weightDecay == 0 ? gradient : gradient + weightDecay * p
    let v = kept(0)
    v.assign(alpha * v + (1 - alpha) * square(g))
    var w = v
    if centered {
      let a = kept(1)
      a.assign(alpha * a + (1 - alpha) * g)
      w = v - square(a)
    }
    let scaled = g / (sqrt(w) + eps)
    if momentum == 0 { return p - rate * scaled }
    let m = kept(centered ? 2 : 1)
    m.assign(momentum * m + scaled)
    return p - rate * m
  }
}

/// Adagrad (Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic
/// Optimization, 2011).
///
///     g = g + weightDecay p
///     s = s + g²
///     p = p - rate / (1 + (t - 1) rateDecay) g / (√s + eps)
public final class Adagrad: GradientOptimizer {
  /// How fast the rate becomes smaller.
  public let rateDecay: Double
  /// What is added where it is divided.
  public let eps: Double
  /// How much of a parameter is added to its gradient.
  public let weightDecay: Double

  /// An optimiser for the variables of a model.
  public init(
    _ model: some Parameterized, rate: Double = 0.01, rateDecay: Double = 0, eps: Double = 1e-10,
    weightDecay: Double = 0
  ) {
    (self.rateDecay, self.eps, self.weightDecay) = (rateDecay, eps, weightDecay)
    super.init(model, rate, keeps: ["sum"])
  }

  override func update(_ p: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    let g = weightDecay == 0 ? gradient : gradient + weightDecay * p
    let s = kept(0)
    s.assign(s + square(g))
    let rate = rate / (1 + Double(stepCount - 1) * rateDecay)
    return p - rate * g / (sqrt(s) + eps)
  }
}

/// Adadelta (Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012).
///
///     g = g + weightDecay p
///     v = ρ v + (1 - ρ) g²
///     d = √(u + eps) / √(v + eps) g
///     u = ρ u + (1 - ρ) d²
///     p = p - rate d
public final class Adadelta: GradientOptimizer {
  /// How much of the means of squares stays.
  public let rho: Double
  /// What is added to the means.
  public let eps: Double
  /// How much of a parameter is added to its gradient.
  public let weightDecay: Double

  /// An optimiser for the variables of a model.
  public init(
    _ model: some Parameterized, rate: Double = 1, rho: Double = 0.9, eps: Double = 1e-6,
    weightDecay: Double = 0
  ) {
    (self.rho, self.eps, self.weightDecay) = (rho, eps, weightDecay)
    super.init(model, rate, keeps: ["square", "change"])
  }

  override func update(_ p: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    let g = weightDecay == 0 ? gradient : gradient + weightDecay * p
    let (v, u) = (kept(0), kept(1))
    v.assign(rho * v + (1 - rho) * square(g))
    let d = sqrt(u + eps) / sqrt(v + eps) * g
    u.assign(rho * u + (1 - rho) * square(d))
    return p - rate * d
  }
}

/// A number to the power of a step's number.
private func power(_ base: Double, _ exponent: Int) -> Double {
  // By squares, each of which is rounded once: as exact as a power needs to be here.
  var (result, square, rest) = (1.0, base, exponent)
  while rest > 0 {
    if rest & 1 == 1 { result *= square }
    square *= square
    rest >>= 1
  }
  return result
}
