// How a rank ends before its time: what it says, and that the others end with it. Uses the calls of the system.

import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The ends of a rank that are not the end of its program.
///
/// Ranks can't go on without one of them, and MPI must not be ended by a rank that the others wait for:
/// `MPI_Finalize` would wait for them. So:
/// - an error is printed, and all ranks are aborted;
/// - `exit()` inside `Communicator.run` becomes an abort as well: the system calls us on the way;
/// - a trap, or another signal that ends the process, is said in one line, and goes its way then; the launcher
///   sees that a process has died, and ends the others.
enum ProcessEnd {
  /// How to abort all ranks.
  struct Abort: Sendable {
    let rank: Int
    let function: @convention(c) (UInt, Int32) -> Int32
    let world: UInt
  }

  /// nil while this process is no rank, and once it is being aborted.
  private static let current = Mutex<Abort?>(nil)
  private static let hasExitHandler = Atomic<Bool>(false)
  fileprivate static let signals = [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT]

  /// From here on an early end of this process is one of all ranks.
  static func watch(_ abort: Abort) {
    current.withLock { $0 = abort }
    if !hasExitHandler.exchange(true, ordering: .relaxed) {
      atexit {
        ProcessEnd.abortIfRunning("exit() was called inside Communicator.run, which ends all ranks")
      }
    }
    watchSignals(abort.rank)
  }

  static var isWatching: Bool { current.withLock { $0 != nil } }

  /// From here on this process may end as it likes.
  static func release() {
    current.withLock { $0 = nil }
    restoreSignals()
  }

  /// A line on standard error; those of other ranks don't come in between.
  static func say(_ text: String, _ rank: Int?) {
    let line = Array("LazyGrad: \(rank.map { "rank \($0): " } ?? "")\(text)\n".utf8)
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  /// Microseconds between what is said and the end: Hydra, MPICH's launcher, drops what it has not read from
  /// its processes when one of them aborts.
  fileprivate static let timeToBeHeard: UInt32 = 300_000

  /// Says why, and ends all ranks.
  static func abort(_ text: String) -> Never {
    abortIfRunning(text)
    _exit(1)
  }

  private static func abortIfRunning(_ text: String) {
    guard let abort = take() else { return }
    say(text, abort.rank)
    // What is printed in buffers of the C library is what the program has done so far.
    fflush(nil)
    usleep(timeToBeHeard)
    restoreSignals()
    // Should the library hang, the process ends all the same, and the launcher sees that.
    signal(SIGALRM, SIG_DFL)
    alarm(5)
    _ = abort.function(abort.world, 1)
    _exit(1)
  }

  private static func take() -> Abort? {
    current.withLock { abort in
      defer { abort = nil }
      return abort
    }
  }
}

// MARK: - Signals

// What a signal handler reads has to be there before: no memory is taken in it, and no lock.

/// What is said at a signal.
private struct SignalLine {
  var text: UnsafeMutablePointer<CChar>?
  var count = 0
}

/// The line for each signal, and what was to happen at it before.
nonisolated(unsafe) private var trapLines: UnsafeMutablePointer<SignalLine>? = nil
nonisolated(unsafe) private var trapActions: UnsafeMutablePointer<sigaction>? = nil

extension ProcessEnd {
  private static func watchSignals(_ rank: Int) {
    if trapLines == nil {
      trapLines = .allocate(capacity: 64)
      trapLines?.initialize(repeating: SignalLine(), count: 64)
      trapActions = .allocate(capacity: 64)
      trapActions?.initialize(repeating: sigaction(), count: 64)
    }
    for number in signals {
      let name = strsignal(number).map { String(cString: $0) } ?? ""
      let text =
        "LazyGrad: rank \(rank): ended by signal \(number) (\(name)), which ends all ranks\n"
      trapLines?[Int(number)] = SignalLine(text: strdup(text), count: text.utf8.count)
      sigaction(number, nil, trapActions! + Int(number))
      signal(number) { number in
        if let lines = trapLines, let text = lines[Int(number)].text {
          _ = write(STDERR_FILENO, text, lines[Int(number)].count)
        }
        usleep(ProcessEnd.timeToBeHeard)
        // What was to happen before happens at the end of this function: a backtrace, or the end.
        if let actions = trapActions { sigaction(number, actions + Int(number), nil) }
        raise(number)
      }
    }
  }

  fileprivate static func restoreSignals() {
    guard let lines = trapLines, let actions = trapActions else { return }
    for number in signals where lines[Int(number)].text != nil {
      sigaction(number, actions + Int(number), nil)
      free(lines[Int(number)].text)
      lines[Int(number)] = SignalLine()
    }
  }
}
