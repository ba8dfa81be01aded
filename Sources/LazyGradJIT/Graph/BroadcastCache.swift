// Remembers which shapes broadcast to which, so that recording an operation on differently shaped
// operands costs one probe. Uses Core.

/// A direct-mapped memo of `broadcast(a, b)`.
struct BroadcastCache {
  private struct Entry {
    var a: LayoutID = .max
    var b: LayoutID = .max
    var result: LayoutID = 0
  }
  private static let size = 64
  private let entries: UnsafeMutablePointer<Entry>

  init() {
    entries = .allocate(capacity: Self.size)
    entries.initialize(repeating: Entry(), count: Self.size)
  }

  /// The shape that both broadcast to; nil where they don't fit or the count would overflow.
  @inline(__always)
  func shape(_ a: LayoutID, _ b: LayoutID) -> LayoutID? {
    if a == b { return a }
    let entry = entries + Int((a &* 31 &+ b) & 63)
    if entry.pointee.a == a, entry.pointee.b == b { return entry.pointee.result }
    return compute(a, b, entry)
  }

  @inline(never)
  private func compute(
    _ a: LayoutID, _ b: LayoutID, _ entry: UnsafeMutablePointer<Entry>
  ) -> LayoutID? {
    let table = LayoutTable.shared
    guard let dims = Layout.broadcast(table[a].dims, table[b].dims),
      let (_, count) = LayoutTable.contiguousStrides(dims), count <= Int.max / 16
    else { return nil }
    entry.pointee = Entry(a: a, b: b, result: table.intern(dims: dims))
    return entry.pointee.result
  }
}
