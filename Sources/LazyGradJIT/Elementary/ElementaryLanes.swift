// What an elementary function is written in: arithmetic on lanes, whatever runs it. Vectors of the
// portable kernels are lanes, and so are the values of a loop that is being compiled. Uses Core.

/// Arithmetic on floats of one precision, one in each lane.
///
/// A value is also the bits of its floats: what an operation takes it for is in the operation's name.
/// Every lane is computed alone: results don't depend on the neighbours.
package protocol ElementaryLanes {
  associatedtype Value
  associatedtype Mask
  /// As many lanes in double precision.
  associatedtype Wide: ElementaryLanes

  /// Whether the precision is single.
  var isSingle: Bool { get }
  /// Whether `fma` rounds once.
  var isFused: Bool { get }
  var wide: Wide { get }

  /// A number in every lane.
  func number(_ value: Double) -> Value
  /// Bits in every lane.
  func bits(_ value: Int64) -> Value

  func add(_ a: Value, _ b: Value) -> Value
  func sub(_ a: Value, _ b: Value) -> Value
  func mul(_ a: Value, _ b: Value) -> Value
  func div(_ a: Value, _ b: Value) -> Value
  /// The square root of a positive number or zero, correctly rounded; NaN below.
  func sqrt(_ x: Value) -> Value
  /// `a * b + c`, with one rounding where the tier has that.
  func fma(_ a: Value, _ b: Value, _ c: Value) -> Value
  /// `c - a * b`
  func fnma(_ a: Value, _ b: Value, _ c: Value) -> Value
  /// `a * b - c`
  func fms(_ a: Value, _ b: Value, _ c: Value) -> Value
  /// The nearest whole number, for numbers of which half a digit more than the precision has is left.
  func round(_ x: Value) -> Value
  /// The smaller one of both; NaN stays.
  func atMost(_ x: Value, _ limit: Double) -> Value
  /// The larger one of both; NaN stays.
  func atLeast(_ x: Value, _ limit: Double) -> Value
  /// `x 2^k` for a whole `k`, with one rounding, down to denormal numbers.
  func scaled(_ x: Value, _ k: Value) -> Value
  /// Whether that is right for any `k`, and not only for those with which it is in range, or a little out of it.
  var scalesByAnything: Bool { get }

  func addBits(_ a: Value, _ b: Value) -> Value
  func subtractBits(_ a: Value, _ b: Value) -> Value
  func and(_ a: Value, _ b: Value) -> Value
  func or(_ a: Value, _ b: Value) -> Value
  func xor(_ a: Value, _ b: Value) -> Value
  func shiftLeft(_ a: Value, _ count: Int) -> Value
  /// Zeros come in.
  func shiftRight(_ a: Value, _ count: Int) -> Value
  /// The nearest float to each lane's bits as an integer with sign. Single precision only.
  func converted(bits: Value) -> Value

  func equal(_ a: Value, _ b: Value) -> Mask
  func less(_ a: Value, _ b: Value) -> Mask
  func lessEqual(_ a: Value, _ b: Value) -> Mask
  func isNaN(_ x: Value) -> Mask
  /// Whether a number that is not negative is denormal, infinite or NaN.
  func isUnusual(_ x: Value) -> Mask
  /// Whether the sign bit is set.
  func isNegative(_ x: Value) -> Mask
  /// Whether the lowest bit is set.
  func isOdd(_ x: Value) -> Mask
  func and(_ a: Mask, _ b: Mask) -> Mask
  func or(_ a: Mask, _ b: Mask) -> Mask
  func not(_ mask: Mask) -> Mask
  /// `a` where the mask is true, else `b`.
  func select(_ mask: Mask, _ a: Value, _ b: Value) -> Value
  /// The number of a table whose place is in the three lowest bits. Single precision only.
  func number(at place: Value, in table: SIMD8<Float>) -> Value

  func widened(_ x: Value) -> Wide.Value
  func narrowed(_ x: Wide.Value) -> Value

  /// `fast` where the mask is true in every lane and that is found out at the time; else `full`, which
  /// has the same bits in the lanes where the mask is true.
  func either(
    _ isPlain: @autoclosure () -> Mask, _ fast: () -> Value, full: () -> Value
  ) -> Value
  /// `fast`, with the lanes where the mask is false computed one by one by the function's `exact`.
  func finished<F: ElementaryFunction>(
    _ fast: Value, where isGood: Mask, _ function: F.Type, _ x: Value, _ y: Value
  ) -> Value
  /// Every lane computed by the function's `exact`.
  func eachLane<F: ElementaryFunction>(_ function: F.Type, _ x: Value, _ y: Value) -> Value
}

extension ElementaryLanes {
  @inline(__always)
  var scalesByAnything: Bool { false }

  @inline(__always)
  func isUnusual(_ x: Value) -> Mask { isUnusualByComparisons(x) }

  @inline(__always)
  func isUnusualByComparisons(_ x: Value) -> Mask {
    let isNormal = and(lessEqual(smallestNormal, x), less(x, number(.infinity)))
    return not(or(isNormal, equal(x, number(0))))
  }

  /// What is added to a number, and taken off again, to round it to a whole one, which then stands in
  /// the low bits of the sum.
  @inline(__always)
  var roundShift: Double { isSingle ? 0x1.8p23 : 0x1.8p52 }

  /// The lowest bit of the exponent.
  @inline(__always)
  var exponentPlace: Int { isSingle ? 23 : 52 }

  /// What is added to an exponent in its field.
  @inline(__always)
  var bias: Double { isSingle ? 127 : 1023 }

  /// The sign bit in every lane.
  @inline(__always)
  var signBit: Value { bits(isSingle ? Int64(Int32.min) : .min) }

  @inline(__always)
  func magnitude(_ x: Value) -> Value { and(x, bits(isSingle ? Int64(Int32.max) : .max)) }

  @inline(__always)
  func negated(_ x: Value) -> Value { xor(x, signBit) }

  /// `x` with the sign bit of `y` switched on; `x` is positive, or negative only where `y` is.
  @inline(__always)
  func withSign(_ x: Value, of y: Value) -> Value { or(x, and(y, signBit)) }

  @inline(__always)
  func clamp(_ x: Value, _ low: Double, _ high: Double) -> Value { atMost(atLeast(x, low), high) }

  /// `2^k` for a whole `k` in the range of normal numbers: the rounding constant carries the bias
  /// along, so that the low bits of the sum are the exponent's field.
  @inline(__always)
  func power2(_ k: Value) -> Value { shiftLeft(add(k, number(roundShift + bias)), exponentPlace) }

  /// `k` and twice the exponents' bias become an integer at the place of exponents. Half of it, rounded
  /// down, and the rest are the bits of two powers whose product is `2^k`; the first product of the two
  /// with `x` is exact, the second one rounds.
  @inline(__always)
  func scaledByHalves(_ x: Value, _ k: Value) -> Value {
    let exponents = shiftLeft(add(k, number(roundShift + 2 * bias)), exponentPlace)
    let field = bits(isSingle ? 0x7F80_0000 : 0x7FF0_0000_0000_0000)
    let half = and(shiftRight(exponents, 1), field)
    return mul(mul(x, half), subtractBits(exponents, half))
  }

  /// A polynomial by Horner's rule, the highest coefficient first.
  ///
  /// Parameters instead of an array: as constants they disappear in vector code.
  @inline(__always)
  func polynomial(
    _ x: Value, _ c0: Double, _ c1: Double, _ c2: Double, _ c3: Double? = nil, _ c4: Double? = nil,
    _ c5: Double? = nil, _ c6: Double? = nil, _ c7: Double? = nil, _ c8: Double? = nil,
    _ c9: Double? = nil, _ c10: Double? = nil, _ c11: Double? = nil, _ c12: Double? = nil
  ) -> Value {
    var p = fma(fma(number(c0), x, number(c1)), x, number(c2))
    if let c3 { p = fma(p, x, number(c3)) }
    if let c4 { p = fma(p, x, number(c4)) }
    if let c5 { p = fma(p, x, number(c5)) }
    if let c6 { p = fma(p, x, number(c6)) }
    if let c7 { p = fma(p, x, number(c7)) }
    if let c8 { p = fma(p, x, number(c8)) }
    if let c9 { p = fma(p, x, number(c9)) }
    if let c10 { p = fma(p, x, number(c10)) }
    if let c11 { p = fma(p, x, number(c11)) }
    if let c12 { p = fma(p, x, number(c12)) }
    return p
  }
}
