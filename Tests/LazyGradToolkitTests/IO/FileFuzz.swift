// Files that are nearly right, for the readers: what the mutation fuzzer makes of good ones.

import Foundation
import LazyGrad
import TestSupport

/// A reader, and good files to begin with.
enum FuzzedReader: String, CaseIterable {
  case npy
  case npz
  case mygrad
  case safetensors

  /// Reads everything in a file.
  ///
  /// - Returns: The bytes of all arrays.
  /// - Throws: whatever reading throws.
  func read(_ bytes: [UInt8]) throws -> Int {
    switch self {
    case .npy: return try Self.size(NDArray(npyBytes: bytes))
    case .npz: return try NPZArchive(bytes: bytes).arrays().values.map(Self.size).reduce(0, +)
    case .mygrad:
      let tensor = try Tensor.load(bytes: bytes)
      return try Self.size(tensor.array) + (tensor.grad.map { try Self.size($0.array) } ?? 0)
    case .safetensors:
      let file = try SafeTensors(bytes: bytes)
      return try file.names.map {
        do { return try Self.size(file.array($0)) } catch let error as TensorFileError {
          // The other tensors can be read nonetheless.
          if error.reason == .unsupported { return 0 }
          throw error
        }
      }.reduce(0, +)
    }
  }

  /// Looks at every byte.
  private static func size(_ array: NDArray) throws -> Int {
    try array.withUnsafeBytes { bytes in
      var sum: UInt8 = 0
      for byte in bytes { sum ^= byte }
      return bytes.count + (sum == 0 ? 0 : 0)
    }
  }

  /// The most that the arrays of a file may have, times its length.
  var greatestRatio: Int {
    switch self {
    case .npy: 1
    case .npz, .mygrad: 1032
    case .safetensors: 4
    }
  }
}

/// Makes files out of good ones.
struct FileMutator {
  private let seeds: [[UInt8]]
  private let reader: FuzzedReader
  /// Files in archives, whose checksums and sizes are made right again when they have been changed.
  private let parts: [ZipBuilder.File]

  /// Where the tests' own files are.
  static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fixtures/IO")

  init(_ reader: FuzzedReader) throws {
    self.reader = reader
    func file(_ name: String) throws -> [UInt8] {
      [UInt8](try Data(contentsOf: Self.fixtures.appending(path: name)))
    }
    let small = try ["scalar.npy", "fortran.npy", "big_endian.npy", "version3.npy"].map(file)
    let bool = try file("bool.npy")
    switch reader {
    case .npy: seeds = try small + [bool, file("python2.npy"), file("structured.npy")]
    case .npz:
      seeds = try ["stored", "deflated", "streamed", "level0"].map { try file("\($0).npz") }
    case .mygrad: seeds = try ["mygrad_gradient", "mygrad_plain"].map { try file("\($0).npz") }
    case .safetensors: seeds = try ["all", "plain"].map { try file("\($0).safetensors") }
    }
    switch reader {
    case .npz:
      let deflated = try Self.deflated(file("deflated.npz")) + Self.deflated(file("streamed.npz"))
      parts = small.enumerated().map { ZipBuilder.File("\($0.offset).npy", $0.element) } + deflated
    case .mygrad:
      parts = try [
        ZipBuilder.File("data.npy", small[1]), ZipBuilder.File("grad.npy", small[1]),
        ZipBuilder.File("constant.npy", NDArray(false).npyBytes()),
      ]
    default: parts = []
    }
  }

  /// The deflated files of a good archive, by its directory.
  private static func deflated(_ bytes: [UInt8]) -> [ZipBuilder.File] {
    func number(_ at: Int, _ count: Int) -> Int {
      (0..<count).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
    }
    let end = bytes.count - 22
    var at = number(end + 16, 4)
    var result: [ZipBuilder.File] = []
    while at < end {
      let (packed, size) = (number(at + 20, 4), number(at + 24, 4))
      let (name, extra) = (number(at + 28, 2), number(at + 30, 2))
      let local = number(at + 42, 4)
      let start = local + 30 + number(local + 26, 2) + number(local + 28, 2)
      var file = ZipBuilder.File("\(result.count)d.npy", Array(bytes[start..<start + packed]))
      (file.method, file.size) = (8, size)
      file.checksum = UInt32(number(at + 16, 4))
      result.append(file)
      at += 46 + name + extra + number(at + 32, 2)
    }
    return result
  }

  /// The file of a number.
  func file(_ number: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: number)
    if parts.isEmpty || random.chance(0.4) {
      var bytes = random.pick(seeds)
      mutate(&bytes, &random)
      return bytes
    }
    var files = (0..<random.int(1...3)).map { _ in random.pick(parts) }
    if reader == .mygrad { files = parts }
    for i in files.indices where random.chance(0.7) {
      mutate(&files[i].data, &random)
      if files[i].method == 0 {
        files[i].size = files[i].data.count
        files[i].checksum = ZipBuilder.checksum(files[i].data)
      }
      if random.chance(0.1) { files[i].size += random.int(-2...2) }
      if random.chance(0.05) { files[i].size = random.pick([0, 1 << 20, 1 << 31, 1 << 40]) }
      if random.chance(0.05) { files[i].isLarge = true }
    }
    var bytes = ZipBuilder.archive(files, isLarge: random.chance(0.05))
    if random.chance(0.1) { mutate(&bytes, &random) }
    return bytes
  }

  private func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
    for _ in 0..<random.pick([1, 1, 1, 2, 4]) {
      if bytes.isEmpty { return }
      // Most of what is looked at stands at the begin or at the end.
      var limit = bytes.count
      if random.chance(0.5) { limit = min(limit, 160) }
      var at = random.int(0...limit - 1)
      if random.chance(0.2) { at = bytes.count - 1 - at }
      let rest = bytes.count - at
      switch random.int(0...10) {
      case 0: bytes[at] ^= 1 << UInt8(random.int(0...7))
      case 1: bytes[at] = UInt8(random.int(0...255))
      case 2:
        bytes[at] = random.pick([0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x22, 0x27, 0x2C, 0x39, 0x7B, 0x5C])
      case 3, 4:
        // A number.
        let width = random.pick([2, 4, 8])
        let value = random.pick([
          0, 1, -1, .max, .min, Int(Int32.max), Int(UInt32.max), 0xFFFF, bytes.count,
          bytes.count - at, random.int(0...300),
        ])
        for i in 0..<min(width, rest) {
          bytes[at + i] = UInt8(truncatingIfNeeded: value >> (8 * i))
        }
      case 5: bytes.removeLast(min(rest, bytes.count))
      case 6:
        bytes += (0..<random.int(1...40)).map { _ in UInt8(random.int(0...255)) }
      case 7: bytes.removeSubrange(at..<at + random.int(1...min(rest, 16)))
      case 8:
        // Something twice.
        bytes.insert(contentsOf: Array(bytes[at..<at + random.int(1...min(rest, 64))]), at: at)
      case 9:
        let text = random.pick([
          "9999999999999999999", "18446744073709551615", "4294967296", "-1", "0", "[", "{", "\"",
          "'",
          "\\ud800", "\\u0000", ",", "(", "True", "1e5", "../", "__metadata__", "shape",
          "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},",
        ])
        if random.chance(0.5) {
          bytes.insert(contentsOf: text.utf8, at: at)
        } else {
          bytes.replaceSubrange(at..<at + min(rest, text.utf8.count), with: text.utf8)
        }
      default:
        // A piece of another file.
        let other = random.pick(seeds)
        let start = random.int(0...other.count - 1)
        let piece = other[start..<start + random.int(1...min(other.count - start, 64))]
        bytes.replaceSubrange(at..<at + min(rest, piece.count), with: piece)
      }
    }
    // The length before a header is made right often, so that what is behind is looked at.
    if reader == .safetensors, bytes.count > 8, random.chance(0.5) {
      let end = bytes.firstIndex(of: UInt8(ascii: "{")) == 8 ? Self.endOfHeader(bytes) : nil
      if let end { for i in 0..<8 { bytes[i] = UInt8(truncatingIfNeeded: (end - 8) >> (8 * i)) } }
    }
  }

  /// Behind the brace that closes the first one.
  private static func endOfHeader(_ bytes: [UInt8]) -> Int? {
    var depth = 0
    for i in 8..<bytes.count {
      if bytes[i] == UInt8(ascii: "{") { depth += 1 }
      if bytes[i] == UInt8(ascii: "}") { depth -= 1 }
      if depth == 0 { return i + 1 }
    }
    return nil
  }
}

/// What became of the files.
struct FuzzCounts {
  var read = 0
  var malformed = 0
  var unsupported = 0
  var notFound = 0

  /// Reads the files of so many numbers. Ends the program where one is not refused as it should be.
  static func run(_ reader: FuzzedReader, first: UInt64, count: Int) throws -> FuzzCounts {
    let mutator = try FileMutator(reader)
    var counts = FuzzCounts()
    for number in 0..<UInt64(count) {
      // What a crash is narrowed down with.
      if number % 1000 == 0 {
        FileHandle.standardError.write(Data("\(reader) \(first &+ number)\n".utf8))
      }
      let bytes = mutator.file(first &+ number)
      do {
        let size = try reader.read(bytes)
        precondition(
          size <= bytes.count * reader.greatestRatio, "\(first &+ number): \(size) bytes")
        counts.read += 1
      } catch let error as TensorFileError {
        switch error.reason {
        case .malformed: counts.malformed += 1
        case .unsupported: counts.unsupported += 1
        case .notFound: counts.notFound += 1
        default: preconditionFailure("\(first &+ number): \(error)")
        }
        precondition(error.description.utf8.count < 2000, "\(first &+ number): \(error)")
      }
    }
    return counts
  }
}
