// Elements by number along an axis, and sorting, which finds the numbers. Gathers carry the gradients.

internal import LazyGradJIT

extension Tensor {
  /// Entries along an axis by number; negative numbers count from the end. Without an axis, of the elements
  /// in C order. The axis is replaced by those of `indices`.
  ///
  /// Gradients of entries that are taken several times add up.
  /// - Complexity: records a node or two; O(number of elements taken) on the host unless the axis is the
  ///   first.
  public func take(_ indices: NDArray, axis: Int? = nil) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let axis else { return reshaped([-1]).takeRows(indices) }
    guard let place = position(of: axis, rank: rank) else {
      return fail("take", "axis \(axis) is out of range for shape \(shape)", [self])
    }
    if place == 0 { return takeRows(indices) }
    if let poison = indices.poison { return Tensor(poison: poison) }
    if indices.dtype.isFloating || indices.dtype == .bool {
      return fail("take", "expected integer numbers, got \(indices.dtype)", [self])
    }
    if let taken = entries(indices, [], axis: place) { return taken }
    let list = (0..<rank).map { $0 == place ? indices as any TensorIndex : IndexComponent.all }
    return list.withUnsafeBufferPointer { selection($0) }
  }

  /// For every place the element whose position along the axis is the number there, as `argsort` and
  /// `argmax` give them: NumPy's `take_along_axis`. Along the other axes the numbers broadcast with this
  /// tensor's.
  ///
  /// - Complexity: records a node or two; O(number of elements taken) on the host.
  public func takeAlong(_ indices: NDArray, axis: Int = -1) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if let poison = indices.poison { return Tensor(poison: poison) }
    guard let place = position(of: axis, rank: rank), indices.rank == rank else {
      return fail(
        "takeAlong", "expected numbers with an axis \(axis) and \(rank) axes, got \(indices.shape)",
        [self])
    }
    if indices.dtype.isFloating || indices.dtype == .bool {
      return fail("takeAlong", "expected integer numbers, got \(indices.dtype)", [self])
    }
    if let picked = along(indices, axis: place) { return picked }
    let list = (0..<rank).map { axis -> any TensorIndex in
      if axis == place { return indices }
      var dims = Array(repeating: 1, count: rank)
      dims[axis] = shape[axis]
      return NDArray(Array(0..<shape[axis]), shape: dims)
    }
    return list.withUnsafeBufferPointer { selection($0) }
  }

  /// `takeAlong` with a tensor of numbers, which is computed.
  public func takeAlong(_ indices: Tensor, axis: Int = -1) -> Tensor {
    if let poison = poisoned(indices) { return poison }
    return takeAlong(indices.array, axis: axis)
  }

  /// The positions of the elements along an axis in ascending order, as int64 and without a gradient. Equal
  /// elements keep their order, and not-a-number comes last.
  ///
  /// - Complexity: records a node; O(length) an element for short axes, O(1) for long ones.
  public func argsort(axis: Int = -1, descending: Bool = false) -> Tensor {
    ordered(.argsort, axis, descending)
  }

  /// The elements along an axis in ascending order; equal elements keep their order, and not-a-number comes
  /// last. The gradient goes to where an element was.
  ///
  /// - Complexity: records a node, as `argsort`.
  public func sorted(axis: Int = -1, descending: Bool = false) -> Tensor {
    ordered(.sort, axis, descending)
  }

  private func ordered(_ opcode: Opcode, _ axis: Int, _ isDescending: Bool) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let place = position(of: axis, rank: rank) else {
      let name = opcode == .sort ? "sorted" : "argsort"
      return fail(name, "axis \(axis) is out of range for shape \(shape)", [self])
    }
    return compose { r in
      r.order(opcode, r.x, SortOrder(axis: place, isDescending: isDescending))
    }
  }
}

// MARK: - Derivative rules

enum SortingRules {
  /// Every element's gradient goes to where it was.
  static func sort(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    let count = p.layout(n).count
    // What has no elements has a gradient, too.
    if count == 0 { return p.add(x, g) }
    let table = LayoutTable.shared
    var order = SortOrder(attribute: p.tape[n].order)
    order.isFlat = true
    let places = p.emit(
      .argsort, type: .int64, shape: p.shape(n), p.value(x), attribute: order.attribute)
    let column = table.intern(dims: [count, 1])
    let zeros = p.emit(.copy, type: p.type(n), shape: column, p.number(0, n))
    let sum = p.emit(
      .scatterAddRows, type: p.type(n), shape: column, zeros, p.reshaped(g, column),
      p.reshaped(places, table.intern(dims: [count])))
    p.add(x, p.reshaped(sum, p.shape(x)))
  }
}
