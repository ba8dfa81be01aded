// How often recording an operation takes memory: not even for the tensor that it returns, if the one before was
// dropped. What takes some is listed with the reason, so that a change is noticed both ways.

import Foundation
import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite(
  "Memory that recording takes", .serialized,
  .enabled(if: AllocationCount.isAvailable, AllocationCount.reason))
struct RecordingMemoryTests {
  private struct Entry {
    let name: String
    /// How often it takes memory.
    let allocations: Int
    let run: () -> Tensor

    init(_ name: String, _ allocations: Int = 0, _ run: @escaping () -> Tensor) {
      self.name = name
      self.allocations = allocations
      self.run = run
    }
  }

  private static func values(_ shape: [Int]) -> Tensor {
    let count = shape.reduce(1, *)
    return Tensor(NDArray((1...count).map { Float($0) / Float(count) }, shape: shape))
  }

  private static func elementwise(_ n: Int) -> [Entry] {
    let (x, y, vector) = (values([n, n]), values([n, n]), values([n]))
    let flags = Tensor(NDArray((0..<n * n).map { $0 > 7 }, shape: [n, n]))
    return UnaryFunction.all.map { function in
      Entry(function.name) { function.call(x) }
    } + [
      Entry("-x") { -x }, Entry("+x") { +x }, Entry("isNaN") { isNaN(x) },
      Entry("logicalNot") { logicalNot(flags) }, Entry("cast") { x.cast(to: .float64) },
      Entry("x + y") { x + y }, Entry("x ** y") { x ** y }, Entry("x + vector") { x + vector },
      Entry("x * 2") { x * 2.0 }, Entry("2 - x") { 2 - x }, Entry("x ** 3") { x ** 3.0 },
      Entry("2 ** x") { 2 ** x }, Entry("maximum") { maximum(x, y) },
      Entry("maximum(0, x)") { maximum(0, x) }, Entry("x == y") { x .== y },
      Entry("2 < x") { 2 .< x },
      Entry("logicalAnd") { logicalAnd(flags, flags) }, Entry("where") { `where`(flags, x, y) },
      Entry("matmul") { matmul(x, y) },
    ]
  }

  private static func reductions(_ n: Int) -> [Entry] {
    let x = values([n, n])
    let labels = NDArray.arange(n)
    return [
      Entry("sum") { x.sum() }, Entry("sum(axis: 0)") { x.sum(axis: 0) },
      Entry("sum(axis: 1, keepDims: true)") { x.sum(axis: 1, keepDims: true) },
      Entry("prod(axis: 1)") { x.prod(axis: 1) }, Entry("mean") { x.mean() },
      Entry("max(axis: 1)") { x.max(axis: 1) }, Entry("argmin(axis: 1)") { x.argmin(axis: 1) },
      Entry("var(axis: 1)") { x.var(axis: 1) }, Entry("softmax") { softmax(x) },
      Entry("logSoftmax") { logSoftmax(x) }, Entry("logSumExp") { logSumExp(x) },
      Entry("softmaxCrossEntropy") { softmaxCrossEntropy(x, labels) },
    ]
  }

  private static func views(_ n: Int) -> [Entry] {
    let (x, thin) = (values([n, n]), values([n, 1, n]))
    let turned = x.transposed()
    let flat = [n * n]
    let (lengths, steps, order) = ([2, 2], [1, 2], [1, 0])
    return [
      Entry("transposed([1, 0])") { x.transposed(order) },
      Entry("slidingWindows") { x.slidingWindows(lengths, step: steps, dilation: steps) },
      Entry("diagonal") { x.diagonal() },
      Entry("diagonal(offset:)") { x.diagonal(offset: -1, axis1: 1, axis2: 0) },
      Entry("transposed()") { x.transposed() },
      Entry("expandedDims") { x.expandedDims(at: 1) },
      Entry("squeezed") { thin.squeezed() },
      Entry("squeezed(axis: 1)") { thin.squeezed(axis: 1) },
      Entry("x[1]") { x[1] }, Entry("x[1..<3]") { x[1..<3] },
      Entry("x[.all, 1]") { x[.all, 1] }, Entry("x[0..<2, 1...]") { x[0..<2, 1...] },
      Entry("x[.newAxis, .ellipsis, 1]") { x[.newAxis, .ellipsis, 1] },
      Entry("a view of a view") { turned[1] },
      // Of a copy.
      Entry("reshaped, copying") { turned.reshaped(flat) },
      Entry("flattened") { x.flattened() },
    ]
  }

  private static func selections(_ n: Int) -> [Entry] {
    let (x, y) = (values([n, n]), values([n, n]))
    let numbers = NDArray([0, 2, 3])
    let rowMask = NDArray((0..<n).map { $0 != 1 })
    let mask = NDArray((0..<n * n).map { $0 % 3 == 0 }, shape: [n, n])
    return [
      Entry("x[numbers]") { x[numbers] }, Entry("takeRows") { x.takeRows(numbers) },
      Entry("x[mask of rows]") { x[rowMask] }, Entry("x[mask]") { x[mask] },
      Entry("concatenate") { concatenate([x, y]) }, Entry("stack") { stack([x, y]) },
      Entry("stack(axis: -1)") { stack([x, y], axis: -1) },
      Entry("stack of five") { stack([x, y, x, y, x]) },
    ]
  }

  /// Of several sizes: whether two shapes share a place of a memo hangs on their numbers.
  @Test(arguments: 4...11)
  func allocationsOfOperations(_ n: Int) { expectAllocations(n) }

  /// A scope that is open elsewhere makes them ask for their own, which takes no memory either.
  @Test func allocationsBesideAnOpenScope() { noAutodiff { expectAllocations(12) } }

  /// One whose share is full of sizes that nobody asks for any more: the tape of a thread that has ended, and
  /// that a new one has taken over, used to keep none of what that let go.
  @Test func allocationsOnATapeThatIsFull() {
    let leave = DispatchSemaphore(value: 0)
    // The more tapes there are, the smaller is the share of each.
    for _ in 0..<64 {
      let made = DispatchSemaphore(value: 0)
      Thread {
        _ = Tape.current
        made.signal()
        leave.wait()
      }.start()
      made.wait()
    }
    expectAllocations(4) {
      // The smallest last, so that no room is left; but none as small as what selections take.
      for count in [1024, 896, 768, 640, 512, 64, 32, 16, 14, 12, 10] {
        let x = NDArray.ones([count], dtype: .float64)
        eval((0..<64).map { Tensor(x, constant: true) + Double($0) })
      }
    }
    for _ in 0..<64 { leave.signal() }
  }

  /// The least of a few: now and then a list grows, or the arena starts again. Only those count during which
  /// no other test has freed shapes, which makes all tapes forget what they know of them, or has emptied or
  /// counted what the tapes keep, which they can't take from meanwhile.
  private static func allocations(_ entry: Entry) -> Int {
    var counts: [Int] = []
    // Some tests do that for minutes.
    let end = ContinuousClock.now + .seconds(400)
    while counts.count < 8, ContinuousClock.now < end {
      let generation = LayoutTable.generation
      let undisturbed = StoragePool.shared.undisturbed
      // After that, a result of each object that the tape keeps has to be dropped before memory comes back
      // with every new one.
      for _ in 0..<16 { _ = entry.run() }
      let count = AllocationCount.of { _ = entry.run() }
      if LayoutTable.generation == generation, let undisturbed,
        StoragePool.shared.undisturbed == undisturbed
      {
        counts.append(count)
      }
    }
    return counts.min() ?? -1
  }

  private func expectAllocations(_ n: Int, after prepare: @Sendable @escaping () -> Void = {}) {
    let counts = ConcurrencyTests.onNewThread {
      Tape.withLimits(.usual) {
        prepare()
        let entries =
          Self.elementwise(n) + Self.reductions(n) + Self.views(n) + Self.selections(n)
        return entries.map { entry in
          // Until shapes are known, and the tape has objects of tensors to use again.
          for _ in 0..<64 { _ = entry.run() }
          return (name: entry.name, made: Self.allocations(entry), expected: entry.allocations)
        }
      }
    }
    for count in counts { #expect(count.made == count.expected, "\(count.name)") }
  }
}
