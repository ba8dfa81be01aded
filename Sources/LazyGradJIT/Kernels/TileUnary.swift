// Tile kernels of one operand: arithmetic and predicates. Called by the dispatcher in Tile.swift; uses
// the loops of TileScalar.swift and vectors as lanes.

extension Tile {
  @inline(never)
  static func unaryFloat32(
    _ op: Opcode, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) {
    switch op {
    case .neg: map(dst, a, count) { (x: F8) in SingleLanes().negated(x) }
    case .abs: map(dst, a, count) { (x: F8) in SingleLanes().magnitude(x) }
    case .sign:
      map(dst, a, count) { (x: F8) in
        let zero = F8(repeating: 0)
        return x.replacing(with: F8(repeating: 1), where: x .> zero)
          .replacing(with: F8(repeating: -1), where: x .< zero)
          .replacing(with: zero, where: x .== zero)
      }
    case .square: map(dst, a, count) { (x: F8) in x * x }
    case .sqrt: map(dst, a, count) { (x: F8) in squareRoot(x) }
    case .reciprocal: map(dst, a, count) { (x: F8) in F8(repeating: 1) / x }
    case .relu:
      map(dst, a, count) { (x: F8) in
        x.replacing(with: F8(repeating: 0), where: x .<= F8(repeating: 0))
      }
    case .floor: map(dst, a, count) { (x: F8) in floor(x) }
    default: unsupported(op)
    }
  }

  @inline(never)
  static func unaryFloat64(
    _ op: Opcode, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) {
    switch op {
    case .neg: map(dst, a, count) { (x: D4) in DoubleLanes().negated(x) }
    case .abs: map(dst, a, count) { (x: D4) in DoubleLanes().magnitude(x) }
    case .sign:
      map(dst, a, count) { (x: D4) in
        let zero = D4(repeating: 0)
        return x.replacing(with: D4(repeating: 1), where: x .> zero)
          .replacing(with: D4(repeating: -1), where: x .< zero)
          .replacing(with: zero, where: x .== zero)
      }
    case .square: map(dst, a, count) { (x: D4) in x * x }
    case .sqrt: map(dst, a, count) { (x: D4) in squareRoot(x) }
    case .reciprocal: map(dst, a, count) { (x: D4) in D4(repeating: 1) / x }
    case .relu:
      map(dst, a, count) { (x: D4) in
        x.replacing(with: D4(repeating: 0), where: x .<= D4(repeating: 0))
      }
    case .floor: map(dst, a, count) { (x: D4) in floor(x) }
    default: unsupported(op)
    }
  }

  /// Integers wrap around; operations with a floating result get their operand cast before.
  @inline(__always)
  static func unaryInteger<T: TileScalar & FixedWidthInteger>(
    _ op: Opcode, _ type: T.Type, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    switch op {
    case .neg: map(dst, a, count) { (x: SIMD8<T>) in lanes(x) { 0 &- $0 } }
    case .abs: map(dst, a, count) { (x: SIMD8<T>) in lanes(x) { $0 < 0 ? 0 &- $0 : $0 } }
    case .sign: map(dst, a, count) { (x: SIMD8<T>) in lanes(x) { $0.signum() } }
    case .square: map(dst, a, count) { (x: SIMD8<T>) in lanes(x) { $0 &* $0 } }
    case .relu: map(dst, a, count) { (x: SIMD8<T>) in T.larger(x, SIMD8(repeating: 0)) }
    case .floor: copy(dst, a, count &* MemoryLayout<T>.size)
    default: unsupported(op)
    }
  }

  /// On 0 and 1 all of these operations change nothing: -1 is true as well.
  static func unaryBool(
    _ op: Opcode, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) {
    switch op {
    case .neg, .abs, .sign, .square, .relu, .floor: copy(dst, a, count)
    default: unsupported(op)
    }
  }

  /// `logicalNot` and `isNaN`, which give bools for operands of every type.
  @inline(__always)
  static func unaryPredicate<T: TileScalar>(
    _ op: Opcode, _ type: T.Type, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    if op == .isNaN {
      map(dst, a, count) { (x: SIMD8<T>) in T.equal(x, x) ^ SIMD8(repeating: 1) }
    } else {
      map(dst, a, count) { (x: SIMD8<T>) in T.equal(x, SIMD8()) }
    }
  }

  /// Moves bytes; nothing to do in place.
  @inline(__always)
  static func copy(_ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ byteCount: Int) {
    if UnsafeRawPointer(dst) != a { dst.copyMemory(from: a, byteCount: byteCount) }
  }

  /// The correctly rounded square root; NaN below zero, -0 at -0.
  ///
  /// Of absolute values only: a root that might set `errno` compiles to calls instead of vector
  /// instructions.
  @inline(__always)
  private static func squareRoot(_ x: F8) -> F8 {
    let root = lanes(x) { $0.magnitude.squareRoot() }
    return SingleLanes().withSign(root, of: x)
      .replacing(with: F8(repeating: .nan), where: x .< F8(repeating: 0))
  }

  /// As for floats.
  @inline(__always)
  private static func squareRoot(_ x: D4) -> D4 {
    var root = D4()
    for lane in 0..<4 { root[lane] = x[lane].magnitude.squareRoot() }
    return DoubleLanes().withSign(root, of: x)
      .replacing(with: D4(repeating: .nan), where: x .< D4(repeating: 0))
  }

  /// The largest whole number that is not above `x`; the sign of zero, NaN and what is too large
  /// to have a fraction stay.
  @inline(__always)
  private static func floor(_ x: F8) -> F8 {
    let a = SingleLanes().magnitude(x)
    let shift = F8(repeating: 0x1p23)
    let nearest = SingleLanes().withSign((a + shift) - shift, of: x)
    let lower = nearest.replacing(with: nearest - F8(repeating: 1), where: nearest .> x)
    return lower.replacing(with: x, where: .!(a .< shift))
  }

  /// As for floats.
  @inline(__always)
  private static func floor(_ x: D4) -> D4 {
    let a = DoubleLanes().magnitude(x)
    let shift = D4(repeating: 0x1p52)
    let nearest = DoubleLanes().withSign((a + shift) - shift, of: x)
    let lower = nearest.replacing(with: nearest - D4(repeating: 1), where: nearest .> x)
    return lower.replacing(with: x, where: .!(a .< shift))
  }

  static func unsupported(_ op: Opcode) -> Never {
    preconditionFailure("tile kernel: no operation \(op.info.name) for this element type")
  }
}
