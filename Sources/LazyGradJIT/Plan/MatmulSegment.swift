// What a product kernel is handed per term. Here because plans reserve the memory for it.

/// One term `A @ B` of a sum of products; `A` has any strides, the rows of `B` are contiguous.
package struct MatmulSegment {
  package var a: UnsafeRawPointer
  package var b: UnsafeRawPointer
  /// The length of the summed axis.
  package var k: Int
  /// Elements between rows and between columns of `A`.
  package var aRow: Int
  package var aColumn: Int
  /// Elements between rows of `B`.
  package var bRow: Int

  package init(
    a: UnsafeRawPointer, b: UnsafeRawPointer, k: Int, aRow: Int, aColumn: Int, bRow: Int
  ) {
    self.a = a
    self.b = b
    self.k = k
    self.aRow = aRow
    self.aColumn = aColumn
    self.bRow = bRow
  }
}
