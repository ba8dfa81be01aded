// Gradients of every differentiable operation against central differences in float64, first and
// second order, and the conventions at kinks.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Gradients")
struct GradientTests {
  // MARK: Completeness

  @Test("Every differentiable operation is in the table")
  func complete() {
    let tested = Set(GradientCase.all.map(\.opcode))
    for opcode in Opcode.allCases where opcode.info.isDifferentiable && opcode.info.arity > 0 {
      #expect(tested.contains(opcode), "\(opcode)")
    }
  }

  // MARK: Against central differences

  @Test("First order", arguments: GradientCase.all)
  func firstOrder(_ example: GradientCase) {
    let values = example.inputs()
    let x = example.tensors(values)
    let y = example.function(x)
    let seed = example.weights(y.shape)
    y.backward(seed)
    for (k, input) in x.enumerated() {
      let gradient = input.grad!
      #expect(gradient.shape == input.shape && gradient.dtype == .float64 && gradient.isConstant)
      let expected = differences(values, k) { values in
        noAutodiff { (example.function(example.tensors(values)) * seed).sum().item() }
      }
      expectClose(gradient.elements(as: Double.self), expected, 1e-7, "\(example.name), input \(k)")
    }
  }

  @Test("gradients(of:withRespectTo:) agrees with backward to the bit", arguments: GradientCase.all)
  func functional(_ example: GradientCase) {
    let values = example.inputs()
    let x = example.tensors(values)
    let found = gradients(of: example.function(x), withRespectTo: x)
    let y = example.tensors(values)
    example.function(y).backward()
    for (a, b) in zip(found, y) {
      #expect(a.elements(as: Double.self) == b.grad!.elements(as: Double.self))
    }
    #expect(x.allSatisfy { $0.grad == nil })
  }

  @Test("Second order", arguments: GradientCase.all.filter(\.isSmooth))
  func secondOrder(_ example: GradientCase) {
    let values = example.inputs()
    let directions = example.shapes.enumerated().map { example.weights($1, salt: 7 + $0) }
    func slope(_ x: [Tensor]) -> Tensor {
      let y = example.function(x)
      let first = gradients(
        of: y * example.weights(y.shape), withRespectTo: x, createGraph: true)
      var sum = (first[0] * directions[0]).sum()
      for k in 1..<x.count { sum = sum + (first[k] * directions[k]).sum() }
      return sum
    }
    let x = example.tensors(values)
    let second = gradients(of: slope(x), withRespectTo: x)
    for k in x.indices {
      let expected = differences(values, k) { slope(example.tensors($0)).item() }
      expectClose(
        second[k].elements(as: Double.self), expected, 1e-6, "\(example.name), input \(k)")
    }
  }

  @Test("Reading values on the way changes nothing", arguments: GradientCase.all)
  func partlyEvaluated(_ example: GradientCase) {
    let values = example.inputs()
    let x = example.tensors(values)
    // The same numbers: a function may have no more to be computed for.
    func inside(_ x: [Tensor]) -> [Tensor] { x.map { ($0 * 2) * 0.5 } }
    let y = example.function(inside(x))
    y.backward()
    let expected = x.map { $0.grad?.elements(as: Double.self) }
    for points in 1..<8 {
      let x = example.tensors(values)
      if points & 1 != 0 { x[0].eval() }
      let inner = inside(x)
      if points & 2 != 0 { eval(inner) }
      let y = example.function(inner)
      if points & 4 != 0 { y.eval() }
      y.backward()
      for (tensor, gradient) in zip(x, expected) {
        let found = tensor.grad?.elements(as: Double.self)
        #expect(
          (found == nil) == (gradient == nil) && isClose(found ?? [], gradient ?? [], 1e-13),
          "\(example.name), read at \(points)")
      }
    }
  }

  @Test("float32 gradients are float32 and close", arguments: GradientCase.all)
  func single(_ example: GradientCase) {
    let values = example.inputs()
    let x = example.tensors(values)
    let y = zip(values, example.shapes).map {
      Tensor(NDArray($0, shape: $1, dtype: .float32), copy: false)
    }
    example.function(x).backward()
    example.function(y).backward()
    for (a, b) in zip(x, y) {
      #expect(b.grad!.dtype == .float32)
      #expect(
        isClose(b.grad!.elements(as: Double.self), a.grad!.elements(as: Double.self), 3e-4),
        "\(example.name)")
    }
  }

  // MARK: Casts

  @Test("Gradients pass through casts between floating types")
  func casts() {
    let x = Tensor([0.5, 1.25, -2])
    (square(x.cast(to: .float32)).cast(to: .float64) * Tensor([1.0, 2, 3])).backward()
    #expect(x.grad!.dtype == .float64)
    #expect(x.grad!.elements(as: Double.self) == [1, 5, -12])
    let y = Tensor([Float(0.5), 2])
    let z = Tensor([3.0, 4])
    (y * z).backward()
    #expect(y.grad!.dtype == .float32)
    #expect(y.grad!.elements(as: Float.self) == [3, 4])
    #expect(z.grad!.elements(as: Double.self) == [0.5, 2])
    #expect(x.cast(to: .int64).isConstant)
  }

  // MARK: Kinks

  private func gradient(_ x: [Double], _ f: (Tensor) -> Tensor) -> [Double] {
    let t = Tensor(x)
    f(t).backward()
    return t.grad!.elements(as: Double.self)
  }

  @Test("Kinks of elementwise functions")
  func kinks() {
    #expect(gradient([0, -0.0, -1, 2]) { abs($0) } == [0, 0, -1, 1])
    #expect(gradient([.nan]) { abs($0) }[0].isNaN)
    #expect(gradient([0, -1, 2, -.infinity]) { relu($0) } == [0, 0, 1, 0])
    #expect(gradient([.nan]) { relu($0) }[0].isNaN)
    #expect(gradient([0]) { sqrt($0) } == [.infinity])
    #expect(gradient([-1]) { sqrt($0) }[0].isNaN)
    #expect(gradient([0]) { square($0) } == [0])
    #expect(gradient([0]) { reciprocal($0) } == [-.infinity])
    #expect(gradient([0]) { log($0) } == [.infinity])
    #expect(gradient([-0.5, 0, 0.5, 1, 1.5]) { $0.clip(0, 1) } == [0, 0, 1, 0, 0])
    let x = Tensor([1.0, 2, 3])
    maximum(x, x).backward()
    #expect(x.grad!.elements(as: Double.self) == [0, 0, 0])
  }

  @Test("Ties of maximum and minimum give nobody a gradient")
  func ties() {
    let a = Tensor([1.0, 2, 3])
    let b = Tensor([1.0, 3, 2])
    maximum(a, b).backward()
    #expect(a.grad!.elements(as: Double.self) == [0, 0, 1])
    #expect(b.grad!.elements(as: Double.self) == [0, 1, 0])
    minimum(a, b).backward()
    #expect(a.grad!.elements(as: Double.self) == [0, 1, 0])
    #expect(b.grad!.elements(as: Double.self) == [0, 0, 1])
    #expect(gradient([0, 1]) { maximum($0, 0) } == [0, 1])
  }

  @Test("Largest and smallest elements: the first of equal ones gets everything")
  func extremes() {
    #expect(gradient([1, 3, 3, 2]) { $0.max() } == [0, 1, 0, 0])
    #expect(gradient([1, 3, 1, 2]) { $0.min() } == [1, 0, 0, 0])
    #expect(gradient([1, .nan, 3, .nan]) { $0.max() } == [0, 1, 0, 0])
    let x = Tensor([[1.0, 1], [1, 1]])
    x.max(axis: 0).backward()
    #expect(x.grad!.elements(as: Double.self) == [1, 1, 0, 0])
    x.max(axis: 1).backward()
    #expect(x.grad!.elements(as: Double.self) == [1, 0, 1, 0])
    x.max().backward()
    #expect(x.grad!.elements(as: Double.self) == [1, 0, 0, 0])
  }

  @Test("Powers at the borders of their domain")
  func powers() {
    func both(_ x: Double, _ y: Double) -> (Double, Double) {
      let (a, b) = (Tensor([x]), Tensor([y]))
      (a ** b).backward()
      return (a.grad!.item(), b.grad!.item())
    }
    #expect(both(0, 0) == (0, 0))
    #expect(both(2, 0).0 == 0)
    #expect(both(0, 2) == (0, 0))
    #expect(both(-2, 3).0 == 12 && both(-2, 3).1.isNaN)
    #expect(both(0, -1).0 == -.infinity && both(0, -1).1.isNaN)
    #expect(both(0, 0.5).0 == .infinity)
    #expect(gradient([0, 2]) { $0 ** 0 } == [0, 0])
    #expect(gradient([0, 3]) { $0 ** 2 } == [0, 6])
  }

  @Test("What `where` does not take has exactly no gradient")
  func masked() {
    let result = gradient([0, 4]) { x in
      `where`(x .> 0, sqrt(x), Tensor.zeros([], dtype: .float64, constant: true))
    }
    #expect(result[1] == 0.25)
    let x = Tensor([0.0, 4])
    let root = sqrt(x)
    `where`(Tensor([false, true]), root, x).backward()
    #expect(root.grad!.elements(as: Double.self) == [0, 1])
  }
}

// MARK: - Support

extension GradientCase {
  /// Fixed numbers for every input, no two of them close to each other or to a kink.
  func inputs() -> [[Double]] {
    var random = SeededRandom(seed: UInt64(name.utf8.reduce(7) { $0 &* 31 &+ Int($1) } & 0xFFFF))
    var used: [Double] = []
    return shapes.map { shape in
      (0..<shape.reduce(1, *)).map { _ in
        while true {
          let value = random.uniform(range)
          let bad = [0, 0.1, -0.6, 0.7].contains { Swift.abs(value - $0) < 1e-2 }
          if !bad, !used.contains(where: { Swift.abs($0 - value) < 1e-3 }) {
            used.append(value)
            return value
          }
        }
      }
    }
  }

  func tensors(_ values: [[Double]]) -> [Tensor] {
    zip(values, shapes).map { Tensor(NDArray($0, shape: $1), copy: false) }
  }

  /// A constant with different numbers everywhere.
  func weights(_ shape: [Int], salt: Int = 1) -> Tensor {
    let values = (0..<shape.reduce(1, *)).map { 0.3 + Double(($0 * 37 + salt * 11) % 23) / 17 }
    return Tensor(NDArray(values, shape: shape), constant: true, copy: false)
  }
}

/// Central differences of a function with respect to the elements of input `k`.
func differences(
  _ values: [[Double]], _ k: Int, _ function: ([[Double]]) -> Double
) -> [Double] {
  let step = 1e-5
  return values[k].indices.map { i in
    var above = values
    var below = values
    above[k][i] += step
    below[k][i] -= step
    return (function(above) - function(below)) / (2 * step)
  }
}

func isClose(_ a: [Double], _ b: [Double], _ tolerance: Double) -> Bool {
  a.count == b.count
    && zip(a, b).allSatisfy { Swift.abs($0 - $1) <= tolerance * Swift.max(1, Swift.abs($1)) }
}

func expectClose(_ a: [Double], _ b: [Double], _ tolerance: Double, _ what: String) {
  #expect(isClose(a, b, tolerance), "\(what): got \(a), expected \(b)")
}
