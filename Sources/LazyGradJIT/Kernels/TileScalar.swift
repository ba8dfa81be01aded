// What a tile kernel must know of an element type, and the loops that all tile kernels are. Used by
// the Tile files only; uses LaneSupport.swift.

/// An element type of tiles. Vector requirements are spelt out per type, because generic vector
/// comparisons don't compile to vector instructions; bool tiles are tiles of `UInt8`.
protocol TileScalar: SIMDScalar, Codable, Hashable where SIMD8Storage: BitwiseCopyable {
  /// Comparisons give one byte per lane, 0 or 1.
  static func equal(_ x: SIMD8<Self>, _ y: SIMD8<Self>) -> SIMD8<UInt8>
  static func less(_ x: SIMD8<Self>, _ y: SIMD8<Self>) -> SIMD8<UInt8>
  static func lessEqual(_ x: SIMD8<Self>, _ y: SIMD8<Self>) -> SIMD8<UInt8>
  /// The larger one; for floats NaN from either side.
  /// Of two zeros the second one, whatever their signs, as in NumPy.
  static func larger(_ x: SIMD8<Self>, _ y: SIMD8<Self>) -> SIMD8<Self>
  /// The smaller one; for floats NaN from either side.
  static func smaller(_ x: SIMD8<Self>, _ y: SIMD8<Self>) -> SIMD8<Self>

  var asFloat: Float { get }
  var asDouble: Double { get }
  /// Floats are cut off towards zero; NaN and what doesn't fit give the smallest number, as x86-64
  /// does and NumPy on it.
  var asInt64: Int64 { get }
  /// As `asInt64`, but wider integers lose their high bits.
  var asInt32: Int32 { get }
  /// The low byte of `asInt32`.
  var asUInt8: UInt8 { get }
}

/// One byte per lane, 0 or 1, of a mask over `Lane`-wide elements.
@inline(__always)
private func bytes<Lane: FixedWidthInteger & SignedInteger & SIMDScalar>(
  _ mask: SIMDMask<SIMD8<Lane>>
) -> SIMD8<UInt8> {
  SIMD8<UInt8>(truncatingIfNeeded: unsafeBitCast(mask, to: SIMD8<Lane>.self))
    & SIMD8(repeating: 1)
}

extension Float: TileScalar {
  @inline(__always)
  static func equal(_ x: F8, _ y: F8) -> SIMD8<UInt8> { bytes(x .== y) }
  @inline(__always)
  static func less(_ x: F8, _ y: F8) -> SIMD8<UInt8> { bytes(x .< y) }
  @inline(__always)
  static func lessEqual(_ x: F8, _ y: F8) -> SIMD8<UInt8> { bytes(x .<= y) }
  @inline(__always)
  static func larger(_ x: F8, _ y: F8) -> F8 {
    x.replacing(with: y, where: (x .<= y) .| (y .!= y))
  }
  @inline(__always)
  static func smaller(_ x: F8, _ y: F8) -> F8 {
    x.replacing(with: y, where: (y .<= x) .| (y .!= y))
  }
  @inline(__always)
  var asFloat: Float { self }
  @inline(__always)
  var asDouble: Double { Double(self) }
  @inline(__always)
  var asInt64: Int64 { Double(self).asInt64 }
  @inline(__always)
  var asInt32: Int32 { Double(self).asInt32 }
  @inline(__always)
  var asUInt8: UInt8 { Double(self).asUInt8 }
}

extension Double: TileScalar {
  @inline(__always)
  static func equal(_ x: SIMD8<Double>, _ y: SIMD8<Double>) -> SIMD8<UInt8> { bytes(x .== y) }
  @inline(__always)
  static func less(_ x: SIMD8<Double>, _ y: SIMD8<Double>) -> SIMD8<UInt8> { bytes(x .< y) }
  @inline(__always)
  static func lessEqual(_ x: SIMD8<Double>, _ y: SIMD8<Double>) -> SIMD8<UInt8> { bytes(x .<= y) }
  @inline(__always)
  static func larger(_ x: SIMD8<Double>, _ y: SIMD8<Double>) -> SIMD8<Double> {
    x.replacing(with: y, where: (x .<= y) .| (y .!= y))
  }
  @inline(__always)
  static func smaller(_ x: SIMD8<Double>, _ y: SIMD8<Double>) -> SIMD8<Double> {
    x.replacing(with: y, where: (y .<= x) .| (y .!= y))
  }
  @inline(__always)
  var asFloat: Float { Float(self) }
  @inline(__always)
  var asDouble: Double { self }
  @inline(__always)
  var asInt64: Int64 { self >= -0x1p63 && self < 0x1p63 ? Int64(self) : .min }
  @inline(__always)
  var asInt32: Int32 { self >= -0x1p31 && self < 0x1p31 ? Int32(self) : .min }
  @inline(__always)
  var asUInt8: UInt8 { UInt8(truncatingIfNeeded: asInt32) }
}

extension UInt8: TileScalar {
  @inline(__always)
  static func equal(_ x: SIMD8<UInt8>, _ y: SIMD8<UInt8>) -> SIMD8<UInt8> { bytes(x .== y) }
  @inline(__always)
  static func less(_ x: SIMD8<UInt8>, _ y: SIMD8<UInt8>) -> SIMD8<UInt8> { bytes(x .< y) }
  @inline(__always)
  static func lessEqual(_ x: SIMD8<UInt8>, _ y: SIMD8<UInt8>) -> SIMD8<UInt8> { bytes(x .<= y) }
  @inline(__always)
  static func larger(_ x: SIMD8<UInt8>, _ y: SIMD8<UInt8>) -> SIMD8<UInt8> {
    x.replacing(with: y, where: x .< y)
  }
  @inline(__always)
  static func smaller(_ x: SIMD8<UInt8>, _ y: SIMD8<UInt8>) -> SIMD8<UInt8> {
    x.replacing(with: y, where: y .< x)
  }
  @inline(__always)
  var asFloat: Float { Float(self) }
  @inline(__always)
  var asDouble: Double { Double(self) }
  @inline(__always)
  var asInt64: Int64 { Int64(self) }
  @inline(__always)
  var asInt32: Int32 { Int32(self) }
  @inline(__always)
  var asUInt8: UInt8 { self }
}

extension Int32: TileScalar {
  @inline(__always)
  static func equal(_ x: I8, _ y: I8) -> SIMD8<UInt8> { bytes(x .== y) }
  @inline(__always)
  static func less(_ x: I8, _ y: I8) -> SIMD8<UInt8> { bytes(x .< y) }
  @inline(__always)
  static func lessEqual(_ x: I8, _ y: I8) -> SIMD8<UInt8> { bytes(x .<= y) }
  @inline(__always)
  static func larger(_ x: I8, _ y: I8) -> I8 { x.replacing(with: y, where: x .< y) }
  @inline(__always)
  static func smaller(_ x: I8, _ y: I8) -> I8 { x.replacing(with: y, where: y .< x) }
  @inline(__always)
  var asFloat: Float { Float(self) }
  @inline(__always)
  var asDouble: Double { Double(self) }
  @inline(__always)
  var asInt64: Int64 { Int64(self) }
  @inline(__always)
  var asInt32: Int32 { self }
  @inline(__always)
  var asUInt8: UInt8 { UInt8(truncatingIfNeeded: self) }
}

extension Int64: TileScalar {
  @inline(__always)
  static func equal(_ x: SIMD8<Int64>, _ y: SIMD8<Int64>) -> SIMD8<UInt8> { bytes(x .== y) }
  @inline(__always)
  static func less(_ x: SIMD8<Int64>, _ y: SIMD8<Int64>) -> SIMD8<UInt8> { bytes(x .< y) }
  @inline(__always)
  static func lessEqual(_ x: SIMD8<Int64>, _ y: SIMD8<Int64>) -> SIMD8<UInt8> { bytes(x .<= y) }
  @inline(__always)
  static func larger(_ x: SIMD8<Int64>, _ y: SIMD8<Int64>) -> SIMD8<Int64> {
    x.replacing(with: y, where: x .< y)
  }
  @inline(__always)
  static func smaller(_ x: SIMD8<Int64>, _ y: SIMD8<Int64>) -> SIMD8<Int64> {
    x.replacing(with: y, where: y .< x)
  }
  @inline(__always)
  var asFloat: Float { Float(self) }
  @inline(__always)
  var asDouble: Double { Double(self) }
  @inline(__always)
  var asInt64: Int64 { self }
  @inline(__always)
  var asInt32: Int32 { Int32(truncatingIfNeeded: self) }
  @inline(__always)
  var asUInt8: UInt8 { UInt8(truncatingIfNeeded: self) }
}

// The loops. Counts are rounded up to whole vectors of at most 8 lanes in reading and in writing,
// as KernelTypes.swift allows: no tails of single elements. A vector's operands are loaded before
// its result is stored, so a destination may be an operand.

extension UnsafeRawPointer {
  /// The vector whose first lane is element `index`.
  @inline(__always)
  func vector<V: SIMD & BitwiseCopyable>(_ index: Int) -> V {
    loadUnaligned(fromByteOffset: index &* MemoryLayout<V.Scalar>.size, as: V.self)
  }
}

extension UnsafeMutableRawPointer {
  /// Stores a vector from element `index` on.
  @inline(__always)
  func put<V: SIMD & BitwiseCopyable>(_ vector: V, _ index: Int) {
    storeBytes(of: vector, toByteOffset: index &* MemoryLayout<V.Scalar>.size, as: V.self)
  }
}

extension Tile {
  /// `dst[i] = body(a[i])`.
  @inline(__always)
  static func map<V: SIMD & BitwiseCopyable, R: SIMD & BitwiseCopyable>(
    _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int, _ body: (V) -> R
  ) {
    var i = 0
    while i < count {
      dst.put(body(a.vector(i)), i)
      i &+= V.scalarCount
    }
  }

  /// `dst[i] = body(a[i], b[i])`.
  @inline(__always)
  static func zip<V: SIMD & BitwiseCopyable, R: SIMD & BitwiseCopyable>(
    _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ count: Int,
    _ body: (V, V) -> R
  ) {
    var i = 0
    while i < count {
      dst.put(body(a.vector(i), b.vector(i)), i)
      i &+= V.scalarCount
    }
  }

  /// `map` from the end to the start, for results wider than the operand: then a destination at
  /// the operand's address never overwrites what is still to be read.
  @inline(__always)
  static func mapDown<V: SIMD & BitwiseCopyable, R: SIMD & BitwiseCopyable>(
    _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int, _ body: (V) -> R
  ) {
    var i = (count &- 1) & ~(V.scalarCount &- 1)
    while i >= 0 {
      dst.put(body(a.vector(i)), i)
      i &-= V.scalarCount
    }
  }

  /// A function of elements as a function of eight of them; unrolled, it becomes vector code.
  @inline(__always)
  static func lanes<T: SIMDScalar, R: SIMDScalar>(
    _ x: SIMD8<T>, _ body: (T) -> R
  ) -> SIMD8<R> {
    var result = SIMD8<R>()
    for lane in 0..<8 { result[lane] = body(x[lane]) }
    return result
  }

  /// As above for two operands.
  @inline(__always)
  static func lanes<T: SIMDScalar, R: SIMDScalar>(
    _ x: SIMD8<T>, _ y: SIMD8<T>, _ body: (T, T) -> R
  ) -> SIMD8<R> {
    var result = SIMD8<R>()
    for lane in 0..<8 { result[lane] = body(x[lane], y[lane]) }
    return result
  }
}
