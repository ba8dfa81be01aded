// `out:` with a host array: written at once, shown by the result, locked for as long as the graph
// lives. Expected values are what MyGrad 2.5.0 gives for the same calls.

import LazyGrad
import Testing

@Suite("Results stored in arrays")
struct OutTests {
  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }
  private func values(_ x: NDArray) -> [Double] { x.elements(as: Double.self) }

  @Test("The array holds the result, which shows it, is locked with it and leads gradients on")
  func basics() throws {
    let x = Tensor([1.0, 2, 3])
    let out = NDArray.zeros([3])
    let y = square(x, out: out)
    #expect(values(out) == [1, 4, 9] && values(y) == [1, 4, 9])
    #expect(y.array.sharesMemory(with: out) && y.base == nil && !y.isConstant)
    #expect(!out.isWriteable && !out.lockHolders.isEmpty)
    #expect(throws: MemoryGuardError.self) { try out.fill(0.0) }
    let z = y * 2
    z.backward()
    #expect(values(x.grad) == [4, 8, 12] && values(y.grad) == [2, 2, 2])
    #expect(out.isWriteable)
    try out.fill(7.0)
    #expect(values(y) == [7, 7, 7])
    // The memory is free again, and a new graph begins at the result.
    let again = square(y)
    again.backward()
    #expect(values(y.grad) == [14, 14, 14])
  }

  @Test("Every operation that has out: stores in arrays, too")
  func everyOperation() {
    let (x, y) = (Tensor([1.0, 2, 3]), Tensor([4.0, 5, 6]))
    let calls: [(String, (Tensor, Tensor) -> Tensor, (Tensor, Tensor, NDArray) -> Tensor)] = [
      ("add", { $0 + $1 }, { add($0, $1, out: $2) }),
      ("subtract", { $0 - $1 }, { subtract($0, $1, out: $2) }),
      ("multiply", { $0 * $1 }, { multiply($0, $1, out: $2) }),
      ("divide", { $0 / $1 }, { divide($0, $1, out: $2) }),
      ("power", { $0 ** $1 }, { power($0, $1, out: $2) }),
      ("maximum", { maximum($0, $1) }, { maximum($0, $1, out: $2) }),
      ("minimum", { minimum($0, $1) }, { minimum($0, $1, out: $2) }),
      ("exp", { a, _ in exp(a) }, { a, _, o in exp(a, out: o) }),
      ("log", { a, _ in log(a) }, { a, _, o in log(a, out: o) }),
      ("tanh", { a, _ in tanh(a) }, { a, _, o in tanh(a, out: o) }),
      ("sqrt", { a, _ in sqrt(a) }, { a, _, o in sqrt(a, out: o) }),
      ("negative", { a, _ in -a }, { a, _, o in negative(a, out: o) }),
      ("clip", { a, _ in a.clip(1.5, 2.5) }, { a, _, o in a.clip(1.5, 2.5, out: o) }),
    ]
    for (name, plain, stored) in calls {
      let weights = Tensor([0.5, -1, 2], constant: true)
      let straight = plain(x, y)
      (straight * weights).backward()
      let expected = (values(straight), values(x.grad), values(y.grad))
      x.nullGradient()
      y.nullGradient()
      let out = NDArray.zeros([3])
      let result = stored(x, y, out)
      #expect(values(out) == expected.0, "\(name)")
      (result * weights).backward()
      #expect(values(x.grad) == expected.1, "\(name)")
      if expected.2 != nil { #expect(values(y.grad) == expected.2, "\(name)") }
      y.nullGradient()
    }
    let m = Tensor([[1.0, 2], [3, 4]])
    let table = NDArray.zeros([2, 2])
    matmul(m, m, out: table).clearGraph()
    #expect(values(table) == [7, 10, 15, 22])
    stack([m[0], m[1]], out: table).clearGraph()
    #expect(values(table) == [1, 2, 3, 4])
    concatenate([m[0..<1], m[0..<1]], out: table).backward()
    #expect(values(table) == [1, 2, 1, 2] && values(m.grad) == [2, 2, 0, 0])
  }

  @Test("Views of arrays: columns, backwards, every other; the base is locked with them")
  func views() throws {
    let x = Tensor([1.0, 2, 3])
    let base = NDArray.zeros([3, 4])
    let targets = [
      base[.all, 1], base.transposed()[2][.slice(step: -1)], base[1, 0..<3],
      base.reshaped([12])[.slice(1, nil, step: 4)],
    ]
    for out in targets {
      try base.fill(0.0)
      let y = multiply(x, x, out: out)
      #expect(values(out) == [1, 4, 9] && values(base).reduce(0, +) == 14)
      #expect(!base.isWriteable && !out.isWriteable && y.array.sharesMemory(with: base))
      let part = y[1...]
      (part * Tensor([10.0, 100])).backward()
      #expect(values(x.grad) == [0, 40, 600] && values(y.grad) == [0, 10, 100])
      #expect(base.isWriteable && out.isWriteable)
      // What it has become is a value like any other.
      (y[0..<2] * y[1...]).backward()
      #expect(values(y.grad) == [4, 10, 4])
      y[0..<2] += 1
      #expect(values(y) == [2, 5, 9] && values(out) == [1, 4, 9])
      #expect(!out.isWriteable)
      y.clearGraph()
      let quiet = noAutodiff { negative(x, out: out) }
      #expect(values(out) == [-1, -2, -3] && values(quiet) == [-1, -2, -3] && out.isWriteable)
      #expect(quiet.array.sharesMemory(with: out))
      (quiet[1...] * 3).backward()
      #expect(values(quiet.grad) == [0, 3, 3])
    }
  }

  @Test("Shapes and types are NumPy's: a result is broadcast to the array and cast to its kind")
  func shapesAndTypes() {
    let x = Tensor([1.0, 2, 3])
    let wide = NDArray.zeros([2, 3])
    exp(x * 0, out: wide).backward()
    #expect(values(wide) == [1, 1, 1, 1, 1, 1])
    let y = square(x, out: wide)
    y.backward()
    #expect(y.shape == [2, 3] && values(x.grad) == [4, 8, 12])
    let single = NDArray.zeros([3], dtype: .float32)
    let z = multiply(x, Tensor([0.1, 0.1, 0.1]), out: single)
    z.backward()
    #expect(z.dtype == .float32 && values(single) == [0.1, 0.2, 0.3].map { Double(Float($0)) })
    #expect(x.grad?.dtype == .float64 && values(x.grad) == [0.1, 0.1, 0.1].map { Double($0) })
    let counts = Tensor([1, 2, 3])
    let sums = add(counts, counts, out: NDArray.zeros([3]))
    #expect(sums.isConstant && sums.dtype == .float64 && values(sums) == [2, 4, 6])
    let scalar = NDArray(0.0)
    matmul(x, x, out: scalar).backward()
    #expect(scalar.item() == 14 && values(x.grad) == [2, 4, 6])
    let none = NDArray.zeros([0])
    add(x[0..<0], x[0..<0], out: none).backward()
    #expect(values(x.grad) == [0, 0, 0])
  }

  @Test("What can't be stored changes nothing: no element, no gradient, no lock")
  func refusals() throws {
    let x = Tensor([1.0, 2, 3])
    let n = Tensor([1, 2, 3])
    let fixed = NDArray([5.0, 5, 5])
    try fixed.setWriteable(false)
    let held = NDArray([5.0, 5, 5])
    let reader = Tensor(held, constant: true, copy: false) * 2
    let own = NDArray([5.0, 5, 5])
    let shown = Tensor(own, copy: false)
    let good = NDArray([5.0, 5, 5])
    x.backward()
    shown.backward()
    let calls: [(String, () -> Tensor)] = [
      ("shape", { exp(x, out: NDArray.zeros([2])) }), ("smaller", { exp(x, out: NDArray(1.0)) }),
      ("kind", { exp(x, out: NDArray([1, 2, 3])) }),
      ("int to bool", { add(n, n, out: NDArray([true, true, true])) }),
      ("int64 to uint8", { add(n, n, out: NDArray.zeros([3], dtype: .uint8)) }),
      ("division", { divide(n, n, out: NDArray([1, 2, 3])) }),
      ("read-only", { exp(x, out: fixed) }), ("locked", { exp(x, out: held) }),
      ("an operand", { multiply(shown, shown, out: own) }),
      ("a view of an operand", { multiply(shown[0..<2], shown[1...], out: own[..<2]) }),
      ("exact", { concatenate([x, x], out: NDArray.zeros([7])) }),
      ("an operation that fails", { matmul(x, Tensor([1.0]), out: good) }),
    ]
    for (name, call) in calls {
      #expect(throws: TensorError.self, "\(name)") { try catchingTensorErrors { _ = call() } }
    }
    #expect(values(fixed) == [5, 5, 5] && values(held) == [5, 5, 5] && values(own) == [5, 5, 5])
    #expect(values(good) == [5, 5, 5] && good.isWriteable && own.isWriteable)
    #expect(x.grad != nil && shown.grad != nil)
    #expect(values(reader) == [10, 10, 10])
    func message(_ call: () -> Tensor) -> String {
      do {
        _ = try catchingTensorErrors(call)
        return ""
      } catch { return "\(error)" }
    }
    #expect(message { exp(x, out: held) }.contains("locked: a live graph reads"))
    #expect(message { exp(x, out: fixed) } == "exp: out: the array is read-only")
    #expect(message { multiply(shown, shown, out: own) }.contains("held by multiply"))
  }

  @Test("An array that is an operand too: with the guard off, as if computed at once")
  func aliases() {
    memGuardOff {
      let out = NDArray([1.0, 2, 3])
      let x = Tensor(out, copy: false)
      let pending = x + 10
      let y = multiply(x, x, out: out)
      #expect(values(out) == [1, 4, 9] && values(x) == [1, 4, 9] && out.isWriteable)
      #expect(values(pending) == [11, 12, 13])
      // The documented risk of that mode: the gradient sees what the array holds now.
      y.backward()
      #expect(values(x.grad) == [2, 8, 18])
    }
    let out = NDArray([1.0, 2, 3, 4])
    let x = Tensor(out, copy: false)
    let sums = noAutodiff { add(x[..<3], x[1...], out: out[1...]) }
    #expect(values(out) == [1, 3, 5, 7] && values(sums) == [3, 5, 7])
    #expect(values(x) == [1, 3, 5, 7])
  }

  @Test("An update in place of the result leaves the array, another result takes it over")
  func reuse() {
    let x = Tensor([1.0, 2, 3])
    let out = NDArray.zeros([3])
    do {
      let y = square(x, out: out)
      let old = y[0..<1]
      y += 1
      #expect(values(y) == [2, 5, 10] && values(out) == [1, 4, 9] && values(old) == [2])
      #expect(throws: TensorError.self) { try catchingTensorErrors { exp(x, out: out) } }
    }
    #expect(out.isWriteable)
    for round in 1...3 {
      let y = multiply(x, Tensor(Double(round)), out: out)
      #expect(values(out) == [1, 2, 3].map { $0 * Double(round) })
      y.backward()
      #expect(values(x.grad) == [Double](repeating: Double(round), count: 3))
    }
    var total = 0.0
    for _ in 0..<2 {
      let hessian = gradients(
        of: gradients(
          of: (square(x, out: out) * x).sum(), withRespectTo: [x], createGraph: true)[0],
        withRespectTo: [x])
      total += hessian[0].sum().item()
    }
    #expect(total == 2 * 36)
  }
}
