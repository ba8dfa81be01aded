// What every machine's emitter of loops does alike: which registers the values of a body are in, by one scan
// over it, and what stays in registers over iterations. The folder of each machine has the instructions.
//
// Bodies take their registers from the lowest on, pins from the highest down. So the code between the loops
// has the first registers for itself.

/// A value in memory that has a register.
struct LoopPin {
  enum Source: Equatable {
    /// The bits of a lane, and its size.
    case constant(UInt64, Int)
    /// The offset of a vector in the frame.
    case slot(Int32)
    /// One element for all lanes, or lanes of a running result.
    case place(LoopAddress)
  }
  let source: Source
  let register: UInt8
  /// The lanes to be stored when the loop is over.
  var running: LoopLane?
}

/// Turns bodies into instructions. What it stores is the state of one body, and the pins.
protocol LoopEmitting {
  var instructionSet: InstructionSet { get }
  var space: LoopFrameSpace { get set }
  var isMasked: Bool { get set }

  var body: LoopBody { get set }
  var registerOf: ContiguousArray<Int8> { get set }
  var spillOf: ContiguousArray<Int32> { get set }
  var usesLeft: ContiguousArray<Int32> { get set }
  var useStart: ContiguousArray<Int32> { get set }
  var uses: ContiguousArray<Int32> { get set }
  var useAt: ContiguousArray<Int32> { get set }
  /// What is in each vector register, and from 32 on in each mask register.
  var holder: [Int32] { get set }
  var locked: UInt64 { get set }
  var now: Int { get set }

  /// What stays in registers over iterations.
  var pins: [LoopPin] { get set }
  var pinnedRegisters: UInt64 { get set }
  /// The running results of the body that have a register: what is stored, and what was there.
  var running: [(value: Int32, before: Int32, register: UInt8)] { get set }

  /// Emits the instructions of one operation.
  mutating func emit(_ value: Int32, _ node: LoopBody.Node)
  /// Brings a value that is in memory into a register.
  mutating func materialize(_ node: LoopBody.Node, _ r: UInt8)
  /// Stores a register that is to hold something else.
  mutating func spill(_ r: Int, _ lane: LoopLane, _ offset: Int)
  /// Stores the running lanes of a pin that is given up.
  mutating func storePin(_ register: UInt8, _ lane: LoopLane, _ address: LoopAddress)
}

extension LoopEmitting {
  var hasMasks: Bool { instructionSet.target.hasMaskRegisters }
  var vectorRegisters: Int { instructionSet.target.vectorRegisters }

  func isMaskRegister(_ lane: LoopLane) -> Bool { hasMasks && lane.isMask }

  // MARK: Bodies

  /// Emits one iteration; masked to the elements that are left.
  mutating func emit(_ body: LoopBody, masked: Bool = false) {
    self.body = body
    isMasked = masked
    countUses()
    for i in 0..<holder.count { holder[i] = -1 }
    usePins()
    for i in body.nodes.indices {
      now = i
      locked = pinnedRegisters
      let node = body.nodes[i]
      if node.isInMemory || node.op == .tail { continue }
      if !node.op.isEffect, usesLeft[i] == 0 { continue }
      emit(Int32(i), node)
    }
  }

  mutating func countUses() {
    let n = body.nodes.count
    registerOf = ContiguousArray(repeating: -1, count: n)
    spillOf = ContiguousArray(repeating: -1, count: n)
    usesLeft = ContiguousArray(repeating: 0, count: n)
    useStart = ContiguousArray(repeating: 0, count: n + 1)
    useAt = ContiguousArray(repeating: 0, count: n)
    // What nobody uses is not computed, and so uses nothing.
    for i in body.nodes.indices.reversed() {
      let node = body.nodes[i]
      if !node.op.isEffect, usesLeft[i] == 0 { continue }
      node.forEachOperand { usesLeft[Int($0)] += 1 }
    }
    var total: Int32 = 0
    for i in 0..<n {
      useStart[i] = total
      useAt[i] = total
      total += usesLeft[i]
    }
    useStart[n] = total
    uses = ContiguousArray(repeating: 0, count: Int(total))
    for i in body.nodes.indices {
      let node = body.nodes[i]
      if !node.op.isEffect, usesLeft[i] == 0 { continue }
      node.forEachOperand { operand in
        uses[Int(useAt[Int(operand)])] = Int32(i)
        useAt[Int(operand)] += 1
      }
    }
  }

  // MARK: Registers

  func nextUse(_ value: Int32) -> Int32 {
    let v = Int(value)
    for k in useStart[v]..<useStart[v + 1] where uses[Int(k)] >= Int32(now) { return uses[Int(k)] }
    return .max
  }

  /// A free register, for a mask from 33 on less 32; what is needed last makes room.
  mutating func allocate(mask: Bool) -> Int {
    let range = mask ? 34..<40 : 0..<vectorRegisters
    var victim = -1
    var furthest: Int32 = -1
    for r in range where locked >> UInt64(r) & 1 == 0 {
      if holder[r] < 0 { return r }
      let use = nextUse(holder[r])
      if use > furthest {
        furthest = use
        victim = r
      }
    }
    evict(victim)
    return victim
  }

  mutating func evict(_ r: Int) {
    let value = Int(holder[r])
    holder[r] = -1
    registerOf[value] = -1
    let node = body.nodes[value]
    if node.isInMemory || node.op == .tail || spillOf[value] >= 0 { return }
    let offset = space.reserve(64)
    spillOf[value] = Int32(offset)
    spill(r, node.lane, offset)
  }

  var freeRegisters: Int {
    var count = 0
    for r in 0..<vectorRegisters where holder[r] < 0 && !isPinned(r) { count += 1 }
    return count
  }

  /// One of an operand's uses is done; after the last its register is free.
  mutating func release(_ value: Int32) {
    if value < 0 { return }
    let v = Int(value)
    usesLeft[v] -= 1
    if usesLeft[v] == 0, registerOf[v] >= 0, !isPinned(Int(registerOf[v])) {
      holder[Int(registerOf[v])] = -1
      locked &= ~(1 << UInt64(registerOf[v]))
      registerOf[v] = -1
    }
  }

  mutating func define(_ value: Int32, _ lane: LoopLane) -> UInt8 {
    let r = runningRegister(value) ?? allocate(mask: isMaskRegister(lane))
    holder[r] = value
    registerOf[Int(value)] = Int8(r)
    return UInt8(r & 31)
  }
}

// MARK: - Pins

extension LoopEmitting {
  func isPinned(_ register: Int) -> Bool { pinnedRegisters >> UInt64(register) & 1 != 0 }

  /// What a value is the same for as in another iteration; nil where it is another one.
  private static func source(_ node: LoopBody.Node, _ body: LoopBody) -> LoopPin.Source? {
    switch node.op {
    case .constant: return .constant(body.constants[Int(node.number)], node.lane.size)
    case .slot: return .slot(node.number)
    case .load, .broadcast:
      let address = body.addresses[Int(node.number)]
      return address.index == .none || address.index == .row ? .place(address) : nil
    default: return nil
    }
  }

  /// The register of the running lanes at an address.
  func pin(_ address: LoopAddress) -> UInt8? {
    for pin in pins where pin.running != nil && pin.source == .place(address) {
      return pin.register
    }
    return nil
  }

  /// Tells the body that is to be emitted where its pinned values are.
  mutating func usePins() {
    running.removeAll(keepingCapacity: true)
    if pins.isEmpty { return }
    for i in body.nodes.indices where body.nodes[i].isInMemory {
      guard let source = Self.source(body.nodes[i], body) else { continue }
      for pin in pins where pin.source == source {
        registerOf[i] = Int8(pin.register)
        holder[Int(pin.register)] = Int32(i)
      }
    }
    for i in body.nodes.indices where body.nodes[i].op == .store {
      let node = body.nodes[i]
      if let register = pin(body.addresses[Int(node.number)]) {
        running.append((node.a, holder[Int(register)], register))
      }
    }
  }

  /// The register in which a new value becomes the running result, if the old one is read.
  func runningRegister(_ value: Int32) -> Int? {
    for entry in running where entry.value == value && usesLeft[Int(value)] == 1 {
      if entry.before < 0 || usesLeft[Int(entry.before)] == 0 { return Int(entry.register) }
    }
    return nil
  }

  // MARK: Pinning

  private mutating func pin(_ source: LoopPin.Source, running lane: LoopLane? = nil) -> UInt8 {
    let register = UInt8(vectorRegisters - 1 - pins.count)
    pins.append(LoopPin(source: source, register: register, running: lane))
    pinnedRegisters |= 1 << UInt64(register)
    return register
  }

  /// How often each value that stays the same is read by the body, the most wanted first.
  private static func invariants(
    _ bodies: [LoopBody], where isWanted: (LoopBody.Op) -> Bool
  ) -> [(source: LoopPin.Source, body: Int, value: Int32)] {
    var found: [(source: LoopPin.Source, body: Int, value: Int32, count: Int)] = []
    for (b, body) in bodies.enumerated() {
      for node in body.nodes where !node.isInMemory {
        node.forEachOperand { operand in
          let value = body[operand]
          guard value.isInMemory, isWanted(value.op), let source = source(value, body) else {
            return
          }
          // A selection of zero needs no zero.
          if source == .constant(0, value.lane.size), node.op == .select, operand == node.c {
            return
          }
          if let known = found.firstIndex(where: { $0.source == source }) {
            found[known].count += 1
          } else {
            found.append((source, b, operand, 1))
          }
        }
      }
    }
    // A stable sort: the code must not depend on anything else.
    let order = found.indices.sorted {
      found[$0].count != found[$1].count ? found[$0].count > found[$1].count : $0 < $1
    }
    return order.map { (found[$0].source, found[$0].body, found[$0].value) }
  }

  /// Brings constants of the bodies into registers for good.
  mutating func pinConstants(of bodies: [LoopBody], atMost limit: Int) {
    for constant in Self.invariants(bodies, where: { $0 == .constant }).prefix(max(limit, 0)) {
      body = bodies[constant.body]
      materialize(body[constant.value], pin(constant.source))
    }
  }

  /// Brings what a loop over the body reads in every iteration into registers, and the running
  /// results that it changes, as far as registers last.
  mutating func pinInvariants(of body: LoopBody) {
    self.body = body
    isMasked = false
    var left = vectorRegisters - pins.count - body.registersNeeded.vectors
    for kinds: Set<LoopBody.Op> in [[.slot, .broadcast], [.load]] {
      for value in Self.invariants([body], where: { kinds.contains($0) }).prefix(max(left, 0)) {
        let node = body[value.value]
        let register = pin(value.source, running: node.op == .load ? node.lane : nil)
        materialize(node, register)
        left -= 1
      }
    }
  }

  /// Puts running results back and forgets what was pinned after the first `count` values.
  mutating func unpin(to count: Int) {
    while pins.count > count {
      let pin = pins.removeLast()
      pinnedRegisters &= ~(1 << UInt64(pin.register))
      guard let lane = pin.running, case .place(let address) = pin.source else { continue }
      storePin(pin.register, lane, address)
    }
  }
}

extension LoopBody {
  /// The registers that an iteration needs for what it computes and loads, at most, with two to
  /// spare for constants.
  var registersNeeded: (vectors: Int, masks: Int) {
    var lastUse = ContiguousArray<Int>(repeating: -1, count: nodes.count)
    for i in nodes.indices.reversed() {
      let node = nodes[i]
      if !node.op.isEffect, lastUse[i] < 0 { continue }
      node.forEachOperand { if lastUse[Int($0)] < 0 { lastUse[Int($0)] = i } }
    }
    var isHeld = ContiguousArray<Bool>(repeating: false, count: nodes.count)
    var (live, most, masks, mostMasks) = (0, 0, 0, 0)
    func count(_ value: Int, _ change: Int) {
      let node = nodes[value]
      if node.op == .constant || node.op == .slot || node.op == .tail { return }
      if isHeld[value] == (change > 0) { return }
      isHeld[value] = change > 0
      if target.hasMaskRegisters, node.lane.isMask { masks += change } else { live += change }
    }
    for i in nodes.indices where !nodes[i].isInMemory {
      let node = nodes[i]
      if !node.op.isEffect, lastUse[i] < 0 { continue }
      node.forEachOperand { count(Int($0), 1) }
      most = max(most, live)
      node.forEachOperand { if lastUse[Int($0)] == i { count(Int($0), -1) } }
      if !node.op.isEffect { count(i, 1) }
      most = max(most, live)
      mostMasks = max(mostMasks, masks)
    }
    return (most + 2, mostMasks)
  }
}
