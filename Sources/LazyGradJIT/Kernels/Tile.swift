// The one entry of the tile kernels: tier 0's elementwise operations over short contiguous runs.
// Called by the executor; chooses among TileUnary, TileBinary, TileSelect and TileCast.

extension Tile {
  /// `dst[i] = op(a[i], b[i], c[i])` for `i` in `0..<count`.
  ///
  /// `type` is the operands' element type: for `cast` the source's, for `select` that of `b` and
  /// `c` (its `a` is a bool condition). `to` is the result's type; only `cast` reads it, as the
  /// other results follow from `type`: bool for comparisons, logic and `isNaN`, else `type`.
  ///
  /// Memory is read and written up to the next multiple of 8 elements. `dst` may equal an operand,
  /// also one of narrower or wider elements than the result's.
  package static func run(
    _ op: Opcode, type: ScalarType, to: ScalarType, dst: UnsafeMutableRawPointer,
    a: UnsafeRawPointer, b: UnsafeRawPointer?, c: UnsafeRawPointer?, count: Int
  ) {
    if type.isFloating, let function = op.info.function {
      function.tile(isSingle: type == .float32, dst, a, b ?? a, count)
      return
    }
    switch op {
    case .copy:
      copy(dst, a, count &* type.size)
    case .cast:
      cast(type, to, dst, a, count)
    case .neg, .abs, .sign, .square, .sqrt, .reciprocal, .relu, .floor:
      unary(op, type, dst, a, count)
    case .logicalNot, .isNaN:
      unaryPredicate(op, type, dst, a, count)
    case .add, .sub, .mul, .div, .pow, .maximum, .minimum, .bitAnd, .bitOr, .bitXor, .leftShift,
      .rightShift:
      binary(op, type, dst, a, b.unsafelyUnwrapped, count)
    case .equal, .notEqual, .less, .lessEqual, .greater, .greaterEqual, .logicalAnd, .logicalOr:
      binaryPredicate(op, type, dst, a, b.unsafelyUnwrapped, count)
    case .select:
      select(type.size, dst, a, b.unsafelyUnwrapped, c.unsafelyUnwrapped, count)
    default:
      unsupported(op)
    }
  }

  @inline(__always)
  private static func unary(
    _ op: Opcode, _ type: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    switch type {
    case .float32: unaryFloat32(op, dst, a, count)
    case .float64: unaryFloat64(op, dst, a, count)
    case .bool: unaryBool(op, dst, a, count)
    case .uint8: unaryInteger(op, UInt8.self, dst, a, count)
    case .int32: unaryInteger(op, Int32.self, dst, a, count)
    case .int64: unaryInteger(op, Int64.self, dst, a, count)
    case .float16, .bfloat16: type.isNotComputed("tile kernel")
    }
  }

  @inline(__always)
  private static func unaryPredicate(
    _ op: Opcode, _ type: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    switch type {
    case .float32: unaryPredicate(op, Float.self, dst, a, count)
    case .float64: unaryPredicate(op, Double.self, dst, a, count)
    case .bool, .uint8: unaryPredicate(op, UInt8.self, dst, a, count)
    case .int32: unaryPredicate(op, Int32.self, dst, a, count)
    case .int64: unaryPredicate(op, Int64.self, dst, a, count)
    case .float16, .bfloat16: type.isNotComputed("tile kernel")
    }
  }

  @inline(__always)
  private static func binary(
    _ op: Opcode, _ type: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ count: Int
  ) {
    switch type {
    case .float32: binaryFloat32(op, dst, a, b, count)
    case .float64: binaryFloat64(op, dst, a, b, count)
    case .bool: binaryBool(op, dst, a, b, count)
    case .uint8: binaryInteger(op, UInt8.self, dst, a, b, count)
    case .int32: binaryInteger(op, Int32.self, dst, a, b, count)
    case .int64: binaryInteger(op, Int64.self, dst, a, b, count)
    case .float16, .bfloat16: type.isNotComputed("tile kernel")
    }
  }

  @inline(__always)
  private static func binaryPredicate(
    _ op: Opcode, _ type: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ count: Int
  ) {
    switch type {
    case .float32: binaryPredicate(op, Float.self, dst, a, b, count)
    case .float64: binaryPredicate(op, Double.self, dst, a, b, count)
    case .bool, .uint8: binaryPredicate(op, UInt8.self, dst, a, b, count)
    case .int32: binaryPredicate(op, Int32.self, dst, a, b, count)
    case .int64: binaryPredicate(op, Int64.self, dst, a, b, count)
    case .float16, .bfloat16: type.isNotComputed("tile kernel")
    }
  }
}
