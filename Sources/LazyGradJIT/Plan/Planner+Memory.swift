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
  /// Live groups in the order of execution.
  func executionOrder() -> [Int] {
    groups.indices.filter { groups[$0].kind != .dead }.sorted { groups[$0].order < groups[$1].order }
  }

  /// Every position that a group's kernel reads from memory.
  func positionsRead(by g: Int) -> [Int32] {
    var result: [Int32] = []
    for member in groups[g].members {
      for source in operands(Int(member)) where Int(groupOf[Int(source.position)]) != g {
        result.append(source.position)
      }
    }
    return result
  }

  func byteCount(_ position: Int) -> Int { count(position) * node(position).type.size }

  /// Where each stored position is, and the size of the arena.
  ///
  /// Region updates take over the memory of their first operand where nobody reads it afterwards.
  func placeValues(_ order: [Int], outputs: [Int: Int]) -> (places: [Place?], arenaBytes: Int) {
    let total = graph.nodes.count + extra.count
    var lastReader = [Int32](repeating: -1, count: total)
    for (step, g) in order.enumerated() {
      for position in positionsRead(by: g) { lastReader[Int(position)] = Int32(step) }
    }
    var places = [Place?](repeating: nil, count: total)
    var arena = ArenaAllocator()
    /// Arena values to be released after a step.
    var dying = [[Int]](repeating: [], count: order.count)
    let outputBase = Int32(1 + graph.leafCount)
    for (step, g) in order.enumerated() {
      for member in groups[g].members where isStored[Int(member)] {
        let position = Int(member)
        if let output = outputs[position] {
          places[position] = Place(base: outputBase + Int32(output), byteOffset: 0)
          continue
        }
        let end = max(Int(lastReader[position]), step)
        if let donor = donor(of: position, at: step, lastReader: lastReader, places: places) {
          places[position] = places[donor]
          dying[step].removeAll { $0 == donor }
        } else {
          places[position] = Place(
            base: Place.arena, byteOffset: arena.allocate(byteCount(position)))
        }
        dying[end].append(position)
      }
      for position in dying[step] {
        arena.release(places[position]!.byteOffset, byteCount(position))
      }
    }
    return (places, arena.top)
  }

  /// The value whose memory a region update may change in place.
  private func donor(
    of position: Int, at step: Int, lastReader: [Int32], places: [Place?]
  ) -> Int? {
    let node = self.node(position)
    guard node.opcode == .addRegion || node.opcode == .setRegion || node.opcode == .scatterAddRows,
      position < graph.nodes.count
    else { return nil }
    let source = sources[Int(node.a)]
    let base = Int(source.position)
    guard source.isLinear, lastReader[base] == Int32(step), let place = places[base],
      place.base == Place.arena
    else { return nil }
    // The value that is written must not come out of the memory that changes.
    for operand in [node.b, node.c] where operand >= 0 {
      if sources[Int(operand)].position == source.position { return nil }
    }
    return base
  }
}
