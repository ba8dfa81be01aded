// Chooses the instructions of single operations. Continues LoopEmitter.swift.

extension LoopEmitter {
  mutating func emit(_ value: Int32, _ node: LoopBody.Node) {
    switch node.op {
    case .add, .sub, .mul, .div, .min, .max, .and, .or, .xor, .andNot, .scale, .mulLow:
      emitBinary(value, node)
    case .compare: emitCompare(value, node)
    case .classify: emitClassify(value, node)
    case .fma, .fnma, .fms: emitFused(value, node)
    case .select: emitSelect(value, node)
    case .maskNot: emitNot(value, node)
    case .sqrt: emitUnary(value, node, node.lane == .f32 ? .sqrtps : .sqrtpd)
    case .abs: emitUnary(value, node, node.lane == .i32 ? .pabsd : .pabsq)
    case .round:
      let single = node.lane == .f32
      let op: VectorOp =
        hasMasks ? (single ? .rndscaleps : .rndscalepd) : (single ? .roundps : .roundpd)
      emitUnary(value, node, op, immediate: UInt8(node.number))
    case .roundHalf: emitRoundHalf(value, node)
    case .shiftLeft, .shiftRight: emitShift(value, node)
    case .lookup: emitLookup(value, node)
    case .convert, .truncate, .signExtend, .zeroExtend, .widenMask: emitConversion(value, node)
    case .narrow, .narrowMask: emitNarrow(value, node)
    case .help: emitHelp(value, node)
    case .store: emitStore(node)
    case .storeBytes: emitStoreBytes(node)
    case .storeHalves: emitStoreHalves(node)
    case .storeSlot:
      let r = register(node.a)
      code.vector(
        .movupsStore, width(node.lane), r,
        .memory(Memory(LoopRegister.frame, Int(node.number))))
      release(node.a)
    case .storeFirst: emitStoreFirst(node)
    case .constant, .slot, .load, .loadBytes, .loadHalves, .broadcast, .tail: break
    }
  }

  private mutating func emitBinary(_ value: Int32, _ node: LoopBody.Node) {
    var (a, b) = (node.a, node.b)
    if isMaskRegister(node.lane) {
      let (ra, rb) = (register(a), register(b))
      release(a)
      release(b)
      let op: VectorOp =
        node.op == .and ? .kandw : node.op == .or ? .korw : node.op == .xor ? .kxorw : .kandnw
      code.vector(op, .y, define(value, node.lane), ra, rb)
      return
    }
    // Of two NaNs the first one is passed on, so the order of operands counts, unless one is known.
    if registerOf[Int(a)] < 0, body.nodes[Int(a)].op == .constant, node.op.isCommutative {
      swap(&a, &b)
    }
    let ra = register(a)
    let rb = operand(b)
    release(a)
    release(b)
    code.vector(
      Self.instruction(node.op, node.lane), width(node.lane), define(value, node.lane), ra, rb)
  }

  static func instruction(_ op: LoopBody.Op, _ lane: LoopLane) -> VectorOp {
    let wide = lane.size == 8
    switch (op, lane) {
    case (.add, .f32): return .addps
    case (.add, .f64): return .addpd
    case (.add, .i32): return .paddd
    case (.add, _): return .paddq
    case (.sub, .f32): return .subps
    case (.sub, .f64): return .subpd
    case (.sub, .i32): return .psubd
    case (.sub, _): return .psubq
    case (.mul, .f32): return .mulps
    case (.mul, .f64): return .mulpd
    case (.mul, .i32): return .pmulld
    case (.mul, _): return .pmullq
    case (.div, .f32): return .divps
    case (.div, _): return .divpd
    case (.min, .f32): return .minps
    case (.min, .f64): return .minpd
    case (.min, .i32): return .pminsd
    case (.min, _): return .pminsq
    case (.max, .f32): return .maxps
    case (.max, .f64): return .maxpd
    case (.max, .i32): return .pmaxsd
    case (.max, _): return .pmaxsq
    case (.scale, .f32): return .scalefps
    case (.scale, _): return .scalefpd
    case (.mulLow, _): return .pmuludq
    case (.and, _): return wide ? .andpd : .andps
    case (.or, _): return wide ? .orpd : .orps
    case (.xor, _): return wide ? .xorpd : .xorps
    default: return wide ? .andnpd : .andnps
    }
  }

  private mutating func emitUnary(
    _ value: Int32, _ node: LoopBody.Node, _ op: VectorOp, immediate: UInt8? = nil
  ) {
    let a = operand(node.a)
    release(node.a)
    let r = define(value, node.lane)
    code.vector(op, width(node.lane), r, a, immediate: immediate)
  }

  /// To 16 bits and back.
  private mutating func emitRoundHalf(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    let r = define(value, node.lane)
    let width = width(node.lane)
    code.vector(.cvtps2phStore, width, a, .register(r), immediate: Self.toNearestEven)
    code.vector(.cvtph2ps, width, r, .register(r))
  }

  /// The rounding of `vcvtps2ph`.
  private static let toNearestEven: UInt8 = 0

  private mutating func emitShift(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    let wide = node.lane.size == 8
    let op: VectorOp =
      node.op == .shiftLeft ? (wide ? .psllq : .pslld) : (wide ? .psrlq : .psrld)
    code.shift(op, width(node.lane), define(value, node.lane), a, by: UInt8(node.number))
  }

  /// The instruction reads as many bits of a place as the register has numbers: the table fills it.
  private mutating func emitLookup(_ value: Int32, _ node: LoopBody.Node) {
    let place = register(node.a)
    release(node.a)
    let table = body.tables[Int(node.number)]
    let width: VectorWidth = width(node.lane) == .z ? .z : .y
    let bytes = (0..<(width == .z ? 16 : 8)).flatMap { number in
      withUnsafeBytes(of: table[number % 8].bitPattern.littleEndian, Array.init)
    }
    code.vector(.permps, width, define(value, node.lane), place, .memory(code.constant(bytes)))
  }

  private mutating func emitCompare(_ value: Int32, _ node: LoopBody.Node) {
    var (a, b) = (node.a, node.b)
    let how = Comparison(rawValue: node.number)!
    // AVX2 compares integers for equality and "greater" only.
    let isSwapped = !node.from.isFloat && !hasMasks && how == .less
    if isSwapped { swap(&a, &b) }
    let ra = register(a)
    let rb = operand(b)
    release(a)
    release(b)
    let r = define(value, node.lane)
    let single = node.from.size == 4
    let width = width(node.from)
    if node.from.isFloat {
      let op: VectorOp =
        hasMasks ? (single ? .cmppsMask : .cmppdMask) : (single ? .cmpps : .cmppd)
      code.vector(op, width, r, ra, rb, immediate: UInt8(node.number))
    } else if hasMasks {
      let immediate: UInt8 =
        how == .equal ? 0 : how == .less ? 1 : how == .lessEqual ? 2 : 4
      code.vector(single ? .pcmpdMask : .pcmpqMask, width, r, ra, rb, immediate: immediate)
    } else {
      let op: VectorOp =
        how == .equal ? (single ? .pcmpeqd : .pcmpeqq) : (single ? .pcmpgtd : .pcmpgtq)
      code.vector(op, width, r, ra, rb)
    }
  }

  private mutating func emitClassify(_ value: Int32, _ node: LoopBody.Node) {
    let a = operand(node.a)
    release(node.a)
    let op: VectorOp = node.from == .f32 ? .fpclassps : .fpclasspd
    // The bits of quiet NaN, the two infinities, denormal numbers and signalling NaN.
    code.vector(op, width(node.from), define(value, node.lane), a, immediate: 0xB9)
  }

  /// Multiply-add: the result takes the register of an operand that is not needed any more.
  private mutating func emitFused(_ value: Int32, _ node: LoopBody.Node) {
    var (a, b) = (node.a, node.b)
    let c = node.c
    func dies(_ v: Int32) -> Bool {
      let r = Int(registerOf[Int(v)])
      return r >= 0 && usesLeft[Int(v)] == 1 && !isPinned(r)
    }
    if a != b, !dies(a), dies(b) { swap(&a, &b) }
    let single = node.lane == .f32
    let width = width(node.lane)
    let target: UInt8
    if a != b, dies(a), !dies(c) {
      // a = a * b + c
      let (ra, rb) = (register(a), register(b))
      let rc = operand(c)
      let op: VectorOp =
        switch node.op {
        case .fma: single ? .fmadd213ps : .fmadd213pd
        case .fnma: single ? .fnmadd213ps : .fnmadd213pd
        default: single ? .fmsub213ps : .fmsub213pd
        }
      code.vector(op, width, ra, rb, rc)
      target = ra
    } else {
      // c = c + a * b
      if registerOf[Int(a)] < 0, registerOf[Int(b)] >= 0 { swap(&a, &b) }
      let ra = register(a)
      let copies = !dies(c)
      let rc: UInt8
      if copies {
        let from = operand(c)
        let free = allocate(mask: false)
        locked |= 1 << UInt64(free)
        rc = UInt8(free)
        move(rc, from, node.lane)
      } else {
        rc = register(c)
      }
      let rb = operand(b)
      let op: VectorOp =
        switch node.op {
        case .fma: single ? .fmadd231ps : .fmadd231pd
        case .fnma: single ? .fnmadd231ps : .fnmadd231pd
        default: single ? .fmsub231ps : .fmsub231pd
        }
      code.vector(op, width, rc, ra, rb)
      target = rc
    }
    release(a)
    release(b)
    release(c)
    holder[Int(target)] = value
    registerOf[Int(value)] = Int8(target)
  }

  private mutating func move(_ to: UInt8, _ from: RegisterOrMemory, _ lane: LoopLane) {
    if case .memory(var memory) = from, memory.isBroadcast {
      memory.isBroadcast = false
      code.vector(lane.size == 4 ? .broadcastss : .broadcastsd, width(lane), to, .memory(memory))
    } else {
      code.vector(.movups, width(lane), to, from)
    }
  }

  private func isZero(_ value: Int32) -> Bool {
    let node = body.nodes[Int(value)]
    return node.op == .constant && body.constants[Int(node.number)] == 0
  }

  private mutating func emitSelect(_ value: Int32, _ node: LoopBody.Node) {
    let single = node.lane.size == 4
    let width = width(node.lane)
    let mask = register(node.a)
    if isZero(node.c) {
      let b = operand(node.b)
      release(node.a)
      release(node.b)
      release(node.c)
      let r = define(value, node.lane)
      if hasMasks {
        code.vector(
          single ? .blendmps : .blendmpd, width, r, 0, b, mask: mask, zeroing: true)
      } else {
        code.vector(.andps, width, r, mask, b)
      }
      return
    }
    let c = register(node.c)
    let b = operand(node.b)
    release(node.a)
    release(node.b)
    release(node.c)
    let r = define(value, node.lane)
    if hasMasks {
      code.vector(single ? .blendmps : .blendmpd, width, r, c, b, mask: mask)
    } else {
      code.blend(single ? .blendvps : .blendvpd, width, r, c, b, by: mask)
    }
  }

  private mutating func emitNot(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    let r = define(value, node.lane)
    if hasMasks {
      code.vector(.knotw, .x, r, .register(a))
    } else {
      code.vector(.xorps, width(node.lane), r, a, .memory(code.constant(UInt32.max, count: 8)))
    }
  }

  private mutating func emitConversion(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    let r = define(value, node.lane)
    let op: VectorOp
    var width = width(node.lane)
    switch (node.op, node.from, node.lane) {
    case (.convert, .f32, _): op = .cvtps2pd
    case (.convert, .f64, _):
      op = .cvtpd2ps
      width = self.width(node.from)
    case (.convert, .i32, .f32): op = .cvtdq2ps
    case (.convert, .i32, _): op = .cvtdq2pd
    case (.convert, _, .f64): op = .cvtqq2pd
    case (.convert, _, _):
      op = .cvtqq2ps
      width = self.width(node.from)
    case (.truncate, .f32, _): op = .cvttps2dq
    case (.truncate, _, .i32):
      op = .cvttpd2dq
      width = self.width(node.from)
    case (.truncate, _, _): op = .cvttpd2qq
    case (.zeroExtend, _, _): op = .pmovzxdq
    default: op = .pmovsxdq
    }
    code.vector(op, width, r, .register(a))
  }

  /// The low halves of 64-bit lanes.
  private mutating func emitNarrow(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    let r = define(value, node.lane)
    release(node.a)
    if hasMasks {
      code.vector(.pmovqdStore, width(node.from), a, .register(r))
    } else {
      code.vector(.extractf128, .y, a, .register(r), immediate: 1)
      code.vector(.shufps, .x, r, a, .register(r), immediate: 0x88)
    }
  }

  // MARK: Stores

  private mutating func emitStore(_ node: LoopBody.Node) {
    let address = body.addresses[Int(node.number)]
    let r = register(node.a)
    let wide = node.lane.size == 8
    let width = width(node.lane)
    if let pinned = pin(address) {
      if r != pinned { code.vector(.movups, width, pinned, .register(r)) }
    } else if !isMasked || address.pointer < 0 {
      code.vector(wide ? .movupdStore : .movupsStore, width, r, .memory(memory(address)))
    } else if hasMasks {
      code.vector(wide ? .movupdStore : .movupsStore, width, r, .memory(memory(address)), mask: 1)
    } else {
      let mask = UInt8(allocate(mask: false))
      code.vector(.movups, width, mask, .memory(tailMask(wide)))
      code.vector(
        wide ? .maskmovpdStore : .maskmovpsStore, width, r, mask, .memory(memory(address)))
    }
    release(node.a)
  }

  private mutating func emitStoreBytes(_ node: LoopBody.Node) {
    let address = body.addresses[Int(node.number)]
    let r = register(node.a)
    let width = width(node.lane)
    if hasMasks {
      code.vector(
        .pmovdbStore, width, r, .memory(memory(address)), mask: isMasked ? 1 : 0)
    } else {
      let packed = UInt8(allocate(mask: false))
      if width == .y {
        code.vector(.extractf128, .y, r, .register(packed), immediate: 1)
        code.vector(.packusdw, .x, packed, r, packed)
      } else {
        code.vector(.packusdw, .x, packed, r, r)
      }
      code.vector(.packuswb, .x, packed, packed, packed)
      let place =
        isMasked ? Memory(LoopRegister.frame, LoopFrame.staging) : memory(address)
      code.vector(width == .y ? .movsdStore : .movssStore, .x, packed, .memory(place))
      if isMasked { copyBytes(address, isStore: true) }
    }
    release(node.a)
  }

  private mutating func emitStoreHalves(_ node: LoopBody.Node) {
    let address = body.addresses[Int(node.number)]
    let r = register(node.a)
    let width = width(node.lane)
    let staging = Memory(LoopRegister.frame, LoopFrame.staging)
    let place = isMasked && !hasMasks ? staging : memory(address)
    let mask: UInt8 = isMasked && hasMasks ? 1 : 0
    if address.half == .float16 {
      code.vector(
        .cvtps2phStore, width, r, .memory(place), immediate: Self.toNearestEven, mask: mask)
    } else {
      // The upper halves.
      let upper = UInt8(allocate(mask: false))
      code.shift(.psrld, width, upper, r, by: 16)
      if hasMasks {
        code.vector(.pmovdwStore, width, upper, .memory(place), mask: mask)
      } else {
        packWords(upper, width)
        code.vector(width == .y ? .movupsStore : .movsdStore, .x, upper, .memory(place))
      }
    }
    if isMasked, !hasMasks { copyBytes(address, isStore: true) }
    release(node.a)
  }

  /// Lanes of 32 bits without a sign, which fit, as words side by side.
  private mutating func packWords(_ r: UInt8, _ width: VectorWidth) {
    code.vector(.packusdw, width, r, r, r)
    // Each half of the register has been packed by itself.
    if width == .y { code.vector(.permq, .y, r, .register(r), immediate: 0x08) }
  }

  private mutating func emitStoreFirst(_ node: LoopBody.Node) {
    let address = body.addresses[Int(node.number)]
    let r = register(node.a)
    if let half = address.half {
      let first = UInt8(allocate(mask: false))
      if half == .float16 {
        code.vector(
          .cvtps2phStore, .x, r, .register(first), immediate: Self.toNearestEven)
      } else {
        code.shift(.psrld, .x, first, r, by: 16)
      }
      code.vector(.pextrwStore, .x, first, .memory(memory(address)), immediate: 0)
      release(node.a)
      return
    }
    switch address.size {
    case 1:
      code.vector(.movdStore, .x, r, .register(LoopRegister.scratch.rawValue))
      code.mov8(memory(address), LoopRegister.scratch)
    case 4: code.vector(.movssStore, .x, r, .memory(memory(address)))
    default: code.vector(.movsdStore, .x, r, .memory(memory(address)))
    }
    release(node.a)
  }
}
