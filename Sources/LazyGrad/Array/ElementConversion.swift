// Conversion of contiguous elements between types, by NumPy's casting rules on x86-64. Uses
// TensorScalar, and the engine's conversions from and to 16 bits.

internal import LazyGradJIT

/// A scalar that the conversion loops can make from any other one.
///
/// Between integers: the low bits. Float to integer: truncation towards zero; NaN and values out of
/// the range of `int32` and `int64` give their minimum, `uint8` takes the low byte of the `int32`.
/// Anything but zero is true, NaN included. The engine's casts agree, but its kernels may write
/// past the end of a run, which arrays of the caller and parts of a storage don't allow.
private protocol HostElement: TensorScalar {
  static func converted(_ value: Double) -> Self
  static func converted(_ value: Int64) -> Self
}

extension Double: HostElement {
  fileprivate static func converted(_ value: Double) -> Double { value }
  fileprivate static func converted(_ value: Int64) -> Double { Double(value) }
}
extension Float: HostElement {
  fileprivate static func converted(_ value: Double) -> Float { Float(value) }
  fileprivate static func converted(_ value: Int64) -> Float { Float(value) }
}
extension Int64: HostElement {
  fileprivate static func converted(_ value: Double) -> Int64 { value._int64 }
  fileprivate static func converted(_ value: Int64) -> Int64 { value }
}
extension Int32: HostElement {
  fileprivate static func converted(_ value: Double) -> Int32 {
    value > -2_147_483_649 && value < 2_147_483_648 ? Int32(value) : .min
  }
  fileprivate static func converted(_ value: Int64) -> Int32 { Int32(truncatingIfNeeded: value) }
}
extension UInt8: HostElement {
  fileprivate static func converted(_ value: Double) -> UInt8 {
    UInt8(truncatingIfNeeded: Int32.converted(value))
  }
  fileprivate static func converted(_ value: Int64) -> UInt8 { UInt8(truncatingIfNeeded: value) }
}
extension Bool: HostElement {
  fileprivate static func converted(_ value: Double) -> Bool { value != 0 }
  fileprivate static func converted(_ value: Int64) -> Bool { value != 0 }
}

/// Conversion of contiguous runs; one specialised loop for each pair of types.
enum ElementConversion {
  /// Converts `count` elements. The two runs must not overlap.
  static func convert(
    from source: UnsafeRawPointer, _ sourceType: DType, to target: UnsafeMutableRawPointer,
    _ targetType: DType, count: Int
  ) {
    if sourceType == targetType {
      target.copyMemory(from: source, byteCount: count * sourceType.size)
      return
    }
    switch targetType {
    case .bool: convert(source, sourceType, to: target, Bool.self, count)
    case .uint8: convert(source, sourceType, to: target, UInt8.self, count)
    case .int32: convert(source, sourceType, to: target, Int32.self, count)
    case .int64: convert(source, sourceType, to: target, Int64.self, count)
    case .float32: convert(source, sourceType, to: target, Float.self, count)
    case .float64: convert(source, sourceType, to: target, Double.self, count)
    case .float16: round(source, sourceType, to: target, Float16Format.self, count)
    case .bfloat16: round(source, sourceType, to: target, BFloat16Format.self, count)
    }
  }

  @inline(__always)
  private static func convert<T: HostElement>(
    _ source: UnsafeRawPointer, _ sourceType: DType, to target: UnsafeMutableRawPointer,
    _: T.Type, _ count: Int
  ) {
    let target = target.assumingMemoryBound(to: T.self)
    switch sourceType {
    case .bool: run(source.assumingMemoryBound(to: Bool.self), target, count)
    case .uint8: run(source.assumingMemoryBound(to: UInt8.self), target, count)
    case .int32: run(source.assumingMemoryBound(to: Int32.self), target, count)
    case .int64: run(source.assumingMemoryBound(to: Int64.self), target, count)
    case .float32: run(source.assumingMemoryBound(to: Float.self), target, count)
    case .float64: run(source.assumingMemoryBound(to: Double.self), target, count)
    case .float16: widen(source, Float16Format.self, target, count)
    case .bfloat16: widen(source, BFloat16Format.self, target, count)
    }
  }

  // MARK: 16 bits

  /// Elements that are taken at a time.
  private static let pieceLength = 256

  /// Numbers of 16 bits as another type, by way of float32, which has all of them.
  private static func widen<H: HalfFormat, T: HostElement>(
    _ source: UnsafeRawPointer, _: H.Type, _ target: UnsafeMutablePointer<T>, _ count: Int
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: pieceLength) { piece in
      let numbers = piece.baseAddress!
      for start in stride(from: 0, to: count, by: pieceLength) {
        let n = min(pieceLength, count - start)
        let bits = source + 2 * start
        for i in stride(from: 0, to: n & ~7, by: 8) {
          let floats = H.floats(bits.loadUnaligned(fromByteOffset: 2 * i, as: SIMD8.self))
          UnsafeMutableRawPointer(numbers + i).storeBytes(of: floats, as: SIMD8.self)
        }
        for i in (n & ~7)..<n {
          numbers[i] = H.float(bits.load(fromByteOffset: 2 * i, as: UInt16.self))
        }
        run(UnsafePointer(numbers), target + start, n)
      }
    }
  }

  /// Numbers of another type as the nearest ones of 16 bits. Integers become float32 first, as in NumPy;
  /// doubles are rounded once.
  private static func round<H: HalfFormat>(
    _ source: UnsafeRawPointer, _ sourceType: DType, to target: UnsafeMutableRawPointer,
    _: H.Type, _ count: Int
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: pieceLength) { piece in
      let numbers = piece.baseAddress!
      for start in stride(from: 0, to: count, by: pieceLength) {
        let n = min(pieceLength, count - start)
        let elements = source + start * sourceType.size
        if sourceType == .float64 {
          let doubles = elements.assumingMemoryBound(to: Double.self)
          for i in 0..<n { numbers[i] = HalfFloat.cutToOdd(doubles[i]) }
        } else if sourceType == .float32 {
          numbers.update(from: elements.assumingMemoryBound(to: Float.self), count: n)
        } else {
          convert(elements, sourceType, to: UnsafeMutableRawPointer(numbers), Float.self, n)
        }
        let bits = target + 2 * start
        for i in stride(from: 0, to: n & ~7, by: 8) {
          let floats = UnsafeRawPointer(numbers + i).loadUnaligned(as: SIMD8<Float>.self)
          bits.storeBytes(of: H.bits(floats), toByteOffset: 2 * i, as: SIMD8.self)
        }
        for i in (n & ~7)..<n {
          bits.storeBytes(of: H.bits(numbers[i]), toByteOffset: 2 * i, as: UInt16.self)
        }
      }
    }
  }

  @inline(__always)
  private static func run<S: HostElement, T: HostElement>(
    _ source: UnsafePointer<S>, _ target: UnsafeMutablePointer<T>, _ count: Int
  ) {
    if S.dtype.isFloating {
      for i in 0..<count { target[i] = T.converted(source[i]._double) }
    } else {
      for i in 0..<count { target[i] = T.converted(source[i]._int64) }
    }
  }
}
