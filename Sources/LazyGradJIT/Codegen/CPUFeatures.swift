// What a CPU can do and its system lets it do, and the sizes of its caches, for every machine. How that is asked
// is in the folder of each.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The CPU features that generated code is written for.
package struct CPUFeatures: Sendable, Equatable {
  /// AVX2, FMA and F16C, by CPUID.
  package var hasAVX2 = false
  /// AVX-512 F, DQ, BW and VL, with POPCNT and BMI2, by CPUID.
  package var hasAVX512 = false
  /// The system saves the 256-bit registers, by XGETBV: without that they may not be used.
  package var savesYMM = false
  /// The system saves the 512-bit and the mask registers.
  package var savesZMM = false
  /// The machine is an AArch64, whose vector registers every system saves.
  package var hasNeon = false

  package init() {}
}

/// Bytes of the data caches that one core sees; 0 for a level that it lacks or does not tell.
package struct CacheSizes: Sendable, Equatable {
  package var level1 = 0
  package var level2 = 0
  package var level3 = 0

  /// The machine's, with usual sizes for the first two levels where nothing is known.
  package static let machine: CacheSizes = {
    var sizes = NativeCode.probedCaches ?? CacheSizes()
    let system = CacheSizes.fromSystem()
    if sizes.level1 <= 0 { sizes.level1 = system.level1 > 0 ? system.level1 : 32 << 10 }
    if sizes.level2 <= 0 { sizes.level2 = system.level2 > 0 ? system.level2 : 256 << 10 }
    if sizes.level3 <= 0 { sizes.level3 = max(0, system.level3) }
    return sizes
  }()

  /// What the system's library says.
  static func fromSystem() -> CacheSizes {
    var sizes = CacheSizes()
    #if canImport(Glibc)
      sizes.level1 = sysconf(Int32(_SC_LEVEL1_DCACHE_SIZE))
      sizes.level2 = sysconf(Int32(_SC_LEVEL2_CACHE_SIZE))
      sizes.level3 = sysconf(Int32(_SC_LEVEL3_CACHE_SIZE))
    #elseif canImport(Darwin)
      func value(_ key: String) -> Int {
        var bytes: Int64 = 0
        var size = MemoryLayout<Int64>.size
        return sysctlbyname(key, &bytes, &size, nil, 0) == 0 ? Int(bytes) : 0
      }
      // Of the fast cores, where there are others (`perflevel 0` in Apple's <sys/sysctl.h>).
      func size(_ key: String) -> Int {
        let fast = value("hw.perflevel0." + key)
        return fast > 0 ? fast : value("hw." + key)
      }
      sizes.level1 = size("l1dcachesize")
      sizes.level2 = size("l2cachesize")
      sizes.level3 = size("l3cachesize")
    #endif
    return sizes
  }
}
