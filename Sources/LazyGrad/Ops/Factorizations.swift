// QR, eigenvalues of symmetric matrices and singular values. Values are recorded as routines of the engine,
// with all results of one in one value; derivatives are recorded tensor operations.

internal import LazyGradJIT

/// The factors of A = Q R over the last two axes: Q has orthonormal columns, R is an upper triangle.
///
/// - Parameter a: Matrices of `m` rows and `n` columns. Integers and bools are taken as float64.
/// - Returns: With the smaller `k` of `m` and `n`, Q of shape `[..., m, k]` and R of `[..., k, n]`, as
///   NumPy's `qr` in its reduced form, by Householder's reflections. The signs on the diagonal of R are
///   those of LAPACK. All of a matrix is not-a-number if an element of its first `k` columns is infinite or
///   not a number.
///
/// The gradient is that of Walter and Lehmann (Algorithmic Differentiation of Linear Algebra Functions,
/// 2010), which divides by the diagonal of R: infinite or not-a-number where the first `k` columns depend
/// on each other.
/// - Complexity: records one node, one for the derivative and two views, and a few more where there are
///   more columns than rows; 2 m n k multiplications.
public func qr(_ a: Tensor) -> (q: Tensor, r: Tensor) {
  let (m, n) = a.rank < 2 ? (0, 0) : (a.shape[a.rank - 2], a.shape[a.rank - 1])
  if m < n {
    // The columns that are left are combinations of those of Q.
    a.use()
    let (q, r) = qr(a[.ellipsis, 0..<m])
    return (q, concatenate([r, matmul(q.matrixTransposed, a[.ellipsis, m...])], axis: -1))
  }
  var parts = Parts(batch: [], shapes: [])
  let both = withMatrices("qr", a) { a in
    parts = Parts(batch: Array(a.shape.dropLast(2)), shapes: [[m, n], [n, n]])
    let parts = parts
    return derived([a]) { x in
      routine(.qr, x[0], shape: [parts.count])
    } gradient: { g, _, result in
      let (q, r) = (parts.of(result, 0), parts.of(result, 1))
      let (toQ, toR) = (parts.of(g, 0), Triangle.above(n, parts.of(g, 1), withDiagonal: true))
      let product =
        matmul(r, toR.matrixTransposed) - matmul(toQ.matrixTransposed, q)
      // The lower triangle, and its mirror image above the diagonal.
      let lower = Triangle.below(n, product)
      let mirrored =
        Triangle.below(n, product, withDiagonal: true) + lower.matrixTransposed
      let sum = toQ + matmul(q, mirrored)
      return [triangularSolve(r, sum.matrixTransposed, upper: true).matrixTransposed]
    }
  }
  if poisoned(both) != nil { return (both, both) }
  return (parts.of(both, 0), parts.of(both, 1))
}

/// The eigenvalues of symmetric matrices in rising order, and eigenvectors of unit length.
///
/// - Parameter a: Matrices over the last two axes, of which the lower triangle is read, as in NumPy.
///   Integers and bools are taken as float64.
/// - Returns: The values, of shape `[..., n]`, and in the columns of `[..., n, n]` the vectors. The largest
///   component of each, the first of these, is positive, so that results don't depend on the machine; in
///   NumPy signs are left open. All of a matrix is not-a-number if an element of it is infinite or not a
///   number.
///
/// The gradient is symmetric, as that of `cholesky` (Giles, Collected Matrix Derivative Results for Forward
/// and Reverse Mode Algorithmic Differentiation, 2008). Vectors of equal eigenvalues have no derivative:
/// what one would gain from another of the same eigenvalue counts as 0, which is right for whatever does
/// not depend on the choice of vectors to first order, such as sums of equal eigenvalues.
/// - Complexity: records one node, one for the derivative and two views; about 9 n³ multiplications.
public func eigh(_ a: Tensor) -> (values: Tensor, vectors: Tensor) {
  var parts = Parts(batch: [], shapes: [])
  let both = withMatrices("eigh", a, isSquare: true) { a in
    let n = a.shape[a.rank - 1]
    parts = Parts(batch: Array(a.shape.dropLast(2)), shapes: [[n], [n, n]])
    let parts = parts
    return derived([a]) { x in
      routine(.eigh, x[0], shape: [parts.count])
    } gradient: { g, _, result in
      let (values, vectors) = (parts.of(result, 0), parts.of(result, 1))
      let turned = vectors.matrixTransposed
      let mixed = invertedGaps(values) * matmul(turned, parts.of(g, 1))
      let inner = `where`(Triangle.diagonal(n), parts.of(g, 0).asRow, mixed)
      let whole = matmul(matmul(vectors, inner), turned)
      return [(whole + whole.matrixTransposed) * 0.5]
    }
  }
  if poisoned(both) != nil { return (both, both) }
  return (parts.of(both, 0), parts.of(both, 1))
}

/// The singular values of matrices over the last two axes in falling order, with orthonormal vectors:
/// A = U diag(s) Vᵀ.
///
/// - Parameter a: Matrices of `m` rows and `n` columns. Integers and bools are taken as float64.
/// - Returns: With the smaller `k` of `m` and `n`, U of shape `[..., m, k]`, s of `[..., k]` and Vᵀ of
///   `[..., k, n]`, as NumPy's `svd` without full matrices. The largest component of a column of U, the
///   first of these, is positive; in NumPy signs are left open. All of a matrix is not-a-number if an
///   element of it is infinite or not a number.
///
/// The gradient (Townsend, Differentiating the Singular Value Decomposition, 2016) divides by differences
/// of squared singular values, and by singular values where the matrix is not square. Vectors have no
/// derivative where these are 0: such terms count as 0, as with `eigh`.
/// - Complexity: records one node, one for the derivative and three views; about 20 m n k multiplications,
///   by QR and rotations of pairs of rows, which are slower than other methods for large matrices, and
///   more accurate.
public func svd(_ a: Tensor) -> (u: Tensor, s: Tensor, vt: Tensor) {
  var parts = Parts(batch: [], shapes: [])
  let all = withMatrices("svd", a) { a in
    let (m, n) = (a.shape[a.rank - 2], a.shape[a.rank - 1])
    let k = min(m, n)
    parts = Parts(batch: Array(a.shape.dropLast(2)), shapes: [[m, k], [k], [k, n]])
    let parts = parts
    return derived([a]) { x in
      routine(.svd, x[0], shape: [parts.count])
    } gradient: { g, _, result in
      let (u, s, vt) = (parts.of(result, 0), parts.of(result, 1), parts.of(result, 2))
      let (toU, toS, toV) = (parts.of(g, 0), parts.of(g, 1), parts.of(g, 2))
      let inU = matmul(u.matrixTransposed, toU)
      let inV = matmul(vt, toV.matrixTransposed)
      let gaps = invertedGaps(square(s))
      let mixed =
        gaps * (inU - inU.matrixTransposed) * s.asRow
        + s.asColumn * (gaps * (inV - inV.matrixTransposed))
      var sum = matmul(
        matmul(u, `where`(Triangle.diagonal(k), toS.asRow, mixed)), vt)
      if m > k { sum = sum + matmul((toU - matmul(u, inU)) * inverted(s).asRow, vt) }
      if n > k {
        sum = sum + matmul(u * inverted(s).asRow, toV - matmul(inV.matrixTransposed, vt))
      }
      return [sum]
    }
  }
  if poisoned(all) != nil { return (all, all, all) }
  return (parts.of(all, 0), parts.of(all, 1), parts.of(all, 2))
}

// MARK: - Parts

/// How the results of a routine lie in one value: the first of all matrices, then the second of all.
private struct Parts {
  let batch: [Int]
  /// The shapes of one matrix's results.
  let shapes: [[Int]]

  private func size(_ k: Int) -> Int { (batch + shapes[k]).reduce(1, *) }

  /// Elements in all.
  var count: Int { shapes.indices.reduce(0) { $0 + size($1) } }

  /// One of the results.
  func of(_ whole: Tensor, _ k: Int) -> Tensor {
    whole.part(batch + shapes[k], at: (0..<k).reduce(0) { $0 + size($1) })
  }
}

/// One over the difference of every value, along columns, and every other, along rows; 0 where they are
/// equal.
private func invertedGaps(_ values: Tensor) -> Tensor { inverted(values.asRow - values.asColumn) }

/// One over every element; 0 where that is 0.
private func inverted(_ x: Tensor) -> Tensor {
  let zero = Triangle.zero(x)
  let isZero = x .== 0.0
  return `where`(isZero, zero, reciprocal(`where`(isZero, zero + 1.0, x)))
}

extension Tensor {
  /// Vectors as matrices of one row.
  fileprivate var asRow: Tensor { expandedDims(at: -2) }
  /// Vectors as matrices of one column.
  fileprivate var asColumn: Tensor { expandedDims(at: -1) }
}
