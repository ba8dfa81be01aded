// Writing a file so that it appears whole or not at all. Uses the calls of the system.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Writes bytes one after the other.
///
/// A file that is to be replaced gets its new content like this:
///
/// 1. A file beside it is made, with a name that begins with a dot and ends with `.saving`, and locked.
/// 2. The content is written there and brought to the disk.
/// 3. That file takes the name of the old one, in one step.
///
/// So under the name there is the old content or the new one, whenever the process or the system ends. What
/// an end before step 3 leaves is the file of step 1. The next save finds it by its name, is the only one
/// that has it locked, and begins it anew: leftovers don't pile up.
struct FileWriter: ~Copyable {
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private static let bufferSize = 1 << 16
  /// How many bytes have been written.
  private(set) var count = 0

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  // MARK: Writing

  mutating func write(_ bytes: [UInt8]) throws(FileProblem) {
    count += bytes.count
    buffer += bytes
    if buffer.count >= Self.bufferSize { try flush() }
  }

  /// Writes elements from where they are.
  mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FileProblem) {
    count += bytes.count
    if bytes.count < Self.bufferSize / 4 {
      buffer.append(contentsOf: bytes)
      if buffer.count >= Self.bufferSize { try flush() }
    } else {
      try flush()
      try put(bytes)
    }
  }

  private mutating func flush() throws(FileProblem) {
    let pending = buffer
    buffer.removeAll(keepingCapacity: true)
    try pending.withRaw { bytes throws(FileProblem) in try put(bytes) }
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws(FileProblem) {
    var done = 0
    while done < bytes.count {
      #if canImport(Darwin)
        let n = Darwin.write(
          descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30))
      #elseif canImport(Musl)
        let n = Musl.write(descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30))
      #else
        let n = Glibc.write(descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30))
      #endif
      if n < 0 {
        if errno == EINTR { continue }
        throw .system("space for \(count) bytes")
      }
      done += n
    }
  }

  // MARK: Replacing a file

  /// Gives a file the content that `body` writes.
  ///
  /// A device or a pipe (`/dev/stdout`) is written to as it is. Of a symbolic link it is the file behind it
  /// that is replaced.
  ///
  /// - Throws: `TensorFileError` where the system refuses; what `body` throws. The old file is as before.
  static func replace(
    _ path: String, _ body: (inout FileWriter) throws -> Void
  ) throws {
    do {
      if path.isEmpty || path.utf8.contains(0) {
        throw FileProblem.notWritable(
          "a path", path.isEmpty ? "an empty text" : "a zero byte in it")
      }
      var status = stat()
      let exists = stat(path, &status) == 0
      if exists, status.st_mode & S_IFMT == S_IFDIR {
        throw FileProblem.system("a file that can be replaced", EISDIR)
      }
      if exists, status.st_mode & S_IFMT != S_IFREG {
        try writeThrough(path, body)
      } else {
        let temporary = try TemporaryFile(beside: try target(of: path, exists: exists))
        do {
          if exists { fchmod(temporary.descriptor, status.st_mode & 0o7777) }
          try write(to: temporary.descriptor, body)
          try temporary.synchronize()
          try temporary.takeName()
        } catch {
          temporary.remove()
          throw error
        }
      }
    } catch let problem as FileProblem { throw TensorFileError(problem, "write", path) }
  }

  private static func write(
    to descriptor: Int32, _ body: (inout FileWriter) throws -> Void
  ) throws {
    var writer = FileWriter(descriptor)
    try body(&writer)
    try writer.flush()
  }

  private static func writeThrough(
    _ path: String, _ body: (inout FileWriter) throws -> Void
  ) throws {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    if descriptor < 0 { throw FileProblem.system("a place to write to") }
    defer { close(descriptor) }
    try write(to: descriptor, body)
  }

  /// The file that a path leads to, behind symbolic links.
  private static func target(of path: String, exists: Bool) throws(FileProblem) -> String {
    if exists {
      guard let resolved = realpath(path, nil) else { throw .system("a file that can be replaced") }
      defer { free(resolved) }
      return String(cString: resolved)
    }
    var status = stat()
    if lstat(path, &status) == 0 {
      throw .notWritable("a file or none", "a symbolic link to nothing")
    }
    return path
  }
}

/// The file beside the one that is to be replaced. Locked for as long as it is open.
private final class TemporaryFile {
  let descriptor: Int32
  private let path: String
  private let target: String
  private let folder: String

  /// Makes it, or takes over what a process has left that has ended.
  init(beside target: String) throws(FileProblem) {
    self.target = target
    let slash = target.utf8.lastIndex(of: UInt8(ascii: "/"))
    let name = slash.map { String(target[target.utf8.index(after: $0)...]) } ?? target
    folder = slash.map { String(target[...$0]) } ?? "./"
    if name.isEmpty { throw .notWritable("the name of a file", "a path that ends with '/'") }
    // Names of files have at most 255 bytes. Targets whose names begin alike take turns then.
    let begin = name.utf8.count > 180 ? String(name.unicodeScalars.prefix(40)) : name
    let usual = "\(folder).\(begin).saving"
    if let descriptor = try Self.openLocked(usual) {
      self.descriptor = descriptor
      path = usual
      return
    }
    // Somebody else's, or a file system without locks: a name that nobody has.
    let unique = "\(folder).\(begin).\(getpid())-\(UInt32.random(in: 0 ... .max)).saving"
    path = unique
    descriptor = open(unique, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw .system("a folder to write to") }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// The file of a name that saves of this user to the same target share, one at a time; nil where there is
  /// something of that name that can't be had for that.
  private static func openLocked(_ path: String) throws(FileProblem) -> Int32? {
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o666)
      if descriptor < 0 {
        // A link, a folder, or a file of another user.
        if [ELOOP, EISDIR, EACCES, EPERM, ENXIO].contains(errno) { return nil }
        throw .system("a folder to write to")
      }
      var (mine, there) = (stat(), stat())
      // A second name would be another file that is written to.
      guard fstat(descriptor, &mine) == 0, mine.st_mode & S_IFMT == S_IFREG,
        mine.st_uid == geteuid(), mine.st_nlink <= 1
      else {
        close(descriptor)
        return nil
      }
      var status = flock(descriptor, LOCK_EX)
      while status != 0, errno == EINTR { status = flock(descriptor, LOCK_EX) }
      guard status == 0 else {
        close(descriptor)
        return nil
      }
      // Whoever had it locked may have given it the target's name meanwhile.
      if lstat(path, &there) == 0, there.st_ino == mine.st_ino, there.st_dev == mine.st_dev {
        if ftruncate(descriptor, 0) == 0 { return descriptor }
        let problem = FileProblem.system("a folder to write to")
        close(descriptor)
        throw problem
      }
      close(descriptor)
    }
  }

  /// Brings the content to the disk: after an end of the system a name could lead to nothing otherwise.
  func synchronize() throws(FileProblem) {
    #if canImport(Darwin)
      // `fsync` leaves it in the drive's own memory there.
      if fcntl(descriptor, F_FULLFSYNC) == 0 { return }
    #endif
    while fsync(descriptor) != 0 {
      if errno != EINTR { throw .system("content that reaches the disk") }
    }
  }

  func takeName() throws(FileProblem) {
    if rename(path, target) != 0 { throw .system("a file that can be replaced") }
    // The new name as well. The file is there and whole, so a system that can't do this is no error.
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    if descriptor >= 0 {
      fsync(descriptor)
      close(descriptor)
    }
  }

  func remove() { unlink(path) }
}
