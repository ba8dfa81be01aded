// The memory guard's locks that views hold: by themselves, on new values, and for what was made through
// them.

import LazyGrad
import LazyGradJIT
import Testing

extension GuardTests {
  @Test("A view of a tensor holds the lock by itself")
  func viewsLock() {
    let x = NDArray([1.0, 2, 3])
    let t = Tensor(x, copy: false)
    var v: Tensor? = t[0..<2]
    #expect(!x.isWriteable)
    _ = v
    v = nil
    #expect(x.isWriteable)
    withExtendedLifetime(t) {}
  }

  @Test("A view holds the lock on its base's new value at once, and on the old one no more")
  func updatedBases() {
    let array = NDArray([1.0, 2, 3])
    let x = Tensor(array, copy: false)
    var view: Tensor? = x[0..<2]
    #expect(array.lockHolders == ["view"])
    noAutodiff { x.assign(Tensor(5.0)) }
    #expect(array.isWriteable)
    #expect(view!.elements(as: Double.self) == [5, 5])

    x.assign(Tensor([4.0, 5, 6], constant: true))
    x.backward()
    let value = x.array
    #expect(value.lockHolders == ["view"])
    view = nil
    #expect(value.isWriteable)
  }

  @Test("A view that is gone, or shows something else, holds the lock for those made through it")
  func lockedThroughViews() {
    let array = NDArray([1.0, 2, 3])
    let x = Tensor(array, copy: false)
    var view: Tensor? = x[0..<2]
    let part = memGuardOff { view![0..<1] }
    view = nil
    #expect(array.lockHolders == ["view"])
    part.clearGraph()
    #expect(array.isWriteable)

    // One that is cleared by itself does not.
    let again = x[0..<2]
    let other = memGuardOff { again[0..<1] }
    again.clearGraph()
    #expect(array.isWriteable)

    // A pass that ends at the base leaves the view its lock, also where it is used without the guard.
    let late = x[0..<3]
    x.backward()
    let sum = memGuardOff { late + late }
    #expect(array.lockHolders == ["view"])
    withExtendedLifetime((other, sum)) {}
  }

  @Test(
    "A view that is gone is cleared with the first one that was made through it",
    arguments: [false, true], [1, 2, 5])
  func clearedThroughViews(_ compacts: Bool, _ length: Int) {
    // From the third time on the pass is copied.
    for _ in 0..<4 {
      let array = NDArray([1.0, 2, 3])
      let x = Tensor(array, copy: false)
      var way = x[0..<3]
      // Every other one is made without the guard.
      for k in 1..<length {
        way = withoutGuard(if: k % 2 == 1) { way.reshaped(k % 2 == 1 ? [3, 1] : [3]) }
      }
      let (first, second) = memGuardOff { (way.reshaped([1, 3]), way.reshaped([3, 1])) }
      let late = memGuardOff { way[0..<2] }
      way = x
      if compacts { compactTape() }
      #expect(array.lockHolders.count == 3)
      first.backward()
      #expect(array.lockHolders == [])
      // Of two that are left nothing is locked, and so it stays.
      if compacts { compactTape() }
      #expect(array.isWriteable)
      withExtendedLifetime((second, late)) {}
    }
  }

  @Test(
    "What was made through views of its own keeps the lock until it is cleared itself",
    arguments: [false, true])
  func lockedOnOwnWays(_ compacts: Bool) {
    let array = NDArray([1.0, 2, 3])
    let x = Tensor(array, copy: false)
    let middle = x[0..<3]
    let parts = (0..<3).map { k in
      let own = middle.reshaped([3, 1])
      return memGuardOff { own[0..<k] }
    }
    if compacts { compactTape() }
    parts[0].clearGraph()
    if compacts { compactTape() }
    #expect(array.lockHolders.count == 2)
    parts[1].clearGraph()
    #expect(array.lockHolders.count == 1)
    if compacts { compactTape() }
    #expect(array.lockHolders.count == 1)
    parts[2].clearGraph()
    #expect(array.isWriteable)
    withExtendedLifetime((parts, middle)) {}
  }

  private func withoutGuard<R>(if isOff: Bool, _ body: () -> R) -> R {
    isOff ? memGuardOff(body) : body()
  }

  /// Lets the thread's tape put its records together: of many more the most are gone.
  private func compactTape() {
    noAutodiff {
      var y = Tensor([1.0])
      for _ in 0..<20_000 { y = y * 1.0 }
      y.eval()
    }
    #expect(Engine.tapeUse.records < 20_000)
  }

  @Test("A view that was updated, written into another one and cleared through that")
  func updatedViews() {
    let a = Tensor([1.0, 2])
    let s = memGuardOff { a.sum() }
    let v = s.reshaped([1])
    let w = memGuardOff { v.reshaped([1, 1]) }
    let value = v.array
    let r = memGuardOff { sqrt(w) }
    memGuardOff { w[1..<1] = v }
    #expect(!value.isWriteable)
    memGuardOff { r.backward() }
    #expect(value.isWriteable)
    withExtendedLifetime((v, w)) {}
  }

  /// Index arrays pick rows of a table over all elements, which is a copy where strides allow no view.
  @Test("A view that is gone keeps its lock for what picks from a copy of the same elements")
  func copiesOfStridedMemory() {
    let array = NDArray(Array(0..<15).map(Double.init), shape: [3, 5])
    let x = Tensor(array.transposed(), copy: false)
    var turned: Tensor? = x.transposed()
    let rows = memGuardOff { turned![NDArray([0, 0])] }
    turned = nil
    #expect(rows.elements(as: Double.self) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    #expect(array.lockHolders == ["view"])
    rows.clearGraph()
    #expect(array.isWriteable)

    // Not of what another operation has copied.
    let copy = memGuardOff { +x }
    turned = copy[1...]
    let part = memGuardOff { turned![NDArray([0, 0])] }
    turned = nil
    #expect(array.isWriteable)
    withExtendedLifetime((x, part)) {}
  }

  @Test("A view that is joined to its base again is a new use of that")
  func joinedViews() {
    let x = Tensor([[1.0, 2], [3, 4]])
    let value = x.array
    let flat = x.reshaped([4])
    memGuardOff {
      let column = x.reshaped([4, 1])
      let same = flat.reshaped([4])
      column.backward()
      let joined = exp(column)
      // So this one need not be joined, and what was made through it leads to its lock.
      let rows = flat.takeRows(NDArray([3, 2]))
      #expect(value.lockHolders == ["view"])
      same.broadcast(to: [2, 4]).takeRows(NDArray([1])).backward()
      #expect(value.isWriteable)
      withExtendedLifetime((joined, rows)) {}
    }
  }

  @Test("A view of a value that two passes have cleared is joined again", arguments: [false, true])
  func viewsOfClearedValues(areValuesKept: Bool) {
    // Whether the value is a node still, or is in memory and has a leaf record, is the engine's affair.
    func computed(_ tensors: Tensor...) { if areValuesKept { eval(tensors) } }
    let x = Tensor([0.0, 1, 2])
    let y = memGuardOff { sigmoid(x) }
    y.backward()
    computed(x, y)
    let view = memGuardOff { y.reshaped([1, 3]) }
    let other = memGuardOff { y * 2 }
    computed(view, other)
    other.backward()
    computed(view, other)
    // To read a value without tracking takes up one that never had a graph, and no other.
    let array = noAutodiff { y.reshaped([3, 1]) }.array
    #expect(array.isWriteable)
    var sum = view + 1
    computed(sum)
    #expect(!array.isWriteable)
    noAutodiff { sum += 1 }
    computed(sum)
    // By the view, which was recorded again under the guard.
    #expect(array.lockHolders == ["view"])
    view.clearGraph()
    #expect(array.isWriteable)
  }

  @Test("An operation that is refused locks nothing")
  func refusedOperations() throws {
    let array = NDArray.arange(6.0)
    let x = Tensor(array, constant: false, copy: false)
    let view = x[0..<2]
    view.sum().backward()
    #expect(array.isWriteable)
    let (wrong, flags) = (Tensor([1.0, 2, 3]), Tensor([true, false]))
    let operations: [(Tensor) -> Tensor] = [
      { $0 + wrong }, { wrong - $0 }, { matmul($0, wrong) }, { `where`(flags, $0, wrong) },
      { concatenate([$0, wrong.reshaped([3, 1])]) }, { stack([wrong, $0]) },
      { softmaxCrossEntropy($0, NDArray([0, 1])) }, { $0.sum(axis: 1) },
    ]
    for operation in operations {
      #expect(throws: TensorError.self) { try catchingTensorErrors { _ = operation(view) } }
      #expect(array.isWriteable)
    }
    let sum = view + 1
    #expect(!array.isWriteable)
    sum.backward()
    #expect(array.isWriteable)
  }
}
