// Views whose layouts are remembered: they are those that would be worked out, whatever else the tape
// remembers and wherever its memory ends.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Remembered views")
struct ViewCacheTests {
  /// A view as a program takes it, of a tensor and of a host array with the same elements.
  private struct Step {
    let name: String
    let tensor: (Tensor) -> Tensor
    let array: (NDArray) -> NDArray
  }

  private static func step(_ dims: [Int], _ random: inout SeededRandom) -> Step {
    let rank = dims.count
    switch random.int(0...10) {
    case 0:
      return Step(name: "transposed") {
        $0.transposed()
      } array: {
        $0.transposed()
      }
    case 1:
      let axes = dims.indices.shuffled(using: &random).map { random.chance(0.5) ? $0 : $0 - rank }
      return Step(name: "\(axes)") {
        $0.transposed(axes)
      } array: {
        $0.transposed(axes)
      }
    case 2:
      let shape = random.chance(0.3) && !dims.contains(0) ? [-1] : [dims.reduce(1, *), 1]
      return Step(name: "to \(shape)") {
        $0.reshaped(shape)
      } array: {
        $0.reshaped(shape)
      }
    case 3:
      let axis = random.int(-rank - 1...rank)
      var shape = dims
      shape.insert(1, at: axis < 0 ? axis + rank + 1 : axis)
      return Step(name: "expanded \(axis)") {
        $0.expandedDims(at: axis)
      } array: {
        $0.reshaped(shape)
      }
    case 4:
      let shape = dims.filter { $0 != 1 }
      return Step(name: "squeezed") {
        $0.squeezed()
      } array: {
        $0.reshaped(shape)
      }
    case 5:
      let shape = [random.int(1...2)] + dims.map { $0 == 1 ? 2 : $0 }
      return Step(name: "broadcast") {
        $0.broadcast(to: shape)
      } array: {
        $0.broadcast(to: shape)
      }
    case 6 where rank > 0 && dims[0] > 0:
      let row = random.int(-dims[0]...dims[0] - 1)
      return Step(name: "[\(row)]") {
        $0[row]
      } array: {
        $0[row]
      }
    case 7 where rank > 0: return reordered(rank, &random)
    case 8 where rank > 0: return section(dims, &random)
    case 9 where rank > 1 && dims[rank - 1] > 0:
      let row = random.int(-dims[rank - 1]...dims[rank - 1] - 1)
      let range = IndexComponent.slice(random.int(-3...3), nil)
      return Step(name: "[\(range), .newAxis, ..., .newAxis, \(row)]") {
        $0[range, .newAxis, .ellipsis, .newAxis, row]
      } array: {
        $0[range, .newAxis, .ellipsis, .newAxis, row]
      }
    default:
      let range = IndexComponent.slice(
        random.chance(0.3) ? nil : random.int(-5...5),
        random.chance(0.3) ? nil : random.int(-5...5),
        step: random.pick([1, 1, 2, -1, -3]))
      if rank == 0 {
        return Step(name: "new") {
          $0[.newAxis]
        } array: {
          $0[.newAxis]
        }
      }
      if random.chance(0.5) {
        return Step(name: "[..., \(range)]") {
          $0[.ellipsis, range]
        } array: {
          $0[.ellipsis, range]
        }
      }
      return Step(name: "[\(range)]") {
        $0[range, .newAxis]
      } array: {
        $0[range, .newAxis]
      }
    }
  }

  /// Axes in another order, or turned around.
  private static func reordered(_ rank: Int, _ random: inout SeededRandom) -> Step {
    let (first, second) = (random.int(-rank...rank - 1), random.int(-rank...rank - 1))
    let (a, b) = ((first + rank) % rank, (second + rank) % rank)
    var order = Array(0..<rank)
    switch random.int(0...2) {
    case 0:
      order.swapAt(a, b)
      return Step(name: "swapped \(first), \(second)") {
        $0.swappedAxes(first, second)
      } array: { [order] in
        $0.transposed(order)
      }
    case 1:
      order.insert(order.remove(at: a), at: b)
      return Step(name: "moved \(first) to \(second)") {
        $0.movedAxis(from: first, to: second)
      } array: { [order] in
        $0.transposed(order)
      }
    default:
      let isTurned = order.map { $0 == a || $0 == b }
      let axes = a == b ? [first] : [first, second]
      return Step(name: "flipped \(axes)") {
        a == b && rank > 1 ? $0.flipped(axis: first) : $0.flipped(axes: axes)
      } array: { array in
        isTurned.enumerated().reduce(array) { result, axis in
          if !axis.element { return result }
          let front = result.transposed(Self.front(axis.offset, rank))
          return front[.slice(step: -1)].transposed(Self.back(axis.offset, rank))
        }
      }
    }
  }

  private static func front(_ axis: Int, _ rank: Int) -> [Int] {
    [axis] + (0..<rank).filter { $0 != axis }
  }

  /// The order that undoes `front`.
  private static func back(_ axis: Int, _ rank: Int) -> [Int] {
    (0..<rank).map { $0 == axis ? 0 : $0 < axis ? $0 + 1 : $0 }
  }

  /// One of the parts between two positions, or windows along the last axis.
  private static func section(_ dims: [Int], _ random: inout SeededRandom) -> Step {
    let rank = dims.count
    let last = dims[rank - 1]
    if last > 1, rank < 4, random.chance(0.4) {
      let (length, step) = (random.int(1...min(last, 2)), random.int(1...2))
      let count = (last - length) / step + 1
      return Step(name: "windows of \(length) by \(step)") {
        $0.slidingWindows([length], step: [step])
      } array: { array in
        // Where a window begins is the first axis, where in it the last.
        let rows = array.transposed(Self.front(rank - 1, rank))
        let starts = NDArray(
          (0..<count).flatMap { k in (0..<length).map { k * step + $0 } }, shape: [count, length])
        let order = [0] + (2..<rank + 1).map { $0 } + [1]
        return rows[starts].transposed(order)
      }
    }
    let axis = random.int(0...rank - 1)
    let bounds = [random.int(-3...5), random.int(-3...5)]
    return Step(name: "between \(bounds) along \(axis)") {
      split($0, at: bounds, axis: axis)[1]
    } array: { array in
      let length = dims[axis]
      let low = min(max(bounds[0] < 0 ? bounds[0] + length : bounds[0], 0), length)
      let high = min(max(bounds[1] < 0 ? bounds[1] + length : bounds[1], 0), length)
      let front = array.transposed(Self.front(axis, rank))
      return front[low..<max(low, high)].transposed(Self.back(axis, rank))
    }
  }

  @Test("Views agree with those of host arrays", arguments: 0..<20)
  func views(_ seed: UInt64) {
    // One entry only, as many as there are, and twice each so that the second is remembered.
    for limits in [TapeLimits(windowRecords: 1000), .usual] {
      Tape.withLimits(limits) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<60 {
          var dims = (0..<random.int(0...4)).map { _ in random.int(0...4) }
          if random.chance(0.7) { dims = dims.map { max($0, 1) } }
          let numbers = NDArray((0..<dims.reduce(1, *)).map(Double.init), shape: dims)
          // In memory in another order as well.
          let isTurned = random.chance(0.3)
          let memory = isTurned ? numbers.transposed() : numbers
          let x = Tensor(memory, copy: false)
          var array = memory
          var views = [x, x]
          var names = ""
          for _ in 0..<random.int(1...4) where array.count <= 500 && array.rank < 7 {
            let step = Self.step(array.shape, &random)
            names += step.name + " "
            array = step.array(array)
            views = views.map(step.tensor)
          }
          for view in views {
            #expect(view.shape == array.shape, "\(seed): \(dims) \(names)")
            #expect(
              view.elements(as: Double.self) == array.elements(as: Double.self),
              "\(seed): \(dims) \(names)")
          }
          // The gradient counts how often an element is seen, whichever of the two is differentiated.
          var expected = [Double](repeating: 0, count: numbers.count)
          for place in array.elements(as: Int.self) { expected[place] += 1 }
          for view in views {
            view.backward(retainGraph: true)
            let gradient = x.grad!.array
            let inOrder = isTurned ? gradient.transposed() : gradient
            #expect(inOrder.elements(as: Double.self) == expected, "\(seed): \(dims) \(names)")
          }
        }
      }
    }
  }

  @Test("Rows and masks agree with those of host arrays", arguments: 0..<10)
  func rows(_ seed: UInt64) {
    for limits in [TapeLimits(windowRecords: 1000), .usual] {
      Tape.withLimits(limits) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<60 {
          let dims = (0..<random.int(1...3)).map { _ in random.int(1...4) }
          let count = dims.reduce(1, *)
          let memory = NDArray((0..<count).map(Double.init), shape: dims)
          let isTurned = random.chance(0.3)
          let array = isTurned ? memory.transposed() : memory
          let x = Tensor(array, copy: false)
          let index: NDArray
          if random.chance(0.5) {
            let length = array.shape[0]
            let given = (0..<random.int(0...5)).map { _ in random.int(-length...length - 1) }
            let type: DType = random.pick([.int64, .int32])
            index = NDArray(given, shape: random.chance(0.5) ? [given.count] : [1, given.count])
              .astype(type)
            #expect(
              x.takeRows(index).elements(as: Double.self) == array[index].elements(as: Double.self))
          } else {
            let covered = Array(array.shape.prefix(random.int(1...dims.count)))
            index = NDArray(
              (0..<covered.reduce(1, *)).map { _ in random.chance(0.5) }, shape: covered)
          }
          var expected = [Double](repeating: 0, count: count)
          for place in array[index].elements(as: Int.self) { expected[place] += 1 }
          for _ in 0..<2 {
            let rows = x[index]
            #expect(rows.shape == array[index].shape && rows.base == nil)
            #expect(rows.elements(as: Double.self) == array[index].elements(as: Double.self))
            rows.backward()
            let gradient = x.grad!.array
            #expect(
              (isTurned ? gradient.transposed() : gradient).elements(as: Double.self) == expected)
          }
          // What is wrong is refused, also where another list of that shape was not.
          let wrong = NDArray([0, array.shape[0]])
          let right = NDArray([0, 0])
          _ = (x[right], x.takeRows(right))
          #expect(throws: TensorError.self) { try catchingTensorErrors { x[wrong] } }
          #expect(throws: TensorError.self) { try catchingTensorErrors { x.takeRows(wrong) } }
        }
      }
    }
  }

  @Test("What is refused stays refused where something like it is remembered")
  func refusals() {
    let x = Tensor(NDArray.arange(12.0).reshaped([3, 4]))
    _ = (x[1, 2], x[.ellipsis], x[0..<2], x.reshaped([2, 6]), x.transposed([1, 0]))
    _ = (x.expandedDims(at: 2), x.broadcast(to: [2, 3, 4]))
    let wrong: [(String, (Tensor) -> Tensor)] = [
      ("row", { $0[3] }), ("column", { $0[0, -5] }), ("axes", { $0[0, 0, 0] }),
      ("two ellipses", { $0[.ellipsis, .ellipsis] }), ("step", { $0[.slice(step: 0)] }),
      ("count", { $0.reshaped([2, 5]) }), ("huge", { $0.reshaped([2 + 1 << 32, 6]) }),
      ("permutation", { $0.transposed([1, 1]) }), ("axis", { $0.expandedDims(at: 4) }),
      ("broadcast", { $0.broadcast(to: [4, 4]) }), ("squeezed", { $0.squeezed(axis: 0) }),
    ]
    for (name, view) in wrong {
      for _ in 0..<2 {
        #expect(throws: TensorError.self, "\(name)") { try catchingTensorErrors { view(x) } }
      }
    }
  }

  @Test("What has no room in a key is worked out every time")
  func longLists() {
    let rank = 10
    let array = NDArray.arange(1024.0).reshaped(Array(repeating: 2, count: rank))
    let x = Tensor(array)
    func expect(_ view: Tensor, _ expected: NDArray) {
      #expect(view.shape == expected.shape)
      #expect(view.elements(as: Double.self) == expected.elements(as: Double.self))
    }
    // What they differ in stands in front, where a key that goes on growing loses it.
    for _ in 0..<2 {
      for k in 1..<rank {
        var order = Array(0..<rank)
        order.swapAt(0, k)
        expect(x.transposed(order), array.transposed(order))
        var shape = Array(repeating: 1, count: rank)
        (shape[0], shape[k]) = (1 << k, 1 << (rank - k))
        expect(x.reshaped(shape), array.reshaped(shape))
      }
      expect(
        x[..<1, 0..., 0..., 0..., 0..., 0..., 0..., 0..., 0..., 0...],
        array[..<1, 0..., 0..., 0..., 0..., 0..., 0..., 0..., 0..., 0...])
      expect(
        x[0..., ..<1, 0..., 0..., 0..., 0..., 0..., 0..., 0..., 0...],
        array[0..., ..<1, 0..., 0..., 0..., 0..., 0..., 0..., 0..., 0...])
      expect(
        x[-1, .ellipsis, ..<1, 0..., 0..., 0..., 0..., 0..., 0...],
        array[-1, .ellipsis, ..<1, 0..., 0..., 0..., 0..., 0..., 0...])
      // Numbers of more than 32 bits.
      for bits in [33, 34] {
        #expect(Tensor(1.0).broadcast(to: [1 << bits]).shape == [1 << bits])
        #expect(Tensor(1.0).broadcast(to: [1 << bits, 1]).shape == [1 << bits, 1])
      }
    }
  }

  @Test("Views of one layout that begin elsewhere, counted from either end")
  func beginnings() {
    let array = NDArray.arange(120.0).reshaped([4, 5, 6])
    let x = Tensor(array)
    let part = x[1...]
    for row in -3..<3 {
      for column in -5..<5 {
        // The same keys over and over, of the tensor and of a view of it.
        let expected = array[1...][row, .ellipsis, column, .newAxis]
        for view in [
          part[row, .ellipsis, column, .newAxis],
          x[row < 0 ? row : row + 1, .ellipsis, column, .newAxis],
          part[row, 0..., column...column][.ellipsis, .newAxis][.all, 0].transposed(),
        ] {
          #expect(view.count == expected.count && view.base === x)
          #expect(view.elements(as: Double.self) == expected.elements(as: Double.self))
        }
      }
    }
  }

  @Test("Updates through remembered parts reach what they name")
  func updates() {
    let x = Tensor.zeros([4, 3], dtype: .float32)
    for row in 0..<4 {
      x[row] = Tensor([1.0, 2, 3], dtype: .float32) * Double(row)
      x[row, 1...] += 10
      x[.slice(step: -1), 0] = Tensor([4.0, 3, 2, 1], dtype: .float32)
    }
    #expect(x.elements(as: Double.self) == [1, 10, 10, 2, 12, 13, 3, 14, 16, 4, 16, 19])
  }

  @Test("The bounds and steps of ranges, and the size of an entry")
  func steps() {
    let x = NDArray.arange(5)
    #expect(x[.slice(step: .max)].elements(as: Int.self) == [0])
    #expect(x[.slice(step: .min)].elements(as: Int.self) == [4])
    #expect(x[.slice(.min, .max)].count == 5 && x[.slice(.max, .min, step: -1)].count == 5)
    #expect(MemoryLayout<IndexComponent>.size <= 3 * MemoryLayout<Int>.size)
  }
}
