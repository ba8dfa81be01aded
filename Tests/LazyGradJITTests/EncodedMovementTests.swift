// Emitted vector instructions are run and compared with plain Swift, the second half: conversions,
// rounding, moves of all kinds, shuffles, and whole functions with scalar code and loops.

import LazyGradJIT
import Testing

@Suite struct EncodedMovementTests {
  /// `result = op(a)`, from a register and from memory; `lanes` of a width.
  private func unary<T: BitwiseCopyable, R: BitwiseCopyable>(
    _ op: VectorOp, _ a: Lanes, immediate: UInt8? = nil, _ lanes: (VectorWidth) -> Int,
    _ expected: (T) -> R
  ) {
    Encoded.each(op) { width, high in
      for fromMemory in [false, true] {
        let out = Encoded.run(width, a, a, a, high: high) { code, body in
          code.vector(
            op, width, body.result,
            fromMemory ? .memory(Memory(.rsi)) : .register(body.a), immediate: immediate)
        }
        expectLanes(out, lanes(width), "\(op) \(width) \(fromMemory ? "memory" : "register")") {
          expected(a[$0, as: T.self])
        }
      }
    }
  }

  private func fours(_ width: VectorWidth) -> Int { width.byteCount / 4 }
  private func eights(_ width: VectorWidth) -> Int { width.byteCount / 8 }

  @Test func conversions() {
    let small = Lanes((0..<16).map { Float($0) * 1.7 - 12.3 })
    let smallDoubles = Lanes((0..<8).map { Double($0) * 1.7 - 6.3 })
    unary(.cvtdq2ps, words, fours) { (x: Int32) in Float(x) }
    unary(.cvtps2dq, small, fours) { (x: Float) in Int32(x.rounded(.toNearestOrEven)) }
    unary(.cvttps2dq, small, fours) { (x: Float) in Int32(x) }
    unary(.cvtps2pd, firstSingles, eights) { (x: Float) in Double(x) }
    unary(.cvtdq2pd, words, eights) { (x: Int32) in Double(x) }
    unary(.cvtpd2ps, firstDoubles, eights) { (x: Double) in Float(x) }
    unary(.cvttpd2dq, smallDoubles, eights) { (x: Double) in Int32(x) }
    unary(.cvtqq2pd, longs, eights) { (x: Int64) in Double(x) }
    unary(.cvtqq2ps, longs, eights) { (x: Int64) in Float(x) }
    unary(.cvttpd2qq, smallDoubles, eights) { (x: Double) in Int64(x) }
    unary(.cvttps2qq, small, eights) { (x: Float) in Int64(x) }
  }

  /// From and to half precision, whose bits the portable conversions have too.
  @Test func halfPrecision() {
    let halves = Lanes((0..<32).map { UInt16($0) &* 2113 &+ 7 })
    unary(.cvtph2ps, halves, fours) { (x: UInt16) in Float16Format.float(x).bitPattern }
    let singles = Lanes((0..<16).map { Float($0) * 1.71 - 12.3 })
    Encoded.each(.cvtps2phStore) { width, high in
      let out = Encoded.run(
        width, singles, singles, singles, storesResult: false, high: high
      ) {
        $0.vector(.cvtps2phStore, width, $1.a, .memory(Memory(.rdi)), immediate: 0)
      }
      expectLanes(out, fours(width), "cvtps2ph \(width)") {
        Float16Format.bits(singles[$0, as: Float.self])
      }
      #expect(out.bytes[(width.byteCount / 2)...].allSatisfy { $0 == 0xEE })
    }
    guard !Encoded.widths.isEmpty else { return }
    let out = Encoded.run(.x, halves, halves, halves, storesResult: false) { code, body in
      code.vector(.pextrwStore, .x, body.a, .memory(Memory(.rdi)), immediate: 3)
    }
    #expect(out[0, as: UInt16.self] == halves[3, as: UInt16.self])
    #expect(out.bytes[2...].allSatisfy { $0 == 0xEE })
  }

  @Test func rootsRoundingAndMagnitudes() {
    let positive = Lanes((0..<16).map { Float($0) * 3.7 })
    let positiveDoubles = Lanes((0..<8).map { Double($0) * 3.7 })
    unary(.sqrtps, positive, fours) { (x: Float) in x.squareRoot() }
    unary(.sqrtpd, positiveDoubles, eights) { (x: Double) in x.squareRoot() }
    let rules: [FloatingPointRoundingRule] = [.toNearestOrEven, .down, .up, .towardZero]
    for (number, rule) in rules.enumerated() {
      let immediate = UInt8(number)
      for op in [VectorOp.roundps, .rndscaleps] {
        unary(op, thirdSingles, immediate: immediate, fours) { (x: Float) in x.rounded(rule) }
      }
      for op in [VectorOp.roundpd, .rndscalepd] {
        unary(op, thirdDoubles, immediate: immediate, eights) { (x: Double) in x.rounded(rule) }
      }
    }
    unary(.pabsd, words, fours) { (x: Int32) in x.magnitude }
    unary(.pabsq, longs, eights) { (x: Int64) in x.magnitude }
    Encoded.each(.scalefps) { width, high in
      let out = Encoded.run(width, thirdSingles, thirdSingles, firstSingles, high: high) {
        $0.vector(.scalefps, width, $1.result, $1.a, $1.b)
      }
      expectLanes(out, fours(width), "scalefps \(width)") { i -> Float in
        let x = thirdSingles[i, as: Float.self]
        return x * Float(sign: .plus, exponent: Int(x.rounded(.down)), significand: 1)
      }
    }
  }

  // MARK: Moves

  @Test func movesAndBroadcasts() {
    for op in [VectorOp.movups, .movaps, .movupd] {
      Encoded.each(op) { width, high in
        let out = Encoded.run(width, words, words, words, high: high) {
          $0.vector(op, width, $1.result, .register($1.a))
        }
        expectLanes(out, width.byteCount, "\(op) \(width)") { words[$0, as: UInt8.self] }
      }
    }
    func firstOf<T: BitwiseCopyable>(_ op: VectorOp, _ data: Lanes, _ type: T.Type) {
      let first = data[0, as: T.self]
      unary(op, data, { $0.byteCount / MemoryLayout<T>.size }) { (_: T) in first }
    }
    firstOf(.broadcastss, words, Int32.self)
    firstOf(.pbroadcastd, words, Int32.self)
    firstOf(.pbroadcastw, words, Int16.self)
    firstOf(.broadcastsd, longs, Int64.self)
    firstOf(.pbroadcastq, longs, Int64.self)
    Encoded.each(.pbroadcastdFromGPR) { width, high in
      let out = Encoded.run(width, words, words, words, high: high) { code, body in
        code.mov(.r11, -77)
        code.vector(.pbroadcastdFromGPR, width, body.result, .register(GPR.r11.rawValue))
      }
      expectLanes(out, fours(width), "pbroadcastd \(width)") { _ in Int32(-77) }
    }
  }

  @Test func wideningAndNarrowing() {
    unary(.pmovzxbd, words, fours) { (x: UInt8) in UInt32(x) }
    unary(.pmovzxbq, words, eights) { (x: UInt8) in UInt64(x) }
    unary(.pmovzxwd, words, fours) { (x: UInt16) in UInt32(x) }
    unary(.pmovsxdq, words, eights) { (x: Int32) in Int64(x) }
    unary(.pmovzxdq, words, eights) { (x: UInt32) in UInt64(x) }
    func store<T: BitwiseCopyable>(
      _ op: VectorOp, _ count: (VectorWidth) -> Int, _ expected: (Int) -> T
    ) {
      Encoded.each(op) { width, high in
        let out = Encoded.run(width, longs, longs, longs, storesResult: false, high: high) {
          $0.vector(op, width, $1.a, .memory(Memory(.rdi)))
        }
        let n = count(width)
        expectLanes(out, n, "\(op) \(width)", expected)
        let rest = out.bytes[(n * MemoryLayout<T>.size)...]
        #expect(rest.allSatisfy { $0 == 0xEE }, "\(op) \(width) writes too much")
      }
    }
    store(.pmovdbStore, fours) { UInt8(truncatingIfNeeded: longs[$0, as: Int32.self]) }
    store(.pmovdwStore, fours) { UInt16(truncatingIfNeeded: longs[$0, as: Int32.self]) }
    store(.pmovqbStore, eights) { UInt8(truncatingIfNeeded: longs[$0, as: Int64.self]) }
    store(.pmovqdStore, eights) { Int32(truncatingIfNeeded: longs[$0, as: Int64.self]) }
    Encoded.each(.packusdw) { width, high in
      let out = Encoded.run(width, words, otherWords, words, high: high) {
        $0.vector(.packusdw, width, $1.result, $1.a, $1.b)
      }
      expectLanes(out, width.byteCount / 2, "packusdw \(width)") { i in
        // In each 16 bytes: four of the first operand, then four of the second.
        let source = i % 8 < 4 ? words : otherWords
        return UInt16(clamping: source[i / 8 * 4 + i % 4, as: Int32.self])
      }
    }
    Encoded.each(.packuswb) { width, high in
      let out = Encoded.run(width, words, otherWords, words, high: high) {
        $0.vector(.packuswb, width, $1.result, $1.a, $1.b)
      }
      expectLanes(out, width.byteCount, "packuswb \(width)") { i in
        let source = i % 16 < 8 ? words : otherWords
        return UInt8(clamping: source[i / 16 * 8 + i % 8, as: Int16.self])
      }
    }
  }

  /// Loads and stores of a part, for every number of elements, touch no other.
  @Test func maskedLoadsAndStores() {
    for width in Encoded.widths {
      for count in 0...fours(width) {
        let lanes = Lanes((0..<16).map { Int32($0 < count ? -1 : 0) })
        let out = Encoded.run(width, firstSingles, lanes, firstSingles, storesResult: false) {
          code, body in
          if width == .z {
            code.mov(.rax, (1 << count) - 1)
            code.vector(.kmovwFromGPR, .x, 1, .register(GPR.rax.rawValue))
            code.vector(
              .movups, width, body.result, .memory(Memory(.rsi)), mask: 1, zeroing: true)
            code.vector(.addps, width, body.result, body.result, body.result)
            code.vector(.movupsStore, width, body.result, .memory(Memory(.rdi)), mask: 1)
          } else {
            code.vector(.maskmovps, width, body.result, body.b, .memory(Memory(.rsi)))
            code.vector(.addps, width, body.result, body.result, body.result)
            code.vector(.maskmovpsStore, width, body.result, body.b, .memory(Memory(.rdi)))
          }
        }
        expectLanes(out, count, "masked move \(width)") { i -> Float in
          firstSingles[i, as: Float.self] + firstSingles[i, as: Float.self]
        }
        #expect(out.bytes[(count * 4)...].allSatisfy { $0 == 0xEE })
      }
    }
    for width in Encoded.widths where width != .z {
      for count in 0...eights(width) {
        let lanes = Lanes((0..<8).map { Int64($0 < count ? -1 : 0) })
        let out = Encoded.run(width, longs, lanes, longs, storesResult: false) { code, body in
          code.vector(.maskmovpd, width, body.result, body.b, .memory(Memory(.rsi)))
          code.vector(.maskmovpdStore, width, body.result, body.b, .memory(Memory(.rdi)))
        }
        expectLanes(out, count, "maskmovpd \(width)") { longs[$0, as: Int64.self] }
        #expect(out.bytes[(count * 8)...].allSatisfy { $0 == 0xEE })
      }
    }
  }

  // MARK: Shuffles

  /// `result = op(a, b)` of 4-byte or 8-byte elements; `expected` names the source of an element
  /// by its number in `a` followed by `b`, `n` elements each.
  private func shuffle<T: BitwiseCopyable>(
    _ op: VectorOp, as type: T.Type, immediate: UInt8? = nil,
    _ expected: (_ i: Int, _ n: Int) -> Int
  ) {
    Encoded.each(op) { width, high in
      let out = Encoded.run(width, words, otherWords, words, high: high) { code, body in
        if op.form.shape == .rm {
          code.vector(op, width, body.result, .register(body.a), immediate: immediate)
        } else {
          code.vector(op, width, body.result, body.a, body.b, immediate: immediate)
        }
      }
      let n = width.byteCount / MemoryLayout<T>.size
      expectLanes(out, n, "\(op) \(width)") { i -> T in
        let from = expected(i, n)
        return from < n ? words[from, as: T.self] : otherWords[from - n, as: T.self]
      }
    }
  }

  @Test func shuffles() {
    let code: UInt8 = 0b10_01_11_00
    let digits = (0..<4).map { Int(code) >> (2 * $0) & 3 }
    let f = Float.self
    let d = Double.self
    shuffle(.shufps, as: f, immediate: code) { i, n in
      i / 4 * 4 + digits[i % 4] + (i % 4 < 2 ? 0 : n)
    }
    shuffle(.shufpd, as: d, immediate: 0b0110_1001) { i, n in
      i / 2 * 2 + (0b0110_1001 >> i & 1) + (i % 2 == 0 ? 0 : n)
    }
    shuffle(.permilps, as: f, immediate: code) { i, _ in i / 4 * 4 + digits[i % 4] }
    shuffle(.permpd, as: d, immediate: code) { i, _ in i / 4 * 4 + digits[i % 4] }
    shuffle(.permq, as: d, immediate: code) { i, _ in i / 4 * 4 + digits[i % 4] }
    shuffle(.unpcklps, as: f) { i, n in i / 4 * 4 + i % 4 / 2 + (i % 2) * n }
    shuffle(.unpckhps, as: f) { i, n in i / 4 * 4 + 2 + i % 4 / 2 + (i % 2) * n }
    shuffle(.unpcklpd, as: d) { i, n in i / 2 * 2 + (i % 2) * n }
    shuffle(.unpckhpd, as: d) { i, n in i / 2 * 2 + 1 + (i % 2) * n }
    shuffle(.movshdup, as: f) { i, _ in i | 1 }
    // The upper half of the second operand, then that of the first.
    shuffle(.movhlps, as: d) { i, n in i == 0 ? 1 + n : 1 }
    shuffle(.perm2f128, as: d, immediate: 0x21) { i, n in i < 2 ? i + 2 : n + i - 2 }
    shuffle(.insertf128, as: d, immediate: 1) { i, n in i < 2 ? i : n + i - 2 }
    shuffle(.insertf32x4, as: d, immediate: 1) { i, n in i / 2 == 1 ? n + i - 2 : i }
    shuffle(.insertf64x4, as: d, immediate: 1) { i, n in i < 4 ? i : n + i - 4 }
    for op in [VectorOp.shuff32x4, .shuff64x2] {
      shuffle(op, as: d, immediate: code) { i, n in
        if n == 4 {
          return i < 2 ? (Int(code) & 1) * 2 + i : n + (Int(code) >> 1 & 1) * 2 + i - 2
        }
        return digits[i / 2] * 2 + i % 2 + (i / 2 < 2 ? 0 : n)
      }
    }
  }

  @Test func shufflesByVectors() {
    let order = Lanes((0..<16).map { Int32($0 &* 7 &+ 3) })
    for op in [VectorOp.permps, .permd] {
      Encoded.each(op) { width, high in
        let out = Encoded.run(width, order, words, words, high: high) {
          $0.vector(op, width, $1.result, $1.a, $1.b)
        }
        expectLanes(out, fours(width), "\(op) \(width)") { i in
          words[(i * 7 + 3) % fours(width), as: Int32.self]
        }
      }
    }
    Encoded.each(.permt2ps) { width, high in
      let out = Encoded.run(width, words, order, otherWords, high: high) { code, body in
        code.vector(.movups, width, body.result, .register(body.a))
        code.vector(.permt2ps, width, body.result, body.b, body.c)
      }
      let n = fours(width)
      expectLanes(out, n, "permt2ps \(width)") { i in
        let from = (i * 7 + 3) % (2 * n)
        return from < n ? words[from, as: Int32.self] : otherWords[from - n, as: Int32.self]
      }
    }
    let extracts: [(VectorOp, Int)] = [
      (.extractf128, 16), (.extractf32x4, 16), (.extractf64x4, 32),
    ]
    for (op, size) in extracts {
      Encoded.each(op) { width, high in
        let out = Encoded.run(width, words, words, words, storesResult: false, high: high) {
          $0.vector(op, width, $1.a, .memory(Memory(.rdi)), immediate: 1)
        }
        expectLanes(out, size, "\(op) \(width)") { words[size + $0, as: UInt8.self] }
        #expect(out.bytes[size...].allSatisfy { $0 == 0xEE })
      }
    }
  }

  // MARK: Whole functions

  /// A loop over eight numbers with a jump forward in it: the sum of those above a constant.
  @Test(.enabled(if: !Encoded.widths.isEmpty)) func loopsAndJumps() {
    let out = Encoded.run(.x, longs, longs, longs, storesResult: false) { code, _ in
      code.push(.r12)
      code.mov(.rax, 0)
      code.mov(.r12, 0)
      let top = code.here()
      let skip = code.label()
      code.mov(.r9, Memory(.rsi, index: .r12, scale: 8))
      code.cmp(.r9, 1 << 20)
      code.jump(.lessOrEqual, skip)
      code.add(.rax, .r9)
      code.bind(skip)
      code.add(.r12, 1)
      code.cmp(.r12, 8)
      code.jump(.notEqual, top)
      code.pop(.r12)
      code.mov(Memory(.rdi), .rax)
      code.lea(.r8, Memory(.rax, 5, index: .rax, scale: 2))
      code.imul(.r8, .r8, -3)
      code.shl(.r8, 2)
      code.shr(.r8, 1)
      code.mov(Memory(.rdi, 8), .r8)
      code.mov(.r11, Int.min + 5)
      code.mov(Memory(.rdi, 16), .r11)
    }
    let sum = (0..<8).reduce(Int64(0)) {
      let x = longs[$1, as: Int64.self]
      return x > 1 << 20 ? $0 &+ x : $0
    }
    let product = UInt64(bitPattern: (sum &* 3 &+ 5) &* -3)
    let expected: [UInt64] = [
      UInt64(bitPattern: sum), (product << 2) >> 1, UInt64(bitPattern: Int64.min + 5),
    ]
    expectLanes(out, 3, "loop") { expected[$0] }
  }

  /// Constants behind the code, full and repeated, and scalar moves between the register files.
  @Test func constantsAndScalarMoves() {
    for width in Encoded.widths {
      let out = Encoded.run(width, words, words, words) { code, body in
        let numbers = code.constant(UInt32(0x0102_0304), count: fours(width))
        code.vector(.movups, width, body.c, .memory(numbers))
        if width == .z {
          let one = code.constant(UInt32(7)).broadcast
          code.vector(.paddd, width, body.result, body.c, .memory(one))
        } else {
          code.vector(.broadcastss, width, body.b, .memory(code.constant(UInt32(7))))
          code.vector(.paddd, width, body.result, body.c, body.b)
        }
      }
      expectLanes(out, fours(width), "constants \(width)") { _ in UInt32(0x0102_030B) }
    }
    guard !Encoded.widths.isEmpty else { return }
    let out = Encoded.run(.x, firstSingles, firstDoubles, longs, storesResult: false) {
      code, body in
      code.vector(.movssLoad, .x, 1, .memory(Memory(.rsi, 4)))
      code.vector(.cvtss2sd, .x, 1, 1, .register(1))
      code.vector(.movsdStore, .x, 1, .memory(Memory(.rdi)))
      code.vector(.movsdLoad, .x, 2, .memory(Memory(.rdx, 8)))
      code.vector(.cvtsd2ss, .x, 2, 2, .register(2))
      code.vector(.movssStore, .x, 2, .memory(Memory(.rdi, 8)))
      code.vector(.movq, .x, 9, .memory(Memory(.rcx)))
      code.vector(.movqStore, .x, 9, .register(GPR.r10.rawValue))
      code.mov(Memory(.rdi, 16), .r10)
      code.vector(.movdStore, .x, 9, .register(GPR.rax.rawValue))
      code.vector(.movd, .x, 3, .register(GPR.rax.rawValue))
      code.vector(.movdStore, .x, 3, .memory(Memory(.rdi, 12)))
      code.vector(.movmskps, .x, GPR.r8.rawValue, .register(body.a))
      code.mov32(Memory(.rdi, 24), .r8)
    }
    expectLanes(out, 1, "cvtss2sd") { _ in Double(firstSingles[1, as: Float.self]) }
    #expect(out[2, as: Float.self] == Float(firstDoubles[1, as: Double.self]))
    #expect(out[2, as: Int64.self] == longs[0, as: Int64.self])
    #expect(out[3, as: Int32.self] == longs[0, as: Int32.self])
    let signs = (0..<4).reduce(0) {
      $0 | (firstSingles[$1, as: Float.self].sign == .minus ? 1 << $1 : 0)
    }
    #expect(out[6, as: Int32.self] == Int32(signs))
  }
}
