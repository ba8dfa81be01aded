// Logarithms. Uses ElementaryLanes, and of Exponentials.swift the pieces of ln 2.

import Foundation

extension ElementaryLanes {
  /// `u` as `2^k (1 + f)` with `1 + f` between the roots of 1/2 and 2; `u` positive and normal.
  ///
  /// The exponent's field becomes a float as the low bits of 2^23 (2^52): lane-wise conversions of whole
  /// numbers break portable vector code apart.
  @inline(__always)
  func split(_ u: Value) -> (k: Value, f: Value) {
    let root: Int64 = isSingle ? 0x3F35_04F3 : 0x3FE6_A09E_667F_3BCD
    let one: Int64 = isSingle ? 0x3F80_0000 : 0x3FF0_0000_0000_0000
    let field: Int64 = isSingle ? 0x007F_FFFF : 0x000F_FFFF_FFFF_FFFF
    let whole = isSingle ? 0x1p23 : 0x1p52
    let wholeBits: Int64 = isSingle ? 0x4B00_0000 : 0x4330_0000_0000_0000
    let shifted = addBits(u, bits(one - root))
    let exponent = or(shiftRight(shifted, exponentPlace), bits(wholeBits))
    let k = sub(exponent, number(whole + bias))
    let m = addBits(and(shifted, bits(field)), bits(root))
    return (k, sub(m, number(1)))
  }

  /// `k ln2High + log(1 + f) + low` for a small `low`: `k ln2Low` and what else there is.
  ///
  /// Single precision: `log(1 + f) = f - f^2/2 + f^3 P(f)` as in Cephes, P fitted anew (relative error
  /// 2^-29.7). The exact error of `k hi + f` goes into the small terms, so that one rounding remains.
  ///
  /// Double precision: with `s = f / (2 + f)` the series of `2 atanh(s)` gives
  /// `log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2)))`, fdlibm's arrangement; R fitted anew, relative error
  /// 2^-59.
  @inline(__always)
  func logSum(_ k: Value, _ f: Value, _ low: Value) -> Value {
    if isSingle {
      let p = polynomial(
        f, 0.06623586, -0.11583784, 0.118988946, -0.12424182, 0.14220239, -0.16666761, 0.20002052,
        -0.25000036, 0.33333313)
      let small = mul(mul(f, f), fms(p, f, number(0.5)))
      let high = mul(k, ln2High)
      let sum = add(high, f)
      let rest = add(sub(high, sum), f)
      return add(sum, add(small, add(rest, low)))
    }
    let s = div(f, add(f, number(2)))
    let z = mul(s, s)
    let p = polynomial(
      z, 0.14798254355874008, 0.15313832761378274, 0.18183572327162073, 0.22222198429548629,
      0.28571428743681315, 0.3999999999940937, 0.6666666666666735)
    let square = mul(mul(f, number(0.5)), f)
    let tail = sub(square, fma(s, fma(z, p, square), low))
    return fms(k, ln2High, sub(tail, f))
  }

  /// The logarithm to base 2 of a positive normal number in double precision, relative error below 2^-44.
  ///
  /// With `x = 2^k (1 + f)` and `s = f / (2 + f)`, `log(1 + f) = 2 atanh(s)`, the series' tail as a minimax
  /// fit.
  @inline(__always)
  func shortLog2(_ x: Value) -> Value {
    let (k, f) = split(x)
    let s = div(f, add(f, number(2)))
    let z = mul(s, s)
    let p = polynomial(
      z, 0.19585536786641003, 0.221760984907639, 0.28572111163060526, 0.3999999560449164,
      0.6666666667584686)
    let tail = mul(s, fma(z, p, number(2)))
    return fma(tail, number(1.4426950408889634), k)
  }

  /// The logarithm of a positive number to another base, in double precision; `low` factors are what
  /// rounding has cut off. Error below 0.9 ULP.
  ///
  /// `log(1 + f)` is `high + low`: `high` is the leading 22 bits of `f - f^2/2`, so that its product with
  /// the 31 bits of `scale.high` is exact, and so is that of `k` with `place.high`. The two large products
  /// are added with the error of their sum.
  @inline(__always)
  fileprivate func logarithm(
    _ x: Value, place: (high: Double, low: Double), scale: (high: Double, low: Double)
  ) -> Value {
    let isTiny = less(x, smallestNormal)
    let (scaled, f) = split(select(isTiny, mul(x, number(0x1p54)), x))
    let k = sub(scaled, select(isTiny, number(54), number(0)))
    let s = div(f, add(f, number(2)))
    let z = mul(s, s)
    let p = polynomial(
      z, 0.14798254355874008, 0.15313832761378274, 0.18183572327162073, 0.22222198429548629,
      0.28571428743681315, 0.3999999999940937, 0.6666666666666735)
    let square = mul(mul(f, number(0.5)), f)
    let high = and(sub(f, square), bits(-0x8000_0000))
    let low = add(sub(sub(f, high), square), mul(s, fma(z, p, square)))
    let whole = mul(k, number(place.high))
    let part = mul(high, number(scale.high))
    let sum = add(whole, part)
    let rest = fma(
      add(high, low), number(scale.low), fma(low, number(scale.high), mul(k, number(place.low))))
    return add(sum, add(add(sub(whole, sum), part), rest))
  }

  /// A logarithm's result with the special values set: minus infinity at `zero`, NaN below.
  @inline(__always)
  func withLogSpecials(_ result: Value, _ x: Value, zero: Double) -> Value {
    let zero = number(zero)
    var y = select(equal(x, zero), number(-.infinity), result)
    y = select(less(x, zero), number(.nan), y)
    y = select(equal(x, number(.infinity)), x, y)
    return select(isNaN(x), x, y)
  }

  @inline(__always)
  var smallestNormal: Value {
    number(isSingle ? Double(Float.leastNormalMagnitude) : .leastNormalMagnitude)
  }

  /// `log` with denormal numbers scaled up and the special values set.
  @inline(never)
  fileprivate func logOfAnything(_ x: Value) -> Value {
    let isTiny = less(x, smallestNormal)
    let u = select(isTiny, mul(x, number(isSingle ? 0x1p23 : 0x1p54)), x)
    let (scaled, f) = split(u)
    let k = sub(scaled, select(isTiny, number(isSingle ? 23 : 54), number(0)))
    return withLogSpecials(logSum(k, f, mul(k, ln2Low)), x, zero: 0)
  }
}

/// The natural logarithm; minus infinity at zero, NaN below.
enum Log: ElementaryFunction {
  static let bounds = (single: 1.0, double: 1.0)
  static let domain = 0.2...1.7
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.log(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let isNormal = l.and(l.lessEqual(l.smallestNormal, x), l.less(x, l.number(.infinity)))
    return l.either(isNormal) {
      let (k, f) = l.split(x)
      return l.logSum(k, f, l.mul(k, l.ln2Low))
    } full: {
      l.logOfAnything(x)
    }
  }
}

/// The logarithm to base 2, exact for powers of 2; minus infinity at zero, NaN below. Single precision is
/// rounded once from double precision.
enum Log2: ElementaryFunction {
  static let bounds = (single: 0.51, double: 1.0)
  static let domain = 0.2...1.7
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.log2(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let result =
      l.isSingle
      ? l.narrowed(l.wide.shortLog2(l.widened(x)))
      : l.logarithm(x, place: (1, 0), scale: (1.442695040255785, 6.331784189566044e-10))
    return l.withLogSpecials(result, x, zero: 0)
  }
}

/// The logarithm to base 10; minus infinity at zero, NaN below. Single precision is rounded once from double
/// precision.
enum Log10: ElementaryFunction {
  static let bounds = (single: 0.51, double: 1.0)
  static let domain = 0.2...1.7
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.log10(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let result: L.Value
    if l.isSingle {
      let binary = l.wide.shortLog2(l.widened(x))
      result = l.narrowed(l.wide.mul(binary, l.wide.number(0.3010299956639812)))
    } else {
      result = l.logarithm(
        x, place: (0.30102999566361177, 3.694239077158931e-13),
        scale: (0.43429448176175356, 1.414982685385801e-10))
    }
    return l.withLogSpecials(result, x, zero: 0)
  }
}

/// `log(1 + x)`, sign of zero kept; minus infinity at -1, NaN below.
///
/// With `u = 1 + x` rounded and `c` its exact error, `log(1 + x)` is `log u + c / u` to first order
/// (fdlibm's method); near zero `f = x` is exact and needs no correction.
enum Log1p: ElementaryFunction {
  static let bounds = (single: 1.0, double: 1.0)
  static let domain = 0.2...1.7
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.log1p(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let one = l.number(1)
    let zero = l.number(0)
    let u = l.add(x, one)
    let isLarge = l.lessEqual(one, x)
    let error = l.select(isLarge, l.sub(one, l.sub(u, x)), l.sub(x, l.sub(u, one)))
    let (k, fu) = l.split(u)
    let isNear = l.equal(k, zero)
    let f = l.select(isNear, x, fu)
    let correction = l.select(isNear, zero, l.div(error, u))
    let sum = l.logSum(k, f, l.add(l.mul(k, l.ln2Low), correction))
    let result = l.withSign(sum, of: x)
    let isPlain = l.and(l.less(l.number(-1), x), l.less(x, l.number(.infinity)))
    return l.either(isPlain) {
      result
    } full: {
      l.withLogSpecials(result, x, zero: -1)
    }
  }
}
