// Runs a routine on batches of matrices in memory.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension MatrixCall {
  /// Bytes that `run` works in.
  package func workBytes(_ type: ScalarType) -> Int {
    type == .float32 ? workBytes(Float.self) : workBytes(Double.self)
  }

  private func workBytes<T: MatrixScalar>(_: T.Type) -> Int {
    let copy = WorkMemory.byteCount(rows * columns, of: T.self)
    let order = WorkMemory.byteCount(rows, of: Int.self)
    let triangle = MatrixRows.triangleWorkBytes(rows, T.self)
    let elimination = MatrixRows.eliminationWorkBytes(rows, T.self)
    return switch routine {
    case .cholesky, .triangularSolve: triangle
    case .solve where hasFactors: order + triangle
    case .solve, .inverse: copy + order + max(elimination, triangle)
    case .factors: order + elimination
    case .determinant, .logDeterminant: copy + order + elimination
    case .qr:
      copy + WorkMemory.byteCount(columns, of: T.self)
        + WorkMemory.byteCount(MatrixRows.scratchCount(rows: rows, columns: columns), of: T.self)
    case .eigh: MatrixRows.eigenvectorsWorkBytes(columns, T.self)
    case .svd: copy + MatrixRows.singularValuesWorkBytes(rows, columns, T.self)
    }
  }

  /// Runs the routine on matrices that lie in C order, A and, for systems of equations, B and, where they are
  /// given, the factors of A.
  ///
  /// Rows of the results may be read up to 32 bytes past their end. Takes `workBytes` to work in.
  package func run(
    type: ScalarType, a: UnsafeRawPointer, b: UnsafeRawPointer?, factors: UnsafeRawPointer? = nil,
    to: UnsafeMutableRawPointer, _ work: WorkMemory, _ products: MatrixProducts?
  ) {
    switch type {
    case .float32: run(Float.self, a, b, factors, to, work, products)
    case .float64: run(Double.self, a, b, factors, to, work, products)
    default: fatalError("LazyGrad: matrix: \(routine) of \(type)")
    }
  }

  private func run<T: MatrixScalar>(
    _: T.Type, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer?, _ factors: UnsafeRawPointer?,
    _ to: UnsafeMutableRawPointer, _ work: WorkMemory, _ products: MatrixProducts?
  ) {
    let a = a.assumingMemoryBound(to: T.self)
    let b = b?.assumingMemoryBound(to: T.self)
    let to = to.assumingMemoryBound(to: T.self)
    // Where each result of each matrix goes.
    let counts = resultCounts
    func result(_ k: Int, _ index: Int) -> UnsafeMutablePointer<T> {
      to + batch * counts[..<k].reduce(0, +) + index * counts[k]
    }
    for index in 0..<batch {
      let matrix = a + index * rows * columns
      switch routine {
      case .cholesky:
        let l = UnsafeMatrix(result(0, index), rows: rows, columns: columns)
        l.assign(matrix)
        MatrixRows.cholesky(l, work, products)
      case .triangularSolve:
        let x = UnsafeMatrix(result(0, index), rows: rows, columns: width)
        if let b { x.assign(b + index * rows * width) }
        let triangle = UnsafeMatrix(
          UnsafeMutablePointer(mutating: matrix), rows: rows, columns: columns)
        MatrixRows.solveTriangle(triangle, options, x, work, products)
      case .solve, .inverse:
        let x = UnsafeMatrix(
          result(0, index), rows: rows, columns: routine == .solve ? width : columns)
        if routine == .inverse {
          x.becomeIdentity()
        } else if let b {
          x.assign(b + index * rows * width)
        }
        var work = work
        if let factors {
          let known = factors.assumingMemoryBound(to: T.self) + index * (rows + 1) * columns
          solve(known, x, &work, products)
          continue
        }
        let (factors, order, elimination) = eliminated(matrix, &work, products)
        if elimination.isSingular {
          x.fill(.nan)
        } else {
          solve(factors, order, x, work, products)
        }
      case .factors:
        var work = work
        let order = work.take(rows, of: Int.self)
        let factors = UnsafeMatrix(result(0, index), rows: rows, columns: columns)
        factors.assign(matrix)
        let elimination = MatrixRows.eliminate(factors, order: order, work, products)
        if elimination.isSingular { factors.fill(.nan) }
        for i in 0..<rows { factors[rows, i] = elimination.isSingular ? .nan : T(order[i]) }
      case .determinant:
        var work = work
        let (factors, _, elimination) = eliminated(matrix, &work, products)
        var product: T = elimination.isOdd ? -1 : 1
        for i in 0..<rows { product *= factors[i, i] }
        result(0, index).pointee = product
      case .logDeterminant:
        var work = work
        let (factors, _, elimination) = eliminated(matrix, &work, products)
        var sign: T = elimination.isOdd ? -1 : 1
        var sum = 0.0
        for i in 0..<rows {
          let pivot = factors[i, i]
          sign *= pivot > 0 ? 1 : pivot < 0 ? -1 : pivot
          sum += log(abs(Double(pivot)))
        }
        result(0, index).pointee = sign
        result(1, index).pointee = T(sum)
      case .qr: factorQR(matrix, result(0, index), result(1, index), work)
      case .eigh:
        MatrixRows.eigenvectors(
          matrix, rows, values: result(0, index),
          vectors: UnsafeMatrix(result(1, index), rows: rows, columns: columns), work)
      case .svd:
        let inner = min(rows, columns)
        var work = work
        let copy = UnsafeMatrix<T>(work.take(rows * columns), rows: rows, columns: columns)
        copy.assign(matrix)
        MatrixRows.singularValues(
          copy, u: UnsafeMatrix(result(0, index), rows: rows, columns: inner),
          values: result(1, index),
          v: UnsafeMatrix(result(2, index), rows: inner, columns: columns), work)
      }
    }
  }

  /// The factors L and U of a matrix, and the rows that have been exchanged.
  private func eliminated<T: MatrixScalar>(
    _ matrix: UnsafePointer<T>, _ work: inout WorkMemory, _ products: MatrixProducts?
  ) -> (UnsafeMatrix<T>, UnsafeMutablePointer<Int>, MatrixRows.Elimination) {
    let factors = UnsafeMatrix<T>(work.take(rows * columns), rows: rows, columns: columns)
    let order = work.take(rows, of: Int.self)
    factors.assign(matrix)
    return (factors, order, MatrixRows.eliminate(factors, order: order, work, products))
  }

  /// Replaces B by the solution, for factors as the routine of this name leaves them.
  private func solve<T: MatrixScalar>(
    _ known: UnsafePointer<T>, _ x: UnsafeMatrix<T>, _ work: inout WorkMemory,
    _ products: MatrixProducts?
  ) {
    let factors = UnsafeMatrix(
      UnsafeMutablePointer(mutating: known), rows: rows, columns: columns)
    let order = work.take(rows, of: Int.self)
    for i in 0..<rows {
      let row = factors[rows, i]
      if row.isNaN { return x.fill(.nan) }
      order[i] = Int(row)
    }
    solve(factors, order, x, work, products)
  }

  private func solve<T: MatrixScalar>(
    _ factors: UnsafeMatrix<T>, _ order: UnsafePointer<Int>, _ x: UnsafeMatrix<T>,
    _ work: WorkMemory, _ products: MatrixProducts?
  ) {
    MatrixRows.solve(
      factors, order: order, isTransposed: options.contains(.transposed), x, work, products)
  }

  private func factorQR<T: MatrixScalar>(
    _ matrix: UnsafePointer<T>, _ q: UnsafeMutablePointer<T>, _ r: UnsafeMutablePointer<T>,
    _ work: WorkMemory
  ) {
    var work = work
    let copy = UnsafeMatrix<T>(work.take(rows * columns), rows: rows, columns: columns)
    let factors: UnsafeMutablePointer<T> = work.take(columns)
    copy.assign(matrix)
    if !copy.isFinite {
      q.update(repeating: .nan, count: rows * columns)
      r.update(repeating: .nan, count: columns * columns)
      return
    }
    let scale = copy.scale()
    let rest: UnsafeMutablePointer<T> = work.take(
      MatrixRows.scratchCount(rows: rows, columns: columns))
    MatrixRows.reduce(copy, factors: factors, rest)
    MatrixRows.formQ(
      copy, factors: factors, into: UnsafeMatrix(q, rows: rows, columns: columns), rest)
    for i in 0..<columns {
      for j in 0..<columns { r[i * columns + j] = i <= j ? copy[i, j] * scale : 0 }
    }
  }
}
