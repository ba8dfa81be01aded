// Emitted vector instructions are run and compared, lane by lane and bit by bit, with plain Swift:
// arithmetic, comparisons, choices, masks and shifts. Forms that the processor lacks are left out.

import LazyGradJIT
import Testing

let firstSingles = Lanes(
  [
    1.5, -2.25, 0, -0.0, 3.7e10, -1e-3, 123456.7, 0.1, -7.5, 2, .leastNonzeroMagnitude, .infinity,
    -8.25, 0.3, 1e30,
    -0.7,
  ] as [Float])
let otherSingles = Lanes(
  [
    2.5, -0.75, -0.0, 0, 1.3e-5, 77, -123456.7, 0.2, -7.5, 1e20, 3, 4, 8.25, -0.6, 1e10, 0.7,
  ] as [Float])
let firstDoubles = Lanes(
  [1.5, -2.25, 0, 3.7e100, -1e-3, 0.1, -7.5, .leastNonzeroMagnitude] as [Double])
let otherDoubles = Lanes([2.5, -0.75, -0.0, 1.3e-5, 77, 0.2, -7.5, 2] as [Double])
let thirdSingles = Lanes((0..<16).map { Float($0) * 1.37 - 9.1 })
let thirdDoubles = Lanes((0..<8).map { Double($0) * 1.37 - 4.1 })
let words = Lanes((0..<16).map { Int32(truncatingIfNeeded: $0 &* 0x2545_F491 &- 0x1234_5678) })
let otherWords = Lanes((0..<16).map { Int32(truncatingIfNeeded: $0 &* 0x5851_F42D &+ 99) })
let longs = Lanes((0..<8).map { Int64($0) &* 0x2545_F491_4F6C_DD1D &- 0x1234_5678_9ABC })
let otherLongs = Lanes((0..<8).map { Int64($0) &* 0x5851_F42D_4C95_7F2D &+ 99 })

/// Compares the first elements of a result, by their bits.
func expectLanes<T: BitwiseCopyable>(
  _ lanes: Lanes, _ count: Int, _ what: String, _ expected: (Int) -> T
) {
  for i in 0..<count {
    let (x, y) = (expected(i), lanes[i, as: T.self])
    let isSame = withUnsafeBytes(of: x) { x in withUnsafeBytes(of: y) { x.elementsEqual($0) } }
    if !isSame {
      Issue.record("\(what), lane \(i): expected \(x), got \(y)")
      return
    }
  }
}

@Suite struct EncodedArithmeticTests {
  /// `result = op(a, b)` with `b` in a register, in memory and as a repeated element.
  private func binary<T: BitwiseCopyable>(
    _ op: VectorOp, _ a: Lanes, _ b: Lanes, immediate: UInt8? = nil, lanes: Int? = nil,
    _ expected: (T, T) -> T
  ) {
    Encoded.each(op) { width, high in
      let count = lanes ?? width.byteCount / MemoryLayout<T>.size
      var operands: [(String, RegisterOrMemory?)] = [
        ("register", nil), ("memory", .memory(Memory(.rdx))),
      ]
      if op.form.canBroadcast, Encoded.hasAVX512 {
        operands.append(("repeated", .memory(Memory(.rdx, isBroadcast: true))))
      }
      for (name, operand) in operands {
        let out = Encoded.run(width, a, b, b, high: high) { code, body in
          code.vector(
            op, width, body.result, body.a, operand ?? .register(body.b), immediate: immediate)
        }
        expectLanes(out, count, "\(op) \(width) \(name)") { i -> T in
          expected(a[i, as: T.self], b[name == "repeated" ? 0 : i, as: T.self])
        }
      }
    }
  }

  @Test func floats() {
    func both(
      _ single: VectorOp, _ double: VectorOp, _ f: (Float, Float) -> Float,
      _ g: (Double, Double) -> Double
    ) {
      binary(single, firstSingles, otherSingles, f)
      binary(double, firstDoubles, otherDoubles, g)
    }
    both(.addps, .addpd, { $0 + $1 }, { $0 + $1 })
    both(.subps, .subpd, { $0 - $1 }, { $0 - $1 })
    both(.mulps, .mulpd, { $0 * $1 }, { $0 * $1 })
    both(.minps, .minpd, { $0 < $1 ? $0 : $1 }, { $0 < $1 ? $0 : $1 })
    both(.maxps, .maxpd, { $0 > $1 ? $0 : $1 }, { $0 > $1 ? $0 : $1 })
    let (divisors, otherDivisors) = (thirdSingles, thirdDoubles)
    binary(.divps, firstSingles, divisors) { (x: Float, y: Float) in x / y }
    binary(.divpd, firstDoubles, otherDivisors) { (x: Double, y: Double) in x / y }
    binary(.addss, firstSingles, otherSingles, lanes: 1) { (x: Float, y: Float) in x + y }
    binary(.subss, firstSingles, otherSingles, lanes: 1) { (x: Float, y: Float) in x - y }
    binary(.mulss, firstSingles, otherSingles, lanes: 1) { (x: Float, y: Float) in x * y }
    binary(.divss, firstSingles, otherSingles, lanes: 1) { (x: Float, y: Float) in x / y }
    binary(.addsd, firstDoubles, otherDoubles, lanes: 1) { (x: Double, y: Double) in x + y }
    binary(.subsd, firstDoubles, otherDoubles, lanes: 1) { (x: Double, y: Double) in x - y }
    binary(.mulsd, firstDoubles, otherDoubles, lanes: 1) { (x: Double, y: Double) in x * y }
    binary(.divsd, firstDoubles, otherDoubles, lanes: 1) { (x: Double, y: Double) in x / y }
  }

  @Test func integers() {
    binary(.paddd, words, otherWords) { (x: Int32, y: Int32) in x &+ y }
    binary(.psubd, words, otherWords) { (x: Int32, y: Int32) in x &- y }
    binary(.pmulld, words, otherWords) { (x: Int32, y: Int32) in x &* y }
    binary(.pminsd, words, otherWords) { (x: Int32, y: Int32) in min(x, y) }
    binary(.pmaxsd, words, otherWords) { (x: Int32, y: Int32) in max(x, y) }
    binary(.pminud, words, otherWords) { (x: UInt32, y: UInt32) in min(x, y) }
    binary(.pmaxud, words, otherWords) { (x: UInt32, y: UInt32) in max(x, y) }
    binary(.pminuq, longs, otherLongs) { (x: UInt64, y: UInt64) in min(x, y) }
    binary(.pmaxuq, longs, otherLongs) { (x: UInt64, y: UInt64) in max(x, y) }
    binary(.paddq, longs, otherLongs) { (x: Int64, y: Int64) in x &+ y }
    binary(.psubq, longs, otherLongs) { (x: Int64, y: Int64) in x &- y }
    binary(.pmullq, longs, otherLongs) { (x: Int64, y: Int64) in x &* y }
    binary(.pminsq, longs, otherLongs) { (x: Int64, y: Int64) in min(x, y) }
    binary(.pmaxsq, longs, otherLongs) { (x: Int64, y: Int64) in max(x, y) }
    binary(.pmuludq, longs, otherLongs) { (x: UInt64, y: UInt64) in
      (x & 0xFFFF_FFFF) * (y & 0xFFFF_FFFF)
    }
    binary(.pcmpeqd, words, words) { (x: Int32, y: Int32) in x == y ? -1 : 0 }
    binary(.pcmpgtd, words, otherWords) { (x: Int32, y: Int32) in x > y ? -1 : 0 }
    binary(.pcmpeqq, longs, otherLongs) { (x: Int64, y: Int64) in x == y ? -1 : 0 }
    binary(.pcmpgtq, longs, otherLongs) { (x: Int64, y: Int64) in x > y ? -1 : 0 }
    let counts = Lanes((0..<16).map { Int32($0 * 3) })
    binary(.psllvd, words, counts) { (x: UInt32, y: UInt32) in x << y }
    binary(.psrlvd, words, counts) { (x: UInt32, y: UInt32) in x >> y }
    binary(.psravd, words, counts) { (x: Int32, y: Int32) in x >> y }
  }

  @Test func bitwiseFamilies() {
    typealias Rule = (UInt64, UInt64) -> UInt64
    let families: [([VectorOp], Rule)] = [
      ([.andps, .andpd, .pand, .pandd], { $0 & $1 }),
      ([.andnps, .andnpd, .pandn, .pandnd], { ~$0 & $1 }),
      ([.orps, .orpd, .por, .pord], { $0 | $1 }),
      ([.xorps, .xorpd, .pxor, .pxord], { $0 ^ $1 }),
    ]
    // Both halves of the repeated element are alike, so its size does not matter.
    let other = Lanes([0x1357_9BDF_1357_9BDF, -0x0F1E_2D3C_4B5A_6978, 5, -1] as [Int64])
    for (ops, rule) in families {
      for op in ops { binary(op, longs, other, rule) }
    }
  }

  @Test func fusedMultiplyAdd() {
    typealias Group = (ops: [VectorOp], negatesProduct: Bool, negatesSum: Bool)
    let groups: [Group] = [
      (
        [.fmadd132ps, .fmadd132pd, .fmadd213ps, .fmadd213pd, .fmadd231ps, .fmadd231pd], false,
        false
      ),
      (
        [.fmsub132ps, .fmsub132pd, .fmsub213ps, .fmsub213pd, .fmsub231ps, .fmsub231pd], false,
        true
      ),
      (
        [.fnmadd132ps, .fnmadd132pd, .fnmadd213ps, .fnmadd213pd, .fnmadd231ps, .fnmadd231pd],
        true, false
      ),
      (
        [.fnmsub132ps, .fnmsub132pd, .fnmsub213ps, .fnmsub213pd, .fnmsub231ps, .fnmsub231pd],
        true, true
      ),
      ([.fmadd231ss, .fmadd231sd], false, false),
    ]
    for group in groups {
      for op in group.ops {
        // Which operands are multiplied is in the digits of the name: 1 is the destination.
        let digits = op.form.name.utf8.compactMap { (49...51).contains($0) ? Int($0) - 49 : nil }
        func expected<T: BinaryFloatingPoint>(_ all: [T]) -> T {
          let product = group.negatesProduct ? -all[digits[0]] : all[digits[0]]
          let sum = group.negatesSum ? -all[digits[2]] : all[digits[2]]
          return sum.addingProduct(product, all[digits[1]])
        }
        let isScalar = op.form.fixedLength != nil
        let isDouble = op.form.elementSize == 8
        let (a, b, c) =
          isDouble
          ? (thirdDoubles, firstDoubles, otherDoubles) : (thirdSingles, otherSingles, thirdSingles)
        Encoded.each(op) { width, high in
          let out = Encoded.run(width, a, b, c, high: high) { code, body in
            code.vector(.movups, width, body.result, .register(body.a))
            code.vector(op, width, body.result, body.b, body.c)
          }
          let count = isScalar ? 1 : width.byteCount / op.form.elementSize
          if isDouble {
            expectLanes(out, count, "\(op) \(width)") { i -> Double in
              expected([a[i, as: Double.self], b[i, as: Double.self], c[i, as: Double.self]])
            }
          } else {
            expectLanes(out, count, "\(op) \(width)") { i -> Float in
              expected([a[i, as: Float.self], b[i, as: Float.self], c[i, as: Float.self]])
            }
          }
        }
      }
    }
  }

  @Test func shiftsByConstants() {
    func check<T: FixedWidthInteger & BitwiseCopyable>(
      _ op: VectorOp, _ data: Lanes, _ count: UInt8, _ expected: (T) -> T
    ) {
      Encoded.each(op) { width, high in
        let out = Encoded.run(width, data, data, data, high: high) { code, body in
          code.shift(op, width, body.result, body.a, by: count)
        }
        expectLanes(out, width.byteCount / MemoryLayout<T>.size, "\(op) \(width)") {
          expected(data[$0, as: T.self])
        }
      }
    }
    for count: UInt8 in [1, 7, 23, 31] {
      check(.pslld, words, count) { (x: UInt32) in x << UInt32(count) }
      check(.psrld, words, count) { (x: UInt32) in x >> UInt32(count) }
      check(.psrad, words, count) { (x: Int32) in x >> Int32(count) }
      check(.psllq, longs, count + 20) { (x: UInt64) in x << UInt64(count + 20) }
      check(.psrlq, longs, count + 20) { (x: UInt64) in x >> UInt64(count + 20) }
      check(.psraq, longs, count + 20) { (x: Int64) in x >> Int64(count + 20) }
    }
  }

  // MARK: Comparisons and masks

  private static let predicates: [(UInt8, @Sendable (Float, Float) -> Bool)] = [
    (0, { $0 == $1 }), (1, { $0 < $1 }), (2, { $0 <= $1 }), (3, { $0.isNaN || $1.isNaN }),
    (4, { $0 != $1 }), (5, { !($0 < $1) }), (6, { !($0 <= $1) }), (13, { $0 >= $1 }),
    (14, { $0 > $1 }),
  ]

  @Test func comparisonsAndChoices() {
    var (a, b) = (firstSingles, otherSingles)
    a[5, as: Float.self] = .nan
    b[1, as: Float.self] = .nan
    for (number, holds) in Self.predicates {
      for width in Encoded.widths {
        let out = Encoded.run(width, a, b, thirdSingles) { code, body in
          if width == .z {
            code.vector(.cmppsMask, width, 3, body.a, body.b, immediate: number)
            code.vector(.blendmps, width, body.result, body.c, body.a, mask: 3)
          } else {
            code.vector(.cmpps, width, 11, body.a, body.b, immediate: number)
            code.blend(.blendvps, width, body.result, body.c, .register(body.a), by: 11)
          }
        }
        expectLanes(out, width.byteCount / 4, "comparison \(number) \(width)") { i -> Float in
          holds(a[i, as: Float.self], b[i, as: Float.self])
            ? a[i, as: Float.self] : thirdSingles[i, as: Float.self]
        }
      }
    }
  }

  @Test(.enabled(if: Encoded.hasAVX512)) func maskedArithmetic() {
    for mask in [0, 1, 0x5A5A, 0xFFFF, 0x8000] {
      for zeroing in [false, true] {
        for (width, high) in Encoded.widths.flatMap({ [($0, false), ($0, true)] }) {
          let out = Encoded.run(width, thirdSingles, otherSingles, firstSingles, high: high) {
            code, body in
            code.mov(.rax, mask)
            code.vector(.kmovwFromGPR, .x, 5, .register(GPR.rax.rawValue))
            code.vector(.movups, width, body.result, .register(body.c))
            code.vector(
              .addps, width, body.result, body.a, body.b, mask: 5, zeroing: zeroing)
          }
          expectLanes(out, width.byteCount / 4, "masked addps \(width)") { i -> Float in
            mask >> i & 1 == 1
              ? thirdSingles[i, as: Float.self] + otherSingles[i, as: Float.self]
              : zeroing ? 0 : firstSingles[i, as: Float.self]
          }
        }
      }
    }
  }

  @Test(.enabled(if: Encoded.hasAVX512)) func maskRegisters() {
    let (x, y) = (0x5A3C, 0x0FF1)
    let rules: [(VectorOp, Int)] = [
      (.kandw, x & y), (.kandnw, ~x & y), (.korw, x | y), (.kxorw, x ^ y), (.kxnorw, ~(x ^ y)),
    ]
    for (op, expected) in rules {
      let out = Encoded.run(.x, words, words, words, storesResult: false) { code, _ in
        code.mov(.rax, x)
        code.mov(.r9, y)
        code.vector(.kmovwFromGPR, .x, 1, .register(GPR.rax.rawValue))
        code.vector(.kmovwFromGPR, .x, 7, .register(GPR.r9.rawValue))
        code.vector(op, .x, 4, 1, 7)
        code.vector(.kmovw, .x, 2, .register(4))
        code.vector(.kmovwToGPR, .x, GPR.r10.rawValue, .register(2))
        code.mov32(Memory(.rdi), .r10)
        code.vector(.knotw, .x, 6, .register(2))
        code.vector(.kmovwToGPR, .x, GPR.rax.rawValue, .register(6))
        code.mov32(Memory(.rdi, 4), .rax)
      }
      expectLanes(out, 2, "\(op)") { UInt32(($0 == 0 ? expected : ~expected) & 0xFFFF) }
    }
  }

  /// The comparisons of doubles and of integers that give lanes or masks, and the choices by them.
  @Test func otherComparisonsAndChoices() {
    for width in Encoded.widths {
      let less = Encoded.run(width, thirdDoubles, otherDoubles, firstDoubles) { code, body in
        if width == .z {
          code.vector(.cmppdMask, width, 3, body.a, body.b, immediate: 1)
          code.vector(.blendmpd, width, body.result, body.c, body.a, mask: 3)
        } else {
          code.vector(.cmppd, width, 11, body.a, body.b, immediate: 1)
          code.blend(.blendvpd, width, body.result, body.c, .memory(Memory(.rsi)), by: 11)
        }
      }
      expectLanes(less, width.byteCount / 8, "cmppd \(width)") { i -> Double in
        thirdDoubles[i, as: Double.self] < otherDoubles[i, as: Double.self]
          ? thirdDoubles[i, as: Double.self] : firstDoubles[i, as: Double.self]
      }
    }
    for op in [VectorOp.pcmpdMask, .pcmpqMask, .pcmpudMask, .pcmpuqMask] {
      Encoded.each(op) { width, high in
        let out = Encoded.run(width, words, otherWords, words, storesResult: false, high: high) {
          code, body in
          code.vector(op, width, 2, body.a, body.b, immediate: 1)
          code.vector(.kmovwToGPR, .x, GPR.rax.rawValue, .register(2))
          code.mov32(Memory(.rdi), .rax)
        }
        let size = op.form.elementSize
        let mask = (0..<width.byteCount / size).reduce(UInt32(0)) { mask, i in
          let isLess =
            switch op {
            case .pcmpdMask: words[i, as: Int32.self] < otherWords[i, as: Int32.self]
            case .pcmpqMask: words[i, as: Int64.self] < otherWords[i, as: Int64.self]
            case .pcmpudMask: words[i, as: UInt32.self] < otherWords[i, as: UInt32.self]
            default: words[i, as: UInt64.self] < otherWords[i, as: UInt64.self]
            }
          return isLess ? mask | 1 << UInt32(i) : mask
        }
        expectLanes(out, 1, "\(op) \(width)") { _ in mask }
      }
    }
  }

  /// The lanes of a mask, one beside the other, and 0 behind them; and bits that are counted and cut off.
  @Test func picksAndCounts() {
    func check<T: FixedWidthInteger & BitwiseCopyable>(_ op: VectorOp, _ lanes: Lanes, _: T.Type) {
      Encoded.each(op) { width, high in
        let picked = 0b1010_0110_1101_0010
        let out = Encoded.run(width, lanes, lanes, lanes, high: high) { code, body in
          code.mov(.r9, picked)
          code.vector(.kmovwFromGPR, .x, 3, .register(GPR.r9.rawValue))
          code.vector(op, width, body.a, .register(body.result), mask: 3, zeroing: true)
        }
        let count = width.byteCount / op.form.elementSize
        let expected = (0..<count).filter { picked >> $0 & 1 != 0 }.map { lanes[$0, as: T.self] }
        expectLanes(out, count, "\(op) \(width)") { $0 < expected.count ? expected[$0] : 0 }
      }
    }
    check(.pcompressd, words, Int32.self)
    check(.pcompressq, longs, Int64.self)
    guard !Encoded.widths.isEmpty else { return }
    for (bits, count) in [(0x1234_5678_9ABC_DEF0, 12), (-1, 63), (-1, 64), (0x7FFF, 0)] {
      let out = Encoded.run(.x, words, words, words, storesResult: false) { code, _ in
        code.mov(.r9, bits)
        code.mov(.rcx, count)
        code.bzhi(.r8, .r9, .rcx)
        code.mov(Memory(.rdi), .r8)
        code.popcnt(.rax, .r9)
        code.mov(Memory(.rdi, 8), .rax)
      }
      let low = count < 64 ? UInt64(bitPattern: Int64(bits)) & (1 << UInt64(count) - 1) : .max
      #expect(out[0, as: UInt64.self] == low && out[1, as: Int.self] == bits.nonzeroBitCount)
    }
  }

  /// The rule of a three-operand bit function is its table: bit `4a + 2b + c` of the constant.
  @Test func bitFunctionsOfThree() {
    for table: UInt8 in [0xD8, 0x96, 0x1B] {
      Encoded.each(.pternlogd) { width, high in
        let out = Encoded.run(width, words, otherWords, longs, high: high) { code, body in
          code.vector(.movups, width, body.result, .register(body.a))
          code.vector(.pternlogd, width, body.result, body.b, body.c, immediate: table)
        }
        expectLanes(out, width.byteCount, "pternlogd \(width)") { i -> UInt8 in
          (0..<8).reduce(UInt8(0)) { result, bit in
            let parts = [words, otherWords, longs].map { Int($0[i, as: UInt8.self] >> bit & 1) }
            return result | (table >> UInt8(4 * parts[0] + 2 * parts[1] + parts[2]) & 1) << bit
          }
        }
      }
    }
  }

  /// The instructions that set flags, seen by a jump.
  @Test func flags() {
    let zeros = Lanes([0] as [Int64])
    for (data, expected) in [(zeros, Int64(1)), (words, 2)] {
      func run(_ test: (inout Assembler, Body) -> Void) -> Int64 {
        Encoded.run(.x, data, data, data, storesResult: false) { code, body in
          let isZero = code.label()
          code.mov(.rax, 1)
          test(&code, body)
          code.jump(.equal, isZero)
          code.mov(.rax, 2)
          code.bind(isZero)
          code.mov(Memory(.rdi), .rax)
        }[0, as: Int64.self]
      }
      guard !Encoded.widths.isEmpty else { return }
      #expect(run { $0.vector(.ptest, .x, $1.a, .register($1.a)) } == expected)
      guard Encoded.hasAVX512 else { continue }
      let kortest = run { code, _ in
        code.mov32(.r9, Memory(.rsi))
        code.vector(.kmovwFromGPR, .x, 5, .register(GPR.r9.rawValue))
        code.vector(.kortestw, .x, 5, .register(5))
      }
      #expect(kortest == expected)
    }
  }
}
