// Checkpoints: the values and gradients of the program without them, and less memory.

import LazyGrad
import TestSupport
import Testing

@Suite("Checkpoint", .serialized)
struct CheckpointTests {
  private func elements(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  /// A recurrence over some steps, in parts of which only the ends are kept, or not.
  private func run(
    steps: Int, part: Int?, size: Int
  ) -> (loss: Double, slopes: [[Double]], peak: Int) {
    let w = Tensor((0..<size).map { 0.9 + 0.05 * Double($0 % 3) })
    let b = Tensor([Double](repeating: 0.01, count: size))
    let first = Tensor((0..<size).map { Double($0 % 7) / 7 })
    eval(w, b, first)
    LazyGradEngine.trimMemory()
    var h: Tensor = first
    let before = LazyGradEngine.bytesInUse
    var peak = 0
    func step(_ h: Tensor, _ w: Tensor, _ b: Tensor) -> Tensor { tanh(h * w + b) }
    if let part {
      for _ in 0..<(steps / part) {
        h = checkpoint(h, w, b) { t in
          var h = t[0]
          for _ in 0..<part { h = step(h, t[1], t[2]) }
          peak = max(peak, LazyGradEngine.bytesInUse - before)
          return h
        }
      }
    } else {
      for k in 0..<steps {
        h = step(h, w, b)
        if k % 100 == 99 { h.eval() }
      }
      peak = LazyGradEngine.bytesInUse - before
    }
    let loss = (h * h).sum()
    let value = loss.item()
    loss.backward()
    eval(w.gradient, b.gradient, first.gradient)
    peak = max(peak, LazyGradEngine.bytesInUse - before)
    return (value, [w, b, first].map { elements($0.gradient) }, peak)
  }

  @Test("Values and gradients are those of the plain program")
  func values() {
    let plain = run(steps: 60, part: nil, size: 5)
    for part in [1, 3, 10, 60] {
      let parts = run(steps: 60, part: part, size: 5)
      #expect(parts.loss == plain.loss)
      for (a, b) in zip(parts.slopes.joined(), plain.slopes.joined()) {
        #expect(abs(a - b) <= 1e-13 * max(1, abs(b)))
      }
    }
  }

  @Test("Memory of a loop of 10,000 steps grows with the square root")
  func memory() {
    let size = 2048
    let bytes = size * 8
    let plain = run(steps: 10_000, part: nil, size: size)
    let parts = run(steps: 10_000, part: 100, size: size)
    #expect(parts.loss == plain.loss)
    // The plain loop keeps at least one value of each step.
    #expect(plain.peak >= 10_000 * bytes)
    // 100 ends of parts, 100 gradients of each weight to add up, and the values of one part.
    #expect(parts.peak <= 1000 * bytes, "\(parts.peak / bytes) arrays")
    let quarter = run(steps: 2500, part: 50, size: size)
    #expect(
      Double(parts.peak) <= 2.6 * Double(quarter.peak),
      "\(parts.peak / bytes) and \(quarter.peak / bytes) arrays")
  }

  @Test("Equal parts have one plan forwards and one backwards")
  func plans() {
    _ = run(steps: 40, part: 10, size: 16)
    let before = LazyGradEngine.counters
    _ = run(steps: 40, part: 10, size: 16)
    #expect(LazyGradEngine.counters.planMisses == before.planMisses)
  }

  @Test("Several results, some of them without a gradient")
  func severalResults() {
    let (x, w) = (Tensor([1.0, 2]), Tensor([[0.5], [0.25]]))
    func part(_ t: [Tensor]) -> [Tensor] { [tanh(t[0] * 2), matmul(t[0], t[1]), t[0].sum()] }
    let results = checkpoint([x, w], part)
    let plain = part([x, w])
    #expect(results.map(\.shape) == plain.map(\.shape))
    for (a, b) in zip(results, plain) { #expect(elements(a) == elements(b)) }
    let target = (results[0] * results[1].sum()).sum()
    let expected = gradients(of: (plain[0] * plain[1].sum()).sum(), withRespectTo: [x, w])
    for (a, b) in zip(gradients(of: target, withRespectTo: [x, w]), expected) {
      for (p, q) in zip(elements(a), elements(b)) { #expect(abs(p - q) < 1e-14) }
    }
  }

  @Test("Derivatives of second order")
  func secondOrder() {
    let x = Tensor([0.3, -0.2])
    let w = Tensor([0.7, 0.4])
    func f(_ t: [Tensor]) -> Tensor { exp(t[0] * t[1]) * t[0] }
    func curvature(_ y: Tensor) -> [Double] {
      let slope = gradient(of: y, withRespectTo: x, createGraph: true)
      return gradients(of: square(slope), withRespectTo: [x, w]).flatMap { elements($0) }
    }
    for (a, b) in zip(curvature(checkpoint(x, w, body: f)), curvature(f([x, w]))) {
      #expect(abs(a - b) < 1e-13)
    }
    let product = hessianVectorProduct(at: x, along: w) { checkpoint($0, w, body: f).sum() }
    let plain = hessianVectorProduct(at: x, along: w) { f([$0, w]).sum() }
    for (a, b) in zip(elements(product), elements(plain)) { #expect(abs(a - b) < 1e-13) }
  }

  @Test("Values are those of the call, whatever becomes of the tensors")
  func updates() {
    let x = Tensor([1.0, 2])
    let w = Tensor([3.0, 4])
    let y = checkpoint(x, w) { $0[0] * $0[1] * $0[1] }
    noAutodiff { w *= 10.0 }
    y.backward()
    #expect(elements(x.gradient) == [9, 16])
  }

  @Test("Constants and integers are inputs too; variables that the body makes are its own")
  func inputs() {
    let x = Tensor([1.0, 2, 3])
    let rows = Tensor([2, 0])
    let y = checkpoint(x, rows) { t in
      let state = Tensor.zeros([2])
      return state + t[0][t[1]] * 2
    }
    y.backward()
    #expect(elements(x.gradient) == [2, 0, 2])
    #expect(checkpoint(Tensor([1.0], constant: true)) { $0[0] * 2 }.isConstant)
    #expect(elements(noAutodiff { checkpoint(x) { $0[0] * 2 } }) == [2, 4, 6])
  }

  @Test("A variable that is no input is an error, where the part is called")
  func captured() {
    let x = Tensor([1.0, 2])
    let w = Tensor([[3.0, 4]])
    let h = w * 2
    for other in [w, h] {
      var said = ""
      do {
        try catchingTensorErrors { _ = checkpoint(x) { $0[0] * other } }
      } catch { said = "\(error)" }
      #expect(said.contains("checkpoint: expected a body that uses no variables but its inputs"))
      #expect(said.contains("[1, 2]"))
    }
    // A constant view of it is what a body may use.
    let frozen = Tensor(w.array, constant: true)
    let y = checkpoint(x) { $0[0] * frozen }
    y.backward()
    #expect(elements(x.gradient) == [3, 4])
  }

  @Test("Without results, or of several types")
  func errors() {
    #expect(throws: TensorError.self) {
      try catchingTensorErrors { _ = checkpoint([Tensor([1.0])]) { _ in [] } }
    }
    #expect(throws: TensorError.self) {
      try catchingTensorErrors {
        _ = checkpoint([Tensor([1.0])]) { [$0[0], $0[0].cast(to: .float32)] }
      }
    }
  }
}
