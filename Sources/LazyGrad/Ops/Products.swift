// Matrix products.

internal import LazyGradJIT

/// The matrix product, as NumPy's `matmul`.
///
/// Matrices are multiplied over the last two axes, with the axes before them broadcast. A vector on
/// the left counts as a row, on the right as a column, and that axis is dropped again. Integers
/// and bools are multiplied in their own type. An array takes part as a constant, without a copy.
@inlinable
public func matmul(_ a: some ArrayOperand, _ b: some ArrayOperand) -> Tensor {
  matrixProduct(a._form, b._form)
}

@usableFromInline
func matrixProduct(_ a: Tensor, _ b: Tensor) -> Tensor {
  if let poison = poisoned(a, b) { return poison }
  if (a.kind == .plain && b.kind == .plain) || Tape.canMultiply(a.slot, b.slot) {
    let mode = Scope.mode
    a.rejoin()
    b.rejoin()
    if let handle = Tape.matrixProduct(a.slot, b.slot, mode: mode) { return .made(handle) }
  }
  return generalProduct(a, b)
}

/// Vectors, batches, mixed types, and operands that don't fit.
private func generalProduct(_ a: Tensor, _ b: Tensor) -> Tensor {
  if a.rank == 0 || b.rank == 0 {
    return fail("matmul", "expected at least one axis, got \(a.shape) x \(b.shape)", [a, b])
  }
  let (rows, columns) = (
    a.rank == 1 ? [1, a.count] : a.shape, b.rank == 1 ? [b.count, 1] : b.shape
  )
  let (m, k) = (rows[rows.count - 2], rows[rows.count - 1])
  let (k2, n) = (columns[columns.count - 2], columns[columns.count - 1])
  if k != k2 {
    return fail(
      "matmul", "inner dimensions differ: \(a.shape) x \(b.shape) (\(k) and \(k2))", [a, b])
  }
  guard let batch = Layout.broadcast(Array(rows.dropLast(2)), Array(columns.dropLast(2)))
  else {
    return fail(
      "matmul", "the axes before the last two don't broadcast: \(a.shape) x \(b.shape)", [a, b])
  }
  if !fitsMemory(batch + [m, n]) {
    return fail("matmul", "the result of \(a.shape) x \(b.shape) has too many elements", [a, b])
  }
  // Planning notes where the operands of every product of the batch begin, for both.
  do throws(TensorError) {
    try requireMemory(numbers: 8 * batch.reduce(1, *), "matmul")
  } catch { return fail(error, [a, b]) }
  a.rejoin()
  b.rejoin()
  let left = a.rank == 1 ? a.reshaped(rows) : a
  let right = b.rank == 1 ? b.reshaped(columns) : b
  let type = DType.promoted(a.dtype, b.dtype)
  let x = left.dtype == type ? left : left.cast(to: type)
  let y = right.dtype == type ? right : right.cast(to: type)
  for tensor in [a, b, x, y] { tensor.use() }
  let product = Tensor(
    Tape.general(
      .matmul, x.slot, y.slot, type: type.scalarType,
      shape: LayoutTable.shared.intern(dims: batch + [m, n]), mode: Scope.mode))
  if a.rank > 1, b.rank > 1 { return product }
  return product.turned(into: batch + (a.rank > 1 ? [m] : []) + (b.rank > 1 ? [n] : []))
}

enum ProductRules {
  @inline(never)
  static func matmul(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let a = p.a(n)
    let b = p.b(n)
    if p.wants(a) { p.add(a, product(p, g, transposed(p, b), like: a)) }
    if p.wants(b) { p.add(b, product(p, transposed(p, a), g, like: b)) }
  }

  /// A product whose last two axes are those of `operand`.
  private static func product(
    _ p: borrowing BackwardPass, _ x: UInt32, _ y: UInt32, like operand: UInt32
  ) -> UInt32 {
    if p.tape.rank(p.shape(x)) == 2, p.tape.rank(p.shape(y)) == 2 {
      return p.emit(.matmul, type: p.type(x), shape: p.shape(operand), x, y)
    }
    let left = p.layout(x).dims
    let right = p.layout(y).dims
    let batch = Layout.broadcast(Array(left.dropLast(2)), Array(right.dropLast(2)))!
    let dims = batch + [left[left.count - 2], right[right.count - 1]]
    return p.emit(.matmul, type: p.type(x), shape: LayoutTable.shared.intern(dims: dims), x, y)
  }

  /// The value with its last two axes swapped; the layout is remembered with the shape.
  private static func transposed(_ p: borrowing BackwardPass, _ n: UInt32) -> UInt32 {
    let id = p.value(n)
    let opcode = p.tape[id].opcode
    let isPlainLeaf = p.tape[id].layout == p.tape[id].shape
    if opcode != .view, opcode != .attach, opcode != .leaf || isPlainLeaf {
      return p.tape.matrixTransposed(id, keepsTraits: p.createsGraph, state: p.state)
    }
    let layout = p.layout(id)
    var dims = layout.dims
    var strides = layout.strides
    dims.swapAt(dims.count - 2, dims.count - 1)
    strides.swapAt(dims.count - 2, dims.count - 1)
    return p.view(id, dims: dims, strides: strides)
  }
}
