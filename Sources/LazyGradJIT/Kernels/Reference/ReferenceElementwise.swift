// The oracle's elementwise operations: one formula per operation on single numbers, and of elementary
// functions what the C library has in double precision. Uses ReferenceArray and the opcodes.

extension Reference {
  /// Applies an elementwise operation to operands that already have the result's dimensions.
  ///
  /// float32 is computed in Double and rounded once. For `+ - * /` and square root that gives the
  /// correctly rounded float32 result, since a Double has more than twice the digits and two.
  static func elementwise(
    _ opcode: Opcode, _ type: ScalarType, _ operands: [ReferenceArray]
  ) -> ReferenceArray {
    let a = operands[0]
    switch opcode {
    case .cast: return cast(a, to: type)
    case .select:
      let condition = truth(a)
      if type.isFloating {
        return ReferenceArray(
          type, a.dims,
          floats: a.indices.map { condition[$0] ? operands[1].floats[$0] : operands[2].floats[$0] })
      }
      return ReferenceArray(
        type, a.dims,
        integers: a.indices.map {
          condition[$0] ? operands[1].integers[$0] : operands[2].integers[$0]
        })
    case .isNaN:
      return bools(a.dims, a.type.isFloating ? a.floats.map(\.isNaN) : a.indices.map { _ in false })
    case .logicalNot: return bools(a.dims, truth(a).map { !$0 })
    case .logicalAnd: return bools(a.dims, zip(truth(a), truth(operands[1])).map { $0 && $1 })
    case .logicalOr: return bools(a.dims, zip(truth(a), truth(operands[1])).map { $0 || $1 })
    case .equal, .notEqual, .less, .lessEqual, .greater, .greaterEqual:
      let b = operands[1]
      return bools(
        a.dims,
        a.type.isFloating
          ? zip(a.floats, b.floats).map { compare(opcode, $0, $1) }
          : zip(a.integers, b.integers).map { compare(opcode, $0, $1) })
    default: break
    }
    switch (operands.count, type.isFloating) {
    case (1, true): return ReferenceArray(type, a.dims, floats: a.floats.map { unary(opcode, $0) })
    case (1, false):
      return ReferenceArray(type, a.dims, integers: a.integers.map { unary(opcode, $0) })
    case (_, true):
      let b = operands[1].floats
      return ReferenceArray(type, a.dims, floats: zip(a.floats, b).map { binary(opcode, $0, $1) })
    case (_, false):
      let b = operands[1].integers
      if opcode == .leftShift || opcode == .rightShift {
        return ReferenceArray(
          type, a.dims, integers: zip(a.integers, b).map { shifted(opcode, $0, by: $1, in: type) })
      }
      return ReferenceArray(
        type, a.dims, integers: zip(a.integers, b).map { binary(opcode, $0, $1) })
    }
  }

  private static func bools(_ dims: [Int], _ values: [Bool]) -> ReferenceArray {
    ReferenceArray(.bool, dims, integers: values.map { $0 ? 1 : 0 })
  }

  /// Everything but zero is true, NaN too.
  private static func truth(_ a: ReferenceArray) -> [Bool] {
    a.type.isFloating ? a.floats.map { $0 != 0 } : a.integers.map { $0 != 0 }
  }

  private static func compare<T: Comparable>(_ opcode: Opcode, _ x: T, _ y: T) -> Bool {
    switch opcode {
    case .equal: x == y
    case .notEqual: x != y
    case .less: x < y
    case .lessEqual: x <= y
    case .greater: x > y
    default: x >= y
    }
  }

  // MARK: Floats

  private static func unary(_ opcode: Opcode, _ x: Double) -> Double {
    if let function = opcode.info.function { return function.reference(x, x) }
    return switch opcode {
    case .copy: x
    case .neg: -x
    case .abs: Swift.abs(x)
    // NaN stays NaN; both zeros give zero.
    case .sign: x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x
    case .square: x * x
    case .sqrt: x.squareRoot()
    case .reciprocal: 1 / x
    case .relu: x.isNaN || x > 0 ? x : 0
    case .floor: x.rounded(.down)
    default: preconditionFailure("reference: \(opcode) is not a unary operation on floats")
    }
  }

  static func binary(_ opcode: Opcode, _ x: Double, _ y: Double) -> Double {
    if let function = opcode.info.function { return function.reference(x, y) }
    return switch opcode {
    case .add: x + y
    case .sub: x - y
    case .mul: x * y
    case .div: x / y
    case .maximum: larger(x, y)
    case .minimum: smaller(x, y)
    default: preconditionFailure("reference: \(opcode) is not a binary operation on floats")
    }
  }

  /// The larger number; NaN if either is NaN, as in NumPy's `maximum`.
  static func larger(_ x: Double, _ y: Double) -> Double {
    x.isNaN ? x : y.isNaN ? y : x > y ? x : y
  }

  /// The smaller number; NaN if either is NaN, as in NumPy's `minimum`.
  static func smaller(_ x: Double, _ y: Double) -> Double {
    x.isNaN ? x : y.isNaN ? y : x < y ? x : y
  }

  // MARK: Integers

  /// Wraps in 64 bits; the array that is made of the result wraps further into its type, so for
  /// bool a sum is "or" and a product is "and".
  private static func unary(_ opcode: Opcode, _ x: Int64) -> Int64 {
    switch opcode {
    case .copy, .floor: x
    case .neg: 0 &- x
    case .abs: x < 0 ? 0 &- x : x
    case .sign: x.signum()
    case .square: x &* x
    case .relu: Swift.max(x, 0)
    default: preconditionFailure("reference: \(opcode) is not a unary operation on integers")
    }
  }

  static func binary(_ opcode: Opcode, _ x: Int64, _ y: Int64) -> Int64 {
    switch opcode {
    case .add: x &+ y
    case .sub: x &- y
    case .mul: x &* y
    case .pow: power(x, y)
    case .maximum: Swift.max(x, y)
    case .minimum: Swift.min(x, y)
    case .bitAnd: x & y
    case .bitOr: x | y
    case .bitXor: x ^ y
    default: preconditionFailure("reference: \(opcode) is not a binary operation on integers")
    }
  }

  /// Bits moved within the width of a type: none of them are left, or the sign, where that is too far.
  private static func shifted(_ opcode: Opcode, _ x: Int64, by y: Int64, in type: ScalarType)
    -> Int64
  {
    let isTooFar = y < 0 || y >= Int64(8 * type.size)
    if opcode == .leftShift { return isTooFar ? 0 : x << y }
    return isTooFar ? (x < 0 ? -1 : 0) : x >> y
  }

  /// The wrapping power. A negative exponent gives the true value rounded toward zero, which is 0
  /// but for the bases 1 and -1; base 0 gives 0.
  private static func power(_ base: Int64, _ exponent: Int64) -> Int64 {
    if exponent < 0 {
      return base == 1 ? 1 : base == -1 ? (exponent & 1 == 0 ? 1 : -1) : 0
    }
    var result: Int64 = 1
    var factor = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result = result &* factor }
      factor = factor &* factor
      rest >>= 1
    }
    return result
  }

  // MARK: Conversion

  /// Converts elements. A float becomes an integer by dropping its fraction; NaN and what is out of range
  /// become the smallest number, and for uint8 the low byte of the int32. Between integers the low bits
  /// stay.
  static func cast(_ a: ReferenceArray, to type: ScalarType) -> ReferenceArray {
    switch (a.type.isFloating, type.isFloating) {
    case (true, true): return ReferenceArray(type, a.dims, floats: a.floats)
    case (true, false):
      return ReferenceArray(type, a.dims, integers: a.floats.map { integer($0, type) })
    case (false, true):
      // Straight to Float: by way of Double large integers would be rounded twice. What is stored in 16 bits
      // is rounded from there.
      let floats = a.integers.map { type == .float64 ? Double($0) : Double(Float($0)) }
      return ReferenceArray(type, a.dims, floats: floats)
    case (false, false): return ReferenceArray(type, a.dims, integers: a.integers)
    }
  }

  /// A number as an integer of a type, by the rules of `cast`.
  static func integer(_ x: Double, _ type: ScalarType) -> Int64 {
    func cut<T: FixedWidthInteger>(_: T.Type) -> Int64 {
      // Rounded towards zero it fits, or else nothing does.
      Int64(T(exactly: x.rounded(.towardZero)) ?? T.min)
    }
    switch type {
    case .bool: return x != 0 ? 1 : 0
    case .uint8: return cut(Int32.self) & 255
    case .int32: return cut(Int32.self)
    default: return cut(Int64.self)
    }
  }
}

extension ReferenceArray {
  var indices: Range<Int> { 0..<count }
}
