// How the portable kernels round a product that is added to something: asked here by whatever computes one.
// Uses nothing else.

/// The arithmetic of the portable kernels.
package enum PortableArithmetic {
  /// Whether a multiplication and the addition behind it round once, wherever a kernel is free to choose: in
  /// products of matrices and in polynomials, never in a user's `a * b + c`.
  ///
  /// They do where every processor that the library is compiled for has one instruction for both. Then the
  /// portable kernels give the bits of machine code. On x86-64 a program has to run without that instruction,
  /// and the C library's function for it takes 20 times as long, so they round twice there.
  @inline(__always)
  package static var isFused: Bool {
    #if arch(arm64)
      true
    #else
      false
    #endif
  }
}
