// softplus: accuracy, the ends of the number line, derivatives, types.

import Foundation
import LazyGrad
import Testing

@Suite("softplus")
struct SoftplusTests {
  private static let points: [Double] = [
    -740, -100, -40, -5, -1.5, -1e-9, 0, 1e-9, 0.25, 1.5, 5, 40, 100, 740, 1e300,
  ]

  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  #if arch(x86_64) && !os(Windows)
    @Test("Values are off by less than documented", arguments: [DType.float64, .float32])
    func accuracy(_ dtype: DType) {
      var points: [Double] = []
      for k in -6000...6000 { points.append(Double(k) / 60 + Double(k * k % 97) / 9700) }
      let x = Tensor(NDArray(points, shape: [points.count], dtype: dtype))
      let y = values(softplus(x))
      var worst = 0.0
      for (x, y) in zip(values(x), y) {
        let exact = Foundation.log1p(Foundation.exp(Float80(x)))
        let unit = dtype == .float64 ? Double(exact).ulp : Double(Float(exact).ulp)
        worst = Swift.max(worst, Double(Swift.abs(Float80(y) - exact)) / unit)
      }
      #expect(worst <= 2.5, "\(dtype)")
    }
  #endif

  @Test("Neither end overflows")
  func ends() {
    let x = Tensor([-Double.infinity, -800, 800, 1e300, .infinity, .nan])
    let y = softplus(x)
    y.backward()
    #expect(values(y).dropLast() == [0, 0, 800, 1e300, .infinity])
    #expect(values(x.grad!).dropLast() == [0, 0, 1, 1, 1])
    #expect(values(y).last!.isNaN && values(x.grad!).last!.isNaN)
  }

  @Test("The derivatives are those of sigmoid")
  func derivatives() {
    let x = Tensor(Self.points)
    let first = gradients(of: softplus(x), withRespectTo: [x], createGraph: true)[0]
    let second = gradients(of: first, withRespectTo: [x])[0]
    for (k, point) in Self.points.enumerated() {
      let e = Foundation.exp(-Swift.abs(point))
      let slope = point > 0 ? 1 / (1 + e) : e / (1 + e)
      #expect(Swift.abs(values(first)[k] - slope) <= 4 * slope.ulp, "\(point)")
      // Its relative error is that of e^-y, which grows with y.
      let bend = e / (1 + e) / (1 + e)
      let tolerance = 8 * bend.ulp * Swift.max(1, point)
      #expect(Swift.abs(values(second)[k] - bend) <= tolerance, "\(point)")
    }
  }

  @Test("Types are those of floating functions")
  func types() {
    let log2 = Foundation.log(2.0)
    for dtype in [DType.int64, .int32, .uint8, .bool] {
      let y = softplus(Tensor.zeros([2], dtype: dtype))
      #expect(y.dtype == .float64 && y.isConstant && values(y) == [log2, log2])
    }
    let x = Tensor([Float(0), 2])
    let y = softplus(x)
    y.backward()
    #expect(y.dtype == .float32 && x.grad!.dtype == .float32)
    #expect(x.grad!.elements(as: Float.self)[0] == 0.5)
    #expect(softplus(Tensor.zeros([0, 3])).shape == [0, 3])
    #expect(softplus(Tensor(0.0)).item() == log2)
  }
}
