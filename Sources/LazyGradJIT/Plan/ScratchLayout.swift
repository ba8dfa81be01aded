// How a kernel divides a thread's scratch memory. Uses Core.

/// Where the parts of a thread's scratch memory begin: pointers to the registers, segments of
/// products, accumulators, registers.
struct ScratchLayout {
  static let accumulatorHead = 128
  let segments: Int
  let accumulators: Int
  let accumulatorStride: Int
  let registers: Int
  /// Rows of B in strips, for a product that is split by columns.
  let packed: Int
  /// Sums of stretches of a product, which wait for those that they are added to.
  let stretches: Int
  let stretchStride: Int
  let byteCount: Int

  init(
    registers count: Int, terms: Int, terminals: [LoopKernel.Terminal], columns: Int,
    scratchBytes: Int, packedBytes: Int, stretchBytes: Int, stretchLevels: Int
  ) {
    let rounded = ArenaAllocator.rounded
    segments = rounded(count * 8)
    accumulators = segments + rounded(terms * MemoryLayout<MatmulSegment>.stride)
    // A part that isn't complete, or a row of sums and those of runs that wait.
    let accumulated = terminals.map {
      $0.kind == .columns && $0.search == nil
        ? (1 + $0.levels) * Self.rowBytes(columns: columns) : Summation.blockLength * 8
    }
    accumulatorStride = Self.accumulatorHead + rounded(accumulated.max() ?? 0) + 64
    registers = accumulators + terminals.count * accumulatorStride
    packed = registers + rounded(scratchBytes) + 64
    stretches = packed + rounded(packedBytes)
    stretchStride = rounded(stretchBytes)
    byteCount = stretches + stretchLevels * stretchStride
  }

  /// Bytes of a row of sums: vector kernels may touch up to the next multiple of 8 elements.
  static func rowBytes(columns: Int) -> Int { ArenaAllocator.rounded(columns * 8) }
}
