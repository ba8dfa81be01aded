// The oracle: a graph interpreted node by node, without planner, fusion or sharing, slow and
// obvious. Uses Core, Graph and the other files of this folder, and none of the kernels.

/// What the engine must agree with.
package enum Reference {
  /// The values of all nodes of a graph.
  ///
  /// `leaves` holds the address of the first element of every leaf slot, `scalars` the number of
  /// every scalar slot.
  package static func evaluate(
    _ graph: Graph, leaves: [UnsafeRawPointer], scalars: [Double]
  ) -> [ReferenceArray] {
    var values: [ReferenceArray] = []
    for node in graph.nodes {
      let operands = [node.a, node.b, node.c].filter { $0 >= 0 }.map { values[Int($0)] }
      values.append(value(of: node, operands, leaves: leaves, scalars: scalars))
    }
    return values
  }

  /// The value of one node, given its operands'.
  package static func value(
    of node: GraphNode, _ operands: [ReferenceArray], leaves: [UnsafeRawPointer], scalars: [Double]
  ) -> ReferenceArray {
    let dims = layout(node.shape).dims
    let result: ReferenceArray
    switch node.opcode {
    case .leaf:
      result = ReferenceArray(node.type, layout(node.attribute), at: leaves[Int(node.slot)])
    case .scalar:
      let number = scalars[Int(node.slot)]
      result =
        node.type.isFloating
        ? ReferenceArray(node.type, [], floats: [number])
        : ReferenceArray(node.type, [], integers: [integer(number, node.type)])
    case .iota: result = iota(node.type, dims: dims)
    case .view:
      let map = layout(node.attribute)
      let places = ReferenceArray.places(map.dims, map.strides, from: node.offset)
      result = operands[0].taking(places, dims: map.dims)
    case _ where node.opcode.info.opClass == .reduction:
      result = reduction(
        node.opcode, node.type, operands[0], view: layout(node.attribute).dims, dims: dims)
    case .matmul: result = matmul(node.type, operands[0], operands[1], dims: dims)
    case .gatherRows: result = gatherRows(operands[0], operands[1], dims: dims)
    case .scatterAddRows: result = scatterAddRows(operands[0], operands[1], operands[2])
    case .setRows: result = setRows(operands[0], operands[1], operands[2], width: node.offset)
    case .setRegion, .addRegion:
      result = region(
        operands[0], operands[1], layout: layout(node.attribute), offset: node.offset,
        adding: node.opcode == .addRegion)
    case .concat: result = concat(operands[0], operands[1], axis: Int(node.attribute), dims: dims)
    case .cumsum, .cumprod:
      result = scan(operands[0], axis: Int(node.attribute), isSum: node.opcode == .cumsum)
    case .sort: result = sorted(operands[0], SortOrder(attribute: node.attribute))
    case .argsort: result = places(of: operands[0], SortOrder(attribute: node.attribute))
    case .attach: result = operands[operands.count - 1]
    case .matrix: result = matrix(node.attribute, operands, dims: dims)
    default:
      result = elementwise(node.opcode, node.type, operands.map { $0.broadcast(to: dims) })
    }
    precondition(
      result.type == node.type && result.dims == dims,
      "reference: \(node.opcode) gave \(result.type) \(result.dims), node has \(node.type) \(dims)")
    return result
  }

  private static func layout(_ id: LayoutID) -> Layout { LayoutTable.shared[id] }
}
