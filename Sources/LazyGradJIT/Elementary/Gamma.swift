// The logarithm of the gamma function and its derivatives. Uses ElementaryLanes.

import Foundation

/// The logarithm of the absolute value of the gamma function; infinite at 0 and negative whole numbers.
///
/// By the C library, lane by lane.
enum LogGamma: ElementaryFunction {
  /// What glibc states of its own in double precision; musl and Darwin are no worse for positive arguments.
  static let bounds = (single: 0.6, double: 4.0)
  static let domain = 2.5...6.0
  static let reference: @Sendable (Double, Double) -> Double = { x, _ in logGamma(x) }
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, _ in logGamma(x) }

  /// The variant that has no variable for the sign, which threads would share.
  private static func logGamma(_ x: Double) -> Double {
    let (value, _): (Double, Int) = Foundation.lgamma(x)
    return value
  }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _: L.Value) -> L.Value {
    l.eachLane(Self.self, x, x)
  }
}

/// The derivatives of the logarithm of the gamma function: of order `x + 1` at `y`, so that 0 is the digamma
/// function. NaN for orders that are
/// no whole numbers from 0 to 100.
///
/// Digamma's error is that of numbers of about 1 next to its zeros, where its own are smaller.
enum Polygamma: ElementaryFunction {
  static let bounds = (single: 0.6, double: 8.0)
  static let domain = 2.5...6.0
  static let reference: @Sendable (Double, Double) -> Double = { x, y in polygamma(x, y) }
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, y in polygamma(x, y) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _ y: L.Value) -> L.Value {
    l.eachLane(Self.self, x, y)
  }

  private static func polygamma(_ order: Double, _ x: Double) -> Double {
    guard order >= 0, order <= 100, order == order.rounded(), !x.isNaN else { return .nan }
    let n = Int(order)
    let isOdd = n & 1 == 1
    if x > 0 { return positive(n, x) }
    if x == -.infinity { return .nan }
    if x == x.rounded() {
      // A pole: odd derivatives go to infinity on both sides, the others change their sign.
      if isOdd { return .infinity }
      return x == 0 ? (x.sign == .minus ? .infinity : -.infinity) : .nan
    }
    let mirrored = positive(n, 1 - x)
    return (isOdd ? -mirrored : mirrored) - cotangent(n, x)
  }

  /// For positive arguments: the recurrence up to where the asymptotic series has converged (DLMF 5.5.2,
  /// 5.11.2, 5.15.5 and 5.15.9), the smallest terms first.
  private static func positive(_ n: Int, _ x: Double) -> Double {
    if x == .infinity { return n == 0 ? x : n & 1 == 1 ? 0 : -0.0 }
    let far = Double(n + 15)
    let steps = x < far ? Int((far - x).rounded(.up)) : 0
    let y = x + Double(steps)
    let factorial = (1...max(n, 1)).reduce(1.0) { $0 * Double($1) }
    // The series in 1/y²: of order 0 the logarithm is added at the end.
    let square = 1 / (y * y)
    var power = square
    var ratio = n == 0 ? 0.5 : factorial * Double(n + 1) / 2
    var terms: [Double] = []
    for k in 1...bernoulli.count {
      // (2k + n - 1)! / (2k)!
      terms.append(bernoulli[k - 1] * ratio * power)
      power *= square
      let top = Double(2 * k + n)
      ratio *= top / Double(2 * k + 1) * ((top + 1) / Double(2 * k + 2))
    }
    var series = terms.reversed().reduce(0, +)
    if n == 0 {
      var sum = series + 1 / (2 * y)
      for i in (0..<steps).reversed() { sum += 1 / (x + Double(i)) }
      return Foundation.log(y) - sum
    }
    // All terms have one sign.
    let scale = Foundation.pow(y, -Double(n))
    series = series * scale + factorial / 2 * scale / y
    for i in (0..<steps).reversed() {
      series += factorial * Foundation.pow(x + Double(i), -Double(n + 1))
    }
    series += factorial / Double(n) * scale
    return n & 1 == 1 ? series : -series
  }

  /// `B(2k)` for `k` from 1 on (DLMF 24.2).
  private static let bernoulli: [Double] = [
    1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510,
    43867.0 / 798, -174611.0 / 330,
  ]

  /// The derivative of order `n` of `pi cot(pi x)`, a polynomial in the cotangent: `c' = -pi (1 + c²)`.
  private static func cotangent(_ n: Int, _ x: Double) -> Double {
    let angle = Double.pi * (x - x.rounded())
    let c = Foundation.cos(angle) / Foundation.sin(angle)
    var polynomial: [Double] = [0, 1]
    var scale = Double.pi
    for _ in 0..<n {
      var next = [Double](repeating: 0, count: polynomial.count + 1)
      for k in 1..<polynomial.count {
        next[k - 1] -= polynomial[k] * Double(k)
        next[k + 1] -= polynomial[k] * Double(k)
      }
      polynomial = next
      scale *= .pi
    }
    return scale * polynomial.reversed().reduce(0) { $0 * c + $1 }
  }
}
