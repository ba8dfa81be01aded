// Makes random graphs for the differential tests of the engine.

import LazyGradJIT

/// The generator of random graphs.
package enum RandomGraph {
  /// What kind of graphs to make.
  package struct Options: Sendable {
    /// How many nodes; what is refused or turns out to be unneeded does not count.
    package var nodeCount = 10...500
    /// How many elements an array may have at most; one of these is chosen per graph.
    package var elementLimits = [1200, 1200, 4096, 4096, 4096, 4096, 16384, 16384, 1 << 17]
    /// The share of graphs made of correctly rounded operations for the most part.
    package var exactGraphs = 0.3
    /// The share of graphs with NaN, infinities, -0 and denormals in their leaves.
    package var specialValues = 0.15
    /// The probability that an axis has no elements.
    package var emptyAxes = 0.02
    /// The share of nodes that are roots although something reads them.
    package var heldIntermediates = 0.06
    /// The share of views of views that stay so, instead of being composed.
    package var nestedViews = 0.15

    package init() {}
  }

  /// A random graph with its data. Equal seeds and options give equal cases.
  package static func make(seed: UInt64, options: Options = Options()) -> GraphCase {
    let builder = GraphBuilder(seed: seed, options: options)
    builder.chooseTheme()
    // Small graphs are the easiest to understand, so they are the most frequent.
    let u = builder.random.uniform()
    let range = options.nodeCount
    // Graphs with large arrays stay short, for the oracle is slow.
    let most = max(range.lowerBound, min(range.upperBound, 1_000_000 / builder.elementLimit))
    let target = range.lowerBound + Int(u * u * u * Double(most - range.lowerBound))
    for _ in 0..<builder.random.int(1...4) { _ = builder.leaf() }
    // Every round may be refused, so their number is bounded as well.
    for _ in 0..<(4 * target) where builder.nodes.count < target {
      if builder.random.chance(0.2) { builder.pattern() } else { builder.step() }
    }
    return builder.finish(seed: seed)
  }
}
