// A word to whoever computes much in a debug build. Uses Core.

#if DEBUG
  import Synchronization

  enum DebugBuild {
    /// Time spent from which on it is said; not for tests and examples that take moments.
    static var patience: Int { 3_000_000_000 }
    private static let spent = Atomic<Int>(0)

    /// Counts time spent on computing, and says once that it was much.
    static func note(_ nanoseconds: Int) {
      let (before, after) = spent.add(nanoseconds, ordering: .relaxed)
      if before < patience, after >= patience {
        Settings.say(
          "this is a debug build, whose kernels take 8 to 280 times as long: swift build -c release"
        )
      }
    }
  }
#endif
