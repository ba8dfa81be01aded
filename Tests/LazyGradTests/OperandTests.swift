// What operators and functions combine: tensors, arrays and numbers on either side, masks, and what is
// asked of a mask.

import LazyGrad
import Testing

@Suite struct OperandTests {
  private let x = Tensor([1.0, 2, 4])
  private let n = NDArray([2.0, 3, 5])

  private func values(_ tensor: Tensor) -> [Double] { tensor.elements(as: Double.self) }

  @Test func operatorsTakeNumbersAndArraysOnBothSides() {
    #expect(values(x + 1) == [2, 3, 5])
    #expect(values(1 + x) == [2, 3, 5])
    #expect(values(x - n) == [-1, -1, -1])
    #expect(values(n - x) == [1, 1, 1])
    #expect(values(2 * x * n) == [4, 12, 40])
    #expect(values(n / x) == [2, 1.5, 1.25])
    #expect(values(4 / x) == [4, 2, 1])
    #expect(values(x ** n) == [1, 8, 1024])
    #expect(values(n ** x) == [2, 9, 625])
    #expect(values(2 ** x) == [2, 4, 16])
    #expect(values(x ** 2) == [1, 4, 16])
    #expect(values(x ** x) == [1, 4, 256])
  }

  @Test func comparisonsTakeNumbersAndArraysOnBothSides() {
    #expect((x .> 1).elements(as: Bool.self) == [false, true, true])
    #expect((1 .> x).elements(as: Bool.self) == [false, false, false])
    #expect((2 .<= x).elements(as: Bool.self) == [false, true, true])
    #expect((2 .>= x).elements(as: Bool.self) == [true, true, false])
    #expect((2 .< x).elements(as: Bool.self) == [false, false, true])
    #expect((2 .== x).elements(as: Bool.self) == [false, true, false])
    #expect((2 .!= x).elements(as: Bool.self) == [true, false, true])
    #expect((n .> x).elements(as: Bool.self) == [true, true, true])
    #expect((x .>= n).elements(as: Bool.self) == [false, false, false])
    #expect(values(1 .< Tensor([Double.nan])) == [0])
  }

  @Test func numbersAreWeakOnBothSides() {
    let single = Tensor([1, 2] as [Float])
    let whole = Tensor([1, 2] as [Int32])
    #expect((single * 2.5).dtype == .float32)
    #expect((2.5 * single).dtype == .float32)
    #expect((1 / single).dtype == .float32)
    #expect((2 as Int64 + whole).dtype == .int32)
    #expect((whole + (2 as UInt8)).dtype == .int32)
    #expect((0.5 + whole).dtype == .float64)
    #expect((whole + true).dtype == .int32)
    #expect(values(Tensor([1.5]) * (0.1 as Float)) == [1.5 * Double(0.1 as Float)])
    #expect(values(Tensor([Int64.max - 1]) + 1) == [Double(Int64.max)])
    #expect((Tensor([1]) * Int64.max).elements(as: Int64.self) == [.max])
  }

  @Test func arraysAreSharedAndGuarded() {
    let y = n * x
    #expect(!n.isWriteable)
    #expect(y.shape == [3])
    y.backward()
    #expect(values(x.grad!) == [2, 3, 5])
    #expect(n.isWriteable)
  }

  @Test func operatorsAreFunctionsOfTensors() {
    let parts = [x, x, x]
    #expect(values(parts.dropFirst().reduce(parts[0], +)) == [3, 6, 12])
    #expect(values(zip(parts, parts).map(*)[0]) == [1, 4, 16])
  }

  @Test func updatesTakeTensorsArraysAndNumbers() {
    var y = Tensor([1.0, 2, 4])
    y += n
    y -= 1
    y *= x
    y /= 2 as Float
    y **= 2
    #expect(values(y) == [1, 16, 256])
    let fixed = Tensor([1.0, 2, 4])
    fixed[0..<2] *= n[0..<2]
    #expect(values(fixed) == [2, 6, 4])
    let refused = #expect(throws: TensorError.self) {
      try catchingTensorErrors { y += NDArray([1.0, 2]) }
    }
    #expect(refused?.operation == "+=")
    #expect(values(y) == [1, 16, 256])
  }

  @Test func extremesAndPowersTakeNumbersAndArrays() {
    #expect(values(maximum(2, x)) == [2, 2, 4])
    #expect(values(maximum(x, 2)) == [2, 2, 4])
    #expect(values(minimum(x, n)) == [1, 2, 4])
    #expect(values(minimum(n, x)) == [1, 2, 4])
    #expect(values(pow(x, 2)) == [1, 4, 16])
    #expect(values(pow(2, x)) == [2, 4, 16])
    #expect(values(pow(x, n)) == [1, 8, 1024])
    #expect(values(pow(n, x)) == [2, 9, 625])
    let y = Tensor([-1.0, 0, 2])
    maximum(0, y).backward()
    #expect(values(y.grad!) == [0, 0, 1])
  }

  @Test func whereTakesNumbersAndArrays() {
    let positive = x .> 1
    #expect(values(`where`(positive, x, 0)) == [0, 2, 4])
    #expect(values(`where`(positive, 0, x)) == [1, 0, 0])
    #expect(values(`where`(NDArray([true, false, true]), x, n)) == [1, 3, 4])
    #expect(values(`where`(NDArray([true, false, true]), n, -1)) == [2, -1, 5])
    #expect(`where`(positive, 1.0, 0).dtype == .float64)
    #expect(`where`(positive, 1, 0).dtype == .int64)
    #expect(`where`(positive, 1, false).dtype == .int64)
    #expect(`where`(positive, true, false).dtype == .bool)
    #expect(`where`(positive, Tensor([1] as [Float]), 0.5).dtype == .float32)
    #expect(`where`(positive, 0.5, Tensor([1] as [Int32])).dtype == .float64)
    #expect(`where`(positive, 300, Tensor([1] as [UInt8])).dtype == .int64)
    #expect(values(`where`(positive, 300, Tensor([1] as [UInt8]))) == [1, 300, 300])
    `where`(x .> 1, x * 3, 7).backward()
    #expect(values(x.grad!) == [0, 3, 3])
  }

  @Test func productsTakeArrays() {
    let matrix = NDArray([[1.0, 0, 2], [0, 1, 0]])
    #expect(values(matmul(matrix, x)) == [9, 2])
    #expect(values(matmul(x, matrix.transposed())) == [9, 2])
    #expect(values(matmul(matrix, n)) == [12, 3])
    matmul(matrix, x).backward()
    #expect(values(x.grad!) == [1, 1, 2])
    #expect(matrix.isWriteable)
  }

  @Test func masksCombine() {
    let (low, high) = (x .< 3, x .> 1)
    #expect((low .& high).elements(as: Bool.self) == [false, true, false])
    #expect((low .| high).elements(as: Bool.self) == [true, true, true])
    #expect((.!low).elements(as: Bool.self) == [false, false, true])
    let mask = NDArray([true, false, true])
    #expect((low .& mask).elements(as: Bool.self) == [true, false, false])
    #expect((mask .| high).elements(as: Bool.self) == [true, true, true])
    #expect((mask .& high).elements(as: Bool.self) == [false, false, true])
    #expect((high .| mask).elements(as: Bool.self) == [true, true, true])
  }

  @Test func numbersAreNoMasks() {
    for combine in [{ $0 .& $1 }, { $0 .| $1 }, { (a: Tensor, _: Tensor) in .!a }] {
      let error = #expect(throws: TensorError.self) {
        try catchingTensorErrors { combine(x, x .> 1) }
      }
      #expect(error?.message.contains("expected masks (bool), got float64") == true)
    }
    let first = #expect(throws: TensorError.self) {
      try catchingTensorErrors { (x + Tensor([1.0, 2])) .& (x .> 1) }
    }
    #expect(first?.operation == "add")
  }

  @Test func anyAndAll() {
    let y = Tensor([[0.0, 0, 3], [0, 1, 2]])
    #expect(y.any().item(as: Bool.self))
    #expect(!y.all().item(as: Bool.self))
    #expect(y.any().dtype == .bool)
    #expect(y.any(axis: 0).elements(as: Bool.self) == [false, true, true])
    #expect(y.all(axis: 0).elements(as: Bool.self) == [false, false, true])
    #expect(y.all(axis: -1, keepDims: true).shape == [2, 1])
    #expect(y.any(axes: [0, 1]).shape == [])
    #expect((y .>= 0).all().item(as: Bool.self))
    #expect(!(y .< 0).any(axis: 1).elements(as: Bool.self).contains(true))
    #expect(Tensor([Double.nan]).any().item(as: Bool.self))
    #expect(Tensor([0, 256]).any().item(as: Bool.self))
    #expect(Tensor([0.5, 0.25]).all().item(as: Bool.self))
  }

  @Test func anyOfNothingIsFalseAndAllOfNothingTrue() {
    let nothing = Tensor.zeros([0, 3])
    #expect(!nothing.any().item(as: Bool.self))
    #expect(nothing.all().item(as: Bool.self))
    #expect(nothing.any(axis: 0).elements(as: Bool.self) == [false, false, false])
    #expect(nothing.all(axis: 0).elements(as: Bool.self) == [true, true, true])
    #expect(nothing.all(axis: 0).dtype == .bool)
    #expect(nothing.any(axis: 1, keepDims: true).shape == [0, 1])
    #expect(nothing.all(axes: [0, 1], keepDims: true).shape == [1, 1])
    let error = #expect(throws: TensorError.self) {
      try catchingTensorErrors { nothing.any(axis: 2) }
    }
    #expect(error?.description == "any: axis 2 is out of range for shape [0, 3]")
  }

  @Test func reductionsAreFunctionsToo() {
    let y = Tensor([[1.0, 2], [3, 4]])
    #expect(sum(y).item() == 10)
    #expect(values(sum(y, axis: 0)) == [4, 6])
    #expect(mean(y, axis: 1, keepDims: true).shape == [2, 1])
    #expect(mean(y).item() == 2.5)
    #expect(values(prod(y, axis: 1)) == [2, 12])
  }
}
