// The tile kernel of `where`. Called by the dispatcher in Tile.swift; uses LaneSupport.swift and
// the loading and storing of TileScalar.swift.

extension Tile {
  /// `dst[i] = condition[i] ? b[i] : c[i]` over elements of `size` bytes: which of two patterns of
  /// bits is chosen doesn't depend on their type.
  @inline(never)
  static func select(
    _ size: Int, _ dst: UnsafeMutableRawPointer, _ condition: UnsafeRawPointer,
    _ b: UnsafeRawPointer, _ c: UnsafeRawPointer, _ count: Int
  ) {
    switch size {
    case 1:
      choose(dst, condition, b, c, count) { SIMD8<UInt8>(repeating: 0) &- $0 }
    case 2:
      choose(dst, condition, b, c, count) {
        SIMD8<UInt16>(repeating: 0) &- SIMD8<UInt16>(truncatingIfNeeded: $0)
      }
    case 4:
      choose(dst, condition, b, c, count) {
        SIMD8<UInt32>(repeating: 0) &- SIMD8<UInt32>(truncatingIfNeeded: $0)
      }
    default:
      choose(dst, condition, b, c, count) {
        SIMD8<UInt64>(repeating: 0) &- SIMD8<UInt64>(truncatingIfNeeded: $0)
      }
    }
  }

  /// From the end to the start: then even the narrower condition may lie at the destination.
  @inline(__always)
  private static func choose<T: FixedWidthInteger & SIMDScalar>(
    _ dst: UnsafeMutableRawPointer, _ condition: UnsafeRawPointer, _ b: UnsafeRawPointer,
    _ c: UnsafeRawPointer, _ count: Int, _ mask: (SIMD8<UInt8>) -> SIMD8<T>
  ) where T.SIMD8Storage: BitwiseCopyable {
    var i = (count &- 1) & ~7
    while i >= 0 {
      let chosen = mask(condition.vector(i))
      let x: SIMD8<T> = b.vector(i)
      let y: SIMD8<T> = c.vector(i)
      dst.put((x & chosen) | (y & ~chosen), i)
      i &-= 8
    }
  }
}
