// The innermost loops of matrix products: tiles of C that stay in registers over the whole summed
// axis of a segment. Generic over the lanes; uses `MatmulLanes` and `MatmulSegment`.

/// Tiles of `C`, named by rows x registers.
///
/// An x86-64 processor without AVX has 16 registers of 16 bytes. 2 x 4 keeps eight sums, two
/// broadcast elements of `A` and up to four registers of `B` and products in them; it needs the
/// fewest broadcasts (one shuffle each) per product of the shapes that fit. The narrow shapes are
/// for the last columns, the single rows for products of few rows.
///
/// In all of them an element is summed in the same order, the one that `Matmul.run` states. Which
/// tile computes an element is therefore invisible in the result. What has been summed before a
/// segment waits in `C`: there are no registers for both.
struct MatmulTiles<V: MatmulLanes> {
  typealias Element = V.Scalar

  let segments: UnsafePointer<MatmulSegment>
  let segmentCount: Int
  let c: UnsafeMutablePointer<Element>
  let cRow: Int
  let accumulate: Bool

  @inline(__always)
  private func pointer(_ p: UnsafeRawPointer) -> UnsafePointer<Element> {
    p.assumingMemoryBound(to: Element.self)
  }

  @inline(__always)
  private func vector(_ p: UnsafePointer<Element>, _ index: Int) -> V {
    UnsafeRawPointer(p + index * V.width).loadUnaligned(as: V.self)
  }

  @inline(__always)
  private func current(_ p: UnsafeMutablePointer<Element>, _ index: Int) -> V {
    vector(UnsafePointer(p), index)
  }

  @inline(__always)
  private func current(_ p: UnsafeMutablePointer<Element>, first lanes: Int) -> V {
    V.load(first: lanes, from: UnsafePointer(p))
  }

  @inline(__always)
  private func store(_ v: V, _ p: UnsafeMutablePointer<Element>, _ index: Int) {
    UnsafeMutableRawPointer(p + index * V.width).storeBytes(of: v, as: V.self)
  }

  /// Rows `row` and `row + 1`, four full registers of columns from `column`.
  @inline(__always)
  func tile2x4(row: Int, column: Int) {
    let c0 = c + row * cRow + column
    let c1 = c0 + cRow
    for index in 0..<segmentCount {
      let segment = segments + index
      var s00 = V(repeating: 0)
      var s01 = V(repeating: 0)
      var s02 = V(repeating: 0)
      var s03 = V(repeating: 0)
      var s10 = V(repeating: 0)
      var s11 = V(repeating: 0)
      var s12 = V(repeating: 0)
      var s13 = V(repeating: 0)
      let aRow = segment.pointee.aRow
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      var a = pointer(segment.pointee.a) + row * aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      while left > 0 {
        let a0 = V(repeating: a[0])
        let a1 = V(repeating: a[aRow])
        let b0 = vector(b, 0)
        s00 = s00.adding(a0, times: b0)
        s10 = s10.adding(a1, times: b0)
        let b1 = vector(b, 1)
        s01 = s01.adding(a0, times: b1)
        s11 = s11.adding(a1, times: b1)
        let b2 = vector(b, 2)
        s02 = s02.adding(a0, times: b2)
        s12 = s12.adding(a1, times: b2)
        let b3 = vector(b, 3)
        s03 = s03.adding(a0, times: b3)
        s13 = s13.adding(a1, times: b3)
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s00 = current(c0, 0).adding(s00)
        s01 = current(c0, 1).adding(s01)
        s02 = current(c0, 2).adding(s02)
        s03 = current(c0, 3).adding(s03)
        s10 = current(c1, 0).adding(s10)
        s11 = current(c1, 1).adding(s11)
        s12 = current(c1, 2).adding(s12)
        s13 = current(c1, 3).adding(s13)
      }
      store(s00, c0, 0)
      store(s01, c0, 1)
      store(s02, c0, 2)
      store(s03, c0, 3)
      store(s10, c1, 0)
      store(s11, c1, 1)
      store(s12, c1, 2)
      store(s13, c1, 3)
    }
  }

  /// One row, eight full registers of columns.
  @inline(__always)
  func tile1x8(row: Int, column: Int) {
    let c0 = c + row * cRow + column
    for index in 0..<segmentCount {
      let segment = segments + index
      var s0 = V(repeating: 0)
      var s1 = V(repeating: 0)
      var s2 = V(repeating: 0)
      var s3 = V(repeating: 0)
      var s4 = V(repeating: 0)
      var s5 = V(repeating: 0)
      var s6 = V(repeating: 0)
      var s7 = V(repeating: 0)
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      var a = pointer(segment.pointee.a) + row * segment.pointee.aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      while left > 0 {
        let a0 = V(repeating: a[0])
        s0 = s0.adding(a0, times: vector(b, 0))
        s1 = s1.adding(a0, times: vector(b, 1))
        s2 = s2.adding(a0, times: vector(b, 2))
        s3 = s3.adding(a0, times: vector(b, 3))
        s4 = s4.adding(a0, times: vector(b, 4))
        s5 = s5.adding(a0, times: vector(b, 5))
        s6 = s6.adding(a0, times: vector(b, 6))
        s7 = s7.adding(a0, times: vector(b, 7))
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s0 = current(c0, 0).adding(s0)
        s1 = current(c0, 1).adding(s1)
        s2 = current(c0, 2).adding(s2)
        s3 = current(c0, 3).adding(s3)
        s4 = current(c0, 4).adding(s4)
        s5 = current(c0, 5).adding(s5)
        s6 = current(c0, 6).adding(s6)
        s7 = current(c0, 7).adding(s7)
      }
      store(s0, c0, 0)
      store(s1, c0, 1)
      store(s2, c0, 2)
      store(s3, c0, 3)
      store(s4, c0, 4)
      store(s5, c0, 5)
      store(s6, c0, 6)
      store(s7, c0, 7)
    }
  }

  /// One row, four registers of columns: `full` whole ones (at most three) and `lanes` of the next.
  ///
  /// Whole registers that aren't there repeat the first one and aren't stored: a chain of additions
  /// waits for itself, so the work of its absent neighbours is free. A strip of four whole registers
  /// has `full` 3 and `lanes` `width`.
  @inline(__always)
  func tile1x4(row: Int, column: Int, full: Int, lanes: Int) {
    let width = V.width
    let o1 = full > 1 ? width : 0
    let o2 = full > 2 ? 2 * width : 0
    let o3 = full * width
    let mask = V.mask(first: lanes)
    let c0 = c + row * cRow + column
    for index in 0..<segmentCount {
      let segment = segments + index
      var s0 = V(repeating: 0)
      var s1 = V(repeating: 0)
      var s2 = V(repeating: 0)
      var s3 = V(repeating: 0)
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      var a = pointer(segment.pointee.a) + row * segment.pointee.aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      while left > 0 {
        let a0 = V(repeating: a[0])
        s0 = s0.adding(a0, times: vector(b, 0))
        s1 = s1.adding(a0, times: vector(b + o1, 0))
        s2 = s2.adding(a0, times: vector(b + o2, 0))
        let b3 = vector(b + o3, 0)
        s3 = s3.adding(a0, times: lanes < width ? b3.masked(mask) : b3)
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s0 = current(c0, 0).adding(s0)
        s1 = current(c0 + o1, 0).adding(s1)
        s2 = current(c0 + o2, 0).adding(s2)
        s3 = current(c0 + o3, first: lanes).adding(s3)
      }
      store(s0, c0, 0)
      if full > 1 { store(s1, c0 + o1, 0) }
      if full > 2 { store(s2, c0 + o2, 0) }
      s3.store(first: lanes, to: c0 + o3)
    }
  }

  /// Up to four rows, one full register of columns and `lanes` of the next one.
  ///
  /// Rows that aren't there repeat the last one and aren't stored. Lanes that aren't there are
  /// zeros: they could hold anything without harm to the others, but a subnormal number that
  /// happens to lie behind `B` would make every product with it many times slower.
  @inline(__always)
  func tile4x2(row: Int, rows: Int, column: Int, lanes: Int) {
    let c0 = c + row * cRow + column
    let c1 = rows > 1 ? c0 + cRow : c0
    let c2 = rows > 2 ? c1 + cRow : c1
    let c3 = rows > 3 ? c2 + cRow : c2
    let last = V.width
    let mask = V.mask(first: lanes)
    for index in 0..<segmentCount {
      let segment = segments + index
      var s00 = V(repeating: 0)
      var s01 = V(repeating: 0)
      var s10 = V(repeating: 0)
      var s11 = V(repeating: 0)
      var s20 = V(repeating: 0)
      var s21 = V(repeating: 0)
      var s30 = V(repeating: 0)
      var s31 = V(repeating: 0)
      let aRow = segment.pointee.aRow
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      let a1 = rows > 1 ? aRow : 0
      let a2 = rows > 2 ? a1 + aRow : a1
      let a3 = rows > 3 ? a2 + aRow : a2
      var a = pointer(segment.pointee.a) + row * aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      while left > 0 {
        let b0 = vector(b, 0)
        let b1 = vector(b, 1).masked(mask)
        let x0 = V(repeating: a[0])
        s00 = s00.adding(x0, times: b0)
        s01 = s01.adding(x0, times: b1)
        let x1 = V(repeating: a[a1])
        s10 = s10.adding(x1, times: b0)
        s11 = s11.adding(x1, times: b1)
        let x2 = V(repeating: a[a2])
        s20 = s20.adding(x2, times: b0)
        s21 = s21.adding(x2, times: b1)
        let x3 = V(repeating: a[a3])
        s30 = s30.adding(x3, times: b0)
        s31 = s31.adding(x3, times: b1)
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s00 = current(c0, 0).adding(s00)
        s01 = current(c0 + last, first: lanes).adding(s01)
        s10 = current(c1, 0).adding(s10)
        s11 = current(c1 + last, first: lanes).adding(s11)
        s20 = current(c2, 0).adding(s20)
        s21 = current(c2 + last, first: lanes).adding(s21)
        s30 = current(c3, 0).adding(s30)
        s31 = current(c3 + last, first: lanes).adding(s31)
      }
      store(s00, c0, 0)
      s01.store(first: lanes, to: c0 + last)
      if rows > 1 {
        store(s10, c1, 0)
        s11.store(first: lanes, to: c1 + last)
      }
      if rows > 2 {
        store(s20, c2, 0)
        s21.store(first: lanes, to: c2 + last)
      }
      if rows > 3 {
        store(s30, c3, 0)
        s31.store(first: lanes, to: c3 + last)
      }
    }
  }

  /// Up to four rows, `lanes` of one register of columns; see `tile4x2` for absent rows and lanes.
  @inline(__always)
  func tile4x1(row: Int, rows: Int, column: Int, lanes: Int) {
    let c0 = c + row * cRow + column
    let c1 = rows > 1 ? c0 + cRow : c0
    let c2 = rows > 2 ? c1 + cRow : c1
    let c3 = rows > 3 ? c2 + cRow : c2
    let mask = V.mask(first: lanes)
    for index in 0..<segmentCount {
      let segment = segments + index
      var s0 = V(repeating: 0)
      var s1 = V(repeating: 0)
      var s2 = V(repeating: 0)
      var s3 = V(repeating: 0)
      let aRow = segment.pointee.aRow
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      let a1 = rows > 1 ? aRow : 0
      let a2 = rows > 2 ? a1 + aRow : a1
      let a3 = rows > 3 ? a2 + aRow : a2
      var a = pointer(segment.pointee.a) + row * aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      while left > 0 {
        let b0 = vector(b, 0).masked(mask)
        s0 = s0.adding(V(repeating: a[0]), times: b0)
        s1 = s1.adding(V(repeating: a[a1]), times: b0)
        s2 = s2.adding(V(repeating: a[a2]), times: b0)
        s3 = s3.adding(V(repeating: a[a3]), times: b0)
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s0 = current(c0, first: lanes).adding(s0)
        s1 = current(c1, first: lanes).adding(s1)
        s2 = current(c2, first: lanes).adding(s2)
        s3 = current(c3, first: lanes).adding(s3)
      }
      s0.store(first: lanes, to: c0)
      if rows > 1 { s1.store(first: lanes, to: c1) }
      if rows > 2 { s2.store(first: lanes, to: c2) }
      if rows > 3 { s3.store(first: lanes, to: c3) }
    }
  }

  /// One column, four registers of rows.
  @inline(__always)
  func columnOf4(row: Int, column: Int) {
    let c0 = c + row * cRow + column
    let group = V.width * cRow
    for index in 0..<segmentCount {
      let segment = segments + index
      var s0 = V(repeating: 0)
      var s1 = V(repeating: 0)
      var s2 = V(repeating: 0)
      var s3 = V(repeating: 0)
      let aRow = segment.pointee.aRow
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      let next = V.width * aRow
      var a = pointer(segment.pointee.a) + row * aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      if aColumn == 1 {
        while left >= V.width {
          s0 = s0.adding(rows: a, aRow, times: b, bRow)
          s1 = s1.adding(rows: a + next, aRow, times: b, bRow)
          s2 = s2.adding(rows: a + 2 * next, aRow, times: b, bRow)
          s3 = s3.adding(rows: a + 3 * next, aRow, times: b, bRow)
          a += V.width
          b += V.width * bRow
          left &-= V.width
        }
      }
      while left > 0 {
        let b0 = V(repeating: b[0])
        s0 = s0.adding(V.gather(a, aRow), times: b0)
        s1 = s1.adding(V.gather(a + next, aRow), times: b0)
        s2 = s2.adding(V.gather(a + 2 * next, aRow), times: b0)
        s3 = s3.adding(V.gather(a + 3 * next, aRow), times: b0)
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s0 = gathered(c0).adding(s0)
        s1 = gathered(c0 + group).adding(s1)
        s2 = gathered(c0 + 2 * group).adding(s2)
        s3 = gathered(c0 + 3 * group).adding(s3)
      }
      storeColumn(s0, c0)
      storeColumn(s1, c0 + group)
      storeColumn(s2, c0 + 2 * group)
      storeColumn(s3, c0 + 3 * group)
    }
  }

  /// One column, one register of rows.
  @inline(__always)
  func columnOf1(row: Int, column: Int) {
    let c0 = c + row * cRow + column
    for index in 0..<segmentCount {
      let segment = segments + index
      var s0 = V(repeating: 0)
      let aRow = segment.pointee.aRow
      let aColumn = segment.pointee.aColumn
      let bRow = segment.pointee.bRow
      var a = pointer(segment.pointee.a) + row * aRow
      var b = pointer(segment.pointee.b) + column
      var left = segment.pointee.k
      if aColumn == 1 {
        while left >= V.width {
          s0 = s0.adding(rows: a, aRow, times: b, bRow)
          a += V.width
          b += V.width * bRow
          left &-= V.width
        }
      }
      while left > 0 {
        s0 = s0.adding(V.gather(a, aRow), times: V(repeating: b[0]))
        a += aColumn
        b += bRow
        left &-= 1
      }
      if index > 0 || accumulate {
        s0 = gathered(c0).adding(s0)
      }
      storeColumn(s0, c0)
    }
  }

  @inline(__always)
  private func gathered(_ p: UnsafeMutablePointer<Element>) -> V {
    V.gather(UnsafePointer(p), cRow)
  }

  @inline(__always)
  private func storeColumn(_ v: V, _ p: UnsafeMutablePointer<Element>) {
    withUnsafeBytes(of: v) { lanes in
      guard let lanes = lanes.baseAddress?.assumingMemoryBound(to: Element.self) else { return }
      for i in 0..<V.width { p[i * cRow] = lanes[i] }
    }
  }
}
