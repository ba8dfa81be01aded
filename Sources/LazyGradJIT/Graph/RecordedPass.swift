// Backward passes that are recorded as they were the last time. What a pass writes depends only on the
// window that it differentiates, and a training loop differentiates equal windows again and again: from
// the third time on the records are copied, not derived.

import Synchronization

/// What the default backward pass did to a window: enough to do it again without walking the graph. All
/// ids are relative to the window's start.
final class RecordedPass: Sendable {
  /// What changes in a record: in one that was there, or in one that is copied and names another by
  /// its id.
  struct Change: Sendable {
    var id: UInt32
    var moreUses: UInt32
    var link: UInt32
    var memo: UInt32
    var state: Node.State
  }
  /// The handle at `node` gets the gradient at `gradient`; `Tape.none`: the ones that the pass began
  /// with.
  struct Gradient: Sendable {
    var node: UInt32
    var gradient: UInt32
  }

  /// The head, and the running hash at it.
  let head: UInt32
  let hash: UInt64
  /// `RecordedPass.wordsBefore` words of every record before the pass.
  let before: [UInt64]
  let changes: [Change]
  /// The records that the pass wrote, whole, and how many of them are dead.
  let added: [UInt64]
  let dead: Int
  let hashAfter: UInt64
  let gradients: [Gradient]

  static var wordsBefore: Int { 6 }
  static var wordsPerNode: Int { MemoryLayout<Node>.stride / MemoryLayout<UInt64>.stride }
  /// Shorter windows are differentiated sooner than looked up.
  static var fewestRecords: Int { 8 }

  var addedCount: Int { added.count / RecordedPass.wordsPerNode }
  /// Records remembered in all.
  var recordCount: Int { before.count / RecordedPass.wordsBefore + addedCount }

  init(
    head: UInt32, hash: UInt64, before: [UInt64], changes: [Change], added: [UInt64], dead: Int,
    hashAfter: UInt64, gradients: [Gradient]
  ) {
    self.head = head
    self.hash = hash
    self.before = before
    self.changes = changes
    self.added = added
    self.dead = dead
    self.hashAfter = hashAfter
    self.gradients = gradients
  }
}

/// The process's recorded passes.
package final class PassCache: Sendable {
  package static let shared = PassCache()

  /// Most records remembered in all passes together, of about 100 bytes each, and most keys of windows
  /// that were seen once.
  package static let recordLimit = 1 << 18
  static let keyLimit = 4096

  private struct State {
    /// Keys that were seen. A pass that never comes again costs no copy.
    var seen: Set<UInt64> = []
    var passes: [UInt64: [RecordedPass]] = [:]
    var records = 0
    var replays = 0
    /// For tests: every key is the same, so that only verification tells windows apart.
    var collides = false
  }
  private let state = Lock(State())

  /// The passes that were seen with this key; nil where it is the first time.
  fileprivate func candidates(_ key: UInt64) -> [RecordedPass]? {
    state.withLock { state in
      let key = state.collides ? 0 : key
      if let known = state.passes[key] { return known }
      if state.seen.contains(key) { return [] }
      if state.seen.count >= Self.keyLimit { state.seen = [] }
      state.seen.insert(key)
      return nil
    }
  }

  fileprivate func remember(_ pass: RecordedPass, key: UInt64) {
    state.withLock { state in
      if state.records + pass.recordCount > Self.recordLimit { Self.forget(&state) }
      if pass.recordCount > Self.recordLimit { return }
      state.passes[state.collides ? 0 : key, default: []].append(pass)
      state.records += pass.recordCount
    }
  }

  fileprivate func countReplay() { state.withLock { $0.replays += 1 } }

  private static func forget(_ state: inout State) {
    state.passes = [:]
    state.seen = []
    state.records = 0
  }

  // MARK: Counters and tests

  /// How many passes were copied since the process began.
  package var replays: Int { state.withLock { $0.replays } }
  /// Records that are remembered now.
  package var records: Int { state.withLock { $0.records } }

  package func removeAll() { state.withLock { Self.forget(&$0) } }

  /// Makes every key collide while `body` runs.
  package func withCollidingKeys<R>(_ body: () throws -> R) rethrows -> R {
    state.withLock { state in
      Self.forget(&state)
      state.collides = true
    }
    defer {
      state.withLock { state in
        Self.forget(&state)
        state.collides = false
      }
    }
    return try body()
  }
}

extension Tape {
  /// Records the backward pass of a handle's value, with ones for a seed, new gradients and a cleared
  /// graph: by `walk`, or as it was recorded before where nothing that a walk looks at is different.
  ///
  /// The caller holds the lock.
  /// - Complexity: about 3 ns for each record that is copied.
  package func recordPass<Failure>(
    of slot: SlotRef, _ walk: () throws(Failure) -> Void
  ) throws(Failure) {
    let start = state.pointee.windowStart
    let n = Int(state.pointee.count &- start)
    guard n >= RecordedPass.fewestRecords, n <= Tape.windowLimit, slot.pointee.isVariable,
      slot.pointee.node > start, !isWindowFull
    else {
      return try walk()
    }
    let head = slot.pointee.node &- 1 &- start
    let key = TapeHash.mix(state.pointee.hash ^ UInt64(head) << 32 ^ UInt64(n))
    guard let candidates = PassCache.shared.candidates(key) else { return try walk() }
    if let pass = candidates.first(where: { matches($0, head) }) {
      if n + pass.addedCount > Tape.windowLimit { return try walk() }
      PassCache.shared.countReplay()
      return replay(pass)
    }
    guard let observer = PassObserver(self, head: head) else { return try walk() }
    try walk()
    if let pass = observer.pass() { PassCache.shared.remember(pass, key: key) }
  }

  /// Compares the records themselves: a hash alone would be a wrong gradient waiting.
  private func matches(_ pass: RecordedPass, _ head: UInt32) -> Bool {
    let start = state.pointee.windowStart
    let first = nodes + Int(start)
    let n = Int(state.pointee.count &- start)
    guard pass.head == head, pass.hash == state.pointee.hash,
      pass.before.count == n * RecordedPass.wordsBefore
    else { return false }
    return pass.before.withUnsafeBufferPointer { before in
      var difference: UInt64 = 0
      var expected = before.baseAddress.unsafelyUnwrapped
      for i in 0..<n {
        let node = first + i
        difference |= (node.pointee.facts ^ expected[0]) | (node.pointee.first ^ expected[1])
        difference |= node.pointee.others ^ expected[2]
        difference |= (node.pointee.payload ^ expected[3]) & expected[4]
        difference |= node.pointee.names(from: start) ^ expected[5] | UInt64(node.pointee.adjoint)
        expected += RecordedPass.wordsBefore
      }
      return difference == 0
    }
  }

  private func replay(_ pass: RecordedPass) {
    let first = state.pointee.windowStart
    let start = state.pointee.count
    let added = UInt32(pass.addedCount)
    while state.pointee.capacity &- start < added { grow() }
    pass.added.withUnsafeBytes { records in
      UnsafeMutableRawPointer(nodes + Int(start)).copyMemory(
        from: records.baseAddress!, byteCount: records.count)
    }
    state.pointee.count = start &+ added
    state.pointee.dead += pass.dead
    state.pointee.hash = pass.hashAfter
    state.pointee.hasCleared = true
    state.pointee.clearing = start..<state.pointee.count
    pass.changes.withUnsafeBufferPointer { changes in
      for change in changes {
        let node = nodes + Int(first &+ change.id)
        node.pointee.uses &+= change.moreUses
        node.pointee.state = change.state
        if change.link != 0 { node.pointee.link = first &+ change.link }
        if change.memo != 0 { node.pointee.memo = first &+ change.memo }
      }
    }
    for result in pass.gradients {
      guard let slot = nodes[Int(first &+ result.node)].slot else { continue }
      dropGradient(slot)
      if result.gradient == Tape.none {
        slot.pointee.hasUnitGradient = true
      } else {
        setGradient(slot, first &+ result.gradient)
      }
    }
  }
}

/// Looks at a window before a pass and after it, and says what the pass did. Nothing is told by the walk
/// itself, so no rule can forget to.
private struct PassObserver: ~Copyable {
  private let tape: Tape
  private let head: UInt32
  private let window: Range<UInt32>
  private let hash: UInt64
  private let owners: Int
  private let events: Int
  private let readsPending: Bool
  private let before: UnsafeMutablePointer<Node>

  /// nil where the pass would depend on more than the window, or do more than write records.
  init?(_ tape: Tape, head: UInt32) {
    let window = tape.state.pointee.windowStart..<tape.state.pointee.count
    for id in window {
      let node = tape[id]
      // A custom rule runs the program's code; but from a view to the one that it was made of, a link
      // leads to an earlier window or is the end of a cleared graph.
      let runsCode = node.opcode == .attach && node.c != 0
      let isLinked = node.link != 0 && tape.viewParent(id).map { $0 < window.lowerBound } ?? true
      if runsCode || isLinked || node.adjoint != 0 { return nil }
      if node.state.contains(.evaluated) { return nil }
      if let slot = node.slot, slot.pointee.gradient != nil || slot.pointee.hasUnitGradient {
        return nil
      }
    }
    self.tape = tape
    self.head = head
    self.window = window
    hash = tape.state.pointee.hash
    owners = tape.state.pointee.owners.count
    events = tape.state.pointee.events.count
    readsPending = tape.state.pointee.readsPending
    before = .allocate(capacity: window.count)
    before.initialize(from: tape.nodes + Int(window.lowerBound), count: window.count)
  }

  deinit { before.deallocate() }

  /// What the pass did; nil where it was more than can be done again.
  func pass() -> RecordedPass? {
    let state = tape.state
    guard state.pointee.windowStart == window.lowerBound, state.pointee.owners.count == owners,
      state.pointee.events.count == events, state.pointee.readsPending == readsPending,
      var changes = changes(), let added = added(&changes)
    else { return nil }
    var words: [UInt64] = []
    words.reserveCapacity(window.count * RecordedPass.wordsBefore)
    for i in 0..<window.count {
      let node = before[i]
      let isStatic = Node.isPayloadStatic(node.opcode, node.traits)
      words += [
        node.facts, node.first, node.others, isStatic ? node.payload : 0, isStatic ? .max : 0,
        node.names(from: window.lowerBound),
      ]
    }
    return RecordedPass(
      head: head, hash: hash, before: words, changes: changes, added: added.words,
      dead: added.dead, hashAfter: state.pointee.hash, gradients: gradients())
  }

  private func changes() -> [RecordedPass.Change]? {
    var result: [RecordedPass.Change] = []
    for i in 0..<window.count {
      let (old, new) = (before[i], tape[window.lowerBound &+ UInt32(i)])
      guard old.head == new.head, old.first == new.first, old.others == new.others,
        old.payload == new.payload, old.storage?.toOpaque() == new.storage?.toOpaque(),
        old.slot == new.slot, new.adjoint == 0, new.uses >= old.uses,
        old.state.contains(.dead) == new.state.contains(.dead)
      else { return nil }
      if old.uses == new.uses, old.state == new.state, old.memo == new.memo, old.link == new.link {
        continue
      }
      result.append(
        RecordedPass.Change(
          id: UInt32(i), moreUses: new.uses &- old.uses,
          link: Node.relative(new.link, to: window.lowerBound),
          memo: Node.relative(new.memo, to: window.lowerBound), state: new.state))
    }
    return result
  }

  private func added(
    _ changes: inout [RecordedPass.Change]
  ) -> (words: [UInt64], dead: Int)? {
    var dead = 0
    var records: [Node] = []
    for id in window.upperBound..<tape.count {
      var node = tape[id]
      guard node.opcode != .leaf, node.storage == nil, node.link == 0, node.adjoint == 0
      else { return nil }
      if node.state.contains(.dead) { dead += 1 }
      if node.memo != 0 {
        changes.append(
          RecordedPass.Change(
            id: id &- window.lowerBound, moreUses: 0, link: 0,
            memo: Node.relative(node.memo, to: window.lowerBound), state: node.state))
      }
      // The gradients' handles are made anew.
      node.slot = nil
      records.append(node)
    }
    return (records.withUnsafeBytes { [UInt64]($0.bindMemory(to: UInt64.self)) }, dead)
  }

  private func gradients() -> [RecordedPass.Gradient] {
    window.compactMap { id in
      guard let slot = tape[id].slot else { return nil }
      let node = id &- window.lowerBound
      if slot.pointee.hasUnitGradient {
        return RecordedPass.Gradient(node: node, gradient: Tape.none)
      }
      guard let gradient = slot.pointee.gradient else { return nil }
      return RecordedPass.Gradient(
        node: node, gradient: gradient.pointee.node &- 1 &- window.lowerBound)
    }
  }
}

extension Node {
  /// An id + 1 as a distance from the window's start; 0 stays what it is.
  @inline(__always)
  fileprivate static func relative(_ id: UInt32, to start: UInt32) -> UInt32 {
    id == 0 ? 0 : id &- start
  }

  /// The records that a record names by their ids.
  @inline(__always)
  fileprivate func names(from start: UInt32) -> UInt64 {
    UInt64(Node.relative(memo, to: start)) | UInt64(Node.relative(link, to: start)) << 32
  }

  private static var heldBit: UInt64 { 1 << 23 }

  /// The part of the signature that says what is computed.
  fileprivate var head: UInt64 { Node.head(opcode, type, traits, shape) }

  /// All that a backward pass asks about a record beside its operands: the signature's head, the
  /// state, and, in the highest bit of the traits, whether somebody holds it.
  @inline(__always)
  fileprivate var facts: UInt64 {
    head | UInt64(state.rawValue) << 24 | (slot == nil ? 0 : Node.heldBit)
  }
  @inline(__always)
  fileprivate var first: UInt64 { UInt64(attribute) | UInt64(a) << 32 }
  @inline(__always)
  fileprivate var others: UInt64 { UInt64(b) | UInt64(c) << 32 }
}
