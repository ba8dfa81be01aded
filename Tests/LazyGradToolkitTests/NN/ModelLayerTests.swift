// Layers: the same numbers as PyTorch, formulas by hand, shapes at their edges, errors.

import LazyGrad
import Testing

@Suite("Layers of models")
struct ModelLayerTests {
  private typealias Mapped = (name: String, torch: (TorchFixture.Layer, Bool) -> Tensor)

  /// Loads a layer's tensors from a state dictionary, and compares output and gradients.
  private func check(
    _ layer: some Layer, _ name: String, training: Bool = false, _ mapping: [Mapped],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let fixture = try #require(try TorchFixture.read().layers[name])
    let values = mapping.reduce(into: [:]) { $0[$1.name] = $1.torch(fixture, false) }
    try layer.load(values)
    let x = fixture.input
    let y = layer(x, training: training)
    #expect(y.shape == fixture.yShape, sourceLocation: sourceLocation)
    square(y).sum().backward()
    expectClose(
      y.elements, fixture.y, within: 1e-10, "\(name): output", sourceLocation: sourceLocation)
    expectClose(
      x.gradient.elements, fixture.dx, within: 1e-9, "\(name): input",
      sourceLocation: sourceLocation
    )
    for (own, tensor) in layer.namedParameters {
      let wanted = try #require(mapping.first { $0.name == own }).torch(fixture, true)
      #expect(tensor.shape == wanted.shape, sourceLocation: sourceLocation)
      expectClose(
        tensor.gradient.elements, wanted.elements, within: 1e-9, "\(name): \(own)",
        sourceLocation: sourceLocation)
    }
  }

  private static func same(_ name: String) -> Mapped {
    (name, { layer, isGradient in isGradient ? layer.gradient(name) : layer.tensor(name) })
  }

  private static func transposed(_ own: String, _ name: String) -> Mapped {
    (own, { layer, isGradient in (isGradient ? layer.gradient(name) : layer.tensor(name)).T })
  }

  /// The gradient of a sum is that of each part.
  private static func sum(_ own: String, _ a: String, _ b: String) -> Mapped {
    (
      own,
      { layer, isGradient in isGradient ? layer.gradient(a) : layer.tensor(a) + layer.tensor(b) }
    )
  }

  @Test("Outputs and gradients are those of PyTorch")
  func torch() throws {
    try check(
      Dense(5, 3), "linear", [Self.transposed("weight", "weight"), Self.same("bias")])
    try check(
      Conv(2, 3, kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2]), "conv",
      [Self.same("weight"), Self.same("bias")])
    try check(LayerNorm(6), "layer norm", [Self.same("weight"), Self.same("bias")])
    let recurrent: [Mapped] = [
      Self.transposed("inputWeight", "weight_ih_l0"),
      Self.transposed("stateWeight", "weight_hh_l0"),
      Self.sum("bias", "bias_ih_l0", "bias_hh_l0"),
    ]
    try check(RNN(3, 4), "rnn", recurrent)
    try check(LSTM(3, 4), "lstm", recurrent)
  }

  @Test("BatchNorm trains, keeps statistics and answers as PyTorch's")
  func batchNorm() throws {
    let fixture = try #require(try TorchFixture.read().layers["batch norm"])
    let layer = BatchNorm(3)
    #expect(throws: ParameterError.self) {
      try layer.load(fixture.state.mapValues { Tensor($0, shape: [$0.count]) })
    }
    try check(
      layer, "batch norm", training: true,
      ["weight", "bias", "running_mean", "running_var"].map(Self.same))
    let second = try #require(fixture.second)
    _ = layer(Tensor(second.batch, shape: [4, 3, 2, 2]), training: true)
    expectClose(layer.runningMean.elements, second.mean, within: 1e-12)
    expectClose(layer.runningVariance.elements, second.variance, within: 1e-12)
    let x = Tensor(second.x, shape: [2, 3, 2, 2])
    let (mean, variance) = (layer.runningMean.elements, layer.runningVariance.elements)
    let y = layer(x, training: false)
    expectClose(y.elements, second.y, within: 1e-10)
    // Answering changes no statistics.
    #expect(layer.runningMean.elements == mean)
    #expect(layer.runningVariance.elements == variance)
  }

  @Test("BatchNorm by hand")
  func batchNormByHand() {
    let layer = BatchNorm(1, momentum: 0.25, eps: 0, affine: false)
    #expect(layer.namedTensors.map(\.name) == ["running_mean", "running_var"])
    #expect(layer.parameters.isEmpty)
    let x = Tensor([[1.0], [5], [3]])
    let y = layer(x, training: true)
    // Mean 3, variance 8/3, unbiased 4.
    expectClose(y.elements, [-1, 1, 0].map { $0 * 1.5.squareRoot() }, within: 1e-12)
    #expect(layer.runningMean.elements == [0.75])
    expectClose(layer.runningVariance.elements, [0.75 + 1], within: 1e-12)
    expectClose(
      layer(Tensor([[2.5]]), training: false).elements, [1.75 / 1.75.squareRoot()], within: 1e-12)
    // Copies share what they are made of.
    let copy = layer
    _ = copy(x, training: true)
    expectClose(layer.runningMean.elements, [0.75 * 0.75 + 0.75], within: 1e-12)
  }

  @Test("Statistics are kept without a graph, and gradients go through the batch's")
  func batchNormGraph() {
    let layer = BatchNorm(2)
    let x = Tensor([[1.0, 2], [3, 5], [4, -1]])
    (layer(x, training: true) * Tensor([[1.0, 2], [3, 4], [5, 6]])).sum().backward()
    #expect(layer.runningMean.isConstant)
    expectClose(x.gradient.sum(axis: 0).elements, [0, 0], within: 1e-12)
    #expect(layer.weight?.grad != nil && layer.bias?.grad != nil)
    // Answering, both reach gamma and beta as well.
    layer(x, training: false).sum().backward()
    #expect(layer.bias?.gradient.elements == [3, 3])
    let before = layer.runningMean.elements
    noAutodiff { _ = layer(x, training: true) }
    #expect(layer.runningMean.elements != before)
  }

  @Test("Single precision stays single")
  func types() {
    let model = Sequential(
      Conv(1, 2, kernel: [3], padding: [1], dtype: .float32), BatchNorm(2, dtype: .float32),
      Function(relu), MaxPool([2]), Flatten(), LayerNorm(6, dtype: .float32), Dropout(0.5),
      Dense(6, 3, dtype: .float32))
    let x = Tensor.ones([2, 1, 6], dtype: .float32) * Tensor([1, 2, 3, 4, 5, 6] as [Float])
    for training in [true, false] {
      #expect(model(x, training: training).dtype == .float32)
      #expect(model(x, training: training).shape == [2, 3])
    }
    #expect(model.namedTensors.allSatisfy { $0.tensor.dtype == .float32 })
    let sequence = Tensor.ones([3, 2, 4], dtype: .float32)
    #expect(RNN(4, 5, dtype: .float32)(sequence).dtype == .float32)
    #expect(GRU(4, 5, dtype: .float32)(sequence).dtype == .float32)
    #expect(LSTM(4, 5, dtype: .float32)(sequence).dtype == .float32)
    #expect(Embedding(7, 2, dtype: .float32)(NDArray([1, 2])).dtype == .float32)
  }

  @Test("Gradients reach every parameter")
  func gradientsReachAll() {
    struct Network: Layer {
      let table = Embedding(5, 4)
      let gru = GRU(4, 3)
      let lstm = LSTM(3, 3)
      let rnn = RNN(3, 4, activation: softplus)
      let rest = Sequential(Dense(4, 6), BatchNorm(6), Function(tanh), LayerNorm(6), Dense(6, 2))
      func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
        let states = rnn(lstm(gru(table(x))) + 1)
        return rest(states[-1], training: training)
      }
    }
    let model = Network()
    let x = Tensor([[0, 1, 2], [3, 4, 0], [1, 1, 1], [2, 0, 4]])
    square(model(x, training: true)).sum().backward()
    for (name, parameter) in model.namedParameters {
      #expect(parameter.grad != nil, "\(name)")
      #expect(
        (parameter.grad?.elements ?? []).contains { $0 != 0 } || name == "rest.0.bias", "\(name)")
    }
    #expect(model.namedParameters.count == 1 + 9 + 3 + 3 + 2 + 2 + 2 + 2)
  }

  @Test("Dropout leaves out and scales in training, by a key, and passes on afterwards")
  func dropout() {
    let layer = Dropout(0.25)
    let x = Tensor.ones([1000])
    let key = RandomKey(3)
    let y = layer(x, training: true, key: key)
    #expect(y.elements == layer(x, training: true, key: key).elements)
    #expect(y.elements != layer(x, training: true, key: RandomKey(4)).elements)
    let kept = y.elements.filter { $0 != 0 }
    #expect(kept.allSatisfy { abs($0 - 4.0 / 3) < 1e-12 })
    #expect((650...850).contains(kept.count))
    #expect(layer(x, training: false).elements == x.elements)
    #expect(layer(x, training: true).elements != layer(x, training: true).elements)
    #expect(layer.namedTensors.isEmpty)
    #expect(Dropout(0)(x, training: true).elements == x.elements)
  }

  @Test("The same key gives the same weights, in the bounds")
  func initialValues() {
    let key = RandomKey(8)
    let pairs: [(any Layer, any Layer)] = [
      (Dense(9, 4, key: key), Dense(9, 4, key: key)),
      (Conv(2, 3, kernel: [2, 2], key: key), Conv(2, 3, kernel: [2, 2], key: key)),
      (Embedding(5, 3, key: key), Embedding(5, 3, key: key)),
      (GRU(3, 9, key: key), GRU(3, 9, key: key)),
      (LSTM(3, 9, key: key), LSTM(3, 9, key: key)), (RNN(3, 9, key: key), RNN(3, 9, key: key)),
    ]
    for (a, b) in pairs {
      #expect(a.snapshots == b.snapshots)
      // Tensors of one layer are drawn by keys of their own.
      let starts = a.parameters.map { $0.elements[0] }
      #expect(Set(starts).count == starts.count)
    }
    let largest = Dense(9, 400).parameters.map { abs($0).max().item() }
    #expect(largest.allSatisfy { $0 <= 1.0 / 3 && $0 > 0.3 })
  }

  // MARK: Sequences

  @Test("Sequences of no step and of one")
  func shortSequences() {
    let (rnn, gru, lstm) = (RNN(3, 4), GRU(3, 4), LSTM(3, 4))
    for steps in [0, 1] {
      let x = Tensor.ones([steps, 2, 3])
      for outputs in [rnn(x), gru(x), lstm(x)] { #expect(outputs.shape == [steps, 2, 4]) }
      for state in [
        rnn(x, state: nil).state, gru(x, state: nil).state, lstm(x, state: nil).state.memory,
      ] {
        #expect(state.shape == [2, 4])
        #expect(state.elements.allSatisfy { ($0 == 0) == (steps == 0) })
      }
      let given = Tensor.ones([2, 4])
      if steps == 0 {
        #expect(rnn(x, state: given).state.elements == given.elements)
        #expect(gru(x, state: given).state.elements == given.elements)
        let state = lstm(x, state: .init(output: given, memory: given * 2)).state
        #expect(state.output.elements == given.elements)
        #expect(state.memory.elements == (given * 2).elements)
      }
    }
  }

  @Test("Steps are a sequence, and so are sequences one after the other")
  func stepping() {
    var noise = Noise(21)
    let x = noise.tensor(6, 2, 3)
    let (rnn, gru, lstm) = (RNN(3, 4), GRU(3, 4), LSTM(3, 4))
    var (a, b) = (Tensor?.none, Tensor?.none)
    var c: LSTM.State?
    for t in 0..<6 {
      a = rnn.step(x[t], state: a)
      b = gru.step(x[t], state: b)
      c = lstm.step(x[t], state: c)
      expectClose(a!.elements, rnn(x)[t].elements, within: 1e-12)
      expectClose(b!.elements, gru(x)[t].elements, within: 1e-12)
      expectClose(c!.output.elements, lstm(x)[t].elements, within: 1e-12)
    }
    expectClose(c!.memory.elements, lstm(x, state: nil).state.memory.elements, within: 1e-12)
    let (first, second) = (x[..<2], x[2...])
    expectClose(
      gru(second, state: gru(first, state: nil).state).outputs.elements, gru(x)[2...].elements,
      within: 1e-12)
    expectClose(
      lstm(second, state: lstm(first, state: nil).state).outputs.elements, lstm(x)[2...].elements,
      within: 1e-12)
    expectClose(
      rnn(second, state: rnn(first, state: nil).state).outputs.elements, rnn(x)[2...].elements,
      within: 1e-12)
  }

  @Test("A recurrent step by hand")
  func stepByHand() throws {
    let layer = RNN(1, 1)
    try layer.load([
      "inputWeight": Tensor([[2.0]]), "stateWeight": Tensor([[0.5]]), "bias": Tensor([-1.0]),
    ])
    let y = layer(Tensor([[[1.0]], [[0.25]]]))
    let first = 0.7615941559557649  // tanh 1
    expectClose(y.elements, [first, tanh(Tensor(0.5 * first - 0.5)).item()], within: 1e-15)
  }

  // MARK: Edges

  @Test("Empty batches give empty results")
  func emptyBatches() {
    #expect(Dense(3, 2)(Tensor.zeros([0, 3])).shape == [0, 2])
    #expect(Conv(1, 2, kernel: [3])(Tensor.zeros([0, 1, 5])).shape == [0, 2, 3])
    #expect(MaxPool([2])(Tensor.zeros([0, 1, 4])).shape == [0, 1, 2])
    #expect(BatchNorm(3)(Tensor.zeros([0, 3]), training: false).shape == [0, 3])
    #expect(LayerNorm(3)(Tensor.zeros([0, 3])).shape == [0, 3])
    #expect(Embedding(4, 2)(NDArray.zeros([0], dtype: .int64)).shape == [0, 2])
    #expect(Dropout()(Tensor.zeros([0, 3]), training: true).shape == [0, 3])
    #expect(Flatten()(Tensor.zeros([0, 2, 3])).shape == [0, 6])
    let recurrent: [any PlainLayer] = [RNN(2, 3), GRU(2, 3), LSTM(2, 3)]
    for layer in recurrent { #expect(layer(Tensor.zeros([4, 0, 2])).shape == [4, 0, 3]) }
    let dense = Dense(3, 2)
    dense(Tensor.zeros([0, 3])).sum().backward()
    #expect(dense.weight.gradient.elements == [0, 0, 0, 0, 0, 0])
  }

  @Test("Layers take any number of axes before their own")
  func axes() {
    let dense = Dense(weight: Tensor([[1.0], [2.0]]))
    #expect(dense(Tensor([3.0, 4])).elements == [11])
    #expect(dense(Tensor.ones([2, 3, 2])).shape == [2, 3, 1])
    #expect(dense.namedTensors.map(\.name) == ["weight"])
    #expect(MaxPool([2, 2], stride: [1])(Tensor.ones([3, 3])).shape == [2, 2])
    #expect(Conv(1, 1, kernel: [2, 2, 2])(Tensor.ones([1, 1, 3, 3, 3])).shape == [1, 1, 2, 2, 2])
    #expect(Conv(1, 2, kernel: [3], bias: false).namedTensors.count == 1)
  }

  @Test("What does not fit is refused with the layer's name and shapes")
  func refusals() {
    let x = Tensor.ones([2, 3])
    let cases: [(String, () -> Any)] = [
      ("Dense(4, 2): expected inputs [..., 4], got [2, 3]", { Dense(4, 2)(x) }),
      ("Dense(4, 2): expected inputs [..., 4], got []", { Dense(4, 2)(Tensor(1.0)) }),
      ("Dense: expected a weight [inputs, outputs], got [3]", { Dense(weight: Tensor.ones([3])) }),
      (
        "Dense: expected a bias of shape [3], got [2]",
        { Dense(weight: x, bias: Tensor.ones([2])) }
      ),
      (
        "Conv[2, 1, 3, 3]: expected [N, 1, X, X], got [2, 3]",
        { Conv(1, 2, kernel: [3, 3])(x) }
      ),
      (
        "Conv[2, 1, 3]: expected [N, 1, X], got [2, 3, 4]",
        { Conv(1, 2, kernel: [3])(Tensor.ones([2, 3, 4])) }
      ),
      (
        "convND: windows of 3 elements at a distance of 1, moved by 2, don't fit an axis of length 4",
        { Conv(1, 2, kernel: [3], stride: [2])(Tensor.ones([2, 1, 4])) }
      ),
      (
        "maxPool: windows of 2 elements at a distance of 1, moved by 2, don't fit an axis of length 3",
        { MaxPool([2])(x) }
      ),
      ("BatchNorm(4): expected [N, 4, ...], got [2, 3]", { BatchNorm(4)(x, training: true) }),
      (
        "BatchNorm(3): expected more than one element for each channel in training, got [1, 3]",
        { BatchNorm(3)(x[..<1], training: true) }
      ),
      (
        "BatchNorm(3): expected more than one element for each channel in training, got [0, 3]",
        { BatchNorm(3)(x[..<0], training: true) }
      ),
      ("LayerNorm(2): expected [..., 2], got [2, 3]", { LayerNorm(2)(x) }),
      ("embedding: expected whole numbers as indices, got float64", { Embedding(3, 2)(x) }),
      (
        "Dropout: expected a probability from 0 up to and without 1, got 1.0", { Dropout(1) }
      ),
      ("RNN(3, 4): expected a sequence [T, N, 3], got [2, 3]", { RNN(3, 4)(x) }),
      (
        "GRU(3, 4): expected a sequence [T, N, 3], got [2, 3, 5]",
        { GRU(3, 4)(Tensor.ones([2, 3, 5])) }
      ),
      (
        "LSTM(3, 4): expected a state [2, 4] for inputs [5, 2, 3], got [1, 4]",
        {
          let state = LSTM.State(output: .ones([1, 4]), memory: .ones([1, 4]))
          return LSTM(3, 4)(Tensor.ones([5, 2, 3]), state: state)
        }
      ),
      (
        "RNN(3, 4): expected one step [N, 3], got [1, 2, 3]",
        { RNN(3, 4).step(Tensor.ones([1, 2, 3])) }
      ),
      ("GRU(3, 4): expected one step [N, 3], got [2, 4]", { GRU(3, 4).step(Tensor.ones([2, 4])) }),
      (
        "LSTM(3, 4): expected a state [2, 4] for inputs [2, 3], got [2, 5]",
        { LSTM(3, 4).step(x, state: .init(output: .ones([2, 4]), memory: .ones([2, 5]))) }
      ),
      (
        "lstmStep: expected inputs [N, C] and weights [C, 4 D], got [2, 3] and [3, 6]",
        { lstmStep(x, Tensor.ones([3, 6]), x, x) }
      ),
      (
        "lstmStep: expected a weight, bias or state of shape [2, 8] for inputs of [2, 3], got [2, 3]",
        { lstmStep(x, Tensor.ones([3, 8]), x, x) }
      ),
      (
        "gruStep: expected inputs [N, C] and weights [C, D], got [3] and [2, 3]",
        { gruStep(x[0], x, x, x, x, x, x, x, x, x) }
      ),
      ("Flatten: expected at least one axis, [N, ...], got a scalar", { Flatten()(Tensor(1.0)) }),
    ]
    for (message, body) in cases {
      #expect(tensorError { _ = body() }?.description == message)
    }
  }

  @Test("The first error is the one that is told, and nothing is changed by it")
  func poison() {
    let norm = BatchNorm(3)
    let model = Sequential(Dense(4, 3), norm, Flatten(), LayerNorm(3), Dropout(), Dense(3, 1))
    let before = norm.snapshots
    let error = tensorError {
      let y = model(Tensor.ones([2, 5]), training: true)
      #expect(y.isPoisoned)
      #expect(RNN(1, 2)(y).isPoisoned && GRU(1, 2)(y).isPoisoned && LSTM(1, 2)(y).isPoisoned)
      #expect(RNN(1, 2).step(y).isPoisoned && LSTM(1, 2).step(y).memory.isPoisoned)
      #expect(Conv(1, 2, kernel: [3])(y).isPoisoned && MaxPool([2])(y).isPoisoned)
    }
    #expect(error?.operation == "Dense(4, 3)")
    #expect(error?.shapes == [[2, 5]])
    #expect(norm.snapshots == before)
    #expect(!Tensor(1.0).isPoisoned)
  }

  @Test("Statistics that are given to batchNorm, with gradients")
  func givenStatistics() {
    let x = Tensor([[1.0, 2], [3, 6]])
    let (mean, variance) = (Tensor([2.0, 4]), Tensor([4.0, 16]))
    let y = LazyGrad.batchNorm(x, mean: mean, variance: variance, eps: 0)
    #expect(y.elements == [-0.5, -0.5, 0.5, 0.5])
    y[1].sum().backward()
    #expect(mean.gradient.elements == [-0.5, -0.25])
    #expect(variance.gradient.elements == [-0.5 / 8, -0.5 / 32])
    let own = LazyGrad.batchNorm(
      x, mean: x.mean(axis: 0), variance: x.var(axis: 0), gamma: mean, beta: variance, eps: 0.5)
    expectClose(
      own.elements, LazyGrad.batchNorm(x, gamma: mean, beta: variance, eps: 0.5).elements,
      within: 1e-12)
    let error = tensorError {
      _ = LazyGrad.batchNorm(x, mean: Tensor([1.0]), variance: variance, eps: 0)
    }
    #expect(
      error?.description
        == "batchNorm: expected statistics, gamma and beta of shape [2], got [1]")
  }

  @Test("Two tasks train layers of their own")
  func tasks() async throws {
    func train(_ weights: [String: TensorSnapshot]) throws -> [String: TensorSnapshot] {
      let model = Sequential(Dense(4, 6), BatchNorm(6), Function(tanh), Dense(6, 3))
      try model.load(weights)
      let problem = TorchProblem()
      let optimizer = Adam(model)
      for _ in 0..<50 {
        optimizer.step {
          softmaxCrossEntropy(model(Tensor(problem.x, constant: true), training: true), problem.y)
        }
      }
      return model.snapshots
    }
    let weights = Sequential(Dense(4, 6), BatchNorm(6), Function(tanh), Dense(6, 3)).snapshots
    let alone = try train(weights)
    try await withThrowingTaskGroup(of: [String: TensorSnapshot].self) { group in
      for _ in 0..<4 { group.addTask { try train(weights) } }
      for try await result in group { #expect(result == alone) }
    }
  }

  @Test("A model that is dropped gives its memory back")
  func dropping() {
    weak var weight: Tensor?
    do {
      let model = Sequential(Dense(4, 3), BatchNorm(3))
      let optimizer = Adam(model)
      optimizer.step { square(model(Tensor.ones([2, 4]), training: true)).sum() }
      weight = model.parameters[0]
      #expect(weight != nil)
    }
    #expect(weight == nil)
  }
}
