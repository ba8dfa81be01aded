// Random programs at the level of tensors, held against the naive model and against themselves with
// everything computed after every line: the law that laziness can't be observed. A failure prints its
// seed and a program that has been shrunk to what is needed to fail, also as a line for the corpus.
//
// What the programs don't do, and why:
// - Choices that rounding decides: the larger of two sums, the sign of a mean of deviations.
// - Writes to memory that an operation has read which saves a value of its own for the gradient, with
//   the guard off: then a gradient mixes old and new values, which is that mode's documented risk.
// - A reshape that may be a copy: whether it is one depends on strides, which the model doesn't have.
// - A pass that runs into a cleared part; the autodiff tests have those.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct TensorFuzzTests {
  private static let seeds = FuzzSeeds.range(usual: 10_000, debug: 500)

  /// Prints every program before it runs: for one that ends the process.
  private static let isTracing =
    ProcessInfo.processInfo.environment["LAZYGRAD_FUZZ_TRACE"] != nil

  @Test func randomProgramsAgreeWithTheModel() {
    var failures = 0
    let replaysBefore = Tape.current.passesCopied
    for seed in Self.seeds {
      let program = TensorProgramGenerator.make(seed: seed)
      if Self.isTracing {
        Self.print("LAZYGRAD_FUZZ_SEED=\(seed)\n\(ProgramCheck.describe(program))")
      }
      guard let difference = ProgramCheck.disagreement(program) else { continue }
      Issue.record("LAZYGRAD_FUZZ_SEED=\(seed): \(ProgramCheck.report(program, difference))")
      failures += 1
      if failures == 5 { break }
    }
    let replays = Tape.current.passesCopied - replaysBefore
    Self.print(
      "fuzz: \(failures == 5 ? "stopped after" : "\(Self.seeds.count) tensor programs,") "
        + "\(failures) disagreements, \(replays) backward passes copied")
  }

  /// Programs that failed once.
  @Test func keptProgramsAgreeWithTheModel() throws {
    let kept = try KeptProgram.all()
    #expect(!kept.isEmpty)
    var failures = 0
    for (k, program) in kept.enumerated() {
      guard let difference = ProgramCheck.disagreement(program) else { continue }
      failures += 1
      Issue.record("kept program \(k + 1): \(difference)\n\(ProgramCheck.describe(program))")
    }
    Self.print("fuzz: \(kept.count) kept programs, \(failures) disagreements")
  }

  /// Nothing of a kept program is skipped: the corpus is judged as it stands.
  @Test func keptProgramsAreJudgedWhole() throws {
    for (k, program) in try KeptProgram.all().enumerated() {
      let again = ModelMachine.run(program.lines, program.precision)
      #expect(again.lines.count == program.lines.count, "kept program \(k + 1)")
    }
  }

  /// The generator is only worth what it generates.
  @Test func theGeneratorUsesEveryLine() {
    var seen: Set<String> = []
    var (refused, locked, unguarded, untracked) = (0, 0, 0, 0)
    for seed in 1...400 {
      let program = TensorProgramGenerator.make(seed: UInt64(seed))
      let answers = Dictionary(
        program.expected.map { ($0.reading.line, $0.reading.values.first) },
        uniquingKeysWith: { $1 })
      for line in program.lines {
        let name = "\(line.kind)".prefix { $0 != "(" }
        seen.insert(String(name))
        if !line.isTracking { untracked += 1 }
        if !line.isGuarding { unguarded += 1 }
        if case .hostWrite = line.kind, answers[line.id] == 0 { refused += 1 }
        if case .ask = line.kind, answers[line.id] == 0 { locked += 1 }
      }
    }
    #expect(seen.count == 42, "\(seen.sorted())")
    #expect(refused > 50 && locked > 50 && unguarded > 500 && untracked > 500)
  }

  /// The shrinker keeps the fault and what leads to it: no line could be left out, and few are left.
  @Test func theShrinkerFindsTheCulprit() {
    func fails(_ program: JudgedProgram) -> Bool {
      program.lines.contains { if case .softmax = $0.kind { true } else { false } }
    }
    var (tried, left) = (0, 0)
    for seed in 1...60 {
      let program = TensorProgramGenerator.make(seed: UInt64(seed))
      if !fails(program) { continue }
      tried += 1
      let small = ProgramShrinker.shrink(program, fails: fails)
      left += small.lines.count
      for k in small.lines.indices {
        var lines = small.lines
        lines.remove(at: k)
        #expect(
          !fails(ModelMachine.run(lines, small.precision)),
          "line \(k + 1) of\n\(ProgramCheck.describe(small))")
      }
    }
    #expect(tried > 5 && left <= 7 * tried, "\(left) lines in \(tried) programs")
  }

  /// At once: test runners hold output back.
  private static func print(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}
