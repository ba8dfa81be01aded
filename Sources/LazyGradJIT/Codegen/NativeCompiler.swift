// Gives the kernels of a new plan machine code. The last step before a plan may be run.

package enum NativeCompiler {
  /// Sets the routines of a plan's kernels, as far as this machine and the kernels allow it; what
  /// has none runs on the portable kernels, with the same bits. Gives the kernels of moves memory to work in.
  /// Called once per plan, before anybody else knows it.
  package static func prepare(_ plan: Plan) { prepare(plan, for: NativeCode.instructionSet) }

  /// As above for an instruction set that this machine has.
  ///
  /// - Parameter refusesCode: sets no routine, as where the memory for code is refused: for tests.
  package static func prepare(
    _ plan: Plan, for instructionSet: InstructionSet, refusesCode: Bool = false
  ) {
    plan.takeInMoves { $0.workBytes }
    plan.takeInMoveCode {
      if !refusesCode { SortCompiler.prepare(&$0, instructionSet) }
      MatrixProductCompiler.prepare(&$0, instructionSet, refusesCode: refusesCode)
    }
    if instructionSet == .portable { return }
    for kernel in plan.kernels {
      kernel.fusesMultiplyAdds = true
      if refusesCode { continue }
      kernel.nativeLoop = LoopCompiler.compile(kernel, instructionSet)
      if kernel.hasProduct { ProductCompiler.prepare(kernel, instructionSet) }
    }
    plan.takeInCode(KernelCalls.calls)
  }
}
