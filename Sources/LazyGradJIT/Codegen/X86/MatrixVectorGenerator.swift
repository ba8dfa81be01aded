// Emits products with one column whose rows of A are runs of memory. Uses the assembler.
//
// The lanes of a register are rows of C, so that every element is the same chain of multiply-adds as
// in every other product (ProductGenerator.swift). A is turned in registers on the way:
//
//     16 bytes of 8 rows:                        one register per step of the summed axis:
//     r0 k0 k1 k2 k3 | r4 k0 k1 k2 k3            k0: r0 r1 r2 r3 | r4 r5 r6 r7
//     r1 k0 k1 k2 k3 | r5 ...              ->    k1: r0 r1 ...
//     r2 ...         | r6 ...                    k2: ...
//     r3 ...         | r7 ...                    k3: ...
//
// The time goes into reading A, sixteen rows side by side over the whole summed axis: so many runs
// a CPU's prefetchers follow. AVX2's registers suffice, and there is one version.

/// Emits the function of a shape, which takes `ProductArguments` of any depth and cuts it itself. C
/// must be contiguous.
struct MatrixVectorGenerator {
  private let shape: ProductShape
  private var asm = Assembler()
  private let elementSize: Int
  /// Rows in a register.
  private let lanes: Int
  private static let tileRows = 16

  private let arguments = GPR.rdi
  private let cTile = GPR.rdx
  /// Where A is when the function is called.
  private let counter = GPR.rcx
  private let aTile = GPR.rax
  private let aRow = GPR.r8
  private let bCursor = GPR.r9
  private let bRow = GPR.r10
  private let bRows3 = GPR.r11
  /// Rows 0, 3, 6, 9, 12 and 15 of the tile.
  private let cursors: [GPR] = [.r12, .r13, .r14, .rbp, .r15, .rbx]
  private let saved: [GPR] = [.rbx, .rbp, .r12, .r13, .r14, .r15]
  // On the stack: tiles to go, the rest of the summed axis, whether C holds something, where B begins.
  private let tileCount = Memory(.rsp, 0)
  private let left = Memory(.rsp, 8)
  private let accumulates = Memory(.rsp, 16)
  private let b = Memory(.rsp, 24)
  /// Registers of B's elements, and from where on the sums are.
  private let right: UInt8 = 8
  private let sums: UInt8 = 12

  static func code(for shape: ProductShape) -> [UInt8] {
    var generator = MatrixVectorGenerator(shape)
    generator.emit()
    return generator.asm.finish()
  }

  private init(_ shape: ProductShape) {
    self.shape = shape
    elementSize = shape.elementSize
    lanes = 32 / shape.elementSize
  }

  private func argument(_ path: PartialKeyPath<ProductArguments>) -> Memory {
    Memory(arguments, MemoryLayout<ProductArguments>.offset(of: path)!)
  }
  private func op(_ single: VectorOp, _ double: VectorOp) -> VectorOp {
    shape.isDouble ? double : single
  }

  private mutating func emit() {
    for register in saved { asm.push(register) }
    asm.sub(.rsp, 32)
    asm.mov(b, .rsi)
    asm.mov(aTile, counter)
    asm.mov(aRow, argument(\.aRow))
    asm.mov(bRow, argument(\.bRow))
    asm.lea(bRows3, Memory(bRow, 0, index: bRow, scale: 2))
    let exit = asm.label()
    asm.mov(counter, argument(\.rows))
    for (height, path) in asm.jump(byRows: counter, shape.heights) {
      asm.bind(path)
      emitTiles(height)
      if height != shape.heights.first { asm.jump(exit) }
    }
    asm.bind(exit)
    asm.vzeroupper()
    asm.add(.rsp, 32)
    for register in saved.reversed() { asm.pop(register) }
    asm.ret()
  }

  private mutating func emitTiles(_ height: Int) {
    let (whole, rest) = height.quotientAndRemainder(dividingBy: Self.tileRows)
    if whole > 0 {
      asm.mov(counter, whole)
      asm.mov(tileCount, counter)
      let loop = asm.here()
      emitTile(Self.tileRows)
      asm.imul(counter, aRow, Self.tileRows)
      asm.add(aTile, counter)
      asm.add(cTile, Self.tileRows * elementSize)
      asm.mov(counter, tileCount)
      asm.sub(counter, 1)
      asm.mov(tileCount, counter)
      asm.jump(.notEqual, loop)
    }
    if rest > 0 { emitTile(rest) }
  }

  /// Where a row of a tile of so many rows is; beyond them, the last one again, whose sums are not
  /// stored.
  private func row(_ i: Int, of rows: Int) -> Memory {
    let row = min(i, rows - 1)
    return Memory(
      cursors[row / 3], 0, index: row % 3 == 0 ? nil : aRow, scale: row % 3 == 2 ? 2 : 1)
  }

  private mutating func emitTile(_ rows: Int) {
    let groups = (rows + lanes - 1) / lanes
    let used = cursors.prefix((rows + 2) / 3)
    asm.mov(cursors[0], aTile)
    for (cursor, before) in zip(used.dropFirst(), used) {
      asm.lea(cursor, Memory(before, 0, index: aRow, scale: 2))
      asm.add(cursor, aRow)
    }
    asm.mov(bCursor, b)
    asm.mov(counter, argument(\.accumulates))
    asm.mov(accumulates, counter)
    asm.mov(counter, argument(\.depth))
    asm.mov(left, counter)
    let part = asm.here()
    for g in 0..<groups {
      let sum = sums + UInt8(g)
      asm.vector(.xorps, .x, sum, sum, sum)
    }
    // The next part of the summed axis.
    let isLast = asm.label()
    asm.mov(counter, left)
    asm.cmp(counter, Summation.blockDepth)
    asm.jump(.lessOrEqual, isLast)
    asm.mov(counter, Summation.blockDepth)
    asm.bind(isLast)
    asm.mov(.rsi, left)
    asm.sub(.rsi, counter)
    asm.mov(left, .rsi)
    let steps = 16 / elementSize
    let (short, done) = (asm.label(), asm.label())
    asm.sub(counter, steps)
    asm.jump(.less, short)
    asm.align16()
    let loop = asm.here()
    emitSteps(rows, groups)
    for cursor in used { asm.add(cursor, 16) }
    asm.lea(bCursor, Memory(bCursor, 0, index: bRow, scale: UInt8(steps)))
    asm.sub(counter, steps)
    asm.jump(.greaterOrEqual, loop)
    asm.bind(short)
    asm.add(counter, steps)
    asm.jump(.equal, done)
    let single = asm.here()
    emitStep(rows, groups)
    for cursor in used { asm.add(cursor, elementSize) }
    asm.add(bCursor, bRow)
    asm.sub(counter, 1)
    asm.jump(.notEqual, single)
    asm.bind(done)
    emitStores(rows, groups)
    asm.mov(counter, left)
    asm.test(counter, counter)
    asm.jump(.notEqual, part)
  }

  /// Sixteen bytes of every row.
  private mutating func emitSteps(_ rows: Int, _ groups: Int) {
    let steps = 16 / elementSize
    for k in 0..<steps {
      let place =
        k == 3
        ? Memory(bCursor, 0, index: bRows3)
        : Memory(bCursor, 0, index: k == 0 ? nil : bRow, scale: k == 2 ? 2 : 1)
      asm.vector(op(.broadcastss, .broadcastsd), .y, right + UInt8(k), .memory(place))
    }
    for g in 0..<groups {
      // As many rows in the lower halves as a half has lanes.
      for i in 0..<steps {
        let register = UInt8(i)
        asm.vector(.movups, .x, register, .memory(row(g * lanes + i, of: rows)))
        asm.vector(
          .insertf128, .y, register, register, .memory(row(g * lanes + steps + i, of: rows)),
          immediate: 1)
      }
      let turned: [UInt8]
      if shape.isDouble {
        asm.vector(.unpcklpd, .y, 4, 0, 1)
        asm.vector(.unpckhpd, .y, 5, 0, 1)
        turned = [4, 5]
      } else {
        asm.vector(.unpcklps, .y, 4, 0, 1)
        asm.vector(.unpckhps, .y, 5, 0, 1)
        asm.vector(.unpcklps, .y, 6, 2, 3)
        asm.vector(.unpckhps, .y, 7, 2, 3)
        asm.vector(.unpcklpd, .y, 0, 4, 6)
        asm.vector(.unpckhpd, .y, 1, 4, 6)
        asm.vector(.unpcklpd, .y, 2, 5, 7)
        asm.vector(.unpckhpd, .y, 3, 5, 7)
        turned = [0, 1, 2, 3]
      }
      for (k, register) in turned.enumerated() {
        asm.vector(
          op(.fmadd231ps, .fmadd231pd), .y, sums + UInt8(g), register, right + UInt8(k))
      }
    }
  }

  /// One element of every row.
  private mutating func emitStep(_ rows: Int, _ groups: Int) {
    let half = lanes / 2
    asm.vector(op(.broadcastss, .broadcastsd), .y, right, .memory(Memory(bCursor)))
    for g in 0..<groups {
      for upper in 0..<2 {
        for i in 0..<half {
          asm.vector(
            op(.movssLoad, .movsdLoad), .x, UInt8(i),
            .memory(row(g * lanes + upper * half + i, of: rows)))
        }
        let out = UInt8(4 + upper)
        if shape.isDouble {
          asm.vector(.unpcklpd, .x, out, 0, 1)
        } else {
          asm.vector(.unpcklps, .x, 0, 0, 1)
          asm.vector(.unpcklps, .x, 2, 2, 3)
          asm.vector(.unpcklpd, .x, out, 0, 2)
        }
      }
      asm.vector(.insertf128, .y, 4, 4, .register(5), immediate: 1)
      asm.vector(op(.fmadd231ps, .fmadd231pd), .y, sums + UInt8(g), 4, right)
    }
  }

  private mutating func emitStores(_ rows: Int, _ groups: Int) {
    let store = asm.label()
    let edge = rows % lanes
    if edge != 0 {
      asm.vector(.movups, .y, 0, .memory(asm.lanes(edge, elementSize: elementSize)))
    }
    func isEdge(_ g: Int) -> Bool { edge != 0 && g == groups - 1 }
    func place(_ g: Int) -> Memory { Memory(cTile, 32 * g) }
    asm.mov(counter, accumulates)
    asm.test(counter, counter)
    asm.jump(.equal, store)
    for g in 0..<groups {
      let sum = sums + UInt8(g)
      if isEdge(g) {
        asm.vector(op(.maskmovps, .maskmovpd), .y, 1, 0, .memory(place(g)))
      } else {
        asm.vector(.movups, .y, 1, .memory(place(g)))
      }
      // What is there comes first, as in the products of matrices.
      asm.vector(op(.addps, .addpd), .y, sum, 1, sum)
    }
    asm.bind(store)
    for g in 0..<groups {
      let sum = sums + UInt8(g)
      if isEdge(g) {
        asm.vector(op(.maskmovpsStore, .maskmovpdStore), .y, sum, 0, .memory(place(g)))
      } else {
        asm.vector(.movupsStore, .y, sum, .memory(place(g)))
      }
    }
    asm.mov(counter, 1)
    asm.mov(accumulates, counter)
  }
}
