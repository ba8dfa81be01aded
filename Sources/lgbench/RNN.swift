// W1, the workload that LazyGrad is judged by: a recurrent network as a user writes it, one small
// operation after another. Uses the public interface, RandomState, Timing and Report.

import LazyGrad

/// A size of the RNN benchmark, with the results that it must give.
struct RNNPreset {
  let name: String
  let steps: Int
  let batch: Int
  let inputs: Int
  let hidden: Int
  let classes: Int
  /// By cell: loss and Euclidean norm of all gradients together, from a double precision NumPy
  /// program over the same single precision data.
  let expected: [Cell: (loss: Double, gradientNorm: Double)]

  static let all = [
    RNNPreset(
      name: "S", steps: 50, batch: 1, inputs: 8, hidden: 16, classes: 4,
      expected: [
        .tanh: (1.03676248483431, 3.2756675761770935),
        .gru: (1.3457102025490952, 2.744325328927662),
        .lstm: (1.2624087245543105, 1.3723799336530413),
      ]),
    RNNPreset(
      name: "M", steps: 100, batch: 16, inputs: 32, hidden: 64, classes: 10,
      expected: [
        .tanh: (2.5951204402432424, 1.865892999813353),
        .gru: (2.3155864489188267, 1.0418696937817484),
        .lstm: (2.3285442875372717, 0.5614260263195425),
      ]),
    RNNPreset(
      name: "L", steps: 100, batch: 32, inputs: 128, hidden: 256, classes: 10,
      expected: [
        .tanh: (2.818181834428393, 2.9150209567795766),
        .gru: (2.4742781101431177, 1.5388730788684075),
        .lstm: (2.2778490281719432, 0.7244194636523733),
      ]),
  ]

  static var medium: RNNPreset { all[1] }
}

/// `h = tanh(x[t] @ Wx + h @ Wh + b)` over the steps, or the formulas of another cell, then a linear
/// layer and softmax cross-entropy.
///
/// Input and labels are made once, like data that was loaded before training: one constant per time
/// step, because the peers do not index inside the loop either.
struct RNNModel {
  private struct Gate {
    let inputWeights: Tensor
    let hiddenWeights: Tensor
    let bias: Tensor
  }

  private let cell: Cell
  private let inputs: [Tensor]
  private let state: RecurrentState
  private let gates: [Gate]
  private let outputWeights: Tensor
  private let outputBias: Tensor
  private let labelNumbers: [Int]
  private let labels: NDArray

  var parameters: [Tensor] {
    gates.flatMap { [$0.inputWeights, $0.hiddenWeights, $0.bias] } + [outputWeights, outputBias]
  }

  /// The peers' data: `RandomState(0)`, drawn in this order, the gates one after the other. Ranks have other
  /// seeds, for data of their own.
  init(_ preset: RNNPreset, cell: Cell = .tanh, seed: UInt32 = 0) {
    self.cell = cell
    let (steps, batch, width, hidden) = (preset.steps, preset.batch, preset.inputs, preset.hidden)
    var random = RandomState(seed: seed)
    func parameter(_ shape: [Int], scale: (Double) -> Double) -> Tensor {
      Tensor(NDArray(random.normals(shape.reduce(1, *), scale: scale), shape: shape))
    }
    inputs = (0..<steps).map { _ in
      Tensor(NDArray(random.normals(batch * width), shape: [batch, width]), constant: true)
    }
    let inputRoot = Double(width).squareRoot()
    let hiddenRoot = Double(hidden).squareRoot()
    gates = (0..<cell.gateCount).map { _ in
      Gate(
        inputWeights: parameter([width, hidden]) { $0 / inputRoot },
        hiddenWeights: parameter([hidden, hidden]) { $0 * 0.7 / hiddenRoot },
        bias: parameter([hidden]) { $0 * 0.1 })
    }
    outputWeights = parameter([hidden, preset.classes]) { $0 / hiddenRoot }
    outputBias = parameter([preset.classes]) { $0 * 0.1 }
    labelNumbers = random.integers(below: preset.classes, count: batch)
    labels = NDArray(labelNumbers, shape: [batch])
    let zeros = NDArray([Float](repeating: 0, count: batch * hidden), shape: [batch, hidden])
    state = RecurrentState(cell, startingAt: Tensor(zeros, constant: true))
  }

  /// The model of tensors in the order of `arguments`.
  private init(_ cell: Cell, _ tensors: [Tensor], labels labelNumbers: [Int]) {
    let rest = tensors[(3 * cell.gateCount)...]
    self.cell = cell
    self.labelNumbers = labelNumbers
    labels = NDArray(labelNumbers)
    gates = (0..<cell.gateCount).map {
      Gate(
        inputWeights: tensors[3 * $0], hiddenWeights: tensors[3 * $0 + 1], bias: tensors[3 * $0 + 2]
      )
    }
    outputWeights = rest[rest.startIndex]
    outputBias = rest[rest.startIndex + 1]
    state = RecurrentState(cell, startingAt: rest[rest.startIndex + 2])
    let whole = rest[rest.startIndex + 3]
    inputs = (0..<whole.shape[0]).map { whole[$0] }
  }

  /// What a compiled pass is given: everything but the labels, which it reads; the inputs of all steps in one.
  var arguments: [Tensor] {
    let whole = noAutodiff { stack(inputs) }
    return parameters + [state.hidden, whole.detached(constant: true)]
  }

  /// A pass as a compiled function: the loss and, in training, every gradient.
  func compiledPass(_ pass: Pass) -> CompiledFunction {
    let (cell, labels) = (cell, labelNumbers)
    return compiled { tensors in
      let model = RNNModel(cell, tensors, labels: labels)
      if pass == .forward { return [noAutodiff { model.recordLoss() }] }
      let loss = model.recordLoss()
      loss.backward()
      return [loss] + model.parameters.map(\.gradient)
    }
  }

  /// Records one forward pass.
  func recordLoss() -> Tensor {
    let h = cell == .tanh ? lastOfTanh() : lastOfGates()
    return softmaxCrossEntropy(matmul(h, outputWeights) + outputBias, labels)
  }

  /// The loop as everybody writes it, in which nothing but the operations costs time: picking the
  /// gate of a cell would add 40 nanoseconds to the half microsecond that a step of case S takes.
  private func lastOfTanh() -> Tensor {
    let (inputWeights, hiddenWeights) = (gates[0].inputWeights, gates[0].hiddenWeights)
    let bias = gates[0].bias
    var h = state.hidden
    for x in inputs {
      h = tanh(matmul(x, inputWeights) + matmul(h, hiddenWeights) + bias)
    }
    return h
  }

  private func lastOfGates() -> Tensor {
    var state = state
    for x in inputs {
      state = state.next(cell) { index, h in
        let gate = gates[index]
        return matmul(x, gate.inputWeights) + matmul(h, gate.hiddenWeights) + gate.bias
      }
    }
    return state.hidden
  }

  /// Evaluates the loss and every gradient in one go.
  func evaluate(_ loss: Tensor) {
    eval([loss] + gradients)
  }

  /// One training pass.
  @discardableResult
  func trainingPass() -> Tensor {
    let loss = recordLoss()
    loss.backward()
    evaluate(loss)
    return loss
  }

  /// One forward pass, tracked or not as the caller's scope says.
  @discardableResult
  func forwardPass() -> Tensor {
    let loss = recordLoss()
    loss.eval()
    return loss
  }

  var gradients: [Tensor] { parameters.map { $0.grad! } }

  /// The Euclidean norm of all gradients, summed in double precision.
  static func norm(_ gradients: [Tensor]) -> Double {
    var sum = 0.0
    for gradient in gradients {
      for element in gradient.elements(as: Float.self) { sum += Double(element) * Double(element) }
    }
    return sum.squareRoot()
  }
}

extension Mode {
  /// Runs the work as a user of this mode would.
  ///
  /// The guard is switched by the process default, as the peers do it: a scope would put its own
  /// price on every operation and blur the ratio.
  func run(_ work: () -> Void) {
    let wasGuarded = isMemoryGuardActive
    if self == .unguarded { turnMemoryGuardingOff() } else { turnMemoryGuardingOn() }
    defer { if wasGuarded { turnMemoryGuardingOn() } else { turnMemoryGuardingOff() } }
    if self == .untracked { noAutodiff { work() } } else { work() }
  }
}

/// Measures every preset in every mode and pass that was asked for.
struct RNNBenchmark {
  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    var cases: [(preset: RNNPreset, pass: Pass, modes: [Mode])] = []
    for preset in options.presets {
      for pass in options.passes {
        let modes = options.modes.filter { pass == .forward || $0 != .untracked }
        if !modes.isEmpty { cases.append((preset, pass, modes)) }
      }
    }
    var body: [[String]] = []
    for (index, item) in cases.enumerated() {
      report.progress(
        "rnn: preset \(item.preset.name), \(item.pass.rawValue) (\(index + 1) of \(cases.count))")
      body += try measure(
        item.preset, item.pass, item.modes, seconds: seconds / Double(cases.count))
    }
    report.line(
      "Recurrent network of \(options.cell.rawValue) cells, times of one pass in us"
        + " (rounds of interleaved samples)")
    report.table(
      [
        "preset", "pass", "mode", "median", "min", "per step", "/unguarded", "/noautodiff", "loss",
        "first", "second", "hits", "misses", "kernels", "blocks",
      ], leading: 3, body)
    report.line()
    report.line(
      "S, M, L: (steps, batch, input, hidden, classes) = "
        + RNNPreset.all.map {
          "(\($0.steps), \($0.batch), \($0.inputs), \($0.hidden), \($0.classes))"
        }.joined(separator: ", "))
    report.line(
      "compiled: as a compiled function of the parameters and of the inputs of all steps in one tensor"
    )
    report.line("first, second: calls right after the plan cache was emptied")
    report.line("hits, misses of the plan cache, kernels run, blocks of memory taken: per pass")
  }

  private func measure(
    _ preset: RNNPreset, _ pass: Pass, _ modes: [Mode], seconds: Double
  ) throws(BenchError) -> [[String]] {
    let model = RNNModel(preset, cell: options.cell)
    let expected = preset.expected[options.cell]!
    let (compiled, arguments) = (model.compiledPass(pass), model.arguments)
    func work(_ mode: Mode) -> () -> Void {
      if mode == .compiled { return { _ = compiled(arguments) } }
      return pass == .train ? { model.trainingPass() } : { model.forwardPass() }
    }
    var rows: [ResultRow] = []
    for mode in modes {
      var row = ResultRow("W1", preset.name)
      row.pass = pass.rawValue
      row.mode = mode.rawValue
      row.cell = options.cell.rawValue
      var results: [Tensor] = []
      mode.run {
        if mode == .compiled {
          results = compiled(arguments)
        } else {
          results = [pass == .train ? model.trainingPass() : model.forwardPass()]
          if pass == .train { results += model.gradients }
        }
      }
      let loss = results[0].item()
      row.loss = loss
      try check(loss, expected.loss, "loss", row)
      if pass == .train {
        let norm = RNNModel.norm(Array(results[1...]))
        row.extra.append(("gradient_norm", .number(norm)))
        try check(norm, expected.gradientNorm, "gradient norm", row)
      }
      let work = work(mode)
      mode.run { (row.firstNanoseconds, row.secondNanoseconds) = firstCalls(work) }
      mode.run { row.counters = PassCounters(work) }
      rows.append(row)
    }
    let samples = sampleInterleaved(
      modes.map { mode in
        let work = work(mode)
        return Variant { count in mode.run { for _ in 0..<count { work() } } }
      }, seconds: seconds)

    func ratio(_ index: Int, to mode: Mode) -> Double? {
      guard let other = modes.firstIndex(of: mode), other != index else { return nil }
      return samples[index].ratio(to: samples[other])
    }
    return rows.indices.map { index in
      var row = rows[index]
      row.samples = samples[index]
      let toUnguarded = modes[index] == .guarded ? ratio(index, to: .unguarded) : nil
      let toUntracked = ratio(index, to: .untracked)
      if let toUnguarded { row.extra.append(("over_unguarded", .number(toUnguarded))) }
      if let toUntracked { row.extra.append(("over_noautodiff", .number(toUntracked))) }
      let perStep = samples[index].median / Double(preset.steps)
      row.extra.append(("us_per_step", .number(perStep / 1e3)))
      report.add(row)
      let counters = row.counters!
      return [
        preset.name, pass.rawValue, modes[index].rawValue,
        Format.microseconds(samples[index].median), Format.microseconds(samples[index].minimum),
        Format.microseconds(perStep), Format.ratio(toUnguarded), Format.ratio(toUntracked),
        Format.fixed(row.loss!, 6),
        Format.microseconds(row.firstNanoseconds), Format.microseconds(row.secondNanoseconds),
        Format.count(counters.planHits), Format.count(counters.planMisses),
        Format.count(counters.kernels), Format.count(counters.blocks),
      ]
    }
  }

  /// Single precision over at most 100 steps stays far within this tolerance; a wrong formula does
  /// not.
  private func check(
    _ value: Double, _ expected: Double, _ what: String, _ row: ResultRow
  ) throws(BenchError) {
    guard abs(value - expected) <= 1e-4 * abs(expected) else {
      throw .wrongResult(
        "rnn \(row.name) \(row.pass!) \(row.mode!): \(what) is \(value), expected \(expected)")
    }
  }
}
