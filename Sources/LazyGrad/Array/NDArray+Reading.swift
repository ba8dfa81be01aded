// Reading host arrays: elements, single values, copies. Uses ElementConversion and the engine's
// strided copies.

internal import LazyGradJIT

extension NDArray {
  /// The only element, as a `Double`.
  ///
  /// Stops the program unless there is exactly one element. `int64` values above 2^53 are rounded;
  /// `item(as: Int.self)` is exact.
  public func item() -> Double { item(as: Double.self) }

  /// The only element, converted as `astype(_:)` does.
  ///
  /// Stops the program unless there is exactly one element.
  public func item<Scalar: TensorScalar>(as type: Scalar.Type) -> Scalar {
    if count != 1 { stop("item", "expected exactly one element, got shape \(shape)") }
    return elements(as: type)[0]
  }

  /// The elements in C order, converted as `astype(_:)` does.
  ///
  /// - Complexity: copies every element once, twice if the array is both strided and converted.
  public func elements<Scalar: TensorScalar>(as type: Scalar.Type) -> [Scalar] {
    [Scalar](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let target = buffer.baseAddress { copyElements(to: target, as: Scalar.dtype) }
      initialized = count
    }
  }

  /// Gives read access to the elements in C order, in place if they lie in memory that way.
  ///
  /// The pointer must not be used after `body` has returned. Stops the program if `Scalar` is not
  /// the element type of the array: `elements(as:)` converts.
  ///
  /// - Complexity: free for a contiguous array, otherwise copies every element once.
  public func withUnsafeElements<Scalar: TensorScalar, Result>(
    as type: Scalar.Type, _ body: (UnsafeBufferPointer<Scalar>) throws -> Result
  ) rethrows -> Result {
    requireElements(of: type, operation: "withUnsafeElements")
    let source = contiguous()
    defer { withExtendedLifetime(source) {} }
    return try body(
      UnsafeBufferPointer(
        start: source.pointer.assumingMemoryBound(to: Scalar.self), count: count))
  }

  /// A new, writeable array with the same elements in C order.
  ///
  /// - Complexity: copies every element once.
  public func copy() -> NDArray { astype(dtype) }

  /// A new, writeable array with the elements converted to another type, by NumPy's casting rules.
  ///
  /// Floating-point values are truncated towards zero to become integers; what does not fit gives
  /// the smallest `int64` or `int32`, and integers lose their high bits. Everything but zero is
  /// true.
  ///
  /// - Complexity: copies every element once, twice if the array is both strided and converted.
  public func astype(_ dtype: DType) -> NDArray {
    do throws(StorageError) { return try converted(to: dtype) } catch {
      stop("astype", tensorError(error, in: "astype").message)
    }
  }

  /// `astype(_:)` for who can go on without memory.
  func converted(to dtype: DType) throws(StorageError) -> NDArray {
    let result = try NDArray(
      uninitialized: LayoutTable.shared.intern(dims: shape), dtype: dtype)
    copyElements(to: result.pointer, as: dtype)
    return result
  }

  /// Writes the elements in C order to memory that does not overlap the array.
  func copyElements(to target: UnsafeMutableRawPointer, as type: DType) {
    if type == dtype {
      Strided.copy(elementSize: dtype.size, from: pointer, layout: layout, to: target)
    } else {
      let source = contiguous()
      ElementConversion.convert(from: source.pointer, dtype, to: target, type, count: count)
      withExtendedLifetime(source) {}
    }
  }

  /// The array itself if it is contiguous, otherwise a copy that is.
  func contiguous() -> NDArray { isContiguous ? self : copy() }

  func requireElements<Scalar: TensorScalar>(of _: Scalar.Type, operation: String) {
    if Scalar.dtype != dtype {
      stop(operation, "expected elements of type \(dtype), got \(Scalar.self)")
    }
  }
}
