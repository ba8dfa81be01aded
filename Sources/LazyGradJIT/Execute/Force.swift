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
    Tape.noteInBody(.read)
    LayoutTable.sweepIfDue()
    // Tape by tape: the lock of one is taken once for all handles that it has.
    var rest = slots
    while let first = rest.last {
      let tape = Tape.hold(first)
      try tape.withSettled { () throws(StorageError) in
        var ids: [UInt32] = []
        ids.reserveCapacity(rest.count)
        var others: [SlotRef] = []
        for slot in rest {
          if slot.unlockedTape != tape {
            others.append(slot)
          } else if let node = slot.node, !tape.isGiven(node) {
            ids.append(node)
          }
        }
        rest = others
        if !ids.isEmpty { try tape.force(ids) }
      }
    }
  }

  /// Computes everything that is held and pending on a handle's tape: what keeps a program that
  /// never reads from growing without bound.
  package static func forceHeld(with slot: SlotRef) throws(StorageError) {
    Tape.noteInBody(.read)
    LayoutTable.sweepIfDue()
    let tape = Tape.hold(slot)
    try tape.withSettled { () throws(StorageError) in try tape.forceHeld() }
  }

  /// Computes the value of one handle.
  @inline(__always)
  package static func force(_ slot: SlotRef) throws(StorageError) {
    Tape.noteInBody(.read)
    LayoutTable.sweepIfDue()
    let tape = Tape.hold(slot)
    guard let node = slot.node, !tape.isGiven(node) else { return tape.unlock() }
    try tape.withSettled { () throws(StorageError) in try tape.force([node]) }
  }
}

extension Tape {
  /// Forces nodes of this tape. The lock is held on entry and on return, not while kernels run.
  func force(_ ids: [UInt32]) throws(StorageError) {
    Tape.noteInBody(.read)
    if state.pointee.sampleRuns > 0, needSamples(ids) { throw .unknownSample }
    try measured { kernelTime throws(StorageError) in
      try compute(ids, &kernelTime)
      computeLate(&kernelTime)
      finishWindow()
    }
  }

  /// Computes what the program holds and has not been computed.
  fileprivate func forceHeld() throws(StorageError) {
    if state.pointee.sampleRuns > 0 { return }
    try measured { kernelTime throws(StorageError) in
      try computeHeld(&kernelTime)
      finishWindow()
    }
  }

  /// Counts the time that `body` takes beside its kernels, while that is wanted.
  private func measured(
    _ body: (_ kernelTime: inout Int) throws(StorageError) -> Void
  ) throws(StorageError) {
    var kernelTime = 0
    #if DEBUG
      let began = Engine.nanoseconds()
      defer { DebugBuild.note(Engine.nanoseconds() - began) }
    #endif
    if !Engine.measuresOverhead { return try body(&kernelTime) }
    let started = Engine.nanoseconds()
    try body(&kernelTime)
    state.pointee.counters.overheadNanoseconds += Engine.nanoseconds() - started - kernelTime
    state.pointee.counters.kernelNanoseconds += kernelTime
  }

  /// What is read window after window and never asked for would grow without bound. Where there is no
  /// memory for it, it stays: it is not what the caller asked for.
  private func computeLate(_ kernelTime: inout Int) {
    if state.pointee.readsPending, state.pointee.inFlight == 0,
      state.pointee.live > max(state.pointee.lateLimit, state.pointee.limits.lateRecords)
    {
      try? computeHeld(&kernelTime)
      state.pointee.lateLimit = 2 * state.pointee.live
    }
  }

  private func computeHeld(_ kernelTime: inout Int) throws(StorageError) {
    let first = state.pointee.firstPending
    let ids = (first..<state.pointee.count).filter {
      let node = nodes[Int($0)]
      return node.slot != nil && node.opcode != .leaf && !node.state.contains(.dead) && !isGiven($0)
    }
    // Before the kernels run: others may get handles for older nodes meanwhile.
    state.pointee.firstPending = state.pointee.count
    if ids.isEmpty { return }
    do throws(StorageError) { try compute(ids, &kernelTime) } catch {
      state.pointee.firstPending = min(first, state.pointee.firstPending)
      throw error
    }
  }

  @inline(__always)
  private func compute(_ ids: [UInt32], _ kernelTime: inout Int) throws(StorageError) {
    if Settings.debugLevel > 0 { return try computeAndTell(ids, &kernelTime) }
    _ = try findAndRun(ids, &kernelTime)
  }

  /// For LAZYGRAD_DEBUG.
  @inline(never)
  private func computeAndTell(_ ids: [UInt32], _ kernelTime: inout Int) throws(StorageError) {
    let began = Engine.nanoseconds()
    let before = kernelTime
    let (nodes, isHit) = try findAndRun(ids, &kernelTime)
    Trace.tell(
      operations: nodes.cone.count - nodes.scalars.count, kernels: nodes.plan.kernelCount,
      isHit: isHit,
      nanoseconds: Engine.nanoseconds() - began, inKernels: kernelTime - before)
  }

  private func findAndRun(
    _ ids: [UInt32], _ kernelTime: inout Int
  ) throws(StorageError) -> (nodes: PlanNodes, isHit: Bool) {
    if let work = knownWindow(ids) {
      state.pointee.counters.planHits += 1
      state.pointee.counters.windowHits += 1
      try run(work, &kernelTime)
      return (work.nodes, true)
    }
    let windowKey = isSelfContained(ids) ? self.windowKey(ids) : nil
    let extraction = extract(ids)
    let (plan, isHit) = Engine.plan(for: extraction.graph, state.pointee.limits.planning)
    if isHit {
      state.pointee.counters.planHits += 1
    } else {
      state.pointee.counters.planMisses += 1
    }
    let start = state.pointee.windowStart
    let work = Work(
      nodes: extraction.nodes(of: plan, since: start), base: start, imports: extraction.imports)
    if let windowKey { remember(windowKey, ids, work.nodes) }
    try run(work, &kernelTime)
    return (work.nodes, isHit)
  }

  /// Computes the gradients that a pass has gathered so far: a backward pass in pieces.
  ///
  /// The caller holds the lock and goes on using ids, so nothing is moved. Others may use the tape while
  /// kernels run.
  ///
  /// - Returns: Whether there was memory for the values; else they stay pending.
  package func forcePiece(_ pass: PassState) -> Bool {
    suspendPass()
    defer { resumePass() }
    let pending = gathered(pass).filter { !isGiven($0) }
    if pending.isEmpty {
      finishWindow()
      return true
    }
    do throws(StorageError) { try force(pending) } catch { return false }
    return true
  }

  // MARK: Running

  private func run(_ work: Work, _ kernelTime: inout Int) throws(StorageError) {
    let plan = work.plan
    let aliased = aliasedByHandles(work)
    let takeovers =
      plan.mostReplaced >= state.pointee.limits.replacedBytes
      ? findTakeovers(work, aliased: aliased) : []
    let spares = state.pointee.spares
    let binding = try PlanRunner.Binding(
      plan, scalarCount: work.scalars.count, threads: Engine.threads,
      parallelThreshold: PlanRunner.parallelThreshold,
      take: { size throws(StorageError) in try spares.take(size) })
    defer { give(binding.memory) }
    try makeOutputs(work, takeovers, aliased: aliased, binding)
    let addresses = binding.bases + 1
    // A value that changes in place is nobody's while it does: others wait.
    let isAlone = !takeovers.isEmpty
    for (i, leaf) in work.leaves.enumerated() {
      addresses[i] = address(of: work.base &+ leaf)
      // Another thread may compute the same meanwhile, and drop what only that is computed from.
      if !isAlone { retainNode(work.base &+ leaf) }
    }
    for (i, scalar) in work.scalars.enumerated() {
      binding.scalars[i] = nodes[Int(work.base &+ scalar)].numberBits
    }
    state.pointee.inFlight += 1
    if !isAlone { unlock() }
    let isTimed = Engine.isTimed
    let before = isTimed ? Engine.nanoseconds() : 0
    PlanRunner.run(plan, binding)
    if isTimed { kernelTime += Engine.nanoseconds() - before }
    if !isAlone {
      lock()
      for leaf in work.leaves { release(work.base &+ leaf) }
    }
    state.pointee.inFlight -= 1
    if plan.isRolled { plan.runs.add(1, ordering: .relaxed) }
    state.pointee.counters.kernelsRun += plan.kernelCount
    state.pointee.counters.bytesRead += plan.cost.bytesRead
    state.pointee.counters.bytesWritten += plan.cost.bytesWritten
    for takeover in takeovers {
      if !takeover.update.isLoop {
        state.pointee.counters.bytesRead -= takeover.update.byteCount
        state.pointee.counters.bytesWritten -= takeover.update.byteCount
      }
      state.pointee.counters.resultsInPlace += 1
      for id in takeover.owners { dropValue(id) }
    }
    commit(work, binding.outputs)
  }

  /// Where the value of an evaluated node or leaf begins.
  @inline(__always)
  private func address(of id: UInt32) -> UnsafeMutableRawPointer {
    let node = nodes + Int(id)
    let size = node.pointee.type.size
    if node.pointee.opcode == .leaf {
      return node.pointee.storage.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0.pointer }
        + node.pointee.valueOffset &* size
    }
    let value = self.value(of: id)
    return value.storage._withUnsafeGuaranteedRef { $0.pointer } + value.offset &* size
  }

  /// Writes results back: values into their nodes, finished handles off the tape, and what nothing
  /// needs any more is freed.
  private func commit(
    _ work: Work, _ outputs: UnsafeMutablePointer<PlanRunner.OutputMemory>
  ) {
    for (i, root) in work.roots.enumerated() {
      let id = work.base &+ root
      let node = nodes + Int(id)
      if node.pointee.storage != nil || node.pointee.state.contains(.dead) {
        // Another thread has computed it too, or has dropped it meanwhile.
        give(outputs[i].storage)
        continue
      }
      if node.pointee.uses == 0, let slot = node.pointee.slot,
        !node.pointee.state.contains(.tracked)
      {
        // Nothing but the handle is about to read the value.
        node.pointee.state.insert(.evaluated)
        slot.pointee.storage = outputs[i].storage
        slot.pointee.offset = outputs[i].byteOffset / node.pointee.type.size
        slot.pointee.layout = node.pointee.shape
        slot.isCleared =
          node.pointee.state.contains(.cleared) && !node.pointee.state.contains(.resumable)
        slot.node = nil
        slot.leaf = nil
        unhold(id)
        continue
      }
      node.pointee.storage = outputs[i].storage
      if !Node.keepsPayload(node.pointee.opcode) {
        node.pointee.valueOffset = outputs[i].byteOffset / node.pointee.type.size
      }
      node.pointee.state.insert(.evaluated)
      node.pointee.state.insert(.owns)
      state.pointee.owners.append(id)
    }
    // While the kernels ran another thread may have dropped what was only kept for them.
    for leaf in work.imports.reversed() where !nodes[Int(leaf)].state.contains(.dead) {
      let source = nodes[Int(leaf)].imported.unsafelyUnwrapped
      takeAliased(source)
      if isGiven(source), nodes[Int(leaf)].storage == nil { bindImport(leaf) }
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
      let source = aliased(alias)
      if let under = pendingAlias(under: source) { takeAliases(from: under) }
      takeValue(of: source, alias)
    }
  }

  /// What an alias shows. An alias of an alias is a custom operation of several operands.
  @inline(__always)
  private func aliased(_ alias: UInt32) -> UInt32 {
    var source = b(alias)
    while nodes[Int(source)].opcode == .attach, nodes[Int(source)].storage == nil {
      source = b(source)
    }
    return source
  }

  /// The alias without a value that a view looks at.
  @inline(__always)
  private func pendingAlias(under view: UInt32) -> UInt32? {
    if nodes[Int(view)].opcode != .view || isGiven(view) { return nil }
    let alias = a(view)
    return nodes[Int(alias)].opcode == .attach ? alias : nil
  }

  /// Gives an alias its value where it shows a view of another alias, and so on, the lowest first: a custom
  /// operation whose value is that of one. Not recursive: each may have been made of the last.
  @inline(never)
  private func takeAliases(from alias: UInt32) {
    var pending = [alias]
    while let last = pending.last {
      let source = aliased(last)
      if let under = pendingAlias(under: source) {
        pending.append(under)
        continue
      }
      // What is left pending is taken when it has been computed.
      if !isGiven(source) { return }
      takeValue(of: source, last)
      pending.removeLast()
    }
  }

  /// An alias holds its operand's memory, where that is in memory at all.
  private func takeValue(of source: UInt32, _ id: UInt32) {
    guard isGiven(source) else { return }
    let value = self.value(of: source)
    nodes[Int(id)].storage = value.storage.retain()
    nodes[Int(id)].valueOffset = value.offset
    nodes[Int(id)].state.insert(.owns)
    state.pointee.owners.append(id)
  }
}
