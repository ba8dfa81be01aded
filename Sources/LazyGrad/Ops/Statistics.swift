// Variances, deviations and norms: composites of reductions.

internal import LazyGradJIT

extension Tensor {
  /// The variance: the mean of the squared distances from the mean, with `ddof` taken off the
  /// number of elements that it is divided by. Where nothing is left of that number the result is
  /// infinite or not a number, as division by 0 is.
  public func `var`(axis: Int? = nil, ddof: Int = 0, keepDims: Bool = false) -> Tensor {
    along(axis, "var") { axes in
      compose { $0.variance($0.floating($0.x), axes, ddof: ddof, keepDims: keepDims) }
    }
  }
  /// The variance over several axes.
  public func `var`(axes: [Int], ddof: Int = 0, keepDims: Bool = false) -> Tensor {
    along(axes, "var") { axes in
      compose { $0.variance($0.floating($0.x), axes, ddof: ddof, keepDims: keepDims) }
    }
  }

  /// The standard deviation, the square root of `var(axis:ddof:keepDims:)`. The gradient where it is 0
  /// is 0.
  public func std(axis: Int? = nil, ddof: Int = 0, keepDims: Bool = false) -> Tensor {
    along(axis, "std") { deviation($0, ddof, keepDims) }
  }
  /// The standard deviation over several axes.
  public func std(axes: [Int], ddof: Int = 0, keepDims: Bool = false) -> Tensor {
    along(axes, "std") { deviation($0, ddof, keepDims) }
  }

  private func deviation(_ axes: AxisSet, _ ddof: Int, _ keepDims: Bool) -> Tensor {
    compose { r in
      let variance = r.variance(r.floating(r.x), axes, ddof: ddof, keepDims: keepDims)
      return r.awayFromZero(variance, at: 0) { r(.sqrt, $0) }
    }
  }
}

extension Tensor {
  /// The norm of the elements as a vector, along an axis or of all: `(sum |x|^ord)^(1/ord)`.
  ///
  /// An `ord` of 2 is the length, and of a matrix the Frobenius norm; of infinity the greatest magnitude, of
  /// minus infinity the least, of 0 the number of elements that are not 0, which has no gradient. Elements
  /// that are 0, and the vector of zeros, have the gradient 0, or without `nanToNum` not-a-number where the
  /// order gives them none. Integers and bools give float64.
  public func norm(
    ord: Double = 2, axis: Int? = nil, keepDims: Bool = false, nanToNum: Bool = true
  ) -> Tensor {
    along(axis, "norm") { norm(ord, $0, keepDims, nanToNum) }
  }
  /// The norm of the elements along several axes as one vector: of two axes the Frobenius norm of matrices.
  public func norm(
    ord: Double = 2, axes: [Int], keepDims: Bool = false, nanToNum: Bool = true
  ) -> Tensor {
    along(axes, "norm") { norm(ord, $0, keepDims, nanToNum) }
  }

  private func norm(
    _ ord: Double, _ axes: AxisSet, _ keepDims: Bool, _ nanToNum: Bool
  ) -> Tensor {
    if ord.isNaN { return fail("norm", "expected an order, got nan", [self]) }
    if ord.isInfinite, hasNothing(along: axes) {
      return fail("norm", "there is no extreme of zero elements, got shape \(shape)", [self])
    }
    return compose { r in
      let x = r.floating(r.x)
      func total(_ values: UInt32, _ opcode: Opcode = .sum) -> UInt32 {
        r.reduce(opcode, values, over: axes, keepDims: keepDims)
      }
      func bent(_ x: UInt32, at zero: Double, _ function: (UInt32) -> UInt32) -> UInt32 {
        nanToNum ? r.awayFromZero(x, at: zero, function) : function(x)
      }
      switch ord {
      case .infinity: return total(r(.abs, x), .max)
      case -.infinity: return total(r(.abs, x), .min)
      case 0:
        let isThere = r(.notEqual, x, r.number(0, like: x))
        return total(r.untracked.cast(isThere, to: r.type(x)))
      case 1: return total(r(.abs, x))
      case 2: return bent(total(r(.square, x)), at: 0) { r(.sqrt, $0) }
      default:
        let zeroPower = ord < 0 ? Double.infinity : 0
        let powers = bent(r(.abs, x), at: zeroPower) {
          r(.pow, $0, r.number(ord, like: x))
        }
        // With a negative order a sum of 0 is one of infinite elements.
        return bent(total(powers), at: ord < 0 ? .infinity : 0) {
          r(.pow, $0, r.number(1 / ord, like: x))
        }
      }
    }
  }
}

extension Recorder {
  /// A function that has a value at 0 but an infinite slope: there the gradient is 0, to any order.
  fileprivate func awayFromZero(
    _ x: UInt32, at zero: Double, _ function: (UInt32) -> UInt32
  ) -> UInt32 {
    let isZero = self(.equal, x, number(0, like: x))
    return select(isZero, number(zero, like: x), function(select(isZero, number(1, like: x), x)))
  }

  /// Two passes: distances from the mean first, so that nothing large cancels.
  @inline(__always)
  fileprivate func variance(_ x: UInt32, _ axes: AxisSet, ddof: Int, keepDims: Bool) -> UInt32 {
    let n = Double(count(of: x, over: axes))
    let mean = self(.div, reduce(.sum, x, over: axes), number(n, like: x))
    let squares = self(.square, self(.sub, x, mean))
    let sum = reduce(.sum, squares, over: axes, keepDims: keepDims)
    return self(.div, sum, number(Swift.max(n - Double(ddof), 0), like: x))
  }
}
