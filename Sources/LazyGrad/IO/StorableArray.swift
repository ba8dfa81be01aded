// What the writers of files take: anything that has a shape, a type and bytes. Uses what arrays give to
// everybody.

/// What can be written to a file: an `NDArray`, a `Tensor` or a `TensorSnapshot`.
///
/// A snapshot is `Sendable`, so a training loop can take snapshots and go on while another task writes them.
/// A matrix type of your own may conform as well.
public protocol StorableArray {
  /// The length of every axis.
  var shape: [Int] { get }
  /// The type of the elements.
  var dtype: DType { get }
  /// Gives the elements in C order as bytes, little-endian; truth values are 0 or 1.
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result
}

extension NDArray: StorableArray {}
extension TensorSnapshot: StorableArray {}

extension Tensor: StorableArray {
  /// Gives the elements in C order as bytes. The pointer must not be used after `body` has returned.
  ///
  /// - Throws: `TensorError` where there is no value, because the tensor is poisoned or there is no memory;
  ///   what `body` throws.
  /// - Complexity: forces evaluation; copies every element once where they are not in C order.
  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    try catchingTensorErrors { array }.withUnsafeBytes(body)
  }
}

extension StorableArray {
  /// The bytes, as many as shape and type say.
  func withCheckedBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    try withUnsafeBytes { bytes in
      let expected = NPYHeader.byteCount(shape, dtype)
      guard bytes.count == expected else {
        throw FileProblem.notWritable(
          "\(expected.map(String.init) ?? "countable") bytes for shape \(shape) of \(dtype)",
          "\(bytes.count)")
      }
      return try body(bytes)
    }
  }
}
