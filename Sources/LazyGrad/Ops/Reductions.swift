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

  /// The product over an axis, or over everything.
  ///
  /// Integers and bools are multiplied as int64, which wraps around. The product of nothing is 1. The
  /// gradient of an element is the product of the others, however many of them are zero.
  public func prod(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.prod, axis, keepDims)
  }
  /// The product over several axes.
  public func prod(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.prod, axes, keepDims) }

  /// The mean over an axis, or over everything.
  public func mean(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    along(axis, "mean") { mean($0, keepDims) }
  }
  /// The mean over several axes.
  public func mean(axes: [Int], keepDims: Bool = false) -> Tensor {
    along(axes, "mean") { mean($0, keepDims) }
  }

  /// The largest element; not-a-number wins. The gradient goes to the first of equal ones.
  public func max(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.max, axis, keepDims)
  }
  /// The largest element over several axes.
  public func max(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.max, axes, keepDims) }

  /// The smallest element; not-a-number wins. The gradient goes to the first of equal ones.
  public func min(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.min, axis, keepDims)
  }
  /// The smallest element over several axes.
  public func min(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.min, axes, keepDims) }

  /// The position of the first largest element along an axis, or in C order, as int64.
  public func argmax(axis: Int? = nil) -> Tensor { reduced(.argmax, axis, false) }
  /// The position of the first smallest element along an axis, or in C order, as int64.
  public func argmin(axis: Int? = nil) -> Tensor { reduced(.argmin, axis, false) }

  /// The variance: the mean of the squared distances from the mean, with `ddof` taken off the
  /// number of elements that it is divided by. Where nothing is left of that number the result is
  /// infinite or not a number, as division by 0 is.
  public func `var`(axis: Int? = nil, ddof: Int = 0, keepDims: Bool = false) -> Tensor {
    along(axis, "var") { axes in
      compose { r in
        let x = r.floating(r.x)
        let n = Double(r.count(of: x, over: axes))
        let mean = r(.div, r.reduce(.sum, x, over: axes), r.number(n, like: x))
        let squares = r(.square, r(.sub, x, mean))
        let sum = r.reduce(.sum, squares, over: axes, keepDims: keepDims)
        return r(.div, sum, r.number(Swift.max(n - Double(ddof), 0), like: x))
      }
    }
  }

  private func mean(_ axes: AxisSet, _ keepDims: Bool) -> Tensor {
    compose { r in
      let x = r.floating(r.x)
      let sum = r.reduce(.sum, x, over: axes, keepDims: keepDims)
      return r(.div, sum, r.number(Double(r.count(of: x, over: axes)), like: x))
    }
  }

  private func reduced(_ opcode: Opcode, _ axis: Int?, _ keepDims: Bool) -> Tensor {
    along(axis, opcode.info.name) { reduced(opcode, $0, keepDims) }
  }

  private func reduced(_ opcode: Opcode, _ axes: [Int], _ keepDims: Bool) -> Tensor {
    along(axes, opcode.info.name) { reduced(opcode, $0, keepDims) }
  }

  private func reduced(_ opcode: Opcode, _ axes: AxisSet, _ keepDims: Bool) -> Tensor {
    if opcode != .sum, let result = ofFew(opcode, axes) { return result }
    return .made(
      Tape.reduction(opcode, slot, over: axes, keepDims: keepDims, mode: joined()))
  }

  /// What there is to say of no elements, and of each by itself.
  private func ofFew(_ opcode: Opcode, _ axes: AxisSet) -> Tensor? {
    let info = opcode.info
    if info.reducer?.extreme != nil, hasNothing(along: axes) {
      return fail(
        info.name, "there is no \(info.name) of zero elements, got shape \(shape)", [self])
    }
    return axes.isEmpty && info.search != nil ? Tensor.zeros(shape, dtype: .int64) : nil
  }
}

// MARK: - Derivative rules

enum ReductionRules {
  /// Each element's gradient is that of the sum that it went into.
  static func sum(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), spread(p, n, g))
  }

  /// Each element's gradient is that of the product times the product of the other elements.
  ///
  /// The others are not the product divided by the element: that is wrong where elements are zero, is
  /// not the rule of its own derivative there, and gives 0 or infinity where the whole product is out of
  /// range but that of the others isn't. Products of halves, of halves of these and so on are as much
  /// work as three passes over the operand: element `i` is multiplied by the one half a run behind it,
  /// and on the way back each of the two gets what has come from above times the other one.
  static func prod(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    let run = LayoutTable.shared[p.tape[n].attribute].dims
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
    let (dims, parts) = split(p, n)
    var strides = [Int](repeating: 0, count: dims.count)
    var step = 1
    for axis in dims.indices.reversed() {
      // Behind the run are the ones.
      if parts[axis] == 0, axis + 1 == dims.count || parts[axis + 1] != 0 { step = width * inner }
      strides[axis] = step
      step *= dims[axis]
    }
    p.add(x, p.view(others, dims: dims, strides: strides))
  }

  /// The first of the extreme elements gets the whole gradient.
  static func extreme(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    guard let extreme = p.tape[n].opcode.info.reducer?.extreme else { return }
    let winner = p.emit(
      extreme.position, type: .int64, shape: p.shape(n), p.value(x), attribute: p.tape[n].attribute)
    let position = positions(p, n)
    let isWinner = p.emit(.equal, position, spread(p, n, winner), type: .bool)
    p.add(x, p.select(isWinner, spread(p, n, g), p.number(0, n)))
  }

  /// A reduced value repeated over the axes that were reduced.
  private static func spread(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) -> UInt32 {
    let (dims, parts) = split(p, n)
    let inner = dims.indices.filter { parts[$0] == 2 }.reduce(1) { $0 * dims[$1] }
    var strides = [Int](repeating: 0, count: dims.count)
    var step = 1
    for axis in dims.indices.reversed() where parts[axis] == 2 {
      strides[axis] = step
      step *= dims[axis]
    }
    step = inner
    for axis in dims.indices.reversed() where parts[axis] == 0 {
      strides[axis] = step
      step *= dims[axis]
    }
    return p.view(g, dims: dims, strides: strides)
  }

  /// The position of every element along the reduced axes.
  private static func positions(_ p: borrowing BackwardPass, _ n: UInt32) -> UInt32 {
    let (dims, parts) = split(p, n)
    let length = LayoutTable.shared[p.tape[n].attribute].dims[1]
    let iota = p.tape.append(
      .iota, .int64, shape: LayoutTable.shared.intern(dims: [length]), state: p.state)
    var strides = [Int](repeating: 0, count: dims.count)
    var step = 1
    for axis in dims.indices.reversed() where parts[axis] == 1 {
      strides[axis] = step
      step *= dims[axis]
    }
    return p.view(iota, dims: dims, strides: strides)
  }

  /// For every axis of the operand: before (0), among (1) or behind (2) the reduced ones.
  private static func split(
    _ p: borrowing BackwardPass, _ n: UInt32
  ) -> (dims: [Int], parts: [Int]) {
    let dims = p.layout(p.a(n)).dims
    let reduced = LayoutTable.shared[p.tape[n].attribute].dims
    var parts = [Int](repeating: 2, count: dims.count)
    var product = 1
    var axis = 0
    while axis < dims.count, product != reduced[0] || (dims[axis] == 1 && reduced[0] != 1) {
      product *= dims[axis]
      parts[axis] = 0
      axis += 1
    }
    product = 1
    while axis < dims.count, product != reduced[1] || dims[axis] == 1 {
      product *= dims[axis]
      parts[axis] = 1
      axis += 1
    }
    return (dims, parts)
  }
}
