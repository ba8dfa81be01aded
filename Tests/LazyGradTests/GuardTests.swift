// The memory guard: what is locked, for how long, by whom, and what the switches do.

import LazyGrad
import Testing

@Suite("Memory guard")
struct GuardTests {
  private struct Stop: Error {}

  private func write(_ x: NDArray, _ value: Double = 0) throws {
    try x.withMutableElements(as: Double.self) { $0[0] = value }
  }

  // MARK: The documented programs

  @Test("The guard refuses the write and the gradient is right")
  func guarded() throws {
    let x = NDArray.arange(3.0)
    let y = Tensor.ones(like: x)
    let z = x * y
    #expect(!x.isWriteable)
    #expect(throws: MemoryGuardError.locked(holders: ["multiply"])) { try write(x, 7) }
    #expect(throws: MemoryGuardError.self) { try x.fill(1.0) }
    #expect(throws: MemoryGuardError.self) { try x.assign(NDArray.zeros([3])) }
    z.backward()
    #expect(y.grad!.elements(as: Double.self) == [0, 1, 2])
    #expect(x.isWriteable)
    try write(x, 5)
    #expect(z.elements(as: Double.self) == [0, 1, 2])
  }

  @Test("Who holds the lock can be asked, through every window")
  func holders() {
    let x = NDArray.arange(4.0)
    let view = x[1..<3]
    #expect(x.lockHolders == [])
    let t = Tensor(x, constant: true, copy: false)
    let y = t * 2
    let z = exp(t) + y
    #expect(x.lockHolders == ["multiply", "exp"])
    #expect(view.lockHolders == x.lockHolders)
    memGuardOff { _ = t - 1 }
    z.clearGraph()
    #expect(x.lockHolders == [])
  }

  @Test(
    "A pass through a view of a view lets the view between go as well", arguments: [false, true])
  func viewsOfViews(isBackward: Bool) {
    let host = NDArray.arange(12.0).reshaped([4, 3])
    let x = Tensor(host, copy: false)
    let rows = x[1..<4]
    let part = rows[0..<2].transposed()
    let other = rows.transposed()
    let y = part * part
    #expect(!host.isWriteable)
    if isBackward { y.backward() } else { y.clearGraph() }
    // Only what nobody went through is left.
    #expect(host.lockHolders == ["view"])
    #expect((rows.grad == nil) == !isBackward)
    let used = other * 2
    used.backward()
    #expect(host.isWriteable)
  }

  @Test("Memory that is read-only by nature stays so through tensors and their views")
  func readOnlyByNature() throws {
    let x = NDArray([1.0, 2])
    try x.setWriteable(false)
    let t = Tensor(x, constant: true, copy: false)
    #expect(!t.array.isWriteable)
    #expect(!t[.slice(step: -1)].array.isWriteable)
    #expect(!t.detached().array.isWriteable || !t.detached().array.sharesMemory(with: x))
    #expect((t + 1).array.sharesMemory(with: x) == false)
    let writeable = Tensor(x)
    #expect(!writeable.array.sharesMemory(with: x))
  }

  @Test("With the guard off the write goes through", arguments: [false, true])
  func unguarded(_ readsFirst: Bool) throws {
    try memGuardOff {
      let x = NDArray.arange(3.0)
      let y = Tensor.ones(like: x)
      let z = x * y
      if readsFirst { z.eval() }
      #expect(x.isWriteable)
      try x.fill(0.0)
      z.backward()
      #expect(z.elements(as: Double.self) == [0, 1, 2])
      #expect(y.grad!.elements(as: Double.self) == [0, 0, 0])
    }
  }

  @Test("Inside noAutodiff nothing is locked, and results are not changed by later writes")
  func untracked() throws {
    try noAutodiff {
      let x = NDArray.arange(3.0)
      let y = Tensor.ones(like: x)
      let z = x * y
      let w = z + 1
      #expect(x.isWriteable)
      try x.fill(9.0)
      #expect(z.elements(as: Double.self) == [0, 1, 2])
      #expect(w.elements(as: Double.self) == [1, 2, 3])
    }
  }

  @Test("A write changes no pending result, whatever lies between")
  func pending() throws {
    try memGuardOff {
      let x = NDArray([1.0, 2, 3, 4])
      let t = Tensor(x, copy: false)
      let sum = exp(t * 0).sum() + t.sum()
      let view = t[1..<3]
      let product = view * 2
      let row = x.reshaped([2, 2])[1]
      try row.fill(100.0)
      #expect(sum.item() == 14)
      #expect(product.elements(as: Double.self) == [4, 6])
      // The tensor itself and its views share the memory.
      #expect(t.elements(as: Double.self) == [1, 2, 100, 100])
      #expect(view.elements(as: Double.self) == [2, 100])
    }
  }

  @Test("A write to a result's array changes nothing pending", arguments: [false, true])
  func pendingOnResults(_ tracks: Bool) throws {
    func program() throws {
      let x = Tensor([1.0, 2])
      let y = x + 1
      let z = y * 2
      let part = y[0..<1]
      let w = part * 3
      let array = y.array
      let later = y * 5
      try array.fill(100.0)
      #expect(z.elements(as: Double.self) == [4, 6])
      #expect(w.elements(as: Double.self) == [6])
      #expect(later.elements(as: Double.self) == [10, 15])
      #expect(y.elements(as: Double.self) == [100, 100])
    }
    if tracks { try memGuardOff { try program() } } else { try noAutodiff { try program() } }
  }

  // MARK: What is locked

  @Test("The lock covers base, sibling, earlier and later views")
  func relatives() throws {
    let base = NDArray([1.0, 2, 3, 4])
    let earlier = base[0..<1]
    let used = base[1..<3]
    let sibling = base[3..<4]
    var y: Tensor? = used * Tensor([1.0, 1])
    let later = base[.slice(step: -1)]
    for array in [base, earlier, used, sibling, later] {
      #expect(!array.isWriteable)
      #expect(throws: MemoryGuardError.self) { try write(array) }
    }
    _ = y
    y = nil
    for array in [base, earlier, used, sibling, later] { #expect(array.isWriteable) }
    try write(sibling, 8)
    #expect(base.elements(as: Double.self) == [1, 2, 3, 8])
  }

  @Test("Constants lock as variables do; a copy locks nothing")
  func constants() {
    let x = NDArray([1.0, 2])
    let c = Tensor(x, constant: true, copy: false)
    #expect(x.isWriteable)
    let y = c * 2
    #expect(!x.isWriteable)
    let z = NDArray([1.0, 2])
    let w = Tensor(z) * 2
    #expect(z.isWriteable)
    withExtendedLifetime((y, w)) {}
  }

  @Test("The lock goes with the last tensor that depends on the array")
  func lastTensor() {
    let x = NDArray([1.0, 2])
    var y: Tensor? = x * Tensor([3.0, 4])
    var z: Tensor? = exp(y!) + 1
    y = nil
    #expect(!x.isWriteable)
    z?.eval()
    #expect(!x.isWriteable)
    z = nil
    #expect(x.isWriteable)
  }

  @Test("A graph that is kept keeps the lock")
  func retained() {
    let x = NDArray([1.0, 2])
    let y = x * Tensor([3.0, 4])
    y.backward(retainGraph: true)
    #expect(!x.isWriteable)
    y.backward()
    #expect(x.isWriteable)
  }

  @Test("Another graph over the same array keeps the lock")
  func branches() {
    let x = NDArray([1.0, 2])
    let t = Tensor([3.0, 4])
    let u = Tensor([5.0, 6])
    let a = x * t
    let b = x + u
    a.backward()
    #expect(!x.isWriteable)
    b.backward()
    #expect(x.isWriteable)
  }

  @Test("An array that is read-only by nature stays so")
  func natural() throws {
    let x = NDArray([1.0, 2])
    try x.setWriteable(false)
    let wide = NDArray([1.0]).broadcast(to: [2])
    let y = x * Tensor([3.0, 4]) + wide
    #expect(throws: MemoryGuardError.readOnly) { try write(x) }
    y.backward()
    #expect(!x.isWriteable && !wide.isWriteable)
    #expect(throws: MemoryGuardError.readOnly) { try write(x) }
  }

  @Test("A failed operation leaves no lock")
  func failed() {
    let x = NDArray([1.0, 2])
    #expect(throws: TensorError.self) { try catchingTensorErrors { x * Tensor([1.0, 2, 3]) } }
    #expect(x.isWriteable)
    let table = Tensor(x, copy: false)
    #expect(throws: TensorError.self) { try catchingTensorErrors { matmul(table, table[0..<1]) } }
    #expect(x.isWriteable)
  }

  @Test("The array of a tracked result is read-only while its graph lives")
  func results() throws {
    let x = Tensor([1.0, 2])
    let y = exp(x)
    let array = y.array
    #expect(!array.isWriteable)
    #expect(throws: MemoryGuardError.self) { try write(array) }
    let z = y * 2
    z.backward()
    #expect(array.isWriteable)
    try write(array, 10)
    #expect(y.elements(as: Double.self)[0] == 10)
    let gradient = x.grad!.array
    #expect(gradient.isWriteable)
  }

  @Test("The message names the operations, at most eight of them")
  func message() {
    let x = NDArray([1.0, 2])
    let t = Tensor(x, copy: false)
    let kept = [exp(t), t + 1, maximum(t, t)]
    do {
      try write(x)
      Issue.record("the write went through")
    } catch {
      #expect(
        "\(error)"
          == "the array is locked: a live graph reads its memory (held by exp, add, maximum)")
    }
    let many = (0..<10).map { t * Double($0) }
    #expect("\(MemoryGuardError.locked(holders: (0..<10).map { "\($0)" }))".contains("and 2 more"))
    withExtendedLifetime((kept, many)) {}
  }

  @Test("Tensors over a locked array may be updated in place; the array keeps its values")
  func inPlace() throws {
    let x = NDArray([1.0, 2])
    let t = Tensor(x, copy: false)
    let y = t * t
    t += 10
    #expect(!x.isWriteable)
    #expect(t.elements(as: Double.self) == [11, 12])
    #expect(x.elements(as: Double.self) == [1, 2])
    #expect(y.elements(as: Double.self) == [1, 4])
  }

  // MARK: Switches

  @Test("Scopes nest, the innermost wins, and errors restore")
  func scopes() throws {
    #expect(isMemoryGuardActive)
    memGuardOff {
      #expect(!isMemoryGuardActive)
      memGuardOn {
        #expect(isMemoryGuardActive)
        memGuardOff { #expect(!isMemoryGuardActive) }
        #expect(isMemoryGuardActive)
      }
      #expect(!isMemoryGuardActive)
    }
    #expect(throws: Stop.self) { try memGuardOff { throw Stop() } }
    #expect(isMemoryGuardActive)
    noAutodiff { memGuardOn { #expect(!isMemoryGuardActive) } }
  }

  @Test("Locks outlive the switch, and what was not locked stays free")
  func mixed() {
    let x = NDArray([1.0, 2])
    let t = Tensor([3.0, 4])
    var locked: Tensor? = x * t
    memGuardOff { #expect(!x.isWriteable) }
    _ = locked
    locked = nil
    let free = memGuardOff { x * t }
    #expect(x.isWriteable)
    withExtendedLifetime(free) {}
  }

  @Test("Wrappers of any arity")
  func wrappers() async throws {
    let zero = memGuardOff(wrapping: { isMemoryGuardActive })
    let one = memGuardOff(wrapping: { (a: Int) in (a, isMemoryGuardActive) })
    let two = memGuardOff(wrapping: { (a: Int, b: Int) throws -> Bool in
      if a == b { throw Stop() }
      return isMemoryGuardActive
    })
    let three = memGuardOn(wrapping: { (a: Int, _: String, _: Bool) -> Bool in
      isMemoryGuardActive && a == 1
    })
    #expect(!zero())
    #expect(one(3).0 == 3 && !one(3).1)
    #expect(try !two(1, 2))
    #expect(throws: Stop.self) { try two(1, 1) }
    #expect(memGuardOff { three(1, "", true) })
    let later = memGuardOff(wrapping: { (_: Int) async throws -> Bool in
      await Task.yield()
      return isMemoryGuardActive
    })
    #expect(try await !later(1))
    #expect(isMemoryGuardActive)
  }

  @Test("Scopes hold across suspension points and for child tasks only")
  func tasks() async {
    await memGuardOff {
      await Task.yield()
      #expect(!isMemoryGuardActive)
      async let child = isMemoryGuardActive
      #expect(await !child)
      let other = await Task.detached { isMemoryGuardActive }.value
      #expect(other)
    }
    #expect(isMemoryGuardActive)
  }
}
