// The cube root. Uses ElementaryLanes, and of Logarithms.swift how a number is split.

import Foundation

extension ElementaryLanes {
  /// The cube root of a positive normal number, in double precision; error below 0.67 ULP.
  ///
  /// With `x = 8^q m` and `m = 2^r (1 + f)` for `r` in -1...1: a minimax fit of `cbrt(1 + f)` of degree 5
  /// (relative error 2^-19.6) times `2^(r/3)`, cut to 23 bits so that its square is exact, then one step
  /// of Halley's iteration in fdlibm's arrangement, which leaves 2^-59.
  @inline(__always)
  fileprivate func cubeRoot(_ x: Value) -> Value {
    let one = number(1)
    let (k, f) = split(x)
    let q = round(mul(k, number(1.0 / 3)))
    let r = fnma(q, number(3), k)
    let m = mul(add(f, one), power2(r))
    let p = polynomial(
      f, 0.026954991231318653, -0.04478225926319899, 0.062287657285686436, -0.1109640971139332,
      0.3333203138272232, 0.9999990131951455)
    // The cube roots of 2 and 1/2.
    let factor = select(
      equal(r, one), number(1.2599210498948732),
      select(equal(r, number(-1)), number(0.7937005259840998), one))
    let rounded = addBits(mul(p, factor), bits(0x2000_0000))
    let t = and(rounded, bits(-0x4000_0000))
    let quotient = div(m, mul(t, t))
    let step = div(sub(quotient, t), add(add(t, t), quotient))
    return mul(fma(t, step, t), power2(q))
  }
}

/// The cube root, sign of zero kept. Single precision is rounded once from double precision.
enum Cbrt: ElementaryFunction {
  static let bounds = (single: 0.51, double: 0.7)
  static let domain = 0.2...1.7
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.cbrt(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let zero = l.number(0)
    let a = l.magnitude(x)
    let root: L.Value
    if l.isSingle {
      root = l.narrowed(l.wide.cubeRoot(l.widened(a)))
    } else {
      // Denormal numbers times 2^54, a cube.
      let isTiny = l.less(a, l.smallestNormal)
      let scaled = l.select(isTiny, l.mul(a, l.number(0x1p54)), a)
      root = l.mul(l.cubeRoot(scaled), l.select(isTiny, l.number(0x1p-18), l.number(1)))
    }
    // Zero, infinity and not-a-number are their own roots.
    let isOrdinary = l.and(l.less(zero, a), l.less(a, l.number(.infinity)))
    return l.select(isOrdinary, l.withSign(root, of: x), x)
  }
}
