// Recognises a whole window that was forced before, so that its plan runs without a walk over the
// graph. Uses Graph and the plan cache.

extension Tape {
  /// What a window is found by, and how many of its nodes are held.
  ///
  /// Which ones these are is looked up here, in one pass over the window, rather than followed as
  /// handles come and go: that is two hashes per operation, and most handles are gone before their
  /// window is forced.
  func windowKey(_ ids: [UInt32]) -> (key: UInt64, held: Int) {
    let start = Int(state.pointee.windowStart)
    let count = Int(state.pointee.count)
    // Sums of mixed words: they don't wait for each other, as links of a chain would.
    var sum: UInt64 = 0
    var held = 0
    let first = nodes + start
    let n = count &- start
    var i = 0
    while i < n {
      // Few are held: those that are not are passed over by fours.
      if i &+ 4 <= n, (first + i).areUnheld { i &+= 4; continue }
      if first[i].slot != nil, first[i].opcode != .leaf {
        sum &+= TapeHash.mix(UInt64(i))
        held &+= 1
      }
      i &+= 1
    }
    for (k, id) in ids.enumerated() {
      sum &+= TapeHash.mix(UInt64(Int(id) - start) ^ UInt64(k + 1) << 32)
    }
    return (TapeHash.mix(state.pointee.hash ^ UInt64(count - start)) ^ TapeHash.mix(sum), held)
  }

  /// The work that this window takes, if an equal window was forced before.
  func knownWindow(_ ids: [UInt32]) -> Work? {
    if !isSelfContained(ids) { return nil }
    let (key, held) = windowKey(ids)
    return PlanCache.shared.window(key, { self.matches($0, ids, held) })
      .map { Work(nodes: $0.nodes, base: state.pointee.windowStart) }
  }

  /// Whether all that decides what a force does lies in the window.
  func isSelfContained(_ ids: [UInt32]) -> Bool {
    if state.pointee.readsPending || state.pointee.suspendedPasses != 0 { return false }
    for id in ids where id < state.pointee.windowStart { return false }
    return true
  }

  /// Compares the words themselves: a hash alone would be a wrong answer waiting.
  private func matches(_ known: WindowPlan, _ ids: [UInt32], _ held: Int) -> Bool {
    let start = state.pointee.windowStart
    let n = Int(state.pointee.count &- start)
    guard known.words.count == n, known.held.count == held,
      known.requested.count == ids.count
    else { return false }
    for (k, id) in ids.enumerated() where known.requested[k] != id &- start { return false }
    let first = nodes + Int(start)
    for id in known.held where first[Int(id)].slot == nil || first[Int(id)].opcode == .leaf {
      return false
    }
    for id in known.dead where !first[Int(id)].state.contains(.dead) { return false }
    var difference = SIMD4<UInt64>()
    known.words.withUnsafeBufferPointer { words in
      for i in 0..<n { difference |= (first + i).signature ^ words[i] }
    }
    if difference != SIMD4() { return false }
    return known.payloads.allSatisfy { first[Int($0.id)].payloadBits == $0.value }
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
      words.append(node.signature)
      if Node.isPayloadStatic(node.pointee.opcode, node.pointee.traits) {
        payloads.append((UInt32(i), node.pointee.payloadBits))
      }
      if node.pointee.slot != nil, node.pointee.opcode != .leaf { held.append(UInt32(i)) }
    }
    PlanCache.shared.remember(
      WindowPlan(
        nodes: work, words: words, payloads: payloads, held: held, dead: dead,
        requested: ids.map { $0 &- start }),
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
