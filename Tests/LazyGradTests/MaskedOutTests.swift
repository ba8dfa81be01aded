// Operations that store their result where a mask holds only.

import LazyGrad
import Testing

@Suite("Results stored under a mask")
struct MaskedOutTests {
  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  @Test("The rest stays as it is, and no gradient goes through it")
  func masked() {
    let x = Tensor([4.0, 0, -1, 9])
    let target = Tensor([10.0, 20, 30, 40])
    let mask = Tensor([true, false, false, true])
    let y = sqrt(x, where: mask, out: +target)
    #expect(values(y) == [2, 20, 30, 3])
    (y * Tensor([1.0, 2, 3, 4])).sum().backward()
    // Infinite at 0, and no number at -1.
    #expect(values(x.gradient) == [0.25, 0, 0, 4.0 / 6])
    #expect(values(target.gradient) == [0, 2, 3, 0])
  }

  @Test("Into a host array")
  func array() throws {
    let x = Tensor([1.0, 2, 3])
    let buffer = NDArray([7.0, 8, 9])
    let y = multiply(x, x, where: Tensor([false, true, true]), out: buffer)
    #expect(buffer.elements(as: Double.self) == [7, 4, 9])
    y.sum().backward()
    #expect(values(x.gradient) == [0, 4, 6])
  }

  @Test("Masks broadcast, and operands may be the target")
  func broadcast() {
    let x = Tensor([[1.0, 2], [3, 4]], constant: true)
    negative(x, where: Tensor([true, false]), out: x)
    #expect(values(x) == [-1, 2, -3, 4])
    add(x, Tensor(1.0, constant: true), where: Tensor(false), out: x)
    #expect(values(x) == [-1, 2, -3, 4])
    let empty = Tensor.zeros([0, 2], constant: true)
    #expect(exp(empty, where: Tensor([true, false]), out: empty).shape == [0, 2])
  }

  @Test("Masks that are not of bools, or too large, are refused, and nothing changes")
  func refused() {
    let x = Tensor([1.0, 2])
    for mask in [
      Tensor([1, 0]), Tensor([[true, false], [false, true]]), Tensor([true, false, true]),
    ] {
      let target = Tensor([5.0, 6])
      let error = #expect(throws: TensorError.self) {
        try catchingTensorErrors { exp(x, where: mask, out: target) }
      }
      #expect(error?.operation == "exp" || error?.operation == "where")
      #expect(values(target) == [5, 6])
    }
  }
}
