// Entries by number: what index arrays and masks select beside whole axes, and `takeRows`.

internal import LazyGradJIT

extension Tensor {
  /// What index arrays of one shape for axes that follow each other select beside whole axes, or what one
  /// mask selects over the first axes.
  ///
  /// - Returns: nil for a view, where entries of the base are to be found, where nothing is selected, and
  ///   where the selection is wrong: the resolver says why.
  func entries(_ first: NDArray, _ others: [NDArray], axis: Int) -> Tensor? {
    if kind != .plain || rank == 0 || first.poison != nil { return nil }
    if first.dtype == .bool { return others.isEmpty && axis == 0 ? masked(first) : nil }
    return numbered(first, others, axis: axis, .rows)
  }

  private func numbered(
    _ first: NDArray, _ others: [NDArray] = [], axis: Int = 0, _ operation: ViewKey.Operation
  ) -> Tensor? {
    if !first.namesEntries || count == 0 { return nil }
    let own = layout.dims
    let end = axis + 1 + others.count
    if end > own.count { return nil }
    for other in others where !other.namesEntries || other.shape != first.shape { return nil }
    var key = ViewKey(operation)
    key.append(first.layout.shapeID)
    if end > 1 {
      key.append(axis)
      key.append(end)
    }
    let n = first.count
    let outer = axis == 0 ? 1 : own[..<axis].reduce(1, *)
    let (total, overflow) = n.multipliedReportingOverflow(by: outer)
    if overflow { return nil }
    // No closures: those would be made on the heap.
    func write(_ numbers: UnsafeMutablePointer<Int64>) -> Bool {
      if !first.write(to: numbers, in: -own[axis]..<own[axis]) { return false }
      for (k, other) in others.enumerated() {
        if !other.refine(numbers, length: own[axis + 1 + k]) { return false }
      }
      // Once for every place along the axes before.
      let step = Int64(own[axis..<end].reduce(1, *))
      for i in n..<total { numbers[i] = numbers[i - n] &+ step }
      return true
    }
    return Tensor.quick(self) { Tape.rows(slot, key, count: total, mode: $0, numbers: write) }
      ?? recordRows(
        key, count: total, axes: axis..<end, dims: first.shape, asTable: operation == .rows, write)
  }

  /// For every place the element whose position along the axis is the number there, where the shapes are
  /// equal along the other axes.
  ///
  /// - Parameters:
  ///   - isKept: Whether the numbers have the axis; else the result has not.
  ///   - range: What the numbers have to be in; negative ones count from the end.
  /// - Returns: nil where that is to be had by other ways only, or not at all.
  func along(
    _ indices: NDArray, axis: Int, isKept: Bool = true, in range: Range<Int>? = nil
  ) -> Tensor? {
    if kind != .plain || !indices.namesEntries || count == 0 { return nil }
    let own = layout.dims
    let dims = indices.layout.dims
    let others = axis + (isKept ? 1 : 0)
    guard dims.count + (isKept ? 0 : 1) == own.count, dims[..<axis] == own[..<axis],
      dims[others...] == own[(axis + 1)...]
    else { return nil }
    var key = ViewKey(.along, axis)
    key.append(indices.layout.shapeID)
    let length = own[axis]
    let inner = own[(axis + 1)...].reduce(1, *)
    let block = isKept ? dims[axis] * inner : inner
    func write(_ numbers: UnsafeMutablePointer<Int64>) -> Bool {
      if !indices.write(to: numbers, in: range ?? -length..<length) { return false }
      var place = 0
      for start in stride(from: 0, to: own[..<axis].reduce(length * inner, *), by: length * inner) {
        let end = place + block
        while place < end {
          for i in 0..<inner {
            numbers[place] = Int64(start + i) &+ numbers[place] &* Int64(inner)
            place += 1
          }
        }
      }
      return true
    }
    let n = indices.count
    return Tensor.quick(self) { Tape.rows(slot, key, count: n, mode: $0, numbers: write) }
      ?? recordRows(key, count: n, axes: 0..<own.count, dims: dims, asTable: true, write)
  }

  private func masked(_ mask: NDArray) -> Tensor? {
    if !mask.isContiguous || mask.rank == 0 || mask.rank > rank { return nil }
    let n = IndexResolution.trueCount(of: mask)
    if n == 0 { return nil }
    var key = ViewKey(.maskedRows)
    key.append(mask.layout.shapeID)
    key.append(n)
    func write(_ numbers: UnsafeMutablePointer<Int64>) -> Bool {
      let target = UnsafeMutableBufferPointer(start: numbers, count: n)
      return IndexResolution.write(trueElementsOf: mask, to: target) == n
    }
    let rows = Tensor.quick(self) { Tape.rows(slot, key, count: n, mode: $0, numbers: write) }
    if let rows { return rows }
    if !layout.dims.starts(with: mask.layout.dims) { return nil }
    return recordRows(key, count: n, axes: 0..<mask.rank, dims: [n], asTable: true, write)
  }

  /// The same where the layouts are not known yet: `dims` take the place of some axes.
  @inline(never)
  private func recordRows(
    _ key: ViewKey, count n: Int, axes: Range<Int>, dims: [Int], asTable: Bool,
    _ write: (UnsafeMutablePointer<Int64>) -> Bool
  ) -> Tensor? {
    let own = shape
    var result = own
    result.replaceSubrange(axes, with: dims)
    if count == 0 || result.count > LayoutTable.maxRank || !fitsMemory(result) { return nil }
    let table = LayoutTable.shared
    let width = own[axes.upperBound...].reduce(1, *)
    Tape.rememberRows(
      slot, key, result: table.intern(dims: result),
      table: asTable ? table.intern(dims: [count / width, width]) : nil,
      numbers: table.intern(dims: [n]))
    return Tensor.prepared(self) {
      Tape.rows(slot, key, count: n, mode: $0, numbers: write).map(Tensor.made)
    }
  }

  /// Rows (entries along the first axis) by number; negative numbers count from the end.
  ///
  /// The result has the shape of the numbers followed by that of a row. Gradients of rows that are
  /// taken several times add up.
  public func takeRows(_ indices: NDArray) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if let poison = indices.poison { return Tensor(poison: poison) }
    if rank == 0 { return fail("takeRows", "expected at least one axis, got a scalar", [self]) }
    if kind == .plain, let rows = numbered(indices, axis: 0, .takenRows) { return rows }
    if indices.dtype.isFloating || indices.dtype == .bool {
      return fail("takeRows", "expected integer row numbers, got \(indices.dtype)", [self])
    }
    let rows = shape[0]
    let given: [Int]
    do throws(TensorError) {
      given = try indices.copiedElements(as: Int.self, operation: "takeRows")
    } catch { return fail(error, [self]) }
    for index in given where index < -rows || index >= rows {
      return fail(
        "takeRows", "row \(index) is out of range for axis 0 with length \(rows)", [self])
    }
    let dims = indices.shape + shape.dropFirst()
    if dims.count > LayoutTable.maxRank || !fitsMemory(dims) {
      return fail("takeRows", "the result would have shape \(dims)", [self])
    }
    let numbers = Tensor(indices, dtype: .int64, constant: true)
    return poisoned(numbers) ?? taking(numbers, dims: dims)
  }

  /// The rows with these numbers, which exist, as a tensor of a shape with as many elements.
  func taking(_ numbers: Tensor, dims: [Int]) -> Tensor {
    Tensor.record(self, numbers) {
      Tensor(
        Tape.general(
          .gatherRows, slot, numbers.slot, type: slot.pointee.type,
          shape: LayoutTable.shared.intern(dims: dims), mode: $0))
    }
  }
}

extension NDArray {
  /// Whether its elements can be numbers of entries.
  fileprivate var namesEntries: Bool {
    poison == nil && count > 0 && !dtype.isFloating && dtype != .bool
  }

  /// Writes the elements, which have to be in a range, as numbers of entries; negative ones count from its
  /// end.
  ///
  /// - Returns: false where one is out of range.
  fileprivate func write(to numbers: UnsafeMutablePointer<Int64>, in range: Range<Int>) -> Bool {
    copyElements(to: numbers, as: .int64)
    let low = Int64(range.lowerBound)
    let length = Int64(range.upperBound)
    for i in 0..<count {
      let number = numbers[i]
      if number < low || number >= length { return false }
      numbers[i] = number < 0 ? number &+ length : number
    }
    return true
  }

  /// Makes numbers of entries those of entries of them.
  ///
  /// - Returns: false where one is out of range, or where there is no memory for as many numbers: the
  ///   resolver says so.
  fileprivate func refine(_ numbers: UnsafeMutablePointer<Int64>, length: Int) -> Bool {
    if (try? IndexResolution.require(count)) == nil { return false }
    return withUnsafeTemporaryAllocation(of: Int64.self, capacity: count) { own in
      guard let start = own.baseAddress, write(to: start, in: -length..<length) else {
        return false
      }
      for i in 0..<count { numbers[i] = numbers[i] &* Int64(length) &+ own[i] }
      return true
    }
  }
}
