// How much a thread has recorded, for tests that other tests run beside.

import LazyGradJIT

extension Tape {
  /// All records that the calling thread's tape has made, those that are gone among them.
  package static var recordsOfThisThread: Int {
    let tape = Tape.current
    return tape.locked { tape.state.pointee.counters.nodesRecorded + Int(tape.count) }
  }
}
