// Emits products with one column whose rows of A are runs of memory, for AArch64. Uses the assembler; the order of
// sums is that of MatrixVectorGenerator.
//
// The lanes of a register are rows of C, so that every element is the same chain of multiply-adds as in every
// other product. A is turned in registers on the way; rows that fill no register go element by element.

/// Emits the function of a shape, which takes `ProductArguments` of any depth and cuts it itself. C must be
/// contiguous.
struct NeonMatrixVectorGenerator {
  private let shape: ProductShape
  private var asm = ARMAssembler()
  private let lanes: NeonLanes
  private let element: NeonPart
  private let elementSize: Int
  /// Rows in a register.
  private let width: Int
  private static let tileRows = 8

  private let arguments = ARMRegister.x0
  private let b = ARMRegister.x1
  private let cTile = ARMRegister.x2
  private let aTile = ARMRegister.x3
  /// One for each row.
  private let cursors: [ARMRegister] = [.x4, .x5, .x6, .x7, .x8, .x9, .x10, .x11]
  private let bCursor = ARMRegister.x12
  private let bRow = ARMRegister.x13
  private let counter = ARMRegister.x14
  /// Of the summed axis.
  private let rest = ARMRegister.x15
  /// Whether C holds something.
  private let accumulates = ARMRegister.x16
  private let tileCount = ARMRegister.x17
  // Vector registers: rows of A from 0 on, and none that belongs to the caller.
  private let pairs: UInt8 = 16
  private let columns: UInt8 = 20
  private let right: UInt8 = 24
  private let sums: UInt8 = 28

  static func code(for shape: ProductShape) -> [UInt8] {
    var generator = NeonMatrixVectorGenerator(shape)
    generator.emit()
    return generator.asm.finish()
  }

  private init(_ shape: ProductShape) {
    self.shape = shape
    lanes = shape.isDouble ? .d2 : .s4
    element = shape.isDouble ? .d : .s
    elementSize = shape.elementSize
    width = shape.lanes
  }

  private func argument(_ path: PartialKeyPath<ProductArguments>) -> ARMAddress {
    ARMAddress(arguments, MemoryLayout<ProductArguments>.offset(of: path)!)
  }

  private mutating func emit() {
    asm.load(bRow, argument(\.bRow))
    asm.load(counter, argument(\.rows))
    let paths = shape.heights.map { (height: $0, path: asm.label()) }
    for (height, path) in paths.dropLast() {
      asm.cmp(counter, height, scratch: rest)
      asm.jump(.equal, path)
    }
    let exit = asm.label()
    for (height, path) in paths.reversed() {
      asm.bind(path)
      emitTiles(height)
      if height != shape.heights.first { asm.jump(exit) }
    }
    asm.bind(exit)
    asm.ret()
  }

  private mutating func emitTiles(_ height: Int) {
    let (count, left) = height.quotientAndRemainder(dividingBy: Self.tileRows)
    if count > 0 {
      if count > 1 { asm.mov(tileCount, count) }
      let loop = asm.here()
      emitTile(rows: Self.tileRows)
      if count > 1 {
        asm.subs(tileCount, tileCount, 1)
        asm.jump(.notEqual, loop)
      }
    }
    if left >= width { emitTile(rows: left / width * width) }
    if left % width != 0 { emitTile(rows: left % width) }
  }

  /// Registers that hold the sums of some rows: full ones, or one for each row.
  private func registers(_ rows: Int) -> Int { rows < width ? rows : rows / width }

  private mutating func emitTile(rows: Int) {
    asm.load(counter, argument(\.aRow))
    asm.mov(cursors[0], aTile)
    for row in 1..<max(rows, 1) { asm.add(cursors[row], cursors[row - 1], counter) }
    asm.add(aTile, cursors[rows - 1], counter)
    asm.mov(bCursor, b)
    asm.load(rest, argument(\.depth))
    asm.load(accumulates, argument(\.accumulates))
    // A part of the summed axis.
    let part = asm.here()
    let isShort = asm.label()
    asm.mov(counter, Summation.blockDepth)
    asm.cmp(rest, counter)
    asm.jump(.aboveOrEqual, isShort)
    asm.mov(counter, rest)
    asm.bind(isShort)
    asm.sub(rest, rest, counter)
    for k in 0..<registers(rows) { asm.load(sums + UInt8(k), ARMAssembler.Constant(0, 0)) }
    emitSteps(rows)
    emitStores(rows)
    asm.jump(ifNotZero: rest, part)
    asm.add(cTile, cTile, rows * elementSize)
  }

  /// As many steps as the counter says.
  private mutating func emitSteps(_ rows: Int) {
    let done = asm.label()
    if rows >= width {
      let short = asm.label()
      asm.subs(counter, counter, width)
      asm.jump(.less, short)
      let loop = asm.here()
      for row in 0..<rows { asm.loadFirst(.q, UInt8(row), next: cursors[row]) }
      for step in 0..<width { asm.loadAll(lanes, right + UInt8(step), bCursor, next: bRow) }
      for group in 0..<(rows / width) { emitTurned(group) }
      asm.subs(counter, counter, width)
      asm.jump(.greaterOrEqual, loop)
      asm.bind(short)
      asm.add(counter, counter, width)
    }
    asm.jump(ifZero: counter, done)
    let loop = asm.here()
    asm.loadAll(lanes, right, bCursor, next: bRow)
    for row in 0..<rows {
      // A step's elements of the rows of a register, or of one row.
      let number = rows < width ? 0 : row % width
      let register = columns + UInt8(rows < width ? 0 : row / width % 4)
      if number == 0 {
        asm.loadFirst(element, register, next: cursors[row])
      } else {
        asm.loadElement(element, register, number, next: cursors[row])
      }
      if rows < width || number == width - 1 {
        let sum = sums + UInt8(rows < width ? row : row / width)
        asm.vector(.fmla, lanes, sum, register, right)
      }
    }
    asm.subs(counter, counter, 1)
    asm.jump(.notEqual, loop)
    asm.bind(done)
  }

  /// The rows of a register, as many steps as it has lanes.
  private mutating func emitTurned(_ group: Int) {
    let r = UInt8(group * width)
    if width == 2 {
      asm.vector(.zip1, .d2, columns, r, r + 1)
      asm.vector(.zip2, .d2, columns + 1, r, r + 1)
    } else {
      asm.vector(.trn1, .s4, pairs, r, r + 1)
      asm.vector(.trn2, .s4, pairs + 1, r, r + 1)
      asm.vector(.trn1, .s4, pairs + 2, r + 2, r + 3)
      asm.vector(.trn2, .s4, pairs + 3, r + 2, r + 3)
      asm.vector(.zip1, .d2, columns, pairs, pairs + 2)
      asm.vector(.zip1, .d2, columns + 1, pairs + 1, pairs + 3)
      asm.vector(.zip2, .d2, columns + 2, pairs, pairs + 2)
      asm.vector(.zip2, .d2, columns + 3, pairs + 1, pairs + 3)
    }
    for step in 0..<UInt8(width) {
      asm.vector(.fmla, lanes, sums + UInt8(group), columns + step, right + step)
    }
  }

  /// What is there comes first in the sum; the next part finds something there.
  private mutating func emitStores(_ rows: Int) {
    let (overwrite, done) = (asm.label(), asm.label())
    let part: NeonPart = rows < width ? element : .q
    asm.jump(ifZero: accumulates, overwrite)
    for adds in [true, false] {
      for k in 0..<registers(rows) {
        let place = ARMAddress(cTile, part.size * k)
        let sum = sums + UInt8(k)
        if adds {
          asm.load(part, right, place)
          asm.vector(.fadd, lanes, sum, right, sum)
        }
        asm.store(part, sum, place)
      }
      if adds {
        asm.jump(done)
        asm.bind(overwrite)
      }
    }
    asm.bind(done)
    asm.mov(accumulates, 1)
  }
}
