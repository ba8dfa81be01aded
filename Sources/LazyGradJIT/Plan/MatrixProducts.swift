// How a routine on large matrices keeps machine code for its products. Here because moves carry it; it is made in
// Codegen and called in Kernels.

/// Products that round a multiplication and the addition behind it once, with machine code or without.
package final class MatrixProducts: Sendable {
  /// Code for some columns of C, any number of rows that is a power of two, and an A whose rows are runs.
  package struct Strip: Sendable {
    package let columns: Int
    /// Elements from one strip of B to the next, where these columns are several.
    package let step: Int
    package let function: ProductArguments.Function
    /// Keeps the code's memory.
    private let routine: NativeRoutine

    package init(_ routine: NativeRoutine, columns: Int, step: Int) {
      self.columns = columns
      self.step = step
      self.routine = routine
      function = unsafeBitCast(routine.entry, to: ProductArguments.Function.self)
    }
  }
  /// Columns of the strips that may come one beside the other. A narrower one is for what is left behind them.
  package static let widths = [64, 16]

  /// The widest first; none where there is no machine code.
  package let strips: [Strip]

  package init(_ strips: [Strip]) { self.strips = strips }
}
