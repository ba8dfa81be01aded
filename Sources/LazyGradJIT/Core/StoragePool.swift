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
/// lock and keeps the blocks last given back; what would exceed a limit goes to the system.
///
/// To take and to give a block costs one lock of the block's class and no other atomic operation:
/// everything that is counted is counted under that lock, and what is asked for the whole pool is
/// summed up when somebody asks. Small blocks that a tape lets go of stay with the tape
/// (`SpareStorages`); to the shelves they are in use, to whoever asks the pool they are kept.
package final class StoragePool: Sendable {
  package static let shared = StoragePool()

  /// Bytes that may be touched past the end of every block's asked-for size.
  package static let slack = 64
  /// Blocks from this size on are asked to be backed by huge pages.
  private static let hugePageThreshold = 4 << 20
  /// Blocks up to this size are kept up to `smallCacheLimit` per class, whatever else is kept.
  static let smallBlock = 1 << 16
  private static let smallCacheLimit = 4 << 20
  /// Larger blocks are kept up to this many bytes together.
  private static let cacheLimit = 1 << 30
  private static let classCount = 4 * 56
  /// The classes of blocks up to `smallBlock`.
  static let smallClassCount = 41

  /// One class's blocks. Raw pointers are not `Sendable`; the lock makes it safe.
  private struct Shelf: @unchecked Sendable {
    var free: [UnsafeMutableRawPointer] = []
    var inUse = 0
    var taken = 0
  }

  /// The shelves' locks, never freed: walking an array of objects would count references.
  private nonisolated(unsafe) let shelves: UnsafeMutablePointer<Unmanaged<Lock<Shelf>>>
  /// Bytes got from the system and not given back to it, in use or kept.
  private let held = Atomic<Int>(0)
  /// Bytes of larger blocks that are kept.
  private let largeCached = Atomic<Int>(0)
  private let limit = Atomic<Int>(Settings.memoryLimit)
  /// What the tapes keep.
  private let spares = Lock<[SpareStorages]>([])
  /// How often the tapes were kept off it and let back: odd while they are kept off.
  private let claims = Atomic<Int>(0)

  private init() {
    precondition(
      Self.capacity(ofClass: Self.smallClassCount - 1) == Self.smallBlock,
      "LazyGrad: the number of small classes does not fit their limit")
    shelves = .allocate(capacity: Self.classCount)
    for i in 0..<Self.classCount {
      (shelves + i).initialize(to: Unmanaged.passRetained(Lock(Shelf())))
    }
  }

  @inline(__always)
  private func withShelf<R>(_ index: Int, _ body: (inout Shelf) -> R) -> R {
    shelves[index]._withUnsafeGuaranteedRef { $0.withLock(body) }
  }

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

  /// A block of some size; `isLimited`: only within the limit.
  func take(
    _ byteCount: Int, isLimited: Bool = true
  ) throws(StorageError) -> (pointer: UnsafeMutableRawPointer, sizeClass: Int) {
    guard byteCount >= 0, byteCount <= 1 << 48 else {
      throw .outOfMemory(byteCount: byteCount, limit: limit.load(ordering: .relaxed))
    }
    let index = Self.sizeClass(byteCount)
    let capacity = Self.capacity(ofClass: index)
    let reused = withShelf(index) { shelf in
      let block = shelf.free.popLast()
      if block != nil {
        shelf.inUse &+= 1
        shelf.taken &+= 1
      }
      return Block(pointer: block)
    }
    if let block = reused.pointer {
      if capacity > Self.smallBlock { largeCached.wrappingSubtract(capacity, ordering: .relaxed) }
      return (block, index)
    }
    // What is kept counts as held, so a limit may first cost the blocks that nobody uses.
    guard
      let block = allocate(capacity, isLimited)
        ?? {
          trim(); return allocate(capacity, isLimited)
        }()
    else { throw .outOfMemory(byteCount: byteCount, limit: limit.load(ordering: .relaxed)) }
    withShelf(index) { shelf in
      shelf.inUse &+= 1
      shelf.taken &+= 1
    }
    return (block, index)
  }

  /// Whether more is held than a limit that has been lowered allows: nothing is kept then.
  @inline(__always)
  var isOverLimit: Bool {
    held.load(ordering: .relaxed) > limit.load(ordering: .relaxed)
  }

  func give(_ pointer: UnsafeMutableRawPointer, sizeClass: Int) {
    let block = Block(pointer: pointer)
    let capacity = Self.capacity(ofClass: sizeClass)
    let isLarge = capacity > Self.smallBlock
    let isFull = isLarge && largeCached.load(ordering: .relaxed) + capacity > Self.cacheLimit
    let isOverLimit = self.isOverLimit
    let isKept = withShelf(sizeClass) { shelf in
      shelf.inUse &-= 1
      if isFull || isOverLimit
        || (!isLarge && shelf.free.count &* capacity >= Self.smallCacheLimit)
      {
        return false
      }
      shelf.free.append(block.pointer!)
      return true
    }
    if !isKept {
      held.wrappingSubtract(capacity, ordering: .relaxed)
      free(pointer)
    } else if isLarge {
      largeCached.wrappingAdd(capacity, ordering: .relaxed)
    }
  }

  /// Most bytes that the tapes keep together, those of threads that have ended among them.
  package static let spareLimit = 32 << 20

  /// Takes note of what a tape keeps. The shares of the others get smaller.
  func register(_ spare: SpareStorages) {
    spares.withLock { all in
      all.append(spare)
      let share = Self.spareLimit / all.count
      withClaimed(all) { for spares in all { spares.setLimit(share) } }
    }
  }

  /// Looks at what the tapes keep, under its lock, while they are kept off it.
  private func withClaimed<R>(_ all: [SpareStorages], _ body: () -> R) -> R {
    claims.add(1, ordering: .sequentiallyConsistent)
    defer { claims.add(1, ordering: .sequentiallyConsistent) }
    return SpareStorages.withClaimed(all, body)
  }

  /// A number that stays the same as long as nobody keeps the tapes off what they keep; nil while somebody
  /// does. Between two equal ones a tape that asks for a block that it has kept gets it.
  package var undisturbed: Int? {
    let claims = self.claims.load(ordering: .sequentiallyConsistent)
    return claims & 1 == 0 ? claims : nil
  }

  /// Gives every cached block back to the system, and asks the C library to do the same with what it
  /// keeps of them: blocks of some kilobytes that many threads have made stay in its heaps otherwise.
  package func returnToSystem() {
    trim()
    #if canImport(Glibc)
      // Not among the functions that Swift imports.
      if let function = dlsym(nil, "malloc_trim") {
        typealias Trim = @convention(c) (Int) -> CInt
        _ = unsafeBitCast(function, to: Trim.self)(0)
      }
    #endif
  }

  /// Gives every cached block back to the system.
  package func trim() {
    spares.withLock { all in
      withClaimed(all) { for spares in all { spares.empty() } }
    }
    for index in 0..<Self.classCount {
      let blocks = withShelf(index) { shelf in
        defer { shelf.free = [] }
        return Shelf(free: shelf.free)
      }
      for block in blocks.free { free(block) }
      let bytes = blocks.free.count * Self.capacity(ofClass: index)
      held.wrappingSubtract(bytes, ordering: .relaxed)
      if Self.capacity(ofClass: index) > Self.smallBlock {
        largeCached.wrappingSubtract(bytes, ordering: .relaxed)
      }
    }
  }

  /// Adds up something over the shelves and over what the tapes keep. These stand still meanwhile, so
  /// that what they keep is in use on its shelf.
  private func sum(
    _ inShelf: (Shelf, _ capacity: Int) -> Int, _ inSpares: (SpareStorages) -> Int
  ) -> Int {
    spares.withLock { all in
      withClaimed(all) {
        var sum = all.reduce(0) { $0 + inSpares($1) }
        for index in 0..<Self.classCount {
          sum += withShelf(index) { inShelf($0, Self.capacity(ofClass: index)) }
        }
        return sum
      }
    }
  }

  /// Bytes held by arrays now.
  package var bytesInUse: Int { sum({ $0.inUse * $1 }, { -$0.byteCount }) }
  /// Blocks taken since the process began.
  package var blocksTaken: Int { sum({ shelf, _ in shelf.taken }, \.taken) }
  /// Bytes that the tapes keep.
  package var spareBytes: Int { sum({ _, _ in 0 }, \.byteCount) }
  /// Bytes kept for reuse.
  package var bytesCached: Int { sum({ $0.free.count * $1 }, \.byteCount) }

  /// The number of bytes that arrays may hold together.
  package var bytesAllowed: Int { limit.load(ordering: .relaxed) }

  /// Sets the number of bytes that arrays may hold together.
  package func setLimit(_ bytes: Int) {
    limit.store(bytes, ordering: .relaxed)
    // A kept block is handed out without a look at the limit.
    if held.load(ordering: .relaxed) > bytes { trim() }
  }

  private struct Block: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer?
  }

  private func allocate(_ capacity: Int, _ isLimited: Bool) -> UnsafeMutableRawPointer? {
    let bound = isLimited ? limit.load(ordering: .relaxed) : .max
    let total = held.wrappingAdd(capacity, ordering: .relaxed).newValue
    guard total <= bound else {
      held.wrappingSubtract(capacity, ordering: .relaxed)
      return nil
    }
    var block: UnsafeMutableRawPointer?
    let isLarge = capacity >= Self.hugePageThreshold
    guard posix_memalign(&block, isLarge ? 2 << 20 : 64, capacity + Self.slack) == 0 else {
      held.wrappingSubtract(capacity, ordering: .relaxed)
      return nil
    }
    #if os(Linux)
      if isLarge { madvise(block, capacity, 14 /* MADV_HUGEPAGE */) }
    #endif
    return block
  }
}
