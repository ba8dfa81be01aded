// Emits sums of outer products `c + a1 b1 + a2 b2 + ...`, what the gradient of a matrix is gathered from over
// samples and steps of one row each. Uses the assembler; when it is used says ProductCompiler.
//
// Called term by term, a product with a summed axis of length 1 loads and stores all of C for one
// multiplication and one addition. Here a tile of C stays in registers over all terms, whose columns and rows
// are found by a table of addresses:
//
//     table:  a1 b1 | a2 b2 | ...       per term: load the tile's part of the row b,
//                                       broadcast one element of the column a per row of the tile
//
// The bits are those of whole products that are added one after the other: a product is one multiply-add onto
// zero, and then it is added to the sum, which begins with what C holds or with the first product. (-0 stands
// for no sum: added to it, everything stays what it is.)

/// What the function can do: plain data, the key under which the code is found. It takes `ProductArguments`, in
/// which `depth` is the number of terms, and the table in the place of A; nothing is read of B.
struct OuterSumShape: Hashable, Sendable {
  var instructionSet: InstructionSet
  var isDouble: Bool
  /// Columns of C.
  var columns: Int
  /// The numbers of rows that the function is called for, ascending.
  var heights: [Int]

  var width: VectorWidth { instructionSet == .avx512 ? .z : .y }
  var elementSize: Int { isDouble ? 8 : 4 }
  var lanes: Int { width.byteCount / elementSize }

  /// Registers per row of a tile, and rows: 24 sums in 32 registers, or 8 in 16, beside those of the row, of
  /// the element and of products.
  var tileVectors: Int { min((columns + lanes - 1) / lanes, width == .z ? 4 : 2) }
  var tileRows: Int { (width == .z ? 24 : 8) / tileVectors }

  var words: [UInt64] {
    [isDouble ? 1 : 0, UInt64(columns)] + heights.map { UInt64($0) }
  }
}

/// Emits the function of a shape.
struct OuterSumGenerator {
  private let shape: OuterSumShape
  private var asm = Assembler()
  private let width: VectorWidth
  private let elementSize: Int

  private let arguments = GPR.rdi
  private let bOffset = GPR.rsi
  private let cStrip = GPR.rdx
  private let counter = GPR.rcx
  private let aOffset = GPR.rax
  private let cursor = GPR.r8
  private let a = GPR.r9
  private let b = GPR.r10
  private let cRow = GPR.r11
  private let cTile = GPR.r12
  private let cNext = GPR.r13
  private let saved: [GPR] = [.r12, .r13]
  private let stripCount = Memory(.rsp, 0)
  private let tileCount = Memory(.rsp, 8)
  private let table = Memory(.rsp, 16)
  private let edgeMask: UInt8 = 1
  private let edgeLanes: UInt8 = 15

  static func code(for shape: OuterSumShape) -> [UInt8] {
    var generator = OuterSumGenerator(shape)
    generator.emit()
    return generator.asm.finish()
  }

  private init(_ shape: OuterSumShape) {
    self.shape = shape
    width = shape.width
    elementSize = shape.elementSize
  }

  private func argument(_ path: PartialKeyPath<ProductArguments>) -> Memory {
    Memory(arguments, MemoryLayout<ProductArguments>.offset(of: path)!)
  }
  private func op(_ single: VectorOp, _ double: VectorOp) -> VectorOp {
    shape.isDouble ? double : single
  }

  private mutating func emit() {
    for register in saved { asm.push(register) }
    asm.sub(.rsp, 24)
    asm.mov(table, counter)
    asm.mov(cRow, argument(\.cRow))
    let edge = shape.columns % shape.lanes
    if edge != 0, width == .z {
      asm.mov(.rax, 1 << edge - 1)
      asm.vector(.kmovwFromGPR, .x, edgeMask, .register(GPR.rax.rawValue))
    }
    let exit = asm.label()
    asm.mov(counter, argument(\.rows))
    for (height, path) in asm.jump(byRows: counter, shape.heights) {
      asm.bind(path)
      emitStrips(height)
      if height != shape.heights.first { asm.jump(exit) }
    }
    asm.bind(exit)
    asm.vzeroupper()
    asm.add(.rsp, 24)
    for register in saved.reversed() { asm.pop(register) }
    asm.ret()
  }

  private mutating func emitStrips(_ height: Int) {
    let perTile = shape.tileVectors * shape.lanes
    let (whole, rest) = shape.columns.quotientAndRemainder(dividingBy: perTile)
    asm.mov(bOffset, 0)
    if whole > 0 {
      asm.mov(counter, whole)
      asm.mov(stripCount, counter)
      let loop = asm.here()
      emitTiles(height, vectors: shape.tileVectors, edge: 0)
      asm.add(bOffset, shape.tileVectors * width.byteCount)
      asm.add(cStrip, shape.tileVectors * width.byteCount)
      asm.mov(counter, stripCount)
      asm.sub(counter, 1)
      asm.mov(stripCount, counter)
      asm.jump(.notEqual, loop)
    }
    if rest > 0 {
      let edge = rest % shape.lanes
      if edge != 0, width == .y {
        asm.vector(.movups, .y, edgeLanes, .memory(asm.lanes(edge, elementSize: elementSize)))
      }
      emitTiles(height, vectors: (rest + shape.lanes - 1) / shape.lanes, edge: edge)
    }
  }

  private mutating func emitTiles(_ height: Int, vectors: Int, edge: Int) {
    asm.mov(aOffset, 0)
    asm.mov(cTile, cStrip)
    for (rows, count) in RowTiles.cut(height, atMost: shape.tileRows) {
      asm.mov(counter, count)
      asm.mov(tileCount, counter)
      let loop = asm.here()
      emitTile(OuterTile(rows: rows, vectors: vectors, edge: edge))
      asm.add(aOffset, rows * elementSize)
      asm.mov(counter, tileCount)
      asm.sub(counter, 1)
      asm.mov(tileCount, counter)
      asm.jump(.notEqual, loop)
    }
  }

  /// The rows x registers that are worked on together.
  private struct OuterTile {
    let rows: Int
    let vectors: Int
    /// Elements in the last register; 0 for all.
    let edge: Int
  }

  // MARK: Registers of a tile

  /// The row first, then the element and the products, then the sums; AVX2's lanes at the edge are last.
  private func sum(_ tile: OuterTile, _ row: Int, _ vector: Int) -> UInt8 {
    UInt8(limit(tile) - 1 - row * tile.vectors - vector)
  }

  private func limit(_ tile: OuterTile) -> Int { width == .z ? 32 : tile.edge != 0 ? 15 : 16 }

  /// Registers of products, which take turns.
  private func products(_ tile: OuterTile) -> Int {
    min(limit(tile) - tile.rows * tile.vectors - tile.vectors - 1, 4)
  }

  // MARK: A tile

  private mutating func emitTile(_ tile: OuterTile) {
    let (begin, fresh, done) = (asm.label(), asm.label(), asm.label())
    asm.mov(counter, argument(\.accumulates))
    asm.test(counter, counter)
    asm.jump(.equal, fresh)
    forEachRow(tile) { generator, row in
      for v in 0..<tile.vectors { generator.load(tile, v, generator.sum(tile, row, v), .c) }
    }
    asm.jump(begin)
    asm.bind(fresh)
    let nothing = negativeZero()
    for row in 0..<tile.rows {
      for v in 0..<tile.vectors {
        asm.vector(.movups, width, sum(tile, row, v), .memory(nothing))
      }
    }
    asm.bind(begin)
    asm.mov(cursor, table)
    asm.mov(counter, argument(\.depth))
    asm.test(counter, counter)
    asm.jump(.equal, done)
    asm.align16()
    let loop = asm.here()
    emitTerm(tile)
    asm.sub(counter, 1)
    asm.jump(.notEqual, loop)
    asm.bind(done)
    forEachRow(tile) { generator, row in
      for v in 0..<tile.vectors { generator.store(tile, v, generator.sum(tile, row, v)) }
    }
    asm.mov(cTile, cNext)
  }

  private mutating func emitTerm(_ tile: OuterTile) {
    asm.mov(a, Memory(cursor, 0))
    asm.mov(b, Memory(cursor, 8))
    asm.add(cursor, 16)
    for v in 0..<tile.vectors { load(tile, v, UInt8(v), .b) }
    let element = UInt8(tile.vectors)
    var turn = 0
    for row in 0..<tile.rows {
      asm.vector(
        op(.broadcastss, .broadcastsd), width, element,
        .memory(Memory(a, row * elementSize, index: aOffset, scale: 1)))
      for v in 0..<tile.vectors {
        let product = element + 1 + UInt8(turn % products(tile))
        turn += 1
        asm.vector(.xorps, .x, product, product, product)
        asm.vector(op(.fmadd231ps, .fmadd231pd), width, product, element, UInt8(v))
        let total = sum(tile, row, v)
        asm.vector(op(.addps, .addpd), width, total, total, product)
      }
    }
  }

  // MARK: Memory

  private enum Operand { case b, c }

  private mutating func forEachRow(
    _ tile: OuterTile, _ body: (inout OuterSumGenerator, Int) -> Void
  ) {
    asm.mov(cNext, cTile)
    for row in 0..<tile.rows {
      body(&self, row)
      asm.add(cNext, cRow)
    }
  }

  private func place(_ v: Int, _ operand: Operand) -> Memory {
    switch operand {
    case .b: Memory(b, v * width.byteCount, index: bOffset, scale: 1)
    case .c: Memory(cNext, v * width.byteCount)
    }
  }

  /// The elements that are there, zeros beyond: nothing past the last one is touched.
  private mutating func load(_ tile: OuterTile, _ v: Int, _ register: UInt8, _ operand: Operand) {
    let place = place(v, operand)
    if v != tile.vectors - 1 || tile.edge == 0 {
      asm.vector(.movups, width, register, .memory(place))
    } else if width == .z {
      asm.vector(
        op(.movups, .movupd), width, register, .memory(place), mask: edgeMask, zeroing: true)
    } else {
      asm.vector(op(.maskmovps, .maskmovpd), width, register, edgeLanes, .memory(place))
    }
  }

  private mutating func store(_ tile: OuterTile, _ v: Int, _ register: UInt8) {
    let place = place(v, .c)
    if v != tile.vectors - 1 || tile.edge == 0 {
      asm.vector(.movupsStore, width, register, .memory(place))
    } else if width == .z {
      asm.vector(
        op(.movupsStore, .movupdStore), width, register, .memory(place), mask: edgeMask)
    } else {
      asm.vector(
        op(.maskmovpsStore, .maskmovpdStore), width, register, edgeLanes, .memory(place))
    }
  }

  /// A register of -0.
  private mutating func negativeZero() -> Memory {
    asm.constant((0..<width.byteCount).map { $0 % elementSize == elementSize - 1 ? 0x80 : 0 })
  }
}
