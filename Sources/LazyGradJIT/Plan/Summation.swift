// The order in which floats are summed, as far as it is anybody's choice. Here because the planner
// must know what it may join without changing a bit; the kernels follow it.

/// How long sums are cut, and in which order the parts are added.
///
/// A part is summed by itself, in one sequence or a few lanes; parts are added in pairs, pairs of
/// pairs and so on. Where a sum is cut depends on its own shape and on nothing else. Extremes of
/// everything are cut like sums: then it doesn't depend on anything else either which of two zeros is
/// the largest.
///
/// With u half the distance from 1 to the next number, an element takes part in at most as many
/// additions as a part is long and as there are levels of pairs, so the error is at most
/// (part + log2(n / part)) * u times the sum of the magnitudes, to first order, whatever n is. The
/// long chains are: 16 (float32) or 32 (float64) of everything and of rows, `runRows` and then 8 and 8
/// of columns, `blockDepth` and then 16 blocks of products.
package enum Summation {
  /// Elements of a part of a reduction.
  package static let blockLength = 512
  /// Products of numbers in a part of an element of a matrix product.
  package static let blockDepth = 256
  /// Products of numbers in a stretch: the parts of a stretch are added one after the other where the
  /// element is kept, stretches in pairs.
  package static let stretchDepth = 16 * blockDepth

  /// Rows of a part of a sum of columns. More of them where they are short: to begin a part takes as
  /// long as some hundred elements.
  package static func runRows(columns: Int) -> Int { min(max(4096 / max(columns, 1), 128), 256) }

  /// How often parts are halved until each is one.
  package static func levels(_ parts: Int) -> Int {
    parts <= 1 ? 0 : Int.bitWidth - (parts - 1).leadingZeroBitCount
  }

  /// How many of several parts are added up before the others: the largest power of two that leaves
  /// some. So parts that come one after the other can be added as a binary counter counts.
  package static func firstParts(of parts: Int) -> Int {
    1 << (Int.bitWidth - 1 - (parts - 1).leadingZeroBitCount)
  }

  /// The sum of parts from `first` on.
  static func sum(_ first: Int, _ count: Int, _ part: (Int) -> Double) -> Double {
    if count == 1 { return part(first) }
    let half = firstParts(of: count)
    return sum(first, half, part) + sum(first + half, count - half, part)
  }

  /// The sum of numbers in the order in which parts are added.
  static func sum(_ parts: UnsafePointer<Double>, _ count: Int) -> Double {
    if count == 8 {
      let (a, b) = (parts[0] + parts[1], parts[2] + parts[3])
      let (c, d) = (parts[4] + parts[5], parts[6] + parts[7])
      return (a + b) + (c + d)
    }
    if count <= 1 { return count == 1 ? parts[0] : 0 }
    let half = firstParts(of: count)
    return sum(parts, half) + sum(parts + half, count - half)
  }
}
