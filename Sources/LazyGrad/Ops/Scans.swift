// Running sums and products.

internal import LazyGradJIT

extension Tensor {
  /// The sum of every element and those before it along an axis, or in C order of all elements as a vector.
  ///
  /// Integers and bools are summed as int64. Sums of floats are rounded about once each, however many
  /// elements they are of.
  /// - Complexity: records one node, or two.
  public func cumsum(axis: Int? = nil) -> Tensor { scanned(.cumsum, axis) }

  /// The product of every element and those before it along an axis, or in C order of all elements as a
  /// vector.
  ///
  /// Integers and bools are multiplied as int64, which wraps around. The gradient is that of the products,
  /// whatever elements are zero, to any order.
  /// - Complexity: records one node, or two. The gradient takes 2 log2(length) passes over the elements.
  public func cumprod(axis: Int? = nil) -> Tensor { scanned(.cumprod, axis) }

  private func scanned(_ opcode: Opcode, _ axis: Int?) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let axis else { return reshaped([-1]).scanned(opcode, 0) }
    guard let place = position(of: axis, rank: rank) else {
      return fail(opcode.info.name, "axis \(axis) is out of range for shape \(shape)", [self])
    }
    return compose { r in
      let x = r.isFloating(r.x) ? r.x : r.cast(r.x, to: .int64)
      return r.scan(opcode, x, axis: place)
    }
  }
}

// MARK: - Derivative rules

enum ScanRules {
  /// An element's gradient is the sum of those of its own sum and of all behind it.
  static func cumsum(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let axis = p.tape[n].axis
    let turned = p.emit(
      .cumsum, type: p.type(n), shape: p.shape(n), flipped(p, g, axis), attribute: UInt32(axis))
    p.add(p.a(n), flipped(p, turned, axis))
  }

  private static func flipped(_ p: borrowing BackwardPass, _ x: UInt32, _ axis: Int) -> UInt32 {
    let layout = p.layout(x)
    if layout.count == 0 { return x }
    var strides = layout.strides
    strides[axis] = -strides[axis]
    return p.view(
      x, dims: layout.dims, strides: strides, offset: -strides[axis] * (layout.dims[axis] - 1))
  }

  /// That of the products written as products of pairs: in step `k` every element is multiplied by what
  /// stands `2^k` before it. On the way back each gets what has come from above times the other one.
  ///
  /// To divide products by elements would be wrong where these are zero.
  @inline(never)
  static func cumprod(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let x = p.a(n)
    let (axis, dims) = (p.tape[n].axis, p.layout(n).dims)
    let (length, type) = (dims[axis], p.type(n))
    let inner = dims[(axis + 1)...].reduce(1, *)
    let outer = dims[..<axis].reduce(1, *)
    if length < 2 || outer * inner == 0 { return p.add(x, g) }
    func shape(_ length: Int) -> LayoutID {
      LayoutTable.shared.intern(dims: [outer, length, inner])
    }
    /// All but so many elements at one end.
    func part(_ value: UInt32, of count: Int, from start: Int) -> UInt32 {
      p.view(
        value, dims: [outer, count, inner], strides: [length * inner, inner, 1],
        offset: start * inner)
    }
    func filled(_ number: Double, _ count: Int) -> UInt32 {
      p.emit(.copy, type: type, shape: shape(count), p.number(number, n))
    }
    func joined(_ a: UInt32, _ b: UInt32) -> UInt32 {
      p.emit(.concat, type: type, shape: shape(length), a, b, attribute: 1)
    }
    var level = p.reshaped(p.value(x), shape(length))
    var steps: [(distance: Int, level: UInt32, before: UInt32)] = []
    var distance = 1
    while distance < length {
      let before = joined(filled(1, distance), part(level, of: length - distance, from: 0))
      steps.append((distance, level, before))
      level = p.emit(.mul, level, before)
      distance *= 2
    }
    var gradient = p.reshaped(g, shape(length))
    for step in steps.reversed() {
      let own = p.emit(.mul, gradient, step.before)
      let others = p.emit(.mul, gradient, step.level)
      let moved = joined(
        part(others, of: length - step.distance, from: step.distance), filled(0, step.distance))
      gradient = p.emit(.add, own, moved)
    }
    p.add(x, p.reshaped(gradient, p.shape(x)))
  }
}
