// The directory of a ZIP archive, read so that nothing in it has to be trusted. Uses ByteSource.

/// Where the files of a ZIP archive are. The format is that of PKWARE's APPNOTE.TXT, 6.3.
///
///     local header, name, extra, data, (sizes)    for each file
///     directory entry, name, extra                for each file
///     (end of the directory and its place, for archives beyond 4 GiB)
///     end of the directory, comment
///
/// An archive that can be read in two ways is refused: the directory ends where the end record begins, each
/// file's local header says what its entry says, no two files share bytes or a name, and no name leads out
/// of a folder.
struct ZipDirectory {
  struct Entry {
    let name: String
    let isDeflated: Bool
    let checksum: UInt32
    /// Where the data is in the archive.
    let data: Range<Int>
    /// How many bytes it has, decompressed.
    let size: Int
  }

  /// In the order of the directory; folders are left out.
  let entries: [Entry]

  private static let endSignature = 0x0605_4B50
  private static let endSignature64 = 0x0606_4B50
  private static let placeSignature64 = 0x0706_4B50
  private static let entrySignature = 0x0201_4B50
  private static let localSignature = 0x0403_4B50
  private static let descriptorSignature = 0x0807_4B50

  init(_ source: ByteSource) throws(FileProblem) {
    let end = try End(source)
    let bytes = try source.bytes(end.directory)
    var entries: [Entry] = []
    // From where on to where each file has bytes.
    var extents: [Range<Int>] = []
    var names: Set<String> = []
    var position = 0
    var count = 0
    while position < bytes.count {
      let record = try Record(bytes, &position)
      count += 1
      let (data, extent) = try record.place(source, before: end.directory.lowerBound)
      extents.append(extent)
      guard names.insert(record.name).inserted else {
        throw .malformed("every name once", "'\(FileProblem.printable(record.name.utf8))' twice")
      }
      if record.name.utf8.last == UInt8(ascii: "/") { continue }
      entries.append(
        Entry(
          name: record.name, isDeflated: record.method == 8, checksum: record.checksum, data: data,
          size: record.size))
    }
    guard count == end.count else { throw .malformed("\(end.count) files", "\(count)") }
    extents.sort { $0.lowerBound < $1.lowerBound }
    for (a, b) in zip(extents, extents.dropFirst()) where a.upperBound > b.lowerBound {
      throw .malformed("files that share no bytes", "two that do")
    }
    self.entries = entries
  }

  // MARK: The end of the archive

  private struct End {
    let directory: Range<Int>
    let count: Int

    init(_ source: ByteSource) throws(FileProblem) {
      // The record is 22 bytes and a comment of at most 65,535.
      let first = max(0, source.count - 22 - 0xFFFF)
      let tail = try source.bytes(first..<source.count)
      guard let at = Self.find(tail) else {
        throw .malformed("the end record of a ZIP archive", "none")
      }
      let record = tail.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[at...]).record }
      var (count, size, offset) = (UInt64(record.count), UInt64(record.size), UInt64(record.offset))
      var end = first + at
      guard record.disks == (0, 0), record.count == record.countHere else {
        throw .unsupported("an archive in one file", "one in several")
      }
      // A number that does not fit is all ones, and stands in a larger record before this one.
      if record.count == 0xFFFF || record.size == 0xFFFF_FFFF || record.offset == 0xFFFF_FFFF,
        let large = try Self.large(source, before: end)
      {
        (count, size, offset, end) = large
      }
      guard offset <= UInt64(end), size == UInt64(end) - offset else {
        throw .malformed(
          "a directory that ends at byte \(end)", "\(size) bytes at byte \(offset)")
      }
      guard count <= size / 46 else { throw .malformed("\(count) files", "\(size) bytes of them") }
      directory = Int(offset)..<end
      self.count = Int(count)
    }

    /// The last place where there is a record whose comment ends with the file.
    private static func find(_ tail: [UInt8]) -> Int? {
      tail.withUnsafeBytes { tail in
        var at = tail.count - 22
        while at >= 0 {
          if tail.word32(at) == endSignature, tail.word16(at + 20) == tail.count - at - 22 {
            return at
          }
          at -= 1
        }
        return nil
      }
    }

    private static func large(
      _ source: ByteSource, before end: Int
    ) throws(FileProblem) -> (UInt64, UInt64, UInt64, Int)? {
      guard end >= 20 + 56 else { return nil }
      let place = try source.bytes(end - 20..<end)
      let (signature, offset) = place.withUnsafeBytes { ($0.word32(0), $0.word64(8)) }
      if signature != placeSignature64 { return nil }
      guard offset <= UInt64(end - 20 - 56) else {
        throw .malformed("a large end record before byte \(end - 20)", "one at byte \(offset)")
      }
      let start = Int(offset)
      let record = try source.bytes(start..<start + 56)
      return try record.withRaw { bytes throws(FileProblem) in
        guard bytes.word32(0) == endSignature64, bytes.word64(4) == UInt64(end - 20 - start - 12)
        else { throw .malformed("a large end record at byte \(offset)", "something else") }
        guard bytes.word32(16) == 0, bytes.word32(20) == 0, bytes.word64(24) == bytes.word64(32)
        else { throw .unsupported("an archive in one file", "one in several") }
        return (bytes.word64(32), bytes.word64(40), bytes.word64(48), start)
      }
    }
  }

  // MARK: An entry

  private struct Record {
    let name: String
    private let rawName: [UInt8]
    let flags: Int
    let method: Int
    let checksum: UInt32
    /// Bytes in the archive.
    private let packed: Int
    /// Bytes of the file.
    let size: Int
    private let local: Int

    /// Reads the entry at a position, and moves that behind it.
    init(_ directory: [UInt8], _ position: inout Int) throws(FileProblem) {
      let fields = try directory.withRaw { bytes throws(FileProblem) in
        try Fields(bytes, position)
      }
      position += 46 + fields.nameLength + fields.extraLength + fields.commentLength
      rawName = Array(directory[fields.name])
      (flags, method, checksum) = (fields.flags, fields.method, fields.checksum)
      name = try Self.checked(rawName)
      let what = "'\(FileProblem.printable(rawName))'"
      if flags & 0x2041 != 0 { throw .unsupported("\(what) as it is", "it encrypted") }
      guard method == 0 || method == 8 else {
        throw .unsupported("\(what) stored or deflated", "it compressed by method \(method)")
      }
      guard fields.disk == 0 else { throw .unsupported("an archive in one file", "one in several") }
      // More than memory has addresses for is more than the file has.
      guard let packed = Int(exactly: fields.packed), let size = Int(exactly: fields.size),
        let local = Int(exactly: fields.local)
      else { throw .malformed("sizes and places of \(what) that there can be", "others") }
      (self.packed, self.size, self.local) = (packed, size, local)
      if method == 0 {
        guard packed == size else {
          throw .malformed("\(what) stored as \(size) bytes", "\(packed)")
        }
      } else {
        let (most, overflow) = packed.multipliedReportingOverflow(by: Inflate.greatestRatio)
        guard overflow || size <= most else {
          throw .malformed("at most \(most) bytes of \(packed) deflated", "\(size) for \(what)")
        }
      }
    }

    /// A name that is one: keys of arrays, with '/' between the parts of some.
    private static func checked(_ raw: [UInt8]) throws(FileProblem) -> String {
      guard let name = String(validating: raw, as: UTF8.self) else {
        throw .malformed("names in UTF-8", "'\(FileProblem.printable(raw))'")
      }
      if let wrong = ArchiveName.problem(name) {
        throw .malformed("a name within the archive", "\(wrong): '\(FileProblem.printable(raw))'")
      }
      return name
    }

    /// Where the data is, and all bytes that belong to the file.
    func place(
      _ source: ByteSource, before limit: Int
    ) throws(FileProblem) -> (data: Range<Int>, extent: Range<Int>) {
      let what = "'\(FileProblem.printable(rawName))'"
      guard limit >= 30, local <= limit - 30 else {
        throw .malformed("\(what) before byte \(limit)", "byte \(local)")
      }
      let header = try source.bytes(local..<local + 30)
      let (agrees, nameLength, extraLength) = header.withUnsafeBytes {
        // Where the sizes come behind the data, they and the checksum are zero here.
        let isLate = flags & 8 != 0
        return (
          $0.word32(0) == localSignature && $0.word16(6) == flags && $0.word16(8) == method
            && ($0.word32(14) == Int(checksum) || isLate)
            && ([packed, 0xFFFF_FFFF].contains($0.word32(18)) || isLate)
            && ([size, 0xFFFF_FFFF].contains($0.word32(22)) || isLate),
          $0.word16(26), $0.word16(28)
        )
      }
      let nameEnd = local + 30 + nameLength
      let start = nameEnd + extraLength
      guard agrees, start <= limit, try source.bytes(local + 30..<nameEnd) == rawName else {
        throw .malformed("a local header that agrees with the directory's on \(what)", "another")
      }
      guard packed <= limit - start else {
        throw .malformed("\(packed) bytes of \(what)", "\(limit - start)")
      }
      return (start..<start + packed, local..<start + packed)
    }
  }

  /// The numbers of an entry.
  private struct Fields {
    let flags: Int
    let method: Int
    let checksum: UInt32
    let nameLength: Int
    let extraLength: Int
    let commentLength: Int
    let name: Range<Int>
    private(set) var packed: UInt64
    private(set) var size: UInt64
    private(set) var local: UInt64
    private(set) var disk: Int

    init(_ bytes: UnsafeRawBufferPointer, _ at: Int) throws(FileProblem) {
      guard bytes.count - at >= 46, bytes.word32(at) == entrySignature else {
        throw .malformed("an entry of the directory", "something else")
      }
      (flags, method) = (bytes.word16(at + 8), bytes.word16(at + 10))
      checksum = UInt32(bytes.word32(at + 16))
      (packed, size) = (UInt64(bytes.word32(at + 20)), UInt64(bytes.word32(at + 24)))
      (nameLength, extraLength) = (bytes.word16(at + 28), bytes.word16(at + 30))
      commentLength = bytes.word16(at + 32)
      (disk, local) = (bytes.word16(at + 34), UInt64(bytes.word32(at + 42)))
      guard bytes.count - at - 46 >= nameLength + extraLength + commentLength else {
        throw .malformed("a whole entry of the directory", "the end")
      }
      name = at + 46..<at + 46 + nameLength
      let extra = UnsafeRawBufferPointer(
        rebasing: bytes[name.upperBound..<name.upperBound + extraLength])
      try takeLarge(extra)
    }

    /// Numbers that don't fit are all ones, and stand in the extra field with the mark 1, in this order.
    private mutating func takeLarge(_ extra: UnsafeRawBufferPointer) throws(FileProblem) {
      var at = 0
      var hasLarge = false
      while extra.count - at >= 4 {
        let (mark, length) = (extra.word16(at), extra.word16(at + 2))
        at += 4
        guard length <= extra.count - at else {
          throw .malformed("whole extra fields", "a part of one")
        }
        if mark == 1 {
          if hasLarge { throw .malformed("large sizes once", "them twice") }
          hasLarge = true
          var field = at
          func next() throws(FileProblem) -> UInt64 {
            guard field + 8 <= at + length else {
              throw .malformed("large sizes in the extra field", "its end")
            }
            field += 8
            return extra.word64(field - 8)
          }
          if size == 0xFFFF_FFFF { size = try next() }
          if packed == 0xFFFF_FFFF { packed = try next() }
          if local == 0xFFFF_FFFF { local = try next() }
          if disk == 0xFFFF { disk = length - (field - at) >= 4 ? extra.word32(field) : disk }
        }
        at += length
      }
    }
  }
}

/// What the name of a file in an archive may be.
enum ArchiveName {
  /// What is wrong with a name; nil if nothing is. A name that a program made into a path must not lead
  /// anywhere else.
  static func problem(_ name: String) -> String? {
    if name.isEmpty { return "an empty one" }
    if name.utf8.count > 0xFFFF { return "one of \(name.utf8.count) bytes" }
    if name.utf8.contains(0) { return "one with a zero byte" }
    if name.utf8.contains(UInt8(ascii: "\\")) { return "one with a backslash" }
    if name.utf8.first == UInt8(ascii: "/") { return "an absolute path" }
    let parts = name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    if parts.contains(where: { $0.elementsEqual("..".utf8) }) { return "a path that leads out" }
    return nil
  }
}

extension UnsafeRawBufferPointer {
  /// The numbers of the end record.
  fileprivate var record: (disks: (Int, Int), countHere: Int, count: Int, size: Int, offset: Int) {
    ((word16(4), word16(6)), word16(8), word16(10), word32(12), word32(16))
  }
}
