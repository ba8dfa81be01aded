// Bringing operands into one tape. Usually they are there already; when a task has moved between
// threads, its tensors may have been recorded on several tapes, and those become one.

extension Tape {
  /// Locks the tape of a handle. Another thread may merge that tape away between reading it and
  /// getting the lock, so it is read again under the lock.
  @inline(__always)
  package static func hold(_ x: SlotRef) -> Tape {
    while true {
      let tape = x.pointee.tape
      tape.lock()
      if x.pointee.tape == tape { return tape }
      tape.unlock()
    }
  }

  /// The tape that all operands are on, after joining their tapes where they were not.
  @inline(__always)
  static func join(_ x: SlotRef, _ y: SlotRef?, _ z: SlotRef?) -> Tape {
    let tape = x.pointee.tape
    if y == nil || y!.pointee.tape == tape, z == nil || z!.pointee.tape == tape { return tape }
    return joinSlowly(x, y, z)
  }

  @inline(never)
  private static func joinSlowly(_ x: SlotRef, _ y: SlotRef?, _ z: SlotRef?) -> Tape {
    for other in [y, z] {
      if let other { merge(other, x) }
    }
    return x.pointee.tape
  }

  /// Brings two handles to one tape.
  package static func bring(_ x: SlotRef, _ y: SlotRef) {
    if x.pointee.tape != y.pointee.tape { merge(x, y) }
  }

  /// Brings two handles to one tape.
  private static func merge(_ x: SlotRef, _ y: SlotRef) {
    while true {
      let a = x.pointee.tape
      let b = y.pointee.tape
      if a == b { return }
      // Always in the order of addresses, so that two merges can't wait for each other.
      let (first, second) = a.state < b.state ? (a, b) : (b, a)
      first.lock()
      second.lock()
      defer {
        second.unlock()
        first.unlock()
      }
      if x.pointee.tape != a || y.pointee.tape != b { continue }
      if a.isFree(x) {
        b.adopt(x)
      } else if b.isFree(y) {
        a.adopt(y)
      } else if a.state.pointee.inFlight == 0 {
        b.absorb(a)
      } else if b.state.pointee.inFlight == 0 {
        a.absorb(b)
      } else {
        continue
      }
      return
    }
  }

  /// Whether a handle holds a plain value that nothing recorded on this tape reads.
  private func isFree(_ slot: SlotRef) -> Bool {
    if slot.pointee.node != 0 || slot.pointee.gradient != nil { return false }
    guard let leaf = liveLeaf(slot) else { return true }
    if self[leaf].uses != 0 { return false }
    retire(leaf)
    return true
  }

  private func adopt(_ slot: SlotRef) {
    slot.pointee.tape = self
    slot.pointee.leaf = 0
  }

  /// Moves every record of another tape behind this tape's own. Distances between records stay, so
  /// they are copied as they are; both windows end.
  private func absorb(_ other: Tape) {
    let base = state.pointee.count
    let n = other.state.pointee.count
    while state.pointee.capacity < base + n { grow() }
    for i in 0..<Int(n) {
      var node = other.nodes[i]
      let id = base + UInt32(i)
      if node.link != 0 { node.link += base }
      if node.memo != 0 { node.memo = 0 }
      if let slot = node.slot, !node.state.contains(.dead) {
        slot.pointee.tape = self
        if slot.pointee.node != 0 {
          slot.pointee.node = id + 1
          adoptGradients(of: slot)
        } else {
          slot.pointee.leaf = id + 1
        }
      }
      if node.storage != nil {
        if node.opcode == .leaf || node.state.contains(.handedOut) {
          other.uncountReader(node.storage!)
          countReader(node.storage!)
        }
        state.pointee.owners.append(id)
      }
      (nodes + Int(id)).initialize(to: node)
    }
    // Gradients hang on leaf handles as well.
    for i in Int(base)..<Int(base + n) {
      if let slot = nodes[i].slot, nodes[i].opcode == .leaf { adoptGradients(of: slot) }
    }
    state.pointee.count = base + n
    state.pointee.live += other.state.pointee.live
    state.pointee.heldNodes += other.state.pointee.heldNodes
    state.pointee.hasCleared = state.pointee.hasCleared || other.state.pointee.hasCleared
    other.state.pointee.heldNodes = 0
    other.state.pointee.owners.removeAll()
    other.state.pointee.count = 0
    other.state.pointee.live = 0
    other.beginWindow()
    beginWindow()
  }

  private func adoptGradients(of slot: SlotRef) {
    var next = slot.pointee.gradient
    while let gradient = next {
      gradient.pointee.tape = self
      next = gradient.pointee.gradient
    }
  }
}
