// Memory between two pages that nobody may touch: a load or store one byte too far is a signal.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Bytes that begin or end at an unreadable page.
package final class FencedMemory {
  /// Which fence the bytes touch.
  package enum Side: CaseIterable, Sendable { case start, end }

  package let pointer: UnsafeMutableRawPointer
  private let map: UnsafeMutableRawPointer
  private let mapBytes: Int

  package init(byteCount: Int, at side: Side) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let inside = max((byteCount + page - 1) / page, 1) * page
    mapBytes = inside + 2 * page
    map = mmap(nil, mapBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    precondition(map != MAP_FAILED, "fenced memory: no memory")
    mprotect(map + page, inside, PROT_READ | PROT_WRITE)
    pointer = map + page + (side == .start ? 0 : inside - byteCount)
  }

  deinit { munmap(map, mapBytes) }
}
