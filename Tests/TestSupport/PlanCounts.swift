// How many plans a piece of a program takes.

import LazyGradJIT

/// Plans that the calling thread's tape has run and made, which no other test changes.
package struct PlanCounts: Equatable {
  package var hits: Int
  package var misses: Int

  package init(hits: Int, misses: Int) {
    (self.hits, self.misses) = (hits, misses)
  }

  /// What `body` takes.
  package init(_ body: () throws -> Void) rethrows {
    let tape = Tape.current
    let before = tape.locked { tape.state.pointee.counters }
    try body()
    let after = tape.locked { tape.state.pointee.counters }
    hits = after.planHits - before.planHits
    misses = after.planMisses - before.planMisses
  }
}
