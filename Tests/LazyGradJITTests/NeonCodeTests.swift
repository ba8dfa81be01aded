// What emitted AArch64 code consists of, on every machine: how many instructions the loops take in which time
// is spent. How many are carried out is counted under emulation, by perf/arm64-counts.

import LazyGradJIT
import Testing

@Suite struct NeonCodeTests {
  /// A loop of some code: the words between a label and the conditional jump back to it.
  private static func loops(_ words: [UInt32]) -> [ArraySlice<UInt32>] {
    words.indices.compactMap { i in
      guard words[i] >> 24 == 0x54 else { return nil }
      let distance = Int(Int32(bitPattern: words[i] << 8) >> 13)
      return distance < 0 ? words[(i + distance)...i] : nil
    }
  }

  private static func words(_ code: [UInt8]) -> [UInt32] {
    code.withUnsafeBytes { bytes in
      (0..<(code.count / 4)).map {
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self))
      }
    }
  }

  /// Multiply-adds by one element of a register.
  private static func isFused(_ word: UInt32) -> Bool {
    word & 0xBF80_F400 == NeonCodeTests.fused & 0xBF80_F400
  }
  private static let fused: UInt32 = {
    var assembler = ARMAssembler()
    assembler.vector(.fmlaElement, .s4, 0, 0, 0)
    return assembler.words[0]
  }()

  /// Where a product has four rows and as many columns as four registers, nine of ten instructions multiply and add.
  @Test func productsMultiplyAndAdd() {
    for columns in [16, 64, 256] {
      let shape = ProductShape(
        instructionSet: .neon, isDouble: false, left: .rows, columns: columns, heights: [16])
      let loops = Self.loops(Self.words(shape.code()))
      let shares = loops.map { Double($0.count(where: Self.isFused)) / Double($0.count) }
      #expect(shares.max()! >= 0.9, "\(shares)")
    }
  }

  /// Sixteen elements of `relu((a * b + c) * s)` take a load for each operand and a store, an instruction for
  /// each operation and two for the choice, and what it takes to go on.
  @Test(.enabled(if: CodeMemory.unsupported == nil)) func aChainOfOperations() throws {
    var sketch = LoopSketch()
    let leaves = (0..<3).map { _ in sketch.leaf([1000], .float32) }
    var x = sketch.op(.mul, .float32, leaves[0], leaves[1])
    x = sketch.op(.add, .float32, x, leaves[2])
    x = sketch.op(.mul, .float32, x, sketch.scalar(0.5, .float32))
    sketch.root(sketch.op(.relu, .float32, x))
    let plan = PlanRunner.plan(sketch.graph, for: .neon)
    let loop = try #require(plan.kernels[0].nativeLoop)
    let block = try #require(loop.routine.owner as? CodeBlock)
    let code = [UInt8](UnsafeRawBufferPointer(start: block.entry, count: block.byteCount))
    let longest = try #require(Self.loops(Self.words(code)).max { $0.count < $1.count })
    #expect(longest.count <= 4 * (4 + 3 + 2) + 4 + 3, "\(longest.count) instructions")
    withExtendedLifetime(plan) {}
  }
}
