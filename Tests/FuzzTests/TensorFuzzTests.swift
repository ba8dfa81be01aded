// Random programs at the level of tensors, held against the naive model and against themselves with
// everything computed after every line. A failure prints the seed and the shortest program found.

import Foundation
import LazyGrad
import TestSupport
import Testing

@Suite struct TensorFuzzTests {
  /// Programs per run; a soak test sets the variable higher.
  private static let count =
    ProcessInfo.processInfo.environment["LAZYGRAD_FUZZ_COUNT"].flatMap { Int($0) } ?? usualCount
  #if DEBUG
    private static let usualCount = 500
  #else
    private static let usualCount = 10_000
  #endif
  /// The first seed, to repeat one failure.
  private static let firstSeed =
    ProcessInfo.processInfo.environment["LAZYGRAD_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

  /// Prints every program before it runs: for one that ends the process.
  private static let isTracing =
    ProcessInfo.processInfo.environment["LAZYGRAD_FUZZ_TRACE"] != nil

  /// What is wrong with LazyGrad's readings of a program, or nil.
  private static func disagreement(_ program: GeneratedProgram) -> String? {
    let lazy = TensorProgram.run(program.lines, isSingle: program.isSingle, isEager: false)
    if let difference = compare(lazy, program) { return "lazy: " + difference }
    let eager = TensorProgram.run(program.lines, isSingle: program.isSingle, isEager: true)
    if let difference = compare(eager, program) { return "eager: " + difference }
    for (k, isElementwise) in program.isElementwise.enumerated() where isElementwise {
      for (x, y) in zip(lazy[k].values, eager[k].values) where x.bitPattern != y.bitPattern {
        return "line \(lazy[k].line): \(x) when computed late, \(y) when computed at once"
      }
    }
    return nil
  }

  private static func compare(_ readings: [Reading], _ program: GeneratedProgram) -> String? {
    for (actual, expected) in zip(readings, program.expected) {
      if actual.line != expected.line || actual.values.count != expected.values.count {
        return "line \(actual.line): no gradient, or one of another shape"
      }
      for (k, (x, y)) in zip(actual.values, expected.values).enumerated()
      where !(abs(x - y) <= program.tolerance) {
        return "line \(actual.line), element \(k): expected \(y), got \(x)"
      }
    }
    return readings.count == program.expected.count ? nil : "a gradient is missing"
  }

  /// The program without the readings behind the one that fails.
  private static func report(_ program: GeneratedProgram, _ difference: String) -> String {
    program.lines.enumerated().map { line, instruction in
      "\(line)\(instruction.isTracking ? "" : " noAutodiff"): \(instruction.kind)"
    }.joined(separator: "\n") + "\n" + difference
  }

  @Test func randomProgramsAgreeWithTheModel() {
    var failures = 0
    for seed in Self.firstSeed..<(Self.firstSeed + UInt64(Self.count)) {
      let program = TensorProgramGenerator.make(seed: seed)
      if Self.isTracing { print("LAZYGRAD_FUZZ_SEED=\(seed)\n\(Self.report(program, ""))") }
      guard let difference = Self.disagreement(program) else { continue }
      Issue.record("LAZYGRAD_FUZZ_SEED=\(seed)\n\(Self.report(program, difference))")
      failures += 1
      if failures == 5 { break }
    }
  }
}
