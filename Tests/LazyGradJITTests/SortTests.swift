// The sorting kernel against the oracle: every type, runs on both sides of each way to sort, and runs that
// lie side by side.

import LazyGradJIT
import Testing
import TestSupport

@Suite("Sorting")
struct SortTests {
  private static let shapes: [(outer: Int, length: Int, inner: Int)] = [
    (1, 0, 1), (2, 0, 3), (0, 4, 1), (3, 1, 2), (2, 2, 1), (1, 39, 1), (1, 40, 1), (3, 41, 1),
    (2, 41, 3), (1, 255, 2), (1, 1000, 1), (2, 70_000, 1),
  ]

  /// Elements with equal ones among them, of few and of many digits, in order and not, and special ones.
  private func elements(_ type: ScalarType, _ dims: [Int], _ random: inout SeededRandom)
    -> ReferenceArray
  {
    let count = dims.reduce(1, *)
    let kind = random.int(0...3)
    func number(_ i: Int) -> Double {
      switch kind {
      case 0: return random.pick([0, -0.0, 1, -1, .nan, .infinity, -.infinity, 2.5])
      case 1: return Double(i / 3)
      case 2: return random.uniform(-1...1)
      default: return Double(count - i) * 1e-300 * random.pick([1, 1e300, 1e303])
      }
    }
    if type.isFloating {
      return ReferenceArray(type, dims, floats: (0..<count).map(number))
    }
    return ReferenceArray(
      type, dims,
      integers: (0..<count).map {
        switch kind {
        case 0: Int64(bitPattern: random.next())
        case 1: Int64($0 / 3)
        case 2: random.pick([.max, .min, 0, -1])
        default: Int64(count - $0)
        }
      })
  }

  private func oracle(_ opcode: Opcode, _ a: ReferenceArray, _ order: SortOrder) -> ReferenceArray {
    let node = GraphNode(
      opcode, opcode == .sort ? a.type : .int64, shape: LayoutTable.shared.intern(dims: a.dims),
      a: 0, attribute: order.attribute)
    return Reference.value(of: node, [a], leaves: [], scalars: [])
  }

  @Test func elementsAndPlacesAreThoseOfTheOracle() throws {
    var random = SeededRandom(seed: 5)
    for type in ScalarType.allCases where Opcode.sort.info.takes(type) {
      for (outer, length, inner) in Self.shapes {
        for isDescending in [false, true] {
          let dims = [outer, length, inner]
          let runs = Runs(outer: outer, length: length, inner: inner)
          let a = elements(type, dims, &random)
          let memory = try Storage(byteCount: max(a.count, 1) * 8)
          a.store(to: memory.pointer)
          for isFlat in [false, true] {
            let order = SortOrder(axis: 1, isDescending: isDescending, isFlat: isFlat)
            let places = try Storage(byteCount: max(a.count, 1) * 8)
            let work = try Storage(byteCount: Sort.placesWorkBytes(type, runs))
            Sort.places(
              type, runs, isDescending: isDescending, isFlat: isFlat, from: memory.pointer,
              to: places.pointer.assumingMemoryBound(to: Int64.self),
              WorkMemory(work.pointer, byteCount: work.byteCount))
            let expected = oracle(.argsort, a, order).integers
            let found = UnsafeBufferPointer(
              start: places.pointer.assumingMemoryBound(to: Int64.self), count: a.count)
            #expect(found.elementsEqual(expected), "\(type) \(dims) \(order)")
          }
          // In its own memory.
          let work = try Storage(byteCount: Sort.workBytes(type, runs))
          Sort.values(
            type, runs, isDescending: isDescending, from: memory.pointer, to: memory.pointer,
            WorkMemory(work.pointer, byteCount: work.byteCount))
          let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: dims)]
          let found = ReferenceArray(type, layout, at: memory.pointer)
          let expected = oracle(.sort, a, SortOrder(axis: 1, isDescending: isDescending))
          #expect(
            found.integers == expected.integers
              && zip(found.floats, expected.floats).allSatisfy {
                $0.bitPattern == $1.bitPattern || $0.isNaN && $1.isNaN
              }, "\(type) \(dims)")
        }
      }
    }
  }
}
