// Swift numbers as operands. Uses Core.

/// A Swift number as an operand: weakly typed, as in NumPy 2 (NEP 50).
package struct WeakScalar: Sendable {
  package enum Kind: UInt8, Sendable { case bool, int, float }
  package let kind: Kind
  package let double: Double
  package let int: Int64

  package init(kind: Kind, double: Double, int: Int64) {
    self.kind = kind
    self.double = double
    self.int = int
  }

  /// The type that it has by itself.
  package var ownType: ScalarType {
    switch kind {
    case .bool: .bool
    case .int: .int64
    case .float: .float64
    }
  }

  /// The type that a tensor of `type` and this number have in common. A whole number that integers of
  /// this type can't hold is compared with them as an int64, exactly.
  @inline(__always)
  package func promoted(with type: ScalarType) -> ScalarType {
    switch kind {
    case .float: type.isFloating ? type : .float64
    case .int: type.isFloating ? type : promotedInteger(with: type)
    case .bool: type
    }
  }

  @inline(never)
  private func promotedInteger(with type: ScalarType) -> ScalarType {
    type == .bool || !fits(type) ? .int64 : type
  }

  /// Whether elements of a type can be this number. Of a number with a fraction integers take the whole
  /// part, and of everything truth values take whether it is 0: that fits.
  package func fits(_ type: ScalarType) -> Bool {
    if kind != .int { return true }
    return type.range.map { $0.contains(int) } ?? true
  }

  /// The payload of a scalar node of a type.
  @inline(__always)
  func bits(_ type: ScalarType) -> UInt64 {
    type.isComputedFloat ? double.bitPattern : otherBits(type)
  }

  @inline(never)
  private func otherBits(_ type: ScalarType) -> UInt64 {
    // Numbers of 16 bits are rounded here, so that every kernel can take them for float32.
    type.isHalf ? type.roundedHalf(double).bitPattern : UInt64(bitPattern: integer(type))
  }

  /// What a cast makes of the number.
  @inline(never)
  private func integer(_ type: ScalarType) -> Int64 {
    if type == .bool { return (kind == .float ? double != 0 : int != 0) ? 1 : 0 }
    if kind != .float || type == .int64 { return int }
    return double > -2_147_483_649 && double < 2_147_483_648 ? Int64(double) : Int64(Int32.min)
  }
}

extension ScalarType {
  /// The numbers that integers of a type can be; nil for the other types.
  package var range: ClosedRange<Int64>? {
    switch self {
    case .uint8: 0...255
    case .int32: Int64(Int32.min)...Int64(Int32.max)
    case .int64: Int64.min...Int64.max
    default: nil
    }
  }
}
