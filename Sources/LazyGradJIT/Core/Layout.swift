// Lengths and strides of an array, and what can be worked out from them. Uses nothing else of the engine.

/// Dimensions and strides of a strided array, in elements. Immutable; made by `LayoutTable`.
package final class Layout: Sendable {
  package let id: LayoutID
  package let dims: [Int]
  package let strides: [Int]
  /// The number of elements.
  package let count: Int
  /// The layout with the same dimensions in C order: the identity of the shape.
  package let shapeID: LayoutID
  /// Whether elements follow each other in C order without gaps.
  package let isContiguous: Bool

  package var rank: Int { dims.count }

  init(id: LayoutID, dims: [Int], strides: [Int], count: Int, shapeID: LayoutID, contiguous: Bool) {
    self.id = id
    self.dims = dims
    self.strides = strides
    self.count = count
    self.shapeID = shapeID
    self.isContiguous = contiguous
  }

  /// The smallest and the largest element offset that the layout touches, relative to its start;
  /// nil for an empty array.
  package var extent: ClosedRange<Int>? {
    if count == 0 { return nil }
    var low = 0
    var high = 0
    for (d, s) in zip(dims, strides) {
      if s < 0 { low += (d - 1) * s } else { high += (d - 1) * s }
    }
    return low...high
  }
}

extension Layout {
  /// The dimensions of two shapes broadcast together, or nil where they don't fit.
  package static func broadcast(_ a: [Int], _ b: [Int]) -> [Int]? {
    let rank = max(a.count, b.count)
    var dims = [Int](repeating: 1, count: rank)
    for axis in 0..<rank {
      let i = axis - (rank - a.count)
      let j = axis - (rank - b.count)
      let x = i >= 0 ? a[i] : 1
      let y = j >= 0 ? b[j] : 1
      if x == y || y == 1 {
        dims[axis] = x
      } else if x == 1 {
        dims[axis] = y
      } else {
        return nil
      }
    }
    return dims
  }

  /// Strides that show this layout under the larger dimensions `dims`; nil where it does not fit.
  package func broadcastStrides(to dims: [Int]) -> [Int]? {
    let lead = dims.count - rank
    if lead < 0 { return nil }
    var result = [Int](repeating: 0, count: dims.count)
    for axis in 0..<rank {
      if self.dims[axis] == dims[lead + axis] {
        result[lead + axis] = strides[axis]
      } else if self.dims[axis] != 1 {
        return nil
      }
    }
    return result
  }

  /// Strides that show this layout under other dimensions of the same count without moving data,
  /// or nil where only a copy can do that.
  ///
  /// Axes are matched in groups of equal product; within a group the old axes must follow each
  /// other without gaps.
  package func reshapedStrides(to newDims: [Int]) -> [Int]? {
    if count == 0 { return LayoutTable.contiguousStrides(newDims)?.strides }
    let old = (0..<rank).filter { dims[$0] != 1 }
    var result = [Int](repeating: 0, count: newDims.count)
    var i = 0
    var j = 0
    while i < old.count || j < newDims.count {
      if j < newDims.count, newDims[j] == 1 {
        result[j] = 1
        j += 1
        continue
      }
      guard i < old.count, j < newDims.count else { return nil }
      let groupStart = i
      let newStart = j
      var oldProduct = dims[old[i]]
      var newProduct = newDims[j]
      i += 1
      j += 1
      while oldProduct != newProduct {
        if oldProduct < newProduct {
          guard i < old.count else { return nil }
          oldProduct *= dims[old[i]]
          i += 1
        } else {
          guard j < newDims.count else { return nil }
          newProduct *= newDims[j]
          j += 1
        }
      }
      for k in groupStart..<(i - 1)
      where strides[old[k]] != strides[old[k + 1]] * dims[old[k + 1]] {
        return nil
      }
      var step = strides[old[i - 1]]
      for k in (newStart..<j).reversed() {
        result[k] = step
        step *= newDims[k]
      }
    }
    return result
  }
}
