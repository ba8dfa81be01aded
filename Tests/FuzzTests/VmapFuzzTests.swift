// Random functions of one sample, made functions of a batch, against the loop over the samples: values, and the
// gradients of what they are given and what they capture. A failure prints its seed and the shortest beginning
// of the function that fails.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct VmapFuzzTests {
  private static let seeds = FuzzSeeds.range(usual: 500, debug: 60)
  private static let sizes = [3, 1, 0, 7]
  private static let windows: [UInt32] = [10, 61, 1024]

  @Test func randomFunctionsAgreeWithTheLoop() {
    check(Self.seeds)
  }

  /// Among these the planner once met a routine's operands that were gone, which ended most runs.
  @Test func functionsThatFailedOnceAgree() { check(1440..<1500) }

  private func check(_ seeds: Range<UInt64>) {
    var failures = 0
    var compared = 0
    for seed in seeds {
      let program = SampleProgram(seed: seed)
      for (k, size) in Self.sizes.enumerated() {
        let window = Self.windows[(Int(truncatingIfNeeded: seed) + k) % Self.windows.count]
        switch Self.verdict(program, size: size, window: window) {
        case .agree: compared += 1
        case .large: break
        case .differ(let difference):
          Issue.record(
            "LAZYGRAD_FUZZ_SEED=\(seed), \(size) samples, window \(window): \(difference)\n\(Self.shortest(program, size, window))"
          )
          failures += 1
        }
      }
      if failures >= 5 { break }
    }
    FileHandle.standardError.write(
      Data("fuzz: vmap of \(seeds.count) functions, \(failures) disagreements\n".utf8))
    // Few values grow beyond what is compared.
    #expect(failures > 0 || compared > 3 * seeds.count)
  }

  private enum Verdict {
    case agree
    /// The values are too large to be compared.
    case large
    case differ(String)
  }

  /// The beginning of a function that fails.
  private static func shortest(_ program: SampleProgram, _ size: Int, _ window: UInt32) -> String {
    for length in 1...program.length {
      let beginning = SampleProgram(seed: program.seed, length: length)
      guard case .differ(let difference) = verdict(beginning, size: size, window: window) else {
        continue
      }
      let operands = program.shapes.map { Tensor.zeros($0) }
      // What fails may be an error.
      let lines = try? catchingTensorErrors {
        beginning.run(operands, program.captured.map { Tensor.zeros($0) }).lines
      }
      return "\(difference)\noperands \(program.shapes), axes \(program.axes), captured "
        + "\(program.captured)\n\((lines ?? []).joined(separator: "\n"))"
    }
    return ""
  }

  // MARK: One function

  /// Operands with their batches, and what is captured: multiples of 1/64, as variables.
  private static func operands(_ program: SampleProgram, _ size: Int) -> ([Tensor], [Tensor]) {
    var random = SeededRandom(seed: program.seed &* 31 &+ UInt64(size))
    func tensor(_ shape: [Int]) -> Tensor {
      Tensor(
        (0..<shape.reduce(1, *)).map { _ in Double(random.int(-96...96)) / 64 }, shape: shape)
    }
    let given = zip(program.shapes, program.axes).map { shape, axis in
      var whole = shape
      if let axis { whole.insert(size, at: axis) }
      return tensor(whole)
    }
    return (given, program.captured.map(tensor))
  }

  /// Results of all samples, and their gradients.
  private struct Answer {
    var results: [Tensor]
    var slopes: [Tensor]
    var areFine: [Bool]
    var roundsGradients = false
  }

  /// The sum of results, with weights that tell elements apart, and its gradients.
  private static func slopes(_ results: [Tensor], _ variables: [Tensor]) -> [Tensor] {
    var sum = Tensor(0.0, constant: true)
    for result in results {
      let weights = (0..<result.count).map { 0.25 + Double(($0 * 37) % 11) / 8 }
      sum = sum + (result * Tensor(weights, shape: result.shape, constant: true)).sum()
    }
    return gradients(of: sum, withRespectTo: variables)
  }

  private static func batched(_ program: SampleProgram, _ size: Int) -> Answer {
    let (given, captured) = operands(program, size)
    var areFine: [Bool] = []
    var roundsGradients = false
    let results = vmap(inAxes: program.axes) { sample in
      let outcome = program.run(sample, captured)
      (areFine, roundsGradients) = (outcome.areFine, outcome.roundsGradients)
      return outcome.results
    }(given)
    eval(results)
    return Answer(
      results: results, slopes: slopes(results, given + captured), areFine: areFine,
      roundsGradients: roundsGradients)
  }

  private static func looped(_ program: SampleProgram, _ size: Int) -> Answer {
    let (given, captured) = operands(program, size)
    var samples: [[Tensor]] = []
    for k in 0..<size {
      let sample = zip(given, program.axes).map { operand, axis in
        guard let axis else { return operand }
        var order = Array(0..<operand.rank)
        order.insert(order.remove(at: axis), at: 0)
        return +operand.transposed(order)[k]
      }
      samples.append(program.run(sample, captured).results)
    }
    let results = (0..<samples[0].count).map { r in stack(samples.map { $0[r] }) }
    return Answer(results: results, slopes: slopes(results, given + captured), areFine: [])
  }

  private static func verdict(_ program: SampleProgram, size: Int, window: UInt32) -> Verdict {
    do {
      return try catchingTensorErrors {
        if size == 0 { return withoutSamples(program) }
        let expected = looped(program, size)
        let all = (expected.results + expected.slopes).flatMap { $0.elements(as: Double.self) }
        if !all.allSatisfy({ abs($0) < 1e5 }) { return .large }
        let found = Tape.withLimits(TapeLimits(windowRecords: window)) { batched(program, size) }
        if let broken = Tape.current.brokenInvariant() { return .differ(broken) }
        return compare(found, expected)
      }
    } catch { return .differ("\(error)") }
  }

  private static func compare(_ found: Answer, _ expected: Answer) -> Verdict {
    for (k, (a, b)) in zip(found.results, expected.results).enumerated() {
      // Some of them are gradients.
      let tolerance = found.areFine[k] ? 0 : found.roundsGradients ? 1e-5 : 1e-9
      if let difference = difference(a, b, tolerance) {
        return .differ("result \(k): \(difference)")
      }
    }
    for (k, (a, b)) in zip(found.slopes, expected.slopes).enumerated() {
      if let difference = difference(a, b, found.roundsGradients ? 1e-5 : 1e-9) {
        return .differ("gradient \(k): \(difference)")
      }
    }
    return found.results.count == expected.results.count ? .agree : .differ("results are missing")
  }

  private static func difference(_ a: Tensor, _ b: Tensor, _ tolerance: Double) -> String? {
    if a.shape != b.shape { return "shape \(a.shape), expected \(b.shape)" }
    if a.dtype != b.dtype { return "type \(a.dtype), expected \(b.dtype)" }
    let (x, y) = (a.elements(as: Double.self), b.elements(as: Double.self))
    let scale = y.reduce(1) { max($0, abs($1)) }
    for (i, (p, q)) in zip(x, y).enumerated() {
      if p != q, !(abs(p - q) <= tolerance * scale) {
        return "element \(i): \(p), expected \(q)"
      }
    }
    return nil
  }

  /// A batch without samples gives results of the right shapes and gradients of zeros.
  private static func withoutSamples(_ program: SampleProgram) -> Verdict {
    let found = batched(program, 0)
    let one = program.run(
      program.shapes.map { Tensor.full($0, 0.5) }, program.captured.map { Tensor.full($0, 0.5) })
    for (a, b) in zip(found.results, one.results) where a.shape != [0] + b.shape {
      return .differ("shape \(a.shape) for results of shape \(b.shape)")
    }
    for (k, slope) in found.slopes.enumerated()
    where slope.elements(as: Double.self).contains(where: { $0 != 0 }) {
      return .differ("gradient \(k) without samples is not 0")
    }
    return .agree
  }
}
