// Elementary functions against exact values that mpmath computed (Fixtures/elementary.py): angles next
// to multiples of pi/2 in every binade, powers, where formulas change, denormal results. Needs no
// reference of the machine that the tests run on.

import Foundation
import LazyGradJIT
import Testing

/// The rows of one operation and type.
private struct Fixture: Sendable, CustomTestStringConvertible {
  let opcode: Opcode
  let type: ScalarType
  var x: [UInt64] = []
  var y: [UInt64] = []
  /// The exact results: a number of the type, what it lacks in units, the unit's exponent.
  var exact: [(near: UInt64, above: Double, unit: Int)] = []

  var testDescription: String { "\(opcode.info.name) \(type.name)" }

  /// What the function states.
  var bound: Double {
    let bounds = opcode.info.function!.bounds
    return type == .float32 ? bounds.single : bounds.double
  }

  func number(_ bits: UInt64) -> Double {
    type == .float32
      ? Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits))) : Double(bitPattern: bits)
  }

  /// The results of a tier.
  func results(on tier: Tier) -> [Double] {
    if type == .float32 {
      func floats(_ bits: [UInt64]) -> [Float] {
        bits.map { Float(bitPattern: UInt32(truncatingIfNeeded: $0)) }
      }
      return apply(opcode, type, floats(x), floats(y), on: tier).map(Double.init)
    }
    return apply(
      opcode, type, x.map(Double.init(bitPattern:)), y.map(Double.init(bitPattern:)), on: tier)
  }

  static let all: [Fixture] = {
    let path = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().appendingPathComponent("Fixtures/elementary.txt")
    let text = try! String(contentsOf: path, encoding: .utf8)
    let names = Dictionary(
      uniqueKeysWithValues: Opcode.allCases.map { ("\($0)", $0) })
    var fixtures: [String: Fixture] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      let key = "\(words[0]) \(words[1])"
      var fixture =
        fixtures[key]
        ?? Fixture(opcode: names[String(words[0])]!, type: words[1] == "32" ? .float32 : .float64)
      fixture.x.append(UInt64(words[2], radix: 16)!)
      fixture.y.append(words[3] == "-" ? fixture.x.last! : UInt64(words[3], radix: 16)!)
      fixture.exact.append((UInt64(words[4], radix: 16)!, Double(words[5])!, Int(words[6])!))
      fixtures[key] = fixture
    }
    return fixtures.values.sorted { $0.testDescription < $1.testDescription }
  }()
}

@Suite struct ElementaryFixtureTests {
  @Test func theFixtureIsComplete() {
    let functions = Opcode.allCases.filter { $0.info.function != nil }
    #expect(Fixture.all.count == 2 * functions.count)
    for fixture in Fixture.all { #expect(fixture.x.count > 150, "\(fixture.testDescription)") }
  }

  @Test("exact values", arguments: Fixture.all, Tier.all)
  private func exactValues(_ fixture: Fixture, _ tier: Tier) {
    var worst = (error: 0.0, at: 0)
    for (i, result) in fixture.results(on: tier).enumerated() {
      let (near, above, unit) = fixture.exact[i]
      let difference = result - fixture.number(near)
      let e = abs(Double(sign: .plus, exponent: -unit, significand: difference) - above)
      if !(e <= worst.error) { worst = (e.isNaN ? .infinity : e, i) }
    }
    let (x, y) = (fixture.number(fixture.x[worst.at]), fixture.number(fixture.y[worst.at]))
    #expect(worst.error <= fixture.bound, "at \(x), \(y)")
  }

  /// Machine code for AVX2 and AVX-512 and what runs where its memory is refused give the same bits; so do
  /// portable kernels that round once.
  @Test("equal bits", arguments: Fixture.all)
  private func equalBits(_ fixture: Fixture) {
    guard let first = Tier.fused.first else { return }
    let expected = fixture.results(on: first).map(\.bitPattern)
    for tier in Tier.fused.dropFirst() {
      #expect(fixture.results(on: tier).map(\.bitPattern) == expected, "\(tier.testDescription)")
    }
  }
}
