// The memory guard: a pass over the records of a tape that says which leaf buffers are immutable, and for
// whom. Nothing is marked while operations are recorded: a storage counts the records that read it, and what
// locks it is found when somebody asks, which only a host write or a question about writability does. So an
// array is locked by its name standing in a live record, and unlocked by that record's end; no other place
// knows of locks. The library's side is its folder Guard. Uses the tape.

/// The questions that the guard answers about a storage.
package enum MemoryGuard {
  /// The names of the live guarded operations that read or produced a storage, in order.
  ///
  /// - Complexity: two loads where no operation has read the storage since the last reset; else
  ///   O(live records) of the tapes that read it.
  package static func lockHolders(of storage: Storage) -> [String] {
    tapesThatRead(storage).flatMap { tape in
      tape.lock()
      return tape.withSettled { tape.lockHolders(of: storage) }
    }
  }

  /// The tapes with records over a storage: usually the one that read it first, and no other thread is
  /// kept waiting.
  static func tapesThatRead(_ storage: Storage) -> [Tape] {
    if storage.hasForeignReaders { return Tape.all }
    return storage.homeReader.map { [Tape(state: UnsafeMutablePointer(bitPattern: $0)!)] } ?? []
  }
}

// MARK: - The pass

extension Tape {
  /// Of the nodes that are alive only those count that a tensor still leads to by operations that can
  /// be differentiated: one that merely waits to be read by something without backward information
  /// would be gone if that had been computed at once.
  fileprivate func lockHolders(of storage: Storage) -> [String] {
    let n = Int(state.pointee.count)
    var isReached = [Bool](repeating: false, count: n)
    for i in (0..<n).reversed() where !nodes[i].state.contains(.dead) {
      let id = UInt32(i)
      if nodes[i].opcode == .leaf {
        if isReached[i], let source = nodes[i].imported { isReached[Int(source)] = true }
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
      if reads { names.append(operationName(id)) }
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
      guard let parent = node.parent else { return false }
      view = parent
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
  func pendingReaders(of storage: Storage) -> [UInt32] {
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
        if let source = nodes[i].imported { depends[i] = depends[Int(source)] }
        continue
      }
      for operand in [a(id), b(id), c(id)] where operand != id && depends[Int(operand)] {
        depends[i] = true
      }
      if depends[i], nodes[i].slot != nil, !isGiven(id) { result.append(id) }
    }
    return result
  }
}

// MARK: - Who reads a storage

extension Tape {
  private var identity: UInt { UInt(bitPattern: state) }

  /// Counts one more live leaf record over a storage.
  @inline(__always)
  func countReader(_ storage: Unmanaged<Storage>) {
    storage._withUnsafeGuaranteedRef { storage in
      if storage.home.load(ordering: .relaxed) == 0 {
        _ = storage.home.compareExchange(
          expected: 0, desired: identity, ordering: .relaxed)
      }
      if storage.home.load(ordering: .relaxed) == identity {
        let n = storage.homeRecords.load(ordering: .relaxed)
        storage.homeRecords.store(n + 1, ordering: .releasing)
      } else {
        storage.foreignRecords.add(1, ordering: .acquiringAndReleasing)
      }
    }
  }

  @inline(__always)
  func uncountReader(_ storage: Unmanaged<Storage>) {
    storage._withUnsafeGuaranteedRef { storage in
      if storage.home.load(ordering: .relaxed) == identity {
        let n = storage.homeRecords.load(ordering: .relaxed)
        storage.homeRecords.store(n - 1, ordering: .releasing)
      } else {
        storage.foreignRecords.subtract(1, ordering: .acquiringAndReleasing)
      }
    }
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
