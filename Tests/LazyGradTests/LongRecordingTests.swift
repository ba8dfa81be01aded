// Recordings that are longer than a window, and passes over them, which run in pieces: right at every
// length, with windows of every size, whatever else is pending on the tape.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct LongRecordingTests {
  private func values(_ x: Tensor?) -> [Double] { x?.elements(as: Double.self) ?? [] }

  /// Runs `body` with small windows of several sizes, each on a thread of its own, and with none.
  static func everyWindow(_ body: @escaping @Sendable (UInt32) -> Void) {
    for records in [10, 11, 13, 16, 23, 64, 100, 257, 1024] as [UInt32] {
      ConcurrencyTests.onNewThread {
        Tape.withLimits(TapeLimits(windowRecords: records)) { body(records) }
      }
    }
    ConcurrencyTests.onNewThread { body(TapeLimits().windowRecords) }
  }

  // MARK: Chains

  /// The value has been cleared, and what reads it is cleared by a pass that runs in pieces.
  @Test func aNewUseOfWhatAPassHasCleared() {
    Self.everyWindow { window in
      for filler in 0..<24 {
        let x = Tensor.full([2, 1], 1.0)
        x -= 2
        x.backward()
        let others = (0..<filler).map { Tensor.full([2], Double($0)) }
        let y = tanh(x) * 3
        y.backward()
        // 3 (1 - tanh(-1)^2)
        let slopes = self.values(x.grad)
        #expect(slopes.count == 2, "window \(window), \(filler) others")
        #expect(slopes.allSatisfy { abs($0 - 1.2599230248420783) < 1e-14 })
        #expect(others.allSatisfy { $0.count == 2 })
      }
    }
  }

  @Test func productsOfOneVariable() {
    Self.everyWindow { window in
      for steps in [1, 2, 3, 5, 10, 100, 333, 1000] {
        let w = Tensor([1.0])
        var y = Tensor([1.0], constant: true)
        for _ in 0..<steps { y = y * w }
        y.backward()
        #expect(w.grad!.item() == Double(steps), "window \(window), \(steps) steps")
      }
    }
  }

  /// Around the number of steps at which a pass over a chain fills the usual window.
  @Test(arguments: [8192, 40_000, 65_535, 65_536, 65_537, 80_000])
  func productsOfOneVariableInTheUsualWindow(steps: Int) {
    ConcurrencyTests.onNewThread {
      let w = Tensor([1.0])
      var y = Tensor([1.0], constant: true)
      for _ in 0..<steps { y = y * w }
      y.backward()
      #expect(w.grad!.item() == Double(steps))
    }
  }

  @Test(arguments: [false, true])
  func sumsOfFunctionsOfOneVariable(asFunction: Bool) {
    for steps in [300, 1999, 4000, 6000] {
      let found = ConcurrencyTests.onNewThread {
        let w = Tensor([1.0])
        var l = Tensor(0.0)
        for _ in 0..<steps { l = l + tanh(w).sum() }
        if asFunction { return gradients(of: l, withRespectTo: [w])[0].item() }
        l.backward()
        return w.grad!.item()
      }
      let slope: Double = 0.41997434161402614
      let expected: Double = Double(steps) * slope
      #expect(abs(found - expected) < 1e-10 * expected, "\(steps) steps: \(found)")
    }
  }

  /// The number with which a pass begins is seen as a view, which is computed while others still wait for the
  /// number to be passed on.
  @Test func aNumberThatIsInMemoryAndPassedOn() {
    Self.everyWindow { window in
      for steps in [1, 3, 10, 40, 300] {
        let (w, u, x, y) = (Tensor(2.0), Tensor(0.5), Tensor([3.0]), Tensor([[1.0]]))
        let early = w * 3
        var chain = u + 0
        for _ in 0..<steps { chain = chain + u }
        let loss = (early + chain) + x.reshaped([]) + y[0, 0]
        loss.backward()
        let found = [w, u, x, y].flatMap { self.values($0.grad) }
        #expect(found == [3, Double(steps + 1), 1, 1], "window \(window), \(steps) steps")
      }
    }
  }

  // MARK: A recurrence

  /// What a caller does with a long recording before and after it is differentiated.
  enum Use: CaseIterable, Sendable {
    case backward, retained, function, readsLoss, readsOnTheWay, holdsStates, accumulates
  }

  private static func gradient(_ w: [Double], _ x: Double, steps: Int, _ use: Use) -> [Double] {
    let weights = Tensor(NDArray(w, shape: [2, 2]))
    let input = Tensor([x])
    var h = Tensor.zeros([1, 2], constant: true)
    var loss = Tensor(0.0)
    var states: [Tensor] = []
    for t in 0..<steps {
      h = tanh(matmul(h, weights) + input)
      loss = loss + 0.5 * (h * h).sum()
      if use == .readsOnTheWay, t % 37 == 0 { _ = loss.item() }
      if use == .holdsStates { states.append(h) }
    }
    if use == .readsLoss { loss.eval() }
    if use == .function {
      return gradients(of: loss, withRespectTo: [weights, input]).flatMap {
        $0.elements(as: Double.self)
      }
    }
    loss.backward(retainGraph: use == .retained, accumulate: use == .accumulates)
    if use == .retained { loss.backward() }
    return [weights, input].flatMap { $0.grad!.elements(as: Double.self) }
  }

  private func check(_ steps: Int, _ use: Use, _ window: UInt32) {
    let w = [0.6, -0.4, 0.3, 0.5]
    let expected = TanhRecurrence(w, 0.2, steps: steps).gradient
    let found = Self.gradient(w, 0.2, steps: steps, use)
    for (a, b) in zip(found, expected) {
      let bound: Double = 1e-11 * Swift.max(1, abs(b))
      #expect(abs(a - b) <= bound, "window \(window), \(steps) steps, \(use)")
    }
  }

  @Test(arguments: Use.allCases)
  func recurrencesInSmallWindows(use: Use) {
    Self.everyWindow { window in
      for steps in [1, 2, 3, 7, 20, 50, 211] { self.check(steps, use, window) }
    }
  }

  @Test(arguments: Use.allCases)
  func recurrencesInTheUsualWindow(use: Use) {
    ConcurrencyTests.onNewThread {
      for steps in [1000, 1584, 3000, 6000] { self.check(steps, use, TapeLimits().windowRecords) }
    }
  }

  // MARK: Many variables

  @Test func everyOneOfManyVariablesGetsItsGradient() {
    ConcurrencyTests.onNewThread {
      let w = (0..<10_000).map { Tensor([Double($0), 1]) }
      var l = Tensor(0.0)
      for x in w { l = l + (x * x * 0.5).sum() }
      l.backward()
      let wrong = w.indices.filter { w[$0].grad.map { self.values($0) } != [Double($0), 1] }
      #expect(wrong.isEmpty, "\(wrong.count), the first \(wrong.first ?? 0)")
    }
  }

  /// Work of the program's that has nothing to do with the pass but fills its window.
  @Test func unrelatedPendingWork() {
    for count in [32_700, 32_758, 32_766, 32_768] {
      ConcurrencyTests.onNewThread {
        let other = Tensor([1.0], constant: true)
        let pending = (0..<count).map { _ in other + 1 }
        let x = [Tensor([0.0]), Tensor([0.0]), Tensor([0.0])]
        let y = x.map { sin($0) }
        eval(y[0])
        (y[0] + y[1] + y[2]).backward()
        for x in x { #expect(x.grad.map { self.values($0) } == [1]) }
        withExtendedLifetime(pending) {}
      }
    }
  }

  @Test func aLoopThatForgetsToEvaluate() {
    ConcurrencyTests.onNewThread {
      let w = Tensor([0.5, -0.25])
      var expected = [0.5, -0.25]
      for step in 0..<3000 {
        (w * w).sum().backward()
        guard let gradient = w.grad else {
          Issue.record("no gradient at step \(step)")
          return
        }
        noAutodiff { w -= 0.001 * gradient }
        for k in 0..<2 { expected[k] -= 0.001 * (2 * expected[k]) }
      }
      for (a, b) in zip(self.values(w), expected) { #expect(abs(a - b) < 1e-13) }
    }
  }

  /// What is seen of a part begins where the part does, also where a window has ended between the two.
  @Test func aPartOfAPartOfAnEarlierWindow() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2, 3, 4, 5, 6])
      let y = x * 2
      let part = y[2...]
      eval(Tensor([1.0]) + 1)
      let ones = Tensor([1.0, 1, 1, 1], constant: true)
      let sum = matmul(part, ones)
      #expect(sum.item() == 2 * (3 + 4 + 5 + 6))
      (sum * 3).backward()
      #expect(self.values(x.grad) == [0, 0, 6, 6, 6, 6])
    }
  }

  // MARK: Linear

  /// Records a leaf, measured where windows are full and where they are not.
  @Test func joiningManyTensorsRecordsALinearNumberOfOperations() {
    func recorded(_ count: Int, _ join: @escaping @Sendable ([Tensor]) -> Tensor) -> Double {
      ConcurrencyTests.onNewThread {
        let leaves = (0..<count).map { Tensor([Double($0)]) }
        let before = Tape.recordsOfThisThread
        let y = join(leaves)
        (y * y).backward()
        var sum: Double = 0
        for leaf in leaves { sum += leaf.grad?.item() ?? Double.nan }
        #expect(sum == Double((count - 1) * count))
        return Double(Tape.recordsOfThisThread - before) / Double(count)
      }
    }
    for join in [{ concatenate($0) }, { stack($0) }] as [@Sendable ([Tensor]) -> Tensor] {
      let (few, many) = (recorded(1000, join), recorded(50_000, join))
      #expect(many < 2 * few + 8, "\(few) records a leaf, \(many) where they fill windows")
    }
  }

  @Test func aChainOfDroppedViewsIsLetGo() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2, 3, 4])
      var y = x * 2
      for step in 0..<200_000 { y = y.reshaped(step % 2 == 0 ? [2, 2] : [4]) }
      y.backward()
      #expect(self.values(x.grad) == [2, 2, 2, 2])
    }
  }
}
