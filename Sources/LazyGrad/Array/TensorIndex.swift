// What can stand between the brackets of `x[...]`, for host arrays and tensors alike. The meaning
// of a whole index list is worked out by IndexResolution.

/// One entry of an index list.
///
///     x[0, -1]                        // integers select; negative ones count from the end
///     x[0..<2, 1..., (-3)...(-1)]     // ranges keep the axis
///     x[.all, .slice(step: -1)]       // everything; start, stop and step as in Python
///     x[.ellipsis, 0]                 // as many full axes as are missing
///     x[.newAxis]                     // an axis of length 1
///     x[[0, 2, 2]]                    // integer arrays gather
///     x[mask]                         // Boolean arrays select
///     x[x .> 0], x[order]             // tensors do as arrays do
///     x[-2..., 1..<-1]                // negative bounds without parentheses
///
/// Ranges follow NumPy: negative bounds count from the end, and bounds outside of the axis are
/// clamped. Integers and elements of integer arrays must name an element.
public protocol TensorIndex {
  /// The entry in the library's own terms.
  var indexComponent: IndexComponent { get }
}

/// An entry of an index list in the library's own terms.
///
/// Made by the static members of `TensorIndex`, or by the `indexComponent` of another index type:
/// a type of your own can be an index by forwarding to one of these.
public struct IndexComponent: TensorIndex {
  /// Fits into the three words that a value of any type has in place: an index list takes no memory.
  enum Kind {
    case integer(Int)
    case slice(IndexSlice)
    case ellipsis
    case newAxis
    case array(NDArray)
  }

  let kind: Kind

  /// The entry itself.
  public var indexComponent: IndexComponent { self }
}

/// Python's `start:stop:step` in 23 bytes.
struct IndexSlice {
  private static let none = Int.min
  private static let stepBits = 56
  private let first: Int
  private let end: Int
  private let lowStep: UInt32
  private let middleStep: UInt16
  private let highStep: Int8

  /// A step that takes more bits is longer than all memory, like the longest that takes no more.
  init(_ start: Int?, _ stop: Int?, _ step: Int) {
    // The smallest number is far before the first element, as the next one is.
    first = start.map { max($0, Self.none + 1) } ?? Self.none
    end = stop.map { max($0, Self.none + 1) } ?? Self.none
    let longest = 1 << (Self.stepBits - 1) - 1
    let bits = min(max(step, -longest), longest)
    lowStep = UInt32(truncatingIfNeeded: bits)
    middleStep = UInt16(truncatingIfNeeded: bits >> 32)
    highStep = Int8(truncatingIfNeeded: bits >> 48)
  }

  var start: Int? { first == Self.none ? nil : first }
  var stop: Int? { end == Self.none ? nil : end }
  var step: Int { Int(highStep) << 48 | Int(middleStep) << 32 | Int(lowStep) }

  /// Whether it takes a whole axis as it is.
  var isWhole: Bool { first == Self.none && end == Self.none && step == 1 }
}

extension TensorIndex where Self == IndexComponent {
  /// The whole axis.
  public static var all: IndexComponent { .slice() }

  /// As many whole axes as the other entries leave over. At most one in a list; a list without one
  /// ends with one.
  public static var ellipsis: IndexComponent { IndexComponent(kind: .ellipsis) }

  /// A new axis of length 1.
  public static var newAxis: IndexComponent { IndexComponent(kind: .newAxis) }

  /// Every `step`-th element from `start` on before `stop`, as Python's `start:stop:step`.
  ///
  /// Negative bounds count from the end, bounds outside of the axis are clamped, and a missing
  /// bound means the end that the direction asks for: `.slice(step: -1)` reverses an axis.
  public static func slice(
    _ start: Int? = nil, _ stop: Int? = nil, step: Int = 1
  ) -> IndexComponent {
    IndexComponent(kind: .slice(IndexSlice(start, stop, step)))
  }

  /// The bound behind an inclusive one: -1 is the last element, behind which there is nothing.
  fileprivate static func slice(_ start: Int?, through last: Int) -> IndexComponent {
    .slice(start, last == -1 || last == .max ? nil : last + 1)
  }
}

extension Int: TensorIndex {
  /// One element of the axis, which disappears.
  public var indexComponent: IndexComponent { IndexComponent(kind: .integer(self)) }
}

extension Range: TensorIndex where Bound == Int {
  /// The elements from the lower bound on before the upper bound.
  public var indexComponent: IndexComponent { .slice(lowerBound, upperBound) }
}

extension ClosedRange: TensorIndex where Bound == Int {
  /// The elements from the lower bound up to and including the upper bound.
  public var indexComponent: IndexComponent { .slice(lowerBound, through: upperBound) }
}

extension PartialRangeFrom: TensorIndex where Bound == Int {
  /// The elements from the lower bound on.
  public var indexComponent: IndexComponent { .slice(lowerBound) }
}

extension PartialRangeUpTo: TensorIndex where Bound == Int {
  /// The elements before the upper bound.
  public var indexComponent: IndexComponent { .slice(nil, upperBound) }
}

extension PartialRangeThrough: TensorIndex where Bound == Int {
  /// The elements up to and including the upper bound.
  public var indexComponent: IndexComponent { .slice(nil, through: upperBound) }
}

extension Array: TensorIndex where Element: NestedArray {
  /// An index array: integers gather, Booleans select.
  public var indexComponent: IndexComponent { IndexComponent(kind: .array(NDArray(self))) }
}

extension NDArray: TensorIndex {
  /// An index array: integers gather, Booleans select. Its elements are read when it is used.
  public var indexComponent: IndexComponent { IndexComponent(kind: .array(self)) }
}

extension Tensor: TensorIndex {
  /// An index array: integers gather, Booleans select. No gradient goes to it.
  ///
  /// - Complexity: forces evaluation.
  public var indexComponent: IndexComponent { IndexComponent(kind: .array(array)) }
}

/// Not an index. It is here for what the compiler says of `x[x > 0]`.
@available(*, unavailable, message: "tensors are compared elementwise: write `x[x .> 0]`")
extension Bool: TensorIndex {
  /// A mask without axes.
  public var indexComponent: IndexComponent { IndexComponent(kind: .array(NDArray(self))) }
}

// MARK: - Negative bounds

// Swift reads `-2...` as the negative of `2...`, and `1..<-1` as one operator between two numbers. These
// give both their meaning in an index list.

infix operator ..<- : RangeFormationPrecedence
infix operator ...- : RangeFormationPrecedence
prefix operator ..<-
prefix operator ...-

/// `-2...`: the elements from the second last on.
public prefix func - (range: PartialRangeFrom<Int>) -> IndexComponent {
  .slice(0 &- range.lowerBound)
}

/// `1..<-1`: the elements from a bound on before one that counts from the end.
public func ..<- (start: Int, distance: Int) -> IndexComponent { .slice(start, 0 &- distance) }

/// `1...-2`: the elements from a bound on up to and including one that counts from the end.
public func ...- (start: Int, distance: Int) -> IndexComponent {
  .slice(start, through: 0 &- distance)
}

/// `..<-1`: the elements before one that counts from the end.
public prefix func ..<- (distance: Int) -> IndexComponent { .slice(nil, 0 &- distance) }

/// `...-2`: the elements up to and including one that counts from the end.
public prefix func ...- (distance: Int) -> IndexComponent { .slice(nil, through: 0 &- distance) }
