// Recording views of values, also of those that lie in memory in another order than C's: the memory of
// a strided host array, or what another view shows. Uses the checked entry.

extension Tape {
  // MARK: Views of handles

  /// Records a handle's value as it lies in memory, or under another layout.
  ///
  /// - Parameters:
  ///   - parent: The view of `x` that the program makes this one of, if it does. What is recorded reads
  ///     `x`, but to clear its graph is to clear that of `parent`.
  ///   - target: A layout over the elements of `x` in C order, which are copied where no strides lead
  ///     from one to the next in memory; nil: the one that they have.
  package static func view(
    _ x: SlotRef, of parent: SlotRef? = nil, mode: RecordMode, layout target: LayoutID? = nil,
    offset: Int = 0
  ) -> SlotRef {
    let tape = if let parent { hold(x, parent) } else { hold(x) }
    defer { tape.unlock() }
    if let target { return tape.view(x, of: parent, target, offset, mode) }
    return tape.makeSlot(tape.whole(tape.operand(x), mode))
  }

  /// Records the view of `x`, or of its view `parent`, that a program has asked for, if the layout that it
  /// has is remembered.
  ///
  /// - Parameters:
  ///   - owner: The object of `x`.
  ///   - make: Makes the object of a handle, with a reference that is the caller's. The tape is locked
  ///     meanwhile: what views of `x` there are may be noted without another lock.
  ///   - renew: Makes the object of a view of `x` that nobody has any more one of the new view. Its handle, which
  ///     it names already, is the new view's. The tape is locked meanwhile.
  /// - Returns: The object; none where no layout is remembered, and where the elements would have to be
  ///   copied.
  @inline(__always)
  package static func knownView(
    _ x: SlotRef, _ owner: UnsafeMutableRawPointer, of parent: SlotRef? = nil, _ key: ViewKey,
    offset: Int, mode: RecordMode, make: (SlotRef) -> UnsafeMutableRawPointer,
    renew: (UnsafeMutableRawPointer) -> Void
  ) -> NewView {
    let tape = if let parent { hold(x, parent) } else { hold(x) }
    defer { tape.unlock() }
    let own = parent?.pointee.view ?? x.pointee.shape
    guard let known = tape.state.pointee.views.known(key, of: own, tape.state.pointee.limits),
      tape.canView(x, known.layout, offset)
    else { return .none }
    let recent = tape.takeRecentView(of: x)
    let slot = tape.view(x, of: parent, known.layout, offset, mode, in: recent?.slot)
    slot.isView = true
    if let recent {
      renew(recent.object)
      return NewView(object: recent.object, givenUp: nil)
    }
    let object = make(slot)
    return NewView(object: object, givenUp: tape.keepView(object, slot, of: x, owner))
  }

  /// The same with a layout over the elements of `x`, which are copied where no strides lead from one to
  /// the next in memory.
  ///
  /// - Parameter key: What has asked for the layout, to be remembered.
  package static func view(
    _ x: SlotRef, of parent: SlotRef?, layout: LayoutID, offset: Int, _ key: ViewKey?,
    mode: RecordMode, _ make: (SlotRef) -> UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer {
    let tape = if let parent { hold(x, parent) } else { hold(x) }
    defer { tape.unlock() }
    if let key {
      let own = parent?.pointee.view ?? x.pointee.shape
      tape.state.pointee.views.remember(key, of: own, as: layout, tape.state.pointee.limits)
    }
    let slot = tape.view(x, of: parent, layout, offset, mode)
    slot.isView = true
    return make(slot)
  }

  /// Drops the handle of a view.
  ///
  /// - Parameter forget: Takes the view out of what is noted of the views of `x`, whose tape is locked; it
  ///   is asked again later where it says that this can't be now.
  package static func release(_ slot: SlotRef, viewOf x: SlotRef, _ forget: () -> Bool) {
    var tape = hold(x)
    while !forget() {
      tape.unlock()
      yieldThread()
      tape = hold(x)
    }
    if slot.unlockedTape == tape {
      tape.releaseSlot(slot)
      tape.unlock()
    } else {
      tape.unlock()
      release(slot)
    }
  }

  /// The layout of a handle's value, or that of a view over the elements of its base; without a reference,
  /// because the handle names it.
  package static func ownLayout(of x: SlotRef, isView: Bool) -> Unmanaged<Layout> {
    let id = isView ? x.pointee.view : x.pointee.shape
    return x.unlockedTape.state.pointee.layouts[Int(id >> 12)]
      .unsafelyUnwrapped[Int(id & 4095)].unsafelyUnwrapped
  }

  /// The layout of such a view, if it is remembered, for who need not record it.
  package static func knownLayout(_ x: SlotRef, of own: LayoutID, _ key: ViewKey) -> LayoutID? {
    let tape = hold(x)
    defer { tape.unlock() }
    let known = tape.state.pointee.views.known(key, of: own, tape.state.pointee.limits)
    if let known { LayoutTable.shared.handOut(known.layout) }
    return known?.layout
  }

  /// Remembers the layout that views of `own` have, on the tape of `x`.
  package static func remember(
    _ key: ViewKey, of own: LayoutID, as layout: LayoutID, _ x: SlotRef
  ) {
    let tape = hold(x)
    defer { tape.unlock() }
    tape.state.pointee.views.remember(key, of: own, as: layout, tape.state.pointee.limits)
  }

  /// A layout that `make` works out from another one, once as long as it is remembered;
  /// `max` for none.
  package func layout(
    _ key: ViewKey, of layout: LayoutID, _ make: (Layout) -> LayoutID
  ) -> LayoutID {
    if let known = state.pointee.views.known(key, of: layout, state.pointee.limits) {
      return known.layout
    }
    let result = make(LayoutTable.shared[layout])
    state.pointee.views.remember(key, of: layout, as: result, state.pointee.limits)
    return result
  }

  /// - Parameter used: A handle without a value that is to be the view's; nil: a new one.
  @inline(__always)
  private func view(
    _ x: SlotRef, of parent: SlotRef?, _ target: LayoutID, _ offset: Int, _ mode: RecordMode,
    in used: SlotRef? = nil
  ) -> SlotRef {
    let id = part(of: operand(x), target, offset, mode)
    let node = nodes + Int(id)
    if mode.isTracking, let parent { node.pointee.parent = parent.node }
    let slot = used ?? newSlot()
    fill(
      slot, id, shape: node.pointee.shape, type: node.pointee.type, traits: node.pointee.traits)
    slot.pointee.view = target
    return slot
  }

  // MARK: Views of nodes

  /// Records a node's value as it lies in memory.
  func whole(_ value: UInt32, _ mode: RecordMode) -> UInt32 {
    let place = place(of: value)
    return view(
      place.source, of: value, layout: place.layout, offset: place.offset, state: mode.state)
  }

  /// Records a part of a node's value: a layout over its elements in C order.
  ///
  /// A view record names the record whose memory it shows, with a layout over that memory. It is also
  /// the way that gradients take, as long as the memory holds the value's elements in C order and the
  /// record is the value's own. Otherwise a second record says which elements of the value these are;
  /// only the derivative rule reads that:
  ///
  ///     value   a leaf over memory with strides, or a view of another node
  ///     route   view of `value`, with the layout over its elements; never run
  ///     view    of the memory, with a layout over that; its second operand is `route`
  @inline(__always)
  package func part(
    of value: UInt32, _ target: LayoutID, _ offset: Int, _ mode: RecordMode
  ) -> UInt32 {
    let node = nodes + Int(value)
    if node.pointee.opcode != .view, node.pointee.layout == node.pointee.shape {
      return view(value, layout: target, offset: offset, state: mode.state)
    }
    return partInMemory(of: value, target, offset, mode)
  }

  /// The same where the record is not the value's own, or its elements lie in another order.
  @inline(never)
  private func partInMemory(
    of value: UInt32, _ target: LayoutID, _ offset: Int, _ mode: RecordMode
  ) -> UInt32 {
    let place = place(of: value)
    guard let part = memoryPart(place.layout, target, offset) else {
      let copy = append(
        .copy, self[value].type, shape: self[value].shape, a: value,
        traits: self[value].traits.intersection(.inherited).union(.standIn), state: mode.state)
      return view(copy, layout: target, offset: offset, state: mode.state)
    }
    var route = Tape.none
    if mode.isTracking, self[value].traits.contains(.variable) {
      // It holds no lock: the view does.
      route = view(
        value, layout: target, offset: offset, state: mode.guarding(false).state)
    }
    // A constant that shows a variable's memory has parts that are constants.
    return view(
      place.source, of: value, route: route, layout: part.layout,
      offset: place.offset + part.offset, state: mode.state)
  }

  /// The node whose memory a value lies in, and how.
  private func place(of value: UInt32) -> (source: UInt32, layout: LayoutID, offset: Int) {
    let node = nodes[Int(value)]
    switch node.opcode {
    case .view: return (a(value), node.layout, node.regionStart)
    case .leaf: return (value, node.layout, 0)
    default: return (value, node.shape, 0)
    }
  }

  /// The layout in memory of a handle's value.
  @inline(__always)
  private func layoutInMemory(_ x: SlotRef) -> LayoutID {
    if let node = x.node { nodes[Int(node)].layout } else { x.pointee.layout }
  }

  /// What `Layout.part` says: a part of what lies in memory in some order, as it lies there.
  private func memoryPart(
    _ layout: LayoutID, _ target: LayoutID, _ offset: Int
  ) -> (layout: LayoutID, offset: Int)? {
    var key = ViewKey(.part)
    key.append(target)
    key.append(UInt32(truncatingIfNeeded: offset))
    key.append(UInt32(truncatingIfNeeded: offset >> 32))
    let views = state.pointee.views
    if let known = views.known(key, of: layout, state.pointee.limits) {
      return known.layout == .max ? nil : (known.layout, known.offset)
    }
    let part = LayoutTable.shared[layout].part(target, offset)
    views.remember(
      key, of: layout, as: part?.layout ?? .max, offset: part?.offset ?? 0, state.pointee.limits)
    return part
  }

  /// Whether a part of a handle's value, a layout over its elements in C order, can be a view.
  package static func canView(_ x: SlotRef, layout target: LayoutID, offset: Int) -> Bool {
    let tape = hold(x)
    defer { tape.unlock() }
    return tape.canView(x, target, offset)
  }

  @inline(__always)
  func canView(_ x: SlotRef, _ target: LayoutID, _ offset: Int) -> Bool {
    let layout = layoutInMemory(x)
    return layout == x.pointee.shape || memoryPart(layout, target, offset) != nil
  }

  /// Whether a handle's value lies in memory in C order.
  package static func isInOrder(_ x: SlotRef) -> Bool {
    let tape = hold(x)
    defer { tape.unlock() }
    return tape.layoutInMemory(x) == x.pointee.shape
  }
}
