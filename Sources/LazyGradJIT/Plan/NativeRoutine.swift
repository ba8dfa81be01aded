// How a plan keeps machine code: addresses, and who owns the memory. Here because kernels carry it;
// it is made in Codegen and called in Execute.

/// A function of machine code. Whoever keeps the address keeps the owner.
package struct NativeRoutine: @unchecked Sendable {
  package let entry: UnsafeRawPointer
  /// Keeps the code's memory.
  package let owner: AnyObject

  package init(entry: UnsafeRawPointer, owner: AnyObject) {
    self.entry = entry
    self.owner = owner
  }
}

/// Machine code for a kernel's matrix product.
package struct NativeProduct: @unchecked Sendable {
  package let entry: UnsafeRawPointer
  /// The same for the narrower last chunk of a product that is split by columns.
  package let edgeEntry: UnsafeRawPointer
  /// Columns of C that are worked on together: B is packed in strips of these.
  package let strip: Int
  package let edgeStrip: Int

  package init(
    entry: UnsafeRawPointer, edgeEntry: UnsafeRawPointer, strip: Int, edgeStrip: Int
  ) {
    self.entry = entry
    self.edgeEntry = edgeEntry
    self.strip = strip
    self.edgeStrip = edgeStrip
  }
}
