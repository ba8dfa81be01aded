// Elementwise functions and the derivative rules of all elementwise operations.

internal import LazyGradJIT

/// e to the power of every element. Error at most 1 unit in the last place (ULP).
public func exp(_ x: Tensor) -> Tensor { .unary(.exp, x) }
/// e^x - 1, accurate near 0. Error at most 1.3 ULP.
public func expm1(_ x: Tensor) -> Tensor { .unary(.expm1, x) }
/// The natural logarithm; negative numbers give not-a-number, 0 minus infinity. Error at most 1 ULP.
public func log(_ x: Tensor) -> Tensor { .unary(.log, x) }
/// log(1 + x), accurate near 0. Error at most 1 ULP.
public func log1p(_ x: Tensor) -> Tensor { .unary(.log1p, x) }
/// The sine. Error at most 1 ULP in float64 and 1.2 in float32, however large the angle is.
public func sin(_ x: Tensor) -> Tensor { .unary(.sin, x) }
/// The cosine. Error at most 1 ULP in float64 and 1.2 in float32, however large the angle is.
public func cos(_ x: Tensor) -> Tensor { .unary(.cos, x) }
/// The hyperbolic tangent. Error at most 1.3 ULP. The backward pass needs the output only.
public func tanh(_ x: Tensor) -> Tensor { .unary(.tanh, x) }
/// 1 / (1 + e^-x). Error at most 1.4 ULP. The backward pass needs the output only.
public func sigmoid(_ x: Tensor) -> Tensor { .unary(.sigmoid, x) }
/// The error function. Error at most 1.3 ULP.
public func erf(_ x: Tensor) -> Tensor { .unary(.erf, x) }
/// max(x, 0); the gradient at 0 is 0, not-a-number goes through.
public func relu(_ x: Tensor) -> Tensor { .unary(.relu, x) }
/// The square root, correctly rounded; the gradient at 0 is infinite.
public func sqrt(_ x: Tensor) -> Tensor { .unary(.sqrt, x) }
/// x * x.
public func square(_ x: Tensor) -> Tensor { .unary(.square, x) }
/// 1 / x. Integers give integers, as in NumPy: cut off towards zero, so all but 1 and -1 give 0.
public func reciprocal(_ x: Tensor) -> Tensor {
  if x.dtype.isFloating || x.dtype == .bool { return .unary(.reciprocal, x) }
  return `where`(abs(x) .== 1, x, Tensor.zeros([], dtype: x.dtype, constant: true))
}
/// The absolute value; the gradient at 0 is 0.
public func abs(_ x: Tensor) -> Tensor { .unary(.abs, x) }
/// -1, 0 or 1; without a gradient.
public func sign(_ x: Tensor) -> Tensor { .unary(.sign, x) }
/// The largest whole number that is not greater; without a gradient.
public func floor(_ x: Tensor) -> Tensor { .unary(.floor, x) }
/// Where an element is not-a-number.
public func isNaN(_ x: Tensor) -> Tensor { .unary(.isNaN, x) }
/// The first to the power of the second. Error at most 1 ULP; in float64 that is the C library's.
public func pow(_ a: Tensor, _ b: Tensor) -> Tensor { a ** b }

/// The greater of two elements; where they are equal neither gets a gradient.
public func maximum(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.maximum, a, b) }
/// The greater of an element and a number.
public func maximum(_ a: Tensor, _ b: some TensorScalar) -> Tensor { .binary(.maximum, a, b) }
/// The smaller of two elements; where they are equal neither gets a gradient.
public func minimum(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.minimum, a, b) }
/// The smaller of an element and a number.
public func minimum(_ a: Tensor, _ b: some TensorScalar) -> Tensor { .binary(.minimum, a, b) }

/// Where both are true.
public func logicalAnd(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.logicalAnd, a, b) }
/// Where at least one is true.
public func logicalOr(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.logicalOr, a, b) }
/// Where the element is false, or 0.
public func logicalNot(_ x: Tensor) -> Tensor { .unary(.logicalNot, x) }

/// Takes from `x` where `condition` holds, else from `y`; all three broadcast.
///
/// Gradients are routed to where the element was taken from; the other operand gets exactly 0,
/// whatever its own derivative would be.
public func `where`(_ condition: Tensor, _ x: Tensor, _ y: Tensor) -> Tensor {
  if let poison = poisoned(condition, x, y) { return poison }
  guard let shape = Tape.broadcast(condition.slot, x.slot, y.slot) else {
    return Tensor.cannotBroadcast(.select, [condition, x, y])
  }
  for operand in [condition, x, y] { operand.use() }
  return Tensor(Tape.select(condition.slot, x.slot, y.slot, shape: shape, mode: Scope.mode))
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
    if let poison = poisoned(self) { return poison }
    use()
    return Tensor(
      Tape.general(
        .cast, slot, type: dtype.scalarType, shape: shapeID, mode: Scope.mode))
  }
}

// MARK: - Derivative rules

/// Rules add what flows back through a node `n` with the gradient `g` to its operands' gradients.
enum ElementwiseRules {
  static func copy(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    // A variable that was given a constant's value stays a variable.
    if p.wants(p.a(n)) { p.add(p.a(n), g) }
  }

  static func cast(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.cast(g, p.type(p.a(n))))
  }

  static func neg(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.neg, g))
  }

  static func abs(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.mul, g, p.emit(.sign, p.value(p.a(n)))))
  }

  static func square(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.mul, g, p.emit(.mul, p.value(p.a(n)), p.number(2, n))))
  }

  static func sqrt(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.div, g, p.emit(.mul, p.value(n), p.number(2, n))))
  }

  static func reciprocal(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.neg, p.emit(.mul, g, p.emit(.square, p.value(n)))))
  }

  static func exp(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.mul, g, p.value(n)))
  }

  static func expm1(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    // Not the result plus 1, which is 0 where e^x is smaller than rounding errors of 1.
    p.add(p.a(n), p.emit(.mul, g, p.emit(.exp, p.value(p.a(n)))))
  }

  static func log(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.div, g, p.value(p.a(n))))
  }

  static func log1p(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.div, g, p.emit(.add, p.value(p.a(n)), p.number(1, n))))
  }

  static func sin(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.mul, g, p.emit(.cos, p.value(p.a(n)))))
  }

  static func cos(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.neg, p.emit(.mul, g, p.emit(.sin, p.value(p.a(n))))))
  }

  static func tanh(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), p.emit(.mul, g, p.emit(.sub, p.number(1, n), p.emit(.square, p.value(n)))))
  }

  static func sigmoid(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let y = p.value(n)
    p.add(p.a(n), p.emit(.mul, g, p.emit(.mul, y, p.emit(.sub, p.number(1, n), y))))
  }

  static func erf(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    // d/dx erf(x) = 2 / sqrt(pi) * e^(-x^2)
    let bell = p.emit(.exp, p.emit(.neg, p.emit(.square, p.value(p.a(n)))))
    p.add(p.a(n), p.emit(.mul, g, p.emit(.mul, bell, p.number(1.128379167095512573896, n))))
  }

  static func relu(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let y = p.value(n)
    // 0 times the output is 0, or not-a-number where the output is that.
    let positive = p.emit(.greater, y, p.number(0, n), type: .bool)
    let rest = p.emit(.mul, y, p.number(0, n))
    p.add(p.a(n), p.select(positive, g, rest))
  }

  static func add(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    if p.wants(p.a(n)) { p.add(p.a(n), g) }
    if p.wants(p.b(n)) { p.add(p.b(n), g) }
  }

  static func sub(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    if p.wants(p.a(n)) { p.add(p.a(n), g) }
    if p.wants(p.b(n)) { p.add(p.b(n), p.emit(.neg, g)) }
  }

  static func mul(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    if p.wants(p.a(n)) { p.add(p.a(n), p.emit(.mul, g, p.value(p.b(n)))) }
    if p.wants(p.b(n)) { p.add(p.b(n), p.emit(.mul, g, p.value(p.a(n)))) }
  }

  static func div(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let overB = p.emit(.div, g, p.value(p.b(n)))
    if p.wants(p.a(n)) { p.add(p.a(n), overB) }
    // -g a / b^2, with the quotient that is there already.
    if p.wants(p.b(n)) { p.add(p.b(n), p.emit(.neg, p.emit(.mul, overB, p.value(n)))) }
  }

  static func pow(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.value(p.a(n))
    let y = p.value(p.b(n))
    if p.wants(p.a(n)) {
      let isZero = p.emit(.equal, y, p.number(0, n), type: .bool)
      let exponent = p.select(isZero, p.number(1, n), p.emit(.sub, y, p.number(1, n)))
      p.add(p.a(n), p.emit(.mul, g, p.emit(.mul, y, p.emit(.pow, x, exponent))))
    }
    if p.wants(p.b(n)) {
      let isZero = p.emit(.equal, x, p.number(0, n), type: .bool)
      let base = p.select(isZero, p.number(1, n), x)
      p.add(p.b(n), p.emit(.mul, g, p.emit(.mul, p.value(n), p.emit(.log, base))))
    }
  }

  static func maximum(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    extreme(p, n, g, .greater)
  }

  static func minimum(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    extreme(p, n, g, .less)
  }

  /// The first operand gets the gradient where it won; the second where it neither lost nor tied.
  private static func extreme(
    _ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32, _ wins: Opcode
  ) {
    let x = p.value(p.a(n))
    let y = p.value(p.b(n))
    let zero = p.number(0, n)
    let firstWins = p.emit(wins, x, y, type: .bool)
    if p.wants(p.a(n)) { p.add(p.a(n), p.select(firstWins, g, zero)) }
    if p.wants(p.b(n)) {
      let ties = p.emit(.equal, x, y, type: .bool)
      let not = p.emit(.logicalOr, firstWins, ties, type: .bool)
      p.add(p.b(n), p.select(not, zero, g))
    }
  }

  static func select(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let condition = p.value(p.a(n))
    let zero = p.number(0, n)
    if p.wants(p.b(n)) { p.add(p.b(n), p.select(condition, g, zero)) }
    if p.wants(p.c(n)) { p.add(p.c(n), p.select(condition, zero, g)) }
  }
}
