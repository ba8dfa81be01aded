// The rows of address, file and line of a unit: DWARF's section .debug_line. Uses DebugFile.

/// The line table of a unit: a program that makes the rows.
struct LineTable {
  private let file: DebugFile
  /// What paths count from that say no folder.
  private let folder: String
  private let version: UInt16
  private let isLong: Bool
  private let step: UInt64
  private let lineBase: Int64
  private let lineRange: UInt8
  private let opcodeBase: UInt8
  /// How many operands the first operations have.
  private let operands: ByteReader
  private let names: ByteReader
  private let program: ByteReader

  init?(_ file: DebugFile, _ offset: UInt64, folder: String) {
    self.file = file
    self.folder = folder
    var section = file.reader(.line, from: offset)
    guard let unit = section.unit() else { return nil }
    var reader = unit.rest
    (version, isLong) = (unit.version, unit.isLong)
    if version == 5 { reader.skip(2) }
    var header = reader.part(reader.offset(isLong: isLong))
    program = reader
    step = UInt64(header.byte())
    if version >= 4 { header.skip(1) }
    header.skip(1)
    lineBase = Int64(Int8(bitPattern: header.byte()))
    lineRange = header.byte()
    opcodeBase = header.byte()
    guard lineRange > 0, opcodeBase > 0 else { return nil }
    operands = header.part(UInt64(opcodeBase - 1))
    names = header
  }

  // MARK: Rows

  /// The row that an address belongs to: the last that is not behind it, if another follows that is.
  func row(of target: UInt64) -> (file: UInt64, line: UInt64)? {
    var reader = program
    var address: UInt64 = 0
    var fileIndex: UInt64 = 1
    var line: Int64 = 1
    var last: (address: UInt64, file: UInt64, line: Int64)?

    /// Whether the last row is the one.
    func addRow() -> Bool {
      // What the linker has left out is at 0.
      if let last, last.address != 0, last.address <= target, target < address { return true }
      last = (address, fileIndex, line)
      return false
    }
    func result() -> (file: UInt64, line: UInt64)? {
      last.flatMap { $0.line > 0 ? ($0.file, UInt64($0.line)) : ($0.file, 0) }
    }

    while !reader.isAtEnd, file.step() {
      let opcode = reader.byte()
      if opcode >= opcodeBase {
        address &+= UInt64((opcode - opcodeBase) / lineRange) &* step
        line &+= lineBase + Int64((opcode - opcodeBase) % lineRange)
        if addRow() { return result() }
        continue
      }
      switch opcode {
      case 0:
        let count = reader.unsigned()
        var operation = reader.part(count)
        switch operation.byte() {
        case 1:
          if addRow() { return result() }
          (address, fileIndex, line, last) = (0, 1, 1, nil)
        case 2: address = operation.word64()
        default: break
        }
      case 1: if addRow() { return result() }
      case 2: address &+= reader.unsigned() &* step
      case 3: line &+= reader.signed()
      case 4: fileIndex = reader.unsigned()
      case 8: address &+= UInt64((255 - opcodeBase) / lineRange) &* step
      case 9: address &+= UInt64(reader.word16())
      // The operands of the others are not needed; of operations that are not known it is said how many
      // there are.
      default:
        var count = operands
        count.skip(UInt64(opcode - 1))
        for _ in 0..<count.byte() { _ = reader.unsigned() }
      }
    }
    return nil
  }

  // MARK: Files

  /// A line of one of the table's files; nil for line 0, which is what the compiler has made itself.
  func location(_ index: UInt64, _ line: UInt64) -> TensorError.Location? {
    guard line > 0, line <= UInt64(Int32.max), let path = path(index), !path.isEmpty else {
      return nil
    }
    return TensorError.Location(file: path, line: Int(line))
  }

  private func path(_ index: UInt64) -> String? {
    var reader = names
    let name: String
    var folderName = ""
    if version == 5 {
      // The folders come first, and the place of a file's folder among them is known after them only.
      let folders = reader
      var entry = (name: "", folder: UInt64(0))
      guard find(nil, &reader, &entry), find(index, &reader, &entry) else { return nil }
      name = entry.name
      reader = folders
      if find(entry.folder, &reader, &entry) { folderName = entry.name }
    } else {
      guard let found = oldEntry(index) else { return nil }
      (name, folderName) = found
    }
    return Self.join(Self.join(folder, folderName), name)
  }

  /// A path that may count from a folder.
  static func join(_ folder: String, _ path: String) -> String {
    if path.isEmpty || path == "." { return folder }
    if path.hasPrefix("/") || folder.isEmpty { return path }
    return folder.hasSuffix("/") ? folder + path : "\(folder)/\(path)"
  }

  /// A file's name and its folder, of the lists that DWARF 2 to 4 have. Both count from 1; folder 0 is
  /// where the compiler ran.
  private func oldEntry(_ index: UInt64) -> (name: String, folder: String)? {
    var reader = names
    let folders = reader
    while !reader.isAtEnd, file.step() {
      let start = reader.position
      reader.skipText()
      if reader.position - start <= 1 { break }
    }
    var k: UInt64 = 1
    while !reader.isAtEnd, file.step() {
      if k < index {
        let start = reader.position
        reader.skipText()
        if reader.position - start <= 1 { return nil }
        _ = (reader.unsigned(), reader.unsigned(), reader.unsigned())
        k += 1
        continue
      }
      let name = reader.text()
      let place = reader.unsigned()
      if index == 0 || name.isEmpty { return nil }
      if place == 0 { return (name, "") }
      reader = folders
      for _ in 1..<min(place, 1 << 32) {
        let start = reader.position
        reader.skipText()
        guard reader.position - start > 1, file.step() else { return (name, "") }
      }
      return (name, reader.text())
    }
    return nil
  }

  /// Reads a list of folders or files as DWARF 5 has it, where what each entry has is said first: up to an
  /// entry, or all of it.
  ///
  /// - Returns: Whether the entry was there, or the list was read.
  private func find(
    _ index: UInt64?, _ reader: inout ByteReader, _ entry: inout (name: String, folder: UInt64)
  ) -> Bool {
    let format = (0..<reader.byte()).map { _ in
      (content: reader.unsigned(), form: reader.unsigned())
    }
    let count = reader.unsigned()
    var k: UInt64 = 0
    while k < count {
      for (content, form) in format {
        guard !reader.isAtEnd, file.step() else { return false }
        let isWanted = k == index
        var number: UInt64 = 0
        switch DebugForm(rawValue: UInt16(clamping: form)) {
        case .inlineText:
          if isWanted, content == 1 { entry.name = reader.text() } else { reader.skipText() }
        case .text:
          let offset = reader.offset(isLong: isLong)
          if isWanted, content == 1 { entry.name = text(.str, offset) }
        case .lineText:
          let offset = reader.offset(isLong: isLong)
          if isWanted, content == 1 { entry.name = text(.lineStrings, offset) }
        case .data1: number = UInt64(reader.byte())
        case .data2: number = UInt64(reader.word16())
        case .data4: number = UInt64(reader.word32())
        case .data8: number = reader.word64()
        case .unsigned: number = reader.unsigned()
        case .data16: reader.skip(16)
        case .block: reader.skip(reader.unsigned())
        default: return false
        }
        if isWanted, content == 2 { entry.folder = number }
      }
      if k == index { return true }
      if format.isEmpty { return index == nil }
      k += 1
    }
    return index == nil
  }

  private func text(_ section: DebugFile.Section, _ offset: UInt64) -> String {
    var reader = file.reader(section, from: offset)
    return reader.text()
  }
}
