// A second opinion on machine code for the tests of the encoder: GNU objdump, where it is installed.

import Foundation

/// One instruction as a disassembler sees it.
struct Disassembled {
  let offset: Int
  /// Normalised: one space after the mnemonic, none after commas, no operand sizes, `{bcst}` for a
  /// repeated element, comparisons with their number as the last operand, `[rip]` for constants.
  let text: String
  /// Where in the code an operand relative to the instruction pointer is.
  let target: Int?
}

enum Disassembler {
  /// The path of GNU objdump. Other programs of that name do not read bare code.
  static let path: String? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    for folder in folders {
      let path = "\(folder)/objdump"
      guard FileManager.default.isExecutableFile(atPath: path) else { continue }
      if let version = try? run(path, ["--version"]), version.hasPrefix("GNU") { return path }
    }
    print("encoder tests: no GNU objdump on PATH, so only the golden table is checked")
    return nil
  }()

  private static func run(_ path: String, _ arguments: [String]) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
  }

  /// The instructions in the first `count` bytes, or nil where there is no disassembler.
  static func instructions(_ code: [UInt8], count: Int) throws -> [Disassembled]? {
    guard let path else { return nil }
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(
      "lazygrad-encoder-\(UUID().uuidString).bin")
    try Data(code).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    let listing = try run(
      path,
      [
        "-D", "-z", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn",
        "--stop-address=\(count)", file.path,
      ])
    return listing.utf8.split(separator: UInt8(ascii: "\n")).compactMap(parse)
  }

  /// A line such as `  4a:\tvaddps zmm1{k1},zmm2,DWORD BCST [rax+0x4]`.
  private static func parse(_ line: Substring.UTF8View.SubSequence) -> Disassembled? {
    guard let tab = line.firstIndex(of: UInt8(ascii: "\t")) else { return nil }
    let label = line[..<tab].drop { $0 == UInt8(ascii: " ") }
    guard label.last == UInt8(ascii: ":"),
      let offset = Int(String(label.dropLast())!, radix: 16)
    else { return nil }
    var body = line[line.index(after: tab)...]
    var target: Int?
    if let hash = body.firstIndex(of: UInt8(ascii: "#")) {
      target = Int(String(body[hash...].dropFirst(4))!, radix: 16)
      body = body[..<hash]
    }
    let words = body.split(separator: UInt8(ascii: " "), maxSplits: 1)
    guard let mnemonic = words.first.flatMap({ String($0) }) else { return nil }
    guard words.count == 2 else { return Disassembled(offset: offset, text: mnemonic, target: nil) }
    let operands = words[1].split(separator: UInt8(ascii: ",")).map(normalise)
    return Disassembled(
      offset: offset, text: comparison(mnemonic, operands), target: target)
  }

  private static func normalise(_ operand: Substring.UTF8View.SubSequence) -> String {
    guard let open = operand.firstIndex(of: UInt8(ascii: "[")),
      let close = operand.firstIndex(of: UInt8(ascii: "]"))
    else { return String(decoding: operand.filter { $0 != UInt8(ascii: " ") }, as: UTF8.self) }
    var address = String(operand[open..<close])!
    if address.hasPrefix("[rip") { address = "[rip" }
    if address.hasSuffix("+0x0") { address.removeLast(4) }
    var suffix = String(operand[close...])!.replacing(" ", with: "")
    let size = String(operand[..<open])!
    if let repeated = suffix.range(of: "{1to") {
      // The count follows from the instruction and its width.
      suffix = suffix[..<repeated.lowerBound] + "{bcst}"
    } else if size.contains("BCST") {
      suffix += "{bcst}"
    }
    return address + suffix
  }

  private static let floatPredicates =
    ("eq lt le unord neq nlt nle ord eq_uq nge ngt false neq_oq ge gt true eq_os lt_oq le_oq"
    + " unord_s neq_us nlt_uq nle_uq ord_s eq_us nge_uq ngt_uq false_os neq_os ge_oq gt_oq true_us")
    .split(separator: " ")
  private static let integerPredicates = "eq lt le false neq nlt nle true".split(separator: " ")

  /// Undoes the names that disassemblers have for comparisons by number.
  private static func comparison(_ mnemonic: String, _ operands: [String]) -> String {
    var mnemonic = mnemonic
    var operands = operands
    for (prefix, predicates) in [("vcmp", floatPredicates), ("vpcmp", integerPredicates)]
    where mnemonic.hasPrefix(prefix) && (prefix == "vcmp" || operands[0].hasPrefix("k")) {
      let isFloat = prefix == "vcmp"
      let hasNoSign = mnemonic.hasSuffix("ud") || mnemonic.hasSuffix("uq")
      let type = mnemonic.suffix(isFloat || hasNoSign ? 2 : 1)
      let predicate = mnemonic.dropFirst(prefix.count).dropLast(type.count)
      if let number = predicates.firstIndex(of: predicate) {
        mnemonic = prefix + type
        operands.append("0x" + String(number, radix: 16))
      }
    }
    return mnemonic + " " + operands.joined(separator: ",")
  }
}
