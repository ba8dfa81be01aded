// Holds runs of a program with its loops planned once for all turns against one that is planned as a whole.

import LazyGradJIT

extension ProgramCheck {
  /// Most lines of a program that is held against the model.
  private static let linesOfTheModel = 60

  /// What is wrong with the readings of a program with loops, or nil.
  static func disagreementOfLoops(_ program: JudgedProgram) -> String? {
    do throws(LazyMachine.Contradiction) { return try loops(program) } catch { return error.text }
  }

  private static func loops(
    _ program: JudgedProgram
  ) throws(LazyMachine.Contradiction) -> String? {
    let whole = try run(program, .off)
    // Many turns may make a rounding error as large as they like: four times as large with each doubling of a sine.
    if program.precision == .double, program.lines.count <= linesOfTheModel,
      let difference = compare(whole, program)
    {
      return "whole: " + difference
    }
    // Short loops as well, which are planned as a whole at last.
    var small = RollLimits.usual
    (small.operations, small.turns, small.common, small.runs) = (16, 3, 4, 2)
    for (name, limits, rounds) in [("all", RollLimits.all, 2), ("small", small, 4)] {
      for round in 1...rounds {
        let rolled = try run(program, limits)
        if let difference = difference(whole, rolled) {
          return "loops, \(name), round \(round): " + difference
        }
      }
    }
    for window in [61, 200] as [UInt32] {
      let cut = try run(program, .all, window: window)
      if let difference = difference(whole, cut) { return "window \(window): " + difference }
    }
    return nil
  }

  private static func run(
    _ program: JudgedProgram, _ rolling: RollLimits, window: UInt32? = nil
  ) throws(LazyMachine.Contradiction) -> [Reading] {
    var limits = TapeLimits.usual
    if let window { limits.windowRecords = window }
    limits.rolling = rolling
    // An old value's memory is taken however small it is.
    limits.replacedBytes = 1
    return try Tape.withLimits(limits) { () throws(LazyMachine.Contradiction) in
      try LazyMachine.run(program.lines, program.precision, .lazy)
    }
  }

  /// Where bits differ. Which of two NaNs is passed on is open.
  private static func difference(_ whole: [Reading], _ rolled: [Reading]) -> String? {
    for (x, y) in zip(whole, rolled) where x.values != y.values || x.values.contains(0) {
      for (k, (a, b)) in zip(x.values, y.values).enumerated()
      where a.bitPattern != b.bitPattern && !(a.isNaN && b.isNaN) {
        return "line \(x.line), element \(k): \(a) planned as a whole, \(b) by turns"
      }
    }
    return whole.count == rolled.count ? nil : "readings are missing"
  }
}
