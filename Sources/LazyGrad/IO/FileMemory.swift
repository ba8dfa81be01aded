// A file as memory. Uses OpenFile and the calls of the system.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The bytes of a whole file that nobody changes: mapped, so that a page is read when it is looked at, or in
/// memory of its own.
///
/// Behind the file at least `slack` bytes more may be read, as tensors over it need:
///
///     | pages of the file ... end of the file | zeros to the end of the page | a page of zeros |
final class FileMemory: @unchecked Sendable {
  static let slack = 64

  /// The bytes and what may be read behind them. Begins at a multiple of 64.
  let memory: UnsafeRawBufferPointer
  /// The bytes.
  let bytes: UnsafeRawBufferPointer
  private let isMapped: Bool

  /// Maps a file.
  init(_ file: OpenFile) throws(FileProblem) {
    let page = Int(getpagesize())
    let length = (file.count + page - 1) / page * page
    // First memory for all of it, then the file over the front: so the page behind it is ours.
    let flags = MAP_PRIVATE | Self.anonymous
    guard
      let start = mmap(nil, length + page, PROT_READ, flags, -1, 0), start != MAP_FAILED
    else { throw .outOfMemory(file.count) }
    if file.count > 0,
      mmap(start, length, PROT_READ, MAP_PRIVATE | MAP_FIXED, file.descriptor, 0) == MAP_FAILED
    {
      let problem = FileProblem.system("a file that can be mapped")
      munmap(start, length + page)
      throw problem
    }
    memory = UnsafeRawBufferPointer(start: start, count: length + page)
    bytes = UnsafeRawBufferPointer(rebasing: memory[..<file.count])
    isMapped = true
  }

  /// Memory that is written here, and never again.
  init(byteCount: Int, _ fill: (UnsafeMutableRawPointer) -> Void) throws(FileProblem) {
    let (whole, overflow) = byteCount.addingReportingOverflow(Self.slack)
    var block: UnsafeMutableRawPointer?
    guard !overflow, posix_memalign(&block, 64, whole) == 0, let block else {
      throw .outOfMemory(byteCount)
    }
    fill(block)
    (block + byteCount).initializeMemory(as: UInt8.self, repeating: 0, count: Self.slack)
    memory = UnsafeRawBufferPointer(start: block, count: whole)
    bytes = UnsafeRawBufferPointer(rebasing: memory[..<byteCount])
    isMapped = false
  }

  /// Copies bytes.
  convenience init(_ content: [UInt8]) throws(FileProblem) {
    try self.init(byteCount: content.count) { target in
      content.withUnsafeBytes { bytes in
        if let source = bytes.baseAddress {
          target.copyMemory(from: source, byteCount: bytes.count)
        }
      }
    }
  }

  deinit {
    let start = UnsafeMutableRawPointer(mutating: memory.baseAddress)
    if isMapped { munmap(start, memory.count) } else { free(start) }
  }

  #if canImport(Darwin)
    private static let anonymous = MAP_ANON
  #else
    private static let anonymous = Int32(MAP_ANONYMOUS)
  #endif
}
