// How a matrix product's machine code is called. Here because plans keep the calls of small products
// ready; the code is made in Codegen and called in Execute.

/// What an emitted product is called with. Distances are in bytes.
package struct ProductArguments {
  package var a: UnsafeRawPointer
  package var b: UnsafeRawPointer
  package var c: UnsafeMutableRawPointer
  /// Rows of C, one of the shape's heights.
  package var rows: Int
  /// The length of the summed axis.
  package var depth: Int
  package var aRow: Int
  package var aColumn: Int
  package var bRow: Int
  package var cRow: Int
  /// From one strip of B to the next.
  package var bStrip: Int
  /// 1 to add to C, 0 to overwrite it.
  package var accumulates: Int
  /// 1 to overwrite C past the caches, for code that can; C must begin with a cache line.
  package var streams = 0

  package init(
    a: UnsafeRawPointer, b: UnsafeRawPointer, c: UnsafeMutableRawPointer, rows: Int, depth: Int,
    aRow: Int, aColumn: Int, bRow: Int, cRow: Int, bStrip: Int, accumulates: Bool
  ) {
    self.a = a
    self.b = b
    self.c = c
    self.rows = rows
    self.depth = depth
    self.aRow = aRow
    self.aColumn = aColumn
    self.bRow = bRow
    self.cRow = cRow
    self.bStrip = bStrip
    self.accumulates = accumulates ? 1 : 0
  }

  package typealias Function = @convention(c) (UnsafeRawPointer) -> Void

  /// Rows of A that are worked on with one packed strip of B: with 256 of the summed axis and 128
  /// packed columns they fill a quarter of a second-level cache.
  package static let packedRows = 120
}

/// One call of a product's machine code with everything but the addresses of its arrays.
///
/// What a kernel is made of stands in a dozen places; a product of 16 x 16 matrices takes no longer
/// than to gather it. So for small products that nothing is fused with it is gathered once.
package struct ProductCall: @unchecked Sendable {
  /// The code; the kernel keeps it.
  let entry: UnsafeRawPointer
  let a: Place
  let b: Place
  let c: Place
  /// The addresses in it mean nothing.
  let arguments: ProductArguments
}
