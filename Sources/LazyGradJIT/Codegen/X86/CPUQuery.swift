// What an x86-64 CPU can do and the system lets it do, asked by a few installed instructions, and the
// sizes of its caches. Uses CodeMemory.

/// Installed instructions that Swift has no name for. As long as it lives they can be called.
struct CPUQuery {
  private typealias CPUID = @convention(c) (UInt32, UInt32, UnsafeMutablePointer<UInt32>) -> Void
  private typealias XGETBV = @convention(c) (UInt32) -> UInt64
  private typealias Successor = @convention(c) (UInt32) -> UInt32

  struct Registers {
    var eax: UInt32 = 0
    var ebx: UInt32 = 0
    var ecx: UInt32 = 0
    var edx: UInt32 = 0
  }

  private let block: CodeBlock

  /// nil where code memory is refused.
  init?(memory: CodeMemory) {
    guard let block = memory.install(Self.code, isProbe: true) else { return nil }
    self.block = block
  }

  private static let cpuidOffset = 0
  private static let xgetbvOffset = 32
  private static let successorOffset = 48

  /// Three functions. Hand-assembled, because which instructions may be emitted is not known yet.
  private static let code: [UInt8] = {
    // void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
    var code: [UInt8] = [
      0x53,  // push rbx: cpuid overwrites it, and it belongs to the caller
      0x49, 0x89, 0xD0,  // mov r8, rdx
      0x89, 0xF8,  // mov eax, edi
      0x89, 0xF1,  // mov ecx, esi
      0x0F, 0xA2,  // cpuid
      0x41, 0x89, 0x00,  // mov [r8], eax
      0x41, 0x89, 0x58, 0x04,  // mov [r8 + 4], ebx
      0x41, 0x89, 0x48, 0x08,  // mov [r8 + 8], ecx
      0x41, 0x89, 0x50, 0x0C,  // mov [r8 + 12], edx
      0x5B,  // pop rbx
      0xC3,  // ret
    ]
    func pad(to offset: Int) { while code.count < offset { code.append(0xCC) } }
    pad(to: xgetbvOffset)
    // uint64_t xgetbv(uint32_t index)
    code += [
      0x89, 0xF9,  // mov ecx, edi
      0x0F, 0x01, 0xD0,  // xgetbv
      0x48, 0xC1, 0xE2, 0x20,  // shl rdx, 32
      0x48, 0x09, 0xD0,  // or rax, rdx
      0xC3,  // ret
    ]
    pad(to: successorOffset)
    // uint32_t successor(uint32_t x)
    code += [
      0x8D, 0x47, 0x01,  // lea eax, [rdi + 1]
      0xC3,  // ret
    ]
    return code
  }()

  /// Whether installed code runs and returns what it should.
  var works: Bool {
    withExtendedLifetime(block) {
      let call = unsafeBitCast(block.entry + Self.successorOffset, to: Successor.self)
      return [0, 41, 1 << 31].allSatisfy { call($0) == $0 + 1 }
    }
  }

  private func cpuid(_ leaf: UInt32, _ subleaf: UInt32 = 0) -> Registers {
    withExtendedLifetime(block) {
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 4) { out in
        out.initialize(repeating: 0)
        unsafeBitCast(block.entry + Self.cpuidOffset, to: CPUID.self)(
          leaf, subleaf, out.baseAddress!)
        return Registers(eax: out[0], ebx: out[1], ecx: out[2], edx: out[3])
      }
    }
  }

  private func xgetbv() -> UInt64 {
    withExtendedLifetime(block) {
      unsafeBitCast(block.entry + Self.xgetbvOffset, to: XGETBV.self)(0)
    }
  }

  /// Intel, "Software Developer's Manual", volume 1, 14.3 and 15.2: how to detect AVX and AVX-512.
  var features: CPUFeatures {
    func has(_ word: UInt32, _ bits: Int...) -> Bool { bits.allSatisfy { word >> $0 & 1 == 1 } }
    var features = CPUFeatures()
    let highest = cpuid(0).eax
    guard highest >= 7 else { return features }
    let basic = cpuid(1).ecx
    let extended = cpuid(7).ebx
    // Of leaf 1: FMA 12, POPCNT 23, AVX 28, F16C 29. Of leaf 7: AVX2 5, BMI2 8, AVX512F 16, DQ 17, BW 30, VL 31.
    features.hasAVX2 = has(basic, 12, 28, 29) && has(extended, 5)
    features.hasAVX512 =
      features.hasAVX2 && has(basic, 23) && has(extended, 8, 16, 17, 30, 31)
    // OSXSAVE: the system has switched XGETBV on. Without it the instruction is invalid.
    guard has(basic, 27) else { return features }
    // Bits of XCR0: SSE 1, AVX 2, masks 5, upper halves of zmm0-15 6, zmm16-31 7.
    let saved = xgetbv()
    features.savesYMM = saved & 0x06 == 0x06
    features.savesZMM = saved & 0xE6 == 0xE6
    return features
  }

  /// Leaf 4 of Intel's CPUID, 0x8000001D of AMD's: both have the same form.
  var caches: CacheSizes {
    var sizes = CacheSizes()
    var leaf: UInt32 = 4
    // TopologyExtensions: AMD's leaf is there, and leaf 4 is empty.
    if cpuid(0x8000_0000).eax >= 0x8000_001D, cpuid(0x8000_0001).ecx >> 22 & 1 == 1 {
      leaf = 0x8000_001D
    } else if cpuid(0).eax < 4 {
      return sizes
    }
    for index in 0..<16 as Range<UInt32> {
      let cache = cpuid(leaf, index)
      let kind = cache.eax & 31
      if kind == 0 { break }
      // 1 is a data cache, 2 an instruction cache, 3 both.
      if kind == 2 { continue }
      let ways = Int(cache.ebx >> 22) + 1
      let partitions = Int(cache.ebx >> 12 & 0x3FF) + 1
      let line = Int(cache.ebx & 0xFFF) + 1
      let bytes = ways * partitions * line * (Int(cache.ecx) + 1)
      switch cache.eax >> 5 & 7 {
      case 1: sizes.level1 = bytes
      case 2: sizes.level2 = bytes
      case 3: sizes.level3 = bytes
      default: break
      }
    }
    return sizes
  }
}
