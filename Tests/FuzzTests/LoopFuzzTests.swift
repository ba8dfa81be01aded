// Random programs with loops, planned by turns and as a whole: the same bits, and of short ones those of the model as
// far as rounding goes. A failure prints its seed and a program that has been shrunk to what is needed to fail.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct LoopFuzzTests {
  private static let seeds = FuzzSeeds.range(usual: 150, debug: 20)

  @Test func loopsChangeNoBit() {
    var (failures, lines) = (0, 0)
    for seed in Self.seeds {
      let program = LoopProgramGenerator.make(seed: seed)
      lines += program.lines.count
      guard let difference = ProgramCheck.disagreementOfLoops(program) else { continue }
      let small = ProgramShrinker.shrink(program) { ProgramCheck.disagreementOfLoops($0) != nil }
      Issue.record(
        """
        LAZYGRAD_FUZZ_SEED=\(seed): \(difference)
        shrunk from \(program.lines.count) lines to \(small.lines.count): \
        \(ProgramCheck.disagreementOfLoops(small) ?? "passes now")
        \(ProgramCheck.describe(small))
        \(KeptProgram.encoded(small))
        """)
      failures += 1
      if failures == 5 { break }
    }
    FileHandle.standardError.write(
      Data(
        "fuzz: \(Self.seeds.count) programs with loops, \(lines) lines, \(failures) disagreements\n"
          .utf8))
  }

  /// The generator is only worth what it generates: most programs have a loop that is found.
  @Test func theGeneratorMakesLoops() {
    var (rolled, tried, seen) = (0, 0, Set<String>())
    for seed in 1...100 {
      let program = LoopProgramGenerator.make(seed: UInt64(seed))
      for line in program.lines { seen.insert(String("\(line.kind)".prefix { $0 != "(" })) }
      tried += 1
      if program.lines.count > 60 { rolled += 1 }
    }
    #expect(seen.count >= 20, "\(seen.sorted())")
    #expect(2 * rolled > tried, "\(rolled) of \(tried)")
  }
}
