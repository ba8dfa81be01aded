// What a function has recorded as something that can be run again without recording it: a plan, and what it is
// bound to. Uses all of the engine.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// An argument of a call: its value in memory, with a reference to that which the call gives up.
package struct BoundArgument {
  package let storage: Unmanaged<Storage>
  /// In elements.
  package let offset: Int
  package let layout: LayoutID
  package let type: ScalarType
  package let isVariable: Bool
  /// A constant that was computed from gradients. A variable may be, as parameters after a step are, which says
  /// nothing of what gradients flow to it.
  package let isGradient: Bool

  /// What decides together with the other arguments what is recorded: all but the value.
  package var word: UInt64 {
    UInt64(layout) | UInt64(type.rawValue) << 32 | (isVariable ? 1 << 40 : 0)
      | (isGradient ? 1 << 41 : 0)
  }
}

/// The work of a function for arguments of some shapes, cut out of a tape.
///
/// Nothing of it is on a tape any more, and a run leaves no record: it binds the plan to the memory of other
/// arguments, and makes finished handles of the results. What the body made by itself, numbers and arrays,
/// stays what it was; whether that may be is found out by recording twice (`isSame`).
package final class Replay: @unchecked Sendable {
  /// What a leaf of the plan is bound to; the offset, in bytes, is from where the argument or the memory begins.
  enum Source {
    case argument(Int, byteOffset: Int)
    case memory(Storage, byteOffset: Int)
  }

  /// A result, by the number of the output that has its value.
  struct Result: Equatable {
    let output: Int
    let shape: LayoutID
    let type: ScalarType
    let isVariable: Bool
    let isGradient: Bool
    /// A pass in the body has cleared its graph.
    let isCleared: Bool
    /// Gradients would flow from it to arguments.
    let isCutOff: Bool
  }

  let plan: Plan
  let isPlanKnown: Bool
  let graph: Graph
  let leaves: [Source]
  let scalars: [UInt64]
  let results: [Result]
  /// The layouts that the graph and the plan name: as long as there are references to them their identities
  /// mean them.
  private let layouts: [Layout]
  /// Whether the body has read something that was recorded before it.
  package let hasOlderRecords: Bool

  init(
    plan: Plan, isPlanKnown: Bool, graph: Graph, leaves: [Source], scalars: [UInt64],
    results: [Result], hasOlderRecords: Bool
  ) {
    self.plan = plan
    self.isPlanKnown = isPlanKnown
    self.graph = graph
    self.leaves = leaves
    self.scalars = scalars
    self.results = results
    self.hasOlderRecords = hasOlderRecords
    layouts = graph.layouts + plan.layouts
  }

  package var resultCount: Int { results.count }

  /// Whether another recording is the same word by word: operations, numbers, and the arrays that the body has
  /// made.
  package func isSame(as other: Replay) -> Bool {
    results == other.results && scalars == other.scalars
      && graph.nodes == other.graph.nodes && leaves.count == other.leaves.count
      && zip(leaves, other.leaves).allSatisfy { $0.isSame(as: $1) }
  }

  /// Whether both recordings read one and the same array that is no argument: it was there before, and may be
  /// another one, or have other elements, when the next call comes.
  package func sharesMemory(with other: Replay) -> Bool {
    var own: Set<ObjectIdentifier> = []
    for case .memory(let storage, _) in leaves { own.insert(ObjectIdentifier(storage)) }
    for case .memory(let storage, _) in other.leaves where own.contains(ObjectIdentifier(storage)) {
      return true
    }
    return false
  }

  /// The same with memory of its own in the place of the arrays that the body has made, which it may have handed
  /// to somebody.
  ///
  /// - Returns: nil where there is none.
  package func keepingItsOwn() -> Replay? {
    var copies: [ObjectIdentifier: Storage] = [:]
    var own: [Source] = []
    for leaf in leaves {
      guard case .memory(let storage, let byteOffset) = leaf, !storage.isLent else {
        own.append(leaf)
        continue
      }
      if copies[ObjectIdentifier(storage)] == nil {
        guard let copy = try? Storage(byteCount: storage.byteCount) else { return nil }
        copy.pointer.copyMemory(from: storage.pointer, byteCount: storage.byteCount)
        copies[ObjectIdentifier(storage)] = copy
      }
      own.append(
        .memory(copies[ObjectIdentifier(storage)].unsafelyUnwrapped, byteOffset: byteOffset))
    }
    return Replay(
      plan: plan, isPlanKnown: isPlanKnown, graph: graph, leaves: own, scalars: scalars,
      results: results, hasOlderRecords: hasOlderRecords)
  }

  /// What a run does, for programs that ask.
  package var report: PlanReport {
    PlanReport(
      plan, graph, asked: plan.outputs.map { _ in true }, isKnown: isPlanKnown,
      threads: PlanRunner.threads(
        plan, limit: Engine.threads, parallelThreshold: PlanRunner.parallelThreshold))
  }
}

extension Replay.Source {
  fileprivate func isSame(as other: Self) -> Bool {
    switch (self, other) {
    case (.argument(let a, let aOffset), .argument(let b, let bOffset)):
      return a == b && aOffset == bOffset
    case (.memory(let a, let aOffset), .memory(let b, let bOffset)):
      // All of the block, of which the leaf is a part: what is beside it has been made by the body as well.
      return aOffset == bOffset && a.byteCount == b.byteCount
        && (a.pointer == b.pointer || memcmp(a.pointer, b.pointer, a.byteCount) == 0)
    default: return false
    }
  }
}

extension Graph {
  /// The layouts that the operations name.
  fileprivate var layouts: [Layout] {
    var ids: Set<LayoutID> = []
    for node in nodes {
      ids.insert(node.shape)
      switch node.opcode {
      case .leaf, .view, .setRegion, .addRegion: ids.insert(node.attribute)
      default: if node.opcode.info.opClass == .reduction { ids.insert(node.attribute) }
      }
    }
    return ids.map { LayoutTable.shared[$0] }
  }
}

extension Plan {
  /// The layouts that kernels read memory through.
  fileprivate var layouts: [Layout] {
    var all: [Unmanaged<Layout>?] = []
    for kernel in kernels {
      for i in 0..<kernel.loads.count { all.append(kernel.loads[i].layout) }
    }
    for move in moves.array { all += [move.aLayout, move.bLayout, move.cLayout, move.region] }
    return all.compactMap { $0?.takeUnretainedValue() } + bodies.flatMap(\.layouts)
  }
}

// MARK: - Running

extension Replay {
  /// Runs the plan for arguments, whose memory the caller keeps.
  ///
  /// - Parameters:
  ///   - isRecorded: Whether it has been recorded for this call.
  ///   - makeResult: Is given a handle for each result.
  /// - Throws: `StorageError`; nothing has happened then.
  package func run(
    _ arguments: UnsafeBufferPointer<BoundArgument>, isRecorded: Bool, makeResult: (SlotRef) -> Void
  ) throws(StorageError) {
    LayoutTable.sweepIfDue()
    let began = Engine.isTimed ? Engine.nanoseconds() : 0
    let tape = Tape.current
    tape.lock()
    let binding: PlanRunner.Binding
    do throws(StorageError) { binding = try bind(arguments, tape) } catch {
      tape.unlock()
      throw error
    }
    // Nobody moves records, or frees layouts, while a plan runs.
    tape.state.pointee.inFlight += 1
    tape.unlock()
    let before = Engine.isTimed ? Engine.nanoseconds() : 0
    PlanRunner.run(plan, binding)
    let after = Engine.isTimed ? Engine.nanoseconds() : 0
    tape.lock()
    tape.state.pointee.inFlight -= 1
    if !isRecorded { tape.state.pointee.counters.replays += 1 }
    tape.state.pointee.counters.kernelsRun += plan.kernelCount
    tape.state.pointee.counters.bytesRead += plan.cost.bytesRead
    tape.state.pointee.counters.bytesWritten += plan.cost.bytesWritten
    withUnsafeTemporaryAllocation(of: SlotRef.self, capacity: results.count) { slots in
      for (k, result) in results.enumerated() {
        slots.initializeElement(
          at: k, to: tape.makeSlot(result, binding.outputs[result.output].storage))
      }
      tape.give(binding.memory)
      tape.unlock()
      for slot in slots { makeResult(slot) }
    }
    if Engine.isTimed { tell(tape, began: began, inKernels: after - before, isRecorded) }
  }

  /// Finds memory for a run. The caller holds the tape's lock.
  private func bind(
    _ arguments: UnsafeBufferPointer<BoundArgument>, _ tape: Tape
  ) throws(StorageError) -> PlanRunner.Binding {
    let spares = tape.state.pointee.spares
    let binding = try PlanRunner.Binding(
      plan, scalarCount: scalars.count, threads: Engine.threads,
      parallelThreshold: PlanRunner.parallelThreshold,
      take: { size throws(StorageError) in try spares.take(size) })
    var address = binding.bases + 1
    for leaf in leaves {
      switch leaf {
      case .argument(let k, let byteOffset):
        let argument = arguments[k]
        address.pointee =
          argument.storage._withUnsafeGuaranteedRef { $0.pointer }
          + (argument.offset &* argument.type.size &+ byteOffset)
      case .memory(let storage, let byteOffset): address.pointee = storage.pointer + byteOffset
      }
      address += 1
    }
    for i in 0..<plan.outputs.count {
      do throws(StorageError) {
        binding.outputs[i] = PlanRunner.OutputMemory(
          storage: try spares.take(plan.outputs[i].byteCount), byteOffset: 0)
      } catch {
        for k in 0..<i { tape.give(binding.outputs[k].storage) }
        tape.give(binding.memory)
        throw error
      }
      address.pointee = binding.outputs[i].storage._withUnsafeGuaranteedRef { $0.pointer }
      address += 1
    }
    for (i, scalar) in scalars.enumerated() { binding.scalars[i] = scalar }
    return binding
  }

  /// Counts the time of a run, and says so for LAZYGRAD_DEBUG.
  @inline(never)
  private func tell(_ tape: Tape, began: Int, inKernels: Int, _ isRecorded: Bool) {
    let time = Engine.nanoseconds() - began
    if Engine.measuresOverhead {
      tape.locked {
        tape.state.pointee.counters.overheadNanoseconds += time - inKernels
        tape.state.pointee.counters.kernelNanoseconds += inKernels
      }
    }
    if Settings.debugLevel > 0 {
      Trace.tellCall(
        isRecorded: isRecorded, kernels: plan.kernelCount, nanoseconds: time, inKernels: inKernels)
    }
  }
}

extension Tape {
  /// A handle for a result of a replay, which takes over a reference to its memory.
  fileprivate func makeSlot(_ result: Replay.Result, _ storage: Unmanaged<Storage>) -> SlotRef {
    if result.isCutOff { return makeSlot(cutOff(result, storage)) }
    let slot = makeSlot(
      storage: storage, layout: result.shape, offset: 0, type: result.type,
      isVariable: result.isVariable)
    slot.isGradient = result.isGradient
    slot.isCleared = result.isCleared
    return slot
  }

  /// A record with a value, at which a pass is told that gradients can't go on.
  private func cutOff(_ result: Replay.Result, _ storage: Unmanaged<Storage>) -> UInt32 {
    var traits = Node.Traits.variable.union(.cutOff)
    if result.isGradient { traits.formUnion(.gradient) }
    var nodeState = Node.State.evaluated
    nodeState.insert(.owns)
    let id = append(
      .copy, result.type, shape: result.shape, traits: traits, state: nodeState)
    nodes[Int(id)].storage = storage
    state.pointee.owners.append(id)
    state.pointee.hasCleared = true
    return id
  }
}
