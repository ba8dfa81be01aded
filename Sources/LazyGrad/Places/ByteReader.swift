// Numbers and texts out of a file that may be damaged. Uses nothing else of the library.

/// Reads numbers one behind the other. Past the end there are zeros, and the reader stays there.
///
/// Always `0 <= position <= end <= bytes.count`. The functions are not generic: in a debug build that
/// would take them ten times as long.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer
  private(set) var position: Int
  let end: Int

  /// Reads a part of some bytes; what of it is outside of them is left out.
  init(_ bytes: UnsafeRawBufferPointer, _ part: Range<Int>) {
    self.bytes = bytes
    position = min(max(part.lowerBound, 0), bytes.count)
    end = min(max(part.upperBound, position), bytes.count)
  }

  var isAtEnd: Bool { position >= end }

  /// The place of as many bytes, behind which the reader then is; nil if there are not so many.
  private mutating func take(_ count: Int) -> UnsafeRawPointer? {
    guard end - position >= count, let base = bytes.baseAddress else {
      position = end
      return nil
    }
    defer { position += count }
    return base + position
  }

  mutating func byte() -> UInt8 { take(1)?.load(as: UInt8.self) ?? 0 }

  mutating func word16() -> UInt16 {
    UInt16(littleEndian: take(2)?.loadUnaligned(as: UInt16.self) ?? 0)
  }

  mutating func word32() -> UInt32 {
    UInt32(littleEndian: take(4)?.loadUnaligned(as: UInt32.self) ?? 0)
  }

  mutating func word64() -> UInt64 {
    UInt64(littleEndian: take(8)?.loadUnaligned(as: UInt64.self) ?? 0)
  }

  /// A number of as many bytes, at most 8.
  mutating func number(bytes count: Int) -> UInt64 {
    switch count {
    case 1: return UInt64(byte())
    case 2: return UInt64(word16())
    case 3: return UInt64(word16()) | UInt64(byte()) << 16
    case 4: return UInt64(word32())
    case 8: return word64()
    default:
      position = end
      return 0
    }
  }

  /// An offset in a section: of 8 bytes in a unit of the 64-bit format.
  mutating func offset(isLong: Bool) -> UInt64 { isLong ? word64() : UInt64(word32()) }

  /// What is behind the length and the version that units begin with; this reader is behind the unit then.
  /// nil for a version that is not known.
  mutating func unit() -> (rest: ByteReader, version: UInt16, isLong: Bool)? {
    var length = UInt64(word32())
    let isLong = length == 0xFFFF_FFFF
    if isLong { length = word64() }
    var rest = part(length)
    let version = rest.word16()
    return (2...5).contains(version) ? (rest, version, isLong) : nil
  }

  /// Little-endian base 128.
  mutating func unsigned() -> UInt64 {
    var result: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let next = byte()
      if shift < 64 { result |= UInt64(next & 0x7F) << shift }
      shift += 7
      if next & 0x80 == 0 { return result }
    }
  }

  /// Little-endian base 128, two's complement.
  mutating func signed() -> Int64 {
    var result: Int64 = 0
    var shift: Int64 = 0
    while true {
      let next = byte()
      if shift < 64 { result |= Int64(next & 0x7F) << shift }
      shift += 7
      if next & 0x80 != 0 { continue }
      return next & 0x40 != 0 && shift < 64 ? result | -1 << shift : result
    }
  }

  /// A text that ends with a zero byte; empty if it is longer than any path, and then the reader is
  /// somewhere in it.
  mutating func text() -> String {
    let start = position
    let limit = start + min(end - start, 4096)
    while position < limit {
      position += 1
      if bytes[position - 1] == 0 {
        return String(decoding: bytes[start..<position - 1], as: UTF8.self)
      }
    }
    return ""
  }

  mutating func skipText() {
    while position < end {
      position += 1
      if bytes[position - 1] == 0 { return }
    }
  }

  mutating func skip(_ count: UInt64) {
    position += Int(min(count, UInt64(end - position)))
  }

  /// A reader of the next bytes, behind which this one then is.
  mutating func part(_ count: UInt64) -> ByteReader {
    let start = position
    skip(count)
    return ByteReader(bytes, start..<position)
  }
}
