// Reductions, and what is built from them.

internal import LazyGradJIT

extension Tensor {
  /// The sum over an axis, or over everything.
  ///
  /// Integers and bools are summed as int64. The sum of nothing is 0.
  public func sum(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.sum, axis.map { [$0] }, keepDims)
  }
  /// The sum over several axes.
  public func sum(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.sum, axes, keepDims) }

  /// The mean over an axis, or over everything.
  public func mean(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    mean(axes: axis.map { [$0] }, keepDims)
  }
  /// The mean over several axes.
  public func mean(axes: [Int], keepDims: Bool = false) -> Tensor {
    mean(axes: Optional(axes), keepDims)
  }

  /// The largest element; not-a-number wins. The gradient goes to the first of equal ones.
  public func max(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.max, axis.map { [$0] }, keepDims)
  }
  /// The largest element over several axes.
  public func max(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.max, axes, keepDims) }

  /// The smallest element; not-a-number wins. The gradient goes to the first of equal ones.
  public func min(axis: Int? = nil, keepDims: Bool = false) -> Tensor {
    reduced(.min, axis.map { [$0] }, keepDims)
  }
  /// The smallest element over several axes.
  public func min(axes: [Int], keepDims: Bool = false) -> Tensor { reduced(.min, axes, keepDims) }

  /// The position of the first largest element along an axis, or in C order, as int64.
  public func argmax(axis: Int? = nil) -> Tensor { reduced(.argmax, axis.map { [$0] }, false) }
  /// The position of the first smallest element along an axis, or in C order, as int64.
  public func argmin(axis: Int? = nil) -> Tensor { reduced(.argmin, axis.map { [$0] }, false) }

  /// The variance: the mean of the squared distances from the mean, with `ddof` taken off the
  /// number of elements that it is divided by. Where nothing is left of that number the result is
  /// infinite or not a number, as division by 0 is.
  public func `var`(axis: Int? = nil, ddof: Int = 0, keepDims: Bool = false) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let axes: [Int]?
    do throws(TensorError) { axes = try checkedAxes(axis.map { [$0] }, "var") } catch {
      return fail(error, [self])
    }
    let n = (axes ?? Array(0..<rank)).reduce(1) { $0 * shape[$1] }
    let centred = self - mean(axes: axes, true)
    let sum = square(centred).reduced(.sum, axes, keepDims)
    return sum / Swift.max(Double(n) - Double(ddof), 0)
  }

  private func mean(axes: [Int]?, _ keepDims: Bool) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let checked: [Int]?
    do throws(TensorError) { checked = try checkedAxes(axes, "mean") } catch {
      return fail(error, [self])
    }
    let n = (checked ?? Array(0..<rank)).reduce(1) { $0 * shape[$1] }
    let sum = (dtype.isFloating ? self : cast(to: .float64)).reduced(.sum, axes, keepDims)
    return sum / Double(n)
  }

  /// Axes counted from 0, ascending, each once.
  private func checkedAxes(_ axes: [Int]?, _ operation: String) throws(TensorError) -> [Int]? {
    guard let axes else { return nil }
    var result: Set<Int> = []
    for axis in axes {
      guard axis >= -rank, axis < rank else {
        throw TensorError(
          operation: operation, message: "axis \(axis) is out of range for shape \(shape)")
      }
      if !result.insert(axis < 0 ? axis + rank : axis).inserted {
        throw TensorError(operation: operation, message: "axis \(axis) is named twice in \(axes)")
      }
    }
    return result.sorted()
  }

  /// Records a reduction: one node per run of neighbouring axes, the last run first.
  private func reduced(_ opcode: Opcode, _ axes: [Int]?, _ keepDims: Bool) -> Tensor {
    if opcode == .sum, axes == nil, !keepDims, kind == .plain, let mode = Scope.quickMode,
      let sum = Tape.wholeSum(slot, mode: mode)
    {
      return .made(sum)
    }
    if let poison = poisoned(self) { return poison }
    let name = opcode.info.name
    let chosen: [Int]
    do throws(TensorError) { chosen = try checkedAxes(axes, name) ?? Array(0..<rank) } catch {
      return fail(error, [self])
    }
    let dims = shape
    if opcode != .sum, chosen.contains(where: { dims[$0] == 0 }) || (rank == 0 && count == 0) {
      return fail(name, "there is no \(name) of zero elements, got shape \(dims)", [self])
    }
    var result =
      opcode == .sum && !dtype.isFloating && dtype != .int64 ? cast(to: .int64) : self
    if chosen.isEmpty {
      if opcode == .argmax || opcode == .argmin { return Tensor.zeros(dims, dtype: .int64) }
      return +result
    }
    var kept = dims
    var runs: [ClosedRange<Int>] = []
    for axis in chosen {
      if let last = runs.last, last.upperBound == axis - 1 {
        runs[runs.count - 1] = last.lowerBound...axis
      } else {
        runs.append(axis...axis)
      }
    }
    for run in runs.reversed() {
      let outer = kept[..<run.lowerBound].reduce(1, *)
      let length = kept[run].reduce(1, *)
      let inner = kept[(run.upperBound + 1)...].reduce(1, *)
      for axis in run { kept[axis] = 1 }
      let isLast = run == runs[0]
      let final =
        isLast && !keepDims
        ? kept.indices.filter { !chosen.contains($0) }.map { kept[$0] } : kept
      result = result.reduceNode(
        opcode, outer, length, inner, LayoutTable.shared.intern(dims: final))
    }
    return result
  }

  private func reduceNode(
    _ opcode: Opcode, _ outer: Int, _ length: Int, _ inner: Int, _ shape: LayoutID
  ) -> Tensor {
    use()
    let type: ScalarType =
      opcode == .argmax || opcode == .argmin ? .int64 : slot.pointee.type
    return Tensor(
      Tape.general(
        opcode, slot, type: type, shape: shape,
        attribute: LayoutTable.shared.intern(dims: [outer, length, inner]), mode: Scope.mode))
  }
}

// MARK: - Derivative rules

enum ReductionRules {
  /// Each element's gradient is that of the sum that it went into.
  static func sum(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    p.add(p.a(n), spread(p, n, g))
  }

  /// The first of the extreme elements gets the whole gradient.
  static func extreme(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    let opcode: Opcode = p.tape[n].opcode == .max ? .argmax : .argmin
    let winner = p.emit(
      opcode, type: .int64, shape: p.shape(n), p.value(x), attribute: p.tape[n].attribute)
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
