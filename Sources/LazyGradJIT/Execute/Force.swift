// Force time: cut the graph out of the tape (or recognise the whole window), get the plan, bind
// memory, run, and write the results back into the tape.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The coarse entry points of the engine.
package enum Engine {
  /// Computes the values of handles.
  ///
  /// Everything that the program holds and that lies on the way is kept; what nothing reads any
  /// more is never in memory.
  /// - Throws: `StorageError`; the graph is then as before, so it can be tried again.
  package static func force(_ slots: [SlotRef]) throws(StorageError) {
    // Tape by tape: the lock of one is taken once for all handles that it has.
    var rest = slots
    while let first = rest.last {
      let tape = Tape.hold(first)
      defer { tape.unlock() }
      var ids: [UInt32] = []
      ids.reserveCapacity(rest.count)
      var others = 0
      for slot in rest {
        if slot.unlockedTape != tape {
          rest[others] = slot
          others += 1
        } else if slot.pointee.node != 0, !tape.isGiven(slot.pointee.node &- 1) {
          ids.append(slot.pointee.node &- 1)
        }
      }
      rest.removeSubrange(others...)
      if !ids.isEmpty { try tape.force(ids) }
    }
  }

  /// Computes everything that is held and pending on a handle's tape: what keeps a program that
  /// never reads from growing without bound.
  package static func forceHeld(with slot: SlotRef) throws(StorageError) {
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    let ids = tape.heldPending()
    if !ids.isEmpty { try tape.force(ids) }
  }

  /// Computes the value of one handle.
  @inline(__always)
  package static func force(_ slot: SlotRef) throws(StorageError) {
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    if slot.pointee.node == 0 { return }
    let id = slot.pointee.node &- 1
    if !tape.isGiven(id) { try tape.force([id]) }
  }
}

extension Tape {
  /// Forces nodes of this tape. The lock is held on entry and on return, not while kernels run.
  func force(_ ids: [UInt32]) throws(StorageError) {
    let started = Engine.measuresOverhead ? Engine.nanoseconds() : 0
    var kernelTime = 0
    if let work = knownWindow(ids) {
      state.pointee.counters.planHits += 1
      try run(work, &kernelTime)
    } else {
      let isWhole = ids.allSatisfy { $0 >= state.pointee.windowStart }
      let windowKey = isWhole && !state.pointee.readsPending ? self.windowKey(ids).key : nil
      let extraction = extract(ids)
      let (plan, isHit) = PlanCache.shared.plan(
        for: extraction.graph, prepare: NativeCompiler.prepare)
      if isHit {
        state.pointee.counters.planHits += 1
      } else {
        state.pointee.counters.planMisses += 1
      }
      if let windowKey { remember(windowKey, ids, extraction, plan) }
      try run(
        Work(
          plan: plan, leaves: extraction.leaves, scalars: extraction.scalars,
          roots: extraction.roots, cone: extraction.cone, held: extraction.held, base: 0,
          imports: extraction.imports),
        &kernelTime)
    }
    if state.pointee.readsPending, state.pointee.live > state.pointee.lateLimit,
      state.pointee.inFlight == 0
    {
      // What is read window after window and never asked for would grow without bound.
      let late = heldPending()
      state.pointee.readsPending = false
      if !late.isEmpty { try force(late) }
      state.pointee.lateLimit = max(TapeState.firstLateLimit, 2 * state.pointee.live)
    }
    finishWindow()
    if Engine.measuresOverhead {
      state.pointee.counters.overheadNanoseconds += Engine.nanoseconds() - started - kernelTime
      state.pointee.counters.kernelNanoseconds += kernelTime
    }
  }

  /// What the program holds and has not been computed.
  fileprivate func heldPending() -> [UInt32] {
    (0..<state.pointee.count).filter {
      let node = nodes[Int($0)]
      return node.slot != nil && node.opcode != .leaf && !node.state.contains(.dead) && !isGiven($0)
    }
  }

  /// Runs what nodes without handles need and keeps the nodes: a backward pass in pieces.
  ///
  /// The caller holds the lock and goes on using ids, so nothing is moved.
  ///
  /// - Returns: Whether there was memory for the values; else they stay pending.
  package func forceAndKeep(_ ids: [UInt32]) -> Bool {
    var isDone = true
    for id in ids { retainNode(id) }
    state.pointee.inFlight += 1
    let pending = ids.filter { !isGiven($0) }
    if !pending.isEmpty {
      do throws(StorageError) { try force(pending) } catch { isDone = false }
    }
    state.pointee.inFlight -= 1
    for id in ids { nodes[Int(id)].uses &-= 1 }
    return isDone
  }

  // MARK: Whole windows

  /// What a window is found by, and how many of its nodes are held.
  ///
  /// Which ones these are is looked up here, in one pass over the window, rather than followed as
  /// handles come and go: that is two hashes per operation, and most handles are gone before their
  /// window is forced.
  private func windowKey(_ ids: [UInt32]) -> (key: UInt64, held: Int) {
    let start = Int(state.pointee.windowStart)
    let count = Int(state.pointee.count)
    var key = TapeHash.mix(state.pointee.hash ^ UInt64(count - start))
    var held = 0
    for id in start..<count where nodes[id].slot != nil && nodes[id].opcode != .leaf {
      key = TapeHash.mix(key ^ UInt64(id - start))
      held += 1
    }
    for id in ids { key = TapeHash.mix(key ^ UInt64(Int(id) - start)) }
    return (key, held)
  }

  /// The work that this window takes, if an equal window was forced before.
  private func knownWindow(_ ids: [UInt32]) -> Work? {
    let start = state.pointee.windowStart
    if state.pointee.readsPending { return nil }
    for id in ids where id < start { return nil }
    let (key, held) = windowKey(ids)
    guard let known = PlanCache.shared.window(key, { self.matches($0, ids, held) }) else {
      return nil
    }
    return Work(
      plan: known.plan, leaves: known.leaves, scalars: known.scalars, roots: known.roots,
      cone: known.cone, held: known.settled, base: start)
  }

  /// Compares the words themselves: a hash alone would be a wrong answer waiting.
  private func matches(_ known: WindowPlan, _ ids: [UInt32], _ held: Int) -> Bool {
    let start = state.pointee.windowStart
    let n = Int(state.pointee.count &- start)
    guard known.words.count == n * 4, known.held.count == held,
      known.requested.count == ids.count, known.events.count == state.pointee.events.count
    else { return false }
    for (k, id) in ids.enumerated() where known.requested[k] != id &- start { return false }
    for (k, event) in known.events.enumerated() where state.pointee.events[k] != event {
      return false
    }
    for id in known.held
    where nodes[Int(start &+ id)].slot == nil || nodes[Int(start &+ id)].opcode == .leaf {
      return false
    }
    let first = nodes + Int(start)
    return known.words.withUnsafeBufferPointer { words in
      var difference: UInt64 = 0
      for i in 0..<n {
        let (w0, w1, w2, w3) = Tape.words(first + i)
        difference |= (w0 ^ words[4 * i]) | (w1 ^ words[4 * i + 1])
        difference |= (w2 ^ words[4 * i + 2]) | (w3 ^ words[4 * i + 3])
      }
      return difference == 0
    }
  }

  @inline(__always)
  private static func words(
    _ node: UnsafeMutablePointer<Node>
  ) -> (UInt64, UInt64, UInt64, UInt64) {
    let n = node.pointee
    return (
      Node.head(n.opcode, n.type, n.traits, n.shape), UInt64(n.attribute) << 32 | UInt64(n.a),
      UInt64(n.b) << 32 | UInt64(n.c), Node.isPayloadStatic(n.opcode, n.traits) ? n.payload : 0
    )
  }

  private func remember(_ key: UInt64, _ ids: [UInt32], _ e: Extraction, _ plan: Plan) {
    let start = state.pointee.windowStart
    // A value from before the window would be bound by an id that means nothing next time.
    guard e.cone.first.map({ $0 >= start }) ?? false, e.leaves.allSatisfy({ $0 >= start }) else {
      return
    }
    let n = Int(state.pointee.count &- start)
    var words: [UInt64] = []
    words.reserveCapacity(4 * n)
    var held: [UInt32] = []
    for i in 0..<n {
      let node = nodes + Int(start) + i
      if node.pointee.state.contains(.dead) { return }
      let (w0, w1, w2, w3) = Tape.words(node)
      words += [w0, w1, w2, w3]
      if node.pointee.slot != nil, node.pointee.opcode != .leaf { held.append(UInt32(i)) }
    }
    PlanCache.shared.remember(
      WindowPlan(
        plan: plan, words: words, events: state.pointee.events.array, held: held,
        requested: ids.map { $0 &- start }, leaves: e.leaves.map { $0 &- start },
        scalars: e.scalars.map { $0 &- start }, roots: e.roots.map { $0 &- start },
        cone: e.cone.map { $0 &- start }, settled: e.held.map { $0 &- start }),
      key: key)
  }

  // MARK: Running

  private func run(_ work: Work, _ kernelTime: inout Int) throws(StorageError) {
    let plan = work.plan
    let takeovers = plan.updates.count > 0 ? findTakeovers(work) : []
    let outputs = try makeOutputs(work, takeovers)
    let baseCount = 1 + work.leaves.count + work.roots.count
    let bases = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: baseCount)
    let scalars = UnsafeMutablePointer<UInt64>.allocate(capacity: work.scalars.count + 1)
    defer {
      bases.deallocate()
      scalars.deallocate()
    }
    bases[0] = UnsafeMutableRawPointer(bases)
    for (i, leaf) in work.leaves.enumerated() {
      let value = self.value(of: work.base &+ leaf)
      let size = nodes[Int(work.base &+ leaf)].type.size
      bases[1 + i] = value.storage._withUnsafeGuaranteedRef { $0.pointer } + value.offset * size
    }
    for (i, output) in outputs.enumerated() {
      bases[1 + work.leaves.count + i] =
        output.storage._withUnsafeGuaranteedRef { $0.pointer } + output.byteOffset
    }
    for (i, scalar) in work.scalars.enumerated() {
      scalars[i] = nodes[Int(work.base &+ scalar)].payload
    }
    state.pointee.inFlight += 1
    // A value that changes in place is nobody's while it does: others wait.
    if takeovers.isEmpty { unlock() }
    let before = Engine.measuresOverhead ? Engine.nanoseconds() : 0
    var failure: StorageError?
    do throws(StorageError) {
      try PlanRunner.run(
        plan, PlanRunner.Binding(bases: bases, scalars: scalars), threads: Engine.threads)
    } catch { failure = error }
    if Engine.measuresOverhead { kernelTime += Engine.nanoseconds() - before }
    if takeovers.isEmpty { lock() }
    state.pointee.inFlight -= 1
    if let failure {
      for output in outputs { output.storage.release() }
      throw failure
    }
    state.pointee.counters.kernelsRun += plan.kernelCount
    state.pointee.counters.bytesRead += plan.cost.bytesRead
    state.pointee.counters.bytesWritten += plan.cost.bytesWritten
    for takeover in takeovers {
      state.pointee.counters.bytesRead -= takeover.update.byteCount
      state.pointee.counters.bytesWritten -= takeover.update.byteCount
      for id in takeover.owners { dropValue(id) }
    }
    commit(work, outputs)
  }

  /// Writes results back: values into their nodes, finished handles off the tape, and what nothing
  /// needs any more is freed.
  private func commit(_ work: Work, _ outputs: [OutputMemory]) {
    for (i, root) in work.roots.enumerated() {
      let id = work.base &+ root
      let node = nodes + Int(id)
      if node.pointee.storage != nil || node.pointee.state.contains(.dead) {
        // Another thread has computed it too, or has dropped it meanwhile.
        outputs[i].storage.release()
        continue
      }
      node.pointee.storage = outputs[i].storage
      if !Node.keepsPayload(node.pointee.opcode) {
        node.pointee.payload = UInt64(outputs[i].byteOffset / node.pointee.type.size)
      }
      node.pointee.state.insert(.evaluated)
      node.pointee.state.insert(.owns)
      state.pointee.owners.append(id)
    }
    // While the kernels ran another thread may have dropped what was only kept for them.
    for leaf in work.imports.reversed() where !nodes[Int(leaf)].state.contains(.dead) {
      let source = nodes[Int(leaf)].link &- 1
      takeAliased(source)
      if isGiven(source) { bindImport(leaf) }
    }
    for relative in work.held { commit(work.base &+ relative) }
    // Nothing points into the arena any more: it is about to be reset as a whole.
    if state.pointee.heldNodes == 0, state.pointee.inFlight == 0 { return }
    for relative in work.cone { commit(work.base &+ relative) }
    for relative in work.cone {
      let id = work.base &+ relative
      let node = nodes + Int(id)
      if node.pointee.state.isDisjoint(with: .tracked, .dead) {
        // A view that something pending reads has its value in its operand.
        if node.pointee.opcode == .view, node.pointee.uses != 0 { continue }
        dropOperands(id)
        if node.pointee.uses == 0, node.pointee.slot == nil { state.pointee.work.append(id) }
      }
    }
    freeWork()
  }

  @inline(__always)
  private func commit(_ id: UInt32) {
    let node = nodes + Int(id)
    node.pointee.state.insert(.evaluated)
    takeAliased(id)
    if node.pointee.slot != nil, !node.pointee.state.contains(.tracked) { settleValue(id) }
  }

  /// Gives an alias, or the alias that a view looks at, its value.
  @inline(__always)
  private func takeAliased(_ id: UInt32) {
    let alias = nodes[Int(id)].opcode == .view ? a(id) : id
    if nodes[Int(alias)].opcode == .attach, nodes[Int(alias)].storage == nil,
      !nodes[Int(alias)].state.contains(.dead)
    {
      var source = b(alias)
      // An alias of an alias: a custom operation of several operands.
      while nodes[Int(source)].opcode == .attach, nodes[Int(source)].storage == nil {
        source = b(source)
      }
      takeValue(of: source, alias)
    }
  }

  /// An alias holds its operand's memory, where that is in memory at all.
  private func takeValue(of source: UInt32, _ id: UInt32) {
    guard isGiven(source) else { return }
    let value = self.value(of: source)
    nodes[Int(id)].storage = value.storage.retain()
    nodes[Int(id)].payload = UInt64(value.offset)
    nodes[Int(id)].state.insert(.owns)
    state.pointee.owners.append(id)
  }

  private func hasValue(_ id: UInt32) -> Bool {
    let node = nodes[Int(id)]
    return node.opcode == .view ? hasValue(id &- node.a) : node.storage != nil
  }
}

extension RawList where Element == UInt64 {
  var array: [UInt64] { Array(UnsafeBufferPointer(start: base, count: count)) }
}
