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

  /// Becomes the transpose of another matrix.
  func becomeTransposed(_ other: UnsafeMatrix) {
    for j in 0..<columns {
      let row = other[j]
      for i in 0..<rows { self[i, j] = row[i] }
    }
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

  /// Rows and columns of which each is worked on alone; more are halved.
  static let strip = 16

  /// The size of the first part of some rows or columns of which there are more than `strip`: a power of two, so
  /// that products come in whole strips.
  static func half(of count: Int) -> Int {
    1 << (Int.bitWidth - 1 - (count - 1).leadingZeroBitCount)
  }

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

  /// Takes multiples of rows off another, one after the other.
  ///
  /// Four at a time, so that the other row is read and written a quarter as often.
  @inline(__always)
  static func subtract<T: MatrixScalar>(
    _ rows: Range<Int>, _ row: (Int) -> UnsafePointer<T>, times factor: (Int) -> T,
    from y: UnsafeMutablePointer<T>, _ count: Int
  ) {
    var k = rows.lowerBound
    while k + 4 <= rows.upperBound {
      let (a, b, c, d) = (factor(k), factor(k + 1), factor(k + 2), factor(k + 3))
      let (x, u, v, w) = (row(k), row(k + 1), row(k + 2), row(k + 3))
      // Lanes are spelt out: to find out that rows lie apart takes as long as a short one.
      var i = 0
      while i + 4 <= count {
        let less = lanes(y, i) - lanes(x, i) * a - lanes(u, i) * b
        UnsafeMutableRawPointer(y + i).storeBytes(
          of: less - lanes(v, i) * c - lanes(w, i) * d, as: SIMD4<T>.self)
        i += 4
      }
      while i < count {
        y[i] = y[i] - x[i] * a - u[i] * b - v[i] * c - w[i] * d
        i += 1
      }
      k += 4
    }
    while k < rows.upperBound {
      add(-factor(k), times: row(k), to: y, count)
      k += 1
    }
  }

  @inline(__always)
  private static func lanes<T: MatrixScalar>(_ x: UnsafePointer<T>, _ i: Int) -> SIMD4<T> {
    UnsafeRawPointer(x + i).loadUnaligned(as: SIMD4<T>.self)
  }

  /// c = a b, or c + a b; `a` may be given with any distances between its rows and columns.
  ///
  /// It rounds twice, as everything else here does, which gives the same bits on every machine.
  static func multiply<T: MatrixScalar>(
    _ a: UnsafePointer<T>, row: Int, column: Int, _ b: UnsafeMatrix<T>, into c: UnsafeMatrix<T>,
    adding: Bool
  ) {
    var segment = MatmulSegment(
      a: a, b: b.base, k: b.rows, aRow: row, aColumn: column, bRow: b.step)
    Matmul.run(
      type: T.scalarType, m: c.rows, n: c.columns, segments: &segment, segmentCount: 1,
      c: c.base, cRow: c.step, accumulate: adding, fused: false)
  }

  /// Elements that `subtract` packs, for products over at most `depth` rows of B.
  static func packedCount(depth: Int) -> Int {
    min(depth, Summation.blockDepth) * MatrixProducts.widths[0]
  }

  /// c - a b, strip by strip of B, which is packed with its sign turned.
  ///
  /// Without `products` it rounds twice, as everything else here does, which gives the same bits on every machine.
  ///
  /// - Parameter packed: Memory for `packedCount` elements.
  static func subtract<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, times b: UnsafeMatrix<T>, from c: UnsafeMatrix<T>,
    _ packed: UnsafeMutablePointer<T>, _ products: MatrixProducts?
  ) {
    for start in stride(from: 0, to: b.rows, by: Summation.blockDepth) {
      let depth = min(b.rows - start, Summation.blockDepth)
      var column = 0
      while column < c.columns {
        let strip = products?.strip(atMost: c.columns - column)
        let width = strip?.columns ?? min(c.columns - column, MatrixProducts.widths[0])
        for k in 0..<depth {
          let (from, to) = (b[start + k] + column, packed + k * width)
          for j in 0..<width { to[j] = -from[j] }
        }
        let target = c.part(0..<c.rows, column..<(column + width))
        let left = a.part(0..<a.rows, start..<(start + depth))
        if let strip {
          strip.add(left, times: packed, to: target)
        } else {
          var segment = MatmulSegment(
            a: left.base, b: packed, k: depth, aRow: a.step, aColumn: 1, bRow: width)
          Matmul.run(
            type: T.scalarType, m: c.rows, n: width, segments: &segment, segmentCount: 1,
            c: target.base, cRow: c.step, accumulate: true, fused: products != nil)
        }
        column += width
      }
    }
  }
}

extension MatrixProducts {
  /// The code for as many of some columns as there is any for.
  fileprivate func strip(atMost columns: Int) -> Strip? {
    strips.first {
      Self.widths.contains($0.columns) ? $0.columns <= columns : $0.columns == columns
    }
  }
}

extension MatrixProducts.Strip {
  /// c + a b, for a B whose rows follow each other.
  fileprivate func add<T: MatrixScalar>(
    _ a: UnsafeMatrix<T>, times b: UnsafePointer<T>, to c: UnsafeMatrix<T>
  ) {
    let size = MemoryLayout<T>.stride
    var row = 0
    while row < c.rows {
      let piece = NativeProduct.Part.largestPiece(of: c.rows - row)
      var arguments = ProductArguments(
        rows: piece, depth: a.columns, aRow: a.step * size, aColumn: size, bRow: columns * size,
        cRow: c.step * size, bStrip: step * size, accumulates: true)
      function(&arguments, b, c[row], a[row])
      row += piece
    }
  }
}
