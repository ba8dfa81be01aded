// Random views: slices, reversals, transpositions, broadcasts, reshapes and diagonals as strides,
// composed the way that a program composes them.

import LazyGradJIT

/// Dimensions, strides and start of a view over some memory, in elements.
package struct StridedView: Sendable {
  package var dims: [Int]
  package var strides: [Int]
  package var offset = 0

  package init(dims: [Int], strides: [Int], offset: Int = 0) {
    self.dims = dims
    self.strides = strides
    self.offset = offset
  }

  /// All of a contiguous array.
  package init(contiguous dims: [Int]) {
    self.init(dims: dims, strides: LayoutTable.contiguousStrides(dims)!.strides)
  }

  package var count: Int { dims.reduce(1, *) }
  package var layoutID: LayoutID { LayoutTable.shared.intern(dims: dims, strides: strides) }
  package var shapeID: LayoutID { LayoutTable.shared.intern(dims: dims) }

  package mutating func transpose(_ order: [Int]) {
    dims = order.map { dims[$0] }
    strides = order.map { strides[$0] }
  }

  /// Takes `length` elements along an axis, `step` apart, from `start` on.
  package mutating func slice(_ axis: Int, from start: Int, length: Int, step: Int) {
    if length > 0 { offset += start * strides[axis] }
    dims[axis] = length
    strides[axis] *= step
  }

  /// A random further view; `limit` bounds its count. `repeating` allows an element to appear at
  /// several places.
  package mutating func vary(_ random: inout SeededRandom, limit: Int, repeating: Bool) {
    switch random.int(0...9) {
    case 0...2 where dims.count >= 2:
      transpose(
        random.chance(0.6)
          ? Array(dims.indices.dropLast(2)) + [dims.count - 1, dims.count - 2]
          : dims.indices.shuffled(using: &random))
    case 0...6 where !dims.isEmpty:
      sliceRandomly(random.int(0...(dims.count - 1)), &random)
    case 7 where repeating: broadcast(&random, limit: limit)
    case 8 where dims.count >= 2 && random.chance(0.5):
      diagonal()
    default: reshape(&random)
    }
  }

  private mutating func sliceRandomly(_ axis: Int, _ random: inout SeededRandom) {
    let n = dims[axis]
    if n == 0 { return }
    switch random.int(0...5) {
    case 0: slice(axis, from: n - 1, length: n, step: -1)
    case 1 where n >= 2: slice(axis, from: 1, length: n - 1, step: 1)
    case 2 where n >= 2: slice(axis, from: 0, length: n - 1, step: 1)
    case 3: slice(axis, from: random.int(0...(n - 1)), length: 1, step: 1)
    case 4 where n >= 2:
      let start = random.int(0...1)
      slice(axis, from: start, length: (n - start + 1) / 2, step: 2)
    default:
      let start = random.int(0...(n - 1))
      slice(axis, from: start, length: random.int(1...(n - start)), step: 1)
    }
  }

  private mutating func broadcast(_ random: inout SeededRandom, limit: Int) {
    let repeats = random.pick([2, 3, 5, 8])
    if count * repeats > limit { return }
    if let axis = dims.firstIndex(of: 1), random.chance(0.7) {
      dims[axis] = repeats
      strides[axis] = 0
    } else if dims.count < 5 {
      let axis = random.int(0...dims.count)
      dims.insert(repeats, at: axis)
      strides.insert(0, at: axis)
    }
  }

  private mutating func diagonal() {
    let n = min(dims[0], dims[1])
    dims = [n] + dims[2...]
    strides = [strides[0] + strides[1]] + strides[2...]
  }

  private mutating func reshape(_ random: inout SeededRandom) {
    let n = count
    var shapes = [[n], [n, 1], [1, n]]
    if n > 0 {
      for factor in [2, 3, 4, 8, 16] where n % factor == 0 {
        shapes.append([factor, n / factor])
        shapes.append([n / factor, factor])
      }
    }
    if dims.count >= 2 { shapes.append([dims[0] * dims[1]] + dims[2...]) }
    let wanted = random.pick(shapes)
    let layout = LayoutTable.shared[layoutID]
    if let new = layout.reshapedStrides(to: wanted) {
      dims = wanted
      strides = new
    }
  }
}
