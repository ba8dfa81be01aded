// The tile kernel of casts. Called by the dispatcher in Tile.swift; uses the conversions and the
// loops of TileScalar.swift.

extension Tile {
  /// `dst[i] = target(a[i])`. Bools are 0 and 1 as numbers, and whatever is not zero is true.
  static func cast(
    _ source: ScalarType, _ target: ScalarType, _ dst: UnsafeMutableRawPointer,
    _ a: UnsafeRawPointer, _ count: Int
  ) {
    if source == target || (source == .bool && target == .uint8) {
      return copy(dst, a, count &* source.size)
    }
    switch source {
    case .bool, .uint8: castFromUInt8(target, dst, a, count)
    case .int32: castFromInt32(target, dst, a, count)
    case .int64: castFromInt64(target, dst, a, count)
    case .float32: castFromFloat32(target, dst, a, count)
    case .float64: castFromFloat64(target, dst, a, count)
    }
  }

  @inline(never)
  private static func castFromUInt8(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { cast(from: UInt8.self, target, dst, a, count) }

  @inline(never)
  private static func castFromInt32(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { cast(from: Int32.self, target, dst, a, count) }

  @inline(never)
  private static func castFromInt64(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { cast(from: Int64.self, target, dst, a, count) }

  @inline(never)
  private static func castFromFloat32(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { cast(from: Float.self, target, dst, a, count) }

  @inline(never)
  private static func castFromFloat64(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { cast(from: Double.self, target, dst, a, count) }

  /// Floats become integers as `TileScalar` says: NumPy leaves what doesn't fit to the machine, here
  /// every machine gives what x86-64 does.
  @inline(__always)
  private static func cast<S: TileScalar>(
    from type: S.Type, _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    switch target {
    case .bool:
      map(dst, a, count) { (x: SIMD8<S>) in S.equal(x, SIMD8()) ^ SIMD8(repeating: 1) }
    case .uint8: convert(dst, a, count) { (x: S) in x.asUInt8 }
    case .int32: convert(dst, a, count) { (x: S) in x.asInt32 }
    case .int64: convert(dst, a, count) { (x: S) in x.asInt64 }
    case .float32: convert(dst, a, count) { (x: S) in x.asFloat }
    case .float64: convert(dst, a, count) { (x: S) in x.asDouble }
    }
  }

  @inline(__always)
  private static func convert<S: TileScalar, R: TileScalar>(
    _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int, _ body: (S) -> R
  ) {
    if MemoryLayout<R>.size > MemoryLayout<S>.size {
      mapDown(dst, a, count) { (x: SIMD8<S>) in lanes(x, body) }
    } else {
      map(dst, a, count) { (x: SIMD8<S>) in lanes(x, body) }
    }
  }
}
