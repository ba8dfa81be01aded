// Gives moves that sort machine code. Uses the generator and KernelCache.

package enum SortCompiler {
  /// Machine code for elements of some type; nil where there is none.
  package static func code(
    _ type: ScalarType, isDescending: Bool, _ instructionSet: InstructionSet
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
    let parting = [false, true].compactMap { orEqual in
      routine(orEqual ? 1 : 0) { SortGenerator.parting(order, orEqual: orEqual) }
    }
    let partingInPlace = [false, true].compactMap { orEqual in
      routine(orEqual ? 3 : 2) { SortGenerator.partingInPlace(order, orEqual: orEqual) }
    }
    guard parting.count == 2, partingInPlace.count == 2,
      let ordering = routine(4, { SortGenerator.ordering(order) })
    else { return nil }
    return NativeSort(
      parting: parting, partingInPlace: partingInPlace, ordering: ordering,
      mostOrdered: SortGenerator.mostOrdered(order), blockBytes: SortGenerator.blockBytes)
  }

  /// Gives a move its code, if it sorts elements.
  static func prepare(_ move: inout MoveKernel, _ instructionSet: InstructionSet) {
    guard move.kind == .sort, let (order, type) = move.order else { return }
    move.nativeSort = code(type, isDescending: order.isDescending, instructionSet)
  }
}
