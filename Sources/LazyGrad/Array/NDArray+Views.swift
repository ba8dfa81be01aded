// Views: other windows onto the same memory. Uses the engine's view algebra.

internal import LazyGradJIT

extension NDArray {
  /// Another window onto the same memory.
  func view(dims: [Int], strides: [Int], offset: Int) -> NDArray {
    NDArray(
      storage: storage, layout: LayoutTable.shared.intern(dims: dims, strides: strides),
      offset: offset, dtype: dtype, base: base ?? self, isNativelyWriteable: isNativelyWriteable,
      poison: poison)
  }

  /// The elements in C order under another shape.
  ///
  /// A view where strides can express it, otherwise a copy. The shapes must have equal numbers of
  /// elements.
  ///
  /// - Parameter newShape: the lengths; one of them may be -1 and follows from the others.
  /// - Complexity: O(`rank`) for a view; a copy moves every element once.
  public func reshaped(_ newShape: [Int]) -> NDArray {
    Self.made(dtype) { () throws(TensorError) in
      let dims = try Self.reshapedDims(newShape, count: count, from: shape, operation: "reshaped")
      if let strides = layout.reshapedStrides(to: dims) {
        return view(dims: dims, strides: strides, offset: offset)
      }
      let copy = try converted(to: dtype, operation: "reshaped")
      return NDArray(
        storage: copy.storage, layout: LayoutTable.shared.intern(dims: dims), offset: 0,
        dtype: dtype)
    }
  }

  /// The same with the lengths one after the other: `n.reshaped(2, -1)`.
  public func reshaped(_ first: Int, _ others: Int...) -> NDArray { reshaped([first] + others) }

  /// Replaces a -1 in a shape and makes sure that it holds `count` elements.
  static func reshapedDims(
    _ newShape: [Int], count: Int, from shape: [Int], operation: String
  ) throws(TensorError) -> [Int] {
    var dims = newShape
    let unknown = dims.indices.filter { dims[$0] == -1 }
    if unknown.count > 1 {
      throw TensorError(
        operation: operation, message: "expected at most one length of -1, got \(newShape)")
    }
    if let axis = unknown.first {
      dims[axis] = 1
      let others = LayoutTable.shared[try checkedLayout(dims, operation: operation)].count
      dims[axis] = others == 0 ? 0 : count / others
      // With nothing but empty axes around it any length would do: it has no answer.
      if others == 0 { dims[axis] = -1 }
    }
    let isKnown = !dims.contains(-1)
    let layout = isKnown ? try checkedLayout(dims, operation: operation) : LayoutTable.scalar
    if !isKnown || LayoutTable.shared[layout].count != count {
      throw TensorError(
        operation: operation,
        message: "cannot show \(count) elements of shape \(shape) as \(newShape)")
    }
    return dims
  }

  /// A view with the axes in another order; reversed without an argument.
  ///
  /// - Parameter axes: which axis comes first, second, and so on; negative ones count from the end.
  /// - Complexity: O(`rank`).
  public func transposed(_ axes: [Int]? = nil) -> NDArray {
    Self.made(dtype) { () throws(TensorError) in
      guard let order = order(of: axes, rank: rank) else {
        throw TensorError(
          operation: "transposed",
          message: "expected a permutation of \(rank) axes, got \(axes ?? [])")
      }
      return view(
        dims: order.map { shape[$0] }, strides: order.map { strides[$0] }, offset: offset)
    }
  }

  /// The same with the axes one after the other: `n.transposed(0, 2, 1)`.
  public func transposed(_ first: Int, _ others: Int...) -> NDArray {
    transposed([first] + others)
  }

  // swift-format-ignore: AlwaysUseLowerCamelCase
  /// The axes in reverse order: the transpose of a matrix; a view.
  public var T: NDArray { transposed() }

  /// A read-only view under a larger shape, in which axes of length 1 and new leading axes repeat.
  ///
  /// - Complexity: O(rank of the result).
  public func broadcast(to newShape: [Int]) -> NDArray {
    Self.made(dtype) { () throws(TensorError) in
      let target = LayoutTable.shared[try Self.checkedLayout(newShape, operation: "broadcast")]
      guard let strides = layout.broadcastStrides(to: target.dims) else {
        throw TensorError(
          operation: "broadcast", message: "shape \(shape) does not broadcast to \(newShape)")
      }
      let result = view(dims: target.dims, strides: strides, offset: offset)
      result.isNativelyWriteable = false
      return result
    }
  }
}
