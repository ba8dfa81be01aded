// W5 and what belongs to it: everything that is not arithmetic. What does an operation cost to
// record, to release, to differentiate; what does a plan cost when it is known and when it is new.

import LazyGrad

/// The floor under any library of objects: one with two words of state.
private final class BareObject {
  let word: Int
  let tag: Int

  init(_ word: Int) {
    self.word = word
    tag = word
  }
}

/// Not inlined, so that the object really comes from the heap.
@inline(never)
private func makeBareObject(_ word: Int) -> BareObject { BareObject(word) }

/// The `overhead` command.
struct OverheadBenchmark {
  private static let chainLength = 1000

  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let share = seconds / 6
    report.progress("overhead: recording")
    let recording = Mode.guarded.measured { recordAndRelease(seconds: share) }
    report.progress("overhead: backward")
    let backward = Mode.guarded.measured { backwardNodes(seconds: share) }
    report.progress("overhead: chain of additions")
    let chain = try evaluatedChain(seconds: share)
    report.progress("overhead: plans")
    let plan = Mode.guarded.measured { planCosts(seconds: share) }
    report.progress("overhead: reading the loss early")
    let early = Mode.guarded.measured { earlyRead(seconds: share) }
    report.progress("overhead: every operation")
    let operations = Mode.guarded.measured { OverheadTable(report: report).rows(seconds: share) }

    report.line("Cost of one operation on 4-element tensors, in ns")
    report.table(["what", "median", "min"], leading: 1, recording + backward + chain)
    report.line()
    report.line("Where the time of one training pass of W1 M goes, in us")
    report.table(["what", "median", "min"], leading: 1, plan + early)
    report.line()
    report.line("Recording an operation on a 4 x 4 float32 tensor and dropping the result, in ns")
    report.table(["operation", "median", "min"], leading: 1, operations)
  }

  private func add(
    _ name: String, _ samples: Samples, perOperation: Bool, mode: Mode = .guarded,
    pass: Pass? = nil, peerCase: String? = nil
  ) -> [String] {
    var row = ResultRow("W5", name)
    row.mode = mode.rawValue
    row.pass = pass?.rawValue
    row.peerCase = peerCase
    if perOperation { row.perOperation = samples } else { row.samples = samples }
    report.add(row)
    let scale = perOperation ? 1 : 1e-3
    return [name, Format.number(samples.median * scale), Format.number(samples.minimum * scale)]
  }

  /// Records `x + c` and drops the result, next to making and dropping a bare object.
  private func recordAndRelease(seconds: Double) -> [[String]] {
    let x = Tensor(NDArray([0, 1, 2, 3] as [Float], shape: [4]))
    let c = constant()
    let samples = sampleInterleaved(
      [
        Variant { count in for _ in 0..<count { _ = x + c } },
        Variant { count in
          var sum = 0
          for index in 0..<count { sum &+= makeBareObject(index).tag }
          // Never true; keeps the sum, and with it the objects, alive for the optimiser.
          if sum == .min { report.line("\(sum)") }
        },
      ], seconds: seconds)
    return [
      add("record and release x + c", samples[0], perOperation: true),
      add("make and release a bare object", samples[1], perOperation: true),
    ]
  }

  /// The time of `backward()` over the nodes that it records: for a chain of products, which is one
  /// node per step and so mostly the walk, and for the recurrent network.
  private func backwardNodes(seconds: Double) -> [[String]] {
    let x = Tensor(NDArray([0, 1, 2, 3] as [Float], shape: [4]))
    let c = constant()
    let network = RNNModel(.medium)
    func chain() -> Tensor {
      var y = x
      for _ in 0..<Self.chainLength { y = y * c }
      return y
    }
    var rows: [[String]] = []
    for (name, record) in [
      ("1000 products", chain), ("W1 M", network.recordLoss),
    ] as [(String, () -> Tensor)] {
      var perNode = Samples()
      var nodes = 0.0
      let start = now()
      repeat {
        let head = record()
        let before = LazyGradEngine.counters.nodesRecorded
        let began = now()
        head.backward()
        let elapsed = Double(now() - began)
        nodes = Double(LazyGradEngine.counters.nodesRecorded - before)
        perNode.values.append(elapsed / nodes)
        x.nullGradient()
        network.parameters.forEach { $0.nullGradient() }
      } while Double(now() - start) < seconds * 1e9 / 2
      rows.append(
        add(
          "backward of \(name), per node of \(Format.count(nodes)) recorded", perNode,
          perOperation: true))
    }
    return rows
  }

  /// The peers' W5: 1000 additions and a sum, evaluated.
  private func evaluatedChain(seconds: Double) throws(BenchError) -> [[String]] {
    let x = Tensor(NDArray([0, 1, 2, 3] as [Float], shape: [4]))
    let c = constant()
    func sum() -> Tensor {
      var y = x
      for _ in 0..<Self.chainLength { y = y + c }
      return y.sum()
    }
    func trainingPass() -> Tensor {
      let loss = sum()
      loss.backward()
      eval([loss, x.grad!])
      return loss
    }
    for value in [trainingPass().item(), sum().item()] where value != 2006 {
      throw .wrongResult("overhead: 1000 additions sum to \(value), expected 2006")
    }
    let samples = sampleInterleaved(
      [
        Variant { count in
          Mode.untracked.run { for _ in 0..<count { sum().eval() } }
        },
        Variant { count in Mode.guarded.run { for _ in 0..<count { sum().eval() } } },
        Variant { count in Mode.guarded.run { for _ in 0..<count { _ = trainingPass() } } },
      ], seconds: seconds)
    let variants: [(name: String, mode: Mode, pass: Pass)] = [
      ("chain of 1000 additions, noautodiff", .untracked, .forward),
      ("chain of 1000 additions, forward", .guarded, .forward),
      ("chain of 1000 additions, with gradients", .guarded, .train),
    ]
    return zip(variants, samples).map { variant, samples in
      let perOperation = Samples(values: samples.values.map { $0 / Double(Self.chainLength) })
      return add(
        variant.name, perOperation, perOperation: true, mode: variant.mode, pass: variant.pass,
        peerCase: "chain")
    }
  }

  /// Splits one training pass into recording, kernels and the rest of a plan hit.
  private func planCosts(seconds: Double) -> [[String]] {
    let model = RNNModel(.medium)
    model.trainingPass()
    model.trainingPass()
    LazyGradEngine.measuresOverhead = true
    var forward = Samples()
    var backward = Samples()
    var kernels = Samples()
    var overhead = Samples()
    let begin = now()
    repeat {
      let start = now()
      let loss = model.recordLoss()
      let recorded = now()
      loss.backward()
      let before = Double(LazyGradEngine.counters.planOverheadNanoseconds)
      let differentiated = now()
      model.evaluate(loss)
      let evaluated = now()
      let around = Double(LazyGradEngine.counters.planOverheadNanoseconds) - before
      forward.values.append(Double(recorded - start))
      backward.values.append(Double(differentiated - recorded))
      overhead.values.append(around)
      kernels.values.append(Double(evaluated - differentiated) - around)
    } while Double(now() - begin) < seconds * 1e9
    LazyGradEngine.measuresOverhead = false

    let calls = firstCalls({ model.trainingPass() }, repetitions: 9)
    return [
      add("recording the forward pass", forward, perOperation: false),
      add("recording the backward pass", backward, perOperation: false),
      add("plan hit: look-up, binding, hand-over, return", overhead, perOperation: false),
      add("kernels", kernels, perOperation: false),
      add("first call of a new plan", Samples(values: [calls.first]), perOperation: false),
      add("second call", Samples(values: [calls.second]), perOperation: false),
    ]
  }

  /// Whether reading the loss before the backward pass costs a second forward pass.
  private func earlyRead(seconds: Double) -> [[String]] {
    let model = RNNModel(.medium)
    let samples = sampleInterleaved(
      [
        Variant { count in
          for _ in 0..<count { _ = model.trainingPass().item() }
        },
        Variant { count in
          for _ in 0..<count {
            let loss = model.recordLoss()
            _ = loss.item()
            loss.backward()
            model.evaluate(loss)
          }
        },
      ], seconds: seconds)
    let ratio = samples[1].ratio(to: samples[0])
    var row = ResultRow("W5", "loss read before backward over after")
    row.extra = [("ratio", .number(ratio))]
    report.add(row)
    return [
      add("whole pass, loss read after backward", samples[0], perOperation: false),
      add("whole pass, loss read before backward", samples[1], perOperation: false),
      [row.name, Format.ratio(ratio), ""],
    ]
  }

  private func constant() -> Tensor {
    Tensor(NDArray([0.5, 0.5, 0.5, 0.5] as [Float], shape: [4]), constant: true)
  }
}

extension Mode {
  /// As `run`, with a result.
  fileprivate func measured<Result>(_ work: () -> Result) -> Result {
    var result: Result?
    run { result = work() }
    return result!
  }
}
