// Reductions, and what is built from them.

internal import LazyGradJIT

extension Tensor {
  /// The sum over an axis, or over everything.
  ///
  /// Integers and bools are summed as int64. The sum of nothing is 0.
  public func sum(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.sum, axis, keepDims)
  }
  /// The sum over several axes.
  public func sum(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.sum, axes, keepDims) }
  /// The same as `axes:`, the way NumPy writes it: `x.sum(axis: [0, 1])`.
  public func sum(axis: [Int], keepDims: Bool = false) -> Tensor {
    sum(axes: axis, keepDims: keepDims)
  }

  /// The mean over an axis, or over everything.
  public func mean(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    along(axis, "mean") { mean($0, keepDims) }
  }
  /// The mean over several axes.
  public func mean(axes: [Int], keepDims: Bool = false) -> Tensor {
    along(axes, "mean") { mean($0, keepDims) }
  }
  /// The same as `axes:`, the way NumPy writes it: `x.mean(axis: [0, 1])`.
  public func mean(axis: [Int], keepDims: Bool = false) -> Tensor {
    mean(axes: axis, keepDims: keepDims)
  }

  /// The largest element; not-a-number wins. The gradient goes to the first of equal ones.
  public func max(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    picked(.max, axis, keepDims)
  }
  /// The largest element over several axes.
  public func max(axes: [Int], keepDims: Bool = false) -> Tensor { picked(.max, axes, keepDims) }
  /// The same as `axes:`, the way NumPy writes it: `x.max(axis: [0, 1])`.
  public func max(axis: [Int], keepDims: Bool = false) -> Tensor {
    max(axes: axis, keepDims: keepDims)
  }

  /// The smallest element; not-a-number wins. The gradient goes to the first of equal ones.
  public func min(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    picked(.min, axis, keepDims)
  }
  /// The smallest element over several axes.
  public func min(axes: [Int], keepDims: Bool = false) -> Tensor { picked(.min, axes, keepDims) }
  /// The same as `axes:`, the way NumPy writes it: `x.min(axis: [0, 1])`.
  public func min(axis: [Int], keepDims: Bool = false) -> Tensor {
    min(axes: axis, keepDims: keepDims)
  }

  /// Whether an element along an axis, or any at all, is true; numbers are true unless they are 0. False
  /// where there are no elements.
  ///
  /// - Returns: Truth values. `x.any().item(as: Bool.self)` is one.
  public func any(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    along(axis, "any") { tested(.max, $0, keepDims) }
  }
  /// Whether an element over several axes is true.
  public func any(axes: [Int], keepDims: Bool = false) -> Tensor {
    along(axes, "any") { tested(.max, $0, keepDims) }
  }
  /// The same as `axes:`, the way NumPy writes it: `x.any(axis: [0, 1])`.
  public func any(axis: [Int], keepDims: Bool = false) -> Tensor {
    any(axes: axis, keepDims: keepDims)
  }

  /// Whether all elements along an axis, or all there are, are true; numbers are true unless they are 0.
  /// True where there are no elements.
  ///
  /// - Returns: Truth values. `x.all().item(as: Bool.self)` is one.
  public func all(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    along(axis, "all") { tested(.min, $0, keepDims) }
  }
  /// Whether all elements over several axes are true.
  public func all(axes: [Int], keepDims: Bool = false) -> Tensor {
    along(axes, "all") { tested(.min, $0, keepDims) }
  }
  /// The same as `axes:`, the way NumPy writes it: `x.all(axis: [0, 1])`.
  public func all(axis: [Int], keepDims: Bool = false) -> Tensor {
    all(axes: axis, keepDims: keepDims)
  }

  /// The position of the first largest element along an axis, or in C order, as int64.
  public func argmax(axis: Int? = nil) -> Tensor { found(.argmax, axis) }
  /// The position of the first smallest element along an axis, or in C order, as int64.
  public func argmin(axis: Int? = nil) -> Tensor { found(.argmin, axis) }

  private func mean(_ axes: AxisSet, _ keepDims: Bool) -> Tensor {
    compose { r in
      let x = r.floating(r.x)
      let sum = r.reduce(.sum, x, over: axes, keepDims: keepDims)
      return r(.div, sum, r.number(Double(r.count(of: x, over: axes)), like: x))
    }
  }

  func reduced(_ opcode: Opcode, _ axis: Int?, _ keepDims: Bool) -> Tensor {
    along(axis, opcode.info.name) { reduced(opcode, $0, keepDims) }
  }

  func reduced(_ opcode: Opcode, _ axes: [Int], _ keepDims: Bool) -> Tensor {
    along(axes, opcode.info.name) { reduced(opcode, $0, keepDims) }
  }

  @inline(__always)
  private func reduced(_ opcode: Opcode, _ axes: AxisSet, _ keepDims: Bool) -> Tensor {
    Self.record(self) {
      .made(Tape.reduction(opcode, slot, over: axes, keepDims: keepDims, mode: $0))
    }
  }

  /// The same for those that pick an element: there must be one.
  private func picked(_ opcode: Opcode, _ axis: Int?, _ keepDims: Bool) -> Tensor {
    along(axis, opcode.info.name) { picked(opcode, $0, keepDims) }
  }

  private func picked(_ opcode: Opcode, _ axes: [Int], _ keepDims: Bool) -> Tensor {
    along(axes, opcode.info.name) { picked(opcode, $0, keepDims) }
  }

  private func picked(_ opcode: Opcode, _ axes: AxisSet, _ keepDims: Bool) -> Tensor {
    if hasNothing(along: axes) {
      let name = opcode.info.name
      return fail(name, "there is no \(name) of zero elements, got shape \(shape)", [self])
    }
    return reduced(opcode, axes, keepDims)
  }

  /// The greatest or least truth value, with an answer for none.
  private func tested(_ opcode: Opcode, _ axes: AxisSet, _ keepDims: Bool) -> Tensor {
    let truth = dtype == .bool ? self : cast(to: .bool)
    if !hasNothing(along: axes) { return truth.reduced(opcode, axes, keepDims) }
    let count = truth.reduced(.sum, axes, keepDims)
    return opcode == .max ? count .!= 0 : count .== 0
  }

  /// The position of a picked element; over no axes each is its own.
  private func found(_ opcode: Opcode, _ axis: Int?) -> Tensor {
    along(axis, opcode.info.name) { axes in
      rank == 0 ? Tensor.zeros(shape, dtype: .int64) : picked(opcode, axes, false)
    }
  }
}

/// `x.sum(axis: axis, keepDims: keepDims)`, as a function.
public func sum(_ x: Tensor, axis: Int? = nil, keepDims: Bool = false) -> Tensor {
  x.sum(axis: axis, keepDims: keepDims)
}
/// `x.mean(axis: axis, keepDims: keepDims)`, as a function.
public func mean(_ x: Tensor, axis: Int? = nil, keepDims: Bool = false) -> Tensor {
  x.mean(axis: axis, keepDims: keepDims)
}

// MARK: - Derivative rules

enum ReductionRules {
  /// Each element's gradient is that of the sum that it went into.
  @inline(never)
  static func sum(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), spread(p, n, g))
  }

  /// The first of the extreme elements gets the whole gradient.
  static func extreme(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    guard let extreme = p.tape[n].opcode.info.reducer?.extreme else { return }
    let winner = p.emit(
      extreme.position, type: .int64, shape: p.shape(n), p.value(x), attribute: p.tape[n].reduction)
    let position = positions(p, n)
    let isWinner = p.emit(.equal, position, spread(p, n, winner), type: .bool)
    p.add(x, p.select(isWinner, spread(p, n, g), p.number(0, n)))
  }

  /// A reduced value repeated over the axes that were reduced.
  static func spread(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) -> UInt32 {
    let reduction = p.tape[n].reduction
    var key = ViewKey(.spread)
    key.append(reduction)
    let target = p.tape.layout(key, of: p.shape(p.a(n))) { x in
      let run = LayoutTable.shared[reduction].dims
      let length = Swift.max(run[1], 1)
      let strides = strides(
        x, run, before: { $0 / length }, among: { _ in 0 }, behind: { $0 })
      return LayoutTable.shared.intern(dims: x.dims, strides: strides)
    }
    return p.view(g, target)
  }

  /// The position of every element along the reduced axes.
  private static func positions(_ p: borrowing BackwardPass, _ n: UInt32) -> UInt32 {
    let run = LayoutTable.shared[p.tape[n].reduction].dims
    let iota = p.tape.append(
      .iota, .int64, shape: LayoutTable.shared.intern(dims: [run[1]]), state: p.state)
    let strides = strides(
      p.layout(p.a(n)), run, before: { _ in 0 }, among: { $0 / run[2] }, behind: { _ in 0 })
    return p.view(iota, dims: p.layout(p.a(n)).dims, strides: strides)
  }

  /// What becomes of the operand's strides in C order before, among and behind the reduced axes: steps
  /// behind them stay inside one element of the run, steps among them inside the run. An axis of length
  /// 1 is never stepped along.
  static func strides(
    _ operand: Layout, _ run: [Int], before: (Int) -> Int, among: (Int) -> Int,
    behind: (Int) -> Int
  ) -> [Int] {
    operand.strides.map { stride in
      if stride < run[2] { return behind(stride) }
      return stride < run[1] * run[2] ? among(stride) : before(stride)
    }
  }
}
