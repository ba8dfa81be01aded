// Tensors in a row of elements and out of one: for buffers that are sent, and for routines that want all parameters
// as one vector.

internal import LazyGradJIT

extension Tensor {
  /// Copies the elements in C order, as they are, to memory that the caller has.
  ///
  ///     var bytes = [UInt8](repeating: 0, count: x.count * x.dtype.size)
  ///     try bytes.withUnsafeMutableBytes { try x.copyElements(to: $0) }
  ///
  /// - Parameter bytes: Of the tensor's size.
  /// - Throws: `TensorError` where the memory is of another size, the tensor is of a call that has failed, or there
  ///   is no memory to compute it in.
  /// - Complexity: forces evaluation; copies every element once, and twice where they lie in another order.
  public func copyElements(to bytes: UnsafeMutableRawBufferPointer) throws {
    if let poison { throw poison.error }
    do throws(StorageError) { try Engine.force(slot) } catch {
      throw tensorError(error, in: "copyElements")
    }
    let size = count * dtype.size
    if bytes.count != size {
      throw TensorError(
        operation: "copyElements",
        message: "expected memory for \(size) bytes, got \(bytes.count)", shapes: [shape])
    }
    guard let target = bytes.baseAddress, size > 0 else { return }
    if copyInOrder(to: target, size) { return }
    try array.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: size) }
  }

  /// Copies the elements of what has been computed, if they lie in C order. Its memory isn't handed out.
  private func copyInOrder(to target: UnsafeMutableRawPointer, _ size: Int) -> Bool {
    let tape = Tape.hold(slot)
    var (storage, layout, offset) = (slot.pointee.storage, slot.pointee.layout, slot.pointee.offset)
    if let id = slot.node {
      let value = tape.location(of: id)
      (storage, layout, offset) = (value.storage, value.layout, value.offset)
    }
    let source = storage.stillThere.retain()
    tape.unlock()
    defer { source.release() }
    if layout != shapeID { return false }
    source._withUnsafeGuaranteedRef {
      target.copyMemory(from: $0.pointer + offset * dtype.size, byteCount: size)
    }
    return true
  }

  /// Constants that share an array's memory, one behind the other, each in the shape of another tensor: what was one
  /// row of elements is as many tensors again.
  ///
  ///     let row = NDArray([1.0, 2, 3, 4, 5, 6, 7])
  ///     let parts = Tensor.parts(of: row, like: [w, b])    // for a w of [2, 3] and a b of [1]
  ///
  /// - Parameters:
  ///   - array: In C order, of any shape, with as many elements as the tensors together.
  ///   - tensors: Whose shapes the results have. Values and types don't matter.
  /// - Returns: A tensor of the array's type for each. Where the array doesn't fit these are poisoned.
  /// - Complexity: O(tensors); nothing is copied or computed.
  public static func parts(of array: NDArray, like tensors: [Tensor]) -> [Tensor] {
    if let poison = array.poison ?? tensors.lazy.compactMap(\.poison).first {
      return tensors.map { _ in Tensor(poison: poison) }
    }
    let count = tensors.reduce(0) { $0 &+ $1.count }
    if count != array.count || !array.isContiguous {
      let poison = fail(
        "parts",
        "expected an array in C order with \(count) elements for the shapes \(tensors.map(\.shape)), "
          + "got shape \(array.shape) with strides \(array.strides)", tensors)
      return tensors.map { _ in poison }
    }
    var results: [Tensor] = []
    results.reserveCapacity(tensors.count)
    var offset = array.offset
    let tape = Tape.current
    for tensor in tensors {
      let slot = tape.locked {
        tape.makeSlot(
          storage: Unmanaged.passRetained(array.storage), layout: tensor.shapeID, offset: offset,
          type: array.dtype.scalarType, isVariable: false)
      }
      if !array.isNativelyWriteable { slot.isReadOnly = true }
      results.append(Tensor(slot))
      offset += tensor.count
    }
    return results
  }
}
