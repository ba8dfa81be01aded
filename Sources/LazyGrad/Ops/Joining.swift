// Joining tensors.

internal import LazyGradJIT

/// Puts tensors one behind the other along an axis along which alone they may differ.
public func concatenate(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  guard let first = tensors.first else {
    return fail("concatenate", "expected at least one tensor, got none")
  }
  return withSlots(tensors) { slots in
    do throws(TensorError) {
      let position = try position(of: axis, in: first, "concatenate")
      if !Tape.canJoin(slots, axis: position),
        let refusal = refusedJoin(tensors, axis, position)
      {
        return refusal
      }
      return joined(tensors, slots, axis: position, isNew: false)
    } catch { return fail(error, tensors) }
  }
}

/// What is wrong with tensors that are to be put behind each other; nil where nothing is.
private func refusedJoin(_ tensors: [Tensor], _ axis: Int, _ position: Int) -> Tensor? {
  let first = tensors[0]
  var whole = first.shape
  whole[position] = 0
  for tensor in tensors {
    var expected = first.shape
    if tensor.rank == first.rank { expected[position] = tensor.shape[position] }
    if tensor.shape != expected {
      return fail(
        "concatenate",
        "shapes differ along more than axis \(axis): \(first.shape) and \(tensor.shape)", tensors)
    }
    let (length, overflow) = whole[position].addingReportingOverflow(expected[position])
    whole[position] = length
    if overflow || !fitsMemory(whole) {
      return fail("concatenate", "the result has too many elements for memory", tensors)
    }
  }
  return nil
}

/// Puts tensors of one shape behind each other along a new axis.
public func stack(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  guard let first = tensors.first else {
    return fail("stack", "expected at least one tensor, got none")
  }
  return withSlots(tensors) { slots in
    do throws(TensorError) {
      let position = try position(of: axis, in: first, rank: first.rank + 1, "stack")
      if !Tape.canStack(slots), let refusal = refusedStack(tensors, position) { return refusal }
      return joined(tensors, slots, axis: position, isNew: true)
    } catch { return fail(error, tensors) }
  }
}

/// What is wrong with tensors that are to be stacked; nil where nothing is.
private func refusedStack(_ tensors: [Tensor], _ position: Int) -> Tensor? {
  let first = tensors[0]
  for tensor in tensors where tensor.shape != first.shape {
    return fail("stack", "shapes differ: \(first.shape) and \(tensor.shape)", tensors)
  }
  if first.rank == LayoutTable.maxRank {
    return fail(
      "stack", "expected fewer than \(LayoutTable.maxRank) axes, got \(first.shape)", tensors)
  }
  var whole = first.shape
  whole.insert(tensors.count, at: position)
  if !fitsMemory(whole) {
    return fail("stack", "the result has too many elements for memory", tensors)
  }
  return nil
}

/// Records tensors, which fit, one behind the other.
private func joined(
  _ tensors: [Tensor], _ slots: UnsafeBufferPointer<SlotRef>, axis: Int, isNew: Bool
) -> Tensor {
  tensors.withUnsafeBufferPointer {
    for tensor in unretained($0) { tensor._withUnsafeGuaranteedRef { $0.rejoin() } }
  }
  // In turns: a window is to be run when it is full, not when all are recorded. The pairs are the same,
  // because their number is a power of two.
  if slots.count > mostAtATime {
    let parts = stride(from: 0, to: slots.count, by: mostAtATime).map { start in
      let part = start..<min(start + mostAtATime, slots.count)
      return Tensor.made(
        Tape.join(
          UnsafeBufferPointer(rebasing: slots[part]), axis: axis, isNew: isNew, mode: Scope.mode))
    }
    return withSlots(parts) { joined(parts, $0, axis: axis, isNew: false) }
  }
  return .made(Tape.join(slots, axis: axis, isNew: isNew, mode: Scope.mode))
}
private let mostAtATime = 256

/// Runs `body` with the tensors' handles, unless one is poisoned.
private func withSlots(
  _ tensors: [Tensor], _ body: (UnsafeBufferPointer<SlotRef>) -> Tensor
) -> Tensor {
  withUnsafeTemporaryAllocation(of: SlotRef.self, capacity: tensors.count) { slots in
    tensors.withUnsafeBufferPointer { tensors in
      for (k, tensor) in unretained(tensors).enumerated() {
        let (slot, isPoisoned) = tensor._withUnsafeGuaranteedRef {
          ($0.slot, $0.kind == .poisoned)
        }
        if isPoisoned { return tensors[k] }
        slots.initializeElement(at: k, to: slot)
      }
      return body(UnsafeBufferPointer(slots))
    }
  }
}

/// The tensors without references of their own: to retain and release one takes as long as to record it.
private func unretained(
  _ tensors: UnsafeBufferPointer<Tensor>
) -> UnsafeBufferPointer<Unmanaged<Tensor>> {
  UnsafeRawBufferPointer(tensors).assumingMemoryBound(to: Unmanaged<Tensor>.self)
}

// MARK: - Derivative rules

enum JoiningRules {
  /// Each part's gradient is its piece of the whole.
  static func concat(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let axis = p.tape[n].axis
    let whole = p.layout(n)
    let a = p.a(n)
    let b = p.b(n)
    if p.wants(a) { p.add(a, p.view(g, dims: p.layout(a).dims, strides: whole.strides)) }
    if p.wants(b) {
      p.add(
        b,
        p.view(
          g, dims: p.layout(b).dims, strides: whole.strides,
          offset: p.layout(a).dims[axis] * whole.strides[axis]))
    }
  }
}
