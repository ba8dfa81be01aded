// Memory for the records themselves, and what happens where the system has none left for more. Uses the
// tape's arena.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Not a member, so that it is the system's function.
private func giveBack(_ memory: UnsafeMutableRawPointer) { free(memory) }

extension Tape {
  /// Memory for records, each in one cache line; nil where the system has none. There is room for the
  /// reserve as well, which costs nothing while nobody writes there.
  private static func arena(_ capacity: Int) -> UnsafeMutablePointer<Node>? {
    let stride = MemoryLayout<Node>.stride
    let count = capacity + reserve(capacity)
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, stride, count * stride) == 0 else { return nil }
    return memory?.bindMemory(to: Node.self, capacity: count)
  }

  /// How many records more than its capacity an arena has room for.
  ///
  /// Where the system has no memory for a larger one, what is being recorded can't be broken off. So it
  /// goes there, and the tape is short of memory from then on: whoever makes the next handle is told that
  /// the window is full, and finds out (`lacksRecords(for:)`).
  private static func reserve(_ capacity: Int) -> Int { max(capacity / 8, 1024) }

  /// The memory that a tape begins with.
  static func makeArena(_ capacity: Int) -> UnsafeMutablePointer<Node> {
    guard let arena = arena(capacity) else { lacksRecords(capacity) }
    return arena
  }

  /// Moves the records into an arena of twice the size.
  ///
  /// - Returns: Whether there was memory for one.
  func doubleArena() -> Bool {
    let capacity = 2 * Int(state.pointee.capacity - state.pointee.usedReserve)
    guard let larger = Tape.arena(capacity) else { return false }
    larger.moveInitialize(from: state.pointee.nodes, count: Int(state.pointee.count))
    giveBack(state.pointee.nodes)
    state.pointee.nodes = larger
    state.pointee.capacity = UInt32(capacity)
    state.pointee.usedReserve = 0
    return true
  }

  /// Goes on in the reserve.
  func takeReserve() {
    let capacity = Int(state.pointee.capacity)
    if state.pointee.usedReserve != 0 { Tape.lacksRecords(capacity) }
    state.pointee.usedReserve = UInt32(Tape.reserve(capacity))
    state.pointee.capacity += state.pointee.usedReserve
    state.pointee.pendingBytes = state.pointee.limits.windowBytes + 1
  }

  private static func lacksRecords(_ count: Int) -> Never {
    fatalError("LazyGrad: no memory for more than \(count) recorded operations")
  }

  /// Whether there is no memory to go on recording, now that what could be computed and dropped has been.
  ///
  /// - Returns: How many operations there is memory for; nil where there is enough.
  package static func lacksRecords(for slot: SlotRef) -> Int? {
    let tape = hold(slot)
    defer { tape.unlock() }
    let used = tape.state.pointee.usedReserve
    if used == 0 { return nil }
    let capacity = tape.state.pointee.capacity - used
    if tape.count < capacity / 2 {
      tape.state.pointee.capacity = capacity
      tape.state.pointee.usedReserve = 0
      return nil
    }
    if tape.doubleArena() { return nil }
    // The next handle is to ask as well.
    tape.state.pointee.pendingBytes = tape.state.pointee.limits.windowBytes + 1
    return Int(capacity)
  }

  /// Takes back the records at the end that nothing names any more: on a tape that is short of memory
  /// they are not left for later. What still carries their numbers checks what it finds there.
  package static func dropDeadEnd(of slot: SlotRef) {
    let tape = hold(slot)
    defer { tape.unlock() }
    if tape.state.pointee.inFlight != 0 { return }
    tape.noteEdit()
    while tape.count > tape.state.pointee.windowStart, tape[tape.count - 1].state.contains(.dead) {
      tape.state.pointee.count -= 1
      tape.state.pointee.dead -= 1
      tape.state.pointee.counters.nodesRecorded += 1
    }
    tape.state.pointee.firstPending = min(tape.state.pointee.firstPending, tape.count)
  }
}
