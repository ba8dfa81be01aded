// What every operation costs to record and to drop again, for the `overhead` command: those that cost
// more than others of their kind stand out.

import LazyGrad

/// The table of all operations.
struct OverheadTable {
  let report: Report

  private struct Entry {
    let name: String
    let run: () -> Tensor
  }

  /// Records every operation on a 4 x 4 float32 tensor and drops the result.
  func rows(seconds: Double) -> [[String]] {
    let entries = Self.entries()
    let share = seconds / Double(entries.count)
    return entries.map { entry in
      let samples = sampleInterleaved(
        [Variant { count in for _ in 0..<count { _ = entry.run() } }], seconds: share)[0]
      var row = ResultRow("W5", "record and drop: \(entry.name)")
      row.mode = Mode.guarded.rawValue
      row.perOperation = samples
      report.add(row)
      return [entry.name, Format.number(samples.median), Format.number(samples.minimum)]
    }
  }

  // Operands are values of their own. A result that is held would keep the arena from starting again, and
  // every operation would pay for that.

  private static func values(_ shape: [Int] = [4, 4]) -> Tensor {
    let count = shape.reduce(1, *)
    return Tensor(NDArray((1...count).map { Float($0) / Float(count) }, shape: shape))
  }

  private static func entries() -> [Entry] {
    let x = values()
    return elementwise(x) + functions(x) + reductions(x) + views(x) + selections(x)
  }

  private static func elementwise(_ x: Tensor) -> [Entry] {
    let y = values()
    let vector = values([4])
    let (image, kernel) = (values([1, 1, 4]), values([1, 1, 2]))
    let flags = Tensor(NDArray((0..<16).map { $0 > 7 }, shape: [4, 4]))
    return [
      Entry(name: "-x") { -x }, Entry(name: "+x") { +x }, Entry(name: "abs") { abs(x) },
      Entry(name: "exp") { exp(x) }, Entry(name: "expm1") { expm1(x) },
      Entry(name: "log") { log(x) }, Entry(name: "log1p") { log1p(x) },
      Entry(name: "sin") { sin(x) }, Entry(name: "cos") { cos(x) }, Entry(name: "tanh") { tanh(x) },
      Entry(name: "sigmoid") { sigmoid(x) }, Entry(name: "erf") { erf(x) },
      Entry(name: "cbrt") { cbrt(x) }, Entry(name: "softplus") { softplus(x) },
      Entry(name: "relu") { relu(x) }, Entry(name: "sqrt") { sqrt(x) },
      Entry(name: "square") { square(x) }, Entry(name: "reciprocal") { reciprocal(x) },
      Entry(name: "sign") { sign(x) }, Entry(name: "floor") { floor(x) },
      Entry(name: "isNaN") { isNaN(x) }, Entry(name: "logicalNot") { logicalNot(flags) },
      Entry(name: "cast") { x.cast(to: .float64) }, Entry(name: "x + y") { x + y },
      Entry(name: "x - y") { x - y }, Entry(name: "x * y") { x * y },
      Entry(name: "x / y") { x / y }, Entry(name: "x ** y") { x ** y },
      Entry(name: "x + vector") { x + vector }, Entry(name: "x * 2") { x * 2.0 },
      Entry(name: "x ** 3") { x ** 3.0 }, Entry(name: "maximum") { maximum(x, y) },
      Entry(name: "minimum") { minimum(x, y) }, Entry(name: "x == y") { x .== y },
      Entry(name: "x < y") { x .< y }, Entry(name: "logicalAnd") { logicalAnd(flags, flags) },
      Entry(name: "logicalOr") { logicalOr(flags, flags) },
      Entry(name: "where") { `where`(flags, x, y) }, Entry(name: "clip") { x.clip(0.2, 0.8) },
      Entry(name: "matmul") { matmul(x, y) },
      Entry(name: "matmul, vector") { matmul(x, vector) }, Entry(name: "dot") { dot(x, y) },
      Entry(name: "outer") { outer(vector, vector) },
      Entry(name: "einsum(\"ij,kj->ik\")") { einsum("ij,kj->ik", x, y) },
      Entry(name: "solve") { solve(x, vector) }, Entry(name: "inverse") { inverse(x) },
      Entry(name: "cholesky") { cholesky(x) }, Entry(name: "determinant") { determinant(x) },
      Entry(name: "eigh") { eigh(x).values }, Entry(name: "svd") { svd(x).s },
      Entry(name: "batchNorm") { batchNorm(x, eps: 1e-3) },
      Entry(name: "maxPool") { maxPool(x, [2], stride: 2) },
      Entry(name: "convND") { convND(image, kernel, stride: 1) },
      Entry(name: "copy()") { x.copy() }, Entry(name: "detached") { x.detached() },
    ]
  }

  private static func functions(_ x: Tensor) -> [Entry] {
    let y = values()
    let half = Tensor(NDArray((1...16).map { Float($0) / 32 }, shape: [4, 4]))
    return [
      Entry(name: "exp2") { exp2(x) }, Entry(name: "log2") { log2(x) },
      Entry(name: "log10") { log10(x) }, Entry(name: "tan") { tan(x) },
      Entry(name: "arcsin") { arcsin(half) }, Entry(name: "arccos") { arccos(half) },
      Entry(name: "arctan") { arctan(x) }, Entry(name: "sinh") { sinh(x) },
      Entry(name: "cosh") { cosh(x) }, Entry(name: "arctan2") { arctan2(x, y) },
      Entry(name: "arcsinh") { arcsinh(x) }, Entry(name: "arccosh") { arccosh(x) },
      Entry(name: "arctanh") { arctanh(half) }, Entry(name: "sec") { sec(x) },
      Entry(name: "csc") { csc(x) }, Entry(name: "cot") { cot(x) }, Entry(name: "sech") { sech(x) },
      Entry(name: "csch") { csch(x) }, Entry(name: "coth") { coth(x) },
      Entry(name: "arcsec") { arcsec(x) }, Entry(name: "arccsc") { arccsc(x) },
      Entry(name: "arccot") { arccot(x) }, Entry(name: "arccsch") { arccsch(x) },
      Entry(name: "arccoth") { arccoth(x) }, Entry(name: "sinc") { sinc(x) },
      Entry(name: "hypot") { hypot(x, y) }, Entry(name: "logaddexp") { logaddexp(x, y) },
      Entry(name: "logaddexp2") { logaddexp2(x, y) }, Entry(name: "ceil") { ceil(x) },
      Entry(name: "trunc") { trunc(x) }, Entry(name: "rint") { rint(x) },
      Entry(name: "isFinite") { isFinite(x) }, Entry(name: "isInf") { isInf(x) },
      Entry(name: "signBit") { signBit(x) }, Entry(name: "copysign") { copysign(x, y) },
      Entry(name: "logicalXor") { logicalXor(x, y) }, Entry(name: "fmod") { fmod(x, y) },
      Entry(name: "remainder") { remainder(x, y) },
      Entry(name: "floorDivide") { floorDivide(x, y) }, Entry(name: "elu") { elu(x) },
      Entry(name: "selu") { selu(x) }, Entry(name: "leakyRelu") { leakyRelu(x) },
      Entry(name: "softSign") { softSign(x) }, Entry(name: "logSigmoid") { logSigmoid(x) },
      Entry(name: "glu") { glu(x) }, Entry(name: "addSequence") { addSequence(x, y, x) },
      Entry(name: "multiplySequence") { multiplySequence(x, y, x) },
    ]
  }

  private static func reductions(_ x: Tensor) -> [Entry] {
    let labels = NDArray([0, 1, 2, 3])
    return [
      Entry(name: "sum") { x.sum() }, Entry(name: "sum(axis: 0)") { x.sum(axis: 0) },
      Entry(name: "sum(axis: 1)") { x.sum(axis: 1) },
      Entry(name: "sum(axis: 1, keepDims: true)") { x.sum(axis: 1, keepDims: true) },
      Entry(name: "prod(axis: 1)") { x.prod(axis: 1) },
      Entry(name: "mean") { x.mean() }, Entry(name: "mean(axis: 1)") { x.mean(axis: 1) },
      Entry(name: "max(axis: 1)") { x.max(axis: 1) },
      Entry(name: "min(axis: 1)") { x.min(axis: 1) },
      Entry(name: "argmax(axis: 1)") { x.argmax(axis: 1) },
      Entry(name: "argmin(axis: 1)") { x.argmin(axis: 1) },
      Entry(name: "var(axis: 1)") { x.var(axis: 1) },
      Entry(name: "std(axis: 1)") { x.std(axis: 1) },
      Entry(name: "norm(axis: 1)") { x.norm(axis: 1) },
      Entry(name: "cumsum(axis: 1)") { x.cumsum(axis: 1) },
      Entry(name: "cumprod(axis: 1)") { x.cumprod(axis: 1) },
      Entry(name: "sorted") { x.sorted() }, Entry(name: "argsort") { x.argsort() },
      Entry(name: "lgamma") { lgamma(x) }, Entry(name: "digamma") { digamma(x) },
      Entry(name: "trace") { x.trace() },
      Entry(name: "softmax") { softmax(x) }, Entry(name: "logSoftmax") { logSoftmax(x) },
      Entry(name: "logSumExp") { logSumExp(x) },
      Entry(name: "softmaxCrossEntropy") { softmaxCrossEntropy(x, labels) },
      Entry(name: "negativeLogLikelihood") { negativeLogLikelihood(x, labels) },
      Entry(name: "multiclassHinge") { multiclassHinge(x, labels) },
      Entry(name: "focalLoss") { focalLoss(x, labels, gamma: 2) },
      Entry(name: "softmaxFocalLoss") { softmaxFocalLoss(x, labels, gamma: 2) },
    ]
  }

  private static func views(_ x: Tensor) -> [Entry] {
    let thin = values([4, 1, 4])
    return [
      Entry(name: "transposed()") { x.transposed() },
      Entry(name: "transposed([1, 0])") { x.transposed([1, 0]) },
      Entry(name: "reshaped([2, 8])") { x.reshaped([2, 8]) },
      Entry(name: "reshaped([-1])") { x.reshaped([-1]) },
      Entry(name: "flattened") { x.flattened() },
      Entry(name: "expandedDims") { x.expandedDims(at: 1) },
      Entry(name: "swappedAxes") { x.swappedAxes(0, 1) },
      Entry(name: "movedAxis") { x.movedAxis(from: 0, to: 1) },
      Entry(name: "flipped(axis: 0)") { x.flipped(axis: 0) },
      Entry(name: "slidingWindows([2, 2])") { x.slidingWindows([2, 2]) },
      Entry(name: "split") { split(x, 2)[0] },
      Entry(name: "squeezed") { thin.squeezed() },
      Entry(name: "squeezed(axis: 1)") { thin.squeezed(axis: 1) },
      Entry(name: "broadcast") { x.broadcast(to: [3, 4, 4]) },
      Entry(name: "diagonal") { x.diagonal() },
      Entry(name: "x[1...].transposed()") { x[1...].transposed() },
      Entry(name: "x[1]") { x[1] }, Entry(name: "x[1..<3]") { x[1..<3] },
      Entry(name: "x[1, 2]") { x[1, 2] }, Entry(name: "x[.all, 1]") { x[.all, 1] },
      Entry(name: "x[0..<2, 1...]") { x[0..<2, 1...] },
      Entry(name: "x[.newAxis, .ellipsis, 1]") { x[.newAxis, .ellipsis, 1] },
      Entry(name: "x[.slice(step: -1)]") { x[.slice(step: -1)] },
    ]
  }

  private static func selections(_ x: Tensor) -> [Entry] {
    let numbers = NDArray([0, 2, 3])
    let rowMask = NDArray([true, false, true, true])
    let mask = NDArray((0..<16).map { $0 % 3 == 0 }, shape: [4, 4])
    let y = values()
    return [
      Entry(name: "x[numbers]") { x[numbers] },
      Entry(name: "x[.all, numbers]") { x[.all, numbers] },
      Entry(name: "takeRows") { x.takeRows(numbers) },
      Entry(name: "x[mask of rows]") { x[rowMask] }, Entry(name: "x[mask]") { x[mask] },
      Entry(name: "concatenate") { concatenate([x, y]) },
      Entry(name: "concatenate(axis: 1)") { concatenate([x, y], axis: 1) },
      Entry(name: "stack") { stack([x, y]) },
      Entry(name: "take(axis: 1)") { x.take(numbers, axis: 1) },
      Entry(name: "rolled(by: 1, axis: 1)") { x.rolled(by: 1, axis: 1) },
      Entry(name: "repeated(2, axis: 1)") { x.repeated(2, axis: 1) },
      Entry(name: "tiled([1, 2])") { x.tiled([1, 2]) },
      Entry(name: "padded") { x.padded([(1, 1), (0, 2)]) },
    ]
  }
}
