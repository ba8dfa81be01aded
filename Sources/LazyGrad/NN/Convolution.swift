// Layers over windows.

/// A convolution over any number of axes: `convND` with filters of its own.
///
/// | tensor | shape |
/// |---|---|
/// | `weight` | `[outputs, inputs, W...]`, as PyTorch's with `groups=1` |
/// | `bias` | `[outputs]` |
public struct Conv: PlainLayer {
  /// The filters, `[outputs, inputs, W...]`.
  public let weight: Tensor
  /// What is added to each output channel, `[outputs]`; nil: nothing.
  public let bias: Tensor?
  /// How far the kernel is moved at a time, for each axis or for all.
  public let stride: [Int]
  /// Zeros before and behind the elements of an axis, for each axis or for all.
  public let padding: [Int]
  /// The distance between the elements that a kernel's neighbours meet, for each axis or for all.
  public let dilation: [Int]

  /// A layer with random filters, evenly distributed up to the root of one over the number of elements that a
  /// result is made of to both sides, as PyTorch begins.
  ///
  /// - Parameters:
  ///   - inputs: The number of channels before.
  ///   - outputs: The number of channels behind.
  ///   - kernel: Its length along each axis: `[3, 3]` for pictures.
  ///   - stride: How far it is moved at a time. The strides must end with the axis, as in `convND`.
  ///   - padding: Zeros on both sides.
  ///   - dilation: The distance between elements.
  ///   - bias: Whether something is added.
  ///   - dtype: A floating type.
  ///   - key: What the filters depend on; nil: the next of the default stream.
  public init(
    _ inputs: Int, _ outputs: Int, kernel: [Int], stride: [Int] = [1], padding: [Int] = [0],
    dilation: [Int] = [1], bias: Bool = true, dtype: DType = .float64, key: RandomKey? = nil
  ) {
    let keys = (key ?? .next()).split(2)
    let elements = kernel.reduce(Double(inputs)) { $0 * Double($1) }
    let bound = 1 / max(elements, 1).squareRoot()
    weight = .uniform([outputs, inputs] + kernel, -bound, bound, dtype: dtype, key: keys[0])
    self.bias = bias ? .uniform([outputs], -bound, bound, dtype: dtype, key: keys[1]) : nil
    (self.stride, self.padding, self.dilation) = (stride, padding, dilation)
  }

  /// A layer over filters that exist, which it shares.
  public init(
    weight: Tensor, bias: Tensor? = nil, stride: [Int] = [1], padding: [Int] = [0],
    dilation: [Int] = [1]
  ) {
    self.weight = weight
    self.bias = bias
    (self.stride, self.padding, self.dilation) = (stride, padding, dilation)
  }

  /// The convolution.
  ///
  /// - Parameter x: Of shape `[N, inputs, X...]`.
  /// - Returns: Of shape `[N, outputs, G...]`, see `convND`.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    if x.isPoisoned || weight.isPoisoned { return x.isPoisoned ? x : weight }
    let filters = weight.shape
    if filters.count < 3 || x.rank != filters.count || x.shape[1] != filters[1] {
      let axes = filters.dropFirst(2).map { _ in "X" }.joined(separator: ", ")
      let inputs = filters.count < 2 ? "inputs" : "\(filters[1])"
      return .failure(
        "Conv\(filters)", "expected [N, \(inputs), \(axes)], got \(x.shape)", operands: [x])
    }
    let result = convND(x, weight, stride: stride, padding: padding, dilation: dilation)
    guard let bias, !result.isPoisoned else { return result }
    if bias.shape != [filters[0]] {
      return .failure(
        "Conv\(filters)", "expected a bias of shape [\(filters[0])], got \(bias.shape)",
        operands: [bias])
    }
    return result
      + bias.reshaped([filters[0]] + [Int](repeating: 1, count: filters.count - 2))
  }
}

/// The largest elements of windows over the last axes.
public struct MaxPool: PlainLayer {
  /// The lengths of a window along the last axes.
  public let window: [Int]
  /// How far it is moved at a time, for each axis or for all.
  public let stride: [Int]

  /// A layer for windows of some lengths along the last axes: `MaxPool([2, 2])` for pictures.
  ///
  /// - Parameters:
  ///   - window: The lengths.
  ///   - stride: How far a window is moved at a time; nil: by its length, so that windows lie side by side.
  ///     The strides must end with the axis, as in `maxPool`.
  public init(_ window: [Int], stride: [Int]? = nil) {
    self.window = window
    self.stride = stride ?? window
  }

  /// The largest element of each window; see `maxPool(_:_:stride:)`.
  public func callAsFunction(_ x: Tensor) -> Tensor { maxPool(x, window, stride: stride) }
}
