// Long sums that a batched graph takes as a whole: what a gradient is gathered from over all samples and
// steps. Uses the planner's tables.

/// The sums of a graph, each `((a + b) + c) + ...` without another reader in between.
///
/// The order of the terms is that of the program, so a sum that is computed as a whole has the bits that it has
/// step by step.
struct BatchChains {
  struct Chain {
    /// Where the terms stand among the operands.
    var terms: [Int32]
    /// Whether all terms are products that only this sum reads.
    var isProduct: Bool
  }
  private(set) var chains: [Chain] = []
  /// By position, the chain that ends there; -1 for none, -2 where the position is part of one.
  private(set) var chainAt: [Int32]

  private let planner: Planner
  private let limits: BatchLimits

  init(_ planner: Planner, _ limits: BatchLimits) {
    self.planner = planner
    self.limits = limits
    chainAt = [Int32](repeating: -1, count: planner.graph.nodes.count)
    find()
  }

  private mutating func find() {
    let n = planner.graph.nodes.count
    // By position: how many terms the sum so far has; whether the first operand is a sum that goes on here.
    var length = [Int32](repeating: 0, count: n)
    var isLink = [Bool](repeating: false, count: n)
    var goesOn = [Bool](repeating: false, count: n)
    for i in 0..<n where isSum(i) {
      length[i] = 2
      let p = planner.input(i, 0).position
      guard length[p] > 0, planner.input(i, 0).source.isLinear,
        planner.entries[p].node.shape == planner.entries[i].node.shape,
        planner.entries[p].readers == 1, !planner.entries[p].node.isRoot
      else { continue }
      isLink[i] = true
      goesOn[p] = true
      length[i] = length[p] + 1
    }
    for end in 0..<n where Int(length[end]) >= limits.terms && !goesOn[end] { add(end, isLink) }
  }

  private mutating func add(_ end: Int, _ isLink: [Bool]) {
    var terms: [Int32] = []
    var links = [end]
    while true {
      let i = links[links.count - 1]
      terms.append(planner.entries[i].firstInput + 1)
      if !isLink[i] {
        terms.append(planner.entries[i].firstInput)
        break
      }
      links.append(planner.input(i, 0).position)
    }
    terms.reverse()
    let isProduct = terms.allSatisfy { isBareProduct(planner.inputs[Int($0)]) }
    if !isProduct, planner.entries[end].count > limits.elements { return }
    for link in links { chainAt[link] = -2 }
    if isProduct { for term in terms { chainAt[planner.inputs[Int(term)].position] = -2 } }
    chainAt[end] = Int32(chains.count)
    chains.append(Chain(terms: terms, isProduct: isProduct))
  }

  /// Whether a position adds two values of its own shape that are in order in memory.
  private func isSum(_ i: Int) -> Bool {
    let entry = planner.entries + i
    guard entry.pointee.isLive, Int(entry.pointee.source.position) == i,
      entry.pointee.node.opcode == .add, entry.pointee.node.type != .bool, entry.pointee.count > 0
    else { return false }
    for k in 0..<2 {
      let operand = planner.input(i, k)
      if operand.shape != entry.pointee.node.shape || !planner.isRow(operand) { return false }
    }
    return true
  }

  /// A product of matrices that is one part of a sum of products.
  private func isBareProduct(_ operand: Planner.Input) -> Bool {
    let p = operand.position
    let entry = planner.entries + p
    guard entry.pointee.node.opcode == .matmul, operand.source.isLinear,
      entry.pointee.readers == 1, !entry.pointee.node.isRoot, entry.pointee.node.type.isFloating,
      entry.pointee.node.shape == operand.shape
    else { return false }
    let dims = planner.layout(operand.shape).dims
    let left = planner.layout(planner.input(p, 0).shape).dims
    guard dims.count == 2, left.count == 2 else { return false }
    // Other products of few rows are batched, as far as they share a matrix.
    let isOuter = left[1] < dims[0]
    return (isOuter || dims[0] > limits.rows) && left[1] > 0 && left[1] <= Summation.blockDepth
  }
}
