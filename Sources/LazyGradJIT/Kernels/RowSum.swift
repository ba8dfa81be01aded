// Sums of rows that lie anywhere in memory. Uses nothing but vectors.

package enum RowSum {
  /// Adds rows up element by element, in their order, as one addition after the other does: where both are NaN
  /// a sum passes on its own, as machine code does with its first operand.
  ///
  /// - Parameters:
  ///   - count: The number of rows, at least 1.
  ///   - width: Their elements.
  ///   - sum: Where the sum goes; none of the rows.
  ///   - row: Where a row begins.
  @inline(__always)
  package static func run<T: BinaryFloatingPoint & SIMDScalar>(
    _: T.Type, count: Int, width: Int, to sum: UnsafeMutableRawPointer,
    row: (Int) -> UnsafeMutableRawPointer
  ) {
    let size = MemoryLayout<T>.size
    var column = 0
    while column &+ 16 <= width {
      add(SIMD16<T>.self, count, column &* size, sum, row)
      column &+= 16
    }
    while column &+ 4 <= width {
      add(SIMD4<T>.self, count, column &* size, sum, row)
      column &+= 4
    }
    if column == width { return }
    // Nothing behind the last element may be read.
    let rest = width &- column
    func load(_ i: Int) -> SIMD4<T> {
      var part = SIMD4<T>()
      for lane in 0..<rest {
        part[lane] = row(i).load(fromByteOffset: (column &+ lane) &* size, as: T.self)
      }
      return part
    }
    let total = added(count, load)
    for lane in 0..<rest {
      sum.storeBytes(of: total[lane], toByteOffset: (column &+ lane) &* size, as: T.self)
    }
  }

  @inline(__always)
  private static func add<V: SIMD>(
    _: V.Type, _ count: Int, _ offset: Int, _ sum: UnsafeMutableRawPointer,
    _ row: (Int) -> UnsafeMutableRawPointer
  ) where V.Scalar: BinaryFloatingPoint {
    let total = added(count) { (row($0) + offset).loadUnaligned(as: V.self) }
    (sum + offset).storeBytes(of: total, as: V.self)
  }

  @inline(__always)
  private static func added<V: SIMD>(_ count: Int, _ row: (Int) -> V) -> V
  where V.Scalar: BinaryFloatingPoint {
    var total = row(0)
    for i in 1..<max(count, 1) { total += row(i) }
    if total == total { return total }
    // Which NaN it is says the order of the operands, which a compiler may change.
    total = row(0)
    for i in 1..<max(count, 1) {
      total.replace(with: total + row(i), where: total .== total)
    }
    return total
  }
}
