// Cholesky's factor, triangular systems, and LU with partial pivoting. Blocked, so that most of the work is
// in matrix products (Golub and Van Loan, Matrix Computations, chapters 3 and 4).

extension MatrixRows {
  /// Bytes that `cholesky` and `solveTriangle` work in.
  static func triangleWorkBytes<T: MatrixScalar>(_ n: Int, _: T.Type) -> Int {
    WorkMemory.byteCount(block * n, of: T.self)
  }

  /// Bytes that `eliminate` works in.
  static func eliminationWorkBytes<T: MatrixScalar>(_ n: Int, _: T.Type) -> Int {
    WorkMemory.byteCount(block * n, of: T.self) + triangleWorkBytes(block, T.self)
  }

  // MARK: Cholesky

  /// Replaces the lower triangle of a matrix by Cholesky's factor and the rest by zeros; the whole by
  /// not-a-number where it is not positive definite.
  static func cholesky<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ work: WorkMemory, _ products: MatrixProducts?
  ) {
    let n = a.rows
    var work = work
    let scratch: UnsafeMutablePointer<T> = work.take(block * n)
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
      if end < n { subtractSquare(a, start..<end, scratch, products) }
    }
    for i in 0..<n { (a[i] + i + 1).update(repeating: 0, count: n - i - 1) }
  }

  /// Takes the product of some finished columns with their transpose off the triangle behind them.
  private static func subtractSquare<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ columns: Range<Int>, _ scratch: UnsafeMutablePointer<T>,
    _ products: MatrixProducts?
  ) {
    let rest = columns.upperBound..<a.rows
    let negated = UnsafeMatrix(scratch, rows: columns.count, columns: rest.count)
    for i in rest {
      for j in columns { negated[j - columns.lowerBound, i - rest.lowerBound] = -a[i, j] }
    }
    for start in stride(from: rest.lowerBound, to: a.rows, by: 2 * block) {
      let end = min(start + 2 * block, a.rows)
      multiply(
        a[start] + columns.lowerBound, row: a.step, column: 1,
        negated.part(0..<columns.count, (start - rest.lowerBound)..<(end - rest.lowerBound)),
        into: a.part(start..<a.rows, start..<end), adding: true, products)
    }
  }

  // MARK: Triangular systems

  /// Replaces B by the solution of A X = B. The other triangle of A is not read.
  static func solveTriangle<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ options: MatrixCall.Options, _ b: UnsafeMatrix<T>, _ work: WorkMemory,
    _ products: MatrixProducts?
  ) {
    let (n, width) = (a.rows, b.columns)
    if n == 0 || width == 0 { return }
    let isTransposed = options.contains(.transposed)
    let isUnit = options.contains(.unitDiagonal)
    // From the first row on, or from the last.
    let isForward = options.contains(.upper) == isTransposed
    let (row, column) = isTransposed ? (1, a.step) : (a.step, 1)
    @inline(__always)
    func element(_ i: Int, _ j: Int) -> T { a.base[i * row + j * column] }
    func solve(_ i: Int, after done: Range<Int>) {
      for j in done { add(-element(i, j), times: b[j], to: b[i], width) }
      if isUnit { return }
      let pivot = element(i, i)
      for k in 0..<width { b[i][k] /= pivot }
    }
    if width == 1, b.step == 1 {
      solveVector(a, isForward: isForward, isTransposed: isTransposed, isUnit: isUnit, b.base)
      return
    }
    var work = work
    let scratch: UnsafeMutablePointer<T> = work.take(block * n)
    let starts = Array(stride(from: 0, to: n, by: block))
    for start in isForward ? starts : starts.reversed() {
      let end = min(start + block, n)
      // What is known already is taken off all rows of the block.
      let known = isForward ? 0..<start : end..<n
      if !known.isEmpty {
        let negated = UnsafeMatrix(scratch, rows: end - start, columns: known.count)
        for i in start..<end {
          for j in known { negated[i - start, j - known.lowerBound] = -element(i, j) }
        }
        multiply(
          negated.base, row: known.count, column: 1, b.part(known, 0..<width),
          into: b.part(start..<end, 0..<width), adding: true, products)
      }
      if isForward {
        for i in start..<end { solve(i, after: start..<i) }
      } else {
        for i in (start..<end).reversed() { solve(i, after: (i + 1)..<end) }
      }
    }
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

  // MARK: LU

  /// What elimination says of a matrix.
  struct Elimination {
    /// Whether rows were exchanged an odd number of times.
    var isOdd = false
    /// Whether a pivot is 0.
    var isSingular = false
  }

  /// Replaces a matrix by its factors L, without the ones of its diagonal, and U.
  ///
  /// - Parameter order: Becomes the row that has been exchanged with each.
  static func eliminate<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, order: UnsafeMutablePointer<Int>, _ work: WorkMemory,
    _ products: MatrixProducts?
  ) -> Elimination {
    let n = a.rows
    var result = Elimination()
    var work = work
    let scratch: UnsafeMutablePointer<T> = work.take(block * n)
    for start in stride(from: 0, to: n, by: block) {
      let end = min(start + block, n)
      for j in start..<end {
        var best = j
        for i in (j + 1)..<max(n, j + 1) where abs(a[i, j]) > abs(a[best, j]) { best = i }
        order[j] = best
        if best != j {
          result.isOdd.toggle()
          for k in 0..<n { swap(&a[j][k], &a[best][k]) }
        }
        let pivot = a[j, j]
        if pivot == 0 {
          result.isSingular = true
          continue
        }
        for i in (j + 1)..<max(n, j + 1) {
          let factor = a[i, j] / pivot
          a[i, j] = factor
          add(-factor, times: a[j] + j + 1, to: a[i] + j + 1, end - j - 1)
        }
      }
      if end == n { continue }
      // The rows of U, then what they take off the rest.
      let rows = a.part(start..<end, end..<n)
      solveTriangle(a.part(start..<end, start..<end), .unitDiagonal, rows, work, products)
      let negated = UnsafeMatrix(scratch, rows: n - end, columns: end - start)
      for i in end..<n {
        for j in start..<end { negated[i - end, j - start] = -a[i, j] }
      }
      multiply(
        negated.base, row: negated.step, column: 1, rows, into: a.part(end..<n, end..<n),
        adding: true, products)
    }
    return result
  }

  /// Replaces B by the solution of A X = B, for the factors that `eliminate` leaves.
  static func solve<T: MatrixScalar>(
    _ factors: UnsafeMatrix<T>, order: UnsafePointer<Int>, _ b: UnsafeMatrix<T>, _ work: WorkMemory,
    _ products: MatrixProducts?
  ) {
    for i in 0..<factors.rows where order[i] != i {
      for k in 0..<b.columns { swap(&b[i][k], &b[order[i]][k]) }
    }
    solveTriangle(factors, .unitDiagonal, b, work, products)
    solveTriangle(factors, .upper, b, work, products)
  }
}
