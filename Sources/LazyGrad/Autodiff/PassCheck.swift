// Verifies a backward pass, for tests: finds out in another way which tensors must get a gradient, and
// looks whether they have.

internal import LazyGradJIT

/// The variables that a differentiation reaches.
///
/// The walk goes from newest to oldest and ends where what it has reached has been visited; this goes
/// from operation to operand, before the walk changes anything, and keeps a list of its own. It knows of
/// the operations only that each passes a gradient to every operand that is a variable, but for
/// an alias, which passes it to the first, or, where the program's code decides, to none.
struct PassCheck {
  private var handles: [SlotRef] = []
  private var nodes: Set<UInt32> = []

  /// nil where passes are not verified.
  init?(_ tape: Tape, _ heads: [Tensor]) {
    if !tape.state.pointee.limits.checksPasses { return nil }
    var work: [UInt32] = []
    for head in heads where !head.isConstant {
      let id = tape.nodeOrLeaf(head.slot)
      if nodes.insert(id).inserted { work.append(id) }
    }
    while let id = work.popLast() {
      if let slot = tape[id].slot, slot.pointee.isVariable { handles.append(slot) }
      for operand in Self.receivers(tape, id)
      where tape[operand].traits.contains(.variable) && nodes.insert(operand).inserted {
        work.append(operand)
      }
    }
  }

  /// The nodes that the gradient of a node goes on to.
  private static func receivers(_ tape: Tape, _ id: UInt32) -> [UInt32] {
    if let source = tape.importedNode(id) { return [source] }
    guard tape[id].state.contains(.tracked), tape.hasOperands(id) else { return [] }
    if tape[id].opcode == .attach {
      let composite = Composite(rawValue: tape[id].attribute & Composite.mask)
      return composite == .custom ? [] : [tape.a(id)]
    }
    return [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }
  }

  /// Stops the program if a tensor has no gradient.
  func verify() {
    let missing = handles.count {
      $0.pointee.gradient == nil && !$0.pointee.hasUnitGradient
    }
    precondition(
      missing == 0,
      "LazyGrad: backward: \(missing) of \(handles.count) variables that were reached have no gradient"
    )
  }

  /// Stops the program if a variable has no gradient although it was reached.
  func verify(_ collected: [UInt32: UInt32]) {
    let missing = collected.count { nodes.contains($0.key) && $0.value == Tape.none }
    precondition(
      missing == 0,
      "LazyGrad: gradients: \(missing) of \(collected.count) variables were reached and have no gradient"
    )
  }
}
