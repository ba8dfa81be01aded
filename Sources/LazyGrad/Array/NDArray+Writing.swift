// Writing host arrays. Every way to change an element passes `prepareForWriting`, so the guard and
// the law that laziness is unobservable are kept in one place.

internal import LazyGradJIT

extension NDArray {
  /// What must happen before memory of this array changes.
  ///
  /// 1. An array that is read-only by nature refuses.
  /// 2. A storage that a live guarded graph reads refuses.
  /// 3. Operations that have been recorded but not computed, outside of the guard, are computed
  ///    now: they were called before the write and must not see it.
  func prepareForWriting() throws {
    if !isNativelyWriteable { throw MemoryGuardError.readOnly }
    if !storage.hasReaders { return }
    let holders = lockHolders
    if !holders.isEmpty { throw MemoryGuardError.locked(holders: holders) }
    try GuardHooks.forceReaders(storage)
  }

  /// Sets every element to a value, converted as `astype(_:)` does.
  ///
  /// - Throws: `MemoryGuardError` if the array is read-only or locked, `TensorError` if the value is a
  ///   whole number that integers of the array's type can't hold, or if there is no memory for pending
  ///   results that need the old values; nothing is written then.
  public func fill<Scalar: TensorScalar>(_ value: Scalar) throws {
    try prepareForWriting()
    try overwrite(with: Self.make(value, dtype: dtype, operation: "fill"))
  }

  /// Sets the elements to those of another array, which is broadcast and converted as needed.
  ///
  /// The arrays may share memory: the values are those from before the call. The shape of `other` must
  /// broadcast to that of this array: otherwise the program stops, or the error is noted in a
  /// `catchingTensorErrors` scope.
  ///
  /// - Throws: `MemoryGuardError` if the array is read-only or locked, `TensorError` if there is no
  ///   memory for a conversion or for pending results that need the old values, or if `other` stands in
  ///   the place of an array that could not be made; nothing is written then.
  public func assign(_ other: NDArray) throws {
    let source: NDArray
    do throws(TensorError) {
      source = try assignable(other, to: shape, operation: "assign")
    } catch {
      report(error)
      return
    }
    try source.checkIsMade()
    try prepareForWriting()
    try overwrite(with: source)
  }

  /// Gives write access to the elements in C order.
  ///
  /// In place if they lie in memory that way; otherwise `body` works on a copy, which is stored
  /// afterwards, also when it throws. The pointer must not be used after `body` has returned, and
  /// `body` must not use the array or tensors over its memory. Stops the program if `Scalar` is
  /// not the element type of the array.
  ///
  /// - Throws: `MemoryGuardError` if the array is read-only or locked, `TensorError` if there is no
  ///   memory for the copy or for pending results that need the old values (`body` is not called
  ///   then); what `body` throws.
  public func withMutableElements<Scalar: TensorScalar, Result>(
    as type: Scalar.Type, _ body: (inout UnsafeMutableBufferPointer<Scalar>) throws -> Result
  ) throws -> Result {
    requireElements(of: type, operation: "withMutableElements")
    try prepareForWriting()
    let target = try contiguous("withMutableElements")
    defer {
      if target !== self {
        Strided.scatter(
          elementSize: dtype.size, from: target.pointer, to: pointer, layout: layout)
      }
    }
    var buffer = UnsafeMutableBufferPointer(
      start: target.pointer.assumingMemoryBound(to: Scalar.self), count: count)
    return try body(&buffer)
  }

  /// Gives the address of the element with all indices 0 to code that knows nothing of LazyGrad, such as
  /// a C library; `strides` says where the other elements are.
  ///
  /// Unsafe: nobody checks what happens there. A write passes by the memory guard, by the flag that
  /// makes an array read-only, and by results that are pending on the memory, which may then see old
  /// values, new ones or both. `withMutableElements(as:_:)` takes care of all three. The pointer must
  /// not be used after `body` has returned. Stops the program if `Scalar` is not the element type of the
  /// array.
  public func withUnsafeMutablePointer<Scalar: TensorScalar, Result>(
    to type: Scalar.Type, _ body: (UnsafeMutablePointer<Scalar>) throws -> Result
  ) rethrows -> Result {
    requireElements(of: type, operation: "withUnsafeMutablePointer")
    defer { withExtendedLifetime(self) {} }
    return try body(pointer.assumingMemoryBound(to: Scalar.self))
  }

  /// `other` without leading axes of length 1 that `shape` does not have, if it broadcasts to it.
  func assignable(
    _ other: NDArray, to shape: [Int], operation: String
  ) throws(TensorError) -> NDArray {
    let surplus = max(other.rank - shape.count, 0)
    var source = other
    if surplus > 0, other.shape.prefix(surplus).allSatisfy({ $0 == 1 }) {
      source = other.view(
        dims: Array(other.shape[surplus...]), strides: Array(other.strides[surplus...]),
        offset: other.offset)
    }
    if source.layout.broadcastStrides(to: shape) == nil {
      throw TensorError(
        operation: operation, message: "shape \(other.shape) does not broadcast to \(shape)")
    }
    return source
  }

  /// Stores the elements of an array that broadcasts to this one, without asking anybody.
  ///
  /// - Throws: where there is no memory to convert or to spread them; nothing is written then.
  func overwrite(with other: NDArray) throws(TensorError) {
    if count == 0 { return }
    if other.layoutID == layoutID, other.offset == offset, other.storage === storage { return }
    var source = other
    if source.dtype != dtype || commonExtent(with: source) != nil {
      source = try source.converted(to: dtype, operation: "assign")
    }
    let strides = source.layout.broadcastStrides(to: shape).unsafelyUnwrapped
    let spread = LayoutTable.shared[LayoutTable.shared.intern(dims: shape, strides: strides)]
    if isContiguous {
      Strided.copy(elementSize: dtype.size, from: source.pointer, layout: spread, to: pointer)
    } else if spread.isContiguous {
      Strided.scatter(elementSize: dtype.size, from: source.pointer, to: pointer, layout: layout)
    } else {
      let row = try NDArray(uninitialized: shape, dtype: dtype, operation: "assign")
      Strided.copy(elementSize: dtype.size, from: source.pointer, layout: spread, to: row.pointer)
      Strided.scatter(elementSize: dtype.size, from: row.pointer, to: pointer, layout: layout)
      withExtendedLifetime(row) {}
    }
    withExtendedLifetime(source) {}
  }
}
