// Where the forms of operations with `out:` store their result: a tensor, which is updated in place,
// or a host array, whose memory the result then shares.

internal import LazyGradJIT

/// What an operation can store its result in: `out:`, as in MyGrad and NumPy.
///
///     let buffer = NDArray.zeros([3])
///     let y = exp(x, out: buffer)      // the elements are in `buffer` now
///     buffer.isWriteable               // false: `y` shows its memory
///     y.backward()
///     buffer.isWriteable               // true
///
/// - A `Tensor` is updated in place: it keeps its object, shape, type and constness, its views see the
///   result, and it is what the operation returns. Records nodes, as `+=` does.
/// - An `NDArray` is written at once, which forces evaluation. The operation returns a tensor over the
///   array's memory, which gradients flow through, and which the memory guard locks the array for as
///   long as the graph lives. Until then the graph also keeps the result as it was computed.
///
/// With a mask of bools, `exp(x, where: mask, out: buffer)`, elements at which it does not hold are left as they
/// are, and no gradient goes through them: exactly 0 arrives, whatever the function's slope is there.
///
/// The shape of a result must broadcast to that of the target; where parts are put together
/// (`concatenate`, `stack`, `matmul`) it must be the same. Its type must be of the target's kind or a
/// lower one: a float64 result goes into a float32 array, but not into one of integers. A target may be
/// an operand as well, or share memory with one: the result is that of the values before. Under the
/// memory guard an array that an operand shows is refused, because the operation itself locks it.
///
/// Where that is not so, and where an array is read-only or locked, the program stops with a message;
/// inside `catchingTensorErrors` the error is thrown. Neither operands nor target have changed then.
public protocol TensorOutput: AnyObject {
  /// The length of every axis.
  var shape: [Int] { get }
  /// The type of the elements.
  var dtype: DType { get }
  /// What is there before something is stored, for the elements that keep it.
  var _before: Tensor { get }
  /// Stores what `result` records, an operation on `operands`, and gives the tensor that holds it.
  func _store(
    _ operation: String, _ operands: [Tensor], fillsExactly: Bool, _ result: () -> Tensor
  ) -> Tensor
}

extension TensorOutput {
  /// What to return where a result can't be stored; nil where it can.
  ///
  /// It is recorded without autodiff and never run: that tells shape and type, and what doesn't fit is
  /// refused with the operands' gradients still there.
  fileprivate func refusal(
    _ operation: String, fillsExactly: Bool, _ result: () -> Tensor
  ) -> Tensor? {
    let trial = Scope.untracked(result)
    if let poison = poisoned(trial) { return poison }
    let fits =
      fillsExactly ? trial.shape == shape : Layout.broadcast(trial.shape, shape) == shape
    if !fits {
      return fail(
        operation, "a result of shape \(trial.shape) does not fit out: of shape \(shape)")
    }
    if !dtype.canHold(trial.dtype) {
      return fail(operation, "elements of type \(trial.dtype) can't be put into \(dtype)")
    }
    return nil
  }

  /// For operations on elements, whose result may be broadcast to the target's shape, and of which a mask may
  /// leave elements out.
  func _store(
    _ operation: String, _ operands: [Tensor], where mask: Tensor?, _ result: ([Tensor]) -> Tensor
  ) -> Tensor {
    guard let mask else {
      return _store(operation, operands, fillsExactly: false) { result(operands) }
    }
    if let poison = poisoned(mask) { return poison }
    if mask.dtype != .bool {
      return fail(operation, "expected a mask of bools for where:, got \(mask.dtype)", [mask])
    }
    return _store(operation, operands + [mask], fillsExactly: false) {
      // Whatever the gradient is where the mask does not hold, this choice of equal values makes it 0.
      let gated = operands.map { x in
        x.isConstant ? x : `where`(mask, x, Scope.untracked { +x })
      }
      return `where`(mask, result(gated), _before)
    }
  }
}

extension Tensor: TensorOutput {
  /// The tensor itself.
  public var _before: Tensor { self }

  /// An update in place.
  public func _store(
    _ operation: String, _ operands: [Tensor], fillsExactly: Bool, _ result: () -> Tensor
  ) -> Tensor {
    if let poison = poisoned(self) { return poison }
    if let refusal = refusal(operation, fillsExactly: fillsExactly, result) { return refusal }
    if canBeUpdated(operation, shape: shape) { update(result()) }
    return self
  }
}

extension NDArray: TensorOutput {
  /// A tensor of a copy.
  public var _before: Tensor { Tensor(self, constant: true) }

  /// A write, and a tensor over what was written.
  public func _store(
    _ operation: String, _ operands: [Tensor], fillsExactly: Bool, _ result: () -> Tensor
  ) -> Tensor {
    if let poison { return Tensor(poison: poison) }
    if let refusal = refusal(operation, fillsExactly: fillsExactly, result) { return refusal }
    do {
      try prepareForWriting()
      if isMemoryGuardActive, operands.contains(where: { $0.shows(storage) }) {
        throw MemoryGuardError.locked(holders: [operation])
      }
    } catch let error as TensorError {
      return Tensor(poison: LazyGrad.poison(error))
    } catch { return fail(operation, "out: \(error)") }
    let own = result()
    let typed = own.dtype == dtype ? own : own.cast(to: dtype)
    let value = typed.shape == shape ? typed : +typed.broadcast(to: shape)
    // The operation reads what it needs before the array changes, which may hold its operands.
    let computed = value.array
    if let poison = computed.poison { return Tensor(poison: poison) }
    do throws(TensorError) { try overwrite(with: computed) } catch {
      return Tensor(poison: LazyGrad.poison(error))
    }
    return Scope.isTracking ? shown(value) : Tensor(adopting: self, isVariable: !value.isConstant)
  }

  /// A tensor over this array's memory, whose gradient goes to the tensor that the elements came from.
  ///
  /// 1. The memory that the array spans, gaps included, is a value as it stands.
  /// 2. An alias passes it on, with the derivative rule of something else: of zeros of that size with
  ///    `value` put where the array's elements are. That is never computed.
  /// 3. A view of the alias shows the elements. Its gradient takes the same way back; where the array
  ///    has no gaps, nothing of it costs more than a reshape.
  private func shown(_ value: Tensor) -> Tensor {
    let extent = layout.extent.map { Range($0) } ?? 0..<0
    let whole = NDArray(
      storage: storage, layout: LayoutTable.shared.intern(dims: [extent.count]),
      offset: offset + extent.lowerBound, dtype: dtype)
    let memory = Tensor(adopting: whole, isVariable: false)
    let zeros = Tensor.zeros(whole.shape, dtype: dtype, constant: true)
    let first = -extent.lowerBound
    let placed = Tensor.record(zeros, value) {
      Tensor(
        Tape.general(
          .setRegion, zeros.slot, value.slot, type: dtype.scalarType, shape: whole.layoutID,
          attribute: layoutID, payload: UInt64(bitPattern: Int64(first)), mode: $0))
    }
    let alias = Tensor.record(placed, memory) {
      Tensor(
        Tape.general(
          .attach, placed.slot, memory.slot, type: dtype.scalarType, shape: whole.layoutID,
          attribute: Composite.stored.attribute(), mode: $0))
    }
    let result = Tensor(alias.recordView(layoutID, first))
    // The array is written: nothing is left to wait for.
    return result.eval()
  }
}

extension Tensor {
  /// Whether the tensor has its value in a storage; one that is not computed has it nowhere.
  fileprivate func shows(_ storage: Storage) -> Bool {
    if !Engine.isEvaluated(slot) { return false }
    let tape = Tape.hold(slot)
    defer { tape.unlock() }
    let held = slot.node.map { tape.location(of: $0).storage } ?? slot.pointee.storage
    return held?.toOpaque() == Unmanaged.passUnretained(storage).toOpaque()
  }
}
