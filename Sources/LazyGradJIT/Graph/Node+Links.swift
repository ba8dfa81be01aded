// The three meanings of a record's link: for a leaf, the node of an earlier window that it stands
// for; for a node whose graph was cleared, how far that graph reached; for a view whose graph was not, the
// view that the program made it of.

extension Tape {
  /// The node that a leaf record stands for.
  package func importedNode(_ leaf: UInt32) -> UInt32? {
    let node = nodes[Int(leaf)]
    return node.opcode == .leaf && node.link != 0 ? node.link &- 1 : nil
  }

  /// The view that a view was made of; where that is gone, the one that it was made of in turn. nil from
  /// one on whose graph was cleared.
  package func viewParent(_ id: UInt32) -> UInt32? {
    var view = id
    while true {
      let node = nodes[Int(view)]
      guard node.opcode == .view, !node.state.contains(.cleared) else { return nil }
      if view != id, !node.state.contains(.dead) { return view }
      if node.link == 0 { return nil }
      view = node.link &- 1
    }
  }

  /// Whether one of the views that are gone between a view and its parent was made under the guard: it
  /// holds a lock as long as the view does.
  func isGuarded(_ id: UInt32, before parent: UInt32?) -> Bool {
    var view = id
    while nodes[Int(view)].link != 0 {
      view = nodes[Int(view)].link &- 1
      let node = nodes[Int(view)]
      guard view != parent, node.opcode == .view, node.state.contains(.tracked) else {
        return false
      }
      if node.state.contains(.guarded) { return true }
    }
    return false
  }

  /// Marks that the graph through a node has been cleared: operations recorded before now may not
  /// be differentiated through it any more, later ones may start from it.
  @inlinable @inline(__always)
  public func markCleared(_ id: UInt32) {
    let node = nodes + Int(id)
    var facts = node.pointee.state
    if node.pointee.opcode != .leaf {
      if facts.isDisjoint(with: .tracked, .cleared) { facts.insert(.resumable) }
      node.pointee.link = state.pointee.count
    }
    facts.remove(.tracked)
    facts.insert(.cleared)
    node.pointee.state = facts
    state.pointee.hasCleared = true
  }

  /// Whether going from a reader to a node leads into a cleared graph. A leaf that stands for a node
  /// of an earlier window leads on to that; whether that way is open is seen there.
  package func isCutOff(_ id: UInt32, from reader: UInt32) -> Bool {
    let node = nodes[Int(id)]
    return node.state.contains(.cleared)
      && (node.opcode == .leaf ? node.link == 0 : reader < node.link)
  }

  /// Whether gradients can't go from a view's record to that of its base.
  package static func isCutOffView(_ slot: SlotRef) -> Bool {
    let tape = hold(slot)
    defer { tape.unlock() }
    if slot.pointee.node == 0 { return true }
    let id = slot.pointee.node &- 1
    guard tape[id].state.contains(.tracked), tape.hasOperands(id) else { return true }
    var (reader, base) = (id, tape.a(id))
    while true {
      if tape.isCutOff(base, from: reader) { return true }
      guard let source = tape.importedNode(base) else { return false }
      (reader, base) = (base, source)
    }
  }

  /// Whether the record of a view locks what the view shows.
  package static func isGuardedView(_ slot: SlotRef) -> Bool {
    let tape = hold(slot)
    defer { tape.unlock() }
    if slot.pointee.node == 0 { return false }
    let state = tape[slot.pointee.node &- 1].state
    return state.contains(.tracked) && state.contains(.guarded)
  }

  /// Lets go of what cleared, evaluated nodes kept for their backward pass, which began when there
  /// were `start` records. The ids are relative to `first`.
  func releaseCleared(_ ids: [UInt32], from first: UInt32, since start: UInt32) {
    state.pointee.clearing = start..<state.pointee.count
    for relative in ids {
      let id = first &+ relative
      if !nodes[Int(id)].state.isDisjoint(with: .dead, .tracked) { continue }
      if !nodes[Int(id)].state.contains(.evaluated) { continue }
      if nodes[Int(id)].slot != nil { settleValue(id) }
      // What something pending reads has its value in its operands: a view's is there, and one that
      // was not kept is computed from them again.
      let isElsewhere = nodes[Int(id)].opcode == .view || !isGiven(id)
      if isElsewhere, nodes[Int(id)].uses != 0 { continue }
      dropOperands(id)
      if nodes[Int(id)].uses == 0, nodes[Int(id)].slot == nil { state.pointee.work.append(id) }
    }
    freeWork()
  }

  /// Keeps a node without a handle alive.
  package func retainNode(_ id: UInt32) { nodes[Int(id)].uses &+= 1 }

  /// Ends that, and frees nothing: the node may be somebody's gradient, which is not counted.
  package func letGo(_ id: UInt32) { nodes[Int(id)].uses &-= 1 }

  /// Moves an evaluated, untracked value from its node into its handle.
  ///
  /// Where live operations read the node, their gradients must still find the handle: then the
  /// record turns into the leaf record of the handle's value.
  func settleValue(_ id: UInt32) {
    guard let slot = nodes[Int(id)].slot, nodes[Int(id)].opcode != .leaf else { return }
    let isRead = nodes[Int(id)].uses != 0 && nodes[Int(id)].traits.contains(.variable)
    let isCleared = nodes[Int(id)].state.contains(.cleared)
    let isResumable = nodes[Int(id)].state.contains(.resumable)
    // What was recorded after the graph was cleared may be differentiated down to this handle.
    if isRead, isCleared, !isResumable, hasLaterReaders(id) { return }
    let value = self.value(of: id)
    // An array over it will show the memory of what this is a view of.
    if nodes[Int(id)].opcode == .view { handOut(id) }
    slot.pointee.storage = value.storage.retain()
    slot.pointee.offset = value.offset
    slot.pointee.layout = value.layout
    unhold(id)
    slot.pointee.node = 0
    slot.pointee.leaf = 0
    if isRead, !isCleared || isResumable {
      becomeLeaf(id, slot)
      if isResumable { nodes[Int(id)].state.insert(.cleared) }
    } else if nodes[Int(id)].uses != 0 {
      // What is pending on the node would see a write to the handle's array.
      handOut(id)
    }
  }

  /// Whether an operation from after the last clearing of a node reads it.
  private func hasLaterReaders(_ id: UInt32) -> Bool {
    var reader = nodes[Int(id)].link
    if reader >= state.pointee.clearing.lowerBound {
      reader = max(reader, state.pointee.clearing.upperBound)
    }
    while reader < state.pointee.count {
      let node = nodes[Int(reader)]
      if node.state.contains(.tracked), !node.state.contains(.dead),
        (node.a != 0 && reader - node.a == id) || (node.b != 0 && reader - node.b == id)
          || (node.c != 0 && reader - node.c == id)
      {
        return true
      }
      if node.opcode == .leaf, node.link == id + 1, !node.state.contains(.dead) { return true }
      reader += 1
    }
    return false
  }

  /// Turns the record of a value that has moved into its handle into the leaf record for it.
  private func becomeLeaf(_ id: UInt32, _ slot: SlotRef) {
    dropOperands(id)
    if nodes[Int(id)].storage != nil { dropValue(id) }
    nodes[Int(id)].opcode = .leaf
    nodes[Int(id)].state = .none
    nodes[Int(id)].traits = nodes[Int(id)].traits.intersection(.variable)
    nodes[Int(id)].attribute = slot.pointee.layout
    nodes[Int(id)].payload = UInt64(slot.pointee.offset)
    nodes[Int(id)].storage = slot.pointee.storage
    nodes[Int(id)].slot = slot
    nodes[Int(id)].link = 0
    slot.pointee.leaf = id &+ 1
    countReader(slot.pointee.storage.stillThere)
    state.pointee.owners.append(id)
  }
}
