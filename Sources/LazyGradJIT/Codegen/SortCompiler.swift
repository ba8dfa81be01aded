// Gives moves that sort machine code. Uses the generator and KernelCache.

package enum SortCompiler {
  /// Machine code for keys of some bytes; nil where there is none.
  package static func code(keyBytes: Int, _ instructionSet: InstructionSet) -> NativeSort? {
    guard instructionSet == .avx512, keyBytes == 4 || keyBytes == 8 else { return nil }
    let isWide = keyBytes == 8
    func routine(_ step: UInt64, _ code: () -> [UInt8]) -> NativeRoutine? {
      KernelCache.shared.routine(
        for: KernelKey(.sort, instructionSet, [UInt64(keyBytes), step]), make: code)
    }
    guard let parting = routine(0, { SortGenerator.parting(isWide: isWide) }),
      let ordering = routine(1, { SortGenerator.ordering(isWide: isWide) })
    else { return nil }
    return NativeSort(
      parting: parting, ordering: ordering,
      mostOrdered: SortGenerator.mostOrdered(isWide: isWide))
  }

  /// Gives a move its code, if it sorts elements.
  static func prepare(_ move: inout MoveKernel, _ instructionSet: InstructionSet) {
    guard move.kind == .sort, let order = move.order else { return }
    move.nativeSort = code(keyBytes: order.of.size, instructionSet)
  }
}
