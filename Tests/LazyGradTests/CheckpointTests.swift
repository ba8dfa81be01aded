// Checkpoints: the values and gradients of the program without them. What memory they take is tested in
// CheckpointMemoryTests, in processes of their own.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Checkpoint")
struct CheckpointTests {
  private func elements(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  /// A recurrence over some steps, in parts of which only the ends are kept, or not.
  private func run(steps: Int, part: Int?) -> (loss: Double, slopes: [[Double]]) {
    let w = Tensor([0.9, 0.95, 1])
    let b = Tensor([0.01, 0.02, 0.03])
    let first = Tensor([0.1, -0.2, 0.3])
    func step(_ h: Tensor, _ w: Tensor, _ b: Tensor) -> Tensor { tanh(h * w + b) }
    var h = first
    for _ in 0..<(steps / (part ?? 1)) {
      if let part {
        h = checkpoint(h, w, b) { t in
          var h = t[0]
          for _ in 0..<part { h = step(h, t[1], t[2]) }
          return h
        }
      } else {
        h = step(h, w, b)
      }
    }
    let loss = (h * h).sum()
    loss.backward()
    return (loss.item(), [w, b, first].map { elements($0.gradient) })
  }

  @Test("Values and gradients are those of the plain program")
  func values() {
    let plain = run(steps: 60, part: nil)
    for part in [1, 3, 10, 60] {
      let parts = run(steps: 60, part: part)
      #expect(parts.loss == plain.loss)
      for (a, b) in zip(parts.slopes.joined(), plain.slopes.joined()) {
        #expect(abs(a - b) <= 1e-13 * max(1, abs(b)))
      }
    }
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

  /// Each part's rule differentiates that part, and none of those before it.
  @Test("Derivatives of second order through many parts")
  func secondOrderOfMany() {
    func curvature(parts: Int, isPlain: Bool) -> (value: [Double], records: Int) {
      let (x, w) = (Tensor([0.3, -0.2]), Tensor([0.7, 0.4]))
      func part(_ t: [Tensor]) -> Tensor { tanh(t[0] * t[1]) + t[0] * 0.5 }
      var y = x
      for _ in 0..<parts { y = isPlain ? part([y, w]) : checkpoint(y, w, body: part) }
      let before = Tape.recordsOfThisThread
      let slope = gradient(of: y.sum(), withRespectTo: x, createGraph: true)
      let second = gradients(of: square(slope).sum(), withRespectTo: [x, w])
      let records = Tape.recordsOfThisThread - before
      return (second.flatMap { elements($0) }, records)
    }
    for parts in [1, 2, 5, 12] {
      let (found, wanted) = (
        curvature(parts: parts, isPlain: false), curvature(parts: parts, isPlain: true)
      )
      for (a, b) in zip(found.value, wanted.value) {
        #expect(abs(a - b) <= 1e-12 * max(1, abs(b)), "\(parts) parts")
      }
    }
    let (few, many) = (curvature(parts: 6, isPlain: false), curvature(parts: 24, isPlain: false))
    #expect(many.records < 6 * few.records, "\(few.records) records, then \(many.records)")
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
    // A view of what is not computed yet is as constant as that.
    let turned = checkpoint(x * 2, Tensor.eye(3)) { matmul($0[0], $0[1]).reshaped(1, 3).T }
    #expect(elements(turned) == [2, 4, 6])
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
