// When a value is computed, and together with what, must not change a bit of it: programs with
// everything left pending against the same ones with every step forced.

import LazyGrad
import Testing

@Suite struct ScheduleTests {
  /// Runs a program twice and compares all of its results bit by bit. It marks its steps; one of the
  /// two runs forces each of them at once.
  private func check(
    _ name: String, _ program: (_ step: (Tensor) -> Tensor) -> [Tensor]
  ) {
    let lazy = program { $0 }
    eval(lazy)
    let eager = program { $0.eval() }
    for (k, (a, b)) in zip(lazy, eager).enumerated() {
      let isSame = a.snapshot == b.snapshot
      #expect(isSame, "\(name): result \(k) has other bits")
    }
  }

  /// Reproducible numbers whose sums round.
  private func values(_ shape: [Int], _ salt: Int = 0) -> Tensor {
    let count = shape.reduce(1, *)
    let numbers = (0..<count).map { Float(($0 &* 7919 &+ salt &* 104_729) % 2003 - 1001) / 777 }
    return Tensor(NDArray(numbers, shape: shape))
  }

  /// Shapes with one chunk and with several, with rows that are no multiple of anything.
  private static let shapes = [
    [3, 7], [511], [1025], [70_000], [40, 33], [600, 257], [5000, 33], [700, 768], [9, 8191],
    [4099, 8], [66_000, 1],
  ]

  @Test(arguments: shapes)
  func sums(shape: [Int]) {
    let (a, b) = (values(shape), values(shape, 1))
    check("sum of everything") { step in [step(step(step(a * b) + a).sum())] }
    check("mean of squares") { step in
      let mean = step(a.mean())
      return [mean, step(step(step(a - mean) * step(b - 1)).mean())]
    }
    if shape.count == 2 {
      check("sum of columns") { step in
        let product = step(a * b)
        return [step(product.sum(axis: 0)), step(step(product + b).sum(axis: 0))]
      }
      check("sum of rows, and of those") { step in
        let rows = step(step(a * b).sum(axis: 1))
        return [rows, step(step(rows * 0.5).sum())]
      }
      check("softmax and its mean") { step in
        let p = step(softmax(step(a + b), axis: 1))
        return [p, step(p.sum(axis: 0)), step(step(p * a).sum())]
      }
    }
  }

  private static let productSizes = [
    (1, 9, 5), (4, 300, 7), (17, 64, 33), (130, 257, 40), (33, 20, 1), (2, 700, 65),
  ]

  @Test(arguments: productSizes)
  func products(m: Int, k: Int, n: Int) {
    let (x, w) = (values([m, k]), values([k, n], 1))
    let (h, u) = (values([m, 12], 2), values([12, n], 3))
    let bias = values([n], 4)
    check("recurrent step") { step in
      let sum = step(step(matmul(x, w)) + step(matmul(h, u)))
      let other = step(step(step(matmul(x, w)) + bias) + step(matmul(h, u)))
      return [step(tanh(step(sum + bias))), step(other.sum(axis: 0)), step(other.sum())]
    }
    check("a long sum of products") { step in
      var total = step(matmul(h, u))
      for i in 0..<60 { total = step(total + step(matmul(h * Double(i % 3 + 1), u))) }
      return [total]
    }
  }

  /// Gradients too: contributions are added in the order of the program, wherever something was read
  /// in between, and the values that they need are in memory or computed again.
  @Test func gradients() {
    func run(readsEvery n: Int) -> [TensorSnapshot] {
      let w = values([12, 12], 5)
      let u = values([6, 12], 6)
      var h = Tensor.zeros([40, 12], dtype: .float32, constant: true)
      for t in 1...30 {
        let a = matmul(values([40, 6], t), u)
        if t % n == 0 { a.eval() }
        let b = matmul(h, w) * 0.2
        if t % (n + 1) == 0 { b.eval() }
        h = tanh(a + b)
        if t % n == 0 { h.eval() }
      }
      let loss = (h * h).mean()
      if n == 2 { loss.eval() }
      loss.backward()
      return [loss, w.grad!, u.grad!].map(\.snapshot)
    }
    let expected = run(readsEvery: 100)
    for n in 1...5 { #expect(run(readsEvery: n) == expected, "read every \(n) steps") }
  }
}
