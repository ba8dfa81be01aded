// Emits the packing of a matrix product's right operand: rows of B are cut into strips, and a strip's
// rows follow each other, so that a tile reads one run of memory. Uses the assembler.
//
//     B:  | strip 0 | strip 1 |      packed:  strip 0 of row 0, of row 1, ... ; strip 1 of row 0, ...
//          row 0 ...
//          row 1 ...
//
// Rows of B may lie pages apart, which no prefetcher of a CPU follows; they are asked for in time.

/// What an emitted packing is called with. Distances are in bytes.
package struct PackArguments {
  package var from: UnsafeRawPointer
  package var to: UnsafeMutableRawPointer
  package var fromRow: Int
  /// Rows to pack, at least one.
  package var rows: Int
  /// From one strip to the next: the strip's bytes times the rows.
  package var strip: Int

  package init(
    from: UnsafeRawPointer, to: UnsafeMutableRawPointer, fromRow: Int, rows: Int, strip: Int
  ) {
    self.from = from
    self.to = to
    self.fromRow = fromRow
    self.rows = rows
    self.strip = strip
  }

  package typealias Function = @convention(c) (UnsafeRawPointer) -> Void
}

/// Emits the function of a product's shape.
struct PackGenerator {
  private let shape: ProductShape
  private var asm = Assembler()
  private let from = GPR.rsi
  private let to = GPR.rdx
  private let rows = GPR.rcx
  private let fromRow = GPR.r8
  private let strip = GPR.r9
  private let target = GPR.rax
  private let ahead = GPR.r10
  /// Rows between asking for one and reading it.
  private static let distance = 8
  private let edgeMask: UInt8 = 1
  private let edgeLanes: UInt8 = 15

  static func code(for shape: ProductShape) -> [UInt8] {
    var generator = PackGenerator(shape: shape)
    generator.emit()
    return generator.asm.finish()
  }

  private init(shape: ProductShape) { self.shape = shape }

  private func argument(_ path: PartialKeyPath<PackArguments>) -> Memory {
    Memory(.rdi, MemoryLayout<PackArguments>.offset(of: path)!)
  }

  private mutating func emit() {
    let bytes = shape.columns * shape.elementSize
    let width = shape.width
    let edge = shape.columns % shape.lanes
    asm.mov(from, argument(\.from))
    asm.mov(to, argument(\.to))
    asm.mov(fromRow, argument(\.fromRow))
    asm.mov(rows, argument(\.rows))
    asm.mov(strip, argument(\.strip))
    asm.imul(ahead, fromRow, Self.distance)
    asm.add(ahead, from)
    if edge != 0, width == .z {
      asm.mov(target, 1 << edge - 1)
      asm.vector(.kmovwFromGPR, .x, edgeMask, .register(target.rawValue))
    } else if edge != 0 {
      asm.vector(
        .movups, .y, edgeLanes, .memory(asm.lanes(edge, elementSize: shape.elementSize)))
    }
    let loop = asm.here()
    asm.mov(target, to)
    for line in stride(from: 0, to: bytes, by: 64) { asm.prefetch(Memory(ahead, line)) }
    let perStrip = shape.tileVectors
    for v in 0..<shape.registersPerRow {
      let register = UInt8(v % 8)
      let place = Memory(from, v * width.byteCount)
      if v > 0, v % perStrip == 0 { asm.add(target, strip) }
      if edge == 0 || v + 1 < shape.registersPerRow {
        asm.vector(.movups, width, register, .memory(place))
      } else if width == .z {
        asm.vector(
          shape.isDouble ? .movupd : .movups, width, register, .memory(place), mask: edgeMask,
          zeroing: true)
      } else {
        asm.vector(
          shape.isDouble ? .maskmovpd : .maskmovps, width, register, edgeLanes, .memory(place))
      }
      // The packed strips have room for whole registers.
      asm.vector(
        .movupsStore, width, register, .memory(Memory(target, v % perStrip * width.byteCount)))
    }
    asm.add(from, fromRow)
    asm.add(ahead, fromRow)
    asm.add(to, perStrip * width.byteCount)
    asm.sub(rows, 1)
    asm.jump(.notEqual, loop)
    asm.vzeroupper()
    asm.ret()
  }
}
