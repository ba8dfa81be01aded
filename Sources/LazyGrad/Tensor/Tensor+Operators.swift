// Operators: arithmetic and comparison between tensors, and with Swift numbers, which are weakly
// typed. One generic overload for numbers keeps type checking fast.

internal import LazyGradJIT

extension Tensor {
  /// The negative of every element. Truth values have none.
  public static prefix func - (x: Tensor) -> Tensor {
    x.slot.pointee.type == .bool ? refusedNegative(x) : unary(.neg, x)
  }

  /// A copy of every element.
  public static prefix func + (x: Tensor) -> Tensor { unary(.copy, x) }

  /// Adds elementwise, with broadcasting.
  public static func + (a: Tensor, b: Tensor) -> Tensor { binary(.add, a, b) }
  /// Adds a number, which takes the tensor's type.
  public static func + (a: Tensor, b: some TensorScalar) -> Tensor { binary(.add, a, b) }
  /// Adds a number, which takes the tensor's type.
  public static func + (a: some TensorScalar, b: Tensor) -> Tensor { binary(.add, a, b) }

  /// Subtracts elementwise, with broadcasting. Truth values have no difference; `.!=` tells where they
  /// differ.
  public static func - (a: Tensor, b: Tensor) -> Tensor { binary(.sub, a, b) }
  /// Subtracts a number.
  public static func - (a: Tensor, b: some TensorScalar) -> Tensor { binary(.sub, a, b) }
  /// Subtracts from a number.
  public static func - (a: some TensorScalar, b: Tensor) -> Tensor { binary(.sub, a, b) }

  /// Multiplies elementwise, with broadcasting.
  public static func * (a: Tensor, b: Tensor) -> Tensor { binary(.mul, a, b) }
  /// Multiplies by a number, which takes the tensor's type.
  public static func * (a: Tensor, b: some TensorScalar) -> Tensor { binary(.mul, a, b) }
  /// Multiplies by a number, which takes the tensor's type.
  public static func * (a: some TensorScalar, b: Tensor) -> Tensor { binary(.mul, a, b) }

  /// Divides elementwise, with broadcasting. Integers are divided as float64.
  public static func / (a: Tensor, b: Tensor) -> Tensor { binary(.div, a, b) }
  /// Divides by a number.
  public static func / (a: Tensor, b: some TensorScalar) -> Tensor { binary(.div, a, b) }
  /// Divides a number.
  public static func / (a: some TensorScalar, b: Tensor) -> Tensor { binary(.div, a, b) }

  /// Multiplies with a host array, whose memory is shared and guarded.
  public static func * (a: NDArray, b: Tensor) -> Tensor { binary(.mul, wrapped(a), b) }
  /// Multiplies with a host array, whose memory is shared and guarded.
  public static func * (a: Tensor, b: NDArray) -> Tensor { binary(.mul, a, wrapped(b)) }
  /// Adds a host array, whose memory is shared and guarded.
  public static func + (a: NDArray, b: Tensor) -> Tensor { binary(.add, wrapped(a), b) }
  /// Adds a host array, whose memory is shared and guarded.
  public static func + (a: Tensor, b: NDArray) -> Tensor { binary(.add, a, wrapped(b)) }
  /// Subtracts from a host array, whose memory is shared and guarded.
  public static func - (a: NDArray, b: Tensor) -> Tensor { binary(.sub, wrapped(a), b) }
  /// Subtracts a host array, whose memory is shared and guarded.
  public static func - (a: Tensor, b: NDArray) -> Tensor { binary(.sub, a, wrapped(b)) }
  /// Divides a host array, whose memory is shared and guarded.
  public static func / (a: NDArray, b: Tensor) -> Tensor { binary(.div, wrapped(a), b) }
  /// Divides by a host array, whose memory is shared and guarded.
  public static func / (a: Tensor, b: NDArray) -> Tensor { binary(.div, a, wrapped(b)) }

  /// A host array as a constant operand, without a copy.
  private static func wrapped(_ array: NDArray) -> Tensor {
    Tensor(array, constant: true, copy: false)
  }

  /// Where the elements are equal.
  public static func .== (a: Tensor, b: Tensor) -> Tensor { binary(.equal, a, b) }
  /// Where the elements equal a number.
  public static func .== (a: Tensor, b: some TensorScalar) -> Tensor { binary(.equal, a, b) }
  /// Where the elements differ.
  public static func .!= (a: Tensor, b: Tensor) -> Tensor { binary(.notEqual, a, b) }
  /// Where the elements differ from a number.
  public static func .!= (a: Tensor, b: some TensorScalar) -> Tensor { binary(.notEqual, a, b) }
  /// Where the first is smaller.
  public static func .< (a: Tensor, b: Tensor) -> Tensor { binary(.less, a, b) }
  /// Where the elements are smaller than a number.
  public static func .< (a: Tensor, b: some TensorScalar) -> Tensor { binary(.less, a, b) }
  /// Where the first is smaller or equal.
  public static func .<= (a: Tensor, b: Tensor) -> Tensor { binary(.lessEqual, a, b) }
  /// Where the elements are at most a number.
  public static func .<= (a: Tensor, b: some TensorScalar) -> Tensor { binary(.lessEqual, a, b) }
  /// Where the first is greater.
  public static func .> (a: Tensor, b: Tensor) -> Tensor { binary(.greater, a, b) }
  /// Where the elements are greater than a number.
  public static func .> (a: Tensor, b: some TensorScalar) -> Tensor { binary(.greater, a, b) }
  /// Where the first is greater or equal.
  public static func .>= (a: Tensor, b: Tensor) -> Tensor { binary(.greaterEqual, a, b) }
  /// Where the elements are at least a number.
  public static func .>= (a: Tensor, b: some TensorScalar) -> Tensor {
    binary(.greaterEqual, a, b)
  }

  /// The first to the power of the second, elementwise.
  ///
  /// Gradients as in MyGrad: with respect to the base `y * x^(y - 1)`, and 0 where `y` is 0; with
  /// respect to the exponent `x^y * log(x)`, and 0 where `x` is 0.
  ///
  /// Integers to a negative power are not integers, so that is an error; make one of the two floats.
  /// - Complexity: records one node; of an integer to the power of int32 or int64 the exponents are
  ///   computed and looked at.
  public static func ** (a: Tensor, b: Tensor) -> Tensor {
    if !a.dtype.isFloating, let refusal = negativePower(b, [a, b]) { return refusal }
    return binary(.pow, a, b)
  }
  /// The tensor to the power of a number; 1 and 2 are a copy and a square.
  public static func ** (a: Tensor, b: some TensorScalar) -> Tensor {
    let number = b.weak
    let isWhole = !a.dtype.isFloating && number.kind != .float
    switch number.double {
    case 1 where !isWhole: return a.dtype.isFloating ? unary(.copy, a) : a.cast(to: .float64)
    case 2 where !isWhole: return unary(.square, a.dtype.isFloating ? a : a.cast(to: .float64))
    case 2 where a.dtype != .bool: return unary(.square, a)
    default:
      if number.double < 0, isWhole { return refusedPower([a]) }
      return binary(.pow, a, number)
    }
  }
  /// A number to the power of the tensor.
  public static func ** (a: some TensorScalar, b: Tensor) -> Tensor {
    if a.weak.kind != .float, let refusal = negativePower(b, [b]) { return refusal }
    return binary(.pow, a, b)
  }
}

precedencegroup PowerPrecedence {
  associativity: right
  higherThan: MultiplicationPrecedence
}

/// Power.
infix operator ** : PowerPrecedence
/// Power, in place.
infix operator **= : AssignmentPrecedence
