// Turns the body of a loop into instructions: constants and what is read once as memory operands, values
// that find no register in the frame. Uses the assembler; which register a value has says LoopEmitting.

/// The general-purpose registers of a loop.
enum LoopRegister {
  /// The frame: arguments, slots, saved state.
  static let frame = GPR.rdi
  static let column = GPR.rdx
  static let element = GPR.rsi
  static let columnEnd = GPR.r8
  static let mainEnd = GPR.r9
  static let remaining = GPR.r10
  static let row = GPR.rbx
  static let pointers: [GPR] = [.rbp, .r12, .r13, .r14, .r15]
  /// Free for every instruction; `count` holds the elements of a masked iteration.
  static let address = GPR.r11
  static let scratch = GPR.rax
  static let count = GPR.rcx
}

/// Emits bodies. One body after the other goes through the same emitter, so slots and constants are
/// shared.
struct LoopEmitter: LoopEmitting {
  var code = Assembler()
  let instructionSet: InstructionSet
  /// Elements per iteration.
  let lanes: Int
  var space: LoopFrameSpace
  var stubs: [Stub] = []
  var isMasked = false

  var knownConstants: ContiguousArray<(bits: UInt64, size: UInt8, memory: Memory)> = []

  // The state of one body.
  var body: LoopBody
  var registerOf: ContiguousArray<Int8> = []
  var spillOf: ContiguousArray<Int32> = []
  var usesLeft: ContiguousArray<Int32> = []
  var useStart: ContiguousArray<Int32> = []
  var uses: ContiguousArray<Int32> = []
  var useAt: ContiguousArray<Int32> = []
  /// What is in each vector register, and from 32 on in each mask register.
  var holder = [Int32](repeating: -1, count: 40)
  var locked: UInt64 = 0
  var now = 0

  // What stays in registers over iterations.
  var pins: [LoopPin] = []
  var pinnedRegisters: UInt64 = 0
  /// The running results of the body that have a register: what is stored, and what was there.
  var running: [(value: Int32, before: Int32, register: UInt8)] = []

  init(_ instructionSet: InstructionSet, lanes: Int, pointers: Int) {
    self.instructionSet = instructionSet
    self.lanes = lanes
    space = LoopFrameSpace(pointers: pointers)
    body = LoopBody(instructionSet)
  }

  /// Mask registers for values: 2 to 7.
  static let maskRegisters = 6

  func width(_ lane: LoopLane) -> VectorWidth {
    switch lanes * lane.size {
    case 64...: .z
    case 32: .y
    default: .x
    }
  }

  // MARK: Registers

  mutating func spill(_ r: Int, _ lane: LoopLane, _ offset: Int) {
    let memory = Memory(LoopRegister.frame, offset)
    if r >= 32 {
      code.vector(.kmovwToGPR, .x, LoopRegister.scratch.rawValue, .register(UInt8(r - 32)))
      code.mov32(memory, LoopRegister.scratch)
    } else {
      code.vector(.movupsStore, width(lane), UInt8(r), .memory(memory))
    }
  }

  mutating func storePin(_ register: UInt8, _ lane: LoopLane, _ address: LoopAddress) {
    code.vector(.movupsStore, width(lane), register, .memory(memory(address)))
  }

  /// Registers that code between loops may use: what the folding of lanes takes.
  static let freeBetweenLoops = 5

  /// The operand in a register.
  mutating func register(_ value: Int32) -> UInt8 {
    let v = Int(value)
    if registerOf[v] >= 0 {
      locked |= 1 << UInt64(registerOf[v])
      return UInt8(registerOf[v]) & 31
    }
    let node = body.nodes[v]
    if node.op == .tail, hasMasks { return 1 }
    let r = allocate(mask: isMaskRegister(node.lane))
    holder[r] = value
    registerOf[v] = Int8(r)
    locked |= 1 << UInt64(r)
    let number = UInt8(r & 31)
    if spillOf[v] >= 0 {
      let memory = Memory(LoopRegister.frame, Int(spillOf[v]))
      if r >= 32 {
        code.mov32(LoopRegister.scratch, memory)
        code.vector(.kmovwFromGPR, .x, number, .register(LoopRegister.scratch.rawValue))
      } else {
        code.vector(.movups, width(node.lane), number, .memory(memory))
      }
    } else {
      materialize(node, number)
    }
    return number
  }

  /// The operand in memory, where an instruction can take it from there; else in a register.
  mutating func operand(_ value: Int32) -> RegisterOrMemory {
    let v = Int(value)
    let node = body.nodes[v]
    if registerOf[v] < 0, !isMaskRegister(node.lane) {
      if spillOf[v] >= 0 { return .memory(Memory(LoopRegister.frame, Int(spillOf[v]))) }
      switch node.op {
      case .constant:
        if hasMasks || usesLeft[v] == 1 || freeRegisters < 3 { return .memory(constant(node)) }
      case .slot: return .memory(Memory(LoopRegister.frame, Int(node.number)))
      case .load:
        if !isMasked, usesLeft[v] == 1 {
          return .memory(memory(body.addresses[Int(node.number)]))
        }
      default: break
      }
    }
    return .register(register(value))
  }

  mutating func constant(_ node: LoopBody.Node) -> Memory {
    let bits = body.constants[Int(node.number)]
    let size = UInt8(node.lane.size)
    // The assembler's own table is by bytes: slow for something that every operation asks for.
    for known in knownConstants where known.bits == bits && known.size == size {
      return known.memory
    }
    let count = hasMasks ? 1 : 32 / node.lane.size
    var memory =
      size == 4
      ? code.constant(UInt32(truncatingIfNeeded: bits), count: count)
      : code.constant(bits, count: count)
    memory.isBroadcast = hasMasks
    knownConstants.append((bits, size, memory))
    return memory
  }

  /// An address as a memory operand; may take `LoopRegister.address`.
  mutating func memory(_ address: LoopAddress) -> Memory {
    var base = LoopRegister.frame
    if address.pointer >= 0 {
      if address.pointer < LoopRegister.pointers.count {
        base = LoopRegister.pointers[address.pointer]
      } else {
        base = LoopRegister.address
        code.mov(base, Memory(LoopRegister.frame, LoopFrame.pointer(address.pointer)))
      }
    }
    let scale = UInt8(address.size)
    switch address.index {
    case .none: return Memory(base, address.offset)
    case .row: return Memory(base, address.offset, index: LoopRegister.row, scale: scale)
    case .column:
      return Memory(base, address.offset, index: LoopRegister.column, scale: scale)
    case .element:
      return Memory(base, address.offset, index: LoopRegister.element, scale: scale)
    case .lane:
      code.mov(LoopRegister.address, LoopRegister.column)
      code.arithmetic(.and, LoopRegister.address, LoopAddress.laneBytes / address.size - 1)
      return Memory(base, address.offset, index: LoopRegister.address, scale: scale)
    }
  }

  /// Brings a value that is in memory into a register.
  mutating func materialize(_ node: LoopBody.Node, _ r: UInt8) {
    let width = width(node.lane)
    switch node.op {
    case .constant:
      if hasMasks {
        code.vector(
          node.lane.size == 4 ? .broadcastss : .broadcastsd, width, r,
          .memory(unbroadcast(constant(node))))
      } else {
        code.vector(.movups, width, r, .memory(constant(node)))
      }
    case .slot:
      code.vector(.movups, width, r, .memory(Memory(LoopRegister.frame, Int(node.number))))
    case .tail:
      code.vector(
        .movups, width, r,
        .memory(Memory(LoopRegister.frame, LoopFrame.tails + (node.lane.size == 4 ? 0 : 64))))
    case .load: load(node, r, width)
    case .loadBytes: loadBytes(body.addresses[Int(node.number)], r, width)
    case .loadHalves: loadHalves(body.addresses[Int(node.number)], r, width)
    default:
      let address = body.addresses[Int(node.number)]
      if let half = address.half {
        code.vector(.pbroadcastw, width, r, .memory(memory(address)))
        widenHalves(r, half, width)
      } else if address.size == 1 {
        let memory = memory(address)
        code.mov8(LoopRegister.scratch, memory)
        code.vector(.movd, .x, r, .register(LoopRegister.scratch.rawValue))
        code.vector(.pbroadcastd, width, r, .register(r))
      } else {
        code.vector(
          address.size == 4 ? .broadcastss : .broadcastsd, width, r, .memory(memory(address)))
      }
    }
  }

  func unbroadcast(_ memory: Memory) -> Memory {
    var copy = memory
    copy.isBroadcast = false
    return copy
  }

  mutating func load(_ node: LoopBody.Node, _ r: UInt8, _ width: VectorWidth) {
    let address = body.addresses[Int(node.number)]
    let wide = node.lane.size == 8
    if !isMasked || address.pointer < 0 {
      code.vector(wide ? .movupd : .movups, width, r, .memory(memory(address)))
    } else if hasMasks {
      code.vector(
        wide ? .movupd : .movups, width, r, .memory(memory(address)), mask: 1, zeroing: true)
    } else {
      // The mask goes where the value will be.
      code.vector(.movups, width, r, .memory(tailMask(wide)))
      code.vector(wide ? .maskmovpd : .maskmovps, width, r, r, .memory(memory(address)))
    }
  }

  func tailMask(_ wide: Bool) -> Memory {
    Memory(LoopRegister.frame, LoopFrame.tails + (wide ? 64 : 0))
  }

  mutating func loadBytes(_ address: LoopAddress, _ r: UInt8, _ width: VectorWidth) {
    if !isMasked {
      code.vector(.pmovzxbd, width, r, .memory(memory(address)))
    } else if hasMasks {
      code.vector(.pmovzxbd, width, r, .memory(memory(address)), mask: 1, zeroing: true)
    } else {
      copyBytes(address, isStore: false)
      code.vector(.pmovzxbd, width, r, .memory(Memory(LoopRegister.frame, LoopFrame.staging)))
    }
  }

  mutating func loadHalves(_ address: LoopAddress, _ r: UInt8, _ width: VectorWidth) {
    let op: VectorOp = address.half == .float16 ? .cvtph2ps : .pmovzxwd
    if !isMasked {
      code.vector(op, width, r, .memory(memory(address)))
    } else if hasMasks {
      code.vector(op, width, r, .memory(memory(address)), mask: 1, zeroing: true)
    } else {
      copyBytes(address, isStore: false)
      code.vector(op, width, r, .memory(Memory(LoopRegister.frame, LoopFrame.staging)))
    }
    if address.half == .bfloat16 { code.shift(.pslld, width, r, r, by: 16) }
  }

  /// Makes a register that is full of one number of 16 bits one of float32.
  mutating func widenHalves(_ r: UInt8, _ half: ScalarType, _ width: VectorWidth) {
    if half == .float16 {
      code.vector(.cvtph2ps, width, r, .register(r))
    } else {
      code.shift(.pslld, width, r, r, by: 16)
    }
  }

  /// Copies the bytes of a masked iteration between memory and the frame, one by one: nothing else
  /// touches exactly so many.
  mutating func copyBytes(_ address: LoopAddress, isStore: Bool) {
    code.lea(LoopRegister.address, memory(address))
    code.mov(LoopRegister.count, Memory(LoopRegister.frame, LoopFrame.tailCount))
    if address.size == 2 { code.add(LoopRegister.count, LoopRegister.count) }
    let loop = code.here()
    let near = Memory(LoopRegister.frame, LoopFrame.staging - 1, index: LoopRegister.count)
    let far = Memory(LoopRegister.address, -1, index: LoopRegister.count)
    code.mov8(LoopRegister.scratch, isStore ? near : far)
    code.mov8(isStore ? far : near, LoopRegister.scratch)
    code.sub(LoopRegister.count, 1)
    code.jump(.notEqual, loop)
  }
}
