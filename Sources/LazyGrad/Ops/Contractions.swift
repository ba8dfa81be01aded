// Products of tensors over axes: dot, inner, outer and tensor products, chains of matrices, and
// diagonals and traces. Recorded of matrix products, products of elements, sums and views.

internal import LazyGradJIT

// MARK: - Products

/// The dot product, as NumPy's `dot`.
///
/// Two vectors give the sum of their products, a scalar scales, and otherwise the last axis of `a` is
/// summed with the last but one of `b`, or the only one: the axes that are left are those of `a`, then
/// those of `b`. That of matrices is the matrix product; `matmul` differs from it for more axes, which
/// it broadcasts. Element types are those of `matmul`, and gradients are products as well.
///
/// - Complexity: records a product, and views where there are more than two axes.
public func dot(_ a: Tensor, _ b: Tensor) -> Tensor {
  if a.rank == 0 || b.rank == 0 { return a * b }
  if b.rank == 1 || (a.rank <= 2 && b.rank == 2) { return matmul(a, b) }
  return contracted("dot", a, [a.rank - 1], b, [b.rank - 2])
}

/// The sum of products over the last axes, as NumPy's `inner`: the axes that are left are those of `a`,
/// then those of `b`. A scalar scales.
///
/// - Complexity: records a product and views.
public func inner(_ a: Tensor, _ b: Tensor) -> Tensor {
  if a.rank == 0 || b.rank == 0 { return a * b }
  return contracted("inner", a, [a.rank - 1], b, [b.rank - 1])
}

/// Every element of `a` times every element of `b`, as NumPy's `outer`: a matrix with a row for each
/// element of `a` in C order, whatever the operands' shapes are.
///
/// - Complexity: records a product of elements and views.
public func outer(_ a: Tensor, _ b: Tensor) -> Tensor {
  if let poison = poisoned(a, b) { return poison }
  a.use()
  b.use()
  return a.reshaped([a.count, 1]) * b.reshaped([1, b.count])
}

/// The sum of products over axes of `a` and as many of `b`, as NumPy's `tensordot`.
///
/// Options:
/// - `axes`: The axes of `a`, and those of `b` that are summed with them, in the same order. They have
///   the same lengths in pairs.
/// - Returns: A tensor with the axes of `a` that are left, then those of `b`.
/// - Complexity: records one matrix product and views; an operand is copied where the axes of a group
///   don't follow each other in memory.
public func tensordot(_ a: Tensor, _ b: Tensor, axes: ([Int], [Int])) -> Tensor {
  if let poison = poisoned(a, b) { return poison }
  do throws(TensorError) {
    let first = try distinctPositions(axes.0, in: a, "tensordot")
    let second = try distinctPositions(axes.1, in: b, "tensordot")
    return contracted("tensordot", a, first, b, second)
  } catch { return fail(error, [a, b]) }
}

/// The sum of products over the last axes of `a` and the first of `b`, as many as `axes` says.
public func tensordot(_ a: Tensor, _ b: Tensor, axes: Int = 2) -> Tensor {
  if let poison = poisoned(a, b) { return poison }
  if axes < 0 || axes > a.rank || axes > b.rank {
    return fail(
      "tensordot",
      "expected 0 to \(min(a.rank, b.rank)) axes for \(a.shape) and \(b.shape), got "
        + "\(axes)", [a, b])
  }
  return contracted("tensordot", a, Array((a.rank - axes)..<a.rank), b, Array(0..<axes))
}

/// Axes counted from 0, none of them twice.
private func distinctPositions(
  _ axes: [Int], in tensor: Tensor, _ operation: String
) throws(TensorError) -> [Int] {
  var result: [Int] = []
  for axis in axes {
    let position = try position(of: axis, in: tensor, operation)
    if result.contains(position) {
      throw TensorError(operation: operation, message: "axis \(axis) is named twice in \(axes)")
    }
    result.append(position)
  }
  return result
}

/// The sum of products over pairs of axes, which are in range.
private func contracted(
  _ operation: String, _ a: Tensor, _ aAxes: [Int], _ b: Tensor, _ bAxes: [Int]
) -> Tensor {
  if let poison = poisoned(a, b) { return poison }
  let (left, right) = (a.shape, b.shape)
  if aAxes.count != bAxes.count {
    return fail(
      operation, "expected as many axes of each operand, got \(aAxes) and \(bAxes)", [a, b])
  }
  for (i, j) in zip(aAxes, bAxes) where left[i] != right[j] {
    return fail(
      operation,
      "axis \(i) of \(left) and axis \(j) of \(right) differ in length (\(left[i]) and \(right[j]))",
      [a, b])
  }
  var labels = Array(left.count..<(left.count + right.count))
  for (i, j) in zip(aAxes, bAxes) { labels[j] = i }
  let kept =
    left.indices.filter { !aAxes.contains($0) } + labels.filter { $0 >= left.count }
  if kept.count > LayoutTable.maxRank {
    return fail(
      operation, "expected a result of at most \(LayoutTable.maxRank) axes, got \(kept.count)",
      [a, b])
  }
  return Tensor.inFloat32([a, b]) { operands in
    for operand in operands { operand.use() }
    let work = ContractionWork(operands)
    let product = ContractionTerm.product(
      ContractionTerm(work, 0, Array(left.indices)), ContractionTerm(work, 1, labels),
      keeping: kept)
    return work.result(product.arranged(kept))
  }
}

// MARK: - Chains of matrices

/// The product of several matrices, multiplied in the order that takes the fewest multiplications.
///
/// The first may be a row and the last a column, given as vectors, whose axis is dropped from the result;
/// all others have two axes. The order is found by dynamic programming (Cormen, Leiserson, Rivest and
/// Stein, Introduction to Algorithms, section 15.2) over the matrices' sizes.
///
/// - Complexity: records one matrix product less than there are matrices; the choice takes the cube of
///   their number.
public func multiMatmul(_ tensors: [Tensor]) -> Tensor {
  if let poison = tensors.lazy.compactMap({ poisoned($0) }).first { return poison }
  if tensors.count < 2 {
    return fail("multiMatmul", "expected at least two tensors, got \(tensors.count)", tensors)
  }
  // The sizes: matrix `i` is `sizes[i]` by `sizes[i + 1]`.
  var sizes: [Int] = []
  for (i, tensor) in tensors.enumerated() {
    let shape = tensor.shape
    let isEnd = i == 0 || i == tensors.count - 1
    if shape.count != 2 && !(shape.count == 1 && isEnd) {
      return fail(
        "multiMatmul",
        "expected matrices, and vectors only at the ends, got shape \(shape) at place \(i)", tensors
      )
    }
    let (rows, columns) =
      shape.count == 2 ? (shape[0], shape[1]) : i == 0 ? (1, shape[0]) : (shape[0], 1)
    if i > 0, sizes[i] != rows {
      return fail(
        "multiMatmul",
        "inner dimensions differ: \(tensors[i - 1].shape) x \(shape) (\(sizes[i]) and \(rows))",
        tensors)
    }
    if i == 0 { sizes.append(rows) }
    sizes.append(columns)
  }
  let splits = cheapestSplits(sizes)
  return Tensor.inFloat32(tensors) { tensors in
    func product(_ first: Int, _ last: Int) -> Tensor {
      if first == last { return tensors[first] }
      let split = splits[first][last]
      return matmul(product(first, split), product(split + 1, last))
    }
    return product(0, tensors.count - 1)
  }
}

/// For every run of matrices, by its first and its last, the end of its first factor in the cheapest
/// order.
private func cheapestSplits(_ sizes: [Int]) -> [[Int]] {
  let n = sizes.count - 1
  var cost = [[Double]](repeating: [Double](repeating: 0, count: n), count: n)
  var splits = [[Int]](repeating: [Int](repeating: 0, count: n), count: n)
  for length in 1..<n {
    for first in 0..<(n - length) {
      let last = first + length
      cost[first][last] = .infinity
      for split in first..<last {
        let own = Double(sizes[first]) * Double(sizes[split + 1]) * Double(sizes[last + 1])
        let total = cost[first][split] + cost[split + 1][last] + own
        if total < cost[first][last] {
          cost[first][last] = total
          splits[first][last] = split
        }
      }
    }
  }
  return splits
}

// MARK: - Diagonals

extension Tensor {
  /// The diagonal over two axes, as NumPy's `diagonal`: a view, with the diagonal as its last axis behind
  /// the axes that are left.
  ///
  /// Options:
  /// - `offset`: How far above the main diagonal it lies; below where it is negative. Its length is 0
  ///   where it lies outside.
  /// - `axis1`: The axis of rows.
  /// - `axis2`: The axis of columns, another one.
  ///
  /// An update of the view in place changes the diagonal of this tensor. The gradient of everything
  /// beside it is 0.
  /// - Complexity: records a view.
  public func diagonal(offset: Int = 0, axis1: Int = 0, axis2: Int = 1) -> Tensor {
    var key = ViewKey(.diagonal, offset)
    key.append(axis1)
    key.append(axis2)
    let start = kind == .poisoned ? 0 : diagonalStart(offset, axis1, axis2)
    return known(key, from: start) ?? diagonal(offset, axis1, axis2, key)
  }

  /// How far from the first element a diagonal begins; 0 where there is none.
  private func diagonalStart(_ offset: Int, _ axis1: Int, _ axis2: Int) -> Int {
    withOwnLayout { layout in
      guard let rows = position(of: axis1, rank: layout.dims.count),
        let columns = position(of: axis2, rank: layout.dims.count)
      else { return 0 }
      if offset >= 0 {
        return offset < layout.dims[columns] ? offset * layout.strides[columns] : 0
      }
      return -offset < layout.dims[rows] ? -offset * layout.strides[rows] : 0
    }
  }

  @inline(never)
  private func diagonal(_ offset: Int, _ axis1: Int, _ axis2: Int, _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if rank < 2 {
      return fail("diagonal", "expected at least two axes, got shape \(shape)", [self])
    }
    do throws(TensorError) {
      let rows = try position(of: axis1, in: self, "diagonal")
      let columns = try position(of: axis2, in: self, "diagonal")
      if rows == columns {
        return fail("diagonal", "expected two different axes, got \(axis1) and \(axis2)", [self])
      }
      let own = ownLayout
      let rest = own.layout.dims.indices.filter { $0 != rows && $0 != columns }
      let (height, width) = (own.layout.dims[rows], own.layout.dims[columns])
      let length =
        offset >= 0
        ? Swift.min(height, width - Swift.min(offset, width))
        : Swift.min(width, height - Swift.min(-offset, height))
      let dims = rest.map { own.layout.dims[$0] } + [length]
      let strides =
        rest.map { own.layout.strides[$0] }
        + [own.layout.strides[rows] + own.layout.strides[columns]]
      return view(
        layout: LayoutTable.shared.intern(dims: dims, strides: strides),
        offset: own.offset + diagonalStart(offset, axis1, axis2), key)
    } catch { return fail(error, [self]) }
  }

  /// The sum along a diagonal, as NumPy's `trace`; integers and bools are summed as int64.
  ///
  /// - Complexity: records a view and a sum.
  public func trace(offset: Int = 0, axis1: Int = 0, axis2: Int = 1) -> Tensor {
    let view = diagonal(offset: offset, axis1: axis1, axis2: axis2)
    if let poison = poisoned(view) { return poison }
    use()
    return view.sum(axis: -1)
  }
}
