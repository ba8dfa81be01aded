// The checked entry: every operation that a user's program records comes through here. Shapes are
// checked and promoted, operands are brought into one tape and window, and one node is written.

/// How an operation is recorded: what the scopes in force say.
public struct RecordMode: Sendable {
  /// The state that a record begins with.
  public let state: Node.State
  /// Whether backward information is kept.
  @inlinable public var isTracking: Bool { state.contains(.tracked) }
  /// With backward information or without, under the guard or not.
  @inlinable @inline(__always)
  public init(tracking: Bool, guarding: Bool) {
    var state = Node.State.none
    if tracking {
      state.insert(.tracked)
      if guarding { state.insert(.guarded) }
    }
    self.state = state
  }
  /// Whether operands are locked.
  @inlinable public var isGuarding: Bool { state.contains(.guarded) }
  /// The same with the guard on or off.
  public func guarding(_ isOn: Bool) -> RecordMode {
    RecordMode(tracking: isTracking, guarding: isOn)
  }
  /// The library's own nodes: no backward information, no guard. Computed, because a stored one is
  /// asked for through a call.
  @inlinable public static var plain: RecordMode { RecordMode(tracking: false, guarding: false) }
}

extension Tape {
  // MARK: Elementwise

  /// Records an elementwise operation on one handle.
  package static func elementwise(_ opcode: Opcode, _ x: SlotRef, mode: RecordMode) -> NewHandle {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.dropOldGradient(x, mode)
    let recent = tape.takeRecent()
    let row = tape.recording(opcode)
    let operand = tape.operand(x)
    let type = resultOperandType(row, x.pointee.type)
    let a = tape.converted(operand, to: type, mode)
    return tape.finish(
      opcode, row.contains(.bool) ? .bool : type, x.pointee.shape, a, Tape.none, mode, recent)
  }

  /// Records an elementwise operation on two handles, which broadcast and are promoted to one type.
  ///
  /// - Returns: nil where the shapes don't fit; nothing has been recorded then.
  package static func elementwise(
    _ opcode: Opcode, _ x: SlotRef, _ y: SlotRef, mode: RecordMode
  ) -> NewHandle? {
    let tape = hold(x, y)
    defer { tape.unlock() }
    guard let shape = tape.broadcast(x.pointee.shape, y.pointee.shape)
    else { return nil }
    tape.dropOldGradient(x, mode)
    tape.dropOldGradient(y, mode)
    let recent = tape.takeRecent()
    let a = tape.operand(x)
    let b = tape.operand(y)
    let row = tape.recording(opcode)
    let type = x.pointee.type
    if y.pointee.type == type, type.isFloating {
      return tape.finish(
        opcode, row.contains(.bool) ? .bool : type, shape, a, b, mode, recent)
    }
    return tape.binary(opcode, a, b, shape, ScalarType.promoted(type, y.pointee.type), mode, recent)
  }

  /// The shape that handles broadcast to together; nil where they don't fit. For who has to know before
  /// anything is done with them.
  package static func broadcast(_ x: SlotRef, _ y: SlotRef, _ z: SlotRef? = nil) -> LayoutID? {
    let tape = hold(x)
    defer { tape.unlock() }
    let both = tape.broadcast(x.pointee.shape, y.pointee.shape)
    guard let z, let both else { return both }
    return tape.broadcast(both, z.pointee.shape)
  }

  /// Records `select`: a condition and two handles, which broadcast and are promoted to one type.
  ///
  /// - Returns: nil where the shapes don't fit; nothing has been recorded then.
  package static func select(
    _ condition: SlotRef, _ x: SlotRef, _ y: SlotRef, mode: RecordMode
  ) -> NewHandle? {
    let tape = hold(condition, x, y)
    defer { tape.unlock() }
    guard let both = tape.broadcast(condition.pointee.shape, x.pointee.shape),
      let shape = tape.broadcast(both, y.pointee.shape)
    else { return nil }
    tape.dropOldGradient(condition, mode)
    tape.dropOldGradient(x, mode)
    tape.dropOldGradient(y, mode)
    let recent = tape.takeRecent()
    let operands = (tape.operand(condition), tape.operand(x), tape.operand(y))
    let type = ScalarType.promoted(x.pointee.type, y.pointee.type)
    let a = tape.converted(operands.0, to: .bool, mode)
    let b = tape.converted(operands.1, to: type, mode)
    let c = tape.converted(operands.2, to: type, mode)
    return tape.makeHandle(tape.write(.select, type, shape, a, b, c, mode), recent)
  }

  /// Records an operation between a handle and a Swift number. The caller has refused numbers that the
  /// handle's type can't hold, unless the operation compares or divides.
  package static func elementwise(
    _ opcode: Opcode, _ x: SlotRef, _ scalar: WeakScalar, scalarFirst: Bool, mode: RecordMode
  ) -> NewHandle {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.dropOldGradient(x, mode)
    let recent = tape.takeRecent()
    let type = resultOperandType(
      tape.recording(opcode), scalar.promoted(with: x.pointee.type))
    let a = tape.operand(x)
    let s = tape.append(.scalar, type, shape: LayoutTable.scalar, payload: scalar.bits(type))
    return scalarFirst
      ? tape.binary(opcode, s, a, x.pointee.shape, type, mode, recent)
      : tape.binary(opcode, a, s, x.pointee.shape, type, mode, recent)
  }

  @inline(__always)
  func recording(_ opcode: Opcode) -> Opcode.Recording {
    state.pointee.recording[Int(opcode.rawValue)]
  }

  @inline(__always)
  private static func resultOperandType(_ row: Opcode.Recording, _ type: ScalarType) -> ScalarType {
    !type.isFloating && row.contains(.floating) ? .float64 : type
  }

  /// Operands of a type that has to be found first, or not the one that the operation wants.
  private func binary(
    _ opcode: Opcode, _ x: UInt32, _ y: UInt32, _ shape: LayoutID, _ common: ScalarType,
    _ mode: RecordMode, _ recent: RecentObjects.Place?
  ) -> NewHandle {
    let row = recording(opcode)
    let type = Tape.resultOperandType(row, common)
    let a = converted(x, to: type, mode)
    let b = converted(y, to: type, mode)
    return finish(opcode, row.contains(.bool) ? .bool : type, shape, a, b, mode, recent)
  }

  @inline(__always)
  func converted(_ id: UInt32, to type: ScalarType, _ mode: RecordMode) -> UInt32 {
    nodes[Int(id)].type == type ? id : cast(id, to: type, mode)
  }

  @inline(never)
  private func cast(_ id: UInt32, to type: ScalarType, _ mode: RecordMode) -> UInt32 {
    append(
      .cast, type, shape: self[id].shape, a: id,
      traits: type.isFloating ? self[id].traits.intersection(.inherited) : .none, state: mode.state)
  }

  /// Records an operation and makes its handle.
  @inline(__always)
  func finish(
    _ opcode: Opcode, _ type: ScalarType, _ shape: LayoutID, _ a: UInt32, _ b: UInt32,
    _ mode: RecordMode, attribute: UInt32 = 0, _ recent: RecentObjects.Place?
  ) -> NewHandle {
    let id = write(opcode, type, shape, a, b, Tape.none, mode, attribute: attribute)
    return makeHandle(id, shape: shape, type: type, traits: nodes[Int(id)].traits, recent)
  }

  /// Writes the record of an operation; `inherited` is what it has if its operands have it.
  @inline(__always)
  func write(
    _ opcode: Opcode, _ type: ScalarType, _ shape: LayoutID, _ a: UInt32, _ b: UInt32, _ c: UInt32,
    _ mode: RecordMode, attribute: UInt32 = 0, payload: UInt64 = 0,
    inherited: Node.Traits = .inherited
  ) -> UInt32 {
    var traits = nodes[Int(a)].traits
    if b != Tape.none { traits.formUnion(nodes[Int(b)].traits) }
    if c != Tape.none { traits.formUnion(nodes[Int(c)].traits) }
    // No operand has any where the result is no floating type, but that of a cast.
    traits = traits.intersection(inherited).intersection(recording(opcode).inherited)
    assert(type.isFloating || traits.rawValue == 0)
    state.pointee.pendingBytes &+= facts(shape).pointee.count &* type.size
    return append(
      opcode, type, shape: shape, a: a, b: b, c: c, attribute: attribute, payload: payload,
      traits: traits, state: mode.state)
  }

  // MARK: Everything else

  /// The number of products of two matrices that a matrix product consists of; nil where the operands
  /// don't fit. For who has to know before anything is done with them.
  package static func countProducts(_ x: SlotRef, _ y: SlotRef) -> Int? {
    let tape = hold(x)
    defer { tape.unlock() }
    return tape.productShapes(x.pointee.shape, y.pointee.shape)?.batch
  }

  /// Records a matrix product of at most `limit` products of two matrices.
  ///
  /// - Returns: nil where it has more, and where the operands don't fit; nothing has been recorded then.
  package static func matrixProduct(
    _ x: SlotRef, _ y: SlotRef, limit: Int = .max, mode: RecordMode
  ) -> NewHandle? {
    let tape = hold(x, y)
    defer { tape.unlock() }
    guard let shapes = tape.productShapes(x.pointee.shape, y.pointee.shape), shapes.batch <= limit
    else { return nil }
    tape.dropOldGradient(x, mode)
    tape.dropOldGradient(y, mode)
    let recent = tape.takeRecent()
    let a = tape.operand(x)
    let b = tape.operand(y)
    let type = x.pointee.type
    if type == y.pointee.type, shapes.left == x.pointee.shape, shapes.right == y.pointee.shape {
      return tape.finish(.matmul, type, shapes.product, a, b, mode, recent)
    }
    return tape.matrixProduct(
      a, b, shapes, ScalarType.promoted(type, y.pointee.type), mode, recent)
  }

  /// The same for vectors, and for operands of two types.
  @inline(never)
  private func matrixProduct(
    _ a: UInt32, _ b: UInt32, _ shapes: ProductShapes, _ type: ScalarType, _ mode: RecordMode,
    _ recent: RecentObjects.Place?
  ) -> NewHandle {
    func matrix(_ value: UInt32, _ shape: LayoutID) -> UInt32 {
      converted(
        self[value].shape == shape ? value : part(of: value, shape, 0, mode), to: type, mode)
    }
    let product = write(
      .matmul, type, shapes.product, matrix(a, shapes.left), matrix(b, shapes.right), Tape.none,
      mode)
    return makeHandle(
      shapes.result == shapes.product ? product : part(of: product, shapes.result, 0, mode), recent)
  }

  /// Records an operation whose result the caller has worked out and checked; the operands' old gradients
  /// end.
  package static func general(
    _ opcode: Opcode, _ x: SlotRef, _ y: SlotRef? = nil, _ z: SlotRef? = nil, type: ScalarType,
    shape: LayoutID, attribute: UInt32 = 0, payload: UInt64 = 0, mode: RecordMode
  ) -> SlotRef {
    let tape = hold(x, y, z)
    defer { tape.unlock() }
    tape.dropOldGradient(x, mode)
    if let y { tape.dropOldGradient(y, mode) }
    if let z { tape.dropOldGradient(z, mode) }
    let a = tape.operand(x)
    let b = y.map { tape.operand($0) } ?? Tape.none
    let c = z.map { tape.operand($0) } ?? Tape.none
    return tape.makeSlot(
      tape.write(opcode, type, shape, a, b, c, mode, attribute: attribute, payload: payload))
  }

  /// Records an array whose every element is one number; nothing is stored for it.
  package static func filled(
    _ value: WeakScalar, type: ScalarType, shape: LayoutID, isVariable: Bool
  ) -> SlotRef {
    let tape = current
    return tape.locked {
      let s = tape.append(.scalar, type, shape: LayoutTable.scalar, payload: value.bits(type))
      return tape.makeSlot(
        tape.append(.copy, type, shape: shape, a: s, traits: isVariable ? .variable : .none))
    }
  }

  /// Records positions along the last axis of a shape.
  package static func iota(shape: LayoutID) -> SlotRef {
    let tape = current
    return tape.locked { tape.makeSlot(tape.append(.iota, .int64, shape: shape)) }
  }

  /// Records a view of a node; strides and offset count in the elements of the node's memory.
  package func view(
    _ source: UInt32, dims: [Int], strides: [Int], offset: Int, state: Node.State
  ) -> UInt32 {
    view(
      source, layout: LayoutTable.shared.intern(dims: dims, strides: strides), offset: offset,
      state: state)
  }

  /// Records a view of a node's memory.
  ///
  /// - Parameter value: What it is a view of as far as gradients go; nil: the node.
  func view(
    _ source: UInt32, of value: UInt32? = nil, route: UInt32 = Tape.none, layout: LayoutID,
    offset: Int, state: Node.State
  ) -> UInt32 {
    var traits = self[value ?? source].traits.intersection(.inherited)
    if self[source].opcode == .leaf { traits.insert(.leafView) }
    return append(
      .view, self[source].type, shape: facts(layout).pointee.shape, a: source, b: route,
      attribute: layout, payload: UInt64(bitPattern: Int64(offset)), traits: traits, state: state)
  }

  /// Where the value of an evaluated node is.
  package func location(
    of id: UInt32
  ) -> (storage: Unmanaged<Storage>, layout: LayoutID, offset: Int) { value(of: id) }

  // MARK: Operands by id

  /// The id of the first operand; the node's own where there is none.
  @inlinable @inline(__always)
  public func a(_ id: UInt32) -> UInt32 { id &- nodes[Int(id)].a }
  /// The id of the second operand; the node's own where there is none.
  @inlinable @inline(__always)
  public func b(_ id: UInt32) -> UInt32 { id &- nodes[Int(id)].b }
  /// The id of the third operand; the node's own where there is none.
  @inlinable @inline(__always)
  public func c(_ id: UInt32) -> UInt32 { id &- nodes[Int(id)].c }
  /// Whether the node has operands.
  @inlinable @inline(__always)
  public func hasOperands(_ id: UInt32) -> Bool { nodes[Int(id)].a != 0 }
}
