// Sums of rows against one addition after the other, to the bit, with NaNs of their own in them.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct RowSumTests {
  private func check<T: BinaryFloatingPoint & SIMDScalar>(
    _: T.Type, _ bits: (T) -> UInt64, nan: (Int) -> T
  ) {
    var random = SeededRandom(seed: 5)
    for width in 0...41 {
      for count in [1, 2, 3, 9] {
        var rows: [[T]] = []
        for _ in 0..<count {
          rows.append(
            (0..<width).map { _ in
              switch random.int(0...19) {
              case 0: nan(random.int(1...50))
              case 1: random.chance(0.5) ? T.infinity : -T.infinity
              case 2: -T.zero
              default: T(random.int(-1000...1000)) / 7
              }
            })
        }
        // What a processor does where the sum is its first operand.
        let expected = (0..<width).map { column in
          rows.dropFirst().reduce(rows[0][column]) { $0 == $0 ? $0 + $1[column] : $0 }
        }
        let memory = rows.map { row in
          let copy = UnsafeMutablePointer<T>.allocate(capacity: max(width, 1))
          copy.initialize(from: row, count: width)
          return copy
        }
        // Nothing behind the last element is written.
        let sum = UnsafeMutablePointer<T>.allocate(capacity: width + 16)
        sum.initialize(repeating: 99, count: width + 16)
        RowSum.run(T.self, count: count, width: width, to: UnsafeMutableRawPointer(sum)) {
          UnsafeMutableRawPointer(memory[$0])
        }
        #expect(
          (0..<width).allSatisfy { bits(sum[$0]) == bits(expected[$0]) },
          "\(T.self), \(count) rows of \(width)")
        #expect((width..<(width + 16)).allSatisfy { sum[$0] == 99 })
        sum.deallocate()
        for row in memory { row.deallocate() }
      }
    }
  }

  @Test func sumsAreThoseOfSingleAdditions() {
    check(Float.self, { UInt64($0.bitPattern) }) { Float(bitPattern: 0x7FC0_0000 | UInt32($0)) }
    check(Double.self, { $0.bitPattern }) { Double(bitPattern: 0x7FF8_0000_0000_0000 | UInt64($0)) }
  }
}
