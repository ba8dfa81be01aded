// Whether the system has memory for something that Swift would end the program for. Uses StoragePool's
// errors and nothing later in the pipeline.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Memory outside of the pool: Swift arrays of results and indices.
package enum SystemMemory {
  /// Less than this is not asked for: without it nothing works any more.
  private static let threshold = 1 << 16
  /// What an array needs beside its elements, with room to spare.
  private static let surplus = 1 << 12

  /// Makes sure that there is memory for a Swift array that is about to be made. An array can't be asked
  /// for in a way that may fail, so the same amount is taken from the system and given back; where
  /// another thread takes it meanwhile, nothing helps.
  ///
  /// - Complexity: two calls of the system's allocator, from 64 KiB on.
  package static func require(_ byteCount: Int) throws(StorageError) {
    if byteCount < threshold { return }
    let (whole, overflow) = byteCount.addingReportingOverflow(surplus)
    // Not `malloc`: the optimiser knows that, and drops what is only given back.
    var block: UnsafeMutableRawPointer?
    guard !overflow, posix_memalign(&block, 64, whole) == 0 else {
      throw .outOfMemory(byteCount: byteCount, limit: StoragePool.shared.bytesAllowed)
    }
    free(block)
  }

  /// The same for a number of elements of some size.
  package static func require(_ count: Int, of size: Int) throws(StorageError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
    try require(overflow ? .max : bytes)
  }
}
