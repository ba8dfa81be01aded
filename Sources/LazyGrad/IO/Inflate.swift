// Decompression of the DEFLATE format, RFC 1951. Uses nothing else.

/// Decodes a deflated stream into memory whose size is known.
///
/// A stream is a sequence of blocks: stored bytes, or symbols of two Huffman codes. A symbol is a byte, the
/// end of the block, or a length, which a distance follows: so many bytes from so far back once more. Codes
/// are canonical: their lengths say all of them.
///
/// Whatever the bytes are, nothing is read outside of the input and nothing is written outside of the
/// output; it ends after at most as many steps as both have bits.
struct Inflate {
  private let input: UnsafeRawBufferPointer
  private let output: UnsafeMutableRawBufferPointer
  /// The next byte of the input that is not in `bits`.
  private var next = 0
  /// Bits that have been taken from the input, the first one lowest.
  private var bits: UInt64 = 0
  private var bitCount = 0
  /// Bytes that have been written.
  private var written = 0

  /// The most that one byte can become: a length of 258 takes two bits at least.
  static let greatestRatio = 1032

  private init(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) {
    self.input = input
    self.output = output
  }

  /// Decodes a stream that has exactly as many bytes as the input, and gives exactly as many as the output.
  static func decode(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) throws(FileProblem) {
    var inflate = Inflate(input, output)
    try inflate.run()
  }

  private static func damaged(_ expected: String, _ found: String) -> FileProblem {
    .malformed("\(expected) in the deflated data", found)
  }

  private mutating func run() throws(FileProblem) {
    var codes = Codes()
    var isLast = false
    while !isLast {
      isLast = try take(1) == 1
      switch try take(2) {
      case 0: try stored()
      case 1:
        codes.setFixed()
        try symbols(codes)
      case 2:
        try readCodes(&codes)
        try symbols(codes)
      default: throw Self.damaged("a block of a kind that there is", "kind 3")
      }
    }
    if written != output.count {
      throw Self.damaged("\(output.count) bytes", "\(written)")
    }
    // Whole bytes that have been taken in advance are not used.
    let used = next - bitCount / 8
    if used != input.count { throw Self.damaged("the end after \(used) bytes", "\(input.count)") }
  }

  // MARK: Bits

  /// Takes bits in until there are at least 56, or the input ends.
  @inline(__always)
  private mutating func refill() {
    if input.count - next >= 8 {
      bits |= input.word64(next) << UInt64(bitCount)
      let bytes = (63 - bitCount) >> 3
      next += bytes
      bitCount += bytes << 3
    } else {
      while bitCount <= 56, next < input.count {
        bits |= UInt64(input[next]) << UInt64(bitCount)
        next += 1
        bitCount += 8
      }
    }
  }

  @inline(__always)
  private mutating func drop(_ count: Int) {
    bits >>= UInt64(count)
    bitCount -= count
  }

  /// The next bits as a number; at most 16.
  private mutating func take(_ count: Int) throws(FileProblem) -> Int {
    if bitCount < count { refill() }
    guard bitCount >= count else { throw Self.damaged("more bits", "the end") }
    let value = Int(bits & ((1 << UInt64(count)) - 1))
    drop(count)
    return value
  }

  // MARK: Blocks

  private mutating func stored() throws(FileProblem) {
    drop(bitCount & 7)
    let (length, complement) = (try take(16), try take(16))
    guard length == ~complement & 0xFFFF else {
      throw Self.damaged("a length and its complement", "\(length) and \(complement)")
    }
    next -= bitCount / 8
    (bits, bitCount) = (0, 0)
    guard length <= input.count - next else {
      throw Self.damaged("\(length) stored bytes", "\(input.count - next)")
    }
    guard length <= output.count - written else { throw overflow }
    if length > 0 {
      (output.baseAddress! + written)
        .copyMemory(from: input.baseAddress! + next, byteCount: length)
    }
    next += length
    written += length
  }

  private var overflow: FileProblem { Self.damaged("\(output.count) bytes", "more") }

  /// The codes of a block, whose lengths are written in a third code.
  private mutating func readCodes(_ codes: inout Codes) throws(FileProblem) {
    let literalCount = try take(5) + 257
    let distanceCount = try take(5) + 1
    let lengthCount = try take(4) + 4
    guard literalCount <= 286, distanceCount <= 30 else {
      throw Self.damaged(
        "at most 286 and 30 codes", "\(literalCount) and \(distanceCount)")
    }
    var lengths = [UInt8](repeating: 0, count: 320)
    let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    for i in 0..<lengthCount { lengths[order[i]] = UInt8(try take(3)) }
    try codes.literals.set(lengths[0..<19], allowsLone: false)
    let total = literalCount + distanceCount
    var all = [UInt8](repeating: 0, count: total)
    var i = 0
    while i < total {
      let symbol = try self.symbol(codes.literals)
      if symbol < 16 {
        all[i] = UInt8(symbol)
        i += 1
        continue
      }
      let (repeated, count): (UInt8, Int)
      switch symbol {
      case 16:
        if i == 0 { throw Self.damaged("a code length to repeat", "none") }
        (repeated, count) = (all[i - 1], 3 + (try take(2)))
      case 17: (repeated, count) = (0, 3 + (try take(3)))
      default: (repeated, count) = (0, 11 + (try take(7)))
      }
      if count > total - i { throw Self.damaged("\(total) code lengths", "more") }
      for _ in 0..<count {
        all[i] = repeated
        i += 1
      }
    }
    if all[256] == 0 { throw Self.damaged("a code for the end of the block", "none") }
    try codes.literals.set(all[0..<literalCount], allowsLone: true)
    try codes.distances.set(all[literalCount...], allowsLone: true)
  }

  /// The next symbol of a code.
  @inline(__always)
  private mutating func symbol(_ code: HuffmanCode) throws(FileProblem) -> Int {
    if bitCount < HuffmanCode.longest { refill() }
    let entry = code.lookUp(bits)
    let length = Int(entry & 15)
    guard length != 0, length <= bitCount else {
      throw Self.damaged(
        "a code that there is", bitCount < HuffmanCode.longest ? "the end" : "another")
    }
    drop(length)
    return Int(entry >> 4)
  }

  private mutating func symbols(_ codes: Codes) throws(FileProblem) {
    while true {
      let symbol = try self.symbol(codes.literals)
      if symbol < 256 {
        guard written < output.count else { throw overflow }
        output[written] = UInt8(symbol)
        written += 1
        continue
      }
      if symbol == 256 { return }
      guard symbol <= 285 else { throw Self.damaged("a length that there is", "\(symbol)") }
      let (lengthBase, lengthBits) = Self.length(symbol - 257)
      let length = lengthBase + (try take(lengthBits))
      let distanceSymbol = try self.symbol(codes.distances)
      guard distanceSymbol < 30 else {
        throw Self.damaged("a distance that there is", "\(distanceSymbol)")
      }
      let (distanceBase, distanceBits) = Self.distance(distanceSymbol)
      let distance = distanceBase + (try take(distanceBits))
      guard distance <= written else {
        throw Self.damaged("a distance of at most \(written)", "\(distance)")
      }
      guard length <= output.count - written else { throw overflow }
      copy(length, from: distance)
    }
  }

  /// Bytes once more. They may be the ones that are being written.
  @inline(__always)
  private mutating func copy(_ length: Int, from distance: Int) {
    let target = output.baseAddress! + written
    let source = target - distance
    if distance >= length {
      target.copyMemory(from: source, byteCount: length)
    } else if distance == 1 {
      target.initializeMemory(
        as: UInt8.self, repeating: source.load(as: UInt8.self), count: length)
    } else {
      for i in 0..<length {
        target.storeBytes(
          of: source.load(fromByteOffset: i, as: UInt8.self), toByteOffset: i, as: UInt8.self)
      }
    }
    written += length
  }

  // MARK: The numbers of RFC 1951, 3.2.5, by their rule

  /// The least length of a symbol and how many bits are added to it.
  @inline(__always)
  private static func length(_ index: Int) -> (Int, Int) {
    if index < 8 { return (3 + index, 0) }
    if index == 28 { return (258, 0) }
    let bits = index / 4 - 1
    return (3 + (4 + index % 4) << bits, bits)
  }

  /// The least distance of a symbol and how many bits are added to it.
  @inline(__always)
  private static func distance(_ symbol: Int) -> (Int, Int) {
    if symbol < 4 { return (1 + symbol, 0) }
    let bits = symbol / 2 - 1
    return (1 + (2 + symbol % 2) << bits, bits)
  }
}

/// The two codes of a block.
private struct Codes {
  var literals = HuffmanCode()
  var distances = HuffmanCode()

  /// RFC 1951, 3.2.6.
  mutating func setFixed() {
    let lengths = (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 as UInt8 }
    // They are complete.
    try! literals.set(lengths[...], allowsLone: false)
    try! distances.set([UInt8](repeating: 5, count: 32)[...], allowsLone: false)
  }
}

/// A canonical Huffman code: of one length, codes follow each other in the order of their symbols, and the
/// first is the one behind the last shorter one, with a zero added.
private struct HuffmanCode {
  static let longest = 15
  /// Codes up to this length are looked up, longer ones counted out: they are rare, and a table for all
  /// would take longer to make than many blocks to read.
  private static let tableBits = 10
  private static let tableMask: UInt64 = 1 << 10 - 1

  /// For each value of the next 10 bits: the symbol times 16, plus the length of its code; 0 where the code
  /// is longer, or there is none. Empty where there is no code at all.
  private var table: [UInt16] = []
  /// How many codes there are of each length.
  private var counts = [Int](repeating: 0, count: longest + 1)
  /// The symbols in the order of their codes.
  private var symbols: [UInt16] = []

  /// What the next bits begin with, as in `table`.
  @inline(__always)
  func lookUp(_ bits: UInt64) -> UInt16 {
    let entry = table.isEmpty ? 0 : table[Int(bits & Self.tableMask)]
    return entry != 0 ? entry : countOut(bits)
  }

  @inline(never)
  private func countOut(_ bits: UInt64) -> UInt16 {
    // The code so far, the first code of its length, and how many shorter ones there are.
    var (code, first, index) = (0, 0, 0)
    for length in 1...Self.longest {
      code = code << 1 | Int(bits >> UInt64(length - 1) & 1)
      first <<= 1
      if code - first < counts[length] {
        return symbols[index + code - first] << 4 | UInt16(length)
      }
      index += counts[length]
      first += counts[length]
    }
    return 0
  }

  /// Takes on the code that the lengths say.
  ///
  /// - Parameter allowsLone: Whether there may be one code of one bit only, or none, as of distances
  ///   where there is one or there are none.
  mutating func set(_ lengths: ArraySlice<UInt8>, allowsLone: Bool) throws(FileProblem) {
    for length in 0...Self.longest { counts[length] = 0 }
    for length in lengths { counts[Int(length)] += 1 }
    counts[0] = 0
    table.removeAll(keepingCapacity: true)
    symbols.removeAll(keepingCapacity: true)
    guard let longest = counts.lastIndex(where: { $0 > 0 }) else {
      guard allowsLone else { throw .malformed("codes in the deflated data", "none") }
      return
    }
    // What of the code is not used yet, in codes of the length that is looked at.
    var free = 1
    // Where the symbols of a length begin, and its next code.
    var places = [Int](repeating: 0, count: Self.longest + 1)
    var next = places
    for length in 1...longest {
      free = 2 * free - counts[length]
      if free < 0 { throw .malformed("codes in the deflated data", "more than there can be") }
      places[length] = places[length - 1] + counts[length - 1]
      next[length] = (next[length - 1] + counts[length - 1]) << 1
    }
    guard free == 0 || (allowsLone && longest == 1) else {
      throw .malformed("codes in the deflated data for all bits", "not all")
    }
    let size = 1 << Self.tableBits
    table.append(contentsOf: repeatElement(0, count: size))
    symbols.append(contentsOf: repeatElement(0, count: lengths.count))
    for (symbol, length) in lengths.enumerated() where length > 0 {
      let length = Int(length)
      let code = next[length]
      next[length] += 1
      symbols[places[length]] = UInt16(symbol)
      places[length] += 1
      if length > Self.tableBits { continue }
      // The highest bit of a code comes first in the stream.
      var reversed = 0
      for bit in 0..<length where code >> bit & 1 == 1 { reversed |= 1 << (length - 1 - bit) }
      for index in stride(from: reversed, to: size, by: 1 << length) {
        table[index] = UInt16(symbol << 4 | length)
      }
    }
  }
}
