// The nest of rows, phases and vectors around the bodies of a loop. Uses LoopPhases' bodies and the
// emitter.

/// The code of one kernel.
struct LoopNest {
  let shape: LoopShape
  private let instructionSet: InstructionSet
  var emitter: LoopEmitter
  let lanes: Int
  private let phases: LoopPhases
  /// Per phase, and those over several rows.
  private let steps: [LoopSteps]
  private let tallSteps: LoopSteps?
  private let saved: [GPR]
  private let needsHelp: Bool

  init(_ shape: LoopShape, _ set: InstructionSet) {
    self.shape = shape
    instructionSet = set
    lanes = set.target.vectorBytes / (shape.isWide ? 8 : 4)
    var emitter = LoopEmitter(set, lanes: lanes, pointers: shape.arguments.count)
    let phases = LoopPhases(shape, set, &emitter.space)
    self.phases = phases
    self.emitter = emitter
    let lanes = lanes
    steps = phases.bodies.indices.map {
      LoopSteps(
        phases.bodies[$0], masked: phases.tailBodies[$0], phases.reductions[$0], lanes: lanes)
    }
    tallSteps = phases.tallBody.map {
      LoopSteps($0, masked: phases.tallTailBody!, [], lanes: lanes)
    }
    saved =
      [LoopRegister.row] + LoopRegister.pointers.prefix(shape.arguments.count)
    needsHelp = shape.needsHelp
  }

  var hasMasks: Bool { instructionSet.target.hasMaskRegisters }
  private var isFlat: Bool { shape.rowLength == LoopShape.flat }

  func frame(_ offset: Int) -> Memory { Memory(LoopRegister.frame, offset) }

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
    pinConstants()
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
    let size = UInt32(emitter.space.end)
    for k in 0..<4 { bytes[1 + k] = UInt8(truncatingIfNeeded: size >> UInt32(8 * k)) }
    return bytes
  }

  /// The size of the frame that some code of this nest takes: the code begins with an instruction that
  /// holds it.
  static func frameBytes(_ entry: UnsafeRawPointer) -> Int {
    Int(entry.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
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
      if scalar.type.computing == .float32 {
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
    case 2:
      emitter.code.vector(.pbroadcastw, emitter.width(.f32), 0, .memory(memory))
      emitter.widenHalves(0, type, emitter.width(.f32))
      store(slot, .f32)
    case 4:
      emitter.code.vector(.broadcastss, emitter.width(.i32), 0, .memory(memory))
      store(slot, .i32)
    default:
      emitter.code.vector(.broadcastsd, emitter.width(.i64), 0, .memory(memory))
      store(slot, .i64)
    }
  }

  mutating func store(_ slot: Int, _ lane: LoopLane) {
    emitter.code.vector(.movupsStore, emitter.width(lane), 0, .memory(frame(slot)))
  }

  /// Gives constants the registers that neither the loops nor the code between them need.
  private mutating func pinConstants() {
    let inner = steps.map(\.inner)
    let needed = inner.map(\.registersNeeded.vectors).max() ?? 0
    let isBlocked = phases.reductions.contains { $0.contains { $0.blocks >= 0 } }
    let between = isBlocked ? blockDepth + 1 : 0
    emitter.pinConstants(
      of: inner,
      atMost: emitter.vectorRegisters - max(needed, between, LoopEmitter.freeBetweenLoops))
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
    guard let steps = tallSteps else { return }
    typealias R = LoopRegister
    let count = LoopPhases.tallRows * shape.rowLength
    let few = emitter.code.label()
    let next = emitter.code.here()
    emitter.code.cmp(R.remaining, count)
    emitter.code.jump(.below, few)
    emitter.code.sub(R.remaining, count)
    emitter.code.mov(R.columnEnd, shape.rowLength)
    emitLoops(steps, of: shape.rowLength)
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
      let isWhole = shape.hasWholeRows && shape.rowLength % Summation.blockLength == 0
      emitLoops(steps[p], of: isWhole ? Summation.blockLength : nil)
      for reduction in reductions where reduction.blocks >= 0 { keepBlock(reduction) }
      emitter.code.arithmetic(.cmp, R.column, end)
      emitter.code.jump(.below, nextBlock)
      emitter.code.mov(R.columnEnd, end)
      for reduction in reductions {
        if reduction.blocks >= 0 { finishBlocks(reduction) } else { finish(reduction) }
      }
    } else {
      for reduction in reductions { reset(reduction) }
      emitLoops(steps[p], of: shape.hasWholeRows ? shape.rowLength : nil)
      for reduction in reductions { finish(reduction) }
    }
    if p + 1 < phases.bodies.count {
      // Back to the row's start.
      emitter.code.arithmetic(.sub, R.element, R.column)
      emitter.code.mov(R.column, 0)
    }
  }

  /// The elements from the column to its end.
  ///
  /// - Parameter count: how many elements there are, if that is known.
  private mutating func emitLoops(_ steps: LoopSteps, of count: Int?) {
    typealias R = LoopRegister
    if let main = steps.main { emitVectors(main.body, step: lanes * main.count, of: count) }
    let rest = count.map { $0 % (lanes * (steps.main?.count ?? .max / lanes)) }
    emitVectors(steps.single, step: lanes, of: rest)
    if let rest, rest % lanes == 0 { return }
    let done = emitter.code.label()
    emitter.code.cmp(R.column, R.columnEnd)
    emitter.code.jump(.aboveOrEqual, done)
    let loop = emitter.code.here()
    emitMask()
    emitter.emit(steps.masked, masked: true)
    emitter.code.mov(R.count, frame(LoopFrame.tailCount))
    emitter.code.add(R.column, R.count)
    emitter.code.add(R.element, R.count)
    emitter.code.cmp(R.column, R.columnEnd)
    emitter.code.jump(.below, loop)
    emitter.code.bind(done)
  }

  /// Whole vectors, `step` elements at a time.
  ///
  /// - Parameter count: how many elements there are, if that is known.
  private mutating func emitVectors(_ body: LoopBody, step: Int, of count: Int?) {
    typealias R = LoopRegister
    if let count, count < step { return }
    let done = emitter.code.label()
    emitter.code.mov(R.mainEnd, R.columnEnd)
    emitter.code.arithmetic(.sub, R.mainEnd, R.column)
    emitter.code.arithmetic(.and, R.mainEnd, -step)
    if count == nil { emitter.code.jump(.equal, done) }
    emitter.code.add(R.mainEnd, R.column)
    let pinned = emitter.pins.count
    emitter.pinInvariants(of: body)
    emitter.code.align16()
    let loop = emitter.code.here()
    emitter.emit(body)
    emitter.code.add(R.column, step)
    emitter.code.add(R.element, step)
    emitter.code.cmp(R.column, R.mainEnd)
    emitter.code.jump(.below, loop)
    emitter.unpin(to: pinned)
    emitter.code.bind(done)
  }

  /// Whether the loop does little but read memory once: a cheap sum or extreme of a large array.
  var isStreamed: Bool {
    guard shape.isLarge, steps.count(where: { $0.single.hasEffects }) == 1 else { return false }
    return steps.allSatisfy { LoopSteps.isCheap($0.single) && !$0.single.storesElements }
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
}

extension LoopBody {
  var hasEffects: Bool { nodes.contains { $0.op.isEffect } }

  /// Whether something is stored outside the frame.
  var storesElements: Bool {
    nodes.contains { $0.op.isEffect && $0.hasAddress && addresses[Int($0.number)].pointer >= 0 }
  }
}
