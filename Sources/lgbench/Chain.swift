// W2: a chain of elementwise operations into one sum, the workload of fusion. Time is bounded by
// memory traffic, so what was moved is set against what had to be.

import Foundation
import LazyGrad

/// `sum(tanh(a*b + c) * exp(-a*a))` over three vectors.
struct ChainBenchmark {
  static let sizes = [1000, 100_000, 10_000_000]

  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    var body: [[String]] = []
    let chosen = Self.sizes.filter { options.cases?.contains(String($0)) ?? true }
    for size in chosen {
      report.progress("chain: \(size) elements")
      body += try measure(size, seconds: seconds / Double(chosen.count))
    }
    report.line("sum(tanh(a*b + c) * exp(-a*a)), times of one pass in us")
    report.table(
      [
        "elements", "pass", "mode", "median", "min", "ns/element", "loss", "kernels", "GB read",
        "GB written", "/minimum", "GB/s",
      ], leading: 3, body)
    report.line()
    report.line("/minimum: bytes moved over the least possible, one pass that reads a, b, c once")
    report.line("and writes the results once; GB/s: the least possible bytes over the median time")
  }

  private func measure(_ count: Int, seconds: Double) throws(BenchError) -> [[String]] {
    // The peers' data: RandomState(1), three vectors one after the other.
    var random = RandomState(seed: 1)
    let values = (0..<3).map { _ in random.normals(count) }
    let expected = Self.reference(values)
    let inputs = values.map { Tensor(NDArray($0, shape: [count])) }

    func recordLoss() -> Tensor {
      let (a, b, c) = (inputs[0], inputs[1], inputs[2])
      return (tanh(a * b + c) * exp(-a * a)).sum()
    }
    var body: [[String]] = []
    for kind in [Pass.forward, .train] {
      let pass = { kind.run(recordLoss, inputs) }
      let work: () -> Void = { _ = pass() }
      var row = ResultRow("W2", String(count))
      row.pass = kind.rawValue
      // A forward pass alone is one that nobody will differentiate: nothing is kept for gradients.
      let mode = kind == .train ? Mode.guarded : .untracked
      row.mode = mode.rawValue
      mode.run {
        row.loss = pass().item()
        (row.firstNanoseconds, row.secondNanoseconds) = firstCalls(work, repetitions: 1)
        row.counters = PassCounters(passes: 2, work)
        row.samples =
          sampleInterleaved(
            [Variant { runs in for _ in 0..<runs { work() } }], seconds: seconds / 2)[0]
      }
      guard abs(row.loss! - expected.sum) <= 1e-5 * expected.magnitude else {
        throw .wrongResult(
          "chain \(count) \(kind.rawValue): the sum is \(row.loss!), expected \(expected.sum)")
      }
      let counters = row.counters!
      let least = Double(count * 4 * (kind == .train ? 6 : 3) + 4)
      let traffic = (counters.bytesRead + counters.bytesWritten) / least
      let speed = least / row.samples!.median
      row.gbps = speed
      row.extra = [
        ("ns_per_element", .number(row.samples!.median / Double(count))),
        ("traffic_over_minimum", .number(traffic)),
      ]
      report.add(row)
      body.append([
        String(count), kind.rawValue, mode.rawValue, Format.microseconds(row.samples!.median),
        Format.microseconds(row.samples!.minimum),
        Format.number(row.samples!.median / Double(count)), Format.number(row.loss!),
        Format.count(counters.kernels), Format.fixed(counters.bytesRead / 1e9, 6),
        Format.fixed(counters.bytesWritten / 1e9, 6), Format.ratio(traffic), Format.number(speed),
      ])
    }
    return body
  }

  /// The sum in double precision, and the sum of the terms' magnitudes, on which the rounding error
  /// of any summation depends.
  private static func reference(_ values: [[Float]]) -> (sum: Double, magnitude: Double) {
    var sum = 0.0
    var magnitude = 0.0
    for index in values[0].indices {
      let (a, b, c) = (
        Double(values[0][index]), Double(values[1][index]), Double(values[2][index])
      )
      let term = tanh(a * b + c) * exp(-a * a)
      sum += term
      magnitude += abs(term)
    }
    return (sum, magnitude)
  }
}
