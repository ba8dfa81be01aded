// What Fixtures/NN/generate.py has recorded of PyTorch, and the problem that it recorded it of.

import Foundation
import LazyGrad
import Testing

struct TorchFixture: Decodable {
  struct Training: Decodable {
    /// Before each step.
    let losses: [Double]
    /// After the last.
    let parameters: [[Double]]
    let evaluations: Int?
  }

  struct Layer: Decodable {
    struct Second: Decodable {
      let batch: [Double]
      let x: [Double]
      let mean: [Double]
      let variance: [Double]
      let y: [Double]
    }
    let x: [Double]
    let shape: [Int]
    let state: [String: [Double]]
    let shapes: [String: [Int]]
    let y: [Double]
    let yShape: [Int]
    let dx: [Double]
    let gradients: [String: [Double]]
    let second: Second?

    /// A tensor of the state dictionary.
    func tensor(_ name: String) -> Tensor { Tensor(state[name]!, shape: shapes[name]!) }
    func gradient(_ name: String) -> Tensor { Tensor(gradients[name]!, shape: shapes[name]!) }
    var input: Tensor { Tensor(x, shape: shape) }
  }

  let optimizers: [String: Training]
  let clipping: [String: Training]
  let scheduled: Training
  let lbfgs: [String: Training]
  let rates: [String: [Double]]
  let layers: [String: Layer]
  let trainedGRU: TrainedGRU

  /// What the layer of gru.safetensors gives.
  struct TrainedGRU: Decodable {
    let x: [Double]
    let y: [Double]
    let state: [Double]
  }

  static func read() throws -> TorchFixture {
    let file = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../Fixtures/NN/torch.json")
    return try JSONDecoder().decode(TorchFixture.self, from: Data(contentsOf: file))
  }
}

/// Numbers from -1 to 1 by a linear congruential generator, the same as in generate.py.
struct Noise {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func tensor(_ shape: Int..., scale: Double = 1, dtype: DType = .float64) -> Tensor {
    let values = (0..<shape.reduce(1, *)).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (Double(state >> 11) * 0x1p-52 - 1) * scale
    }
    return Tensor(values, shape: shape, dtype: dtype)
  }
}

/// The network and the samples that optimisers are compared on.
struct TorchProblem: Parameterized {
  let x: NDArray
  let y = NDArray((0..<12).map { $0 % 3 })
  let parameters: [Tensor]

  init(_ dtype: DType = .float64) {
    var noise = Noise(7)
    x = noise.tensor(12, 4, dtype: dtype).array
    parameters = [
      noise.tensor(4, 6, dtype: dtype), noise.tensor(6, dtype: dtype),
      noise.tensor(6, 3, dtype: dtype), noise.tensor(3, dtype: dtype),
    ]
  }

  func loss() -> Tensor {
    let hidden = tanh(matmul(Tensor(x, constant: true, copy: false), parameters[0]) + parameters[1])
    return softmaxCrossEntropy(matmul(hidden, parameters[2]) + parameters[3], y)
  }
}

/// Expects numbers to be within a distance.
func expectClose(
  _ found: [Double], _ wanted: [Double], within bound: Double, _ what: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(found.count == wanted.count, "\(what)", sourceLocation: sourceLocation)
  let wrong = zip(found, wanted).enumerated().first { !(abs($0.element.0 - $0.element.1) <= bound) }
  #expect(
    wrong == nil,
    "\(what): element \(wrong?.offset ?? 0): expected \(wrong?.element.1 ?? 0), got \(wrong?.element.0 ?? 0)",
    sourceLocation: sourceLocation)
}

/// The error that `body` ends in, inside `catchingTensorErrors`.
func tensorError(_ body: () throws -> Void) -> TensorError? {
  do {
    try catchingTensorErrors { try body() }
    return nil
  } catch { return error as? TensorError }
}
