// Bytes that are read at places: of a file, or of memory. Nothing here trusts what it reads. Uses the
// calls of the system.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A file that is open for reading.
///
/// Read by `pread`, so any number of threads may do so at once.
final class OpenFile: Sendable {
  let descriptor: Int32
  /// How long it was when it was opened.
  let count: Int

  /// Opens a file for the functions that are given its name.
  convenience init(checked path: String) throws(FileProblem) {
    // The system would take what stands before a zero byte for the name.
    if path.isEmpty || path.utf8.contains(0) {
      throw .malformed("a path", path.isEmpty ? "an empty text" : "a zero byte in it")
    }
    try self.init(path)
  }

  private init(_ path: String) throws(FileProblem) {
    // Without `O_NONBLOCK` opening a pipe waits until somebody writes there.
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor < 0 {
      count = 0
      throw .system("a file that can be read")
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      count = 0
      throw .system("a file that can be read")
    }
    count = Int(status.st_size)
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .unsupported(
        "a file", status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "a pipe or a device")
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Reads as many bytes as the buffer has.
  func read(_ start: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileProblem) {
    var done = 0
    while done < buffer.count {
      let n = pread(
        descriptor, buffer.baseAddress! + done, min(buffer.count - done, 1 << 30),
        off_t(start + done))
      if n < 0 {
        if errno == EINTR { continue }
        throw .system("a file that can be read")
      }
      if n == 0 {
        throw .malformed("\(buffer.count) bytes at byte \(start)", "the end of the file")
      }
      done += n
    }
  }
}

/// A part of a file or of memory.
///
/// What is asked for beyond its end is an error.
struct ByteSource {
  private enum Kind {
    case file(OpenFile)
    /// Valid for as long as the call that the source was made for.
    case memory(UnsafeRawPointer?)
  }

  private let kind: Kind
  private let start: Int
  let count: Int

  init(_ file: OpenFile) {
    kind = .file(file)
    start = 0
    count = file.count
  }

  init(_ bytes: UnsafeRawBufferPointer) {
    kind = .memory(bytes.baseAddress)
    start = 0
    count = bytes.count
  }

  private init(_ kind: Kind, _ start: Int, _ count: Int) {
    self.kind = kind
    self.start = start
    self.count = count
  }

  /// A part, which has to be inside.
  func part(_ range: Range<Int>) -> ByteSource {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    return ByteSource(kind, start + range.lowerBound, range.count)
  }

  /// The bytes, where they are in memory already.
  var inMemory: UnsafeRawBufferPointer? {
    if case .memory(let pointer) = kind {
      return UnsafeRawBufferPointer(start: pointer.map { $0 + start }, count: count)
    }
    return nil
  }

  func read(_ offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileProblem) {
    let (end, overflow) = offset.addingReportingOverflow(buffer.count)
    guard offset >= 0, !overflow, end <= count else {
      throw .malformed("\(buffer.count) bytes at byte \(offset)", "\(count) bytes in all")
    }
    switch kind {
    case .file(let file): try file.read(start + offset, into: buffer)
    case .memory(let pointer):
      if buffer.count > 0 {
        buffer.baseAddress!.copyMemory(from: pointer! + start + offset, byteCount: buffer.count)
      }
    }
  }

  /// A few bytes.
  func bytes(_ range: Range<Int>) throws(FileProblem) -> [UInt8] {
    // Before memory is taken for them.
    guard range.lowerBound >= 0, range.upperBound <= count else {
      throw .malformed("\(range.count) bytes at byte \(range.lowerBound)", "\(count) bytes in all")
    }
    var problem: FileProblem?
    let result = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, initialized in
      do throws(FileProblem) {
        try read(range.lowerBound, into: UnsafeMutableRawBufferPointer(buffer))
        initialized = range.count
      } catch { problem = error }
    }
    if let problem { throw problem }
    return result
  }
}

/// The bytes of a file that several calls read: a file that stays open, or memory.
enum FileContent: Sendable {
  case file(OpenFile)
  case bytes([UInt8])

  func withSource<R>(_ body: (ByteSource) throws(FileProblem) -> R) throws(FileProblem) -> R {
    switch self {
    case .file(let file): return try body(ByteSource(file))
    case .bytes(let bytes):
      return try bytes.withRaw { bytes throws(FileProblem) in try body(ByteSource(bytes)) }
    }
  }
}

extension [UInt8] {
  /// `withUnsafeBytes` for what throws these errors only.
  func withRaw<R>(
    _ body: (UnsafeRawBufferPointer) throws(FileProblem) -> R
  ) throws(FileProblem) -> R {
    let result = withUnsafeBytes { bytes in
      Result<R, FileProblem> { () throws(FileProblem) in try body(bytes) }
    }
    return try result.get()
  }
}

/// Numbers at places of some bytes. They have to be there.
extension UnsafeRawBufferPointer {
  func word16(_ offset: Int) -> Int {
    Int(UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
  }

  func word32(_ offset: Int) -> Int {
    Int(UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
  }

  func word64(_ offset: Int) -> UInt64 {
    UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
}
