// Convolutions and what is built around them, as cases of what is differentiated.

import LazyGrad
import LazyGradJIT

extension GradientCase {
  private static let both: ClosedRange<Double> = -1.5...1.5

  static let layers: [GradientCase] = [
    .init(.matmul, "convND, one axis", [[2, 2, 5], [3, 2, 3]], in: both) {
      convND($0[0], $0[1], stride: 2)
    },
    .init(.matmul, "convND, padding and dilation", [[1, 2, 4, 3], [2, 2, 2, 2]], in: both) {
      convND($0[0], $0[1], stride: [2, 1], padding: [1, 1], dilation: [1, 2])
    },
    .init(.max, "maxPool", [[2, 5]], in: both) { square(maxPool($0[0], [3], stride: 1)) },
    .init(.max, "maxPool of two axes", [[1, 3, 4]], in: both) {
      square(maxPool($0[0], [3, 2], stride: [1, 2]))
    },
    .init(.div, "batchNorm", [[4, 2], [2], [2]], in: both) {
      batchNorm($0[0], gamma: $0[1], beta: $0[2], eps: 0.1)
    },
    .init(.div, "batchNorm of more axes", [[2, 2, 3]], in: both) { batchNorm($0[0], eps: 0.1) },
    .init(.div, "layerNorm", [[2, 3], [3], [3]], in: both) {
      layerNorm($0[0], gamma: $0[1], beta: $0[2], eps: 0.1)
    },
    .init(.gatherRows, "embedding", [[3, 2]], in: both) {
      square(embedding(Tensor([[0, 2], [-1, 0]], constant: true), $0[0]))
    },
    .init(
      .matmul, "lstm", [[2, 1, 2], [2, 8], [2, 8], [8], [1, 2], [1, 2]], in: both
    ) { x in
      let (states, memory) = lstm(x[0], x[1], x[2] * 0.5, x[3], h0: x[4], c0: x[5])
      return concatenate([states.flattened(), memory.flattened()])
    },
    .init(
      .matmul, "gru", [[2, 1, 2], [2, 2], [2, 2], [2], [1, 2]], in: both
    ) { x in
      gru(
        x[0], x[1], x[2], x[3], x[1] * 0.5, x[2] * 0.3, x[3], x[1], x[2] * 0.7, x[3], s0: x[4])
    },
    .init(
      .matmul, "gru of PyTorch", [[2, 1, 2], [2, 2], [2, 2], [2], [1, 2]], in: both
    ) { x in
      gru(
        x[0], x[1], x[2], x[3], x[1] * 0.5, x[2] * 0.3, x[3], x[1], x[2] * 0.7, x[3], s0: x[4],
        stateBias: x[3] * 0.9)
    },
  ]
}
