// How a move that sorts keeps machine code. Here because moves carry it; it is made in Codegen and called in
// Kernels.

/// Machine code that sorts keys of 4 or of 8 bytes, which are compared as numbers without a sign.
package final class NativeSort: Sendable {
  package let steps: SortSteps
  /// Keep the code's memory.
  private let routines: [NativeRoutine]

  package init(parting: NativeRoutine, ordering: NativeRoutine, mostOrdered: Int) {
    steps = SortSteps(parting.entry, ordering.entry, mostOrdered: mostOrdered)
    routines = [parting, ordering]
  }
}

/// The two steps that sorting by parts is made of. Whoever keeps it keeps the `NativeSort`: that is not counted
/// here, because to count takes longer than to sort a few keys.
package struct SortSteps: Sendable {
  /// What a step is called with, and leaves behind.
  package struct Arguments {
    package var from: UnsafeRawPointer
    package var to: UnsafeMutableRawPointer
    /// Behind the last one of `to`; only where keys are parted.
    package var end: UnsafeMutableRawPointer
    package var count: Int
    package var pivot: UInt64
  }
  private typealias Function = @convention(c) (UnsafeMutableRawPointer) -> Void

  private let parting: Function
  private let ordering: Function
  /// The most keys that are put in order in registers.
  package let mostOrdered: Int

  fileprivate init(
    _ parting: UnsafeRawPointer, _ ordering: UnsafeRawPointer, mostOrdered: Int
  ) {
    self.parting = unsafeBitCast(parting, to: Function.self)
    self.ordering = unsafeBitCast(ordering, to: Function.self)
    self.mostOrdered = mostOrdered
  }

  /// Copies the keys below a pivot to the beginning of `to`, in their order, and the others to its end, in any.
  ///
  /// - Parameter to: None of the memory of `from`.
  /// - Returns: How many are below.
  @inline(__always)
  package func part<Key: FixedWidthInteger & UnsignedInteger>(
    _ from: UnsafePointer<Key>, _ count: Int, by pivot: Key, to: UnsafeMutablePointer<Key>
  ) -> Int {
    var arguments = Arguments(
      from: from, to: to, end: to + count, count: count, pivot: UInt64(truncatingIfNeeded: pivot))
    parting(&arguments)
    return to.distance(to: arguments.to.assumingMemoryBound(to: Key.self))
  }

  /// Puts up to `mostOrdered` keys in order, at least one.
  ///
  /// - Parameter to: `from`, or none of its memory.
  @inline(__always)
  package func order<Key: FixedWidthInteger & UnsignedInteger>(
    _ from: UnsafePointer<Key>, _ count: Int, to: UnsafeMutablePointer<Key>
  ) {
    var arguments = Arguments(from: from, to: to, end: to, count: count, pivot: 0)
    ordering(&arguments)
  }
}
