// Views of tensors: reshaping, transposing, broadcasting, indexing.

internal import LazyGradJIT

extension Tensor {
  /// The same elements in C order under another shape; one length may be -1.
  ///
  /// A view where the layout allows it, else a copy.
  public func reshaped(_ shape: [Int]) -> Tensor {
    let key = ViewKey(.reshaped, shape)
    return known(key) ?? reshaped(shape, key)
  }

  /// The same with the lengths one after the other: `x.reshaped(2, -1)`.
  public func reshaped(_ first: Int, _ others: Int...) -> Tensor { reshaped([first] + others) }

  @inline(never)
  private func reshaped(_ shape: [Int], _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let copyKey = ViewKey(.copied, shape)
    if let target = Tape.knownLayout(slot, of: withOwnLayout({ $0.id }), copyKey) {
      return copied(into: target)
    }
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
    let strides = own.layout.reshapedStrides(to: dims)
    if let strides {
      let layout = LayoutTable.shared.intern(dims: dims, strides: strides)
      if Tape.canView((baseTensor ?? self).slot, layout: layout, offset: own.offset) {
        return view(layout: layout, offset: own.offset, key)
      }
    }
    let target = LayoutTable.shared.intern(dims: dims)
    if strides == nil { Tape.remember(copyKey, of: own.layout.id, as: target, slot) }
    return copied(into: target)
  }

  /// A copy in C order under another shape.
  private func copied(into shape: LayoutID) -> Tensor {
    compose { r in r.reshaped(r(.copy, r.x), to: shape) }
  }

  /// The same elements in C order under another shape, as a tensor that is a view of nothing: of results
  /// of which the program knows nothing but that shape.
  func turned(into shape: [Int]) -> Tensor {
    Tensor(recordView(LayoutTable.shared.intern(dims: shape), 0))
  }

  /// All elements along one axis.
  public func flattened() -> Tensor {
    use()
    return +reshaped([-1])
  }

  /// The axes in another order, reversed where none is given; a view.
  public func transposed(_ axes: [Int]? = nil) -> Tensor {
    let key = axes.map { ViewKey(.permuted, $0) } ?? ViewKey(.reversed)
    return known(key) ?? transposed(axes, key)
  }

  /// The same with the axes one after the other: `x.transposed(0, 2, 1)`.
  public func transposed(_ first: Int, _ others: Int...) -> Tensor { transposed([first] + others) }

  // swift-format-ignore: AlwaysUseLowerCamelCase
  /// The axes in reverse order: the transpose of a matrix; a view.
  public var T: Tensor { transposed() }

  /// - Parameter key: What asks for this order.
  @inline(never)
  func transposed(_ axes: [Int]?, _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let order = order(of: axes, rank: rank) else {
      return fail(
        "transposed", "expected a permutation of the axes of shape \(shape), got \(axes ?? [])",
        [self])
    }
    let own = ownLayout.layout
    return view(dims: order.map { own.dims[$0] }, strides: order.map { own.strides[$0] }, key)
  }

  /// The tensor repeated to a larger shape; a view, which can't be updated in place.
  public func broadcast(to shape: [Int]) -> Tensor {
    let key = ViewKey(.broadcast, shape)
    return known(key) ?? broadcast(to: shape, key)
  }

  @inline(never)
  private func broadcast(to shape: [Int], _ key: ViewKey) -> Tensor {
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
    return view(dims: shape, strides: strides, key)
  }

  /// A new axis of length 1; a view.
  public func expandedDims(at axis: Int) -> Tensor {
    let key = ViewKey(.expanded, axis)
    return known(key) ?? expandedDims(at: axis, key)
  }

  @inline(never)
  private func expandedDims(at axis: Int, _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    do throws(TensorError) {
      var dims = shape
      dims.insert(1, at: try position(of: axis, in: self, rank: rank + 1, "expandedDims"))
      return reshaped(dims, key)
    } catch { return fail(error, [self]) }
  }

  /// Without an axis of length 1, or without all of them; a view.
  public func squeezed(axis: Int? = nil) -> Tensor {
    let key = axis.map { ViewKey(.squeezed, $0) } ?? ViewKey(.squeezedWhole)
    return known(key) ?? squeezed(axis: axis, key)
  }

  @inline(never)
  private func squeezed(axis: Int?, _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let axis else { return reshaped(shape.filter { $0 != 1 }, key) }
    guard let position = position(of: axis, rank: rank), shape[position] == 1 else {
      return fail("squeezed", "axis \(axis) of shape \(shape) does not have length 1", [self])
    }
    var dims = shape
    dims.remove(at: position)
    return reshaped(dims, key)
  }

  // MARK: Indexing

  /// A view for basic indices (integers, ranges, new axes), a copy for index arrays and index tensors:
  /// `x[x .> 0]`, `x[Tensor([0, 2])]`.
  ///
  /// The setter is an in-place update: `x[0..<2] += 10` works on a `let`. Where an index array names an
  /// element several times, the last value stays and has the gradient.
  ///
  /// - Complexity: records a node or a few; index arrays cost O(number of elements selected) in addition,
  ///   and a mask O(its size). An index tensor is evaluated.
  public subscript(_ indices: any TensorIndex...) -> Tensor {
    // Inlined, so that the list is not made on the heap.
    @inlinable get { indices.withUnsafeBufferPointer { selection($0) } }
    @inlinable set { indices.withUnsafeBufferPointer { setSelection($0, newValue) } }
  }

  // Of any type, not of one to be inferred: with that `x[0] += 1.0` could be an addition of numbers.
  /// Sets a part to one number, in place: `x[0] = 3.0`, `x[x .< 0] = 0`.
  ///
  /// The number is converted to the tensor's type as `cast(to:)` does, but a whole number that integers
  /// of that type can't hold is an error. To read a number, take the part's `item()`.
  @_disfavoredOverload  // `x[0]` is a tensor wherever it can be one
  public subscript(_ indices: any TensorIndex...) -> any TensorScalar {
    @available(
      *, unavailable, message: "a part of a tensor is a tensor; read one with `x[i].item()`"
    )
    get { indices.withUnsafeBufferPointer { selection($0) }.item() }
    set { indices.withUnsafeBufferPointer { setSelection($0, element(newValue)) } }
  }

  /// Not Swift: an index list takes `.ellipsis`.
  @available(*, unavailable, message: "write `.ellipsis` for `...`; one whole axis is `.all`")
  public subscript(_ whole: UnboundedRange, _ others: any TensorIndex...) -> Tensor {
    get { self }
    set { assign(newValue) }
  }

  /// Not Swift: an index list takes `.ellipsis`.
  @available(*, unavailable, message: "write `.ellipsis` for `...`; one whole axis is `.all`")
  public subscript(
    _ first: any TensorIndex, _ whole: UnboundedRange, _ others: any TensorIndex...
  ) -> Tensor {
    get { self }
    set { assign(newValue) }
  }

  /// A number that is to be stored here, in a type that is converted to this tensor's as it should be.
  private func element<Number: TensorScalar>(_ number: Number) -> Tensor {
    if let message = number.weak.misfit(dtype) { return fail("subscript", message, [self]) }
    let isExact = dtype.isFloating || dtype != .bool && !Number.dtype.isFloating
    return .full([], number, dtype: isExact ? dtype : Number.dtype, constant: true)
  }

  @usableFromInline
  func selection(_ list: UnsafeBufferPointer<any TensorIndex>) -> Tensor {
    let indices = list.listed
    var basic = BasicIndices()
    let key = withOwnLayout { basic.take(indices, of: $0) }
    if key.isWhole, let view = known(key, from: basic.offset) { return view }
    if let list = basic.arrays(indices, rank: rank),
      let entries = entries(list.first, list.others, axis: list.axis)
    {
      return entries
    }
    return indexed(basic.components(indices), key)
  }

  @usableFromInline
  func setSelection(_ list: UnsafeBufferPointer<any TensorIndex>, _ value: Tensor) {
    let indices = list.listed
    if kind == .poisoned || value.kind == .poisoned { return }
    var basic = BasicIndices()
    let key = withOwnLayout { basic.take(indices, of: $0) }
    if key.isWhole, let part = Tape.knownLayout(slot, of: ownLayout.layout.id, key) {
      setPart(part, ownLayout.offset + basic.offset, value)
    } else {
      setIndexed(basic.components(indices), key, value)
    }
  }

  @inline(never)
  private func indexed(_ indices: [IndexComponent], _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let own = ownLayout
    do throws(TensorError) {
      switch try IndexResolution.resolve(
        indices, dims: own.layout.dims, strides: own.layout.strides, offset: own.offset)
      {
      case .view(let view):
        return self.view(
          layout: LayoutTable.shared.intern(dims: view.dims, strides: view.strides),
          offset: view.offset, key)
      case .gather(let gather):
        // Index arrays pick rows of the base, whatever lies between it and this tensor.
        let count = (baseTensor ?? self).count
        let (width, numbers) = try gather.rows(of: count)
        let rows = Tensor(adopting: try NDArray.make(numbers, dtype: .int64), isVariable: false)
        use()
        let table = LayoutTable.shared.intern(dims: [count / width, width])
        return view(layout: table, offset: 0).taking(rows, dims: gather.dims)
      }
    } catch { return fail(error, [self]) }
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
    let whole = p.tape[n].regionStart == 0 ? inverse(p, p.tape[n].region, source) : .max
    if whole != .max {
      p.add(source, p.view(g, whole))
      return
    }
    let layout = LayoutTable.shared[p.tape[n].region]
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
    let offset = p.tape[n].regionStart
    let size = p.layout(source)
    if layout.count > 0, let inverse = inverse(dims, layout.strides, of: size), offset == 0 {
      p.add(source, p.view(gradient, dims: size.dims, strides: inverse))
      return
    }
    let region = LayoutTable.shared.intern(dims: dims, strides: layout.strides)
    let onto = p.gradientOrZeros(source)
    func adding(_ onto: UInt32, _ part: UInt32, _ region: LayoutID, at offset: Int) -> UInt32 {
      p.emit(
        .addRegion, type: p.type(source), shape: p.shape(source), onto, part, attribute: region,
        payload: UInt64(bitPattern: Int64(offset)))
    }
    let unrolled = LayoutTable.shared[region].overlappingAxes()
    if unrolled.isEmpty {
      p.setGradient(source, adding(onto, gradient, region, at: offset))
      return
    }
    // Windows that overlap: one position in all of them at a time, which are different elements.
    var part = dims
    for axis in unrolled { part[axis] = 1 }
    let own = LayoutTable.contiguousStrides(dims)!.strides
    let target = LayoutTable.shared.intern(dims: part, strides: layout.strides)
    var sum = onto
    for k in 0..<unrolled.reduce(1, { $0 * dims[$1] }) {
      var (rest, from, to) = (k, 0, offset)
      for axis in unrolled.reversed() {
        let (quotient, position) = rest.quotientAndRemainder(dividingBy: dims[axis])
        rest = quotient
        from += position * own[axis]
        to += position * layout.strides[axis]
      }
      sum = adding(sum, p.view(gradient, dims: part, strides: own, offset: from), target, at: to)
    }
    p.setGradient(source, sum)
  }

  /// The layout under which the elements of a view that shows each of `source` exactly once, from the first
  /// on, show those of `source`; `max` where it does something else.
  private static func inverse(
    _ p: borrowing BackwardPass, _ region: LayoutID, _ source: UInt32
  ) -> LayoutID {
    var key = ViewKey(.inverse)
    key.append(region)
    return p.tape.layout(key, of: p.shape(source)) { size in
      let layout = LayoutTable.shared[region]
      if layout.count == 0 { return .max }
      return inverse(layout.dims, layout.strides, of: size).map {
        LayoutTable.shared.intern(dims: size.dims, strides: $0)
      } ?? .max
    }
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
