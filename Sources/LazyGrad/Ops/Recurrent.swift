// Recurrent layers, written as the program that they are: the steps are recorded one after the other.

internal import LazyGradJIT

/// A gated recurrent unit (Cho and others, Learning Phrase Representations Using RNN Encoder-Decoder, 2014),
/// over all steps of a sequence: MyGrad's `gru`.
///
///     z = sigmoid(x Uz + s Wz + bz)
///     r = sigmoid(x Ur + s Wr + br)
///     h = tanh(x Uh + (r * s) Wh + bh)              with a stateBias c: tanh(x Uh + r * (s Wh + c) + bh)
///     s = (1 - z) * h + z * s
///
/// With `stateBias` it is the unit of PyTorch and cuDNN, which multiplies by the reset gate after the product
/// with the state (Keras calls that `reset_after`). The two are different functions: weights of one give
/// nonsense in the other.
///
/// Options:
/// - `x`: The inputs, of shape `[T, N, C]`: steps, samples, features.
/// - `uz`: What inputs are multiplied by for the update gate, `[C, D]`; `ur` for the reset gate and `uh` for
///   the new state likewise.
/// - `wz`: What states are multiplied by for the update gate, `[D, D]`; `wr` and `wh` likewise.
/// - `bz`: What is added for the update gate, `[D]`; `br` and `bh` likewise.
/// - `s0`: The state before the first step, `[N, D]`; nil: zeros.
/// - `stateBias`: What is added to the product of the state for the new one before the reset gate multiplies
///   that, `[D]`; nil: the gate multiplies the state, as the paper has it.
/// - Returns: The states, of shape `[T + 1, N, D]`, with that before the first step. Gradients reach all
///   operands, `s0` too.
/// - Complexity: records three products for all steps, and three products and seven operations on elements
///   for each.
public func gru(
  _ x: Tensor, _ uz: Tensor, _ wz: Tensor, _ bz: Tensor, _ ur: Tensor, _ wr: Tensor, _ br: Tensor,
  _ uh: Tensor, _ wh: Tensor, _ bh: Tensor, s0: Tensor? = nil, stateBias: Tensor? = nil
) -> Tensor {
  let weights = [uz, wz, bz, ur, wr, br, uh, wh, bh]
  if let refusal = misfit("gru", x, axes: 3, weights, gates: 1, [s0], stateBias) {
    return refusal
  }
  return Tensor.inFloat32([x] + weights + [s0, stateBias].compactMap { $0 }) { all in
    gruStates(
      all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7], all[8], all[9],
      s0: s0 == nil ? nil : all[10], stateBias: stateBias == nil ? nil : all[all.count - 1])
  }
}

/// The states of operands that fit.
private func gruStates(
  _ x: Tensor, _ uz: Tensor, _ wz: Tensor, _ bz: Tensor, _ ur: Tensor, _ wr: Tensor, _ br: Tensor,
  _ uh: Tensor, _ wh: Tensor, _ bh: Tensor, s0: Tensor?, stateBias: Tensor?
) -> Tensor {
  let (steps, samples, features, width) = (x.shape[0], x.shape[1], x.shape[2], uz.shape[1])
  // One product for all steps, whose gradient is one as well.
  x.use()
  let rows = x.reshaped([steps * samples, features])
  func forAllSteps(_ u: Tensor, _ b: Tensor) -> Tensor {
    (matmul(rows, u) + b).reshaped([steps, samples, width])
  }
  let (forUpdate, forReset, forState) =
    (forAllSteps(uz, bz), forAllSteps(ur, br), forAllSteps(uh, bh))
  var state = s0 ?? Tensor.zeros([samples, width], dtype: forUpdate.dtype, constant: true)
  var states = [state]
  for t in 0..<steps {
    state = gruState(state, (forUpdate[t], wz), (forReset[t], wr), (forState[t], wh), stateBias)
    states.append(state)
  }
  return stack(states)
}

/// One step of `gru`: the state after it.
///
/// Options as for `gru(_:_:_:_:_:_:_:_:_:_:s0:stateBias:)`, but:
/// - `x`: The inputs of one step, `[N, C]`.
/// - `s`: The state before it, `[N, D]`; nil: zeros.
/// - Returns: Of shape `[N, D]`.
/// - Complexity: records six products and ten operations on elements.
public func gruStep(
  _ x: Tensor, _ uz: Tensor, _ wz: Tensor, _ bz: Tensor, _ ur: Tensor, _ wr: Tensor, _ br: Tensor,
  _ uh: Tensor, _ wh: Tensor, _ bh: Tensor, s: Tensor? = nil, stateBias: Tensor? = nil
) -> Tensor {
  let weights = [uz, wz, bz, ur, wr, br, uh, wh, bh]
  if let refusal = misfit("gruStep", x, axes: 2, weights, gates: 1, [s], stateBias) {
    return refusal
  }
  return Tensor.inFloat32([x] + weights + [s, stateBias].compactMap { $0 }) { all in
    func forStep(_ gate: Int) -> (Tensor, Tensor) {
      (matmul(all[0], all[3 * gate + 1]) + all[3 * gate + 3], all[3 * gate + 2])
    }
    let update = forStep(0)
    let none = Tensor.zeros(
      [x.shape[0], uz.shape[1]], dtype: update.0.dtype, constant: true)
    return gruState(
      s == nil ? none : all[10], update, forStep(1), forStep(2),
      stateBias == nil ? nil : all[all.count - 1])
  }
}

/// A state, of the one before, and for each gate what the inputs give and what states are multiplied by.
private func gruState(
  _ state: Tensor, _ update: (Tensor, Tensor), _ reset: (Tensor, Tensor), _ new: (Tensor, Tensor),
  _ stateBias: Tensor?
) -> Tensor {
  let z = sigmoid(update.0 + matmul(state, update.1))
  let r = sigmoid(reset.0 + matmul(state, reset.1))
  let fromState =
    stateBias.map { r * (matmul(state, new.1) + $0) } ?? matmul(r * state, new.1)
  let h = tanh(new.0 + fromState)
  return h + z * (state - h)
}

/// A long short-term memory (Hochreiter and Schmidhuber, Long Short-Term Memory, 1997, with the forget gate of
/// Gers, Schmidhuber and Cummins, 2000), over all steps of a sequence.
///
///     i, f, g, o = x W + h U + b, cut in four
///     c = sigmoid(f) * c + sigmoid(i) * tanh(g)
///     h = sigmoid(o) * tanh(c)
///
/// Options:
/// - `x`: The inputs, of shape `[T, N, C]`: steps, samples, features.
/// - `w`: What inputs are multiplied by, `[C, 4 D]`: for the input gate, the forget gate, the new content and
///   the output gate, in the order of PyTorch.
/// - `u`: What states are multiplied by, `[D, 4 D]`.
/// - `b`: What is added, `[4 D]`.
/// - `h0`, `c0`: State and memory before the first step, `[N, D]`; nil: zeros.
/// - Returns: The states `[T + 1, N, D]`, with that before the first step as in `gru`, and the memory after
///   the last, `[N, D]`. Gradients reach all operands.
/// - Complexity: records one product for all steps, and a product and fourteen operations for each.
public func lstm(
  _ x: Tensor, _ w: Tensor, _ u: Tensor, _ b: Tensor, h0: Tensor? = nil, c0: Tensor? = nil
) -> (states: Tensor, memory: Tensor) {
  if let refusal = misfit("lstm", x, axes: 3, [w, u, b], gates: 4, [h0, c0]) {
    return (refusal, refusal)
  }
  let operands = [x, w, u, b] + [h0, c0].compactMap { $0 }
  if Tensor.hasHalf(operands) {
    let type = Tensor.common(operands)
    let result = lstm(
      x.widened(), w.widened(), u.widened(), b.widened(), h0: h0?.widened(), c0: c0?.widened())
    return (result.states.narrowed(to: type), result.memory.narrowed(to: type))
  }
  let (steps, samples, features) = (x.shape[0], x.shape[1], x.shape[2])
  let width = w.shape[1] / 4
  // One product for all steps, whose gradient is one as well.
  x.use()
  let rows = x.reshaped([steps * samples, features])
  let forAllSteps = (matmul(rows, w) + b).reshaped([steps, samples, 4 * width])
  let zeros = Tensor.zeros([samples, width], dtype: forAllSteps.dtype, constant: true)
  var (state, memory) = (h0 ?? zeros, c0 ?? zeros)
  var states = [state]
  for t in 0..<steps {
    (state, memory) = lstmState(forAllSteps[t] + matmul(state, u), memory)
    states.append(state)
  }
  return (stack(states), memory)
}

/// One step of `lstm`: state and memory after it.
///
/// Options as for `lstm(_:_:_:_:h0:c0:)`, but:
/// - `x`: The inputs of one step, `[N, C]`.
/// - `h`, `c`: State and memory before it, `[N, D]`; nil: zeros.
/// - Returns: State and memory, `[N, D]`.
/// - Complexity: records two products and fifteen other operations.
public func lstmStep(
  _ x: Tensor, _ w: Tensor, _ u: Tensor, _ b: Tensor, h: Tensor? = nil, c: Tensor? = nil
) -> (state: Tensor, memory: Tensor) {
  if let refusal = misfit("lstmStep", x, axes: 2, [w, u, b], gates: 4, [h, c]) {
    return (refusal, refusal)
  }
  let operands = [x, w, u, b] + [h, c].compactMap { $0 }
  if Tensor.hasHalf(operands) {
    let type = Tensor.common(operands)
    let result = lstmStep(
      x.widened(), w.widened(), u.widened(), b.widened(), h: h?.widened(), c: c?.widened())
    return (result.state.narrowed(to: type), result.memory.narrowed(to: type))
  }
  let forStep = matmul(x, w) + b
  let zeros =
    h != nil && c != nil
    ? nil : Tensor.zeros([x.shape[0], w.shape[1] / 4], dtype: forStep.dtype, constant: true)
  let (state, memory) = (h ?? zeros!, c ?? zeros!)
  return lstmState(forStep + matmul(state, u), memory)
}

/// State and memory, of the four gates before their functions and the memory before.
private func lstmState(_ gates: Tensor, _ memory: Tensor) -> (state: Tensor, memory: Tensor) {
  let width = memory.shape[1]
  func gate(_ k: Int) -> Tensor { gates[.all, (k * width)..<((k + 1) * width)] }
  let memory = sigmoid(gate(1)) * memory + sigmoid(gate(0)) * tanh(gate(2))
  return (sigmoid(gate(3)) * tanh(memory), memory)
}

/// What comes of operands of a recurrent layer that don't fit; nil where they do.
///
/// - Parameters:
///   - axes: 3 for a sequence, 2 for a step.
///   - weights: For inputs, for states, and what is added, as often as there are.
///   - gates: How many gates a weight has side by side.
///   - stateBias: What else is added, if there is such a thing.
private func misfit(
  _ operation: String, _ x: Tensor, axes: Int, _ weights: [Tensor], gates: Int,
  _ states: [Tensor?], _ stateBias: Tensor? = nil
) -> Tensor? {
  let operands = [x] + weights + (states + [stateBias]).compactMap { $0 }
  if let poison = operands.lazy.compactMap({ poisoned($0) }).first { return poison }
  guard x.rank == axes, weights[0].rank == 2, weights[0].shape[1] % gates == 0 else {
    return fail(
      operation,
      "expected inputs \(axes == 3 ? "[T, N, C]" : "[N, C]") and weights "
        + "\(gates == 1 ? "[C, D]" : "[C, \(gates) D]"), got \(x.shape) and \(weights[0].shape)",
      operands)
  }
  let (samples, features) = (x.shape[axes - 2], x.shape[axes - 1])
  let all = weights[0].shape[1]
  let width = all / gates
  let shapes = [[features, all], [width, all], [all]]
  var expected = weights.indices.map { (weights[$0], shapes[$0 % 3]) }
  expected += states.compactMap { $0 }.map { ($0, [samples, width]) }
  if let stateBias { expected.append((stateBias, [width])) }
  for (operand, shape) in expected where operand.shape != shape {
    return fail(
      operation,
      "expected a weight, bias or state of shape \(shape) for inputs of \(x.shape), got "
        + "\(operand.shape)", operands)
  }
  return nil
}
