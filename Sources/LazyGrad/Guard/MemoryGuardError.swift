// Why a host array refuses to be written. Thrown by the writers of `NDArray`; uses nothing else.

/// A write to an array that must not change.
public enum MemoryGuardError: Error, Equatable, CustomStringConvertible {
  /// The array is read-only by nature: it was made so, or is a view of one that was, or shows one
  /// element in many places.
  case readOnly
  /// A live graph reads the memory. `holders` names its operations.
  ///
  /// The lock goes when the graph does: after `backward()`, after `clearGraph()`, or with the last
  /// tensor that depends on the array.
  case locked(holders: [String])

  /// What the array refused and why.
  public var description: String {
    switch self {
    case .readOnly:
      "the array is read-only"
    case .locked(let holders):
      "the array is locked: a live graph reads its memory (held by \(Self.list(holders)))"
    }
  }

  /// At most eight names: a long recurrence would hold the lock with thousands of operations.
  private static func list(_ holders: [String]) -> String {
    let shown = holders.prefix(8).joined(separator: ", ")
    return holders.count > 8 ? "\(shown) and \(holders.count - 8) more" : shown
  }
}
