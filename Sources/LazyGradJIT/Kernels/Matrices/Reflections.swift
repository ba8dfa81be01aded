// QR by Householder's reflections, of which a block is applied at a time in the form I - V T Vᵀ (Schreiber
// and Van Loan, A Storage-Efficient WY Representation for Products of Householder Transformations, 1989).

extension MatrixRows {
  /// Makes the reflection that takes a column, from a row on, to a multiple of the first unit vector. The
  /// column becomes the multiple, and below it the reflection's vector without its first element, 1.
  ///
  /// The multiple has the sign that the first element has not, as in LAPACK, so that nothing is
  /// subtracted that is nearly equal.
  /// - Returns: The factor t of I - t v vᵀ.
  static func reflect<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, row: Int, column: Int
  ) -> T {
    var squares: T = 0
    for i in (row + 1)..<max(a.rows, row + 1) { squares += a[i, column] * a[i, column] }
    if squares == 0 { return 0 }
    let first = a[row, column]
    let length = (first * first + squares).squareRoot()
    let multiple = first > 0 ? -length : length
    let scale = 1 / (first - multiple)
    for i in (row + 1)..<a.rows { a[i, column] *= scale }
    a[row, column] = multiple
    return (multiple - first) / multiple
  }

  /// Replaces a matrix with no fewer rows than columns by R and, below it, the vectors of the reflections;
  /// `factors` become theirs.
  static func reduce<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, factors: UnsafeMutablePointer<T>, _ scratch: UnsafeMutablePointer<T>
  ) {
    let n = a.columns
    for start in stride(from: 0, to: n, by: block) {
      let end = min(start + block, n)
      for j in start..<end {
        let factor = reflect(a, row: j, column: j)
        factors[j] = factor
        let rest = end - j - 1
        if factor == 0 || rest == 0 { continue }
        // The sums over rows that the reflection adds to each.
        scratch.update(from: a[j] + j + 1, count: rest)
        for i in (j + 1)..<a.rows { add(a[i, j], times: a[i] + j + 1, to: scratch, rest) }
        add(-factor, times: scratch, to: a[j] + j + 1, rest)
        for i in (j + 1)..<a.rows {
          add(-factor * a[i, j], times: scratch, to: a[i] + j + 1, rest)
        }
      }
      if end < n {
        applyBlock(
          a, start..<end, factors, transposed: true, to: a.part(start..<a.rows, end..<n), scratch)
      }
    }
  }

  /// Makes Q of what `reduce` leaves.
  static func formQ<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, factors: UnsafePointer<T>, into q: UnsafeMatrix<T>,
    _ scratch: UnsafeMutablePointer<T>
  ) {
    q.becomeIdentity()
    for start in stride(from: 0, to: a.columns, by: block).reversed() {
      let end = min(start + block, a.columns)
      applyBlock(
        a, start..<end, factors, transposed: false,
        to: q.part(start..<q.rows, start..<q.columns), scratch)
    }
  }

  /// Elements of scratch memory that a block takes for a matrix of so many rows, applied to so many
  /// columns.
  static func scratchCount(rows: Int, columns: Int) -> Int {
    block * (rows + block + columns) + columns
  }

  /// Applies the reflections of some columns to the rows of C that they reach.
  private static func applyBlock<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ columns: Range<Int>, _ factors: UnsafePointer<T>, transposed: Bool,
    to c: UnsafeMatrix<T>, _ scratch: UnsafeMutablePointer<T>
  ) {
    let (first, count) = (columns.lowerBound, columns.count)
    let v = UnsafeMatrix(scratch, rows: a.rows - first, columns: count)
    for i in 0..<v.rows {
      for j in 0..<count {
        v[i, j] = i > j ? a[first + i, first + j] : i == j ? 1 : 0
      }
    }
    let t = UnsafeMatrix(scratch + v.rows * count, rows: count, columns: count)
    t.fill(0)
    for j in 0..<count {
      let factor = factors[first + j]
      t[j, j] = factor
      // Column j above the diagonal: -factor T (Vᵀ v).
      var sums = SIMD32<T>.zero
      for i in j..<v.rows {
        for k in 0..<j { sums[k] += v[i, k] * v[i, j] }
      }
      for i in 0..<j {
        var sum: T = 0
        for k in i..<j { sum += t[i, k] * sums[k] }
        t[i, j] = -factor * sum
      }
    }
    // W = -T Vᵀ C, or with T transposed, then C + V W.
    let w = UnsafeMatrix(scratch + v.rows * count + count * count, rows: count, columns: c.columns)
    multiply(v.base, row: 1, column: count, c, into: w, adding: false)
    for step in 0..<count {
      let i = transposed ? count - 1 - step : step
      for k in 0..<c.columns { w[i][k] *= -t[i, i] }
      for k in transposed ? 0..<i : (i + 1)..<count {
        add(-(transposed ? t[k, i] : t[i, k]), times: w[k], to: w[i], c.columns)
      }
    }
    multiply(v.base, row: count, column: 1, w, into: c, adding: true)
  }
}
