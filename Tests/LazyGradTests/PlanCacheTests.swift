// The plan cache seen from programs: what is recognised again, what must not be confused, and that
// it stays bounded. Counters are the process's, so the suite runs one test at a time.

import LazyGrad
import LazyGradJIT
import Testing

@Suite(.serialized) struct PlanCacheTests {
  /// Plans made on the calling thread's tape while `body` runs.
  private func misses(_ body: () -> Void) -> Int {
    let tape = Tape.current
    let before = tape.locked { tape.state.pointee.counters.planMisses }
    body()
    return tape.locked { tape.state.pointee.counters.planMisses } - before
  }

  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  @Test func collidingKeysAreToldApart() {
    PlanCache.shared.withCollidingKeys {
      for _ in 0..<3 {
        let x = Tensor([1.0, 2, 3])
        let y = Tensor([4.0, 5, 6])
        #expect(values(x * y) == [4, 10, 18])
        #expect(values(x + y) == [5, 7, 9])
        #expect(values(x * x) == [1, 4, 9])
        #expect(values(x - y) == [-3, -3, -3])
        #expect((x * y).sum().item() == 32)
      }
    }
  }

  /// Windows that are equal but for which of their values are held, as many of each. Without autodiff,
  /// so that nothing is left that one which was not kept could be computed from again.
  @Test func collidingWindowsWithOtherValuesHeldAreToldApart() {
    PlanCache.shared.withCollidingKeys {
      for round in 0..<6 {
        let x = Tensor([1.0, 2], constant: true)
        var kept: Tensor?
        func product() -> Tensor {
          let a = x * 3
          let b = a + 1
          kept = round % 2 == 0 ? a : b
          return a * b
        }
        #expect(values(noAutodiff { product() }) == [12, 42])
        #expect(values(kept!) == (round % 2 == 0 ? [3, 6] : [4, 7]))
      }
    }
  }

  /// Windows that are equal but for whether a backward pass may still come by, which decides what stays in
  /// memory for it: of the second, the value that the rule of softmax reads.
  @Test(arguments: [DType.float16, .float32, .float64])
  func windowsWhoseGraphWasClearedAreToldApart(dtype: DType) {
    func product(isCleared: Bool) -> (x: Tensor, y: Tensor) {
      let x = Tensor(
        NDArray([0.5, 1, -1, 2, 0, 0.25], shape: [2, 3], dtype: dtype), constant: false)
      let y = softmax(x) * softmax(x)
      if isCleared { y.clearGraph() }
      y.eval()
      return (x, y)
    }
    PlanCache.shared.removeAll()
    func gradient() -> [Double] {
      let (x, y) = product(isCleared: false)
      y.sum().backward()
      return values(x.grad!)
    }
    let alone = gradient()
    PlanCache.shared.removeAll()
    for _ in 0..<2 { _ = product(isCleared: true) }
    #expect(gradient() == alone)
    #expect(alone.contains { $0 != 0 })
  }

  /// In one plan, where what is equal is computed once.
  @Test func operationsAlongOtherAxesAreNotEqual() {
    let x = Tensor([[1.0, 2, 4], [8, 16, 32], [0, 3, 5]])
    let difference: Tensor = x.sum(axis: 0) - x.sum(axis: 1)
    let wanted: [Double] = [2, -35, 33]
    #expect(values(difference) == wanted)
    #expect(values(x.max(axis: 1) - x.max(axis: 0)) == [-4, 16, -27] as [Double])
    #expect(
      values((x.argmax(axis: 0) - x.argmax(axis: 1)).cast(to: .float64)) == [-1, -1, -1] as [Double]
    )
  }

  @Test func aChangedScalarIsAHit() {
    let x = Tensor([1.0, 2, 3])
    _ = values((x * 3.0 + 1.0) * 0.5)
    let missed = misses {
      for k in 0..<5 {
        let c = Double(k) + 0.25
        #expect(values((x * c + 1.0) * 0.5) == [1, 2, 3].map { ($0 * c + 1) * 0.5 })
      }
    }
    #expect(missed == 0)
  }

  @Test func heldAndDroppedIntermediatesBothComeOutRight() {
    for _ in 0..<3 {
      let x = Tensor([1.0, 2], constant: true)
      let held = x * 7
      let a = held + 1
      #expect(values(a) == [8, 15])
      #expect(values(held) == [7, 14])
      #expect(values(x * 7 + 1) == [8, 15])
    }
  }

  @Test func oneLeafTwiceIsNotTwoLeaves() {
    for _ in 0..<3 {
      let x = Tensor([2.0, 3])
      let y = Tensor([5.0, 7])
      #expect(values(x * x) == [4, 9])
      #expect(values(x * y) == [10, 21])
      #expect(values(y * x) == [10, 21])
    }
  }

  private func step(_ w: Tensor, readsFirst: Bool) -> Double {
    let x = Tensor([[0.5, -1.0], [2.0, 0.25]], constant: true)
    let loss = tanh(matmul(x, w)).sum()
    if readsFirst { _ = loss.item() }
    loss.backward()
    let result = loss.item()
    noAutodiff { w -= w.grad! * 0.01 }
    w.eval()
    return result
  }

  @Test(arguments: [false, true])
  func aWarmTrainingStepMissesNoPlan(readsFirst: Bool) {
    let w = Tensor([[0.1, 0.2], [0.3, 0.4]])
    for _ in 0..<2 { _ = step(w, readsFirst: readsFirst) }
    #expect(misses { for _ in 0..<5 { _ = step(w, readsFirst: readsFirst) } } == 0)
  }

  /// Views that are gone when the window is forced: an update through a subscript leaves one.
  @Test func windowsWithWhatNothingNeedsAreKnown() {
    let a = Tensor([1.0, 2, 3, 4], constant: true)
    func updated() -> [Double] {
      let x = +a
      x[0..<2] += a[2...]
      _ = (x * 3)[1]
      return values(x)
    }
    let tape = Tape.current
    for _ in 0..<2 { #expect(updated() == [4, 6, 3, 4]) }
    let before = tape.locked { tape.state.pointee.counters.windowHits }
    for _ in 0..<5 { #expect(updated() == [4, 6, 3, 4]) }
    #expect(tape.locked { tape.state.pointee.counters.windowHits } == before + 5)
  }

  /// The same records, of which one is needed by what is asked for later, or is not.
  @Test(arguments: [false, true])
  func whatIsNeededIsNoWindowWithoutIt(collides: Bool) {
    func run() {
      let a = Tensor([1.0, 2], constant: true)
      for round in 0..<8 {
        let y = a * 3
        let z = y + 1
        var later: Tensor? = z * y
        if round % 3 != 1 { later = nil }
        let x = a + 1
        #expect(values(x) == [2, 3])
        if let later { #expect(values(later) == [12, 42]) }
      }
      let w = Tensor([1.0, 2])
      for round in 0..<8 {
        let loss = (w * w * 3).sum()
        loss.backward()
        let gradient = round % 3 == 1 ? w.grad : nil
        if round % 3 == 2 { w.nullGradient() }
        #expect(loss.item() == 15)
        if round % 3 != 2 { #expect(values((gradient ?? w.grad)!) == [6, 12]) }
      }
    }
    if collides { PlanCache.shared.withCollidingKeys(run) } else { run() }
  }

  /// The same records, of which others are held each time: what is held is kept in memory.
  @Test(arguments: [false, true])
  func windowsThatDifferInWhatIsHeld(collides: Bool) {
    func run() {
      let a = Tensor([1.0, 2], constant: true)
      for round in [0, 1, 2, 3, 3, 2, 1, 0, 7, 4, 6, 5, 7, 0] {
        var held: [Tensor] = []
        var y = a
        for k in 0..<3 {
          y = y * 3
          if round >> k & 1 == 1 { held.append(y) }
        }
        #expect(values(y + 1) == [28, 55])
        y = a
        let tape = Tape.current
        let before = tape.locked { tape.state.pointee.counters.kernelsRun }
        let all: [[Double]] = [[3, 6], [9, 18], [27, 54]]
        let expected = (0..<3).filter { round >> $0 & 1 == 1 }.map { all[$0] }
        #expect(held.map(values) == expected)
        // It is there: nothing is computed again.
        #expect(tape.locked { tape.state.pointee.counters.kernelsRun } == before)
      }
    }
    if collides { PlanCache.shared.withCollidingKeys(run) } else { run() }
  }

  @Test func plansDoNotDependOnWhereARecordStands() {
    let x = Tensor([1.0, 2, 3])
    let expected = values(exp(x * 0.5) - x)
    let held = x + 9
    for k in 0..<4 {
      var garbage = x
      for _ in 0..<k { garbage = garbage * 2 }
      #expect(values(exp(x * 0.5) - x) == expected)
    }
    #expect(values(held) == [10, 11, 12])
  }

  @Test func tenThousandPlansStayBounded() {
    // A thread of its own: other tests' tensors may be on the tape of one that they ran on.
    let (before, use) = ConcurrencyTests.onNewThread {
      let before = tapeUse()
      for n in 1...10_000 {
        let x = Tensor.full([n % 2500 + 1], Double(n), dtype: .float64)
        let y = n < 2500 ? x + 1 : n < 5000 ? x - 1 : n < 7500 ? x * 2 : -x
        y.eval()
      }
      return (before, tapeUse())
    }
    #expect(PlanCache.shared.count <= 512)
    // Bytes are the process's: an exit test looks at them, in a process of its own.
    #expect(use.live <= before.live + 2 && use.held <= before.held, "\(before) \(use)")
  }
}
