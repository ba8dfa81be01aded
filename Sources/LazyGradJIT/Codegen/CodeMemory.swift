// Memory for machine code. The first thing of code generation: everything that is emitted is
// installed here before it runs. Uses Core only.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One installed piece of machine code; its memory goes back to the system with the last reference.
package final class CodeBlock: Sendable {
  /// The first byte. Functions may also begin further on: a block is whatever was installed.
  package nonisolated(unsafe) let entry: UnsafeRawPointer
  /// Bytes of code.
  package let byteCount: Int
  /// Bytes of the mapping: whole pages.
  package let mappedBytes: Int
  private let memory: CodeMemory

  fileprivate init(
    entry: UnsafeRawPointer, byteCount: Int, mappedBytes: Int, memory: CodeMemory
  ) {
    self.entry = entry
    self.byteCount = byteCount
    self.mappedBytes = mappedBytes
    self.memory = memory
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: entry), mappedBytes)
    memory.released(mappedBytes)
  }
}

/// Takes pages, writes code into them, and only then makes them executable.
///
/// A page is never writable and executable at once: it is mapped for writing, filled, switched to
/// reading and executing, and not written again until it is unmapped; on macOS, for each thread. That is why
/// every block has pages of its own; a page that is shared would have to become writable while others run in it.
///
/// The system may refuse at any step (hardened kernels, SELinux, no memory), and so does a limit on
/// all blocks together. A refusal is counted and no error: the portable kernels do the work.
package final class CodeMemory: Sendable {
  package static let shared = CodeMemory(limit: 64 << 20)

  package struct Counters: Sendable, Equatable {
    /// Blocks, and their bytes in whole pages, that are installed now.
    package var liveBlocks = 0
    package var liveBytes = 0
    /// Blocks and bytes of code installed since the process began, without the probe's.
    package var installedBlocks = 0
    package var installedBytes = 0
    /// Installations refused, and the part of them that the limit refused.
    package var refusals = 0
    package var limitRefusals = 0
    /// Why the last one was refused.
    package var lastRefusal: String?
  }

  /// A step that tests can make fail, as the system would.
  package enum Step: Sendable { case map, protect }

  private struct State {
    var counters = Counters()
    var failing: Step?
  }
  private let state = Lock(State())
  private let limit: Int
  private let pageBytes = Int(getpagesize())

  /// - Parameter limit: the most bytes, in whole pages, that blocks may hold together.
  package init(limit: Int) { self.limit = limit }

  package var counters: Counters { state.withLock { $0.counters } }

  /// Makes a step fail from now on, or none: for tests.
  package func fail(at step: Step?) { state.withLock { $0.failing = step } }

  /// Installs code in the process's code memory; nil when that is refused.
  package static func install(_ bytes: [UInt8]) -> CodeBlock? { shared.install(bytes) }

  /// Installs code; nil when that is refused.
  ///
  /// - Parameter isProbe: this is no kernel and does not count as installed.
  package func install(_ bytes: [UInt8], isProbe: Bool = false) -> CodeBlock? {
    precondition(!bytes.isEmpty, "code memory: expected some bytes of code, got none")
    if let unsupported = Self.unsupported {
      state.withLock { state in
        state.counters.refusals += 1
        state.counters.lastRefusal = unsupported
      }
      return nil
    }
    let size = (bytes.count + pageBytes - 1) / pageBytes * pageBytes
    // The bytes are reserved before they are mapped, so that tasks that install at the same time
    // cannot pass the limit together.
    let reserved: (isAllowed: Bool, failing: Step?) = state.withLock { state in
      let isAllowed = size <= limit - state.counters.liveBytes
      if isAllowed {
        state.counters.liveBytes += size
        state.counters.liveBlocks += 1
      } else {
        state.counters.refusals += 1
        state.counters.limitRefusals += 1
        state.counters.lastRefusal = "the limit of \(limit) bytes of code is reached"
      }
      return (isAllowed, state.failing)
    }
    guard reserved.isAllowed else { return nil }
    switch Self.map(bytes, size, failing: reserved.failing) {
    case .refused(let reason):
      refuse(releasing: size, reason)
      return nil
    case .at(let base):
      if !isProbe {
        state.withLock { state in
          state.counters.installedBlocks += 1
          state.counters.installedBytes += bytes.count
        }
      }
      return CodeBlock(
        entry: UnsafeRawPointer(base), byteCount: bytes.count, mappedBytes: size, memory: self)
    }
  }

  fileprivate func released(_ bytes: Int) {
    state.withLock { state in
      state.counters.liveBytes -= bytes
      state.counters.liveBlocks -= 1
    }
  }

  private func refuse(releasing bytes: Int, _ code: Int32) {
    let text = String(cString: strerror(code))
    state.withLock { state in
      state.counters.liveBytes -= bytes
      state.counters.liveBlocks -= 1
      state.counters.refusals += 1
      state.counters.lastRefusal = text
    }
  }
}
