// Layouts over what another layout shows. Uses LayoutTable.

extension Layout {
  /// A part of what this layout shows, given by a layout over its elements in C order, as a layout over
  /// the memory; nil where no strides lead from each of the part's elements to the next.
  ///
  ///     this layout    [4, 3], strides [6, 2]
  ///     its rows 1, 2  [2, 3], strides [3, 1], from element 3
  ///     in memory      [2, 3], strides [6, 2], from place 6
  ///
  /// 1. Axes between which there is no gap count as one.
  /// 2. The place of an element is a sum over these axes: index times stride. So the first element of
  ///    the part and its neighbour along every axis say how indices and places change from one to the
  ///    next.
  /// 3. That holds for all elements if no index leaves its axis on the way.
  package func part(
    _ id: LayoutID, _ offset: Int
  ) -> (layout: LayoutID, offset: Int)? {
    let part = LayoutTable.shared[id]
    if part.count == 0 { return (part.shapeID, 0) }
    var lengths: [Int] = []
    var steps: [Int] = []
    for axis in dims.indices.reversed() where dims[axis] != 1 {
      if let length = lengths.last, let step = steps.last, strides[axis] == length * step {
        lengths[lengths.count - 1] *= dims[axis]
      } else {
        lengths.append(dims[axis])
        steps.append(strides[axis])
      }
    }
    /// The index along every one of these axes, the last axis first.
    func indices(_ element: Int) -> [Int] {
      var rest = element
      return lengths.map { length in
        defer { rest /= length }
        return rest % length
      }
    }
    func place(_ indices: [Int]) -> Int { zip(indices, steps).reduce(0) { $0 + $1.0 * $1.1 } }
    let first = indices(offset)
    var least = first
    var greatest = first
    var result = part.strides
    for axis in part.dims.indices where part.dims[axis] > 1 {
      let change = zip(indices(offset + part.strides[axis]), first).map { $0 - $1 }
      result[axis] = place(change)
      for k in change.indices {
        let whole = (part.dims[axis] - 1) * change[k]
        if whole < 0 { least[k] += whole } else { greatest[k] += whole }
      }
    }
    let staysInside = zip(least, zip(greatest, lengths)).allSatisfy { $0 >= 0 && $1.0 < $1.1 }
    if !staysInside { return nil }
    return (LayoutTable.shared.intern(dims: part.dims, strides: result), place(first))
  }
}
