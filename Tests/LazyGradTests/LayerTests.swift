// Convolutions, pooling, batch normalisation and the gated recurrent unit: values, windows, errors.

import Foundation
import LazyGrad
import Testing

@Suite("Layers")
struct LayerTests {
  private func values(_ shape: [Int], _ k: Int = 0) -> Tensor {
    Tensor(EinsumTests.values(shape, k))
  }

  typealias Case = ([Int], [Int], [Int], [Int], [Int], [Int], [Double])

  /// Inputs, filters, stride, padding, dilation, the result's shape and elements, made with loops in NumPy.
  static let convolutions: [Case] = [
    ([1, 1, 6], [1, 1, 3], [1], [0], [1], [1, 1, 4], [-0.8125, -0.5, 1.875, -0.5625]),
    (
      [2, 3, 7], [2, 3, 3], [2], [0], [1], [2, 2, 3],
      [-0.1875, 2.75, 1.5625, -0.625, -2.0625, -0.0625, 0.0625, 0.25, -2.3125, -3.0, 0.375, 3.0625]
    ),
    (
      [2, 2, 5, 5], [3, 2, 2, 2], [1, 1], [1, 1], [1, 1], [2, 3, 6, 6],
      [
        -0.75, 0.5625, -0.375, 2.125, -1.5625, 0.0625, 0.4375, -1.4375, 0.375, 0.8125, 1.9375,
        0.125, 0.1875, -2.6875, 1.1875, 0.25, 0.0, -0.875, -0.0625, 0.1875, -1.4375, 0.375, 0.8125,
        2.25, -0.3125, 0.3125, -2.6875, 1.1875, 0.25, -0.8125, -1.0625, 0.625, 0.625, -2.125, 0.625,
        -0.5625, -1.3125, 0.3125, -0.25, 1.9375, -1.375, 0.25, -0.4375, 2.0, -0.25, 1.625, -1.3125,
        0.0625, -0.1875, -1.0, -1.1875, 0.0, 2.5625, -2.5, 0.0625, 0.125, 2.0, -0.25, 1.625, -1.625,
        0.3125, -0.125, -1.0, -1.1875, 0.0, 1.3125, -0.625, -1.0625, 0.6875, 1.0625, -0.625, 0.625,
        1.5625, -1.3125, 1.25, -1.6875, -1.875, 0.4375, 0.75, -0.75, 0.5, 3.8125, -3.1875, 0.6875,
        0.125, 2.0625, -2.1875, 1.125, -1.0625, -2.0625, -0.5, 1.4375, -0.75, 0.5, 3.8125, -2.0625,
        -1.125, 0.8125, 2.0625, -2.1875, 1.125, 0.6875, -0.1875, -0.6875, 0.0625, 0.8125, -0.5,
        0.4375, 0.375, -0.25, -0.5, 0.625, -0.3125, 0.1875, -2.0625, 1.1875, 0.25, 0.0, -0.9375,
        -0.25, 0.4375, -1.4375, 0.375, 0.8125, 1.9375, 0.125, 0.1875, -2.6875, 1.1875, 0.25, 0.0,
        -0.875, -0.0625, 0.1875, -1.4375, 0.375, 0.8125, 2.25, -0.5625, 0.625, -2.125, 0.625, 0.625,
        -1.0625, 0.9375, 0.375, -0.875, 0.625, 0.0625, 0.125, -2.0625, -1.1875, 0.0, 2.5625,
        -2.4375, 0.5625, -0.4375, 2.0, -0.25, 1.625, -1.3125, 0.0625, -0.1875, -1.0, -1.1875, 0.0,
        2.5625, -2.5, 0.0625, 0.125, 2.0, -0.25, 1.625, -1.625, -0.375, -0.1875, 0.1875, -1.5, 0.25,
        1.25, -1.25, 1.0, 1.5, -1.4375, 1.125, 0.0625, 1.375, -2.1875, 1.125, -1.0625, -2.5625,
        0.6875, 0.75, -0.75, 0.5, 3.8125, -3.1875, 0.6875, 0.125, 2.0625, -2.1875, 1.125, -1.0625,
        -2.0625, -0.5, 1.4375, -0.75, 0.5, 3.8125, -2.0625, -0.1875, -0.3125, 0.4375, -0.875,
        -0.125, 0.8125,
      ]
    ),
    (
      [1, 2, 7, 5], [2, 2, 2, 3], [2, 1], [0, 1], [2, 1], [1, 2, 3, 5],
      [
        1.75, -3.5625, 1.5, 1.75, -1.0, 0.5625, 1.6875, -3.5625, 1.5, 1.6875, -2.6875, 1.4375,
        1.6875, -3.5625, 2.3125, 1.25, 2.375, -2.5625, 0.0625, 1.1875, 0.3125, 2.5, 2.375, -2.5625,
        0.0, 0.0625, -2.875, 2.5, 2.375, -3.25,
      ]
    ),
    (
      [1, 1, 4, 4, 4], [2, 1, 2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], [1, 2, 2, 2, 2],
      [
        -1.25, 3.75, -1.875, 2.4375, 2.4375, -0.125, 2.5, -2.125, 0.5, 2.875, -1.0, 0.6875, 0.6875,
        -3.125, 0.5625, 0.875,
      ]
    ),
    (
      [2, 1, 3, 4], [2, 1, 1, 1], [1, 1], [0, 0], [1, 1], [2, 2, 3, 4],
      [
        0.25, -0.1875, 0.0625, 0.3125, -0.125, 0.125, -0.3125, -0.0625, 0.1875, -0.25, 0.0, 0.25,
        1.25, -0.9375, 0.3125, 1.5625, -0.625, 0.625, -1.5625, -0.3125, 0.9375, -1.25, 0.0, 1.25,
        -0.1875, 0.0625, 0.3125, -0.125, 0.125, -0.3125, -0.0625, 0.1875, -0.25, 0.0, 0.25, -0.1875,
        -0.9375, 0.3125, 1.5625, -0.625, 0.625, -1.5625, -0.3125, 0.9375, -1.25, 0.0, 1.25, -0.9375,
      ]
    ),
    (
      [1, 2, 3], [2, 2, 3], [1], [2], [2], [1, 2, 3],
      [-0.5625, -0.3125, 0.5625, -1.8125, 1.125, 1.375]
    ),
  ]

  @Test("Convolutions", arguments: convolutions.indices)
  func convolves(_ k: Int) {
    let (shape, kernel, stride, padding, dilation, result, expected) = Self.convolutions[k]
    for dtype in [DType.float64, .float32] {
      let y = convND(
        values(shape).cast(to: dtype), values(kernel, 1).cast(to: dtype), stride: stride,
        padding: padding, dilation: dilation)
      #expect(y.shape == result && y.dtype == dtype && y.base == nil)
      #expect(y.elements(as: Double.self) == expected)
    }
    let turned = values(Array(shape.reversed())).transposed()
    let copy = +turned
    #expect(
      convND(turned, values(kernel), stride: stride, padding: padding, dilation: dilation)
        .elements(as: Double.self)
        == convND(copy, values(kernel), stride: stride, padding: padding, dilation: dilation)
        .elements(as: Double.self))
  }

  @Test("One number stands for all axes")
  func sameForAll() {
    let (x, f) = (values([1, 2, 7, 7]), values([3, 2, 2, 2], 1))
    let y = convND(x, f, stride: 2, padding: 1, dilation: 2)
    let z = convND(x, f, stride: [2, 2], padding: [1, 1], dilation: [2, 2])
    #expect(y.shape == [1, 3, 4, 4] && y.elements(as: Double.self) == z.elements(as: Double.self))
  }

  @Test("No samples, no channels, no filters")
  func empty() {
    #expect(convND(values([0, 2, 5]), values([3, 2, 2]), stride: 1).shape == [0, 3, 4])
    #expect(convND(values([2, 2, 5]), values([0, 2, 2]), stride: 1).shape == [2, 0, 4])
    let none = convND(values([1, 0, 5]), values([2, 0, 2]), stride: 1)
    #expect(none.elements(as: Double.self) == [Double](repeating: 0, count: 8))
  }

  @Test("The largest of windows, and the first of equal ones has the gradient")
  func pools() {
    let x = Tensor([[1.0, 3, 2, 2], [0, 3, 5, 1]])
    #expect(maxPool(x, [2], stride: 2).elements(as: Double.self) == [3, 2, 3, 5])
    let y = maxPool(x, [2, 2], stride: 1)
    #expect(y.shape == [1, 3] && y.elements(as: Double.self) == [3, 5, 5])
    y.backward()
    #expect(x.grad!.elements(as: Double.self) == [0, 1, 0, 0, 0, 0, 2, 0])
    let z = values([2, 3, 7, 6])
    let wide = maxPool(z, [3, 2], stride: [2, 2])
    #expect(wide.shape == [2, 3, 3, 3])
    for (i, j) in [(0, 0), (2, 1), (1, 2)] {
      let window = z[1, 2, (2 * i)..<(2 * i + 3), (2 * j)..<(2 * j + 2)]
      #expect(wide[1, 2, i, j].item() == window.max().item())
    }
  }

  @Test("Batch normalisation")
  func normalises() {
    let x = values([3, 2, 4])
    let y = batchNorm(x, eps: 1e-9)
    let means = y.mean(axes: [0, 2]).elements(as: Double.self)
    let squares = square(y).mean(axes: [0, 2]).elements(as: Double.self)
    #expect(means.allSatisfy { Swift.abs($0) < 1e-14 })
    #expect(squares.allSatisfy { Swift.abs($0 - 1) < 1e-8 })
    let z = batchNorm(x, gamma: Tensor([2.0, 3]), beta: Tensor([1.0, -1]), eps: 1e-9)
    let expected = y * Tensor([[2.0], [3]]) + Tensor([[1.0], [-1]])
    #expect(z.elements(as: Double.self) == expected.elements(as: Double.self))
    let constant = batchNorm(Tensor.ones([2, 1], dtype: .float64), eps: 1e-3)
    #expect(constant.elements(as: Double.self) == [0, 0])
  }

  @Test("Layer normalisation")
  func normalisesLayers() {
    let x = values([3, 2, 4])
    let y = layerNorm(x, eps: 1e-9)
    #expect(y.mean(axis: -1).elements(as: Double.self).allSatisfy { Swift.abs($0) < 1e-14 })
    let squares = square(y).mean(axis: -1).elements(as: Double.self)
    #expect(squares.allSatisfy { Swift.abs($0 - 1) < 1e-8 })
    let (gamma, beta) = (Tensor([2.0, 3, 4, 5]), Tensor([1.0, -1, 0, 2]))
    let z = layerNorm(x, gamma: gamma, beta: beta, eps: 1e-9)
    #expect(z.elements(as: Double.self) == (y * gamma + beta).elements(as: Double.self))
    #expect(layerNorm(values([0, 3])).shape == [0, 3])
  }

  @Test("Rows of a table")
  func embeds() {
    let table = values([4, 3])
    let y = embedding(Tensor([[1, -1], [1, 0]], constant: true), table)
    #expect(y.shape == [2, 2, 3])
    #expect(y[0, 1].elements(as: Double.self) == table[3].elements(as: Double.self))
    y.sum().backward()
    #expect(table.gradient[.all, 0].elements(as: Double.self) == [1, 2, 0, 1])
  }

  @Test("A long short-term memory is its formula, number by number")
  func remembers() {
    let (steps, samples, features, width) = (3, 2, 4, 3)
    let x = values([steps, samples, features])
    let (w, u) = (values([features, 4 * width], 1), values([width, 4 * width], 2) * 0.4)
    let b = values([4 * width], 3)
    let (h0, c0) = (values([samples, width], 4), values([samples, width], 5))
    let (states, memory) = lstm(x, w, u, b, h0: h0, c0: c0)
    #expect(states.shape == [steps + 1, samples, width] && memory.shape == [samples, width])
    func sigma(_ x: Double) -> Double { 1 / (1 + Foundation.exp(-x)) }
    var (h, c) = ([[Double]](), [[Double]]())
    for n in 0..<samples {
      h.append(h0[n].elements(as: Double.self))
      c.append(c0[n].elements(as: Double.self))
    }
    let (wx, ux) = (w.elements(as: Double.self), u.elements(as: Double.self))
    for t in 0..<steps {
      for n in 0..<samples {
        let input = x[t, n].elements(as: Double.self)
        let old = h[n]
        func gate(_ k: Int, _ d: Int) -> Double {
          let column = k * width + d
          func product(_ x: [Double], _ weights: [Double]) -> Double {
            var sum = 0.0
            for i in x.indices { sum += x[i] * weights[i * 4 * width + column] }
            return sum
          }
          return product(input, wx) + product(old, ux) + b.elements(as: Double.self)[column]
        }
        for d in 0..<width {
          let content = Foundation.tanh(gate(2, d))
          c[n][d] = sigma(gate(1, d)) * c[n][d] + sigma(gate(0, d)) * content
          h[n][d] = sigma(gate(3, d)) * Foundation.tanh(c[n][d])
        }
        let found = states[t + 1, n].elements(as: Double.self)
        #expect(zip(found, h[n]).allSatisfy { Swift.abs($0 - $1) < 1e-14 })
      }
    }
    let last = memory.elements(as: Double.self)
    #expect(zip(last, c.joined()).allSatisfy { Swift.abs($0 - $1) < 1e-14 })
    #expect(lstm(x, w, u, b).states[0].elements(as: Double.self).allSatisfy { $0 == 0 })
  }

  @Test("A gated recurrent unit is its formula", arguments: [false, true])
  func recurrent(_ resetsAfterProduct: Bool) {
    let c = resetsAfterProduct ? values([5], 9) : nil
    let x = values([3, 2, 4])
    let w = [[4, 5], [5, 5], [5], [4, 5], [5, 5], [5], [4, 5], [5, 5], [5]].enumerated().map {
      values($1, $0) * 0.3
    }
    let start = values([2, 5], 7)
    func run(_ s0: Tensor?) -> Tensor {
      gru(x, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], s0: s0, stateBias: c)
    }
    let y = run(start)
    #expect(
      y.shape == [4, 2, 5] && y[0].elements(as: Double.self) == start.elements(as: Double.self))
    var s = start
    for t in 0..<3 {
      let z = sigmoid(matmul(x[t], w[0]) + matmul(s, w[1]) + w[2])
      let r = sigmoid(matmul(x[t], w[3]) + matmul(s, w[4]) + w[5])
      let fromState = c.map { r * (matmul(s, w[7]) + $0) } ?? matmul(r * s, w[7])
      let h = tanh(matmul(x[t], w[6]) + fromState + w[8])
      s = (1.0 - z) * h + z * s
      let difference = abs(s - y[t + 1]).max().item()
      #expect(difference < 1e-14)
    }
    #expect(abs(run(nil)[0]).max().item() == 0)
  }

  @Test("What is wrong is said", arguments: 0..<20)
  func errors(_ k: Int) {
    let (x, f) = (values([1, 2, 5]), values([3, 2, 2]))
    let w = values([2, 3])
    let calls: [(String, () -> Tensor)] = [
      ("convND", { convND(x, f, stride: 2) }),
      ("convND", { convND(x, values([3, 1, 2]), stride: 1) }),
      ("convND", { convND(x, values([3, 2, 6]), stride: 1) }),
      ("convND", { convND(x, values([3, 2, 0]), stride: 1) }),
      ("convND", { convND(values([2, 3]), w, stride: 1) }),
      ("convND", { convND(x, f, stride: 0) }), ("convND", { convND(x, f, stride: 1, padding: -1) }),
      ("convND", { convND(x, f, stride: [1, 1]) }),
      ("convND", { convND(x, f, stride: 1, dilation: .max) }),
      ("maxPool", { maxPool(x, [], stride: 1) }),
      ("maxPool", { maxPool(x, [1, 1, 1, 1], stride: 1) }),
      ("maxPool", { maxPool(x, [2], stride: 2) }),
      ("batchNorm", { batchNorm(values([3]), eps: 1) }),
      ("batchNorm", { batchNorm(x, gamma: values([3]), eps: 1) }),
      ("layerNorm", { layerNorm(values([])) }), ("layerNorm", { layerNorm(x, beta: w) }),
      ("embedding", { embedding(w, w) }),
      ("lstm", { lstm(x, w, w, w).states }),
      ("lstm", { lstm(x, values([5, 8]), values([3, 8]), values([8])).memory }),
      ("lstm", { lstm(x, values([5, 8]), values([2, 8]), values([8]), c0: w).states }),
    ]
    let error = #expect(throws: TensorError.self) { try catchingTensorErrors(calls[k].1) }
    #expect(error?.operation == calls[k].0)
  }

  @Test("Shapes of a recurrent unit that don't fit are said")
  func recurrentErrors() {
    let x = values([3, 2, 4])
    let (u, w, b) = (values([4, 5]), values([5, 5]), values([5]))
    for call in [
      { gru(x[0], u, w, b, u, w, b, u, w, b) }, { gru(x, w, w, b, u, w, b, u, w, b) },
      { gru(x, u, w, b, u, w, b, u, u, b) }, { gru(x, u, w, b, u, w, b, u, w, b, s0: b) },
      { gru(x, u, w, b, u, w, b, u, w, b, stateBias: w) },
    ] as [() -> Tensor] {
      let error = #expect(throws: TensorError.self) { try catchingTensorErrors(call) }
      #expect(error?.operation == "gru")
    }
  }
}
