// Making tensors.

internal import LazyGradJIT

extension Tensor {
  /// A tensor with the values of a host array.
  ///
  /// - Parameters:
  ///   - array: The values.
  ///   - dtype: The element type; the array's where nil.
  ///   - constant: Whether gradients stay away; nil: floats are variables, all else constants.
  ///     Integers and bools can't be variables.
  ///   - copy: Whether the tensor gets memory of its own. Without a copy it shares the array's
  ///     memory, whatever its strides are, unless the type differs: the memory guard then locks the
  ///     array while a graph needs it. A tensor over a read-only array can't be updated in place.
  public convenience init(
    _ array: NDArray, dtype: DType? = nil, constant: Bool? = nil, copy: Bool = true
  ) {
    let type = dtype ?? array.dtype
    if let poison = array.poison {
      self.init(poison: poison)
      return
    }
    if constant == false, !type.isFloating {
      let message = "integer and bool tensors are constants, got constant: false for \(type)"
      self.init(poison: LazyGrad.poison(TensorError(operation: "Tensor", message: message)))
      return
    }
    if !fitsMemory(array.shape) {
      let message = "shape \(array.shape) has more elements than memory can hold"
      self.init(poison: LazyGrad.poison(TensorError(operation: "Tensor", message: message)))
      return
    }
    let source: NDArray
    do throws(TensorError) {
      source =
        type != array.dtype || copy ? try array.converted(to: type, operation: "Tensor") : array
    } catch {
      self.init(poison: LazyGrad.poison(error))
      return
    }
    self.init(adopting: source, isVariable: !(constant ?? !type.isFloating))
  }

  /// A tensor with the values of nested Swift arrays: `Tensor([[1.0, 2], [3, 4]])`.
  public convenience init<Values: NestedArray>(
    _ values: Values, dtype: DType? = nil, constant: Bool? = nil
  ) {
    self.init(NDArray(values, dtype: dtype), constant: constant, copy: false)
  }

  /// A tensor with elements in C order and a shape: `Tensor([1.0, 2, 3, 4], shape: [2, 2])`.
  ///
  /// The number of elements must be that of the shape, and `dtype` must be able to hold whole numbers.
  ///
  /// The element type is that of the Swift type unless `dtype` says otherwise.
  /// - Complexity: copies every element once.
  public convenience init<Scalar: TensorScalar>(
    _ elements: [Scalar], shape: [Int], dtype: DType? = nil, constant: Bool? = nil
  ) {
    self.init(NDArray(elements, shape: shape, dtype: dtype), constant: constant, copy: false)
  }

  /// A tensor with the value of a snapshot, in memory of its own.
  ///
  /// - Throws: `SnapshotError.outOfMemory`: snapshots often come from outside, so their size is not the
  ///   program's error.
  /// - Complexity: copies every element once.
  public convenience init(
    _ snapshot: TensorSnapshot, constant: Bool? = nil
  ) throws(SnapshotError) {
    self.init(try NDArray(snapshot), constant: constant, copy: false)
  }

  /// A tensor over an array's own memory.
  convenience init(adopting array: NDArray, isVariable: Bool) {
    let tape = Tape.current
    self.init(
      tape.locked {
        tape.makeSlot(
          storage: Unmanaged.passRetained(array.storage), layout: array.layoutID,
          offset: array.offset, type: array.dtype.scalarType, isVariable: isVariable)
      })
    if !array.isNativelyWriteable { slot.isReadOnly = true }
  }

  /// Zeros, float64 unless `dtype` says otherwise, as all that is made without a type. Nothing is stored
  /// for them until they are asked for.
  ///
  /// - Complexity: records one node.
  public static func zeros(
    _ shape: [Int], dtype: DType = .float64, constant: Bool? = nil
  ) -> Tensor { filled(shape, 0.0, dtype, constant, "zeros") }

  /// Ones, float64 unless `dtype` says otherwise.
  ///
  /// - Complexity: records one node.
  public static func ones(
    _ shape: [Int], dtype: DType = .float64, constant: Bool? = nil
  ) -> Tensor { filled(shape, 1.0, dtype, constant, "ones") }

  /// One number everywhere; the type is the number's where `dtype` is nil.
  public static func full<Scalar: TensorScalar>(
    _ shape: [Int], _ value: Scalar, dtype: DType? = nil, constant: Bool? = nil
  ) -> Tensor { filled(shape, value, dtype ?? Scalar.dtype, constant, "full") }

  /// One number in the shape and type of another tensor, with its constness.
  public static func full(
    like tensor: Tensor, _ value: some TensorScalar, constant: Bool? = nil
  ) -> Tensor {
    filled(tensor.shape, value, tensor.dtype, constant ?? tensor.isConstant, "full")
  }

  /// Zeros like a host array: a variable if the type is floating.
  public static func zeros(like array: NDArray, constant: Bool? = nil) -> Tensor {
    zeros(array.shape, dtype: array.dtype, constant: constant)
  }

  /// Ones like a host array: a variable if the type is floating.
  public static func ones(like array: NDArray, constant: Bool? = nil) -> Tensor {
    ones(array.shape, dtype: array.dtype, constant: constant)
  }

  /// Zeros like a tensor, with its constness.
  public static func zeros(like tensor: Tensor, constant: Bool? = nil) -> Tensor {
    zeros(tensor.shape, dtype: tensor.dtype, constant: constant ?? tensor.isConstant)
  }

  /// Ones like a tensor, with its constness.
  public static func ones(like tensor: Tensor, constant: Bool? = nil) -> Tensor {
    ones(tensor.shape, dtype: tensor.dtype, constant: constant ?? tensor.isConstant)
  }

  private static func filled<Scalar: TensorScalar>(
    _ shape: [Int], _ value: Scalar, _ dtype: DType, _ constant: Bool?, _ operation: String
  ) -> Tensor {
    let layout: LayoutID
    do { layout = try NDArray.checkedLayout(shape, operation: operation) } catch {
      return fail(error)
    }
    if !fitsMemory(shape) {
      return fail(operation, "shape \(shape) has more elements than memory can hold")
    }
    if let message = value.weak.misfit(dtype) { return fail(operation, message) }
    if constant == false, !dtype.isFloating {
      return fail(
        operation, "integer and bool tensors are constants, got constant: false for \(dtype)")
    }
    return Tensor(
      Tape.filled(
        value.weak, type: dtype.scalarType, shape: layout,
        isVariable: !(constant ?? !dtype.isFloating)))
  }

  /// The numbers 0, 1, 2, ... below `stop`; the type is the number's where `dtype` is nil.
  public static func arange<Scalar: TensorScalar>(
    _ stop: Scalar, dtype: DType? = nil, constant: Bool? = nil
  ) -> Tensor {
    Tensor(NDArray.arange(stop, dtype: dtype), constant: constant, copy: false)
  }

  /// The numbers `start`, `start + 1`, ... before `stop`.
  public static func arange<Scalar: TensorScalar>(
    _ start: Scalar, _ stop: Scalar, dtype: DType? = nil, constant: Bool? = nil
  ) -> Tensor {
    Tensor(NDArray.arange(start, stop, dtype: dtype), constant: constant, copy: false)
  }

  /// The numbers `start`, `start + step`, ... before `stop`, as `NDArray.arange` makes them:
  /// `Tensor.arange(0.0, 1, 0.25)` is `[0., 0.25, 0.5, 0.75]`.
  public static func arange<Scalar: TensorScalar>(
    _ start: Scalar, _ stop: Scalar, _ step: Scalar, dtype: DType? = nil, constant: Bool? = nil
  ) -> Tensor {
    Tensor(NDArray.arange(start, stop, step, dtype: dtype), constant: constant, copy: false)
  }

  /// `count` numbers from `start` to `end`, evenly spaced, as `NDArray.linspace` makes them.
  public static func linspace(
    _ start: Double, _ end: Double, count: Int = 50, endpoint: Bool = true,
    dtype: DType = .float64, constant: Bool? = nil
  ) -> Tensor {
    Tensor(
      NDArray.linspace(start, end, count: count, endpoint: endpoint, dtype: dtype),
      constant: constant, copy: false)
  }

  /// A matrix with ones on a diagonal and zeros elsewhere, as `NDArray.eye` makes it.
  public static func eye(
    _ rows: Int, _ columns: Int? = nil, diagonal: Int = 0, dtype: DType = .float64,
    constant: Bool? = nil
  ) -> Tensor {
    Tensor(
      NDArray.eye(rows, columns, diagonal: diagonal, dtype: dtype), constant: constant, copy: false)
  }

  /// A tensor with the same value, memory of its own and a copy of the gradient, cut off from the
  /// graph: what a checkpoint of a parameter needs.
  ///
  /// - Complexity: forces evaluation.
  public func copy(constant: Bool? = nil) -> Tensor {
    let result = detached(constant: constant)
    guard let gradient = recordedGradient, !result.isConstant, poisoned(result) == nil else {
      return result
    }
    let tape = Tape.hold(all: [result.slot, gradient.slot])
    defer { tape.unlock() }
    let value = tape.append(
      .copy, gradient.slot.pointee.type, shape: gradient.shapeID, a: tape.operand(gradient.slot))
    tape.setGradient(result.slot, value)
    result.slot.addsUpGradients = (baseTensor ?? self).slot.addsUpGradients
    return result
  }

  /// A tensor with the same value and memory of its own, without the gradient, cut off from the
  /// graph.
  ///
  /// - Complexity: forces evaluation.
  public func detached(constant: Bool? = nil) -> Tensor {
    if let poison = poisoned(self) { return poison }
    return Tensor(array, constant: constant ?? isConstant)
  }
}

extension WeakScalar {
  /// What is wrong with the number as an element of a type; nil if nothing is.
  func misfit(_ dtype: DType) -> String? {
    if fits(dtype.scalarType) { return nil }
    return "expected \(dtype.rangeText), got \(int)"
  }
}

extension DType {
  /// For messages: what integers of this type can be.
  var rangeText: String {
    guard let range = scalarType.range else { return "\(self)" }
    return "a number from \(range.lowerBound) to \(range.upperBound), as \(self) is"
  }
}
