// Softmax and the losses built on it. They are composites of recorded operations with a derivative
// rule of their own: the rule is shorter and more accurate than that of their parts.

internal import LazyGradJIT

/// e^x over the sum of e^x along an axis; computed without overflow.
///
/// Integers and bools give float64. Not-a-number where an element along the axis is infinite, or all are
/// minus infinity, as in NumPy's formulas.
public func softmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.along(.softmax, x, axis) { r, x, axes in
    let e = r(.exp, r(.sub, x, r.reduce(.max, x, over: axes)))
    // One division per row; a multiplication more in rounding, at most half a unit of the last place.
    return r(.mul, e, r(.reciprocal, r.reduce(.sum, e, over: axes)))
  }
}

/// The logarithm of `softmax`, accurate where that is tiny.
public func logSoftmax(_ x: Tensor, axis: Int = -1) -> Tensor {
  Composite.along(.logSoftmax, x, axis, Composite.logarithms)
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
      let shares = r.attach(Composite.shiftedExp.rawValue, input, plain(.exp, shifted))
      let sum = r.reduce(.sum, shares, over: axes, keepDims: keepDims)
      return r(.add, r(.log, sum), keepDims ? top : plain.reshaped(top, to: r.shape(sum)))
    }
  }
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
  if logits.rank != 2 || labels.rank != 1 || labels.count != logits.shape[0] {
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
  let numbers = Tensor(labels, dtype: .int64, constant: true)
  if let poison = poisoned(numbers) { return poison }
  return .made(
    Tape.compose(logits.slot, numbers.slot, mode: logits.joined()) { r in
      let column = r.reshaped(r.y, to: r.shape(of: r.x, cutTo1: 1))
      let isLabel = r(.equal, r.iota(shape: r.shape(of: r.x, cutTo1: 0)), column)
      let shares = Composite.record(.logSoftmax, r, AxisSet(1), Composite.logarithms)
      let picked = r.select(isLabel, shares, r.number(0, like: shares))
      let sum = r.reduce(.sum, picked, over: .all(rank: 2), keepDims: false)
      return r(.mul, sum, r.number(-1 / Double(rows), like: sum))
    })
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

  /// What gives the value of a composite: records it for a value of a floating type and axes of it.
  typealias Body = (_ r: Recorder, _ x: UInt32, _ axes: AxisSet) -> UInt32

  /// Records a composite along an axis; a scalar has one of length 1, in a manner of speaking.
  static func along(_ composite: Composite, _ x: Tensor, _ axis: Int, _ body: Body) -> Tensor {
    if x.rank == 0, axis == -1 || axis == 0 {
      if let poison = poisoned(x) { return poison }
      return x.compose { record(composite, $0, AxisSet(), body) }
    }
    return x.along(axis, "\(composite)") { axes in
      x.compose { record(composite, $0, axes, body) }
    }
  }

  /// Records a composite of a recorder's node; a copy where there is nothing along the axis.
  static func record(
    _ composite: Composite, _ r: Recorder, _ axes: AxisSet, _ body: Body
  ) -> UInt32 {
    let x = r.floating(r.x)
    if r.count(of: x, over: axes) == 0 { return r(.copy, x) }
    let axis = UInt32(axes.first ?? 0)
    return r.attach(composite.rawValue | axis << 8, x, body(r.untracked, x, axes))
  }

  static func logarithms(_ r: Recorder, _ x: UInt32, _ axes: AxisSet) -> UInt32 {
    let shifted = r(.sub, x, r.reduce(.max, x, over: axes))
    return r(.sub, shifted, r(.log, r.reduce(.sum, r(.exp, shifted), over: axes)))
  }

  /// The same value without a way for gradients, on the same node or memory.
  static func constant(_ x: Tensor) -> Tensor {
    Tensor(Tape.constant(x.slot))
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
    func sum(_ x: UInt32) -> UInt32 {
      if p.tape.rank(p.shape(n)) == 0 {
        // A row of one element.
        let row = LayoutTable.shared.intern(dims: [1, 1, 1])
        return p.emit(.sum, type: p.type(n), shape: LayoutTable.scalar, x, attribute: row)
      }
      let axis = AxisSet(Int(p.tape[n].attribute >> 8))
      let rows = p.tape.reduction(of: p.shape(n), over: axis, keepDims: true)
      return p.emit(.sum, type: p.type(n), shape: rows.shape, x, attribute: rows.attribute)
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
