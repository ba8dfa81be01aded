// Softmax and the losses built on it. They are composites of recorded operations with a derivative
// rule of their own: the rule is shorter and more accurate than that of their parts.

internal import LazyGradJIT

/// e^x over the sum of e^x along an axis; computed without overflow.
///
/// Integers and bools give float64. Not-a-number where an element along the axis is infinite, or all are
/// minus infinity, as in NumPy's formulas.
public func softmax(_ x: Tensor, axis: Int = -1) -> Tensor { Composite.softmax(x, axis: axis) }
extension Composite {
  fileprivate static let softmax = Composite("softmax") { r, x, axes in
    let e = r(.exp, r(.sub, x, r.reduce(.max, x, over: axes)))
    // One division per row; a multiplication more in rounding, at most half a unit of the last place.
    return r(.mul, e, r(.reciprocal, r.reduce(.sum, e, over: axes)))
  } rule: { vjp in
    let (g, y) = (vjp.g, vjp.output)
    vjp.gradient(a: vjp(.mul, y, vjp(.sub, g, vjp.sumAlongAxis(vjp(.mul, g, y)))))
  }
}

/// `softmax` over several axes as if they were one.
///
/// - Complexity: neighbouring axes of a tensor in C order take no copy.
public func softmax(_ x: Tensor, axes: [Int]) -> Tensor {
  x.asOneAxis(axes, "softmax") { softmax($0, axis: $1) }
}

/// The logarithm of `softmax`, accurate where that is tiny.
public func logSoftmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.logSoftmax(x, axis: axis)
}
extension Composite {
  fileprivate static let logSoftmax = Composite("logSoftmax") { r, x, axes in
    let shifted = r(.sub, x, r.reduce(.max, x, over: axes))
    return r(.sub, shifted, r(.log, r.reduce(.sum, r(.exp, shifted), over: axes)))
  } rule: { vjp in
    let g = vjp.g
    vjp.gradient(a: vjp(.sub, g, vjp(.mul, vjp(.exp, vjp.output), vjp.sumAlongAxis(g))))
  }
}

/// `logSoftmax` over several axes as if they were one.
///
/// - Complexity: neighbouring axes of a tensor in C order take no copy.
public func logSoftmax(_ x: Tensor, axes: [Int]) -> Tensor {
  x.asOneAxis(axes, "logSoftmax") { logSoftmax($0, axis: $1) }
}

extension Tensor {
  /// What `body` gives along the one axis that several are put together to, in this tensor's shape.
  fileprivate func asOneAxis(
    _ axes: [Int], _ operation: String, _ body: (Tensor, Int) -> Tensor
  ) -> Tensor {
    along(axes, operation) { set in
      let picked = (0..<rank).filter { set.contains($0) }
      // Over no axes every element is alone.
      guard let first = picked.first, let last = picked.last else {
        return body(expandedDims(at: -1), -1).reshaped(shape)
      }
      if last - first + 1 == picked.count {
        let dims = Array(shape[..<first]) + [picked.reduce(1) { $0 * shape[$1] }]
        return body(reshaped(dims + shape[(last + 1)...]), first).reshaped(shape)
      }
      let order = (0..<rank).filter { !set.contains($0) } + picked
      let turned = transposed(order)
      let kept = rank - picked.count
      let rows = turned.reshaped(
        Array(turned.shape[..<kept]) + [turned.shape[kept...].reduce(1, *)])
      let back = (0..<rank).map { order.firstIndex(of: $0)! }
      return body(rows, -1).reshaped(turned.shape).transposed(back)
    }
  }
}

/// log(sum(e^x)) along an axis; computed without overflow.
///
/// Integers and bools give float64. Infinite where the greatest element is, and then the gradient goes
/// to the elements that are equal to it, in equal parts: all of it to a single infinity. That is also
/// what it comes to where all are minus infinity.
public func logSumExp(_ x: Tensor, axis: Int = -1, keepDims: Bool = false) -> Tensor {
  x.along(axis, "logSumExp") { axes in
    if x.hasNothing(along: axes) { return x.max(axis: axis) }
    return x.compose { r in
      let input = r.floating(r.x)
      let plain = r.untracked
      let top = plain.reduce(.max, input, over: axes)
      // An infinity less itself would be no number, and no gradient.
      let shifted = plain.select(
        plain(.equal, input, top), plain.number(0, like: input), plain(.sub, input, top))
      // The shift does not change the result, so no gradient goes through it.
      let shares = Composite.shiftedExp.attach(r, input, plain(.exp, shifted))
      let sum = r.reduce(.sum, shares, over: axes, keepDims: keepDims)
      return r(.add, r(.log, sum), keepDims ? top : plain.reshaped(top, to: r.shape(sum)))
    }
  }
}

extension Composite {
  /// e^(x - m), where m is such that the result hangs on x only, as far as derivatives go.
  fileprivate static let shiftedExp = Composite("shiftedExp") {
    $0.derivatives(a: .times($0.output))
  }
}

/// The mean over rows of `-log(softmax(logits))` at the row's label: the softmax cross-entropy.
///
/// - Parameters:
///   - logits: Scores of shape `[rows, classes]`.
///   - labels: For every row the number of its class.
/// - Returns: A scalar.
public func softmaxCrossEntropy(_ logits: Tensor, _ labels: NDArray) -> Tensor {
  if let poison = labels.poison { return Tensor(poison: poison) }
  return Tensor.quick(logits) {
    crossEntropy(logits, labels, $0)
  }
    ?? Tensor.record(logits) {
      refusedLabels("softmaxCrossEntropy", logits, labels)
    } _: { mode in
      // Where there is memory again, once more.
      crossEntropy(logits, labels, mode).map(Tensor.made) ?? softmaxCrossEntropy(logits, labels)
    }
}

/// Records the loss; nil where the labels don't fit or have no memory.
private func crossEntropy(_ logits: Tensor, _ labels: NDArray, _ mode: RecordMode) -> NewHandle? {
  let (scores, numbers) = (logits.layout, labels.layout)
  let hasNumbers = numbers.rank == 1 && !labels.dtype.isFloating && labels.dtype != .bool
  if scores.rank != 2 || !hasNumbers { return nil }
  let (rows, classes) = (numbers.count, Int64(scores.dims[1]))
  return Tape.compose(logits.slot, count: rows, layout: numbers.shapeID, mode: mode) {
    if rows != scores.dims[0] { return false }
    labels.copyElements(to: $0, as: .int64)
    for row in 0..<rows where $0[row] < 0 || $0[row] >= classes { return false }
    return true
  } _: { r in
    let column = r.reshaped(r.y, to: r.shape(of: r.x, cutTo1: 1))
    let isLabel = r(.equal, r.iota(shape: r.shape(of: r.x, cutTo1: 0)), column)
    let shares = Composite.logSoftmax.record(r, AxisSet(1))
    let picked = r.select(isLabel, shares, r.number(0, like: shares))
    let sum = r.reduce(.sum, picked, over: .all, keepDims: false)
    return r(.mul, sum, r.number(-1 / Double(rows), like: sum))
  }
}

/// What is wrong with labels; nil where nothing is.
@inline(never)
func refusedLabels(_ name: String, _ logits: Tensor, _ labels: NDArray) -> Tensor? {
  if logits.rank != 2 || labels.rank != 1 || labels.count != logits.shape[0] {
    return fail(
      name,
      "expected logits [rows, classes] and labels [rows], got \(logits.shape) and \(labels.shape)",
      [logits])
  }
  if labels.dtype.isFloating || labels.dtype == .bool {
    return fail(name, "expected integer labels, got \(labels.dtype)", [logits])
  }
  let classes = logits.shape[1]
  let given: [Int]
  do throws(TensorError) {
    given = try labels.copiedElements(as: Int.self, operation: name)
  } catch { return fail(error, [logits]) }
  for label in given where label < 0 || label >= classes {
    return fail(name, "label \(label) is out of range for \(classes) classes", [logits])
  }
  return poisoned(Tensor(labels, dtype: .int64, constant: true))
}
