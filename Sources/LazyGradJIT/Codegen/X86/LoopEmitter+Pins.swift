// What stays in registers over iterations: constants over all of the code, what belongs to a row and
// the lanes of running results over one loop. Continues LoopEmitter.swift.
//
// Bodies take their registers from the lowest on, pins from the highest down. So the code between
// the loops has the first `LoopEmitter.freeBetweenLoops` registers for itself.

extension LoopEmitter {
  /// A value in memory that has a register.
  struct Pin {
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

  /// Registers that code between loops may use: what the folding of lanes takes.
  static let freeBetweenLoops = 5

  func isPinned(_ register: Int) -> Bool { pinnedRegisters >> UInt64(register) & 1 != 0 }

  /// What a value is the same for as in another iteration; nil where it is another one.
  private static func source(_ node: LoopBody.Node, _ body: LoopBody) -> Pin.Source? {
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

  // MARK: Bodies

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

  private mutating func pin(_ source: Pin.Source, running lane: LoopLane? = nil) -> UInt8 {
    let register = UInt8(vectorRegisters - 1 - pins.count)
    pins.append(Pin(source: source, register: register, running: lane))
    pinnedRegisters |= 1 << UInt64(register)
    return register
  }

  /// How often each value that stays the same is read by the body, the most wanted first.
  private static func invariants(
    _ bodies: [LoopBody], where isWanted: (LoopBody.Op) -> Bool
  ) -> [(source: Pin.Source, body: Int, value: Int32)] {
    var found: [(source: Pin.Source, body: Int, value: Int32, count: Int)] = []
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
      code.vector(.movupsStore, width(lane), pin.register, .memory(memory(address)))
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
