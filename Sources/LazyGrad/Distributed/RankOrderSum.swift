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

/// How much each rank's numbers count in a mean, as ranks have said when they agreed.
struct RankWeights {
  private let link: RankLink?
  /// Of all ranks together.
  let sum: Double
  /// Whether all ranks have the same, so that numbers need not be multiplied.
  let areEqual: Bool

  init(_ link: RankLink?, own: Double) {
    self.link = link
    guard let link else {
      (sum, areEqual) = (own, true)
      return
    }
    var (sum, areEqual) = (0.0, true)
    for rank in 0..<link.size {
      let weight = Double(bitPattern: link.number(of: rank))
      sum += weight
      areEqual = areEqual && weight == own
    }
    // What one rank finds unequal all do.
    (self.sum, self.areEqual) = (sum, areEqual)
  }

  subscript(rank: Int) -> Double {
    link.map { Double(bitPattern: $0.number(of: rank)) } ?? sum
  }
}

/// A sum over all ranks, with what happens to the numbers before and after.
struct RankSum {
  let link: RankLink
  let form: CollectiveForm
  let order: SummationOrder
  let weights: RankWeights
  /// Whether the sum is divided by that of the weights. Of floats only, as are weights that differ.
  let isMean: Bool

  /// What the sum is divided by.
  private var divisor: Double { weights.areEqual ? Double(link.size) : weights.sum }

  /// Adds up a buffer in place.
  ///
  /// - Parameter isCarried: Whether all ranks' numbers have come with the agreement.
  func run(_ bytes: UnsafeMutableRawBufferPointer, _ dtype: DType, isCarried: Bool) throws {
    switch dtype {
    case .float32: try run(bytes, Float.self, dtype, isCarried)
    case .float64: try run(bytes, Double.self, dtype, isCarried)
    case .int32: try run(bytes, Int32.self, dtype, isCarried)
    default: try run(bytes, Int64.self, dtype, isCarried)
    }
  }

  private func run<Element: SummableElement>(
    _ bytes: UnsafeMutableRawBufferPointer, _ type: Element.Type, _ dtype: DType,
    _ isCarried: Bool
  ) throws {
    let elements = bytes.bindMemory(to: type)
    if isCarried {
      if let first = elements.baseAddress { addCarried(first, elements.count) }
      return
    }
    if !weights.areEqual { Self.multiply(elements, by: weights[link.rank]) }
    let most = RankLink.pieceSize / dtype.size
    for start in stride(from: 0, to: elements.count, by: most) {
      let count = min(most, elements.count - start)
      let piece = elements.baseAddress! + start
      switch order {
      case .ranks: try rankOrder(piece, count)
      case .library:
        try link.librarySum(piece, count: count, dtype, form)
        divide(piece, count)
      }
    }
  }

  /// Divides elements, where a mean is asked for.
  private func divide<Element: SummableElement>(
    _ elements: UnsafeMutablePointer<Element>, _ count: Int
  ) {
    if !isMean { return }
    if divisor.significand == 1, abs(divisor.exponent) < 100 {
      // A power of two: the same bits, sooner.
      let factor = Element(rounding: 1 / divisor)
      for i in 0..<count { elements[i] = Element.product(elements[i], factor) }
    } else {
      let divisor = Element(rounding: divisor)
      for i in 0..<count { elements[i] = Element.quotient(elements[i], divisor) }
    }
  }

  /// What counts nothing may be no number at all, so it is not multiplied but cleared.
  private static func multiply<Element: SummableElement>(
    _ elements: UnsafeMutableBufferPointer<Element>, by factor: Double
  ) {
    if factor == 1 { return }
    if factor == 0 {
      elements.update(repeating: Element(rounding: 0))
    } else {
      let factor = Element(rounding: factor)
      for i in elements.indices { elements[i] = Element.product(elements[i], factor) }
    }
  }

  /// Adds up what has come with the agreement: the same steps as otherwise, so the same bits.
  private func addCarried<Element: SummableElement>(
    _ sum: UnsafeMutablePointer<Element>, _ count: Int
  ) {
    for rank in 0..<link.size {
      let row = link.carried(from: rank).bindMemory(to: Element.self)
      if !weights.areEqual { Self.multiply(row, by: weights[rank]) }
      if rank == 0 {
        sum.update(from: row.baseAddress!, count: count)
      } else {
        Self.add(row.baseAddress!, count, to: sum)
      }
    }
    divide(sum, count)
    link.count(bytes: count * MemoryLayout<Element>.stride)
  }

  /// Adds up in the order of ranks:
  ///
  /// 1. Every rank is in charge of a part of the elements, and gets that part from all ranks.
  /// 2. It adds them up, rank after rank.
  /// 3. Every rank gets all the parts.
  ///
  /// That moves as many bytes as a ring does, and takes as much memory again as the piece.
  private func rankOrder<Element: SummableElement>(
    _ piece: UnsafeMutablePointer<Element>, _ count: Int
  ) throws {
    let (size, rank) = (link.size, link.rank)
    let width = MemoryLayout<Element>.stride
    if count * width * size <= RankLink.smallSize {
      let all = UnsafeMutablePointer<Element>.allocate(capacity: count * size)
      defer { all.deallocate() }
      try link.allgather(
        UnsafeRawBufferPointer(start: piece, count: count * width), into: all, form)
      Self.add(all, size, count, into: piece)
      divide(piece, count)
      return
    }
    let parts = (0..<size).map { Communicator.part($0, of: count, among: size) }
    let byteParts = parts.map { $0.lowerBound * width..<$0.upperBound * width }
    let own = parts[rank]
    let received = UnsafeMutablePointer<Element>.allocate(capacity: max(own.count * size, 1))
    defer { received.deallocate() }
    try link.exchange(piece, parts: byteParts, into: received, form)
    Self.add(received, size, own.count, into: piece + own.lowerBound)
    divide(piece + own.lowerBound, own.count)
    try link.allgather(
      UnsafeMutableRawBufferPointer(start: piece, count: count * width), parts: byteParts, form)
  }

  /// The sum of `size` rows of `count` elements. Integers wrap around, as tensors' do.
  private static func add<Element: SummableElement>(
    _ rows: UnsafeMutablePointer<Element>, _ size: Int, _ count: Int,
    into sum: UnsafeMutablePointer<Element>
  ) {
    sum.update(from: rows, count: count)
    for row in 1..<max(size, 1) { add(rows + row * count, count, to: sum) }
  }

  @inline(__always)
  private static func add<Element: SummableElement>(
    _ values: UnsafeMutablePointer<Element>, _ count: Int, to sum: UnsafeMutablePointer<Element>
  ) {
    for i in 0..<count { sum[i] = Element.sum(sum[i], values[i]) }
  }
}

/// A number that ranks add up.
protocol SummableElement: BitwiseCopyable {
  init(rounding value: Double)
  static func sum(_ a: Self, _ b: Self) -> Self
  /// Of floats; integers have no weights and no means.
  static func product(_ a: Self, _ b: Self) -> Self
  static func quotient(_ a: Self, _ b: Self) -> Self
}

extension SummableElement where Self: BinaryFloatingPoint {
  init(rounding value: Double) { self = Self(value) }
  @inline(__always) static func sum(_ a: Self, _ b: Self) -> Self { a + b }
  @inline(__always) static func product(_ a: Self, _ b: Self) -> Self { a * b }
  @inline(__always) static func quotient(_ a: Self, _ b: Self) -> Self { a / b }
}

extension SummableElement where Self: FixedWidthInteger {
  init(rounding value: Double) { self = Self(value) }
  @inline(__always) static func sum(_ a: Self, _ b: Self) -> Self { a &+ b }
  @inline(__always) static func product(_ a: Self, _ b: Self) -> Self { a &* b }
  @inline(__always) static func quotient(_ a: Self, _ b: Self) -> Self { a / b }
}

extension Float: SummableElement {}
extension Double: SummableElement {}
extension Int32: SummableElement {}
extension Int64: SummableElement {}
