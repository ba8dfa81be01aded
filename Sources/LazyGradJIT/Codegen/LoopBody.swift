// The straight-line programs that loops are made of: vector operations over one iteration's lanes,
// in static single assignment form. LoopTiles and LoopElementary write them, LoopEmitter turns them
// into instructions.

/// What the lanes of a value are. Masks are registers of their own or lanes of ones, which have a width,
/// as the target has it.
enum LoopLane: UInt8 {
  case f32, f64, i32, i64, mask32, mask64

  var size: Int {
    switch self {
    case .f32, .i32, .mask32: 4
    case .f64, .i64, .mask64: 8
    }
  }
  var isFloat: Bool { self == .f32 || self == .f64 }
  var isMask: Bool { rawValue >= LoopLane.mask32.rawValue }
  /// The mask that a comparison of such lanes gives.
  var mask: LoopLane { size == 4 ? .mask32 : .mask64 }
}

/// A comparison, by the number that vcmpps gives it.
enum Comparison: Int32 {
  case equal = 0
  case unordered = 3
  case notEqual = 4
  /// The opposites of the two below: true of NaN.
  case notLess = 21
  case notLessEqual = 22
  case less = 17
  case lessEqual = 18

  /// What is true of two floats where this is not, as another of these; nil where nobody needs it.
  var opposite: Comparison? {
    switch self {
    case .less: .notLess
    case .lessEqual: .notLessEqual
    case .notLess: .less
    case .notLessEqual: .lessEqual
    case .equal, .notEqual, .unordered: nil
    }
  }
}

/// Where a load or a store of a loop finds its element.
struct LoopAddress: Equatable {
  enum Index: UInt8 {
    /// The element's position from the start of the call, the column, the row, nothing.
    case element, column, row, none
    /// The position of a lane among the lanes of a running result.
    case lane
  }
  /// The bytes of the lanes of a running result, a whole number of vectors.
  static let laneBytes = 128

  /// The number of a pointer in the frame, -1 for the frame itself.
  var pointer: Int
  var index: Index
  /// Bytes of an element in memory.
  var size: Int
  var offset = 0
  /// The type in memory, where lanes of 32 bits are float16 or bfloat16 there.
  var half: ScalarType?

  /// The same for elements that come `count` later, in a body over `all` elements. If that goes
  /// around the lanes of a running result, their place doesn't depend on the position any more.
  func moved(by count: Int, of all: Int) -> LoopAddress {
    var copy = self
    switch index {
    case .element, .column: copy.offset += count * size
    case .lane:
      if all * size % Self.laneBytes == 0 { copy.index = .none }
      copy.offset += count * size % Self.laneBytes
    case .row, .none: break
    }
    return copy
  }
}

/// One iteration's work.
struct LoopBody {
  enum Op: UInt8 {
    // Values that are in memory; loaded where they are used.
    case constant, slot, load
    /// Bytes, widened to 32 bits; numbers of 16 bits as float32.
    case loadBytes, loadHalves
    /// One element for all lanes.
    case broadcast
    /// The lanes of a masked iteration that are elements.
    case tail
    case add, sub, mul, div, min, max, and, or, xor, andNot
    case sqrt, round, abs
    /// A float32 as the nearest float16.
    case roundHalf
    /// a * b + c, c - a * b, a * b - c, with one rounding.
    case fma, fnma, fms
    /// a * 2^b for floats, where the target has it.
    case scale
    case shiftLeft, shiftRight
    /// The float32 of a table whose place is in the three lowest bits.
    case lookup
    /// Products of the low halves of 64-bit lanes.
    case mulLow
    case compare, select, maskNot
    /// Which floats are denormal, infinite or NaN, where the target has it.
    case classify
    /// Masks to lanes of another width.
    case widenMask, narrowMask
    /// Between types; the low half of 64-bit lanes; zero- and sign-extended ones.
    case convert, truncate, narrow, signExtend, zeroExtend
    /// Lets the caller finish the lanes that vector code can't: `d` where mask `a`, of `b` and `c`.
    case help
    // No values.
    case store, storeBytes, storeHalves, storeSlot
    /// The first lane.
    case storeFirst

    /// Of a sum, difference or product.
    init(arithmetic opcode: Opcode) {
      switch opcode {
      case .add: self = .add
      case .sub: self = .sub
      case .mul: self = .mul
      default: preconditionFailure("loop compiler: expected arithmetic, got \(opcode.info.name)")
      }
    }

    var isEffect: Bool { rawValue >= Op.store.rawValue }

    var isCommutative: Bool {
      switch self {
      case .add, .mul, .and, .or, .xor, .mulLow: true
      default: false
      }
    }
  }

  struct Node {
    var op: Op
    var lane: LoopLane
    /// What the operand's lanes are, for comparisons and conversions.
    var from: LoopLane = .f32
    var a: Int32 = -1
    var b: Int32 = -1
    var c: Int32 = -1
    var d: Int32 = -1
    /// Number of a constant, slot, address or table; count of a shift; a comparison.
    var number: Int32 = 0

    var isInMemory: Bool { op.rawValue <= Op.broadcast.rawValue }

    /// Whether the number is that of an address.
    var hasAddress: Bool {
      switch op {
      case .load, .loadBytes, .loadHalves, .broadcast, .store, .storeBytes, .storeHalves,
        .storeFirst:
        true
      default: false
      }
    }

    @inline(__always)
    func forEachOperand(_ visit: (Int32) -> Void) {
      if a >= 0 { visit(a) }
      if b >= 0 { visit(b) }
      if c >= 0 { visit(c) }
      if d >= 0 { visit(d) }
    }
  }

  typealias Value = Int32
  static let none: Value = -1

  private(set) var nodes: ContiguousArray<Node> = []
  private(set) var constants: ContiguousArray<UInt64> = []
  private(set) var addresses: ContiguousArray<LoopAddress> = []
  private(set) var helps: ContiguousArray<LoopHelp> = []
  private(set) var tables: ContiguousArray<SIMD8<Float>> = []
  private var known: ContiguousArray<Value> = []
  let instructionSet: InstructionSet

  init(_ instructionSet: InstructionSet) { self.instructionSet = instructionSet }

  var target: Target { instructionSet.target }

  subscript(value: Value) -> Node { nodes[Int(value)] }
  func lane(_ value: Value) -> LoopLane { nodes[Int(value)].lane }

  mutating func append(_ node: Node) -> Value {
    nodes.append(node)
    return Value(nodes.count - 1)
  }

  /// Constants, slots and addresses are the same value wherever they are asked for.
  fileprivate mutating func unique(_ op: Op, _ lane: LoopLane, _ number: Int32) -> Value {
    for value in known {
      let node = nodes[Int(value)]
      if node.op == op, node.lane == lane, node.number == number { return value }
    }
    let value = append(Node(op: op, lane: lane, number: number))
    known.append(value)
    return value
  }

  mutating func constant(_ lane: LoopLane, bits: UInt64) -> Value {
    var number = constants.count
    if let index = constants.firstIndex(of: bits) {
      number = index
    } else {
      constants.append(bits)
    }
    return unique(.constant, lane, Int32(number))
  }

  mutating func number(_ lane: LoopLane, _ value: Double) -> Value {
    lane == .f32
      ? constant(lane, bits: UInt64(Float(value).bitPattern))
      : constant(lane, bits: value.bitPattern)
  }

  mutating func integer(_ lane: LoopLane, _ value: Int64) -> Value {
    lane.size == 4
      ? constant(lane, bits: UInt64(UInt32(truncatingIfNeeded: value)))
      : constant(lane, bits: UInt64(bitPattern: value))
  }

  mutating func slot(_ lane: LoopLane, _ number: Int) -> Value {
    unique(.slot, lane, Int32(number))
  }

  fileprivate mutating func number(of address: LoopAddress) -> Int32 {
    if let index = addresses.firstIndex(of: address) { return Int32(index) }
    addresses.append(address)
    return Int32(addresses.count - 1)
  }

  mutating func load(_ lane: LoopLane, _ address: LoopAddress) -> Value {
    unique(.load, lane, number(of: address))
  }
  mutating func loadBytes(_ address: LoopAddress) -> Value {
    unique(.loadBytes, .i32, number(of: address))
  }
  mutating func loadHalves(_ address: LoopAddress) -> Value {
    unique(.loadHalves, .f32, number(of: address))
  }
  mutating func broadcast(_ lane: LoopLane, _ address: LoopAddress) -> Value {
    unique(.broadcast, lane, number(of: address))
  }
  mutating func tail(_ lane: LoopLane) -> Value { unique(.tail, lane.mask, 0) }

  mutating func store(_ value: Value, _ address: LoopAddress) {
    let number = number(of: address)
    let op: Op = address.size == 1 ? .storeBytes : address.half != nil ? .storeHalves : .store
    let value = unrounded(value, address)
    _ = append(Node(op: op, lane: lane(value), a: value, number: number))
  }
  mutating func storeFirst(_ value: Value, _ address: LoopAddress) {
    let number = number(of: address)
    let value = unrounded(value, address)
    _ = append(Node(op: .storeFirst, lane: lane(value), a: value, number: number))
  }
  /// What a number was rounded from that storing it rounds.
  private func unrounded(_ value: Value, _ address: LoopAddress) -> Value {
    address.half == .float16 && self[value].op == .roundHalf ? self[value].a : value
  }
  mutating func storeSlot(_ value: Value, _ slot: Int) {
    _ = append(Node(op: .storeSlot, lane: lane(value), a: value, number: Int32(slot)))
  }

  /// Work on `count` vectors of elements, one behind the other, as one body; `width` of them at a
  /// time are interleaved, two at most.
  ///
  /// Where the lanes of running results are gone around, a vector takes over what an earlier one has
  /// left.
  func unrolled(_ count: Int, interleaved width: Int, lanes: Int) -> LoopBody {
    var all = LoopBody(instructionSet)
    all.constants = constants
    all.helps = helps
    all.tables = tables
    var values = ContiguousArray<Value>(repeating: Self.none, count: width * nodes.count)
    var running: [Int32: Value] = [:]
    for first in stride(from: 0, to: count, by: width) {
      for i in nodes.indices {
        for k in 0..<width {
          func moved(_ value: Value) -> Value { value < 0 ? value : values[width * Int(value) + k] }
          var node = nodes[i]
          (node.a, node.b) = (moved(node.a), moved(node.b))
          (node.c, node.d) = (moved(node.c), moved(node.d))
          let isLane = node.hasAddress && addresses[Int(node.number)].index == .lane
          if node.hasAddress {
            node.number = all.number(
              of: addresses[Int(node.number)].moved(by: (first + k) * lanes, of: count * lanes))
          }
          if isLane, node.op == .store { running[node.number] = node.a }
          let isShared = node.isInMemory || node.op == .tail
          values[width * i + k] =
            (isLane && isShared ? running[node.number] : nil)
            ?? (isShared ? all.unique(node.op, node.lane, node.number) : all.append(node))
        }
      }
    }
    return all
  }

  /// The largest whole number that is not above, or the nearest one.
  mutating func round(_ a: Value, down: Bool) -> Value {
    append(Node(op: .round, lane: lane(a), a: a, number: down ? 9 : 8))
  }

  mutating func lookup(_ place: Value, _ table: SIMD8<Float>) -> Value {
    let number = tables.firstIndex(of: table) ?? tables.count
    if number == tables.count { tables.append(table) }
    return append(Node(op: .lookup, lane: .f32, a: place, number: Int32(number)))
  }

  mutating func help(
    _ help: LoopHelp, where mask: Value, _ x: Value, _ y: Value, fast: Value
  ) -> Value {
    helps.append(help)
    return append(
      Node(
        op: .help, lane: lane(fast), a: mask, b: x, c: y, d: fast, number: Int32(helps.count - 1)))
  }
}

// MARK: Operations

extension LoopBody {
  /// The bits of a register mean what an operation takes them for: `as` where that is not what they
  /// were made as.
  mutating func binary(_ op: Op, _ a: Value, _ b: Value, as type: LoopLane? = nil) -> Value {
    append(Node(op: op, lane: type ?? lane(a), a: a, b: b))
  }
  mutating func unary(_ op: Op, _ a: Value) -> Value { append(Node(op: op, lane: lane(a), a: a)) }
  mutating func add(_ a: Value, _ b: Value) -> Value { binary(.add, a, b) }
  mutating func sub(_ a: Value, _ b: Value) -> Value { binary(.sub, a, b) }
  mutating func mul(_ a: Value, _ b: Value) -> Value { binary(.mul, a, b) }
  mutating func div(_ a: Value, _ b: Value) -> Value { binary(.div, a, b) }
  mutating func and(_ a: Value, _ b: Value) -> Value { binary(.and, a, b) }
  mutating func or(_ a: Value, _ b: Value) -> Value { binary(.or, a, b) }
  mutating func xor(_ a: Value, _ b: Value) -> Value { binary(.xor, a, b) }
  mutating func shift(_ op: Op, _ a: Value, _ count: Int32, as type: LoopLane? = nil) -> Value {
    append(Node(op: op, lane: type ?? lane(a), a: a, number: count))
  }
  /// Of lanes `of`; by default what `a` has.
  mutating func compare(
    _ how: Comparison, _ a: Value, _ b: Value, of type: LoopLane? = nil
  ) -> Value {
    let type = type ?? lane(a)
    return append(
      Node(op: .compare, lane: type.mask, from: type, a: a, b: b, number: how.rawValue))
  }
  /// mask ? a : b
  mutating func select(_ mask: Value, _ a: Value, _ b: Value) -> Value {
    append(Node(op: .select, lane: lane(a), a: mask, b: a, c: b))
  }
  mutating func convert(_ a: Value, to type: LoopLane) -> Value { change(.convert, a, to: type) }
  mutating func change(_ op: Op, _ a: Value, to type: LoopLane) -> Value {
    append(Node(op: op, lane: type, from: lane(a), a: a))
  }
  mutating func not(_ mask: Value) -> Value {
    let node = self[mask]
    if node.op == .maskNot { return node.a }
    if node.op == .compare, node.from.isFloat, let how = Comparison(rawValue: node.number)!.opposite
    {
      return compare(how, node.a, node.b, of: node.from)
    }
    return unary(.maskNot, mask)
  }
}
