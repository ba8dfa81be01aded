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
  /// Bytes that `run` works in.
  static func workBytes(_ runs: Runs) -> Int {
    // Of whatever type: a total has at most two numbers.
    runs.inner == 1 ? 0 : WorkMemory.byteCount(2 * runs.inner, of: Double.self)
  }

  /// - Parameter memory: The elements in C order; they become the results.
  package static func run(
    isSum: Bool, type: ScalarType, _ runs: Runs, _ memory: UnsafeMutableRawPointer,
    _ work: WorkMemory
  ) {
    if runs.length < 2 || runs.inner == 0 || runs.outer == 0 { return }
    switch type {
    case .float64:
      let x = memory.assumingMemoryBound(to: Double.self)
      if isSum { sums(x, runs, work) } else { products(x, runs, work) }
    case .float32:
      let x = memory.assumingMemoryBound(to: Float.self)
      totals(x, runs, work, start: isSum ? 0 : 1) { (total: Double, x: Float) in
        isSum ? total + Double(x) : total * Double(x)
      } _: {
        Float($0)
      }
    case .float16, .bfloat16: type.isNotComputed("scan")
    case .int64: integers(isSum, memory.assumingMemoryBound(to: Int64.self), runs, work)
    case .int32: integers(isSum, memory.assumingMemoryBound(to: Int32.self), runs, work)
    case .uint8: integers(isSum, memory.assumingMemoryBound(to: UInt8.self), runs, work)
    case .bool:
      let x = memory.assumingMemoryBound(to: UInt8.self)
      totals(x, runs, work, start: isSum ? 0 : 1) { (total: UInt8, x: UInt8) in
        isSum ? total | x : total & x
      } _: {
        $0
      }
    }
  }

  /// Wraps around.
  @inline(__always)
  private static func integers<T: FixedWidthInteger & BitwiseCopyable>(
    _ isSum: Bool, _ x: UnsafeMutablePointer<T>, _ runs: Runs, _ work: WorkMemory
  ) {
    if isSum {
      totals(x, runs, work, start: 0) { (total: T, x: T) in
        total &+ x
      } _: {
        $0
      }
    } else {
      totals(x, runs, work, start: 1) { (total: T, x: T) in
        total &* x
      } _: {
        $0
      }
    }
  }

  @inline(__always)
  private static func products(
    _ x: UnsafeMutablePointer<Double>, _ runs: Runs, _ work: WorkMemory
  ) {
    totals(x, runs, work, start: 1) { (total: Double, x: Double) in
      total * x
    } _: {
      $0
    }
  }

  /// Totals of any kind, of which the elements are made.
  @inline(__always)
  private static func totals<T, Total: BitwiseCopyable>(
    _ x: UnsafeMutablePointer<T>, _ runs: Runs, _ work: WorkMemory, start: Total,
    _ step: (Total, T) -> Total, _ result: (Total) -> T
  ) {
    let (outer, length, inner) = (runs.outer, runs.length, runs.inner)
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
    var work = work
    let total = work.take(inner, of: Total.self)
    for block in 0..<outer {
      total.initialize(repeating: start, count: inner)
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

  private static func sums(
    _ x: UnsafeMutablePointer<Double>, _ runs: Runs, _ work: WorkMemory
  ) {
    /// A total and what it lacks; infinities and what is no number have lost nothing.
    typealias Total = (most: Double, rest: Double)
    totals(x, runs, work, start: (0, 0)) { (total: Total, x: Double) -> Total in
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
