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
  /// - Complexity: forces evaluation; O(n log n) on the host.
  public func argsort(axis: Int = -1, descending: Bool = false) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let place = position(of: axis, rank: rank) else {
      return fail("argsort", "axis \(axis) is out of range for shape \(shape)", [self])
    }
    let last = noAutodiff { detached().movedAxis(from: place, to: -1) }
    let length = shape[place]
    do throws(TensorError) {
      let positions = try last.sortedPositions(
        rows: length == 0 ? 0 : count / length, length, descending)
      let table = Tensor(adopting: try NDArray.make(positions, dtype: .int64), isVariable: false)
      return noAutodiff { table.reshaped(last.shape).movedAxis(from: -1, to: place) }
    } catch { return fail(error, [self]) }
  }

  /// The elements along an axis in ascending order; equal elements keep their order, and not-a-number comes
  /// last. The gradient goes to where an element was.
  ///
  /// - Complexity: forces evaluation; O(n log n) on the host.
  public func sorted(axis: Int = -1, descending: Bool = false) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let positions = argsort(axis: axis, descending: descending)
    return poisoned(positions) ?? takeAlong(positions, axis: axis)
  }

  /// The positions along the last axis, for rows of a length.
  private func sortedPositions(
    rows: Int, _ length: Int, _ descending: Bool
  ) throws(TensorError) -> [Int] {
    if dtype.isFloating {
      return Self.positions(
        try array.copiedElements(as: Double.self, operation: "argsort"), rows, length, descending
      ) { $0.isNaN }
    }
    return Self.positions(
      try array.copiedElements(as: Int64.self, operation: "argsort"), rows, length, descending
    ) { _ in false }
  }

  private static func positions<T: Comparable>(
    _ elements: [T], _ rows: Int, _ length: Int, _ descending: Bool, _ isUnordered: (T) -> Bool
  ) -> [Int] {
    var result: [Int] = []
    result.reserveCapacity(elements.count)
    var row: [(value: T, position: Int)] = []
    for start in stride(from: 0, to: rows * length, by: Swift.max(length, 1)) {
      row.removeAll(keepingCapacity: true)
      var unordered: [Int] = []
      for i in 0..<length {
        let value = elements[start + i]
        if isUnordered(value) { unordered.append(i) } else { row.append((value, i)) }
      }
      row.sort {
        if $0.value == $1.value { return $0.position < $1.position }
        return descending ? $0.value > $1.value : $0.value < $1.value
      }
      for entry in row { result.append(entry.position) }
      result += unordered
    }
    return result
  }
}
