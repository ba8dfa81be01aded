// QR, eigenvalues of symmetric matrices and singular values. Values are recorded as routines of the engine,
// with all results of one in one value; their derivatives are in MatrixRules.

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
  let both = routine(.qr, a)
  return (both.part(0, of: .qr, a), both.part(1, of: .qr, a))
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
  let both = routine(.eigh, a, isSquare: true)
  return (both.part(0, of: .eigh, a), both.part(1, of: .eigh, a))
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
  let all = routine(.svd, a)
  return (all.part(0, of: .svd, a), all.part(1, of: .svd, a), all.part(2, of: .svd, a))
}
