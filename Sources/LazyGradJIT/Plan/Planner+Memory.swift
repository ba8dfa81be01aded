// Pass 3: memory for what must be in memory. Liveness intervals in the order of the groups, packed
// into one arena; a value whose last reader has run gives its bytes to the next.

/// Packs buffers into one arena.
struct ArenaAllocator {
  private struct Block {
    var offset: Int
    var size: Int
  }
  /// Free blocks below `top`, by offset; neighbours are joined.
  private var free: [Block] = []
  private(set) var top = 0

  static func rounded(_ bytes: Int) -> Int { (max(bytes, 1) + 63) & ~63 }

  /// The best fitting free block, or new bytes at the top.
  mutating func allocate(_ bytes: Int) -> Int {
    let size = Self.rounded(bytes)
    var best = -1
    for i in free.indices where free[i].size >= size {
      if best < 0 || free[i].size < free[best].size { best = i }
      if free[i].size == size { break }
    }
    if best >= 0 {
      let offset = free[best].offset
      if free[best].size == size {
        free.remove(at: best)
      } else {
        free[best].offset += size
        free[best].size -= size
      }
      return offset
    }
    if let last = free.last, last.offset + last.size == top {
      free.removeLast()
      top = last.offset + size
      return last.offset
    }
    defer { top += size }
    return top
  }

  mutating func release(_ offset: Int, _ bytes: Int) {
    let size = Self.rounded(bytes)
    var low = 0
    var high = free.count
    while low < high {
      let mid = (low + high) / 2
      if free[mid].offset < offset { low = mid + 1 } else { high = mid }
    }
    let joinsNext = low < free.count && offset + size == free[low].offset
    let joinsPrevious = low > 0 && free[low - 1].offset + free[low - 1].size == offset
    switch (joinsPrevious, joinsNext) {
    case (true, true):
      free[low - 1].size += size + free[low].size
      free.remove(at: low)
    case (true, false): free[low - 1].size += size
    case (false, true):
      free[low].offset = offset
      free[low].size += size
    case (false, false): free.insert(Block(offset: offset, size: size), at: low)
    }
  }
}

extension Planner {
  /// Live groups in the order of execution, each with its members in the order of computation.
  mutating func executionOrder() -> [Int] {
    let order = groups.indices.filter { groups[$0].kind != .dead }
    for g in order where !groups[g].isSorted {
      groups[g].members.sort { entries[Int($0)].rank < entries[Int($1)].rank }
    }
    return order
  }

  func byteCount(_ position: Int) -> Int {
    entries[position].count * entries[position].node.type.size
  }

  /// Where values are, as far as a run has to know.
  struct Placing {
    var arenaBytes = 0
    var updates: [Plan.Update] = []
    /// The last step that reads each leaf, -1 for none.
    var lastReads: [Int32] = []
  }

  /// Decides where each stored position is.
  ///
  /// Updates of regions and rows take over the memory of their first operand where nobody reads it afterwards;
  /// a chain of them that ends in a root is in that root's memory from the start.
  func placeValues(_ order: [Int], outputs: [Int: Int]) -> Placing {
    let lastReader = lastReaders(order)
    let heirs = self.heirs(order, lastReader)
    // Lists of the arena's positions to release by step.
    var firstDying = [Int32](repeating: -1, count: order.count)
    var nextDying = [Int32](repeating: -1, count: total)
    var arena = ArenaAllocator()
    var result = Placing(lastReads: [Int32](repeating: -1, count: graph.leafCount))
    let outputBase = Int32(1 + graph.leafCount)
    for (step, g) in order.enumerated() {
      for member in groups[g].members where entries[Int(member)].isStored {
        let position = Int(member)
        var last = position
        while heirs[last] >= 0 { last = Int(heirs[last]) }
        let output = entries[last].node.isRoot ? outputs[last] : nil
        let base = updatedBase(of: position, at: step, lastReader: lastReader)
        if let base, let output, let leaf = leafInOrder(base, position) {
          result.updates.append(
            Plan.Update(output: output, leaf: leaf, step: step, byteCount: byteCount(position)))
        }
        if let output {
          entries[position].place = Place(base: outputBase + Int32(output), byteOffset: 0)
          continue
        }
        let donor = base.map { Int($0.position) }.flatMap { heirs[$0] == member ? $0 : nil }
        entries[position].place =
          donor.map { entries[$0].place }
          ?? Place(base: Place.arena, byteOffset: arena.allocate(byteCount(position)))
        // Memory that is taken over is released with its last value.
        if heirs[position] >= 0 { continue }
        let end = max(Int(lastReader[position]), step)
        nextDying[position] = firstDying[end]
        firstDying[end] = member
      }
      var dying = firstDying[step]
      while dying >= 0 {
        arena.release(entries[Int(dying)].place.byteOffset, byteCount(Int(dying)))
        dying = nextDying[Int(dying)]
      }
    }
    for i in 0..<graph.nodes.count where graph.nodes[i].opcode == .leaf {
      result.lastReads[Int(graph.nodes[i].slot)] = lastReader[i]
    }
    result.arenaBytes = arena.top
    return result
  }

  /// The last step that reads each position from memory, -1 for none.
  private func lastReaders(_ order: [Int]) -> [Int32] {
    var result = [Int32](repeating: -1, count: total)
    for (step, g) in order.enumerated() {
      for member in groups[g].members {
        for k in 0..<inputCount(Int(member)) {
          let position = input(Int(member), k).position
          if Int(entries[position].group) != g { result[position] = Int32(step) }
        }
      }
    }
    return result
  }

  /// For every computed position the update that takes over its memory, -1 for none.
  private func heirs(_ order: [Int], _ lastReader: [Int32]) -> [Int32] {
    var result = [Int32](repeating: -1, count: total)
    for (step, g) in order.enumerated() {
      for member in groups[g].members where entries[Int(member)].isStored {
        guard let base = updatedBase(of: Int(member), at: step, lastReader: lastReader) else {
          continue
        }
        let entry = entries[Int(base.position)]
        if base.isLinear, entry.group >= 0, !entry.node.isRoot {
          result[Int(base.position)] = member
        }
      }
    }
    return result
  }

  /// What an update of a region or of rows changes, if nobody reads the old value afterwards.
  private func updatedBase(of position: Int, at step: Int, lastReader: [Int32]) -> Source? {
    let opcode = entries[position].node.opcode
    guard
      opcode == .addRegion || opcode == .setRegion || opcode == .scatterAddRows
        || opcode == .setRows
    else { return nil }
    let source = input(position, 0).source
    guard lastReader[Int(source.position)] == Int32(step) else { return nil }
    // The value that is written must not come out of the memory that changes.
    for k in 1..<inputCount(position) where input(position, k).source.position == source.position {
      return nil
    }
    return source
  }

  /// The number of the leaf that a source is, if it is read whole and in C order.
  private func leafInOrder(_ source: Source, _ reader: Int) -> Int? {
    let node = entries[Int(source.position)].node
    guard node.opcode == .leaf, source.offset == 0, source.layout == entries[reader].node.shape
    else { return nil }
    return Int(node.slot)
  }
}
