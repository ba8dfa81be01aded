// Writing a record: the one place where nodes come into being, where the streaming signature grows
// and where values from outside the window get their leaf records.

import Synchronization

extension Tape {
  /// No operand.
  @inlinable public static var none: UInt32 { UInt32.max }

  package var count: UInt32 { state.pointee.count }

  /// Writes one record. The caller has checked everything; operands lie in the window.
  ///
  /// Inlined into the derivative rules as well, where most of the arguments are known when they are
  /// compiled; as a call it would pass nine of them through memory.
  ///
  /// - Complexity: a few nanoseconds, amortised.
  @inlinable @inline(__always)
  public func append(
    _ opcode: Opcode, _ type: ScalarType, shape: LayoutID, a: UInt32 = Tape.none,
    b: UInt32 = Tape.none, c: UInt32 = Tape.none, attribute: UInt32 = 0, payload: UInt64 = 0,
    traits: Node.Traits = .none, state nodeState: Node.State = .none
  ) -> UInt32 {
    let id = state.pointee.count
    if id == state.pointee.capacity { grow() }
    let nodes = state.pointee.nodes
    var relA: UInt32 = 0
    var relB: UInt32 = 0
    var relC: UInt32 = 0
    if a != Tape.none {
      relA = id &- a
      nodes[Int(a)].uses &+= 1
      if b != Tape.none {
        relB = id &- b
        nodes[Int(b)].uses &+= 1
        if c != Tape.none {
          relC = id &- c
          nodes[Int(c)].uses &+= 1
        }
      }
    }
    let head = Node.head(opcode, type, traits, shape)
    let first = UInt64(attribute) | UInt64(relA) << 32
    let others = UInt64(relB) | UInt64(relC) << 32
    (nodes + Int(id)).write(head | UInt64(nodeState.rawValue) << 24, first, others, payload)
    state.pointee.count = id &+ 1
    let h =
      state.pointee.hash ^ (head &* 0xD6E8_FEB8_6659_FD93) ^ (first &* 0xA076_1D64_78BD_642F)
      ^ (others &* 0xE703_7ED1_A0B4_28DB)
      ^ (Node.isPayloadStatic(opcode, traits) ? payload &* 0x8EBC_6AF0_9C88_C6E3 : 0)
    let mixed = h &* 0x2127_599B_F432_5C37
    state.pointee.hash = mixed ^ (mixed >> 32)
    return id
  }

  @usableFromInline @inline(never)
  func grow() {
    let capacity = Int(state.pointee.capacity)
    if capacity >= 1 << 31 { fatalError("LazyGrad: more than 2^31 live operations on one thread") }
    if !doubleArena() { takeReserve() }
  }

  // MARK: Values from outside the window

  /// The node that stands for a handle's value in the current window.
  @inline(__always)
  package func operand(_ slot: SlotRef) -> UInt32 {
    if let node = slot.node {
      if nodes[Int(node)].state.contains(.resumable) { takeUp(node) }
      return inWindow(node)
    }
    if let leaf = slot.leaf, leaf >= state.pointee.windowStart, leaf < state.pointee.count,
      UInt(bitPattern: nodes[Int(leaf)].slot) == UInt(bitPattern: slot),
      nodes[Int(leaf)].state.isDisjoint(with: .dead, .cleared)
    {
      return leaf
    }
    return makeLeaf(slot)
  }

  /// The node itself where it lies in the window, else a leaf record that stands for it.
  @inlinable @inline(__always)
  public func inWindow(_ id: UInt32) -> UInt32 {
    id >= state.pointee.windowStart ? id : imported(id)
  }

  /// A new use takes a value without a graph up again after a pass has cleared it, as in MyGrad: what is
  /// still held and was computed from it before can be differentiated down to it once more.
  @inline(never)
  private func takeUp(_ id: UInt32) {
    if nodes[Int(id)].opcode != .leaf { nodes[Int(id)].clearedEnd = 0 }
    nodes[Int(id)].state.remove(.cleared)
    nodes[Int(id)].state.remove(.resumable)
  }

  @inline(never)
  private func makeLeaf(_ slot: SlotRef) -> UInt32 {
    if let old = liveLeaf(slot) {
      if nodes[Int(old)].uses == 0 {
        retire(old)
      } else if nodes[Int(old)].state.contains(.cleared) {
        if !slot.isCleared {
          takeUp(old)
          return inWindow(old)
        }
        // A computed value whose graph was cleared is not taken up: what was recorded on it before stays
        // cut off, where its node is gone as where it is still there.
        part(old, from: slot)
      } else {
        // A live graph of an earlier window hangs on it: gradients must meet there.
        return imported(old)
      }
    }
    let s = slot.pointee
    let id = append(
      .leaf, s.type, shape: s.shape, attribute: s.layout, payload: UInt64(s.offset),
      traits: s.traits)
    let node = nodes + Int(id)
    node.pointee.slot = slot
    node.pointee.storage = s.storage
    slot.leaf = id
    countReader(s.storage.stillThere)
    state.pointee.owners.append(id)
    return id
  }

  /// The leaf record that stands for a node of an earlier window in this one.
  @inline(never)
  public func imported(_ id: UInt32) -> UInt32 {
    if nodes[Int(id)].opcode == .scalar {
      // A number needs no memory to be used again.
      let copy = append(
        .scalar, nodes[Int(id)].type, shape: nodes[Int(id)].shape,
        payload: nodes[Int(id)].numberBits)
      state.pointee.copiedNumbers.append((source: id, copy: copy))
      return copy
    }
    if let leaf = nodes[Int(id)].remembered,
      leaf >= state.pointee.windowStart, leaf < state.pointee.count,
      nodes[Int(leaf)].opcode == .leaf, nodes[Int(leaf)].imported == id,
      nodes[Int(leaf)].state.isDisjoint(with: .dead, .cleared), !isCutOff(id, from: leaf)
    {
      return leaf
    }
    let source = nodes[Int(id)]
    let leaf = append(
      .leaf, source.type, shape: source.shape, attribute: source.layout, payload: 0,
      traits: source.traits.intersection(.inherited))
    nodes[Int(id)].uses &+= 1
    nodes[Int(id)].remembered = leaf
    nodes[Int(leaf)].imported = id
    state.pointee.lowestImport = min(state.pointee.lowestImport, id)
    if isGiven(id) {
      bindImport(leaf)
    } else {
      state.pointee.readsPending = true
    }
    return leaf
  }

  /// Gives the leaf record of an evaluated node that node's memory.
  func bindImport(_ leaf: UInt32) {
    let source = nodes[Int(leaf)].imported.unsafelyUnwrapped
    let value = self.value(of: source)
    let node = nodes + Int(leaf)
    node.pointee.storage = value.storage
    node.pointee.valueOffset = value.offset
    _ = value.storage.retain()
    node.pointee.state.insert(.owns)
    countReader(value.storage)
    state.pointee.owners.append(leaf)
  }

  /// Whether a node's value is in memory. One that was computed inside a kernel and not kept is
  /// computed again if it is asked for after all.
  @inline(__always)
  func isGiven(_ id: UInt32) -> Bool {
    let node = nodes + Int(id)
    if node.pointee.opcode != .view { return node.pointee.storage != nil }
    return nodes[Int(id &- node.pointee.a)].storage != nil
  }

  /// Where the value of an evaluated node or leaf is.
  func value(
    of id: UInt32
  ) -> (storage: Unmanaged<Storage>, layout: LayoutID, offset: Int) {
    let node = nodes[Int(id)]
    switch node.opcode {
    case .leaf:
      return (node.storage.stillThere, node.layout, node.valueOffset)
    case .view:
      let source = value(of: id &- node.a)
      return (source.storage, node.layout, source.offset + node.regionStart)
    default:
      return (
        node.storage.stillThere, node.shape, Node.keepsPayload(node.opcode) ? 0 : node.valueOffset
      )
    }
  }
}

extension Node {
  /// The bits of a record's words that are its signature: not what changes in its life, nor the payload,
  /// most of which is bound at run time.
  static var signatureMask: SIMD4<UInt64> { SIMD4(~(0xFF << 24), ~0, ~0, 0) }

  /// The bits that windows are compared by: the signature, and whether a pass may still come by, which
  /// decides together with it what has to stay in memory for the pass.
  static var windowMask: SIMD4<UInt64> {
    signatureMask | SIMD4(UInt64(State.tracked.rawValue) << 24, 0, 0, 0)
  }
}

extension UnsafeMutablePointer<Node> {
  /// The first words of a record as they lie in it.
  @inline(__always)
  var words: SIMD4<UInt64> { UnsafeRawPointer(self).load(as: SIMD4<UInt64>.self) }

  /// The signature words without the payload, but with the state.
  @inline(__always)
  var wordsWithState: SIMD4<UInt64> { words & SIMD4(~0, ~0, ~0, 0) }

  @inline(__always)
  var signature: SIMD4<UInt64> { words & Node.signatureMask }

  /// What a window that is remembered keeps of the record.
  @inline(__always)
  var windowWords: SIMD4<UInt64> { words & Node.windowMask }

  /// Writes a record that nothing names yet by words of 8 bytes, in the order in which they lie on
  /// little-endian machines.
  ///
  /// Field by field the compiler joins neighbouring zeros to 16 bytes from wherever they begin, and a
  /// field that lies in two such stores can't be read until both have left the store buffer.
  @inlinable @inline(__always)
  func write(_ head: UInt64, _ first: UInt64, _ others: UInt64, _ payload: UInt64) {
    let record = UnsafeMutableRawPointer(self)
    record.storeBytes(of: head, as: UInt64.self)
    record.storeBytes(of: first, toByteOffset: 8, as: UInt64.self)
    record.storeBytes(of: others, toByteOffset: 16, as: UInt64.self)
    record.storeBytes(of: payload, toByteOffset: 24, as: UInt64.self)
    record.storeBytes(of: 0, toByteOffset: 32, as: UInt64.self)
    record.storeBytes(of: 0, toByteOffset: 40, as: UInt64.self)
    record.storeBytes(of: 0, toByteOffset: 48, as: UInt64.self)
    record.storeBytes(of: 0, toByteOffset: 56, as: UInt64.self)
  }
}

extension Node {
  /// The part of the signature that says what is computed.
  @inlinable @inline(__always)
  public static func head(
    _ opcode: Opcode, _ type: ScalarType, _ traits: Traits, _ shape: LayoutID
  ) -> UInt64 {
    UInt64(opcode.rawValue) | UInt64(type.rawValue) << 8 | UInt64(traits.rawValue) << 16
      | UInt64(shape) << 32
  }

  /// Whether the payload says where the operation's region begins or how long its rows are.
  @inlinable @inline(__always)
  public static func hasRegion(_ opcode: Opcode) -> Bool {
    opcode == .setRegion || opcode == .addRegion || opcode == .setRows
  }

  /// Whether the payload of a record that has got a value still is what it was, so that the value begins
  /// where its storage does: a region is what the derivative rule reads, and a number what is copied
  /// where a later window uses it.
  @inlinable @inline(__always)
  public static func keepsPayload(_ opcode: Opcode) -> Bool {
    opcode == .scalar || hasRegion(opcode)
  }

  /// Whether the payload decides what the plan does, rather than being bound when it runs.
  @inlinable @inline(__always)
  public static func isPayloadStatic(_ opcode: Opcode, _ traits: Traits) -> Bool {
    (opcode == .view && !traits.contains(.leafView)) || hasRegion(opcode)
  }
}
