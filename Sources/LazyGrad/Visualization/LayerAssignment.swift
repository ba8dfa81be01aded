// Which layer of a drawing each node stands in, and which edges are too long to be drawn. Plain numbers; knows
// nothing of tensors.

/// The layers of an acyclic graph whose nodes come in an order in which sources are first.
struct LayerAssignment {
  /// A mark near a reader that stands for a source far above.
  struct Reference {
    let source: Int
    let layer: Int
  }

  /// By node, from 0 for the uppermost.
  private(set) var layers: [Int]
  private(set) var count: Int
  /// What stands in for sources that are too far away, one for all readers in a layer.
  private(set) var references: [Reference] = []
  /// By node and operand: the reference that stands for the source, -1 for none.
  private(set) var referenceOfOperand: [[Int]]

  /// Layers that an edge may go over. A line that goes on for longer is harder to follow than a name is
  /// to find; and all lines together would be as many as the square of the nodes.
  private static let longestEdge = 12
  /// Inputs that stand side by side in a layer; of more, some stand a little higher.
  private static let widestRow = 12
  private static let mostRows = 8

  /// - Parameter sources: By node, the nodes that it was computed from.
  init(_ sources: [[Int]]) {
    // 1. By the longest way to a result, so that everything is as near to its readers as can be.
    let n = sources.count
    var heights = [Int](repeating: 0, count: n)
    for node in (0..<n).reversed() {
      for source in sources[node] { heights[source] = max(heights[source], heights[node] + 1) }
    }
    // 2. Many inputs of one layer are spread over several.
    var inputs: [Int: [Int]] = [:]
    for node in 0..<n where sources[node].isEmpty {
      inputs[heights[node], default: []].append(node)
    }
    for (height, row) in inputs where height > 0 && row.count > Self.widestRow {
      let rows = min((row.count + Self.widestRow - 1) / Self.widestRow, Self.mostRows)
      for (k, node) in row.enumerated() { heights[node] = height + k % rows }
    }
    let top = heights.max() ?? 0
    layers = heights.map { top - $0 }
    count = n == 0 ? 0 : top + 1
    // 3. References in place of long edges, in the layer above the reader.
    var known: [SIMD2<Int>: Int] = [:]
    referenceOfOperand = sources.map { [Int](repeating: -1, count: $0.count) }
    for node in 0..<n {
      for (k, source) in sources[node].enumerated()
      where layers[node] - layers[source] > Self.longestEdge {
        let key = SIMD2(source, layers[node])
        if known[key] == nil {
          known[key] = references.count
          references.append(Reference(source: source, layer: layers[node] - 1))
        }
        referenceOfOperand[node][k] = known[key]!
      }
    }
  }
}
