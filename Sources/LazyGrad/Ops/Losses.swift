// Softmax and the losses built on it. They are composites of recorded operations with a derivative
// rule of their own: the rule is shorter and more accurate than that of their parts.

internal import LazyGradJIT

/// e^x over the sum of e^x along an axis; computed without overflow.
public func softmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.alongLast(.softmax, x, axis) { x in
    let e = exp(x - x.max(axis: -1, keepDims: true))
    // One division per row; a multiplication more in rounding, at most half a unit of the last place.
    return e * reciprocal(e.sum(axis: -1, keepDims: true))
  }
}

/// The logarithm of `softmax`, accurate where that is tiny.
public func logSoftmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.alongLast(.logSoftmax, x, axis) { x in
    let shifted = x - x.max(axis: -1, keepDims: true)
    return shifted - log(exp(shifted).sum(axis: -1, keepDims: true))
  }
}

/// log(sum(e^x)) along an axis; computed without overflow.
public func logSumExp(_ x: Tensor, axis: Int = -1, keepDims: Bool = false) -> Tensor {
  if let poison = poisoned(x) { return poison }
  if x.rank == 0 || axis >= x.rank || axis < -x.rank {
    return fail("logSumExp", "axis \(axis) is out of range for shape \(x.shape)", [x])
  }
  // The shift does not change the result, so no gradient goes through it.
  let top = Composite.constant(x.max(axis: axis, keepDims: true))
  let sum = log(exp(x - top).sum(axis: axis, keepDims: true)) + top
  return keepDims ? sum : sum.squeezed(axis: axis)
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

  /// Bits of a node's attribute that say which composite it belongs to.
  static let mask: UInt32 = 0xFF

  /// Records a composite along an axis, which is brought last meanwhile.
  static func alongLast(
    _ composite: Composite, _ x: Tensor, _ axis: Int, _ body: (Tensor) -> Tensor
  ) -> Tensor {
    if let poison = poisoned(x) { return poison }
    let input = x.dtype.isFloating ? x : x.cast(to: .float64)
    if x.rank == 0, axis == -1 || axis == 0 {
      return alongLast(composite, input.reshaped([1]), -1, body).reshaped([])
    }
    if axis >= x.rank || axis < -x.rank { return outOfRange(composite, x, axis) }
    if x.shape[axis < 0 ? axis + x.rank : axis] == 0 { return +input }
    let last = x.rank - 1
    let position = axis < 0 ? axis + x.rank : axis
    var order = Array(0..<x.rank)
    order.swapAt(position, last)
    let moved = position == last ? input : input.transposed(order)
    moved.use()
    x.clearOldGradient()
    let plain = constant(moved)
    let value = Scope.untracked { body(plain) }
    let result = Tensor(
      Tape.general(
        .attach, moved.slot, value.slot, type: moved.slot.pointee.type, shape: moved.shapeID,
        attribute: composite.rawValue, mode: Scope.mode))
    return position == last ? result : result.transposed(order)
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
    let dims = p.layout(n).dims
    let (rows, columns) = (dims.dropLast().reduce(1, *), dims.last!)
    let table = LayoutTable.shared
    let kept = table.intern(dims: dims.dropLast() + [1])
    let attribute = table.intern(dims: [rows, columns, 1])
    func rowSum(_ x: UInt32) -> UInt32 {
      p.emit(.sum, type: p.type(n), shape: kept, x, attribute: attribute)
    }
    switch composite {
    case .custom, .stored: break
    case .softmax:
      // y * (g - sum(g * y))
      p.add(p.a(n), p.emit(.mul, y, p.emit(.sub, g, rowSum(p.emit(.mul, g, y)))))
    case .logSoftmax:
      // g - e^y * sum(g)
      p.add(p.a(n), p.emit(.sub, g, p.emit(.mul, p.emit(.exp, y), rowSum(g))))
    }
  }
}
