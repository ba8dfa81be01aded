// Bringing operands into one tape. Usually they are there already; when a task has moved between
// threads, its tensors may have been recorded on several tapes, and those become one.

import Synchronization

extension SlotRef {
  /// The tape of a handle, for who does not hold that tape's lock yet: another thread may be
  /// merging it away.
  @inline(__always)
  var unlockedTape: Tape {
    let bits = UnsafeRawPointer(self).assumingMemoryBound(to: Atomic<UInt>.self)
      .pointee.load(ordering: .relaxed)
    return Tape(state: UnsafeMutablePointer<TapeState>(bitPattern: bits).unsafelyUnwrapped)
  }

  /// Moves a handle to a tape. The locks of the old and of the new one are held.
  fileprivate func setTape(_ tape: Tape) {
    UnsafeRawPointer(self).assumingMemoryBound(to: Atomic<UInt>.self)
      .pointee.store(UInt(bitPattern: tape.state), ordering: .relaxed)
  }
}

extension Tape {
  /// Locks the tape of a handle. Another thread may merge that tape away between reading it and
  /// getting the lock, so it is read again under the lock.
  @inline(__always)
  package static func hold(_ x: SlotRef) -> Tape {
    while true {
      let tape = x.unlockedTape
      tape.lock()
      if x.pointee.tape == tape { return tape }
      tape.unlock()
    }
  }

  /// Locks the tape that two operands are on, after joining their tapes where they were not.
  @inline(__always)
  static func hold(_ x: SlotRef, _ y: SlotRef) -> Tape {
    let tape = hold(x)
    return y.unlockedTape == tape ? tape : joined(tape, x, y)
  }

  @inline(never)
  private static func joined(_ held: Tape, _ x: SlotRef, _ y: SlotRef) -> Tape {
    held.unlock()
    return hold(x, y, nil)
  }

  /// Locks the tape that all operands are on, after joining their tapes where they were not.
  static func hold(_ x: SlotRef, _ y: SlotRef?, _ z: SlotRef?) -> Tape {
    while true {
      let tape = hold(x)
      if y == nil || y!.unlockedTape == tape, z == nil || z!.unlockedTape == tape { return tape }
      tape.unlock()
      join([x, y, z].compactMap { $0 })
    }
  }

  /// Locks the one tape that any number of handles are on, after joining their tapes.
  package static func hold(all slots: [SlotRef]) -> Tape {
    slots.withUnsafeBufferPointer { hold(all: $0) }
  }

  static func hold(all slots: UnsafeBufferPointer<SlotRef>) -> Tape {
    while true {
      let tape = hold(slots[0])
      if slots.allSatisfy({ $0.unlockedTape == tape }) { return tape }
      tape.unlock()
      join(Array(slots))
    }
  }

  /// Brings handles to one tape. Other threads may part them again before it is locked.
  @inline(never)
  private static func join(_ slots: [SlotRef]) {
    for slot in slots.dropFirst() { merge(slot, into: slots[0], isPair: slots.count == 2) }
  }

  /// Brings a handle to the tape of another. That one moves alone only where that leaves nobody
  /// behind that was brought to it before; otherwise with everything that is on its tape.
  private static func merge(_ x: SlotRef, into y: SlotRef, isPair: Bool) {
    while true {
      let a = x.unlockedTape
      let b = y.unlockedTape
      if a == b { return }
      // Always in the order of addresses, so that two merges can't wait for each other.
      let (first, second) = a.state < b.state ? (a, b) : (b, a)
      first.lock()
      second.lock()
      // What is kept on one tape must not name records of the other.
      let isDone = withSettled(a, b) {
        x.pointee.tape == a && y.pointee.tape == b && merge(a, b, x, y, isPair: isPair)
      }
      if isDone { return }
      yieldThread()
    }
  }

  /// Brings `x` of a tape and `y` of another onto one, if records may be moved now.
  private static func merge(
    _ a: Tape, _ b: Tape, _ x: SlotRef, _ y: SlotRef, isPair: Bool
  ) -> Bool {
    if a.isFree(x) {
      b.adopt(x)
    } else if isPair || b.state.pointee.heldNodes == 0, b.isFree(y) {
      a.adopt(y)
    } else if a.state.pointee.inFlight == 0, a.count <= b.count || b.state.pointee.inFlight != 0 {
      b.absorb(a)
    } else if b.state.pointee.inFlight == 0 {
      a.absorb(b)
    } else {
      // Records can't move while a pass or kernels refer to them; that ends, unless it waits for this.
      let me = Tape.current
      if a.state.pointee.suspendingThread == me, b.state.pointee.suspendingThread == me {
        fatalError(
          "LazyGrad: custom: a rule differentiates a graph of another thread, whose rule combines "
            + "tensors of both graphs; make both on one thread")
      }
      return false
    }
    a.state.pointee.joins += 1
    b.state.pointee.joins += 1
    return true
  }

  /// Whether a handle, with the gradients that hang on it, holds plain values that nothing recorded
  /// on this tape reads.
  private func isFree(_ slot: SlotRef) -> Bool {
    var next: SlotRef? = slot
    while let slot = next {
      if slot.node != nil { return false }
      if let leaf = liveLeaf(slot), self[leaf].uses != 0 { return false }
      next = slot.pointee.gradient
    }
    return slot.pointee.owner == nil
  }

  private func adopt(_ slot: SlotRef) {
    let old = slot.pointee.tape
    var next: SlotRef? = slot
    while let slot = next {
      if let leaf = old.liveLeaf(slot) { old.retire(leaf) }
      slot.setTape(self)
      slot.leaf = nil
      next = slot.pointee.gradient
    }
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
      node.moveNames(by: base)
      if let slot = node.slot, !node.state.contains(.dead) {
        moveFamily(of: slot)
        if slot.node != nil { slot.node = id } else { slot.leaf = id }
      }
      if let storage = node.storage {
        if node.opcode == .leaf || node.state.contains(.handedOut) {
          other.uncountReader(storage)
          countReader(storage)
        }
        state.pointee.owners.append(id)
      }
      (nodes + Int(id)).initialize(to: node)
    }
    state.pointee.count = base + n
    state.pointee.dead += other.state.pointee.dead
    state.pointee.heldNodes += other.state.pointee.heldNodes
    state.pointee.hasCleared = state.pointee.hasCleared || other.state.pointee.hasCleared
    state.pointee.clearing = 0..<0
    state.pointee.earlier.removeAll()
    takeSamples(of: other)
    other.state.pointee.heldNodes = 0
    other.state.pointee.owners.removeAll()
    other.state.pointee.count = 0
    other.state.pointee.earlier.removeAll()
    other.state.pointee.dead = 0
    other.state.pointee.firstPending = 0
    other.beginWindow()
    beginWindow()
  }

  /// Moves a handle, its gradients and what it is a gradient of: those may have no record here that
  /// they would be found by, and are always on one tape.
  private func moveFamily(of slot: SlotRef) {
    var first = slot
    while let owner = first.pointee.owner { first = owner }
    var next: SlotRef? = first
    while let slot = next {
      if slot.pointee.tape != self { slot.setTape(self) }
      next = slot.pointee.gradient
    }
  }
}
