// What LAZYGRAD_DEBUG prints, on standard error: evaluations, plans, loops, machine code. Nothing here is
// called while it is 0.

enum Trace {
  private static func count(_ n: Int, _ noun: String) -> String {
    n == 1 ? "1 \(noun)" : "\(n) \(noun)s"
  }
  private static func microseconds(_ time: Int) -> String {
    "\(time / 1000).\(time / 100 % 10) us"
  }

  /// One line about a call of a compiled function.
  static func tellCall(isRecorded: Bool, kernels: Int, nanoseconds: Int, inKernels: Int) {
    Settings.say(
      "compiled: \(isRecorded ? "recorded" : "replayed"), \(count(kernels, "kernel")), \(microseconds(nanoseconds)), "
        + "of which kernels \(microseconds(inKernels))")
  }

  /// One line about one evaluation.
  static func tell(
    operations: Int, kernels: Int, isHit: Bool, nanoseconds: Int, inKernels: Int
  ) {
    Settings.say(
      "eval: \(count(operations, "operation")), \(count(kernels, "kernel")), plan "
        + "\(isHit ? "hit" : "miss"), \(microseconds(nanoseconds)), "
        + "of which kernels \(microseconds(inKernels))")
  }

  /// A new plan, with as much of it as is asked for. Written at once: lines of other threads don't come in
  /// between.
  static func show(_ plan: Plan, _ graph: Graph) {
    var text = plan.explain(graph, details: Settings.debugLevel > 2)
    if Settings.debugLevel > 3 { text += "  machine code\n" + plan.machineCode() }
    Settings.say(String(text.dropLast()))
  }
}
