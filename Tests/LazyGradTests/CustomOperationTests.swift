// Operations that a program brings itself: values, gradients, higher orders, errors, reading and
// differentiating inside of a rule.

import Foundation
import LazyGrad
import Testing

@Suite struct CustomOperationTests {
  private func logCosh(_ x: Tensor) -> Tensor {
    Tensor.composite(inputs: [x]) { x in
      let y = abs(x[0])
      return y + log1p(exp(-2 * y)) - Foundation.log(2.0)
    } gradient: { g, x, _ in
      [g * tanh(x[0])]
    }
  }

  private func close(_ a: [Double], _ b: [Double]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= 1e-12 * max(1, abs($1)) }
  }

  @Test func compositeUsesItsOwnRule() {
    let x = Tensor([-2.0, 0, 0.5])
    let y = logCosh(x * 2)
    #expect(!y.isConstant)
    let expected = [-4.0, 0, 1].map { Foundation.log(Foundation.cosh($0)) }
    #expect(close(y.elements(as: Double.self), expected))
    y.backward()
    #expect(
      close(x.grad!.elements(as: Double.self), [-4.0, 0, 1].map { 2 * Foundation.tanh($0) }))
  }

  @Test func compositeHasDerivativesOfHigherOrder() {
    let x = Tensor([0.3, -1.0])
    let first = gradients(of: logCosh(x), withRespectTo: [x], createGraph: true)[0]
    let second = gradients(of: first, withRespectTo: [x])[0]
    let expected = [0.3, -1.0].map { 1 - Foundation.tanh($0) * Foundation.tanh($0) }
    #expect(close(second.elements(as: Double.self), expected))
  }

  /// Several operands, one of them broadcast, one constant, one used twice.
  private func scaledSum(_ a: Tensor, _ b: Tensor, _ c: Tensor) -> Tensor {
    Tensor.composite(inputs: [a, b, c]) {
      $0[0] * $0[1] + $0[2]
    } gradient: { g, x, _ in
      [g * x[1], g * x[0], nil]
    }
  }

  @Test(arguments: [false, true])
  func severalOperands(readsFirst: Bool) {
    let a = Tensor([[1.0, 2], [3, 4]])
    let b = Tensor([10.0, 20])
    let c = Tensor(NDArray([1.0, 1]), constant: true)
    let y = scaledSum(a, b, c)
    let z = (y * scaledSum(a, b, y)).sum()
    if readsFirst { z.eval() }
    z.backward()
    // z = sum y * (a b + y), where the rule says that the third operand has no gradient.
    let (av, bv) = ([1.0, 2, 3, 4], [10.0, 20, 10, 20])
    let y0 = zip(av, bv).map { $0 * $1 + 1 }
    let inner = zip(zip(av, bv), y0).map { $0.0 * $0.1 + $1 }
    let ga = zip(zip(y0, inner), bv).map { ($0.0 + $0.1) * $1 }
    #expect(close(a.grad!.elements(as: Double.self), ga))
    let gb = zip(zip(y0, inner), av).map { ($0.0 + $0.1) * $1 }
    #expect(close(b.grad!.elements(as: Double.self), [gb[0] + gb[2], gb[1] + gb[3]]))
    #expect(c.grad == nil)
  }

  /// On host arrays: the closures see values and give values.
  private func sorted(_ x: Tensor) -> Tensor {
    Tensor.custom(inputs: [x]) { x in
      NDArray(x[0].elements(as: Double.self).sorted())
    } backward: { g, x, _ in
      let places = x[0].elements(as: Double.self).enumerated().sorted { $0.element < $1.element }
      var result = [Double](repeating: 0, count: places.count)
      let gradient = g.elements(as: Double.self)
      for (k, place) in places.enumerated() { result[place.offset] = gradient[k] }
      return [NDArray(result)]
    }
  }

  @Test func hostOperationsInALongGraph() {
    let x = Tensor([3.0, 1, 2])
    let weights = Tensor([1.0, 10, 100])
    var y = x
    for _ in 0..<20 { y = sorted(y * 1.5) * 0.5 + x * 0 }
    let loss = (y * weights).sum()
    loss.backward()
    let factor = pow(0.75, 20.0)
    #expect(close(y.elements(as: Double.self), [1.0, 2, 3].map { $0 * factor }))
    #expect(close(x.grad!.elements(as: Double.self), [100.0, 1, 10].map { $0 * factor }))
    #expect(close(weights.grad!.elements(as: Double.self), [1.0, 2, 3].map { $0 * factor }))
  }

  @Test func arraysInsideAreReadOnlyAndLocksEnd() throws {
    let host = NDArray([2.0, 1])
    let x = Tensor(host, constant: false, copy: false)
    let y = Tensor.custom(inputs: [x]) { x in
      #expect(!x[0].isWriteable)
      #expect(throws: MemoryGuardError.readOnly) { try x[0].fill(0.0) }
      return x[0].copy()
    } backward: { g, _, _ in
      #expect(!g.isWriteable)
      return [g.copy()]
    }
    #expect(!host.isWriteable)
    y.backward()
    #expect(host.isWriteable)
    #expect(x.grad!.elements(as: Double.self) == [1, 1])
  }

  /// A rule may itself differentiate, with gradients of the outer pass still on their way.
  @Test func aRuleMayDifferentiate() {
    func cube(_ x: Tensor) -> Tensor {
      Tensor.composite(inputs: [x]) {
        $0[0] * $0[0] * $0[0]
      } gradient: { g, x, _ in
        let inner = Tensor(x[0].array)
        return [g * gradients(of: inner * inner * inner, withRespectTo: [inner])[0]]
      }
    }
    let x = Tensor([1.0, 2])
    let w = Tensor([3.0, 5])
    let shared = x * w
    let y = (cube(shared) + shared * w).sum()
    let found = gradients(of: y, withRespectTo: [x, w], createGraph: true)
    let s = [3.0, 10]
    let outer = zip(s, [3.0, 5]).map { 3 * $0 * $0 + $1 }
    #expect(close(found[0].elements(as: Double.self), zip(outer, [3.0, 5]).map { $0 * $1 }))
    #expect(
      close(found[1].elements(as: Double.self), [outer[0] * 1 + s[0], outer[1] * 2 + s[1]]))
  }

  @Test func rulesLiveAsLongAsTheGraph() {
    final class Probe {}
    weak var probe: Probe?
    let x = Tensor([1.0])
    func make() -> Tensor {
      let strong = Probe()
      probe = strong
      return Tensor.composite(inputs: [x]) {
        $0[0] * 2
      } gradient: { g, _, _ in
        _ = strong
        return [g * 2]
      }
    }
    do {
      let y = make() + 1
      #expect(probe != nil)
      y.backward()
      #expect(x.grad!.item() == 2)
    }
    flush(x)
    #expect(probe == nil)
  }

  @Test func errors() throws {
    let x = Tensor([1.0, 2])
    func broken(_ parts: @escaping (Tensor) -> [Tensor?]) -> Tensor {
      Tensor.composite(inputs: [x]) {
        +$0[0]
      } gradient: { g, _, _ in
        parts(g)
      }
    }
    #expect(throws: TensorError.self) { try catchingTensorErrors { broken { _ in [] }.backward() } }
    #expect(throws: TensorError.self) {
      try catchingTensorErrors { broken { _ in [Tensor([1.0, 2, 3])] }.backward() }
    }
    #expect(throws: TensorError.self) {
      try catchingTensorErrors { broken { g in [g + Tensor([1.0, 2, 3])] }.backward() }
    }
    // And the library is usable afterwards.
    broken { [$0 * 3] }.backward()
    #expect(x.grad!.elements(as: Double.self) == [3, 3])
    #expect(broken { _ in [nil] }.sum().item() == 3)
  }

  @Test func constantsAndNoAutodiff() {
    let x = Tensor([1.0, 2])
    let y = noAutodiff { logCosh(x) }
    y.backward()
    #expect(x.grad == nil)
    #expect(logCosh(Tensor(NDArray([1.0]), constant: true)).isConstant)
  }
}

/// Starts the arena again, so that nothing of an earlier graph is left.
private func flush(_ x: Tensor) {
  for _ in 0..<2 { _ = (x * 1.0).item(as: Double.self) }
}
