// Elementwise functions, and the derivative rules of all elementwise operations. A rule stands below the
// function; those of operators are at the end.

internal import LazyGradJIT

/// e to the power of every element. Error at most 1 unit in the last place (ULP).
public func exp(_ x: Tensor) -> Tensor { .unary(.exp, x) }
extension VJP { func exp() { derivatives(a: .times(output)) } }
/// e^x - 1, accurate near 0. Error at most 1.3 ULP.
public func expm1(_ x: Tensor) -> Tensor { .unary(.expm1, x) }
extension VJP {
  // Not the result plus 1, which is 0 where e^x is smaller than rounding errors of 1.
  func expm1() { derivatives(a: .times(self(.exp, a))) }
}

/// The natural logarithm; negative numbers give not-a-number, 0 minus infinity. Error at most 1 ULP.
public func log(_ x: Tensor) -> Tensor { .unary(.log, x) }
extension VJP { func log() { derivatives(a: .over(a)) } }
/// log(1 + x), accurate near 0. Error at most 1 ULP.
public func log1p(_ x: Tensor) -> Tensor { .unary(.log1p, x) }
extension VJP { func log1p() { derivatives(a: .over(self(.add, a, number(1)))) } }
/// The sine. Error at most 1 ULP in float64 and 1.2 in float32, however large the angle is.
public func sin(_ x: Tensor) -> Tensor { .unary(.sin, x) }
extension VJP { func sin() { derivatives(a: .times(self(.cos, a))) } }
/// The cosine. Error at most 1 ULP in float64 and 1.2 in float32, however large the angle is.
public func cos(_ x: Tensor) -> Tensor { .unary(.cos, x) }
extension VJP { func cos() { derivatives(a: .minusTimes(self(.sin, a))) } }
/// The hyperbolic tangent. Error at most 1.3 ULP. The backward pass needs the output only.
public func tanh(_ x: Tensor) -> Tensor { .unary(.tanh, x) }
extension VJP {
  func tanh() { derivatives(a: .times(self(.sub, number(1), self(.square, output)))) }
}

/// 1 / (1 + e^-x). Error at most 1.4 ULP. The backward pass needs the output only.
public func sigmoid(_ x: Tensor) -> Tensor { .unary(.sigmoid, x) }
extension VJP {
  func sigmoid() {
    derivatives(a: .times(self(.mul, output, self(.sub, number(1), output))))
  }
}

/// The cube root, of negative numbers too. Error at most 0.51 ULP in float32, 0.7 in float64. The gradient
/// at 0 is infinite.
public func cbrt(_ x: Tensor) -> Tensor { .unary(.cbrt, x) }
extension VJP {
  func cbrt() { derivatives(a: .over(self(.mul, self(.square, output), number(3)))) }
}

/// The error function. Error at most 1.3 ULP.
public func erf(_ x: Tensor) -> Tensor { .unary(.erf, x) }
extension VJP {
  // 2 / sqrt(pi) * e^(-x^2)
  func erf() {
    derivatives(
      a: .times(
        self(.mul, self(.exp, self(.neg, self(.square, a))), number(1.128379167095512573896))))
  }
}

/// log(1 + e^x), computed without overflow: max(x, 0) + log1p(e^-|x|). Error at most 2.5 ULP.
///
/// The derivative is `sigmoid(x)`. Integers and bools give float64. The backward pass needs the output
/// only.
public func softplus(_ x: Tensor) -> Tensor { Composite.softplus(x) }
extension Composite {
  fileprivate static let softplus = Composite("softplus") { r, x, _ in
    let tail = r(.log1p, r(.exp, r(.neg, r(.abs, x))))
    return r(.add, r(.relu, x), tail)
  } rule: {
    // sigmoid(x) = 1 - e^-y
    $0.derivatives(a: .minusTimes($0(.expm1, $0(.neg, $0.output))))
  }
}

/// max(x, 0); the gradient at 0 is 0, not-a-number goes through.
public func relu(_ x: Tensor) -> Tensor { .unary(.relu, x) }
extension VJP {
  // 0 times the output is 0, or not-a-number where the output is that.
  func relu() {
    derivatives(
      a: .when(test(.greater, output, number(0)), else: self(.mul, output, number(0))))
  }
}

/// The square root, correctly rounded; the gradient at 0 is infinite.
public func sqrt(_ x: Tensor) -> Tensor { .unary(.sqrt, x) }
extension VJP { func sqrt() { derivatives(a: .over(self(.mul, output, number(2)))) } }
/// x * x.
public func square(_ x: Tensor) -> Tensor { .unary(.square, x) }
extension VJP { func square() { derivatives(a: .times(self(.mul, a, number(2)))) } }
/// 1 / x. Integers give integers, as in NumPy: cut off towards zero, so all but 1 and -1 give 0.
public func reciprocal(_ x: Tensor) -> Tensor {
  if x.dtype.isFloating || x.dtype == .bool { return .unary(.reciprocal, x) }
  return `where`(abs(x) .== 1, x, 0)
}
extension VJP { func reciprocal() { derivatives(a: .minusTimes(self(.square, output))) } }
/// The absolute value; the gradient at 0 is 0.
public func abs(_ x: Tensor) -> Tensor { .unary(.abs, x) }
extension VJP { func abs() { derivatives(a: .times(self(.sign, a))) } }
/// The absolute value; the gradient at 0 is 0, or without `nanToNum` not-a-number: there is none. MyGrad's
/// option of that name.
public func abs(_ x: Tensor, nanToNum: Bool) -> Tensor {
  nanToNum || !x.dtype.isFloating ? abs(x) : Composite.strictAbs(x)
}
extension Composite {
  fileprivate static let strictAbs = Composite("abs", of: .operand) { r, x, _ in
    r(.abs, x)
  } rule: {
    let isZero = $0.test(.equal, $0.a, $0.number(0))
    $0.derivatives(a: .times($0.choice(isZero, $0.number(.nan), $0(.sign, $0.a))))
  }
}
/// -1, 0 or 1; without a gradient.
public func sign(_ x: Tensor) -> Tensor { .unary(.sign, x) }
/// The largest whole number that is not greater; without a gradient.
public func floor(_ x: Tensor) -> Tensor { .unary(.floor, x) }
/// Where an element is not-a-number.
public func isNaN(_ x: Tensor) -> Tensor { .unary(.isNaN, x) }
/// The first to the power of the second. Error at most 1 ULP; in float64 that is the C library's.
///
/// The second may be a number or an array as well, and so may be the first where the second is a tensor.
@inlinable
public func pow(_ a: Tensor, _ b: some TensorOperand) -> Tensor { b._power(of: a) }
/// A number or an array to the power of a tensor.
@inlinable
public func pow(_ a: some HostOperand, _ b: Tensor) -> Tensor { a._raised(to: b) }

/// The greater of two elements; where they are equal neither gets a gradient.
@inlinable
public func maximum<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  B._Form._record(.maximum, a, b._form)
}
/// The greater of a number or an array and a tensor.
@inlinable
public func maximum<A: HostOperand>(_ a: A, _ b: Tensor) -> Tensor {
  A._Form._record(.maximum, a._form, b)
}
/// The smaller of two elements; where they are equal neither gets a gradient.
@inlinable
public func minimum<B: TensorOperand>(_ a: Tensor, _ b: B) -> Tensor {
  B._Form._record(.minimum, a, b._form)
}
/// The smaller of a number or an array and a tensor.
@inlinable
public func minimum<A: HostOperand>(_ a: A, _ b: Tensor) -> Tensor {
  A._Form._record(.minimum, a._form, b)
}
extension VJP {
  func maximum() { extreme(.greater) }
  func minimum() { extreme(.less) }

  /// The first operand gets the gradient where it won; the second where it neither lost nor tied.
  private func extreme(_ wins: Opcode) {
    let (x, y) = (a, b)
    let zero = number(0)
    let firstWins = test(wins, x, y)
    derivatives(
      a: .when(firstWins, else: zero),
      b: .unless(test(.logicalOr, firstWins, test(.equal, x, y)), then: zero))
  }
}

/// Where both are true.
public func logicalAnd(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.logicalAnd, a, b) }
/// Where at least one is true.
public func logicalOr(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.logicalOr, a, b) }
/// Where the element is false, or 0.
public func logicalNot(_ x: Tensor) -> Tensor { .unary(.logicalNot, x) }

/// Takes from `x` where `condition` holds, else from `y`; all three broadcast.
///
/// Each may be a tensor, an array or a number. A number beside a tensor takes its type; two numbers give
/// float64 if one is a float, else int64, or bool. Gradients are routed to where the element was taken
/// from; the other operand gets exactly 0, whatever its own derivative would be.
@inlinable
public func `where`(
  _ condition: some TensorOperand, _ x: some TensorOperand, _ y: some TensorOperand
) -> Tensor {
  let (condition, x, y) = (condition._form, x._form, y._form)
  return select(
    condition._tensor(beside: condition), x._tensor(beside: y), y._tensor(beside: x))
}

@usableFromInline
func select(_ condition: Tensor, _ x: Tensor, _ y: Tensor) -> Tensor {
  Tensor.quick(condition, x, y) {
    Tape.select(condition.slot, x.slot, y.slot, mode: $0)
  }
    ?? Tensor.record(condition, x, y) {
      Tape.broadcast(condition.slot, x.slot, y.slot) == nil
        ? Tensor.cannotBroadcast(.select, [condition, x, y]) : nil
    } _: {
      .made(Tape.select(condition.slot, x.slot, y.slot, mode: $0)!)
    }
}
extension VJP {
  func select() {
    let (condition, zero) = (a, number(0))
    derivatives(b: .when(condition, else: zero), c: .unless(condition, then: zero))
  }
}

extension Tensor {
  /// `minimum(maximum(x, lower), upper)`, a new tensor; a missing bound does not limit. The gradient at a
  /// bound is 0.
  ///
  /// Whole bounds keep integers; if one has a fraction, or may have one, they become float64. A bound that
  /// no integer of the type can exceed does not limit either; any other that the type can't hold is an
  /// error.
  public func clip(_ lower: (any TensorScalar)?, _ upper: (any TensorScalar)?) -> Tensor {
    if let poison = poisoned(self) { return poison }
    var bounds = [lower?.weak, upper?.weak]
    if let range = dtype.scalarType.range {
      if bounds.contains(where: { $0?.kind == .float }) {
        bounds = bounds.map { $0.map { WeakScalar(kind: .float, double: $0.double, int: $0.int) } }
      } else {
        if let bound = bounds[0], bound.int <= range.lowerBound { bounds[0] = nil }
        if let bound = bounds[1], bound.int >= range.upperBound { bounds[1] = nil }
        for bound in bounds.compactMap({ $0 }) {
          if let message = bound.misfit(dtype) { return fail("clip", message, [self]) }
        }
      }
    }
    if bounds[0] == nil, bounds[1] == nil { return +self }
    var result = self
    if let lower = bounds[0] { result = .binary(.maximum, result, lower) }
    if let upper = bounds[1] { result = .binary(.minimum, result, upper) }
    return result
  }

  /// The same values in another type, as `NDArray.astype(_:)` converts them. Between floating types
  /// gradients flow through; integers and bools are constants.
  ///
  /// Floats are cut off towards zero when they become integers. What doesn't fit, NaN included, gives
  /// the smallest number of `int32` and `int64`; `uint8` takes the low byte of the `int32`, so -1 is
  /// 255. That is what NumPy does on x86-64, and holds on every machine. Integers wrap around, and
  /// anything but zero is true.
  ///
  /// - Complexity: records one node.
  public func cast(to dtype: DType) -> Tensor {
    Self.record(self) { .made(Tape.cast(slot, to: dtype.scalarType, mode: $0)) }
  }
}
extension VJP { func cast() { derivatives(a: .converted) } }

// MARK: - Derivative rules of operators

extension VJP {
  func copy() { derivatives(a: .unchanged) }
  func neg() { derivatives(a: .negated) }
  func add() { derivatives(a: .unchanged, b: .unchanged) }
  func sub() { derivatives(a: .unchanged, b: .negated) }
  func mul() { derivatives(a: .times(b), b: .times(a)) }
  // -g a / b^2 is the quotient g / b times the result.
  func div() { derivatives(a: .over(b), b: .minusOver(b, times: output)) }

  func pow() {
    // x^(y - 1), where y is 0 with another exponent, so that 0 times it is 0.
    func lessened(_ y: UInt32) -> UInt32 {
      let isZero = test(.equal, y, number(0))
      return choice(isZero, number(1), self(.sub, y, number(1)))
    }
    func withoutZeros(_ x: UInt32) -> UInt32 {
      choice(test(.equal, x, number(0)), number(1), x)
    }
    derivatives(
      a: .times(self(.mul, b, self(.pow, a, lessened(b)))),
      b: .times(self(.mul, output, self(.log, withoutZeros(a)))))
  }
}
