// Tests of the tile kernels other than the elementary functions, against plain loops: integers,
// bools, comparisons, choices and casts at odd counts, with destinations that are operands.

import LazyGradJIT
import Testing

private let counts = [0, 1, 7, 8, 9, 511, 512]

/// Memory of a tile: 64-byte aligned and padded, as array memory is.
private final class Memory {
  let base: UnsafeMutableRawPointer
  init() { base = .allocate(byteCount: 520 * 8 + 64, alignment: 64) }
  deinit { base.deallocate() }

  func fill<T>(_ values: [T]) {
    base.initializeMemory(as: UInt8.self, repeating: 0, count: 520 * 8 + 64)
    for (i, value) in values.enumerated() {
      base.storeBytes(of: value, toByteOffset: i * MemoryLayout<T>.size, as: T.self)
    }
  }

  func read<T>(_ count: Int, as type: T.Type) -> [T] {
    (0..<count).map { base.load(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self) }
  }
}

/// Runs an operation at every count, once with a destination of its own and once at each operand,
/// and compares the results with `expected`.
private func check<A, B: Equatable, R>(
  _ op: Opcode, _ type: ScalarType, to: ScalarType, _ a: [A], _ b: [B], _ c: [B]? = nil,
  equal: (R, R) -> Bool, _ expected: (A, B, Int) -> R
) {
  let memories = [Memory(), Memory(), Memory(), Memory()]
  for count in counts {
    for target in 0..<(c == nil ? 3 : 4) {
      memories[1].fill(Array(a.prefix(count)))
      memories[2].fill(Array(b.prefix(count)))
      memories[3].fill(Array((c ?? b).prefix(count)))
      Tile.run(
        op, type: type, to: to, dst: memories[target].base, a: memories[1].base,
        b: memories[2].base, c: memories[3].base, count: count)
      let result = memories[target].read(count, as: R.self)
      for i in 0..<count where !equal(result[i], expected(a[i], b[i], i)) {
        Issue.record(
          "\(op) \(type) to \(to), \(count) elements, dst \(target), at \(i): \(result[i])")
        return
      }
    }
  }
}

/// 512 values, small and large, with the extremes of the type among them.
private func integers<T: FixedWidthInteger>(_ seed: UInt64, as type: T.Type) -> [T] {
  var state = seed
  return (0..<512).map { i in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    switch i % 8 {
    case 0: return T.min
    case 1: return T.max
    case 2: return 0
    case 3, 4: return T(truncatingIfNeeded: Int(state >> 60) - (T.isSigned ? 8 : 0))
    default: return T(truncatingIfNeeded: state >> 13)
    }
  }
}

private func floats<T: BinaryFloatingPoint>(_ seed: UInt64, as type: T.Type) -> [T] {
  let special: [T] = [0, -0.0, 1, -1, .infinity, -.infinity, .nan, 2.5]
  return integers(seed, as: Int32.self).enumerated().map { i, x in
    i % 5 == 0 ? special[Int(x.magnitude % 8)] : T(x % 1000) / 8
  }
}

private func same<T: BinaryFloatingPoint>(_ x: T, _ y: T) -> Bool {
  x == y && x.sign == y.sign || x.isNaN && y.isNaN
}

@Suite struct TileTests {
  private func integerOperations<T: FixedWidthInteger>(_ type: ScalarType, as: T.Type) {
    let a = integers(1, as: T.self)
    let b = integers(2, as: T.self)
    func unary(_ op: Opcode, _ f: @escaping (T) -> T) {
      check(op, type, to: type, a, b, equal: ==) { x, _, _ in f(x) }
    }
    func binary(_ op: Opcode, _ f: @escaping (T, T) -> T) {
      check(op, type, to: type, a, b, equal: ==) { x, y, _ in f(x, y) }
    }
    unary(.copy) { $0 }
    unary(.neg) { 0 &- $0 }
    unary(.abs) { $0 < 0 ? 0 &- $0 : $0 }
    unary(.sign) { $0.signum() }
    unary(.square) { $0 &* $0 }
    unary(.relu) { Swift.max($0, 0) }
    unary(.floor) { $0 }
    binary(.add) { $0 &+ $1 }
    binary(.sub) { $0 &- $1 }
    binary(.mul) { $0 &* $1 }
    binary(.maximum) { Swift.max($0, $1) }
    binary(.minimum) { Swift.min($0, $1) }
    binary(.bitAnd) { $0 & $1 }
    binary(.bitOr) { $0 | $1 }
    binary(.bitXor) { $0 ^ $1 }
    let places = b.map { $0 % 70 }
    check(.leftShift, type, to: type, a, places, equal: ==) { (x: T, y: T, _) -> T in
      y < 0 ? 0 : x << y
    }
    check(.rightShift, type, to: type, a, places, equal: ==) { (x: T, y: T, _) -> T in
      y < 0 ? (x < 0 ? T.max &<< 1 | 1 : 0) : x >> y
    }
    let exponents = b.map { $0 < 0 ? $0 : $0 % 17 }
    check(.pow, type, to: type, a, exponents, equal: ==) { (x: T, y: T, _) -> T in
      if y < 0 { return x == 1 ? 1 : x &+ 1 == 0 ? (y % 2 == 0 ? 1 : x) : 0 }
      return (0..<Int(y)).reduce(T(1)) { product, _ in product &* x }
    }
    predicates(type, a, b)
    selections(type, a, b, equal: ==)
  }

  /// The comparisons, logic and `isNaN`; the values repeat, so that equal ones meet.
  private func predicates<T: Comparable & Numeric>(_ type: ScalarType, _ a: [T], _ others: [T]) {
    let b = others.enumerated().map { $0 % 3 == 0 ? a[$0] : $1 }
    func predicate(_ op: Opcode, _ f: @escaping (T, T) -> Bool) {
      check(op, type, to: .bool, a, b, equal: ==) { x, y, _ in UInt8(f(x, y) ? 1 : 0) }
    }
    predicate(.equal) { $0 == $1 }
    predicate(.notEqual) { $0 != $1 }
    predicate(.less) { $0 < $1 }
    predicate(.lessEqual) { $0 <= $1 }
    predicate(.greater) { $0 > $1 }
    predicate(.greaterEqual) { $0 >= $1 }
    predicate(.logicalAnd) { $0 != 0 && $1 != 0 }
    predicate(.logicalOr) { $0 != 0 || $1 != 0 }
    predicate(.logicalNot) { x, _ in x == 0 }
    predicate(.isNaN) { x, _ in x != x }
  }

  private func selections<T: Equatable>(
    _ type: ScalarType, _ b: [T], _ c: [T], equal: (T, T) -> Bool
  ) {
    let condition = integers(9, as: UInt8.self).map { $0 & 1 }
    check(.select, type, to: type, condition, b, c, equal: equal) { x, y, i in
      x != 0 ? y : c[i]
    }
  }

  private func floatOperations<T: BinaryFloatingPoint>(_ type: ScalarType, as: T.Type) {
    let a = floats(3, as: T.self)
    let b = floats(4, as: T.self)
    func unary(_ op: Opcode, _ f: @escaping (T) -> T) {
      check(op, type, to: type, a, b, equal: same) { x, _, _ in f(x) }
    }
    func binary(_ op: Opcode, equal: (T, T) -> Bool = same, _ f: @escaping (T, T) -> T) {
      check(op, type, to: type, a, b, equal: equal) { x, y, _ in f(x, y) }
    }
    unary(.copy) { $0 }
    unary(.neg) { -$0 }
    unary(.abs) { $0.magnitude }
    unary(.square) { $0 * $0 }
    unary(.sqrt) { $0.squareRoot() }
    unary(.reciprocal) { 1 / $0 }
    unary(.floor) { $0.rounded(.down) }
    binary(.add) { $0 + $1 }
    binary(.sub) { $0 - $1 }
    binary(.mul) { $0 * $1 }
    binary(.div) { $0 / $1 }
    // Which zero a maximum gives is open.
    func equalZeros(_ x: T, _ y: T) -> Bool { x == y || x.isNaN && y.isNaN }
    binary(.maximum, equal: equalZeros) { $0.isNaN || $1.isNaN ? .nan : Swift.max($0, $1) }
    binary(.minimum, equal: equalZeros) { $0.isNaN || $1.isNaN ? .nan : Swift.min($0, $1) }
    binary(.relu, equal: equalZeros) { x, _ in x.isNaN ? x : Swift.max(x, 0) }
    binary(.sign, equal: equalZeros) { x, _ in x.isNaN ? x : x > 0 ? 1 : x < 0 ? -1 : 0 }
    predicates(type, a, b)
    selections(type, a, b, equal: same)
  }

  @Test func uint8() { integerOperations(.uint8, as: UInt8.self) }
  @Test func int32() { integerOperations(.int32, as: Int32.self) }
  @Test func int64() { integerOperations(.int64, as: Int64.self) }
  @Test func float32() { floatOperations(.float32, as: Float.self) }
  @Test func float64() { floatOperations(.float64, as: Double.self) }

  @Test func bools() {
    let a = integers(5, as: UInt8.self).map { $0 & 1 }
    let b = integers(6, as: UInt8.self).map { $0 >> 1 & 1 }
    for op in [Opcode.add, .maximum, .logicalOr, .bitOr] {
      check(op, .bool, to: .bool, a, b, equal: ==) { x, y, _ in x | y }
    }
    for op in [Opcode.mul, .minimum, .logicalAnd, .bitAnd] {
      check(op, .bool, to: .bool, a, b, equal: ==) { x, y, _ in x & y }
    }
    for op in [Opcode.sub, .bitXor] {
      check(op, .bool, to: .bool, a, b, equal: ==) { x, y, _ in x ^ y }
    }
    check(.pow, .bool, to: .bool, a, b, equal: ==) { x, y, _ in x | (1 - y) }
    for op in [Opcode.copy, .neg, .abs, .sign, .square, .relu, .floor] {
      check(op, .bool, to: .bool, a, b, equal: ==) { x, _, _ in x }
    }
    predicates(.bool, a, b)
    selections(.bool, a, b, equal: ==)
  }

  private func casts<S: Equatable>(
    _ source: ScalarType, _ values: [S], int: (S) -> Int64, double: (S) -> Double,
    single: (S) -> Float
  ) {
    func cast<R: Equatable>(_ target: ScalarType, equal: (R, R) -> Bool, _ f: (S) -> R) {
      // Both operands alike, so that the second one as destination is harmless.
      check(.cast, source, to: target, values, values, equal: equal) { x, _, _ in f(x) }
    }
    cast(.bool, equal: ==) { UInt8(double($0) != 0 ? 1 : 0) }
    if source.isFloating {
      cast(.int32, equal: ==) { Int32(exactly: int($0)) ?? .min }
      cast(.uint8, equal: ==) { UInt8(truncatingIfNeeded: Int32(exactly: int($0)) ?? .min) }
    } else {
      cast(.int32, equal: ==) { Int32(truncatingIfNeeded: int($0)) }
      cast(.uint8, equal: ==) { UInt8(truncatingIfNeeded: int($0)) }
    }
    cast(.int64, equal: ==) { int($0) }
    cast(.float32, equal: same) { single($0) }
    cast(.float64, equal: same) { double($0) }
  }

  @Test func casts() {
    let bytes = integers(7, as: UInt8.self)
    casts(
      .bool, bytes.map { $0 & 1 }, int: { Int64($0) }, double: { Double($0) },
      single: { Float($0) })
    casts(.uint8, bytes, int: { Int64($0) }, double: { Double($0) }, single: { Float($0) })
    casts(
      .int32, integers(7, as: Int32.self), int: { Int64($0) }, double: { Double($0) },
      single: { Float($0) })
    casts(
      .int64, integers(7, as: Int64.self), int: { $0 }, double: { Double($0) },
      single: { Float($0) })
    func whole(_ x: Double) -> Int64 {
      x >= -0x1p63 && x < 0x1p63 ? Int64(x) : .min
    }
    let large = [1e10, -1e10, 1e19, -1e19, 9.223372036854775e18, 2_147_483_648, 0.5, -0.5, 1e300]
    let wide = floats(8, as: Double.self).enumerated().map { $0 % 4 == 1 ? large[$0 % 9] : $1 }
    casts(.float64, wide, int: { whole($0) }, double: { $0 }, single: { Float($0) })
    casts(
      .float32, wide.map { Float($0) }, int: { whole(Double($0)) }, double: { Double($0) },
      single: { $0 })
  }
}
