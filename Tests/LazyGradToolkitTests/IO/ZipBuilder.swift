// Archives for the tests, byte by byte, so that every field can be a wrong one. Independent of the library's
// own writer.

/// A ZIP archive of files that are given as they lie in it.
struct ZipBuilder {
  struct File {
    var name: [UInt8]
    /// What lies in the archive.
    var data: [UInt8]
    /// The size and the checksum of what it is decompressed.
    var size: Int
    var checksum: UInt32
    var method = 0
    var flags = 0
    /// Other values in the local header.
    var localName: [UInt8]?
    var localSize: Int?
    /// Sizes in fields of 64 bits.
    var isLarge = false

    /// A stored file.
    init(_ name: String, _ data: [UInt8]) {
      self.name = Array(name.utf8)
      self.data = data
      size = data.count
      checksum = ZipBuilder.checksum(data)
    }

    /// A deflated file.
    init(_ name: String, deflated: [UInt8], of data: [UInt8]) {
      self.init(name, data)
      self.data = deflated
      method = 8
    }
  }

  /// CRC-32, a bit at a time.
  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    var c: UInt32 = 0xFFFF_FFFF
    for byte in bytes {
      c ^= UInt32(byte)
      for _ in 0..<8 { c = c & 1 == 1 ? 0xEDB8_8320 ^ (c >> 1) : c >> 1 }
    }
    return ~c
  }

  /// - Parameter isLarge: Whether the end record's numbers stand in fields of 64 bits.
  static func archive(
    _ files: [File], comment: [UInt8] = [], isLarge: Bool = false
  ) -> [UInt8] {
    var result: [UInt8] = []
    var directory: [UInt8] = []
    for file in files {
      let place = result.count
      let sizes = [file.data.count, file.localSize ?? file.size]
      let middle =
        word(file.flags, 2) + word(file.method, 2) + word(0, 4) + word(Int(file.checksum), 4)
      let large =
        file.isLarge ? word(1, 2) + word(16, 2) + word(sizes[1], 8) + word(sizes[0], 8) : []
      let name = file.localName ?? file.name
      result += word(0x0403_4B50, 4) + word(45, 2) + middle
      result += file.isLarge ? word(-1, 8) : word(sizes[0], 4) + word(sizes[1], 4)
      result += word(name.count, 2) + word(large.count, 2) + name + large + file.data
      directory += word(0x0201_4B50, 4) + word(45, 2) + word(45, 2) + middle
      directory += file.isLarge ? word(-1, 8) : word(sizes[0], 4) + word(file.size, 4)
      let wide =
        file.isLarge ? word(1, 2) + word(16, 2) + word(file.size, 8) + word(sizes[0], 8) : []
      directory += word(file.name.count, 2) + word(wide.count, 2) + word(0, 2 + 2 + 2 + 4)
      directory += word(place, 4) + file.name + wide
    }
    let place = result.count
    result += directory
    if isLarge {
      let end = result.count
      result += word(0x0606_4B50, 4) + word(44, 8) + word(45, 2) + word(45, 2) + word(0, 8)
      result += word(files.count, 8) + word(files.count, 8) + word(directory.count, 8)
      result += word(place, 8) + word(0x0706_4B50, 4) + word(0, 4) + word(end, 8) + word(1, 4)
    }
    result += word(0x0605_4B50, 4) + word(0, 4)
    for _ in 0..<2 { result += word(isLarge ? -1 : files.count, 2) }
    result += word(isLarge ? -1 : directory.count, 4) + word(isLarge ? -1 : place, 4)
    return result + word(comment.count, 2) + comment
  }

  /// A little-endian number.
  static func word(_ value: Int, _ bytes: Int) -> [UInt8] {
    (0..<bytes).map { UInt8(truncatingIfNeeded: value >> min(8 * $0, 63)) }
  }
}
