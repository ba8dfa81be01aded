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
public func cholesky(_ a: Tensor) -> Tensor { routine(.cholesky, a, isSquare: true) }

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
  var options = MatrixCall.Options()
  if upper { options.insert(.upper) }
  if transposed { options.insert(.transposed) }
  if unitDiagonal { options.insert(.unitDiagonal) }
  return solution(.triangularSolve, a, b, options)
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
///   column. Where a gradient may be asked for, one more node keeps the factors of `a`, as much memory as `a`,
///   and derivatives of any order take n² multiplications for every column.
public func solve(_ a: Tensor, _ b: Tensor) -> Tensor { solution(.solve, a, b) }

/// The solution of a system of which the factors are known, or of the transposed system.
///
/// - Parameters:
///   - a: Square matrices; what the gradient is one of.
///   - b: Right sides, with the same axes before the last two, and of the same floating type.
///   - factors: What the routine of that name gives for `a`.
func solve(_ a: Tensor, _ b: Tensor, factors: Tensor, transposed: Bool) -> Tensor {
  let attribute = MatrixCall.attribute(.solve, transposed ? .transposed : MatrixCall.Options())
  let known = Tensor.quick(a, b, factors) {
    Tape.matrix(a.slot, b.slot, factors.slot, attribute: attribute, mode: $0)
  }
  return known ?? recordRoutine(attribute, a, b, factors)
}

/// The inverse of square matrices over the last two axes; not-a-number as a whole where a pivot is 0. The
/// gradient is -A⁻ᵀ g A⁻ᵀ.
///
/// `solve` is more accurate, and cheaper, where the inverse is only multiplied with.
/// - Complexity: records one node, and one for the derivative; n³ multiplications.
public func inverse(_ a: Tensor) -> Tensor { routine(.inverse, a, isSquare: true) }

// MARK: - Determinants

/// The determinant of square matrices over the last two axes: of shape `a.shape` without these.
///
/// The gradient is the determinant times A⁻ᵀ: not-a-number where the matrix is singular. For large
/// matrices use `logDeterminant`, which does not overflow.
/// - Complexity: records one node, and one for the derivative; n³ / 3 multiplications.
public func determinant(_ a: Tensor) -> Tensor { routine(.determinant, a, isSquare: true) }

/// The sign of the determinant and the logarithm of its absolute value, of square matrices over the last two
/// axes: NumPy's `slogdet`.
///
/// - Returns: Two tensors of shape `a.shape` without the last two axes. The sign is -1, 0 or 1; where it
///   is 0 the logarithm is minus infinity, and the gradient not-a-number. Otherwise the gradient of the
///   logarithm is A⁻ᵀ, and that of the sign 0.
/// - Complexity: records one node, one for the derivative and two views; n³ / 3 multiplications.
public func logDeterminant(_ a: Tensor) -> (sign: Tensor, logarithm: Tensor) {
  let both = routine(.logDeterminant, a, isSquare: true)
  return (both.part(0, of: .logDeterminant, a), both.part(1, of: .logDeterminant, a))
}

// MARK: - Recording

/// Records a routine on matrices as floats, if they are such. Several results lie in one value, without the
/// axes of the operand: `part` takes them out.
func routine(_ routine: MatrixRoutine, _ a: Tensor, isSquare: Bool = false) -> Tensor {
  let attribute = MatrixCall.attribute(routine)
  return Tensor.quick(a) { Tape.matrix(a.slot, attribute: attribute, mode: $0) }
    ?? withMatrices("\(routine)", a, isSquare: isSquare) { recordRoutine(attribute, $0) }
}

/// Records a routine on matrices of one floating type and, where there are two, with the same axes before
/// the last two; from then on the tape knows its shapes.
private func recordRoutine(
  _ attribute: UInt32, _ a: Tensor, _ b: Tensor? = nil, _ factors: Tensor? = nil
) -> Tensor {
  let call = MatrixCall(attribute: attribute, a.shape, b?.shape)
  let shape = LayoutTable.shared.intern(dims: call.resultShape)
  return Tensor.record(a, b, factors) {
    let result = Tensor(
      Tape.general(
        .matrix, a.slot, b?.slot, factors?.slot, type: a.slot.pointee.type, shape: shape,
        attribute: attribute, inherited: MatrixCall.inherited(attribute), mode: $0))
    Tape.rememberMatrix(a.slot, b?.slot, attribute: attribute, result: shape)
    return result
  }
}

/// Runs `body` on matrices as floats, if they are such.
private func withMatrices(
  _ operation: String, _ a: Tensor, isSquare: Bool, _ body: (Tensor) -> Tensor
) -> Tensor {
  if let poison = poisoned(a) { return poison }
  let shape = a.shape
  if shape.count < 2 || (isSquare && shape[shape.count - 1] != shape[shape.count - 2]) {
    let wanted = isSquare ? "square matrices" : "matrices"
    return fail(operation, "expected \(wanted) over the last two axes, got shape \(shape)", [a])
  }
  return Tensor.inFloat32(a) { a, _, _ in body(a.dtype.isFloating ? a : a.cast(to: .float64)) }
}

/// Records a routine on the matrices of systems of equations and their right sides, both as matrices of one
/// floating type with the same axes before the last two.
private func solution(
  _ routine: MatrixRoutine, _ a: Tensor, _ b: Tensor, _ options: MatrixCall.Options = .init()
) -> Tensor {
  let attribute = MatrixCall.attribute(routine, options)
  // Factors are kept for derivatives only.
  let keepsFactors = routine == .solve && Scope.isTracking && !(a.isConstant && b.isConstant)
  let quick: Tensor?
  if keepsFactors {
    quick = Tensor.quick(a, b, mode: .plain) {
      Tape.matrix(a.slot, attribute: MatrixCall.attribute(.factors), mode: $0)
    }.flatMap { factors in
      Tensor.quick(a, b) {
        Tape.matrix(a.slot, b.slot, factors.slot, attribute: attribute, mode: $0)
      }
    }
  } else {
    quick = Tensor.quick(a, b) { Tape.matrix(a.slot, b.slot, attribute: attribute, mode: $0) }
  }
  if let quick { return quick }
  if let poison = poisoned(a, b) { return poison }
  if a.isHalf || b.isHalf {
    return Tensor.inFloat32(a, b) { a, b, _ in solution(routine, a, b!, options) }
  }
  let operation = "\(routine)"
  return withMatrices(operation, a, isSquare: true) { x in
    let n = x.shape[x.rank - 1]
    if b.rank == 0 || b.shape[max(b.rank - 2, 0)] != n {
      return fail(
        operation, "expected a right side with \(n) rows, got shapes \(a.shape) and \(b.shape)",
        [a, b])
    }
    let type = DType.promoted(x.dtype, b.dtype)
    let common = type.isFloating ? type : .float64
    func solved(_ x: Tensor, _ y: Tensor) -> Tensor {
      if !keepsFactors { return recordRoutine(attribute, x, y) }
      let factors = noAutodiff { LazyGrad.routine(.factors, x) }
      return solve(x, y, factors: factors, transposed: false)
    }
    if b.rank == 1, x.rank == 2 { return solved(x.typed(common), b.typed(common)) }
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
    let result = solved(
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

  /// One of the results of a routine, which lie one behind the other, as a tensor of its own.
  ///
  /// - Parameter a: The routine's operand, or one of its shape.
  func part(_ k: Int, of routine: MatrixRoutine, _ a: Tensor) -> Tensor {
    let attribute = MatrixCall.attribute(routine)
    let known = Tensor.quick(self) {
      Tape.matrixResult(slot, k, of: attribute, shape: a.shapeID, mode: $0)
    }
    if let known { return known }
    if poisoned(self) != nil { return self }
    let call = MatrixCall(attribute: attribute, a.shape, nil)
    let offset = call.resultCounts[..<k].reduce(0) { $0 + $1 * call.batch }
    let layout = LayoutTable.shared.intern(dims: call.resultShapes[k])
    Tape.rememberMatrixResult(slot, k, of: attribute, shape: a.shapeID, layout, offset)
    return Tensor(recordView(layout, offset))
  }

  fileprivate func typed(_ dtype: DType) -> Tensor { self.dtype == dtype ? self : cast(to: dtype) }

  fileprivate func broadcastMatrices(to batch: [Int]) -> Tensor {
    let whole = batch + shape.suffix(2)
    return whole == shape ? self : broadcast(to: whole)
  }
}
