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
  Tensor.quick(a, b) {
    Tape.matrixProduct(a.slot, b.slot, limit: fewProducts, mode: $0)
  }
    ?? Tensor.record(a, b) {
      refusedProduct(a, b)
    } _: {
      .made(Tape.matrixProduct(a.slot, b.slot, mode: $0)!)
    }
}

/// Batches of at most so many products are recorded without a look at the memory that they need.
private let fewProducts = 4096

/// What is wrong with the operands of a matrix product; nil where nothing is.
@inline(never)
private func refusedProduct(_ a: Tensor, _ b: Tensor) -> Tensor? {
  if let products = Tape.countProducts(a.slot, b.slot) {
    // Planning notes where the operands of every product of the batch begin, for both.
    do throws(TensorError) {
      try requireMemory(numbers: 8 * products, "matmul")
      return nil
    } catch { return fail(error, [a, b]) }
  }
  let what = "\(a.shape) x \(b.shape)"
  if a.rank == 0 || b.rank == 0 {
    return fail("matmul", "expected at least one axis, got \(what)", [a, b])
  }
  let (k, k2) = (a.shape[a.rank - 1], b.shape[max(b.rank - 2, 0)])
  if k != k2 {
    return fail("matmul", "inner dimensions differ: \(what) (\(k) and \(k2))", [a, b])
  }
  if Layout.broadcast(Array(a.shape.dropLast(2)), Array(b.shape.dropLast(2))) == nil {
    return fail("matmul", "the axes before the last two don't broadcast: \(what)", [a, b])
  }
  return fail("matmul", "the result of \(what) has too many elements", [a, b])
}

enum ProductRules {
  @inline(never)
  static func matmul(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let a = p.a(n)
    let b = p.b(n)
    if p.wants(a) {
      let isLong = isLong(p, a, b)
      p.add(a, isLong ? turnedProduct(p, b, g) : product(p, g, transposed(p, b), like: a))
    }
    if p.wants(b) { p.add(b, product(p, transposed(p, a), g, like: b)) }
  }

  /// Whether the gradient of `a` is a small matrix, sums over many columns of `b`, as that of the filters of a
  /// convolution, and has fewer rows than columns. What is on the right of a product is copied where it is
  /// transposed: the gradient of the product is less than `b` then, and what is made is small beside both.
  private static func isLong(_ p: borrowing BackwardPass, _ a: UInt32, _ b: UInt32) -> Bool {
    let (left, right) = (p.layout(a), p.layout(b))
    let columns = left.dims[left.rank - 1]
    if right.dims[right.rank - 1] < 16 * columns || right.count < 4096 { return false }
    let rows = left.dims[left.rank - 2]
    return rows > 1 && 2 * rows <= columns
  }

  /// `g` times `b` transposed as `b` times `g` transposed, which has the same sums, turned.
  private static func turnedProduct(
    _ p: borrowing BackwardPass, _ b: UInt32, _ g: UInt32
  ) -> UInt32 {
    let (left, right) = (p.layout(b).dims, p.layout(g).dims)
    let batch = Layout.broadcast(Array(left.dropLast(2)), Array(right.dropLast(2)))!
    let (rows, columns) = (left[left.count - 2], right[right.count - 2])
    let shape = LayoutTable.shared.intern(dims: batch + [rows, columns])
    let product = p.emit(
      .matmul, type: p.type(b), shape: shape, p.value(b), transposed(p, g))
    var strides = LayoutTable.shared[shape].strides
    strides.swapAt(batch.count, batch.count + 1)
    return p.emit(.copy, p.view(product, dims: batch + [columns, rows], strides: strides))
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
    var key = ViewKey(.swapped, -1)
    key.append(-2)
    let swapped = p.tape.layout(key, of: p.tape[id].shape) { shape in
      let (row, column) = (shape.rank - 2, shape.rank - 1)
      var (dims, strides) = (shape.dims, shape.strides)
      dims.swapAt(row, column)
      strides.swapAt(row, column)
      return LayoutTable.shared.intern(dims: dims, strides: strides)
    }
    return p.view(id, swapped)
  }
}
