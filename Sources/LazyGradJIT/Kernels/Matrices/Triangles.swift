// Cholesky's factor and triangular systems. Blocked, so that most of the work is in matrix products (Golub and Van
// Loan, Matrix Computations, chapters 3 and 4).

extension MatrixRows {
  /// Bytes that `cholesky` and `solveTriangle` work in.
  static func triangleWorkBytes<T: MatrixScalar>(_ n: Int, _: T.Type) -> Int {
    WorkMemory.byteCount(packedCount(depth: n), of: T.self)
      + WorkMemory.byteCount(max(block * n, turnedRows * half(of: max(n, 2))), of: T.self)
  }

  // MARK: Cholesky

  /// Replaces the lower triangle of a matrix by Cholesky's factor and the rest by zeros; the whole by
  /// not-a-number where it is not positive definite.
  static func cholesky<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ work: WorkMemory, _ products: MatrixProducts?
  ) {
    let n = a.rows
    var work = work
    let packed: UnsafeMutablePointer<T> = work.take(packedCount(depth: min(block, n)))
    let turned: UnsafeMutablePointer<T> = work.take(block * n)
    for start in stride(from: 0, to: n, by: block) {
      let end = min(start + block, n)
      for i in start..<n {
        for j in start..<min(i, end) {
          a[i, j] = (a[i, j] - dot(a[i] + start, a[j] + start, j - start)) / a[j, j]
        }
        if i >= end { continue }
        let pivot = a[i, i] - dot(a[i] + start, a[i] + start, i - start)
        // Also false where it is not a number.
        if !(pivot > 0) { return a.fill(.nan) }
        a[i, i] = pivot.squareRoot()
      }
      if end < n { subtractSquare(a, start..<end, turned, packed, products) }
    }
    for i in 0..<n { (a[i] + i + 1).update(repeating: 0, count: n - i - 1) }
  }

  /// Takes the product of some finished columns with their transpose off the triangle behind them.
  private static func subtractSquare<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ columns: Range<Int>, _ turned: UnsafeMutablePointer<T>,
    _ packed: UnsafeMutablePointer<T>, _ products: MatrixProducts?
  ) {
    let rest = columns.upperBound..<a.rows
    let right = UnsafeMatrix(turned, rows: columns.count, columns: rest.count)
    right.becomeTransposed(a.part(rest, columns))
    for start in stride(from: rest.lowerBound, to: a.rows, by: 2 * block) {
      let end = min(start + 2 * block, a.rows)
      subtract(
        a.part(start..<a.rows, columns),
        times: right.part(
          0..<columns.count, (start - rest.lowerBound)..<(end - rest.lowerBound)),
        from: a.part(start..<a.rows, start..<end), packed, products)
    }
  }

  // MARK: Triangular systems

  /// Rows of a transposed matrix that are copied at a time.
  private static let turnedRows = 128

  /// Replaces B by the solution of A X = B. The other triangle of A is not read.
  static func solveTriangle<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ options: MatrixCall.Options, _ b: UnsafeMatrix<T>, _ work: WorkMemory,
    _ products: MatrixProducts?
  ) {
    if a.rows == 0 || b.columns == 0 { return }
    let isTransposed = options.contains(.transposed)
    // From the first row on, or from the last.
    let isForward = options.contains(.upper) == isTransposed
    if b.columns == 1, b.step == 1 {
      solveVector(
        a, isForward: isForward, isTransposed: isTransposed,
        isUnit: options.contains(.unitDiagonal), b.base)
      return
    }
    var work = work
    let packed: UnsafeMutablePointer<T> = work.take(packedCount(depth: a.rows))
    let turned: UnsafeMutablePointer<T>? =
      isTransposed && a.rows > strip ? work.take(turnedRows * half(of: a.rows)) : nil
    let system = TriangularSystem(
      a: a, b: b, isForward: isForward, isUnit: options.contains(.unitDiagonal), turned: turned,
      isTransposed: isTransposed, packed: packed, products: products)
    system.solve(0..<a.rows)
  }

  /// The same for one column: row by row of A, transposed or not.
  private static func solveVector<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, isForward: Bool, isTransposed: Bool, isUnit: Bool,
    _ b: UnsafeMutablePointer<T>
  ) {
    let n = a.rows
    for step in 0..<n {
      let i = isForward ? step : n - 1 - step
      let (before, behind) = (i, n - i - 1)
      if !isTransposed {
        b[i] -= isForward ? dot(a[i], b, before) : dot(a[i] + i + 1, b + i + 1, behind)
      }
      if !isUnit { b[i] /= a[i, i] }
      if isTransposed {
        if isForward {
          add(-b[i], times: a[i] + i + 1, to: b + i + 1, behind)
        } else {
          add(-b[i], times: a[i], to: b, before)
        }
      }
    }
  }

  /// A X = B for a triangle, whose rows are halved until they are few.
  private struct TriangularSystem<T: MatrixScalar> {
    let a: UnsafeMatrix<T>
    let b: UnsafeMatrix<T>
    let isForward: Bool
    let isUnit: Bool
    /// Memory for `turnedRows` of the transposed matrix.
    let turned: UnsafeMutablePointer<T>?
    let isTransposed: Bool
    let packed: UnsafeMutablePointer<T>
    let products: MatrixProducts?

    func solve(_ rows: Range<Int>) {
      if rows.count <= strip {
        return isTransposed ? substitute(rows, 1, a.step) : substitute(rows, a.step, 1)
      }
      let middle = rows.lowerBound + half(of: rows.count)
      let (low, high) = (rows.lowerBound..<middle, middle..<rows.upperBound)
      let (first, last) = isForward ? (low, high) : (high, low)
      solve(first)
      let known = b.part(first, 0..<b.columns)
      if let turned {
        for start in stride(from: last.lowerBound, to: last.upperBound, by: turnedRows) {
          let some = start..<min(start + turnedRows, last.upperBound)
          let part = UnsafeMatrix(turned, rows: some.count, columns: first.count)
          part.becomeTransposed(a.part(first, some))
          subtract(part, times: known, from: b.part(some, 0..<b.columns), packed, products)
        }
      } else {
        subtract(
          a.part(last, first), times: known, from: b.part(last, 0..<b.columns), packed, products)
      }
      solve(last)
    }

    /// Solves for one row after the other. `row` and `column` are A's distances.
    @inline(__always)
    private func substitute(_ rows: Range<Int>, _ row: Int, _ column: Int) {
      for step in 0..<rows.count {
        let i = isForward ? rows.lowerBound + step : rows.upperBound - 1 - step
        let done = isForward ? rows.lowerBound..<i : (i + 1)..<rows.upperBound
        subtract(
          done, { UnsafePointer(b[$0]) }, times: { a.base[i * row + $0 * column] }, from: b[i],
          b.columns)
        if isUnit { continue }
        let pivot = a.base[i * row + i * column]
        for k in 0..<b.columns { b[i][k] /= pivot }
      }
    }
  }
}
