// Passes that add their gradients up, over uses of the same tensors in between.

import LazyGrad
import LazyGradJIT
import Testing

@Suite("Passes that add up")
struct AccumulateTests {
  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }

  @Test("Micro-batches add up", arguments: [false, true])
  func microBatches(_ reads: Bool) {
    let w = Tensor([1.0, 2])
    (w * w).sum().backward(accumulate: true)
    if reads { #expect(values(w.grad) == [2, 4]) }
    let loss = (3 * w).sum()
    #expect(values(w.grad) == [2, 4])
    loss.backward(accumulate: true)
    #expect(values(w.grad) == [5, 7])
    for _ in 0..<3 { (w * Tensor([10.0, 1])).sum().backward(accumulate: true) }
    #expect(values(w.grad) == [35, 10])
  }

  @Test("As many passes as one over everything")
  func equalsOnePass() {
    func data(_ k: Int) -> Tensor {
      Tensor((0..<6).map { Double(($0 * 7 + k * 5) % 11) - 4 }, constant: true).reshaped([2, 3])
    }
    func loss(_ w: Tensor, _ b: Tensor, _ k: Int) -> Tensor {
      square(tanh(matmul(data(k), w) + b)).sum()
    }
    let (w, b) = (Tensor([[0.5, -1], [0.25, 2], [1, 0]]), Tensor([0.1, -0.2]))
    for k in 0..<5 {
      let part = loss(w, b, k)
      part.backward(accumulate: true)
      if k % 2 == 0 { _ = part.item() }
    }
    let (w2, b2) = (+w.detached(), +b.detached())
    let whole = gradients(
      of: (0..<5).map { loss(w2, b2, $0) }.reduce(Tensor(0.0)) { $0 + $1 },
      withRespectTo: [w2, b2])
    for (sum, expected) in [(w.grad, whole[0]), (b.grad, whole[1])] {
      for (x, y) in zip(values(sum)!, values(expected)!) { #expect(abs(x - y) < 1e-12) }
    }
  }

  @Test("An ordinary pass replaces, and its gradient ends with a new use")
  func ordinaryPasses() {
    let w = Tensor([1.0, 2])
    (w * w).backward(accumulate: true)
    (3 * w).backward()
    #expect(values(w.grad) == [3, 3])
    _ = w * 2
    #expect(w.grad == nil)
    (w * 2).backward()
    (w * 3).backward(accumulate: true)
    #expect(values(w.grad) == [3, 3])
    // On one graph the gradient of an ordinary pass is there to be added to.
    let y = w * 5
    y.backward(retainGraph: true)
    y.backward(accumulate: true)
    #expect(values(w.grad) == [10, 10])
    _ = w * 2
    #expect(values(w.grad) == [10, 10])
  }

  @Test("nullGradient and updates in place end it")
  func ends() {
    let w = Tensor([1.0, 2])
    (w * w).backward(accumulate: true)
    w.nullGradient()
    #expect(w.grad == nil)
    (w * 3).backward(accumulate: true)
    #expect(values(w.grad) == [3, 3])
    noAutodiff { w -= 0.5 * w.grad! }
    #expect(w.grad == nil)
    #expect(values(w) == [-0.5, 0.5])
    (w * 4).backward(accumulate: true)
    #expect(values(w.grad) == [4, 4])
    _ = noAutodiff { w * 2 }
    #expect(values(w.grad) == [4, 4])
  }

  @Test("Views show the sum of their base, intermediate values have their own")
  func viewsAndHeads() {
    let w = Tensor([1.0, 2, 3])
    let v = w[0..<2]
    for _ in 0..<3 { (v * v).sum().backward(accumulate: true) }
    #expect(values(w.grad) == [6, 12, 0])
    #expect(values(v.grad) == [6, 12])
    (w * v.sum()).sum().backward(accumulate: true)
    #expect(values(w.grad) == [15, 21, 3])
    let h = w * 2
    h.backward(retainGraph: true, accumulate: true)
    #expect(values(h.grad) == [1, 1, 1])
    _ = h + 1
    h.backward(retainGraph: true, accumulate: true)
    #expect(values(h.grad) == [2, 2, 2])
    // A gradient of ones that an ordinary pass has left is added to.
    let y = w * 1
    y.backward(retainGraph: true)
    y.backward(accumulate: true)
    #expect(values(y.grad) == [2, 2, 2])
    #expect(values(w.grad) == [2, 2, 2])
  }

  @Test("A copy takes the sum along and goes on adding")
  func copies() {
    let w = Tensor([1.0, 2])
    (w * w).backward(accumulate: true)
    let copy = w.copy()
    (copy * 3).backward(accumulate: true)
    #expect(values(copy.grad) == [5, 7] && values(w.grad) == [2, 4])
    (w * 3).backward()
    let plain = w.copy()
    _ = plain + 1
    #expect(plain.grad == nil)
  }

  @Test("Recorded passes and windows that were seen make no difference")
  func recordedPasses() {
    PassCache.shared.removeAll()
    let w = Tensor(NDArray.ones([3]))
    func loss() -> Tensor { square(tanh(w * 2) * sin(w) + exp(w) - w / 3).sum() }
    for round in 1...6 {
      loss().backward()
      let single = values(w.grad)!
      w.nullGradient()
      for _ in 0..<round { loss().backward(accumulate: true) }
      for (sum, part) in zip(values(w.grad)!, single) {
        #expect(abs(sum - Double(round) * part) <= 1e-12 * abs(sum))
      }
    }
  }

  @Test("The sum stays when tapes are joined")
  func joinedTapes() async {
    struct Moved: @unchecked Sendable { let tensor: Tensor }
    let w = await Task.detached { () -> Moved in
      let w = Tensor([1.0, 2])
      (w * w).backward(accumulate: true)
      return Moved(tensor: w)
    }.value.tensor
    let factor = await Task.detached { Moved(tensor: +Tensor([3.0, 3], constant: true)) }.value
      .tensor
    (w * factor).backward(accumulate: true)
    #expect(values(w.grad) == [5, 7])
  }

  @Test("Memory is flat over many micro-batches", arguments: [0, 1, 2])
  func memory(_ reads: Int) {
    let w = Tensor(NDArray.ones([64, 64]))
    let view = reads == 2 ? w[0..<32] : nil
    func step(_ k: Int) {
      let x = Tensor(NDArray.full([8, 64], Double(k % 3)), constant: true)
      let loss = square(view.map { $0 * 0.5 } ?? matmul(x, w)).sum()
      loss.backward(accumulate: true)
      if reads == 0 { _ = loss.item() } else { w.grad!.eval() }
    }
    for k in 0..<20 { step(k) }
    let early = tapeUse()
    for k in 20..<1020 { step(k) }
    let late = tapeUse()
    #expect(late.live <= early.live && late.held <= early.held, "\(early) \(late)")
    #expect(w.grad![0, 0].item() > 0)
  }
}
