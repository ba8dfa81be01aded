// What was compiled together, and the tree of functions in it: DWARF's sections .debug_info, .debug_abbrev,
// .debug_ranges and .debug_rnglists. Uses DebugFile and LineTable.

extension DebugFile {
  /// The units that addresses belong to, as far as there are any.
  ///
  /// - Complexity: O(number of units and of their ranges), however many addresses.
  func units(of addresses: [UInt64]) -> [UInt64: DebugUnit] {
    var left = addresses.sorted()
    var found: [UInt64: DebugUnit] = [:]
    var reader = reader(.info)
    while !reader.isAtEnd, !left.isEmpty, step() {
      guard let unit = DebugUnit(self, &reader) else { continue }
      unit.forEachRange(of: unit.root) { range in
        guard let first = left.first, let last = left.last, range.lowerBound <= last,
          range.upperBound > first
        else { return }
        for address in left where range.contains(address) { found[address] = unit }
        left.removeAll { range.contains($0) }
      }
    }
    return found
  }
}

/// A unit of compilation: in Swift a file, or a module.
struct DebugUnit {
  private let file: DebugFile
  /// Where the unit's header is in the file: references count from there.
  private let start: Int
  private let version: UInt16
  private let isLong: Bool
  private let addressSize: Int
  private let abbreviations: UInt64
  /// The entries, the root first.
  private let entries: ByteReader
  fileprivate private(set) var root = DebugEntry()

  /// Reads a header and the root entry; the reader is behind the unit then, or at the end of the section
  /// where that can't be found.
  ///
  /// nil for what has no code, and what is not known.
  fileprivate init?(_ file: DebugFile, _ section: inout ByteReader) {
    self.file = file
    start = section.position
    guard let unit = section.unit() else { return nil }
    var reader = unit.rest
    (version, isLong) = (unit.version, unit.isLong)
    if version == 5 {
      let (complete, partial) = (UInt8(1), UInt8(3))
      let kind = reader.byte()
      guard kind == complete || kind == partial else { return nil }
      addressSize = Int(reader.byte())
      abbreviations = reader.offset(isLong: isLong)
    } else {
      abbreviations = reader.offset(isLong: isLong)
      addressSize = Int(reader.byte())
    }
    guard addressSize == 8 else { return nil }
    entries = reader
    let code = reader.unsigned()
    guard code != 0, let kind = AbbreviationTable(file, abbreviations, only: code)[code],
      let entry = entry(kind, &reader)
    else { return nil }
    root = entry
  }

  /// The file that was compiled.
  var name: String { LineTable.join(folder, root[.name].map(text) ?? "") }

  private var folder: String { root[.folder].map(text) ?? "" }

  private var lineTable: LineTable? {
    root[.lineTable].flatMap { LineTable(file, $0.number, folder: folder) }
  }

  /// The line of an address, in the innermost function that was inlined there.
  func innermostLine(at address: UInt64) -> TensorError.Location? {
    guard let table = lineTable, let row = table.row(of: address) else { return nil }
    return table.location(row.file, row.line)
  }

  /// The lines of an address from the innermost function out, as far as they are known.
  func lines(at address: UInt64) -> [TensorError.Location] {
    guard let calls = inlinedCalls(at: address), let table = lineTable,
      let row = table.row(of: address)
    else { return [] }
    let places = [(row.file, row.line)] + calls.reversed()
    return places.compactMap { table.location($0.0, $0.1) }
  }

  /// The calls that were inlined in the function that is at an address, around that address: the outermost
  /// first. nil where no function is known there.
  private func inlinedCalls(at address: UInt64) -> [(file: UInt64, line: UInt64)]? {
    let kinds = AbbreviationTable(file, abbreviations)
    let (function, inlined) = (UInt64(0x2E), UInt64(0x1D))
    var reader = entries
    var depth = 0
    var found: Int?
    var calls: [(depth: Int, file: UInt64, line: UInt64)] = []
    while !reader.isAtEnd, file.step() {
      let code = reader.unsigned()
      if code == 0 {
        depth -= 1
        if let found, depth <= found { break }
        if depth <= 0 { break }
        continue
      }
      guard let kind = kinds[code] else { return nil }
      if kind.tag == function || kind.tag == inlined, found != nil || kind.tag == function {
        guard let entry = entry(kind, &reader) else { return nil }
        var isAround = false
        forEachRange(of: entry) { if $0.contains(address) { isAround = true } }
        if isAround, kind.tag == function {
          found = depth
          calls = []
        } else if isAround {
          calls.removeAll { $0.depth >= depth }
          calls.append((depth, entry[.callFile]?.number ?? 0, entry[.callLine]?.number ?? 0))
        } else if found == nil, kind.hasChildren, let next = entry[.sibling]?.number {
          // Where the compiler says so, what is in the function need not be read.
          let place = start + Int(min(next, UInt64(entries.end - start)))
          if place > reader.position {
            reader = ByteReader(reader.bytes, place..<reader.end)
            continue
          }
        }
        if isAround, found == depth, !kind.hasChildren { break }
      } else if let size = kind.size {
        reader.skip(UInt64(size))
      } else {
        guard skip(kind, &reader) else { return nil }
      }
      if kind.hasChildren { depth += 1 }
    }
    return found == nil ? nil : calls.map { ($0.file, $0.line) }
  }

  // MARK: Entries

  /// Reads the attributes of an entry; nil if one has a form that isn't known.
  private func entry(_ kind: Abbreviation, _ reader: inout ByteReader) -> DebugEntry? {
    var entry = DebugEntry()
    for attribute in kind.attributes {
      guard file.step() else { return nil }
      var number = attribute.constant
      if attribute.form == .inlineText {
        number = UInt64(reader.position)
        reader.skipText()
      } else if attribute.form != .constant {
        guard let next = value(attribute.form, &reader) else { return nil }
        number = next
      }
      if let name = attribute.name {
        entry[name] = DebugValue(form: attribute.form, number: number)
      }
    }
    return entry
  }

  private func skip(_ kind: Abbreviation, _ reader: inout ByteReader) -> Bool {
    for attribute in kind.attributes {
      guard file.step() else { return false }
      if attribute.form == .inlineText {
        reader.skipText()
      } else if value(attribute.form, &reader) == nil {
        return false
      }
    }
    return true
  }

  /// A number, or how many bytes there were; nil for forms that aren't known.
  private func value(_ form: DebugForm, _ reader: inout ByteReader) -> UInt64? {
    if let size = form.size {
      if size > 8 {
        reader.skip(UInt64(size))
        return 0
      }
      return size == 0 ? 1 : reader.number(bytes: size)
    }
    let count: UInt64
    switch form {
    case .signed: return UInt64(bitPattern: reader.signed())
    case .unsigned, .unsignedReference, .textIndex, .addressIndex, .locationIndex, .rangeIndex,
      .gnuAddressIndex, .gnuTextIndex:
      return reader.unsigned()
    case .text, .lineText, .sectionOffset, .otherText, .gnuOtherReference, .gnuOtherText:
      return reader.offset(isLong: isLong)
    case .globalReference:
      return version == 2 ? reader.word64() : reader.offset(isLong: isLong)
    case .block1: count = UInt64(reader.byte())
    case .block2: count = UInt64(reader.word16())
    case .block4: count = UInt64(reader.word32())
    case .block, .expression: count = reader.unsigned()
    default: return nil
    }
    reader.skip(count)
    return count
  }

  private func text(_ value: DebugValue) -> String {
    var reader: ByteReader
    switch value.form {
    case .inlineText:
      reader = ByteReader(file.bytes, Int(clamping: value.number)..<entries.end)
    case .text: reader = file.reader(.str, from: value.number)
    case .lineText: reader = file.reader(.lineStrings, from: value.number)
    case .textIndex, .textIndex1, .textIndex2, .textIndex3, .textIndex4:
      guard let base = root[.stringOffsetsBase]?.number else { return "" }
      var offset = file.reader(.stringOffsets, from: base &+ value.number &* (isLong ? 8 : 4))
      if offset.isAtEnd { return "" }
      reader = file.reader(.str, from: offset.offset(isLong: isLong))
    default: return ""
    }
    return reader.text()
  }

  // MARK: Ranges of addresses

  private func address(atIndex index: UInt64) -> UInt64? {
    guard let base = root[.addressBase]?.number else { return nil }
    var reader = file.reader(.addr, from: base &+ index &* 8)
    return reader.isAtEnd ? nil : reader.word64()
  }

  private func address(_ value: DebugValue?) -> UInt64? {
    switch value?.form {
    case .address: value?.number
    case .addressIndex, .addressIndex1, .addressIndex2, .addressIndex3, .addressIndex4:
      value.flatMap { address(atIndex: $0.number) }
    default: nil
    }
  }

  /// Tells the ranges of addresses that an entry is about. What the linker has left out is at 0, and in no
  /// range.
  fileprivate func forEachRange(of entry: DebugEntry, _ body: (Range<UInt64>) -> Void) {
    func tell(_ low: UInt64, _ high: UInt64) {
      if low != 0, low < high { body(low..<high) }
    }
    if let ranges = entry[.ranges] {
      if version == 5 {
        forEachListedRange(ranges, tell)
      } else {
        forEachPair(ranges.number, tell)
      }
    } else if let low = address(entry[.low]), let high = entry[.high] {
      tell(low, address(high) ?? low &+ high.number)
    }
  }

  /// The list of DWARF 2 to 4.
  private func forEachPair(_ offset: UInt64, _ tell: (UInt64, UInt64) -> Void) {
    var reader = file.reader(.ranges, from: offset)
    var base = address(root[.low]) ?? 0
    while !reader.isAtEnd, file.step() {
      let (low, high) = (reader.word64(), reader.word64())
      if low == 0, high == 0 { return }
      if low == .max { base = high } else { tell(base &+ low, base &+ high) }
    }
  }

  /// The list of DWARF 5.
  private func forEachListedRange(_ value: DebugValue, _ tell: (UInt64, UInt64) -> Void) {
    var offset = value.number
    if value.form == .rangeIndex {
      guard let base = root[.rangeListsBase]?.number else { return }
      var entry = file.reader(.rnglists, from: base &+ offset &* (isLong ? 8 : 4))
      if entry.isAtEnd { return }
      offset = base &+ entry.offset(isLong: isLong)
    }
    var reader = file.reader(.rnglists, from: offset)
    var base = address(root[.low]) ?? 0
    while !reader.isAtEnd, file.step() {
      switch reader.byte() {
      case 1: base = address(atIndex: reader.unsigned()) ?? 0
      case 2:
        let (low, high) = (reader.unsigned(), reader.unsigned())
        if let low = address(atIndex: low), let high = address(atIndex: high) { tell(low, high) }
      case 3:
        let (low, count) = (reader.unsigned(), reader.unsigned())
        if let low = address(atIndex: low) { tell(low, low &+ count) }
      case 4:
        let (low, high) = (reader.unsigned(), reader.unsigned())
        tell(base &+ low, base &+ high)
      case 5: base = reader.word64()
      case 6:
        let (low, high) = (reader.word64(), reader.word64())
        tell(low, high)
      case 7:
        let low = reader.word64()
        tell(low, low &+ reader.unsigned())
      default: return
      }
    }
  }
}
