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

  /// The sum of at most a block: element `i` goes to lane `i` modulo eight registers' lanes, and the
  /// lanes are added in a tree of halves. Wider registers give the same bits.
  ///
  /// A call of its own because inlined the optimiser takes the lanes of the accumulators apart for
  /// the sake of the final sum over them.
  @inline(never)
  static func blockSum(_ p: UnsafePointer<Element>, _ count: Int) -> Element {
    let width = V.width
    let zero = V(repeating: 0)
    var (s0, s1, s2, s3, s4, s5, s6, s7) = (zero, zero, zero, zero, zero, zero, zero, zero)
    var at = 0
    while at <= count &- 8 &* width {
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
    let left = count &- at
    if left > 0 { s0 = s0.adding(rest(p, at, count, 0)) }
    if left > width { s1 = s1.adding(rest(p, at &+ width, count, 0)) }
    if left > 2 &* width { s2 = s2.adding(rest(p, at &+ 2 &* width, count, 0)) }
    if left > 3 &* width { s3 = s3.adding(rest(p, at &+ 3 &* width, count, 0)) }
    if left > 4 &* width { s4 = s4.adding(rest(p, at &+ 4 &* width, count, 0)) }
    if left > 5 &* width { s5 = s5.adding(rest(p, at &+ 5 &* width, count, 0)) }
    if left > 6 &* width { s6 = s6.adding(rest(p, at &+ 6 &* width, count, 0)) }
    if left > 7 &* width { s7 = s7.adding(rest(p, at &+ 7 &* width, count, 0)) }
    let (h0, h1) = (s0.adding(s4), s1.adding(s5))
    let (h2, h3) = (s2.adding(s6), s3.adding(s7))
    return h0.adding(h2).adding(h1.adding(h3)).total
  }

  /// The register from element `at` on, with `filler` where the run is over.
  @inline(__always)
  private static func rest(
    _ p: UnsafePointer<Element>, _ at: Int, _ count: Int, _ filler: Element
  ) -> V {
    let a = vector(p, at)
    return at <= count &- V.width ? a : a.first(count &- at, else: filler)
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
  /// addition. Which of two zeros it is follows from the order, which is that of sums.
  @inline(__always)
  static func extreme(_ which: Extreme, _ p: UnsafePointer<Element>, _ count: Int) -> Element {
    which == .largest ? largest(p, count) : smallest(p, count)
  }

  @inline(never)
  private static func largest(_ p: UnsafePointer<Element>, _ count: Int) -> Element {
    lanesExtreme(.largest, p, count)
  }

  @inline(never)
  private static func smallest(_ p: UnsafePointer<Element>, _ count: Int) -> Element {
    lanesExtreme(.smallest, p, count)
  }

  @inline(__always)
  private static func lanesExtreme(
    _ which: Extreme, _ p: UnsafePointer<Element>, _ count: Int
  ) -> Element {
    let width = V.width
    let none = which == .largest ? -Element.infinity : Element.infinity
    let start = V(repeating: none)
    var (b0, b1, b2, b3, b4, b5, b6, b7) = (start, start, start, start, start, start, start, start)
    var sum = V(repeating: 0)
    var at = 0
    @inline(__always)
    func take(_ best: inout V, _ a: V) {
      best = pick(which, best, a)
      sum = sum.adding(a)
    }
    while at <= count &- 8 &* width {
      take(&b0, vector(p, at))
      take(&b1, vector(p, at &+ width))
      take(&b2, vector(p, at &+ 2 &* width))
      take(&b3, vector(p, at &+ 3 &* width))
      take(&b4, vector(p, at &+ 4 &* width))
      take(&b5, vector(p, at &+ 5 &* width))
      take(&b6, vector(p, at &+ 6 &* width))
      take(&b7, vector(p, at &+ 7 &* width))
      at &+= 8 &* width
    }
    let left = count &- at
    if left > 0 { take(&b0, rest(p, at, count, none)) }
    if left > width { take(&b1, rest(p, at &+ width, count, none)) }
    if left > 2 &* width { take(&b2, rest(p, at &+ 2 &* width, count, none)) }
    if left > 3 &* width { take(&b3, rest(p, at &+ 3 &* width, count, none)) }
    if left > 4 &* width { take(&b4, rest(p, at &+ 4 &* width, count, none)) }
    if left > 5 &* width { take(&b5, rest(p, at &+ 5 &* width, count, none)) }
    if left > 6 &* width { take(&b6, rest(p, at &+ 6 &* width, count, none)) }
    if left > 7 &* width { take(&b7, rest(p, at &+ 7 &* width, count, none)) }
    if sum.total.isNaN, firstNaN(p, count) != nil { return .nan }
    let (h0, h1) = (pick(which, b0, b4), pick(which, b1, b5))
    let (h2, h3) = (pick(which, b2, b6), pick(which, b3, b7))
    let best = pick(which, pick(which, h0, h2), pick(which, h1, h3))
    return which == .largest ? best.largest : best.smallest
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
