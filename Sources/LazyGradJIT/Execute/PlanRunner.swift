// Runs a plan: binds memory, then walks its kernels, on one thread or on several.

import Dispatch
import Synchronization

/// Runs plans.
package enum PlanRunner {
  /// A plan is split over threads from this estimate on: twice what entering Dispatch costs.
  package static let parallelThreshold = 200_000.0

  /// How many threads take part in a run, of as many as may.
  @inline(__always)
  static func threads(_ plan: Plan, limit: Int, parallelThreshold: Double) -> Int {
    let isSplit = limit > 1 && plan.hasParallelWork && plan.cost.nanoseconds > parallelThreshold
    return isSplit ? limit : 1
  }

  /// Where a result is. Holds one reference for it.
  struct OutputMemory {
    let storage: Unmanaged<Storage>
    let byteOffset: Int
  }

  /// The memory of a run: one block for everything that lives as long as it does.
  ///
  ///     outputs | addresses: arena, leaves, outputs, scratch, scalars | scalars | arena | per thread
  ///
  /// A thread has scratch memory, and where there are several, addresses of its own behind it.
  struct Binding {
    /// Whose block it is; whoever made the binding lets go of it.
    let memory: Unmanaged<Storage>
    /// What `Place.base` counts. Those of leaves and outputs are for the caller to set.
    let bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
    /// The bits of the run-time scalars, for the caller to set.
    let scalars: UnsafeMutablePointer<UInt64>
    /// Where the outputs are, for the caller to note.
    let outputs: UnsafeMutablePointer<OutputMemory>
    /// The scratch memory of the first thread; those of the others follow.
    let scratch: UnsafeMutableRawPointer
    /// How many threads take part.
    let threads: Int

    /// Divides memory that `take` gets for a number of bytes.
    @inline(__always)
    init(
      _ plan: Plan, scalarCount: Int, threads limit: Int, parallelThreshold: Double,
      take: (Int) throws(StorageError) -> Unmanaged<Storage>
    ) throws(StorageError) {
      threads = PlanRunner.threads(plan, limit: limit, parallelThreshold: parallelThreshold)
      let addresses = MemoryLayout<OutputMemory>.stride * plan.outputs.count
      let numbers = addresses + 8 * plan.baseCount
      let table = ArenaAllocator.rounded(numbers + 8 * scalarCount)
      let arena = table + ArenaAllocator.rounded(plan.arenaBytes)
      let work = threads == 1 ? plan.workBytes : threads * plan.threadBytes
      memory = try take(arena + work + 64)
      let start = memory._withUnsafeGuaranteedRef { $0.pointer }
      outputs = start.assumingMemoryBound(to: OutputMemory.self)
      bases = (start + addresses).assumingMemoryBound(to: UnsafeMutableRawPointer.self)
      scalars = (start + numbers).assumingMemoryBound(to: UInt64.self)
      scratch = start + arena
      bases[Int(Place.arena)] = start + table
      bases[plan.scratchBase] = scratch
      bases[plan.scalarBase] = start + numbers
    }

    /// What one of several threads runs with.
    fileprivate func context(ofThread number: Int, _ plan: Plan) -> RunContext {
      let scratch = self.scratch + number &* plan.threadBytes
      let own = (scratch + plan.workBytes).assumingMemoryBound(to: UnsafeMutableRawPointer.self)
      own.update(from: bases, count: plan.baseCount)
      own[plan.scratchBase] = scratch
      return RunContext(bases: own, scalars: scalars, scratch: scratch, isAlone: false)
    }
  }

  /// Runs every kernel of a plan in order.
  @inline(__always)
  static func run(_ plan: Plan, _ binding: Binding) {
    if binding.threads == 1 {
      let context = RunContext(
        bases: binding.bases, scalars: binding.scalars, scratch: binding.scratch, isAlone: true)
      if Engine.flushesDenormals {
        DenormalNumbers.flushed { runSerial(plan, context) }
      } else {
        runSerial(plan, context)
      }
    } else {
      runParallel(plan, binding, flushesDenormals: Engine.flushesDenormals)
    }
  }

  private static func runSerial(_ plan: Plan, _ context: RunContext) {
    if plan.isRolled {
      for i in 0..<plan.sections.count {
        plan.sections[i].body._withUnsafeGuaranteedRef {
          runSteps($0, plan.context(ofSection: i, context))
        }
      }
    } else {
      runSteps(plan, context)
    }
  }

  @inline(__always)
  private static func runSteps(_ plan: Plan, _ context: RunContext) {
    for i in 0..<plan.steps.count {
      switch plan.steps[i] {
      case .loop(let reference):
        reference._withUnsafeGuaranteedRef { kernel in
          for chunk in 0..<kernel.chunkCount { kernel.run(chunk: chunk, context) }
          if kernel.needsFinish { kernel.finish(context) }
        }
      case .calls(_, let first, let count):
        for call in first..<(first &+ count) { plan.calls[call].run(context) }
      case .move(let index):
        MoveKernel.run(plan.moves.base + index, context, plan.moveWork(context))
      }
    }
  }

  /// Enters Dispatch once; each worker walks all kernels and claims chunks by a counter.
  ///
  /// Dispatch promises no gang scheduling, so a kernel is finished when its chunks are, not when
  /// all workers have come by: the calling thread can always get through alone, and a worker that
  /// arrives late finds everything claimed.
  private static func runParallel(_ plan: Plan, _ binding: Binding, flushesDenormals: Bool) {
    let counters = UnsafeMutablePointer<StepCounter>.allocate(capacity: plan.kernelCount)
    for i in 0..<plan.kernelCount { (counters + i).initialize(to: StepCounter()) }
    defer {
      counters.deinitialize(count: plan.kernelCount)
      counters.deallocate()
    }
    let shared = Shared(counters: counters, binding: binding)
    DispatchQueue.concurrentPerform(iterations: binding.threads) { worker in
      if flushesDenormals {
        DenormalNumbers.flushed { takePart(plan, shared, worker) }
      } else {
        takePart(plan, shared, worker)
      }
    }
  }

  /// What one of several workers does.
  private static func takePart(_ plan: Plan, _ shared: Shared, _ worker: Int) {
    let context = shared.binding.context(ofThread: worker, plan)
    if !plan.isRolled { return takePart(plan, shared.counters, context) }
    for i in 0..<plan.sections.count {
      plan.sections[i].body._withUnsafeGuaranteedRef {
        takePart(
          $0, shared.counters + plan.sections[i].firstStep, plan.context(ofSection: i, context))
      }
    }
  }

  private static func takePart(
    _ plan: Plan, _ counters: UnsafeMutablePointer<StepCounter>, _ context: RunContext
  ) {
    for i in 0..<plan.steps.count {
      switch plan.steps[i] {
      case .loop(let reference):
        reference._withUnsafeGuaranteedRef { kernel in
          counters[i].share(
            kernel.chunkCount, { kernel.run(chunk: $0, context) },
            then: kernel.needsFinish ? { kernel.finish(context) } : nil)
        }
      case .calls(let reference, let first, let count):
        let chunks = reference._withUnsafeGuaranteedRef { $0.chunkCount }
        let each = count / chunks
        counters[i].share(
          chunks,
          {
            let own = first &+ $0 &* each
            for call in own..<(own &+ each) { plan.calls[call].run(context) }
          }, then: nil)
      case .move(let index):
        counters[i].share(
          1, { _ in MoveKernel.run(plan.moves.base + index, context, plan.moveWork(context)) },
          then: nil)
      }
    }
  }

  /// One kernel's progress. Whoever finishes the last chunk combines the partial results.
  private struct StepCounter: ~Copyable {
    private let claimed = Atomic<Int>(0)
    private let done = Atomic<Int>(0)

    @inline(__always)
    func share(_ count: Int, _ run: (Int) -> Void, then finish: (() -> Void)?) {
      while true {
        let chunk = claimed.wrappingAdd(1, ordering: .relaxed).oldValue
        if chunk >= count { break }
        run(chunk)
        let finished = done.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
        if finished == count, let finish {
          finish()
          done.wrappingAdd(1, ordering: .releasing)
        }
      }
      let goal = finish == nil ? count : count + 1
      var spins = 0
      while done.load(ordering: .acquiring) < goal {
        spins += 1
        if spins > 2000 { yieldThread() }
      }
    }
  }

  /// What the workers share; each writes its own part.
  private struct Shared: @unchecked Sendable {
    let counters: UnsafeMutablePointer<StepCounter>
    let binding: Binding
  }

  /// Where in a run's memory each of several threads has its scratch memory, and its addresses behind it: for
  /// tests.
  package static func scratchMemory(_ plan: Plan, threads: Int) throws -> [Range<Int>] {
    let binding = try Binding(
      plan, scalarCount: 0, threads: threads, parallelThreshold: 0,
      take: { size throws(StorageError) in Unmanaged.passRetained(try Storage(byteCount: size)) })
    defer { binding.memory.release() }
    return (0..<binding.threads).map { number in
      let context = binding.context(ofThread: number, plan)
      let start = context.scratch - binding.scratch
      let end = UnsafeMutableRawPointer(context.bases + plan.baseCount) - binding.scratch
      return start..<end
    }
  }

  /// The text of a graph's plan: for tests.
  package static func explain(
    _ graph: Graph, details: Bool = true, batching: BatchLimits = .usual
  ) -> String {
    Planner.plan(graph, batching: batching).explain(graph, details: details)
  }

  /// The text of a graph's plan with its loops: for tests.
  package static func explain(_ graph: Graph, details: Bool = true, _ limits: PlanLimits) -> String
  {
    plan(graph, for: .portable, limits).explain(graph, details: details)
  }

  /// The plan of a graph on its own, with code for an instruction set, or as where the memory for it is
  /// refused: for tests.
  package static func plan(
    _ graph: Graph, for instructionSet: InstructionSet, refusesCode: Bool = false,
    _ limits: PlanLimits = PlanLimits()
  ) -> Plan {
    func whole(_ graph: Graph) -> Plan {
      let plan = Planner.plan(graph, batching: limits.batching)
      NativeCompiler.prepare(plan, for: instructionSet, refusesCode: refusesCode)
      return plan
    }
    return Plan.rolled(graph, limits, plan: whole) ?? whole(graph)
  }

  /// Plans and runs a graph on its own: for tests.
  ///
  /// - Parameters:
  ///   - outputs: memory for roots by position; the others get memory of their own.
  ///   - updatesInPlace: lets every result that may replace a leaf do so, in a copy of it.
  ///   - parallelThreshold: nanoseconds on one core from which the plan is split.
  ///   - refusesCode: gives no kernel machine code.
  ///   - poisons: fills the plan's own memory with NaNs first, so that tests see what is read
  ///     before it is written.
  /// - Returns: The memory of every other root, by position.
  package static func run(
    _ graph: Graph, leaves: [UnsafeRawPointer], scalars: [Double],
    outputs given: [Int: UnsafeMutableRawPointer] = [:], threads: Int,
    instructionSet: InstructionSet = NativeCode.instructionSet, refusesCode: Bool = false,
    parallelThreshold: Double = PlanRunner.parallelThreshold, poisons: Bool = false,
    updatesInPlace: Bool = false, batching: BatchLimits = .usual, rolling: RollLimits = .usual
  ) throws -> [Int: Storage] {
    let plan = plan(
      graph, for: instructionSet, refusesCode: refusesCode,
      PlanLimits(batching: batching, rolling: rolling))
    let binding = try Binding(
      plan, scalarCount: scalars.count, threads: threads, parallelThreshold: parallelThreshold,
      take: { size throws(StorageError) in Unmanaged.passRetained(try Storage(byteCount: size)) })
    defer { binding.memory.release() }
    if poisons {
      binding.memory._withUnsafeGuaranteedRef { $0.poison(from: binding.bases[0]) }
    }
    var outputs: [Int: Storage] = [:]
    var bases = leaves.map { UnsafeMutableRawPointer(mutating: $0) }
    var updates: [Plan.Update] = []
    for update in updatesInPlace ? plan.updates.array : []
    where !updates.contains(where: { $0.output == update.output || $0.leaf == update.leaf }) {
      updates.append(update)
    }
    for (i, output) in plan.outputs.enumerated() {
      if let memory = given[output.node] {
        bases.append(memory)
        continue
      }
      let storage = try Storage(byteCount: output.byteCount)
      if poisons { storage.poison(from: storage.pointer) }
      for update in updates where update.output == i {
        storage.pointer.copyMemory(
          from: leaves[update.leaf], byteCount: min(update.byteCount, output.byteCount))
        bases[update.leaf] = storage.pointer
      }
      outputs[output.node] = storage
      bases.append(storage.pointer)
    }
    for (i, base) in bases.enumerated() { binding.bases[1 + i] = base }
    for node in graph.nodes where node.opcode == .scalar {
      let slot = Int(node.slot)
      binding.scalars[slot] =
        node.type.isFloating
        ? node.type.roundedHalf(scalars[slot]).bitPattern
        : UInt64(bitPattern: Int64(scalars[slot]))
    }
    run(plan, binding)
    return outputs
  }
}

extension Plan {
  /// What a section runs with, in a thread that runs the whole plan with `context`: a table of its own in the
  /// thread's scratch memory.
  fileprivate func context(ofSection i: Int, _ context: RunContext) -> RunContext {
    let section = sections.base + i
    let bases = (context.scratch + sectionTable).assumingMemoryBound(
      to: UnsafeMutableRawPointer.self)
    let numbers = (context.scratch + sectionTableNumbers).assumingMemoryBound(to: UInt64.self)
    section.pointee.body._withUnsafeGuaranteedRef { body in
      bases[Int(Place.arena)] = context.bases[Int(Place.arena)] + carriedBytes
      let places = sectionPlaces.base + section.pointee.firstPlace
      for k in 0..<(body.leafCount &+ body.outputs.count) {
        bases[1 &+ k] = context.address(places[k])
      }
      bases[body.scratchBase] = context.scratch
      bases[body.scalarBase] = UnsafeMutableRawPointer(numbers)
    }
    let own = sectionNumbers.base + section.pointee.firstNumber
    for k in 0..<section.pointee.numberCount {
      numbers[k] =
        own[k].slot < 0
        ? UInt64(bitPattern: Int64(own[k].value)) : context.scalars[Int(own[k].slot)]
    }
    return RunContext(
      bases: bases, scalars: numbers, scratch: context.scratch, isAlone: context.isAlone)
  }

  /// What one of `moves` works in.
  fileprivate func moveWork(_ context: RunContext) -> WorkMemory {
    WorkMemory(context.bases[0] + (arenaBytes - moveBytes), byteCount: moveBytes)
  }
}

extension Storage {
  /// Fills the block from an address on with ones: NaN in every floating type.
  fileprivate func poison(from start: UnsafeMutableRawPointer) {
    let count = pointer + byteCount + StoragePool.slack - start
    start.initializeMemory(as: UInt8.self, repeating: 0xFF, count: count)
  }
}
