// Results of operations that are no views: they have no base, whatever they are made of inside; they can
// be updated in place, and have views of their own that memory and gradients are shared with.

import LazyGrad
import TestSupport
import Testing

@Suite("Results that are no views")
struct ResultTests {
  struct Operation: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let run: @Sendable (Tensor) -> Tensor

    init(_ name: String, _ run: @escaping @Sendable (Tensor) -> Tensor) {
      testDescription = name
      self.run = run
    }
  }

  private static func vector() -> Tensor { Tensor([0.5, -1, 2], constant: true) }
  private static func matrix(_ rows: Int, _ columns: Int) -> Tensor {
    Tensor(
      NDArray((0..<(rows * columns)).map { Double($0 % 5) - 1.5 }, shape: [rows, columns]),
      constant: true)
  }

  /// Every operation, on a matrix of shape [2, 3].
  static let operations: [Operation] =
    UnaryFunction.all.map { function in
      // Within its domain: what is not a number is equal to nothing.
      let scale = function.function.domain.upperBound < 1 ? 0.25 : 1
      return .init(function.name) { function.call($0 * scale) }
    } + others

  private static let others: [Operation] = [
    .init("relu") { relu($0) }, .init("softplus") { softplus($0) }, .init("sqrt") { sqrt($0) },
    .init("square") { square($0) },
    .init("reciprocal") { reciprocal($0) }, .init("abs") { abs($0) }, .init("sign") { sign($0) },
    .init("floor") { floor($0) }, .init("isNaN") { isNaN($0) },
    .init("logicalNot") { logicalNot($0) }, .init("negative") { -$0 }, .init("copy") { +$0 },
    .init("add") { $0 + $0 }, .init("subtract a number") { $0 - 1 },
    .init("multiply") { $0 * vector() }, .init("divide") { 1 / $0 },
    .init("with an array") { NDArray([1.0, 2, 3]) * $0 },
    .init("power") { $0 ** 2.5 }, .init("to the first") { $0 ** 1 }, .init("pow") { pow($0, $0) },
    .init("maximum") { maximum($0, 1) }, .init("minimum") { minimum($0, vector()) },
    .init("equal") { $0 .== $0 }, .init("less") { $0 .< 1 },
    .init("logicalAnd") { logicalAnd($0, $0) }, .init("logicalOr") { logicalOr($0, $0) },
    .init("where") { `where`($0 .> 1, $0, -$0) }, .init("clip") { $0.clip(0, 1.2) },
    .init("clip of nothing") { $0.clip(nil, nil) }, .init("cast") { $0.cast(to: .float32) },
    .init("cast to the same") { $0.cast(to: .float64) },
    .init("sum") { $0.sum() }, .init("sum, axis") { $0.sum(axis: 0) },
    .init("sum, no axes") { $0.sum(axes: []) },
    .init("sum, kept") { $0.sum(axis: 1, keepDims: true) },
    .init("prod") { $0.prod() }, .init("prod, axis") { $0.prod(axis: 1) },
    .init("mean") { $0.mean(axis: 1) }, .init("max") { $0.max(axis: 0) }, .init("min") { $0.min() },
    .init("argmax") { $0.argmax(axis: 1) }, .init("argmin") { $0.argmin() },
    .init("argmax of a scalar") { $0[0, 0].argmax() },
    .init("var") { $0.var(axis: 0) },
    .init("matmul") { matmul($0, matrix(3, 2)) }, .init("matmul, vector") { matmul($0, vector()) },
    .init("vector, matmul") { matmul(Tensor([1.0, 2]), $0) },
    .init("vectors") { matmul($0[0], vector()) },
    .init("matmul, batch and vector") { matmul($0.reshaped([1, 2, 3]), vector()) },
    .init("vector and batch") { matmul(Tensor([1.0, 2]), $0.reshaped([1, 2, 3])) },
    .init("softmax") { softmax($0) }, .init("softmax, axis 0") { softmax($0, axis: 0) },
    .init("softmax, middle axis") { softmax($0.reshaped([1, 2, 3]), axis: 1) },
    .init("softmax of a scalar") { softmax($0[0, 0]) },
    .init("logSoftmax") { logSoftmax($0) }, .init("logSoftmax, axis 0") { logSoftmax($0, axis: 0) },
    .init("logSumExp") { logSumExp($0) }, .init("logSumExp, axis 0") { logSumExp($0, axis: 0) },
    .init("logSumExp, kept") { logSumExp($0, axis: 0, keepDims: true) },
    .init("softmaxCrossEntropy") { softmaxCrossEntropy($0, NDArray([0, 2])) },
    .init("flattened") { $0.flattened() }, .init("takeRows") { $0.takeRows(NDArray([1, 0, 1])) },
    .init("index array") { $0[[1, 0]] }, .init("mask") { $0[NDArray([true, false])] },
    .init("index arrays") { $0[.all, [2, 0]] },
    .init("reshaped, a copy") { $0.transposed().reshaped([6]) },
    .init("reshaped, a copy of a part") { $0[.all, 0..<2].reshaped([4]) },
    .init("concatenate") { concatenate([$0, $0], axis: 1) },
    .init("concatenate one") { concatenate([$0]) },
    .init("stack") { stack([$0, $0], axis: 1) }, .init("stack one") { stack([$0]) },
    .init("copy()") { $0.copy() }, .init("detached") { $0.detached() },
    .init("composite") { x in
      Tensor.composite(inputs: [x]) {
        $0[0].transposed()
      } gradient: { g, _, _ in
        [g.transposed()]
      }
    },
    .init("composite of itself") { x in
      Tensor.composite(inputs: [x]) {
        $0[0]
      } gradient: { g, _, _ in
        [g]
      }
    },
    .init("custom") { x in
      Tensor.custom(inputs: [x]) {
        $0[0].transposed()
      } backward: { g, _, _ in
        [g.transposed()]
      }
    },
    .init("into an array") { exp($0, out: NDArray.zeros([2, 3])) },
    .init("into an array with strides") { exp($0, out: NDArray.zeros([3, 2]).transposed()) },
    .init("gradients") { gradients(of: square($0).sum(), withRespectTo: [$0])[0] },
    .init("gradients, graph kept") {
      gradients(of: exp($0).sum(), withRespectTo: [$0], createGraph: true)[0]
    },
    .init("zeros") { Tensor.zeros(like: $0) },
    .init("ones") { Tensor.ones([2, 3], dtype: $0.dtype) },
    .init("full") { Tensor.full(like: $0, 2.5) },
  ]

  private static func operand() -> Tensor { Tensor([[0.5, 1.75, 1], [2, 0.25, 1.5]]) }

  private func values(_ x: Tensor?) -> [Double]? { x?.elements(as: Double.self) }

  @Test("There is no base", arguments: operations)
  func noBase(_ operation: Operation) {
    for reads in [false, true] {
      let x = Self.operand()
      let y = operation.run(x)
      if reads { y.eval() }
      #expect(y.base == nil)
      let inside = noAutodiff { operation.run(x) }
      #expect(inside.base == nil)
      if !operation.testDescription.hasPrefix("gradients") { #expect(values(y) == values(inside)) }
      // The array that shows the value shows what the tensor is.
      #expect(y.array.elements(as: Double.self) == values(operation.run(Self.operand())))
    }
  }

  @Test("The operand is left alone by updates of the result", arguments: operations)
  func updates(_ operation: Operation) {
    for reads in [false, true] {
      let x = Self.operand()
      let y = operation.run(x)
      if reads { y.eval() }
      let old = values(y)!
      if y.dtype == .bool { continue }
      y += 1
      #expect(values(y) == old.map { $0 + 1 })
      if y.rank > 0 {
        let part = y[0..<1]
        part *= 2
        let n = old.count / y.shape[0]
        #expect(values(y) == old.enumerated().map { ($1 + 1) * ($0 < n ? 2 : 1) })
        #expect(part.base === y)
      }
      #expect(values(x) == values(Self.operand()))
    }
  }

  @Test("Parts are views of the result, and gradients meet there", arguments: operations)
  func parts(_ operation: Operation) {
    for reads in 0..<3 {
      let (x, copy) = (Self.operand(), Self.operand())
      let (y, other) = (operation.run(x), operation.run(copy))
      if y.isConstant { continue }
      if reads == 1 { y.eval() }
      let part = y.rank == 0 ? y.reshaped([1]) : y[0..<1]
      #expect(part.base === y)
      if reads == 2 { part.eval() }
      #expect(part.array.sharesMemory(with: y.array))
      (square(part).sum() + y.sum()).backward()
      // The same by way of the whole.
      let first = values(part)!
      let slopes = (0..<y.count).map { $0 < first.count ? 2 * first[$0] : 0 }
      let weights = Tensor(NDArray(slopes, shape: y.shape).astype(y.dtype), constant: true)
      (other * weights + other).sum().backward()
      func agree(_ a: [Double]?, _ b: [Double]?) -> Bool {
        guard let a, let b else { return a == nil && b == nil }
        return zip(a, b).allSatisfy { abs($0 - $1) <= 1e-6 * Swift.max(1, abs($1)) }
      }
      #expect(agree(values(x.grad), values(copy.grad)), "\(reads)")
      #expect(agree(values(y.grad), slopes.map { $0 + 1 }))
      #expect(agree(values(part.grad), first.map { 2 * $0 + 1 }))
    }
  }
}
