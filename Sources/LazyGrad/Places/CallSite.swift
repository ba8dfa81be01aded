// Where the program called the library: asked for only when a call has failed. Uses ProgramImages
// and the engine's lock.

internal import LazyGradJIT

#if os(Linux) && canImport(Glibc) && _pointerBitWidth(_64)
  import Glibc
#endif

extension TensorError {
  /// A line of the program's source.
  public struct Location: Sendable, Hashable, CustomStringConvertible {
    /// The file's path, as the compiler was given it.
    public let file: String
    /// The line, counted from 1.
    public let line: Int

    /// `path/to/File.swift:12`.
    public var description: String { "\(file):\(line)" }
  }
}

/// The way to a call that has failed.
///
/// Operators can't take `#fileID` and `#line` from their caller, and to pass these on everywhere would be
/// paid by calls that succeed. So a failed call keeps the return addresses on its stack, which takes some
/// microseconds. Only when somebody asks, the debug information says which of them is the first outside of
/// the library.
///
/// The toolchain's module `Runtime` can do that as well, but its library makes the stacks of a process that
/// is linked with it executable.
final class CallSite: Sendable {
  #if os(Linux) && canImport(Glibc) && _pointerBitWidth(_64)
    /// Deeper than the library's own calls: those of the program follow behind them.
    private static let depth = 32
    private static let backtrace: Backtrace? = dlsym(nil, "backtrace").map {
      unsafeBitCast($0, to: Backtrace.self)
    }
    private typealias Backtrace =
      @convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>, CInt) -> CInt

    /// The innermost first; the first is in this file, behind those of a tool that stands in for `backtrace`.
    private let returnAddresses: [UInt]

    @inline(never)
    init() {
      guard let backtrace = Self.backtrace else {
        returnAddresses = []
        return
      }
      returnAddresses = withUnsafeTemporaryAllocation(
        of: UnsafeMutableRawPointer?.self, capacity: Self.depth
      ) { frames in
        let count = frames.baseAddress.map { backtrace($0, CInt(Self.depth)) } ?? 0
        return frames.prefix(Int(count)).map { UInt(bitPattern: $0) }
      }
    }

    /// The innermost line outside of the library's sources; nil where the program has no debug
    /// information.
    ///
    /// Where code of the library was inlined, that is the line of the program's call of it. An optimised
    /// program may have left a function before it called, or have made one call of several, which takes
    /// their lines away; then it is the line in the caller.
    ///
    /// - Complexity: O(what the program's debug information says of a file) the first time for a call,
    ///   O(depth of the stack) later.
    var location: TensorError.Location? {
      // The calls are before the return addresses.
      let calls = returnAddresses.map { $0 &- 1 }
      let known = Self.known.withLock { known in
        known.forgetIfUnloaded()
        return known.answers
      }
      var answers: [UInt: TensorError.Location?] = [:]
      defer {
        Self.known.withLock { known in
          if known.answers.count > 10_000 { known.answers = [:] }
          known.answers.merge(answers) { _, new in new }
        }
      }
      var units: ProgramUnits?
      for (i, call) in calls.enumerated() {
        if let answer = known[call] {
          if let answer { return answer }
          continue
        }
        let found = units ?? ProgramUnits(of: calls)
        units = found
        let own = Self.own(calls, found)
        let answer = i < own.first ? nil : Self.line(of: call, found, own.sources)
        answers[call] = .some(answer)
        if let answer { return answer }
      }
      return nil
    }

    // MARK: Which lines are the program's

    /// What was found before, by address; nil is for calls of the library and for what isn't known.
    private struct Known {
      var answers: [UInt: TensorError.Location?] = [:]
      private var unloadedCount: UInt64 = 0

      mutating func forgetIfUnloaded() {
        let count = ProgramImage.unloadedCount
        if count != unloadedCount { answers = [:] }
        unloadedCount = count
      }
    }
    private static let known = Lock(Known())

    /// The first line of a call that isn't the library's.
    private static func line(
      of call: UInt, _ units: ProgramUnits, _ sources: String?
    ) -> TensorError.Location? {
      // Code of others is never in a unit of the library.
      guard let unit = units.name(of: call), !isLibrary(unit, sources) else { return nil }
      return units.lines(of: call).first {
        !isLibrary($0.file, sources) && !isMade($0.file)
      }
    }

    /// The end of this file's path, by which the library's sources are found wherever they were compiled.
    private static let ownPath = "/LazyGrad/Places/CallSite.swift"

    /// The first of the calls that is this file's, and the folder of the library's modules; nil where the
    /// library has no debug information. What comes before belongs to a tool, such as Address Sanitizer.
    private static func own(
      _ calls: [UInt], _ units: ProgramUnits
    ) -> (first: Int, sources: String?) {
      for (i, call) in calls.prefix(4).enumerated() {
        if let file = units.innermostLine(of: call)?.file, file.hasSuffix(ownPath) {
          return (i, String(file.dropLast(ownPath.count)))
        }
      }
      return (0, nil)
    }

    /// Whether a file is one of the library, whose modules are in the folder `sources`.
    private static func isLibrary(_ path: String, _ sources: String?) -> Bool {
      ["LazyGrad", "LazyGradJIT"].contains { module in
        if let sources { return path.hasPrefix("\(sources)/\(module)/") }
        return path.contains("Sources/\(module)/")
      }
    }

    /// Whether a file is none that somebody has written: what the compiler has made, and what macros have.
    private static func isMade(_ path: String) -> Bool {
      guard let name = path.split(separator: "/").last else { return true }
      return name.hasPrefix("<") || name.hasPrefix("@__swiftmacro")
    }
  #else
    var location: TensorError.Location? { nil }
  #endif
}
