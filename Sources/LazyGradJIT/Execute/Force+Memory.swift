// Memory for the results of a force: new blocks, or that of an old value which nothing needs any more.

/// The work of one force, whichever way it was found.
struct Work {
  let nodes: PlanNodes
  /// What the ids are relative to.
  let base: UInt32
  /// Leaf records that stand for nodes of the cone, newest first.
  var imports: [UInt32] = []

  var plan: Plan { nodes.plan }
  var leaves: [UInt32] { nodes.leaves }
  var scalars: [UInt32] { nodes.scalars }
  var roots: [UInt32] { nodes.roots }
  var cone: [UInt32] { nodes.cone }
  var held: [UInt32] { nodes.held }
}

extension Tape {
  /// Finds memory for the roots and notes in the binding where it is. What the user holds gets memory
  /// of its own, or that of the value which it takes the place of; values that are only kept for the
  /// backward pass share one block, which lives as long as they do together.
  ///
  /// - Parameter aliased: The records whose values handles show through aliases.
  func makeOutputs(
    _ work: Work, _ takeovers: [Takeover], aliased: [UInt32], _ binding: PlanRunner.Binding
  ) throws(StorageError) {
    let spares = state.pointee.spares
    let outputs = binding.outputs
    let addresses = binding.bases + (1 + work.leaves.count)
    var shared = 0
    func isPacked(_ id: UInt32) -> Bool { self.isPacked(id) && !aliased.contains(id) }
    for (i, root) in work.roots.enumerated() where isPacked(work.base &+ root) {
      shared += ArenaAllocator.rounded(work.plan.outputs[i].byteCount)
    }
    let block = shared > 0 ? try spares.take(shared) : nil
    defer { if let block { give(block) } }
    var offset = 0
    for (i, root) in work.roots.enumerated() {
      let bytes = work.plan.outputs[i].byteCount
      if !takeovers.isEmpty, let takeover = takeovers.first(where: { $0.update.output == i }) {
        outputs[i] = PlanRunner.OutputMemory(storage: takeover.storage.retain(), byteOffset: 0)
      } else if isPacked(work.base &+ root) {
        outputs[i] = PlanRunner.OutputMemory(storage: block!.retain(), byteOffset: offset)
        offset += ArenaAllocator.rounded(bytes)
      } else {
        do throws(StorageError) {
          outputs[i] = PlanRunner.OutputMemory(storage: try spares.take(bytes), byteOffset: 0)
        } catch {
          for k in 0..<i { give(outputs[k].storage) }
          throw error
        }
      }
      addresses[i] =
        outputs[i].storage._withUnsafeGuaranteedRef { $0.pointer } + outputs[i].byteOffset
    }
  }

  /// The values that handles show through aliases: an array over such a value must not share the
  /// locks of others.
  func aliasedByHandles(_ work: Work) -> [UInt32] {
    var result: [UInt32] = []
    for relative in work.held {
      var id = work.base &+ relative
      if nodes[Int(id)].opcode == .view, hasOperands(id) { id = a(id) }
      // Also through a view of another alias: a custom operation whose value is that of one.
      var isAliased = false
      walk: while hasOperands(id), nodes[Int(id)].storage == nil {
        switch nodes[Int(id)].opcode {
        case .attach:
          id = b(id)
          isAliased = true
        case .view where isAliased: id = a(id)
        default: break walk
        }
      }
      if isAliased { result.append(id) }
    }
    return result
  }

  /// Whether a result shares a block with others: nobody holds it, and its record has room for the
  /// place. In the middle of a pass none does: what the pass has gathered gets handles at its end, and an
  /// array over one must not have the locks of others.
  @inline(__always)
  private func isPacked(_ id: UInt32) -> Bool {
    nodes[Int(id)].slot == nil && state.pointee.suspendedPasses == 0
      && !Node.keepsPayload(nodes[Int(id)].opcode)
  }
}

// MARK: - Taking over

/// A result that is computed in the memory of an old value.
struct Takeover {
  let update: Plan.Update
  /// The memory.
  let storage: Unmanaged<Storage>
  /// The records that hold the old value; nothing asks them for it any more.
  let owners: [UInt32]
}

extension Tape {
  /// The plan's updates whose old value ends with this force, so that they need not copy it or take
  /// memory of their own.
  ///
  /// The old value is known by the records over its memory that the force leads to: leaf records, the
  /// node that those stand for, views. Nothing else may know it, and nobody may read it later:
  ///
  /// 1. The records have no handles, and only each other and nodes that this force computes as
  ///    readers, none of which passes the memory itself on.
  /// 2. No derivative rule of theirs will read the value. (What was not kept would be computed again
  ///    from it, but rules read only what they declare, and nothing else can come by later.)
  /// 3. The storage has no owner but these records: no host array, no other tape, no handle.
  /// 4. The plan reads the memory, under whichever leaf, before the update only.
  /// 5. No other plan of this tape runs; none begins, because the tape stays locked until the update
  ///    is done.
  ///
  /// A loop takes over what is large: a small block that a tape has let go is at hand, and still in the
  /// caches. And it does so where no graph is kept of who reads the old value: what such a reader gave and
  /// was not kept is computed again for a rule that is given more operands than it reads.
  ///
  /// - Parameter aliased: The records whose values handles show through aliases.
  /// - Complexity: O(n log v) for n nodes that are computed and v values that may be replaced.
  func findTakeovers(_ work: Work, aliased: [UInt32]) -> [Takeover] {
    if state.pointee.inFlight != 0 { return [] }
    let updates = work.plan.updates
    var values: [OldValue] = []
    var isKnown = [Bool](repeating: false, count: work.leaves.count)
    for i in 0..<updates.count {
      let update = updates[i]
      if isKnown[update.leaf] || !isWorthwhile(update) { continue }
      isKnown[update.leaf] = true
      let leaf = work.base &+ work.leaves[update.leaf]
      let value = self.value(of: leaf)
      let fits = value.storage._withUnsafeGuaranteedRef {
        $0.byteCount == update.byteCount && $0.attachment == nil
      }
      if fits, value.offset == 0, nodes[Int(leaf)].slot == nil {
        values.append(OldValue(update: update, storage: value.storage))
      }
    }
    if values.isEmpty { return [] }
    values.sort { $0.address < $1.address }
    noteLeaves(work, &values)
    for relative in work.cone { noteOperands(work.base &+ relative, &values) }

    var valueOf = [Int](repeating: -1, count: work.leaves.count)
    for k in values.indices where isLetGo(values[k]) { valueOf[values[k].update.leaf] = k }
    var isTaken = [Bool](repeating: false, count: work.plan.outputs.count)
    var takeovers: [Takeover] = []
    for i in 0..<updates.count where isWorthwhile(updates[i]) {
      let k = valueOf[updates[i].leaf]
      let id = work.base &+ work.roots[updates[i].output]
      let root = nodes[Int(id)]
      let isHeld = root.slot != nil || Node.hasRegion(root.opcode) || aliased.contains(id)
      if k < 0 || isTaken[updates[i].output] || !isHeld { continue }
      if updates[i].isLoop, values[k].hasGraph { continue }
      isTaken[updates[i].output] = true
      valueOf[updates[i].leaf] = -1
      takeovers.append(
        Takeover(update: updates[i], storage: values[k].storage, owners: owners(values[k])))
    }
    return takeovers
  }

  private func isWorthwhile(_ update: Plan.Update) -> Bool {
    !update.isLoop || update.byteCount >= state.pointee.limits.replacedBytes
  }

  /// What is known of a value that may be replaced.
  private struct OldValue {
    /// One of those that would replace it: all are in one step.
    let update: Plan.Update
    let storage: Unmanaged<Storage>
    /// The records over its memory, and how often they are named by each other and by what is computed.
    var records: [(id: UInt32, uses: UInt32)] = []
    var isReplaceable = true
    /// Whether a graph is kept of a node that reads it.
    var hasGraph = false

    var address: UnsafeMutableRawPointer { storage.toOpaque() }
  }

  /// The values in some memory: one, or those of several leaves over it.
  private func values(
    in storage: Unmanaged<Storage>, _ values: [OldValue]
  ) -> Range<Int> {
    let address = storage.toOpaque()
    var (low, high) = (0, values.count)
    while low < high {
      let mid = (low + high) / 2
      if values[mid].address < address { low = mid + 1 } else { high = mid }
    }
    var end = low
    while end < values.count, values[end].address == address { end += 1 }
    return low..<end
  }

  /// Whether a plan reads some memory, under whichever leaf, only before an update of it.
  private func noteLeaves(_ work: Work, _ values: inout [OldValue]) {
    for (i, leaf) in work.leaves.enumerated() {
      let storage = value(of: work.base &+ leaf).storage
      for k in self.values(in: storage, values)
      where i != values[k].update.leaf
        && work.plan.lastReads[i] >= Int32(values[k].update.step)
      {
        values[k].isReplaceable = false
      }
    }
  }

  /// Notes what of the old values a node that is computed reads.
  private func noteOperands(_ id: UInt32, _ values: inout [OldValue]) {
    // A view of a value in memory is a record over that, noted by its readers.
    if nodes[Int(id)].opcode == .view, isGiven(id) { return }
    func note(_ operand: UInt32, _ need: Needs) {
      if operand == id { return }
      let source = nodes[Int(operand)].opcode == .view ? a(operand) : operand
      guard let storage = nodes[Int(source)].storage else { return }
      for k in self.values(in: storage, values) {
        noteRecord(operand, &values[k])
        if nodes[Int(id)].state.contains(.tracked) { values[k].hasGraph = true }
        if nodes[Int(id)].opcode == .attach || needsLater(id).contains(need) {
          values[k].isReplaceable = false
        }
      }
    }
    note(a(id), .a)
    note(b(id), .b)
    note(c(id), .c)
  }

  /// Notes one more name for a record, and what that record itself names when it is first seen.
  private func noteRecord(_ first: UInt32, _ value: inout OldValue) {
    var next: UInt32? = first
    while let id = next {
      if let k = value.records.firstIndex(where: { $0.id == id }) {
        value.records[k].uses += 1
        return
      }
      value.records.append((id, 1))
      let isView = nodes[Int(id)].opcode == .view && hasOperands(id)
      next = isView ? a(id) : importedNode(id)
    }
  }

  /// Whether nothing but what has been noted leads to a value, and it is not needed.
  private func isLetGo(_ value: OldValue) -> Bool {
    value.isReplaceable && value.records.allSatisfy { isLetGo($0, value) }
      && Tape.isOwned(value.storage, by: owners(value).count)
  }

  /// The records that own a value.
  private func owners(_ value: OldValue) -> [UInt32] {
    value.records.map(\.id).filter { nodes[Int($0)].state.contains(.owns) }
  }

  private func isLetGo(_ record: (id: UInt32, uses: UInt32), _ value: OldValue) -> Bool {
    let node = nodes[Int(record.id)]
    if node.slot != nil || node.uses != record.uses { return false }
    if node.opcode == .view { return true }
    return node.storage?.toOpaque() == value.storage.toOpaque()
      && !needsLater(record.id).contains(.output)
  }

  /// Whether a storage has exactly some number of owners.
  private static func isOwned(_ storage: Unmanaged<Storage>, by count: Int) -> Bool {
    if count == 0 { return false }
    // All but one let go for a moment; the tape is locked, so nobody sees it.
    for _ in 1..<count { storage.release() }
    var owner = storage.takeRetainedValue()
    let isOwned = isKnownUniquelyReferenced(&owner)
    for _ in 0..<count { _ = Unmanaged.passRetained(owner) }
    return isOwned
  }
}
