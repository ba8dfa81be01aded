// W3: matrix products. Large ones are bounded by the rate of multiply-adds, small ones by what a
// product costs besides, so a small case is many products through one plan.

import LazyGrad

/// Products of single precision matrices through the public interface.
struct MatmulBenchmark {
  /// `[rows, depth] x [depth, columns]`.
  struct Shape {
    let rows: Int
    let depth: Int
    let columns: Int
    /// Whether the products are one call on arrays of matrices instead of a call each.
    var isBatch = false

    var name: String { "\(rows)x\(depth)x\(columns)" + (isBatch ? "-batch" : "") }

    var operations: Double { 2 * Double(rows) * Double(depth) * Double(columns) }

    /// Of the operands and the result.
    private var bytes: Int { 4 * (rows * depth + depth * columns + rows * columns) }

    /// How many independent products are evaluated together: one if it is large; else a power of
    /// two of them, at most 64, with a common footprint of half a megabyte that second-level caches
    /// hold.
    var count: Int {
      var count = 1
      while count < 64, 2 * count * bytes <= 512 << 10 { count *= 2 }
      return count
    }
  }

  static let cases =
    [16, 32, 64, 128, 256, 512, 1024, 2048].map { Shape(rows: $0, depth: $0, columns: $0) } + [
      Shape(rows: 1, depth: 64, columns: 64), Shape(rows: 16, depth: 64, columns: 256),
    ] + [16, 32, 64].map { Shape(rows: $0, depth: $0, columns: $0, isBatch: true) }

  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let chosen = Self.cases.filter { options.cases?.contains($0.name) ?? true }
    // Per thread: what one core can do, times the threads that may take part.
    let peak = report.peers?.multiplyAddPeak(tier: Machine.tier)
      .map { $0 * Double(LazyGradEngine.threads) }
    var body: [[String]] = []
    for shape in chosen {
      report.progress("matmul: \(shape.name)")
      body.append(try measure(shape, peak: peak, seconds: seconds / Double(chosen.count)))
    }
    report.line("Matrix products in float32, times of one product in us")
    report.table(
      ["product", "together", "median", "min", "first", "GFLOP/s"]
        + (peak == nil ? [] : ["of peak"]) + ["misses", "kernels"], leading: 1, body)
    report.line()
    report.line(
      "product: rows x depth x columns; together: independent products in one evaluation,")
    report.line(
      "as many as second-level caches hold; first: right after the plan cache was emptied;")
    report.line("misses of the plan cache and kernels run: per evaluation;")
    report.line("batch: the products are one call on arrays of matrices")
    if let peak {
      report.line("peak: \(Format.number(peak)) GFLOP/s, from the file given by --peers")
    }
  }

  private func measure(
    _ shape: Shape, peak: Double?, seconds: Double
  ) throws(BenchError) -> [String] {
    var random = RandomState(seed: 3)
    let calls = shape.isBatch ? 1 : shape.count
    let lead = shape.isBatch ? [shape.count] : []
    func matrices(_ rows: Int, _ columns: Int) -> (values: [Float], tensor: Tensor) {
      let values = random.normals(shape.count / calls * rows * columns)
      return (values, Tensor(NDArray(values, shape: lead + [rows, columns]), constant: true))
    }
    let operands = (0..<calls).map { _ in
      (matrices(shape.rows, shape.depth), matrices(shape.depth, shape.columns))
    }
    let pairs = operands.map { ($0.0.tensor, $0.1.tensor) }
    func products() -> [Tensor] {
      let results = pairs.map { matmul($0.0, $0.1) }
      eval(results)
      return results
    }

    var row = ResultRow("W3", shape.name)
    row.pass = Pass.forward.rawValue
    row.mode = Mode.untracked.rawValue
    let count = Double(shape.count)
    let work: () -> Void = { _ = products() }
    var results: [Tensor] = []
    Mode.untracked.run {
      results = products()
      row.firstNanoseconds = firstCalls(work, repetitions: 1).first / count
      row.counters = PassCounters(passes: 1, work)
    }
    for (result, operand) in zip(results, operands) {
      try check(result, operand.0.values, operand.1.values, shape)
    }
    results = []
    Mode.untracked.run {
      let whole = sampleInterleaved(
        [Variant { runs in for _ in 0..<runs { work() } }], seconds: seconds)[0]
      row.samples = Samples(values: whole.values.map { $0 / count })
    }
    let gflops = shape.operations / row.samples!.median
    row.gflops = gflops
    row.extra = [
      ("products", .number(count)),
      ("max_gflops", .number(shape.operations / row.samples!.minimum)),
    ]
    if let peak { row.extra.append(("of_peak", .number(gflops / peak))) }
    report.add(row)
    return [
      shape.name, String(shape.count), Format.microseconds(row.samples!.median),
      Format.microseconds(row.samples!.minimum), Format.microseconds(row.firstNanoseconds),
      Format.number(gflops),
    ] + (peak.map { [Format.fixed(100 * gflops / $0, 1) + "%"] } ?? [])
      + [Format.count(row.counters!.planMisses), Format.count(row.counters!.kernels)]
  }

  /// Compares elements spread over the result with sums in double precision.
  private func check(
    _ result: Tensor, _ a: [Float], _ b: [Float], _ shape: Shape
  ) throws(BenchError) {
    let values = result.elements(as: Float.self)
    let size = shape.rows * shape.columns
    // A stride that shares no factor with the sizes meets every row and column of a small result.
    for index in stride(from: 0, to: values.count, by: max(1, values.count / 97) | 1) {
      let matrix = index / size
      let (row, column) = (index % size / shape.columns, index % shape.columns)
      let (aStart, bStart) = (
        (matrix * shape.rows + row) * shape.depth, matrix * shape.depth * shape.columns
      )
      var sum = 0.0
      var magnitude = 0.0
      for inner in 0..<shape.depth {
        let term =
          Double(a[aStart + inner]) * Double(b[bStart + inner * shape.columns + column])
        sum += term
        magnitude += abs(term)
      }
      guard abs(Double(values[index]) - sum) <= 1e-5 * magnitude else {
        throw .wrongResult(
          "matmul \(shape.name): element \(index) is \(values[index]), expected \(sum)")
      }
    }
  }
}
