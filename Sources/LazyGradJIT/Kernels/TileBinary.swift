// Tile kernels of two operands: arithmetic, comparisons, logic. Called by the dispatcher in
// Tile.swift; uses the loops of TileScalar.swift.

extension Tile {
  private struct OfFloats<T: TileScalar & BinaryFloatingPoint>: ArithmeticUse {
    let dst: UnsafeMutableRawPointer
    let a: UnsafeRawPointer
    let b: UnsafeRawPointer
    let count: Int

    @inline(__always)
    func callAsFunction<A: LaneArithmetic>(_: A.Type) {
      zip(dst, a, b, count) { (x: SIMD8<T>, y: SIMD8<T>) in A.lanes(x, y) }
    }
  }

  private struct OfIntegers<T: TileScalar & FixedWidthInteger>: ArithmeticUse {
    let dst: UnsafeMutableRawPointer
    let a: UnsafeRawPointer
    let b: UnsafeRawPointer
    let count: Int

    @inline(__always)
    func callAsFunction<A: LaneArithmetic>(_: A.Type) {
      zip(dst, a, b, count) { (x: SIMD8<T>, y: SIMD8<T>) in lanes(x, y) { A.integer($0, $1) } }
    }
  }

  @inline(never)
  static func binaryFloat32(
    _ op: Opcode, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    _ count: Int
  ) {
    switch op {
    case .add, .mul: _ = op.arithmetic(OfFloats<Float>(dst: dst, a: a, b: b, count: count))
    case .sub: zip(dst, a, b, count) { (x: F8, y: F8) in x - y }
    case .div: zip(dst, a, b, count) { (x: F8, y: F8) in x / y }
    case .maximum: zip(dst, a, b, count) { (x: F8, y: F8) in Float.larger(x, y) }
    case .minimum: zip(dst, a, b, count) { (x: F8, y: F8) in Float.smaller(x, y) }
    default: unsupported(op)
    }
  }

  @inline(never)
  static func binaryFloat64(
    _ op: Opcode, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    _ count: Int
  ) {
    typealias D8 = SIMD8<Double>
    switch op {
    case .add, .mul: _ = op.arithmetic(OfFloats<Double>(dst: dst, a: a, b: b, count: count))
    case .sub: zip(dst, a, b, count) { (x: D8, y: D8) in x - y }
    case .div: zip(dst, a, b, count) { (x: D8, y: D8) in x / y }
    case .maximum: zip(dst, a, b, count) { (x: D8, y: D8) in Double.larger(x, y) }
    case .minimum: zip(dst, a, b, count) { (x: D8, y: D8) in Double.smaller(x, y) }
    default: unsupported(op)
    }
  }

  /// Integers wrap around; their quotients are floating and get their operands cast before.
  @inline(__always)
  static func binaryInteger<T: TileScalar & FixedWidthInteger>(
    _ op: Opcode, _ type: T.Type, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ count: Int
  ) {
    typealias V = SIMD8<T>
    switch op {
    case .add, .mul: _ = op.arithmetic(OfIntegers<T>(dst: dst, a: a, b: b, count: count))
    case .sub: zip(dst, a, b, count) { (x: V, y: V) in lanes(x, y) { $0 &- $1 } }
    case .maximum: zip(dst, a, b, count) { (x: V, y: V) in T.larger(x, y) }
    case .minimum: zip(dst, a, b, count) { (x: V, y: V) in T.smaller(x, y) }
    case .pow: zip(dst, a, b, count) { (x: V, y: V) in lanes(x, y) { power($0, $1) } }
    case .bitAnd: zip(dst, a, b, count) { (x: V, y: V) in x & y }
    case .bitOr: zip(dst, a, b, count) { (x: V, y: V) in x | y }
    case .bitXor: zip(dst, a, b, count) { (x: V, y: V) in x ^ y }
    case .leftShift:
      zip(dst, a, b, count) { (x: V, y: V) in
        lanes(x, y) { isPlace($1, T.self) ? $0 &<< $1 : 0 }
      }
    case .rightShift:
      zip(dst, a, b, count) { (x: V, y: V) in
        lanes(x, y) { isPlace($1, T.self) ? $0 &>> $1 : $0 < 0 ? ~0 : 0 }
      }
    default: unsupported(op)
    }
  }

  /// Whether bits of a type can be moved by as many places and be left over.
  @inline(__always)
  private static func isPlace<T: FixedWidthInteger>(_ distance: T, _: T.Type) -> Bool {
    distance >= 0 && distance < T(truncatingIfNeeded: T.bitWidth)
  }

  /// `base^exponent`, wrapping around, by repeated squaring. What has no whole result, a negative
  /// exponent of a base other than 1 and -1, gives 0; recording such a power is an error.
  @inline(never)
  private static func power<T: FixedWidthInteger>(_ base: T, _ exponent: T) -> T {
    if exponent < 0 {
      if base == 1 { return 1 }
      if base &+ 1 == 0 { return exponent & 1 == 0 ? 1 : base }
      return 0
    }
    var result: T = 1
    var square = base
    var rest = exponent
    while rest != 0 {
      if rest & 1 != 0 { result = result &* square }
      square = square &* square
      rest >>= 1
    }
    return result
  }

  /// Arithmetic on 0 and 1 with every other result than 0 as true: a sum is "or", a product "and",
  /// as in NumPy, a difference "exclusive or", and 0 to the power of 0 is 1.
  static func binaryBool(
    _ op: Opcode, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer,
    _ count: Int
  ) {
    typealias V = SIMD8<UInt8>
    switch op {
    case .add, .maximum, .bitOr: zip(dst, a, b, count) { (x: V, y: V) in x | y }
    case .mul, .minimum, .bitAnd: zip(dst, a, b, count) { (x: V, y: V) in x & y }
    case .sub, .bitXor: zip(dst, a, b, count) { (x: V, y: V) in x ^ y }
    case .pow: zip(dst, a, b, count) { (x: V, y: V) in x | (y ^ V(repeating: 1)) }
    default: unsupported(op)
    }
  }

  /// Comparisons and logic: a bool for operands of every type. A NaN is unequal to everything and
  /// counts as true.
  @inline(__always)
  static func binaryPredicate<T: TileScalar>(
    _ op: Opcode, _ type: T.Type, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ count: Int
  ) {
    typealias V = SIMD8<T>
    let one = SIMD8<UInt8>(repeating: 1)
    switch op {
    case .equal: zip(dst, a, b, count) { (x: V, y: V) in T.equal(x, y) }
    case .notEqual: zip(dst, a, b, count) { (x: V, y: V) in T.equal(x, y) ^ one }
    case .less: zip(dst, a, b, count) { (x: V, y: V) in T.less(x, y) }
    case .lessEqual: zip(dst, a, b, count) { (x: V, y: V) in T.lessEqual(x, y) }
    case .greater: zip(dst, a, b, count) { (x: V, y: V) in T.less(y, x) }
    case .greaterEqual: zip(dst, a, b, count) { (x: V, y: V) in T.lessEqual(y, x) }
    case .logicalAnd:
      zip(dst, a, b, count) { (x: V, y: V) in (T.equal(x, V()) | T.equal(y, V())) ^ one }
    case .logicalOr:
      zip(dst, a, b, count) { (x: V, y: V) in (T.equal(x, V()) & T.equal(y, V())) ^ one }
    default: unsupported(op)
    }
  }
}
