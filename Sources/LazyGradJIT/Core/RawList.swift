// Memory for plain values without the checks and the uniqueness tests of `Array`. Uses nothing else of
// the engine.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A growable array of plain values. Never freed: it belongs to a tape, and tapes are recycled.
@usableFromInline
struct RawList<Element> {
  @usableFromInline private(set) var base: UnsafeMutablePointer<Element>
  @usableFromInline private(set) var count = 0
  @usableFromInline private(set) var capacity = 64

  init() { base = .allocate(capacity: 64) }

  @inline(__always)
  subscript(i: Int) -> Element {
    get { base[i] }
    nonmutating set { base[i] = newValue }
  }

  @inlinable @inline(__always)
  mutating func append(_ element: Element) {
    if count == capacity { grow() }
    (base + count).initialize(to: element)
    count &+= 1
  }

  @inline(__always)
  mutating func popLast() -> Element? {
    if count == 0 { return nil }
    count &-= 1
    return base[count]
  }

  @inline(__always)
  mutating func removeAll() { count = 0 }

  @usableFromInline @inline(never)
  mutating func grow() {
    let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: base, count: count)
    base.deallocate()
    base = larger
    capacity *= 2
  }
}

/// Words by node that are zero whenever nobody uses them, so that whoever needs a few of them in a large
/// arena doesn't pay for all: they come from the system as zeros, and users clear what they have written.
@usableFromInline
struct ZeroedWords {
  @usableFromInline private(set) var base = ZeroedWords.zeros(1024)
  private var capacity = 1024

  init() {}

  private static func zeros(_ count: Int) -> UnsafeMutablePointer<UInt32> {
    guard let memory = calloc(count, MemoryLayout<UInt32>.stride) else {
      fatalError("LazyGrad: no memory for a pass over \(count) recorded operations")
    }
    return memory.bindMemory(to: UInt32.self, capacity: count)
  }

  /// Makes room for `count` words, all of which are zero.
  mutating func reserve(_ count: Int) {
    if count <= capacity { return }
    free(base)
    capacity = max(count, 2 * capacity)
    base = Self.zeros(capacity)
  }

  /// Whether there is a word for a node, and it is not zero.
  func isMarked(_ id: UInt32) -> Bool { Int(id) < capacity && base[Int(id)] != 0 }

  /// Gives back what a large arena took. All words are zero.
  mutating func shrink() {
    if capacity <= 1 << 16 { return }
    free(base)
    capacity = 1024
    base = Self.zeros(capacity)
  }
}
