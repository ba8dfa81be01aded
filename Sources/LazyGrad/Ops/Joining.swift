// Joining tensors.

internal import LazyGradJIT

/// Puts tensors one behind the other along an axis along which alone they may differ.
public func concatenate(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  guard let first = tensors.first else {
    return fail("concatenate", "expected at least one tensor, got none")
  }
  if let poison = tensors.lazy.compactMap({ poisoned($0) }).first { return poison }
  let position = axis < 0 ? axis + first.rank : axis
  if position < 0 || position >= first.rank {
    return fail("concatenate", "axis \(axis) is out of range for shape \(first.shape)", tensors)
  }
  var type = first.dtype
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
    type = DType.promoted(type, tensor.dtype)
    let (length, overflow) = whole[position].addingReportingOverflow(expected[position])
    whole[position] = length
    if overflow || !fitsMemory(whole) {
      return fail("concatenate", "the result has too many elements for memory", tensors)
    }
  }
  var pieces = tensors.map { $0.dtype == type ? $0 : $0.cast(to: type) }
  if pieces.count == 1 { return +pieces[0] }
  // Pairs of neighbours, then pairs of pairs: every element is moved a logarithmic number of times.
  while pieces.count > 1 {
    var next: [Tensor] = []
    for i in stride(from: 0, to: pieces.count - 1, by: 2) {
      next.append(joined(pieces[i], pieces[i + 1], position))
    }
    if pieces.count % 2 == 1 { next.append(pieces[pieces.count - 1]) }
    pieces = next
  }
  return pieces[0]
}

private func joined(_ a: Tensor, _ b: Tensor, _ axis: Int) -> Tensor {
  a.use()
  b.use()
  var dims = a.shape
  dims[axis] += b.shape[axis]
  return Tensor(
    Tape.general(
      .concat, a.slot, b.slot, type: a.slot.pointee.type,
      shape: LayoutTable.shared.intern(dims: dims), attribute: UInt32(axis), mode: Scope.mode))
}

/// Puts tensors of one shape behind each other along a new axis.
public func stack(_ tensors: [Tensor], axis: Int = 0) -> Tensor {
  guard let first = tensors.first else {
    return fail("stack", "expected at least one tensor, got none")
  }
  for tensor in tensors where tensor.shape != first.shape {
    return fail("stack", "shapes differ: \(first.shape) and \(tensor.shape)", tensors)
  }
  let position = axis < 0 ? axis + first.rank + 1 : axis
  if position < 0 || position > first.rank {
    return fail("stack", "axis \(axis) is out of range for shape \(first.shape)", tensors)
  }
  let result = concatenate(tensors.map { $0.expandedDims(at: position) }, axis: position)
  if result.kind != .poisoned { tensors.forEach { $0.clearOldGradient() } }
  return result
}

// MARK: - Derivative rules

enum JoiningRules {
  /// Each part's gradient is its piece of the whole.
  static func concat(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let axis = Int(p.tape[n].attribute)
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
