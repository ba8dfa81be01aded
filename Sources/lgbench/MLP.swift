// W4: a training step of a multilayer perceptron, mostly matrix products of middling size. Uses the
// public interface, RandomState, Timing and Report.

import LazyGrad

/// Two hidden layers with relu, softmax cross-entropy, plain gradient descent.
private struct Perceptron {
  static let widths = [784, 256, 128, 10]
  static let batch = 64
  static let rate = 0.01
  /// The losses of the first step and of the twentieth, from a double precision NumPy program over
  /// the same single precision data.
  static let expected = (first: 2.926144238511231, twentieth: 0.9842367428853752)

  private let input: Tensor
  private let labels: NDArray
  private var weights: [Tensor] = []
  private var biases: [Tensor] = []

  /// The peers' data: `RandomState(2)`, drawn in this order.
  init() {
    var random = RandomState(seed: 2)
    input = Tensor(
      NDArray(random.normals(Self.batch * Self.widths[0]), shape: [Self.batch, Self.widths[0]]),
      constant: true)
    labels = NDArray(
      random.integers(below: Self.widths.last!, count: Self.batch), shape: [Self.batch])
    for (rows, columns) in zip(Self.widths, Self.widths.dropFirst()) {
      let scale = (2 / Double(rows)).squareRoot()
      weights.append(
        Tensor(NDArray(random.normals(rows * columns) { $0 * scale }, shape: [rows, columns])))
      biases.append(Tensor(NDArray([Float](repeating: 0, count: columns), shape: [columns])))
    }
  }

  /// Multiplications and additions of the products: forward, and for the gradients of every layer's
  /// weights and of its input but the first's.
  static var operations: Double {
    var sum = 0
    for (layer, (rows, columns)) in zip(widths, widths.dropFirst()).enumerated() {
      sum += 2 * batch * rows * columns * (layer == 0 ? 2 : 3)
    }
    return Double(sum)
  }

  /// One training step; every parameter has its new value afterwards. Returns the loss before it.
  func step() -> Tensor {
    var x = input
    for layer in weights.indices {
      x = matmul(x, weights[layer]) + biases[layer]
      if layer + 1 < weights.count { x = relu(x) }
    }
    let loss = softmaxCrossEntropy(x, labels)
    loss.backward()
    let parameters = weights + biases
    noAutodiff {
      for parameter in parameters { parameter -= parameter.grad! * Self.rate }
    }
    eval([loss] + parameters)
    return loss
  }
}

/// The `mlp` command.
struct MLPBenchmark {
  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    report.progress("mlp")
    let network = Perceptron()
    let work: () -> Void = { _ = network.step() }
    var row = ResultRow("W4", "mlp")
    row.pass = Pass.train.rawValue
    row.mode = Mode.guarded.rawValue
    var losses: [Double] = []
    var last = 0.0
    Mode.guarded.run {
      for _ in 0..<20 { losses.append(network.step().item()) }
      row.counters = PassCounters(work)
      (row.firstNanoseconds, row.secondNanoseconds) = firstCalls(work)
      row.samples =
        sampleInterleaved([Variant { runs in for _ in 0..<runs { work() } }], seconds: seconds)[0]
      last = network.step().item()
    }
    for (loss, expected, step) in [
      (losses[0], Perceptron.expected.first, 1), (losses[19], Perceptron.expected.twentieth, 20),
    ] where !(abs(loss - expected) <= 1e-4 * expected) {
      throw .wrongResult("mlp: the loss of step \(step) is \(loss), expected \(expected)")
    }
    let (counters, samples) = (row.counters!, row.samples!)
    row.loss = losses[0]
    let gflops = Perceptron.operations / samples.median
    row.gflops = gflops
    row.extra = [("loss_step_20", .number(losses[19])), ("last_loss", .number(last))]
    report.add(row)
    report.line(
      "Training step of a multilayer perceptron, batch \(Perceptron.batch), "
        + Perceptron.widths.map(String.init).joined(separator: "-")
        + ", relu, softmax cross-entropy, gradient descent; times in us")
    report.table(
      [
        "step", "median", "min", "GFLOP/s", "loss", "step 20", "last", "first", "second", "hits",
        "misses", "kernels", "blocks",
      ], leading: 1,
      [
        [
          "all parameters", Format.microseconds(samples.median),
          Format.microseconds(samples.minimum), Format.number(gflops),
          Format.fixed(losses[0], 6), Format.fixed(losses[19], 6), Format.fixed(last, 6),
          Format.microseconds(row.firstNanoseconds), Format.microseconds(row.secondNanoseconds),
          Format.count(counters.planHits), Format.count(counters.planMisses),
          Format.count(counters.kernels), Format.count(counters.blocks),
        ]
      ])
    report.line()
    report.line("GFLOP/s: of the matrix products over the time of the whole step")
    report.line("first, second: calls right after the plan cache was emptied")
    report.line("hits, misses of the plan cache, kernels run, blocks of memory taken: per step")
  }
}
