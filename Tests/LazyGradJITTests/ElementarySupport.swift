// What the tests of elementary functions share: running one operation on one tier, errors in units in
// the last place, samples.

import LazyGradJIT
import Testing

/// What a plan runs on: an instruction set, with machine code or with code memory refused.
struct Tier: Sendable, CustomTestStringConvertible {
  let set: InstructionSet
  var isRefused = false

  var testDescription: String { self.set.name + (isRefused ? ", code refused" : "") }

  static let all =
    NativeCode.available.map { Tier(set: $0) }
    + NativeCode.available.filter { $0 != .portable }.map { Tier(set: $0, isRefused: true) }

  /// Those that round a multiplication and an addition once, and so have the same bits: machine code and what
  /// stands in for it, whose steps run everywhere, and the portable kernels where PortableArithmetic says so.
  static let fused =
    PortableArithmetic.isFused
    ? all + [Tier(set: .avx2, isRefused: true)] : all.filter { $0.set != .portable }
}

/// Applies an operation to an array. Memory is padded as array memory is.
func apply<T>(
  _ op: Opcode, _ type: ScalarType, _ a: [T], _ b: [T]? = nil, on tier: Tier
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
        leaves: [x.baseAddress!, y.baseAddress!], scalars: [], threads: 1, instructionSet: tier.set,
        refusesCode: tier.isRefused)
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
func error<T: BinaryFloatingPoint, R: BinaryFloatingPoint>(_ y: T, _ exact: R) -> Double {
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
let singles: [Float] = {
  var result: [Float] = [0, -0.0, 1, -1, .infinity, -.infinity, .nan, 89, -104, 88.72284, -103.97]
  var bits: UInt32 = 0
  // 2^32 / 8191 gives 524 000 patterns; the step is a prime.
  while true {
    result.append(Float(bitPattern: bits))
    let (next, overflow) = bits.addingReportingOverflow(8_191)
    if overflow { break }
    bits = next
  }
  return result
}()

/// As `singles`: many in the interesting range, some of all exponents.
let doubles: [Double] = {
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
