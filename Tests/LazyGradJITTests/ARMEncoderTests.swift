// Tests of the encoder of AArch64 instructions, on every machine: each form is encoded as an assembler encodes
// its text, and as the golden table says.
//
// `LAZYGRAD_ENCODER_GOLDEN=write swift test -c release --filter EncoderTests` writes the table anew. It does so
// only after llvm-mc has agreed with every sample.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

@Suite struct ARMEncoderTests {
  /// The words of all samples, those of jumps first.
  private static let encoded: [(sample: ARMSample, word: UInt32)] = {
    var assembler = ARMAssembler()
    let label = assembler.label()
    let jumps = ARMSamples.jumps(label, distance: 6)
    for sample in jumps { sample.emit(&assembler) }
    assembler.bind(label)
    let before = assembler.words.count
    for sample in ARMSamples.all { sample.emit(&assembler) }
    precondition(before == 6 && assembler.words.count == before + ARMSamples.all.count)
    let code = assembler.finish()
    return zip(jumps + ARMSamples.all, 0...).map { sample, i in
      let word = code.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 4 * i, as: UInt32.self) }
      return (sample, UInt32(littleEndian: word))
    }
  }()

  private static let isWriting =
    ProcessInfo.processInfo.environment["LAZYGRAD_ENCODER_GOLDEN"] == "write"
  private static let goldenFile = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().appendingPathComponent("Fixtures/encoder-arm64.txt")

  /// One line for each form: its name, how many samples it has, a hash of their words (FNV-1a) and a few of them.
  private static var goldenLines: [String] {
    var groups: [String: [UInt32]] = [:]
    for (sample, word) in encoded { groups[sample.group, default: []].append(word) }
    return groups.keys.sorted().map { group in
      let words = groups[group]!
      var hash: UInt64 = 0xCBF2_9CE4_8422_2325
      for word in words { hash = (hash ^ UInt64(word)) &* 0x100_0000_01B3 }
      let shown = [0, words.count / 2, words.count - 1].map { String(words[$0], radix: 16) }
      return "\(group): \(words.count) \(String(hash, radix: 16)) " + shown.joined(separator: " ")
    }
  }

  @Test func everyFormIsWhatAnAssemblerMakesOfItsText() throws {
    let encoded = Self.encoded
    guard let words = try Assembled.words(encoded.map(\.sample.text)) else { return }
    #expect(words.count == encoded.count)
    var wrong = 0
    for ((sample, word), expected) in zip(encoded, words) where word != expected {
      wrong += 1
      if wrong < 20 {
        let (word, expected) = (String(word, radix: 16), String(expected, radix: 16))
        Issue.record("\(sample.text): expected \(expected), got \(word)")
      }
    }
    if wrong == 0, words.count == encoded.count, Self.isWriting {
      let text = Self.goldenLines.joined(separator: "\n") + "\n"
      try text.write(to: Self.goldenFile, atomically: true, encoding: .utf8)
    }
  }

  @Test(.enabled(if: !isWriting)) func wordsAreThoseOfTheGoldenTable() throws {
    let golden = try String(contentsOf: Self.goldenFile, encoding: .utf8)
      .split(separator: "\n").map(String.init)
    let lines = Self.goldenLines
    #expect(lines.count == golden.count)
    let known = Set(golden)
    for line in lines where !known.contains(line) {
      let name = line.prefix { $0 != ":" } + ":"
      let was = golden.first { $0.hasPrefix(name) } ?? "nothing"
      Issue.record("expected \(was), got \(line)")
    }
  }

  /// Constants of any size, by as many instructions as it takes.
  @Test func constantsAndTheirParts() {
    for value in [0x12_3456, -0x12_3456, .max, .min, 0x1_0000_0001] {
      var assembler = ARMAssembler()
      assembler.mov(.x3, value)
      var found: UInt64 = 0
      for word in assembler.words {
        let (shift, half) = (UInt64(word >> 21 & 3) * 16, UInt64(word >> 5 & 0xFFFF))
        switch word >> 23 & 0xFF {
        case 0b1010_0101 where word >> 29 == 0b110: found = half << shift
        case 0b0010_0101: found = ~(half << shift)
        default: found = found & ~(0xFFFF << shift) | half << shift
        }
      }
      #expect(found == UInt64(bitPattern: Int64(value)), "\(value)")
    }
  }

  /// A constant lies behind the code, aligned to its size, once however often it is read, and whatever
  /// goes before the code.
  @Test func constantsBehindTheCode() {
    for prologue in [[], [0xD503_201F], [0xD503_201F, 0xD503_201F, 0xD503_201F]] as [[UInt32]] {
      var assembler = ARMAssembler()
      assembler.load(5, .init(1, 2))
      assembler.ret()
      assembler.load(6, .init(1, 2))
      let code = assembler.finish(after: prologue)
      let start = (prologue.count + 3 + 3) / 4 * 16
      #expect(code.count == start + 16)
      let words = code.withUnsafeBytes { bytes in
        (0..<(code.count / 4)).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
      }
      #expect(words[(start / 4)...].elementsEqual([1, 0, 2, 0]))
      for (register, at) in [(5, prologue.count), (6, prologue.count + 2)] {
        let distance = UInt32(start / 4 - at)
        #expect(UInt32(littleEndian: words[at]) == 0x9C00_0000 | distance << 5 | UInt32(register))
      }
    }
  }

  /// A jump goes as far whatever is put before the code, forward and back.
  @Test func jumpsBehindAPrologue() {
    for prologue in [[], [0xD503_201F, 0xD503_201F]] as [[UInt32]] {
      var assembler = ARMAssembler()
      let end = assembler.label()
      let start = assembler.here()
      assembler.jump(end)
      assembler.jump(.equal, start)
      assembler.bind(end)
      assembler.ret()
      let words = assembler.finish(after: prologue).withUnsafeBytes { bytes in
        (0..<(bytes.count / 4)).map {
          UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self))
        }
      }
      #expect(Array(words) == prologue + [0x1400_0002, 0x54FF_FFE0, 0xD65F_03C0])
    }
  }
}
