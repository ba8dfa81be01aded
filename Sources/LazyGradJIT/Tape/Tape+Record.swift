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
    let operand = tape.operand(x)
    let type = x.pointee.type
    if type.isComputedFloat {
      let result = tape.recording(opcode).contains(.bool) ? .bool : type
      return tape.finish(opcode, result, x.pointee.shape, operand, Tape.none, mode, recent)
    }
    if type.isHalf { return tape.unary(opcode, half: operand, mode, recent) }
    let row = tape.recording(opcode)
    let computing = operandType(row, type)
    let a = tape.converted(operand, to: computing, mode)
    return tape.finish(
      opcode, row.contains(.bool) ? .bool : computing, x.pointee.shape, a, Tape.none, mode, recent)
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
    if y.pointee.type == type, type.isComputedFloat {
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
    let a = tape.operand(x)
    let type = x.pointee.type
    if type.isComputedFloat {
      let s = tape.append(
        .scalar, type, shape: LayoutTable.scalar, payload: scalar.double.bitPattern)
      let (first, second) = scalarFirst ? (s, a) : (a, s)
      let result = tape.recording(opcode).contains(.bool) ? .bool : type
      return tape.finish(opcode, result, x.pointee.shape, first, second, mode, recent)
    }
    let common = scalar.promoted(with: type)
    let computing = operandType(tape.recording(opcode), common)
    // Beside float16 and bfloat16 a number is one of them, as in NumPy.
    let bits = scalar.bits(common.isHalf ? common : computing)
    let s = tape.append(.scalar, computing, shape: LayoutTable.scalar, payload: bits)
    return scalarFirst
      ? tape.binary(opcode, s, a, x.pointee.shape, common, mode, recent)
      : tape.binary(opcode, a, s, x.pointee.shape, common, mode, recent)
  }

  @inline(__always)
  func recording(_ opcode: Opcode) -> Opcode.Recording {
    state.pointee.recording[Int(opcode.rawValue)]
  }

  /// The type that an operation on elements of a type computes in.
  @inline(__always)
  private static func operandType(_ row: Opcode.Recording, _ type: ScalarType) -> ScalarType {
    !type.isFloating && row.contains(.floating) ? .float64 : type.computing
  }

  /// An operand of a type in which nothing is computed; a copy computes nothing.
  @inline(never)
  private func unary(
    _ opcode: Opcode, half x: UInt32, _ mode: RecordMode, _ recent: RecentObjects.Place?
  ) -> NewHandle {
    let a = opcode == .copy ? x : computed(x, mode)
    let type = recording(opcode).contains(.bool) ? .bool : self[a].type
    let result = write(opcode, type, self[x].shape, a, Tape.none, Tape.none, mode)
    return makeHandle(rounded(result, to: self[x].type, mode), recent)
  }

  /// Operands of a type that has to be found first, or not the one that the operation computes in.
  @inline(never)
  private func binary(
    _ opcode: Opcode, _ x: UInt32, _ y: UInt32, _ shape: LayoutID, _ common: ScalarType,
    _ mode: RecordMode, _ recent: RecentObjects.Place?
  ) -> NewHandle {
    let row = recording(opcode)
    let type = Tape.operandType(row, common)
    let a = converted(x, to: type, mode)
    let b = converted(y, to: type, mode)
    let result = row.contains(.bool) ? .bool : type
    if !common.isHalf { return finish(opcode, result, shape, a, b, mode, recent) }
    let id = write(opcode, result, shape, a, b, Tape.none, mode)
    return makeHandle(rounded(id, to: common, mode), recent)
  }

  // MARK: Types in which nothing is computed

  /// What was computed for operands whose common type is `type`: a float32 is rounded where that is float16
  /// or bfloat16.
  func rounded(_ id: UInt32, to type: ScalarType, _ mode: RecordMode) -> UInt32 {
    if !type.isHalf || self[id].type != .float32 { return id }
    return write(
      .cast, type, self[id].shape, id, Tape.none, Tape.none, mode, attribute: Node.impliedCast)
  }

  /// A value as an operand of what computes.
  func computed(_ id: UInt32, _ mode: RecordMode) -> UInt32 {
    id == Tape.none ? id : converted(id, to: self[id].type.computing, mode)
  }

  /// The name of the operation that a record is a part of: of a conversion that was recorded with an
  /// operation on float16 or bfloat16 that operation's.
  package func operationName(_ id: UInt32) -> String {
    let name = self[id].opcode.info.name
    guard self[id].isImpliedCast else { return name }
    if self[id].type.isHalf { return self[a(id)].opcode.info.name }
    for reader in id + 1..<max(count, id + 1) where !self[reader].state.contains(.dead) {
      if hasOperands(reader), [a(reader), b(reader), c(reader)].contains(id) {
        return self[reader].opcode.info.name
      }
    }
    return name
  }

  @inline(__always)
  func converted(_ id: UInt32, to type: ScalarType, _ mode: RecordMode) -> UInt32 {
    nodes[Int(id)].type == type ? id : cast(id, to: type, mode)
  }

  @inline(never)
  private func cast(_ id: UInt32, to type: ScalarType, _ mode: RecordMode) -> UInt32 {
    append(
      .cast, type, shape: self[id].shape, a: id,
      attribute: self[id].type.isHalf && type == .float32 ? Node.impliedCast : 0,
      traits: type.isFloating ? self[id].traits.intersection(.inherited) : .none, state: mode.state)
  }

  /// Records a handle's value in another type, as a new node also where it has that type.
  ///
  /// - Parameter isImplied: Whether it is part of an operation of the library's, from or to 16 bits.
  package static func cast(
    _ x: SlotRef, to type: ScalarType, isImplied: Bool = false, mode: RecordMode
  ) -> NewHandle {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.dropOldGradient(x, mode)
    let recent = tape.takeRecent()
    let id = tape.write(
      .cast, type, x.pointee.shape, tape.operand(x), Tape.none, Tape.none, mode,
      attribute: isImplied ? Node.impliedCast : 0,
      inherited: type.isFloating ? .inherited : .none)
    return tape.makeHandle(id, recent)
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
    if type == y.pointee.type, shapes.left == x.pointee.shape, shapes.right == y.pointee.shape,
      !type.isHalf
    {
      return tape.finish(.matmul, type, shapes.product, a, b, mode, recent)
    }
    return tape.matrixProduct(
      a, b, shapes, ScalarType.promoted(type, y.pointee.type), mode, recent)
  }

  /// The same for vectors, and for operands of two types.
  @inline(never)
  private func matrixProduct(
    _ a: UInt32, _ b: UInt32, _ shapes: ProductShapes, _ common: ScalarType, _ mode: RecordMode,
    _ recent: RecentObjects.Place?
  ) -> NewHandle {
    let type = common.computing
    func matrix(_ value: UInt32, _ shape: LayoutID) -> UInt32 {
      converted(
        self[value].shape == shape ? value : part(of: value, shape, 0, mode), to: type, mode)
    }
    let exact = write(
      .matmul, type, shapes.product, matrix(a, shapes.left), matrix(b, shapes.right), Tape.none,
      mode)
    let product = rounded(exact, to: common, mode)
    return makeHandle(
      shapes.result == shapes.product ? product : part(of: product, shapes.result, 0, mode), recent)
  }

  /// Records an operation whose result the caller has worked out and checked; the operands' old gradients
  /// end.
  package static func general(
    _ opcode: Opcode, _ x: SlotRef, _ y: SlotRef? = nil, _ z: SlotRef? = nil, type: ScalarType,
    shape: LayoutID, attribute: UInt32 = 0, payload: UInt64 = 0,
    inherited: Node.Traits = .inherited,
    mode: RecordMode
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
      tape.write(
        opcode, type, shape, a, b, c, mode, attribute: attribute, payload: payload,
        inherited: inherited))
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

  /// Records a view of a node's memory.
  ///
  /// - Parameter value: What it is a view of as far as gradients go; nil: the node.
  @inline(__always)
  package func view(
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
