// Tests of the elementary functions in the tile kernels and in machine code: errors in units in the
// last place against the C library in a higher precision, special values, independence of the
// position in a tile.

import Foundation
import LazyGradJIT
import Testing

/// One function of one operand, with its references and documented bounds.
private struct Elementary: Sendable, CustomTestStringConvertible {
  let op: Opcode
  /// The bounds in ULP for float32 and for float64.
  let bounds: (single: Double, double: Double)
  let reference: @Sendable (Double) -> Double
  #if arch(x86_64)
    let precise: @Sendable (Float80) -> Float80
  #else
    let precise: @Sendable (Double) -> Double
  #endif

  var testDescription: String { op.info.name }

  static let all: [Elementary] = [
    .init(op: .exp, bounds: (1, 2), reference: { exp($0) }, precise: { exp($0) }),
    .init(op: .expm1, bounds: (2, 3), reference: { expm1($0) }, precise: { expm1($0) }),
    .init(op: .log, bounds: (1, 2), reference: { log($0) }, precise: { log($0) }),
    .init(op: .log1p, bounds: (2, 3), reference: { log1p($0) }, precise: { log1p($0) }),
    .init(op: .sin, bounds: (2, 3), reference: { sin($0) }, precise: { sin($0) }),
    .init(op: .cos, bounds: (2, 3), reference: { cos($0) }, precise: { cos($0) }),
    .init(op: .tanh, bounds: (2, 3), reference: { tanh($0) }, precise: { tanh($0) }),
    .init(
      op: .sigmoid, bounds: (2, 3), reference: { 1 / (1 + exp(-$0)) },
      precise: { 1 / (1 + exp(-$0)) }),
    .init(op: .erf, bounds: (2, 3), reference: { erf($0) }, precise: { erf($0) }),
    .init(
      op: .sqrt, bounds: (0.5, 0.5), reference: { $0.squareRoot() },
      precise: { $0.squareRoot() }),
    .init(op: .reciprocal, bounds: (0.5, 0.5), reference: { 1 / $0 }, precise: { 1 / $0 }),
  ]
}

/// Applies an operation to an array, by the kernels of an instruction set. Memory is padded as array
/// memory is.
private func apply<T>(
  _ op: Opcode, _ type: ScalarType, _ a: [T], _ b: [T]? = nil, on set: InstructionSet
) -> [T] {
  let padding = Array(repeating: a[0], count: 8)
  let x = a + padding
  let y = (b ?? a) + padding
  let shape = LayoutTable.shared.intern(dims: [a.count])
  let isBinary = op.info.arity == 2
  let nodes = [
    GraphNode(.leaf, type, shape: shape, attribute: shape, slot: 0),
    GraphNode(.leaf, type, shape: shape, attribute: shape, slot: 1),
    GraphNode(op, type, shape: shape, a: 0, b: isBinary ? 1 : -1, isRoot: true),
  ]
  return x.withUnsafeBytes { x in
    y.withUnsafeBytes { y in
      let results = try! PlanRunner.run(
        Graph(nodes: nodes, leafCount: 2, scalarCount: 0),
        leaves: [x.baseAddress!, y.baseAddress!], scalars: [], threads: 1, instructionSet: set)
      return withExtendedLifetime(results) {
        Array(
          UnsafeRawBufferPointer(
            start: results[2]!.pointer, count: a.count * MemoryLayout<T>.size
          ).bindMemory(to: T.self))
      }
    }
  }
}

/// The distance of a result from the exact value in units in the last place of `T`. Infinite where
/// NaN, an infinity or the sign of a zero is wrong; overflow counts as the next number that would
/// follow the largest one.
private func error<T: BinaryFloatingPoint, R: BinaryFloatingPoint>(_ y: T, _ exact: R) -> Double {
  if y.isNaN || exact.isNaN { return y.isNaN && exact.isNaN ? 0 : .infinity }
  if y == 0, exact == 0 { return y.sign == exact.sign ? 0 : .infinity }
  let overflow = R(
    sign: .plus, exponent: R.Exponent(T.greatestFiniteMagnitude.exponent) + 1, significand: 1)
  func limited(_ x: R) -> R { min(max(x, -overflow), overflow) }
  let smallest = R.Exponent(T.leastNormalMagnitude.exponent)
  let exponent = exact == 0 ? smallest : max(limited(exact).exponent, smallest)
  let unit = R(
    sign: .plus, exponent: exponent - R.Exponent(T.significandBitCount), significand: 1)
  return Double(abs(limited(R(y)) - limited(exact)) / unit)
}

/// Floats of all exponents and both signs, among them the special ones.
private let singles: [Float] = {
  var result: [Float] = [0, -0.0, 1, -1, .infinity, -.infinity, .nan, 89, -104, 88.72284, -103.97]
  var bits: UInt32 = 0
  // 2^32 / 21467 gives 200 000 patterns; the step is a prime.
  while true {
    result.append(Float(bitPattern: bits))
    let (next, overflow) = bits.addingReportingOverflow(21_467)
    if overflow { break }
    bits = next
  }
  return result
}()

/// As `singles`: many in the interesting range, some of all exponents.
private let doubles: [Double] = {
  var result: [Double] = [0, -0.0, 1, -1, .infinity, -.infinity, .nan, 710, -746, 709.78, -745.1]
  for i in 0..<30_000 {
    let unit = Double(i) / 30_000 + 1e-7 * Double(i % 977)
    result += [6 * unit, -6 * unit, 750 * unit, -750 * unit]
  }
  var bits: UInt64 = 0
  while true {
    result.append(Double(bitPattern: bits))
    // 2^64 over about 60 000; odd, so the low bits vary as well.
    let (next, overflow) = bits.addingReportingOverflow(307_445_734_561_825)
    if overflow { break }
    bits = next
  }
  return result
}()

@Suite struct ElementaryTests {
  @Test("float32 error", arguments: Elementary.all, NativeCode.available)
  private func singleError(_ function: Elementary, _ set: InstructionSet) {
    let results = apply(function.op, .float32, singles, on: set)
    var worst = (error: 0.0, at: Float(0))
    for (x, y) in zip(singles, results) {
      let e = error(y, function.reference(Double(x)))
      if e > worst.error { worst = (e, x) }
    }
    #expect(worst.error <= function.bounds.single + 1e-6, "at \(worst.at)")
  }

  @Test("float64 error", arguments: Elementary.all, NativeCode.available)
  private func doubleError(_ function: Elementary, _ set: InstructionSet) {
    let results = apply(function.op, .float64, doubles, on: set)
    #if arch(x86_64)
      let bound = function.bounds.double + 1e-3
    #else
      let bound = function.bounds.double + 1
    #endif
    var worst = (error: 0.0, at: 0.0)
    for (x, y) in zip(doubles, results) {
      #if arch(x86_64)
        let e = error(y, function.precise(Float80(x)))
      #else
        let e = error(y, function.precise(x))
      #endif
      if e > worst.error { worst = (e, x) }
    }
    #expect(worst.error <= bound, "at \(worst.at)")
  }

  @Test(arguments: NativeCode.available)
  func specialValues(_ set: InstructionSet) {
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
      (.sqrt, -1, .nan), (.sqrt, inf, inf), (.reciprocal, -0.0, -inf), (.reciprocal, -inf, -0.0),
      (.neg, 0, -0.0), (.neg, -inf, inf), (.abs, -0.0, 0), (.abs, -inf, inf),
      (.sign, -0.0, 0), (.sign, -inf, -1), (.sign, 3, 1), (.relu, -inf, 0), (.relu, inf, inf),
      (.relu, -0.0, 0),
      (.floor, -0.5, -1), (.floor, -0.0, -0.0), (.floor, 2.75, 2), (.floor, -2, -2),
      (.floor, 0.99999994, 0), (.floor, 8_388_607.5, 8_388_607), (.floor, -1e30, -1e30),
      (.floor, -4_194_304.5, -4_194_305), (.floor, -inf, -inf), (.floor, 0x1p-133, 0),
      (.floor, -0x1p-133, -1), (.square, -3, 9),
    ]
    let withSignOfZero: Set<Opcode> = [
      .expm1, .log1p, .sin, .tanh, .erf, .sqrt, .neg, .abs, .floor, .reciprocal, .sign,
      .relu,
    ]
    for (op, x, expected) in table {
      let single = apply(op, .float32, [x], on: set)[0]
      let wide = apply(op, .float64, [Double(x)], on: set)[0]
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
      #expect(apply(op, .float32, [Float.nan], on: set)[0].isNaN, "\(op)")
      #expect(apply(op, .float64, [Double.nan], on: set)[0].isNaN, "\(op)")
    }
  }

  @Test(arguments: NativeCode.available)
  func powers(_ set: InstructionSet) {
    let special: [Float] = [
      0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, .infinity, -.infinity, .nan, 0x1p-149, -0x1p-149,
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
    for (i, r) in apply(.pow, .float32, x, y, on: set).enumerated() {
      let e = error(r, pow(Double(x[i]), Double(y[i])))
      if e > 2 { Issue.record("pow(\(x[i]), \(y[i])) = \(r): \(e) ULP") }
    }
    let wideX = x.map(Double.init)
    let wideY = y.map(Double.init)
    for (i, r) in apply(.pow, .float64, wideX, wideY, on: set).enumerated() {
      let e = error(r, pow(wideX[i], wideY[i]))
      if e > 3 { Issue.record("pow(\(x[i]), \(y[i])) = \(r): \(e) ULP") }
    }
  }

  /// Neighbours, also such that take the slow paths, don't change a lane's bits.
  @Test("position", arguments: Elementary.all, NativeCode.available)
  private func position(_ function: Elementary, _ set: InstructionSet) {
    let x: [Float] = [0.3, 1e6, -4, 0x1p-140, 7, .infinity, 2.5, .nan, 11, -0.2, 88, 0.9]
    let together = apply(function.op, .float32, x, on: set)
    let wide = x.map(Double.init)
    let togetherWide = apply(function.op, .float64, wide, on: set)
    for i in x.indices {
      let alone = apply(function.op, .float32, [x[i]], on: set)[0]
      #expect(alone.bitPattern == together[i].bitPattern || alone.isNaN && together[i].isNaN)
      let aloneWide = apply(function.op, .float64, [wide[i]], on: set)[0]
      #expect(
        aloneWide.bitPattern == togetherWide[i].bitPattern
          || aloneWide.isNaN && togetherWide[i].isNaN)
    }
  }
}
