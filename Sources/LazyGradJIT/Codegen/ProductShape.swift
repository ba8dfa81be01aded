// What emitted products can do: which operands, how many rows and columns, and how these are cut into tiles. The
// folder of each machine has the generators, ProductCompiler says what is emitted for which kernel.

/// What one emitted function can do. Plain data: it is the key under which the code is found.
package struct ProductShape: Hashable, Sendable {
  /// How the elements of A that a step needs lie in memory.
  package enum Left: UInt8, Sendable {
    /// The summed axis is contiguous.
    case rows
    /// The rows follow each other: A is transposed.
    case columns
    /// Neither.
    case strided
  }
  package var instructionSet: InstructionSet
  package var isDouble: Bool
  package var left: Left
  /// Columns of C.
  package var columns: Int
  /// The numbers of rows that the function is called for, ascending.
  package var heights: [Int]
  /// Whether A and C are too large for the second-level cache: they are asked for a tile ahead.
  package var prefetches: Bool
  /// Whether the function is asked for the transposed product: it takes B for A and A for B. For
  /// one column and a transposed A that is one row, and an A whose rows are runs.
  package var isTransposed: Bool
  /// Whether the function can write C past the caches: then its rows are whole cache lines.
  package var streams: Bool

  package init(
    instructionSet: InstructionSet, isDouble: Bool, left: Left, columns: Int, heights: [Int],
    prefetches: Bool = false, isTransposed: Bool = false, streams: Bool = false
  ) {
    self.instructionSet = instructionSet
    self.isDouble = isDouble
    self.left = left
    self.columns = columns
    self.heights = heights
    self.prefetches = prefetches
    self.isTransposed = isTransposed
    self.streams = streams
  }

  /// The shape for which code is made: a single column of a transposed A as a row.
  package var turned: ProductShape {
    guard columns == 1, left == .columns, heights.count == 1 else { return self }
    return ProductShape(
      instructionSet: instructionSet, isDouble: isDouble, left: .strided, columns: heights[0],
      heights: [1], prefetches: prefetches, isTransposed: true)
  }

  var elementSize: Int { isDouble ? 8 : 4 }
  /// Elements in a register.
  package var lanes: Int { instructionSet.target.vectorBytes / elementSize }
  /// Registers that a row of C takes.
  var registersPerRow: Int { (columns + lanes - 1) / lanes }

  /// Registers per row of a tile. Few rows need wide tiles: a multiply-add takes four steps until the
  /// next one of its chain can begin, so eight or more chains must be under way. A single row reads B
  /// once, in pieces as long as the registers allow.
  package var tileVectors: Int {
    let tallest = heights.last ?? 1
    let limit: Int
    switch (tallest, instructionSet) {
    case (1, .neon): limit = 16
    case (2, .neon): limit = 8
    case (_, .neon): limit = 4
    case (1, .avx512): limit = 24
    case (1, _): limit = 12
    case (2, _), (_, .avx512): limit = 4
    case (3, _): limit = 3
    default: limit = 2
    }
    let strips = (registersPerRow + limit - 1) / limit
    return max((registersPerRow + strips - 1) / strips, 1)
  }

  /// The largest number of rows of a tile: 24 sums in 32 registers, or 12 in 16. There are cursors
  /// for 12 rows of A. With Neon there are 16 sums, and cursors for 4 rows: the other registers hold elements of
  /// A for several steps.
  package var tileRows: Int {
    switch instructionSet {
    case .neon: min(16 / tileVectors, 4)
    case .avx512: min(24 / tileVectors, 12)
    case .avx2, .portable: min(12 / tileVectors, 12)
    }
  }

  /// The machine code of a function of `ProductArguments`.
  package func code() -> [UInt8] {
    if instructionSet == .neon {
      return isMatrixVector
        ? NeonMatrixVectorGenerator.code(for: self) : NeonProductGenerator.code(for: self)
    }
    return isMatrixVector ? MatrixVectorGenerator.code(for: self) : ProductGenerator.code(for: self)
  }

  /// The machine code of a function of `PackArguments` for this shape's B.
  package func packingCode() -> [UInt8] {
    instructionSet == .neon ? NeonPackGenerator.code(for: self) : PackGenerator.code(for: self)
  }

  /// Whether the code is that of MatrixVectorGenerator, which cuts the summed axis itself.
  package var isMatrixVector: Bool { columns == 1 && left == .rows }
}
