// Tensor objects that are used again: nobody can tell, neither by identity nor by weak references, by
// locks, by memory or by what is computed.

import LazyGrad
import LazyGradJIT
import Testing

@Suite struct RecentObjectsTests {
  private static let rounds = 200

  /// Enough records that the tape keeps objects.
  private func warmUp(_ x: Tensor) {
    for _ in 0..<64 { _ = x + x }
  }

  @Test func recordingAndDroppingUsesTheObjectAgain() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2])
      warmUp(x)
      var objects: Set<ObjectIdentifier> = []
      // Anything else that is made meanwhile would be given the memory of an object that is freed.
      var others: [Tensor] = []
      for _ in 0..<Self.rounds {
        objects.insert(ObjectIdentifier(x * 2))
        others.append(Tensor([0.0]))
      }
      #expect(objects.count <= 8)
    }
  }

  @Test func whatTheProgramHoldsIsNeverHandedOutAgain() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2])
      var held: [Tensor] = []
      for i in 0..<Self.rounds {
        let term = x * Double(i)
        if i % 3 == 0 { held.append(term + 1) }
      }
      #expect(Set(held.map { ObjectIdentifier($0) }).count == held.count)
      for (k, tensor) in held.enumerated() {
        #expect(tensor.elements(as: Double.self) == [Double(3 * k) + 1, Double(6 * k) + 1])
      }
    }
  }

  @Test func aWeakReferenceNeverShowsAnotherTensor() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2])
      warmUp(x)
      weak var first: Tensor?
      do {
        let product = x * 3
        first = product
      }
      for i in 0..<Self.rounds {
        let other = x + Double(i)
        #expect(first !== other)
        if let first { #expect(first.elements(as: Double.self) == [3, 6]) }
      }
      _ = (x + 1).sum().item()
      #expect(first == nil)
    }
  }

  @Test func aTensorWithTheObjectOfAnUpdatedOneIsNew() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2])
      warmUp(x)
      for i in 0..<Self.rounds {
        do {
          let updated = x * 2
          let view = updated[0]
          updated += Double(i)
          #expect(view.item() == 2 + Double(i))
          updated.sum().backward()
        }
        let fresh = x * Double(i)
        #expect(fresh.grad == nil)
        let view = fresh[1]
        #expect(view.item() == 2 * Double(i))
      }
    }
  }

  @Test func droppedTensorsLockNothing() {
    ConcurrencyTests.onNewThread {
      let array = NDArray([1.0, 2])
      let x = Tensor(array, copy: false)
      for i in 0..<Self.rounds {
        let product = x * 2
        _ = product + Double(i)
        #expect(!array.isWriteable)
        _ = consume product
        #expect(array.isWriteable, "round \(i)")
        #expect(throws: Never.self) { try array.fill(Double(i)) }
      }
    }
  }

  @Test func whatIsDroppedIsNotComputed() {
    ConcurrencyTests.onNewThread {
      let x = Tensor([1.0, 2])
      warmUp(x)
      let kept = x * 3
      do {
        let dropped = exp(x)
        _ = dropped + kept
      }
      #expect(!kept.explain().description.contains("exp"))
      #expect(kept.elements(as: Double.self) == [3, 6])
    }
  }

  @Test func whatAnotherThreadDroppedLocksNothing() {
    let array = NDArray([1.0, 2])
    let sent = ConcurrencyTests.Sent(value: array)
    ConcurrencyTests.onNewThread {
      let x = Tensor(sent.value, copy: false)
      warmUp(x)
      _ = tanh(x) * 2
    }
    #expect(array.isWriteable)
  }

  @Test func tensorsDroppedOnAnotherThreadAreUsedAgainHere() {
    let x = Tensor([1.0, 2])
    warmUp(x)
    for i in 0..<Self.rounds {
      let sent = ConcurrencyTests.Sent(value: x * Double(i))
      let sum = ConcurrencyTests.onNewThread { () -> Double in
        let square = sent.value * sent.value
        return square.sum().item()
      }
      #expect(sum == 5 * Double(i * i))
    }
  }
}
