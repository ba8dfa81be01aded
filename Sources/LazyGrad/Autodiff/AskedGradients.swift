// The gradients that a program has asked for by name, as a walk over the graph finds them.

internal import LazyGradJIT

/// Gradients by the nodes that gather them. A walk meets nodes from newest to oldest, so each is found without
/// a search.
struct AskedGradients {
  /// The nodes that were asked for, in the order of the program; some may be asked for twice.
  let nodes: [UInt32]
  /// One for each node, the newest first; `Tape.none` until the walk has come by.
  private(set) var entries: [(node: UInt32, gradient: UInt32)]
  /// The first entry that the walk has not passed.
  private var next = 0

  init(_ nodes: [UInt32]) {
    self.nodes = nodes
    entries = []
    entries.reserveCapacity(nodes.count)
    for node in nodes.sorted(by: >) where entries.last?.node != node {
      entries.append((node, Tape.none))
    }
  }

  /// Takes a node's gradient if that was asked for. Nodes must come in descending order.
  @inline(__always)
  mutating func take(_ gradient: UInt32, for node: UInt32) -> Bool {
    while next < entries.count, entries[next].node > node { next += 1 }
    if next == entries.count || entries[next].node != node { return false }
    entries[next].gradient = gradient
    return true
  }

  /// What was taken for a node that was asked for; nil for nothing.
  func gradient(of node: UInt32) -> UInt32? {
    // Binary search: newest first.
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].node > node { low = middle + 1 } else { high = middle }
    }
    let gradient = entries[low].gradient
    return gradient == Tape.none ? nil : gradient
  }
}
