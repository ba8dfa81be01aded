// Runs a plan: binds memory, then walks its kernels, on one thread or on several.

import Dispatch
import Synchronization

/// Runs plans.
package enum PlanRunner {
  /// A plan is split over threads from this estimate on: twice what entering Dispatch costs.
  package static let parallelThreshold = 200_000.0

  /// The memory that a run reads and writes.
  struct Binding {
    /// Arena, leaves, outputs.
    var bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
    var scalars: UnsafePointer<UInt64>
  }

  /// Runs every kernel of a plan in order.
  ///
  /// - Parameters:
  ///   - parallelThreshold: nanoseconds on one core from which the plan is split.
  ///   - poisons: fills the plan's own memory with NaNs first, so that tests see what is read
  ///     before it is written.
  /// - Throws: `StorageError` where there is no memory for the arena; nothing has run then.
  static func run(
    _ plan: Plan, _ binding: Binding, threads: Int,
    parallelThreshold: Double = PlanRunner.parallelThreshold, poisons: Bool = false
  ) throws(StorageError) {
    let work = plan.workBytes
    let threads =
      threads > 1 && plan.hasParallelWork && plan.cost.nanoseconds > parallelThreshold ? threads : 1
    let memory = try Storage(byteCount: plan.arenaBytes + threads * work + 64)
    binding.bases[0] = memory.pointer
    if poisons { memory.poison() }
    let scratch = memory.pointer + ArenaAllocator.rounded(plan.arenaBytes)
    if threads == 1 {
      let context = RunContext(bases: binding.bases, scalars: binding.scalars, scratch: scratch)
      runSerial(plan, context)
    } else {
      runParallel(plan, binding, scratch, work, threads)
    }
    withExtendedLifetime(memory) {}
  }

  private static func runSerial(_ plan: Plan, _ context: RunContext) {
    for i in 0..<plan.steps.count {
      switch plan.steps[i] {
      case .loop(let reference):
        reference._withUnsafeGuaranteedRef { kernel in
          for chunk in 0..<kernel.chunkCount { kernel.run(chunk: chunk, context) }
          if kernel.needsFinish { kernel.finish(context) }
        }
      case .move(let index): plan.moves[index].run(context)
      }
    }
  }

  /// Enters Dispatch once; each worker walks all kernels and claims chunks by a counter.
  ///
  /// Dispatch promises no gang scheduling, so a kernel is finished when its chunks are, not when
  /// all workers have come by: the calling thread can always get through alone, and a worker that
  /// arrives late finds everything claimed.
  private static func runParallel(
    _ plan: Plan, _ binding: Binding, _ scratch: UnsafeMutableRawPointer, _ work: Int,
    _ threads: Int
  ) {
    let counters = UnsafeMutablePointer<StepCounter>.allocate(capacity: plan.steps.count)
    for i in 0..<plan.steps.count { (counters + i).initialize(to: StepCounter()) }
    defer {
      counters.deinitialize(count: plan.steps.count)
      counters.deallocate()
    }
    let shared = Shared(counters: counters, binding: binding, scratch: scratch)
    DispatchQueue.concurrentPerform(iterations: threads) { worker in
      let context = RunContext(
        bases: shared.binding.bases, scalars: shared.binding.scalars,
        scratch: shared.scratch + worker * work)
      for i in 0..<plan.steps.count {
        switch plan.steps[i] {
        case .loop(let reference):
          reference._withUnsafeGuaranteedRef { kernel in
            shared.counters[i].share(
              kernel.chunkCount, { kernel.run(chunk: $0, context) },
              then: kernel.needsFinish ? { kernel.finish(context) } : nil)
          }
        case .move(let index):
          shared.counters[i].share(1, { _ in plan.moves[index].run(context) }, then: nil)
        }
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
    let scratch: UnsafeMutableRawPointer
  }

  /// The text of a graph's plan: for tests.
  package static func explain(_ graph: Graph, details: Bool = true) -> String {
    Planner.plan(graph).explain(graph, details: details)
  }

  /// The plan of a graph on its own, with code for an instruction set: for tests.
  package static func plan(_ graph: Graph, for instructionSet: InstructionSet) -> Plan {
    let plan = Planner.plan(graph)
    NativeCompiler.prepare(plan, for: instructionSet)
    return plan
  }

  /// Plans and runs a graph on its own: for tests.
  ///
  /// - Parameters:
  ///   - outputs: memory for roots by position; the others get memory of their own.
  ///   - updatesInPlace: lets every update that may have it happen in (a copy of) its leaf's memory.
  /// - Returns: The memory of every other root, by position.
  package static func run(
    _ graph: Graph, leaves: [UnsafeRawPointer], scalars: [Double],
    outputs given: [Int: UnsafeMutableRawPointer] = [:], threads: Int,
    instructionSet: InstructionSet = NativeCode.instructionSet,
    parallelThreshold: Double = PlanRunner.parallelThreshold, poisons: Bool = false,
    updatesInPlace: Bool = false
  ) throws -> [Int: Storage] {
    let plan = plan(graph, for: instructionSet)
    var outputs: [Int: Storage] = [:]
    var bases = [UnsafeMutableRawPointer(bitPattern: 64)!]
    bases += leaves.map { UnsafeMutableRawPointer(mutating: $0) }
    let updates = updatesInPlace ? plan.updates.array : []
    for (i, output) in plan.outputs.enumerated() {
      if let memory = given[output.node] {
        bases.append(memory)
        continue
      }
      let storage = try Storage(byteCount: output.byteCount)
      if poisons { storage.poison() }
      for update in updates where update.output == i {
        storage.pointer.copyMemory(
          from: leaves[update.leaf], byteCount: min(update.byteCount, output.byteCount))
        bases[1 + update.leaf] = storage.pointer
      }
      outputs[output.node] = storage
      bases.append(storage.pointer)
    }
    var bits = scalars.map { $0.bitPattern }
    for node in graph.nodes where node.opcode == .scalar && !node.type.isFloating {
      bits[Int(node.slot)] = UInt64(bitPattern: Int64(scalars[Int(node.slot)]))
    }
    bits.append(0)
    try bases.withUnsafeMutableBufferPointer { bases in
      try bits.withUnsafeBufferPointer { bits in
        try run(
          plan, Binding(bases: bases.baseAddress!, scalars: bits.baseAddress!), threads: threads,
          parallelThreshold: parallelThreshold, poisons: poisons)
      }
    }
    return outputs
  }
}

extension Storage {
  /// Fills the block with ones: NaN in every floating type.
  fileprivate func poison() {
    pointer.initializeMemory(as: UInt8.self, repeating: 0xFF, count: byteCount + StoragePool.slack)
  }
}
