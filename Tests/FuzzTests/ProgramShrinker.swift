// Makes failing programs small enough to read.

/// Leaves lines out of a program while it keeps failing.
enum ProgramShrinker {
  /// Looks for a shorter program that `fails` too.
  ///
  /// 1. Everything behind the first line that shows the fault goes.
  /// 2. Runs of lines are left out, long ones first, then single lines, until none can go. The model
  ///    skips what refers to a line that is gone.
  ///
  /// Every step shortens the program, so it ends.
  static func shrink(
    _ original: JudgedProgram, fails: (JudgedProgram) -> Bool
  ) -> JudgedProgram {
    var best = original
    func take(_ lines: [Instruction]) -> Bool {
      let candidate = ModelMachine.run(lines, original.precision)
      if candidate.lines.count >= best.lines.count || !fails(candidate) { return false }
      best = candidate
      return true
    }
    for end in 1..<max(original.lines.count, 2) where take(Array(original.lines[..<end])) { break }
    var size = max(best.lines.count / 2, 1)
    while true {
      var hasShrunk = false
      var start = 0
      while start < best.lines.count {
        var lines = best.lines
        lines.removeSubrange(start..<min(start + size, lines.count))
        if take(lines) { hasShrunk = true } else { start += size }
      }
      if size > 1 {
        size /= 2
      } else if !hasShrunk {
        return best
      }
    }
  }
}
