// Which forward values a derivative rule reads, found out by looking at what it has recorded: for tests.
// The memory of whatever a row of the table does not declare may be gone or taken over by the time the
// backward pass runs.

/// Looks at the records that the rule of one node writes. Rules tell nothing themselves, so none of them
/// can forget to.
package struct RuleReads {
  private let tape: Tape
  private let node: UInt32
  /// Records from here on are the rule's.
  private let start: UInt32
  /// Records from here on are the pass's: gradients, and what rules make.
  private let passStart: UInt32
  /// Gradients that may be values that were there before the pass, since a seed may be one.
  private let gradients: [UInt32]
  private let declared: Needs
  /// The operands that the gradient goes to.
  private let receivers: [Int]

  /// Before the rule of `node` is applied to its gradient, in a pass that had recorded nothing when there
  /// were `passStart` records.
  package init(
    _ tape: Tape, _ node: UInt32, gradient: UInt32, _ pass: PassState, since passStart: UInt32
  ) {
    self.tape = tape
    self.node = node
    self.passStart = passStart
    start = tape.count
    declared = tape.needsLater(node)
    let operands = [tape.a(node), tape.b(node), tape.c(node)]
    var gradients = [tape.source(gradient)]
    for operand in operands {
      let adjoint = pass[tape.source(operand)]
      if adjoint != 0, adjoint != PassState.passedOn {
        gradients.append(tape.source(adjoint &- 1))
      }
    }
    self.gradients = gradients
    receivers = operands.indices.filter {
      operands[$0] != node && tape[operands[$0]].traits.contains(.variable)
    }
  }

  /// After it: what the rule has read and the table does not declare; nil where there is no such value.
  package func undeclared() -> String? {
    let values: [(need: Needs, node: UInt32, name: String)] =
      [
        (.a, tape.a(node), "operand a"), (.b, tape.b(node), "operand b"),
        (.c, tape.c(node), "operand c"),
      ].filter { $0.1 != node } + [(.output, node, "the result")]
    var found: Needs = []
    for id in start..<tape.count where tape.hasOperands(id) {
      for operand in [tape.a(id), tape.b(id), tape.c(id)] where operand != id {
        let read = values.filter { tape.shows(operand, $0.node) }
        if read.isEmpty {
          let source = tape.viewed(operand)
          if source >= passStart || gradients.contains(source) { continue }
          return "a value that is neither an operand nor the result"
        }
        // Operands that are one and the same are all read at once.
        let allowed = read.filter { declared.contains($0.need) }
        if allowed.isEmpty, !gradients.contains(tape.viewed(operand)) { return read[0].name }
        for value in allowed { found.formUnion(value.need) }
      }
    }
    note(found)
    return nil
  }

  // MARK: What rules have read

  /// What passes that were verified have read for an operand's gradient.
  package struct Observed: Sendable {
    /// Where no other operand wanted one; nil where that never was so.
    package var alone: Needs?
    /// Where others did, which may have been the ones that it was read for.
    package var withOthers: Needs = []
  }

  private static let observed = Lock<[Int: Observed]>([:])

  private static func key(_ opcode: Opcode, _ operand: Int) -> Int {
    Int(opcode.rawValue) * 3 + operand
  }

  private func note(_ reads: Needs) {
    let opcode = tape[node].opcode
    RuleReads.observed.withLock { observed in
      for operand in receivers {
        var known = observed[RuleReads.key(opcode, operand)] ?? Observed()
        if receivers.count == 1 {
          known.alone = (known.alone ?? []).union(reads)
        } else {
          known.withOthers.formUnion(reads)
        }
        observed[RuleReads.key(opcode, operand)] = known
      }
    }
  }

  /// What rules have read so far for the gradient of an operand.
  package static func observed(_ opcode: Opcode, operand: Int) -> Observed {
    observed.withLock { $0[key(opcode, operand)] ?? Observed() }
  }
}

extension Tape {
  /// The node whose value a node stands for.
  fileprivate func source(_ id: UInt32) -> UInt32 {
    var id = id
    while let source = importedNode(id) { id = source }
    return id
  }

  /// The same, past a view.
  fileprivate func viewed(_ id: UInt32) -> UInt32 {
    let source = source(id)
    let isView = self[source].opcode == .view && hasOperands(source)
    return isView ? self.source(a(source)) : source
  }

  /// Whether a node is another, stands for it or is a view of it.
  fileprivate func shows(_ id: UInt32, _ value: UInt32) -> Bool {
    source(id) == source(value) || viewed(id) == source(value)
  }
}
