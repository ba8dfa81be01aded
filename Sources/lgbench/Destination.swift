// Files that results are written to: checked before the measurements, never left half written.

import Foundation

/// Where `--json` and `--svg` go. Checked before the measurements, written once after them.
struct Destination {
  private let path: String

  var isStandardOutput: Bool { path == "-" }

  init(path: String) throws(BenchError) {
    self.path = path
    if isStandardOutput { return }
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) {
      if isDirectory.boolValue { throw .file("cannot write '\(path)': it is a directory") }
      guard FileManager.default.isWritableFile(atPath: path) else {
        throw .file("cannot write '\(path)': permission denied")
      }
    }
    let folder = Self.folder(of: path)
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isDirectory),
      isDirectory.boolValue
    else { throw .file("cannot write '\(path)': there is no directory '\(folder)'") }
    guard FileManager.default.isWritableFile(atPath: folder) else {
      throw .file("cannot write '\(path)': no permission to write in '\(folder)'")
    }
  }

  private static func folder(of path: String) -> String {
    let folder = (path as NSString).deletingLastPathComponent
    return folder.isEmpty ? "." : folder
  }

  /// A regular file is replaced in one step by renaming; a device or a pipe is written to.
  func write(_ text: String) throws(BenchError) {
    if isStandardOutput {
      Output.standardOutput(text)
      return try Output.check()
    }
    let data = Data(text.utf8)
    let type = try? FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType
    do {
      if let type, type != .typeRegular, type != .typeSymbolicLink {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.write(contentsOf: data)
        try handle.close()
      } else {
        try data.write(to: URL(fileURLWithPath: path), options: .atomic)
      }
    } catch {
      throw .file("cannot write '\(path)': \(Self.reason(error))")
    }
  }

  /// What the system says of a failed write, in its own words.
  static func reason(_ error: any Error) -> String {
    var next: (any Error)? = error
    while let known = next as NSError? {
      if known.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(known.code))) }
      next = known.userInfo[NSUnderlyingErrorKey] as? any Error
    }
    return error.localizedDescription
  }

  /// Whether two paths lead to one file, whatever they are written as.
  static func isSameFile(_ a: String, _ b: String) -> Bool {
    func resolved(_ path: String) -> String {
      URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }
    return a != "-" && b != "-" && resolved(a) == resolved(b)
  }
}
