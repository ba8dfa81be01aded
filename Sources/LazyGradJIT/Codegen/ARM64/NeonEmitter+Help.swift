// Where a value leaves an AArch64 loop for the caller's help, and how the loop goes on. Continues
// NeonEmitter.swift.

extension NeonEmitter {
  /// Code behind the loops where a value leaves for the caller's help.
  struct Stub {
    let label: ARMAssembler.Label
    let resume: ARMAssembler.Label
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
      var mask = register(node.a)
      missing = .vectorRegister(mask)
      if lanes(body.nodes[Int(node.a)].lane) != .s2 {
        // Whether any bit is on in 16 bytes says the larger one of each two parts.
        code.vector(.umaxp, .s4, NeonRegister.mask, mask, mask)
        mask = NeonRegister.mask
      }
      code.extract(NeonRegister.scratch, mask, 0)
      code.jump(ifNotZero: NeonRegister.scratch, away)
    }
    code.bind(back)
    let request = body.helps[Int(node.number)].request(
      x: x, y: y, result: fast, missing, of: lanes)
    stubs.append(Stub(label: away, resume: back, request: request.bits))
    release(node.a)
    release(node.b)
    release(node.c)
    // The value takes over the register of what was found so far.
    precondition(
      usesLeft[Int(node.d)] == 1, "loop emitter: what is to be completed has another use")
    release(node.d)
    take(fast, for: value)
  }

  /// Emits what helps jump to. Ends in a jump to `leave` with the request in the result register.
  mutating func emitStubs(leave: ARMAssembler.Label) {
    typealias R = NeonRegister
    if stubs.isEmpty { return }
    let save = code.label()
    for stub in stubs {
      code.bind(stub.label)
      code.address(R.address, stub.resume)
      code.mov(R.scratch, stub.request)
      code.jump(save)
    }
    code.bind(save)
    code.store(R.address, ARMAddress(R.frame, LoopFrame.resume))
    for (register, place) in Self.savedRegisters { code.store(register, place) }
    for r in 0..<vectorRegisters {
      code.store(.q, UInt8(r), ARMAddress(R.frame, LoopFrame.vectors + 64 * r))
    }
    code.mov(R.frame, R.scratch)
    code.jump(leave)
  }

  /// The state of the loops, and the cursors where other machines have masks.
  private static var savedRegisters: [(ARMRegister, ARMAddress)] {
    typealias R = NeonRegister
    let state = [R.column, R.rowElement, R.columnEnd, R.mainEnd, R.remaining, R.row]
    let places = state.indices.map { LoopFrame.registers + 8 * $0 }
    let cursors = R.cursors.indices.map { LoopFrame.masks + 8 * $0 }
    return zip(state + R.cursors, places + cursors).map { ($0, ARMAddress(R.frame, $1)) }
  }

  /// Goes on where help was asked for.
  mutating func emitResume() {
    typealias R = NeonRegister
    for (register, place) in Self.savedRegisters { code.load(register, place) }
    for r in 0..<vectorRegisters {
      code.load(.q, UInt8(r), ARMAddress(R.frame, LoopFrame.vectors + 64 * r))
    }
    code.load(R.count, ARMAddress(R.frame, LoopFrame.tailCount))
    code.load(R.address, ARMAddress(R.frame, LoopFrame.resume))
    code.jump(R.address)
  }
}
