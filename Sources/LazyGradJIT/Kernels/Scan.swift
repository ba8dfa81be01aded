// Scans: running sums and products along one axis. Called by the executor of moves.

/// Running sums and products of runs of elements.
///
/// Elements that follow each other along the last axis hang on each other: one after the other, in registers.
/// Runs that lie side by side go on together, with a total for each in memory, in the lanes of vectors.
///
/// Sums of float32 have totals in double precision, and along the last axis others within every two and every eight
/// elements, to which the total before the eight is added: so only one addition of eight waits for those before.
/// Which elements belong together depends on where they are in the run, not on its length. Those of float64 have a second number for what rounding
/// takes from the first (Knuth's two-sum): a running sum is as exact as one rounding of the exact sum, or
/// two, however long the run is.
package enum Scan {
  /// Bytes that `run` works in.
  static func workBytes(_ runs: Runs) -> Int {
    // Of whatever type: a total has at most two numbers.
    runs.inner == 1 ? 0 : WorkMemory.byteCount(2 * runs.inner, of: Double.self)
  }

  /// - Parameters:
  ///   - from: The elements in C order.
  ///   - to: Where the results go: other memory, or the same.
  package static func run(
    isSum: Bool, type: ScalarType, _ runs: Runs, from: UnsafeRawPointer,
    to: UnsafeMutableRawPointer, _ work: WorkMemory
  ) {
    if runs.length < 2 || runs.inner == 0 || runs.outer == 0 {
      if from != UnsafeRawPointer(to) {
        to.copyMemory(from: from, byteCount: runs.outer * runs.length * runs.inner * type.size)
      }
      return
    }
    func elements<T>(_: T.Type) -> Elements<T> {
      Elements(from: from.assumingMemoryBound(to: T.self), to: to.assumingMemoryBound(to: T.self))
    }
    switch type {
    case .float64:
      if isSum {
        sums(elements(Double.self), runs, work)
      } else {
        products(elements(Double.self), runs, work)
      }
    case .float32:
      let x = elements(Float.self)
      if isSum, runs.inner == 1 {
        for run in 0..<runs.outer { sums(x + run * runs.length, runs.length) }
        return
      }
      totals(x, runs, work, start: isSum ? 0 : 1) { (total: Double, x: Float) in
        isSum ? total + Double(x) : total * Double(x)
      } _: {
        Float($0)
      }
    case .float16, .bfloat16: type.isNotComputed("scan")
    case .int64: integers(isSum, elements(Int64.self), runs, work)
    case .int32: integers(isSum, elements(Int32.self), runs, work)
    case .uint8: integers(isSum, elements(UInt8.self), runs, work)
    case .bool:
      totals(elements(UInt8.self), runs, work, start: isSum ? 0 : 1) { (total: UInt8, x: UInt8) in
        isSum ? total | x : total & x
      } _: {
        $0
      }
    }
  }

  /// What is read and what is written, element by element.
  private struct Elements<T> {
    var from: UnsafePointer<T>
    var to: UnsafeMutablePointer<T>

    @inline(__always)
    static func + (a: Self, distance: Int) -> Self {
      Self(from: a.from + distance, to: a.to + distance)
    }
  }

  /// Running sums of one run of float32.
  private static func sums(_ x: Elements<Float>, _ length: Int) {
    var total = SIMD2<Double>(0, 0)
    var i = 0
    while i &+ 8 <= length {
      let from = UnsafeRawPointer(x.from + i)
      let to = UnsafeMutableRawPointer(x.to + i)
      let (r0, r1, r2, r3) = (pair(from), pair(from + 8), pair(from + 16), pair(from + 24))
      let o1 = last(r0)
      let o2 = o1 + last(r1)
      let o3 = o2 + last(r2)
      put(total + r0, to)
      put(total + (o1 + r1), to + 8)
      put(total + (o2 + r2), to + 16)
      put(total + (o3 + r3), to + 24)
      total += o3 + last(r3)
      i &+= 8
    }
    // The same additions for less than eight.
    var before = 0.0
    var own = 0.0
    while i < length {
      let isSecond = i & 1 != 0
      own = Double(x.from[i]) + (isSecond ? own : 0)
      x.to[i] = Float(total[0] + (before + own))
      if isSecond { before += own }
      i &+= 1
    }
  }

  /// The running sums of two elements.
  @inline(__always)
  private static func pair(_ p: UnsafeRawPointer) -> SIMD2<Double> {
    let elements = p.loadUnaligned(as: SIMD2<Float>.self)
    let wide = SIMD2(Double(elements[0]), Double(elements[1]))
    return wide + SIMD2(0, wide[0])
  }

  @inline(__always)
  private static func last(_ sums: SIMD2<Double>) -> SIMD2<Double> { SIMD2(repeating: sums[1]) }

  @inline(__always)
  private static func put(_ sums: SIMD2<Double>, _ to: UnsafeMutableRawPointer) {
    to.storeBytes(of: SIMD2(Float(sums[0]), Float(sums[1])), as: SIMD2<Float>.self)
  }

  /// Wraps around.
  @inline(__always)
  private static func integers<T: FixedWidthInteger & BitwiseCopyable>(
    _ isSum: Bool, _ x: Elements<T>, _ runs: Runs, _ work: WorkMemory
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
    _ x: Elements<Double>, _ runs: Runs, _ work: WorkMemory
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
    _ x: Elements<T>, _ runs: Runs, _ work: WorkMemory, start: Total,
    _ step: (Total, T) -> Total, _ result: (Total) -> T
  ) {
    let (outer, length, inner) = (runs.outer, runs.length, runs.inner)
    if inner == 1 {
      for run in 0..<outer {
        let x = x + run * length
        var total = start
        for i in 0..<length {
          total = step(total, x.from[i])
          x.to[i] = result(total)
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
          total[j] = step(total[j], x.from[j])
          x.to[j] = result(total[j])
        }
        x = x + inner
      }
    }
  }

  private static func sums(
    _ x: Elements<Double>, _ runs: Runs, _ work: WorkMemory
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
