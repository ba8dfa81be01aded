// When the planner computes small operations of independent parts of a graph together. Part of what a plan
// is found by.

/// What is batched, and from where on.
///
/// No value's bits depend on it, which tests find out by making all of it small.
package struct BatchLimits: Hashable, Sendable {
  /// Least operations in a batch; 0 for no batches.
  package var members: Int
  /// A graph is batched if that leaves at most one step for so many operations. Unbatched, some six operations
  /// become one loop; batched, one step is a part of a loop, or a loop and the bringing together of its rows. And
  /// where most of what is computed depends on what was computed just before, what little could be batched is
  /// better fused with its neighbours.
  package var operationsPerStep: Int
  /// Least operations of a graph that is looked at.
  package var operations = 64
  /// Least terms of a sum that is taken as a whole.
  package var terms = 8
  /// Most elements of a value that is batched. A call costs as much as some hundred to compute.
  package var elements = 1024
  /// Most rows of a product that is batched: with more of them its right operand is read for enough work.
  package var rows = 8

  package init(members: Int, operationsPerStep: Int) {
    self.members = members
    self.operationsPerStep = operationsPerStep
  }

  /// Something of it that is other for limits that are used beside each other.
  var word: UInt64 { UInt64(members) << 8 | UInt64(operationsPerStep) }

  package static let usual = BatchLimits(members: 4, operationsPerStep: 12)
  package static let off = BatchLimits(members: 0, operationsPerStep: 0)

  /// Whatever can be batched is: for tests.
  package static var all: BatchLimits {
    var limits = BatchLimits(members: 2, operationsPerStep: 0)
    limits.operations = 2
    limits.terms = 3
    return limits
  }
}
