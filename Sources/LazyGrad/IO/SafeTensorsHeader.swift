// The header of a .safetensors file: JSON of one fixed form. Uses ByteSource's numbers.

/// What the header of a `.safetensors` file says. The format is that of huggingface/safetensors:
///
///     length of the header, 8 bytes | {"name": {"dtype": "F32", "shape": [2, 3],   | elements of all
///                                   |   "data_offsets": [0, 24]}, ...}             | tensors
///
/// Foundation's JSON would let keys that are there twice pass, round numbers, and build a tree of whatever
/// is nested. The form is known, so it is read as it comes, and what is not of that form is refused.
struct SafeTensorsHeader {
  struct Entry {
    let name: String
    let type: StoredType
    let shape: [Int]
    /// Where the elements are, counted from the first tensor's.
    let range: Range<Int>
  }

  /// In the order of their elements.
  let entries: [Entry]
  let metadata: [String: String]
  /// Where the elements begin in the file.
  let offset: Int

  /// The format's own limit.
  static let lengthLimit = 100_000_000
  static let metadataKey = "__metadata__"

  init(_ file: UnsafeRawBufferPointer) throws(FileProblem) {
    guard file.count >= 8 else {
      throw .malformed("8 bytes with the header's length", "\(file.count)")
    }
    let length = file.word64(0)
    guard length <= UInt64(file.count - 8) else {
      throw .malformed(
        "a header of \(length) bytes", "\(file.count - 8) bytes to the end of the file")
    }
    guard length <= UInt64(Self.lengthLimit) else {
      throw .malformed("a header of at most \(Self.lengthLimit) bytes", "\(length)")
    }
    offset = 8 + Int(length)
    let text = UnsafeRawBufferPointer(rebasing: file[8..<offset])
    guard text.first == UInt8(ascii: "{") else {
      throw .malformed(
        "a header that begins with '{'", "'\(FileProblem.printable(text.prefix(8)))'")
    }
    var parser = HeaderParser(text)
    let (entries, metadata) = try parser.header()
    self.metadata = metadata
    self.entries = entries.sorted {
      ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
    }
    var end = 0
    for entry in self.entries {
      let what = "'\(FileProblem.printable(entry.name.utf8))'"
      guard entry.range.lowerBound == end else {
        throw .malformed("\(what) to begin at byte \(end)", "byte \(entry.range.lowerBound)")
      }
      guard entry.type.isKnown else {
        throw .unsupported("an element type of the format for \(what)", "'\(entry.type.name)'")
      }
      guard let size = entry.type.byteCount(entry.shape) else {
        throw .malformed("a shape of \(what) whose size is a number", "\(entry.shape)")
      }
      guard entry.range.count == size else {
        throw .malformed(
          "\(size) bytes for \(what), shape \(entry.shape) of \(entry.type.name)",
          "\(entry.range.count)")
      }
      end = entry.range.upperBound
    }
    guard end == file.count - offset else {
      throw .malformed("\(end) bytes of elements", "\(file.count - offset)")
    }
  }
}

/// Reads the one form that a header has.
private struct HeaderParser {
  private let text: UnsafeRawBufferPointer
  private var position = 0

  init(_ text: UnsafeRawBufferPointer) { self.text = text }

  mutating func header() throws(FileProblem) -> ([SafeTensorsHeader.Entry], [String: String]) {
    var entries: [SafeTensorsHeader.Entry] = []
    var names: Set<String> = []
    var metadata: [String: String]?
    try object { parser, name throws(FileProblem) in
      if name == SafeTensorsHeader.metadataKey {
        if metadata != nil { throw .malformed("'\(name)' once", "it twice") }
        metadata = try parser.strings()
      } else if names.insert(name).inserted {
        entries.append(try parser.entry(name))
      } else {
        throw .malformed("every name once", "'\(FileProblem.printable(name.utf8))' twice")
      }
    }
    skipSpace()
    if position < text.count { throw .malformed("the end of the header", rest) }
    return (entries, metadata ?? [:])
  }

  private mutating func strings() throws(FileProblem) -> [String: String] {
    var result: [String: String] = [:]
    try object { parser, key throws(FileProblem) in
      guard result.updateValue(try parser.string(), forKey: key) == nil else {
        throw .malformed("every key once", "'\(FileProblem.printable(key.utf8))' twice")
      }
    }
    return result
  }

  private mutating func entry(_ name: String) throws(FileProblem) -> SafeTensorsHeader.Entry {
    var type: StoredType?
    var shape: [Int]?
    var offsets: [Int]?
    try object { parser, key throws(FileProblem) in
      switch key {
      case "dtype" where type == nil: type = StoredType(name: try parser.string())
      case "shape" where shape == nil: shape = try parser.numbers()
      case "data_offsets" where offsets == nil: offsets = try parser.numbers()
      default:
        throw .malformed(
          "'dtype', 'shape' and 'data_offsets', each once",
          "'\(FileProblem.printable(key.utf8))'")
      }
    }
    guard let type, let shape, let offsets else {
      throw .malformed(
        "'dtype', 'shape' and 'data_offsets' of '\(FileProblem.printable(name.utf8))'", "not all")
    }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw .malformed("a begin and an end as 'data_offsets'", "\(offsets.prefix(4))")
    }
    return SafeTensorsHeader.Entry(
      name: name, type: type, shape: shape, range: offsets[0]..<offsets[1])
  }

  // MARK: JSON

  /// What comes next, for messages.
  private var rest: String {
    position < text.count ? "'\(FileProblem.printable(text[position...].prefix(60)))'" : "the end"
  }

  private mutating func skipSpace() {
    while position < text.count, [0x20, 0x0A, 0x0D, 0x09].contains(text[position]) {
      position += 1
    }
  }

  private mutating func skip(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < text.count, text[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(FileProblem) {
    if !skip(character) { throw .malformed("'\(character)' in the header", rest) }
  }

  /// Reads an object, of which `member` reads the values.
  private mutating func object(
    _ member: (inout HeaderParser, String) throws(FileProblem) -> Void
  ) throws(FileProblem) {
    try expect("{")
    if skip("}") { return }
    while true {
      let key = try string()
      try expect(":")
      try member(&self, key)
      if skip("}") { return }
      try expect(",")
    }
  }

  private mutating func numbers() throws(FileProblem) -> [Int] {
    var result: [Int] = []
    try expect("[")
    if skip("]") { return result }
    while true {
      result.append(try number())
      if skip("]") { return result }
      try expect(",")
    }
  }

  /// A whole number of at least 0, without exponents.
  private mutating func number() throws(FileProblem) -> Int {
    skipSpace()
    let (value, end) = wholeNumber(in: text, at: position)
    let follows = end < text.count ? text[end] : 0
    guard let value, ![0x2E, 0x45, 0x65].contains(follows) else {
      throw .malformed(
        value == nil && end > position
          ? "numbers below 2^63 in the header" : "whole numbers of at least 0 in the header", rest)
    }
    position = end
    return value
  }

  private mutating func string() throws(FileProblem) -> String {
    try expect("\"")
    var bytes: [UInt8] = []
    while true {
      guard position < text.count else {
        throw .malformed("the end of a text in the header", "none")
      }
      let byte = text[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: bytes, as: UTF8.self) else {
          throw .malformed("texts in UTF-8", "'\(FileProblem.printable(bytes))'")
        }
        return string
      case UInt8(ascii: "\\"): try escape(into: &bytes)
      case ..<0x20:
        throw .malformed("texts without control characters", "byte \(byte)")
      default: bytes.append(byte)
      }
    }
  }

  private mutating func escape(into bytes: inout [UInt8]) throws(FileProblem) {
    let wrong = FileProblem.malformed("an escape that JSON has", rest)
    guard position < text.count else { throw wrong }
    let byte = text[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0C)
    case UInt8(ascii: "n"): bytes.append(0x0A)
    case UInt8(ascii: "r"): bytes.append(0x0D)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"):
      var code = try unit()
      if code & 0xFC00 == 0xD800 {
        // The second half of a character beyond 16 bits.
        guard text.count - position >= 2, text[position] == UInt8(ascii: "\\"),
          text[position + 1] == UInt8(ascii: "u")
        else { throw wrong }
        position += 2
        let low = try unit()
        guard low & 0xFC00 == 0xDC00 else { throw wrong }
        code = 0x10000 + (code & 0x3FF) << 10 + low & 0x3FF
      }
      guard let scalar = Unicode.Scalar(code) else { throw wrong }
      bytes.append(contentsOf: UTF8.encode(scalar)!)
    default: throw wrong
    }
  }

  /// Four hexadecimal digits.
  private mutating func unit() throws(FileProblem) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard position < text.count,
        let digit = Character(Unicode.Scalar(text[position])).hexDigitValue, text[position] < 0x80
      else { throw .malformed("four hexadecimal digits", rest) }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }
}
