// Counts how often a thread takes memory through Swift's run-time, on Linux with glibc.

#if canImport(Glibc)
  import Glibc
#endif
import Synchronization
import Testing

/// Counts calls of `malloc` that Swift's run-time makes: for objects, boxes, memory of arrays, and what is
/// allocated by hand.
///
/// glibc has no hooks for `malloc` any more, so the run-time's own way to it is bent: the library calls it
/// through a word of its table of functions (a `JUMP_SLOT`, as the ELF specification has it), which the
/// library's dynamic section leads to, and which stays writable where functions are bound when they are
/// first called. Allocators that stand in for glibc's, as a sanitizer's, are called as before.
enum AllocationCount {
  static var isAvailable: Bool { isCounting }
  static var reason: Comment { "calls of malloc can be counted on Linux with glibc only" }

  private typealias Allocate = @convention(c) (Int) -> UnsafeMutableRawPointer?

  /// The thread that counts, one at a time; 0 for none.
  private static let thread = Atomic<UInt>(0)
  private static let count = Atomic<Int>(0)

  /// How often `body` takes memory on this thread.
  static func of(_ body: () -> Void) -> Int {
    count.store(0, ordering: .relaxed)
    thread.store(current, ordering: .relaxed)
    body()
    thread.store(0, ordering: .relaxed)
    return count.load(ordering: .relaxed)
  }

  #if canImport(Glibc) && arch(x86_64)
    private static var current: UInt { UInt(pthread_self()) }
    private nonisolated(unsafe) static var original: Allocate!

    private static let isCounting: Bool = {
      guard let library = dlopen("libswiftCore.so", RTLD_NOW | RTLD_NOLOAD),
        let malloc = dlsym(dlopen(nil, RTLD_NOW), "malloc"), let word = word("malloc", of: library)
      else { return false }
      original = unsafeBitCast(malloc, to: Allocate.self)
      let counted: Allocate = { size in
        if AllocationCount.thread.load(ordering: .relaxed) == AllocationCount.current {
          AllocationCount.count.add(1, ordering: .relaxed)
        }
        return AllocationCount.original(size)
      }
      word.storeBytes(of: unsafeBitCast(counted, to: UInt.self), as: UInt.self)
      return true
    }()

    /// Where a library keeps the address of a function that it calls; nil where that can't be changed.
    private static func word(
      _ function: String, of library: UnsafeMutableRawPointer
    ) -> UnsafeMutableRawPointer? {
      // A library's handle is its `link_map`: base, name, dynamic section.
      let base = library.load(as: UInt.self)
      let section = library.load(
        fromByteOffset: 16, as: UnsafePointer<(tag: Int, value: UInt)>.self)
      var values: [Int: UInt] = [:]
      var k = 0
      while section[k].tag != 0 {
        values[section[k].tag] = section[k].value
        k += 1
      }
      let (strings, symbols, size, relocations) = (5, 6, 2, 23)
      let isBoundAtOnce =
        values[24] != nil || values[30, default: 0] & 8 != 0
        || values[0x6fff_fffb, default: 0] & 1 != 0
      guard !isBoundAtOnce, let names = values[strings], let table = values[symbols],
        let first = values[relocations], let bytes = values[size]
      else { return nil }
      for place in stride(from: first, to: first + bytes, by: 24) {
        let relocation = UnsafeRawPointer(bitPattern: place)!
        let symbol = relocation.load(fromByteOffset: 8, as: UInt.self) >> 32
        let name = UnsafeRawPointer(bitPattern: table + 24 * symbol)!.load(as: UInt32.self)
        if String(cString: UnsafePointer<CChar>(bitPattern: names + UInt(name))!) == function {
          return UnsafeMutableRawPointer(bitPattern: base + relocation.load(as: UInt.self))
        }
      }
      return nil
    }
  #else
    private static let isCounting = false
    private static var current: UInt { 0 }
  #endif
}
