// What a layer is, and layers that are put together from others.

/// A part of a network from one tensor to another.
///
/// A layer is a struct of tensors with a `callAsFunction`. Whether it is called to train or to answer is an
/// argument, not a state:
///
///     struct Classifier: Layer {
///       let hidden = Dense(784, 128)
///       let output = Dense(128, 10)
///       let dropout = Dropout(0.2)
///
///       func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
///         output(dropout(relu(hidden(x)), training: training))
///       }
///     }
///
/// The layers that compute the same in both cases are a `PlainLayer`. They are called without the argument,
/// and the others can't be, so it is not forgotten.
///
/// Tensors are references, so copies of a layer share them: an update through one is seen by all. A layer of its own
/// is made by making one and loading the other's values (`load(_:allowsMissing:allowsUnexpected:)`).
public protocol Layer: Parameterized {
  /// The result for a tensor.
  ///
  /// - Parameters:
  ///   - x: The input; samples are its first axis, except in recurrent layers.
  ///   - training: Whether this is a step of a training.
  func callAsFunction(_ x: Tensor, training: Bool) -> Tensor
}

/// A layer that computes the same in training and afterwards.
///
///     struct Perceptron: PlainLayer {
///       let hidden = Dense(2, 16)
///       let output = Dense(16, 1)
///       func callAsFunction(_ x: Tensor) -> Tensor { output(tanh(hidden(x))) }
///     }
public protocol PlainLayer: Layer {
  /// The result for a tensor.
  func callAsFunction(_ x: Tensor) -> Tensor
}

extension PlainLayer {
  /// The result for a tensor, which is the same in both cases.
  public func callAsFunction(_ x: Tensor, training: Bool) -> Tensor { self(x) }
}

/// A function as a layer without parameters: `Function(relu)`, `Function { $0.reshaped(-1, 64) }`.
public struct Function: PlainLayer {
  private let body: (Tensor) -> Tensor

  /// The layer of a function.
  public init(_ body: @escaping (Tensor) -> Tensor) { self.body = body }

  /// The function's result.
  public func callAsFunction(_ x: Tensor) -> Tensor { body(x) }

  /// None.
  public var namedTensors: [NamedTensor] { [] }
}

/// Puts all axes but the first in one: between convolutions and a `Dense`.
public struct Flatten: PlainLayer {
  /// The layer.
  public init() {}

  /// A tensor `[N, ...]` as `[N, elements]`.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    if x.isPoisoned { return x }
    guard let samples = x.shape.first else {
      return .failure(
        "Flatten", "expected at least one axis, [N, ...], got a scalar", operands: [x])
    }
    return x.reshaped(samples, x.shape.dropFirst().reduce(1, *))
  }
}

/// Layers one after the other.
///
///     let model = Sequential(Dense(784, 128), Function(relu), Dropout(0.2), Dense(128, 10))
///     let scores = model(x, training: true)
///
/// The names of its tensors begin with the number of the layer, counted from 0, as PyTorch's do:
/// `0.weight`, `3.bias`.
public struct Sequential: Layer {
  /// The layers, first to last.
  public let layers: [any Layer]

  /// Layers one after the other.
  public init(_ layers: any Layer...) { self.layers = layers }

  /// Layers one after the other.
  public init(_ layers: [any Layer]) { self.layers = layers }

  /// The last layer's result.
  public func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
    layers.reduce(x) { $1($0, training: training) }
  }

  /// The tensors of all layers, named by their numbers.
  public var namedTensors: [NamedTensor] {
    layers.enumerated().flatMap { $1.namedTensors(under: "\($0)") }
  }
}
