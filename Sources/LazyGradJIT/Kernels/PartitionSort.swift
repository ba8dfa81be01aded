// Sorting by parts with machine code: quicksort in vectors. Uses SortSteps.

/// Sorts keys: what is below a pivot goes before the rest, and so on in both parts until they are short enough to
/// be put in order in registers.
///
/// Parts go from one memory to another and back, so that they are read and written in order and nothing is
/// exchanged. A pivot is the median of a few keys, or of a few medians; after too many bad ones, which takes
/// keys that somebody has laid out for that, the rest is left to `byDigits`.
package struct PartitionSort<Key: FixedWidthInteger & UnsignedInteger & BitwiseCopyable> {
  let code: SortSteps
  /// The sorted keys go here.
  let target: UnsafeMutablePointer<Key>
  /// Sorts keys in the first memory, or by way of it in the second; tells where they are.
  let byDigits:
    (UnsafeMutablePointer<Key>, UnsafeMutablePointer<Key>, Int) -> UnsafeMutablePointer<Key>

  package init(
    code: SortSteps, target: UnsafeMutablePointer<Key>,
    byDigits:
      @escaping (UnsafeMutablePointer<Key>, UnsafeMutablePointer<Key>, Int) ->
      UnsafeMutablePointer<Key>
  ) {
    self.code = code
    self.target = target
    self.byDigits = byDigits
  }

  /// - Parameters:
  ///   - from: Where the keys are: in `target`, or in the other memory.
  ///   - spare: The other one of the two.
  ///   - depth: How often they may be parted.
  package func sort(
    _ from: UnsafeMutablePointer<Key>, _ spare: UnsafeMutablePointer<Key>, _ range: Range<Int>,
    depth: Int
  ) {
    var (from, spare, depth) = (from, spare, depth)
    var (start, count) = (range.lowerBound, range.count)
    while count > code.mostOrdered {
      if depth == 0 {
        let sorted = byDigits(from + start, spare + start, count)
        if sorted != target + start { (target + start).update(from: sorted, count: count) }
        return
      }
      depth -= 1
      let pivot = pivot(of: from + start, count)
      let below = code.part(from + start, count, by: pivot, to: spare + start)
      if below > 0 {
        sort(spare, from, start..<start + below, depth: depth)
        (from, spare) = (spare, from)
        start += below
        count -= below
        continue
      }
      // The pivot is the least of all: those that equal it are where they belong.
      let equal =
        pivot == .max
        ? count : code.part(from + start, count, by: pivot + 1, to: spare + start)
      (target + start).update(repeating: pivot, count: equal)
      if equal == count { return }
      (from, spare) = (spare, from)
      start += equal
      count -= equal
    }
    if count > 0 { code.order(from + start, count, to: target + start) }
  }

  private func pivot(of keys: UnsafePointer<Key>, _ count: Int) -> Key {
    func median(_ a: Key, _ b: Key, _ c: Key) -> Key {
      max(min(a, b), min(max(a, b), c))
    }
    let step = count / 8
    func median(at place: Int) -> Key {
      median(keys[place], keys[place + step], keys[place + 2 * step])
    }
    if count < 512 { return median(keys[step], keys[count / 2], keys[count - 1 - step]) }
    return median(median(at: 0), median(at: 3 * step), median(at: count - 1 - 2 * step))
  }
}
