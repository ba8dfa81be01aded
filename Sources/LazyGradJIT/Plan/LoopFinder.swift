// Finds the loops of a program in what it has recorded: stretches of a graph that come again and again.

/// A stretch of a graph that consists of turns which look alike.
struct RolledLoop: Equatable {
  /// Where the first turn begins.
  var start: Int
  /// Positions of a turn.
  var period: Int
  var turns: Int

  var end: Int { start + period * turns }
}

/// Looks for loops.
///
/// Turns that look alike, by their operations, types and shapes, need not be alike: what becomes of them is found
/// out by comparing them whole (`GraphSections`). So nothing but the time that planning takes depends on what is
/// found here.
///
/// 1. Every position has a word: operation, type, shape, layout, and how far back operands are where that is
///    near.
/// 2. Where the words of a few positions in a row were the same some distance ago, that distance is a vote
///    for a period.
/// 3. For the periods with most votes, the stretches in which words are the same as a period later are loops.
/// 4. A turn begins where the fewest bytes go from one to the next, and least would have been fused.
struct LoopFinder {
  private let graph: Graph
  private let limits: RollLimits
  private let words: [UInt64]

  /// The loops of a graph in ascending order.
  static func loops(in graph: Graph, _ limits: RollLimits) -> [RolledLoop] {
    LoopFinder(graph, limits).find()
  }

  private init(_ graph: Graph, _ limits: RollLimits) {
    self.graph = graph
    self.limits = limits
    words = graph.nodes.enumerated().map { i, node in Self.word(i, node) }
  }

  /// Farthest operand whose distance counts. What belongs to another turn, or to all of them, is farther away the
  /// more turns there have been.
  private static let near = 16

  private static func word(_ i: Int, _ node: GraphNode) -> UInt64 {
    func distance(_ operand: Int32) -> UInt64 {
      if operand < 0 { return 0 }
      let distance = i - Int(operand)
      return distance < near ? UInt64(distance) : UInt64(near)
    }
    let what =
      UInt64(node.opcode.rawValue) | UInt64(node.type.rawValue) << 8
      | distance(node.a) << 16 | distance(node.b) << 24 | distance(node.c) << 32
      | (node.isRoot ? 1 : 0) << 40
    let layouts = UInt64(node.shape) | UInt64(node.attribute) << 32
    let mixed =
      (what &* 0xD6E8_FEB8_6659_FD93) ^ (layouts &* 0xA076_1D64_78BD_642F)
    return (mixed ^ mixed >> 29) &* 0x2127_599B_F432_5C37
  }

  private func find() -> [RolledLoop] {
    var loops: [RolledLoop] = []
    var isTaken = [Bool](repeating: false, count: words.count)
    for period in periods() {
      var i = 0
      while i + period < words.count {
        if isTaken[i] || words[i] != words[i + period] {
          i += 1
          continue
        }
        let start = i
        while i + period < words.count, !isTaken[i + period], words[i] == words[i + period] {
          i += 1
        }
        let end = i + period
        if (end - start) / period >= limits.turns, !isTaken[start..<end].contains(true) {
          let loop = aligned(start..<end, period)
          if loop.turns >= limits.turns {
            loops.append(loop)
            for k in loop.start..<loop.end { isTaken[k] = true }
            i = end
          }
        }
        i = max(i, start + 1)
      }
    }
    return loops.sorted { $0.start < $1.start }
  }

  /// The periods that most positions vote for, the most frequent first.
  private func periods() -> [Int] {
    let n = words.count
    let common = limits.common
    if n < 2 * common { return [] }
    // A polynomial over the last words, kept while the last one comes in and the first one goes.
    let base: UInt64 = 0x9E37_79B9_7F4A_7C15
    var leaving: UInt64 = 1
    for _ in 0..<common { leaving = leaving &* base }
    var hashes = [UInt64](repeating: 0, count: n)
    var hash: UInt64 = 0
    var size = 16
    while size < 2 * n { size *= 2 }
    var places = [Int32](repeating: -1, count: size)
    var votes: [Int: Int] = [:]
    var (last, run) = (0, 0)
    for i in 0..<n {
      hash = hash &* base &+ words[i]
      if i >= common { hash = hash &- leaving &* words[i - common] }
      hashes[i] = hash
      if i < common - 1 { continue }
      var place = Int(truncatingIfNeeded: (hash ^ hash >> 31) &* base >> 24) & (size - 1)
      while places[place] >= 0, hashes[Int(places[place])] != hash {
        place = (place + 1) & (size - 1)
      }
      let distance = places[place] >= 0 ? i - Int(places[place]) : 0
      places[place] = Int32(i)
      // The same distance many times in a row is the rule.
      if distance == last {
        run += 1
        continue
      }
      if last > 0 { votes[last, default: 0] += run }
      (last, run) = (distance, 1)
    }
    if last > 0 { votes[last, default: 0] += run }
    return votes.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(4).map(\.key)
  }

  /// The loop in a stretch of some period, with turns that begin where least goes from one to the next.
  private func aligned(_ stretch: Range<Int>, _ period: Int) -> RolledLoop {
    // A turn that has one before it and one behind it, if there is one.
    let first = stretch.count >= 3 * period ? stretch.lowerBound + period : stretch.lowerBound
    // By how much what crosses a place differs from what crosses the one before.
    var change = [Int](repeating: 0, count: period + 1)
    var lastReader: [Int: Int] = [:]
    var fused: Set<Int> = []
    for reader in first..<min(first + 2 * period, stretch.upperBound) {
      let node = graph.nodes[reader]
      for operand in [node.a, node.b, node.c].map(Int.init)
      where operand >= 0 && operand < first + period && reader - operand <= period {
        lastReader[operand] = reader
        switch node.opcode.info.opClass {
        case .elementwise, .reduction: fused.insert(operand)
        default: break
        }
      }
    }
    for (value, reader) in lastReader {
      let node = graph.nodes[value]
      if node.opcode == .leaf || node.opcode == .scalar { continue }
      let (low, high) = (max(value + 1, first), min(reader + 1, first + period))
      if low >= high { continue }
      // What matrix products and moves read is in memory anyway.
      let weight = fused.contains(value) ? 4 : 1
      let bytes = weight * LayoutTable.shared[node.shape].count * node.type.size
      change[low - first] += bytes
      change[high - first] -= bytes
    }
    var (best, bestCost, cost) = (0, Int.max, 0)
    for phase in 0..<period {
      cost += change[phase]
      if cost < bestCost { (best, bestCost) = (phase, cost) }
    }
    let start = stretch.lowerBound + best
    return RolledLoop(start: start, period: period, turns: (stretch.upperBound - start) / period)
  }
}

extension RolledLoop {
  /// Where the sections end in which the turns are planned: many turns at once, and what is left one by one. At
  /// least one is left, so that loops of any number of turns have the same sections.
  func sectionEnds(_ limits: RollLimits) -> [Int] {
    let merged = max(limits.merged, (limits.mergedOperations + period - 1) / period)
    var ends: [Int] = []
    var (place, left) = (start, turns)
    while left > 0 {
      let count = left > merged ? merged : 1
      place += count * period
      left -= count
      ends.append(place)
    }
    return ends
  }
}
