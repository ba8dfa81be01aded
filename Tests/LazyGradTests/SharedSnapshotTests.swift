// Tensors over a snapshot's memory: nothing is copied, and nothing writes there.

import LazyGrad
import Testing

@Suite struct SharedSnapshotTests {
  private func address(_ x: Tensor) -> UnsafeRawPointer? {
    x.array.withUnsafeElements(as: Double.self) { UnsafeRawPointer($0.baseAddress) }
  }

  @Test("Values, constness and memory")
  func values() {
    let snapshot = Tensor([[1.0, 2, 3], [4, 5, 6]]).snapshot
    let (a, b) = (Tensor(sharing: snapshot), Tensor(sharing: snapshot, constant: true))
    #expect(a.shape == [2, 3] && a.elements == [1, 2, 3, 4, 5, 6])
    #expect(!a.isConstant && b.isConstant)
    #expect(address(a) == address(b) && address(a) != address(Tensor([[1.0, 2, 3], [4, 5, 6]])))
    #expect(matmul(a, b.T).elements == [14, 32, 32, 77])
    #expect(a[1, -2...].elements == [5, 6] && a.snapshot == snapshot)
    for dtype in DType.allCases {
      for shape in [[], [1], [0, 4], [3, 5, 7]] {
        let x = Tensor.ones(shape, dtype: dtype)
        let shared = Tensor(sharing: x.snapshot)
        #expect(shared.dtype == dtype && shared.shape == shape && shared.elements == x.elements)
        #expect(shared.isConstant == !dtype.isFloating)
      }
    }
    #expect(
      message { _ = Tensor(sharing: Tensor([1]).snapshot, constant: false) }.contains("constants"))
  }

  @Test("Gradients are the tensor's own")
  func gradients() {
    let snapshot = Tensor([1.0, 2, 3]).snapshot
    let (a, b) = (Tensor(sharing: snapshot), Tensor(sharing: snapshot))
    (a * a).backward()
    #expect(a.gradient.elements == [2, 4, 6] && b.grad == nil)
  }

  @Test("Whatever would write is refused, or has memory of its own")
  func writes() throws {
    let snapshot = Tensor([1.0, 2, 3]).snapshot
    let x = Tensor(sharing: snapshot)
    let readOnly = "the tensor shows the memory of a read-only array"
    #expect(message { x += 1 } == "+=: \(readOnly)")
    #expect(message { x[0] = 5 } == "subscript: \(readOnly)")
    #expect(message { x[Tensor([0, 1])] = Tensor(5.0) } == "subscript: \(readOnly)")
    #expect(message { x[1...] *= 2 } == "*=: \(readOnly)")
    #expect(message { x.assign(Tensor(0.0)) } == "assign: \(readOnly)")
    #expect(message { _ = exp(x, out: x) }.hasSuffix(readOnly))
    let array = x.array
    #expect(!array.isWriteable)
    #expect(throws: MemoryGuardError.readOnly) { try array.fill(0.0) }
    #expect(throws: MemoryGuardError.readOnly) { try array.setWriteable(true) }
    #expect(throws: MemoryGuardError.readOnly) { try array[1...].setWriteable(true) }
    let again = Tensor(array, copy: false)
    #expect(message { again -= 1 } == "-=: \(readOnly)")
    let copies = [x.copy(), x.detached(), try Tensor(snapshot), x + 0, +x, Tensor(array)]
    for copy in copies {
      copy[0] = 100
      copy += 1
      #expect(copy.elements == [101, 3, 4])
    }
    #expect(x.elements == [1, 2, 3] && Tensor(sharing: snapshot).elements == [1, 2, 3])
  }

  @Test("An update in place of what was made of a shared tensor that is gone writes elsewhere")
  func takeover() {
    let snapshot = Tensor.ones([1000]).snapshot
    for _ in 0..<3 {
      var y: Tensor
      do {
        let x = Tensor(sharing: snapshot)
        y = noAutodiff { x.reshaped(10, 100) + 0 }
        let part = +x
        part[0] = 7
        #expect(part.elements.first == 7)
      }
      y[0] = 5
      noAutodiff { y[1] += 1 }
      #expect(y[0, 0].item() == 5 && y[1, 0].item() == 2)
    }
    #expect(Tensor(sharing: snapshot).sum().item() == 1000)
  }

  @Test("The memory lives as long as somebody shows it")
  func lifetime() {
    var snapshot: TensorSnapshot? = Tensor.full([4096], 2.0).snapshot
    let x = Tensor(sharing: snapshot!)
    let y = x * 3
    snapshot = nil
    LazyGradEngine.trimMemory()
    #expect(y.sum().item() == 4096 * 6 && x.sum().item() == 4096 * 2)
  }

  @Test("Many tasks over one set of weights")
  func tasks() async {
    let weights = Tensor.linspace(-1, 1, count: 64).reshaped(8, 8).snapshot
    let expected = Tensor(sharing: weights).sum(axis: 0).elements
    await withTaskGroup(of: Bool.self) { group in
      for task in 0..<8 {
        group.addTask {
          (0..<50).allSatisfy { turn in
            let w = Tensor(sharing: weights)
            let scale = Double(task * 50 + turn)
            let y = matmul(Tensor.full([1, 8], scale), w)
            y.backward()
            return y.allClose(to: Tensor(expected) * scale, absolute: 1e-9)
              && w.gradient.allClose(to: scale)
          }
        }
      }
      for await isRight in group { #expect(isRight) }
    }
    #expect(Tensor(sharing: weights).sum(axis: 0).elements == expected)
  }
}
