// THE table of AArch64's vector instructions: every form that the generators may emit, once.
//
// A row says how the manual writes the instruction (Arm Architecture Reference Manual for A-profile, C7):
// its word without registers and sizes, and what these are. The encoder and its tests read nothing else.

/// How a register of 8 or 16 bytes is cut into elements.
package enum NeonLanes: UInt8, CaseIterable, Sendable {
  case h8, s2, s4, d2

  /// Bytes of an element.
  package var size: Int {
    switch self {
    case .h8: 2
    case .s2, .s4: 4
    case .d2: 8
    }
  }
  var isWhole: UInt32 { self == .s2 ? 0 : 1 << 30 }
}

/// An instruction of the table.
package enum NeonOp: UInt8, CaseIterable, Sendable {
  // Arithmetic on floats.
  case fadd, fsub, fmul, fdiv, fmla, fmls, fsqrt, fneg, frintn, frintm
  // Comparisons, which give lanes of ones, and choices between bits.
  case fcmeq, fcmge, fcmgt, cmeq, cmge, cmgt, cmhi, bsl, bit, bif
  // Arithmetic on integers and bits.
  case add, sub, mul, smax, smin, abs, umull, and, bic, orr, eor, not, umaxp
  case shl, ushr
  // Bytes of a register by their places; another place gives 0, or leaves what there is.
  case tbl, tbx
  // Conversions and other widths.
  case scvtf, fcvtzs, fcvtl, fcvtn, xtn, sqxtn, sxtl, uxtl, shll, shrn
  // Elements of two registers side by side.
  case trn1, trn2, zip1, zip2
  // Multiply-adds by one element of a register.
  case fmlaElement
}

/// One row of the table.
package struct NeonForm: Sendable {
  /// What the operands are. `Lanes` of an instruction are those of its wider operands.
  package enum Shape: UInt8, Sendable {
    case three, two
    /// Of lanes half as wide, to them.
    case widen, widenTwo, narrow
    /// By a constant.
    case shiftLeft, shiftRight
    /// As `narrow`, by half of the width.
    case shiftNarrow
    /// The last operand is one element.
    case element
    /// The second operand is a table.
    case table
  }
  /// Where the word says the size of elements.
  package enum Size: UInt8, Sendable {
    /// It doesn't: all bits are alike.
    case none
    /// Bit 22: 64 bits rather than 32, or 32 rather than 16.
    case float
    /// Bits 22 and 23: the binary logarithm of the bytes.
    case integer
    /// Together with a shift's count, from bit 16.
    case shift
  }
  package let name: String
  let word: UInt32
  package let shape: Shape
  package let size: Size
  package let lanes: [NeonLanes]

  fileprivate init(
    _ name: String, _ word: UInt32, _ shape: Shape, _ size: Size,
    _ lanes: [NeonLanes] = [.s2, .s4, .d2]
  ) {
    self.name = name
    self.word = word
    self.shape = shape
    self.size = size
    self.lanes = lanes
  }
}

extension NeonOp {
  package var form: NeonForm { Self.forms[Int(rawValue)] }

  private static let forms: [NeonForm] = allCases.map(\.row)

  private var row: NeonForm {
    switch self {
    case .fadd: NeonForm("fadd", 0x0E20_D400, .three, .float)
    case .fsub: NeonForm("fsub", 0x0EA0_D400, .three, .float)
    case .fmul: NeonForm("fmul", 0x2E20_DC00, .three, .float)
    case .fdiv: NeonForm("fdiv", 0x2E20_FC00, .three, .float)
    case .fmla: NeonForm("fmla", 0x0E20_CC00, .three, .float)
    case .fmls: NeonForm("fmls", 0x0EA0_CC00, .three, .float)
    case .fsqrt: NeonForm("fsqrt", 0x2EA1_F800, .two, .float)
    case .fneg: NeonForm("fneg", 0x2EA0_F800, .two, .float)
    case .frintn: NeonForm("frintn", 0x0E21_8800, .two, .float)
    case .frintm: NeonForm("frintm", 0x0E21_9800, .two, .float)
    case .fcmeq: NeonForm("fcmeq", 0x0E20_E400, .three, .float)
    case .fcmge: NeonForm("fcmge", 0x2E20_E400, .three, .float)
    case .fcmgt: NeonForm("fcmgt", 0x2EA0_E400, .three, .float)
    case .cmeq: NeonForm("cmeq", 0x2E20_8C00, .three, .integer)
    case .cmge: NeonForm("cmge", 0x0E20_3C00, .three, .integer)
    case .cmgt: NeonForm("cmgt", 0x0E20_3400, .three, .integer)
    case .cmhi: NeonForm("cmhi", 0x2E20_3400, .three, .integer)
    case .bsl: NeonForm("bsl", 0x2E60_1C00, .three, .none)
    case .bit: NeonForm("bit", 0x2EA0_1C00, .three, .none)
    case .bif: NeonForm("bif", 0x2EE0_1C00, .three, .none)
    case .add: NeonForm("add", 0x0E20_8400, .three, .integer)
    case .sub: NeonForm("sub", 0x2E20_8400, .three, .integer)
    case .mul: NeonForm("mul", 0x0E20_9C00, .three, .integer, [.s2, .s4])
    case .smax: NeonForm("smax", 0x0E20_6400, .three, .integer, [.s2, .s4])
    case .smin: NeonForm("smin", 0x0E20_6C00, .three, .integer, [.s2, .s4])
    case .abs: NeonForm("abs", 0x0E20_B800, .two, .integer)
    case .umull: NeonForm("umull", 0x2E20_C000, .widenTwo, .integer, [.d2])
    case .and: NeonForm("and", 0x0E20_1C00, .three, .none)
    case .bic: NeonForm("bic", 0x0E60_1C00, .three, .none)
    case .orr: NeonForm("orr", 0x0EA0_1C00, .three, .none)
    case .eor: NeonForm("eor", 0x2E20_1C00, .three, .none)
    case .not: NeonForm("mvn", 0x2E20_5800, .two, .none)
    case .umaxp: NeonForm("umaxp", 0x2E20_A400, .three, .integer, [.s2, .s4])
    case .shl: NeonForm("shl", 0x0F00_5400, .shiftLeft, .shift)
    case .ushr: NeonForm("ushr", 0x2F00_0400, .shiftRight, .shift)
    case .tbl: NeonForm("tbl", 0x0E00_0000, .table, .none, [.s4])
    case .tbx: NeonForm("tbx", 0x0E00_1000, .table, .none, [.s4])
    case .scvtf: NeonForm("scvtf", 0x0E21_D800, .two, .float)
    case .fcvtzs: NeonForm("fcvtzs", 0x0EA1_B800, .two, .float)
    case .fcvtl: NeonForm("fcvtl", 0x0E21_7800, .widen, .float, [.s4, .d2])
    case .fcvtn: NeonForm("fcvtn", 0x0E21_6800, .narrow, .float, [.s4, .d2])
    case .xtn: NeonForm("xtn", 0x0E21_2800, .narrow, .integer, [.h8, .s4, .d2])
    case .sqxtn: NeonForm("sqxtn", 0x0E21_4800, .narrow, .integer, [.d2])
    case .sxtl: NeonForm("sxtl", 0x0F00_A400, .widen, .shift, [.h8, .s4, .d2])
    case .uxtl: NeonForm("uxtl", 0x2F00_A400, .widen, .shift, [.h8, .s4, .d2])
    case .shll: NeonForm("shll", 0x2E21_3800, .widen, .integer, [.s4])
    case .shrn: NeonForm("shrn", 0x0F00_8400, .shiftNarrow, .shift, [.s4])
    case .trn1: NeonForm("trn1", 0x0E00_2800, .three, .integer)
    case .trn2: NeonForm("trn2", 0x0E00_6800, .three, .integer)
    case .zip1: NeonForm("zip1", 0x0E00_3800, .three, .integer)
    case .zip2: NeonForm("zip2", 0x0E00_7800, .three, .integer)
    case .fmlaElement: NeonForm("fmla", 0x0F80_1000, .element, .float, [.s4, .d2])
    }
  }
}

/// How much of a register a load or a store moves.
package enum NeonPart: UInt8, CaseIterable, Sendable {
  case b, h, s, d, q

  package var size: Int { 1 << Int(rawValue) }
  package init(bytes: Int) { self = Self(rawValue: UInt8(bytes.trailingZeroBitCount))! }

  /// The word of a store with an offset in elements; bit 22 makes it a load.
  var store: UInt32 {
    self == .q ? 0x3D80_0000 : 0x3D00_0000 | UInt32(rawValue) << 30
  }
}
