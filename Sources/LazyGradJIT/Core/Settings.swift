// What the environment says, read once per process.

import Foundation

/// Process settings from environment variables.
package enum Settings {
  /// Every variable that LazyGrad reads, with what it does.
  package static let variables: [(name: String, meaning: String)] = [
    ("LAZYGRAD_MEM_GUARD", "0 turns memory guarding off at start-up"),
    ("LAZYGRAD_THREADS", "threads that a plan may use (default: the number of cores)"),
    ("LAZYGRAD_MEMORY_LIMIT", "bytes that arrays may hold together"),
    ("LAZYGRAD_JIT", "0 runs the portable kernels only and emits no machine code"),
    ("LAZYGRAD_ISA", "portable, avx2 or avx512: kernels to begin with (default: the best)"),
    ("LAZYGRAD_DEBUG", "1 prints every new plan, 2 also every loop of it"),
    ("LAZYGRAD_WINDOW", "operations after which unread work is run (default: 32768)"),
    ("LAZYGRAD_CHECK", "1 verifies every backward pass, which takes longer than the pass"),
  ]

  private static func value(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name]
  }

  private static func number(_ name: String) -> Int? { value(name).flatMap { Int($0) } }

  package static let isGuardOnAtStart: Bool = {
    switch value("LAZYGRAD_MEM_GUARD")?.lowercased() {
    case "0", "false", "off": false
    default: true
    }
  }()

  package static let threads: Int =
    max(1, number("LAZYGRAD_THREADS") ?? ProcessInfo.processInfo.activeProcessorCount)

  package static let memoryLimit: Int =
    number("LAZYGRAD_MEMORY_LIMIT").map { max($0, 0) } ?? 1 << 46

  /// As written: what the values mean is decided where the machine is known.
  package static let jit: String? = value("LAZYGRAD_JIT")
  package static let instructionSet: String? = value("LAZYGRAD_ISA")

  /// No operation of the library records more than a few records before it looks at the window.
  package static let windowRecords: Int = min(max(number("LAZYGRAD_WINDOW") ?? 1 << 15, 8), 1 << 24)
  package static let checksPasses: Bool = number("LAZYGRAD_CHECK") == 1

  package static let debugLevel: Int = number("LAZYGRAD_DEBUG") ?? 0
}
