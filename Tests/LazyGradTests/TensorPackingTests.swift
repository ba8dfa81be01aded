// Tensors in a row of elements and out of one.

import LazyGrad
import Testing

@Suite("Packing")
struct TensorPackingTests {
  /// What `copyElements` copies, between bytes that it must leave alone.
  private func bytes(_ x: Tensor) throws -> [UInt8] {
    let size = x.count * x.dtype.size
    var bytes = [UInt8](repeating: 0xA5, count: size + 16)
    try bytes.withUnsafeMutableBytes {
      try x.copyElements(to: UnsafeMutableRawBufferPointer(rebasing: $0[8..<(8 + size)]))
    }
    #expect(bytes.prefix(8).allSatisfy { $0 == 0xA5 } && bytes.suffix(8).allSatisfy { $0 == 0xA5 })
    return Array(bytes[8..<(8 + size)])
  }

  @Test("Elements are copied in C order, wherever they lie and whether they are computed or not")
  func copies() throws {
    for dtype in DType.allCases {
      let x = Tensor((0..<24).map { Double($0 % 5) }, shape: [2, 3, 4]).cast(to: dtype)
      let kinds: [Tensor] = [
        x, x.eval(), x.T, x[1], x[0..<2, 1..<2], x[.ellipsis, .slice(step: -1)], x[0..<0],
        x[1, 2, 3], x[1..<2, 0].broadcast(to: [5, 4]), x.reshaped([4, 6])[1..<3],
        Tensor.full([3], 1, dtype: dtype), Tensor.zeros([], dtype: dtype),
      ]
      for (k, tensor) in kinds.enumerated() {
        #expect(try bytes(tensor) == tensor.snapshot.bytes, "\(dtype), \(k)")
        #expect(try bytes(tensor) == tensor.snapshot.bytes, "\(dtype), \(k), again")
      }
      if dtype.isFloating {
        let y = tanh(x) * 2
        #expect(try bytes(y) == (tanh(x) * 2).snapshot.bytes)
        y.sum().backward()
        #expect(try bytes(x.gradient) == x.gradient.snapshot.bytes)
      }
    }
  }

  @Test("Copying leaves a tensor's memory to itself")
  func isNotHandedOut() throws {
    let x = Tensor([1.0, 2, 3])
    let before = try bytes(x)
    x += 1
    #expect(try bytes(x) == Tensor([2.0, 3, 4]).snapshot.bytes && before != (try bytes(x)))
    let y = x * x
    y.eval()
    _ = try bytes(x)
    y.sum().backward()
    #expect(x.gradient.elements == [4, 6, 8])
  }

  @Test("Memory of another size is refused, and so is what has failed")
  func refusedCopies() {
    let x = Tensor([1.0, 2, 3])
    func copy(_ x: Tensor, _ count: Int) -> String {
      message {
        var bytes = [UInt8](repeating: 0, count: count)
        try bytes.withUnsafeMutableBytes { try x.copyElements(to: $0) }
      }
    }
    #expect(copy(x, 24) == "no error")
    #expect(copy(x, 23).hasPrefix("copyElements: expected memory for 24 bytes, got 23"))
    #expect(copy(x, 0).hasPrefix("copyElements: expected memory for 24 bytes, got 0"))
    #expect(copy(x[0..<0], 0) == "no error")
    let text = message {
      let failed = x + Tensor([1.0, 2])
      var bytes = [UInt8](repeating: 0, count: 24)
      try bytes.withUnsafeMutableBytes { try failed.copyElements(to: $0) }
    }
    #expect(text.hasPrefix("add: expected shapes that broadcast together"), "\(text)")
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
