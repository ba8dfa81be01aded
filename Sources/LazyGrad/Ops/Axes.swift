// Axes as the caller names them, counted from the end where they are negative; and recording along them.

internal import LazyGradJIT

/// An axis counted from 0; nil where there is none.
@inline(__always)
func position(of axis: Int, rank: Int) -> Int? {
  let position = axis < 0 ? axis &+ rank : axis
  return position >= 0 && position < rank ? position : nil
}

/// An axis counted from 0.
///
/// - Throws: Where there is none, an error of `operation`.
@inline(__always)
func position(
  of axis: Int, in tensor: Tensor, rank: Int? = nil, _ operation: @autoclosure () -> String
) throws(TensorError) -> Int {
  if let position = position(of: axis, rank: rank ?? tensor.rank) { return position }
  throw outOfRange(axis, tensor.shape, operation())
}

/// The axes in another order counted from 0, reversed where none is given; nil where some are missing or
/// named twice.
func order(of axes: [Int]?, rank: Int) -> [Int]? {
  guard let axes else { return (0..<rank).reversed() }
  let order = axes.compactMap { position(of: $0, rank: rank) }
  return order.sorted().elementsEqual(0..<rank) && axes.count == rank ? order : nil
}

@inline(never)
private func outOfRange(_ axis: Int, _ shape: [Int], _ operation: String) -> TensorError {
  TensorError(operation: operation, message: "axis \(axis) is out of range for shape \(shape)")
}

extension Tensor {
  /// What `body` gives for an axis, or for all, unless this tensor is poisoned or there is no such axis.
  @inline(__always)
  func along(
    _ axis: Int?, _ operation: @autoclosure () -> String, _ body: (AxisSet) -> Tensor
  ) -> Tensor {
    if let poison = poisoned(self) { return poison }
    guard let axis else { return body(.all) }
    do throws(TensorError) {
      return body(AxisSet(try position(of: axis, in: self, operation())))
    } catch { return fail(error, [self]) }
  }

  /// The same for several axes.
  @inline(__always)
  func along(
    _ axes: [Int], _ operation: @autoclosure () -> String, _ body: (AxisSet) -> Tensor
  ) -> Tensor {
    if let poison = poisoned(self) { return poison }
    do throws(TensorError) { return body(try axisSet(axes, operation())) } catch {
      return fail(error, [self])
    }
  }

  private func axisSet(
    _ axes: [Int], _ operation: @autoclosure () -> String
  ) throws(TensorError) -> AxisSet {
    var result = AxisSet()
    for axis in axes {
      if !result.insert(try position(of: axis, in: self, operation())) {
        throw TensorError(operation: operation(), message: "axis \(axis) is named twice in \(axes)")
      }
    }
    return result
  }

  /// Whether one of these axes has length 0.
  func hasNothing(along axes: AxisSet) -> Bool {
    count == 0 && shape.indices.contains { axes.contains($0) && shape[$0] == 0 }
  }
}
