// The sections of an ELF file that say what source its machine code was compiled from. Uses ByteReader.

/// The debug information of an executable or a library: ELF of 64 bits, little-endian, DWARF 2 to 5.
///
/// The file may be damaged or made to confuse: each read is checked, and what is read is counted, so that
/// nothing takes longer than a second or two. What is not understood is answered with nothing.
package final class DebugFile {
  /// A section, by the tail of its name.
  enum Section: String, CaseIterable {
    case info, abbrev, line, str, addr, ranges, rnglists
    case lineStrings = "line_str"
    case stringOffsets = "str_offsets"
  }

  let bytes: UnsafeRawBufferPointer
  private var sections = [Range<Int>](repeating: 0..<0, count: Section.allCases.count)
  /// The program headers: the table that the system loaded the file by.
  let segments: Range<Int>
  /// How many entries, rows and attributes may still be read.
  private var stepsLeft = 20_000_000

  /// - Parameter bytes: Must stay where they are as long as this object is used.
  package init?(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
    // The magic number; 64 bits; little-endian.
    guard bytes.count >= 64, bytes.prefix(6).elementsEqual([0x7F, 0x45, 0x4C, 0x46, 2, 1]) else {
      return nil
    }
    var header = ByteReader(bytes, 32..<64)
    let segmentTable = header.word64()
    let table = header.word64()
    header.skip(6)
    let (segmentSize, segmentCount) = (header.word16(), header.word16())
    let (size, count, names) = (header.word16(), header.word16(), header.word16())
    segments =
      Self.range(segmentTable, UInt64(segmentSize) * UInt64(segmentCount), bytes) ?? 0..<0
    guard size >= 64, names < count,
      let headers = Self.range(table, UInt64(size) * UInt64(count), bytes)
    else { return nil }
    func reader(_ k: UInt16) -> ByteReader {
      let start = headers.lowerBound + Int(k) * Int(size)
      return ByteReader(bytes, start..<start + 64)
    }
    guard let nameTable = Self.contents(reader(names), bytes) else { return nil }
    for k in 0..<count {
      let section = reader(k)
      var offset = section
      let start = nameTable.lowerBound + Int(offset.word32())
      guard start < nameTable.upperBound else { continue }
      var name = ByteReader(bytes, start..<nameTable.upperBound)
      let text = name.text()
      guard text.hasPrefix(".debug_"), let known = Section(rawValue: String(text.dropFirst(7)))
      else { continue }
      sections[Self.index(known)] = Self.contents(section, bytes) ?? 0..<0
    }
  }

  private static func index(_ section: Section) -> Int {
    Section.allCases.firstIndex(of: section) ?? 0
  }

  /// Where a part of the file is; nil if it isn't inside.
  private static func range(
    _ start: UInt64, _ count: UInt64, _ bytes: UnsafeRawBufferPointer
  ) -> Range<Int>? {
    let (end, overflow) = start.addingReportingOverflow(count)
    return overflow || end > UInt64(bytes.count) ? nil : Int(start)..<Int(end)
  }

  /// Where the bytes of a section are; nil where it is compressed or not in the file.
  private static func contents(
    _ header: ByteReader, _ bytes: UnsafeRawBufferPointer
  ) -> Range<Int>? {
    var header = header
    _ = header.word32()
    let (type, flags) = (header.word32(), header.word64())
    let (notInFile, compressed) = (UInt32(8), UInt64(0x800))
    if type == notInFile || flags & compressed != 0 { return nil }
    header.skip(8)
    let start = header.word64()
    return range(start, header.word64(), bytes)
  }

  /// The bytes of a section from an offset on; none where it is not in the file.
  func reader(_ section: Section, from offset: UInt64 = 0) -> ByteReader {
    let range = sections[Self.index(section)]
    let start = range.lowerBound + Int(min(offset, UInt64(range.count)))
    return ByteReader(bytes, start..<range.upperBound)
  }

  /// Counts a step. All loops ask, also those that are bounded by the file's size: a damaged file may make
  /// one of them run for each turn of another.
  ///
  /// - Returns: Whether there is still one.
  func step() -> Bool {
    stepsLeft -= 1
    return stepsLeft >= 0
  }

  /// The lines that an address was compiled from: of the innermost call that was inlined there first, then
  /// where that was called, and so on out to the function that is in the file. None where that isn't known.
  package func lines(at address: UInt64) -> [TensorError.Location] {
    guard let unit = units(of: [address])[address] else { return [] }
    return unit.lines(at: address)
  }
}
