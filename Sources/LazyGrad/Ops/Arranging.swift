// The same elements in another order: views with other axes, and copies that repeat, shift or surround them.
// All are made of views, rows by number and concatenation, which carry the gradients.

internal import LazyGradJIT

// MARK: - Axes

extension Tensor {
  /// Two axes in each other's place; a view.
  public func swappedAxes(_ first: Int, _ second: Int) -> Tensor {
    var key = ViewKey(.swapped, first)
    key.append(second)
    return known(key) ?? swappedAxes(first, second, key)
  }

  @inline(never)
  private func swappedAxes(_ first: Int, _ second: Int, _ key: ViewKey) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let a = position(of: first, rank: rank), let b = position(of: second, rank: rank) else {
      return fail(
        "swappedAxes", "expected two axes of shape \(shape), got \(first) and \(second)", [self])
    }
    var order = Array(0..<rank)
    order.swapAt(a, b)
    return transposed(order, key)
  }

  /// An axis at another place, the others in their order; a view.
  public func movedAxis(from source: Int, to destination: Int) -> Tensor {
    var key = ViewKey(.moved, source)
    key.append(destination)
    return known(key) ?? movedAxes(from: [source], to: [destination], key)
  }

  /// Axes at other places, the others in their order; a view.
  public func movedAxes(from sources: [Int], to destinations: [Int]) -> Tensor {
    var key = ViewKey(.moved, sources)
    for destination in destinations { key.append(destination) }
    return known(key) ?? movedAxes(from: sources, to: destinations, key)
  }

  @inline(never)
  private func movedAxes(
    from sources: [Int], to destinations: [Int], _ key: ViewKey
  ) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let from = sources.compactMap { position(of: $0, rank: rank) }
    let to = destinations.compactMap { position(of: $0, rank: rank) }
    guard from.count == to.count, from.count == sources.count, to.count == destinations.count,
      Set(from).count == from.count, Set(to).count == to.count
    else {
      return fail(
        "movedAxes",
        "expected as many different places as axes of shape \(shape), got \(sources) to \(destinations)",
        [self])
    }
    var order = Array(0..<rank).filter { !from.contains($0) }
    for (place, axis) in zip(to, from).sorted(by: { $0.0 < $1.0 }) { order.insert(axis, at: place) }
    return transposed(order, key)
  }

  /// New axes of length 1 at these places of the result; a view.
  public func expandedDims(at axes: [Int]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let result = rank + axes.count
    let places = axes.compactMap { position(of: $0, rank: result) }
    if places.count != axes.count || Set(places).count != axes.count {
      return fail(
        "expandedDims", "expected different places among \(result) axes, got \(axes)", [self])
    }
    var dims = shape
    for place in places.sorted() { dims.insert(1, at: place) }
    return reshaped(dims)
  }

  /// Without these axes, which have length 1; a view.
  public func squeezed(axes: [Int]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let places = axes.compactMap { position(of: $0, rank: rank) }
    if places.count != axes.count || Set(places).count != axes.count
      || places.contains(where: { shape[$0] != 1 })
    {
      return fail("squeezed", "axes \(axes) of shape \(shape) do not all have length 1", [self])
    }
    return reshaped(shape.indices.filter { !places.contains($0) }.map { shape[$0] })
  }

  /// The elements in reverse order along an axis, or along all; a view.
  public func flipped(axis: Int? = nil) -> Tensor {
    guard let axis else { return flipped(axes: Array(0..<rank)) }
    return known(ViewKey(.flipped, axis), from: last(along: axis)) ?? flipped(axes: [axis])
  }

  /// The elements in reverse order along several axes; a view.
  public func flipped(axes: [Int]) -> Tensor {
    let key = ViewKey(.flipped, axes)
    let start = axes.reduce(0) { $0 + last(along: $1) }
    return known(key, from: start) ?? flipped(axes, key, from: start)
  }

  @inline(never)
  private func flipped(_ axes: [Int], _ key: ViewKey, from start: Int) -> Tensor {
    along(axes, "flipped") { set in
      let own = ownLayout
      let strides = own.layout.strides
      let turned = strides.indices.map { set.contains($0) ? -strides[$0] : strides[$0] }
      return view(
        layout: LayoutTable.shared.intern(dims: own.layout.dims, strides: turned),
        offset: own.offset + start, key)
    }
  }

  /// How far the last element along an axis is from the first; 0 where there is none, or no such axis.
  private func last(along axis: Int) -> Int {
    withOwnLayout { own in
      guard let place = position(of: axis, rank: own.dims.count), own.dims[place] > 0 else {
        return 0
      }
      return (own.dims[place] - 1) * own.strides[place]
    }
  }

  /// Lengths `low` to `high` along an axis, which has so many; a view.
  fileprivate func part(_ axis: Int, _ low: Int, _ high: Int) -> Tensor {
    if let poison = poisoned(self) { return poison }
    var key = ViewKey(.section, axis)
    key.append(high - low)
    let start = low < high ? low * withOwnLayout { $0.strides[axis] } : 0
    return known(key, from: start) ?? part(axis, high - low, from: start, key)
  }

  @inline(never)
  private func part(_ axis: Int, _ length: Int, from start: Int, _ key: ViewKey) -> Tensor {
    let own = ownLayout
    var dims = own.layout.dims
    dims[axis] = length
    return view(
      layout: LayoutTable.shared.intern(dims: dims, strides: own.layout.strides),
      offset: own.offset + start, key)
  }
}

/// The tensor with at least one axis: a scalar becomes a vector. Itself, or a view.
public func atLeast1D(_ x: Tensor) -> Tensor { x.rank >= 1 ? x : x.reshaped([1]) }

/// The tensor with at least two axes: a vector becomes a row. Itself, or a view.
public func atLeast2D(_ x: Tensor) -> Tensor {
  x.rank >= 2 ? x : x.reshaped([1, x.rank == 0 ? 1 : x.shape[0]])
}

/// The tensor with at least three axes: a vector becomes the middle one, a matrix the first two. Itself, or a
/// view.
public func atLeast3D(_ x: Tensor) -> Tensor {
  switch x.rank {
  case 0: x.reshaped([1, 1, 1])
  case 1: x.reshaped([1, x.shape[0], 1])
  case 2: x.reshaped(x.shape + [1])
  default: x
  }
}

// MARK: - Parts

/// A number of equal parts along an axis; views. The axis' length must be a multiple of it.
public func split(_ x: Tensor, _ parts: Int, axis: Int = 0) -> [Tensor] {
  if let poison = poisoned(x) { return Array(repeating: poison, count: max(parts, 0)) }
  guard let place = position(of: axis, rank: x.rank), parts > 0,
    x.withLayout({ $0.dims[place] }) % parts == 0
  else {
    let failure = fail(
      "split", "expected a length along axis \(axis) that \(parts) divides, got shape \(x.shape)",
      [x])
    return Array(repeating: failure, count: min(max(parts, 0), 1 << 16))
  }
  let length = x.withLayout { $0.dims[place] } / parts
  return Array(unsafeUninitializedCapacity: parts) { list, count in
    while count < parts {
      let part = x.part(place, count * length, (count + 1) * length)
      list.initializeElement(at: count, to: part)
      count += 1
    }
  }
}

/// The parts between positions along an axis, one more than there are positions; views. Positions that are
/// out of range are cut off, and one before another makes an empty part, as in NumPy.
public func split(_ x: Tensor, at positions: [Int], axis: Int = 0) -> [Tensor] {
  if let poison = poisoned(x) { return Array(repeating: poison, count: positions.count + 1) }
  guard let place = position(of: axis, rank: x.rank) else {
    let failure = fail("split", "axis \(axis) is out of range for shape \(x.shape)", [x])
    return Array(repeating: failure, count: positions.count + 1)
  }
  let length = x.shape[place]
  let bounds = [0] + positions.map { min(max($0 < 0 ? $0 + length : $0, 0), length) } + [length]
  return (0..<bounds.count - 1).map {
    x.part(place, bounds[$0], max(bounds[$0], bounds[$0 + 1]))
  }
}

// MARK: - Copies

extension Tensor {
  /// The elements moved on along an axis, those that fall off put in at its start; without an axis as if all
  /// axes were one. Negative shifts move back. A copy.
  public func rolled(by shift: Int, axis: Int? = nil) -> Tensor {
    if let axis { return rolled(by: [shift], axes: [axis]) }
    if let poison = poisoned(self) { return poison }
    return reshaped([-1]).rolled(by: [shift], axes: [0]).turned(into: shape)
  }

  /// The elements moved on along several axes, each by its own shift. A copy.
  public func rolled(by shifts: [Int], axes: [Int]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let places = axes.compactMap { position(of: $0, rank: rank) }
    if shifts.count != axes.count || places.count != axes.count {
      return fail(
        "rolled", "expected a shift for every axis, of shape \(shape), got \(shifts) along \(axes)",
        [self])
    }
    var result = self
    for (shift, axis) in zip(shifts, places) {
      let length = shape[axis]
      if length == 0 { continue }
      let kept = length - ((shift % length) + length) % length
      if kept == length { continue }
      result = concatenate(
        [result.part(axis, kept, length), result.part(axis, 0, kept)], axis: axis)
    }
    return result === self ? +self : result
  }

  /// Every element several times in a row along an axis; without an axis as if all axes were one. A copy.
  public func repeated(_ times: Int, axis: Int? = nil) -> Tensor {
    guard let axis else {
      if let poison = poisoned(self) { return poison }
      return reshaped([-1]).repeated(times, axis: 0)
    }
    if let poison = poisoned(self) { return poison }
    guard let place = position(of: axis, rank: rank) else {
      return fail("repeated", "axis \(axis) is out of range for shape \(shape)", [self])
    }
    if times < 0 { return fail("repeated", "expected no negative number, got \(times)", [self]) }
    if rank == LayoutTable.maxRank {
      return repeated(Array(repeating: times, count: shape[place]), axis: place)
    }
    var dims = shape
    dims.insert(times, at: place + 1)
    var result = shape
    let (length, overflow) = shape[place].multipliedReportingOverflow(by: times)
    result[place] = length
    if overflow || !fitsMemory(result) {
      return fail("repeated", "the result has too many elements for memory", [self])
    }
    return +expandedDims(at: place + 1).broadcast(to: dims).reshaped(result)
  }

  /// Every entry along an axis as often as its number says; without an axis as if all axes were one. A copy.
  public func repeated(_ times: [Int], axis: Int? = nil) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let axis else { return reshaped([-1]).repeated(times, axis: 0) }
    guard let place = position(of: axis, rank: rank) else {
      return fail("repeated", "axis \(axis) is out of range for shape \(shape)", [self])
    }
    if times.count != shape[place] || times.contains(where: { $0 < 0 }) {
      return fail(
        "repeated",
        "expected a number for each of \(shape[place]) entries, none negative, got \(times)",
        [self])
    }
    var numbers: [Int] = []
    var total = 0
    for count in times {
      let (sum, overflow) = total.addingReportingOverflow(count)
      total = sum
      if overflow || !fitsMemory([total]) {
        return fail("repeated", "the result has too many elements for memory", [self])
      }
    }
    numbers.reserveCapacity(total)
    for (entry, count) in times.enumerated() {
      numbers.append(contentsOf: repeatElement(entry, count: count))
    }
    return take(NDArray(numbers, shape: [total]), axis: place)
  }

  /// The tensor next to itself, so often along every axis; of fewer numbers than axes the last axes have
  /// them, and more make new axes. A copy.
  public func tiled(_ times: [Int]) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if times.contains(where: { $0 < 0 }) {
      return fail("tiled", "expected no negative number, got \(times)", [self])
    }
    let n = Swift.max(rank, times.count)
    if 2 * n > LayoutTable.maxRank {
      return fail("tiled", "expected at most \(LayoutTable.maxRank / 2) axes, got \(n)", [self])
    }
    let dims = Array(repeating: 1, count: n - rank) + shape
    let counts = Array(repeating: 1, count: n - times.count) + times
    var result: [Int] = []
    for (length, count) in zip(dims, counts) {
      let (product, overflow) = length.multipliedReportingOverflow(by: count)
      result.append(overflow ? -1 : product)
    }
    if result.contains(-1) || !fitsMemory(result) {
      return fail("tiled", "the result has too many elements for memory", [self])
    }
    var (pairs, wide): ([Int], [Int]) = ([], [])
    for (length, count) in zip(dims, counts) {
      pairs += [1, length]
      wide += [count, length]
    }
    return +reshaped(pairs).broadcast(to: wide).reshaped(result)
  }

  /// The tensor with a number around it: for every axis how many before and how many behind it. A copy.
  public func padded(_ widths: [(before: Int, after: Int)], with value: some TensorScalar = 0)
    -> Tensor
  {
    guard let dims = paddedDims(widths) else { return wrongPadding(widths) }
    if let poison = poisoned(self) { return poison }
    let number = value.weak
    if let message = dtype.isFloating ? nil : number.misfit(dtype) {
      return fail("padded", message, [self])
    }
    let around = Tensor.full(dims, value, dtype: dtype, constant: true)
    let strides = LayoutTable.contiguousStrides(dims)!.strides
    let region = LayoutTable.shared.intern(dims: shape, strides: strides)
    let start = zip(widths, strides).reduce(0) { $0 + $1.0.before * $1.1 }
    return Tensor.record(around, self) {
      Tensor(
        Tape.general(
          .setRegion, around.slot, slot, type: dtype.scalarType, shape: around.shapeID,
          attribute: region, payload: UInt64(bitPattern: Int64(start)), mode: $0))
    }
  }

  /// The tensor with some of its own elements around it. A copy.
  public func padded(_ widths: [(before: Int, after: Int)], mode: PaddingMode) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard paddedDims(widths) != nil else { return wrongPadding(widths) }
    var result = self
    for (axis, width) in widths.enumerated() where width.before + width.after > 0 {
      let length = shape[axis]
      if length == 0 {
        return fail("padded", "there is nothing along axis \(axis) of shape \(shape)", [self])
      }
      let numbers = (-width.before..<length + width.after).map { mode.position($0, length) }
      result = result.take(NDArray(numbers, shape: [numbers.count]), axis: axis)
    }
    return result === self ? +self : result
  }

  private func paddedDims(_ widths: [(before: Int, after: Int)]) -> [Int]? {
    if widths.count != rank { return nil }
    var dims: [Int] = []
    for (length, width) in zip(shape, widths) {
      let (a, over) = length.addingReportingOverflow(width.before)
      let (b, above) = a.addingReportingOverflow(width.after)
      if width.before < 0 || width.after < 0 || over || above { return nil }
      dims.append(b)
    }
    return fitsMemory(dims) ? dims : nil
  }

  private func wrongPadding(_ widths: [(before: Int, after: Int)]) -> Tensor {
    poisoned(self)
      ?? fail(
        "padded",
        "expected two widths for each axis of shape \(shape), none negative, got \(widths)", [self])
  }
}

/// Which elements of a tensor are put around it.
public enum PaddingMode: Sendable {
  /// The outermost one again and again.
  case edge
  /// Mirrored at the outermost one, which is not repeated.
  case reflect
  /// Mirrored, the outermost one included.
  case symmetric
  /// Those of the other end.
  case wrap

  /// The position that stands at `i`, which may be before 0 or behind the length.
  fileprivate func position(_ i: Int, _ length: Int) -> Int {
    func modulo(_ x: Int, _ n: Int) -> Int { (x % n + n) % n }
    switch self {
    case .edge: return min(max(i, 0), length - 1)
    case .wrap: return modulo(i, length)
    case .symmetric:
      let place = modulo(i, 2 * length)
      return place < length ? place : 2 * length - 1 - place
    case .reflect:
      if length == 1 { return 0 }
      let place = modulo(i, 2 * (length - 1))
      return place < length ? place : 2 * (length - 1) - place
    }
  }
}
