// Scans: running sums and products along one axis, in place. Called by the executor of moves.

/// Running sums and products of runs of elements.
///
/// Elements that follow each other along the last axis hang on each other: one after the other, in registers.
/// Runs that lie side by side go on together, with a total for each in memory, in the lanes of vectors.
///
/// Sums of float32 have totals in double precision. Those of float64 have a second number for what rounding
/// takes from the first (Knuth's two-sum): a running sum is as exact as one rounding of the exact sum, or
/// two, however long the run is.
package enum Scan {
  /// - Parameter memory: `outer * length * inner` elements in C order; they become the results.
  package static func run(
    isSum: Bool, type: ScalarType, outer: Int, length: Int, inner: Int,
    _ memory: UnsafeMutableRawPointer
  ) {
    if length < 2 || inner == 0 || outer == 0 { return }
    switch type {
    case .float64:
      let x = memory.assumingMemoryBound(to: Double.self)
      if isSum { sums(x, outer, length, inner) } else { products(x, outer, length, inner) }
    case .float32:
      let x = memory.assumingMemoryBound(to: Float.self)
      totals(x, outer, length, inner, start: isSum ? 0 : 1) { (total: Double, x: Float) in
        isSum ? total + Double(x) : total * Double(x)
      } _: {
        Float($0)
      }
    case .int64: integers(isSum, memory.assumingMemoryBound(to: Int64.self), outer, length, inner)
    case .int32: integers(isSum, memory.assumingMemoryBound(to: Int32.self), outer, length, inner)
    case .uint8: integers(isSum, memory.assumingMemoryBound(to: UInt8.self), outer, length, inner)
    case .bool:
      let x = memory.assumingMemoryBound(to: UInt8.self)
      totals(x, outer, length, inner, start: isSum ? 0 : 1) { (total: UInt8, x: UInt8) in
        isSum ? total | x : total & x
      } _: {
        $0
      }
    }
  }

  /// Wraps around.
  @inline(__always)
  private static func integers<T: FixedWidthInteger>(
    _ isSum: Bool, _ x: UnsafeMutablePointer<T>, _ outer: Int, _ length: Int, _ inner: Int
  ) {
    if isSum {
      totals(x, outer, length, inner, start: 0) { (total: T, x: T) in
        total &+ x
      } _: {
        $0
      }
    } else {
      totals(x, outer, length, inner, start: 1) { (total: T, x: T) in
        total &* x
      } _: {
        $0
      }
    }
  }

  @inline(__always)
  private static func products(
    _ x: UnsafeMutablePointer<Double>, _ outer: Int, _ length: Int, _ inner: Int
  ) {
    totals(x, outer, length, inner, start: 1) { (total: Double, x: Double) in
      total * x
    } _: {
      $0
    }
  }

  /// Totals of any kind, of which the elements are made.
  @inline(__always)
  private static func totals<T, Total>(
    _ x: UnsafeMutablePointer<T>, _ outer: Int, _ length: Int, _ inner: Int, start: Total,
    _ step: (Total, T) -> Total, _ result: (Total) -> T
  ) {
    if inner == 1 {
      for run in 0..<outer {
        let x = x + run * length
        var total = start
        for i in 0..<length {
          total = step(total, x[i])
          x[i] = result(total)
        }
      }
      return
    }
    withUnsafeTemporaryAllocation(of: Total.self, capacity: inner) { total in
      for block in 0..<outer {
        total.initialize(repeating: start)
        var x = x + block * length * inner
        for _ in 0..<length {
          for j in 0..<inner {
            total[j] = step(total[j], x[j])
            x[j] = result(total[j])
          }
          x += inner
        }
      }
    }
  }

  private static func sums(
    _ x: UnsafeMutablePointer<Double>, _ outer: Int, _ length: Int, _ inner: Int
  ) {
    /// A total and what it lacks; infinities and what is no number have lost nothing.
    typealias Total = (most: Double, rest: Double)
    totals(x, outer, length, inner, start: (0, 0)) { (total: Total, x: Double) -> Total in
      let sum = total.most + x
      let part = sum - total.most
      let lost = (total.most - (sum - part)) + (x - part)
      return (sum, total.rest + lost)
    } _: {
      let sum = $0.most + $0.rest
      return $0.most.isFinite ? sum : $0.most
    }
  }
}
