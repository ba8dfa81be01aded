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
  /// What the operation needs beside operands. Of this and the other raw fields each meaning has a name
  /// below, and no other file uses them.
  @usableFromInline var rawAttribute: UInt32
  /// The distance back to the first operand; 0: there is none.
  public var a: UInt32
  /// The distance back to the second operand.
  public var b: UInt32
  /// The distance back to the third operand.
  public var c: UInt32
  /// A number, or a place in elements.
  @usableFromInline var rawPayload: UInt64
  /// The value, where it is in memory.
  public var storage: Unmanaged<Storage>?
  /// The handle of the user's object, where there is one.
  public var slot: UnsafeMutablePointer<Slot>?
  /// Live nodes that name this one as an operand or link.
  public var uses: UInt32
  /// Another record's id + 1, or 0.
  @usableFromInline var rawLink: UInt32
  /// Another record's id + 1, or 0.
  private var rawMemo: UInt32

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
    /// It stands for a sample, whose value nobody knows.
    @inlinable public static var sample: Traits { Traits(rawValue: 16) }
    /// A result of a compiled function that depends on variables: no way leads back to them.
    @inlinable public static var cutOff: Traits { Traits(rawValue: 32) }
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

// MARK: - What the raw fields mean

// Each meaning has one name, which asserts that the operation and the state are those that have it.
// Assertions cost nothing in a release build; `-Xswiftc -assert-config -Xswiftc Debug` gives one with them.

extension Node {
  // MARK: Attribute

  /// How the value lies in the memory that it is in: a leaf and a view say so, all others are in C order.
  @inlinable @inline(__always)
  public var layout: LayoutID { opcode == .leaf || opcode == .view ? rawAttribute : shape }

  /// Of a view and of an operation on a region: the layout of that part over the first operand.
  @inlinable @inline(__always)
  public var region: LayoutID {
    assert(hasPlace)
    return rawAttribute
  }

  /// Of a reduction: the shape `[outer, reduced, inner]` of its operand.
  @inlinable @inline(__always)
  public var reduction: LayoutID {
    assert(isReduction)
    return rawAttribute
  }

  /// Of a concatenation and a scan: the axis.
  @inlinable @inline(__always)
  public var axis: Int {
    assert(opcode == .concat || opcode == .cumsum || opcode == .cumprod)
    return Int(rawAttribute)
  }

  /// Of sorting: a `SortOrder`.
  @inlinable @inline(__always)
  public var order: UInt32 {
    assert(opcode == .sort || opcode == .argsort)
    return rawAttribute
  }

  /// Of an alias: which derivative rule it carries, and what is the rule's own.
  @inlinable @inline(__always)
  public var composite: UInt32 {
    assert(opcode == .attach)
    return rawAttribute
  }

  /// In an alias's attribute: its rule reads the operand, and not the value.
  package static let ruleReadsOperand: UInt32 = 0x80

  /// Whether this is a conversion from or to float16 or bfloat16 that was recorded with an operation, and that
  /// no program has asked for.
  package var isImpliedCast: Bool { opcode == .cast && rawAttribute == Node.impliedCast }

  /// The attribute of such a conversion.
  static let impliedCast: UInt32 = 1

  /// Of a routine on matrices: which, and how it is done, for a `MatrixCall`.
  package var matrixAttribute: UInt32 {
    assert(opcode == .matrix)
    return rawAttribute
  }

  /// Of an operation on matrices: what is done.
  package var routine: MatrixRoutine? {
    opcode == .matrix ? MatrixRoutine(rawValue: UInt8(truncatingIfNeeded: rawAttribute)) : nil
  }

  /// The attribute, whatever it means: for who copies it, and for the layouts that records name.
  @inline(__always)
  package var attributeBits: UInt32 { rawAttribute }

  // MARK: Payload

  /// Of a number: its bits.
  package var numberBits: UInt64 {
    @inline(__always) get {
      assert(opcode == .scalar)
      return rawPayload
    }
    @inline(__always) set {
      assert(opcode == .scalar)
      rawPayload = newValue
    }
  }

  /// Of a view and of an operation on a region: the element of the first operand where that begins.
  @inlinable @inline(__always)
  public var regionStart: Int {
    assert(hasPlace)
    return Int(Int64(bitPattern: rawPayload))
  }

  /// Of an operation on rows: the elements of one.
  @inlinable @inline(__always)
  public var rowLength: Int {
    assert(opcode == .setRows)
    return Int(rawPayload)
  }

  /// Of what has its value in `storage`: the element where that begins. Some operations need the payload
  /// for something else as long as they live: theirs begins where the storage does (`keepsPayload`).
  var valueOffset: Int {
    @inline(__always) get {
      assert(storage != nil && opcode != .view && !Node.keepsPayload(opcode))
      return Int(rawPayload)
    }
    @inline(__always) set {
      assert(storage != nil && opcode != .view && !Node.keepsPayload(opcode))
      rawPayload = UInt64(newValue)
    }
  }

  /// The payload, whatever it means: for who compares records.
  @inline(__always)
  package var payloadBits: UInt64 { rawPayload }

  // MARK: Link

  /// Of a leaf: the node of an earlier window that it stands for, if it does.
  package var imported: UInt32? {
    @inline(__always) get {
      assert(opcode == .leaf)
      return rawLink == 0 ? nil : rawLink &- 1
    }
    @inline(__always) set {
      assert(opcode == .leaf)
      rawLink = newValue.map { $0 &+ 1 } ?? 0
    }
  }

  /// Whether it is a leaf that stands for a node of an earlier window.
  @inlinable @inline(__always)
  public var isImport: Bool { opcode == .leaf && rawLink != 0 }

  /// Of a view whose graph was not cleared: the view that the program made it of, if it did.
  @usableFromInline var parent: UInt32? {
    @inlinable @inline(__always) get {
      assert(opcode == .view && !state.contains(.cleared))
      return rawLink == 0 ? nil : rawLink &- 1
    }
    @inline(__always) set {
      assert(opcode == .view && !state.contains(.cleared))
      rawLink = newValue.map { $0 &+ 1 } ?? 0
    }
  }

  /// Of an operation whose graph was cleared: how many records there were then. They end with it.
  @usableFromInline var clearedEnd: UInt32 {
    @inline(__always) get {
      assert(opcode != .leaf && state.contains(.cleared))
      return rawLink
    }
    @inlinable @inline(__always) set {
      assert(opcode != .leaf && state.contains(.cleared))
      rawLink = newValue
    }
  }

  /// Whether the link says something, whatever that is.
  @inline(__always)
  var isLinked: Bool { rawLink != 0 }

  // MARK: Memo

  /// The record made of this one that may serve again: the leaf that stands for it in a later window, or
  /// its transpose in its own. Nobody keeps it up to date: it is checked when used.
  var remembered: UInt32? {
    @inline(__always) get { rawMemo == 0 ? nil : rawMemo &- 1 }
    @inline(__always) set { rawMemo = newValue.map { $0 &+ 1 } ?? 0 }
  }

  // MARK: Several

  /// Turns it into the leaf record of a handle's value. The caller has let go of what it held.
  mutating func becomeLeaf(of slot: SlotRef) {
    assert(storage == nil && a == 0)
    opcode = .leaf
    state = .none
    traits = traits.intersection(.inherited)
    rawAttribute = slot.pointee.layout
    rawPayload = UInt64(slot.pointee.offset)
    storage = slot.pointee.storage
    self.slot = slot
    rawLink = 0
  }

  /// Makes it as if it had just been written, in a copy of a record that stands for another.
  mutating func unbindImport() {
    assert(isImport)
    storage = nil
    rawPayload = 0
    state = .none
    rawLink = 0
  }

  /// Makes it ready to lie `distance` records further on.
  mutating func moveNames(by distance: UInt32) {
    if rawLink != 0 { rawLink += distance }
    rawMemo = 0
  }

  /// Which records it names, or up to which its graph was cleared, seen from another one.
  struct Names: Equatable, Sendable {
    var link: UInt32
    var memo: UInt32
    static var none: Names { Names(link: 0, memo: 0) }
  }

  @inline(__always)
  func names(from start: UInt32) -> Names {
    Names(link: Node.relative(rawLink, to: start), memo: Node.relative(rawMemo, to: start))
  }

  /// Whether it names what an earlier copy of it does.
  func namesTheSame(as other: Node) -> Bool {
    rawLink == other.rawLink && rawMemo == other.rawMemo
  }

  /// Gives it the link that `names` says, and its memo if there is one.
  @inline(__always)
  mutating func take(_ names: Names, from start: UInt32) {
    rawLink = names.link == 0 ? 0 : start &+ names.link
    if names.memo != 0 { rawMemo = start &+ names.memo }
  }

  /// An id + 1 as a distance from a record; 0 stays what it is. All that lies before the record is one
  /// and the same, but not that.
  @inline(__always)
  private static func relative(_ id: UInt32, to start: UInt32) -> UInt32 {
    id == 0 ? 0 : id > start ? id &- start : .max
  }

  // MARK: For assertions

  @usableFromInline var hasPlace: Bool {
    opcode == .view || opcode == .setRegion || opcode == .addRegion
  }

  @usableFromInline var isReduction: Bool { opcode.info.opClass == .reduction }
}
