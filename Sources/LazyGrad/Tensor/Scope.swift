// The scopes that decide how operations are recorded: autodiff on or off, guard on or off, errors
// caught or not. An operation outside all scopes pays one relaxed load.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
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

  /// How many scopes are open in the process; while there are none, nobody needs to look at the
  /// task-local.
  static let openCount = Atomic<Int>(0)
  /// The process default of the guard: 1 off, 2 on, 0 while nobody has asked. Begins with a literal,
  /// because a global that has to be computed is asked for through `swift_once` at every operation.
  private static let guardDefault = Atomic<UInt8>(0)

  @inline(__always)
  static var isAnyOpen: Bool { openCount.load(ordering: .relaxed) != 0 }

  /// How an operation is to be recorded here and now.
  @inline(__always)
  static var mode: RecordMode { quickMode ?? taskMode }

  /// The same, where no scope is open in the process or the innermost one runs on this thread without a
  /// suspension point; nil where the task-local has to be asked.
  @inline(__always)
  static var quickMode: RecordMode? {
    let guardDefault = guardDefault.load(ordering: .relaxed)
    if isAnyOpen || guardDefault == 0 { return threadMode }
    return RecordMode(tracking: true, guarding: guardDefault == 2)
  }

  @inline(never)
  private static var threadMode: RecordMode? {
    let known = threadScope
    if !known.contains(.isOpen) { return nil }
    return RecordMode(
      tracking: known.contains(.tracks),
      guarding: known.contains(.decidesGuard) ? known.contains(.guards) : isGuardOn)
  }

  @inline(never)
  private static var taskMode: RecordMode {
    let scope = current
    return RecordMode(tracking: scope.isTracking, guarding: scope.isGuarding ?? isGuardOn)
  }

  /// The innermost scope that runs on this thread without a suspension point, as bits.
  ///
  /// Reading a task-local takes 33 ns, as long as all the rest of recording; a thread's own word 2 ns.
  /// While a synchronous scope runs its body, nothing else runs on the thread, so what it says is
  /// what the task-local says (unless the body runs a nested run loop, which shows its scope to what
  /// that runs). The task-local is set as well: tasks that the body starts inherit it.
  private struct ThreadScope: OptionSet {
    let rawValue: UInt
    /// The generic set operations are real calls.
    @inline(__always)
    func contains(_ other: ThreadScope) -> Bool { rawValue & other.rawValue == other.rawValue }
    static var isOpen: ThreadScope { ThreadScope(rawValue: 1) }
    static var tracks: ThreadScope { ThreadScope(rawValue: 2) }
    static var decidesGuard: ThreadScope { ThreadScope(rawValue: 4) }
    static var guards: ThreadScope { ThreadScope(rawValue: 8) }
  }

  private static let threadKey: pthread_key_t = {
    var key = pthread_key_t()
    precondition(pthread_key_create(&key, nil) == 0, "LazyGrad: no thread-specific data left")
    return key
  }()

  private static var threadScope: ThreadScope {
    get { ThreadScope(rawValue: UInt(bitPattern: pthread_getspecific(threadKey))) }
    set { pthread_setspecific(threadKey, UnsafeRawPointer(bitPattern: newValue.rawValue)) }
  }

  private var bits: ThreadScope {
    var bits: ThreadScope = .isOpen
    if isTracking { bits.insert(.tracks) }
    if let isGuarding {
      bits.insert(.decidesGuard)
      if isGuarding { bits.insert(.guards) }
    }
    return bits
  }

  static var isGuardOn: Bool {
    get {
      if guardDefault.load(ordering: .relaxed) == 0 {
        _ = guardDefault.compareExchange(
          expected: 0, desired: Settings.isGuardOnAtStart ? 2 : 1, ordering: .relaxed)
      }
      return guardDefault.load(ordering: .relaxed) == 2
    }
    set { guardDefault.store(newValue ? 2 : 1, ordering: .relaxed) }
  }

  static var isTracking: Bool { !isAnyOpen || mode.isTracking }

  /// Runs `body` in a changed scope, which ends with it however it ends.
  static func with<R>(_ change: (inout Scope) -> Void, _ body: () throws -> R) rethrows -> R {
    var scope = current
    change(&scope)
    openCount.add(1, ordering: .relaxed)
    let outer = threadScope
    threadScope = scope.bits
    defer {
      threadScope = outer
      openCount.subtract(1, ordering: .relaxed)
    }
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
