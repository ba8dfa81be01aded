// Recognises a whole window that was forced before, so that its plan runs without a walk over the
// graph. Uses Graph and the plan cache.

extension Tape {
  /// What a window is found by. Which of its nodes are held is compared with the rest, in one pass over the
  /// records: windows that differ in that alone have the same key.
  func windowKey(_ ids: [UInt32]) -> UInt64 {
    let start = Int(state.pointee.windowStart)
    var sum: UInt64 = 0
    for (k, id) in ids.enumerated() {
      sum &+= TapeHash.mix(UInt64(Int(id) - start) ^ UInt64(k + 1) << 32)
    }
    let count = UInt64(Int(state.pointee.count) - start)
    // Plans that were made with other limits are others.
    let limits = state.pointee.limits.planning.word << 40
    return TapeHash.mix(state.pointee.hash ^ count ^ limits) ^ TapeHash.mix(sum)
  }

  /// The work that this window takes, if an equal window was forced before.
  func knownWindow(_ ids: [UInt32]) -> Work? {
    if !isSelfContained(ids) { return nil }
    let known = PlanCache.shared.window(windowKey(ids)) { self.matches($0, ids) }
    if let known, known.nodes.plan.isOutgrown(state.pointee.limits.rolling) { return nil }
    return known.map { Work(nodes: $0.nodes, base: state.pointee.windowStart) }
  }

  /// Whether all that decides what a force does lies in the window.
  func isSelfContained(_ ids: [UInt32]) -> Bool {
    if state.pointee.readsPending || state.pointee.suspendedPasses != 0 { return false }
    for id in ids where id < state.pointee.windowStart { return false }
    return true
  }

  /// Compares the words themselves: a hash alone would be a wrong answer waiting.
  private func matches(_ known: WindowPlan, _ ids: [UInt32]) -> Bool {
    let start = state.pointee.windowStart
    let n = Int(state.pointee.count &- start)
    guard known.words.count == n, known.requested.count == ids.count else { return false }
    for (k, id) in ids.enumerated() where known.requested[k] != id &- start { return false }
    let first = nodes + Int(start)
    for id in known.held where first[Int(id)].slot == nil || first[Int(id)].opcode == .leaf {
      return false
    }
    for id in known.dead where !first[Int(id)].state.contains(.dead) { return false }
    var difference = SIMD4<UInt64>()
    let same = sameRecords(as: known)
    var held = same > 0 ? known.held.count : 0
    known.words.withUnsafeBufferPointer { words in
      var i = same
      while i < n {
        // Few are held: those that are not are passed over by fours.
        if i &+ 4 <= n, (first + i).areUnheld {
          for k in i..<(i &+ 4) { difference |= (first + k).words ^ words[k] }
          i &+= 4
          continue
        }
        difference |= (first + i).words ^ words[i]
        if same == 0, first[i].slot != nil, first[i].opcode != .leaf { held &+= 1 }
        i &+= 1
      }
    }
    if difference & Node.windowMask != SIMD4() || held != known.held.count { return false }
    guard known.payloads.allSatisfy({ first[Int($0.id)].payloadBits == $0.value }) else {
      return false
    }
    if same > 0 {
      state.pointee.counters.copiedWindowHits += 1
    } else if state.pointee.copied.pass != 0 {
      known.copiedPass.store(state.pointee.copied.pass, ordering: .relaxed)
    }
    return true
  }

  /// How many records at the beginning of the window are those of a known one without a look at them, where
  /// nothing is held but what is held there; 0 where they have to be looked at. What is held and dead in the
  /// known window is so in this one.
  ///
  /// A pass that is copied and the records that it goes over have just been compared, word by word. Handles and
  /// what has died since are counted: as many as in the known window are the same ones.
  private func sameRecords(as known: WindowPlan) -> Int {
    let copied = state.pointee.copied
    guard copied.pass != 0, known.copiedPass.load(ordering: .relaxed) == copied.pass,
      state.pointee.dead &- state.pointee.deadBefore == known.dead.count,
      state.pointee.windowStart == 0, state.pointee.heldNodes == known.held.count
    else { return 0 }
    if state.pointee.limits.checksPasses { check(Int(copied.count), are: known) }
    return Int(copied.count)
  }

  /// For tests: compares records that need not be.
  private func check(_ count: Int, are known: WindowPlan) {
    for i in 0..<count {
      let isHeld = nodes[i].slot != nil && nodes[i].opcode != .leaf
      let isSame =
        ((nodes + i).words ^ known.words[i]) & Node.windowMask == SIMD4()
        && isHeld == known.held.contains(UInt32(i))
        && nodes[i].state.contains(.dead) == known.dead.contains(UInt32(i))
      precondition(isSame, "LazyGrad: record \(i) of a window was taken for that of another")
    }
  }

  /// Lets an equal window be recognised.
  func remember(_ key: UInt64, _ ids: [UInt32], _ work: PlanNodes) {
    let start = state.pointee.windowStart
    let n = Int(state.pointee.count &- start)
    // A value from before the window would be bound by an id that means nothing next time.
    guard work.cone.first.map({ $0 < n }) ?? false, work.leaves.allSatisfy({ $0 < n }) else {
      return
    }
    var words: [SIMD4<UInt64>] = []
    words.reserveCapacity(n)
    var payloads: [(id: UInt32, value: UInt64)] = []
    var held: [UInt32] = []
    var dead: [UInt32] = []
    for i in 0..<n {
      let node = nodes + Int(start) + i
      if node.pointee.state.contains(.dead) { dead.append(UInt32(i)) }
      words.append(node.windowWords)
      if Node.isPayloadStatic(node.pointee.opcode, node.pointee.traits) {
        payloads.append((UInt32(i), node.pointee.payloadBits))
      }
      if node.pointee.slot != nil, node.pointee.opcode != .leaf { held.append(UInt32(i)) }
    }
    PlanCache.shared.remember(
      WindowPlan(
        nodes: work, words: words, copiedPass: state.pointee.copied.pass, payloads: payloads,
        held: held, dead: dead, requested: ids.map { $0 &- start }),
      key: key)
  }
}

extension UnsafeMutablePointer<Node> {
  /// Whether none of four records has a handle.
  @inline(__always)
  fileprivate var areUnheld: Bool {
    let bits =
      (UInt(bitPattern: self[0].slot) | UInt(bitPattern: self[1].slot))
      | (UInt(bitPattern: self[2].slot) | UInt(bitPattern: self[3].slot))
    return bits == 0
  }
}
