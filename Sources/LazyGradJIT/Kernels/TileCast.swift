// The tile kernel of casts. Called by the dispatcher in Tile.swift; uses the conversions and the
// loops of TileScalar.swift, and those of Core to and from 16 bits.

extension Tile {
  /// `dst[i] = target(a[i])`. Bools are 0 and 1 as numbers, and whatever is not zero is true.
  static func cast(
    _ source: ScalarType, _ target: ScalarType, _ dst: UnsafeMutableRawPointer,
    _ a: UnsafeRawPointer, _ count: Int
  ) {
    if source == target || (source == .bool && target == .uint8) {
      return copy(dst, a, count &* source.size)
    }
    switch target {
    case .float16: return castToFloat16(source, dst, a, count)
    case .bfloat16: return castToBFloat16(source, dst, a, count)
    default: break
    }
    switch source {
    case .bool, .uint8: castFromUInt8(target, dst, a, count)
    case .int32: castFromInt32(target, dst, a, count)
    case .int64: castFromInt64(target, dst, a, count)
    case .float32: castFromFloat32(target, dst, a, count)
    case .float64: castFromFloat64(target, dst, a, count)
    case .float16: castFromFloat16(target, dst, a, count)
    case .bfloat16: castFromBFloat16(target, dst, a, count)
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
    case .float16, .bfloat16: target.isNotComputed("cast")
    }
  }

  // MARK: 16 bits

  @inline(never)
  private static func castFromFloat16(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { castFromHalf(Float16Format.self, target, dst, a, count) }

  @inline(never)
  private static func castFromBFloat16(
    _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { castFromHalf(BFloat16Format.self, target, dst, a, count) }

  @inline(never)
  private static func castToFloat16(
    _ source: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { castToHalf(Float16Format.self, source, dst, a, count) }

  @inline(never)
  private static func castToBFloat16(
    _ source: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer, _ count: Int
  ) { castToHalf(BFloat16Format.self, source, dst, a, count) }

  /// By way of float32, which has the numbers of both types.
  @inline(__always)
  private static func castFromHalf<H: HalfFormat>(
    _ format: H.Type, _ target: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    switch target {
    case .bool:
      map(dst, a, count) { (x: SIMD8<UInt16>) in
        Float.equal(H.floats(x), SIMD8()) ^ SIMD8(repeating: 1)
      }
    case .uint8:
      map(dst, a, count) { (x: SIMD8<UInt16>) in lanes(H.floats(x)) { $0.asUInt8 } }
    case .int32:
      mapDown(dst, a, count) { (x: SIMD8<UInt16>) in lanes(H.floats(x)) { $0.asInt32 } }
    case .int64:
      mapDown(dst, a, count) { (x: SIMD8<UInt16>) in lanes(H.floats(x)) { $0.asInt64 } }
    case .float32: mapDown(dst, a, count) { (x: SIMD8<UInt16>) in H.floats(x) }
    case .float64:
      mapDown(dst, a, count) { (x: SIMD8<UInt16>) in lanes(H.floats(x)) { Double($0) } }
    case .float16, .bfloat16: target.isNotComputed("cast")
    }
  }

  /// Integers become float32 first, as in NumPy, and doubles are rounded once.
  @inline(__always)
  private static func castToHalf<H: HalfFormat>(
    _ format: H.Type, _ source: ScalarType, _ dst: UnsafeMutableRawPointer, _ a: UnsafeRawPointer,
    _ count: Int
  ) {
    switch source {
    case .bool, .uint8:
      mapDown(dst, a, count) { (x: SIMD8<UInt8>) in H.bits(lanes(x) { Float($0) }) }
    case .int32: map(dst, a, count) { (x: SIMD8<Int32>) in H.bits(lanes(x) { Float($0) }) }
    case .int64: map(dst, a, count) { (x: SIMD8<Int64>) in H.bits(lanes(x) { Float($0) }) }
    case .float32: map(dst, a, count) { (x: SIMD8<Float>) in H.bits(x) }
    case .float64:
      map(dst, a, count) { (x: SIMD8<Double>) in H.bits(lanes(x, HalfFloat.cutToOdd)) }
    case .float16: map(dst, a, count) { (x: SIMD8<UInt16>) in H.bits(Float16Format.floats(x)) }
    case .bfloat16: map(dst, a, count) { (x: SIMD8<UInt16>) in H.bits(BFloat16Format.floats(x)) }
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
