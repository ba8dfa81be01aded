// Where a value leaves the loop for the caller's help, and how the loop goes on. Continues
// LoopEmitter.swift.

extension LoopEmitter {
  /// Code behind the loops where a value leaves for the caller's help.
  struct Stub {
    let label: Assembler.Label
    let resume: Assembler.Label
    let request: Int
  }

  /// Leaves for the caller where a lane needs it, and goes on afterwards with the lanes that the
  /// caller has changed in the saved registers.
  mutating func emitHelp(_ value: Int32, _ node: LoopBody.Node) {
    let x = register(node.b)
    let y = node.c >= 0 ? register(node.c) : 0
    let fast = register(node.d)
    let (away, back) = (code.label(), code.label())
    var missing = LoopRequest.Lanes.all
    if node.a < 0 {
      code.jump(away)
    } else {
      let mask = register(node.a)
      missing = hasMasks ? .maskRegister(mask) : .vectorRegister(mask)
      if hasMasks {
        // A mask register has bits beyond the lanes, which "not" switches on.
        code.vector(.kmovwToGPR, .x, LoopRegister.scratch.rawValue, .register(mask))
        code.arithmetic(.and, LoopRegister.scratch, (1 << lanes) - 1)
      } else {
        code.vector(.ptest, width(body.nodes[Int(node.a)].lane), mask, .register(mask))
      }
      code.jump(.notEqual, away)
    }
    code.bind(back)
    let request = body.helps[Int(node.number)].request(
      x: x, y: y, result: fast, missing, of: lanes)
    stubs.append(Stub(label: away, resume: back, request: request.bits))
    release(node.a)
    release(node.b)
    release(node.c)
    // The value takes over the register of what was found so far.
    if usesLeft[Int(node.d)] == 1 {
      release(node.d)
      holder[Int(fast)] = value
      registerOf[Int(value)] = Int8(fast)
    } else {
      preconditionFailure("loop emitter: what is to be completed has another use")
    }
  }

  /// Emits what helps jump to. Ends in a jump to `leave` with the request in the result register.
  mutating func emitStubs(leave: Assembler.Label) {
    if stubs.isEmpty { return }
    let save = code.label()
    for stub in stubs {
      code.bind(stub.label)
      code.lea(LoopRegister.address, stub.resume)
      code.mov(LoopRegister.scratch, stub.request)
      code.jump(save)
    }
    code.bind(save)
    code.mov(Memory(LoopRegister.frame, LoopFrame.resume), LoopRegister.address)
    for (i, register) in Self.savedRegisters.enumerated() {
      code.mov(Memory(LoopRegister.frame, LoopFrame.registers + 8 * i), register)
    }
    for r in 0..<vectorRegisters {
      code.vector(
        .movupsStore, hasMasks ? .z : .y, UInt8(r),
        .memory(Memory(LoopRegister.frame, LoopFrame.vectors + 64 * r)))
    }
    if hasMasks {
      for k in 1..<8 {
        code.vector(.kmovwToGPR, .x, LoopRegister.count.rawValue, .register(UInt8(k)))
        code.mov32(Memory(LoopRegister.frame, LoopFrame.masks + 4 * k), LoopRegister.count)
      }
    }
    code.jump(leave)
  }

  var needsHelp: Bool { !stubs.isEmpty }

  private static let savedRegisters: [GPR] = [
    LoopRegister.column, LoopRegister.element, LoopRegister.columnEnd, LoopRegister.mainEnd,
    LoopRegister.remaining, LoopRegister.row,
  ]

  /// Goes on where help was asked for.
  mutating func emitResume() {
    for (i, register) in Self.savedRegisters.enumerated() {
      code.mov(register, Memory(LoopRegister.frame, LoopFrame.registers + 8 * i))
    }
    for r in 0..<vectorRegisters {
      code.vector(
        .movups, hasMasks ? .z : .y, UInt8(r),
        .memory(Memory(LoopRegister.frame, LoopFrame.vectors + 64 * r)))
    }
    if hasMasks {
      for k in 1..<8 {
        code.mov32(LoopRegister.count, Memory(LoopRegister.frame, LoopFrame.masks + 4 * k))
        code.vector(.kmovwFromGPR, .x, UInt8(k), .register(LoopRegister.count.rawValue))
      }
    }
    code.mov(LoopRegister.address, Memory(LoopRegister.frame, LoopFrame.resume))
    code.jump(LoopRegister.address)
  }
}
