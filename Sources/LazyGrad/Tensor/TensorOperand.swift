// What tensors combine with, and how an operand reaches the recorder. Uses Array and Tensor.
//
// The type checker has to find operators in formulas that mix tensors with numbers. It begins with the one
// whose operands and result tell it most, and where it has guessed wrong it goes through all that there is:
// in Swift's arithmetic there are three ways for each operator of two Doubles, so a wrong guess takes
// seconds, or the compiler gives up. The operators are declared so that there is hardly anything to guess:
//
// - One overload takes a tensor on the left and anything on the right, the other anything on the left and a
//   tensor on the right. Whichever operand is known to be a tensor first, one of them is right whatever
//   the other turns out to be. With an overload of two tensors the compiler gives up on `0.5 * q + 0.5 *
//   Double(n) * log(2 * Double.pi)`; with two that have no pair in common, on others.
// - Two tensors fit both. `Form`, which the signature need not name, makes the first look a little less
//   fitting, so that the type checker tries the second only; and it prefers members of types to those of
//   protocols, so that neither is ambiguous.
// - The results are tensors, not types that hang on the operands: those make closures over numbers, where
//   nothing is known, take twice the time.
// - `**` has no overloads. The type checker treats it as an operator that it has never heard of, and
//   tries overloads before it knows their operands.
//
// `perf/type-check.sh` measures it.
//
// The entries behind them are neither generic nor inlined: `x + y` is one call.

internal import LazyGradJIT

/// What can be combined with a tensor: a tensor, an `NDArray`, or a Swift number.
///
/// Numbers are weakly typed: `x * 2.5` keeps the type of `x`. An array takes part with its memory, which
/// is shared and guarded, as a constant.
///
/// A type of your own must not conform: the requirements are the library's own.
public protocol TensorOperand {
  /// What the operand is to the recorder: a tensor or a number.
  associatedtype _Form: _OperandForm
  /// What can be the exponent or the second operand where this is the first: anything for a tensor, a
  /// tensor for the others. One of the two has to be one.
  associatedtype Partner = Tensor
  /// The operand as the recorder takes it.
  var _form: _Form { get }
  /// This to the power of a partner.
  func _raised(to exponent: Partner) -> Tensor
  /// A tensor to the power of this.
  func _power(of base: Tensor) -> Tensor
}

/// An operand that is no tensor: an `NDArray` or a Swift number. A type of your own must not conform.
public protocol HostOperand: TensorOperand where Partner == Tensor {}

/// An operand of many elements: a tensor or an `NDArray`. A type of your own must not conform.
public protocol ArrayOperand: TensorOperand where _Form == Tensor {}

/// What an operand is to the recorder: a tensor or a number. No other type conforms.
public protocol _OperandForm {
  /// Records an operation whose second operand this is.
  static func _record(_ operation: _BinaryOperation, _ a: Tensor, _ b: Self) -> Tensor
  /// Records an operation whose first operand this is.
  static func _record(_ operation: _BinaryOperation, _ a: Self, _ b: Tensor) -> Tensor
  /// Updates a tensor in place by an operation whose second operand this is.
  static func _update(_ a: Tensor, _ operation: _BinaryOperation, _ b: Self)
  /// The operand as a tensor: a number has the type that it would have beside another operand.
  func _tensor(beside other: some _OperandForm) -> Tensor
  /// The tensor; nil for a number.
  var _recordedTensor: Tensor? { get }
  /// The number; nil for a tensor.
  var _number: _Number? { get }
}

/// The operations of two operands that operators stand for.
@frozen
public enum _BinaryOperation: UInt8, Sendable {
  case add, sub, mul, div, pow
  case maximum, minimum
  case equal, notEqual, less, lessEqual, greater, greaterEqual
  case and, or
  case bitAnd, bitOr, bitXor, leftShift, rightShift

  @inline(__always)
  var opcode: Opcode {
    switch self {
    case .add: .add
    case .sub: .sub
    case .mul: .mul
    case .div: .div
    case .pow: .pow
    case .maximum: .maximum
    case .minimum: .minimum
    case .equal: .equal
    case .notEqual: .notEqual
    case .less: .less
    case .lessEqual: .lessEqual
    case .greater: .greater
    case .greaterEqual: .greaterEqual
    case .and: .logicalAnd
    case .or: .logicalOr
    case .bitAnd: .bitAnd
    case .bitOr: .bitOr
    case .bitXor: .bitXor
    case .leftShift: .leftShift
    case .rightShift: .rightShift
    }
  }

  /// The name of the update in place, for messages.
  var update: String {
    switch self {
    case .add: "+="
    case .sub: "-="
    case .mul: "*="
    case .div: "/="
    case .pow: "**="
    default: opcode.info.name
    }
  }
}

// MARK: - Tensors and arrays

extension Tensor: ArrayOperand, _OperandForm {
  /// A tensor combines with everything.
  public typealias Partner = any TensorOperand

  /// The tensor itself.
  @inlinable public var _form: Tensor { self }
  /// The exponent says how.
  @inlinable public func _raised(to exponent: any TensorOperand) -> Tensor {
    exponent._power(of: self)
  }
  /// A power of two tensors.
  @inlinable public func _power(of base: Tensor) -> Tensor { Tensor._power(base, self) }
  /// The tensor itself.
  @inlinable public func _tensor(beside other: some _OperandForm) -> Tensor { self }
  /// The tensor itself.
  @inlinable public var _recordedTensor: Tensor? { self }
  /// None.
  @inlinable public var _number: _Number? { nil }

  /// Records an operation on two tensors.
  @inlinable
  public static func _record(_ operation: _BinaryOperation, _ a: Tensor, _ b: Tensor) -> Tensor {
    recordOperation(operation, a, b)
  }

  /// A power of two tensors.
  public static func _power(_ a: Tensor, _ b: Tensor) -> Tensor {
    if !a.dtype.isFloating, let refusal = negativePower(b, [a, b]) { return refusal }
    return binary(.pow, a, b)
  }

  /// A tensor to the power of a number; 1 and 2 are a copy and a square.
  public static func _power(_ a: Tensor, _ b: _Number) -> Tensor {
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

  /// A number to the power of a tensor.
  public static func _power(_ a: _Number, _ b: Tensor) -> Tensor {
    let number = a.weak
    if number.kind != .float, let refusal = negativePower(b, [b]) { return refusal }
    return binary(.pow, b, number, scalarFirst: true)
  }
}

extension NDArray: HostOperand, ArrayOperand {
  /// A constant over the array's memory.
  public var _form: Tensor { Tensor(self, constant: true, copy: false) }
  /// The array is a constant.
  public func _raised(to exponent: Tensor) -> Tensor { Tensor._power(_form, exponent) }
  /// The array is a constant.
  public func _power(of base: Tensor) -> Tensor { Tensor._power(base, _form) }
}

// MARK: - Entries

// What operators come down to. They are no members of a type, which would be one argument more.

@usableFromInline
func recordOperation(_ operation: _BinaryOperation, _ a: Tensor, _ b: Tensor) -> Tensor {
  .binary(operation.opcode, a, b)
}

@usableFromInline
func recordOperation(_ operation: _BinaryOperation, _ a: Tensor, _ b: _Number) -> Tensor {
  .binary(operation.opcode, a, b.weak)
}

@usableFromInline
func recordOperation(_ operation: _BinaryOperation, _ a: _Number, _ b: Tensor) -> Tensor {
  .binary(operation.opcode, b, a.weak, scalarFirst: true)
}

// MARK: - Numbers

/// A Swift number as an operand.
@frozen
public struct _Number: _OperandForm, Sendable {
  @usableFromInline let kind: Kind
  @usableFromInline let bits: UInt64

  @frozen @usableFromInline enum Kind: UInt8, Sendable { case bool, int, float }

  @inlinable init(_ value: Double) {
    kind = .float
    bits = value.bitPattern
  }

  @inlinable init(_ value: Int64) {
    kind = .int
    bits = UInt64(bitPattern: value)
  }

  @inlinable init(_ value: Bool) {
    kind = .bool
    bits = value ? 1 : 0
  }

  @inline(__always)
  var weak: WeakScalar {
    if kind == .float {
      let double = Double(bitPattern: bits)
      return WeakScalar(kind: .float, double: double, int: double._int64)
    }
    let int = Int64(bitPattern: bits)
    return WeakScalar(kind: kind == .bool ? .bool : .int, double: Double(int), int: int)
  }

  /// Records an operation on a tensor and a number.
  @inlinable
  public static func _record(_ operation: _BinaryOperation, _ a: Tensor, _ b: _Number) -> Tensor {
    recordOperation(operation, a, b)
  }
  /// Records an operation on a number and a tensor.
  @inlinable
  public static func _record(_ operation: _BinaryOperation, _ a: _Number, _ b: Tensor) -> Tensor {
    recordOperation(operation, a, b)
  }

  /// Updates a tensor in place by an operation with a number.
  @inlinable
  public static func _update(_ a: Tensor, _ operation: _BinaryOperation, _ b: _Number) {
    Tensor._update(a, operation, b)
  }

  /// A constant scalar of the type that the number takes beside a tensor or another number.
  public func _tensor(beside other: some _OperandForm) -> Tensor {
    let weak = weak
    let type: ScalarType
    if let tensor = other._recordedTensor {
      type = weak.promoted(with: tensor.slot.pointee.type)
    } else {
      let kinds = max(kind.rawValue, other._number?.kind.rawValue ?? 0)
      type = kinds == Kind.bool.rawValue ? .bool : kinds == Kind.int.rawValue ? .int64 : .float64
    }
    return Tensor(
      Tape.filled(weak, type: type, shape: LayoutTable.scalar, isVariable: false))
  }
  /// None.
  public var _recordedTensor: Tensor? { nil }
  /// The number itself.
  public var _number: _Number? { self }
}

extension TensorScalar {
  /// The number to the power of a tensor.
  @inlinable public func _raised(to exponent: Tensor) -> Tensor {
    Tensor._power(_form, exponent)
  }
  /// A tensor to the power of the number.
  @inlinable public func _power(of base: Tensor) -> Tensor { Tensor._power(base, _form) }

  @inline(__always)
  var weak: WeakScalar { _form.weak }
}

extension Double {
  /// A number of its own kind.
  @inlinable public var _form: _Number { _Number(self) }
}
extension Float {
  /// The same number.
  @inlinable public var _form: _Number { _Number(Double(self)) }
}
extension Int {
  /// The same number.
  @inlinable public var _form: _Number { _Number(Int64(self)) }
}
extension Int64 {
  /// A number of its own kind.
  @inlinable public var _form: _Number { _Number(self) }
}
extension Int32 {
  /// The same number.
  @inlinable public var _form: _Number { _Number(Int64(self)) }
}
extension UInt8 {
  /// The same number.
  @inlinable public var _form: _Number { _Number(Int64(self)) }
}
extension Bool {
  /// A truth value.
  @inlinable public var _form: _Number { _Number(self) }
}
