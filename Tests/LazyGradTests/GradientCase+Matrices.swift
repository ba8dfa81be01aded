// Routines on matrices, as cases of what is differentiated.

import LazyGrad
import LazyGradJIT

extension GradientCase {
  private static let both: ClosedRange<Double> = -1.5...1.5

  private static func turned(_ x: Tensor) -> Tensor {
    x.transposed(Array(0..<(x.rank - 2)) + [x.rank - 1, x.rank - 2])
  }

  /// Symmetric, with eigenvalues of at least 2.
  private static func definite(_ x: Tensor) -> Tensor {
    matmul(x, turned(x)) + Tensor(NDArray.eye(x.shape[x.rank - 1]), constant: true) * 2.0
  }

  /// Far from singular.
  private static func regular(_ x: Tensor) -> Tensor {
    x * 0.3 + Tensor(NDArray.eye(x.shape[x.rank - 1]), constant: true) * 2.0
  }

  /// With different eigenvalues and singular values.
  private static func spread(_ x: Tensor) -> Tensor {
    let (m, n) = (x.shape[x.rank - 2], x.shape[x.rank - 1])
    let diagonal = Tensor.zeros([m, n], dtype: .float64, constant: true)
    for i in 0..<Swift.min(m, n) { diagonal[i, i] = Tensor(Double(3 * i + 2), constant: true) }
    return x * 0.3 + diagonal
  }

  static let matrices: [GradientCase] = [
    .init(.matrix, "cholesky", [[3, 3]], in: both) { cholesky(definite($0[0])) },
    .init(.matrix, "cholesky, batch", [[2, 2, 2]], in: both) { cholesky(definite($0[0])) },
    .init(.matrix, "triangularSolve", [[3, 3], [3, 2]], in: both) {
      triangularSolve(regular($0[0]), $0[1])
    },
    .init(.matrix, "triangularSolve, upper, vector", [[3, 3], [3]], in: both) {
      triangularSolve(regular($0[0]), $0[1], upper: true)
    },
    .init(.matrix, "triangularSolve, transposed, broadcast", [[3, 3], [2, 3, 2]], in: both) {
      triangularSolve(regular($0[0]), $0[1], transposed: true)
    },
    .init(.matrix, "triangularSolve, unit diagonal", [[2, 3, 3], [3, 1]], in: both) {
      triangularSolve(regular($0[0]), $0[1], upper: true, transposed: true, unitDiagonal: true)
    },
    .init(.matrix, "solve", [[3, 3], [3, 2]], in: both) { solve(regular($0[0]), $0[1]) },
    .init(.matrix, "solve, vector", [[3, 3], [3]], in: both) { solve(regular($0[0]), $0[1]) },
    .init(.matrix, "solve, broadcast", [[2, 1, 2, 2], [3, 2, 2]], in: both) {
      solve(regular($0[0]), $0[1])
    },
    .init(.matrix, "inverse", [[3, 3]], in: both) { inverse(regular($0[0])) },
    .init(.matrix, "determinant", [[3, 3]], in: both) { determinant(regular($0[0])) },
    .init(.matrix, "determinant, batch", [[2, 2, 2]], in: both) { determinant(regular($0[0])) },
    .init(.matrix, "logDeterminant", [[3, 3]], in: both) {
      logDeterminant(regular($0[0])).logarithm
    },
    .init(.matrix, "logDeterminant, batch", [[2, 2, 2]], in: both) {
      let (sign, logarithm) = logDeterminant(regular($0[0]) * -1.0)
      return sign * logarithm
    },
    .init(.matrix, "qr", [[4, 3]], in: both) {
      let (q, r) = qr(spread($0[0]))
      return concatenate([square(q), r])
    },
    .init(.matrix, "qr, more columns than rows", [[2, 2, 4]], in: both) {
      let (q, r) = qr(spread($0[0]))
      return matmul(square(q), r)
    },
    .init(.matrix, "eigh", [[3, 3]], in: both) {
      let a = spread($0[0])
      let (values, vectors) = eigh(a + turned(a))
      return concatenate([values.expandedDims(at: 0), vectors])
    },
    .init(.matrix, "eigh, batch", [[2, 2, 2]], in: both) {
      let a = spread($0[0])
      let (values, vectors) = eigh(a + turned(a))
      return matmul(square(vectors), values.expandedDims(at: -1))
    },
    .init(.matrix, "svd", [[3, 3]], in: both) {
      let (u, s, vt) = svd(spread($0[0]))
      return concatenate([u, s.expandedDims(at: 0), vt])
    },
    .init(.matrix, "svd, more rows than columns", [[2, 3, 2]], in: both) {
      let (u, s, vt) = svd(spread($0[0]))
      return matmul(square(u) * s.expandedDims(at: 1), square(vt))
    },
    .init(.matrix, "svd, more columns than rows", [[2, 4]], in: both) {
      let (u, s, vt) = svd(spread($0[0]))
      return matmul(square(u) * s, square(vt))
    },
  ]
}
