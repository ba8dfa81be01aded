// The lanes of running results between AArch64 loops: set up, folded into one number and put where it
// belongs. Continues NeonNest.swift.

extension NeonNest {
  /// Running lanes that nothing has gone into.
  mutating func reset(_ reduction: LoopReduction) {
    emitter.load(0, bits: reduction.start, size: reduction.lane.size)
    emitter.code.add(NeonRegister.address, NeonRegister.frame, reduction.lanes)
    for offset in stride(from: 0, to: LoopAddress.laneBytes, by: 32) {
      emitter.code.storePair(0, 0, ARMAddress(NeonRegister.address, offset))
    }
  }

  /// The lanes' result in the lowest lane of register 0: halves are combined until one is left. The order is that
  /// of x86-64, which has half of them in a register.
  private mutating func fold(_ reduction: LoopReduction) {
    emitter.code.add(NeonRegister.address, NeonRegister.frame, reduction.lanes)
    for k in stride(from: 0 as UInt8, to: 8, by: 2) {
      emitter.code.loadPair(k, k + 1, ARMAddress(NeonRegister.address, 16 * Int(k)))
    }
    for (a, b) in [(0, 4), (1, 5), (2, 6), (3, 7), (0, 2), (1, 3), (0, 1)] as [(UInt8, UInt8)] {
      combine(reduction, a, b)
    }
    emitter.code.repeatElement(.d2, 1, 0, 1)
    combine(reduction, 0, 1)
    if reduction.lane.size == 4 {
      emitter.code.repeatElement(.s4, 1, 0, 1)
      combine(reduction, 0, 1)
    }
  }

  /// Register `a` takes register `b` in.
  private mutating func combine(_ reduction: LoopReduction, _ a: UInt8, _ b: UInt8) {
    let lane = reduction.lane
    let lanes: NeonLanes = lane.size == 8 ? .d2 : .s4
    if let extreme = reduction.reducer.extreme {
      return pick(isMax: extreme == .largest, lane, lanes, a, b)
    }
    let op = LoopBody.Op(arithmetic: reduction.reducer.combiner)
    if op == .mul, lane == .i64 { return multiplyWide(a, b) }
    emitter.code.vector(NeonEmitter.instruction(op, isFloat: lane.isFloat), lanes, a, a, b)
  }

  /// Products of 64-bit lanes, number by number: there is no other.
  private mutating func multiplyWide(_ a: UInt8, _ b: UInt8) {
    let (x, y) = (NeonRegister.address, NeonRegister.scratch)
    for number in [1, 0] {
      emitter.code.extract(x, a, number)
      emitter.code.extract(y, b, number)
      emitter.code.mul(x, x, y)
      emitter.code.repeatRegister(.d2, NeonRegister.other, x)
      if number == 1 {
        emitter.code.move(NeonRegister.mask, NeonRegister.other)
      } else {
        emitter.code.insertFirst(.d2, NeonRegister.mask, 0, NeonRegister.other)
      }
    }
    emitter.code.move(a, NeonRegister.mask)
  }

  /// An extreme becomes NaN with the first one and stays it; of equal numbers the first one stays.
  private mutating func pick(
    isMax: Bool, _ lane: LoopLane, _ lanes: NeonLanes, _ a: UInt8, _ b: UInt8
  ) {
    let (mask, picked) = (NeonRegister.mask, NeonRegister.other)
    switch lane {
    case .f32, .f64:
      emitter.extreme(isMax, lanes, picked, b, a)
      emitter.code.vector(.fcmeq, lanes, mask, b, b)
      emitter.code.vector(.bsl, .s4, mask, picked, b)
      emitter.code.move(a, mask)
    case .i32, .mask32: emitter.code.vector(isMax ? .smax : .smin, lanes, a, a, b)
    case .i64, .mask64:
      emitter.code.vector(.cmgt, lanes, mask, isMax ? b : a, isMax ? a : b)
      emitter.code.vector(.bit, .s4, a, b, mask)
    }
  }

  mutating func finish(_ reduction: LoopReduction) {
    fold(reduction)
    if reduction.reducer.extreme != nil, reduction.lane.isFloat {
      // One kind of NaN.
      let isSingle = reduction.lane == .f32
      let (mask, nan) = (NeonRegister.mask, NeonRegister.other)
      emitter.code.vector(.fcmeq, isSingle ? .s4 : .d2, mask, 0, 0)
      let bits = isSingle ? UInt64(Float.nan.bitPattern) : Double.nan.bitPattern
      emitter.load(nan, bits: bits, size: reduction.lane.size)
      emitter.code.vector(.bif, .s4, 0, nan, mask)
    }
    if reduction.argument >= 0 { keepPart(reduction) } else { keep(reduction) }
  }

  /// The result in register 0 goes where that of the part belongs.
  private mutating func keepPart(_ reduction: LoopReduction) {
    typealias R = NeonRegister
    switch reduction.lane {
    case .f32: emitter.code.scalar(.floatToDouble, 0, 0)
    case .i32: emitter.code.vector(.sxtl, .d2, 0, 0)
    default: break
    }
    let place = LoopAddress(pointer: reduction.argument, index: .row, size: 8)
    emitter.code.store(.d, 0, emitter.memory(place, size: 8))
  }

  /// The result in register 0 goes to its slot.
  private mutating func keep(_ reduction: LoopReduction) {
    emitter.code.repeatElement(reduction.lane.size == 8 ? .d2 : .s4, 0, 0, 0)
    store(reduction.slot)
  }

  /// The sum of a block, as a double.
  mutating func keepBlock(_ reduction: LoopReduction) {
    typealias R = NeonRegister
    fold(reduction)
    if reduction.lane == .f32 { emitter.code.scalar(.floatToDouble, 0, 0) }
    emitter.code.add(R.scratch, R.column, -1)
    emitter.code.shiftRight(
      R.scratch, R.scratch, UInt8(Summation.blockLength.trailingZeroBitCount))
    emitter.code.add(R.address, R.frame, R.scratch, shift: 3)
    emitter.code.store(.d, 0, emitter.reach(R.address, reduction.blocks, size: 8))
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
    if reduction.lane == .f32 { emitter.code.scalar(.doubleToFloat, 0, 0) }
    keep(reduction)
  }

  /// The sum of some blocks in register `r`; those above are free.
  private mutating func addBlocks(_ blocks: Int, _ range: Range<Int>, _ r: UInt8) {
    emitter.touched |= 1 << UInt64(r)
    if range.count == 1 {
      emitter.code.load(.d, r, emitter.frame(blocks + 8 * range.lowerBound, size: 8))
      return
    }
    let middle = range.lowerBound + range.count / 2
    addBlocks(blocks, range.lowerBound..<middle, r)
    addBlocks(blocks, middle..<range.upperBound, r + 1)
    emitter.code.scalar(.addDoubles, r, r, r + 1)
  }
}
