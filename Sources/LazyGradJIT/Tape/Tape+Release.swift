// Letting go: handles that are dropped, nodes that nothing reaches, and the arena when it is empty.
// Everything here is a loop; a chain of a million nodes costs no stack.

import Synchronization

extension Tape {
  // MARK: Handles

  /// A new handle for a node of this tape.
  package func makeSlot(_ id: UInt32) -> SlotRef {
    if id < state.pointee.firstPending, !isGiven(id) { state.pointee.firstPending = id }
    return makeSlot(id, shape: self[id].shape, type: self[id].type, traits: self[id].traits)
  }

  /// A new handle for a node of which this is known.
  @inline(__always)
  func makeSlot(
    _ id: UInt32, shape: LayoutID, type: ScalarType, traits: Node.Traits
  ) -> SlotRef {
    let slot = newSlot()
    fill(slot, id, shape: shape, type: type, traits: traits)
    return slot
  }

  /// A handle that nobody has.
  @inline(__always)
  func newSlot() -> SlotRef { state.pointee.freeSlots.popLast() ?? moreSlots() }

  /// Writes a handle for a node into a slot.
  @inline(__always)
  func fill(
    _ slot: SlotRef, _ id: UInt32, shape: LayoutID, type: ScalarType, traits: Node.Traits
  ) {
    nodes[Int(id)].slot = slot
    slot.initialize(
      to: Slot(
        self, node: id, shape: shape, type: type, traits: traits, isWindowFull: isWindowFull))
    state.pointee.heldNodes &+= 1
  }

  /// A new handle for a value in memory. The slot takes over one reference to `storage`.
  package func makeSlot(
    storage: Unmanaged<Storage>?, layout: LayoutID, offset: Int, type: ScalarType, isVariable: Bool
  ) -> SlotRef {
    let slot = newSlot()
    slot.initialize(
      to: Slot(
        self, storage: storage, layout: layout, offset: offset,
        shape: LayoutTable.shared[layout].shapeID, type: type, isVariable: isVariable))
    return slot
  }

  @inline(never)
  private func moreSlots() -> SlotRef {
    let chunk = Tape.makeSlotChunk()
    for i in (1..<Tape.slotsPerChunk).reversed() { state.pointee.freeSlots.append(chunk + i) }
    return chunk
  }

  /// Drops a handle, whichever tape it is on.
  package static func release(_ slot: SlotRef) {
    let tape = hold(slot)
    tape.releaseSlot(slot)
    tape.unlock()
  }

  /// Drops a handle with its gradient's handle, and everything that it alone kept.
  @inline(__always)
  func releaseSlot(_ slot: SlotRef) {
    releaseValue(slot)
    state.pointee.freeSlots.append(slot)
  }

  /// The same, but the slot stays where it is.
  @inline(__always)
  func releaseValue(_ slot: SlotRef) {
    if let gradient = slot.pointee.gradient {
      slot.pointee.gradient = nil
      releaseGradient(gradient)
    }
    detach(slot)
  }

  /// A gradient's slot has no gradient of its own unless it was differentiated again; the chain
  /// is walked in a loop.
  @inline(never)
  private func releaseGradient(_ first: SlotRef) {
    var next: SlotRef? = first
    while let slot = next {
      next = slot.pointee.gradient
      slot.pointee.gradient = nil
      detach(slot)
      state.pointee.freeSlots.append(slot)
    }
  }

  /// Drops the gradient that a handle carries, and the arena where that was the last thing in it.
  package static func nullGradient(_ slot: SlotRef) {
    let tape = hold(slot)
    if slot.pointee.gradient != nil || slot.hasUnitGradient || slot.hasUsedUpGradient {
      slot.hasDroppedGradient = true
    }
    slot.hasUsedUpGradient = false
    tape.dropGradient(slot)
    if tape.state.pointee.heldNodes == 0 { _ = tape.resetIfWorthwhile() }
    tape.unlock()
  }

  /// Drops the gradient that a handle carries.
  package func dropGradient(_ slot: SlotRef) {
    slot.hasUnitGradient = false
    slot.addsUpGradients = false
    if let gradient = slot.pointee.gradient {
      slot.pointee.gradient = nil
      // A backward pass that does this goes on using ids: the arena must not start again.
      state.pointee.inFlight += 1
      releaseGradient(gradient)
      state.pointee.inFlight -= 1
    }
  }

  /// Drops the gradient that a backward pass has left, where a new use that is tracked ends it: not that
  /// of passes that add up.
  ///
  /// Under the lock, as all access to what may change: the object may be dropped here and used again by
  /// another thread, whose lock comes after this one.
  @inline(__always)
  func dropOldGradient(_ slot: SlotRef, _ mode: RecordMode) {
    if mode.isTracking, slot.pointee.gradient != nil || slot.hasUnitGradient {
      useUpGradient(slot)
    }
  }

  @inline(never)
  private func useUpGradient(_ slot: SlotRef) {
    if slot.addsUpGradients { return }
    dropGradient(slot)
    slot.hasUsedUpGradient = true
  }

  /// The same for a tape that is not locked.
  package static func dropOldGradient(_ slot: SlotRef, _ mode: RecordMode) {
    let tape = hold(slot)
    tape.dropOldGradient(slot, mode)
    tape.unlock()
  }

  /// Hangs a node on a handle as its gradient.
  package func setGradient(_ slot: SlotRef, _ id: UInt32) {
    let gradient = makeSlot(id)
    gradient.pointee.owner = slot
    slot.pointee.gradient = gradient
  }

  /// Takes the value away from a handle.
  @inline(__always)
  func detach(_ slot: SlotRef) {
    if let node = slot.node {
      unhold(node)
      slot.node = nil
      // The last handle takes everything with it, at once where that pays.
      if state.pointee.heldNodes == 0, resetIfWorthwhile() { return }
      if nodes[Int(node)].uses == 0 { free(node) }
    } else {
      detachStorage(slot)
    }
  }

  func detachStorage(_ slot: SlotRef) {
    guard let storage = slot.pointee.storage else { return }
    slot.pointee.storage = nil
    if let leaf = liveLeaf(slot) {
      // The leaf record outlives its handle: it takes over the reference.
      nodes[Int(leaf)].slot = nil
      nodes[Int(leaf)].state.insert(.owns)
      if nodes[Int(leaf)].uses == 0 { free(leaf) }
    } else {
      give(storage)
    }
    slot.leaf = nil
  }

  /// Parts a leaf record that is still read from its handle, which keeps its value: the next use gets another.
  func part(_ leaf: UInt32, from slot: SlotRef) {
    _ = slot.pointee.storage.stillThere.retain()
    nodes[Int(leaf)].slot = nil
    nodes[Int(leaf)].state.insert(.owns)
    slot.leaf = nil
  }

  /// The leaf record that borrows a handle's storage, wherever it lies in the arena.
  func liveLeaf(_ slot: SlotRef) -> UInt32? {
    guard let leaf = slot.leaf, leaf < state.pointee.count, nodes[Int(leaf)].slot == slot,
      nodes[Int(leaf)].opcode == .leaf, !nodes[Int(leaf)].state.contains(.dead)
    else { return nil }
    return leaf
  }

  /// Forgets that a handle points at a node.
  @inline(__always)
  func unhold(_ id: UInt32) {
    nodes[Int(id)].slot = nil
    state.pointee.heldNodes &-= 1
  }

  // MARK: Nodes

  /// Frees a node that nothing names any more, and what it alone kept.
  @inline(__always)
  func free(_ id: UInt32) {
    bury(id)
    if state.pointee.work.count != 0 { freeWork() }
  }

  /// Frees a node if nothing names it: one that was recorded for a reader that did not come.
  @usableFromInline
  package func freeUnread(_ id: UInt32) {
    let node = nodes[Int(id)]
    if node.uses == 0, node.slot == nil, !node.state.contains(.dead) { free(id) }
  }

  @inline(never)
  func freeWork() {
    while let id = state.pointee.work.popLast() { bury(id) }
  }

  /// Frees one node; what goes with it is put on the worklist.
  @inline(__always)
  private func bury(_ id: UInt32) {
    let node = nodes + Int(id)
    if node.pointee.state.contains(.dead) { return }
    node.pointee.state.insert(.dead)
    state.pointee.dead &+= 1
    dropOperands(id)
    if node.pointee.storage != nil { dropValue(id) }
    if node.pointee.opcode == .leaf, let source = node.pointee.imported {
      node.pointee.imported = nil
      release(source)
    }
  }

  /// Gives back a node's names for its operands; those that nothing else names go on the worklist.
  @inline(__always)
  func dropOperands(_ id: UInt32) {
    let node = nodes + Int(id)
    if node.pointee.a != 0 {
      release(id &- node.pointee.a)
      if node.pointee.b != 0 {
        release(id &- node.pointee.b)
        if node.pointee.c != 0 { release(id &- node.pointee.c) }
      }
    }
    node.pointee.a = 0
    node.pointee.b = 0
    node.pointee.c = 0
  }

  @inline(__always)
  func release(_ id: UInt32) {
    let node = nodes + Int(id)
    node.pointee.uses &-= 1
    if node.pointee.uses == 0, node.pointee.slot == nil { state.pointee.work.append(id) }
  }

  /// Gives up a leaf record that nothing reads.
  func retire(_ leaf: UInt32) {
    if nodes[Int(leaf)].state.contains(.dead) { return }
    nodes[Int(leaf)].state.insert(.dead)
    state.pointee.dead += 1
    dropValue(leaf)
    if let source = nodes[Int(leaf)].imported {
      nodes[Int(leaf)].imported = nil
      release(source)
      freeWork()
    }
  }

  /// Lets go of a node's memory and of its count on the storage.
  @inline(__always)
  func dropValue(_ id: UInt32) {
    let node = nodes + Int(id)
    guard let storage = node.pointee.storage else { return }
    if node.pointee.opcode == .leaf || node.pointee.state.contains(.handedOut) {
      uncountReader(storage)
    }
    if node.pointee.opcode == .leaf, let slot = node.pointee.slot { slot.leaf = nil }
    if node.pointee.state.contains(.owns) { give(storage) }
    node.pointee.storage = nil
    node.pointee.state.remove(.owns)
    node.pointee.state.remove(.handedOut)
  }

  // MARK: The arena

  /// Starts the arena again once nothing points into it. Small arenas are left for later.
  @inline(__always)
  private func resetIfWorthwhile() -> Bool {
    guard state.pointee.count >= state.pointee.limits.resetRecords, state.pointee.inFlight == 0
    else { return false }
    reset()
    return true
  }

  /// Forgets every record. Nothing may point at a node; leaf records are given up.
  ///
  /// - Complexity: O(records that own memory or count on a storage), not O(records).
  @inline(never)
  func reset() {
    let owners = state.pointee.owners
    for i in 0..<owners.count where nodes[Int(owners[i])].storage != nil {
      dropValue(owners[i])
    }
    state.pointee.owners.removeAll()
    state.pointee.work.removeAll()
    state.pointee.counters.nodesRecorded += Int(state.pointee.count)
    state.pointee.count = 0
    state.pointee.earlier.removeAll()
    state.pointee.dead = 0
    state.pointee.hasCleared = false
    state.pointee.lateLimit = 0
    state.pointee.firstPending = 0
    state.pointee.clearing = 0..<0
    shrinkPassStates()
    beginWindow()
  }

  /// Closes the current window: what follows is planned on its own.
  func beginWindow() {
    state.pointee.windowStart = state.pointee.count
    state.pointee.hash = TapeHash.seed
    state.pointee.readsPending = false
    state.pointee.pendingBytes = 0
    state.pointee.copiedNumbers.removeAll()
    state.pointee.lowestImport = .max
    state.pointee.copied = .none
    state.pointee.deadBefore = state.pointee.dead
  }

  /// A record that was there changes in something that windows are compared by, and does not die.
  @usableFromInline
  func noteEdit() { state.pointee.copied.pass = 0 }

  /// After a force: a new window, in an arena without the dead where that pays.
  func finishWindow() {
    if state.pointee.inFlight == 0 {
      if state.pointee.heldNodes == 0 {
        reset()
        return
      }
      if state.pointee.count > state.pointee.limits.compactedRecords,
        state.pointee.live < Int(state.pointee.count) / 2
      {
        compact()
        beginWindow()
        return
      }
    }
    if state.pointee.windowStart < state.pointee.count {
      state.pointee.earlier.append(
        EarlierWindow(
          start: state.pointee.windowStart, hash: state.pointee.hash,
          lowestImport: state.pointee.lowestImport))
    }
    beginWindow()
  }

  /// Moves the live records together. Order, and with it every topological order, is kept.
  private func compact() {
    let n = Int(state.pointee.count)
    for id in 0..<n where nodes[id].opcode == .leaf && nodes[id].uses == 0 { retire(UInt32(id)) }
    linkPastGoneViews()
    let newID = UnsafeMutablePointer<UInt32>.allocate(capacity: n)
    defer { newID.deallocate() }
    var next: UInt32 = 0
    for id in 0..<n {
      newID[id] = next
      if isKept(id) { next += 1 }
    }
    var dead = 0
    for id in 0..<n where isKept(id) {
      let to = newID[id]
      var node = nodes[id]
      if node.a != 0 { node.a = to - newID[id - Int(node.a)] }
      if node.b != 0 { node.b = to - newID[id - Int(node.b)] }
      if node.c != 0 { node.c = to - newID[id - Int(node.c)] }
      // What a leaf stands for and what a view was made of are kept; the end of a cleared graph, which
      // lies further on and has not been moved yet, stays between the same two live records.
      if node.opcode == .leaf {
        node.imported = node.imported.map { newID[Int($0)] }
      } else if node.state.contains(.cleared) {
        let last = Int(node.clearedEnd) - 1
        node.clearedEnd = newID[last] + (nodes[last].state.contains(.dead) ? 0 : 1)
      } else if node.opcode == .view {
        node.parent = node.parent.map { newID[Int($0)] }
      }
      node.remembered = nil
      if node.state.contains(.dead) {
        node.uses = 0
        dead += 1
      }
      if let slot = node.slot {
        if slot.node != nil { slot.node = to } else { slot.leaf = to }
      }
      nodes[Int(to)] = node
    }
    state.pointee.owners.removeAll()
    for id in 0..<next where nodes[Int(id)].storage != nil { state.pointee.owners.append(id) }
    state.pointee.counters.nodesRecorded += n - Int(next)
    state.pointee.count = next
    state.pointee.lateLimit = min(state.pointee.lateLimit, 2 * Int(next))
    state.pointee.firstPending =
      state.pointee.firstPending < n ? newID[Int(state.pointee.firstPending)] : next
    state.pointee.earlier.removeAll()
    state.pointee.dead = dead
    state.pointee.clearing = next..<next
  }

  /// Whether a record stays when the arena is compacted: it is alive, or a view that others need.
  private func isKept(_ id: Int) -> Bool {
    !nodes[id].state.contains(.dead) || (nodes[id].isGoneView && nodes[id].uses != 0)
  }
}
