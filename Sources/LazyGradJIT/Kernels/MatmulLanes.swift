// The registers of lanes that matrix products are made of, for float32 and float64. Uses nothing
// else; `MatmulTiles` is written in terms of it.

/// One register of floats. `MatmulLanes` exists so that both float types share the tile code; the
/// compiler specialises every use, none of these calls is left in a release build.
protocol MatmulLanes {
  associatedtype Scalar: BinaryFloatingPoint
  /// Lanes of one register.
  static var width: Int { get }
  init(repeating value: Scalar)
  /// The sum; `ReduceLanes` asks for the same and gives it.
  func adding(_ other: Self) -> Self
  /// `self + a * b`, with as many roundings as `PortableArithmetic` says, in `ForeignLanes` the other way.
  func adding(_ a: Self, times b: Self) -> Self
  /// `self` plus the products of a column of `width` rows by `width` steps of the summed axis, step
  /// after step: rows are `aRow` apart and contiguous, the factors of the steps `bRow` apart.
  func adding(
    rows a: UnsafePointer<Scalar>, _ aRow: Int, times b: UnsafePointer<Scalar>, _ bRow: Int
  ) -> Self
  /// One element of each of `width` rows.
  static func gather(_ a: UnsafePointer<Scalar>, _ aRow: Int) -> Self
  /// All bits set in the first `lanes` lanes, none in the others.
  static func mask(first lanes: Int) -> Self
  /// The bits that are set in both.
  func masked(_ mask: Self) -> Self
  /// The first `lanes` elements, zero in the other lanes; reads nothing behind them.
  static func load(first lanes: Int, from p: UnsafePointer<Scalar>) -> Self
  /// Writes the first `lanes` elements and nothing behind them.
  func store(first lanes: Int, to p: UnsafeMutablePointer<Scalar>)
}

extension SIMD4: MatmulLanes where Scalar == Float {
  @inline(__always) static var width: Int { 4 }

  @inline(__always)
  func adding(_ other: SIMD4<Float>) -> SIMD4<Float> { self + other }

  @inline(__always)
  func adding(_ a: SIMD4<Float>, times b: SIMD4<Float>) -> SIMD4<Float> {
    PortableArithmetic.isFused ? addingProduct(a, b) : self + a * b
  }

  @inline(__always)
  func adding(
    rows a: UnsafePointer<Float>, _ aRow: Int, times b: UnsafePointer<Float>, _ bRow: Int
  ) -> SIMD4<Float> {
    // Turned by two rounds of shuffles, as integers: the optimiser takes floats that are put
    // together one by one apart again and multiplies them one by one.
    let r0 = UnsafeRawPointer(a).loadUnaligned(as: SIMD4<UInt32>.self)
    let r1 = UnsafeRawPointer(a + aRow).loadUnaligned(as: SIMD4<UInt32>.self)
    let r2 = UnsafeRawPointer(a + 2 * aRow).loadUnaligned(as: SIMD4<UInt32>.self)
    let r3 = UnsafeRawPointer(a + 3 * aRow).loadUnaligned(as: SIMD4<UInt32>.self)
    let r01 = SIMD8(lowHalf: r0, highHalf: r1)
    let r23 = SIMD8(lowHalf: r2, highHalf: r3)
    let even = SIMD8(lowHalf: r01.evenHalf, highHalf: r23.evenHalf)
    let odd = SIMD8(lowHalf: r01.oddHalf, highHalf: r23.oddHalf)
    let c0 = unsafeBitCast(even.evenHalf, to: SIMD4<Float>.self)
    let c1 = unsafeBitCast(odd.evenHalf, to: SIMD4<Float>.self)
    let c2 = unsafeBitCast(even.oddHalf, to: SIMD4<Float>.self)
    let c3 = unsafeBitCast(odd.oddHalf, to: SIMD4<Float>.self)
    return
      self
      .adding(c0, times: SIMD4(repeating: b[0]))
      .adding(c1, times: SIMD4(repeating: b[bRow]))
      .adding(c2, times: SIMD4(repeating: b[2 * bRow]))
      .adding(c3, times: SIMD4(repeating: b[3 * bRow]))
  }

  @inline(__always)
  static func gather(_ a: UnsafePointer<Float>, _ aRow: Int) -> SIMD4<Float> {
    SIMD4<Float>(a[0], a[aRow], a[2 * aRow], a[3 * aRow])
  }

  @inline(__always)
  static func mask(first lanes: Int) -> SIMD4<Float> {
    unsafeBitCast(SIMD4<Float>(0, 1, 2, 3) .< Float(lanes), to: SIMD4<Float>.self)
  }

  @inline(__always)
  func masked(_ mask: SIMD4<Float>) -> SIMD4<Float> {
    let bits = unsafeBitCast(self, to: SIMD4<UInt32>.self)
    return unsafeBitCast(bits & unsafeBitCast(mask, to: SIMD4<UInt32>.self), to: SIMD4<Float>.self)
  }

  @inline(__always)
  static func load(first lanes: Int, from p: UnsafePointer<Float>) -> SIMD4<Float> {
    if lanes >= 4 { return UnsafeRawPointer(p).loadUnaligned(as: SIMD4<Float>.self) }
    return SIMD4<Float>(p[0], lanes > 1 ? p[1] : 0, lanes > 2 ? p[2] : 0, 0)
  }

  @inline(__always)
  func store(first lanes: Int, to p: UnsafeMutablePointer<Float>) {
    if lanes >= 4 {
      UnsafeMutableRawPointer(p).storeBytes(of: self, as: SIMD4<Float>.self)
      return
    }
    p[0] = self[0]
    if lanes > 1 { p[1] = self[1] }
    if lanes > 2 { p[2] = self[2] }
  }
}

extension SIMD2: MatmulLanes where Scalar == Double {
  @inline(__always) static var width: Int { 2 }

  @inline(__always)
  func adding(_ other: SIMD2<Double>) -> SIMD2<Double> { self + other }

  @inline(__always)
  func adding(_ a: SIMD2<Double>, times b: SIMD2<Double>) -> SIMD2<Double> {
    PortableArithmetic.isFused ? addingProduct(a, b) : self + a * b
  }

  @inline(__always)
  func adding(
    rows a: UnsafePointer<Double>, _ aRow: Int, times b: UnsafePointer<Double>, _ bRow: Int
  ) -> SIMD2<Double> {
    let r0 = UnsafeRawPointer(a).loadUnaligned(as: SIMD2<Double>.self)
    let r1 = UnsafeRawPointer(a + aRow).loadUnaligned(as: SIMD2<Double>.self)
    return
      self
      .adding(SIMD2<Double>(r0[0], r1[0]), times: SIMD2(repeating: b[0]))
      .adding(SIMD2<Double>(r0[1], r1[1]), times: SIMD2(repeating: b[bRow]))
  }

  @inline(__always)
  static func gather(_ a: UnsafePointer<Double>, _ aRow: Int) -> SIMD2<Double> {
    SIMD2<Double>(a[0], a[aRow])
  }

  @inline(__always)
  static func mask(first lanes: Int) -> SIMD2<Double> {
    unsafeBitCast(SIMD2<Double>(0, 1) .< Double(lanes), to: SIMD2<Double>.self)
  }

  @inline(__always)
  func masked(_ mask: SIMD2<Double>) -> SIMD2<Double> {
    let bits = unsafeBitCast(self, to: SIMD2<UInt64>.self)
    return unsafeBitCast(bits & unsafeBitCast(mask, to: SIMD2<UInt64>.self), to: SIMD2<Double>.self)
  }

  @inline(__always)
  static func load(first lanes: Int, from p: UnsafePointer<Double>) -> SIMD2<Double> {
    if lanes >= 2 { return UnsafeRawPointer(p).loadUnaligned(as: SIMD2<Double>.self) }
    return SIMD2<Double>(p[0], 0)
  }

  @inline(__always)
  func store(first lanes: Int, to p: UnsafeMutablePointer<Double>) {
    if lanes >= 2 {
      UnsafeMutableRawPointer(p).storeBytes(of: self, as: SIMD2<Double>.self)
    } else {
      p[0] = self[0]
    }
  }
}

/// Lanes whose multiplications and additions round as those of `PortableArithmetic` don't: together on x86-64,
/// where every lane is then a call of the C library's, one by one on arm64.
struct ForeignLanes<Base: MatmulLanes & SIMD>: MatmulLanes {
  typealias Scalar = Base.Scalar

  private var base: Base

  private init(_ base: Base) { self.base = base }

  @inline(__always)
  init(repeating value: Scalar) { base = Base(repeating: value) }

  @inline(__always) static var width: Int { Base.width }

  @inline(__always)
  func adding(_ other: Self) -> Self { Self(base.adding(other.base)) }

  @inline(__always)
  func adding(_ a: Self, times b: Self) -> Self {
    if PortableArithmetic.isFused { return Self(base + a.base * b.base) }
    var sum = base
    for i in 0..<Base.width { sum[i].addProduct(a.base[i], b.base[i]) }
    return Self(sum)
  }

  @inline(__always)
  func adding(
    rows a: UnsafePointer<Scalar>, _ aRow: Int, times b: UnsafePointer<Scalar>, _ bRow: Int
  ) -> Self {
    var sum = self
    for i in 0..<Base.width {
      sum = sum.adding(Self.gather(a + i, aRow), times: Self(repeating: b[i * bRow]))
    }
    return sum
  }

  @inline(__always)
  static func gather(_ a: UnsafePointer<Scalar>, _ aRow: Int) -> Self { Self(Base.gather(a, aRow)) }

  @inline(__always)
  static func mask(first lanes: Int) -> Self { Self(Base.mask(first: lanes)) }

  @inline(__always)
  func masked(_ mask: Self) -> Self { Self(base.masked(mask.base)) }

  @inline(__always)
  static func load(first lanes: Int, from p: UnsafePointer<Scalar>) -> Self {
    Self(Base.load(first: lanes, from: p))
  }

  @inline(__always)
  func store(first lanes: Int, to p: UnsafeMutablePointer<Scalar>) {
    base.store(first: lanes, to: p)
  }
}
