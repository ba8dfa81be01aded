// Sliding windows: a view that shows elements as often as windows hold them.

internal import LazyGradJIT

extension Tensor {
  /// Windows of these lengths at every place of the last axes; a view, which can't be updated in place.
  ///
  /// The result has the shape `[positions..., leading axes..., window...]`: first how many places there are
  /// along each of the last axes, then the axes before them, then the windows' lengths. Windows are whole:
  /// at the end less than a step may be left over. Gradients of elements in several windows add up.
  ///
  /// - Parameters:
  ///   - lengths: One for each of the last axes.
  ///   - step: How far windows are apart, along every axis.
  ///   - dilation: How far a window's elements are apart, along every axis.
  /// - Complexity: records one node. The gradient takes one for every position in a window, or one for
  ///   every window where those are fewer.
  public func slidingWindows(
    _ lengths: [Int], step: [Int]? = nil, dilation: [Int]? = nil
  ) -> Tensor {
    let given = (step == nil ? 0 : 1) + (dilation == nil ? 0 : 2)
    var key = ViewKey(.windows, lengths.count << 2 | given)
    for number in lengths { key.append(number) }
    if let step { for number in step { key.append(number) } }
    if let dilation { for number in dilation { key.append(number) } }
    return known(key) ?? slidingWindows(lengths, step, dilation, key)
  }

  @inline(never)
  private func slidingWindows(
    _ lengths: [Int], _ step: [Int]?, _ dilation: [Int]?, _ key: ViewKey
  ) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let n = lengths.count
    let steps = step ?? Array(repeating: 1, count: n)
    let dilations = dilation ?? Array(repeating: 1, count: n)
    if n > rank || steps.count != n || dilations.count != n {
      return fail(
        "slidingWindows",
        "expected at most \(rank) lengths, with a step and a dilation for each, got \(lengths), "
          + "\(steps) and \(dilations)", [self])
    }
    if (lengths + steps + dilations).contains(where: { $0 < 1 }) {
      return fail(
        "slidingWindows",
        "expected positive numbers, got \(lengths), steps \(steps) and dilations \(dilations)",
        [self])
    }
    let own = ownLayout.layout
    var positions: [Int] = []
    for k in 0..<n {
      let length = own.dims[rank - n + k]
      let (reach, overflow) = (lengths[k] - 1).multipliedReportingOverflow(by: dilations[k])
      if overflow || reach >= length {
        return fail(
          "slidingWindows",
          "windows of \(lengths) with dilations \(dilations) don't fit into shape \(shape)", [self])
      }
      positions.append((length - reach - 1) / steps[k] + 1)
    }
    let leading = rank - n
    let dims = positions + own.dims[..<leading] + lengths
    let last = own.strides[leading...]
    let strides =
      zip(last, steps).map { stride(of: $0, times: $1) } + own.strides[..<leading]
      + zip(last, dilations).map { stride(of: $0, times: $1) }
    if dims.count > LayoutTable.maxRank || !fitsMemory(dims) {
      return fail("slidingWindows", "the result would have shape \(dims)", [self])
    }
    return view(dims: dims, strides: strides, key)
  }

  /// A stride so many times; a number that no window steps along may be too large, and does not count.
  private func stride(of stride: Int, times: Int) -> Int {
    let (product, overflow) = stride.multipliedReportingOverflow(by: times)
    return overflow ? 0 : product
  }
}
