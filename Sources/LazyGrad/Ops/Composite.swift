// Composites: operations that are recorded as several nodes and differentiated as one, by a rule that is
// shorter or more accurate than those of the parts. One is all in its definition, value and rule.

internal import LazyGradJIT

/// The definition of a composite, made once, when the composite is first used.
///
/// A use of it records the parts without a way for gradients, and on top an alias whose attribute holds
/// the composite's number. So a use makes no object, and equal uses are equal records, which is what
/// backward passes are recognised by when they are copied.
final class Composite: Sendable {
  /// What gives the value: records it for a value of a floating type, and axes of it where it has any.
  typealias Body = @Sendable (_ r: Recorder, _ x: UInt32, _ axes: AxisSet) -> UInt32
  /// What gives the gradient. It reads the result only, or the operand only: what its definition says.
  typealias Rule = @Sendable (VJP) -> Void
  /// What a rule reads.
  enum Reads { case result, operand }

  let name: String
  private let body: Body
  private let rule: Rule
  /// The lowest byte of the attribute of its aliases: a number, and what the rule reads. What is above it
  /// belongs to the composite.
  let number: UInt32

  /// - Parameters:
  ///   - name: For messages.
  ///   - reads: What the rule is a function of.
  init(
    _ name: String, of reads: Reads = .result, _ body: @escaping Body, rule: @escaping Rule
  ) {
    self.name = name
    self.body = body
    self.rule = rule
    let count = Composite.count.withLock { count in
      precondition(count < Composite.mostDefinitions, "LazyGrad: too many composites")
      count += 1
      return count - 1
    }
    number = reads == .operand ? count | Node.ruleReadsOperand : count
    // Whoever reads it has the number from a record that was written later.
    (Composite.definitions + Int(count)).initialize(to: self)
  }

  /// One whose aliases are put on values that something else gives.
  convenience init(_ name: String, rule: @escaping Rule) {
    self.init(name, { _, x, _ in x }, rule: rule)
  }

  // MARK: The table

  private static let mostDefinitions: UInt32 = 128
  private static let count = Lock<UInt32>(0)
  private nonisolated(unsafe) static let definitions =
    UnsafeMutablePointer<Composite>.allocate(capacity: Int(mostDefinitions))

  /// The composite that an alias belongs to.
  static func of(_ node: Node) -> Composite {
    definitions[Int(node.composite & (mostDefinitions - 1))]
  }

  /// Bits of an alias's attribute that are the composite's own.
  static func extra(_ node: Node) -> UInt32 { node.composite >> 8 }

  /// Says what the gradient of an alias becomes.
  @inline(never)
  static func apply(_ vjp: VJP) { of(vjp.pass.tape[vjp.n]).rule(vjp) }

  // MARK: Recording

  /// Records it elementwise.
  @inline(__always)
  func callAsFunction(_ x: Tensor) -> Tensor {
    x.compose { record($0, AxisSet()) }
  }

  /// Records it along an axis; a scalar has one of length 1, in a manner of speaking.
  @inline(__always)
  func callAsFunction(_ x: Tensor, axis: Int) -> Tensor {
    if x.rank == 0, axis == -1 || axis == 0 { return self(x) }
    return x.along(axis, name) { axes in
      x.compose { record($0, axes) }
    }
  }

  /// Records it for a recorder's node; a copy where there is nothing along the axis.
  @inline(__always)
  func record(_ r: Recorder, _ axes: AxisSet) -> UInt32 {
    let x = r.floating(r.x)
    if r.count(of: x, over: axes) == 0 { return r(.copy, x) }
    return attach(r, x, body(r.untracked, x, axes), extra: UInt32(axes.first ?? 0))
  }

  /// Puts its alias on a value.
  @inline(__always)
  func attach(_ r: Recorder, _ x: UInt32, _ value: UInt32, extra: UInt32 = 0) -> UInt32 {
    r.attach(attribute(extra), x, value)
  }

  /// The attribute of its aliases.
  func attribute(_ extra: UInt32 = 0) -> UInt32 { number | extra << 8 }

  // MARK: Those that are no functions

  /// A value that has been put into a host array: the gradient passes.
  static let stored = Composite("stored") { $0.derivatives(a: .unchanged) }

  /// A custom operation: the rule is the program's; above the number stands which of its operands.
  static let custom = Composite("custom") { CustomRule.apply($0.pass, $0.n, $0.g) }

  /// The same value without a way for gradients, on the same node or memory.
  static func constant(_ x: Tensor) -> Tensor {
    Tensor(Tape.constant(x.slot))
  }
}

extension VJP {
  @inline(__always)
  func composite() { Composite.apply(self) }

  /// The sum of a value along the axis of a composite.
  func sumAlongAxis(_ x: UInt32) -> UInt32 {
    let (tape, shape, type) = (pass.tape, pass.shape(n), pass.type(n))
    if tape.rank(shape) == 0 {
      // A row of one element.
      let row = LayoutTable.shared.intern(dims: [1, 1, 1])
      return pass.emit(.sum, type: type, shape: LayoutTable.scalar, x, attribute: row)
    }
    let axis = AxisSet(Int(Composite.extra(tape[n])))
    let rows = tape.reduction(of: shape, over: axis, keepDims: true)
    return pass.emit(.sum, type: type, shape: rows.shape, x, attribute: rows.attribute)
  }
}
