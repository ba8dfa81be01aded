// Layouts over what another layout shows, held against the places of the elements one by one.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct LayoutPartTests {
  private func places(_ layout: Layout, _ offset: Int = 0) -> [Int] {
    var result = [offset]
    for (length, stride) in zip(layout.dims, layout.strides) {
      result = result.flatMap { place in (0..<length).map { place + $0 * stride } }
    }
    return result
  }

  /// A layout with gaps, reversed and repeated axes in any order; no two axes overlap by chance only.
  private func layout(_ random: inout SeededRandom) -> Layout {
    let dims = (0..<random.int(0...4)).map { _ in random.pick([1, 2, 2, 3, 4, 6]) }
    var strides = [Int](repeating: 0, count: dims.count)
    var order = Array(dims.indices)
    for i in order.indices { order.swapAt(i, random.int(0...i)) }
    var step = random.pick([1, 1, 2])
    for axis in order {
      strides[axis] = random.chance(0.1) ? 0 : random.chance(0.2) ? -step : step
      step *= dims[axis] * random.pick([1, 1, 1, 2])
    }
    if random.chance(0.5) { strides = LayoutTable.contiguousStrides(dims)!.strides.map { $0 * 2 } }
    return LayoutTable.shared[LayoutTable.shared.intern(dims: dims, strides: strides)]
  }

  /// A reshape, transposition, cut or repetition of `count` elements in C order.
  private func part(of whole: Layout, _ random: inout SeededRandom) -> (layout: Layout, offset: Int)
  {
    var dims = whole.dims
    var strides = LayoutTable.contiguousStrides(dims)!.strides
    var offset = 0
    for _ in 0..<random.int(0...4) where !dims.isEmpty {
      let axis = random.int(0...(dims.count - 1))
      switch random.int(0...5) {
      case 0:
        offset += random.int(0...(dims[axis] - 1)) * strides[axis]
        dims.remove(at: axis)
        strides.remove(at: axis)
      case 1:
        offset += (dims[axis] - 1) * strides[axis]
        strides[axis] = -strides[axis]
      case 2:
        let low = random.int(0...(dims[axis] - 1))
        let step = random.int(1...2)
        offset += low * strides[axis]
        dims[axis] = (dims[axis] - low + step - 1) / step
        strides[axis] *= step
      case 3:
        dims.swapAt(axis, 0)
        strides.swapAt(axis, 0)
      case 4:
        dims.insert(3, at: axis)
        strides.insert(0, at: axis)
      default:
        let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: dims, strides: strides)]
        let n = layout.count
        for shape in [[n], [2, n / 2], [n / 3, 3], [n / 2, 2]] where shape.reduce(1, *) == n {
          if random.chance(0.5), let next = layout.reshapedStrides(to: shape) {
            dims = shape
            strides = next
            break
          }
        }
      }
    }
    return (LayoutTable.shared[LayoutTable.shared.intern(dims: dims, strides: strides)], offset)
  }

  /// Whether places are a start plus index times stride along every axis.
  private func isStrided(_ places: [Int], _ dims: [Int]) -> Bool {
    if places.isEmpty { return true }
    let steps = LayoutTable.contiguousStrides(dims)!.strides
    let strides = dims.indices.map { dims[$0] > 1 ? places[steps[$0]] - places[0] : 0 }
    let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: dims, strides: strides)]
    return self.places(layout, places[0]) == places
  }

  @Test func partsAreThoseElements() {
    var random = SeededRandom(seed: 5)
    var (found, refused) = (0, 0)
    for _ in 0..<20_000 {
      let whole = layout(&random)
      let (part, offset) = part(of: whole, &random)
      let memory = places(whole)
      let expected = places(part, offset).map { memory[$0] }
      if let result = whole.part(part.id, offset) {
        found += 1
        let layout = LayoutTable.shared[result.layout]
        #expect(layout.dims == part.dims)
        #expect(
          places(layout, result.offset) == expected,
          "\(whole.dims) \(whole.strides), part \(part.dims) \(part.strides) at \(offset)")
      } else {
        refused += 1
        #expect(
          !isStrided(expected, part.dims),
          "\(whole.dims) \(whole.strides), part \(part.dims) \(part.strides) at \(offset)")
      }
    }
    #expect(found > 5000 && refused > 300, "\(found) \(refused)")
  }
}
