// Differentiation where there is nothing left to differentiate: an error that says why, not zeros.

import LazyGrad
import Testing

@Suite struct DifferentiationErrorTests {
  private func message(_ body: () -> Void) -> String? {
    do {
      try catchingTensorErrors(body)
      return nil
    } catch { return "\(error)" }
  }

  enum Ending: CaseIterable, Sendable { case backward, clearGraph }

  @Test(arguments: Ending.allCases, [false, true])
  func aTargetWithoutItsGraph(ending: Ending, reads: Bool) {
    let w = Tensor([1.0, 2])
    let y = (w * w).sum()
    if ending == .backward { y.backward() } else { y.clearGraph() }
    if reads { y.eval() }
    let text = message { _ = gradients(of: y, withRespectTo: [w]) }
    #expect(text?.contains("retainGraph: true") == true, "\(text ?? "none")")
    // What is computed from it begins with it.
    #expect(gradients(of: y * 3, withRespectTo: [y])[0].item() == 3)
  }

  @Test func aTargetThatWasKept() {
    let w = Tensor([1.0, 2])
    let y = (w * w).sum()
    y.backward(retainGraph: true)
    #expect(gradients(of: y, withRespectTo: [w])[0].elements(as: Double.self) == [2, 4])
    _ = y.item()
    #expect(gradients(of: y, withRespectTo: [w])[0].elements(as: Double.self) == [2, 4])
  }

  @Test func variablesAreTargetsAfterAPassToo() {
    let w = Tensor([1.0, 2])
    (w * w).sum().backward()
    #expect(gradients(of: w, withRespectTo: [w])[0].elements(as: Double.self) == [1, 1])
  }

  @Test(arguments: [false, true])
  func gradientsOfPlainGradients(reads: Bool) {
    let x = Tensor([1.0, 2])
    let first = gradients(of: (x * x * x).sum(), withRespectTo: [x])[0]
    if reads { first.eval() }
    let targets: [(String, Tensor)] = [
      ("itself", first), ("a function of it", (first * first).sum()), ("a view", first[0..<1]),
      ("a reshape", first.reshaped([2, 1])),
      ("a sum with a constant", first + Tensor([1.0, 1], constant: true)),
      ("rows of it", first[[1, 0]]),
      ("a product", matmul(first.reshaped([1, 2]), first.reshaped([2, 1]))),
      ("of another type", first.cast(to: .float32)),
      ("a function without autodiff", noAutodiff { exp(first) }),
    ]
    for (name, target) in targets {
      if reads { target.eval() }
      let text = message { _ = gradients(of: target, withRespectTo: [x]) }
      #expect(text?.contains("createGraph: true") == true, "\(name): \(text ?? "none")")
    }
    (x * x).sum().backward()
    let grad = x.grad!
    let text = message { _ = gradients(of: (grad * grad).sum(), withRespectTo: [x]) }
    #expect(text?.contains("createGraph: true") == true, "grad: \(text ?? "none")")
  }

  /// What can be differentiated is, beside it: a gradient counts as a number there.
  @Test func gradientsBesideVariables() {
    let x = Tensor([1.0, 2])
    let first = gradients(of: (x * x).sum(), withRespectTo: [x])[0]
    #expect(
      gradients(of: (first * x).sum(), withRespectTo: [x])[0].elements(as: Double.self) == [2, 4])
    // Told to be a constant, it is one.
    #expect(
      gradients(of: (first.detached() * first.detached()).sum(), withRespectTo: [x])[0]
        .elements(as: Double.self) == [0, 0])
    let second = gradients(of: (x * x).sum(), withRespectTo: [x], createGraph: true)[0]
    #expect(
      gradients(of: (second * second).sum(), withRespectTo: [x])[0].elements(as: Double.self)
        == [8, 16])
  }
}
