// Chooses the AArch64 instructions of single operations. Continues NeonEmitter.swift.
//
// What is defined by the instructions of x86-64 takes more than one here: extremes give their second operand
// where the two are not ordered, and numbers that fit into no integer become the smallest one.

extension NeonEmitter {
  mutating func emit(_ value: Int32, _ node: LoopBody.Node) {
    switch node.op {
    case .min where node.lane.isFloat, .max where node.lane.isFloat: emitExtreme(value, node)
    case .mulLow: emitMulLow(value, node)
    case .add, .sub, .mul, .div, .min, .max, .and, .or, .xor, .andNot: emitBinary(value, node)
    case .compare: emitCompare(value, node)
    case .fma, .fnma, .fms: emitFused(value, node)
    case .select: emitSelect(value, node)
    case .maskNot: emitUnary(value, node, .not)
    case .sqrt: emitUnary(value, node, .fsqrt)
    case .abs: emitUnary(value, node, .abs)
    case .round: emitUnary(value, node, node.number == 9 ? .frintm : .frintn)
    case .roundHalf: emitRoundHalf(value, node)
    case .shiftLeft, .shiftRight: emitShift(value, node)
    case .lookup: emitLookup(value, node)
    case .truncate: emitTruncate(value, node)
    case .convert: emitConvert(value, node)
    case .signExtend, .widenMask: emitUnary(value, node, .sxtl, .d2)
    case .zeroExtend: emitUnary(value, node, .uxtl, .d2)
    case .narrow, .narrowMask: emitUnary(value, node, .xtn, .d2)
    case .help: emitHelp(value, node)
    case .store, .storeBytes, .storeHalves: emitStore(node)
    case .storeSlot:
      code.store(.q, register(node.a), frame(Int(node.number)))
      release(node.a)
    case .storeFirst: emitStoreFirst(node)
    case .constant, .slot, .load, .loadBytes, .loadHalves, .broadcast, .tail: break
    case .scale, .classify: preconditionFailure("loop emitter: no such instruction on AArch64")
    }
  }

  private mutating func emitUnary(
    _ value: Int32, _ node: LoopBody.Node, _ op: NeonOp, _ lanes: NeonLanes? = nil
  ) {
    let a = register(node.a)
    release(node.a)
    code.vector(op, lanes ?? self.lanes(node.lane), result(value, node.lane), a)
  }

  private mutating func emitBinary(_ value: Int32, _ node: LoopBody.Node) {
    var (a, b) = (register(node.a), register(node.b))
    release(node.a)
    release(node.b)
    // What the machine does has the operands the other way round.
    if node.op == .andNot { swap(&a, &b) }
    code.vector(
      Self.instruction(node.op, isFloat: node.lane.isFloat), lanes(node.lane),
      result(value, node.lane), a, b)
  }

  static func instruction(_ op: LoopBody.Op, isFloat: Bool) -> NeonOp {
    switch op {
    case .add: isFloat ? .fadd : .add
    case .sub: isFloat ? .fsub : .sub
    case .mul: isFloat ? .fmul : .mul
    case .div: .fdiv
    case .min: .smin
    case .max: .smax
    case .and: .and
    case .or: .orr
    case .xor: .eor
    default: .bic
    }
  }

  private mutating func emitMulLow(_ value: Int32, _ node: LoopBody.Node) {
    let (a, b) = (register(node.a), register(node.b))
    release(node.a)
    release(node.b)
    code.vector(.xtn, .d2, NeonRegister.mask, a)
    code.vector(.xtn, .d2, NeonRegister.other, b)
    code.vector(
      .umull, .d2, result(value, node.lane), NeonRegister.mask, NeonRegister.other)
  }

  private mutating func emitShift(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    code.vector(
      node.op == .shiftLeft ? .shl : .ushr, lanes(node.lane), result(value, node.lane), a,
      number: Int(node.number))
  }

  /// The machine looks up bytes: those of a number are at four times its place, in one half of the table or the
  /// other. A place that is in neither gives 0, or leaves what is there.
  private mutating func emitLookup(_ value: Int32, _ node: LoopBody.Node) {
    let place = register(node.a)
    release(node.a)
    let (bytes, half) = (NeonRegister.mask, NeonRegister.other)
    let r = result(value, node.lane, wanted: place)
    load(half, bits: 7, size: 4)
    code.vector(.and, .s4, bytes, place, half)
    load(half, bits: 0x0404_0404, size: 4)
    code.vector(.mul, .s4, bytes, bytes, half)
    load(half, bits: 0x0302_0100, size: 4)
    code.vector(.add, .s4, bytes, bytes, half)
    let table = unsafeBitCast(body.tables[Int(node.number)], to: SIMD4<UInt64>.self)
    code.load(half, ARMAssembler.Constant(table[0], table[1]))
    code.vector(.tbl, .s4, r, half, bytes)
    load(half, bits: 0x1010_1010, size: 4)
    code.vector(.eor, .s4, bytes, bytes, half)
    code.load(half, ARMAssembler.Constant(table[2], table[3]))
    code.vector(.tbx, .s4, r, half, bytes)
  }

  // MARK: Comparisons and choices

  /// Whether a mask has one use, as that of a selection: then it may be the other way round. Of all uses, not of
  /// those that are left: the answer is the same where it is made and where it is read.
  private func isSelectedBy(_ value: Int32) -> Bool {
    let v = Int(value)
    guard useStart[v + 1] - useStart[v] == 1 else { return false }
    let user = body.nodes[Int(uses[Int(useStart[v])])]
    return user.op == .select && user.a == value
  }

  /// Whether a comparison is emitted as its opposite.
  private func isInverted(_ value: Int32) -> Bool {
    let node = body.nodes[Int(value)]
    guard node.op == .compare else { return false }
    switch Comparison(rawValue: node.number)! {
    case .unordered, .notEqual, .notLess, .notLessEqual: return isSelectedBy(value)
    case .equal, .less, .lessEqual: return false
    }
  }

  private mutating func emitCompare(_ value: Int32, _ node: LoopBody.Node) {
    let isInverted = isInverted(value)
    let (a, b) = (register(node.a), register(node.b))
    release(node.a)
    release(node.b)
    let r = result(value, node.lane)
    let lanes = lanes(node.from)
    let isFloat = node.from.isFloat
    switch Comparison(rawValue: node.number)! {
    case .equal: code.vector(isFloat ? .fcmeq : .cmeq, lanes, r, a, b)
    case .less: code.vector(isFloat ? .fcmgt : .cmgt, lanes, r, b, a)
    case .lessEqual: code.vector(isFloat ? .fcmge : .cmge, lanes, r, b, a)
    case .notEqual, .notLess, .notLessEqual:
      switch Comparison(rawValue: node.number)! {
      case .notEqual: code.vector(isFloat ? .fcmeq : .cmeq, lanes, r, a, b)
      case .notLess: code.vector(.fcmgt, lanes, r, b, a)
      default: code.vector(.fcmge, lanes, r, b, a)
      }
      if !isInverted { code.vector(.not, lanes, r, r) }
    case .unordered:
      if a != b {
        code.vector(.fcmeq, lanes, NeonRegister.other, b, b)
        code.vector(.fcmeq, lanes, r, a, a)
        code.vector(.and, lanes, r, r, NeonRegister.other)
      } else {
        code.vector(.fcmeq, lanes, r, a, a)
      }
      if !isInverted { code.vector(.not, lanes, r, r) }
    }
  }

  /// `mask ? a : b`; any of the registers may be the result's.
  mutating func choose(_ r: UInt8, _ mask: UInt8, _ a: UInt8, _ b: UInt8) {
    if r == mask {
      code.vector(.bsl, .s4, r, a, b)
    } else if r == a {
      code.vector(.bif, .s4, r, b, mask)
    } else {
      code.move(r, b)
      code.vector(.bit, .s4, r, a, mask)
    }
  }

  private mutating func emitExtreme(_ value: Int32, _ node: LoopBody.Node) {
    let (a, b) = (register(node.a), register(node.b))
    release(node.a)
    release(node.b)
    let r = result(value, node.lane)
    extreme(node.op == .max, lanes(node.lane), r, a, b)
  }

  /// The first operand where it is above, or below, the second one.
  mutating func extreme(_ isMax: Bool, _ lanes: NeonLanes, _ r: UInt8, _ a: UInt8, _ b: UInt8) {
    let mask = r == a || r == b ? NeonRegister.mask : r
    code.vector(.fcmgt, lanes, mask, isMax ? a : b, isMax ? b : a)
    choose(r, mask, a, b)
  }

  private func isZero(_ value: Int32) -> Bool {
    let node = body.nodes[Int(value)]
    return node.op == .constant && body.constants[Int(node.number)] == 0
  }

  private mutating func emitSelect(_ value: Int32, _ node: LoopBody.Node) {
    let (yes, no) = isInverted(node.a) ? (node.c, node.b) : (node.b, node.c)
    let mask = register(node.a)
    let lanes = lanes(node.lane)
    if isZero(no) || isZero(yes) {
      let keeps = isZero(no)
      let kept = register(keeps ? yes : no)
      release(node.a)
      release(node.b)
      release(node.c)
      code.vector(keeps ? .and : .bic, lanes, result(value, node.lane), kept, mask)
      return
    }
    let (a, b) = (register(yes), register(no))
    release(node.a)
    release(node.b)
    release(node.c)
    choose(result(value, node.lane, wanted: mask), mask, a, b)
  }

  // MARK: Multiply-adds

  /// The result takes the register of the number that is added to, or a copy of it.
  private mutating func emitFused(_ value: Int32, _ node: LoopBody.Node) {
    let c = Int(node.c)
    let (a, b) = (register(node.a), register(node.b))
    let isConstant = body.nodes[c].op == .constant && registerOf[c] < 0
    let r: UInt8
    if isConstant {
      r = UInt8(allocate(mask: false))
      materialize(body.nodes[c], r)
      if node.op == .fms { code.vector(.fneg, lanes(node.lane), r, r) }
    } else {
      let from = register(node.c)
      let dies = usesLeft[c] == 1 && !isPinned(Int(from))
      r = dies ? from : UInt8(allocate(mask: false))
      if node.op == .fms {
        code.vector(.fneg, lanes(node.lane), r, from)
      } else {
        code.move(r, from)
      }
    }
    code.vector(node.op == .fnma ? .fmls : .fmla, lanes(node.lane), r, a, b)
    release(node.a)
    release(node.b)
    release(node.c)
    take(r, for: value)
  }

  // MARK: Conversions

  private mutating func emitRoundHalf(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    let r = result(value, node.lane)
    code.vector(.fcvtn, .s4, r, a)
    code.vector(.fcvtl, .s4, r, r)
  }

  private mutating func emitConvert(_ value: Int32, _ node: LoopBody.Node) {
    let a = register(node.a)
    release(node.a)
    let r = result(value, node.lane)
    switch (node.from, node.lane) {
    case (.f32, _): code.vector(.fcvtl, .d2, r, a)
    case (.f64, _): code.vector(.fcvtn, .d2, r, a)
    case (.i32, .f32): code.vector(.scvtf, lanes(.f32), r, a)
    case (.i32, _):
      code.vector(.sxtl, .d2, r, a)
      code.vector(.scvtf, .d2, r, r)
    case (_, .f64): code.vector(.scvtf, .d2, r, a)
    default:
      // Vectors could only go by doubles, which would round twice.
      code.extract(NeonRegister.scratch, a, 1)
      code.float(NeonRegister.other, NeonRegister.scratch)
      code.extract(NeonRegister.scratch, a, 0)
      code.float(r, NeonRegister.scratch)
      code.insertFirst(.s4, r, 1, NeonRegister.other)
    }
  }

  /// What is too large, and NaN, becomes the smallest number; what is too small does so by itself.
  private mutating func emitTruncate(_ value: Int32, _ node: LoopBody.Node) {
    let (mask, other) = (NeonRegister.mask, NeonRegister.other)
    let a = register(node.a)
    release(node.a)
    let r = result(value, node.lane)
    let isWide = node.lane.size == 8
    let limit = isWide ? 0x1p63 : 0x1p31
    let from = lanes(node.from)
    if node.from == .f32 {
      load(other, bits: UInt64(Float(limit).bitPattern), size: 4)
    } else {
      load(other, bits: limit.bitPattern, size: 8)
    }
    code.vector(.fcmgt, from, mask, other, a)
    if node.from.size == node.lane.size {
      code.vector(.fcvtzs, from, r, a)
    } else {
      code.vector(.xtn, .d2, mask, mask)
      code.vector(.fcvtzs, .d2, other, a)
      code.vector(.sqxtn, .d2, r, other)
    }
    load(other, bits: isWide ? 1 << 63 : 1 << 31, size: node.lane.size)
    code.vector(.bif, .s4, r, other, mask)
  }

  // MARK: Stores

  private mutating func emitStore(_ node: LoopBody.Node) {
    let address = body.addresses[Int(node.number)]
    let r = register(node.a)
    if let pinned = pin(address) {
      code.move(pinned, r)
    } else if address.size == 1 {
      let packed = NeonRegister.other
      code.vector(.xtn, .s4, packed, r)
      code.vector(.xtn, .h8, packed, packed)
      store(packed, address, size: 1)
    } else if let half = address.half {
      halve(r, half)
      store(NeonRegister.other, address, size: 2)
    } else {
      store(r, address, size: node.lane.size)
    }
    release(node.a)
  }

  /// Floats as numbers of 16 bits in the lower half of `NeonRegister.other`.
  private mutating func halve(_ r: UInt8, _ half: ScalarType) {
    // The numbers of bfloat16 are the upper halves.
    code.vector(half == .float16 ? .fcvtn : .shrn, .s4, NeonRegister.other, r)
  }

  private mutating func emitStoreFirst(_ node: LoopBody.Node) {
    let address = body.addresses[Int(node.number)]
    var r = register(node.a)
    if let half = address.half {
      halve(r, half)
      r = NeonRegister.other
    }
    code.store(
      NeonPart(bytes: address.size), r, memory(address, size: address.size))
    release(node.a)
  }
}
