// Tests of the assembler and the encoder: every form with every kind of operand means what a
// disassembler says, and its bytes are those of the golden table.
//
// `LAZYGRAD_ENCODER_GOLDEN=write swift test -c release --filter EncoderTests` writes the table anew.
// It does so only after the disassembler has agreed with every sample.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

@Suite struct EncoderTests {
  /// A stream of samples and where each begins.
  struct Stream: Sendable {
    var assembler = Assembler()
    var samples: [EncoderSample] = []
    var starts: [Int] = []

    mutating func append(_ sample: EncoderSample) {
      starts.append(assembler.bytes.count)
      samples.append(sample)
      sample.emit(&assembler)
    }

    func bytes(_ i: Int) -> ArraySlice<UInt8> {
      assembler.bytes[starts[i]..<(i + 1 < starts.count ? starts[i + 1] : assembler.bytes.count)]
    }

    /// Compares with a disassembler. The first few differences, none if all agrees; nil if there
    /// is no disassembler.
    func disagreements() throws -> [String]? {
      let code = assembler.finish()
      guard let listing = try Disassembler.instructions(code, count: assembler.bytes.count) else {
        return nil
      }
      var found: [String] = []
      if listing.count != samples.count {
        found.append("\(samples.count) instructions, disassembled as \(listing.count)")
      }
      for (i, (sample, seen)) in zip(samples, listing).enumerated() where found.count < 20 {
        if seen.offset != starts[i] || seen.text != sample.text {
          let hex = EncoderTests.hex(bytes(i))
          found.append(
            "\(sample.group): expected \(sample.text) at \(starts[i]), "
              + "got \(seen.text) at \(seen.offset): \(hex)")
        }
        if let constant = sample.constant {
          let place = seen.target ?? -1
          if place < 0 || place % constant.count != 0 || place + constant.count > code.count
            || !code[place...].starts(with: constant)
          {
            found.append("\(sample.text): its constant is not at \(place)")
          }
        }
      }
      return found
    }
  }

  static func hex(_ bytes: ArraySlice<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  private static let stream: Stream = {
    var stream = Stream()
    let start = stream.assembler.here()
    for sample in ScalarSamples.jumps(start) { stream.append(sample) }
    for sample in ScalarSamples.all { stream.append(sample) }
    for op in VectorOp.allCases { for sample in op.samples { stream.append(sample) } }
    return stream
  }()

  // MARK: Golden table

  private static let goldenFile = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().appendingPathComponent("Fixtures/encoder.txt")

  /// One line for each form: its name, how many samples it has, a hash of their bytes (FNV-1a, each
  /// sample after its length) and a few of them in full.
  private static func goldenLines(_ stream: Stream) -> [String] {
    var groups: [String: [Int]] = [:]
    for (i, sample) in stream.samples.enumerated() { groups[sample.group, default: []].append(i) }
    return groups.keys.sorted().map { group in
      let members = groups[group]!
      var hash: UInt64 = 0xCBF2_9CE4_8422_2325
      for i in members {
        let bytes = stream.bytes(i)
        for byte in [UInt8(bytes.count)] + bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
      }
      let shown = [0, members.count / 2, members.count - 1].map { hex(stream.bytes(members[$0])) }
      return "\(group): \(members.count) \(String(hash, radix: 16)) " + shown.joined(separator: " ")
    }
  }

  @Test func everyFormMeansWhatItsRowSays() throws {
    let stream = Self.stream
    for (i, sample) in stream.samples.enumerated() where sample.group.hasSuffix("ex") {
      let isLong = stream.bytes(i).first == 0x62
      if isLong != sample.group.hasSuffix(" evex") {
        Issue.record("\(sample.text): \(isLong ? "EVEX" : "VEX") prefix")
      }
    }
    guard let found = try stream.disagreements() else { return }
    for text in found { Issue.record("\(text)") }
    if found.isEmpty, ProcessInfo.processInfo.environment["LAZYGRAD_ENCODER_GOLDEN"] == "write" {
      let text = Self.goldenLines(stream).joined(separator: "\n") + "\n"
      try text.write(to: Self.goldenFile, atomically: true, encoding: .utf8)
    }
  }

  @Test(.enabled(if: ProcessInfo.processInfo.environment["LAZYGRAD_ENCODER_GOLDEN"] == nil))
  func bytesAreThoseOfTheGoldenTable() throws {
    let golden = try String(contentsOf: Self.goldenFile, encoding: .utf8)
      .split(separator: "\n").map(String.init)
    let lines = Self.goldenLines(Self.stream)
    #expect(lines.count == golden.count)
    let known = Set(golden)
    for line in lines where !known.contains(line) {
      let name = line.prefix { $0 != ":" } + ":"
      let was = golden.first { $0.hasPrefix(name) } ?? "nothing"
      Issue.record("expected \(was), got \(line)")
    }
  }

  /// Filling up ends at a multiple of 16 and is made of instructions that do nothing.
  @Test func alignment() throws {
    var code = Assembler()
    for count in 0..<32 {
      for _ in 0..<count { code.ret() }
      code.align16()
      #expect(code.bytes.count % 16 == 0)
    }
    let listing = try Disassembler.instructions(code.finish(), count: code.bytes.count)
    for line in listing ?? [] {
      let name = line.text.prefix { $0 != " " }
      #expect(["ret", "nop", "xchg"].contains(name), "\(line.text) at \(line.offset)")
    }
  }

  // MARK: Random streams

  @Test func randomStreamsKeepTheirBoundaries() throws {
    let samples = VectorOp.allCases.map(\.samples)
    let scalars = ScalarSamples.all
    for seed: UInt64 in 1...8 {
      var random = SeededRandom(seed: seed)
      var stream = Stream()
      let labels = (0..<16).map { _ in stream.assembler.label() }
      var places = [Int](repeating: -1, count: labels.count)
      var targets: [(sample: Int, label: Int)] = []
      for step in 0..<1600 {
        if step % 100 == 50 {
          places[step / 100] = stream.assembler.bytes.count
          stream.assembler.bind(labels[step / 100])
        }
        if random.chance(0.2) {
          let label = random.int(0...(labels.count - 1))
          let condition = random.pick(Assembler.Condition.allCases)
          targets.append((stream.samples.count, label))
          let name = random.chance(0.1) ? "jmp" : ScalarSamples.jumpName(condition)
          stream.append(
            EncoderSample(group: "jump", text: name) {
              if name == "jmp" {
                $0.jump(labels[label])
              } else {
                $0.jump(condition, labels[label])
              }
            })
        } else if random.chance(0.3) {
          stream.append(random.pick(scalars))
        } else {
          stream.append(random.pick(random.pick(samples)))
        }
      }
      for (i, label) in targets {
        let old = stream.samples[i]
        stream.samples[i] = EncoderSample(
          group: old.group, text: old.text + " " + VectorInstruction.hex(places[label]),
          emit: old.emit)
      }
      guard let found = try stream.disagreements() else { return }
      for text in found { Issue.record("seed \(seed): \(text)") }
    }
  }
}
