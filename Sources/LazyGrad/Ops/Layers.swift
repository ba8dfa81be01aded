// Convolutions, pooling and batch normalisation: views of windows, matrix products, reductions.

internal import LazyGradJIT

/// A convolution over any number of axes, without turning the kernel around: MyGrad's `conv_nd`.
///
/// - Parameters:
///   - x: Of shape `[N, C, X...]`: samples, channels, and the axes that the kernel is moved along.
///   - filters: Of shape `[F, C, W...]`: for each of the `F` results a kernel for each channel.
///   - stride: How far the kernel is moved at a time, for each axis or for all.
///   - padding: Zeros before and behind the elements of an axis, for each axis or for all.
///   - dilation: The distance between the elements that a kernel's neighbours meet, for each axis or for
///     all.
/// - Returns: Of shape `[N, F, G...]`, where `G` is `(X + 2 padding - dilation (W - 1) - 1) / stride + 1`.
///   As in MyGrad it is an error where the strides don't end with the axis.
///
/// It is a product of matrices: of the filters, `[F, C W...]`, and for each sample of the windows,
/// `[C W..., G...]`, which are copied for it. So are its gradients: that of `x` is put together from windows.
/// - Complexity: records a product and views; the windows take the memory of `x` times the size of a kernel
///   over the strides.
public func convND(
  _ x: Tensor, _ filters: Tensor, stride: [Int] = [1], padding: [Int] = [0], dilation: [Int] = [1]
) -> Tensor {
  if let poison = poisoned(x, filters) { return poison }
  do throws(TensorError) {
    let (shape, kernel) = (x.shape, filters.shape)
    if shape.count < 3 || kernel.count != shape.count || kernel[1] != shape[1] {
      throw TensorError(
        operation: "convND",
        message: "expected [N, C, X...] and [F, C, W...], got \(shape) and \(kernel)")
    }
    let axes = shape.count - 2
    let padding = try each(padding, axes, "padding", least: 0, "convND")
    let windows = try Windows(
      "convND", lengths: zip(shape.dropFirst(2), padding).map { $0 + 2 * $1 },
      sizes: Array(kernel.dropFirst(2)), stride: stride, dilation: dilation)
    let depth = kernel[1...].reduce(1, *)
    let places = windows.counts.reduce(1, *)
    if !fitsMemory([shape[0], depth, places]) || !fitsMemory([shape[0], kernel[0], places]) {
      throw TensorError(
        operation: "convND", message: "the windows of \(shape) have too many elements for memory")
    }
    x.use()
    filters.use()
    let source = padding.allSatisfy { $0 == 0 } ? x : padded(x, padding)
    // [N, C, G..., W...] with the windows' elements before their places.
    let lead = [0, 1]
    let order = lead + (2 + axes..<2 + 2 * axes) + (2..<2 + axes)
    let columns = source.windows(windows).transposed(order)
      .reshaped([shape[0], depth, places])
    let product = matmul(filters.reshaped([kernel[0], depth]), columns)
    return product.turned(into: [shape[0], kernel[0]] + windows.counts)
  } catch { return fail(error, [x, filters]) }
}

/// A convolution with the same stride, padding and dilation for all axes.
public func convND(
  _ x: Tensor, _ filters: Tensor, stride: Int, padding: Int = 0, dilation: Int = 1
) -> Tensor {
  convND(x, filters, stride: [stride], padding: [padding], dilation: [dilation])
}

/// The largest elements of windows over the last axes: MyGrad's `max_pool`.
///
/// - Parameters:
///   - x: Has at least as many axes as there are lengths of windows.
///   - pool: The lengths of a window along the last axes.
///   - stride: How far it is moved at a time, for each axis or for all. As in MyGrad it is an error where
///     the strides don't end with the axis.
/// - Returns: The axes before are as they were, the last have the number of windows.
///
/// The gradient goes to the first of the largest elements of a window, in C order, and adds up where
/// windows overlap.
/// - Complexity: records a view and a reduction.
public func maxPool(_ x: Tensor, _ pool: [Int], stride: [Int]) -> Tensor {
  if let poison = poisoned(x) { return poison }
  do throws(TensorError) {
    if pool.isEmpty || pool.count > x.rank {
      throw TensorError(
        operation: "maxPool",
        message: "expected windows over 1 to \(x.rank) axes of \(x.shape), got \(pool)")
    }
    let windows = try Windows(
      "maxPool", lengths: Array(x.shape.suffix(pool.count)), sizes: pool, stride: stride,
      dilation: [1])
    x.use()
    return x.windows(windows).max(axes: Array(x.rank..<x.rank + pool.count))
  } catch { return fail(error, [x]) }
}

/// The largest elements of windows that are moved equally far along all axes.
public func maxPool(_ x: Tensor, _ pool: [Int], stride: Int) -> Tensor {
  maxPool(x, pool, stride: [stride])
}

/// Brings every channel to mean 0 and variance 1, over all axes but the second: MyGrad's `batchnorm`.
///
/// - Parameters:
///   - x: Of shape `[N, C, ...]`.
///   - gamma: What each channel is multiplied by then, of shape `[C]`.
///   - beta: What is added to each channel at the end, of shape `[C]`.
///   - eps: Added to the variance, which is divided by the number of elements.
/// - Returns: In the shape of `x`. Nothing is kept from call to call.
/// - Complexity: records two reductions and a few operations on elements.
public func batchNorm(
  _ x: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil, eps: Double
) -> Tensor {
  if let poison = poisoned(x, gamma, beta) { return poison }
  if x.rank < 2 {
    return fail("batchNorm", "expected at least two axes, [N, C, ...], got \(x.shape)", [x])
  }
  let channels = x.shape[1]
  for parameter in [gamma, beta].compactMap({ $0 }) where parameter.shape != [channels] {
    return fail(
      "batchNorm", "expected gamma and beta of shape [\(channels)], got \(parameter.shape)",
      [x, parameter])
  }
  let axes = [0] + (2..<x.rank)
  return Tensor.inFloat32(x, gamma, beta) { x, gamma, beta in
    normalized(x, mean: x.mean(axes: axes, keepDims: true), variance: nil, gamma, beta, eps)
  }
}

/// Brings every channel to mean 0 and variance 1 by statistics that are given: those of a training, as a
/// network uses them afterwards, or a batch's own.
///
/// - Parameters:
///   - x: Of shape `[N, C, ...]`.
///   - mean: What is subtracted from each channel, of shape `[C]`. Gradients reach it.
///   - variance: What each channel is divided by the root of, of shape `[C]`. Gradients reach it.
///   - gamma: What each channel is multiplied by then, of shape `[C]`.
///   - beta: What is added to each channel at the end, of shape `[C]`.
///   - eps: Added to the variance.
/// - Returns: In the shape of `x`.
/// - Complexity: records a few operations on elements.
public func batchNorm(
  _ x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil,
  eps: Double
) -> Tensor {
  if let poison = poisoned(x, mean, variance) ?? poisoned(x, gamma, beta) { return poison }
  if x.rank < 2 {
    return fail("batchNorm", "expected at least two axes, [N, C, ...], got \(x.shape)", [x])
  }
  for given in [mean, variance, gamma, beta].compactMap({ $0 }) where given.shape != [x.shape[1]] {
    return fail(
      "batchNorm",
      "expected statistics, gamma and beta of shape [\(x.shape[1])], got \(given.shape)",
      [x, given])
  }
  let column = channelShape(x)
  let parameters = [gamma, beta].compactMap { $0 }
  return Tensor.inFloat32([x, mean, variance] + parameters) { all in
    normalized(
      all[0], mean: all[1].reshaped(column), variance: all[2].reshaped(column),
      gamma == nil ? nil : all[3], beta == nil ? nil : all[all.count - 1], eps)
  }
}

/// The shape of one number per channel, beside the axes that follow it.
private func channelShape(_ x: Tensor) -> [Int] {
  [x.shape[1]] + [Int](repeating: 1, count: x.rank - 2)
}

/// The elements less a mean over the root of a variance, nil: that of the batch, and what a channel has of
/// its own.
private func normalized(
  _ x: Tensor, mean: Tensor, variance: Tensor?, _ gamma: Tensor?, _ beta: Tensor?, _ eps: Double
) -> Tensor {
  let centred = x - mean
  let variance = variance ?? square(centred).mean(axes: [0] + (2..<x.rank), keepDims: true)
  var result = centred / sqrt(variance + eps)
  if let gamma { result = result * gamma.reshaped(channelShape(x)) }
  if let beta { result = result + beta.reshaped(channelShape(x)) }
  return result
}

/// Brings the elements along the last axis to mean 0 and variance 1, for each place before it alone (Ba, Kiros
/// and Hinton, Layer Normalization, 2016).
///
/// Options:
/// - `x`: Of shape `[..., C]`. Integers and bools give float64.
/// - `gamma`: What each of the C elements is multiplied by then, of shape `[C]`.
/// - `beta`: What is added to each at the end, of shape `[C]`.
/// - `eps`: Added to the variance, which is divided by the number of elements.
/// - Returns: In the shape of `x`.
/// - Complexity: records two reductions and a few operations on elements.
public func layerNorm(
  _ x: Tensor, gamma: Tensor? = nil, beta: Tensor? = nil, eps: Double = 1e-5
) -> Tensor {
  if let poison = poisoned(x, gamma, beta) { return poison }
  guard let width = x.shape.last else {
    return fail("layerNorm", "expected at least one axis, [..., C], got a scalar", [x])
  }
  for parameter in [gamma, beta].compactMap({ $0 }) where parameter.shape != [width] {
    return fail(
      "layerNorm", "expected gamma and beta of shape [\(width)], got \(parameter.shape)",
      [x, parameter])
  }
  return Tensor.inFloat32(x, gamma, beta) { x, gamma, beta in
    let centred = x - x.mean(axis: -1, keepDims: true)
    let variance = square(centred).mean(axis: -1, keepDims: true)
    var result = centred / sqrt(variance + eps)
    if let gamma { result = result * gamma }
    if let beta { result = result + beta }
    return result
  }
}

/// The rows of a table that whole numbers name: vectors of words, for instance.
///
/// - Parameters:
///   - indices: Whole numbers of any shape; negative ones count from the end.
///   - table: Of shape `[rows, ...]`.
/// - Returns: Of the shape of the indices and behind it that of a row. The gradient of a row that is named
///   several times is the sum.
/// - Complexity: reads the indices, which evaluates them; records one node.
public func embedding(_ indices: Tensor, _ table: Tensor) -> Tensor {
  if let poison = poisoned(indices, table) { return poison }
  if indices.dtype.isFloating || indices.dtype == .bool {
    return fail("embedding", "expected whole numbers as indices, got \(indices.dtype)", [indices])
  }
  return table.takeRows(indices.array)
}

// MARK: - Windows

/// Windows over some axes: how many there are, and how they lie.
struct Windows {
  let sizes: [Int]
  let steps: [Int]
  let dilations: [Int]
  /// How many there are along each axis.
  let counts: [Int]

  init(
    _ operation: String, lengths: [Int], sizes: [Int], stride: [Int], dilation: [Int]
  ) throws(TensorError) {
    self.sizes = sizes
    steps = try each(stride, lengths.count, "stride", least: 1, operation)
    dilations = try each(dilation, lengths.count, "dilation", least: 1, operation)
    var counts: [Int] = []
    for (axis, length) in lengths.enumerated() {
      let (reach, overflow) = (sizes[axis] - 1).multipliedReportingOverflow(by: dilations[axis])
      let room = overflow ? -1 : length - reach - 1
      if sizes[axis] < 1 || room < 0 || room % steps[axis] != 0 {
        throw TensorError(
          operation: operation,
          message:
            "windows of \(sizes[axis]) elements at a distance of \(dilations[axis]), moved by "
            + "\(steps[axis]), don't fit an axis of length \(length)")
      }
      counts.append(room / steps[axis] + 1)
    }
    self.counts = counts
  }
}

/// One number for each axis, given for each or for all.
private func each(
  _ numbers: [Int], _ count: Int, _ name: String, least: Int, _ operation: String
) throws(TensorError) -> [Int] {
  let isFine = numbers.count == 1 || numbers.count == count
  if !isFine || numbers.contains(where: { $0 < least || $0 > Int(Int32.max) }) {
    throw TensorError(
      operation: operation,
      message: "expected a \(name) of \(least) or more for each of \(count) axes, got \(numbers)")
  }
  return numbers.count == count ? numbers : [Int](repeating: numbers[0], count: count)
}

extension Tensor {
  /// A view of windows over the last axes: in their place their numbers, and behind all the windows' own
  /// axes.
  fileprivate func windows(_ windows: Windows) -> Tensor {
    let own = ownLayout
    let first = own.layout.rank - windows.sizes.count
    let lead = own.layout.strides[..<first]
    let moved = own.layout.strides[first...]
    let dims = own.layout.dims[..<first] + windows.counts + windows.sizes
    let strides =
      lead + zip(moved, windows.steps).map { $0 * $1 }
      + zip(moved, windows.dilations).map { $0 * $1 }
    return view(
      layout: LayoutTable.shared.intern(dims: Array(dims), strides: Array(strides)),
      offset: own.offset)
  }
}

/// The tensor among zeros, so many before and behind it along the axes from the third on.
private func padded(_ x: Tensor, _ padding: [Int]) -> Tensor {
  let shape = x.shape
  let dims = Array(shape[..<2]) + zip(shape.dropFirst(2), padding).map { $0 + 2 * $1 }
  let zeros = Tensor.zeros(dims, dtype: x.dtype, constant: true)
  if let poison = poisoned(zeros) { return poison }
  let strides = zeros.layout.strides
  let start = zip(padding, strides.dropFirst(2)).reduce(0) { $0 + $1.0 * $1.1 }
  return Tensor.record(zeros, x) {
    Tensor(
      Tape.general(
        .setRegion, zeros.slot, x.slot, type: x.slot.pointee.type, shape: zeros.shapeID,
        attribute: LayoutTable.shared.intern(dims: shape, strides: strides),
        payload: UInt64(start), mode: $0))
  }
}
