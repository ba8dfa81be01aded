// .npy files: one array, as NumPy's `save` and `load` have it. Uses NPYHeader, ByteSource, FileWriter and
// what arrays give to everybody.

extension NDArray {
  /// Reads a `.npy` file, as `numpy.load` does.
  ///
  ///     let x = try NDArray(npy: "samples.npy")
  ///
  /// The array has the file's shape and element type, in memory of its own and in C order. Versions 1.0,
  /// 2.0 and 3.0 of the format are read, in both byte orders and both orders of elements. The types are
  /// those of `DType`; for others, Python objects and structured types the error says what was found.
  ///
  /// - Throws: `TensorFileError`. The file may be anything: what it claims is compared with its length
  ///   before memory is taken, and bytes behind the array are an error as well.
  /// - Complexity: reads every byte once, into the array. In Fortran order there are three copies
  ///   for a while.
  public convenience init(npy location: some FileLocation) throws(TensorFileError) {
    let path = location._filePath
    let file: OpenFile
    do throws(FileProblem) { file = try OpenFile(checked: path) } catch {
      throw TensorFileError(error, "read", path)
    }
    try self.init(npy: .file(file), path)
  }

  /// Reads the bytes of a `.npy` file, which have come from elsewhere.
  ///
  /// - Parameters:
  ///   - bytes: The whole file.
  ///   - name: What errors call it.
  /// - Throws: `TensorFileError`, as for a file.
  public convenience init(
    npyBytes bytes: some Sequence<UInt8>, name: String = "bytes"
  ) throws(TensorFileError) {
    try self.init(npy: .bytes([UInt8](bytes)), name)
  }

  private convenience init(npy content: FileContent, _ path: String) throws(TensorFileError) {
    var byteCount = 0
    do {
      let header = try content.withSource { source throws(FileProblem) in try NPYHeader(source) }
      byteCount = header.byteCount
      try self.init(shape: header.shape, dtype: header.dtype) { bytes in
        try content.withSource { source throws(FileProblem) in
          try header.readElements(source, into: bytes)
        }
      }
    } catch { throw TensorFileError(.array(error, byteCount), "read", path) }
  }
}

extension NPYHeader {
  /// The array of a part of a file.
  static func readArray(_ source: ByteSource) throws(FileProblem) -> NDArray {
    let header = try NPYHeader(source)
    do {
      return try NDArray(shape: header.shape, dtype: header.dtype) {
        try header.readElements(source, into: $0)
      }
    } catch { throw .array(error, header.byteCount) }
  }

  /// Reads the elements that stand behind the header, into C order.
  func readElements(
    _ source: ByteSource, into target: UnsafeMutableRawBufferPointer
  ) throws(FileProblem) {
    if isFortranOrder, shape.count > 1 {
      do {
        // The same elements are in C order for the axes the other way around.
        let reversed = try NDArray(shape: shape.reversed(), dtype: dtype) {
          try readInOrder(source, into: $0)
        }
        try reversed.transposed().withUnsafeBytes { target.copyMemory(from: $0) }
      } catch { throw .array(error, byteCount) }
    } else {
      try readInOrder(source, into: target)
    }
  }

  private func readInOrder(
    _ source: ByteSource, into target: UnsafeMutableRawBufferPointer
  ) throws(FileProblem) {
    try source.read(offset, into: target)
    if isBigEndian { ByteOrder.swap(target, size: dtype.size) }
    if dtype == .bool { try ByteOrder.checkTruth(UnsafeRawBufferPointer(target)) }
  }
}

extension StorableArray {
  /// Writes a `.npy` file, as `numpy.save` does, byte for byte: version 1.0, C order, little-endian.
  ///
  ///     try x.write(npy: "samples.npy")
  ///
  /// The file appears whole or not at all: it is written beside the old one, brought to the disk, and
  /// takes its name then.
  ///
  /// - Throws: `TensorFileError` where the system refuses, and what reading the value throws: `TensorError`
  ///   where there is none. The old file stays as it was.
  /// - Complexity: forces evaluation of a tensor. The elements go from their memory to the file; those of a
  ///   view with gaps are copied first. Waits for the disk.
  public func write(npy location: some FileLocation) throws {
    try FileWriter.replace(location._filePath) { writer in
      let header = try NPYHeader.text(shape: shape, dtype: dtype)
      try withCheckedBytes { bytes in
        try writer.write(header)
        try writer.write(bytes)
      }
    }
  }

  /// The bytes of a `.npy` file, to be sent elsewhere.
  ///
  /// - Throws: What reading the value throws.
  /// - Complexity: forces evaluation of a tensor, and copies every element once.
  public func npyBytes() throws -> [UInt8] {
    do { return try withCheckedBytes { try NPYHeader.text(shape: shape, dtype: dtype) + $0 } } catch
    {
      throw (error as? FileProblem).map { TensorFileError($0, "write", "bytes") } ?? error
    }
  }
}

extension NPYHeader {
  /// The most digits that a length has: what NumPy leaves room for, so that an array can grow in place.
  private static let digits = 21

  /// The header of a file in C order, padded so that the elements begin at a multiple of 64.
  static func text(shape: [Int], dtype: DType) throws(FileProblem) -> [UInt8] {
    let lengths = shape.map(String.init).joined(separator: ", ")
    var text =
      "{'descr': '\(try code(of: dtype))', 'fortran_order': False, "
      + "'shape': (\(lengths)\(shape.count == 1 ? "," : "")), }"
    if let first = shape.first {
      text += String(repeating: " ", count: digits - String(first).utf8.count)
    }
    let used = magic.count + 4 + text.utf8.count + 1
    text += String(repeating: " ", count: 64 - used % 64) + "\n"
    // 64 axes of 19 digits are 1,400 bytes: version 1.0 is always enough.
    let length = text.utf8.count
    return magic + [1, 0, UInt8(length & 0xFF), UInt8(length >> 8)] + Array(text.utf8)
  }

  private static func code(of dtype: DType) throws(FileProblem) -> String {
    switch dtype {
    case .bool: return "|b1"
    case .uint8: return "|u1"
    case .int32: return "<i4"
    case .int64: return "<i8"
    case .float16: return "<f2"
    case .float32: return "<f4"
    case .float64: return "<f8"
    case .bfloat16:
      throw .notWritable("an element type that .npy files have", "bfloat16; cast it to float32")
    }
  }
}

/// What the bytes of elements need that come from a file.
enum ByteOrder {
  /// Turns the bytes of every element around.
  static func swap(_ bytes: UnsafeMutableRawBufferPointer, size: Int) {
    switch size {
    case 2:
      for i in bytes.bindMemory(to: UInt16.self).indices {
        bytes.storeBytes(
          of: bytes.load(fromByteOffset: 2 * i, as: UInt16.self).byteSwapped, toByteOffset: 2 * i,
          as: UInt16.self)
      }
    case 4:
      for i in bytes.bindMemory(to: UInt32.self).indices {
        bytes.storeBytes(
          of: bytes.load(fromByteOffset: 4 * i, as: UInt32.self).byteSwapped, toByteOffset: 4 * i,
          as: UInt32.self)
      }
    case 8:
      for i in bytes.bindMemory(to: UInt64.self).indices {
        bytes.storeBytes(
          of: bytes.load(fromByteOffset: 8 * i, as: UInt64.self).byteSwapped, toByteOffset: 8 * i,
          as: UInt64.self)
      }
    default: break
    }
  }

  /// A byte other than 0 and 1 is no truth value.
  static func checkTruth(_ bytes: UnsafeRawBufferPointer) throws(FileProblem) {
    if let wrong = bytes.first(where: { $0 > 1 }) {
      throw .malformed("truth values of 0 or 1", "a byte of \(wrong)")
    }
  }
}
