// Files that NumPy, safetensors and MyGrad have written (Fixtures/IO/generate.py), and what is in them.

import Foundation
import LazyGrad
import Testing

@Suite("Files of other libraries")
struct FileFixtureTests {
  /// What expected.json says of a file.
  struct Expected: Decodable {
    /// Numbers, and texts for those that JSON has none for.
    struct Value: Decodable {
      let number: Double

      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
          number = try #require(Double(text))
        } else if let truth = try? container.decode(Bool.self) {
          number = truth ? 1 : 0
        } else {
          number = try container.decode(Double.self)
        }
      }
    }

    struct Array: Decodable {
      let shape: [Int]
      let dtype: String
      let values: [Value]
    }

    /// One text for a file, or one for each tensor of it.
    enum Unsupported: Decodable {
      case file(String)
      case tensors([String: String])

      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        self =
          if let text = try? container.decode(String.self) { .file(text) } else {
            .tensors(try container.decode([String: String].self))
          }
      }
    }

    let shape: [Int]?
    let dtype: String?
    let values: [Value]?
    let arrays: [String: Array]?
    let tensors: [String: Array]?
    let metadata: [String: String]?
    let data: Array?
    let grad: Array?
    let unsupported: Unsupported?
  }

  static let expected: [String: Expected] = {
    let file = FileMutator.fixtures.appending(path: "expected.json")
    return try! JSONDecoder().decode([String: Expected].self, from: Data(contentsOf: file))
  }()

  private func check(_ array: NDArray, _ expected: Expected.Array, _ name: String) {
    #expect(array.shape == expected.shape, "\(name)")
    #expect(array.dtype.description == expected.dtype, "\(name)")
    let values = expected.values.map(\.number)
    let same = zip(array.elements(as: Double.self), values).allSatisfy {
      $0 == $1 && $0.sign == $1.sign || $0.isNaN && $1.isNaN
    }
    #expect(same && array.count == values.count, "\(name)")
    #expect(array.isContiguous, "\(name)")
  }

  @Test("Every .npy file", arguments: expected.keys.filter { $0.hasSuffix(".npy") }.sorted())
  func npy(_ name: String) throws {
    let expected = try #require(Self.expected[name])
    let url = FileMutator.fixtures.appending(path: name)
    if case .file(let found) = expected.unsupported {
      let error = #expect(throws: TensorFileError.self) { try NDArray(npy: url) }
      #expect(error?.reason == .unsupported)
      #expect(error?.found.contains(found) == true, "\(String(describing: error))")
      return
    }
    let array = try NDArray(npy: url)
    let whole = Expected.Array(
      shape: try #require(expected.shape), dtype: try #require(expected.dtype),
      values: try #require(expected.values))
    check(array, whole, name)
    #expect(array.isWriteable)
    let bytes = try Data(contentsOf: url)
    check(try NDArray(npyBytes: bytes), whole, name)
    // What NumPy writes by default is what is written here.
    if ["float64", "float32", "float16", "int64", "int32", "uint8", "bool", "scalar", "empty"]
      .contains(url.deletingPathExtension().lastPathComponent)
    {
      #expect(try array.npyBytes() == [UInt8](bytes), "\(name)")
    }
  }

  @Test(
    "Every .npz file",
    arguments: expected.keys.filter {
      $0.hasSuffix("d.npz") || $0.contains("level") || $0.contains("lzma")
    })
  func npz(_ name: String) throws {
    let expected = try #require(Self.expected[name])
    let url = FileMutator.fixtures.appending(path: name)
    if case .file(let found) = expected.unsupported {
      let error = #expect(throws: TensorFileError.self) { try NPZArchive(url) }
      #expect(error?.reason == .unsupported && error?.found.contains(found) == true)
      return
    }
    let arrays = try #require(expected.arrays)
    for archive in [try NPZArchive(url), try NPZArchive(bytes: Data(contentsOf: url))] {
      #expect(Set(archive.names) == Set(arrays.keys))
      for (key, array) in try archive.arrays() {
        check(array, try #require(arrays[key]), "\(name): \(key)")
      }
    }
  }

  @Test("Every .safetensors file", arguments: ["all.safetensors", "plain.safetensors"])
  func safetensors(_ name: String) throws {
    let expected = try #require(Self.expected[name])
    let url = FileMutator.fixtures.appending(path: name)
    for file in [try SafeTensors(url), try SafeTensors(bytes: Data(contentsOf: url))] {
      #expect(file.metadata == expected.metadata)
      var names = Set(try #require(expected.tensors).keys)
      for (key, array) in try #require(expected.tensors) {
        check(try file.array(key), array, "\(name): \(key)")
        check(try file.tensor(key).array, array, "\(name): \(key)")
        #expect(try file.tensor(key).isConstant != file.tensor(key).dtype.isFloating)
        #expect(file.entry(key)?.shape == array.shape)
        #expect(file.entry(key)?.dtype?.description == array.dtype)
      }
      if case .tensors(let unsupported) = expected.unsupported {
        for (key, type) in unsupported {
          names.insert(key)
          #expect(file.entry(key)?.dtype == nil && file.entry(key)?.storedType == type)
          let error = #expect(throws: TensorFileError.self) { try file.snapshot(key) }
          #expect(error?.reason == .unsupported && error?.found == type && error?.entry == key)
        }
      }
      #expect(Set(file.names) == names)
    }
  }

  @Test("What safetensors writes is what is written here, byte for byte")
  func sameBytes() throws {
    let url = FileMutator.fixtures.appending(path: "plain.safetensors")
    let file = try SafeTensors(url)
    let arrays = Dictionary(
      uniqueKeysWithValues: try file.names.map { ($0, try file.snapshot($0)) })
    try withFolder { folder in
      let copy = folder.appending(path: "copy.safetensors")
      try SafeTensors.write(arrays, metadata: file.metadata, to: copy)
      #expect(try Data(contentsOf: copy) == Data(contentsOf: url))
    }
  }

  @Test("MyGrad's own files", arguments: ["mygrad_gradient.npz", "mygrad_plain.npz"])
  func mygrad(_ name: String) throws {
    let expected = try #require(Self.expected[name])
    let tensor = try Tensor.load(FileMutator.fixtures.appending(path: name))
    check(tensor.array, try #require(expected.data), name)
    #expect(!tensor.isConstant)
    #expect((tensor.grad == nil) == (expected.grad == nil))
    if let grad = expected.grad { check(tensor.gradient.array, grad, name) }
  }
}

/// A folder for a test, which is gone afterwards.
func withFolder<R>(_ body: (URL) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appending(path: "files-\(UUID())")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}
