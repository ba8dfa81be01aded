// Nested Swift arrays of any depth as array literals: `[[1.0, 2], [3, 4]]`. Uses TensorScalar.

/// A scalar, an array of scalars, an array of arrays of scalars, and so on.
///
/// One generic parameter with this constraint takes every depth, which keeps type checking fast:
/// there are no overloads to try. The requirements are the library's own.
public protocol NestedArray {
  /// The type of the innermost elements.
  associatedtype Scalar: TensorScalar = Self
  /// How many array brackets surround a scalar.
  static var _depth: Int { get }
  /// Appends the lengths found by always going to the first element.
  func _appendShape(to shape: inout [Int])
  /// Makes sure that the lengths from `axis` on are those of `shape` everywhere.
  func _check(shape: [Int], axis: Int) throws(TensorError)
  /// Writes the scalars of a row of values, in order, and moves the cursor behind them.
  ///
  /// A static requirement over rows, so that the innermost arrays are copied as a whole.
  static func _store(_ row: [Self], to cursor: inout UnsafeMutableRawPointer)
}

extension Array: NestedArray where Element: NestedArray {
  /// The type of the innermost elements.
  public typealias Scalar = Element.Scalar

  /// One more than that of the elements.
  public static var _depth: Int { Element._depth + 1 }

  /// Appends the length of this array and those of its first element.
  public func _appendShape(to shape: inout [Int]) {
    shape.append(count)
    if let first {
      first._appendShape(to: &shape)
    } else {
      // Nothing to look at: the type still knows how many axes there are.
      shape.append(contentsOf: repeatElement(0, count: Element._depth))
    }
  }

  /// Compares the length of this array, then those of its elements.
  public func _check(shape: [Int], axis: Int) throws(TensorError) {
    guard count == shape[axis] else {
      throw TensorError(
        operation: "NDArray",
        message:
          "ragged nested array: expected length \(shape[axis]) along axis \(axis), got \(count)")
    }
    if Element._depth == 0 { return }
    for element in self { try element._check(shape: shape, axis: axis + 1) }
  }

  /// Writes array after array.
  public static func _store(_ row: [Self], to cursor: inout UnsafeMutableRawPointer) {
    for array in row { Element._store(array, to: &cursor) }
  }
}
