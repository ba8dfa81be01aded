// Pass 4: groups become kernels.

extension Planner {
  /// Places the values, turns every group into a kernel and adds up what the plan costs.
  mutating func lower() -> Plan {
    let order = executionOrder()
    var outputs: [Plan.Output] = []
    var outputIndex: [Int: Int] = [:]
    for (i, node) in graph.nodes.enumerated() where node.isRoot {
      outputIndex[i] = outputs.count
      outputs.append(Plan.Output(node: i, byteCount: byteCount(i)))
    }
    let (places, arenaBytes) = placeValues(order, outputs: outputIndex)
    var cost = Plan.Cost()
    var kernels: [LoopKernel] = []
    var moves: [MoveKernel] = []
    var steps: [Plan.Step] = []
    var registerOf = [Int32](repeating: -1, count: places.count)
    var partialBytes = 0
    for g in order {
      if let move = lowerMove(g, places) {
        steps.append(.move(moves.count))
        moves.append(move)
        cost.bytesRead += move.count * move.type.size
        cost.bytesWritten += move.count * move.type.size
        cost.nanoseconds += Double(move.count) * 0.5
      } else {
        var builder = LoopBuilder(
          planner: self, group: groups[g], g: g, places: places, registerOf: registerOf,
          partialOffset: arenaBytes)
        registerOf = []
        let kernel = builder.build()
        partialBytes = max(partialBytes, builder.partialBytes)
        steps.append(.loop(kernels.count))
        kernels.append(kernel)
        cost.bytesRead += builder.bytesRead
        cost.bytesWritten += builder.bytesWritten
        cost.nanoseconds += builder.nanoseconds
        registerOf = builder.takeRegisters()
      }
    }
    return Plan(
      kernels: kernels, moves: moves, steps: steps, arenaBytes: arenaBytes + partialBytes,
      outputs: outputs, leafCount: graph.leafCount, cost: cost)
  }

  /// Where a source begins in memory.
  func place(of source: Source, _ places: [Place?]) -> Place {
    let position = Int(source.position)
    let node = self.node(position)
    if node.opcode == .leaf {
      return Place(base: 1 + node.slot, byteOffset: source.offset * node.type.size)
    }
    var place = places[position]!
    place.byteOffset += source.offset * node.type.size
    return place
  }

  /// The layout over its memory under which operand `index` of a node is read.
  func readLayout(_ i: Int, _ index: Int, _ source: Source) -> Layout {
    layout(source.isLinear ? operandShape(i, index) : source.layout)
  }

  private func lowerMove(_ g: Int, _ places: [Place?]) -> MoveKernel? {
    let group = groups[g]
    let position = Int(group.members[0])
    let node = self.node(position)
    let isLoneCopy =
      group.kind == .loop && group.members.count == 1 && node.opcode == .copy && group.count > 0
      && isStored[position] && !operands(position)[0].isLinear
      && ![.scalar, .iota].contains(self.node(Int(operands(position)[0].position)).opcode)
      && readShapeMatches(position)
    guard group.kind == .move || isLoneCopy else { return nil }
    let inputs = operands(position)
    let a = inputs[0]
    let destination = places[position]!
    var move = MoveKernel(
      kind: .copy, type: node.type, node: position, destination: destination,
      a: place(of: a, places), b: destination, c: destination,
      aLayout: Unmanaged.passUnretained(readLayout(position, 0, a)), count: count(position))
    func table(_ count: Int, _ id: LayoutID) -> (rows: Int, width: Int) {
      let dims = layout(id).dims
      return (dims.first ?? 0, dims.dropFirst().reduce(1, *))
    }
    if inputs.count > 1 {
      move.b = place(of: inputs[1], places)
      move.bLayout = Unmanaged.passUnretained(readLayout(position, 1, inputs[1]))
    }
    if inputs.count > 2 {
      move.c = place(of: inputs[2], places)
      move.cLayout = Unmanaged.passUnretained(readLayout(position, 2, inputs[2]))
    }
    switch node.opcode {
    case .gatherRows:
      move.kind = .gatherRows
      (move.rowCount, move.width) = table(0, operandShape(position, 0))
    case .scatterAddRows:
      move.kind = .scatterAddRows
      (move.rowCount, move.width) = table(0, operandShape(position, 0))
    case .setRegion, .addRegion:
      move.kind = node.opcode == .setRegion ? .setRegion : .addRegion
      move.region = Unmanaged.passUnretained(layout(node.attribute))
      move.regionOffset = node.offset
      // The value is broadcast to the region.
      let region = layout(node.attribute)
      let value = readLayout(position, 1, inputs[1])
      let strides = value.broadcastStrides(to: region.dims)!
      move.bLayout = Unmanaged.passUnretained(
        layout(LayoutTable.shared.intern(dims: region.dims, strides: strides)))
    case .concat:
      move.kind = .concat
      let axis = Int(node.attribute)
      let aDims = layout(operandShape(position, 0)).dims
      let bDims = layout(operandShape(position, 1)).dims
      move.blocks = aDims[..<axis].reduce(1, *)
      move.aBlock = aDims[axis...].reduce(1, *)
      move.bBlock = bDims[axis...].reduce(1, *)
    default: break
    }
    move.isInPlace = move.kind != .copy && move.a == destination && a.isLinear
    return move
  }

  private func readShapeMatches(_ i: Int) -> Bool {
    readLayout(i, 0, operands(i)[0]).dims == layout(node(i).shape).dims
  }
}
