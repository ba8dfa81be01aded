// When the planner plans the turns of a loop once for all of them. Part of what a plan is found by.

/// Which recurrences are found in a graph, and what is made of them.
///
/// No value's bits depend on it, which tests find out by making all of it small.
package struct RollLimits: Hashable, Sendable {
  /// Least operations of a graph that is looked at.
  package var operations = 384
  /// Least turns of a loop.
  package var turns = 8
  /// Operations that turns must have in common, one after the other, to be taken for alike.
  package var common = 16
  /// Turns that are planned together, so that what they have in common, such as a sum over time, is done at once.
  package var merged = 8
  /// Operations that are planned together where turns are short.
  package var mergedOperations = 64
  /// Runs after which a graph that keeps coming is planned as a whole: that takes as much longer as it is longer
  /// than a turn, and gives a few kernels fewer.
  package var runs = 16
  /// Most operations of a graph that is.
  package var wholeOperations = 4096
  /// Whether a graph whose parts could be batched is rolled all the same: for tests.
  package var comesFirst = false

  package init() {}

  package static let usual = RollLimits()

  package static var off: RollLimits {
    var limits = RollLimits()
    limits.operations = .max
    return limits
  }

  /// Whatever comes twice is a loop: for tests.
  package static var all: RollLimits {
    var limits = RollLimits()
    limits.operations = 4
    limits.turns = 2
    limits.common = 2
    limits.merged = 2
    limits.mergedOperations = 1
    limits.runs = .max
    limits.comesFirst = true
    return limits
  }

  package var isOff: Bool { operations == .max }
}

/// What decides beside a graph which plan it gets.
package struct PlanLimits: Hashable, Sendable {
  package var batching: BatchLimits
  package var rolling: RollLimits

  package init(batching: BatchLimits = .usual, rolling: RollLimits = .usual) {
    self.batching = batching
    self.rolling = rolling
  }

  /// Something of it that is other for limits that are used beside each other.
  var word: UInt64 {
    batching.word | UInt64(rolling.isOff ? 1 : rolling.comesFirst ? 2 : 0) << 16
  }
}
