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
  /// Memory for records, each in one cache line; nil where the system has none.
  private static func arena(_ capacity: Int) -> UnsafeMutablePointer<Node>? {
    let stride = MemoryLayout<Node>.stride
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, stride, capacity * stride) == 0 else { return nil }
    return memory?.bindMemory(to: Node.self, capacity: capacity)
  }

  /// The memory that a tape begins with.
  static func makeArena(_ capacity: Int) -> UnsafeMutablePointer<Node> {
    guard let arena = arena(capacity) else { lacksRecords(capacity) }
    return arena
  }

  /// Gives an arena back whose records have been moved.
  static func discard(_ arena: UnsafeMutablePointer<Node>) { giveBack(arena) }

  /// Twice the memory for records.
  ///
  /// Where the system doesn't have that, a little more is enough for what is being recorded, which can't
  /// be broken off. From then on the tape is short of memory: whoever makes the next handle is told that
  /// the window is full, and finds out (`lacksRecords(for:)`).
  func largerArena(_ capacity: Int) -> (nodes: UnsafeMutablePointer<Node>, capacity: Int) {
    if let arena = Tape.arena(capacity * 2) { return (arena, capacity * 2) }
    state.pointee.isShort = true
    state.pointee.pendingBytes = state.pointee.limits.windowBytes + 1
    var more = capacity / 4
    while more >= 64 {
      if let arena = Tape.arena(capacity + more) { return (arena, capacity + more) }
      more /= 2
    }
    Tape.lacksRecords(capacity)
  }

  private static func lacksRecords(_ count: Int) -> Never {
    preconditionFailure("LazyGrad: no memory for more than \(count) recorded operations")
  }

  /// Whether there is no memory to go on recording, now that what could be computed and dropped has been.
  ///
  /// - Returns: How many operations there is memory for; nil where there is enough.
  package static func lacksRecords(for slot: SlotRef) -> Int? {
    let tape = hold(slot)
    defer { tape.unlock() }
    if !tape.state.pointee.isShort { return nil }
    let capacity = Int(tape.state.pointee.capacity)
    if Int(tape.count) < capacity / 2 {
      tape.state.pointee.isShort = false
      return nil
    }
    // The next handle is to ask as well.
    tape.state.pointee.pendingBytes = tape.state.pointee.limits.windowBytes + 1
    return capacity
  }

  /// Takes back the records at the end that nothing names any more: on a tape that is short of memory
  /// they are not left for later. What still carries their numbers checks what it finds there.
  package static func dropDeadEnd(of slot: SlotRef) {
    let tape = hold(slot)
    defer { tape.unlock() }
    if tape.state.pointee.inFlight != 0 { return }
    while tape.count > tape.state.pointee.windowStart, tape[tape.count - 1].state.contains(.dead) {
      tape.state.pointee.count -= 1
      tape.state.pointee.dead -= 1
      tape.state.pointee.counters.nodesRecorded += 1
    }
    tape.state.pointee.firstPending = min(tape.state.pointee.firstPending, tape.count)
  }
}
