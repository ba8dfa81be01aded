// Tensors in a row of elements and out of one.

import LazyGrad
import TestSupport
import Testing

@Suite("Packing")
struct TensorPackingTests {
  @Test(
    "Elements come one behind the other in C order, wherever they lie and whether they are computed or not"
  )
  func rows() throws {
    for dtype in DType.allCases {
      let x = Tensor((0..<24).map { Double($0 % 5) }, shape: [2, 3, 4]).cast(to: dtype)
      let kinds: [Tensor] = [
        x, x.T, x[1], x[0..<2, 1..<2], x[.ellipsis, .slice(step: -1)], x[0..<0], x[1, 2, 3],
        x[1..<2, 0].broadcast(to: [5, 4]), x.reshaped([4, 6])[1..<3],
        Tensor.full([3], 1, dtype: dtype), Tensor.zeros([], dtype: dtype),
      ]
      for _ in 0..<2 {
        let row = try Tensor.row(of: kinds)
        #expect(row.dtype == dtype && row.shape == [kinds.reduce(0) { $0 + $1.count }])
        #expect(Tensor(row).snapshot.bytes == kinds.flatMap(\.snapshot.bytes), "\(dtype)")
        for (k, tensor) in kinds.enumerated() {
          let alone = Tensor(try Tensor.row(of: [tensor])).snapshot.bytes
          #expect(alone == tensor.snapshot.bytes, "\(dtype), \(k)")
        }
      }
      if dtype.isFloating {
        let y = tanh(x) * 2
        #expect(
          Tensor(try Tensor.row(of: [y, x])).snapshot.bytes
            == (tanh(x) * 2).snapshot.bytes + x.snapshot.bytes)
        y.sum().backward()
        #expect(
          Tensor(try Tensor.row(of: [x.gradient])).snapshot.bytes == x.gradient.snapshot.bytes)
      }
    }
    #expect(
      try Tensor.row(of: []).shape == [0] && Tensor.row(of: [], dtype: .uint8).dtype == .uint8)
  }

  @Test("A row may have another type than its tensors, which may differ")
  func types() throws {
    let tensors = [Tensor([1.5, 2.5]), Tensor([3, 4]).T, Tensor([true, false])]
    #expect(try Tensor.row(of: tensors).elements(as: Double.self) == [1.5, 2.5, 3, 4, 1, 0])
    #expect(
      try Tensor.row(of: tensors, dtype: .int32).elements(as: Int.self) == [1, 2, 3, 4, 1, 0])
  }

  @Test("A row has memory of its own, and is made by one plan")
  func ownMemory() throws {
    let x = Tensor([1.0, 2, 3])
    let row = try Tensor.row(of: [x, x])
    x += 1
    #expect(row.elements(as: Double.self) == [1, 2, 3, 1, 2, 3])
    #expect(try Tensor.row(of: [x]).elements(as: Double.self) == [2, 3, 4])
    let plain = Tensor([5.0, 6])
    plain.array[0] = 7
    #expect(try Tensor.row(of: [plain]).elements(as: Double.self) == [7, 6])
    let y = x * x
    let z = exp(x)
    let plans = try PlanCounts { _ = try Tensor.row(of: [y, z]) }
    #expect(plans.hits + plans.misses == 1)
    y.sum().backward()
    #expect(x.gradient.elements == [4, 6, 8])
  }

  @Test("What has failed, and what no memory could hold, is refused")
  func refusedRows() {
    let x = Tensor([1.0, 2, 3])
    let text = message { _ = try Tensor.row(of: [x, x + Tensor([1.0, 2])]) }
    #expect(text.hasPrefix("add: expected shapes that broadcast together"), "\(text)")
    let many = message {
      let huge = Tensor.zeros([1]).broadcast(to: [1 << 58])
      _ = try Tensor.row(of: [Tensor](repeating: huge, count: 40))
    }
    #expect(many.contains("memory"), "\(many)")
  }

  @Test("A row of elements is tensors of several shapes, over the same memory")
  func parts() {
    for dtype in DType.allCases {
      let like = [
        Tensor.zeros([2, 3]), Tensor.zeros([0, 4]), Tensor.zeros([], dtype: .int32),
        Tensor.zeros([5], dtype: .bool), Tensor.zeros([4, 1, 1]).T,
      ]
      let row = Tensor((0..<16).map { Double($0 % 7) }, shape: [2, 8]).cast(to: dtype).array.copy()
      let parts = Tensor.parts(of: row, like: like)
      #expect(parts.map(\.shape) == [[2, 3], [0, 4], [], [5], [1, 1, 4]])
      #expect(parts.allSatisfy { $0.dtype == dtype && $0.isConstant })
      let flat = row.reshaped([16])
      for (part, range) in zip(parts, [0..<6, 6..<6, 6..<7, 7..<12, 12..<16]) {
        #expect(part.snapshot.bytes == Tensor(flat[range]).snapshot.bytes, "\(dtype), \(range)")
        #expect(part.count == 0 || part.array.sharesMemory(with: row))
        #expect(part.array.strides == NDArray.zeros(part.shape).strides)
      }
    }
    #expect(Tensor.parts(of: NDArray([Double]()), like: []).isEmpty)
  }

  @Test("A part is updated by itself, and a graph that needs one locks the row")
  func updates() {
    let row = NDArray((0..<7).map(Double.init))
    let like = [Tensor.zeros([3]), Tensor.zeros([4])]
    let parts = Tensor.parts(of: row, like: like)
    let x = Tensor([1.0, 2, 3, 4])
    let y = (x * parts[1]).sum()
    #expect(!row.isWriteable)
    y.backward()
    #expect(x.gradient.elements == [3, 4, 5, 6] && row.isWriteable)
    parts[0] += 10
    parts[0].eval()
    #expect(parts[0].elements == [10, 11, 12] && parts[1].elements == [3, 4, 5, 6])
    // In the middle of a larger array.
    let part = Tensor.parts(
      of: NDArray([[0.0, 1], [2, 3], [4, 5]])[1...], like: [x[0..<1], x[1...]])
    #expect(part[0].elements == [2] && part[1].elements == [3, 4, 5])
  }

  @Test("An array that doesn't fit is refused")
  func refusedParts() {
    let like = [Tensor.zeros([3]), Tensor.zeros([2, 2])]
    func parts(_ array: NDArray) -> String { message { _ = Tensor.parts(of: array, like: like) } }
    #expect(
      parts(NDArray((0..<6).map(Double.init))).hasPrefix(
        "parts: expected an array in C order with 7 elements for the shapes [[3], [2, 2]], got shape [6]"
      ))
    #expect(parts(NDArray((0..<7).map(Double.init))[.slice(step: -1)]).contains("strides [-1]"))
    #expect(parts(NDArray((0..<14).map(Double.init))[.slice(step: 2)]).contains("strides [2]"))
  }
}
