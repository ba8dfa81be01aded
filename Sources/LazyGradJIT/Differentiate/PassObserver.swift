// What a pass over the graph did to the records that it went over, found out by looking at them before it
// and after it.

/// Looks at the records before a pass and after it, and says what the pass did. Nothing is told by the
/// derivative rules themselves, so none of them can forget to.
struct PassObserver: ~Copyable {
  private let tape: Tape
  private let scope: PassScope
  private let windowStart: UInt32
  private let hash: UInt64
  private let owners: Int
  private let copiedNumbers: Int
  private let readsPending: Bool
  private let pendingBytes: Int
  private let before: UnsafeMutablePointer<Node>

  /// nil where the pass would depend on more than these records, or do more than write new ones.
  init?(_ tape: Tape, _ scope: PassScope) {
    for id in scope.first..<tape.count {
      let node = tape[id]
      // A custom rule runs the program's code, that of a routine on matrices makes handles; and a link to a record before these, or to the end of a
      // cleared graph, leads a pass elsewhere.
      let runsCode = node.opcode == .attach && node.c != 0 || node.opcode == .matrix
      if runsCode { return nil }
      if node.isLinked {
        let source = node.opcode == .leaf ? tape.importedNode(id) : tape.viewParent(id)
        guard let source, source >= scope.first else { return nil }
      }
      if node.state.contains(.dead) { continue }
      if let slot = node.slot, slot.pointee.gradient != nil || slot.hasUnitGradient {
        return nil
      }
    }
    let state = tape.state
    self.tape = tape
    self.scope = scope
    windowStart = state.pointee.windowStart
    hash = state.pointee.hash
    owners = state.pointee.owners.count
    copiedNumbers = state.pointee.copiedNumbers.count
    readsPending = state.pointee.readsPending
    pendingBytes = state.pointee.pendingBytes
    before = Tape.makeArena(scope.count)
    before.initialize(from: tape.nodes + Int(scope.first), count: scope.count)
  }

  deinit { UnsafeMutableRawPointer(before).deallocate() }

  /// What the pass did; nil where it was more than can be done again. Its remains are still there.
  func pass(_ outcome: PassOutcome, of question: PassQuestion) -> RecordedPass? {
    let state = tape.state
    guard state.pointee.windowStart == windowStart,
      state.pointee.readsPending == readsPending, var changes = changes(),
      let added = added(&changes),
      let numbers = numbers(), let remains = relative(outcome.remains),
      let results = relative(outcome.results),
      state.pointee.owners.count == owners + added.imports.count
    else { return nil }
    let payloads = (0..<scope.count)
      .filter {
        before[$0].isPayloadDifferentiated || question.readsPayloads && before[$0].isPayloadOwn
      }
      .map { (id: UInt32($0), value: before[$0].payloadBits) }
    return RecordedPass(
      head: scope.head, windowStart: windowStart &- scope.first, hash: hash,
      before: (0..<scope.count).map { (before + $0).facts(from: scope.first) },
      payloads: payloads, changes: changes, added: added.words, imports: added.imports,
      numbers: numbers, hashAfter: state.pointee.hash, gradients: gradients(), remains: remains,
      question: question, results: results, clears: state.pointee.hasCleared,
      moreBytes: state.pointee.pendingBytes - pendingBytes)
  }

  private func changes() -> [RecordedPass.Change]? {
    let first = tape.nodes + Int(scope.first)
    var result: [RecordedPass.Change] = []
    for i in 0..<scope.count {
      let (old, new) = (before[i], first[i])
      guard (before + i).signature == (first + i).signature, old.payloadBits == new.payloadBits,
        old.storage?.toOpaque() == new.storage?.toOpaque(), old.slot == new.slot,
        new.uses >= old.uses,
        old.state.contains(.dead) == new.state.contains(.dead)
      else { return nil }
      if old.uses == new.uses, old.state == new.state, new.namesTheSame(as: old) {
        continue
      }
      result.append(
        RecordedPass.Change(
          id: UInt32(i), moreUses: new.uses &- old.uses, names: new.names(from: scope.first),
          state: new.state))
    }
    return result
  }

  /// The new records as they are before they get memory and handles of their own.
  private func added(
    _ changes: inout [RecordedPass.Change]
  ) -> (words: [UInt64], imports: [RecordedPass.Source])? {
    var imports: [RecordedPass.Source] = []
    var words: [UInt64] = []
    for id in (scope.first &+ UInt32(scope.count))..<tape.count {
      var node = tape[id]
      if node.state.contains(.dead) { return nil }
      if node.opcode == .leaf {
        guard let source = tape.importedNode(id), source >= scope.first, source < windowStart,
          node.slot == nil, node.state == .owns
        else { return nil }
        imports.append(
          RecordedPass.Source(copy: id &- scope.first, source: source &- scope.first))
        node.unbindImport()
      }
      guard node.storage == nil, !node.isLinked else { return nil }
      if node.remembered != nil {
        changes.append(
          RecordedPass.Change(
            id: id &- scope.first, moreUses: 0, names: node.names(from: scope.first),
            state: node.state))
      }
      withUnsafeBytes(of: node) {
        for k in 0..<4 { words.append($0.load(fromByteOffset: 8 * k, as: UInt64.self)) }
      }
      words.append(UInt64(node.uses))
    }
    return (words, imports)
  }

  private func numbers() -> [RecordedPass.Source]? {
    let copies = tape.state.pointee.copiedNumbers
    var result: [RecordedPass.Source] = []
    for i in copiedNumbers..<copies.count {
      let (source, copy) = copies[i]
      if source < scope.first { return nil }
      result.append(
        RecordedPass.Source(copy: copy &- scope.first, source: source &- scope.first))
    }
    return result
  }

  private func gradients() -> [RecordedPass.Gradient] {
    (0..<UInt32(scope.count)).compactMap { node in
      let id = scope.first &+ node
      guard !tape[id].state.contains(.dead), let slot = tape[id].slot else { return nil }
      if slot.hasUnitGradient {
        return RecordedPass.Gradient(node: node, gradient: Tape.none)
      }
      guard let gradient = slot.pointee.gradient else { return nil }
      return RecordedPass.Gradient(
        node: node, gradient: (gradient.node ?? Tape.none) &- scope.first)
    }
  }

  private func relative(_ results: [SlotRef?]) -> [UInt32]? {
    var ids: [UInt32] = []
    for slot in results {
      guard let slot else {
        ids.append(Tape.none)
        continue
      }
      // Of the records before, none gets a handle again.
      guard let id = slot.node, id >= scope.first &+ UInt32(scope.count) else { return nil }
      ids.append(id &- scope.first)
    }
    return ids
  }

  private func relative(_ remains: PassRemains) -> PassRemains? {
    if remains.cleared.contains(where: { $0 < scope.first }) { return nil }
    var result = PassRemains()
    result.cleared = remains.cleared.map { $0 &- scope.first }
    result.unread = remains.unread.map { $0 &- scope.first }
    return result
  }
}

extension Node {
  /// Whether a derivative rule may write the payload into a record of its own. Of a variable in memory
  /// the rule of a view asks which part it shows, though to the plan that is bound when it runs.
  fileprivate var isPayloadDifferentiated: Bool {
    Node.isPayloadStatic(opcode, traits) || (opcode == .view && traits.contains(.variable))
  }

  /// Whether the payload belongs to the operation: it is no number, and not where a value lies.
  fileprivate var isPayloadOwn: Bool { opcode != .scalar && opcode != .leaf && storage == nil }
}
