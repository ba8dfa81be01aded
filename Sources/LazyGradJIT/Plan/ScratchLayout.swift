// How a kernel divides a thread's scratch memory. Uses Core.

/// Where the parts of a thread's scratch memory begin: pointers to the registers, segments of
/// products, accumulators, registers.
struct ScratchLayout {
  static let accumulatorHead = 64
  let segments: Int
  let accumulators: Int
  let accumulatorStride: Int
  let registers: Int
  /// Rows of B in strips, for a product that is split by columns.
  let packed: Int
  let byteCount: Int

  init(
    registers count: Int, terms: Int, terminals: Int, columns: Int, scratchBytes: Int,
    packedBytes: Int
  ) {
    let rounded = ArenaAllocator.rounded
    segments = rounded(count * 8)
    accumulators = segments + rounded(terms * MemoryLayout<MatmulSegment>.stride)
    // A row of sums or a part that isn't complete; vector kernels may touch up to the next multiple
    // of 8 elements.
    accumulatorStride =
      Self.accumulatorHead + rounded(max(columns, Summation.blockLength) * 8) + 64
    registers = accumulators + terminals * accumulatorStride
    packed = registers + rounded(scratchBytes) + 64
    byteCount = packed + rounded(packedBytes)
  }
}
