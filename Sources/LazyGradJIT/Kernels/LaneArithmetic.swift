// Sums, products and extremes of two lanes, as types that whole loops are compiled for. Elementwise
// operations and reductions take the same ones; uses nothing else.

/// What may be done to lanes in any order, but for rounding.
protocol LaneArithmetic {
  /// Whether one of the two is picked.
  static var isExtreme: Bool { get }
  /// Lane by lane.
  static func lanes<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FloatingPoint
  /// Wraps around.
  static func integer<T: FixedWidthInteger>(_ a: T, _ b: T) -> T
}

extension LaneArithmetic {
  static var isExtreme: Bool { false }
}

enum Addition: LaneArithmetic {
  @inline(__always)
  static func lanes<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FloatingPoint { a + b }
  @inline(__always)
  static func integer<T: FixedWidthInteger>(_ a: T, _ b: T) -> T { a &+ b }
}

enum Multiplication: LaneArithmetic {
  @inline(__always)
  static func lanes<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FloatingPoint { a * b }
  @inline(__always)
  static func integer<T: FixedWidthInteger>(_ a: T, _ b: T) -> T { a &* b }
}

/// The larger one; the first where they are equal or not ordered.
enum Largest: LaneArithmetic {
  static var isExtreme: Bool { true }
  @inline(__always)
  static func lanes<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FloatingPoint {
    a.replacing(with: b, where: b .> a)
  }
  @inline(__always)
  static func integer<T: FixedWidthInteger>(_ a: T, _ b: T) -> T { Swift.max(a, b) }
}

/// The smaller one; the first where they are equal or not ordered.
enum Smallest: LaneArithmetic {
  static var isExtreme: Bool { true }
  @inline(__always)
  static func lanes<V: SIMD>(_ a: V, _ b: V) -> V where V.Scalar: FloatingPoint {
    a.replacing(with: b, where: b .< a)
  }
  @inline(__always)
  static func integer<T: FixedWidthInteger>(_ a: T, _ b: T) -> T { Swift.min(a, b) }
}

/// What is compiled once for each kind of arithmetic.
protocol ArithmeticUse {
  associatedtype Result
  func callAsFunction<A: LaneArithmetic>(_: A.Type) -> Result
}

extension Opcode {
  /// What `use` makes of this sum or product; nil where it is neither.
  @inline(__always)
  func arithmetic<Use: ArithmeticUse>(_ use: Use) -> Use.Result? {
    switch self {
    case .add: use(Addition.self)
    case .mul: use(Multiplication.self)
    default: nil
    }
  }
}

extension Reducer {
  /// What `use` makes of the arithmetic by which results are combined.
  @inline(__always)
  func arithmetic<Use: ArithmeticUse>(_ use: Use) -> Use.Result {
    switch extreme {
    case .largest: return use(Largest.self)
    case .smallest: return use(Smallest.self)
    case nil:
      guard let result = combiner.arithmetic(use) else {
        preconditionFailure("reduction: expected a sum or a product, got \(combiner.info.name)")
      }
      return result
    }
  }

  /// Two results; NaN stays.
  func combined(_ a: Double, _ b: Double) -> Double {
    if extreme != nil, a.isNaN || b.isNaN { return .nan }
    return arithmetic(OfTwo(a: SIMD2(a, 0), b: SIMD2(b, 0)))[0]
  }
}

private struct OfTwo: ArithmeticUse {
  let a: SIMD2<Double>
  let b: SIMD2<Double>

  func callAsFunction<A: LaneArithmetic>(_: A.Type) -> SIMD2<Double> { A.lanes(a, b) }
}
