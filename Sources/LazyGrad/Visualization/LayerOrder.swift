// The order of the nodes within the layers of a drawing: few crossings of edges. Plain numbers.

/// A graph whose edges all lead from one layer to the next.
struct LayeredGraph {
  /// By layer, the vertices from left to right.
  var rows: [[Int]]
  /// By vertex: those that it is joined to in the layer above and in the layer below.
  let above: [[Int]]
  let below: [[Int]]
  private var places: [Int]

  /// - Parameter rows: In an order to begin with.
  init(rows: [[Int]], above: [[Int]], below: [[Int]]) {
    self.rows = rows
    self.above = above
    self.below = below
    places = [Int](repeating: 0, count: above.count)
    number()
  }

  private mutating func number() {
    for row in rows { for (place, vertex) in row.enumerated() { places[vertex] = place } }
  }

  /// Moves vertices to the mean place of what they are joined to, layer by layer, down and up, and keeps
  /// the best order of all (the barycentre method of Sugiyama, Tagawa and Toda, 1981).
  mutating func reduceCrossings() {
    var best = rows
    var fewest = crossings
    let rounds = above.count > 20_000 ? 4 : above.count > 2000 ? 8 : 24
    var worse = 0
    for round in 0..<rounds where fewest > 0 && worse < 4 {
      let sequence = Array(rows.indices)
      for r in round % 2 == 0 ? sequence : sequence.reversed() {
        sort(r, by: round % 2 == 0 ? above : below)
      }
      let now = crossings
      if now < fewest { (best, fewest, worse) = (rows, now, 0) } else { worse += 1 }
    }
    rows = best
    number()
  }

  /// What is joined to nothing in the other layer keeps its place.
  private mutating func sort(_ r: Int, by neighbours: [[Int]]) {
    var free: [(mean: Double, vertex: Int)] = []
    var slots: [Int] = []
    for (place, vertex) in rows[r].enumerated() where !neighbours[vertex].isEmpty {
      let sum = neighbours[vertex].reduce(0) { $0 + places[$1] }
      free.append((Double(sum) / Double(neighbours[vertex].count), vertex))
      slots.append(place)
    }
    // Equal means keep their order: the places break the tie.
    let sorted = free.sorted { ($0.mean, places[$0.vertex]) < ($1.mean, places[$1.vertex]) }
    for (slot, item) in zip(slots, sorted) {
      rows[r][slot] = item.vertex
    }
    for (place, vertex) in rows[r].enumerated() { places[vertex] = place }
  }

  /// Pairs of edges that cross: inversions, counted with a tree of partial sums (Fenwick).
  var crossings: Int {
    var total = 0
    for r in rows.indices.dropFirst() {
      let width = rows[r].count
      var tree = [Int](repeating: 0, count: width + 1)
      var seen = 0
      for vertex in rows[r - 1] {
        let ends = below[vertex].map { places[$0] }
        for end in ends {
          var (before, i) = (0, end + 1)
          while i > 0 { (before, i) = (before + tree[i], i & (i - 1)) }
          total += seen - before
        }
        for end in ends {
          var i = end + 1
          while i <= width { (tree[i], i) = (tree[i] + 1, i + (i & -i)) }
          seen += 1
        }
      }
    }
    return total
  }
}
