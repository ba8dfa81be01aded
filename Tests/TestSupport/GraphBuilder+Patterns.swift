// What real programs look like, several nodes at a time: softmax, normalisation, dense and
// recurrent layers with their gradients, diamonds.

import LazyGradJIT

extension GraphBuilder {
  /// Adds a random pattern, or as much of it as passes the check.
  func pattern() {
    switch prefersExact ? random.int(4...5) : random.weighted([3, 3, 3, 1, 3, 3]) {
    case 0: _ = softmax()
    case 1: _ = normalised()
    case 2: _ = dense()
    case 3: recurrence()
    case 4: diamond()
    default: chain()
    }
  }

  private func chooseWithAxes() -> Int {
    choose { self.type($0).isComputedFloat && !self.dims($0).isEmpty } ?? leaf()
  }

  /// A run of axes, mostly the last one.
  private func someAxes(_ rank: Int) -> Range<Int> {
    if random.chance(0.6) { return (rank - 1)..<rank }
    let first = random.int(0...(rank - 1))
    return first..<random.int((first + 1)...rank)
  }

  /// `exp(x - max x) / sum exp(x - max x)`, sometimes with its logarithm.
  func softmax() -> Int? {
    let x = chooseWithAxes()
    if dims(x).isEmpty { return nil }
    let axes = someAxes(dims(x).count)
    guard let top = reduce(.max, x, axes, keepDims: true), let d = binary(.sub, x, top),
      let e = unary(.exp, d), let s = reduce(.sum, e, axes, keepDims: true)
    else { return nil }
    if random.chance(0.3), let logSum = unary(.log, s) { _ = binary(.sub, d, logSum) }
    return binary(.div, e, s)
  }

  /// `(x - mean) / sqrt(var + eps)`.
  func normalised() -> Int? {
    let x = chooseWithAxes()
    if dims(x).isEmpty { return nil }
    let axes = someAxes(dims(x).count)
    let factor = 1 / Double(max(dims(x)[axes].reduce(1, *), 1))
    guard let sum = reduce(.sum, x, axes, keepDims: true),
      let mean = binary(.mul, sum, number(factor, type(x))), let d = binary(.sub, x, mean),
      let square = unary(.square, d), let squares = reduce(.sum, square, axes, keepDims: true),
      let variance = binary(.mul, squares, number(factor, type(x))),
      let shifted = binary(.add, variance, number(0.01, type(x))),
      let deviation = unary(.sqrt, shifted)
    else { return nil }
    if random.chance(0.5), let inverse = unary(.reciprocal, deviation) {
      return binary(.mul, d, inverse)
    }
    return binary(.div, d, deviation)
  }

  /// A factor that keeps the sums of a product of this inner length near 1.
  private func scaled(_ a: Int) -> Int? {
    let k = Double(max(dims(a).last ?? 1, 1))
    return binary(.mul, a, number(1 / k.squareRoot(), type(a)))
  }

  /// A matrix `[K, N]` that `x` can be multiplied with, a transposed view half of the time.
  private func weights(_ k: Int, _ n: Int, _ type: ScalarType) -> Int? {
    random.chance(0.5) ? leaf([k, n], type) : transposed(leaf([n, k], type))
  }

  private func activation(_ x: Int) -> Int? {
    unary(random.pick([.tanh, .sigmoid, .relu, .tanh, .erf]), x)
  }

  /// `act(x @ W + b)`, sometimes with the gradient of `W`: `x^T @ y`.
  func dense() -> Int? {
    let x = choose { self.type($0).isComputedFloat && self.dims($0).count >= 2 } ?? leaf()
    guard dims(x).count >= 2 else { return nil }
    let n = random.chance(0.5) ? dims(x).last! : random.pick([1, 3, 4, 8, 16, 17, 33])
    guard let w = weights(dims(x).last!, n, type(x)), let small = scaled(x),
      let product = matmul(small, w), let sum = binary(.add, product, leaf([n], type(x))),
      let y = activation(sum)
    else { return nil }
    if random.chance(0.5), let left = transposed(x) { _ = matmul(left, y) }
    return y
  }

  /// `h = tanh(x_t @ Wx + h @ Wh + b)` over some steps, each `x_t` a slice of one array, and the
  /// gradient of `Wh` as a sum of products.
  func recurrence() {
    let steps = random.int(2...6)
    let rows = random.pick([1, 2, 3, 8, 9])
    let width = random.pick([1, 4, 5, 8, 16, 17])
    let inputs = random.pick([1, 3, 8])
    let type = mainType
    let xs = leaf([steps, rows, inputs], type)
    guard let wx = weights(inputs, width, type), let wh = weights(width, width, type),
      let xView = leafViews[xs]
    else { return }
    let bias = leaf([width], type)
    let storage = leaves[Int(nodes[xs].slot)].storage
    var h = leaf([rows, width], type)
    var states = [h]
    for t in 0..<steps {
      var slice = xView
      slice.offset += t * slice.strides[0]
      slice.dims.removeFirst()
      slice.strides.removeFirst()
      guard let fromX = matmul(addLeaf(type, slice, storage), wx), let fromH = matmul(h, wh),
        let sum = binary(.add, fromX, fromH),
        let all = binary(.add, sum, bias), let quarter = binary(.mul, all, number(0.25, type)),
        let next = unary(.tanh, quarter)
      else { return }
      h = next
      states.append(h)
    }
    guard random.chance(0.7) else { return }
    var gradient: Int?
    for t in (1..<states.count).reversed() {
      guard let square = unary(.square, states[t]),
        let slope = binary(.sub, number(1, type), square), let left = transposed(states[t - 1]),
        let term = matmul(left, slope)
      else { return }
      gradient = gradient.map { binary(.add, $0, term) } ?? term
      if gradient == nil { return }
    }
  }

  /// `f(x) op g(x)`.
  private func diamond() {
    let x = chooseFloat()
    guard let f = unary(someUnary(), x), let g = unary(someUnary(), x),
      type(f).isFloating
    else { return }
    guard let both = binary(random.pick([.add, .sub, .mul, .maximum]), f, g) else { return }
    if random.chance(0.5) { _ = binary(.mul, both, x) }
  }

  /// A run of elementwise operations over one shape.
  private func chain() {
    var x = chooseFloat()
    for _ in 0..<random.int(3...12) {
      let next =
        random.chance(0.5)
        ? unary(someUnary(), x)
        : binary(random.pick([.add, .mul, .sub]), x, partner(of: x))
      if let next, type(next).isFloating { x = next }
    }
  }
}
