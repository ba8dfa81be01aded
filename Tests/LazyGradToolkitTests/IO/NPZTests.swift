// .npz: what is refused, and round trips.

import Foundation
import LazyGrad
import Testing

@Suite(".npz")
struct NPZTests {
  private typealias File = ZipBuilder.File

  private static let npy = try! NDArray([1.0, 2, 3]).npyBytes()

  private func error(_ bytes: [UInt8]) -> TensorFileError? {
    do throws(TensorFileError) {
      _ = try NPZArchive(bytes: bytes).arrays()
      return nil
    } catch { return error }
  }

  private func error(_ files: [File], isLarge: Bool = false) -> TensorFileError? {
    error(ZipBuilder.archive(files, isLarge: isLarge))
  }

  @Test("An archive as it should be, with sizes of 32 and of 64 bits, and with a comment")
  func good() throws {
    var large = File("b.npy", Self.npy)
    large.isLarge = true
    for isLarge in [false, true] {
      let bytes = ZipBuilder.archive(
        [File("a.npy", Self.npy), File("folder/", []), large, File("notes.txt", [1])],
        comment: Array("PK\u{5}\u{6} is no end".utf8), isLarge: isLarge)
      let archive = try NPZArchive(bytes: bytes)
      #expect(archive.names == ["a", "b"])
      #expect(try archive.array("b").elements(as: Double.self) == [1, 2, 3])
      #expect(throws: TensorFileError.self) { try archive.array("notes.txt") }
      let missing = #expect(throws: TensorFileError.self) { try archive.array("c") }
      #expect(missing?.reason == .notFound && missing?.entry == "c")
      let text = missing?.description ?? ""
      #expect(text.hasSuffix("'c': expected an array of that name, got 2 others"))
    }
    #expect(try NPZArchive(bytes: ZipBuilder.archive([])).names == [])
    let none = #expect(throws: TensorFileError.self) { try NPZArchive("/no/such.npz") }
    #expect(
      none?.description
        == "read /no/such.npz: expected a file that can be read, got none at that path")
  }

  @Test(
    "Names that lead somewhere, are there twice, or are no text",
    arguments: [
      "../x.npy", "a/../../x.npy", "/x.npy", "a\\..\\x.npy", "..", "a/..", "x\0.npy", "",
    ])
  func names(_ name: String) {
    let error = error([File(name, Self.npy)])
    #expect(error?.reason == .malformed, "\(name)")
    #expect(error?.expected == "a name within the archive")
    if name.hasSuffix(".npy") {
      #expect(throws: TensorFileError.self) {
        try NPZArchive.write([String(name.dropLast(4)): NDArray(1.0)], to: "/tmp/never.npz")
      }
    }
  }

  @Test("Names twice, also in two ways to write one text, and bytes that are no text")
  func otherNames() {
    let (x, again) = (File("x.npy", Self.npy), File("x.npy", Self.npy))
    #expect(error([x, again])?.expected == "every name once")
    // One character, and a letter with an accent behind it.
    let pair = [File("\u{E9}.npy", Self.npy), File("e\u{301}.npy", Self.npy)]
    #expect(error(pair)?.expected == "every name once")
    var raw = x
    raw.name[0] = 0xFF
    #expect(error([raw])?.expected == "names in UTF-8")
    // A dot in a name is no way out.
    #expect(error([File("..x/.y.npy", Self.npy)]) == nil)
  }

  @Test("Checksums, sizes and headers that disagree")
  func disagreement() {
    let x = File("x.npy", Self.npy)
    func changed(_ change: (inout File) -> Void) -> TensorFileError? {
      var file = x
      change(&file)
      let error = error([File("a.npy", Self.npy), file])
      return error?.reason == .malformed ? error : nil
    }
    #expect(changed { $0.checksum ^= 1 }?.expected.hasPrefix("a checksum of ") == true)
    #expect(changed { $0.size += 1 } != nil)
    #expect(changed { $0.size -= 1 } != nil)
    #expect(changed { $0.localSize = 5 }?.expected.hasPrefix("a local header") == true)
    #expect(changed { $0.localName = Array("y.npy".utf8) } != nil)
    #expect(changed { $0.localName = Array("longer.npy".utf8) } != nil)
    #expect(changed { $0.data.removeLast() } != nil)
    for (method, flags) in [(14, 0), (0, 1), (0, 0x40), (99, 0)] {
      var file = x
      (file.method, file.flags) = (method, flags)
      #expect(error([file])?.reason == .unsupported)
    }
  }

  @Test("Every prefix, every suffix, and more bytes than there should be")
  func cut() {
    let whole = ZipBuilder.archive([File("x.npy", Self.npy), File("y.npy", Self.npy)])
    for i in 1..<whole.count {
      #expect(error(Array(whole[..<i]))?.reason == .malformed)
      #expect(error(Array(whole[i...]))?.reason == .malformed)
    }
    #expect(error(whole + [0])?.reason == .malformed)
    #expect(error([0] + whole)?.reason == .malformed)
  }

  /// Places of numbers in the end record, counted from the end of the file.
  @Test("Wrong numbers in the end record, also in the large one")
  func ends() {
    for isLarge in [false, true] {
      let whole = ZipBuilder.archive([File("x.npy", Self.npy)], isLarge: isLarge)
      let end = whole.count - 22 - (isLarge ? 76 : 0)
      for at in end..<whole.count {
        for value: UInt8 in [0, 1, 0x7F, 0xFF] where whole[at] != value {
          var bytes = whole
          bytes[at] = value
          // Version numbers say nothing, and a large record may be there without need.
          let isRead = error(bytes) == nil
          let ignored =
            isLarge
            && ((12..<16).contains(at - end) || (72..<76).contains(at - end)
              || (60..<64).contains(at - end) || at - end >= 76)
          #expect(!isRead || ignored, "byte \(at - end) of the end, \(value)")
        }
      }
    }
  }

  @Test("Files that share bytes: one stored file counted many times")
  func overlap() {
    let file = File("x.npy", Self.npy)
    let one = ZipBuilder.archive([file])
    let start = 30 + 5 + Self.npy.count
    var second = Array(one[start..<one.count - 22])
    second[46] = UInt8(ascii: "x")
    // Two entries for the same local header.
    var end = Array(one[(one.count - 22)...])
    end[8] = 2
    end[10] = 2
    end.replaceSubrange(12..<16, with: ZipBuilder.word(2 * second.count, 4))
    let bytes = Array(one[..<start]) + second + second + end
    #expect(error(bytes)?.reason == .malformed)
    // Names of their own, in the data of a longer file.
    let outer = File("o.npy", one)
    var inner = second
    inner.replaceSubrange(42..<46, with: ZipBuilder.word(35, 4))
    let whole = ZipBuilder.archive([outer])
    let directory = 30 + 5 + one.count
    var last = Array(whole[(whole.count - 22)...])
    last[8] = 2
    last[10] = 2
    let entries = Array(whole[directory..<whole.count - 22]) + inner
    last.replaceSubrange(12..<16, with: ZipBuilder.word(entries.count, 4))
    let nested = Array(whole[..<directory]) + entries + last
    #expect(error(nested)?.expected == "files that share no bytes")
  }

  @Test("A deflated file can't claim more than it can become")
  func bomb() throws {
    // A final block of fixed codes with nothing in it.
    let empty = File("x.npy", deflated: [0x03, 0x00], of: [])
    #expect(error([empty])?.reason == .malformed)
    for size in [1, 2 * 1032, 2 * 1032 + 1, 1 << 31, 1 << 60] {
      var claim = empty
      claim.size = size
      claim.isLarge = true
      #expect(error([claim])?.reason == .malformed, "\(size)")
    }
  }

  /// A stored block around bytes, and other streams by hand.
  @Test("Deflated streams that are none")
  func streams() throws {
    func read(_ stream: [UInt8], size: Int = Self.npy.count) -> TensorFileError? {
      var file = File("x.npy", deflated: stream, of: Self.npy)
      file.size = size
      return error([file])
    }
    let n = Self.npy.count
    let stored = [1] + ZipBuilder.word(n, 2) + ZipBuilder.word(~n, 2) + Self.npy
    #expect(read(stored) == nil)
    #expect(read([0, 0, 0, 0xFF, 0xFF] + stored) == nil)
    let wrong: [(String, [UInt8])] = [
      ("nothing", []), ("a kind of block that there isn't", [0x07]),
      ("a complement that is none", [1, 5, 0, 0, 0]), ("cut off", Array(stored.dropLast())),
      ("more behind it", stored + [0]), ("no last block", [0] + stored.dropFirst()),
      ("a distance before the begin", [0x4B, 0x04, 0xA2]),
      ("too many codes", [0xFD, 0xFF, 0xFF, 0xFF]), ("only zeros", [0x05, 0, 0, 0, 0, 0, 0]),
      ("only ones", [UInt8](repeating: 0xFF, count: 40)),
    ]
    for (name, stream) in wrong {
      #expect(read(stream)?.reason == .malformed, "\(name)")
    }
    #expect(read(stored, size: n - 1)?.reason == .malformed)
    #expect(read(stored, size: n + 1)?.reason == .malformed)
  }

  @Test("Round trips: types, names, views, tensors, many arrays, none")
  func roundTrips() throws {
    try withFolder { folder in
      let file = folder.appending(path: "x.npz")
      var arrays: [String: NDArray] = [:]
      for dtype in DType.allCases where dtype != .bfloat16 {
        for shape in [[], [0, 2], [3], [4, 5]] {
          let x = NDArray.full(shape, 1, dtype: dtype)
          arrays["layer \(dtype)/\(shape)"] = x
        }
      }
      arrays["größe.npy"] = NDArray([[1, 2], [3, 4]]).transposed()
      try NPZArchive.write(arrays, to: file)
      let archive = try NPZArchive(file)
      #expect(archive.names == arrays.keys.sorted())
      let same = try archive.arrays().mapValues(TensorSnapshot.init)
      #expect(same == arrays.mapValues(TensorSnapshot.init))
      // The same values, the same file.
      let first = try Data(contentsOf: file)
      try NPZArchive.write(arrays.mapValues(TensorSnapshot.init), to: file)
      #expect(try Data(contentsOf: file) == first)
      try NPZArchive.write(arrays.mapValues { Tensor($0, copy: false) }, to: file.path)
      #expect(try Data(contentsOf: file) == first)
      try NPZArchive.write([:] as [String: Tensor], to: file)
      #expect(try NPZArchive(file).names == [])
      // From where numbers of 16 bits end.
      let many = Dictionary(uniqueKeysWithValues: (0..<66_000).map { ("\($0)", NDArray(UInt8(1))) })
      try NPZArchive.write(many, to: file)
      let read = try NPZArchive(file)
      #expect(read.names.count == 66_000)
      #expect(try read.array("65999").item() == 1)
    }
  }

  @Test("An archive is read while its file is replaced")
  func replaced() throws {
    try withFolder { folder in
      let file = folder.appending(path: "x.npz")
      try NPZArchive.write(["x": NDArray([1.0])], to: file)
      let old = try NPZArchive(file)
      try NPZArchive.write(["x": NDArray([2.0, 3.0])], to: file)
      #expect(try old.array("x").elements(as: Double.self) == [1])
      #expect(try NPZArchive(file).array("x").elements(as: Double.self) == [2, 3])
    }
  }
}
