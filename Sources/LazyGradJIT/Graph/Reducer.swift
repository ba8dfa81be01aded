// How a reduction makes one value of a run of elements: the one place that plan, portable kernels,
// machine code, oracle and recording ask. Uses the opcodes, whose rows name one each.

/// Which end of the order an extreme is.
package enum Extreme: Sendable {
  case largest, smallest

  /// Whether `x` takes the place of `y`; of equal ones the first stays.
  @inline(__always)
  func beats<T: Comparable>(_ x: T, _ y: T) -> Bool {
    switch self {
    case .largest: x > y
    case .smallest: x < y
    }
  }

  /// The search for the first such element.
  package var position: Opcode {
    switch self {
    case .largest: .argmax
    case .smallest: .argmin
    }
  }
}

/// A way to combine the elements of a run, in any order, to one of their type.
///
/// A reduction that is a case here is one everywhere: the compiler names the places that have
/// arithmetic of their own for it. What is a reduction and something before or after it, as a mean or
/// a norm, is a composite and none of these. A scan keeps the result of every prefix of the run: it
/// would be a class of operations of its own (`OpClass`), with a reducer in its row as a reduction has.
package enum Reducer: CaseIterable, Sendable {
  case sum, product, maximum, minimum

  private struct Row {
    let combiner: Opcode
    /// Of floats.
    let neutral: Double
    var extreme: Extreme?
    var isPairwise = false
  }

  @inline(__always)
  private var row: Row {
    switch self {
    case .sum: Row(combiner: .add, neutral: -0.0, isPairwise: true)
    case .product: Row(combiner: .mul, neutral: 1)
    case .maximum: Row(combiner: .maximum, neutral: -.infinity, extreme: .largest)
    case .minimum: Row(combiner: .minimum, neutral: .infinity, extreme: .smallest)
    }
  }

  /// The elementwise operation that combines two results.
  package var combiner: Opcode { row.combiner }

  /// The end of the order whose element is picked; nil where something is computed. Who picks says
  /// nothing of no elements, rounds nothing, knows one kind of NaN, and leaves integers in their type:
  /// the others compute them as int64.
  @inline(__always)
  package var extreme: Extreme? { row.extreme }

  /// Whether partial results of floats are combined in pairs, so that the error grows with the
  /// logarithm of their number. It would not with products: each of their roundings weighs the same.
  @inline(__always)
  package var isPairwise: Bool { row.isPairwise }

  /// What changes no bit of a float that it is combined with.
  @inline(__always)
  package func neutral<T: BinaryFloatingPoint>(_: T.Type) -> T { T(row.neutral) }

  /// What there is of no floats, and what the lanes of a run begin with: a sum with +0, so that one of
  /// a run is never -0. The infinity of an extreme is no result: no such reduction is recorded.
  @inline(__always)
  package func ofNothing<T: BinaryFloatingPoint>(_: T.Type) -> T { T(row.neutral + 0) }

  /// The same of integers, and what changes none.
  @inline(__always)
  package func ofNothing<T: FixedWidthInteger>(_: T.Type) -> T {
    switch extreme {
    case nil: T(row.neutral)
    case .largest: T.min
    case .smallest: T.max
    }
  }
}

extension OpInfo {
  /// What a search looks for; its reducer finds the value whose position is wanted.
  package var search: Extreme? { typeRule == .int64 ? reducer?.extreme : nil }
}
