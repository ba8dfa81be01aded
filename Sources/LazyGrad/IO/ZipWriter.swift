// Writing ZIP archives of stored files. Uses FileWriter and CRC32.

/// Writes the files of an archive one after the other, and then the directory.
///
/// Sizes are known before, so nothing has to be written twice. From 4 GiB on numbers stand in the larger
/// fields of APPNOTE.TXT, 4.5.3.
struct ZipWriter {
  private var directory: [UInt8] = []
  private var count = 0

  /// The 1st of January 1980, the first day that there is in archives: equal content gives equal files.
  private static let date = (0x0000, 0x0021)
  private static let large = 0xFFFF_FFFF

  /// Adds a file: a header and what follows it.
  mutating func add(
    _ name: String, _ header: [UInt8], _ data: UnsafeRawBufferPointer, to writer: inout FileWriter
  ) throws(FileProblem) {
    if let wrong = ArchiveName.problem(name) {
      throw .notWritable("a name for an archive", "\(wrong): '\(FileProblem.printable(name.utf8))'")
    }
    let place = writer.count
    var crc = CRC32()
    header.withUnsafeBytes { crc.add($0) }
    crc.add(data)
    let size = header.count + data.count
    let utf8 = Array(name.utf8)
    let isLarge = size >= Self.large
    let isFar = place >= Self.large

    // Both headers have these in common: version needed, flags (names in UTF-8), method, date, checksum.
    var common: [UInt8] = []
    common.append16(isLarge || isFar ? 45 : 20)
    common.append16(utf8.allSatisfy { $0 < 0x80 } ? 0 : 0x800)
    common.append16(0)
    common.append16(Self.date.0)
    common.append16(Self.date.1)
    common.append32(Int(crc.value))
    for _ in 0..<2 { common.append32(isLarge ? Self.large : size) }
    common.append16(utf8.count)

    var local: [UInt8] = []
    local.append32(0x0403_4B50)
    local += common
    local.append16(isLarge ? 20 : 0)
    local += utf8
    if isLarge { local.appendLarge([size, size]) }
    try writer.write(local)
    try writer.write(header)
    try writer.write(data)

    directory.append32(0x0201_4B50)
    directory.append16(isLarge || isFar ? 45 : 20)
    directory += common
    let numbers = (isLarge ? [size, size] : []) + (isFar ? [place] : [])
    directory.append16(numbers.isEmpty ? 0 : 4 + 8 * numbers.count)
    // No comment, the first disk, no attributes.
    for _ in 0..<3 { directory.append16(0) }
    directory.append32(0)
    directory.append32(isFar ? Self.large : place)
    directory += utf8
    if !numbers.isEmpty { directory.appendLarge(numbers) }
    count += 1
  }

  /// Writes the directory.
  consuming func finish(_ writer: inout FileWriter) throws(FileProblem) {
    let place = writer.count
    let end = place + directory.count
    try writer.write(directory)
    var record: [UInt8] = []
    let isLarge = count >= 0xFFFF || end >= Self.large
    if isLarge {
      record.append32(0x0606_4B50)
      record.append64(44)
      record.append16(45)
      record.append16(45)
      record.append32(0)
      record.append32(0)
      for number in [count, count, end - place, place] { record.append64(number) }
      record.append32(0x0706_4B50)
      record.append32(0)
      record.append64(end)
      record.append32(1)
    }
    record.append32(0x0605_4B50)
    record.append16(0)
    record.append16(0)
    for _ in 0..<2 { record.append16(isLarge ? 0xFFFF : count) }
    record.append32(isLarge ? Self.large : end - place)
    record.append32(isLarge ? Self.large : place)
    record.append16(0)
    try writer.write(record)
  }
}

extension [UInt8] {
  fileprivate mutating func append16(_ value: Int) {
    append(UInt8(truncatingIfNeeded: value))
    append(UInt8(truncatingIfNeeded: value >> 8))
  }

  fileprivate mutating func append32(_ value: Int) {
    append16(value)
    append16(value >> 16)
  }

  fileprivate mutating func append64(_ value: Int) {
    append32(value)
    append32(value >> 32)
  }

  /// An extra field of numbers that don't fit elsewhere.
  fileprivate mutating func appendLarge(_ numbers: [Int]) {
    append16(1)
    append16(8 * numbers.count)
    for number in numbers { append64(number) }
  }
}
