// The handle of a user's tensor: what its object points at. Plain data, recycled by its tape. Uses Core
// and the records.

/// What a user's tensor object points at: a node, or, once the value is known and no graph hangs on
/// it, the value itself. Stable in memory; recycled by its tape.
public struct Slot {
  /// Stands first, so that it can be read atomically (`unlockedTape`).
  package var tape: Tape
  // What a new handle has none of stands together, and is zeroed together.
  package var storage: Unmanaged<Storage>?
  package var offset: Int
  /// The gradient's handle.
  package var gradient: UnsafeMutablePointer<Slot>?
  /// For a gradient's handle: whose gradient it is. The two are always on one tape.
  package var owner: UnsafeMutablePointer<Slot>?
  /// An id + 1, or 0; see `SlotRef.node` and `SlotRef.leaf`.
  fileprivate var rawNode: UInt32
  fileprivate var rawLeaf: UInt32
  package var layout: LayoutID
  package var shape: LayoutID
  /// For a view: its layout over the base's elements in C order.
  package var view: LayoutID = LayoutTable.scalar
  package var type: ScalarType
  package var isVariable: Bool
  /// The window was full when this handle was made: it is to be run before more is recorded.
  package var isWindowFull = false
  /// What is seldom asked; one byte, so that a slot takes a cache line.
  var facts: Facts = []

  struct Facts: OptionSet {
    let rawValue: UInt8
    static var isReadOnly: Facts { Facts(rawValue: 1) }
    static var isView: Facts { Facts(rawValue: 2) }
    /// The same bit as in a node's traits.
    static var isGradient: Facts { Facts(rawValue: Node.Traits.gradient.rawValue) }
    static var isCleared: Facts { Facts(rawValue: 8) }
    static var addsUpGradients: Facts { Facts(rawValue: 16) }
    static var hasUsedUpGradient: Facts { Facts(rawValue: 32) }
    static var hasUnitGradient: Facts { Facts(rawValue: 64) }
    static var hasDroppedGradient: Facts { Facts(rawValue: 128) }
  }

  /// A handle for a node.
  @inline(__always)
  init(
    _ tape: Tape, node: UInt32, shape: LayoutID, type: ScalarType, traits: Node.Traits,
    isWindowFull: Bool
  ) {
    self.tape = tape
    storage = nil
    offset = 0
    gradient = nil
    owner = nil
    rawNode = node &+ 1
    rawLeaf = 0
    layout = shape
    self.shape = shape
    self.type = type
    isVariable = traits.contains(.variable)
    self.isWindowFull = isWindowFull
    facts = Facts(rawValue: traits.intersection(.gradient).rawValue)
  }

  /// A handle for a value in memory.
  init(
    _ tape: Tape, storage: Unmanaged<Storage>?, layout: LayoutID, offset: Int, shape: LayoutID,
    type: ScalarType, isVariable: Bool
  ) {
    self.tape = tape
    self.storage = storage
    self.offset = offset
    gradient = nil
    owner = nil
    rawNode = 0
    rawLeaf = 0
    self.layout = layout
    self.shape = shape
    self.type = type
    self.isVariable = isVariable
  }

  /// The traits of a record that stands for the value.
  var traits: Node.Traits {
    (isVariable ? Node.Traits.variable : .none)
      .union(facts.contains(.isGradient) ? .gradient : .none)
  }
}

/// A user handle.
public typealias SlotRef = UnsafeMutablePointer<Slot>

/// What has a code of its own in a handle. Read and assigned through the pointer: to change a computed property of
/// the handle itself, or to call a mutating method of the facts, would count as an access to all of the
/// handle, also to the tape, which other threads read.
extension UnsafeMutablePointer<Slot> {
  /// The node that has the value; nil: it is in `storage`, nothing is recorded.
  package var node: UInt32? {
    @inline(__always) get {
      assert(pointee.rawNode == 0 || pointee.storage == nil)
      return pointee.rawNode == 0 ? nil : pointee.rawNode &- 1
    }
    @inline(__always) nonmutating set { pointee.rawNode = newValue.map { $0 &+ 1 } ?? 0 }
  }
  /// The leaf record that stands for `storage`, if there was one; checked when used.
  var leaf: UInt32? {
    @inline(__always) get {
      assert(pointee.rawLeaf == 0 || pointee.rawNode == 0)
      return pointee.rawLeaf == 0 ? nil : pointee.rawLeaf &- 1
    }
    @inline(__always) nonmutating set { pointee.rawLeaf = newValue.map { $0 &+ 1 } ?? 0 }
  }
  /// The value is in memory that a host array made read-only by nature.
  package var isReadOnly: Bool {
    get { has(.isReadOnly) }
    nonmutating set { set(.isReadOnly, newValue) }
  }
  /// A view's: its gradient is seen in that of its base.
  package var isView: Bool {
    get { has(.isView) }
    nonmutating set { set(.isView, newValue) }
  }
  /// The value is a gradient, or computed from one; see `Node.Traits.gradient`.
  package var isGradient: Bool {
    get { has(.isGradient) }
    nonmutating set { set(.isGradient, newValue) }
  }
  /// A pass has cleared the graph that the value came from.
  package var isCleared: Bool {
    get { has(.isCleared) }
    nonmutating set { set(.isCleared, newValue) }
  }
  /// A pass that adds up has left the gradient: a new use of the tensor does not end it.
  package var addsUpGradients: Bool {
    get { has(.addsUpGradients) }
    nonmutating set { set(.addsUpGradients, newValue) }
  }
  /// The gradient is the ones that a backward pass without a seed began with; nothing is kept for
  /// them, so that a loss does not hold a part of the graph.
  package var hasUnitGradient: Bool {
    get { has(.hasUnitGradient) }
    nonmutating set { set(.hasUnitGradient, newValue) }
  }
  /// A new use has ended the gradient: for who asks why there is none.
  var hasUsedUpGradient: Bool {
    get { has(.hasUsedUpGradient) }
    nonmutating set { set(.hasUsedUpGradient, newValue) }
  }
  /// The program has dropped the gradient, or an update in place has: for the same question.
  var hasDroppedGradient: Bool {
    get { has(.hasDroppedGradient) }
    nonmutating set { set(.hasDroppedGradient, newValue) }
  }

  private func has(_ fact: Slot.Facts) -> Bool { pointee.facts.contains(fact) }
  private func set(_ fact: Slot.Facts, _ isTrue: Bool) {
    let others = pointee.facts.rawValue & ~fact.rawValue
    pointee.facts = Slot.Facts(rawValue: isTrue ? others | fact.rawValue : others)
  }
}
