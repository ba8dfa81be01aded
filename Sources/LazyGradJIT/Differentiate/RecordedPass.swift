// Passes over the graph that are recorded as they were the last time: backward passes, and those that record
// for a batch what was recorded for a sample. What a pass writes depends only on the windows that it goes
// over, and a training loop goes over equal windows again and again: from the third time on the records are
// copied, not derived. This file holds what is remembered of a pass and where; Tape+Pass looks it up and
// copies it, PassObserver finds out what a pass did.

import Synchronization

/// What a pass did to the records before it: enough to do it again without walking
/// the graph. All ids are relative to the first of those records:
///
///      first         head          windowStart           count
///      | window of the head | other windows | the current one |  what the pass writes
///
/// Where no value was read before the pass, the first of these windows is the current one.
final class RecordedPass: Sendable {
  /// What changes in a record: in one that was there, or in one that is copied and names another by
  /// its id.
  struct Change: Sendable {
    var id: UInt32
    var moreUses: UInt32
    var names: Node.Names
    var state: Node.State
  }
  /// A record that is copied and takes something from one that was there.
  struct Source: Sendable {
    var copy: UInt32
    var source: UInt32
  }
  /// The handle at `node` gets the gradient at `gradient`; `Tape.none`: the ones that the pass began
  /// with.
  struct Gradient: Sendable {
    var node: UInt32
    var gradient: UInt32
  }

  private static let lastNumber = Atomic<Int>(0)
  /// No other pass has it.
  let number = RecordedPass.lastNumber.add(1, ordering: .relaxed).newValue
  /// The head, where the current window began, and its running hash then.
  let head: UInt32
  let windowStart: UInt32
  let hash: UInt64
  /// All that a pass asks about the records before it, and the payloads that count.
  let before: [SIMD4<UInt64>]
  let payloads: [(id: UInt32, value: UInt64)]
  let changes: [Change]
  /// The records that the pass wrote: of each its first words, and how often it is used. Nothing else is in one
  /// that has no value and no handle yet, and to copy what is empty takes as long.
  let added: [UInt64]
  /// Leaf records among them, each with the node of an earlier window whose value it stands for, and
  /// numbers, each with the one of an earlier window that it repeats.
  let imports: [Source]
  let numbers: [Source]
  let hashAfter: UInt64
  let gradients: [Gradient]
  let remains: PassRemains
  /// What was asked for beside the head, and what was given for it: `Tape.none` for nothing.
  let question: PassQuestion
  let results: [UInt32]
  /// Whether graphs have been cleared, and the bytes by which what is pending has grown.
  let clears: Bool
  let moreBytes: Int

  static var wordsPerNode: Int { 5 }
  /// Most passes with one key: windows that differ only in what the key leaves out, such as which row of
  /// a variable they read, are compared one after the other.
  static var mostWithOneKey: Int { 8 }
  /// Most windows before the current one that a pass is remembered over.
  static var mostWindows: Int { 8 }

  var addedCount: Int { added.count / RecordedPass.wordsPerNode }
  /// Records remembered in all; words of a question count as some.
  var recordCount: Int { before.count + addedCount + question.words.count / 8 }

  init(
    head: UInt32, windowStart: UInt32, hash: UInt64, before: [SIMD4<UInt64>],
    payloads: [(id: UInt32, value: UInt64)], changes: [Change], added: [UInt64],
    imports: [Source], numbers: [Source], hashAfter: UInt64, gradients: [Gradient],
    remains: PassRemains, question: PassQuestion, results: [UInt32], clears: Bool, moreBytes: Int
  ) {
    self.head = head
    self.windowStart = windowStart
    self.hash = hash
    self.before = before
    self.payloads = payloads
    self.changes = changes
    self.added = added
    self.imports = imports
    self.numbers = numbers
    self.hashAfter = hashAfter
    self.gradients = gradients
    self.remains = remains
    self.question = question
    self.results = results
    self.clears = clears
    self.moreBytes = moreBytes
  }
}

/// What a pass is asked for, as far as the records before it don't say that.
package struct PassQuestion: Sendable, Equatable {
  /// Whatever tells one from another; of records their distance from the newest. Empty for the default
  /// backward pass.
  package var words: [UInt64] = []
  /// Whether the pass asks every record for its payload: where a view begins, what an operation has beside its
  /// operands.
  package var readsPayloads = false

  package init() {}
}

/// What is left to let go once a backward pass is recorded.
package struct PassRemains: Sendable {
  /// Cleared nodes that were evaluated before.
  package var cleared: [UInt32] = []
  /// Gradients that had no reader and no handle when the walk had passed them.
  package var unread: [UInt32] = []
  /// Sums of gradients that are to be computed now, because what they add to is pending while values
  /// were read: with every pass they would keep one more graph.
  package var late: [UInt32] = []

  package init() {}
}

/// The process's recorded passes.
package final class PassCache: Sendable {
  package static let shared = PassCache()

  /// Most records remembered in all passes together, of about 100 bytes each, and most keys of windows
  /// that were seen once.
  package static let recordLimit = 1 << 18
  static let keyLimit = 4096

  private struct State {
    /// Keys that were seen. A pass that never comes again costs no copy.
    var seen: Set<UInt64> = []
    /// Those of passes that turned out to do what can't be copied; they aren't observed again.
    var refused: Set<UInt64> = []
    var passes: [UInt64: [RecordedPass]] = [:]
    var records = 0
    /// For tests: every key is the same, so that only verification tells windows apart.
    var collides = false
    /// Records name layouts.
    var generation: UInt32 = 0
  }
  private let lockedState = Lock(State())

  private func withState<R>(_ body: (inout State) -> R) -> R {
    lockedState.withLock { state in
      let generation = LayoutTable.generation
      if state.generation != generation {
        Self.forget(&state)
        state.generation = generation
      }
      return body(&state)
    }
  }

  /// The passes that were seen with this key; nil where it is the first time, or where it is no use.
  func candidates(_ key: UInt64) -> [RecordedPass]? {
    withState { state in
      let key = state.collides ? 0 : key
      if let known = state.passes[key] { return known }
      if state.seen.contains(key) { return state.refused.contains(key) ? nil : [] }
      if state.seen.count >= Self.keyLimit {
        state.seen = []
        state.refused = []
      }
      state.seen.insert(key)
      return nil
    }
  }

  func remember(_ pass: RecordedPass, key: UInt64) {
    withState { state in
      if state.records + pass.recordCount > Self.recordLimit { Self.forget(&state) }
      if pass.recordCount > Self.recordLimit { return }
      state.passes[state.collides ? 0 : key, default: []].append(pass)
      state.records += pass.recordCount
    }
  }

  func refuse(key: UInt64) {
    withState { state in _ = state.refused.insert(state.collides ? 0 : key) }
  }

  private static func forget(_ state: inout State) {
    state.passes = [:]
    state.seen = []
    state.refused = []
    state.records = 0
  }

  // MARK: Counters and tests

  /// Records that are remembered now.
  package var records: Int { withState { $0.records } }

  package func removeAll() { withState { Self.forget(&$0) } }

  /// Makes every key collide while `body` runs.
  package func withCollidingKeys<R>(_ body: () throws -> R) rethrows -> R {
    withState { state in
      Self.forget(&state)
      state.collides = true
    }
    defer {
      withState { state in
        Self.forget(&state)
        state.collides = false
      }
    }
    return try body()
  }
}
