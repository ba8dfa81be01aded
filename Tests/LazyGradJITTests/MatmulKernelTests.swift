// Matrix product kernels against three nested loops, bit for bit: the kernels promise the order of
// additions. Also that they stay inside of C and that cutting a product up changes nothing.

import LazyGradJIT
import Testing

@Suite struct MatmulKernelTests {
  /// One term of a product with the strides of its operands, on owned memory.
  private struct Term<T> {
    var a: UnsafeMutablePointer<T>
    var b: UnsafeMutablePointer<T>
    var segment: MatmulSegment
  }

  /// Memory with room behind it, as arrays have it.
  private static func memory<T>(_ count: Int, _ value: (Int) -> T) -> UnsafeMutablePointer<T> {
    let bytes = count * MemoryLayout<T>.stride + 64
    let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    raw.initializeMemory(as: UInt8.self, repeating: 0xFF, count: bytes)
    let p = raw.bindMemory(to: T.self, capacity: count)
    for i in 0..<count { p[i] = value(i) }
    return p
  }

  /// A reproducible value with few equal neighbours.
  private static func mixed(_ i: Int) -> Int { (i &* 2_654_435_761) >> 7 & 0xFFFF }

  private static func term<T>(
    _: T.Type, m: Int, n: Int, k: Int, transposed: Bool, gap: Int, seed: Int, _ value: (Int) -> T
  ) -> Term<T> {
    let bRow = n + gap
    let a = memory(max(m * k, 1)) { value(mixed($0 + seed)) }
    let b = memory(max(bRow * k, 1)) { value(mixed($0 + seed + 77)) }
    let segment = MatmulSegment(
      a: a, b: b, k: k, aRow: transposed ? 1 : k, aColumn: transposed ? m : 1, bRow: bRow)
    return Term(a: a, b: b, segment: segment)
  }

  /// Runs a product and the loops, and compares all of `C` with the gaps between its rows.
  private func check<T: Equatable>(
    _ type: ScalarType, m: Int, n: Int, depths: [Int], transposed: Bool = false, gap: Int = 0,
    accumulate: Bool = false, fused: Bool = PortableArithmetic.isFused, value: (Int) -> T, zero: T,
    one: T, _ addProduct: (T, T, T) -> T
  ) {
    let terms = depths.enumerated().map {
      Self.term(
        T.self, m: m, n: n, k: $1, transposed: transposed, gap: gap, seed: $0 * 1013, value)
    }
    let cRow = n + gap
    let c = Self.memory(m * cRow) { value(Self.mixed($0 + 5)) }
    let expected = Self.memory(m * cRow) { value(Self.mixed($0 + 5)) }
    defer {
      for term in terms {
        term.a.deallocate()
        term.b.deallocate()
      }
      c.deallocate()
      expected.deallocate()
    }
    for i in 0..<m {
      for j in 0..<n {
        var sum = accumulate ? expected[i * cRow + j] : zero
        var isFirst = !accumulate
        for term in terms {
          let s = term.segment
          for first in stride(from: 0, to: max(s.k, 1), by: Summation.blockDepth) {
            var block = zero
            for k in first..<min(s.k, first + Summation.blockDepth) {
              block = addProduct(
                block, term.a[i * s.aRow + k * s.aColumn], term.b[k * s.bRow + j])
            }
            sum = isFirst ? block : addProduct(sum, block, one)
            isFirst = false
          }
        }
        expected[i * cRow + j] = sum
      }
    }
    let segments = terms.map(\.segment)
    Matmul.run(
      type: type, m: m, n: n, segments: segments, segmentCount: segments.count, c: c, cRow: cRow,
      accumulate: accumulate, fused: fused)
    var different = 0
    for i in 0..<(m * cRow) where c[i] != expected[i] { different += 1 }
    #expect(
      different == 0,
      "\(type) \(m)x\(n), depths \(depths), transposed \(transposed), fused \(fused)")
  }

  private func checkFloats(
    m: Int, n: Int, depths: [Int], transposed: Bool = false, gap: Int = 0, accumulate: Bool = false
  ) {
    for fused in [false, true] {
      check(
        .float32, m: m, n: n, depths: depths, transposed: transposed, gap: gap,
        accumulate: accumulate, fused: fused, value: { Float($0) / 65536 - 0.5 }, zero: 0, one: 1
      ) { sum, a, b in
        let product = a * b
        return fused ? sum.addingProduct(a, b) : sum + product
      }
      check(
        .float64, m: m, n: n, depths: depths, transposed: transposed, gap: gap,
        accumulate: accumulate, fused: fused, value: { Double($0) / 65536 - 0.5 }, zero: 0, one: 1
      ) { sum, a, b in
        let product = a * b
        return fused ? sum.addingProduct(a, b) : sum + product
      }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 8, 9, 16, 17])
  func smallShapes(m: Int) {
    for n in [1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 15, 16, 17, 31, 32, 33, 65] {
      for k in [0, 1, 2, 9] {
        checkFloats(m: m, n: n, depths: [k])
        checkFloats(m: m, n: n, depths: [k], transposed: true, gap: 3, accumulate: true)
      }
    }
  }

  @Test func segments() {
    checkFloats(m: 16, n: 16, depths: [Int](repeating: 1, count: 50))
    checkFloats(m: 64, n: 64, depths: [Int](repeating: 16, count: 16), transposed: true)
    checkFloats(m: 3, n: 21, depths: [2, 0, 5, 1], gap: 2, accumulate: true)
    checkFloats(m: 9, n: 7, depths: [])
    checkFloats(m: 9, n: 1, depths: [])
    checkFloats(m: 2, n: 6, depths: [], accumulate: true)
    checkFloats(m: 37, n: 1, depths: [Int](repeating: 3, count: 19), transposed: true)
  }

  @Test func columnVectors() {
    for m in [1, 4, 7, 8, 19, 64] {
      checkFloats(m: m, n: 1, depths: [33], gap: 2)
      checkFloats(m: m, n: 1, depths: [33, 4], transposed: true, accumulate: true)
    }
  }

  /// Sizes that take the blocked path: several blocks of the summed axis, of rows, remainders
  /// of columns, and few rows against a large `B`.
  @Test func largeShapes() {
    checkFloats(m: 21, n: 83, depths: [300, 7], gap: 400)
    checkFloats(m: 33, n: 40, depths: [3, 530], transposed: true, gap: 100, accumulate: true)
    checkFloats(m: 530, n: 19, depths: [40], gap: 1000)
    checkFloats(m: 1, n: 45, depths: [5, 80], gap: 4000)
    checkFloats(m: 2, n: 5, depths: [600, 257])
    checkFloats(m: 40, n: 1, depths: [300], accumulate: true)
    checkFloats(m: 3, n: 20, depths: [80, 0, 2], transposed: true, gap: 4000, accumulate: true)
  }

  @Test func integersAndBools() {
    for (m, n, depths) in [(1, 1, [1]), (3, 17, [5, 2]), (8, 33, [9]), (2, 5, [])] {
      for accumulate in [false, true] {
        check(
          .int64, m: m, n: n, depths: depths, transposed: true, gap: 1, accumulate: accumulate,
          value: { Int64($0) &* 0x1_0000_0001_0001 }, zero: 0, one: 1
        ) { $0 &+ $1 &* $2 }
        check(
          .int32, m: m, n: n, depths: depths, gap: 2, accumulate: accumulate,
          value: { Int32(truncatingIfNeeded: $0 &* 70001) }, zero: 0, one: 1
        ) { $0 &+ $1 &* $2 }
        check(
          .uint8, m: m, n: n, depths: depths, accumulate: accumulate,
          value: { UInt8(truncatingIfNeeded: $0) }, zero: 0, one: 1
        ) { $0 &+ $1 &* $2 }
        check(
          .bool, m: m, n: n, depths: depths, gap: 1, accumulate: accumulate,
          value: { $0 & 3 == 1 }, zero: false, one: true
        ) { $0 || ($1 && $2) }
      }
    }
  }

  /// The memory behind operands holds NaN in these tests, so a lane that leaks shows. Here NaN and
  /// infinities inside of the operands must stay in their own rows and columns.
  @Test func notANumberStaysInItsRowAndColumn() {
    let m = 5
    let n = 11
    let k = 6
    let a = Self.memory(m * k) { $0 == 2 * k + 3 ? Float.nan : 1 }
    let b = Self.memory(k * n) { $0 == 4 * n + 10 ? Float.infinity : 1 }
    let c = Self.memory(m * n) { _ in Float(0) }
    defer {
      a.deallocate()
      b.deallocate()
      c.deallocate()
    }
    var segment = MatmulSegment(a: a, b: b, k: k, aRow: k, aColumn: 1, bRow: n)
    Matmul.run(
      type: .float32, m: m, n: n, segments: &segment, segmentCount: 1, c: c, cRow: n,
      accumulate: false)
    for i in 0..<m {
      for j in 0..<n {
        let x = c[i * n + j]
        if i == 2 {
          #expect(x.isNaN)
        } else {
          #expect(x == (j == 10 ? Float.infinity : 6))
        }
      }
    }
  }

  /// Threads cut rows and columns as they like; the pieces must give the bits of the whole.
  @Test func piecesGiveTheBitsOfTheWhole() {
    let m = 29
    let n = 53
    let k = 300
    let a = Self.memory(m * k) { Float(Self.mixed($0)) / 65536 - 0.5 }
    let b = Self.memory(k * n) { Float(Self.mixed($0 + 9)) / 65536 - 0.5 }
    let whole = Self.memory(m * n) { _ in Float(0) }
    let pieces = Self.memory(m * n) { _ in Float(0) }
    defer {
      a.deallocate()
      b.deallocate()
      whole.deallocate()
      pieces.deallocate()
    }
    func run(_ c: UnsafeMutablePointer<Float>, _ rows: Range<Int>, _ columns: Range<Int>) {
      var segment = MatmulSegment(
        a: a + rows.lowerBound * k, b: b + columns.lowerBound, k: k, aRow: k, aColumn: 1, bRow: n)
      Matmul.run(
        type: .float32, m: rows.count, n: columns.count, segments: &segment, segmentCount: 1,
        c: c + rows.lowerBound * n + columns.lowerBound, cRow: n, accumulate: false)
    }
    run(whole, 0..<m, 0..<n)
    for rows in [0..<1, 1..<4, 4..<21, 21..<29] {
      for columns in [0..<1, 1..<6, 6..<40, 40..<53] { run(pieces, rows, columns) }
    }
    for i in 0..<(m * n) { #expect(whole[i].bitPattern == pieces[i].bitPattern) }
  }
}
