// Updates of a part of a value in memory: in the same memory where nobody needs the old value, and
// elsewhere where somebody does.

import Dispatch
import LazyGrad
import Testing

@Suite("Memory of in-place updates")
struct UpdateMemoryTests {
  private static let n = 600

  /// A parameter in memory: 0, 1, 2, ...
  private func parameter() -> Tensor { Tensor(NDArray.arange(Double(Self.n))) }

  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  /// Where the value is, without leaving an array over it.
  private func address(_ x: Tensor) -> UnsafeMutablePointer<Double> {
    x.array.withUnsafeMutablePointer(to: Double.self) { $0 }
  }

  /// The parameter after its first two elements were set to -1.
  private var updated: [Double] {
    [-1, -1] + (2..<Self.n).map(Double.init)
  }
  private var original: [Double] { (0..<Self.n).map(Double.init) }

  @Test("Nobody needs the old value: it changes where it is", arguments: [false, true])
  func inPlace(_ tracked: Bool) {
    let w = parameter()
    let start = address(w)
    for round in 0..<4 {
      let update = {
        w[0..<2] = Tensor([-1.0, -1])
        if round > 1 { w[5] += 1.0 }
      }
      if tracked { update() } else { noAutodiff(update) }
      w.eval()
      // What the graph of the update before holds is let go with that graph.
      if tracked { w.sum().backward() }
      #expect(address(w) == start, "round \(round)")
    }
    var expected = updated
    expected[5] += 2
    #expect(values(w) == expected)
  }

  @Test("A host array over the memory keeps its elements")
  func hostArray() {
    let w = parameter()
    let array = w.array
    w[0..<2] = Tensor([-1.0, -1])
    w.eval()
    #expect(array.elements(as: Double.self) == original)
    #expect(values(w) == updated)
    let host = NDArray.arange(Double(Self.n))
    let x = Tensor(host, copy: false)
    x[0..<2] = Tensor([-1.0, -1])
    #expect(values(x) == updated && host.elements(as: Double.self) == original)
    let part: NDArray = parameter().array[3..<5]
    let y = Tensor(part, copy: false)
    y[0] = Tensor(9.0)
    #expect(values(y) == [9, 4] && part.elements(as: Double.self) == [3, 4])
  }

  @Test("Views, copies and pending readers of the old value", arguments: [false, true])
  func readers(_ readsFirst: Bool) {
    let w = parameter()
    let view = w[1..<4]
    let flat = w.reshaped([2, Self.n / 2])
    let before = w * 10
    let slice = w[0..<3] + 0
    let shared = w.detached()
    if readsFirst { eval(view, flat, slice) }
    w[0..<2] = Tensor([-1.0, -1])
    w.eval()
    #expect(values(before) == original.map { $0 * 10 })
    #expect(values(slice) == [0, 1, 2])
    #expect(values(shared) == original)
    #expect(values(view) == [-1, 2, 3] && values(flat) == updated)
    // The view has caught up; nothing holds the old value now.
    view -= 1
    #expect(values(w) == [-1, -2, 1, 2] + updated[4...])
    #expect(values(flat) == values(w))
  }

  @Test("Readers in the same plan, before and after the update")
  func samePlan() {
    let w = parameter()
    w.eval()
    let early = (w * 2).sum()
    let other = (w[2..<5] * 1).sum()
    w[0..<2] = Tensor([-1.0, -1])
    let late = (w * 2).sum()
    eval(late, w, other, early)
    #expect(early.item() == 2 * original.reduce(0, +) && other.item() == 9)
    #expect(late.item() == 2 * updated.reduce(0, +))
    #expect(values(w) == updated)
  }

  @Test("Values that come out of the memory that changes")
  func overlap() {
    let w = parameter()
    for _ in 0..<2 {
      w[1...] = w[..<(Self.n - 1)]
      w.eval()
    }
    #expect(values(w) == [0, 0] + original[..<(Self.n - 2)])
    w[0..<2] = w[4..<6] * 1
    w[2..<4] = w[0..<2]
    #expect(values(w)[..<4] == [2, 3, 2, 3])
  }

  @Test("Two updates of one value")
  func forks() {
    let w = parameter()
    let (x, y) = (Tensor(w.array, copy: false), Tensor(w.array, copy: false))
    x[0..<2] = Tensor([-1.0, -1])
    y[2] = Tensor(7.0)
    eval(x, y)
    #expect(values(w) == original && values(x) == updated && values(y)[..<3] == [0, 1, 7])
  }

  @Test("A live graph keeps the old value that it needs", arguments: [false, true])
  func graphs(_ reads: Bool) {
    let w = parameter()
    let y = (w * w).sum()
    if reads { y.eval() }
    w[0..<2] = Tensor([-1.0, -1])
    w.eval()
    let old = gradients(of: y, withRespectTo: [w])
    // The gradient with respect to the new value is another's.
    #expect(values(old[0]) == [Double](repeating: 0, count: Self.n))
    let p = Tensor(NDArray.arange(Double(Self.n)))
    let x = p * 1
    let z = (x * x).sum()
    if reads { z.eval() }
    x[0..<2] *= 5.0
    x.eval()
    (z + (x * x).sum()).backward()
    let expected = original.enumerated().map { $0 < 2 ? 2 * $1 + 50 * $1 : 4 * $1 }
    #expect(values(p.grad!) == expected)
  }

  @Test("Rules that read the old value find it", arguments: 0..<4)
  func rules(_ reads: Int) {
    let p = Tensor(NDArray.arange(Double(Self.n)))
    let factor = Tensor([2.0, 3])
    let x = p + 0
    if reads & 1 != 0 { x.eval() }
    x[2..<4] *= factor
    if reads & 2 != 0 { x.eval() }
    x[3..<5] += 1.0
    let result = (x * x).sum()
    result.eval()
    result.backward()
    // x = 0, 1, 4, 10, 5, 5, 6, ...
    #expect(values(x)[..<6] == [0, 1, 4, 10, 5, 5])
    #expect(values(p.grad!)[..<6] == [0, 2, 16, 60, 10, 10])
    #expect(values(factor.grad!) == [16, 60])
  }

  /// What is updated while a rule will read its old value.
  enum Old: CaseIterable { case product, variable, constant }

  @Test("A value that a rule reads stays where it is", arguments: 0..<5, Old.allCases)
  func savedValues(_ rule: Int, _ old: Old) {
    let start = [0.5, 1.25, 2]
    let x = Tensor(start)
    let y =
      switch old {
      case .product: x * 1.0
      case .variable: Tensor(start)
      case .constant: Tensor(start, constant: true)
      }
    y.eval()
    let other = Tensor([3.0, 4, 5])
    let z =
      switch rule {
      case 0: y * y * other
      case 1: y * other
      case 2: other / y
      case 3: matmul(y.reshaped([1, 3]), other.reshaped([3, 1]))
      default: `where`(y .> 1, y * other, other)
      }
    y[0..<2] += 10.0
    eval([y, z])
    z.backward()
    #expect(values(y) == [10.5, 11.25, 2])
    #expect(
      values(other.grad!)
        == start.map { y in
          switch rule {
          case 0: y * y
          case 2: 1 / y
          case 4: y > 1 ? y : 1
          default: y
          }
        })
    if old != .product { return }
    #expect(
      values(x.grad!)
        == zip(start, [3.0, 4, 5]).map { y, other in
          switch rule {
          case 0: 2 * y * other
          case 2: -(1 / y * (other / y))
          case 4: y > 1 ? other : 0
          default: other
          }
        })
  }

  /// What is written lies in the memory that changes: in the same plan a view of the leaf that is
  /// updated; where a window has ended in between, a leaf of its own, which is read by the same step.
  @Test(
    "A value that is replaced by what is seen of it through a view", arguments: 0..<4,
    [false, true])
  func ownElements(_ kind: Int, _ isEarlier: Bool) {
    let n = Self.n
    let w = noAutodiff { parameter() * 1.0 }
    w.eval()
    let view =
      switch kind {
      case 1: w[..<(n / 2)]
      case 2: w[..<(n - 1)]
      default: w[0..<n]
      }
    if isEarlier { eval(view, Tensor([1.0]) + 1) }
    noAutodiff {
      switch kind {
      case 0: w[.slice(step: -1)] = view
      case 1: w[.slice(step: 2)] = view
      case 2: w[1...] = view
      default: w[NDArray(Array(1..<n) + [0])] = view
      }
    }
    w.eval()
    var expected = original
    switch kind {
    case 0: expected = original.reversed()
    case 1: for i in 0..<(n / 2) { expected[2 * i] = original[i] }
    case 2: expected[1...] = original[..<(n - 1)]
    default: for i in 0..<n { expected[(i + 1) % n] = original[i] }
    }
    #expect(values(w) == expected)
  }

  @Test("An operand of a custom operation keeps its value for the rule", arguments: [false, true])
  func custom(_ reads: Bool) {
    let w = parameter()
    let y = Tensor.composite(inputs: [w]) {
      $0[0] * 3
    } gradient: { g, inputs, _ in
      [g * inputs[0]]
    }
    if reads { y.eval() }
    let old = +w
    w[0..<2] = Tensor([-1.0, -1])
    w.eval()
    let target = y.sum() + old.sum()
    #expect(values(y) == original.map { $0 * 3 } && values(w) == updated)
    target.backward()
    #expect(values(old) == original)
  }

  /// Against the rule that a tensor belongs to one task; memory stays whole even so.
  @Test("Two threads that ask for the updated value at once")
  func threads() {
    struct Shared: @unchecked Sendable { let tensor: Tensor }
    let w = parameter()
    let shared = Shared(tensor: w)
    for round in 1...100 {
      noAutodiff { w[1..<3] += 1.0 }
      DispatchQueue.concurrentPerform(iterations: 2) { _ in shared.tensor.eval() }
      #expect(w[2].item() == Double(2 + round))
    }
    #expect(values(w)[3...] == original[3...])
  }

  @Test("Gradients that depend on a value that is updated with them")
  func step() {
    let (a, b) = (parameter(), parameter())
    var (x, y) = (original, original)
    for round in 0..<6 {
      let loss = (a * b).sum()
      if round % 2 == 0 { loss.eval() }
      loss.backward()
      a[0..<3] -= 0.5 * a.grad![0..<3]
      b[1..<4] -= 0.5 * b.grad![1..<4]
      #expect(loss.item() == zip(x, y).reduce(0) { $0 + $1.0 * $1.1 })
      let old = x
      for i in 0..<3 { x[i] -= 0.5 * y[i] }
      for i in 1..<4 { y[i] -= 0.5 * old[i] }
      if round % 3 == 0 { eval(a, b) }
    }
    #expect(values(a) == x && values(b) == y)
  }
}
