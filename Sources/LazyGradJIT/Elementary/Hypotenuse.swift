// The length of a vector of two components. Uses ElementaryLanes.

import Foundation

/// `sqrt(x^2 + y^2)` without overflow or loss on the way; infinite where one of both is, whatever the other is.
///
/// In float32 the squares are exact in double precision. In float64 both are scaled by a power of 2 where
/// squares leave the range, the sum of squares is kept with what rounding takes from it (squares of halves
/// are exact, Dekker, A Floating-Point Technique for Extending the Available Precision, 1971), and one step
/// of Newton's method mends the root.
enum Hypotenuse: ElementaryFunction {
  static let bounds = (single: 1.0, double: 0.75)
  static let isWide = true
  static let reference: @Sendable (Double, Double) -> Double = { x, y in Foundation.hypot(x, y) }

  @inline(__always)
  static func value<L: ElementaryLanes>(_ l: L, _ x: L.Value, _ y: L.Value) -> L.Value {
    let (a, b) = (l.magnitude(x), l.magnitude(y))
    let infinity = l.number(.infinity)
    let isInfinite = l.or(l.equal(a, infinity), l.equal(b, infinity))
    let length = l.isSingle ? wideLength(l, a, b) : scaledLength(l, a, b)
    return l.select(isInfinite, infinity, length)
  }

  @inline(__always)
  private static func wideLength<L: ElementaryLanes>(
    _ l: L, _ a: L.Value, _ b: L.Value
  ) -> L.Value {
    let (w, x, y) = (l.wide, l.widened(a), l.widened(b))
    return l.narrowed(w.sqrt(w.add(w.mul(x, x), w.mul(y, y))))
  }

  @inline(__always)
  private static func scaledLength<L: ElementaryLanes>(
    _ l: L, _ a: L.Value, _ b: L.Value
  ) -> L.Value {
    let isFirst = l.less(b, a)
    let (large, small) = (l.select(isFirst, a, b), l.select(isFirst, b, a))
    let isTiny = l.less(large, l.number(0x1p-500))
    let isHuge = l.less(l.number(0x1p500), large)
    func scale(_ tiny: Double, _ huge: Double) -> L.Value {
      l.select(isTiny, l.number(tiny), l.select(isHuge, l.number(huge), l.number(1)))
    }
    let factor = scale(0x1p600, 0x1p-600)
    let length = exactLength(l, l.mul(large, factor), l.mul(small, factor))
    return l.mul(length, scale(0x1p-600, 0x1p600))
  }

  /// For the larger and the smaller of two numbers whose squares are in range.
  @inline(__always)
  private static func exactLength<L: ElementaryLanes>(
    _ l: L, _ a: L.Value, _ b: L.Value
  ) -> L.Value {
    /// The exact square of the leading half, and what the square has more.
    func squared(_ x: L.Value) -> (L.Value, L.Value) {
      let high = l.and(x, l.bits(-0x800_0000))
      return (l.mul(high, high), l.mul(l.sub(x, high), l.add(x, high)))
    }
    let ((first, firstRest), (second, secondRest)) = (squared(a), squared(b))
    let most = l.add(first, second)
    let lost = l.sub(second, l.sub(most, first))
    let rest = l.add(lost, l.add(firstRest, secondRest))
    let sum = l.add(most, rest)
    let sumRest = l.sub(rest, l.sub(sum, most))
    let root = l.sqrt(sum)
    let (square, squareRest) = squared(root)
    let missing = l.add(l.sub(l.sub(sum, square), squareRest), sumRest)
    // Of zeros nothing is missing.
    return l.add(root, l.div(missing, l.atLeast(l.add(root, root), 0x1p-500)))
  }
}
