// Why a file of arrays can't be read or written. Uses nothing else of the library.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Why a file of arrays can't be read or written: which file, what it was to hold, and what it holds.
///
/// Files come from outside, so whatever is in them is an error and never the end of the program.
///
///     do { weights = try SafeTensors("model.safetensors") } catch { log("\(error)") }
///     // read model.safetensors: expected 8 bytes with the header's length, got 3
public struct TensorFileError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of error it is, for programs that do different things about them.
  public enum Reason: Sendable, Equatable {
    /// There is no such file or folder, or no such array in the file.
    case notFound
    /// The system refuses, by its error number: no permission, no space, a failing disk.
    case system(code: Int32)
    /// The bytes are not what the format demands: cut off, overlong, damaged, or made to mislead.
    case malformed
    /// The file is fine, and holds what LazyGrad has nothing for: other element types, encryption.
    case unsupported
    /// There is no memory for the array, or more than `LazyGradEngine.memoryLimit` allows.
    case outOfMemory
    /// The format has no way to write what it was given: a name, the size of a number.
    case notWritable
  }

  /// What kind of error it is.
  public let reason: Reason
  /// "read" or "write".
  public let operation: String
  /// The file, or what was said to stand for it.
  public let path: String
  /// The array in the file that the error is about; nil if it is about the file.
  public let entry: String?
  /// What was wanted.
  public let expected: String
  /// What was there instead. Texts out of the file are shortened, and unprintable characters escaped.
  public let found: String

  init(_ problem: FileProblem, _ operation: String, _ path: String, entry: String? = nil) {
    reason = problem.reason
    self.operation = operation
    self.path = path
    self.entry = entry
    expected = problem.expected
    found = problem.found
  }

  /// `read model.npz: 'w': expected a tuple as shape, got '3'`.
  public var description: String {
    let place = entry.map { " '\(FileProblem.printable($0.utf8))':" } ?? ""
    return "\(operation) \(path):\(place) expected \(expected), got \(found)"
  }
}

/// The part of an error that is known where the bytes are looked at.
struct FileProblem: Error {
  let reason: TensorFileError.Reason
  let expected: String
  let found: String

  /// The bytes are not what they have to be.
  static func malformed(_ expected: String, _ found: String) -> FileProblem {
    FileProblem(reason: .malformed, expected: expected, found: found)
  }

  static func unsupported(_ expected: String, _ found: String) -> FileProblem {
    FileProblem(reason: .unsupported, expected: expected, found: found)
  }

  static func notWritable(_ expected: String, _ found: String) -> FileProblem {
    FileProblem(reason: .notWritable, expected: expected, found: found)
  }

  static func outOfMemory(_ bytes: Int) -> FileProblem {
    FileProblem(reason: .outOfMemory, expected: "memory for \(bytes) bytes", found: "none")
  }

  /// A file that has none of a name.
  static func missing(_ expected: String, others count: Int) -> FileProblem {
    let found = count == 0 ? "a file without any" : count == 1 ? "1 other" : "\(count) others"
    return FileProblem(reason: .notFound, expected: expected, found: found)
  }

  /// What the system has said of its last call.
  static func system(_ expected: String, _ code: Int32 = errno) -> FileProblem {
    FileProblem(
      reason: code == ENOENT ? .notFound : .system(code: code), expected: expected,
      found: code == ENOENT ? "none at that path" : String(cString: strerror(code)))
  }

  /// What making an array has thrown.
  static func array(_ error: any Error, _ byteCount: Int) -> FileProblem {
    if let problem = error as? FileProblem { return problem }
    if let error = error as? TensorError, error.cause == .misuse {
      return .unsupported("a shape that arrays can have", error.message)
    }
    return .outOfMemory(byteCount)
  }

  /// Bytes out of a file as a text for messages and logs: not long, and without control characters.
  static func printable(_ bytes: some Sequence<UInt8>) -> String {
    var text = ""
    for (i, byte) in bytes.enumerated() {
      if i == 60 { return text + "..." }
      if byte >= 0x20, byte < 0x7F {
        text.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }
    return text
  }
}
