// What integers and truth values are combined with: numbers that they can't hold, negative powers,
// differences of truth values. NumPy's rules.

import LazyGrad
import Testing

@Suite("Integers and numbers")
struct RefusalsTests {
  private static let edges: [Int] = [
    .min, -(1 << 40), -(1 << 31) - 1, -(1 << 31), -257, -1, 0, 1, 7, 250, 255, 256, 263, 1000,
    (1 << 31) - 1, 1 << 31, (1 << 32) + 7, 1 << 53 + 1, .max,
  ]
  private static let elements: [DType: [Int]] = [
    .uint8: [0, 7, 250, 255], .int32: [-(1 << 31), -1, 0, 7, (1 << 31) - 1],
    .int64: [.min, -1, 0, 7, 1 << 53, (1 << 53) + 1, .max], .bool: [0, 1],
  ]
  private static func range(_ dtype: DType) -> ClosedRange<Int> {
    switch dtype {
    case .uint8: 0...255
    case .int32: -(1 << 31)...((1 << 31) - 1)
    default: Int.min...Int.max
    }
  }

  private func tensor(_ dtype: DType) -> Tensor {
    Tensor(NDArray(Self.elements[dtype]!).astype(dtype))
  }

  private func isRefused(_ body: () -> Void) -> Bool {
    do {
      try catchingTensorErrors(body)
      return false
    } catch { return true }
  }

  @Test("Comparisons with any number are exact", arguments: [DType.uint8, .int32, .int64, .bool])
  func comparisons(_ dtype: DType) {
    let x = tensor(dtype)
    let own = Self.elements[dtype]!
    for n in Self.edges {
      let results: [(Tensor, (Int, Int) -> Bool)] = [
        (x .== n, { $0 == $1 }), (x .!= n, { $0 != $1 }), (x .< n, { $0 < $1 }),
        (x .<= n, { $0 <= $1 }), (x .> n, { $0 > $1 }), (x .>= n, { $0 >= $1 }),
        (x .== Int64(n), { $0 == $1 }),
      ]
      for (k, (result, holds)) in results.enumerated() {
        #expect(result.dtype == .bool)
        #expect(result.elements(as: Bool.self) == own.map { holds($0, n) }, "\(dtype) \(k) \(n)")
      }
    }
    #expect((tensor(.uint8) .< 7.5).elements(as: Bool.self) == [true, true, false, false])
  }

  @Test("Arithmetic takes the numbers that the type holds", arguments: [DType.uint8, .int32])
  func arithmetic(_ dtype: DType) {
    let own = Self.elements[dtype]!
    func wrapped(_ n: Int) -> Int {
      dtype == .uint8 ? n & 255 : Int(Int32(truncatingIfNeeded: n))
    }
    for n in Self.edges {
      let calls: [(String, (Tensor) -> Tensor, (Int) -> Int)] = [
        ("add", { $0 + n }, { $0 &+ n }), ("added to", { n + $0 }, { $0 &+ n }),
        ("subtract", { $0 - n }, { $0 &- n }), ("subtracted from", { n - $0 }, { n &- $0 }),
        ("multiply", { $0 * n }, { $0 &* n }), ("multiplied", { n * $0 }, { $0 &* n }),
        ("maximum", { maximum($0, n) }, { Swift.max($0, n) }),
        ("minimum", { minimum($0, n) }, { Swift.min($0, n) }),
        ("full", { Tensor.full(like: $0, n) }, { _ in n }),
        ("full", { Tensor.full($0.shape, n, dtype: dtype) }, { _ in n }),
        ("array", { Tensor(NDArray.full($0.shape, n, dtype: dtype)) }, { _ in n }),
        ("nested", { _ in Tensor(own.map { _ in n }, dtype: dtype) }, { _ in n }),
        (
          "+=",
          { x in
            let y = +x; y += n; return y
          }, { $0 &+ n }
        ),
        (
          "-=",
          { x in
            let y = +x; y -= n; return y
          }, { $0 &- n }
        ),
        (
          "*=",
          { x in
            let y = +x; y *= n; return y
          }, { $0 &* n }
        ),
        (
          "part",
          { x in
            let y = +x; y[0..<4] += n; return y[0..<4]
          }, { $0 &+ n }
        ),
      ]
      let fits = Self.range(dtype).contains(n)
      for (name, call, expected) in calls {
        let x = tensor(dtype)
        if !fits {
          #expect(isRefused { _ = call(x) }, "\(dtype) \(name) \(n)")
          #expect(x.elements(as: Int.self) == own)
          continue
        }
        let result = call(x)
        #expect(result.dtype == dtype)
        #expect(
          result.elements(as: Int.self)
            == own.prefix(result.count).map { wrapped(expected($0)) }, "\(dtype) \(name) \(n)")
      }
      // Division is that of floats, so every number will do.
      #expect((tensor(dtype) / n).dtype == .float64)
      if n != 0 {
        #expect((tensor(dtype) / n).elements(as: Double.self) == own.map { Double($0) / Double(n) })
      }
    }
    #expect(isRefused { _ = 300 ** tensor(.uint8) })
    #expect(isRefused { _ = tensor(.uint8) ** 256 })
  }

  @Test("The message says what fits and what came")
  func message() {
    do {
      _ = try catchingTensorErrors { tensor(.uint8) + 300 }
      Issue.record("accepted")
    } catch let error as TensorError {
      #expect(error.description == "add: expected a number from 0 to 255, as uint8 is, got 300")
    } catch { Issue.record("\(error)") }
  }

  @Test("Truth values and whole numbers are int64, which holds everything")
  func truthAndNumbers() {
    #expect((tensor(.bool) + 1000).elements(as: Int.self) == [1000, 1001])
    #expect((tensor(.bool) * -300).elements(as: Int.self) == [0, -300])
    #expect(Tensor.full([2], 300, dtype: .bool).elements(as: Bool.self) == [true, true])
    #expect(Tensor.full([1], 0.5, dtype: .bool).item(as: Bool.self))
    #expect(Tensor.full([1], 256, dtype: .bool).item(as: Bool.self))
    #expect(!Tensor.full([1], 0, dtype: .bool).item(as: Bool.self))
    // Numbers with a fraction are cast, as everywhere.
    #expect(Tensor.full([1], 3e9, dtype: .int32).item(as: Int.self) == -(1 << 31))
    #expect(Tensor.full([1], 300.7, dtype: .uint8).item(as: Int.self) == 44)
    #expect(NDArray.full([1], 300.7, dtype: .uint8).item(as: Int.self) == 44)
  }

  @Test("Host arrays refuse numbers that don't fit, and astype wraps them")
  func hostArrays() throws {
    let x = NDArray([7, 250]).astype(.uint8)
    #expect(throws: TensorError.self) { try x.fill(300) }
    #expect(throws: TensorError.self) { try x.fill(-1) }
    #expect(x.elements(as: Int.self) == [7, 250])
    try x.fill(255)
    #expect(x.elements(as: Int.self) == [255, 255])
    for body: () -> Void in [
      { _ = NDArray([1, 300], dtype: .uint8) }, { _ = NDArray(-1, dtype: .uint8) },
      { _ = NDArray([1 << 31], shape: [1], dtype: .int32) },
      { _ = NDArray([Int32(-1)], dtype: .uint8) }, { _ = NDArray.arange(-3, 3, dtype: .uint8) },
      { _ = NDArray.full([2], 1000, dtype: .uint8) }, { _ = Tensor([[300]], dtype: .uint8) },
    ] { #expect(isRefused(body)) }
    #expect(NDArray.arange(250, 258, dtype: .uint8).elements(as: Int.self).suffix(2) == [0, 1])
    #expect(NDArray([300, -1]).astype(.uint8).elements(as: Int.self) == [44, 255])
    #expect(NDArray([255, 0], dtype: .uint8).elements(as: Int.self) == [255, 0])
    #expect(NDArray([UInt8(200)], dtype: .int32).item(as: Int.self) == 200)
  }

  // MARK: clip

  @Test("Whole bounds keep integers; those that can't be exceeded don't limit")
  func clip() {
    let x = tensor(.uint8)
    func values(_ t: Tensor) -> [Double] { t.elements(as: Double.self) }
    #expect(values(x.clip(7, 250)) == [7, 7, 250, 250] && x.clip(7, 250).dtype == .uint8)
    #expect(values(x.clip(-1, 300)) == [0, 7, 250, 255] && x.clip(-1, 300).dtype == .uint8)
    #expect(x.clip(Int32(1), nil).dtype == .uint8 && x.clip(nil, UInt8(9)).dtype == .uint8)
    #expect(values(x.clip(1, 5.5)) == [1, 5.5, 5.5, 5.5] && x.clip(1, 5.5).dtype == .float64)
    #expect(values(x.clip(-1, 5.5)) == [0, 5.5, 5.5, 5.5])
    #expect(values(x.clip(-0.5, 300)) == [0, 7, 250, 255] && x.clip(-0.5, 300).dtype == .float64)
    #expect(isRefused { _ = x.clip(300, nil) } && isRefused { _ = x.clip(nil, -1) })
    #expect(isRefused { _ = x.clip(300, 400) } && isRefused { _ = x.clip(-5, -1) })
    #expect(tensor(.bool).clip(0, 1).dtype == .int64)
    let big = Tensor([(1 << 53) + 1])
    #expect(big.clip(0, (1 << 53) + 2).item(as: Int.self) == (1 << 53) + 1)
    let y = Tensor([Float(0.25), 3])
    #expect(values(y.clip(0, 1)) == [0.25, 1] && y.clip(0, 1).dtype == .float32)
    let bound: Double? = 0.5
    #expect(values(y.clip(bound, nil)) == [0.5, 3])
  }

  @Test("Without bounds the result is a tensor of its own")
  func clipOfNothing() {
    let x = Tensor([1.0, 2])
    let y = x.clip(nil, nil)
    #expect(y !== x && y.base == nil)
    y += 1
    #expect(x.elements(as: Double.self) == [1, 2] && y.elements(as: Double.self) == [2, 3])
    (x.clip(nil, nil) * 3).backward()
    #expect(x.grad!.elements(as: Double.self) == [3, 3])
    let whole = tensor(.uint8)
    #expect(whole.clip(-1, 256) !== whole)
  }

  // MARK: Powers and truth values

  @Test("Integers to floating powers are float64, to whole ones integers")
  func powers() {
    for dtype in [DType.uint8, .int32, .int64] {
      let x = tensor(dtype)
      for result in [x ** 1.0, x ** 2.0, x ** 3.0, x ** Float(2), x ** -1.0, 2.0 ** x] {
        #expect(result.dtype == .float64)
      }
      for result in [x ** 0, x ** 1, x ** 2, x ** 3] { #expect(result.dtype == dtype) }
      let squares = Self.elements[dtype]!.map { Double($0) * Double($0) }
      #expect((x ** 2.0).elements(as: Double.self) == squares)
      #expect(
        (x ** 1.0).elements(as: Double.self) == Self.elements[dtype]!.map { Double($0) })
    }
    #expect((tensor(.bool) ** 2.0).elements(as: Double.self) == [0, 1])
    let w = Tensor([3.0])
    (w ** 2.0 + w ** 2).backward()
    #expect(w.grad!.item() == 12)
  }

  @Test("Integers to negative integer powers are an error at the call")
  func negativePowers() {
    let base = Tensor([2, 3])
    let negative = Tensor([1, -1])
    for body: () -> Void in [
      { _ = base ** negative }, { _ = base ** -1 }, { _ = base ** Int32(-2) },
      { _ = base ** negative.cast(to: .int32) }, { _ = tensor(.uint8)[0..<2] ** negative },
      { _ = Tensor([true, false]) ** negative }, { _ = tensor(.bool) ** -1 },
      { _ = 2 ** negative }, { _ = true ** negative }, { _ = pow(base, negative) },
      { base **= negative }, { base **= -1 },
      { power(base, negative, out: NDArray.zeros([2], dtype: .int64)) },
    ] {
      // A look at the exponents may leave them in memory, nothing else.
      #expect(throws: TensorError.self) { try catchingTensorErrors(body) }
    }
    #expect(base.elements(as: Int.self) == [2, 3])
    #expect((base ** Tensor([3, 0])).elements(as: Int.self) == [8, 1])
    #expect((base ** Tensor([3, 2]).cast(to: .uint8)).elements(as: Int.self) == [8, 9])
    #expect((2 ** Tensor([3, 0])).elements(as: Int.self) == [8, 1])
    #expect((base ** Tensor([-1.0, 2])).elements(as: Double.self) == [0.5, 9])
    #expect((Tensor([2.0, 3]) ** negative).elements(as: Double.self) == [2, 1 / 3.0])
    #expect((2.0 ** negative).elements(as: Double.self) == [2, 0.5])
    #expect((base[0..<0] ** negative[0..<0]).count == 0)
  }

  @Test("Truth values have no difference and no negative")
  func truthValues() {
    let b = tensor(.bool)
    for body: () -> Void in [
      { _ = b - b }, { _ = b - true }, { _ = false - b }, { _ = -b },
      { _ = b[0..<1] - b }, { b -= b }, { b -= true },
      { subtract(b, b, out: Tensor([true, true])) }, { negative(b, out: Tensor([true, true])) },
    ] { #expect(isRefused(body)) }
    #expect(b.elements(as: Bool.self) == [false, true])
    #expect((b - 1).elements(as: Int.self) == [-1, 0])
    #expect((b - tensor(.uint8)[0..<2]).dtype == .uint8)
    #expect((b - Tensor([1.0, 1])).elements(as: Double.self) == [-1, 0])
    #expect((b .!= Tensor([true, true])).elements(as: Bool.self) == [true, false])
  }
}
