// The programs whose bits are compared: what the library is made of, and random graphs.

import LazyGrad
import LazyGradJIT
import TestSupport

private let floats: [DType] = [.float32, .float64]

/// Numbers of all exponents and both signs, many of them where functions are interesting, and special ones.
private func grid(_ dtype: DType) -> Tensor {
  var values: [Double] = [
    0, -0.0, 1, -1, .infinity, -.infinity, .nan, 0x1p-1074, 0x1p-149, 0x3p-1070,
  ]
  for k in -20_000...20_000 { values.append(Double(k) / 1024 + Double(k &* 7919 % 1021) * 1e-6) }
  for k in 0..<20_000 {
    let bits = UInt64(k) &* 922_337_203_685_491
    values.append(Double(bitPattern: bits))
    values.append(-Double(Float(bitPattern: UInt32(truncatingIfNeeded: k &* 104_729))))
  }
  return Tensor(NDArray(values, shape: [values.count], dtype: dtype))
}

/// Whether results are the C library's, lane by lane, so that their bits are as well.
private func isOfTheSystem(_ opcode: Opcode, _ type: ScalarType) -> Bool {
  [.lgamma, .polygamma].contains(opcode) || opcode == .pow && type == .float64
}

func elementaryFunctions() {
  for function in UnaryFunction.all {
    let note = isOfTheSystem(function.opcode, .float64) ? " (C library)" : ""
    for dtype in floats {
      report("\(function.name) \(dtype)" + note, [function.call(grid(dtype))])
    }
  }
  let pairs: [(String, (Tensor, Tensor) -> Tensor)] = [
    ("divide", { $0 / $1 }), ("power", { pow($0, $1) }), ("hypot", { hypot($0, $1) }),
    ("arctan2", { arctan2($0, $1) }), ("fmod", { fmod($0, $1) }),
  ]
  for (name, function) in pairs {
    for dtype in floats {
      let x = grid(dtype)
      let note = name == "power" && dtype == .float64 ? " (C library)" : ""
      report(
        "\(name) \(dtype)" + note, [function(x, x.flipped()), function(x, x.rolled(by: 10_007))])
    }
  }
  for dtype in floats {
    report("sqrt \(dtype)", [sqrt(grid(dtype)), reciprocal(grid(dtype))])
  }
}

func products() {
  for dtype in floats + [.int32] {
    let shapes = [
      (1, 7, 1), (3, 50, 5), (17, 33, 9), (64, 64, 64), (1, 700, 33), (65, 300, 1), (130, 1030, 70),
    ]
    let scale: Double = dtype.isFloating ? 2 : 200
    let results = shapes.map { m, k, n in
      matmul(
        numbers([m, k], dtype, scale: scale), numbers([k, n], dtype, scale: scale, seed: 2))
    }
    report("matmul \(dtype)", results)
  }
  for dtype in floats {
    let a = numbers([6, 20, 31], dtype)
    let b = numbers([6, 31, 12], dtype, seed: 2)
    report("matmul of batches \(dtype)", [matmul(a, b), matmul(a[0], b)])
    let long = numbers([5000], dtype, seed: 3)
    report("dot \(dtype)", [dot(long, long.flipped())])
    report("einsum \(dtype)", [einsum("bij,bjk->ik", a, b), einsum("bij,bij->b", a, a)])
    let image = numbers([2, 3, 14, 14], dtype, seed: 4)
    report(
      "convolution \(dtype)", [convND(image, numbers([4, 3, 3, 3], dtype, seed: 5), stride: 1)])
    let square = numbers([24, 24], dtype, seed: 6)
    let positive = matmul(square.T, square) + Tensor.eye(24, dtype: dtype)
    let right = numbers([24, 3], dtype, seed: 7)
    report(
      "matrix routines \(dtype)", [cholesky(positive), solve(square, right), inverse(positive)])
  }
}

func reductions() {
  for dtype in floats {
    // Rows and columns of many lengths, and one long run in several blocks.
    let arrays = [
      numbers([37, 41], dtype), numbers([3, 1000, 7], dtype, seed: 2),
      numbers([300_000], dtype, seed: 3),
    ]
    func each(_ name: String, _ reduce: (Tensor, Int?) -> Tensor) {
      let results = arrays.flatMap { x in [reduce(x, nil), reduce(x, 0), reduce(x, -1)] }
      report("\(name) \(dtype)", results)
    }
    each("sum") { $0.sum(axis: $1) }
    each("prod") { (1.0 + 0x1p-10 * $0).prod(axis: $1) }
    each("mean") { $0.mean(axis: $1) }
    each("variance") { $0.var(axis: $1) }
    each("max") { $0.max(axis: $1) + $0.min(axis: $1) }
    each("argmax") { $0.argmax(axis: $1) }
    each("cumsum") { $0.cumsum(axis: $1) }
    each("softmax") { softmax($0, axis: $1 ?? 0) }
    each("logSumExp") { logSumExp($0, axis: $1 ?? 0) }
  }
}

func casts() {
  for source in DType.allCases {
    let values = numbers([2000], .float64, scale: 700)
    let x = (source == .uint8 || source == .bool ? abs(values) * 0.3 : values).cast(to: source)
    report("casts from \(source)", DType.allCases.map { x.cast(to: $0) })
  }
}

/// A recurrent network and an attention, forwards and backwards.
func models() {
  for dtype in floats {
    let weights = [
      numbers([8, 32], dtype, scale: 0.5), numbers([32, 32], dtype, scale: 0.3, seed: 2),
      numbers([32], dtype, scale: 0.1, seed: 3),
    ]
    var state = Tensor(NDArray.zeros([4, 32], dtype: dtype))
    for step in 0..<30 {
      let x = numbers([4, 8], dtype, seed: UInt64(10 + step))
      state = tanh(matmul(x, weights[0]) + matmul(state, weights[1]) + weights[2])
    }
    let loss = (state * state).mean()
    report("recurrent network \(dtype)", [loss] + gradients(of: loss, withRespectTo: weights))
    let (q, k, v) = (
      numbers([2, 19, 16], dtype, seed: 4), numbers([2, 19, 16], dtype, seed: 5),
      numbers([2, 19, 16], dtype, seed: 6)
    )
    let attention = matmul(softmax(matmul(q, k.transposed(0, 2, 1)) * 0.25, axis: -1), v)
    let score = sigmoid(attention).sum()
    report("attention \(dtype)", [score] + gradients(of: score, withRespectTo: [q, k, v]))
  }
}

func randomGraphs() {
  for first in stride(from: UInt64(0), to: 400, by: 100) {
    var checksum = Checksum()
    for seed in first..<first + 100 {
      let graphCase = RandomGraph.make(seed: seed)
      if graphCase.graph.nodes.contains(where: { isOfTheSystem($0.opcode, $0.type) }) { continue }
      withExtendedLifetime(graphCase) {
        let values: [Int: Storage]
        do {
          values = try PlanRunner.run(
            graphCase.graph, leaves: graphCase.pointers, scalars: graphCase.scalars, threads: 1)
        } catch { preconditionFailure("graph \(seed): \(error)") }
        for root in graphCase.roots {
          guard let value = values[root] else { continue }
          let node = graphCase.graph.nodes[root]
          let array = ReferenceArray(
            node.type, LayoutTable.shared[node.shape], at: UnsafeRawPointer(value.pointer))
          if node.type.isFloating {
            for number in array.floats { checksum.add(number) }
          } else {
            for number in array.integers { checksum.add(UInt64(bitPattern: number)) }
          }
        }
      }
    }
    report("random graphs \(first) to \(first + 99)", checksum)
  }
}
