// What follows from a record's link: which node of an earlier window a leaf stands for, how far the graph
// of a node reached that was cleared, and which view the program made a view of.

extension Node {
  /// Whether it is a view of which only the record is left, which others may have been made through.
  var isGoneView: Bool {
    opcode == .view && state.contains(.dead) && !state.contains(.cleared)
  }
}

extension Tape {
  /// The node that a leaf record stands for.
  package func importedNode(_ leaf: UInt32) -> UInt32? {
    let node = nodes[Int(leaf)]
    return node.opcode == .leaf ? node.imported : nil
  }

  /// The view that a view was made of; where that is gone, the one that it was made of in turn. nil from
  /// one on whose graph was cleared.
  package func viewParent(_ id: UInt32) -> UInt32? {
    var view = id
    while true {
      let node = nodes[Int(view)]
      guard node.opcode == .view, !node.state.contains(.cleared) else { return nil }
      if view != id, !node.state.contains(.dead) { return view }
      guard let parent = node.parent else { return nil }
      view = parent
    }
  }

  /// Readies views for the arena to be compacted: links lead past views that are gone, except those that
  /// were made under the guard. Such a one holds a lock for all views that were made through it, until the
  /// first of these is cleared. It stays unless all of them lead through one other that stays.
  /// - Complexity: O(records).
  func linkPastGoneViews() {
    let n = Int(state.pointee.count)
    // Newest first: what leads to a view that is gone has been counted when that is met, in `uses`, where
    // nothing else counts any more: 2 for a view that is alive, 1 for one that stays.
    for id in (0..<n).reversed() where nodes[id].opcode == .view {
      let facts = nodes[id].state
      var weight: UInt32 = 2
      if facts.contains(.cleared) { continue }
      if facts.contains(.dead) {
        let uses = nodes[id].uses
        let isPassed = uses < 2 || !facts.contains(.tracked) || !facts.contains(.guarded)
        if isPassed { nodes[id].uses = 0 }
        weight = isPassed ? uses : 1
      }
      guard let next = nodes[id].parent else { continue }
      let parent = nodes + Int(next)
      if parent.pointee.isGoneView { parent.pointee.uses &+= weight }
    }
    // Oldest first, so that a way is one step long.
    for id in 0..<n where nodes[id].opcode == .view && !nodes[id].state.contains(.cleared) {
      guard let next = nodes[id].parent else { continue }
      let parent = nodes[Int(next)]
      if parent.opcode != .view || parent.state.contains(.cleared) {
        nodes[id].parent = nil
      } else if parent.state.contains(.dead), parent.uses == 0 {
        nodes[id].parent = parent.parent
      }
    }
  }

  /// Marks that the graph through a node has been cleared: operations recorded before now may not
  /// be differentiated through it any more, later ones may start from it.
  @inlinable @inline(__always)
  public func markCleared(_ id: UInt32) {
    let node = nodes + Int(id)
    var facts = node.pointee.state
    if node.pointee.opcode != .leaf, facts.isDisjoint(with: .tracked, .cleared) {
      facts.insert(.resumable)
    }
    if node.pointee.opcode == .view, !facts.contains(.cleared), let parent = node.pointee.parent {
      clearGoneViews(parent)
    }
    facts.remove(.tracked)
    facts.insert(.cleared)
    node.pointee.state = facts
    if node.pointee.opcode != .leaf { node.pointee.clearedEnd = state.pointee.count }
    state.pointee.hasCleared = true
    noteEdit()
  }

  /// Marks the views that are gone between one whose graph is cleared and its parent: other views may
  /// have been made through them as well, which lock nothing for them from now on.
  @usableFromInline @inline(never)
  func clearGoneViews(_ first: UInt32) {
    var id = first
    while true {
      let node = nodes + Int(id)
      if !node.pointee.isGoneView { return }
      let next = node.pointee.parent
      node.pointee.parent = nil
      node.pointee.state.remove(.tracked)
      node.pointee.state.insert(.cleared)
      guard let next else { return }
      id = next
    }
  }

  /// Whether going from a reader to a node leads into a cleared graph, or to where there is none. A leaf that stands for a node
  /// of an earlier window leads on to that; whether that way is open is seen there.
  package func isCutOff(_ id: UInt32, from reader: UInt32) -> Bool {
    let node = nodes[Int(id)]
    if node.traits.contains(.cutOff) { return true }
    return node.state.contains(.cleared)
      && (node.opcode == .leaf ? node.imported == nil : reader < node.clearedEnd)
  }

  /// Whether gradients can't go from a view's record to that of its base.
  package static func isCutOffView(_ slot: SlotRef) -> Bool {
    let tape = hold(slot)
    defer { tape.unlock() }
    guard let id = slot.node, tape[id].state.contains(.tracked), tape.hasOperands(id) else {
      return true
    }
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
    guard let id = slot.node else { return false }
    let state = tape[id].state
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
      noteEdit()
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
    // What was recorded after the graph was cleared may be differentiated down to this handle. Of a pass
    // that runs in pieces the readers are cleared already, but it has still to come by.
    if isRead, isCleared, !isResumable, state.pointee.suspendedPasses != 0 || hasLaterReaders(id) {
      return
    }
    let value = self.value(of: id)
    // An array over it will show the memory of what this is a view of.
    if nodes[Int(id)].opcode == .view { handOut(id) }
    slot.pointee.storage = value.storage.retain()
    slot.pointee.offset = value.offset
    slot.pointee.layout = value.layout
    slot.isCleared = isCleared && !isResumable
    unhold(id)
    slot.node = nil
    slot.leaf = nil
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
    var reader = nodes[Int(id)].clearedEnd
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
      if node.opcode == .leaf, node.imported == id, !node.state.contains(.dead) { return true }
      reader += 1
    }
    return false
  }

  /// Turns the record of a value that has moved into its handle into the leaf record for it.
  private func becomeLeaf(_ id: UInt32, _ slot: SlotRef) {
    noteEdit()
    dropOperands(id)
    if nodes[Int(id)].storage != nil { dropValue(id) }
    nodes[Int(id)].becomeLeaf(of: slot)
    slot.leaf = id
    countReader(slot.pointee.storage.stillThere)
    state.pointee.owners.append(id)
  }
}
