// The derivatives of routines on matrices, in operations on tensors, so there are those of any order. Sources
// stand with the functions.

internal import LazyGradJIT

extension VJP {
  func matrix() {
    let (a, b, c) = (pass.a(n), pass.b(n), pass.c(n))
    let attribute = pass.tape[n].matrixAttribute
    let needs = pass.tape.needsLater(n)
    let operands = [a, b, c].filter { $0 != n }
    pass.derive(n, g, operands, reading: needs) { g, x, result in
      let call = MatrixCall(attribute: attribute, x[0].shape, x.count > 1 ? x[1].shape : nil)
      if x.count == 1 || x[1].rank > 1 { return MatrixRules.gradients(call, g, x, result) }
      // A vector is a matrix of one column.
      var columns = x
      columns[1] = x[1].asColumn
      let parts = MatrixRules.gradients(call, g.asColumn, columns, result.asColumn)
      return [parts[0], parts[1]!.squeezed(axis: 1)] + parts.dropFirst(2)
    }
  }
}

/// The namespace of the rules.
private enum MatrixRules {
  static func gradients(
    _ call: MatrixCall, _ g: Tensor, _ x: [Tensor], _ result: Tensor
  ) -> [Tensor?] {
    /// One of several results, or its part of the gradient.
    func part(_ whole: Tensor, _ k: Int) -> Tensor { whole.part(k, of: call.routine, x[0]) }
    switch call.routine {
    case .cholesky: return [cholesky(g, result)]
    case .triangularSolve: return triangularSolution(g, x[0], result, call.options)
    case .solve:
      let isTransposed = call.options.contains(.transposed)
      let toB = solve(x[0], g, factors: x[2], transposed: !isTransposed)
      let product =
        isTransposed
        ? matmul(result, toB.matrixTransposed) : matmul(toB, result.matrixTransposed)
      return [-product, toB, nil]
    // What is made of them has the derivative.
    case .factors: return [nil]
    case .inverse:
      let turned = result.matrixTransposed
      return [-matmul(matmul(turned, g), turned)]
    case .determinant: return [(g * result).asScalars * inverse(x[0]).matrixTransposed]
    case .logDeterminant:
      return [part(g, 1).asScalars * inverse(x[0]).matrixTransposed]
    case .qr: return [qr(part(g, 0), part(g, 1), part(result, 0), part(result, 1))]
    case .eigh: return [eigh(part(g, 0), part(g, 1), part(result, 0), part(result, 1))]
    case .svd:
      return [svd(call, (0..<3).map { part(g, $0) }, (0..<3).map { part(result, $0) })]
    }
  }

  private static func cholesky(_ g: Tensor, _ l: Tensor) -> Tensor {
    let product = matmul(l.matrixTransposed, g)
    let n = l.shape[l.rank - 1]
    let halved = `where`(Triangle.diagonal(n), product * 0.5, Triangle.below(n, product))
    let half = triangularSolve(l, halved, transposed: true)
    let whole = triangularSolve(l, half.matrixTransposed, transposed: true)
    return (whole + whole.matrixTransposed) * 0.5
  }

  private static func triangularSolution(
    _ g: Tensor, _ a: Tensor, _ x: Tensor, _ options: MatrixCall.Options
  ) -> [Tensor] {
    let (upper, transposed, unitDiagonal) = (
      options.contains(.upper), options.contains(.transposed), options.contains(.unitDiagonal)
    )
    let toB = triangularSolve(
      a, g, upper: upper, transposed: !transposed, unitDiagonal: unitDiagonal)
    let product =
      transposed ? matmul(x, toB.matrixTransposed) : matmul(toB, x.matrixTransposed)
    let n = x.shape[x.rank - 2]
    let half =
      upper
      ? Triangle.above(n, product, withDiagonal: !unitDiagonal)
      : Triangle.below(n, product, withDiagonal: !unitDiagonal)
    return [-half, toB]
  }

  private static func qr(_ toQ: Tensor, _ toR: Tensor, _ q: Tensor, _ r: Tensor) -> Tensor {
    let n = r.shape[r.rank - 1]
    let product =
      matmul(r, Triangle.above(n, toR, withDiagonal: true).matrixTransposed)
      - matmul(toQ.matrixTransposed, q)
    // The lower triangle, and its mirror image above the diagonal.
    let lower = Triangle.below(n, product)
    let mirrored = Triangle.below(n, product, withDiagonal: true) + lower.matrixTransposed
    let sum = toQ + matmul(q, mirrored)
    return triangularSolve(r, sum.matrixTransposed, upper: true).matrixTransposed
  }

  private static func eigh(
    _ toValues: Tensor, _ toVectors: Tensor, _ values: Tensor, _ vectors: Tensor
  ) -> Tensor {
    let n = values.shape[values.rank - 1]
    let turned = vectors.matrixTransposed
    let mixed = invertedGaps(values) * matmul(turned, toVectors)
    let inner = `where`(Triangle.diagonal(n), toValues.asRow, mixed)
    let whole = matmul(matmul(vectors, inner), turned)
    return (whole + whole.matrixTransposed) * 0.5
  }

  private static func svd(_ call: MatrixCall, _ g: [Tensor], _ results: [Tensor]) -> Tensor {
    let (m, n) = (call.rows, call.columns)
    let k = min(m, n)
    let (u, s, vt) = (results[0], results[1], results[2])
    let (toU, toS, toV) = (g[0], g[1], g[2])
    let inU = matmul(u.matrixTransposed, toU)
    let inV = matmul(vt, toV.matrixTransposed)
    let gaps = invertedGaps(square(s))
    let mixed =
      gaps * (inU - inU.matrixTransposed) * s.asRow
      + s.asColumn * (gaps * (inV - inV.matrixTransposed))
    var sum = matmul(matmul(u, `where`(Triangle.diagonal(k), toS.asRow, mixed)), vt)
    if m > k { sum = sum + matmul((toU - matmul(u, inU)) * inverted(s).asRow, vt) }
    if n > k {
      sum = sum + matmul(u * inverted(s).asRow, toV - matmul(inV.matrixTransposed, vt))
    }
    return sum
  }

  /// One over the difference of every value, along columns, and every other, along rows; 0 where they are
  /// equal.
  private static func invertedGaps(_ values: Tensor) -> Tensor {
    inverted(values.asRow - values.asColumn)
  }

  /// One over every element; 0 where that is 0.
  private static func inverted(_ x: Tensor) -> Tensor {
    let zero = Triangle.zero(x)
    let isZero = x .== 0.0
    return `where`(isZero, zero, reciprocal(`where`(isZero, zero + 1.0, x)))
  }
}

extension Tensor {
  /// Numbers in the shape of matrices of one element.
  fileprivate var asScalars: Tensor { reshaped(shape + [1, 1]) }
  /// Vectors as matrices of one row.
  fileprivate var asRow: Tensor { expandedDims(at: -2) }
  /// Vectors as matrices of one column.
  fileprivate var asColumn: Tensor { expandedDims(at: -1) }
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
