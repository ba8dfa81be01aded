// Sums, extremes and searches over one contiguous run of floats with explicit lanes, in an order
// that depends on the length of the run alone. Generic over the register; uses nothing else.

/// One register of floats as reductions see it.
///
/// The compiler specialises every use, none of these calls is left in a release build.
protocol ReduceLanes {
  associatedtype Scalar: BinaryFloatingPoint
  static var width: Int { get }
  init(repeating value: Scalar)
  func adding(_ other: Self) -> Self
  /// Lane by lane the larger one, or the one of `self` where they aren't ordered.
  func larger(_ other: Self) -> Self
  /// Lane by lane the smaller one, or the one of `self` where they aren't ordered.
  func smaller(_ other: Self) -> Self
  /// The first `lanes` lanes, `filler` in the others.
  func first(_ lanes: Int, else filler: Scalar) -> Self
  /// All bits set in the lanes that equal `value`.
  func equalBits(_ value: Self) -> SIMD2<Int64>
  /// The sum of the lanes, in a tree of halves.
  var total: Scalar { get }
  var largest: Scalar { get }
  var smallest: Scalar { get }
}

extension SIMD4: ReduceLanes where Scalar == Float {
  @inline(__always) func adding(_ other: SIMD4<Float>) -> SIMD4<Float> { self + other }

  @inline(__always)
  func larger(_ other: SIMD4<Float>) -> SIMD4<Float> {
    self.replacing(with: other, where: other .> self)
  }

  @inline(__always)
  func smaller(_ other: SIMD4<Float>) -> SIMD4<Float> {
    self.replacing(with: other, where: other .< self)
  }

  @inline(__always)
  func first(_ lanes: Int, else filler: Float) -> SIMD4<Float> {
    let index = SIMD4<Float>(0, 1, 2, 3)
    return self.replacing(with: filler, where: index .>= Float(lanes))
  }

  @inline(__always)
  func equalBits(_ value: SIMD4<Float>) -> SIMD2<Int64> {
    unsafeBitCast(self .== value, to: SIMD2<Int64>.self)
  }

  @inline(__always)
  var total: Float {
    let two = lowHalf + highHalf
    return two[0] + two[1]
  }

  @inline(__always)
  var largest: Float {
    let two = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
    return two[1] > two[0] ? two[1] : two[0]
  }

  @inline(__always)
  var smallest: Float {
    let two = lowHalf.replacing(with: highHalf, where: highHalf .< lowHalf)
    return two[1] < two[0] ? two[1] : two[0]
  }
}

extension SIMD2: ReduceLanes where Scalar == Double {
  @inline(__always) func adding(_ other: SIMD2<Double>) -> SIMD2<Double> { self + other }

  @inline(__always)
  func larger(_ other: SIMD2<Double>) -> SIMD2<Double> {
    self.replacing(with: other, where: other .> self)
  }

  @inline(__always)
  func smaller(_ other: SIMD2<Double>) -> SIMD2<Double> {
    self.replacing(with: other, where: other .< self)
  }

  @inline(__always)
  func first(_ lanes: Int, else filler: Double) -> SIMD2<Double> {
    SIMD2<Double>(self[0], lanes > 1 ? self[1] : filler)
  }

  @inline(__always)
  func equalBits(_ value: SIMD2<Double>) -> SIMD2<Int64> {
    unsafeBitCast(self .== value, to: SIMD2<Int64>.self)
  }

  @inline(__always) var total: Double { self[0] + self[1] }
  @inline(__always) var largest: Double { self[1] > self[0] ? self[1] : self[0] }
  @inline(__always) var smallest: Double { self[1] < self[0] ? self[1] : self[0] }
}

/// Which end of the order an extreme is.
enum Extreme {
  case largest, smallest
}

/// Reductions over one run of floats.
///
/// A run may be read up to 16 bytes past its end; what is there doesn't get into the result.
enum FloatRun<V: ReduceLanes> {
  typealias Element = V.Scalar

  @inline(__always)
  private static func vector(_ p: UnsafePointer<Element>, _ at: Int) -> V {
    UnsafeRawPointer(p + at).loadUnaligned(as: V.self)
  }

  /// Elements that one float accumulates at most: 512 over 32 lanes of float32 (16 of float64) are
  /// 16 (32) additions per lane and five (four) in the tree, so the error stays at a few units in
  /// the last place.
  static var blockLength: Int { Summation.blockLength }

  /// The sum of at most a block.
  @inline(__always)
  static func blockSum(_ p: UnsafePointer<Element>, _ count: Int) -> Element {
    let wide = 8 * V.width
    var at = 0
    var s0 = V(repeating: 0)
    var s1 = s0
    if count >= wide {
      at = count / wide &* wide
      s0 = wideSum(p, at)
    }
    while at <= count &- 2 &* V.width {
      s0 = s0.adding(vector(p, at))
      s1 = s1.adding(vector(p, at &+ V.width))
      at &+= 2 &* V.width
    }
    if at <= count &- V.width {
      s0 = s0.adding(vector(p, at))
      at &+= V.width
    }
    if at < count { s1 = s1.adding(vector(p, at).first(count &- at, else: 0)) }
    return s0.adding(s1).total
  }

  /// Lanes of the sum of a multiple of eight registers.
  ///
  /// A call of its own because inlined the optimiser takes the lanes of the accumulators apart for
  /// the sake of the final sum over them.
  @inline(never)
  private static func wideSum(_ p: UnsafePointer<Element>, _ count: Int) -> V {
    let width = V.width
    var s0 = V(repeating: 0)
    var s1 = s0
    var s2 = s0
    var s3 = s0
    var s4 = s0
    var s5 = s0
    var s6 = s0
    var s7 = s0
    var at = 0
    while at < count {
      s0 = s0.adding(vector(p, at))
      s1 = s1.adding(vector(p, at &+ width))
      s2 = s2.adding(vector(p, at &+ 2 &* width))
      s3 = s3.adding(vector(p, at &+ 3 &* width))
      s4 = s4.adding(vector(p, at &+ 4 &* width))
      s5 = s5.adding(vector(p, at &+ 5 &* width))
      s6 = s6.adding(vector(p, at &+ 6 &* width))
      s7 = s7.adding(vector(p, at &+ 7 &* width))
      at &+= 8 &* width
    }
    let left = s0.adding(s1).adding(s2.adding(s3))
    return left.adding(s4.adding(s5).adding(s6.adding(s7)))
  }

  /// The sum of any number of elements: blocks are added in double precision and pairwise, so that
  /// the error grows with the logarithm of their number.
  static func sum(_ p: UnsafePointer<Element>, _ count: Int) -> Double {
    if count <= blockLength { return Double(blockSum(p, count)) }
    let blocks = (count + blockLength - 1) / blockLength
    let half = blocks / 2 * blockLength
    return sum(p, half) + sum(p + half, count - half)
  }

  /// The largest or smallest element, NaN if there is one; an infinity for an empty run.
  ///
  /// The lanes ignore NaN. A running sum beside them becomes NaN if an element is, and seldom
  /// otherwise (infinities of both signs), so it tells when to look closer at the price of one
  /// addition.
  @inline(__always)
  static func extreme(_ which: Extreme, _ p: UnsafePointer<Element>, _ count: Int) -> Element {
    if count <= 0 { return which == .largest ? -Element.infinity : Element.infinity }
    var best: V
    var sum: V
    if count < V.width {
      best = vector(p, 0).first(count, else: p[0])
      sum = best
    } else {
      var at = V.width
      if count >= 8 &* V.width {
        at = count / (4 &* V.width) &* (4 &* V.width)
        (best, sum) = which == .largest ? wideLargest(p, at) : wideSmallest(p, at)
      } else {
        best = vector(p, 0)
        sum = best
      }
      while at < count {
        // The last vector may overlap the one before it, which changes no extreme.
        let a = vector(p, Swift.min(at, count &- V.width))
        best = pick(which, best, a)
        sum = sum.adding(a)
        at &+= V.width
      }
    }
    if sum.total.isNaN, firstNaN(p, count) != nil { return .nan }
    return which == .largest ? best.largest : best.smallest
  }

  @inline(never)
  private static func wideLargest(_ p: UnsafePointer<Element>, _ count: Int) -> (V, V) {
    wideExtreme(.largest, p, count)
  }

  @inline(never)
  private static func wideSmallest(_ p: UnsafePointer<Element>, _ count: Int) -> (V, V) {
    wideExtreme(.smallest, p, count)
  }

  /// Lanes of the extreme and of the sum of a multiple of four registers; called like `wideSum`.
  @inline(__always)
  private static func wideExtreme(
    _ which: Extreme, _ p: UnsafePointer<Element>, _ count: Int
  ) -> (V, V) {
    let width = V.width
    var b0 = vector(p, 0)
    var b1 = b0
    var b2 = b0
    var b3 = b0
    var s0 = V(repeating: 0)
    var s1 = s0
    var s2 = s0
    var s3 = s0
    var at = 0
    while at < count {
      let v0 = vector(p, at)
      let v1 = vector(p, at &+ width)
      let v2 = vector(p, at &+ 2 &* width)
      let v3 = vector(p, at &+ 3 &* width)
      b0 = pick(which, b0, v0)
      b1 = pick(which, b1, v1)
      b2 = pick(which, b2, v2)
      b3 = pick(which, b3, v3)
      s0 = s0.adding(v0)
      s1 = s1.adding(v1)
      s2 = s2.adding(v2)
      s3 = s3.adding(v3)
      at &+= 4 &* width
    }
    let best = pick(which, pick(which, b0, b1), pick(which, b2, b3))
    return (best, s0.adding(s1).adding(s2.adding(s3)))
  }

  @inline(__always)
  private static func pick(_ which: Extreme, _ a: V, _ b: V) -> V {
    which == .largest ? a.larger(b) : a.smaller(b)
  }

  private static func firstNaN(_ p: UnsafePointer<Element>, _ count: Int) -> Int? {
    for i in 0..<count where p[i].isNaN { return i }
    return nil
  }

  /// The first index of the extreme; a NaN counts as the extreme, as in NumPy. 0 for an empty run.
  @inline(__always)
  static func index(of which: Extreme, _ p: UnsafePointer<Element>, _ count: Int) -> Int {
    let value = extreme(which, p, count)
    if value.isNaN { return firstNaN(p, count) ?? 0 }
    let wanted = V(repeating: value)
    var at = 0
    while at <= count &- 4 &* V.width {
      let low = vector(p, at).equalBits(wanted) | vector(p, at &+ V.width).equalBits(wanted)
      let v2 = vector(p, at &+ 2 &* V.width).equalBits(wanted)
      let bits = low | v2 | vector(p, at &+ 3 &* V.width).equalBits(wanted)
      if bits[0] | bits[1] != 0 { break }
      at &+= 4 &* V.width
    }
    while at < count {
      if p[at] == value { return at }
      at &+= 1
    }
    return 0
  }
}
