// Sums over all ranks of elements in memory. Uses RankLink.

/// How the numbers of all ranks are added up.
public enum SummationOrder: Sendable {
  /// Rank after rank, `((x0 + x1) + x2) + x3`: the result depends on the numbers alone, with every MPI library
  /// and on every network, and wherever in a tensor they stand.
  case ranks
  /// As the MPI library likes, which can be faster on many machines. With 3 ranks and more the last bits depend
  /// on the library and its version, on how long the tensors are, and on where in them a number stands. All
  /// ranks get the same ones.
  case library
}

/// A sum over all ranks, with what happens to the numbers before and after.
struct RankSum {
  let link: RankLink
  let form: CollectiveForm
  let order: SummationOrder
  /// What the sum is divided by; nil: nothing.
  let divisor: Double?

  /// Adds up a buffer in place, in pieces.
  func run(_ bytes: UnsafeMutableRawBufferPointer, _ dtype: DType) throws {
    switch dtype {
    case .float32: try run(bytes, Float.self, dtype) { $0 / $1 }
    case .float64: try run(bytes, Double.self, dtype) { $0 / $1 }
    case .int32: try run(bytes, Int32.self, dtype, nil)
    default: try run(bytes, Int64.self, dtype, nil)
    }
  }

  private func run<Element: SummableElement>(
    _ bytes: UnsafeMutableRawBufferPointer, _ type: Element.Type, _ dtype: DType,
    _ divide: ((Element, Element) -> Element)?
  ) throws {
    let elements = bytes.bindMemory(to: type)
    let most = RankLink.pieceSize / dtype.size
    for start in stride(from: 0, to: elements.count, by: most) {
      let count = min(most, elements.count - start)
      let piece = elements.baseAddress! + start
      switch order {
      case .ranks: try rankOrder(piece, count, divide)
      case .library:
        try link.librarySum(piece, count: count, dtype, form)
        scale(piece, count, divide)
      }
    }
  }

  /// Divides elements, where a mean is asked for.
  private func scale<Element: SummableElement>(
    _ elements: UnsafeMutablePointer<Element>, _ count: Int,
    _ divide: ((Element, Element) -> Element)?
  ) {
    guard let divisor, let divide else { return }
    let by = Element(rounding: divisor)
    for i in 0..<count { elements[i] = divide(elements[i], by) }
  }

  /// Below this number of bytes from all ranks together, each rank gets them all and adds them up itself: one
  /// message instead of two, and the same bits.
  private static let smallSize = 1 << 15

  /// Adds up in the order of ranks:
  ///
  /// 1. Every rank is in charge of a part of the elements, and gets that part from all ranks.
  /// 2. It adds them up, rank after rank.
  /// 3. Every rank gets all the parts.
  ///
  /// That moves as many bytes as a ring does, and takes as much memory again as the piece.
  private func rankOrder<Element: SummableElement>(
    _ piece: UnsafeMutablePointer<Element>, _ count: Int,
    _ divide: ((Element, Element) -> Element)?
  ) throws {
    let (size, rank) = (link.size, link.rank)
    let width = MemoryLayout<Element>.stride
    if count * width * size <= Self.smallSize {
      let all = UnsafeMutablePointer<Element>.allocate(capacity: count * size)
      defer { all.deallocate() }
      try link.allgather(
        UnsafeRawBufferPointer(start: piece, count: count * width), into: all, form)
      Self.add(all, size, count, into: piece)
      scale(piece, count, divide)
      return
    }
    let parts = (0..<size).map { Communicator.part($0, of: count, among: size) }
    let byteParts = parts.map { $0.lowerBound * width..<$0.upperBound * width }
    let own = parts[rank]
    let received = UnsafeMutablePointer<Element>.allocate(capacity: max(own.count * size, 1))
    defer { received.deallocate() }
    try link.exchange(piece, parts: byteParts, into: received, form)
    Self.add(received, size, own.count, into: piece + own.lowerBound)
    scale(piece + own.lowerBound, own.count, divide)
    try link.allgather(
      UnsafeMutableRawBufferPointer(start: piece, count: count * width), parts: byteParts, form)
  }

  /// The sum of `size` rows of `count` elements. Integers wrap around, as tensors' do.
  private static func add<Element: SummableElement>(
    _ rows: UnsafeMutablePointer<Element>, _ size: Int, _ count: Int,
    into sum: UnsafeMutablePointer<Element>
  ) {
    sum.update(from: rows, count: count)
    for row in 1..<max(size, 1) {
      let values = rows + row * count
      for i in 0..<count { sum[i] = Element.sum(sum[i], values[i]) }
    }
  }
}

/// A number that ranks add up.
protocol SummableElement: BitwiseCopyable {
  init(rounding value: Double)
  static func sum(_ a: Self, _ b: Self) -> Self
}

extension Float: SummableElement {
  init(rounding value: Double) { self = Float(value) }
  @inline(__always) static func sum(_ a: Float, _ b: Float) -> Float { a + b }
}

extension Double: SummableElement {
  init(rounding value: Double) { self = value }
  @inline(__always) static func sum(_ a: Double, _ b: Double) -> Double { a + b }
}

extension Int32: SummableElement {
  init(rounding value: Double) { self = Int32(value) }
  @inline(__always) static func sum(_ a: Int32, _ b: Int32) -> Int32 { a &+ b }
}

extension Int64: SummableElement {
  init(rounding value: Double) { self = Int64(value) }
  @inline(__always) static func sum(_ a: Int64, _ b: Int64) -> Int64 { a &+ b }
}
