// How elements along an axis are put into order, which records of `sort` and `argsort` name in their
// attribute. Uses nothing.

/// An order of elements along an axis. Equal elements keep theirs, and what is not a number comes last.
package struct SortOrder: Sendable {
  package var axis: Int
  /// The largest first.
  package var isDescending: Bool
  /// Of `argsort`: places are counted in C order through the whole operand, not along the axis.
  package var isFlat: Bool

  package init(axis: Int, isDescending: Bool, isFlat: Bool = false) {
    self.axis = axis
    self.isDescending = isDescending
    self.isFlat = isFlat
  }

  package init(attribute: UInt32) {
    axis = Int(attribute & 0xFF)
    isDescending = attribute & 0x100 != 0
    isFlat = attribute & 0x200 != 0
  }

  /// The attribute of a record.
  package var attribute: UInt32 {
    UInt32(axis) | (isDescending ? 0x100 : 0) | (isFlat ? 0x200 : 0)
  }
}
