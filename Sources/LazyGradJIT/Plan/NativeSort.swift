// How a move that sorts keeps machine code. Here because moves carry it; it is made in Codegen and called in
// Kernels.

/// Machine code that sorts elements of one type in one order.
package final class NativeSort: Sendable {
  /// What parts elements by a pivot.
  package struct Parting: Sendable {
    /// What comes before the pivot, and what comes before or is equal; elsewhere, and where it is.
    package let before: NativeRoutine
    package let notAfter: NativeRoutine
    package let beforeInPlace: NativeRoutine
    package let notAfterInPlace: NativeRoutine
    /// Bytes that are read at a time in place.
    package let blockBytes: Int

    package init(
      before: NativeRoutine, notAfter: NativeRoutine, beforeInPlace: NativeRoutine,
      notAfterInPlace: NativeRoutine, blockBytes: Int
    ) {
      self.before = before
      self.notAfter = notAfter
      self.beforeInPlace = beforeInPlace
      self.notAfterInPlace = notAfterInPlace
      self.blockBytes = blockBytes
    }
  }

  package let steps: SortSteps
  /// Keep the code's memory.
  private let ordering: NativeRoutine
  private let parting: Parting?

  /// - Parameters:
  ///   - mostOrdered: The most elements that `ordering` takes.
  ///   - parting: nil where no run is longer.
  package init(ordering: NativeRoutine, mostOrdered: Int, parting: Parting?) {
    self.ordering = ordering
    self.parting = parting
    steps = SortSteps(ordering, mostOrdered: mostOrdered, parting)
  }
}

/// The steps that sorting by parts is made of. Whoever keeps it keeps the `NativeSort`: that is not counted here,
/// because to count takes longer than to sort a few elements.
///
/// No element may be a NaN or -0.
package struct SortSteps: Sendable {
  /// What a step is called with, and leaves behind.
  package struct Arguments {
    package var from: UnsafeMutableRawPointer
    package var to: UnsafeMutableRawPointer
    /// Behind the last one of `to`; only where elements are parted.
    package var end: UnsafeMutableRawPointer
    /// Elements; in place: blocks of them.
    package var count: Int
    package var pivot: UnsafeRawPointer
  }
  private typealias Function = @convention(c) (UnsafeMutableRawPointer) -> Void

  private struct PartingSteps {
    let before: Function
    let notAfter: Function
    let beforeInPlace: Function
    let notAfterInPlace: Function
  }

  private let ordering: Function
  private let parting: PartingSteps?
  /// The most elements that are put in order in registers.
  package let mostOrdered: Int
  private let blockBytes: Int

  fileprivate init(_ ordering: NativeRoutine, mostOrdered: Int, _ parting: NativeSort.Parting?) {
    func function(_ routine: NativeRoutine) -> Function {
      unsafeBitCast(routine.entry, to: Function.self)
    }
    self.ordering = function(ordering)
    self.mostOrdered = mostOrdered
    self.parting = parting.map {
      PartingSteps(
        before: function($0.before), notAfter: function($0.notAfter),
        beforeInPlace: function($0.beforeInPlace), notAfterInPlace: function($0.notAfterInPlace))
    }
    blockBytes = parting?.blockBytes ?? 0
  }

  /// Whether there is what parts longer runs.
  package var canPart: Bool { parting != nil }

  /// Bytes that parting in place takes to work in.
  package var partingBytes: Int { 3 * blockBytes }

  /// Copies the elements before a pivot, and with `orEqual` what is equal to it, to the beginning of `to`, in their
  /// order, and the others to its end, in any.
  ///
  /// - Parameter to: None of the memory of `from`.
  /// - Returns: How many are at the beginning.
  @inline(__always)
  package func part<Element: BitwiseCopyable>(
    _ from: UnsafeMutablePointer<Element>, _ count: Int, by pivot: Element, orEqual: Bool,
    to: UnsafeMutablePointer<Element>
  ) -> Int {
    withUnsafePointer(to: pivot) { pivot in
      var arguments = Arguments(from: from, to: to, end: to + count, count: count, pivot: pivot)
      (orEqual ? parting!.notAfter : parting!.before)(&arguments)
      return to.distance(to: arguments.to.assumingMemoryBound(to: Element.self))
    }
  }

  /// Does so where the elements are, and keeps no order.
  ///
  /// The first and the last block are laid by, which makes a gap between what has been written and what has not been
  /// read on either side; at last they are parted with what is less than a block, into what is left of the gaps.
  ///
  /// - Parameters:
  ///   - count: As many as two blocks, or more.
  ///   - work: `partingBytes` of other memory.
  package func partInPlace<Element: BitwiseCopyable>(
    _ elements: UnsafeMutablePointer<Element>, _ count: Int, by pivot: Element, orEqual: Bool,
    _ work: UnsafeMutablePointer<Element>
  ) -> Int {
    let block = blockBytes / MemoryLayout<Element>.size
    let blocks = count / block - 2
    work.update(from: elements, count: block)
    (work + block).update(from: elements + (count - block), count: block)
    return withUnsafePointer(to: pivot) { pivot in
      var arguments = Arguments(
        from: elements + block, to: elements, end: elements + count, count: blocks, pivot: pivot)
      if blocks > 0 {
        (orEqual ? parting!.notAfterInPlace : parting!.beforeInPlace)(&arguments)
      }
      let rest = count - (blocks + 2) * block
      (work + 2 * block).update(
        from: arguments.from.assumingMemoryBound(to: Element.self), count: rest)
      arguments.from = UnsafeMutableRawPointer(work)
      arguments.count = 2 * block + rest
      (orEqual ? parting!.notAfter : parting!.before)(&arguments)
      return elements.distance(to: arguments.to.assumingMemoryBound(to: Element.self))
    }
  }

  /// Puts up to `mostOrdered` elements in order, at least one.
  ///
  /// - Parameter to: `from`, or none of its memory.
  @inline(__always)
  package func order<Element: BitwiseCopyable>(
    _ from: UnsafeMutablePointer<Element>, _ count: Int, to: UnsafeMutablePointer<Element>
  ) {
    var arguments = Arguments(from: from, to: to, end: to, count: count, pivot: from)
    ordering(&arguments)
  }
}
