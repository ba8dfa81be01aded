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

extension MoveKernel {
  /// Bytes that it works in: copies of operands that have to be in order, and what its kernel needs.
  var workBytes: Int {
    func copied(_ layout: Unmanaged<Layout>?, _ size: Int) -> Int {
      layout?._withUnsafeGuaranteedRef {
        $0.isContiguous ? 0 : WorkMemory.byteCount($0.count * size)
      } ?? 0
    }
    let size = type.size
    return switch kind {
    case .copy, .stack, .unstack: 0
    case .sumRows: WorkMemory.byteCount(width * size)
    case .numbers: WorkMemory.byteCount(8 * size)
    case .gatherRows: copied(bLayout, 8) + copied(aLayout, size)
    case .scatterAddRows, .setRows: copied(bLayout, size) + copied(cLayout, 8)
    case .setRegion, .addRegion: copied(bLayout, size)
    case .cumsum, .cumprod: Scan.workBytes(runs)
    case .sort: copied(aLayout, order!.of.size) + Sort.workBytes(order!.of, runs)
    case .argsort: copied(aLayout, order!.of.size) + Sort.placesWorkBytes(order!.of, runs)
    case .concat: copied(aLayout, size) + copied(bLayout, size)
    case .matrix:
      copied(aLayout, size) + copied(bLayout, size) + copied(cLayout, size) + call!.workBytes(type)
    }
  }
}
