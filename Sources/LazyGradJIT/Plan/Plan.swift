// What the planner makes of a graph: a list of kernels over one arena. Kernels are described in
// plain data that the executor walks; nothing in a plan depends on addresses or scalar values.

import Synchronization

/// A place in memory, relative to the table of base pointers that a run binds:
/// the arena, then the leaves, then the outputs; for calls that are kept ready, a thread's scratch memory and
/// the run-time scalars as well.
package struct Place: Equatable, Sendable {
  package var base: Int32
  package var byteOffset: Int
  static let arena: Int32 = 0
}

/// A finished plan: steps, or sections that are other plans (RolledPlan.swift).
package final class Plan: @unchecked Sendable {
  package let kernels: [LoopKernel]
  package let moves: Frozen<MoveKernel>
  /// Loops, and between them kernels that move data instead of computing it; in execution order.
  package let steps: Frozen<Step>
  /// The calls that some steps are, one step's after the other's.
  @exclusivity(unchecked) private(set) var calls = Frozen<KernelCall>([])
  /// Bytes of scratch memory that live as long as a run: values, then what `moves` work in.
  private(set) package var arenaBytes: Int
  /// Bytes at the end of the arena that one of `moves` at a time works in.
  private(set) var moveBytes = 0
  /// Positions in the graph that the run leaves in memory of their own.
  package let outputs: [Output]
  package let leafCount: Int
  /// What may happen in the memory of a leaf, in the order in which that is tried.
  package let updates: Frozen<Update>
  /// The bytes of the largest value that one of them replaces; those that save a copy count as large.
  let mostReplaced: Int
  /// The last step that reads each leaf, -1 for none.
  let lastReads: Frozen<Int32>
  package let cost: Cost
  /// The part of each step.
  let stepCosts: [Cost]
  /// Whether some kernel can be split.
  package let hasParallelWork: Bool
  /// Scratch bytes that one thread needs.
  private(set) var workBytes: Int
  /// Of a rolled plan; a plan has steps or sections.
  let sections: Frozen<Section>
  let sectionPlaces: Frozen<Place>
  let sectionNumbers: Frozen<GraphSection.Number>
  /// The different plans that sections are.
  package let bodies: [Plan]
  /// Bytes at the beginning of the arena for what goes from section to section.
  let carriedBytes: Int
  /// Where in a thread's scratch memory a section's addresses are, and its numbers behind them.
  let sectionTable: Int
  let sectionTableNumbers: Int
  /// Steps, those of all sections together.
  package let kernelCount: Int
  /// Of a rolled plan: the operations of its graph.
  let operations: Int
  /// How often a rolled plan has run, as far as that was counted.
  let runs = Atomic<Int>(0)
  /// Of a body how often it comes in a plan; -1 where that is not always the same, 0 where it is in none.
  private let turns = Atomic<Int>(0)

  package enum Step: @unchecked Sendable {
    /// One of `kernels`, which keeps it alive.
    case loop(Unmanaged<LoopKernel>)
    /// One of `kernels` that is nothing but some of `calls`, as many for each chunk.
    case calls(Unmanaged<LoopKernel>, first: Int, count: Int)
    /// The number of one of `moves`.
    case move(Int)
  }

  package struct Output: Sendable {
    package let node: Int
    package let byteCount: Int
  }

  /// A step of which a result may be given the memory of a leaf that nothing in the plan reads afterwards:
  /// the first of a chain of updates of a region or of rows that ends in the result, which then finds its
  /// operand in place and copies nothing; or a loop that reads an element of the leaf before it writes that
  /// of the result, and none later (LoopKernel+Updates.swift).
  ///
  /// A result has one for each leaf that it could replace, and a leaf for each such result. Whoever runs the
  /// plan takes each result and each leaf once.
  package struct Update: Sendable {
    package let output: Int
    package let leaf: Int
    let step: Int
    /// What the leaf and the result take.
    let byteCount: Int
    /// Whether a loop computes the result, so that no copy is saved.
    var isLoop = false
  }

  /// What a run costs, counted when planned; with the copies that `updates` may save.
  package struct Cost: Sendable {
    package var bytesRead = 0
    package var bytesWritten = 0
    /// A rough figure on one core, for the choice between one thread and several.
    package var nanoseconds = 0.0

    mutating func add(_ other: Cost) {
      bytesRead += other.bytesRead
      bytesWritten += other.bytesWritten
      nanoseconds += other.nanoseconds
    }
  }

  init(
    kernels: [LoopKernel], moves: [MoveKernel], steps: [Step], arenaBytes: Int, outputs: [Output],
    leafCount: Int, updates: [Update], lastReads: [Int32], cost: Cost, stepCosts: [Cost]
  ) {
    self.kernels = kernels
    self.moves = Frozen(moves)
    self.steps = Frozen(steps)
    self.arenaBytes = arenaBytes
    self.outputs = outputs
    self.leafCount = leafCount
    self.updates = Frozen(updates)
    mostReplaced = updates.reduce(0) { max($0, $1.isLoop ? $1.byteCount : .max) }
    self.lastReads = Frozen(lastReads)
    self.cost = cost
    self.stepCosts = stepCosts
    hasParallelWork = kernels.contains { $0.chunkCount > 1 }
    workBytes = kernels.reduce(64) { max($0, $1.layout.byteCount) }
    sections = Frozen([])
    sectionPlaces = Frozen([])
    sectionNumbers = Frozen([])
    bodies = []
    carriedBytes = 0
    operations = 0
    sectionTable = 0
    sectionTableNumbers = 0
    kernelCount = steps.count
  }

  /// A rolled plan, of finished plans.
  init(
    _ parts: Sections, outputs: [Output], leafCount: Int, updates: [Update], lastReads: [Int32],
    cost: Cost
  ) {
    kernels = []
    moves = Frozen([])
    steps = Frozen([])
    carriedBytes = ArenaAllocator.rounded(parts.carriedBytes)
    arenaBytes = carriedBytes + parts.bodies.reduce(0) { max($0, $1.arenaBytes) }
    self.outputs = outputs
    self.leafCount = leafCount
    self.updates = Frozen(updates)
    mostReplaced = updates.reduce(0) { max($0, $1.isLoop ? $1.byteCount : .max) }
    self.lastReads = Frozen(lastReads)
    self.cost = cost
    stepCosts = []
    hasParallelWork = parts.bodies.contains { $0.hasParallelWork }
    sections = Frozen(parts.sections)
    sectionPlaces = Frozen(parts.places)
    sectionNumbers = Frozen(parts.numbers)
    bodies = parts.bodies
    sectionTable = ArenaAllocator.rounded(parts.bodies.reduce(64) { max($0, $1.workBytes) })
    sectionTableNumbers =
      sectionTable + ArenaAllocator.rounded(8 * parts.bodies.reduce(0) { max($0, $1.baseCount) })
    workBytes =
      sectionTableNumbers
      + ArenaAllocator.rounded(8 * parts.sections.reduce(0) { max($0, $1.numberCount) })
    operations = parts.operations
    kernelCount = parts.stepCount
  }

  /// Notes for a body that it comes so many times in a plan.
  func noteTurns(_ count: Int) {
    let (isFirst, known) = turns.compareExchange(
      expected: 0, desired: count, ordering: .relaxed)
    if !isFirst, known != count { turns.store(-1, ordering: .relaxed) }
  }

  /// Whether a rolled plan has run so often that its graph is worth planning as a whole: where its loops have
  /// always had these turns, and it isn't long.
  func isOutgrown(_ limits: RollLimits) -> Bool {
    isRolled && operations <= limits.wholeOperations
      && runs.load(ordering: .relaxed) >= limits.runs
      && bodies.allSatisfy { $0.turns.load(ordering: .relaxed) >= 0 }
  }

  deinit {
    moves.destroy()
    steps.destroy()
    updates.destroy()
    lastReads.destroy()
    sections.destroy()
    sectionPlaces.destroy()
    sectionNumbers.destroy()
    destroyCalls()
  }

  private func destroyCalls() {
    for i in 0..<calls.count { calls[i].free() }
    calls.destroy()
  }

  /// The base of a thread's scratch memory in the table of base pointers, and that of the scalars.
  var scratchBase: Int { 1 + leafCount + outputs.count }
  var scalarBase: Int { scratchBase + 1 }
  var baseCount: Int { scalarBase + 1 }

  /// Takes in what the kernels' machine code means for the plan: how much scratch memory they need,
  /// and which of them are nothing but calls.
  func takeInCode(_ calls: (LoopKernel, Plan) -> [KernelCall]?) {
    workBytes = kernels.reduce(64) { max($0, $1.workBytes) }
    var all: [KernelCall] = []
    for i in 0..<steps.count {
      guard case .loop(let kernel) = steps[i], let own = calls(kernel.takeUnretainedValue(), self)
      else {
        continue
      }
      steps.base[i] = .calls(kernel, first: all.count, count: own.count)
      all += own
    }
    destroyCalls()
    self.calls = Frozen(all)
  }

  /// Takes in machine code for moves, before anybody else knows the plan.
  func takeInMoveCode(_ prepare: (inout MoveKernel) -> Void) {
    for i in 0..<moves.count { prepare(&moves.base[i]) }
  }

  /// Takes in what the kernels of moves work in.
  func takeInMoves(_ workBytes: (MoveKernel) -> Int) {
    if moves.count == 0 { return }
    moveBytes = moves.array.reduce(0) { max($0, workBytes($1)) }
    arenaBytes = ArenaAllocator.rounded(arenaBytes) + moveBytes
  }

  /// Bytes that a run takes beside operands and results.
  package func runBytes(threads: Int) -> Int {
    arenaBytes + (threads == 1 ? workBytes : threads * threadBytes)
  }

  /// Bytes of each of several threads: what its kernels work in, and a table of addresses of its own.
  var threadBytes: Int { workBytes + ArenaAllocator.rounded(8 * baseCount) }
}

/// Elements at a fixed address, owned by the object that made it. Walking an `Array` in a class
/// costs a retain and a release each time, and copies elements that are large; kernels of sixteen elements would
/// feel it.
package struct Frozen<Element>: @unchecked Sendable {
  package let base: UnsafeMutablePointer<Element>
  package let count: Int

  init(_ elements: [Element]) {
    count = elements.count
    base = .allocate(capacity: max(count, 1))
    base.initialize(from: elements, count: count)
  }

  func destroy() {
    base.deinitialize(count: count)
    base.deallocate()
  }

  @inline(__always)
  package subscript(i: Int) -> Element {
    @inline(__always) unsafeAddress { UnsafePointer(base + i) }
  }

  /// The elements as an array, for dumps and tests.
  package var array: [Element] { Array(UnsafeBufferPointer(start: base, count: count)) }
}
