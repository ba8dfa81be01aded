// Gives moves that sort machine code. Uses the generator and KernelCache.

package enum SortCompiler {
  /// Machine code for runs of some elements of a type; nil where there is none.
  package static func code(
    _ type: ScalarType, isDescending: Bool, length: Int, _ instructionSet: InstructionSet
  ) -> NativeSort? {
    switch type {
    case .float32, .float64, .int32, .int64: break
    case .float16, .bfloat16, .uint8, .bool: return nil
    }
    guard instructionSet == .avx512 else { return nil }
    let order = ElementOrder(type, isDescending: isDescending)
    func routine(_ step: UInt64, _ code: () -> [UInt8]) -> NativeRoutine? {
      KernelCache.shared.routine(
        for: KernelKey(
          .sort, instructionSet, [UInt64(type.rawValue), isDescending ? 1 : 0, step]), make: code)
    }
    let isShort = length <= SortGenerator.mostOrdered(order, isShort: true)
    let mostOrdered = SortGenerator.mostOrdered(order, isShort: isShort)
    guard
      let ordering = routine(
        isShort ? 0 : 1, { SortGenerator.ordering(order, isShort: isShort) })
    else { return nil }
    if length <= mostOrdered {
      return NativeSort(ordering: ordering, mostOrdered: mostOrdered, parting: nil)
    }
    guard
      let before = routine(2, { SortGenerator.parting(order, orEqual: false) }),
      let notAfter = routine(3, { SortGenerator.parting(order, orEqual: true) }),
      let beforeInPlace = routine(4, { SortGenerator.partingInPlace(order, orEqual: false) }),
      let notAfterInPlace = routine(5, { SortGenerator.partingInPlace(order, orEqual: true) })
    else { return nil }
    return NativeSort(
      ordering: ordering, mostOrdered: mostOrdered,
      parting: NativeSort.Parting(
        before: before, notAfter: notAfter, beforeInPlace: beforeInPlace,
        notAfterInPlace: notAfterInPlace, blockBytes: SortGenerator.blockBytes))
  }

  /// Gives a move its code, if it sorts elements.
  static func prepare(_ move: inout MoveKernel, _ instructionSet: InstructionSet) {
    guard move.kind == .sort, let (order, type) = move.order else { return }
    move.nativeSort = code(
      type, isDescending: order.isDescending, length: move.runs.length, instructionSet)
  }
}
