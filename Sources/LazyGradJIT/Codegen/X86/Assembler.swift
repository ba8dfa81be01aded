// The assembler's byte buffer: labels, constants and the few scalar instructions that loops around
// vector code need. First step of code generation; uses nothing else of the engine. The vector
// instructions are in Assembler+Vector.swift, their table in VectorForm.swift.

/// A general-purpose register. The raw value is its number in an instruction.
package enum GPR: UInt8, CaseIterable, Sendable {
  case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
}

/// A memory operand: `[base + index * scale + displacement]`, or a constant of the code's own pool.
package struct Memory: Equatable, Sendable {
  package var base: GPR
  package var index: GPR?
  /// 1, 2, 4 or 8.
  package var scale: UInt8
  package var displacement: Int32
  /// One element, repeated for all lanes (AVX-512 only).
  package var isBroadcast: Bool
  /// The number of a constant, addressed relative to the instruction; the rest is ignored then.
  package var constant: Int32

  package init(
    _ base: GPR, _ displacement: Int = 0, index: GPR? = nil, scale: UInt8 = 1,
    isBroadcast: Bool = false
  ) {
    self.base = base
    self.index = index
    self.scale = scale
    self.displacement = Int32(displacement)
    self.isBroadcast = isBroadcast
    constant = -1
  }

  /// The same place as a repeated element.
  package var broadcast: Memory {
    var copy = self
    copy.isBroadcast = true
    return copy
  }
}

/// Builds one function of machine code for x86-64.
///
/// Jumps are to labels, which may be bound later. Constants are collected and laid down behind the
/// code, so a function is one relocatable piece of bytes: it holds no address of data.
package struct Assembler: Sendable {
  package private(set) var bytes: [UInt8] = []

  /// A place in the code. -1 until bound.
  package struct Label: Sendable {
    fileprivate let number: Int
  }
  /// The condition of a jump, as in the low bits of its opcode.
  package enum Condition: UInt8, CaseIterable, Sendable {
    case overflow, noOverflow, below, aboveOrEqual, equal, notEqual, belowOrEqual, above
    case negative, notNegative, parity, noParity, less, greaterOrEqual, lessOrEqual, greater
  }
  /// An arithmetic instruction on general-purpose registers, by its number in the opcode.
  package enum Arithmetic: UInt8, CaseIterable, Sendable {
    case add = 0
    case or = 1
    case and = 4
    case sub = 5
    case xor = 6
    case cmp = 7
  }

  private struct Fixup {
    let at: Int
    let target: Int
    /// Bytes of the instruction that follow the field.
    let trailing: Int
    let isConstant: Bool
  }
  private struct Constant: Hashable {
    let bytes: [UInt8]
  }
  private var labels: [Int] = []
  private var fixups: [Fixup] = []
  private var constants: [Constant] = []
  private var constantNumbers: [Constant: Int] = [:]

  package init() {}

  // MARK: Labels and constants

  package mutating func label() -> Label {
    labels.append(-1)
    return Label(number: labels.count - 1)
  }

  /// Makes a label stand for the next instruction.
  package mutating func bind(_ label: Label) {
    precondition(labels[label.number] < 0, "assembler: label bound twice")
    labels[label.number] = bytes.count
  }

  /// A label here, for jumps back.
  package mutating func here() -> Label {
    let label = label()
    bind(label)
    return label
  }

  /// Fills up with no-operations to a multiple of 16 bytes: the start of a hot loop.
  package mutating func align16() {
    let long: [[UInt8]] = [
      [0x90], [0x66, 0x90], [0x0F, 0x1F, 0x00], [0x0F, 0x1F, 0x40, 0x00],
      [0x0F, 0x1F, 0x44, 0x00, 0x00], [0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00],
      [0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00], [0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ]
    var left = (16 - bytes.count % 16) % 16
    while left > 0 {
      let n = min(left, 8)
      bytes += long[n - 1]
      left -= n
    }
  }

  /// The place of a constant behind the code, aligned to its size: 4, 8, 16, 32 or 64 bytes.
  package mutating func constant(_ value: [UInt8]) -> Memory {
    precondition(
      [4, 8, 16, 32, 64].contains(value.count), "assembler: constants have 4 to 64 bytes")
    let key = Constant(bytes: value)
    var memory = Memory(.rax)
    if let known = constantNumbers[key] {
      memory.constant = Int32(known)
    } else {
      memory.constant = Int32(constants.count)
      constantNumbers[key] = constants.count
      constants.append(key)
    }
    return memory
  }

  /// A value of 32 or 64 bits, `count` times.
  package mutating func constant<T: FixedWidthInteger>(_ bits: T, count: Int = 1) -> Memory {
    var one: [UInt8] = []
    withUnsafeBytes(of: bits.littleEndian) { one = Array($0) }
    return constant(Array(repeatElement(one, count: count).joined()))
  }

  /// The finished code with its constants.
  package func finish() -> [UInt8] {
    var code = bytes
    var offsets = [Int](repeating: 0, count: constants.count)
    // The largest first, so that none needs padding but the first.
    let order = constants.indices.sorted { constants[$0].bytes.count > constants[$1].bytes.count }
    for i in order {
      let size = constants[i].bytes.count
      while code.count % size != 0 { code.append(0xCC) }
      offsets[i] = code.count
      code += constants[i].bytes
    }
    for fixup in fixups {
      let target = fixup.isConstant ? offsets[fixup.target] : labels[fixup.target]
      precondition(target >= 0, "assembler: a jump to a label that was never bound")
      let relative = Int32(target - (fixup.at + 4 + fixup.trailing))
      withUnsafeBytes(of: relative.littleEndian) { field in
        for k in 0..<4 { code[fixup.at + k] = field[k] }
      }
    }
    return code
  }

  // MARK: Bytes

  mutating func byte(_ value: UInt8) { bytes.append(value) }

  mutating func int32(_ value: Int32) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }

  /// The ModR/M byte of two registers.
  mutating func modRM(reg: UInt8, register rm: UInt8) {
    byte(0xC0 | (reg & 7) << 3 | rm & 7)
  }

  /// ModR/M, SIB and displacement of a memory operand.
  ///
  /// - Parameters:
  ///   - unit: what an 8-bit displacement counts: 1, or more with EVEX.
  ///   - trailing: bytes of the instruction after the displacement.
  mutating func modRM(reg: UInt8, memory: Memory, unit: Int32 = 1, trailing: Int) {
    let reg = (reg & 7) << 3
    if memory.constant >= 0 {
      byte(reg | 5)
      fixups.append(
        Fixup(at: bytes.count, target: Int(memory.constant), trailing: trailing, isConstant: true))
      int32(0)
      return
    }
    let base = memory.base.rawValue & 7
    let displacement = memory.displacement
    let short = displacement / unit
    let mode: UInt8
    if displacement == 0, base != 5 {
      mode = 0
    } else if displacement % unit == 0, short >= -128, short <= 127 {
      mode = 1
    } else {
      mode = 2
    }
    if memory.index != nil || base == 4 {
      let index = memory.index.map { $0.rawValue & 7 } ?? 4
      precondition(memory.index != .rsp, "assembler: rsp cannot be an index")
      byte(mode << 6 | reg | 4)
      byte(UInt8(memory.scale.trailingZeroBitCount) << 6 | index << 3 | base)
    } else {
      byte(mode << 6 | reg | base)
    }
    switch mode {
    case 1: byte(UInt8(bitPattern: Int8(short)))
    case 2: int32(displacement)
    default: break
    }
  }

  // MARK: Scalar instructions

  /// The REX prefix for 64-bit operands.
  private mutating func rex(reg: UInt8, rm: UInt8, index: UInt8 = 0, wide: Bool = true) {
    var value: UInt8 = wide ? 0x48 : 0x40
    value |= (reg >> 3 & 1) << 2
    value |= (index >> 3 & 1) << 1
    value |= rm >> 3 & 1
    if value != 0x40 { byte(value) }
  }

  private mutating func scalar(_ opcode: [UInt8], reg: UInt8, _ memory: Memory, wide: Bool = true) {
    rex(
      reg: reg, rm: memory.constant >= 0 ? 0 : memory.base.rawValue,
      index: memory.index?.rawValue ?? 0, wide: wide)
    bytes += opcode
    modRM(reg: reg, memory: memory, trailing: 0)
  }

  private mutating func scalar(_ opcode: [UInt8], reg: UInt8, rm: UInt8, wide: Bool = true) {
    rex(reg: reg, rm: rm, wide: wide)
    bytes += opcode
    modRM(reg: reg, register: rm)
  }

  package mutating func mov(_ to: GPR, _ from: GPR) {
    if to != from { scalar([0x8B], reg: to.rawValue, rm: from.rawValue) }
  }
  package mutating func mov(_ to: GPR, _ from: Memory) { scalar([0x8B], reg: to.rawValue, from) }
  package mutating func mov(_ to: Memory, _ from: GPR) { scalar([0x89], reg: from.rawValue, to) }
  /// 32 bits, zero-extended.
  package mutating func mov32(_ to: GPR, _ from: Memory) {
    scalar([0x8B], reg: to.rawValue, from, wide: false)
  }
  /// One byte, zero-extended.
  package mutating func mov8(_ to: GPR, _ from: Memory) {
    scalar([0x0F, 0xB6], reg: to.rawValue, from, wide: false)
  }
  /// The low byte of one of the first four registers: the others would need a prefix.
  package mutating func mov8(_ to: Memory, _ from: GPR) {
    precondition(from.rawValue < 4, "assembler: a byte register of the first four")
    scalar([0x88], reg: from.rawValue, to, wide: false)
  }
  /// The low 32 bits.
  package mutating func mov32(_ to: Memory, _ from: GPR) {
    scalar([0x89], reg: from.rawValue, to, wide: false)
  }
  package mutating func lea(_ to: GPR, _ address: Memory) {
    scalar([0x8D], reg: to.rawValue, address)
  }

  /// Any constant, in the shortest form.
  package mutating func mov(_ to: GPR, _ value: Int) {
    if value == 0 {
      scalar([0x31], reg: to.rawValue, rm: to.rawValue, wide: false)
    } else if let small = UInt32(exactly: value) {
      rex(reg: 0, rm: to.rawValue, wide: false)
      byte(0xB8 | to.rawValue & 7)
      int32(Int32(bitPattern: small))
    } else if let small = Int32(exactly: value) {
      scalar([0xC7], reg: 0, rm: to.rawValue)
      int32(small)
    } else {
      rex(reg: 0, rm: to.rawValue)
      byte(0xB8 | to.rawValue & 7)
      withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
    }
  }

  package mutating func arithmetic(_ op: Arithmetic, _ to: GPR, _ from: GPR) {
    scalar([op.rawValue << 3 | 3], reg: to.rawValue, rm: from.rawValue)
  }
  package mutating func arithmetic(_ op: Arithmetic, _ to: GPR, _ from: Memory) {
    scalar([op.rawValue << 3 | 3], reg: to.rawValue, from)
  }
  package mutating func arithmetic(_ op: Arithmetic, _ to: GPR, _ value: Int) {
    if let small = Int8(exactly: value) {
      scalar([0x83], reg: op.rawValue, rm: to.rawValue)
      byte(UInt8(bitPattern: small))
    } else {
      scalar([0x81], reg: op.rawValue, rm: to.rawValue)
      int32(Int32(value))
    }
  }
  package mutating func add(_ to: GPR, _ value: Int) { arithmetic(.add, to, value) }
  package mutating func add(_ to: GPR, _ from: GPR) { arithmetic(.add, to, from) }
  package mutating func sub(_ to: GPR, _ value: Int) { arithmetic(.sub, to, value) }
  package mutating func sub(_ to: GPR, _ from: GPR) { arithmetic(.sub, to, from) }
  package mutating func cmp(_ a: GPR, _ value: Int) { arithmetic(.cmp, a, value) }
  package mutating func cmp(_ a: GPR, _ b: GPR) { arithmetic(.cmp, a, b) }
  package mutating func test(_ a: GPR, _ b: GPR) {
    scalar([0x85], reg: b.rawValue, rm: a.rawValue)
  }
  package mutating func imul(_ to: GPR, _ from: GPR) {
    scalar([0x0F, 0xAF], reg: to.rawValue, rm: from.rawValue)
  }
  package mutating func imul(_ to: GPR, _ from: GPR, _ value: Int) {
    scalar([0x69], reg: to.rawValue, rm: from.rawValue)
    int32(Int32(value))
  }
  package mutating func shl(_ to: GPR, _ count: UInt8) {
    scalar([0xC1], reg: 4, rm: to.rawValue)
    byte(count)
  }
  package mutating func shr(_ to: GPR, _ count: UInt8) {
    scalar([0xC1], reg: 5, rm: to.rawValue)
    byte(count)
  }
  /// Shifts left by the low bits of rcx.
  package mutating func shlByCL(_ to: GPR) { scalar([0xD3], reg: 4, rm: to.rawValue) }

  /// How many bits are set.
  package mutating func popcnt(_ to: GPR, _ from: GPR) {
    byte(0xF3)
    scalar([0x0F, 0xB8], reg: to.rawValue, rm: from.rawValue)
  }
  /// The low bits of `from`, as many as `count` says (BMI2).
  package mutating func bzhi(_ to: GPR, _ from: GPR, _ count: GPR) {
    byte(0xC4)
    byte((to.rawValue >> 3 ^ 1) << 7 | 0x40 | (from.rawValue >> 3 ^ 1) << 5 | 2)
    byte(0x80 | (~count.rawValue & 15) << 3)
    byte(0xF5)
    modRM(reg: to.rawValue, register: from.rawValue)
  }

  package mutating func push(_ register: GPR) {
    rex(reg: 0, rm: register.rawValue, wide: false)
    byte(0x50 | register.rawValue & 7)
  }
  package mutating func pop(_ register: GPR) {
    rex(reg: 0, rm: register.rawValue, wide: false)
    byte(0x58 | register.rawValue & 7)
  }
  package mutating func ret() { byte(0xC3) }
  /// Calls an address in a register.
  package mutating func call(_ register: GPR) {
    rex(reg: 0, rm: register.rawValue, wide: false)
    byte(0xFF)
    modRM(reg: 2, register: register.rawValue)
  }

  package mutating func jump(_ label: Label) {
    byte(0xE9)
    fixups.append(Fixup(at: bytes.count, target: label.number, trailing: 0, isConstant: false))
    int32(0)
  }
  package mutating func jump(_ condition: Condition, _ label: Label) {
    byte(0x0F)
    byte(0x80 | condition.rawValue)
    fixups.append(Fixup(at: bytes.count, target: label.number, trailing: 0, isConstant: false))
    int32(0)
  }

  /// The address of a label.
  package mutating func lea(_ to: GPR, _ label: Label) {
    rex(reg: to.rawValue, rm: 0)
    byte(0x8D)
    byte((to.rawValue & 7) << 3 | 5)
    fixups.append(Fixup(at: bytes.count, target: label.number, trailing: 0, isConstant: false))
    int32(0)
  }
  /// A jump to an address in a register.
  package mutating func jump(_ target: GPR) {
    rex(reg: 0, rm: target.rawValue, wide: false)
    byte(0xFF)
    modRM(reg: 4, register: target.rawValue)
  }
  /// Orders stores past the caches before what follows.
  package mutating func sfence() {
    byte(0x0F)
    byte(0xAE)
    byte(0xF8)
  }

  /// A level of the data caches.
  package enum CacheLevel: UInt8, CaseIterable, Sendable { case first = 1, second = 2 }

  /// Asks for a cache line early.
  package mutating func prefetch(_ memory: Memory, into level: CacheLevel = .first) {
    scalar([0x0F, 0x18], reg: level.rawValue, memory, wide: false)
  }
}
