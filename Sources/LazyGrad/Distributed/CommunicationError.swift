// What goes wrong between ranks. Uses nothing else of the library.

/// Why ranks can't work together: what was called, what it expected and what it got.
public struct CommunicationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The call, or the number of the collective that ranks disagree on.
  public let operation: String
  /// What it expected and what it got.
  public let message: String
  /// Whether every rank has got this very error.
  public let isShared: Bool

  init(_ operation: String, _ message: String, isShared: Bool = false) {
    self.operation = operation
    self.message = message
    self.isShared = isShared
  }

  /// `collective 6: ranks disagree: rank 0, 1: sum of 1000 float32; rank 2: barrier`.
  public var description: String { "\(operation): \(message)" }
}
