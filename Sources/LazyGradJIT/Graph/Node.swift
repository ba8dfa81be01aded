// The record of one operation. Plain data in an arena: no object, no array, no reference count per
// node. Uses Core.

/// One recorded operation, 64 bytes.
///
///      0 opcode | type | traits | state     4 shape        8 attribute
///     12 a     16 b    20 c   (distances back to the operands, 0: none)
///     24 payload   32 storage   40 slot   48 uses   52 link   56 adjoint   60 memo
///
/// The first 24 bytes less `state` are the node's signature word: operands are *relative*, so equal
/// programs have equal words wherever they stand on the tape.
package struct Node {
  package var opcode: Opcode
  package var type: ScalarType
  /// What never changes and is part of the signature.
  package var traits: Traits
  /// What changes in a node's life and is not.
  package var state: State
  package var shape: LayoutID
  package var attribute: UInt32
  var a: UInt32
  var b: UInt32
  var c: UInt32
  /// The bits of a scalar, or an element offset (into the source of a view or region; into
  /// `storage` for a leaf and for an evaluated node).
  package var payload: UInt64
  /// The value, where it is in memory.
  package var storage: Unmanaged<Storage>?
  /// The handle of the user's object, where there is one.
  package var slot: UnsafeMutablePointer<Slot>?
  /// Live nodes that name this one as an operand or link.
  var uses: UInt32
  /// For a leaf that stands for a node of an earlier window: that node's id + 1.
  var link: UInt32
  /// During a backward pass: the id + 1 of the gradient of this node.
  package var adjoint: UInt32
  /// The leaf record that stands for this node in the current window; checked when used.
  var memo: UInt32

  package struct Traits: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Gradients flow to and through it (in MyGrad's words: not constant).
    package static let variable = Traits(rawValue: 1)
    /// A view whose source is in memory: its offset is bound at run time.
    static let leafView = Traits(rawValue: 2)
  }

  package struct State: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Recorded with autodiff on and not cleared since: operands stay reachable.
    package static let tracked = State(rawValue: 1)
    /// Recorded under the memory guard.
    package static let guarded = State(rawValue: 2)
    /// A backward pass has been through here and has cleared the graph.
    package static let cleared = State(rawValue: 4)
    /// Its plan has run; it holds a value only if `storage` is set.
    package static let evaluated = State(rawValue: 8)
    /// Freed; the record is skipped until the arena is compacted or reset.
    static let dead = State(rawValue: 16)
    /// Holds its own reference to `storage`.
    static let owns = State(rawValue: 32)
    /// Its memory was handed out as a host array while tracked and guarded.
    static let handedOut = State(rawValue: 64)
  }
}

/// What a user's tensor object points at: a node, or, once the value is known and no graph hangs on
/// it, the value itself. Stable in memory; recycled by its tape.
package struct Slot {
  package var tape: Tape
  /// The node's id + 1; 0: the value is in `storage`, nothing is recorded.
  package var node: UInt32
  /// The leaf record that stands for `storage` in the current window, id + 1; checked when used.
  var leaf: UInt32
  package var storage: Unmanaged<Storage>?
  package var offset: Int
  package var layout: LayoutID
  package var shape: LayoutID
  package var type: ScalarType
  package var isVariable: Bool
  /// The gradient's handle.
  package var gradient: UnsafeMutablePointer<Slot>?
}

/// A user handle.
package typealias SlotRef = UnsafeMutablePointer<Slot>
