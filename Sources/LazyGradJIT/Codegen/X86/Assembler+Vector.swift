// Vector instructions: lays the rows of VectorForm.swift down with VEX or EVEX prefixes.

/// The length of a vector register. The raw value is the length field of the prefixes.
package enum VectorWidth: UInt8, CaseIterable, Sendable {
  case x = 0
  case y = 1
  case z = 2

  package var byteCount: Int { 16 << Int(rawValue) }
}

/// The operand of an instruction that may be in a register or in memory.
package enum RegisterOrMemory: Sendable {
  case register(UInt8)
  case memory(Memory)
}

extension Assembler {
  /// Emits one vector instruction.
  ///
  /// - Parameters:
  ///   - reg: the register in the ModR/M byte: for most forms the destination, for stores the
  ///     source.
  ///   - other: the register in the prefix: the first source of three-operand forms, the
  ///     destination of shifts by a constant; 0 where a form has none.
  ///   - mask: the mask register of AVX-512, 0 for none. Lanes that it switches off keep the
  ///     destination, or become zero with `zeroing`.
  package mutating func vector(
    _ op: VectorOp, _ width: VectorWidth, _ reg: UInt8, _ other: UInt8 = 0,
    _ rm: RegisterOrMemory, immediate: UInt8? = nil, mask: UInt8 = 0, zeroing: Bool = false
  ) {
    let form = op.form
    precondition(
      (immediate != nil) == form.hasImmediate, "assembler: \(form.name): immediate or none")
    var needsEVEX = width == .z || reg >= 16 || other >= 16 || mask != 0
    switch rm {
    case .register(let number): if number >= 16 { needsEVEX = true }
    case .memory(let memory):
      if memory.isBroadcast {
        precondition(form.canBroadcast, "assembler: \(form.name) repeats no element")
        needsEVEX = true
      }
    }
    if form.encoding == .evex { needsEVEX = true }
    precondition(
      !needsEVEX || form.encoding != .vex, "assembler: \(form.name) has no EVEX form")
    // A shift by a constant has its number in the register field.
    let reg = form.digit.map { UInt8($0) } ?? reg
    if needsEVEX {
      evex(form, width, reg, other, rm, mask, zeroing)
    } else {
      vex(form, width, reg, other, rm)
    }
    byte(form.opcode)
    let trailing = immediate == nil ? 0 : 1
    switch rm {
    case .register(let number): modRM(reg: reg, register: number)
    case .memory(let memory):
      let unit =
        needsEVEX ? form.memoryUnit(width, isBroadcast: memory.isBroadcast) : 1
      modRM(reg: reg, memory: memory, unit: Int32(unit), trailing: trailing)
    }
    if let immediate { byte(immediate) }
  }

  /// The bits that extend the register numbers of an operand: base or register, and index.
  private func extensions(_ rm: RegisterOrMemory) -> (b: UInt8, x: UInt8) {
    switch rm {
    case .register(let number): (number >> 3 & 1, number >> 4 & 1)
    case .memory(let memory) where memory.constant >= 0: (0, 0)
    case .memory(let memory):
      (memory.base.rawValue >> 3 & 1, (memory.index?.rawValue ?? 0) >> 3 & 1)
    }
  }

  private mutating func vex(
    _ form: VectorForm, _ width: VectorWidth, _ reg: UInt8, _ other: UInt8, _ rm: RegisterOrMemory
  ) {
    let (b, x) = extensions(rm)
    let r = reg >> 3 & 1
    let length = form.fixedLength ?? width.rawValue
    let tail = (~other & 15) << 3 | length << 2 | form.prefix.rawValue
    if b == 0, x == 0, form.map == .m0F, !form.vexWide {
      byte(0xC5)
      byte((r ^ 1) << 7 | tail)
    } else {
      byte(0xC4)
      byte((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | form.map.rawValue)
      byte((form.vexWide ? 0x80 : 0) | tail)
    }
  }

  private mutating func evex(
    _ form: VectorForm, _ width: VectorWidth, _ reg: UInt8, _ other: UInt8, _ rm: RegisterOrMemory,
    _ mask: UInt8, _ zeroing: Bool
  ) {
    let (b, x) = extensions(rm)
    var isBroadcast = false
    if case .memory(let memory) = rm { isBroadcast = memory.isBroadcast }
    let (r, high) = (reg >> 3 & 1, reg >> 4 & 1)
    let length = form.fixedLength ?? width.rawValue
    byte(0x62)
    byte((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (high ^ 1) << 4 | form.map.rawValue)
    byte((form.evexWide ? 0x80 : 0) | (~other & 15) << 3 | 4 | form.prefix.rawValue)
    byte(
      (zeroing ? 0x80 : 0) | length << 5 | (isBroadcast ? 0x10 : 0)
        | (other >> 4 & 1 ^ 1) << 3 | mask & 7)
  }

  // MARK: Short forms

  /// `reg = op(a, b)`.
  package mutating func vector(
    _ op: VectorOp, _ width: VectorWidth, _ reg: UInt8, _ a: UInt8, _ b: UInt8,
    immediate: UInt8? = nil, mask: UInt8 = 0, zeroing: Bool = false
  ) {
    vector(op, width, reg, a, .register(b), immediate: immediate, mask: mask, zeroing: zeroing)
  }

  /// `reg = op(a)`, and stores with the roles the other way round.
  package mutating func vector(
    _ op: VectorOp, _ width: VectorWidth, _ reg: UInt8, _ rm: RegisterOrMemory,
    immediate: UInt8? = nil, mask: UInt8 = 0, zeroing: Bool = false
  ) {
    vector(op, width, reg, 0, rm, immediate: immediate, mask: mask, zeroing: zeroing)
  }

  /// `to = from << count` and the like: shifts by a constant.
  package mutating func shift(
    _ op: VectorOp, _ width: VectorWidth, _ to: UInt8, _ from: UInt8, by count: UInt8
  ) {
    vector(op, width, 0, to, .register(from), immediate: count)
  }

  /// AVX2's choice by the sign bits of a vector: `reg = mask ? b : a`. Its fourth register is in the
  /// immediate.
  package mutating func blend(
    _ op: VectorOp, _ width: VectorWidth, _ reg: UInt8, _ a: UInt8, _ b: RegisterOrMemory,
    by mask: UInt8
  ) {
    vector(op, width, reg, a, b, immediate: mask << 4)
  }

  /// Back to the state that code without AVX expects.
  package mutating func vzeroupper() {
    byte(0xC5)
    byte(0xF8)
    byte(0x77)
  }
}
