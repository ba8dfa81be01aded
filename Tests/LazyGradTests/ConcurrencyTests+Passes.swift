// Backward passes side by side on one tape: long ones, which let others use the tape between their pieces,
// tensors that are handed over in the middle, and rules of the program's own.

import Foundation
import LazyGrad
import LazyGradJIT
import Testing

extension ConcurrencyTests {
  /// A chain of additions that fills several windows.
  private static func longChain(_ k: Int, steps: Int, every: Int) async -> Bool {
    let x = Tensor([Double(k)])
    var y = Tensor([0.0], constant: true)
    for step in 0..<steps {
      y = y + x
      if step % every == 0 { await Task.yield() }
    }
    y.backward()
    await Task.yield()
    return x.grad?.item() == Double(steps) && y.item() == Double(steps * k)
  }

  private static func shortProgram(_ k: Int) async -> Bool {
    let x = Tensor([Double(k), 1])
    await Task.yield()
    let y = (x * x * x).sum()
    await Task.yield()
    y.backward()
    await Task.yield()
    return x.grad?.elements(as: Double.self) == [Double(3 * k * k), 3]
  }

  @Test func longPassesBesideShortOnes() async {
    let wrong = await withTaskGroup(of: Bool.self) { group in
      for k in 0..<12 { group.addTask { await Self.longChain(k, steps: 20_000, every: 16) } }
      for k in 0..<600 { group.addTask { await Self.shortProgram(k) } }
      return await group.reduce(0) { $0 + ($1 ? 0 : 1) }
    }
    #expect(wrong == 0)
  }

  /// The same with windows of a few records on the tapes of two threads, which the tasks go back and
  /// forth between: every pass is in pieces.
  @Test func passesInPiecesOnTwoTapes() async {
    for records in [10, 33] as [UInt32] {
      let threads = (0..<2).map { _ in ThreadOfItsOwn(TapeLimits(windowRecords: records)) }
      let wrong = await withTaskGroup(of: Int.self) { group in
        for k in 1..<9 {
          group.addTask {
            var wrong = 0
            for round in 0..<20 where await !Self.relay(k + round, threads) { wrong += 1 }
            return wrong
          }
        }
        return await group.reduce(0, +)
      }
      threads.forEach { $0.end() }
      #expect(wrong == 0)
    }
  }

  /// Records half of a graph on one thread, the rest on another, and differentiates on the first.
  private static func relay(_ k: Int, _ threads: [ThreadOfItsOwn]) async -> Bool {
    let steps = 40
    let (x, y) = await threads[k % 2].run { () -> Sent<(Tensor, Tensor)> in
      let x = Tensor([Double(k), 2])
      var y = x * 1.0
      for _ in 0..<steps { y = y + x }
      return Sent(value: (x, y))
    }.value
    let sent = Sent(value: (x, y))
    let z = await threads[(k + 1) % 2].run { () -> Sent<Tensor> in
      var z = sent.value.1
      for _ in 0..<steps { z = z + sent.value.0 * 2.0 }
      let own = Tensor([3.0])
      (own * own * own).backward()
      precondition(own.grad!.item() == 27)
      return Sent(value: z)
    }
    return await threads[k % 2].run {
      z.value.backward()
      return sent.value.0.grad?.elements(as: Double.self) == [121, 121]
        && z.value.elements(as: Double.self) == [Double(121 * k), 242]
    }
  }

  /// A thread with small windows that runs what it is given.
  final class ThreadOfItsOwn: @unchecked Sendable {
    private let condition = NSCondition()
    /// What a job leaves, the next one sees. The continuation sees to that too, but Thread Sanitizer does
    /// not know of it.
    private static let handOver = Lock(0)
    private var jobs: [@Sendable () -> Void] = []
    private var isEnding = false

    init(_ limits: TapeLimits) {
      Thread { [self] in Tape.withLimits(limits) { work() } }.start()
    }

    private func work() {
      while true {
        condition.lock()
        while jobs.isEmpty, !isEnding { condition.wait() }
        if jobs.isEmpty { return condition.unlock() }
        let job = jobs.removeFirst()
        condition.unlock()
        job()
      }
    }

    func run<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
      await withCheckedContinuation { continuation in
        condition.lock()
        jobs.append {
          Self.handOver.withLock { $0 += 1 }
          let result = body()
          Self.handOver.withLock { $0 += 1 }
          continuation.resume(returning: result)
        }
        condition.signal()
        condition.unlock()
      }
    }

    func end() {
      condition.lock()
      isEnding = true
      condition.signal()
      condition.unlock()
    }
  }

  // MARK: Rules of the program's own

  /// A rule may wait for a thread that asks the engine, or uses the tape that the pass runs on.
  @Test func aRuleThatWaitsForAnotherThread() {
    let questions: [(String, @Sendable (Sent<Tensor>) -> Void)] = [
      ("counters", { _ in _ = LazyGradEngine.counters }),
      ("trimMemory", { _ in LazyGradEngine.trimMemory() }),
      ("bytesInUse", { _ in _ = LazyGradEngine.bytesInUse }),
      ("a value", { precondition($0.value.item() == 7) }),
      ("an operation", { precondition(($0.value * 2 + Tensor([1.0])).item() == 15) }),
      ("a lock", { precondition($0.value.array.elements(as: Double.self) == [7]) }),
      (
        "a pass",
        { _ in
          let x = Tensor([2.0])
          (x * x).backward()
          precondition(x.grad!.item() == 4)
        }
      ),
    ]
    for (name, ask) in questions {
      let isDone = Self.onNewThread { () -> Bool in
        let constant = Sent(value: Tensor([5.0], constant: true) + 2)
        let x = Tensor([3.0])
        let y = Tensor.composite(inputs: [x]) {
          $0[0] * $0[0]
        } gradient: { g, x, _ in
          let done = DispatchSemaphore(value: 0)
          Thread {
            ask(constant)
            done.signal()
          }.start()
          if done.wait(timeout: .now() + 60) == .timedOut { return [nil] }
          return [g * 2.0 * x[0]]
        }
        (y * constant.value).sum().backward()
        return x.grad?.item() == 42
      }
      #expect(isDone, "\(name)")
    }
  }
}
