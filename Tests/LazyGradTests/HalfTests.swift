// Tensors of float16 and bfloat16: computed in float32, rounded once, with gradients of their type.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Tensors of 16 bits") struct HalfTests {
  static let types: [DType] = [.float16, .bfloat16]

  /// Numbers of a type, the same every time.
  private static func numbers(
    _ shape: [Int], _ dtype: DType, seed: UInt64 = 1, _ range: ClosedRange<Double> = -2...2,
    constant: Bool = false
  ) -> Tensor {
    var random = SeededRandom(seed: seed)
    let values = (0..<shape.reduce(1, *)).map { _ in random.uniform(range) }
    return Tensor(NDArray(values, shape: shape, dtype: dtype), constant: constant)
  }

  private static func bits(_ x: Tensor) throws -> [UInt8] {
    try x.array.withUnsafeBytes { Array($0) }
  }

  private static func haveSameBits(_ x: Tensor, _ y: Tensor) throws -> Bool {
    let first = try bits(x)
    return try bits(y) == first && x.shape == y.shape
  }

  /// What `body` makes of tensors of 16 bits is what it makes of the same numbers in float32, rounded once;
  /// and so are the gradients.
  private static func check(
    _ what: String, _ dtype: DType, _ inputs: [Tensor], _ body: ([Tensor]) -> Tensor
  ) throws {
    let wide = inputs.map { Tensor($0.array.astype(.float32), constant: $0.isConstant) }
    let (result, expected) = (body(inputs), body(wide))
    #expect(result.dtype == dtype && expected.dtype == .float32, "\(what)")
    #expect(result.isConstant == expected.isConstant, "\(what)")
    #expect(try haveSameBits(result, expected.cast(to: dtype)), "\(what)")
    if result.isConstant { return }
    let seed = numbers(result.shape, dtype, seed: 99, constant: true)
    result.backward(seed)
    expected.backward(seed)
    for (k, (input, same)) in zip(inputs, wide).enumerated() where !input.isConstant {
      // Of some operands there is none.
      guard let gradient = input.grad, same.grad != nil else {
        let areMissing = input.grad == nil && same.grad == nil
        #expect(areMissing, "\(what): gradient \(k)")
        continue
      }
      #expect(gradient.dtype == dtype && gradient.shape == input.shape, "\(what): gradient \(k)")
      #expect(try haveSameBits(gradient, same.gradient.cast(to: dtype)), "\(what): gradient \(k)")
    }
  }

  // MARK: Operations

  @Test("Operations of one operand", arguments: types)
  func unary(_ dtype: DType) throws {
    let others: [(String, (Tensor) -> Tensor)] = [
      ("neg", { -$0 }), ("copy", { +$0 }), ("abs", { abs($0) }), ("sqrt", { sqrt(abs($0)) }),
      ("square", { square($0) }), ("reciprocal", { reciprocal($0) }), ("relu", { relu($0) }),
      ("softplus", { softplus($0) }), ("sinc", { sinc($0) }), ("rint", { rint($0 * 4) }),
      ("floor", { floor($0) }), ("elu", { elu($0) }), ("selu", { selu($0) }), ("x**3", { $0 ** 3 }),
      ("clip", { $0.clip(-1, 1) }), ("polygamma", { polygamma(1, $0) }),
    ]
    for (name, f) in others {
      // Each of the functions rounds once; of some here there are two.
      let x = Self.numbers([37], dtype, seed: 5)
      if ["sqrt", "polygamma", "rint"].contains(name) {
        let y = abs(x).array
        try Self.check(name, dtype, [Tensor(y)]) { f($0[0]) }
      } else {
        try Self.check(name, dtype, [x]) { f($0[0]) }
      }
    }
    for function in UnaryFunction.all {
      let x = Self.numbers([53], dtype, seed: 3, 0.05...0.95)
      try Self.check(function.name, dtype, [x]) { function.call($0[0]) }
    }
  }

  @Test("Operations of two operands, which broadcast", arguments: types)
  func binary(_ dtype: DType) throws {
    let functions: [(String, (Tensor, Tensor) -> Tensor)] = [
      ("+", { $0 + $1 }), ("-", { $0 - $1 }), ("*", { $0 * $1 }), ("/", { $0 / $1 }),
      ("maximum", { maximum($0, $1) }), ("minimum", { minimum($0, $1) }),
      ("pow", { pow($0, $1) }), ("hypot", { hypot($0, $1) }), ("arctan2", { arctan2($0, $1) }),
      ("logaddexp", { logaddexp($0, $1) }), ("copysign", { copysign($0, $1) }),
      ("fmod", { fmod($0, $1) }), ("remainder", { remainder($0, $1) }),
      ("where", { x, y in `where`(x .> y, x, y) }),
    ]
    for (name, f) in functions {
      for (first, second) in [([7, 5], [7, 5]), ([7, 5], [5]), ([1, 5], [7, 1]), ([], [3])] {
        let x = Self.numbers(first, dtype, seed: 11, 0.5...2)
        let y = Self.numbers(second, dtype, seed: 12, 0.5...2)
        try Self.check("\(name) \(first) \(second)", dtype, [x, y]) { f($0[0], $0[1]) }
      }
    }
    let (x, y) = (Self.numbers([9], dtype), Self.numbers([9], dtype, seed: 2))
    #expect((x .< y).dtype == .bool && (x .< y).isConstant)
    #expect((x .< y).elements == zip(x.elements, y.elements).map { $0 < $1 ? 1 : 0 })
    #expect((floorDivide(x, y).dtype, isNaN(x).dtype) == (dtype, .bool))
    #expect((x + Tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 9], dtype: .float32)).dtype == .float32)
    #expect((x + Tensor([1])).dtype == .float64 && (x * Tensor(true)).dtype == dtype)
  }

  @Test("Numbers keep the type, and are numbers of it", arguments: types)
  func weakNumbers(_ dtype: DType) throws {
    let x = Self.numbers([21], dtype)
    let tenth = Tensor.full([], 0.1, dtype: dtype, constant: true)
    for (a, b) in [(x * 0.1, x * tenth), (0.1 / x, tenth / x), (x - 0.1, x - tenth)] {
      #expect(a.dtype == dtype)
      #expect(try Self.haveSameBits(a, b))
    }
    #expect((x + 1).dtype == dtype && (2 * x).dtype == dtype && (x ** 2).dtype == dtype)
    #expect(maximum(x, 0).dtype == dtype && (x .> 0.1).dtype == .bool)
    #expect((x * true).dtype == dtype)
    #expect((Tensor([300.0], dtype: .float16) * 1e6).elements == [.infinity])
  }

  @Test("Overflow, subnormal numbers and not-a-number")
  func specials() {
    let x = Tensor([60000, -60000, 0x1p-24, 0x1p-14, .nan, .infinity, -0.0], dtype: .float16)
    #expect((x + x).elements.prefix(4) == [.infinity, -.infinity, 0x1p-23, 0x1p-13])
    #expect((x * 0.5).elements[2] == 0 && (x * 0.75).elements[2] == 0x1p-24)
    #expect((x + 0).elements[4].isNaN && (x - x).elements[5].isNaN)
    #expect((-x).elements[6].sign == .plus && (+x).elements[6].sign == .minus)
    // One digit more than there is room for: to the even neighbour.
    let ties = Tensor([2048.0, 2050, 2052], dtype: .float16)
    #expect((ties + 1).elements == [2048, 2052, 2052])
  }

  @Test("Sums and products of many are added up in float32", arguments: types)
  func accumulation(_ dtype: DType) throws {
    // One after the other in 16 bits these would end at 2048 and 256.
    let ones = Tensor.ones([64, 64], dtype: dtype)
    #expect(
      ones.sum().item() == 4096 && ones.sum(axis: 0).elements == [Double](repeating: 64, count: 64))
    let row = Tensor.ones([1, 4096], dtype: dtype)
    #expect(matmul(row, Tensor.ones([4096, 1], dtype: dtype)).item() == 4096)
    #expect(matmul(row, row.transposed()).dtype == dtype)
    #expect(Tensor.full([300], 300.0, dtype: .float16).mean().item() == 300)
    for (name, f) in [
      ("sum", { $0.sum() }), ("mean", { $0.mean(axis: 1) }), ("var", { $0.var() }),
      ("std", { $0.std(axis: 0) }), ("prod", { $0.prod(axis: 1) }), ("norm", { $0.norm() }),
      ("max", { $0.max(axis: 0) }), ("cumsum", { $0.cumsum(axis: 1) }),
      ("sorted", { $0.sorted(axis: 0) }), ("softmax", { softmax($0) }),
      ("logSoftmax", { logSoftmax($0) }), ("logSumExp", { logSumExp($0) }),
      ("layerNorm", { layerNorm($0) }), ("batchNorm", { batchNorm($0, eps: 1e-3) }),
      ("glu", { glu($0) }), ("matmul", { matmul($0, $0.transposed()) }),
      ("trace", { $0.trace() }),
    ] as [(String, (Tensor) -> Tensor)] {
      try Self.check(name, dtype, [Self.numbers([9, 8], dtype, seed: 21)]) { f($0[0]) }
    }
    let x = Self.numbers([9, 8], dtype, seed: 22)
    #expect(x.argmax(axis: 1).elements == x.cast(to: .float64).argmax(axis: 1).elements)
    #expect(x.argsort().elements == x.cast(to: .float64).argsort().elements)
    #expect((x .> 0).any().item(as: Bool.self))
  }

  @Test("What takes several operations is rounded once", arguments: types)
  func several(_ dtype: DType) throws {
    let a = Self.numbers([4, 4], dtype, seed: 31), b = Self.numbers([4, 4], dtype, seed: 32)
    let c = Self.numbers([4], dtype, seed: 33)
    try Self.check("einsum", dtype, [a, b, c]) { einsum("ij,jk,k->i", $0[0], $0[1], $0[2]) }
    try Self.check("tensordot", dtype, [a, b]) { tensordot($0[0], $0[1], axes: 1) }
    try Self.check("multiMatmul", dtype, [a, b, c]) { multiMatmul($0) }
    try Self.check("addSequence", dtype, [a, b, c]) { addSequence($0) }
    let safe = Tensor((a.cast(to: .float64) + Tensor.eye(4) * 5.0).array.astype(dtype))
    try Self.check("solve", dtype, [safe, b]) { solve($0[0], $0[1]) }
    try Self.check("inverse", dtype, [safe]) { inverse($0[0]) }
    try Self.check("determinant", dtype, [safe]) { determinant($0[0]) }
    try Self.check("qr", dtype, [safe]) { qr($0[0]).r }
    try Self.check("layerNorm", dtype, [a, c, Self.numbers([4], dtype, seed: 37)]) {
      layerNorm($0[0], gamma: $0[1], beta: $0[2])
    }
    let images = Self.numbers([2, 3, 8], dtype, seed: 34)
    let filters = Self.numbers([5, 3, 3], dtype, seed: 35)
    try Self.check("convND", dtype, [images, filters]) { convND($0[0], $0[1], padding: [1]) }
    try Self.check("maxPool", dtype, [images]) { maxPool($0[0], [2], stride: [2]) }
    try Self.check("softmaxCrossEntropy", dtype, [a]) {
      softmaxCrossEntropy($0[0], NDArray([0, 3, 1, 2]))
    }
    try Self.check("multiclassHinge", dtype, [a]) { multiclassHinge($0[0], NDArray([0, 3, 1, 2])) }
    let x = Self.numbers([3, 2, 4], dtype, seed: 36)
    let weights = (0..<9).map {
      Self.numbers($0 % 3 == 2 ? [4] : [4, 4], dtype, seed: 40 + UInt64($0))
    }
    try Self.check("gru", dtype, [x] + weights) {
      gru($0[0], $0[1], $0[2], $0[3], $0[4], $0[5], $0[6], $0[7], $0[8], $0[9])
    }
    let w = Self.numbers([4, 12], dtype, seed: 50), u = Self.numbers([3, 12], dtype, seed: 51)
    let bias = Self.numbers([12], dtype, seed: 52)
    try Self.check("lstm", dtype, [x, w, u, bias]) { lstm($0[0], $0[1], $0[2], $0[3]).states }
  }

  // MARK: Moves

  @Test("Elements are moved as they are", arguments: types)
  func moves(_ dtype: DType) throws {
    let x = Self.numbers([6, 4], dtype, seed: 61), y = Self.numbers([2, 4], dtype, seed: 62)
    let rows = NDArray([5, 0, 5, -1])
    let mask = Tensor(x.array, constant: true) .> 0
    for (name, f) in [
      ("concatenate", { concatenate([$0[0], $0[1]]) }), ("stack", { stack([$0[1], $0[1]]) }),
      ("rows", { $0[0][rows] }), ("takeRows", { $0[0].takeRows(rows) }),
      ("slice", { $0[0][1..<5, .slice(step: -2)] }), ("transpose", { $0[0].transposed() }),
      ("reshape", { $0[0].transposed().reshaped([3, 8]) }), ("flatten", { $0[0].flattened() }),
      ("broadcast", { $0[1].broadcast(to: [3, 2, 4]) }), ("mask", { $0[0][mask] }),
      ("padded", { $0[1].padded([(1, 0), (0, 2)], with: 0.1) }),
      ("tiled", { $0[1].tiled([2, 2]) }),
      ("rolled", { $0[0].rolled(by: 1, axis: 0) }), ("diagonal", { $0[0].diagonal() }),
      ("takeAlong", { $0[1].takeAlong(NDArray([[3], [0]])) }),
      (
        "update",
        { z in
          let copy = +z[0]
          copy[1..<3] = z[1]
          copy[0] += 0.5
          copy[rows] *= 2.0
          return copy
        }
      ),
    ] as [(String, ([Tensor]) -> Tensor)] {
      try Self.check(name, dtype, [Tensor(x.array), Tensor(y.array)].map { $0 }) {
        f($0) + 0 * $0[0].sum() + 0 * $0[1].sum()
      }
    }
    let view = x[1]
    #expect(view.base === x && view.dtype == dtype)
    x[1] = 3.0
    #expect(view.elements == [3, 3, 3, 3])
    x += Tensor([1.0, 2, 3, 4], dtype: .float64)
    #expect(x.dtype == dtype && view.elements == [4, 5, 6, 7])
  }

  // MARK: Gradients

  @Test("Contributions to a gradient are added up in float32", arguments: types)
  func gradientsAccumulate(_ dtype: DType) throws {
    let table = Tensor.ones([3, 2], dtype: dtype)
    table.takeRows(NDArray([Int](repeating: 1, count: 5000))).sum().backward()
    #expect(
      table.gradient.elements == [0, 0, 5000, 5000, 0, 0].map { NDArray($0, dtype: dtype).item() })
    let one = Tensor.ones([], dtype: dtype)
    (one * Tensor.ones([4096], dtype: dtype)).backward()
    #expect(one.gradient.item() == 4096 && one.gradient.dtype == dtype)
    let x = Tensor.ones([], dtype: dtype)
    var sum = x * 1.0
    for _ in 0..<600 { sum = sum + x }
    sum.backward()
    #expect(x.gradient.item() == NDArray(601, dtype: dtype).item())
  }

  @Test("Gradients have the type, whatever the way", arguments: types)
  func gradientTypes(_ dtype: DType) throws {
    let x = Tensor([0.5, -1.5, 2], dtype: dtype)
    let wide = x.cast(to: .float32) * 3.0
    #expect(wide.dtype == .float32 && !wide.isConstant)
    wide.backward()
    #expect(x.gradient.dtype == dtype && x.gradient.elements == [3, 3, 3])
    let y = Tensor([0.5, -1.5, 2])
    y.cast(to: dtype).backward(Tensor([0.1, 1, 1], constant: true))
    #expect(y.gradient.dtype == .float64)
    #expect(y.gradient.elements[0] == NDArray(0.1, dtype: dtype).item())
    // The head's own gradient, views', and sums over passes.
    let z = Tensor([1.0, 2], dtype: dtype)
    let part = z[0]
    (z * z).backward()
    #expect(part.gradient.elements == [2] || part.gradient.item() == 2)
    z.nullGradient()
    for _ in 0..<3 { (z * 0.25).backward(accumulate: true) }
    #expect(z.gradient.elements == [0.75, 0.75] && z.gradient.dtype == dtype)
    z.nullGradient()
    z.backward()
    #expect(z.gradient.dtype == dtype && z.gradient.elements == [1, 1])
    // Of higher order.
    let first = gradient(of: (x * x * x).sum(), withRespectTo: x, createGraph: true)
    #expect(first.dtype == dtype && first.elements == [0.75, 6.75, 12])
    let second = gradient(of: first.sum(), withRespectTo: x)
    #expect(second.dtype == dtype && second.elements == [3, -9, 12])
    #expect(gradient(of: z.sum(), withRespectTo: x).dtype == dtype)
  }

  @Test("A program's own operations see its types", arguments: types)
  func custom(_ dtype: DType) {
    let x = Tensor([1.0, 2], dtype: dtype)
    let y = Tensor.custom(inputs: [x]) {
      $0[0].copy()
    } backward: { gradient, inputs, result in
      #expect(gradient.dtype == dtype && inputs[0].dtype == dtype && result.dtype == dtype)
      return [gradient.astype(.float64)]
    }
    #expect(y.dtype == dtype)
    (y * 3.0).backward()
    #expect(x.gradient.dtype == dtype && x.gradient.elements == [3, 3])
  }

  @Test("A backward pass that comes again gives the same", arguments: types)
  func repeated(_ dtype: DType) throws {
    let w = Self.numbers([5, 5], dtype, seed: 71)
    let x = Self.numbers([3, 5], dtype, seed: 72, constant: true)
    var seen: [[UInt8]] = []
    for _ in 0..<5 {
      tanh(matmul(x, w)).sum().backward()
      seen.append(try Self.bits(w.gradient))
    }
    #expect(seen.allSatisfy { $0 == seen[0] })
  }

  // MARK: What surrounds them

  @Test("The guard locks, and names the operations", arguments: types)
  func guarded(_ dtype: DType) throws {
    let host = NDArray([1.0, 2, 3], dtype: dtype)
    let x = Tensor(host, copy: false)
    let y = x * 2.0
    #expect(!host.isWriteable)
    #expect(throws: MemoryGuardError.locked(holders: ["multiply"])) { try host.fill(0) }
    y.backward()
    #expect(host.isWriteable)
    try host.fill(5)
    #expect(x.elements == [5, 5, 5])
    let z = exp(y)
    _ = z
    let late = memGuardOff { x + 1.0 }
    try memGuardOff { try host.fill(7) }
    #expect(late.elements == [6, 6, 6])
  }

  @Test("Graphs show the operations, not the conversions")
  func graphs() {
    let x = Tensor([1.0, 2], dtype: .float16), y = Tensor([3.0, 4], dtype: .float16)
    let z = tanh(x * y)
    let graph = z.computationGraph()
    #expect(graph.nodes.map(\.operation) == ["input", "input", "multiply", "tanh"])
    #expect(graph.nodes.map(\.dtype) == [DType](repeating: .float16, count: 4))
    #expect(graph.nodes[2].operands == [.node(0), .node(1)])
    #expect(softplus(x).computationGraph().nodes.map(\.operation) == ["input", "softplus"])
    let cast = x.cast(to: .float32).computationGraph().nodes.map(\.operation)
    #expect(cast == ["input", "cast"])
    #expect(z.computationGraph(statistics: true).nodes.last?.values != nil)
  }

  @Test("A formula is one kernel, conversions included")
  func fused() {
    let x = Self.numbers([1000], .float16), y = Self.numbers([1000], .float16, seed: 2)
    let tape = Tape.current
    let before = tape.locked { tape.state.pointee.counters.kernelsRun }
    let z = exp(x * y) + x
    _ = z.array
    #expect(tape.locked { tape.state.pointee.counters.kernelsRun } - before == 1)
  }

  @Test("Computing early changes no bit", arguments: types)
  func earlyAndLate(_ dtype: DType) throws {
    let x = Self.numbers([130], dtype, seed: 81), y = Self.numbers([130], dtype, seed: 82)
    let late = sqrt(abs(x * y - x)) / (y + 3.0)
    let product = x * y
    _ = product.array
    let difference = product - x
    _ = difference.array
    let early = sqrt(abs(difference)) / (y + 3.0)
    #expect(try Self.haveSameBits(late, early))
  }
}
