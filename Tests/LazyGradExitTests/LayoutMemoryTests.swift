// Shapes and strides that nothing names any more are freed, and what is still named stays. In a process
// of its own: the limit is the process's.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

#if os(Linux) || os(macOS)
  @Suite("The memory of shapes")
  struct LayoutMemoryTests {
    /// Everything that makes new shapes and strides, with a length that has not come up before.
    private static func use(_ n: Int) {
      let array = NDArray.zeros([n, 2])
      _ = array.transposed()[1..<2]
      // Recorded and dropped.
      let dropped = Tensor.ones([n, 3]).reshaped([3, n])[0..<2]
      _ = dropped + 1.0
      // Computed and differentiated.
      let x = Tensor.ones([n])
      let y = (x.reshaped([n, 1]) * Tensor.ones([1, 2])).sum(axis: 1)
      y.sum().backward()
      precondition(x.grad!.shape == [n] && x.grad!.elements(as: Double.self).last == 2)
    }

    @Test("Any number of shapes takes the memory of a few")
    func bounded() async {
      await #expect(processExitsWith: .success) {
        LayoutTable.limit = 500
        for n in 1...3_000 {
          Self.use(n)
          let count = LayoutTable.shared.count
          precondition(count < 2_000, "\(count) layouts after \(n) lengths")
        }
        // Shapes that come up while a tape is in use, and are new by their combination only. What was
        // recorded names them until the arena is compacted.
        let rows = (1...40).map { Tensor.ones([$0, 1], constant: true) }
        let columns = (41...160).map { Tensor.ones([1, $0], constant: true) }
        Tape.withLimits(TapeLimits(windowRecords: 64)) {
          for row in rows {
            for column in columns { precondition((row * column).sum().item() > 0) }
            let count = LayoutTable.shared.count
            precondition(count < 2_000, "\(count) layouts")
          }
        }
        let generation = LayoutTable.generation
        precondition(generation > 10)
        // No sweep while there is nothing new.
        for _ in 0..<1000 { _ = (rows[3] * columns[4]).sum().item() }
        precondition(LayoutTable.generation == generation)
      }
    }

    /// Values in every state in which they name a layout.
    private final class Held {
      let n: Int
      let array: NDArray
      let window: NDArray
      /// Over memory with strides that nothing else has.
      let strided: Tensor
      /// The same, of which nothing is made.
      let alone: Tensor
      /// Without a record, and in memory not as its base's elements follow each other.
      let turned: Tensor
      let leaf: Tensor
      let view: Tensor
      let pending: Tensor
      let computed: Tensor
      let loss: Tensor

      init(_ n: Int) {
        self.n = n
        array = NDArray((0..<5 * n).map(Double.init), shape: [n, 5])
        window = array.transposed()
        strided = Tensor(
          NDArray((0..<7 * n).map(Double.init), shape: [n, 7]).transposed(), copy: false)
        alone = Tensor(
          NDArray((0..<9 * n).map(Double.init), shape: [n, 9]).transposed(), copy: false)
        turned = noAutodiff { [strided] in strided.transposed() }
        turned.eval()
        leaf = Tensor.ones([n, 2])
        view = leaf.transposed()
        computed = view * 2.0
        computed.eval()
        pending = computed.reshaped([n, 2]) + 1.0
        loss = matmul(leaf, view).sum() + pending.sum()
      }

      func check() {
        precondition(array.shape == [n, 5] && window.shape == [5, n] && window.strides == [1, 5])
        precondition(window[4, n - 1].item() == Double(5 * n - 1))
        let shown = Tensor(window, copy: false) + 1.0
        precondition(shown.shape == [5, n] && shown[4, n - 1].item() == Double(5 * n))
        precondition(alone.array.strides == [1, 9])
        precondition((alone + 1.0)[8, n - 1].item() == Double(9 * n))
        precondition(turned.shape == [n, 7])
        let part = turned[1..., 2]
        precondition(part.shape == [n - 1] && part[n - 2].item() == Double(7 * n - 5))
        precondition(strided.shape == [7, n] && strided.array.strides == [1, 7])
        precondition((strided + 1.0)[6, n - 1].item() == Double(7 * n))
        precondition(view.shape == [2, n] && computed.shape == [2, n] && pending.shape == [n, 2])
        precondition(pending.elements(as: Double.self) == [Double](repeating: 3, count: 2 * n))
        loss.backward()
        precondition(
          leaf.grad!.elements(as: Double.self)
            == [Double](repeating: 2 * Double(n) + 2, count: 2 * n))
        precondition(leaf.grad!.shape == [n, 2] && view.grad!.shape == [2, n])
      }
    }

    @Test("What is named keeps its shape", arguments: [1, 30, 1000])
    func named(_ limit: Int) async {
      let result: ExitTest.Result?
      switch limit {
      case 1: result = await #expect(processExitsWith: .success) { Self.keep(1) }
      case 30: result = await #expect(processExitsWith: .success) { Self.keep(30) }
      default: result = await #expect(processExitsWith: .success) { Self.keep(1000) }
      }
      #expect(result != nil)
    }

    private static func keep(_ limit: Int) {
      LayoutTable.limit = limit
      let held = (1...20).map { Held(3 * $0) }
      for n in 100...1100 { use(n) }
      precondition(LayoutTable.generation > 0)
      for each in held { each.check() }
    }

    @Test("What was remembered of freed shapes is forgotten")
    func remembered() async {
      await #expect(processExitsWith: .success) {
        LayoutTable.limit = 1
        // Equal but for the length, with numbers that come back in ever other order. From the third pass
        // on a pass is copied.
        var random = SeededRandom(seed: 1)
        for n in 10...500 {
          for k in 0..<random.int(0...5) { _ = NDArray.zeros([1000 * n + k]) }
          for _ in 0..<4 {
            let x = Tensor.ones([n, 2])
            if random.chance(0.5) { _ = NDArray.zeros([random.int(1_000_000...2_000_000), 0]) }
            precondition(x.transposed().shape == [2, n] && x[.all, 1].shape == [n])
            var y = x
            for _ in 0..<6 { y = y * x + x }
            let loss = (y * y.sum(axis: 0)).sum()
            loss.backward()
            precondition(loss.item() == Double(98 * n * n) && x.grad!.shape == [n, 2])
            let gradient = Double(2 * 7 * n * 28)
            precondition(
              x.grad!.elements(as: Double.self) == [Double](repeating: gradient, count: 2 * n))
          }
        }
      }
    }

    @Test("Threads that sweep beside each other")
    func threads() async {
      await #expect(processExitsWith: .success) {
        LayoutTable.limit = 20
        let done = DispatchSemaphore(value: 0)
        for k in 0..<4 {
          let thread = Thread {
            let held = (1...5).map { Held(5 * $0 + k) }
            for n in 0..<1000 { Self.use(100 + 4 * n + k) }
            for each in held { each.check() }
            done.signal()
          }
          thread.start()
        }
        for _ in 0..<4 { done.wait() }
        precondition(LayoutTable.generation > 0)
        Self.use(10_000)
        let count = LayoutTable.shared.count
        precondition(count < 10_000, "\(count) layouts")
      }
    }
  }
#endif
