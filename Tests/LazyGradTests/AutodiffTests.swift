// What backward passes do apart from the derivative rules: seeds, whose gradients appear and
// disappear, graphs that are cleared or kept, scopes without autodiff.

import LazyGrad
import TestSupport
import Testing

@Suite("Autodiff")
struct AutodiffTests {
  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }

  // MARK: Seeds

  @Test("Without a seed the sum is differentiated")
  func noSeed() {
    let x = Tensor([1.0, 2, 3])
    (x * x).backward()
    #expect(values(x.grad) == [2, 4, 6])
    (x * x).sum().backward()
    #expect(values(x.grad) == [2, 4, 6])
  }

  @Test("Seeds are cast and broadcast")
  func seeds() {
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    (x * 2).backward(Tensor([1.0, 10, 100]))
    #expect(values(x.grad) == [2, 20, 200, 2, 20, 200])
    (x * 2).backward(Tensor([[1], [3]]))
    #expect(values(x.grad) == [2, 2, 2, 6, 6, 6])
    (x * 2).backward(Tensor(0.5))
    #expect(values(x.grad) == [1, 1, 1, 1, 1, 1])
    let y = Tensor([Float(1), 2])
    y.backward(Tensor([0.25, 3.0]))
    #expect(y.grad!.dtype == .float32 && values(y.grad) == [0.25, 3])
  }

  @Test("The head has its seed as gradient")
  func head() {
    let x = Tensor([1.0, 2])
    let y = x * x
    y.backward(Tensor([3.0, 4]))
    #expect(values(y.grad) == [3, 4])
    let z = Tensor(2.0)
    z.backward()
    #expect(z.grad!.item() == 1)
    #expect(z.grad!.shape == [])
  }

  // MARK: Whose gradients, and when

  @Test("A pass replaces gradients, unless it is to accumulate")
  func replacing() {
    let x = Tensor([1.0, 2])
    (x * 3).backward()
    (x * 4).backward()
    #expect(values(x.grad) == [4, 4])
    let y = Tensor([1.0, 2])
    let first = y * 3
    let second = y * 4
    first.backward(retainGraph: true)
    second.backward(accumulate: true)
    #expect(values(y.grad) == [7, 7])
  }

  @Test("A graph that is kept can be differentiated again")
  func retained() {
    let x = Tensor([1.0, 2])
    let y = exp(x) * x
    y.backward(retainGraph: true)
    let once = values(x.grad)!
    y.backward(retainGraph: true)
    #expect(values(x.grad) == once)
    y.backward(retainGraph: true, accumulate: true)
    #expect(values(x.grad) == once.map { 2 * $0 })
    y.backward()
    #expect(values(x.grad) == once)
  }

  @Test("A new use clears the gradient; a view is no use")
  func clearing() {
    let x = Tensor([1.0, 2, 3])
    (x * 2).backward()
    let view = x[0..<2]
    _ = x.reshaped([3, 1])
    _ = x.transposed()
    #expect(values(x.grad) == [2, 2, 2])
    #expect(values(view.grad) == [2, 2])
    let y = x + 1
    #expect(x.grad == nil)
    _ = y
    (x * 2).backward()
    noAutodiff { _ = x + 1 }
    #expect(values(x.grad) == [2, 2, 2])
    x.nullGradient()
    #expect(x.grad == nil)
  }

  @Test("Held intermediates get gradients, constants and integers do not")
  func intermediates() {
    let x = Tensor([1.0, 2])
    let c = Tensor([3.0, 4], constant: true)
    let n = Tensor([5, 6])
    let y = x * c
    let z = exp(y * 0.1) + n
    z.backward()
    #expect(c.isConstant && n.isConstant && c.grad == nil && n.grad == nil)
    #expect(y.grad != nil && z.grad != nil)
    #expect(y.grad!.isConstant)
    let constant = c * 2
    #expect(constant.isConstant)
    constant.backward()
    #expect(c.grad == nil && constant.grad == nil)
    let mixed = n * 2
    #expect(mixed.dtype == .int64 && mixed.isConstant)
  }

  @Test("The gradient of a view is a view of its base's gradient")
  func views() {
    let x = Tensor([[1.0, 2], [3, 4]])
    let row = x[0]
    let turned = x.transposed()
    ((x * x).sum() + row.sum()).backward()
    #expect(values(x.grad) == [3, 5, 6, 8])
    #expect(values(row.grad) == [3, 5])
    #expect(values(turned.grad) == [3, 6, 5, 8])
    #expect(row.base === x && turned.base === x && x.base == nil)
    let whole = x.grad!.array
    #expect(row.grad!.array.sharesMemory(with: whole))
  }

  @Test("Views that are made after the pass have the gradient as well")
  func laterViews() {
    let x = Tensor([1.0, 2, 3])
    (x * x).backward()
    #expect(values(x[1...].grad) == [4, 6])
    #expect(values(x[1...][1...].grad) == [6])
  }

  @Test("Views lead to their base after a backward pass and after noAutodiff")
  func reconnected() {
    let x = Tensor([1.0, 2, 3])
    let v = noAutodiff { x[0..<2] }
    (v * v).backward()
    #expect(values(x.grad) == [2, 4, 0] && values(v.grad) == [2, 4])
    let y = x * 1
    let part = y[0..<2]
    (y * 2).backward()
    (part * 3).backward()
    #expect(values(y.grad) == [3, 3, 0] && values(part.grad) == [3, 3])
    #expect(values(x.grad) == [2, 2, 2])
    _ = part + 1
    #expect(values(part.grad) == [3, 3])
  }

  @Test("A gradient that nobody reads is not computed")
  func unread() {
    let x = Tensor([1.0, 2])
    let w = Tensor([3.0, 4])
    let loss = (x * w).sum()
    let before = loss.explain().kernels
    loss.backward()
    #expect(loss.explain().kernels == before)
    #expect(loss.item() == 11)
    #expect(values(w.grad) == [1, 2])
  }

  @Test("Dropped handles change nothing")
  func dropping() {
    let x = Tensor([0.5, 1])
    var y: Tensor? = x * x
    var z: Tensor? = exp(y!)
    y = nil
    let loss = z! * z!
    z = nil
    loss.backward()
    let expected = [0.5, 1].map { 4 * $0 * exp(Tensor(2 * $0 * $0)).item() }
    expectClose(values(x.grad)!, expected, 1e-14, "dropped")
  }

  @Test("The loss may be read before or after the pass", arguments: [false, true])
  func readingTheLoss(_ before: Bool) {
    let w = Tensor([[0.1, -0.2], [0.3, 0.4]])
    let x = Tensor([[1.0, 2], [3, 4], [5, 6]], constant: true)
    let loss = square(tanh(matmul(x, w)) - 0.5).mean()
    var value = 0.0
    if before { value = loss.item() }
    loss.backward()
    if !before { value = loss.item() }
    let gradient = values(w.grad)!
    let other = Tensor([[0.1, -0.2], [0.3, 0.4]])
    let again = square(tanh(matmul(x, other)) - 0.5).mean()
    again.backward()
    #expect(values(other.grad)! == gradient)
    #expect(again.item() == value)
  }

  // MARK: Cleared graphs

  @Test("A second head over a cleared part is refused, and nothing else is")
  func cleared() throws {
    let x = Tensor([1.0, 2])
    let shared = x * x
    let a = shared * 2
    let b = shared * 3
    a.backward()
    let before = values(x.grad)
    #expect {
      try catchingTensorErrors { b.backward() }
    } throws: { error in
      "\(error)".contains("cleared by an earlier backward pass") && error is TensorError
    }
    #expect(values(x.grad) == before)
    // The cleared part is a leaf of what is recorded from now on.
    let c = shared * 5
    try catchingTensorErrors { c.backward() }
    #expect(values(shared.grad) == [5, 5])
    // Other graphs over the same leaf.
    try catchingTensorErrors { (x * 7).backward() }
    #expect(values(x.grad) == [7, 7])
    // The same head again has nothing below it.
    try catchingTensorErrors { a.backward() }
    #expect(values(a.grad) == [1, 1])
  }

  @Test("Two heads over one leaf", arguments: [false, true])
  func twoHeads(_ reads: Bool) {
    let x = Tensor([1.0, 2])
    let a = x * 2
    let b = x * 3
    if reads { eval(a, b) }
    #expect(throws: TensorError.self) {
      try catchingTensorErrors {
        a.backward()
        b.backward()
      }
    }
    #expect(values(x.grad) == [2, 2])
  }

  @Test("clearGraph forgets the graph")
  func clearGraph() {
    let array = NDArray([1.0, 2])
    let x = Tensor(array, copy: false)
    let y = x * 2
    let z = y * 3
    #expect(!array.isWriteable)
    z.clearGraph()
    #expect(array.isWriteable)
    #expect(values(z) == [6, 12])
    z.backward()
    #expect(x.grad == nil && values(z.grad) == [1, 1])
  }

  // MARK: Without autodiff

  @Test("noAutodiff records nothing to differentiate")
  func scope() {
    let x = Tensor([1.0, 2])
    let y = noAutodiff { x * 2 }
    #expect(!y.isConstant)
    (y * 3).backward()
    #expect(x.grad == nil && values(y.grad) == [3, 3])
    let z = x * 5
    noAutodiff { z.backward() }
    #expect(x.grad == nil)
    z.backward()
    #expect(values(x.grad) == [5, 5])
  }

  private struct Stop: Error {}

  @Test("noAutodiff nests, wraps and ends with an error")
  func scopes() throws {
    let x = Tensor([1.0, 2])
    let y: Tensor = noAutodiff {
      noAutodiff { _ = x * 2 }
      return x * 3
    }
    y.backward()
    #expect(x.grad == nil)
    #expect(throws: Stop.self) { try noAutodiff { throw Stop() } }
    (x * 2).backward()
    #expect(values(x.grad) == [2, 2])
    let zero = noAutodiff(wrapping: { x * 4 })
    let one = noAutodiff(wrapping: { (a: Tensor) in a * 4 })
    let two = noAutodiff(wrapping: { (a: Tensor, b: Tensor) throws -> Tensor in a * b })
    let three = noAutodiff(wrapping: { (a: Tensor, b: Tensor, n: Int) -> Tensor in a * b * n })
    for result in [zero(), one(x), try two(x, x), three(x, x, 2)] {
      result.backward()
      #expect(values(result.grad) == [1, 1])
    }
    #expect(values(x.grad) == [2, 2])
    let failing = noAutodiff(wrapping: { (_: Int) throws -> Int in throw Stop() })
    #expect(throws: Stop.self) { try failing(1) }
  }

  @Test("noAutodiff across suspension points")
  func asynchronous() async throws {
    let x = Tensor([1.0, 2])
    let y = await noAutodiff {
      await Task.yield()
      return x * 2
    }
    y.backward()
    #expect(x.grad == nil)
    let wrapped = noAutodiff(wrapping: { (n: Int) async throws -> [Double] in
      await Task.yield()
      let t = Tensor([1.0])
      (t * n).backward()
      return t.grad?.elements(as: Double.self) ?? []
    })
    #expect(try await wrapped(3) == [])
    (x * 2).backward()
    #expect(values(x.grad) == [2, 2])
  }

  @Test("A detached tensor has the value and no graph")
  func detached() {
    let x = Tensor([1.0, 2])
    let y = x * x
    let z = y.detached()
    #expect(values(z) == [1, 4] && !z.isConstant)
    z.backward()
    #expect(x.grad == nil)
    #expect(y.detached(constant: true).isConstant)
    y.backward()
    #expect(values(x.grad) == [2, 4])
  }

  // MARK: gradients(of:)

  @Test("Gradients of what does not depend are zeros")
  func independent() {
    let x = Tensor([1.0, 2])
    let y = Tensor([[3.0]])
    let found = gradients(of: x * x, withRespectTo: [y, x])
    #expect(found[0].shape == [1, 1] && values(found[0]) == [0])
    #expect(values(found[1]) == [2, 4])
    let constant = Tensor([1.0], constant: true)
    #expect(values(gradients(of: constant * 2, withRespectTo: [x])[0]) == [0, 0])
  }

  @Test("Gradients with respect to intermediates and views")
  func inner() {
    let x = Tensor([1.0, 2, 3])
    let y = x * x
    let z = (y * y).sum()
    #expect(values(gradients(of: z, withRespectTo: [y])[0]) == [2, 8, 18])
    #expect(values(gradients(of: z, withRespectTo: [x])[0]) == [4, 32, 108])
  }

  @Test("Third derivative and Hessian-vector product")
  func higher() {
    let x = Tensor([1.0, 2])
    let first = gradients(of: x ** 4, withRespectTo: [x], createGraph: true)[0]
    let second = gradients(of: first, withRespectTo: [x], createGraph: true)[0]
    let third = gradients(of: second, withRespectTo: [x])[0]
    expectClose(values(first)!, [4, 32], 1e-14, "first")
    expectClose(values(second)!, [12, 48], 1e-14, "second")
    expectClose(values(third)!, [24, 48], 1e-14, "third")
    let slope = gradients(of: (x * x).sum() ** 2, withRespectTo: [x], createGraph: true)[0]
    let product = gradients(of: slope * Tensor([1.0, -1]), withRespectTo: [x])[0]
    // 4 (x x) v + 8 x (x v): 20 - 8 and -20 - 16
    expectClose(values(product)!, [12, -36], 1e-13, "product")
  }

  @Test("A gradient penalty can be trained on")
  func penalty() {
    let x = Tensor([1.0, 2])
    let slope = gradients(of: (x ** 3).sum(), withRespectTo: [x], createGraph: true)[0]
    square(slope).backward()
    // d/dx (3 x^2)^2 = 36 x^3
    expectClose(values(x.grad)!, [36, 288], 1e-13, "penalty")
  }

  // MARK: Evaluation at any point

  @Test("Evaluating and dropping at random points changes nothing", arguments: 0..<60)
  func randomPoints(_ seed: Int) {
    func run(_ isLazy: Bool) -> [[Double]] {
      var random = SeededRandom(seed: UInt64(seed))
      var coin = SeededRandom(seed: UInt64(seed + 1000))
      let leaves = (0..<3).map { k in Tensor((0..<4).map { 0.3 + 0.1 * Double($0 + k) }) }
      var pool = leaves
      for _ in 0..<14 {
        let a = random.pick(pool)
        let b = random.pick(pool)
        let fresh: Tensor
        switch random.int(0...9) {
        case 0: fresh = a + b
        case 1: fresh = a * b
        case 2: fresh = a - b * 0.5
        case 3: fresh = tanh(a)
        case 4: fresh = sigmoid(a) / (b * b + 1)
        case 5: fresh = a[.slice(step: -1)] + b
        case 6: fresh = concatenate([a[0..<2], b[2..<4]])
        case 7: fresh = a - a.mean()
        case 8:
          let c = a * 1
          c[1..<3] *= b[0..<2]
          fresh = c
        default: fresh = matmul(a.reshaped([2, 2]), b.reshaped([2, 2])).reshaped([4])
        }
        pool.append(fresh)
        // Both runs ask the coin the same questions, so that they drop the same handles.
        let point = coin.chance(0.4) ? coin.pick(pool) : nil
        if !isLazy { point?.eval() }
        if coin.chance(0.3), pool.count > 5 { pool.remove(at: coin.int(3...(pool.count - 1))) }
      }
      let loss = pool.suffix(4).reduce(Tensor(0.0, constant: true)) { $0 + $1.sum() }
      if coin.chance(0.5), !isLazy { loss.eval() }
      loss.backward()
      return ([loss] + leaves.map { $0.grad ?? Tensor([0.0]) }).map {
        $0.elements(as: Double.self)
      }
    }
    for (lazy, eager) in zip(run(true), run(false)) {
      expectClose(eager, lazy, 1e-12, "seed \(seed)")
    }
  }
}
