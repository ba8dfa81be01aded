// Recycles the memory of arrays. A training step asks for the same few sizes again and again, and
// a fresh large block costs a page fault every 4 KiB.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import Synchronization

/// Size-classed free lists of 64-byte aligned blocks.
///
/// Four classes per power of two, so at most a fifth of a block is unused. Each class has its own
/// lock and keeps the blocks last given back; what would exceed `cacheLimit` goes to the system.
package final class StoragePool: Sendable {
  package static let shared = StoragePool()

  /// Bytes that may be touched past the end of every block's asked-for size.
  package static let slack = 64
  /// Blocks from this size on are asked to be backed by huge pages.
  private static let hugePageThreshold = 4 << 20
  private static let cacheLimit = 1 << 30

  /// The free blocks of one class. Raw pointers are not `Sendable`; the mutex makes it safe.
  private struct Blocks: @unchecked Sendable {
    var pointers: [UnsafeMutableRawPointer] = []
  }
  private final class Shelf: Sendable {
    let blocks = Lock(Blocks())
  }

  private let shelves = (0..<(4 * 56)).map { _ in Shelf() }
  private let inUse = Atomic<Int>(0)
  private let cached = Atomic<Int>(0)
  private let taken = Atomic<Int>(0)
  private let limit = Atomic<Int>(Settings.memoryLimit)

  /// The class that serves a size. Class `4e + q` holds blocks of `(4 + q) * 2^e * 16` bytes.
  static func sizeClass(_ byteCount: Int) -> Int {
    let units = max((byteCount + 15) >> 4, 4)
    let e = Int.bitWidth - 3 - (units - 1).leadingZeroBitCount
    if e < 0 || units == 4 { return 0 }
    let quarters = (units + (1 << e) - 1) >> e
    return quarters == 8 ? 4 * (e + 1) : 4 * e + quarters - 4
  }

  /// The bytes of a block of a class.
  static func capacity(ofClass index: Int) -> Int { (64 + 16 * (index & 3)) << (index >> 2) }

  func take(
    _ byteCount: Int
  ) throws(StorageError) -> (pointer: UnsafeMutableRawPointer, capacity: Int) {
    let bound = limit.load(ordering: .relaxed)
    guard byteCount >= 0, byteCount <= 1 << 48 else {
      throw .outOfMemory(byteCount: byteCount, limit: bound)
    }
    taken.add(1, ordering: .relaxed)
    let index = Self.sizeClass(byteCount)
    let capacity = Self.capacity(ofClass: index)
    guard inUse.load(ordering: .relaxed) <= bound - capacity else {
      throw .outOfMemory(byteCount: byteCount, limit: bound)
    }
    let reused = shelves[index].blocks.withLock { Block(pointer: $0.pointers.popLast()) }
    if let block = reused.pointer {
      cached.subtract(capacity, ordering: .relaxed)
      inUse.add(capacity, ordering: .relaxed)
      return (block, capacity)
    }
    guard
      let block = allocate(capacity)
        ?? {
          trim(); return allocate(capacity)
        }()
    else { throw .outOfMemory(byteCount: byteCount, limit: bound) }
    inUse.add(capacity, ordering: .relaxed)
    return (block, capacity)
  }

  func give(_ pointer: UnsafeMutableRawPointer, capacity: Int) {
    inUse.subtract(capacity, ordering: .relaxed)
    if cached.load(ordering: .relaxed) + capacity > Self.cacheLimit {
      free(pointer)
      return
    }
    cached.add(capacity, ordering: .relaxed)
    let block = Block(pointer: pointer)
    shelves[Self.sizeClass(capacity)].blocks.withLock { $0.pointers.append(block.pointer!) }
  }

  /// Gives every cached block back to the system.
  package func trim() {
    for (index, shelf) in shelves.enumerated() {
      let blocks = shelf.blocks.withLock { blocks in
        defer { blocks.pointers = [] }
        return blocks
      }
      for block in blocks.pointers { free(block) }
      cached.subtract(blocks.pointers.count * Self.capacity(ofClass: index), ordering: .relaxed)
    }
  }

  /// Bytes held by arrays now.
  package var bytesInUse: Int { inUse.load(ordering: .relaxed) }
  /// Blocks taken since the process began.
  package var blocksTaken: Int { taken.load(ordering: .relaxed) }
  /// Bytes kept for reuse.
  package var bytesCached: Int { cached.load(ordering: .relaxed) }

  /// Sets the number of bytes that arrays may hold together.
  package func setLimit(_ bytes: Int) { limit.store(bytes, ordering: .relaxed) }

  private struct Block: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer?
  }

  private func allocate(_ capacity: Int) -> UnsafeMutableRawPointer? {
    var block: UnsafeMutableRawPointer?
    let isLarge = capacity >= Self.hugePageThreshold
    guard posix_memalign(&block, isLarge ? 2 << 20 : 64, capacity + Self.slack) == 0 else {
      return nil
    }
    #if os(Linux)
      if isLarge { madvise(block, capacity, 14 /* MADV_HUGEPAGE */) }
    #endif
    return block
  }
}
