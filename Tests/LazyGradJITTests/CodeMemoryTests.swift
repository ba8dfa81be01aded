// Tests of memory for machine code: what is installed runs, no page is writable and executable,
// every refusal is counted and leaks nothing. Each test has a code memory of its own, so that
// kernels of other tests neither count nor fail.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

#if (arch(x86_64) || arch(arm64)) && os(Linux)
  #if arch(x86_64)
    /// `mov eax, value; ret`, and so many more bytes that are never reached.
    private func constant(_ value: UInt32, padding: Int = 0) -> [UInt8] {
      [0xB8] + withUnsafeBytes(of: value.littleEndian, Array.init) + [0xC3]
        + [UInt8](repeating: 0x90, count: padding)
    }
    private let trap: UInt8 = 0xCC
  #else
    /// The same: the value's halves into w0, and a return.
    private func constant(_ value: UInt32, padding: Int = 0) -> [UInt8] {
      let words = [
        0x5280_0000 | (value & 0xFFFF) << 5, 0x72A0_0000 | (value >> 16) << 5, 0xD65F_03C0,
      ]
      return words.flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }
        + [UInt8](repeating: 0, count: padding)
    }
    private let trap: UInt8 = 0
  #endif
  /// The bytes of such a function.
  private let constantBytes = constant(0).count

  private func call(_ block: CodeBlock, offset: Int = 0) -> UInt32 {
    withExtendedLifetime(block) {
      unsafeBitCast(block.entry + offset, to: (@convention(c) () -> UInt32).self)()
    }
  }

  /// The process's mappings. By a handle: `FileManager.contents` stops after the first page.
  private func mappings() throws -> String {
    let file = try #require(FileHandle(forReadingAtPath: "/proc/self/maps"))
    return String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
  }

  /// What the system says of the page at an address, for instance `r-xp`; nil if not mapped.
  private func permissions(at address: UInt) throws -> String? {
    for line in try mappings().split(separator: "\n") {
      let fields = line.split(separator: " ")
      let range = fields[0].split(separator: "-").map { UInt($0, radix: 16)! }
      if (range[0]..<range[1]).contains(address) { return String(fields[1]) }
    }
    return nil
  }

  @Suite struct CodeMemoryTests {
    let memory = CodeMemory(limit: 1 << 20)
    let page = Int(getpagesize())

    @Test func installedCodeRuns() throws {
      let block = try #require(memory.install(constant(42)))
      #expect(call(block) == 42)
      #expect(block.byteCount == constantBytes)
      #expect(block.mappedBytes == page)
    }

    @Test func aBlockHoldsSeveralFunctions() throws {
      let second = page + 100
      let block = try #require(
        memory.install(constant(1, padding: second - constantBytes) + constant(2)))
      #expect(call(block) == 1)
      #expect(call(block, offset: second) == 2)
      #expect(block.mappedBytes == 2 * page)
    }

    @Test func theRestOfThePageTraps() throws {
      let block = try #require(memory.install(constant(1)))
      let rest = UnsafeRawBufferPointer(
        start: block.entry + constantBytes, count: page - constantBytes)
      #expect(rest.allSatisfy { $0 == trap })
      withExtendedLifetime(block) {}
    }

    @Test func noPageIsWritableAndExecutable() throws {
      let block = try #require(memory.install(constant(1, padding: 3 * page)))
      for offset in stride(from: 0, to: block.mappedBytes, by: page) {
        #expect(try permissions(at: UInt(bitPattern: block.entry) + UInt(offset)) == "r-xp")
      }
      #expect(try !mappings().contains(" rwx"))
      withExtendedLifetime(block) {}
    }

    @Test func memoryGoesWithTheLastReference() throws {
      var block = memory.install(constant(7))
      var other = memory.install(constant(8, padding: page))
      #expect(memory.counters.liveBlocks == 2)
      #expect(memory.counters.liveBytes == 3 * page)
      withExtendedLifetime(other) {}
      let copy = block
      block = nil
      #expect(memory.counters.liveBlocks == 2)
      #expect(call(try #require(copy)) == 7)
      other = nil
      #expect(other == nil)
      #expect(memory.counters.liveBytes == page)
      withExtendedLifetime(copy) {}
    }

    @Test func countersReturn() {
      for value in 0..<1000 as Range<UInt32> {
        #expect(memory.install(constant(value)).map { call($0) } == value)
      }
      let counters = memory.counters
      #expect(counters.liveBlocks == 0)
      #expect(counters.liveBytes == 0)
      #expect(counters.installedBlocks == 1000)
      #expect(counters.installedBytes == 1000 * constantBytes)
      #expect(counters.refusals == 0)
      #expect(counters.lastRefusal == nil)
    }

    @Test(arguments: [
      (CodeMemory.Step.map, "Cannot allocate memory"), (.protect, "Permission denied"),
    ])
    func refusalsOfTheSystem(_ step: CodeMemory.Step, _ text: String) throws {
      memory.fail(at: step)
      for count in 1...3 {
        #expect(memory.install(constant(1)) == nil)
        #expect(memory.counters.refusals == count)
      }
      var counters = memory.counters
      #expect(counters.lastRefusal == text)
      #expect(counters.limitRefusals == 0)
      #expect(counters.liveBlocks == 0)
      #expect(counters.liveBytes == 0)
      #expect(counters.installedBlocks == 0)
      memory.fail(at: nil)
      #expect(call(try #require(memory.install(constant(5)))) == 5)
      counters = memory.counters
      #expect(counters.refusals == 3)
      #expect(counters.installedBlocks == 1)
    }

    /// Mappings that are refused their protection must not stay.
    @Test func refusedProtectionLeaksNothing() throws {
      // Fences, which nobody may touch, are not counted.
      func mappedPages() throws -> Int {
        try mappings().split(separator: "\n").reduce(0) { pages, line in
          let fields = line.split(separator: " ")
          if fields[1].hasPrefix("---") { return pages }
          let ends = fields[0].split(separator: "-").map { UInt($0, radix: 16)! }
          return pages + Int(ends[1] - ends[0]) / page
        }
      }
      let pages = 250
      let large = constant(1, padding: (pages - 1) * page)
      memory.fail(at: .protect)
      let before = try mappedPages()
      // 2 GB of address space in all; tests that run meanwhile do not take half as much.
      for _ in 0..<2000 { #expect(memory.install(large) == nil) }
      #expect(try mappedPages() - before < 2000 * pages / 2)
    }

    /// The mappings go, not just their count.
    @Test(
      .disabled(
        if: Emulation.isActive, "QEMU's list has mappings as one that differ in permissions"))
    func pagesGoBackToTheSystem() throws {
      var blocks = (0..<400 as Range<UInt32>).compactMap {
        CodeMemory(limit: 1 << 20).install(constant($0))
      }
      #expect(blocks.count == 400)
      let places = blocks.map { UInt(bitPattern: $0.entry) }
      /// How many of the places are executable.
      func mapped() throws -> Int {
        let ranges = try mappings().split(separator: "\n").compactMap { line -> Range<UInt>? in
          let fields = line.split(separator: " ")
          let ends = fields[0].split(separator: "-").map { UInt($0, radix: 16)! }
          return fields[1].contains("x") ? ends[0]..<ends[1] : nil
        }
        return places.filter { place in ranges.contains { $0.contains(place) } }.count
      }
      let before = try mapped()
      #expect(before == 400)
      blocks = []
      // Kernels of tests that run meanwhile may have come to some of the places.
      #expect(try mapped() < 200)
    }

    @Test func theLimitHolds() throws {
      let small = CodeMemory(limit: 3 * page)
      var blocks = try (0..<3).map { try #require(small.install(constant($0))) }
      #expect(small.install(constant(9)) == nil)
      #expect(small.install(constant(9, padding: 9 * page)) == nil)
      #expect(small.counters.limitRefusals == 2)
      #expect(small.counters.refusals == 2)
      #expect(small.counters.lastRefusal == "the limit of \(3 * page) bytes of code is reached")
      #expect(small.counters.liveBytes == 3 * page)
      #expect(blocks.map { call($0) } == [0, 1, 2])
      blocks.removeLast()
      #expect(call(try #require(small.install(constant(9)))) == 9)
    }

    @Test func threadsInstallAtOnce() {
      let small = CodeMemory(limit: 64 * page)
      DispatchQueue.concurrentPerform(iterations: 8) { worker in
        var kept: [CodeBlock] = []
        for turn in 0..<500 {
          let value = UInt32(worker * 1000 + turn)
          if let block = small.install(constant(value)) {
            if call(block) != value { Issue.record("worker \(worker): wrong code") }
            kept.append(block)
          }
          if kept.count == 16 { kept.removeAll() }
          if small.counters.liveBytes > 64 * page { Issue.record("over the limit") }
        }
      }
      let counters = small.counters
      #expect(counters.liveBlocks == 0)
      #expect(counters.liveBytes == 0)
      #expect(counters.installedBlocks + counters.refusals == 8 * 500)
      #expect(counters.limitRefusals == counters.refusals)
    }
  }
#else
  @Suite struct CodeMemoryTests {
    @Test func refusesWithAReason() {
      let memory = CodeMemory(limit: 1 << 20)
      #expect(memory.install([0xC3]) == nil)
      #expect(memory.counters.refusals == 1)
      #expect(memory.counters.lastRefusal == CodeMemory.unsupported)
      #expect(CodeMemory.unsupported != nil)
    }
  }
#endif
