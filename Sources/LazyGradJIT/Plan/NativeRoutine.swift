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
  /// What works off a chunk.
  package struct Part: @unchecked Sendable {
    package var entry: UnsafeRawPointer
    /// Packs the chunk's columns of B, where the product is split by columns.
    package var packing: UnsafeRawPointer?
    /// Columns of C that are worked on together: B is packed in strips of these.
    package var strip: Int
    /// How much of the summed axis a call takes.
    package var depth: Int
    /// Whether C is to be written past the caches where it begins with a cache line.
    package var streams: Bool
    /// Whether the function takes numbers of rows that are powers of two, up to `largestPiece`.
    package var isPieced = false
    /// Whether the function takes all terms at once, by a table of their addresses: products with a summed axis
    /// of length 1.
    package var isOuterSum = false

    private static let largestPiece = 128

    /// How many of some rows a call takes.
    @inline(__always)
    package func piece(of rows: Int) -> Int {
      isPieced ? Self.largestPiece(of: rows) : rows
    }

    /// The largest power of two that is not above some rows and `largestPiece`.
    @inline(__always)
    package static func largestPiece(of rows: Int) -> Int {
      min(1 << (Int.bitWidth - 1 - rows.leadingZeroBitCount), largestPiece)
    }

    package init(
      entry: UnsafeRawPointer, packing: UnsafeRawPointer?, strip: Int, depth: Int, streams: Bool
    ) {
      self.entry = entry
      self.packing = packing
      self.strip = strip
      self.depth = depth
      self.streams = streams
    }
  }
  package let main: Part
  /// The same for the last chunk of a product that is split by columns, which may be narrower.
  package let last: Part

  package init(main: Part, last: Part) {
    self.main = main
    self.last = last
  }
}
