// The record of one operation. Plain data in an arena: no object, no array, no reference count per
// node. Uses Core.

/// One recorded operation, 64 bytes.
///
///      0 opcode | type | traits | state     4 shape        8 attribute
///     12 a     16 b    20 c   (distances back to the operands, 0: none)
///     24 payload   32 storage   40 slot   48 uses   52 link   56 memo   60 (unused)
///
/// The first 24 bytes less `state` are the node's signature word: operands are *relative*, so equal
/// programs have equal words wherever they stand on the tape.
public struct Node {
  /// The operation.
  public var opcode: Opcode
  /// The element type of the value.
  public var type: ScalarType
  /// What never changes and is part of the signature.
  public var traits: Traits
  /// What changes in a node's life and is not.
  public var state: State
  /// The shape of the value: a contiguous layout.
  public var shape: LayoutID
  /// What the operation needs beside operands; see `GraphNode.attribute`.
  public var attribute: UInt32
  /// The distance back to the first operand; 0: there is none.
  public var a: UInt32
  /// The distance back to the second operand.
  public var b: UInt32
  /// The distance back to the third operand.
  public var c: UInt32
  /// The bits of a scalar, the length of the rows that `setRows` replaces, or an element offset (into
  /// the source of a view or region; into `storage` for a leaf and for an evaluated node).
  public var payload: UInt64
  /// The value, where it is in memory.
  public var storage: Unmanaged<Storage>?
  /// The handle of the user's object, where there is one.
  public var slot: UnsafeMutablePointer<Slot>?
  /// Live nodes that name this one as an operand or link.
  public var uses: UInt32
  /// For a leaf that stands for a node of an earlier window: that node's id + 1. Else see Node+Links.
  public var link: UInt32
  /// The leaf record that stands for this node in the current window; checked when used.
  public var memo: UInt32

  /// Facts about a node that never change.
  public struct Traits: OptionSet, Sendable {
    /// The bits.
    public var rawValue: UInt8
    /// Makes a set of its bits.
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Gradients flow to and through it (in MyGrad's words: not constant).
    @inlinable public static var variable: Traits { Traits(rawValue: 1) }
    /// None of them; an empty literal would go through a generic initialiser.
    @inlinable public static var none: Traits { Traits(rawValue: 0) }
    /// A view whose source is in memory: its offset is bound at run time.
    @inlinable public static var leafView: Traits { Traits(rawValue: 2) }
    /// A gradient that was recorded without backward information, or computed from one: what it depends
    /// on can't be found out any more.
    @inlinable public static var gradient: Traits { Traits(rawValue: 4) }
    /// A copy of a value whose memory can't be shown in the way that a view asks for: the view is one of
    /// the copy then.
    @inlinable public static var standIn: Traits { Traits(rawValue: 8) }
    /// What a result has if one of its operands has it.
    @inlinable public static var inherited: Traits { Traits(rawValue: 5) }

    /// Either.
    @inlinable @inline(__always)
    public func union(_ other: Traits) -> Traits { Traits(rawValue: rawValue | other.rawValue) }
    /// Both.
    @inlinable @inline(__always)
    public func intersection(_ other: Traits) -> Traits {
      Traits(rawValue: rawValue & other.rawValue)
    }
    /// Adds.
    @inlinable @inline(__always)
    public mutating func formUnion(_ other: Traits) { rawValue |= other.rawValue }
    /// Whether all of `other` hold.
    @inlinable @inline(__always)
    public func contains(_ other: Traits) -> Bool { rawValue & other.rawValue == other.rawValue }
  }

  /// Facts about a node that change during its life.
  public struct State: OptionSet, Sendable {
    /// The bits.
    public var rawValue: UInt8
    /// Makes a set of its bits.
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// None of them.
    @inlinable public static var none: State { State(rawValue: 0) }
    /// Recorded with autodiff on and not cleared since: operands stay reachable.
    @inlinable public static var tracked: State { State(rawValue: 1) }
    /// Recorded under the memory guard.
    @inlinable public static var guarded: State { State(rawValue: 2) }
    /// A backward pass has been through here and has cleared the graph.
    @inlinable public static var cleared: State { State(rawValue: 4) }
    /// Its plan has run; it holds a value only if `storage` is set.
    @inlinable public static var evaluated: State { State(rawValue: 8) }
    /// Freed; the record is skipped until the arena is compacted or reset.
    @inlinable public static var dead: State { State(rawValue: 16) }
    /// Holds its own reference to `storage`.
    @inlinable public static var owns: State { State(rawValue: 32) }
    /// Its memory may also be a host array's, and is counted as read by the graph.
    @inlinable public static var handedOut: State { State(rawValue: 64) }
    /// Cleared, but it had no graph of its own: a new use takes it up again, as one of a leaf does,
    /// whether or not it has been computed meanwhile.
    @inlinable public static var resumable: State { State(rawValue: 128) }

    // The set operations on the record path, as bit operations: the generic ones are real calls.

    /// Whether all of `other` hold.
    @inlinable @inline(__always)
    public func contains(_ other: State) -> Bool { rawValue & other.rawValue == other.rawValue }
    /// Whether neither holds.
    @inlinable @inline(__always)
    public func isDisjoint(with a: State, _ b: State) -> Bool {
      rawValue & (a.rawValue | b.rawValue) == 0
    }
    /// Adds.
    @inlinable @inline(__always)
    public mutating func insert(_ other: State) { rawValue |= other.rawValue }
    /// Removes.
    @inlinable @inline(__always)
    public mutating func remove(_ other: State) { rawValue &= ~other.rawValue }
  }
}

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
  /// The node's id + 1; 0: the value is in `storage`, nothing is recorded.
  package var node: UInt32
  /// The leaf record that stands for `storage` in the current window, id + 1; checked when used.
  var leaf: UInt32
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
  }

  /// The traits of a record that stands for the value.
  var traits: Node.Traits {
    (isVariable ? Node.Traits.variable : .none)
      .union(facts.contains(.isGradient) ? .gradient : .none)
  }
}

/// A user handle.
public typealias SlotRef = UnsafeMutablePointer<Slot>

/// What is seldom asked of a handle. Read and assigned through the pointer: to change a computed property of
/// the handle itself, or to call a mutating method of the facts, would count as an access to all of the
/// handle, also to the tape, which other threads read.
extension UnsafeMutablePointer<Slot> {
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

  private func has(_ fact: Slot.Facts) -> Bool { pointee.facts.contains(fact) }
  private func set(_ fact: Slot.Facts, _ isTrue: Bool) {
    let others = pointee.facts.rawValue & ~fact.rawValue
    pointee.facts = Slot.Facts(rawValue: isTrue ? others | fact.rawValue : others)
  }
}
