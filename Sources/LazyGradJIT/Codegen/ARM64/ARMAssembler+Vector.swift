// Encodes AArch64's vector instructions: rows of the table, moves between registers and memory, and what
// has a form of its own. Continues ARMAssembler.swift.

extension ARMAssembler {
  /// An instruction of the table.
  ///
  /// - Parameters:
  ///   - m: the third register, of instructions that have one.
  ///   - number: the count of a shift, or the number of an element.
  package mutating func vector(
    _ op: NeonOp, _ lanes: NeonLanes, _ d: UInt8, _ n: UInt8, _ m: UInt8 = 0, number: Int = 0
  ) {
    let form = op.form
    precondition(form.lanes.contains(lanes), "assembler: no \(form.name) of \(lanes)")
    let size = lanes.size
    var word = form.word | UInt32(n) << 5 | UInt32(d)
    switch form.shape {
    case .three, .two, .shiftLeft, .shiftRight, .element, .table: word |= lanes.isWhole
    // The narrow operand is a lower half.
    case .widen, .widenTwo, .narrow, .shiftNarrow: break
    }
    let isOfHalves =
      [.widen, .widenTwo, .narrow, .shiftNarrow].contains(form.shape)
    switch form.size {
    case .none: break
    case .float: if size == 8 { word |= 1 << 22 }
    case .integer:
      word |= UInt32((isOfHalves ? size / 2 : size).trailingZeroBitCount) << 22
    case .shift: break
    }
    switch form.shape {
    case .three, .widenTwo, .table: word |= UInt32(m) << 16
    case .element:
      // The number of an element of 4 bytes is two bits, of 8 bytes one.
      let low = UInt32(number) & 1
      word |= UInt32(m) << 16
      word |= size == 4 ? low << 21 | UInt32(number >> 1) << 11 : low << 11
    case .shiftLeft: word |= UInt32(8 * size + number) << 16
    case .shiftRight: word |= UInt32(16 * size - number) << 16
    case .shiftNarrow: word |= UInt32(4 * size) << 16
    case .widen: if form.size == .shift { word |= UInt32(4 * size) << 16 }
    case .two, .narrow: break
    }
    self.word(word)
  }

  // MARK: Moves

  package mutating func move(_ d: UInt8, _ n: UInt8) {
    if d != n { vector(.orr, .s4, d, n, n) }
  }

  package mutating func load(_ part: NeonPart, _ r: UInt8, _ address: ARMAddress) {
    memory(part.store | 1 << 22 | UInt32(r), size: part.size, address)
  }
  package mutating func store(_ part: NeonPart, _ r: UInt8, _ address: ARMAddress) {
    memory(part.store | UInt32(r), size: part.size, address)
  }

  /// Two registers of 16 bytes; the offset counts these, up to 63.
  package mutating func loadPair(_ a: UInt8, _ b: UInt8, _ address: ARMAddress) {
    pair(0xAD40_0000, a, b, address, size: 16)
  }
  /// The same, and the address moves on behind them.
  package mutating func loadPair(_ a: UInt8, _ b: UInt8, next base: ARMRegister) {
    pair(0xACC0_0000, a, b, ARMAddress(base, 32), size: 16)
  }
  package mutating func storePair(_ a: UInt8, _ b: UInt8, _ address: ARMAddress) {
    pair(0xAD00_0000, a, b, address, size: 16)
  }
  /// Two registers' lower halves, which belong to the caller from 8 to 15.
  package mutating func loadHalves(_ a: UInt8, _ b: UInt8, _ address: ARMAddress) {
    pair(0x6D40_0000, a, b, address, size: 8)
  }
  package mutating func storeHalves(_ a: UInt8, _ b: UInt8, _ address: ARMAddress) {
    pair(0x6D00_0000, a, b, address, size: 8)
  }
  private mutating func pair(
    _ word: UInt32, _ a: UInt8, _ b: UInt8, _ address: ARMAddress, size: Int
  ) {
    precondition(
      address.offset % size == 0 && (-64..<64).contains(address.offset / size),
      "assembler: an offset out of reach")
    let offset = UInt32(truncatingIfNeeded: address.offset / size) & 127
    self.word(word | offset << 15 | UInt32(b) << 10 | address.base.middle | UInt32(a))
  }

  /// A constant of 16 bytes.
  package mutating func load(_ r: UInt8, _ constant: Constant) {
    if constant.low == 0, constant.high == 0 {
      word(0x6F00_E400 | UInt32(r))
      return
    }
    word(0x9C00_0000 | UInt32(r))
    refer(to: constant)
  }

  /// The first element, all others 0, and the address moves on.
  package mutating func loadFirst(_ part: NeonPart, _ r: UInt8, next base: ARMRegister) {
    let word = (part.store | 1 << 22) & ~(1 << 24) | 0x400
    self.word(word | UInt32(part.size) << 12 | base.middle | UInt32(r))
  }
  package mutating func storeFirst(_ part: NeonPart, _ r: UInt8, next base: ARMRegister) {
    self.word(
      part.store & ~(1 << 24) | 0x400 | UInt32(part.size) << 12 | base.middle | UInt32(r))
  }
  /// One element beside the others, and the address moves on.
  package mutating func loadElement(
    _ part: NeonPart, _ r: UInt8, _ number: Int, next base: ARMRegister
  ) {
    word(0x0DDF_0000 | Self.element(part, number) | base.middle | UInt32(r))
  }
  package mutating func storeElement(
    _ part: NeonPart, _ r: UInt8, _ number: Int, next base: ARMRegister
  ) {
    word(0x0D9F_0000 | Self.element(part, number) | base.middle | UInt32(r))
  }
  /// The number of an element among those of 16 bytes, in the bits 30 and 12 to 10, with its size.
  private static func element(_ part: NeonPart, _ number: Int) -> UInt32 {
    let place = UInt32(number * part.size)
    let bits = (place >> 3) << 30 | (place & 7) << 10
    switch part {
    case .b: return bits
    case .h: return bits | 0x4000
    case .s: return bits | 0x8000
    case .d: return bits | 0x8400
    case .q: preconditionFailure("assembler: an element has 8 bytes at most")
    }
  }

  /// Registers that follow each other, one to four, and the address moves on by a distance.
  package mutating func loadRow(
    _ lanes: NeonLanes, _ r: UInt8, count: Int, _ base: ARMRegister, next distance: ARMRegister
  ) {
    let opcodes: [UInt32] = [0x7000, 0xA000, 0x6000, 0x2000]
    word(
      0x0CC0_0000 | lanes.isWhole | distance.high | opcodes[count - 1]
        | UInt32(lanes.size.trailingZeroBitCount) << 10 | base.middle | UInt32(r))
  }

  /// One element of memory in all lanes.
  package mutating func loadAll(_ lanes: NeonLanes, _ r: UInt8, _ base: ARMRegister) {
    word(
      0x0D40_C000 | lanes.isWhole | UInt32(lanes.size.trailingZeroBitCount) << 10 | base.middle
        | UInt32(r))
  }
  /// The same, and the address moves on by a distance.
  package mutating func loadAll(
    _ lanes: NeonLanes, _ r: UInt8, _ base: ARMRegister, next distance: ARMRegister
  ) {
    word(
      0x0DC0_C000 | lanes.isWhole | distance.high
        | UInt32(lanes.size.trailingZeroBitCount) << 10 | base.middle | UInt32(r))
  }
  /// One element of a register in all lanes.
  package mutating func repeatElement(_ lanes: NeonLanes, _ d: UInt8, _ n: UInt8, _ number: Int) {
    word(
      0x0E00_0400 | lanes.isWhole | Self.place(lanes.size, number) | UInt32(n) << 5 | UInt32(d))
  }
  /// A general-purpose register's low bits in all lanes.
  package mutating func repeatRegister(_ lanes: NeonLanes, _ d: UInt8, _ n: ARMRegister) {
    word(0x0E00_0C00 | lanes.isWhole | Self.place(lanes.size, 0) | n.middle | UInt32(d))
  }
  /// Puts the first element of one register among those of another.
  package mutating func insertFirst(_ lanes: NeonLanes, _ d: UInt8, _ number: Int, _ n: UInt8) {
    word(0x6E00_0400 | Self.place(lanes.size, number) | UInt32(n) << 5 | UInt32(d))
  }
  /// An element of 8 bytes as a number.
  package mutating func extract(_ to: ARMRegister, _ n: UInt8, _ number: Int) {
    if number == 0 {
      word(0x9E66_0000 | UInt32(n) << 5 | to.low)
    } else {
      word(0x4E00_3C00 | Self.place(8, number) | UInt32(n) << 5 | to.low)
    }
  }
  private static func place(_ size: Int, _ number: Int) -> UInt32 {
    UInt32(2 * number + 1) << UInt32(16 + size.trailingZeroBitCount)
  }

  // MARK: One element

  /// An instruction on the first elements of registers, by its word.
  package enum Scalar: UInt32, CaseIterable, Sendable {
    case floatToDouble = 0x1E22_C000
    case doubleToFloat = 0x1E62_4000
    case addDoubles = 0x1E60_2800
  }
  package mutating func scalar(_ op: Scalar, _ d: UInt8, _ n: UInt8, _ m: UInt8 = 0) {
    word(op.rawValue | UInt32(m) << 16 | UInt32(n) << 5 | UInt32(d))
  }
  /// A 64-bit integer as the nearest float.
  package mutating func float(_ d: UInt8, _ n: ARMRegister) {
    word(0x9E22_0000 | n.middle | UInt32(d))
  }
}
