// Errors in the use of tensors: at the call they stop the program, or, inside
// `catchingTensorErrors`, they poison the result and are thrown at the end.

import Foundation
internal import LazyGradJIT
import Synchronization

/// What was wrong with a call: the operation, what it got and what it wants; or that there was no
/// memory for its result.
///
/// Errors are equal if what they say is, wherever they happened.
public struct TensorError: Error, Sendable, Equatable {
  /// Whose fault it is.
  public enum Cause: Sendable {
    /// The call can't be carried out: shapes, axes, types, indices.
    case misuse
    /// The limit of memory is reached, or the system has none left. The tensors are as before: with
    /// more memory the same call works.
    case outOfMemory
  }

  /// Whose fault it is.
  public let cause: Cause
  /// The operation that refused.
  public let operation: String
  /// What it got and what it wants.
  public let message: String
  /// The shapes of the operands, where there were any.
  public internal(set) var shapes: [[Int]]
  fileprivate let site: CallSite

  /// Made where the call fails, while the program's call is on the stack.
  @inline(never)
  init(operation: String, message: String, shapes: [[Int]] = [], cause: Cause = .misuse) {
    self.cause = cause
    self.operation = operation
    self.message = message
    self.shapes = shapes
    site = CallSite()
  }

  /// The program's line that made the call.
  ///
  /// Of a value that is poisoned it is the line that poisoned it, wherever it is read. A lack of memory shows
  /// where a value is computed, so there it is the line that read the value, or stored one, not those of the
  /// operations that it is made of.
  ///
  /// Found by the program's debug information, which SwiftPM makes in debug and release builds, on Linux
  /// with glibc. nil elsewhere, in a stripped program, and where that information is compressed or kept in
  /// a file of its own. Where an optimised program has left the function before the call, or made one call
  /// of several, it is the line in the caller, and nil if that isn't known either.
  ///
  /// - Complexity: nothing is looked for before this is read. Then it reads the part of the debug
  ///   information that is about the file of the call, some milliseconds, in a debug build some tens of
  ///   them; what was found for a call is kept.
  public var location: Location? { site.location }

  /// Compares what the errors say, not where they happened.
  public static func == (a: TensorError, b: TensorError) -> Bool {
    a.cause == b.cause && a.operation == b.operation && a.message == b.message
      && a.shapes == b.shapes
  }
}

extension TensorError: CustomStringConvertible {
  /// The whole message, `operation: expected, got`, without `location`: that takes its time, and errors are
  /// printed, compared and logged often.
  public var description: String { "\(operation): \(message)" }
}

extension TensorError: CustomReflectable {
  /// What the error says; not the way to the call, to read which takes long.
  public var customMirror: Mirror {
    Mirror(
      self,
      children: ["operation": operation, "message": message, "shapes": shapes, "cause": cause],
      displayStyle: .struct)
  }
}

/// The place of a call at the end of a message; nothing where it is not known.
private func text(of site: CallSite) -> String { site.location.map { " (at \($0))" } ?? "" }

/// Ends the program with a message on standard error.
@inline(never)
func stop(_ operation: String, _ message: @autoclosure () -> String) -> Never {
  fatalError("LazyGrad: \(operation): \(message())\(text(of: CallSite()))")
}

/// Ends the program with an error's message on standard error.
private func stop(_ error: TensorError) -> Never {
  fatalError("LazyGrad: \(error)\(text(of: error.site))")
}

/// Where a `catchingTensorErrors` scope keeps the first error.
///
/// A task that was started in the scope may outlive it. What goes wrong there afterwards goes to the
/// scope around it that is still open, as if this one had never been.
final class ErrorBox: Sendable {
  private struct State {
    var first: TensorError?
    var isOpen = true
  }
  private let state = Lock(State())
  private let outer: ErrorBox?

  /// - Parameter outer: Where errors went before.
  init(inside outer: ErrorBox?) { self.outer = outer }

  var error: TensorError? { state.withLock { $0.first } }

  /// Itself while it is open, else the next around it that is.
  var innermostOpen: ErrorBox? {
    var box: ErrorBox? = self
    while let next = box {
      if next.state.withLock({ $0.isOpen }) { return next }
      box = next.outer
    }
    return nil
  }

  /// Keeps an error if it is the first.
  ///
  /// - Returns: Whether the scope was still open.
  fileprivate func note(_ error: TensorError) -> Bool {
    state.withLock { state in
      if state.isOpen { state.first = state.first ?? error }
      return state.isOpen
    }
  }

  /// The end of the scope.
  fileprivate func close() throws {
    let error = state.withLock { state in
      state.isOpen = false
      return state.first
    }
    if let error { throw error }
  }
}

/// The reason why a tensor has no value.
final class Poison {
  let error: TensorError

  init(_ error: TensorError) { self.error = error }

  /// A scalar that stands where a value would be.
  func makeSlot() -> SlotRef {
    let value = NDArray.placeholder(.float64)
    return Tape.current.locked {
      Tape.current.makeSlot(
        storage: Unmanaged.passRetained(value.storage), layout: LayoutTable.scalar, offset: 0,
        type: .float64, isVariable: false)
    }
  }
}

/// The result of a call that can't be carried out: poisoned inside `catchingTensorErrors`, the end
/// of the program elsewhere.
@inline(never)
func fail(_ operation: String, _ message: String, _ operands: [Tensor] = []) -> Tensor {
  Tensor(
    poison: poison(
      TensorError(operation: operation, message: message, shapes: operands.map(\.shape))))
}

extension Tensor {
  /// Whether this stands for the result of a call that could not be carried out: inside
  /// `catchingTensorErrors`, which throws the reason at its end. Such a tensor has no shape of its own, so a
  /// function that checks shapes asks this first and returns it.
  public var isPoisoned: Bool { kind == .poisoned }

  /// What a function of your own returns where it can't be carried out: it ends the program with a message,
  /// and the line that called LazyGrad, or gives a poisoned tensor inside `catchingTensorErrors`.
  ///
  ///     func area(_ sides: Tensor) -> Tensor {
  ///       if sides.isPoisoned { return sides }
  ///       if sides.shape != [2] {
  ///         return .failure("area", "expected two sides, got \(sides.shape)", operands: [sides])
  ///       }
  ///       return sides[0] * sides[1]
  ///     }
  ///
  /// - Parameters:
  ///   - operation: The function.
  ///   - message: What it expected, and what it got.
  ///   - operands: The tensors that it got.
  @inline(never)
  public static func failure(
    _ operation: String, _ message: String, operands: [Tensor] = []
  ) -> Tensor { fail(operation, message, operands) }
}

/// The result of a call that has found out why it can't be carried out.
func fail(_ error: TensorError, _ operands: [Tensor] = []) -> Tensor {
  var error = error
  if error.shapes.isEmpty { error.shapes = operands.map(\.shape) }
  return Tensor(poison: poison(error))
}

/// Reports that there is no memory for a value: to `catchingTensorErrors`, elsewhere it is the end of
/// the program.
@inline(never)
func report(_ error: StorageError, in operation: String) {
  report(tensorError(error, in: operation))
}

/// Tells an error to `catchingTensorErrors`; elsewhere it is the end of the program.
func report(_ error: TensorError) {
  while let box = Scope.errors {
    if box.note(error) { return }
  }
  stop(error)
}

func tensorError(_ error: StorageError, in operation: String) -> TensorError {
  switch error {
  case .outOfMemory(let bytes, let limit):
    TensorError(
      operation: operation, message: "no memory for \(bytes) bytes (limit \(limit))",
      cause: .outOfMemory)
  case .unknownSample:
    TensorError(
      operation: "vmap",
      message: "expected a function that records operations only, got '\(operation)', which asks "
        + "for a value of a sample, as masks and index tensors do whose elements are looked at")
  }
}

/// Makes sure that there is memory for a Swift array, which would end the program where there is none.
func requireMemory(_ byteCount: Int, _ operation: String) throws(TensorError) {
  do throws(StorageError) { try SystemMemory.require(byteCount) } catch {
    throw tensorError(error, in: operation)
  }
}

/// The same for numbers of elements or indices.
func requireMemory(numbers count: Int, _ operation: String) throws(TensorError) {
  do throws(StorageError) { try SystemMemory.require(count, of: MemoryLayout<Int>.stride) } catch {
    throw tensorError(error, in: operation)
  }
}

/// What poisons the result of a call that can't be carried out, where that is caught.
func poison(_ error: TensorError) -> Poison {
  report(error)
  return Poison(error)
}

/// The first poisoned tensor among operands, which the result then is as well.
@inline(__always)
func poisoned(_ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil) -> Tensor? {
  if a.kind == .poisoned { return a }
  if let b, b.kind == .poisoned { return b }
  if let c, c.kind == .poisoned { return c }
  return nil
}

/// Runs `body` so that errors in the use of tensors and arrays are thrown instead of ending the
/// program.
///
/// Inside, a call that can't be carried out (shapes that don't fit, an index out of range) gives a
/// poisoned tensor; operations on it are poisoned without further checks, and nothing that existed
/// before is changed by them. Where there is no memory for a value, reading it gives not-a-number, or
/// 0, and so does an `NDArray` that can't be made. Leaving the scope throws the first error, of which
/// `TensorError.location` is the program's line that made the call.
///
///     let y = try catchingTensorErrors { matmul(a, b) + c }
///     let x = try catchingTensorErrors { NDArray.zeros([rows, columns]) }
///
/// The scope ends with `body`. A task that was started in it and runs on is then as if there were none:
/// until then its errors are among those that are thrown, afterwards an error there stops the program,
/// or goes to a scope further out that is still open.
///
/// - Throws: The first `TensorError`, or what `body` throws if there was none.
public func catchingTensorErrors<R>(_ body: () throws -> R) throws -> R {
  let box = ErrorBox(inside: Scope.errors)
  let result = Result { try Scope.with({ $0.errors = box }, body) }
  try box.close()
  return try result.get()
}

/// Runs `body` so that errors in the use of tensors are thrown, across its suspension points too.
public func catchingTensorErrors<R>(
  isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
) async throws -> R {
  let box = ErrorBox(inside: Scope.errors)
  let result: Result<R, any Error>
  do {
    result = .success(
      try await Scope.with(isolation: isolation, { $0.errors = box }, body))
  } catch { result = .failure(error) }
  try box.close()
  return try result.get()
}
