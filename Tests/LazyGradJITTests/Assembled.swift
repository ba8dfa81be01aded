// A second opinion on AArch64 machine code for the tests of its encoder: llvm-mc, where it is installed.

import Foundation

enum Assembled {
  /// The path of an llvm-mc that knows AArch64.
  private static let path: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    for folder in folders {
      let path = "\(folder)/llvm-mc"
      guard FileManager.default.isExecutableFile(atPath: path) else { continue }
      if let version = try? run(path, ["--version"], ""), version.contains("aarch64") {
        return path
      }
    }
    print("encoder tests: no llvm-mc for AArch64 on PATH, so only the golden table is checked")
    return nil
  }()

  private static func run(_ path: String, _ arguments: [String], _ input: String) throws -> String {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(
      "lazygrad-encoder-\(UUID().uuidString).s")
    try Data(input.utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments + (input.isEmpty ? [] : [file.path])
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
  }

  /// The words of instructions as text; nil where there is no assembler. One that it doesn't know is left out.
  static func words(_ texts: [String]) throws -> [UInt32]? {
    guard let path else { return nil }
    let listing = try run(
      path, ["-triple=aarch64", "-show-encoding"], texts.joined(separator: "\n") + "\n")
    return listing.split(separator: "\n").compactMap { line in
      guard let start = line.range(of: "encoding: [") else { return nil }
      let bytes = line[start.upperBound...].prefix { $0 != "]" }.split(separator: ",")
      return bytes.reversed().reduce(UInt32(0)) {
        $0 << 8 | (UInt32($1.dropFirst(2), radix: 16) ?? 0)
      }
    }
  }
}
