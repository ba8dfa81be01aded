// Powers. Uses ElementaryLanes, and of Logarithms.swift how a number is split.

import Foundation

extension ElementaryLanes {
  /// `x^y` in double precision for finite `x >= 0` and `y`, good to 27 bits.
  ///
  /// The logarithm is the one of `shortLog2` with a term less, fit error 2^-37.6, because it is multiplied by 150
  /// at most before the result is out of range; the power's fit error is 2^-27.
  @inline(__always)
  fileprivate func shortPower(_ x: Value, _ y: Value) -> Value {
    let (k, f) = split(x)
    let s = div(f, add(f, number(2)))
    let z = mul(s, s)
    let p = polynomial(
      z, 0.23581611807542754, 0.2853734007452694, 0.400003346353172, 0.666666656482375)
    let tail = mul(s, fma(z, p, number(2)))
    let finite = fma(tail, number(1.4426950408889634), k)
    // Of zero a number instead of minus infinity, so that its product with an exponent of zero is zero.
    let log2 = select(equal(x, number(0)), number(-0x1p200), finite)
    let t = clamp(mul(y, log2), -300, 300)
    let n = round(t)
    let r = sub(t, n)
    let q = polynomial(
      r, 0.0001540906808346165, 0.0013401167071360528, 0.009618871004387401, 0.05550330697927873,
      0.24022636863178487, 0.6931472021360566)
    return mul(fma(r, q, number(1)), power2(n))
  }
}

/// `x^y` with the special cases of IEEE 754.
///
/// Single precision is rounded once from double precision, to denormal numbers, zero or infinity too, so that
/// results that are numbers of the precision are exact. Negative bases take their sign from the parity of
/// `y`. NaN, infinite bases and huge `y` are computed one by one, and so is all of double precision: an error
/// below 1 ULP takes a logarithm in twice the working precision.
enum Power: ElementaryFunction {
  static let bounds = (single: 0.65, double: 1.0)
  static let domain = 0.2...1.7
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, y in Foundation.pow(x, y) }
  /// By the C library. glibc, musl and Darwin state errors below 1 ULP, and the tests hold them to it.
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, y in Foundation.pow(x, y) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _ y: L.Value) -> L.Value {
    if !l.isSingle { return l.eachLane(Self.self, x, y) }
    let a = l.magnitude(x)
    let b = l.magnitude(y)
    let power = l.narrowed(l.wide.shortPower(l.widened(a), l.widened(y)))
    /// Up to here the sum with the rounding constant shows the parity.
    func isPlain() -> L.Mask {
      l.and(l.less(a, l.number(.infinity)), l.lessEqual(b, l.number(0x1p22)))
    }
    return l.either(l.and(isPlain(), l.not(l.isNegative(x)))) {
      power
    } full: {
      let shift = l.number(l.roundShift)
      let shifted = l.add(b, shift)
      let sign = l.and(l.shiftLeft(shifted, 31), x)
      // Few masks at a time: with more, machine code would not have room for two vectors side by side.
      let isWhole = l.equal(l.sub(shifted, shift), b)
      let other = l.select(l.less(x, l.number(0)), l.number(.nan), power)
      let result = l.select(isWhole, l.or(power, sign), other)
      return l.finished(result, where: isPlain(), Self.self, x, y)
    }
  }
}
