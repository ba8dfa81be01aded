// Large graphs on small stacks, and loops whose memory must stay flat.

import Foundation
import LazyGrad
import LazyGradJIT
import Testing

@Suite(.serialized) struct ScaleTests {
  private final class Box: @unchecked Sendable {
    var value: Double?
  }

  /// Runs `body` on a thread with a stack of 512 KiB.
  private func onSmallStack(_ body: @escaping @Sendable () -> Double) -> Double {
    let box = Box()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
      box.value = body()
      done.signal()
    }
    thread.stackSize = 512 << 10
    thread.start()
    done.wait()
    return box.value!
  }

  @Test func aMillionOperationsOnASmallStack() {
    let slope = onSmallStack {
      let x = Tensor([1.0])
      var y = x
      for _ in 0..<1_000_000 { y = y + 1e-6 }
      y.backward()
      precondition(abs(y.item() - 2) < 1e-6)
      return x.grad!.item()
    }
    #expect(slope == 1)
  }

  @Test func aMillionKeptTensorsAreDroppedAtOnce() {
    let last = onSmallStack {
      var all = [Tensor([0.0])]
      for _ in 0..<1_000_000 { all.append(all[all.count - 1] + 1) }
      let last = all[all.count - 1].item()
      all = []
      return last
    }
    #expect(last == 1_000_000)
  }

  /// 2,000 steps by default; 100,000 with LAZYGRAD_LONG=1.
  @Test func trainingStaysFlat() {
    let isLong = ProcessInfo.processInfo.environment["LAZYGRAD_LONG"] == "1"
    // A tape that tasks of other tests, which move from thread to thread, have not begun to record on.
    let marks = ConcurrencyTests.onNewThread { Self.train(steps: isLong ? 100_000 : 2_000) }
    // Records are moved together beyond 16,384.
    #expect(marks[1].records < 24_576, "\(marks)")
    #expect(marks[1].live <= marks[0].live + 16, "\(marks)")
  }

  /// What the tape holds in the middle and at the end of a training loop.
  private static func train(steps: Int) -> [(records: Int, live: Int)] {
    var weights = [[8, 16], [16, 16], [16, 4]].map { Tensor.full($0, 0.05, dtype: .float32) }
    let x = Tensor.full([1, 8], 0.5, dtype: .float32, constant: true)
    // Of this thread's tape; bytes are the process's, and an exit test looks at those.
    var marks: [(records: Int, live: Int)] = []
    for k in 0..<steps {
      var h = Tensor.zeros([1, 16], dtype: .float32, constant: true)
      for _ in 0..<50 { h = tanh(matmul(x, weights[0]) + matmul(h, weights[1])) }
      let loss = softmaxCrossEntropy(matmul(h, weights[2]), NDArray([k % 4]))
      loss.backward()
      _ = loss.item()
      weights = noAutodiff { weights.map { $0 - 0.01 * $0.grad! } }
      if k == steps / 2 || k == steps - 1 {
        let use = Engine.tapeUse
        marks.append((use.records, use.live))
      }
    }
    return marks
  }

  @Test func loopsThatNeverReadStayBounded() {
    var (a, b) = noAutodiff { (Tensor([0.0]) + 0, Tensor([0.0]) + 0) }
    let held = a + 5
    noAutodiff {
      for _ in 0..<500_000 {
        a = a + 1
        b = b + 2
      }
    }
    #expect(Engine.tapeUse.records < 1 << 18)
    #expect(a.item() == 500_000)
    #expect(b.item() == 1_000_000)
    #expect(held.item() == 5)
  }

  @Test("What is dropped unread leaves nothing beside a kept graph", arguments: [false, true])
  func droppedResultsBesideAGraph(views: Bool) {
    let records = ConcurrencyTests.onNewThread { () -> Int in
      let x = Tensor(NDArray.ones([4]))
      let kept = exp(x)
      kept.eval()
      for _ in 0..<300_000 { _ = views ? x[0..<2] : x + x }
      return withExtendedLifetime(kept) { Engine.tapeUse.records }
    }
    #expect(records < 2 * Int(TapeLimits().windowRecords))
  }

  @Test func anUnreadTotalStaysBounded() { sumUnread() }

  /// What was allowed for a large graph ends with it: the next program on its tape is bounded again.
  @Test(arguments: [false, true])
  func anUnreadTotalStaysBoundedAfterALargeGraph(besideAnother: Bool) {
    let other = besideAnother ? exp(Tensor([1.0])) : nil
    other?.eval()
    defer { withExtendedLifetime(other) {} }
    do {
      let x = Tensor([1.0])
      var y = x
      for _ in 0..<200_000 { y = y + x }
      y.backward()
      #expect(x.grad!.item() == 200_001)
    }
    sumUnread()
  }

  private func sumUnread() {
    var total = Tensor([0.0], constant: true)
    for _ in 0..<100_000 {
      let loss = Tensor([2.0], constant: true) * 3
      _ = loss.item()
      total = noAutodiff { total + loss }
    }
    #expect(Engine.tapeUse.records < 1 << 18)
    #expect(total.item() == 600_000)
  }
}
