// Emits the turning of matrices: copies whose inner axis is strided and that have another axis with
// stride 1. Uses the assembler. The time goes into memory, so there is one version, with the
// registers that AVX2 has.

/// What an emitted transposition is called with: `to[i * toRow + j] = from[i + j * fromRow]` for
/// whole tiles. Distances are in bytes.
struct TransposeArguments {
  var from: UnsafeRawPointer
  var fromRow: Int
  var to: UnsafeMutableRawPointer
  var toRow: Int
  /// Tiles along `i`, of `16 / elementSize` elements, and along `j`, of `64 / elementSize`.
  var high: Int
  var wide: Int

  typealias Function = @convention(c) (UnsafeRawPointer) -> Void
}

/// A tile is a cache line wide and 16 bytes high:
///
///     from: 16 rows j of 4 elements i        to: 4 rows i of 16 elements j
///
/// so that every line of the result is written whole and at once, which stores past the caches need,
/// and a line of the source is read by the next three tiles too while it is in the first level.
struct TransposeGenerator {
  private var asm = Assembler()
  private let isDouble: Bool
  private let streams: Bool
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

  /// - Parameter streams: stores go past the caches; the result must be aligned to 32 bytes then.
  static func code(isDouble: Bool, streams: Bool) -> [UInt8] {
    var generator = TransposeGenerator(isDouble: isDouble, streams: streams)
    generator.emit()
    return generator.asm.finish()
  }

  private init(isDouble: Bool, streams: Bool) {
    self.isDouble = isDouble
    self.streams = streams
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
    asm.push(.rbx)
    asm.mov(.rbx, argument(\.high))
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
    if streams { asm.sfence() }
    asm.vzeroupper()
    asm.pop(.rbx)
    asm.ret()
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

/// The process's transpositions, made once.
package struct TransposeCode: Sendable {
  private let plain: CodeBlock
  private let streaming: CodeBlock

  private init?(isDouble: Bool) {
    func block(streams: Bool) -> CodeBlock? {
      CodeMemory.install(TransposeGenerator.code(isDouble: isDouble, streams: streams))
    }
    guard let plain = block(streams: false), let streaming = block(streams: true) else {
      return nil
    }
    self.plain = plain
    self.streaming = streaming
  }

  private static let words = TransposeCode(isDouble: false)
  private static let doubleWords = TransposeCode(isDouble: true)

  /// The code for an element size where the active instruction set has some.
  package static func active(elementSize: Int) -> TransposeCode? {
    if NativeCode.instructionSet == .portable { return nil }
    return elementSize == 4 ? words : elementSize == 8 ? doubleWords : nil
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
    let tileHeight = 16 / elementSize
    let tileWidth = 64 / elementSize
    let done = (height / tileHeight * tileHeight, width / tileWidth * tileWidth)
    let isAligned = (Int(bitPattern: to) | rowStep * elementSize) & 31 == 0
    let isLarge = height * width * elementSize >= Self.streamingBytes
    let code = isAligned && isLarge ? streaming : plain
    let function = unsafeBitCast(code.entry, to: TransposeArguments.Function.self)
    let block = 64
    for i in stride(from: 0, to: done.0, by: block) {
      for j in stride(from: 0, to: done.1, by: block) {
        var arguments = TransposeArguments(
          from: from + (i + j * step) * elementSize, fromRow: step * elementSize,
          to: to + (i * rowStep + j) * elementSize, toRow: rowStep * elementSize,
          high: min(block, done.0 - i) / tileHeight, wide: min(block, done.1 - j) / tileWidth)
        function(&arguments)
      }
    }
    return done
  }
}
