// The error function. Uses ElementaryLanes.

import Foundation

/// The error function, sign of zero kept.
///
/// Single precision: below 1 `x + x E(x^2)` (fit error 2^-29.5); above `1 - e^G(x)` with `G` a fit of
/// `log(erfc x)` up to 3.95, absolute error 2^-29.7 after the exponential. From there on the result is 1.
///
/// Double precision: below 0.93 `x + x E(x^2)` (fit error 2^-61). Above `1 - e^(-x^2) H((x - 2) / (x + 2))`
/// up to 6, where the result is 1: `H` fits the scaled complement `e^(x^2) erfc x` with the error weighted
/// by `e^(-x^2)`, so that 2^-57 is what reaches the result.
enum Erf: ElementaryFunction {
  static let bounds = (single: 1.3, double: 1.3)
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in Foundation.erf(x) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    let one = l.number(1)
    let a = l.atMost(l.magnitude(x), l.isSingle ? 3.95 : 6)
    let z = l.mul(a, a)
    if l.isSingle {
      let p = l.polynomial(
        z, 7.920304e-5, -8.0307503e-4, 0.0051907334, -0.026855126, 0.11283618, -0.3761263,
        0.12837917)
      let near = l.fma(a, p, a)
      let g = l.polynomial(
        a, 1.8796789e-4, -0.0029639741, 0.021906368, -0.10325601, -0.6379652, -1.1272022,
        -3.1250349e-4)
      let (k, high, low) = l.reducedExp(g)
      let far = l.fnma(l.add(l.add(high, low), one), l.power2(k), one)
      return l.withSign(l.select(l.less(a, one), near, far), of: x)
    }
    let p = l.polynomial(
      z, 1.634200659368824e-10, -1.7609269169293968e-09, 1.62983459619935e-08,
      -1.6597636923930035e-07, 1.6484674770357287e-06, -1.4927092076190329e-05,
      0.00012055394242585424, -0.0008548328733610603, 0.0052239776556675084,
      -0.026866170648280275, 0.11283791670972064, -0.3761263890318411, 0.1283791670955126)
    let near = l.fma(a, p, a)
    let two = l.number(2)
    let h = l.polynomial(
      l.div(l.sub(a, two), l.add(a, two)), -1.1959799050474521e-05, -2.5814180247141926e-05,
      2.78992141839782e-05, 0.00017427435840475084, 4.350854242462059e-05, -0.0009819806965891936,
      -0.0008471421193755734, 0.00699746194093891, 0.0037328924032330253, -0.07897858101766606,
      0.24165819424239252, -0.4271858474139556, 0.25539567631050586)
    let (k, high, low) = l.reducedExp(l.negated(z))
    let whole = l.mul(h, l.power2(k))
    let far = l.sub(one, l.fma(whole, l.add(high, low), whole))
    return l.withSign(l.select(l.less(a, l.number(0.93)), near, far), of: x)
  }
}
