// W7: networks whose shape hangs on the sample, as a user writes them, one sample at a time: a tree LSTM over
// random trees, a GRU over sequences of random lengths. Uses the public interface, Cell, RandomState and
// LossProgram.

import LazyGrad

/// A step of the evaluation of a tree.
private enum TreeNode {
  case leaf
  /// Two earlier steps.
  case pair(Int, Int)
}

/// The programs of W7: 64 samples, 64 units, five classes. What they must give is from double precision programs
/// over the same single precision data.
enum IrregularProgram {
  private static let (samples, width, classes) = (64, 64, 5)

  static let names = ["trees", "sequences"]

  static func all() -> [LossProgram] { [trees(), sequences()] }

  private static func parameters(_ random: inout RandomState, _ shapes: [[Int]]) -> [Tensor] {
    let root = Double(width).squareRoot()
    return (shapes + [[width, classes], [classes]]).map { shape in
      Tensor(
        NDArray(
          random.normals(shape.reduce(1, *)) { shape.count == 1 ? $0 * 0.1 : $0 / root },
          shape: shape))
    }
  }

  /// As many rows as there are words or steps, each a tensor.
  private static func inputs(_ random: inout RandomState, _ counts: [Int]) -> [[Tensor]] {
    counts.map { count in
      (0..<count).map { _ in
        Tensor(NDArray(random.normals(width), shape: [1, width]), constant: true)
      }
    }
  }

  private static func mean(
    _ p: [Tensor], _ labels: [NDArray], _ state: (_ sample: Int) -> Tensor
  ) -> Tensor {
    var total: Tensor?
    for (k, label) in labels.enumerated() {
      let value = softmaxCrossEntropy(matmul(state(k), p[p.count - 2]) + p[p.count - 1], label)
      total = total.map { $0 + value } ?? value
    }
    return total! / Double(labels.count)
  }

  private static func labels(_ random: inout RandomState) -> [NDArray] {
    random.integers(below: classes, count: samples).map { NDArray([$0], shape: [1]) }
  }

  // MARK: Trees

  /// Neighbours are joined at random until one is left.
  private static func tree(_ random: inout RandomState) -> [TreeNode] {
    let count = 5 + random.integers(below: 36, count: 1)[0]
    var nodes = Array(repeating: TreeNode.leaf, count: count)
    var open = Array(0..<count)
    while open.count > 1 {
      let k = random.integers(below: open.count - 1, count: 1)[0]
      nodes.append(.pair(open[k], open[k + 1]))
      open.replaceSubrange(k...(k + 1), with: [nodes.count - 1])
    }
    return nodes
  }

  /// The child-sum tree LSTM of Tai, Socher and Manning (2015), with words at the leaves only.
  private static func trees() -> LossProgram {
    var random = RandomState(seed: 9)
    let trees = (0..<samples).map { _ in tree(&random) }
    let labels = labels(&random)
    let words = inputs(
      &random, trees.map { $0.reduce(0) { if case .leaf = $1 { $0 + 1 } else { $0 } } })
    let gate = [[width, width], [width, width], [width]]
    let p = parameters(&random, gate + gate + gate + [[width, width], [width]])
    let (wi, ui, bi, wo, uo, bo) = (p[0], p[1], p[2], p[3], p[4], p[5])
    let (wu, uu, bu, uf, bf) = (p[6], p[7], p[8], p[9], p[10])
    func root(_ nodes: [TreeNode], _ words: [Tensor]) -> Tensor {
      var states: [(h: Tensor, c: Tensor)] = []
      states.reserveCapacity(nodes.count)
      for node in nodes {
        let (c, o): (Tensor, Tensor)
        switch node {
        case .leaf:
          let x = words[states.count]
          let (i, u) = (sigmoid(matmul(x, wi) + bi), tanh(matmul(x, wu) + bu))
          (c, o) = (i * u, sigmoid(matmul(x, wo) + bo))
        case .pair(let first, let second):
          let (a, b) = (states[first], states[second])
          let h = a.h + b.h
          let (i, u) = (sigmoid(matmul(h, ui) + bi), tanh(matmul(h, uu) + bu))
          let (fa, fb) = (sigmoid(matmul(a.h, uf) + bf), sigmoid(matmul(b.h, uf) + bf))
          (c, o) = (i * u + fa * a.c + fb * b.c, sigmoid(matmul(h, uo) + bo))
        }
        states.append((o * tanh(c), c))
      }
      return states[states.count - 1].h
    }
    return LossProgram(
      name: "trees", expected: (1.6233278794013282, 0.2828005976227041), parameters: p
    ) {
      mean(p, labels) { root(trees[$0], words[$0]) }
    }
  }

  // MARK: Sequences

  private static func sequences() -> LossProgram {
    var random = RandomState(seed: 10)
    let lengths = random.integers(below: 96, count: samples).map { 5 + $0 }
    let labels = labels(&random)
    let steps = inputs(&random, lengths)
    let gate = [[width, width], [width, width], [width]]
    let p = parameters(&random, gate + gate + gate)
    let start = Tensor(
      NDArray([Float](repeating: 0, count: width), shape: [1, width]), constant: true)
    func last(_ steps: [Tensor]) -> Tensor {
      var state = RecurrentState(.gru, startingAt: start)
      for x in steps {
        state = state.next(.gru) { gate, h in
          matmul(x, p[3 * gate]) + matmul(h, p[3 * gate + 1]) + p[3 * gate + 2]
        }
      }
      return state.hidden
    }
    return LossProgram(
      name: "sequences", expected: (1.6801257254483029, 0.6960996591178565), parameters: p
    ) {
      mean(p, labels) { last(steps[$0]) }
    }
  }
}
