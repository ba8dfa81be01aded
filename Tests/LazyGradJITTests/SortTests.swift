// The sorting kernel against the oracle: every type, runs on both sides of each way to sort, and runs that
// lie side by side; with machine code and without; and what that is made of, between fences.

import LazyGradJIT
import Testing
import TestSupport

@Suite("Sorting")
struct SortTests {
  private static let shapes: [(outer: Int, length: Int, inner: Int)] = [
    (1, 0, 1), (2, 0, 3), (0, 4, 1), (3, 1, 2), (2, 2, 1), (1, 39, 1), (1, 40, 1), (3, 41, 1),
    (2, 41, 3), (1, 255, 2), (1, 256, 1), (1, 257, 1), (1, 1000, 1), (2, 5000, 2), (2, 70_000, 1),
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
            let code = SortCompiler.code(
              type, isDescending: isDescending, length: length, set)
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

  @Test(arguments: [false, true]) func machineCode(isDescending: Bool) {
    func float<F: BinaryFloatingPoint>(_ x: F) -> F { x.isNaN || x == 0 ? 0 : x }
    check(.float32, isDescending) { float(Float(bitPattern: UInt32(truncatingIfNeeded: $0))) }
    check(.float64, isDescending) { float(Double(bitPattern: $0)) }
    check(.int32, isDescending) { Int32(truncatingIfNeeded: $0) }
    check(.int64, isDescending) { Int64(bitPattern: $0) }
  }

  /// Checks what there is for a type in one order, if this machine has any.
  private func check<Element: BitwiseCopyable & Comparable>(
    _ type: ScalarType, _ isDescending: Bool, _ element: @escaping (UInt64) -> Element
  ) {
    // For a few elements, for as many as are put in order in registers, and for any number.
    let codes = NativeCode.available.flatMap { set in
      [1, 128, .max].compactMap {
        SortCompiler.code(type, isDescending: isDescending, length: $0, set)
      }
    }
    for code in codes {
      var check = MachineCodeCheck(
        code: code.steps, comesBefore: isDescending ? { $0 > $1 } : { $0 < $1 }, element: element,
        random: SeededRandom(seed: 41))
      defer { withExtendedLifetime(code) {} }
      check.orderBetweenFences()
      guard code.steps.canPart else { continue }
      check.partsBetweenFences()
      check.partsInPlaceBetweenFences()
      check.runsOfAllKinds()
    }
  }
}

private struct MachineCodeCheck<Element: BitwiseCopyable & Comparable> {
  let code: SortSteps
  let comesBefore: (Element, Element) -> Bool
  let element: (UInt64) -> Element
  var random: SeededRandom

  private var size: Int { MemoryLayout<Element>.size }

  /// Elements of which a good part are equal where `kinds` is small.
  private mutating func elements(_ count: Int, kinds: UInt64) -> [Element] {
    // Far apart, so that the highest bit counts.
    (0..<count).map { _ in element(random.next() % kinds &* 0x9E37_79B9_7F4A_7C15) }
  }

  /// Elements, and pivots from one end to the other, with whether what is equal goes with what comes before.
  private mutating func cases(_ count: Int) -> [([Element], [(Element, Bool)])] {
    [1, 2, 5, .max].map { (kinds: UInt64) in
      let elements = elements(count, kinds: kinds)
      let sorted = elements.sorted(by: comesBefore)
      let pivots = [sorted.first, sorted.last, elements.first].compactMap(\.self)
      return (
        elements, (pivots + [element(1), element(.max)]).flatMap { [($0, false), ($0, true)] }
      )
    }
  }

  private func isParted(
    _ found: [Element], _ source: [Element], _ before: Int, _ pivot: Element, _ orEqual: Bool
  ) -> Bool {
    func isBefore(_ x: Element) -> Bool { comesBefore(x, pivot) || orEqual && x == pivot }
    return found[..<before].allSatisfy(isBefore) && !found[before...].contains(where: isBefore)
      && found.sorted() == source.sorted()
  }

  mutating func partsBetweenFences() {
    for count in Array(0...70) + [127, 128, 1000] {
      for (source, pivots) in cases(count) {
        let flush = random.pick(FencedMemory.Flush.allCases)
        let (from, to) = (
          FencedMemory(byteCount: count * size, flush: flush),
          FencedMemory(byteCount: count * size, flush: flush)
        )
        let (x, y) = (from.bound(to: Element.self), to.bound(to: Element.self))
        x.initialize(from: source, count: count)
        for (pivot, orEqual) in pivots {
          let before = code.part(x, count, by: pivot, orEqual: orEqual, to: y)
          let found = Array(UnsafeBufferPointer(start: y, count: count))
          #expect(isParted(found, source, before, pivot, orEqual), "\(count) \(pivot) \(orEqual)")
        }
        withExtendedLifetime((from, to)) {}
      }
    }
  }

  mutating func partsInPlaceBetweenFences() {
    let block = code.partingBytes / 3 / size
    let counts =
      [0, 1, 15, 16, 17, block - 1].map { 2 * block + $0 }
      + [3 * block, 3 * block + 1, 4 * block - 1, 4 * block, 7 * block + 5, 40 * block + 77]
    for count in counts {
      for (source, pivots) in cases(count) {
        for (pivot, orEqual) in pivots {
          let flush = random.pick(FencedMemory.Flush.allCases)
          let memory = FencedMemory(byteCount: count * size, flush: flush)
          let work = FencedMemory(byteCount: code.partingBytes, flush: flush)
          let x = memory.bound(to: Element.self)
          x.initialize(from: source, count: count)
          let before = code.partInPlace(
            x, count, by: pivot, orEqual: orEqual, work.bound(to: Element.self))
          let found = Array(UnsafeBufferPointer(start: x, count: count))
          #expect(isParted(found, source, before, pivot, orEqual), "\(count) \(pivot) \(orEqual)")
          withExtendedLifetime((memory, work)) {}
        }
      }
    }
  }

  mutating func orderBetweenFences() {
    for count in 1...code.mostOrdered {
      for kinds: UInt64 in [1, 2, 7, .max] {
        let source = elements(count, kinds: kinds)
        let expected = source.sorted(by: comesBefore)
        for flush in FencedMemory.Flush.allCases {
          let from = FencedMemory(byteCount: count * size, flush: flush)
          let to = FencedMemory(byteCount: count * size, flush: flush)
          let (x, y) = (from.bound(to: Element.self), to.bound(to: Element.self))
          x.initialize(from: source, count: count)
          code.order(x, count, to: y)
          // Over itself.
          code.order(x, count, to: x)
          for found in [x, y] {
            #expect(
              UnsafeBufferPointer(start: found, count: count).elementsEqual(expected),
              "\(count) \(kinds)")
          }
          withExtendedLifetime((from, to)) {}
        }
      }
    }
  }

  /// With any number of equal elements, in order and not, with as few partings as there may be, in place and in turns.
  mutating func runsOfAllKinds() {
    let counts = [1, 2, 17, 127, 128, 129, 130, 255, 256, 257, 511, 512, 513, 3000, 5000]
    for count in counts {
      for kinds: UInt64 in [1, 2, 3, 40, 1000, .max] {
        var source = elements(count, kinds: kinds)
        let greatest = source.max()!
        if random.int(0...1) == 0 { source = source.map { random.int(0...6) == 0 ? greatest : $0 } }
        if random.int(0...1) == 0 { source.sort(by: >) }
        let expected = source.sorted(by: comesBefore)
        for depth in [0, 1, 3, 40] {
          for mostInTurns in [0, 300, 1 << 20] {
            var found = source
            var digitRuns = 0
            let comesBefore = comesBefore
            let work = FencedMemory(
              byteCount: max(mostInTurns == 0 ? 0 : count * size, code.partingBytes), flush: .start)
            found.withUnsafeMutableBufferPointer { found in
              let sorter = PartitionSort(
                code: code, spare: work.bound(to: Element.self), mostInTurns: mostInTurns
              ) { elements, count in
                digitRuns += 1
                var part = UnsafeMutableBufferPointer(start: elements, count: count)
                part.sort(by: comesBefore)
              }
              sorter.sort(found.baseAddress!, count, depth: depth)
            }
            #expect(found == expected, "\(count) \(kinds) \(mostInTurns) \(depth)")
            if depth == 0 { #expect((digitRuns != 0) == (count > code.mostOrdered)) }
            withExtendedLifetime(work) {}
          }
        }
      }
    }
  }
}
