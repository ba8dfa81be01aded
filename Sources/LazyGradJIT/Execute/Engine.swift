// What the library asks of the engine beside recording: settings, counters, plans as text. Questions about
// a storage are the memory guard's.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import Synchronization

extension Engine {
  private static let threadCount = Atomic<Int>(Settings.threads)
  private static let measuring = Atomic<Bool>(false)
  private static let flushing = Atomic<Bool>(Settings.flushesDenormals)

  /// Threads that a plan may use: 1 to `Settings.maxThreads`.
  package static var threads: Int {
    get { threadCount.load(ordering: .relaxed) }
    set { threadCount.store(min(max(1, newValue), Settings.maxThreads), ordering: .relaxed) }
  }

  /// Takes as many threads as there are cores for each of some processes on this machine, unless the
  /// environment or the program has said how many.
  package static func shareCores(among processes: Int) {
    if Settings.askedThreads != nil || threads != Settings.threads { return }
    threads = Settings.threads / max(1, processes)
  }

  /// Whether plans that begin to run take denormal numbers for zero.
  package static var flushesDenormals: Bool {
    get { flushing.load(ordering: .relaxed) }
    set { flushing.store(newValue, ordering: .relaxed) }
  }

  /// Whether forcing reads the clock to tell its own time from the kernels'.
  package static var measuresOverhead: Bool {
    get { measuring.load(ordering: .relaxed) }
    set { measuring.store(newValue, ordering: .relaxed) }
  }

  /// Whether somebody wants to know how long kernels take.
  static var isTimed: Bool { measuresOverhead || Settings.debugLevel > 0 }

  static func nanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
  }

  /// The sum over all tapes.
  package static var counters: TapeCounters {
    var sum = TapeCounters()
    for tape in Tape.all {
      let (c, recorded) = tape.locked { (tape.state.pointee.counters, Int(tape.count)) }
      sum.nodesRecorded += c.nodesRecorded + recorded
      sum.planHits += c.planHits
      sum.planMisses += c.planMisses
      sum.passesCopied += c.passesCopied
      sum.replays += c.replays
      sum.kernelsRun += c.kernelsRun
      sum.bytesRead += c.bytesRead
      sum.bytesWritten += c.bytesWritten
      sum.resultsInPlace += c.resultsInPlace
      sum.overheadNanoseconds += c.overheadNanoseconds
      sum.kernelNanoseconds += c.kernelNanoseconds
    }
    return sum
  }

  /// Live records and held handles of the calling thread's tape: for tests of flat memory.
  package static var tapeUse: (records: Int, live: Int, held: Int) {
    let tape = Tape.current
    return tape.locked {
      (Int(tape.state.pointee.count), tape.state.pointee.live, tape.state.pointee.heldNodes)
    }
  }

  /// Whether a handle's value is in memory.
  package static func isEvaluated(_ slot: SlotRef) -> Bool {
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    return slot.node.map { tape.isGiven($0) } ?? true
  }

  /// What forcing these handles would run: a plan for each tape on which something of them is pending.
  package static func report(_ slots: [SlotRef]) -> [PlanReport] {
    var reports: [PlanReport] = []
    var seen: [Tape] = []
    for slot in slots {
      let tape = Tape.hold(slot)
      tape.withSettled {
        if seen.contains(tape) { return }
        seen.append(tape)
        let ids = slots.filter { $0.unlockedTape == tape }.compactMap(\.node)
          .filter { !tape.isGiven($0) }
        if ids.isEmpty { return }
        let extraction = tape.extract(ids)
        let graph = extraction.graph
        let asked = Set(ids.map { tape.computed($0) })
        let (plan, isKnown) = plan(for: graph, tape.state.pointee.limits.planning)
        reports.append(
          PlanReport(
            plan, graph, asked: extraction.roots.map(asked.contains), isKnown: isKnown,
            threads: PlanRunner.threads(
              plan, limit: threads, parallelThreshold: PlanRunner.parallelThreshold)))
      }
    }
    return reports
  }

  /// The plan of a graph, ready to be run.
  static func plan(
    for graph: Graph, _ limits: PlanLimits
  ) -> (plan: Plan, isHit: Bool) {
    let result = PlanCache.shared.plan(for: graph, limits, prepare: NativeCompiler.prepare)
    if !result.isHit, Settings.debugLevel > 1 { Trace.show(result.plan, graph) }
    return result
  }
}

extension Tape {
  /// The node that a node's value is computed as, which may be a view or an alias of it.
  fileprivate func computed(_ id: UInt32) -> UInt32 {
    var id = id
    while true {
      switch nodes[Int(id)].opcode {
      case .view: id = a(id)
      case .attach: id = b(id)
      case .leaf:
        guard let source = importedNode(id) else { return id }
        id = source
      default: return id
      }
    }
  }

  /// Computes values of handles that were left out when others were read. Where there is no memory for them
  /// they stay pending, and who reads them is told. The caller holds the lock.
  package func forceLate(_ ids: [UInt32]) {
    // A pass in pieces may have computed one on its way: its handle has the value, its record may be dead.
    let pending = ids.filter { nodes[Int($0)].slot != nil && !isGiven($0) }
    if !pending.isEmpty { try? force(pending) }
  }
}

extension MemoryGuard {
  /// Runs what is recorded and not yet evaluated and would read a storage.
  package static func forceReaders(of storage: Storage) throws(StorageError) {
    for tape in tapesThatRead(storage) {
      tape.lock()
      try tape.withSettled { () throws(StorageError) in
        let ids = tape.pendingReaders(of: storage)
        if !ids.isEmpty { try tape.force(ids) }
      }
    }
  }
}
