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
    .init(.attach, "cholesky", [[3, 3]], in: both) { cholesky(definite($0[0])) },
    .init(.attach, "cholesky, batch", [[2, 2, 2]], in: both) { cholesky(definite($0[0])) },
    .init(.attach, "triangularSolve", [[3, 3], [3, 2]], in: both) {
      triangularSolve(regular($0[0]), $0[1])
    },
    .init(.attach, "triangularSolve, upper, vector", [[3, 3], [3]], in: both) {
      triangularSolve(regular($0[0]), $0[1], upper: true)
    },
    .init(.attach, "triangularSolve, transposed, broadcast", [[3, 3], [2, 3, 2]], in: both) {
      triangularSolve(regular($0[0]), $0[1], transposed: true)
    },
    .init(.attach, "triangularSolve, unit diagonal", [[2, 3, 3], [3, 1]], in: both) {
      triangularSolve(regular($0[0]), $0[1], upper: true, transposed: true, unitDiagonal: true)
    },
    .init(.attach, "solve", [[3, 3], [3, 2]], in: both) { solve(regular($0[0]), $0[1]) },
    .init(.attach, "solve, vector", [[3, 3], [3]], in: both) { solve(regular($0[0]), $0[1]) },
    .init(.attach, "solve, broadcast", [[2, 1, 2, 2], [3, 2, 2]], in: both) {
      solve(regular($0[0]), $0[1])
    },
    .init(.attach, "inverse", [[3, 3]], in: both) { inverse(regular($0[0])) },
    .init(.attach, "determinant", [[3, 3]], in: both) { determinant(regular($0[0])) },
    .init(.attach, "determinant, batch", [[2, 2, 2]], in: both) { determinant(regular($0[0])) },
    .init(.attach, "logDeterminant", [[3, 3]], in: both) {
      logDeterminant(regular($0[0])).logarithm
    },
    .init(.attach, "logDeterminant, batch", [[2, 2, 2]], in: both) {
      let (sign, logarithm) = logDeterminant(regular($0[0]) * -1.0)
      return sign * logarithm
    },
    .init(.attach, "qr", [[4, 3]], in: both) {
      let (q, r) = qr(spread($0[0]))
      return concatenate([square(q), r])
    },
    .init(.attach, "qr, more columns than rows", [[2, 2, 4]], in: both) {
      let (q, r) = qr(spread($0[0]))
      return matmul(square(q), r)
    },
    .init(.attach, "eigh", [[3, 3]], in: both) {
      let a = spread($0[0])
      let (values, vectors) = eigh(a + turned(a))
      return concatenate([values.expandedDims(at: 0), vectors])
    },
    .init(.attach, "eigh, batch", [[2, 2, 2]], in: both) {
      let a = spread($0[0])
      let (values, vectors) = eigh(a + turned(a))
      return matmul(square(vectors), values.expandedDims(at: -1))
    },
    .init(.attach, "svd", [[3, 3]], in: both) {
      let (u, s, vt) = svd(spread($0[0]))
      return concatenate([u, s.expandedDims(at: 0), vt])
    },
    .init(.attach, "svd, more rows than columns", [[2, 3, 2]], in: both) {
      let (u, s, vt) = svd(spread($0[0]))
      return matmul(square(u) * s.expandedDims(at: 1), square(vt))
    },
    .init(.attach, "svd, more columns than rows", [[2, 4]], in: both) {
      let (u, s, vt) = svd(spread($0[0]))
      return matmul(square(u) * s, square(vt))
    },
  ]
}
