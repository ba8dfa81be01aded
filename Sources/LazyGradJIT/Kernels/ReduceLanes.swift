// Sums, extremes and searches over one contiguous run of floats with explicit lanes, in an order
// that depends on the length of the run alone. Generic over the register; uses nothing else.

/// One register of floats as reductions see it.
///
/// The compiler specialises every use, none of these calls is left in a release build.
protocol ReduceLanes {
  associatedtype Scalar: BinaryFloatingPoint
  static var width: Int { get }
  init(repeating value: Scalar)
  /// Lane by lane.
  func combined<A: LaneArithmetic>(_: A.Type, _ other: Self) -> Self
  /// The first `lanes` lanes, `filler` in the others.
  func first(_ lanes: Int, else filler: Scalar) -> Self
  /// All bits set in the lanes that equal `value`.
  func equalBits(_ value: Self) -> SIMD2<Int64>
  /// The lanes in a tree of halves.
  func folded<A: LaneArithmetic>(_: A.Type) -> Scalar
}

extension SIMD2 where Scalar: FloatingPoint {
  @inline(__always)
  func folded<A: LaneArithmetic>(_: A.Type) -> Scalar {
    A.lanes(self, SIMD2(self[1], self[0]))[0]
  }
}

extension SIMD4: ReduceLanes where Scalar == Float {
  @inline(__always)
  func combined<A: LaneArithmetic>(_: A.Type, _ other: Self) -> Self { A.lanes(self, other) }

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
  func folded<A: LaneArithmetic>(_: A.Type) -> Float {
    // In whole registers: comparisons of two lanes would go through memory, lane by lane.
    let halves = A.lanes(self, SIMD4(self[2], self[3], self[0], self[1]))
    return A.lanes(halves, SIMD4(halves[1], halves[0], halves[3], halves[2]))[0]
  }
}

extension SIMD2: ReduceLanes where Scalar == Double {
  @inline(__always)
  func combined<A: LaneArithmetic>(_: A.Type, _ other: Self) -> Self { A.lanes(self, other) }

  @inline(__always)
  func first(_ lanes: Int, else filler: Double) -> SIMD2<Double> {
    SIMD2<Double>(self[0], lanes > 1 ? self[1] : filler)
  }

  @inline(__always)
  func equalBits(_ value: SIMD2<Double>) -> SIMD2<Int64> {
    unsafeBitCast(self .== value, to: SIMD2<Int64>.self)
  }
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

  /// A run whose element `i` goes to lane `i` modulo eight registers' lanes, where the lanes are
  /// combined in a tree of halves: of a sum, at most a block. Wider registers give the same bits.
  ///
  /// An extreme is NaN if an element is. The lanes ignore NaN. A running sum beside them becomes NaN if
  /// an element is, and seldom otherwise (infinities of both signs), so it tells when to look closer at
  /// the price of one addition. Which of two zeros it is follows from the order.
  @inline(__always)
  static func run(_ reducer: Reducer, _ p: UnsafePointer<Element>, _ count: Int) -> Element {
    reducer.arithmetic(Run(reducer: reducer, p: p, count: count))
  }

  private struct Run: ArithmeticUse {
    let reducer: Reducer
    let p: UnsafePointer<Element>
    let count: Int

    // A call of its own because inlined the optimiser takes the lanes of the accumulators apart for the
    // sake of the last steps over them.
    @inline(never)
    func callAsFunction<A: LaneArithmetic>(_: A.Type) -> Element {
      lanes(A.self, reducer, p, count)
    }
  }

  @inline(__always)
  private static func lanes<A: LaneArithmetic>(
    _: A.Type, _ reducer: Reducer, _ p: UnsafePointer<Element>, _ count: Int
  ) -> Element {
    let width = V.width
    let none = reducer.ofNothing(Element.self)
    let start = V(repeating: none)
    var (r0, r1, r2, r3, r4, r5, r6, r7) = (start, start, start, start, start, start, start, start)
    var sum = V(repeating: 0)
    var at = 0
    @inline(__always)
    func take(_ lanes: inout V, _ a: V) {
      lanes = lanes.combined(A.self, a)
      if A.isExtreme { sum = sum.combined(Addition.self, a) }
    }
    while at <= count &- 8 &* width {
      take(&r0, vector(p, at))
      take(&r1, vector(p, at &+ width))
      take(&r2, vector(p, at &+ 2 &* width))
      take(&r3, vector(p, at &+ 3 &* width))
      take(&r4, vector(p, at &+ 4 &* width))
      take(&r5, vector(p, at &+ 5 &* width))
      take(&r6, vector(p, at &+ 6 &* width))
      take(&r7, vector(p, at &+ 7 &* width))
      at &+= 8 &* width
    }
    let left = count &- at
    if left > 0 { take(&r0, rest(p, at, count, none)) }
    if left > width { take(&r1, rest(p, at &+ width, count, none)) }
    if left > 2 &* width { take(&r2, rest(p, at &+ 2 &* width, count, none)) }
    if left > 3 &* width { take(&r3, rest(p, at &+ 3 &* width, count, none)) }
    let isShort = count <= 4 &* width
    if !isShort {
      if left > 4 &* width { take(&r4, rest(p, at &+ 4 &* width, count, none)) }
      if left > 5 &* width { take(&r5, rest(p, at &+ 5 &* width, count, none)) }
      if left > 6 &* width { take(&r6, rest(p, at &+ 6 &* width, count, none)) }
      if left > 7 &* width { take(&r7, rest(p, at &+ 7 &* width, count, none)) }
    }
    if A.isExtreme, sum.folded(Addition.self).isNaN, firstNaN(p, count) != nil { return .nan }
    if isShort {
      // The other registers hold the neutral element: the bits are the same without them.
      return r0.combined(A.self, r2).combined(A.self, r1.combined(A.self, r3)).folded(A.self)
    }
    let (h0, h1) = (r0.combined(A.self, r4), r1.combined(A.self, r5))
    let (h2, h3) = (r2.combined(A.self, r6), r3.combined(A.self, r7))
    return h0.combined(A.self, h2).combined(A.self, h1.combined(A.self, h3)).folded(A.self)
  }

  /// The register from element `at` on, with `filler` where the run is over.
  @inline(__always)
  private static func rest(
    _ p: UnsafePointer<Element>, _ at: Int, _ count: Int, _ filler: Element
  ) -> V {
    let a = vector(p, at)
    return at <= count &- V.width ? a : a.first(count &- at, else: filler)
  }

  /// Any number of elements. Blocks that are added are so in double precision and pairwise: then the
  /// error grows with the logarithm of their number.
  static func total(_ reducer: Reducer, _ p: UnsafePointer<Element>, _ count: Int) -> Double {
    if count <= blockLength || !reducer.isPairwise { return Double(run(reducer, p, count)) }
    let blocks = (count + blockLength - 1) / blockLength
    let half = blocks / 2 * blockLength
    return total(reducer, p, half) + total(reducer, p + half, count - half)
  }

  private static func firstNaN(_ p: UnsafePointer<Element>, _ count: Int) -> Int? {
    for i in 0..<count where p[i].isNaN { return i }
    return nil
  }

  /// The longest run that is searched element by element: with lanes, the place among those of the last
  /// registers is a branch that is rarely foreseen.
  private static var shortLength: Int { 16 }

  /// The first index of the extreme without a branch for an element; nil if an element may be NaN, which a
  /// running sum tells as in `lanes`.
  @inline(__always)
  private static func shortIndex(
    _ p: UnsafePointer<Element>, _ count: Int, _ beats: (Element, Element) -> Bool
  ) -> Int? {
    var (best, index, sum) = (p[0], 0, p[0])
    for i in 1..<count {
      let x = p[i]
      let isBetter = beats(x, best)
      index = isBetter ? i : index
      best = isBetter ? x : best
      sum += x
    }
    return sum.isNaN ? nil : index
  }

  /// The first index of the extreme; a NaN counts as the extreme, as in NumPy. 0 for an empty run.
  @inline(__always)
  static func index(of which: Reducer, _ p: UnsafePointer<Element>, _ count: Int) -> Int {
    if count > 0, count <= shortLength {
      let place =
        which == .maximum ? shortIndex(p, count) { $0 > $1 } : shortIndex(p, count) { $0 < $1 }
      if let place { return place }
    }
    let value = run(which, p, count)
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
