// How far sums are off: of everything, of rows, of columns, of middle axes and of products, on every
// tier and on one thread and two, against sums that are exact to twice the precision. The error may
// grow with the logarithm of the length, not with the length.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

/// A sum that loses nothing that matters: two numbers with twice the digits of one.
private struct ExactSum {
  private var high = 0.0
  private var low = 0.0

  mutating func add(_ x: Double) {
    let sum = high + x
    let part = sum - high
    low += (high - (sum - part)) + (x - part)
    high = sum
  }

  /// Adds a product with what its rounding loses.
  mutating func add(_ x: Double, times y: Double) {
    let product = x * y
    add(product)
    low += (-product).addingProduct(x, y)
  }

  /// How far a number is off.
  func distance(_ x: Double) -> Double { abs((high - x) + low) }
  var value: Double { high + low }
}

@Suite struct SummationTests {
  /// What the elements are.
  enum Values: CaseIterable {
    /// All 0.1: every rounding goes the same way.
    case tenths
    /// Between 0 and 1.
    case random
    /// 1, 2, 3, ...
    case counted

    func value(_ i: Int) -> Double {
      switch self {
      case .tenths: 0.1
      case .random: Double(((i + 1) &* 2_654_435_761) >> 5 & 0xFF_FFFF) * 0x1p-24
      case .counted: Double(i + 1)
      }
    }
  }

  private static let lengths = [
    1, 2, 3, 17, 100, 511, 512, 513, 1023, 4097, 8193, 65_537, 1_000_003, 10_000_000,
  ]

  /// Elements of a type in memory of their own, and what was rounded to get there.
  private static func fill(
    _ values: Values, _ type: ScalarType, _ count: Int
  ) throws -> (storage: Storage, element: (Int) -> Double) {
    let storage = try Storage(byteCount: count * type.size)
    if type == .float32 {
      let p = storage.pointer.bindMemory(to: Float.self, capacity: count)
      for i in 0..<count { p[i] = Float(values.value(i)) }
      return (storage, { Double(p[$0]) })
    }
    let p = storage.pointer.bindMemory(to: Double.self, capacity: count)
    for i in 0..<count { p[i] = values.value(i) }
    return (storage, { p[$0] })
  }

  private static func element(_ storage: Storage, _ type: ScalarType, _ i: Int) -> Double {
    type == .float32
      ? Double(storage.pointer.load(fromByteOffset: 4 * i, as: Float.self))
      : storage.pointer.load(fromByteOffset: 8 * i, as: Double.self)
  }

  /// Runs a sketch on every tier, on one thread and two, with code memory and without, and judges each
  /// element of its root. A tier must always give the same bits, and all tiers where `isSame`.
  ///
  /// - Parameter limit: the largest error, in units of half a last place of the sum.
  private static func judge(
    _ sketch: LoopSketch, _ leaves: [Storage], _ exact: [ExactSum], limit: Double, _ what: String,
    isSame: Bool = true
  ) throws {
    let root = sketch.roots[0]
    let type = sketch.nodes[root].type
    let u = type == .float32 ? 0x1p-24 : 0x1p-53
    var everywhere: Set<[UInt64]> = []
    // The portable kernels that stand in for refused code fuse in software, which is slow.
    let elements = leaves.reduce(0) { $0 + $1.byteCount / type.size }
    let refusals = isSame || elements <= 1 << 16 ? [false, true] : [false]
    for set in NativeCode.available {
      var bits: Set<[UInt64]> = []
      for (threads, refusesCode) in [1, 2].flatMap({ n in refusals.map { (n, $0) } }) {
        let results = try PlanRunner.run(
          sketch.graph, leaves: leaves.map { UnsafeRawPointer($0.pointer) },
          scalars: sketch.scalars, threads: threads, instructionSet: set, refusesCode: refusesCode,
          parallelThreshold: 0)
        let result = (0..<exact.count).map { element(results[root]!, type, $0) }
        bits.insert(result.map(\.bitPattern))
        for (i, exact) in exact.enumerated() {
          let error = exact.distance(result[i]) / (u * exact.value)
          #expect(error <= limit, "\(what) \(type) \(set) \(threads) threads, element \(i)")
        }
      }
      #expect(bits.count == 1, "\(what) \(type) \(set): depends on threads or code memory")
      everywhere.formUnion(bits)
    }
    if isSame { #expect(everywhere.count == 1, "\(what) \(type): not the same everywhere") }
  }

  /// `c * (1 + log2(n / part))`: the most that an error may be.
  private static func limit(_ c: Double, _ n: Int, part: Int) -> Double {
    c * (1 + max(log2(Double(n) / Double(part)), 0))
  }

  @Test(arguments: [ScalarType.float32, .float64], Values.allCases)
  func everything(_ type: ScalarType, _ values: Values) throws {
    for n in Self.lengths {
      let (storage, element) = try Self.fill(values, type, n)
      var exact = ExactSum()
      for i in 0..<n { exact.add(element(i)) }
      var sketch = LoopSketch()
      let x = sketch.leaf([n], type)
      sketch.root(sketch.reduce(.sum, x, axis: nil))
      // A block is 16 or 32 additions per lane. Whole sums of float32 go on in double precision.
      try Self.judge(
        sketch, [storage], [exact], limit: Self.limit(4, n, part: 512), "\(values) [\(n)]")
    }
  }

  /// [n, columns] along axis 0 and [columns, n] along axis 1.
  @Test(arguments: [ScalarType.float32, .float64], Values.allCases)
  func axes(_ type: ScalarType, _ values: Values) throws {
    for n in Self.lengths {
      for columns in [1, 2, 17] where n * columns <= 20_000_000 {
        let (storage, element) = try Self.fill(values, type, n * columns)
        var down = [ExactSum](repeating: ExactSum(), count: columns)
        var along = down
        for i in 0..<n * columns {
          let x = element(i)
          down[i % columns].add(x)
          along[i / n].add(x)
        }
        var sketch = LoopSketch()
        sketch.root(sketch.reduce(.sum, sketch.leaf([n, columns], type), axis: 0))
        try Self.judge(
          sketch, [storage], down,
          limit: Self.limit(24, n, part: Summation.runRows(columns: columns)),
          "\(values) [\(n), \(columns)] axis 0")
        sketch = LoopSketch()
        sketch.root(sketch.reduce(.sum, sketch.leaf([columns, n], type), axis: 1))
        try Self.judge(
          sketch, [storage], along, limit: Self.limit(4, n, part: 512),
          "\(values) [\(columns), \(n)] axis 1")
      }
    }
  }

  /// Along the middle axis: every result row is a sum of its own.
  @Test(arguments: [ScalarType.float32, .float64])
  func middleAxes(_ type: ScalarType) throws {
    for n in [1, 63, 65, 1000, 100_003, 1_000_000] {
      let (storage, element) = try Self.fill(.tenths, type, 2 * n * 3)
      var exact = [ExactSum](repeating: ExactSum(), count: 6)
      for i in 0..<6 * n { exact[i / (3 * n) * 3 + i % 3].add(element(i)) }
      var sketch = LoopSketch()
      sketch.root(sketch.reduceMiddle(.sum, sketch.leaf([2, n, 3], type)))
      try Self.judge(
        sketch, [storage], exact, limit: Self.limit(24, n, part: Summation.runRows(columns: 3)),
        "[2, \(n), 3] axis 1")
    }
  }

  /// Sums of rows of a fused loop, and then everything: one value per row is summed in parts as well.
  @Test(arguments: [ScalarType.float32, .float64])
  func sumsOfRowSums(_ type: ScalarType) throws {
    for (n, columns) in [(3, 2), (1000, 2), (1_000_003, 2), (30_011, 100), (700, 3000)] {
      let (storage, element) = try Self.fill(.tenths, type, n * columns)
      var exact = ExactSum()
      for i in 0..<n * columns { exact.add(element(i)) }
      var sketch = LoopSketch()
      let x = sketch.leaf([n, columns], type)
      sketch.root(sketch.reduce(.sum, sketch.reduce(.sum, x, axis: 1), axis: nil))
      try Self.judge(
        sketch, [storage], [exact], limit: Self.limit(4, n * columns, part: 512),
        "[\(n), \(columns)] axis 1, then everything")
    }
  }

  /// Dot products, matrix times vector, vector times matrix, small results of long axes, and the
  /// gradient of `x @ w`, which is the product with a transposed x.
  @Test(arguments: [ScalarType.float32, .float64], [Values.tenths, .random])
  func products(_ type: ScalarType, _ values: Values) throws {
    for n in [1, 255, 257, 4096, 4097, 8192, 12_289, 100_003, 1_000_003] {
      for (m, k) in [(1, 1), (3, 1), (1, 5), (3, 5), (70, 3), (2, 40)] {
        for isTransposed in [false, true] where n * max(m, k) <= 5_000_000 {
          let (a, x) = try Self.fill(values, type, m * n)
          let (b, y) = try Self.fill(values, type, n * k)
          var exact = [ExactSum](repeating: ExactSum(), count: m * k)
          for i in 0..<m {
            for j in 0..<k {
              for p in 0..<n {
                exact[i * k + j].add(x(isTransposed ? p * m + i : i * n + p), times: y(p * k + j))
              }
            }
          }
          var sketch = LoopSketch()
          let left =
            isTransposed ? sketch.transposedLeaf([m, n], type) : sketch.leaf([m, n], type)
          sketch.root(sketch.matmul(left, sketch.leaf([n, k], type)))
          try Self.judge(
            sketch, [a, b], exact, limit: Self.limit(64, n, part: Summation.stretchDepth),
            "\(values) [\(m), \(n)] x [\(n), \(k)]\(isTransposed ? " transposed" : "")",
            isSame: false)
        }
      }
    }
  }

  /// A product that is split by columns, one that an epilogue follows, one of a batch: stretches of
  /// all are added in the same order.
  @Test(arguments: [ScalarType.float32, .float64])
  func everyWayToMultiply(_ type: ScalarType) throws {
    let (m, n, k) = (130, 9001, 1030)
    let (a, x) = try Self.fill(.random, type, m * n)
    let (b, y) = try Self.fill(.random, type, n * k)
    for set in NativeCode.available {
      var sketch = LoopSketch()
      let (left, right) = (sketch.leaf([m, n], type), sketch.leaf([n, k], type))
      let product = sketch.matmul(left, right)
      sketch.root(product)
      let split = try PlanRunner.run(
        sketch.graph, leaves: [UnsafeRawPointer(a.pointer), UnsafeRawPointer(b.pointer)],
        scalars: [], threads: 2, instructionSet: set, parallelThreshold: 0)[product]!
      // Its first row alone, with something behind.
      sketch = LoopSketch()
      let row = sketch.matmul(sketch.leaf([1, n], type), sketch.leaf([n, k], type))
      let double = sketch.op(.add, type, row, row)
      sketch.root(double)
      let alone = try PlanRunner.run(
        sketch.graph, leaves: [UnsafeRawPointer(a.pointer), UnsafeRawPointer(b.pointer)],
        scalars: [], threads: 1, instructionSet: set)[double]!
      for j in 0..<k {
        let (one, other) = (Self.element(split, type, j), Self.element(alone, type, j))
        #expect(2 * one == other, "\(set) \(type) column \(j)")
      }
      for (i, j) in [(0, 0), (129, 1029), (64, 500)] {
        var exact = ExactSum()
        for p in 0..<n { exact.add(x(i * n + p), times: y(p * k + j)) }
        let error = exact.distance(Self.element(split, type, i * k + j)) / exact.value
        #expect(error <= (type == .float32 ? 0x1p-24 : 0x1p-53) * 32)
      }
    }
  }
}
