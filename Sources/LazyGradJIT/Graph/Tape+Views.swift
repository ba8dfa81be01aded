// Recording views of values, also of those that lie in memory in another order than C's: the memory of
// a strided host array, or what another view shows. Uses the checked entry.

extension Tape {
  /// Records a node's value as it lies in memory.
  func whole(_ value: UInt32, _ mode: RecordMode) -> UInt32 {
    let place = place(of: value)
    return view(place.source, layout: place.layout, offset: place.offset, state: mode.state)
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
  func part(of value: UInt32, _ target: LayoutID, _ offset: Int, _ mode: RecordMode) -> UInt32 {
    let place = place(of: value)
    let isInOrder = facts(place.layout).pointee.shape == place.layout
    if place.source == value, isInOrder {
      return view(value, layout: target, offset: offset, state: mode.state)
    }
    guard let part = LayoutTable.shared[place.layout].part(target, offset) else {
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
    return view(
      place.source, route: route, layout: part.layout, offset: place.offset + part.offset,
      state: mode.state)
  }

  /// The node whose memory a value lies in, and how.
  private func place(of value: UInt32) -> (source: UInt32, layout: LayoutID, offset: Int) {
    let node = nodes[Int(value)]
    switch node.opcode {
    case .view: return (a(value), node.attribute, Int(Int64(bitPattern: node.payload)))
    case .leaf: return (value, node.attribute, 0)
    default: return (value, node.shape, 0)
    }
  }

  /// The layout in memory of a handle's value.
  private func layoutInMemory(_ x: SlotRef) -> LayoutID {
    x.pointee.node == 0 ? x.pointee.layout : place(of: x.pointee.node &- 1).layout
  }

  /// Whether a part of a handle's value, a layout over its elements in C order, can be a view.
  package static func canView(_ x: SlotRef, layout target: LayoutID, offset: Int) -> Bool {
    let tape = hold(x)
    defer { tape.unlock() }
    let layout = tape.layoutInMemory(x)
    return layout == x.pointee.shape || LayoutTable.shared[layout].part(target, offset) != nil
  }

  /// Whether a handle's value lies in memory in C order.
  package static func isInOrder(_ x: SlotRef) -> Bool {
    let tape = hold(x)
    defer { tape.unlock() }
    return tape.layoutInMemory(x) == x.pointee.shape
  }
}
