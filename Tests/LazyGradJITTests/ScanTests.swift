// Running sums of float32, eight at a time: what they are rounded to, that the length of a run says nothing about
// its beginning, and that no memory but the result's is written.

import LazyGradJIT
import TestSupport
import Testing

@Suite struct ScanTests {
  /// Running sums of rows, into other memory or over the elements.
  private func sums(_ x: [Float], rows: Int, inPlace: Bool) -> [Float] {
    let fence = Float(bitPattern: 0x7FC0_1234)
    var result = inPlace ? x : [Float](repeating: 1, count: x.count)
    result.append(fence)
    var nothing: UInt8 = 0
    let runs = Runs(outer: rows, length: x.count / rows, inner: 1)
    x.withUnsafeBytes { from in
      result.withUnsafeMutableBytes { to in
        Scan.run(
          isSum: true, type: .float32, runs,
          from: inPlace ? UnsafeRawPointer(to.baseAddress!) : from.baseAddress!,
          to: to.baseAddress!, WorkMemory(&nothing, byteCount: 0))
      }
    }
    #expect(result.last?.bitPattern == fence.bitPattern)
    return result.dropLast()
  }

  @Test(arguments: [false, true])
  func ofEveryLength(_ inPlace: Bool) {
    var random = SeededRandom(seed: 11)
    for length in 1...41 {
      for rows in [1, 3] {
        let x = (0..<(rows * length)).map { _ in Float(random.int(-1000...1000)) / 7 }
        let found = sums(x, rows: rows, inPlace: inPlace)
        for row in 0..<rows {
          var total = 0.0
          for i in (row * length)..<((row + 1) * length) {
            total += Double(x[i])
            // In double precision both are far closer to the exact sum than a float32 is to its neighbours.
            #expect(abs(found[i] - Float(total)) <= Float(total).ulp, "\(length), element \(i)")
          }
        }
      }
    }
  }

  @Test func beginningsOfARunAreThoseOfAShorterOne() {
    var random = SeededRandom(seed: 12)
    let x = (0..<100).map { _ in Float(random.int(-1000...1000)) / 7 }
    let whole = sums(x, rows: 1, inPlace: false)
    for length in 1..<100 {
      let part = sums(Array(x[..<length]), rows: 1, inPlace: false)
      #expect(part.map(\.bitPattern) == whole[..<length].map(\.bitPattern), "\(length)")
    }
  }

  @Test func infinitiesAndNoNumbers() {
    for place in 0..<20 {
      var x = [Float](repeating: 1, count: 20)
      x[place] = .infinity
      let found = sums(x, rows: 1, inPlace: false)
      #expect(found[..<place].allSatisfy { $0.isFinite })
      #expect(found[place...].allSatisfy { $0 == .infinity })
      for other in place..<20 where other > place {
        x[other] = -.infinity
        let both = sums(x, rows: 1, inPlace: false)
        #expect(both[place..<other].allSatisfy { $0 == .infinity })
        #expect(both[other...].allSatisfy { $0.isNaN })
        x[other] = 1
      }
    }
  }
}
