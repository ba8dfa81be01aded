// Results in the memory of old values: what is computed element by element of a large value that nobody needs any
// more takes its place, as the step of an optimiser does; and what somebody needs stays.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Memory of results that replace an old value")
struct ResultMemoryTests {
  /// Above what is worth it, and more than one chunk.
  private static let n = 256

  private func matrix(_ seed: Int = 0, constant: Bool? = nil, dtype: DType = .float64) -> Tensor {
    let values = (0..<(Self.n * Self.n)).map {
      Double(($0 * 7919 + seed * 104_729 + 13) % 1009) / 1009 - 0.4
    }
    return Tensor(NDArray(values, shape: [Self.n, Self.n], dtype: dtype), constant: constant)
  }

  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  /// Where the value is, without leaving an array over it.
  private func address(_ x: Tensor) -> UnsafeMutableRawPointer {
    x.array.withUnsafeMutablePointer(to: Double.self) { UnsafeMutableRawPointer($0) }
  }

  /// How many results replace an old value in `body`, whatever the limits of the process.
  private func replaced(_ body: () -> Void) -> Int {
    let tape = Tape.current
    let before = tape.locked { tape.state.pointee.counters.resultsInPlace }
    Tape.withLimits(.usual, body)
    return tape.locked { tape.state.pointee.counters.resultsInPlace } - before
  }

  @Test("What is assigned stays where it was", arguments: [false, true])
  func assignment(_ tracked: Bool) {
    let w = matrix()
    var expected = values(w)
    let start = address(w)
    for round in 0..<4 {
      let update = { w.assign(w * 0.5 + w * w) }
      let count = replaced {
        if tracked { update() } else { noAutodiff(update) }
        w.eval()
        if tracked { w.sum().backward() }
      }
      expected = expected.map { $0 * 0.5 + $0 * $0 }
      // A tracked one has a rule that reads the old value.
      #expect(count == (tracked ? 0 : 1), "round \(round)")
      if !tracked { #expect(address(w) == start, "round \(round)") }
    }
    #expect(values(w) == expected)
  }

  @Test("A sum of a whole value, of halves, of a product and a value", arguments: 0..<3)
  func kinds(_ kind: Int) {
    let w = matrix(0, constant: true, dtype: kind == 1 ? .float16 : .float64)
    let (a, b) = (matrix(1, constant: true), matrix(2, constant: true))
    let copy = w.copy()
    func changed(_ w: Tensor) -> Tensor {
      switch kind {
      case 0: w * w.sum()
      case 1: w * 0.5 - 1
      default: matmul(a, b) * 0.25 + w
      }
    }
    let expected = values(changed(copy))
    let count = replaced {
      noAutodiff { w.assign(changed(w)) }
      w.eval()
    }
    #expect(count == 1)
    #expect(values(w) == expected)
  }

  /// What keeps an old value, or reads it in another order than it is written.
  enum Need: CaseIterable {
    case array, detached, pendingReader, laterReader, readerInTheLoop, transposed, row, reversed
    case shifted, rowSums, product, rule, small
  }

  @Test("What is needed, or read otherwise, stays", arguments: Need.allCases)
  func needed(_ need: Need) {
    let n = Self.n
    let w = matrix()
    let before = values(w)
    var kept: [Tensor] = []
    var array: NDArray?
    var expected = before.map { $0 + 1 }
    var other: Tensor?
    func assign(_ value: Tensor) { noAutodiff { w.assign(value) } }
    /// Each number with the one that stands at another place.
    func withOthers(_ place: (Int) -> Int) -> [Double] {
      (0..<(n * n)).map { before[$0] + before[place($0)] }
    }
    /// The place in the rows from the last to the first.
    func reversed(_ k: Int) -> Int { (n - 1 - k / n) * n + k % n }
    let count = replaced {
      switch need {
      case .array:
        array = w.array
        assign(w + 1)
      case .detached:
        kept = [w.detached()]
        assign(w + 1)
      case .pendingReader:
        let reader = w * 2
        assign(w + 1)
        w.eval()
        other = reader
      case .laterReader:
        // What it multiplies is known after the loop.
        let old = w.detached()
        assign(w + 1)
        other = noAutodiff { old[.slice(step: -1)] * (w.sum() * 0 + 2) }
      case .readerInTheLoop:
        let old = w.detached()
        assign(w + 1)
        other = noAutodiff { (old * 2).cast(to: .float32) }
      case .transposed:
        assign(w + w.T)
        expected = withOthers { $0 % n * n + $0 / n }
      case .row:
        assign(w + w[1])
        expected = withOthers { n + $0 % n }
      case .reversed:
        assign(w + w[.slice(step: -1)])
        expected = withOthers(reversed)
      case .shifted:
        let flat = w.reshaped(n * n)
        assign(concatenate([flat[1...], flat[..<1]]).reshaped(n, n) + w)
        expected = withOthers { ($0 + 1) % (n * n) }
      case .rowSums:
        assign(w * w.sum(axis: 1, keepDims: true))
        expected = []
      case .product:
        assign(matmul(w, w) + w)
        expected = []
      case .rule:
        other = (w * w * w).sum()
        assign(w + 1)
      case .small:
        let small = Tensor([1.0, 2, 3], constant: true)
        noAutodiff { small.assign(small + 1) }
        small.eval()
        #expect(values(small) == [2, 3, 4])
        expected = before
      }
      eval([w] + [other].compactMap { $0 })
    }
    #expect(count == 0, "\(need)")
    if !expected.isEmpty { #expect(values(w) == expected, "\(need)") }
    if need == .rowSums || need == .product {
      let old = Tensor(before, shape: [n, n], constant: true)
      let wanted =
        need == .product ? matmul(old, old) + old : old * old.sum(axis: 1, keepDims: true)
      #expect(values(w) == values(wanted))
    }
    if let array { #expect(array.elements(as: Double.self) == before) }
    for tensor in kept { #expect(values(tensor) == before) }
    switch need {
    case .pendingReader: #expect(values(other!) == before.map { $0 * 2 })
    case .laterReader:
      let wanted = (0..<(n * n)).map { 2 * before[reversed($0)] }
      #expect(values(other!) == wanted)
    case .readerInTheLoop:
      #expect(values(other!) == before.map { Double(Float($0 * 2)) })
    case .rule:
      #expect(other!.count == 1)
    default: break
    }
  }

  @Test("A gradient finds the old value that its rule reads")
  func rules() {
    let p = matrix()
    let w = p * 2
    w.eval()
    let loss = (w * w * w).sum()
    let before = values(w)
    let count = replaced {
      noAutodiff { w.assign(w + 1) }
      eval(w, loss)
    }
    #expect(count == 0)
    loss.backward()
    let expected = before.map { 6 * $0 * $0 }
    #expect(
      zip(values(p.grad!), expected).allSatisfy { abs($0 - $1) <= 1e-12 * max(1, abs($1)) })
  }

  @Test("Of two leaves and two results each has one of the other")
  func pairs() {
    let (a, b) = (matrix(0, constant: true), matrix(1, constant: true))
    let (x, y) = (values(a), values(b))
    let places = Set([address(a), address(b)])
    let count = replaced {
      // b's new value is computed of a's.
      noAutodiff {
        a.assign(a * 0.9 + b)
        b.assign(b - 0.1 * a)
      }
      eval(a, b)
    }
    let first = zip(x, y).map { $0 * 0.9 + $1 }
    #expect(values(a) == first && values(b) == zip(y, first).map { $0 - 0.1 * $1 })
    #expect(count == 2 && Set([address(a), address(b)]) == places)
  }

  @Test("A copy is read where it is used: what it is a copy of stays until then")
  func copies() {
    let w = matrix(0, constant: true)
    let before = values(w)
    let start = address(w)
    var copy = w
    _ = replaced {
      noAutodiff {
        let first = +w
        w.assign(w * 2)
        copy = +first.reshaped(Self.n * Self.n)
      }
      eval(w, copy)
    }
    #expect(values(w) == before.map { $0 * 2 } && values(copy) == before)
    #expect(address(w) != start)
  }

  @Test("Steps of optimisers: one plan, in place, whatever the rate", arguments: 0..<6)
  func steps(_ kind: Int) {
    let model = Sequential(
      Dense(160, 128, key: RandomKey(1)), Function { tanh($0) }, Dense(128, 96, key: RandomKey(2)))
    let x = Tensor(NDArray.linspace(-1, 1, count: 8 * 160).reshaped(8, 160), constant: true)
    let make: () -> GradientOptimizer = {
      switch kind {
      case 0: SGD(model, rate: 0.1, momentum: 0.9)
      case 1: Adam(model)
      case 2: AdamW(model)
      case 3: RMSProp(model, momentum: 0.5, centered: true)
      case 4: Adagrad(model)
      default: Adadelta(model)
      }
    }
    let optimizer = make()
    let keeps = [1, 2, 2, 3, 1, 2][kind]
    func step() { optimizer.step { square(model(x, training: true)).mean() } }
    for _ in 0..<3 { _ = replaced(step) }
    let weights = model.parameters.filter { $0.rank == 2 }
    let places = weights.map(address)
    for round in 0..<4 {
      optimizer.rate *= 0.9
      var count = 0
      let plans = PlanCounts { count = replaced(step) }
      #expect(plans == PlanCounts(hits: 1, misses: 0), "round \(round)")
      #expect(count == 2 * (1 + keeps), "round \(round)")
      #expect(weights.map(address) == places, "round \(round)")
    }
  }
}
