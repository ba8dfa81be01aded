// Results as JSON: a small ordered value type and its text. Foundation's encoder has no ordered
// objects and refuses NaN, so the text is made here.

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
