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

/// What the scopes around the running code say.
///
/// The innermost scope is a task-local value. So it means what Swift makes task-local values mean: a
/// child task and a `Task { }` take the scope that is open where they start and keep it for their life;
/// a detached task and another thread are not touched. The scope is an object, so that it lives for
/// exactly as long as its body or a task that took it along: `openCount` counts these objects, and while
/// there are none nobody needs to look at the task-local.
final class Scope: Sendable {
  /// What a scope decides.
  struct Rules: Sendable {
    var isTracking = true
    /// nil: the process default.
    var isGuarding: Bool?
    var errors: ErrorBox?
  }

  let rules: Rules

  private init(_ rules: Rules) {
    self.rules = rules
    Self.openCount.add(1, ordering: .relaxed)
  }

  deinit { Self.openCount.subtract(1, ordering: .relaxed) }

  @TaskLocal private static var innermost: Scope?

  /// How many scopes there are. A task that took one along was started after it was counted, so it reads
  /// a number that includes it, for as long as it runs.
  private static let openCount = Atomic<Int>(0)
  /// The process default of the guard: 1 off, 2 on, 0 while nobody has asked. Begins with a literal,
  /// because a global that has to be computed is asked for through `swift_once` at every operation.
  private static let guardDefault = Atomic<UInt8>(0)

  static var count: Int { openCount.load(ordering: .relaxed) }

  @inline(__always)
  static var isAnyOpen: Bool { openCount.load(ordering: .relaxed) != 0 }

  /// What the scopes here say.
  static var current: Rules { isAnyOpen ? innermost?.rules ?? Rules() : Rules() }

  /// Where errors go here; nil: they end the program.
  static var errors: ErrorBox? { isAnyOpen ? innermost?.rules.errors?.innermostOpen : nil }

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
  private static var taskMode: RecordMode {
    let rules = current
    return RecordMode(tracking: rules.isTracking, guarding: rules.isGuarding ?? isGuardOn)
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
  static func with<R>(_ change: (inout Rules) -> Void, _ body: () throws -> R) rethrows -> R {
    let scope = changed(change)
    let outer = threadWord
    threadWord = scope.rules.threadWord
    defer { threadWord = outer }
    return try $innermost.withValue(scope, operation: body)
  }

  static func with<R>(
    isolation: isolated (any Actor)?, _ change: (inout Rules) -> Void,
    _ body: () async throws -> R
  ) async rethrows -> R {
    // The thread's word stays as it is: it names the task that it is for, and that is another one.
    let scope = changed(change)
    return try await $innermost.withValue(scope, operation: body, isolation: isolation)
  }

  private static func changed(_ change: (inout Rules) -> Void) -> Scope {
    var rules = current
    change(&rules)
    return Scope(rules)
  }

  /// Runs code of the library's own without autodiff.
  ///
  /// For code that starts no task and calls none of the program's: then nobody asks the task-local,
  /// and neither that nor an object is needed.
  static func untracked<R>(_ body: () throws -> R) rethrows -> R {
    var rules = current
    rules.isTracking = false
    openCount.add(1, ordering: .relaxed)
    let outer = threadWord
    threadWord = rules.threadWord
    defer {
      threadWord = outer
      openCount.subtract(1, ordering: .relaxed)
    }
    return try body()
  }
}

// MARK: - The thread's word

// Reading a task-local takes 20 ns, nearly as long as all the rest of recording. So a scope whose body
// has no suspension point also writes what it says into a word of its thread, beside the task that the
// body runs in.
//
//     63                                        4   3                  2         1         0
//     | the task, 16-byte aligned; 0: no task   | default of the guard | guarded | tracked | open |
//
// While the body runs, other code can come by on the thread: a task that the body starts with
// `Task.immediate`, jobs that a nested run loop or an executor of the program's own runs. That is
// another task, with scopes of its own; it sees that the word isn't meant for it, and asks its
// task-local. The body's task itself can't: it waits for the body. (Code without a task, such as a block
// that a nested run loop runs, sees the task-locals of who runs the loop: that is Swift's rule.)

extension Scope {
  fileprivate static let isOpen: UInt = 1
  fileprivate static let tracks: UInt = 2
  fileprivate static let guards: UInt = 4
  /// The guard is on or off as in the process; only asked for where there is something to guard.
  fileprivate static let asksDefault: UInt = 8
  private static let allBits: UInt = 15

  @inline(never)
  fileprivate static var threadMode: RecordMode? {
    let word = threadWord
    if word & isOpen == 0 || word & ~allBits != currentTask { return nil }
    if word & asksDefault != 0 { return RecordMode(tracking: true, guarding: isGuardOn) }
    return RecordMode(tracking: word & tracks != 0, guarding: word & guards != 0)
  }

  /// The key of the thread's word, plus one; 0 while there is none. Begins with a literal, as above.
  private static let threadKey = Atomic<UInt32>(0)

  @inline(never)
  private static func makeThreadKey() -> pthread_key_t {
    var key = pthread_key_t()
    if pthread_key_create(&key, nil) != 0 { fatalError("LazyGrad: no thread-specific data left") }
    let known = threadKey.compareExchange(
      expected: 0, desired: UInt32(key) + 1, ordering: .acquiringAndReleasing)
    if known.exchanged { return key }
    pthread_key_delete(key)
    return pthread_key_t(known.original - 1)
  }

  @inline(__always)
  fileprivate static var threadWord: UInt {
    get {
      let key = threadKey.load(ordering: .relaxed)
      return key == 0 ? 0 : UInt(bitPattern: pthread_getspecific(pthread_key_t(key &- 1)))
    }
    set {
      let known = threadKey.load(ordering: .relaxed)
      let key = known == 0 ? makeThreadKey() : pthread_key_t(known &- 1)
      if pthread_setspecific(key, UnsafeRawPointer(bitPattern: newValue)) != 0 {
        fatalError("LazyGrad: no memory for a thread's scope")
      }
    }
  }

  /// The task that runs on this thread, as a number; 0 where none does.
  ///
  /// `withUnsafeCurrentTask` says the same, in 30 to 50 ns. What it asks gives the task without a
  /// reference, although it is declared to give one: so that reference is never released.
  @inline(__always)
  fileprivate static var currentTask: UInt { unreleased(_getCurrentAsyncTask()) }

  @inline(__always)
  private static func unreleased<Reference>(_ reference: __owned Reference?) -> UInt {
    guard let object = unsafeBitCast(reference, to: AnyObject?.self) else { return 0 }
    return UInt(bitPattern: Unmanaged.passRetained(object).toOpaque())
  }
}

extension Scope.Rules {
  /// What the thread's word says of this scope while its body runs.
  fileprivate var threadWord: UInt {
    var word = Scope.currentTask | Scope.isOpen
    if !isTracking { return word }
    word |= Scope.tracks
    switch isGuarding {
    case true: word |= Scope.guards
    case false: break
    case nil: word |= Scope.asksDefault
    }
    return word
  }
}

// MARK: - Autodiff

// Scopes are functions, not values of one type with `callAsFunction`: of such a type Swift 6.3 takes
// the inner closure of `noAutodiff { _ = Task { await memGuardOff { await f() } } }` for the function of
// `wrapping:`, disfavoured or not.

/// Runs `body` without recording any backward information: nothing is saved for gradients, nothing
/// is locked, and inputs can be freed as soon as their last reader has run.
///
///     let validationLoss = noAutodiff { model(x).sum() }
///
/// Results keep their constness: an operation on variables gives a variable that no gradient flows
/// back from. Nests; the state before is restored also when `body` throws. `backward()` inside does
/// nothing. Child tasks and a `Task { }` that `body` starts are in the scope as long as they run, also
/// where they outlive it; detached tasks and other threads are not.
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
