// Trigonometric and hyperbolic functions beyond sine, cosine and hyperbolic tangent, their inverses and
// reciprocals. A rule stands below the function. Reciprocals and what has no definition in machine code are
// composites.

internal import LazyGradJIT

/// The tangent. Error at most 0.6 ULP in float32 and 1.3 in float64, however large the angle is. The
/// backward pass needs the output only.
public func tan(_ x: Tensor) -> Tensor { .unary(.tan, x) }
extension VJP {
  func tan() { derivatives(a: .times(self(.add, self(.square, output), number(1)))) }
}

/// The arc sine, between -pi/2 and pi/2; not-a-number above 1. Error at most 1.2 ULP. The gradient at -1
/// and 1 is 0.
public func arcsin(_ x: Tensor) -> Tensor { .unary(.arcsin, x) }
extension VJP { func arcsin() { derivatives(a: .times(arcSlope())) } }
/// The arc cosine, between 0 and pi; not-a-number above 1. Error at most 1.2 ULP. The gradient at -1 and 1
/// is 0.
public func arccos(_ x: Tensor) -> Tensor { .unary(.arccos, x) }
extension VJP {
  func arccos() { derivatives(a: .minusTimes(arcSlope())) }

  /// 1 / sqrt(1 - x^2), and 0 where that is infinite.
  private func arcSlope() -> UInt32 {
    let (x, one) = (a, number(1))
    let square = self(.mul, self(.sub, one, x), self(.add, one, x))
    let isEnd = test(.equal, square, number(0))
    // Where it is not taken, nothing infinite may be left for derivatives of higher order.
    let slope = self(.reciprocal, self(.sqrt, choice(isEnd, one, square)))
    return choice(isEnd, number(0), slope)
  }
}

/// The arc tangent, between -pi/2 and pi/2. Error at most 1.2 ULP.
public func arctan(_ x: Tensor) -> Tensor { .unary(.arctan, x) }
extension VJP {
  func arctan() { derivatives(a: .over(self(.add, self(.square, a), number(1)))) }
}

/// The angle of the point whose coordinates are `x` and `y`, between -pi and pi: signs of zeros and infinities
/// count as in IEEE 754. Error at most 1.4 ULP.
///
/// The tensors broadcast; integers and bools give float64. The gradient at the origin is not-a-number.
public func arctan2(_ y: Tensor, _ x: Tensor) -> Tensor { .binary(.arctan2, y, x) }
extension VJP {
  func arctan2() {
    let (y, x) = (a, b)
    let square = self(.add, self(.square, y), self(.square, x))
    derivatives(a: .times(self(.div, x, square)), b: .minusTimes(self(.div, y, square)))
  }
}

/// The hyperbolic sine. Error at most 1.1 ULP.
public func sinh(_ x: Tensor) -> Tensor { .unary(.sinh, x) }
extension VJP { func sinh() { derivatives(a: .times(self(.cosh, a))) } }
/// The hyperbolic cosine. Error at most 1.1 ULP.
public func cosh(_ x: Tensor) -> Tensor { .unary(.cosh, x) }
extension VJP { func cosh() { derivatives(a: .times(self(.sinh, a))) } }

// MARK: - Inverse hyperbolic functions

/// The inverse of the hyperbolic sine. Error at most 4 ULP.
public func arcsinh(_ x: Tensor) -> Tensor { Composite.arcsinh(x) }
/// The inverse of the hyperbolic cosine; not-a-number below 1. Error at most 4 ULP. The gradient at 1 is
/// infinite.
public func arccosh(_ x: Tensor) -> Tensor { Composite.arccosh(x) }
/// The inverse of the hyperbolic tangent; not-a-number above 1. Error at most 4 ULP. The gradient at -1 and
/// 1 is infinite.
public func arctanh(_ x: Tensor) -> Tensor { Composite.arctanh(x) }

extension Recorder {
  /// An odd function by its values for `|x|`, sign of zero kept.
  fileprivate func odd(_ x: UInt32, _ value: UInt32) -> UInt32 {
    let zero = number(0, like: x)
    let signed = select(self(.less, x, zero), self(.neg, value), value)
    return select(self(.equal, x, zero), x, signed)
  }

  /// log(1 + a + a^2 / (1 + sqrt(1 + a^2))), and log(2 a) where that is the same, for positive `a`.
  fileprivate func arcsinh(_ x: UInt32) -> UInt32 {
    let (a, one) = (self(.abs, x), number(1, like: x))
    let square = self(.square, a)
    let root = self(.add, self(.sqrt, self(.add, square, one)), one)
    let near = self(.log1p, self(.add, a, self(.div, square, root)))
    return odd(x, select(self(.less, a, number(0x1p30, like: x)), near, logOfTwice(a)))
  }

  /// With t = x - 1 it is log(1 + t + sqrt(t (t + 2))), and log(2 x) where that is the same.
  fileprivate func arccosh(_ x: UInt32) -> UInt32 {
    let t = self(.sub, x, number(1, like: x))
    let root = self(.sqrt, self(.mul, t, self(.add, t, number(2, like: x))))
    let near = self(.log1p, self(.add, t, root))
    return select(self(.less, number(0x1p30, like: x), x), logOfTwice(x), near)
  }

  /// log(1 + 2 a / (1 - a)) / 2 for positive `a`.
  fileprivate func arctanh(_ x: UInt32) -> UInt32 {
    let a = self(.abs, x)
    let ratio = self(.div, self(.add, a, a), self(.sub, number(1, like: x), a))
    return odd(x, self(.mul, self(.log1p, ratio), number(0.5, like: x)))
  }

  private func logOfTwice(_ x: UInt32) -> UInt32 {
    self(.add, self(.log, x), number(0.6931471805599453, like: x))
  }
}

extension Composite {
  fileprivate static let arcsinh = Composite("arcsinh", of: .operand) { r, x, _ in
    r.arcsinh(x)
  } rule: {
    $0.derivatives(a: .over($0(.sqrt, $0(.add, $0(.square, $0.a), $0.number(1)))))
  }
  fileprivate static let arccosh = Composite("arccosh", of: .operand) { r, x, _ in
    r.arccosh(x)
  } rule: {
    $0.derivatives(a: .over($0(.sqrt, $0.squareLessOne())))
  }
  fileprivate static let arctanh = Composite("arctanh", of: .operand) { r, x, _ in
    r.arctanh(x)
  } rule: {
    $0.derivatives(a: .over($0.oneLessSquare()))
  }
}

extension VJP {
  /// 1 - x^2 of the operand; 0, not -0, where x is 1 or -1.
  fileprivate func oneLessSquare() -> UInt32 {
    let (x, one) = (self(.abs, a), number(1))
    return self(.mul, self(.sub, one, x), self(.add, one, x))
  }

  /// x^2 - 1 of the operand, likewise.
  fileprivate func squareLessOne() -> UInt32 {
    let (x, one) = (self(.abs, a), number(1))
    return self(.mul, self(.sub, x, one), self(.add, x, one))
  }
}

// MARK: - Reciprocals of trigonometric functions

/// The secant, 1 / cos(x). Error at most 2.5 ULP.
public func sec(_ x: Tensor) -> Tensor { Composite.sec(x) }
/// The cosecant, 1 / sin(x). Error at most 2.5 ULP. At 0 it is infinite, and its gradient minus infinity.
public func csc(_ x: Tensor) -> Tensor { Composite.csc(x) }
/// The cotangent, 1 / tan(x). Error at most 2.5 ULP. At 0 it is infinite, and its gradient minus infinity.
public func cot(_ x: Tensor) -> Tensor { Composite.cot(x) }
/// The hyperbolic secant, 1 / cosh(x). Error at most 2.5 ULP.
public func sech(_ x: Tensor) -> Tensor { Composite.sech(x) }
/// The hyperbolic cosecant, 1 / sinh(x). Error at most 2.5 ULP. At 0 it is infinite, and its gradient minus
/// infinity.
public func csch(_ x: Tensor) -> Tensor { Composite.csch(x) }
/// The hyperbolic cotangent, 1 / tanh(x). Error at most 2.5 ULP. At 0 it is infinite, and its gradient
/// minus infinity.
public func coth(_ x: Tensor) -> Tensor { Composite.coth(x) }

extension Composite {
  fileprivate static let sec = Composite("sec", of: .operand) { r, x, _ in
    r(.reciprocal, r(.cos, x))
  } rule: {
    $0.derivatives(a: .times($0(.div, $0(.sin, $0.a), $0(.square, $0(.cos, $0.a)))))
  }
  fileprivate static let csc = Composite("csc", of: .operand) { r, x, _ in
    r(.reciprocal, r(.sin, x))
  } rule: {
    $0.derivatives(a: .minusTimes($0(.div, $0(.cos, $0.a), $0(.square, $0(.sin, $0.a)))))
  }
  fileprivate static let cot = Composite("cot", of: .operand) { r, x, _ in
    r(.reciprocal, r(.tan, x))
  } rule: {
    $0.derivatives(a: .minusTimes($0(.reciprocal, $0(.square, $0(.sin, $0.a)))))
  }
  // Quotients with hyperbolic tangents: squares of the others overflow.
  fileprivate static let sech = Composite("sech", of: .operand) { r, x, _ in
    r(.reciprocal, r(.cosh, x))
  } rule: {
    $0.derivatives(a: .minusTimes($0(.div, $0(.tanh, $0.a), $0(.cosh, $0.a))))
  }
  fileprivate static let csch = Composite("csch", of: .operand) { r, x, _ in
    r(.reciprocal, r(.sinh, x))
  } rule: {
    $0.derivatives(a: .minusTimes($0(.reciprocal, $0(.mul, $0(.tanh, $0.a), $0(.sinh, $0.a)))))
  }
  fileprivate static let coth = Composite("coth", of: .operand) { r, x, _ in
    r(.reciprocal, r(.tanh, x))
  } rule: {
    $0.derivatives(a: .minusTimes($0(.reciprocal, $0(.square, $0(.sinh, $0.a)))))
  }
}

// MARK: - Their inverses

/// The inverse of the secant, arccos(1 / x); not-a-number between -1 and 1. Error at most 3 ULP, more next
/// to 1. The gradient at -1 and 1 is 0.
public func arcsec(_ x: Tensor) -> Tensor { Composite.arcsec(x) }
/// The inverse of the cosecant, arcsin(1 / x); not-a-number between -1 and 1. Error at most 3 ULP, more
/// next to 1 and -1. The gradient at -1 and 1 is 0.
public func arccsc(_ x: Tensor) -> Tensor { Composite.arccsc(x) }
/// The inverse of the cotangent, arctan(1 / x), and pi/2 at 0, where it jumps. Error at most 2.5 ULP.
public func arccot(_ x: Tensor) -> Tensor { Composite.arccot(x) }
/// The inverse of the hyperbolic cosecant, arcsinh(1 / x). Error at most 6 ULP. The gradient at 0 is minus
/// infinity.
public func arccsch(_ x: Tensor) -> Tensor { Composite.arccsch(x) }
/// The inverse of the hyperbolic cotangent, arctanh(1 / x); not-a-number between -1 and 1. Error at most 6
/// ULP, more next to 1 and -1. The gradient at -1 and 1 is infinite.
public func arccoth(_ x: Tensor) -> Tensor { Composite.arccoth(x) }

extension Composite {
  fileprivate static let arcsec = Composite("arcsec", of: .operand) { r, x, _ in
    r(.arccos, r(.reciprocal, x))
  } rule: {
    $0.derivatives(a: .times($0.inverseArcSlope()))
  }
  fileprivate static let arccsc = Composite("arccsc", of: .operand) { r, x, _ in
    r(.arcsin, r(.reciprocal, x))
  } rule: {
    $0.derivatives(a: .minusTimes($0.inverseArcSlope()))
  }
  fileprivate static let arccot = Composite("arccot", of: .operand) { r, x, _ in
    let arc = r(.arctan, r(.reciprocal, x))
    // One over minus zero would be minus pi/2.
    return r.select(
      r(.equal, x, r.number(0, like: x)), r.number(1.5707963267948966, like: x), arc)
  } rule: {
    $0.derivatives(a: .minusOver($0(.add, $0(.square, $0.a), $0.number(1)), times: $0.number(1)))
  }
  fileprivate static let arccsch = Composite("arccsch", of: .operand) { r, x, _ in
    r.arcsinh(r(.reciprocal, x))
  } rule: {
    let root = $0(.sqrt, $0(.add, $0(.square, $0.a), $0.number(1)))
    $0.derivatives(a: .minusOver($0(.mul, $0(.abs, $0.a), root), times: $0.number(1)))
  }
  fileprivate static let arccoth = Composite("arccoth", of: .operand) { r, x, _ in
    r.arctanh(r(.reciprocal, x))
  } rule: {
    $0.derivatives(a: .over($0.oneLessSquare()))
  }
}

extension VJP {
  /// 1 / (|x| sqrt(x^2 - 1)) of the operand, and 0 where that is infinite.
  fileprivate func inverseArcSlope() -> UInt32 {
    let square = squareLessOne()
    let isEnd = test(.equal, square, number(0))
    let root = self(.sqrt, choice(isEnd, number(1), square))
    return choice(isEnd, number(0), self(.reciprocal, self(.mul, self(.abs, a), root)))
  }
}

// MARK: - The cardinal sine

/// sin(pi x) / (pi x), and 1 at 0, where the gradient is 0.
///
/// Accurate in the absolute sense: at most 2^-52 (2^-23) off. So is the gradient, near 0 too.
public func sinc(_ x: Tensor) -> Tensor { Composite.sinc(x) }
extension Composite {
  fileprivate static let sinc = Composite("sinc", of: .operand) { r, x, _ in
    r.sinc(x)
  } rule: {
    $0.derivatives(a: .times($0.sincSlope()))
  }
}

extension Recorder {
  fileprivate func sinc(_ x: UInt32) -> UInt32 {
    let angle = self(.mul, x, number(.pi, like: x))
    let isZero = self(.equal, x, number(0, like: x))
    return select(isZero, number(1, like: x), self(.div, self(.sin, angle), angle))
  }
}

extension VJP {
  /// (cos(pi x) - sinc(x)) / x; next to 0, where that cancels, pi times the series
  /// `-u/3 + u^3/30 - u^5/840 + u^7/45360 - u^9/3991680` for `u = pi x`.
  fileprivate func sincSlope() -> UInt32 {
    let u = self(.mul, a, number(.pi))
    let isNear = test(.less, self(.abs, u), number(0.16))
    let z = self(.square, u)
    var series = number(-1 / 3_991_680)
    for coefficient in [1 / 45_360, -1 / 840, 1 / 30, -1 / 3] as [Double] {
      series = self(.add, self(.mul, series, z), number(coefficient))
    }
    let near = self(.mul, self(.mul, series, u), number(.pi))
    // Where it is not taken, nothing infinite may be left for derivatives of higher order.
    let safe = choice(isNear, number(1), u)
    let far = self(
      .mul, self(.div, self(.sub, self(.cos, safe), self(.div, self(.sin, safe), safe)), safe),
      number(.pi))
    return choice(isNear, near, far)
  }
}
