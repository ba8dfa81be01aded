// Plans as plain data, for programs that look at them: what each kernel does, what it reads and writes, and
// what that costs. Uses the plan and the graph that it was made for.

/// What a plan does, without anything that is needed to do it.
package struct PlanReport: Sendable {
  /// A piece of memory that kernels read or write.
  package enum Memory: Hashable, Sendable {
    /// The number of an input, of a result, and of a place in the memory that lives as long as a run.
    case input(Int)
    case result(Int)
    case temporary(Int)
  }

  /// A value that is there before the plan runs, or afterwards.
  package struct Value: Sendable {
    package let shape: [Int]
    package let type: ScalarType
    /// Of a result: the input whose memory it takes over if nothing else needs that.
    package var replaces: Int?
    /// Of a result: whether it was asked for, and is not only kept for who holds or reads it later.
    package var isAskedFor = false
  }

  package enum Code: Sendable { case native, portable, mixed }

  package struct Kernel: Sendable {
    package enum Kind: Sendable { case loop, product, move }
    package var kind: Kind
    /// What was fused, in the order in which it is computed.
    package var operations: [String]
    /// Of a loop: rows and columns. Of a product: the products of a batch, rows, columns and the summed
    /// lengths. Of a move: the elements.
    package var shape: [Int]
    package var reads: [Memory] = []
    package var writes: [Memory] = []
    /// How often it runs: once, or once in every turn of a loop; memory is that of the first turn.
    package var turns = 1
    /// Bytes and operations of all turns.
    package var bytesRead: Int
    package var bytesWritten: Int
    /// Arithmetic operations on numbers; an elementary function is one. A count of what no array could
    /// hold may be asked for, so it is no `Int`.
    package var flops: Double
    package var code: Code
  }

  package let kernels: [Kernel]
  package let inputs: [Value]
  package let results: [Value]
  /// Recorded operations that the plan computes.
  package let operationCount: Int
  /// Whether the plan was there before it was asked for.
  package let isKnown: Bool
  /// Bytes of memory that live as long as a run: values between kernels, and the scratch memory of a
  /// thread.
  package let temporaryBytes: Int
  package let scratchBytes: Int
  /// Threads that a run takes, of as many as it may.
  package let threads: Int

  /// - Parameter asked: Which of the plan's outputs were asked for.
  init(_ plan: Plan, _ graph: Graph, asked: [Bool], isKnown: Bool, threads: Int) {
    var temporaries: [Int: Int] = [:]
    func memory(_ place: Place) -> Memory {
      let base = Int(place.base)
      if base > plan.leafCount { return .result(base - plan.leafCount - 1) }
      if base > 0 { return .input(base - 1) }
      if let known = temporaries[place.byteOffset] { return .temporary(known) }
      temporaries[place.byteOffset] = temporaries.count
      return .temporary(temporaries.count - 1)
    }
    func value(_ node: GraphNode) -> Value {
      Value(shape: LayoutTable.shared[node.shape].dims, type: node.type)
    }

    if plan.isRolled {
      kernels = plan.sectionRuns.flatMap { run in
        run.body.reports { memory(plan.place($0, ofSection: run.section)) }
          .map { $0.times(run.turns) }
      }
    } else {
      kernels = plan.reports(memory)
    }
    var inputs = [Value?](repeating: nil, count: plan.leafCount)
    var count = 0
    for node in graph.nodes {
      switch node.opcode {
      case .leaf: inputs[Int(node.slot)] = value(node)
      case .scalar: break
      default: count += 1
      }
    }
    self.inputs = inputs.map { $0 ?? Value(shape: [], type: .float64) }
    results = plan.outputs.enumerated().map { i, output in
      var result = value(graph.nodes[output.node])
      result.isAskedFor = asked[i]
      result.replaces =
        plan.updates.array.first {
          $0.output == i && (!$0.isLoop || $0.byteCount >= StoragePool.smallBlock)
        }?.leaf
      return result
    }
    operationCount = count
    self.isKnown = isKnown
    temporaryBytes = plan.arenaBytes
    scratchBytes = plan.workBytes
    self.threads = threads
  }
}

extension Plan {
  /// What its steps are.
  fileprivate func reports(_ memory: (Place) -> PlanReport.Memory) -> [PlanReport.Kernel] {
    steps.array.enumerated().map { i, step in
      let cost = stepCosts[i]
      switch step {
      case .loop(let reference), .calls(let reference, _, _):
        return PlanReport.Kernel(reference.takeUnretainedValue(), cost, memory)
      case .move(let index): return PlanReport.Kernel(moves[index], cost, memory)
      }
    }
  }

  /// Where in the whole plan's memory a place of a section's is.
  fileprivate func place(_ place: Place, ofSection i: Int) -> Place {
    if place.base == Place.arena {
      return Place(base: Place.arena, byteOffset: carriedBytes + place.byteOffset)
    }
    var whole = sectionPlaces[sections[i].firstPlace + Int(place.base) - 1]
    whole.byteOffset += place.byteOffset
    return whole
  }
}

extension PlanReport.Kernel {
  fileprivate func times(_ turns: Int) -> Self {
    var all = self
    all.turns = turns
    all.bytesRead *= turns
    all.bytesWritten *= turns
    all.flops *= Double(turns)
    return all
  }

  fileprivate init(
    _ kernel: LoopKernel, _ cost: Plan.Cost, _ memory: (Place) -> PlanReport.Memory
  ) {
    let isBare = kernel.isNothingButProduct
    self.init(
      kind: kernel.hasProduct ? .product : .loop, operations: kernel.operationNames(Self.name),
      shape: kernel.hasProduct
        ? [kernel.rows / max(kernel.product.m, 1), kernel.product.m, kernel.product.n]
          + kernel.terms.array.map(\.k)
        : [kernel.rows, kernel.columns],
      bytesRead: cost.bytesRead, bytesWritten: cost.bytesWritten, flops: kernel.flops,
      code: kernel.hasProduct
        ? (kernel.nativeProduct == nil
          ? (isBare ? .portable : kernel.loopCode == .portable ? .portable : .mixed)
          : (isBare || kernel.loopCode == .native ? .native : .mixed))
        : kernel.loopCode)

    var written: Set<Int> = []
    for i in 0..<kernel.code.count { written.insert(Int(kernel.code[i].dst)) }
    if kernel.hasProduct { written.insert(kernel.product.register) }
    for (r, register) in kernel.registers.array.enumerated() where register.isDirect {
      if written.contains(r) {
        add(memory(register.place), to: \.writes)
      } else {
        add(memory(register.place), to: \.reads)
      }
    }
    for load in kernel.loads.array where load.kind == .gather {
      add(memory(load.place), to: \.reads)
    }
    for term in kernel.terms.array {
      add(memory(term.a), to: \.reads)
      add(memory(term.b), to: \.reads)
    }
    if kernel.hasProduct, let start = kernel.product.start { add(memory(start), to: \.reads) }
    for store in kernel.stores.array { add(memory(store.place), to: \.writes) }
    for terminal in kernel.terminals.array { add(memory(terminal.place), to: \.writes) }
  }

  fileprivate init(
    _ move: MoveKernel, _ cost: Plan.Cost, _ memory: (Place) -> PlanReport.Memory
  ) {
    let name = move.call.map { "\($0.routine)" } ?? "\(move.kind)"
    self.init(
      kind: .move, operations: [name], shape: [move.count], bytesRead: cost.bytesRead,
      bytesWritten: cost.bytesWritten, flops: move.flops, code: .portable)
    for (i, place) in move.places.enumerated() {
      add(memory(place), to: move.kind == .unstack && i % 2 == 1 ? \.writes : \.reads)
    }
    for place in [move.a, move.b, move.c] where place != move.destination && place.base >= 0 {
      add(memory(place), to: \.reads)
    }
    if move.isInPlace { add(memory(move.destination), to: \.reads) }
    add(memory(move.destination), to: \.writes)
  }

  private mutating func add(
    _ memory: PlanReport.Memory, to list: WritableKeyPath<Self, [PlanReport.Memory]>
  ) {
    if !self[keyPath: list].contains(memory) { self[keyPath: list].append(memory) }
  }

  /// How a fused operation is called for people.
  private static func name(_ name: String, _ reduction: LoopKernel.ReductionKind?) -> String {
    switch reduction {
    case nil: name
    case .rows: "\(name) of rows"
    case .columns: "\(name) of columns"
    case .everything: "\(name) of all"
    }
  }
}

extension LoopKernel {
  /// What a reduction inside of a loop goes over.
  enum ReductionKind { case rows, columns, everything }

  /// The names of what was fused, in the order in which it is computed.
  func operationNames(_ name: (String, ReductionKind?) -> String) -> [String] {
    var names = hasProduct ? ["matmul"] : []
    for instruction in code.array {
      switch instruction.kind {
      case .tile: names.append(name(instruction.opcode.info.name, nil))
      case .reduceRows: names.append(name(instruction.opcode.info.name, .rows))
      case .load, .expandRows: break
      }
    }
    for terminal in terminals.array {
      let kind: ReductionKind =
        switch terminal.kind {
        case .everything: .everything
        case .columns: .columns
        case .rows: .rows
        }
      names.append(name(terminal.opcode.info.name, kind))
    }
    return names
  }

  /// Whether there is nothing to do for the loop's own code.
  fileprivate var isNothingButProduct: Bool {
    hasProduct && code.count == 0 && loads.count == 0 && stores.count == 0 && terminals.count == 0
  }

  fileprivate var loopCode: PlanReport.Code {
    guard let nativeLoop else { return .portable }
    return nativeLoop.terminals.array.contains(.portable) || nativeLoop.loads.count > 0
      ? .mixed : .native
  }

  fileprivate var flops: Double {
    let all = Double(rows) * Double(columns)
    var sum = 0.0
    for term in terms.array { sum += 2 * Double(rows) * Double(product.n) * Double(term.k) }
    for instruction in code.array {
      switch instruction.kind {
      case .tile:
        if instruction.opcode.isArithmetic { sum += instruction.isPerRow ? Double(rows) : all }
      case .reduceRows: sum += all
      case .load, .expandRows: break
      }
    }
    for terminal in terminals.array { sum += terminal.isPerRow ? Double(rows) : all }
    return sum
  }
}

extension MoveKernel {
  fileprivate var flops: Double {
    switch kind {
    case .addRegion: Double(region?._withUnsafeGuaranteedRef { $0.count } ?? 0)
    case .scatterAddRows: Double(bLayout?._withUnsafeGuaranteedRef { $0.count } ?? 0)
    case .cumsum, .cumprod: Double(count)
    case .matrix: 2 * (call?.multiplications ?? 0)
    case .sumRows: Double(width * (places.count - 1))
    case .copy, .gatherRows, .setRows, .setRegion, .concat, .sort, .argsort, .stack, .unstack,
      .numbers:
      0
    }
  }
}

extension Opcode {
  /// Whether it makes a number of numbers; comparisons and copies do not.
  fileprivate var isArithmetic: Bool {
    switch self {
    case .copy, .cast, .select: false
    default: info.typeRule != .bool
    }
  }
}
