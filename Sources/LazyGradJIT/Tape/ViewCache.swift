// Remembers what views make of layouts, so that a view which a program takes again and again costs one
// probe instead of arrays of lengths and strides. Uses Core.

/// What is asked of a layout: an operation and a few numbers, in a row of eight words.
///
///     words          7    6    5    4    3    2         1    0
///     [2, 8] of      0    0    0    0    0    reshaped  2    8
///
/// The operation is the first that is not 0, so where it stands says how many numbers there are.
public struct ViewKey: Equatable, Sendable, BitwiseCopyable {
  /// What is done with the layout.
  @frozen public enum Operation: UInt32, Sendable {
    /// The axes in reverse order, or in the one that the numbers are.
    case reversed = 1, permuted
    /// Two axes that change places, and one that goes to another.
    case swapped, moved
    /// The elements in reverse order along these axes.
    case flipped
    /// Another shape.
    case reshaped, broadcast
    /// An axis of length 1 more, one less, none at all.
    case expanded, squeezed, squeezedWhole
    /// Integers, ranges, new axes.
    case indexed
    /// So many elements along an axis.
    case section
    /// All windows of some lengths.
    case windows
    /// A part of what the layout shows.
    case part
    /// Another shape for a copy, because no strides show the elements in that.
    case copied
    /// Rows by number: of a table that is as wide as rows are, of a table as it is, those of a mask.
    case rows, takenRows, maskedRows
    /// Elements by their positions along an axis.
    case along
    /// A diagonal over two axes.
    case diagonal
    /// Gradients as views: of what was viewed, of what was reduced, of a larger shape.
    case inverse, spread, repeated
    /// With an axis for a batch in front; also with axes of length 1 behind that, up to a rank.
    case batched, batchedToRank
    /// Without that axis.
    case sample
    /// The same for a batch of values, of each sample's own or of one; and lengths around a reduced axis.
    case batchedView, batchedOnce, batchedReduction
    /// The rows of a batch of matrices as one matrix; the columns as its rows.
    case batchedRows, batchedColumns
    /// What a routine makes of matrices, and of a second operand.
    case matrix
    /// One of several results of such a routine.
    case result
  }

  // Four words and no more: these are passed and returned in registers. In memory they would be written
  // one by one and read two at a time, which processors wait for.
  @usableFromInline var a: UInt64
  @usableFromInline var b: UInt64
  @usableFromInline var c: UInt64
  @usableFromInline var d: UInt64

  @inlinable @inline(__always)
  init(a: UInt64, _ others: UInt64) {
    self.a = a
    b = others
    c = others
    d = others
  }

  /// Says nothing: what is asked is worked out every time. That of more numbers than there is room for.
  @inlinable @inline(__always)
  public static var none: ViewKey { ViewKey(a: .max, .max) }

  /// Whether all that is asked has found room. (No operation has this number.)
  @inlinable @inline(__always)
  public var isWhole: Bool { d != .max }

  /// Of an operation without numbers.
  @inlinable @inline(__always)
  public init(_ operation: Operation) { self.init(a: UInt64(operation.rawValue), 0) }

  /// Of an operation and a number.
  @inlinable @inline(__always)
  public init(_ operation: Operation, _ number: Int) {
    self.init(operation)
    append(number)
  }

  /// Of an operation and numbers.
  @inlinable @inline(__always)
  public init(_ operation: Operation, _ numbers: [Int]) {
    self.init(operation)
    for number in numbers { append(number) }
  }

  /// Puts one more number behind the others.
  @inlinable @inline(__always)
  public mutating func append(_ number: Int) {
    guard let word = Int32(exactly: number) else {
      self = .none
      return
    }
    append(UInt32(bitPattern: word))
  }

  /// Puts one more word behind the others.
  @inlinable @inline(__always)
  public mutating func append(_ word: UInt32) {
    if d >> 32 != 0 {
      self = .none
      return
    }
    d = d << 32 | c >> 32
    c = c << 32 | b >> 32
    b = b << 32 | a >> 32
    a = a << 32 | UInt64(word)
  }

  /// A number that depends on all bits.
  @inline(__always)
  fileprivate func hash(_ layout: LayoutID) -> UInt64 {
    // Not of a word and the layout together: numbers of layouts that are made in pairs would cancel out.
    var h = a &* 0x9E37_79B9_7F4A_7C15
    h ^= UInt64(layout) &* 0x9FB2_1C65_1E98_DF25
    h ^= b &* 0xA076_1D64_78BD_642F
    h ^= c &* 0xE703_7ED1_A0B4_28DB
    h ^= d &* 0x8EBC_6AF0_9C88_C6E3
    return h &* 0x2127_599B_F432_5C37
  }
}

/// A view of a layout.
private struct LayoutView: MemoKey {
  let layout: LayoutID
  let key: ViewKey

  @inline(__always)
  var hash: UInt64 { key.hash(layout) >> 32 }
}

/// A memo of the layouts that views of layouts have.
struct ViewCache {
  struct Entry: BitwiseCopyable {
    /// The layout of the view; `max`: there is none.
    var layout: LayoutID
    /// Where it begins, for a part.
    var offset = 0
    /// For rows: the layout of the table as a view, `max` for none, and that of their numbers.
    var table: LayoutID = .max
    var numbers: LayoutID = .max
  }
  /// The most entries that a tape may use (`TapeLimits.viewPlaces`).
  static var size: Int { 128 }
  private let memo = Memo<LayoutView, Entry>(size: size)

  func removeAll() { memo.removeAll() }

  /// What was remembered of a view of a layout.
  @inline(__always)
  func known(_ key: ViewKey, of layout: LayoutID, _ limits: TapeLimits) -> Entry? {
    memo.known(LayoutView(layout: layout, key: key), places: limits.viewPlaces)
  }

  func remember(
    _ key: ViewKey, of layout: LayoutID, as result: LayoutID, offset: Int = 0,
    table: LayoutID = .max, numbers: LayoutID = .max, _ limits: TapeLimits
  ) {
    if !key.isWhole { return }
    memo.remember(
      LayoutView(layout: layout, key: key),
      Entry(layout: result, offset: offset, table: table, numbers: numbers),
      places: limits.viewPlaces)
  }
}
