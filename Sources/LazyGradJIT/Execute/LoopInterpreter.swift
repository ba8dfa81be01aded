// Runs the steps of an elementary function lane by lane where a plan that is made for machine code got
// none: the same operations on the same numbers, multiply-adds with one rounding included. Reads
// LoopBody; called by the executor of portable loops.

/// The steps of one elementary function, for processors' lanes and for this loop over them.
///
/// The bits are those of machine code because there is one definition: `LoopBody.tile` writes the
/// steps, LoopEmitter turns them into instructions, and this carries them out. It is slow: a fused
/// multiply-add is a call of the C library's on baseline x86-64, and every step goes through memory.
struct LoopInterpreter {
  private let body: LoopBody
  private let result: LoopBody.Value
  private let type: ScalarType

  /// Elements that go through the steps together.
  private static let width = 64

  /// By operation, for float32 and for float64.
  private static let table: [(single: LoopInterpreter?, double: LoopInterpreter?)] =
    Opcode.allCases.map { (LoopInterpreter($0, .float32), LoopInterpreter($0, .float64)) }

  /// The steps of an operation; nil where no multiply-add is among them, and so the tile kernels give
  /// the bits of machine code.
  @inline(__always)
  static func steps(of opcode: Opcode, _ type: ScalarType) -> LoopInterpreter? {
    if !type.isComputedFloat { return nil }
    let row = table[Int(opcode.rawValue)]
    return type == .float32 ? row.single : row.double
  }

  private init?(_ opcode: Opcode, _ type: ScalarType) {
    guard opcode.info.opClass == .elementwise, opcode.info.arity <= 2, opcode != .cast,
      opcode.info.takes(type)
    else { return nil }
    // AVX2's steps: AVX-512 has an instruction for some of them, which gives the same bits.
    var body = LoopBody(.avx2)
    self.type = type
    let x = body.load(type.lane, LoopAddress(pointer: 0, index: .element, size: type.size))
    let y = body.load(type.lane, LoopAddress(pointer: 1, index: .element, size: type.size))
    result = body.tile(opcode, type, type, x, y, LoopBody.none)
    guard body.nodes.contains(where: { [.fma, .fnma, .fms].contains($0.op) }) else { return nil }
    self.body = body
  }

  /// `dst[i] = f(a[i], b[i])` for `i` in `0..<count`; reads and writes nothing behind them. `dst` may
  /// be an operand.
  func run(
    dst: UnsafeMutableRawPointer, a: UnsafeRawPointer, b: UnsafeRawPointer?, count: Int
  ) {
    let operands = (a, b ?? a)
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: body.nodes.count * Self.width) {
      let lanes = Lanes(base: $0.baseAddress!, width: Self.width)
      for first in stride(from: 0, to: count, by: Self.width) {
        let n = min(Self.width, count - first)
        for value in body.nodes.indices { step(value, operands, first, n, lanes) }
        let source = lanes[result]
        for i in 0..<n {
          if type == .float32 {
            dst.storeBytes(
              of: UInt32(truncatingIfNeeded: source[i]), toByteOffset: 4 * (first + i),
              as: UInt32.self)
          } else {
            dst.storeBytes(of: source[i], toByteOffset: 8 * (first + i), as: UInt64.self)
          }
        }
      }
    }
  }

  /// The values of the steps, by lane; the low half of a number holds 32 bits.
  private struct Lanes {
    let base: UnsafeMutablePointer<UInt64>
    let width: Int

    @inline(__always)
    subscript(value: LoopBody.Value) -> UnsafeMutablePointer<UInt64> {
      base + max(Int(value), 0) * width
    }
  }

  private func step(
    _ value: Int, _ operands: (UnsafeRawPointer, UnsafeRawPointer), _ first: Int, _ n: Int,
    _ lanes: Lanes
  ) {
    let node = body.nodes[value]
    let out = lanes[LoopBody.Value(value)]
    let (a, b, c) = (lanes[node.a], lanes[node.b], lanes[node.c])
    /// By the type of the lanes: floats, doubles, or bits.
    @inline(__always)
    func each(
      _ single: (Float, Float, Float) -> Float, _ wide: (Double, Double, Double) -> Double
    ) {
      if node.lane == .f32 {
        for i in 0..<n { out[i] = bits(single(float(a[i]), float(b[i]), float(c[i]))) }
      } else {
        for i in 0..<n {
          out[i] = wide(double(a[i]), double(b[i]), double(c[i])).bitPattern
        }
      }
    }
    @inline(__always)
    func eachBits(_ f: (UInt64, UInt64) -> UInt64) {
      if node.lane.size == 4 {
        for i in 0..<n { out[i] = f(a[i], b[i]) & 0xFFFF_FFFF }
      } else {
        for i in 0..<n { out[i] = f(a[i], b[i]) }
      }
    }
    let isFloat = node.lane.isFloat
    switch node.op {
    case .constant: out.update(repeating: body.constants[Int(node.number)], count: n)
    case .load:
      let source = body.addresses[Int(node.number)].pointer == 0 ? operands.0 : operands.1
      for i in 0..<n {
        out[i] =
          type == .float32
          ? UInt64(source.load(fromByteOffset: 4 * (first + i), as: UInt32.self))
          : source.load(fromByteOffset: 8 * (first + i), as: UInt64.self)
      }
    case .add where isFloat:
      each { x, y, _ in
        x + y
      } _: { x, y, _ in
        x + y
      }
    case .sub where isFloat:
      each { x, y, _ in
        x - y
      } _: { x, y, _ in
        x - y
      }
    case .add: eachBits { $0 &+ $1 }
    case .sub: eachBits { $0 &- $1 }
    case .mul where isFloat:
      each { x, y, _ in
        x * y
      } _: { x, y, _ in
        x * y
      }
    case .div:
      each { x, y, _ in
        x / y
      } _: { x, y, _ in
        x / y
      }
    case .sqrt:
      each { x, _, _ in
        x.squareRoot()
      } _: { x, _, _ in
        x.squareRoot()
      }
    // As the processor: the second operand where the two are not ordered.
    case .min where isFloat:
      each { x, y, _ in
        x < y ? x : y
      } _: { x, y, _ in
        x < y ? x : y
      }
    case .max where isFloat:
      each { x, y, _ in
        x > y ? x : y
      } _: { x, y, _ in
        x > y ? x : y
      }
    case .fma:
      each {
        $2.addingProduct($0, $1)
      } _: {
        $2.addingProduct($0, $1)
      }
    case .fnma:
      each {
        $2.addingProduct(-$0, $1)
      } _: {
        $2.addingProduct(-$0, $1)
      }
    case .fms:
      each {
        (-$2).addingProduct($0, $1)
      } _: {
        (-$2).addingProduct($0, $1)
      }
    case .round:
      each { x, _, _ in
        x.rounded(rule(node))
      } _: { x, _, _ in
        x.rounded(rule(node))
      }
    case .and: eachBits { $0 & $1 }
    case .or: eachBits { $0 | $1 }
    case .xor: eachBits { $0 ^ $1 }
    case .andNot: eachBits { ~$0 & $1 }
    case .maskNot: eachBits { x, _ in ~x }
    case .shiftLeft: eachBits { x, _ in x &<< UInt64(node.number) }
    case .shiftRight: eachBits { x, _ in x &>> UInt64(node.number) }
    case .compare: for i in 0..<n { out[i] = isTrue(node, a[i], b[i]) ? mask(node) : 0 }
    case .select: for i in 0..<n { out[i] = a[i] == 0 ? c[i] : b[i] }
    case .convert: for i in 0..<n { out[i] = converted(node, a[i]) }
    case .lookup:
      let table = body.tables[Int(node.number)]
      for i in 0..<n { out[i] = bits(table[Int(a[i] & 7)]) }
    case .help:
      let function = body.helps[Int(node.number)].opcode.info.function.unsafelyUnwrapped
      let fast = lanes[node.d]
      for i in 0..<n {
        let isMissing = node.a < 0 || a[i] != 0
        out[i] =
          isMissing
          ? function.exactBits(isSingle: type == .float32, b[i], c[i]) : fast[i]
      }
    default:
      preconditionFailure("interpreter: expected a step of an elementary function, got \(node.op)")
    }
  }

  @inline(__always)
  private func float(_ x: UInt64) -> Float { Float(bitPattern: UInt32(truncatingIfNeeded: x)) }
  @inline(__always)
  private func double(_ x: UInt64) -> Double { Double(bitPattern: x) }
  @inline(__always)
  private func int(_ x: UInt64) -> Int32 { Int32(truncatingIfNeeded: x) }
  @inline(__always)
  private func bits(_ x: Float) -> UInt64 { UInt64(x.bitPattern) }

  /// The rounding that `LoopBody.round` gives a number.
  private func rule(_ node: LoopBody.Node) -> FloatingPointRoundingRule {
    node.number == 9 ? .down : .toNearestOrEven
  }

  /// All ones.
  private func mask(_ node: LoopBody.Node) -> UInt64 { node.lane.size == 4 ? 0xFFFF_FFFF : .max }

  private func isTrue(_ node: LoopBody.Node, _ a: UInt64, _ b: UInt64) -> Bool {
    func compare<T: Comparable>(_ x: T, _ y: T) -> Bool {
      switch Comparison(rawValue: node.number)! {
      case .equal: x == y
      case .notEqual: x != y
      case .less: x < y
      case .lessEqual: x <= y
      case .notLess: !(x < y)
      case .notLessEqual: !(x <= y)
      case .unordered: !(x <= y) && !(x > y)
      }
    }
    switch node.from {
    case .f32: return compare(float(a), float(b))
    case .f64: return compare(double(a), double(b))
    case .i32: return compare(int(a), int(b))
    default: return compare(Int64(bitPattern: a), Int64(bitPattern: b))
    }
  }

  private func converted(_ node: LoopBody.Node, _ a: UInt64) -> UInt64 {
    switch (node.from, node.lane) {
    case (.f32, .f64): Double(float(a)).bitPattern
    case (.f64, .f32): bits(Float(double(a)))
    case (.i32, .f32): bits(Float(int(a)))
    default: preconditionFailure("interpreter: no conversion from \(node.from) to \(node.lane)")
    }
  }
}
