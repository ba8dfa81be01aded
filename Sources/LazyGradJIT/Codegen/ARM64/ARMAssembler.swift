// The assembler for AArch64: instructions, labels, constants, and the general-purpose instructions that
// loops around vector code need. First step of code generation; uses nothing else of the engine. The table
// of vector instructions is in NeonForm.swift.

/// A general-purpose register of 64 bits. The raw value is its number in an instruction.
///
/// 18 belongs to the system on some platforms, 19 to 30 to the caller.
package enum ARMRegister: UInt8, CaseIterable, Sendable {
  case x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17
  /// The stack where an instruction takes an address, zero where it takes a number.
  case sp = 31

  static let zero = ARMRegister.sp
}

/// Where a load or a store finds its element: a register and bytes, or a constant of the code's own pool.
package struct ARMAddress: Equatable, Sendable {
  package var base: ARMRegister
  package var offset: Int
  package init(_ base: ARMRegister, _ offset: Int = 0) {
    self.base = base
    self.offset = offset
  }
}

/// Builds one function of machine code for AArch64.
///
/// Jumps are to labels, which may be bound later. Constants are collected and laid down behind the code, so
/// a function is one relocatable piece of bytes: it holds no address of data.
package struct ARMAssembler: Sendable {
  package private(set) var words: [UInt32] = []

  /// A place in the code.
  package struct Label: Sendable {
    fileprivate let number: Int
  }
  /// The condition of a jump, by its number in the instruction.
  package enum Condition: UInt32, CaseIterable, Sendable {
    case equal = 0
    case notEqual = 1
    case aboveOrEqual = 2
    case below = 3
    case above = 8
    case belowOrEqual = 9
    case greaterOrEqual = 10
    case less = 11
  }
  /// A constant of 16 bytes.
  package struct Constant: Hashable, Sendable {
    package let low: UInt64
    package let high: UInt64
    package init(_ low: UInt64, _ high: UInt64) {
      self.low = low
      self.high = high
    }
  }

  private struct Fixup {
    enum Field {
      /// 26 bits from bit 0, or 19 from bit 5. They count instructions, also where there is a part for bytes.
      case jump, condition
    }
    let at: Int
    let target: Int
    let field: Field
    let isConstant: Bool
  }
  private var labels: [Int] = []
  private var fixups: [Fixup] = []
  private var constants: [Constant] = []
  private var constantNumbers: [Constant: Int] = [:]

  package init() {}

  mutating func word(_ word: UInt32) { words.append(word) }

  // MARK: Labels and constants

  package mutating func label() -> Label {
    labels.append(-1)
    return Label(number: labels.count - 1)
  }

  /// Makes a label stand for the next instruction.
  package mutating func bind(_ label: Label) {
    precondition(labels[label.number] < 0, "assembler: label bound twice")
    labels[label.number] = words.count
  }

  /// A label here, for jumps back.
  package mutating func here() -> Label {
    let label = label()
    bind(label)
    return label
  }

  mutating func number(of constant: Constant) -> Int {
    if let known = constantNumbers[constant] { return known }
    constantNumbers[constant] = constants.count
    constants.append(constant)
    return constants.count - 1
  }

  /// Notes that the last word of the code reads a constant.
  mutating func refer(to constant: Constant) {
    fixups.append(
      Fixup(
        at: words.count - 1, target: number(of: constant), field: .condition, isConstant: true))
  }

  /// Whether every jump reaches its label, and every instruction its constant: some count 2^18 instructions.
  var isInReach: Bool { words.count + 4 * constants.count < 1 << 18 }

  /// The finished code with its constants, behind some instructions that go before it.
  package func finish(after prologue: [UInt32] = []) -> [UInt8] {
    var code = prologue + words
    // Constants are aligned to their size, so that none lies in two cache lines.
    while !constants.isEmpty, code.count % 4 != 0 { code.append(Self.trap) }
    let pool = code.count
    for constant in constants {
      for half in [constant.low, constant.high] {
        code.append(UInt32(truncatingIfNeeded: half))
        code.append(UInt32(truncatingIfNeeded: half >> 32))
      }
    }
    for fixup in fixups {
      let at = fixup.at + prologue.count
      let target =
        fixup.isConstant ? pool + 4 * fixup.target : labels[fixup.target] + prologue.count
      precondition(
        fixup.isConstant || target >= prologue.count,
        "assembler: a jump to a label that was never bound")
      code[at] |= Self.field(fixup.field, target - at)
    }
    return code.map(\.littleEndian).withUnsafeBytes { Array($0) }
  }

  /// A distance in instructions as an instruction holds it.
  private static func field(_ field: Fixup.Field, _ distance: Int) -> UInt32 {
    let bits = field == .jump ? 26 : 19
    precondition(
      distance >= -(1 << (bits - 1)) && distance < 1 << (bits - 1), "assembler: a jump too far")
    let value = UInt32(truncatingIfNeeded: distance) & (1 << UInt32(bits) - 1)
    return field == .jump ? value : value << 5
  }

  /// What no code is in: an instruction that is none.
  package static let trap: UInt32 = 0

  // MARK: Jumps

  private mutating func jump(_ word: UInt32, _ label: Label, _ field: Fixup.Field) {
    fixups.append(
      Fixup(at: words.count, target: label.number, field: field, isConstant: false))
    words.append(word)
  }
  package mutating func jump(_ label: Label) { jump(0x1400_0000, label, .jump) }
  package mutating func jump(_ condition: Condition, _ label: Label) {
    jump(0x5400_0000 | condition.rawValue, label, .condition)
  }
  package mutating func jump(ifZero r: ARMRegister, _ label: Label) {
    jump(0xB400_0000 | r.low, label, .condition)
  }
  package mutating func jump(ifNotZero r: ARMRegister, _ label: Label) {
    jump(0xB500_0000 | r.low, label, .condition)
  }
  package mutating func jump(_ target: ARMRegister) { word(0xD61F_0000 | target.middle) }
  package mutating func ret() { word(0xD65F_03C0) }
  /// The address of a label.
  package mutating func address(_ to: ARMRegister, _ label: Label) {
    jump(0x1000_0000 | to.low, label, .condition)
  }

  // MARK: Arithmetic

  package mutating func mov(_ to: ARMRegister, _ from: ARMRegister) {
    if to != from { word(0xAA00_03E0 | from.high | to.low) }
  }

  /// Any constant, in as few instructions as it has parts of 16 bits that are not 0.
  package mutating func mov(_ to: ARMRegister, _ value: Int) {
    let bits = UInt64(bitPattern: Int64(value))
    if value < 0, bits >> 16 == .max >> 16 {
      word(0x9280_0000 | UInt32(~bits & 0xFFFF) << 5 | to.low)
      return
    }
    var isFirst = true
    for part in 0..<4 as Range<UInt32> {
      let half = UInt32(truncatingIfNeeded: bits >> UInt64(16 * part)) & 0xFFFF
      if half == 0, bits != 0 || part > 0 { continue }
      word((isFirst ? 0xD280_0000 : 0xF280_0000) | part << 21 | half << 5 | to.low)
      isFirst = false
    }
  }

  /// A constant of 32 bits in two instructions, which `constant(_:_:)` reads.
  mutating func constant(_ value: Int, _ to: ARMRegister) {
    let bits = UInt32(value)
    word(0xD280_0000 | (bits & 0xFFFF) << 5 | to.low)
    word(0xF2A0_0000 | (bits >> 16) << 5 | to.low)
  }
  static func constant(_ first: UInt32, _ second: UInt32) -> Int {
    Int(first >> 5 & 0xFFFF | (second >> 5 & 0xFFFF) << 16)
  }

  /// Adds a constant; any, if there is a register for it.
  package mutating func add(
    _ to: ARMRegister, _ from: ARMRegister, _ value: Int, scratch: ARMRegister? = nil
  ) {
    let size = value.magnitude
    let base: UInt32 = value < 0 ? 0xD100_0000 : 0x9100_0000
    if size < 1 << 12 {
      if size == 0, to == from { return }
      word(base | UInt32(size) << 10 | from.middle | to.low)
    } else if size < 1 << 24 {
      word(base | 1 << 22 | UInt32(size >> 12) << 10 | from.middle | to.low)
      if size & 0xFFF != 0 {
        word(base | UInt32(size & 0xFFF) << 10 | to.middle | to.low)
      }
    } else {
      guard let scratch else { preconditionFailure("assembler: a constant too large to add") }
      mov(scratch, value)
      add(to, from, scratch)
    }
  }
  /// `from + other << shift`
  package mutating func add(
    _ to: ARMRegister, _ from: ARMRegister, _ other: ARMRegister, shift: UInt8 = 0
  ) {
    word(0x8B00_0000 | other.high | UInt32(shift) << 10 | from.middle | to.low)
  }
  package mutating func sub(_ to: ARMRegister, _ from: ARMRegister, _ other: ARMRegister) {
    word(0xCB00_0000 | other.high | from.middle | to.low)
  }
  /// Subtracts a constant of 12 bits and sets the flags.
  package mutating func subs(_ to: ARMRegister, _ from: ARMRegister, _ value: Int) {
    precondition((0..<4096).contains(value), "assembler: a constant too large to subtract")
    word(0xF100_0000 | UInt32(value) << 10 | from.middle | to.low)
  }
  package mutating func cmp(_ a: ARMRegister, _ b: ARMRegister) {
    word(0xEB00_001F | b.high | a.middle)
  }
  package mutating func cmp(_ a: ARMRegister, _ value: Int, scratch: ARMRegister) {
    if (0..<4096).contains(value) {
      subs(.zero, a, value)
    } else {
      mov(scratch, value)
      cmp(a, scratch)
    }
  }
  /// The bits below a power of two.
  package mutating func and(_ to: ARMRegister, _ from: ARMRegister, below power: Int) {
    let ones = power.trailingZeroBitCount
    precondition(power > 1 && 1 << ones == power, "assembler: expected a power of two")
    word(0x9240_0000 | UInt32(ones - 1) << 10 | from.middle | to.low)
  }
  /// The bits from a power of two on, and the flags.
  package mutating func ands(_ to: ARMRegister, _ from: ARMRegister, multipleOf power: Int) {
    let zeros = power.trailingZeroBitCount
    precondition(power > 1 && 1 << zeros == power, "assembler: expected a power of two")
    let (rotation, ones) = (UInt32(64 - zeros), UInt32(63 - zeros))
    word(0xF240_0000 | rotation << 16 | ones << 10 | from.middle | to.low)
  }
  package mutating func shiftRight(_ to: ARMRegister, _ from: ARMRegister, _ count: UInt8) {
    word(0xD340_FC00 | UInt32(count) << 16 | from.middle | to.low)
  }
  package mutating func mul(_ to: ARMRegister, _ a: ARMRegister, _ b: ARMRegister) {
    word(0x9B00_7C00 | b.high | a.middle | to.low)
  }

  // MARK: Memory

  /// A load or a store of general-purpose registers, by its word without offset.
  package enum Access: UInt32, CaseIterable, Sendable {
    case load = 0xF940_0000
    case store = 0xF900_0000
    case loadByte = 0x3940_0000
    case prefetch = 0xF980_0000

    var size: Int { self == .prefetch ? 8 : 1 << Int(rawValue >> 30) }
  }
  package mutating func access(_ how: Access, _ r: ARMRegister, _ address: ARMAddress) {
    memory(how.rawValue | r.low, size: how.size, address)
  }
  package mutating func load(_ r: ARMRegister, _ address: ARMAddress) { access(.load, r, address) }
  package mutating func store(_ r: ARMRegister, _ address: ARMAddress) {
    access(.store, r, address)
  }

  /// Whether an instruction for so many bytes can say an offset.
  static func isInReach(_ offset: Int, size: Int) -> Bool {
    (offset >= 0 && offset % size == 0 && offset / size < 4096) || (-256..<256).contains(offset)
  }

  /// An instruction with an offset in elements where it can be said so, otherwise in bytes.
  mutating func memory(_ word: UInt32, size: Int, _ address: ARMAddress) {
    let offset = address.offset
    precondition(Self.isInReach(offset, size: size), "assembler: an offset out of reach")
    if offset >= 0, offset % size == 0, offset / size < 4096 {
      self.word(word | UInt32(offset / size) << 10 | address.base.middle)
    } else {
      let bytes = UInt32(truncatingIfNeeded: offset) & 511
      self.word(word & ~(1 << 24) | bytes << 12 | address.base.middle)
    }
  }
}

extension ARMRegister {
  /// The register in the three places that instructions have for one.
  var low: UInt32 { UInt32(rawValue) }
  var middle: UInt32 { UInt32(rawValue) << 5 }
  var high: UInt32 { UInt32(rawValue) << 16 }
}
