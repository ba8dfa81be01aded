// Emits matrix products for AArch64: a function that works off a block of rows of C, all columns, for one chain
// of the summed axis. Uses the assembler; the shapes and the order of sums are those of ProductGenerator.
//
//               strip of columns: `vectors` registers, the last one part of one at the edge
//              |<--------->|
//      a_r0 -> | accumulators in registers: `rows` x `vectors`   per step of the summed axis: load the
//      a_r1 -> |           |                                     strip's row of B once; a row of A takes
//      a_r2 -> |           |                                     part with one element of a register
//
// A register of A holds the elements of several steps, so that of ten instructions nine multiply and add.

/// Emits the function of a shape.
struct NeonProductGenerator {
  private let shape: ProductShape
  private var asm = ARMAssembler()
  private let elementSize: Int
  private let lanes: NeonLanes
  private let element: NeonPart

  // Registers.
  private let arguments = ARMRegister.x0
  private let bStrip = ARMRegister.x1
  private let cStrip = ARMRegister.x2
  private let left = ARMRegister.x3
  /// One for each row of a tile of A; where its rows follow each other, one for all.
  private let aCursors: [ARMRegister] = [.x4, .x5, .x6, .x7]
  private let counter = ARMRegister.x8
  private let bCursor = ARMRegister.x9
  private let aRow = ARMRegister.x10
  private let aColumn = ARMRegister.x11
  private let bRow = ARMRegister.x12
  private let cRow = ARMRegister.x13
  private let aTile = ARMRegister.x14
  private let cTile = ARMRegister.x15
  private let stripCount = ARMRegister.x16
  private let tileCount = ARMRegister.x17
  /// Vector registers: up to eight for B, from 0 on, eight for A, and the sums from the highest down. Sixteen
  /// sums are enough for four units on which a chain waits four steps for itself.
  private static let firstOfA: UInt8 = 8
  /// One that neither B nor A has: few rows leave one of A's free, many rows one of B's.
  private var spare: UInt8 = 15

  static func code(for shape: ProductShape) -> [UInt8] {
    var generator = NeonProductGenerator(shape)
    return generator.emit()
  }

  private init(_ shape: ProductShape) {
    self.shape = shape
    elementSize = shape.elementSize
    lanes = shape.isDouble ? .d2 : .s4
    element = shape.isDouble ? .d : .s
  }

  private func argument(_ path: PartialKeyPath<ProductArguments>) -> ARMAddress {
    ARMAddress(arguments, MemoryLayout<ProductArguments>.offset(of: path)!)
  }

  private mutating func emit() -> [UInt8] {
    if shape.isTransposed {
      // What is asked for the transposed product gets the operands the other way round.
      asm.mov(counter, bStrip)
      asm.mov(bStrip, left)
      asm.mov(left, counter)
    }
    asm.load(aRow, argument(\.aRow))
    asm.load(aColumn, argument(shape.isTransposed ? \.bRow : \.aColumn))
    asm.load(bRow, argument(shape.isTransposed ? \.aColumn : \.bRow))
    asm.load(cRow, argument(\.cRow))
    let perTile = shape.tileVectors * shape.lanes
    let whole = shape.columns / perTile
    let rest = shape.columns - whole * perTile
    let exit = asm.label()
    asm.load(counter, argument(\.rows))
    let paths = shape.heights.map { (height: $0, path: asm.label()) }
    for (height, path) in paths.dropLast() {
      asm.cmp(counter, height, scratch: tileCount)
      asm.jump(.equal, path)
    }
    for (height, path) in paths.reversed() {
      asm.bind(path)
      emitStrips(height, whole: whole, rest: rest)
      if height != shape.heights.first { asm.jump(exit) }
    }
    asm.bind(exit)
    var prologue = ARMAssembler()
    prologue.add(.sp, .sp, -64)
    for (i, r) in stride(from: 8 as UInt8, to: 16, by: 2).enumerated() {
      prologue.storeHalves(r, r + 1, ARMAddress(.sp, 16 * i))
      asm.loadHalves(r, r + 1, ARMAddress(.sp, 16 * i))
    }
    asm.add(.sp, .sp, 64)
    asm.ret()
    return asm.finish(after: prologue.words)
  }

  private mutating func emitStrips(_ height: Int, whole: Int, rest: Int) {
    let vectors = shape.tileVectors
    if whole > 0 {
      if whole > 1 { asm.mov(stripCount, whole) }
      let loop = asm.here()
      emitTiles(height, vectors: vectors, edge: 0)
      if whole > 1 || rest > 0 {
        asm.load(counter, argument(\.bStrip))
        asm.add(bStrip, bStrip, counter)
        asm.add(cStrip, cStrip, 16 * vectors)
      }
      if whole > 1 {
        asm.subs(stripCount, stripCount, 1)
        asm.jump(.notEqual, loop)
      }
    }
    if rest > 0 {
      emitTiles(
        height, vectors: (rest + shape.lanes - 1) / shape.lanes, edge: rest % shape.lanes)
    }
  }

  private mutating func emitTiles(_ height: Int, vectors: Int, edge: Int) {
    asm.mov(aTile, left)
    asm.mov(cTile, cStrip)
    let tiles = RowTiles.cut(height, atMost: shape.tileRows)
    for (k, (rows, count)) in tiles.enumerated() {
      if count > 1 { asm.mov(tileCount, count) }
      let loop = asm.here()
      emitTile(Tile(rows: rows, vectors: vectors, edge: edge))
      if count > 1 || k + 1 < tiles.count {
        for _ in 0..<rows { asm.add(aTile, aTile, aRow) }
      }
      if count > 1 {
        asm.subs(tileCount, tileCount, 1)
        asm.jump(.notEqual, loop)
      }
    }
  }

  /// The rows x registers that are worked on together.
  private struct Tile {
    let rows: Int
    let vectors: Int
    /// Elements in the last register; 0 for all.
    let edge: Int
  }

  private func sum(_ tile: Tile, _ row: Int, _ vector: Int) -> UInt8 {
    UInt8(31 - row * tile.vectors - vector)
  }

  // MARK: A tile

  private mutating func emitTile(_ tile: Tile) {
    spare = tile.rows <= 2 ? 15 : 7
    for row in 0..<tile.rows {
      for v in 0..<tile.vectors { asm.load(sum(tile, row, v), ARMAssembler.Constant(0, 0)) }
    }
    asm.mov(bCursor, bStrip)
    asm.mov(aCursors[0], aTile)
    if shape.left != .columns {
      for row in 1..<max(tile.rows, 1) { asm.add(aCursors[row], aCursors[row - 1], aRow) }
    }
    let done = asm.label()
    asm.load(counter, argument(\.depth))
    // Several steps at a time: as many as two registers of a row of A have elements.
    let steps = shape.left == .rows ? 32 / elementSize : 4
    let short = asm.label()
    asm.subs(counter, counter, steps)
    asm.jump(.less, short)
    let loop = asm.here()
    emitSteps(tile, steps)
    asm.subs(counter, counter, steps)
    asm.jump(.greaterOrEqual, loop)
    asm.bind(short)
    asm.add(counter, counter, steps)
    asm.jump(ifZero: counter, done)
    let single = asm.here()
    emitSteps(tile, 1)
    asm.subs(counter, counter, 1)
    asm.jump(.notEqual, single)
    asm.bind(done)
    emitStores(tile)
  }

  /// Some steps of the summed axis.
  private mutating func emitSteps(_ tile: Tile, _ steps: Int) {
    let first = Self.firstOfA
    switch shape.left {
    case .rows:
      for row in 0..<tile.rows {
        let (r, cursor) = (first + 2 * UInt8(row), aCursors[row])
        if steps > 1 {
          asm.loadPair(r, r + 1, next: cursor)
        } else {
          asm.loadFirst(element, r, next: cursor)
        }
      }
      for step in 0..<steps {
        let (register, number) = step.quotientAndRemainder(dividingBy: shape.lanes)
        emitStep(tile) { row in (first + 2 * UInt8(row) + UInt8(register), number) }
      }
    case .columns:
      for _ in 0..<steps {
        loadColumn(tile.rows)
        let lanes = shape.lanes
        emitStep(tile) { row in (first + UInt8(row / lanes), row % lanes) }
      }
    case .strided:
      for _ in 0..<steps {
        for row in 0..<tile.rows {
          asm.load(element, first + UInt8(row), ARMAddress(aCursors[row]))
          asm.add(aCursors[row], aCursors[row], aColumn)
        }
        emitStep(tile) { row in (first + UInt8(row), 0) }
      }
    }
  }

  /// The elements of a step that follow each other, a register's at a time.
  private mutating func loadColumn(_ rows: Int) {
    for (i, row) in stride(from: 0, to: rows, by: shape.lanes).enumerated() {
      load(
        Self.firstOfA + UInt8(i), aCursors[0], row * elementSize, min(rows - row, shape.lanes))
    }
    asm.add(aCursors[0], aCursors[0], aColumn)
  }

  /// One step, where `left` says which element of which register is that of a row.
  private mutating func emitStep(_ tile: Tile, _ left: (Int) -> (register: UInt8, number: Int)) {
    if tile.edge == 0, tile.vectors <= 4 {
      asm.loadRow(lanes, 0, count: tile.vectors, bCursor, next: bRow)
      multiply(tile, 0..<tile.vectors, left)
      return
    }
    for start in stride(from: 0, to: tile.vectors, by: 8) {
      let vectors = start..<min(start + 8, tile.vectors)
      var v = vectors.lowerBound
      while v < vectors.upperBound {
        let r = UInt8(v - start)
        if v == tile.vectors - 1, tile.edge != 0 {
          load(r, bCursor, 16 * v, tile.edge)
          v += 1
        } else if v + 1 < vectors.upperBound, !(v + 1 == tile.vectors - 1 && tile.edge != 0) {
          asm.loadPair(r, r + 1, ARMAddress(bCursor, 16 * v))
          v += 2
        } else {
          asm.load(.q, r, ARMAddress(bCursor, 16 * v))
          v += 1
        }
      }
      multiply(tile, vectors, left)
    }
    asm.add(bCursor, bCursor, bRow)
  }

  private mutating func multiply(
    _ tile: Tile, _ vectors: Range<Int>, _ left: (Int) -> (register: UInt8, number: Int)
  ) {
    for row in 0..<tile.rows {
      let (register, number) = left(row)
      for v in vectors {
        asm.vector(
          .fmlaElement, lanes, sum(tile, row, v), UInt8(v - vectors.lowerBound), register,
          number: number)
      }
    }
  }

  // MARK: C

  /// What is there comes first in the sum, so that of two NaNs the same one is passed on as where the product
  /// has memory of its own and is added by a loop.
  private mutating func emitStores(_ tile: Tile) {
    let (overwrite, done) = (asm.label(), asm.label())
    asm.load(counter, argument(\.accumulates))
    asm.jump(ifZero: counter, overwrite)
    for adds in [true, false] {
      for row in 0..<tile.rows {
        for v in 0..<tile.vectors {
          let r = sum(tile, row, v)
          let count = v == tile.vectors - 1 && tile.edge != 0 ? tile.edge : shape.lanes
          if adds {
            load(0, cTile, 16 * v, count)
            asm.vector(.fadd, lanes, r, 0, r)
          }
          store(r, cTile, 16 * v, count)
        }
        asm.add(cTile, cTile, cRow)
      }
      if adds {
        asm.jump(done)
        asm.bind(overwrite)
      }
    }
    asm.bind(done)
  }

  /// Some elements, up to a register's: nothing past the last one is touched.
  private mutating func load(_ r: UInt8, _ base: ARMRegister, _ offset: Int, _ count: Int) {
    if count == 3 {
      asm.load(.s, spare, ARMAddress(base, offset + 8))
      asm.load(.d, r, ARMAddress(base, offset))
      asm.insertFirst(.s4, r, 2, spare)
    } else {
      asm.load(NeonPart(bytes: count * elementSize), r, ARMAddress(base, offset))
    }
  }
  private mutating func store(_ r: UInt8, _ base: ARMRegister, _ offset: Int, _ count: Int) {
    if count == 3 {
      asm.repeatElement(.s4, spare, r, 2)
      asm.store(.d, r, ARMAddress(base, offset))
      asm.store(.s, spare, ARMAddress(base, offset + 8))
    } else {
      asm.store(NeonPart(bytes: count * elementSize), r, ARMAddress(base, offset))
    }
  }
}
