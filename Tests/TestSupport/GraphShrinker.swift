// Makes failing graphs small enough to read.

import LazyGradJIT

/// Cuts a failing case down while it keeps failing.
package enum GraphShrinker {
  /// Looks for a smaller case that `fails` too.
  ///
  /// 1. The first node that fails as the only root: everything after it is irrelevant.
  /// 2. If none fails alone, roots are dropped one by one.
  /// 3. From the end to the start, a node's computation is replaced by its value in memory.
  ///
  /// Every step removes a root or a computed node, so it ends; `limit` bounds the calls of `fails`.
  package static func shrink(
    _ original: GraphCase, limit: Int = 2000, fails: (GraphCase) -> Bool
  ) -> GraphCase {
    var best = original
    var calls = 0
    func stillFails(_ candidate: GraphCase) -> Bool {
      calls += 1
      return calls <= limit && fails(candidate)
    }
    let nodes = original.graph.nodes
    if let culprit = nodes.indices.first(where: {
      nodes[$0].canBeRoot && stillFails(original.rooted(at: [$0]))
    }) {
      best = original.rooted(at: [culprit])
    } else {
      // Positions move when nodes go away; the order of the roots stays.
      for index in original.roots.indices.reversed() where best.roots.count > 1 {
        let roots = best.roots
        let candidate = best.rooted(at: Set(roots[..<index] + roots[(index + 1)...]))
        if stillFails(candidate) { best = candidate }
      }
    }
    return withValuesGiven(best, stillFails)
  }

  private static func withValuesGiven(
    _ start: GraphCase, _ stillFails: (GraphCase) -> Bool
  ) -> GraphCase {
    var best = start
    var values = best.evaluate()
    var position = best.graph.nodes.count - 1
    while position >= 0 {
      defer { position -= 1 }
      guard position < best.graph.nodes.count else { continue }
      let node = best.graph.nodes[position]
      guard !node.isRoot, node.opcode != .leaf, node.opcode != .scalar,
        let candidate = try? best.replacing(position, with: values[position]),
        stillFails(candidate)
      else { continue }
      // What only this node needed is gone, so nothing before it has moved up past `position`.
      best = candidate
      values = best.evaluate()
    }
    return best
  }
}
