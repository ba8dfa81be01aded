// Systems of linear equations, inverses and determinants. Values are recorded as routines of the engine;
// derivatives are recorded tensor operations, so there are those of any order.

internal import LazyGradJIT

// MARK: - Systems of equations

/// Cholesky's factor of symmetric positive definite matrices: the lower triangle L of A = L Lᵀ.
///
/// - Parameter a: Matrices over the last two axes, of which the lower triangle is read, as in NumPy.
///   Integers and bools are taken as float64.
/// - Returns: The factors, in the shape of `a`. One of a matrix that is not positive definite is
///   not-a-number as a whole; others of the batch are not affected.
///
/// The gradient is symmetric: that with respect to the mean of the two triangles, which is what a matrix
/// that is kept symmetric needs (Murray, Differentiation of the Cholesky Decomposition, 2016).
/// - Complexity: records one node, and one for the derivative; n³ / 6 multiplications.
public func cholesky(_ a: Tensor) -> Tensor {
  withMatrices("cholesky", a, isSquare: true) { a in
    derived([a]) { x in
      routine(.cholesky, x[0], shape: x[0].shape)
    } gradient: { g, _, l in
      let product = matmul(l.matrixTransposed, g)
      let n = l.shape[l.rank - 1]
      let halved = `where`(
        Triangle.diagonal(n), product * 0.5, Triangle.below(n, product))
      let half = triangularSolve(l, halved, transposed: true)
      let whole = triangularSolve(l, half.matrixTransposed, transposed: true)
      return [(whole + whole.matrixTransposed) * 0.5]
    }
  }
}

/// The solution X of A X = B, where A is a triangle.
///
/// - Parameters:
///   - a: Triangles over the last two axes; what lies in the other half is not read, and has gradient 0.
///   - b: A vector, or matrices over the last two axes. The axes before them broadcast with those of `a`.
///   - upper: Whether the upper half of `a` is meant.
///   - transposed: Whether the equation is that of the transposed triangle.
///   - unitDiagonal: Whether the diagonal counts as ones, and is not read.
/// - Returns: The solutions, in the shape of `b` with the axes before broadcast. A zero on the diagonal
///   divides, which gives infinities and not-a-number.
///
/// - Complexity: records one node, and two for the derivative; n² / 2 multiplications for every column.
public func triangularSolve(
  _ a: Tensor, _ b: Tensor, upper: Bool = false, transposed: Bool = false,
  unitDiagonal: Bool = false
) -> Tensor {
  var options: MatrixCall.Options = []
  if upper { options.insert(.upper) }
  if transposed { options.insert(.transposed) }
  if unitDiagonal { options.insert(.unitDiagonal) }
  return solution("triangularSolve", a, b) { a, b in
    derived([a, b]) { x in
      routine(.triangularSolve, x[0], x[1], options: options, shape: x[1].shape)
    } gradient: { g, inputs, x in
      let toB = triangularSolve(
        inputs[0], g, upper: upper, transposed: !transposed, unitDiagonal: unitDiagonal)
      let product =
        transposed
        ? matmul(x, toB.matrixTransposed) : matmul(toB, x.matrixTransposed)
      let n = x.shape[x.rank - 2]
      let half =
        upper
        ? Triangle.above(n, product, withDiagonal: !unitDiagonal)
        : Triangle.below(n, product, withDiagonal: !unitDiagonal)
      return [-half, toB]
    }
  }
}

/// The solution X of A X = B, by elimination with partial pivoting.
///
/// - Parameters:
///   - a: Square matrices over the last two axes.
///   - b: A vector, or matrices over the last two axes. The axes before them broadcast with those of `a`.
/// - Returns: The solutions, in the shape of `b` with the axes before broadcast. Of a matrix with a pivot
///   of 0 they are not-a-number as a whole, where NumPy raises an exception: whether a matrix is singular
///   is not known before values are asked for. Others of the batch are not affected.
///
/// The gradients are those of B, A⁻ᵀ g, and of A, minus that times Xᵀ (Giles, Collected Matrix Derivative
/// Results for Forward and Reverse Mode Algorithmic Differentiation, 2008).
/// - Complexity: records one node, and two for the derivative; n³ / 3 multiplications and n² for every
///   column.
public func solve(_ a: Tensor, _ b: Tensor) -> Tensor {
  solution("solve", a, b) { a, b in
    derived([a, b]) { x in
      routine(.solve, x[0], x[1], shape: x[1].shape)
    } gradient: { g, inputs, x in
      let toB = solve(inputs[0].matrixTransposed, g)
      return [-matmul(toB, x.matrixTransposed), toB]
    }
  }
}

/// The inverse of square matrices over the last two axes; not-a-number as a whole where a pivot is 0. The
/// gradient is -A⁻ᵀ g A⁻ᵀ.
///
/// `solve` is more accurate, and cheaper, where the inverse is only multiplied with.
/// - Complexity: records one node, and one for the derivative; n³ multiplications.
public func inverse(_ a: Tensor) -> Tensor {
  withMatrices("inverse", a, isSquare: true) { a in
    derived([a]) { x in
      routine(.inverse, x[0], shape: x[0].shape)
    } gradient: { g, _, result in
      let turned = result.matrixTransposed
      return [-matmul(matmul(turned, g), turned)]
    }
  }
}

// MARK: - Determinants

/// The determinant of square matrices over the last two axes: of shape `a.shape` without these.
///
/// The gradient is the determinant times A⁻ᵀ: not-a-number where the matrix is singular. For large
/// matrices use `logDeterminant`, which does not overflow.
/// - Complexity: records one node, and one for the derivative; n³ / 3 multiplications.
public func determinant(_ a: Tensor) -> Tensor {
  withMatrices("determinant", a, isSquare: true) { a in
    derived([a]) { x in
      routine(.determinant, x[0], shape: Array(x[0].shape.dropLast(2)))
    } gradient: { g, inputs, result in
      [(g * result).asScalars * inverse(inputs[0]).matrixTransposed]
    }
  }
}

/// The sign of the determinant and the logarithm of its absolute value, of square matrices over the last two
/// axes: NumPy's `slogdet`.
///
/// - Returns: Two tensors of shape `a.shape` without the last two axes. The sign is -1, 0 or 1; where it
///   is 0 the logarithm is minus infinity, and the gradient not-a-number. Otherwise the gradient of the
///   logarithm is A⁻ᵀ, and that of the sign 0.
/// - Complexity: records one node, one for the derivative and two views; n³ / 3 multiplications.
public func logDeterminant(_ a: Tensor) -> (sign: Tensor, logarithm: Tensor) {
  var shape: [Int] = []
  let both = withMatrices("logDeterminant", a, isSquare: true) { a in
    shape = Array(a.shape.dropLast(2))
    let batch = shape
    let count = batch.reduce(1, *)
    return derived([a]) { x in
      routine(.logDeterminant, x[0], shape: [2 * count])
    } gradient: { g, inputs, _ in
      [g.part(batch, at: count).asScalars * inverse(inputs[0]).matrixTransposed]
    }
  }
  if poisoned(both) != nil { return (both, both) }
  return (both.part(shape, at: 0), both.part(shape, at: both.count / 2))
}

// MARK: - Recording

/// Records a routine of matrices of one floating type and, where there are two, with the same axes before
/// the last two.
func routine(
  _ routine: MatrixRoutine, _ a: Tensor, _ b: Tensor? = nil, options: MatrixCall.Options = [],
  shape: [Int]
) -> Tensor {
  Tensor.record(a, b) {
    Tensor(
      Tape.general(
        .matrix, a.slot, b?.slot, type: a.slot.pointee.type,
        shape: LayoutTable.shared.intern(dims: shape),
        attribute: MatrixCall.attribute(routine, options), mode: $0))
  }
}

/// A value with a derivative rule in tensor operations, which constants do without.
func derived(
  _ inputs: [Tensor], _ value: ([Tensor]) -> Tensor,
  gradient: @escaping (_ gradient: Tensor, _ inputs: [Tensor], _ result: Tensor) -> [Tensor?]
) -> Tensor {
  inputs.allSatisfy(\.isConstant)
    ? value(inputs) : Tensor.composite(inputs: inputs, forward: value, gradient: gradient)
}

/// Runs `body` on matrices as floats, if they are such.
func withMatrices(
  _ operation: String, _ a: Tensor, isSquare: Bool = false, _ body: (Tensor) -> Tensor
) -> Tensor {
  if let poison = poisoned(a) { return poison }
  let shape = a.shape
  if shape.count < 2 || (isSquare && shape[shape.count - 1] != shape[shape.count - 2]) {
    let wanted = isSquare ? "square matrices" : "matrices"
    return fail(operation, "expected \(wanted) over the last two axes, got shape \(shape)", [a])
  }
  return body(a.dtype.isFloating ? a : a.cast(to: .float64))
}

/// Runs `body` on the matrices of systems of equations and their right sides, both as matrices of one
/// floating type with the same axes before the last two.
private func solution(
  _ operation: String, _ a: Tensor, _ b: Tensor, _ body: (Tensor, Tensor) -> Tensor
) -> Tensor {
  if let poison = poisoned(b) { return poison }
  return withMatrices(operation, a, isSquare: true) { x in
    let n = x.shape[x.rank - 1]
    if b.rank == 0 || b.shape[max(b.rank - 2, 0)] != n {
      return fail(
        operation, "expected a right side with \(n) rows, got shapes \(a.shape) and \(b.shape)",
        [a, b])
    }
    var y = b
    if b.rank == 1 {
      b.use()
      y = b.reshaped([n, 1])
    }
    let left = Array(x.shape.dropLast(2))
    let right = Array(y.shape.dropLast(2))
    guard let batch = Layout.broadcast(left, right),
      fitsMemory(batch + [n, max(n, y.shape[y.rank - 1])])
    else {
      return fail(
        operation,
        "the axes before the last two don't broadcast: \(a.shape) and \(b.shape)", [a, b])
    }
    let type = DType.promoted(x.dtype, y.dtype)
    let common = type.isFloating ? type : .float64
    let result = body(
      x.typed(common).broadcastMatrices(to: batch), y.typed(common).broadcastMatrices(to: batch))
    return b.rank == 1 ? result.turned(into: Array(result.shape.dropLast())) : result
  }
}

extension Tensor {
  /// The last two axes in each other's place.
  var matrixTransposed: Tensor {
    var axes = Array(0..<rank)
    axes.swapAt(rank - 1, rank - 2)
    return transposed(axes)
  }

  /// Numbers in the shape of matrices of one element.
  fileprivate var asScalars: Tensor { reshaped(shape + [1, 1]) }

  /// A part of a value in which results lie one behind the other, as a tensor of its own.
  func part(_ shape: [Int], at offset: Int) -> Tensor {
    Tensor(recordView(LayoutTable.shared.intern(dims: shape), offset))
  }

  fileprivate func typed(_ dtype: DType) -> Tensor { self.dtype == dtype ? self : cast(to: dtype) }

  fileprivate func broadcastMatrices(to batch: [Int]) -> Tensor {
    let whole = batch + shape.suffix(2)
    return whole == shape ? self : broadcast(to: whole)
  }
}

/// Triangles of matrices, by the positions of elements.
enum Triangle {
  private static func compared(_ n: Int, _ test: (Tensor, Tensor) -> Tensor) -> Tensor {
    let positions = Tensor(Tape.iota(shape: LayoutTable.shared.intern(dims: [n])))
    return test(positions.reshaped([n, 1]), positions)
  }

  /// Where the diagonal is.
  static func diagonal(_ n: Int) -> Tensor { compared(n) { $0 .== $1 } }

  /// A matrix with zeros above the diagonal, and on it where that does not belong to it.
  static func below(_ n: Int, _ x: Tensor, withDiagonal: Bool = false) -> Tensor {
    `where`(compared(n) { withDiagonal ? $0 .>= $1 : $0 .> $1 }, x, zero(x))
  }

  /// A matrix with zeros below the diagonal, and on it where that does not belong to it.
  static func above(_ n: Int, _ x: Tensor, withDiagonal: Bool = false) -> Tensor {
    `where`(compared(n) { withDiagonal ? $0 .<= $1 : $0 .< $1 }, x, zero(x))
  }

  static func zero(_ x: Tensor) -> Tensor { Tensor.zeros([], dtype: x.dtype, constant: true) }
}
