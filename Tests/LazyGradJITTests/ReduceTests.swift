// Reductions against plain loops: values, first ties, NaN, lengths around the lanes and blocks,
// accuracy, and that what lies behind a run stays out of its result.

import Foundation
import LazyGradJIT
import Testing

@Suite struct ReduceTests {
  static let lengths = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 511, 512, 513]

  /// Elements with NaN or other poison behind them, as far as kernels may read.
  private func padded<T>(_ elements: [T], _ poison: T) -> [T] {
    elements + [T](repeating: poison, count: 64 / MemoryLayout<T>.size)
  }

  private func values(_ count: Int) -> [Int] {
    (0..<count).map { (($0 &* 2_654_435_761) >> 9) % 1000 - 500 }
  }

  @Test(arguments: lengths)
  func floats(count: Int) {
    let integers = values(count)
    let floats = padded(integers.map(Float.init), .nan)
    let doubles = padded(integers.map(Double.init), .nan)
    let sum = Double(integers.reduce(0, +))
    let largest = integers.max()!
    let smallest = integers.min()!
    // Sums of small integers are exact in any order.
    #expect(Reduce.float(.sum, type: .float32, floats, count: count) == sum)
    #expect(Reduce.float(.sum, type: .float64, doubles, count: count) == sum)
    #expect(Reduce.float(.maximum, type: .float32, floats, count: count) == Double(largest))
    #expect(Reduce.float(.maximum, type: .float64, doubles, count: count) == Double(largest))
    #expect(Reduce.float(.minimum, type: .float32, floats, count: count) == Double(smallest))
    #expect(Reduce.float(.minimum, type: .float64, doubles, count: count) == Double(smallest))
    let firstLargest = integers.firstIndex(of: largest)
    let firstSmallest = integers.firstIndex(of: smallest)
    #expect(Reduce.position(of: .largest, type: .float32, floats, count: count) == firstLargest)
    #expect(Reduce.position(of: .largest, type: .float64, doubles, count: count) == firstLargest)
    #expect(Reduce.position(of: .smallest, type: .float32, floats, count: count) == firstSmallest)
    #expect(Reduce.position(of: .smallest, type: .float64, doubles, count: count) == firstSmallest)
  }

  @Test(arguments: lengths)
  func integers(count: Int) {
    let integers = values(count)
    let sum = Int64(integers.reduce(0, +))
    let wide = integers.map { Int64($0) << 40 }
    let narrow = integers.map(Int32.init)
    let bytes = integers.map { UInt8(truncatingIfNeeded: $0) }
    let bools = integers.map { $0 > 0 }
    #expect(Reduce.integer(.sum, type: .int64, wide, count: count) == sum << 40)
    #expect(Reduce.integer(.sum, type: .int32, narrow, count: count) == sum)
    let byteSum = bytes.reduce(Int64(0)) { $0 + Int64($1) }
    let trues = Int64(bools.filter { $0 }.count)
    #expect(Reduce.integer(.sum, type: .uint8, bytes, count: count) == byteSum)
    #expect(Reduce.integer(.sum, type: .bool, bools, count: count) == trues)
    checkExtremes(.int64, wide) { $0 }
    checkExtremes(.int32, narrow) { Int64($0) }
    checkExtremes(.uint8, bytes) { Int64($0) }
    checkExtremes(.bool, bools.map { UInt8($0 ? 1 : 0) }) { Int64($0) }
  }

  private func checkExtremes<T: Comparable>(
    _ type: ScalarType, _ elements: [T], _ widened: (T) -> Int64
  ) {
    let count = elements.count
    let largest = elements.max()!
    let smallest = elements.min()!
    let firstLargest = elements.firstIndex(of: largest)
    let firstSmallest = elements.firstIndex(of: smallest)
    elements.withUnsafeBytes { bytes in
      let p = bytes.baseAddress!
      #expect(Reduce.integer(.maximum, type: type, p, count: count) == widened(largest))
      #expect(Reduce.integer(.minimum, type: type, p, count: count) == widened(smallest))
      #expect(Reduce.position(of: .largest, type: type, p, count: count) == firstLargest)
      #expect(Reduce.position(of: .smallest, type: type, p, count: count) == firstSmallest)
    }
  }

  @Test func emptyRuns() {
    let floats = padded([Float](), .nan)
    #expect(Reduce.float(.sum, type: .float32, floats, count: 0) == 0)
    #expect(Reduce.float(.maximum, type: .float32, floats, count: 0) == -.infinity)
    #expect(Reduce.float(.minimum, type: .float32, floats, count: 0) == .infinity)
    #expect(Reduce.integer(.sum, type: .int32, floats, count: 0) == 0)
    #expect(Reduce.float(.product, type: .float32, floats, count: 0) == 1)
    #expect(Reduce.integer(.product, type: .int64, floats, count: 0) == 1)
    var sums: [Float] = [5, 5, 5]
    Reduce.rows(.sum, type: .float32, src: floats, rows: 3, columns: 0, dst: &sums)
    #expect(sums == [0, 0, 0])
    Reduce.rows(.prod, type: .float32, src: floats, rows: 3, columns: 0, dst: &sums)
    #expect(sums == [1, 1, 1])
  }

  /// A NaN wins wherever it stands, and the first of two is found.
  @Test(arguments: lengths)
  func notANumber(count: Int) {
    for position in Set([0, count / 2, count - 1]) {
      var floats = values(count).map(Float.init)
      floats[position] = .nan
      floats[count - 1] = .nan
      let p = padded(floats, 0)
      let d = padded(floats.map(Double.init), 0)
      #expect(Reduce.float(.sum, type: .float32, p, count: count).isNaN)
      #expect(Reduce.float(.product, type: .float32, p, count: count).isNaN)
      #expect(Reduce.float(.maximum, type: .float32, p, count: count).isNaN)
      #expect(Reduce.float(.minimum, type: .float64, d, count: count).isNaN)
      #expect(Reduce.position(of: .largest, type: .float32, p, count: count) == position)
      #expect(Reduce.position(of: .smallest, type: .float64, d, count: count) == position)
    }
  }

  /// Infinities of both signs make the sum beside the lanes NaN, not the extreme.
  @Test(arguments: lengths.filter { $0 > 1 })
  func infinities(count: Int) {
    var floats = values(count).map(Float.init)
    floats[count / 2] = .infinity
    floats[0] = -.infinity
    let p = padded(floats, .nan)
    #expect(Reduce.float(.maximum, type: .float32, p, count: count) == .infinity)
    #expect(Reduce.float(.minimum, type: .float32, p, count: count) == -.infinity)
    #expect(Reduce.position(of: .largest, type: .float32, p, count: count) == count / 2)
    #expect(Reduce.position(of: .smallest, type: .float32, p, count: count) == 0)
  }

  @Test(arguments: lengths)
  func firstOfEquals(count: Int) {
    let p = padded([Float](repeating: -3, count: count), 7)
    #expect(Reduce.position(of: .largest, type: .float32, p, count: count) == 0)
    #expect(Reduce.position(of: .smallest, type: .float32, p, count: count) == 0)
    var q = p
    q[count - 1] = 2
    q[count / 2] = 2
    #expect(Reduce.position(of: .largest, type: .float32, q, count: count) == count / 2)
    let zeros = padded((0..<count).map { $0 % 2 == 0 ? -0.0 : 0.0 }, 1)
    #expect(Reduce.position(of: .largest, type: .float64, zeros, count: count) == 0)
    #expect(Reduce.position(of: .smallest, type: .float64, zeros, count: count) == 0)
  }

  /// The only one, wherever it stands, though what is behind the run is the same.
  @Test(arguments: lengths)
  func onlyExtreme(count: Int) {
    for position in 0..<min(count, 70) {
      var floats = values(count).map(Float.init)
      floats[position] = 9999
      let (p, d) = (padded(floats, 9999), padded(floats.map { Double(-$0) }, -9999))
      #expect(Reduce.position(of: .largest, type: .float32, p, count: count) == position)
      #expect(Reduce.position(of: .smallest, type: .float64, d, count: count) == position)
    }
  }

  /// 0.1 isn't a float: one running float32 sum over 16384 of them is off by 1e-5 relative.
  @Test func accuracyOfLongSums() {
    for count in [1000, 16384, 16385, 100_000] {
      let floats = padded([Float](repeating: 0.1, count: count), .nan)
      let exact = Double(Float(0.1)) * Double(count)
      let sum = Reduce.float(.sum, type: .float32, floats, count: count)
      let error = abs(sum - exact) / exact
      #expect(error <= 4e-7)
      let doubles = padded([Double](repeating: 0.1, count: count), .nan)
      let wideExact = 0.1 * Double(count)
      let wideError =
        abs(Reduce.float(.sum, type: .float64, doubles, count: count) - wideExact) / wideExact
      #expect(wideError <= 1e-14)
    }
  }

  @Test(arguments: lengths)
  func rows(columns: Int) {
    let rows = 5
    let integers = values(rows * columns)
    let parts = (0..<rows).map { Array(integers[($0 * columns)..<(($0 + 1) * columns)]) }
    let floats = padded(integers.map(Float.init), .nan)
    let wide = integers.map(Int64.init)
    for op in [Opcode.sum, .max, .min] {
      let expected = parts.map { row -> Int in
        switch op {
        case .sum: row.reduce(0, +)
        case .max: row.max()!
        default: row.min()!
        }
      }
      var results = [Float](repeating: 99, count: rows + 1)
      Reduce.rows(op, type: .float32, src: floats, rows: rows, columns: columns, dst: &results)
      let expectedFloats = expected.map { Float($0) }
      #expect(results == expectedFloats + [99])
      var wideResults = [Int64](repeating: 99, count: rows + 1)
      Reduce.rows(op, type: .int64, src: wide, rows: rows, columns: columns, dst: &wideResults)
      let expectedIntegers = expected.map { Int64($0) }
      #expect(wideResults == expectedIntegers + [99])
    }
    for op in [Opcode.argmax, .argmin] {
      let expected = parts.map { row -> Int64 in
        let extreme = op == .argmax ? row.max()! : row.min()!
        return Int64(row.firstIndex(of: extreme)!)
      }
      var results = [Int64](repeating: 99, count: rows + 1)
      Reduce.rows(op, type: .float32, src: floats, rows: rows, columns: columns, dst: &results)
      #expect(results == expected + [99])
      Reduce.rows(op, type: .int64, src: wide, rows: rows, columns: columns, dst: &results)
      #expect(results == expected + [99])
    }
  }

  /// Signs and powers of two are exact in any order, bits of integers wrap away.
  @Test(arguments: lengths)
  func products(count: Int) {
    let exponents = values(count).map { $0 % 3 }
    let factors = exponents.enumerated().map { ($0 % 2 == 0 ? 1 : -1) * scalbn(1.0, $1) }
    let exact = factors.reduce(1, *)
    #expect(
      Reduce.float(.product, type: .float64, padded(factors, .nan), count: count) == exact)
    let singles = padded(factors.map(Float.init), .nan)
    #expect(Reduce.float(.product, type: .float32, singles, count: count) == exact)
    let integers = values(count).map { Int64($0 | 1) }
    let product = integers.reduce(1, &*)
    #expect(Reduce.integer(.product, type: .int64, integers, count: count) == product)
    let narrow = integers.map { Int32(truncatingIfNeeded: $0) }
    #expect(Reduce.integer(.product, type: .int32, narrow, count: count) == product)
    let bytes = integers.map { UInt8(truncatingIfNeeded: $0) }
    var wrapped: UInt8 = 0
    Reduce.rows(.prod, type: .uint8, src: bytes, rows: 1, columns: count, dst: &wrapped)
    #expect(wrapped == UInt8(truncatingIfNeeded: product))
  }

  /// The result of a row is the same wherever the row stands and however many there are.
  @Test func rowsDontDependOnTheirNumber() {
    for columns in [3, 10, 65, 700] {
      let values = (0..<(9 * columns)).map { Float(($0 &* 7919) % 1013) / 1013 - 0.5 }
      let p = padded(values, .nan)
      var all = [Float](repeating: 0, count: 9)
      Reduce.rows(.sum, type: .float32, src: p, rows: 9, columns: columns, dst: &all)
      for row in 0..<9 {
        let one = padded(Array(values[(row * columns)..<((row + 1) * columns)]), .infinity)
        #expect(Float(Reduce.float(.sum, type: .float32, one, count: columns)) == all[row])
      }
    }
  }
}
