// What is differentiated in GradientTests, by families of operations beyond the engine's own: composites,
// functions of two operands, scans, and what arranges elements.

import LazyGrad
import LazyGradJIT

extension GradientCase {
  static let families: [GradientCase] =
    trigonometric + logarithmic + activations + statistics
    + scans + arrangements

  private static let both: ClosedRange<Double> = -1.5...1.5

  private static let trigonometric: [GradientCase] = [
    .init(.attach, "arcsinh", [[2, 3]], in: both) { arcsinh($0[0]) },
    .init(.attach, "arcsinh, far out", [[2, 3]], in: 1e10...2e10) { arcsinh($0[0] * 1e10) },
    .init(.attach, "arccosh", [[2, 3]], in: 1.2...3) { arccosh($0[0]) },
    .init(.attach, "arctanh", [[2, 3]], in: -0.8...0.8) { arctanh($0[0]) },
    .init(.attach, "sec", [[2, 3]], in: -1.2...1.2) { sec($0[0]) },
    .init(.attach, "csc", [[2, 3]], in: 0.5...2.5) { csc($0[0]) },
    .init(.attach, "cot", [[2, 3]], in: 0.5...2.5) { cot($0[0]) },
    .init(.attach, "sech", [[2, 3]], in: both) { sech($0[0]) },
    .init(.attach, "csch", [[2, 3]], in: 0.5...2) { csch($0[0]) },
    .init(.attach, "coth", [[2, 3]], in: 0.5...2) { coth($0[0]) },
    .init(.attach, "arcsec", [[2, 3]], in: 1.3...3) { arcsec($0[0]) },
    .init(.attach, "arcsec of negative numbers", [[2, 3]], in: 1.3...3) { arcsec(-$0[0]) },
    .init(.attach, "arccsc", [[2, 3]], in: 1.3...3) { arccsc(-$0[0]) },
    .init(.attach, "arccot", [[2, 3]], in: both) { arccot($0[0]) },
    .init(.attach, "arccsch", [[2, 3]], in: 0.5...2) { arccsch(-$0[0]) },
    .init(.attach, "arccoth", [[2, 3]], in: 1.3...3) { arccoth($0[0]) },
    .init(.attach, "sinc", [[2, 3]], in: both) { sinc($0[0]) },
    .init(.attach, "sinc next to 0", [[2, 3]], in: 0.02...0.05) { sinc($0[0]) },
    .init(.attach, "sec of a scalar", [[]], in: both) { sec($0[0]) * $0[0] },
    .init(.arctan2, "arctan2", [[2, 3], [2, 3]], in: both) { arctan2($0[0], $0[1]) },
    .init(.arctan2, "arctan2, broadcast", [[3], [2, 1]], in: both) { arctan2($0[0], $0[1]) },
    .init(.fmod, "fmod", [[2, 3], [3]], in: 0.52...0.9) { fmod($0[0] * 3.1, $0[1]) },
    .init(.fmod, "remainder", [[3], [3]], in: 0.52...0.9) { remainder($0[0] * -3.1, $0[1]) },
    .init(.fmod, "remainder with a number", [[3]], in: both) { square(remainder($0[0], 0.4)) },
    // The sign has no gradient.
    .init(.select, "copysign", [[3]], in: both) { copysign(square($0[0]), Tensor([1, -2, 0.5])) },
  ]

  private static let logarithmic: [GradientCase] = [
    .init(.attach, "logaddexp", [[2, 3], [2, 3]], in: both) { logaddexp($0[0], $0[1]) },
    .init(.attach, "logaddexp, broadcast", [[3], [2, 1]], in: both) { logaddexp($0[0], $0[1]) },
    .init(.attach, "logaddexp of one tensor", [[3]], in: both) { logaddexp($0[0], $0[0]) },
    .init(.attach, "logaddexp, far apart", [[3], [3]], in: both) {
      logaddexp($0[0] * 20, $0[1] - 25) + logaddexp($0[0], $0[1] - 700)
    },
    .init(.attach, "logaddexp2", [[2, 3], [3]], in: both) { logaddexp2($0[0], $0[1]) },
    .init(.hypot, "hypot", [[2, 3], [3]], in: both) { hypot($0[0], $0[1]) },
    .init(.hypot, "hypot of large numbers", [[3], []]) {
      hypot($0[0] * 1e30, $0[1] * 1e30) / 1e30
    },
  ]

  private static let activations: [GradientCase] = [
    .init(.select, "elu", [[3, 4]], in: both) { elu($0[0], alpha: 0.7) },
    .init(.select, "selu", [[3, 4]], in: both) { selu($0[0]) },
    .init(.relu, "leakyRelu", [[3, 4]], in: both) { square(leakyRelu($0[0], slope: 0.3)) },
    .init(.attach, "softSign", [[3, 4]], in: both) { softSign($0[0]) },
    .init(.attach, "logSigmoid", [[3, 4]], in: both) { logSigmoid($0[0]) },
    .init(.view, "glu", [[3, 4]], in: both) { glu($0[0]) },
    .init(.view, "glu, axis 0", [[4, 3]], in: both) { glu($0[0], axis: 0) },
    .init(.maximum, "hardTanh", [[3, 4]], in: both) {
      square(hardTanh($0[0], lowerBound: -0.6, upperBound: 0.7))
    },
    .init(.add, "addSequence", [[2, 3], [3], []]) { square(addSequence($0[0], $0[1], $0[2])) },
    .init(.mul, "multiplySequence", [[2, 3], [3], [], [2, 1]]) {
      multiplySequence($0[0], $0[1], $0[2], $0[3])
    },
    .init(.gatherRows, "negativeLogLikelihood", [[3, 4], [4]], in: both) {
      negativeLogLikelihood($0[0] * $0[0], NDArray([1, 0, 3]), weights: $0[1])
    },
    .init(.gatherRows, "multiclassHinge", [[3, 4]], in: both) {
      square(multiclassHinge($0[0], NDArray([1, 0, 3]), hinge: 0.3))
    },
    .init(.relu, "marginRankingLoss", [[3, 2], [3, 2]], in: both) {
      square(marginRankingLoss($0[0], $0[1], Tensor([1.0, -1, 1], constant: true), margin: 0.4))
    },
    .init(.gatherRows, "focalLoss", [[3, 4]], in: 0.15...0.8) {
      focalLoss($0[0], NDArray([1, 0, 3]), alpha: 0.7, gamma: 1.5)
    },
    .init(.gatherRows, "softmaxFocalLoss", [[3, 4]], in: both) {
      softmaxFocalLoss($0[0], NDArray([1, 0, 3]), alpha: 0.7, gamma: 0.5)
    },
    .init(.attach, "softmax over neighbouring axes", [[2, 3, 2]], in: both) {
      softmax($0[0], axes: [1, 2])
    },
    .init(.attach, "softmax over outer axes", [[2, 3, 2]], in: both) {
      softmax($0[0], axes: [0, 2])
    },
    .init(.attach, "logSoftmax over all axes", [[2, 3]], in: both) {
      logSoftmax($0[0], axes: [0, 1])
    },
  ]

  private static let statistics: [GradientCase] = [
    .init(.sqrt, "std", [[2, 3]]) { $0[0].std() },
    .init(.sqrt, "std, axis 1, kept", [[2, 3]]) {
      $0[0] * $0[0].std(axis: 1, ddof: 1, keepDims: true)
    },
    .init(.sqrt, "std, outer axes", [[2, 3, 2]]) { $0[0].std(axes: [0, 2]) },
    .init(.sum, "variance, outer axes", [[2, 3, 2]]) { $0[0].var(axes: [0, 2], ddof: 1) },
    .init(.sqrt, "norm", [[2, 3]], in: both) { $0[0].norm() },
    .init(.sqrt, "norm, axis 0", [[2, 3]], in: both) { $0[0].norm(axis: 0) },
    .init(.sqrt, "norm of matrices", [[2, 2, 3]], in: both) { $0[0].norm(axes: [1, 2]) },
    .init(.abs, "norm of order 1", [[2, 3]], in: both) { square($0[0].norm(ord: 1, axis: 1)) },
    .init(.pow, "norm of order 3", [[2, 3]], in: both) { $0[0].norm(ord: 3, axis: 1) },
    .init(.pow, "norm of order -1.5", [[2, 3]], in: both) { $0[0].norm(ord: -1.5, axis: 1) },
    .init(.max, "norm of order infinity", [[2, 3]], in: both) {
      square($0[0].norm(ord: .infinity, axis: 1))
    },
    .init(.min, "norm of order -infinity", [[2, 3]], in: both) {
      square($0[0].norm(ord: -.infinity))
    },
  ]

  private static let scans: [GradientCase] = [
    .init(.cumsum, "cumsum", [[5]]) { square($0[0].cumsum()) },
    .init(.cumsum, "cumsum, axis 0", [[3, 2]]) { square($0[0].cumsum(axis: 0)) },
    .init(.cumsum, "cumsum, middle axis", [[2, 3, 2]]) { square($0[0].cumsum(axis: 1)) },
    .init(.cumsum, "cumsum of all", [[2, 3]]) { square($0[0].cumsum()) },
    .init(.cumsum, "cumsum of a scalar", [[]]) { square($0[0].cumsum()) },
    .init(.cumprod, "cumprod", [[5]], in: both) { $0[0].cumprod() },
    .init(.cumprod, "cumprod, axis 0", [[3, 2]], in: both) { $0[0].cumprod(axis: 0) },
    .init(.cumprod, "cumprod, middle axis", [[2, 4, 2]], in: both) { $0[0].cumprod(axis: 1) },
    .init(.cumprod, "cumprod with zeros", [[5]], in: both) { x in
      (x[0] * Tensor([1.0, 0, 1, 0, 1], constant: true)
        + Tensor([0.0, 1, 0, 1, 0], constant: true) * x[0].sum() * 0).cumprod()
    },
    .init(.cumprod, "cumprod of one element", [[1]]) { square($0[0].cumprod()) },
  ]

  private static let arrangements: [GradientCase] = [
    .init(.view, "swappedAxes", [[2, 3, 2]]) { square($0[0].swappedAxes(0, -1)) },
    .init(.view, "movedAxes", [[2, 3, 2]]) { square($0[0].movedAxes(from: [0, 1], to: [-1, 0])) },
    .init(.view, "flipped", [[2, 3]]) { square($0[0].flipped()) },
    .init(.view, "flipped, axis 1", [[2, 3]]) { square($0[0].flipped(axis: 1)) * $0[0] },
    .init(.view, "flipped part", [[4, 3]]) { square($0[0][1..<3].flipped(axis: 0)) },
    .init(.concat, "rolled", [[2, 3]]) { square($0[0].rolled(by: 2)) * $0[0] },
    .init(.concat, "rolled along axes", [[2, 3]]) {
      square($0[0].rolled(by: [1, -1], axes: [0, 1])) * $0[0]
    },
    .init(.view, "repeated", [[2, 3]]) { square($0[0].repeated(2, axis: 1)) },
    .init(.gatherRows, "repeated by numbers", [[2, 3]]) {
      square($0[0].repeated([2, 0, 3], axis: 1))
    },
    .init(.view, "tiled", [[2, 3]]) { square($0[0].tiled([2, 1, 2])) },
    .init(.setRegion, "padded", [[2, 3]]) { square($0[0].padded([(1, 0), (2, 1)], with: 0.5)) },
    .init(.gatherRows, "padded, reflected", [[2, 3]]) {
      square($0[0].padded([(1, 0), (2, 1)], mode: .reflect))
    },
    .init(.gatherRows, "padded, wrapped", [[2, 3]]) {
      square($0[0].padded([(1, 0), (2, 4)], mode: .wrap))
    },
    .init(.view, "split", [[2, 4]]) { x in
      let parts = split(x[0], 2, axis: 1)
      return parts[0] * exp(parts[1])
    },
    .init(.view, "split at positions", [[5]]) { x in
      let parts = split(x[0], at: [1, 3])
      return parts[0] * parts[1] * square(parts[2])
    },
    .init(.gatherRows, "take", [[3, 4]]) { square($0[0].take(NDArray([3, 0, 3]), axis: 1)) },
    .init(.gatherRows, "take of all", [[3, 4]]) {
      square($0[0].take(NDArray([[5, -1], [5, 0]])))
    },
    .init(.gatherRows, "takeAlong", [[2, 3]]) {
      square($0[0].takeAlong(NDArray([[2, 0], [1, 1]])))
    },
    .init(.sort, "sorted", [[2, 4]], in: both) { square($0[0].sorted()) * $0[0] },
    .init(.sort, "sorted, axis 0, descending", [[4, 2]], in: both) {
      square($0[0].sorted(axis: 0, descending: true)) * $0[0]
    },
    .init(.sort, "sorted, middle axis, of a transposed tensor", [[2, 3, 4]], in: both) { x in
      square(x[0].transposed([2, 0, 1]).sorted(axis: 1)) * x[0].transposed([2, 0, 1])
    },
    .init(.gatherRows, "entries of the last axis", [[3, 4]]) { x in
      square(x[0][.all, [3, 0, 3]]) + square(x[0][.ellipsis, NDArray([1, -1, 1])])
    },
    .init(.gatherRows, "entries of a middle axis", [[2, 3, 4]]) {
      square($0[0][.all, [[2, 0], [0, 0]]])
    },
    .init(.gatherRows, "pairs of numbers", [[3, 4]]) { square($0[0][[0, 2, 0], [1, -1, 1]]) },
    .init(.gatherRows, "pairs of numbers for the last axes", [[2, 3, 4]]) {
      square($0[0][.all, NDArray([0, 2, 0]), NDArray([1, -1, 1])])
    },
    .init(.view, "slidingWindows", [[6]]) { square($0[0].slidingWindows([3])) * 0.5 },
    .init(.view, "slidingWindows of images", [[2, 4, 5]]) {
      exp($0[0].slidingWindows([2, 3], step: [2, 1]))
    },
    .init(.view, "slidingWindows, dilated, of a transposed tensor", [[5, 6]]) {
      square($0[0].transposed().slidingWindows([2, 2], step: [1, 2], dilation: [2, 3]))
    },
    .init(.view, "slidingWindows, few of them", [[8]]) { square($0[0].slidingWindows([7])) },
    .init(.view, "atLeast3D", [[3]]) { square(atLeast3D($0[0])) },
    .init(.view, "several axes of length 1", [[2, 1, 3, 1]]) {
      square($0[0].squeezed(axes: [1, 3]).expandedDims(at: [0, -1]))
    },
  ]
}
