// Products of elements: the methods, the function and the rule.

internal import LazyGradJIT

extension Tensor {
  /// The product over an axis, or over everything.
  ///
  /// Integers and bools are multiplied as int64, which wraps around. The product of nothing is 1. In
  /// which order elements are multiplied, and so what is out of range on the way, depends on the shape
  /// only. The gradient of an element is the product of the others, however many of them are zero.
  public func prod(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.prod, axis, keepDims)
  }
  /// The product over several axes.
  public func prod(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.prod, axes, keepDims) }
  /// The same as `axes:`, the way NumPy writes it: `x.prod(axis: [0, 1])`.
  public func prod(axis: [Int], keepDims: Bool = false) -> Tensor {
    prod(axes: axis, keepDims: keepDims)
  }
}

/// `x.prod(axis: axis, keepDims: keepDims)`, as a function.
public func prod(_ x: Tensor, axis: Int? = nil, keepDims: Bool = false) -> Tensor {
  x.prod(axis: axis, keepDims: keepDims)
}

extension ReductionRules {
  /// Each element's gradient is that of the product times the product of the other elements.
  ///
  /// The others are not the product divided by the element: that is wrong where elements are zero, is
  /// not the rule of its own derivative there, and gives 0 or infinity where the whole product is out of
  /// range but that of the others isn't. Products of halves, of halves of these and so on are as much
  /// work as three passes over the operand: element `i` is multiplied by the one half a run behind it,
  /// and on the way back each of the two gets what has come from above times the other one.
  static func prod(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    let run = LayoutTable.shared[p.tape[n].reduction].dims
    let (outer, length, inner) = (run[0], run[1], run[2])
    if length < 2 || outer * inner == 0 { return p.add(x, spread(p, n, g)) }
    var width = 2
    while width < length { width *= 2 }
    var levels = [p.value(x)]
    if width > length {
      // Ones make the run as long as the next power of two.
      func shape(_ length: Int) -> LayoutID {
        LayoutTable.shared.intern(dims: [outer, length, inner])
      }
      let ones = p.emit(.copy, type: p.type(x), shape: shape(width - length), p.number(1, x))
      levels[0] = p.emit(
        .concat, type: p.type(x), shape: shape(width), p.reshaped(levels[0], shape(length)), ones,
        attribute: 1)
    }
    var half = width / 2
    func halves(_ value: UInt32, from start: Int) -> UInt32 {
      p.view(
        value, dims: [outer, half, inner], strides: [2 * half * inner, inner, 1],
        offset: start * inner)
    }
    while half > 1 {
      let level = levels[levels.count - 1]
      levels.append(p.emit(.mul, halves(level, from: 0), halves(level, from: half)))
      half /= 2
    }
    var others = g
    for level in levels.reversed() {
      let dims = [outer, 2, half, inner]
      let above = p.view(others, dims: dims, strides: [half * inner, 0, inner, 1])
      let turned = p.view(
        level, dims: dims, strides: [2 * half * inner, -half * inner, inner, 1],
        offset: half * inner)
      others = p.emit(.mul, above, turned)
      half *= 2
    }
    // Behind a run are the ones.
    let view = strides(
      p.layout(x), run, before: { $0 / length * width }, among: { $0 }, behind: { $0 })
    p.add(x, p.view(others, dims: p.layout(x).dims, strides: view))
  }
}
