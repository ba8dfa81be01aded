// What the environment says, read once per process. A value that can't be used is said on standard error,
// in one line, and the default holds.

import Foundation

/// Process settings from environment variables.
package enum Settings {
  /// Every variable that LazyGrad reads, with what it does.
  package static let variables: [(name: String, meaning: String)] = [
    ("LAZYGRAD_MEM_GUARD", "0 turns memory guarding off at start-up"),
    (
      "LAZYGRAD_THREADS",
      "threads that a plan may use (default: the cores that the process may run on)"
    ),
    ("LAZYGRAD_MEMORY_LIMIT", "bytes that arrays may hold together; K, M, G or T may follow"),
    ("LAZYGRAD_JIT", "0 runs the portable kernels only and emits no machine code"),
    ("LAZYGRAD_ISA", "portable, avx2, avx512 or neon: kernels to begin with (default: the best)"),
    (
      "LAZYGRAD_DEBUG",
      "prints on standard error: 1 every evaluation, 2 also new plans, 3 their loops, 4 machine code"
    ),
    ("LAZYGRAD_WINDOW", "operations after which unread work is run (default: 262144)"),
    (
      "LAZYGRAD_LAYOUTS",
      "new shapes and strides after which unused ones are freed (default: 16384)"
    ),
    ("LAZYGRAD_CHECK", "1 verifies every backward pass, which takes longer than the pass"),
    ("LAZYGRAD_FLUSH_DENORMALS", "1 begins with numbers below 1.2e-38 (float32) taken for zero"),
    (
      "LAZYGRAD_MPI",
      "the file of the MPI library that several processes train over (default: the launcher's)"
    ),
    (
      "LAZYGRAD_STALL_SECONDS",
      "seconds of waiting for other ranks after which that is said (default: 60)"
    ),
    (
      "LAZYGRAD_STALL_LIMIT",
      "seconds of waiting for other ranks after which all are ended (default: no limit)"
    ),
  ]

  // MARK: What can't be used

  /// A variable whose value can't be used, and why.
  package struct Problem: Sendable, Equatable {
    package let name: String
    /// What was expected and what came.
    package let text: String

    package init(name: String, text: String) {
      self.name = name
      self.text = text
    }
  }

  private static let found = Lock<[Problem]>([])

  /// What can't be used of the variables that have been read so far.
  package static var problems: [Problem] { found.withLock { $0 } }

  /// Says that a value can't be used.
  package static func complain(_ problem: Problem) {
    found.withLock { $0.append(problem) }
    say("\(problem.name): \(problem.text); the default is used")
  }

  private static let standardError = Lock(FileHandle.standardError)

  /// A line on standard error, or several; those of other threads don't come in between.
  package static func say(_ lines: String) {
    standardError.withLock { try? $0.write(contentsOf: Data("LazyGrad: \(lines)\n".utf8)) }
  }

  /// Reads all variables but those that only who knows the machine understands.
  package static func readAll() {
    _ = (isGuardOnAtStart, threads, memoryLimit, debugLevel, windowRecords, layouts, checksPasses)
    _ = (stallSeconds, stallLimit, flushesDenormals)
  }

  // MARK: Reading

  /// The value of a variable; an empty one counts as none.
  private static func text(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  /// What `parse` makes of a variable; nil where it is not set, or can't be used.
  private static func value<Value>(
    _ name: String, _ expected: String, _ parse: (String) -> Value?
  ) -> Value? {
    guard let text = text(name) else { return nil }
    if let value = parse(text) { return value }
    complain(Problem(name: name, text: "expected \(expected), got '\(text)'"))
    return nil
  }

  /// Whether a switch is on; nil where it is neither that nor off.
  package static func isOn(_ text: String) -> Bool? {
    switch text.lowercased() {
    case "0", "false", "off": false
    case "1", "true", "on": true
    default: nil
    }
  }

  /// A number of bytes: `K`, `M`, `G` and `T`, or `KiB` and so on, stand for powers of 1024.
  package static func byteCount(_ text: String) -> Int? {
    var digits = text[...]
    if digits.lowercased().hasSuffix("ib") { digits = digits.dropLast(2) }
    let hasUnit = digits.count < text.count
    let exponent = digits.last.flatMap { "KMGT".firstIndex(of: Character($0.uppercased())) }
      .map { "KMGT".distance(from: "KMGT".startIndex, to: $0) + 1 }
    if exponent != nil { digits = digits.dropLast() }
    if hasUnit, exponent == nil { return nil }
    guard let number = Int(digits), number >= 0, digits.first != "+" else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (10 * (exponent ?? 0)))
    return overflow ? nil : bytes
  }

  // MARK: The settings

  package static let isGuardOnAtStart = value("LAZYGRAD_MEM_GUARD", "0 or 1", isOn) ?? true

  /// More threads than this are no use to a plan, and their stacks a burden.
  package static let maxThreads = 1024

  /// What the environment asks for.
  package static let askedThreads: Int? =
    value("LAZYGRAD_THREADS", "a whole number from 1 to \(maxThreads)") { text in
      Int(text).flatMap { 1...maxThreads ~= $0 ? $0 : nil }
    }

  package static let threads: Int = askedThreads ?? min(allowedCores, maxThreads)

  package static let memoryLimit: Int =
    value("LAZYGRAD_MEMORY_LIMIT", "a number of bytes, such as 500000000, 512M or 2G", byteCount)
    ?? 1 << 46

  /// As written: what the values mean is decided where the machine is known.
  package static let jit: String? = text("LAZYGRAD_JIT")
  package static let instructionSet: String? = text("LAZYGRAD_ISA")

  /// No operation of the library records more than a few records before it looks at the window; joining
  /// tensors records up to 256 of them at a time.
  package static let windowRecords: Int =
    value("LAZYGRAD_WINDOW", "a whole number from 8 to 16777216") { text in
      Int(text).flatMap { 8...(1 << 24) ~= $0 ? $0 : nil }
    } ?? usualWindowRecords
  package static let usualWindowRecords = 1 << 18

  package static let layouts: Int =
    value("LAZYGRAD_LAYOUTS", "a whole number from 1 to 16777216") { text in
      Int(text).flatMap { 1...(1 << 24) ~= $0 ? $0 : nil }
    } ?? 1 << 14

  package static let checksPasses = value("LAZYGRAD_CHECK", "0 or 1", isOn) ?? false

  package static let flushesDenormals = value("LAZYGRAD_FLUSH_DENORMALS", "0 or 1", isOn) ?? false

  package static let debugLevel: Int =
    value("LAZYGRAD_DEBUG", "a whole number from 0 to 4") { text in
      Int(text).flatMap { 0...4 ~= $0 ? $0 : nil }
    } ?? 0

  /// As written: whether the file can be used is said, as an error, by who opens it.
  package static let mpiLibrary: String? = text("LAZYGRAD_MPI")

  package static let stallSeconds: Double =
    value("LAZYGRAD_STALL_SECONDS", "a number of seconds above 0", seconds) ?? 60

  package static let stallLimit: Double? =
    value("LAZYGRAD_STALL_LIMIT", "a number of seconds above 0", seconds)

  private static func seconds(_ text: String) -> Double? {
    Double(text).flatMap { $0 > 0 && $0.isFinite ? $0 : nil }
  }
}
