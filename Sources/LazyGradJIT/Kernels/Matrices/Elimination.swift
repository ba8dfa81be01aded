// LU with partial pivoting: columns are halved until they are few, so that nearly all of the work is in products
// of matrices as large as they can be (Toledo, Locality of Reference in LU Decomposition with Partial Pivoting,
// 1997).

extension MatrixRows {
  /// What elimination says of a matrix.
  struct Elimination {
    /// Whether rows were exchanged an odd number of times.
    var isOdd = false
    /// Whether a pivot is 0.
    var isSingular = false
  }

  /// Bytes that `eliminate` works in.
  static func eliminationWorkBytes<T: MatrixScalar>(_ n: Int, _: T.Type) -> Int {
    WorkMemory.byteCount(strip * stripStep(n), of: T.self)
      + WorkMemory.byteCount(packedCount(depth: n), of: T.self) + triangleWorkBytes(n, T.self)
  }

  /// Elements from one column of a strip to the next: columns a power of two apart would drive each other out of
  /// the caches.
  private static func stripStep(_ rows: Int) -> Int { (rows | 31) + 17 }

  /// Replaces a matrix by its factors L, without the ones of its diagonal, and U.
  ///
  /// - Parameter order: Becomes the row that has been exchanged with each.
  static func eliminate<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, order: UnsafeMutablePointer<Int>, _ work: WorkMemory,
    _ products: MatrixProducts?
  ) -> Elimination {
    if a.rows == 0 { return Elimination() }
    var work = work
    let columns: UnsafeMutablePointer<T> = work.take(strip * stripStep(a.rows))
    let packed: UnsafeMutablePointer<T> = work.take(packedCount(depth: a.rows))
    var system = EliminatedSystem(
      a: a, order: order, strip: columns, packed: packed, rest: work, products: products)
    system.eliminate(0..<a.rows)
    return system.result
  }

  /// Replaces B by the solution of A X = B, or of Aᵀ X = B, for the factors that `eliminate` leaves.
  static func solve<T: MatrixScalar>(
    _ factors: UnsafeMatrix<T>, order: UnsafePointer<Int>, isTransposed: Bool, _ b: UnsafeMatrix<T>,
    _ work: WorkMemory, _ products: MatrixProducts?
  ) {
    if isTransposed {
      solveTriangle(factors, [.upper, .transposed], b, work, products)
      solveTriangle(factors, [.transposed, .unitDiagonal], b, work, products)
      for i in (0..<factors.rows).reversed() { exchange(i, order[i], b) }
      return
    }
    exchange(0..<factors.rows, order, b)
    solveTriangle(factors, .unitDiagonal, b, work, products)
    solveTriangle(factors, .upper, b, work, products)
  }

  /// Exchanges rows as elimination did.
  private static func exchange<T: MatrixScalar>(
    _ rows: Range<Int>, _ order: UnsafePointer<Int>, _ b: UnsafeMatrix<T>
  ) {
    for i in rows { exchange(i, order[i], b) }
  }

  @inline(__always)
  private static func exchange<T: MatrixScalar>(_ i: Int, _ j: Int, _ b: UnsafeMatrix<T>) {
    if i == j { return }
    let (x, y) = (b[i], b[j])
    for k in 0..<b.columns { (x[k], y[k]) = (y[k], x[k]) }
  }

  /// A matrix on its way to its factors.
  private struct EliminatedSystem<T: MatrixScalar> {
    let a: UnsafeMatrix<T>
    let order: UnsafeMutablePointer<Int>
    /// Columns that are worked on, each in one run of memory.
    let strip: UnsafeMutablePointer<T>
    let packed: UnsafeMutablePointer<T>
    let rest: WorkMemory
    let products: MatrixProducts?
    var result = Elimination()

    /// Finishes some columns, in all rows from the diagonal on.
    mutating func eliminate(_ columns: Range<Int>) {
      if a.rows - columns.lowerBound <= block { return eliminateRows(columns) }
      if columns.count <= MatrixRows.strip { return eliminateStrip(columns) }
      let middle = columns.lowerBound + half(of: columns.count)
      let (left, right) = (columns.lowerBound..<middle, middle..<columns.upperBound)
      eliminate(left)
      exchange(left, order, a.part(0..<a.rows, right))
      // The rows of U, then what they take off the rest.
      let upper = a.part(left, right)
      solveTriangle(a.part(left, left), .unitDiagonal, upper, rest, products)
      let below = middle..<a.rows
      subtract(a.part(below, left), times: upper, from: a.part(below, right), packed, products)
      eliminate(right)
      exchange(right, order, a.part(0..<a.rows, left))
    }

    /// The same for few rows, which are at hand as they are: row by row.
    private mutating func eliminateRows(_ columns: Range<Int>) {
      for j in columns {
        var best = j
        for i in (j + 1)..<max(a.rows, j + 1) where abs(a[i, j]) > abs(a[best, j]) { best = i }
        order[j] = best
        if best != j {
          result.isOdd.toggle()
          exchange(j, best, a.part(0..<a.rows, columns))
        }
        let pivot = a[j, j]
        if pivot == 0 {
          result.isSingular = true
          continue
        }
        for i in (j + 1)..<max(a.rows, j + 1) {
          let factor = a[i, j] / pivot
          a[i, j] = factor
          add(-factor, times: a[j] + j + 1, to: a[i] + j + 1, columns.upperBound - j - 1)
        }
      }
    }

    /// The same for few columns, column by column.
    private mutating func eliminateStrip(_ columns: Range<Int>) {
      let (first, width) = (columns.lowerBound, columns.count)
      let rows = a.rows - first
      let step = stripStep(rows)
      takeStrip(a[first] + first, rows, width, step)
      for j in 0..<width {
        let column = strip + j * step
        subtractColumns(before: j, column, step, rows)
        var best = j
        for i in (j + 1)..<max(rows, j + 1) where abs(column[i]) > abs(column[best]) { best = i }
        order[first + j] = first + best
        if best != j {
          result.isOdd.toggle()
          for k in 0..<width {
            let other = strip + k * step
            (other[j], other[best]) = (other[best], other[j])
          }
        }
        let pivot = column[j]
        if pivot == 0 {
          result.isSingular = true
          continue
        }
        for i in (j + 1)..<max(rows, j + 1) { column[i] /= pivot }
      }
      putStrip(a[first] + first, rows, width, step)
    }

    /// Copies rows of the matrix into columns, four at a time.
    private func takeStrip(_ from: UnsafePointer<T>, _ rows: Int, _ width: Int, _ step: Int) {
      var row = from
      for i in stride(from: 0, to: rows, by: 4) {
        // Below the last row the last one is taken again: columns have room for it.
        let left = rows &- i
        let (b, c, d) = (
          left > 1 ? row + a.step : row, left > 2 ? row + 2 * a.step : row,
          left > 3 ? row + 3 * a.step : row
        )
        var to = UnsafeMutableRawPointer(strip + i)
        for j in 0..<width {
          to.storeBytes(of: SIMD4(row[j], b[j], c[j], d[j]), as: SIMD4<T>.self)
          to += step &* MemoryLayout<T>.stride
        }
        row += 4 &* a.step
      }
    }

    /// Copies them back.
    private func putStrip(_ to: UnsafeMutablePointer<T>, _ rows: Int, _ width: Int, _ step: Int) {
      var row = to
      for i in 0..<rows {
        var from = UnsafePointer(strip + i)
        for j in 0..<width {
          row[j] = from.pointee
          from += step
        }
        row += a.step
      }
    }

    /// Takes the finished columns before one off it: first the rows of U, four at a time, then what is below.
    @inline(__always)
    private func subtractColumns(
      before j: Int, _ column: UnsafeMutablePointer<T>, _ step: Int, _ rows: Int
    ) {
      for start in stride(from: 0, to: j, by: 4) {
        let end = min(start + 4, j)
        for k in start..<end {
          add(-column[k], times: strip + k * step + k + 1, to: column + k + 1, end - k - 1)
        }
        subtract(
          start..<end, { UnsafePointer(strip + $0 * step + end) }, times: { column[$0] },
          from: column + end, rows - end)
      }
    }
  }
}
