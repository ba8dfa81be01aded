// The one way to record an operation. Only here an operation learns how it is to be recorded, so none can be
// recorded of poisoned operands, on a view that was cut off, or past a full window.

internal import LazyGradJIT

extension Tensor {
  // MARK: The entry

  /// Records an operation on up to three tensors:
  ///
  /// 1. If one is poisoned, that is the result.
  /// 2. `refusal` says whether the operands don't fit. It changes nothing, and neither does a refusal.
  /// 3. Views that were cut off are joined to their bases.
  /// 4. `body` records, in the manner that the scopes in force ask for, with one of the tape's entries:
  ///    these end old gradients, promote types and broadcast.
  @inline(__always)
  static func record(
    _ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil, refusal: () -> Tensor? = { nil },
    _ body: (RecordMode) -> Tensor
  ) -> Tensor {
    if let poison = poisoned(a, b, c) { return poison }
    if let refusal = refusal() { return refusal }
    return prepared(a, b, c, body)
  }

  /// The same without a look at operands that are neither views nor poisoned, if `body` finds that they
  /// fit: what everything else needs would be paid by every operation.
  ///
  /// - Parameter mode: nil: none is known without asking the task for its scopes.
  /// - Returns: nil where no mode is known, where an operand is something else, and where `body` records
  ///   nothing.
  @inline(__always)
  static func quick(
    _ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil,
    mode: @autoclosure () -> RecordMode? = Scope.mode, _ body: (RecordMode) -> NewHandle?
  ) -> Tensor? {
    guard let mode = mode(), a.kind == .plain, b.isPlain, c.isPlain,
      let handle = body(mode)
    else { return nil }
    return made(handle)
  }

  /// Steps 3 and 4 of an operation that is certain to be possible.
  @inline(__always)
  static func prepared<R>(
    _ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil, _ body: (RecordMode) -> R
  ) -> R {
    a.rejoin()
    b?.rejoin()
    c?.rejoin()
    return body(Scope.mode)
  }

  /// Records an operation on a list of tensors.
  ///
  /// - Parameters:
  ///   - quick: Records it where none of them is a view, if it finds that they fit; nil: it has recorded
  ///     nothing.
  ///   - refusal: As for `record`, given the tensors' handles; nil: `body` is to record.
  static func record(
    _ tensors: TensorList,
    quick: (UnsafeBufferPointer<SlotRef>, RecordMode) -> NewHandle? = { _, _ in nil },
    refusal: (UnsafeBufferPointer<SlotRef>) -> Tensor? = { _ in nil },
    _ body: (UnsafeBufferPointer<SlotRef>, RecordMode) -> Tensor
  ) -> Tensor {
    withUnsafeTemporaryAllocation(of: SlotRef.self, capacity: tensors.count) { slots in
      let unretained = unretained(tensors)
      var hasViews = false
      for k in 0..<tensors.count {
        let (slot, kind) = unretained[k]._withUnsafeGuaranteedRef { ($0.slot, $0.kind) }
        if kind == .poisoned { return tensors[k] }
        if kind == .view { hasViews = true }
        slots.initializeElement(at: k, to: slot)
      }
      let slots = UnsafeBufferPointer(slots)
      if !hasViews, let handle = quick(slots, Scope.mode) { return made(handle) }
      if let refusal = refusal(slots) { return refusal }
      if hasViews { for tensor in tensors { tensor.rejoin() } }
      return body(slots, Scope.mode)
    }
  }

  /// The tensors without references of their own: to retain and release one takes as long as to record it.
  static func unretained(
    _ tensors: TensorList
  ) -> UnsafeBufferPointer<Unmanaged<Tensor>> {
    UnsafeRawBufferPointer(tensors).assumingMemoryBound(to: Unmanaged<Tensor>.self)
  }

  /// Prepares an operand of which only views or casts are read by what is recorded: its old gradient ends
  /// as well.
  func use() { Self.prepared(self) { Tape.dropOldGradient(slot, $0) } }

  // MARK: Operations of one kind

  /// Records an operation on one tensor.
  @inline(__always)
  static func unary(_ opcode: Opcode, _ x: Tensor) -> Tensor {
    record(x) { made(Tape.elementwise(opcode, x.slot, mode: $0)) }
  }

  /// Records an operation on two tensors that broadcast together.
  @inline(__always)
  static func binary(_ opcode: Opcode, _ a: Tensor, _ b: Tensor) -> Tensor {
    // Truth values have no difference.
    if opcode == .sub, a.dtype == .bool { return carefulBinary(opcode, a, b) }
    let quick = quick(a, b, mode: Scope.quickMode) {
      Tape.elementwise(opcode, a.slot, b.slot, mode: $0)
    }
    if let quick { return quick }
    return carefulBinary(opcode, a, b)
  }

  @inline(never)
  private static func carefulBinary(_ opcode: Opcode, _ a: Tensor, _ b: Tensor) -> Tensor {
    record(a, b) {
      if Tape.broadcast(a.slot, b.slot) == nil { return cannotBroadcast(opcode, [a, b]) }
      let isRefused = opcode == .sub && a.dtype == .bool && b.dtype == .bool
      return isRefused ? refusedDifference([a, b]) : nil
    } _: {
      made(Tape.elementwise(opcode, a.slot, b.slot, mode: $0)!)
    }
  }

  /// Records an operation of a tensor and a number.
  @inline(__always)
  static func binary(
    _ opcode: Opcode, _ x: Tensor, _ number: WeakScalar, scalarFirst: Bool = false
  ) -> Tensor {
    record(x) {
      x.slot.pointee.type.isFloating ? nil : refusal(opcode, x, number)
    } _: {
      made(Tape.elementwise(opcode, x.slot, number, scalarFirst: scalarFirst, mode: $0))
    }
  }

  /// Records what `body` makes of this tensor's node, which is certain to be possible.
  @inline(__always)
  func compose(_ body: (Recorder) -> UInt32) -> Tensor {
    Self.record(self) { .made(Tape.compose(slot, mode: $0, body)) }
  }

  /// Records what `body` makes of the nodes of two tensors that broadcast together, as values of the
  /// floating type that they have in common, or that this is computed in.
  @inline(__always)
  static func composed(
    _ name: String, _ a: Tensor, _ b: Tensor, _ body: (Recorder, UInt32, UInt32) -> UInt32
  ) -> Tensor {
    record(a, b) {
      Tape.broadcast(a.slot, b.slot) == nil ? cannotBroadcast(name, [a, b]) : nil
    } _: { mode in
      let common = ScalarType.promoted(a.slot.pointee.type, b.slot.pointee.type)
      let type = common.isFloating ? common.computing : .float64
      return .made(
        Tape.compose(a.slot, b.slot, mode: mode) { r in
          body(r, r.cast(r.x, to: type), r.cast(r.y, to: type))
        })
    }
  }

  // MARK: Results

  /// The tensor of a handle that an operation returned: one that nobody has any more, or a new one.
  @inline(__always)
  static func made(_ handle: NewHandle) -> Tensor {
    guard let object = handle.object else { return kept(handle) }
    let tensor = Unmanaged<Tensor>.fromOpaque(object).takeRetainedValue()
    return handle.slot.pointee.isWindowFull ? fillingWindow(tensor) : tensor
  }

  @inline(never)
  private static func fillingWindow(_ tensor: Tensor) -> Tensor {
    guard let poison = tensor.lackOfRecords() else { return tensor }
    // The tape goes on using the object.
    tensor.dropRecord(for: poison)
    return Tensor(poison: poison)
  }

  @inline(never)
  private static func kept(_ handle: NewHandle) -> Tensor {
    let tensor = Tensor(handle.slot)
    if handle.isWanted, tensor.kind == .plain {
      Tape.keep(Unmanaged.passRetained(tensor).toOpaque(), handle.slot)
    }
    return tensor
  }

  @inline(never)
  static func cannotBroadcast(_ opcode: Opcode, _ operands: [Tensor]) -> Tensor {
    cannotBroadcast(opcode.info.name, operands)
  }

  @inline(never)
  static func cannotBroadcast(_ operation: String, _ operands: [Tensor]) -> Tensor {
    let shapes = operands.map { "\($0.shape)" }.joined(separator: " and ")
    return fail(
      operation, "expected shapes that broadcast together, got \(shapes)", operands)
  }
}

extension Tensor? {
  /// Whether this is neither a view nor poisoned, or is none.
  @inline(__always)
  fileprivate var isPlain: Bool { self == nil || unsafelyUnwrapped.kind == .plain }
}
