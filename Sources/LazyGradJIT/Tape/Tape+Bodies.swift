// What a tape notes while the body of a compiled function is recorded on it: what that does besides recording.
// Uses the records.

/// What the body of a compiled function has done that a replay would not do.
package enum BodyObstacle: Sendable, Equatable {
  /// It has asked for a value, so what it does may depend on values.
  case read
  /// It has drawn from the default stream of random numbers.
  case drew
  /// It has asked whether the memory guard is on, which nothing else depends on.
  case askedForGuard
}

/// A tape on which a body is recorded, and nothing else: what other threads do with the calling thread's tensors
/// neither moves nor runs records of it.
package struct BodyTape {
  let tape: Tape
  /// What the thread records on otherwise.
  private let outer: Tape
  private let limits: TapeLimits
  /// How many records there were, all of them dead.
  let start: UInt32
  private let joins: Int

  /// Begins to record a body. Until it has ended nothing is run for want of space: what is to be cut out in one
  /// piece would be cut in two.
  package init() {
    let outer = Tape.current
    let outerLimits = outer.locked { outer.state.pointee.limits }
    self.outer = outer
    tape = Tape.takeEmpty()
    tape.lock()
    limits = tape.state.pointee.limits
    tape.state.pointee.limits = outerLimits
    tape.liftLimits()
    tape.state.pointee.body = BodyNotes()
    start = tape.count
    joins = tape.state.pointee.joins
    tape.unlock()
    tape.becomeCurrent()
  }

  /// Ends it; the records stay.
  ///
  /// - Returns: The first thing that the body has done besides recording.
  package func endBody() -> BodyObstacle? {
    outer.becomeCurrent()
    return tape.locked {
      tape.restoreLimits()
      tape.state.pointee.limits = limits
      defer { tape.state.pointee.body = nil }
      return tape.state.pointee.body?.obstacle
    }
  }

  /// Whether tensors from elsewhere have been brought here, or what is here to those.
  var isJoined: Bool { tape.state.pointee.joins != joins }

  /// Gives the tape up, with what is still held on it.
  package func leave() { tape.leaveToTheNext() }
}

extension Tape {
  /// Whether the calling thread is recording a body.
  package static var isInBody: Bool { current.state.pointee.body != nil }

  /// Notes that the calling thread's program does what a replay would not do, if it is in a body.
  ///
  /// By the thread and not by the tape of what is read: tensors of the body may have moved to another tape. Only
  /// the thread itself writes the notes of its tape.
  @inline(__always)
  package static func noteInBody(_ obstacle: BodyObstacle) {
    let tape = current
    if tape.state.pointee.body != nil { tape.note(obstacle) }
  }

  @inline(never)
  private func note(_ obstacle: BodyObstacle) {
    if state.pointee.body?.obstacle == nil { state.pointee.body?.obstacle = obstacle }
  }
}

/// What is noted of a body.
struct BodyNotes {
  var obstacle: BodyObstacle?
}
