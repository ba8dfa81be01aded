// Joining tensors: parts of all lengths and types, wherever they were recorded, and what a join does to
// gradients that there are already.

import LazyGrad
import LazyGradJIT
import Testing

@Suite("Joining tensors") struct JoiningTests {
  private static let lists: [[Int]] = [
    [1], [2, 2], [1, 3], [2, 2, 2, 2], [1, 2, 1, 2], [2, 1, 2, 1, 2], [1, 1, 2, 2, 1, 1, 2, 2],
    [3, 1, 1, 1, 1, 1, 3], Array(1...9),
  ]

  /// Tensors `[length, 2]` with all numbers from 0 on in order.
  private static func parts(_ lengths: [Int]) -> [Tensor] {
    var start = 0.0
    return lengths.map { length in
      defer { start += Double(2 * length) }
      return Tensor(NDArray.arange(start, start + Double(2 * length)).reshaped([length, 2]))
    }
  }

  @Test("Parts of any lengths lie one behind the other", arguments: lists)
  func lengths(_ lengths: [Int]) {
    let count = lengths.reduce(0, +)
    let numbers = (0..<2 * count).map(Double.init)
    // One place of a memo, and all of them.
    for limits in [TapeLimits(windowRecords: 1000), .usual] {
      Tape.withLimits(limits) {
        for _ in 0..<2 {
          let rows = Self.parts(lengths)
          let columns = rows.map { Tensor($0.array.transposed()) }
          let joins: [([Tensor], ([Tensor]) -> Tensor)] = [
            (rows, { concatenate($0) }), (rows, { concatenate($0, axis: -2) }),
            (columns, { concatenate($0, axis: 1).transposed() }),
            (columns, { concatenate($0, axis: -1).transposed() }),
          ]
          for (list, join) in joins {
            let joined = join(list)
            #expect(joined.shape == [count, 2])
            #expect(joined.elements(as: Double.self) == numbers)
            (joined * Tensor(NDArray(numbers, shape: [count, 2]))).sum().backward()
            for part in list {
              #expect(part.grad?.elements(as: Double.self) == part.elements(as: Double.self))
            }
          }
        }
      }
    }
  }

  @Test("Stacked tensors are found along the new axis", arguments: [1, 2, 3, 4, 7])
  func stacked(_ count: Int) {
    let parts = Self.parts(Array(repeating: 3, count: count))
    for axis in -3...2 {
      let whole = stack(parts, axis: axis)
      let front = whole.movedAxis(from: axis, to: 0)
      #expect(front.shape == [count, 3, 2])
      for k in 0..<count {
        #expect(front[k].elements(as: Double.self) == parts[k].elements(as: Double.self))
      }
    }
  }

  @Test("Parts of several types have the type that they are promoted to")
  func types() {
    let (x, y) = (Tensor([1.5], dtype: .float32), Tensor([2.5], dtype: .float64))
    let (n, flag) = (Tensor([3], dtype: .int32), Tensor([true]))
    for joined in [concatenate([x, y]), stack([x, y])] {
      #expect(joined.dtype == .float64 && joined.elements(as: Double.self) == [1.5, 2.5])
    }
    #expect(concatenate([n, flag]).dtype == .int32 && concatenate([x, n]).dtype == .float64)
    #expect(concatenate([flag, flag, n, y]).elements(as: Double.self) == [1, 1, 3, 2.5])
    let halves = concatenate([x.cast(to: .float16), x.cast(to: .float16)])
    #expect(halves.dtype == .float16 && halves.elements(as: Double.self) == [1.5, 1.5])
  }

  @Test("Parts without elements, and axes that are not there")
  func edges() {
    let (x, empty) = (Tensor.zeros([2, 3]), Tensor.zeros([0, 3]))
    #expect(concatenate([empty, x, empty]).shape == [2, 3])
    #expect(
      concatenate([empty, empty]).shape == [0, 3] && stack([empty, empty]).shape == [2, 0, 3])
    let wrong: [(String, () -> Tensor)] = [
      ("axis", { concatenate([x, x], axis: 2) }),
      ("negative axis", { concatenate([x, x], axis: -3) }),
      ("new axis", { stack([x, x], axis: 3) }), ("negative new axis", { stack([x, x], axis: -4) }),
      ("lengths", { concatenate([x, empty], axis: 1) }), ("shapes", { stack([x, empty]) }),
      ("ranks", { concatenate([x, x.sum(axis: 0)]) }),
      ("scalars", { concatenate([x.sum(), x.sum()]) }),
    ]
    for (name, join) in wrong {
      _ = (concatenate([x, x]), stack([x, x]))
      for _ in 0..<2 {
        #expect(throws: TensorError.self, "\(name)") { try catchingTensorErrors { join() } }
      }
    }
    #expect(stack([x.sum(), x.sum()]).shape == [2])
  }

  @Test("A join ends the gradients of earlier passes, and a refused one does not")
  func gradients() {
    let (x, y, z) = (Tensor([1.0, 2]), Tensor([3.0, 4]), Tensor([5.0]))
    func differentiate() { (x * y).sum().backward() }
    for join in [{ concatenate([x, y]) }, { stack([x, y]) }, { concatenate([z, y, z, x]) }] {
      differentiate()
      #expect(x.grad != nil && y.grad != nil)
      _ = join()
      #expect(x.grad == nil && y.grad == nil)
      differentiate()
      _ = noAutodiff { join() }
      #expect(x.grad != nil && y.grad != nil)
    }
    differentiate()
    #expect(throws: TensorError.self) { try catchingTensorErrors { stack([x, z]) } }
    #expect(x.grad != nil)
    // Of a scalar loss, for which nothing is kept.
    let loss = x.sum()
    loss.backward()
    #expect(loss.grad != nil)
    _ = stack([loss, loss])
    #expect(loss.grad == nil)
  }

  @Test("Parts that other threads have recorded")
  func threads() {
    for count in 1...4 {
      let others = (0..<count).map { k in
        ConcurrencyTests.onNewThread {
          ConcurrencyTests.Sent(value: Tensor.full([2], 1.0 + Double(k)) * Double(k))
        }.value
      }
      let own = Tensor.full([2], -1.0)
      let joined = concatenate([own] + others)
      var expected = [-1.0, -1]
      for k in 0..<count { expected += [Double](repeating: Double(k * (k + 1)), count: 2) }
      #expect(joined.elements(as: Double.self) == expected)
    }
  }

  @Test("Views that were cut off lead to their base again")
  func cutOffViews() {
    let x = Tensor([1.0, 2, 3, 4])
    let (low, high) = (x[0..<2], x[2...])
    (low * high).sum().backward()
    for join in [
      { concatenate([low, high]) }, { stack([low, high]) }, { concatenate([high, low]) },
    ] {
      (join() * 2.0).sum().backward()
      #expect(x.grad?.elements(as: Double.self) == [2, 2, 2, 2])
    }
  }
}
