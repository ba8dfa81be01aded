// Matrix products in portable Swift: sums of `A @ B` over segments. Cuts C into the tiles of
// `MatmulTiles` and, for large operands, the summed axis into blocks that fit the caches.

extension Matmul {
  private static let blockDepth = Summation.blockDepth
  /// Rows of `A` that go over one packed strip of `B` before the next strip is packed.
  private static let blockRows = 512

  /// `C = (accumulate ? C : 0) + sum of A_s @ B_s`, where `C` is `m` x `n` with rows `cRow`
  /// elements apart and contiguous columns.
  ///
  /// The summed axis of every segment is cut into blocks of `Summation.blockDepth`. The sum over a block is
  /// one chain of multiplications and additions that begins with zero; the blocks' sums are added in the order
  /// of segments and blocks. So a segment that is no longer than a block counts as if its product had been
  /// computed alone and then added, and however the caller cuts `m` and `n`, the bits are the same. Integers wrap; for bool it is "or" of "and". Rows of `B` may
  /// be read up to 32 bytes past `n`; nothing but the `m` x `n` elements of `C` is read or written.
  ///
  /// - Parameter fused: Whether a multiplication and the addition behind it round once: as in machine code, whose
  ///   bits these are then.
  package static func run(
    type: ScalarType, m: Int, n: Int, segments: UnsafePointer<MatmulSegment>, segmentCount: Int,
    c: UnsafeMutableRawPointer, cRow: Int, accumulate: Bool,
    fused: Bool = PortableArithmetic.isFused
  ) {
    if m <= 0 || n <= 0 { return }
    @inline(__always)
    func floats<V: MatmulLanes>(_: V.Type) {
      let tiles = MatmulTiles<V>(
        segments: segments, segmentCount: segmentCount,
        c: c.assumingMemoryBound(to: V.Scalar.self), cRow: cRow, accumulate: accumulate)
      product(tiles, m: m, n: n)
    }
    let isForeign = fused != PortableArithmetic.isFused
    switch type {
    case .float32:
      if isForeign { floats(ForeignLanes<SIMD4<Float>>.self) } else { floats(SIMD4<Float>.self) }
    case .float64:
      if isForeign { floats(ForeignLanes<SIMD2<Double>>.self) } else { floats(SIMD2<Double>.self) }
    case .int64:
      integers(Int64.self, m, n, segments, segmentCount, c, cRow, accumulate)
    case .int32:
      integers(Int32.self, m, n, segments, segmentCount, c, cRow, accumulate)
    case .uint8:
      integers(UInt8.self, m, n, segments, segmentCount, c, cRow, accumulate)
    case .bool:
      bools(m, n, segments, segmentCount, c, cRow, accumulate)
    case .float16, .bfloat16: type.isNotComputed("matmul")
    }
  }

  private static func product<V: MatmulLanes>(_ tiles: MatmulTiles<V>, m: Int, n: Int) {
    if tiles.segmentCount == 0 {
      if !tiles.accumulate { clear(tiles, m: m, n: n) }
      return
    }
    var isLong = false
    for index in 0..<tiles.segmentCount {
      let segment = tiles.segments[index]
      if m >= 16, n >= 4 * V.width, spans(segment, V.self) >= 32768 {
        blockedProduct(tiles, m: m, n: n)
        return
      }
      if segment.k > blockDepth { isLong = true }
    }
    if isLong { blockByBlock(tiles, m: m, n: n) } else { blocks(tiles, m: m, n: n) }
  }

  /// Segments that are no longer than a block.
  @inline(__always)
  private static func blocks<V: MatmulLanes>(_ tiles: MatmulTiles<V>, m: Int, n: Int) {
    if n == 1, columnAsRow(tiles, m: m) { return }
    columns(tiles, m: m, from: 0, to: n)
  }

  private static func clear<V: MatmulLanes>(_ tiles: MatmulTiles<V>, m: Int, n: Int) {
    for row in 0..<m { (tiles.c + row * tiles.cRow).update(repeating: 0, count: n) }
  }

  /// The bytes from the first to the last row of `B`; 0 if there are few rows.
  ///
  /// With many rows of `A`, strips of `B` don't stay in the first-level cache even if they'd fit: rows far
  /// apart share few of its sets.
  @inline(__always)
  private static func spans<V: MatmulLanes>(_ segment: MatmulSegment, _: V.Type) -> Int {
    segment.k >= 32 ? segment.k * segment.bRow * MemoryLayout<V.Scalar>.size : 0
  }

  /// Long segments, without packing: a small `B`, or too few rows of `A` to pay for it.
  private static func blockByBlock<V: MatmulLanes>(_ tiles: MatmulTiles<V>, m: Int, n: Int) {
    var accumulate = tiles.accumulate
    for index in 0..<tiles.segmentCount {
      let segment = tiles.segments[index]
      let a = segment.a.assumingMemoryBound(to: V.Scalar.self)
      let b = segment.b.assumingMemoryBound(to: V.Scalar.self)
      for first in stride(from: 0, to: max(segment.k, 1), by: blockDepth) {
        let part = MatmulSegment(
          a: a + first * segment.aColumn, b: b + first * segment.bRow,
          k: min(segment.k - first, blockDepth), aRow: segment.aRow, aColumn: segment.aColumn,
          bRow: segment.bRow)
        withUnsafePointer(to: part) { part in
          let block = MatmulTiles<V>(
            segments: part, segmentCount: 1, c: tiles.c, cRow: tiles.cRow, accumulate: accumulate)
          blocks(block, m: m, n: n)
        }
        accumulate = true
      }
    }
  }

  /// The columns `from..<to` of all rows, strip by strip: a strip of `B` is read once per pair of
  /// rows and stays in the first-level cache meanwhile.
  @inline(__always)
  private static func columns<V: MatmulLanes>(
    _ tiles: MatmulTiles<V>, m: Int, from: Int, to: Int
  ) {
    let width = V.width
    let strip = 4 * width
    var column = from
    if m == 1 {
      while to - column >= 2 * strip {
        tiles.tile1x8(row: 0, column: column)
        column += 2 * strip
      }
    }
    while to - column >= strip {
      var row = 0
      while m - row >= 2 {
        tiles.tile2x4(row: row, column: column)
        row += 2
      }
      if row < m { tiles.tile1x4(row: row, column: column, full: 3, lanes: width) }
      column += strip
    }
    if m == 1, to - column > width {
      let full = (to - column - 1) / width
      tiles.tile1x4(row: 0, column: column, full: full, lanes: to - column - full * width)
      return
    }
    while to - column > width {
      let lanes = min(to - column - width, width)
      var row = 0
      while row < m {
        tiles.tile4x2(row: row, rows: min(m - row, 4), column: column, lanes: lanes)
        row += 4
      }
      column += 2 * width
    }
    if column < to {
      var row = 0
      if to - column == 1 {
        while m - row >= strip {
          tiles.columnOf4(row: row, column: column)
          row += strip
        }
        while m - row >= width {
          tiles.columnOf1(row: row, column: column)
          row += width
        }
      }
      while row < m {
        tiles.tile4x1(row: row, rows: min(m - row, 4), column: column, lanes: to - column)
        row += 4
      }
    }
  }

  /// A product with one column whose `A` has contiguous columns, as the transposed product with one
  /// row: the lanes then run along the rows of `A`. Products commute bit by bit.
  ///
  /// - Returns: false if the operands don't lie like that; nothing has been computed then.
  private static func columnAsRow<V: MatmulLanes>(_ tiles: MatmulTiles<V>, m: Int) -> Bool {
    if m < V.width || tiles.cRow != 1 { return false }
    for index in 0..<tiles.segmentCount where tiles.segments[index].aRow != 1 { return false }
    return withUnsafeTemporaryAllocation(of: MatmulSegment.self, capacity: 8) { swapped in
      guard let base = swapped.baseAddress else { return false }
      var accumulate = tiles.accumulate
      var done = 0
      repeat {
        let count = min(tiles.segmentCount - done, 8)
        for index in 0..<count {
          let segment = tiles.segments[done + index]
          (base + index).initialize(
            to: MatmulSegment(
              a: segment.b, b: segment.a, k: segment.k, aRow: 0, aColumn: segment.bRow,
              bRow: segment.aColumn))
        }
        let transposed = MatmulTiles<V>(
          segments: base, segmentCount: count, c: tiles.c, cRow: m, accumulate: accumulate)
        columns(transposed, m: 1, from: 0, to: m)
        accumulate = true
        done += count
      } while done < tiles.segmentCount
      return true
    }
  }

  /// Blocks of the summed axis, strips of `B` packed one after the other into 16 KiB.
  ///
  /// `A` is read where it is: two elements per 16 or 8 columns are few.
  private static func blockedProduct<V: MatmulLanes>(_ tiles: MatmulTiles<V>, m: Int, n: Int) {
    let strip = 4 * V.width
    let whole = n - n % strip
    let rowBytes = strip * MemoryLayout<V.Scalar>.size
    withUnsafeTemporaryAllocation(byteCount: blockDepth * rowBytes, alignment: 64) { scratch in
      guard let packed = scratch.baseAddress else { return }
      for firstRow in stride(from: 0, to: m, by: blockRows) {
        let rows = min(m - firstRow, blockRows)
        var accumulate = tiles.accumulate
        for index in 0..<tiles.segmentCount {
          let segment = tiles.segments[index]
          let a = segment.a.assumingMemoryBound(to: V.Scalar.self) + firstRow * segment.aRow
          let b = segment.b.assumingMemoryBound(to: V.Scalar.self)
          for first in stride(from: 0, to: max(segment.k, 1), by: blockDepth) {
            let depth = min(segment.k - first, blockDepth)
            var part = MatmulSegment(
              a: a + first * segment.aColumn, b: packed, k: depth, aRow: segment.aRow,
              aColumn: segment.aColumn, bRow: strip)
            let rest = b + first * segment.bRow
            let c = tiles.c + firstRow * tiles.cRow
            for column in stride(from: 0, to: whole, by: strip) {
              for row in 0..<depth {
                let from = rest + row * segment.bRow + column
                copyStrip(V.self, from: from, to: packed + row * rowBytes)
              }
              withUnsafePointer(to: part) { part in
                let block = MatmulTiles<V>(
                  segments: part, segmentCount: 1, c: c + column, cRow: tiles.cRow,
                  accumulate: accumulate)
                columns(block, m: rows, from: 0, to: strip)
              }
            }
            if whole < n {
              part.b = UnsafeRawPointer(rest)
              part.bRow = segment.bRow
              withUnsafePointer(to: part) { part in
                let block = MatmulTiles<V>(
                  segments: part, segmentCount: 1, c: c, cRow: tiles.cRow, accumulate: accumulate)
                columns(block, m: rows, from: whole, to: n)
              }
            }
            accumulate = true
          }
        }
      }
    }
  }

  @inline(__always)
  private static func copyStrip<V: MatmulLanes>(
    _: V.Type, from p: UnsafePointer<V.Scalar>, to q: UnsafeMutableRawPointer
  ) {
    let source = UnsafeRawPointer(p)
    let size = MemoryLayout<V>.size
    let v0 = source.loadUnaligned(as: V.self)
    let v1 = source.loadUnaligned(fromByteOffset: size, as: V.self)
    let v2 = source.loadUnaligned(fromByteOffset: 2 * size, as: V.self)
    let v3 = source.loadUnaligned(fromByteOffset: 3 * size, as: V.self)
    q.storeBytes(of: v0, as: V.self)
    q.storeBytes(of: v1, toByteOffset: size, as: V.self)
    q.storeBytes(of: v2, toByteOffset: 2 * size, as: V.self)
    q.storeBytes(of: v3, toByteOffset: 3 * size, as: V.self)
  }

  /// Row of `C` by row of `C`, adding multiples of rows of `B`: a loop that the compiler turns into
  /// lanes. Integer products aren't worth more code than that.
  @inline(__always)
  private static func rows<T>(
    _: T.Type, _ m: Int, _ n: Int, _ segments: UnsafePointer<MatmulSegment>, _ segmentCount: Int,
    _ c: UnsafeMutableRawPointer, _ cRow: Int, _ accumulate: Bool, zero: T,
    _ addProduct: (T, T, T) -> T
  ) {
    for i in 0..<m {
      let row = c.assumingMemoryBound(to: T.self) + i * cRow
      if !accumulate { row.update(repeating: zero, count: n) }
      for index in 0..<segmentCount {
        let segment = segments[index]
        for k in 0..<segment.k {
          let a = segment.a.assumingMemoryBound(to: T.self)[i * segment.aRow + k * segment.aColumn]
          let b = segment.b.assumingMemoryBound(to: T.self) + k * segment.bRow
          for j in 0..<n { row[j] = addProduct(row[j], a, b[j]) }
        }
      }
    }
  }

  private static func integers<T: FixedWidthInteger>(
    _: T.Type, _ m: Int, _ n: Int, _ segments: UnsafePointer<MatmulSegment>, _ segmentCount: Int,
    _ c: UnsafeMutableRawPointer, _ cRow: Int, _ accumulate: Bool
  ) {
    rows(T.self, m, n, segments, segmentCount, c, cRow, accumulate, zero: 0) { $0 &+ $1 &* $2 }
  }

  /// Bools are bytes of 0 and 1, so "and" and "or" of bytes are theirs.
  private static func bools(
    _ m: Int, _ n: Int, _ segments: UnsafePointer<MatmulSegment>, _ segmentCount: Int,
    _ c: UnsafeMutableRawPointer, _ cRow: Int, _ accumulate: Bool
  ) {
    rows(UInt8.self, m, n, segments, segmentCount, c, cRow, accumulate, zero: 0) { $0 | ($1 & $2) }
  }
}
