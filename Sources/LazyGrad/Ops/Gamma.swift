// The logarithm of the gamma function and its derivatives.

internal import LazyGradJIT

/// The logarithm of the absolute value of the gamma function, elementwise: of a whole number `n` that of
/// `(n - 1)!`. Infinite at 0 and negative whole numbers. Integers and bools give float64.
///
/// The gradient is `digamma`; derivatives of any order are `polygamma`.
/// - Complexity: records one node; the C library's function for every element.
public func lgamma(_ x: Tensor) -> Tensor { .unary(.lgamma, x) }
extension VJP { func lgamma() { derivatives(a: .times(self(.polygamma, number(0), a))) } }

/// The derivative of `lgamma`, elementwise: `polygamma(0, x)`.
public func digamma(_ x: Tensor) -> Tensor { polygamma(0, x) }

/// The derivative of order `order + 1` of `lgamma`, elementwise: `polygamma(1, x)` is the trigamma function.
///
/// - Parameters:
///   - order: From 0 to 100.
///   - x: Odd orders are infinite at 0 and negative whole numbers, even ones have no value there. Integers and
///     bools give float64.
/// - Complexity: records one node; about 20 divisions for every element.
public func polygamma(_ order: Int, _ x: Tensor) -> Tensor {
  if let poison = poisoned(x) { return poison }
  if !(0...100).contains(order) {
    return fail("polygamma", "expected an order from 0 to 100, got \(order)", [x])
  }
  return x.compose { r in
    let x = r.floating(r.x)
    return r(.polygamma, r.number(Double(order), like: x), x)
  }
}
extension VJP {
  /// The order is a number, to which no gradient goes.
  func polygamma() {
    derivatives(
      a: .times(number(0)), b: .times(self(.polygamma, self(.add, a, number(1)), b)))
  }
}
