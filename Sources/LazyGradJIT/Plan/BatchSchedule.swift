// In which order a graph's operations are computed, and which of them together. Uses the planner's tables, which
// it doesn't change.
//
// Operations wait for their operands; of those that wait no longer, the one with the longest way to a result
// is computed next, and with it all others that are alike. So networks that differ from sample to sample go
// side by side: sequences from their first steps on until the longest has ended, and backwards from their
// ends; trees from their leaves on. Nothing is computed before its operands, so there is never a cycle.

/// The steps of a batched graph.
struct BatchSchedule {
  /// The positions of all steps, one step's after the other's.
  private(set) var members: [Int32] = []
  /// Where the members of each step begin; a step with several is a batch.
  private(set) var starts: [Int32] = []
  let chains: BatchChains
  /// How many operations there are, with those that are part of a chain.
  private(set) var operationCount = 0

  private let planner: Planner
  private let limits: BatchLimits
  private var states: [State]
  /// The positions of operands, three places per position; -1 for none. The planner's tables take ten times
  /// as much memory, more than is near a core.
  private var sources: [Int32]
  /// By position, where its readers begin.
  private var firstReader: [Int32] = []
  private var readers: [Int32] = []

  /// What is known of a position.
  private struct State {
    /// What it is alike to, -1 for what is not computed by itself.
    var kind: Int32 = -1
    /// Operations on the longest way from it.
    var height: Int32 = 0
    /// Operands that are still to be computed.
    var waits: Int32 = 0
    /// The step in which it is computed, and its place there.
    var step: Int32 = -1
    var row: Int32 = 0
    /// The next one of its kind that waits no longer.
    var nextReady: Int32 = -1
  }

  // What waits no longer, by kind and as lists; kinds by the height of their highest.
  private var firstReady: [Int32] = []
  private var readyHeight: [Int32] = []
  private var firstOfHeight: [Int32] = []
  private var lastOfHeight: [Int32] = []
  private var queued: [(kind: Int32, next: Int32)] = []
  private var taken: [Int32] = []

  init(_ planner: Planner, _ limits: BatchLimits) {
    self.planner = planner
    self.limits = limits
    let n = planner.graph.nodes.count
    chains = BatchChains(planner, limits)
    states = [State](repeating: State(), count: n)
    sources = [Int32](repeating: -1, count: 3 * n)
    findKinds()
    // There is at least one step for each kind.
    if operationCount < limits.operationsPerStep * firstReady.count { return }
    linkReaders()
    run()
    starts.append(Int32(members.count))
  }

  /// 0 where there are too many kinds of operations.
  var stepCount: Int { max(starts.count - 1, 0) }

  // MARK: Kinds

  /// Two operations are alike if they do the same to operands that come from the same: without that, what
  /// belongs to different gates of a cell would be mixed, and then belong to no loop.
  private mutating func findKinds() {
    let n = planner.graph.nodes.count
    var own = BatchKeyTable()
    var ownKind = [Int32](repeating: -1, count: n)
    var isBatched = [Bool](repeating: false, count: n)
    for i in 0..<n where isComputed(i) {
      operationCount += 1
      for k in 0..<planner.inputCount(i) {
        sources[3 * i + k] = planner.input(i, k).source.position
      }
      if chains.chainAt[i] == -2 { continue }
      guard chains.chainAt[i] < 0, let key = planner.batchKey(i, limits) else { continue }
      ownKind[i] = own.number(key)
      isBatched[i] = true
    }
    var pairs = PairTable()
    func combined(_ i: Int, _ kinds: [Int32]) -> Int32 {
      var result = ownKind[i]
      for k in (3 * i)..<(3 * i + 3) where sources[k] >= 0 {
        result = pairs.number(result, kinds[Int(sources[k])])
      }
      return result
    }
    var near = [Int32](repeating: -1, count: n)
    for i in 0..<n where isBatched[i] { near[i] = combined(i, ownKind) }
    var last: Int32 = 0
    var numbers = PairTable()
    var kindOfNumber: [Int32] = []
    for i in 0..<n where isComputed(i) && chains.chainAt[i] != -2 {
      if isBatched[i] {
        // Operands of other operations are brought together anyway.
        let isElementwise = planner.entries[i].node.opcode.info.opClass == .elementwise
        let number = Int(
          numbers.number(isElementwise ? combined(i, near) : ownKind[i], isElementwise ? 1 : 0)
            - PairTable.first)
        if number < kindOfNumber.count {
          states[i].kind = kindOfNumber[number]
          continue
        }
        kindOfNumber.append(last)
      }
      states[i].kind = last
      last += 1
    }
    firstReady = [Int32](repeating: -1, count: Int(last))
    readyHeight = [Int32](repeating: -1, count: Int(last))
  }

  /// Whether a position is an operation whose value is needed.
  private func isComputed(_ i: Int) -> Bool {
    let entry = planner.entries + i
    guard entry.pointee.isLive, Int(entry.pointee.source.position) == i else { return false }
    switch entry.pointee.node.opcode.info.opClass {
    case .source: return entry.pointee.node.isRoot && entry.pointee.node.opcode != .leaf
    case .alias: return false
    default: return true
    }
  }

  // MARK: Readers

  /// The operations whose values a step needs.
  @inline(__always)
  private func forEachOperand(_ i: Int, _ body: (Int) -> Void) {
    let chain = chains.chainAt[i]
    if chain < 0 { return forEachSource(i, body) }
    for term in chains.chains[Int(chain)].terms {
      let p = planner.inputs[Int(term)].position
      if states[p].kind >= 0 { body(p) }
      if chains.chains[Int(chain)].isProduct { forEachSource(p, body) }
    }
  }

  @inline(__always)
  private func forEachSource(_ i: Int, _ body: (Int) -> Void) {
    for k in (3 * i)..<(3 * i + 3) {
      let p = Int(sources[k])
      if p >= 0, states[p].kind >= 0 { body(p) }
    }
  }

  private mutating func linkReaders() {
    let n = states.count
    var ends = [Int32](repeating: 0, count: n + 1)
    for i in 0..<n where states[i].kind >= 0 { forEachOperand(i) { ends[$0 + 1] += 1 } }
    for i in 0..<n { ends[i + 1] += ends[i] }
    firstReader = ends
    var found = [Int32](repeating: 0, count: Int(ends[n]))
    for i in 0..<n where states[i].kind >= 0 {
      var waiting: Int32 = 0
      forEachOperand(i) {
        found[Int(ends[$0])] = Int32(i)
        ends[$0] += 1
        waiting += 1
      }
      states[i].waits = waiting
    }
    readers = found
    var heights = [Int32](repeating: 0, count: n)
    for i in (0..<n).reversed() where states[i].kind >= 0 {
      let own = heights[i] + 1
      forEachOperand(i) { if heights[$0] < own { heights[$0] = own } }
      states[i].height = heights[i]
    }
  }

  // MARK: The order

  private mutating func run() {
    let most = Int(states.reduce(0) { max($0, $1.height) })
    firstOfHeight = [Int32](repeating: -1, count: most + 1)
    lastOfHeight = firstOfHeight
    for i in states.indices where states[i].kind >= 0 && states[i].waits == 0 { addReady(i) }
    // What becomes ready is lower than what it waited for.
    for h in (0...most).reversed() {
      var next = firstOfHeight[h]
      while next >= 0 {
        let entry = queued[Int(next)]
        if readyHeight[Int(entry.kind)] == Int32(h) { take(Int(entry.kind)) }
        next = queued[Int(next)].next
      }
    }
  }

  private mutating func addReady(_ i: Int) {
    let (k, height) = (Int(states[i].kind), states[i].height)
    states[i].nextReady = firstReady[k]
    firstReady[k] = Int32(i)
    if readyHeight[k] >= height { return }
    readyHeight[k] = height
    let h = Int(height)
    let place = Int32(queued.count)
    queued.append((Int32(k), -1))
    if lastOfHeight[h] >= 0 {
      queued[Int(lastOfHeight[h])].next = place
    } else {
      firstOfHeight[h] = place
    }
    lastOfHeight[h] = place
  }

  /// Computes all that is ready of a kind.
  private mutating func take(_ k: Int) {
    taken.removeAll(keepingCapacity: true)
    var i = firstReady[k]
    while i >= 0 {
      taken.append(i)
      i = states[Int(i)].nextReady
    }
    firstReady[k] = -1
    readyHeight[k] = -1
    if taken.count < max(limits.members, 2) {
      taken.sort()
      for k in taken.indices { emit(k..<(k + 1)) }
    } else {
      order()
      emit(taken.indices)
    }
    for i in taken {
      for r in Int(firstReader[Int(i)])..<Int(firstReader[Int(i) + 1]) {
        let reader = Int(readers[r])
        states[reader].waits -= 1
        if states[reader].waits == 0 { addReady(reader) }
      }
    }
  }

  /// Makes some of what is taken a step.
  private mutating func emit(_ range: Range<Int>) {
    let number = Int32(starts.count)
    starts.append(Int32(members.count))
    for k in range {
      let i = taken[k]
      members.append(i)
      states[Int(i)].step = number
      states[Int(i)].row = Int32(k - range.lowerBound)
    }
  }

  /// Brings a batch into the order of the batch that all of its members read, if there is one: then that is
  /// read as it is. Otherwise into the order of the program, which is the same for all batches.
  private mutating func order() {
    var home: Int32 = -1
    for (n, i) in taken.enumerated() {
      let own = self.home(Int(i))
      if n == 0 { home = own }
      if own != home {
        home = -1
        break
      }
    }
    if home < 0 {
      taken.sort()
      return
    }
    let keyed = taken.map { i in
      (row: operandRow(Int(i), in: home), position: i)
    }.sorted { ($0.row, $0.position) < ($1.row, $1.position) }
    for k in taken.indices { taken[k] = keyed[k].position }
  }

  /// The latest step that a position reads.
  private func home(_ i: Int) -> Int32 {
    var result: Int32 = -1
    for k in (3 * i)..<(3 * i + 3) where sources[k] >= 0 {
      result = max(result, states[Int(sources[k])].step)
    }
    return result
  }

  private func operandRow(_ i: Int, in home: Int32) -> Int32 {
    for k in (3 * i)..<(3 * i + 3) where sources[k] >= 0 {
      let state = states[Int(sources[k])]
      if state.step == home { return state.row }
    }
    return 0
  }
}

/// Numbers pairs of numbers in the order in which they come: a hash table with open addressing.
private struct PairTable {
  /// The number of the first pair: beyond those of keys.
  static let first: Int32 = 1 << 24
  private var slots = [Int32](repeating: -1, count: 256)
  private var pairs: [UInt64] = []
  private var mask = 255

  private func slot(of pair: UInt64) -> Int {
    let h = pair &* 0xD6E8_FEB8_6659_FD93
    return Int(truncatingIfNeeded: (h ^ h >> 32) &* 0x2127_599B_F432_5C37 >> 24) & mask
  }

  mutating func number(_ a: Int32, _ b: Int32) -> Int32 {
    let pair = UInt64(UInt32(bitPattern: a)) << 32 | UInt64(UInt32(bitPattern: b))
    var slot = slot(of: pair)
    while slots[slot] >= 0 {
      if pairs[Int(slots[slot])] == pair { return Self.first + slots[slot] }
      slot = (slot + 1) & mask
    }
    slots[slot] = Int32(pairs.count)
    pairs.append(pair)
    if 2 * pairs.count > mask { grow() }
    return Self.first + Int32(pairs.count - 1)
  }

  private mutating func grow() {
    mask = 2 * mask + 1
    slots = [Int32](repeating: -1, count: mask + 1)
    for (i, pair) in pairs.enumerated() {
      var slot = slot(of: pair)
      while slots[slot] >= 0 { slot = (slot + 1) & mask }
      slots[slot] = Int32(i)
    }
  }
}
