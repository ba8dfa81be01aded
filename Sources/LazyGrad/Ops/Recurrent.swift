// Recurrent layers, written as the program that they are: the steps are recorded one after the other.

internal import LazyGradJIT

/// A gated recurrent unit (Cho and others, Learning Phrase Representations Using RNN Encoder-Decoder, 2014),
/// over all steps of a sequence: MyGrad's `gru`.
///
///     z = sigmoid(x Uz + s Wz + bz)
///     r = sigmoid(x Ur + s Wr + br)
///     h = tanh(x Uh + (r * s) Wh + bh)
///     s = (1 - z) * h + z * s
///
/// Options:
/// - `x`: The inputs, of shape `[T, N, C]`: steps, samples, features.
/// - `uz`: What inputs are multiplied by for the update gate, `[C, D]`; `ur` for the reset gate and `uh` for
///   the new state likewise.
/// - `wz`: What states are multiplied by for the update gate, `[D, D]`; `wr` and `wh` likewise.
/// - `bz`: What is added for the update gate, `[D]`; `br` and `bh` likewise.
/// - `s0`: The state before the first step, `[N, D]`; nil: zeros.
/// - Returns: The states, of shape `[T + 1, N, D]`, with that before the first step. Gradients reach all
///   operands, `s0` too.
/// - Complexity: records three products for all steps, and three products and seven operations on elements
///   for each.
public func gru(
  _ x: Tensor, _ uz: Tensor, _ wz: Tensor, _ bz: Tensor, _ ur: Tensor, _ wr: Tensor, _ br: Tensor,
  _ uh: Tensor, _ wh: Tensor, _ bh: Tensor, s0: Tensor? = nil
) -> Tensor {
  let operands = [x, uz, wz, bz, ur, wr, br, uh, wh, bh] + (s0.map { [$0] } ?? [])
  if let poison = operands.lazy.compactMap({ poisoned($0) }).first { return poison }
  guard x.rank == 3, uz.rank == 2 else {
    return fail(
      "gru", "expected inputs [T, N, C] and weights [C, D], got \(x.shape) and \(uz.shape)",
      operands)
  }
  let (steps, samples, features, width) = (x.shape[0], x.shape[1], x.shape[2], uz.shape[1])
  let expected =
    [[[Int]]](repeating: [[features, width], [width, width], [width]], count: 3).flatMap { $0 }
    + [[samples, width]]
  for (operand, shape) in zip(operands.dropFirst(), expected) where operand.shape != shape {
    return fail(
      "gru",
      "expected a weight, bias or state of shape \(shape) for inputs of \(x.shape), got "
        + "\(operand.shape)", operands)
  }
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
    let z = sigmoid(forUpdate[t] + matmul(state, wz))
    let r = sigmoid(forReset[t] + matmul(state, wr))
    let h = tanh(forState[t] + matmul(r * state, wh))
    state = h + z * (state - h)
    states.append(state)
  }
  return stack(states)
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
  let operands = [x, w, u, b] + [h0, c0].compactMap { $0 }
  if let poison = operands.lazy.compactMap({ poisoned($0) }).first { return (poison, poison) }
  guard x.rank == 3, w.rank == 2, w.shape[1] % 4 == 0 else {
    let poison = fail(
      "lstm", "expected inputs [T, N, C] and weights [C, 4 D], got \(x.shape) and \(w.shape)",
      operands)
    return (poison, poison)
  }
  let (steps, samples, features) = (x.shape[0], x.shape[1], x.shape[2])
  let width = w.shape[1] / 4
  let expected: [(Tensor?, [Int])] = [
    (w, [features, 4 * width]), (u, [width, 4 * width]), (b, [4 * width]),
    (h0, [samples, width]), (c0, [samples, width]),
  ]
  for case (let operand?, let shape) in expected where operand.shape != shape {
    let poison = fail(
      "lstm",
      "expected a weight, bias or state of shape \(shape) for inputs of \(x.shape), got "
        + "\(operand.shape)", operands)
    return (poison, poison)
  }
  // One product for all steps, whose gradient is one as well.
  x.use()
  let rows = x.reshaped([steps * samples, features])
  let forAllSteps = (matmul(rows, w) + b).reshaped([steps, samples, 4 * width])
  let zeros = Tensor.zeros([samples, width], dtype: forAllSteps.dtype, constant: true)
  var (state, memory) = (h0 ?? zeros, c0 ?? zeros)
  var states = [state]
  for t in 0..<steps {
    let gates = forAllSteps[t] + matmul(state, u)
    func gate(_ k: Int) -> Tensor { gates[.all, (k * width)..<((k + 1) * width)] }
    memory = sigmoid(gate(1)) * memory + sigmoid(gate(0)) * tanh(gate(2))
    state = sigmoid(gate(3)) * tanh(memory)
    states.append(state)
  }
  return (stack(states), memory)
}
