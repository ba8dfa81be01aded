// Derivatives of functions: against differences, and against the compositions that they stand for.

import LazyGrad
import Testing

@Suite("Transformations")
struct TransformationTests {
  private func values(_ shape: [Int], _ seed: Int = 0) -> Tensor {
    let count = shape.reduce(1, *)
    return Tensor(
      (0..<count).map { Double(($0 * 7919 + seed * 104_729 + 13) % 1009) / 1009 - 0.4 },
      shape: shape)
  }

  private func isClose(_ a: Tensor, _ b: Tensor, _ tolerance: Double = 1e-10) -> Bool {
    a.shape == b.shape
      && zip(a.elements(as: Double.self), b.elements(as: Double.self)).allSatisfy {
        abs($0 - $1) <= tolerance * max(1, abs($1))
      }
  }

  /// The Jacobian by central differences: of shape `f(x).shape + x.shape`.
  private func differences(at x: Tensor, _ f: (Tensor) -> Tensor) -> Tensor {
    let point = x.elements(as: Double.self)
    let step = 1e-5
    let columns = point.indices.map { k -> [Double] in
      func moved(_ d: Double) -> [Double] {
        var p = point
        p[k] += d
        return f(Tensor(p, shape: x.shape)).elements(as: Double.self)
      }
      return zip(moved(step), moved(-step)).map { ($0 - $1) / (2 * step) }
    }
    let shape = noAutodiff { f(x).shape }
    let count = shape.reduce(1, *)
    return Tensor(
      (0..<count).flatMap { row in columns.map { $0[row] } }, shape: shape + x.shape)
  }

  /// Functions with several kinds of rules; results larger and smaller than the operand.
  private func functions() -> [(name: String, f: (Tensor) -> Tensor)] {
    let w = values([4, 3], 5)
    let m = values([6, 2], 6)
    return [
      ("elementwise", { tanh($0 * 2) * exp($0) }),
      ("product", { matmul($0, w.T) }),
      ("wide", { matmul($0.reshaped(6, 1), m[0].reshaped(1, 2)) * 2 }),
      ("scalar", { ($0 * $0).sum() }),
      ("reductions", { softmax($0, axis: 1).sum(axis: 0) }),
      ("views", { $0.transposed()[1...].reshaped(4) * $0[0, 1] }),
      ("maximum", { maximum($0, 0.1).max(axis: 1) }),
      ("composite", { softplus($0) + logSumExp($0, axis: 1, keepDims: true) }),
      (
        "update",
        { x in
          let y = x * 1
          y[0] *= 3.0
          return y
        }
      ),
      ("joined", { concatenate($0, $0 * $0, axis: 0) }),
    ]
  }

  @Test("Jacobians against differences", arguments: 0..<10)
  func jacobians(_ k: Int) {
    let (name, f) = functions()[k]
    let x = values([2, 3])
    let exact = jacobian(at: x, of: f)
    #expect(isClose(exact, differences(at: x, f), 1e-7), "\(name)")
    #expect(exact.isConstant && x.grad == nil)
    // Row by row.
    let point = Tensor(x.elements(as: Double.self), shape: [2, 3])
    let y = f(point)
    let flat = y.reshaped([y.count])
    let rows = (0..<y.count).map { gradient(of: flat[$0], withRespectTo: point) }
    #expect(isClose(exact, stack(rows).reshaped(y.shape + [2, 3])), "\(name)")
  }

  @Test("jvp against the Jacobian and against differences", arguments: 0..<10)
  func forward(_ k: Int) {
    let (name, f) = functions()[k]
    let (x, v) = (values([2, 3]), values([2, 3], 9))
    let (value, slope) = jvp(at: x, along: v, of: f)
    #expect(isClose(value, f(x)), "\(name)")
    let full = jacobian(at: x, of: f)
    let product = matmul(full.reshaped(value.count, 6), v.reshaped(6)).reshaped(value.shape)
    #expect(isClose(slope, product), "\(name)")
    let step = 1e-5
    #expect(
      isClose(slope, (f(x + step * v) - f(x - step * v)) / (2 * step), 1e-7), "\(name)")
  }

  @Test("Hessians against differences of gradients, and products with them", arguments: 0..<10)
  func hessians(_ k: Int) {
    let (name, part) = functions()[k]
    let f: (Tensor) -> Tensor = { square(part($0)).sum() }
    let (x, v) = (values([2, 3]), values([2, 3], 9))
    let exact = hessian(at: x, of: f)
    #expect(exact.shape == [2, 3, 2, 3])
    let slopes = differences(at: x) { p in
      let point = Tensor(p.elements(as: Double.self), shape: [2, 3])
      return gradient(of: f(point), withRespectTo: point)
    }
    #expect(isClose(exact, slopes, 1e-6), "\(name)")
    let product = hessianVectorProduct(at: x, along: v, of: f)
    #expect(
      isClose(product, matmul(exact.reshaped(6, 6), v.reshaped(6)).reshaped(2, 3), 1e-9), "\(name)")
  }

  @Test("Several tensors")
  func several() {
    let (a, b) = (values([2]), values([2, 2], 3))
    let f: ([Tensor]) -> Tensor = { tanh(matmul($0[1], $0[0])) }
    let parts = jacobian(at: [a, b], of: f)
    #expect(isClose(parts[0], differences(at: a) { f([$0, b]) }, 1e-8))
    #expect(isClose(parts[1], differences(at: b) { f([a, $0]) }, 1e-8))
    let directions = [values([2], 7), values([2, 2], 8)]
    let slope = jvp(at: [a, b], along: directions, of: f).derivative
    let sum =
      matmul(parts[0], directions[0])
      + matmul(parts[1].reshaped(2, 4), directions[1].reshaped(4))
    #expect(isClose(slope, sum))
    let products = hessianVectorProduct(at: [a, b], along: directions) { f($0).sum() }
    #expect(products.map(\.shape) == [[2], [2, 2]])
    let step = 1e-5
    func slopes(_ t: Double) -> [Tensor] {
      let p = [a + t * directions[0], b + t * directions[1]].map {
        Tensor($0.elements(as: Double.self), shape: $0.shape)
      }
      return gradients(of: f(p).sum(), withRespectTo: p)
    }
    for (product, (up, down)) in zip(products, zip(slopes(step), slopes(-step))) {
      #expect(isClose(product, (up - down) / (2 * step), 1e-7))
    }
  }

  @Test("They nest, and can be parts of what is differentiated")
  func nesting() {
    let x = values([3])
    let f: (Tensor) -> Tensor = { (exp($0) * $0[0]).sum() }
    let twice = jacobian(at: x) { jacobian(at: $0, createGraph: true, of: f) }
    #expect(isClose(twice, hessian(at: x, of: f)))
    let third = jacobian(at: x) { hessian(at: $0, createGraph: true, of: f) }
    #expect(isClose(third, differences(at: x) { hessian(at: $0, of: f) }, 1e-6))
    let v = values([3], 4)
    let along = gradient(
      of: jvp(at: x, along: v, createGraph: true, of: f).derivative, withRespectTo: x)
    #expect(isClose(along, hessianVectorProduct(at: x, along: v, of: f)))
    let other = gradient(
      of: jvp(at: x, along: v, createGraph: true, of: f).derivative, withRespectTo: v)
    #expect(isClose(other, jacobian(at: x, of: f)))
  }

  @Test(
    "Inside noAutodiff; of constants and integers; without elements; what does not depend on it")
  func unusual() {
    let x = Tensor([1.0, 2], constant: true)
    #expect(isClose(noAutodiff { jacobian(at: x) { $0 * $0 } }, Tensor([[2.0, 0], [0, 4]])))
    #expect(isClose(jacobian(at: x) { _ in Tensor([1.0]) }, Tensor.zeros([1, 2])))
    #expect(jacobian(at: Tensor([1, 2])) { $0 * 2.0 }.elements(as: Double.self) == [0, 0, 0, 0])
    #expect(jacobian(at: Tensor.zeros([0])) { $0 * 2 }.shape == [0, 0])
    #expect(hessian(at: Tensor.zeros([0])) { $0.sum() }.shape == [0, 0])
    #expect(isClose(jvp(at: x, along: Tensor(1.0)) { $0 * $0 }.derivative, Tensor([2.0, 4])))
  }

  @Test("The gradients and the values of the program stay")
  func purity() {
    let x = Tensor([1.0, 2])
    (x * x).sum().backward()
    let updated = jacobian(at: x) { y in
      y *= 2.0
      return y
    }
    #expect(updated.elements(as: Double.self) == [2, 0, 0, 2])
    _ = hessian(at: x, createGraph: true) { ($0 * $0).sum() }
    #expect(x.grad?.elements(as: Double.self) == [2, 4])
    #expect(x.elements(as: Double.self) == [1, 2])
  }

  @Test("What is wrong is said")
  func errors() {
    let x = Tensor([1.0, 2])
    func message(_ body: () -> Tensor) -> String {
      do {
        _ = try catchingTensorErrors { body().array }
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      message { hessian(at: x) { $0 * 2 } }.contains(
        "expected a result of one element, got shape [2]"))
    #expect(
      message { jvp(at: x, along: Tensor([1.0, 2, 3])) { $0 }.derivative }
        .contains("expected a direction that broadcasts to shape [2], got shape [3]"))
    #expect(
      message { jvp(at: [x], along: []) { $0[0] }.derivative }.contains(
        "a direction for each point"))
    // A derivative that has lost its way is an error where it is to be differentiated, not 0.
    #expect(
      message { jacobian(at: x) { jacobian(at: $0) { $0 * $0 } } }.contains("createGraph: true"))
    #expect(
      message { jacobian(at: x) { jvp(at: $0, along: x) { $0 * $0 }.derivative } }
        .contains("createGraph: true"))
    // What a derivative on host arrays depends on is not known: 0 would be wrong, also beside others.
    func tripled(_ x: Tensor) -> Tensor {
      Tensor.custom(inputs: [x]) {
        NDArray($0[0].elements(as: Double.self).map { $0 * 3 })
      } backward: { g, _, _ in
        [NDArray(g.elements(as: Double.self).map { $0 * 3 })]
      }
    }
    #expect(
      message { jvp(at: x, along: x) { tripled($0 * $0) + $0 }.derivative }
        .contains("got Tensor.custom"))
    // One that was captured is a constant.
    let captured = tripled(x)
    #expect(jvp(at: x, along: x) { $0 * captured }.derivative.elements == (x * captured).elements)
  }
}
