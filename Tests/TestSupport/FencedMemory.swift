// Memory between two pages that nobody may touch: code that reads or writes one byte beyond its
// operands ends the process instead of passing by luck.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A block of bytes that begins right after, or ends right before, an inaccessible page.
///
/// Its addresses are never given to anybody else: who uses a pointer to a block that is gone ends the
/// process, instead of changing what lies there by then. So keep the block with `withExtendedLifetime`.
package final class FencedMemory {
  /// Which end of the block is at the fence.
  package enum Flush: CaseIterable, Sendable { case start, end }

  private let mapping: UnsafeMutableRawPointer
  private let mappedBytes: Int
  /// The first byte.
  package let pointer: UnsafeMutableRawPointer

  package init(byteCount: Int, flush: Flush) {
    let page = Int(getpagesize())
    let inner = max((byteCount + page - 1) / page, 1) * page
    mappedBytes = inner + 2 * page
    let flags = MAP_PRIVATE | MAP_ANON
    guard let mapping = mmap(nil, mappedBytes, PROT_NONE, flags, -1, 0), mapping != MAP_FAILED,
      mprotect(mapping + page, inner, PROT_READ | PROT_WRITE) == 0
    else { preconditionFailure("FencedMemory: no memory for \(byteCount) bytes") }
    self.mapping = mapping
    pointer = mapping + page + (flush == .start ? 0 : inner - byteCount)
  }

  deinit {
    // In place of the pages, which are free with that.
    _ = mmap(mapping, mappedBytes, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0)
  }

  /// The block as elements.
  package func bound<T>(to type: T.Type) -> UnsafeMutablePointer<T> {
    pointer.assumingMemoryBound(to: type)
  }
}
