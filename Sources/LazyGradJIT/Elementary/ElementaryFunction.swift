// What an elementary function says of itself. Everything that must know of one reads it here, by way of
// its row in the table of operations. Uses ElementaryLanes.

/// An elementary function: its one definition, and what is known of its results.
///
/// Its polynomials are minimax fits where nothing else is said: Remez exchange at 45 digits, coefficients
/// rounded to the precision one after the other with the rest refitted.
package protocol ElementaryFunction: Sendable {
  /// The largest errors in units of the last place that the tests allow, in either precision.
  static var bounds: (single: Double, double: Double) { get }
  /// Arguments with which random programs try it.
  static var domain: ClosedRange<Double> { get }
  /// Whether machine code computes it in double precision inside, for single precision too.
  static var isWide: Bool { get }
  /// The same function of the C library: what results are compared with.
  static var reference: @Sendable (_ x: Double, _ y: Double) -> Double { get }
  /// The function for lanes that vectors don't get right; nil where there are none.
  static var exact: (@Sendable (_ x: Double, _ y: Double) -> Double)? { get }

  /// The definition. A function of one operand doesn't look at `y`.
  static func value<L: ElementaryLanes>(_ lanes: L, _ x: L.Value, _ y: L.Value) -> L.Value

  /// Computes `dst[i]` from `x[i]` and `y[i]` in single or double precision; memory is as tile kernels
  /// have it.
  static func tile(
    isSingle: Bool, _ dst: UnsafeMutableRawPointer, _ x: UnsafeRawPointer, _ y: UnsafeRawPointer,
    _ count: Int)
}

extension ElementaryFunction {
  package static var domain: ClosedRange<Double> { -1.5...1.5 }
  package static var isWide: Bool { false }
  package static var exact: (@Sendable (Double, Double) -> Double)? { nil }

  /// `exact`, which there is, on the bits of numbers of either precision.
  static func exactBits(isSingle: Bool, _ x: UInt64, _ y: UInt64) -> UInt64 {
    func number(_ bits: UInt64) -> Double {
      isSingle
        ? Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits))) : Double(bitPattern: bits)
    }
    let result = exact.unsafelyUnwrapped(number(x), number(y))
    return isSingle ? UInt64(Float(result).bitPattern) : result.bitPattern
  }
}
