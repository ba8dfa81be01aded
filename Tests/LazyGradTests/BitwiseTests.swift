// Operations on bits, and the gamma function's logarithm, as a user calls them.

import LazyGrad
import Testing

@Suite struct BitwiseTests {
  private let x = Tensor([0b1100, -1, 7])
  private let y = Tensor([0b1010, 5, 0])

  private func values(_ x: Tensor) -> [Int] { x.elements(as: Int.self) }

  @Test func bitsOfIntegers() {
    #expect(values(bitwiseAnd(x, y)) == [0b1000, 5, 0] && values(x .& y) == [0b1000, 5, 0])
    #expect(values(bitwiseOr(x, y)) == [0b1110, -1, 7] && values(x .| y) == [0b1110, -1, 7])
    #expect(values(bitwiseXor(x, y)) == [0b0110, -6, 7] && values(x .^ y) == [0b0110, -6, 7])
    #expect(values(bitwiseNot(x)) == [-13, 0, -8])
    #expect(values(bitwiseAnd(x, 4)) == [4, 4, 4])
    let bytes = Tensor([200, 1], dtype: .uint8)
    #expect(bitwiseNot(bytes).dtype == .uint8 && values(bitwiseNot(bytes)) == [55, 254])
    #expect(values(leftShift(bytes, 1)) == [144, 2] && values(rightShift(bytes, 3)) == [25, 0])
    #expect(bitwiseXor(bytes, Tensor([1], dtype: .int32)).dtype == .int32)
    #expect(values(leftShift(x, Tensor([2, 63, 64]))) == [48, .min, 0])
    #expect(values(rightShift(x, Tensor([2, 100, -1]))) == [3, -1, 0])
    #expect(bitwiseAnd(x, y).isConstant && Tensor.zeros([0, 3], dtype: .int64).shape == [0, 3])
  }

  @Test func truths() {
    let p = Tensor([true, true, false])
    let q = Tensor([true, false, false])
    #expect((p .^ q).elements(as: Bool.self) == [false, true, false])
    #expect(bitwiseAnd(p, q).elements(as: Bool.self) == [true, false, false])
    #expect(bitwiseNot(p).elements(as: Bool.self) == [false, false, true])
    #expect(bitwiseOr(p, Tensor([1, 2, 4])).elements(as: Int.self) == [1, 3, 4])
  }

  @Test func whatHasNoBitsIsAnError() {
    func message(_ body: () -> Tensor) -> String {
      let result = Result { try catchingTensorErrors { body().eval() } }
      guard case .failure(let error) = result else { return "" }
      return "\(error)"
    }
    #expect(
      message { bitwiseAnd(Tensor([1.0]), x) }.contains(
        "bitwiseAnd: expected integers or truth values, got float64 and int64"))
    #expect(message { bitwiseOr(x, 0.5) }.contains("got int64 and float64"))
    #expect(
      message { leftShift(Tensor([true]), 1) }.contains("leftShift: expected integers, got bool"))
    #expect(message { bitwiseXor(Tensor([1], dtype: .uint8), 256) }.contains("256"))
    #expect(message { polygamma(-1, Tensor([1.0])) }.contains("polygamma: expected an order"))
  }

  @Test func gamma() {
    let x = Tensor([0.5, 1, 4.0])
    let expected = [0.572_364_942_924_700_1, 0, 1.791_759_469_228_055]
    for (a, b) in zip(lgamma(x).elements(as: Double.self), expected) { #expect(abs(a - b) < 1e-15) }
    lgamma(x).sum().backward()
    let euler = 0.577_215_664_901_532_9
    let slopes = [-euler - 1.386_294_361_119_890_6, -euler, 1 + 0.5 + 1.0 / 3 - euler]
    for (a, b) in zip(x.grad!.elements(as: Double.self), slopes) { #expect(abs(a - b) < 1e-14) }
    #expect(abs(polygamma(1, Tensor(1)).item() - Double.pi * .pi / 6) < 1e-14)
    #expect(abs(digamma(Tensor(-0.5)).item() - 0.036_489_973_978_576_5) < 1e-15)
    #expect(abs(polygamma(2, Tensor(-1.5)).item() + 0.236_204_051_641_727) < 1e-12)
    #expect(abs(polygamma(3, Tensor(-2.25)).item() / 1_558.455_023_188_71 - 1) < 1e-13)
  }
}
