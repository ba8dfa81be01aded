// Tests of the elementary functions in the tile kernels, in machine code and in the interpreter: errors
// in units in the last place against the C library in a higher precision, special values, independence
// of the position in a tile. Exact references are ElementaryFixtureTests.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

/// A function of one operand and how exact it is: an elementary one, or one that is rounded correctly.
private struct Elementary: Sendable, CustomTestStringConvertible {
  let op: Opcode
  /// The bounds in ULP for float32 and for float64.
  let bounds: (single: Double, double: Double)
  let reference: @Sendable (Double) -> Double
  let precise: @Sendable (UnaryFunction.Wide) -> UnaryFunction.Wide

  var testDescription: String { op.info.name }

  static let all: [Elementary] =
    UnaryFunction.all.map { entry in
      let reference = entry.function.reference
      return .init(
        op: entry.opcode, bounds: entry.function.bounds, reference: { reference($0, $0) },
        precise: entry.precise)
    } + [
      .init(
        op: .sqrt, bounds: (0.5, 0.5), reference: { $0.squareRoot() },
        precise: { $0.squareRoot() }),
      .init(op: .reciprocal, bounds: (0.5, 0.5), reference: { 1 / $0 }, precise: { 1 / $0 }),
    ]
}

@Suite struct ElementaryTests {
  /// Functions that state a larger error: the C library's, and a series'.
  static let special: Set<Opcode> = [.lgamma, .polygamma]

  /// The tests go over `UnaryFunction.all`: none may be missing there.
  @Test func everyFunctionIsTested() {
    let functions = Opcode.allCases.filter { $0.info.function != nil && $0.info.arity == 1 }
    #expect(Set(UnaryFunction.all.map(\.opcode)) == Set(functions))
    for opcode in Opcode.allCases {
      guard let function = opcode.info.function else { continue }
      #expect(function.bounds.single <= 1.5, "\(function)")
      #expect(
        function.bounds.double <= 1.5 || ElementaryTests.special.contains(opcode), "\(function)")
    }
  }

  @Test("float32 error", arguments: Elementary.all, Tier.all)
  private func singleError(_ function: Elementary, _ tier: Tier) {
    let results = apply(function.op, .float32, singles, on: tier)
    var worst = (error: 0.0, at: Float(0))
    for (x, y) in zip(singles, results) {
      let e = error(y, function.reference(Double(x)))
      if e > worst.error { worst = (e, x) }
    }
    #expect(worst.error <= function.bounds.single + 1e-6, "at \(worst.at)")
  }

  @Test("float64 error", arguments: Elementary.all, Tier.all)
  private func doubleError(_ function: Elementary, _ tier: Tier) {
    let results = apply(function.op, .float64, doubles, on: tier)
    #if arch(x86_64)
      let bound = function.bounds.double + 1e-3
    #else
      let bound = function.bounds.double + 1
    #endif
    var worst = (error: 0.0, at: 0.0)
    for (x, y) in zip(doubles, results) {
      let e = error(y, function.precise(UnaryFunction.Wide(x)))
      if e > worst.error { worst = (e, x) }
    }
    #expect(worst.error <= bound, "at \(worst.at)")
  }

  /// Pairs of numbers of all exponents, of neighbouring ones, and of special ones with everything.
  static func pairs<T: BinaryFloatingPoint>(_ samples: [T]) -> ([T], [T]) {
    var random = SeededRandom(seed: 11)
    var (x, y): ([T], [T]) = ([], [])
    for (i, a) in samples.enumerated() {
      x.append(a)
      switch i % 3 {
      case 0: y.append(samples[random.int(0...(samples.count - 1))])
      case 1: y.append(a * T(random.uniform(-2...2)))
      default: y.append(a.isFinite ? a * T(exp2(random.uniform(-12...12))) : 1)
      }
    }
    let special: [T] = [0, -0.0, 1, -2, .infinity, -.infinity, .nan, .leastNonzeroMagnitude]
    for a in special {
      x += special.map { _ in a }
      y += special
    }
    return (x, y)
  }

  #if arch(x86_64)
    @Test("Error of functions of two operands", arguments: Tier.all)
    func pairErrors(_ tier: Tier) {
      let functions: [(Opcode, (Float80, Float80) -> Float80)] = [
        (.hypot, { hypot($0, $1) }), (.arctan2, { atan2($0, $1) }), (.fmod, { fmod($0, $1) }),
      ]
      for (opcode, precise) in functions {
        let bounds = opcode.info.function!.bounds
        let (x, y) = Self.pairs(singles)
        for (i, r) in apply(opcode, .float32, x, y, on: tier).enumerated() {
          let e = error(r, precise(Float80(x[i]), Float80(y[i])))
          if e > bounds.single + 1e-3 {
            Issue.record("\(opcode)(\(x[i]), \(y[i])) = \(r): \(e) ULP")
            break
          }
        }
        let (u, v) = Self.pairs(doubles)
        for (i, r) in apply(opcode, .float64, u, v, on: tier).enumerated() {
          let e = error(r, precise(Float80(u[i]), Float80(v[i])))
          if e > bounds.double + 1e-3 {
            Issue.record("\(opcode)(\(u[i]), \(v[i])) = \(r): \(e) ULP")
            break
          }
        }
      }
    }
  #endif

  @Test(arguments: Tier.all)
  func specialValues(_ tier: Tier) {
    let inf = Float.infinity
    // Operation, argument, result; NaN stands for itself.
    let table: [(Opcode, Float, Float)] = [
      (.exp, inf, inf), (.exp, -inf, 0), (.exp, 0, 1), (.exp, 1e9, inf), (.exp, -1e9, 0),
      (.expm1, inf, inf), (.expm1, -inf, -1), (.expm1, -0.0, -0.0), (.expm1, 0x1p-133, 0x1p-133),
      (.log, 0, -inf), (.log, -0.0, -inf), (.log, -1, .nan), (.log, inf, inf), (.log, 1, 0),
      (.log, -inf, .nan), (.log1p, -1, -inf), (.log1p, -2, .nan), (.log1p, inf, inf),
      (.log1p, -0.0, -0.0), (.log1p, -0x1p-133, -0x1p-133), (.log1p, -inf, .nan),
      (.sin, -0.0, -0.0), (.sin, inf, .nan), (.cos, 0, 1), (.cos, -inf, .nan),
      (.tanh, -0.0, -0.0), (.tanh, inf, 1), (.tanh, -inf, -1), (.tanh, -0x1p-133, -0x1p-133),
      (.sigmoid, inf, 1), (.sigmoid, -inf, 0), (.sigmoid, 0, 0.5), (.sigmoid, -1e9, 0),
      (.erf, -0.0, -0.0), (.erf, inf, 1), (.erf, -inf, -1), (.sqrt, -0.0, -0.0),
      (.sqrt, -1, .nan), (.sqrt, inf, inf),
      (.exp2, inf, inf), (.exp2, -inf, 0), (.exp2, 10, 1024), (.exp2, -149, 0x1p-149),
      (.exp2, 1e9, inf), (.exp2, -1e9, 0), (.log2, 0, -inf), (.log2, -0.0, -inf), (.log2, -1, .nan),
      (.log2, inf, inf), (.log2, 0x1p-149, -149), (.log2, 1024, 10), (.log10, 0, -inf),
      (.log10, -inf, .nan), (.log10, inf, inf), (.log10, 1000, 3), (.tan, -0.0, -0.0),
      (.tan, inf, .nan), (.tan, -0x1p-133, -0x1p-133), (.arcsin, -0.0, -0.0), (.arcsin, 1.5, .nan),
      (.arcsin, -inf, .nan), (.arccos, 1, 0), (.arccos, -1.5, .nan), (.arccos, inf, .nan),
      (.arctan, -0.0, -0.0), (.arctan, inf, 1.5707964), (.arctan, -inf, -1.5707964),
      (.arctan, 0x1p-133, 0x1p-133), (.sinh, -0.0, -0.0), (.sinh, inf, inf), (.sinh, -inf, -inf),
      (.sinh, -0x1p-133, -0x1p-133), (.cosh, 0, 1), (.cosh, inf, inf), (.cosh, -inf, inf),
      (.reciprocal, -0.0, -inf), (.reciprocal, -inf, -0.0),
      (.neg, 0, -0.0), (.neg, -inf, inf), (.abs, -0.0, 0), (.abs, -inf, inf),
      (.sign, -0.0, 0), (.sign, -inf, -1), (.sign, 3, 1), (.relu, -inf, 0), (.relu, inf, inf),
      (.relu, -0.0, 0),
      (.floor, -0.5, -1), (.floor, -0.0, -0.0), (.floor, 2.75, 2), (.floor, -2, -2),
      (.floor, 0.99999994, 0), (.floor, 8_388_607.5, 8_388_607), (.floor, -1e30, -1e30),
      (.floor, -4_194_304.5, -4_194_305), (.floor, -inf, -inf), (.floor, 0x1p-133, 0),
      (.floor, -0x1p-133, -1), (.square, -3, 9),
    ]
    let withSignOfZero: Set<Opcode> = [
      .expm1, .log1p, .sin, .tan, .tanh, .arcsin, .arctan, .sinh, .erf, .sqrt, .neg, .abs, .floor,
      .reciprocal, .sign,
      .relu,
    ]
    for (op, x, expected) in table {
      let single = apply(op, .float32, [x], on: tier)[0]
      let wide = apply(op, .float64, [Double(x)], on: tier)[0]
      if expected.isNaN {
        #expect(single.isNaN && wide.isNaN, "\(op)(\(x)): \(single), \(wide)")
      } else {
        #expect(single == expected, "\(op)(\(x)): \(single)")
        #expect(Float(wide) == expected || expected.isSubnormal, "\(op)(\(x)): \(wide)")
        if expected == 0, withSignOfZero.contains(op) {
          #expect(single.sign == expected.sign && wide.sign == expected.sign, "\(op)(\(x))")
        }
      }
    }
    let propagating = Elementary.all.map(\.op) + [.neg, .abs, .sign, .square, .relu, .floor]
    for op in propagating {
      #expect(apply(op, .float32, [Float.nan], on: tier)[0].isNaN, "\(op)")
      #expect(apply(op, .float64, [Double.nan], on: tier)[0].isNaN, "\(op)")
    }
  }

  @Test(arguments: Tier.all)
  func powers(_ tier: Tier) {
    let special: [Float] = [
      0, -0.0, 1, -1, 2, -2, 0.5, 4_194_304, -4_194_304, -0.5, 3, -3, .infinity, -.infinity, .nan,
      0x1p-149, -0x1p-149,
      3e38, -3e38, 4_194_303, 4_194_305, -8_388_607, 16_777_215, 16_777_216, 1e30, -1e-30,
      0.99999994, -1.0000001,
    ]
    var x: [Float] = []
    var y: [Float] = []
    for base in special {
      for exponent in special {
        x.append(base)
        y.append(exponent)
      }
    }
    for i in 0..<40_000 {
      let t = Float(i) / 40_000
      x += [10 * t, -10 * t, Float(bitPattern: UInt32(i) &* 53_687)]
      y += [Float(i % 83) - 41.3, Float(i % 61) - 30, 4 * t - 2]
    }
    for (i, r) in apply(.pow, .float32, x, y, on: tier).enumerated() {
      let e = error(r, pow(Double(x[i]), Double(y[i])))
      if e > Opcode.pow.info.function!.bounds.single {
        Issue.record("pow(\(x[i]), \(y[i])) = \(r): \(e) ULP")
      }
    }
    // Here the special cases only: float64 is the C library's function, so what it is worth is held
    // against exact values in ElementaryFixtureTests.
    let wideX = x.map(Double.init)
    let wideY = y.map(Double.init)
    for (i, r) in apply(.pow, .float64, wideX, wideY, on: tier).enumerated() {
      let isSpecial = i < special.count * special.count
      if isSpecial, error(r, pow(wideX[i], wideY[i])) > 1 {
        Issue.record("pow(\(x[i]), \(y[i])) = \(r)")
      }
    }
  }

  /// Results that are numbers of single precision have no error.
  @Test(arguments: Tier.all)
  func wholePowers(_ tier: Tier) {
    var (x, y, expected): ([Float], [Float], [Float]) = ([], [], [])
    for base in -40...40 {
      for exponent in 0...24 {
        let exact = (0..<exponent).reduce(1.0) { power, _ in power * Double(base) }
        guard exact.magnitude <= 0x1p24 || base.magnitude.nonzeroBitCount == 1 else { break }
        x.append(Float(base))
        y.append(Float(exponent))
        expected.append(Float(exact))
      }
    }
    for root in 1...4095 {
      x += [Float(root * root), Float(root * root)]
      y += [0.5, 1]
      expected += [Float(root), Float(root * root)]
    }
    #expect(apply(.pow, .float32, x, y, on: tier) == expected)
  }

  /// Out of range, also with exponents next to zero, where the logarithm of zero would be multiplied by them.
  @Test(arguments: Tier.all)
  func powersOfZeroAndOutOfRange(_ tier: Tier) {
    let exponents: [Float] = [
      .leastNonzeroMagnitude, .leastNormalMagnitude, 0x1p-100, 0x1p-97, 1e-6, 0.5, 1, 3, 200, 1e6,
      0x1p22, 0x1p23, .greatestFiniteMagnitude,
    ]
    let bases: [Float] = [
      0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .leastNormalMagnitude,
      .leastNormalMagnitude.nextDown, 1e-30, 0.5, 1, -1, 1.5, -3, 1e30, .greatestFiniteMagnitude,
    ]
    var (x, y): ([Float], [Float]) = ([], [])
    for base in bases {
      for exponent in exponents + exponents.map({ -$0 }) + [0, -0.0] {
        x.append(base)
        y.append(exponent)
      }
    }
    for (i, r) in apply(.pow, .float32, x, y, on: tier).enumerated() {
      let expected = pow(Double(x[i]), Double(y[i]))
      if error(r, expected) > 1 || r.sign != expected.sign && !r.isNaN {
        Issue.record("pow(\(x[i]), \(y[i])) = \(r), expected \(expected)")
      }
    }
  }

  /// Bases with small logarithms and large exponents, where the logarithm's relative error is the result's: next to
  /// 1, and next to the ends of the parts into which its table divides numbers.
  static func powersNextToOne() -> (x: [Float], y: [Float]) {
    var random = SeededRandom(seed: 21)
    var (x, y): ([Float], [Float]) = ([], [])
    for center in [1, 0.96875, 1.0625, 0.90625, 1.1875, 0.71875, 1.4375, 2, 0.5] as [Double] {
      for i in 0..<20_000 {
        let a = Float(center * (1 + random.uniform(-1...1) * exp2(-Double(i % 20) - 4)))
        let logarithm = log2(Double(a))
        guard logarithm != 0 else { continue }
        x.append(a)
        y.append(Float(random.uniform(-150...129) / logarithm))
      }
    }
    return (x, y)
  }

  @Test(arguments: Tier.all)
  func powersOfNumbersNextToOne(_ tier: Tier) {
    let (x, y) = Self.powersNextToOne()
    for (i, r) in apply(.pow, .float32, x, y, on: tier).enumerated() {
      let e = error(r, pow(Double(x[i]), Double(y[i])))
      if e > Opcode.pow.info.function!.bounds.single {
        Issue.record("pow(\(x[i]), \(y[i])) = \(r): \(e) ULP")
        break
      }
    }
  }

  #if arch(x86_64)
    /// Arguments next to multiples of pi/2, where most of their digits cancel.
    @Test("Angles next to quarters of a circle", arguments: Tier.all)
    func quarters(_ tier: Tier) {
      var x: [Float] = []
      for k in 1...63_660 {
        let nearest = Float(Double(k) * (Double.pi / 2))
        x += [nearest.nextDown, nearest, nearest.nextUp]
      }
      let functions: [(Opcode, Double, (Float80) -> Float80)] = [
        (.sin, Opcode.sin.info.function!.bounds.single, { sin($0) }),
        (.cos, Opcode.cos.info.function!.bounds.single, { cos($0) }),
      ]
      for (opcode, bound, precise) in functions {
        for (a, r) in zip(x, apply(opcode, .float32, x, on: tier)) {
          let e = error(r, precise(Float80(a)))
          if e > bound {
            Issue.record("\(opcode)(\(a)) = \(r): \(e) ULP")
            break
          }
        }
      }
    }

    /// Quotients next to where the arc is turned, and next to powers of 2, in every octant; and points at
    /// infinity, at zero and of denormal numbers.
    @Test("Angles of points in every octant", arguments: Tier.all)
    func octants(_ tier: Tier) {
      var random = SeededRandom(seed: 3)
      var (y, x): ([Float], [Float]) = ([], [])
      for i in 0..<200_000 {
        let a = Float(random.uniform(0.5...1))
        let quotient = random.pick([0.125, 0.25, 0.5, 1]) * random.uniform(0.95...1.06)
        let b = Float(Double(a) * quotient)
        let (u, v) = i & 1 == 0 ? (a, b) : (b, a)
        y.append(i & 2 == 0 ? u : -u)
        x.append(i & 4 == 0 ? v : -v)
      }
      let special: [Float] = [
        0, 1, .infinity, .nan, 0x1p-149, 0x1.8p-147, 0x1p-127, 3e38, 0x1p126, 0x1p-60, 0x1p100,
      ]
      for a in special + special.map(-) {
        for b in special + special.map(-) {
          y.append(a)
          x.append(b)
        }
      }
      for (i, r) in apply(.arctan2, .float32, y, x, on: tier).enumerated() {
        let e = error(r, atan2(Float80(y[i]), Float80(x[i])))
        if e > 1.5 { Issue.record("arctan2(\(y[i]), \(x[i])) = \(r): \(e) ULP") }
      }
    }
  #endif

  /// Neighbours, also such that take the slow paths, don't change a lane's bits.
  @Test("position", arguments: Elementary.all, Tier.all)
  private func position(_ function: Elementary, _ tier: Tier) {
    let x: [Float] = [0.3, 1e6, -4, 0x1p-140, 7, .infinity, 2.5, .nan, 11, -0.2, 88, 0.9]
    let together = apply(function.op, .float32, x, on: tier)
    let wide = x.map(Double.init)
    let togetherWide = apply(function.op, .float64, wide, on: tier)
    for i in x.indices {
      let alone = apply(function.op, .float32, [x[i]], on: tier)[0]
      #expect(alone.bitPattern == together[i].bitPattern || alone.isNaN && together[i].isNaN)
      let aloneWide = apply(function.op, .float64, [wide[i]], on: tier)[0]
      #expect(
        aloneWide.bitPattern == togetherWide[i].bitPattern
          || aloneWide.isNaN && togetherWide[i].isNaN)
    }
  }
}
