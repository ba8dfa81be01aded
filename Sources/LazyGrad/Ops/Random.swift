// Random tensors. Bits are drawn at once, so that draws happen in the order of the program.

internal import LazyGradJIT

extension Tensor {
  /// Numbers from 0 up to and without 1, evenly distributed, with 53 random bits, or 24 in float32; those of
  /// float16 and bfloat16 are float32 that are rounded down.
  ///
  /// Options:
  /// - `dtype`: A floating type.
  /// - `key`: What the numbers depend on; nil: the next of the default stream.
  /// - `constant`: Whether gradients stay away.
  /// - Complexity: draws at once.
  public static func random(
    _ shape: [Int], dtype: DType = .float64, key: RandomKey? = nil, constant: Bool = false
  ) -> Tensor {
    uniform(shape, 0, 1, dtype: dtype, key: key, constant: constant)
  }

  /// Numbers from `low` up to and without `high`, evenly distributed.
  ///
  /// Options as for `random(_:dtype:key:constant:)`. The bounds are finite, `high` is no less than
  /// `low`, and their difference is finite; where they are equal, so are all numbers.
  public static func uniform(
    _ shape: [Int], _ low: Double = 0, _ high: Double = 1, dtype: DType = .float64,
    key: RandomKey? = nil, constant: Bool = false
  ) -> Tensor {
    if !(low <= high) || !(high - low).isFinite {
      return fail("uniform", "expected finite bounds in order, got \(low) and \(high)")
    }
    return drawn("uniform", dtype, constant) { () throws(TensorError) in
      let result = try RandomBits.fractions(shape, dtype.computing, key ?? .next(), "uniform")
      RandomBits.stretch(result, from: low, to: high)
      return try RandomBits.narrowed(result, dtype, from: low, "uniform")
    }
  }

  /// Normally distributed numbers, by the method of Box and Muller (A Note on the Generation of Random
  /// Normal Deviates, 1958).
  ///
  /// Options, as for `random(_:dtype:key:constant:)`:
  /// - `mean`: Their mean.
  /// - `std`: Their standard deviation, no less than 0.
  ///
  /// The bits of equal keys are equal everywhere; last digits may depend on the instruction set, as those of
  /// logarithms do.
  public static func normal(
    _ shape: [Int], mean: Double = 0, std: Double = 1, dtype: DType = .float64,
    key: RandomKey? = nil, constant: Bool = false
  ) -> Tensor {
    if !(std >= 0) || !std.isFinite || !mean.isFinite {
      return fail(
        "normal", "expected a finite mean and deviation of 0 or more, got \(mean) and \(std)")
    }
    return drawn("normal", dtype, constant) { () throws(TensorError) in
      let layout = try NDArray.checkedLayout(shape, operation: "normal")
      let count = LayoutTable.shared[layout].count
      let pairs = (count + 1) / 2
      // Not 0, whose logarithm is infinite.
      let type = dtype.computing
      if pairs <= RandomBits.mostDirectPairs {
        let values = try RandomBits.normals(shape, type, key ?? .next(), mean, std)
        return dtype == type ? values : try values.converted(to: dtype, operation: "normal")
      }
      let u = try RandomBits.fractions([2, pairs], type, key ?? .next(), "normal", isOpen: true)
      let z = noAutodiff {
        let u = Tensor(u, constant: true, copy: false)
        let length = sqrt(log(u[0]) * -2.0)
        // The sine is the cosine of the angle less a quarter.
        let quarters = Tensor(NDArray([0, -0.5 * Double.pi], shape: [2, 1], dtype: type))
        let both = cos(u[1] * (2 * Double.pi) + quarters) * length
        let scaled = std == 1 && mean == 0 ? both : both * std + mean
        return scaled.reshaped([2 * pairs])[0..<count].reshaped(shape)
      }
      let values = z.array
      if let poison = values.poison { throw poison.error }
      return count == 2 * pairs && dtype == type
        ? values : try values.converted(to: dtype, operation: "normal")
    }
  }

  /// Whole numbers from `low` up to and without `high`, all as likely to within a 2⁻⁶⁴ of their number.
  ///
  /// Options:
  /// - `dtype`: An integer type that holds them.
  /// - `key`: What the numbers depend on; nil: the next of the default stream.
  /// - Returns: A constant.
  /// - Complexity: draws at once.
  public static func randint(
    _ shape: [Int], _ low: Int, _ high: Int, dtype: DType = .int64, key: RandomKey? = nil
  ) -> Tensor {
    if low >= high {
      return fail("randint", "expected bounds in order, got \(low) and \(high)")
    }
    if dtype.isFloating || dtype == .bool {
      return fail("randint", "expected a type of integers, got \(dtype)")
    }
    for bound in [low, high - 1] {
      if let message = bound.weak.misfit(dtype) { return fail("randint", message) }
    }
    do throws(TensorError) {
      let numbers = try RandomBits.integers(shape, low, high, key ?? .next(), "randint")
      return Tensor(numbers, dtype: dtype, constant: true, copy: false)
    } catch { return fail(error) }
  }

  /// True with a probability, as a constant.
  ///
  /// - Note: `key`: what the values depend on; nil: the next of the default stream.
  public static func bernoulli(_ shape: [Int], _ p: Double, key: RandomKey? = nil) -> Tensor {
    if !(p >= 0 && p <= 1) {
      return fail("bernoulli", "expected a probability from 0 to 1, got \(p)")
    }
    return noAutodiff { random(shape, key: key, constant: true) .< p }
  }

  /// For every element of `p` true with that probability, as a constant.
  ///
  /// - Complexity: draws at once; records the comparison.
  public static func bernoulli(_ p: Tensor, key: RandomKey? = nil) -> Tensor {
    if let poison = poisoned(p) { return poison }
    let type = p.dtype.isFloating ? p.dtype.computing : .float64
    return random(p.shape, dtype: type, key: key, constant: true) .< p
  }

  // MARK: Order and choice

  /// The numbers from 0 up to and without `count` in a random order, as int64.
  ///
  /// - Complexity: draws at once.
  public static func permutation(_ count: Int, key: RandomKey? = nil) -> Tensor {
    do throws(TensorError) {
      let order = try RandomBits.permutation(count, taking: count, key ?? .next(), "permutation")
      return Tensor(order, constant: true, copy: false)
    } catch { return fail(error) }
  }

  /// The entries of a tensor along its first axis in a random order; differentiable.
  public static func permutation(of x: Tensor, key: RandomKey? = nil) -> Tensor {
    if let poison = poisoned(x) { return poison }
    if x.rank == 0 { return fail("permutation", "expected at least one axis, got a scalar", [x]) }
    let order = permutation(x.shape[0], key: key)
    return poisoned(order) ?? x.takeRows(order.array)
  }

  /// Numbers from 0 up to and without `count`, chosen at random, as int64.
  ///
  /// Options:
  /// - `replace`: Whether a number may be chosen again.
  /// - `p`: How likely each number is, in proportion; nil: all the same. Without replacement numbers are
  ///   chosen one after the other, in proportion to what is left (Efraimidis and Spirakis, Weighted Random
  ///   Sampling with a Reservoir, 2006).
  /// - `key`: What is chosen depends on it; nil: the next of the default stream.
  /// - Complexity: draws at once.
  public static func choice(
    _ count: Int, _ shape: [Int], replace: Bool = true, p: [Double]? = nil, key: RandomKey? = nil
  ) -> Tensor {
    do throws(TensorError) {
      let chosen = try RandomBits.choice(count, shape, replace, p, key ?? .next())
      return Tensor(chosen, constant: true, copy: false)
    } catch { return fail(error) }
  }

  /// Entries of a tensor along its first axis, chosen at random: the shape is `shape` followed by that of an
  /// entry. Differentiable; otherwise as `choice(_:_:replace:p:key:)`.
  public static func choice(
    from x: Tensor, _ shape: [Int], replace: Bool = true, p: [Double]? = nil,
    key: RandomKey? = nil
  ) -> Tensor {
    if let poison = poisoned(x) { return poison }
    if x.rank == 0 { return fail("choice", "expected at least one axis, got a scalar", [x]) }
    let chosen = choice(x.shape[0], shape, replace: replace, p: p, key: key)
    return poisoned(chosen) ?? x.takeRows(chosen.array)
  }

  private static func drawn(
    _ operation: String, _ dtype: DType, _ constant: Bool,
    _ draw: () throws(TensorError) -> NDArray
  ) -> Tensor {
    if !dtype.isFloating { return fail(operation, "expected a floating type, got \(dtype)") }
    do throws(TensorError) {
      return Tensor(adopting: try draw(), isVariable: !constant)
    } catch { return fail(error) }
  }
}

/// Sets elements to zero with a probability and divides the others by what is left, so that the mean stays:
/// for training.
///
/// Options:
/// - `p`: The probability, from 0 up to and without 1.
/// - `key`: Which elements; nil: the next of the default stream.
/// - Returns: A new tensor; the gradient passes where the element was kept.
/// - Complexity: draws at once; records three nodes.
public func dropout(_ x: Tensor, _ p: Double = 0.5, key: RandomKey? = nil) -> Tensor {
  if let poison = poisoned(x) { return poison }
  if !(p >= 0 && p < 1) {
    return fail("dropout", "expected a probability from 0 up to and without 1, got \(p)", [x])
  }
  if p == 0 { return +x }
  let kept =
    Tensor.random(
      x.shape, dtype: x.dtype.isFloating ? x.dtype.computing : .float64, key: key, constant: true)
    .>= p
  if let poison = poisoned(kept) { return poison }
  let scaled = x * (1 / (1 - p))
  return `where`(kept, scaled, Tensor.zeros([], dtype: scaled.dtype, constant: true))
}
