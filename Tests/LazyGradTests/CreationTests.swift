// Ways to make tensors, the one default type of all of them, and short forms that people type.

import LazyGrad
import Testing

@Suite struct CreationTests {
  @Test("Without a type it is float64, everywhere")
  func defaults() {
    let tensors = [
      Tensor.zeros([2]), .ones([2]), .eye(2), .linspace(0, 1), .arange(2.0), .full([2], 1.0),
      Tensor([1.0]), Tensor(1.0), Tensor([1.0], shape: [1]),
    ]
    #expect(tensors.allSatisfy { $0.dtype == .float64 && !$0.isConstant })
    let arrays = [
      NDArray.zeros([2]), .ones([2]), .eye(2), .linspace(0, 1), .arange(2.0), .full([2], 1.0),
      NDArray([1.0]), NDArray(1.0), NDArray([1.0], shape: [1]),
    ]
    #expect(arrays.allSatisfy { $0.dtype == .float64 })
    // A bias of zeros leaves a model of doubles what it is, and numbers leave one of floats.
    #expect((Tensor([1.0, 2]) + Tensor.zeros([2])).dtype == .float64)
    #expect((Tensor.zeros([2], dtype: .float32) + 1.5).dtype == .float32)
    #expect(Tensor.arange(3).dtype == .int64 && Tensor.full([1], 2).dtype == .int64)
  }

  @Test("Elements and a shape")
  func shaped() {
    let x = Tensor([1.0, 2, 3, 4], shape: [2, 2])
    #expect(x.shape == [2, 2] && x[1, 0].item() == 3 && !x.isConstant)
    #expect(Tensor([1, 2], shape: [2, 1], dtype: .float32).dtype == .float32)
    #expect(Tensor([1.0], shape: [], constant: true).isConstant)
    #expect(Tensor([Double](), shape: [0, 3]).shape == [0, 3])
    #expect(
      message { _ = Tensor([1.0, 2, 3], shape: [2, 2]) }
        == "NDArray: expected 4 elements for shape [2, 2], got 3")
    #expect(message { _ = Tensor([300], shape: [1], dtype: .uint8) }.contains("from 0 to 255"))
    #expect(message { _ = Tensor([1], shape: [1], constant: false) }.contains("are constants"))
  }

  @Test("Ranges, spaces and diagonals are those of arrays")
  func ranges() {
    #expect(Tensor.arange(0.0, 1, 0.25).elements == [0, 0.25, 0.5, 0.75])
    #expect(Tensor.arange(5, 0, -2).elements == [5, 3, 1])
    #expect(Tensor.arange(2.0, 4).elements == [2, 3])
    #expect(Tensor.arange(3, dtype: .float32, constant: true).isConstant)
    #expect(!Tensor.arange(3, dtype: .float32).isConstant && Tensor.arange(0).shape == [0])
    #expect(Tensor.linspace(0, 1, count: 3).elements == [0, 0.5, 1])
    #expect(Tensor.linspace(0, 1, count: 2, endpoint: false, dtype: .float32).elements == [0, 0.5])
    #expect(Tensor.eye(2, 3, diagonal: 1).elements == [0, 1, 0, 0, 0, 1])
    #expect(Tensor.eye(2, dtype: .int64).isConstant && Tensor.eye(0).shape == [0, 0])
    #expect(message { _ = Tensor.arange(0, 1, 0) } == "arange: expected a step other than 0")
    #expect(message { _ = Tensor.eye(-1) }.hasPrefix("eye: "))
    #expect(message { _ = Tensor.linspace(0, 1, count: -1) }.hasPrefix("linspace: "))
  }

  @Test("A snapshot, copied")
  func snapshot() throws {
    let snapshot = Tensor([[1.0, 2], [3, 4]]).snapshot
    let x = try Tensor(snapshot)
    x *= 2
    #expect(x.elements == [2, 4, 6, 8] && !x.isConstant)
    #expect(try Tensor(snapshot, constant: true).isConstant)
    #expect(try Tensor(snapshot).elements == [1, 2, 3, 4])
    #expect(try Tensor(Tensor([1]).snapshot).isConstant)
  }

  // MARK: Short forms

  @Test("Lengths, axes and tensors one after the other")
  func variadic() {
    let x = Tensor.arange(6.0)
    #expect(x.reshaped(2, 3).shape == [2, 3] && x.reshaped(-1).shape == [6])
    #expect(x.reshaped(1, 2, 3).transposed(2, 0, 1).shape == [3, 1, 2])
    #expect(x.reshaped(2, 3).T.elements == [0, 3, 1, 4, 2, 5])
    #expect(x.reshaped(1, 2, 3).T.shape == [3, 2, 1] && Tensor(1.0).T.shape == [])
    let n = NDArray.arange(6)
    #expect(
      n.reshaped(2, 3).T.shape == [3, 2] && n.reshaped(3, -1).transposed(1, 0).shape == [2, 3])
    let (a, b) = (Tensor([1.0, 2]), Tensor([3.0, 4]))
    #expect(stack(a, b).elements == [1, 2, 3, 4] && stack(a, b, axis: 1).elements == [1, 3, 2, 4])
    #expect(stack(a).shape == [1, 2] && concatenate(a).shape == [2])
    #expect(concatenate(a, b, a).shape == [6])
    #expect(concatenate(stack(a, b), stack(b, a), axis: 1).shape == [2, 4])
    #expect(
      message { _ = x.reshaped(4, 4) } == "reshaped: 6 elements of shape [6] don't fit [4, 4]")
    #expect(message { _ = stack(a, x) } == "stack: shapes differ: [2] and [6]")
  }

  @Test("Axes as a list")
  func axes() {
    let x = Tensor.arange(24.0).reshaped(2, 3, 4)
    #expect(x.sum(axis: [0, 2]).elements == x.sum(axes: [0, 2]).elements)
    #expect(x.mean(axis: [0, 1], keepDims: true).shape == [1, 1, 4])
    #expect(
      x.max(axis: [1, 2]).elements == [11, 23] && x.min(axis: [-1, -2]).elements == [0, 12])
    #expect((x * 0 + 1).prod(axis: [0, 1, 2]).item() == 1)
    #expect((x .> 5).any(axis: [0, 2]).elements == [1, 1, 1])
    #expect((x .> 5).all(axis: [0, 1]).elements == [0, 0, 0, 0])
    #expect(x.sum(axis: []).shape == [2, 3, 4] && x.sum(axis: nil).shape == [])
    #expect(
      message { _ = x.sum(axis: [0, 3]) } == "sum: axis 3 is out of range for shape [2, 3, 4]")
  }

  @Test("Swift numbers from tensors, and elements without a type")
  func numbers() {
    let x = Tensor([1.5, 2])
    #expect(Double(x.sum()) + 1 == 4.5 && Float(x[0]) == 1.5 && Int(x.sum()) == 3)
    #expect(Double(NDArray(2.5)) == 2.5 && Int(NDArray([[7]])) == 7 && Float(NDArray(1)) == 1)
    #expect(Bool((x .> 1).all()) && !Bool((x .> 2).any()) && Bool(Tensor(0.5)))
    #expect(Bool(NDArray([true])) && !Bool(NDArray(0.0)) && Bool(NDArray(Double.nan)))
    #expect(x.elements == [1.5, 2] && Tensor([true]).elements == [1])
    #expect(Tensor.zeros([0, 2]).elements == [] && NDArray([1, 2]).elements == [1, 2])
    #expect(x.cast(to: Float.self).dtype == .float32 && x.cast(to: Int.self).elements == [1, 2])
    #expect(NDArray([1.5]).astype(Int32.self).dtype == .int32)
    #expect(message { _ = Double(x) } == "item: expected exactly one element, got shape [2]")
    let y = x.cast(to: Float.self)
    (y * y).backward()
    #expect(x.gradient.elements == [3, 4] && x.gradient.dtype == .float64)
  }

  @Test("Closeness is NumPy's")
  func closeness() {
    let x = Tensor([1.0, 2, .infinity, -.infinity, .nan, 0])
    let y = Tensor([1.0 + 1e-6, 2.1, .infinity, .infinity, .nan, 1e-9])
    #expect(x.isClose(to: y).elements == [1, 0, 1, 0, 0, 1])
    #expect(x.isClose(to: y, equalNaN: true).elements == [1, 0, 1, 0, 1, 1])
    #expect(!x.allClose(to: y) && x[..<2].allClose(to: y[..<2], relative: 0.1))
    #expect(!Tensor([1.0]).allClose(to: Double.infinity))
    #expect(Tensor([1.0, 1]).allClose(to: 1) && Tensor.zeros([0]).allClose(to: 5.0))
    #expect(Tensor([UInt8(1), 255]).isClose(to: Tensor([UInt8(255), 255])).elements == [0, 1])
    #expect(
      Tensor([Float(0.1)]).allClose(to: 0.1) && Tensor([1, 2]).allClose(to: Tensor([1.0, 2])))
    #expect(Tensor([[1.0], [2]]).isClose(to: Tensor([1.0, 2])).elements == [1, 0, 0, 1])
    #expect(Tensor([1.0]).isClose(to: 1).dtype == .bool)
    #expect(Tensor([1.0, 2]).allClose(to: NDArray([1.0, 2])))
    #expect(
      message { _ = x.isClose(to: Tensor([1.0, 2])) }
        == "isClose: expected shapes that broadcast together, got [6] and [2]")
    // Comparing is no use: the gradient stays.
    let w = Tensor([3.0])
    (w * w).backward()
    #expect(w.allClose(to: 3) && w.gradient.item() == 6)
  }
}
