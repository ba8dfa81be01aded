// Emits the generator of random bits, for AVX2 and AVX-512. Uses the assembler.

/// What emitted code for random bits is called with.
struct PhiloxArguments {
  var to: UnsafeMutableRawPointer
  /// The two words of the key of every round.
  var keys: UnsafeRawPointer
  /// The number of the first block.
  var firstBlock: UInt64
  /// How many times as many blocks as a vector has 64-bit lanes.
  var steps: Int

  typealias Function = @convention(c) (UnsafeRawPointer) -> Void
}

/// Philox4x32-10, as many blocks at a time as there are 64-bit lanes, each of the four words in a register of its
/// own. A multiplication reads the lower halves of the lanes, so what the upper ones hold is never cleared.
struct PhiloxGenerator {
  private var asm = Assembler()
  private let isWide: Bool
  private let width: VectorWidth
  private let bits: PhiloxCode.Bits
  private let to = GPR.rsi
  private let keys = GPR.rdx
  private let count = GPR.rcx

  private let number: UInt8 = 8
  private let multipliers: (UInt8, UInt8) = (9, 10)
  private let step: UInt8 = 11
  private let lower: UInt8 = 12
  /// What is left of 16 registers, for a round's results and between two instructions.
  private var free: [UInt8] = [4, 5, 6, 7, 13, 14]

  /// Blocks that are made at a time.
  static func lanes(_ set: InstructionSet) -> Int { set == .avx512 ? 8 : 4 }

  static func code(_ set: InstructionSet, _ bits: PhiloxCode.Bits) -> [UInt8] {
    var generator = PhiloxGenerator(set, bits)
    generator.emit()
    return generator.asm.finish()
  }

  private init(_ set: InstructionSet, _ bits: PhiloxCode.Bits) {
    isWide = set == .avx512
    width = isWide ? .z : .y
    self.bits = bits
  }

  private var lanes: Int { isWide ? 8 : 4 }
  private var xor: VectorOp { isWide ? .pxord : .pxor }
  private var and: VectorOp { isWide ? .pandd : .pand }
  private var or: VectorOp { isWide ? .pord : .por }

  private func argument(_ path: PartialKeyPath<PhiloxArguments>) -> Memory {
    Memory(.rdi, MemoryLayout<PhiloxArguments>.offset(of: path)!)
  }

  /// A number in all 64-bit lanes, in memory.
  private mutating func wide(_ value: UInt64) -> RegisterOrMemory {
    .memory(asm.constant(value, count: lanes))
  }

  /// A number in all 32-bit lanes, in memory.
  private mutating func narrow(_ value: Float) -> RegisterOrMemory {
    .memory(asm.constant(value.bitPattern, count: 2 * lanes))
  }

  private mutating func emit() {
    asm.mov(to, argument(\.to))
    asm.mov(keys, argument(\.keys))
    asm.mov(count, argument(\.steps))
    asm.vector(.pbroadcastq, width, number, .memory(argument(\.firstBlock)))
    // Lanes 0, 2, ... first, which is how two registers of pairs are interleaved.
    let order = (0..<lanes).flatMap { lane -> [UInt8] in
      let block = lane / 2 + lane % 2 * (lanes / 2)
      return withUnsafeBytes(of: UInt64(block).littleEndian) { Array($0) }
    }
    asm.vector(.paddq, width, number, number, .memory(asm.constant(order)))
    asm.vector(.movups, width, multipliers.0, wide(0xD251_1F53))
    asm.vector(.movups, width, multipliers.1, wide(0xCD9E_8D57))
    asm.vector(.movups, width, step, wide(UInt64(lanes)))
    asm.vector(.movups, width, lower, wide(0xFFFF_FFFF))
    asm.align16()
    let loop = asm.here()
    emitBlocks()
    asm.vector(.paddq, width, number, number, step)
    asm.add(to, 16 * lanes)
    asm.sub(count, 1)
    asm.jump(.notEqual, loop)
    asm.vzeroupper()
    asm.ret()
  }

  private mutating func emitBlocks() {
    var words: [UInt8] = [0, 1, 2, 3]
    asm.vector(.movups, width, words[0], .register(number))
    asm.shift(.psrlq, width, words[1], number, by: 32)
    asm.vector(xor, width, words[2], words[2], words[2])
    asm.vector(xor, width, words[3], words[3], words[3])
    for round in 0..<10 {
      let results = (0..<4).map { _ in free.removeFirst() }
      let (first, second) = (results[3], results[1])
      asm.vector(.pmuludq, width, first, words[0], multipliers.0)
      asm.vector(.pmuludq, width, second, words[2], multipliers.1)
      emitMix(results[0], second, words[1], key: 2 * round)
      emitMix(results[2], first, words[3], key: 2 * round + 1)
      free += words
      words = results
    }
    let pairs = [(words[0], words[1]), (words[2], words[3])].map { a, b in
      asm.shift(.psllq, width, b, b, by: 32)
      if isWide {
        // b | a & lower
        asm.vector(.pternlogd, width, b, a, lower, immediate: 0xF8)
      } else {
        asm.vector(and, width, a, a, lower)
        asm.vector(or, width, b, b, a)
      }
      return b
    }
    let rest = [words[0], words[2]]
    for (i, unpack) in [VectorOp.unpcklpd, .unpckhpd].enumerated() {
      asm.vector(unpack, width, rest[i], pairs[0], pairs[1])
    }
    for (i, result) in rest.enumerated() {
      emitConversion(result, pairs[i])
      asm.vector(.movupsStore, width, result, .memory(Memory(to, 8 * lanes * i)))
    }
  }

  /// The upper halves of a product, with a word and a word of the key.
  private mutating func emitMix(_ result: UInt8, _ product: UInt8, _ word: UInt8, key: Int) {
    asm.vector(.movshdup, width, result, .register(product))
    var memory = Memory(keys, 4 * key)
    if isWide {
      memory.isBroadcast = true
      asm.vector(.pternlogd, width, result, word, .memory(memory), immediate: 0x96)
    } else {
      let other = free[0]
      asm.vector(.pbroadcastd, width, other, .memory(memory))
      asm.vector(xor, width, result, result, word)
      asm.vector(xor, width, result, result, other)
    }
  }

  /// Words become fractions, rounded as one conversion, one product and one sum are.
  private mutating func emitConversion(_ x: UInt8, _ other: UInt8) {
    switch bits {
    case .words: break
    case .fractions32:
      asm.shift(.psrld, width, x, x, by: 8)
      asm.vector(.cvtdq2ps, width, x, .register(x))
      asm.vector(.mulps, width, x, x, narrow(0x1p-24))
    case .openFractions32:
      // The halves of a word are numbers of single precision, and their sum is rounded once.
      asm.shift(.psrld, width, other, x, by: 16)
      asm.vector(and, width, x, x, .memory(asm.constant(UInt32(0xFFFF), count: 2 * lanes)))
      asm.vector(.cvtdq2ps, width, other, .register(other))
      asm.vector(.cvtdq2ps, width, x, .register(x))
      asm.vector(.fmadd231ps, width, x, other, narrow(0x1p16))
      asm.vector(.mulps, width, x, x, narrow(0x1p-32))
      asm.vector(.addps, width, x, x, narrow(0x1p-33))
    case .fractions64, .openFractions64:
      // Halves as the last bits of numbers from 2^52 and from 2^84 on, whose sum without these is exact.
      asm.shift(.psrlq, width, x, x, by: 11)
      asm.shift(.psrlq, width, other, x, by: 32)
      asm.vector(and, width, x, x, lower)
      asm.vector(or, width, x, x, wide((0x1p52).bitPattern))
      asm.vector(or, width, other, other, wide((0x1p84).bitPattern))
      asm.vector(.subpd, width, other, other, wide((0x1p84 + 0x1p52).bitPattern))
      asm.vector(.addpd, width, x, x, .register(other))
      if bits == .openFractions64 { asm.vector(.addpd, width, x, x, wide((0.5).bitPattern)) }
      asm.vector(.mulpd, width, x, x, wide((0x1p-53).bitPattern))
    }
  }
}

/// The process's code for random bits, made where it is first asked for. It stays.
package struct PhiloxCode: @unchecked Sendable {
  /// What the words of blocks become.
  package enum Bits: UInt8, CaseIterable, Sendable {
    case words
    /// Multiples of 2^-24 from 0 up to and without 1, of a word each; the middles of 2^32 equal parts, rounded.
    case fractions32, openFractions32
    /// Multiples of 2^-53, of two words each; the middles of 2^53 equal parts, rounded.
    case fractions64, openFractions64
  }

  private let function: PhiloxArguments.Function
  /// Blocks that are made at a time.
  private let lanes: Int

  /// By the words that name them; nil where there is no memory for code.
  private static let known = Lock<[UInt64: PhiloxCode?]>([:])

  /// The code for an instruction set, if there is any.
  package static func code(_ bits: Bits, _ set: InstructionSet) -> PhiloxCode? {
    guard set == .avx2 || set == .avx512 else { return nil }
    let name = UInt64(bits.rawValue) << 8 | UInt64(set.rawValue)
    return known.withLock { known in
      if let code = known[name] { return code }
      let code = CodeMemory.install(PhiloxGenerator.code(set, bits)).map { block in
        PhiloxCode(
          function: unsafeBitCast(
            Unmanaged.passRetained(block).takeUnretainedValue().entry,
            to: PhiloxArguments.Function.self),
          lanes: PhiloxGenerator.lanes(set))
      }
      known.updateValue(code, forKey: name)
      return code
    }
  }

  /// The code for the active instruction set, if there is any.
  package static func active(_ bits: Bits) -> PhiloxCode? { code(bits, NativeCode.instructionSet) }

  /// Writes blocks of 16 bytes each, from the first one of a key's stream on.
  ///
  /// - Parameter count: How many there is room for.
  /// - Returns: How many have been written; the caller does the rest.
  package func fill(_ to: UnsafeMutableRawPointer, _ count: Int, key: SIMD2<UInt32>) -> Int {
    let steps = count / lanes
    if steps == 0 { return 0 }
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 20) { keys in
      var (k, l) = (key[0], key[1])
      for round in 0..<10 {
        keys.initializeElement(at: 2 * round, to: k)
        keys.initializeElement(at: 2 * round + 1, to: l)
        k &+= 0x9E37_79B9
        l &+= 0xBB67_AE85
      }
      var arguments = PhiloxArguments(
        to: to, keys: UnsafeRawPointer(keys.baseAddress!), firstBlock: 0, steps: steps)
      function(&arguments)
    }
    return steps * lanes
  }
}
