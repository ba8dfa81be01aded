// Between tensors, arrays and Swift's numbers: what needs no name of an element type, or takes one as a
// Swift type.

extension Tensor {
  /// All elements in C order, as `Double`; `elements(as:)` gives another type.
  ///
  /// - Complexity: forces evaluation and copies.
  public var elements: [Double] { elements(as: Double.self) }

  /// The tensor in the element type of a Swift type, as `cast(to:)` does it: `x.cast(to: Float.self)`.
  ///
  /// - Complexity: records one node.
  public func cast<Scalar: TensorScalar>(to type: Scalar.Type) -> Tensor { cast(to: type.dtype) }
}

extension NDArray {
  /// All elements in C order, as `Double`; `elements(as:)` gives another type.
  ///
  /// - Complexity: copies every element once.
  public var elements: [Double] { elements(as: Double.self) }

  /// A new, writeable array in the element type of a Swift type: `n.astype(Float.self)`.
  ///
  /// - Complexity: copies every element once.
  public func astype<Scalar: TensorScalar>(_ type: Scalar.Type) -> NDArray { astype(type.dtype) }
}

extension Double {
  /// The only element of a tensor with one element, as `item()`: `Double(x.sum())`.
  ///
  /// - Complexity: forces evaluation.
  @_disfavoredOverload
  public init(_ tensor: Tensor) { self = tensor.item() }

  /// The only element of an array with one element.
  @_disfavoredOverload
  public init(_ array: NDArray) { self = array.item() }
}

extension Float {
  /// The only element of a tensor with one element, as `item(as:)`.
  ///
  /// - Complexity: forces evaluation.
  @_disfavoredOverload
  public init(_ tensor: Tensor) { self = tensor.item(as: Float.self) }

  /// The only element of an array with one element.
  @_disfavoredOverload
  public init(_ array: NDArray) { self = array.item(as: Float.self) }
}

extension Int {
  /// The only element of a tensor with one element, as `item(as:)`: cut off towards zero.
  ///
  /// - Complexity: forces evaluation.
  @_disfavoredOverload
  public init(_ tensor: Tensor) { self = tensor.item(as: Int.self) }

  /// The only element of an array with one element.
  @_disfavoredOverload
  public init(_ array: NDArray) { self = array.item(as: Int.self) }
}

extension Bool {
  /// Whether the only element of a tensor with one element is not zero: `if Bool((x .> 0).all())`.
  ///
  /// - Complexity: forces evaluation.
  @_disfavoredOverload
  public init(_ tensor: Tensor) { self = tensor.item(as: Bool.self) }

  /// Whether the only element of an array with one element is not zero.
  @_disfavoredOverload
  public init(_ array: NDArray) { self = array.item(as: Bool.self) }
}
