// What stands before the elements in a .npy file: a magic number, a version, and a Python dictionary in
// text. Uses ByteSource.

/// What the header of a .npy file says. The format is that of NumPy's `numpy.lib.format`.
///
///     93 'NUMPY'  major minor  length of the text   text                                  elements
///     6 bytes     2 bytes      2 bytes (4 from 2.0) {'descr': '<f8', 'fortran_order':
///                                                    False, 'shape': (3, 4), }      \n
struct NPYHeader {
  /// The type of the elements.
  let dtype: DType
  /// Whether the bytes of each element stand in the other order than here.
  let isBigEndian: Bool
  /// Whether the first index runs fastest.
  let isFortranOrder: Bool
  let shape: [Int]
  /// Where the elements begin.
  let offset: Int
  /// How many bytes the elements have.
  let byteCount: Int

  /// No array that LazyGrad has needs more; NumPy itself reads 10,000 bytes unless told otherwise.
  private static let lengthLimit = 1 << 16

  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

  /// Reads the header, and makes sure that the elements are there and that nothing follows them.
  init(_ source: ByteSource) throws(FileProblem) {
    let start = try source.bytes(0..<min(12, source.count))
    guard start.starts(with: Self.magic) else {
      throw .malformed("a file that begins with \\x93NUMPY", "'\(FileProblem.printable(start))'")
    }
    guard start.count >= 10 else { throw .malformed("a version and a length", "the end") }
    let (major, minor) = (start[6], start[7])
    guard (1...3).contains(major), minor == 0 else {
      throw .unsupported("version 1.0, 2.0 or 3.0 of the format", "\(major).\(minor)")
    }
    let isLong = major >= 2
    guard !isLong || start.count == 12 else {
      throw .malformed("a version and a length", "the end")
    }
    let length = start.withUnsafeBytes { isLong ? $0.word32(8) : $0.word16(8) }
    let first = isLong ? 12 : 10
    guard length <= source.count - first else {
      throw .malformed(
        "a header of \(length) bytes", "\(source.count - first) bytes to the end of the file")
    }
    guard length <= Self.lengthLimit else {
      throw .unsupported("a header of at most \(Self.lengthLimit) bytes", "\(length)")
    }
    let text = try source.bytes(first..<first + length)
    // The older versions are Latin-1, in which everything is a text.
    if major == 3, String(validating: text, as: UTF8.self) == nil {
      throw .malformed("a header in UTF-8", "other bytes")
    }
    var reader = PythonDictionary(text, allowsLongs: major < 3)
    let (type, fortran, shape) = try reader.header()
    (dtype, isBigEndian) = type
    isFortranOrder = fortran
    self.shape = shape
    offset = first + length
    guard let bytes = Self.byteCount(shape, dtype) else {
      throw .malformed("a shape whose size is a number", "\(shape)")
    }
    byteCount = bytes
    guard source.count - offset == bytes else {
      throw .malformed(
        "\(bytes) bytes for shape \(shape) of \(dtype)", "\(source.count - offset) bytes")
    }
  }

  /// The bytes of an array; nil where that is no number.
  static func byteCount(_ shape: [Int], _ dtype: DType) -> Int? {
    if shape.contains(0) { return 0 }
    var count = dtype.size
    for length in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: length)
      if overflow { return nil }
      count = product
    }
    return count
  }
}

/// Reads the text of a header: a dictionary as Python writes it, with the three keys of the format and
/// nothing else.
///
/// Not recursive: what may be nested, the description of a structured type, is skipped.
private struct PythonDictionary {
  private let text: [UInt8]
  private var position = 0
  /// `3L`, as Python 2 has written whole numbers.
  private let allowsLongs: Bool

  init(_ text: [UInt8], allowsLongs: Bool) {
    self.text = text
    self.allowsLongs = allowsLongs
  }

  mutating func header() throws(FileProblem) -> ((DType, Bool), Bool, [Int]) {
    var type: (DType, Bool)?
    var fortran: Bool?
    var shape: [Int]?
    try expect("{", "a dictionary")
    while !skip("}") {
      let key = try string("a key")
      try expect(":", "':' after '\(key)'")
      switch key {
      case "descr" where type == nil: type = try elementType()
      case "fortran_order" where fortran == nil: fortran = try truth()
      case "shape" where shape == nil: shape = try tuple()
      case "descr", "fortran_order", "shape": throw .malformed("'\(key)' once", "it twice")
      default: throw .malformed("'descr', 'fortran_order' and 'shape'", "'\(key)'")
      }
      if !skip(",") {
        try expect("}", "',' or '}'")
        break
      }
    }
    skipSpace()
    if position < text.count { throw .malformed("the end of the header", rest) }
    guard let type, let fortran, let shape else {
      let missing = type == nil ? "descr" : fortran == nil ? "fortran_order" : "shape"
      throw .malformed("'descr', 'fortran_order' and 'shape'", "no '\(missing)'")
    }
    return (type, fortran, shape)
  }

  /// What comes next, for messages.
  private var rest: String {
    position < text.count ? "'\(FileProblem.printable(text[position...]))'" : "the end"
  }

  private mutating func skipSpace() {
    while position < text.count, [0x20, 0x0A, 0x0D, 0x09, 0x0C].contains(text[position]) {
      position += 1
    }
  }

  private mutating func skip(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < text.count, text[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func expect(
    _ character: Unicode.Scalar, _ what: String
  ) throws(FileProblem) {
    if !skip(character) { throw .malformed(what, rest) }
  }

  /// A string in either kind of quotes, without the characters that would need a backslash.
  private mutating func string(_ what: String) throws(FileProblem) -> String {
    skipSpace()
    guard position < text.count, [0x22, 0x27].contains(text[position]) else {
      throw .malformed("\(what) in quotes", rest)
    }
    let quote = text[position]
    let start = position + 1
    guard let end = text[start...].firstIndex(where: { $0 == quote || $0 == 0x5C || $0 == 0x0A }),
      text[end] == quote
    else { throw .malformed("\(what) in quotes", rest) }
    position = end + 1
    return FileProblem.printable(text[start..<end])
  }

  private mutating func truth() throws(FileProblem) -> Bool {
    skipSpace()
    for (word, value) in [("True", true), ("False", false)]
    where text[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw .malformed("True or False as fortran_order", rest)
  }

  /// The lengths of the axes.
  private mutating func tuple() throws(FileProblem) -> [Int] {
    var lengths: [Int] = []
    try expect("(", "a tuple as shape")
    while !skip(")") {
      lengths.append(try length())
      if !skip(",") {
        // `(3)` is a number in brackets.
        if lengths.count == 1 { throw .malformed("a tuple as shape", rest) }
        try expect(")", "',' or ')' in the shape")
        break
      }
    }
    return lengths
  }

  private mutating func length() throws(FileProblem) -> Int {
    skipSpace()
    let (value, end) = wholeNumber(in: text, at: position)
    guard let value else {
      throw .malformed(
        end > position
          ? "lengths that are numbers of 64 bits" : "whole numbers of at least 0 as shape",
        rest)
    }
    position = end
    if allowsLongs, position < text.count, text[position] == UInt8(ascii: "L") { position += 1 }
    return value
  }

  // MARK: The element type

  private mutating func elementType() throws(FileProblem) -> (DType, Bool) {
    skipSpace()
    let known = "'<f8', '<f4', '<f2', '<i8', '<i4', '|u1' or '|b1' (or '>' for '<')"
    if position < text.count, [0x5B, 0x28, 0x7B].contains(text[position]) {
      throw .unsupported(known, "the structured type \(rest)")
    }
    let name = try string("the element type")
    var code = Substring(name)
    var isBigEndian = false
    if let order = code.first, "<>|=".contains(order) {
      isBigEndian = order == ">"
      code.removeFirst()
    }
    switch code {
    case "f8": return (.float64, isBigEndian)
    case "f4": return (.float32, isBigEndian)
    case "f2": return (.float16, isBigEndian)
    case "i8": return (.int64, isBigEndian)
    case "i4": return (.int32, isBigEndian)
    case "u1": return (.uint8, false)
    case "b1": return (.bool, false)
    case "O": throw .unsupported(known, "'\(name)': Python objects")
    default: throw .unsupported(known, "'\(name)'\(Self.meaning(code))")
    }
  }

  /// What a code means that LazyGrad has no type for.
  private static func meaning(_ code: Substring) -> String {
    guard let kind = code.first, let bytes = Int(code.dropFirst()), bytes > 0, bytes < 1 << 40
    else { return "" }
    return switch kind {
    case "f": ": float\(8 * bytes)"
    case "i": ": int\(8 * bytes)"
    case "u": ": uint\(8 * bytes)"
    case "c": ": complex\(8 * bytes)"
    case "S", "U", "V": ": texts or raw bytes"
    default: ""
    }
  }
}
