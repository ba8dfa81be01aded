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

  func integers(_ option: String) -> [Int]? {
    options[option].list.map { $0.compactMap(\.int) } ?? options[option].int.map { [$0] }
  }
}

enum OperationTable {
  /// Calls the operation; nil where it isn't there.
  typealias Call = @Sendable (OperationCall) -> Tensor?

  private static func unary(_ f: @escaping @Sendable (Tensor) -> Tensor) -> Call {
    { $0.options.keys.isEmpty ? f($0.x) : nil }
  }

  private static func binary(_ f: @escaping @Sendable (Tensor, Tensor) -> Tensor) -> Call {
    { $0.options.keys.isEmpty ? f($0.x, $0.y) : nil }
  }

  /// Over one axis, several or all.
  private static func reduction(_ f: @escaping @Sendable (Tensor, [Int], Bool) -> Tensor) -> Call {
    { call in
      let axes = call.integers("axis") ?? Array(0..<call.x.rank)
      return f(call.x, axes, call.options["keepdims"].bool ?? false)
    }
  }

  private static func alongAxis(_ f: @escaping @Sendable (Tensor, Int) -> Tensor) -> Call {
    { call in
      if call.options["axis"].isNull, call.options.keys.contains("axis") { return nil }
      if call.options["axis"].list != nil { return nil }
      return f(call.x, call.options["axis"].int ?? -1)
    }
  }

  private static let functions: [String: Call] = Dictionary(
    uniqueKeysWithValues: UnaryFunction.all.map { function in
      (function.name, unary { function.call($0) })
    })

  static let calls: [String: Call] = functions.merging(others) { function, _ in function }

  private static let others: [String: Call] = [
    "abs": unary { abs($0) }, "nnet.tanh": unary { tanh($0) }, "relu": unary { relu($0) },
    "sqrt": unary { sqrt($0) },
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
      if call.options["axis"].list != nil { return nil }
      return call.x.var(
        axis: call.options["axis"].int, ddof: call.options["ddof"].int ?? 0,
        keepDims: call.options["keepdims"].bool ?? false)
    },
    "softmax": alongAxis { softmax($0, axis: $1) },
    "logsoftmax": alongAxis { logSoftmax($0, axis: $1) },
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
      call.options["axis"].list == nil ? call.x.squeezed(axis: call.options["axis"].int) : nil
    },
    "expand_dims": { call in call.options["axis"].int.map { call.x.expandedDims(at: $0) } },
    "transpose": { $0.x.transposed($0.integers("axes")) }, "T": unary { $0.transposed() },
    "broadcast_to": { call in call.integers("shape").map { call.x.broadcast(to: $0) } },
    "concatenate": { call in
      call.options["axis"].int.map { concatenate(call.inputs, axis: $0) }
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
