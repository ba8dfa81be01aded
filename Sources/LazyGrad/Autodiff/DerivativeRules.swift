// The table of derivative rules: one per differentiable operation.

internal import LazyGradJIT

package enum DerivativeRules {
  /// Lets the rule of an operation say how a gradient goes on.
  ///
  /// A switch rather than an array of functions: it compiles to a table of direct calls, and the
  /// backward pass of a small tensor feels the difference. So it does if a rule is inlined here, and
  /// all others pay for the registers that it saves: the large ones that have no other caller say that
  /// they are not.
  /// - Parameter vjp: What the rule is for; nil to ask whether there is one.
  /// - Returns: Whether the operation has a rule.
  @inline(__always)
  static func apply(_ opcode: Opcode, _ vjp: VJP?) -> Bool {
    switch opcode {
    case .view: vjp?.general(ShapeRules.view)
    case .copy: vjp?.copy()
    case .cast: vjp?.cast()
    case .neg: vjp?.neg()
    case .abs: vjp?.abs()
    case .square: vjp?.square()
    case .sqrt: vjp?.sqrt()
    case .reciprocal: vjp?.reciprocal()
    case .exp: vjp?.exp()
    case .expm1: vjp?.expm1()
    case .log: vjp?.log()
    case .log1p: vjp?.log1p()
    case .sin: vjp?.sin()
    case .cos: vjp?.cos()
    case .tanh: vjp?.tanh()
    case .sigmoid: vjp?.sigmoid()
    case .erf: vjp?.erf()
    case .cbrt: vjp?.cbrt()
    case .lgamma: vjp?.lgamma()
    case .polygamma: vjp?.polygamma()
    case .relu: vjp?.relu()
    case .exp2: vjp?.exp2()
    case .log2: vjp?.log2()
    case .log10: vjp?.log10()
    case .tan: vjp?.tan()
    case .arcsin: vjp?.arcsin()
    case .arccos: vjp?.arccos()
    case .arctan: vjp?.arctan()
    case .sinh: vjp?.sinh()
    case .cosh: vjp?.cosh()
    case .arctan2: vjp?.arctan2()
    case .hypot: vjp?.hypot()
    case .fmod: vjp?.fmod()
    case .add: vjp?.add()
    case .sub: vjp?.sub()
    case .mul: vjp?.mul()
    case .div: vjp?.div()
    case .pow: vjp?.pow()
    case .maximum: vjp?.maximum()
    case .minimum: vjp?.minimum()
    case .select: vjp?.select()
    case .sum: vjp?.general(ReductionRules.sum)
    case .prod: vjp?.general(ReductionRules.prod)
    case .max, .min: vjp?.general(ReductionRules.extreme)
    case .matmul: vjp?.general(ProductRules.matmul)
    case .gatherRows: vjp?.general(IndexRules.gatherRows)
    case .scatterAddRows: vjp?.general(IndexRules.scatterAddRows)
    case .setRows: vjp?.general(IndexRules.setRows)
    case .setRegion: vjp?.general(IndexRules.setRegion)
    case .addRegion: vjp?.general(IndexRules.addRegion)
    case .concat: vjp?.general(JoiningRules.concat)
    case .cumsum: vjp?.general(ScanRules.cumsum)
    case .cumprod: vjp?.general(ScanRules.cumprod)
    case .sort: vjp?.general(SortingRules.sort)
    case .matrix: vjp?.matrix()
    case .attach: vjp?.composite()
    case .leaf, .scalar, .iota, .sign, .floor, .logicalNot, .isNaN, .equal, .notEqual, .less,
      .lessEqual, .greater, .greaterEqual, .logicalAnd, .logicalOr, .argmax, .argmin, .argsort,
      .bitAnd, .bitOr, .bitXor, .leftShift, .rightShift:
      return false
    }
    return true
  }

  /// Whether an operation has a rule; for tests, which know it by its raw value.
  package static func hasRule(_ opcode: UInt8) -> Bool {
    Opcode(rawValue: opcode).map { apply($0, nil) } ?? false
  }
}
