// The begin and the end of a program's ranks. Uses Launcher, MPILibrary and ProcessEnd.

import Foundation
import Synchronization

extension Communicator {
  private static let hasRun = Atomic<Bool>(false)

  /// Runs a program's ranks: each process of a launcher calls this once, and is one of them.
  ///
  /// What the launcher's environment says decides. With a launcher the MPI library that goes with it is opened
  /// (`LAZYGRAD_MPI` names another file), and ends with the closure. Without one, `body` runs in a world of
  /// one, as often as the program likes.
  ///
  /// An error that `body` throws, or a library that can't be used, is printed with its rank, and ends all ranks
  /// with status 1: the others can't go on without one of them. So do `exit()` inside `body`, and a trap. In a
  /// world of one without a launcher errors are thrown as always, and `exit()` is what it is.
  ///
  /// The engine takes `LazyGradEngine.shareCores(among: localSize)` threads.
  ///
  /// - Parameter body: What every rank does. Ranks that have returned wait for the others.
  /// - Returns: What `body` returns, on each rank its own.
  /// - Throws: What `body` throws, without a launcher.
  @discardableResult
  public static func run<Result>(_ body: (Communicator) throws -> Result) throws -> Result {
    guard let launcher = Launcher(ProcessInfo.processInfo.environment) else {
      return try body(Communicator())
    }
    let world: Communicator
    do { world = try start(launcher) } catch { refuse(error, launcher) }
    do {
      let result = try body(world)
      try world.link?.leave()
      return result
    } catch { world.end(error) }
  }

  /// Opens the library and finds the other ranks.
  private static func start(_ launcher: Launcher) throws(CommunicationError) -> Communicator {
    if hasRun.exchange(true, ordering: .relaxed) {
      throw CommunicationError(
        "Communicator.run",
        "expected to be called once in a process of a launcher, got a second call")
    }
    let library = try launcher.openLibrary(LazyGradEngine.mpiLibrary)
    let (rank, size) = try library.start()
    if let objection = launcher.objection(toWorldOf: size, library) { throw objection }
    ProcessEnd.watch(library.abortCall(rank: rank))
    let link = RankLink(library, rank: rank, size: size)
    let hosts = try link.hosts()
    let onThis = hosts.indices.filter { hosts[$0] == hosts[rank] }
    LazyGradEngine.shareCores(among: onThis.count)
    return Communicator(
      link, localRank: onThis.firstIndex(of: rank) ?? 0, localSize: onThis.count)
  }

  /// Ends a process that is no rank of a world yet. All processes are likely to have the same error, so the first
  /// one says it, and the launcher ends the others; where it does not, they say it as well.
  private static func refuse(_ error: any Error, _ launcher: Launcher) -> Never {
    if launcher.rank ?? 0 != 0 { usleep(2_000_000) }
    if ProcessEnd.isWatching { ProcessEnd.abort(text(of: error)) }
    ProcessEnd.say(text(of: error), launcher.rank)
    exit(1)
  }

  /// Ends all ranks because of an error. One that all ranks have is said by the first.
  private func end(_ error: any Error) -> Never {
    if let error = error as? CommunicationError, error.isShared, !isRoot { usleep(2_000_000) }
    ProcessEnd.abort(Self.text(of: error))
  }

  private static func text(of error: any Error) -> String {
    let place = (error as? TensorError)?.location.map { " (at \($0))" } ?? ""
    return "\(error)\(place)"
  }
}
