// The table of what is differentiated in GradientTests: every differentiable operation, in every
// form that the public API has for it. Uses the library only.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

/// A function of a few float64 tensors.
struct GradientCase: Sendable, CustomTestStringConvertible {
  /// The operation of the engine that the case is there for.
  let opcode: Opcode
  let name: String
  let shapes: [[Int]]
  /// Where the inputs lie, so that they stay away from kinks and domain borders.
  let range: ClosedRange<Double>
  /// Whether the second derivative exists and is worth comparing.
  let isSmooth: Bool
  let function: @Sendable ([Tensor]) -> Tensor

  init(
    _ opcode: Opcode, _ name: String, _ shapes: [[Int]], in range: ClosedRange<Double> = 0.2...1.7,
    smooth: Bool = true, _ function: @escaping @Sendable ([Tensor]) -> Tensor
  ) {
    self.opcode = opcode
    self.name = name
    self.shapes = shapes
    self.range = range
    isSmooth = smooth
    self.function = function
  }

  var testDescription: String { name }

  static let all: [GradientCase] =
    functions + elementwise + operators + scalars + choices + reductions + products + views
    + indices + moves
    + composites + programs + contractions + matrices + layers

  private static let both: ClosedRange<Double> = -1.5...1.5

  private static let functions: [GradientCase] = UnaryFunction.all.map { entry in
    .init(entry.opcode, entry.name, [[2, 3]], in: entry.function.domain) { entry.call($0[0]) }
  }

  static let elementwise: [GradientCase] = [
    .init(.copy, "copy", [[2, 3]]) { +$0[0] },
    .init(.neg, "negative", [[2, 3]]) { -$0[0] },
    .init(.sqrt, "sqrt", [[2, 3]]) { sqrt($0[0]) },
    .init(.square, "square", [[2, 3]], in: both) { square($0[0]) },
    .init(.reciprocal, "reciprocal", [[2, 3]]) { reciprocal($0[0]) },
    .init(.abs, "abs", [[3, 4]], in: both) { abs($0[0]) },
    .init(.relu, "relu", [[3, 4]], in: both) { relu($0[0]) },
    .init(.exp, "exp of a scalar", [[]], in: both) { exp($0[0]) },
    .init(.exp, "exp of one element", [[1, 1]], in: both) { exp($0[0]) },
    .init(.tanh, "tanh of many elements", [[37]], in: both) { tanh($0[0]) },
    .init(.sin, "functions of functions", [[2, 3]]) { sin(exp(cos($0[0]) * 0.5)) },
  ]

  static let operators: [GradientCase] = [
    .init(.add, "add", [[2, 3], [2, 3]]) { $0[0] + $0[1] },
    .init(.sub, "subtract", [[2, 3], [2, 3]]) { $0[0] - $0[1] },
    .init(.mul, "multiply", [[2, 3], [2, 3]]) { $0[0] * $0[1] },
    .init(.div, "divide", [[2, 3], [2, 3]]) { $0[0] / $0[1] },
    .init(.pow, "power", [[2, 3], [2, 3]]) { $0[0] ** $0[1] },
    .init(.add, "add, row to matrix", [[3], [2, 3]]) { $0[0] + $0[1] },
    .init(.sub, "subtract, matrix and row", [[2, 3], [3]]) { $0[0] - $0[1] },
    .init(.mul, "multiply, column by row", [[2, 1], [1, 3]]) { $0[0] * $0[1] },
    .init(.mul, "multiply, row by column", [[3], [2, 1]]) { $0[0] * $0[1] },
    .init(.div, "divide, column by matrix", [[2, 1], [2, 3]]) { $0[0] / $0[1] },
    .init(.div, "divide, matrix by column", [[2, 3], [2, 1]]) { $0[0] / $0[1] },
    .init(.pow, "power, column to the row", [[2, 1], [3]]) { $0[0] ** $0[1] },
    .init(.mul, "multiply, scalar tensor by matrix", [[], [2, 3]]) { $0[0] * $0[1] },
    .init(.div, "divide, matrix by scalar tensor", [[2, 3], []]) { $0[0] / $0[1] },
    .init(.mul, "multiply, inner and outer axes", [[2, 1, 3, 1], [4, 1, 2]]) { $0[0] * $0[1] },
    .init(.add, "add, a middle axis", [[2, 1, 3], [2, 4, 3]]) { $0[0] * $0[0] + $0[1] },
    .init(.mul, "a tensor by itself", [[2, 3]]) { $0[0] * $0[0] * $0[0] },
    .init(.pow, "a tensor to the power of itself", [[2, 3]]) { $0[0] ** $0[0] },
    .init(.add, "with host arrays", [[3]]) {
      let host = NDArray([1.0, 2, 3])
      return (host * $0[0] + host) / host - host
    },
    .init(.sub, "host arrays first", [[3]]) {
      let host = NDArray([1.0, 2, 3])
      return (host - $0[0]) * (host / $0[0]) + host
    },
  ]

  static let scalars: [GradientCase] = [
    .init(.add, "tensor + number", [[2, 3]]) { square($0[0] + 2.5) },
    .init(.add, "number + tensor", [[2, 3]]) { square(3 + $0[0]) },
    .init(.sub, "tensor - number", [[2, 3]]) { square($0[0] - 2.5) },
    .init(.sub, "number - tensor", [[2, 3]]) { square(2.5 - $0[0]) },
    .init(.mul, "tensor * number", [[2, 3]]) { square($0[0] * 2.5) },
    .init(.mul, "number * tensor", [[2, 3]]) { square(2 * $0[0]) },
    .init(.div, "tensor / number", [[2, 3]]) { square($0[0] / 2.5) },
    .init(.div, "number / tensor", [[2, 3]]) { 2.5 / $0[0] },
    .init(.copy, "tensor ** 1", [[2, 3]], in: both) { $0[0] ** 1 },
    .init(.square, "tensor ** 2", [[2, 3]], in: both) { $0[0] ** 2 },
    .init(.pow, "tensor ** 3", [[2, 3]], in: both) { $0[0] ** 3 },
    .init(.pow, "tensor ** 0", [[2, 3]], in: both) { $0[0] ** 0 },
    .init(.pow, "tensor ** -2", [[2, 3]]) { $0[0] ** -2 },
    .init(.pow, "tensor ** 0.5", [[2, 3]]) { $0[0] ** 0.5 },
    .init(.pow, "number ** tensor", [[2, 3]], in: both) { 2.5 ** $0[0] },
    .init(.pow, "pow", [[3], [3]]) { pow($0[0], $0[1]) },
  ]

  static let choices: [GradientCase] = [
    .init(.maximum, "maximum", [[3, 4], [3, 4]], in: both) { maximum($0[0], $0[1]) },
    .init(.minimum, "minimum", [[3, 4], [3, 4]], in: both) { minimum($0[0], $0[1]) },
    .init(.maximum, "maximum, broadcast", [[3, 1], [4]], in: both) { maximum($0[0], $0[1]) },
    .init(.minimum, "minimum, broadcast", [[4], [3, 1]], in: both) { minimum($0[0], $0[1]) },
    .init(.maximum, "maximum with a number", [[3, 4]], in: both) { maximum($0[0], 0.1) },
    .init(.minimum, "minimum with a number", [[3, 4]], in: both) { minimum($0[0], 0.1) },
    .init(.maximum, "clip", [[3, 4]], in: both) { square($0[0].clip(-0.6, 0.7)) },
    .init(.minimum, "clip above", [[3, 4]], in: both) { square($0[0].clip(nil, 0.7)) },
    .init(.maximum, "clip below", [[3, 4]], in: both) { square($0[0].clip(-0.6, nil)) },
    .init(.select, "where", [[2, 3], [2, 3]]) { x in
      let condition = Tensor([[true, false, true], [false, false, true]])
      return `where`(condition, square(x[0]), exp(x[1]))
    },
    .init(.select, "where, broadcast", [[3], [2, 1]]) { x in
      `where`(Tensor([[true], [false]]), square(x[0]), exp(x[1]))
    },
    .init(.select, "where, by comparison", [[3, 4], [4]], in: both) { x in
      `where`(x[0] .< x[1], x[0] * x[1], x[0] + x[1])
    },
    .init(.select, "where, scalar operands", [[], []]) { x in
      `where`(Tensor([true, false, true]), x[0], x[1])
    },
    .init(.cast, "cast to the same type", [[2, 3]]) { $0[0].cast(to: .float64) * $0[0] },
  ]

  static let reductions: [GradientCase] = [
    .init(.sum, "sum", [[2, 3]]) { square($0[0].sum()) },
    .init(.sum, "sum, axis 0", [[2, 3]]) { square($0[0].sum(axis: 0)) },
    .init(.sum, "sum, axis 1", [[2, 3]]) { square($0[0].sum(axis: 1)) },
    .init(.sum, "sum, axis -2", [[2, 3, 4]]) { square($0[0].sum(axis: -2)) },
    .init(.sum, "sum, kept axis", [[2, 3]]) { $0[0] * $0[0].sum(axis: 0, keepDims: true) },
    .init(.sum, "sum, outer axes", [[2, 3, 4]]) { square($0[0].sum(axes: [0, 2])) },
    .init(.sum, "sum, neighbouring axes", [[2, 3, 4]]) { square($0[0].sum(axes: [1, 0])) },
    .init(.sum, "sum, kept outer axes", [[2, 3, 4]]) {
      $0[0] * $0[0].sum(axes: [-1, 0], keepDims: true)
    },
    .init(.sum, "sum over no axes", [[2, 3]]) { square($0[0].sum(axes: [])) },
    .init(.sum, "sum of a scalar", [[]]) { square($0[0].sum()) },
    .init(.sum, "sum over axes of length 1", [[1, 3, 1]]) { square($0[0].sum(axes: [0, 2])) },
    .init(.sum, "sum over one of several axes of length 1", [[1, 1, 3]]) {
      square($0[0].sum(axis: 1)) * $0[0].sum(axis: 2)
    },
    .init(.sum, "sum over four axes", [[2, 1, 3, 2]]) { square($0[0].sum(axes: [0, 1, 3])) },
    .init(.sum, "mean", [[2, 3]]) { square($0[0].mean()) },
    .init(.sum, "mean, axis 0", [[2, 3]]) { square($0[0].mean(axis: 0)) },
    .init(.sum, "mean, axis -1, kept", [[2, 3]]) { $0[0] / $0[0].mean(axis: -1, keepDims: true) },
    .init(.sum, "mean, several axes", [[2, 3, 2]]) { square($0[0].mean(axes: [0, 2])) },
    .init(.sum, "variance", [[2, 3]]) { $0[0].var() },
    .init(.sum, "variance, axis 0", [[3, 2]]) { $0[0].var(axis: 0) },
    .init(.sum, "variance, axis 1, kept", [[2, 3]]) {
      $0[0] * $0[0].var(axis: 1, ddof: 1, keepDims: true)
    },
    .init(.prod, "prod", [[2, 3]], in: both) { $0[0].prod() },
    .init(.prod, "prod, axis 0", [[3, 2]], in: both) { square($0[0].prod(axis: 0)) },
    .init(.prod, "prod, axis 1, kept", [[2, 4]]) { $0[0] * $0[0].prod(axis: 1, keepDims: true) },
    .init(.prod, "prod, middle axis", [[2, 5, 3]]) { square($0[0].prod(axis: -2)) },
    .init(.prod, "prod, outer axes", [[2, 3, 2]]) { square($0[0].prod(axes: [2, 0])) },
    .init(.prod, "prod, neighbouring axes, kept", [[2, 2, 2, 2]]) {
      $0[0] * $0[0].prod(axes: [1, 2], keepDims: true)
    },
    .init(.prod, "prod over axes of length 1", [[1, 3, 1]]) { square($0[0].prod(axes: [0, 2])) },
    .init(.prod, "prod of a view", [[3, 4]]) { $0[0].transposed()[1..<4].prod(axis: 0) },
    .init(.prod, "prod of many", [[37]], in: 0.8...1.3) { $0[0].prod() },
    .init(.max, "max", [[3, 4]], in: both) { square($0[0].max()) },
    .init(.max, "max, axis 0", [[3, 4]], in: both) { square($0[0].max(axis: 0)) },
    .init(.max, "max, axis 1, kept", [[3, 4]], in: both) {
      $0[0] * $0[0].max(axis: 1, keepDims: true)
    },
    .init(.max, "max, middle axis", [[2, 3, 2]], in: both) { square($0[0].max(axis: 1)) },
    .init(.max, "max, outer axes", [[2, 3, 2]], in: both) { square($0[0].max(axes: [0, 2])) },
    .init(.min, "min", [[3, 4]], in: both) { square($0[0].min()) },
    .init(.min, "min, axis 0", [[3, 4]], in: both) { square($0[0].min(axis: 0)) },
    .init(.min, "min, last axis", [[2, 3, 2]], in: both) { square($0[0].min(axis: -1)) },
    .init(.min, "min, outer axes, kept", [[2, 3, 2]], in: both) {
      square($0[0].min(axes: [0, 2], keepDims: true)) * $0[0]
    },
  ]

  static let products: [GradientCase] = [
    .init(.matmul, "matmul", [[2, 3], [3, 4]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, vectors", [[3], [3]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, vector and matrix", [[3], [3, 2]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, matrix and vector", [[2, 3], [3]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, batches", [[2, 2, 3], [2, 3, 2]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, batch and matrix", [[2, 2, 3], [3, 2]], in: both) {
      matmul($0[0], $0[1])
    },
    .init(.matmul, "matmul, matrix and batch", [[2, 3], [2, 3, 2]], in: both) {
      matmul($0[0], $0[1])
    },
    .init(.matmul, "matmul, broadcast batches", [[2, 1, 2, 3], [2, 3, 2]], in: both) {
      matmul($0[0], $0[1])
    },
    .init(.matmul, "matmul, batch and vector", [[2, 2, 3], [3]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, vector and batch", [[3], [2, 3, 2]], in: both) { matmul($0[0], $0[1]) },
    .init(.matmul, "matmul, transposed operands", [[3, 2], [4, 3]], in: both) {
      matmul($0[0].transposed(), $0[1].transposed())
    },
    .init(.matmul, "matmul, a matrix by itself", [[3, 3]], in: both) { matmul($0[0], $0[0]) },
    .init(.matmul, "matmul, a matrix by its transpose", [[2, 3]], in: both) {
      matmul($0[0], $0[0].transposed())
    },
    .init(.matmul, "matmul, slices", [[4, 4], [4, 4]], in: both) {
      matmul($0[0][1..<3], $0[1][.all, .slice(step: -2)])
    },
    .init(.matmul, "matmul, one row, one column", [[1, 3], [3, 1]], in: both) {
      matmul($0[0], $0[1])
    },
  ]

  static let views: [GradientCase] = [
    .init(.view, "reshaped", [[2, 3]]) { square($0[0].reshaped([3, -1])) },
    .init(.view, "reshaped to a vector and a scalar", [[1, 1]]) {
      $0[0].reshaped([1]) * $0[0].reshaped([])
    },
    .init(.view, "reshaped after transposing", [[2, 3]]) {
      square($0[0].transposed().reshaped([2, 3])) * $0[0]
    },
    .init(.view, "flattened", [[2, 3]]) { square($0[0].flattened()) },
    .init(.view, "transposed", [[2, 3]]) { square($0[0].transposed()) },
    .init(.view, "transposed, order given", [[2, 3, 2]]) { square($0[0].transposed([1, -1, 0])) },
    .init(.view, "broadcast", [[2, 1]]) { square($0[0].broadcast(to: [4, 2, 3])) },
    .init(.view, "broadcast of a scalar", [[]]) { square($0[0].broadcast(to: [2, 2])) },
    .init(.view, "expandedDims", [[2, 3]]) { square($0[0].expandedDims(at: 1)) * $0[0] },
    .init(.view, "squeezed", [[1, 3, 1]]) { square($0[0].squeezed()) },
    .init(.view, "squeezed axis", [[1, 3, 1]]) { square($0[0].squeezed(axis: -1)) },
    .init(.addRegion, "slice", [[5]]) { square($0[0][1..<3]) },
    .init(.addRegion, "slice, open", [[3, 4]]) { square($0[0][1..., ...2]) },
    .init(.addRegion, "slice, every other", [[5]]) { square($0[0][.slice(step: 2)]) },
    .init(.view, "slice, reversed", [[5]]) { square($0[0][.slice(step: -1)]) * $0[0] },
    .init(.addRegion, "slice, backwards", [[3, 5]]) {
      square($0[0][.all, .slice(4, 0, step: -2)])
    },
    .init(.addRegion, "integer", [[3, 2]]) { square($0[0][1]) },
    .init(.addRegion, "integers, negative", [[3, 2]]) { square($0[0][-1, -2]) },
    .init(.view, "newAxis", [[3]]) { $0[0][.newAxis] * $0[0][.all, .newAxis] },
    .init(.addRegion, "ellipsis", [[2, 2, 3]]) { square($0[0][.ellipsis, 1]) },
    .init(.addRegion, "view of a view", [[4, 4]]) { square($0[0].transposed()[1..<3][.all, 2]) },
    .init(.addRegion, "several views", [[4]]) { x in x[0][0..<2] * x[0][2..<4] + x[0][1..<3] },
    .init(.view, "a view and its base", [[2, 2]]) { x in x[0] * x[0].transposed() },
    .init(.addRegion, "overlapping views of a product", [[4]]) { x in
      let y = x[0] * x[0]
      return y[0..<3] * y[1..<4] * y[3]
    },
  ]

  static let indices: [GradientCase] = [
    .init(.gatherRows, "integer array", [[4, 2]]) { square($0[0][[0, 2, 2]]) },
    .init(.gatherRows, "integer arrays", [[3, 3]]) { square($0[0][[0, 2, 2], [1, 1, -1]]) },
    .init(.gatherRows, "integer array behind a slice", [[3, 4]]) { square($0[0][.all, [3, 0]]) },
    .init(.gatherRows, "mask", [[2, 3]]) {
      square($0[0][[[true, false, true], [false, true, true]]])
    },
    .init(.gatherRows, "mask of rows", [[3, 2]]) { square($0[0][[true, false, true]]) },
    .init(.gatherRows, "array of a view", [[3, 4]]) { square($0[0].transposed()[[3, 3]]) },
    .init(.gatherRows, "takeRows", [[3, 2]]) { square($0[0].takeRows(NDArray([2, 0, 2, -1]))) },
    .init(.gatherRows, "takeRows of a vector", [[3]]) {
      square($0[0].takeRows(NDArray([[0, 1], [2, 2]])))
    },
    .init(.scatterAddRows, "takeRows twice", [[3, 2]]) { x in
      x[0].takeRows(NDArray([0, 0, 1])) * x[0].takeRows(NDArray([2, 1, 1]))
    },
  ]

  static let moves: [GradientCase] = [
    .init(.concat, "concatenate", [[2, 2], [1, 2]]) { square(concatenate($0)) },
    .init(.concat, "concatenate, axis 1", [[2, 2], [2, 1], [2, 3]]) {
      square(concatenate($0, axis: 1))
    },
    .init(.concat, "concatenate, axis -2", [[2, 1, 2], [2, 2, 2]]) {
      square(concatenate($0, axis: -2))
    },
    .init(.concat, "concatenate with itself", [[2]]) { x in
      square(concatenate([x[0], x[0], x[0] * x[0]]))
    },
    .init(.concat, "concatenate one", [[2]]) { square(concatenate($0)) },
    .init(.concat, "stack", [[2], [2], [2]]) { square(stack($0)) },
    .init(.concat, "stack, last axis", [[2, 2], [2, 2]]) { square(stack($0, axis: -1)) },
    .init(.setRegion, "assignment to a slice", [[5], [2]]) { x in
      let y = +x[0]
      y[1..<3] = x[1] * x[1]
      return square(y)
    },
    .init(.setRegion, "assignment of one element", [[2, 3], []]) { x in
      let y = x[0] * x[0]
      y[1, 2] = x[1]
      return y * x[0]
    },
    .init(.setRegion, "update of every other", [[5], [3]]) { x in
      let y = x[0] * 1
      y[.slice(step: 2)] *= x[1]
      return y * y
    },
    .init(.setRows, "assignment to an index array", [[4], [3]]) { x in
      let y = +x[0]
      y[[0, 2, 0]] = x[1]
      return square(y)
    },
    .init(.setRows, "assignment to a mask", [[4], []]) { x in
      let y = +x[0]
      y[[true, false, false, true]] = x[1]
      return square(y)
    },
    .init(.setRows, "assignment to rows", [[3, 2], [2, 2]]) { x in
      let y = x[0] * x[0]
      y[[2, 0]] = x[1]
      return y * x[0]
    },
    .init(.setRows, "assignment to rows, one twice", [[3, 2], [3, 2]]) { x in
      let y = x[0] * x[0]
      y[[2, 1, 2]] = x[1] * x[1]
      return square(y)
    },
    .init(.setRows, "update of rows of a view", [[3, 4], [2]]) { x in
      let y = +x[0]
      let view = y.transposed()[1..<3]
      view[.all, [2, 0]] *= x[1]
      return square(y)
    },
  ]

  static let composites: [GradientCase] = [
    .init(.attach, "softplus", [[2, 3]], in: both) { softplus($0[0]) },
    .init(.attach, "softplus of a scalar", [[]], in: both) { softplus($0[0]) * $0[0] },
    .init(.attach, "softplus, far out", [[2, 3]], in: 20...30) {
      softplus(-$0[0]) + softplus($0[0])
    },
    .init(.attach, "softmax", [[2, 3]], in: both) { softmax($0[0]) },
    .init(.attach, "softmax, axis 0", [[3, 2]], in: both) { softmax($0[0], axis: 0) },
    .init(.attach, "softmax, middle axis", [[2, 3, 2]], in: both) { softmax($0[0], axis: 1) },
    .init(.attach, "softmax of a vector", [[4]], in: both) { softmax($0[0]) },
    .init(.attach, "softmax of a scalar", [[]], in: both) { softmax($0[0]) * $0[0] },
    .init(.attach, "logSoftmax of a scalar", [[]], in: both) { logSoftmax($0[0], axis: 0) + $0[0] },
    .init(.attach, "logSoftmax", [[2, 3]], in: both) { logSoftmax($0[0]) },
    .init(.attach, "logSoftmax, axis 0", [[3, 2]], in: both) { logSoftmax($0[0], axis: 0) },
    .init(.attach, "logSumExp", [[2, 3]], in: both) { logSumExp($0[0]) },
    .init(.attach, "logSumExp, axis 0, kept", [[2, 3]], in: both) {
      logSumExp($0[0], axis: 0, keepDims: true)
    },
    .init(.attach, "softmaxCrossEntropy", [[3, 4]], in: both) {
      softmaxCrossEntropy($0[0], NDArray([1, 0, 3]))
    },
  ]

  static let programs: [GradientCase] = [
    .init(.matmul, "a recurrence", [[2, 3], [3, 3], [3]], in: both) { x in
      var h = x[0]
      for _ in 0..<4 { h = tanh(matmul(h, x[1]) + x[2]) }
      return h
    },
    .init(.mul, "a value read in many places", [[3]]) { x in
      let y = exp(x[0])
      return (y * y + y.sum() * y) / (y + 1.0) - sin(y)
    },
    .init(.attach, "two layers and a loss", [[2, 3], [3, 4], [4]], in: both) { x in
      softmaxCrossEntropy(matmul(tanh(x[0]), x[1]) + x[2], NDArray([2, 0]))
    },
    .init(.view, "a table of distances", [[3, 2], [4, 2]], in: both) { x in
      let difference = x[0].expandedDims(at: 1) - x[1].expandedDims(at: 0)
      return sqrt(square(difference).sum(axis: -1) + 0.1)
    },
  ]
}
