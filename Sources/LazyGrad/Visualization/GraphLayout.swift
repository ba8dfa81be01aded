// A drawing of a graph as coordinates: boxes in layers, and lines between them that touch no box. Plain numbers;
// knows nothing of tensors.

/// Where everything in a picture of a graph stands, in pixels from the upper left corner.
struct GraphLayout {
  struct Point { var (x, y) = (0.0, 0.0) }
  struct Size { var (width, height) = (0.0, 0.0) }

  /// A line from a box down to the ones that read it.
  struct Line {
    /// From bend to bend, straight down through a layer and curved between layers.
    var points: [Point]
    /// Whether it ends at a box, with a point.
    var isArrow: Bool
  }

  /// The centres of the nodes, and of the references behind them.
  private(set) var centres: [Point] = []
  private(set) var lines: [Line] = []
  private(set) var size = Size()

  private static let gap = 18.0
  private static let bendWidth = 12.0

  /// - Parameters:
  ///   - sizes: Of the nodes, then of the references.
  ///   - sources: By node, the nodes that it was computed from.
  init(_ assignment: LayerAssignment, sizes: [Size], sources: [[Int]]) {
    let n = sources.count
    var layers = assignment.layers + assignment.references.map(\.layer)
    // Edges that go over layers get a bend in each of them, one for all readers of a source.
    var lowest = layers
    func source(_ node: Int, _ k: Int) -> Int {
      let reference = assignment.referenceOfOperand[node][k]
      return reference < 0 ? sources[node][k] : n + reference
    }
    for node in 0..<n {
      for k in sources[node].indices {
        let source = source(node, k)
        lowest[source] = max(lowest[source], layers[node] - 1)
      }
    }
    let boxes = layers.count
    var firstBend = [Int](repeating: -1, count: boxes)
    for box in 0..<boxes where lowest[box] > layers[box] {
      firstBend[box] = layers.count
      for layer in (layers[box] + 1)...lowest[box] { layers.append(layer) }
    }
    /// What an edge from a box leaves from in some layer at or below it.
    func end(_ box: Int, in layer: Int) -> Int {
      layer == layers[box] ? box : firstBend[box] + layer - layers[box] - 1
    }
    var above = [[Int]](repeating: [], count: layers.count)
    var below = above
    func join(_ upper: Int, _ lower: Int) {
      above[lower].append(upper)
      below[upper].append(lower)
    }
    for box in 0..<boxes where firstBend[box] >= 0 {
      for layer in layers[box]..<lowest[box] { join(end(box, in: layer), end(box, in: layer + 1)) }
    }
    for node in 0..<n {
      for k in sources[node].indices { join(end(source(node, k), in: layers[node] - 1), node) }
    }

    var graph = LayeredGraph(
      rows: Self.firstOrder(layers, assignment.count, above), above: above, below: below)
    graph.reduceCrossings()
    let isBend = layers.indices.map { $0 >= boxes }
    let widths = layers.indices.map {
      $0 < boxes ? sizes[$0].width + Self.gap : Self.bendWidth
    }
    var x = graph.centres(widths: widths, isBend: isBend)
    let left = zip(x, widths).map { $0 - $1 / 2 }.min() ?? 0
    let right = zip(x, widths).map { $0 + $1 / 2 }.max() ?? 0
    for vertex in x.indices { x[vertex] -= left }

    // Layers are as high as their highest box, and further apart where edges are flat.
    var heights = [Double](repeating: 0, count: assignment.count)
    var tops = heights
    for box in 0..<boxes { heights[layers[box]] = max(heights[layers[box]], sizes[box].height) }
    var y = 0.0
    for layer in 0..<assignment.count {
      if layer > 0 {
        let flattest = graph.rows[layer].flatMap { v in above[v].map { abs(x[$0] - x[v]) } }.max()
        y += 30 + min((flattest ?? 0) / 14, 110)
      }
      tops[layer] = y
      y += heights[layer]
    }
    size = Size(width: right - left, height: y)
    centres = (0..<boxes).map {
      Point(x: x[$0], y: tops[layers[$0]] + heights[layers[$0]] / 2)
    }

    func leave(_ vertex: Int) -> [Point] {
      let layer = layers[vertex]
      let bottom = Point(x: x[vertex], y: tops[layer] + heights[layer])
      if vertex >= boxes { return [bottom] }
      return [Point(x: x[vertex], y: centres[vertex].y + sizes[vertex].height / 2), bottom]
    }
    for box in 0..<boxes where firstBend[box] >= 0 {
      var points = leave(box)
      for layer in (layers[box] + 1)...lowest[box] {
        let bend = end(box, in: layer)
        points.append(Point(x: x[bend], y: tops[layer]))
        points.append(Point(x: x[bend], y: tops[layer] + heights[layer]))
      }
      lines.append(Line(points: points, isArrow: false))
    }
    for node in 0..<n {
      let count = Double(sources[node].count)
      let spread = min(sizes[node].width * 0.7, 26 * (count - 1))
      for k in sources[node].indices {
        let from = end(source(node, k), in: layers[node] - 1)
        let port = x[node] + (count > 1 ? spread * (Double(k) / (count - 1) - 0.5) : 0)
        let top = centres[node].y - sizes[node].height / 2
        lines.append(
          Line(
            points: leave(from) + [
              Point(x: port, y: tops[layers[node]]), Point(x: port, y: top),
            ], isArrow: true))
      }
    }
  }

  /// An order to begin with: as a walk up from the results meets the vertices, operands from left to right.
  private static func firstOrder(_ layers: [Int], _ count: Int, _ above: [[Int]]) -> [[Int]] {
    var rows = [[Int]](repeating: [], count: count)
    var isSeen = [Bool](repeating: false, count: layers.count)
    let readers = layers.indices.sorted { (layers[$0], $1) > (layers[$1], $0) }
    for start in readers where !isSeen[start] {
      var work = [start]
      while let vertex = work.popLast() {
        if isSeen[vertex] { continue }
        isSeen[vertex] = true
        rows[layers[vertex]].append(vertex)
        work += above[vertex].reversed()
      }
    }
    return rows
  }
}
