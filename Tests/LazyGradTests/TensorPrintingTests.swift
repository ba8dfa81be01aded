// How tensors print, and that looking at one runs nothing; snapshots of tensors.

import LazyGrad
import Testing

@Suite("Printing and snapshots of tensors")
struct TensorPrintingTests {
  @Test("The description shows values")
  func description() {
    #expect("\(Tensor([1.0, 2.5]))" == "Tensor([1. , 2.5])")
    #expect("\(Tensor([[1, 2], [3, 4]]))" == "Tensor([[1, 2],\n        [3, 4]])")
    #expect("\(Tensor(3.0) * 2)" == "Tensor(6.)")
    let turned = Tensor([1.0, 2, 3, 4]).reshaped([2, 2]).transposed()
    #expect("\(turned)" == "Tensor([[1., 3.],\n        [2., 4.]])")
    #expect("\(Tensor([Float(1)]))" == "Tensor([1.], dtype=float32)")
    #expect("\(Tensor([true]) .== Tensor([true]))" == "Tensor([ True])")
  }

  @Test("Optionals and lists show values")
  func printed() {
    let x = Tensor([1.0, 2])
    #expect("\([x, x * 2])" == "[Tensor([1., 2.]), Tensor([2., 4.])]")
    (x * x).backward()
    let gradient: Tensor? = x.grad
    #expect("\(gradient as Any)" == "Optional(Tensor([2., 4.]))")
    #expect("\(["w": x])" == "[\"w\": Tensor([1., 2.])]")
    #expect("\([NDArray([1.0]), NDArray(2)])" == "[array([1.]), array(2)]")
    #expect("\([Tensor]())" == "[]" && "\([Tensor.zeros([0])])" == "[Tensor([], dtype=float64)]")
  }

  @Test("debugDescription, mirrors, shape and type run nothing")
  func lazy() {
    let x = Tensor([1.0, 2])
    let y = x * 3 + 1
    let before = y.debugDescription
    #expect(before == "Tensor(shape: [2], dtype: float64, variable, recorded)")
    #expect(Mirror(reflecting: y).children.map(\.label) == ["shape", "dtype", "isConstant"])
    _ = (y.shape, y.rank, y.count, y.dtype, y.isConstant, y.base, y.grad)
    #expect(y.explain().kernels.flatMap(\.operations).contains("multiply"))
    #expect(y.debugDescription == before)
    y.eval()
    #expect(y.debugDescription == "Tensor(shape: [2], dtype: float64, variable, evaluated)")
    #expect(
      Tensor([1], constant: true).debugDescription
        == "Tensor(shape: [1], dtype: int64, constant, evaluated)")
  }

  @Test("Snapshots are values")
  func snapshots() async throws {
    let x = Tensor([[1.0, 2], [3, 4]])
    let snapshot = (x * 2).snapshot
    x *= 100
    #expect(snapshot.shape == [2, 2] && snapshot.dtype == .float64)
    let back = try await Task.detached { try Tensor(NDArray(snapshot)).sum().item() }.value
    #expect(back == 20)
    #expect(Tensor([[2.0, 4], [6, 8]]).snapshot == snapshot)
    #expect(x.transposed().snapshot == Tensor([[100.0, 300], [200, 400]]).snapshot)
  }

  @Test("Reading in other types")
  func reading() {
    #expect(Tensor([2.75]).item(as: Int.self) == 2)
    #expect(Tensor([[7]]).item(as: Float.self) == 7)
    #expect((Tensor([1.5, -2.5]) * 2).elements(as: Int32.self) == [3, -5])
    #expect(Tensor([0.0, 2]).elements(as: Bool.self) == [false, true])
    #expect(Tensor([1, 2, 3])[.slice(step: -1)].array.elements(as: Int.self) == [3, 2, 1])
    #expect(Tensor.arange(3).elements(as: Int.self) == [0, 1, 2])
    #expect(Tensor.zeros([0, 3]).elements(as: Double.self) == [])
  }
}
