// Softmax and the losses built on it. They are composites of recorded operations with a derivative
// rule of their own: the rule is shorter and more accurate than that of their parts.

internal import LazyGradJIT

/// e^x over the sum of e^x along an axis; computed without overflow.
///
/// Integers and bools give float64. Not-a-number where an element along the axis is infinite, or all are
/// minus infinity, as in NumPy's formulas.
public func softmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.along(.softmax, x, axis) { x, axis in
    let e = exp(x - x.max(axis: axis, keepDims: true))
    // One division per row; a multiplication more in rounding, at most half a unit of the last place.
    return e * reciprocal(e.sum(axis: axis, keepDims: true))
  }
}

/// The logarithm of `softmax`, accurate where that is tiny.
public func logSoftmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.along(.logSoftmax, x, axis) { x, axis in
    let shifted = x - x.max(axis: axis, keepDims: true)
    return shifted - log(exp(shifted).sum(axis: axis, keepDims: true))
  }
}

/// log(sum(e^x)) along an axis; computed without overflow.
///
/// Integers and bools give float64. Infinite where the greatest element is, and then the gradient goes
/// to the elements that are equal to it, in equal parts: all of it to a single infinity. That is also
/// what it comes to where all are minus infinity.
public func logSumExp(_ x: Tensor, axis: Int = -1, keepDims: Bool = false) -> Tensor {
  if let poison = poisoned(x) { return poison }
  if x.rank == 0 || axis >= x.rank || axis < -x.rank {
    return fail("logSumExp", "axis \(axis) is out of range for shape \(x.shape)", [x])
  }
  let input = x.dtype.isFloating ? x : x.cast(to: .float64)
  let plain = Composite.constant(input)
  let (top, powers) = Scope.untracked {
    let top = plain.max(axis: axis, keepDims: true)
    // An infinity less itself would be no number, and no gradient.
    let shifted = `where`(plain .== top, Composite.zero(plain), plain - top)
    return (top, exp(shifted))
  }
  if let poison = poisoned(powers) { return poison }
  input.use()
  // The shift does not change the result, so no gradient goes through it.
  let shares = Composite.attach(.shiftedExp, input, powers)
  let shift = keepDims ? top : top.squeezed(axis: axis)
  return log(shares.sum(axis: axis, keepDims: keepDims)) + Composite.constant(shift)
}

/// The mean over rows of `-log(softmax(logits))` at the row's label: the softmax cross-entropy.
///
/// - Parameters:
///   - logits: Scores of shape `[rows, classes]`.
///   - labels: For every row the number of its class.
/// - Returns: A scalar.
public func softmaxCrossEntropy(_ logits: Tensor, _ labels: NDArray) -> Tensor {
  if let poison = poisoned(logits) { return poison }
  if let poison = labels.poison { return Tensor(poison: poison) }
  let name = "softmaxCrossEntropy"
  if logits.rank != 2 || labels.shape != [logits.shape[0]] {
    return fail(
      name,
      "expected logits [rows, classes] and labels [rows], got \(logits.shape) and \(labels.shape)",
      [logits])
  }
  if labels.dtype.isFloating || labels.dtype == .bool {
    return fail(name, "expected integer labels, got \(labels.dtype)", [logits])
  }
  let (rows, classes) = (logits.shape[0], logits.shape[1])
  let given: [Int]
  do throws(TensorError) {
    given = try labels.copiedElements(as: Int.self, operation: name)
  } catch { return fail(error, [logits]) }
  for label in given where label < 0 || label >= classes {
    return fail(name, "label \(label) is out of range for \(classes) classes", [logits])
  }
  let column = Tensor(labels.reshaped([rows, 1]), dtype: .int64, constant: true)
  let table = LayoutTable.shared
  let numbers = Tensor(Tape.iota(shape: table.intern(dims: [1, classes])))
  let isLabel = numbers .== column
  let picked = `where`(isLabel, logSoftmax(logits), Composite.zero(logits))
  return picked.sum() * (-1 / Double(rows))
}

/// Operations that are recorded as several nodes and differentiated as one.
enum Composite: UInt32 {
  case softmax
  case logSoftmax
  /// A custom operation; the bits above these say which of its operands.
  case custom
  /// A value that has been put into a host array: the gradient passes.
  case stored

  /// e^(x - m), where m is such that the result hangs on x only, as far as derivatives go.
  case shiftedExp

  /// Bits of a node's attribute that say which composite it belongs to; for some, those above these
  /// name an axis.
  static let mask: UInt32 = 0xFF

  /// Records a composite along an axis, which `body` is told; nil: of a scalar.
  static func along(
    _ composite: Composite, _ x: Tensor, _ axis: Int, _ body: (Tensor, Int?) -> Tensor
  ) -> Tensor {
    if let poison = poisoned(x) { return poison }
    let isScalar = x.rank == 0 && (axis == -1 || axis == 0)
    if !isScalar, axis >= x.rank || axis < -x.rank { return outOfRange(composite, x, axis) }
    let input = x.dtype.isFloating ? x : x.cast(to: .float64)
    let position = axis < 0 ? axis + x.rank : axis
    if !isScalar, x.shape[position] == 0 { return +input }
    input.use()
    let plain = constant(input)
    let value = Scope.untracked { body(plain, isScalar ? nil : position) }
    return attach(composite, input, value, axis: isScalar ? 0 : position)
  }

  /// Records a value that is differentiated as a composite of `x`.
  static func attach(
    _ composite: Composite, _ x: Tensor, _ value: Tensor, axis: Int = 0
  ) -> Tensor {
    Tensor(
      Tape.general(
        .attach, x.slot, value.slot, type: x.slot.pointee.type, shape: x.shapeID,
        attribute: composite.rawValue | UInt32(axis) << 8, mode: Scope.mode))
  }

  private static func outOfRange(_ composite: Composite, _ x: Tensor, _ axis: Int) -> Tensor {
    fail("\(composite)", "axis \(axis) is out of range for shape \(x.shape)", [x])
  }

  /// The same value without a way for gradients, on the same node or memory.
  static func constant(_ x: Tensor) -> Tensor {
    Tensor(Tape.constant(x.slot))
  }

  /// A scalar zero of a tensor's type.
  static func zero(_ like: Tensor) -> Tensor {
    Tensor.zeros([], dtype: like.dtype, constant: true)
  }
}

enum CompositeRules {
  static func attach(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let composite = Composite(rawValue: p.tape[n].attribute & Composite.mask)!
    if composite == .custom {
      CustomRule.apply(copy p, n, g)
      return
    }
    if composite == .stored {
      p.add(p.a(n), g)
      return
    }
    let y = p.value(n)
    var dims = p.layout(n).dims
    let axis = Int(p.tape[n].attribute >> 8)
    let table = LayoutTable.shared
    // A scalar is a row of one element.
    let attribute =
      dims.isEmpty
      ? table.intern(dims: [1, 1, 1]) : Layout.reduction(of: dims, over: axis...axis)
    if !dims.isEmpty { dims[axis] = 1 }
    let kept = table.intern(dims: dims)
    func sum(_ x: UInt32) -> UInt32 {
      p.emit(.sum, type: p.type(n), shape: kept, x, attribute: attribute)
    }
    switch composite {
    case .custom, .stored: break
    case .softmax:
      // y * (g - sum(g * y))
      p.add(p.a(n), p.emit(.mul, y, p.emit(.sub, g, sum(p.emit(.mul, g, y)))))
    case .logSoftmax:
      // g - e^y * sum(g)
      p.add(p.a(n), p.emit(.sub, g, p.emit(.mul, p.emit(.exp, y), sum(g))))
    case .shiftedExp:
      p.add(p.a(n), p.emit(.mul, g, y))
    }
  }
}
