// Reductions and joins of tensors look up what becomes of shapes: that agrees with the obvious loop for
// all shapes and axes, also where little is remembered, and composites make no objects for their parts.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite struct ReductionMemoTests {
  /// The groups of elements that go into every element of a result, in C order.
  private static func groups(_ dims: [Int], _ axes: Set<Int>) -> [[Double]] {
    let kept = dims.indices.filter { !axes.contains($0) }
    var groups = [[Double]](repeating: [], count: kept.reduce(1) { $0 * dims[$1] })
    for element in 0..<dims.reduce(1, *) {
      var rest = element
      var index = dims.map { _ in 0 }
      for axis in dims.indices.reversed() {
        index[axis] = rest % dims[axis]
        rest /= dims[axis]
      }
      groups[kept.reduce(0) { $0 * dims[$1] + index[$1] }].append(Self.value(element))
    }
    return groups
  }

  /// Whole numbers, whose sums are exact.
  private static func value(_ element: Int) -> Double { Double(element * 7 % 11) - 5 }

  private func check(_ random: inout SeededRandom) {
    let dims = (0..<random.int(0...4)).map { _ in random.pick([0, 1, 1, 2, 3]) }
    let x = Tensor(NDArray((0..<dims.reduce(1, *)).map(Self.value), shape: dims))
    let named = dims.indices.filter { _ in random.chance(0.5) }
    let axes = named.shuffled(using: &random).map { random.chance(0.5) ? $0 - dims.count : $0 }
    let keepDims = random.chance(0.5)
    let shape = dims.indices.compactMap { named.contains($0) ? (keepDims ? 1 : nil) : dims[$0] }
    let groups = Self.groups(dims, Set(named))
    func expect(_ result: Tensor, _ value: ([Double]) -> Double) {
      #expect(result.shape == shape && result.base == nil, "\(dims) over \(axes)")
      #expect(
        result.elements(as: Double.self).elementsEqual(groups.map(value)) {
          $0 == $1 || ($0.isNaN && $1.isNaN)
        }, "\(dims) over \(axes)")
    }
    let sum = x.sum(axes: axes, keepDims: keepDims)
    expect(sum) { $0.reduce(0, +) }
    sum.backward()
    #expect(x.grad!.elements(as: Double.self).allSatisfy { $0 == 1 })
    expect(x.cast(to: .int32).sum(axes: axes, keepDims: keepDims)) { $0.reduce(0, +) }
    expect(x.cast(to: .int32).prod(axes: axes, keepDims: keepDims)) {
      Double($0.reduce(Int64(1)) { $0 &* Int64($1) })
    }
    expect(x.mean(axes: axes, keepDims: keepDims)) { $0.reduce(0, +) / Double($0.count) }
    if !named.contains(where: { dims[$0] == 0 }) {
      expect(x.max(axes: axes, keepDims: keepDims)) { $0.max()! }
      expect(x.min(axes: axes, keepDims: keepDims)) { $0.min()! }
      if named.count == 1, !keepDims {
        expect(x.argmax(axis: axes[0])) { Double($0.firstIndex(of: $0.max()!)!) }
      }
    }
    guard let axis = axes.first, named.count == 1, dims[named[0]] > 0 else { return }
    let weights = softmax(x, axis: axis).sum(axis: axis, keepDims: keepDims)
    #expect(weights.shape == shape)
    #expect(weights.elements(as: Double.self).allSatisfy { abs($0 - 1) < 1e-15 })
    #expect(logSumExp(x, axis: axis, keepDims: keepDims).shape == shape)
    let both = concatenate([x, x], axis: axis)
    #expect(both.sum(axis: axis).elements(as: Double.self) == groups.map { 2 * $0.reduce(0, +) })
    #expect(
      stack([x, x, x], axis: axis).sum(axis: axis).elements(as: Double.self)
        == x.elements(as: Double.self).map { 3 * $0 })
  }

  @Test(arguments: [10, 100_000] as [UInt32])
  func everyShapeAgreesWithTheLoop(_ windowRecords: UInt32) {
    ConcurrencyTests.onNewThread {
      var limits = TapeLimits(windowRecords: windowRecords)
      if windowRecords > 10 { limits.memoPlaces = 64 }
      Tape.withLimits(limits) {
        var random = SeededRandom(seed: 20_261_128)
        for _ in 0..<500 { check(&random) }
      }
    }
  }

  @Test func aCompositeIsOneHandleAndItsNodes() {
    ConcurrencyTests.onNewThread {
      Tape.withLimits(.usual) { countNodes() }
    }
  }

  private func countNodes() {
    let x = Tensor(NDArray.zeros([4, 4], dtype: .float32))
    for _ in 0..<64 { _ = x + x }
    // The thread may have got a tape with records on it. While one is held the arena does not start again,
    // after which there would be one record more, for x.
    let held = x + x
    defer { withExtendedLifetime(held) {} }
    let operations: [(String, () -> Tensor, nodes: Int)] = [
      ("sum", { x.sum(axis: 0) }, 1), ("max", { x.max(axis: -1, keepDims: true) }, 1),
      ("prod", { x.prod(axis: 0) }, 1), ("argmin", { x.argmin(axis: 1) }, 1),
      ("mean", { x.mean(axis: 0) }, 3),
      ("var", { x.var(axis: 1) }, 8), ("softmax", { softmax(x) }, 7),
      ("logSoftmax", { logSoftmax(x) }, 7), ("logSumExp", { logSumExp(x) }, 11),
      ("concatenate", { concatenate([x, x, x]) }, 2), ("stack", { stack([x, x]) }, 2),
    ]
    for (name, operation, nodes) in operations {
      // The least of a few: records that outlive the compaction of an arena are counted once more.
      let made = (0..<4).map { _ in
        let before = Tape.recordsOfThisThread
        _ = operation()
        return Tape.recordsOfThisThread - before
      }.min()!
      #expect(made == nodes, "\(name) records \(made)")
      var objects: Set<ObjectIdentifier> = []
      for _ in 0..<20 { objects.insert(ObjectIdentifier(operation())) }
      #expect(objects.count <= 8, "\(name) makes objects")
    }
  }

  @Test func anAxisThatIsNotThereIsNamed() {
    let x = Tensor([[1.0, 2], [3, 4]])
    for operation in [
      { x.sum(axis: 3) }, { x.mean(axes: [0, 3]) }, { x.var(axis: 3) }, { softmax(x, axis: 3) },
      { logSumExp(x, axis: 3) }, { concatenate([x], axis: 3) }, { stack([x], axis: 3) },
    ] {
      let error = #expect(throws: TensorError.self) { try catchingTensorErrors { _ = operation() } }
      #expect(error?.message == "axis 3 is out of range for shape [2, 2]")
    }
  }
}
