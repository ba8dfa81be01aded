// Vectors as lanes: what elementary functions of the portable kernels compute with. Multiplications and
// additions round together where PortableArithmetic says so. Everything is spelt out per vector type: generic
// vector comparisons don't compile to vector instructions. Uses ElementaryLanes.

typealias F8 = SIMD8<Float>
typealias I8 = SIMD8<Int32>
typealias D4 = SIMD4<Double>
typealias L4 = SIMD4<Int64>

extension SIMD8 where Scalar == Float {
  /// The floats with these bits.
  @inline(__always)
  init(bits: I8) { self = unsafeBitCast(bits, to: F8.self) }
}

extension SIMD4 where Scalar == Double {
  /// The doubles with these bits.
  @inline(__always)
  init(bits: L4) { self = unsafeBitCast(bits, to: D4.self) }
}

/// Whether all of 32 bytes are ones.
@inline(__always)
private func allOnes(_ lanes: SIMD4<UInt64>) -> Bool {
  let pair = lanes.lowHalf & lanes.highHalf
  return pair[0] & pair[1] == .max
}

/// Eight floats.
struct SingleLanes: ElementaryLanes {
  typealias Value = F8
  typealias Mask = SIMDMask<I8>

  @inline(__always)
  var isSingle: Bool { true }
  @inline(__always)
  var isFused: Bool { PortableArithmetic.isFused }
  @inline(__always)
  var wide: PairedLanes<DoubleLanes> { PairedLanes(half: DoubleLanes()) }

  @inline(__always)
  func number(_ value: Double) -> F8 { F8(repeating: Float(value)) }
  @inline(__always)
  func bits(_ value: Int64) -> F8 { F8(bits: I8(repeating: Int32(truncatingIfNeeded: value))) }

  @inline(__always)
  func add(_ a: F8, _ b: F8) -> F8 { a + b }
  @inline(__always)
  func sub(_ a: F8, _ b: F8) -> F8 { a - b }
  @inline(__always)
  func mul(_ a: F8, _ b: F8) -> F8 { a * b }
  @inline(__always)
  func div(_ a: F8, _ b: F8) -> F8 { a / b }
  @inline(__always)
  func sqrt(_ x: F8) -> F8 { x.squareRoot() }
  @inline(__always)
  func fma(_ a: F8, _ b: F8, _ c: F8) -> F8 { isFused ? c.addingProduct(a, b) : a * b + c }
  /// A factor of -1 and not a minus, which is a subtraction from zero: the compiler makes it part of the
  /// instruction.
  @inline(__always)
  func fnma(_ a: F8, _ b: F8, _ c: F8) -> F8 { isFused ? c.addingProduct(a * -1, b) : c - a * b }
  @inline(__always)
  func fms(_ a: F8, _ b: F8, _ c: F8) -> F8 { isFused ? (c * -1).addingProduct(a, b) : a * b - c }
  @inline(__always)
  func round(_ x: F8) -> F8 { (x + number(roundShift)) - number(roundShift) }
  @inline(__always)
  func atMost(_ x: F8, _ limit: Double) -> F8 {
    x.replacing(with: number(limit), where: x .> number(limit))
  }
  @inline(__always)
  func atLeast(_ x: F8, _ limit: Double) -> F8 {
    x.replacing(with: number(limit), where: x .< number(limit))
  }
  @inline(__always)
  func scaled(_ x: F8, _ k: F8) -> F8 { scaledByHalves(x, k) }

  @inline(__always)
  private func integers(_ x: F8) -> I8 { unsafeBitCast(x, to: I8.self) }
  @inline(__always)
  func addBits(_ a: F8, _ b: F8) -> F8 { F8(bits: integers(a) &+ integers(b)) }
  @inline(__always)
  func subtractBits(_ a: F8, _ b: F8) -> F8 { F8(bits: integers(a) &- integers(b)) }
  @inline(__always)
  func and(_ a: F8, _ b: F8) -> F8 { F8(bits: integers(a) & integers(b)) }
  @inline(__always)
  func or(_ a: F8, _ b: F8) -> F8 { F8(bits: integers(a) | integers(b)) }
  @inline(__always)
  func xor(_ a: F8, _ b: F8) -> F8 { F8(bits: integers(a) ^ integers(b)) }
  @inline(__always)
  func shiftLeft(_ a: F8, _ count: Int) -> F8 {
    F8(bits: integers(a) &<< I8(repeating: Int32(truncatingIfNeeded: count)))
  }
  @inline(__always)
  func shiftRight(_ a: F8, _ count: Int) -> F8 {
    let unsigned = unsafeBitCast(a, to: SIMD8<UInt32>.self)
    return unsafeBitCast(
      unsigned &>> SIMD8(repeating: UInt32(truncatingIfNeeded: count)), to: F8.self)
  }

  @inline(__always)
  func converted(bits: F8) -> F8 { F8(integers(bits)) }
  @inline(__always)
  func equal(_ a: F8, _ b: F8) -> Mask { a .== b }
  @inline(__always)
  func less(_ a: F8, _ b: F8) -> Mask { a .< b }
  @inline(__always)
  func lessEqual(_ a: F8, _ b: F8) -> Mask { a .<= b }
  @inline(__always)
  func isNaN(_ x: F8) -> Mask { x .!= x }
  @inline(__always)
  func isNegative(_ x: F8) -> Mask { integers(x) .< I8(repeating: 0) }
  @inline(__always)
  func isOdd(_ x: F8) -> Mask { (integers(x) & I8(repeating: 1)) .!= I8(repeating: 0) }
  @inline(__always)
  func and(_ a: Mask, _ b: Mask) -> Mask { a .& b }
  @inline(__always)
  func or(_ a: Mask, _ b: Mask) -> Mask { a .| b }
  @inline(__always)
  func not(_ mask: Mask) -> Mask { .!mask }
  @inline(__always)
  func select(_ mask: Mask, _ a: F8, _ b: F8) -> F8 { b.replacing(with: a, where: mask) }
  @inline(__always)
  func number(at place: F8, in table: F8) -> F8 {
    let places = integers(place) & I8(repeating: 7)
    var result = F8()
    for lane in 0..<8 { result[lane] = table[Int(places[lane])] }
    return result
  }

  @inline(__always)
  func widened(_ x: F8) -> (D4, D4) { (D4(x.lowHalf), D4(x.highHalf)) }
  @inline(__always)
  func narrowed(_ x: (D4, D4)) -> F8 {
    F8(lowHalf: SIMD4<Float>(x.0), highHalf: SIMD4<Float>(x.1))
  }

  @inline(__always)
  func either(
    _ isPlain: @autoclosure () -> Mask, _ fast: () -> F8, full: () -> F8
  ) -> F8 {
    allOnes(unsafeBitCast(isPlain(), to: SIMD4<UInt64>.self)) ? fast() : full()
  }
  @inline(__always)
  func finished<F: ElementaryFunction>(
    _ fast: F8, where isGood: Mask, _ function: F.Type, _ x: F8, _ y: F8
  ) -> F8 {
    either(isGood) {
      fast
    } full: {
      completed(fast, isGood, function, x, y)
    }
  }
  @inline(__always)
  func eachLane<F: ElementaryFunction>(_ function: F.Type, _ x: F8, _ y: F8) -> F8 {
    completed(x, Mask(repeating: false), function, x, y)
  }
  @inline(never)
  private func completed<F: ElementaryFunction>(
    _ fast: F8, _ isGood: Mask, _ function: F.Type, _ x: F8, _ y: F8
  ) -> F8 {
    let exact = F.exact.unsafelyUnwrapped
    var result = fast
    for lane in 0..<8 where !isGood[lane] {
      result[lane] = Float(exact(Double(x[lane]), Double(y[lane])))
    }
    return result
  }
}

/// How lanes of doubles round a product that is added to something.
protocol MultiplyAddRounding {
  static var isFused: Bool { get }
}

extension PortableArithmetic: MultiplyAddRounding {}

/// Twice on every machine: for numbers whose bits are the same wherever they are asked for.
enum TwoRoundings: MultiplyAddRounding {
  @inline(__always) static var isFused: Bool { false }
}

typealias DoubleLanes = WideLanes<PortableArithmetic>

/// Four doubles.
struct WideLanes<Arithmetic: MultiplyAddRounding>: ElementaryLanes {
  typealias Value = D4
  typealias Mask = SIMDMask<L4>

  @inline(__always)
  var isSingle: Bool { false }
  @inline(__always)
  var isFused: Bool { Arithmetic.isFused }
  @inline(__always)
  var wide: WideLanes { self }

  @inline(__always)
  func number(_ value: Double) -> D4 { D4(repeating: value) }
  @inline(__always)
  func bits(_ value: Int64) -> D4 { D4(bits: L4(repeating: value)) }

  @inline(__always)
  func add(_ a: D4, _ b: D4) -> D4 { a + b }
  @inline(__always)
  func sub(_ a: D4, _ b: D4) -> D4 { a - b }
  @inline(__always)
  func mul(_ a: D4, _ b: D4) -> D4 { a * b }
  @inline(__always)
  func div(_ a: D4, _ b: D4) -> D4 { a / b }
  @inline(__always)
  func sqrt(_ x: D4) -> D4 { x.squareRoot() }
  @inline(__always)
  func fma(_ a: D4, _ b: D4, _ c: D4) -> D4 { isFused ? c.addingProduct(a, b) : a * b + c }
  /// A factor of -1 and not a minus, which is a subtraction from zero: the compiler makes it part of the
  /// instruction.
  @inline(__always)
  func fnma(_ a: D4, _ b: D4, _ c: D4) -> D4 { isFused ? c.addingProduct(a * -1, b) : c - a * b }
  @inline(__always)
  func fms(_ a: D4, _ b: D4, _ c: D4) -> D4 { isFused ? (c * -1).addingProduct(a, b) : a * b - c }
  @inline(__always)
  func round(_ x: D4) -> D4 { (x + number(roundShift)) - number(roundShift) }
  @inline(__always)
  func atMost(_ x: D4, _ limit: Double) -> D4 {
    x.replacing(with: number(limit), where: x .> number(limit))
  }
  @inline(__always)
  func atLeast(_ x: D4, _ limit: Double) -> D4 {
    x.replacing(with: number(limit), where: x .< number(limit))
  }
  @inline(__always)
  func scaled(_ x: D4, _ k: D4) -> D4 { scaledByHalves(x, k) }

  @inline(__always)
  private func integers(_ x: D4) -> L4 { unsafeBitCast(x, to: L4.self) }
  @inline(__always)
  func addBits(_ a: D4, _ b: D4) -> D4 { D4(bits: integers(a) &+ integers(b)) }
  @inline(__always)
  func subtractBits(_ a: D4, _ b: D4) -> D4 { D4(bits: integers(a) &- integers(b)) }
  @inline(__always)
  func and(_ a: D4, _ b: D4) -> D4 { D4(bits: integers(a) & integers(b)) }
  @inline(__always)
  func or(_ a: D4, _ b: D4) -> D4 { D4(bits: integers(a) | integers(b)) }
  @inline(__always)
  func xor(_ a: D4, _ b: D4) -> D4 { D4(bits: integers(a) ^ integers(b)) }
  @inline(__always)
  func shiftLeft(_ a: D4, _ count: Int) -> D4 {
    D4(bits: integers(a) &<< L4(repeating: Int64(count)))
  }
  @inline(__always)
  func shiftRight(_ a: D4, _ count: Int) -> D4 {
    let unsigned = unsafeBitCast(a, to: SIMD4<UInt64>.self)
    return unsafeBitCast(
      unsigned &>> SIMD4(repeating: UInt64(truncatingIfNeeded: count)), to: D4.self)
  }

  @inline(__always)
  func converted(bits: D4) -> D4 {
    preconditionFailure("elementary functions: integers are converted to single precision")
  }
  @inline(__always)
  func equal(_ a: D4, _ b: D4) -> Mask { a .== b }
  @inline(__always)
  func less(_ a: D4, _ b: D4) -> Mask { a .< b }
  @inline(__always)
  func lessEqual(_ a: D4, _ b: D4) -> Mask { a .<= b }
  @inline(__always)
  func isNaN(_ x: D4) -> Mask { x .!= x }
  @inline(__always)
  func isNegative(_ x: D4) -> Mask { integers(x) .< L4(repeating: 0) }
  /// Without a comparison of 64-bit integers, which not every processor has for vectors.
  @inline(__always)
  func isOdd(_ x: D4) -> Mask {
    unsafeBitCast(L4(repeating: 0) &- (integers(x) & L4(repeating: 1)), to: Mask.self)
  }
  @inline(__always)
  func and(_ a: Mask, _ b: Mask) -> Mask { a .& b }
  @inline(__always)
  func or(_ a: Mask, _ b: Mask) -> Mask { a .| b }
  @inline(__always)
  func not(_ mask: Mask) -> Mask { .!mask }
  @inline(__always)
  func select(_ mask: Mask, _ a: D4, _ b: D4) -> D4 { b.replacing(with: a, where: mask) }
  func number(at place: D4, in table: F8) -> D4 {
    preconditionFailure("elementary functions: tables are for single precision")
  }

  @inline(__always)
  func widened(_ x: D4) -> D4 { x }
  @inline(__always)
  func narrowed(_ x: D4) -> D4 { x }

  @inline(__always)
  func either(
    _ isPlain: @autoclosure () -> Mask, _ fast: () -> D4, full: () -> D4
  ) -> D4 {
    allOnes(unsafeBitCast(isPlain(), to: SIMD4<UInt64>.self)) ? fast() : full()
  }
  @inline(__always)
  func finished<F: ElementaryFunction>(
    _ fast: D4, where isGood: Mask, _ function: F.Type, _ x: D4, _ y: D4
  ) -> D4 {
    either(isGood) {
      fast
    } full: {
      completed(fast, isGood, function, x, y)
    }
  }
  @inline(__always)
  func eachLane<F: ElementaryFunction>(_ function: F.Type, _ x: D4, _ y: D4) -> D4 {
    completed(x, Mask(repeating: false), function, x, y)
  }
  @inline(never)
  private func completed<F: ElementaryFunction>(
    _ fast: D4, _ isGood: Mask, _ function: F.Type, _ x: D4, _ y: D4
  ) -> D4 {
    let exact = F.exact.unsafelyUnwrapped
    var result = fast
    for lane in 0..<4 where !isGood[lane] { result[lane] = exact(x[lane], y[lane]) }
    return result
  }
}

/// Twice as many lanes.
struct PairedLanes<Half: ElementaryLanes>: ElementaryLanes {
  typealias Value = (Half.Value, Half.Value)
  typealias Mask = (Half.Mask, Half.Mask)
  let half: Half

  @inline(__always)
  init(half: Half) { self.half = half }

  @inline(__always)
  var isSingle: Bool { half.isSingle }
  @inline(__always)
  var isFused: Bool { half.isFused }
  @inline(__always)
  var wide: PairedLanes<Half.Wide> { PairedLanes<Half.Wide>(half: half.wide) }

  @inline(__always)
  private func both<T>(_ a: Value, _ body: (Half.Value) -> T) -> (T, T) { (body(a.0), body(a.1)) }
  @inline(__always)
  private func both<T>(
    _ a: Value, _ b: Value, _ body: (Half.Value, Half.Value) -> T
  ) -> (T, T) {
    (body(a.0, b.0), body(a.1, b.1))
  }

  @inline(__always)
  func number(_ value: Double) -> Value { (half.number(value), half.number(value)) }
  @inline(__always)
  func bits(_ value: Int64) -> Value { (half.bits(value), half.bits(value)) }

  @inline(__always)
  func add(_ a: Value, _ b: Value) -> Value { both(a, b, half.add) }
  @inline(__always)
  func sub(_ a: Value, _ b: Value) -> Value { both(a, b, half.sub) }
  @inline(__always)
  func mul(_ a: Value, _ b: Value) -> Value { both(a, b, half.mul) }
  @inline(__always)
  func div(_ a: Value, _ b: Value) -> Value { both(a, b, half.div) }
  @inline(__always)
  func sqrt(_ x: Value) -> Value { both(x, half.sqrt) }
  @inline(__always)
  func fma(_ a: Value, _ b: Value, _ c: Value) -> Value {
    (half.fma(a.0, b.0, c.0), half.fma(a.1, b.1, c.1))
  }
  @inline(__always)
  func fnma(_ a: Value, _ b: Value, _ c: Value) -> Value {
    (half.fnma(a.0, b.0, c.0), half.fnma(a.1, b.1, c.1))
  }
  @inline(__always)
  func fms(_ a: Value, _ b: Value, _ c: Value) -> Value {
    (half.fms(a.0, b.0, c.0), half.fms(a.1, b.1, c.1))
  }
  @inline(__always)
  func round(_ x: Value) -> Value { both(x, half.round) }
  @inline(__always)
  func atMost(_ x: Value, _ limit: Double) -> Value { both(x) { half.atMost($0, limit) } }
  @inline(__always)
  func atLeast(_ x: Value, _ limit: Double) -> Value { both(x) { half.atLeast($0, limit) } }
  @inline(__always)
  func scaled(_ x: Value, _ k: Value) -> Value { both(x, k, half.scaled) }

  @inline(__always)
  func addBits(_ a: Value, _ b: Value) -> Value { both(a, b, half.addBits) }
  @inline(__always)
  func subtractBits(_ a: Value, _ b: Value) -> Value { both(a, b, half.subtractBits) }
  @inline(__always)
  func and(_ a: Value, _ b: Value) -> Value { (half.and(a.0, b.0), half.and(a.1, b.1)) }
  @inline(__always)
  func or(_ a: Value, _ b: Value) -> Value { (half.or(a.0, b.0), half.or(a.1, b.1)) }
  @inline(__always)
  func xor(_ a: Value, _ b: Value) -> Value { both(a, b, half.xor) }
  @inline(__always)
  func shiftLeft(_ a: Value, _ count: Int) -> Value { both(a) { half.shiftLeft($0, count) } }
  @inline(__always)
  func shiftRight(_ a: Value, _ count: Int) -> Value { both(a) { half.shiftRight($0, count) } }

  @inline(__always)
  func converted(bits: Value) -> Value { both(bits, half.converted) }
  @inline(__always)
  func equal(_ a: Value, _ b: Value) -> Mask { both(a, b, half.equal) }
  @inline(__always)
  func less(_ a: Value, _ b: Value) -> Mask { both(a, b, half.less) }
  @inline(__always)
  func lessEqual(_ a: Value, _ b: Value) -> Mask { both(a, b, half.lessEqual) }
  @inline(__always)
  func isNaN(_ x: Value) -> Mask { both(x, half.isNaN) }
  @inline(__always)
  func isNegative(_ x: Value) -> Mask { both(x, half.isNegative) }
  @inline(__always)
  func isOdd(_ x: Value) -> Mask { both(x, half.isOdd) }
  @inline(__always)
  func and(_ a: Mask, _ b: Mask) -> Mask { (half.and(a.0, b.0), half.and(a.1, b.1)) }
  @inline(__always)
  func or(_ a: Mask, _ b: Mask) -> Mask { (half.or(a.0, b.0), half.or(a.1, b.1)) }
  @inline(__always)
  func not(_ mask: Mask) -> Mask { (half.not(mask.0), half.not(mask.1)) }
  @inline(__always)
  func select(_ mask: Mask, _ a: Value, _ b: Value) -> Value {
    (half.select(mask.0, a.0, b.0), half.select(mask.1, a.1, b.1))
  }
  @inline(__always)
  func number(at place: Value, in table: F8) -> Value {
    both(place) { half.number(at: $0, in: table) }
  }

  @inline(__always)
  func widened(_ x: Value) -> (Half.Wide.Value, Half.Wide.Value) { both(x, half.widened) }
  @inline(__always)
  func narrowed(_ x: (Half.Wide.Value, Half.Wide.Value)) -> Value {
    (half.narrowed(x.0), half.narrowed(x.1))
  }

  /// Both halves at once: nobody has to know which one it was.
  @inline(__always)
  func either(
    _ isPlain: @autoclosure () -> Mask, _ fast: () -> Value, full: () -> Value
  ) -> Value { full() }
  @inline(__always)
  func finished<F: ElementaryFunction>(
    _ fast: Value, where isGood: Mask, _ function: F.Type, _ x: Value, _ y: Value
  ) -> Value {
    (
      half.finished(fast.0, where: isGood.0, function, x.0, y.0),
      half.finished(fast.1, where: isGood.1, function, x.1, y.1)
    )
  }
  @inline(__always)
  func eachLane<F: ElementaryFunction>(_ function: F.Type, _ x: Value, _ y: Value) -> Value {
    (half.eachLane(function, x.0, y.0), half.eachLane(function, x.1, y.1))
  }
}
