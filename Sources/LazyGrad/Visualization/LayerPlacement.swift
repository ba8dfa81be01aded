// Where the nodes of a layered drawing stand from left to right. Plain numbers.

extension LayeredGraph {
  /// The centre of every vertex, so that no two of a layer overlap and edges are as steep as they can be.
  ///
  /// Layer by layer, down and up, each vertex wants to stand where what it is joined to stands on average;
  /// what comes nearest to that with the distances that widths ask for is an isotonic regression, which
  /// pools neighbours that would overlap and moves them together.
  ///
  /// - Parameters:
  ///   - widths: By vertex, with the space beside it.
  ///   - isBend: By vertex: it is a bend of an edge that goes on, which should be straight.
  func centres(widths: [Double], isBend: [Bool]) -> [Double] {
    var x = [Double](repeating: 0, count: widths.count)
    for row in rows {
      var left = 0.0
      for vertex in row {
        x[vertex] = left + widths[vertex] / 2
        left += widths[vertex]
      }
      for vertex in row { x[vertex] -= left / 2 }
    }
    let rounds = widths.count > 20_000 ? 6 : 16
    for round in 0..<rounds {
      let isDown = round % 2 == 0
      let sequence = Array(rows.indices)
      for r in isDown ? sequence : sequence.reversed() {
        // The last two rounds look both ways.
        place(
          rows[r], &x, widths, isBend, looksUp: isDown || round >= rounds - 2,
          looksDown: !isDown || round >= rounds - 2)
      }
    }
    return x
  }

  private func place(
    _ row: [Int], _ x: inout [Double], _ widths: [Double], _ isBend: [Bool], looksUp: Bool,
    looksDown: Bool
  ) {
    // Blocks of vertices that touch: the mean of what they want, less their distance from the first.
    var blocks: [(sum: Double, weight: Double, count: Int)] = []
    var shifts: [Double] = []
    var shift = 0.0
    for (k, vertex) in row.enumerated() {
      if k > 0 { shift += (widths[row[k - 1]] + widths[vertex]) / 2 }
      shifts.append(shift)
      var (sum, weight) = (0.0, 0.0)
      func look(_ neighbours: [Int]) {
        for other in neighbours {
          let w = isBend[vertex] && isBend[other] ? 24.0 : isBend[vertex] || isBend[other] ? 2 : 1
          sum += w * x[other]
          weight += w
        }
      }
      if looksUp { look(above[vertex]) }
      if looksDown { look(below[vertex]) }
      if weight == 0 { (sum, weight) = (0.05 * x[vertex], 0.05) }
      blocks.append((sum - weight * shift, weight, 1))
      while blocks.count > 1 {
        let (last, before) = (blocks[blocks.count - 1], blocks[blocks.count - 2])
        if before.sum / before.weight <= last.sum / last.weight { break }
        blocks.removeLast()
        blocks[blocks.count - 1] = (
          before.sum + last.sum, before.weight + last.weight, before.count + last.count
        )
      }
    }
    var k = 0
    for block in blocks {
      for _ in 0..<block.count {
        x[row[k]] = block.sum / block.weight + shifts[k]
        k += 1
      }
    }
  }
}
