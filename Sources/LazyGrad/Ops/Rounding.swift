// Rounding, signs and classification of elements, and division with a remainder. All but the remainders are
// without a gradient.

internal import LazyGradJIT

// MARK: - Rounding

/// The smallest whole number that is not smaller; without a gradient. Integers and bools stay.
public func ceil(_ x: Tensor) -> Tensor { rounded(x) { r, x in r(.neg, r(.floor, r(.neg, x))) } }

/// The whole part, rounded towards zero; without a gradient. Integers and bools stay.
public func trunc(_ x: Tensor) -> Tensor {
  rounded(x) { r, x in
    let isNegative = r(.less, x, r.number(0, like: x))
    return r.select(isNegative, r(.neg, r(.floor, r(.neg, x))), r(.floor, x))
  }
}

/// The nearest whole number, of two the even one; without a gradient. Integers and bools stay.
public func rint(_ x: Tensor) -> Tensor {
  let isSingle = x.dtype.scalarType.computing == .float32
  return rounded(x) { r, x in
    // With this much added no digit is left behind the point.
    let shift = r.number(isSingle ? 0x1p23 : 0x1p52, like: x)
    let (size, zero) = (r(.abs, x), r.number(0, like: x))
    let whole = r(.sub, r(.add, size, shift), shift)
    let signed = r.select(r(.less, x, zero), r(.neg, whole), whole)
    // Zero keeps the sign; what has no fraction, or is no number, is itself.
    let result = r.select(r(.equal, whole, zero), r(.mul, x, zero), signed)
    return r.select(r(.less, size, shift), result, x)
  }
}

private func rounded(_ x: Tensor, _ body: (Recorder, UInt32) -> UInt32) -> Tensor {
  if !x.dtype.isFloating { return +x }
  return x.compose { body($0.untracked, $0.x) }
}

// MARK: - Signs and classification

/// Where an element is neither infinite nor not-a-number.
public func isFinite(_ x: Tensor) -> Tensor {
  x.compose { r in
    if !x.dtype.isFloating { return r(.equal, r.x, r.x) }
    return r(.less, r(.abs, r.x), r.number(.infinity, like: r.x))
  }
}

/// Where an element is infinite.
public func isInf(_ x: Tensor) -> Tensor {
  x.compose { r in
    if !x.dtype.isFloating { return r(.notEqual, r.x, r.x) }
    return r(.equal, r(.abs, r.x), r.number(.infinity, like: r.x))
  }
}

/// Where an element is negative, minus zero included. Not-a-number counts as positive, whatever its bits.
public func signBit(_ x: Tensor) -> Tensor { x.compose { $0.signBit($0.x) } }

extension Recorder {
  fileprivate func signBit(_ x: UInt32) -> UInt32 {
    let zero = number(0, like: x)
    let isNegative = self(.less, x, zero)
    if !isFloating(x) { return isNegative }
    // Minus zero is told by its reciprocal.
    return self(.logicalOr, isNegative, self(.less, self(.reciprocal, x), zero))
  }
}

/// The first's magnitude with the second's sign, that of a zero included; the tensors broadcast. Integers
/// and bools give float64. The gradient goes to the first, and is 0 where that is 0.
public func copysign(_ a: Tensor, _ b: Tensor) -> Tensor {
  .composed("copysign", a, b) { r, x, y in
    let size = r(.abs, x)
    return r.select(r.signBit(y), r(.neg, size), size)
  }
}

/// Where one of both is true, and the other is not; the tensors broadcast.
public func logicalXor(_ a: Tensor, _ b: Tensor) -> Tensor { logicalNot(a) .!= logicalNot(b) }

// MARK: - Division with a remainder

/// What the division of the first by the second leaves when the quotient is rounded towards zero: exact, with
/// the first's sign. The tensors broadcast.
///
/// Integers give integers; the remainder of a division by 0 is 0 then, and not-a-number of floats. The
/// gradient with respect to the second is minus the quotient.
/// - Complexity: the C library's function for every element of floats.
public func fmod(_ a: Tensor, _ b: Tensor) -> Tensor {
  if a.dtype.isFloating || b.dtype.isFloating { return .binary(.fmod, a, b) }
  return dividing("fmod", a, b) { r, x, y in
    let rest = r.floorDivision(x, y).rest
    // The floor's remainder has the second's sign.
    let zero = r.number(0, like: x)
    let differs = r(.logicalAnd, r(.notEqual, rest, zero), r.signsDiffer(x, y))
    return r.select(differs, r(.sub, rest, y), rest)
  }
}
extension VJP {
  func fmod() {
    // The quotient's whole part, exact up to one rounding.
    derivatives(a: .unchanged, b: .times(self(.div, self(.sub, output, a), b)))
  }
}

/// What the first is more than `floorDivide` times the second, which has the second's sign: Python's `%`,
/// NumPy's `mod`. The tensors broadcast. A remainder of zero is positive.
///
/// Integers give integers; the remainder of a division by 0 is 0 then, and not-a-number of floats. The
/// gradient with respect to the second is minus the quotient.
/// - Complexity: as for `fmod`.
public func remainder(_ a: Tensor, _ b: Tensor) -> Tensor {
  if !a.dtype.isFloating, !b.dtype.isFloating {
    return dividing("remainder", a, b) { r, x, y in r.floorDivision(x, y).rest }
  }
  return .composed("remainder", a, b) { r, x, y in
    let rest = r(.fmod, x, y)
    return r(.add, rest, r.select(r.needsStep(rest, y), y, r.number(0, like: y)))
  }
}

/// The quotient rounded down to a whole number, Python's and NumPy's `//`; without a gradient. The tensors
/// broadcast.
///
/// It is the largest whole number that times the second does not exceed the first: `1 // 0.1` is 9, because
/// 0.1 is a little more than a tenth. Integers give integers, and 0 for a division by 0; of floats that is
/// infinite or not-a-number.
/// - Complexity: as for `fmod`.
public func floorDivide(_ a: Tensor, _ b: Tensor) -> Tensor {
  if !a.dtype.isFloating, !b.dtype.isFloating {
    return dividing("floorDivide", a, b) { r, x, y in r.floorDivision(x, y).quotient }
  }
  return .composed("floorDivide", a, b) { tracked, x, y in
    let r = tracked.untracked
    let (zero, one) = (r.number(0, like: x), r.number(1, like: x))
    let rest = r(.fmod, x, y)
    let toZero = r(.div, r(.sub, x, rest), y)
    let quotient = r(.sub, toZero, r.select(r.needsStep(rest, y), one, zero))
    // It is whole but for the rounding of the division.
    let floor = r(.floor, quotient)
    let isNextOne = r(.less, r.number(0.5, like: x), r(.sub, quotient, floor))
    let whole = r(.add, floor, r.select(isNextOne, one, zero))
    return r.select(r(.equal, y, zero), r(.div, x, y), whole)
  }
}

/// The three with a number, which takes the tensor's type.
public func fmod(_ a: Tensor, _ b: some TensorScalar) -> Tensor { fmod(a, a.alike(b)) }
/// The remainder of a division by a number, which takes the tensor's type.
public func remainder(_ a: Tensor, _ b: some TensorScalar) -> Tensor { remainder(a, a.alike(b)) }
/// The whole quotient of a division by a number, which takes the tensor's type.
public func floorDivide(_ a: Tensor, _ b: some TensorScalar) -> Tensor {
  floorDivide(a, a.alike(b))
}

extension Tensor {
  /// A number as a tensor that promotes with this one as the number would.
  fileprivate func alike(_ number: some TensorScalar) -> Tensor {
    if let poison = poisoned(self) { return poison }
    return .full(
      [], number, dtype: DType(number.weak.promoted(with: dtype.scalarType)), constant: true)
  }
}

/// Records an integer operation in the type that both operands have in common; of two bools in uint8.
private func dividing(
  _ name: String, _ a: Tensor, _ b: Tensor, _ body: (Recorder, UInt32, UInt32) -> UInt32
) -> Tensor {
  Tensor.record(a, b) {
    Tape.broadcast(a.slot, b.slot) == nil ? Tensor.cannotBroadcast(name, [a, b]) : nil
  } _: { mode in
    let common = ScalarType.promoted(a.slot.pointee.type, b.slot.pointee.type)
    let type = common == .bool ? .uint8 : common
    return .made(
      Tape.compose(a.slot, b.slot, mode: mode) { r in
        body(r, r.cast(r.x, to: type), r.cast(r.y, to: type))
      })
  }
}

extension Recorder {
  /// Whether the remainder of a division that was rounded towards zero has the other sign than `divisor`.
  fileprivate func needsStep(_ rest: UInt32, _ divisor: UInt32) -> UInt32 {
    let isThere = self(.notEqual, rest, number(0, like: rest))
    return self(.logicalAnd, isThere, signsDiffer(rest, divisor))
  }

  fileprivate func signsDiffer(_ x: UInt32, _ y: UInt32) -> UInt32 {
    self(.notEqual, self(.less, x, number(0, like: x)), self(.less, y, number(0, like: y)))
  }

  /// The quotient of integers rounded down, and what is left; 0 and 0 for a division by 0.
  ///
  /// Quotients are computed in double precision. Those of 64-bit integers have more digits: what the first
  /// one leaves is divided again, and one is added or taken off where the remainder is still out of range.
  fileprivate func floorDivision(
    _ x: UInt32, _ y: UInt32
  ) -> (quotient: UInt32, rest: UInt32) {
    let zero = number(0, like: x)
    let isZero = self(.equal, y, zero)
    let divisor = select(isZero, number(1, like: y), y)
    func quotient(_ x: UInt32) -> UInt32 {
      let exact = self(.div, cast(x, to: .float64), cast(divisor, to: .float64))
      return cast(self(.floor, exact), to: type(x))
    }
    func rest(_ quotient: UInt32) -> UInt32 { self(.sub, x, self(.mul, quotient, divisor)) }
    var result = quotient(x)
    if type(x) == .int64 {
      result = self(.add, result, quotient(rest(result)))
      let left = rest(result)
      let isBelow = needsStep(left, divisor)
      let isAbove = select(
        self(.less, zero, divisor), self(.lessEqual, divisor, left), self(.lessEqual, left, divisor)
      )
      result = self(.sub, result, cast(isBelow, to: .int64))
      let isTooSmall = self(.logicalAnd, isAbove, self(.logicalNot, isBelow))
      result = self(.add, result, cast(isTooSmall, to: .int64))
    }
    return (select(isZero, zero, result), select(isZero, zero, rest(result)))
  }
}
