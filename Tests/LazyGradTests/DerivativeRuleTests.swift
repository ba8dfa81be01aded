// Derivative rules against the table of operations: that there is one wherever a gradient flows, that each
// reads what its row declares, no more and no less, and records no more than it has to.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Derivative rules")
struct DerivativeRuleTests {
  @Test("Every differentiable operation has a rule, and no other")
  func complete() {
    for opcode in Opcode.allCases {
      let takesGradients = opcode.info.isDifferentiable && opcode.info.arity > 0
      #expect(DerivativeRules.hasRule(opcode.rawValue) == takesGradients, "\(opcode)")
    }
  }

  // MARK: What is read

  /// Limits under which passes are verified.
  private static var checking: TapeLimits {
    var limits = TapeLimits.usual
    limits.checksPasses = true
    return limits
  }

  /// That no rule reads more, a verified pass finds out itself, and stops.
  @Test("What a row declares, some rule reads; what it does not declare, none")
  func declaredReads() {
    Tape.withLimits(Self.checking) {
      for example in GradientCase.all {
        let values = example.inputs()
        for k in example.shapes.indices {
          // The others are constants: one operand alone wants a gradient.
          let x = zip(values, example.shapes).enumerated().map {
            Tensor(NDArray($1.0, shape: $1.1), constant: $0 != k, copy: false)
          }
          let y = example.function(x)
          let weighted = (y * example.weights(y.shape)).sum()
          let first = gradients(of: weighted, withRespectTo: [x[k]], createGraph: true)[0]
          if first.isConstant { continue }
          _ = gradients(of: (first * example.weights(first.shape)).sum(), withRespectTo: [x[k]])
        }
      }
    }
    for opcode in Opcode.allCases where opcode.info.isDifferentiable {
      let needs = opcode.info.needs
      for (k, declared) in [needs.a, needs.b, needs.c].enumerated() {
        let observed = RuleReads.observed(opcode, operand: k)
        let read = observed.alone ?? observed.withOthers
        #expect(
          declared.isSubset(of: read),
          "\(opcode), operand \(k): declared \(declared), read \(read)")
      }
    }
  }

  @Test("A read that a row does not declare is found")
  func undeclaredReads() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2])
      let other = x * 3
      let y = exp(x)
      let tape = Tape.current
      let found: [String?] = tape.locked {
        let (node, start) = (tape.count - 1, tape.count)
        let pass = tape.makePassState(upTo: start)
        defer { tape.recycle(pass) }
        let g = tape.append(.scalar, .float64, shape: LayoutTable.scalar)
        func reads(_ value: UInt32) -> String? {
          let reads = RuleReads(tape, node, gradient: g, pass, since: start)
          let product = tape.append(.mul, .float64, shape: tape[node].shape, a: g, b: value)
          defer { tape.freeUnread(product) }
          return reads.undeclared()
        }
        // The derivative of e^x reads the result.
        let result = [node, tape.a(node), node - 1].map(reads)
        tape.freeUnread(g)
        return result
      }
      #expect(
        found == [nil, "operand a", "a value that is neither an operand nor the result"])
      withExtendedLifetime((x, other, y)) {}
    }
  }

  // MARK: What is recorded

  struct Rule: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Which inputs are variables.
    let variables: Set<Int>
    let function: @Sendable ([Tensor]) -> Tensor
    /// The gradients of the variables in terms of g, the operands a, b and c, and the result y.
    let gradients: [String]
    /// Records that the rule makes.
    let count: Int

    init(
      _ name: String, _ count: Int, _ gradients: [String], of variables: Set<Int> = [0],
      _ function: @escaping @Sendable ([Tensor]) -> Tensor
    ) {
      testDescription = name
      self.count = count
      self.gradients = gradients
      self.variables = variables
      self.function = function
    }
  }

  private static let power = "multiply(g, multiply(b, power(a, \(exponent))))"
  private static let exponent = "where(equal(b, 0.0), 1.0, subtract(b, 1.0))"
  private static let logarithm = "multiply(g, multiply(y, log(where(equal(a, 0.0), 1.0, a))))"
  private static func winner(_ test: String) -> String { "where(\(test)(a, b), g, 0.0)" }
  private static func loser(_ test: String) -> String {
    "where(logicalOr(\(test)(a, b), equal(a, b)), 0.0, g)"
  }

  static let rules: [Rule] = [
    .init("copy", 0, ["copy(g)"]) { +$0[0] },
    .init("cast", 1, ["cast(g)"]) { $0[0].cast(to: .float32) },
    .init("negative", 1, ["negative(g)"]) { -$0[0] },
    .init("abs", 2, ["multiply(g, sign(a))"]) { abs($0[0]) },
    .init("square", 3, ["multiply(g, multiply(a, 2.0))"]) { square($0[0]) },
    .init("sqrt", 3, ["divide(g, multiply(y, 2.0))"]) { sqrt($0[0]) },
    .init("reciprocal", 3, ["negative(multiply(g, square(y)))"]) { reciprocal($0[0]) },
    .init("exp", 1, ["multiply(g, y)"]) { exp($0[0]) },
    .init("expm1", 2, ["multiply(g, exp(a))"]) { expm1($0[0]) },
    .init("log", 1, ["divide(g, a)"]) { log($0[0]) },
    .init("log1p", 3, ["divide(g, add(a, 1.0))"]) { log1p($0[0]) },
    .init("sin", 2, ["multiply(g, cos(a))"]) { sin($0[0]) },
    .init("cos", 3, ["negative(multiply(g, sin(a)))"]) { cos($0[0]) },
    .init("tanh", 4, ["multiply(g, subtract(1.0, square(y)))"]) { tanh($0[0]) },
    .init("sigmoid", 4, ["multiply(g, multiply(y, subtract(1.0, y)))"]) { sigmoid($0[0]) },
    .init(
      "erf", 6, ["multiply(g, multiply(exp(negative(square(a))), 1.1283791670955126))"]
    ) { erf($0[0]) },
    .init("relu", 5, ["where(greater(y, 0.0), g, multiply(y, 0.0))"]) { relu($0[0]) },
    .init("softplus", 4, ["negative(multiply(g, expm1(negative(y))))"]) { softplus($0[0]) },
    .init("add", 0, ["copy(g)", "copy(g)"], of: [0, 1]) { $0[0] + $0[1] },
    .init("subtract", 1, ["negative(g)", "copy(g)"], of: [0, 1]) { $0[0] - $0[1] },
    .init("subtract from a variable", 0, ["copy(g)"]) { $0[0] - $0[1] },
    .init("multiply", 2, ["multiply(g, b)", "multiply(g, a)"], of: [0, 1]) { $0[0] * $0[1] },
    .init("multiply by a constant", 1, ["multiply(g, b)"]) { $0[0] * $0[1] },
    .init(
      "divide", 3, ["divide(g, b)", "negative(multiply(divide(g, b), y))"], of: [0, 1]
    ) { $0[0] / $0[1] },
    .init("divide by a constant", 1, ["divide(g, b)"]) { $0[0] / $0[1] },
    .init("divide a constant", 3, ["negative(multiply(divide(g, b), y))"], of: [1]) {
      $0[0] / $0[1]
    },
    .init("power", 16, [power, logarithm], of: [0, 1]) { $0[0] ** $0[1] },
    .init("power with a constant exponent", 9, [power]) { $0[0] ** $0[1] },
    .init("power of a constant", 7, [logarithm], of: [1]) { $0[0] ** $0[1] },
    .init("maximum", 6, [winner("greater"), loser("greater")], of: [0, 1]) {
      maximum($0[0], $0[1])
    },
    .init("maximum, first", 3, [winner("greater")]) { maximum($0[0], $0[1]) },
    .init("minimum, second", 5, [loser("less")], of: [1]) { minimum($0[0], $0[1]) },
    .init("where", 3, ["where(a, g, 0.0)", "where(a, 0.0, g)"], of: [0, 1]) {
      `where`(Tensor([true, false]), $0[0], $0[1])
    },
    .init("where, first", 2, ["where(a, g, 0.0)"]) {
      `where`(Tensor([true, false]), $0[0], $0[1])
    },
  ]

  @Test("What rules record", arguments: rules)
  func recorded(_ rule: Rule) {
    let (gradients, count) = ConcurrencyTests.onNewThread { () -> ([String], Int) in
      Tape.withLimits(.usual) { Self.record(rule) }
    }
    #expect(gradients == rule.gradients)
    #expect(count == rule.count)
  }

  /// The gradients that a pass over one operation gives, as text, and how many records it takes.
  private static func record(_ rule: Rule) -> ([String], Int) {
    let inputs = [[0.5, 1.5], [1.25, 0.75]].enumerated().map {
      Tensor($1, constant: !rule.variables.contains($0))
    }
    let y = rule.function(inputs)
    let tape = Tape.current
    let node = tape.count - 1
    let seed = Tensor(NDArray([1.0, 2], dtype: y.dtype), constant: true)
    let start = tape.count
    y.backward(seed)
    defer { withExtendedLifetime(inputs) {} }
    return tape.locked {
      var names: [UInt32: String] = [node: "y"]
      for (operand, name) in [(tape.a(node), "a"), (tape.b(node), "b"), (tape.c(node), "c")]
      where operand != node {
        names[operand] = name
      }
      var gradients: [String] = []
      var count = 0
      for id in start..<tape.count {
        let record = tape[id]
        let operands = [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }
        let name = record.opcode.info.name
        switch record.opcode {
        case .leaf: names[id] = "g"
        case .scalar: names[id] = "\(Double(bitPattern: record.numberBits))"
        default: names[id] = "\(name)(\(operands.map { names[$0] ?? "?" }.joined(separator: ", ")))"
        }
        // A gradient that is another's record or in memory is copied for its handle.
        if record.opcode != .leaf, record.opcode != .copy { count += 1 }
        if record.slot != nil, record.opcode != .leaf { gradients.append(names[id]!) }
      }
      // The first one is that of the result itself.
      return (Array(gradients.dropFirst()), count)
    }
  }
}
