// What must be true of a tape whenever nobody is inside it, said once. Tests ask after every step of a
// program; nothing else does.

extension Tape {
  /// Looks at everything that a tape's records, handles and lists say of each other.
  ///
  /// - Returns: What is wrong; nil where nothing is, and where kernels or a pass are in the middle of their
  ///   work, for which records have more uses than their readers.
  /// - Complexity: O(records).
  package func brokenInvariant() -> String? {
    locked {
      if state.pointee.inFlight != 0 { return nil }
      if state.pointee.windowStart > count || count > state.pointee.capacity {
        return
          "window \(state.pointee.windowStart), count \(count), capacity \(state.pointee.capacity)"
      }
      if state.pointee.copied.count > count - state.pointee.windowStart {
        return "\(state.pointee.copied.count) copied records in a window of fewer"
      }
      return brokenRecord() ?? brokenCount() ?? brokenHandle() ?? brokenOwner() ?? brokenRest()
    }
  }

  private var ids: Range<UInt32> { 0..<count }
  private var live: [UInt32] { ids.filter { !nodes[Int($0)].state.contains(.dead) } }
  private func operands(_ id: UInt32) -> [UInt32] {
    [a(id), b(id), c(id)].filter { $0 != id }
  }
  private func text(_ id: UInt32) -> String {
    let node = nodes[Int(id)]
    return "record \(id) (\(node.opcode.info.name), state \(node.state.rawValue))"
  }

  /// What a record says by itself and of its operands.
  private func brokenRecord() -> String? {
    var windows = (0..<state.pointee.earlier.count).map { state.pointee.earlier[$0].start }
    windows.append(state.pointee.windowStart)
    var (window, start) = (0, UInt32(0))
    for id in ids {
      while window < windows.count, windows[window] <= id {
        start = windows[window]
        window += 1
      }
      let node = nodes[Int(id)]
      if (node.b != 0 && node.a == 0) || (node.c != 0 && node.b == 0) {
        return "\(text(id)) has a later operand and no earlier one"
      }
      if node.state.contains(.dead) {
        if node.a != 0 || node.storage != nil { return "\(text(id)) keeps something" }
        continue
      }
      let isHalf = node.type.isHalf || operands(id).contains { nodes[Int($0)].type.isHalf }
      if isHalf, !node.opcode.info.takesHalves { return "\(text(id)) computes in 16 bits" }
      for distance in [node.a, node.b, node.c] where distance != 0 {
        if distance > id || id - distance < start {
          return "\(text(id)) in the window from \(start) reaches back by \(distance)"
        }
        if nodes[Int(id - distance)].state.contains(.dead) {
          return "\(text(id)) reads \(text(id - distance))"
        }
      }
      if node.state.contains(.tracked), node.state.contains(.cleared) {
        return "\(text(id)) is tracked and cleared"
      }
      if node.state.contains(.resumable), !node.state.contains(.cleared) {
        return "\(text(id)) is resumable and not cleared"
      }
      if node.state.contains(.cleared), !state.pointee.hasCleared {
        return "\(text(id)) is cleared, the tape says that none is"
      }
      let mayLink = node.opcode == .leaf || node.opcode == .view || node.state.contains(.cleared)
      if node.isLinked, !mayLink { return "\(text(id)) has a link that means nothing" }
      if let source = importedNode(id) {
        if source >= id { return "\(text(id)) stands for the later \(source)" }
        if node.storage != nil, !isGiven(source) { return "\(text(id)) has the value of none" }
        if id >= state.pointee.windowStart, source < state.pointee.lowestImport {
          return "\(text(id)) stands for \(source), before the lowest of the window"
        }
      } else if node.opcode == .leaf, node.storage == nil, node.slot != nil {
        // Without a handle the memory may have been taken over by an update.
        return "\(text(id)) has no memory"
      }
    }
    return nil
  }

  /// Uses are the live readers of a live record, and the leaf records that stand for it.
  private func brokenCount() -> String? {
    var uses = [UInt32](repeating: 0, count: Int(count))
    var (dead, held) = (Int(count), 0)
    for id in live {
      dead -= 1
      for operand in operands(id) { uses[Int(operand)] += 1 }
      if let source = importedNode(id) { uses[Int(source)] += 1 }
      if let slot = nodes[Int(id)].slot, slot.node != nil { held += 1 }
    }
    for id in live where nodes[Int(id)].uses != uses[Int(id)] {
      return "\(text(id)) has \(uses[Int(id)]) readers and counts \(nodes[Int(id)].uses)"
    }
    if dead != state.pointee.dead {
      return "\(dead) records are dead, \(state.pointee.dead) counted"
    }
    if held != state.pointee.heldNodes {
      return "\(held) records are held, \(state.pointee.heldNodes) counted"
    }
    return nil
  }

  /// A record and its handle name each other, on one tape.
  private func brokenHandle() -> String? {
    for id in live {
      let node = nodes[Int(id)]
      guard let slot = node.slot else { continue }
      let handle = slot.pointee
      if handle.tape != self { return "the handle of \(text(id)) is on another tape" }
      let named = slot.node ?? slot.leaf
      if named != id || (slot.node == nil && node.opcode != .leaf) {
        return "the handle of \(text(id)) names \(named.map { text($0) } ?? "none")"
      }
      if handle.shape != node.shape || handle.type != node.type {
        return "the handle of \(text(id)) has another shape or type"
      }
      if slot.node == nil, handle.storage?.toOpaque() != node.storage?.toOpaque() {
        return "the handle of \(text(id)) is of other memory"
      }
      if let gradient = handle.gradient,
        gradient.pointee.owner != slot || gradient.pointee.tape != self
      {
        return "the gradient of the handle of \(text(id)) is another's"
      }
      if slot.node != nil, id < state.pointee.firstPending, node.opcode != .leaf, !isGiven(id) {
        return "\(text(id)) is pending, before the first that is said to be"
      }
    }
    return nil
  }

  /// Whatever owns memory or counts as its reader is in the list by which an arena is given up, and
  /// storages count their readers.
  private func brokenOwner() -> String? {
    var listed: Set<UInt32> = []
    for i in 0..<state.pointee.owners.count { listed.insert(state.pointee.owners[i]) }
    var readers: [UnsafeMutableRawPointer: Int] = [:]
    for id in live {
      let node = nodes[Int(id)]
      guard let storage = node.storage else { continue }
      let isReader = node.opcode == .leaf || node.state.contains(.handedOut)
      if isReader || node.state.contains(.owns), !listed.contains(id) {
        return "\(text(id)) is in no list of owners"
      }
      if node.opcode != .leaf, !node.state.contains(.owns) {
        return "\(text(id)) borrows its value"
      }
      if isReader { readers[storage.toOpaque(), default: 0] += 1 }
    }
    for (storage, count) in readers {
      let storage = Unmanaged<Storage>.fromOpaque(storage).takeUnretainedValue()
      let isHome = storage.home.load(ordering: .relaxed) == UInt(bitPattern: state)
      let counted =
        isHome
        ? storage.homeRecords.load(ordering: .relaxed)
        : storage.foreignRecords.load(ordering: .relaxed)
      if isHome ? counted != count : counted < count {
        return "\(count) records read a block of memory that counts \(counted)"
      }
    }
    return nil
  }

  /// What passes and cuts use is as they must find it.
  private func brokenRest() -> String? {
    if state.pointee.work.count != 0 { return "records wait to be freed" }
    if state.pointee.suspendedPasses != 0 { return "a pass is suspended, and nothing in flight" }
    for id in ids where state.pointee.marks.isMarked(id) { return "\(text(id)) is still marked" }
    for i in 0..<state.pointee.idlePasses.count {
      let fields = state.pointee.idlePasses[i].fields
      if fields.pointee.reached.count != 0 || fields.pointee.lowest != .max {
        return "a pass that is over has reached something"
      }
      for id in ids where fields.pointee.adjoints.isMarked(id) {
        return "a pass that is over has a gradient for \(text(id))"
      }
    }
    return nil
  }
}
