// The lanes of running results between the loops: set up, folded into one number and put where it
// belongs. Continues LoopNest.swift.

extension LoopNest {
  /// Running lanes that nothing has gone into.
  mutating func reset(_ reduction: LoopReduction) {
    // As wide as they will be read: a load does not wait for one store only.
    let width = emitter.width(reduction.lane)
    if reduction.start == 0 {
      emitter.code.vector(.xorps, .x, 0, 0, 0)
    } else if reduction.lane.size == 4 {
      let bits = UInt32(truncatingIfNeeded: reduction.start)
      emitter.code.vector(.broadcastss, width, 0, .memory(emitter.code.constant(bits)))
    } else {
      emitter.code.vector(.broadcastsd, width, 0, .memory(emitter.code.constant(reduction.start)))
    }
    for offset in stride(from: 0, to: LoopAddress.laneBytes, by: lanes * reduction.lane.size) {
      emitter.code.vector(.movupsStore, width, 0, .memory(frame(reduction.lanes + offset)))
    }
  }

  /// The lanes' result in the lowest lane of register 0: halves are combined until one is left.
  private mutating func fold(_ reduction: LoopReduction) {
    func load(_ r: UInt8, _ k: Int) {
      emitter.code.vector(.movups, .y, r, .memory(frame(reduction.lanes + 32 * k)))
    }
    load(0, 0)
    load(1, 2)
    combine(reduction, .y)
    emitter.code.vector(.movups, .y, 4, .register(0))
    load(0, 1)
    load(1, 3)
    combine(reduction, .y)
    emitter.code.vector(.movups, .y, 1, .register(0))
    emitter.code.vector(.movups, .y, 0, .register(4))
    combine(reduction, .y)
    emitter.code.vector(.extractf128, .y, 0, .register(1), immediate: 1)
    combine(reduction, .x)
    emitter.code.vector(.movhlps, .x, 1, 0, 0)
    combine(reduction, .x)
    if reduction.lane.size == 4 {
      emitter.code.vector(.movshdup, .x, 1, .register(0))
      combine(reduction, .x)
    }
  }

  /// Register 0 takes register 1 in; 2 and 3 are free.
  private mutating func combine(_ reduction: LoopReduction, _ width: VectorWidth) {
    if let extreme = reduction.reducer.extreme { return pick(extreme, reduction.lane, width) }
    let op = LoopBody.Op(arithmetic: reduction.reducer.combiner)
    if op == .mul, reduction.lane == .i64 { return multiplyWide(width) }
    emitter.code.vector(LoopEmitter.instruction(op, reduction.lane), width, 0, 0, 1)
  }

  /// Products of 64-bit lanes of their halves: AVX2 has no other.
  private mutating func multiplyWide(_ width: VectorWidth) {
    emitter.code.shift(.psrlq, width, 2, 0, by: 32)
    emitter.code.vector(.pmuludq, width, 2, 2, 1)
    emitter.code.shift(.psrlq, width, 3, 1, by: 32)
    emitter.code.vector(.pmuludq, width, 3, 3, 0)
    emitter.code.vector(.paddq, width, 2, 2, 3)
    emitter.code.shift(.psllq, width, 2, 2, by: 32)
    emitter.code.vector(.pmuludq, width, 0, 0, 1)
    emitter.code.vector(.paddq, width, 0, 0, 2)
  }

  private mutating func pick(_ extreme: Extreme, _ lane: LoopLane, _ width: VectorWidth) {
    let single = lane.size == 4
    let isLargest = extreme == .largest
    switch lane {
    case .f32, .f64:
      let op: VectorOp =
        single ? (isLargest ? .maxps : .minps) : (isLargest ? .maxpd : .minpd)
      emitter.code.vector(op, width, 2, 1, 0)
      emitter.code.vector(single ? .cmpps : .cmppd, width, 3, 1, 1, immediate: 3)
      emitter.code.blend(single ? .blendvps : .blendvpd, width, 0, 2, .register(1), by: 3)
    case .i32, .mask32:
      emitter.code.vector(isLargest ? .pmaxsd : .pminsd, width, 0, 0, 1)
    case .i64, .mask64:
      emitter.code.vector(.pcmpgtq, width, 3, isLargest ? 1 : 0, isLargest ? 0 : 1)
      emitter.code.blend(.blendvpd, width, 0, 0, .register(1), by: 3)
    }
  }

  mutating func finish(_ reduction: LoopReduction) {
    fold(reduction)
    if reduction.reducer.extreme != nil, reduction.lane.isFloat {
      // One kind of NaN.
      let single = reduction.lane == .f32
      emitter.code.vector(single ? .cmpps : .cmppd, .x, 3, 0, 0, immediate: 3)
      let nan =
        single
        ? emitter.code.constant(Float.nan.bitPattern, count: 4)
        : emitter.code.constant(Double.nan.bitPattern, count: 2)
      emitter.code.blend(single ? .blendvps : .blendvpd, .x, 0, 0, .memory(nan), by: 3)
    }
    if reduction.argument >= 0 { keepPart(reduction) } else { keep(reduction) }
  }

  /// The result in register 0 goes where that of the part belongs.
  private mutating func keepPart(_ reduction: LoopReduction) {
    switch reduction.lane {
    case .f32: emitter.code.vector(.cvtss2sd, .x, 0, 0, .register(0))
    case .i32: emitter.code.vector(.pmovsxdq, .x, 0, .register(0))
    default: break
    }
    emitter.code.mov(.r11, frame(LoopFrame.pointer(reduction.argument)))
    emitter.code.vector(
      .movsdStore, .x, 0, .memory(Memory(.r11, 0, index: LoopRegister.row, scale: 8)))
  }

  /// The result in register 0 goes to its slot.
  private mutating func keep(_ reduction: LoopReduction) {
    let wide = reduction.lane.size == 8
    emitter.code.vector(
      wide ? .broadcastsd : .broadcastss, emitter.width(reduction.lane), 0, .register(0))
    store(reduction.slot, reduction.lane)
  }

  /// The sum of a block, as a double.
  mutating func keepBlock(_ reduction: LoopReduction) {
    fold(reduction)
    if reduction.lane == .f32 { emitter.code.vector(.cvtss2sd, .x, 0, 0, .register(0)) }
    emitter.code.mov(.rax, LoopRegister.column)
    emitter.code.sub(.rax, 1)
    emitter.code.shr(.rax, UInt8(Summation.blockLength.trailingZeroBitCount))
    emitter.code.vector(
      .movsdStore, .x, 0,
      .memory(Memory(LoopRegister.frame, reduction.blocks, index: .rax, scale: 8)))
  }

  /// The blocks of a row.
  private var blockCount: Int {
    (shape.rowLength + Summation.blockLength - 1) / Summation.blockLength
  }

  /// How often blocks are halved until each is one.
  var blockDepth: Int { Int.bitWidth - (blockCount - 1).leadingZeroBitCount }

  /// Adds the blocks in pairs, as `FloatRun.total` does.
  mutating func finishBlocks(_ reduction: LoopReduction) {
    addBlocks(reduction.blocks, 0..<blockCount, 0)
    if reduction.lane == .f32 { emitter.code.vector(.cvtsd2ss, .x, 0, 0, .register(0)) }
    keep(reduction)
  }

  /// The sum of some blocks in register `r`; those above are free.
  private mutating func addBlocks(_ blocks: Int, _ range: Range<Int>, _ r: UInt8) {
    if range.count == 1 {
      emitter.code.vector(.movsdLoad, .x, r, .memory(frame(blocks + 8 * range.lowerBound)))
      return
    }
    let middle = range.lowerBound + range.count / 2
    addBlocks(blocks, range.lowerBound..<middle, r)
    addBlocks(blocks, middle..<range.upperBound, r + 1)
    emitter.code.vector(.addsd, .x, r, r, .register(r + 1))
  }
}
