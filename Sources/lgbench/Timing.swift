// Clocks, sampling and the counters of a pass. Uses LazyGrad's counters; the benchmarks use it.

import Dispatch
import LazyGrad

/// Nanoseconds of the monotonic clock.
@inline(__always)
func now() -> UInt64 { DispatchTime.now().uptimeNanoseconds }

/// The middle value; of an even number of values the mean of the two middle ones.
func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  let middle = sorted.count / 2
  guard !sorted.isEmpty else { return .nan }
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// Something to time: runs its work the given number of times.
struct Variant {
  let run: (_ count: Int) -> Void
}

/// The times of one variant, in nanoseconds per run of the work, one per round.
struct Samples {
  var values: [Double] = []

  var median: Double { lgbench.median(values) }
  var minimum: Double { values.min() ?? .nan }

  /// How many times as long as the other variant this one takes: the median over rounds of the
  /// ratio within a round.
  ///
  /// Other work on the machine slows down all variants of a round alike and cancels, which it does
  /// not in a ratio of two medians.
  func ratio(to other: Samples) -> Double {
    lgbench.median(zip(values, other.values).map { $0 / $1 })
  }
}

/// Times variants side by side: A B C, B C A, C A B and so on, so that drift and the influence of
/// the neighbour before fall on all of them.
///
/// A sample repeats the work until it takes 200 microseconds, far above the clock's resolution.
func sampleInterleaved(_ variants: [Variant], seconds: Double) -> [Samples] {
  let sampleNanoseconds = 200e3
  let budget = seconds * 1e9
  var counts: [Int] = []
  for variant in variants {
    // Warm up: at least three runs, then for a small part of the time.
    let start = now()
    var runs = 0
    var fastest = Double.infinity
    while true {
      let before = now()
      variant.run(1)
      fastest = min(fastest, Double(now() - before))
      runs += 1
      let elapsed = Double(now() - start)
      if runs >= 3 && elapsed > min(50e6, budget / 10 / Double(variants.count)) { break }
      if elapsed > budget { break }
    }
    counts.append(max(1, Int((sampleNanoseconds / max(fastest, 1)).rounded(.up))))
  }
  var samples = Array(repeating: Samples(), count: variants.count)
  let start = now()
  var round = 0
  while true {
    for step in variants.indices {
      let index = (step + round) % variants.count
      let before = now()
      variants[index].run(counts[index])
      samples[index].values.append(Double(now() - before) / Double(counts[index]))
    }
    round += 1
    let elapsed = Double(now() - start)
    if elapsed > budget && round >= 3 || elapsed > 4 * budget || round >= 50_000 { break }
  }
  return samples
}

/// The time of the first call after the plan cache was emptied, and of the one that follows:
/// medians over a few repetitions, in nanoseconds.
func firstCalls(_ work: () -> Void, repetitions: Int = 3) -> (first: Double, second: Double) {
  var first: [Double] = []
  var second: [Double] = []
  for _ in 0..<repetitions {
    LazyGradEngine.clearPlanCache()
    let start = now()
    work()
    let middle = now()
    work()
    second.append(Double(now() - middle))
    first.append(Double(middle - start))
  }
  return (median(first), median(second))
}

/// What the engine counted, per pass.
struct PassCounters {
  var nodes = 0.0
  var planHits = 0.0
  var planMisses = 0.0
  /// Kernels for which machine code was made.
  var compiles = 0.0
  var kernels = 0.0
  var blocks = 0.0
  var bytesRead = 0.0
  var bytesWritten = 0.0

  /// Runs the work a few times and divides what was counted. The work must have run before, or its
  /// first plan is counted too.
  init(passes: Int = 4, _ work: () -> Void) {
    let before = LazyGradEngine.counters
    for _ in 0..<passes { work() }
    let after = LazyGradEngine.counters
    func perPass(_ value: (EngineCounters) -> Double) -> Double {
      (value(after) - value(before)) / Double(passes)
    }
    nodes = perPass { Double($0.nodesRecorded) }
    planHits = perPass { Double($0.planHits) }
    planMisses = perPass { Double($0.planMisses) }
    compiles = perPass { Double($0.nativeKernelsCompiled) }
    kernels = perPass { Double($0.kernelsRun) }
    blocks = perPass { Double($0.allocations) }
    bytesRead = perPass { Double($0.bytesRead) }
    bytesWritten = perPass { Double($0.bytesWritten) }
  }

  var json: JSONValue {
    .object([
      ("nodes_recorded", .number(nodes)), ("plan_hits", .number(planHits)),
      ("plan_misses", .number(planMisses)), ("compiles", .number(compiles)),
      ("kernels_run", .number(kernels)),
      ("allocations", .number(blocks)), ("bytes_read", .number(bytesRead)),
      ("bytes_written", .number(bytesWritten)),
    ])
  }
}
