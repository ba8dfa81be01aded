// Comparing with a tolerance. Uses comparisons and logic.

internal import LazyGradJIT

extension Tensor {
  /// Where the elements are equal to those of a tensor or an array, or to a number, within a tolerance:
  /// |x - y| <= absolute + relative |y|, as bools.
  ///
  /// NumPy's `isclose`, defaults included: infinities are close to themselves only, and not-a-number to
  /// nothing unless `equalNaN` is true. Integers and bools are compared as float64. The shapes broadcast;
  /// the tensors keep their gradients.
  ///
  /// - Complexity: records some nodes.
  public func isClose(
    to other: some TensorOperand, relative: Double = 1e-5, absolute: Double = 1e-8,
    equalNaN: Bool = false
  ) -> Tensor {
    let other = other._form._tensor(beside: self)
    if let poison = poisoned(self, other) { return poison }
    if Layout.broadcast(shape, other.shape) == nil {
      return fail(
        "isClose", "expected shapes that broadcast together, got \(shape) and \(other.shape)",
        [self, other])
    }
    return Scope.untracked {
      let x = dtype.isFloating ? widened() : cast(to: .float64)
      let y = other.dtype.isFloating ? other.widened() : other.cast(to: .float64)
      let size = abs(y)
      let isNear = (abs(x - y) .<= size * relative + absolute) .& (size .< Double.infinity)
      let isClose = isNear .| (x .== y)
      return equalNaN ? isClose .| (isNaN(x) .& isNaN(y)) : isClose
    }
  }

  /// Whether all elements are close, as `isClose` says it; those of an empty tensor are. NumPy's
  /// `allclose`.
  ///
  /// - Complexity: forces evaluation.
  public func allClose(
    to other: some TensorOperand, relative: Double = 1e-5, absolute: Double = 1e-8,
    equalNaN: Bool = false
  ) -> Bool {
    isClose(to: other, relative: relative, absolute: absolute, equalNaN: equalNaN)
      .all().item(as: Bool.self)
  }
}
