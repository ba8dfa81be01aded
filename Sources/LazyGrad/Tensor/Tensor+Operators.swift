// Operators: arithmetic and comparison between tensors, and with host arrays and Swift numbers, which
// are weakly typed. Why they are declared as they are stands in TensorOperand.swift.

internal import LazyGradJIT

extension Tensor {
  /// The negative of every element. Truth values have none.
  public static prefix func - (x: Tensor) -> Tensor {
    x.slot.pointee.type == .bool ? refusedNegative(x) : unary(.neg, x)
  }

  /// A copy of every element.
  public static prefix func + (x: Tensor) -> Tensor { unary(.copy, x) }

  /// The opposite of every truth value. Numbers have none: compare them first.
  public static prefix func .! (x: Tensor) -> Tensor {
    mask(.logicalNot, [x]) ?? unary(.logicalNot, x)
  }
}

// MARK: - A tensor on the left

extension Tensor {
  /// Adds a tensor, an array or a number elementwise, with broadcasting.
  @inlinable
  public static func + <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.add, a, b._form) }
  /// Subtracts a tensor, an array or a number elementwise, with broadcasting. Truth values have no
  /// difference; `.!=` tells where they differ.
  @inlinable
  public static func - <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.sub, a, b._form) }
  /// Multiplies with a tensor, an array or a number elementwise, with broadcasting.
  @inlinable
  public static func * <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.mul, a, b._form) }
  /// Divides by a tensor, an array or a number elementwise, with broadcasting. Integers are divided as
  /// float64.
  @inlinable
  public static func / <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.div, a, b._form) }

  /// Where the elements are equal.
  @inlinable
  public static func .== <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.equal, a, b._form) }
  /// Where the elements differ.
  @inlinable
  public static func .!= <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.notEqual, a, b._form) }
  /// Where the first is smaller.
  @inlinable
  public static func .< <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.less, a, b._form) }
  /// Where the first is smaller or equal.
  @inlinable
  public static func .<= <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.lessEqual, a, b._form) }
  /// Where the first is greater.
  @inlinable
  public static func .> <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.greater, a, b._form) }
  /// Where the first is greater or equal.
  @inlinable
  public static func .>= <B: TensorOperand, Form>(a: Tensor, b: B) -> Tensor
  where B._Form == Form { Form._record(.greaterEqual, a, b._form) }

  /// Where both masks are true; of integers the bits that both have. Floats are refused: compare them first.
  @inlinable
  public static func .& (a: Tensor, b: some ArrayOperand) -> Tensor {
    combinedMasks(.and, a, b._form)
  }
  /// Where at least one of two masks is true; of integers the bits that one has. Floats are refused: compare
  /// them first.
  @inlinable
  public static func .| (a: Tensor, b: some ArrayOperand) -> Tensor {
    combinedMasks(.or, a, b._form)
  }
}

// MARK: - A tensor on the right

extension TensorOperand {
  /// Adds a tensor to an array, a number or a tensor.
  @inlinable
  public static func + (a: Self, b: Tensor) -> Tensor { _Form._record(.add, a._form, b) }
  /// Subtracts a tensor from an array, a number or a tensor.
  @inlinable
  public static func - (a: Self, b: Tensor) -> Tensor { _Form._record(.sub, a._form, b) }
  /// Multiplies an array, a number or a tensor with a tensor.
  @inlinable
  public static func * (a: Self, b: Tensor) -> Tensor { _Form._record(.mul, a._form, b) }
  /// Divides an array, a number or a tensor by a tensor.
  @inlinable
  public static func / (a: Self, b: Tensor) -> Tensor { _Form._record(.div, a._form, b) }

  /// Where the elements are equal.
  @inlinable
  public static func .== (a: Self, b: Tensor) -> Tensor { _Form._record(.equal, a._form, b) }
  /// Where the elements differ.
  @inlinable
  public static func .!= (a: Self, b: Tensor) -> Tensor { _Form._record(.notEqual, a._form, b) }
  /// Where the first is smaller.
  @inlinable
  public static func .< (a: Self, b: Tensor) -> Tensor { _Form._record(.less, a._form, b) }
  /// Where the first is smaller or equal.
  @inlinable
  public static func .<= (a: Self, b: Tensor) -> Tensor { _Form._record(.lessEqual, a._form, b) }
  /// Where the first is greater.
  @inlinable
  public static func .> (a: Self, b: Tensor) -> Tensor { _Form._record(.greater, a._form, b) }
  /// Where the first is greater or equal.
  @inlinable
  public static func .>= (a: Self, b: Tensor) -> Tensor { _Form._record(.greaterEqual, a._form, b) }

  /// The first to the power of the second, elementwise; one of the two is a tensor.
  ///
  /// Gradients as in MyGrad: with respect to the base `y * x^(y - 1)`, and 0 where `y` is 0; with
  /// respect to the exponent `x^y * log(x)`, and 0 where `x` is 0. The numbers 1 and 2 as exponents are a
  /// copy and a square.
  ///
  /// In Swift a sign belongs to what follows it at once: `-x ** 2` is `(-x) ** 2`.
  ///
  /// Integers to a negative power are not integers, so that is an error; make one of the two floats.
  /// - Complexity: records one node; of an integer to the power of int32 or int64 the exponents are
  ///   computed and looked at.
  @inlinable
  public static func ** (a: Self, b: Partner) -> Tensor { a._raised(to: b) }
}

extension NDArray {
  /// Where both masks are true.
  @inlinable
  public static func .& (a: NDArray, b: Tensor) -> Tensor { combinedMasks(.and, a._form, b) }
  /// Where at least one of two masks is true.
  @inlinable
  public static func .| (a: NDArray, b: Tensor) -> Tensor { combinedMasks(.or, a._form, b) }
}

// MARK: - Masks

/// Records an operation on two masks, or on integers.
@usableFromInline
func combinedMasks(_ operation: _BinaryOperation, _ a: Tensor, _ b: Tensor) -> Tensor {
  if a.kind != .poisoned, b.kind != .poisoned, !a.dtype.isFloating, !b.dtype.isFloating,
    a.dtype != .bool || b.dtype != .bool
  {
    return operation == .and ? bitwiseAnd(a, b) : bitwiseOr(a, b)
  }
  return Tensor.mask(operation.opcode, [a, b]) ?? .binary(operation.opcode, a, b)
}

extension Tensor {
  /// What comes of an operation on masks where an operand is none; nil where all are.
  fileprivate static func mask(_ opcode: Opcode, _ operands: [Tensor]) -> Tensor? {
    for operand in operands where operand.kind == .poisoned { return operand }
    if operands.allSatisfy({ $0.dtype == .bool }) { return nil }
    let types = operands.map { "\($0.dtype)" }.joined(separator: " and ")
    return fail(
      opcode.info.name, "expected masks (bool), got \(types); compare first, as in `x .!= 0`",
      operands)
  }
}

// MARK: - Operators that Swift has for values with an order

// They say what to write instead. All give truth values, as Swift's own do: that there is but one type of
// result lets the compiler know it before it has found the overload.
extension Tensor {
  /// Not available: `.==` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .==")
  public static func == (a: Tensor, b: some TensorOperand) -> Bool { false }
  /// Not available: `.==` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .==")
  public static func == (a: some HostOperand, b: Tensor) -> Bool { false }
  /// Not available: `.!=` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .!=")
  public static func != (a: Tensor, b: some TensorOperand) -> Bool { false }
  /// Not available: `.!=` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .!=")
  public static func != (a: some HostOperand, b: Tensor) -> Bool { false }
  /// Not available: `.<` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .<")
  public static func < (a: Tensor, b: some TensorOperand) -> Bool { false }
  /// Not available: `.<` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .<")
  public static func < (a: some HostOperand, b: Tensor) -> Bool { false }
  /// Not available: `.<=` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .<=")
  public static func <= (a: Tensor, b: some TensorOperand) -> Bool { false }
  /// Not available: `.<=` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .<=")
  public static func <= (a: some HostOperand, b: Tensor) -> Bool { false }
  /// Not available: `.>` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .>")
  public static func > (a: Tensor, b: some TensorOperand) -> Bool { false }
  /// Not available: `.>` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .>")
  public static func > (a: some HostOperand, b: Tensor) -> Bool { false }
  /// Not available: `.>=` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .>=")
  public static func >= (a: Tensor, b: some TensorOperand) -> Bool { false }
  /// Not available: `.>=` compares elementwise.
  @available(*, unavailable, message: "tensors are compared elementwise: write .>=")
  public static func >= (a: some HostOperand, b: Tensor) -> Bool { false }
}

precedencegroup PowerPrecedence {
  associativity: right
  higherThan: MultiplicationPrecedence
}

/// Power.
infix operator ** : PowerPrecedence
/// Power, in place.
infix operator **= : AssignmentPrecedence
