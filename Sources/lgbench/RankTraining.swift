// The RNN benchmark on several ranks: what a training step takes, what of it is the collective, and what is
// waiting. Uses RNNModel, RankTimer and NetworkModel.

import LazyGrad

/// The `rnn` command with `--ranks`.
struct RankTrainingBenchmark {
  let options: Options
  let report: Report
  let world: Communicator
  let scaling: Scaling

  func run(seconds: Double) throws {
    let presets = options.presets.filter {
      scaling == .weak || ($0.batch >= world.size && $0.batch % world.size == 0)
    }
    if presets.isEmpty {
      let batches = options.presets.map { String($0.batch) }.joined(separator: ", ")
      throw BenchError.usage(
        "option --ranks strong: expected a batch that \(world.size) ranks can divide evenly, got "
          + batches)
    }
    let network = try options.simulate.map { _ in
      try AllreduceBenchmark.network(world, seconds: seconds / 10)
    }
    if let network, network == nil { throw BenchError.fewRanks(world.size) }
    var body: [[String]] = []
    for (index, preset) in presets.enumerated() {
      report.progress("rnn: preset \(preset.name) (\(index + 1) of \(presets.count))")
      body.append(
        try measure(preset, network ?? nil, seconds: seconds / Double(presets.count)))
    }
    report.line(
      "Training steps of \(options.cell.rawValue) cells on \(world.size) ranks, \(scaling.rawValue) "
        + "scaling, by \(world.library ?? "no library"); times of rank 0 in us")
    report.table(
      ["preset", "batch", "alone", "step", "collective", "waiting", "rest", "efficiency"]
        + (options.simulate.map { ["modelled \($0)"] } ?? []), leading: 1, body)
    report.line()
    report.line(
      "batch: of a rank; alone: a step of one rank without collectives, while the others wait")
    report.line(
      "collective: data being sent; waiting: until ranks agree, with the data of small means; rest: "
        + "all else of a step")
    report.line(
      scaling == .weak
        ? "efficiency: alone over step" : "efficiency: alone with the whole batch over ranks x step"
    )
    if let simulated = options.simulate {
      report.line(
        "modelled \(simulated): a step on \(simulated) ranks by what was measured of the network")
    }
  }

  private func measure(
    _ preset: RNNPreset, _ network: NetworkModel?, seconds: Double
  ) throws -> [String] {
    let own = scaling == .weak ? preset : preset.divided(by: world.size)
    // Each rank has data of its own, and rank 0's weights.
    let model = RNNModel(own, cell: options.cell, seed: UInt32(world.rank))
    try world.broadcast(model.parameters)
    // What one process would do, on rank 0 alone.
    var alone = Samples()
    try world.onRoot {
      let model = RNNModel(preset, cell: options.cell)
      alone =
        sampleInterleaved(
          [Variant { runs in for _ in 0..<runs { step(model, gradients(model)) } }],
          seconds: seconds / 3)[0]
    }
    let before = world.statistics
    var steps = 0
    let samples = try RankTimer(world: world).samples(seconds: seconds / 2) {
      let means = try world.mean(gradients(model), weight: Double(own.batch))
      step(model, means)
      steps += 1
    }
    let after = world.statistics
    try world.requireEqual(model.parameters)
    let transfer = (after.transferSeconds - before.transferSeconds) * 1e9 / Double(steps)
    let waiting = (after.waitingSeconds - before.waitingSeconds) * 1e9 / Double(steps)
    let base = try world.broadcast(alone.median)
    let parts = scaling == .weak ? 1 : Double(world.size)
    let efficiency = base / (parts * samples.median)
    var row = ResultRow("W1 ranks", preset.name)
    row.mode = scaling.rawValue
    row.cell = options.cell.rawValue
    row.samples = samples
    row.extra = [
      ("ranks", .number(Double(world.size))), ("batch", .number(Double(own.batch))),
      ("alone_us", .number(base / 1e3)), ("collective_us", .number(transfer / 1e3)),
      ("waiting_us", .number(waiting / 1e3)), ("efficiency", .number(efficiency)),
    ]
    var cells = [
      preset.name, "\(own.batch)", Format.microseconds(base), Format.microseconds(samples.median),
      Format.microseconds(transfer), Format.microseconds(waiting),
      Format.microseconds(max(samples.median - transfer - waiting, 0)),
      Format.fixed(efficiency, 2),
    ]
    if let network, let simulated = options.simulate {
      let bytes = Double(4 * (1 + model.parameters.reduce(0) { $0 + $1.count }))
      let work = scaling == .weak ? base : base / Double(simulated)
      let modelled = work + network.nanoseconds(bytes: bytes, ranks: simulated)
      row.extra.append(("modelled_ranks", .number(Double(simulated))))
      row.extra.append(("modelled_us", .number(modelled / 1e3)))
      cells.append(Format.microseconds(modelled))
    }
    report.add(row)
    return cells
  }

  /// The loss and its gradients, recorded.
  private func gradients(_ model: RNNModel) -> [Tensor] {
    let loss = model.recordLoss()
    return [loss] + LazyGrad.gradients(of: loss, withRespectTo: model.parameters)
  }

  /// A step of gradient descent.
  private func step(_ model: RNNModel, _ results: [Tensor]) {
    noAutodiff {
      for (parameter, gradient) in zip(model.parameters, results.dropFirst()) {
        parameter -= gradient * 0.001
      }
    }
    eval([results[0]] + model.parameters)
  }
}

extension RNNPreset {
  /// One rank's part of the batch; what it has to give is not known beforehand.
  fileprivate func divided(by ranks: Int) -> RNNPreset {
    RNNPreset(
      name: name, steps: steps, batch: batch / ranks, inputs: inputs, hidden: hidden,
      classes: classes, expected: [:])
  }
}
