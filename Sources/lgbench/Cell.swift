// The recurrent cells of the RNN benchmark and of the training run, written as a user writes them:
// small tensor operations, one time step at a time. Uses the public interface only.

import LazyGrad

/// How a recurrent network makes its next state out of its input and the state before.
///
/// Each gate g has the weights `Wx[g]`, `Wh[g]` and `b[g]`; `gate(g, h)` is
/// `x[t] @ Wx[g] + h @ Wh[g] + b[g]`.
enum Cell: String, CaseIterable {
  /// Elman's network: `h = tanh(gate(0, h))`.
  case tanh
  /// The gated recurrent unit of Cho et al. (2014), the reset gate in front of the product:
  /// `z = sigmoid(gate(0, h))`, `r = sigmoid(gate(1, h))`, `n = tanh(gate(2, r * h))`,
  /// `h = (1 - z) * n + z * h`.
  case gru
  /// Long short-term memory of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al.
  /// (2000): `i, f, o = sigmoid(gate(0, h)), sigmoid(gate(1, h)), sigmoid(gate(3, h))`,
  /// `c = f * c + i * tanh(gate(2, h))`, `h = o * tanh(c)`.
  case lstm

  var gateCount: Int {
    switch self {
    case .tanh: 1
    case .gru: 3
    case .lstm: 4
    }
  }

  /// The gate that the memory is multiplied by.
  var forgetGate: Int? { self == .lstm ? 1 : nil }
}

/// What a recurrent network carries from one time step to the next.
struct RecurrentState {
  var hidden: Tensor
  /// The memory of an LSTM; other cells have none.
  var memory: Tensor?

  var tensors: [Tensor] { memory.map { [hidden, $0] } ?? [hidden] }

  /// The same values as constants: no gradient flows further back.
  var withoutHistory: RecurrentState {
    RecurrentState(
      hidden: hidden.detached(constant: true), memory: memory?.detached(constant: true))
  }

  /// Both parts made from one tensor, if the cell has both.
  init(_ cell: Cell, startingAt tensor: Tensor) {
    hidden = tensor
    memory = cell == .lstm ? tensor : nil
  }

  init(hidden: Tensor, memory: Tensor? = nil) {
    self.hidden = hidden
    self.memory = memory
  }

  /// The state after one more time step.
  ///
  /// `gate` is the weighted sum of a gate over the step's input and the given hidden state.
  func next(_ cell: Cell, _ gate: (_ index: Int, _ hidden: Tensor) -> Tensor) -> RecurrentState {
    switch cell {
    case .tanh:
      return RecurrentState(hidden: tanh(gate(0, hidden)))
    case .gru:
      let update = sigmoid(gate(0, hidden))
      let reset = sigmoid(gate(1, hidden))
      let candidate = tanh(gate(2, reset * hidden))
      return RecurrentState(hidden: (1 - update) * candidate + update * hidden)
    case .lstm:
      let input = sigmoid(gate(0, hidden))
      let forget = sigmoid(gate(1, hidden))
      let candidate = tanh(gate(2, hidden))
      let output = sigmoid(gate(3, hidden))
      let memory = forget * self.memory! + input * candidate
      return RecurrentState(hidden: output * tanh(memory), memory: memory)
    }
  }
}
