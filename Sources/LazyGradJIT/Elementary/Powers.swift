// Powers. Uses ElementaryLanes, and of Logarithms.swift how a number is split.

import Foundation

/// Eight numbers near `1/m`, one for each eighth of the `m` from 23/32 to 23/16, and their negated logarithms to
/// base 2.
///
/// Accurate tables (Gal and Bachelis, An Accurate Elementary Mathematical Library for the IEEE Floating Point
/// Standard, ACM TOMS 17, 1991): of the floats that keep `m c - 1` below 1/16 those were searched whose logarithms
/// have only zeros for 36 digits and more behind the 17 that are here. 1 is inside of a part whose number is 1.
private enum ReciprocalTable {
  @inline(__always)
  static var numbers: SIMD8<Float> {
    SIMD8(
      0x1.52242p+0, 0x1.3538d4p+0, 0x1.26379p+0, 0x1.0d33d6p+0, 1, 0x1.c40ab6p-1, 0x1.94c47cp-1,
      0x1.75d43p-1)
  }
  @inline(__always)
  static var logarithms: SIMD8<Float> {
    SIMD8(
      -0x1.9b1ep-2, -0x1.170ap-2, -0x1.9b1cp-3, -0x1.2928p-4, 0, 0x1.7p-3, 0x1.5b3p-2, 0x1.d0a8p-2)
  }
}

extension ElementaryLanes {
  /// The logarithm to base 2 of a positive normal number in single precision with one rounding in multiply-adds,
  /// as a sum of two: `low` is below the last digit of `high`. Error below 2^-32 of the result.
  ///
  /// With `x = 2^k m` and a number `c` of the table, `m c` is `1 + r + rest` exactly, and `log(1 + r)` is
  /// `r - r^2/2`, in two numbers as well, plus `r^3 Q(r)` (fit error 2^-36 of `r`). To third order in `r` the rest
  /// counts as much as `rest / (1 + r)`.
  @inline(__always)
  fileprivate func pairedLog2(_ x: Value) -> (high: Value, low: Value) {
    let shifted = subtractBits(x, bits(0x3F38_0000))
    // k at the place of exponents.
    let exponent = and(shifted, bits(-1 << 23))
    let m = subtractBits(x, exponent)
    let place = shiftRight(shifted, 20)
    let c = number(at: place, in: ReciprocalTable.numbers)
    let whole = fma(
      converted(bits: exponent), number(0x1p-23), number(at: place, in: ReciprocalTable.logarithms))
    let product = mul(m, c)
    let rest = fms(m, c, product)
    let r = sub(product, number(1))
    let half = mul(r, number(0.5))
    let high = fnma(half, r, r)
    var low = fnma(half, r, sub(r, high))
    low = fma(rest, fnma(r, sub(number(1), r), number(1)), low)
    let q = polynomial(r, 0.14433151, -0.16736972, 0.19999325, -0.2499991, 0.33333334)
    low = fma(mul(mul(r, r), r), q, low)
    // Times 1 / log 2, which is a sum of two as well; what rounding takes from the sum is exact.
    let scale = number(0x1.715476p+0)
    let sum = fma(high, scale, whole)
    let lost = fma(high, scale, sub(whole, sum))
    low = fma(low, scale, fma(high, number(0x1.4ae0cp-26), lost))
    let result = add(sum, low)
    return (result, sub(low, sub(result, sum)))
  }

  /// `x^y` for `x` that is 0 or a positive normal number, and finite `y`, in single precision with one rounding in
  /// multiply-adds. Error below 0.4 ULP before the last rounding, so that results that are numbers of the
  /// precision are exact.
  ///
  /// `2^t` for `t = n + r` is `1 + r log 2 + r^2 E(r)` (fit error 2^-28); what rounding takes from the first two
  /// terms is put back.
  @inline(__always)
  fileprivate func pairedPower(_ x: Value, _ y: Value) -> Value {
    let (log2, rest) = pairedLog2(x)
    let product = mul(y, log2)
    let low = fma(y, rest, fms(y, log2, product))
    // Of zero something out of range with the other sign than y has, or zero: the bits of y as an integer are at
    // least 1.
    let ofZero = mul(converted(bits: add(y, number(0))), number(-256))
    let t = select(equal(x, number(0)), ofZero, product)
    let limited = scalesByAnything ? t : clamp(t, -200, 200)
    let n = round(limited)
    let high = sub(t, n)
    let r = add(high, low)
    let ln2 = number(0.6931472)
    let first = fma(ln2, high, number(1))
    let lost = fma(ln2, low, fma(ln2, high, sub(number(1), first)))
    let e = polynomial(
      r, 0.00015462878, 0.0013390989, 0.0096180625, 0.055503596, 0.2402265)
    let power = add(first, fma(mul(r, r), e, lost))
    // Out of range any positive number will do. Where it is scaled by anything `high` is small everywhere, and
    // `low` below 64: such a number it is.
    return scaled(scalesByAnything ? power : select(equal(t, limited), power, number(1)), n)
  }

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
/// In single precision powers that are numbers of the precision are exact, as those of small whole numbers are.
/// Where multiply-adds round once two numbers in place of one are as good as double precision, and take half as
/// many instructions; elsewhere the result is rounded from double precision. Negative bases take their sign from
/// the parity of `y`. NaN, infinite and denormal bases and huge `y` are computed one by one, and so is all of
/// double precision: an error below 1 ULP takes a logarithm in twice the working precision.
enum Power: ElementaryFunction {
  static let bounds = (single: 0.95, double: 1.0)
  static let domain = 0.2...1.7
  static let reference: @Sendable (Double, Double) -> Double = { x, y in Foundation.pow(x, y) }
  /// By the C library. glibc, musl and Darwin state errors below 1 ULP, and the tests hold them to it.
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, y in Foundation.pow(x, y) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _ y: L.Value) -> L.Value {
    if !l.isSingle { return l.eachLane(Self.self, x, y) }
    let a = l.magnitude(x)
    let b = l.magnitude(y)
    let power =
      l.isFused ? l.pairedPower(a, y) : l.narrowed(l.wide.shortPower(l.widened(a), l.widened(y)))
    /// Up to here the sum with the rounding constant shows the parity.
    func isPlain() -> L.Mask {
      l.not(l.or(l.isUnusual(a), l.not(l.lessEqual(b, l.number(0x1p22)))))
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
