// Arrays of float16 and bfloat16: making, converting, printing, Swift types.

import Foundation
import LazyGrad
import Testing

@Suite("Arrays of 16 bits") struct HalfArrayTests {
  static let types: [DType] = [.float16, .bfloat16]

  @Test("Types promote as NumPy's do")
  func promotion() {
    let expected: [(DType, DType)] = [
      (.bool, .float16), (.uint8, .float16), (.int32, .float64), (.int64, .float64),
      (.float32, .float32), (.float64, .float64), (.float16, .float16), (.bfloat16, .float32),
    ]
    for (other, result) in expected {
      #expect(DType.promoted(.float16, other) == result, "\(other)")
      #expect(DType.promoted(other, .float16) == result, "\(other)")
      let half = other == .float16 ? DType.float32 : result == .float16 ? .bfloat16 : result
      if other != .bfloat16 {
        #expect(DType.promoted(.bfloat16, other) == half, "\(other)")
        #expect(DType.promoted(other, .bfloat16) == half, "\(other)")
      }
      let sum = Tensor(1, dtype: other) + Tensor(1, dtype: .float16)
      #expect(sum.dtype == result && sum.item() == 2)
    }
    #expect(DType.promoted(.bfloat16, .bfloat16) == .bfloat16)
    #expect(DType.float16.isFloating && DType.bfloat16.isFloating && DType.float16.size == 2)
  }

  @Test("Creation", arguments: types)
  func creation(_ dtype: DType) {
    #expect(NDArray.zeros([2, 3], dtype: dtype).elements == [0, 0, 0, 0, 0, 0])
    #expect(NDArray.ones([3], dtype: dtype).elements == [1, 1, 1])
    #expect(NDArray.full([2], 2.5, dtype: dtype).elements == [2.5, 2.5])
    #expect(NDArray.eye(2, dtype: dtype).elements == [1, 0, 0, 1])
    #expect(NDArray([[1, 2], [3, 4]], dtype: dtype).elements == [1, 2, 3, 4])
    #expect(NDArray.arange(5, dtype: dtype).elements == [0, 1, 2, 3, 4])
    #expect(NDArray.linspace(0, 1, count: 5, dtype: dtype).elements == [0, 0.25, 0.5, 0.75, 1])
    let x = Tensor.full([3], 0.1, dtype: dtype)
    #expect(!x.isConstant && x.dtype == dtype)
    #expect(
      x.elements
        == [Double](repeating: dtype == .float16 ? 0.0999755859375 : 0.10009765625, count: 3))
    #expect(Tensor.zeros(like: x).dtype == dtype && Tensor.ones([], dtype: dtype).item() == 1)
    #expect((x * 0).array.dtype == dtype)
  }

  @Test("Steps of arange are NumPy's")
  func arange() {
    #expect(
      NDArray.arange(0.0, 1, 0.1, dtype: .float16).description
        == """
        array([0.    , 0.1   , 0.2   , 0.2998, 0.4   , 0.5   , 0.5996, 0.6997,
               0.8   , 0.9   ], dtype=float16)
        """)
  }

  @Test("Numbers are written as NumPy writes them")
  func printing() {
    let expected: [([Double], String)] = [
      ([0.1, 0.2, 0.3], "array([0.1, 0.2, 0.3], dtype=float16)"),
      ([1, 2.5, -3], "array([ 1. ,  2.5, -3. ], dtype=float16)"),
      ([65504, 1, 0.0001], "array([6.55e+04, 1.00e+00, 1.00e-04], dtype=float16)"),
      ([.nan, .infinity, -0.0], "array([nan, inf, -0.], dtype=float16)"),
      ([1e-7, 1e-3], "array([1.e-07, 1.e-03], dtype=float16)"),
      ([1000, 2], "array([1.e+03, 2.e+00], dtype=float16)"),
      ([999, 2], "array([999.,   2.], dtype=float16)"),
      ([0.333333, 2.0 / 3], "array([0.3333, 0.6665], dtype=float16)"),
      ([2049, 1], "array([2.048e+03, 1.000e+00], dtype=float16)"),
    ]
    for (numbers, text) in expected {
      #expect(NDArray(numbers, dtype: .float16).description == text)
    }
    #expect("\(NDArray(0.1, dtype: .float16))" == "array(0.1, dtype=float16)")
    #expect("\(Tensor([0.1, 3], dtype: .bfloat16))" == "Tensor([0.1, 3. ], dtype=bfloat16)")
  }

  @Test("What is printed names the number", arguments: types)
  func printedNumbers(_ dtype: DType) throws {
    for bits in stride(from: 0, through: Int(UInt16.max), by: 7) {
      let x = try NDArray(shape: [], dtype: dtype) {
        $0.storeBytes(of: UInt16(bits), as: UInt16.self)
      }
      if x.item().isNaN { continue }
      let text = "\(x)".dropFirst("array(".count).prefix { $0 != "," }
      let number = try #require(Double(text), "\(x)")
      #expect(NDArray(number, dtype: dtype).item() == x.item(), "\(bits): \(x)")
    }
  }

  private func haveSameBytes(_ x: NDArray, _ y: NDArray) throws -> Bool {
    let first = try x.withUnsafeBytes { Array($0) }
    return try y.withUnsafeBytes { Array($0) } == first && x.shape == y.shape
  }

  @Test("Conversions", arguments: types)
  func conversions(_ dtype: DType) throws {
    let x = NDArray([1.7, -2.9, 300, 0, .nan], dtype: dtype)
    #expect(x.astype(.int32).elements(as: Int32.self) == [1, -2, 300, 0, .min])
    #expect(x.astype(.uint8).elements(as: UInt8.self) == [1, 254, 44, 0, 0])
    #expect(x.astype(.bool).elements(as: Bool.self) == [true, true, true, false, true])
    #expect(NDArray([true, false]).astype(dtype).elements == [1, 0])
    #expect(NDArray([70_000, -7]).astype(.float16).elements == [.infinity, -7])
    #expect(NDArray([1e39, -1e-50, 65520]).astype(dtype).elements[0] == .infinity)
    // The tensor's cast says the same, and so do strided elements and many.
    let many = (0..<1000).map { Double($0) * 1.37 - 300 }
    for target in DType.allCases {
      for strided in [false, true] {
        var a = NDArray(many, dtype: dtype)
        if strided { a = a.reshaped([10, 100]).transposed() }
        let cast = Tensor(a, constant: true).cast(to: target).array
        #expect(try haveSameBytes(a.astype(target), cast), "\(target)")
        let from = NDArray(many, dtype: .float64).astype(target)
        let back = Tensor(from, constant: true).cast(to: dtype).array
        #expect(try haveSameBytes(from.astype(dtype), back), "\(target)")
      }
    }
    // One rounding from float64, not two.
    let between = 1 + 0x1p-11 + 0x1p-40
    #expect(NDArray(between).astype(.float16).item() == 1 + 0x1p-10)
    #expect(NDArray(between).astype(.float32).astype(.float16).item() == 1)
  }

  @Test("Swift types of elements")
  func swiftTypes() throws {
    let bits: [UInt16] = [0x3F80, 0xC000, 0x7F80, 0x0001, 0x4049]
    let x = NDArray(bits.map { BFloat16(bitPattern: $0) })
    #expect(x.dtype == .bfloat16 && x.elements(as: Float.self).prefix(2) == [1, -2])
    #expect(x.elements(as: BFloat16.self).map(\.bitPattern) == bits)
    try x.withMutableElements(as: BFloat16.self) { $0[0] = BFloat16(3.14159) }
    #expect(x[0].item() == 3.140625)
    x.withUnsafeElements(as: BFloat16.self) { #expect($0[4] == BFloat16(bitPattern: 0x4049)) }
    #expect(BFloat16(1 + 0x1p-8 + 0x1p-40).bitPattern == 0x3F81)
    #expect(BFloat16(Float(1 + 0x1p-8)).bitPattern == 0x3F80)
    #expect(Float(BFloat16(bitPattern: 1)) == 0x1p-133 && Double(BFloat16(0.5)) == 0.5)
    #expect("\(BFloat16(2.5))" == "2.5" && BFloat16(0.0) == BFloat16(-0.0))
    #expect(BFloat16(.nan as Float) != BFloat16(.nan as Float))
    let number = BFloat16(1.5)
    #expect((Tensor([2.0], dtype: .float16) * number).dtype == .float16)
    #expect((number * Tensor([2.0])).elements == [3])
    #if !(os(macOS) && arch(x86_64))
      let y = NDArray([Float16(0.1), 65504])
      #expect(y.dtype == .float16 && y.elements(as: Float16.self) == [0.1, 65504])
      #expect(Tensor([Float16(1), 2], constant: true).cast(to: Float16.self).dtype == .float16)
    #endif
  }

  @Test("Snapshots and their coding", arguments: types)
  func snapshots(_ dtype: DType) throws {
    let x = Tensor([[1.5, -0.25], [0.1, 3]], dtype: dtype)
    let data = try JSONEncoder().encode(x.snapshot)
    let back = try JSONDecoder().decode(TensorSnapshot.self, from: data)
    #expect(back == x.snapshot && back.dtype == dtype)
    #expect(try Tensor(back).elements == x.elements)
    #expect(Tensor(sharing: back).elements == x.elements)
  }

  @Test("Views and writes", arguments: types)
  func writes(_ dtype: DType) throws {
    let x = NDArray.arange(12, dtype: dtype).reshaped([3, 4])
    #expect(x.transposed().elements == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    #expect(x[.slice(step: -1), 1...2].elements == [9, 10, 5, 6, 1, 2])
    x[1] = NDArray([0.1, 0.2, 0.3, 0.4])
    #expect(x[1].elements == NDArray([0.1, 0.2, 0.3, 0.4], dtype: dtype).elements)
    try x[.all, 0].fill(7)
    #expect(x[.all, 0].elements == [7, 7, 7])
    #expect(x.broadcast(to: [2, 3, 4])[1].copy().elements == x.elements)
    #expect(
      NDArray.arange(70 * 65, dtype: dtype).reshaped([70, 65]).transposed().copy()[3, 2].item()
        == NDArray(133, dtype: dtype).item())
  }

  @Test("Random numbers", arguments: types)
  func random(_ dtype: DType) {
    let key = RandomKey(7)
    let x = Tensor.random([4000], dtype: dtype, key: key)
    #expect(x.dtype == dtype && !x.isConstant)
    #expect(x.elements.allSatisfy { $0 >= 0 && $0 < 1 })
    #expect(abs(x.elements.reduce(0, +) / 4000 - 0.5) < 0.02)
    let y = Tensor.uniform([4000], -0.1, 0.1, dtype: dtype, key: key).elements
    let low = NDArray(-0.1, dtype: dtype).item()
    #expect(y.allSatisfy { $0 >= low && $0 < 0.1 } && y.contains { $0 < -0.09 })
    #expect(Tensor.uniform([3], 2, 2, dtype: dtype).elements == [2, 2, 2])
    let z = Tensor.normal([4001], mean: 1, std: 0.5, dtype: dtype, key: key)
    #expect(z.dtype == dtype && abs(z.elements.reduce(0, +) / 4001 - 1) < 0.05)
    #expect(dropout(Tensor.ones([1000], dtype: dtype), 0.25, key: key).dtype == dtype)
    #expect(Tensor.bernoulli(Tensor.full([1000], 0.25, dtype: dtype), key: key).dtype == .bool)
  }
}
