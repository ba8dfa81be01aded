// The checksum of ZIP archives. Uses nothing else.

/// CRC-32 as ZIP, gzip and Ethernet have it (ISO 3309): polynomial 0xEDB88320, bits reflected.
struct CRC32 {
  private var state: UInt32 = 0xFFFF_FFFF

  /// The checksum of what has been added.
  var value: UInt32 { ~state }

  /// Eight tables of 256: byte k of a word of eight is followed by 7 - k bytes of zeros.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for i in 0..<256 {
      var c = UInt32(i)
      for _ in 0..<8 { c = c & 1 == 1 ? 0xEDB8_8320 ^ (c >> 1) : c >> 1 }
      tables[i] = c
    }
    for i in 256..<8 * 256 {
      let c = tables[i - 256]
      tables[i] = tables[Int(c & 0xFF)] ^ (c >> 8)
    }
    return tables
  }()

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    state = Self.tables.withUnsafeBufferPointer { tables in
      var c = state
      var i = 0
      while i + 8 <= bytes.count {
        let word =
          UInt64(littleEndian: base.loadUnaligned(fromByteOffset: i, as: UInt64.self)) ^ UInt64(c)
        // For each byte what it and the zeros behind it give.
        @inline(__always)
        func entry(_ byte: Int) -> UInt32 {
          tables[(7 - byte) * 256 + Int(word >> UInt64(8 * byte) & 0xFF)]
        }
        let low = entry(0) ^ entry(1) ^ entry(2) ^ entry(3)
        c = low ^ entry(4) ^ entry(5) ^ entry(6) ^ entry(7)
        i += 8
      }
      while i < bytes.count {
        c = tables[Int((c ^ UInt32(bytes[i])) & 0xFF)] ^ (c >> 8)
        i += 1
      }
      return c
    }
  }

  /// The checksum of a part of a file, which is read in pieces.
  static func of(_ source: ByteSource) throws(FileProblem) -> UInt32 {
    var crc = CRC32()
    if let bytes = source.inMemory {
      crc.add(bytes)
      return crc.value
    }
    let length = 1 << 18
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 16)
    defer { buffer.deallocate() }
    for start in stride(from: 0, to: source.count, by: length) {
      let piece = UnsafeMutableRawBufferPointer(
        rebasing: buffer[..<min(length, source.count - start)])
      try source.read(start, into: piece)
      crc.add(UnsafeRawBufferPointer(piece))
    }
    return crc.value
  }
}
