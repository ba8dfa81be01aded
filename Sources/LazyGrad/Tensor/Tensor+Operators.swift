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

// MARK: - Recording

extension Tensor {
  /// Records an operation on one tensor.
  @inline(__always)
  static func unary(_ opcode: Opcode, _ x: Tensor) -> Tensor {
    if let poison = poisoned(x) { return poison }
    return made(Tape.elementwise(opcode, x.slot, mode: x.joined()))
  }

  /// Records an operation on two tensors that broadcast together.
  ///
  /// Two tensors that are neither views nor poisoned are looked at no further than that: what everything
  /// else needs would be paid by every operation.
  @inline(__always)
  static func binary(_ opcode: Opcode, _ a: Tensor, _ b: Tensor) -> Tensor {
    guard let mode = Scope.quickMode, a.kind == .plain, b.kind == .plain,
      let handle = Tape.elementwise(opcode, a.slot, b.slot, mode: mode)
    else { return carefulBinary(opcode, a, b) }
    return made(handle)
  }

  @inline(never)
  private static func carefulBinary(_ opcode: Opcode, _ a: Tensor, _ b: Tensor) -> Tensor {
    if let poison = poisoned(a, b) { return poison }
    if Tape.broadcast(a.slot, b.slot) == nil { return cannotBroadcast(opcode, [a, b]) }
    if opcode == .sub, a.dtype == .bool, b.dtype == .bool { return refusedDifference([a, b]) }
    a.rejoin()
    return made(Tape.elementwise(opcode, a.slot, b.slot, mode: b.joined())!)
  }

  @inline(__always)
  static func binary(_ opcode: Opcode, _ a: Tensor, _ b: some TensorScalar) -> Tensor {
    binary(opcode, a, b.weak)
  }

  @inline(__always)
  static func binary(_ opcode: Opcode, _ a: some TensorScalar, _ b: Tensor) -> Tensor {
    binary(opcode, b, a.weak, scalarFirst: true)
  }

  /// Records an operation of a tensor and a number.
  @inline(__always)
  static func binary(
    _ opcode: Opcode, _ x: Tensor, _ number: WeakScalar, scalarFirst: Bool = false
  ) -> Tensor {
    if let poison = poisoned(x) { return poison }
    if !x.slot.pointee.type.isFloating, let refusal = refusal(opcode, x, number) { return refusal }
    return made(
      Tape.elementwise(opcode, x.slot, number, scalarFirst: scalarFirst, mode: x.joined()))
  }

  /// The tensor of a handle that an operation returned: one that nobody has any more, or a new one.
  @inline(__always)
  static func made(_ handle: NewHandle) -> Tensor {
    guard let object = handle.object else { return kept(handle) }
    let tensor = Unmanaged<Tensor>.fromOpaque(object).takeRetainedValue()
    if handle.slot.pointee.isWindowFull, let poison = tensor.lackOfRecords() {
      // The tape goes on using the object.
      tensor.dropRecord(for: poison)
      return Tensor(poison: poison)
    }
    return tensor
  }

  @inline(never)
  private static func kept(_ handle: NewHandle) -> Tensor {
    let tensor = Tensor(handle.slot)
    if handle.isWanted, tensor.kind == .plain {
      Tape.keep(Unmanaged.passRetained(tensor).toOpaque(), handle.slot)
    }
    return tensor
  }

  /// Prepares an operand of an operation that ends old gradients itself: a view that was cut off is
  /// joined to its base.
  ///
  /// - Returns: How the operation is to be recorded.
  @inline(__always)
  func joined() -> RecordMode {
    rejoin()
    return Scope.mode
  }

  /// Prepares an operand: a view that was cut off is joined to its base, and a new use clears the old
  /// gradient.
  func use() { Tape.dropOldGradient(slot, joined()) }

  /// The second half of `use()`, for operations that may still refuse their operands: one that fails
  /// changes nothing.
  func clearOldGradient() { Tape.dropOldGradient(slot, Scope.mode) }

  @inline(never)
  static func cannotBroadcast(_ opcode: Opcode, _ operands: [Tensor]) -> Tensor {
    let shapes = operands.map { "\($0.shape)" }.joined(separator: " and ")
    return fail(
      opcode.info.name, "expected shapes that broadcast together, got \(shapes)", operands)
  }
}
