// Tensors as indices, numbers assigned by subscript, and bounds that count from the end.

import LazyGrad
import Testing

@Suite struct IndexTensorTests {
  private let x = Tensor([[1.0, -2, 3], [-4, 5, 6]])

  @Test("Masks that are computed")
  func masks() {
    #expect(x[x .> 0].elements == [1, 3, 5, 6])
    #expect(x[x .> 100].shape == [0])
    #expect(x[1, x[1] .> 0].elements == [5, 6])
    #expect(x[.all, Tensor([true, false, true])].elements == [1, 3, -4, 6])
    #expect(x.transposed()[x.transposed() .< 0].elements == [-4, -2])
    #expect(Tensor(2.0)[Tensor(true)].elements == [2])
    #expect(Tensor.zeros([0])[Tensor.zeros([0]) .> 0].shape == [0])
  }

  @Test("Numbers that are computed, alone and beside other indices")
  func numbers() {
    let order = Tensor([1, 0]) * 1
    #expect(x[order].elements == [-4, 5, 6, 1, -2, 3])
    #expect(x[order, order].elements == [5, 1])
    #expect(x[.all, Tensor([-1])].elements == [3, 6])
    #expect(x[Tensor(1)].elements == [-4, 5, 6])
    #expect(x[Tensor([[0], [1]], dtype: .uint8), [0, 2]].elements == [1, 3, -4, 6])
    #expect(x[0, .newAxis, Tensor([2, 2])].shape == [2, 1])
    #expect(x[Tensor([Int]())].shape == [0, 3])
    #expect(x[[0, 1], x.argmax(axis: 1)].elements == [3, 6])
    #expect(NDArray([1.0, 2, 3])[Tensor([2, 0])].elements == [3, 1])
  }

  @Test("Gradients go to what was selected, and none to the index")
  func gradients() {
    let w = Tensor([1.0, -2, 3])
    let kept = w[w .> 0]
    (kept * kept).backward()
    #expect(w.gradient.elements == [2, 0, 6])
    let rows = w[Tensor([0, 0, 2])]
    rows.backward()
    #expect(w.gradient.elements == [2, 0, 1])
  }

  @Test("An index is read when it is used")
  func order() {
    let i = Tensor([0, 1])
    let taken = Tensor([10.0, 20, 30])[i]
    i[0] = 2
    #expect(taken.elements == [10, 20])
    #expect(Tensor([10.0, 20, 30])[i].elements == [30, 20])
  }

  @Test("What is no index, and what is out of range")
  func errors() {
    #expect(
      message { _ = x[Tensor([0.0, 1])] }
        == "subscript: expected an index array of integers or bools, got float64")
    #expect(message { _ = x[Tensor([0, 2])] }.contains("out of range for axis 0 with length 2"))
    #expect(
      message { _ = x[Tensor([true, false, true])] }.contains("expected a mask of shape [2]"))
    #expect(message { _ = x[Tensor([1.0]).reshaped([7]) .> 0] }.hasPrefix("reshaped: "))
    #expect(message { x[Tensor([0, 2])] = Tensor(1.0) }.contains("out of range"))
    #expect(x.elements == [1, -2, 3, -4, 5, 6])
  }

  // MARK: Numbers by subscript

  @Test("Numbers are assigned to parts of tensors")
  func assigned() {
    let x = Tensor([[1.0, -2, 3], [-4, 5, 6]])
    let (half, four) = (0.5, 4)
    x[x .< 0] = 0
    x[0, 1] = half
    x[1] += 1.0
    x[-1, -1] = four
    x[0, 0] = Float(9)
    #expect(x.elements == [9, 0.5, 3, 1, 6, 4])
    x[.ellipsis] = 2
    x[.all, Tensor([0, 0, 2])] = 7
    #expect(x.elements == [7, 2, 7, 7, 2, 7])
    let scalar = Tensor(1.0)
    scalar[.ellipsis] = 3
    #expect(scalar.item() == 3)
    let none = Tensor.zeros([0])
    none[.all] = 1
    #expect(none.shape == [0])
    let single = Tensor([Float(1), 2])
    single[0] = 0.1
    #expect(single.dtype == .float32 && single[0].item(as: Float.self) == 0.1)
  }

  @Test("Numbers are converted as NumPy does, or refused")
  func conversions() {
    let bytes = Tensor([1, 2, 3], dtype: .uint8)
    bytes[0] = 200
    bytes[1] = 7.9
    bytes[2] = true
    #expect(bytes.elements == [200, 7, 1])
    #expect(
      message { bytes[0] = 256 }
        == "subscript: expected a number from 0 to 255, as uint8 is, got 256")
    #expect(message { bytes[3] = 1 }.contains("out of range"))
    #expect(bytes.elements == [200, 7, 1])
    let flags = Tensor([false, true])
    flags[0] = 3
    flags[1] = 0
    #expect(flags.elements == [1, 0])
    let wide = Tensor([0])
    wide[0] = Int.max
    #expect(wide.item(as: Int.self) == .max)
  }

  @Test("The gradient of what a number has replaced is zero")
  func replaced() {
    let w = Tensor([1.0, 2, 3])
    let y = w * 2
    y[1] = 100
    #expect(y.elements == [2, 100, 6])
    y.backward()
    #expect(w.gradient.elements == [2, 0, 2])
  }

  @Test("Numbers are assigned to parts of arrays")
  func arrays() {
    let n = NDArray([[1.0, 2], [3, 4]])
    n[0] = 3.0
    n[1, 0] = 7
    n[n[.all, 1].astype(.bool), 1] = -1
    #expect(n.elements == [3, -1, 7, -1])
    let bytes = NDArray([UInt8(1), 2])
    #expect(
      message { bytes[0] = -1 } == "subscript: expected a number from 0 to 255, as uint8 is, got -1"
    )
    #expect(message { bytes[2] = 1 }.contains("out of range"))
    bytes[0] = 2.9
    #expect(bytes.elements == [2, 2])
  }

  // MARK: Bounds that count from the end

  @Test("Negative bounds need no parentheses")
  func negativeBounds() {
    let x = Tensor.arange(6)
    let two = 2
    #expect(x[-2...].elements == [4, 5])
    #expect(x[-two...].elements == [4, 5])
    #expect(x[..<-1].elements == [0, 1, 2, 3, 4])
    #expect(x[...-2].elements == [0, 1, 2, 3, 4])
    #expect(x[1 ..<- 1].elements == [1, 2, 3, 4])
    #expect(x[1 ...- 1].elements == [1, 2, 3, 4, 5])
    #expect(x[-3 ..<- 1].elements == [3, 4])
    #expect(x[-3 ...- 1].elements == [3, 4, 5])
    #expect(x[-100...].count == 6 && x[..<-100].count == 0 && x[4 ..<- 4].count == 0)
    #expect(x[...-1].count == 6 && x[..<-Int.max].count == 0)
    #expect(x.reshaped(2, 3)[-1, -2...].elements == [4, 5])
    #expect(NDArray.arange(6)[1 ..<- 2].elements == [1, 2, 3])
    #expect(x[0..<6].count == 6 && x[2...].count == 4)
  }
}
