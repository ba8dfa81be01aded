// What a derivative rule says, and what the walk makes of it: the rule gives local derivatives, the walk
// multiplies the gradient by them and adds up.

internal import LazyGradJIT

/// How the gradient g of a result becomes an operand's: the local derivative, in the form that takes the
/// fewest operations and roundings.
///
/// Few cases, with names for what they stand for: a rule is compiled with all that becomes of each, until
/// what does not apply is dropped.
enum LocalDerivative {
  /// g over a divisor, times a factor, negated.
  case scaled(over: UInt32?, times: UInt32?, isNegated: Bool)
  /// Where a condition holds, or where it does not, g, elsewhere another value.
  case chosen(UInt32, holds: Bool, else: UInt32)
  /// g, in the operand's type.
  case converted

  /// g
  static var unchanged: Self { .scaled(over: nil, times: nil, isNegated: false) }
  /// -g
  static var negated: Self { .scaled(over: nil, times: nil, isNegated: true) }
  /// g f
  static func times(_ f: UInt32) -> Self { .scaled(over: nil, times: f, isNegated: false) }
  /// -(g f)
  static func minusTimes(_ f: UInt32) -> Self { .scaled(over: nil, times: f, isNegated: true) }
  /// g / d
  static func over(_ d: UInt32) -> Self { .scaled(over: d, times: nil, isNegated: false) }
  /// -(g / d f); the quotient is that of the operand before, if that has one.
  static func minusOver(_ d: UInt32, times f: UInt32) -> Self {
    .scaled(over: d, times: f, isNegated: true)
  }
  /// g where a condition holds, another value where not.
  static func when(_ condition: UInt32, else other: UInt32) -> Self {
    .chosen(condition, holds: true, else: other)
  }
  /// Another value where a condition holds, g where not.
  static func unless(_ condition: UInt32, then other: UInt32) -> Self {
    .chosen(condition, holds: false, else: other)
  }
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

  // Transparent, which is inlined before anything else is done: as part of what is inlined later, each rule
  // would have its first operand's derivative inlined and call a function for the second's.

  /// The derivative of an operation that passes a gradient to its first operand.
  @_transparent
  func derivatives(a: @autoclosure () -> LocalDerivative) {
    var quotient: UInt32?
    let operand = pass.a(n)
    if pass.wants(operand) { pass.accumulate(operand, carried(a(), operand, &quotient)) }
  }

  @_transparent
  func derivatives(
    a: @autoclosure () -> LocalDerivative, b: @autoclosure () -> LocalDerivative
  ) {
    var quotient: UInt32?
    let (first, second) = (pass.a(n), pass.b(n))
    if pass.wants(first) { pass.accumulate(first, carried(a(), first, &quotient)) }
    if pass.wants(second) { pass.accumulate(second, carried(b(), second, &quotient)) }
  }

  @_transparent
  func derivatives(
    b: @autoclosure () -> LocalDerivative, c: @autoclosure () -> LocalDerivative
  ) {
    var quotient: UInt32?
    let (second, third) = (pass.b(n), pass.c(n))
    if pass.wants(second) { pass.accumulate(second, carried(b(), second, &quotient)) }
    if pass.wants(third) { pass.accumulate(third, carried(c(), third, &quotient)) }
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

  @_transparent
  private func carried(
    _ derivative: LocalDerivative, _ operand: UInt32, _ quotient: inout UInt32?
  ) -> UInt32 {
    switch derivative {
    case .scaled(let divisor, let factor, let isNegated):
      var result = g
      if let divisor {
        result = quotient ?? self(.div, g, divisor)
        quotient = result
      }
      if let factor { result = self(.mul, result, factor) }
      return isNegated ? self(.neg, result) : result
    case .chosen(let condition, let holds, let other):
      return holds ? choice(condition, g, other) : choice(condition, other, g)
    case .converted: return pass.cast(g, pass.type(operand))
    }
  }
}
