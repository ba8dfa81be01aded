// Types of results: Swift numbers are weakly typed as in NumPy 2 (NEP 50), tensors promote.

import LazyGrad
import Testing

@Suite("Types of results")
struct WeakScalarTests {
  private static let types: [DType] = [.float64, .float32, .int64, .int32, .uint8, .bool]

  private func tensor(_ type: DType) -> Tensor { Tensor(NDArray.ones([2], dtype: type)) }

  @Test("Floating numbers keep floating types and make the others float64", arguments: types)
  func floating(_ type: DType) {
    let expected: DType = type.isFloating ? type : .float64
    let x = tensor(type)
    for result in [x + 2.5, 2.5 * x, x - Float(1), 1.5 / x, x ** 0.5, maximum(x, 0.5)] {
      #expect(result.dtype == expected)
    }
  }

  @Test("Whole numbers keep every type but bool, which becomes int64", arguments: types)
  func whole(_ type: DType) {
    let expected: DType = type == .bool ? .int64 : type
    let x = tensor(type)
    for result in [x + 2, 2 * x, x - UInt8(1), Int32(3) + x, x ** 3] {
      #expect(result.dtype == expected)
    }
    #expect((x / 2).dtype == (type.isFloating ? type : .float64))
  }

  @Test("Truth values keep every type", arguments: types)
  func truth(_ type: DType) {
    #expect((tensor(type) * true).dtype == type)
  }

  @Test("Comparisons are bool", arguments: types)
  func comparisons(_ type: DType) {
    for result in [tensor(type) .< 2, tensor(type) .== 1.0, tensor(type) .>= tensor(.int64)] {
      #expect(result.dtype == .bool && result.isConstant)
    }
  }

  @Test("The number keeps its 64 bits")
  func precision() {
    let big = (1 << 53) + 1
    #expect((Tensor([0]) + big).elements(as: Int.self) == [big])
    #expect((Tensor([0.0]) + 0.1).item() == 0.1)
    #expect((Tensor([Float(0)]) + 0.1).item(as: Float.self) == 0.1)
    #expect((Tensor([Float(1)]) * 0.1 * 3).dtype == .float32)
  }

  @Test("Two tensors have NumPy's common type")
  func promotion() {
    let table: [(DType, DType, DType)] = [
      (.float64, .float32, .float64), (.float32, .int64, .float64), (.float32, .int32, .float64),
      (.float32, .uint8, .float32), (.float32, .bool, .float32), (.int64, .int32, .int64),
      (.int64, .uint8, .int64), (.int32, .uint8, .int32), (.uint8, .bool, .uint8),
      (.bool, .bool, .bool), (.int64, .bool, .int64), (.float64, .int64, .float64),
    ]
    for (a, b, expected) in table {
      #expect((tensor(a) * tensor(b)).dtype == expected, "\(a) \(b)")
      #expect((tensor(b) * tensor(a)).dtype == expected, "\(b) \(a)")
      #expect(concatenate([tensor(a), tensor(b)]).dtype == expected)
      #expect(`where`(Tensor(true), tensor(a), tensor(b)).dtype == expected)
    }
  }

  @Test("Functions and divisions of integers are float64; sums are int64")
  func functions() {
    for type in [DType.int64, .int32, .uint8, .bool] {
      let x = tensor(type)
      #expect(exp(x).dtype == .float64 && sqrt(x).dtype == .float64)
      #expect((x / x).dtype == .float64 && x.mean().dtype == .float64)
      #expect(x.sum().dtype == .int64 && x.sum().item(as: Int.self) == 2)
      #expect(x.max().dtype == type && x.argmax().dtype == .int64)
      #expect(softmax(x).dtype == .float64)
    }
    #expect(square(Tensor([3, -4])).elements(as: Int.self) == [9, 16])
    #expect((Tensor([3, -4]) ** 2).dtype == .int64)
    #expect(abs(Tensor([3, -4])).elements(as: Int.self) == [3, 4])
    #expect((Tensor([7, 8]) - 9).elements(as: Int.self) == [-2, -1])
    #expect(matmul(Tensor([1, 2]), Tensor([3, 4])).item(as: Int.self) == 11)
  }

  @Test("Constness: floats are variables, everything else constant")
  func constness() {
    for type in Self.types { #expect(tensor(type).isConstant == !type.isFloating) }
    let x = Tensor([1.0])
    let c = Tensor([1.0], constant: true)
    #expect(!(x + c).isConstant && (c + c).isConstant && (c + 2.0).isConstant)
    #expect((x .> c).isConstant && x.argmax().isConstant && sign(x).isConstant)
    #expect(!(x * Tensor([2])).isConstant)
    #expect(!Tensor.zeros(like: NDArray([1.0])).isConstant)
    #expect(Tensor.zeros(like: c).isConstant && !Tensor.ones(like: x).isConstant)
    #expect(Tensor.full(like: c, 2.0).elements(as: Double.self) == [2])
  }
}
