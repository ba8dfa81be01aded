// THE table of operations: everything that the engine knows of one is its row here. Builder,
// planner, kernels, oracle and backward pass look things up in it instead of switching by hand.

/// An operation of the graph. The raw values are part of plan keys: append only.
public enum Opcode: UInt8, CaseIterable, Sendable {
  // Sources.
  /// A value in memory.
  case leaf = 0
  /// A number that is bound when a plan runs and is no part of its key.
  case scalar
  /// The position of an element along the last axis, as int64.
  case iota
  // Index maps.
  /// Another layout over the operand's memory; a second operand is the way that gradients take.
  case view
  // Elementwise, one operand.
  case copy, cast, neg, abs, sign, square, sqrt, reciprocal
  case exp, expm1, log, log1p, sin, cos, tanh, sigmoid, erf, relu
  case floor, logicalNot, isNaN
  // Elementwise, two operands.
  case add, sub, mul, div, pow, maximum, minimum
  case equal, notEqual, less, lessEqual, greater, greaterEqual
  case logicalAnd, logicalOr
  // Elementwise, three operands.
  case select
  // Reductions over one run of axes.
  case sum, max, min, argmax, argmin
  // Products.
  case matmul
  // Moves.
  case gatherRows, scatterAddRows, setRegion, addRegion, concat
  /// Passes its last operand on; carries the derivative rule of a composite operation. The
  /// attribute says which.
  case attach
  /// Rows of a value replaced by others; appended, like all that come after it.
  case setRows
  case cbrt
  /// A reduction.
  case prod
  // Elementwise: elementary functions of one operand, and of two.
  case exp2, log2, log10, tan, arcsin, arccos, arctan, sinh, cosh
  case arctan2, hypot, fmod
  // Scans along one axis, which the attribute names.
  case cumsum, cumprod
  /// A routine on matrices, which the attribute names; all of its results in one value. Derivatives are
  /// those of the composites that record it.
  case matrix
  /// Elements along an axis in order, and their places; the attribute is a `SortOrder`.
  case sort, argsort
  // Elementwise, on the bits of two integers, or on truth values.
  case bitAnd, bitOr, bitXor
  // Elementwise, on the bits of integers: moved by as many places as the second says.
  case leftShift, rightShift
  // Elementwise: the logarithm of the gamma function, and its derivative of an order at a number.
  case lgamma, polygamma
}

/// How the planner treats an operation.
package enum OpClass: UInt8, Sendable {
  case source, view, elementwise, reduction, matmul, move, alias
}

/// How the type of a result follows from the operands' types.
package enum TypeRule: UInt8, Sendable {
  /// The operands' common type.
  case same
  /// As `same`, and operands have no floating type.
  case integers
  /// As `same`, but integers become float64.
  case floating
  /// Always bool.
  case bool
  /// Always int64.
  case int64
  /// Given with the operation.
  case explicit
}

/// Which values a derivative rule reads; the rest may be freed before the backward pass.
package struct Needs: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package static let a = Needs(rawValue: 1)
  package static let b = Needs(rawValue: 2)
  package static let c = Needs(rawValue: 4)
  package static let output = Needs(rawValue: 8)
}

/// What can be said of the bits of results on floats.
package enum Rounding: Sendable {
  /// One correctly rounded step for each element: the bits are those of IEEE 754.
  case exact
  /// Additions in an order of the engine's own: the same bits everywhere, not those of another order.
  case ordered
  /// Multiplications and additions that some tiers fuse: bits depend on the tier.
  case fused
}

/// One row of the table.
package struct OpInfo: Sendable {
  package let opcode: Opcode
  package let name: String
  package let arity: Int
  package let opClass: OpClass
  package let typeRule: TypeRule
  /// Too dear to compute twice: the planner never duplicates it.
  package let isExpensive: Bool
  /// Whether a gradient flows through it.
  package let isDifferentiable: Bool
  /// How a reduction combines elements; of a search, what finds the value.
  package let reducer: Reducer?
  /// What the derivative with respect to operand a, b and c reads.
  package let needs: (a: Needs, b: Needs, c: Needs)
  /// How its results on floats come about.
  package let rounding: Rounding
  /// What defines it on floats, where that is an elementary function.
  package let function: (any ElementaryFunction.Type)?
}

extension OpInfo {
  /// Whether it passes elements on as they are, or as another type, and so takes those of types in which
  /// nothing is computed.
  package var takesHalves: Bool {
    switch opcode {
    case .leaf, .scalar, .view, .copy, .cast, .select, .gatherRows, .setRegion, .setRows, .concat,
      .attach:
      true
    default: false
    }
  }

  /// Whether operands may have a type; recording brings those of floating operations into one.
  package func takes(_ type: ScalarType) -> Bool {
    if type.isHalf { return takesHalves }
    return switch typeRule {
    case .floating: type.isFloating
    case .integers:
      !type.isFloating && (type != .bool || opcode != .leftShift && opcode != .rightShift)
    default: true
    }
  }
}

extension Opcode {
  /// This operation's row.
  @inline(__always)
  package var info: OpInfo { Self.rows[Int(rawValue)] }

  /// Index by raw value; built once and never freed, so that a lookup is one load.
  package nonisolated(unsafe) static let rows: UnsafePointer<OpInfo> = {
    let rows = UnsafeMutablePointer<OpInfo>.allocate(capacity: Opcode.allCases.count)
    for opcode in Opcode.allCases { (rows + Int(opcode.rawValue)).initialize(to: row(opcode)) }
    return UnsafePointer(rows)
  }()

  private static func row(_ opcode: Opcode) -> OpInfo {
    func row(
      _ name: String, _ arity: Int, _ opClass: OpClass, _ rule: TypeRule = .same,
      expensive: Bool = false, differentiable: Bool = true, reducer: Reducer? = nil,
      a: Needs = [], b: Needs = [], c: Needs = [], rounding: Rounding = .exact,
      function: (any ElementaryFunction.Type)? = nil
    ) -> OpInfo {
      OpInfo(
        opcode: opcode, name: name, arity: arity, opClass: opClass, typeRule: rule,
        isExpensive: expensive, isDifferentiable: differentiable, reducer: reducer,
        needs: (a, b, c), rounding: rounding, function: function)
    }
    /// An elementary function of one operand, whose derivative reads `needs`.
    func elementary(
      _ name: String, _ function: any ElementaryFunction.Type, _ needs: Needs
    ) -> OpInfo {
      row(
        name, 1, .elementwise, .floating, expensive: true, a: needs, rounding: .fused,
        function: function)
    }
    func predicate(_ name: String, _ arity: Int = 2) -> OpInfo {
      row(name, arity, .elementwise, .bool, differentiable: false)
    }
    func bitwise(_ name: String) -> OpInfo {
      row(name, 2, .elementwise, .integers, differentiable: false)
    }
    switch opcode {
    case .leaf: return row("leaf", 0, .source, .explicit)
    case .scalar: return row("scalar", 0, .source, .explicit, differentiable: false)
    case .iota: return row("iota", 0, .source, .int64, differentiable: false)
    case .view: return row("view", 1, .view)
    case .copy: return row("copy", 1, .elementwise)
    case .cast: return row("cast", 1, .elementwise, .explicit)
    case .neg: return row("negative", 1, .elementwise)
    case .abs: return row("abs", 1, .elementwise, a: .a)
    case .sign: return row("sign", 1, .elementwise, differentiable: false)
    case .square: return row("square", 1, .elementwise, a: .a)
    case .sqrt: return row("sqrt", 1, .elementwise, .floating, expensive: true, a: .output)
    case .reciprocal:
      return row("reciprocal", 1, .elementwise, .floating, expensive: true, a: .output)
    case .exp: return elementary("exp", Exp.self, .output)
    case .expm1: return elementary("expm1", Expm1.self, .a)
    case .log: return elementary("log", Log.self, .a)
    case .log1p: return elementary("log1p", Log1p.self, .a)
    case .sin: return elementary("sin", Sin.self, .a)
    case .cos: return elementary("cos", Cos.self, .a)
    case .tanh: return elementary("tanh", Tanh.self, .output)
    case .sigmoid: return elementary("sigmoid", Sigmoid.self, .output)
    case .erf: return elementary("erf", Erf.self, .a)
    case .relu: return row("relu", 1, .elementwise, a: .output)
    case .floor: return row("floor", 1, .elementwise, differentiable: false)
    case .logicalNot: return predicate("logicalNot", 1)
    case .isNaN: return predicate("isNaN", 1)
    case .add: return row("add", 2, .elementwise)
    case .sub: return row("subtract", 2, .elementwise)
    case .mul: return row("multiply", 2, .elementwise, a: .b, b: .a)
    case .div:
      return row("divide", 2, .elementwise, .floating, expensive: true, a: .b, b: [.b, .output])
    case .pow:
      return row(
        "power", 2, .elementwise, expensive: true, a: [.a, .b], b: [.a, .output],
        rounding: .fused, function: Power.self)
    case .maximum: return row("maximum", 2, .elementwise, a: [.a, .b], b: [.a, .b])
    case .minimum: return row("minimum", 2, .elementwise, a: [.a, .b], b: [.a, .b])
    case .equal: return predicate("equal")
    case .notEqual: return predicate("notEqual")
    case .less: return predicate("less")
    case .lessEqual: return predicate("lessEqual")
    case .greater: return predicate("greater")
    case .greaterEqual: return predicate("greaterEqual")
    case .logicalAnd: return predicate("logicalAnd")
    case .logicalOr: return predicate("logicalOr")
    case .select: return row("where", 3, .elementwise, b: .a, c: .a)
    case .sum: return row("sum", 1, .reduction, reducer: .sum, rounding: .ordered)
    case .max: return row("max", 1, .reduction, reducer: .maximum, a: .a)
    case .min: return row("min", 1, .reduction, reducer: .minimum, a: .a)
    case .argmax:
      return row("argmax", 1, .reduction, .int64, differentiable: false, reducer: .maximum)
    case .argmin:
      return row("argmin", 1, .reduction, .int64, differentiable: false, reducer: .minimum)
    case .matmul: return row("matmul", 2, .matmul, a: .b, b: .a, rounding: .fused)
    case .gatherRows: return row("gatherRows", 2, .move, a: .b)
    case .scatterAddRows: return row("scatterAddRows", 3, .move, b: .c, rounding: .ordered)
    case .setRegion: return row("setRegion", 2, .move)
    case .addRegion: return row("addRegion", 2, .move, rounding: .ordered)
    case .concat: return row("concatenate", 2, .move)
    case .attach: return row("attach", 2, .alias, a: .output)
    case .setRows: return row("setRows", 3, .move, a: .c, b: .c)
    case .cbrt: return elementary("cbrt", Cbrt.self, .output)
    case .exp2: return elementary("exp2", Exp2.self, .output)
    case .log2: return elementary("log2", Log2.self, .a)
    case .log10: return elementary("log10", Log10.self, .a)
    case .tan: return elementary("tan", Tan.self, .output)
    case .arcsin: return elementary("arcsin", Arcsin.self, .a)
    case .arccos: return elementary("arccos", Arccos.self, .a)
    case .arctan: return elementary("arctan", Arctan.self, .a)
    case .sinh: return elementary("sinh", Sinh.self, .a)
    case .cosh: return elementary("cosh", Cosh.self, .a)
    case .arctan2:
      return row(
        "arctan2", 2, .elementwise, .floating, expensive: true, a: [.a, .b], b: [.a, .b],
        rounding: .fused, function: Arctan2.self)
    case .hypot:
      return row(
        "hypot", 2, .elementwise, .floating, expensive: true, a: [.a, .output], b: [.b, .output],
        rounding: .fused, function: Hypotenuse.self)
    case .fmod:
      return row(
        "fmod", 2, .elementwise, .floating, expensive: true, b: [.a, .b, .output],
        function: Remainder.self)
    case .cumsum: return row("cumsum", 1, .move, rounding: .ordered)
    case .cumprod: return row("cumprod", 1, .move, a: .a, rounding: .ordered)
    case .prod: return row("prod", 1, .reduction, reducer: .product, a: .a, rounding: .ordered)
    case .matrix:
      return row(
        "matrix", 3, .move, expensive: true, a: [.a, .c, .output], b: [.a, .c], rounding: .ordered)
    case .bitAnd: return bitwise("bitwiseAnd")
    case .bitOr: return bitwise("bitwiseOr")
    case .bitXor: return bitwise("bitwiseXor")
    case .leftShift: return bitwise("leftShift")
    case .rightShift: return bitwise("rightShift")
    case .lgamma: return elementary("lgamma", LogGamma.self, .a)
    case .polygamma:
      return row(
        "polygamma", 2, .elementwise, .floating, expensive: true, b: [.a, .b],
        function: Polygamma.self)
    case .sort: return row("sort", 1, .move, expensive: true, a: .a)
    case .argsort:
      return row("argsort", 1, .move, .int64, expensive: true, differentiable: false)
    }
  }
}
