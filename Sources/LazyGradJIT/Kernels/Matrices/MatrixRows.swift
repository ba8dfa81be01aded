// What routines on matrices are made of: matrices by rows, sums over rows, and products that are taken off.
// Uses the products of `Matmul`.

/// The types of matrices that routines work on.
protocol MatrixScalar: BinaryFloatingPoint, SIMDScalar, Codable {
  static var scalarType: ScalarType { get }
}
extension Float: MatrixScalar { static var scalarType: ScalarType { .float32 } }
extension Double: MatrixScalar { static var scalarType: ScalarType { .float64 } }

/// A matrix in memory, row after row.
struct UnsafeMatrix<T: MatrixScalar> {
  let base: UnsafeMutablePointer<T>
  let rows: Int
  let columns: Int
  /// Elements from one row to the next.
  let step: Int

  init(_ base: UnsafeMutablePointer<T>, rows: Int, columns: Int, step: Int? = nil) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.step = step ?? columns
  }

  /// A row.
  @inline(__always)
  subscript(row: Int) -> UnsafeMutablePointer<T> { base + row * step }

  @inline(__always)
  subscript(row: Int, column: Int) -> T {
    get { base[row * step + column] }
    nonmutating set { base[row * step + column] = newValue }
  }

  /// The rows and columns from these on, or these only.
  func part(_ rows: Range<Int>, _ columns: Range<Int>) -> UnsafeMatrix {
    UnsafeMatrix(
      base + rows.lowerBound * step + columns.lowerBound, rows: rows.count,
      columns: columns.count, step: step)
  }

  func fill(_ value: T) {
    for i in 0..<rows { self[i].update(repeating: value, count: columns) }
  }

  /// Ones on the diagonal, zeros elsewhere.
  func becomeIdentity() {
    fill(0)
    for i in 0..<min(rows, columns) { self[i, i] = 1 }
  }

  func assign(_ other: UnsafePointer<T>) {
    for i in 0..<rows { self[i].update(from: other + i * columns, count: columns) }
  }

  /// Whether no element is infinite or not a number.
  var isFinite: Bool {
    for i in 0..<rows {
      for j in 0..<columns where !self[i, j].isFinite { return false }
    }
    return true
  }

  /// Divides by the power of two that brings the largest element to about 1, so that squares neither
  /// overflow nor vanish.
  ///
  /// - Returns: The number that it was divided by.
  func scale() -> T {
    var largest: T = 0
    for i in 0..<rows {
      for j in 0..<columns { largest = max(largest, abs(self[i, j])) }
    }
    if largest == 0 || !largest.isFinite { return 1 }
    let factor = largest.binade
    for i in 0..<rows {
      for j in 0..<columns { self[i, j] /= factor }
    }
    return factor
  }
}

/// The namespace of what is done with rows.
enum MatrixRows {
  /// Rows and columns that are worked on before the rest of the matrix is.
  static let block = 32

  /// The sum of products, in eight lanes.
  @inline(__always)
  static func dot<T: MatrixScalar>(
    _ x: UnsafePointer<T>, _ y: UnsafePointer<T>, _ count: Int
  ) -> T {
    var (first, second) = (SIMD4<T>.zero, SIMD4<T>.zero)
    var i = 0
    while i + 8 <= count {
      first += SIMD4(x[i], x[i + 1], x[i + 2], x[i + 3]) * SIMD4(y[i], y[i + 1], y[i + 2], y[i + 3])
      second +=
        SIMD4(x[i + 4], x[i + 5], x[i + 6], x[i + 7])
        * SIMD4(y[i + 4], y[i + 5], y[i + 6], y[i + 7])
      i += 8
    }
    let lanes = first + second
    var sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    while i < count {
      sum += x[i] * y[i]
      i += 1
    }
    return sum
  }

  /// Adds a multiple of a row to another.
  @inline(__always)
  static func add<T: MatrixScalar>(
    _ factor: T, times x: UnsafePointer<T>, to y: UnsafeMutablePointer<T>, _ count: Int
  ) {
    for i in 0..<count { y[i] += factor * x[i] }
  }

  /// Turns two rows: the first becomes c x + s y, the second c y - s x.
  @inline(__always)
  static func rotate<T: MatrixScalar>(
    _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>, _ c: T, _ s: T, _ count: Int
  ) {
    for i in 0..<count {
      let (a, b) = (x[i], y[i])
      x[i] = c * a + s * b
      y[i] = c * b - s * a
    }
  }

  /// c = a b, or c + a b; `a` may be given with any distances between its rows and columns.
  ///
  /// Without `products` it rounds twice, as everything else here does, which gives the same bits on every machine.
  ///
  /// - Parameter products: For an `a` whose rows are runs.
  static func multiply<T: MatrixScalar>(
    _ a: UnsafePointer<T>, row: Int, column: Int, _ b: UnsafeMatrix<T>, into c: UnsafeMatrix<T>,
    adding: Bool, _ products: MatrixProducts? = nil
  ) {
    let done = products?.multiply(a, row: row, b, into: c, adding: adding) ?? 0
    if done == c.columns { return }
    var segment = MatmulSegment(
      a: a, b: b.base + done, k: b.rows, aRow: row, aColumn: column, bRow: b.step)
    Matmul.run(
      type: T.scalarType, m: c.rows, n: c.columns - done, segments: &segment, segmentCount: 1,
      c: c.base + done, cRow: c.step, accumulate: adding, fused: products != nil)
  }
}

extension MatrixProducts {
  /// c = a b, or c + a b, for as many columns from the first on as there is machine code for: their number is
  /// returned.
  fileprivate func multiply<T: MatrixScalar>(
    _ a: UnsafePointer<T>, row: Int, _ b: UnsafeMatrix<T>, into c: UnsafeMatrix<T>, adding: Bool
  ) -> Int {
    let size = MemoryLayout<T>.stride
    var first = 0
    for strip in strips {
      let comesOften = Self.widths.contains(strip.columns)
      while comesOften ? strip.columns <= c.columns - first : strip.columns == c.columns - first {
        multiply(
          strip, a, row: row * size, b.base + first, bRow: b.step * size, b.rows,
          c.base + first, cRow: c.step * size, c.rows, adding)
        first += strip.columns
      }
    }
    return first
  }

  /// Distances are in bytes.
  private func multiply<T: MatrixScalar>(
    _ strip: Strip, _ a: UnsafePointer<T>, row: Int, _ b: UnsafePointer<T>, bRow: Int, _ depth: Int,
    _ c: UnsafeMutablePointer<T>, cRow: Int, _ rows: Int, _ adding: Bool
  ) {
    let size = MemoryLayout<T>.stride
    var done = 0
    while done < rows {
      let piece = NativeProduct.Part.largestPiece(of: rows - done)
      var arguments = ProductArguments(
        rows: piece, depth: 0, aRow: row, aColumn: size, bRow: bRow, cRow: cRow,
        bStrip: strip.step * size, accumulates: adding)
      for start in stride(from: 0, to: depth, by: Summation.blockDepth) {
        arguments.depth = min(depth - start, Summation.blockDepth)
        strip.function(
          &arguments, UnsafeRawPointer(b) + start * bRow, UnsafeMutableRawPointer(c) + done * cRow,
          UnsafeRawPointer(a + start) + done * row)
        arguments.accumulates = 1
      }
      done += piece
    }
  }
}
