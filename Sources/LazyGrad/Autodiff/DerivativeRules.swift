// The table of derivative rules: one per differentiable operation.

internal import LazyGradJIT

enum DerivativeRules {
  @inline(__always)
  static func rule(_ opcode: Opcode) -> DerivativeRule { table[Int(opcode.rawValue)] }

  /// Whether an operation has a rule; a test holds this against the operation table.
  static func hasRule(_ opcode: Opcode) -> Bool { rules[opcode] != nil }

  private static let table: [DerivativeRule] = Opcode.allCases.map { rules[$0] ?? none }

  private static let none: DerivativeRule = { _, _, _ in }

  private static let rules: [Opcode: DerivativeRule] = [
    .view: ShapeRules.view,
    .copy: ElementwiseRules.copy, .cast: ElementwiseRules.cast, .neg: ElementwiseRules.neg,
    .abs: ElementwiseRules.abs, .square: ElementwiseRules.square, .sqrt: ElementwiseRules.sqrt,
    .reciprocal: ElementwiseRules.reciprocal, .exp: ElementwiseRules.exp,
    .expm1: ElementwiseRules.expm1, .log: ElementwiseRules.log, .log1p: ElementwiseRules.log1p,
    .sin: ElementwiseRules.sin, .cos: ElementwiseRules.cos, .tanh: ElementwiseRules.tanh,
    .sigmoid: ElementwiseRules.sigmoid, .erf: ElementwiseRules.erf, .relu: ElementwiseRules.relu,
    .add: ElementwiseRules.add, .sub: ElementwiseRules.sub, .mul: ElementwiseRules.mul,
    .div: ElementwiseRules.div, .pow: ElementwiseRules.pow,
    .maximum: ElementwiseRules.maximum, .minimum: ElementwiseRules.minimum,
    .select: ElementwiseRules.select,
    .sum: ReductionRules.sum, .max: ReductionRules.extreme, .min: ReductionRules.extreme,
    .matmul: ProductRules.matmul,
    .gatherRows: IndexRules.gatherRows, .scatterAddRows: IndexRules.scatterAddRows,
    .setRegion: IndexRules.setRegion, .addRegion: IndexRules.addRegion,
    .concat: ShapeRules.concat, .attach: CompositeRules.attach,
  ]
}
