// Compiles loop kernels: the nest of rows, phases and vectors around the bodies. Uses Plan's
// description of kernels, the emitter and the cache of kernels.

/// Makes machine code of loop kernels.
enum LoopCompiler {
  /// The code of a kernel; nil where it stays with the portable kernels.
  static func compile(_ kernel: LoopKernel, _ set: InstructionSet) -> NativeLoop? {
    guard let shape = LoopShape(kernel) else { return nil }
    let key = KernelKey(.loop, set, shape.descriptor)
    guard
      let routine = KernelCache.shared.routine(
        for: key,
        make: {
          var nest = LoopNest(shape, set)
          return nest.emit()
        })
    else { return nil }
    // The code begins with an instruction that holds the frame's size.
    let frameBytes = Int(routine.entry.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
    return NativeLoop(
      routine: routine, arguments: shape.arguments, registers: shape.placed, loads: shape.loads,
      terminals: shape.terminals, rowLength: shape.rowLength,
      startsInRows: shape.rowLength != LoopShape.flat && !shape.hasWholeRows,
      isPerBlock: shape.isPerBlock, registerBytes: shape.registerBytes, frameBytes: frameBytes)
  }
}

extension LoopShape {
  /// Whether every call has whole rows of the code's loop, all of the same length.
  var hasWholeRows: Bool { isRowWise || terminals.contains(.columns) }

  /// Whether some operation may need the caller's help.
  var needsHelp: Bool {
    for i in 0..<kernel.code.count where kernel.code[i].kind == .tile {
      switch kernel.code[i].opcode {
      case .sin, .cos: return true
      case .cast:
        if LoopBody.needsHelp(casting: kernel.code[i].type, to: kernel.code[i].resultType) {
          return true
        }
      case .pow: if kernel.code[i].type != .bool { return true }
      default: break
      }
    }
    return false
  }

  /// Whether 64-bit lanes occur; then a vector holds as many elements as fit in that size. Functions
  /// of floats that are computed in double precision count.
  var isWide: Bool {
    for r in 0..<kernel.registers.count where roles[r] != .unused {
      if kernel.registers[r].type.size == 8 { return true }
    }
    for i in 0..<kernel.code.count where kernel.code[i].kind == .tile {
      let instruction = kernel.code[i]
      if instruction.type.size == 8 || instruction.resultType.size == 8 { return true }
      if instruction.type == .float32, [.sin, .cos, .pow].contains(instruction.opcode) {
        return true
      }
    }
    return false
  }

  /// Everything that the code depends on.
  var descriptor: [UInt64] {
    var words: [UInt64] = []
    words.reserveCapacity(4 + 2 * kernel.code.count + 2 * roles.count)
    words.append(
      UInt64(rowLength) << 4 | (isRowWise ? 1 : 0) | (hasWholeRows ? 2 : 0))
    words.append(UInt64(isRowWise ? kernel.columns : 0) << 16 | UInt64(arguments.count))
    for r in roles.indices {
      let register = kernel.registers[r]
      var word = UInt64(register.type.rawValue) | (register.isPerRow ? 8 : 0)
      switch roles[r] {
      case .unused: word |= 1 << 4
      case .computed: word |= 2 << 4
      case .memory(let argument, let index):
        word |= 3 << 4 | UInt64(index.rawValue) << 8 | UInt64(argument) << 16
      case .scalar(let argument): word |= 4 << 4 | UInt64(argument) << 16
      case .uniform(let argument): word |= 5 << 4 | UInt64(argument) << 16
      case .repeated(let argument): word |= 6 << 4 | UInt64(argument) << 16
      }
      word |= UInt64(storeArguments[r] + 1) << 32
      words.append(word)
    }
    for advance in advances { words.append(UInt64(bitPattern: Int64(advance))) }
    for i in 0..<kernel.code.count {
      let c = kernel.code[i]
      words.append(
        UInt64(c.kind.rawValue) | UInt64(c.opcode.rawValue) << 8 | UInt64(c.type.rawValue) << 16
          | UInt64(c.resultType.rawValue) << 24 | (c.isPerRow ? 1 << 32 : 0)
          | UInt64(c.dst) << 40)
      words.append(UInt64(c.a) | UInt64(c.b) << 16 | UInt64(c.c) << 32)
    }
    for t in terminals.indices where terminals[t] != .portable {
      let terminal = kernel.terminals[t]
      words.append(
        UInt64(terminals[t].rawValue) | UInt64(terminal.opcode.rawValue) << 8
          | UInt64(terminal.type.rawValue) << 16 | UInt64(terminal.register) << 24)
    }
    return words
  }
}

/// The code of one kernel.
struct LoopNest {
  private let shape: LoopShape
  private let instructionSet: InstructionSet
  private var emitter: LoopEmitter
  private let lanes: Int
  private let phases: LoopPhases
  private let saved: [GPR]
  private let needsHelp: Bool

  init(_ shape: LoopShape, _ set: InstructionSet) {
    self.shape = shape
    instructionSet = set
    lanes = (set == .avx512 ? 64 : 32) / (shape.isWide ? 8 : 4)
    var emitter = LoopEmitter(set, lanes: lanes, pointers: shape.arguments.count)
    phases = LoopPhases(shape, set, &emitter)
    self.emitter = emitter
    saved =
      [LoopRegister.row] + LoopRegister.pointers.prefix(shape.arguments.count)
    needsHelp = shape.needsHelp
  }

  private var hasMasks: Bool { instructionSet == .avx512 }
  private var isFlat: Bool { shape.rowLength == LoopShape.flat }

  private func frame(_ offset: Int) -> Memory { Memory(LoopRegister.frame, offset) }

  mutating func emit() -> [UInt8] {
    typealias R = LoopRegister
    // Holds the frame's size; written when it is known.
    emitter.code.mov(.rax, 0x7FFF_FFFF)
    for register in saved { emitter.code.push(register) }
    loadPointers()
    let (resume, leave, done) = (emitter.code.label(), emitter.code.label(), emitter.code.label())
    if needsHelp {
      emitter.code.mov(.rax, frame(LoopFrame.resume))
      emitter.code.test(.rax, .rax)
      emitter.code.jump(.notEqual, resume)
    }
    fillSlots()
    emitter.code.mov(R.row, 0)
    emitter.code.mov(R.element, 0)
    emitter.code.mov(R.remaining, frame(LoopFrame.elementCount))
    emitter.code.mov(R.column, frame(LoopFrame.startColumn))
    emitTall(done: done)
    let nextRow = emitter.code.here()
    beginRow()
    for p in phases.bodies.indices { emitPhase(p) }
    if !isFlat {
      emitter.code.add(R.row, 1)
      emitter.code.mov(R.column, 0)
      advancePointers()
      emitter.code.test(R.remaining, R.remaining)
      emitter.code.jump(.notEqual, nextRow)
    }
    emitter.code.bind(done)
    emitter.code.mov(.rax, 0)
    emitter.code.bind(leave)
    for register in saved.reversed() { emitter.code.pop(register) }
    emitter.code.vzeroupper()
    emitter.code.ret()
    if needsHelp {
      emitter.code.bind(resume)
      emitter.emitResume()
      emitter.emitStubs(leave: leave)
    }
    var bytes = emitter.code.finish()
    let size = UInt32(emitter.frameEnd)
    for k in 0..<4 { bytes[1 + k] = UInt8(truncatingIfNeeded: size >> UInt32(8 * k)) }
    return bytes
  }

  // MARK: Before the loops

  private mutating func loadPointers() {
    for (i, register) in LoopRegister.pointers.prefix(shape.arguments.count).enumerated() {
      emitter.code.mov(register, frame(LoopFrame.pointer(i)))
    }
  }

  /// Puts what is the same for all elements into the frame, as a vector.
  private mutating func fillSlots() {
    for scalar in phases.scalars {
      emitter.code.mov(.r11, frame(LoopFrame.pointer(scalar.argument)))
      let memory = Memory(.r11)
      if scalar.type == .float32 {
        emitter.code.vector(.xorps, .x, 0, 0, 0)
        emitter.code.vector(.cvtsd2ss, .x, 0, 0, .memory(memory))
        emitter.code.vector(.broadcastss, emitter.width(.f32), 0, .register(0))
        store(scalar.slot, .f32)
      } else {
        broadcast(memory, scalar.type, scalar.slot)
      }
    }
    for uniform in phases.uniforms {
      emitter.code.mov(.r11, frame(LoopFrame.pointer(uniform.argument)))
      broadcast(Memory(.r11), uniform.type, uniform.slot)
    }
  }

  private mutating func broadcast(_ memory: Memory, _ type: ScalarType, _ slot: Int) {
    switch type.size {
    case 1:
      emitter.code.mov8(.rax, memory)
      emitter.code.vector(.movd, .x, 0, .register(GPR.rax.rawValue))
      emitter.code.vector(.pbroadcastd, emitter.width(.i32), 0, .register(0))
      store(slot, .i32)
    case 4:
      emitter.code.vector(.broadcastss, emitter.width(.i32), 0, .memory(memory))
      store(slot, .i32)
    default:
      emitter.code.vector(.broadcastsd, emitter.width(.i64), 0, .memory(memory))
      store(slot, .i64)
    }
  }

  private mutating func store(_ slot: Int, _ lane: LoopLane) {
    emitter.code.vector(.movupsStore, emitter.width(lane), 0, .memory(frame(slot)))
  }

  // MARK: Rows

  /// Finds the end of the row and takes its elements off what remains.
  private mutating func beginRow() {
    typealias R = LoopRegister
    emitter.code.lea(R.columnEnd, Memory(R.column, 0, index: R.remaining))
    if isFlat {
      emitter.code.mov(R.remaining, 0)
      return
    }
    let isLast = emitter.code.label()
    emitter.code.cmp(R.columnEnd, shape.rowLength)
    emitter.code.jump(.belowOrEqual, isLast)
    emitter.code.mov(R.columnEnd, shape.rowLength)
    emitter.code.bind(isLast)
    emitter.code.add(R.remaining, R.column)
    emitter.code.arithmetic(.sub, R.remaining, R.columnEnd)
  }

  /// Works off several rows at a time while there are so many, and goes to `done` with the last.
  private mutating func emitTall(done: Assembler.Label) {
    guard let body = phases.tallBody, let tail = phases.tallTailBody else { return }
    typealias R = LoopRegister
    let count = LoopPhases.tallRows * shape.rowLength
    let few = emitter.code.label()
    let next = emitter.code.here()
    emitter.code.cmp(R.remaining, count)
    emitter.code.jump(.below, few)
    emitter.code.sub(R.remaining, count)
    emitter.code.mov(R.columnEnd, shape.rowLength)
    emitLoops(body, tail, isFixed: true)
    emitter.code.mov(R.column, 0)
    emitter.code.add(R.element, count - shape.rowLength)
    advancePointers(by: LoopPhases.tallRows)
    emitter.code.jump(next)
    emitter.code.bind(few)
    emitter.code.test(R.remaining, R.remaining)
    emitter.code.jump(.equal, done)
  }

  private mutating func advancePointers(by rows: Int = 1) {
    for (i, one) in shape.advances.enumerated() where one != 0 {
      let advance = rows * one
      let place = frame(LoopFrame.pointer(i))
      if i < LoopRegister.pointers.count {
        emitter.code.add(LoopRegister.pointers[i], advance)
        if needsHelp { emitter.code.mov(place, LoopRegister.pointers[i]) }
      } else {
        emitter.code.mov(.r11, place)
        emitter.code.add(.r11, advance)
        emitter.code.mov(place, .r11)
      }
    }
  }

  // MARK: Phases

  private mutating func emitPhase(_ p: Int) {
    emitter.emit(phases.rowBodies[p])
    if !phases.bodies[p].hasEffects {
      if p > 0, p + 1 == phases.bodies.count {
        emitter.code.add(LoopRegister.element, LoopRegister.columnEnd)
      }
      return
    }
    let reductions = phases.reductions[p]
    let isBlocked = reductions.contains { $0.blocks >= 0 }
    typealias R = LoopRegister
    if isBlocked {
      // Blocks of a row; each leaves its sum in the frame.
      let end = frame(LoopFrame.rowEnd)
      let (nextBlock, isLast) = (emitter.code.label(), emitter.code.label())
      emitter.code.mov(end, R.columnEnd)
      for reduction in reductions where reduction.blocks < 0 { reset(reduction) }
      emitter.code.bind(nextBlock)
      for reduction in reductions where reduction.blocks >= 0 { reset(reduction) }
      emitter.code.lea(R.columnEnd, Memory(R.column, Summation.blockLength))
      emitter.code.arithmetic(.cmp, R.columnEnd, end)
      emitter.code.jump(.belowOrEqual, isLast)
      emitter.code.mov(R.columnEnd, end)
      emitter.code.bind(isLast)
      emitLoops(phases.bodies[p], phases.tailBodies[p], isFixed: false)
      for reduction in reductions where reduction.blocks >= 0 { keepBlock(reduction) }
      emitter.code.arithmetic(.cmp, R.column, end)
      emitter.code.jump(.below, nextBlock)
      emitter.code.mov(R.columnEnd, end)
      for reduction in reductions {
        if reduction.blocks >= 0 { finishBlocks(reduction) } else { finish(reduction) }
      }
    } else {
      for reduction in reductions { reset(reduction) }
      emitLoops(phases.bodies[p], phases.tailBodies[p], isFixed: shape.hasWholeRows)
      for reduction in reductions { finish(reduction) }
    }
    if p + 1 < phases.bodies.count {
      // Back to the row's start.
      emitter.code.arithmetic(.sub, R.element, R.column)
      emitter.code.mov(R.column, 0)
    }
  }

  /// The elements from the column to its end: whole steps, then masked vectors.
  ///
  /// - Parameter fixed: the row's length is known, and its first column is 0.
  private mutating func emitLoops(_ body: LoopBody, _ tailBody: LoopBody, isFixed fixed: Bool) {
    typealias R = LoopRegister
    let unroll = body.isCheap ? (hasMasks ? 2 : 4) : 1
    let step = lanes * unroll
    let hasMain = !fixed || shape.rowLength >= step
    let hasTail = !fixed || shape.rowLength % step != 0
    let (tail, done) = (emitter.code.label(), emitter.code.label())
    if hasMain {
      emitter.code.mov(R.mainEnd, R.columnEnd)
      emitter.code.arithmetic(.sub, R.mainEnd, R.column)
      emitter.code.arithmetic(.and, R.mainEnd, -step)
      if hasTail { emitter.code.jump(.equal, tail) }
      emitter.code.add(R.mainEnd, R.column)
      emitter.code.align16()
      let loop = emitter.code.here()
      for u in 0..<unroll { emitter.emit(body, ahead: u * lanes) }
      emitter.code.add(R.column, step)
      emitter.code.add(R.element, step)
      emitter.code.cmp(R.column, R.mainEnd)
      emitter.code.jump(.below, loop)
    }
    emitter.code.bind(tail)
    if hasTail {
      emitter.code.cmp(R.column, R.columnEnd)
      emitter.code.jump(.aboveOrEqual, done)
      let loop = emitter.code.here()
      emitMask()
      emitter.emit(tailBody, masked: true)
      emitter.code.mov(R.count, frame(LoopFrame.tailCount))
      emitter.code.add(R.column, R.count)
      emitter.code.add(R.element, R.count)
      emitter.code.cmp(R.column, R.columnEnd)
      emitter.code.jump(.below, loop)
    }
    emitter.code.bind(done)
  }

  /// The mask of the elements that are left, a vector's at most.
  private mutating func emitMask() {
    typealias R = LoopRegister
    let few = emitter.code.label()
    emitter.code.mov(R.count, R.columnEnd)
    emitter.code.arithmetic(.sub, R.count, R.column)
    emitter.code.cmp(R.count, lanes)
    emitter.code.jump(.belowOrEqual, few)
    emitter.code.mov(R.count, lanes)
    emitter.code.bind(few)
    emitter.code.mov(frame(LoopFrame.tailCount), R.count)
    if hasMasks {
      emitter.code.mov(.rax, 1)
      emitter.code.shlByCL(.rax)
      emitter.code.sub(.rax, 1)
      emitter.code.vector(.kmovwFromGPR, .x, 1, .register(GPR.rax.rawValue))
    } else {
      var table = [UInt8](repeating: 0xFF, count: 32)
      table += [UInt8](repeating: 0, count: 32)
      emitter.code.lea(.r11, emitter.code.constant(table))
      emitter.code.mov(.rax, 8)
      emitter.code.arithmetic(.sub, .rax, R.count)
      let memory = Memory(.r11, 0, index: .rax, scale: 4)
      emitter.code.vector(.movups, .y, 0, .memory(memory))
      emitter.code.vector(.movupsStore, .y, 0, .memory(frame(LoopFrame.tails)))
      if shape.isWide {
        emitter.code.vector(.pmovsxdq, .y, 0, .memory(memory))
        emitter.code.vector(.movupsStore, .y, 0, .memory(frame(LoopFrame.tails + 64)))
      }
    }
  }

  // MARK: Reductions

  /// Running lanes that nothing has gone into.
  private mutating func reset(_ reduction: LoopReduction) {
    if reduction.neutral == 0 {
      emitter.code.vector(.xorps, .x, 0, 0, 0)
    } else if reduction.lane.size == 4 {
      let bits = UInt32(truncatingIfNeeded: reduction.neutral)
      emitter.code.vector(.broadcastss, .y, 0, .memory(emitter.code.constant(bits)))
    } else {
      emitter.code.vector(.broadcastsd, .y, 0, .memory(emitter.code.constant(reduction.neutral)))
    }
    for k in 0..<4 {
      emitter.code.vector(.movupsStore, .y, 0, .memory(frame(reduction.lanes + 32 * k)))
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
    let single = reduction.lane.size == 4
    let isMax = reduction.kind == .max
    switch (reduction.kind, reduction.lane) {
    case (.sum, .f32): emitter.code.vector(.addps, width, 0, 0, 1)
    case (.sum, .f64): emitter.code.vector(.addpd, width, 0, 0, 1)
    case (.sum, .i32): emitter.code.vector(.paddd, width, 0, 0, 1)
    case (.sum, _): emitter.code.vector(.paddq, width, 0, 0, 1)
    case (_, .f32), (_, .f64):
      let op: VectorOp = single ? (isMax ? .maxps : .minps) : (isMax ? .maxpd : .minpd)
      emitter.code.vector(op, width, 2, 1, 0)
      emitter.code.vector(single ? .cmpps : .cmppd, width, 3, 1, 1, immediate: 3)
      emitter.code.blend(single ? .blendvps : .blendvpd, width, 0, 2, .register(1), by: 3)
    case (_, .i32): emitter.code.vector(isMax ? .pmaxsd : .pminsd, width, 0, 0, 1)
    default:
      emitter.code.vector(.pcmpgtq, width, 3, isMax ? 1 : 0, isMax ? 0 : 1)
      emitter.code.blend(.blendvpd, width, 0, 0, .register(1), by: 3)
    }
  }

  private mutating func finish(_ reduction: LoopReduction) {
    fold(reduction)
    if reduction.argument >= 0 {
      if reduction.lane == .f32 {
        emitter.code.vector(.cvtss2sd, .x, 0, 0, .register(0))
      }
      emitter.code.mov(.r11, frame(LoopFrame.pointer(reduction.argument)))
      emitter.code.vector(
        .movsdStore, .x, 0, .memory(Memory(.r11, 0, index: LoopRegister.row, scale: 8)))
      return
    }
    if reduction.kind != .sum, reduction.lane.isFloat {
      // One kind of NaN.
      let single = reduction.lane == .f32
      emitter.code.vector(single ? .cmpps : .cmppd, .x, 3, 0, 0, immediate: 3)
      let nan =
        single
        ? emitter.code.constant(Float.nan.bitPattern, count: 4)
        : emitter.code.constant(Double.nan.bitPattern, count: 2)
      emitter.code.blend(single ? .blendvps : .blendvpd, .x, 0, 0, .memory(nan), by: 3)
    }
    keep(reduction)
  }

  /// The result in register 0 goes to its slot.
  private mutating func keep(_ reduction: LoopReduction) {
    let wide = reduction.lane.size == 8
    emitter.code.vector(
      wide ? .broadcastsd : .broadcastss, emitter.width(reduction.lane), 0, .register(0))
    store(reduction.slot, reduction.lane)
  }

  /// The sum of a block, as a double.
  private mutating func keepBlock(_ reduction: LoopReduction) {
    fold(reduction)
    if reduction.lane == .f32 { emitter.code.vector(.cvtss2sd, .x, 0, 0, .register(0)) }
    emitter.code.mov(.rax, LoopRegister.column)
    emitter.code.sub(.rax, 1)
    emitter.code.shr(.rax, UInt8(Summation.blockLength.trailingZeroBitCount))
    emitter.code.vector(
      .movsdStore, .x, 0,
      .memory(Memory(LoopRegister.frame, reduction.blocks, index: .rax, scale: 8)))
  }

  /// Adds the blocks in pairs, as `FloatRun.sum` does.
  private mutating func finishBlocks(_ reduction: LoopReduction) {
    let count = (shape.rowLength + Summation.blockLength - 1) / Summation.blockLength
    addBlocks(reduction.blocks, 0..<count, 0)
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

extension LoopBody {
  var hasEffects: Bool { nodes.contains { $0.op.isEffect } }

  /// Whether several vectors per iteration are worth their code.
  var isCheap: Bool { nodes.count <= 16 }
}
