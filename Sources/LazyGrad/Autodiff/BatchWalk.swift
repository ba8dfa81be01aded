// Walks over what was recorded of a sample and records it once more for a batch. BatchingRules.swift has what
// becomes of each operation.

internal import LazyGradJIT

/// One walk over the records of a sample, on a tape that is locked.
///
/// 1. What depends on a sample lies behind the records that stand for samples, in the order of operands:
///    ascending, a record depends on one if an operand does.
/// 2. What the results need of that is found descending, and what gradients of the results can come to: the
///    forward part of a gradient that is taken inside is needed, but no rule of it will be asked.
/// 3. Ascending again, each gets a record whose value has the batch as its first axis. The rest belongs to
///    every sample and is used as it is.
struct BatchWalk {
  let tape: Tape
  /// The number of samples.
  let size: Int
  /// The first record that stands for a sample.
  private let start: UInt32
  private let end: UInt32
  // Plain memory: a walk is handed to every rule, and a list would be retained for each.
  /// For every record since the first what is known of it.
  private let facts: UnsafeMutablePointer<Fact>
  /// For every record since the first that of the batch.
  private let batched: UnsafeMutablePointer<UInt32>
  /// Of the record that is being dealt with.
  private(set) var traits = Node.Traits.none
  private var state = Node.State.none

  private struct Fact: OptionSet {
    let rawValue: UInt8
    /// It depends on a sample.
    static var depends: Fact { Fact(rawValue: 1) }
    /// It stands for one.
    static var isSample: Fact { Fact(rawValue: 2) }
    /// A result needs it.
    static var isNeeded: Fact { Fact(rawValue: 4) }
    /// A result, or what leads to one through records that can be differentiated.
    static var isReached: Fact { Fact(rawValue: 8) }
    static var isResult: Fact { Fact(rawValue: 16) }
  }

  init(_ tape: Tape, size: Int, samples: [SlotRef]) {
    self.tape = tape
    self.size = size
    end = tape.count
    start = samples.reduce(end) { min($0, $1.node ?? $0) }
    // In one piece, facts behind.
    let count = Int(end - start)
    batched = .allocate(capacity: count + (count + 3) / 4)
    batched.initialize(repeating: Tape.none, count: count)
    facts = UnsafeMutableRawPointer(batched + count).bindMemory(to: Fact.self, capacity: count)
    facts.initialize(repeating: [], count: count)
    for sample in samples {
      if let id = sample.node { facts[Int(id - start)] = [.depends, .isSample] }
    }
    for id in start..<end where facts[Int(id - start)] == [] {
      let node = tape.nodes + Int(id)
      if node.pointee.a != 0 {
        if dependsOnSample(id &- node.pointee.a)
          || node.pointee.b != 0 && dependsOnSample(id &- node.pointee.b)
          || node.pointee.c != 0 && dependsOnSample(id &- node.pointee.c)
        {
          facts[Int(id - start)] = .depends
        }
      } else if node.pointee.isImport, let source = tape.importedNode(id), dependsOnSample(source) {
        facts[Int(id - start)] = .depends
      }
    }
  }

  /// Ends the walk.
  func destroy() { batched.deallocate() }

  /// Whether a record depends on a sample.
  func dependsOnSample(_ id: UInt32) -> Bool {
    id >= start && facts[Int(id - start)].contains(.depends)
  }

  private func isSample(_ id: UInt32) -> Bool {
    id >= start && facts[Int(id - start)].contains(.isSample)
  }

  /// A handle beside those of the samples whose value depends on a sample.
  func heldSlot() -> SlotRef? {
    for id in start..<end where facts[Int(id - start)] == .depends {
      let node = tape.nodes + Int(id)
      if let slot = node.pointee.slot, !node.pointee.state.contains(.dead) { return slot }
    }
    return nil
  }

  /// Records the results of the batch; nil for those that depend on no sample.
  ///
  /// - Parameters:
  ///   - batches: The records of the batches, in the order of the samples.
  ///   - mode: How a batch that is itself a result is recorded.
  mutating func run(
    _ results: [SlotRef], of samples: [SlotRef], _ batches: [UInt32], _ mode: RecordMode
  ) throws(Batching.Refusal) -> [SlotRef?] {
    let heads = results.map { slot in slot.node.flatMap { dependsOnSample($0) ? $0 : nil } }
    for case let head? in heads {
      facts[Int(head - start)].formUnion([.isNeeded, .isReached, .isResult])
    }
    for id in (start..<end).reversed() where isRecorded(id) { needOperands(id) }
    for (sample, batch) in zip(samples, batches) {
      if let id = sample.node { batched[Int(id - start)] = batch }
    }
    for id in start..<end where isRecorded(id) { batched[Int(id - start)] = try record(id) }
    return heads.map { head in
      guard let head else { return nil }
      var id = batched[Int(head - start)]
      if tape[id].opcode == .leaf || tape[id].slot != nil || id < end {
        // Somebody's own: an operand that is returned as it is, or a result that is returned twice.
        begin(head)
        // A sample itself: the record for it is no operation.
        if tape[head].opcode == .copy, isSample(tape.a(head)) { state = mode.state }
        id = emit(.copy, type: tape[id].type, shape: tape[id].shape, id)
      }
      return tape.makeSlot(id)
    }
  }

  /// Whether a record is recorded for the batch.
  private func isRecorded(_ id: UInt32) -> Bool {
    let facts = facts[Int(id - start)]
    return facts.contains([.depends, .isNeeded]) && !facts.contains(.isSample)
  }

  /// Marks the records that the batch's version of one is made of.
  private func needOperands(_ id: UInt32) {
    let node = tape.nodes + Int(id)
    var fact = Fact.isNeeded
    if facts[Int(id - start)].contains(.isReached),
      node.pointee.opcode == .leaf || node.pointee.state.contains(.tracked)
    {
      fact.formUnion(.isReached)
    }
    func need(_ id: UInt32) {
      if dependsOnSample(id) { facts[Int(id - start)].formUnion(fact) }
    }
    switch node.pointee.opcode {
    case .leaf: if let source = tape.importedNode(id) { need(source) }
    case .view: need(viewed(id).source)
    case .attach: for operand in attached(id) { need(operand) }
    default:
      need(tape.a(id))
      need(tape.b(id))
      need(tape.c(id))
    }
  }

  private mutating func record(_ id: UInt32) throws(Batching.Refusal) -> UInt32 {
    begin(id)
    if let source = tape.importedNode(id) { return value(source) }
    // The function's own handle for a sample.
    if tape[id].opcode == .copy, isSample(tape.a(id)) { return value(tape.a(id)) }
    let isResult = facts[Int(id - start)].contains(.isResult)
    if tape[id].opcode == .copy, !isResult, !tape[id].traits.contains(.variable),
      !state.contains(.tracked), dependsOnSample(tape.a(id))
    {
      // A derivative rule's, which keeps later gradients away from an operand: being no variable does.
      return view(value(tape.a(id)), batchShape(id), as: traits)
    }
    if tape.batchShape(tape[id].shape, size: size) == nil {
      throw Batching.Refusal(
        message: "the result of '\(tape[id].opcode.info.name)' for \(size) samples of shape "
          + "\(dims(id)) has too many axes or elements")
    }
    return try BatchingRules.apply(tape[id].opcode, self, id)
  }

  /// What is recorded from now on stands for a record: it is a variable, and locks, as that does.
  private mutating func begin(_ id: UInt32) {
    traits = tape[id].traits.intersection(.inherited)
    state = .none
    // Where no gradient comes by, nothing is kept for a rule, and nothing is locked.
    if !facts[Int(id - start)].contains(.isReached) { return }
    if tape[id].state.contains(.tracked) { state.insert(.tracked) }
    if tape[id].state.contains(.guarded) { state.insert(.guarded) }
  }
}

// MARK: - What rules work with

extension BatchWalk {
  /// The lengths of a sample's value.
  func dims(_ id: UInt32) -> [Int] { LayoutTable.shared[tape[id].shape].dims }

  /// The length of the last axis of a sample's value.
  func lastLength(_ id: UInt32) -> Int {
    let shape = LayoutTable.shared[tape[id].shape]
    return shape.dims[shape.rank - 1]
  }

  /// The shape of a batch of a sample's values.
  func batchShape(_ id: UInt32) -> LayoutID {
    tape.batchShape(tape[id].shape, size: size).unsafelyUnwrapped
  }

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
    tape.state.pointee.pendingBytes &+= tape.count(shape) &* type.size
    return tape.append(
      opcode, type, shape: shape, a: x, b: y, c: z, attribute: attribute, payload: payload,
      traits: type.isFloating ? traits : .none, state: state)
  }

  /// Records a view: a layout over the elements of a value in C order.
  ///
  /// - Parameter traits: Whether it is a variable; nil: if the value is one.
  func view(
    _ x: UInt32, _ target: LayoutID, offset: Int = 0, as traits: Node.Traits? = nil
  ) -> UInt32 {
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
    view(x, LayoutTable.shared.intern(dims: dims))
  }

  /// The value of a record whose rows for all samples are one matrix, as the batch that it is.
  func batch(_ x: UInt32, as id: UInt32) -> UInt32 { view(x, batchShape(id)) }

  /// The shape of the matrix that the rows of all samples' matrices are, or their columns as rows.
  func rowsShape(_ id: UInt32, columns: Bool = false) -> LayoutID {
    let key = ViewKey(columns ? .batchedColumns : .batchedRows, size)
    return tape.layout(key, of: tape[id].shape) { shape in
      let dims = shape.dims
      let length = dims[dims.count - (columns ? 2 : 1)]
      let rows = dims.dropLast(columns ? 2 : 1).reduce(size, *)
      return LayoutTable.shared.intern(dims: [rows, length])
    }
  }

  /// A layout over the elements of a record's value in C order, for those of every sample.
  func batchLayout(_ layout: LayoutID, of id: UInt32) -> LayoutID {
    let count = tape.count(tape[id].shape)
    var key = ViewKey(.batchedView, size)
    key.append(count)
    return tape.layout(key, of: layout) { own in
      LayoutTable.shared.intern(dims: [size] + own.dims, strides: [count] + own.strides)
    }
  }

  /// A matrix that belongs to every sample, turned.
  func transposed(_ operand: UInt32) -> UInt32 {
    let target = tape.layout(ViewKey(.reversed), of: tape[operand].shape) { shape in
      LayoutTable.shared.intern(dims: shape.dims.reversed(), strides: shape.strides.reversed())
    }
    return view(value(operand), target)
  }

  /// The value of an operand of a sample's operation that broadcasts to `rank` axes: axes of length 1 stand
  /// between the batch and its own where these are fewer.
  func aligned(_ operand: UInt32, rank: Int) -> UInt32 {
    let x = value(operand)
    if !dependsOnSample(operand) || tape.rank(tape[operand].shape) >= rank { return x }
    var key = ViewKey(.batchedToRank, size)
    key.append(rank)
    return view(
      x,
      tape.layout(key, of: tape[operand].shape) { shape in
        let ones = [Int](repeating: 1, count: rank - shape.rank)
        return LayoutTable.shared.intern(dims: [size] + ones + shape.dims)
      })
  }

  /// The value of an operand for every sample of the batch.
  func expanded(_ operand: UInt32) -> UInt32 {
    let x = value(operand)
    if dependsOnSample(operand) { return x }
    return view(
      x,
      tape.layout(ViewKey(.batchedOnce, size), of: tape[operand].shape) { shape in
        LayoutTable.shared.intern(dims: [size] + shape.dims, strides: [0] + shape.strides)
      })
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
  func sampleStarts(step: Int, rank: Int) -> UInt32 {
    let line = LayoutTable.shared.intern(dims: [size])
    let numbers = emit(.iota, type: .int64, shape: line, Tape.none)
    let scaled = emit(.mul, type: .int64, shape: line, numbers, number(step, .int64))
    let ones = [Int](repeating: 1, count: rank)
    return reshaped(scaled, [size] + ones)
  }
}
