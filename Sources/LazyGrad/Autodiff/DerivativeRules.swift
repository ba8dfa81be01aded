// The table of derivative rules: one per differentiable operation.

internal import LazyGradJIT

enum DerivativeRules {
  /// Applies the rule of node `n`, whose gradient is `g`.
  ///
  /// A switch rather than an array of functions: it compiles to a table of direct calls, and the
  /// backward pass of a small tensor feels the difference.
  /// - Returns: Whether the operation has a rule.
  @inline(__always) @discardableResult
  static func apply(_ p: borrowing BackwardPass, _ n: UInt32, _ g: UInt32) -> Bool {
    switch p.tape[n].opcode {
    case .view: ShapeRules.view(p, n, g)
    case .copy: ElementwiseRules.copy(p, n, g)
    case .cast: ElementwiseRules.cast(p, n, g)
    case .neg: ElementwiseRules.neg(p, n, g)
    case .abs: ElementwiseRules.abs(p, n, g)
    case .square: ElementwiseRules.square(p, n, g)
    case .sqrt: ElementwiseRules.sqrt(p, n, g)
    case .reciprocal: ElementwiseRules.reciprocal(p, n, g)
    case .exp: ElementwiseRules.exp(p, n, g)
    case .expm1: ElementwiseRules.expm1(p, n, g)
    case .log: ElementwiseRules.log(p, n, g)
    case .log1p: ElementwiseRules.log1p(p, n, g)
    case .sin: ElementwiseRules.sin(p, n, g)
    case .cos: ElementwiseRules.cos(p, n, g)
    case .tanh: ElementwiseRules.tanh(p, n, g)
    case .sigmoid: ElementwiseRules.sigmoid(p, n, g)
    case .erf: ElementwiseRules.erf(p, n, g)
    case .relu: ElementwiseRules.relu(p, n, g)
    case .add: ElementwiseRules.add(p, n, g)
    case .sub: ElementwiseRules.sub(p, n, g)
    case .mul: ElementwiseRules.mul(p, n, g)
    case .div: ElementwiseRules.div(p, n, g)
    case .pow: ElementwiseRules.pow(p, n, g)
    case .maximum: ElementwiseRules.maximum(p, n, g)
    case .minimum: ElementwiseRules.minimum(p, n, g)
    case .select: ElementwiseRules.select(p, n, g)
    case .sum: ReductionRules.sum(p, n, g)
    case .prod: ReductionRules.prod(p, n, g)
    case .max, .min: ReductionRules.extreme(p, n, g)
    case .matmul: ProductRules.matmul(p, n, g)
    case .gatherRows: IndexRules.gatherRows(p, n, g)
    case .scatterAddRows: IndexRules.scatterAddRows(p, n, g)
    case .setRows: IndexRules.setRows(p, n, g)
    case .setRegion: IndexRules.setRegion(p, n, g)
    case .addRegion: IndexRules.addRegion(p, n, g)
    case .concat: JoiningRules.concat(p, n, g)
    case .attach: CompositeRules.attach(p, n, g)
    case .leaf, .scalar, .iota, .sign, .floor, .logicalNot, .isNaN, .equal, .notEqual, .less,
      .lessEqual, .greater, .greaterEqual, .logicalAnd, .logicalOr, .argmax, .argmin:
      return false
    }
    return true
  }
}
