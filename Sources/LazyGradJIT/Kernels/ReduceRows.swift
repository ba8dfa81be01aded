// Reductions of contiguous runs and of the rows of matrices: chooses the element type and hands
// runs of floats to `FloatRun`; integers are plain loops that the compiler gives lanes.

extension Reduce {
  private typealias Floats = FloatRun<SIMD4<Float>>
  private typealias Doubles = FloatRun<SIMD2<Double>>

  /// The sum of floats in double precision; zero for an empty run.
  ///
  /// The order of additions depends on `count` only. float32 is added in float32 over at most 512
  /// elements in 32 lanes, beyond that in double precision.
  package static func sum(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Double {
    type == .float32
      ? Floats.sum(p.assumingMemoryBound(to: Float.self), count)
      : Doubles.sum(p.assumingMemoryBound(to: Double.self), count)
  }

  /// The sum of integers, wrapping in 64 bits; the number of trues for bool.
  package static func integerSum(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Int64 {
    switch type {
    case .bool, .uint8: integerSum(UInt8.self, p, count)
    case .int32: integerSum(Int32.self, p, count)
    default: integerSum(Int64.self, p, count)
    }
  }

  /// The largest float, NaN if there is one; minus infinity for an empty run.
  package static func max(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Double {
    extreme(.largest, type, p, count)
  }

  /// The smallest float, NaN if there is one; infinity for an empty run.
  package static func min(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Double {
    extreme(.smallest, type, p, count)
  }

  /// The largest integer; the least value of the type for an empty run.
  package static func integerMax(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Int64 {
    integerExtreme(.largest, type, p, count)
  }

  /// The smallest integer; the greatest value of the type for an empty run.
  package static func integerMin(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Int64 {
    integerExtreme(.smallest, type, p, count)
  }

  /// The first index of the largest element; the first NaN if there is one, as in NumPy.
  package static func argmax(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Int {
    var index: Int64 = 0
    rows(.argmax, type: type, src: p, rows: 1, columns: count, dst: &index)
    return Int(index)
  }

  /// The first index of the smallest element; the first NaN if there is one, as in NumPy.
  package static func argmin(type: ScalarType, _ p: UnsafeRawPointer, count: Int) -> Int {
    var index: Int64 = 0
    rows(.argmin, type: type, src: p, rows: 1, columns: count, dst: &index)
    return Int(index)
  }

  private static func extreme(
    _ which: Extreme, _ type: ScalarType, _ p: UnsafeRawPointer, _ count: Int
  ) -> Double {
    type == .float32
      ? Double(Floats.extreme(which, p.assumingMemoryBound(to: Float.self), count))
      : Doubles.extreme(which, p.assumingMemoryBound(to: Double.self), count)
  }

  private static func integerExtreme(
    _ which: Extreme, _ type: ScalarType, _ p: UnsafeRawPointer, _ count: Int
  ) -> Int64 {
    switch type {
    case .bool, .uint8: Int64(integerExtreme(which, p.assumingMemoryBound(to: UInt8.self), count))
    case .int32: Int64(integerExtreme(which, p.assumingMemoryBound(to: Int32.self), count))
    default: integerExtreme(which, p.assumingMemoryBound(to: Int64.self), count)
    }
  }

  @inline(__always)
  private static func integerSum<T: FixedWidthInteger>(
    _: T.Type, _ p: UnsafeRawPointer, _ count: Int
  ) -> Int64 {
    let elements = p.assumingMemoryBound(to: T.self)
    var sum: Int64 = 0
    for i in 0..<count { sum &+= Int64(truncatingIfNeeded: elements[i]) }
    return sum
  }

  @inline(__always)
  private static func integerExtreme<T: FixedWidthInteger>(
    _ which: Extreme, _ p: UnsafePointer<T>, _ count: Int
  ) -> T {
    var best = which == .largest ? T.min : T.max
    if which == .largest {
      for i in 0..<count { best = Swift.max(best, p[i]) }
    } else {
      for i in 0..<count { best = Swift.min(best, p[i]) }
    }
    return best
  }

  @inline(__always)
  private static func integerIndex<T: FixedWidthInteger>(
    of which: Extreme, _ p: UnsafePointer<T>, _ count: Int
  ) -> Int {
    let best = integerExtreme(which, p, count)
    for i in 0..<count where p[i] == best { return i }
    return 0
  }

  /// Reduces every row of a contiguous matrix to one element, by sum, max, min, argmax or argmin.
  ///
  /// The results have the type of the elements, int64 for positions. Sums of integers wrap in their
  /// type: where they are wanted wider, the elements are cast before. A row's result depends on
  /// the row only, not on how many there are.
  package static func rows(
    _ op: Opcode, type: ScalarType, src: UnsafeRawPointer, rows: Int, columns: Int,
    dst: UnsafeMutableRawPointer
  ) {
    switch type {
    case .float32: floatRows(op, SIMD4<Float>.self, src, rows, columns, dst)
    case .float64: floatRows(op, SIMD2<Double>.self, src, rows, columns, dst)
    case .int64: integerRows(op, Int64.self, src, rows, columns, dst)
    case .int32: integerRows(op, Int32.self, src, rows, columns, dst)
    case .bool, .uint8: integerRows(op, UInt8.self, src, rows, columns, dst)
    }
  }

  private static func floatRows<V: ReduceLanes>(
    _ op: Opcode, _: V.Type, _ src: UnsafeRawPointer, _ rows: Int, _ columns: Int,
    _ dst: UnsafeMutableRawPointer
  ) {
    typealias Run = FloatRun<V>
    let p = src.assumingMemoryBound(to: V.Scalar.self)
    let values = dst.assumingMemoryBound(to: V.Scalar.self)
    let positions = dst.assumingMemoryBound(to: Int64.self)
    switch op {
    case .sum where columns <= Run.blockLength:
      for i in 0..<rows { values[i] = Run.blockSum(p + i * columns, columns) }
    case .sum:
      for i in 0..<rows { values[i] = V.Scalar(Run.sum(p + i * columns, columns)) }
    case .max:
      for i in 0..<rows { values[i] = Run.extreme(.largest, p + i * columns, columns) }
    case .min:
      for i in 0..<rows { values[i] = Run.extreme(.smallest, p + i * columns, columns) }
    case .argmax:
      for i in 0..<rows { positions[i] = Int64(Run.index(of: .largest, p + i * columns, columns)) }
    case .argmin:
      for i in 0..<rows { positions[i] = Int64(Run.index(of: .smallest, p + i * columns, columns)) }
    default:
      preconditionFailure("Reduce.rows: expected a reduction, got \(op.info.name)")
    }
  }

  private static func integerRows<T: FixedWidthInteger>(
    _ op: Opcode, _: T.Type, _ src: UnsafeRawPointer, _ rows: Int, _ columns: Int,
    _ dst: UnsafeMutableRawPointer
  ) {
    let p = src.assumingMemoryBound(to: T.self)
    let values = dst.assumingMemoryBound(to: T.self)
    let positions = dst.assumingMemoryBound(to: Int64.self)
    switch op {
    case .sum:
      for i in 0..<rows {
        values[i] = T(truncatingIfNeeded: integerSum(T.self, p + i * columns, columns))
      }
    case .max:
      for i in 0..<rows { values[i] = integerExtreme(.largest, p + i * columns, columns) }
    case .min:
      for i in 0..<rows { values[i] = integerExtreme(.smallest, p + i * columns, columns) }
    case .argmax:
      for i in 0..<rows {
        positions[i] = Int64(integerIndex(of: .largest, p + i * columns, columns))
      }
    case .argmin:
      for i in 0..<rows {
        positions[i] = Int64(integerIndex(of: .smallest, p + i * columns, columns))
      }
    default:
      preconditionFailure("Reduce.rows: expected a reduction, got \(op.info.name)")
    }
  }
}
