// Axes of a shape as one word, so that what is worked out for them can be looked up. Uses LayoutTable.

/// Axes of a shape, counted from 0.
public struct AxisSet: BitwiseCopyable, Sendable {
  /// A bit for each of them.
  public var bits: UInt64

  @inlinable @inline(__always)
  init(bits: UInt64) { self.bits = bits }

  /// No axes.
  @inlinable @inline(__always)
  public init() { self.init(bits: 0) }

  /// One axis.
  @inlinable @inline(__always)
  public init(_ axis: Int) { self.init(bits: 1 &<< UInt64(axis)) }

  /// All axes, however many there are: who records has to look at the shape anyway.
  @inlinable @inline(__always)
  public static var all: AxisSet { AxisSet(bits: ~0) }

  /// Those that a shape with so many axes has.
  @inlinable @inline(__always)
  public func within(rank: Int) -> AxisSet {
    AxisSet(bits: rank == 0 ? 0 : bits & ~0 &>> UInt64(UInt64.bitWidth &- rank))
  }

  /// Whether there are none.
  @inlinable @inline(__always)
  public var isEmpty: Bool { bits == 0 }

  /// Whether an axis is one of them.
  public func contains(_ axis: Int) -> Bool { axis >= 0 && bits >> UInt64(axis) & 1 != 0 }

  /// The first of them.
  public var first: Int? { isEmpty ? nil : bits.trailingZeroBitCount }

  /// Adds an axis.
  ///
  /// - Returns: Whether it was not in the set.
  public mutating func insert(_ axis: Int) -> Bool {
    let isNew = !contains(axis)
    bits |= 1 << UInt64(axis)
    return isNew
  }

  /// Takes the last run of neighbouring axes out; there is one.
  mutating func removeLastRun() -> ClosedRange<Int> {
    let last = LayoutTable.maxRank - 1 - bits.leadingZeroBitCount
    var first = last
    while contains(first - 1) { first -= 1 }
    bits &= (1 << UInt64(first)) - 1
    return first...last
  }
}
