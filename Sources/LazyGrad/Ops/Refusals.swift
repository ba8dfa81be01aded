// What integers and truth values can't do, as in NumPy: hold numbers that are too large, be raised to
// negative powers, be subtracted or negated. Said before anything is recorded.

internal import LazyGradJIT

extension Tensor {
  /// What comes of an operation of integers or truth values with a number where it can't be carried out.
  ///
  /// Comparisons are exact whatever the number is, and divisions are those of floats.
  @inline(never)
  static func refusal(_ opcode: Opcode, _ x: Tensor, _ number: WeakScalar) -> Tensor? {
    if opcode == .sub, x.dtype == .bool, number.kind == .bool { return refusedDifference([x]) }
    let info = opcode.info
    guard info.typeRule == .same || info.typeRule == .integers, x.dtype != .bool,
      let message = number.misfit(x.dtype)
    else {
      return nil
    }
    return fail(info.name, message, [x])
  }

  static func refusedDifference(_ operands: [Tensor]) -> Tensor {
    fail(
      "subtract", "expected numbers, got bool and bool; `.!=` tells where they differ", operands)
  }

  @inline(never)
  static func refusedNegative(_ x: Tensor) -> Tensor {
    fail("negative", "expected numbers, got bool; `logicalNot` gives the opposite", [x])
  }

  static func refusedPower(_ operands: [Tensor]) -> Tensor {
    fail("power", "integers to negative integer powers are not integers", operands)
  }

  /// What comes of an integer to the power of `exponents` where one of these is a negative integer.
  ///
  /// - Complexity: forces evaluation of integers that can be negative.
  static func negativePower(_ exponents: Tensor, _ operands: [Tensor]) -> Tensor? {
    guard exponents.dtype == .int32 || exponents.dtype == .int64, exponents.count > 0 else {
      return nil
    }
    let least = noAutodiff { exponents.min() }.item(as: Int64.self)
    return least < 0 ? refusedPower(operands) : nil
  }
}
