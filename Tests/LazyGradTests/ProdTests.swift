// Products of elements: values of every element type, shape and special number, and derivatives of
// every order where elements are zero, against the obvious loops.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct ProdTests {
  /// The product of some elements without some of them.
  private static func product(_ x: [Double], without others: Int...) -> Double {
    x.indices.reduce(1.0) { others.contains($1) ? $0 : $0 * x[$1] }
  }

  private func expectClose(
    _ actual: [Double], _ expected: [Double], _ tolerance: Double, _ what: String
  ) {
    #expect(actual.count == expected.count, "\(what)")
    for (k, (x, y)) in zip(actual, expected).enumerated() {
      #expect(
        x == y || (x.isNaN && y.isNaN) || abs(x - y) <= tolerance * abs(y),
        "\(what), element \(k): expected \(y), got \(x)")
    }
  }

  // MARK: Values

  @Test func typesAndShapes() {
    let flags = Tensor([[true, false], [true, true]])
    #expect(flags.prod(axis: 1).dtype == .int64)
    #expect(flags.prod(axis: 1).elements(as: Int.self) == [0, 1])
    let bytes = Tensor(NDArray([200, 3, 5], dtype: .uint8))
    #expect(bytes.prod().item(as: Int.self) == 3000)
    let narrow = Tensor(NDArray([Int32.max, 2], dtype: .int32))
    #expect(narrow.prod().item(as: Int.self) == 2 * Int(Int32.max))
    let wide = [Int64.max, 3, -5, 1 << 40, 77]
    #expect(Tensor(NDArray(wide)).prod().item(as: Int64.self) == wide.reduce(1, &*))
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    #expect(x.prod().shape == [])
    #expect(x.prod(keepDims: true).shape == [1, 1])
    #expect(x.prod(axis: -1, keepDims: true).elements(as: Double.self) == [6, 120])
    #expect(x.prod(axes: []).elements(as: Double.self) == [1, 2, 3, 4, 5, 6])
    #expect(x.transposed().prod(axis: 0).elements(as: Double.self) == [6, 120])
    #expect(x[.all, .slice(step: -2)].prod(axis: 1).elements(as: Double.self) == [3, 24])
  }

  @Test(arguments: [DType.float32, .float64, .int64, .int32, .uint8, .bool])
  func ofNothing(_ type: DType) {
    let x = Tensor(NDArray.zeros([2, 0, 3], dtype: type))
    let isFloating = type == .float32 || type == .float64
    for (axes, shape) in [([1], [2, 3]), ([0, 1], [3]), ([1, 2], [2]), ([0, 1, 2], [])] {
      let result = x.prod(axes: axes)
      #expect(result.dtype == (isFloating ? type : .int64) && result.shape == shape)
      #expect(result.elements(as: Double.self).allSatisfy { $0 == 1 }, "\(type) \(axes)")
    }
    #expect(x.prod(axis: 0).shape == [0, 3] && x.prod(axis: 2).shape == [2, 0])
    #expect(Tensor(NDArray.zeros([2, 0], dtype: type)).prod(axis: 1).count == 2)
    let y = Tensor(NDArray.zeros([2, 0], dtype: .float64))
    y.prod(axis: 1).backward()
    #expect(y.grad!.shape == [2, 0])
  }

  @Test func specialNumbers() {
    func product(_ x: Double...) -> Double { Tensor(x).prod().item() }
    #expect(product(.infinity, -2) == -.infinity)
    #expect(product(.infinity, 0).isNaN)
    #expect(product(1, .nan, 0).isNaN)
    #expect(product(-0.0, 3).sign == .minus && product(-0.0, -3).sign == .plus)
    #expect(product(-0.0).sign == .minus)
    #expect(product(1e200, 1e200) == .infinity && product(1e-200, 1e-200) == 0)
  }

  /// Each of n - 1 products is rounded, in whatever order.
  @Test(arguments: [10, 513, 5_000, 1_000_003])
  func accuracy(_ count: Int) {
    var random = SeededRandom(seed: UInt64(count))
    let x = (0..<count).map { _ in Float(1 + random.uniform(-1...1) / Double(count)) }
    let exact = x.reduce(1.0) { $0 * Double($1) }
    for shape in [[count], [1, count], [count, 1]] {
      let single = Tensor(NDArray(x, shape: shape))
      let bound = Double(count) * 0x1p-24
      #expect(abs(single.prod().item(as: Double.self) - exact) <= bound * exact)
      let axis = shape.first == 1 ? 1 : 0
      let found = single.prod(axis: axis).sum().item(as: Double.self)
      #expect(abs(found - exact) <= bound * exact, "\(shape)")
      let double = single.cast(to: .float64).prod(axis: axis).sum().item()
      #expect(abs(double - exact) <= Double(count) * 0x1p-52 * exact)
    }
  }

  /// Which threads there are changes no bit.
  @Test func threads() {
    let x = Tensor(
      NDArray((0..<1_500_000).map { 1 + Float($0 * 7919 % 1013 - 506) / 1e7 }, shape: [3000, 500]))
    func results() -> [[Double]] {
      [x.prod(), x.prod(axis: 0), x.prod(axis: 1), x.reshaped([3, 500_000]).prod(axis: 1)].map {
        $0.elements(as: Double.self)
      }
    }
    let before = LazyGradEngine.threads
    defer { LazyGradEngine.threads = before }
    LazyGradEngine.threads = 1
    let one = results()
    LazyGradEngine.threads = 4
    #expect(results() == one)
    #expect(one.allSatisfy { $0.allSatisfy { $0 > 0.5 && $0 < 2 } })
  }

  // MARK: Derivatives

  /// Runs of every length up to the next powers of two, with none, one, some or all elements zero.
  private static let runs: [[Double]] = {
    var random = SeededRandom(seed: 11)
    var runs: [[Double]] = []
    for count in [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33] {
      let x = (0..<count).map { _ in random.uniform(0.5...1.5) * (random.chance(0.5) ? 1 : -1) }
      runs.append(x)
      for zeros in [1, 2, 3, count] where zeros <= count {
        var with = x
        for place in Array(0..<count).shuffled(using: &random).prefix(zeros) { with[place] = 0 }
        runs.append(with)
      }
    }
    return runs
  }()

  /// The derivative by each element is the product of the others; by two, that of all but these.
  private func checkDerivatives(_ run: [Double]) {
    let n = run.count
    let weights = (0..<n).map { 0.25 + Double($0 % 5) }
    let x = Tensor(run)
    let first = gradients(of: x.prod(), withRespectTo: [x], createGraph: true)[0]
    expectClose(
      first.elements(as: Double.self), run.indices.map { Self.product(run, without: $0) }, 1e-13,
      "first of \(run)")
    let slope = (first * Tensor(weights)).sum()
    let second = gradients(of: slope, withRespectTo: [x], createGraph: true)[0]
    expectClose(
      second.elements(as: Double.self),
      run.indices.map { k in
        run.indices.reduce(0.0) {
          $1 == k ? $0 : $0 + weights[$1] * Self.product(run, without: k, $1)
        }
      }, 1e-10, "second of \(run)")
    if n > 9 { return }
    let bend = (second * Tensor(weights.map { $0 * $0 })).sum()
    let third = gradients(of: bend, withRespectTo: [x])[0]
    var expected = [Double](repeating: 0, count: n)
    for l in 0..<n {
      for k in 0..<n where k != l {
        for i in 0..<n where i != k && i != l {
          expected[l] += weights[k] * weights[k] * weights[i] * Self.product(run, without: i, k, l)
        }
      }
    }
    expectClose(third.elements(as: Double.self), expected, 1e-9, "third of \(run)")
  }

  @Test(arguments: [10, 100_000] as [UInt32])
  func derivativesAtZeros(_ windowRecords: UInt32) {
    ConcurrencyTests.onNewThread {
      Tape.withLimits(TapeLimits(windowRecords: windowRecords)) {
        for run in Self.runs { checkDerivatives(run) }
      }
    }
  }

  /// Along every axis, of views, and with a seed.
  @Test func axes() {
    var random = SeededRandom(seed: 3)
    for dims in [[3, 5], [2, 3, 4], [4, 1, 3], [2, 2, 3, 2], [1, 6], [7, 1]] {
      let values = (0..<dims.reduce(1, *)).map { _ in
        random.chance(0.2) ? 0 : random.uniform(-2...2)
      }
      let x = Tensor(NDArray(values, shape: dims))
      for axis in dims.indices {
        for isTurned in [false, true] {
          let y = isTurned ? x.transposed() : x
          let along = isTurned ? dims.count - 1 - axis : axis
          let result = y.prod(axis: along, keepDims: true)
          let seed = (0..<result.count).map { Double($0 + 1) / 4 }
          result.backward(Tensor(NDArray(seed, shape: result.shape)))
          let inner = dims[(axis + 1)...].reduce(1, *)
          let seeds = NDArray(seed, shape: result.shape)
          let seedOf = Tensor(seeds).broadcast(to: y.shape)
          let spread = (isTurned ? seedOf.transposed() : seedOf).elements(as: Double.self)
          let expected = values.indices.map { k in
            let place = k / inner % dims[axis]
            return (0..<dims[axis]).reduce(spread[k]) {
              $1 == place ? $0 : $0 * values[k + ($1 - place) * inner]
            }
          }
          expectClose(
            x.grad!.elements(as: Double.self), expected, 1e-13, "\(dims) \(axis) \(isTurned)")
        }
      }
    }
  }

  /// Whether the whole product is in range doesn't matter.
  @Test func outOfRange() {
    func gradient(_ x: [Double]) -> [Double] {
      let x = Tensor(x)
      x.prod().backward()
      return x.grad!.elements(as: Double.self)
    }
    expectClose(gradient([1e-200, 1e-200, 1e300]), [1e100, 1e100, 0], 1e-12, "underflow")
    expectClose(gradient([1e200, 1e-150, 1e200]), [1e50, .infinity, 1e50], 1e-12, "overflow")
    expectClose(gradient([.infinity, 2, 3]), [6, .infinity, .infinity], 0, "infinity")
    expectClose(gradient([.nan, 2, 3]), [6, .nan, .nan], 0, "not a number")
  }

  @Test func longRuns() {
    let count = 100_000
    let offsets = (0..<count).map { $0 * 7919 % 1013 - 506 }
    let values = offsets.map { 1 + Double($0) / 1e6 }
    let product = values.reduce(1, *)
    let x = Tensor(NDArray(values, shape: [count]))
    x.prod().backward()
    let g = x.grad!.elements(as: Double.self)
    #expect(g.indices.allSatisfy { abs(g[$0] * values[$0] - product) <= 1e-10 * product })
  }

  @Test func singlePrecision() {
    let x = Tensor(NDArray([0, 2, 3, 0.5] as [Float]))
    x.prod().backward()
    #expect(x.grad!.dtype == .float32)
    #expect(x.grad!.elements(as: Float.self) == [3, 0, 0, 0])
  }
}
