// Tests of host arrays apart from indexing and printing: creation, layout, reading, views, writing.

import LazyGrad
import Testing

@Suite("Host arrays")
struct NDArrayTests {
  // MARK: Creation

  @Test("Nested arrays give shape and element type")
  func nested() {
    let x = NDArray([[1.0, 2.0, 3.0], [4, 5, 6]])
    #expect(x.shape == [2, 3])
    #expect(x.strides == [3, 1])
    #expect(x.dtype == .float64)
    #expect(x.elements(as: Double.self) == [1, 2, 3, 4, 5, 6])
    #expect(NDArray([Float(1)]).dtype == .float32)
    #expect(NDArray([1, 2]).dtype == .int64)
    #expect(NDArray([Int32(1)]).dtype == .int32)
    #expect(NDArray([UInt8(1)]).dtype == .uint8)
    #expect(NDArray([true]).dtype == .bool)
    #expect(NDArray(3.0).shape == [])
    #expect(NDArray([[[1, 2]], [[3, 4]], [[5, 6]]]).shape == [3, 1, 2])
  }

  @Test("Empty nested arrays keep their depth")
  func emptyNested() {
    #expect(NDArray([Double]()).shape == [0])
    #expect(NDArray([[Double]]()).shape == [0, 0])
    #expect(NDArray([[Double](), []]).shape == [2, 0])
    #expect(NDArray([[[Int]]]()).shape == [0, 0, 0])
  }

  @Test("Flat elements take a shape and another type")
  func flat() {
    let x = NDArray([1, 2, 3, 4, 5, 6], shape: [3, 2], dtype: .float32)
    #expect(x.shape == [3, 2])
    #expect(x.dtype == .float32)
    #expect(x.elements(as: Float.self) == [1, 2, 3, 4, 5, 6])
    #expect(NDArray([Double](), shape: [0, 3]).count == 0)
    #expect(NDArray([7], shape: []).item() == 7)
  }

  @Test("Filled arrays")
  func filled() {
    #expect(NDArray.zeros([2, 2]).elements(as: Double.self) == [0, 0, 0, 0])
    #expect(NDArray.ones([3], dtype: .int32).elements(as: Int32.self) == [1, 1, 1])
    #expect(NDArray.full([2], Float(2.5)).elements(as: Float.self) == [2.5, 2.5])
    #expect(NDArray.full([2], 3, dtype: .float64).elements(as: Double.self) == [3, 3])
    #expect(NDArray.ones([2], dtype: .bool).elements(as: Bool.self) == [true, true])
    #expect(NDArray.zeros([]).shape == [])
    #expect(NDArray.zeros([3, 0]).count == 0)
  }

  @Test("arange has NumPy's length, type and elements")
  func arange() {
    #expect(NDArray.arange(3.0).dtype == .float64)
    #expect(NDArray.arange(3.0).elements(as: Double.self) == [0, 1, 2])
    #expect(NDArray.arange(3).dtype == .int64)
    #expect(NDArray.arange(2, 9, 3).elements(as: Int.self) == [2, 5, 8])
    #expect(NDArray.arange(5, 0, -2).elements(as: Int.self) == [5, 3, 1])
    #expect(NDArray.arange(5, 5).count == 0)
    #expect(NDArray.arange(5, 2).count == 0)
    #expect(NDArray.arange(-3).count == 0)
    #expect(NDArray.arange(2.5).elements(as: Double.self) == [0, 1, 2])
    #expect(NDArray.arange(1, 4, dtype: .float32).elements(as: Float.self) == [1, 2, 3])
    // Rounding up the length and the steps: NumPy's well-known overshoot.
    #expect(
      NDArray.arange(1.0, 1.3, 0.1).elements(as: Double.self) == [
        1.0, 1.1, 1.2000000000000002, 1.3000000000000003,
      ])
    #expect(
      NDArray.arange(0.0, 0.4, 0.1, dtype: .float32).elements(as: Float.self)
        == [0, 0.1, 0.2, 0.3])
    #expect(
      NDArray.arange(Int.min, Int.max, Int.max).elements(as: Int.self) == [.min, -1, .max - 1])
  }

  @Test("linspace ends exactly")
  func linspace() {
    let x = NDArray.linspace(0, 1, count: 7)
    #expect(x.elements(as: Double.self).last == 1)
    #expect(x.elements(as: Double.self)[2] == 2 * (1.0 / 6))
    #expect(
      NDArray.linspace(2, 3, count: 5, endpoint: false).elements(as: Double.self) == [
        2, 2.2, 2.4, 2.6, 2.8,
      ])
    #expect(NDArray.linspace(5, 9, count: 1).elements(as: Double.self) == [5])
    #expect(NDArray.linspace(0, 1, count: 0).count == 0)
    #expect(NDArray.linspace(3, 0, count: 4).elements(as: Double.self) == [3, 2, 1, 0])
    #expect(
      NDArray.linspace(-2, 2, count: 4, dtype: .int64).elements(as: Int.self) == [-2, -1, 0, 2])
  }

  @Test("eye puts ones on any diagonal")
  func eye() {
    #expect(NDArray.eye(2).elements(as: Int.self) == [1, 0, 0, 1])
    #expect(NDArray.eye(2, 3, diagonal: 1).elements(as: Int.self) == [0, 1, 0, 0, 0, 1])
    #expect(NDArray.eye(3, 2, diagonal: -1).elements(as: Int.self) == [0, 0, 1, 0, 0, 1])
    #expect(NDArray.eye(2, diagonal: 5).elements(as: Int.self) == [0, 0, 0, 0])
    #expect(NDArray.eye(2, diagonal: .min).elements(as: Int.self) == [0, 0, 0, 0])
    #expect(NDArray.eye(0).shape == [0, 0])
  }

  // MARK: Types

  @Test("Types combine as in NumPy")
  func promotion() {
    #expect(DType.promoted(.float32, .float64) == .float64)
    #expect(DType.promoted(.float32, .int64) == .float64)
    #expect(DType.promoted(.int32, .float32) == .float64)
    #expect(DType.promoted(.uint8, .float32) == .float32)
    #expect(DType.promoted(.bool, .uint8) == .uint8)
    #expect(DType.allCases.map(\.size) == [1, 1, 4, 8, 4, 8, 2, 2])
    #expect(DType.allCases.map(\.description).suffix(2) == ["float16", "bfloat16"])
  }

  @Test("Casts follow NumPy")
  func casts() {
    let x = NDArray([-1.7, 300, 3e9, .nan, -.infinity, 0])
    #expect(x.astype(.int64).elements(as: Int.self) == [-1, 300, 3_000_000_000, .min, .min, 0])
    #expect(x.astype(.int32).elements(as: Int32.self) == [-1, 300, .min, .min, .min, 0])
    #expect(x.astype(.uint8).elements(as: UInt8.self) == [255, 44, 0, 0, 0, 0])
    #expect(x.astype(.bool).elements(as: Bool.self) == [true, true, true, true, true, false])
    #expect(NDArray([(1 << 40) + 7, -1]).astype(.uint8).elements(as: Int.self) == [7, 255])
    #expect(NDArray([true, false]).elements(as: Double.self) == [1, 0])
    #expect(NDArray([0x20_0000_0000_0001]).elements(as: Float.self) == [0x1p53])
    #expect(NDArray(Double(1e300)).astype(.float32).item() == .infinity)
  }

  @Test("item needs no knowledge of the type")
  func item() {
    #expect(NDArray([[2.5]]).item() == 2.5)
    #expect(NDArray(Int.max).item(as: Int.self) == .max)
    #expect(NDArray(true).item() == 1)
  }

  // MARK: Views

  @Test("Views share memory and name the array at the bottom")
  func views() throws {
    let x = NDArray.arange(12.0).reshaped([3, 4])
    #expect(x.base != nil)
    let owner = x.copy()
    #expect(owner.base == nil)
    let y = owner.transposed()[1..., 0..<2]
    #expect(y.base === owner)
    #expect(y.shape == [3, 2])
    #expect(y.strides == [1, 4])
    #expect(!y.isContiguous)
    #expect(y.sharesMemory(with: owner))
    try y.fill(0)
    #expect(owner.elements(as: Int.self) == [0, 0, 0, 0, 4, 0, 0, 0, 8, 9, 10, 11])
  }

  @Test("Sharing memory is decided by elements, not by address ranges")
  func sharing() {
    let x = NDArray.arange(10)
    let even = x[.slice(step: 2)]
    let odd = x[.slice(1, step: 2)]
    #expect(!even.sharesMemory(with: odd))
    #expect(even.sharesMemory(with: x[4..<5]))
    #expect(!x[0..<5].sharesMemory(with: x[5...]))
    #expect(!x[0..<0].sharesMemory(with: x))
    #expect(!x.sharesMemory(with: x.copy()))
    #expect(NDArray(1).broadcast(to: [1 << 30, 1 << 30]).sharesMemory(with: x) == false)
    let one = x[3]
    #expect(one.broadcast(to: [1 << 30, 1 << 30]).sharesMemory(with: x))
  }

  @Test("Reshaping is a view where strides can express it")
  func reshaping() {
    let x = NDArray.arange(12).reshaped([3, 4])
    #expect(x.reshaped([2, -1]).shape == [2, 6])
    #expect(x.reshaped([2, 6]).sharesMemory(with: x))
    #expect(x[.all, .slice(step: 2)].reshaped([6]).elements(as: Int.self) == [0, 2, 4, 6, 8, 10])
    #expect(x[.all, .slice(step: 2)].reshaped([6]).sharesMemory(with: x))
    let flat = x.transposed().reshaped([12])
    #expect(flat.elements(as: Int.self) == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    #expect(!flat.sharesMemory(with: x))
    #expect(flat.base == nil)
    #expect(NDArray.zeros([0, 3]).reshaped([6, 0]).shape == [6, 0])
    #expect(NDArray.zeros([0, 3]).reshaped([-1, 3]).shape == [0, 3])
    #expect(NDArray(1).reshaped([1, 1]).shape == [1, 1])
    #expect(NDArray([1]).reshaped([]).shape == [])
  }

  @Test("Transposing permutes axes")
  func transposing() {
    let x = NDArray.arange(24).reshaped([2, 3, 4])
    #expect(x.transposed().shape == [4, 3, 2])
    #expect(x.transposed([1, 0, -1]).shape == [3, 2, 4])
    #expect(x.transposed([1, 0, 2])[2, 1, 3].item() == 23)
  }

  @Test("Broadcast views are read-only")
  func broadcasting() {
    let x = NDArray([[1], [2]])
    let y = x.broadcast(to: [2, 2, 3])
    #expect(y.elements(as: Int.self) == [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2])
    #expect(!y.isWriteable)
    #expect(x.isWriteable)
    #expect(throws: MemoryGuardError.readOnly) { try y.fill(0) }
    #expect(throws: MemoryGuardError.readOnly) { try y.setWriteable(true) }
    #expect(y.copy().isWriteable)
  }

  // MARK: Writing

  @Test("Arrays that are read-only by nature refuse every writer")
  func readOnly() throws {
    let x = NDArray.arange(4.0)
    let early = x[0..<2]
    try x.setWriteable(false)
    let late = x[0..<2]
    #expect(!x.isWriteable)
    #expect(!late.isWriteable)
    #expect(early.isWriteable)
    #expect(throws: MemoryGuardError.readOnly) { try x.fill(1) }
    #expect(throws: MemoryGuardError.readOnly) { try late.assign(NDArray(1)) }
    #expect(throws: MemoryGuardError.readOnly) {
      try x.withMutableElements(as: Double.self) { $0[0] = 9 }
    }
    #expect(throws: MemoryGuardError.readOnly) { try late.setWriteable(true) }
    #expect(x.elements(as: Int.self) == [0, 1, 2, 3])
    try x.setWriteable(true)
    try late.setWriteable(true)
    try late.fill(5)
    #expect(x.elements(as: Int.self) == [5, 5, 2, 3])
  }

  @Test("A lock names its holders, but not thousands of them")
  func messages() {
    #expect("\(MemoryGuardError.readOnly)" == "the array is read-only")
    #expect(
      "\(MemoryGuardError.locked(holders: ["multiply", "exp"]))"
        == "the array is locked: a live graph reads its memory (held by multiply, exp)")
    let many = MemoryGuardError.locked(holders: [String](repeating: "add", count: 20))
    #expect("\(many)".hasSuffix("add, add and 12 more)"))
  }

  @Test("assign broadcasts and converts")
  func assigning() throws {
    let x = NDArray.zeros([2, 3], dtype: .int32)
    try x.assign(NDArray([1.9, -2.9, 3]))
    #expect(x.elements(as: Int.self) == [1, -2, 3, 1, -2, 3])
    try x.transposed().assign(NDArray([7, 8]))
    #expect(x.elements(as: Int.self) == [7, 7, 7, 8, 8, 8])
    try x[.all, 1].assign(NDArray([[[5, 6]]]))
    #expect(x.elements(as: Int.self) == [7, 5, 7, 8, 6, 8])
    try x[0..<0].assign(NDArray(1))
  }

  @Test("assign between overlapping windows uses the old values")
  func overlap() throws {
    let x = NDArray.arange(6)
    try x[1...].assign(x[0..<5])
    #expect(x.elements(as: Int.self) == [0, 0, 1, 2, 3, 4])
    try x.assign(x[.slice(step: -1)])
    #expect(x.elements(as: Int.self) == [4, 3, 2, 1, 0, 0])
    let square = NDArray.arange(4).reshaped([2, 2])
    try square.assign(square.transposed())
    #expect(square.elements(as: Int.self) == [0, 2, 1, 3])
    try square.assign(square[0])
    #expect(square.elements(as: Int.self) == [0, 2, 0, 2])
  }

  @Test("Mutable elements of strided arrays are stored afterwards, also after an error")
  func mutableElements() throws {
    struct Failure: Error {}
    let x = NDArray.arange(6.0).reshaped([2, 3])
    let sum = try x.withMutableElements(as: Double.self) { elements in
      elements[0] = 10
      return elements.reduce(0, +)
    }
    #expect(sum == 25)
    try x.transposed().withMutableElements(as: Double.self) { $0[1] = -1 }
    #expect(x.elements(as: Int.self) == [10, 1, 2, -1, 4, 5])
    #expect(throws: Failure.self) {
      try x[.all, 2].withMutableElements(as: Double.self) { elements in
        elements[0] = 77
        throw Failure()
      }
    }
    #expect(x[0, 2].item() == 77)
  }

  @Test("Typed reading is in C order")
  func typedReading() {
    let x = NDArray([[1.0, 2], [3, 4]])
    #expect(x.withUnsafeElements(as: Double.self) { Array($0) } == [1, 2, 3, 4])
    #expect(x.transposed().withUnsafeElements(as: Double.self) { Array($0) } == [1, 3, 2, 4])
  }
}
