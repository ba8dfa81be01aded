// Activations beyond relu, sigmoid and tanh, and sums and products of many tensors.

internal import LazyGradJIT

/// x where it is positive, `alpha` (e^x - 1) where it is negative; the gradient at 0 is 1.
///
/// Integers and bools give float64. Error below 0 at most 2 ULP.
public func elu(_ x: Tensor, alpha: some TensorScalar = 1.0) -> Tensor {
  let alpha = alpha._double
  return x.compose { r in
    let x = r.floating(r.x)
    return r.exponentialUnit(x, alpha)
  }
}

/// The scaled exponential unit, `elu` with the two constants that keep mean and variance (Klambauer et al.,
/// "Self-Normalizing Neural Networks", 2017); the gradient at 0 is the scale, 1.0507.
public func selu(_ x: Tensor) -> Tensor {
  x.compose { r in
    let x = r.floating(r.x)
    return r(
      .mul, r.exponentialUnit(x, 1.6732632423543772), r.number(1.0507009873554805, like: x))
  }
}

extension Recorder {
  fileprivate func exponentialUnit(_ x: UInt32, _ alpha: Double) -> UInt32 {
    let zero = number(0, like: x)
    // Nothing above 0 goes into the exponential: it would overflow, and its gradient with it.
    let below = self(.mul, self(.expm1, self(.minimum, x, zero)), number(alpha, like: x))
    return select(self(.less, x, zero), below, x)
  }
}

/// x where it is positive, `slope` x where it is negative; the gradient at 0 is 0.
///
/// Integers and bools give float64.
public func leakyRelu(_ x: Tensor, slope: some TensorScalar = 0.01) -> Tensor {
  let slope = slope._double
  return x.compose { r in
    let x = r.floating(r.x)
    return r(.sub, r(.relu, x), r(.mul, r(.relu, r(.neg, x)), r.number(slope, like: x)))
  }
}

/// x cut off at two bounds; the gradient at a bound is 0. `clip` with other names.
public func hardTanh(
  _ x: Tensor, lowerBound: any TensorScalar = -1, upperBound: any TensorScalar = 1
) -> Tensor { x.clip(lowerBound, upperBound) }

/// x / (1 + |x|); the gradient at 0 is 1. Error at most 1.5 ULP.
///
/// Integers and bools give float64. Not-a-number for infinities.
public func softSign(_ x: Tensor) -> Tensor { Composite.softSign(x) }
extension Composite {
  fileprivate static let softSign = Composite("softSign", of: .operand) { r, x, _ in
    r(.div, x, r(.add, r(.abs, x), r.number(1, like: x)))
  } rule: {
    $0.derivatives(a: .over($0(.square, $0(.add, $0(.abs, $0.a), $0.number(1)))))
  }
}

/// log(sigmoid(x)), computed without overflow: minus `softplus(-x)`. Error at most 2.5 ULP.
public func logSigmoid(_ x: Tensor) -> Tensor { -softplus(-x) }

/// The gated linear unit: of two halves along an axis the first times `sigmoid` of the second. The length of
/// the axis must be even; the result has half of it.
public func glu(_ x: Tensor, axis: Int = -1) -> Tensor {
  if let poison = poisoned(x) { return poison }
  guard let position = position(of: axis, rank: x.rank) else {
    return fail("glu", "axis \(axis) is out of range for shape \(x.shape)", [x])
  }
  let length = x.shape[position]
  if length % 2 != 0 {
    return fail(
      "glu", "expected an even length along axis \(axis), got shape \(x.shape)", [x])
  }
  return Tensor.inFloat32(x) { x, _, _ in
    let halves = split(x, 2, axis: position)
    return halves[0] * sigmoid(halves[1])
  }
}

/// The sum of two or more tensors that broadcast together.
public func addSequence(_ tensors: Tensor...) -> Tensor { inPairs("addSequence", tensors, +) }

/// The sum of a list of tensors that broadcast together; of one tensor, a copy of it.
public func addSequence(_ tensors: [Tensor]) -> Tensor {
  tensors.count == 1 ? +tensors[0] : inPairs("addSequence", tensors, +)
}

/// The product of two or more tensors that broadcast together. The gradient of one is the product of the
/// others, also where that one is zero.
public func multiplySequence(_ tensors: Tensor...) -> Tensor {
  inPairs("multiplySequence", tensors, *)
}

/// The product of a list of tensors that broadcast together; of one tensor, a copy of it. Gradients are right
/// at zeros, too.
public func multiplySequence(_ tensors: [Tensor]) -> Tensor {
  tensors.count == 1 ? +tensors[0] : inPairs("multiplySequence", tensors, *)
}

/// Combines neighbours, then pairs of these, so that errors and the depth of the graph grow with the
/// logarithm of the number.
private func inPairs(
  _ name: String, _ tensors: [Tensor], _ combine: (Tensor, Tensor) -> Tensor
) -> Tensor {
  if tensors.count < 2 {
    return fail(name, "expected at least two tensors, got \(tensors.count)", tensors)
  }
  if Tensor.hasHalf(tensors) {
    return Tensor.inFloat32(tensors) { inPairs(name, $0, combine) }
  }
  var parts = tensors
  while parts.count > 1 {
    var next: [Tensor] = []
    for k in stride(from: 0, to: parts.count - 1, by: 2) {
      next.append(combine(parts[k], parts[k + 1]))
    }
    if parts.count % 2 == 1 { next.append(parts[parts.count - 1]) }
    parts = next
  }
  return parts[0]
}
