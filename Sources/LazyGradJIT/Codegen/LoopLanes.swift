// The values of a loop that is being compiled as lanes: what elementary functions compute with there.
// Multiplications and additions are fused. Writes into LoopBody.

/// The lanes of one precision of a loop's values, for one operation.
struct LoopLanes: ElementaryLanes {
  typealias Value = LoopBody.Value
  typealias Mask = LoopBody.Value

  private let body: UnsafeMutablePointer<LoopBody>
  private let type: LoopLane
  private let opcode: Opcode

  /// - Parameter type: `f32` or `f64`.
  init(_ body: UnsafeMutablePointer<LoopBody>, _ type: LoopLane, for opcode: Opcode) {
    self.body = body
    self.type = type
    self.opcode = opcode
  }

  var isSingle: Bool { type == .f32 }
  var isFused: Bool { true }
  var wide: LoopLanes { LoopLanes(body, .f64, for: opcode) }
  /// Lanes of integers.
  private var integers: LoopLane { isSingle ? .i32 : .i64 }

  func number(_ value: Double) -> Value { body.pointee.number(type, value) }
  func bits(_ value: Int64) -> Value { body.pointee.integer(integers, value) }

  private func binary(_ op: LoopBody.Op, _ a: Value, _ b: Value) -> Value {
    body.pointee.binary(op, a, b, as: type)
  }
  private func fused(_ op: LoopBody.Op, _ a: Value, _ b: Value, _ c: Value) -> Value {
    body.pointee.append(LoopBody.Node(op: op, lane: type, a: a, b: b, c: c))
  }
  func add(_ a: Value, _ b: Value) -> Value { binary(.add, a, b) }
  func sub(_ a: Value, _ b: Value) -> Value { binary(.sub, a, b) }
  func mul(_ a: Value, _ b: Value) -> Value { binary(.mul, a, b) }
  func div(_ a: Value, _ b: Value) -> Value { binary(.div, a, b) }
  func sqrt(_ x: Value) -> Value { body.pointee.unary(.sqrt, x) }
  func fma(_ a: Value, _ b: Value, _ c: Value) -> Value { fused(.fma, a, b, c) }
  func fnma(_ a: Value, _ b: Value, _ c: Value) -> Value { fused(.fnma, a, b, c) }
  func fms(_ a: Value, _ b: Value, _ c: Value) -> Value { fused(.fms, a, b, c) }
  func round(_ x: Value) -> Value { body.pointee.round(x, down: false) }
  /// The processor's minimum gives its second operand where the two aren't ordered: NaN stays.
  func atMost(_ x: Value, _ limit: Double) -> Value { binary(.min, number(limit), x) }
  func atLeast(_ x: Value, _ limit: Double) -> Value { binary(.max, number(limit), x) }
  func scaled(_ x: Value, _ k: Value) -> Value {
    body.pointee.target.scalesByPowers ? binary(.scale, x, k) : scaledByHalves(x, k)
  }

  var scalesByAnything: Bool { body.pointee.target.scalesByPowers }

  func addBits(_ a: Value, _ b: Value) -> Value { body.pointee.binary(.add, a, b, as: integers) }
  func subtractBits(_ a: Value, _ b: Value) -> Value {
    body.pointee.binary(.sub, a, b, as: integers)
  }
  func and(_ a: Value, _ b: Value) -> Value { body.pointee.and(a, b) }
  func or(_ a: Value, _ b: Value) -> Value { body.pointee.or(a, b) }
  func xor(_ a: Value, _ b: Value) -> Value { body.pointee.xor(a, b) }
  func shiftLeft(_ a: Value, _ count: Int) -> Value {
    body.pointee.shift(.shiftLeft, a, Int32(count), as: type)
  }
  func shiftRight(_ a: Value, _ count: Int) -> Value {
    body.pointee.shift(.shiftRight, a, Int32(count), as: type)
  }

  func converted(bits: Value) -> Value {
    precondition(isSingle, "elementary functions: integers are converted to single precision")
    return body.pointee.append(LoopBody.Node(op: .convert, lane: .f32, from: .i32, a: bits))
  }

  private func compare(_ how: Comparison, _ a: Value, _ b: Value, of type: LoopLane) -> Mask {
    body.pointee.compare(how, a, b, of: type)
  }
  func equal(_ a: Value, _ b: Value) -> Mask { compare(.equal, a, b, of: type) }
  func less(_ a: Value, _ b: Value) -> Mask { compare(.less, a, b, of: type) }
  func lessEqual(_ a: Value, _ b: Value) -> Mask { compare(.lessEqual, a, b, of: type) }
  func isNaN(_ x: Value) -> Mask { compare(.unordered, x, x, of: type) }
  func isUnusual(_ x: Value) -> Mask {
    if !body.pointee.target.classifiesFloats { return isUnusualByComparisons(x) }
    return body.pointee.append(LoopBody.Node(op: .classify, lane: type.mask, from: type, a: x))
  }
  func isNegative(_ x: Value) -> Mask { compare(.less, x, bits(0), of: integers) }
  func isOdd(_ x: Value) -> Mask {
    let one = bits(1)
    return compare(.equal, body.pointee.binary(.and, x, one, as: integers), one, of: integers)
  }
  func not(_ mask: Mask) -> Mask { body.pointee.not(mask) }
  func select(_ mask: Mask, _ a: Value, _ b: Value) -> Value { body.pointee.select(mask, a, b) }
  func number(at place: Value, in table: SIMD8<Float>) -> Value {
    precondition(isSingle, "elementary functions: tables are for single precision")
    return body.pointee.lookup(place, table)
  }

  func widened(_ x: Value) -> Value {
    body.pointee.append(LoopBody.Node(op: .convert, lane: .f64, from: type, a: x))
  }
  func narrowed(_ x: Value) -> Value {
    body.pointee.append(LoopBody.Node(op: .convert, lane: type, from: .f64, a: x))
  }

  /// What lanes hold is not known yet.
  func either(
    _ isPlain: @autoclosure () -> Mask, _ fast: () -> Value, full: () -> Value
  ) -> Value { full() }
  func finished<F: ElementaryFunction>(
    _ fast: Value, where isGood: Mask, _ function: F.Type, _ x: Value, _ y: Value
  ) -> Value {
    help(where: not(isGood), x, y, fast)
  }
  func eachLane<F: ElementaryFunction>(_ function: F.Type, _ x: Value, _ y: Value) -> Value {
    help(where: LoopBody.none, x, y, body.pointee.or(x, bits(0)))
  }
  private func help(where mask: Mask, _ x: Value, _ y: Value, _ fast: Value) -> Value {
    let second = opcode.info.arity == 1 ? LoopBody.none : y
    return body.pointee.help(
      LoopHelp(opcode: opcode, type: isSingle ? .float32 : .float64), where: mask, x, second,
      fast: fast)
  }
}
