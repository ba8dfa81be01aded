// .safetensors files, as Hugging Face's library and PyTorch programs have them. Uses FileMemory,
// SafeTensorsHeader, StoredType and FileWriter.

/// A `.safetensors` file: tensors by name, and some texts.
///
///     let file = try SafeTensors("model.safetensors")
///     let w = try file.tensor("encoder.weight")                     // read-only, over the file's pages
///     let b = Tensor(try file.array("encoder.bias"), copy: false)   // memory of its own
///
///     try SafeTensors.write(["w": w, "b": b], metadata: ["step": "1000"], to: "model.safetensors")
///
/// A file is mapped, not read: opening one takes as long as its header, whatever its size, and a tensor's
/// pages are read when its elements are. Snapshots and tensors show the mapping itself, where the elements
/// begin at a multiple of their size; elsewhere they are copied. They keep the mapping for as long as they
/// live, and any number of processes that map a file share its memory.
///
/// **While a file is mapped nobody may change it.** What is written into it shows in the tensors, whenever
/// the system likes, and if it is cut off, reading what is missing ends the program (`SIGBUS`). Programs that
/// replace a file by another, as `write` does, are no danger: the mapping is of the old one. Where others
/// write into files, `SafeTensors(bytes:)` of what was read works on a copy.
///
/// F64, F32, F16, BF16, I64, I32, U8 and BOOL are LazyGrad's own types. I8, I16 and U16 become int32, U32 int64: copies, with exactly the same values. U64, complex numbers and those of 8 bits and less
/// are an error when such a tensor is asked for, not before.
///
/// Files may come from anywhere. The header has to be strict JSON in UTF-8, with every name once; the
/// elements have to fill the file without gaps and without overlap. All of that is checked when the file is
/// opened, so what a tensor needs is there.
public struct SafeTensors: Sendable {
  /// What a file says of a tensor.
  public struct Entry: Sendable, Equatable {
    /// The lengths of the axes.
    public let shape: [Int]
    /// The type of what is read; nil where LazyGrad has none.
    public let dtype: DType?
    /// The type as the file names it: `F16`.
    public let storedType: String
    /// Where the bytes are, counted from the begin of the file.
    public let byteRange: Range<Int>
  }

  /// The names of the tensors, in the order of their elements in the file.
  public let names: [String]
  /// The texts under `__metadata__`.
  public let metadata: [String: String]
  private let file: FileMemory
  private let path: String
  private let places: [String: Int]
  private let entries: [SafeTensorsHeader.Entry]
  private let offset: Int

  /// Maps a file and reads its header.
  ///
  /// - Throws: `TensorFileError`.
  /// - Complexity: O(the header).
  public init(_ location: some FileLocation) throws(TensorFileError) {
    let path = location._filePath
    do throws(FileProblem) {
      try self.init(FileMemory(try OpenFile(checked: path)), path)
    } catch { throw TensorFileError(error, "read", path) }
  }

  /// Takes a copy of the bytes of a file.
  ///
  /// - Parameters:
  ///   - bytes: The whole file.
  ///   - name: What errors call it.
  /// - Throws: `TensorFileError`.
  /// - Complexity: copies the bytes once.
  public init(bytes: some Sequence<UInt8>, name: String = "bytes") throws(TensorFileError) {
    do throws(FileProblem) { try self.init(FileMemory([UInt8](bytes)), name) } catch {
      throw TensorFileError(error, "read", name)
    }
  }

  private init(_ file: FileMemory, _ path: String) throws(FileProblem) {
    let header = try SafeTensorsHeader(file.bytes)
    self.file = file
    self.path = path
    entries = header.entries
    metadata = header.metadata
    offset = header.offset
    names = header.entries.map(\.name)
    places = Dictionary(uniqueKeysWithValues: zip(names, names.indices))
  }

  /// What the file says of a tensor; nil if there is none of that name.
  public func entry(_ name: String) -> Entry? {
    guard let entry = places[name].map({ entries[$0] }) else { return nil }
    return Entry(
      shape: entry.shape, dtype: entry.type.dtype, storedType: entry.type.name,
      byteRange: offset + entry.range.lowerBound..<offset + entry.range.upperBound)
  }

  /// A tensor's value, over the file's own pages where its type and its place allow.
  ///
  /// - Throws: `TensorFileError`: there is none of that name, LazyGrad has no such type, or a truth value is
  ///   neither 0 nor 1.
  /// - Complexity: O(1) for numbers of LazyGrad's own types; truth values are looked at once; what is widened
  ///   or does not begin at a multiple of its size is copied.
  public func snapshot(_ name: String) throws(TensorFileError) -> TensorSnapshot {
    do throws(FileProblem) {
      guard let place = places[name] else {
        throw .missing("a tensor of that name", others: names.count)
      }
      return try snapshot(entries[place])
    } catch { throw TensorFileError(error, "read", path, entry: name) }
  }

  private func snapshot(_ entry: SafeTensorsHeader.Entry) throws(FileProblem) -> TensorSnapshot {
    let start = offset + entry.range.lowerBound
    let bytes = UnsafeRawBufferPointer(
      rebasing: file.bytes[start..<offset + entry.range.upperBound])
    do {
      switch entry.type.kind {
      case .own(let dtype):
        if start % dtype.size == 0 {
          return try TensorSnapshot(
            shape: entry.shape, dtype: dtype, memory: file.memory, byteOffset: start, owner: file)
        }
        return try copy(entry.shape, dtype, bytes.count) {
          if let source = bytes.baseAddress { $0.copyMemory(from: source, byteCount: bytes.count) }
        }
      case .widened(let dtype, let widen):
        guard let size = NPYHeader.byteCount(entry.shape, dtype) else {
          throw FileProblem.malformed("a shape whose size is a number", "\(entry.shape)")
        }
        return try copy(entry.shape, dtype, size) { widen(bytes, $0) }
      case .foreign:
        throw FileProblem.unsupported(
          "F64, F32, F16, BF16, I64, I32, I16, I8, U32, U16, U8 or BOOL", entry.type.name)
      }
    } catch let error as SnapshotError {
      switch error {
      case .invalidBool: throw .malformed("truth values of 0 or 1", "another byte")
      case .outOfMemory(let bytes): throw .outOfMemory(bytes)
      default: throw .unsupported("a shape that arrays can have", error.description)
      }
    } catch { throw .array(error, bytes.count) }
  }

  /// A snapshot of an array that is filled here.
  private func copy(
    _ shape: [Int], _ dtype: DType, _ byteCount: Int, _ fill: (UnsafeMutableRawPointer) -> Void
  ) throws -> TensorSnapshot {
    let memory = try FileMemory(byteCount: byteCount, fill)
    return try TensorSnapshot(
      shape: shape, dtype: dtype, memory: memory.memory, byteOffset: 0, owner: memory)
  }

  /// A read-only tensor over a value of the file, as `Tensor(sharing:)` makes it.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - constant: Whether gradients stay away; nil: floats are variables, all else constants.
  /// - Throws: `TensorFileError`, as `snapshot(_:)`.
  /// - Complexity: as `snapshot(_:)`.
  public func tensor(
    _ name: String, constant: Bool? = nil
  ) throws(TensorFileError) -> Tensor {
    Tensor(sharing: try snapshot(name), constant: constant)
  }

  /// A value of the file in memory of its own, which can be written to.
  ///
  /// - Throws: `TensorFileError`, as `snapshot(_:)`, or if there is no memory.
  /// - Complexity: copies every element once.
  public func array(_ name: String) throws(TensorFileError) -> NDArray {
    let snapshot = try snapshot(name)
    do throws(SnapshotError) { return try NDArray(snapshot) } catch {
      let size = NPYHeader.byteCount(snapshot.shape, snapshot.dtype) ?? .max
      throw TensorFileError(.outOfMemory(size), "read", path, entry: name)
    }
  }

  /// Writes arrays, tensors or snapshots by name, as the format's own library does, byte for byte.
  ///
  /// The widest types come first, then names in the order of their bytes, so that all elements are aligned
  /// and can be mapped, and equal values give equal files. The file appears whole or not at all.
  ///
  /// - Parameters:
  ///   - arrays: What is written.
  ///   - metadata: Texts to keep with it.
  ///   - location: The file.
  /// - Throws: `TensorFileError` where the system refuses or a name can't be written (`__metadata__`), and
  ///   what reading the values throws. The old file stays as it was.
  /// - Complexity: forces evaluation of tensors; the elements go from their memory to the file. Waits for
  ///   the disk.
  public static func write<Value: StorableArray>(
    _ arrays: [String: Value], metadata: [String: String] = [:], to location: some FileLocation
  ) throws {
    try FileWriter.replace(location._filePath) { writer in
      let sorted = arrays.sorted { a, b in
        let (first, second) = (StoredType.own(a.value.dtype), StoredType.own(b.value.dtype))
        return first.order != second.order
          ? first.order < second.order : a.key.utf8.lexicographicallyPrecedes(b.key.utf8)
      }
      try writer.write(SafeTensorsHeader.text(sorted.map { ($0.key, $0.value) }, metadata))
      for (_, value) in sorted { try value.withCheckedBytes { try writer.write($0) } }
    }
  }
}

extension SafeTensorsHeader {
  /// The header with its length, padded so that the elements begin at a multiple of 8.
  static func text(
    _ arrays: [(String, some StorableArray)], _ metadata: [String: String]
  ) throws(FileProblem) -> [UInt8] {
    var members: [String] = []
    if !metadata.isEmpty {
      let texts = metadata.sorted { $0.key < $1.key }
        .map { "\(quoted($0.key)):\(quoted($0.value))" }
      members.append("\(quoted(metadataKey)):{\(texts.joined(separator: ","))}")
    }
    var offset = 0
    for (name, array) in arrays {
      if name == metadataKey {
        throw .notWritable("a name other than the one of the metadata", "'\(name)'")
      }
      guard let size = NPYHeader.byteCount(array.shape, array.dtype),
        case let (end, overflow) = offset.addingReportingOverflow(size), !overflow
      else { throw .notWritable("a shape whose size is a number", "\(array.shape)") }
      let shape = array.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(quoted(name)):{\"dtype\":\"\(StoredType.own(array.dtype).name)\","
          + "\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var text = Array("{\(members.joined(separator: ","))}".utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    if text.count > lengthLimit {
      throw .notWritable("a header of at most \(lengthLimit) bytes", "\(text.count)")
    }
    return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
  }

  /// A text as JSON has it.
  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{8}": result += "\\b"
      case "\u{C}": result += "\\f"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case ..<" ":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
