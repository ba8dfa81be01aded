// Elements in another order, running sums, sorting: values against NumPy 2.4, views, exactness.

import Foundation
import LazyGrad
import Testing

@Suite("Arranging, scans and sorting")
struct ArrangingTests {
  private let x = Tensor([[1.0, 2, 3], [4, 5, 6]])

  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  @Test("Axes at other places are views")
  func axes() {
    let t = Tensor.zeros([2, 3, 4, 5])
    #expect(t.swappedAxes(0, -1).shape == [5, 3, 4, 2])
    #expect(t.movedAxis(from: 0, to: -1).shape == [3, 4, 5, 2])
    #expect(t.movedAxes(from: [0, 1], to: [-1, -2]).shape == [4, 5, 3, 2])
    #expect(t.expandedDims(at: [0, -1]).shape == [1, 2, 3, 4, 5, 1])
    #expect(t.expandedDims(at: [0, -1]).squeezed(axes: [-1, 0]).shape == [2, 3, 4, 5])
    #expect(x.swappedAxes(0, 1).base === x && x.flipped().base === x)
    #expect(values(x.flipped()) == [6, 5, 4, 3, 2, 1])
    #expect(values(x.flipped(axis: 1)) == [3, 2, 1, 6, 5, 4])
    #expect(values(x.flipped(axis: 0).flipped(axis: -1)) == [6, 5, 4, 3, 2, 1])
    let y = +x
    let view = y.flipped(axis: 0)
    view[0] += 10
    #expect(values(y) == [1, 2, 3, 14, 15, 16])
    #expect(atLeast1D(Tensor(2.0)).shape == [1] && atLeast1D(x) === x)
    #expect(atLeast2D(x[0]).shape == [1, 3] && atLeast3D(x[0]).shape == [1, 3, 1])
    #expect(atLeast3D(x).shape == [2, 3, 1])
  }

  @Test("Shifted, repeated, surrounded")
  func copies() {
    #expect(values(x.rolled(by: 1)) == [6, 1, 2, 3, 4, 5])
    #expect(values(x.rolled(by: -4, axis: 1)) == [2, 3, 1, 5, 6, 4])
    #expect(values(x.rolled(by: [1, 1], axes: [0, 1])) == [6, 4, 5, 3, 1, 2])
    #expect(x.rolled(by: 0).base == nil)
    #expect(values(x.repeated(2)) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    #expect(values(x.repeated([2, 0, 1], axis: 1)) == [1, 1, 3, 4, 4, 6])
    #expect(x.repeated(0, axis: 0).shape == [0, 3])
    let tiled = x.tiled([2, 1, 2])
    #expect(tiled.shape == [2, 2, 6] && values(tiled[1, 0]) == [1, 2, 3, 1, 2, 3])
    #expect(x.tiled([2]).shape == [2, 6])
    let padded = x.padded([(1, 0), (0, 2)], with: 9)
    #expect(padded.shape == [3, 5] && values(padded[0]) == [9, 9, 9, 9, 9])
    #expect(values(padded[1]) == [1, 2, 3, 9, 9])
    let row = Tensor([1.0, 2, 3])
    #expect(values(row.padded([(2, 2)], mode: .edge)) == [1, 1, 1, 2, 3, 3, 3])
    #expect(values(row.padded([(4, 3)], mode: .reflect)) == [1, 2, 3, 2, 1, 2, 3, 2, 1, 2])
    #expect(values(row.padded([(2, 4)], mode: .symmetric)) == [2, 1, 1, 2, 3, 3, 2, 1, 1])
    #expect(values(row.padded([(2, 4)], mode: .wrap)) == [2, 3, 1, 2, 3, 1, 2, 3, 1])
    #expect(Tensor(NDArray([1, 2])).padded([(1, 1)]).dtype == .int64)
  }

  @Test("Windows show elements several times")
  func windows() {
    let x = Tensor(NDArray((0..<20).map(Double.init), shape: [4, 5]))
    let windows = x.slidingWindows([2, 2], step: [2, 3])
    #expect(windows.shape == [2, 2, 2, 2] && windows.base === x)
    #expect(values(windows[1, 1]) == [13, 14, 18, 19])
    #expect(values(x.slidingWindows([3], dilation: [2])[0, 1]) == [5, 7, 9])
    let y = +x
    let message = { (body: () -> Void) -> String in
      do {
        try catchingTensorErrors { body() }
        return "none"
      } catch { return "\(error)" }
    }
    #expect(message { y.slidingWindows([2]) += 1 }.contains("windows that overlap"))
    #expect(message { y.slidingWindows([5], step: [5]) += 1 } == "none")
    #expect(message { _ = y.slidingWindows([6]) }.contains("don't fit"))
    #expect(message { _ = y.slidingWindows([0]) }.contains("positive"))
  }

  @Test("Parts are views")
  func parts() {
    let parts = split(x, 3, axis: 1)
    #expect(parts.count == 3 && parts[1].shape == [2, 1] && parts[1].base === x)
    #expect(values(parts[2]) == [3, 6])
    let row = Tensor([1.0, 2, 3, 4, 5])
    let uneven = split(row, at: [1, 4, 3, 9])
    #expect(uneven.map { values($0) } == [[1], [2, 3, 4], [], [4, 5], []])
  }

  @Test("Elements by number, and sorting")
  func sorting() {
    #expect(values(x.take(NDArray([2, -3]), axis: 1)) == [3, 1, 6, 4])
    #expect(x.take(NDArray([[0], [1]]), axis: 1).shape == [2, 2, 1])
    #expect(values(x.take(NDArray([5, 0]))) == [6, 1])
    let t = Tensor([[3.0, Double.nan, 1, 3], [-1, 5, -Double.infinity, 0]])
    #expect(t.argsort().elements(as: Int.self) == [2, 0, 3, 1, 2, 0, 3, 1])
    #expect(t.argsort(descending: true).elements(as: Int.self) == [0, 3, 2, 1, 1, 3, 0, 2])
    #expect(values(t.sorted()).prefix(3) == [1, 3, 3] && values(t.sorted())[3].isNaN)
    #expect(t.argsort(axis: 0).elements(as: Int.self) == [1, 1, 1, 1, 0, 0, 0, 0])
    let long = Tensor((0..<1000).map { Double(($0 * 7919) % 1000) })
    #expect(values(long.sorted()) == (0..<1000).map(Double.init))
    let integers = Tensor([Int.max, Int.max - 1, 0])
    #expect(integers.argsort().elements(as: Int.self) == [2, 1, 0])
    #expect(values(x.takeAlong(NDArray([[2], [0]]))) == [3, 4])
    #expect(values(x.takeAlong(NDArray([[1, 0, 1]]), axis: 0)) == [4, 2, 6])
    #expect(values(Tensor([0.0, -1, -0.0]).sorted()).map(\.sign) == [.minus, .plus, .minus])
    #expect(Tensor.zeros([2, 0, 3]).sorted(axis: 0).argsort(axis: 1).shape == [2, 0, 3])
    #expect(Tensor(5.0).rank == 0 && Tensor([2.0, 1]).sorted().base == nil)
  }

  @Test("Running sums and products")
  func scans() {
    #expect(values(x.cumsum()) == [1, 3, 6, 10, 15, 21])
    #expect(values(x.cumsum(axis: 0)) == [1, 2, 3, 5, 7, 9])
    #expect(values(x.cumprod(axis: 1)) == [1, 2, 6, 4, 20, 120])
    let flags = Tensor([true, true, false, true])
    #expect(
      flags.cumsum().dtype == .int64 && flags.cumsum().elements(as: Int.self) == [1, 2, 2, 3])
    #expect(Tensor([Int.max, 1]).cumsum().elements(as: Int.self) == [.max, .min])
    let special = values(Tensor([1, .infinity, 2, -Double.infinity, 1]).cumsum())
    #expect(special[..<3] == [1, .infinity, .infinity] && special[3].isNaN && special[4].isNaN)
    let wide = Tensor(NDArray((0..<60).map(Double.init), shape: [3, 4, 5]))
    let along = wide.cumsum(axis: 1)
    for k in 0..<4 {
      #expect(values(along[2, k]) == values(wide[2, 0...k].sum(axis: 0)))
    }
  }

  @Test("Sums of any length are rounded once or so", arguments: [DType.float64, .float32])
  func exactness(_ dtype: DType) {
    let n = 100_000
    let x = Tensor(NDArray((0..<n).map { 0.1 + Double($0 % 7) }, shape: [n], dtype: dtype))
    let sums = values(x.cumsum())
    // Whole numbers of the smallest unit: exact in 128 bits.
    let unit = dtype == .float64 ? 0x1p-56 : 0x1p-27
    var exact: Int128 = 0
    for (k, element) in values(x).enumerated() {
      exact += Int128(element / unit)
      let wanted = Double(exact) * unit
      let ulp = dtype == .float64 ? wanted.ulp : Double(Float(wanted).ulp)
      if Swift.abs(sums[k] - wanted) > ulp {
        Issue.record("\(dtype): sum of \(k + 1) elements: \(sums[k]), expected \(wanted)")
        return
      }
    }
  }

  @Test("The gradient of a running product does not divide")
  func productOfZeros() {
    let x = Tensor([2.0, 0, 3, 0, 5])
    x.cumprod().sum().backward()
    #expect(values(x.grad!) == [1, 8, 0, 0, 0])
  }
}
