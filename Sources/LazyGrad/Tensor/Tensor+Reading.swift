// Asking for values: the places where recorded work is run.

internal import LazyGradJIT

extension Tensor {
  /// Computes the value now, with everything that it depends on.
  ///
  /// - Returns: The tensor itself.
  @discardableResult
  public func eval() -> Tensor {
    force("eval")
    return self
  }

  /// Whether there is nothing to read because the tensor is poisoned. A `catchingTensorErrors`
  /// scope then throws at its end; elsewhere the program ends here.
  func isPoisonedRead() -> Bool {
    guard let poison else { return false }
    report(poison.error)
    return true
  }

  private static func placeholder<Scalar: TensorScalar>(_ type: Scalar.Type) -> Scalar {
    NDArray.placeholder(type.dtype).item(as: type)
  }

  /// - Returns: Why there is no value: the tensor is poisoned, or there is no memory, which is reported.
  @discardableResult
  private func force(_ operation: String) -> Poison? {
    if isPoisonedRead() { return poison }
    do throws(StorageError) {
      try Engine.force(slot)
      return nil
    } catch {
      return LazyGrad.poison(tensorError(error, in: operation))
    }
  }

  /// The value as a host array that shares the tensor's memory.
  ///
  /// While a guarded graph depends on the tensor the array is read-only; over the memory of an array
  /// that is read-only by nature it stays so.
  /// - Complexity: forces evaluation; nothing is copied.
  public var array: NDArray {
    if let poison = force("array") { return NDArray.placeholder(dtype, poison) }
    // A view shows its base's memory.
    let isReadOnly = (baseTensor ?? self).slot.isReadOnly
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    if let id = slot.node {
      tape.handOut(id)
      let value = tape.location(of: id)
      return NDArray(
        storage: value.storage.takeUnretainedValue(), layout: value.layout, offset: value.offset,
        dtype: dtype, isNativelyWriteable: !isReadOnly && !repeats(value.layout))
    }
    return NDArray(
      storage: slot.pointee.storage.stillThere.takeUnretainedValue(), layout: slot.pointee.layout,
      offset: slot.pointee.offset, dtype: dtype,
      isNativelyWriteable: !isReadOnly && !repeats(slot.pointee.layout))
  }

  /// Whether several elements lie on one place, so that writing one would change others.
  private func repeats(_ id: LayoutID) -> Bool {
    let layout = LayoutTable.shared[id]
    return zip(layout.dims, layout.strides).contains { $0 > 1 && $1 == 0 }
  }

  /// The only element of a tensor of any shape with one element.
  ///
  /// - Complexity: forces evaluation.
  public func item() -> Double { item(as: Double.self) }

  /// The only element, as a Swift number.
  public func item<Scalar: TensorScalar>(as type: Scalar.Type) -> Scalar {
    if isPoisonedRead() { return Self.placeholder(type) }
    if count != 1 {
      _ = fail("item", "expected exactly one element, got shape \(shape)", [self])
      return Self.placeholder(type)
    }
    return array.item(as: type)
  }

  /// All elements in C order.
  ///
  /// - Complexity: forces evaluation and copies.
  public func elements<Scalar: TensorScalar>(as type: Scalar.Type) -> [Scalar] {
    array.elements(as: type)
  }

  /// The value as something that can be sent to another task, encoded and compared.
  public var snapshot: TensorSnapshot { TensorSnapshot(array) }
}

/// Computes several tensors in one plan.
public func eval(_ tensors: Tensor...) { eval(tensors) }

/// Computes several tensors in one plan.
public func eval(_ tensors: [Tensor]) {
  for tensor in tensors { _ = tensor.isPoisonedRead() }
  do throws(StorageError) { try Engine.force(tensors.map(\.slot)) } catch {
    report(error, in: "eval")
  }
}
