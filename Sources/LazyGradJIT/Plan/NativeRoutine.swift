// How a plan keeps machine code: an address and whoever owns the memory. Here because kernels carry
// it; it is made in Codegen and called in Execute.

/// Machine code that does a part of a kernel's work.
package struct NativeRoutine: @unchecked Sendable {
  package let entry: UnsafeRawPointer
  /// Keeps the code's memory.
  package let owner: AnyObject

  package init(entry: UnsafeRawPointer, owner: AnyObject) {
    self.entry = entry
    self.owner = owner
  }
}
