// Reading host arrays: elements, single values, copies. Uses ElementConversion and the engine's
// strided copies.

internal import LazyGradJIT

extension NDArray {
  /// The only element, as a `Double`.
  ///
  /// There must be exactly one element. `int64` values above 2^53 are rounded; `item(as: Int.self)` is
  /// exact.
  public func item() -> Double { item(as: Double.self) }

  /// The only element, converted as `astype(_:)` does.
  ///
  /// There must be exactly one element: otherwise the program stops, or gets not-a-number or 0 in a
  /// `catchingTensorErrors` scope, which throws the error.
  public func item<Scalar: TensorScalar>(as type: Scalar.Type) -> Scalar {
    let value = Self.made(dtype) { () throws(TensorError) in
      if count == 1 { return self }
      throw TensorError(
        operation: "item", message: "expected exactly one element, got shape \(shape)")
    }
    return value.elements(as: type)[0]
  }

  /// The elements in C order, converted as `astype(_:)` does.
  ///
  /// Where there is no memory for them the program stops, or gets one not-a-number or 0 in a
  /// `catchingTensorErrors` scope, which throws the error.
  /// - Complexity: copies every element once.
  public func elements<Scalar: TensorScalar>(as type: Scalar.Type) -> [Scalar] {
    do throws(TensorError) { return try copiedElements(as: type, operation: "elements") } catch {
      return NDArray.placeholder(dtype, LazyGrad.poison(error)).elements(as: type)
    }
  }

  /// `elements(as:)` for who can go on without memory.
  func copiedElements<Scalar: TensorScalar>(
    as type: Scalar.Type, operation: String
  ) throws(TensorError) -> [Scalar] {
    try requireMemory(for: type.dtype, operation)
    return [Scalar](unsafeUninitializedCapacity: count) { buffer, initialized in
      if let target = buffer.baseAddress { copyElements(to: target, as: Scalar.dtype) }
      initialized = count
    }
  }

  /// Makes sure that there is memory for a Swift array of the elements in another type.
  func requireMemory(for dtype: DType, _ operation: String) throws(TensorError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: dtype.size)
    if overflow { throw Self.tooLarge(shape, operation) }
    try LazyGrad.requireMemory(bytes, operation)
  }

  /// Gives read access to the elements in C order, in place if they lie in memory that way.
  ///
  /// The pointer must not be used after `body` has returned. Stops the program if `Scalar` is not
  /// the element type of the array: `elements(as:)` converts. Stops it also where the elements have to
  /// be copied and there is no memory for that.
  ///
  /// - Complexity: free for a contiguous array, otherwise copies every element once.
  public func withUnsafeElements<Scalar: TensorScalar, Result>(
    as type: Scalar.Type, _ body: (UnsafeBufferPointer<Scalar>) throws -> Result
  ) rethrows -> Result {
    requireElements(of: type, operation: "withUnsafeElements")
    if !isContiguous { return try orderedElements(type).withUnsafeBufferPointer(body) }
    defer { withExtendedLifetime(self) {} }
    return try body(
      UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: Scalar.self), count: count))
  }

  /// Gives read access to the elements as bytes in C order, in place if they lie in memory that way.
  ///
  /// The pointer must not be used after `body` has returned.
  ///
  /// - Throws: `TensorError` if the array stands in the place of one that could not be made, or if there is
  ///   no memory for a copy; what `body` throws.
  /// - Complexity: free for a contiguous array, otherwise copies every element once.
  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    try checkIsMade()
    let source = try contiguous("withUnsafeBytes")
    defer { withExtendedLifetime(source) {} }
    return try body(UnsafeRawBufferPointer(start: source.pointer, count: count * dtype.size))
  }

  /// Nothing shorter will do where the caller counts on `count` elements: without memory for a copy the
  /// program ends.
  private func orderedElements<Scalar: TensorScalar>(_ type: Scalar.Type) -> [Scalar] {
    do throws(TensorError) {
      return try copiedElements(as: type, operation: "withUnsafeElements")
    } catch { stop(error.operation, error.message) }
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
  /// - Complexity: copies every element once.
  public func astype(_ dtype: DType) -> NDArray {
    Self.made(dtype) { () throws(TensorError) in try converted(to: dtype, operation: "astype") }
  }

  /// `astype(_:)` for who can go on without memory.
  func converted(to dtype: DType, operation: String) throws(TensorError) -> NDArray {
    try checkIsMade()
    let result = try NDArray(uninitialized: shape, dtype: dtype, operation: operation)
    copyElements(to: result.pointer, as: dtype)
    return result
  }

  /// Writes the elements in C order to memory that does not overlap the array.
  func copyElements(to target: UnsafeMutableRawPointer, as type: DType) {
    if type == dtype {
      Strided.copy(elementSize: dtype.size, from: pointer, layout: layout, to: target)
    } else if isContiguous {
      ElementConversion.convert(from: pointer, dtype, to: target, type, count: count)
    } else {
      convertPieces(to: target, type)
    }
  }

  /// Brings strided elements into order piece by piece, so that converting them takes no memory.
  private func convertPieces(to target: UnsafeMutableRawPointer, _ type: DType) {
    let length = 512
    withUnsafeTemporaryAllocation(
      byteCount: length * dtype.size + StoragePool.slack, alignment: 64
    ) { buffer in
      let piece = buffer.baseAddress!
      for start in stride(from: 0, to: count, by: length) {
        let n = min(length, count - start)
        Strided.gather(
          elementSize: dtype.size, from: pointer, layout: layout, start: start, count: n, to: piece)
        ElementConversion.convert(
          from: piece, dtype, to: target + start * type.size, type, count: n)
      }
    }
  }

  /// The array itself if it is contiguous, otherwise a copy that is.
  func contiguous(_ operation: String) throws(TensorError) -> NDArray {
    isContiguous ? self : try converted(to: dtype, operation: operation)
  }

  func requireElements<Scalar: TensorScalar>(of _: Scalar.Type, operation: String) {
    if Scalar.dtype != dtype {
      stop(operation, "expected elements of type \(dtype), got \(Scalar.self)")
    }
  }
}
