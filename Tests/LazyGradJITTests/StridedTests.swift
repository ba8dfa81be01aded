// Copies, scatters and row moves against index arithmetic done element by element.

import LazyGradJIT
import Testing

@Suite struct StridedTests {
  /// Dimensions and strides: rows, columns, broadcasts, turned and reversed axes, gaps, axes of
  /// length 1, empty and scalar layouts.
  static let layouts: [(dims: [Int], strides: [Int])] = [
    ([], []), ([0], [1]), ([1], [5]), ([513], [1]), ([511], [0]), ([63], [-1]), ([65], [3]),
    ([7, 9], [9, 1]), ([7, 9], [0, 1]), ([7, 9], [1, 0]), ([7, 9], [1, 7]), ([7, 9], [-9, 1]),
    ([7, 9], [9, -1]), ([7, 9], [12, 1]), ([7, 9], [0, 0]), ([33, 64], [0, 1]),
    ([64, 33], [1, 0]), ([37, 70], [1, 37]), ([64, 64], [1, 64]), ([5, 37, 70], [2590, 1, 37]),
    ([37, 5, 70], [1, 2590, 37]), ([3, 4, 5, 6], [1, 3, 12, 60]), ([3, 4, 5, 6], [120, 30, 6, 1]),
    ([3, 4, 5, 6], [0, 30, 0, 1]), ([3, 4, 5, 6], [120, -30, 6, 2]), ([2, 1, 8, 1], [8, 3, 1, 9]),
    ([4, 1, 5], [1, 7, 4]), ([3, 0, 5], [5, 5, 1]), ([6, 15], [15, 1]), ([6, 17], [20, 1]),
    ([9, 3], [4, 1]), ([9, 2], [4, 1]), ([9, 1], [4, 1]), ([8, 1, 8], [1, 0, 8]),
    ([2, 3, 2, 3, 2], [1, 2, 6, 12, 36]), ([40, 6], [6, -1]), ([5, 40], [40, 0]),
  ]

  private func layout(_ index: Int) -> Layout {
    let (dims, strides) = Self.layouts[index]
    return LayoutTable.shared[LayoutTable.shared.intern(dims: dims, strides: strides)]
  }

  /// The offsets of all elements in C order.
  private func offsets(_ layout: Layout) -> [Int] {
    (0..<layout.count).map { position in
      var rest = position
      var offset = 0
      for axis in layout.dims.indices.reversed() {
        offset += rest % layout.dims[axis] * layout.strides[axis]
        rest /= layout.dims[axis]
      }
      return offset
    }
  }

  /// A buffer over the whole extent of the layout, and where its first element stands in it.
  private func source<T>(_ layout: Layout, _ value: (Int) -> T) -> (data: [T], origin: Int) {
    guard let extent = layout.extent else { return ([value(0)], 0) }
    return ((0...(extent.upperBound - extent.lowerBound)).map(value), -extent.lowerBound)
  }

  private func checkGather<T: FixedWidthInteger>(_: T.Type, _ layout: Layout) {
    let (data, origin) = source(layout) { T(truncatingIfNeeded: $0 &* 37 &+ 11) }
    let places = offsets(layout)
    let size = MemoryLayout<T>.size
    data.withUnsafeBufferPointer { data in
      let base = data.baseAddress! + origin
      var whole = [T](repeating: 0, count: layout.count + 1)
      whole[layout.count] = 123
      Strided.copy(elementSize: size, from: base, layout: layout, to: &whole)
      let expected = places.map { base[$0] }
      #expect(whole == expected + [123], "copy \(layout.dims) \(layout.strides)")
      for tile in [1, 7, 8, 63, 512] {
        var start = 0
        while start < layout.count {
          let count = min(tile, layout.count - start)
          var piece = [T](repeating: 0, count: count + 1)
          piece[count] = 123
          Strided.gather(
            elementSize: size, from: base, layout: layout, start: start, count: count, to: &piece)
          if piece != expected[start..<(start + count)] + [123] {
            Issue.record("gather \(layout.dims) \(layout.strides) from \(start), \(count)")
          }
          // Long layouts are sampled.
          start += count + (layout.count > 600 && tile < 63 ? 13 : 0)
        }
      }
    }
  }

  @Test(arguments: layouts.indices)
  func gatherAndCopy(index: Int) {
    let layout = layout(index)
    checkGather(UInt8.self, layout)
    checkGather(UInt32.self, layout)
    checkGather(UInt64.self, layout)
  }

  private func checkScatter<T: FixedWidthInteger>(_: T.Type, _ layout: Layout) {
    var (data, origin) = source(layout) { T(truncatingIfNeeded: $0) }
    var expected = data
    let elements = (0..<max(layout.count, 1)).map { T(truncatingIfNeeded: $0 &* 31 &+ 7) }
    for (i, place) in offsets(layout).enumerated() { expected[origin + place] = elements[i] }
    data.withUnsafeMutableBufferPointer { data in
      elements.withUnsafeBytes {
        Strided.scatter(
          elementSize: MemoryLayout<T>.size, from: $0.baseAddress!,
          to: data.baseAddress! + origin, layout: layout)
      }
    }
    #expect(data == expected, "\(layout.dims) \(layout.strides)")
  }

  private func checkScatterAdd<T: Equatable>(
    _ type: ScalarType, _ layout: Layout, _ value: (Int) -> T, _ add: (T, T) -> T
  ) {
    var (data, origin) = source(layout, value)
    var expected = data
    let elements = (0..<max(layout.count, 1)).map { value($0 &* 31 &+ 7) }
    for (i, place) in offsets(layout).enumerated() {
      expected[origin + place] = add(expected[origin + place], elements[i])
    }
    data.withUnsafeMutableBufferPointer { data in
      elements.withUnsafeBytes {
        Strided.scatterAdd(
          type: type, from: $0.baseAddress!, to: data.baseAddress! + origin, layout: layout)
      }
    }
    #expect(data == expected, "\(type) \(layout.dims) \(layout.strides)")
  }

  @Test(arguments: layouts.indices)
  func scatter(index: Int) {
    let layout = layout(index)
    checkScatter(UInt8.self, layout)
    checkScatter(UInt32.self, layout)
    checkScatter(UInt64.self, layout)
    checkScatterAdd(.bool, layout, { $0 % 3 == 0 }) { $0 || $1 }
    checkScatterAdd(.uint8, layout, { UInt8(truncatingIfNeeded: $0) }) { $0 &+ $1 }
    checkScatterAdd(.int32, layout, { Int32(truncatingIfNeeded: $0 &* 99_999_989) }) { $0 &+ $1 }
    checkScatterAdd(.int64, layout, { Int64($0) &* 999_999_000_000_007 }) { $0 &+ $1 }
    checkScatterAdd(.float32, layout, { Float($0 % 1000) * 0.1 }) { $0 + $1 }
    checkScatterAdd(.float64, layout, { Double($0 % 1000) * 0.1 }) { $0 + $1 }
  }

  @Test(arguments: [0, 1, 2, 3, 5, 7, 8, 15, 16, 17, 40])
  func rowsByIndex(width: Int) {
    let rowCount = 6
    let indices: [Int64] = [5, -1, 0, -6, 2, 2, 3]
    let table = (0..<(rowCount * width + 1)).map { Float($0) + 0.25 }
    var gathered = [Float](repeating: -1, count: indices.count * width + 1)
    #expect(
      Strided.gatherRows(
        elementSize: 4, from: table, rowCount: rowCount, width: width, indices: indices,
        count: indices.count, to: &gathered))
    let rows = indices.map { Int($0 < 0 ? $0 + 6 : $0) }
    var copied: [Float] = []
    for row in rows { copied += table[(row * width)..<((row + 1) * width)] }
    #expect(gathered == copied + [-1])

    var sums = table
    var expected = table
    for (i, row) in rows.enumerated() {
      for j in 0..<width { expected[row * width + j] += gathered[i * width + j] }
    }
    #expect(
      Strided.scatterAddRows(
        type: .float32, rows: gathered, indices: indices, count: indices.count, width: width,
        to: &sums, rowCount: rowCount))
    #expect(sums == expected)

    // Rows 2 and 0 come twice: the second stays.
    var replaced = [Float](repeating: -2, count: rowCount * width + 1)
    let numbered = indices.indices.flatMap { i in (0..<width).map { Float(10 * i + $0) } }
    var last = replaced
    for (i, row) in rows.enumerated() {
      for j in 0..<width { last[row * width + j] = numbered[i * width + j] }
    }
    #expect(
      Strided.setRows(
        elementSize: 4, rows: numbered, indices: indices, count: indices.count, width: width,
        to: &replaced, rowCount: rowCount))
    #expect(replaced == last)

    let bytes = (0..<(rowCount * width + 1)).map { UInt8(truncatingIfNeeded: $0) }
    var someBytes = [UInt8](repeating: 9, count: indices.count * width + 1)
    #expect(
      Strided.gatherRows(
        elementSize: 1, from: bytes, rowCount: rowCount, width: width, indices: indices,
        count: indices.count, to: &someBytes))
    var copiedBytes: [UInt8] = []
    for row in rows { copiedBytes += bytes[(row * width)..<((row + 1) * width)] }
    #expect(someBytes == copiedBytes + [9])
    var table8 = [UInt8](repeating: 9, count: bytes.count)
    let chosen: [Int64] = [3, -6]
    #expect(
      Strided.setRows(
        elementSize: 1, rows: bytes, indices: chosen, count: 2, width: width, to: &table8,
        rowCount: rowCount))
    for j in 0..<width { #expect(table8[3 * width + j] == bytes[j]) }
    #expect(table8.count { $0 == 9 } >= 4 * width)
  }

  @Test func addedRowsOfOtherTypes() {
    let indices: [Int64] = [1, 1, -2]
    var bools: [Bool] = [true, false, false, false]
    #expect(
      Strided.scatterAddRows(
        type: .bool, rows: [false, true, false, false, false, false], indices: indices, count: 3,
        width: 2, to: &bools, rowCount: 2))
    #expect(bools == [true, false, false, true])
    var small: [UInt8] = [250, 1, 2, 3]
    #expect(
      Strided.scatterAddRows(
        type: .uint8, rows: [1, 2, 3, 4, 10, 20] as [UInt8], indices: indices, count: 3, width: 2,
        to: &small, rowCount: 2))
    #expect(small == [4, 21, 6, 9])
    var large: [Int64] = [.max, 0]
    #expect(
      Strided.scatterAddRows(
        type: .int64, rows: [1, 2, 3] as [Int64], indices: [0, 1, -1], count: 3, width: 1,
        to: &large, rowCount: 2))
    #expect(large == [.min, 5])
  }

  @Test(arguments: [6, -7, Int64.max, Int64.min])
  func indexOutOfRangeTouchesNothing(index: Int64) {
    let table = [Float](repeating: 1, count: 12)
    var out = [Float](repeating: -1, count: 4)
    let indices = [0, index]
    #expect(
      !Strided.gatherRows(
        elementSize: 4, from: table, rowCount: 6, width: 2, indices: indices, count: 2, to: &out))
    #expect(out == [-1, -1, -1, -1])
    var sums = table
    #expect(
      !Strided.setRows(
        elementSize: 4, rows: out, indices: indices, count: 2, width: 2, to: &sums, rowCount: 6))
    #expect(
      !Strided.scatterAddRows(
        type: .float32, rows: out, indices: indices, count: 2, width: 2, to: &sums, rowCount: 6))
    #expect(sums == table)
  }
}
