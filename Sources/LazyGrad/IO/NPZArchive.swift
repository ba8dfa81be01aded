// .npz files: named arrays, as NumPy's `savez` and `load` have them. Uses ZipDirectory, Inflate, CRC32,
// NPY and FileWriter.

/// A `.npz` file: arrays by name, each a `.npy` file in a ZIP archive.
///
///     let archive = try NPZArchive("run.npz")
///     let x = try archive.array("x")                     // one array; the others are not read
///     try NPZArchive.write(["x": x, "y": y], to: "run.npz")
///
/// Opening a file reads its directory. An array is read when it is asked for, and its checksum compared.
/// Stored and deflated files are read (`savez` and `savez_compressed`), also beyond 4 GiB; stored ones are
/// written.
///
/// Files may come from anywhere. Damaged archives, encrypted ones, archives that could be read in two ways,
/// names that are there twice or lead out of a folder (`../x`) are errors. What is deflated can't become longer
/// than 1,032 times what it was, and what claims to is refused before memory is taken.
public struct NPZArchive: Sendable {
  private let content: FileContent
  private let path: String
  private let entries: [String: ZipDirectory.Entry]
  /// The names of the arrays, in the order of the file.
  public let names: [String]

  private static let suffix = ".npy"

  /// Opens a file and reads its directory.
  ///
  /// - Throws: `TensorFileError`.
  public init(_ location: some FileLocation) throws(TensorFileError) {
    let path = location._filePath
    do throws(FileProblem) { try self.init(.file(OpenFile(checked: path)), path) } catch {
      throw TensorFileError(error, "read", path)
    }
  }

  /// Takes the bytes of a file, which have come from elsewhere.
  ///
  /// - Parameters:
  ///   - bytes: The whole file.
  ///   - name: What errors call it.
  /// - Throws: `TensorFileError`.
  public init(
    bytes: some Sequence<UInt8>, name: String = "bytes"
  ) throws(TensorFileError) {
    do throws(FileProblem) { try self.init(.bytes([UInt8](bytes)), name) } catch {
      throw TensorFileError(error, "read", name)
    }
  }

  private init(_ content: FileContent, _ path: String) throws(FileProblem) {
    self.content = content
    self.path = path
    let directory = try content.withSource { source throws(FileProblem) in
      try ZipDirectory(source)
    }
    var entries: [String: ZipDirectory.Entry] = [:]
    var names: [String] = []
    for entry in directory.entries where entry.name.hasSuffix(Self.suffix) {
      let name = String(entry.name.dropLast(Self.suffix.count))
      entries[name] = entry
      names.append(name)
    }
    self.entries = entries
    self.names = names
  }

  /// Reads an array.
  ///
  /// - Throws: `TensorFileError`: there is none of that name, its bytes are damaged, or it has a type that
  ///   LazyGrad has not.
  /// - Complexity: reads the array's bytes, twice where they are stored. Of what is deflated there are two
  ///   copies meanwhile.
  public func array(_ name: String) throws(TensorFileError) -> NDArray {
    do throws(FileProblem) {
      guard let entry = entries[name] else {
        throw .missing("an array of that name", others: names.count)
      }
      return try content.withSource { source throws(FileProblem) in
        try Self.read(entry, source.part(entry.data))
      }
    } catch { throw TensorFileError(error, "read", path, entry: name) }
  }

  /// Reads all arrays.
  ///
  /// - Throws: `TensorFileError`, for the first one that can't be read.
  public func arrays() throws(TensorFileError) -> [String: NDArray] {
    var result: [String: NDArray] = [:]
    for name in names { result[name] = try array(name) }
    return result
  }

  private static func read(
    _ entry: ZipDirectory.Entry, _ data: ByteSource
  ) throws(FileProblem) -> NDArray {
    guard entry.isDeflated else {
      try check(try CRC32.of(data), entry)
      return try NPYHeader.readArray(data)
    }
    let bytes: NDArray
    do {
      bytes = try NDArray(shape: [entry.size], dtype: .uint8) { output in
        if let input = data.inMemory {
          try Inflate.decode(input, into: output)
        } else {
          let packed = try NDArray(shape: [data.count], dtype: .uint8) {
            try data.read(0, into: $0)
          }
          try packed.withUnsafeBytes { try Inflate.decode($0, into: output) }
        }
      }
    } catch { throw .array(error, entry.size) }
    let result = bytes.withUnsafeElements(as: UInt8.self) { elements in
      Result<NDArray, FileProblem> { () throws(FileProblem) in
        let source = ByteSource(UnsafeRawBufferPointer(elements))
        try check(try CRC32.of(source), entry)
        return try NPYHeader.readArray(source)
      }
    }
    return try result.get()
  }

  private static func check(
    _ checksum: UInt32, _ entry: ZipDirectory.Entry
  ) throws(FileProblem) {
    if checksum != entry.checksum {
      throw .malformed(
        "a checksum of \(String(entry.checksum, radix: 16))", String(checksum, radix: 16))
    }
  }

  /// Writes arrays, tensors or snapshots by name, as `numpy.savez` does: `numpy.load` reads the file.
  ///
  ///     try NPZArchive.write(["w": w.snapshot, "b": b.snapshot], to: "weights.npz")
  ///
  /// The arrays are stored in the order of their names, so equal values give equal files. The file appears
  /// whole or not at all.
  ///
  /// - Parameters:
  ///   - arrays: What is written. A name may have parts, separated by `/`; it must not lead out of a folder.
  ///   - location: The file.
  /// - Throws: `TensorFileError` where the system refuses or a name can't be written, and what reading the
  ///   values throws. The old file stays as it was.
  /// - Complexity: forces evaluation of tensors; the elements go from their memory to the file. Waits for
  ///   the disk.
  public static func write<Value: StorableArray>(
    _ arrays: [String: Value], to location: some FileLocation
  ) throws {
    try FileWriter.replace(location._filePath) { writer in
      var zip = ZipWriter()
      for (name, value) in arrays.sorted(by: { $0.key < $1.key }) {
        let header = try NPYHeader.text(shape: value.shape, dtype: value.dtype)
        try value.withCheckedBytes { bytes in
          try zip.add(name + suffix, header, bytes, to: &writer)
        }
      }
      try zip.finish(&writer)
    }
  }
}
