// Memory that a kernel works in. It is a part of its plan's, so that lack of it is found before anything
// has run.

/// A stack of memory for what a kernel keeps beside its operands and results.
///
/// Whoever takes a part hands the rest on as a copy: what is taken of the copy is free again where the copy
/// is gone.
package struct WorkMemory {
  private var next: UnsafeMutableRawPointer
  private let end: UnsafeMutableRawPointer

  package init(_ start: UnsafeMutableRawPointer, byteCount: Int) {
    next = start
    end = start + byteCount
  }

  /// What `take` takes for some elements.
  @inline(__always)
  static func byteCount<T>(_ count: Int, of _: T.Type) -> Int {
    byteCount(count * MemoryLayout<T>.stride)
  }

  /// What `take` takes for some bytes.
  @inline(__always)
  static func byteCount(_ count: Int) -> Int {
    (count + StoragePool.slack + 63) & ~63
  }

  /// Memory for some elements, at a multiple of 64 bytes, with room behind them that vectors may read.
  @inline(__always)
  mutating func take<T: BitwiseCopyable>(
    _ count: Int, of _: T.Type = T.self
  ) -> UnsafeMutablePointer<T> {
    take(byteCount: count * MemoryLayout<T>.stride).assumingMemoryBound(to: T.self)
  }

  @inline(__always)
  mutating func take(byteCount: Int) -> UnsafeMutableRawPointer {
    let start = next
    next += Self.byteCount(byteCount)
    if next > end {
      fatalError("LazyGrad: a kernel takes more memory to work in than its plan has")
    }
    return start
  }
}
