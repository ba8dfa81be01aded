// How a call of a compiled function is recorded: what stands for its arguments, and what is cut out of the tape
// then. Uses all of the engine.

import Synchronization

// MARK: - Cutting out

extension Tape {
  /// Makes a replay of what the body of a function has recorded. The records stay as they are, and only results
  /// are outputs: whatever else is held, or would be kept for gradients, ends with the call.
  ///
  /// - Parameters:
  ///   - results: What the body has returned.
  ///   - arguments: The memory of what stood for the arguments, which nothing else has, and where in it they
  ///     begin.
  ///   - body: Where the body has been recorded.
  ///   - isTracking: Whether results are what gradients would flow back from.
  package static func cutOut(
    _ results: [SlotRef], arguments: [(storage: Storage, offset: Int)], of body: BodyTape,
    isTracking: Bool
  ) throws(StorageError) -> Replay {
    LayoutTable.sweepIfDue()
    let tape = results.isEmpty ? body.tape : hold(all: results)
    if results.isEmpty { tape.lock() }
    return try tape.withSettled { () throws(StorageError) in
      // Where others' tensors have been brought in, records have moved.
      let first = tape == body.tape && !body.isJoined ? body.start : .max
      return try tape.cutOut(results, arguments, first: first, isTracking: isTracking)
    }
  }

  private func cutOut(
    _ results: [SlotRef], _ arguments: [(storage: Storage, offset: Int)], first: UInt32,
    isTracking: Bool
  ) throws(StorageError) -> Replay {
    var numbers: [ObjectIdentifier: Int] = [:]
    for (k, argument) in arguments.enumerated() {
      numbers[ObjectIdentifier(argument.storage)] = k
    }
    var targets: [UInt32] = []
    var copies: [UInt32] = []
    for slot in results {
      let id = computed(slot)
      // Every result has memory of its own: what is in memory, shows something else, or is a result already
      // is copied.
      let opcode = nodes[Int(id)].opcode
      if isGiven(id) || opcode == .view || opcode == .scalar || targets.contains(id) {
        copies.append(
          append(.copy, slot.pointee.type, shape: slot.pointee.shape, a: inWindow(id)))
        targets.append(copies.last!)
      } else {
        targets.append(id)
      }
    }
    defer { for id in copies { freeUnread(id) } }
    if state.pointee.sampleRuns > 0, needSamples(targets) { throw .unknownSample }
    let cut =
      targets.isEmpty
      ? Extraction(graph: Graph(cut: [], leafCount: 0, scalarCount: 0))
      : extract(targets, rootsAreAsked: true)
    var limits = state.pointee.limits.planning
    // It is going to be run many times: as a whole at once, where it would be at last.
    if cut.graph.nodes.count <= limits.rolling.wholeOperations, limits.rolling.runs != .max {
      limits.rolling = .off
    }
    let (plan, isKnown) = Engine.plan(for: cut.graph, limits)
    if isKnown {
      state.pointee.counters.planHits += 1
    } else {
      state.pointee.counters.planMisses += 1
    }
    var outputs: [UInt32: Int] = [:]
    for (i, root) in cut.roots.enumerated() { outputs[root] = i }
    return Replay(
      plan: plan, isPlanKnown: isKnown, graph: cut.graph,
      leaves: cut.leaves.map { id in
        let value = self.value(of: id)
        let storage = value.storage.takeUnretainedValue()
        let size = nodes[Int(id)].type.size
        guard let k = numbers[ObjectIdentifier(storage)] else {
          return .memory(storage, byteOffset: value.offset * size)
        }
        return .argument(k, byteOffset: (value.offset - arguments[k].offset) * size)
      },
      scalars: cut.scalars.map { nodes[Int($0)].numberBits },
      results: zip(results, targets).map { slot, id in
        Replay.Result(
          output: outputs[id].unsafelyUnwrapped, shape: slot.pointee.shape, type: slot.pointee.type,
          isVariable: slot.pointee.isVariable, isGradient: slot.isGradient,
          isCleared: isCleared(slot),
          isCutOff: isTracking && slot.pointee.isVariable && leads(slot, to: numbers))
      }, hasOlderRecords: (cut.cone + cut.leaves).contains { $0 < first })
  }

  /// The record that a handle's value is computed as, or a record that stands for it: what an alias shows.
  private func computed(_ slot: SlotRef) -> UInt32 {
    var id = record(of: slot)
    while nodes[Int(id)].storage == nil {
      if nodes[Int(id)].opcode == .attach {
        id = b(id)
      } else if let source = importedNode(id) {
        id = source
      } else {
        break
      }
    }
    return id
  }

  /// Whether gradients would flow from a handle to variables among the arguments.
  private func leads(_ slot: SlotRef, to arguments: [ObjectIdentifier: Int]) -> Bool {
    var work = [record(of: slot)]
    var seen = Set(work)
    while let id = work.popLast() {
      let node = nodes[Int(id)]
      if !node.traits.contains(.variable) { continue }
      if let source = importedNode(id) {
        if seen.insert(source).inserted { work.append(source) }
        continue
      }
      if node.opcode == .leaf {
        if let storage = node.storage,
          arguments[ObjectIdentifier(storage.takeUnretainedValue())] != nil
        {
          return true
        }
      } else if node.state.contains(.tracked) {
        for operand in [a(id), b(id), c(id)] where operand != id && seen.insert(operand).inserted {
          work.append(operand)
        }
      }
    }
    return false
  }
}

// MARK: - Arguments and results

extension Engine {
  /// How often the program has wanted to forget all plans: those of replays are in no cache.
  private static let forgotten = Atomic<Int>(0)

  /// Makes every function be recorded anew.
  package static func forgetReplays() { forgotten.add(1, ordering: .relaxed) }

  /// What decides beside a function and its arguments which plan a call takes; the highest byte of the second
  /// word is free.
  package static var settingsWords: (UInt64, UInt64) {
    let tape = Tape.current
    let limits = tape.locked { tape.state.pointee.limits.planning.word }
    let count = UInt64(forgotten.load(ordering: .relaxed))
    return (limits, count << 8 | UInt64(NativeCode.instructionSet.rawValue))
  }

  /// The value of a handle as an argument, which is a use of it: its old gradient ends.
  ///
  /// - Returns: nil where it has not been computed.
  package static func bind(_ slot: SlotRef, _ mode: RecordMode) -> BoundArgument? {
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    let value: (storage: Unmanaged<Storage>, layout: LayoutID, offset: Int)
    if let id = slot.node {
      if !tape.isGiven(id) { return nil }
      value = tape.value(of: id)
    } else {
      value = (slot.pointee.storage.stillThere, slot.pointee.layout, slot.pointee.offset)
    }
    tape.dropOldGradient(slot, mode)
    return BoundArgument(
      storage: value.storage.retain(), offset: value.offset, layout: value.layout,
      type: slot.pointee.type, isVariable: slot.pointee.isVariable,
      isGradient: slot.isGradient && !slot.pointee.isVariable)
  }
}

extension BoundArgument {
  /// A handle for the argument's value on the calling thread's tape, over a storage that nothing else has: by
  /// that it is known in what is recorded of it.
  package func standIn() -> (slot: SlotRef, storage: Storage) {
    let shared = storage.takeUnretainedValue()
    let own = Storage(lent: shared.pointer, byteCount: shared.byteCount, owner: shared)
    let tape = Tape.current
    let slot = tape.locked {
      tape.makeSlot(
        storage: Unmanaged.passRetained(own), layout: layout, offset: offset, type: type,
        isVariable: isVariable)
    }
    slot.isGradient = isGradient
    return (slot, own)
  }
}

extension Tape {
  /// Whether a handle has the value that it was made with.
  package static func isUnchanged(_ slot: SlotRef, since storage: Storage) -> Bool {
    let tape = hold(slot)
    defer { tape.unlock() }
    return slot.pointee.storage?.toOpaque() == Unmanaged.passUnretained(storage).toOpaque()
  }
}
