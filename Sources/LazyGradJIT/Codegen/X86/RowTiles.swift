// What the functions of products have in common: how they cut rows into tiles, and how they find the path for
// the number of rows that they are called for. Uses the assembler.

enum RowTiles {
  /// A number of rows in tiles of at most `limit`: as equal as possible, the taller ones first.
  static func cut(_ height: Int, atMost limit: Int) -> [(rows: Int, count: Int)] {
    let count = (height + limit - 1) / limit
    let (low, taller) = height.quotientAndRemainder(dividingBy: count)
    return [(low + 1, taller), (low, count - taller)].filter { $0.1 > 0 && $0.0 > 0 }
  }
}

extension Assembler {
  /// Jumps to the path for the number of rows in a register.
  ///
  /// - Parameter heights: The numbers that occur, ascending. The last one needs no test: the caller asks for
  ///   no other.
  /// - Returns: The heights with their paths, in the order in which they must follow: the last one at once.
  mutating func jump(byRows counter: GPR, _ heights: [Int]) -> [(height: Int, path: Label)] {
    let paths = heights.map { (height: $0, path: label()) }
    for (height, path) in paths.dropLast() {
      cmp(counter, height)
      jump(.equal, path)
    }
    return paths.reversed()
  }
}
