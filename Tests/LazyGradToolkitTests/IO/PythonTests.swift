// Files that go to NumPy, safetensors and MyGrad and come back, where Python has them. LAZYGRAD_PYTHON names
// the interpreter; python3 otherwise.

import Foundation
import LazyGrad
import TestSupport
import Testing

/// The interpreter.
private enum Python {
  static func run(_ arguments: String...) -> (status: Int32, text: String) {
    let process = Process()
    let script = FileMutator.fixtures.appending(path: "roundtrip.py").path
    process.executableURL = URL(filePath: "/usr/bin/env")
    let python = ProcessInfo.processInfo.environment["LAZYGRAD_PYTHON"] ?? "python3"
    process.arguments = [python, script] + arguments
    let pipe = Pipe()
    (process.standardOutput, process.standardError) = (pipe, pipe)
    guard (try? process.run()) != nil else { return (-1, "") }
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  /// What Python has.
  static let libraries: [String] = {
    let (status, text) = run("has")
    return status == 0 ? text.split(whereSeparator: \.isWhitespace).map(String.init) : []
  }()
}

@Suite("Files and Python", .enabled(if: Python.libraries.contains("numpy")))
struct PythonTests {
  private struct Entry: Codable, Equatable {
    let shape: [Int]
    let dtype: String
    let bytes: String

    init(_ array: NDArray) throws {
      shape = array.shape
      dtype = array.dtype.description
      bytes = try array.withUnsafeBytes { bytes in
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      }
    }
  }

  private struct Tensors: Codable {
    let tensors: [String: Entry]
    let metadata: [String: String]
  }

  private static func sample(_ random: inout SeededRandom) -> NDArray {
    let dtype = random.pick(DType.allCases.filter { $0 != .bfloat16 })
    let shape = (0..<random.int(0...4)).map { _ in random.int(0...5) }
    let count = shape.reduce(1, *)
    let x = NDArray((0..<count).map { _ in random.int(-1000...1000) }, shape: shape)
    let y = dtype == .bool ? x.astype(.bool) : x.astype(dtype)
    return random.chance(0.3) ? y.transposed() : y
  }

  @Test("Python reads what is written here")
  func written() throws {
    var random = SeededRandom(seed: UInt64.random(in: 0 ... .max))
    try withFolder { folder in
      var manifest: [String: any Encodable] = [:]
      for i in 0..<60 {
        let x = Self.sample(&random)
        try x.write(npy: folder.appending(path: "\(i).npy"))
        manifest["\(i).npy"] = try Entry(x)
        var arrays: [String: NDArray] = [:]
        for k in 0..<random.int(0...6) { arrays["größe \(k)/\"x\""] = Self.sample(&random) }
        try NPZArchive.write(arrays, to: folder.appending(path: "\(i).npz"))
        manifest["\(i).npz"] = try arrays.mapValues(Entry.init)
        let metadata = random.chance(0.5) ? ["ü \"note\"": "line\n\u{1}\\"] : [:]
        try SafeTensors.write(
          arrays, metadata: metadata, to: folder.appending(path: "\(i).safetensors"))
        manifest["\(i).safetensors"] = Tensors(
          tensors: try arrays.mapValues(Entry.init), metadata: metadata)
        let t = Tensor(x.astype(.float64))
        if random.chance(0.5) { (t * t).backward() }
        try t.save(to: folder.appending(path: "\(i).mygrad"))
        var parts = ["data": try Entry(t.array)]
        if let grad = t.grad { parts["grad"] = try Entry(grad.array) }
        manifest["\(i).mygrad"] = parts
      }
      let texts = try manifest.map { name, value in
        "\"\(name)\": " + String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
      }
      try Data("{\(texts.joined(separator: ","))}".utf8)
        .write(to: folder.appending(path: "manifest.json"))
      let (status, text) = Python.run("check", folder.path)
      #expect(status == 0, "\(text)")
    }
  }

  @Test("What Python writes is read here")
  func read() throws {
    try withFolder { folder in
      let (status, text) = Python.run("write", folder.path)
      try #require(status == 0, "\(text)")
      /// One of the forms of an entry.
      enum Content: Decodable {
        case array(Entry)
        case arrays([String: Entry])
        case tensors(Tensors)

        init(from decoder: any Decoder) throws {
          if let entry = try? Entry(from: decoder) {
            self = .array(entry)
          } else if let tensors = try? Tensors(from: decoder) {
            self = .tensors(tensors)
          } else {
            self = .arrays(try [String: Entry](from: decoder))
          }
        }
      }
      let manifest = try JSONDecoder().decode(
        [String: Content].self,
        from: Data(contentsOf: folder.appending(path: "manifest.json")))
      #expect(manifest.count >= 60)
      for (name, content) in manifest {
        let file = folder.appending(path: name)
        switch content {
        case .array(let entry): #expect(try Entry(NDArray(npy: file)) == entry, "\(name)")
        case .arrays(let entries):
          #expect(try NPZArchive(file).arrays().mapValues(Entry.init) == entries, "\(name)")
        case .tensors(let expected):
          let tensors = try SafeTensors(file)
          #expect(tensors.metadata == expected.metadata)
          #expect(Set(tensors.names) == Set(expected.tensors.keys))
          for (key, entry) in expected.tensors {
            #expect(try Entry(tensors.tensor(key).array) == entry, "\(name): \(key)")
          }
        }
      }
    }
  }
}
