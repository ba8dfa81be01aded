// Where the program called the library: asked for only when a call has failed. Uses the toolchain's
// backtraces where it has them, and nothing of the library.

#if os(Linux) && canImport(Runtime)
  internal import Runtime
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
/// paid by calls that succeed. So a failed call keeps the return addresses on its stack, which takes a
/// microsecond or two (and once in a process a millisecond, to see what is loaded where). Only when
/// somebody asks does the debug information say which of them is the first outside of the library: that
/// takes some milliseconds.
final class CallSite: Sendable {
  #if os(Linux) && canImport(Runtime)
    /// Deeper than the library's own calls: those of the program follow behind them.
    private static let depth = 32
    /// To capture it takes a hundred times as long as a backtrace.
    private static let images = ImageMap.capture()

    private let backtrace: Backtrace?

    @inline(never)
    init() {
      backtrace = try? .capture(limit: Self.depth, top: 0, images: Self.images)
    }

    /// The innermost line outside of the library's sources; nil where the program has no debug
    /// information.
    ///
    /// An optimised program may have left a frame before it called, or have merged functions that are
    /// alike, which takes their lines away; then it is the line in that frame's caller.
    var location: TensorError.Location? {
      // What has been loaded since is asked for as well.
      guard let symbols = backtrace?.symbolicated(with: .capture()) else { return nil }
      var sources = "Sources"
      for frame in symbols.frames {
        // What the compiler has made itself is on line 0.
        guard let place = frame.symbol?.sourceLocation, place.line > 0 else { continue }
        if place.path.hasSuffix(Self.ownPath) {
          sources = String(place.path.dropLast(Self.ownPath.count))
        }
        if Self.isLibrary(place.path, sources) { continue }
        return TensorError.Location(file: place.path, line: place.line)
      }
      return nil
    }

    /// The end of this file's path, by which the library's sources are found wherever they were compiled.
    private static let ownPath = "/LazyGrad/Tensor/CallSite.swift"

    /// Whether a file is one of the library, whose modules are in the folder `sources`. Of functions that
    /// were inlined the debug information may say the path from the package's folder only.
    static func isLibrary(_ path: String, _ sources: String) -> Bool {
      let parts = path.split(separator: "/")
      let known = sources.split(separator: "/")
      guard let module = parts.lastIndex(where: { $0 == "LazyGrad" || $0 == "LazyGradJIT" }) else {
        return false
      }
      return zip(parts[..<module].reversed(), known.reversed()).allSatisfy { $0 == $1 }
    }
  #else
    var location: TensorError.Location? { nil }
  #endif
}
