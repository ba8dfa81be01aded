// .npy: what is refused, and round trips.

import Foundation
import LazyGrad
import Testing

@Suite(".npy")
struct NPYTests {
  /// A file with some header, which is padded as the format asks for.
  private func file(
    _ header: String, _ data: [UInt8], version: [UInt8] = [1, 0]
  ) -> [UInt8] {
    let text = Array(header.utf8) + [0x0A]
    let length = ZipBuilder.word(text.count, version[0] == 1 ? 2 : 4)
    var result: [UInt8] = [0x93] + Array("NUMPY".utf8)
    for part in [version, length, text, data] { result += part }
    return result
  }

  private func error(_ bytes: [UInt8]) -> TensorFileError? {
    do throws(TensorFileError) {
      _ = try NDArray(npyBytes: bytes)
      return nil
    } catch { return error }
  }

  private static let good = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }"
  private static let eight = [UInt8](0..<8)

  @Test(
    "Other ways to write the header",
    arguments: [
      good, "{'shape':(2,),'fortran_order':False,'descr':'<i4'}",
      "{\"descr\": \"<i4\", \"fortran_order\": True, \"shape\": (2L,)}   ",
      "  {\t'descr': '=i4', 'fortran_order': False, 'shape': ( 2 , ) } ",
      "{'descr': '|i4', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': 'i4', 'fortran_order': False, 'shape': (2,)}",
    ])
  func headers(_ header: String) throws {
    let array = try NDArray(npyBytes: file(header, Self.eight))
    #expect(array.elements(as: Int.self) == [0x0302_0100, 0x0706_0504] && array.shape == [2])
  }

  @Test(
    "Headers that are not of the format",
    arguments: [
      "", "{", "{}", "[]", "{'descr'", "{'descr': '<i4'}", "None", "{'descr': '<i4' 'shape': (2,)}",
      "{'descr': '<i4', 'fortran_order': False}", "{'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<i4', 'shape': (2,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
      "{'descr': '<i4', 'descr': '<i4', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}",
      "{'descr': '<i4', 'fortran_order': 0, 'shape': (2,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': 2}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': [2]}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (-2,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (02,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2.0,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2,,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (18446744073709551618,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (9223372036854775807,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (3,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': ()}",
      "{'descr': 4, 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<i4\\x00', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '<i4', 'fortran_order': False, 'shape': (2,)} {}",
      "{descr: '<i4', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}",
    ])
  func malformedHeaders(_ header: String) {
    #expect(error(file(header, Self.eight))?.reason == .malformed, "\(header)")
  }

  @Test("Longs are Python 2's, which wrote no version 3")
  func longs() {
    let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2L,), }"
    #expect(error(file(header, Self.eight, version: [2, 0])) == nil)
    #expect(error(file(header, Self.eight, version: [3, 0]))?.reason == .malformed)
  }

  @Test("Every prefix of a file, and files with more, are refused")
  func truncated() throws {
    for version: [UInt8] in [[1, 0], [2, 0], [3, 0]] {
      let whole = file(Self.good, Self.eight, version: version)
      #expect(error(whole) == nil)
      for length in 0..<whole.count {
        #expect(error(Array(whole[..<length]))?.reason == .malformed, "\(length)")
      }
      #expect(error(whole + [0])?.reason == .malformed)
    }
  }

  @Test("Versions, lengths and texts that there are not")
  func prefixes() {
    #expect(error(file(Self.good, Self.eight, version: [4, 0]))?.reason == .unsupported)
    #expect(error(file(Self.good, Self.eight, version: [1, 1]))?.reason == .unsupported)
    #expect(error(file(Self.good, Self.eight, version: [0, 0]))?.reason == .unsupported)
    var long = file(Self.good, Self.eight, version: [2, 0])
    for i in 8..<12 { long[i] = 0xFF }
    #expect(error(long)?.reason == .malformed)
    // Only what is longer than any array's header.
    let padded = Self.good + String(repeating: " ", count: 1 << 16)
    #expect(error(file(padded, Self.eight, version: [2, 0]))?.reason == .unsupported)
    var bytes = file("{'descr': '\u{FF}', ", Self.eight, version: [3, 0])
    bytes[bytes.firstIndex(of: 0xC3)!] = 0xFF
    #expect(error(bytes)?.found == "other bytes")
    #expect(error(Array("PK\u{3}\u{4}".utf8))?.found == "'PK\\x03\\x04'")
  }

  @Test("More axes than arrays have, and truth values that are none")
  func others() {
    let ones = String(repeating: "1,", count: 65)
    let axes = "{'descr': '|u1', 'fortran_order': False, 'shape': (\(ones)), }"
    #expect(error(file(axes, [7]))?.reason == .unsupported)
    let truth = "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }"
    #expect(error(file(truth, [1, 0])) == nil)
    #expect(error(file(truth, [1, 2]))?.reason == .malformed)
    let empty = "{'descr': '<f8', 'fortran_order': True, 'shape': (0, 4294967296, 4294967296), }"
    #expect(error(file(empty, []))?.reason == .unsupported)
  }

  @Test("What an error says")
  func message() throws {
    let error = try #require(self.error(file(Self.good, [1, 2, 3])))
    #expect(error.description == "read bytes: expected 8 bytes for shape [2] of int32, got 3 bytes")
    #expect(error.path == "bytes" && error.entry == nil && error.operation == "read")
    let missing = #expect(throws: TensorFileError.self) { try NDArray(npy: "no/such/file.npy") }
    #expect(missing?.reason == .notFound)
    #expect(missing?.description.hasPrefix("read no/such/file.npy: expected ") == true)
    let web = #expect(throws: TensorFileError.self) {
      try NDArray(npy: URL(string: "https://example.org/etc/hosts")!)
    }
    #expect(web?.path == "https://example.org/etc/hosts" && web?.reason == .notFound)
    let folder = #expect(throws: TensorFileError.self) { try NDArray(npy: "/") }
    #expect(folder?.found == "a folder")
    let zero = #expect(throws: TensorFileError.self) { try NDArray(npy: "/etc/hosts\0.npy") }
    #expect(zero?.reason == .malformed)
    #if os(Linux)
      let device = #expect(throws: TensorFileError.self) { try NDArray(npy: "/dev/zero") }
      #expect(device?.found == "a pipe or a device")
    #endif
  }

  @Test("A type that .npy has none for is refused, and the old file stays")
  func bfloat16() throws {
    try withFolder { folder in
      let file = folder.appending(path: "x.npy")
      let x = NDArray([1.5, 2], dtype: .bfloat16)
      try NDArray([7]).write(npy: file)
      let errors = [
        #expect(throws: TensorFileError.self) { try x.write(npy: file) },
        #expect(throws: TensorFileError.self) { _ = try x.npyBytes() },
        #expect(throws: TensorFileError.self) {
          try NPZArchive.write(["x": x], to: folder.appending(path: "x.npz"))
        },
      ]
      for error in errors {
        #expect(error?.reason == .notWritable)
        #expect(error?.found == "bfloat16; cast it to float32")
      }
      #expect(try NDArray(npy: file).elements == [7])
    }
  }

  @Test("Numbers of 16 bits in either order of bytes")
  func bigEndianHalves() throws {
    let x = NDArray([[1.5, -0.25], [65504, 0x1p-24]], dtype: .float16)
    var bytes = try x.npyBytes()
    #expect(String(decoding: bytes[10..<80], as: UTF8.self).contains("'<f2'"))
    bytes[bytes.firstIndex(of: UInt8(ascii: "<"))!] = UInt8(ascii: ">")
    for i in stride(from: bytes.count - 8, to: bytes.count, by: 2) { bytes.swapAt(i, i + 1) }
    let y = try NDArray(npyBytes: bytes)
    #expect(y.dtype == .float16 && y.elements == x.elements)
  }

  @Test(
    "Round trips of every type, of views, tensors and snapshots",
    arguments: DType.allCases.filter { $0 != .bfloat16 })
  func roundTrips(_ dtype: DType) throws {
    try withFolder { folder in
      let file = folder.appending(path: "x.npy")
      for shape in [[], [0], [1], [3, 0, 2], [5], [2, 3, 4], [100, 70]] {
        let count = shape.reduce(1, *)
        let x = NDArray((0..<count).map { $0 % 2 }, shape: shape).astype(dtype)
        try x.write(npy: file)
        #expect(try TensorSnapshot(NDArray(npy: file)) == TensorSnapshot(x))
        try x.transposed().write(npy: file.path)
        #expect(try TensorSnapshot(NDArray(npy: file.path)) == TensorSnapshot(x.transposed()))
        try Tensor(x).write(npy: file)
        #expect(try TensorSnapshot(NDArray(npy: file)) == TensorSnapshot(x))
        try TensorSnapshot(x).write(npy: file)
        #expect(try TensorSnapshot(NDArray(npy: file)) == TensorSnapshot(x))
        #expect(try TensorSnapshot(NDArray(npyBytes: x.npyBytes())) == TensorSnapshot(x))
      }
    }
  }
}
