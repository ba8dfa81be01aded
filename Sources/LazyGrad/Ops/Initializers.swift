// The values that parameters begin with.

internal import LazyGradJIT

/// Ways to fill the parameters of a network before it is trained, as variables.
///
/// Those that depend on how many inputs and outputs a unit has take these from the shape: `[outputs,
/// inputs, ...]`, as of a convolution, where the axes from the third on are those of the kernel, whose size
/// multiplies both. For a layer that multiplies from the left, `[inputs, outputs]`, give the transposed
/// shape to those that tell them apart, and transpose.
///
/// - Parameters of all of them:
///   - gain: What the deviation is multiplied by, for the function that follows.
///   - dtype: A floating type.
///   - key: What the numbers depend on; nil: the next of the default stream.
public enum Initializer {
  /// Evenly distributed up to gain √(6 / (inputs + outputs)) to both sides (Glorot and Bengio, Understanding
  /// the Difficulty of Training Deep Feedforward Neural Networks, 2010).
  public static func glorotUniform(
    _ shape: [Int], gain: Double = 1, dtype: DType = .float64, key: RandomKey? = nil
  ) -> Tensor {
    scaled("glorotUniform", shape) { inputs, outputs in
      let bound = gain * (6 / (inputs + outputs)).squareRoot()
      return Tensor.uniform(shape, -bound, bound, dtype: dtype, key: key)
    }
  }

  /// Normally distributed with deviation gain √(2 / (inputs + outputs)) (Glorot and Bengio, 2010).
  public static func glorotNormal(
    _ shape: [Int], gain: Double = 1, dtype: DType = .float64, key: RandomKey? = nil
  ) -> Tensor {
    scaled("glorotNormal", shape) { inputs, outputs in
      let deviation = gain * (2 / (inputs + outputs)).squareRoot()
      return Tensor.normal(shape, std: deviation, dtype: dtype, key: key)
    }
  }

  /// Evenly distributed up to gain √(3 / inputs) to both sides (He, Zhang, Ren and Sun, Delving Deep into
  /// Rectifiers, 2015); the gain is that of `relu`, √2.
  public static func heUniform(
    _ shape: [Int], gain: Double = 2.0.squareRoot(), dtype: DType = .float64,
    key: RandomKey? = nil
  ) -> Tensor {
    scaled("heUniform", shape) { inputs, _ in
      let bound = gain * (3 / inputs).squareRoot()
      return Tensor.uniform(shape, -bound, bound, dtype: dtype, key: key)
    }
  }

  /// Normally distributed with deviation gain / √inputs (He, Zhang, Ren and Sun, 2015); the gain is that of
  /// `relu`, √2.
  public static func heNormal(
    _ shape: [Int], gain: Double = 2.0.squareRoot(), dtype: DType = .float64,
    key: RandomKey? = nil
  ) -> Tensor {
    scaled("heNormal", shape) { inputs, _ in
      Tensor.normal(shape, std: gain / inputs.squareRoot(), dtype: dtype, key: key)
    }
  }

  /// Evenly distributed up to √(3 / inputs) to both sides (LeCun, Bottou, Orr and Müller, Efficient BackProp,
  /// 1998).
  public static func lecunUniform(
    _ shape: [Int], dtype: DType = .float64, key: RandomKey? = nil
  ) -> Tensor {
    heUniform(shape, gain: 1, dtype: dtype, key: key)
  }

  /// Normally distributed with deviation 1 / √inputs (LeCun, Bottou, Orr and Müller, 1998).
  public static func lecunNormal(
    _ shape: [Int], dtype: DType = .float64, key: RandomKey? = nil
  ) -> Tensor {
    heNormal(shape, gain: 1, dtype: dtype, key: key)
  }

  /// A convolution that passes its input on: ones in the middle of the kernels `[i, i]`, zeros elsewhere.
  public static func dirac(_ shape: [Int], dtype: DType = .float64) -> Tensor {
    if shape.count < 2 || shape.contains(where: { $0 < 0 }) || !dtype.isFloating {
      return fail("dirac", "expected at least two axes and a floating type, got \(shape), \(dtype)")
    }
    let result = Tensor.zeros(shape, dtype: dtype)
    if poisoned(result) != nil || result.count == 0 { return result }
    let middle = shape.dropFirst(2).map { $0 / 2 }
    let strides = LayoutTable.contiguousStrides(shape)?.strides ?? []
    let offset = zip(middle, strides.dropFirst(2)).reduce(0) { $0 + $1.0 * $1.1 }
    let flat = result.reshaped([-1])
    for i in 0..<Swift.min(shape[0], shape[1]) {
      flat[i * (strides[0] + strides[1]) + offset] = Tensor.ones([], dtype: dtype, constant: true)
    }
    return Tensor(result.array, copy: false)
  }

  /// Runs `body` with the numbers of inputs and outputs of a unit.
  private static func scaled(
    _ operation: String, _ shape: [Int], _ body: (Double, Double) -> Tensor
  ) -> Tensor {
    if shape.count < 2 || shape.contains(where: { $0 < 0 }) {
      return fail(operation, "expected a shape of at least two axes, got \(shape)")
    }
    let kernel = shape.dropFirst(2).reduce(1.0) { $0 * Double($1) }
    // Of nothing any bound will do.
    let (inputs, outputs) = (Double(shape[1]) * kernel, Double(shape[0]) * kernel)
    return body(Swift.max(inputs, 1), Swift.max(outputs, 1))
  }
}
