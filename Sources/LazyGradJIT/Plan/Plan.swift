// What the planner makes of a graph: a list of kernels over one arena. Kernels are described in
// plain data that the executor walks; nothing in a plan depends on addresses or scalar values.

/// A place in memory, relative to the table of base pointers that a run binds:
/// the arena, then the leaves, then the outputs; for calls that are kept ready, a thread's scratch memory and
/// the run-time scalars as well.
package struct Place: Equatable, Sendable {
  package var base: Int32
  package var byteOffset: Int
  static let arena: Int32 = 0
}

/// A finished plan.
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
  }

  deinit {
    moves.destroy()
    steps.destroy()
    updates.destroy()
    lastReads.destroy()
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

  package var kernelCount: Int { steps.count }

  /// Bytes that a run takes beside operands and results.
  package func runBytes(threads: Int) -> Int {
    arenaBytes + (threads == 1 ? workBytes : threads * threadBytes)
  }

  /// Bytes of each of several threads: what its kernels work in, and a table of addresses of its own.
  var threadBytes: Int { workBytes + ArenaAllocator.rounded(8 * baseCount) }
}

/// A fused loop nest: rows by columns, worked off in blocks of rows.
///
/// A flat elementwise loop has one column. Values are *full* (rows x columns), or *per row* after a
/// reduction along the columns. Inside a block every value is a contiguous run: in a register (a
/// piece of scratch memory that stays in the first-level cache) or in its array.
package final class LoopKernel: @unchecked Sendable {
  package let rows: Int
  package let columns: Int
  package let blockRows: Int
  /// Rows that are worked off by one thread at a time. A function of the shape alone, so results
  /// don't depend on the number of threads.
  package let chunkRows: Int
  package let chunkCount: Int
  package let registers: Frozen<Register>
  package let loads: Frozen<Load>
  package let code: Frozen<Instruction>
  package let stores: Frozen<Store>
  package let terminals: Frozen<Terminal>
  /// Meaningful where `hasProduct`.
  package let product: Product
  package let hasProduct: Bool
  package let terms: Frozen<Product.Term>
  /// Element offsets of the terms' operands for every product of a batch.
  package let batchOffsets: Frozen<Int>
  /// Whether some register holds a run-time scalar.
  let hasSplats: Bool
  /// Whether an element of the product is a sum of several stretches.
  let hasStretches: Bool
  /// Rows of a product that is split by columns that are worked on together where it has stretches:
  /// memory for the sums of some.
  static let stretchRows = 16 * ProductArguments.packedRows
  /// How a thread's scratch memory is used.
  let layout: ScratchLayout
  /// For the dump: the graph positions that were fused.
  package let nodes: [Int32]
  /// Columns per chunk of a product that is split by columns instead of rows; 0 for none.
  package let chunkColumns: Int
  /// Columns of a panel where rows are so long that they are worked off in panels; 0 for none. Then
  /// all values are full.
  package let panelColumns: Int
  /// Panels per chunk, counted along the rows; 0 where a chunk is a panel of all rows.
  package let chunkPanels: Int
  /// Whether all that the kernel does is to find the positions of extremes along columns.
  private(set) var isColumnSearch = false
  /// Whether the portable kernels round multiplications and additions together where machine code does:
  /// they are to give its bits, because the plan is made for an instruction set that has it. So the
  /// bits depend on that choice, and not on whether code memory was granted. Set once, as below.
  @exclusivity(unchecked) package var fusesMultiplyAdds = false
  /// The same of products of matrices, which portable kernels that always do so leave no choice.
  var fusesProducts: Bool { fusesMultiplyAdds || PortableArithmetic.isFused }
  /// Machine code for the loop and for the product; set once, before the plan is shared. Without it
  /// the portable kernels run.
  @exclusivity(unchecked) package var nativeLoop: NativeLoop? {
    didSet { uncountedLoop = nativeLoop.map { Unmanaged.passUnretained($0) } }
  }
  /// The same for who runs it: to count a reference and give it up takes as long as a part of a small loop.
  @exclusivity(unchecked) private(set) var uncountedLoop: Unmanaged<NativeLoop>?
  @exclusivity(unchecked) package var nativeProduct: NativeProduct?
  /// Keeps the code of `nativeProduct`.
  package var productCode: [AnyObject] = []

  init(
    rows: Int, columns: Int, blockRows: Int, chunkRows: Int, chunkColumns: Int,
    panelColumns: Int, chunkPanels: Int, registers: [Register], loads: [Load],
    code: [Instruction], stores: [Store], terminals: [Terminal], product: Product?,
    terms: [Product.Term], batchOffsets: [Int], scratchBytes: Int, nodes: [Int32]
  ) {
    self.rows = rows
    self.columns = columns
    self.blockRows = blockRows
    self.chunkRows = chunkRows
    self.chunkColumns = chunkColumns
    self.panelColumns = panelColumns
    self.chunkPanels = chunkPanels
    if panelColumns > 0 {
      let panels = (columns + panelColumns - 1) / panelColumns
      chunkCount =
        chunkPanels > 0 ? (rows * panels + chunkPanels - 1) / chunkPanels : panels
    } else if let search = terminals.first, search.search != nil {
      // One result row of some columns.
      isColumnSearch = true
      let blocks = (columns + Summation.blockLength - 1) / Summation.blockLength
      chunkCount = rows / max(search.period, 1) * blocks
    } else if chunkColumns > 0 {
      chunkCount = (columns + chunkColumns - 1) / chunkColumns
    } else {
      chunkCount = rows == 0 ? 1 : (rows + chunkRows - 1) / chunkRows
    }
    self.registers = Frozen(registers)
    self.loads = Frozen(loads)
    self.code = Frozen(code)
    self.stores = Frozen(stores)
    self.terminals = Frozen(terminals)
    self.product =
      product
      ?? Product(
        type: .float32, m: 0, n: 0, register: 0, wholeChunk: false, start: nil,
        isOnlyResult: false)
    hasProduct = product != nil
    self.terms = Frozen(terms)
    self.batchOffsets = Frozen(batchOffsets)
    hasSplats = loads.contains { $0.kind == .splat }
    var stretches = 1
    var stretchBytes = 0
    if let product, product.type.isFloating, let longest = terms.map(\.k).max(),
      longest > Summation.stretchDepth
    {
      stretches = (longest + Summation.stretchDepth - 1) / Summation.stretchDepth
      // One level more for the sum of a term that is added to others.
      if terms.count > 1 || product.start != nil { stretches *= 2 }
      let block =
        chunkColumns > 0
        ? min(rows, Self.stretchRows) * chunkColumns
        : min(product.wholeChunk ? chunkRows : blockRows, product.m) * product.n
      stretchBytes = block * product.type.size
    }
    hasStretches = stretches > 1
    layout = ScratchLayout(
      registers: registers.count, terms: terms.count, terminals: terminals,
      columns: panelColumns > 0 ? panelColumns : columns,
      scratchBytes: scratchBytes,
      // A strip is at most half a kilobyte wider than the columns.
      packedBytes: chunkColumns > 0
        ? Summation.blockDepth * (chunkColumns * (product?.type.size ?? 0) + 512) : 0,
      stretchBytes: stretchBytes, stretchLevels: Summation.levels(stretches))
    self.nodes = nodes
  }

  /// Scratch bytes that one thread needs.
  var workBytes: Int { layout.byteCount + (nativeLoop?.byteCount ?? 0) }

  /// Whether every chunk is worked off in one piece, from its first row to its last: a product, if there is
  /// one, and then a loop over the elements, without anything that waits for the loop's end.
  var hasOnePieceChunks: Bool {
    chunkColumns == 0 && panelColumns == 0 && !isColumnSearch && !hasStretches
      && terminals.count == 0 && rows > 0 && columns > 0
      && (blockRows >= min(chunkRows, rows) || nativeLoop?.isPerBlock == false)
  }

  deinit {
    registers.destroy()
    loads.destroy()
    code.destroy()
    stores.destroy()
    terminals.destroy()
    terms.destroy()
    batchOffsets.destroy()
  }

  /// Where a value is during a block.
  package struct Register: Sendable {
    /// In an array, moving on with the rows; else in scratch memory at `place.byteOffset`.
    package var isDirect: Bool
    package var place: Place
    package var type: ScalarType
    package var isPerRow: Bool
    /// Bytes that one row takes in the array; 0 in scratch memory, which is used again.
    package var rowBytes: Int
  }

  /// Fills a register before a block is computed.
  package struct Load: @unchecked Sendable {
    package enum Kind: UInt8, Sendable { case gather, splat, position }
    package var kind: Kind
    package var register: Int
    package var place: Place
    /// `gather`: the layout over the loop's space.
    package var layout: Unmanaged<Layout>?
    /// `splat`: the run-time scalar; `position`: the length of the last axis.
    package var number: Int
    package var elementSize: Int
  }

  package struct Instruction: Sendable {
    package enum Kind: UInt8, Sendable {
      /// Fills a register; operand a is the number of the load.
      case load
      /// An elementwise operation on full or per-row values.
      case tile
      /// A reduction of each row to one value.
      case reduceRows
      /// One value per row repeated along the row.
      case expandRows
    }
    package var kind: Kind
    package var opcode: Opcode
    /// The operands' type and the result's.
    package var type: ScalarType
    package var resultType: ScalarType
    package var isPerRow: Bool
    package var dst: UInt16
    package var a: UInt16
    package var b: UInt16
    package var c: UInt16
    /// An operand that is not there.
    static let noRegister: UInt16 = .max
  }

  /// Copies a per-row result out after a block.
  package struct Store: Sendable {
    package var register: Int
    package var place: Place
    package var elementSize: Int
  }

  /// A reduction whose result is only known after the whole loop.
  package struct Terminal: Sendable {
    /// `rows`: of rows that are worked off in panels.
    package enum Kind: UInt8, Sendable { case everything, columns, rows }
    package var kind: Kind
    package var opcode: Opcode
    package let reducer: Reducer
    /// What the position of is wanted; then a partial result is a value and its position.
    let search: Extreme?
    package var type: ScalarType
    package var register: Int
    package var isPerRow: Bool
    /// `columns`: rows that are summed into one result row.
    package var period: Int
    /// Elements of the result.
    package var resultCount: Int
    package var place: Place
    /// `columns` over all rows: rows that are summed before they are added to what was before.
    package var part: Int
    /// `columns`: rows that are summed one after the other; the sums of such runs are added in pairs.
    package var run: Int
    /// Partial results that are combined after the loop, and how many: those of parts, or the values
    /// of all rows. None where the loop does it all.
    package var partials: Place
    package var partialCount = 0

    /// `everything` and `rows`: bytes of the result of a part.
    var partialBytes: Int { search != nil ? 16 : 8 }

    /// `columns`: how often the runs of a result row or part are halved until each is one.
    var levels: Int {
      guard kind == .columns, period > 0 else { return 0 }
      let rows = partialCount > 0 ? part : period
      return Summation.levels((rows + run - 1) / run)
    }
  }

  /// The matrix product that fills a register before a block is computed.
  package struct Product: Sendable {
    package struct Term: Sendable {
      package var a: Place
      package var b: Place
      package var k: Int
      package var aRow: Int
      package var aColumn: Int
      package var bRow: Int
      /// Where the offsets per batch begin in `batchOffsets`; -1 for a single product.
      package var aBatch: Int
      package var bBatch: Int
    }
    package var type: ScalarType
    /// Rows of one product of the batch.
    package var m: Int
    package var n: Int
    package var register: Int
    /// Compute the whole chunk's product before the blocks' epilogue.
    package var wholeChunk: Bool
    /// Rows that the terms are added to, in C order.
    package var start: Place?
    /// Whether nothing in the plan reads the product.
    package var isOnlyResult: Bool
  }
}

/// A kernel that moves elements.
package struct MoveKernel: @unchecked Sendable {
  package enum Kind: Sendable {
    case copy, gatherRows, scatterAddRows, setRows, setRegion, addRegion, concat
    case cumsum, cumprod, matrix, sort, argsort
    /// Rows brought together, added up, and copied out (BatchBuilder.swift).
    case stack, sumRows, unstack
    /// Run-time scalars as a value.
    case numbers
  }
  package var kind: Kind
  package var type: ScalarType
  package var node: Int
  package var destination: Place
  package var a: Place
  package var b: Place
  package var c: Place
  /// The layouts of `a`, `b`, `c` where they are read through one.
  package var aLayout: Unmanaged<Layout>
  package var bLayout: Unmanaged<Layout>?
  package var cLayout: Unmanaged<Layout>?
  /// Elements in the result.
  package var count: Int
  /// The region's layout over the destination, and its start.
  package var region: Unmanaged<Layout>?
  package var regionOffset = 0
  /// The destination already holds operand a.
  package var isInPlace = false
  /// `gatherRows`, `scatterAddRows`, `setRows`: rows of the table and elements of a row.
  package var rowCount = 0
  package var width = 0
  /// `concat`: elements of one block of each operand, and how many blocks.
  package var aBlock = 0
  package var bBlock = 0
  package var blocks = 0
  /// Scans and sorting: along the axis.
  package var runs = Runs()
  /// Sorting: the order, and the type of what is sorted.
  package var order: (SortOrder, of: ScalarType)?
  /// Machine code that sorts; nil: there is none.
  package var nativeSort: NativeSort?
  /// `matrix`: what is done.
  package var call: MatrixCall?
  /// How products are taken in it; nil: by portable code, which rounds twice.
  package var matrixProducts: MatrixProducts?
  /// `stack`, `sumRows`: where the rows are, of `width` elements; `unstack`: by turns where they are and where
  /// they go.
  package var places: [Place] = []
  /// `numbers`: which.
  package var numbers: [Int32] = []

  /// Elements that are read and written: those of a region or of rows, and of what they change unless
  /// that is in place.
  var movedCount: Int {
    let changed: Int? =
      switch kind {
      case .setRegion, .addRegion: region?._withUnsafeGuaranteedRef { $0.count }
      case .scatterAddRows, .setRows: bLayout?._withUnsafeGuaranteedRef { $0.count }
      case .sumRows: width * (places.count - 1)
      case .copy, .gatherRows, .concat, .cumsum, .cumprod, .matrix, .sort, .argsort, .stack,
        .unstack,
        .numbers:
        nil
      }
    guard let changed else { return count }
    return changed + (isInPlace ? 0 : count)
  }
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
