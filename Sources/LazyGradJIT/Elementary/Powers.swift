// Powers. Uses ElementaryLanes, and of Logarithms.swift how a number is split.

import Foundation

extension ElementaryLanes {
  /// `x^y` in double precision for `x >= 0` and finite `y`, good to about 40 bits.
  @inline(__always)
  fileprivate func shortPower(_ x: Value, _ y: Value) -> Value {
    let zero = number(0)
    let infinity = number(.infinity)
    var log2 = shortLog2(x)
    log2 = select(equal(x, zero), number(-.infinity), log2)
    log2 = select(equal(x, infinity), infinity, log2)
    let product = select(equal(y, zero), zero, mul(y, log2))
    let t = clamp(product, -300, 300)
    let n = round(t)
    let r = sub(t, n)
    let q = polynomial(
      r, 1.335995676745536e-05, 0.00015461391244587285, 0.0013341953880636923,
      0.009618056861158852, 0.05550400367534373, 0.24022650921039576, 0.6931471838204887)
    return mul(fma(r, q, number(1)), power2(n))
  }
}

/// `x^y` with the special cases of IEEE 754.
///
/// Single precision is rounded once from double precision, to denormal numbers, zero or infinity too: a
/// correctly rounded result nearly always. Negative bases take their sign from the parity of `y`. NaN,
/// infinite `y` and negative bases with huge `y` are computed one by one, and so is all of double
/// precision: an error below 1 ULP takes a logarithm in twice the working precision.
enum Power: ElementaryFunction {
  static let bounds = (single: 1.0, double: 1.0)
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
    let infinity = l.number(.infinity)
    let zero = l.number(0)
    let power = l.narrowed(l.wide.shortPower(l.widened(a), l.widened(y)))
    let isNegative = l.isNegative(x)
    let isPlain = l.and(l.equal(x, x), l.less(b, infinity))
    return l.either(l.and(isPlain, l.not(isNegative))) {
      power
    } full: {
      let shift = l.number(l.roundShift)
      let shifted = l.add(b, shift)
      let isWhole = l.equal(l.sub(shifted, shift), b)
      let parity = l.shiftLeft(shifted, 31)
      let signed = l.or(power, l.select(l.and(isNegative, isWhole), parity, zero))
      let isBelow = l.and(l.less(x, zero), l.less(a, infinity))
      let result = l.select(l.and(isBelow, l.not(isWhole)), l.number(.nan), signed)
      // Up to here the sum with the rounding constant shows the parity.
      let isShort = l.lessEqual(b, l.number(0x1p22))
      let isFast = l.and(isPlain, l.or(l.not(isNegative), isShort))
      return l.finished(result, where: isFast, Self.self, x, y)
    }
  }
}
