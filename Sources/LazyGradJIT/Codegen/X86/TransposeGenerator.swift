// Emits the turning of matrices: copies whose inner axis is strided and that have another axis with
// stride 1. Uses the assembler.

/// What an emitted transposition is called with: `to[i * toRow + j] = from[i + j * fromRow]` for
/// whole tiles. Distances are in bytes.
struct TransposeArguments {
  var from: UnsafeRawPointer
  var fromRow: Int
  var to: UnsafeMutableRawPointer
  var toRow: Int
  /// Tiles along `i`, of `TransposeGenerator.tileBytes` of source, and along `j`, of a cache line of the
  /// result.
  var high: Int
  var wide: Int

  typealias Function = @convention(c) (UnsafeRawPointer) -> Void
}

/// With AVX2 a tile is a cache line wide and 16 bytes high:
///
///     from: 16 rows j of 4 elements i        to: 4 rows i of 16 elements j
///
/// so that every line of the result is written whole and at once, which stores past the caches need,
/// and a line of the source is read by the next three tiles too while it is in the first level. Where
/// rows lie a power of two apart their lines push each other out of it, so with AVX-512, which has the
/// registers for that, a tile is a line high, too.
struct TransposeGenerator {
  private var asm = Assembler()
  private let isDouble: Bool
  private let streams: Bool
  private let isSquare: Bool
  private let from = GPR.rsi
  private let fromRow = GPR.r8
  private let to = GPR.rdx
  private let toRow = GPR.r9
  private let fromTile = GPR.rax
  private let toTile = GPR.r10
  private let high = GPR.rcx
  private let wide = GPR.r11
  /// The source's cursor inside a tile.
  private let row = GPR.rdi

  /// The bytes of a source row in a tile.
  static func tileBytes(_ set: InstructionSet) -> Int { set == .avx512 ? 64 : 16 }

  /// - Parameter streams: stores go past the caches; the result must be aligned to a vector then.
  static func code(_ set: InstructionSet, isDouble: Bool, streams: Bool) -> [UInt8] {
    var generator = TransposeGenerator(set, isDouble: isDouble, streams: streams)
    generator.emit()
    return generator.asm.finish()
  }

  private init(_ set: InstructionSet, isDouble: Bool, streams: Bool) {
    self.isDouble = isDouble
    self.streams = streams
    isSquare = set == .avx512
  }

  private func argument(_ path: PartialKeyPath<TransposeArguments>) -> Memory {
    Memory(.rdi, MemoryLayout<TransposeArguments>.offset(of: path)!)
  }

  private mutating func emit() {
    asm.mov(from, argument(\.from))
    asm.mov(fromRow, argument(\.fromRow))
    asm.mov(to, argument(\.to))
    asm.mov(toRow, argument(\.toRow))
    asm.mov(wide, argument(\.wide))
    asm.mov(high, argument(\.high))
    asm.push(.rbx)
    if isSquare { emitSquareTiles() } else { emitTiles() }
    if streams { asm.sfence() }
    asm.vzeroupper()
    asm.pop(.rbx)
    asm.ret()
  }

  /// Tile after tile along the source's rows: the next one reads the same lines.
  private mutating func emitTiles() {
    asm.mov(.rbx, high)
    let columns = asm.here()
    asm.mov(fromTile, from)
    asm.mov(toTile, to)
    asm.mov(high, .rbx)
    asm.align16()
    let rows = asm.here()
    emitTile()
    asm.add(fromTile, 16)
    asm.sub(high, 1)
    asm.jump(.notEqual, rows)
    // The next line's worth of source rows.
    asm.mov(fromTile, fromRow)
    asm.shl(fromTile, isDouble ? 3 : 4)
    asm.add(from, fromTile)
    asm.add(to, 64)
    asm.sub(wide, 1)
    asm.jump(.notEqual, columns)
  }

  /// Loads pairs of rows into the halves of registers and exchanges elements until a register holds
  /// one row of the result.
  private mutating func emitTile() {
    let lines = isDouble ? 2 : 4
    let groups = 2
    let perGroup = isDouble ? 2 : 4
    asm.mov(row, fromTile)
    // Register `g * perGroup + k`: source rows `2 perGroup g + k` and, above, `perGroup` further on.
    for g in 0..<groups {
      for half in 0..<2 {
        for k in 0..<perGroup {
          let register = UInt8(g * perGroup + k)
          if half == 0 {
            asm.vector(.movups, .x, register, .memory(Memory(row)))
          } else {
            asm.vector(
              .insertf128, .y, register, register, .memory(Memory(row)), immediate: 1)
          }
          asm.add(row, fromRow)
        }
      }
    }
    for g in 0..<groups {
      let base = UInt8(g * perGroup)
      let out = UInt8(8 + g * lines)
      if isDouble {
        asm.vector(.unpcklpd, .y, out, base, base + 1)
        asm.vector(.unpckhpd, .y, out + 1, base, base + 1)
        continue
      }
      asm.vector(.unpcklps, .y, out, base, base + 1)
      asm.vector(.unpckhps, .y, out + 2, base, base + 1)
      asm.vector(.unpcklps, .y, base, base + 2, base + 3)
      asm.vector(.unpckhps, .y, base + 1, base + 2, base + 3)
      asm.vector(.unpckhpd, .y, out + 1, out, base)
      asm.vector(.unpcklpd, .y, out, out, base)
      asm.vector(.unpckhpd, .y, out + 3, out + 2, base + 1)
      asm.vector(.unpcklpd, .y, out + 2, out + 2, base + 1)
    }
    let store: VectorOp = streams ? .movntpsStore : .movupsStore
    for line in 0..<lines {
      for g in 0..<groups {
        asm.vector(
          store, .y, UInt8(8 + g * lines + line), .memory(Memory(toTile, 32 * g)))
      }
      asm.add(toTile, toRow)
    }
  }
}

extension TransposeGenerator {
  /// Tile after tile along the result's rows, so that these are written line by line.
  private mutating func emitSquareTiles() {
    asm.mov(.rbx, wide)
    let rows = asm.here()
    asm.mov(row, from)
    asm.mov(wide, .rbx)
    asm.align16()
    let columns = asm.here()
    asm.mov(toTile, to)
    emitSquareTile()
    asm.add(to, 64)
    asm.sub(wide, 1)
    asm.jump(.notEqual, columns)
    // The next line of the source's rows; `toTile` is behind the last tile's last row.
    asm.add(from, 64)
    asm.mov(to, .rbx)
    asm.shl(to, 6)
    asm.sub(toTile, to)
    asm.mov(to, toTile)
    asm.add(to, 64)
    asm.sub(high, 1)
    asm.jump(.notEqual, rows)
  }

  /// A tile of whole lines, after which `row` is behind it. Of 16 bytes `q` of the source's lines those of every `perGroup`th row are put
  /// together to a register, row by row, so that a line is in the cache while it is read; then elements
  /// are exchanged inside the 16 bytes.
  private mutating func emitSquareTile() {
    let perGroup = isDouble ? 2 : 4
    // Register `q * perGroup + k`: bytes `16 q...` of rows `k`, `perGroup + k`, and so on upwards.
    for g in 0..<4 {
      for k in 0..<perGroup {
        for q in 0..<4 {
          let register = UInt8(q * perGroup + k)
          let source = RegisterOrMemory.memory(Memory(row, 16 * q))
          if g == 0 {
            asm.vector(.movups, .x, register, source)
          } else {
            asm.vector(.insertf32x4, .z, register, register, source, immediate: UInt8(g))
          }
        }
        asm.add(row, fromRow)
      }
    }
    for q in 0..<4 {
      let x = UInt8(q * perGroup)
      // What the exchange of four rows needs in between; the registers of one `q` follow another's.
      let t: UInt8 = 16
      if isDouble {
        asm.vector(.unpcklpd, .z, t, x, x + 1)
        asm.vector(.unpckhpd, .z, t + 1, x, x + 1)
      } else {
        asm.vector(.unpcklps, .z, t + 4, x, x + 1)
        asm.vector(.unpckhps, .z, t + 5, x, x + 1)
        asm.vector(.unpcklps, .z, t + 6, x + 2, x + 3)
        asm.vector(.unpckhps, .z, t + 7, x + 2, x + 3)
        asm.vector(.unpcklpd, .z, t, t + 4, t + 6)
        asm.vector(.unpckhpd, .z, t + 1, t + 4, t + 6)
        asm.vector(.unpcklpd, .z, t + 2, t + 5, t + 7)
        asm.vector(.unpckhpd, .z, t + 3, t + 5, t + 7)
      }
      for line in 0..<perGroup {
        asm.vector(
          streams ? .movntpsStore : .movupsStore, .z, t + UInt8(line), .memory(Memory(toTile)))
        asm.add(toTile, toRow)
      }
    }
  }
}

/// The process's transpositions, made once. They stay, so nobody who calls one counts a reference to it.
package struct TransposeCode: @unchecked Sendable {
  private let plain: UnsafeRawPointer
  private let streaming: UnsafeRawPointer
  /// The bytes of a source row in a tile.
  private let tileBytes: Int
  /// What a result must be aligned to for `streaming`.
  private let alignment: Int

  private init?(_ set: InstructionSet, isDouble: Bool) {
    func block(streams: Bool) -> CodeBlock? {
      CodeMemory.install(TransposeGenerator.code(set, isDouble: isDouble, streams: streams))
    }
    guard let plain = block(streams: false), let streaming = block(streams: true) else {
      return nil
    }
    self.plain = Unmanaged.passRetained(plain).takeUnretainedValue().entry
    self.streaming = Unmanaged.passRetained(streaming).takeUnretainedValue().entry
    tileBytes = TransposeGenerator.tileBytes(set)
    alignment = set == .avx512 ? 64 : 32
  }

  private static let words = TransposeCode(.avx2, isDouble: false)
  private static let doubleWords = TransposeCode(.avx2, isDouble: true)
  private static let squareWords = TransposeCode(.avx512, isDouble: false)
  private static let squareDoubleWords = TransposeCode(.avx512, isDouble: true)

  /// The code for an element size where the active instruction set has some.
  package static func active(elementSize: Int) -> TransposeCode? {
    switch (NativeCode.instructionSet, elementSize) {
    case (.avx2, 4): words
    case (.avx2, 8): doubleWords
    case (.avx512, 4): squareWords
    case (.avx512, 8): squareDoubleWords
    default: nil
    }
  }

  /// Results from this size on are not in a cache when somebody reads them, and need not be brought
  /// there to be written.
  private static let streamingBytes = 8 << 20

  /// Turns whole tiles.
  ///
  /// In square blocks, so that neither reading nor writing goes to another page with every line.
  /// - Parameters are as for the portable transposition, in elements.
  /// - Returns: the height and the width that are done; the caller does the rest.
  package func run(
    elementSize: Int, from: UnsafeRawPointer, step: Int, to: UnsafeMutableRawPointer, rowStep: Int,
    height: Int, width: Int
  ) -> (height: Int, width: Int) {
    let tileHeight = tileBytes / elementSize
    let tileWidth = 64 / elementSize
    let done = (height / tileHeight * tileHeight, width / tileWidth * tileWidth)
    let isAligned = (Int(bitPattern: to) | rowStep * elementSize) & (alignment - 1) == 0
    let isLarge = height * width * elementSize >= Self.streamingBytes
    let code = isAligned && isLarge ? streaming : plain
    let function = unsafeBitCast(code, to: TransposeArguments.Function.self)
    let block = 64
    func turn(_ i: Int, _ j: Int) {
      var arguments = TransposeArguments(
        from: from + (i + j * step) * elementSize, fromRow: step * elementSize,
        to: to + (i * rowStep + j) * elementSize, toRow: rowStep * elementSize,
        high: min(block, done.0 - i) / tileHeight, wide: min(block, done.1 - j) / tileWidth)
      function(&arguments)
    }
    // Block after block along the side on which the tiles of a block don't follow each other.
    if tileBytes == 64 {
      for j in stride(from: 0, to: done.1, by: block) {
        for i in stride(from: 0, to: done.0, by: block) { turn(i, j) }
      }
    } else {
      for i in stride(from: 0, to: done.0, by: block) {
        for j in stride(from: 0, to: done.1, by: block) { turn(i, j) }
      }
    }
    return done
  }
}
