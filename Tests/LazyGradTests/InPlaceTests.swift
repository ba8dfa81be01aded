// In-place updates of tensors, through operators, views and indices: values and gradients are those
// of the program as written.

import LazyGrad
import Testing

@Suite("In-place updates")
struct InPlaceTests {
  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }

  // MARK: Values

  @Test("Compound assignment keeps the object and is seen through views")
  func operators() {
    let x = Tensor([1.0, 2, 3, 4])
    let view = x[1..<3]
    let turned = x.reshaped([2, 2]).transposed()
    x += 1
    x *= Tensor([1.0, 2, 3, 4])
    x -= 0.5
    x /= 2.0
    x **= 2
    // (((n + 1) n - 0.5) / 2)^2
    let expected: [Double] = [0.5625, 7.5625, 33.0625, 95.0625]
    #expect(values(x) == expected)
    #expect(values(view) == Array(expected[1..<3]))
    #expect(values(turned) == [expected[0], expected[2], expected[1], expected[3]])
    #expect(view.base === x)
  }

  @Test(
    "An update ends the gradient of what it changes, whatever is written",
    arguments: [false, true], [false, true])
  func oldGradients(_ isTracked: Bool, _ isPart: Bool) {
    let w = Tensor([1.0, 2, 3])
    let view = w[1...]
    (w * w).sum().backward()
    #expect(values(w.grad) == [2, 4, 6] && values(view.grad) == [4, 6])
    let update = {
      if isPart { w[0..<1] = Tensor([5.0]) } else { w.assign(Tensor([5.0, 2, 3])) }
    }
    if isTracked { update() } else { noAutodiff(update) }
    #expect(w.grad == nil && view.grad == nil)
    #expect(values(w) == [5, 2, 3])
    (w * w).sum().backward()
    #expect(values(w.grad) == [10, 4, 6] && values(view.grad) == [4, 6])
  }

  @Test("A step of gradient descent is one loop that reads and writes the parameter once")
  func updatesCopyNothing() {
    let w = Tensor(NDArray.ones([1000], dtype: .float32))
    let scale = Tensor(NDArray.full([1000], 3, dtype: .float32), constant: true)
    for step in 0..<5 {
      (w * scale).sum().backward()
      w.grad!.eval()
      noAutodiff { w -= 0.5 * w.grad! }
      let plan = w.explain()
      #expect(plan.kernels.count == 1, "step \(step): \(plan)")
      #expect(
        plan.bytesRead == 8000 && plan.bytesWritten == 4000, "step \(step): \(plan)")
      w.eval()
    }
    #expect(values(w) == [Double](repeating: 1 - 5 * 1.5, count: 1000))
  }

  @Test("Updates through a view reach the base and its other views")
  func throughViews() {
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    let row = x[0]
    let column = x[.all, 1]
    let turned = x.transposed()
    turned[1] += 10
    #expect(values(x) == [1, 12, 3, 4, 15, 6])
    #expect(values(row) == [1, 12, 3] && values(column) == [12, 15])
    row *= 2
    column -= 1
    #expect(values(x) == [2, 23, 6, 4, 14, 6])
    #expect(values(turned) == [2, 4, 23, 14, 6, 6])
  }

  @Test("Index setters")
  func setters() {
    let x = Tensor.zeros([3, 4], dtype: .float64)
    x[0] = Tensor(1.0)
    x[1, 1..<3] = Tensor([2.0, 3])
    x[-1, -1] = Tensor(4.0)
    x[.all, 0] = Tensor([5.0, 6, 7])
    #expect(values(x) == [5, 1, 1, 1, 6, 2, 3, 0, 7, 0, 0, 4])
    x[.newAxis, 2] = Tensor([[9.0, 8, 7, 6]])
    #expect(values(x[2]) == [9, 8, 7, 6])
    x[.slice(step: -2), .slice(step: 2)] += 0.5
    #expect(values(x) == [5.5, 1, 1.5, 1, 6, 2, 3, 0, 9.5, 8, 7.5, 6])
    x[.ellipsis, 3] = Tensor([0.0, 0, 0])
    #expect(values(x[.all, 3]) == [0, 0, 0])
  }

  @Test("Masks and integer arrays")
  func arrays() {
    let x = Tensor([1.0, 2, 3, 4])
    x[[true, false, false, true]] = Tensor([10.0, 40])
    #expect(values(x) == [10, 2, 3, 40])
    x[[1, 2, 1]] = Tensor([5.0, 6, 7])
    #expect(values(x) == [10, 7, 6, 40])
    x[[0, 0]] += 1
    #expect(values(x) == [11, 7, 6, 40])
    x[NDArray([true, true, false, false])] *= 2
    #expect(values(x) == [22, 14, 6, 40])
    let view = x[1..<4]
    view[[2, 0]] = Tensor([0.0, 1])
    #expect(values(x) == [22, 1, 6, 0])
    let matrix = Tensor([[1.0, 2], [3, 4]])
    matrix[[1]] = Tensor([7.0, 8])
    #expect(values(matrix) == [1, 2, 7, 8])
  }

  @Test("Types: floats take anything, integers no floats")
  func types() {
    let x = Tensor([Float(1), 2])
    x += Tensor([0.5, 0.5])
    #expect(x.dtype == .float32 && values(x) == [1.5, 2.5])
    let n = Tensor([1, 2])
    n += 3
    n[0] = Tensor(10)
    #expect(n.dtype == .int64 && n.elements(as: Int.self) == [10, 5])
    #expect(throws: TensorError.self) { try catchingTensorErrors { n += 0.5 } }
    #expect(n.elements(as: Int.self) == [10, 5])
  }

  @Test("Overlapping source and target")
  func overlap() {
    let x = Tensor([1.0, 2, 3, 4])
    x[1...] = x[..<3]
    #expect(values(x) == [1, 1, 2, 3])
    x[1...] += x[..<3]
    #expect(values(x) == [1, 2, 3, 5])
  }

  // MARK: Earlier values

  @Test("What was computed before keeps the old value", arguments: [false, true])
  func earlier(_ reads: Bool) {
    let x = Tensor([1.0, 2, 3])
    let before = x * 10
    let view = x[0..<2] * 1
    if reads { eval(before, view) }
    x += 100
    x[0] = Tensor(-1.0)
    #expect(values(before) == [10, 20, 30])
    #expect(values(view) == [1, 2])
    #expect(values(x) == [-1, 102, 103])
  }

  @Test("Gradients of the program as written", arguments: 0..<8)
  func gradients(_ reads: Int) {
    func inPlace(_ a: Tensor, _ b: Tensor) -> Tensor {
      let y = a * 1
      let early = y * y
      if reads & 1 != 0 { early.eval() }
      y[1..<3] *= b
      let view = y.reshaped([2, 2])
      if reads & 2 != 0 { y.eval() }
      view[0] += early[2..<4]
      if reads & 4 != 0 { view.eval() }
      y /= 2.0
      return (view * view).sum() + early.sum() + y.sum()
    }
    func functional(_ a: Tensor, _ b: Tensor) -> Tensor {
      let y0 = a * 1
      let early = y0 * y0
      let y1 = concatenate([y0[0..<1], y0[1..<3] * b, y0[3..<4]])
      let y2 = concatenate([y1[0..<2] + early[2..<4], y1[2..<4]])
      let y3 = y2 / 2.0
      return (y3 * y3).sum() + early.sum() + y3.sum()
    }
    let (a, b) = (Tensor([1.0, 2, 3, 4]), Tensor([0.5, -1.5]))
    let (c, d) = (Tensor([1.0, 2, 3, 4]), Tensor([0.5, -1.5]))
    let x = inPlace(a, b)
    let y = functional(c, d)
    x.backward()
    y.backward()
    expectClose([x.item()], [y.item()], 1e-14, "value")
    expectClose(values(a.grad)!, values(c.grad)!, 1e-13, "first operand")
    expectClose(values(b.grad)!, values(d.grad)!, 1e-13, "second operand")
  }

  @Test("The gradient of an updated leaf is that of its new value")
  func leaf() {
    let x = Tensor([1.0, 2])
    let old = +x
    x *= 3
    (x * x).backward()
    #expect(values(x.grad) == [6, 12])
    #expect(old.grad == nil)
  }

  @Test("An update of a constant stays constant")
  func constants() {
    let c = Tensor([1.0, 2], constant: true)
    let x = Tensor([3.0, 4])
    c += x
    #expect(c.isConstant)
    (c * x).backward()
    #expect(values(x.grad) == [4, 6] && c.grad == nil)
  }

  // MARK: Failures

  @Test("A failed update leaves everything as it was")
  func failures() {
    let x = Tensor([1.0, 2, 3])
    let view = x[0..<2]
    (x * 2).backward()
    let wide = Tensor([1.0]).broadcast(to: [3])
    let attempts: [() -> Void] = [
      { view += Tensor([1.0, 2, 3]) }, { view[5] = Tensor(0.0) },
      { view[0..<1] = Tensor([1.0, 2]) }, { view[[0, 7]] = Tensor(0.0) },
      { view[[true, false, true]] = Tensor(0.0) }, { wide += 1 },
      { view.assign(Tensor([[1.0, 2], [3, 4]])) },
    ]
    for (k, attempt) in attempts.enumerated() {
      #expect(throws: TensorError.self, "attempt \(k)") { try catchingTensorErrors(attempt) }
    }
    #expect(values(x) == [1, 2, 3] && values(view) == [1, 2] && values(wide) == [1, 1, 1])
    #expect(values(x.grad) == [2, 2, 2])
    view += 1
    #expect(values(x) == [2, 3, 3])
  }

  // MARK: View relations and training loops

  @Test("View relations survive a backward pass")
  func relations() {
    let x = Tensor([0.0, 1, 2])
    let v = x[.all]
    (x * 2).backward()
    v += 1
    #expect(values(x) == [1, 2, 3])
    x += 1
    #expect(values(v) == [2, 3, 4] && v.base === x)
    (v * v).backward()
    #expect(values(x.grad) == [4, 6, 8] && values(v.grad) == [4, 6, 8])
  }

  @Test("Gradient descent in place, whole and in part")
  func descent() {
    let w = Tensor([1.0, -2, 3])
    let first = w[0]
    for _ in 0..<200 {
      square(w - Tensor([4.0, 5, 6])).sum().backward()
      w -= 0.1 * w.grad!
    }
    expectClose(values(w)!, [4, 5, 6], 1e-12, "whole")
    expectClose([first.item()], [4], 1e-12, "view")
    for _ in 0..<200 {
      square(w - 1).sum().backward()
      w[0..<2] -= 0.1 * w.grad![0..<2]
    }
    expectClose(values(w)!, [1, 1, 6], 1e-12, "part")
    let v = w[1...]
    square(w).sum().backward()
    v -= 0.5 * v.grad!
    expectClose(values(w)!, [1, 0, 0], 1e-12, "through a view")
  }

  @Test("A training loop takes flat memory", arguments: [false, true])
  func flatMemory(_ tracked: Bool) {
    // A thread of its own: other tests' tensors may be on the tape of one that they ran on.
    let (use, later) = ConcurrencyTests.onNewThread {
      let w = Tensor(NDArray.ones([64, 64], dtype: .float32))
      let x = Tensor(NDArray.ones([4, 64], dtype: .float32), constant: true)
      func step() {
        square(matmul(x, w) * 0.01).sum().backward()
        if tracked { w -= 0.001 * w.grad! } else { noAutodiff { w -= 0.001 * w.grad! } }
        w.eval()
      }
      for _ in 0..<10 { step() }
      let use = tapeUse()
      for _ in 0..<300 { step() }
      return (use, tapeUse())
    }
    #expect(later.live <= use.live + 8 && later.held <= use.held + 2, "\(use) \(later)")
  }

  /// A view is as differentiable as the update made it, whatever scope it is first looked at in.
  @Test func viewSeenFirstWithoutAutodiffStaysDifferentiable() {
    let x = Tensor([1.0, 2, 3])
    let v = x[0..<2]
    x *= 2.0
    noAutodiff { _ = v + 1 }
    v.backward()
    #expect(x.grad?.elements(as: Double.self) == [1, 1, 0])
  }

  @Test("A variable that is given a constant's value stays a variable", arguments: [false, true])
  func assignedConstants(hasView: Bool) {
    let c = Tensor([4.0, 5, 6], constant: true)
    let y = Tensor([1.0, 2, 3])
    let view = hasView ? y[0..<2] : nil
    y.assign(c)
    #expect(!y.isConstant)
    (y * 2).backward()
    #expect(y.grad?.elements(as: Double.self) == [2, 2, 2])
    #expect(c.grad == nil)
    if let view { #expect(view.grad?.elements(as: Double.self) == [2, 2]) }

    y.assign(Tensor(7.0, constant: true))
    y.backward()
    #expect(y.grad?.elements(as: Double.self) == [1, 1, 1])

    let z = y * 1
    z[.ellipsis] = c
    (z * 3).backward()
    #expect(z.grad?.elements(as: Double.self) == [3, 3, 3])
    #expect(y.grad?.elements(as: Double.self) == [0, 0, 0])
  }

  @Test("A base with many views that come and go")
  func manyViews() {
    let x = Tensor(NDArray.zeros([100]))
    var views: [Int: Tensor] = [:]
    for i in 0..<1000 {
      views[i % 37] = x[(i % 90)..<(i % 90 + 3)]
      if i % 3 == 0 { views[(i * 7) % 37] = nil }
      if i % 50 == 0 { x += 1.0 }
    }
    x += 0.5
    for view in views.values { #expect(view.elements(as: Double.self) == [20.5, 20.5, 20.5]) }
  }
}
