// What each operation of the corpus is called here. A case whose operation, options or types LazyGrad
// does not have is "not there yet", which is counted and never an error.

import LazyGrad
import TestSupport

/// One case of an operation: its operands and options.
struct OperationCall {
  let inputs: [Tensor]
  let options: JSON
  let corpus: Corpus

  var x: Tensor { inputs[0] }
  var y: Tensor { inputs[1] }

  func array(_ option: String) -> NDArray? { corpus.array(options[option]["arr"]) }

  /// The axes that are named, or all.
  var axes: [Int] { integers("axis") ?? Array(0..<x.rank) }

  func integers(_ option: String) -> [Int]? {
    options[option].list.map { $0.compactMap(\.int) } ?? options[option].int.map { [$0] }
  }
}

enum OperationTable {
  /// Calls the operation; nil where it isn't there.
  typealias Call = @Sendable (OperationCall) -> Tensor?

  private static func unary(_ f: @escaping @Sendable (Tensor) -> Tensor) -> Call {
    { call in
      if call.options.keys.isEmpty { return f(call.x) }
      // MyGrad's `dtype=` is a cast of the operand here.
      guard Set(call.options.keys) == ["dtype"], call.options["dtype"].string == "float32" else {
        return nil
      }
      return f(call.x.cast(to: .float32))
    }
  }

  private static func binary(_ f: @escaping @Sendable (Tensor, Tensor) -> Tensor) -> Call {
    { $0.options.keys.isEmpty ? f($0.x, $0.y) : nil }
  }

  /// Over one axis, several or all.
  private static func reduction(_ f: @escaping @Sendable (Tensor, [Int], Bool) -> Tensor) -> Call {
    { call in
      return f(call.x, call.axes, call.options["keepdims"].bool ?? false)
    }
  }

  /// Over the last axis where none is named.
  private static func alongAxes(_ f: @escaping @Sendable (Tensor, [Int]) -> Tensor) -> Call {
    { call in
      let isNamed = call.options.keys.contains("axis")
      return f(call.x, isNamed ? call.axes : call.x.rank == 0 ? [] : [-1])
    }
  }

  private static let functions: [String: Call] = Dictionary(
    uniqueKeysWithValues: UnaryFunction.all.map { function in
      (function.name, unary { function.call($0) })
    })

  static let calls: [String: Call] =
    functions.merging(others) { function, _ in function }
    .merging(arrangements) { function, _ in function }
    .merging(stored) { plain, stored in { stored($0) ?? plain($0) } }

  /// With `where=` and `out=`.
  private static let stored: [String: Call] = [
    "exp": masked { exp($0[0], where: $1, out: $2) },
    "sqrt": masked { sqrt($0[0], where: $1, out: $2) },
    "negative": masked { negative($0[0], where: $1, out: $2) },
    "sin": masked { sin($0[0], where: $1, out: $2) },
    "add": masked { add($0[0], $0[1], where: $1, out: $2) },
    "subtract": masked { subtract($0[0], $0[1], where: $1, out: $2) },
    "multiply": masked { multiply($0[0], $0[1], where: $1, out: $2) },
    "divide": masked { divide($0[0], $0[1], where: $1, out: $2) },
    "power": masked { power($0[0], $0[1], where: $1, out: $2) },
    "maximum": masked { maximum($0[0], $0[1], where: $1, out: $2) },
    "minimum": masked { minimum($0[0], $0[1], where: $1, out: $2) },
    "arctan2": masked { arctan2($0[0], $0[1], where: $1, out: $2) },
    "logaddexp": masked { logaddexp($0[0], $0[1], where: $1, out: $2) },
    "logaddexp2": masked { logaddexp2($0[0], $0[1], where: $1, out: $2) },
  ]

  private static func masked(
    _ f: @escaping @Sendable ([Tensor], Tensor, NDArray) -> Tensor
  ) -> Call {
    { call in
      guard let mask = call.array("where"), let target = call.options["out"].string else {
        return nil
      }
      let shape = call.x.shape
      return f(
        call.inputs, Tensor(mask, constant: true),
        target == "zeros_like(0)" ? NDArray.zeros(shape) : NDArray.ones(shape))
    }
  }

  private static let arrangements: [String: Call] = [
    "swapaxes": { call in
      guard let a = call.options["axis1"].int, let b = call.options["axis2"].int else { return nil }
      return call.x.swappedAxes(a, b)
    },
    "moveaxis": { call in
      guard let from = call.integers("source"), let to = call.integers("destination") else {
        return nil
      }
      return call.x.movedAxes(from: from, to: to)
    },
    "roll": { call in
      guard let shifts = call.integers("shift") else { return nil }
      guard let axes = call.integers("axis") else { return call.x.rolled(by: shifts[0]) }
      return call.x.rolled(by: shifts, axes: axes)
    },
    "repeat": { call in
      let axis = call.options["axis"].int
      return call.options["repeats"].int.map { call.x.repeated($0, axis: axis) }
        ?? call.integers("repeats").map { call.x.repeated($0, axis: axis) }
    },
    "atleast_1d": unary { atLeast1D($0) }, "atleast_2d": unary { atLeast2D($0) },
    "atleast_3d": unary { atLeast3D($0) },
    "cumsum": scan { $0.cumsum(axis: $1) }, "cumprod": scan { $0.cumprod(axis: $1) },
    "add_sequence": { call in
      let x = call.inputs
      switch x.count {
      case 2: return addSequence(x[0], x[1])
      case 3: return addSequence(x[0], x[1], x[2])
      case 4: return addSequence(x[0], x[1], x[2], x[3])
      default: return nil
      }
    },
    "multiply_sequence": { call in
      let x = call.inputs
      switch x.count {
      case 2: return multiplySequence(x[0], x[1])
      case 3: return multiplySequence(x[0], x[1], x[2])
      case 4: return multiplySequence(x[0], x[1], x[2], x[3])
      default: return nil
      }
    },
    "elu": { call in call.options["alpha"].double.map { elu(call.x, alpha: $0) } },
    "selu": unary { selu($0) }, "soft_sign": unary { softSign($0) },
    "leaky_relu": { call in call.options["slope"].double.map { leakyRelu(call.x, slope: $0) } },
    "hard_tanh": { call in
      guard let low = call.options["lower_bound"].double,
        let high = call.options["upper_bound"].double
      else { return nil }
      return hardTanh(call.x, lowerBound: low, upperBound: high)
    },
    "glu": { glu($0.x, axis: $0.options["axis"].int ?? -1) },
    "negative_log_likelihood": { call in
      call.array("y").map {
        negativeLogLikelihood(
          call.x, $0, weights: call.array("weights").map { Tensor($0, constant: true) })
      }
    },
    "multiclass_hinge": { call in call.array("y").map { multiclassHinge(call.x, $0) } },
    "margin_ranking_loss": { call in
      guard let margin = call.options["margin"].double else { return nil }
      let signs = call.array("y") ?? call.options["y"].int.map { NDArray([$0], shape: []) }
      return signs.map {
        marginRankingLoss(call.x, call.y, Tensor($0, constant: true), margin: margin)
      }
    },
    "focal_loss": { call in
      call.array("y").map {
        focalLoss(
          call.x, $0, alpha: call.options["alpha"].double ?? 1,
          gamma: call.options["gamma"].double ?? 0)
      }
    },
    "softmax_focal_loss": { call in
      call.array("y").map {
        softmaxFocalLoss(
          call.x, $0, alpha: call.options["alpha"].double ?? 1,
          gamma: call.options["gamma"].double ?? 0)
      }
    },
  ]

  private static func scan(_ f: @escaping @Sendable (Tensor, Int?) -> Tensor) -> Call {
    { f($0.x, $0.options["axis"].int) }
  }

  private static let others: [String: Call] = [
    "abs": unary { abs($0) }, "nnet.tanh": unary { tanh($0) }, "relu": unary { relu($0) },
    "sqrt": unary { sqrt($0) },
    "arcsinh": unary { arcsinh($0) }, "arccosh": unary { arccosh($0) },
    "arctanh": unary { arctanh($0) }, "sec": unary { sec($0) }, "csc": unary { csc($0) },
    "cot": unary { cot($0) }, "sech": unary { sech($0) }, "csch": unary { csch($0) },
    "coth": unary { coth($0) }, "arcsec": unary { arcsec($0) }, "arccsc": unary { arccsc($0) },
    "arccot": unary { arccot($0) }, "arccsch": unary { arccsch($0) },
    "arccoth": unary { arccoth($0) }, "sinc": unary { sinc($0) },
    "absolute_rigorous": unary { abs($0, nanToNum: false) },
    "arctan2": binary { arctan2($0, $1) }, "logaddexp": binary { logaddexp($0, $1) },
    "logaddexp2": binary { logaddexp2($0, $1) },
    "square": unary { square($0) }, "reciprocal": unary { reciprocal($0) },
    "negative": unary { -$0 }, "positive": unary { +$0 },
    "add": binary { $0 + $1 }, "subtract": binary { $0 - $1 }, "multiply": binary { $0 * $1 },
    "divide": binary { $0 / $1 }, "power": binary { $0 ** $1 },
    "maximum": binary { maximum($0, $1) }, "minimum": binary { minimum($0, $1) },
    "matmul": binary { matmul($0, $1) },
    "conv_nd": { call in
      convND(
        call.x, call.y, stride: call.integers("stride")!, padding: call.integers("padding") ?? [0],
        dilation: call.integers("dilation") ?? [1])
    },
    "max_pool": { call in
      maxPool(call.x, call.integers("pool")!, stride: call.integers("stride")!)
    },
    "batchnorm": { call in
      let hasParameters = call.inputs.count > 1
      return batchNorm(
        call.x, gamma: hasParameters ? call.y : nil, beta: hasParameters ? call.inputs[2] : nil,
        eps: call.options["eps"].double!)
    },
    "multi_matmul": { multiMatmul($0.inputs) },
    "einsum": { call in
      // One operand that is given twice.
      let operands = call.options["same"].bool == true ? [call.x, call.x] : call.inputs
      return call.options["subscripts"].string.map { einsum($0, operands) }
    },
    "sum": reduction { $0.sum(axes: $1, keepDims: $2) },
    "prod": reduction { $0.prod(axes: $1, keepDims: $2) },
    "mean": reduction { $0.mean(axes: $1, keepDims: $2) },
    "max": reduction { $0.max(axes: $1, keepDims: $2) },
    "min": reduction { $0.min(axes: $1, keepDims: $2) },
    "var": { call in
      call.x.var(
        axes: call.axes, ddof: call.options["ddof"].int ?? 0,
        keepDims: call.options["keepdims"].bool ?? false)
    },
    "std": { call in
      call.x.std(
        axes: call.axes, ddof: call.options["ddof"].int ?? 0,
        keepDims: call.options["keepdims"].bool ?? false)
    },
    "linalg.norm": { call in
      call.x.norm(
        ord: call.options["ord"].double ?? 2, axes: call.axes,
        keepDims: call.options["keepdims"].bool ?? false)
    },
    "softmax": alongAxes { softmax($0, axes: $1) },
    "logsoftmax": alongAxes { logSoftmax($0, axes: $1) },
    "softmax_crossentropy": { call in call.array("y").map { softmaxCrossEntropy(call.x, $0) } },
    "clip": { $0.x.clip($0.options["a_min"].double, $0.options["a_max"].double) },
    "where": { call in
      call.array("condition").map { `where`(Tensor($0), call.x, call.y) }
    },
    "pow_scalar": { call in
      call.options["p"].int.map { call.x ** $0 } ?? call.options["p"].double.map { call.x ** $0 }
    },
    "same_input": { sameInput($0.options["expr"].string ?? "", $0.x) },
    "scalar_promotion": { promoted($0.options["expr"].string ?? "", $0.x) },
    "getitem": { call in index(call.options["index"], call.corpus).map { get(call.x, $0) } },
    "setitem": { call in
      index(call.options["index"], call.corpus).map { index in
        let result = +call.x
        set(result, index, call.y)
        return result
      }
    },
    "reshape": { call in call.integers("newshape").map { call.x.reshaped($0) } },
    "ravel": unary { $0.reshaped([-1]) }, "flatten": unary { $0.flattened() },
    "squeeze": { call in
      call.options["axis"].list != nil
        ? call.x.squeezed(axes: call.axes) : call.x.squeezed(axis: call.options["axis"].int)
    },
    "expand_dims": { call in call.options["axis"].int.map { call.x.expandedDims(at: $0) } },
    "transpose": { $0.x.transposed($0.integers("axes")) }, "T": unary { $0.transposed() },
    "broadcast_to": { call in call.integers("shape").map { call.x.broadcast(to: $0) } },
    "concatenate": { call in
      call.options["axis"].int.map { concatenate(call.inputs, axis: $0) }
        ?? concatenate(call.inputs.map { $0.reshaped([-1]) })
    },
    "stack": { call in call.options["axis"].int.map { stack(call.inputs, axis: $0) } },
  ]

  private static func sameInput(_ expression: String, _ x: Tensor) -> Tensor? {
    switch expression {
    case "x+x": x + x
    case "x-x": x - x
    case "x*x": x * x
    case "x/x": x / x
    case "x**x": x ** x
    case "maximum(x,x)": maximum(x, x)
    case "x@x": matmul(x, x)
    case "(x*2+x)*x": (x * 2 + x) * x
    case "x@x.T": matmul(x, x.T)
    case "concat(x,x)": concatenate([x, x])
    case "x*x[::-1]": x * x.flipped(axis: 0)
    default: nil
    }
  }

  /// Expressions with Swift numbers, which take the tensor's type.
  private static func promoted(_ expression: String, _ x: Tensor) -> Tensor? {
    switch expression {
    case "x*2.5": x * 2.5
    case "2.5*x": 2.5 * x
    case "x+1": x + 1
    case "x/2": x / 2
    case "x**2": x ** 2
    case "x**2.5": x ** 2.5
    case "maximum(x,0)": maximum(x, 0)
    // A float64 that is not weak.
    case "x*f64()": x * Tensor(2.5, constant: true)
    default: nil
    }
  }

  // MARK: Indices

  private static func index(_ json: JSON, _ corpus: Corpus) -> [any TensorIndex]? {
    if let entries = json.list {
      let parts = entries.map { entry($0, corpus) }
      return parts.contains { $0 == nil } ? nil : parts.map { $0! }
    }
    return entry(json, corpus).map { [$0] }
  }

  private static func entry(_ json: JSON, _ corpus: Corpus) -> (any TensorIndex)? {
    if json.isNull { return IndexComponent.newAxis }
    if let i = json.int { return i }
    if json.keys.contains("ellipsis") { return IndexComponent.ellipsis }
    if let bounds = json["slice"].list {
      return IndexComponent.slice(bounds[0].int, bounds[1].int, step: bounds[2].int ?? 1)
    }
    return corpus.array(json["arr"])
  }

  private static func get(_ x: Tensor, _ i: [any TensorIndex]) -> Tensor {
    switch i.count {
    case 0: x[.ellipsis]
    case 1: x[i[0]]
    case 2: x[i[0], i[1]]
    default: x[i[0], i[1], i[2]]
    }
  }

  private static func set(_ x: Tensor, _ i: [any TensorIndex], _ value: Tensor) {
    switch i.count {
    case 0: x[.ellipsis] = value
    case 1: x[i[0]] = value
    case 2: x[i[0], i[1]] = value
    default: x[i[0], i[1], i[2]] = value
    }
  }
}
