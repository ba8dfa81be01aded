// Samples of every vector instruction for the tests of the encoder: each form with registers of all
// kinds, all addressing modes, masks and repeated elements, and the assembly text that it must mean.
// The text comes from a row's names and shapes; opcodes and prefixes play no part in it.

import LazyGradJIT

/// An instruction and what a disassembler should say about it.
struct EncoderSample: Sendable {
  /// The form that it belongs to: one line of the golden table.
  let group: String
  /// In the notation that `Disassembler` produces.
  let text: String
  /// The bytes of the constant that it reads.
  var constant: [UInt8]?
  let emit: @Sendable (inout Assembler) -> Void
}

/// One vector instruction with all that the encoder may be told about it.
struct VectorInstruction: Sendable {
  enum Operand: Sendable {
    case register(UInt8)
    case memory(Memory)
    case constant([UInt8], isBroadcast: Bool)
  }

  let op: VectorOp
  let width: VectorWidth
  var reg: UInt8 = 1
  var other: UInt8 = 2
  var rm: Operand = .register(3)
  var immediate: UInt8?
  var mask: UInt8 = 0
  var zeroing = false

  init(_ op: VectorOp, _ width: VectorWidth) {
    self.op = op
    self.width = width
    if op.form.shape == .rvmr {
      immediate = 4 << 4
    } else if op.form.hasImmediate {
      immediate = 1
    }
    if !op.form.hasOther { other = 0 }
    if op.form.digit != nil { reg = 0 }
  }

  var isBroadcast: Bool {
    switch rm {
    case .register: false
    case .memory(let memory): memory.isBroadcast
    case .constant(_, let isBroadcast): isBroadcast
    }
  }

  /// Whether only the long prefix can say it.
  var needsEVEX: Bool {
    if op.form.encoding != .both { return op.form.encoding == .evex }
    var numbers = [reg, other]
    if case .register(let number) = rm { numbers.append(number) }
    return width == .z || mask != 0 || isBroadcast || numbers.contains { $0 > 15 }
  }

  func emit(_ a: inout Assembler) {
    let operand: RegisterOrMemory
    switch rm {
    case .register(let number): operand = .register(number)
    case .memory(let memory): operand = .memory(memory)
    case .constant(let bytes, let isBroadcast):
      let memory = a.constant(bytes)
      operand = .memory(isBroadcast ? memory.broadcast : memory)
    }
    a.vector(
      op, width, reg, other, operand, immediate: immediate, mask: mask, zeroing: zeroing)
  }

  var sample: EncoderSample {
    var sample = EncoderSample(
      group: "\(op) \(width) \(needsEVEX ? "evex" : "vex")", text: text,
      emit: { emit(&$0) })
    if case .constant(let bytes, _) = rm { sample.constant = bytes }
    return sample
  }

  // MARK: Text

  var text: String {
    let form = op.form
    let first = Self.register(form.reg, form.regPart, width, reg)
    let second = Self.register(form.rm == .mask ? .mask : .vector, .full, width, other)
    let third: String
    switch rm {
    case .register(let number): third = Self.register(form.rm, form.rmPart, width, number)
    case .memory(let memory): third = Self.address(memory)
    case .constant(_, let isBroadcast): third = isBroadcast ? "[rip]{bcst}" : "[rip]"
    }
    var operands: [String]
    switch form.shape {
    case .rvm: operands = [first, second, third]
    case .rm: operands = [first, third]
    case .mr: operands = [third, first]
    case .mvr: operands = [third, second, first]
    case .vmi: operands = [second, third]
    case .rvmr:
      operands = [first, second, third]
      operands.append(Self.register(.vector, .full, width, immediate! >> 4))
    }
    if mask != 0 { operands[0] += "{k\(mask)}" }
    if zeroing { operands[0] += "{z}" }
    if form.shape != .rvmr, let immediate { operands.append(Self.hex(Int(immediate))) }
    return form.name + " " + operands.joined(separator: ",")
  }

  static func hex(_ value: Int) -> String {
    "0x" + String(UInt64(bitPattern: Int64(value)), radix: 16)
  }

  static func address(_ memory: Memory) -> String {
    var text = "[\(memory.base)"
    if let index = memory.index { text += "+\(index)*\(memory.scale)" }
    let displacement = Int(memory.displacement)
    if displacement != 0 { text += (displacement < 0 ? "-" : "+") + hex(abs(displacement)) }
    return text + (memory.isBroadcast ? "]{bcst}" : "]")
  }

  static func register(_ gpr: GPR, bits: Int) -> String {
    let name = "\(gpr)"
    if bits == 64 { return name }
    return gpr.rawValue >= 8 ? name + "d" : "e" + name.dropFirst()
  }

  private static func register(
    _ kind: VectorForm.RegisterClass, _ part: VectorForm.Part, _ width: VectorWidth, _ number: UInt8
  ) -> String {
    switch kind {
    case .mask: return "k\(number)"
    case .gpr32: return register(GPR(rawValue: number)!, bits: 32)
    case .gpr64: return register(GPR(rawValue: number)!, bits: 64)
    case .vector, .memory: break
    }
    let bits =
      switch part {
      case .full: width.byteCount * 8
      case .half: width.byteCount * 4
      case .quarter: width.byteCount * 2
      case .eighth: width.byteCount
      case .xmm: 128
      case .ymm: 256
      }
    return "\(bits == 512 ? "z" : bits == 256 ? "y" : "x")mm\(number)"
  }
}

extension VectorForm {
  /// Whether the prefix names a register.
  var hasOther: Bool { shape != .rm && shape != .mr }

  /// The bytes of memory that an instruction reads or writes.
  func memoryBytes(_ width: VectorWidth, isBroadcast: Bool) -> Int {
    if isBroadcast { return elementSize }
    switch tuple {
    case .full, .fullMemory: return width.byteCount
    case .half: return width.byteCount / 2
    case .quarter: return width.byteCount / 4
    case .eighth: return width.byteCount / 8
    case .scalar: return elementSize
    case .part16: return 16
    case .part32: return 32
    case .none: return 0
    }
  }
}

extension VectorOp {
  /// The widths that the processor has the instruction for.
  var widths: [VectorWidth] {
    if form.fixedLength != nil { return [.x] }
    switch self {
    case .perm2f128, .insertf128, .extractf128: return [.y]
    case .insertf64x4, .extractf64x4: return [.z]
    case .permps, .permd, .permq, .permpd, .broadcastsd, .insertf32x4, .extractf32x4, .shuff32x4,
      .shuff64x2:
      return [.y, .z]
    default: return form.encoding == .vex ? [.x, .y] : [.x, .y, .z]
    }
  }

  /// Whether AVX-512 can switch off lanes of it.
  var canMask: Bool {
    if form.encoding == .vex { return false }
    switch self {
    case .movntpsStore, .movd, .movq, .movdStore, .movqStore, .movhlps, .pextrwStore: return false
    default: return true
    }
  }

  /// The numbers that a register operand may have.
  func numbers(_ kind: VectorForm.RegisterClass) -> [UInt8] {
    switch kind {
    case .mask: Array(0...7)
    case .gpr32, .gpr64: Array(0...15)
    case .vector, .memory:
      form.encoding == .vex ? Array(0...15) : [0, 1, 5, 7, 8, 12, 15, 16, 20, 23, 24, 31]
    }
  }

  /// All samples of the instruction, in an order that never changes.
  var samples: [EncoderSample] {
    widths.flatMap { width in
      registerSamples(width) + (form.tuple == .none ? [] : memorySamples(width))
    }
  }

  private func registerSamples(_ width: VectorWidth) -> [EncoderSample] {
    let base = VectorInstruction(self, width)
    var all: [VectorInstruction] = []
    func add(_ change: (inout VectorInstruction) -> Void) {
      var one = base
      change(&one)
      all.append(one)
    }
    if form.rm == .memory { return [] }
    if form.digit == nil { for n in numbers(form.reg) { add { $0.reg = n } } }
    for n in numbers(form.rm) { add { $0.rm = .register(n) } }
    if form.hasOther {
      for n in numbers(form.rm == .mask ? .mask : .vector) { add { $0.other = n } }
    }
    // Registers of all kinds at once.
    for shift in 0..<8 {
      let v = numbers(form.rm == .mask ? .mask : .vector)
      let (r, m) = (numbers(form.reg), numbers(form.rm))
      add {
        if form.digit == nil { $0.reg = r[(shift * 5 + 1) % r.count] }
        if form.hasOther { $0.other = v[(shift * 7 + 2) % v.count] }
        $0.rm = .register(m[(shift * 3 + 4) % m.count])
      }
    }
    if form.hasImmediate {
      for value: UInt8 in 0...31 { add { $0.immediate = form.shape == .rvmr ? value << 4 : value } }
      if form.shape != .rvmr { add { $0.immediate = 255 } }
    }
    if canMask {
      for k: UInt8 in 1...7 {
        add { $0.mask = k }
        if form.reg != .mask { add { ($0.mask, $0.zeroing) = (k, true) } }
      }
    }
    return all.map(\.sample)
  }

  private func memorySamples(_ width: VectorWidth) -> [EncoderSample] {
    var base = VectorInstruction(self, width)
    var all: [VectorInstruction] = []
    func add(_ memory: Memory, _ change: (inout VectorInstruction) -> Void = { _ in }) {
      var one = base
      one.rm = .memory(memory)
      change(&one)
      all.append(one)
    }
    func addModes(isBroadcast: Bool) {
      let unit = form.memoryBytes(width, isBroadcast: isBroadcast)
      func memory(
        _ base: GPR, _ displacement: Int = 0, index: GPR? = nil, scale: UInt8 = 1
      ) -> Memory {
        Memory(base, displacement, index: index, scale: scale, isBroadcast: isBroadcast)
      }
      for base in GPR.allCases {
        add(memory(base))
        add(memory(base, unit))
        if base != .rsp { add(memory(.rbx, index: base, scale: 1 << (base.rawValue % 4))) }
      }
      for displacement in [
        1, -1, 127, -128, 128, -129, -unit, 127 * unit, -128 * unit, 128 * unit, -129 * unit,
        unit + 1, 0x1234_5678, -0x1234_5678,
      ] {
        add(memory(.rdi, displacement))
        add(memory(.r12, displacement))
        add(memory(.r13, displacement, index: .r12, scale: 8))
        add(memory(.rbp, displacement, index: .r15, scale: 2))
      }
      let length = [4, 8, 16, 32, 64].first { $0 >= unit }!
      all.append(base)
      all[all.count - 1].rm = .constant(
        (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ length) }, isBroadcast: isBroadcast)
      if canMask {
        for k: UInt8 in 1...7 {
          add(memory(.r9, unit, index: .rax, scale: 4)) { $0.mask = k }
          if form.reg != .mask, form.shape != .mr {
            add(memory(.rsi, unit)) { ($0.mask, $0.zeroing) = (k, true) }
          }
        }
      }
    }
    addModes(isBroadcast: false)
    if form.digit == nil {
      for n in numbers(form.reg) { add(Memory(.r8, index: .r9, scale: 4)) { $0.reg = n } }
    }
    if form.hasOther {
      for n in numbers(.vector) { add(Memory(.r8, index: .r9, scale: 4)) { $0.other = n } }
    }
    if form.encoding == .both, width != .z {
      // The same addresses where the long prefix is needed because of a register.
      if form.reg == .vector { base.reg = 30 } else { base.other = 29 }
      addModes(isBroadcast: false)
    }
    if form.canBroadcast { addModes(isBroadcast: true) }
    return all.map(\.sample)
  }
}
