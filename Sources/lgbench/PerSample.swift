// W11: the gradient of every sample by itself, for a perceptron: by `vmap` of the gradient of one sample's loss,
// and as a program that somebody has written for the whole batch. Uses the public interface, RandomState, Timing
// and Report.

import LazyGrad

/// A perceptron, samples, and three ways to their gradients, one for each parameter.
private struct PerSampleProgram {
  static let (inputs, hidden, outputs, samples) = (32, 64, 10, 64)

  let parameters: [Tensor]
  let x: Tensor
  let targets: Tensor

  init() {
    var random = RandomState(seed: 8)
    func tensor(_ shape: [Int], _ scale: Double, constant: Bool = false) -> Tensor {
      Tensor(
        NDArray(random.normals(shape.reduce(1, *)) { scale * $0 }, shape: shape),
        constant: constant)
    }
    parameters = [
      tensor([Self.inputs, Self.hidden], 0.2), tensor([Self.hidden], 0.1),
      tensor([Self.hidden, Self.outputs], 0.2), tensor([Self.outputs], 0.1),
    ]
    x = tensor([Self.samples, Self.inputs], 1, constant: true)
    let labels = (0..<Self.samples).map { $0 * 7 % Self.outputs }
    targets = Tensor(
      NDArray(
        labels.flatMap { label in (0..<Self.outputs).map { $0 == label ? Float(1) : 0 } },
        shape: [Self.samples, Self.outputs]), constant: true)
  }

  /// What is differentiated is written for one sample.
  func vectorized() -> [Tensor] {
    let (w1, b1, w2, b2) = (parameters[0], parameters[1], parameters[2], parameters[3])
    let slopes = vmap { sample in
      let hidden = tanh(matmul(sample[0], w1) + b1)
      let loss = -(logSoftmax(matmul(hidden, w2) + b2) * sample[1]).sum()
      return gradients(of: loss, withRespectTo: [w1, b1, w2, b2])
    }
    return slopes([x, targets])
  }

  /// By hand, for all samples at once; `outer` gives the products of all pairs of elements of rows.
  func batched(_ outer: (Tensor, Tensor) -> Tensor) -> [Tensor] {
    let (w1, b1, w2, b2) = (parameters[0], parameters[1], parameters[2], parameters[3])
    let hidden = tanh(matmul(x, w1) + b1)
    let errors = softmax(matmul(hidden, w2) + b2) - targets
    let slopes = matmul(errors, w2.T) * (1 - square(hidden))
    return [outer(x, slopes), slopes, outer(hidden, errors), errors]
  }

  static var ways: [(name: String, run: (PerSampleProgram) -> [Tensor])] {
    [
      ("vmap", { $0.vectorized() }),
      ("einsum", { program in program.batched { einsum("ni,nj->nij", $0, $1) } }),
      (
        "broadcast",
        { program in
          program.batched { $0.expandedDims(at: 2) * $1.expandedDims(at: 1) }
        }
      ),
    ]
  }
}

/// The `samples` command.
struct PerSampleBenchmark {
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let program = PerSampleProgram()
    report.progress("samples: perceptron")
    var rows: [ResultRow] = []
    var first: [[Double]] = []
    for (name, run) in PerSampleProgram.ways {
      let results = run(program).map { $0.elements(as: Double.self) }
      if first.isEmpty { first = results }
      let distance = zip(first.joined(), results.joined()).reduce(0) { max($0, abs($1.0 - $1.1)) }
      if !(distance <= 1e-5) {
        throw .wrongResult(
          "samples \(name): the gradients differ by \(distance) from those of vmap")
      }
      let work = { eval(run(program)) }
      var row = ResultRow("W11", name)
      row.pass = Pass.train.rawValue
      row.mode = Mode.guarded.rawValue
      (row.firstNanoseconds, row.secondNanoseconds) = firstCalls(work)
      row.counters = PassCounters(work)
      rows.append(row)
    }
    let samples = sampleInterleaved(
      PerSampleProgram.ways.map { _, run in
        Variant { runs in for _ in 0..<runs { eval(run(program)) } }
      }, seconds: seconds)
    var body: [[String]] = []
    for k in rows.indices {
      let ratio = samples[0].ratio(to: samples[k])
      rows[k].samples = samples[k]
      rows[k].extra = [("ratio", .number(ratio))]
      report.add(rows[k])
      body.append([
        rows[k].name, Format.microseconds(samples[k].median),
        Format.microseconds(samples[k].minimum), Format.fixed(ratio, 2),
        Format.count(rows[k].counters!.kernels), Format.count(rows[k].counters!.nodes),
      ])
    }
    let p = PerSampleProgram.self
    report.line(
      "Gradients of each of \(p.samples) samples, perceptron \(p.inputs)-\(p.hidden)-\(p.outputs), "
        + "float32, times in us; vmap takes so many times as long as each")
    report.table(["way", "median", "min", "vmap / it", "kernels", "records"], leading: 1, body)
  }
}
