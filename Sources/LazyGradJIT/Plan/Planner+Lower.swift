// Pass 4: groups become kernels.

extension Planner {
  /// Places the values, turns every group into a kernel and adds up what the plan costs.
  mutating func lower() -> Plan {
    let order = executionOrder()
    var outputs: [Plan.Output] = []
    var outputIndex: [Int: Int] = [:]
    for i in 0..<graph.nodes.count where entries[i].node.isRoot {
      outputIndex[i] = outputs.count
      outputs.append(Plan.Output(node: i, byteCount: byteCount(i)))
    }
    let placing = placeValues(order, outputs: outputIndex)
    var leafCounts = [Int](repeating: 0, count: graph.leafCount)
    for i in 0..<graph.nodes.count where entries[i].node.opcode == .leaf {
      leafCounts[Int(entries[i].node.slot)] = entries[i].count
    }
    var costs: [Plan.Cost] = []
    var kernels: [LoopKernel] = []
    var moves: [MoveKernel] = []
    var steps: [Plan.Step] = []
    var updates: [Plan.Update] = []
    var builder = LoopBuilder(self, partialOffset: placing.arenaBytes)
    for g in order {
      if let move = lowerMove(g) {
        steps.append(.move(moves.count))
        moves.append(move)
        let bytes = move.movedCount * move.type.size
        costs.append(
          Plan.Cost(
            bytesRead: bytes, bytesWritten: bytes,
            nanoseconds: Double(move.movedCount) * 0.5 + (move.call?.multiplications ?? 0)))
      } else {
        let kernel = builder.build(g)
        updates += kernel.updates(
          at: steps.count, leafCounts: leafCounts, lastReads: placing.lastReads)
        steps.append(.loop(Unmanaged.passUnretained(kernel)))
        kernels.append(kernel)
        costs.append(builder.cost)
      }
    }
    return Plan(
      kernels: kernels, moves: moves, steps: steps,
      arenaBytes: placing.arenaBytes + builder.partialBytes, outputs: outputs,
      leafCount: graph.leafCount, updates: placing.updates + updates, lastReads: placing.lastReads,
      cost: costs.reduce(into: Plan.Cost()) { $0.add($1) }, stepCosts: costs)
  }

  /// Where a source begins in memory.
  func place(of source: Source) -> Place {
    let entry = entries + Int(source.position)
    let bytes = source.offset * entry.pointee.node.type.size
    if entry.pointee.node.opcode == .leaf {
      return Place(base: 1 + entry.pointee.node.slot, byteOffset: bytes)
    }
    var place = entry.pointee.place
    place.byteOffset += bytes
    return place
  }

  /// The layout over its memory under which an operand is read.
  func readLayout(_ operand: Input) -> LayoutID {
    operand.source.isLinear ? operand.shape : operand.source.layout
  }

  private func lowerMove(_ g: Int) -> MoveKernel? {
    let position = Int(groups[g].members[0])
    guard groups[g].kind == .move || isLoneCopy(g) else { return nil }
    let node = entries[position].node
    let inputs = (0..<inputCount(position)).map { input(position, $0) }
    func unmanaged(_ operand: Input) -> Unmanaged<Layout> {
      Unmanaged.passUnretained(layout(readLayout(operand)))
    }
    let destination = entries[position].place
    if entries[position].list != .none { return lowerList(g, destination) }
    var move = MoveKernel(
      kind: .copy, type: node.type, node: position, destination: destination,
      a: place(of: inputs[0].source), b: destination, c: destination,
      aLayout: unmanaged(inputs[0]), count: entries[position].count)
    func table(_ id: LayoutID) -> (rows: Int, width: Int) {
      let dims = layout(id).dims
      return (dims.first ?? 0, dims.dropFirst().reduce(1, *))
    }
    if inputs.count > 1 {
      move.b = place(of: inputs[1].source)
      move.bLayout = unmanaged(inputs[1])
    }
    if inputs.count > 2 {
      move.c = place(of: inputs[2].source)
      move.cLayout = unmanaged(inputs[2])
    }
    switch node.opcode {
    case .gatherRows:
      move.kind = .gatherRows
      (move.rowCount, move.width) = table(inputs[0].shape)
    case .scatterAddRows:
      move.kind = .scatterAddRows
      (move.rowCount, move.width) = table(inputs[0].shape)
    case .setRows:
      move.kind = .setRows
      move.width = node.offset
      move.rowCount = entries[position].count / node.offset
    case .setRegion, .addRegion:
      move.kind = node.opcode == .setRegion ? .setRegion : .addRegion
      let region = layout(node.attribute)
      move.region = Unmanaged.passUnretained(region)
      move.regionOffset = node.slot < 0 ? node.offset : 0
      move.regionNumber = node.slot
      // The value is broadcast to the region.
      let strides = layout(readLayout(inputs[1])).broadcastStrides(to: region.dims)!
      move.bLayout = Unmanaged.passUnretained(
        layout(LayoutTable.shared.intern(dims: region.dims, strides: strides)))
    case .concat:
      move.kind = .concat
      let axis = Int(node.attribute)
      let aDims = layout(inputs[0].shape).dims
      let bDims = layout(inputs[1].shape).dims
      move.blocks = aDims[..<axis].reduce(1, *)
      move.aBlock = aDims[axis...].reduce(1, *)
      move.bBlock = bDims[axis...].reduce(1, *)
    case .cumsum, .cumprod:
      move.kind = node.opcode == .cumsum ? .cumsum : .cumprod
      move.runs = runs(along: Int(node.attribute), of: node.shape)
    case .sort, .argsort:
      move.kind = node.opcode == .sort ? .sort : .argsort
      let order = SortOrder(attribute: node.attribute)
      move.order = (order, of: entries[inputs[0].position].node.type)
      move.runs = runs(along: order.axis, of: node.shape)
    case .matrix:
      move.kind = .matrix
      move.call = MatrixCall(
        attribute: node.attribute, layout(inputs[0].shape).dims,
        inputs.count > 1 ? layout(inputs[1].shape).dims : nil, hasFactors: inputs.count > 2)
    default: break
    }
    move.isInPlace = move.kind != .copy && move.a == destination && inputs[0].source.isLinear
    return move
  }

  /// What has more operands than an operation has, or copies many rows out.
  private func lowerList(_ g: Int, _ destination: Place) -> MoveKernel {
    let first = Int(groups[g].members[0])
    let entry = entries + first
    let row = input(first, 0)
    var move = MoveKernel(
      kind: .stack, type: entry.pointee.node.type, node: first, destination: destination,
      a: place(of: row.source), b: destination, c: destination,
      aLayout: Unmanaged.passUnretained(layout(readLayout(row))), count: entry.pointee.count)
    move.width = row.count
    switch entry.pointee.list {
    case .unstack:
      move.kind = .unstack
      move.count = entry.pointee.count * groups[g].members.count
      for member in groups[g].members {
        move.places.append(place(of: input(Int(member), 0).source))
        move.places.append(entries[Int(member)].place)
      }
    case .sum, .stack, .none:
      if entries[row.position].node.opcode == .scalar {
        move.kind = .numbers
        move.numbers = (0..<inputCount(first)).map { entries[input(first, $0).position].node.slot }
        return move
      }
      if entry.pointee.list == .sum { move.kind = .sumRows }
      move.places = (0..<inputCount(first)).map { place(of: input(first, $0).source) }
    }
    return move
  }

  /// How many runs of elements along an axis there are one behind the other, their length, and how many lie
  /// side by side.
  private func runs(along axis: Int, of shape: LayoutID) -> Runs {
    let dims = layout(shape).dims
    return Runs(
      outer: dims[..<axis].reduce(1, *), length: dims[axis],
      inner: dims[(axis + 1)...].reduce(1, *))
  }

  /// A loop that does nothing but bring strided elements into order.
  private func isLoneCopy(_ g: Int) -> Bool {
    let i = Int(groups[g].members[0])
    guard groups[g].members.count == 1, entries[i].node.opcode == .copy, groups[g].count > 0,
      entries[i].isStored
    else { return false }
    let operand = input(i, 0)
    let opcode = entries[operand.position].node.opcode
    return !operand.source.isLinear && opcode != .scalar && opcode != .iota
      && operand.count == entries[i].count
  }
}
