// How programmer errors are reported: one type for their text and one way to stop. First file of
// the module: it uses nothing else.

/// What was wrong with the call of an operation: a shape, an axis, an element type, an index.
public struct TensorError: Error, Sendable, CustomStringConvertible {
  /// The operation that refused, by the name that the caller wrote.
  public let operation: String
  /// What was expected and what came.
  public let message: String

  /// `operation: message`.
  public var description: String { "\(operation): \(message)" }

  init(operation: String, message: String) {
    self.operation = operation
    self.message = message
  }
}

/// Stops the program with `LazyGrad: operation: message` on standard error.
@inline(never)
func stop(_ operation: String, _ message: @autoclosure () -> String) -> Never {
  fatalError("LazyGrad: \(operation): \(message())")
}
