// What reads debug information: right answers from good files, no harm from bad ones.

import Foundation
import LazyGrad
import TestSupport
import Testing

@Suite struct DebugFileTests {
  private func lines(_ bytes: [UInt8], _ address: UInt64) -> [String]? {
    bytes.withUnsafeBytes { DebugFile($0)?.lines(at: address).map(\.description) }
  }

  private static let images: [DebugImage] = ([4, 5] as [UInt16]).flatMap { version in
    [false, true].map { isLong in
      var image = DebugImage()
      (image.version, image.isLong) = (version, isLong)
      return image
    }
  }

  @Test("DWARF 4 and 5, with offsets of 32 and 64 bits", arguments: images)
  func good(_ image: DebugImage) {
    let bytes = image.bytes
    let main = "/src/main.swift"
    #expect(lines(bytes, 0x1000) == ["\(main):10"])
    #expect(lines(bytes, 0x100F) == ["\(main):10"])
    #expect(lines(bytes, 0x1010) == ["/src/lib/lib.swift:5", "\(main):11"])
    #expect(lines(bytes, 0x101F) == ["/src/lib/lib.swift:5", "\(main):11"])
    #expect(lines(bytes, 0x1020) == ["\(main):12"])
    #expect(lines(bytes, 0x2008) == ["\(main):20"])
    for address in [0, 1, 0xFFF, 0x1040, 0x1FFF, 0x2010, .max] as [UInt64] {
      #expect(lines(bytes, address) == [])
    }
  }

  @Test(
    "Compressed sections, files of other formats and parts of files say nothing", arguments: images)
  func nothing(_ image: DebugImage) {
    var image = image
    let bytes = image.bytes
    for count in bytes.indices {
      let some = lines(Array(bytes[..<count]), 0x1014)
      #expect(some == nil || some == [])
    }
    for byte in 0..<6 {
      var other = bytes
      other[byte] ^= 3
      #expect(lines(other, 0x1014) == nil)
    }
    image.isCompressed = true
    #expect(lines(image.bytes, 0x1014) == [])
  }

  @Test("Damaged files end in time, with some answer", arguments: images.indices)
  func damaged(_ index: Int) {
    let bytes = Self.images[index].bytes
    var random = SeededRandom(seed: UInt64(7 + index))
    var answers: [Bool: Int] = [:]
    for _ in 0..<2000 {
      var other = bytes
      for _ in 0..<random.int(1...8) {
        let place = random.int(6...(bytes.count - 1))
        // Bytes that are limits are likelier to do harm.
        other[place] = random.pick([0, 1, 0x7F, 0x80, 0xFF, UInt8(random.int(0...255))])
      }
      for address in [0x1014, 0x2008] as [UInt64] {
        answers[lines(other, address)?.isEmpty == false, default: 0] += 1
      }
    }
    // Most damage is in places that do matter, but not all.
    #expect(answers[true, default: 0] > 100 && answers[false, default: 0] > 100, "\(answers)")
  }

  @Test("Lists that are long for each of many units end in time")
  func quadratic() {
    // Units of one entry that all have the same list of ranges, which nothing ends.
    var image = DebugImage()
    image.version = 4
    let bytes = image.bytes
    let ranges = [UInt8](repeating: 1, count: 16 << 16)
    let units = (0..<10_000).flatMap { _ in
      // Length, version, abbreviations, size of addresses; name, folder, lines, ranges, low.
      [29, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 1, 5, 0, 0, 0] + [UInt8](repeating: 0, count: 17)
    }
    let replaced = replace(bytes, [".debug_info": units, ".debug_ranges": ranges])
    let start = ContinuousClock.now
    #expect(lines(replaced, 0x1014) == [])
    #expect(ContinuousClock.now - start < .seconds(30))
  }

  @Test("Names without an end, of many sections, end in time")
  func names() {
    var bytes = DebugImage().bytes
    // The table of sections at the end: all have a name in a text that nothing ends.
    let count = 60_000
    let text = bytes.count
    bytes += [UInt8](repeating: 0x61, count: 1 << 20)
    let table = bytes.count
    let word: (Int, Int) -> [UInt8] = { number, size in
      (0..<size).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
    let header = word(0, 4) + word(1, 4) + word(0, 16) + word(text, 8) + word(1 << 20, 8)
    for _ in 0..<count { bytes += header + [UInt8](repeating: 0, count: 24) }
    bytes.replaceSubrange(40..<48, with: word(table, 8))
    bytes.replaceSubrange(60..<64, with: word(count, 2) + word(1, 2))
    let start = ContinuousClock.now
    #expect(lines(bytes, 0x1014) == [])
    #expect(ContinuousClock.now - start < .seconds(30))
  }

  /// The file with other sections: they are put at its end.
  private func replace(_ bytes: [UInt8], _ sections: [String: [UInt8]]) -> [UInt8] {
    var result = bytes
    func number(_ place: Int, _ size: Int) -> Int {
      (0..<size).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) }
    }
    func set(_ place: Int, _ value: Int) {
      for k in 0..<8 { result[place + k] = UInt8(truncatingIfNeeded: value >> (8 * k)) }
    }
    let (table, count) = (number(40, 8), number(60, 2))
    let names = number(table + 64 * number(62, 2) + 24, 8)
    for k in 0..<count {
      let header = table + 64 * k
      let name = bytes[(names + number(header, 4))...].prefix { $0 != 0 }
      guard let other = sections[String(decoding: name, as: UTF8.self)] else { continue }
      set(header + 24, result.count)
      set(header + 32, other.count)
      result += other
    }
    return result
  }

  #if os(Linux) && canImport(Glibc)
    @Test("This program's own file, whole and damaged")
    func own() throws {
      let file = open("/proc/self/exe", O_RDONLY)
      defer { close(file) }
      let size = Int(lseek(file, 0, SEEK_END))
      // Private: what is written stays in this process.
      let start = try #require(mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0))
      defer { munmap(start, size) }
      let bytes = UnsafeMutableRawBufferPointer(start: start, count: size)
      let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
      let path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let first = try #require(maps.split(separator: "\n").first { $0.hasSuffix(path) })
      let base = try #require(UInt64(first.prefix { $0 != "-" }, radix: 16))
      // A call in this function.
      typealias Backtrace =
        @convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>, CInt) -> CInt
      let backtrace = unsafeBitCast(try #require(dlsym(nil, "backtrace")), to: Backtrace.self)
      // The first, unless a tool such as Address Sanitizer stands in for `backtrace`.
      var frames = [UnsafeMutableRawPointer?](repeating: nil, count: 3)
      try #require(backtrace(&frames, 3) == 3)
      let line = #line - 1
      let addresses = frames.map { UInt64(UInt(bitPattern: $0)) - 1 }.filter { $0 >= base }
      func lines() -> [String] {
        guard let file = DebugFile(UnsafeRawBufferPointer(bytes)) else { return [] }
        return addresses.flatMap { file.lines(at: $0 - base).map(\.description) }
      }
      try #require(lines().contains { $0.hasSuffix("/DebugFileTests.swift:\(line)") })
      let table = bytes.loadUnaligned(fromByteOffset: 40, as: Int.self)
      var random = SeededRandom(seed: 11)
      for _ in 0..<30 {
        // The debug information is behind the code and before the table of sections.
        var changed: [(Int, UInt8)] = []
        for _ in 0..<3000 {
          let place =
            random.chance(0.01) ? random.int(6...63) : random.int((table / 2)...(size - 1))
          changed.append((place, bytes[place]))
          bytes[place] = UInt8(random.int(0...255))
        }
        _ = lines()
        for (place, byte) in changed.reversed() { bytes[place] = byte }
      }
      #expect(lines().contains { $0.hasSuffix("/DebugFileTests.swift:\(line)") })
    }
  #endif
}
