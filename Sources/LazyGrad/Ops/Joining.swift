// Joining tensors.

internal import LazyGradJIT

/// Puts tensors one behind the other along an axis along which alone they may differ.
@inlinable  // so that a list that is written down is not made on the heap
public func concatenate(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  tensors.withUnsafeBufferPointer { concatenate($0, axis) }
}

/// Puts tensors one behind the other: `concatenate(a, b, axis: 1)`.
public func concatenate(_ first: Tensor, _ others: Tensor..., axis: Int = 0) -> Tensor {
  concatenate([first] + others, axis: axis)
}

@usableFromInline
func concatenate(_ tensors: TensorList, _ axis: Int) -> Tensor {
  if tensors.isEmpty { return fail("concatenate", "expected at least one tensor, got none") }
  var position = 0
  return Tensor.record(tensors) {
    quicklyJoined($0, axis: axis, isNew: false, $1)
  } refusal: { slots in
    do throws(TensorError) {
      position = try LazyGrad.position(of: axis, in: tensors[0], "concatenate")
      if Tape.canJoin(slots, axis: position) { return nil }
      return refusedJoin(Array(tensors), axis, position)
    } catch { return fail(error, Array(tensors)) }
  } _: {
    joined($0, axis: position, isNew: false, $1)
  }
}

/// The tensors of a list where the caller has put them.
@usableFromInline typealias TensorList = UnsafeBufferPointer<Tensor>

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
@inlinable
public func stack(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  tensors.withUnsafeBufferPointer { stack($0, axis) }
}

/// Puts tensors of one shape behind each other along a new axis: `stack(a, b)`.
public func stack(_ first: Tensor, _ others: Tensor..., axis: Int = 0) -> Tensor {
  stack([first] + others, axis: axis)
}

@usableFromInline
func stack(_ tensors: TensorList, _ axis: Int) -> Tensor {
  if tensors.isEmpty { return fail("stack", "expected at least one tensor, got none") }
  var position = 0
  return Tensor.record(tensors) {
    quicklyJoined($0, axis: axis, isNew: true, $1)
  } refusal: { slots in
    do throws(TensorError) {
      let first = tensors[0]
      position = try LazyGrad.position(of: axis, in: first, rank: first.rank + 1, "stack")
      return Tape.canStack(slots) ? nil : refusedStack(Array(tensors), position)
    } catch { return fail(error, Array(tensors)) }
  } _: {
    joined($0, axis: position, isNew: true, $1)
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

/// Records tensors' handles one behind the other, if that is simple.
private func quicklyJoined(
  _ slots: UnsafeBufferPointer<SlotRef>, axis: Int, isNew: Bool, _ mode: RecordMode
) -> NewHandle? {
  slots.count > mostAtATime
    ? nil : Tape.joinIfSimple(slots, axis: axis, isNew: isNew, mode: mode)
}

/// Records tensors' handles, which fit, one behind the other.
private func joined(
  _ slots: UnsafeBufferPointer<SlotRef>, axis: Int, isNew: Bool, _ mode: RecordMode
) -> Tensor {
  // In turns: a window is to be run when it is full, not when all are recorded. The pairs are the same,
  // because their number is a power of two.
  if slots.count > mostAtATime {
    let parts = stride(from: 0, to: slots.count, by: mostAtATime).map { start in
      let part = start..<min(start + mostAtATime, slots.count)
      return Tensor.made(
        Tape.join(
          UnsafeBufferPointer(rebasing: slots[part]), axis: axis, isNew: isNew, mode: mode))
    }
    return parts.withUnsafeBufferPointer { parts in
      Tensor.record(parts) { joined($0, axis: axis, isNew: false, $1) }
    }
  }
  return .made(Tape.join(slots, axis: axis, isNew: isNew, mode: mode))
}
private let mostAtATime = 256

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
