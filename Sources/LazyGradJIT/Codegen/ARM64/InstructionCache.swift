// Makes written code visible to the instruction fetch of an AArch64. Used by CodeMemory before code runs.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What x86-64 does by itself: caches of instructions are told that memory has other contents.
///
/// C's compilers have `__clear_cache` for it, which Swift sees only through a C target; so the same
/// instructions are a few installed words. These words themselves need no such call: their page has never held
/// code, and Linux cleans a page whose mapping becomes executable (`__sync_icache_dcache` in arch/arm64/mm).
/// Emulators find out that memory has changed by themselves; real processors need all of it.
enum InstructionCache {
  #if arch(arm64) && os(Linux)
    private typealias Routine =
      @convention(c) (UnsafeRawPointer, UnsafeRawPointer) -> Void

    /// The installed words; nil where the system refuses. Kept for the process's life.
    private static let routine: Routine? = {
      let size = Int(getpagesize())
      let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let mapped, mapped != UnsafeMutableRawPointer(bitPattern: -1) else { return nil }
      words.withUnsafeBytes { mapped.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
      guard mprotect(mapped, size, PROT_READ | PROT_EXEC) == 0 else {
        munmap(mapped, size)
        return nil
      }
      return unsafeBitCast(mapped, to: Routine.self)
    }()

    /// Arm Architecture Reference Manual, B2.4.4 (concurrent modification and execution of instructions) and
    /// D19.2.34 (CTR_EL0): lines of data to where instructions are read from, then lines of instructions
    /// invalid, each only where the processor says that it takes that.
    private static let words: [UInt32] = [
      0xD53B_0022,  // mrs x2, ctr_el0
      0x37E0_0142,  // tbnz w2, #28, instructions: data needs no cleaning
      0xD350_4C43,  // ubfx x3, x2, #16, #4: the line of data, as a power of two of words
      0xD280_0084,  // mov x4, #4
      0x9AC3_2083,  // lsl x3, x4, x3
      0xCB03_03E4,  // neg x4, x3
      0x8A04_0004,  // and x4, x0, x4
      0xD50B_7B24,  // data: dc cvau, x4
      0x8B03_0084,  // add x4, x4, x3
      0xEB01_009F,  // cmp x4, x1
      0x54FF_FFA3,  // b.lo data
      0xD503_3B9F,  // instructions: dsb ish
      0x37E8_0142,  // tbnz w2, #29, end: nothing is to be invalid
      0x9240_0C43,  // and x3, x2, #15
      0xD280_0084,  // mov x4, #4
      0x9AC3_2083,  // lsl x3, x4, x3
      0xCB03_03E4,  // neg x4, x3
      0x8A04_0004,  // and x4, x0, x4
      0xD50B_7524,  // line: ic ivau, x4
      0x8B03_0084,  // add x4, x4, x3
      0xEB01_009F,  // cmp x4, x1
      0x54FF_FFA3,  // b.lo line
      0xD503_3B9F,  // end: dsb ish
      0xD503_3FDF,  // isb
      0xD65F_03C0,  // ret
    ]

    /// Before some code runs for the first time; false where that is impossible.
    static func synchronize(_ start: UnsafeRawPointer, _ byteCount: Int) -> Bool {
      guard let routine else { return false }
      routine(start, start + byteCount)
      return true
    }
  #endif
}
