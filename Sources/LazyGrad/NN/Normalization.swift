// Layers that bring numbers to mean 0 and variance 1.

/// Brings every channel to mean 0 and variance 1: in training by the statistics of the batch, which it keeps a
/// running mean of, and afterwards by those (Ioffe and Szegedy, Batch Normalization, 2015).
///
/// | tensor | name | shape | |
/// |---|---|---|---|
/// | `weight` | `weight` | `[C]` | what each channel is multiplied by |
/// | `bias` | `bias` | `[C]` | what is added to each channel |
/// | `runningMean` | `running_mean` | `[C]` | a constant |
/// | `runningVariance` | `running_var` | `[C]` | a constant |
///
/// Names and shapes are PyTorch's. Its `num_batches_tracked`, which only counts, has no counterpart: leave it
/// out or load with `allowsUnexpected: true`.
public struct BatchNorm: Layer {
  /// What each channel is multiplied by, `[C]`; nil: nothing.
  public let weight: Tensor?
  /// What is added to each channel, `[C]`; nil: nothing.
  public let bias: Tensor?
  /// The mean of each channel, over the batches so far: a constant, `[C]`.
  public let runningMean: Tensor
  /// The variance of each channel, over the batches so far: a constant, `[C]`.
  public let runningVariance: Tensor
  /// How much a batch counts for the running statistics.
  public let momentum: Double
  /// What is added to variances.
  public let eps: Double

  /// A layer for a number of channels, with weights of 1, biases of 0, a running mean of 0 and a running
  /// variance of 1.
  ///
  /// - Parameters:
  ///   - channels: Their number.
  ///   - momentum: How much a batch counts for the running statistics: new = (1 - momentum) old + momentum
  ///     batch, as in PyTorch.
  ///   - eps: Added to variances.
  ///   - affine: Whether channels are multiplied by and added something of their own.
  ///   - dtype: A floating type.
  public init(
    _ channels: Int, momentum: Double = 0.1, eps: Double = 1e-5, affine: Bool = true,
    dtype: DType = .float64
  ) {
    weight = affine ? .ones([channels], dtype: dtype) : nil
    bias = affine ? .zeros([channels], dtype: dtype) : nil
    runningMean = .zeros([channels], dtype: dtype, constant: true)
    runningVariance = .ones([channels], dtype: dtype, constant: true)
    self.momentum = momentum
    self.eps = eps
  }

  /// The normalised elements.
  ///
  /// - Parameters:
  ///   - x: Of shape `[N, C, ...]`. In training there must be more than one element for each channel.
  ///   - training: Whether the statistics are the batch's. Then the running ones are updated in place, the variance by
  ///     the unbiased one of the batch, as in PyTorch. That is recorded, and runs when they are read or
  ///     an optimiser that was made for the model makes a step: a loop that does without should evaluate them
  ///     together with its parameters.
  /// - Returns: In the shape of `x`.
  public func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
    if x.isPoisoned { return x }
    let channels = runningMean.shape[0]
    if x.rank < 2 || x.shape[1] != channels {
      return .failure(
        "BatchNorm(\(channels))", "expected [N, \(channels), ...], got \(x.shape)", operands: [x])
    }
    if !training {
      return batchNorm(
        x, mean: runningMean, variance: runningVariance, gamma: weight, beta: bias, eps: eps)
    }
    let count = channels == 0 ? 0 : x.count / channels
    if count < 2, channels > 0 {
      return .failure(
        "BatchNorm(\(channels))",
        "expected more than one element for each channel in training, got \(x.shape)", operands: [x]
      )
    }
    let result = batchNorm(x, gamma: weight, beta: bias, eps: eps)
    noAutodiff {
      let axes = [0] + (2..<x.rank)
      let mean = x.mean(axes: axes, keepDims: true)
      let variance = square(x - mean).mean(axes: axes).reshaped(channels)
      let unbiased = momentum * Double(count) / Double(max(count - 1, 1))
      runningMean.assign((1 - momentum) * runningMean + momentum * mean.reshaped(channels))
      runningVariance.assign((1 - momentum) * runningVariance + unbiased * variance)
    }
    return result
  }

  /// The tensors under PyTorch's names.
  public var namedTensors: [NamedTensor] {
    let own: [(name: String, tensor: Tensor?)] = [
      ("weight", weight), ("bias", bias), ("running_mean", runningMean),
      ("running_var", runningVariance),
    ]
    return own.compactMap { name, tensor in tensor.map { (name, $0) } }
  }
}

/// Brings the elements along the last axis to mean 0 and variance 1, for each place before it alone (Ba, Kiros
/// and Hinton, Layer Normalization, 2016).
///
/// | tensor | shape |
/// |---|---|
/// | `weight` | `[C]`, as in PyTorch: what each element is multiplied by |
/// | `bias` | `[C]`, as in PyTorch: what is added to each element |
public struct LayerNorm: PlainLayer {
  /// What each element is multiplied by, `[C]`; nil: nothing.
  public let weight: Tensor?
  /// What is added to each element, `[C]`; nil: nothing.
  public let bias: Tensor?
  /// The length of the last axis.
  public let width: Int
  /// What is added to variances.
  public let eps: Double

  /// A layer for a length of the last axis, with weights of 1 and biases of 0.
  ///
  /// - Parameters:
  ///   - width: The length.
  ///   - eps: Added to variances.
  ///   - affine: Whether elements are multiplied by and added something of their own.
  ///   - dtype: A floating type.
  public init(_ width: Int, eps: Double = 1e-5, affine: Bool = true, dtype: DType = .float64) {
    weight = affine ? .ones([width], dtype: dtype) : nil
    bias = affine ? .zeros([width], dtype: dtype) : nil
    self.width = width
    self.eps = eps
  }

  /// The normalised elements.
  ///
  /// - Parameter x: Of shape `[..., C]`.
  /// - Returns: In the shape of `x`.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    if x.isPoisoned { return x }
    if x.shape.last != width {
      return .failure(
        "LayerNorm(\(width))", "expected [..., \(width)], got \(x.shape)", operands: [x])
    }
    return layerNorm(x, gamma: weight, beta: bias, eps: eps)
  }
}
