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

  /// Decides where each stored position is.
  ///
  /// Region updates take over the memory of their first operand where nobody reads it afterwards.
  ///
  /// - Returns: the bytes of the arena.
  func placeValues(_ order: [Int], outputs: [Int: Int]) -> Int {
    // The last step that reads a position, and lists of the arena's positions to release by step.
    var lastReader = [Int32](repeating: -1, count: total)
    var firstDying = [Int32](repeating: -1, count: order.count)
    var nextDying = [Int32](repeating: -1, count: total)
    for (step, g) in order.enumerated() {
      for member in groups[g].members {
        for k in 0..<inputCount(Int(member)) {
          let position = input(Int(member), k).position
          if Int(entries[position].group) != g { lastReader[position] = Int32(step) }
        }
      }
    }
    var arena = ArenaAllocator()
    let outputBase = Int32(1 + graph.leafCount)
    for (step, g) in order.enumerated() {
      for member in groups[g].members where entries[Int(member)].isStored {
        let position = Int(member)
        if entries[position].node.isRoot {
          entries[position].place = Place(
            base: outputBase + Int32(outputs[position]!), byteOffset: 0)
          continue
        }
        let end = max(Int(lastReader[position]), step)
        if let donor = donor(of: position, at: step, lastReader: lastReader) {
          entries[position].place = entries[donor].place
          // The donor's memory is not released: mark it as somebody else's.
          lastReader[donor] = -2
        } else {
          entries[position].place = Place(
            base: Place.arena, byteOffset: arena.allocate(byteCount(position)))
        }
        nextDying[position] = firstDying[end]
        firstDying[end] = member
      }
      var dying = firstDying[step]
      while dying >= 0 {
        if lastReader[Int(dying)] != -2 {
          arena.release(entries[Int(dying)].place.byteOffset, byteCount(Int(dying)))
        }
        dying = nextDying[Int(dying)]
      }
    }
    return arena.top
  }

  /// The value whose memory a region update may change in place.
  private func donor(of position: Int, at step: Int, lastReader: [Int32]) -> Int? {
    let opcode = entries[position].node.opcode
    guard opcode == .addRegion || opcode == .setRegion || opcode == .scatterAddRows else {
      return nil
    }
    let source = input(position, 0).source
    let base = Int(source.position)
    guard source.isLinear, lastReader[base] == Int32(step), entries[base].group >= 0,
      entries[base].place.base == Place.arena
    else { return nil }
    // The value that is written must not come out of the memory that changes.
    for k in 1..<inputCount(position) where input(position, k).source.position == source.position {
      return nil
    }
    return base
  }
}
