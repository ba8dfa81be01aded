// The scopes that decide how operations are recorded: autodiff on or off, guard on or off, errors
// caught or not. An operation outside all scopes pays one relaxed load.

internal import LazyGradJIT
import Synchronization

/// What the scopes around the running code say. Task-local: child tasks inherit it, other tasks and
/// threads are not touched.
struct Scope: Sendable {
  var isTracking = true
  /// nil: the process default.
  var isGuarding: Bool?
  var errors: ErrorBox?

  @TaskLocal static var current = Scope()

  /// How many scopes are open in the process, and how many poisoned tensors are alive; while there
  /// are none, nobody needs to look at the task-local.
  static let openCount = Atomic<Int>(0)
  /// The process default of the guard: 1 off, 2 on, 0 while nobody has asked. Begins with a literal,
  /// because a global that has to be computed is asked for through `swift_once` at every operation.
  private static let guardDefault = Atomic<UInt8>(0)

  @inline(__always)
  static var isAnyOpen: Bool { openCount.load(ordering: .relaxed) != 0 }

  /// How an operation is to be recorded here and now.
  @inline(__always)
  static var mode: RecordMode {
    let guardDefault = guardDefault.load(ordering: .relaxed)
    if isAnyOpen || guardDefault == 0 { return slowMode }
    return RecordMode(tracking: true, guarding: guardDefault == 2)
  }

  @inline(never)
  private static var slowMode: RecordMode {
    let scope = current
    return RecordMode(
      tracking: scope.isTracking,
      guarding: scope.isGuarding ?? isGuardOn)
  }

  static var isGuardOn: Bool {
    get {
      _ = guardDefault.compareExchange(
        expected: 0, desired: Settings.isGuardOnAtStart ? 2 : 1, ordering: .relaxed)
      return guardDefault.load(ordering: .relaxed) == 2
    }
    set { guardDefault.store(newValue ? 2 : 1, ordering: .relaxed) }
  }

  static var isTracking: Bool { !isAnyOpen || current.isTracking }

  /// Runs `body` in a changed scope, which ends with it however it ends.
  static func with<R>(_ change: (inout Scope) -> Void, _ body: () throws -> R) rethrows -> R {
    var scope = current
    change(&scope)
    openCount.add(1, ordering: .relaxed)
    defer { openCount.subtract(1, ordering: .relaxed) }
    return try $current.withValue(scope, operation: body)
  }

  static func with<R>(
    isolation: isolated (any Actor)?, _ change: (inout Scope) -> Void, _ body: () async throws -> R
  ) async rethrows -> R {
    var scope = current
    change(&scope)
    openCount.add(1, ordering: .relaxed)
    defer { openCount.subtract(1, ordering: .relaxed) }
    return try await $current.withValue(scope, operation: body, isolation: isolation)
  }
}

// MARK: - Autodiff

/// Runs `body` without recording any backward information: nothing is saved for gradients, nothing
/// is locked, and inputs can be freed as soon as their last reader has run.
///
///     let validationLoss = noAutodiff { model(x).sum() }
///
/// Results keep their constness: an operation on variables gives a variable that no gradient flows
/// back from. Nests; the state before is restored also when `body` throws. `backward()` inside does
/// nothing.
public func noAutodiff<R>(_ body: () throws -> R) rethrows -> R {
  try Scope.with({ $0.isTracking = false }, body)
}

/// Runs `body` without recording any backward information, across its suspension points too.
public func noAutodiff<R>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
) async rethrows -> R {
  try await Scope.with(isolation: isolation, { $0.isTracking = false }, body)
}

/// A function that runs `function` inside `noAutodiff`.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func noAutodiff<each A, R>(
  wrapping function: @escaping (repeat each A) throws -> R
) -> (repeat each A) throws -> R {
  { (arguments: repeat each A) in try noAutodiff { try function(repeat each arguments) } }
}

/// A function that runs `function` inside `noAutodiff`.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func noAutodiff<each A, R>(
  wrapping function: @escaping (repeat each A) -> R
) -> (repeat each A) -> R {
  { (arguments: repeat each A) in noAutodiff { function(repeat each arguments) } }
}

/// A function that runs `function` inside `noAutodiff`.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func noAutodiff<each A, R>(
  wrapping function: @escaping (repeat each A) async throws -> R
) -> (repeat each A) async throws -> R {
  { (arguments: repeat each A) in
    try await noAutodiff { try await function(repeat each arguments) }
  }
}
