// Objects of views that are used again: nobody can tell, neither by identity nor by weak references, by
// the views' bases, by locks, by gradients or by what is computed.

import LazyGrad
import LazyGradJIT
import Testing

@Suite struct RecentViewsTests {
  private static let rounds = 100
  /// What tapes do usually, and with all limits small: one place for all bases, from the first record on.
  private static let limits: [TapeLimits] = [.usual, TapeLimits(windowRecords: 61)]

  /// Runs `body` on a thread of its own, on a tape that keeps objects and knows what these views are like.
  private func run(_ limits: TapeLimits, _ body: @escaping @Sendable (Tensor) -> Void) {
    ConcurrencyTests.onNewThread {
      Tape.withLimits(limits) {
        let x = Tensor([1.0, 2, 3])
        for _ in 0..<32 { _ = x[0] }
        body(x)
      }
    }
  }

  @Test func viewsOfOneBaseUseTheObjectAgain() {
    run(.usual) { x in
      let y = x * 2
      var objects: Set<ObjectIdentifier> = []
      // Anything else that is made meanwhile would be given the memory of an object that is freed.
      var others: [Tensor] = []
      for i in 0..<Self.rounds {
        for base in [x, y] { objects.insert(ObjectIdentifier(base[i % 3])) }
        others.append(Tensor([0.0]))
      }
      // The first two of each base, which have yet to be kept.
      #expect(objects.count <= 6)
    }
  }

  @Test(arguments: limits) func whatTheProgramHoldsIsNeverHandedOutAgain(_ limits: TapeLimits) {
    run(limits) { x in
      var held: [Tensor] = []
      for i in 0..<Self.rounds {
        let element = x[i % 3]
        if i % 4 == 0 { held.append(element) }
      }
      #expect(Set(held.map { ObjectIdentifier($0) }).count == held.count)
      for (k, view) in held.enumerated() {
        #expect(view.base === x)
        #expect(view.item() == Double(4 * k % 3) + 1)
      }
    }
  }

  @Test(arguments: limits) func aWeakReferenceNeverShowsAnotherView(_ limits: TapeLimits) {
    run(limits) { x in
      weak var first: Tensor?
      do {
        let view = x[1]
        first = view
      }
      for i in 0..<Self.rounds {
        let other = x[i % 3]
        #expect(first !== other)
      }
      _ = x.sum().item()
      #expect(first == nil)
    }
  }

  /// Views of views, of other lengths, of other bases, with and without gradients: each is what it would be as
  /// an object of its own.
  @Test(arguments: limits) func aViewThatIsMadeAgainIsNew(_ limits: TapeLimits) {
    run(limits) { x in
      for i in 0..<Self.rounds {
        let base = i % 5 == 0 ? x * 1 : x
        if i % 3 == 0 { noAutodiff { _ = base[1...] } }
        if i % 4 == 0 { _ = base[1...][0] }
        let view = i % 2 == 0 ? base[i % 3] : base[1...][i % 2]
        let place = i % 2 == 0 ? i % 3 : 1 + i % 2
        #expect(view.grad == nil)
        #expect(view.base === base)
        #expect(view.shape == [])
        (view * 3).backward()
        var expected = [0.0, 0, 0]
        expected[place] = 3
        #expect(base.gradient.elements(as: Double.self) == expected)
        #expect(view.gradient.item() == 3)
        base.nullGradient()
        x.nullGradient()
      }
    }
  }

  /// As when there is none: an update renews the views that are there, and no others.
  @Test func updatesDontRenewDroppedViews() {
    run(.usual) { x in
      func records(_ body: () -> Void) -> Int {
        let before = Tape.current.locked { Tape.current.state.pointee.count }
        body()
        return Int(Tape.current.locked { Tape.current.state.pointee.count } - before)
      }
      noAutodiff {
        x += 1
        let without = records { x += 1 }
        for _ in 0..<4 { _ = x[1] }
        #expect(records { x += 1 } == without)
        let view = x[2]
        #expect(records { x += 1 } == without + 1)
        #expect(view.item() == 7)
      }
    }
  }

  @Test(arguments: limits) func droppedViewsKeepAndLockNothing(_ limits: TapeLimits) {
    run(limits) { _ in
      let array = NDArray([1.0, 2, 3])
      for i in 0..<Self.rounds {
        let x = Tensor(array, copy: false)
        for _ in 0..<3 { _ = x[i % 3] }
        let last = x[1] * 2
        _ = last[.newAxis]
        #expect(!array.isWriteable)
        _ = consume last
        _ = consume x
        #expect(array.isWriteable, "round \(i)")
        #expect(throws: Never.self) { try array.fill(Double(i)) }
      }
    }
  }

  /// Neither the view nor the base that only it has a reference to.
  @Test func whatIsDroppedIsNotComputed() {
    run(.usual) { x in
      for isRecorded in [false, true] {
        let host = Tensor([1.0, 2, 3])
        let kept = x * 3
        do {
          let base = isRecorded ? exp(host) : host
          for i in 0..<8 { _ = base[i % 3] + kept }
        }
        func bytesWritten() -> Int {
          Tape.current.locked { Tape.current.state.pointee.counters.bytesWritten }
        }
        let before = bytesWritten()
        kept.eval()
        #expect(bytesWritten() - before == 24)
        #expect(kept.elements(as: Double.self) == [3, 6, 9])
      }
    }
  }

  @Test func basesGoWithTheirLastViews() {
    run(.usual) { x in
      weak var base: Tensor?
      do {
        let product = x * 2
        base = product
        for i in 0..<8 { _ = product[i % 3] }
      }
      _ = (x + 1).sum().item()
      #expect(base == nil)
    }
  }

  @Test func viewsThatAreDroppedOnAnotherThreadAreUsedAgainHere() {
    run(.usual) { x in
      for i in 0..<Self.rounds {
        let sent = ConcurrencyTests.Sent(value: x[i % 3])
        let square = ConcurrencyTests.onNewThread { (sent.value * sent.value).item() }
        #expect(square == Double((i % 3 + 1) * (i % 3 + 1)))
      }
    }
  }
}
