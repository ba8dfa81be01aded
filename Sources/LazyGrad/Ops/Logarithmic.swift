// Exponentials and logarithms to other bases, and sums of exponentials of two operands. A rule stands below
// the function.

internal import LazyGradJIT

/// 2 to the power of every element; whole powers are exact. Error at most 1 ULP.
public func exp2(_ x: Tensor) -> Tensor { .unary(.exp2, x) }
extension VJP { func exp2() { derivatives(a: .times(self(.mul, output, number(ln2)))) } }
/// The logarithm to base 2, exact for powers of 2; negative numbers give not-a-number, 0 minus infinity.
/// Error at most 0.51 ULP in float32, 1 in float64.
public func log2(_ x: Tensor) -> Tensor { .unary(.log2, x) }
extension VJP { func log2() { derivatives(a: .over(self(.mul, a, number(ln2)))) } }
/// The logarithm to base 10; negative numbers give not-a-number, 0 minus infinity. Error at most 0.51 ULP
/// in float32, 1 in float64.
public func log10(_ x: Tensor) -> Tensor { .unary(.log10, x) }
extension VJP { func log10() { derivatives(a: .over(self(.mul, a, number(ln10)))) } }

private let ln2 = 0.6931471805599453
private let ln10 = 2.302585092994046

/// log(e^a + e^b), computed without overflow; the tensors broadcast. Integers and bools give float64.
///
/// Error at most 3 units in the last place of the greater operand or of the result, whichever is larger. The
/// gradient is shared out as `e^a` and `e^b` share in the sum: all of it to the only infinity, half to each
/// where both are equal.
public func logaddexp(_ a: Tensor, _ b: Tensor) -> Tensor {
  .composed("logaddexp", a, b) { r, x, y in
    r.logOfSum(x, y, .exp, scale: 1, share: .shareOfSum, sum: .logOfShares)
  }
}

/// log2(2^a + 2^b), computed without overflow; otherwise as `logaddexp`.
public func logaddexp2(_ a: Tensor, _ b: Tensor) -> Tensor {
  .composed("logaddexp2", a, b) { r, x, y in
    r.logOfSum(x, y, .exp2, scale: 1 / ln2, share: .binaryShareOfSum, sum: .binaryLogOfShares)
  }
}

extension Recorder {
  /// The greater of both plus the logarithm of 1 + the power of their distance. The gradient goes through
  /// their powers less the greater one's, of which neither is infinite.
  fileprivate func logOfSum(
    _ x: UInt32, _ y: UInt32, _ power: Opcode, scale: Double, share: Composite, sum: Composite
  ) -> UInt32 {
    let plain = untracked
    let top = plain(.maximum, x, y)
    // Infinities less themselves would be no numbers.
    let zero = number(0, like: x)
    func powerBelow(_ operand: UInt32) -> UInt32 {
      let below = self(.sub, operand, top)
      let distance = plain.select(plain(.equal, operand, top), zero, below)
      return share.attach(self, below, plain(power, distance))
    }
    let (first, second) = (powerBelow(x), powerBelow(y))
    let logarithm = plain(.log1p, plain(.minimum, first, second))
    let scaled = scale == 1 ? logarithm : plain(.mul, logarithm, number(scale, like: x))
    return self(.add, sum.attach(self, self(.add, first, second), scaled), top)
  }
}

extension Composite {
  /// e^x, 2^x; and what `log` and `log2` give of a sum, whose value is known more exactly than the sum.
  fileprivate static let shareOfSum = Composite("logaddexp") {
    $0.derivatives(a: .times($0.output))
  }
  fileprivate static let logOfShares = Composite("logaddexp") {
    $0.derivatives(a: .times($0(.exp, $0(.neg, $0.output))))
  }
  fileprivate static let binaryShareOfSum = Composite("logaddexp2") {
    $0.derivatives(a: .times($0(.mul, $0.output, $0.number(ln2))))
  }
  fileprivate static let binaryLogOfShares = Composite("logaddexp2") {
    $0.derivatives(a: .times($0(.mul, $0(.exp2, $0(.neg, $0.output)), $0.number(1 / ln2))))
  }
}

/// The length of the vector with two components, sqrt(a^2 + b^2), computed without overflow; the tensors
/// broadcast. Integers and bools give float64.
///
/// Error at most 1 ULP. Infinite where one of both is, whatever the other is. The gradient at the origin is
/// not-a-number.
public func hypot(_ a: Tensor, _ b: Tensor) -> Tensor { .binary(.hypot, a, b) }
extension VJP {
  func hypot() { derivatives(a: .times(self(.div, a, output)), b: .times(self(.div, b, output))) }
}
