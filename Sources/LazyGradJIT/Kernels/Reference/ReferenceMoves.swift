// The oracle's operations that move elements: rows by index, regions, concatenation. Uses
// ReferenceArray.

extension Reference {
  /// The position of a row that an index names, from the end for negative ones.
  private static func row(_ index: Int64, of rows: Int) -> Int {
    let row = Int(index) + (index < 0 ? rows : 0)
    precondition(row >= 0 && row < rows, "reference: index \(index) names none of \(rows) rows")
    return row
  }

  /// Rows of a table `[N, R...]` by indices `[k...]`: `[k..., R...]`.
  static func gatherRows(
    _ table: ReferenceArray, _ indices: ReferenceArray, dims: [Int]
  ) -> ReferenceArray {
    let width = table.dims.dropFirst().reduce(1, *)
    var places: [Int] = []
    for index in indices.integers {
      let first = row(index, of: table.dims[0]) * width
      places += first..<(first + width)
    }
    return table.taking(places, dims: dims)
  }

  /// Adds rows `[k..., R...]` to the rows of `base` `[N, R...]` that indices `[k...]` name. An
  /// element that several rows go to is summed in Double and rounded once.
  static func scatterAddRows(
    _ base: ReferenceArray, _ rows: ReferenceArray, _ indices: ReferenceArray
  ) -> ReferenceArray {
    let width = base.dims.dropFirst().reduce(1, *)
    var places: [Int] = []
    for index in indices.integers {
      let first = row(index, of: base.dims[0]) * width
      places += first..<(first + width)
    }
    return combining(base, rows, places, adding: true)
  }

  /// `base` with rows of `width` elements in C order replaced by those of `rows`, in the order of the
  /// indices that name them.
  static func setRows(
    _ base: ReferenceArray, _ rows: ReferenceArray, _ indices: ReferenceArray, width: Int
  ) -> ReferenceArray {
    var places: [Int] = []
    for index in indices.integers {
      let first = row(index, of: base.count / width) * width
      places += first..<(first + width)
    }
    return combining(base, rows, places, adding: false)
  }

  /// `base` with the elements of a region replaced by `value`, or with `value` added to them.
  /// Where places of the region coincide, the last element stays or all are added.
  static func region(
    _ base: ReferenceArray, _ value: ReferenceArray, layout: Layout, offset: Int, adding: Bool
  ) -> ReferenceArray {
    let places = ReferenceArray.places(layout.dims, layout.strides, from: offset)
    return combining(base, value.broadcast(to: layout.dims), places, adding: adding)
  }

  private static func combining(
    _ base: ReferenceArray, _ value: ReferenceArray, _ places: [Int], adding: Bool
  ) -> ReferenceArray {
    if base.type.isFloating {
      var result = base.floats
      for (place, x) in zip(places, value.floats) {
        result[place] = adding ? result[place] + x : x
      }
      return ReferenceArray(base.type, base.dims, floats: result)
    }
    var result = base.integers
    for (place, x) in zip(places, value.integers) {
      result[place] = adding ? result[place] &+ x : x
    }
    return ReferenceArray(base.type, base.dims, integers: result)
  }

  /// Two arrays one after the other along an axis.
  static func concat(
    _ a: ReferenceArray, _ b: ReferenceArray, axis: Int, dims: [Int]
  ) -> ReferenceArray {
    let blocks = dims[..<axis].reduce(1, *)
    let aBlock = a.dims[axis...].reduce(1, *)
    let bBlock = b.dims[axis...].reduce(1, *)
    func joined<T>(_ x: [T], _ y: [T]) -> [T] {
      var result: [T] = []
      for block in 0..<blocks {
        result += x[(block * aBlock)..<((block + 1) * aBlock)]
        result += y[(block * bBlock)..<((block + 1) * bBlock)]
      }
      return result
    }
    return a.type.isFloating
      ? ReferenceArray(a.type, dims, floats: joined(a.floats, b.floats))
      : ReferenceArray(a.type, dims, integers: joined(a.integers, b.integers))
  }

  /// Running sums or products along an axis, one element after the other.
  static func scan(_ a: ReferenceArray, axis: Int, isSum: Bool) -> ReferenceArray {
    let length = a.dims[axis]
    let inner = a.dims[(axis + 1)...].reduce(1, *)
    func scanned<T>(_ x: [T], _ combine: (T, T) -> T) -> [T] {
      var result = x
      for i in x.indices where i / inner % length > 0 {
        result[i] = combine(result[i - inner], x[i])
      }
      return result
    }
    return a.type.isFloating
      ? ReferenceArray(a.type, a.dims, floats: scanned(a.floats) { isSum ? $0 + $1 : $0 * $1 })
      : ReferenceArray(
        a.type, a.dims, integers: scanned(a.integers) { isSum ? $0 &+ $1 : $0 &* $1 })
  }

  /// Elements along an axis in order.
  static func sorted(_ a: ReferenceArray, _ order: SortOrder) -> ReferenceArray {
    let flat = SortOrder(axis: order.axis, isDescending: order.isDescending, isFlat: true)
    return a.taking(places(of: a, flat).integers.map { Int($0) }, dims: a.dims)
  }

  /// Where elements along an axis come from when they are sorted.
  static func places(of a: ReferenceArray, _ order: SortOrder) -> ReferenceArray {
    let length = a.dims[order.axis]
    let inner = a.dims[(order.axis + 1)...].reduce(1, *)
    func isBefore(_ i: Int, _ j: Int) -> Bool {
      if a.type.isFloating {
        if a.floats[i].isNaN || a.floats[j].isNaN { return !a.floats[i].isNaN }
        if a.floats[i] != a.floats[j] { return order.isDescending == (a.floats[i] > a.floats[j]) }
      } else if a.integers[i] != a.integers[j] {
        return order.isDescending == (a.integers[i] > a.integers[j])
      }
      return i < j
    }
    var result = [Int64](repeating: 0, count: a.count)
    for start in 0..<a.count where start / inner % length == 0 {
      let run = (0..<length).map { start + $0 * inner }
      let sorted = run.sorted { i, j in
        let bothAreNone = a.type.isFloating && a.floats[i].isNaN && a.floats[j].isNaN
        return bothAreNone ? i < j : isBefore(i, j)
      }
      for (place, source) in zip(run, sorted) {
        result[place] = Int64(order.isFlat ? source : (source - start) / inner)
      }
    }
    return ReferenceArray(.int64, a.dims, integers: result)
  }

  /// Every element's position along the last axis.
  static func iota(_ type: ScalarType, dims: [Int]) -> ReferenceArray {
    let length = Int64(dims.last ?? 1)
    let count = Int64(dims.reduce(1, *))
    return ReferenceArray(type, dims, integers: (0..<count).map { $0 % length })
  }
}
