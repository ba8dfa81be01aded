// Transposed copies by machine code: shapes around the tiles, on fenced memory, against the plain
// definition. What the tiles leave over is done by the portable copy, so both are in play.

import LazyGradJIT
import TestSupport
import Testing

@Suite(.enabled(if: TransposeCode.active(elementSize: 4) != nil)) struct TransposeTests {
  private static func check<T: FixedWidthInteger>(
    _: T.Type, height: Int, width: Int, flush: FencedMemory.Flush
  ) {
    let size = MemoryLayout<T>.size
    let from = FencedMemory(byteCount: height * width * size, flush: flush)
    let to = FencedMemory(byteCount: height * width * size, flush: flush)
    let (x, y) = (from.bound(to: T.self), to.bound(to: T.self))
    for i in 0..<(height * width) { x[i] = T(truncatingIfNeeded: i) }
    let id = LayoutTable.shared.intern(dims: [height, width], strides: [1, height])
    let code = TransposeCode.active(elementSize: size)!
    Strided.copy(
      elementSize: size, from: from.pointer, layout: LayoutTable.shared[id], to: to.pointer
    ) {
      code.run(elementSize: size, from: $0, step: $1, to: $2, rowStep: $3, height: $4, width: $5)
    }
    var wrong = 0
    for i in 0..<height {
      for j in 0..<width where y[i * width + j] != T(truncatingIfNeeded: i + j * height) {
        wrong += 1
      }
    }
    #expect(wrong == 0, "\(T.self) \(height) x \(width)")
  }

  @Test(arguments: FencedMemory.Flush.allCases) func everyShape(_ flush: FencedMemory.Flush) {
    for height in [4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 70, 130] {
      for width in [4, 5, 8, 15, 16, 17, 31, 33, 64, 66, 79, 129] {
        Self.check(UInt32.self, height: height, width: width, flush: flush)
        Self.check(UInt64.self, height: height, width: width, flush: flush)
      }
    }
  }

  /// Large enough for stores past the caches, aligned and not.
  @Test(arguments: FencedMemory.Flush.allCases) func large(_ flush: FencedMemory.Flush) {
    Self.check(UInt32.self, height: 1472, width: 1536, flush: flush)
    Self.check(UInt64.self, height: 1026, width: 1088, flush: flush)
    Self.check(UInt32.self, height: 1501, width: 1500, flush: flush)
  }
}
