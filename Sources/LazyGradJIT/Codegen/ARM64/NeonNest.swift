// The nest of rows, phases and vectors around the bodies of a loop, in AArch64 instructions. Uses
// LoopPhases' bodies and the emitter.

/// The code of one kernel.
struct NeonNest {
  let shape: LoopShape
  var emitter: NeonEmitter
  let lanes: Int
  private let phases: LoopPhases
  /// Per phase, and those over several rows.
  private let steps: [LoopSteps]
  private let tallSteps: LoopSteps?
  private let needsHelp: Bool

  init(_ shape: LoopShape) {
    self.shape = shape
    let target = InstructionSet.neon.target
    lanes = target.vectorBytes / (shape.isWide ? 8 : 4)
    var emitter = NeonEmitter(.neon, lanes: lanes, pointers: shape.arguments.count)
    let phases = LoopPhases(shape, .neon, &emitter.space)
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
    needsHelp = shape.needsHelp
  }

  private var isFlat: Bool { shape.rowLength == LoopShape.flat }

  /// The code; nil where it would be longer than jumps are.
  mutating func emit() -> [UInt8]? {
    typealias R = NeonRegister
    let (resume, leave, done) = (emitter.code.label(), emitter.code.label(), emitter.code.label())
    if needsHelp {
      emitter.code.load(R.address, ARMAddress(R.frame, LoopFrame.resume))
      emitter.code.jump(ifNotZero: R.address, resume)
    }
    fillSlots()
    pinConstants()
    emitter.code.mov(R.row, 0)
    emitter.code.load(R.remaining, ARMAddress(R.frame, LoopFrame.elementCount))
    emitter.code.load(R.column, ARMAddress(R.frame, LoopFrame.startColumn))
    emitter.code.sub(R.rowElement, .zero, R.column)
    emitTall(done: done)
    let nextRow = emitter.code.here()
    beginRow()
    for p in phases.bodies.indices { emitPhase(p) }
    if !isFlat {
      emitter.code.add(R.row, R.row, 1)
      emitter.code.add(R.rowElement, R.rowElement, R.columnEnd)
      emitter.code.mov(R.column, 0)
      advancePointers()
      emitter.code.jump(ifNotZero: R.remaining, nextRow)
    }
    emitter.code.bind(done)
    emitter.code.mov(.x0, 0)
    emitter.code.bind(leave)
    restoreRegisters()
    emitter.code.ret()
    if needsHelp {
      emitter.code.bind(resume)
      emitter.emitResume()
      emitter.emitStubs(leave: leave)
    }
    return emitter.code.isInReach ? emitter.code.finish(after: prologue) : nil
  }

  // MARK: Calls

  /// Pairs of vector registers whose lower halves belong to the caller, and that the code changes.
  private var savedPairs: [UInt8] {
    stride(from: 8 as UInt8, to: 16, by: 2).filter { emitter.touched >> UInt64($0) & 3 != 0 }
  }

  private mutating func restoreRegisters() {
    let pairs = savedPairs
    for (i, r) in pairs.enumerated() {
      emitter.code.loadHalves(r, r + 1, ARMAddress(.sp, 16 * i))
    }
    if !pairs.isEmpty { emitter.code.add(.sp, .sp, 16 * pairs.count) }
  }

  /// What comes before everything else, when it is known: the frame's size, which nobody but
  /// `frameBytes` reads, and the caller's registers.
  private var prologue: [UInt32] {
    var code = ARMAssembler()
    let size = emitter.space.end
    code.constant(size, NeonRegister.scratch)
    let pairs = savedPairs
    if !pairs.isEmpty { code.add(.sp, .sp, -16 * pairs.count) }
    for (i, r) in pairs.enumerated() { code.storeHalves(r, r + 1, ARMAddress(.sp, 16 * i)) }
    return code.words
  }

  /// The size of the frame that some code of this nest takes.
  static func frameBytes(_ entry: UnsafeRawPointer) -> Int {
    ARMAssembler.constant(
      entry.load(as: UInt32.self).littleEndian,
      entry.load(fromByteOffset: 4, as: UInt32.self).littleEndian)
  }

  // MARK: Before the loops

  /// Puts what is the same for all elements into the frame, as a vector.
  private mutating func fillSlots() {
    for scalar in phases.scalars {
      if scalar.type.computing == .float32 {
        let place = ARMAddress(NeonRegister.frame, LoopFrame.pointer(scalar.argument))
        emitter.code.load(NeonRegister.address, place)
        emitter.code.load(.d, 0, ARMAddress(NeonRegister.address))
        emitter.code.scalar(.doubleToFloat, 0, 0)
        emitter.code.repeatElement(.s4, 0, 0, 0)
        store(scalar.slot)
      } else {
        broadcast(scalar.argument, scalar.type, scalar.slot)
      }
    }
    for uniform in phases.uniforms { broadcast(uniform.argument, uniform.type, uniform.slot) }
  }

  private mutating func broadcast(_ argument: Int, _ type: ScalarType, _ slot: Int) {
    let address = LoopAddress(
      pointer: argument, index: .none, size: type.size, half: type.isHalf ? type : nil)
    emitter.loadAll(address, type.size == 8 ? .d2 : .s4, 0)
    store(slot)
  }

  /// Register 0 into a slot.
  mutating func store(_ slot: Int) { emitter.code.store(.q, 0, emitter.frame(slot)) }

  /// Gives constants the registers that neither the loops nor the code between them need.
  private mutating func pinConstants() {
    let inner = steps.map(\.inner)
    let needed = inner.map(\.registersNeeded.vectors).max() ?? 0
    let isBlocked = phases.reductions.contains { $0.contains { $0.blocks >= 0 } }
    let between = isBlocked ? blockDepth + 1 : 0
    emitter.pinConstants(
      of: inner,
      atMost: emitter.vectorRegisters - max(needed, between, NeonEmitter.freeBetweenLoops))
  }

  // MARK: Rows

  /// Finds the end of the row and takes its elements off what remains.
  private mutating func beginRow() {
    typealias R = NeonRegister
    emitter.code.add(R.columnEnd, R.column, R.remaining)
    if isFlat {
      emitter.code.mov(R.remaining, 0)
      return
    }
    let isLast = emitter.code.label()
    emitter.code.cmp(R.columnEnd, shape.rowLength, scratch: R.scratch)
    emitter.code.jump(.belowOrEqual, isLast)
    emitter.code.mov(R.columnEnd, shape.rowLength)
    emitter.code.bind(isLast)
    emitter.code.add(R.remaining, R.remaining, R.column)
    emitter.code.sub(R.remaining, R.remaining, R.columnEnd)
  }

  /// Works off several rows at a time while there are so many, and goes to `done` with the last.
  private mutating func emitTall(done: ARMAssembler.Label) {
    guard let steps = tallSteps else { return }
    typealias R = NeonRegister
    let count = LoopPhases.tallRows * shape.rowLength
    let few = emitter.code.label()
    let next = emitter.code.here()
    emitter.code.cmp(R.remaining, count, scratch: R.scratch)
    emitter.code.jump(.below, few)
    emitter.code.add(R.remaining, R.remaining, -count, scratch: R.scratch)
    emitter.code.mov(R.columnEnd, shape.rowLength)
    emitLoops(steps, of: shape.rowLength)
    emitter.code.mov(R.column, 0)
    emitter.code.add(R.rowElement, R.rowElement, count, scratch: R.scratch)
    advancePointers(by: LoopPhases.tallRows)
    emitter.code.jump(next)
    emitter.code.bind(few)
    emitter.code.jump(ifZero: R.remaining, done)
  }

  private mutating func advancePointers(by rows: Int = 1) {
    typealias R = NeonRegister
    for (i, one) in shape.advances.enumerated() where one != 0 {
      let place = ARMAddress(R.frame, LoopFrame.pointer(i))
      emitter.code.load(R.address, place)
      emitter.code.add(R.address, R.address, rows * one, scratch: R.scratch)
      emitter.code.store(R.address, place)
    }
  }

  // MARK: Phases

  private mutating func emitPhase(_ p: Int) {
    emitter.emit(phases.rowBodies[p])
    if !phases.bodies[p].hasEffects { return }
    let reductions = phases.reductions[p]
    if reductions.contains(where: { $0.blocks >= 0 }) {
      emitBlocks(steps[p], reductions)
    } else {
      for reduction in reductions { reset(reduction) }
      emitLoops(steps[p], of: shape.hasWholeRows ? shape.rowLength : nil)
      for reduction in reductions { finish(reduction) }
    }
    if p + 1 < phases.bodies.count { emitter.code.mov(NeonRegister.column, 0) }
  }

  /// The blocks of a row; each leaves its sum in the frame.
  private mutating func emitBlocks(_ steps: LoopSteps, _ reductions: [LoopReduction]) {
    typealias R = NeonRegister
    let end = ARMAddress(R.frame, LoopFrame.rowEnd)
    let (nextBlock, isLast) = (emitter.code.label(), emitter.code.label())
    emitter.code.store(R.columnEnd, end)
    for reduction in reductions where reduction.blocks < 0 { reset(reduction) }
    emitter.code.bind(nextBlock)
    for reduction in reductions where reduction.blocks >= 0 { reset(reduction) }
    emitter.code.load(R.scratch, end)
    emitter.code.add(R.columnEnd, R.column, Summation.blockLength)
    emitter.code.cmp(R.columnEnd, R.scratch)
    emitter.code.jump(.belowOrEqual, isLast)
    emitter.code.mov(R.columnEnd, R.scratch)
    emitter.code.bind(isLast)
    let isWhole = shape.hasWholeRows && shape.rowLength % Summation.blockLength == 0
    emitLoops(steps, of: isWhole ? Summation.blockLength : nil)
    for reduction in reductions where reduction.blocks >= 0 { keepBlock(reduction) }
    emitter.code.load(R.scratch, end)
    emitter.code.cmp(R.column, R.scratch)
    emitter.code.jump(.below, nextBlock)
    emitter.code.mov(R.columnEnd, R.scratch)
    for reduction in reductions {
      if reduction.blocks >= 0 { finishBlocks(reduction) } else { finish(reduction) }
    }
  }

  /// The elements from the column to its end.
  ///
  /// - Parameter count: how many elements there are, if that is known.
  private mutating func emitLoops(_ steps: LoopSteps, of count: Int?) {
    typealias R = NeonRegister
    emitter.openCursors(for: [steps.main?.body, steps.single, steps.masked].compactMap { $0 })
    if let main = steps.main { emitVectors(main.body, step: lanes * main.count, of: count) }
    let rest = count.map { $0 % (lanes * (steps.main?.count ?? .max / lanes)) }
    emitVectors(steps.single, step: lanes, of: rest)
    if rest.map({ $0 % lanes != 0 }) ?? true {
      let done = emitter.code.label()
      if rest == nil {
        emitter.code.cmp(R.column, R.columnEnd)
        emitter.code.jump(.aboveOrEqual, done)
      }
      emitMask(for: steps.masked)
      emitter.emit(steps.masked, masked: true)
      emitter.code.mov(R.column, R.columnEnd)
      emitter.code.bind(done)
    }
    emitter.closeCursors()
  }

  /// Whole vectors, `step` elements at a time.
  ///
  /// - Parameter count: how many elements there are, if that is known.
  private mutating func emitVectors(_ body: LoopBody, step: Int, of count: Int?) {
    typealias R = NeonRegister
    if let count, count < step { return }
    let done = emitter.code.label()
    emitter.code.sub(R.mainEnd, R.columnEnd, R.column)
    emitter.code.ands(R.mainEnd, R.mainEnd, multipleOf: step)
    if count == nil { emitter.code.jump(.equal, done) }
    emitter.code.add(R.mainEnd, R.mainEnd, R.column)
    let pinned = emitter.pins.count
    emitter.pinInvariants(of: body)
    let loop = emitter.code.here()
    emitter.emit(body)
    emitter.moveCursors(by: step)
    emitter.code.add(R.column, R.column, step)
    emitter.code.cmp(R.column, R.mainEnd)
    emitter.code.jump(.below, loop)
    emitter.unpin(to: pinned)
    emitter.code.bind(done)
  }

  /// The mask of the elements that are left, fewer than a vector's.
  private mutating func emitMask(for body: LoopBody) {
    typealias R = NeonRegister
    emitter.code.sub(R.count, R.columnEnd, R.column)
    if needsHelp { emitter.code.store(R.count, ARMAddress(R.frame, LoopFrame.tailCount)) }
    if !body.nodes.contains(where: { $0.op == .tail }) { return }
    let (mask, numbers) = (NeonRegister.mask, NeonRegister.other)
    emitter.code.load(numbers, ARMAssembler.Constant(1 << 32, 3 << 32 | 2))
    emitter.code.repeatRegister(.s4, mask, R.count)
    emitter.code.vector(.cmhi, .s4, mask, mask, numbers)
    emitter.code.store(.q, mask, emitter.frame(LoopFrame.tails))
    if shape.isWide {
      emitter.code.vector(.sxtl, .d2, mask, mask)
      emitter.code.store(.q, mask, emitter.frame(LoopFrame.tails + 64))
    }
  }
}
