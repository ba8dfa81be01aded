// The switches of the memory guard: whether operations that are recorded here lock the arrays that they
// read. What a lock is, and when it ends, is in the engine's MemoryGuard.swift; who asks, in GuardHooks.swift.

internal import LazyGradJIT
import Synchronization

/// Runs `body` with memory guarding off: operations in it lock no array.
///
/// With guarding off, a host array may be written while a graph still needs it. A result that is
/// pending is not changed by that (it is computed first), but a gradient that is computed later
/// uses what the array holds then. Scopes nest, the innermost wins, and the state before is
/// restored also when `body` throws. Child tasks and a `Task { }` that `body` starts are in the scope as
/// long as they run; detached tasks and other threads are not.
public func memGuardOff<R>(_ body: () throws -> R) rethrows -> R {
  try Scope.with({ $0.isGuarding = false }, body)
}

/// Runs `body` with memory guarding on: operations in it lock the arrays that they read.
public func memGuardOn<R>(_ body: () throws -> R) rethrows -> R {
  try Scope.with({ $0.isGuarding = true }, body)
}

/// Runs `body` with memory guarding off, across its suspension points too.
public func memGuardOff<R>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
) async rethrows -> R {
  try await Scope.with(isolation: isolation, { $0.isGuarding = false }, body)
}

/// Runs `body` with memory guarding on, across its suspension points too.
public func memGuardOn<R>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
) async rethrows -> R {
  try await Scope.with(isolation: isolation, { $0.isGuarding = true }, body)
}

/// A function that runs `function` with memory guarding off.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func memGuardOff<each A, R>(
  wrapping function: @escaping (repeat each A) throws -> R
) -> (repeat each A) throws -> R {
  { (arguments: repeat each A) in try memGuardOff { try function(repeat each arguments) } }
}

/// A function that runs `function` with memory guarding off.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func memGuardOff<each A, R>(
  wrapping function: @escaping (repeat each A) -> R
) -> (repeat each A) -> R {
  { (arguments: repeat each A) in memGuardOff { function(repeat each arguments) } }
}

/// A function that runs `function` with memory guarding off.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func memGuardOff<each A, R>(
  wrapping function: @escaping (repeat each A) async throws -> R
) -> (repeat each A) async throws -> R {
  { (arguments: repeat each A) in
    try await memGuardOff { try await function(repeat each arguments) }
  }
}

/// A function that runs `function` with memory guarding on.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func memGuardOn<each A, R>(
  wrapping function: @escaping (repeat each A) throws -> R
) -> (repeat each A) throws -> R {
  { (arguments: repeat each A) in try memGuardOn { try function(repeat each arguments) } }
}

/// A function that runs `function` with memory guarding on.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func memGuardOn<each A, R>(
  wrapping function: @escaping (repeat each A) -> R
) -> (repeat each A) -> R {
  { (arguments: repeat each A) in memGuardOn { function(repeat each arguments) } }
}

/// A function that runs `function` with memory guarding on.
@_disfavoredOverload  // a trailing closure means the scope, not the wrapper
public func memGuardOn<each A, R>(
  wrapping function: @escaping (repeat each A) async throws -> R
) -> (repeat each A) async throws -> R {
  { (arguments: repeat each A) in
    try await memGuardOn { try await function(repeat each arguments) }
  }
}

/// Turns memory guarding off for the whole process, except inside `memGuardOn`.
public func turnMemoryGuardingOff() { Scope.isGuardOn = false }

/// Turns memory guarding on for the whole process, except inside `memGuardOff`: the default, unless
/// the environment variable `LAZYGRAD_MEM_GUARD` is 0.
public func turnMemoryGuardingOn() { Scope.isGuardOn = true }

/// Whether an operation recorded here and now would lock the arrays that it reads.
public var isMemoryGuardActive: Bool {
  Tape.noteInBody(.askedForGuard)
  return Scope.mode.state.contains(.guarded)
}
