// Remembers plans. Two levels: by the canonical graph, and, in front of it, by the streaming
// signature of a whole window, where a hit costs no walk over the graph at all.

import Synchronization

/// The process's plans, least recently used first out.
package final class PlanCache: Sendable {
  package static let shared = PlanCache()

  /// Most graphs remembered, and most operations in all of them together.
  static let entryLimit = 512
  static let nodeLimit = 2_000_000

  private struct Entry {
    let graph: Graph
    let limits: PlanLimits
    let plan: Plan
    var lastUse: UInt64
  }
  private struct State {
    var entries: [UInt64: [Entry]] = [:]
    var windows: [UInt64: [WindowPlan]] = [:]
    var count = 0
    var windowCount = 0
    var nodes = 0
    var clock: UInt64 = 0
    var compiled = 0
    /// For tests: every key is the same, so that only verification tells graphs apart.
    var collides = false
    /// Graphs and plans name layouts.
    var generation: UInt32 = 0

    mutating func removeAll() {
      entries = [:]
      windows = [:]
      count = 0
      windowCount = 0
      nodes = 0
    }

    mutating func removeOldest() {
      var oldest: (key: UInt64, index: Int, use: UInt64) = (0, 0, .max)
      for (key, entries) in entries {
        for (index, entry) in entries.enumerated() where entry.lastUse < oldest.use {
          oldest = (key, index, entry.lastUse)
        }
      }
      if oldest.use != .max { remove(oldest.index, of: oldest.key) }
    }

    mutating func remove(_ index: Int, of key: UInt64) {
      guard let entry = entries[key]?.remove(at: index) else { return }
      if entries[key]!.isEmpty { entries[key] = nil }
      count -= 1
      nodes -= entry.graph.nodes.count
      // Windows keep their plans alive; they go with the plan.
      for (key, known) in windows {
        let kept = known.filter { $0.nodes.plan !== entry.plan }
        windowCount -= known.count - kept.count
        windows[key] = kept.isEmpty ? nil : kept
      }
    }
  }
  private let lockedState = Lock(State())

  private func withState<R>(_ body: (inout State) -> R) -> R {
    lockedState.withLock { state in
      let generation = LayoutTable.generation
      if state.generation != generation {
        state.removeAll()
        state.generation = generation
      }
      return body(&state)
    }
  }

  /// The plan of a graph: remembered, or made now.
  ///
  /// A rolled plan that is made of known sections counts as known.
  ///
  /// - Parameters:
  ///   - limits: What may be batched and rolled: another plan for other limits.
  ///   - prepare: What else a new plan needs before anybody runs it.
  package func plan(
    for graph: Graph, _ limits: PlanLimits = PlanLimits(), prepare: (Plan) -> Void
  ) -> (plan: Plan, isHit: Bool) {
    let hash = Self.hash(graph)
    let known: Plan? = withState { state in
      state.clock += 1
      let key = state.collides ? 0 : hash
      let index = state.entries[key]?.firstIndex {
        $0.limits == limits && $0.graph.nodes == graph.nodes
      }
      guard let index else { return nil }
      state.entries[key]![index].lastUse = state.clock
      return state.entries[key]![index].plan
    }
    if let known, !known.isOutgrown(limits.rolling) { return (known, true) }
    var isHit = true
    var sectionLimits = limits
    sectionLimits.rolling = .off
    let rolled =
      known != nil
      ? nil
      : Plan.rolled(graph, limits) { section in
        let result = self.plan(for: section, sectionLimits, prepare: prepare)
        isHit = isHit && result.isHit
        return result.plan
      }
    let plan: Plan
    if let rolled {
      plan = rolled
    } else {
      plan = Planner.plan(graph, batching: limits.batching)
      prepare(plan)
      isHit = false
    }
    withState { state in
      let key = state.collides ? 0 : hash
      if let known, let old = state.entries[key]?.firstIndex(where: { $0.plan === known }) {
        state.remove(old, of: key)
      }
      state.entries[key, default: []].append(
        Entry(graph: graph, limits: limits, plan: plan, lastUse: state.clock))
      state.count += 1
      if rolled == nil { state.compiled += 1 }
      state.nodes += graph.nodes.count
      while state.count > Self.entryLimit || (state.nodes > Self.nodeLimit && state.count > 1) {
        state.removeOldest()
      }
    }
    return (plan, isHit)
  }

  static func hash(_ graph: Graph) -> UInt64 {
    var h: UInt64 = 0x9E37_79B9_7F4A_7C15
    for node in graph.nodes {
      let w0 =
        UInt64(node.opcode.rawValue) | UInt64(node.type.rawValue) << 8
        | UInt64(node.isRoot ? 1 : 0) << 16 | UInt64(node.shape) << 32
      let w1 = UInt64(UInt32(bitPattern: node.a)) | UInt64(UInt32(bitPattern: node.b)) << 32
      let w2 = UInt64(UInt32(bitPattern: node.c)) | UInt64(node.attribute) << 32
      let w3 = UInt64(bitPattern: Int64(node.offset)) ^ UInt64(UInt32(bitPattern: node.slot)) << 32
      h ^=
        w0 &* 0xD6E8_FEB8_6659_FD93 ^ w1 &* 0xA076_1D64_78BD_642F ^ w2 &* 0xE703_7ED1_A0B4_28DB
        ^ w3 &* 0x8EBC_6AF0_9C88_C6E3
      h = h &* 0x2127_599B_F432_5C37
      h ^= h >> 32
    }
    return h
  }

  // MARK: Windows

  /// The window that was seen before with this key and passes `verify`.
  func window(_ key: UInt64, _ verify: (WindowPlan) -> Bool) -> WindowPlan? {
    // Compared outside of the lock: windows are long, and other tasks look theirs up meanwhile.
    let candidates = withState { state in state.windows[state.collides ? 0 : key] }
    return candidates?.first(where: verify)
  }

  func remember(_ window: WindowPlan, key: UInt64) {
    withState { state in
      if state.windowCount >= Self.entryLimit {
        state.windows = [:]
        state.windowCount = 0
      }
      state.windows[state.collides ? 0 : key, default: []].append(window)
      state.windowCount += 1
    }
  }

  // MARK: Counters and tests

  /// Plans made since the process began.
  package var compiled: Int { withState { $0.compiled } }
  /// Plans remembered now.
  package var count: Int { withState { $0.count } }

  package func removeAll() { withState { $0.removeAll() } }

  /// Makes every key collide while `body` runs.
  package func withCollidingKeys<R>(_ body: () throws -> R) rethrows -> R {
    removeAll()
    withState { $0.collides = true }
    defer {
      removeAll()
      withState { $0.collides = false }
    }
    return try body()
  }
}

/// What a whole window looked like when it was forced, and what was done: enough to do it again
/// without looking at the graph. All ids are relative to the window's start.
final class WindowPlan: Sendable {
  let nodes: PlanNodes
  /// The signature words of every node.
  let words: [SIMD4<UInt64>]
  /// The pass that was copied to the last window that was found equal, 0 for none: then records that the same
  /// pass was copied to need not be compared (`CopiedRecords`).
  let copiedPass: Atomic<Int>
  /// The payloads that are part of the signature.
  let payloads: [(id: UInt32, value: UInt64)]
  let held: [UInt32]
  /// The nodes that nothing needs any more: what they read may have been left out.
  let dead: [UInt32]
  let requested: [UInt32]

  init(
    nodes: PlanNodes, words: [SIMD4<UInt64>], copiedPass: Int,
    payloads: [(id: UInt32, value: UInt64)], held: [UInt32], dead: [UInt32], requested: [UInt32]
  ) {
    self.nodes = nodes
    self.words = words
    self.copiedPass = Atomic(copiedPass)
    self.payloads = payloads
    self.held = held
    self.dead = dead
    self.requested = requested
  }
}

/// A plan and the nodes that it reads and computes, by their ids relative to a window's start.
final class PlanNodes: Sendable {
  let plan: Plan
  let leaves: [UInt32]
  let scalars: [UInt32]
  let roots: [UInt32]
  let cone: [UInt32]
  /// The nodes of the cone that are held.
  let held: [UInt32]

  init(
    _ plan: Plan, leaves: [UInt32], scalars: [UInt32], roots: [UInt32], cone: [UInt32],
    held: [UInt32]
  ) {
    self.plan = plan
    self.leaves = leaves
    self.scalars = scalars
    self.roots = roots
    self.cone = cone
    self.held = held
  }
}
