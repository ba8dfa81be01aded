// A small ELF file with debug information, for the tests of what reads it.

/// An executable of one file, /src/main.swift, with one function at 0x1000..<0x1040: its line 10, from
/// 0x1010 on line 5 of /src/lib/lib.swift, which was inlined by the call in line 11, and from 0x1020 on
/// line 12. Another function is at 0x2000..<0x2010, line 20.
package struct DebugImage {
  /// DWARF 4 or 5.
  package var version: UInt16 = 4
  /// Whether offsets have 64 bits.
  package var isLong = false
  /// Whether the sections are marked as compressed.
  package var isCompressed = false

  package init() {}

  /// The bytes of the file.
  package var bytes: [UInt8] {
    let sections: [(name: String, bytes: [UInt8])] = [
      ("", []), (".debug_abbrev", abbreviations), (".debug_info", info), (".debug_line", lines),
      (".debug_str", text("/src") + text("main.swift")),
      (".debug_line_str", text("/src") + text("lib") + text("main.swift") + text("lib.swift")),
      (".debug_str_offsets", header(offset(0) + offset(5))),
      (".debug_addr", header(word64(0x1000) + word64(0x2000), hasSizes: true)),
      (".debug_ranges", pairs([(0x1000, 0x1040), (0x2000, 0x2010)]) + pairs([(0x1010, 0x1020)])),
      (".debug_rnglists", rangeLists),
    ]
    let namesSection = sections.count
    var names: [UInt8] = []
    var contents: [UInt8] = []
    var headers: [UInt8] = []
    let shared = sections.reduce(into: [UInt8]()) { $0 += text($1.name) } + text(".shstrtab")
    for (name, bytes) in sections + [(".shstrtab", shared)] {
      let flags: UInt64 = isCompressed && name.hasPrefix(".debug") ? 0x800 : 0
      headers += word32(UInt32(names.count)) + word32(name.isEmpty ? 0 : 1) + word64(flags)
      headers += word64(0) + word64(UInt64(64 + contents.count)) + word64(UInt64(bytes.count))
      headers += [UInt8](repeating: 0, count: 24)
      names += text(name)
      contents += bytes
    }
    var result: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
    result += word16(3) + word16(62) + word32(1) + word64(0)
    result += word64(0) + word64(UInt64(64 + contents.count)) + word32(0)
    result += word16(64) + word16(56) + word16(0)
    result += word16(64) + word16(UInt16(namesSection + 1)) + word16(UInt16(namesSection))
    return result + contents + headers
  }

  // MARK: Sections

  private var abbreviations: [UInt8] {
    var unit: [(UInt8, UInt8)] = [
      (0x03, 0x0E), (0x1B, 0x08), (0x10, 0x17), (0x55, 0x17), (0x11, 0x01),
    ]
    var function: [(UInt8, UInt8)] = [(0x11, 0x01), (0x12, 0x06)]
    var inlined: [(UInt8, UInt8)] = [(0x55, 0x17), (0x58, 0x0B), (0x59, 0x0F)]
    if version == 5 {
      unit = [(0x03, 0x25), (0x1B, 0x1F), (0x10, 0x17), (0x55, 0x23), (0x72, 0x17), (0x73, 0x17)]
      unit += [(0x74, 0x17), (0x11, 0x01)]
      function = [(0x11, 0x1B), (0x12, 0x0F)]
      inlined = [(0x55, 0x23), (0x58, 0x0B), (0x59, 0x05)]
    }
    let variable: [(UInt8, UInt8)] = [(0x03, 0x08), (0x02, 0x18), (0x3F, 0x19)]
    func kind(_ code: UInt8, _ tag: UInt8, _ children: Bool, _ list: [(UInt8, UInt8)]) -> [UInt8] {
      [code, tag, children ? 1 : 0] + list.flatMap { [$0.0, $0.1] } + [0, 0]
    }
    return kind(1, 0x11, true, unit) + kind(2, 0x2E, true, function) + kind(3, 0x1D, false, inlined)
      + kind(4, 0x34, false, variable) + [0]
  }

  private var info: [UInt8] {
    var unit = word16(version)
    unit += version == 5 ? [1, 8] + offset(0) : offset(0) + [8]
    unit += [1]
    let base = UInt64(isLong ? 16 : 8)
    if version == 5 {
      unit += [1] + offset(0) + offset(0) + [0]
      unit += offset(base) + offset(base) + offset(base + 4) + word64(0)
    } else {
      unit += offset(5) + text("/src") + offset(0) + offset(0) + word64(0)
    }
    let variable = [4] + text("x") + [2, 0x91, 0x10] as [UInt8]
    unit += variable
    unit += version == 5 ? [2, 1, 0x10] : [2] + word64(0x2000) + word32(0x10)
    unit += variable + [0]
    unit += version == 5 ? [2, 0, 0x40] : [2] + word64(0x1000) + word32(0x40)
    unit += variable
    let (main, call) = (UInt8(version == 5 ? 0 : 1), UInt8(11))
    unit += version == 5 ? [3, 1, main] + word16(UInt16(call)) : [3] + offset(48) + [main, call]
    return sized(unit + variable + [0, 0])
  }

  private var lines: [UInt8] {
    var names: [UInt8] = []
    if version == 5 {
      names += [1, 1, 0x1F, 2] + offset(0) + offset(5)
      names += [3, 1, 0x1F, 2, 0x0B, 5, 0x1E, 2]
      names += offset(9) + [0] + [UInt8](repeating: 7, count: 16)
      names += offset(20) + [1] + [UInt8](repeating: 7, count: 16)
    } else {
      names += text("lib") + [0]
      names += text("main.swift") + [0, 0, 0]
      names += text("lib.swift") + [1, 0, 0, 0]
    }
    let lib = UInt8(version == 5 ? 1 : 2)
    // Operations: 4 file, 3 line, 1 row, 2 address; 13 and up are rows of their own, of which 13 + 5 + 1 is
    // one line further.
    var program: [UInt8] = [0, 9, 2] + word64(0x1000)
    program += [4, lib - 1, 3, 9, 1]
    program += [2, 0x10, 4, lib, 3, 0x7B, 1]
    program += [2, 0x10, 4, lib - 1, 3, 7, 1, 2, 0x20, 0, 1, 1]
    program += [0, 9, 2] + word64(0x2000)
    program += [4, lib - 1, 3, 18, 19, 2, 0x10, 0, 1, 1]
    let operands: [UInt8] = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]
    let header = [1, 1, 1, UInt8(bitPattern: -5), 14, 13] + operands + names
    var result = word16(version)
    if version == 5 { result += [8, 0] }
    result += offset(UInt64(header.count)) + header
    return sized(result + program)
  }

  private var rangeLists: [UInt8] {
    // Two lists; the offsets count from behind the header.
    let size = UInt64(isLong ? 8 : 4)
    let first: [UInt8] = [6] + word64(0x1000) + word64(0x1040) + [3, 1, 0x10, 0]
    let second: [UInt8] = [5] + word64(0x1000) + [4, 0x10, 0x20, 0]
    let body = offset(2 * size) + offset(2 * size + UInt64(first.count)) + first + second
    return sized(word16(5) + [8, 0] + word32(2) + body)
  }

  private func header(_ body: [UInt8], hasSizes: Bool = false) -> [UInt8] {
    sized(word16(5) + (hasSizes ? [8, 0] : [0, 0]) + body)
  }

  private func pairs(_ list: [(UInt64, UInt64)]) -> [UInt8] {
    list.flatMap { word64($0.0) + word64($0.1) } + word64(0) + word64(0)
  }

  // MARK: Bytes

  private func sized(_ body: [UInt8]) -> [UInt8] {
    (isLong ? word32(.max) + word64(UInt64(body.count)) : word32(UInt32(body.count))) + body
  }

  private func offset(_ number: UInt64) -> [UInt8] {
    isLong ? word64(number) : word32(UInt32(number))
  }

  private func text(_ text: String) -> [UInt8] { Array(text.utf8) + [0] }
  private func word16(_ number: UInt16) -> [UInt8] { Array(word64(UInt64(number)).prefix(2)) }
  private func word32(_ number: UInt32) -> [UInt8] { Array(word64(UInt64(number)).prefix(4)) }
  private func word64(_ number: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
  }
}
