// Views of tensors: reshaping, transposing, broadcasting, indexing.

internal import LazyGradJIT

extension Tensor {
  // MARK: Recording views

  /// Records this tensor's value under a layout over its elements in C order; `parent`: the view of this
  /// tensor that the new one was made of.
  func recordView(
    _ layout: LayoutID, _ offset: Int, _ mode: RecordMode = Scope.mode, of parent: SlotRef? = nil
  ) -> SlotRef {
    Tape.view(slot, of: parent, mode: mode, layout: layout, offset: offset)
  }

  /// A view of this tensor's base with a layout over the base's elements.
  func view(layout: LayoutID, offset: Int) -> Tensor {
    guard let base = baseTensor else {
      return Tensor(recordView(layout, offset), base: self, layout: layout, offset: offset)
    }
    return Tensor(
      base.recordView(layout, offset, of: slot), base: base, layout: layout, offset: offset)
  }

  /// The layout of this tensor over its base, or over itself.
  var ownLayout: (layout: Layout, offset: Int) {
    kind == .view ? (LayoutTable.shared[viewLayout], viewOffset) : (layout, 0)
  }

  private func view(dims: [Int], strides: [Int], offset: Int = 0) -> Tensor {
    view(
      layout: LayoutTable.shared.intern(dims: dims, strides: strides),
      offset: ownLayout.offset + offset)
  }

  // MARK: Reshaping

  /// The same elements in C order under another shape; one length may be -1.
  ///
  /// A view where the layout allows it, else a copy.
  public func reshaped(_ shape: [Int]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    var dims = shape
    let known = dims.filter { $0 != -1 }.reduce((1, false)) { total, n in
      let (product, overflow) = total.0.multipliedReportingOverflow(by: n)
      return (product, total.1 || overflow || n < 0)
    }
    let unknown = dims.filter { $0 == -1 }.count
    if unknown == 1, known.0 > 0, !known.1, count % known.0 == 0 {
      dims[dims.firstIndex(of: -1)!] = count / known.0
    }
    if unknown > 1 || dims.contains(-1) || known.1 || dims.reduce(1, *) != count {
      return fail("reshaped", "\(count) elements of shape \(self.shape) don't fit \(shape)", [self])
    }
    if !fitsMemory(dims) {
      return fail("reshaped", "shape \(dims) has more elements than memory can hold", [self])
    }
    if dims.count > LayoutTable.maxRank {
      return fail("reshaped", "expected at most \(LayoutTable.maxRank) axes, got \(dims.count)")
    }
    let own = ownLayout
    if let strides = own.layout.reshapedStrides(to: dims) {
      let layout = LayoutTable.shared.intern(dims: dims, strides: strides)
      if Tape.canView((baseTensor ?? self).slot, layout: layout, offset: own.offset) {
        return view(layout: layout, offset: own.offset)
      }
    }
    return (+self).turned(into: dims)
  }

  /// The same elements in C order under another shape, as a tensor that is a view of nothing: of results
  /// of which the program knows nothing but that shape.
  func turned(into shape: [Int]) -> Tensor {
    Tensor(recordView(LayoutTable.shared.intern(dims: shape), 0))
  }

  /// All elements along one axis.
  public func flattened() -> Tensor {
    clearOldGradient()
    return +reshaped([-1])
  }

  /// The axes in another order, reversed where none is given; a view.
  public func transposed(_ axes: [Int]? = nil) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let order = (axes ?? Array((0..<rank).reversed())).map { $0 < 0 ? $0 + rank : $0 }
    if order.sorted() != Array(0..<rank) {
      return fail(
        "transposed", "expected a permutation of the axes of shape \(shape), got \(axes ?? [])",
        [self])
    }
    let own = ownLayout.layout
    return view(dims: order.map { own.dims[$0] }, strides: order.map { own.strides[$0] })
  }

  /// The tensor repeated to a larger shape; a view, which can't be updated in place.
  public func broadcast(to shape: [Int]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if shape.count > LayoutTable.maxRank {
      return fail(
        "broadcast", "expected at most \(LayoutTable.maxRank) axes, got \(shape.count)", [self])
    }
    guard !shape.contains(where: { $0 < 0 }),
      let strides = ownLayout.layout.broadcastStrides(to: shape)
    else {
      return fail("broadcast", "shape \(self.shape) does not broadcast to \(shape)", [self])
    }
    if !fitsMemory(shape) {
      return fail("broadcast", "shape \(shape) has more elements than memory can hold", [self])
    }
    return view(dims: shape, strides: strides)
  }

  /// A new axis of length 1; a view.
  public func expandedDims(at axis: Int) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let position = axis < 0 ? axis + rank + 1 : axis
    if position < 0 || position > rank {
      return fail("expandedDims", "axis \(axis) is out of range for shape \(shape)", [self])
    }
    var dims = shape
    dims.insert(1, at: position)
    return reshaped(dims)
  }

  /// Without an axis of length 1, or without all of them; a view.
  public func squeezed(axis: Int? = nil) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let axis else { return reshaped(shape.filter { $0 != 1 }) }
    let position = axis < 0 ? axis + rank : axis
    if position < 0 || position >= rank || shape[position] != 1 {
      return fail("squeezed", "axis \(axis) of shape \(shape) does not have length 1", [self])
    }
    var dims = shape
    dims.remove(at: position)
    return reshaped(dims)
  }

  // MARK: Indexing

  /// A view for basic indices (integers, ranges, new axes), a copy for index arrays.
  ///
  /// The setter is an in-place update: `x[0..<2] += 10` works on a `let`. Where an index array names an
  /// element several times, the last value stays and has the gradient.
  ///
  /// - Complexity: records a node or a few; index arrays cost O(number of elements selected) in addition,
  ///   and a mask O(its size).
  public subscript(_ indices: any TensorIndex...) -> Tensor {
    get {
      if indices.count == 1, let rows = rows(indices[0].indexComponent) { return rows }
      return indexed(indices.map(\.indexComponent))
    }
    set { setIndexed(indices.map(\.indexComponent), newValue) }
  }

  /// The view that one integer or one range along the first axis selects, without the resolver's
  /// arrays: how programs go through time steps and batches. nil where it is anything else.
  private func rows(_ index: IndexComponent) -> Tensor? {
    let own = ownLayout
    guard kind != .poisoned, let length = own.layout.dims.first else { return nil }
    switch index.kind {
    case .integer(let row) where row >= -length && row < length:
      return view(
        layout: LayoutTable.shared.cut(own.layout.id, to: nil),
        offset: own.offset + (row < 0 ? row + length : row) * own.layout.strides[0])
    case .slice(let start?, let stop?, step: 1) where 0 <= start && start < stop && stop <= length:
      return view(
        layout: LayoutTable.shared.cut(own.layout.id, to: stop - start),
        offset: own.offset + start * own.layout.strides[0])
    default: return nil
    }
  }

  private func indexed(_ indices: [IndexComponent]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let own = ownLayout
    do throws(TensorError) {
      switch try IndexResolution.resolve(
        indices, dims: own.layout.dims, strides: own.layout.strides, offset: own.offset)
      {
      case .view(let view):
        return self.view(
          layout: LayoutTable.shared.intern(dims: view.dims, strides: view.strides),
          offset: view.offset)
      case .gather(let gather):
        // Index arrays pick rows of the base, whatever lies between it and this tensor.
        let count = (baseTensor ?? self).count
        let (width, numbers) = try gather.rows(of: count)
        let rows = Tensor(adopting: try NDArray.make(numbers, dtype: .int64), isVariable: false)
        clearOldGradient()
        let table = LayoutTable.shared.intern(dims: [count / width, width])
        return view(layout: table, offset: 0).taking(rows, dims: gather.dims)
      }
    } catch { return fail(error, [self]) }
  }

  /// Rows (entries along the first axis) by number; negative numbers count from the end.
  ///
  /// The result has the shape of the numbers followed by that of a row. Gradients of rows that are
  /// taken several times add up.
  public func takeRows(_ indices: NDArray) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if let poison = indices.poison { return Tensor(poison: poison) }
    if rank == 0 { return fail("takeRows", "expected at least one axis, got a scalar", [self]) }
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
    use()
    return Tensor(
      Tape.general(
        .gatherRows, slot, numbers.slot, type: slot.pointee.type,
        shape: LayoutTable.shared.intern(dims: dims), mode: Scope.mode))
  }
}

/// Whether a result of a shape can be computed at all.
func fitsMemory(_ dims: [Int]) -> Bool { LayoutTable.isComputable(dims) }

// MARK: - Derivative rules

enum ShapeRules {
  /// A view's gradient goes where the view looks.
  static func view(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let route = p.b(n)
    if route != n { return p.add(route, g) }
    let source = p.a(n)
    if !p.wants(source) { return }
    let layout = LayoutTable.shared[p.tape[n].attribute]
    // Axes that repeat are summed, then every element is seen at most once.
    let repeats = layout.strides.indices.filter {
      layout.strides[$0] == 0 && layout.dims[$0] != 1
    }
    var gradient = g
    var dims = layout.dims
    if !repeats.isEmpty {
      for axis in repeats { dims[axis] = 1 }
      gradient = p.summed(g, to: LayoutTable.shared.intern(dims: dims))
    }
    let offset = Int(Int64(bitPattern: p.tape[n].payload))
    let size = p.layout(source)
    if layout.count > 0, let inverse = inverse(dims, layout.strides, of: size), offset == 0 {
      p.add(source, p.view(gradient, dims: size.dims, strides: inverse))
      return
    }
    let region = LayoutTable.shared.intern(dims: dims, strides: layout.strides)
    let onto = p.gradientOrZeros(source)
    p.setGradient(
      source,
      p.emit(
        .addRegion, type: p.type(source), shape: p.shape(source), onto, gradient, attribute: region,
        payload: UInt64(bitPattern: Int64(offset))))
  }

  /// If the layout shows every element of `source` exactly once: the strides under which the view's
  /// elements in C order show the source's.
  private static func inverse(_ dims: [Int], _ strides: [Int], of source: Layout) -> [Int]? {
    if dims.reduce(1, *) != source.count { return nil }
    if strides.contains(where: { $0 < 0 }) { return nil }
    let own = LayoutTable.contiguousStrides(dims)!.strides
    // The view's axes by how far they step through the source, widest first, must cover it.
    let order = dims.indices.filter { dims[$0] != 1 }.sorted { strides[$0] > strides[$1] }
    var step = source.count
    for axis in order {
      if strides[axis] * dims[axis] != step { return nil }
      step = strides[axis]
    }
    if step != 1, !order.isEmpty { return nil }
    let moved = LayoutTable.shared[
      LayoutTable.shared.intern(dims: order.map { dims[$0] }, strides: order.map { own[$0] })]
    return moved.reshapedStrides(to: source.dims)
  }
}
