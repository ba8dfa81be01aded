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

extension Tape {
  /// Begins to record a body on the calling thread's tape. Until it has ended nothing is run for want of space:
  /// what is to be cut out in one piece would be cut in two.
  ///
  /// - Returns: How many records there are.
  package static func beginBody() -> UInt32 {
    let tape = current
    return tape.locked {
      tape.liftLimits()
      tape.state.pointee.body = BodyNotes()
      return tape.count
    }
  }

  /// Ends it.
  ///
  /// - Returns: The first thing that it has done besides recording.
  package static func endBody() -> BodyObstacle? {
    let tape = current
    return tape.locked {
      tape.restoreLimits()
      defer { tape.state.pointee.body = nil }
      return tape.state.pointee.body?.obstacle
    }
  }

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
