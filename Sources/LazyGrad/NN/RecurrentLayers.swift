// Layers over sequences, `[T, N, C]`: steps, samples, features, or one step, `[N, C]`.

/// A recurrent network's simplest layer: `s = tanh(x W + s U + b)` (Elman, Finding Structure in Time, 1990).
///
/// | tensor | shape | PyTorch's `RNN` |
/// |---|---|---|
/// | `inputWeight` | `[C, D]` | `weight_ih_l0` transposed |
/// | `stateWeight` | `[D, D]` | `weight_hh_l0` transposed |
/// | `bias` | `[D]` | `bias_ih_l0 + bias_hh_l0` |
public struct RNN: PlainLayer {
  /// What inputs are multiplied by, `[C, D]`.
  public let inputWeight: Tensor
  /// What states are multiplied by, `[D, D]`.
  public let stateWeight: Tensor
  /// What is added, `[D]`.
  public let bias: Tensor
  private let activation: (Tensor) -> Tensor

  /// A layer with random weights, evenly distributed up to 1 / √D to both sides, as PyTorch begins.
  ///
  /// - Parameters:
  ///   - features: The number C of features of an input.
  ///   - width: The number D of those of a state.
  ///   - activation: The function that gives a state.
  ///   - dtype: A floating type.
  ///   - key: What the weights depend on; nil: the next of the default stream.
  public init(
    _ features: Int, _ width: Int, activation: @escaping (Tensor) -> Tensor = { tanh($0) },
    dtype: DType = .float64, key: RandomKey? = nil
  ) {
    let draw = Recurrence.weights(width, dtype, key)
    inputWeight = draw([features, width])
    stateWeight = draw([width, width])
    bias = draw([width])
    self.activation = activation
  }

  /// The states after each step, from a state of zeros.
  ///
  /// - Parameter x: Of shape `[T, N, C]`.
  /// - Returns: Of shape `[T, N, D]`.
  /// - Complexity: records one product for all steps, and one and two more operations for each.
  public func callAsFunction(_ x: Tensor) -> Tensor { self(x, state: nil).outputs }

  /// The states after each step, and the last one.
  ///
  /// - Parameters:
  ///   - x: Of shape `[T, N, C]`.
  ///   - state: The state before the first step, `[N, D]`; nil: zeros.
  /// - Returns: The states `[T, N, D]`, and that after the last step, `[N, D]`.
  public func callAsFunction(_ x: Tensor, state: Tensor?) -> (outputs: Tensor, state: Tensor) {
    if let refusal = Recurrence.refusal("RNN", x, axes: 3, inputWeight, [state], 1) {
      return (refusal, refusal)
    }
    let (steps, samples, width) = (x.shape[0], x.shape[1], bias.shape[0])
    let forAllSteps = (matmul(x.reshaped(steps * samples, x.shape[2]), inputWeight) + bias)
      .reshaped(steps, samples, width)
    var state = state ?? .zeros([samples, width], dtype: forAllSteps.dtype, constant: true)
    if steps == 0 { return (forAllSteps, state) }
    var outputs: [Tensor] = []
    for t in 0..<steps {
      state = next(forAllSteps[t], state)
      outputs.append(state)
    }
    return (stack(outputs), state)
  }

  /// The state after one step.
  ///
  /// - Parameters:
  ///   - x: Of shape `[N, C]`.
  ///   - state: The state before it, `[N, D]`; nil: zeros.
  /// - Returns: Of shape `[N, D]`.
  public func step(_ x: Tensor, state: Tensor? = nil) -> Tensor {
    if let refusal = Recurrence.refusal("RNN", x, axes: 2, inputWeight, [state], 1) {
      return refusal
    }
    return next(matmul(x, inputWeight) + bias, state)
  }

  /// A state, of what the inputs give and the state before.
  private func next(_ input: Tensor, _ state: Tensor?) -> Tensor {
    let state = state ?? .zeros(input.shape, dtype: input.dtype, constant: true)
    return activation(input + matmul(state, stateWeight))
  }
}

/// A gated recurrent unit: `gru` with weights of its own.
///
/// The names of its tensors are those of the operands of `gru`, and of MyGrad's layer: `uz`, `ur` and `uh`
/// are `[C, D]`, `wz`, `wr` and `wh` `[D, D]`, `bz`, `br` and `bh` `[D]`.
///
/// PyTorch's `GRU` computes something else: it multiplies by the reset gate after the product with the state, not
/// before, and has a bias there. That is the layer which has a `stateBias`: `GRU(16, 32, resetsAfterProduct:
/// true)`, or one of PyTorch's own tensors, `init(inputWeight:stateWeight:inputBias:stateBias:)`:
///
///     let file = try SafeTensors("gru.safetensors")
///     let layer = GRU(
///       inputWeight: try file.tensor("weight_ih_l0"), stateWeight: try file.tensor("weight_hh_l0"),
///       inputBias: try file.tensor("bias_ih_l0"), stateBias: try file.tensor("bias_hh_l0"))
public struct GRU: PlainLayer {
  /// What inputs are multiplied by for the update gate, `[C, D]`.
  public let uz: Tensor
  /// What states are multiplied by for the update gate, `[D, D]`.
  public let wz: Tensor
  /// What is added for the update gate, `[D]`.
  public let bz: Tensor
  /// What inputs are multiplied by for the reset gate, `[C, D]`.
  public let ur: Tensor
  /// What states are multiplied by for the reset gate, `[D, D]`.
  public let wr: Tensor
  /// What is added for the reset gate, `[D]`.
  public let br: Tensor
  /// What inputs are multiplied by for the new state, `[C, D]`.
  public let uh: Tensor
  /// What states are multiplied by for the new state, `[D, D]`.
  public let wh: Tensor
  /// What is added for the new state, `[D]`.
  public let bh: Tensor
  /// What is added to the state's product before the reset gate multiplies that, `[D]`; nil: the gate
  /// multiplies the state.
  public let stateBias: Tensor?

  /// A layer with random weights, evenly distributed up to 1 / √D to both sides.
  ///
  /// - Parameters:
  ///   - features: The number C of features of an input.
  ///   - width: The number D of those of a state.
  ///   - resetsAfterProduct: Whether it is PyTorch's layer, with a `stateBias`.
  ///   - dtype: A floating type.
  ///   - key: What the weights depend on; nil: the next of the default stream.
  public init(
    _ features: Int, _ width: Int, resetsAfterProduct: Bool = false, dtype: DType = .float64,
    key: RandomKey? = nil
  ) {
    let draw = Recurrence.weights(width, dtype, key)
    (uz, wz, bz) = (draw([features, width]), draw([width, width]), draw([width]))
    (ur, wr, br) = (draw([features, width]), draw([width, width]), draw([width]))
    (uh, wh, bh) = (draw([features, width]), draw([width, width]), draw([width]))
    stateBias = resetsAfterProduct ? draw([width]) : nil
  }

  /// The layer that PyTorch's `GRU` of one direction is, of copies of its tensors as they are there: each has
  /// the parts of reset gate, update gate and new state one below the other.
  ///
  /// - Parameters:
  ///   - inputWeight: `weight_ih_l0`, `[3 D, C]`.
  ///   - stateWeight: `weight_hh_l0`, `[3 D, D]`.
  ///   - inputBias: `bias_ih_l0`, `[3 D]`; nil, with the other: zeros, for `bias=False`.
  ///   - stateBias: `bias_hh_l0`, `[3 D]`.
  /// - Complexity: forces evaluation.
  public init(
    inputWeight: Tensor, stateWeight: Tensor, inputBias: Tensor? = nil, stateBias: Tensor? = nil
  ) {
    let width = stateWeight.shape.last ?? 0
    let (first, second) = (
      inputBias ?? .zeros([3 * width], dtype: inputWeight.dtype),
      stateBias ?? .zeros([3 * width], dtype: inputWeight.dtype)
    )
    let all = [inputWeight, stateWeight, first, second]
    var refusal = all.first(where: \.isPoisoned)
    if refusal == nil,
      inputWeight.rank != 2 || inputWeight.shape[0] != 3 * width
        || stateWeight.shape != [3 * width, width] || first.shape != [3 * width]
        || second.shape != [3 * width]
    {
      refusal = .failure(
        "GRU",
        "expected weights [3 D, C] and [3 D, D] and biases [3 D], got "
          + all.map { "\($0.shape)" }.joined(separator: ", "), operands: all)
    }
    if let refusal {
      (uz, wz, bz, ur, wr, br) = (refusal, refusal, refusal, refusal, refusal, refusal)
      (uh, wh, bh, self.stateBias) = (refusal, refusal, refusal, refusal)
      return
    }
    func part(_ tensor: Tensor, _ gate: Int) -> Tensor {
      tensor[(gate * width)..<((gate + 1) * width)]
    }
    func weight(_ tensor: Tensor, _ gate: Int) -> Tensor {
      part(tensor, gate).T.copy(constant: tensor.isConstant)
    }
    func bias(_ gate: Int) -> Tensor {
      (part(first, gate) + part(second, gate)).copy(constant: first.isConstant)
    }
    (ur, wr, br) = (weight(inputWeight, 0), weight(stateWeight, 0), bias(0))
    (uz, wz, bz) = (weight(inputWeight, 1), weight(stateWeight, 1), bias(1))
    (uh, wh) = (weight(inputWeight, 2), weight(stateWeight, 2))
    bh = part(first, 2).copy(constant: first.isConstant)
    self.stateBias = part(second, 2).copy(constant: second.isConstant)
  }

  /// The states after each step, from a state of zeros.
  ///
  /// - Parameter x: Of shape `[T, N, C]`.
  /// - Returns: Of shape `[T, N, D]`.
  public func callAsFunction(_ x: Tensor) -> Tensor { self(x, state: nil).outputs }

  /// The states after each step, and the last one.
  ///
  /// - Parameters:
  ///   - x: Of shape `[T, N, C]`.
  ///   - state: The state before the first step, `[N, D]`; nil: zeros.
  /// - Returns: The states `[T, N, D]`, and that after the last step, `[N, D]`.
  public func callAsFunction(_ x: Tensor, state: Tensor?) -> (outputs: Tensor, state: Tensor) {
    if let refusal = Recurrence.refusal("GRU", x, axes: 3, uz, [state], 1) {
      return (refusal, refusal)
    }
    let states = gru(x, uz, wz, bz, ur, wr, br, uh, wh, bh, s0: state, stateBias: stateBias)
    return (states[1...], states[-1])
  }

  /// The state after one step.
  ///
  /// - Parameters:
  ///   - x: Of shape `[N, C]`.
  ///   - state: The state before it, `[N, D]`; nil: zeros.
  /// - Returns: Of shape `[N, D]`.
  public func step(_ x: Tensor, state: Tensor? = nil) -> Tensor {
    Recurrence.refusal("GRU", x, axes: 2, uz, [state], 1)
      ?? gruStep(x, uz, wz, bz, ur, wr, br, uh, wh, bh, s: state, stateBias: stateBias)
  }
}

/// A long short-term memory: `lstm` with weights of its own.
///
/// | tensor | shape | PyTorch's `LSTM` |
/// |---|---|---|
/// | `inputWeight` | `[C, 4 D]`: input gate, forget gate, new content, output gate | `weight_ih_l0` transposed |
/// | `stateWeight` | `[D, 4 D]` | `weight_hh_l0` transposed |
/// | `bias` | `[4 D]` | `bias_ih_l0 + bias_hh_l0` |
public struct LSTM: PlainLayer {
  /// What is handed from step to step.
  public struct State {
    /// What is given out, `[N, D]`.
    public var output: Tensor
    /// What is kept, `[N, D]`.
    public var memory: Tensor

    /// A state.
    public init(output: Tensor, memory: Tensor) {
      self.output = output
      self.memory = memory
    }
  }

  /// What inputs are multiplied by, `[C, 4 D]`.
  public let inputWeight: Tensor
  /// What states are multiplied by, `[D, 4 D]`.
  public let stateWeight: Tensor
  /// What is added, `[4 D]`.
  public let bias: Tensor

  /// A layer with random weights, evenly distributed up to 1 / √D to both sides, as PyTorch begins.
  ///
  /// - Parameters:
  ///   - features: The number C of features of an input.
  ///   - width: The number D of those of a state.
  ///   - dtype: A floating type.
  ///   - key: What the weights depend on; nil: the next of the default stream.
  public init(_ features: Int, _ width: Int, dtype: DType = .float64, key: RandomKey? = nil) {
    let draw = Recurrence.weights(width, dtype, key)
    inputWeight = draw([features, 4 * width])
    stateWeight = draw([width, 4 * width])
    bias = draw([4 * width])
  }

  /// What is given out after each step, from a state of zeros.
  ///
  /// - Parameter x: Of shape `[T, N, C]`.
  /// - Returns: Of shape `[T, N, D]`.
  public func callAsFunction(_ x: Tensor) -> Tensor { self(x, state: nil).outputs }

  /// What is given out after each step, and the state after the last one.
  ///
  /// - Parameters:
  ///   - x: Of shape `[T, N, C]`.
  ///   - state: The state before the first step; nil: zeros.
  /// - Returns: The outputs `[T, N, D]`, and the state after the last step.
  public func callAsFunction(_ x: Tensor, state: State?) -> (outputs: Tensor, state: State) {
    let given = [state?.output, state?.memory]
    if let refusal = Recurrence.refusal("LSTM", x, axes: 3, inputWeight, given, 4) {
      return (refusal, State(output: refusal, memory: refusal))
    }
    let (states, memory) = lstm(
      x, inputWeight, stateWeight, bias, h0: state?.output, c0: state?.memory)
    return (states[1...], State(output: states[-1], memory: memory))
  }

  /// The state after one step.
  ///
  /// - Parameters:
  ///   - x: Of shape `[N, C]`.
  ///   - state: The state before it; nil: zeros.
  public func step(_ x: Tensor, state: State? = nil) -> State {
    let given = [state?.output, state?.memory]
    if let refusal = Recurrence.refusal("LSTM", x, axes: 2, inputWeight, given, 4) {
      return State(output: refusal, memory: refusal)
    }
    let (output, memory) = lstmStep(
      x, inputWeight, stateWeight, bias, h: state?.output, c: state?.memory)
    return State(output: output, memory: memory)
  }
}

/// What recurrent layers share.
private enum Recurrence {
  /// Makes weights of any shape, each with a key of its own.
  static func weights(_ width: Int, _ dtype: DType, _ key: RandomKey?) -> ([Int]) -> Tensor {
    let key = key ?? .next()
    let bound = 1 / Double(max(width, 1)).squareRoot()
    var drawn: UInt64 = 0
    return { shape in
      defer { drawn += 1 }
      return .uniform(shape, -bound, bound, dtype: dtype, key: key.folded(in: drawn))
    }
  }

  /// What comes of a sequence, of a step where there are two axes, or of states that don't fit; nil where they
  /// do.
  static func refusal(
    _ layer: String, _ x: Tensor, axes: Int, _ weight: Tensor, _ states: [Tensor?], _ gates: Int
  ) -> Tensor? {
    let states = states.compactMap { $0 }
    if let bad = ([x, weight] + states).first(where: \.isPoisoned) { return bad }
    let (features, width) = (weight.shape[0], weight.shape[1] / gates)
    let name = "\(layer)(\(features), \(width))"
    if x.rank != axes || x.shape[axes - 1] != features {
      let wanted = axes == 3 ? "a sequence [T, N, \(features)]" : "one step [N, \(features)]"
      return .failure(name, "expected \(wanted), got \(x.shape)", operands: [x])
    }
    for state in states where state.shape != [x.shape[axes - 2], width] {
      return .failure(
        name,
        "expected a state [\(x.shape[axes - 2]), \(width)] for inputs \(x.shape), "
          + "got \(state.shape)", operands: [state])
    }
    return nil
  }
}
