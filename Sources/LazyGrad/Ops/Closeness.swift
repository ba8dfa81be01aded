// Comparing with a tolerance. Uses comparisons and logic.

internal import LazyGradJIT

extension Tensor {
  /// Where two tensors are equal within a tolerance: |x - y| <= absolute + relative |y|, as bools.
  ///
  /// NumPy's `isclose`, defaults included: infinities are close to themselves only, and not-a-number to
  /// nothing unless `equalNaN` is true. Integers and bools are compared as float64. The shapes broadcast;
  /// the tensors keep their gradients.
  ///
  /// - Complexity: records some nodes.
  public func isClose(
    to other: Tensor, relative: Double = 1e-5, absolute: Double = 1e-8, equalNaN: Bool = false
  ) -> Tensor {
    if let poison = poisoned(self, other) { return poison }
    if Layout.broadcast(shape, other.shape) == nil {
      return fail(
        "isClose", "expected shapes that broadcast together, got \(shape) and \(other.shape)",
        [self, other])
    }
    return Scope.untracked {
      let x = dtype.isFloating ? self : cast(to: .float64)
      let y = other.dtype.isFloating ? other : other.cast(to: .float64)
      let size = abs(y)
      let isNear = abs(x - y) .<= size * relative + absolute
      let isClose = logicalOr(logicalAnd(isNear, size .< Double.infinity), x .== y)
      return equalNaN ? logicalOr(isClose, logicalAnd(isNaN(x), isNaN(y))) : isClose
    }
  }

  /// Where the elements are close to a number.
  ///
  /// - Complexity: records some nodes.
  public func isClose(
    to number: some TensorScalar, relative: Double = 1e-5, absolute: Double = 1e-8,
    equalNaN: Bool = false
  ) -> Tensor {
    isClose(
      to: .full([], number, dtype: dtype.isFloating ? dtype : .float64, constant: true),
      relative: relative, absolute: absolute, equalNaN: equalNaN)
  }

  /// Whether all elements are close, as NumPy's `allclose`; those of an empty tensor are.
  ///
  /// - Complexity: forces evaluation.
  public func allClose(
    to other: Tensor, relative: Double = 1e-5, absolute: Double = 1e-8, equalNaN: Bool = false
  ) -> Bool {
    isClose(to: other, relative: relative, absolute: absolute, equalNaN: equalNaN).holdsEverywhere
  }

  /// Whether all elements are close to a number.
  ///
  /// - Complexity: forces evaluation.
  public func allClose(
    to number: some TensorScalar, relative: Double = 1e-5, absolute: Double = 1e-8,
    equalNaN: Bool = false
  ) -> Bool {
    isClose(to: number, relative: relative, absolute: absolute, equalNaN: equalNaN).holdsEverywhere
  }

  private var holdsEverywhere: Bool { logicalNot(self).sum().item(as: Int.self) == 0 }
}
