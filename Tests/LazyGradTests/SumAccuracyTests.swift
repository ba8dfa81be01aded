// Errors of what users sum, through the public interface: sums, means, variances, losses, products and
// their gradients over many rows. The kernels themselves are judged in SummationTests.

import Foundation
import LazyGrad
import Testing

@Suite struct SumAccuracyTests {
  private static let u64 = 0x1p-53
  private static let u32 = 0x1p-24

  /// The relative error in units of half a last place.
  private func error(_ x: Double, _ exact: Double, _ u: Double) -> Double {
    abs(x - exact) / abs(exact) / u
  }

  private func tenths(_ shape: [Int], _ dtype: DType) -> Tensor {
    Tensor.full(shape, 0.1, dtype: dtype, constant: true) + Tensor.zeros(shape, dtype: dtype)
  }

  @Test func sumsAndMeansOfTenths() {
    let n = 25_000_000
    // 0.1 as a double is that much too large.
    let tenth = 0.1
    let exact = Double(n) * tenth
    #expect(error(tenths([n], .float64).sum().item(), exact, Self.u64) <= 4)
    #expect(error(tenths([n], .float64).mean().item(), tenth, Self.u64) <= 4)
    let single = Double(Float(0.1))
    let down = tenths([n, 2], .float32).sum(axis: 0).elements(as: Double.self)
    for sum in down { #expect(error(sum, Double(n) * single, Self.u32) <= 64) }
    let along = tenths([2, n], .float32).mean(axis: 1).elements(as: Double.self)
    for mean in along { #expect(error(mean, single, Self.u32) <= 4) }
  }

  @Test func variances() {
    for n in [1000, 1_000_000, 10_000_000] {
      // Of 1...n, exactly.
      let exact = (Double(n) * Double(n) - 1) / 12
      let x = Tensor.arange(1, n + 1).cast(to: .float64)
      #expect(error(x.var().item(), exact, Self.u64) <= 8, "[\(n)]")
      let column = x.reshaped([n, 1]).var(axis: 0).item()
      #expect(error(column, exact, Self.u64) <= 64, "[\(n), 1]")
      let row = x.reshaped([1, n]).var(axis: 1).item()
      #expect(error(row, exact, Self.u64) <= 8, "[1, \(n)]")
    }
  }

  @Test func lossesOverManyRows() {
    let n = 3_000_000
    let labels = NDArray.zeros([n], dtype: .int64)
    let logits = Tensor.zeros([n, 2], dtype: .float32)
    let loss = softmaxCrossEntropy(logits, labels).item(as: Double.self)
    #expect(error(loss, log(2.0), Self.u32) <= 8)
  }

  /// Dot products, and the gradients of `x @ w` over many rows: sums over the rows.
  @Test func productsAndTheirGradients() {
    for (dtype, u, tenth) in [
      (DType.float32, Self.u32, Double(Float(0.1))), (.float64, Self.u64, 0.1),
    ] {
      for n in [1000, 100_000, 5_000_000] {
        let x = tenths([n, 2], dtype)
        let dot = matmul(tenths([1, n], dtype), tenths([n, 1], dtype)).item(as: Double.self)
        #expect(error(dot, Double(n) * tenth * tenth, u) <= 128, "dot \(dtype) \(n)")
        let w = Tensor.full([2, 3], 1.0, dtype: dtype)
        let b = Tensor.zeros([3], dtype: dtype)
        (matmul(x, w) + b).sum().backward()
        for g in w.grad!.elements(as: Double.self) {
          #expect(error(g, Double(n) * tenth, u) <= 128, "w \(dtype) \(n)")
        }
        for g in b.grad!.elements(as: Double.self) { #expect(g == Double(n)) }
      }
    }
  }
}
