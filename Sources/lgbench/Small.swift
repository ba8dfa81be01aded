// W9: what programs do with a handful of numbers: an attention block, a layer norm, a step of a Kalman
// filter. Nearly all of the time is recording, planning and starting. Uses the public interface,
// RandomState and LossProgram.

import LazyGrad

/// The programs of W9. What they must give is from double precision NumPy programs over the same single
/// precision data, the gradients by central differences.
enum SmallProgram {
  static let names = ["attention", "layerNorm", "kalman"]

  static func all() -> [LossProgram] { [attention(), layerNorm(), kalman()] }

  private static func tensors(
    _ random: inout RandomState, _ shapes: [[Int]], constant: Bool = false
  ) -> [Tensor] {
    shapes.map { shape in
      Tensor(
        NDArray(random.normals(shape.reduce(1, *)) { 0.5 * $0 }, shape: shape), constant: constant)
    }
  }

  /// Four positions of width 8, one head.
  private static func attention() -> LossProgram {
    var random = RandomState(seed: 5)
    let inputs = tensors(&random, [[4, 8], [4, 8]], constant: true)
    let weights = tensors(&random, [[8, 8], [8, 8], [8, 8], [8, 8]])
    return LossProgram(
      name: "attention", expected: (0.37587989772709873, 0.5880044920214988), parameters: weights
    ) {
      let (x, target) = (inputs[0], inputs[1])
      let (q, k, v) = (
        matmul(x, weights[0]), matmul(x, weights[1]), matmul(x, weights[2])
      )
      let shares = softmax(matmul(q, k.transposed()) * 0.3535533905932738)
      let y = matmul(matmul(shares, v), weights[3])
      return square(y - target).mean()
    }
  }

  /// Four rows of 16.
  private static func layerNorm() -> LossProgram {
    var random = RandomState(seed: 6)
    let weight = tensors(&random, [[4, 16]], constant: true)[0]
    let parameters = tensors(&random, [[4, 16], [16], [16]])
    return LossProgram(
      name: "layerNorm", expected: (3.5651125931776693, 7.143949716683266), parameters: parameters
    ) {
      let (x, gain, bias) = (parameters[0], parameters[1], parameters[2])
      let d = x - x.mean(axis: 1, keepDims: true)
      let y = d / sqrt(square(d).mean(axis: 1, keepDims: true) + 1e-5) * gain + bias
      return (y * weight).sum()
    }
  }

  /// A state of four numbers, of which one measurement sees a combination; the loss is its negative log
  /// likelihood and how far the state has moved.
  private static func kalman() -> LossProgram {
    var random = RandomState(seed: 7)
    let inputs = tensors(&random, [[1, 4], [4, 1], [4, 4], [1, 1]], constant: true)
    let parameters = tensors(&random, [[4, 4], [4]])
    return LossProgram(
      name: "kalman", expected: (5.697411757149011, 8.165904501951351), parameters: parameters
    ) {
      let (h, x, root, z) = (inputs[0], inputs[1], inputs[2], inputs[3])
      let (f, noise) = (parameters[0], parameters[1])
      let before = matmul(f, x)
      let p = matmul(matmul(f, matmul(root, root.transposed())), f.transposed()) + square(noise)
      let ph = matmul(p, h.transposed())
      let s = matmul(h, ph) + 0.1
      let y = z - matmul(h, before)
      let gain = ph / s
      let after = before + gain * y
      let covariance = p - matmul(gain, ph.transposed())
      return (0.5 * (square(y) / s + log(s))).sum() + square(after).sum() + covariance.sum()
    }
  }
}
