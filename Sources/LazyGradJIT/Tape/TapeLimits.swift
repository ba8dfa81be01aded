// The numbers at which a tape does something else than record: runs what is pending, moves records,
// starts again. Uses Core.

/// A tape's limits. None of them shows in a value, a gradient or a lock, which tests find out by making
/// them small.
public struct TapeLimits: Sendable {
  /// Most records in one window; past it the window is forced while recording goes on.
  public var windowRecords: UInt32
  /// Most bytes that the window's values would take together.
  public var windowBytes: Int
  /// Live records from which on values that are carried from window to window unread are computed.
  package var lateRecords: Int
  /// Records from which on an arena is compacted at the end of a window, if half of them are dead.
  package var compactedRecords: UInt32
  /// Records from which on an arena starts again when the last handle that points into it goes. Smaller
  /// ones wait for the end of the window, so that a lone operation that is dropped at once does not
  /// pay for new leaf records every time.
  package var resetRecords: UInt32
  /// How many shapes of results each memo of these remembers, a power of two of at most 64.
  package var memoPlaces: Int
  /// Bytes of an old value from which on a loop's result is computed in its memory.
  package var replacedBytes: Int
  /// Records from which on a pass over the graph is remembered, to be copied when it comes again: shorter ones
  /// are walked sooner than looked up.
  package var passRecords = 8
  /// What small operations plans compute together.
  package var batching = BatchLimits.usual
  /// Which loops plans plan once for all turns.
  package var rolling = RollLimits.usual
  /// Whether every backward pass is verified, which takes longer than the pass.
  package var checksPasses: Bool
  /// Views whose layouts are remembered; a power of two.
  var viewPlaces = ViewCache.size
  /// Records of a window from which on objects are kept to be used again. One of fewer is about to be read: its
  /// handles would only be kept to be let go.
  var keptRecords: UInt32 = 16
  /// Bases of which the tape keeps a view's object.
  package var recentViews = RecentViews.capacity

  /// What programs run with, whatever the environment says: for tests of how often something is done.
  package static var usual: TapeLimits {
    var limits = TapeLimits()
    limits.windowRecords = UInt32(Settings.usualWindowRecords)
    limits.replacedBytes = StoragePool.smallBlock
    return limits
  }

  /// What the process runs with.
  package init() {
    windowRecords = UInt32(Settings.windowRecords)
    windowBytes = 8 << 30
    lateRecords = 1 << 16
    compactedRecords = 1 << 14
    resetRecords = 128
    memoPlaces = ShapeMemos.size
    // Tests in small windows have small values.
    replacedBytes =
      Settings.windowRecords < Settings.usualWindowRecords ? 1 : StoragePool.smallBlock
    checksPasses = Settings.checksPasses
  }

  /// All of them small, as far as their meaning allows: for tests.
  ///
  /// - Parameter windowRecords: The limit of the window; the others follow from it.
  package init(windowRecords: UInt32) {
    self.windowRecords = windowRecords
    windowBytes = 1 << 20
    lateRecords = 4 * Int(windowRecords)
    compactedRecords = 2 * windowRecords
    resetRecords = windowRecords / 2
    memoPlaces = 2
    replacedBytes = 1
    passRecords = 1
    batching = .all
    rolling = .all
    checksPasses = true
    viewPlaces = 1
    keptRecords = 1
    recentViews = 1
  }
}

extension TapeLimits {
  var planning: PlanLimits { PlanLimits(batching: batching, rolling: rolling) }
}

extension Tape {
  /// Runs nothing for want of space until that has been ended as often as begun.
  func liftLimits() {
    if state.pointee.liftedLimits == 0 {
      state.pointee.limitsBefore = state.pointee.limits
      state.pointee.limits.windowRecords = .max
      state.pointee.limits.windowBytes = .max
      state.pointee.limits.lateRecords = .max
      // Nor are records moved, by which what has been recorded since is told from what was there.
      state.pointee.limits.resetRecords = .max
      state.pointee.limits.compactedRecords = .max
    }
    state.pointee.liftedLimits += 1
  }

  /// Ends it.
  func restoreLimits() {
    state.pointee.liftedLimits -= 1
    if state.pointee.liftedLimits == 0 { state.pointee.limits = state.pointee.limitsBefore }
  }

  /// Whether a program that never reads has recorded so much that it must be run now.
  @inlinable
  public var isWindowFull: Bool {
    state.pointee.count &- state.pointee.windowStart > state.pointee.limits.windowRecords
      || state.pointee.pendingBytes > state.pointee.limits.windowBytes
  }

  /// Runs `body` with other limits for the calling thread's tape: for tests.
  package static func withLimits<R, E>(
    _ limits: TapeLimits, _ body: () throws(E) -> R
  ) throws(E) -> R {
    let tape = Tape.current
    let before = tape.locked { tape.state.pointee.limits }
    tape.locked { tape.state.pointee.limits = limits }
    defer { tape.locked { tape.state.pointee.limits = before } }
    return try body()
  }
}
