// The law that laziness can't be observed, where it is about more than values: what a failed call
// leaves behind, who holds a lock, whose memory a gradient is, what a loop keeps.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct LawTests {
  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }

  // MARK: Failed calls

  /// A new use clears the old gradient; a refused one is none.
  @Test func aFailedOperationLeavesGradientsAlone() {
    let x = Tensor([1.0, 2, 3])
    let attempts: [(String, () -> Void)] = [
      ("add", { _ = x + Tensor([1.0, 2]) }),
      ("where", { _ = `where`(Tensor([true, false]), x, x) }),
      ("matmul", { _ = matmul(x, Tensor([1.0, 2])) }),
      ("takeRows", { _ = x.takeRows(NDArray([9])) }),
      ("concatenate", { _ = concatenate([x, Tensor([[1.0]])]) }),
      ("stack", { _ = stack([x, Tensor([[1.0]])]) }), ("softmax", { _ = softmax(x, axis: 3) }),
      ("var", { _ = x.var(axis: 4) }), ("sum", { _ = x.sum(axis: 3) }),
      ("+=", { x += Tensor([[1.0, 2, 3], [4, 5, 6]]) }), ("**=", { x **= Tensor([1.0, 2]) }),
      ("assign", { x.assign(Tensor([1.0, 2])) }), ("slice", { x[0..<2] = Tensor([1.0, 2, 3]) }),
      ("index", { x[[0, 1]] = Tensor([1.0, 2, 3]) }), ("seed", { x.backward(Tensor([1.0, 2])) }),
      ("poison", { x += x[7] }), ("out", { exp(x, out: Tensor([1.0, 2])) }),
      ("matmul out", { matmul(x, x, out: Tensor([1.0, 2])) }),
      ("type of out", { add(x, x, out: Tensor([1, 2, 3])) }),
      (
        "custom",
        {
          _ = Tensor.composite(inputs: [x]) { _ in
            x[7]
          } gradient: { g, _, _ in
            [g]
          }
        }
      ),
    ]
    for (name, attempt) in attempts {
      (x * 2).backward()
      #expect(throws: TensorError.self, "\(name)") { try catchingTensorErrors(attempt) }
      #expect(values(x.grad) == [2, 2, 2] && values(x) == [1, 2, 3], "\(name)")
    }
  }

  @Test func aFailedOperationOnACutOffViewLeavesNoLock() {
    let x = NDArray([1.0, 2])
    let t = Tensor(x, copy: false)
    let view = noAutodiff { t.reshaped([1, 2]) }
    for attempt in [
      { _ = matmul(view, Tensor([1.0, 2, 3])) }, { _ = view + Tensor([1.0, 2, 3]) },
      { _ = `where`(Tensor([true]), Tensor([1.0, 2, 3]), view) },
    ] {
      #expect(throws: TensorError.self) { try catchingTensorErrors(attempt) }
      #expect(x.isWriteable)
    }
  }

  /// For C: strided as it is, and past the guard.
  @Test func unsafeAccessPassesByTheGuard() {
    let x = NDArray([[1.0, 2], [3, 4]])
    let column = x[.all, 1]
    let y = memGuardOn { (x * Tensor([1.0, 1])).eval() }
    #expect(!column.isWriteable)
    column.withUnsafeMutablePointer(to: Double.self) { $0[column.strides[0]] = 9 }
    #expect(x.elements(as: Double.self) == [1, 2, 3, 9])
    #expect(values(y) == [1, 2, 3, 4])
  }

  // MARK: Uses

  @Test func everyUseClearsTheOldGradient() {
    let uses: [(String, (Tensor) -> Void)] = [
      ("rows", { _ = $0[[0, 2]] }), ("flattened", { _ = $0.flattened() }),
      ("stack", { _ = stack([$0, $0]) }), ("matmul", { _ = matmul($0, $0) }),
      ("softmax", { _ = softmax($0) }), ("softplus", { _ = softplus($0) }),
      (
        "assigned, broadcast",
        {
          let y = Tensor.zeros([2, 3], dtype: .float64)
          y[0..<2] = $0
        }
      ),
      (
        "assigned to rows",
        {
          let y = Tensor.zeros([2, 3], dtype: .float64)
          y[[1]] = $0
        }
      ),
      (
        "assigned, cast",
        {
          let y = Tensor.zeros([3], dtype: .float32)
          y.assign($0)
        }
      ),
    ]
    for (name, use) in uses {
      let x = Tensor([1.0, 2, 3])
      (x * 2).backward()
      use(x)
      #expect(x.grad == nil, "\(name)")
    }
  }

  // MARK: Locks

  @Test func whatIsPendingWithoutAutodiffHoldsNoLock() throws {
    let x = NDArray([1.0, 2])
    var y: Tensor? = x * Tensor([3.0, 4])
    let z = noAutodiff { y! * 2 }
    y = nil
    #expect(x.isWriteable)
    try x.fill(0.0)
    #expect(values(z) == [6, 16])
  }

  @Test func aViewThatFollowsAnUpdateTakesItsScope() {
    let x = Tensor([1.0, 2, 3])
    let view = noAutodiff { x[0..<2] }
    noAutodiff { x += 1 }
    // Looked at here, where operations are tracked and guarded.
    let array = view.array
    #expect(array.isWriteable && values(view) == [2, 3])
  }

  @Test func readingAGradientLocksNothing() {
    let x = Tensor([[1.0, 2], [3, 4]])
    let row = x[0]
    (x * x).backward()
    let gradient = row.grad!
    #expect(gradient.array.isWriteable)
  }

  /// An array over a result is locked by what reads that result, not by what lies beside it.
  @Test func savedNeighboursLockNothing() {
    let x = Tensor([1.0, 2, 3])
    let y = x / (square(x) + 1)
    let p = memGuardOff { softmax(y) }
    #expect(p.array.isWriteable)
    withExtendedLifetime((x, y)) {}
  }

  @Test func everyWindowOntoAResultIsLockedWithIt() {
    let x = Tensor([1.0, 2, 3, 4])
    let y = exp(x)
    let quiet = noAutodiff { y.reshaped([2, 2]) }
    #expect(!quiet.array.isWriteable)
    let later = memGuardOff { y[1...] }
    eval(y)
    #expect(!later.array.isWriteable)
  }

  /// One that is pending in a later window too.
  @Test func aPendingReaderLocks() throws {
    let x = Tensor([1.0, 2])
    let quiet = memGuardOff { x * 3 }
    let other = x + 1
    other.eval()
    let reader = quiet * 2
    let array = noAutodiff { quiet.array }
    #expect(throws: MemoryGuardError.self) { try array.fill(0.0) }
    #expect(values(reader) == [6, 12])
  }

  @Test func constantsBelowAComputedHeadAreReleased() {
    let c = Tensor([3.0], constant: true)
    let limit = minimum(c - c, -1)
    let array = limit.array
    #expect(!array.isWriteable)
    let head = limit - Tensor([1.0])
    head.eval()
    head.backward()
    #expect(array.isWriteable)
  }

  // MARK: Cleared graphs

  /// A value without a graph of its own is taken up again by a new use, computed or not.
  @Test(arguments: [false, true], [false, true])
  func newUsesTakeUpWhatWasCleared(_ reads: Bool, _ isView: Bool) {
    let x = Tensor.full([3], 2.0)
    let y = x * 5
    if reads { eval(x, y) }
    x.backward()
    _ = isView ? x[0..<2] : x + 1
    #expect(throws: Never.self) { try catchingTensorErrors { y.backward() } }
    #expect(values(x.grad) == [5, 5, 5])
  }

  @Test func clearingTwiceIsClearingOnce() {
    let x = Tensor([1.0, 2])
    let view = x[0..<1]
    x.backward()
    x.clearGraph()
    #expect(throws: TensorError.self) { try catchingTensorErrors { view.backward() } }
  }

  @Test func aConstantHeadIsClearedEvenAboveAClearedPart() {
    let array = NDArray([1.0, 2])
    let x = Tensor([3.0, 4])
    let y = x * 2
    let c = Tensor(array, constant: true, copy: false)
    c += y
    #expect(!array.isWriteable)
    y.backward()
    #expect(throws: Never.self) { try catchingTensorErrors { c.backward() } }
    #expect(array.isWriteable && values(c) == [7, 10])
  }

  // MARK: Memory of gradients

  @Test func aGradientHasMemoryOfItsOwn() throws {
    let x = Tensor([1.0, 2, 3])
    let whole = concatenate([x, x * 2])
    let total = whole.sum()
    total.backward()
    let array = x.grad!.array
    #expect(array.isWriteable)
    try array.fill(9.0)
    #expect(values(whole.grad) == [1, 1, 1, 1, 1, 1])
    let found = gradients(of: x.sum(), withRespectTo: [x])[0].array
    #expect(found.isWriteable)
  }

  @Test func aCopyHasValueAndGradient() throws {
    let x = Tensor([1.0, 2])
    (x * x).backward()
    let copy = x.copy()
    x += 1
    #expect(values(copy) == [1, 2] && values(copy.grad) == [2, 4] && copy.base == nil)
    #expect(x.grad == nil && !copy.isConstant)
    let constant = copy.copy(constant: true)
    #expect(constant.isConstant && constant.grad == nil)
    (copy * 3).backward()
    #expect(values(copy.grad) == [3, 3])
    let detached = copy.detached()
    #expect(detached.grad == nil && !detached.array.sharesMemory(with: copy.array))
  }

  // MARK: Types of updates

  @Test func settersConvertAndOperatorsDoNot() {
    let n = Tensor([1, 2, 3])
    n[0] = Tensor(3.7)
    n[[1]] = Tensor(-2.7)
    #expect(n.elements(as: Int.self) == [3, -2, 3])
    n.assign(Tensor(1.9))
    #expect(n.elements(as: Int.self) == [1, 1, 1])
    for attempt in [{ n /= 2 }, { n += 0.5 }, { n *= Tensor([1.0, 2, 3]) }] {
      #expect(throws: TensorError.self) { try catchingTensorErrors(attempt) }
    }
    #expect(n.elements(as: Int.self) == [1, 1, 1])
  }

  @Test func tensorsOverReadOnlyArraysRefuseUpdates() throws {
    let x = NDArray([1.0, 2])
    try x.setWriteable(false)
    let t = Tensor(x, copy: false)
    let view = t[0..<1]
    for attempt in [
      { t += 1 }, { view *= 2 }, { t[0] = Tensor(5.0) }, { t[[0]] = Tensor(5.0) },
      { t.assign(Tensor(5.0)) }, { add(t, t, out: t) },
    ] as [() -> Void] {
      #expect(throws: TensorError.self) { try catchingTensorErrors(attempt) }
    }
    #expect(values(t) == [1, 2])
  }

  // MARK: out:

  @Test func outStoresInPlace() {
    let (x, y) = (Tensor([1.0, 2, 3]), Tensor([4.0, 5, 6]))
    let target = Tensor([0.0, 0, 0])
    let view = target[0..<2]
    #expect(add(x, y, out: target) === target)
    #expect(values(target) == [5, 7, 9] && values(view) == [5, 7])
    multiply(x[0..<2], Tensor(10.0), out: view)
    #expect(values(target) == [10, 20, 9])
    (target * target).sum().backward()
    #expect(values(x.grad) == [200, 400, 18] && values(y.grad) == [0, 0, 18])
    let calls: [(String, (Tensor, Tensor) -> Tensor, (Tensor, Tensor, Tensor) -> Void)] = [
      ("subtract", { $0 - $1 }, { subtract($0, $1, out: $2) }),
      ("divide", { $0 / $1 }, { divide($0, $1, out: $2) }),
      ("power", { $0 ** $1 }, { power($0, $1, out: $2) }),
      ("maximum", { maximum($0, $1) }, { maximum($0, $1, out: $2) }),
      ("minimum", { minimum($0, $1) }, { minimum($0, $1, out: $2) }),
      ("sqrt", { a, _ in sqrt(a) }, { sqrt($0, out: $2) }),
      ("square", { a, _ in square(a) }, { square($0, out: $2) }),
      ("reciprocal", { a, _ in reciprocal(a) }, { reciprocal($0, out: $2) }),
      ("abs", { a, _ in abs(a) }, { abs($0, out: $2) }),
      ("negative", { a, _ in -a }, { negative($0, out: $2) }),
      ("positive", { a, _ in +a }, { positive($0, out: $2) }),
      ("clip", { a, _ in a.clip(1.5, 2.5) }, { $0.clip(1.5, 2.5, out: $2) }),
    ]
    for function in UnaryFunction.all {
      guard let store = function.store else { continue }
      let inside = x * (function.function.domain.upperBound < 1 ? 0.25 : 1)
      _ = store(inside, target)
      #expect(values(target) == values(function.call(inside)), "\(function.name)")
    }
    for (name, plain, stored) in calls {
      stored(x, y, target)
      #expect(values(target) == values(plain(x, y)), "\(name)")
    }
    let table = Tensor([[0.0, 0], [0, 0]])
    let m = Tensor([[1.0, 2], [3, 4]])
    matmul(m, m, out: table)
    #expect(values(table) == [7, 10, 15, 22])
    stack([m[0], m[1]], out: table)
    #expect(values(table) == [1, 2, 3, 4])
    concatenate([m[0..<1], m[0..<1]], out: table)
    #expect(values(table) == [1, 2, 1, 2])
  }

  // MARK: Loops

  /// Bytes in use differ between turns only by what other tests do meanwhile; live records are this
  /// thread's own.
  private func liveRecords(_ turns: Int, _ step: () -> Void) -> (early: Int, late: Int) {
    for _ in 0..<8 { step() }
    let early = tapeUse().live
    for _ in 0..<turns { step() }
    return (early, tapeUse().live)
  }

  /// The gradient of a parameter's value before its last update is nobody's.
  @Test(arguments: 0..<4)
  func updatesOfAPartKeepNothing(_ way: Int) {
    let w = Tensor(NDArray.ones([16, 16]))
    let x = Tensor(NDArray.ones([2, 16]), constant: true)
    let use = liveRecords(200) {
      let loss = square(matmul(x, w) * 0.01).sum()
      loss.backward()
      let g = w.grad!
      switch way {
      case 0: w[0..<2] -= 0.1 * g[0..<2]
      case 1: w[[0, 3, 0]] -= 0.1 * g[[0, 3, 0]]
      case 2:
        let row = w[1]
        row -= 0.1 * row.grad!
      default: noAutodiff { w[0..<2] -= 0.1 * g[0..<2] }
      }
      w.eval()
    }
    #expect(use.late <= use.early, "\(use)")
  }

  /// Gradients that nobody reads are never computed, and nothing is kept for them.
  @Test(arguments: [false, true])
  func unreadGradientsCostNothing(_ holdsSomething: Bool) {
    let held = Tensor([1.0]) * 2
    let w = Tensor(NDArray.ones([16, 16]))
    let unused = Tensor(NDArray.ones([16, 16]))
    let x = Tensor(NDArray.ones([2, 16]), constant: true)
    let tape = Tape.current
    func kernels() -> Int { tape.locked { tape.state.pointee.counters.kernelsRun } }
    func step(_ differentiates: Bool) {
      let loss = tanh(matmul(matmul(x, w), unused)).sum()
      if differentiates { loss.backward() }
      _ = loss.item()
    }
    for _ in 0..<4 {
      step(false)
      step(true)
    }
    Tape.withLimits(.usual) {
      var start = kernels()
      for _ in 0..<50 { step(false) }
      let forward = kernels() - start
      start = kernels()
      let use = liveRecords(42) { step(true) }
      #expect(kernels() - start == forward)
      #expect(use.late <= use.early, "\(use)")
    }
    if holdsSomething { #expect(held.item() == 2) }
  }
}
