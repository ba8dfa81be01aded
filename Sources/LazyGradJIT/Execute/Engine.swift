// What the library asks of the engine beside recording: settings, counters, questions about a
// storage.

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

  /// Threads that a plan may use: 1 to `Settings.maxThreads`.
  package static var threads: Int {
    get { threadCount.load(ordering: .relaxed) }
    set { threadCount.store(min(max(1, newValue), Settings.maxThreads), ordering: .relaxed) }
  }

  /// Whether forcing reads the clock to tell its own time from the kernels'.
  package static var measuresOverhead: Bool {
    get { measuring.load(ordering: .relaxed) }
    set { measuring.store(newValue, ordering: .relaxed) }
  }

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
      sum.kernelsRun += c.kernelsRun
      sum.bytesRead += c.bytesRead
      sum.bytesWritten += c.bytesWritten
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
    return slot.pointee.node == 0 || tape.isGiven(slot.pointee.node &- 1)
  }

  // MARK: Questions about a storage

  /// The names of the live guarded operations that read or produced a storage, in order.
  ///
  /// Nothing is counted while operations are recorded; the answer is found on the tapes when
  /// somebody asks, which only a host write or a question about writability does.
  /// - Complexity: two loads where no operation has read the storage since the last reset; else
  ///   O(live records) of the tapes that read it.
  package static func lockHolders(of storage: Storage) -> [String] {
    Tape.readers(of: storage).flatMap { tape in
      tape.settleAlone()
      return tape.locked { tape.lockHolders(of: storage) }
    }
  }

  /// Runs what is recorded and not yet evaluated and would read a storage.
  package static func forceReaders(of storage: Storage) throws(StorageError) {
    for tape in Tape.readers(of: storage) {
      tape.settleAlone()
      tape.lock()
      defer { tape.unlock() }
      let ids = tape.pendingReaders(of: storage)
      if !ids.isEmpty { try tape.force(ids) }
    }
  }

  /// The plan that forcing these handles would run, as text.
  package static func explain(_ slots: [SlotRef]) -> String {
    var result = ""
    for slot in slots {
      slot.unlockedTape.settleAlone()
      let tape = Tape.hold(slot)
      defer { tape.unlock() }
      let ids = slots.filter { $0.unlockedTape == tape && $0.pointee.node != 0 }
        .map { $0.pointee.node &- 1 }.filter { !tape.isGiven($0) }
      if ids.isEmpty { continue }
      let extraction = tape.extract(ids)
      result += PlanCache.shared.plan(
        for: extraction.graph, prepare: NativeCompiler.prepare
      ).plan.explain(extraction.graph, details: true)
      break
    }
    return result.isEmpty ? "nothing to run\n" : result
  }
}

extension Tape {
  /// Computes values that were left out when others were read. Where there is no memory for them they stay
  /// pending, and who reads them is told. The caller holds the lock.
  package func forceLate(_ ids: [UInt32]) {
    let pending = ids.filter { !isGiven($0) }
    if !pending.isEmpty { try? force(pending) }
  }

  /// The tapes with records over a storage: usually the one that read it first, and no other thread is
  /// kept waiting.
  fileprivate static func readers(of storage: Storage) -> [Tape] {
    if storage.hasForeignReaders { return all }
    return storage.homeReader.map { [Tape(state: UnsafeMutablePointer(bitPattern: $0)!)] } ?? []
  }

  /// Of the nodes that are alive only those count that a tensor still leads to by operations that can
  /// be differentiated: one that merely waits to be read by something without backward information
  /// would be gone if that had been computed at once.
  fileprivate func lockHolders(of storage: Storage) -> [String] {
    let n = Int(state.pointee.count)
    var isReached = [Bool](repeating: false, count: n)
    for i in (0..<n).reversed() where !nodes[i].state.contains(.dead) {
      let id = UInt32(i)
      if nodes[i].opcode == .leaf {
        if isReached[i], nodes[i].link != 0 { isReached[Int(nodes[i].link) - 1] = true }
        continue
      }
      if nodes[i].slot != nil { isReached[i] = true }
      guard isReached[i], nodes[i].state.contains(.tracked) else { continue }
      for operand in [a(id), b(id), c(id)] where operand != id { isReached[Int(operand)] = true }
    }
    var names: [String] = []
    for i in 0..<n where isReached[i] {
      let id = UInt32(i)
      let state = nodes[i].state
      guard state.contains(.tracked), hasOperands(id) else { continue }
      let isThrough = isGuardedThrough(id, isReached)
      if !isThrough, !state.contains(.guarded) { continue }
      var reads = state.contains(.handedOut) && isOver(storage, id)
      for operand in [a(id), b(id), c(id)] where operand != id {
        if isOver(storage, operand) { reads = true }
      }
      // Where this shows a copy, what it was made through shows what that is a copy of.
      if isThrough, nodes[Int(a(id))].traits.contains(.standIn), isOver(storage, a(a(id))) {
        reads = true
      }
      if reads { names.append(nodes[i].opcode.info.name) }
    }
    return names
  }

  /// Whether a view was made through another one under the guard, which is in no list of its own: its
  /// tensor is gone or shows something else. Its record is still there, and whether it was cleared.
  private func isGuardedThrough(_ id: UInt32, _ isReached: [Bool]) -> Bool {
    var view = id
    while true {
      let node = nodes[Int(view)]
      guard node.opcode == .view, node.state.contains(.tracked) else { return false }
      if view != id, node.state.contains(.guarded) { return !isReached[Int(view)] }
      if node.link == 0 { return false }
      view = node.link &- 1
    }
  }

  /// The node whose memory a node shows.
  private func source(of id: UInt32) -> UInt32 {
    var id = id
    while true {
      if nodes[Int(id)].opcode == .view, hasOperands(id) {
        id = a(id)
      } else if let source = importedNode(id) {
        id = source
      } else {
        return id
      }
    }
  }

  private func isOver(_ storage: Storage, _ id: UInt32) -> Bool {
    guard let held = nodes[Int(source(of: id))].storage else { return false }
    return held.toOpaque() == Unmanaged.passUnretained(storage).toOpaque()
  }

  /// The pending nodes that somebody holds and that depend on a storage.
  fileprivate func pendingReaders(of storage: Storage) -> [UInt32] {
    let n = Int(state.pointee.count)
    var depends = [Bool](repeating: false, count: n)
    var result: [UInt32] = []
    for i in 0..<n where !nodes[i].state.contains(.dead) {
      let id = UInt32(i)
      if nodes[i].storage != nil {
        depends[i] = isOver(storage, id)
        continue
      }
      if nodes[i].opcode == .leaf {
        if nodes[i].link != 0 { depends[i] = depends[Int(nodes[i].link) - 1] }
        continue
      }
      for operand in [a(id), b(id), c(id)] where operand != id && depends[Int(operand)] {
        depends[i] = true
      }
      if depends[i], nodes[i].slot != nil, !isGiven(id) { result.append(id) }
    }
    return result
  }

  /// Notes that a value's memory is now also a host array's.
  package func handOut(_ id: UInt32) {
    let node = nodes + Int(source(of: id))
    guard let storage = node.pointee.storage, node.pointee.opcode != .leaf,
      !node.pointee.state.contains(.handedOut)
    else { return }
    node.pointee.state.insert(.handedOut)
    countReader(storage)
  }
}
