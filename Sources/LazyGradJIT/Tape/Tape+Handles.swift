// Handles that change their value, share it, or give it up.

extension Tape {
  /// Gives a handle the value of another, which is used up: an in-place update.
  ///
  /// Whatever was recorded on the old value keeps it. The handle stays constant or variable, as it was;
  /// the rule of a node that becomes a variable by this must ask whether its operands are.
  package static func replace(_ slot: SlotRef, with fresh: SlotRef) {
    let tape = hold(slot, fresh)
    defer { tape.unlock() }
    let node = fresh.node
    if let old = slot.node {
      tape.unhold(old)
      slot.node = nil
      if tape[old].uses == 0 { tape.free(old) }
    } else {
      tape.detachStorage(slot)
    }
    slot.pointee.storage = fresh.pointee.storage
    slot.pointee.offset = fresh.pointee.offset
    slot.pointee.layout = fresh.pointee.layout
    slot.leaf = nil
    slot.isReadOnly = fresh.isReadOnly
    slot.isGradient = fresh.isGradient
    slot.isCleared = fresh.isCleared
    slot.node = node
    if let node {
      // The node moves from one handle to the other: the counts of held nodes stay.
      tape[node].slot = slot
      tape.noteEdit()
      if slot.pointee.isVariable {
        tape[node].traits.formUnion(.variable)
      } else {
        tape[node].traits.remove(.variable)
      }
    } else if let leaf = tape.liveLeaf(fresh) {
      tape[leaf].slot = slot
      slot.leaf = leaf
    }
    tape.state.pointee.freeSlots.append(fresh)
  }

  /// Another handle for a handle's value, sharing its memory.
  package static func share(_ slot: SlotRef) -> SlotRef {
    let tape = hold(slot)
    if slot.node != nil {
      tape.unlock()
      return view(slot, mode: .plain)
    }
    defer { tape.unlock() }
    let shared = tape.makeSlot(
      storage: slot.pointee.storage.stillThere.retain(), layout: slot.pointee.layout,
      offset: slot.pointee.offset, type: slot.pointee.type, isVariable: slot.pointee.isVariable)
    shared.isReadOnly = slot.isReadOnly
    shared.isGradient = slot.isGradient
    return shared
  }

  /// Why a handle has no gradient.
  package enum MissingGradient {
    /// A new use has ended it.
    case usedUp
    /// The program has dropped it, or an update in place has.
    case dropped
    /// No pass has left one; the value was recorded of variables without backward information.
    case untracked
    /// No pass has left one.
    case unreached
  }

  /// Why a variable's handle, which has no gradient now, has none.
  package static func missingGradient(of slot: SlotRef) -> MissingGradient {
    let tape = hold(slot)
    defer { tape.unlock() }
    if slot.hasUsedUpGradient { return .usedUp }
    if slot.hasDroppedGradient { return .dropped }
    guard let id = slot.node, tape[id].state.isDisjoint(with: .tracked, .cleared) else {
      return .unreached
    }
    let operands = [tape[id].a, tape[id].b, tape[id].c]
    let isOfVariables = operands.contains { $0 != 0 && tape[id &- $0].traits.contains(.variable) }
    return isOfVariables ? .untracked : .unreached
  }

  /// The node behind a handle in whatever window it is, or the leaf that stands for its value.
  package func nodeOrLeaf(_ slot: SlotRef) -> UInt32 {
    if let node = slot.node { return node }
    if let leaf = liveLeaf(slot), !nodes[Int(leaf)].state.contains(.cleared) { return leaf }
    return operand(slot)
  }

  /// The same, but to ask for it is no new use: one whose graph was cleared stays so.
  package func record(of slot: SlotRef) -> UInt32 {
    if let node = slot.node { return node }
    return liveLeaf(slot) ?? operand(slot)
  }

  /// Whether a handle's value has not been computed, though others of its window have been.
  package func isLate(_ slot: SlotRef) -> Bool {
    guard let node = slot.node else { return false }
    return node < state.pointee.windowStart && !isGiven(node)
  }

  /// Whether a pass has cleared the graph of a handle's value, so that it leads nowhere any more.
  package func isCleared(_ slot: SlotRef) -> Bool {
    guard let id = slot.node else { return slot.isCleared }
    let node = nodes[Int(id)]
    return node.opcode != .leaf && node.state.contains(.cleared)
      && node.state.isDisjoint(with: .tracked, .resumable)
  }

  /// A handle for the same value that no gradient flows through.
  package static func constant(_ slot: SlotRef) -> SlotRef { share(slot, as: .none) }

  /// A handle for the same value that gradients flow to, and through to nothing.
  package static func variable(_ slot: SlotRef) -> SlotRef {
    let tape = hold(slot)
    if slot.node == nil {
      tape.unlock()
      return share(slot, as: .variable)
    }
    defer { tape.unlock() }
    // Views are variables where what they show is one, so this is none.
    return tape.makeSlot(
      tape.append(
        .copy, slot.pointee.type, shape: slot.pointee.shape, a: tape.operand(slot),
        traits: .variable))
  }

  /// A handle for the same value that can't be differentiated, which is an error and not 0.
  package static func gradient(_ slot: SlotRef) -> SlotRef { share(slot, as: .gradient) }

  private static func share(_ slot: SlotRef, as traits: Node.Traits) -> SlotRef {
    let shared = share(slot)
    let tape = hold(shared)
    defer { tape.unlock() }
    shared.pointee.isVariable = traits.contains(.variable)
    shared.isGradient = traits.contains(.gradient)
    if let node = shared.node {
      tape.noteEdit()
      tape[node].traits.remove(.inherited)
      tape[node].traits.formUnion(traits)
    }
    return shared
  }

  /// Moves a handle's value into a new handle; the old one is left with nothing.
  package static func surrender(_ slot: SlotRef) -> SlotRef {
    let tape = hold(slot)
    defer { tape.unlock() }
    let fresh = tape.makeSlot(
      storage: slot.pointee.storage, layout: slot.pointee.layout, offset: slot.pointee.offset,
      type: slot.pointee.type, isVariable: slot.pointee.isVariable)
    fresh.node = slot.node
    fresh.isReadOnly = slot.isReadOnly
    fresh.isGradient = slot.isGradient
    fresh.isCleared = slot.isCleared
    if let node = slot.node {
      tape[node].slot = fresh
    } else if let leaf = tape.liveLeaf(slot) {
      tape[leaf].slot = fresh
      fresh.leaf = leaf
    }
    slot.pointee.storage = nil
    slot.node = nil
    slot.leaf = nil
    return fresh
  }
}
