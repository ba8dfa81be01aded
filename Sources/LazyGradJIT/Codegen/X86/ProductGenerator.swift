// Emits matrix products: a function that works off a block of rows of C, all columns, for one chain
// of the summed axis. Uses the assembler; what is emitted for which kernel says ProductCompiler.
//
// The order of sums is that of the portable products (Kernels/Matmul.swift), with one rounding per
// product and sum instead of two: an element is one chain of fused multiply-adds in ascending order
// that begins with zero; what C held before is added at the end. Which tile computes an element
// can't be seen in the result, and AVX2 and AVX-512 give the same bits.
//
//               strip of columns: `vectors` registers, the last one masked at the edge
//              |<--------->|
//      a_r0 -> | accumulators in registers: `rows` x `vectors`   per step of the summed axis:
//      a_r1 -> |           |                                     load the strip's row of B once,
//      a_r2 -> |           |                                     broadcast one element of A per row

/// Emits the function of a shape.
struct ProductGenerator {
  private let shape: ProductShape
  private var asm = Assembler()
  private let width: VectorWidth
  private let elementSize: Int

  // Registers. Those of A: one cursor per three rows, as an address reaches base, base + row and
  // base + 2 rows.
  private let arguments = GPR.rdi
  private let bStrip = GPR.rsi
  private let cStrip = GPR.rdx
  /// Where A is when the function is called.
  private let counter = GPR.rcx
  private let aTile = GPR.rax
  private let aRow = GPR.r8
  private let aColumn = GPR.r9
  private let bRow = GPR.r10
  private let cRow = GPR.r11
  private let bCursor = GPR.rbx
  private let aCursors: [GPR] = [.r12, .r13, .r14, .rbp]
  private let cTile = GPR.r15
  private let saved: [GPR]
  /// On the stack: counters of strips and tiles, and where A begins.
  private let stripCount = Memory(.rsp, 0)
  private let tileCount = Memory(.rsp, 8)
  private let left = Memory(.rsp, 16)
  /// The lanes of the last register of a row: a mask register, or lanes of ones in the last vector
  /// register.
  private let edgeMask: UInt8 = 1
  private let edgeLanes: UInt8 = 15

  private static func offset(_ path: PartialKeyPath<ProductArguments>) -> Int {
    MemoryLayout<ProductArguments>.offset(of: path)!
  }
  private func argument(_ path: PartialKeyPath<ProductArguments>) -> Memory {
    Memory(arguments, Self.offset(path))
  }

  static func code(for shape: ProductShape) -> [UInt8] {
    var generator = ProductGenerator(shape)
    generator.emit()
    return generator.asm.finish()
  }

  private init(_ shape: ProductShape) {
    self.shape = shape
    width = shape.width
    elementSize = shape.elementSize
    // A single row takes one cursor: to save and restore the others would take as long as to multiply it by a
    // matrix of few rows.
    let cursors = shape.heights.last == 1 && !shape.prefetches ? 1 : aCursors.count
    saved = [bCursor, cTile] + aCursors.prefix(cursors)
  }

  private mutating func emit() {
    for register in saved { asm.push(register) }
    asm.sub(.rsp, 24)
    // What is asked for the transposed product gets the operands the other way round.
    let (a, b) = shape.isTransposed ? (bStrip, counter) : (counter, bStrip)
    asm.mov(left, a)
    if b != bStrip { asm.mov(bStrip, b) }
    asm.mov(aRow, argument(\.aRow))
    asm.mov(aColumn, argument(shape.isTransposed ? \.bRow : \.aColumn))
    asm.mov(bRow, argument(shape.isTransposed ? \.aColumn : \.bRow))
    asm.mov(cRow, argument(\.cRow))
    let perTile = shape.tileVectors * shape.lanes
    let edge = shape.columns % shape.lanes
    if edge != 0, width == .z {
      asm.mov(.rax, 1 << edge - 1)
      asm.vector(.kmovwFromGPR, .x, edgeMask, .register(GPR.rax.rawValue))
    }
    var whole = shape.columns / perTile
    var rest = shape.columns - whole * perTile
    if rest == 0, whole == 0 { rest = 0 }
    if rest > 0, rest == perTile { (whole, rest) = (whole + 1, 0) }
    let exit = asm.label()
    asm.mov(counter, argument(\.rows))
    for (height, path) in asm.jump(byRows: counter, shape.heights) {
      asm.bind(path)
      emitStrips(height, whole: whole, rest: rest)
      if height != shape.heights.first { asm.jump(exit) }
    }
    asm.bind(exit)
    if shape.streams { asm.sfence() }
    asm.vzeroupper()
    asm.add(.rsp, 24)
    for register in saved.reversed() { asm.pop(register) }
    asm.ret()
  }

  private mutating func emitStrips(_ height: Int, whole: Int, rest: Int) {
    if whole > 0 {
      if whole > 1 {
        asm.mov(counter, whole)
        asm.mov(stripCount, counter)
      }
      let loop = asm.here()
      emitTiles(height, vectors: shape.tileVectors, edge: 0)
      if whole > 1 || rest > 0 {
        asm.arithmetic(.add, bStrip, argument(\.bStrip))
        asm.add(cStrip, shape.tileVectors * width.byteCount)
      }
      if whole > 1 {
        asm.mov(counter, stripCount)
        asm.sub(counter, 1)
        asm.mov(stripCount, counter)
        asm.jump(.notEqual, loop)
      }
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
    asm.mov(aTile, left)
    asm.mov(cTile, cStrip)
    let tiles = RowTiles.cut(height, atMost: shape.tileRows)
    for (k, (rows, count)) in tiles.enumerated() {
      if count > 1 {
        asm.mov(counter, count)
        asm.mov(tileCount, counter)
      }
      let loop = asm.here()
      var tile = ProductTile(rows: rows, vectors: vectors, edge: edge)
      emitTile(&tile)
      if count > 1 || k + 1 < tiles.count {
        asm.imul(counter, aRow, rows)
        asm.add(aTile, counter)
      }
      if count > 1 {
        asm.mov(counter, tileCount)
        asm.sub(counter, 1)
        asm.mov(tileCount, counter)
        asm.jump(.notEqual, loop)
      }
    }
  }

  /// The rows x registers that are worked on together.
  private struct ProductTile {
    let rows: Int
    let vectors: Int
    /// Elements in the last register; 0 for all.
    let edge: Int
  }

  // MARK: Registers of a tile

  /// B's row first, then broadcast elements of A, then the sums; AVX2's lanes at the edge are last.
  private func sum(_ tile: ProductTile, _ row: Int, _ vector: Int) -> UInt8 {
    let limit: Int = width == .z ? 32 : tile.edge != 0 ? 15 : 16
    return UInt8(limit - 1 - row * tile.vectors - vector)
  }

  /// Registers for broadcast elements: two take turns where there is room.
  private func broadcasts(_ tile: ProductTile) -> Int {
    let limit: Int = width == .z ? 32 : tile.edge != 0 ? 15 : 16
    let held = tile.rows == 1 ? 1 : tile.vectors
    return max(min(limit - tile.rows * tile.vectors - held, 2), 1)
  }

  private func op(_ single: VectorOp, _ double: VectorOp) -> VectorOp {
    shape.isDouble ? double : single
  }

  // MARK: A tile

  private mutating func emitTile(_ tile: inout ProductTile) {
    for row in 0..<tile.rows {
      for v in 0..<tile.vectors {
        let r = sum(tile, row, v)
        asm.vector(.xorps, .x, r, r, r)
      }
    }
    asm.mov(bCursor, bStrip)
    let cursors = shape.left == .columns ? 1 : (tile.rows + 2) / 3
    asm.mov(aCursors[0], aTile)
    placeCursors(aCursors.prefix(cursors))
    if shape.prefetches { emitPrefetch(tile) }
    // The next tile's rows of A go to the second level: in the first one, rows whose distance is a
    // power of two would drive each other out.
    let next = shape.prefetches && shape.left == .rows && 2 * cursors <= aCursors.count
    let nextCursors = next ? aCursors[cursors..<(2 * cursors)] : []
    if next {
      asm.imul(nextCursors.first!, aRow, tile.rows)
      asm.add(nextCursors.first!, aTile)
      placeCursors(nextCursors)
    }
    let done = asm.label()
    asm.mov(counter, argument(\.depth))
    // Four steps at a time where the elements of a row can be reached by displacements or only one
    // cursor moves; more would only make the code longer.
    if shape.left != .strided {
      let short = asm.label()
      asm.sub(counter, 4)
      asm.jump(.less, short)
      asm.align16()
      let loop = asm.here()
      for step in 0..<4 {
        emitStep(tile, step: step)
        if !next { continue }
        for row in stride(from: step, to: tile.rows, by: 4) {
          asm.prefetch(rowOfA(row, nextCursors.startIndex), into: .second)
        }
      }
      for cursor in nextCursors { asm.add(cursor, 4 * elementSize) }
      if shape.left == .rows {
        for k in 0..<cursors { asm.add(aCursors[k], 4 * elementSize) }
      }
      asm.sub(counter, 4)
      asm.jump(.greaterOrEqual, loop)
      asm.bind(short)
      asm.add(counter, 4)
    } else {
      asm.test(counter, counter)
    }
    asm.jump(.equal, done)
    let loop = asm.here()
    emitStep(tile, step: 0)
    if shape.left != .columns {
      for k in 0..<cursors {
        if shape.left == .rows {
          asm.add(aCursors[k], elementSize)
        } else {
          asm.add(aCursors[k], aColumn)
        }
      }
    }
    asm.sub(counter, 1)
    asm.jump(.notEqual, loop)
    asm.bind(done)
    emitStores(tile)
  }

  /// Lets every cursor but the first one stand three rows after the one before.
  private mutating func placeCursors(_ cursors: ArraySlice<GPR>) {
    for (cursor, before) in zip(cursors.dropFirst(), cursors) {
      asm.lea(cursor, Memory(before, 0, index: aRow, scale: 2))
      asm.add(cursor, aRow)
    }
  }

  /// Where a row of a tile of A is, by the cursors from `first` on.
  private func rowOfA(_ row: Int, _ first: Int = 0, displacement: Int = 0) -> Memory {
    Memory(
      aCursors[first + row / 3], displacement, index: row % 3 == 0 ? nil : aRow,
      scale: row % 3 == 2 ? 2 : 1)
  }

  /// Asks for the tile's part of C, which is read and written after the steps.
  private mutating func emitPrefetch(_ tile: ProductTile) {
    asm.mov(counter, cTile)
    for row in 0..<tile.rows {
      if row > 0 { asm.add(counter, cRow) }
      for line in stride(from: 0, to: tile.vectors * width.byteCount, by: 64) {
        asm.prefetch(Memory(counter, line))
      }
    }
  }

  /// One step of the summed axis.
  private mutating func emitStep(_ tile: ProductTile, step: Int) {
    let multiplyAdd = op(.fmadd231ps, .fmadd231pd)
    func b(_ v: Int) -> Memory { Memory(bCursor, v * width.byteCount) }
    func a(_ row: Int) -> Memory {
      if shape.left == .columns { return Memory(aCursors[0], row * elementSize) }
      return rowOfA(row, displacement: shape.left == .rows ? step * elementSize : 0)
    }
    if tile.rows == 1 {
      // Every register of B is used once: straight from memory.
      let broadcast = UInt8(step % broadcasts(tile)) + 1
      asm.vector(op(.broadcastss, .broadcastsd), width, broadcast, .memory(a(0)))
      for v in 0..<tile.vectors {
        if v == tile.vectors - 1, tile.edge != 0 {
          loadEdge(0, b(v))
          asm.vector(multiplyAdd, width, sum(tile, 0, v), broadcast, 0)
        } else {
          asm.vector(multiplyAdd, width, sum(tile, 0, v), broadcast, .memory(b(v)))
        }
      }
    } else {
      for v in 0..<tile.vectors {
        if v == tile.vectors - 1, tile.edge != 0 {
          loadEdge(UInt8(v), b(v))
        } else {
          asm.vector(.movups, width, UInt8(v), .memory(b(v)))
        }
      }
      for row in 0..<tile.rows {
        if tile.vectors == 1, width == .z {
          asm.vector(multiplyAdd, width, sum(tile, row, 0), 0, .memory(a(row).broadcast))
          continue
        }
        let broadcast = UInt8(tile.vectors + row % broadcasts(tile))
        asm.vector(op(.broadcastss, .broadcastsd), width, broadcast, .memory(a(row)))
        for v in 0..<tile.vectors {
          asm.vector(multiplyAdd, width, sum(tile, row, v), broadcast, UInt8(v))
        }
      }
    }
    asm.add(bCursor, bRow)
    if shape.left == .columns { asm.add(aCursors[0], aColumn) }
  }

  private mutating func emitStores(_ tile: ProductTile) {
    let done = asm.label()
    for way in shape.streams ? [Store.stream, .add, .overwrite] : [.add, .overwrite] {
      let next = asm.label()
      if way != .overwrite {
        asm.mov(counter, argument(way == .add ? \.accumulates : \.streams))
        asm.test(counter, counter)
        asm.jump(.equal, next)
      }
      for row in 0..<tile.rows {
        for v in 0..<tile.vectors { store(tile, row, v, way) }
        asm.add(cTile, cRow)
      }
      if way != .overwrite { asm.jump(done) }
      asm.bind(next)
    }
    asm.bind(done)
  }

  /// What becomes of a tile's sums.
  private enum Store { case add, overwrite, stream }

  /// What is there comes first in the sum, so that of two NaNs the same one is passed on as where the
  /// product has memory of its own and is added by a loop.
  private mutating func store(_ tile: ProductTile, _ row: Int, _ v: Int, _ way: Store) {
    let r = sum(tile, row, v)
    let place = Memory(cTile, v * width.byteCount)
    let isEdge = v == tile.vectors - 1 && tile.edge != 0
    if way == .add {
      if isEdge { loadEdge(0, place) } else { asm.vector(.movups, width, 0, .memory(place)) }
      asm.vector(op(.addps, .addpd), width, r, 0, r)
    }
    if !isEdge {
      asm.vector(way == .stream ? .movntpsStore : .movupsStore, width, r, .memory(place))
    } else if width == .z {
      asm.vector(op(.movupsStore, .movupdStore), width, r, .memory(place), mask: edgeMask)
    } else {
      asm.vector(
        op(.maskmovpsStore, .maskmovpdStore), width, r, edgeLanes, .memory(place))
    }
  }

  /// The elements of a row that are there, zeros beyond: nothing past the last one is touched.
  private mutating func loadEdge(_ register: UInt8, _ place: Memory) {
    if width == .z {
      asm.vector(
        op(.movups, .movupd), width, register, .memory(place), mask: edgeMask, zeroing: true)
    } else {
      asm.vector(op(.maskmovps, .maskmovpd), width, register, edgeLanes, .memory(place))
    }
  }
}

extension Assembler {
  /// A constant with ones in the first `count` elements of a 32-byte register.
  mutating func lanes(_ count: Int, elementSize: Int) -> Memory {
    constant((0..<32).map { $0 < count * elementSize ? 0xFF : 0 })
  }
}

extension ProductShape {
  var width: VectorWidth { instructionSet == .avx512 ? .z : .y }
}
