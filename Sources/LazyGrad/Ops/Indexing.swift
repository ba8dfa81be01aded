// In-place updates, through the tensor, through a view or through an index, and the derivative
// rules of operations on rows and regions.

internal import LazyGradJIT

extension Tensor {
  /// Adds in place; the tensor keeps its shape, type and constness, and all views see the result.
  @inlinable
  public static func += <B: TensorOperand>(a: inout Tensor, b: B) {
    B._Form._update(a, .add, b._form)
  }
  /// Subtracts in place.
  @inlinable
  public static func -= <B: TensorOperand>(a: inout Tensor, b: B) {
    B._Form._update(a, .sub, b._form)
  }
  /// Multiplies in place.
  @inlinable
  public static func *= <B: TensorOperand>(a: inout Tensor, b: B) {
    B._Form._update(a, .mul, b._form)
  }
  /// Divides in place.
  @inlinable
  public static func /= <B: TensorOperand>(a: inout Tensor, b: B) {
    B._Form._update(a, .div, b._form)
  }
  /// Raises to a power in place.
  @inlinable
  public static func **= <B: TensorOperand>(a: inout Tensor, b: B) {
    B._Form._update(a, .pow, b._form)
  }

  // The object changes, not the variable, so a `let` can be updated too. What can be assigned to
  // takes the operators above: `x[[0, 2]] += 1` works on a copy, which the setter must store.

  /// The same on a constant reference.
  @_disfavoredOverload
  @inlinable
  public static func += <B: TensorOperand>(a: Tensor, b: B) {
    B._Form._update(a, .add, b._form)
  }
  /// The same on a constant reference.
  @_disfavoredOverload
  @inlinable
  public static func -= <B: TensorOperand>(a: Tensor, b: B) {
    B._Form._update(a, .sub, b._form)
  }
  /// The same on a constant reference.
  @_disfavoredOverload
  @inlinable
  public static func *= <B: TensorOperand>(a: Tensor, b: B) {
    B._Form._update(a, .mul, b._form)
  }
  /// The same on a constant reference.
  @_disfavoredOverload
  @inlinable
  public static func /= <B: TensorOperand>(a: Tensor, b: B) {
    B._Form._update(a, .div, b._form)
  }
  /// The same on a constant reference.
  @_disfavoredOverload
  @inlinable
  public static func **= <B: TensorOperand>(a: Tensor, b: B) {
    B._Form._update(a, .pow, b._form)
  }

  /// Sets every element from a tensor that broadcasts to this one's shape, converted to its type by
  /// NumPy's casting rules.
  public func assign(_ value: Tensor) {
    if value.kind == .poisoned || kind == .poisoned { return }
    if canBeUpdated("assign", shape: value.shape) { update(value) }
  }

  /// An in-place operation with a tensor. What can't be carried out is refused before anything is
  /// recorded, so that the operands keep their gradients.
  public static func _update(_ a: Tensor, _ operation: _BinaryOperation, _ b: Tensor) {
    if b.kind == .poisoned || a.kind == .poisoned { return }
    if a.canBeUpdated(operation.update, shape: b.shape),
      a.canHold(DType.promoted(a.dtype, b.dtype), operation.update)
    {
      a.update(operation == .pow ? _power(a, b) : recordOperation(operation, a, b))
    }
  }

  /// An in-place operation with a number.
  public static func _update(_ a: Tensor, _ operation: _BinaryOperation, _ b: _Number) {
    if a.kind == .poisoned { return }
    if a.canBeUpdated(operation.update, shape: []),
      a.canHold(DType(b.weak.promoted(with: a.dtype.scalarType)), operation.update)
    {
      a.update(operation == .pow ? _power(a, b) : recordOperation(operation, a, b))
    }
  }

  /// Whether a value of a shape can be stored here, or in a part of this tensor; says so where it can't.
  func canBeUpdated(_ operation: String, shape other: [Int], part: LayoutID? = nil) -> Bool {
    let target = part.map { LayoutTable.shared[$0] } ?? ownLayout.layout
    if other != target.dims, Layout.broadcast(other, target.dims) != target.dims {
      _ = fail(operation, "shape \(other) does not fit into shape \(target.dims)", [self])
      return false
    }
    if !target.isContiguous, zip(target.dims, target.strides).contains(where: { $0 > 1 && $1 == 0 })
    {
      _ = fail(operation, "a tensor that was broadcast can't be updated in place", [self])
      return false
    }
    if kind == .view || part != nil, !target.isContiguous, target.mayOverlap {
      _ = fail(operation, "windows that overlap can't be updated in place", [self])
      return false
    }
    if (baseTensor ?? self).slot.isReadOnly {
      _ = fail(operation, "the tensor shows the memory of a read-only array", [self])
      return false
    }
    return true
  }

  /// Whether the result of an operation in a type can be stored here; says so where it can't. Division
  /// gives floats.
  private func canHold(_ other: DType, _ operation: String) -> Bool {
    let result = operation == "/=" && !other.isFloating ? .float64 : other
    if dtype.canHold(result) { return true }
    _ = fail(operation, "elements of type \(result) can't be put into \(dtype)", [self])
    return false
  }

  /// Gives this tensor a new value: a new version of the base that all views follow.
  ///
  /// What was recorded before keeps the old value. The caller has checked that the value fits.
  func update(_ value: Tensor) {
    if value.kind == .poisoned { return }
    // Itself, even where only a cast or a view of it is read.
    value.use()
    let typed = value.dtype == dtype ? value : value.cast(to: dtype)
    guard baseTensor != nil else {
      let full = typed.shapeID == shapeID ? +typed : +typed.broadcast(to: shape)
      renew { _ in full.surrenderedSlot() }
      return
    }
    let part = typed.shapeID == shapeID ? typed : typed.broadcast(to: shape)
    renew { base in
      Tensor.prepared(part) {
        Tape.general(
          .setRegion, base.slot, part.slot, type: base.slot.pointee.type, shape: base.shapeID,
          attribute: viewLayout, payload: UInt64(bitPattern: Int64(viewOffset)), mode: $0)
      }
    }
  }

  /// Gives the base of a view, or a tensor that is none, the new version that `record` makes.
  private func renew(_ record: (Tensor) -> SlotRef) {
    let target = baseTensor ?? self
    target.nullGradient()
    Tape.replace(target.slot, with: record(target))
    target.renewViews()
  }

  /// Gives the handle of a temporary away; the temporary keeps an empty one.
  fileprivate func surrenderedSlot() -> SlotRef { Tape.surrender(slot) }

  /// The in-place update behind `x[indices] = value`.
  func setIndexed(_ indices: [IndexComponent], _ key: ViewKey, _ value: Tensor) {
    if kind == .poisoned || value.kind == .poisoned { return }
    let own = ownLayout
    do throws(TensorError) {
      switch try IndexResolution.resolve(
        indices, dims: own.layout.dims, strides: own.layout.strides, offset: own.offset)
      {
      case .view(let window):
        let part = LayoutTable.shared.intern(dims: window.dims, strides: window.strides)
        Tape.remember(key, of: own.layout.id, as: part, slot)
        setPart(part, window.offset, value)
      case .gather(let gather): try setGathered(gather, value)
      }
    } catch { _ = fail(error, [self]) }
  }

  /// The same where the indices select a part of the base, or of this tensor where it is none.
  func setPart(_ part: LayoutID, _ offset: Int, _ value: Tensor) {
    if value.kind == .poisoned { return }
    // `x[i] += y` has updated the view already; storing it back would only copy.
    if let base = value.baseTensor, base === baseTensor ?? self, value.viewLayout == part,
      value.viewOffset == offset
    {
      return
    }
    // The view that is updated is made when that is certain: it would be a use of this tensor.
    if canBeUpdated("subscript", shape: value.shape, part: part) {
      view(layout: part, offset: offset).update(value)
    }
  }

  /// Index arrays: rows of the base, or of this tensor where it is none, are replaced. Of several
  /// writes to one element the last counts, and has the gradient.
  private func setGathered(_ gather: IndexedGather, _ value: Tensor) throws(TensorError) {
    let dims = gather.dims
    if Layout.broadcast(value.shape, dims) != dims {
      throw TensorError(
        operation: "subscript", message: "shape \(value.shape) does not fit into shape \(dims)")
    }
    if !canBeUpdated("subscript", shape: []) { return }
    var (width, numbers) = try gather.rows(of: (baseTensor ?? self).count)
    let kept = try IndexResolution.lastOfEach(numbers)
    if let kept { numbers = kept.map { numbers[$0] } }
    let rows = Tensor(adopting: try NDArray.make(numbers, dtype: .int64), isVariable: false)
    let picks = try kept.map { (kept) throws(TensorError) in
      Tensor(adopting: try NDArray.make(kept, dtype: .int64), isVariable: false)
    }
    value.use()
    let typed = value.dtype == dtype ? value : value.cast(to: dtype)
    var part = typed.shape == dims ? typed : typed.broadcast(to: dims)
    if let picks {
      part = part.reshaped([-1, width]).taking(picks, dims: [picks.count, width])
    }
    renew { base in
      Tensor.prepared(part) {
        Tape.general(
          .setRows, base.slot, part.slot, rows.slot, type: base.slot.pointee.type,
          shape: base.shapeID, payload: UInt64(width), mode: $0)
      }
    }
  }
}

// MARK: - Derivative rules

enum IndexRules {
  /// Rows add their gradients to where they came from.
  @inline(never)
  static func gatherRows(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let table = p.a(n)
    if !p.wants(table) { return }
    let onto = p.gradientOrZeros(table)
    p.setGradient(
      table,
      p.emit(
        .scatterAddRows, type: p.type(table), shape: p.shape(table), onto, g, p.value(p.b(n))))
  }

  static func scatterAddRows(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    if p.wants(p.a(n)) { p.add(p.a(n), g) }
    if p.wants(p.b(n)) {
      p.add(
        p.b(n),
        p.emit(.gatherRows, type: p.type(n), shape: p.shape(p.b(n)), g, p.value(p.c(n))))
    }
  }

  /// The old value keeps its gradient outside the rows, which are distinct; inside, it belongs to what
  /// was written.
  static func setRows(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let width = p.tape[n].rowLength
    let rows = p.value(p.c(n))
    if p.wants(p.a(n)) {
      let zero = p.emit(.copy, type: p.type(n), shape: p.shape(p.b(n)), p.number(0, n))
      p.add(
        p.a(n),
        p.emit(.setRows, type: p.type(n), shape: p.shape(n), g, zero, rows, payload: UInt64(width)))
    }
    if p.wants(p.b(n)) {
      let table = p.view(g, dims: [p.layout(n).count / width, width], strides: [width, 1])
      p.add(p.b(n), p.emit(.gatherRows, type: p.type(n), shape: p.shape(p.b(n)), table, rows))
    }
  }

  /// The old value keeps its gradient outside the region; inside, it belongs to what was written.
  static func setRegion(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let region = LayoutTable.shared[p.tape[n].region]
    let offset = p.tape[n].regionStart
    if p.wants(p.a(n)) {
      let zero = p.emit(
        .copy, type: p.type(n), shape: p.shape(p.b(n)), p.number(0, n))
      p.add(
        p.a(n),
        p.emit(
          .setRegion, type: p.type(n), shape: p.shape(n), g, zero, attribute: p.tape[n].region,
          payload: UInt64(bitPattern: Int64(offset))))
    }
    if p.wants(p.b(n)) {
      p.add(p.b(n), p.view(g, dims: region.dims, strides: region.strides, offset: offset))
    }
  }

  static func addRegion(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) {
    let region = LayoutTable.shared[p.tape[n].region]
    let offset = p.tape[n].regionStart
    if p.wants(p.a(n)) { p.add(p.a(n), g) }
    if p.wants(p.b(n)) {
      p.add(p.b(n), p.view(g, dims: region.dims, strides: region.strides, offset: offset))
    }
  }
}
