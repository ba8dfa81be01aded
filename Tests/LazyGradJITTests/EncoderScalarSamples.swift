// Samples of the assembler's scalar instructions, with the text that they must mean.

import LazyGradJIT

enum ScalarSamples {
  private static let registers = GPR.allCases
  private static let numbers = [
    1, 127, 128, -1, -128, -129, 0x1234_5678, -0x1234_5678, Int(Int32.max), Int(Int32.min),
  ]

  private static func name(_ gpr: GPR, _ bits: Int = 64) -> String {
    VectorInstruction.register(gpr, bits: bits)
  }

  private static var addresses: [Memory] {
    registers.map { Memory($0) } + registers.map { Memory($0, 8) }
      + registers.filter { $0 != .rsp }.map {
        Memory(.r13, -64, index: $0, scale: 1 << ($0.rawValue % 4))
      }
      + numbers.map { Memory(.rdi, $0) } + [Memory(.rsp, 1000, index: .rbp, scale: 8)]
  }

  static var all: [EncoderSample] { moves + arithmetic + others }

  /// Jumps need a place to go: all go back to the stream's beginning.
  static func jumps(_ start: Assembler.Label) -> [EncoderSample] {
    Assembler.Condition.allCases.map { condition in
      EncoderSample(group: "jump", text: jumpName(condition) + " 0x0") { $0.jump(condition, start) }
    } + [EncoderSample(group: "jump", text: "jmp 0x0") { $0.jump(start) }]
  }

  static func jumpName(_ condition: Assembler.Condition) -> String {
    let names = "jo jno jb jae je jne jbe ja js jns jp jnp jl jge jle jg".split(separator: " ")
    return String(names[Int(condition.rawValue)])
  }

  private static var moves: [EncoderSample] {
    var all: [EncoderSample] = []
    func add(_ text: String, _ emit: @escaping @Sendable (inout Assembler) -> Void) {
      all.append(EncoderSample(group: "mov", text: text, emit: emit))
    }
    for r in registers {
      for other in [GPR.rax, .rsp, .r9, .r15] where other != r {
        add("mov \(r),\(other)") { $0.mov(r, other) }
      }
      add("xor \(name(r, 32)),\(name(r, 32))") { $0.mov(r, 0) }
      for value in numbers + [Int(UInt32.max), Int(UInt32.max) + 1, Int.max, Int.min] {
        let short = UInt32(exactly: value) != nil
        let mnemonic = short || Int32(exactly: value) != nil ? "mov" : "movabs"
        add("\(mnemonic) \(name(r, short ? 32 : 64)),\(VectorInstruction.hex(value))") {
          $0.mov(r, value)
        }
      }
      add("push \(r)") { $0.push(r) }
      add("pop \(r)") { $0.pop(r) }
    }
    for memory in addresses {
      let address = VectorInstruction.address(memory)
      for r in [GPR.rax, .rdi, .r8, .r15] {
        add("mov \(r),\(address)") { $0.mov(r, memory) }
        add("mov \(address),\(r)") { $0.mov(memory, r) }
        add("mov \(name(r, 32)),\(address)") { $0.mov32(r, memory) }
        add("mov \(address),\(name(r, 32))") { $0.mov32(memory, r) }
        add("lea \(r),\(address)") { $0.lea(r, memory) }
        add("movzx \(name(r, 32)),\(address)") { $0.mov8(r, memory) }
      }
      for (r, byte) in [(GPR.rax, "al"), (.rcx, "cl"), (.rdx, "dl"), (.rbx, "bl")] {
        add("mov \(address),\(byte)") { $0.mov8(memory, r) }
      }
      for level in Assembler.CacheLevel.allCases {
        add("prefetcht\(level.rawValue - 1) \(address)") { $0.prefetch(memory, into: level) }
      }
    }
    // The pool behind the code.
    let bytes = (0..<8).map { UInt8(0xA0 + $0) }
    for r in registers {
      add("mov \(r),[rip]") { $0.mov(r, $0.constant(bytes)) }
      add("mov \(name(r, 32)),[rip]") { $0.mov32(r, $0.constant(bytes)) }
      add("lea \(r),[rip]") { $0.lea(r, $0.constant(bytes)) }
      for i in all.count - 3..<all.count { all[i].constant = bytes }
    }
    return all
  }

  private static var arithmetic: [EncoderSample] {
    var all: [EncoderSample] = []
    for op in Assembler.Arithmetic.allCases {
      func add(_ text: String, _ emit: @escaping @Sendable (inout Assembler) -> Void) {
        all.append(EncoderSample(group: "arithmetic", text: "\(op) " + text, emit: emit))
      }
      for r in registers {
        add("\(r),r10") { $0.arithmetic(op, r, .r10) }
        add("rbx,\(r)") { $0.arithmetic(op, .rbx, r) }
        // The accumulator has shorter forms, which the assembler leaves alone.
        for value in numbers {
          add("\(r),\(VectorInstruction.hex(value))") { $0.arithmetic(op, r, value) }
        }
      }
      for memory in addresses {
        add("r9,\(VectorInstruction.address(memory))") { $0.arithmetic(op, .r9, memory) }
      }
    }
    return all
  }

  private static var others: [EncoderSample] {
    var all: [EncoderSample] = []
    func add(_ text: String, _ emit: @escaping @Sendable (inout Assembler) -> Void) {
      all.append(EncoderSample(group: "other", text: text, emit: emit))
    }
    for r in registers {
      add("add \(r),rdx") { $0.add(r, .rdx) }
      add("add \(r),0x40") { $0.add(r, 64) }
      add("sub \(r),0x3e8") { $0.sub(r, 1000) }
      add("cmp \(r),r8") { $0.cmp(r, .r8) }
      add("cmp \(r),0x10") { $0.cmp(r, 16) }
      add("test \(r),r11") { $0.test(r, .r11) }
      add("test rcx,\(r)") { $0.test(.rcx, r) }
      add("imul \(r),r12") { $0.imul(r, .r12) }
      add("imul rsi,\(r)") { $0.imul(.rsi, r) }
      for value in numbers {
        add("imul \(r),r9,\(VectorInstruction.hex(value))") { $0.imul(r, .r9, value) }
      }
      for count: UInt8 in [1, 3, 63] {
        add("shl \(r),\(VectorInstruction.hex(Int(count)))") { $0.shl(r, count) }
        add("shr \(r),\(VectorInstruction.hex(Int(count)))") { $0.shr(r, count) }
      }
      add("shl \(r),cl") { $0.shlByCL(r) }
      for other in [GPR.rcx, .rsp, .r9] {
        add("popcnt \(r),\(other)") { $0.popcnt(r, other) }
        add("popcnt \(other),\(r)") { $0.popcnt(other, r) }
        add("bzhi \(r),\(other),rdi") { $0.bzhi(r, other, .rdi) }
        add("bzhi r10,\(r),\(other)") { $0.bzhi(.r10, r, other) }
        add("bzhi \(other),rsi,\(r)") { $0.bzhi(other, .rsi, r) }
      }
    }
    add("vzeroupper") { $0.vzeroupper() }
    add("ret") { $0.ret() }
    add("sfence") { $0.sfence() }
    for register in GPR.allCases {
      add("call \(register)") { $0.call(register) }
      add("jmp \(register)") { $0.jump(register) }
    }
    return all
  }
}
