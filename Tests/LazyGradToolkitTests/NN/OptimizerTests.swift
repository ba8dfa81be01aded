// Optimisers: the same numbers as PyTorch, one plan a step, state, errors.

import LazyGrad
import TestSupport
import Testing

@Suite("Optimisers")
struct OptimizerTests {
  /// The optimisers of generate.py, for any model.
  static let makers: [(name: String, make: @Sendable (any Parameterized) -> GradientOptimizer)] = [
    ("sgd", { SGD($0, rate: 0.1) }),
    (
      "sgd momentum",
      { SGD($0, rate: 0.1, momentum: 0.9, dampening: 0.3, weightDecay: 0.01) }
    ),
    ("sgd nesterov", { SGD($0, rate: 0.1, momentum: 0.9, nesterov: true) }),
    ("adam", { Adam($0, rate: 0.05) }),
    (
      "adam decay",
      { Adam($0, rate: 0.05, betas: (0.8, 0.95), eps: 1e-4, weightDecay: 0.1) }
    ),
    ("adamw", { AdamW($0, rate: 0.05, weightDecay: 0.1) }),
    ("rmsprop", { RMSProp($0, rate: 0.01) }),
    (
      "rmsprop centered",
      {
        RMSProp($0, rate: 0.01, alpha: 0.9, momentum: 0.5, centered: true, weightDecay: 0.01)
      }
    ),
    ("adagrad", { Adagrad($0, rate: 0.1) }),
    ("adagrad decay", { Adagrad($0, rate: 0.1, rateDecay: 0.05, weightDecay: 0.01) }),
    ("adadelta", { Adadelta($0) }),
    ("adadelta decay", { Adadelta($0, rate: 0.5, rho: 0.8, weightDecay: 0.01) }),
  ]

  private func check(
    _ problem: TorchProblem, _ losses: [Double], _ wanted: TorchFixture.Training, _ what: String,
    within bound: Double = 1e-10
  ) {
    expectClose(losses, wanted.losses, within: bound, "losses of \(what)")
    for (found, wanted) in zip(problem.parameters, wanted.parameters) {
      expectClose(found.elements, wanted, within: bound, "parameters of \(what)")
    }
  }

  @Test("50 steps are those of PyTorch", arguments: makers.map(\.name))
  func steps(name: String) throws {
    let fixture = try TorchFixture.read()
    let make = try #require(Self.makers.first { $0.name == name }).make
    let problem = TorchProblem()
    let optimizer = make(problem)
    let losses = (0..<50).map { _ in optimizer.step { problem.loss() }.item() }
    check(problem, losses, try #require(fixture.optimizers[name]), name)
    #expect(optimizer.stepCount == 50)
  }

  @Test("In float32 they are the same to some digits", arguments: makers.map(\.name))
  func singleSteps(name: String) throws {
    let fixture = try TorchFixture.read()
    let make = try #require(Self.makers.first { $0.name == name }).make
    let problem = TorchProblem(.float32)
    let optimizer = make(problem)
    let losses = (0..<50).map { _ in optimizer.step { problem.loss() }.item() }
    #expect(problem.parameters.allSatisfy { $0.dtype == .float32 })
    check(problem, losses, try #require(fixture.optimizers[name]), name, within: 2e-3)
  }

  @Test("Gradients that are clipped first, as in PyTorch")
  func clipping() throws {
    let fixture = try TorchFixture.read()
    let cases: [(String, GradientClipping, (TorchProblem) -> GradientOptimizer)] = [
      ("value", .value(0.05), { SGD($0, rate: 0.1) }),
      ("norm", .norm(0.1), { Adam($0, rate: 0.05) }),
    ]
    for (name, clipping, make) in cases {
      let problem = TorchProblem()
      let optimizer = make(problem)
      var losses: [Double] = []
      for _ in 0..<50 {
        let loss = problem.loss()
        loss.backward()
        optimizer.step(clipping: clipping)
        losses.append(loss.item())
      }
      check(problem, losses, try #require(fixture.clipping[name]), name)
    }
  }

  @Test("Clipped gradients by hand")
  func clippedByHand() {
    let gradients = [Tensor([3.0, -4.0]), Tensor([[0.0], [12.0]])]
    #expect(gradientNorm(gradients).item() == 13)
    #expect(clipped(gradients, by: .value(3.5)).map(\.elements) == [[3, -3.5], [0, 3.5]])
    let short = clipped(gradients, by: .norm(6.5))
    expectClose(short[0].elements, [1.5, -2], within: 1e-6)
    expectClose(short[1].elements, [0, 6], within: 1e-6)
    // What is short enough stays as it is.
    #expect(clipped(gradients, by: .norm(14)).map(\.elements) == gradients.map(\.elements))
    #expect(clipped([Tensor([0.0])], by: .norm(1))[0].elements == [0])
    #expect(clipped([Tensor([2.0], dtype: .float32)], by: .norm(1))[0].dtype == .float32)
    #expect(clipped([], by: .norm(1)).isEmpty)
    #expect(gradientNorm([]).item() == 0)
    #expect(tensorError { _ = clipped(gradients, by: .norm(-1)) }?.operation == "clipped")
    #expect(tensorError { _ = clipped(gradients, by: .value(.nan)) }?.operation == "clipped")
  }

  @Test("A rate that changes at every step, as in PyTorch")
  func schedule() throws {
    let fixture = try TorchFixture.read()
    let problem = TorchProblem()
    let optimizer = Adam(problem)
    let rate = LearningRate.oneCycle(0.1, steps: 50)
    let losses = (0..<50).map { step in
      optimizer.rate = rate(step)
      return optimizer.step { problem.loss() }.item()
    }
    check(problem, losses, fixture.scheduled, "one cycle")
  }

  // MARK: Plans

  @Test(
    "A step is one plan, which the second step finds whatever the rate is",
    arguments: makers.map(\.name))
  func plans(name: String) throws {
    let make = try #require(Self.makers.first { $0.name == name }).make
    for clipping in [nil, GradientClipping.norm(0.5)] {
      let problem = TorchProblem()
      let optimizer = make(problem)
      let objects = problem.parameters.map(ObjectIdentifier.init)
      optimizer.step(clipping: clipping) { problem.loss() }
      for rate in [0.01, 0, 1, 2, -0.5, 1e-9, 0.01] {
        optimizer.rate = rate
        let counts = PlanCounts { _ = optimizer.step(clipping: clipping) { problem.loss() } }
        #expect(counts == PlanCounts(hits: 1, misses: 0), "\(name), rate \(rate)")
        // Nothing is left to compute.
        let reading = PlanCounts { _ = problem.parameters.map(\.elements) }
        #expect(reading == PlanCounts(hits: 0, misses: 0))
      }
      #expect(problem.parameters.map(ObjectIdentifier.init) == objects)
      #expect(optimizer.namedParameters.map { ObjectIdentifier($0.tensor) } == objects)
    }
  }

  @Test("The running statistics of a model are in the step's plan, and the loss")
  func plansWithStatistics() {
    let model = Sequential(
      Dense(4, 8), BatchNorm(8), Function(relu), Dropout(0.25), Dense(8, 3))
    let problem = TorchProblem()
    let x = Tensor(problem.x, constant: true)
    let optimizer = Adam(model)
    var loss = Tensor(0.0)
    for step in 0..<6 {
      let counts = PlanCounts {
        loss = optimizer.step { softmaxCrossEntropy(model(x, training: true), problem.y) }
      }
      if step > 0 { #expect(counts == PlanCounts(hits: 1, misses: 0)) }
      let reading = PlanCounts {
        _ = loss.item()
        _ = model.namedTensors.map(\.tensor.elements)
      }
      #expect(reading == PlanCounts(hits: 0, misses: 0))
    }
  }

  @Test("Views of parameters see a step, a state that was taken doesn't")
  func views() {
    let problem = TorchProblem()
    let optimizer = Adam(problem)
    let before = optimizer.state
    for _ in 0..<5 { optimizer.step { problem.loss() } }
    // Views of parameters see the steps.
    let view = problem.parameters[0][0]
    let values = view.elements
    optimizer.step { problem.loss() }
    #expect(view.elements != values)
    #expect(view.elements == problem.parameters[0][0].elements)
    #expect(before.arrays.values.allSatisfy { Tensor(sharing: $0).elements.allSatisfy { $0 == 0 } })
  }

  @Test("A step is no part of a graph, and ends the gradient")
  func isNotRecorded() {
    let w = Tensor([1.0, 2])
    let optimizer = SGD([w], rate: 0.5)
    optimizer.step { (w * w).sum() }
    #expect(w.elements == [0, 0])
    #expect(w.grad == nil)
    #expect(!w.isConstant)
    optimizer.step { (w * 3).sum() }
    #expect(w.elements == [-1.5, -1.5])
  }

  // MARK: Which parameters

  @Test("Constants are left alone, tensors with two names move once")
  func whichParameters() {
    struct Tied: Parameterized {
      let first: Tensor
      let second: Tensor
      let frozen = Tensor([5.0], constant: true)
    }
    let w = Tensor([1.0])
    let model = Tied(first: w, second: w)
    let optimizer = SGD(model, rate: 1)
    #expect(optimizer.namedParameters.map(\.name) == ["first"])
    optimizer.step { (model.first + model.second + model.frozen).sum() }
    #expect(w.elements == [-1])
    #expect(model.frozen.elements == [5])
  }

  @Test("An optimiser for a part of a model")
  func part() {
    let (body, head) = (Dense(2, 3), Dense(3, 1))
    let before = body.snapshots
    let optimizer = SGD(head, rate: 0.1)
    optimizer.step { square(head(tanh(body(Tensor([[1.0, 2]]))))).sum() }
    #expect(body.snapshots == before)
  }

  @Test("Given gradients")
  func givenGradients() {
    let (a, b) = (Tensor([1.0, 2]), Tensor(3.0))
    let optimizer = SGD(["a": a, "b": b], rate: 1)
    // The loss does not depend on b: its gradient is zero.
    optimizer.step(gradients(of: (a * a).sum(), withRespectTo: [a, b]))
    #expect(a.elements == [-1, -2])
    #expect(b.item() == 3)
  }

  // MARK: Errors

  @Test("A missing gradient is an error with the name and the reason, and changes nothing")
  func missingGradient() {
    let (a, b) = (Tensor([1.0, 2]), Tensor(3.0))
    let optimizer = Adam(["first": a, "second.bias": b])
    let error = tensorError {
      (a * a).sum().backward()
      optimizer.step()
    }
    #expect(error?.operation == "Adam")
    let message = error?.message ?? ""
    #expect(
      message.hasPrefix("expected a gradient for every parameter, got none for 'second.bias': no"),
      "\(message)")
    #expect(a.elements == [1, 2])
    #expect(optimizer.stepCount == 0)
    #expect(optimizer.state.arrays["first.mean"].map { Tensor(sharing: $0).elements } == [0, 0])
  }

  @Test("Wrong gradients, and a failed forward pass, change nothing")
  func wrongGradients() throws {
    let w = Tensor([1.0, 2])
    let optimizer = Adam([w])
    #expect(tensorError { optimizer.step([]) }?.message.contains("1 parameters, got 0") == true)
    let shape = tensorError { optimizer.step([Tensor([1.0])]) }
    #expect(shape?.message == "expected a gradient of shape [2] for '0', got [1]")
    let failed = tensorError { optimizer.step { matmul(w, Tensor([1.0, 2, 3])) } }
    #expect(failed?.operation == "matmul")
    #expect(w.elements == [1, 2])
    let limit = tensorError { optimizer.step(clipping: .norm(-1)) { (w * w).sum() } }
    #expect(limit?.operation == "clipped")
    #expect(w.elements == [1, 2])
    #expect(optimizer.stepCount == 0)
    // And it goes on.
    optimizer.step { (w * w).sum() }
    expectClose(w.elements, [0.999, 1.999], within: 1e-9)
  }

  @Test("Models without variables and impossible options are refused")
  func refusals() {
    let constant = Tensor([1.0], constant: true)
    #expect(
      tensorError { _ = Adam([constant]) }?.description
        == "Adam: expected a model with variables, got none")
    let w = Tensor([1.0])
    #expect(tensorError { _ = SGD([w], rate: 1, nesterov: true) }?.operation == "SGD")
    #expect(tensorError { _ = LBFGS([constant]) }?.operation == "LBFGS")
    #expect(tensorError { _ = LBFGS([w], history: 0) }?.operation == "LBFGS")
  }

  // MARK: State

  @Test("A training that is resumed goes on to the same bits", arguments: makers.map(\.name))
  func resuming(name: String) throws {
    let make = try #require(Self.makers.first { $0.name == name }).make
    let (whole, half) = (TorchProblem(), TorchProblem())
    let (first, second) = (make(whole), make(half))
    for _ in 0..<20 { first.step { whole.loss() } }
    for _ in 0..<10 { second.step { half.loss() } }

    let (values, state) = (half.snapshots, second.state)
    let resumed = TorchProblem()
    let third = make(resumed)
    try resumed.load(values)
    try third.load(state)
    #expect(third.stepCount == 10)
    for _ in 0..<10 { third.step { resumed.loss() } }
    #expect(resumed.snapshots == whole.snapshots)
    #expect(third.state == first.state)
    // The state is a value: what it was is not changed by the steps.
    #expect(second.state == state)
  }

  @Test("A state of something else is refused as a whole")
  func wrongState() {
    let w = Tensor([1.0, 2])
    let (adam, sgd) = (Adam(["w": w]), SGD(["w": w], rate: 1, momentum: 0.5))
    sgd.step { (w * w).sum() }
    let before = adam.state
    #expect(throws: ParameterError.self) { try adam.load(sgd.state) }
    #expect(adam.state == before)
    for count in [-1, .min, .max] {
      let wrong = OptimizerState(stepCount: count, arrays: before.arrays)
      #expect(throws: ParameterError.self) { try adam.load(wrong) }
    }
    #expect(adam.state == before)
    let other = Adam(["w": Tensor([1.0])])
    do {
      try adam.load(other.state)
      Issue.record("loaded")
    } catch {
      #expect(error.mismatches.map(\.name).sorted() == ["w.mean", "w.square"])
      #expect(error.description.contains("'w.mean': expected [2], got [1]"), "\(error)")
    }
  }
}
