// Results as JSON: a small ordered value type, its text, and a destination that never leaves half
// a file. Foundation's encoder has no ordered objects and refuses NaN, so the text is made here.

import Foundation

/// A JSON value whose objects keep the order of their fields.
enum JSONValue {
  /// Made by `object`. Two arrays, because a payload of pairs that hold the enum itself is taken for
  /// a circular reference by Swift 6.3's whole-module type checker.
  case record(keys: [String], values: [JSONValue])
  case array([JSONValue])
  case string(String)
  case number(Double)
  case bool(Bool)

  static func object(_ fields: [(String, JSONValue)]) -> JSONValue {
    .record(keys: fields.map(\.0), values: fields.map(\.1))
  }

  /// The value as text, two spaces per level. Numbers that JSON cannot express become null.
  var text: String {
    var text = ""
    write(to: &text, indent: "")
    return text + "\n"
  }

  private func write(to text: inout String, indent: String) {
    let inner = indent + "  "
    switch self {
    case .record(let keys, let values):
      text += "{"
      for (index, value) in values.enumerated() {
        text += (index == 0 ? "\n" : ",\n") + inner
        JSONValue.string(keys[index]).write(to: &text, indent: inner)
        text += ": "
        value.write(to: &text, indent: inner)
      }
      text += values.isEmpty ? "}" : "\n\(indent)}"
    case .array(let values):
      text += "["
      for (index, value) in values.enumerated() {
        text += (index == 0 ? "\n" : ",\n") + inner
        value.write(to: &text, indent: inner)
      }
      text += values.isEmpty ? "]" : "\n\(indent)]"
    case .string(let string):
      text += "\""
      for scalar in string.unicodeScalars {
        switch scalar {
        case "\"": text += "\\\""
        case "\\": text += "\\\\"
        case "\n": text += "\\n"
        case _ where scalar.value < 0x20: text += String(format: "\\u%04x", scalar.value)
        default: text.unicodeScalars.append(scalar)
        }
      }
      text += "\""
    case .number(let number):
      if !number.isFinite {
        text += "null"
      } else if let whole = Int(exactly: number), abs(number) < 1e15 {
        text += String(whole)
      } else {
        text += "\(number)"
      }
    case .bool(let flag):
      text += flag ? "true" : "false"
    }
  }
}

/// Where `--json` goes. Checked before the measurements, written once after them.
struct JSONDestination {
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
  func write(_ value: JSONValue) throws(BenchError) {
    if isStandardOutput { return Output.standardOutput(value.text) }
    let data = Data(value.text.utf8)
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
      throw .file("cannot write '\(path)': \(error.localizedDescription)")
    }
  }
}
