// The steps by which systems give memory for machine code. Continues CodeMemory.swift.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension CodeMemory {
  /// What became of some code.
  enum Mapped {
    case at(UnsafeMutableRawPointer)
    /// With an error number of the system.
    case refused(Int32)
  }

  /// Why this build installs no code at all; nil where it does.
  package static var unsupported: String? {
    #if !arch(x86_64) && !arch(arm64)
      "neither an x86-64 nor an arm64 build"
    #elseif os(Linux)
      nil
    #elseif os(macOS) && arch(arm64)
      writesCode == nil ? "the system lacks what writes machine code" : nil
    #else
      "machine code is emitted on Linux, and on macOS for arm64, only"
    #endif
  }

  #if os(Linux) && (arch(x86_64) || arch(arm64))
    /// Maps whole pages for writing, fills them, and makes them executable.
    ///
    /// - Parameter failing: a step that is to be refused.
    static func map(_ bytes: [UInt8], _ size: Int, failing: Step?) -> Mapped {
      if failing == .map { return .refused(ENOMEM) }
      let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let base = mapped, base != UnsafeMutableRawPointer(bitPattern: -1) else {
        return .refused(errno)
      }
      bytes.withUnsafeBytes { base.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
      // What no code is in traps when something jumps there: on x86-64 by int3, on arm64 because 0 is no
      // instruction.
      #if arch(x86_64)
        memset(base + bytes.count, 0xCC, size - bytes.count)
      #endif
      let status = failing == .protect ? -1 : mprotect(base, size, PROT_READ | PROT_EXEC)
      guard status == 0 else {
        let reason = failing == .protect ? EACCES : errno
        munmap(base, size)
        return .refused(reason)
      }
      #if arch(arm64)
        guard InstructionCache.synchronize(base, bytes.count) else {
          munmap(base, size)
          return .refused(EACCES)
        }
      #endif
      return .at(base)
    }
  #elseif os(macOS) && arch(arm64)
    /// Functions of macOS 11 that are looked up, so that no declaration of them is needed: what lets this
    /// thread, and nobody else, write pages of `MAP_JIT`, and what makes that visible as instructions
    /// (pthread_jit_write_protect_np(3), `libkern/OSCacheControl.h`).
    private static let writesCode:
      (
        protect: @convention(c) (Int32) -> Void,
        invalidate: @convention(c) (UnsafeMutableRawPointer, Int) -> Void
      )? = {
        let everywhere = UnsafeMutableRawPointer(bitPattern: -2)
        guard let protect = dlsym(everywhere, "pthread_jit_write_protect_np"),
          let invalidate = dlsym(everywhere, "sys_icache_invalidate")
        else { return nil }
        return (
          unsafeBitCast(protect, to: (@convention(c) (Int32) -> Void).self),
          unsafeBitCast(
            invalidate, to: (@convention(c) (UnsafeMutableRawPointer, Int) -> Void).self)
        )
      }()

    /// Maps whole pages that are writable for a thread between two calls, and executable for the others.
    /// A process with the hardened runtime and without the entitlement for this is refused.
    static func map(_ bytes: [UInt8], _ size: Int, failing: Step?) -> Mapped {
      guard failing == nil, let writesCode else {
        return .refused(failing == .protect ? EACCES : ENOMEM)
      }
      let mapped = mmap(
        nil, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_JIT, -1,
        0)
      guard let base = mapped, base != UnsafeMutableRawPointer(bitPattern: -1) else {
        return .refused(errno)
      }
      writesCode.protect(0)
      bytes.withUnsafeBytes { base.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
      writesCode.protect(1)
      writesCode.invalidate(base, bytes.count)
      return .at(base)
    }
  #else
    static func map(_ bytes: [UInt8], _ size: Int, failing: Step?) -> Mapped { .refused(ENOTSUP) }
  #endif
}
