// Writes contiguous elements to strided memory, and moves rows of tables by index. Uses the walk
// over layouts of `StridedCopy`.

extension Strided {
  /// Writes contiguous elements to the places of `layout`, in C order.
  ///
  /// `base` is the address of the element with all indices 0. Where places coincide, the last
  /// element in C order stays.
  package static func scatter(
    elementSize: Int, from src: UnsafeRawPointer, to base: UnsafeMutableRawPointer, layout: Layout
  ) {
    switch elementSize {
    case 1: scatter(UInt8.self, src, base, layout)
    case 4: scatter(UInt32.self, src, base, layout)
    default: scatter(UInt64.self, src, base, layout)
    }
  }

  private static func scatter<T: FixedWidthInteger>(
    _: T.Type, _ src: UnsafeRawPointer, _ base: UnsafeMutableRawPointer, _ layout: Layout
  ) {
    let source = src.assumingMemoryBound(to: T.self)
    let target = base.assumingMemoryBound(to: T.self)
    let walk = layout.walk
    let step = walk.step
    if step == 1 {
      layout.forEachRun(walk, start: 0, count: layout.count) { offset, n, at in
        copyRun(source + at, target + offset, n)
      }
    } else {
      layout.forEachRun(walk, start: 0, count: layout.count) { offset, n, at in
        var q = target + offset
        for i in 0..<n {
          q[0] = source[at + i]
          q += step
        }
      }
    }
  }

  /// Adds contiguous elements to the places of `layout`, in C order: integers wrap, bool is "or".
  ///
  /// Where places coincide, all their elements are added, one after the other.
  package static func scatterAdd(
    type: ScalarType, from src: UnsafeRawPointer, to base: UnsafeMutableRawPointer, layout: Layout
  ) {
    switch type {
    case .bool: combine(UInt8.self, src, base, layout) { $0 | $1 }
    case .uint8: combine(UInt8.self, src, base, layout) { $0 &+ $1 }
    case .int32: combine(Int32.self, src, base, layout) { $0 &+ $1 }
    case .int64: combine(Int64.self, src, base, layout) { $0 &+ $1 }
    case .float32: combine(Float.self, src, base, layout) { $0 + $1 }
    case .float64: combine(Double.self, src, base, layout) { $0 + $1 }
    }
  }

  @inline(__always)
  private static func combine<T>(
    _: T.Type, _ src: UnsafeRawPointer, _ base: UnsafeMutableRawPointer, _ layout: Layout,
    _ add: (T, T) -> T
  ) {
    let source = src.assumingMemoryBound(to: T.self)
    let target = base.assumingMemoryBound(to: T.self)
    let walk = layout.walk
    let step = walk.step
    switch step {
    case 1:
      layout.forEachRun(walk, start: 0, count: layout.count) { offset, n, at in
        combineRun(source + at, target + offset, n, add)
      }
    case 0:
      layout.forEachRun(walk, start: 0, count: layout.count) { offset, n, at in
        var value = target[offset]
        for i in 0..<n { value = add(value, source[at + i]) }
        target[offset] = value
      }
    default:
      layout.forEachRun(walk, start: 0, count: layout.count) { offset, n, at in
        var q = target + offset
        for i in 0..<n {
          q[0] = add(q[0], source[at + i])
          q += step
        }
      }
    }
  }

  @inline(__always)
  private static func combineRun<T>(
    _ source: UnsafePointer<T>, _ target: UnsafeMutablePointer<T>, _ n: Int, _ add: (T, T) -> T
  ) {
    for i in 0..<n { target[i] = add(target[i], source[i]) }
  }

  /// Whether all indices name a row, counted from the start or, negative, from the end.
  private static func areValid(
    _ indices: UnsafePointer<Int64>, _ count: Int, rowCount: Int
  ) -> Bool {
    let rows = Int64(rowCount)
    // One of both differences is negative for one that names none; no branch for each.
    var differences: Int64 = 0
    for i in 0..<count {
      differences |= (rows &- 1 &- indices[i]) | (indices[i] &+ rows)
    }
    return differences >= 0
  }

  /// Copies rows of a contiguous table `[rowCount, width]`, named by `indices`, to contiguous
  /// memory `[count, width]`. Negative indices count from the end.
  ///
  /// - Returns: false if an index names no row; nothing has been read or written then.
  package static func gatherRows(
    elementSize: Int, from table: UnsafeRawPointer, rowCount: Int, width: Int,
    indices: UnsafePointer<Int64>, count: Int, to dst: UnsafeMutableRawPointer
  ) -> Bool {
    if !areValid(indices, count, rowCount: rowCount) { return false }
    let bytes = width * elementSize
    switch bytes {
    // Single elements are the common case, and a call for each would be felt.
    case 4: gather(UInt32.self, table, rowCount, indices, count, dst)
    case 8: gather(UInt64.self, table, rowCount, indices, count, dst)
    default:
      let source = table.assumingMemoryBound(to: UInt8.self)
      let target = dst.assumingMemoryBound(to: UInt8.self)
      for i in 0..<count {
        let index = Int(indices[i])
        let row = index < 0 ? index + rowCount : index
        copyRun(source + row * bytes, target + i * bytes, bytes)
      }
    }
    return true
  }

  /// Copies rows that are one number each.
  private static func gather<T: FixedWidthInteger>(
    _: T.Type, _ table: UnsafeRawPointer, _ rowCount: Int, _ indices: UnsafePointer<Int64>,
    _ count: Int, _ dst: UnsafeMutableRawPointer
  ) {
    let target = dst.assumingMemoryBound(to: T.self)
    for i in 0..<count {
      let index = Int(indices[i])
      let row = index < 0 ? index &+ rowCount : index
      target[i] = table.loadUnaligned(
        fromByteOffset: row &* MemoryLayout<T>.size, as: T.self)
    }
  }

  /// Copies contiguous rows `[count, width]` to the rows of a contiguous table `[rowCount, width]`
  /// that `indices` name; of several rows for one place the last stays. Negative indices count from
  /// the end.
  ///
  /// - Returns: false if an index names no row; nothing has been read or written then.
  package static func setRows(
    elementSize: Int, rows: UnsafeRawPointer, indices: UnsafePointer<Int64>, count: Int, width: Int,
    to table: UnsafeMutableRawPointer, rowCount: Int
  ) -> Bool {
    if !areValid(indices, count, rowCount: rowCount) { return false }
    switch elementSize {
    case 1: setRows(UInt8.self, rows, indices, count, width, table, rowCount)
    case 4: setRows(UInt32.self, rows, indices, count, width, table, rowCount)
    default: setRows(UInt64.self, rows, indices, count, width, table, rowCount)
    }
    return true
  }

  private static func setRows<T: FixedWidthInteger>(
    _: T.Type, _ rows: UnsafeRawPointer, _ indices: UnsafePointer<Int64>, _ count: Int,
    _ width: Int, _ table: UnsafeMutableRawPointer, _ rowCount: Int
  ) {
    let source = rows.assumingMemoryBound(to: T.self)
    let target = table.assumingMemoryBound(to: T.self)
    for i in 0..<count {
      let index = Int(indices[i])
      let row = index < 0 ? index + rowCount : index
      // Single elements are the common case, and a call for each would be felt.
      if width == 1 {
        target[row] = source[i]
      } else {
        copyRun(source + i * width, target + row * width, width)
      }
    }
  }

  /// Adds contiguous rows `[count, width]` to the rows of a contiguous table `[rowCount, width]`
  /// that `indices` name, in the order of the indices. Integers wrap, bool is "or".
  ///
  /// - Returns: false if an index names no row; nothing has been read or written then.
  package static func scatterAddRows(
    type: ScalarType, rows: UnsafeRawPointer, indices: UnsafePointer<Int64>, count: Int, width: Int,
    to table: UnsafeMutableRawPointer, rowCount: Int
  ) -> Bool {
    if !areValid(indices, count, rowCount: rowCount) { return false }
    switch type {
    case .bool: addRows(UInt8.self, rows, indices, count, width, table, rowCount) { $0 | $1 }
    case .uint8: addRows(UInt8.self, rows, indices, count, width, table, rowCount) { $0 &+ $1 }
    case .int32: addRows(Int32.self, rows, indices, count, width, table, rowCount) { $0 &+ $1 }
    case .int64: addRows(Int64.self, rows, indices, count, width, table, rowCount) { $0 &+ $1 }
    case .float32: addRows(Float.self, rows, indices, count, width, table, rowCount) { $0 + $1 }
    case .float64: addRows(Double.self, rows, indices, count, width, table, rowCount) { $0 + $1 }
    }
    return true
  }

  @inline(__always)
  private static func addRows<T>(
    _: T.Type, _ rows: UnsafeRawPointer, _ indices: UnsafePointer<Int64>, _ count: Int,
    _ width: Int, _ table: UnsafeMutableRawPointer, _ rowCount: Int, _ add: (T, T) -> T
  ) {
    let source = rows.assumingMemoryBound(to: T.self)
    let target = table.assumingMemoryBound(to: T.self)
    for i in 0..<count {
      let index = Int(indices[i])
      let row = index < 0 ? index + rowCount : index
      combineRun(source + i * width, target + row * width, width, add)
    }
  }
}
