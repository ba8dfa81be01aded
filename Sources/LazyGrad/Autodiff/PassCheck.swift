// Verifies a backward pass, for tests: finds out in another way which tensors must get a gradient, looks
// whether they have, and whether rules read only what the table of operations declares.

internal import LazyGradJIT

/// The variables that a differentiation reaches.
///
/// The walk goes from newest to oldest and ends where what it has reached has been visited; this goes
/// from operation to operand, before the walk changes anything, and keeps a list of its own. It knows of
/// the operations only that each passes a gradient to every operand that is a variable, but for
/// an alias, which passes it to the first, or, where the program's code decides, to none.
struct PassCheck {
  private var handles: [(slot: SlotRef, node: UInt32)] = []
  /// By node: the operation through which it was reached first.
  private var reached: [UInt32: Opcode] = [:]
  /// Records before the pass.
  private let count: UInt32

  /// nil where passes are not verified.
  init?(_ tape: Tape, _ heads: [Tensor]) {
    if !tape.state.pointee.limits.checksPasses { return nil }
    var work: [UInt32] = []
    func reach(_ id: UInt32, _ opcode: Opcode, _ reached: inout [UInt32: Opcode]) {
      if reached[id] != nil || !tape[id].traits.contains(.variable) { return }
      reached[id] = opcode
      work.append(id)
    }
    for head in heads where !head.isConstant {
      reach(tape.nodeOrLeaf(head.slot), .leaf, &reached)
    }
    while let id = work.popLast() {
      // The gradient of a view is seen in that of its base.
      if let slot = tape[id].slot, slot.pointee.isVariable, !slot.isView {
        handles.append((slot, id))
      }
      for operand in Self.receivers(tape, id) { reach(operand, tape[id].opcode, &reached) }
    }
    count = tape.count
  }

  /// What is to look at the rule of a node; nil where the program's code is part of it, which may read
  /// what it likes: what has not been kept is computed again.
  func reads(_ tape: Tape, _ id: UInt32, _ g: UInt32, _ pass: PassState) -> RuleReads? {
    if tape[id].opcode == .attach, Composite.of(tape[id]) === Composite.custom { return nil }
    return RuleReads(tape, id, gradient: g, pass, since: count)
  }

  /// The nodes that the gradient of a node goes on to.
  private static func receivers(_ tape: Tape, _ id: UInt32) -> [UInt32] {
    if let source = tape.importedNode(id) { return [source] }
    guard tape[id].state.contains(.tracked), tape.hasOperands(id),
      tape[id].opcode.info.isDifferentiable
    else { return [] }
    if tape[id].opcode == .attach {
      return Composite.of(tape[id]) === Composite.custom ? [] : [tape.a(id)]
    }
    if tape[id].opcode == .view, tape.b(id) != id { return [tape.b(id)] }
    return [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }
  }

  /// Stops the program if a tensor has no gradient.
  func verify() {
    let missing = handles.filter {
      $0.slot.pointee.gradient == nil && !$0.slot.hasUnitGradient
    }
    report(missing.map(\.node), of: handles.count, in: "backward")
  }

  /// Stops the program if a variable has no gradient although it was reached.
  func verify(_ asked: AskedGradients) {
    let missing = asked.entries.filter { reached[$0.node] != nil && $0.gradient == Tape.none }
    report(missing.map(\.node), of: asked.entries.count, in: "gradients")
  }

  private func report(_ missing: [UInt32], of count: Int, in operation: String) {
    guard let first = missing.first else { return }
    stop(
      operation,
      "\(missing.count) of \(count) variables were reached and have no gradient, the first through "
        + "'\(reached[first]!.info.name)'")
  }
}
