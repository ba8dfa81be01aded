// Tiles that are made rather than computed: a number everywhere, positions, one value per row
// repeated along the row.

extension Tile {
  /// Writes one number everywhere. `bits` is a Double's pattern for floating types, else an Int64's.
  package static func fill(
    _ type: ScalarType, bits: UInt64, dst: UnsafeMutableRawPointer, count: Int
  ) {
    let int = Int64(bitPattern: bits)
    switch type {
    case .float64: fill(Double(bitPattern: bits), dst, count)
    case .float32: fill(Float(Double(bitPattern: bits)), dst, count)
    case .float16, .bfloat16: fill(HalfFloat.bits(Double(bitPattern: bits), type), dst, count)
    case .int64: fill(int, dst, count)
    case .int32: fill(Int32(truncatingIfNeeded: int), dst, count)
    case .uint8: fill(UInt8(truncatingIfNeeded: int), dst, count)
    case .bool: fill(int != 0 ? UInt8(1) : 0, dst, count)
    }
  }

  /// Writes up to the next multiple of 8, as tile kernels read.
  @inline(__always)
  private static func fill<T>(_ value: T, _ dst: UnsafeMutableRawPointer, _ count: Int) {
    let p = dst.assumingMemoryBound(to: T.self)
    for i in 0..<((count + 7) & ~7) { p[i] = value }
  }

  /// Positions along the last axis of an array whose last axis has `last` elements, read through a
  /// layout over it.
  package static func positions(
    last: Int, layout: Layout, start: Int, count: Int, dst: UnsafeMutablePointer<Int64>
  ) {
    let length = max(last, 1)
    if layout.isContiguous {
      var x = start % length
      for i in 0..<count {
        dst[i] = Int64(x)
        x += 1
        if x == length { x = 0 }
      }
      return
    }
    for i in 0..<count {
      var linear = start + i
      var offset = 0
      for axis in (0..<layout.rank).reversed() {
        offset += linear % layout.dims[axis] * layout.strides[axis]
        linear /= layout.dims[axis]
      }
      dst[i] = Int64(offset % length)
    }
  }

  /// Repeats each of `rows` values along a row of `columns`.
  package static func expandRows(
    elementSize: Int, src: UnsafeRawPointer, rows: Int, columns: Int, dst: UnsafeMutableRawPointer
  ) {
    switch elementSize {
    case 1: expand(UInt8.self, src, rows, columns, dst)
    case 2: expand(UInt16.self, src, rows, columns, dst)
    case 4: expand(UInt32.self, src, rows, columns, dst)
    default: expand(UInt64.self, src, rows, columns, dst)
    }
  }

  @inline(__always)
  private static func expand<T>(
    _: T.Type, _ src: UnsafeRawPointer, _ rows: Int, _ columns: Int, _ dst: UnsafeMutableRawPointer
  ) {
    let from = src.assumingMemoryBound(to: T.self)
    var to = dst.assumingMemoryBound(to: T.self)
    for r in 0..<rows {
      let value = from[r]
      for c in 0..<columns { to[c] = value }
      to += columns
    }
  }
}
