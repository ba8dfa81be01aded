// W6: reductions along either axis, a row softmax and a transposed copy of matrices that no cache
// near a core holds. Time is bounded by memory traffic.

import Foundation
import LazyGrad

/// The `reduce` command.
struct ReduceBenchmark {
  enum Case: String, CaseIterable {
    case sum0, sum1, softmax, transpose

    var rows: Int { 4096 }

    var columns: Int { self == .softmax ? 1024 : 4096 }

    /// What has to be moved: every element of the input once, and of the result once where that is
    /// as large.
    var bytes: Double {
      Double(rows * columns * 4 * (self == .softmax || self == .transpose ? 2 : 1))
    }

    var title: String {
      switch self {
      case .sum0: "sum over axis 0"
      case .sum1: "sum over axis 1"
      case .softmax: "softmax of rows"
      case .transpose: "transposed copy"
      }
    }

    func record(_ x: Tensor) -> Tensor {
      switch self {
      case .sum0: x.sum(axis: 0)
      case .sum1: x.sum(axis: 1)
      case .softmax: LazyGrad.softmax(x, axis: 1)
      // A transposition alone is a view; the plus sign makes a copy in its own order.
      case .transpose: +x.transposed()
      }
    }
  }

  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let chosen = Case.allCases.filter { options.cases?.contains($0.rawValue) ?? true }
    // 4096 x 4096 values from 0 to 1. The softmax takes the first quarter, spread over -3 to 3.
    var random = RandomState(seed: 4)
    report.progress("reduce: data")
    let values = (0..<4096 * 4096).map { _ in Float(random.uniform()) }
    var body: [[String]] = []
    for item in chosen {
      report.progress("reduce: \(item.rawValue)")
      let own =
        item == .softmax ? values.prefix(item.rows * item.columns).map { $0 * 6 - 3 } : values
      body.append(try measure(item, own, seconds: seconds / Double(chosen.count)))
    }
    report.line("Reductions and copies in float32, times of one pass in us")
    report.table(
      ["case", "what", "shape", "median", "min", "first", "GB/s", "/minimum", "kernels", "blocks"],
      leading: 3, body)
    report.line()
    report.line("GB/s: input and a result of the same size, each moved once, over the median time")
    report.line("/minimum: bytes that kernels moved over those")
    report.line(
      "first: right after the plan cache was emptied; kernels, blocks of memory: per pass")
  }

  private func measure(
    _ item: Case, _ values: [Float], seconds: Double
  ) throws(BenchError) -> [String] {
    let x = Tensor(NDArray(values, shape: [item.rows, item.columns]), constant: true)
    var row = ResultRow("W6", item.rawValue)
    row.pass = Pass.forward.rawValue
    row.mode = Mode.untracked.rawValue
    // One result is alive at a time, so its memory is used again for the next.
    let work: () -> Void = { item.record(x).eval() }
    var result: [Float] = []
    Mode.untracked.run { result = item.record(x).elements(as: Float.self) }
    try check(item, values, result)
    result = []
    Mode.untracked.run {
      row.firstNanoseconds = firstCalls(work, repetitions: 1).first
      row.counters = PassCounters(passes: 2, work)
      row.samples =
        sampleInterleaved([Variant { runs in for _ in 0..<runs { work() } }], seconds: seconds)[0]
    }
    let (counters, samples) = (row.counters!, row.samples!)
    let speed = item.bytes / samples.median
    let traffic = (counters.bytesRead + counters.bytesWritten) / item.bytes
    row.gbps = speed
    row.extra = [
      ("bytes", .number(item.bytes)), ("max_gbps", .number(item.bytes / samples.minimum)),
      ("traffic_over_minimum", .number(traffic)),
    ]
    report.add(row)
    return [
      item.rawValue, item.title, "\(item.rows) x \(item.columns)",
      Format.microseconds(samples.median), Format.microseconds(samples.minimum),
      Format.microseconds(row.firstNanoseconds), Format.number(speed), Format.ratio(traffic),
      Format.count(counters.kernels), Format.count(counters.blocks),
    ]
  }

  /// Compares some rows or columns with double precision.
  private func check(_ item: Case, _ x: [Float], _ result: [Float]) throws(BenchError) {
    let (rows, columns) = (item.rows, item.columns)
    func compare(_ index: Int, _ expected: Double) throws(BenchError) {
      guard abs(Double(result[index]) - expected) <= 1e-5 * abs(expected) else {
        throw .wrongResult(
          "reduce \(item.rawValue): element \(index) of the result is \(result[index]),"
            + " expected \(expected)")
      }
    }
    for line in stride(from: 0, to: 4096, by: 61) {
      switch item {
      case .sum0:
        try compare(line, (0..<rows).reduce(0) { $0 + Double(x[$1 * columns + line]) })
      case .sum1:
        try compare(line, (0..<columns).reduce(0) { $0 + Double(x[line * columns + $1]) })
      case .softmax:
        let powers = (0..<columns).map { exp(Double(x[line * columns + $0])) }
        let sum = powers.reduce(0, +)
        for column in 0..<columns { try compare(line * columns + column, powers[column] / sum) }
      case .transpose:
        for column in 0..<columns {
          try compare(column * rows + line, Double(x[line * columns + column]))
        }
      }
    }
  }
}
