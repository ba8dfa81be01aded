// Learning rates as functions of the step.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The learning rate of each step, counted from 0.
///
///     let rate = LearningRate.warmUp(100, then: LearningRate.cosine(0.001, steps: 900))
///     for step in 0..<1000 {
///       optimizer.rate = rate(step)
///       optimizer.step { loss(model) }
///     }
///
/// A schedule is a plain function: it keeps nothing, so a training that is resumed goes on with
/// `rate(optimizer.stepCount)`. A change of the rate makes no new plan.
public typealias Schedule = @Sendable (_ step: Int) -> Double

/// Schedules, as functions of the step, which is counted from 0.
///
/// Those with an end keep their last rate behind it; before 0 all have their first.
public enum LearningRate {
  /// The same rate at every step.
  public static func constant(_ rate: Double) -> Schedule { { _ in rate } }

  /// A rate that is multiplied by a factor after every so many steps: PyTorch's `StepLR`.
  public static func steps(_ rate: Double, every length: Int, factor: Double = 0.1) -> Schedule {
    { rate * pow(factor, Double(max($0, 0) / max(length, 1))) }
  }

  /// A rate that is multiplied by a factor after every step: PyTorch's `ExponentialLR`.
  public static func exponential(_ rate: Double, factor: Double) -> Schedule {
    { rate * pow(factor, Double(max($0, 0))) }
  }

  /// From a rate down to another along half a wave of a cosine (Loshchilov and Hutter, SGDR, 2017): PyTorch's
  /// `CosineAnnealingLR`.
  public static func cosine(_ rate: Double, steps: Int, end: Double = 0) -> Schedule {
    { wave(rate, end, Double($0) / Double(max(steps, 1))) }
  }

  /// Some steps up to the first rate of a schedule along a straight line, then that schedule from its beginning.
  ///
  /// The first step's rate is one `steps`th of it, not 0, which would waste it.
  public static func warmUp(_ steps: Int, then schedule: @escaping Schedule) -> Schedule {
    { step in
      step < steps
        ? schedule(0) * Double(max(step, 0) + 1) / Double(steps) : schedule(step - max(steps, 0))
    }
  }

  /// Up to a peak and down to almost nothing, both along half a wave of a cosine (Smith and Topin,
  /// Super-Convergence, 2018): PyTorch's `OneCycleLR`, whose numbers stand where none are given.
  ///
  /// - Parameters:
  ///   - peak: The greatest rate.
  ///   - steps: How many steps there are.
  ///   - rising: Which part of them leads up.
  ///   - start: What the peak is divided by to begin with.
  ///   - end: What that first rate is divided by in the end.
  public static func oneCycle(
    _ peak: Double, steps: Int, rising: Double = 0.3, start: Double = 25, end: Double = 1e4
  ) -> Schedule {
    let up = rising * Double(steps) - 1
    let down = Double(steps) - 1 - up
    let first = peak / start
    return { step in
      let step = Double(step)
      return step <= up
        ? wave(first, peak, up > 0 ? step / up : 1)
        : wave(peak, first / end, down > 0 ? (step - up) / down : 1)
    }
  }

  /// Between two numbers along half a wave of a cosine; `part`: how far, from 0 to 1.
  private static func wave(_ from: Double, _ to: Double, _ part: Double) -> Double {
    to + (from - to) * (1 + cos(Double.pi * min(max(part, 0), 1))) / 2
  }
}
