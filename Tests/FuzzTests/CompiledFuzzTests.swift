// Random functions, compiled and called as they are: the same values for several arguments of the same shapes, with
// gradients taken inside. Bits are the same where nothing is added up; sums may be in another order, because plans
// differ in what else they keep. A failure prints its seed.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct CompiledFuzzTests {
  private static let seeds = FuzzSeeds.range(usual: 500, debug: 60)
  private static let windows: [UInt32] = [10, 61, 1024]

  @Test func randomFunctionsAgreeWithThemselves() {
    var failures = 0
    var replayed = 0
    for seed in Self.seeds {
      let window = Self.windows[Int(seed % 3)]
      let verdict = Tape.withLimits(TapeLimits(windowRecords: window)) {
        Self.difference(SampleProgram(seed: seed), &replayed)
      }
      if let verdict {
        let lines = SampleProgram(seed: seed).run(
          SampleProgram(seed: seed).shapes.map { Tensor.zeros($0) },
          SampleProgram(seed: seed).captured.map { Tensor.zeros($0) }
        ).lines
        Issue.record(
          "LAZYGRAD_FUZZ_SEED=\(seed), window \(window): \(verdict)\n\(lines.joined(separator: "\n"))"
        )
        failures += 1
        if failures >= 5 { break }
      }
    }
    FileHandle.standardError.write(
      Data(
        "fuzz: \(Self.seeds.count) compiled functions, \(replayed) calls replayed, \(failures) disagreements\n"
          .utf8))
    // Few functions look at values.
    #expect(failures > 0 || replayed > Self.seeds.count)
  }

  /// A run of a function, and the gradients of the sum of its results.
  private static func run(
    _ program: SampleProgram, _ t: [Tensor]
  ) -> (outcome: SampleProgram.Outcome, slopes: [Tensor]) {
    let given = program.shapes.count
    let outcome = program.run(Array(t[..<given]), Array(t[given...]))
    var sum = Tensor(0.0, constant: true)
    for result in outcome.results { sum = sum + result.sum() }
    return (outcome, gradients(of: sum, withRespectTo: t))
  }

  private static func difference(_ program: SampleProgram, _ replayed: inout Int) -> String? {
    let seed = program.seed
    let step = compiled { t in
      let (outcome, slopes) = run(SampleProgram(seed: seed), t)
      return outcome.results + slopes
    }
    var random = SeededRandom(seed: seed &* 31)
    do {
      return try catchingTensorErrors {
        for call in 0..<5 {
          let arguments = (program.shapes + program.captured).map { shape -> Tensor in
            let count = shape.reduce(1, *)
            let values = (0..<count).map { _ in Double(random.int(-96...96)) / 64 }
            return Tensor(values, shape: shape)
          }
          let found = step(arguments)
          let (outcome, slopes) = run(program, arguments)
          let expected = outcome.results + slopes
          if !expected.allSatisfy({ $0.elements(as: Double.self).allSatisfy { abs($0) < 1e5 } }) {
            return nil
          }
          if found.count != expected.count { return "\(found.count) results" }
          for (k, (a, b)) in zip(found, expected).enumerated() {
            if a.shape != b.shape || a.dtype != b.dtype || a.isConstant != b.isConstant {
              return
                "call \(call), result \(k): \(a.debugDescription), expected \(b.debugDescription)"
            }
            let isFine = k < outcome.areFine.count && outcome.areFine[k]
            let tolerance = isFine ? 0 : outcome.roundsGradients ? 1e-5 : 1e-9
            let (x, y) = (a.elements(as: Double.self), b.elements(as: Double.self))
            let scale = y.reduce(1) { max($0, abs($1)) }
            for (p, q) in zip(x, y) where p != q && !(abs(p - q) <= tolerance * scale) {
              return "call \(call), result \(k): \(a), expected \(b)"
            }
          }
          if let broken = Tape.current.brokenInvariant() { return broken }
        }
        replayed += step.calls.replayed
        return nil
      }
    } catch { return "\(error)" }
  }
}
