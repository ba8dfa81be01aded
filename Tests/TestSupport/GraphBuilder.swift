// Builds random graphs one checked node at a time. The oracle runs along, so that a graph never
// contains a step on which two correct engines could disagree.

import Foundation
import LazyGradJIT

/// Appends nodes to a graph and knows their values.
///
/// Each node is computed as it is, and a few more times with every free rounding disturbed by some
/// units in the last place ("shadows"). A node one of whose shadows strays, by amplified rounding
/// or by another NaN or infinity, is refused. So the comparison can use one small tolerance for all
/// graphs, however deep. Operations that jump (comparisons, floor, argmax) are refused on operands
/// that are not exact to the bit.
package final class GraphBuilder {
  package let options: RandomGraph.Options
  package var random: SeededRandom
  package internal(set) var nodes: [GraphNode] = []
  package internal(set) var values: [ReferenceArray] = []
  /// By shadow and position. One shadow may come out right by chance where arrays are small.
  var shadows = [[ReferenceArray]](repeating: [], count: 4)
  var agreements: [Agreement] = []
  var leaves: [GraphCase.Leaf] = []
  var scalars: [Double] = []
  /// The strided view that each leaf node is, over its storage.
  var leafViews: [Int: StridedView] = [:]
  /// The shapes that most nodes of this graph have, so that operations fit together.
  var shapes: [[Int]] = []
  var mainType = ScalarType.float32
  var injectsSpecials = false
  var elementLimit = 2048
  /// Whether operations whose results are not exact to the bit are avoided.
  var prefersExact = false

  package init(seed: UInt64, options: RandomGraph.Options) {
    LayoutTable.keepAll()
    self.options = options
    random = SeededRandom(seed: seed)
  }

  func dims(_ i: Int) -> [Int] { values[i].dims }
  func type(_ i: Int) -> ScalarType { nodes[i].type }
  func id(_ dims: [Int]) -> LayoutID { LayoutTable.shared.intern(dims: dims) }

  var pointers: [UnsafeRawPointer] {
    leaves.map { UnsafeRawPointer($0.storage.pointer) + $0.byteOffset }
  }

  // MARK: The check

  /// Appends a node, or refuses it.
  func add(_ node: GraphNode) -> Int? {
    let operands = node.operands
    let inputs = operands.map { values[$0] }
    let own = Agreement.own(node)
    let agreement = operands.reduce(own) { max($0, agreements[$1]) }
    if node.opcode != .leaf, LayoutTable.shared[node.shape].count > elementLimit { return nil }
    let isHalf = node.type.isHalf || inputs.contains { $0.type.isHalf }
    if isHalf, !node.opcode.info.takesHalves { return nil }
    if jumps(node), operands.contains(where: { agreements[$0] != .exact }) { return nil }
    if own != .exact,
      inputs.contains(where: { Comparison.largestMagnitude($0.floats) > 1e6 })
    {
      return nil
    }
    let value = Reference.value(of: node, inputs, leaves: pointers, scalars: scalars)
    if cancels(node, inputs, value, agreement) { return nil }
    var disturbed: [ReferenceArray] = []
    for known in shadows {
      let shadow = self.shadow(of: node, value, operands.map { known[$0] }, own, agreement)
      if value.type.isFloating, !isClose(value, shadow, agreement) { return nil }
      disturbed.append(shadow)
    }
    for i in shadows.indices { shadows[i].append(disturbed[i]) }
    nodes.append(node)
    values.append(value)
    agreements.append(agreement)
    return nodes.count - 1
  }

  private func shadow(
    of node: GraphNode, _ value: ReferenceArray, _ operands: [ReferenceArray], _ own: Agreement,
    _ agreement: Agreement
  ) -> ReferenceArray {
    var result = value
    if agreement != .exact || operands.contains(where: { $0.floats.contains(0) }) {
      let inputs = own == .exact ? operands : operands.map(disturb)
      result = Reference.value(of: node, inputs, leaves: pointers, scalars: scalars)
    }
    if own != .exact { result = disturb(result) }
    return own != .exact || hasFreeSignOfZero(node.opcode) ? flipZeros(result) : result
  }

  /// Whether a small change of an operand can make a large change of the result.
  private func jumps(_ node: GraphNode) -> Bool {
    switch node.opcode {
    case .equal, .notEqual, .less, .lessEqual, .greater, .greaterEqual, .floor, .sign, .argmax,
      .argmin, .argsort, .logicalNot, .logicalAnd, .logicalOr, .fmod:
      true
    // The digits that are left of a number of 16 bits are fewer than the tolerance allows to differ.
    case .cast: !node.type.isFloating || node.type.isHalf
    default: false
    }
  }

  /// Whether IEEE 754 and NumPy leave it open which zero comes out.
  private func hasFreeSignOfZero(_ opcode: Opcode) -> Bool {
    switch opcode {
    case .max, .min, .maximum, .minimum, .relu, .sign, .floor: true
    default: false
    }
  }

  private func disturb(_ x: ReferenceArray) -> ReferenceArray {
    guard x.type.isFloating, !x.floats.isEmpty else { return x }
    let unit = x.type == .float32 ? 0x1p-22 : 0x1p-51
    return ReferenceArray(
      x.type, x.dims,
      floats: x.floats.map {
        // At least half of it, so that rounding cannot undo the change.
        let change = unit * random.uniform(0.5...1)
        return $0 * (random.chance(0.5) ? 1 + change : 1 - change)
      })
  }

  private func flipZeros(_ x: ReferenceArray) -> ReferenceArray {
    if !x.floats.contains(0) { return x }
    return ReferenceArray(
      x.type, x.dims, floats: x.floats.map { $0 == 0 && random.chance(0.5) ? -$0 : $0 })
  }

  private func isClose(
    _ value: ReferenceArray, _ shadow: ReferenceArray, _ agreement: Agreement
  ) -> Bool {
    if agreement == .exact { return Comparison.compare(shadow, value, .exact) == nil }
    let magnitude = Comparison.largestMagnitude(value.floats)
    if magnitude > 1e4 || (magnitude != 0 && magnitude < 1e-6) { return false }
    let bound = magnitude * Comparison.tolerance(agreement) / 20
    return zip(value.floats, shadow.floats).allSatisfy { x, y in
      x.isNaN ? y.isNaN : x.isInfinite ? x == y : abs(x - y) <= bound
    }
  }

  /// Whether a sum has lost so many digits that few elements might hide it from the shadow, or a product
  /// may have overflowed on the way.
  private func cancels(
    _ node: GraphNode, _ inputs: [ReferenceArray], _ value: ReferenceArray, _ agreement: Agreement
  ) -> Bool {
    switch node.opcode {
    case .add, .sub, .sum, .cumsum, .matmul:
      let magnitude = Comparison.largestMagnitude(value.floats)
      return agreement != .exact && value.count > 0
        && inputs.contains { Comparison.largestMagnitude($0.floats) > 1000 * magnitude }
    case .prod, .cumprod:
      // Where no product of some of the elements is out of range the order doesn't show.
      let exponents = inputs[0].floats.filter { $0.isFinite && $0 != 0 }.map { abs(log2(abs($0))) }
      return exponents.reduce(0, +) > 100
    default: return false
    }
  }

  // MARK: Choosing

  /// An earlier node that satisfies a condition, with a bias to recent ones.
  func choose(where isWanted: (Int) -> Bool) -> Int? {
    guard !nodes.isEmpty else { return nil }
    for _ in 0..<12 {
      let u = random.uniform()
      let i = nodes.count - 1 - Int(u * u * Double(nodes.count))
      if nodes[i].opcode != .scalar, isWanted(i) { return i }
    }
    return nil
  }

  func chooseFloat() -> Int { choose { self.type($0).isComputedFloat } ?? leaf() }

  // MARK: Elementary steps

  func unary(_ opcode: Opcode, _ a: Int) -> Int? {
    let type: ScalarType = opcode.info.typeRule == .bool ? .bool : self.type(a)
    return add(GraphNode(opcode, type, shape: nodes[a].shape, a: a))
  }

  func binary(_ opcode: Opcode, _ a: Int, _ b: Int) -> Int? {
    guard type(a) == type(b), let dims = Layout.broadcast(dims(a), dims(b)) else { return nil }
    let type: ScalarType = opcode.info.typeRule == .bool ? .bool : self.type(a)
    return add(GraphNode(opcode, type, shape: id(dims), a: a, b: b))
  }

  func cast(_ a: Int, to type: ScalarType) -> Int? {
    self.type(a) == type ? a : add(GraphNode(.cast, type, shape: nodes[a].shape, a: a))
  }

  func number(_ value: Double, _ type: ScalarType) -> Int {
    scalars.append(value)
    return add(
      GraphNode(.scalar, type, shape: LayoutTable.scalar, slot: scalars.count - 1))!
  }

  /// Reduces the axes `run`, leaving them with length 1 or not at all.
  func reduce(_ opcode: Opcode, _ a: Int, _ run: Range<Int>, keepDims: Bool) -> Int? {
    let dims = self.dims(a)
    let view = [
      dims[..<run.lowerBound].reduce(1, *), dims[run].reduce(1, *),
      dims[run.upperBound...].reduce(1, *),
    ]
    if view[1] == 0, opcode.info.reducer?.extreme != nil { return nil }
    let middle = keepDims ? [Int](repeating: 1, count: run.count) : []
    let result = Array(dims[..<run.lowerBound]) + middle + Array(dims[run.upperBound...])
    let isPosition = opcode.info.search != nil
    return add(
      GraphNode(
        opcode, isPosition ? .int64 : type(a), shape: id(result), a: a, attribute: id(view)))
  }

  func matmul(_ a: Int, _ b: Int) -> Int? {
    let (x, y) = (dims(a), dims(b))
    guard type(a) == type(b), x.count >= 2, y.count >= 2, x.last! == y[y.count - 2],
      let batch = Layout.broadcast(Array(x.dropLast(2)), Array(y.dropLast(2)))
    else { return nil }
    let result = batch + [x[x.count - 2], y.last!]
    if result.reduce(x.last!, *) > 200_000 { return nil }
    return add(GraphNode(.matmul, type(a), shape: id(result), a: a, b: b))
  }

  /// A view of a node. One of a leaf is one more leaf over the same memory, as the graph's builder
  /// makes it; one of a view goes over that view's source.
  func view(_ a: Int, _ transform: (inout StridedView) -> Void) -> Int? {
    if let over = leafViews[a] {
      var view = over
      transform(&view)
      if view.count > max(elementLimit, over.count) { return nil }
      return addLeaf(type(a), view, leaves[Int(nodes[a].slot)].storage)
    }
    var source = a
    var view = StridedView(contiguous: dims(a))
    if nodes[a].opcode == .view, !random.chance(options.nestedViews) {
      source = Int(nodes[a].a)
      let layout = LayoutTable.shared[nodes[a].attribute]
      view = StridedView(dims: layout.dims, strides: layout.strides, offset: nodes[a].offset)
    }
    if nodes[source].opcode == .scalar { return nil }
    transform(&view)
    return add(
      GraphNode(
        .view, type(a), shape: view.shapeID, a: source, attribute: view.layoutID,
        offset: view.offset))
  }

  func transposed(_ a: Int) -> Int? {
    let rank = dims(a).count
    if rank < 2 { return nil }
    return view(a) { $0.transpose(Array(0..<(rank - 2)) + [rank - 1, rank - 2]) }
  }

  // MARK: The result

  /// The graph of everything so far. What nothing reads becomes a root, and some of the rest.
  func finish(seed: UInt64) -> GraphCase {
    var isRead = [Bool](repeating: false, count: nodes.count)
    for node in nodes { for operand in node.operands { isRead[operand] = true } }
    for i in nodes.indices where !isRead[i] || random.chance(options.heldIntermediates) {
      // A view that nothing reads has no memory of its own.
      if !isRead[i], nodes[i].opcode == .view || nodes[i].opcode == .attach {
        if let copy = unary(.copy, i) { nodes[copy].isRoot = true }
      } else {
        nodes[i].isRoot = nodes[i].canBeRoot
      }
    }
    let graph = Graph(nodes: nodes, leafCount: leaves.count, scalarCount: scalars.count)
    return GraphCase(seed: seed, graph: graph, leaves: leaves, scalars: scalars).compacted()
  }
}
