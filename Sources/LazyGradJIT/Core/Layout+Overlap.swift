// Layouts that show an element at several places. Uses Layout.

extension Layout {
  /// Whether some element may be shown more than once: by an axis that repeats, or by steps that are
  /// shorter than what other axes reach, as those of sliding windows.
  package var mayOverlap: Bool {
    Self.mayOverlap(Array(zip(dims, strides)).map { (length: $0.0, stride: $0.1) })
  }

  /// Axes whose removal leaves none that overlap, the short ones first: one position along them at a time
  /// shows every element once.
  package func overlappingAxes() -> [Int] {
    var kept = (0..<rank).filter { dims[$0] > 1 }
    var removed: [Int] = []
    while Self.mayOverlap(kept.map { (length: dims[$0], stride: strides[$0]) }) {
      let shortest = kept.min { dims[$0] < dims[$1] }!
      kept.removeAll { $0 == shortest }
      removed.append(shortest)
    }
    return removed.sorted()
  }

  private static func mayOverlap(_ axes: [(length: Int, stride: Int)]) -> Bool {
    if axes.contains(where: { $0.length == 0 }) { return false }
    let stepped = axes.filter { $0.length > 1 }.map { (length: $0.length, step: abs($0.stride)) }
    var reach = 0
    for axis in stepped.sorted(by: { $0.step < $1.step }) {
      if axis.step <= reach { return true }
      reach += (axis.length - 1) * axis.step
    }
    return false
  }
}
