// What a derivative rule says, and what the walk makes of it: the rule gives local derivatives, the walk
// multiplies the gradient by them and adds up.

internal import LazyGradJIT

/// How the gradient g of a result becomes an operand's: the local derivative, in the form that takes the
/// fewest operations and roundings.
enum LocalDerivative {
  /// g
  case unchanged
  /// g, in the operand's type.
  case converted
  /// -g
  case negated
  /// g f
  case times(UInt32)
  /// -(g f)
  case minusTimes(UInt32)
  /// g / d
  case over(UInt32)
  /// -(g / d f); the quotient is that of the operand before, if that has one.
  case minusOver(UInt32, times: UInt32)
  /// g where a condition holds, another value where not.
  case when(UInt32, else: UInt32)
  /// Another value where a condition holds, g where not.
  case unless(UInt32, then: UInt32)
}

/// The vector-Jacobian product of one node, which the walk has come to: what its rule is given.
///
/// Rules are methods in extensions, next to what records the operation. One says what the derivatives
/// with respect to the operands are,
///
///     func mul() { derivatives(a: .times(b), b: .times(a)) }
///
/// and each is asked for only where the operand wants a gradient; nothing is recorded for others. A rule
/// reads the values that the operation's row in the table declares.
struct VJP {
  let pass: BackwardPass
  let n: UInt32
  /// The gradient. For rules that no local derivatives express.
  let g: UInt32

  @inline(__always)
  init(_ pass: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    self.pass = copy pass
    self.n = n
    self.g = g
  }

  // MARK: Values

  /// The values of the operands.
  var a: UInt32 { pass.value(pass.a(n)) }
  var b: UInt32 { pass.value(pass.b(n)) }
  var c: UInt32 { pass.value(pass.c(n)) }
  /// The value of the node itself.
  var output: UInt32 { pass.value(n) }

  /// A number of the node's type.
  @inline(__always)
  func number(_ value: Double) -> UInt32 { pass.number(value, n) }

  /// Records an elementwise operation on values of one type.
  @inline(__always)
  func callAsFunction(_ opcode: Opcode, _ x: UInt32, _ y: UInt32 = Tape.none) -> UInt32 {
    pass.emit(opcode, x, y)
  }

  /// Records a comparison, or what is made of comparisons.
  @inline(__always)
  func test(_ opcode: Opcode, _ x: UInt32, _ y: UInt32) -> UInt32 {
    pass.emit(opcode, x, y, type: .bool)
  }

  /// Records a choice.
  func choice(_ condition: UInt32, _ x: UInt32, _ y: UInt32) -> UInt32 {
    pass.select(condition, x, y)
  }

  // MARK: What a rule says

  /// The derivative of an operation that passes a gradient to its first operand.
  @inline(__always)
  func derivatives(a: @autoclosure () -> LocalDerivative) {
    var quotient = Tape.none
    carry(to: pass.a(n), a, &quotient)
  }

  @inline(__always)
  func derivatives(
    a: @autoclosure () -> LocalDerivative, b: @autoclosure () -> LocalDerivative
  ) {
    var quotient = Tape.none
    carry(to: pass.a(n), a, &quotient)
    carry(to: pass.b(n), b, &quotient)
  }

  @inline(__always)
  func derivatives(
    b: @autoclosure () -> LocalDerivative, c: @autoclosure () -> LocalDerivative
  ) {
    var quotient = Tape.none
    carry(to: pass.b(n), b, &quotient)
    carry(to: pass.c(n), c, &quotient)
  }

  /// Gives the first operand a gradient that is no product with g.
  @inline(__always)
  func gradient(a: @autoclosure () -> UInt32) {
    let operand = pass.a(n)
    if pass.wants(operand) { pass.accumulate(operand, a()) }
  }

  /// A rule in the general form: of a node and its gradient it makes what it likes.
  @inline(__always)
  func general(_ rule: (borrowing BackwardPass, UInt32, UInt32) -> Void) { rule(pass, n, g) }

  // MARK: What the walk makes of it

  @inline(__always)
  private func carry(
    to operand: UInt32, _ derivative: () -> LocalDerivative, _ quotient: inout UInt32
  ) {
    if !pass.wants(operand) { return }
    pass.accumulate(operand, carried(derivative(), operand, &quotient))
  }

  @inline(__always)
  private func carried(
    _ derivative: LocalDerivative, _ operand: UInt32, _ quotient: inout UInt32
  ) -> UInt32 {
    switch derivative {
    case .unchanged: return g
    case .converted: return pass.cast(g, pass.type(operand))
    case .negated: return self(.neg, g)
    case .times(let factor): return self(.mul, g, factor)
    case .minusTimes(let factor): return self(.neg, self(.mul, g, factor))
    case .over(let divisor):
      quotient = self(.div, g, divisor)
      return quotient
    case .minusOver(let divisor, let factor):
      if quotient == Tape.none { quotient = self(.div, g, divisor) }
      return self(.neg, self(.mul, quotient, factor))
    case .when(let condition, let other): return choice(condition, g, other)
    case .unless(let condition, let other): return choice(condition, other, g)
    }
  }
}
