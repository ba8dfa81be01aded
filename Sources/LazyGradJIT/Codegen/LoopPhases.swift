// Cuts the instructions of a loop into phases between the reductions of its rows, and writes each
// phase's body. Continues LoopShape.swift; LoopCompiler has the bodies emitted.

/// A reduction of the lanes of a running result: of a row, or of a part of a whole reduction.
struct LoopReduction {
  let reducer: Reducer
  let lane: LoopLane
  /// Where the 128 bytes of running lanes are in the frame.
  let lanes: Int
  /// The slot that the result is put in, for all lanes; -1 for none.
  var slot = -1
  /// The argument to which the result of a part goes, as a double or an int64; -1 for none.
  var argument = -1
  /// Where the sums of blocks are kept in the frame where a row has several; -1 for none.
  var blocks = -1
}

/// The bodies of a loop in the order in which they run: one for the row, then one for its elements,
/// and so on.
struct LoopPhases {
  /// Before phase k, and behind the last.
  var rowBodies: [LoopBody] = []
  var bodies: [LoopBody] = []
  var tailBodies: [LoopBody] = []
  /// Bodies over several rows at once, for sums of columns: then the running sums are loaded and
  /// stored once for all of them.
  var tallBody: LoopBody?
  var tallTailBody: LoopBody?
  static let tallRows = 8
  var reductions: [[LoopReduction]] = []
  /// Slots that are filled before the loop: from what an argument points to.
  var scalars: [(slot: Int, type: ScalarType, argument: Int)] = []
  var uniforms: [(slot: Int, type: ScalarType, argument: Int)] = []

  let shape: LoopShape
  let kernel: LoopKernel
  let instructionSet: InstructionSet
  private var space: LoopFrameSpace
  /// The phase in which each register of the kernel is computed, and the last that reads it.
  private(set) var phase: [Int]
  private var lastPhase: [Int]
  private(set) var slots: [Int]
  private var buffers: [Int]
  private var reductionOf: [LoopReduction?]
  /// Per terminal: the running lanes of a part.
  private var partLanes: [Int]

  init(_ shape: LoopShape, _ set: InstructionSet, _ space: inout LoopFrameSpace) {
    self.shape = shape
    kernel = shape.kernel
    instructionSet = set
    let count = kernel.registers.count
    phase = Array(repeating: 0, count: count)
    lastPhase = Array(repeating: -1, count: count)
    slots = Array(repeating: -1, count: count)
    buffers = Array(repeating: -1, count: count)
    reductionOf = Array(repeating: nil, count: count)
    partLanes = Array(repeating: -1, count: shape.terminals.count)
    self.space = space
    schedule()
    assignMemory()
    build()
    space = self.space
  }

  /// Whether an instruction reduces rows. Those of one element are their own reductions.
  private func isReduction(_ i: Int) -> Bool {
    kernel.code[i].kind == .reduceRows && kernel.registers[Int(kernel.code[i].dst)].isPerRow
  }

  /// What an instruction reads, where it is no load.
  @inline(__always)
  private func forEachOperand(_ i: Int, _ visit: (Int) -> Void) {
    let instruction = kernel.code[i]
    if instruction.kind == .load { return }
    let none = LoopKernel.Instruction.noRegister
    visit(Int(instruction.a))
    if instruction.b != none { visit(Int(instruction.b)) }
    if instruction.c != none { visit(Int(instruction.c)) }
  }

  // MARK: Order

  /// A full value of phase k may be read by full values of phase k and later ones, a value of a row
  /// too; what is reduced in phase k is known in phase k + 1.
  private var phaseCount: Int { (phase.max() ?? 0) + 1 }

  private mutating func schedule() {
    for i in 0..<kernel.code.count {
      let instruction = kernel.code[i]
      if instruction.kind == .load { continue }
      var own = 0
      forEachOperand(i) { own = max(own, phase[$0]) }
      if isReduction(i) { own += 1 }
      phase[Int(instruction.dst)] = own
    }
    for i in 0..<kernel.code.count {
      let instruction = kernel.code[i]
      let reads = phase[Int(instruction.dst)] - (isReduction(i) ? 1 : 0)
      forEachOperand(i) { lastPhase[$0] = max(lastPhase[$0], reads) }
    }
  }

  private mutating func assignMemory() {
    for r in 0..<kernel.registers.count {
      let register = kernel.registers[r]
      switch shape.roles[r] {
      case .scalar(let argument):
        slots[r] = space.reserve(64)
        scalars.append((slots[r], register.type, argument))
      case .uniform(let argument):
        slots[r] = space.reserve(64)
        uniforms.append((slots[r], register.type, argument))
      case .computed:
        if register.isPerRow {
          slots[r] = space.reserve(64)
        } else if lastPhase[r] > phase[r] {
          buffers[r] = space.reserve(kernel.columns * max(register.type.size, 4) + 64)
        }
      case .memory, .repeated: if register.isPerRow { slots[r] = space.reserve(64) }
      case .unused: break
      }
    }
    for t in shape.terminals.indices where shape.terminals[t] == .parts {
      partLanes[t] = space.reserve(LoopAddress.laneBytes)
    }
    for i in 0..<kernel.code.count where isReduction(i) {
      let instruction = kernel.code[i]
      let reducer = Self.reducer(instruction)
      let blocks =
        kernel.columns > Summation.blockLength && reducer.isPairwise
          && instruction.type.isFloating
        ? space.reserve((kernel.columns / Summation.blockLength + 1) * 8) : -1
      reductionOf[Int(instruction.dst)] = LoopReduction(
        reducer: reducer,
        lane: instruction.type.size == 1 ? .i32 : instruction.type.lane,
        lanes: space.reserve(LoopAddress.laneBytes), slot: slots[Int(instruction.dst)],
        blocks: blocks)
    }
  }

  static func reducer(_ instruction: LoopKernel.Instruction) -> Reducer {
    guard let reducer = instruction.opcode.info.reducer else {
      preconditionFailure(
        "loop compiler: expected a reduction, got \(instruction.opcode.info.name)")
    }
    return reducer
  }

  // MARK: Bodies

  private mutating func build() {
    let count = phaseCount
    for p in 0..<count {
      reductions.append([])
      rowBodies.append(rowBody(p))
      bodies.append(fullBody(p, masked: false))
      let found = reductions[p]
      tailBodies.append(fullBody(p, masked: true))
      reductions[p] = found
    }
    if count == 1, shape.terminals.contains(.columns), shape.hasWholeRows,
      LoopSteps.isCheap(bodies[0]), shape.isInReach(rows: Self.tallRows, elementSize: 8)
    {
      tallBody = fullBody(0, masked: false, rows: Self.tallRows)
      tallTailBody = fullBody(0, masked: true, rows: Self.tallRows)
    }
  }

  /// The values of registers in one body.
  typealias Values = [LoopBody.Value]

  /// The row of a tall body that is being written.
  private var rowAhead = 0

  private func address(_ r: Int) -> LoopAddress {
    guard case .memory(let argument, let index) = shape.roles[r] else {
      preconditionFailure("loop compiler: register without memory")
    }
    let size = kernel.registers[r].type.size
    let row = index == .element ? kernel.columns * size : shape.advances[argument]
    return LoopAddress(
      pointer: argument, index: index, size: size, offset: rowAhead * row,
      half: kernel.registers[r].half)
  }

  /// A register's value in a body over elements.
  private func full(_ r: Int, _ body: inout LoopBody, _ values: inout Values) -> LoopBody.Value {
    if values[r] >= 0 { return values[r] }
    let type = kernel.registers[r].type
    if slots[r] >= 0 {
      values[r] = fromSlot(r, &body)
      return values[r]
    }
    var value: LoopBody.Value
    if case .repeated(let argument) = shape.roles[r] {
      let place = LoopAddress(
        pointer: argument, index: .none, size: type.size,
        offset: rowAhead * shape.advances[argument], half: kernel.registers[r].half)
      value = body.broadcast(type.size == 1 ? .i32 : type.lane, place)
    } else {
      var place: LoopAddress
      if buffers[r] >= 0 {
        place = LoopAddress(
          pointer: -1, index: .column, size: max(type.size, 4), offset: buffers[r])
      } else {
        place = address(r)
      }
      value =
        place.size == 1
        ? body.loadBytes(place)
        : place.half != nil
          ? body.loadHalves(place) : body.load(type.size == 1 ? .i32 : type.lane, place)
    }
    if type == .bool { value = body.mask(ofBytes: value) }
    values[r] = value
    return value
  }

  func fromSlot(_ r: Int, _ body: inout LoopBody) -> LoopBody.Value {
    let type = kernel.registers[r].type
    let value = body.slot(type.size == 1 ? .i32 : type.lane, slots[r])
    return type == .bool ? body.mask(ofBytes: value) : value
  }

  /// Bools leave vector registers as numbers.
  func outside(
    _ value: LoopBody.Value, _ type: ScalarType, _ body: inout LoopBody
  ) -> LoopBody.Value {
    type == .bool ? body.number(ofMask: value) : value
  }

  private mutating func fullBody(_ p: Int, masked: Bool, rows: Int = 1) -> LoopBody {
    var body = LoopBody(instructionSet)
    var sums: [LoopBody.Value] = []
    for row in 0..<rows {
      rowAhead = row
      var values = Values(repeating: -1, count: kernel.registers.count)
      addInstructions(p, &body, &values, masked: masked)
      addTerminals(p, &body, &values, &sums, masked: masked)
    }
    rowAhead = 0
    storeSums(p, sums, &body)
    return body
  }

  private mutating func addInstructions(
    _ p: Int, _ body: inout LoopBody, _ values: inout Values, masked: Bool
  ) {
    for i in 0..<kernel.code.count {
      let instruction = kernel.code[i]
      let dst = Int(instruction.dst)
      switch instruction.kind {
      case .load: continue
      case .expandRows:
        if phase[dst] != p { continue }
        values[dst] = full(Int(instruction.a), &body, &values)
        keep(dst, values[dst], &body)
      case .tile:
        if kernel.registers[dst].isPerRow || phase[dst] != p { continue }
        values[dst] = tile(i) {
          full($0, &body, &values)
        } apply: { a, b, c in
          body.tile(instruction.opcode, instruction.type, instruction.resultType, a, b, c)
        }
        keep(dst, values[dst], &body)
      case .reduceRows where !isReduction(i):
        if phase[dst] != p { continue }
        let value = full(Int(instruction.a), &body, &values)
        values[dst] = body.reducedAlone(Self.reducer(instruction), value, instruction.type)
        keep(dst, values[dst], &body)
      case .reduceRows:
        if phase[dst] != p + 1 { continue }
        let reduction = reductionOf[dst]!
        reductions[p].append(reduction)
        let value = full(Int(instruction.a), &body, &values)
        accumulate(
          outside(value, instruction.type, &body), reduction, &body, masked: masked)
      }
    }
  }

  func tile(
    _ i: Int, _ operand: (Int) -> LoopBody.Value,
    apply: (LoopBody.Value, LoopBody.Value, LoopBody.Value) -> LoopBody.Value
  ) -> LoopBody.Value {
    let instruction = kernel.code[i]
    let none = LoopKernel.Instruction.noRegister
    let a = operand(Int(instruction.a))
    let b = instruction.b == none ? -1 : operand(Int(instruction.b))
    let c = instruction.c == none ? -1 : operand(Int(instruction.c))
    return apply(a, b, c)
  }

  /// Stores what is wanted in memory, or in a later phase.
  private func keep(_ r: Int, _ value: LoopBody.Value, _ body: inout LoopBody) {
    let type = kernel.registers[r].type
    if case .memory = shape.roles[r] {
      body.store(outside(value, type, &body), address(r))
    } else if buffers[r] >= 0 {
      body.store(
        outside(value, type, &body),
        LoopAddress(
          pointer: -1, index: .column, size: max(type.size, 4), offset: buffers[r]))
    }
  }

  private func accumulate(
    _ value: LoopBody.Value, _ reduction: LoopReduction, _ body: inout LoopBody, masked: Bool
  ) {
    let place = LoopAddress(
      pointer: -1, index: .lane, size: reduction.lane.size, offset: reduction.lanes)
    var value = value
    if masked {
      let start = body.constant(reduction.lane, bits: reduction.start)
      value = body.select(body.tail(reduction.lane), value, start)
    }
    let before = body.load(reduction.lane, place)
    body.store(body.combine(reduction.reducer, before, value), place)
  }

  /// - Parameter sums: the running results of columns so far, in the order of the terminals.
  private mutating func addTerminals(
    _ p: Int, _ body: inout LoopBody, _ values: inout Values, _ sums: inout [LoopBody.Value],
    masked: Bool
  ) {
    var column = 0
    forEachTerminal(p) { t, argument in
      let terminal = kernel.terminals[t]
      let value = full(terminal.register, &body, &values)
      if shape.terminals[t] == .parts {
        let reduction = LoopReduction(
          reducer: terminal.reducer, lane: terminal.type.lane, lanes: partLanes[t],
          argument: argument)
        reductions[p].append(reduction)
        accumulate(value, reduction, &body, masked: masked)
      } else {
        if column == sums.count {
          sums.append(body.load(terminal.type.lane, sumAddress(t, argument)))
        }
        sums[column] = body.tile(
          terminal.reducer.combiner, terminal.type, terminal.type, sums[column], value, -1)
        column += 1
      }
    }
  }

  private func storeSums(_ p: Int, _ sums: [LoopBody.Value], _ body: inout LoopBody) {
    var column = 0
    forEachTerminal(p) { t, argument in
      if shape.terminals[t] != .columns { return }
      body.store(sums[column], sumAddress(t, argument))
      column += 1
    }
  }

  private func sumAddress(_ t: Int, _ argument: Int) -> LoopAddress {
    LoopAddress(pointer: argument, index: .column, size: kernel.terminals[t].type.size)
  }

  /// The terminals that the code does whose operands are known in phase p.
  private func forEachTerminal(_ p: Int, _ visit: (_ t: Int, _ argument: Int) -> Void) {
    var next = 0
    for t in shape.terminals.indices where shape.terminals[t] != .portable {
      if phase[kernel.terminals[t].register] == p { visit(t, shape.terminalArguments[next]) }
      next += 1
    }
  }
}

extension LoopKernel.Register {
  /// The type, where memory has numbers of 16 bits.
  var half: ScalarType? { type.isHalf ? type : nil }
}

extension LoopReduction {
  /// The bits of what running lanes begin with, which changes nothing.
  var start: UInt64 {
    switch lane {
    case .f32: UInt64(reducer.ofNothing(Float.self).bitPattern)
    case .f64: reducer.ofNothing(Double.self).bitPattern
    case .i32, .mask32: UInt64(UInt32(bitPattern: reducer.ofNothing(Int32.self)))
    case .i64, .mask64: UInt64(bitPattern: reducer.ofNothing(Int64.self))
    }
  }
}

extension LoopBody {
  /// The reduction of one element: what is computed begins as lanes do, and of an extreme there is one
  /// kind of NaN.
  mutating func reducedAlone(_ reducer: Reducer, _ a: Value, _ type: ScalarType) -> Value {
    if !type.isFloating { return a }
    if reducer.extreme == nil {
      return combine(reducer, a, number(lane(a), reducer.ofNothing(Double.self)))
    }
    return select(compare(.unordered, a, a), number(lane(a), .nan), a)
  }

  /// A running result with one more value; an extreme becomes NaN with the first one and stays it.
  mutating func combine(_ reducer: Reducer, _ before: Value, _ value: Value) -> Value {
    guard let end = reducer.extreme else { return arithmetic(reducer.combiner, before, value) }
    let op: Op = end == .largest ? .max : .min
    if !lane(value).isFloat { return extreme(op, before, value) }
    let picked = binary(op, value, before)
    return select(compare(.unordered, value, value), value, picked)
  }
}
