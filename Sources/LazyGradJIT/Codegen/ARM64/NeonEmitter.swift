// Turns the body of a loop into AArch64 instructions: where memory is, how values come into registers and
// leave them. Uses the assembler; which register a value has says LoopEmitting.

/// The registers of a loop. None of the general-purpose ones belongs to the caller.
enum NeonRegister {
  /// The frame: arguments, slots, saved state.
  static let frame = ARMRegister.x0
  static let column = ARMRegister.x1
  /// The number of the element in column 0 of the row; below 0 where a call begins inside a row.
  static let rowElement = ARMRegister.x2
  static let columnEnd = ARMRegister.x3
  static let mainEnd = ARMRegister.x4
  static let remaining = ARMRegister.x5
  static let row = ARMRegister.x6
  /// The elements of a masked iteration.
  static let count = ARMRegister.x7
  /// Free for every instruction.
  static let address = ARMRegister.x8
  static let scratch = ARMRegister.x9
  /// Where the elements of arguments are; an iteration moves them on.
  static let cursors: [ARMRegister] = [.x10, .x11, .x12, .x13, .x14, .x15, .x16, .x17]

  /// Vector registers that hold no value.
  static let mask: UInt8 = 30
  static let other: UInt8 = 31
}

/// Emits bodies. One body after the other goes through the same emitter, so slots are shared.
struct NeonEmitter: LoopEmitting {
  var code = ARMAssembler()
  let instructionSet: InstructionSet
  /// Elements per iteration: four, or two where some have 64 bits. Others are in the lower half of a
  /// register then.
  let lanes: Int
  var space: LoopFrameSpace
  var stubs: [Stub] = []
  var isMasked = false
  /// The vector registers that have been written.
  var touched: UInt64 = 0

  // The state of one body.
  var body: LoopBody
  var registerOf: ContiguousArray<Int8> = []
  var spillOf: ContiguousArray<Int32> = []
  var usesLeft: ContiguousArray<Int32> = []
  var useStart: ContiguousArray<Int32> = []
  var uses: ContiguousArray<Int32> = []
  var useAt: ContiguousArray<Int32> = []
  var holder = [Int32](repeating: -1, count: 40)
  var locked: UInt64 = 0
  var now = 0

  // What stays in registers over iterations.
  var pins: [LoopPin] = []
  var pinnedRegisters: UInt64 = 0
  var running: [(value: Int32, before: Int32, register: UInt8)] = []

  /// A register that moves on with the elements of an argument, or with the frame's.
  struct Cursor {
    let pointer: Int
    let index: LoopAddress.Index
    let size: Int
    let register: ARMRegister

    func isOf(_ address: LoopAddress) -> Bool {
      address.pointer == pointer && address.index == index && address.size == size
    }
  }
  private(set) var cursors: [Cursor] = []

  init(_ instructionSet: InstructionSet, lanes: Int, pointers: Int) {
    self.instructionSet = instructionSet
    self.lanes = lanes
    space = LoopFrameSpace(pointers: pointers)
    body = LoopBody(instructionSet)
  }

  /// How registers are cut into lanes.
  func lanes(_ lane: LoopLane) -> NeonLanes {
    lane.size == 8 ? .d2 : lanes == 4 ? .s4 : .s2
  }

  /// What lanes of so many bytes take.
  func part(_ size: Int) -> NeonPart { NeonPart(bytes: lanes * size) }

  // MARK: Memory

  /// Gives the places that bodies read and write element by element a register each, as far as registers
  /// last.
  mutating func openCursors(for bodies: [LoopBody]) {
    for body in bodies {
      for node in body.nodes where node.hasAddress {
        let address = body.addresses[Int(node.number)]
        guard address.index == .element || address.index == .column,
          cursors.count < NeonRegister.cursors.count, !cursors.contains(where: { $0.isOf(address) })
        else { continue }
        let register = NeonRegister.cursors[cursors.count]
        var start = address
        start.offset = 0
        let place = memory(start, size: 1)
        code.add(register, place.base, 0)
        cursors.append(
          Cursor(
            pointer: address.pointer, index: address.index, size: address.size,
            register: register))
      }
    }
  }
  mutating func moveCursors(by elements: Int) {
    for cursor in cursors {
      code.add(
        cursor.register, cursor.register, elements * cursor.size, scratch: NeonRegister.scratch)
    }
  }
  mutating func closeCursors() { cursors.removeAll() }

  /// A place that an instruction for `size` bytes can say; may take `NeonRegister.address` and `scratch`.
  mutating func reach(_ base: ARMRegister, _ offset: Int, size: Int) -> ARMAddress {
    if ARMAssembler.isInReach(offset, size: size) { return ARMAddress(base, offset) }
    code.add(NeonRegister.address, base, offset, scratch: NeonRegister.scratch)
    return ARMAddress(NeonRegister.address)
  }

  mutating func frame(_ offset: Int, size: Int = 16) -> ARMAddress {
    reach(NeonRegister.frame, offset, size: size)
  }

  /// As `reach` for an address of the body.
  mutating func memory(_ address: LoopAddress, size: Int) -> ARMAddress {
    typealias R = NeonRegister
    if let cursor = cursors.first(where: { $0.isOf(address) }) {
      return reach(cursor.register, address.offset, size: size)
    }
    var base = R.frame
    if address.pointer >= 0 {
      base = R.address
      code.load(base, ARMAddress(R.frame, LoopFrame.pointer(address.pointer)))
    }
    let shift = UInt8(address.size.trailingZeroBitCount)
    func add(_ index: ARMRegister) {
      code.add(R.address, base, index, shift: shift)
      base = R.address
    }
    switch address.index {
    case .none: break
    case .row: add(R.row)
    case .column: add(R.column)
    case .element:
      add(R.rowElement)
      add(R.column)
    case .lane:
      code.and(R.scratch, R.column, below: LoopAddress.laneBytes / address.size)
      add(R.scratch)
    }
    return reach(base, address.offset, size: size)
  }

  /// The same as a register that points there.
  private mutating func pointer(_ address: LoopAddress, size: Int) -> ARMRegister {
    let place = memory(address, size: size)
    if place.offset == 0 { return place.base }
    code.add(NeonRegister.address, place.base, place.offset)
    return NeonRegister.address
  }

  // MARK: Registers

  mutating func spill(_ r: Int, _ lane: LoopLane, _ offset: Int) {
    code.store(.q, UInt8(r), frame(offset))
  }

  mutating func storePin(_ register: UInt8, _ lane: LoopLane, _ address: LoopAddress) {
    let part = part(lane.size)
    code.store(part, register, memory(address, size: part.size))
  }

  /// Registers that code between loops may use: what the folding of lanes takes.
  static let freeBetweenLoops = 8

  /// The operand in a register.
  mutating func register(_ value: Int32) -> UInt8 {
    let v = Int(value)
    if registerOf[v] >= 0 {
      locked |= 1 << UInt64(registerOf[v])
      return UInt8(registerOf[v])
    }
    let r = allocate(mask: false)
    holder[r] = value
    registerOf[v] = Int8(r)
    locked |= 1 << UInt64(r)
    touched |= 1 << UInt64(r)
    if spillOf[v] >= 0 {
      code.load(.q, UInt8(r), frame(Int(spillOf[v])))
    } else {
      materialize(body.nodes[v], UInt8(r))
    }
    return UInt8(r)
  }

  /// A register for a result; `wanted` where that is free and no other is better.
  mutating func result(_ value: Int32, _ lane: LoopLane, wanted: UInt8? = nil) -> UInt8 {
    if let wanted, holder[Int(wanted)] < 0, !isPinned(Int(wanted)), runningRegister(value) == nil {
      return take(wanted, for: value)
    }
    let r = define(value, lane)
    touched |= 1 << UInt64(r)
    return r
  }

  @discardableResult
  mutating func take(_ r: UInt8, for value: Int32) -> UInt8 {
    holder[Int(r)] = value
    registerOf[Int(value)] = Int8(r)
    touched |= 1 << UInt64(r)
    return r
  }

  /// A constant in all lanes of a register.
  mutating func load(_ r: UInt8, bits: UInt64, size: Int) {
    let half = size == 4 ? bits & 0xFFFF_FFFF | bits << 32 : bits
    code.load(r, ARMAssembler.Constant(half, half))
  }

  /// Brings a value that is in memory into a register.
  mutating func materialize(_ node: LoopBody.Node, _ r: UInt8) {
    touched |= 1 << UInt64(r)
    switch node.op {
    case .constant: load(r, bits: body.constants[Int(node.number)], size: node.lane.size)
    case .slot: code.load(.q, r, frame(Int(node.number)))
    case .tail:
      code.load(.q, r, frame(LoopFrame.tails + (node.lane.size == 4 ? 0 : 64)))
    case .load:
      let address = body.addresses[Int(node.number)]
      load(r, address, size: node.lane.size)
    case .loadBytes:
      load(r, body.addresses[Int(node.number)], size: 1)
      code.vector(.uxtl, .h8, r, r)
      code.vector(.uxtl, .s4, r, r)
    case .loadHalves:
      let address = body.addresses[Int(node.number)]
      load(r, address, size: 2)
      widenHalves(r, address.half!)
    default: loadAll(body.addresses[Int(node.number)], lanes(node.lane), r)
    }
  }

  /// One element in all lanes.
  mutating func loadAll(_ address: LoopAddress, _ lanes: NeonLanes, _ r: UInt8) {
    if let half = address.half {
      code.loadAll(.h8, r, pointer(address, size: 2))
      widenHalves(r, half)
    } else if address.size == 1 {
      code.access(.loadByte, NeonRegister.scratch, memory(address, size: 1))
      code.repeatRegister(.s4, r, NeonRegister.scratch)
    } else {
      code.loadAll(lanes, r, pointer(address, size: address.size))
    }
  }

  /// Numbers of 16 bits in the lower half of a register as float32.
  mutating func widenHalves(_ r: UInt8, _ half: ScalarType) {
    code.vector(half == .float16 ? .fcvtl : .shll, .s4, r, r)
  }

  /// Loads lanes of so many bytes; those of a masked iteration one by one: nothing else reads exactly so many.
  private mutating func load(_ r: UInt8, _ address: LoopAddress, size: Int) {
    if !isMasked || address.pointer < 0 {
      let part = part(size)
      code.load(part, r, memory(address, size: part.size))
      return
    }
    let part = NeonPart(bytes: size)
    eachElement(address, size) { code, base, number in
      if number == 0 {
        code.loadFirst(part, r, next: base)
      } else {
        code.loadElement(part, r, number, next: base)
      }
    } only: { code, place in
      code.load(part, r, place)
    }
  }

  /// Stores lanes of so many bytes.
  mutating func store(_ r: UInt8, _ address: LoopAddress, size: Int) {
    if !isMasked || address.pointer < 0 {
      let part = part(size)
      code.store(part, r, memory(address, size: part.size))
      return
    }
    let part = NeonPart(bytes: size)
    eachElement(address, size) { code, base, number in
      if number == 0 {
        code.storeFirst(part, r, next: base)
      } else {
        code.storeElement(part, r, number, next: base)
      }
    } only: { code, place in
      code.store(part, r, place)
    }
  }

  /// The elements of a masked iteration: of two lanes one, of four up to three.
  private mutating func eachElement(
    _ address: LoopAddress, _ size: Int,
    _ visit: (inout ARMAssembler, ARMRegister, Int) -> Void,
    only: (inout ARMAssembler, ARMAddress) -> Void
  ) {
    let place = memory(address, size: size)
    if lanes == 2 { return only(&code, place) }
    let base = NeonRegister.address
    code.add(base, place.base, place.offset)
    visit(&code, base, 0)
    let done = code.label()
    code.subs(.zero, NeonRegister.count, 2)
    code.jump(.below, done)
    visit(&code, base, 1)
    code.jump(.equal, done)
    visit(&code, base, 2)
    code.bind(done)
  }
}
