// logSumExp and its kin where elements are infinite, and of integers and truth values.

import Foundation
import LazyGrad
import Testing

@Suite("logSumExp")
struct LogSumExpTests {
  private static let inf = Double.infinity

  /// Elements, value, gradient.
  private static let rows: [([Double], Double, [Double])] = [
    ([-inf, -inf, -inf], -inf, [1 / 3.0, 1 / 3.0, 1 / 3.0]),
    ([-inf], -inf, [1]),
    ([inf], inf, [1]),
    ([inf, 1, -2], inf, [1, 0, 0]),
    ([-700, -inf, inf], inf, [0, 0, 1]),
    ([inf, 3, inf], inf, [0.5, 0, 0.5]),
    ([-inf, 2, -inf], 2, [0, 1, 0]),
    ([-inf, 0, 0], Foundation.log(2), [0, 0.5, 0.5]),
    ([1e300, 1e300, -1e300], 1e300, [0.5, 0.5, 0]),
    ([-1000, -1000], -1000 + Foundation.log(2), [0.5, 0.5]),
  ]

  private func agree(_ a: [Double], _ b: [Double], _ tolerance: Double) -> Bool {
    a.count == b.count
      && zip(a, b).allSatisfy { $0 == $1 || abs($0 - $1) <= tolerance * Swift.max(1, abs($1)) }
  }

  @Test("Infinities give infinities, and the gradient of what is greatest", arguments: rows.indices)
  func infinities(_ k: Int) {
    let (values, expected, slope) = Self.rows[k]
    for dtype in [DType.float64, .float32] where dtype == .float64 || abs(expected) != 1e300 {
      let tolerance = dtype == .float64 ? 1e-15 : 1e-6
      for (shape, axis) in [([values.count], 0), ([values.count, 1], 0), ([1, values.count], -1)] {
        for keeps in [false, true] {
          for reads in [false, true] {
            let x = Tensor(NDArray(values, shape: shape, dtype: dtype))
            let y = logSumExp(x, axis: axis, keepDims: keeps)
            if reads { y.eval() }
            y.backward()
            #expect(agree([y.item()], [expected], tolerance), "\(values) \(dtype)")
            #expect(
              agree(x.grad!.elements(as: Double.self), slope, tolerance), "\(values) \(dtype)")
            #expect(
              y.shape == (keeps ? [1, 1] : [1]).suffix(keeps ? shape.count : shape.count - 1))
          }
        }
      }
    }
  }

  @Test("One row's infinities are nothing to the others")
  func rowsApart() {
    let x = Tensor([[Self.inf, 0], [1, 1], [-Self.inf, -Self.inf], [.nan, 0]])
    let y = logSumExp(x, axis: 1)
    y.backward()
    let values = y.elements(as: Double.self)
    #expect(values[0] == Self.inf && values[2] == -Self.inf && values[3].isNaN)
    #expect(abs(values[1] - 1 - Foundation.log(2)) < 1e-15)
    let slopes = x.grad!.elements(as: Double.self)
    #expect(Array(slopes[..<6]) == [1, 0, 0.5, 0.5, 0.5, 0.5])
    #expect(slopes[6].isNaN && slopes[7].isNaN)
    let columns = logSumExp(x[0..<3], axis: 0).elements(as: Double.self)
    #expect(columns[0] == Self.inf && abs(columns[1] - 1.3132616875182228) < 1e-15)
  }

  @Test("Derivatives of second order are finite where one element is infinite")
  func secondOrder() {
    let x = Tensor([Self.inf, 2, -1])
    let slope = gradients(of: logSumExp(x), withRespectTo: [x], createGraph: true)[0]
    let curve = gradients(of: slope[0], withRespectTo: [x])[0]
    #expect(curve.elements(as: Double.self) == [0, 0, 0])
  }

  @Test(
    "Integers and truth values are floats first", arguments: [DType.bool, .uint8, .int32, .int64])
  func integers(_ dtype: DType) {
    let values = dtype == .bool ? [[1, 0, 1], [0, 0, 0]] : [[3, 250, 249], [0, 7, 7]]
    let x = Tensor(NDArray(values).astype(dtype))
    let floats = x.cast(to: .float64)
    let labels = NDArray([2, 0])
    for axis in [0, 1] {
      let pairs = [
        (logSumExp(x, axis: axis), logSumExp(floats, axis: axis)),
        (softmax(x, axis: axis), softmax(floats, axis: axis)),
        (logSoftmax(x, axis: axis), logSoftmax(floats, axis: axis)),
      ]
      for (result, expected) in pairs {
        #expect(result.dtype == .float64)
        #expect(result.elements(as: Double.self) == expected.elements(as: Double.self))
      }
    }
    #expect(softmaxCrossEntropy(x, labels).item() == softmaxCrossEntropy(floats, labels).item())
  }

  @Test("Along any axis softmax and its logarithm are what they are along the last")
  func axes() {
    let values = (0..<24).map { sin(Double($0) * 1.7) }
    for axis in [0, 1, 2] {
      for form in [softmax, logSoftmax] as [(Tensor, Int) -> Tensor] {
        let x = Tensor(NDArray(values, shape: [2, 3, 4]))
        let turned = Tensor(NDArray(values, shape: [2, 3, 4]))
        var order = [0, 1, 2]
        order.swapAt(axis, 2)
        let y = form(x, axis)
        let expected = form(turned.transposed(order), -1).transposed(order)
        let weights = Tensor(NDArray(values.map { $0 * $0 }, shape: [2, 3, 4]), constant: true)
        (y * weights).backward()
        (expected * weights).backward()
        #expect(
          agree(y.elements(as: Double.self), expected.elements(as: Double.self), 1e-15))
        #expect(
          agree(x.grad!.elements(as: Double.self), turned.grad!.elements(as: Double.self), 1e-15))
      }
    }
  }

  @Test("The gradient of expm1 is e^x, however small")
  func expm1Slope() {
    let values = [-700.0, -40, -36.5, -1, -1e-9, 0, 1e-300, 3, 700]
    let x = Tensor(values)
    expm1(x).backward()
    for (slope, value) in zip(x.grad!.elements(as: Double.self), values) {
      let expected = Foundation.exp(value)
      #expect(abs(slope - expected) <= 4 * expected.ulp, "\(value)")
    }
    let single = Tensor(values.map { Float($0 / 10) })
    let read = expm1(single)
    read.eval()
    read.backward()
    for (slope, value) in zip(single.grad!.elements(as: Float.self), values) {
      let expected = Foundation.exp(Float(value / 10))
      #expect(abs(slope - expected) <= 4 * expected.ulp, "\(value)")
    }
  }
}
