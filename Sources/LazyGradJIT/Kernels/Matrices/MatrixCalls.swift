// Runs a routine on batches of matrices in memory.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension MatrixCall {
  /// Runs the routine on matrices that lie in C order, A and, for systems of equations, B.
  ///
  /// Rows of the results may be read up to 32 bytes past their end.
  package func run(
    type: ScalarType, a: UnsafeRawPointer, b: UnsafeRawPointer?, to: UnsafeMutableRawPointer
  ) {
    switch type {
    case .float32:
      run(
        a.assumingMemoryBound(to: Float.self), b?.assumingMemoryBound(to: Float.self),
        to.assumingMemoryBound(to: Float.self))
    case .float64:
      run(
        a.assumingMemoryBound(to: Double.self), b?.assumingMemoryBound(to: Double.self),
        to.assumingMemoryBound(to: Double.self))
    default: fatalError("LazyGrad: matrix: \(routine) of \(type)")
    }
  }

  private func run<T: MatrixScalar>(
    _ a: UnsafePointer<T>, _ b: UnsafePointer<T>?, _ to: UnsafeMutablePointer<T>
  ) {
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
        MatrixRows.cholesky(l)
      case .triangularSolve:
        let x = UnsafeMatrix(result(0, index), rows: rows, columns: width)
        if let b { x.assign(b + index * rows * width) }
        let triangle = UnsafeMatrix(
          UnsafeMutablePointer(mutating: matrix), rows: rows, columns: columns)
        MatrixRows.solveTriangle(triangle, options, x)
      case .solve, .inverse:
        let x = UnsafeMatrix(
          result(0, index), rows: rows, columns: routine == .solve ? width : columns)
        if routine == .inverse {
          x.becomeIdentity()
        } else if let b {
          x.assign(b + index * rows * width)
        }
        eliminated(matrix) { factors, order, elimination in
          if elimination.isSingular {
            x.fill(.nan)
          } else {
            MatrixRows.solve(factors, order: order, x)
          }
        }
      case .determinant:
        eliminated(matrix) { factors, _, elimination in
          var product: T = elimination.isOdd ? -1 : 1
          for i in 0..<rows { product *= factors[i, i] }
          result(0, index).pointee = product
        }
      case .logDeterminant:
        eliminated(matrix) { factors, _, elimination in
          var sign: T = elimination.isOdd ? -1 : 1
          var sum = 0.0
          for i in 0..<rows {
            let pivot = factors[i, i]
            sign *= pivot > 0 ? 1 : pivot < 0 ? -1 : pivot
            sum += log(abs(Double(pivot)))
          }
          result(0, index).pointee = sign
          result(1, index).pointee = T(sum)
        }
      case .qr: factorQR(matrix, result(0, index), result(1, index))
      case .eigh:
        MatrixRows.eigenvectors(
          matrix, rows, values: result(0, index),
          vectors: UnsafeMatrix(result(1, index), rows: rows, columns: columns))
      case .svd:
        let inner = min(rows, columns)
        MatrixRows.withScratch(rows * columns, T.self) { scratch in
          let work = UnsafeMatrix(scratch, rows: rows, columns: columns)
          work.assign(matrix)
          MatrixRows.singularValues(
            work, u: UnsafeMatrix(result(0, index), rows: rows, columns: inner),
            values: result(1, index),
            v: UnsafeMatrix(result(2, index), rows: inner, columns: columns))
        }
      }
    }
  }

  /// Runs `body` with the factors L and U of a matrix.
  private func eliminated<T: MatrixScalar>(
    _ matrix: UnsafePointer<T>,
    _ body: (UnsafeMatrix<T>, UnsafePointer<Int>, MatrixRows.Elimination) -> Void
  ) {
    MatrixRows.withScratch(rows * columns, T.self) { scratch in
      withUnsafeTemporaryAllocation(of: Int.self, capacity: max(rows, 1)) { order in
        guard let order = order.baseAddress else { return }
        let factors = UnsafeMatrix(scratch, rows: rows, columns: columns)
        factors.assign(matrix)
        let elimination = MatrixRows.eliminate(factors, order: order)
        body(factors, order, elimination)
      }
    }
  }

  private func factorQR<T: MatrixScalar>(
    _ matrix: UnsafePointer<T>, _ q: UnsafeMutablePointer<T>, _ r: UnsafeMutablePointer<T>
  ) {
    let needed = MatrixRows.scratchCount(rows: rows, columns: columns)
    MatrixRows.withScratch(rows * columns + columns + needed, T.self) { scratch in
      let work = UnsafeMatrix(scratch, rows: rows, columns: columns)
      let factors = scratch + rows * columns
      work.assign(matrix)
      if !work.isFinite {
        q.update(repeating: .nan, count: rows * columns)
        r.update(repeating: .nan, count: columns * columns)
        return
      }
      let scale = work.scale()
      MatrixRows.reduce(work, factors: factors, factors + columns)
      MatrixRows.formQ(
        work, factors: factors, into: UnsafeMatrix(q, rows: rows, columns: columns),
        factors + columns)
      for i in 0..<columns {
        for j in 0..<columns { r[i * columns + j] = i <= j ? work[i, j] * scale : 0 }
      }
    }
  }
}
