// Losses on scores of classes and of pairs, composites of recorded operations. Labels are looked at when the
// loss is recorded.

internal import LazyGradJIT

/// The mean over rows of minus the score at the row's label, with a weight for every class where there are
/// any: of log-probabilities the negative log-likelihood.
///
/// - Parameters:
///   - scores: `[rows, classes]`; log-probabilities as a rule.
///   - labels: For every row the number of its class.
///   - weights: `[classes]`. The sum is divided by the number of rows, not by that of the weights.
/// - Returns: A scalar.
public func negativeLogLikelihood(
  _ scores: Tensor, _ labels: NDArray, weights: Tensor? = nil
) -> Tensor {
  let name = "negativeLogLikelihood"
  let picked = scores.atLabels(labels, name)
  guard let weights else { return -picked.mean() }
  if let poison = poisoned(picked, weights) { return poison }
  if weights.shape != [scores.shape[1]] {
    return fail(
      name, "expected a weight for each of \(scores.shape[1]) classes, got shape \(weights.shape)",
      [scores, weights])
  }
  return Tensor.inFloat32(picked, weights) { picked, weights, _ in
    -(picked * weights!.takeRows(labels)).mean()
  }
}

/// The mean over rows of how much the scores of the other classes come closer to the label's than `hinge`,
/// added up; nothing, and no gradient, where one comes exactly so close.
///
/// - Parameters:
///   - scores: `[rows, classes]`.
///   - labels: For every row the number of its class.
///   - hinge: The distance that is wanted.
/// - Returns: A scalar.
public func multiclassHinge(
  _ scores: Tensor, _ labels: NDArray, hinge: some TensorScalar = 1.0
) -> Tensor {
  let picked = scores.atLabels(labels, "multiclassHinge")
  if let poison = poisoned(picked) { return poison }
  let isLabel = scores.labelMask(labels)
  return Tensor.inFloat32(scores, picked) { scores, picked, _ in
    let margins = relu(scores - picked!.expandedDims(at: 1) + hinge._double)
    let others = `where`(isLabel, Tensor.zeros([], dtype: margins.dtype, constant: true), margins)
    return others.sum() / Double(scores.shape[0])
  }
}

/// The mean of `max(0, margin - y (x1 - x2))`: what `x1` lacks to be greater than `x2` by the margin where `y`
/// is 1, and smaller where it is -1. No gradient where it is exactly the margin.
///
/// - Parameters:
///   - first: The one tensor.
///   - second: The other, of the same shape.
///   - y: 1 or -1, for all or one for each row.
///   - margin: Not negative.
/// - Returns: A scalar.
public func marginRankingLoss(
  _ first: Tensor, _ second: Tensor, _ y: Tensor, margin: some TensorScalar
) -> Tensor {
  let name = "marginRankingLoss"
  if let poison = poisoned(first, second, y) { return poison }
  if first.shape != second.shape {
    return fail(
      name, "expected tensors of one shape, got \(first.shape) and \(second.shape)",
      [first, second])
  }
  if !(margin._double >= 0) {
    return fail(name, "expected a margin that is not negative, got \(margin)", [first])
  }
  let rows = first.shape.first ?? 1
  if !y.shape.isEmpty, y.shape != [rows], y.shape != first.shape {
    return fail(
      name, "expected a sign for all or for each of \(rows) rows, got shape \(y.shape)", [first, y])
  }
  var signs = y
  if y.rank == 1 {
    signs = y.reshaped([rows] + Array(repeating: 1, count: max(first.rank, 1) - 1))
  }
  return Tensor.inFloat32(first, second, signs) { first, second, signs in
    relu(margin._double - signs! * (first - second!)).mean()
  }
}

/// For every row `-alpha (1 - p)^gamma log(p)`, where `p` is the label's probability: the focal loss (Lin et
/// al., "Focal Loss for Dense Object Detection", 2017).
///
/// Where `p` is 1 the gradient is the limit: 0, and `-alpha` for a `gamma` of 0.
///
/// - Parameters:
///   - probabilities: `[rows, classes]`.
///   - labels: For every row the number of its class.
///   - alpha: A factor.
///   - gamma: Not negative; how much rows that are right already count less.
/// - Returns: `[rows]`.
public func focalLoss(
  _ probabilities: Tensor, _ labels: NDArray, alpha: some TensorScalar = 1.0,
  gamma: some TensorScalar = 0.0
) -> Tensor {
  let name = "focalLoss"
  let p = probabilities.atLabels(labels, name)
  if let wrong = refusedGamma(name, gamma._double) { return wrong }
  return Tensor.inFloat32(p) { p, _, _ in
    focal(log(p), missing: 1 - p, alpha._double, gamma._double)
  }
}

/// `focalLoss` of the softmax of scores, in terms of its logarithm, so that probabilities next to 0 and 1 lose
/// nothing.
public func softmaxFocalLoss(
  _ scores: Tensor, _ labels: NDArray, alpha: some TensorScalar = 1.0,
  gamma: some TensorScalar = 0.0
) -> Tensor {
  let name = "softmaxFocalLoss"
  if let wrong = refusedGamma(name, gamma._double) { return wrong }
  return Tensor.inFloat32(scores) { scores, _, _ in
    let logarithm = logSoftmax(scores).atLabels(labels, name)
    return focal(logarithm, missing: -expm1(logarithm), alpha._double, gamma._double)
  }
}

private func focal(
  _ logarithm: Tensor, missing: Tensor, _ alpha: Double, _ gamma: Double
) -> Tensor {
  if gamma == 0 { return logarithm * -alpha }
  // Powers of 0 would have infinite slopes where the logarithm is 0.
  let one = Tensor.full([], 1.0, dtype: missing.dtype, constant: true)
  let isSure = missing .== 0
  let share = `where`(
    isSure, Tensor.zeros([], dtype: missing.dtype, constant: true),
    `where`(isSure, one, missing) ** gamma)
  return share * logarithm * -alpha
}

private func refusedGamma(_ name: String, _ gamma: Double) -> Tensor? {
  gamma >= 0 ? nil : fail(name, "expected a gamma that is not negative, got \(gamma)")
}

extension Tensor {
  /// Of scores `[rows, classes]` that of the label in every row.
  fileprivate func atLabels(_ labels: NDArray, _ operation: String) -> Tensor {
    if rank == 2, labels.rank == 1,
      let picked = along(labels, axis: 1, isKept: false, in: 0..<shape[1])
    {
      return picked
    }
    if let poison = poisoned(self) { return poison }
    if let poison = labels.poison { return Tensor(poison: poison) }
    return refusedLabels(operation, self, labels)
      ?? takeAlong(labels.reshaped([labels.count, 1]), axis: 1).reshaped([labels.count])
  }

  /// Where the label's class is, for scores `[rows, classes]`.
  fileprivate func labelMask(_ labels: NDArray) -> Tensor {
    Tensor(labels.reshaped([labels.count, 1]), constant: true) .== Tensor.arange(shape[1])
  }
}
