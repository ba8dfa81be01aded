// Holds a run of LazyGrad against the model's, reports what differs, and keeps programs in a file.

import Foundation
import LazyGradJIT

enum ProgramCheck {
  /// Limits of windows that the programs, which record a few hundred operations at most, go across.
  private static let windows: [UInt32] = [10, 23, 97]

  /// What is wrong with LazyGrad's readings of a program, or nil.
  static func disagreement(_ program: JudgedProgram) -> String? {
    do throws(LazyMachine.Contradiction) { return try disagreementOfValues(program) } catch {
      return error.text
    }
  }

  private static func disagreementOfValues(
    _ program: JudgedProgram
  ) throws(LazyMachine.Contradiction) -> String? {
    let lazy = try LazyMachine.run(program.lines, program.precision, .lazy)
    if let difference = compare(lazy, program) { return "lazy: " + difference }
    // The same again, when every plan is known and whole windows are recognised; and once more, when
    // backward passes are copied.
    for round in 2...3 {
      let again = try LazyMachine.run(program.lines, program.precision, .lazy)
      for (first, second) in zip(lazy, again) {
        for (x, y) in zip(first.values, second.values) where x.bitPattern != y.bitPattern {
          return "line \(first.line): \(x) the first time, \(y) in round \(round)"
        }
      }
    }
    // What is remembered of values that nothing is differentiated by must not be taken for these.
    _ = try LazyMachine.run(program.lines, program.precision, .eagerAndCleared)
    let eager = try LazyMachine.run(program.lines, program.precision, .eager)
    if let difference = compare(eager, lazy, program) { return "eager: " + difference }
    for records in windows {
      let cut = try Tape.withLimits(TapeLimits(windowRecords: records)) {
        () throws(LazyMachine.Contradiction) in
        try LazyMachine.run(program.lines, program.precision, .lazy)
      }
      if let difference = compare(cut, lazy, program) { return "window \(records): " + difference }
    }
    return nil
  }

  /// Another way to run a program must agree with the model too, and with the first to the bit where no
  /// order of summation is involved.
  private static func compare(
    _ readings: [Reading], _ lazy: [Reading], _ program: JudgedProgram
  ) -> String? {
    if let difference = compare(readings, program) { return difference }
    for (k, expectation) in program.expected.enumerated() where expectation.isElementwise {
      for (x, y) in zip(lazy[k].values, readings[k].values) where x.bitPattern != y.bitPattern {
        return "line \(lazy[k].line): \(x) when computed late, \(y) when computed earlier"
      }
    }
    return nil
  }

  static func compare(_ readings: [Reading], _ program: JudgedProgram) -> String? {
    for (actual, expectation) in zip(readings, program.expected) {
      let expected = expectation.reading
      if actual.line != expected.line || actual.values.count != expected.values.count {
        return "line \(actual.line): expected a reading of line \(expected.line) of "
          + "\(expected.values.count) elements, got \(actual.values.count)"
      }
      if actual.precision != expected.precision {
        return "line \(actual.line): expected \(expected.precision!), got \(actual.precision!)"
      }
      let tolerance =
        expectation.isAnswer ? 0 : expectation.isRough ? program.tolerance : program.fineTolerance
      for (k, (x, y)) in zip(actual.values, expected.values).enumerated()
      where x != y && !(abs(x - y) <= tolerance) {
        return "line \(actual.line), element \(k): expected \(y), got \(x)"
      }
    }
    return readings.count == program.expected.count ? nil : "readings are missing"
  }

  static func describe(_ program: JudgedProgram) -> String {
    program.lines.map { line in
      "\(line.id)\(line.isTracking ? "" : " noAutodiff")\(line.isGuarding ? "" : " memGuardOff")"
        + ": \(line.kind)"
    }.joined(separator: "\n")
  }

  static func report(_ program: JudgedProgram, _ difference: String) -> String {
    let small = ProgramShrinker.shrink(program) { disagreement($0) != nil }
    return """
      \(difference)
      shrunk from \(program.lines.count) lines to \(small.lines.count): \
      \(disagreement(small) ?? "passes now")
      \(describe(small))
      \(KeptProgram.encoded(small))
      """
  }
}

/// The corpus: one program a line.
struct KeptProgram: Codable {
  /// Lines from before there were others than these two.
  var isSingle: Bool?
  var precision: Precision?
  let lines: [Instruction]

  static func encoded(_ program: JudgedProgram) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let kept = KeptProgram(precision: program.precision, lines: program.lines)
    return (try? encoder.encode(kept)).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  static func all() throws -> [JudgedProgram] {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Kept/programs.jsonl")
    let decoder = JSONDecoder()
    return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map {
      let kept = try decoder.decode(KeptProgram.self, from: Data($0.utf8))
      return ModelMachine.run(
        kept.lines, kept.precision ?? (kept.isSingle == true ? .single : .double))
    }
  }
}
