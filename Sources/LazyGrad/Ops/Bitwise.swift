// Operations on the bits of integers, which truth values take as logic. No gradient flows through them.

internal import LazyGradJIT

/// The bits that both have, as NumPy's `bitwise_and`; of truth values whether both are true. `a .& b` is the
/// same.
///
/// Operands broadcast, and have their common integer type, or bool. Floats are an error.
public func bitwiseAnd<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  recordBitwise(.bitAnd, a, b)
}

/// The bits that at least one has, as NumPy's `bitwise_or`; of truth values whether one is true. `a .| b` is
/// the same. Operands as for `bitwiseAnd`.
public func bitwiseOr<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  recordBitwise(.bitOr, a, b)
}

/// The bits that one has and the other has not, as NumPy's `bitwise_xor`; of truth values whether they
/// differ. `a .^ b` is the same. Operands as for `bitwiseAnd`.
public func bitwiseXor<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  recordBitwise(.bitXor, a, b)
}

/// The bits that an integer has not, as NumPy's `bitwise_not`: `-x - 1`, and `255 - x` of uint8. Of a truth
/// value the other one. Floats are an error.
public func bitwiseNot(_ x: Tensor) -> Tensor {
  if x.dtype == .bool { return logicalNot(x) }
  return recordBitwise(.bitXor, x, x.dtype == .uint8 ? 255 : -1)
}

/// The bits moved to higher places, zeros behind them, as NumPy's `left_shift`: times a power of 2, wrapped
/// around. A shift by as many bits as the type has, by more, or by a negative number gives 0.
///
/// Operands broadcast, and have their common integer type. Floats and truth values are an error.
public func leftShift<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  recordBitwise(.leftShift, a, b)
}

/// The bits moved to lower places, copies of the sign before them, as NumPy's `right_shift`: the quotient by
/// a power of 2, rounded down. A shift by as many bits as the type has, by more, or by a negative number
/// gives 0, or -1 of negative numbers.
///
/// Operands as for `leftShift`.
public func rightShift<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  recordBitwise(.rightShift, a, b)
}

extension Tensor {
  /// The bits, or truths, that one has and the other has not: `bitwiseXor`.
  public static func .^ (a: Tensor, b: some ArrayOperand) -> Tensor { bitwiseXor(a, b) }
}

private func recordBitwise<B: TensorOperand>(
  _ operation: _BinaryOperation, _ a: Tensor, _ b: B
) -> Tensor {
  let form = b._form
  if let poison = poisoned(a) ?? form._recordedTensor.flatMap({ poisoned($0) }) { return poison }
  let info = operation.opcode.info
  let second = form._recordedTensor?.dtype.scalarType ?? form._number?.weak.ownType ?? .bool
  if !info.takes(a.dtype.scalarType) || !info.takes(second) {
    return fail(
      info.name,
      "expected integers\(info.takes(.bool) ? " or truth values" : ""), got \(a.dtype) and "
        + "\(DType(second))", [a] + (form._recordedTensor.map { [$0] } ?? []))
  }
  return B._Form._record(operation, a, form)
}
