// The sorting kernel against the oracle: every type, runs on both sides of each way to sort, and runs that
// lie side by side; with machine code and without; and what that is made of, between fences.

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
          let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: dims)]
          let expected = oracle(.sort, a, SortOrder(axis: 1, isDescending: isDescending))
          for set in NativeCode.available {
            // In its own memory.
            a.store(to: memory.pointer)
            let work = try Storage(byteCount: Sort.workBytes(type, runs))
            let code = SortCompiler.code(keyBytes: type.size, set)
            Sort.values(
              type, runs, isDescending: isDescending, from: memory.pointer, to: memory.pointer,
              WorkMemory(work.pointer, byteCount: work.byteCount),
              code: code?.steps)
            withExtendedLifetime(code) {}
            let found = ReferenceArray(type, layout, at: memory.pointer)
            #expect(
              found.integers == expected.integers
                && zip(found.floats, expected.floats).allSatisfy {
                  $0.bitPattern == $1.bitPattern || $0.isNaN && $1.isNaN
                }, "\(type) \(dims) \(set)")
          }
        }
      }
    }
  }

  // MARK: Machine code

  private typealias Key = FixedWidthInteger & UnsignedInteger & BitwiseCopyable

  /// The machine code for some keys, where this machine has any.
  private func code<K: Key>(_: K.Type) -> NativeSort? {
    NativeCode.available.lazy.compactMap {
      SortCompiler.code(keyBytes: MemoryLayout<K>.size, $0)
    }.first
  }

  /// Keys of which a good part are equal where `kinds` is small.
  private func keys<K: Key>(_ count: Int, kinds: UInt64, _ random: inout SeededRandom) -> [K] {
    // Far apart, so that the highest bit counts.
    (0..<count).map { _ in K(truncatingIfNeeded: random.next() % kinds &* 0x9E37_79B9_7F4A_7C15) }
  }

  @Test func partsBetweenFences() {
    parts(UInt32.self)
    parts(UInt64.self)
  }

  private func parts<K: Key>(_: K.Type) {
    guard let native = code(K.self) else { return }
    defer { withExtendedLifetime(native) {} }
    let code = native.steps
    var random = SeededRandom(seed: 41)
    let size = MemoryLayout<K>.size
    for count in Array(0...70) + [127, 128, 1000] {
      for kinds: UInt64 in [1, 2, 5, .max] {
        let source: [K] = keys(count, kinds: kinds, &random)
        let flush = random.pick(FencedMemory.Flush.allCases)
        let (from, to) = (
          FencedMemory(byteCount: count * size, flush: flush),
          FencedMemory(byteCount: count * size, flush: flush)
        )
        from.bound(to: K.self).initialize(from: source, count: count)
        for pivot in [source.first ?? 1, 0, .max, source.max() ?? 2] {
          let below = code.part(from.bound(to: K.self), count, by: pivot, to: to.bound(to: K.self))
          let found = Array(UnsafeBufferPointer(start: to.bound(to: K.self), count: count))
          #expect(Array(found[..<below]) == source.filter { $0 < pivot }, "\(count) \(kinds)")
          #expect(
            found[below...].sorted() == source.filter { $0 >= pivot }.sorted(), "\(count) \(kinds)")
        }
        withExtendedLifetime((from, to)) {}
      }
    }
  }

  @Test func orderBetweenFences() {
    order(UInt32.self)
    order(UInt64.self)
  }

  private func order<K: Key>(_: K.Type) {
    guard let native = code(K.self) else { return }
    defer { withExtendedLifetime(native) {} }
    let code = native.steps
    var random = SeededRandom(seed: 42)
    let size = MemoryLayout<K>.size
    for count in 1...code.mostOrdered {
      for kinds: UInt64 in [1, 2, 3, 7, 20, .max] {
        let source: [K] = keys(count, kinds: kinds, &random)
        for flush in FencedMemory.Flush.allCases {
          let from = FencedMemory(byteCount: count * size, flush: flush)
          let to = FencedMemory(byteCount: count * size, flush: flush)
          from.bound(to: K.self).initialize(from: source, count: count)
          code.order(from.bound(to: K.self), count, to: to.bound(to: K.self))
          // Over itself.
          code.order(from.bound(to: K.self), count, to: from.bound(to: K.self))
          for memory in [from, to] {
            let found = UnsafeBufferPointer(start: memory.bound(to: K.self), count: count)
            #expect(found.elementsEqual(source.sorted()), "\(count) \(kinds)")
          }
          withExtendedLifetime((from, to)) {}
        }
      }
    }
  }

  /// From either memory, with any number of equal keys, with as few partings as there may be.
  @Test func keysOfAllKinds() {
    keysOfAllKinds(UInt32.self)
    keysOfAllKinds(UInt64.self)
  }

  private func keysOfAllKinds<K: Key>(_: K.Type) {
    guard let native = code(K.self) else { return }
    defer { withExtendedLifetime(native) {} }
    let code = native.steps
    var random = SeededRandom(seed: 43)
    let counts = [1, 2, 16, 17, 33, 63, 64, 65, 66, 127, 128, 129, 130, 200, 511, 512, 513, 3000]
    for count in counts {
      for kinds: UInt64 in [1, 2, 3, 40, 1000, .max] {
        var source: [K] = keys(count, kinds: kinds, &random)
        if random.int(0...1) == 0 { source = source.map { $0 % 7 == 0 ? .max : $0 } }
        if random.int(0...1) == 0 { source.sort(by: >) }
        let expected = source.sorted()
        for isInTarget in [false, true] {
          for depth in [0, 1, 3, 40] {
            var (target, other) = (source, source)
            var digitRuns = 0
            target.withUnsafeMutableBufferPointer { target in
              other.withUnsafeMutableBufferPointer { other in
                let (target, other) = (target.baseAddress!, other.baseAddress!)
                let sorter = PartitionSort(code: code, target: target) { keys, spare, count in
                  digitRuns += 1
                  spare.update(
                    from: UnsafeBufferPointer(start: keys, count: count).sorted(), count: count)
                  return spare
                }
                let (from, spare) = isInTarget ? (target, other) : (other, target)
                // What is in the spare memory is nothing.
                spare.update(repeating: 17, count: count)
                sorter.sort(from, spare, 0..<count, depth: depth)
              }
            }
            #expect(target == expected, "\(count) \(kinds) \(isInTarget) \(depth)")
            if depth == 0 { #expect((digitRuns != 0) == (count > code.mostOrdered)) }
          }
        }
      }
    }
  }
}
