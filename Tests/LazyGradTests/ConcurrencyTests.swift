// Tensors and tasks: what moves between threads, what runs side by side, and what must not leak.
// `.ci/tsan` runs this suite under Thread Sanitizer.

import Foundation
import LazyGrad
import LazyGradJIT
import Synchronization
import Testing

@Suite struct ConcurrencyTests {
  /// Carries something that belongs to one task at a time to the next one.
  struct Sent<Value>: @unchecked Sendable {
    let value: Value
  }

  /// A small recurrent model, trained for some steps; yields between operations if asked to.
  private static func train(seed: Int, steps: Int, hops: Bool) async -> [Float] {
    func matrix(_ rows: Int, _ columns: Int, _ salt: Int) -> Tensor {
      let values = (0..<(rows * columns)).map { i in
        Float((i * 7 + salt * 13 + seed * 31) % 17 - 8) / 16
      }
      return Tensor(NDArray(values, shape: [rows, columns]))
    }
    func hop() async { if hops { await Task.yield() } }
    var weights = [matrix(4, 6, 1), matrix(6, 6, 2), matrix(6, 3, 3)]
    let inputs = (0..<4).map { matrix(2, 4, 4 + $0) }
    let labels = NDArray([seed % 3, (seed + 1) % 3])
    var losses: [Float] = []
    for _ in 0..<steps {
      var h = Tensor.zeros([2, 6], dtype: .float32, constant: true)
      for x in inputs {
        let a = matmul(x, weights[0])
        await hop()
        h = tanh(a + matmul(h, weights[1]))
        await hop()
      }
      let loss = softmaxCrossEntropy(matmul(h, weights[2]), labels)
      await hop()
      loss.backward()
      await hop()
      losses.append(loss.item(as: Float.self))
      weights = weights.map { w in noAutodiff { w - 0.1 * w.grad! } }
      await hop()
    }
    return losses + weights.flatMap { $0.elements(as: Float.self) }
  }

  /// Where two runs part first, and how far at most.
  private func difference(_ a: [Float], _ b: [Float]) -> String {
    let first = zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? -1
    return "from element \(first) on, by \(zip(a, b).map { abs($0 - $1) }.max() ?? 0) at most"
  }

  @Test func twoTasksHopThreads() async {
    let alone = await Self.train(seed: 1, steps: 5, hops: false)
    let other = await Self.train(seed: 2, steps: 5, hops: false)
    for _ in 0..<10 {
      async let first = Task.detached { await Self.train(seed: 1, steps: 5, hops: true) }.value
      async let second = Task.detached { await Self.train(seed: 2, steps: 5, hops: true) }.value
      let results = await (first, second)
      #expect(results.0 == alone, "\(difference(results.0, alone))")
      #expect(results.1 == other, "\(difference(results.1, other))")
    }
  }

  @Test func eightModelsTrainSideBySide() async {
    var expected: [[Float]] = []
    for seed in 0..<8 { expected.append(await Self.train(seed: seed, steps: 20, hops: false)) }
    for hops in [false, true] {
      await withTaskGroup(of: (Int, [Float]).self) { group in
        for seed in 0..<8 {
          group.addTask { (seed, await Self.train(seed: seed, steps: 20, hops: hops)) }
        }
        for await (seed, result) in group {
          #expect(result == expected[seed], "hops \(hops): \(difference(result, expected[seed]))")
        }
      }
    }
  }

  /// Runs `body` on a thread of its own, which ends with it, and on a tape on which no other test holds
  /// anything.
  static func onNewThread<R>(_ body: @escaping @Sendable () -> R) -> R {
    let box = Box<R>()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
      Tape.renew()
      box.value = body()
      done.signal()
    }
    thread.start()
    done.wait()
    return box.value!
  }

  private final class Box<R>: @unchecked Sendable {
    var value: R?
  }

  @Test func tensorsOutliveTheThreadThatMadeThem() {
    for _ in 0..<20 {
      let sent = Self.onNewThread {
        let x = Tensor([1.0, 2, 3])
        let y = x * 2 + 1
        return Sent(value: (x, y, Tensor.full([3], 4.0)))
      }
      let (x, y, z) = sent.value
      let sum = (y * z).sum()
      sum.backward()
      #expect(sum.item() == 60)
      #expect(x.grad!.elements(as: Double.self) == [8, 8, 8])
    }
  }

  @Test func operationsJoinWhatTwoThreadsRecorded() {
    let w = Tensor([2.0, 3])
    for round in 0..<20 {
      // Pending on three threads, with gradients on one of them.
      let here = w * Double(round)
      let there = Self.onNewThread { () -> Sent<(Tensor, Tensor)> in
        let v = Tensor([5.0, 7])
        (v * v).backward()
        return Sent(value: (v, exp(v * 0)))
      }.value
      let (v, e) = there
      let third = Self.onNewThread { Sent(value: Tensor.full([2], 1.5)) }.value
      let chosen = `where`(third .> 1, here * e, v)
      #expect(v.grad == nil)
      let total = (chosen + v).sum()
      total.backward()
      #expect(total.item() == Double(round) * 5 + 12)
      #expect(w.grad!.elements(as: Double.self) == [Double(round), Double(round)])
      #expect(v.grad!.elements(as: Double.self) == [1, 1])
    }
  }

  /// A tape whose records have moved to another one goes on as a new one, also when it fills windows.
  @Test func aTapeThatWasJoinedFillsWindowsAgain() {
    Self.onNewThread {
      Tape.withLimits(TapeLimits(windowRecords: 10)) {
        let first = Tensor([1.0, 2])
        // Full windows are computed; what is held of them stays on the tape.
        let held = (0..<40).map { first * Double($0) }
        let sent = Sent(value: held)
        let sum = Self.onNewThread {
          // The tape with fewer records moves.
          let x = Tensor([1.0, 1])
          let more = (0..<500).map { x * Double($0) }
          return withExtendedLifetime(more) {
            (more[2] + sent.value[39]).elements(as: Double.self)
          }
        }
        #expect(sum == [41, 80])
        let second = Tensor([3.0, 4])
        let again = (0..<40).map { second * Double($0) }
        for (k, x) in again.enumerated() {
          #expect(x.elements(as: Double.self) == [3 * Double(k), 4 * Double(k)])
        }
        again.reduce(held[39].sum()) { $0 + $1.sum() }.backward()
        #expect(first.grad!.elements(as: Double.self) == [39, 39])
        #expect(second.grad!.elements(as: Double.self) == [780, 780])
      }
    }
  }

  @Test func aGradientStaysWithItsTensorWhenTapesJoin() {
    for _ in 0..<20 {
      let (x, keep) = Self.onNewThread { () -> Sent<(Tensor, Tensor)> in
        let x = Tensor([1.0, 2])
        let hidden = tanh(x)
        (hidden * hidden).backward()
        hidden.eval()
        return Sent(value: (x, hidden))
      }.value
      // The gradients are pending on the other thread's tape; a use without autodiff keeps them.
      let pending = Tensor.full([2], 2.0)
      let product = noAutodiff { keep * pending }
      #expect(
        product.elements(as: Double.self) == [2 * Foundation.tanh(1), 2 * Foundation.tanh(2)])
      let h = Foundation.tanh(1.0)
      #expect(abs(keep.grad!.elements(as: Double.self)[0] - 2 * h) < 1e-15)
      #expect(abs(x.grad!.elements(as: Double.self)[0] - 2 * h * (1 - h * h)) < 1e-15)
      keep.nullGradient()
      #expect(x.grad != nil)
    }
  }

  @Test func scopesStayWithTheirTask() async {
    let x = Tensor([3.0])
    let isOpen = DispatchSemaphore(value: 0)
    let isDone = DispatchSemaphore(value: 0)
    let blocker = Thread {
      noAutodiff {
        memGuardOff {
          isOpen.signal()
          isDone.wait()
        }
      }
    }
    blocker.start()
    Self.wait(isOpen)
    #expect(isMemoryGuardActive)
    let y = x * x
    y.backward()
    #expect(x.grad!.item() == 6)
    isDone.signal()

    await noAutodiff {
      await Task.yield()
      let inherited = await Task { Tensor([1.0]).isTrackedWhenUsed }.value
      #expect(!inherited)
      let detached = await Task.detached { Tensor([1.0]).isTrackedWhenUsed }.value
      #expect(detached)
    }
    #expect(Tensor([1.0]).isTrackedWhenUsed)
  }

  private static func wait(_ semaphore: DispatchSemaphore) { semaphore.wait() }

  @Test func hostArraysAreLockedFromEveryThread() {
    let array = NDArray([1.0, 2])
    let x = Tensor(array, copy: false)
    let y = x * x
    let sent = Sent(value: array)
    let isLocked = Self.onNewThread { !sent.value.isWriteable }
    #expect(isLocked)
    y.backward()
    #expect(Self.onNewThread { sent.value.isWriteable })
    // The gradient is pending and reads the array: a write from elsewhere computes it first.
    Self.onNewThread { try? sent.value.fill(100.0) }
    #expect(x.grad!.elements(as: Double.self) == [2, 4])
  }

  /// Small work is done while another thread is in the middle of a large plan: no lock that both need is
  /// held while computing.
  @Test func nobodyWaitsForAnothersKernels() {
    func isOvertaken() -> Bool {
      let box = Box<UInt64>()
      let (begins, ends) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
      let thread = Thread {
        let x = Tensor(NDArray.ones([1200, 1200], dtype: .float32))
        x.eval()
        let product = matmul(x, x)
        begins.signal()
        product.eval()
        box.value = DispatchTime.now().uptimeNanoseconds
        ends.signal()
      }
      thread.start()
      begins.wait()
      Thread.sleep(forTimeInterval: 0.003)
      for k in 0..<10 { (Tensor([1.0, 2]) * Double(k)).eval() }
      let finished = DispatchTime.now().uptimeNanoseconds
      ends.wait()
      return finished < box.value!
    }
    // A busy machine may let one thread wait; one that overtakes proves the point.
    #expect((0..<10).contains { _ in isOvertaken() })
  }

  /// A thread has its tape to itself until another one comes in, and again when it has been alone for
  /// long enough. Here that goes back and forth while both record.
  @Test func aTapeIsTakenAwayAndGivenBack() {
    let theirs = Box<Tensor>()
    let turn = Atomic<Int>(-1)
    let rounds = 100
    DispatchQueue.concurrentPerform(iterations: 2) { side in
      // Both are made by one side, on its tape.
      var x = Tensor.full([2], 0.0)
      if side == 0 { theirs.value = Tensor.full([2], 0.0) }
      for round in 0..<rounds {
        // That side counts in long runs, the other comes in once in each of them.
        if side == 1 { while turn.load(ordering: .acquiring) < round { sched_yield() } }
        if side == 1, round == 0 { x = theirs.value! }
        for step in 0..<(side == 0 ? 4000 : 1) {
          x = x + 1
          if side == 0, step == 2000 { turn.store(round, ordering: .releasing) }
          if step % 100 == 99 { x.eval() }
        }
      }
      let expected = Double(rounds * (side == 0 ? 4000 : 1))
      precondition(x.elements(as: Double.self) == [expected, expected], "side \(side): \(x)")
    }
  }

  /// What threads keep for their next results is counted and taken away while they use it.
  @Test func trimmingBesideSmallResults() {
    let isDone = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 4) { side in
      if side == 0 {
        while isDone.load(ordering: .acquiring) < 3 {
          LazyGradEngine.trimMemory()
          precondition(LazyGradEngine.bytesInUse >= 0 && LazyGradEngine.bytesCached >= 0)
        }
        return
      }
      let x = Tensor(NDArray([Double](repeating: Double(side), count: 50)), constant: true)
      for turn in 0..<500 {
        let results = (0..<8).map { x * Double(turn + $0) + x }
        eval(results)
        for (k, result) in results.enumerated() {
          let expected = Double(side * (turn + k + 1))
          let values = result.elements(as: Double.self)
          precondition(values.allSatisfy { $0 == expected }, "\(values[0]), not \(expected)")
        }
      }
      isDone.add(1, ordering: .releasing)
    }
  }

  @Test func manyThreadsShareOneTape() {
    // One thread makes the parameters of all, so that all record on its tape.
    let models = (0..<4).map { k in Sent(value: Tensor.full([8, 8], Double(k + 1) / 64)) }
    DispatchQueue.concurrentPerform(iterations: 4) { k in
      let w = models[k].value
      var x = Tensor.full([8, 8], 1.0)
      for _ in 0..<200 {
        x = matmul(x, w) * 0.5 + 1
        if Int(x.elements(as: Double.self)[0] * 1024) % 3 == 0 { x = x + 0.0 }
      }
      let expected = 1 / (1 - 0.5 * 8 * Double(k + 1) / 64)
      let value = x.elements(as: Double.self)[5]
      precondition(abs(value - expected) < 1e-9, "model \(k): \(value) instead of \(expected)")
    }
  }
}

extension Tensor {
  /// Whether an operation here and now is recorded for differentiation.
  fileprivate var isTrackedWhenUsed: Bool {
    (self * 2).backward()
    return grad != nil
  }
}
