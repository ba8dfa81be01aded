// The remainder of a division. Uses ElementaryLanes.

import Foundation

/// What is left of `x` after whole multiples of `y` are taken off, with the sign of `x`: exact.
///
/// By the C library, lane by lane: the quotient may have thousands of bits.
enum Remainder: ElementaryFunction {
  static let bounds = (single: 0.5, double: 0.5)
  static let domain = 0.2...1.7
  static let reference: @Sendable (Double, Double) -> Double = { x, y in Foundation.fmod(x, y) }
  static let exact: (@Sendable (Double, Double) -> Double)? = { x, y in Foundation.fmod(x, y) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _ y: L.Value) -> L.Value {
    l.eachLane(Self.self, x, y)
  }
}
