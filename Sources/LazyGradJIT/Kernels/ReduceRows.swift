// Reductions of contiguous runs and of the rows of matrices: chooses the element type and hands
// runs of floats to `FloatRun`; integers are plain loops that the compiler gives lanes.

extension Reduce {
  private typealias Floats = FloatRun<SIMD4<Float>>
  private typealias Doubles = FloatRun<SIMD2<Double>>

  /// The result of a run of floats, NaN if an element is; what there is of nothing for an empty run.
  ///
  /// The order of operations depends on `count` only. A sum of float32 is one of float32 over at most
  /// 512 elements in 32 lanes, beyond that of doubles.
  package static func float(
    _ reducer: Reducer, type: ScalarType, _ p: UnsafeRawPointer, count: Int
  ) -> Double {
    type == .float32
      ? Floats.total(reducer, p.assumingMemoryBound(to: Float.self), count)
      : Doubles.total(reducer, p.assumingMemoryBound(to: Double.self), count)
  }

  /// The result of a run of integers, wrapping in 64 bits; a sum of bools is the number of trues.
  package static func integer(
    _ reducer: Reducer, type: ScalarType, _ p: UnsafeRawPointer, count: Int
  ) -> Int64 {
    switch type {
    case .bool, .uint8: integer(reducer, p.assumingMemoryBound(to: UInt8.self), count)
    case .int32: integer(reducer, p.assumingMemoryBound(to: Int32.self), count)
    default: integer(reducer, p.assumingMemoryBound(to: Int64.self), count)
    }
  }

  /// The first index of the extreme; the first NaN if there is one, as in NumPy.
  package static func position(
    of extreme: Extreme, type: ScalarType, _ p: UnsafeRawPointer, count: Int
  ) -> Int {
    var index: Int64 = 0
    rows(extreme.position, type: type, src: p, rows: 1, columns: count, dst: &index)
    return Int(index)
  }

  @inline(__always)
  private static func integer<T: FixedWidthInteger>(
    _ reducer: Reducer, _ p: UnsafePointer<T>, _ count: Int
  ) -> Int64 {
    switch reducer.extreme {
    case nil:
      reducer.arithmetic(IntegerRun(start: reducer.ofNothing(Int64.self), p: p, count: count))
    case .largest, .smallest:
      Int64(reducer.arithmetic(IntegerRun(start: reducer.ofNothing(T.self), p: p, count: count)))
    }
  }

  /// A run of integers, of which each is made one of the result's type.
  private struct IntegerRun<T: FixedWidthInteger, R: FixedWidthInteger>: ArithmeticUse {
    let start: R
    let p: UnsafePointer<T>
    let count: Int

    @inline(__always)
    func callAsFunction<A: LaneArithmetic>(_: A.Type) -> R {
      var result = start
      for i in 0..<count { result = A.integer(result, R(truncatingIfNeeded: p[i])) }
      return result
    }
  }

  @inline(__always)
  private static func integerIndex<T: FixedWidthInteger>(
    of which: Reducer, _ p: UnsafePointer<T>, _ count: Int
  ) -> Int {
    let best = integer(which, p, count)
    for i in 0..<count where p[i] == best { return i }
    return 0
  }

  /// Reduces every row of a contiguous matrix to one element, or to the position of one.
  ///
  /// The results have the type of the elements, int64 for positions. What is computed of integers wraps
  /// in their type: where it is wanted wider, the elements are cast before. A row's result depends on
  /// the row only, not on how many there are.
  package static func rows(
    _ op: Opcode, type: ScalarType, src: UnsafeRawPointer, rows: Int, columns: Int,
    dst: UnsafeMutableRawPointer
  ) {
    guard let reducer = op.info.reducer else {
      preconditionFailure("Reduce.rows: expected a reduction, got \(op.info.name)")
    }
    let isSearch = op.info.search != nil
    switch type {
    case .float32: floatRows(reducer, isSearch, SIMD4<Float>.self, src, rows, columns, dst)
    case .float64: floatRows(reducer, isSearch, SIMD2<Double>.self, src, rows, columns, dst)
    case .int64: integerRows(reducer, isSearch, Int64.self, src, rows, columns, dst)
    case .int32: integerRows(reducer, isSearch, Int32.self, src, rows, columns, dst)
    case .bool, .uint8: integerRows(reducer, isSearch, UInt8.self, src, rows, columns, dst)
    case .float16, .bfloat16: type.isNotComputed("Reduce.rows")
    }
  }

  private static func floatRows<V: ReduceLanes>(
    _ reducer: Reducer, _ isSearch: Bool, _: V.Type, _ src: UnsafeRawPointer, _ rows: Int,
    _ columns: Int, _ dst: UnsafeMutableRawPointer
  ) {
    typealias Run = FloatRun<V>
    let p = src.assumingMemoryBound(to: V.Scalar.self)
    if isSearch {
      let positions = dst.assumingMemoryBound(to: Int64.self)
      for i in 0..<rows { positions[i] = Int64(Run.index(of: reducer, p + i * columns, columns)) }
      return
    }
    let values = dst.assumingMemoryBound(to: V.Scalar.self)
    if columns <= Run.blockLength {
      for i in 0..<rows { values[i] = Run.run(reducer, p + i * columns, columns) }
    } else {
      for i in 0..<rows { values[i] = V.Scalar(Run.total(reducer, p + i * columns, columns)) }
    }
  }

  private static func integerRows<T: FixedWidthInteger>(
    _ reducer: Reducer, _ isSearch: Bool, _: T.Type, _ src: UnsafeRawPointer, _ rows: Int,
    _ columns: Int, _ dst: UnsafeMutableRawPointer
  ) {
    let p = src.assumingMemoryBound(to: T.self)
    if isSearch {
      let positions = dst.assumingMemoryBound(to: Int64.self)
      for i in 0..<rows {
        positions[i] = Int64(integerIndex(of: reducer, p + i * columns, columns))
      }
      return
    }
    let values = dst.assumingMemoryBound(to: T.self)
    for i in 0..<rows {
      values[i] = T(truncatingIfNeeded: integer(reducer, p + i * columns, columns))
    }
  }
}
