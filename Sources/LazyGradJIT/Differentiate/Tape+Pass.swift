// Recording what a pass over the graph records: by a walk, or by copying the last equal one.

/// What a pass gives.
package struct PassOutcome {
  package var remains: PassRemains
  /// New handles, nil for nothing.
  package var results: [SlotRef?]

  package init(_ remains: PassRemains = PassRemains(), results: [SlotRef?] = []) {
    self.remains = remains
    self.results = results
  }
}

extension Tape {
  /// Records the backward pass of a handle's value, with ones for a seed: by `walk`, or as it was recorded before
  /// where nothing that a walk looks at is different. Either way what remains is let go.
  ///
  /// The caller holds the lock.
  ///
  /// - Parameter question: What is asked for beside that; empty: new gradients for all handles, and a cleared
  ///   graph.
  /// - Returns: The handles that `walk` gives, or new ones in their place.
  /// - Complexity: about 3 ns for each record that is copied.
  package func recordPass<Failure>(
    of slot: SlotRef, _ question: PassQuestion = PassQuestion(),
    _ walk: () throws(Failure) -> PassOutcome
  ) throws(Failure) -> [SlotRef?] {
    let start = state.pointee.count
    let scope = slot.pointee.isVariable ? slot.node.flatMap { PassScope(self, head: $0) } : nil
    let (outcome, first) = try recorded(scope, question, walk)
    finishPass(outcome.remains, from: first, since: start)
    return outcome.results
  }

  /// Records what depends on nothing but the records of the window and on a question: by `walk`, or by copying.
  ///
  /// The caller holds the lock.
  package func recordWalk<Failure>(
    _ question: PassQuestion, _ walk: () throws(Failure) -> [SlotRef?]
  ) throws(Failure) -> [SlotRef?] {
    let scope = PassScope(self, head: state.pointee.count &- 1)
    return try recorded(scope, question) { () throws(Failure) in
      PassOutcome(results: try walk())
    }.outcome.results
  }

  /// - Returns: What has been recorded, and the record from which on ids in its remains count.
  private func recorded<Failure>(
    _ scope: PassScope?, _ question: PassQuestion, _ walk: () throws(Failure) -> PassOutcome
  ) throws(Failure) -> (outcome: PassOutcome, first: UInt32) {
    guard let scope else { return (try walk(), 0) }
    let key = scope.key(self, question)
    guard let candidates = PassCache.shared.candidates(key) else { return (try walk(), 0) }
    if let pass = candidates.first(where: { matches($0, scope, question) }),
      scope.count + pass.addedCount <= state.pointee.limits.windowRecords
    {
      state.pointee.counters.passesCopied += 1
      replay(pass, from: scope.first)
      // What is let go of a cleared graph depends on who reads it, which has not been compared.
      if pass.windowStart == 0, pass.remains.cleared.isEmpty {
        state.pointee.copied = CopiedRecords(
          pass: pass.number, count: state.pointee.count &- scope.first)
      }
      let results = pass.results.map { $0 == Tape.none ? nil : makeSlot(scope.first &+ $0) }
      return (PassOutcome(pass.remains, results: results), scope.first)
    }
    let isFull = candidates.count >= RecordedPass.mostWithOneKey
    guard !isFull, let observer = PassObserver(self, scope) else { return (try walk(), 0) }
    let outcome = try walk()
    if let pass = observer.pass(outcome, of: question) {
      PassCache.shared.remember(pass, key: key)
    } else {
      PassCache.shared.refuse(key: key)
    }
    return (outcome, 0)
  }

  /// How many passes were copied on this tape.
  package var passesCopied: Int { locked { state.pointee.counters.passesCopied } }

  /// Lets go of what remains of a pass that began when there were `start` records; its ids are relative
  /// to `first`.
  package func finishPass(_ remains: PassRemains, from first: UInt32 = 0, since start: UInt32) {
    releaseCleared(remains.cleared, from: first, since: start)
    // The gradients of tensors that are gone, such as a parameter's value before its last update:
    // left alone they would keep what they were to be computed from until the arena starts again.
    for id in remains.unread { freeUnread(first &+ id) }
  }

  /// Compares the records themselves: a hash alone would be a wrong gradient waiting.
  private func matches(
    _ pass: RecordedPass, _ scope: PassScope, _ question: PassQuestion
  ) -> Bool {
    let first = nodes + Int(scope.first)
    guard pass.head == scope.head, pass.hash == state.pointee.hash, pass.question == question,
      pass.windowStart == state.pointee.windowStart &- scope.first,
      pass.before.count == scope.count,
      // Passes under the guard and without it differ in every record.
      (first + Int(scope.head)).facts(from: scope.first) == pass.before[Int(scope.head)],
      pass.payloads.allSatisfy({ first[Int($0.id)].payloadBits == $0.value })
    else { return false }
    @inline(__always)
    func compared(from start: UInt32) -> SIMD4<UInt64> {
      pass.before.withUnsafeBufferPointer { before in
        var difference = SIMD4<UInt64>()
        for i in 0..<scope.count { difference |= (first + i).facts(from: start) ^ before[i] }
        return difference
      }
    }
    // In an arena that has just started again, names are what they are seen from the start.
    let difference = scope.first == 0 ? compared(from: 0) : compared(from: scope.first)
    return difference == SIMD4()
      && pass.imports.allSatisfy { isGiven(scope.first &+ $0.source) }
  }

  private func replay(_ pass: RecordedPass, from first: UInt32) {
    let start = state.pointee.count
    let added = UInt32(pass.addedCount)
    while state.pointee.capacity &- start < added { grow() }
    pass.added.withUnsafeBufferPointer { words in
      let copies = nodes + Int(start)
      for i in 0..<Int(added) {
        let k = i &* RecordedPass.wordsPerNode
        (copies + i).write(words[k], words[k &+ 1], words[k &+ 2], words[k &+ 3])
        copies[i].uses = UInt32(truncatingIfNeeded: words[k &+ 4])
      }
    }
    state.pointee.count = start &+ added
    state.pointee.hash = pass.hashAfter
    state.pointee.pendingBytes &+= pass.moreBytes
    if pass.clears { state.pointee.hasCleared = true }
    pass.changes.withUnsafeBufferPointer { changes in
      for change in changes {
        let node = nodes + Int(first &+ change.id)
        node.pointee.uses &+= change.moreUses
        node.pointee.state = change.state
        node.pointee.take(change.names, from: first)
      }
    }
    for number in pass.numbers {
      let (source, copy) = (first &+ number.source, first &+ number.copy)
      nodes[Int(copy)].numberBits = nodes[Int(source)].numberBits
      state.pointee.copiedNumbers.append((source: source, copy: copy))
    }
    for leaf in pass.imports {
      let source = first &+ leaf.source
      nodes[Int(first &+ leaf.copy)].imported = source
      state.pointee.lowestImport = min(state.pointee.lowestImport, source)
      bindImport(first &+ leaf.copy)
    }
    for result in pass.gradients {
      guard let slot = nodes[Int(first &+ result.node)].slot else { continue }
      dropGradient(slot)
      if result.gradient == Tape.none {
        slot.hasUnitGradient = true
      } else {
        setGradient(slot, first &+ result.gradient)
      }
    }
  }
}

/// The records that a pass may look at: those of all windows from the first one on that holds the head
/// or something that is reached from there.
struct PassScope {
  let first: UInt32
  let count: Int
  /// Relative to `first`.
  let head: UInt32
  /// How many earlier windows there are from `first` on.
  private let earlierWindows: Int

  /// nil where a pass is not worth remembering, or looks at too much.
  init?(_ tape: Tape, head: UInt32) {
    if tape.isWindowFull { return nil }
    let state = tape.state
    var first = state.pointee.windowStart
    var lowest = min(head, state.pointee.lowestImport)
    var windows = 0
    while lowest < first {
      guard windows < min(RecordedPass.mostWindows, state.pointee.earlier.count) else { return nil }
      windows += 1
      let window = state.pointee.earlier[state.pointee.earlier.count - windows]
      first = window.start
      lowest = min(lowest, window.lowestImport)
    }
    let count = Int(state.pointee.count &- first)
    let limits = state.pointee.limits
    if count < limits.passRecords || count > limits.windowRecords { return nil }
    self.first = first
    self.count = count
    self.head = head &- first
    earlierWindows = windows
  }

  /// What a pass over these records is found by.
  func key(_ tape: Tape, _ question: PassQuestion) -> UInt64 {
    let earlier = tape.state.pointee.earlier
    var hash = tape.state.pointee.hash
    for i in (earlier.count - earlierWindows)..<earlier.count {
      hash = TapeHash.mix(hash ^ earlier[i].hash)
    }
    for word in question.words { hash = TapeHash.mix(hash ^ word) }
    return TapeHash.mix(hash ^ UInt64(head) << 32 ^ UInt64(count))
  }
}

extension UnsafeMutablePointer<Node> {
  /// All that a backward pass asks about a record: its signature and state, in the highest bit of the
  /// traits whether somebody holds it, and, in the place of the payload, which records it names.
  @inline(__always)
  func facts(from start: UInt32) -> SIMD4<UInt64> {
    let names = pointee.names(from: start)
    let held: UInt64 = pointee.slot == nil ? 0 : 1 << 23
    return wordsWithState | SIMD4(held, 0, 0, UInt64(names.memo) | UInt64(names.link) << 32)
  }
}
