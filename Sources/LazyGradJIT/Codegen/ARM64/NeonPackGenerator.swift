// Emits the packing of a matrix product's right operand for AArch64, as PackGenerator says. Uses the assembler.

/// Emits the function of a product's shape.
struct NeonPackGenerator {
  private let shape: ProductShape
  private var asm = ARMAssembler()
  private let arguments = ARMRegister.x0
  private let from = ARMRegister.x1
  private let to = ARMRegister.x2
  private let rows = ARMRegister.x3
  private let fromRow = ARMRegister.x4
  private let strip = ARMRegister.x5
  private let source = ARMRegister.x6
  private let target = ARMRegister.x7
  private let ahead = ARMRegister.x8
  /// Rows between asking for one and reading it, as a power of two.
  private static let distance: UInt8 = 3

  static func code(for shape: ProductShape) -> [UInt8] {
    var generator = NeonPackGenerator(shape: shape)
    return generator.emit()
  }

  private init(shape: ProductShape) { self.shape = shape }

  private func argument(_ path: PartialKeyPath<PackArguments>) -> ARMAddress {
    ARMAddress(arguments, MemoryLayout<PackArguments>.offset(of: path)!)
  }

  private mutating func emit() -> [UInt8] {
    asm.load(from, argument(\.from))
    asm.load(to, argument(\.to))
    asm.load(fromRow, argument(\.fromRow))
    asm.load(rows, argument(\.rows))
    asm.load(strip, argument(\.strip))
    let loop = asm.here()
    asm.mov(source, from)
    asm.mov(target, to)
    asm.add(ahead, from, fromRow, shift: Self.distance)
    let edge = shape.columns % shape.lanes
    for v in 0..<shape.registersPerRow {
      if v > 0, v % shape.tileVectors == 0 { asm.add(target, target, strip) }
      // A cache line has at least four registers.
      if v % 4 == 0 {
        asm.access(.prefetch, .x0, ARMAddress(ahead))
        asm.add(ahead, ahead, 64)
      }
      if edge == 0 || v + 1 < shape.registersPerRow {
        asm.load(.q, 0, ARMAddress(source))
        asm.add(source, source, 16)
      } else {
        // Element by element: nothing behind the last one is read.
        let part: NeonPart = shape.isDouble ? .d : .s
        asm.loadFirst(part, 0, next: source)
        for number in 1..<max(edge, 1) { asm.loadElement(part, 0, number, next: source) }
      }
      // The packed strips have room for whole registers.
      asm.store(.q, 0, ARMAddress(target, v % shape.tileVectors * 16))
    }
    asm.add(from, from, fromRow)
    asm.add(to, to, shape.tileVectors * 16)
    asm.subs(rows, rows, 1)
    asm.jump(.notEqual, loop)
    asm.ret()
    return asm.finish()
  }
}
