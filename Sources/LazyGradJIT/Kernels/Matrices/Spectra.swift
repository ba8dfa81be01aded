// Eigenvalues of symmetric matrices, and singular values.

extension MatrixRows {
  // MARK: Eigenvalues

  /// The eigenvalues of a symmetric matrix, of which the lower triangle is read, in rising order, and
  /// eigenvectors as columns: by Householder's reduction to three diagonals, and the implicit QR step with
  /// Wilkinson's shift (Golub and Van Loan, Matrix Computations, section 8.3).
  ///
  /// The largest component of a vector, the first of these, is positive. All is not-a-number where an
  /// element is infinite or not a number.
  static func eigenvectors<T: MatrixScalar>(
    _ a: UnsafePointer<T>, _ n: Int, values: UnsafeMutablePointer<T>, vectors: UnsafeMatrix<T>,
    _ memory: WorkMemory
  ) {
    var memory = memory
    let work = UnsafeMatrix<T>(memory.take(n * n), rows: n, columns: n)
    for i in 0..<n {
      for j in 0...i {
        work[i, j] = a[i * n + j]
        work[j, i] = a[i * n + j]
      }
    }
    let scale = work.isFinite ? work.scale() : .nan
    // The rows of `basis` are the vectors: two of them are turned at a time.
    let basis = UnsafeMatrix<T>(memory.take(n * n), rows: n, columns: n)
    let beside: UnsafeMutablePointer<T> = memory.take(n)
    if scale.isNaN || !diagonalize(work, values, beside, basis, memory.take(2 * n)) {
      values.update(repeating: .nan, count: n)
      vectors.fill(.nan)
      return
    }
    for i in 0..<n { values[i] *= scale }
    let order = (0..<n).sorted { (values[$0], $0) < (values[$1], $1) }
    for (k, i) in order.enumerated() {
      beside[k] = values[i]
      makeLargestPositive(basis[i], n)
      for j in 0..<n { vectors[j, k] = basis[i, j] }
    }
    values.update(from: beside, count: n)
  }

  /// Bytes that `eigenvectors` works in.
  static func eigenvectorsWorkBytes<T: MatrixScalar>(_ n: Int, _: T.Type) -> Int {
    2 * WorkMemory.byteCount(n * n, of: T.self) + WorkMemory.byteCount(n, of: T.self)
      + WorkMemory.byteCount(2 * n, of: T.self)
  }

  /// Negates a vector if its largest component, the first of these, is negative.
  ///
  /// - Returns: Whether it was.
  @discardableResult
  private static func makeLargestPositive<T: MatrixScalar>(
    _ x: UnsafeMutablePointer<T>, _ n: Int
  ) -> Bool {
    var largest: T = 0
    for j in 0..<n where abs(x[j]) > abs(largest) { largest = x[j] }
    if largest < 0 { for j in 0..<n { x[j] = -x[j] } }
    return largest < 0
  }

  /// - Returns: Whether it has come to an end.
  private static func diagonalize<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ diagonal: UnsafeMutablePointer<T>, _ beside: UnsafeMutablePointer<T>,
    _ basis: UnsafeMatrix<T>, _ scratch: UnsafeMutablePointer<T>
  ) -> Bool {
    tridiagonalize(a, diagonal, beside, basis, scratch)
    var end = a.rows - 1
    var steps = 0
    while end > 0 {
      // What is small beside its neighbours counts as 0.
      for i in 0..<end
      where abs(beside[i]) <= T.ulpOfOne / 2 * (abs(diagonal[i]) + abs(diagonal[i + 1])) {
        beside[i] = 0
      }
      if beside[end - 1] == 0 {
        end -= 1
        continue
      }
      var start = end - 1
      while start > 0, beside[start - 1] != 0 { start -= 1 }
      steps += 1
      if steps > 60 * a.rows { return false }
      stepQR(start, end, diagonal, beside, basis)
    }
    return true
  }

  /// Brings a symmetric matrix to three diagonals, Q A Qᵀ; Q, whose rows are the new axes, becomes `basis`.
  private static func tridiagonalize<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, _ diagonal: UnsafeMutablePointer<T>, _ beside: UnsafeMutablePointer<T>,
    _ basis: UnsafeMatrix<T>, _ scratch: UnsafeMutablePointer<T>
  ) {
    let n = a.rows
    basis.becomeIdentity()
    for k in 0..<max(n - 2, 0) {
      let factor = reflect(a, row: k + 1, column: k)
      beside[k] = a[k + 1, k]
      // The vector, also in the row, for the way back; the factor where the diagonal was.
      let count = n - k - 1
      let v = a[k] + k + 1
      v[0] = 1
      for i in 1..<count { v[i] = a[k + 1 + i, k] }
      diagonal[k] = a[k, k]
      a[k, k] = factor
      if factor == 0 { continue }
      // A - v wᵀ - w vᵀ, where w = p - (factor / 2) (pᵀ v) v and p = factor A v.
      let w = scratch
      for i in 0..<count { w[i] = factor * dot(a[k + 1 + i] + k + 1, v, count) }
      add(-factor / 2 * dot(w, v, count), times: v, to: w, count)
      for i in 0..<count {
        let row = a[k + 1 + i] + k + 1
        let (x, y) = (v[i], w[i])
        for j in 0..<count { row[j] -= x * w[j] + y * v[j] }
      }
    }
    for k in max(n - 2, 0)..<n { diagonal[k] = a[k, k] }
    if n > 1 { beside[n - 2] = a[n - 1, n - 2] }
    // The reflections in a row, the last first: each meets only rows and columns that are no longer those
    // of the identity.
    for k in (0..<max(n - 2, 0)).reversed() where a[k, k] != 0 {
      let count = n - k - 1
      let v = a[k] + k + 1
      for i in 0..<count {
        let row = basis[k + 1 + i] + k + 1
        add(-a[k, k] * dot(row, v, count), times: v, to: row, count)
      }
    }
  }

  /// One QR step with a shift on the part of three diagonals between two zeros beside the diagonal.
  private static func stepQR<T: MatrixScalar>(
    _ start: Int, _ end: Int, _ diagonal: UnsafeMutablePointer<T>,
    _ beside: UnsafeMutablePointer<T>, _ basis: UnsafeMatrix<T>
  ) {
    let half = (diagonal[end - 1] - diagonal[end]) / 2
    let last = beside[end - 1]
    let length = hypotenuse(half, last)
    let shift = diagonal[end] - last * (last / (half + (half < 0 ? -length : length)))
    var x = diagonal[start] - shift
    var z = beside[start]
    for k in start..<end {
      let length = hypotenuse(x, z)
      let (c, s): (T, T) = length == 0 ? (1, 0) : (x / length, z / length)
      if k > start { beside[k - 1] = length }
      let (first, second, between) = (diagonal[k], diagonal[k + 1], beside[k])
      diagonal[k] = c * c * first + 2 * c * s * between + s * s * second
      diagonal[k + 1] = s * s * first - 2 * c * s * between + c * c * second
      beside[k] = c * s * (second - first) + (c * c - s * s) * between
      if k + 1 < end {
        x = beside[k]
        z = s * beside[k + 1]
        beside[k + 1] *= c
      }
      rotate(basis[k], basis[k + 1], c, s, basis.columns)
    }
  }

  /// The length of a vector of two components, whose squares may overflow or vanish.
  private static func hypotenuse<T: MatrixScalar>(_ x: T, _ y: T) -> T {
    let larger = max(abs(x), abs(y))
    if larger == 0 { return 0 }
    let (a, b) = (x / larger, y / larger)
    return larger * (a * a + b * b).squareRoot()
  }

  // MARK: Singular values

  /// The singular values of a matrix in falling order, with U and V transposed: by QR, and rotations that
  /// make the rows of R orthogonal (Hestenes, Inversion of Matrices by Biorthogonalization, 1958).
  ///
  /// The largest component of a column of U, the first of these, is positive. All is not-a-number where an
  /// element is infinite or not a number. The matrix is used up.
  static func singularValues<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, u: UnsafeMatrix<T>, values: UnsafeMutablePointer<T>, v: UnsafeMatrix<T>,
    _ work: WorkMemory
  ) {
    let (m, n) = (a.rows, a.columns)
    if m >= n {
      tallSingularValues(a, u: u, values: values, v: v, work)
    } else {
      // Those of the transposed matrix, with U and V in each other's place.
      var work = work
      let turned = UnsafeMatrix<T>(work.take(n * m), rows: n, columns: m)
      let right = UnsafeMatrix<T>(work.take(n * m), rows: n, columns: m)
      let left = UnsafeMatrix<T>(work.take(m * m), rows: m, columns: m)
      transpose(a, into: turned)
      tallSingularValues(turned, u: right, values: values, v: left, work)
      transpose(right, into: v)
      transpose(left, into: u)
    }
    for k in 0..<min(m, n) { makeColumnPositive(u, v, k) }
  }

  /// Bytes that `singularValues` works in.
  static func singularValuesWorkBytes<T: MatrixScalar>(_ m: Int, _ n: Int, _: T.Type) -> Int {
    func bytes(_ count: Int) -> Int { WorkMemory.byteCount(count, of: T.self) }
    if m < n { return 2 * bytes(m * n) + bytes(m * m) + singularValuesWorkBytes(n, m, T.self) }
    return 3 * bytes(n * n) + 2 * bytes(n) + bytes(m * n)
      + bytes(scratchCount(rows: m, columns: n))
  }

  private static func transpose<T: MatrixScalar>(_ a: UnsafeMatrix<T>, into b: UnsafeMatrix<T>) {
    for i in 0..<a.rows {
      for j in 0..<a.columns { b[j, i] = a[i, j] }
    }
  }

  /// The same for a matrix with no fewer rows than columns; signs as they come.
  private static func tallSingularValues<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, u: UnsafeMatrix<T>, values: UnsafeMutablePointer<T>, v: UnsafeMatrix<T>,
    _ work: WorkMemory
  ) {
    let (m, n) = (a.rows, a.columns)
    if n == 0 { return }
    let scale = a.isFinite ? a.scale() : .nan
    if scale.isNaN {
      u.fill(.nan)
      values.update(repeating: .nan, count: n)
      return v.fill(.nan)
    }
    var work = work
    let r = UnsafeMatrix<T>(work.take(n * n), rows: n, columns: n)
    let turns = UnsafeMatrix<T>(work.take(n * n), rows: n, columns: n)
    let left = UnsafeMatrix<T>(work.take(n * n), rows: n, columns: n)
    let squares: UnsafeMutablePointer<T> = work.take(n)
    let factors: UnsafeMutablePointer<T> = work.take(n)
    let q = UnsafeMatrix<T>(work.take(m * n), rows: m, columns: n)
    let rest: UnsafeMutablePointer<T> = work.take(scratchCount(rows: m, columns: n))
    reduce(a, factors: factors, rest)
    for i in 0..<n {
      for j in 0..<n { r[i, j] = i <= j ? a[i, j] : 0 }
    }
    formQ(a, factors: factors, into: q, rest)
    orthogonalize(r, turns, squares)
    // R = turnsᵀ (rows of r): they are singular values times rows of V.
    for i in 0..<n { squares[i] = dot(r[i], r[i], n).squareRoot() }
    let order = (0..<n).sorted { (squares[$0], $1) > (squares[$1], $0) }
    // Smaller ones are of no direction: their squares may have vanished.
    let least = squares[order[0]] * T.ulpOfOne * T.ulpOfOne
    for (k, i) in order.enumerated() {
      values[k] = squares[i] * scale
      for j in 0..<n { left[j, k] = turns[i, j] }
      if squares[i] > least {
        for j in 0..<n { v[k, j] = r[i, j] / squares[i] }
      } else {
        completeBasis(v, k)
      }
    }
    multiply(q.base, row: n, column: 1, left, into: u, adding: false)
  }

  private static func makeColumnPositive<T: MatrixScalar>(
    _ u: UnsafeMatrix<T>, _ v: UnsafeMatrix<T>, _ k: Int
  ) {
    var largest: T = 0
    for i in 0..<u.rows where abs(u[i, k]) > abs(largest) { largest = u[i, k] }
    if largest >= 0 { return }
    for i in 0..<u.rows { u[i, k] = -u[i, k] }
    for j in 0..<v.columns { v[k, j] = -v[k, j] }
  }

  /// Turns pairs of rows of `r` until all are orthogonal; `turns` becomes what that multiplies by.
  private static func orthogonalize<T: MatrixScalar>(
    _ r: UnsafeMatrix<T>, _ turns: UnsafeMatrix<T>, _ squares: UnsafeMutablePointer<T>
  ) {
    let n = r.rows
    turns.becomeIdentity()
    let tolerance = T.ulpOfOne * T(n).squareRoot()
    for _ in 0..<60 {
      var isDone = true
      for i in 0..<n { squares[i] = dot(r[i], r[i], n) }
      for i in 0..<n {
        for j in (i + 1)..<max(n, i + 1) {
          let product = dot(r[i], r[j], n)
          let (x, y) = (squares[i], squares[j])
          if !(abs(product) > tolerance * (x.squareRoot() * y.squareRoot())) { continue }
          isDone = false
          let ratio = (y - x) / (2 * product)
          // The square of a large ratio may overflow, and the one is lost beside it.
          let root = abs(ratio) < 1 / T.ulpOfOne ? (1 + ratio * ratio).squareRoot() : abs(ratio)
          let tangent = (ratio < 0 ? -1 : 1) / (abs(ratio) + root)
          let c = 1 / (1 + tangent * tangent).squareRoot()
          let s = -c * tangent
          rotate(r[i], r[j], c, s, n)
          rotate(turns[i], turns[j], c, s, n)
          squares[i] = x - tangent * product
          squares[j] = y + tangent * product
        }
      }
      if isDone { return }
    }
  }

  /// Makes a row of unit length that is orthogonal to those before it.
  private static func completeBasis<T: MatrixScalar>(_ v: UnsafeMatrix<T>, _ row: Int) {
    let n = v.columns
    let x = v[row]
    for axis in 0..<n {
      for j in 0..<n { x[j] = j == axis ? 1 : 0 }
      // Twice, because the first time leaves rounding errors of what it takes away.
      for _ in 0..<2 {
        for i in 0..<row { add(-dot(v[i], x, n), times: v[i], to: x, n) }
      }
      let length = dot(x, x, n).squareRoot()
      // One of the unit vectors has at least this much that is new.
      if length * T(2 * n).squareRoot() >= 1 {
        for j in 0..<n { x[j] /= length }
        return
      }
    }
  }
}
