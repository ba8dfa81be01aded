// Sorting by parts with machine code: quicksort in vectors. Uses SortSteps.

/// Sorts elements: what comes before a pivot goes before the rest, and so on in both parts until they are short
/// enough to be put in order in registers.
///
/// Long runs are parted where they are. Those of which two fit the nearest cache are parted from one memory to
/// another and back, which takes less: what is written is not read soon. A pivot is the median of a few elements;
/// after too many bad ones, which takes elements that somebody has laid out for that, the rest is left to
/// `byDigits`.
package struct PartitionSort<Element: BitwiseCopyable> {
  let code: SortSteps
  /// Memory for `mostInTurns` elements.
  let spare: UnsafeMutablePointer<Element>
  /// The longest run that is parted from one memory to another.
  let mostInTurns: Int
  /// Sorts elements where they are.
  let byDigits: (UnsafeMutablePointer<Element>, Int) -> Void

  /// The length in bytes of what is parted from one memory to another where nobody says otherwise.
  package static var bytesInTurns: Int { 16 << 10 }

  /// - Parameters:
  ///   - spare: Memory for `mostInTurns` elements, and for `partingBytes`.
  package init(
    code: SortSteps, spare: UnsafeMutablePointer<Element>,
    mostInTurns: Int = bytesInTurns / MemoryLayout<Element>.size,
    byDigits: @escaping (UnsafeMutablePointer<Element>, Int) -> Void
  ) {
    self.code = code
    self.spare = spare
    self.mostInTurns = mostInTurns
    self.byDigits = byDigits
  }

  /// - Parameter depth: How often elements may be parted.
  package func sort(_ elements: UnsafeMutablePointer<Element>, _ count: Int, depth: Int) {
    var (elements, count, depth) = (elements, count, depth)
    while count > max(mostInTurns, code.mostOrdered) {
      if depth == 0 { return byDigits(elements, count) }
      depth -= 1
      let pivot = pivot(of: elements, count)
      var before = code.partInPlace(elements, count, by: pivot, orEqual: false, spare)
      if before > 0 {
        sort(elements, before, depth: depth)
      } else {
        // The pivot comes before all others: those that equal it are where they belong.
        before = code.partInPlace(elements, count, by: pivot, orEqual: true, spare)
      }
      elements += before
      count -= before
    }
    sort(from: elements, spare, to: elements, count, depth: depth)
  }

  /// - Parameters:
  ///   - from: Where the elements are: in the memory that they are to be in, or in the other one.
  ///   - other: The other one of the two.
  private func sort(
    from: UnsafeMutablePointer<Element>, _ other: UnsafeMutablePointer<Element>,
    to: UnsafeMutablePointer<Element>, _ count: Int, depth: Int
  ) {
    var (from, other, to, count, depth) = (from, other, to, count, depth)
    while count > code.mostOrdered {
      if depth == 0 {
        if from != to { to.update(from: from, count: count) }
        return byDigits(to, count)
      }
      depth -= 1
      let pivot = pivot(of: from, count)
      var before = code.part(from, count, by: pivot, orEqual: false, to: other)
      if before > 0 {
        sort(from: other, from, to: to, before, depth: depth)
      } else {
        before = code.part(from, count, by: pivot, orEqual: true, to: other)
        to.update(from: other, count: before)
      }
      (from, other) = (other + before, from + before)
      to += before
      count -= before
    }
    if count > 0 { code.order(from, count, to: to) }
  }

  /// The median of a few elements that lie evenly.
  private func pivot(of elements: UnsafeMutablePointer<Element>, _ count: Int) -> Element {
    let samples = count < 4096 ? 16 : 64
    return withUnsafeTemporaryAllocation(of: Element.self, capacity: samples) { some in
      let some = some.baseAddress!
      let step = count / samples
      for i in 0..<samples { (some + i).initialize(to: elements[step / 2 + i * step]) }
      code.order(some, samples, to: some)
      return some[samples / 2]
    }
  }
}
