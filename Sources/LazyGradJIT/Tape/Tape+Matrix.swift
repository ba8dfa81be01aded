// Recording routines on matrices, whose shapes the tape remembers. Uses the checked entry.

extension MatrixCall {
  /// What a routine's value has if its operands have it: of factors only what is made of them has a gradient.
  @inline(__always)
  package static func inherited(_ attribute: UInt32) -> Node.Traits {
    attribute == Self.attribute(.factors) ? .none : .inherited
  }
}

extension Tape {
  /// Records a routine on matrices of one floating type, where the shape of its value is remembered.
  ///
  /// - Returns: nil where it is not; nothing has been recorded then.
  package static func matrix(
    _ x: SlotRef, _ y: SlotRef? = nil, _ z: SlotRef? = nil, attribute: UInt32, mode: RecordMode
  ) -> NewHandle? {
    let tape = hold(x, y, z)
    defer { tape.unlock() }
    let type = x.pointee.type
    guard type.isComputedFloat, y == nil || y!.pointee.type == type,
      let known = tape.state.pointee.views.known(
        matrixKey(y, attribute), of: x.pointee.shape, tape.state.pointee.limits)
    else { return nil }
    tape.dropOldGradient(x, mode)
    if let y { tape.dropOldGradient(y, mode) }
    if let z { tape.dropOldGradient(z, mode) }
    let recent = tape.takeRecent()
    let a = tape.operand(x)
    let b = y.map { tape.operand($0) } ?? Tape.none
    let c = z.map { tape.operand($0) } ?? Tape.none
    let id = tape.write(
      .matrix, type, known.layout, a, b, c, mode, attribute: attribute,
      inherited: MatrixCall.inherited(attribute))
    return tape.makeHandle(id, recent)
  }

  /// Remembers the shape of a routine's value.
  package static func rememberMatrix(
    _ x: SlotRef, _ y: SlotRef?, attribute: UInt32, result: LayoutID
  ) {
    remember(matrixKey(y, attribute), of: x.pointee.shape, as: result, x)
  }

  /// Records one of the results of a routine on matrices of a shape, which lie one behind the other in the
  /// value of a handle, as a value of its own, where its place is remembered.
  ///
  /// - Returns: nil where it is not; nothing has been recorded then.
  package static func matrixResult(
    _ x: SlotRef, _ k: Int, of attribute: UInt32, shape: LayoutID, mode: RecordMode
  ) -> NewHandle? {
    let tape = hold(x)
    defer { tape.unlock() }
    guard
      let known = tape.state.pointee.views.known(
        resultKey(k, attribute, shape), of: x.pointee.shape, tape.state.pointee.limits)
    else { return nil }
    let recent = tape.takeRecent()
    return tape.makeHandle(
      tape.part(of: tape.operand(x), known.layout, known.offset, mode), recent)
  }

  /// Remembers the place of a routine's result.
  package static func rememberMatrixResult(
    _ x: SlotRef, _ k: Int, of attribute: UInt32, shape: LayoutID, _ layout: LayoutID, _ offset: Int
  ) {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.state.pointee.views.remember(
      resultKey(k, attribute, shape), of: x.pointee.shape, as: layout, offset: offset,
      tape.state.pointee.limits)
  }

  private static func resultKey(_ k: Int, _ attribute: UInt32, _ shape: LayoutID) -> ViewKey {
    var key = ViewKey(ViewKey.Operation.result, k)
    key.append(attribute)
    key.append(shape)
    return key
  }

  private static func matrixKey(_ y: SlotRef?, _ attribute: UInt32) -> ViewKey {
    var key = ViewKey(ViewKey.Operation.matrix)
    key.append(attribute)
    if let y { key.append(y.pointee.shape) }
    return key
  }
}
