// Tensors over host arrays whose elements don't lie in memory in C order: transposed, cut, reversed,
// repeated. They share the memory, and compute what tensors over a copy compute.

import LazyGrad
import LazyGradJIT
import Testing

@Suite("Tensors over strided arrays")
struct SharedStridesTests {
  /// Ways to lay out an array of shape [4, 6] in memory; all but the last can be written.
  static let ways = [
    "transposed", "every other column", "every other row", "reversed rows", "reversed columns",
    "reversed both", "a part of a larger one", "a part reversed, transposed",
    "a slice of three axes",
    "repeated",
  ]

  private static func array(_ way: String, _ dtype: DType = .float64) -> NDArray {
    func numbers(_ shape: [Int]) -> NDArray {
      let n = shape.reduce(1, *)
      return NDArray((0..<n).map { Double(($0 * 37) % 64) / 32 + 0.25 }, shape: shape).astype(dtype)
    }
    switch way {
    case "transposed": return numbers([6, 4]).transposed()
    case "every other column": return numbers([4, 12])[.all, .slice(1, nil, step: 2)]
    case "every other row": return numbers([8, 6])[.slice(step: 2)]
    case "reversed rows": return numbers([4, 6])[.slice(step: -1)]
    case "reversed columns": return numbers([4, 6])[.all, .slice(step: -1)]
    case "reversed both": return numbers([4, 6])[.slice(step: -1), .slice(step: -1)]
    case "a part of a larger one": return numbers([7, 9])[2..<6, 1..<7]
    case "a part reversed, transposed":
      return numbers([7, 9])[.slice(7, 0, step: -1), .slice(4, 0, step: -1)].transposed()
    case "a slice of three axes": return numbers([4, 3, 6])[.all, 1]
    default: return numbers([6]).broadcast(to: [4, 6])
    }
  }

  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }

  private func agree(_ a: Tensor?, _ b: Tensor?) -> Bool {
    guard let a, let b else { return a == nil && b == nil }
    return a.shape == b.shape && a.dtype == b.dtype
      && zip(values(a)!, values(b)!).allSatisfy {
        $0 == $1 || ($0.isNaN && $1.isNaN) || abs($0 - $1) <= 1e-12 * Swift.max(1, abs($1))
      }
  }

  // MARK: Sharing

  @Test("The memory is shared, and the guard locks it", arguments: ways)
  func sharing(_ way: String) throws {
    let array = Self.array(way)
    let isWriteable = array.isWriteable
    let x = Tensor(array, copy: false)
    #expect(x.array.sharesMemory(with: array) && x.array.strides == array.strides)
    #expect(!x.isConstant && values(x) == array.elements(as: Double.self))
    #expect(x.array.isWriteable == isWriteable && array.isWriteable == isWriteable)
    let y = memGuardOn { x * x }
    #expect(!array.isWriteable && array.lockHolders == ["multiply"])
    if let base = array.base { #expect(!base.isWriteable) }
    #expect(throws: MemoryGuardError.self) { try array.fill(0) }
    y.backward()
    #expect(array.isWriteable == isWriteable && array.lockHolders == [])
    if isWriteable {
      try array[1].fill(9)
      #expect(values(x) == array.elements(as: Double.self) && x[1, 2].item() == 9)
    }
    // A copy, or another type, has memory of its own.
    #expect(!Tensor(array).array.sharesMemory(with: array))
    #expect(!Tensor(array, dtype: .float32, copy: false).array.sharesMemory(with: array))
    #expect(x.snapshot == TensorSnapshot(array.copy()))
  }

  @Test("Views of the tensor share it as well", arguments: ways)
  func views(_ way: String) throws {
    let array = Self.array(way)
    let x = Tensor(array, copy: false)
    let host = array.copy()
    let pairs: [(Tensor, NDArray)] = [
      (x[1], host[1]), (x[1..<3], host[1..<3]), (x[.all, 2], host[.all, 2]),
      (x[-1, 3], host[-1, 3]), (x.transposed(), host.transposed()),
      (x[.slice(step: -2)], host[.slice(step: -2)]), (x[.all, 1..<4][1..<3], host[1..<3, 1..<4]),
      (x.expandedDims(at: 1), host.reshaped([4, 1, 6])),
      (x.reshaped([4, 2, 3]), host.reshaped([4, 2, 3])),
      (x.reshaped([2, 2, 6])[1], host[2..<4]), (x.reshaped([4, 1, 6]).squeezed(), host),
      (x.transposed()[2..<4].transposed(), host[.all, 2..<4]), (x[2..<2], host[2..<2]),
    ]
    for (k, (view, expected)) in pairs.enumerated() {
      #expect(view.base === x, "\(k)")
      #expect(view.elements(as: Double.self) == expected.elements(as: Double.self), "\(k)")
      if expected.count > 0 { #expect(view.array.sharesMemory(with: array), "\(k)") }
    }
    // A broadcast repeats.
    let wide = x.broadcast(to: [2, 4, 6])
    #expect(wide.base === x && wide.array.sharesMemory(with: array))
    if !array.isWriteable { return }
    memGuardOff {
      let y = pairs.map { $0.0 + 0 }
      let old = y.map { values($0)! }
      try! array[1..<3].fill(-5)
      try! host[1..<3].fill(-5)
      for (k, (view, expected)) in pairs.enumerated() {
        #expect(view.elements(as: Double.self) == expected.elements(as: Double.self), "\(k)")
        #expect(values(y[k]) == old[k])
      }
    }
  }

  @Test("What no strides can show is copied, as NumPy's reshape does", arguments: ways)
  func copies(_ way: String) {
    let array = Self.array(way)
    let x = Tensor(array, copy: false)
    let expected = array.elements(as: Double.self)
    for shape in [[24], [3, 8], [8, 3], [2, 12], [24, 1]] {
      let y = x.reshaped(shape)
      #expect(values(y) == expected)
      #expect((y.base === x) == array.reshaped(shape).sharesMemory(with: array), "\(shape)")
      #expect(y.array.sharesMemory(with: array) == (y.base === x))
    }
    let part = x[1..<3].reshaped([12])
    #expect(values(part) == Array(expected[6..<18]))
  }

  // MARK: Computing

  private static let programs: [(String, @Sendable (Tensor) -> Tensor)] = [
    ("copy", { +$0 }), ("elementwise", { exp($0 * 0.5) * sin($0) + 1 / $0 }),
    ("sum", { square($0.sum(axis: 0)) }), ("sum, rows", { square($0.sum(axis: 1)) }),
    ("sum, all", { square($0.sum()) }), ("mean", { $0 / $0.mean(axis: 1, keepDims: true) }),
    ("max", { $0.max(axis: 0) * 2 }), ("argmax", { $0 * $0.argmax(axis: 1).expandedDims(at: 1) }),
    ("var", { $0.var(axis: 1) }), ("matmul", { matmul($0, $0.transposed()) }),
    ("matmul, left", { matmul($0.transposed(), $0) }), ("matmul, vector", { matmul($0, $0[1]) }),
    ("vector, matmul", { matmul($0[.all, 1], $0) }), ("softmax", { softmax($0) * $0 }),
    ("softmax, axis 0", { softmax($0, axis: 0) * $0 }),
    ("logSumExp", { logSumExp($0, axis: 0) }),
    ("takeRows", { square($0.takeRows(NDArray([3, 0, 3]))) }),
    ("rows of a view", { square($0[1..<4].takeRows(NDArray([2, 0]))) }),
    ("index array", { square($0[[2, 2, 1]]) }), ("columns", { square($0[.all, [5, 0, 0]]) }),
    ("mask", { exp($0[NDArray([true, false, false, true])]) }),
    ("concatenate", { concatenate([$0, $0 * 2], axis: 1) * 3 }),
    ("stack", { square(stack([$0, $0], axis: 1)) }),
    ("where", { `where`($0 .> 1, square($0), -$0) }), ("cast", { $0.cast(to: .float32) * 2 }),
    ("row", { square($0[2]) }), ("columns, cut", { square($0[.all, 1..<4]) * 2 }),
    ("reversed", { square($0[.slice(step: -1)]) * $0 }), ("element", { square($0[1, 2]) }),
    ("transposed", { exp($0.transposed()) }), ("reshaped", { square($0.reshaped([3, 8])) }),
    ("reshaped within rows", { square($0.reshaped([4, 2, 3])[.all, 1]) }),
    ("flattened", { square($0.flattened()) * 2 }),
    ("broadcast", { square($0.broadcast(to: [2, 4, 6])).sum(axis: 0) * $0 }),
    (
      "views of views",
      { x in
        let a = x.transposed()[1..<5]
        return square(a[.all, 1..<3][.slice(step: -2)]) * a[0..<1, 0..<2]
      }
    ),
    (
      "many uses",
      { x in
        let y = x[0] * x[3] + x[.all, 0].sum()
        return y * x[1..<2].sum(axis: 0) * x.sum()
      }
    ),
    (
      "composite",
      { x in
        Tensor.composite(inputs: [x, x[1]]) {
          $0[0] * $0[1]
        } gradient: { g, x, _ in
          [g * x[1], g * x[0]]
        }
      }
    ),
  ]

  @Test("Values and gradients are those of a copy", arguments: ways)
  func computing(_ way: String) {
    for (name, program) in Self.programs {
      for reads in [false, true] {
        for isConstant in [false, true] {
          let array = Self.array(way)
          let x = Tensor(array, constant: isConstant, copy: false)
          let copy = Tensor(array, constant: isConstant)
          // A variable, so that there is always something to differentiate.
          func factor() -> Tensor { Tensor([2.0, 1, 0.5]).sum() }
          let (y, expected) = (program(x) * factor(), program(copy) * factor())
          if reads { y.eval() }
          #expect(agree(y, expected), "\(name)")
          y.backward()
          expected.backward()
          #expect(agree(x.grad, copy.grad), "\(name)")
          #expect((x.grad == nil) == isConstant)
          #expect(x.array.sharesMemory(with: array))
        }
      }
    }
  }

  @Test("Derivatives of second order, too", arguments: ways)
  func secondOrder(_ way: String) {
    func curve(_ x: Tensor) -> Tensor {
      let y = (exp(x[1..<3]) * x.transposed()[0..<6, 1..<3].transposed()).sum()
      let slope = gradients(of: y, withRespectTo: [x], createGraph: true)[0]
      return gradients(of: square(slope).sum(), withRespectTo: [x])[0]
    }
    let array = Self.array(way)
    #expect(agree(curve(Tensor(array, copy: false)), curve(Tensor(array))))
  }

  @Test("In many windows and with passes over views that were cut off", arguments: ways)
  func windows(_ way: String) {
    let array = Self.array(way)
    func run(_ x: Tensor) -> [Tensor] {
      let row = x[1]
      let turned = x.transposed()
      var results: [Tensor] = []
      var sum = Tensor(0.0)
      for k in 0..<4 {
        sum = sum + (row * turned[k]).eval().sum() + square(turned[1..<3][.all, k]).sum()
        sum.eval()
      }
      sum.backward()
      results += [sum, x.grad!, row.grad!, turned.grad!]
      (row * row).sum().backward(retainGraph: true)
      results += [x.grad!, row.grad!]
      let late = x[2..<4]
      square(late + row).sum().backward()
      results += [x.grad!, late.grad!]
      return results
    }
    func fold(_ x: Tensor) -> [Tensor] {
      // Rows and columns of one length.
      run(x[0..<4, 0..<4] + 0)
    }
    for form in [fold] {
      for (a, b) in zip(form(Tensor(array, copy: false)), form(Tensor(array))) {
        #expect(agree(a, b))
      }
    }
    let square4 = array[0..<4, 0..<4]
    for (a, b) in zip(run(Tensor(square4, copy: false)), run(Tensor(square4))) {
      #expect(agree(a, b))
    }
  }

  // MARK: Updates

  @Test("An update gives the tensor memory of its own", arguments: ways.dropLast())
  func updates(_ way: String) {
    let changes: [(String, (Tensor) -> Void)] = [
      ("+=", { $0 += 1 }), ("row", { $0[1] *= 3 }), ("columns", { $0[.all, 1..<3] -= 2 }),
      (
        "view",
        { x in
          let v = x.transposed()[2..<4]
          v += 5
        }
      ), ("rows", { $0[[0, 2]] = Tensor([1.0, 2, 3, 4, 5, 6]) }),
      ("mask", { $0[NDArray([true, false, true, false])] += 1 }),
      ("assign", { $0.assign(Tensor([1.0, 2, 3, 4, 5, 6])) }),
      (
        "reshaped",
        { x in
          let v = x.reshaped([4, 2, 3])
          v[.all, 1] *= 2
        }
      ), ("out", { x in exp(x, out: x) }),
    ]
    for (name, change) in changes {
      for isTracking in [false, true] {
        let array = Self.array(way)
        let old = array.elements(as: Double.self)
        let (x, copy) = (Tensor(array, copy: false), Tensor(array))
        let (before, before2) = (square(x), square(copy))
        let (view, view2) = (x[1..<3], copy[1..<3])
        if isTracking {
          change(x)
          change(copy)
        } else {
          noAutodiff {
            change(x)
            change(copy)
          }
        }
        #expect(agree(x, copy) && agree(view, view2) && agree(before, before2), "\(name)")
        #expect(array.elements(as: Double.self) == old, "\(name)")
        let (loss, loss2) = (
          (view * x[0]).sum() + before.sum(), (view2 * copy[0]).sum() + before2.sum()
        )
        loss.backward()
        loss2.backward()
        #expect(agree(loss, loss2) && agree(x.grad, copy.grad) && agree(view.grad, view2.grad))
        // All of the array's memory is left as it was, gaps included.
        #expect(
          array.base.map { $0.elements(as: Double.self) }
            == Self.array(way).base?.elements(as: Double.self))
      }
    }
  }

  @Test(
    "An update does not write into memory that only the tensor has left", arguments: ways.dropLast()
  )
  func lastOwner(_ way: String) {
    func run(copies: Bool) -> [Double] {
      let x = Tensor(Self.array(way), copy: copies)
      x[1..<3] += 10
      x[[0, 3]] *= 2
      let y = x.transposed()
      y[0..<2] -= 1
      return values(x)! + values(y)!
    }
    #expect(run(copies: false) == run(copies: true))
  }

  @Test("A repeated array can't be updated, and every element has its own gradient")
  func repeated() {
    let array = Self.array("repeated")
    let x = Tensor(array, copy: false)
    #expect(throws: TensorError.self) { try catchingTensorErrors { x += 1 } }
    #expect(throws: TensorError.self) { try catchingTensorErrors { x[0] = Tensor(1.0) } }
    #expect(!x.array.isWriteable && !x[1].array.isWriteable)
    (x[1] * Tensor([1.0, 2, 3, 4, 5, 6])).sum().backward()
    #expect(
      values(x.grad)
        == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6] + [Double](repeating: 0, count: 12))
    #expect(values(x[1].grad) == [1, 2, 3, 4, 5, 6])
  }

  @Test("Integers and truth values", arguments: [DType.int64, .int32, .uint8, .bool, .float32])
  func types(_ dtype: DType) {
    for way in Self.ways {
      let array = Self.array(way, dtype)
      let x = Tensor(array, copy: false)
      #expect(x.array.sharesMemory(with: array))
      let copy = Tensor(array)
      #expect(agree(x + x[1], copy + copy[1]) && agree(x.sum(axis: 0), copy.sum(axis: 0)))
      #expect(agree(x.transposed()[[1, 0]], copy.transposed()[[1, 0]]))
      #expect(agree(x.cast(to: .float64) * 2, copy.cast(to: .float64) * 2))
    }
  }

  @Test("What custom operations give may have strides", arguments: [false, true])
  func customResults(_ isComposite: Bool) {
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    let result =
      isComposite
      ? Tensor.composite(inputs: [x]) {
        $0[0].transposed()
      } gradient: { g, _, _ in
        [g.transposed()]
      }
      : Tensor.custom(inputs: [x]) {
        $0[0].transposed()
      } backward: { g, _, _ in
        [g.transposed()]
      }
    #expect(values(result) == [1, 4, 2, 5, 3, 6])
    #expect(values(result[1]) == [2, 5])
    (result * Tensor([[1.0, 2], [3, 4], [5, 6]])).backward()
    #expect(values(x.grad) == [1, 3, 5, 2, 4, 6])
  }
}
