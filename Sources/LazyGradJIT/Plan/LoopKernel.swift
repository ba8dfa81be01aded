// What a plan keeps of a fused loop: plain data, which the executor walks and the loop compiler reads.

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
