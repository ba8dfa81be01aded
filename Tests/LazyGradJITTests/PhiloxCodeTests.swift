// Machine code for random bits against the generator's definition, to the bit: every kind of result, between fences.

import LazyGradJIT
import Testing
import TestSupport

@Suite("Random bits by machine code")
struct PhiloxCodeTests {
  /// The words of one block, as the paper defines them.
  private func block(_ number: UInt64, _ key: SIMD2<UInt32>) -> [UInt32] {
    var x = [UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: number >> 32), 0, 0]
    var (k, l) = (key[0], key[1])
    for _ in 0..<10 {
      let first = UInt64(x[0]) * 0xD251_1F53
      let second = UInt64(x[2]) * 0xCD9E_8D57
      x = [
        UInt32(second >> 32) ^ x[1] ^ k, UInt32(truncatingIfNeeded: second),
        UInt32(first >> 32) ^ x[3] ^ l, UInt32(truncatingIfNeeded: first),
      ]
      k &+= 0x9E37_79B9
      l &+= 0xBB67_AE85
    }
    return x
  }

  /// The bytes of words as what they become, as 32-bit words.
  private func converted(_ words: [UInt32], _ bits: PhiloxCode.Bits) -> [UInt32] {
    func double(_ isOpen: Bool) -> [UInt32] {
      stride(from: 0, to: words.count, by: 2).flatMap { i in
        let both = UInt64(words[i + 1]) << 32 | UInt64(words[i])
        let fraction = (Double(both >> 11) + (isOpen ? 0.5 : 0)) * 0x1p-53
        return [
          UInt32(truncatingIfNeeded: fraction.bitPattern), UInt32(fraction.bitPattern >> 32),
        ]
      }
    }
    return switch bits {
    case .words: words
    case .fractions32: words.map { (Float($0 >> 8) * 0x1p-24).bitPattern }
    case .openFractions32: words.map { (Float($0) * 0x1p-32 + 0x1p-33).bitPattern }
    case .fractions64: double(false)
    case .openFractions64: double(true)
    }
  }

  @Test(arguments: PhiloxCode.Bits.allCases)
  func bitsOfEveryKind(bits: PhiloxCode.Bits) {
    for set in NativeCode.available {
      guard let code = PhiloxCode.code(bits, set) else {
        #expect(set != .avx2 && set != .avx512)
        continue
      }
      let keys: [SIMD2<UInt32>] = [
        [0, 0], [7, 0], [0x1234_5678, 0x9ABC_DEF0], [.max, .max], [0x6183_C862, 0x7898_517B],
      ]
      for key in keys {
        for count in Array(0...26) + [63, 64, 65, 1000] {
          for flush in FencedMemory.Flush.allCases {
            let memory = FencedMemory(byteCount: 16 * count, flush: flush)
            let words = memory.bound(to: UInt32.self)
            words.initialize(repeating: 17, count: 4 * count)
            let done = code.fill(memory.pointer, count, key: key)
            #expect(done <= count && count - done < 8)
            let expected = converted((0..<done).flatMap { block(UInt64($0), key) }, bits)
            let found = Array(UnsafeBufferPointer(start: words, count: 4 * count))
            #expect(found[..<(4 * done)].elementsEqual(expected), "\(set) \(key) \(count)")
            #expect(found[(4 * done)...].allSatisfy { $0 == 17 })
            withExtendedLifetime(memory) {}
          }
        }
      }
    }
  }
}
