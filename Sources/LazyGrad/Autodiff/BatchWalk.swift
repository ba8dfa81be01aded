// Walks over what was recorded of a sample and records it once more for a batch. BatchingRules.swift has what
// becomes of each operation.

internal import LazyGradJIT

/// One walk over the records of a sample, on a tape that is locked.
///
/// 1. What depends on a sample lies behind the records that stand for samples, in the order of operands:
///    ascending, a record depends on one if an operand does.
/// 2. What the results need of that is found descending.
/// 3. Ascending again, each gets a record whose value has the batch as its first axis. The rest belongs to
///    every sample and is used as it is.
struct BatchWalk {
  let tape: Tape
  /// The number of samples.
  let size: Int
  /// The first record that stands for a sample.
  private let start: UInt32
  private let end: UInt32
  private let samples: [UInt32]
  private let batches: [SlotRef]
  /// For every record since the first whether it depends on a sample.
  private var depends: [Bool]
  /// For every record since the first that of the batch.
  private var batched: [UInt32]
  /// Of the record that is being dealt with.
  private(set) var traits = Node.Traits.none
  private var state = Node.State.none

  init(_ tape: Tape, size: Int, samples: [SlotRef], batches: [SlotRef]) {
    self.tape = tape
    self.size = size
    self.batches = batches
    let ids = samples.compactMap(\.node)
    self.samples = ids
    let start = ids.min() ?? tape.count
    self.start = start
    end = tape.count
    depends = [Bool](repeating: false, count: Int(end - start))
    batched = []
    for id in ids { depends[Int(id - start)] = true }
    for id in start..<end where !depends[Int(id - start)] {
      let node = tape[id]
      if node.state.contains(.dead) { continue }
      if node.opcode == .leaf {
        if let source = tape.importedNode(id) { depends[Int(id - start)] = dependsOnSample(source) }
      } else if node.a != 0 {
        depends[Int(id - start)] =
          dependsOnSample(id &- node.a) || node.b != 0 && dependsOnSample(id &- node.b)
          || node.c != 0 && dependsOnSample(id &- node.c)
      }
    }
  }

  /// Whether a record depends on a sample.
  func dependsOnSample(_ id: UInt32) -> Bool { id >= start && depends[Int(id - start)] }

  /// A handle beside those of the samples whose value depends on a sample.
  func heldSlot() -> SlotRef? {
    for id in start..<end where depends[Int(id - start)] && !samples.contains(id) {
      let node = tape[id]
      if let slot = node.slot, !node.state.contains(.dead) { return slot }
    }
    return nil
  }

  /// Records the results of the batch; nil for those that depend on no sample.
  mutating func run(_ results: [SlotRef]) throws(Batching.Refusal) -> [SlotRef?] {
    let heads = results.map { slot in slot.node.flatMap { dependsOnSample($0) ? $0 : nil } }
    var needed = [Bool](repeating: false, count: depends.count)
    for case let head? in heads { needed[Int(head - start)] = true }
    for id in (start..<end).reversed() where needed[Int(id - start)] && !samples.contains(id) {
      for operand in operands(id) where dependsOnSample(operand) {
        needed[Int(operand - start)] = true
      }
    }
    batched = [UInt32](repeating: Tape.none, count: depends.count)
    for (sample, slot) in zip(samples, batches) {
      batched[Int(sample - start)] = tape.operand(slot)
    }
    for id in start..<end
    where needed[Int(id - start)] && batched[Int(id - start)] == Tape.none {
      batched[Int(id - start)] = try record(id)
    }
    return heads.map { head in
      guard let head else { return nil }
      var id = batched[Int(head - start)]
      if tape[id].opcode == .leaf || tape[id].slot != nil || id < end {
        // Somebody's own: an operand that is returned as it is, or a result that is returned twice.
        begin(head)
        id = emit(.copy, type: tape[id].type, shape: tape[id].shape, id)
      }
      return tape.makeSlot(id)
    }
  }

  /// The records that the batch's version of one is made of.
  private func operands(_ id: UInt32) -> [UInt32] {
    let node = tape[id]
    switch node.opcode {
    case .leaf: return tape.importedNode(id).map { [$0] } ?? []
    case .view: return [viewed(id).source]
    case .attach: return attached(id)
    default: return [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }
    }
  }

  private mutating func record(_ id: UInt32) throws(Batching.Refusal) -> UInt32 {
    begin(id)
    if let source = tape.importedNode(id) { return value(source) }
    // The function's own handle for a sample.
    if tape[id].opcode == .copy, samples.contains(tape.a(id)) { return value(tape.a(id)) }
    let dims = self.dims(id)
    if dims.count + 1 > LayoutTable.maxRank || !LayoutTable.isComputable([size] + dims) {
      throw Batching.Refusal(
        message: "the result of '\(tape[id].opcode.info.name)' for \(size) samples of shape "
          + "\(dims) has too many axes or elements")
    }
    return try BatchingRules.apply(tape[id].opcode, self, id)
  }

  /// What is recorded from now on stands for a record: it is a variable, and locks, as that does.
  private mutating func begin(_ id: UInt32) {
    traits = tape[id].traits.intersection(.inherited)
    state = .none
    if tape[id].state.contains(.tracked) { state.insert(.tracked) }
    if tape[id].state.contains(.guarded) { state.insert(.guarded) }
  }
}

// MARK: - What rules work with

extension BatchWalk {
  /// The lengths of a sample's value.
  func dims(_ id: UInt32) -> [Int] { LayoutTable.shared[tape[id].shape].dims }

  /// The shape of a batch of a sample's values.
  func batchShape(_ id: UInt32) -> LayoutID { LayoutTable.shared.intern(dims: [size] + dims(id)) }

  /// The value of a record for the batch, or for every sample.
  func value(_ id: UInt32) -> UInt32 {
    dependsOnSample(id) ? batched[Int(id - start)] : tape.inWindow(id)
  }

  /// What a view is a view of, with the layout that it has over the elements of that in C order.
  func viewed(_ id: UInt32) -> (source: UInt32, layout: LayoutID, offset: Int) {
    let route = tape.b(id)
    if route != id, tape[route].opcode == .view, !tape[id].state.contains(.cleared) {
      return (tape.a(route), tape[route].region, tape[route].regionStart)
    }
    var source = tape.a(id)
    var offset = tape[id].regionStart
    // A record for a view of an earlier window: what is shown here is a part of the memory of that.
    while let origin = tape.importedNode(source), tape[source].layout != tape[source].shape {
      offset += tape[origin].opcode == .view ? tape[origin].regionStart : 0
      source = tape[origin].opcode == .view ? tape.a(origin) : origin
    }
    return (source, tape[id].region, offset)
  }

  /// What an alias is made of: what it is differentiated as a function of, and last its value.
  func attached(_ id: UInt32) -> [UInt32] {
    if tape[id].state.contains(.cleared) { return [tape.b(id)] }
    if Composite.of(tape[id]) !== Composite.custom { return [tape.a(id), tape.b(id)] }
    let (operands, value) = CustomRule.chain(tape, id)
    return operands + [value]
  }

  /// Records an operation that stands for the record that is being dealt with.
  func emit(
    _ opcode: Opcode, type: ScalarType, shape: LayoutID, _ x: UInt32, _ y: UInt32 = Tape.none,
    _ z: UInt32 = Tape.none, attribute: UInt32 = 0, payload: UInt64 = 0
  ) -> UInt32 {
    tape.state.pointee.pendingBytes &+= LayoutTable.shared[shape].count &* type.size
    return tape.append(
      opcode, type, shape: shape, a: x, b: y, c: z, attribute: attribute, payload: payload,
      traits: type.isFloating ? traits : .none, state: state)
  }

  /// Records a view; strides and the offset count in the elements of the value in C order.
  ///
  /// - Parameter traits: Whether it is a variable; nil: if the value is one.
  func view(
    _ x: UInt32, dims: [Int], strides: [Int], offset: Int = 0, as traits: Node.Traits? = nil
  ) -> UInt32 {
    let target = LayoutTable.shared.intern(dims: dims, strides: strides)
    let own = tape[x].traits.intersection(.inherited)
    let wanted = traits ?? own
    if target == tape[x].shape, offset == 0, own.rawValue == wanted.rawValue { return x }
    let mode = RecordMode(
      tracking: state.contains(.tracked), guarding: state.contains(.guarded))
    let id = tape.part(of: x, target, offset, mode)
    tape[id].traits.remove(.inherited)
    tape[id].traits.formUnion(wanted)
    return id
  }

  /// The same elements in C order under another shape.
  func reshaped(_ x: UInt32, _ dims: [Int]) -> UInt32 {
    view(x, dims: dims, strides: strides(dims))
  }

  /// The strides of C order.
  func strides(_ dims: [Int]) -> [Int] {
    LayoutTable.contiguousStrides(dims).unsafelyUnwrapped.strides
  }

  /// The value of an operand of a sample's operation that broadcasts to `rank` axes: axes of length 1 stand
  /// between the batch and its own where these are fewer.
  func aligned(_ operand: UInt32, rank: Int) -> UInt32 {
    let x = value(operand)
    let own = dims(operand)
    if !dependsOnSample(operand) || own.count >= rank { return x }
    let ones = [Int](repeating: 1, count: rank - own.count)
    return reshaped(x, [size] + ones + own)
  }

  /// The value of an operand for every sample of the batch.
  func expanded(_ operand: UInt32) -> UInt32 {
    let x = value(operand)
    if dependsOnSample(operand) { return x }
    let own = dims(operand)
    return view(x, dims: [size] + own, strides: [0] + strides(own))
  }

  /// The value of an operand for every sample, in memory in C order; no way for gradients.
  func inOrder(_ operand: UInt32) -> UInt32 {
    let x = expanded(operand)
    let opcode = tape[x].opcode
    return opcode == .view || opcode == .leaf ? copied(x) : x
  }

  /// A copy of a value; no way for gradients.
  func copied(_ x: UInt32) -> UInt32 {
    tape.append(
      .copy, tape[x].type, shape: tape[x].shape, a: x,
      traits: tape[x].traits.intersection(.inherited))
  }

  /// A number of a type.
  func number(_ value: Int, _ type: ScalarType) -> UInt32 {
    let bits =
      type.isFloating ? Double(value).bitPattern : UInt64(bitPattern: Int64(value))
    return tape.append(.scalar, type, shape: LayoutTable.scalar, payload: bits)
  }

  /// For every sample its number times `step`, as int64 with `rank` axes of length 1 behind the batch.
  func starts(step: Int, rank: Int) -> UInt32 {
    let line = LayoutTable.shared.intern(dims: [size])
    let numbers = emit(.iota, type: .int64, shape: line, Tape.none)
    let scaled = emit(.mul, type: .int64, shape: line, numbers, number(step, .int64))
    let ones = [Int](repeating: 1, count: rank)
    return reshaped(scaled, [size] + ones)
  }
}
