// Random draws: the generator's published answers, what a key determines, distributions, errors.

import Foundation
import LazyGrad
import Testing

@Suite("Random", .serialized)
struct RandomTests {
  private let key = RandomKey(2024)

  // MARK: The generator

  /// The first words of a key's stream, as they come out of whole numbers.
  private func words(_ key: RandomKey, _ count: Int) -> [UInt64] {
    let numbers = Tensor.randint([count], .min, .max, key: key).elements(as: Int64.self)
    // The range is one less than all numbers, which changes the last bit of few.
    return numbers.map { UInt64(bitPattern: $0 &- Int64.min) }
  }

  @Test("The streams of keys begin with the published answers of Philox4x32-10")
  func knownAnswers() {
    // Random123's test vector of key and counter 0; the counter of the next block is 1.
    let first = words(RandomKey(0), 2)
    let expected: [UInt64] = [0xE169_C58D_6627_E8D5, 0x9B00_DBD8_BC57_AC4C]
    for (x, y) in zip(first, expected) { #expect(x == y || x &+ 1 == y) }
    // Tensors are filled some blocks at a time, what is left block by block.
    let long = words(key, 57)
    for count in [1, 2, 3, 15, 16, 17, 31, 33] {
      #expect(words(key, count) == Array(long[..<count]))
    }
    for dtype in [DType.float32, .float64] {
      func fractions(_ count: Int) -> [Double] {
        Tensor.random([count], dtype: dtype, key: key).elements(as: Double.self)
      }
      let long = fractions(300)
      for count in 1...70 { #expect(fractions(count) == Array(long[..<count])) }
    }
  }

  @Test("Equal keys give equal numbers, others others")
  func keys() {
    func draw(_ key: RandomKey) -> [Double] {
      Tensor.random([4], key: key).elements(as: Double.self)
    }
    #expect(draw(key) == draw(RandomKey(2024)))
    let all =
      [key] + key.split(3) + [key.folded(in: 0), key.folded(in: 1), RandomKey(2025)]
      + key.split()[0].split()
    #expect(Set(all).count == all.count)
    #expect(Set(all.map { draw($0)[0] }).count == all.count)
    #expect(key.split(2) == Array(key.split(3)[..<2]) && key.split(0).isEmpty)
    // Published with the rest of the API: derived keys are part of what is reproducible.
    #expect(RandomKey(0).split(1)[0] != RandomKey(0))
  }

  @Test("The default stream begins anew with a seed")
  func seeds() {
    func draws() -> [Double] {
      (0..<3).flatMap { _ in Tensor.random([2]).elements(as: Double.self) }
        + Tensor.normal([2]).elements(as: Double.self)
    }
    seedRandom(7)
    let first = draws()
    let second = draws()
    seedRandom(7)
    #expect(draws() == first && first != second && Set(first).count == first.count)
    seedRandom(8)
    #expect(draws() != first)
  }

  @Test("Shapes, types and what is constant")
  func properties() {
    for x in [Tensor.random([2, 3], key: key), .normal([2, 3], key: key)] {
      #expect(x.shape == [2, 3] && x.dtype == .float64 && !x.isConstant && x.base == nil)
    }
    let single = Tensor.normal([3], dtype: .float32, key: key, constant: true)
    #expect(single.dtype == .float32 && single.isConstant)
    #expect(Tensor.randint([2], 0, 5, dtype: .uint8, key: key).dtype == .uint8)
    #expect(Tensor.bernoulli([2], 0.5, key: key).dtype == .bool)
    for shape in [[], [0], [3, 0], [1], [1, 1, 5]] {
      #expect(Tensor.normal(shape, key: key).shape == shape)
      #expect(Tensor.random(shape, key: key).shape == shape)
      #expect(Tensor.randint(shape, 0, 3, key: key).shape == shape)
    }
    let x = Tensor.normal([5], key: key)
    (x * x).sum().backward()
    #expect(x.grad!.elements(as: Double.self) == x.elements(as: Double.self).map { 2 * $0 })
    x[0] = Tensor(1.0)
    #expect(x[0].item() == 1)
  }

  // MARK: Distributions

  /// Mean, variance, skewness and kurtosis.
  private func moments(_ x: [Double]) -> (Double, Double, Double, Double) {
    let n = Double(x.count)
    let mean = x.reduce(0, +) / n
    func central(_ k: Int) -> Double {
      x.reduce(0) { sum, value in sum + (0..<k).reduce(1.0) { p, _ in p * (value - mean) } } / n
    }
    let variance = central(2)
    return (
      mean, variance, central(3) / (variance * variance.squareRoot()),
      central(4) / (variance * variance)
    )
  }

  @Test("Moments", arguments: [DType.float64, .float32])
  func moments(_ dtype: DType) {
    let n = 200_000
    let uniform = Tensor.uniform([n], -1, 3, dtype: dtype, key: key).elements(as: Double.self)
    let (mean, variance, skewness, kurtosis) = moments(uniform)
    #expect(abs(mean - 1) < 0.015 && abs(variance - 16.0 / 12) < 0.015)
    #expect(abs(skewness) < 0.02 && abs(kurtosis - 1.8) < 0.02)
    #expect(uniform.allSatisfy { $0 >= -1 && $0 < 3 })
    let normal = Tensor.normal([n + 1], mean: 2, std: 3, dtype: dtype, key: key)
      .elements(as: Double.self)
    let (m, v, s, k) = moments(normal)
    #expect(abs(m - 2) < 0.035 && abs(v - 9) < 0.15 && abs(s) < 0.03 && abs(k - 3) < 0.06)
    #expect(normal.allSatisfy { $0.isFinite })
    // Neighbours, and the halves that share their lengths, have nothing to do with each other.
    for lag in [1, n / 2, n / 2 + 1] {
      let pairs = zip(normal, normal.dropFirst(lag))
      let product = pairs.reduce(0) { $0 + ($1.0 - m) * ($1.1 - m) } / Double(n + 1 - lag)
      #expect(abs(product / v) < 0.015, "lag \(lag)")
    }
  }

  @Test(
    "A few normal numbers, without a plan, are those of one",
    arguments: [DType.float64, .float32, .float16, .bfloat16])
  func direct(_ dtype: DType) {
    for shape in [[], [0], [1], [2], [3], [3, 5], [16], [17], [255], [2, 128], [257]] {
      for (mean, std) in [(0.0, 1.0), (0.5, 2), (3, 0)] {
        let draws = [0, 1000].map { limit in
          RandomBits.$mostDirectPairs.withValue(limit) {
            Tensor.normal(shape, mean: mean, std: std, dtype: dtype, key: key)
              .elements(as: Double.self)
          }
        }
        let tolerance = std * [DType.float64: 1e-14, .float32: 1e-5][dtype, default: 0.05]
        #expect(draws[0].count == draws[1].count)
        #expect(
          zip(draws[0], draws[1]).allSatisfy { abs($0 - $1) <= tolerance }, "\(dtype) \(shape)")
      }
    }
  }

  @Test("Normal numbers have the right share in every interval")
  func intervals() {
    let n = 100_000
    let x = Tensor.normal([n], key: key).elements(as: Double.self)
    for bound in [-2.5, -1, -0.3, 0, 0.7, 1.5, 3] {
      let share = Double(x.filter { $0 < bound }.count) / Double(n)
      let expected = erfc(-bound / 2.0.squareRoot()) / 2
      #expect(abs(share - expected) < 4.5 * (expected * (1 - expected) / Double(n)).squareRoot())
    }
  }

  @Test("Whole numbers are evenly spread over any range")
  func integers() {
    let x = Tensor.randint([60_000], -2, 4, key: key).elements(as: Int.self)
    for value in -2..<4 {
      #expect(abs(x.filter { $0 == value }.count - 10_000) < 450)
    }
    #expect(x.allSatisfy { $0 >= -2 && $0 < 4 })
    #expect(Tensor.randint([3], 5, 6, key: key).elements(as: Int.self) == [5, 5, 5])
    let wide = Tensor.randint([1000], .min, .max, key: key).elements(as: Int.self)
    #expect(abs(wide.filter { $0 < 0 }.count - 500) < 80)
    let bytes = Tensor.randint([5000], 0, 256, dtype: .uint8, key: key).elements(as: Int.self)
    #expect(Set(bytes).count == 256)
  }

  @Test("Truth values have their probabilities")
  func bernoulli() {
    let flags = Tensor.bernoulli([50_000], 0.3, key: key)
    #expect(abs(flags.sum().item() - 15_000) < 500)
    #expect(Tensor.bernoulli([100], 0, key: key).sum().item() == 0)
    #expect(Tensor.bernoulli([100], 1, key: key).sum().item() == 100)
    let p = Tensor([0.0, 1, 0.5]).broadcast(to: [10_000, 3])
    let sums = Tensor.bernoulli(p, key: key).sum(axis: 0).elements(as: Int.self)
    #expect(sums[0] == 0 && sums[1] == 10_000 && abs(sums[2] - 5000) < 250)
  }

  @Test("Permutations are all as likely")
  func permutations() {
    let order = Tensor.permutation(100, key: key).elements(as: Int.self)
    #expect(order.sorted() == Array(0..<100) && order != Array(0..<100))
    var counts: [[Int]: Int] = [:]
    for i in 0..<6000 {
      let order = Tensor.permutation(3, key: key.folded(in: UInt64(i))).elements(as: Int.self)
      counts[order, default: 0] += 1
    }
    #expect(counts.count == 6 && counts.values.allSatisfy { abs($0 - 1000) < 150 })
    #expect(Tensor.permutation(0, key: key).shape == [0])
    let x = Tensor([[1.0, 2], [3, 4], [5, 6]])
    let y = Tensor.permutation(of: x, key: key)
    (y * Tensor([[1.0, 1], [1, 1], [1, 1]], constant: true)).sum().backward()
    #expect(y.sum().item() == 21 && x.grad!.sum().item() == 6)
  }

  @Test("Choices follow their probabilities, with replacement and without")
  func choices() {
    let p = [0.0, 1, 3, 0, 4, 0]
    let many = Tensor.choice(6, [40_000], p: p, key: key).elements(as: Int.self)
    for (value, weight) in p.enumerated() {
      let count = many.filter { $0 == value }.count
      #expect(abs(Double(count) - weight * 5000) < 450, "\(value): \(count)")
    }
    var first = [0, 0, 0]
    for i in 0..<4000 {
      let two = Tensor.choice(
        3, [2], replace: false, p: [1, 2, 1], key: key.folded(in: UInt64(i))
      ).elements(as: Int.self)
      #expect(two[0] != two[1])
      first[two[0]] += 1
    }
    #expect(abs(first[1] - 2000) < 150 && abs(first[0] - 1000) < 130)
    let all = Tensor.choice(10, [2, 5], replace: false, key: key)
    #expect(all.shape == [2, 5] && all.elements(as: Int.self).sorted() == Array(0..<10))
    #expect(Tensor.choice(3, [], key: key).shape == [])
    #expect(Tensor.choice(0, [0], key: key).shape == [0])
    let x = Tensor([[1.0, 2], [3, 4]])
    let y = Tensor.choice(from: x, [3, 4], key: key)
    #expect(y.shape == [3, 4, 2])
    y.sum().backward()
    #expect(x.grad!.sum().item() == 24)
  }

  @Test("Dropout keeps the mean, and the gradient where it keeps the element")
  func dropouts() {
    let x = Tensor.ones([10_000], dtype: .float64)
    let y = dropout(x, 0.25, key: key)
    y.backward()
    let values = y.elements(as: Double.self)
    #expect(Set(values) == [0, 1 / 0.75] && x.grad!.elements(as: Double.self) == values)
    #expect(abs(y.sum().item() - 10_000) < 250)
    let bad = Tensor([Double.nan, .infinity])
    #expect(dropout(bad, 0.999999, key: key).elements(as: Double.self) == [0, 0])
    #expect(dropout(x, 0).elements(as: Double.self) == x.elements(as: Double.self))
  }

  @Test("Draws are the same for any number of threads and inside noAutodiff")
  func threads() async {
    let expected = Tensor.normal([1000], key: key).elements(as: Double.self)
    await withTaskGroup(of: [Double].self) { group in
      for _ in 0..<4 {
        group.addTask { [key] in Tensor.normal([1000], key: key).elements(as: Double.self) }
      }
      for await values in group { #expect(values == expected) }
    }
    #expect(noAutodiff { Tensor.normal([1000], key: key) }.elements(as: Double.self) == expected)
  }

  // MARK: Initialisers

  @Test("Initialisers have the published deviations")
  func initializers() {
    func deviation(_ x: Tensor) -> Double { x.var().item().squareRoot() }
    func largest(_ x: Tensor) -> Double { abs(x).max().item() }
    let shape = [200, 300]
    let kernel = [20, 30, 4, 5]
    func near(_ x: Double, _ y: Double) -> Bool { abs(x / y - 1) < 0.02 }
    #expect(near(largest(Initializer.glorotUniform(shape, key: key)), (6.0 / 500).squareRoot()))
    #expect(near(deviation(Initializer.glorotNormal(shape, key: key)), (2.0 / 500).squareRoot()))
    #expect(near(deviation(Initializer.glorotNormal(kernel, key: key)), (2.0 / 1000).squareRoot()))
    #expect(near(largest(Initializer.heUniform(shape, gain: 1, key: key)), 0.1))
    #expect(near(largest(Initializer.heUniform(kernel, key: key)), (6.0 / 600).squareRoot()))
    #expect(near(deviation(Initializer.heNormal(shape, key: key)), (2.0 / 300).squareRoot()))
    #expect(near(deviation(Initializer.lecunNormal(shape, key: key)), (1.0 / 300).squareRoot()))
    #expect(near(largest(Initializer.lecunUniform(shape, key: key)), 0.1))
    let dirac = Initializer.dirac([2, 3, 3])
    #expect(
      dirac.elements(as: Double.self) == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    #expect(!dirac.isConstant && dirac.base == nil)
    #expect(Initializer.glorotNormal([0, 3]).count == 0)
  }

  // MARK: Errors

  @Test("What is wrong is said", arguments: 0..<24)
  func errors(_ k: Int) {
    let calls: [(String, () -> Tensor)] = [
      ("uniform", { .uniform([2], 1, 0) }), ("uniform", { .uniform([2], 0, .infinity) }),
      ("uniform", { .uniform([2], .nan, 1) }), ("uniform", { .random([-1]) }),
      ("uniform", { .random([2], dtype: .int64) }), ("normal", { .normal([2], std: -1) }),
      ("normal", { .normal([2], mean: .nan) }), ("normal", { .normal([2], dtype: .bool) }),
      ("normal", { .normal([-2]) }),
      ("randint", { .randint([2], 3, 3) }), ("randint", { .randint([2], 0, 300, dtype: .uint8) }),
      ("randint", { .randint([2], 0, 3, dtype: .float32) }),
      ("bernoulli", { .bernoulli([2], 1.5) }), ("bernoulli", { .bernoulli([2], .nan) }),
      ("permutation", { .permutation(-1) }), ("permutation", { .permutation(of: Tensor(1.0)) }),
      ("choice", { .choice(0, [1]) }), ("choice", { .choice(2, [3], replace: false) }),
      ("choice", { .choice(2, [1], p: [1]) }), ("choice", { .choice(2, [1], p: [1, -1]) }),
      ("choice", { .choice(3, [2], replace: false, p: [1, 0, 0]) }),
      ("choice", { .choice(from: Tensor(1.0), [1]) }),
      ("dropout", { dropout(Tensor([1.0]), 1) }),
      ("heNormal", { Initializer.heNormal([3]) }),
    ]
    let error = #expect(throws: TensorError.self) { try catchingTensorErrors(calls[k].1) }
    #expect(error?.operation == calls[k].0)
  }
}
