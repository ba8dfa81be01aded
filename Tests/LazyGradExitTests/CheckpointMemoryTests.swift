// What checkpoints take of memory and of plans, by the process's counters: in processes of their own.

import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  /// A recurrence over some steps, in parts of which only the ends are kept.
  private enum Recurrence {
    static let size = 2048
    static let bytes = size * 8

    /// - Parameter part: nil: without checkpoints.
    static func run(steps: Int, part: Int?) -> (loss: Double, peak: Int) {
      let w = Tensor((0..<size).map { 0.9 + 0.05 * Double($0 % 3) })
      let b = Tensor([Double](repeating: 0.01, count: size))
      let first = Tensor((0..<size).map { Double($0 % 7) / 7 })
      eval(w, b, first)
      let before = LazyGradEngine.bytesInUse
      var peak = 0
      var h: Tensor = first
      for k in 0..<(steps / (part ?? 1)) {
        if let part {
          h = checkpoint(h, w, b) { t in
            var h = t[0]
            for _ in 0..<part { h = tanh(h * t[1] + t[2]) }
            peak = max(peak, LazyGradEngine.bytesInUse - before)
            return h
          }
        } else {
          h = tanh(h * w + b)
          if k % 100 == 99 { h.eval() }
        }
      }
      let loss = (h * h).sum()
      let value = loss.item()
      peak = max(peak, LazyGradEngine.bytesInUse - before)
      loss.backward()
      eval(w.gradient, b.gradient, first.gradient)
      peak = max(peak, LazyGradEngine.bytesInUse - before)
      return (value, peak)
    }
  }

  @Suite("Checkpoint memory")
  struct CheckpointMemoryTests {
    @Test("A loop of 10,000 steps takes memory for the square root of that")
    func memory() async {
      await #expect(processExitsWith: .success) {
        let plain = Recurrence.run(steps: 10_000, part: nil)
        let parts = Recurrence.run(steps: 10_000, part: 100)
        let quarter = Recurrence.run(steps: 2500, part: 50)
        precondition(parts.loss == plain.loss)
        // The plain loop keeps at least one value of each step.
        precondition(plain.peak >= 10_000 * Recurrence.bytes, "\(plain.peak)")
        // 100 ends of parts, as many gradients of each weight to add up, and the values of one part.
        precondition(
          parts.peak <= 1000 * Recurrence.bytes, "\(parts.peak / Recurrence.bytes) arrays")
        precondition(
          Double(parts.peak) <= 2.6 * Double(quarter.peak), "\(parts.peak) and \(quarter.peak)")
      }
    }

    @Test("It also holds under a limit of memory, which the plain loop passes")
    func limit() async {
      await #expect(processExitsWith: .success) {
        LazyGradEngine.setMemoryLimit(1200 * Recurrence.bytes)
        _ = Recurrence.run(steps: 10_000, part: 100)
        do {
          try catchingTensorErrors { _ = Recurrence.run(steps: 10_000, part: nil) }
          preconditionFailure("there was memory")
        } catch { precondition("\(error)".contains("no memory"), "\(error)") }
      }
    }

    @Test("Equal parts have one plan forwards and one backwards")
    func plans() async {
      await #expect(processExitsWith: .success) {
        _ = Recurrence.run(steps: 40, part: 10)
        for steps in [40, 70, 200] {
          let before = LazyGradEngine.counters
          _ = Recurrence.run(steps: steps, part: 10)
          let after = LazyGradEngine.counters
          let new = after.planMisses - before.planMisses
          // The weights' gradients are added up over the parts, of which there are more.
          precondition(new <= (steps == 40 ? 0 : 1), "\(new) plans for \(steps) steps")
          // Each is computed by itself, both times.
          precondition(after.planHits - before.planHits + new >= 2 * steps / 10, "\(steps) steps")
        }
      }
    }
  }
#endif
