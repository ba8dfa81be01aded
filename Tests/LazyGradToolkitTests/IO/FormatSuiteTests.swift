// What the test suites of NumPy and of safetensors say is no file of their formats, written anew: each is
// refused with its reason, by the readers of bytes and of files alike.

import Foundation
import LazyGrad
import Testing

/// A file that is none of a format, and why.
struct MalformedFile: Sendable, CustomTestStringConvertible {
  let name: String
  let bytes: [UInt8]
  let reason: TensorFileError.Reason
  /// A part of the message.
  let says: String
  var testDescription: String { name }

  init(_ name: String, _ bytes: [UInt8], _ says: String) {
    self.init(name, bytes, .malformed, says)
  }

  init(_ name: String, _ bytes: [UInt8], _ reason: TensorFileError.Reason, _ says: String) {
    (self.name, self.bytes, self.reason, self.says) = (name, bytes, reason, says)
  }
}

extension MalformedFile {
  // MARK: .npy

  /// A file that begins as those of NumPy do.
  static func start(
    _ rest: [UInt8], first: UInt8 = 0x93, name: String = "NUMPY"
  ) -> [UInt8] {
    var bytes = [first]
    bytes += Array(name.utf8)
    bytes += rest
    return bytes
  }
  static func header(_ text: String, _ data: Int = 0, length: Int? = nil) -> [UInt8] {
    var rest: [UInt8] = [1, 0]
    rest += ZipBuilder.word(length ?? text.utf8.count, 2)
    rest += Array(text.utf8)
    rest += [UInt8](repeating: 0, count: data)
    return start(rest)
  }
  static func described(_ type: String, _ shape: String = "(1,)") -> String {
    "{'descr': \(type), 'fortran_order': False, 'shape': \(shape)}\n"
  }

  /// Versions of the format: 1.0, 2.0 and 3.0 are all that there are.
  static let versions: [MalformedFile] =
    ([[1, 1], [0, 0], [0, 1], [2, 2], [4, 0], [255, 255]] as [[UInt8]])
    .map { version in
      let zeros = [UInt8](repeating: 0, count: 8)
      return MalformedFile(
        "version \(version[0]).\(version[1])", start(version + zeros), .unsupported,
        "version 1.0, 2.0 or 3.0")
    }

  static let magic: [MalformedFile] = [
    MalformedFile(
      "a magic number with another first byte", start([1, 0], first: 0x92), "x93NUMPY"),
    MalformedFile("a magic number that begins with 0", start([1, 0], first: 0), "x93NUMPY"),
    MalformedFile("a magic number in small letters", start([1, 0], name: "numpy"), "x93NUMPY"),
    MalformedFile("the magic number of others", start([1, 0], name: "MATLB"), "x93NUMPY"),
    MalformedFile("half a version", start([1]), "a version and a length"),
    MalformedFile("no version", start([]), "a version and a length"),
    MalformedFile("nothing", [], "x93NUMPY"),
    MalformedFile("no length", start([1, 0]), "a version and a length"),
    MalformedFile("half a length", start([1, 0, 0x31]), "a version and a length"),
    MalformedFile("half a length of version 2", start([2, 0, 1, 0, 0]), "a version and a length"),
    MalformedFile("a pickle", Array("\u{80}\u{4}]q\u{0}.".utf8), "x93NUMPY"),
    MalformedFile("an archive", ZipBuilder.archive([]), "x93NUMPY"),
  ]

  static let headers: [MalformedFile] = [
    MalformedFile(
      "a header that is shorter than it says", header("", length: 1), "a header of 1 bytes"),
    MalformedFile(
      "a header without a key", header("{'shape': (1, 2), 'descr': '<f8'}\n"),
      "no 'fortran_order'"),
    MalformedFile("a type that is none", header(described("'x'")), .unsupported, "'x'"),
    MalformedFile(
      "a header with one key more",
      header("{'shape': (1,), 'fortran_order': False, 'descr': '<f8', 'extrakey': -1}\n", 8),
      "'extrakey'"),
    MalformedFile("a header that is a number", header("42\n"), "a dictionary"),
    MalformedFile("a header that is a list", header("[1, 2]\n"), "a dictionary"),
    MalformedFile("a shape of texts", header(described("'<f8'", "('1',)")), "whole numbers"),
    MalformedFile("a shape that is a list", header(described("'<f8'", "[1]")), "a tuple"),
    MalformedFile("Python objects", header(described("'|O'"), 8), .unsupported, "Python objects"),
    MalformedFile(
      "objects of Python 2", header(described("'O'", "(4,)"), 80), .unsupported, "objects"),
    MalformedFile(
      "a structured type", header(described("[('a', '<f8'), ('b', '<i4')]"), 12), .unsupported,
      "structured type"),
    MalformedFile("a type of dates", header(described("'<M8[ns]'"), 8), .unsupported, "'<M8[ns]'"),
    MalformedFile("texts", header(described("'<U4'"), 16), .unsupported, "texts"),
    MalformedFile("complex numbers", header(described("'<c16'"), 16), .unsupported, "complex128"),
    MalformedFile(
      "a header of more than 65,536 bytes",
      start([2, 0, 0, 0, 2, 0] + [UInt8](repeating: 0x20, count: 1 << 17)), .unsupported,
      "at most 65536 bytes"),
    MalformedFile(
      "elements that end too early", header(described("'<f8'", "(3, 6)"), 100), "144 bytes"),
  ]

  // MARK: .npz

  static let archives: [MalformedFile] = {
    let array = header(described("'<f8'"), 8)
    let whole = ZipBuilder.archive([.init("x.npy", array)])
    return [
      MalformedFile("an archive that is empty bytes", [], ""),
      MalformedFile("an array that is no archive", array, ""),
      MalformedFile("a text", Array("1 2 3\n".utf8), ""),
      MalformedFile("an archive without its end", Array(whole.dropLast(22)), ""),
      MalformedFile("half an archive", Array(whole.prefix(whole.count / 2)), ""),
    ]
  }()

  // MARK: .safetensors

  static func tensors(
    _ header: String, _ data: Int = 0, length: [UInt8]? = nil
  ) -> [UInt8] {
    var bytes = length ?? ZipBuilder.word(header.utf8.count, 8)
    bytes += Array(header.utf8)
    bytes += [UInt8](repeating: 0, count: data)
    return bytes
  }
  static func one(_ shape: String, _ offsets: String) -> String {
    #"{"test":{"dtype":"I32","shape":\#(shape),"data_offsets":\#(offsets)}}"#
  }

  static let tensorFiles: [MalformedFile] = {
    let good = one("[2,2]", "[0,16]")
    let many = (0..<10).map {
      #""weight_\#($0)":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}"#
    }
    return [
      MalformedFile("nothing", [], "8 bytes with the header's length"),
      MalformedFile(
        "a length alone", tensors("", length: ZipBuilder.word(60, 8)), "a header of 60 bytes"),
      MalformedFile("a header that is no UTF-8", ZipBuilder.word(1, 8) + [0xFF], "begins with '{'"),
      MalformedFile("a header that is no JSON", tensors("{"), "in the header"),
      MalformedFile(
        "a header that is too long", tensors(good, 16, length: [60, 0, 0, 0, 0, 255, 255, 255]),
        "bytes to the end of the file"),
      MalformedFile("space in front", tensors("\t\n{}\r "), "begins with '{'"),
      MalformedFile(
        "many tensors of the same bytes", tensors("{\(many.joined(separator: ","))}", 16),
        "to begin"),
      MalformedFile(
        "another file behind it", tensors(good, 16) + Array("extra data".utf8),
        "16 bytes of elements"),
      MalformedFile("two bytes too few", tensors(good, 14), "16 bytes of elements"),
      MalformedFile(
        "a size that is not that of the shape", tensors(one("[2,2]", "[0, 4]"), 4), "16 bytes for"),
      MalformedFile(
        "a shape beyond 64 bits", tensors(one("[2,18446744073709551614]", "[0,16]"), 16),
        "below 2^63"),
      MalformedFile(
        "a shape whose size is beyond 64 bits",
        tensors(one("[2,9223372036854775807]", "[0,16]"), 16), "whose size is a number"),
      MalformedFile(
        "offsets the wrong way round", tensors(one("[2]", "[8,0]"), 8), "a begin and an end"),
      MalformedFile(
        "an unknown type", tensors(good.replacing("I32", with: "I31"), 16), .unsupported, "'I31'"),
      MalformedFile(
        "half a byte at the end",
        tensors(#"{"test":{"dtype":"F4","shape":[1,1],"data_offsets":[0,1]}}"#, 1), "a number"),
      MalformedFile(
        "metadata that is no text", tensors(#"{"__metadata__":{"a":1}}"#), "in the header"),
    ]
  }()
}

@Suite("Malformed files of the formats' own test suites")
struct FormatSuiteTests {
  @Test(".npy", arguments: MalformedFile.versions + MalformedFile.magic + MalformedFile.headers)
  func npy(_ file: MalformedFile) throws {
    func check(_ error: TensorFileError?) throws {
      let error = try #require(error, "was read")
      #expect(error.reason == file.reason)
      #expect(error.description.contains(file.says), "\(error)")
    }
    try check(#expect(throws: TensorFileError.self) { try NDArray(npyBytes: file.bytes) })
    try withFolder { folder in
      let url = folder.appending(path: "x.npy")
      try Data(file.bytes).write(to: url)
      try check(#expect(throws: TensorFileError.self) { try NDArray(npy: url) })
    }
    // And as an array of an archive, which names it.
    let archive = try NPZArchive(bytes: ZipBuilder.archive([.init("x.npy", file.bytes)]))
    let inside = #expect(throws: TensorFileError.self) { try archive.array("x") }
    try check(inside)
    #expect(inside?.entry == "x")
  }

  @Test(".npz", arguments: MalformedFile.archives)
  func npz(_ file: MalformedFile) throws {
    let error = #expect(throws: TensorFileError.self) { try NPZArchive(bytes: file.bytes) }
    #expect(error?.reason == file.reason)
    try withFolder { folder in
      let url = folder.appending(path: "x.npz")
      try Data(file.bytes).write(to: url)
      let error = #expect(throws: TensorFileError.self) { try NPZArchive(url) }
      #expect(error?.reason == file.reason)
    }
  }

  @Test(".safetensors", arguments: MalformedFile.tensorFiles)
  func safetensors(_ file: MalformedFile) throws {
    func check(_ error: TensorFileError?) throws {
      let error = try #require(error, "was read")
      #expect(error.reason == file.reason)
      #expect(error.description.contains(file.says), "\(error)")
    }
    try check(#expect(throws: TensorFileError.self) { try SafeTensors(bytes: file.bytes) })
    try withFolder { folder in
      let url = folder.appending(path: "x.safetensors")
      try Data(file.bytes).write(to: url)
      try check(#expect(throws: TensorFileError.self) { try SafeTensors(url) })
    }
  }

  /// What looks odd and is none of these: the suites read it, and so do the readers here.
  @Test("Files that are read")
  func good() throws {
    let number = try SafeTensors(bytes: MalformedFile.tensors(MalformedFile.one("[]", "[0,4]"), 4))
    #expect(try number.array("test").shape == [])
    let none = try SafeTensors(bytes: MalformedFile.tensors(MalformedFile.one("[2,0]", "[0, 0]")))
    #expect(try none.array("test").shape == [2, 0])
    #expect(try SafeTensors(bytes: MalformedFile.tensors("{}\r \t\n")).names == [])
    #expect(try NPZArchive(bytes: ZipBuilder.archive([])).names == [])
    let empty = MalformedFile.header(MalformedFile.described("'<f8'", "(0, 3)"))
    #expect(try NDArray(npyBytes: empty).shape == [0, 3])
  }
}
