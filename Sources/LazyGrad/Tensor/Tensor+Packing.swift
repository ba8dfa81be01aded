// Tensors in a row of elements and out of one: for buffers that are sent, and for routines that want all parameters
// as one vector.

internal import LazyGradJIT

extension Tensor {
  /// The elements of tensors, one tensor behind the other, each in C order.
  ///
  ///     let row = try Tensor.row(of: [w, b])
  ///     let copies = Tensor.parts(of: row, like: [w, b])
  ///
  /// - Parameters:
  ///   - tensors: Of any shapes and types.
  ///   - dtype: The type of the row; that of the first tensor where nil.
  /// - Returns: A new array with one axis; of float64 and empty where there are no tensors and no type.
  /// - Throws: `TensorError` where a tensor is of a call that has failed, or there is no memory.
  /// - Complexity: computes the tensors in one plan; copies every element once, and twice where its tensor has another
  ///   type or its elements lie in another order.
  public static func row(of tensors: [Tensor], dtype: DType? = nil) throws -> NDArray {
    if let poison = tensors.lazy.compactMap(\.poison).first { throw poison.error }
    do throws(StorageError) { try Engine.force(tensors.map(\.slot)) } catch {
      throw tensorError(error, in: "row")
    }
    let type = dtype ?? tensors.first?.dtype ?? .float64
    let count = elementCount(of: tensors)
    return try NDArray(shape: [count], dtype: type) { bytes in
      guard var target = bytes.baseAddress else { return }
      for tensor in tensors where tensor.count > 0 {
        let size = tensor.count * type.size
        if tensor.dtype != type || !tensor.copyInOrder(to: target, size) {
          try tensor.array.astype(type).withUnsafeBytes {
            target.copyMemory(from: $0.baseAddress!, byteCount: size)
          }
        }
        target += size
      }
    }
  }

  /// Of all together; the largest number where there are more.
  private static func elementCount(of tensors: [Tensor]) -> Int {
    tensors.reduce(0) {
      let (sum, overflow) = $0.addingReportingOverflow($1.count)
      return overflow ? .max : sum
    }
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
    let count = elementCount(of: tensors)
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
