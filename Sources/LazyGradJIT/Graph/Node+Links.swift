// The two meanings of a record's link: for a leaf, the node of an earlier window that it stands
// for; for a node whose graph was cleared, how far that graph reached.

extension Tape {
  /// The node that a leaf record stands for.
  package func importedNode(_ leaf: UInt32) -> UInt32? {
    let node = nodes[Int(leaf)]
    return node.opcode == .leaf && node.link != 0 ? node.link &- 1 : nil
  }

  /// Marks that the graph through a node has been cleared: operations recorded before now may not
  /// be differentiated through it any more, later ones may start from it.
  @inlinable
  public func markCleared(_ id: UInt32) {
    nodes[Int(id)].state.remove(.tracked)
    nodes[Int(id)].state.insert(.cleared)
    if nodes[Int(id)].opcode != .leaf { nodes[Int(id)].link = state.pointee.count }
    state.pointee.hasCleared = true
  }

  /// Whether going from a reader to a node leads into a cleared graph.
  package func isCutOff(_ id: UInt32, from reader: UInt32) -> Bool {
    let node = nodes[Int(id)]
    return node.state.contains(.cleared) && (node.opcode == .leaf || reader < node.link)
  }

  /// Lets go of what a cleared, evaluated node kept for its backward pass.
  package func releaseCleared(_ ids: [UInt32]) {
    for id in ids where nodes[Int(id)].state.isDisjoint(with: .dead, .tracked) {
      if !nodes[Int(id)].state.contains(.evaluated) { continue }
      if nodes[Int(id)].slot != nil { settleValue(id) }
      dropOperands(id)
      if nodes[Int(id)].uses == 0, nodes[Int(id)].slot == nil { state.pointee.work.append(id) }
    }
    freeWork()
  }

  /// Keeps a node without a handle alive.
  package func retainNode(_ id: UInt32) { nodes[Int(id)].uses &+= 1 }

  package func releaseNode(_ id: UInt32) {
    release(id)
    freeWork()
  }

  /// Moves an evaluated, untracked value from its node into its handle.
  func settleValue(_ id: UInt32) {
    guard let slot = nodes[Int(id)].slot, nodes[Int(id)].opcode != .leaf else { return }
    let value = self.value(of: id)
    slot.pointee.storage = value.storage.retain()
    slot.pointee.offset = value.offset
    slot.pointee.layout = value.layout
    unhold(id)
    slot.pointee.node = 0
    slot.pointee.leaf = 0
  }
}
