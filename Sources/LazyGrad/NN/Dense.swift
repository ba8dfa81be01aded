// Layers that multiply by a matrix, look up rows, or leave elements out.

/// A matrix product and what is added to it: `x W + b`.
///
/// | tensor | shape |
/// |---|---|
/// | `weight` | `[inputs, outputs]`: PyTorch's `Linear.weight` transposed |
/// | `bias` | `[outputs]` |
public struct Dense: PlainLayer {
  /// What inputs are multiplied by, `[inputs, outputs]`.
  public let weight: Tensor
  /// What is added, `[outputs]`; nil: nothing.
  public let bias: Tensor?

  /// A layer with random weights, evenly distributed up to 1 / √inputs to both sides, as PyTorch begins.
  ///
  /// Options:
  /// - `bias`: Whether something is added.
  /// - `dtype`: A floating type.
  /// - `key`: What the weights depend on; nil: the next of the default stream.
  public init(
    _ inputs: Int, _ outputs: Int, bias: Bool = true, dtype: DType = .float64,
    key: RandomKey? = nil
  ) {
    let keys = (key ?? .next()).split(2)
    let bound = 1 / Double(max(inputs, 1)).squareRoot()
    weight = .uniform([inputs, outputs], -bound, bound, dtype: dtype, key: keys[0])
    self.bias = bias ? .uniform([outputs], -bound, bound, dtype: dtype, key: keys[1]) : nil
  }

  /// A layer over tensors that exist, which it shares: `Dense(weight: linear.T, bias: bias)`.
  public init(weight: Tensor, bias: Tensor? = nil) {
    let outputs = weight.shape.last ?? 0
    if !weight.isPoisoned, weight.rank != 2 {
      self.weight = .failure(
        "Dense", "expected a weight [inputs, outputs], got \(weight.shape)", operands: [weight])
      self.bias = nil
      return
    }
    if let bias, !bias.isPoisoned, !weight.isPoisoned, bias.shape != [outputs] {
      self.weight = .failure(
        "Dense", "expected a bias of shape [\(outputs)], got \(bias.shape)", operands: [bias])
      self.bias = nil
      return
    }
    self.weight = weight
    self.bias = bias
  }

  /// `x W + b`.
  ///
  /// - Parameter x: Of shape `[..., inputs]`.
  /// - Returns: Of shape `[..., outputs]`.
  /// - Complexity: records a product and a sum.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    if x.isPoisoned || weight.isPoisoned { return x.isPoisoned ? x : weight }
    let shape = weight.shape
    if x.shape.last != shape[0] {
      return .failure(
        "Dense(\(shape[0]), \(shape[1]))", "expected inputs [..., \(shape[0])], got \(x.shape)",
        operands: [x])
    }
    let product = matmul(x, weight)
    return bias.map { product + $0 } ?? product
  }
}

/// A table of vectors that whole numbers name: of words, characters, users.
///
/// | tensor | shape |
/// |---|---|
/// | `weight` | `[count, width]`, as in PyTorch |
public struct Embedding: PlainLayer {
  /// The vectors, `[count, width]`.
  public let weight: Tensor

  /// `count` vectors of normally distributed numbers.
  ///
  /// Options:
  /// - `dtype`: A floating type.
  /// - `key`: What they depend on; nil: the next of the default stream.
  public init(_ count: Int, _ width: Int, dtype: DType = .float64, key: RandomKey? = nil) {
    weight = .normal([count, width], dtype: dtype, key: key)
  }

  /// A layer over a table that exists, which it shares.
  public init(weight: Tensor) { self.weight = weight }

  /// The vectors that numbers name.
  ///
  /// - Parameter x: Whole numbers of any shape.
  /// - Returns: Of the shape of `x`, with that of a vector behind it.
  /// - Complexity: reads the numbers, which evaluates them; records one node.
  public func callAsFunction(_ x: Tensor) -> Tensor { embedding(x, weight) }

  /// The vectors that numbers name.
  public func callAsFunction(_ x: NDArray) -> Tensor { embedding(Tensor(x, copy: false), weight) }
}

/// Sets elements to zero with a probability in training, and divides the others by what is left, so that the mean
/// stays; afterwards it passes them on.
public struct Dropout: Layer {
  /// How likely an element is left out.
  public let probability: Double

  /// A layer that leaves elements out with a probability, from 0 up to and without 1.
  public init(_ probability: Double = 0.5) {
    self.probability = probability
    if !(probability >= 0 && probability < 1) {
      _ = Tensor.failure(
        "Dropout", "expected a probability from 0 up to and without 1, got \(probability)")
    }
  }

  /// The elements that are kept; which is up to the next key of the default stream.
  public func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
    self(x, training: training, key: nil)
  }

  /// The elements that are kept; `key` says which, nil: the next of the default stream.
  ///
  /// - Complexity: draws at once in training.
  public func callAsFunction(_ x: Tensor, training: Bool, key: RandomKey?) -> Tensor {
    training ? dropout(x, probability, key: key) : x
  }
}
