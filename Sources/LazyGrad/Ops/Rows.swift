// Rows by number: what index arrays and masks over the first axes select, and `takeRows`.

internal import LazyGradJIT

extension Tensor {
  /// What an index list of nothing but one array selects: entries along the first axis by number, or
  /// those for which a mask is true.
  ///
  /// - Returns: nil for a view, where rows of the base are to be found, where nothing is selected, and
  ///   where the selection is wrong: the resolver says why.
  func rows(_ array: NDArray) -> Tensor? {
    if kind != .plain || rank == 0 || array.poison != nil { return nil }
    return array.dtype == .bool ? masked(array) : numbered(array, .rows)
  }

  private func numbered(_ indices: NDArray, _ operation: ViewKey.Operation) -> Tensor? {
    let n = indices.count
    if n == 0 || count == 0 || indices.dtype.isFloating || indices.dtype == .bool { return nil }
    var key = ViewKey(operation)
    key.append(indices.layout.shapeID)
    let length = Int64(layout.dims[0])
    let write = { (numbers: UnsafeMutablePointer<Int64>) in
      indices.copyElements(to: numbers, as: .int64)
      for i in 0..<n {
        let number = numbers[i]
        if number < -length || number >= length { return false }
        numbers[i] = number < 0 ? number &+ length : number
      }
      return true
    }
    return Tensor.quick(self) { Tape.rows(slot, key, count: n, mode: $0, numbers: write) }
      ?? recordRows(
        key, count: n, axes: 1, dims: indices.shape, asTable: operation == .rows, write)
  }

  private func masked(_ mask: NDArray) -> Tensor? {
    if !mask.isContiguous || mask.rank == 0 || mask.rank > rank { return nil }
    let n = IndexResolution.trueCount(of: mask)
    if n == 0 { return nil }
    var key = ViewKey(.maskedRows)
    key.append(mask.layout.shapeID)
    key.append(n)
    let write = { (numbers: UnsafeMutablePointer<Int64>) in
      let target = UnsafeMutableBufferPointer(start: numbers, count: n)
      return IndexResolution.write(trueElementsOf: mask, to: target) == n
    }
    let rows = Tensor.quick(self) { Tape.rows(slot, key, count: n, mode: $0, numbers: write) }
    if let rows { return rows }
    if !layout.dims.starts(with: mask.layout.dims) { return nil }
    return recordRows(key, count: n, axes: mask.rank, dims: [n], asTable: true, write)
  }

  /// The same where the layouts are not known yet: `dims` take the place of the first `axes`.
  @inline(never)
  private func recordRows(
    _ key: ViewKey, count n: Int, axes: Int, dims: [Int], asTable: Bool,
    _ write: (UnsafeMutablePointer<Int64>) -> Bool
  ) -> Tensor? {
    let result = dims + shape.dropFirst(axes)
    if count == 0 || result.count > LayoutTable.maxRank || !fitsMemory(result) { return nil }
    let table = LayoutTable.shared
    let width = shape.dropFirst(axes).reduce(1, *)
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
    if kind == .plain, let rows = numbered(indices, .takenRows) { return rows }
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
