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
  /// All that a pass asks about the records before it, and the payloads that count.
  let before: [SIMD4<UInt64>]
  let payloads: [(id: UInt32, value: UInt64)]
  let changes: [Change]
  /// The records that the pass wrote, whole, and how many of them are dead.
  let added: [UInt64]
  let dead: Int
  let hashAfter: UInt64
  let gradients: [Gradient]

  static var wordsPerNode: Int { MemoryLayout<Node>.stride / MemoryLayout<UInt64>.stride }
  /// Shorter windows are differentiated sooner than looked up.
  static var fewestRecords: Int { 8 }
  /// Most passes with one key: windows that differ only in what the key leaves out, such as which row of
  /// a variable they read, are compared one after the other.
  static var mostWithOneKey: Int { 8 }

  var addedCount: Int { added.count / RecordedPass.wordsPerNode }
  /// Records remembered in all.
  var recordCount: Int { before.count + addedCount }

  init(
    head: UInt32, hash: UInt64, before: [SIMD4<UInt64>],
    payloads: [(id: UInt32, value: UInt64)], changes: [Change], added: [UInt64], dead: Int,
    hashAfter: UInt64, gradients: [Gradient]
  ) {
    self.head = head
    self.hash = hash
    self.before = before
    self.payloads = payloads
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
    guard candidates.count < RecordedPass.mostWithOneKey,
      let observer = PassObserver(self, head: head)
    else {
      return try walk()
    }
    try walk()
    if let pass = observer.pass() { PassCache.shared.remember(pass, key: key) }
  }

  /// Compares the records themselves: a hash alone would be a wrong gradient waiting.
  private func matches(_ pass: RecordedPass, _ head: UInt32) -> Bool {
    let start = state.pointee.windowStart
    let first = nodes + Int(start)
    let n = Int(state.pointee.count &- start)
    guard pass.head == head, pass.hash == state.pointee.hash, pass.before.count == n,
      pass.payloads.allSatisfy({ first[Int($0.id)].payload == $0.value })
    else {
      return false
    }
    var difference = SIMD4<UInt64>()
    var adjoints: UInt32 = 0
    pass.before.withUnsafeBufferPointer { before in
      for i in 0..<n {
        difference |= (first + i).facts(from: start) ^ before[i]
        adjoints |= first[i].adjoint
      }
    }
    return difference == SIMD4() && adjoints == 0
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
    before = Tape.makeArena(window.count)
    before.initialize(from: tape.nodes + Int(window.lowerBound), count: window.count)
  }

  deinit { UnsafeMutableRawPointer(before).deallocate() }

  /// What the pass did; nil where it was more than can be done again.
  func pass() -> RecordedPass? {
    let state = tape.state
    guard state.pointee.windowStart == window.lowerBound, state.pointee.owners.count == owners,
      state.pointee.events.count == events, state.pointee.readsPending == readsPending,
      var changes = changes(), let added = added(&changes)
    else { return nil }
    let payloads = (0..<window.count)
      .filter { before[$0].isPayloadDifferentiated }
      .map { (id: UInt32($0), value: before[$0].payload) }
    return RecordedPass(
      head: head, hash: hash,
      before: (0..<window.count).map { (before + $0).facts(from: window.lowerBound) },
      payloads: payloads, changes: changes, added: added.words, dead: added.dead,
      hashAfter: state.pointee.hash, gradients: gradients())
  }

  private func changes() -> [RecordedPass.Change]? {
    var result: [RecordedPass.Change] = []
    for i in 0..<window.count {
      let (old, new) = (before[i], tape[window.lowerBound &+ UInt32(i)])
      let isSame =
        (before + i).signature == (tape.nodes + Int(window.lowerBound) + i).signature
      guard isSame, old.payload == new.payload, old.storage?.toOpaque() == new.storage?.toOpaque(),
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
  /// Whether a derivative rule may write the payload into a record of its own. Of a variable in memory
  /// the rule of a view asks which part it shows, though to the plan that is bound when it runs.
  fileprivate var isPayloadDifferentiated: Bool {
    Node.isPayloadStatic(opcode, traits) || (opcode == .view && traits.contains(.variable))
  }

  /// An id + 1 as a distance from the window's start; 0 stays what it is. All that lies before the window
  /// is one and the same, but not that.
  @inline(__always)
  fileprivate static func relative(_ id: UInt32, to start: UInt32) -> UInt32 {
    id == 0 ? 0 : id > start ? id &- start : .max
  }
}

extension UnsafeMutablePointer<Node> {
  /// All that a backward pass asks about a record: its signature and state, in the highest bit of the
  /// traits whether somebody holds it, and, in the place of the payload, which records it names.
  @inline(__always)
  fileprivate func facts(from start: UInt32) -> SIMD4<UInt64> {
    let memo = Node.relative(pointee.memo, to: start)
    let link = Node.relative(pointee.link, to: start)
    let held: UInt64 = pointee.slot == nil ? 0 : 1 << 23
    return wordsWithState | SIMD4(held, 0, 0, UInt64(memo) | UInt64(link) << 32)
  }
}
