// Recording several nodes at a time: a composite has one lock, one handle and no handles for its parts.
// Uses the checked entry.

/// Records nodes on a tape that is locked. The caller has checked that shapes and types fit. No value that it
/// is given is float16 or bfloat16: those are float32 here, and the result is rounded once.
package struct Recorder {
  private let tape: Tape
  private let mode: RecordMode
  /// What nodes have if their operands have it.
  private let inherited: Node.Traits
  /// The handle's node.
  package let x: UInt32
  /// The second handle's node, where there is one.
  package let y: UInt32

  @inline(__always)
  fileprivate init(
    _ tape: Tape, _ mode: RecordMode, _ inherited: Node.Traits, _ x: UInt32, _ y: UInt32
  ) {
    self.tape = tape
    self.mode = mode
    self.inherited = inherited
    self.x = x
    self.y = y
  }

  /// The same for nodes that no gradient flows through.
  package var untracked: Recorder { Recorder(tape, .plain, .none, x, y) }

  /// Records an elementwise operation on values of one type, which broadcast.
  package func callAsFunction(
    _ opcode: Opcode, _ a: UInt32, _ b: UInt32 = Tape.none
  ) -> UInt32 {
    let isBool = tape.recording(opcode).contains(.bool)
    return write(
      opcode, isBool ? .bool : tape[a].type,
      b == Tape.none ? tape[a].shape : tape.broadcastShape(a, b), a, b)
  }

  /// Records `select`.
  package func select(_ condition: UInt32, _ a: UInt32, _ b: UInt32) -> UInt32 {
    write(
      .select, tape[a].type,
      tape.broadcastShape(shape: tape.broadcastShape(a, b), condition), condition, a, b)
  }

  /// A number of the type of `a`.
  package func number(_ value: Double, like a: UInt32) -> UInt32 {
    tape.append(.scalar, tape[a].type, shape: LayoutTable.scalar, payload: value.bitPattern)
  }

  /// Positions along the last axis of a shape.
  package func iota(shape: LayoutID) -> UInt32 { tape.append(.iota, .int64, shape: shape) }

  /// The value in another type; itself where it has that type.
  package func cast(_ a: UInt32, to type: ScalarType) -> UInt32 {
    tape[a].type == type ? a : converted(a, to: type)
  }

  /// The value in a type, as a new node also where it has that type.
  package func converted(_ a: UInt32, to type: ScalarType) -> UInt32 {
    tape.write(
      .cast, type, tape[a].shape, a, Tape.none, Tape.none, mode,
      inherited: type.isFloating ? inherited : .none)
  }

  /// The value as float64 where it has no floating type.
  package func floating(_ a: UInt32) -> UInt32 {
    tape[a].type.isFloating ? a : cast(a, to: .float64)
  }

  /// Records a reduction: one node per run of neighbouring axes, the last run first; over no axes a copy.
  package func reduce(
    _ opcode: Opcode, _ a: UInt32, over axes: AxisSet, keepDims: Bool = true
  ) -> UInt32 {
    tape.reduce(opcode, a, over: axes, keepDims: keepDims, mode, inherited)
  }

  /// Records a scan along an axis, which there is.
  package func scan(_ opcode: Opcode, _ a: UInt32, axis: Int) -> UInt32 {
    write(opcode, tape[a].type, tape[a].shape, a, attribute: UInt32(axis))
  }

  /// Records elements along an axis, which there is, in order, or their places.
  package func order(_ opcode: Opcode, _ a: UInt32, _ order: SortOrder) -> UInt32 {
    write(
      opcode, opcode == .argsort ? .int64 : tape[a].type, tape[a].shape, a,
      attribute: order.attribute)
  }

  /// The shape of a value with an axis of length 1.
  package func shape(of a: UInt32, cutTo1 axis: Int) -> LayoutID {
    tape.reduction(of: tape[a].shape, over: AxisSet(axis), keepDims: true).shape
  }

  /// The number of elements that each element of a reduction comes from.
  package func count(of a: UInt32, over axes: AxisSet) -> Int {
    let axes = axes.within(rank: tape.rank(tape[a].shape))
    return axes.isEmpty ? 1 : tape.reduction(of: tape[a].shape, over: axes, keepDims: true).count
  }

  /// The type of a value.
  package func type(_ a: UInt32) -> ScalarType { tape[a].type }

  /// Whether a value is of a floating type.
  package func isFloating(_ a: UInt32) -> Bool { tape[a].type.isFloating }

  /// The shape of a value.
  package func shape(_ a: UInt32) -> LayoutID { tape[a].shape }

  /// The elements of a value in another shape, as a view.
  package func reshaped(_ a: UInt32, to shape: LayoutID) -> UInt32 {
    tape.part(of: a, shape, 0, mode)
  }

  /// A value that is differentiated as a composite of `operand`, with a rule that the attribute names.
  package func attach(_ attribute: UInt32, _ operand: UInt32, _ value: UInt32) -> UInt32 {
    write(.attach, tape[operand].type, tape[operand].shape, operand, value, attribute: attribute)
  }

  private func write(
    _ opcode: Opcode, _ type: ScalarType, _ shape: LayoutID, _ a: UInt32, _ b: UInt32 = Tape.none,
    _ c: UInt32 = Tape.none, attribute: UInt32 = 0
  ) -> UInt32 {
    tape.write(opcode, type, shape, a, b, c, mode, attribute: attribute, inherited: inherited)
  }
}

extension Tape {
  /// Records what `body` makes of one or two handles, whose old gradients end, and returns a handle for
  /// it.
  package static func compose(
    _ x: SlotRef, _ y: SlotRef? = nil, mode: RecordMode, _ body: (Recorder) -> UInt32
  ) -> NewHandle {
    let tape = if let y { hold(x, y) } else { hold(x) }
    defer { tape.unlock() }
    tape.dropOldGradient(x, mode)
    if let y { tape.dropOldGradient(y, mode) }
    let recent = tape.takeRecent()
    let operands = (tape.operand(x), y.map { tape.operand($0) } ?? Tape.none)
    if x.pointee.type.isHalf || y != nil && y.unsafelyUnwrapped.pointee.type.isHalf {
      return tape.composeHalves(operands.0, operands.1, mode, recent, body)
    }
    let id = body(Recorder(tape, mode, .inherited, operands.0, operands.1))
    return tape.makeHandle(id, recent)
  }

  /// The same where float16 or bfloat16 is among the operands.
  @inline(never)
  private func composeHalves(
    _ x: UInt32, _ y: UInt32, _ mode: RecordMode, _ recent: RecentObjects.Place?,
    _ body: (Recorder) -> UInt32
  ) -> NewHandle {
    let own = self[x].type
    let common = y == Tape.none ? own : ScalarType.promoted(own, self[y].type)
    let id = body(Recorder(self, mode, .inherited, computed(x, mode), computed(y, mode)))
    return makeHandle(rounded(id, to: common, mode), recent)
  }

  /// Records what `body` makes of a handle and a leaf of whole numbers that no handle has, the recorder's
  /// `y`.
  ///
  /// - Parameter fill: Writes `count` numbers; false: they can't be used.
  /// - Returns: nil where the numbers can't be used or have no memory. Nothing has been recorded then.
  package static func compose(
    _ x: SlotRef, count: Int, layout: LayoutID, mode: RecordMode,
    numbers fill: (UnsafeMutablePointer<Int64>) -> Bool, _ body: (Recorder) -> UInt32
  ) -> NewHandle? {
    let tape = hold(x)
    defer { tape.unlock() }
    guard let storage = tape.numbers(count, fill) else { return nil }
    tape.dropOldGradient(x, mode)
    let recent = tape.takeRecent()
    let operand = tape.computed(tape.operand(x), mode)
    let leaf = tape.leaf(owning: storage, .int64, layout)
    let id = body(Recorder(tape, mode, .inherited, operand, leaf))
    return tape.makeHandle(tape.rounded(id, to: x.pointee.type, mode), recent)
  }

  /// Records a reduction of a handle's value. Over no axes it is a copy; what computes
  /// something of integers does it in int64.
  package static func reduction(
    _ opcode: Opcode, _ x: SlotRef, over axes: AxisSet, keepDims: Bool, mode: RecordMode
  ) -> NewHandle {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.dropOldGradient(x, mode)
    let recent = tape.takeRecent()
    let a = tape.operand(x)
    let type = x.pointee.type
    if type.isComputedFloat {
      return tape.makeHandle(
        tape.reduce(opcode, a, over: axes, keepDims: keepDims, mode, .inherited), recent)
    }
    let isExtreme = opcode.info.reducer?.extreme != nil
    let computing = type.isFloating || isExtreme ? type.computing : .int64
    let id = tape.reduce(
      opcode, tape.converted(a, to: computing, mode), over: axes, keepDims: keepDims, mode,
      .inherited)
    return tape.makeHandle(tape.rounded(id, to: type, mode), recent)
  }

  /// One node per run of neighbouring axes, the last run first.
  @inline(__always)
  fileprivate func reduce(
    _ opcode: Opcode, _ a: UInt32, over axes: AxisSet, keepDims: Bool, _ mode: RecordMode,
    _ inherited: Node.Traits
  ) -> UInt32 {
    let axes = axes.within(rank: rank(nodes[Int(a)].shape))
    if axes.isEmpty {
      return write(
        .copy, nodes[Int(a)].type, nodes[Int(a)].shape, a, Tape.none, Tape.none, mode,
        inherited: inherited)
    }
    let type = recording(opcode).contains(.int64) ? .int64 : nodes[Int(a)].type
    var result = a
    var rest = axes
    repeat {
      let step = reduction(of: nodes[Int(result)].shape, over: rest, keepDims: keepDims)
      result = write(
        opcode, type, step.shape, result, Tape.none, Tape.none, mode, attribute: step.attribute,
        inherited: inherited)
      rest = step.rest
    } while !rest.isEmpty
    return result
  }

  /// The number of axes of a handle's value.
  package static func rank(of x: SlotRef) -> Int { x.unlockedTape.rank(x.pointee.shape) }

  /// The number of elements of a handle's value.
  package static func count(of x: SlotRef) -> Int {
    x.unlockedTape.facts(x.pointee.shape).pointee.count
  }

  // MARK: Joining

  /// Whether handles' values fit one behind the other along an axis that the first has. Says no where it
  /// would have to look closer.
  package static func canJoin(_ slots: UnsafeBufferPointer<SlotRef>, axis: Int) -> Bool {
    let tape = hold(slots[0])
    defer { tape.unlock() }
    let shape = slots[0].pointee.shape
    var count = 0
    for slot in slots {
      let own = slot.pointee.shape
      if own != shape, tape.joinedShape(shape, own, axis: axis) == nil { return false }
      let part = tape.facts(own).pointee.count
      if part == 0 || count &+ part > LayoutTable.maxCount { return false }
      count &+= part
    }
    return true
  }

  /// Whether handles' values are of one shape, and fit one behind the other along a new axis. Says no where
  /// it would have to look closer.
  package static func canStack(_ slots: UnsafeBufferPointer<SlotRef>) -> Bool {
    let shape = slots[0].pointee.shape
    for slot in slots where slot.pointee.shape != shape { return false }
    let (count, overflow) = count(of: slots[0]).multipliedReportingOverflow(by: slots.count)
    return rank(of: slots[0]) < LayoutTable.maxRank && !overflow && count != 0
      && count <= LayoutTable.maxCount
  }

  /// Does both, to handles of one tape and one type: looks whether they fit, and records them.
  ///
  /// - Parameter axis: Counted from the end where it is negative; there may be no such axis.
  /// - Returns: nil where they don't, where it would have to look closer, and where they are of several tapes
  ///   or types. Nothing has been recorded then.
  package static func joinIfSimple(
    _ slots: UnsafeBufferPointer<SlotRef>, axis given: Int, isNew: Bool, mode: RecordMode
  ) -> NewHandle? {
    let tape = hold(slots[0])
    defer { tape.unlock() }
    let (shape, type) = (slots[0].pointee.shape, slots[0].pointee.type)
    let facts = tape.facts(shape)
    let rank = facts.pointee.rank &+ (isNew ? 1 : 0)
    let axis = given < 0 ? given &+ rank : given
    if axis < 0 || axis >= rank || rank > LayoutTable.maxRank { return nil }
    var count = 0
    var hasGradients = false
    for slot in slots {
      // The rest of a handle can be read where its tape is this one.
      guard slot.unlockedTape == tape, slot.pointee.type == type else { return nil }
      let own = slot.pointee.shape
      if own != shape, isNew || tape.joinedShape(shape, own, axis: axis) == nil { return nil }
      let part = own == shape ? facts.pointee.count : tape.facts(own).pointee.count
      if part == 0 || count &+ part > LayoutTable.maxCount { return nil }
      count &+= part
      if slot.pointee.gradient != nil || slot.hasUnitGradient { hasGradients = true }
    }
    if hasGradients { for slot in slots { tape.dropOldGradient(slot, mode) } }
    let recent = tape.takeRecent()
    return tape.join(slots, axis: axis, isNew: isNew, type, mode, recent)
  }

  /// Records handles' values, which fit, one behind the other along an axis, or along a new one.
  ///
  /// Pairs of neighbours are joined, then pairs of pairs: every element is moved a logarithmic number of
  /// times. A new axis before others takes no record per handle: to stack along it puts the elements in
  /// the order in which to join along the next one does, so the result of that is shown in another shape.
  /// (What has no elements may have axes whose lengths can't be added up.)
  package static func join(
    _ slots: UnsafeBufferPointer<SlotRef>, axis: Int, isNew: Bool, mode: RecordMode
  ) -> NewHandle {
    let tape = hold(all: slots)
    defer { tape.unlock() }
    var type = slots[0].pointee.type
    for slot in slots {
      tape.dropOldGradient(slot, mode)
      if slot.pointee.type != type { type = ScalarType.promoted(type, slot.pointee.type) }
    }
    return tape.join(slots, axis: axis, isNew: isNew, type, mode, tape.takeRecent())
  }

  /// The same on a tape that is locked and has all of them, as values of a type.
  @inline(__always)
  private func join(
    _ slots: UnsafeBufferPointer<SlotRef>, axis: Int, isNew: Bool, _ type: ScalarType,
    _ mode: RecordMode, _ recent: RecentObjects.Place?
  ) -> NewHandle {
    let shape = slots[0].pointee.shape
    let takesViews = isNew && (axis == rank(shape) || facts(shape).pointee.count == 0)
    let joined = withUnsafeTemporaryAllocation(of: UInt32.self, capacity: slots.count) { pieces in
      for k in 0..<slots.count {
        let slot = slots[k]
        var id = operand(slot)
        if takesViews {
          id = part(of: id, expandedShape(slot.pointee.shape, at: axis), 0, mode)
        }
        pieces.initializeElement(at: k, to: converted(id, to: type, mode))
      }
      return join(pieces, axis: axis, type, mode)
    }
    if !isNew || takesViews { return makeHandle(joined, recent) }
    return makeHandle(
      part(of: joined, expandedShape(shape, by: slots.count, at: axis), 0, mode), recent)
  }

  /// Records values, which fit, one behind the other; of one value a copy. The list is used up.
  @inline(__always)
  private func join(
    _ pieces: UnsafeMutableBufferPointer<UInt32>, axis: Int, _ type: ScalarType, _ mode: RecordMode
  ) -> UInt32 {
    var count = pieces.count
    if count == 1 {
      return write(
        .copy, type, nodes[Int(pieces[0])].shape, pieces[0], Tape.none, Tape.none, mode)
    }
    repeat {
      // Most pairs have the shapes of the one before.
      var (left, right, both) = (LayoutID.max, LayoutID.max, LayoutID.max)
      for k in 0..<count / 2 {
        let (a, b) = (pieces[2 * k], pieces[2 * k + 1])
        let shapes = (nodes[Int(a)].shape, nodes[Int(b)].shape)
        if shapes != (left, right) {
          (left, right) = shapes
          both = joinedShape(left, right, axis: axis).unsafelyUnwrapped
        }
        pieces[k] = write(
          .concat, type, both, a, b, Tape.none, mode, attribute: UInt32(axis))
      }
      if count % 2 == 1 { pieces[count / 2] = pieces[count - 1] }
      count = (count + 1) / 2
    } while count > 1
    return pieces[0]
  }
}
